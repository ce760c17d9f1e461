//! The state's past: its runs, their entries, and what differs between two moments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fleetform_contract::{Address, Attributes};
use fleetform_state::{Action as Did, Entry, Line, Run, State};
use serde_json::{Value as Json, json};

use super::Paint;
use super::change::{block, value_change};
use super::table::{Align, table};
use crate::plan::{Action, Change, differences};

/// What each operation of a log did, and to what: its end names the operation alone.
type Operations<'a> = BTreeMap<&'a str, (&'a Address, Did)>;

fn operations(lines: &[Line]) -> Operations<'_> {
    let mut begun = Operations::new();
    for line in lines {
        match &line.entry {
            Entry::Begin { op, address, action, .. } => {
                begun.insert(op.as_str(), (address, *action));
            }
            // What was under way when the older entries were compacted.
            Entry::Beginning { state, .. } => {
                let open = state.open.iter();
                begun.extend(open.map(|(op, open)| (op.as_str(), (&open.address, open.action))));
            }
            _ => {}
        }
    }
    begun
}

/// What an entry says, in one word and the address that it is about.
fn told<'a>(entry: &'a Entry, operations: &Operations<'a>) -> (&'static str, Option<&'a Address>) {
    let of = |op: &str| operations.get(op).copied();
    match entry {
        Entry::Genesis(_) => ("began", None),
        Entry::Begin { address, action, .. } => {
            let word = match action {
                Did::Create => "creating",
                Did::Update => "updating",
                Did::Delete => "destroying",
            };
            (word, Some(address))
        }
        Entry::Done { op, .. } => match of(op) {
            Some((address, Did::Create)) => ("created", Some(address)),
            Some((address, Did::Update)) => ("updated", Some(address)),
            Some((address, Did::Delete)) => ("destroyed", Some(address)),
            None => ("done", None),
        },
        Entry::Failed { op, .. } => ("failed", of(op).map(|(address, _)| address)),
        Entry::Tainted { record, .. } => ("tainted", Some(&record.address)),
        Entry::Adopted { record } => ("adopted", Some(&record.address)),
        Entry::Forgotten { address } => ("forgotten", Some(address)),
        Entry::Observed { record } => ("seen changed", Some(&record.address)),
        Entry::Vanished { address } => ("seen gone", Some(address)),
        Entry::Moved { from, .. } => ("moved", Some(from)),
        Entry::Protected { address, .. } => ("protected", Some(address)),
        Entry::Unprotected { address } => ("unprotected", Some(address)),
        Entry::Placement { .. } => ("placement", None),
        Entry::Outputs { .. } => ("outputs", None),
        Entry::Claim { .. } => ("claimed", None),
        Entry::Release { .. } => ("released", None),
        Entry::Fence { .. } => ("fenced", None),
        Entry::Beginning { .. } => ("begins here", None),
        Entry::Compacted { .. } => ("compacted", None),
    }
}

/// Words that count, in the order in which a summary has them.
const COUNTED: [&str; 13] = [
    "created",
    "updated",
    "destroyed",
    "failed",
    "tainted",
    "adopted",
    "forgotten",
    "moved",
    "protected",
    "unprotected",
    "seen changed",
    "seen gone",
    "not ended",
];

/// How often each word is true of a run; operations that it began and nobody has ended count as that.
fn counts(
    run: &Run<'_>,
    lines: &[Line],
    operations: &Operations<'_>,
) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let ended: BTreeSet<&str> = lines
        .iter()
        .filter(|line| !matches!(line.entry, Entry::Begin { .. }))
        .filter_map(|line| line.entry.operation())
        .collect();
    for line in &run.lines {
        let (word, _) = told(&line.entry, operations);
        *counts.entry(word).or_default() += 1;
        if let Entry::Begin { op, .. } = &line.entry
            && !ended.contains(op.as_str())
        {
            *counts.entry("not ended").or_default() += 1;
        }
    }
    counts.retain(|word, _| COUNTED.contains(word));
    counts
}

