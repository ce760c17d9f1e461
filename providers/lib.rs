//! The only list of clouds in the project.
