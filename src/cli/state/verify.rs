//! `state verify`: reads everything and names what is damaged.

use std::sync::Arc;

use fleetform_state::{Error, damages, verify};
use serde_json::json;

use super::arguments::Verify;
use crate::cli::Ended;
use crate::cli::screen::{Screen, write_out};
use crate::cli::session::{Session, Setting, unreadable};

pub async fn run(screen: &Screen, setting: &Setting, arguments: &Verify) -> Ended {
    let store = Session::state_store(screen, setting)?;
    let first = verify(&*store).await;
    let report = match first {
        Ok(report) => report,
        Err(error) => {
            let mut errors = damages(&*store).await.unwrap_or_default();
            // What only the whole look finds (a snapshot, an order that makes no sense) comes first.
            if !errors.iter().any(|other| other.to_string() == error.to_string()) {
                errors.insert(0, error);
            }
            if arguments.json {
                write_out(&format!("{:#}\n", damaged_json(&errors)));
                return Ok(1);
            }
            return Err(errors.iter().map(unreadable).collect());
        }
    };
    let sealing = store.sealing().await.map_err(|source| {
        let doing = "reading the log again".to_owned();
        vec![unreadable(&Error::Store { doing, source: Arc::new(source) })]
    })?;
    if arguments.json {
        write_out(&format!(
            "{:#}\n",
            json!({
                "whole": true,
                "encryption": {
                    "current": sealing.current,
                    "previous": sealing.previous,
                    "clear": sealing.clear,
                },
                "entries": report.entries,
                "compacted": report.beginning,
                "batches": report.batches,
                "snapshot": report.snapshot,
                "lineage": report.lineage,
                "damages": [],
            })
        ));
        return Ok(0);
    }
    if report.entries == 0 {
        screen.say("The state is empty: nothing was written to it yet.\n");
        return Ok(0);
    }
    let snapshot = match report.snapshot {
        Some(number) => format!("; the snapshot of entry {number} is what they fold into"),
        None => String::new(),
    };
    let counted = |number: u64, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    };
    screen.say(&format!(
        "{} {} in {}, each whole and in its place{snapshot}.\n",
        screen.paint.bold(&screen.paint.green("The state is whole.")),
        counted(report.entries - report.beginning.unwrap_or(0), "entry", "entries"),
        counted(report.batches, "batch", "batches"),
    ));
    if let Some(through) = report.beginning {
        screen.say(&format!("Everything up to entry {through} was compacted.\n"));
    }
    let old = if store.seals() { sealing.previous + sealing.clear } else { sealing.previous };
    if sealing.current > 0 && store.seals() {
        screen.say("It is encrypted.\n");
    }
    if old > 0 {
        screen.say(&format!(
            "{} not written with the current key: `fleetform state rekey` does that.\n",
            counted(old, "batch is", "batches are"),
        ));
    }
    Ok(0)
}

fn damaged_json(errors: &[Error]) -> serde_json::Value {
    let damages = errors.iter().map(|error| {
        let (place, entry) = match error {
            Error::Damaged { place, entry, .. } => (Some(place), *entry),
            Error::Missing { place, entry } => (Some(place), Some(*entry)),
            Error::Version { place, .. } => (Some(place), None),
            Error::Inconsistent { entry, .. } => (None, Some(*entry)),
            _ => (None, None),
        };
        json!({ "place": place, "entry": entry, "message": error.to_string(), "hint": error.hint() })
    });
    json!({ "whole": false, "damages": damages.collect::<Vec<_>>() })
}
