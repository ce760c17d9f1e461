//! `state …`: looking into the state, and mending it.

pub mod arguments;
mod exchange;
mod past;
mod rebuild;
mod records;
mod rename;
mod rollback;
mod upkeep;
mod verify;

use fleetform_contract::Address;
use fleetform_state::State as Folded;

use super::Ended;
use super::screen::Screen;
use super::session::{Kept, Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::plan::pattern;
use crate::plan::{Pattern, Placed};
use arguments::State;

pub async fn run(screen: &Screen, verb: &State, ordered: &[(bool, String)]) -> Ended {
    let place = verb.place();
    let setting = Setting::new(&place.directory, &place.stack, ordered);
    match verb {
        State::List(arguments) => records::list(screen, &setting, arguments).await,
        State::Show(arguments) => records::show(screen, &setting, arguments).await,
        State::History(arguments) => past::history(screen, &setting, arguments).await,
        State::Diff(arguments) => past::diff(screen, &setting, arguments).await,
        State::Rollback(arguments) => rollback::run(screen, &setting, arguments).await,
        State::Rebuild(arguments) => rebuild::run(screen, &setting, arguments).await,
        State::Pull(_) => exchange::pull(screen, &setting).await,
        State::Push(arguments) => exchange::push(screen, &setting, arguments).await,
        State::Mv(arguments) => rename::mv(screen, &setting, arguments).await,
        State::Rm(arguments) => rename::rm(screen, &setting, arguments).await,
        State::Unprotect(arguments) => rename::unprotect(screen, &setting, arguments).await,
        State::Untaint(arguments) => rename::untaint(screen, &setting, arguments).await,
        State::Compact(arguments) => upkeep::compact(screen, &setting, arguments).await,
        State::Rekey(arguments) => upkeep::rekey(screen, &setting, arguments).await,
        State::Verify(arguments) => verify::run(screen, &setting, arguments).await,
    }
}

/// The state as it is now.
async fn folded(kept: &Kept) -> Folded {
    kept.journal.read(|log| log.state().clone()).await
}

/// Opens the state to look into it.
async fn open(screen: &Screen, setting: &Setting) -> Result<(Kept, Folded), Vec<Diagnostic>> {
    let kept = Session::open_state(screen, setting).await?;
    let state = folded(&kept).await;
    Ok((kept, state))
}

/// The records as patterns see them.
fn placed(state: &Folded) -> Vec<Placed<'_>> {
    state.records.values().map(Placed::of).collect()
}

/// The recorded addresses that each of these texts names; every text must name one.
fn named(kept: &Kept, state: &Folded, texts: &[String]) -> Result<Vec<Address>, Vec<Diagnostic>> {
    let placed = placed(state);
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for text in texts {
        match Pattern::read(text, &kept.stack) {
            Err(diagnostic) => failures.push(*diagnostic),
            Ok(pattern) => {
                let before = found.len();
                let fitting = placed.iter().filter(|placed| pattern.fits(**placed));
                found.extend(fitting.map(|placed| placed.address.clone()));
                if found.len() == before {
                    failures.push(nothing(text, &placed, kept));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    if failures.is_empty() { Ok(found) } else { Err(failures) }
}

fn nothing(text: &str, placed: &[Placed<'_>], kept: &Kept) -> Diagnostic {
    if placed.is_empty() {
        return Diagnostic::error(
            "No such address",
            format!("The state has nothing that {text} names."),
        )
        .hint("the state is empty");
    }
    pattern::unknown(text, "The state", placed, &kept.stack)
}
