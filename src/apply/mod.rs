//! Plan → the world: runs a plan's steps against the clouds, in parallel, and records each.
//!
//! Invariants: the journal is written before a call and after it, never the other way round; a call
//! that changes something carries a token and may be sent twice; a failed step blocks only what waits
//! for it.

mod retry;
mod settle;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleetform_contract::{
    Address, Error, Objects, Progress, Record, Resource, Token, Value, Vault,
};
use fleetform_state::{Entry, Journal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};

use crate::clouds::Clouds;
use crate::diagnostic::Diagnostic;
use crate::plan::{Action, Change, Phase, Plan, Step, lookup, order};
use crate::refresh::seal;

pub use retry::Backoff;
pub use settle::{Settled, settle};

/// What a run needs beside the plan.
pub struct Settings<'a> {
    pub clouds: &'a Clouds,
    pub journal: &'a Journal,
    /// Texts of the secrets that the plan's attributes refer to.
    pub vault: &'a Vault,
    pub parallelism: usize,
    pub backoff: Backoff,
    /// Once set, running steps finish and no new one starts.
    pub stop: &'a AtomicBool,
    pub listener: &'a dyn Listener,
    /// The desired resource evaluated again with what is known by now: asked when an attribute waits
    /// for a block (`registry.main.urls`) and not for one resource.
    pub refine: &'a Refine<'a>,
}

/// The desired resource at an address, given every record of now.
pub type Refine<'a> = dyn Fn(&Address, &BTreeMap<Address, Record>) -> Option<Resource> + Sync + 'a;

/// Hears how a run goes.
pub trait Listener: Send + Sync {
    fn started(&self, change: &Change, phase: Phase);
    fn progress(&self, change: &Change, phase: Phase, text: &str);
    fn finished(&self, change: &Change, phase: Phase, record: Option<&Record>, elapsed: Duration);
    fn failed(&self, change: &Change, phase: Phase, error: &Error, elapsed: Duration);
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    pub added: usize,
    pub changed: usize,
    pub destroyed: usize,
    /// Steps that failed, with why.
    pub failed: Vec<(Address, Error)>,
    /// Steps that could not run because of a failed one, or because the run was stopped.
    pub blocked: Vec<Address>,
    pub stopped: bool,
    /// The state could not be written: nothing new was started after that.
    pub journal: Option<String>,
    /// Every record, as after the run.
    pub records: BTreeMap<Address, Record>,
}

impl Outcome {
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.blocked.is_empty() && self.journal.is_none()
    }
}

enum Ended {
    Made(Record),
    Removed,
    Failed(Error),
    /// The journal could not be written; the call did not happen or is not recorded.
    Unrecorded(String),
}

/// Runs every step of the plan. `records` are the plan's records as observed.
pub async fn run(
    plan: &Plan,
    records: BTreeMap<Address, Record>,
    settings: &Settings<'_>,
) -> Outcome {
    let steps = order(&plan.changes);
    let mut outcome = Outcome { records, ..Outcome::default() };
    let mut waiting: Vec<usize> = steps.iter().map(|step| step.after.len()).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        for &first in &step.after {
            followers[first].push(index);
        }
    }
    let mut ready: std::collections::BTreeSet<usize> =
        (0..steps.len()).filter(|&index| waiting[index] == 0).collect();
    let mut over = vec![false; steps.len()];
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < settings.parallelism.max(1)
            && outcome.journal.is_none()
            && !settings.stop.load(Ordering::Relaxed)
            && let Some(index) = ready.pop_first()
        {
            let step = &steps[index];
            let change = &plan.changes[step.change];
            let prepared = prepare(plan, change, step, &outcome.records, settings);
            running.push(async move { (index, execute(change, step, prepared, settings).await) });
        }
        let Some((index, ended)) = running.next().await else { break };
        let step = &steps[index];
        let change = &plan.changes[step.change];
        match ended {
            Ended::Made(record) => {
                match change.action {
                    Action::Update => outcome.changed += 1,
                    _ => outcome.added += 1,
                }
                outcome.records.insert(record.address.clone(), record);
            }
            Ended::Removed => {
                outcome.destroyed += 1;
                outcome.records.remove(&change.address);
            }
            Ended::Failed(error) => {
                outcome.failed.push((change.address.clone(), error));
                over[index] = true;
                continue;
            }
            Ended::Unrecorded(reason) => {
                outcome.journal.get_or_insert(reason);
                over[index] = true;
                continue;
            }
        }
        over[index] = true;
        for &follower in &followers[index] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.insert(follower);
            }
        }
    }
    outcome.stopped = settings.stop.load(Ordering::Relaxed);
    let blocked = over.iter().enumerate().filter(|(_, over)| !**over);
    outcome.blocked =
        blocked.map(|(index, _)| plan.changes[steps[index].change].address.clone()).collect();
    outcome.blocked.sort();
    outcome.blocked.dedup();
    outcome.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
    outcome
}

