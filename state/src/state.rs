//! The fold: what a log means.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fleetform_contract::{Address, Record, Resource, SecretKey};
use serde::{Deserialize, Serialize};

use crate::{Action, Claims, Entry, FORMAT, Genesis, OutputValue};

/// What we own and what we were in the middle of making.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub genesis: Genesis,
    /// The number of the last entry; 0 before anything is written.
    pub serial: u64,
    pub records: BTreeMap<Address, Record>,
    /// Operations that began and did not end, by their names.
    pub open: BTreeMap<String, OpenOperation>,
    /// The last placement, in the planner's own layout.
    pub placement: Option<serde_json::Value>,
    pub outputs: BTreeMap<String, OutputValue>,
    /// Who may write where.
    #[serde(default, skip_serializing_if = "Claims::is_empty")]
    pub claims: Claims,
    /// The beginnings that the log was given: the entry that each of them goes up to, and its hash.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compactions: BTreeMap<u64, String>,
    /// What must not be destroyed, and the block that said so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protected: BTreeMap<Address, String>,
}

/// An operation whose end is not known: the cloud must be read before anything else is done there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenOperation {
    pub address: Address,
    pub action: Action,
    pub token: String,
    pub desired: Option<Resource>,
    pub previous: Option<Record>,
    /// The number of the entry that began it.
    pub since: u64,
}

/// What cannot have happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    #[error("the log must begin with its genesis, and have no second one")]
    Genesis,
    #[error("operation `{0}` begins twice")]
    BeginsTwice(String),
    #[error("operation `{0}` ends without being open")]
    NotOpen(String),
    #[error("format {found} is newer than {FORMAT}, the newest that this version reads")]
    Format { found: u32 },
    #[error("{address} is claimed by the run {run}")]
    Claimed { address: Address, run: String },
    #[error("the run {run} begins at {address}, which it has not claimed")]
    Unclaimed { address: Address, run: String },
    #[error("the run {run} writes although it was fenced by {by}")]
    Fenced { run: String, by: String },
    #[error("the run {0} has no claim that could end")]
    NoClaim(String),
    #[error("a run claims, or releases, in the name of the run {0}")]
    Foreign(String),
    #[error("the entries do not fold into the state that the snapshot holds")]
    Snapshot,
}

impl State {
    /// The state before the first entry.
    pub fn new(genesis: Genesis) -> State {
        State {
            genesis,
            serial: 0,
            records: BTreeMap::new(),
            open: BTreeMap::new(),
            placement: None,
            outputs: BTreeMap::new(),
            claims: Claims::default(),
            protected: BTreeMap::new(),
            compactions: BTreeMap::new(),
        }
    }

    pub fn lineage(&self) -> &str {
        &self.genesis.lineage
    }

    /// The key of the digests of secrets.
    pub fn secret_key(&self) -> SecretKey {
        self.genesis.secret_key()
    }

