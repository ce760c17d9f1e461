//! Plan → the world: runs a plan's steps against the clouds, in parallel, and records each.
//!
//! Invariants: the journal is written before a call and after it, never the other way round; a call
//! that changes something carries a token and may be sent twice; a failed step blocks only what waits
//! for it.

mod outcome;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fleetform_contract::{
    Address, Error, Objects, Owner, Progress, Record, Resource, Token, Value, Vault,
};
use fleetform_state::{Entry, Journal};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::clouds::Clouds;
use crate::plan::{Action, Change, Phase, Plan, Step, lookup, order};

pub use outcome::{Outcome, diagnostics};
pub use settle::{Became, Settled, Settling, settle};
use settle::{Left, left_behind, made};

/// How a run is asked to end early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    #[default]
    Go,
    /// Running steps finish and no new one starts.
    Finish,
    /// Nothing is waited for: what runs stays open in the journal, and is settled by the next run.
    Abandon,
}

/// What a run needs beside the plan.
pub struct Settings<'a> {
    pub clouds: &'a Clouds,
    /// Whose tags what is made carries.
    pub owner: &'a Owner,
    pub journal: &'a Journal,
    /// Texts of the secrets that the plan's attributes refer to.
    pub vault: &'a Vault,
    pub parallelism: usize,
    pub stop: &'a watch::Receiver<Stop>,
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

enum Ended {
    Made(Record),
    Removed,
    Failed(Error),
    /// A creation failed, and this is what it left.
    Tainted(Record, Error),
    /// No answer: it is open in the journal.
    Unknown(Error),
    /// The journal could not be written before the call, which was not made.
    NotBegun(String),
    /// The journal could not be written after the call: why, and what it lacks now.
    Unrecorded(String, Box<Entry>),
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
    let mut ready: BTreeSet<usize> =
        (0..steps.len()).filter(|&index| waiting[index] == 0).collect();
    let mut over = vec![false; steps.len()];
    let mut begun = BTreeSet::new();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < settings.parallelism.max(1)
            && outcome.journal.is_none()
            && *settings.stop.borrow() == Stop::Go
            && let Some(index) = ready.pop_first()
        {
            let step = &steps[index];
            let change = &plan.changes[step.change];
            let prepared = prepare(plan, change, step, &outcome.records, settings);
            running.push(async move { (index, execute(change, step, prepared, settings).await) });
            begun.insert(index);
        }
        let next = tokio::select! {
            biased;
            next = running.next() => next,
            () = abandoned(settings.stop) => None,
        };
        let Some((index, ended)) = next else { break };
        begun.remove(&index);
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
            Ended::Tainted(record, error) => {
                outcome.records.insert(record.address.clone(), record);
                outcome.failed.push((change.address.clone(), error));
                over[index] = true;
                continue;
            }
            Ended::Unknown(error) => {
                outcome.unknown.push((change.address.clone(), error.to_string()));
                over[index] = true;
                continue;
            }
            Ended::NotBegun(reason) => {
                outcome.journal.get_or_insert(reason);
                continue;
            }
            Ended::Unrecorded(reason, entry) => {
                let what = "it ended, and that could not be recorded".to_owned();
                outcome.unknown.push((change.address.clone(), what));
                outcome.journal.get_or_insert(reason);
                outcome.unwritten.push(*entry);
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
    outcome.stopped = *settings.stop.borrow() != Stop::Go;
    let address = |index: usize| plan.changes[steps[index].change].address.clone();
    for index in begun {
        over[index] = true;
        outcome.unknown.push((address(index), "it was abandoned before its answer".to_owned()));
    }
    let blocked = (0..over.len()).filter(|&index| !over[index]);
    outcome.blocked = blocked.map(address).collect();
    outcome.sort();
    outcome
}

/// Returns once the run is to be abandoned.
async fn abandoned(stop: &watch::Receiver<Stop>) {
    if stop.clone().wait_for(|stop| *stop == Stop::Abandon).await.is_err() {
        // Nobody is left who could ask for it.
        std::future::pending::<()>().await;
    }
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
        return Ended::NotBegun(reason(&error));
    }
    let result = match call(change, step, &prepared, settings).await {
        Ok(remote) => remote,
        Err(error) => {
            let end = end(change, &prepared, &error, settings).await;
            if let Some(entry) = &end
                && let Err(error) = settings.journal.append(vec![entry.clone()]).await
            {
                return Ended::Unrecorded(reason(&error), Box::new(entry.clone()));
            }
            let ended = fail(error.clone());
            return match end {
                Some(Entry::Tainted { record, .. }) => Ended::Tainted(record, error),
                _ if matches!(error, Error::Lost { .. }) => Ended::Unknown(error),
                _ => ended,
            };
        }
    };
    let record = result.map(|remote| {
        let resource = prepared.desired.as_ref().expect("only what is made answers");
        made(resource, remote, settings.vault)
    });
    let done = Entry::Done { op: prepared.op, record: record.clone() };
    if let Err(error) = settings.journal.append(vec![done.clone()]).await {
        return Ended::Unrecorded(reason(&error), Box::new(done));
    }
    settings.listener.finished(change, step.phase, record.as_ref(), started.elapsed());
    record.map_or(Ended::Removed, Ended::Made)
}

/// What to write of an operation that failed. `None`: it stays open, and the next run settles it by looking.
/// So it is without an answer, and with a creation that has left something which may still be finished.
async fn end(
    change: &Change,
    prepared: &Prepared,
    error: &Error,
    settings: &Settings<'_>,
) -> Option<Entry> {
    let (op, class) = (prepared.op.clone(), error.class().to_owned());
    let message = error.to_string();
    let left = match (&prepared.desired, &prepared.plain, change.action, error) {
        (.., Error::Lost { .. }) => return None,
        (Some(desired), Some(plain), action, _)
            if action != Action::Update && !matches!(error, Error::Denied { .. }) =>
        {
            let cluster = prepared.cluster.as_ref();
            let left = left_behind(plain, cluster, settings.clouds, settings.owner).await;
            left.map(|remote| made(desired, remote, settings.vault))
        }
        _ => Left::Nothing,
    };
    match left {
        Left::Nothing => Some(Entry::Failed { op, class, message }),
        Left::This(record) if error.is_final() => {
            let record = Record { tainted: true, ..record };
            Some(Entry::Tainted { op, record, class, message })
        }
        Left::This(_) | Left::Unclear => None,
    }
}

/// What the user is told of a journal that could not be written.
fn reason(error: &fleetform_state::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
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
    let result = settings.clouds.call(cloud, &prepared.token.0, &reporter, attempt).await;
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