/// All that a step's call needs, decided before it runs.
struct Prepared {
    op: String,
    token: Token,
    /// As it is journalled: secrets sealed.
    desired: Option<Resource>,
    /// As it is sent: every value plain.
    plain: Option<Resource>,
    cluster: Option<Record>,
    problem: Option<Error>,
}

fn prepare(
    plan: &Plan,
    change: &Change,
    step: &Step,
    records: &BTreeMap<Address, Record>,
    settings: &Settings<'_>,
) -> Prepared {
    let op = format!("{}.{}.{:?}", plan.serial, step.change, step.phase).to_lowercase();
    let token = token(&plan.lineage, &change.address, &op);
    let mut prepared =
        Prepared { op, token, desired: None, plain: None, cluster: None, problem: None };
    let site = match step.phase {
        Phase::Remove => change.before.as_ref().and_then(|record| record.site.as_deref()),
        Phase::Make => change.desired.as_ref().and_then(|resource| resource.site.as_deref()),
    };
    if let Some(site) = site {
        match settings.clouds.cluster(site, records) {
            Ok(cluster) => prepared.cluster = cluster.cloned(),
            Err(missing) => {
                prepared.problem = Some(Error::rejected(format!(
                    "its cluster {} does not exist",
                    missing.address
                )));
                return prepared;
            }
        }
    }
    if step.phase == Phase::Make {
        match known(change, records, settings) {
            Ok(desired) => {
                match open(&desired, settings.vault) {
                    Ok(plain) => prepared.plain = Some(plain),
                    Err(error) => prepared.problem = Some(error),
                }
                prepared.desired = Some(desired);
            }
            Err(error) => prepared.problem = Some(error),
        }
    }
    prepared
}

/// The desired resource with every unknown replaced by what is known now.
fn known(
    change: &Change,
    records: &BTreeMap<Address, Record>,
    settings: &Settings<'_>,
) -> Result<Resource, Error> {
    let desired = change.desired.as_ref().expect("what is made is desired");
    let filled = fill(desired, records);
    if !filled.attributes.values().any(Value::has_unknown) {
        return Ok(filled);
    }
    let refined =
        (settings.refine)(&change.address, records).map(|resource| fill(&resource, records));
    let filled = refined.unwrap_or(filled);
    let mut missing = None;
    for value in filled.attributes.values() {
        value.map_leaves(&mut |leaf| {
            if let Value::Unknown(unknown) = leaf {
                missing.get_or_insert_with(|| format!("{}.{}", unknown.address, unknown.path));
            }
            Value::Null
        });
    }
    match missing {
        None => Ok(filled),
        Some(missing) => Err(Error::rejected(format!("`{missing}` is still not known"))),
    }
}

fn fill(resource: &Resource, records: &BTreeMap<Address, Record>) -> Resource {
    let mut filled = resource.clone();
    for value in filled.attributes.values_mut() {
        if value.has_unknown() {
            *value = value.map_leaves(&mut |leaf| match leaf {
                Value::Unknown(unknown) => {
                    let record =
                        unknown.address.parse().ok().and_then(|a: Address| records.get(&a));
                    let found = record.and_then(|r| lookup(&r.attributes, &unknown.path));
                    found.cloned().unwrap_or_else(|| leaf.clone())
                }
                other => other.clone(),
            });
        }
    }
    filled
}

fn open(resource: &Resource, vault: &Vault) -> Result<Resource, Error> {
    let mut plain = resource.clone();
    for value in plain.attributes.values_mut() {
        *value = vault.open(value).map_err(|secret| {
            Error::rejected(format!(
                "the secret `{}` is not given, or not the one that was planned",
                secret.reference
            ))
        })?;
    }
    Ok(plain)
}

