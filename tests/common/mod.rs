//! What the end-to-end tests share: a copy of a stack in a directory of its own, and the program.

// Each test file is a program of its own and uses its part of this; `expect` would fail in the others.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A copy of an example stack that a test may change.
pub struct Place {
    directory: tempfile::TempDir,
    pub stack: String,
}

impl Place {
    /// Copies `stacks/NAME`.
    pub fn of(name: &str) -> Place {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(name);
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy(&from, &directory.path().join(name));
        Place { directory, stack: name.to_owned() }
    }

    /// A stack of this text.
    pub fn with(text: &str) -> Place {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let stack = directory.path().join("stack");
        std::fs::create_dir(&stack).expect("a new directory");
        std::fs::write(stack.join("main.hcl"), text).expect("written");
        Place { directory, stack: "stack".to_owned() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.stack)
    }

    /// Changes the stack's main file.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.path().join("main.hcl");
        let text = std::fs::read_to_string(&file).expect("the stack has a main.hcl");
        assert!(text.contains(from), "main.hcl has no {from:?}");
        std::fs::write(file, text.replacen(from, to, 1)).expect("written");
    }

    /// Gives the stack an environment, which changes nothing but its state.
    pub fn environment(&self, name: &str) {
        let directory = self.path().join("envs");
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join(format!("{name}.tfvars")), "").expect("written");
    }

    /// Runs the program beside the stack, with nothing of the tester's environment that matters.
    pub fn run(&self, line: &str) -> Ran {
        self.command(line).into()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetform"));
        command.args(line.split_whitespace()).current_dir(self.directory.path());
        for name in ["FLEETFORM_ENV", "FLEETFORM_SANDBOX", "TF_INPUT", "TF_CLI_ARGS", "COLUMNS"] {
            command.env_remove(name);
        }
        command.env("TF_IN_AUTOMATION", "1");
        command
    }
}

/// What a run printed and ended with.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Command> for Ran {
    fn from(mut command: Command) -> Ran {
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        Ran {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).expect("output is text"),
            err: String::from_utf8(stderr).expect("errors are text"),
        }
    }
}

impl Ran {
    /// Asserts the exit code and gives the run back.
    #[track_caller]
    pub fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        // Diagnostics are broken into lines where the terminal ends.
        let flat = self.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            [&self.out, &self.err, &flat].iter().any(|said| said.contains(text)),
            "{text:?} is not in\nstdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new directory");
    for entry in std::fs::read_dir(from).expect("the stack is there") {
        let entry = entry.expect("the stack can be read");
        if entry.file_name() == ".fleetform" || entry.file_name() == "plan.txt" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
