//! `-target` and `-exclude`: a plan of a part of the stack.
//!
//! Invariant: what a part needs is in it. Making takes along what it depends on; removing takes along
//! what is removed first, because it depends on it or lives in it.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::Address;

use super::{Action, Change, Pattern, Placed, Scope, pattern};
use crate::config::Stack;
use crate::diagnostic::Diagnostic;

impl Change {
    /// As patterns see it.
    pub fn placed(&self) -> Placed<'_> {
        let desired = self.desired.as_ref().map(|it| (it.cloud.as_str(), it.site.as_deref()));
        let before = self.before.as_ref().map(|it| (it.cloud.as_str(), it.site.as_deref()));
        let (cloud, site) = desired.or(before).unwrap_or(("", None));
        Placed { address: &self.address, cloud, site }
    }

    fn removes(&self) -> bool {
        matches!(self.action, Action::Delete | Action::Replace)
    }
}

/// The part of the changes that `-target` and `-exclude` leave, and how much of the stack that is.
///
/// # Errors
/// Texts that name nothing: a slip of the finger must not make a plan of nothing, or of everything.
pub fn part(
    changes: Vec<Change>,
    stack: &Stack,
    targets: &[String],
    excluded: &[String],
) -> Result<(Vec<Change>, Scope), Vec<Diagnostic>> {
    if targets.is_empty() && excluded.is_empty() {
        return Ok((changes, Scope::Whole));
    }
    let placed: Vec<Placed<'_>> = changes.iter().map(Change::placed).collect();
    let mut failures = Vec::new();
    let mut read = |texts: &[String]| -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for text in texts {
            match Pattern::read(text, stack) {
                Err(failure) => failures.push(*failure),
                Ok(pattern) if placed.iter().any(|placed| pattern.fits(*placed)) => {
                    patterns.push(pattern);
                }
                Ok(_) => failures.push(pattern::unknown(text, "The plan", &placed, stack)),
            }
        }
        patterns
    };
    let (targets, excluded) = (read(targets), read(excluded));
    if !failures.is_empty() {
        return Err(failures);
    }
    Ok((select(changes, &targets, &excluded), Scope::Part))
}

/// What the user of `-target` and `-exclude` must know, in Terraform's words.
pub fn targeting() -> Diagnostic {
    Diagnostic::warning(
        "Resource targeting is in effect",
        "You are creating a plan with the -target or -exclude option, which means that the result of this plan may not represent all of the changes requested by the current configuration.",
    )
    .hint("the options are for exceptional situations, such as recovering from errors or mistakes")
}

/// The same, once it is applied.
pub fn incomplete() -> Diagnostic {
    Diagnostic::warning(
        "Applied changes may be incomplete",
        "The plan was created with the -target or -exclude option in effect, so some changes requested in the configuration may have been ignored, and outputs and placement are recorded as they were.",
    )
    .hint("run `fleetform plan` to see that no other changes are pending")
}

/// The part of the changes that these targets name (all, where there are none), without what is
/// excluded and what cannot be without that. What is left out stays as it is.
fn select(changes: Vec<Change>, targets: &[Pattern], excluded: &[Pattern]) -> Vec<Change> {
    let fits = |patterns: &[Pattern], change: &Change| {
        patterns.iter().any(|pattern| pattern.fits(change.placed()))
    };
    let mut kept: BTreeSet<Address> = changes
        .iter()
        .filter(|change| targets.is_empty() || fits(targets, change))
        .map(|change| change.address.clone())
        .collect();
    if !targets.is_empty() {
        kept = with_needed(&changes, kept);
    }
    let out: BTreeSet<Address> = changes
        .iter()
        .filter(|change| fits(excluded, change))
        .map(|change| change.address.clone())
        .collect();
    if !out.is_empty() {
        let out = with_needing(&changes, out);
        kept.retain(|address| !out.contains(address));
    }
    let part = changes.into_iter().filter_map(|change| match kept.contains(&change.address) {
        true => Some(change),
        false => left(change),
    });
    part.collect()
}

/// A change that is left out: what exists stays as it is, and what does not exist is not mentioned.
fn left(change: Change) -> Option<Change> {
    // An object that would be imported is not ours yet.
    let before = change.before.clone().filter(|_| change.importing.is_none())?;
    // A move calls no cloud: left out is only what would.
    Some(Change { previous: change.previous, ..Change::unchanged(before) })
}

/// Adds what must happen before: the making of what is depended on, the removal of what depends on it.
fn with_needed(changes: &[Change], chosen: BTreeSet<Address>) -> BTreeSet<Address> {
    let by_address: BTreeMap<&Address, &Change> =
        changes.iter().map(|change| (&change.address, change)).collect();
    let mut dependents: BTreeMap<&Address, Vec<&Change>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.removes()) {
        for dependency in change.before.iter().flat_map(|record| &record.depends_on) {
            dependents.entry(dependency).or_default().push(change);
        }
    }
    let mut kept = BTreeSet::new();
    let mut waiting: Vec<Address> = chosen.into_iter().collect();
    while let Some(address) = waiting.pop() {
        let Some(change) = by_address.get(&address) else { continue };
        if !kept.insert(address.clone()) {
            continue;
        }
        let needed = change.desired.iter().flat_map(|resource| &resource.depends_on);
        waiting.extend(needed.cloned());
        if change.removes() {
            let first = dependents.get(&address).into_iter().flatten();
            waiting.extend(first.map(|change| change.address.clone()));
        }
    }
    kept
}

