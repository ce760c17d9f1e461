//! From a session to a plan: the pipeline, wired.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Record, Resource, Silent, Value};
use fleetform_state::{Entry, Journal, OpenOperation, State};

use super::errored;
use super::session::Session;
use crate::apply::{Settled, Settling, settle};
use crate::config::Stack;
use crate::diagnostic::Diagnostic;
use crate::placement::Placement;
use crate::plan::{CheckResult, CheckStatus, Operation, OutputChange, Plan, Scope};
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
    pub operation: Operation,
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

/// Reads what exists, decides the placement, and compares.
pub async fn plan(session: &Session<'_>, wish: &Wish<'_>) -> Result<Planned, Vec<Diagnostic>> {
    let replace = addresses(wish.replace)?;
    let state = session.journal.read(|log| log.state().clone()).await;
    let settled = settled(session, &state, &state.records, wish.resume).await?;
    let (mut known, serial) = (state.records, state.serial);
    let vault = &session.stack.vault;
    settled.iter().for_each(|settled| settled.fold(&mut known));
    let observed = if wish.refresh {
        let listener = session.reading();
        refresh::observe(&known, &session.clouds, vault, wish.parallelism, &listener).await?
    } else {
        Observed { records: known, drift: Vec::new() }
    };
    let last = last_placement(&session.journal).await;
    let mut warnings = session.stack.warnings.clone();
    let (placement, stack, desired) = match wish.operation {
        Operation::Destroy => (None, None, BTreeMap::new()),
        Operation::Apply => {
            let (placement, doubts) = place(session, last.as_ref()).await?;
            warnings.extend(doubts);
            let (stack, desired) = settle_blocks(session, &placement, &observed.records)?;
            (Some(placement), Some(stack), desired)
        }
    };
    for address in &replace {
        if !desired.contains_key(address) {
            return Err(vec![
                Diagnostic::error(
                    "No such address to replace",
                    format!("The stack makes no resource {address}."),
                )
                .hint("`fleetform state list` shows the addresses that exist"),
            ]);
        }
    }
    let changes = plan::diff(&desired, &observed.records, &replace, &session.clouds);
    let (changes, scope) = plan::part(changes, &session.stack, wish.targets, wish.excluded)?;
    let mut outputs = outputs(session, stack.as_ref()).await;
    if scope == Scope::Part {
        outputs.values_mut().for_each(|output| output.after.clone_from(&output.before));
        outputs.retain(|_, output| output.before.is_some());
    }
    let plan = Plan {
        format: 1,
        fleetform_version: env!("CARGO_PKG_VERSION").to_owned(),
        stack: session.stack.name.clone(),
        lineage: session.owner.lineage.clone(),
        serial,
        operation: wish.operation,
        changes,
        drift: observed.drift,
        outputs,
        scope,
        checks: stack.as_ref().map(checks).unwrap_or_default(),
        placement,
        cost_before_month: last.map(|placement| placement.cost.total_month),
        inputs: session.inputs.clone(),
        created: super::screen::now(),
    };
    warnings.extend((!wish.resume && !settled.is_empty()).then(|| open_operations(&settled)));
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
    let mut offerings = BTreeMap::new();
    let mut quotas = BTreeMap::new();
    let mut tariffs = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, provider) in session.clouds.iter() {
        offerings.insert(name.to_owned(), provider.offerings());
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
    conditions.apply(&mut stack, &mut quotas);
    problem::pose(&stack, &offerings, &quotas, &tariffs, last)
}

fn addresses(texts: &[String]) -> Result<BTreeSet<Address>, Vec<Diagnostic>> {
    let mut parsed = BTreeSet::new();
    let mut failures = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(address) => {
                parsed.insert(address);
            }
            Err(error) => {
                failures.push(Diagnostic::error("Not an address", format!("{error}.")).hint(
                    "write it as the plan does, in quotes for the shell: 'TYPE.NAME[\"KEY\"]'",
                ))
            }
        }
    }
    if failures.is_empty() { Ok(parsed) } else { Err(failures) }
}

async fn outputs(session: &Session<'_>, stack: Option<&Stack>) -> BTreeMap<String, OutputChange> {
    let before = session.journal.read(|log| log.state().outputs.clone()).await;
    let mut changes = BTreeMap::new();
    for (name, output) in &before {
        changes.insert(
            name.clone(),
            OutputChange {
                before: Some(output.value.clone()),
                after: None,
                sensitive: output.sensitive,
            },
        );
    }
    if let Some(stack) = stack {
        for (name, output) in &stack.outputs {
            let change = changes.entry(name.clone()).or_insert_with(|| OutputChange {
                before: None,
                after: None,
                sensitive: output.sensitive,
            });
            change.sensitive = output.sensitive;
            change.after = Some(output.value.clone());
        }
    }
    changes
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

/// What to write into the log before a run: what interrupted operations came to, what was found
/// changed, and what was found gone. Nothing where another run is at work, or was since the plan was
/// made. `state` is what the log says now.
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
    // What was settled may have been found changed, or gone, by the refresh behind it.
    for (address, before) in &records {
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
