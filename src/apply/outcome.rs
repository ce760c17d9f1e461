//! How a run ended, and what the user is told of one that is not complete.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Error, Record};
use fleetform_state::Entry;

use crate::diagnostic::Diagnostic;

/// Of what was not started so many are named; the rest is counted.
const NAMED: usize = 10;

/// How a run ended: every step is done (counted), failed, unknown or blocked.
#[derive(Debug, Default)]
pub struct Outcome {
    pub added: usize,
    pub changed: usize,
    pub destroyed: usize,
    /// Steps that failed, with why.
    pub failed: Vec<(Address, Error)>,
    /// Steps whose end is not recorded, with why: the next run finds out by looking.
    pub unknown: Vec<(Address, String)>,
    /// Steps that were not started because of a failed one, or because the run was stopped.
    pub blocked: Vec<Address>,
    pub stopped: bool,
    /// Why the state could not be written: nothing new was started after that.
    pub journal: Option<String>,
    /// What should have been written then.
    pub unwritten: Vec<Entry>,
    /// Every record, as after the run.
    pub records: BTreeMap<Address, Record>,
}

impl Outcome {
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
            && self.unknown.is_empty()
            && self.blocked.is_empty()
            && self.journal.is_none()
    }

    /// Every step that is not done: its address, and `failed`, `unknown` or `blocked`.
    pub fn unfinished(&self) -> Vec<(&Address, &'static str)> {
        let failed = self.failed.iter().map(|(address, _)| (address, "failed"));
        let unknown = self.unknown.iter().map(|(address, _)| (address, "unknown"));
        let blocked = self.blocked.iter().map(|address| (address, "blocked"));
        failed.chain(unknown).chain(blocked).collect()
    }

    pub(super) fn sort(&mut self) {
        self.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.unknown.sort();
        self.blocked.sort();
        self.blocked.dedup();
    }
}

/// What the user is told of a run that is not complete.
pub fn diagnostics(outcome: &Outcome, operation: &str) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<Diagnostic> = outcome
        .failed
        .iter()
        .map(|(address, error)| {
            let mut detail = format!("{address}: {error}.");
            if outcome.records.get(address).is_some_and(|record| record.tainted) {
                detail +=
                    " What was made of it is recorded as tainted: the next apply replaces it.";
            }
            let diagnostic = Diagnostic::error("An operation failed", detail).about(address);
            match hint(error, operation) {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic,
            }
        })
        .collect();
    diagnostics.extend(outcome.unknown.iter().map(|(address, why)| {
        Diagnostic::error("The end of an operation is unknown", format!("{address}: {why}."))
            .about(address)
            .hint(format!(
                "run `fleetform {operation}` again: it looks at the cloud before it does anything else"
            ))
    }));
    if let Some(reason) = &outcome.journal {
        diagnostics.push(
            Diagnostic::error(
                "The state could not be written",
                format!("{reason}. No new operation was started after that."),
            )
            .hint(format!(
                "what was begun is in the journal and settled by the next `fleetform {operation}`"
            )),
        );
    }
    if !outcome.blocked.is_empty() {
        diagnostics.push(
            Diagnostic::warning("Some operations were not started", not_started(outcome))
                .hint(format!("run `fleetform {operation}` again to go on from here")),
        );
    }
    diagnostics
}

fn not_started(outcome: &Outcome) -> String {
    let why = match (outcome.stopped, &outcome.journal) {
        (true, _) => "the run was stopped",
        (false, Some(_)) => "the state could not be written",
        (false, None) => "of the failures above",
    };
    let mut lines: Vec<String> =
        outcome.blocked.iter().take(NAMED).map(|address| format!("  - {address}")).collect();
    if let Some(more) = outcome.blocked.len().checked_sub(NAMED).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more"));
    }
    format!("Not started, because {why}:\n{}", lines.join("\n"))
}

fn hint(error: &Error, operation: &str) -> Option<String> {
    match error {
        Error::Denied { permission: Some(permission), .. } => {
            Some(format!("give these credentials the permission `{permission}`"))
        }
        Error::Denied { .. } => Some("check the credentials of this cloud".to_owned()),
        Error::NoCapacity { .. } => Some(format!(
            "run `fleetform {operation}` again later, or allow another region, zone, GPU type or market in \
             `placement` and plan again; what is running stays"
        )),
        Error::Throttled { .. } | Error::Conflict { .. } | Error::Lost { .. } => {
            Some(format!("run `fleetform {operation}` again: it goes on from what is recorded"))
        }
        Error::Rejected { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_what_was_not_started_is_cut() {
        let blocked: Vec<Address> =
            (0..25).map(|n| format!("a.b[\"{n:02}\"]").parse().expect("an address")).collect();
        let outcome = Outcome { blocked, stopped: true, ..Outcome::default() };
        let told = diagnostics(&outcome, "apply").remove(0);
        assert!(told.detail.contains("a.b[\"09\"]\n  and 15 more"), "{}", told.detail);
        assert!(!told.detail.contains("a.b[\"10\"]"), "{}", told.detail);
        assert!(told.detail.contains("because the run was stopped"), "{}", told.detail);
    }

    #[test]
    fn every_end_that_is_not_done_is_told_apart() {
        let address = |text: &str| text.parse::<Address>().expect("an address");
        let capacity = Error::NoCapacity { message: "no L4 left".into() };
        let outcome = Outcome {
            failed: vec![(address("a.pool"), capacity)],
            unknown: vec![(address("a.cluster"), "no answer: gone".into())],
            blocked: vec![address("a.app")],
            ..Outcome::default()
        };
        let ends = outcome.unfinished();
        let ends: Vec<String> = ends.iter().map(|(at, end)| format!("{at} {end}")).collect();
        assert_eq!(ends, ["a.pool failed", "a.cluster unknown", "a.app blocked"]);
        let told = diagnostics(&outcome, "apply");
        let summaries: Vec<&str> = told.iter().map(|told| told.summary.as_str()).collect();
        assert_eq!(
            summaries,
            [
                "An operation failed",
                "The end of an operation is unknown",
                "Some operations were not started",
            ]
        );
        let hint = told[0].hint.as_deref().expect("what to do without capacity");
        assert!(hint.contains("another region"), "{hint}");
        assert!(!outcome.is_complete());
    }
}