/// Adds what cannot happen without these: what depends on their making, and the removal of what they
/// depend on.
fn with_needing(changes: &[Change], out: BTreeSet<Address>) -> BTreeSet<Address> {
    let by_address: BTreeMap<&Address, &Change> =
        changes.iter().map(|change| (&change.address, change)).collect();
    let mut needing: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for change in changes {
        for dependency in change.desired.iter().flat_map(|resource| &resource.depends_on) {
            needing.entry(dependency).or_default().push(&change.address);
        }
    }
    let mut all = BTreeSet::new();
    let mut waiting: Vec<Address> = out.into_iter().collect();
    while let Some(address) = waiting.pop() {
        if !all.insert(address.clone()) {
            continue;
        }
        let above = needing.get(&address).into_iter().flatten();
        waiting.extend(above.map(|address| (*address).clone()));
        // What stays keeps what it stands on.
        let Some(change) = by_address.get(&address) else { continue };
        let below = change.before.iter().flat_map(|record| &record.depends_on);
        let removed = |address: &&Address| by_address.get(*address).is_some_and(|c| c.removes());
        waiting.extend(below.filter(removed).cloned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Pattern, pattern};
    use fleetform_contract::{Attributes, Record, Resource};

    fn change(action: Action, address: &str, depends_on: &[&str]) -> Change {
        let address: Address = address.parse().expect("an address");
        let depends_on: Vec<Address> =
            depends_on.iter().map(|text| text.parse().expect("an address")).collect();
        let record = Record {
            address: address.clone(),
            cloud: "c".into(),
            site: None,
            id: "id".into(),
            attributes: Attributes::new(),
            depends_on: depends_on.clone(),
            version: 1,
            tainted: false,
        };
        let resource = Resource {
            address: address.clone(),
            cloud: "c".into(),
            site: None,
            attributes: Attributes::new(),
            depends_on,
        };
        Change {
            action,
            before: (action != Action::Create).then_some(record),
            desired: (action != Action::Delete).then_some(resource),
            ..Change::nothing(address)
        }
    }

    fn acting(changes: &[Change], targets: &[&str], excluded: &[&str]) -> Vec<String> {
        let patterns = |texts: &[&str]| -> Vec<Pattern> {
            texts.iter().map(|text| pattern::resource(text)).collect()
        };
        let part = select(changes.to_vec(), &patterns(targets), &patterns(excluded));
        let acting = part.iter().filter(|change| change.action != Action::NoOp);
        acting.map(|change| format!("{:?} {}", change.action, change.address)).collect()
    }

    #[test]
    fn making_takes_along_what_it_needs() {
        let changes = [
            change(Action::Create, "a.cluster", &[]),
            change(Action::Create, "b.pool", &["a.cluster"]),
            change(Action::Create, "c.app", &["b.pool"]),
            change(Action::Update, "d.other", &[]),
        ];
        assert_eq!(acting(&changes, &["b.pool"], &[]), ["Create a.cluster", "Create b.pool"]);
        assert_eq!(acting(&changes, &["d.other"], &[]), ["Update d.other"]);
        assert_eq!(acting(&changes, &[], &["b.pool"]), ["Create a.cluster", "Update d.other"]);
        assert_eq!(acting(&changes, &[], &["a.cluster"]), ["Update d.other"]);
    }

    #[test]
    fn removing_takes_along_what_goes_first() {
        let changes = [
            change(Action::Delete, "a.cluster", &[]),
            change(Action::Delete, "b.pool", &["a.cluster"]),
            change(Action::Delete, "c.app", &["b.pool"]),
            change(Action::Delete, "d.other", &[]),
        ];
        assert_eq!(acting(&changes, &["b.pool"], &[]), ["Delete b.pool", "Delete c.app"]);
        assert_eq!(acting(&changes, &[], &["b.pool"]), ["Delete c.app", "Delete d.other"]);
        let replaced = [
            change(Action::Replace, "a.cluster", &[]),
            change(Action::Replace, "b.pool", &["a.cluster"]),
            change(Action::Update, "c.app", &["b.pool"]),
        ];
        assert_eq!(acting(&replaced, &["a.cluster"], &[]), ["Replace a.cluster", "Replace b.pool"]);
    }

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        let changes = vec![change(Action::Delete, "a.x", &[]), change(Action::Create, "b.y", &[])];
        let left = select(changes, &[pattern::resource("c.z")], &[]);
        assert_eq!(left.len(), 1, "what does not exist is not mentioned");
        assert_eq!((left[0].action, left[0].before.is_some()), (Action::NoOp, true));
        assert!(left[0].desired.is_none());
    }
}