    /// Whether we own nothing and are in the middle of nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.open.is_empty()
    }

    /// Whether `run` may append these entries, in this order.
    pub fn admits(&self, run: &str, entries: &[Entry]) -> Result<(), Inconsistent> {
        // What these entries themselves open (with its address) and close.
        let mut changed: BTreeMap<&str, Option<&Address>> = BTreeMap::new();
        let mut claims = Cow::Borrowed(&self.claims);
        for (index, entry) in entries.iter().enumerate() {
            let number = self.serial + 1 + index as u64;
            match entry {
                Entry::Genesis(genesis) if number == 1 && genesis.format > FORMAT => {
                    return Err(Inconsistent::Format { found: genesis.format });
                }
                Entry::Genesis(_) if number == 1 => continue,
                Entry::Genesis(_) | Entry::Beginning { .. } => return Err(Inconsistent::Genesis),
                _ if number == 1 => return Err(Inconsistent::Genesis),
                _ => {}
            }
            let mut ended = None;
            if let Some(op) = entry.operation() {
                let begins = entry.addresses().next();
                let before = changed.insert(op, begins);
                let open =
                    before.unwrap_or_else(|| self.open.get(op).map(|operation| &operation.address));
                match (begins, open) {
                    (Some(_), Some(_)) => return Err(Inconsistent::BeginsTwice(op.to_owned())),
                    (None, None) => return Err(Inconsistent::NotOpen(op.to_owned())),
                    _ => ended = open,
                }
            }
            claims.admits(run, entry, entry.addresses().chain(ended))?;
            if matches!(entry, Entry::Claim { .. } | Entry::Release { .. } | Entry::Fence { .. }) {
                claims.to_mut().fold(number, run, entry);
            }
        }
        Ok(())
    }

    /// The state after one more entry, written by `run`. An entry that cannot follow changes nothing.
    pub fn fold(&mut self, run: &str, entry: &Entry) -> Result<(), Inconsistent> {
        self.admits(run, std::slice::from_ref(entry))?;
        self.serial += 1;
        let version = self.serial;
        self.claims.fold(version, run, entry);
        let stamped = |record: &Record| Record { version, ..record.clone() };
        match entry {
            Entry::Genesis(genesis) => self.genesis = genesis.clone(),
            Entry::Begin { op, address, action, token, desired, previous } => {
                let operation = OpenOperation {
                    address: address.clone(),
                    action: *action,
                    token: token.clone(),
                    desired: desired.clone(),
                    previous: previous.clone(),
                    since: version,
                };
                self.open.insert(op.clone(), operation);
            }
            Entry::Done { op, record } => {
                let operation = self.open.remove(op).expect("`admits` saw it open");
                match record {
                    Some(record) => {
                        self.records.insert(record.address.clone(), stamped(record));
                    }
                    None => self.remove_deleted(&operation),
                }
            }
            Entry::Failed { op, .. } => {
                self.open.remove(op);
            }
            Entry::Tainted { op, record, .. } => {
                self.open.remove(op);
                self.records.insert(record.address.clone(), stamped(record));
            }
            Entry::Adopted { record } | Entry::Observed { record } => {
                self.records.insert(record.address.clone(), stamped(record));
            }
            Entry::Forgotten { address } => {
                self.records.remove(address);
                self.protected.remove(address);
            }
            // What went without us is made again, and is protected again then.
            Entry::Vanished { address } => {
                self.records.remove(address);
            }
            Entry::Moved { from, to } => self.rename(from, to, version),
            Entry::Protected { address, by } => {
                self.protected.insert(address.clone(), by.clone());
            }
            Entry::Unprotected { address } => {
                self.protected.remove(address);
            }
            // No placement is `null` on disk: in an entry as in a snapshot.
            Entry::Placement { placement } => {
                self.placement = Some(placement.clone()).filter(|placement| !placement.is_null());
            }
            Entry::Outputs { outputs } => self.outputs = outputs.clone(),
            Entry::Compacted { through, beginning } => {
                self.compactions.insert(*through, beginning.clone());
            }
            Entry::Beginning { .. } => unreachable!("`admits` refuses it"),
            Entry::Claim { .. } | Entry::Release { .. } | Entry::Fence { .. } => {}
        }
        Ok(())
    }

    /// Gives the record at `from` the address `to`, with everything that names it.
    fn rename(&mut self, from: &Address, to: &Address, version: u64) {
        let Some(record) = self.records.remove(from) else { return };
        self.records.insert(to.clone(), Record { address: to.clone(), version, ..record });
        let others = self.records.values_mut().flat_map(|record| &mut record.depends_on);
        for dependency in others.filter(|dependency| *dependency == from) {
            dependency.clone_from(to);
        }
        if let Some(by) = self.protected.remove(from) {
            self.protected.insert(to.clone(), by);
        }
    }

    /// Removes the record of what an operation deleted, not that of its successor: another object, or one
    /// that was made after the operation had begun. Versions alone tell nothing: what is deleted may have
    /// been observed since it was planned.
    fn remove_deleted(&mut self, operation: &OpenOperation) {
        let is_successor = self.records.get(&operation.address).is_some_and(|record| {
            let is_other = |previous: &Record| previous.id != record.id;
            record.version > operation.since || operation.previous.as_ref().is_some_and(is_other)
        });
        if !is_successor {
            self.records.remove(&operation.address);
        }
    }
}
