//! `moved` and `removed` blocks: records that go on under another address, or go without their objects.
//!
//! Invariant: a move calls no cloud. What must change because the address did (tags, names of objects)
//! is an update or a replacement of its own, which the plan shows.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Record, Resource};

use super::{Action, Change, Pattern, Placed, Plan, Reason, Schemas, pattern};
use crate::config::{Moved, Named, Stack};
use crate::diagnostic::{Diagnostic, Span};
use crate::placement::Placement;

/// Who is called what from now on.
#[derive(Debug, Default, PartialEq)]
pub struct Moves {
    /// Recorded addresses and what they become.
    pub addresses: BTreeMap<Address, Address>,
    /// The same of services and jobs, by instance name.
    pub workloads: BTreeMap<String, String>,
}

/// What the stack's `moved` blocks make of these records.
///
/// # Errors
/// Records in the way of a move.
pub fn moves(stack: &Stack, records: &BTreeMap<Address, Record>) -> Result<Moves, Vec<Diagnostic>> {
    let mut moves = Moves::default();
    let mut failures = Vec::new();
    // What is said of one instance counts before what is said of all.
    let mut blocks: Vec<&Moved> = stack.moved.iter().collect();
    blocks.sort_by_key(|moved| (moved.from.address.key.is_none(), &moved.from.address));
    let mut taken: BTreeMap<Address, Address> = BTreeMap::new();
    let mut spans: BTreeMap<Address, Span> = BTreeMap::new();
    for moved in blocks {
        let last = last(&moved.to.address, &stack.moved);
        let from = Pattern::former(&moved.from.address);
        let pairs = Pattern::read(&last.to_string(), stack)
            .and_then(|to| pattern::renames(&from, &to, records.values().map(Placed::of)));
        let pairs = match pairs {
            Ok(pairs) => pairs,
            Err(failure) => {
                failures.push((*failure).at(moved.to.span.clone()));
                continue;
            }
        };
        for (old, new) in pairs {
            if !records.contains_key(&old) || moves.addresses.contains_key(&old) || old == new {
                continue;
            }
            if let Some(other) = taken.insert(new.clone(), old.clone()) {
                failures.push(two_to_one(moved, &old, &other, &new));
            }
            if from.workloads().is_some() {
                moves.workloads.insert(old.name.clone(), new.name.clone());
            }
            spans.insert(old.clone(), moved.from.span.clone());
            moves.addresses.insert(old, new);
        }
    }
    for (old, new) in &moves.addresses {
        if records.contains_key(new) && !moves.addresses.contains_key(new) {
            failures.push(occupied(old, new, &spans[old]));
        }
    }
    if failures.is_empty() { Ok(moves) } else { Err(failures) }
}

/// Where a chain of moves ends. (The stack was checked: no cycles.)
fn last(to: &Address, blocks: &[Moved]) -> Address {
    let mut last = to.clone();
    for _ in blocks {
        let exact = blocks.iter().find(|moved| moved.from.address == last);
        let whole = || {
            let of_block = |moved: &&Moved| {
                let from = &moved.from.address;
                from.key.is_none() && from.kind == last.kind && from.name == last.name
            };
            last.key.as_ref().and_then(|_| blocks.iter().find(of_block))
        };
        let Some(next) = exact.or_else(whole) else { break };
        let to = &next.to.address;
        let key = to.key.clone().or_else(|| last.key.clone());
        last = Address { key, ..to.clone() };
    }
    last
}

fn two_to_one(moved: &Moved, old: &Address, other: &Address, new: &Address) -> Diagnostic {
    Diagnostic::error("The address is taken", format!("{old} and {other} both move to {new}."))
        .at(moved.from.span.clone())
        .about(new)
        .hint("forget one of the two with `fleetform state rm`, or move it somewhere else")
}

fn occupied(old: &Address, new: &Address, at: &Span) -> Diagnostic {
    Diagnostic::error(
        "The address is taken",
        format!("{old} cannot become {new}: the state has a record there already."),
    )
    .at(at.clone())
    .about(new)
    .hint(format!("move {new} away first, or forget one of the two with `fleetform state rm`"))
}

impl Moves {
    /// The records under their new addresses, with what they depend on.
    pub fn rename(&self, records: BTreeMap<Address, Record>) -> BTreeMap<Address, Record> {
        if self.addresses.is_empty() {
            return records;
        }
        let new = |address: Address| self.addresses.get(&address).cloned().unwrap_or(address);
        let renamed = records.into_values().map(|record| {
            let address = new(record.address);
            let depends_on = record.depends_on.into_iter().map(new).collect();
            (address.clone(), Record { address, depends_on, ..record })
        });
        renamed.collect()
    }

    /// Protections under the new addresses of what they protect.
    pub fn rename_protected(&self, protected: &mut BTreeMap<Address, String>) {
        for (old, new) in &self.addresses {
            if let Some(by) = protected.remove(old) {
                protected.insert(new.clone(), by);
            }
        }
    }

