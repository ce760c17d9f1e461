//! HCL → [`Stack`]: reads a directory, evaluates its expressions, checks every block.

mod stack;

pub use stack::*;
