//! `state history` and `state diff`.

use std::sync::Arc;

use fleetform_state::{Journal, Line, Run, State as Folded, as_of, history as lines_of, runs};

use super::arguments::{Diff, History};
use crate::cli::Ended;
use crate::cli::screen::{Screen, write_out};
use crate::cli::session::{Setting, unreadable};
use crate::diagnostic::Diagnostic;
use crate::view;

pub async fn history(screen: &Screen, setting: &Setting, arguments: &History) -> Ended {
    let (kept, _) = super::open(screen, setting).await?;
    let lines = lines(&kept.journal).await?;
    let runs = runs(&lines);
    let shown: Vec<&Run<'_>> = match &arguments.which {
        None => runs.iter().collect(),
        Some(text) => vec![find(text, &runs)?],
    };
    if arguments.json {
        write_out(&format!("{:#}\n", view::history::json(&shown, &lines)));
    } else if lines.is_empty() {
        screen.say("The state is empty: no run has written to it.\n");
    } else if arguments.which.is_some() {
        write_out(&view::history::entries(shown[0], &lines));
    } else {
        write_out(&view::history::runs(&shown, &lines));
        if !screen.in_automation {
            screen.say("\n\"fleetform state history RUN\" lists the entries of a run, \"fleetform state diff RUN\"\nwhat has changed since.\n");
        }
    }
    Ok(0)
}

pub async fn diff(screen: &Screen, setting: &Setting, arguments: &Diff) -> Ended {
    let (kept, _) = super::open(screen, setting).await?;
    let lines = lines(&kept.journal).await?;
    let runs = runs(&lines);
    let last = lines.last().map_or(0, |line| line.number);
    let from = entry(&arguments.from, &runs, last)?;
    let to = match &arguments.to {
        Some(text) => entry(text, &runs, last)?,
        None => last,
    };
    let (before, after) = (at(&lines, from)?, at(&lines, to)?);
    let changes = view::history::changes(&before, &after);
    if arguments.json {
        write_out(&format!("{:#}\n", view::history::diff_json(&before, &after, &changes)));
    } else {
        screen.say(&view::history::diff(&before, &after, &changes, screen.paint));
    }
    Ok(0)
}

/// Every line of the log.
pub async fn lines(journal: &Journal) -> Result<Vec<Line>, Vec<Diagnostic>> {
    let store = journal.read(|log| Arc::clone(log.store())).await;
    lines_of(&*store).await.map_err(|error| vec![unreadable(&error)])
}

/// The state after an entry.
pub fn at(lines: &[Line], number: u64) -> Result<Folded, Vec<Diagnostic>> {
    as_of(lines, number).map_err(|error| vec![unreadable(&error)])
}

/// The entry that a text names: a number, or the last entry of a run.
pub fn entry(text: &str, runs: &[Run<'_>], last: u64) -> Result<u64, Vec<Diagnostic>> {
    // What a log begins with that was compacted is no run, but the state after it is known.
    let first = runs.iter().map(Run::first).min().map_or(1, |first| first.max(2) - 1);
    match text.parse::<u64>() {
        Ok(number) if (first..=last).contains(&number) => Ok(number),
        Ok(number) if (1..first).contains(&number) => Err(vec![
            Diagnostic::error(
                "No such entry",
                format!("Entry {number} is gone: the log was compacted up to entry {first}."),
            )
            .hint(format!("the state is known from entry {first} on")),
        ]),
        Ok(number) if text.len() < 8 => Err(vec![
            Diagnostic::error("No such entry", format!("The state has no entry {number}."))
                .hint(format!("entries are numbered from 1 to {last}")),
        ]),
        _ => find(text, runs).map(Run::last),
    }
}

/// The run that a text names: its name or the beginning of it, or one of its entries.
fn find<'r, 'l>(text: &str, runs: &'r [Run<'l>]) -> Result<&'r Run<'l>, Vec<Diagnostic>> {
    if let Ok(number) = text.parse::<u64>()
        && let Some(run) = runs.iter().find(|run| run.lines.iter().any(|l| l.number == number))
    {
        return Ok(run);
    }
    let fitting: Vec<&Run<'_>> =
        runs.iter().filter(|run| !text.is_empty() && run.name.starts_with(text)).collect();
    match fitting.as_slice() {
        [run] => Ok(run),
        [] => Err(vec![
            Diagnostic::error("No such run", format!("The state has no run or entry {text}."))
                .hint("`fleetform state history` lists the runs with their entries"),
        ]),
        several => {
            let names: Vec<String> =
                several.iter().map(|run| format!("  - {}", run.name)).collect();
            Err(vec![
                Diagnostic::error(
                    "Several runs",
                    format!("{text} is the beginning of several runs:\n{}", names.join("\n")),
                )
                .hint("write more of it"),
            ])
        }
    }
}
