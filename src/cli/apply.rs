//! `apply` and `destroy`: makes the world what a plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal};

use fleetform_contract::{Address, Record, Resource};
use fleetform_state::OutputValue;
use tokio::sync::watch;

use super::arguments::{Apply, Destroy, RunArguments};
use super::plan::{aim, refuse_foreign, show, version_event, wish};
use super::planning::{self, Aim, Planned};
use super::progress::Progress;
use super::saved;
use super::screen::Screen;
use super::session::{Session, Setting};
use super::{Ended, errored, lock, locked, signals};
use crate::apply::{self, Outcome, Settings, Settled, Stop};
use crate::diagnostic::Diagnostic;
use crate::plan::{Counts, Operation, Plan, Scope, order};
use crate::resources;
use crate::view;

pub async fn run(screen: &Screen, arguments: &Apply, ordered: &[(bool, String)]) -> Ended {
    refuse_foreign(&arguments.run)?;
    version_event(screen);
    if arguments.plan_or_directory.is_dir() {
        let setting = Setting::new(&arguments.plan_or_directory, &arguments.run.stack, ordered);
        let aim = aim(&arguments.run, arguments.destroy)?;
        return fresh(screen, &setting, &arguments.run, aim, arguments.auto_approve).await;
    }
    let chosen = [&arguments.run.replace, &arguments.run.target, &arguments.run.exclude];
    let other = arguments.destroy || arguments.run.refresh_only;
    if !ordered.is_empty() || chosen.iter().any(|texts| !texts.is_empty()) || other {
        return Err(vec![
            Diagnostic::error(
                "A saved plan takes no planning flags",
                "Variables, -replace, -target, -exclude, -destroy and -refresh-only were decided when the plan was made.",
            )
            .hint("plan again with them, or apply the directory"),
        ]);
    }
    from_saved(screen, arguments).await
}

pub async fn destroy(screen: &Screen, arguments: &Destroy, ordered: &[(bool, String)]) -> Ended {
    refuse_foreign(&arguments.run)?;
    version_event(screen);
    let setting = Setting::new(&arguments.directory, &arguments.run.stack, ordered);
    let aim = aim(&arguments.run, true)?;
    fresh(screen, &setting, &arguments.run, aim, arguments.auto_approve).await
}

async fn fresh(
    screen: &Screen,
    setting: &Setting,
    run: &RunArguments,
    aim: Aim<'_>,
    auto_approve: bool,
) -> Ended {
    let session = Session::open_begun(screen, setting).await?;
    let wish = wish(run, aim, true);
    let (planned, holding) = match lock::locking(&session, run, &lock::Waiting(screen)) {
        Some(locking) => {
            let (planned, holding) = locked::plan_locked(&session, &wish, &locking).await?;
            (planned, Some(holding))
        }
        None => (planning::plan(&session, &wish).await?, None),
    };
    show(screen, &planned, "plan");
    screen.diagnostics(&planned.warnings);
    let approved = match planned.plan.has_changes() && !auto_approve {
        true => approve(screen, run, aim.operation()),
        false => Ok(()),
    };
    let ended = match approved {
        Ok(()) => heeding(&session, planned, run).await,
        Err(diagnostics) => Err(diagnostics),
    };
    lock::release(screen, holding, &ended).await;
    ended
}

async fn from_saved(screen: &Screen, arguments: &Apply) -> Ended {
    let (plan, run) = (saved::read(&arguments.plan_or_directory)?, &arguments.run);
    let setting = Setting::of_plan(&plan);
    let session = Session::open_begun(screen, &setting).await?;
    same_sources(&session, &plan)?;
    let holding = match lock::locking(&session, run, &lock::Waiting(screen)) {
        Some(locking) => Some(locked::lock_saved(&session, &plan, &locking).await?),
        None => None,
    };
    let ended = match revive(&session, plan).await {
        Ok(planned) => heeding(&session, planned, run).await,
        Err(diagnostics) => Err(diagnostics),
    };
    lock::release(screen, holding, &ended).await;
    ended
}