    /// The placement with workloads under their new names: what is only renamed has not moved.
    pub fn rename_placement(&self, placement: &mut Placement) {
        for seats in &mut placement.seats {
            if let Some(new) = self.workloads.get(&seats.workload) {
                seats.workload.clone_from(new);
            }
        }
        let nodes = placement.rentals.values_mut().flat_map(|rental| &mut rental.nodes);
        for node in nodes {
            let new = |name: String| self.workloads.get(&name).cloned().unwrap_or(name);
            *node = std::mem::take(node).into_iter().map(|(name, n)| (new(name), n)).collect();
        }
    }

    /// Notes in the changes where their records are now, and what became of moves to nowhere.
    ///
    /// # Errors
    /// Addresses that the stack still makes.
    pub fn note(
        &self,
        changes: &mut [Change],
        stack: &Stack,
        desired: &BTreeMap<Address, Resource>,
    ) -> Result<(), Vec<Diagnostic>> {
        let old: BTreeMap<&Address, &Address> =
            self.addresses.iter().map(|(old, new)| (new, old)).collect();
        for change in changes {
            let Some(old) = old.get(&change.address) else { continue };
            change.previous = Some((*old).clone());
            if change.reason == Some(Reason::DeleteBecauseNoResourceConfig) {
                change.reason = Some(Reason::DeleteBecauseNoMoveTarget);
            }
        }
        let blocks = stack.moved.iter().map(|moved| (&moved.from, "Moved", "moved"));
        still_made(blocks, desired)
    }
}

/// Resources that a block says are gone, and that the stack makes.
fn still_made<'a>(
    blocks: impl Iterator<Item = (&'a Named, &'static str, &'static str)>,
    desired: &BTreeMap<Address, Resource>,
) -> Result<(), Vec<Diagnostic>> {
    let made = blocks.filter(|(from, ..)| desired.contains_key(&from.address));
    let failures: Vec<Diagnostic> = made
        .map(|(from, word, block)| {
            Diagnostic::error(
                format!("{word} object still exists"),
                format!("The stack still makes {}.", from.address),
            )
            .at(from.span.clone())
            .about(&from.address)
            .hint(format!("remove this `{block}` block"))
        })
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Lets go of what `removed` blocks say goes on to exist, and of what that cannot exist without.
///
/// # Errors
/// Addresses that the stack still makes; and objects that cannot go on to exist, because what they live
/// in is replaced.
pub fn forget(
    changes: &mut [Change],
    stack: &Stack,
    desired: &BTreeMap<Address, Resource>,
    schemas: &dyn Schemas,
) -> Result<(), Vec<Diagnostic>> {
    let blocks = stack.removed.iter().map(|removed| (&removed.from, "Removed", "removed"));
    still_made(blocks, desired)?;
    let patterns: Vec<Pattern> = stack
        .removed
        .iter()
        .filter(|removed| !removed.destroy)
        .map(|removed| Pattern::former(&removed.from.address))
        .collect();
    if patterns.is_empty() {
        return Ok(());
    }
    let mut waiting = Vec::new();
    for (index, change) in changes.iter_mut().enumerate() {
        let named = patterns.iter().any(|pattern| pattern.fits(change.placed()));
        if named && change.action == Action::Delete {
            change.action = Action::Forget;
            change.reason = None;
            waiting.push(index);
        }
    }
    let index: BTreeMap<Address, usize> =
        changes.iter().enumerate().map(|(at, change)| (change.address.clone(), at)).collect();
    let mut failures = Vec::new();
    let mut seen: BTreeSet<usize> = waiting.iter().copied().collect();
    while let Some(at) = waiting.pop() {
        let Some(record) = changes[at].before.clone() else { continue };
        for needed in record.depends_on.iter().filter_map(|address| index.get(address)).copied() {
            let change = &mut changes[needed];
            match change.action {
                Action::Delete => {
                    change.action = Action::Forget;
                    change.reason = Some(Reason::ForgetBecauseNeeded);
                }
                Action::Replace if schemas.lives_in(&record.resource(), &change.address) => {
                    failures.push(would_go(&record.address, &change.address));
                }
                _ => {}
            }
            if seen.insert(needed) {
                waiting.push(needed);
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn would_go(address: &Address, container: &Address) -> Diagnostic {
    Diagnostic::error(
        "Cannot go on to exist",
        format!(
            "{address} is to go on without being managed, and {container}, which it lives in, must be replaced in the same plan."
        ),
    )
    .about(address)
    .hint("remove the service in a plan of its own, before that change")
}

/// What the user must know of objects that a plan forgets, in Terraform's words.
pub fn forgetting(plan: &Plan) -> Option<Diagnostic> {
    let forgotten = plan.changes.iter().filter(|change| change.action == Action::Forget);
    let list: Vec<String> = forgotten.map(|change| format!(" - {}", change.address)).collect();
    (!list.is_empty()).then(|| {
        Diagnostic::warning(
            "Some objects will no longer be managed by Fleetform",
            format!(
                "If you apply this plan, Fleetform will discard its tracking information for the following objects, but it will not delete them:\n{}",
                list.join("\n")
            ),
        )
        .hint("they keep their tags, cost what they cost, and can be imported again")
    })
}
