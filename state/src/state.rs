//! The fold: what a log means.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Record, Resource, SecretKey};
use serde::{Deserialize, Serialize};

use crate::{Action, Entry, FORMAT, Genesis, OutputValue};

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

    /// Whether these entries may follow, in this order.
    pub fn admits(&self, entries: &[Entry]) -> Result<(), Inconsistent> {
        // What these entries themselves open (true) and close (false).
        let mut changed: BTreeMap<&str, bool> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let first = self.serial == 0 && index == 0;
            match entry {
                Entry::Genesis(genesis) if first && genesis.format > FORMAT => {
                    return Err(Inconsistent::Format { found: genesis.format });
                }
                Entry::Genesis(_) if first => {}
                Entry::Genesis(_) => return Err(Inconsistent::Genesis),
                _ if first => return Err(Inconsistent::Genesis),
                Entry::Begin { op, .. } | Entry::Done { op, .. } | Entry::Failed { op, .. } => {
                    let begins = matches!(entry, Entry::Begin { .. });
                    let is_open =
                        changed.insert(op, begins).unwrap_or_else(|| self.open.contains_key(op));
                    match (begins, is_open) {
                        (true, true) => return Err(Inconsistent::BeginsTwice(op.clone())),
                        (false, false) => return Err(Inconsistent::NotOpen(op.clone())),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The state after one more entry. An entry that cannot follow changes nothing.
    pub fn fold(&mut self, entry: &Entry) -> Result<(), Inconsistent> {
        self.admits(std::slice::from_ref(entry))?;
        self.serial += 1;
        let version = self.serial;
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
            Entry::Adopted { record } | Entry::Observed { record } => {
                self.records.insert(record.address.clone(), stamped(record));
            }
            Entry::Forgotten { address } | Entry::Vanished { address } => {
                self.records.remove(address);
            }
            Entry::Placement { placement } => self.placement = Some(placement.clone()),
            Entry::Outputs { outputs } => self.outputs = outputs.clone(),
        }
        Ok(())
    }

    /// Removes the record of what an operation deleted, not that of its successor.
    fn remove_deleted(&mut self, operation: &OpenOperation) {
        let is_successor = match (&operation.previous, self.records.get(&operation.address)) {
            (Some(previous), Some(record)) => previous.version != record.version,
            _ => false,
        };
        if !is_successor {
            self.records.remove(&operation.address);
        }
    }
}
