//! From a session to a plan: the pipeline, wired.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Record, Resource, Silent, Value};
use fleetform_state::{Entry, Journal, OpenOperation, OutputValue, State};

use super::errored;
use super::session::Session;
use crate::apply::{Settled, Settling, settle};
use crate::config::Stack;
use crate::diagnostic::Diagnostic;
use crate::placement::Placement;
use crate::plan::{
    Action, Change, CheckResult, CheckStatus, Moves, Operation, OutputChange, Past, Plan, Scope,
};
use crate::problem::{Conditions, Problem};
use crate::refresh::{self, Observed};
use crate::{placement, plan, problem, resources};

/// A plan with what it was made from.
pub struct Planned {
    pub plan: Plan,
    /// What exists, by the refresh.
    pub records: BTreeMap<Address, Record>,
    /// What became of interrupted operations.
    pub settled: Vec<Settled>,
    pub warnings: Vec<Diagnostic>,
}

/// What to plan beside the stack itself.
pub struct Wish<'a> {
    pub aim: Aim<'a>,
    pub refresh: bool,
    pub parallelism: usize,
    pub replace: &'a [String],
    /// Only these, and what they need; all, where there are none.
    pub targets: &'a [String],
    /// Not these, nor what needs them.
    pub excluded: &'a [String],
    /// Wait for half-done creations instead of only looking at them: for runs that write.
    pub resume: bool,
}

/// What the world is to become.
#[derive(Clone, Copy)]
pub enum Aim<'a> {
    Stack,
    Nothing,
    /// What it is: only the records follow.
    Records,
    /// What it was.
    Past(&'a Past),
}

/// What a plan is to reach, in resources.
#[derive(Default)]
struct Goal {
    desired: BTreeMap<Address, Resource>,
    placement: Option<Placement>,
    outputs: BTreeMap<String, OutputValue>,
    checks: Vec<CheckResult>,
    /// Ids by which imports were found.
    imports: BTreeMap<Address, String>,
    /// The entry of the past that it is.
    entry: Option<u64>,
    warnings: Vec<Diagnostic>,
}

/// Reads what exists, decides the placement, and compares.
pub async fn plan(session: &Session<'_>, wish: &Wish<'_>) -> Result<Planned, Vec<Diagnostic>> {
    let replace = addresses(wish.replace)?;
    let state = session.journal.read(|log| log.state().clone()).await;
    let settled = settled(session, &state, &state.records, wish.resume).await?;
    let (mut known, serial) = (state.records, state.serial);
    let protected = state.protected;
    let vault = &session.stack.vault;
    settled.iter().for_each(|settled| settled.fold(&mut known));
    let moves = match wish.aim {
        Aim::Stack => plan::moves(&session.stack, &known)?,
        Aim::Nothing | Aim::Records | Aim::Past(_) => Moves::default(),
    };
    let known = moves.rename(known);
    let mut observed = if wish.refresh {
        let listener = session.reading();
        refresh::observe(&known, &session.clouds, vault, wish.parallelism, &listener).await?
    } else {
        Observed { records: known, drift: Vec::new() }
    };
    let mut last = last_placement(&session.journal).await;
    if let Some(last) = &mut last {
        moves.rename_placement(last);
    }
    if let (Some(last), false) = (&last, wish.refresh) {
        session.expect_loads(last);
    }
    let mut goal = goal(session, wish.aim, &mut observed, last.as_ref()).await?;
    plan::ignore_drift(&session.stack, &observed.records, &mut observed.drift);
    let mut marked = protected.clone();
    moves.rename_protected(&mut marked);
    plan::mark(&session.stack, &mut goal.desired, &marked);
    if wish.aim.is_stack() {
        plan::ignore(&session.stack, &mut goal.desired, &observed.records);
    }
    expect_made(&replace, &goal.desired)?;
    let mut changes = match wish.aim {
        Aim::Records => observed.records.values().cloned().map(Change::unchanged).collect(),
        _ => plan::diff(&goal.desired, &observed.records, &replace, &session.clouds),
    };
    match wish.aim {
        Aim::Past(_) => {
            let has_cloud = |name: &str| session.clouds.provider(name).is_some();
            plan::feasible(&mut changes, vault, &has_cloud)?;
        }
        Aim::Records => {}
        Aim::Stack | Aim::Nothing => {
            moves.note(&mut changes, &session.stack, &goal.desired)?;
            plan::forget(&mut changes, &session.stack, &goal.desired, &session.clouds)?;
        }
    }
    for change in &mut changes {
        change.importing = goal.imports.remove(&change.address);
    }
    let (changes, scope) = plan::part(changes, &session.stack, wish.targets, wish.excluded)?;
    plan::guard(&changes, &session.stack, &protected)?;
    let mut protection = plan::protection(&session.stack, &goal.desired, &marked);
    protection.retain(|address, _| {
        let is_left = |change: &Change| change.address == *address && change.desired.is_none();
        wish.aim.is_stack() && (scope.is_whole() || !changes.iter().any(is_left))
    });
    let mut warnings = session.stack.warnings.clone();
    warnings.append(&mut goal.warnings);
    let mut inputs = session.inputs.clone();
    if wish.aim.is_stack() {
        inputs.loads.clone_from(session.loads().await?);
        inputs.day = session.stack.has_windows().then(|| session.day.clone());
    }
    let plan = Plan {
        format: 1,
        fleetform_version: env!("CARGO_PKG_VERSION").to_owned(),
        stack: session.stack.name.clone(),
        lineage: session.owner.lineage.clone(),
        serial,
        operation: wish.aim.operation(),
        changes,
        drift: observed.drift,
        outputs: outputs(session, scope, wish.aim, goal.outputs).await,
        scope,
        protection,
        checks: goal.checks,
        placement: goal.placement,
        goes_back_to: goal.entry,
        cost_before_month: last.map(|placement| placement.cost.total_month),
        inputs,
        created: super::screen::now(),
    };
    warnings.extend((!wish.resume && !settled.is_empty()).then(|| open_operations(&settled)));
    warnings.extend(plan::forgetting(&plan));
    warnings.extend((scope == Scope::Part).then(plan::targeting));
    Ok(Planned { plan, records: observed.records, settled, warnings })
}

