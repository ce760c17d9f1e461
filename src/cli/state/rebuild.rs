//! `state rebuild`: a lost state, made again from the tags of what is in the clouds.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Record, Resource};
use fleetform_state::{Entry, OutputValue};

use super::arguments::Rebuild;
use crate::cli::Ended;
use crate::cli::planning::{self, Aim, Wish};
use crate::cli::screen::Screen;
use crate::cli::session::{Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::placement::{self, Placement, Running};
use crate::problem::Conditions;
use crate::refresh::{Gathered, gather, gather_inside};
use crate::view;

pub async fn run(screen: &Screen, setting: &Setting, arguments: &Rebuild) -> Ended {
    let mut session = Session::open(screen, setting).await?;
    if session.journal.read(|log| log.has_begun()).await {
        return Err(vec![
            Diagnostic::error(
                "There is a state",
                "This stack has a state that can be read; it knows more than the clouds' tags do.",
            )
            .hint(
                "`fleetform plan` compares it with what exists; `fleetform state verify` checks it",
            ),
        ]);
    }
    let stack = session.stack.name.clone();
    let mut found = gather(&stack, &session.clouds).await?;
    let lineage = choose(&found, arguments.lineage.as_deref(), &stack)?;
    found.retain(|object| object.mark.lineage == lineage);
    session.begin_as(setting, &lineage).await?;

    let outside = records(&session, &found, &BTreeMap::new())?;
    found.extend(gather_inside(&stack, &session.clouds, &outside).await?);
    found.retain(|object| object.mark.lineage == lineage);
    let running = running(&session, &found).await;
    let desired = match planning::place(&session, running.as_ref()).await {
        Ok((placement, _)) => planning::expand(&session, &session.stack, &placement),
        // What cannot be placed now was placed once: its objects are found all the same.
        Err(_) => BTreeMap::new(),
    };
    let protections = protections(&found);
    let records = records(&session, &found, &desired)?;
    let count = records.len();
    for record in records.values() {
        let word = if arguments.dry_run { "Would recover" } else { "Recovered" };
        screen.say(&format!("{word} {} [id={}]\n", record.address, record.id));
    }
    if arguments.dry_run {
        screen.say(&format!("\n{count} objects of lineage {lineage} were found.\n"));
        return Ok(0);
    }
    let adopted = records.into_values().map(|record| Entry::Adopted { record });
    let placement = running.map(|placement| Entry::Placement {
        placement: serde_json::to_value(placement).expect("placements serialize"),
    });
    session.write(adopted.chain(protections).chain(placement).collect()).await?;
    screen.say(&format!("\n{count} objects were recovered, of lineage {lineage}.\n"));
    compare(&session).await
}

/// What runs where, as the workloads' objects say it; `None` where nothing does that the stack knows, or
/// where that cannot be told now.
async fn running(session: &Session<'_>, found: &[Gathered]) -> Option<Placement> {
    let mut running = Running::new();
    for object in found {
        let Some(site) = &object.site else { continue };
        for (pool, replicas) in fleetform_providers::seats(&object.remote.attributes) {
            let here = running.entry(object.mark.address.name.clone()).or_default();
            *here.entry(format!("{site}/{pool}")).or_default() += replicas;
        }
    }
    let problem = planning::pose(session, &Conditions::default(), None).await.ok()?;
    let placed = planning::solving(move || placement::running(&problem, &running)).await.ok()?;
    (!placed.seats.is_empty()).then_some(placed)
}

/// What protects objects, as they say themselves.
fn protections(found: &[Gathered]) -> Vec<Entry> {
    let entries = found.iter().filter_map(|object| {
        let by = fleetform_providers::protected_by(&object.remote.attributes)?.to_owned();
        Some(Entry::Protected { address: object.mark.address.clone(), by })
    });
    entries.collect()
}

/// Says what the next apply changes. Where that is nothing, the placement that runs and the outputs are
/// those of the stack, and are recorded as well.
async fn compare(session: &Session<'_>) -> Ended {
    let wish = Wish {
        aim: Aim::Stack,
        refresh: true,
        parallelism: 10,
        replace: &[],
        targets: &[],
        excluded: &[],
        resume: false,
    };
    let screen = session.screen;
    let planned = match planning::plan(session, &wish).await {
        Ok(planned) => planned,
        Err(diagnostics) => {
            screen.say("\nThe stack cannot be planned now:\n");
            screen.diagnostics(&diagnostics);
            return Ok(0);
        }
    };
    if planned.plan.effects().next().is_some() {
        let summary = view::plan::summary(&planned.plan, screen.paint);
        screen.say(&format!(
            "\nThe stack asks for something else. {summary}\n\"fleetform plan\" shows it.\n"
        ));
        return Ok(0);
    }
    let outputs = planned.plan.outputs.into_iter().filter_map(|(name, output)| {
        Some((name, OutputValue { value: output.after?, sensitive: output.sensitive }))
    });
    let placement = serde_json::to_value(&planned.plan.placement).expect("placements serialize");
    session.record(placement, outputs.collect()).await?;
    screen.say("\nThat is exactly what the stack asks for: there is nothing to change.\n");
    Ok(0)
}

/// The lineage to go on with: the only one, or the one that was said.
fn choose(found: &[Gathered], said: Option<&str>, stack: &str) -> Result<String, Vec<Diagnostic>> {
    let mut lineages: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for object in found {
        lineages.entry(&object.mark.lineage).or_default().insert(&object.remote.id);
    }
    let list = || {
        let line = |(lineage, ids): (&&str, &BTreeSet<&str>)| {
            let first = ids.first().copied().unwrap_or_default();
            format!("  - {lineage}: {} objects, {first} among them", ids.len())
        };
        lineages.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    match (said, lineages.len()) {
        (None, 1) => Ok(lineages.keys().next().expect("there is one").to_string()),
        (_, 0) => Err(vec![
            Diagnostic::error(
                "Nothing to rebuild from",
                format!("No cloud of the stack has an object with the tags of the stack {stack:?}."),
            )
            .hint("the stack's directory gives it its name: was it called something else?"),
        ]),
        (Some(said), _) if lineages.contains_key(said) => Ok(said.to_owned()),
        (Some(said), _) => Err(vec![
            Diagnostic::error(
                "No such lineage",
                format!("No object carries the lineage {said}. There are:\n{}", list()),
            )
            .hint("name one of these"),
        ]),
        (None, _) => Err(vec![
            Diagnostic::error(
                "Several lineages",
                format!(
                    "The clouds have objects of several states of a stack {stack:?}, as of several environments:\n{}",
                    list()
                ),
            )
            .hint("say which one this is: -lineage=LINEAGE"),
        ]),
    }
}

/// The records of what was found, one an address.
fn records(
    session: &Session<'_>,
    found: &[Gathered],
    desired: &BTreeMap<Address, Resource>,
) -> Result<BTreeMap<Address, Record>, Vec<Diagnostic>> {
    let mut records: BTreeMap<Address, Record> = BTreeMap::new();
    let mut failures = Vec::new();
    for object in found {
        let record = object.record(desired, found, &session.clouds, &session.stack.vault);
        if let Some(first) = records.get(&record.address) {
            failures.push(
                Diagnostic::error(
                    "Two objects with one address",
                    format!(
                        "The tags of {:?} and of {:?} both say {}.",
                        first.id, record.id, record.address
                    ),
                )
                .about(&record.address)
                .hint("remove the tags of the one that is out of date, or the object"),
            );
        }
        records.insert(record.address.clone(), record);
    }
    if failures.is_empty() { Ok(records) } else { Err(failures) }
}
