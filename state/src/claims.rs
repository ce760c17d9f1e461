//! Who may write where: claims on addresses, as the log tells them.
//!
//! Invariants: no address is in the claims of two runs; nobody writes at an address that another run
//! has claimed; a run with a claim begins nothing outside of it; a fenced run writes nothing. Because
//! they are rules of the fold, and an append is put if absent, they hold whatever the writers do.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::Address;
use serde::{Deserialize, Serialize};

use crate::Entry;
use crate::state::Inconsistent;

/// The claims of a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// By the run that holds it.
    pub held: BTreeMap<String, Claim>,
    /// Runs that were fenced, for ever: such a run may sleep for a year and wake. By whom.
    pub fenced: BTreeMap<String, String>,
}

/// What a run keeps to itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    pub addresses: BTreeSet<Address>,
    pub holder: Holder,
    pub ttl_seconds: u64,
    /// The number of the entry that claimed first.
    pub since: u64,
    /// The number of the last entry that the run wrote: a sign of life, as a heartbeat is.
    pub latest: u64,
}

/// Who holds a claim, as Terraform's lock info tells it; its ID is the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `OperationTypeApply`.
    pub operation: String,
    /// Where the run can be looked at: the URL of a CI run.
    pub info: String,
    /// `user@host`.
    pub who: String,
    pub version: String,
    /// RFC 3339, in UTC.
    pub created: String,
    /// Of the state.
    pub path: String,
    /// The process, where it can be named so that its death is seen: [`crate::process::identity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.fenced.is_empty()
    }

    /// The run other than this one that has claimed the address.
    pub fn other(&self, run: &str, address: &Address) -> Option<(&str, &Claim)> {
        let mut others = self.held.iter().filter(|(holder, _)| *holder != run);
        let found = others.find(|(_, claim)| claim.addresses.contains(address));
        found.map(|(holder, claim)| (holder.as_str(), claim))
    }

    /// Claims of other runs on any of these addresses.
    pub fn in_the_way(
        &self,
        run: &str,
        addresses: &BTreeSet<Address>,
    ) -> BTreeMap<String, (Claim, Address)> {
        let others = self.held.iter().filter(|(holder, _)| *holder != run);
        let meeting = others.filter_map(|(holder, claim)| {
            let address = claim.addresses.intersection(addresses).next()?;
            Some((holder.clone(), (claim.clone(), address.clone())))
        });
        meeting.collect()
    }

    /// Whether `run` may write this entry, which changes something at `addresses`.
    pub(crate) fn admits<'a>(
        &self,
        run: &str,
        entry: &Entry,
        mut addresses: impl Iterator<Item = &'a Address>,
    ) -> Result<(), Inconsistent> {
        if let Some(by) = self.fenced.get(run) {
            return Err(Inconsistent::Fenced { run: run.to_owned(), by: by.clone() });
        }
        let free = |address: &Address| match self.other(run, address) {
            Some((holder, _)) => {
                Err(Inconsistent::Claimed { address: address.clone(), run: holder.to_owned() })
            }
            None => Ok(()),
        };
        let held = |run: &str| match self.held.contains_key(run) {
            true => Ok(()),
            false => Err(Inconsistent::NoClaim(run.to_owned())),
        };
        match entry {
            Entry::Claim { run: named, .. } | Entry::Release { run: named } if named != run => {
                Err(Inconsistent::Foreign(named.clone()))
            }
            Entry::Claim { addresses, .. } => addresses.iter().try_for_each(free),
            Entry::Release { run } | Entry::Fence { run, .. } => held(run),
            _ => addresses.try_for_each(|address| {
                free(address)?;
                let own = self.held.get(run).filter(|_| matches!(entry, Entry::Begin { .. }));
                match own {
                    Some(claim) if !claim.addresses.contains(address) => {
                        let (address, run) = (address.clone(), run.to_owned());
                        Err(Inconsistent::Unclaimed { address, run })
                    }
                    _ => Ok(()),
                }
            }),
        }
    }

    /// The claims after an entry that they admit.
    pub(crate) fn fold(&mut self, number: u64, run: &str, entry: &Entry) {
        match entry {
            Entry::Claim { run, addresses, holder, ttl_seconds } => {
                let claim = self.held.entry(run.clone()).or_insert_with(|| Claim {
                    addresses: BTreeSet::new(),
                    holder: holder.clone(),
                    ttl_seconds: *ttl_seconds,
                    since: number,
                    latest: number,
                });
                claim.addresses.extend(addresses.iter().cloned());
            }
            Entry::Release { run } => {
                self.held.remove(run);
            }
            Entry::Fence { run, by } => {
                self.held.remove(run);
                self.fenced.insert(run.clone(), by.clone());
            }
            _ => {}
        }
        if let Some(claim) = self.held.get_mut(run) {
            claim.latest = number;
        }
    }
}