/// What the user of a plan must know of operations that only an apply settles.
fn open_operations(settled: &[Settled]) -> Diagnostic {
    let addresses: Vec<String> = settled.iter().map(|it| format!("  - {}", it.address)).collect();
    Diagnostic::warning(
        "Operations of an earlier run are open",
        format!(
            "A run ended before it knew, or recorded, how these ended. The plan takes what is there for \
             what it is:\n{}",
            addresses.join("\n")
        ),
    )
    .hint("the next `fleetform apply` finishes them or clears them up, before it plans")
}

impl Aim<'_> {
    pub fn operation(self) -> Operation {
        match self {
            Aim::Stack | Aim::Past(_) => Operation::Apply,
            Aim::Nothing => Operation::Destroy,
            Aim::Records => Operation::Refresh,
        }
    }

    fn is_stack(self) -> bool {
        matches!(self, Aim::Stack)
    }
}

/// What is to be reached. What an import found is among the observed records after this.
async fn goal(
    session: &Session<'_>,
    aim: Aim<'_>,
    observed: &mut Observed,
    last: Option<&Placement>,
) -> Result<Goal, Vec<Diagnostic>> {
    match aim {
        Aim::Nothing => Ok(Goal::default()),
        Aim::Records => Ok(Goal { placement: last.cloned(), ..Goal::default() }),
        Aim::Past(past) => {
            let mut desired = past.desired.clone();
            let vault = &session.stack.vault;
            let kept = plan::keep_secrets(&mut desired, &observed.records, vault);
            Ok(Goal {
                desired,
                placement: past.placement.clone(),
                outputs: past.outputs.clone(),
                entry: Some(past.entry),
                warnings: kept.iter().map(secret_kept).collect(),
                ..Goal::default()
            })
        }
        Aim::Stack => {
            let (placement, warnings) = place(session, last).await?;
            let (mut stack, mut desired) = settle_blocks(session, &placement, &observed.records)?;
            let found = import(session, &desired, &observed.records).await?;
            let mut imports = BTreeMap::new();
            for (id, record) in found {
                imports.insert(record.address.clone(), id);
                observed.records.insert(record.address.clone(), record);
            }
            if !imports.is_empty() {
                (stack, desired) = settle_blocks(session, &placement, &observed.records)?;
            }
            let checks = checks(&stack);
            let outputs = stack.outputs.into_iter().map(|(name, output)| {
                (name, OutputValue { value: output.value, sensitive: output.sensitive })
            });
            let (outputs, placement) = (outputs.collect(), Some(placement));
            Ok(Goal { desired, placement, outputs, checks, imports, warnings, entry: None })
        }
    }
}