/// The plan with the records as they still are; refused where what it needs has changed since.
pub async fn revive(session: &Session<'_>, plan: Plan) -> Result<Planned, Vec<Diagnostic>> {
    if plan.lineage != session.owner.lineage {
        return Err(vec![stale("it was made for another state (the lineages differ)")]);
    }
    let state = session.journal.read(|log| log.state().clone()).await;
    // Whatever else has changed since: what was protected is not destroyed.
    crate::plan::guard(&plan.changes, &session.stack, &state.protected)?;
    if let Some(what) = locked::moved(&plan, &BTreeSet::new(), &state) {
        return Err(vec![stale(&format!("since then, {what}"))]);
    }
    // The plan's own view: with what the refresh saw.
    let seen = plan.changes.iter().filter_map(|change| change.before.clone());
    let mut records: BTreeMap<Address, Record> =
        seen.map(|record| (record.address.clone(), record)).collect();
    let settled = planning::settled(session, &state, &records, true).await?;
    // Whatever becomes of the plan, this is how it is now: a new plan need not settle it again.
    session.write(settled.iter().map(Settled::entry).collect()).await?;
    let mut known = state.records;
    settled.iter().for_each(|settled| settled.fold(&mut known));
    let related = locked::related(&plan);
    for settled in settled.iter().filter(|settled| related.contains(&settled.address)) {
        let address = &settled.address;
        let (then, now) = (records.get(address), known.get(address));
        if !is_as_seen(then, now) {
            return Err(vec![stale(&format!(
                "an operation at {address}, which an interrupted run had left open, came to something else than the plan took it for"
            ))]);
        }
    }
    settled.iter().for_each(|settled| settled.fold(&mut records));
    Ok(Planned { plan, records, settled: Vec::new(), warnings: Vec::new() })
}

/// Whether an object is what a plan saw, down to what clouds compute: others may be made from that.
fn is_as_seen(then: Option<&Record>, now: Option<&Record>) -> bool {
    match (then, now) {
        (Some(then), Some(now)) => {
            (&then.id, then.tainted) == (&now.id, now.tainted) && then.attributes == now.attributes
        }
        (then, now) => then.is_none() && now.is_none(),
    }
}

/// The stack is what it was: outputs and late values are evaluated from it again.
fn same_sources(session: &Session<'_>, plan: &Plan) -> Result<(), Vec<Diagnostic>> {
    let (then, now) = (&plan.inputs.sources, &session.inputs.sources);
    let moved = then.iter().find(|(file, hash)| now.get(*file) != Some(hash));
    let added = now.keys().find(|file| !then.contains_key(*file));
    match moved.map(|(file, _)| file).or(added) {
        Some(file) => Err(vec![stale(&format!("since then, {file} was changed"))]),
        None => Ok(()),
    }
}

fn stale(why: &str) -> Diagnostic {
    Diagnostic::error("Saved plan is stale", format!("The plan cannot be applied any more: {why}."))
        .hint("plan again")
}

fn approve(
    screen: &Screen,
    run: &RunArguments,
    operation: Operation,
) -> Result<(), Vec<Diagnostic>> {
    let cancelled = |detail: &str| {
        let verb = if operation == Operation::Destroy { "Destroy" } else { "Apply" };
        vec![
            Diagnostic::error(format!("{verb} cancelled"), detail.to_owned())
                .hint("use -auto-approve where nobody can answer, or apply a saved plan"),
        ]
    };
    if screen.json || !run.input {
        return Err(cancelled("The plan needs approval and there is nobody to ask."));
    }
    screen.say(match operation {
        Operation::Apply => {
            "\nDo you want to perform these actions?\n  Fleetform will perform the actions described above.\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: "
        }
        Operation::Refresh => {
            "\nWould you like to update the state to reflect these detected changes?\n  Fleetform will write these changes to the state without modifying any real infrastructure.\n  There is no undo. Only 'yes' will be accepted to confirm.\n\n  Enter a value: "
        }
        Operation::Destroy => {
            "\nDo you really want to destroy all resources?\n  Fleetform will destroy all your managed infrastructure, as shown above.\n  There is no undo. Only 'yes' will be accepted to confirm.\n\n  Enter a value: "
        }
    });
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if !std::io::stdin().is_terminal() {
        screen.say("\n");
    }
    match read {
        Ok(_) if answer.trim() == "yes" => {
            screen.say("\n");
            Ok(())
        }
        _ => Err(cancelled("The answer was not 'yes'; nothing was changed.")),
    }
}

