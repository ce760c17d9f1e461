//! The whole pipeline in process, against the sandbox's real HTTP: crashes, faults, company.

mod support;

mod concurrent;
mod crash;
mod failures;
mod simulation;
