//! Resources and what exists → [`Plan`]: what would change, why, and in which order.
//!
//! Invariant: a plan is a pure function of its inputs; everything in it is ordered, so equal inputs
//! give equal bytes. Only `created` is outside the plan's hash.

mod diff;
mod ignore;
mod moves;
mod order;
mod past;
pub mod pattern;
mod protect;
mod select;

use std::collections::BTreeMap;

use fleetform_contract::{Address, Attributes, Record, Resource, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::placement::Placement;

pub use diff::{Schemas, diff, same};
pub(crate) use diff::{at, differences, lookup};
pub use ignore::{ignore, ignore_drift, ignore_one};
pub use moves::{Moves, forget, forgetting, moves};
pub use order::{Phase, Step, order};
pub use past::{Past, feasible, keep_secrets, past};
pub use pattern::{Pattern, Placed};
pub use protect::{Protection, guard, mark, protection};
pub use select::{incomplete, part, targeting};

/// The difference between what should exist and what does, ready to be reviewed and applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of this file's layout.
    pub format: u32,
    pub fleetform_version: String,
    pub stack: String,
    pub lineage: String,
    /// The log entry the plan was made after.
    pub serial: u64,
    pub operation: Operation,
    /// Ordered by address, without-effect ones too.
    pub changes: Vec<Change>,
    /// What changed outside of Fleetform since the last apply.
    pub drift: Vec<Drift>,
    pub outputs: BTreeMap<String, OutputChange>,
    pub checks: Vec<CheckResult>,
    pub placement: Option<Placement>,
    #[serde(default, skip_serializing_if = "Scope::is_whole")]
    pub scope: Scope,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protection: Protection,
    /// The entry of the log that a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_back_to: Option<u64>,
    /// Dollars a month of the placement that runs now; `None` before the first apply.
    pub cost_before_month: Option<f64>,
    /// What a saved plan needs to evaluate its stack again once more is known.
    pub inputs: Inputs,
    /// RFC 3339; outside the hash.
    pub created: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Apply,
    Destroy,
    /// Only what was found changed is recorded: no object is touched.
    Refresh,
}

/// How much of the stack a plan is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of it.
    #[default]
    Whole,
    /// What `-target` and `-exclude` leave: placement and outputs stay as they are recorded.
    Part,
}

/// The sources and settings that the plan was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    pub directory: String,
    pub environment: Option<String>,
    /// Every variable's value; sensitive ones are left out.
    pub variables: BTreeMap<String, Value>,
    pub variable_files: Vec<String>,
    pub sandbox: bool,
    /// The day (UTC) that it was made for, where reservations hold on some days only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Measured loads, in requests a second by workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loads: BTreeMap<String, f64>,
    /// SHA-256 of every source file, by path.
    pub sources: BTreeMap<String, String>,
}

/// What happens to one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub address: Address,
    pub action: Action,
    pub reason: Option<Reason>,
    /// As it is now; `None` for what does not exist.
    pub before: Option<Record>,
    /// What to make of it; `None` for a deletion.
    pub desired: Option<Resource>,
    /// Every attribute afterwards, with unknowns; `None` for a deletion.
    pub after: Option<Attributes>,
    /// The attributes that force a replacement.
    pub replace_paths: Vec<Path>,
    /// The address that the state has it at; `None` where that is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Address>,
    /// The id by which it was found, where it exists and is not recorded yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importing: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    NoOp,
    Create,
    Update,
    /// Delete, then create.
    Replace,
    Delete,
    /// It goes on to exist, and is ours no longer.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An attribute cannot be changed in place.
    ReplaceBecauseCannotUpdate,
    /// What it lives inside of is replaced.
    ReplaceByTriggers,
    /// `-replace`.
    ReplaceByRequest,
    /// Its creation failed and left it.
    ReplaceBecauseTainted,
    /// Nothing in the stack asks for it any more.
    DeleteBecauseNoResourceConfig,
    /// It moved to where nothing in the stack asks for it.
    DeleteBecauseNoMoveTarget,
    /// Something lives in it, or stands on it, that goes on to exist without us.
    ForgetBecauseNeeded,
}

/// The way to a value inside attributes, part by part: keys may hold dots (`fleetform.dev/pool`).
pub type Path = Vec<String>;

/// One recorded object that is not as recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub address: Address,
    pub before: Attributes,
    /// `None` when it is gone.
    pub after: Option<Attributes>,
    /// What differs; empty when it is gone.
    pub paths: Vec<Path>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputChange {
    /// `None` where there was none.
    pub before: Option<Value>,
    /// `None` where there will be none.
    pub after: Option<Value>,
    pub sensitive: bool,
}

/// A `check` block's outcome at plan time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub name: String,
    pub status: CheckStatus,
    pub problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    Pass,
    Fail,
    Unknown,
}

/// How many objects a plan touches, as its summary line counts them: a replacement is one of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub import: usize,
    pub add: usize,
    pub change: usize,
    pub destroy: usize,
}

impl Change {
    /// Nothing happens to what does not exist: where a change begins.
    pub fn nothing(address: Address) -> Change {
        Change {
            address,
            action: Action::NoOp,
            reason: None,
            before: None,
            desired: None,
            after: None,
            replace_paths: Vec::new(),
            previous: None,
            importing: None,
        }
    }

    /// What exists stays as it is.
    pub fn unchanged(record: Record) -> Change {
        Change {
            after: Some(record.attributes.clone()),
            before: Some(record.clone()),
            ..Change::nothing(record.address)
        }
    }

    /// Whether it changes nothing, neither in a cloud nor in the records.
    pub fn is_nothing(&self) -> bool {
        self.action == Action::NoOp && self.previous.is_none() && self.importing.is_none()
    }
}

impl Scope {
    pub fn is_whole(&self) -> bool {
        *self == Scope::Whole
    }
}

impl Plan {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for change in &self.changes {
            counts.import += usize::from(change.importing.is_some());
            match change.action {
                Action::NoOp | Action::Forget => {}
                Action::Create => counts.add += 1,
                Action::Update => counts.change += 1,
                Action::Delete => counts.destroy += 1,
                Action::Replace => {
                    counts.add += 1;
                    counts.destroy += 1;
                }
            }
        }
        counts
    }

    /// The changes that do something.
    pub fn effects(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| !change.is_nothing())
    }

    /// Whether applying it would change resources, outputs or what is protected; or the records, where
    /// that is all that is asked for.
    pub fn has_changes(&self) -> bool {
        if self.operation == Operation::Refresh {
            return !self.drift.is_empty();
        }
        self.effects().next().is_some()
            || self.output_changes().next().is_some()
            || !self.protection.is_empty()
    }

    /// The outputs that will not be as they are.
    pub fn output_changes(&self) -> impl Iterator<Item = (&String, &OutputChange)> {
        self.outputs.iter().filter(|(_, output)| output.before != output.after)
    }

    /// SHA-256 over everything but `created`, in hexadecimal.
    pub fn hash(&self) -> String {
        let timeless = Plan { created: String::new(), ..self.clone() };
        let bytes = serde_json::to_vec(&timeless).expect("plans serialize");
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