fn secret_kept(address: &Address) -> Diagnostic {
    Diagnostic::warning(
        "A secret stays as it is now",
        format!(
            "{address} had another secret then, of which the state keeps only a digest: it cannot be put back, and keeps its present one."
        ),
    )
    .about(address)
    .hint("give the stack the value of then and apply that, where it matters")
}

/// What is to be replaced must be made.
fn expect_made(
    replace: &BTreeSet<Address>,
    desired: &BTreeMap<Address, Resource>,
) -> Result<(), Vec<Diagnostic>> {
    match replace.iter().find(|address| !desired.contains_key(*address)) {
        None => Ok(()),
        Some(address) => Err(vec![
            Diagnostic::error(
                "No such address to replace",
                format!("The stack makes no resource {address}."),
            )
            .hint("`fleetform state list` shows the addresses that exist"),
        ]),
    }
}

/// The records of what `import` blocks name and the state does not have yet, with the ids by which they
/// were found.
async fn import(
    session: &Session<'_>,
    desired: &BTreeMap<Address, Resource>,
    records: &BTreeMap<Address, Record>,
) -> Result<Vec<(String, Record)>, Vec<Diagnostic>> {
    let new = session.stack.imports.iter().filter(|import| !records.contains_key(&import.to));
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for import in new {
        let finding = refresh::Finding { desired, records, clouds: &session.clouds };
        match finding.find(import, &session.owner, &session.stack.vault).await {
            Ok(record) => found.push((import.id.clone(), record)),
            Err(failure) => failures.push(failure.at(import.span.clone()).about(&import.to)),
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(failures) }
}

/// The stack and its resources with what its blocks compute (`registry.main.urls`), as far as that
/// exists already: else an output of it would look changed in every plan.
fn settle_blocks(
    session: &Session<'_>,
    placement: &Placement,
    records: &BTreeMap<Address, Record>,
) -> Result<(Stack, BTreeMap<Address, Resource>), Vec<Diagnostic>> {
    let desired = expand(session, &session.stack, placement);
    let waits = session.stack.outputs.values().any(|output| output.value.has_unknown())
        || desired.values().flat_map(|resource| resource.attributes.values()).any(is_of_block)
        || session.stack.checks.values().flat_map(|c| &c.assertions).any(|a| a.holds.is_none());
    let known = resources::computed(&session.stack, &desired, records, &session.clouds);
    if !waits || known.is_empty() {
        return Ok((session.stack.clone(), desired));
    }
    let stack = session.evaluate_with(known)?;
    let desired = expand(session, &stack, placement);
    Ok((stack, desired))
}

/// Whether an unknown of a block, and not of a resource, stands in a value.
fn is_of_block(value: &Value) -> bool {
    let mut found = false;
    value.map_leaves(&mut |leaf| {
        if let Value::Unknown(unknown) = leaf {
            found |=
                unknown.address.starts_with("registry.") || unknown.address.starts_with("cloud.");
        }
        Value::Null
    });
    found
}

/// The resources of a placement, for a stack (which may be one evaluated again).
pub fn expand(
    session: &Session<'_>,
    stack: &Stack,
    placement: &Placement,
) -> BTreeMap<Address, Resource> {
    resources::expand(stack, placement, &session.clouds, &session.owner)
}

/// The placement that the state remembers.
pub async fn last_placement(journal: &Journal) -> Option<Placement> {
    let kept = journal.read(|log| log.state().placement.clone()).await?;
    serde_json::from_value(kept).ok()
}

/// Decides the placement of the session's stack. With it: what is doubtful in what was asked for.
pub async fn place(
    session: &Session<'_>,
    last: Option<&Placement>,
) -> Result<(Placement, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut problem = pose(session, &Conditions::default(), last).await?;
    let doubts = std::mem::take(&mut problem.warnings);
    let placement = solving(move || placement::solve(&problem)).await?;
    Ok((placement, doubts))
}

/// Solving is work for a processor, not for the threads that answer sockets.
pub async fn solving<T: Send + 'static>(solve: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(solve).await.expect("the solver does not panic")
}

