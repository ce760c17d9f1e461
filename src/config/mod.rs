//! HCL → [`Stack`]: reads a directory, evaluates its expressions, checks every block.

pub mod functions;
mod stack;

pub use stack::*;