/// Carries a plan out until it is done, or a signal asks for its end.
async fn heeding(session: &Session<'_>, planned: Planned, run: &RunArguments) -> Ended {
    let (stop, stopping) = watch::channel(Stop::default());
    tokio::select! {
        // Who listens does so before the first operation begins.
        biased;
        never = signals::heed(session.screen, &stop) => match never {},
        ended = carry_out(session, planned, run.parallelism.into(), &stopping) => ended,
    }
}

/// Makes the world what the plan says, and records what came of it.
pub async fn carry_out(
    session: &Session<'_>,
    mut planned: Planned,
    parallelism: usize,
    stop: &watch::Receiver<Stop>,
) -> Ended {
    let screen = session.screen;
    let state = session.journal.read(|log| log.state().clone()).await;
    session.write(planning::findings(&state, session.journal.run(), &planned)).await?;
    errored::forget(session).await?;
    let state = session.journal.read(|log| log.state().clone()).await;
    planned.stamp(&state);
    // The names of the operations: no other run has written the entry that this one has read last.
    planned.plan.serial = state.serial;
    let plan = &planned.plan;
    let steps = order(&plan.changes).len();
    let progress = Progress::new(screen, steps);
    let refine = |address: &Address, records: &BTreeMap<Address, Record>| {
        refine(session, plan, address, records)
    };
    let settings = Settings {
        clouds: &session.clouds,
        owner: &session.owner,
        journal: &session.journal,
        vault: &session.stack.vault,
        parallelism,
        stop,
        listener: &progress,
        refine: &refine,
    };
    let outcome = apply::run(plan, planned.records, &settings).await;
    progress.finish();
    finish(session, plan, &outcome).await
}

/// Records what the run came to, and says it.
async fn finish(session: &Session<'_>, plan: &Plan, outcome: &Outcome) -> Ended {
    let screen = session.screen;
    let verb = view::events::operation(plan);
    let mut shown = BTreeMap::new();
    if outcome.is_complete() {
        session.write(planning::forgotten(plan)).await?;
    }
    if outcome.is_complete() && plan.scope == Scope::Part {
        screen.diagnostics(&[crate::plan::incomplete()]);
    } else if outcome.is_complete() && plan.operation != Operation::Refresh {
        let outputs = outputs_after(session, plan, &outcome.records)?;
        shown = outputs.clone();
        let placement = match (&plan.placement, plan.operation) {
            (Some(placement), Operation::Apply) => {
                serde_json::to_value(placement).expect("placements serialize")
            }
            _ => serde_json::Value::Null,
        };
        session.record(placement, outputs).await?;
    }
    // What is imported is so before the first operation.
    let imported = plan.counts().import;
    let (added, changed, destroyed) = (outcome.added, outcome.changed, outcome.destroyed);
    let counts = Counts { import: imported, add: added, change: changed, destroy: destroyed };
    let fields = view::events::change_summary(counts, verb);
    let imported = match imported {
        0 => String::new(),
        count => format!("{count} imported, "),
    };
    if outcome.is_complete() {
        let word = if plan.operation == Operation::Destroy { "Destroy" } else { "Apply" };
        let counts = match plan.operation {
            Operation::Destroy => format!("Resources: {destroyed} destroyed."),
            Operation::Apply | Operation::Refresh => format!(
                "Resources: {imported}{added} added, {changed} changed, {destroyed} destroyed."
            ),
        };
        let message = format!("{word} complete! {counts}");
        screen.say(&format!("\n{}\n", screen.paint.bold(&screen.paint.green(&message))));
        screen.event("info", "change_summary", &message, fields);
        show_outputs(screen, &shown);
        return Ok(0);
    }
    let unfinished = outcome.unfinished();
    let count = |end: &str| unfinished.iter().filter(|(_, ended)| *ended == end).count();
    let message = format!(
        "Resources so far: {imported}{added} added, {changed} changed, {destroyed} destroyed. Operations not \
         done: {} failed, {} unknown, {} not started.",
        count("failed"),
        count("unknown"),
        count("blocked"),
    );
    screen.say(&format!("\n{message}\n"));
    let mut fields = fields;
    fields["unfinished"] = view::events::unfinished(&unfinished);
    screen.event("info", "change_summary", &message, fields);
    let mut diagnostics = apply::diagnostics(outcome, verb);
    if !outcome.unwritten.is_empty() {
        diagnostics.push(kept(session, outcome, verb));
    }
    Err(diagnostics)
}