/// The same lineage, address and operation give the same token.
fn token(lineage: &str, address: &Address, op: &str) -> Token {
    let digest = Sha256::digest(format!("{lineage}\n{address}\n{op}"));
    Token(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

async fn execute(
    change: &Change,
    step: &Step,
    prepared: Prepared,
    settings: &Settings<'_>,
) -> Ended {
    let started = Instant::now();
    settings.listener.started(change, step.phase);
    let fail = |error: Error| {
        settings.listener.failed(change, step.phase, &error, started.elapsed());
        Ended::Failed(error)
    };
    if let Some(problem) = prepared.problem {
        return fail(problem);
    }
    let begin = Entry::Begin {
        op: prepared.op.clone(),
        address: change.address.clone(),
        action: match (step.phase, change.action) {
            (Phase::Remove, _) => fleetform_state::Action::Delete,
            (Phase::Make, Action::Update) => fleetform_state::Action::Update,
            (Phase::Make, _) => fleetform_state::Action::Create,
        },
        token: prepared.token.0.clone(),
        desired: prepared.desired.clone(),
        previous: change.before.clone(),
    };
    if let Err(error) = settings.journal.append(vec![begin]).await {
        return Ended::Unrecorded(error.to_string());
    }
    let result = match call(change, step, &prepared, settings).await {
        Ok(remote) => remote,
        Err(error) => {
            let failed = Entry::Failed {
                op: prepared.op,
                class: error.class().to_owned(),
                message: error.to_string(),
            };
            // Without an answer the operation stays open: the next run settles it by reading.
            if !matches!(error, Error::Lost { .. })
                && let Err(error) = settings.journal.append(vec![failed]).await
            {
                return Ended::Unrecorded(error.to_string());
            }
            return fail(error);
        }
    };
    let record = result.map(|remote| {
        let resource = prepared.desired.as_ref().expect("only what is made answers");
        let schema = fleetform_providers::schema(&resource.address.kind);
        Record {
            address: resource.address.clone(),
            cloud: resource.cloud.clone(),
            site: resource.site.clone(),
            id: remote.id,
            attributes: seal(&resource.address, &remote.attributes, schema, settings.vault),
            depends_on: resource.depends_on.clone(),
            version: 0,
        }
    });
    let done = Entry::Done { op: prepared.op, record: record.clone() };
    if let Err(error) = settings.journal.append(vec![done]).await {
        return Ended::Unrecorded(error.to_string());
    }
    settings.listener.finished(change, step.phase, record.as_ref(), started.elapsed());
    record.map_or(Ended::Removed, Ended::Made)
}

struct Reporter<'a> {
    change: &'a Change,
    phase: Phase,
    listener: &'a dyn Listener,
}

impl Progress for Reporter<'_> {
    fn report(&self, phase: &str) {
        self.listener.progress(self.change, self.phase, phase);
    }
}

async fn call(
    change: &Change,
    step: &Step,
    prepared: &Prepared,
    settings: &Settings<'_>,
) -> Result<Option<fleetform_contract::Remote>, Error> {
    let (cloud, site) = match step.phase {
        Phase::Remove => {
            let record = change.before.as_ref().expect("what is removed exists");
            (&record.cloud, &record.site)
        }
        Phase::Make => {
            let resource = change.desired.as_ref().expect("what is made is desired");
            (&resource.cloud, &resource.site)
        }
    };
    let reporter = Reporter { change, phase: step.phase, listener: settings.listener };
    let attempt = || async {
        let cluster = prepared.cluster.as_ref();
        let objects = settings.clouds.objects(cloud, site.as_deref(), cluster).await?;
        one_call(objects.as_ref(), change, step.phase, prepared, &reporter).await
    };
    let result = retry::with_policy(&settings.backoff, &reporter, attempt).await;
    // Whatever happens to a cluster, the way into it is found anew afterwards.
    if site.is_none()
        && let Some(address) = change.before.as_ref().map(|record| &record.address)
        && step.phase == Phase::Remove
        && let Some(key) = &address.key
    {
        settings.clouds.forget_cluster(&format!("{cloud}/{key}")).await;
    }
    result
}

async fn one_call(
    objects: &dyn Objects,
    change: &Change,
    phase: Phase,
    prepared: &Prepared,
    progress: &dyn Progress,
) -> Result<Option<fleetform_contract::Remote>, Error> {
    let token = &prepared.token;
    match (phase, change.action, &change.before) {
        (Phase::Remove, _, Some(record)) => {
            objects.delete(record, token, progress).await.map(|()| None)
        }
        (Phase::Make, Action::Update, Some(record)) => {
            let desired = prepared.plain.as_ref().expect("prepared before the call");
            objects.update(record, desired, token, progress).await.map(Some)
        }
        _ => {
            let desired = prepared.plain.as_ref().expect("prepared before the call");
            objects.create(desired, token, progress).await.map(Some)
        }
    }
}

/// What the user is told of a run that is not complete.
pub fn diagnostics(outcome: &Outcome, operation: &str) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<Diagnostic> = outcome
        .failed
        .iter()
        .map(|(address, error)| {
            let diagnostic =
                Diagnostic::error("An operation failed", format!("{address}: {error}."))
                    .about(address);
            match hint(error, operation) {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic,
            }
        })
        .collect();
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
        let list: Vec<String> = outcome.blocked.iter().map(|a| format!("  - {a}")).collect();
        let why = if outcome.stopped { "the run was stopped" } else { "of the failures above" };
        diagnostics.push(
            Diagnostic::warning(
                "Some operations were not started",
                format!("Not started, because {why}:\n{}", list.join("\n")),
            )
            .hint(format!("run `fleetform {operation}` again to go on from here")),
        );
    }
    diagnostics
}

fn hint(error: &Error, operation: &str) -> Option<String> {
    match error {
        Error::Denied { permission: Some(permission), .. } => {
            Some(format!("give these credentials the permission `{permission}`"))
        }
        Error::Denied { .. } => Some("check the credentials of this cloud".to_owned()),
        Error::NoCapacity { .. } => Some(
            "allow another region, zone, GPU type or market in `placement`, then plan again".into(),
        ),
        Error::Throttled { .. } | Error::Conflict { .. } | Error::Lost { .. } => {
            Some(format!("run `fleetform {operation}` again: it goes on from what is recorded"))
        }
        Error::Rejected { .. } => None,
    }
}
