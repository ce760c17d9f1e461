//! `state mv`, `state rm`, `state unprotect` and `state untaint`: changes of the records alone.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Record};
use fleetform_state::{Entry, State as Folded};

use super::arguments::{Mv, Rm, Unprotect, Untaint};
use crate::cli::Ended;
use crate::cli::screen::Screen;
use crate::cli::session::{Setting, write};
use crate::diagnostic::Diagnostic;
use crate::plan::Pattern;
use crate::plan::pattern::renames;

pub async fn mv(screen: &Screen, setting: &Setting, arguments: &Mv) -> Ended {
    let (kept, state) = super::open(screen, setting).await?;
    let read =
        |text: &str| Pattern::read(text, &kept.stack).map_err(|diagnostic| vec![*diagnostic]);
    let (from, to) = (read(&arguments.from)?, read(&arguments.to)?);
    let placed = super::placed(&state);
    let mut pairs =
        renames(&from, &to, placed.iter().copied()).map_err(|failure| vec![*failure])?;
    pairs.retain(|from, _| state.records.contains_key(from));
    if pairs.is_empty() {
        return Err(vec![super::nothing(&arguments.from, &placed, &kept)]);
    }
    check(&pairs, &state)?;
    for (from, to) in &pairs {
        let word = if arguments.dry_run { "Would move" } else { "Move" };
        screen.say(&format!("{word} {from} to {to}\n"));
    }
    if arguments.dry_run {
        return Ok(0);
    }
    let count = pairs.len();
    let entries = pairs.into_iter().map(|(from, to)| Entry::Moved { from, to }).collect();
    write(&kept.journal, entries).await?;
    screen.say(&format!("Successfully moved {}.\n", objects(count)));
    if !screen.in_automation {
        screen.say("\nThe stack must call them the same; a `moved` block does both in one plan.\n");
    }
    Ok(0)
}

/// Nothing may be in the way of a move, nor half done.
fn check(pairs: &BTreeMap<Address, Address>, state: &Folded) -> Result<(), Vec<Diagnostic>> {
    let mut failures = Vec::new();
    for (from, to) in pairs {
        if state.records.contains_key(to) {
            failures.push(
                Diagnostic::error(
                    "The address is taken",
                    format!("{from} cannot become {to}: the state has a record there already."),
                )
                .about(to)
                .hint(format!("move {to} away first, or forget it with `fleetform state rm`")),
            );
        }
    }
    failures.extend(unsettled(pairs.keys(), state));
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// What was begun at these addresses and not ended: it is settled first.
fn unsettled<'a>(addresses: impl Iterator<Item = &'a Address>, state: &Folded) -> Vec<Diagnostic> {
    let open = |address: &&Address| state.open.values().any(|open| open.address == **address);
    let failures = addresses.filter(open).map(|address| {
        Diagnostic::error(
            "An operation is open",
            format!(
                "An interrupted run was in the middle of {address}; what came of it is not known."
            ),
        )
        .about(address)
        .hint("run `fleetform apply` first: it looks, and goes on")
    });
    failures.collect()
}

pub async fn rm(screen: &Screen, setting: &Setting, arguments: &Rm) -> Ended {
    let (kept, state) = super::open(screen, setting).await?;
    let addresses = super::named(&kept, &state, &arguments.addresses)?;
    let open = unsettled(addresses.iter(), &state);
    if !open.is_empty() {
        return Err(open);
    }
    for address in &addresses {
        let word = if arguments.dry_run { "Would remove" } else { "Removed" };
        screen.say(&format!("{word} {address}\n"));
    }
    if arguments.dry_run {
        return Ok(0);
    }
    let count = addresses.len();
    let entries = addresses.into_iter().map(|address| Entry::Forgotten { address }).collect();
    write(&kept.journal, entries).await?;
    screen.say(&format!("Successfully removed {} from the state.\n", objects(count)));
    if !screen.in_automation {
        screen.say("\nThey go on to exist, and keep their tags. While the stack asks for them, the next plan\nwants to make them again: import them, or take them out of the stack.\n");
    }
    Ok(0)
}

pub async fn unprotect(screen: &Screen, setting: &Setting, arguments: &Unprotect) -> Ended {
    let (kept, state) = super::open(screen, setting).await?;
    let addresses = super::named(&kept, &state, &arguments.addresses)?;
    let lifted: Vec<Address> =
        addresses.into_iter().filter(|address| state.protected.contains_key(address)).collect();
    if lifted.is_empty() {
        screen.say("None of these objects is protected.\n");
        return Ok(0);
    }
    for address in &lifted {
        screen.say(&format!("{address} may be destroyed again\n"));
    }
    let entries = lifted.iter().cloned().map(|address| Entry::Unprotected { address }).collect();
    write(&kept.journal, entries).await?;
    Ok(0)
}

pub async fn untaint(screen: &Screen, setting: &Setting, arguments: &Untaint) -> Ended {
    let (kept, state) = super::open(screen, setting).await?;
    let addresses = super::named(&kept, &state, &arguments.addresses)?;
    let records = addresses.iter().filter_map(|address| state.records.get(address));
    let tainted: Vec<&Record> = records.filter(|record| record.tainted).collect();
    if tainted.is_empty() {
        screen.say("None of these objects is tainted.\n");
        return Ok(0);
    }
    for record in &tainted {
        screen.say(&format!("{} is not replaced any more for its creation\n", record.address));
    }
    let whole = tainted.into_iter().map(|record| Record { tainted: false, ..record.clone() });
    write(&kept.journal, whole.map(|record| Entry::Observed { record }).collect()).await?;
    Ok(0)
}

fn objects(count: usize) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}
