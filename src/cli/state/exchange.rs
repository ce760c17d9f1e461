//! `state pull` and `state push`: the whole state as one JSON value.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use fleetform_state::{Entry, State as Folded};
use serde_json::Value as Json;

use super::arguments::Push;
use crate::cli::Ended;
use crate::cli::screen::{Screen, write_out};
use crate::cli::session::{Kept, Session, Setting, write};
use crate::diagnostic::Diagnostic;
use crate::view;

pub async fn pull(screen: &Screen, setting: &Setting) -> Ended {
    let (_, state) = super::open(screen, setting).await?;
    write_out(&format!("{:#}\n", view::state::json(&state)));
    Ok(0)
}

pub async fn push(screen: &Screen, setting: &Setting, arguments: &Push) -> Ended {
    let pushed = read(&arguments.file)?;
    // Where there is no state yet, this one goes on under its own lineage and key.
    let kept = Session::open_state_from(screen, setting, pushed.genesis.clone()).await?;
    let state = super::folded(&kept).await;
    let begun = kept.journal.read(|log| log.has_begun()).await;
    let same = same(&pushed, &state);
    if begun && !arguments.force {
        may_follow(&pushed, &state, same)?;
    }
    if begun && same {
        screen.say("The state is the same already; nothing was written.\n");
        return Ok(0);
    }
    let entries = entries(&pushed, &state);
    let count = entries.len();
    write_pushed(&kept, entries).await?;
    let what = if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") };
    screen.say(&format!(
        "The state was taken over, in {what}. What it held before is in its history.\n"
    ));
    let kept_open = state.open.keys().filter(|op| !pushed.open.contains_key(*op)).count();
    if kept_open > 0 {
        screen.diagnostics(&[Diagnostic::warning(
            "Open operations stay",
            "The state was in the middle of operations that the pushed one does not know.",
        )
        .hint("the next apply looks what came of them")]);
    }
    Ok(0)
}

async fn write_pushed(kept: &Kept, mut entries: Vec<Entry>) -> Result<(), Vec<Diagnostic>> {
    if entries.is_empty() {
        // An empty state is begun as well: its lineage is kept.
        entries.push(Entry::Outputs { outputs: BTreeMap::new() });
    }
    write(&kept.journal, entries).await
}

/// Reads what `state pull` printed.
fn read(path: &Path) -> Result<Folded, Vec<Diagnostic>> {
    let shown = path.display();
    let bad = |why: String, hint: &str| {
        vec![Diagnostic::error("Not a usable state file", format!("{shown} {why}.")).hint(hint)]
    };
    let text = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| {
        bad(format!("cannot be read: {error}"), "give a file that `fleetform state pull` printed")
    })?;
    let json: Json = serde_json::from_str(&text).map_err(|error| {
        bad(format!("is no JSON: {error}"), "give a file that `fleetform state pull` printed")
    })?;
    let Some(own) = json.get("fleetform") else {
        let why = match json.get("terraform_version") {
            Some(_) => "is Terraform's own state, which says too little",
            None => "has no key \"fleetform\"",
        };
        return Err(bad(
            why.to_owned(),
            "`fleetform import` takes over single objects; push takes what `fleetform state pull` printed",
        ));
    };
    if own["format"] != view::state::FORMAT {
        let why = format!(
            "has the format {}, and this version reads {}",
            own["format"],
            view::state::FORMAT
        );
        return Err(bad(why, "use the version of Fleetform that wrote it, or a newer one"));
    }
    let state: Folded = serde_json::from_value(own["state"].clone())
        .map_err(|error| bad(format!("is damaged: {error}"), "pull again"))?;
    // Both parts say the same thing; one that was edited alone would be ignored.
    let ours = view::state::json(&state);
    let differs =
        ["serial", "lineage", "outputs", "resources"].iter().find(|k| ours[**k] != json[**k]);
    match differs {
        Some(part) => Err(bad(
            format!("was edited: its {part:?} and its \"fleetform\" do not say the same"),
            "use `fleetform state mv` and `fleetform state rm`, or edit both parts",
        )),
        None => Ok(state),
    }
}

/// A push over a state that has begun: the same lineage, and nothing newer there.
fn may_follow(pushed: &Folded, state: &Folded, same: bool) -> Result<(), Vec<Diagnostic>> {
    let refuse = |detail: String| {
        vec![
            Diagnostic::error("The state was not taken over", detail)
                .hint("-force takes it over all the same; what is there stays in the history"),
        ]
    };
    if pushed.lineage() != state.lineage() {
        return Err(refuse(format!(
            "It is of another lineage: {} and not {}.",
            pushed.lineage(),
            state.lineage()
        )));
    }
    if pushed.serial < state.serial {
        return Err(refuse(format!(
            "It is older than the state that is there: serial {} and not {}.",
            pushed.serial, state.serial
        )));
    }
    if pushed.serial == state.serial && !same {
        return Err(refuse(format!(
            "It has the same serial {} as the state that is there, and says something else.",
            state.serial
        )));
    }
    Ok(())
}

/// Whether two states say the same, whenever it was written.
fn same(a: &Folded, b: &Folded) -> bool {
    let plain = |state: &Folded| {
        let mut records = state.records.clone();
        records.values_mut().for_each(|record| record.version = 0);
        records
    };
    let rest = |state: &Folded| {
        let open: Vec<String> = state.open.keys().cloned().collect();
        (open, state.placement.clone(), state.outputs.clone(), state.protected.clone())
    };
    plain(a) == plain(b) && rest(a) == rest(b)
}

/// What makes the state that is there say what the pushed one says. Operations that are open there stay
/// open: they may have made something.
fn entries(pushed: &Folded, state: &Folded) -> Vec<Entry> {
    let mut entries = Vec::new();
    for address in state.records.keys().filter(|a| !pushed.records.contains_key(*a)) {
        entries.push(Entry::Forgotten { address: address.clone() });
    }
    for (address, record) in &pushed.records {
        let there = state.records.get(address).map(|there| {
            let mut there = there.clone();
            there.version = record.version;
            there
        });
        if there.as_ref() != Some(record) {
            entries.push(Entry::Adopted { record: record.clone() });
        }
    }
    for (op, open) in pushed.open.iter().filter(|(op, _)| !state.open.contains_key(*op)) {
        entries.push(Entry::Begin {
            op: op.clone(),
            address: open.address.clone(),
            action: open.action,
            token: open.token.clone(),
            desired: open.desired.clone(),
            previous: open.previous.clone(),
        });
    }
    for (address, by) in &pushed.protected {
        if state.protected.get(address) != Some(by) {
            entries.push(Entry::Protected { address: address.clone(), by: by.clone() });
        }
    }
    for address in state.protected.keys().filter(|a| !pushed.protected.contains_key(*a)) {
        entries.push(Entry::Unprotected { address: address.clone() });
    }
    if pushed.placement != state.placement {
        let placement = pushed.placement.clone().unwrap_or(Json::Null);
        entries.push(Entry::Placement { placement });
    }
    if pushed.outputs != state.outputs {
        entries.push(Entry::Outputs { outputs: pushed.outputs.clone() });
    }
    entries
}