/// `3 created, 1 destroyed`.
fn summary(run: &Run<'_>, lines: &[Line], operations: &Operations<'_>) -> String {
    let counts = counts(run, lines, operations);
    let parts: Vec<String> =
        COUNTED.iter().filter_map(|word| Some(format!("{} {word}", counts.get(word)?))).collect();
    if !parts.is_empty() {
        return parts.join(", ");
    }
    let has = |is_it: fn(&Entry) -> bool| run.lines.iter().any(|line| is_it(&line.entry));
    if has(|entry| matches!(entry, Entry::Genesis(_))) {
        "began the state".to_owned()
    } else if has(|entry| matches!(entry, Entry::Compacted { .. })) {
        "compacted older entries".to_owned()
    } else {
        "placement or outputs only".to_owned()
    }
}

/// One line a run.
pub fn runs(runs: &[&Run<'_>], lines: &[Line]) -> String {
    let columns = [
        ("run", Align::Left),
        ("when", Align::Left),
        ("entries", Align::Left),
        ("what it did", Align::Left),
    ];
    let operations = operations(lines);
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            vec![
                short(run.name).to_owned(),
                when(run.lines.first()),
                range(run.first(), run.last()),
                summary(run, lines, &operations),
            ]
        })
        .collect();
    match compacted(lines) {
        Some(through) => format!(
            "{}\nWhat was before entry {through} was compacted: the state is known from there on.\n",
            table("", &columns, &rows)
        ),
        None => table("", &columns, &rows),
    }
}

/// The entry up to which a history was compacted.
pub fn compacted(lines: &[Line]) -> Option<u64> {
    let first = lines.first()?;
    matches!(first.entry, Entry::Beginning { .. }).then_some(first.number)
}

/// Every entry of a run.
pub fn entries(run: &Run<'_>, lines: &[Line]) -> String {
    let operations = operations(lines);
    let columns =
        [("entry", Align::Right), ("when", Align::Left), ("what", Align::Left), ("", Align::Left)];
    let rows: Vec<Vec<String>> = run
        .lines
        .iter()
        .map(|line| {
            let (word, address) = told(&line.entry, &operations);
            let mut about = address.map(ToString::to_string).unwrap_or_default();
            match &line.entry {
                Entry::Moved { to, .. } => about = format!("{about} to {to}"),
                Entry::Protected { by, .. } => about = format!("{about} by {by}"),
                Entry::Failed { message, .. } | Entry::Tainted { message, .. } => {
                    about = format!("{about}: {message}");
                }
                Entry::Claim { addresses, .. } => about = format!("{} addresses", addresses.len()),
                Entry::Compacted { through, .. } => about = format!("up to entry {through}"),
                Entry::Fence { run, by } => about = format!("{} by {by}", short(run)),
                _ => {}
            }
            vec![line.number.to_string(), when(Some(line)), word.to_owned(), about]
        })
        .collect();
    format!(
        "Run {}: {}\n\n{}",
        run.name,
        summary(run, lines, &operations),
        table("", &columns, &rows)
    )
}

