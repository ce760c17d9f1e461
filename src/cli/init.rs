//! `init`: writes a first stack, which can be applied to the sandbox at once.

use super::Ended;
use super::arguments::Init;
use super::screen::Screen;
use crate::diagnostic::Diagnostic;

const FIRST_STACK: &str = include_str!("first-stack.hcl");

pub fn run(screen: &Screen, arguments: &Init) -> Ended {
    let directory = &arguments.directory;
    let failed = |doing: &str, error: std::io::Error| {
        vec![Diagnostic::error(
            "The directory could not be initialized",
            format!("{doing} {}: {error}.", directory.display()),
        )]
    };
    std::fs::create_dir_all(directory).map_err(|error| failed("Making", error))?;
    let entries = std::fs::read_dir(directory).map_err(|error| failed("Reading", error))?;
    let has_stack = entries
        .filter_map(Result::ok)
        .any(|entry| entry.path().extension().is_some_and(|ending| ending == "hcl"));
    let shown = directory.display();
    if has_stack {
        screen.say(&format!("{shown} has a stack already: nothing was written.\n"));
    } else {
        let file = directory.join("main.hcl");
        std::fs::write(&file, FIRST_STACK).map_err(|error| failed("Writing into", error))?;
        let ignore = directory.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, ".fleetform/\n*.plan\n")
                .map_err(|error| failed("Writing into", error))?;
        }
        screen.say(&format!("Wrote {}: one service on one GPU.\n", file.display()));
    }
    if !screen.in_automation {
        screen.say(&format!(
            "\nNext:\n  fleetform plan {shown}              what it would make, and what it costs\n  fleetform apply -sandbox {shown}    make it on the embedded clouds: no account is needed\n"
        ));
    }
    Ok(0)
}
