//! The command line: one file per verb, each of which only wires stages together.

mod apply;
mod arguments;
mod catalog;
mod drift;
mod errored;
mod explain;
mod fmt;
mod graph;
mod import;
mod init;
mod lock;
mod locked;
mod output;
mod placement;
mod plan;
mod planning;
mod progress;
mod sandbox;
mod saved;
mod screen;
mod session;
mod show;
mod signals;
mod state;
#[cfg(test)]
mod tests;
mod validate;
mod version;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::diagnostic::Diagnostic;
use arguments::{Cli, RunArguments, Verb};
use screen::Screen;

/// What a verb ends with: the exit code where it did its work, else what to tell the user (exit 1).
type Ended = Result<u8, Vec<Diagnostic>>;

/// Runs the program with these arguments (the first is its name).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = arguments::normalise(arguments, |name| std::env::var(name).ok());
    let ordered = arguments::variable_order(&arguments);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 1 } else { 0 });
        }
    };
    let run = run_arguments(&cli.verb);
    let mut screen = Screen {
        compact_warnings: run.is_some_and(|run| run.compact_warnings),
        ..Screen::new(cli.no_color, run.is_some_and(|run| run.json))
    };
    if let Some(directory) = &cli.chdir
        && let Err(error) = std::env::set_current_dir(directory)
    {
        screen.diagnostics(&[Diagnostic::error(
            "Cannot change directory",
            format!("-chdir={}: {error}.", directory.display()),
        )]);
        return ExitCode::from(1);
    }
    if let Some(path) = run.and_then(|run| run.json_into.as_ref()) {
        match std::fs::File::create(path) {
            Ok(file) => screen.into = Some(file.into()),
            Err(error) => {
                let detail = format!("-json-into={}: {error}.", path.display());
                screen.diagnostics(&[Diagnostic::error("Cannot write the events", detail)]);
                return ExitCode::from(1);
            }
        }
    }
    match dispatch(&screen, &cli.verb, &ordered) {
        Ok(code) => ExitCode::from(code),
        Err(diagnostics) => {
            screen.diagnostics(&diagnostics);
            ExitCode::from(1)
        }
    }
}

fn dispatch(screen: &Screen, verb: &Verb, ordered: &[(bool, String)]) -> Ended {
    match verb {
        Verb::Init(arguments) => init::run(screen, arguments),
        Verb::Validate(arguments) => validate::run(screen, arguments, ordered),
        Verb::Fmt(arguments) => fmt::run(screen, arguments),
        Verb::Plan(arguments) => block_on(plan::run(screen, arguments, ordered)),
        Verb::Apply(arguments) => block_on(apply::run(screen, arguments, ordered)),
        Verb::Destroy(arguments) => block_on(apply::destroy(screen, arguments, ordered)),
        Verb::Drift(arguments) => block_on(drift::run(screen, arguments, ordered)),
        Verb::Show(arguments) => block_on(show::run(screen, arguments, ordered)),
        Verb::Graph(arguments) => block_on(graph::run(screen, arguments, ordered)),
        Verb::Explain(arguments) => block_on(explain::run(screen, arguments, ordered)),
        Verb::Placement(arguments) => block_on(placement::run(screen, arguments, ordered)),
        Verb::Output(arguments) => block_on(output::run(screen, arguments, ordered)),
        Verb::Catalog(arguments) => catalog::run(screen, arguments),
        Verb::Sandbox(arguments) => block_on(sandbox::run(screen, arguments, ordered)),
        Verb::Import(arguments) => block_on(import::run(screen, arguments, ordered)),
        Verb::State(arguments) => block_on(state::run(screen, arguments, ordered)),
        Verb::Lock(arguments) => block_on(lock::run(screen, arguments, ordered)),
        Verb::ForceUnlock(arguments) => block_on(lock::force_unlock(screen, arguments, ordered)),
        Verb::Version(arguments) => version::run(arguments),
        Verb::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(*shell, &mut command, "fleetform", &mut std::io::stdout());
            Ok(0)
        }
    }
}

/// Of the verbs that plan: these write events in JSON mode, the others one JSON value of their own.
fn run_arguments(verb: &Verb) -> Option<&RunArguments> {
    match verb {
        Verb::Plan(arguments) => Some(&arguments.run),
        Verb::Apply(arguments) => Some(&arguments.run),
        Verb::Destroy(arguments) => Some(&arguments.run),
        Verb::Drift(arguments) => Some(&arguments.run),
        _ => None,
    }
}

fn block_on(verb: impl Future<Output = Ended>) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        vec![Diagnostic::error("The program cannot start its threads", format!("{error}."))]
    })?;
    let ended = runtime.block_on(verb);
    // What still runs (an emulator's connections) has nothing left to say.
    runtime.shutdown_background();
    ended
}