/// The runs with all their entries.
pub fn json(runs: &[&Run<'_>], lines: &[Line]) -> Json {
    let operations = operations(lines);
    let runs = runs.iter().map(|run| {
        let entries = run.lines.iter().map(|line| {
            let (word, address) = told(&line.entry, &operations);
            let mut entry = json!({ "number": line.number, "time": line.time, "what": word });
            if let Some(address) = address {
                entry["address"] = address.to_string().into();
            }
            if let Entry::Moved { to, .. } = &line.entry {
                entry["to"] = to.to_string().into();
            }
            if let Some(op) = line.entry.operation() {
                entry["operation"] = op.into();
            }
            entry
        });
        json!({
            "run": run.name,
            "began": run.lines.first().map(|line| &line.time),
            "ended": run.lines.last().map(|line| &line.time),
            "first_entry": run.first(),
            "last_entry": run.last(),
            "summary": counts(run, lines, &operations),
            "entries": entries.collect::<Vec<_>>(),
        })
    });
    runs.collect()
}

/// Enough of a run's name to tell it.
fn short(name: &str) -> &str {
    name.get(..8).unwrap_or(name)
}

/// `2026-01-01 09:30:00`, without the fractions of a second.
fn when(line: Option<&&Line>) -> String {
    let time = line.map_or("", |line| line.time.as_str());
    let whole = time.split('.').next().unwrap_or(time);
    whole.trim_end_matches('Z').replacen('T', " ", 1)
}

fn range(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// What differs between the records of two states, as changes.
pub fn changes(before: &State, after: &State) -> Vec<Change> {
    let addresses: BTreeSet<&Address> = before.records.keys().chain(after.records.keys()).collect();
    let changes = addresses.into_iter().filter_map(|address| {
        let (old, new) = (before.records.get(address), after.records.get(address));
        let action = match (old, new) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            (Some(old), Some(new)) if differences(&old.attributes, &new.attributes).is_empty() => {
                return None;
            }
            _ => Action::Update,
        };
        Some(Change {
            before: old.cloned(),
            after: new.map(|record| record.attributes.clone()),
            ..Change::nothing(address.clone())
        })
        .map(|change| Change { action, ..change })
    });
    changes.collect()
}

/// What differs between two states, as people read it.
pub fn diff(before: &State, after: &State, changes: &[Change], paint: Paint) -> String {
    let mut text = String::new();
    for change in changes {
        let word = match change.action {
            Action::Create => "is new",
            Action::Delete => "is gone",
            _ => "has changed",
        };
        let _ = writeln!(text, "  {}", paint.bold(&format!("# {} {word}", change.address)));
        text += &block(change, paint);
        text += "\n";
    }
    let outputs = outputs(before, after, paint);
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    let _ = writeln!(
        text,
        "{} {} new, {} changed, {} gone.",
        paint.bold(&format!("From entry {} to {}:", before.serial, after.serial)),
        count(Action::Create),
        count(Action::Update),
        count(Action::Delete),
    );
    text + &outputs
}

fn outputs(before: &State, after: &State, paint: Paint) -> String {
    let names: BTreeSet<&String> = before.outputs.keys().chain(after.outputs.keys()).collect();
    let differ = |name: &&String| before.outputs.get(*name) != after.outputs.get(*name);
    let changed: Vec<&String> = names.into_iter().filter(differ).collect();
    if changed.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nChanges to Outputs:\n");
    let width = changed.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for name in changed {
        let shown = |state: &State| {
            let output = state.outputs.get(name)?;
            Some(if output.sensitive { super::change::hidden() } else { output.value.clone() })
        };
        text += &value_change(2, name, width, shown(before).as_ref(), shown(after).as_ref(), paint);
    }
    text
}

/// What differs between two states, for programs.
pub fn diff_json(before: &State, after: &State, changes: &[Change]) -> Json {
    let empty = Attributes::new();
    let changes = changes.iter().map(|change| {
        let action = match change.action {
            Action::Create => "create",
            Action::Delete => "delete",
            _ => "update",
        };
        let old = change.before.as_ref().map(|record| &record.attributes);
        let paths = differences(old.unwrap_or(&empty), change.after.as_ref().unwrap_or(&empty));
        let paths: Vec<String> = match change.action {
            Action::Update => paths.iter().map(|path| super::change::path(path)).collect(),
            _ => Vec::new(),
        };
        json!({
            "address": change.address.to_string(),
            "action": action,
            "before": old.map(super::json::values),
            "after": change.after.as_ref().map(super::json::values),
            "paths": paths,
        })
    });
    json!({
        "from": before.serial,
        "to": after.serial,
        "changes": changes.collect::<Vec<_>>(),
    })
}
