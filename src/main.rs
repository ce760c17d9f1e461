//! The `fleetform` program: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything can open a connection: without a default, rustls panics at the first one.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed one before");
    fleetform::cli::main(std::env::args_os())
}
