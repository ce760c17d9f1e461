//! The whole pipeline in process, against the sandbox's real HTTP: crashes, faults, company.

mod given;
#[path = "../../../tests/common/spellings.rs"]
mod spellings;
mod support;

mod concurrent;
mod crash;
mod failures;
mod lifecycle;
mod simulation;