/// Keeps beside the stack what the state should know, and says so.
fn kept(session: &Session<'_>, outcome: &Outcome, verb: &str) -> Diagnostic {
    let path = errored::path(session).display().to_string();
    match errored::keep(session, &outcome.unwritten) {
        Ok(()) => Diagnostic::warning(
            "Results were kept beside the state",
            format!(
                "What {} operations came to could not be written into the state. It is in {path}.",
                outcome.unwritten.len()
            ),
        )
        .hint(format!(
            "make the state writable again, then run `fleetform {verb}`: it takes the file in"
        )),
        Err(error) => Diagnostic::warning(
            "Results could not be kept",
            format!("Writing {path}: {error}."),
        )
        .hint(format!(
            "make the state writable again, then run `fleetform {verb}`: it looks at the clouds for \
             what was begun"
        )),
    }
}

fn show_outputs(screen: &Screen, outputs: &BTreeMap<String, OutputValue>) {
    let events = outputs
        .iter()
        .map(|(name, output)| (name.clone(), (output.value.clone(), output.sensitive)))
        .collect();
    screen.event(
        "info",
        "outputs",
        &format!("Outputs: {}", outputs.len()),
        view::events::outputs(&events),
    );
    if outputs.is_empty() {
        return;
    }
    screen.say("\nOutputs:\n\n");
    for (name, output) in outputs {
        screen.say(&super::output::line(name, output));
    }
}

/// The outputs, evaluated with everything that is known now.
fn outputs_after(
    session: &Session<'_>,
    plan: &Plan,
    records: &BTreeMap<Address, Record>,
) -> Result<BTreeMap<String, OutputValue>, Vec<Diagnostic>> {
    if plan.operation == Operation::Destroy {
        return Ok(BTreeMap::new());
    }
    if plan.goes_back_to.is_some() {
        let then = plan.outputs.iter().filter_map(|(name, output)| {
            let value = output.after.clone()?;
            Some((name.clone(), OutputValue { value, sensitive: output.sensitive }))
        });
        return Ok(then.collect());
    }
    let desired = desired(plan);
    let known = resources::computed(&session.stack, &desired, records, &session.clouds);
    let stack = session.evaluate_with(known)?;
    let outputs = stack.outputs.into_iter().map(|(name, output)| {
        (name, OutputValue { value: output.value, sensitive: output.sensitive })
    });
    Ok(outputs.collect())
}

fn desired(plan: &Plan) -> BTreeMap<Address, Resource> {
    let desired = plan.changes.iter().filter_map(|change| change.desired.clone());
    desired.map(|resource| (resource.address.clone(), resource)).collect()
}

/// One resource of the plan again, with the blocks' computed attributes as far as they are known.
fn refine(
    session: &Session<'_>,
    plan: &Plan,
    address: &Address,
    records: &BTreeMap<Address, Record>,
) -> Option<Resource> {
    let placement = plan.placement.as_ref().filter(|_| plan.goes_back_to.is_none())?;
    let known = resources::computed(&session.stack, &desired(plan), records, &session.clouds);
    let stack = session.evaluate_with(known).ok()?;
    let mut resource = planning::expand(session, &stack, placement).remove(address)?;
    let change = plan.changes.iter().find(|change| change.address == *address)?;
    if let Some(by) = change
        .desired
        .as_ref()
        .and_then(|planned| fleetform_providers::protected_by(&planned.attributes))
    {
        fleetform_providers::protect(&mut resource, by);
    }
    if let Some(before) = &change.before {
        crate::plan::ignore_one(&session.stack, &mut resource, before);
    }
    Some(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staleness_names_its_reason() {
        let told = stale("since then, aws_eks_cluster.main was removed");
        assert_eq!(told.summary, "Saved plan is stale");
        assert!(told.detail.contains("aws_eks_cluster.main was removed"), "{}", told.detail);
        assert_eq!(told.hint.as_deref(), Some("plan again"));
    }
}