/// The question that the session's stack puts to the solver, with what its clouds offer and allow now,
/// under other conditions.
pub async fn pose(
    session: &Session<'_>,
    conditions: &Conditions,
    last: Option<&Placement>,
) -> Result<Problem, Vec<Diagnostic>> {
    // Catalogs are long enough to be read side by side.
    let offerings = std::thread::scope(|scope| {
        let clouds = session.clouds.iter();
        let reading = clouds.map(|(name, cloud)| (name, scope.spawn(|| cloud.offerings())));
        let reading: Vec<_> = reading.collect();
        let read = reading.into_iter().map(|(name, thread)| {
            (name.to_owned(), thread.join().expect("a catalog that this program brings along"))
        });
        read.collect::<BTreeMap<_, _>>()
    });
    let mut quotas = BTreeMap::new();
    let mut tariffs = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, provider) in session.clouds.iter() {
        tariffs.insert(name.to_owned(), provider.tariff());
        match session.clouds.call(name, "quotas", &Silent, || provider.quotas()).await {
            Ok(limits) => {
                quotas.insert(name.to_owned(), limits);
            }
            Err(error) => failures.push(Diagnostic::error(
                "Quotas could not be read",
                format!("Reading the quotas of cloud `{name}` failed: {error}."),
            )),
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    let mut stack = session.stack.clone();
    stack.know(session.loads().await?);
    let ending = stack.on_day(&session.day);
    conditions.apply(&mut stack, &mut quotas);
    let mut problem = problem::pose(&stack, &offerings, &quotas, &tariffs, last)?;
    problem.warnings.extend(ending);
    Ok(problem)
}

fn addresses(texts: &[String]) -> Result<BTreeSet<Address>, Vec<Diagnostic>> {
    let mut parsed = BTreeSet::new();
    let mut failures = Vec::new();
    for text in texts {
        match address(text) {
            Ok(address) => drop(parsed.insert(address)),
            Err(failure) => failures.extend(failure),
        }
    }
    if failures.is_empty() { Ok(parsed) } else { Err(failures) }
}

/// The address of one resource.
pub fn address(text: &str) -> Result<Address, Vec<Diagnostic>> {
    text.parse().map_err(|error| {
        vec![
            Diagnostic::error("Not an address", format!("{error}."))
                .hint("write it as the plan does, in quotes for the shell: 'TYPE.NAME[\"KEY\"]'"),
        ]
    })
}

/// The outputs before and after. What a part of the stack, or only the records, are about leaves them as
/// they are.
async fn outputs(
    session: &Session<'_>,
    scope: Scope,
    aim: Aim<'_>,
    after: BTreeMap<String, OutputValue>,
) -> BTreeMap<String, OutputChange> {
    let before = session.journal.read(|log| log.state().outputs.clone()).await;
    let after = match (scope, aim) {
        (Scope::Part, _) | (_, Aim::Records) => before.clone(),
        _ => after,
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = names.into_iter().map(|name| {
        let (before, after) = (before.get(name), after.get(name));
        let change = OutputChange {
            before: before.map(|output| output.value.clone()),
            after: after.map(|output| output.value.clone()),
            sensitive: after.or(before).is_some_and(|output| output.sensitive),
        };
        (name.clone(), change)
    });
    changes.collect()
}

fn checks(stack: &Stack) -> Vec<CheckResult> {
    let results = stack.checks.iter().map(|(name, check)| {
        let failed: Vec<String> = check
            .assertions
            .iter()
            .filter(|assertion| assertion.holds == Some(false))
            .map(|assertion| assertion.message.clone())
            .collect();
        let status = if !failed.is_empty() {
            CheckStatus::Fail
        } else if check.assertions.iter().any(|assertion| assertion.holds.is_none()) {
            CheckStatus::Unknown
        } else {
            CheckStatus::Pass
        };
        CheckResult { name: name.clone(), status, problems: failed }
    });
    results.collect()
}

/// The open operations to look at. What another run has claimed it may be in the middle of: who only
/// looks may look, who resumes leaves it alone.
fn to_settle(state: &State, run: &str, resume: bool) -> BTreeMap<String, OpenOperation> {
    let is_ours = |address: &Address| state.claims.other(run, address).is_none();
    let mut open = state.open.clone();
    open.retain(|_, operation| !resume || is_ours(&operation.address));
    open
}

/// Settles what was interrupted.
pub async fn settled(
    session: &Session<'_>,
    state: &State,
    records: &BTreeMap<Address, Record>,
    resume: bool,
) -> Result<Vec<Settled>, Vec<Diagnostic>> {
    let open = to_settle(state, session.journal.run(), resume);
    let (clouds, owner, vault) = (&session.clouds, &session.owner, &session.stack.vault);
    let kept = errored::read(session)?;
    settle(&open, records, &Settling { clouds, owner, vault, resume, kept: &kept }).await
}

/// What to write into the log before a run: what interrupted operations came to, what moves, is taken
/// over and is protected, what was found changed, and what was found gone. Nothing where another run is at
/// work, or was since the plan was made. `state` is what the log says now.
pub fn findings(state: &State, run: &str, planned: &Planned) -> Vec<Entry> {
    let is_free = |address: &Address| state.claims.other(run, address).is_none();
    let mut entries = Vec::new();
    let mut records = state.records.clone();
    for settled in planned.settled.iter() {
        // Another run may have been faster.
        if !is_free(&settled.address) || !state.open.contains_key(&settled.op) {
            continue;
        }
        entries.push(settled.entry());
        settled.fold(&mut records);
    }
    let moved = foreseen(&planned.plan, &records, &is_free, &mut entries);
    // What was settled may have been found changed, or gone, by the refresh behind it.
    for (recorded, before) in &records {
        let address = moved.get(recorded).unwrap_or(recorded);
        if before.version > planned.plan.serial || !is_free(address) {
            continue;
        }
        match planned.records.get(address) {
            None => entries.push(Entry::Vanished { address: address.clone() }),
            Some(now) if now.attributes != before.attributes || now.id != before.id => {
                entries.push(Entry::Observed { record: now.clone() });
            }
            Some(_) => {}
        }
    }
    entries
}

/// Adds what the plan changes in the records alone: moves (which it gives back), imports, protection.
fn foreseen(
    plan: &Plan,
    records: &BTreeMap<Address, Record>,
    is_free: &dyn Fn(&Address) -> bool,
    entries: &mut Vec<Entry>,
) -> BTreeMap<Address, Address> {
    let mut moved = BTreeMap::new();
    for change in plan.changes.iter().filter(|change| is_free(&change.address)) {
        let address = &change.address;
        match (&change.previous, &change.before) {
            (Some(from), _) if records.contains_key(from) && is_free(from) => {
                entries.push(Entry::Moved { from: from.clone(), to: address.clone() });
                moved.insert(from.clone(), address.clone());
            }
            (None, Some(record))
                if change.importing.is_some() && !records.contains_key(address) =>
            {
                entries.push(Entry::Adopted { record: record.clone() });
            }
            _ => {}
        }
    }
    for (address, by) in plan.protection.iter().filter(|(address, _)| is_free(address)) {
        let address = address.clone();
        entries.push(match by.clone() {
            Some(by) => Entry::Protected { address, by },
            None => Entry::Unprotected { address },
        });
    }
    moved
}

/// What to write into the log after a run that is complete: what is ours no longer. Not before: while
/// there is something left to do in a cluster, we know the cluster.
pub fn forgotten(plan: &Plan) -> Vec<Entry> {
    let forgotten = plan.changes.iter().filter(|change| change.action == Action::Forget);
    forgotten.map(|change| Entry::Forgotten { address: change.address.clone() }).collect()
}

impl Planned {
    /// Takes over the versions that the records have, now that the findings are written.
    pub fn stamp(&mut self, state: &State) {
        let before = self.plan.changes.iter_mut().filter_map(|change| change.before.as_mut());
        for record in before.chain(self.records.values_mut()) {
            if let Some(recorded) = state.records.get(&record.address) {
                record.version = recorded.version;
            }
        }
    }
}
