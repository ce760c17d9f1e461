//! `errored.fleetform`: what a run knows and could not write into the state.
//!
//! It holds the ends of operations that are open in the journal. Whoever settles those takes an end from
//! here instead of looking for it, so the file may be there twice, late or not at all: an operation that is
//! open no more is left alone, and one without an end here is looked for in the cloud.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use fleetform_state::Entry;
use serde::{Deserialize, Serialize};

use super::session::Session;
use crate::diagnostic::Diagnostic;

const FORMAT: u32 = 1;
/// It is encrypted where the state is.
const CONTEXT: &str = "errored";

#[derive(Serialize, Deserialize)]
struct Kept {
    errored: u32,
    lineage: String,
    entries: Vec<Entry>,
}

/// Where it is: beside the stack.
pub fn path(session: &Session<'_>) -> PathBuf {
    let name = match &session.inputs.environment {
        Some(environment) => format!("errored.{environment}.fleetform"),
        None => "errored.fleetform".to_owned(),
    };
    PathBuf::from(&session.inputs.directory).join(name)
}

/// Keeps these entries, in addition to those that are there.
pub fn keep(session: &Session<'_>, entries: &[Entry]) -> io::Result<()> {
    let mut all = read_entries(session)?;
    all.extend(
        entries.iter().filter_map(|entry| Some((entry.operation()?.to_owned(), entry.clone()))),
    );
    let kept = Kept {
        errored: FORMAT,
        lineage: session.owner.lineage.clone(),
        entries: all.into_values().collect(),
    };
    let text = serde_json::to_string_pretty(&kept).expect("entries serialize") + "\n";
    std::fs::write(path(session), session.keys.seal(CONTEXT, text.as_bytes()))
}

/// The ends of operations that are kept there for this state.
pub fn read(session: &Session<'_>) -> Result<BTreeMap<String, Entry>, Vec<Diagnostic>> {
    read_entries(session).map_err(|error| {
        let what = format!("Reading {}: {error}.", path(session).display());
        vec![
            Diagnostic::error("What an earlier run kept cannot be read", what)
                .hint("move the file away: its operations are then looked for in the clouds"),
        ]
    })
}

/// Takes the file away once everything in it is in the state.
pub async fn forget(session: &Session<'_>) -> Result<(), Vec<Diagnostic>> {
    let kept = read(session)?;
    if kept.is_empty() {
        return Ok(());
    }
    let open = session.journal.read(|log| log.state().open.clone()).await;
    if !kept.keys().any(|op| open.contains_key(op)) {
        // What stays behind is left alone the next time, too.
        let _ = std::fs::remove_file(path(session));
    }
    Ok(())
}

fn read_entries(session: &Session<'_>) -> io::Result<BTreeMap<String, Entry>> {
    let bytes = match std::fs::read(path(session)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read?,
    };
    let bytes = session.keys.open(CONTEXT, &bytes).map_err(|locked| {
        let what = format!("it is encrypted and cannot be opened ({locked:?})");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    let kept: Kept = serde_json::from_slice(&bytes)?;
    if kept.errored != FORMAT || kept.lineage != session.owner.lineage {
        let what = match kept.errored == FORMAT {
            true => format!("it is of another state, with lineage {}", kept.lineage),
            false => format!("format {} is not one of this version", kept.errored),
        };
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let entries = kept.entries.into_iter();
    Ok(entries.filter_map(|entry| Some((entry.operation()?.to_owned(), entry))).collect())
}
