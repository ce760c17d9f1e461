//! In which order the steps of a plan may run.
//!
//! A change has up to two steps: removal (of what is deleted or replaced) and making (what is created,
//! updated or replaced). Making follows the making of what it depends on; removal goes the other way
//! round; and a replica that moves is there before the old one goes.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Resource};

use super::{Action, Change};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Remove,
    Make,
}

/// One call to a provider and the steps (by index) that must be over before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Index into the changes.
    pub change: usize,
    pub phase: Phase,
    pub after: Vec<usize>,
}

/// Resources such that each comes after what it depends on; by address where both orders would do. A
/// cycle (which no provider makes) is cut at its first address.
pub fn by_dependency(resources: &BTreeMap<Address, Resource>) -> Vec<Address> {
    let mut done = BTreeSet::new();
    let mut ordered = Vec::with_capacity(resources.len());
    for start in resources.keys() {
        let mut stack = vec![(start, false)];
        while let Some((address, expanded)) = stack.pop() {
            if expanded {
                ordered.push(address.clone());
                continue;
            }
            let Some(resource) = resources.get(address) else { continue };
            if !done.insert(address) {
                continue;
            }
            stack.push((address, true));
            for dependency in resource.depends_on.iter().rev() {
                if !done.contains(dependency) {
                    stack.push((dependency, false));
                }
            }
        }
    }
    ordered
}

/// The steps of the changes. Their order in the list is one in which they could run one by one.
pub fn order(changes: &[Change]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut make: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut remove: BTreeMap<&Address, usize> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        let mut add = |phase| {
            steps.push(Step { change: index, phase, after: Vec::new() });
            steps.len() - 1
        };
        if matches!(change.action, Action::Delete | Action::Replace) {
            remove.insert(&change.address, add(Phase::Remove));
        }
        if matches!(change.action, Action::Create | Action::Update | Action::Replace) {
            make.insert(&change.address, add(Phase::Make));
        }
    }
    for change in changes {
        let made = make.get(&change.address).copied();
        let removed = remove.get(&change.address).copied();
        if let (Some(made), Some(removed)) = (made, removed) {
            steps[made].after.push(removed);
        }
        for dependency in change.desired.iter().flat_map(|resource| &resource.depends_on) {
            if let (Some(made), Some(&first)) = (made, make.get(dependency)) {
                steps[made].after.push(first);
            }
        }
        for dependency in change.before.iter().flat_map(|record| &record.depends_on) {
            let Some(&gone) = remove.get(dependency) else { continue };
            match (removed, made) {
                (Some(removed), _) => steps[gone].after.push(removed),
                // It stays, and stops needing what goes: it is changed first.
                (None, Some(made)) => steps[gone].after.push(made),
                (None, None) => {}
            }
        }
        // A deployment that moves: the new one serves before the old one goes.
        if change.action == Action::Delete && change.address.kind == "kubernetes_deployment" {
            let replacements = changes.iter().filter(|other| {
                other.action == Action::Create
                    && other.address.kind == change.address.kind
                    && other.address.name == change.address.name
            });
            for replacement in replacements {
                if let (Some(removed), Some(&made)) = (removed, make.get(&replacement.address)) {
                    steps[removed].after.push(made);
                }
            }
        }
    }
    for step in &mut steps {
        step.after.sort_unstable();
        step.after.dedup();
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetform_contract::{Attributes, Record};

    fn resource(address: &str, depends_on: &[&str]) -> Resource {
        Resource {
            address: address.parse().expect(address),
            cloud: "c".into(),
            site: None,
            attributes: Attributes::new(),
            depends_on: depends_on.iter().map(|text| text.parse().expect("an address")).collect(),
        }
    }

    fn change(action: Action, address: &str, old: &[&str], new: &[&str]) -> Change {
        let desired = resource(address, new);
        let before = Record {
            address: desired.address.clone(),
            cloud: "c".into(),
            site: None,
            id: address.into(),
            attributes: Attributes::new(),
            depends_on: resource(address, old).depends_on,
            version: 1,
            tainted: false,
        };
        Change {
            action,
            before: (action != Action::Create).then_some(before),
            desired: (action != Action::Delete).then_some(desired.clone()),
            ..Change::nothing(desired.address)
        }
    }

    /// Every pair "first < then" of the steps, as text.
    fn pairs(changes: &[Change]) -> Vec<String> {
        let steps = order(changes);
        let name = |step: &Step| format!("{:?} {}", step.phase, changes[step.change].address);
        let mut pairs: Vec<String> = steps
            .iter()
            .flat_map(|step| {
                step.after.iter().map(|&first| format!("{} < {}", name(&steps[first]), name(step)))
            })
            .collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn making_follows_dependencies_and_removal_goes_the_other_way() {
        let created = [
            change(Action::Create, "a.cluster", &[], &[]),
            change(Action::Create, "b.pool", &[], &["a.cluster"]),
        ];
        assert_eq!(pairs(&created), ["Make a.cluster < Make b.pool"]);
        let deleted = [
            change(Action::Delete, "a.cluster", &[], &[]),
            change(Action::Delete, "b.pool", &["a.cluster"], &[]),
        ];
        assert_eq!(pairs(&deleted), ["Remove b.pool < Remove a.cluster"]);
        let replaced = [
            change(Action::Replace, "a.cluster", &[], &[]),
            change(Action::Replace, "b.pool", &["a.cluster"], &["a.cluster"]),
        ];
        assert_eq!(
            pairs(&replaced),
            [
                "Make a.cluster < Make b.pool",
                "Remove a.cluster < Make a.cluster",
                "Remove b.pool < Make b.pool",
                "Remove b.pool < Remove a.cluster",
            ]
        );
    }

    #[test]
    fn what_stays_lets_go_first_and_moves_overlap() {
        let left = [
            change(Action::Delete, "b.pool", &[], &[]),
            change(Action::Update, "k.deployment", &["b.pool"], &[]),
        ];
        assert_eq!(pairs(&left), ["Make k.deployment < Remove b.pool"]);
        let moved = [
            change(Action::Delete, r#"kubernetes_deployment.x["a"]"#, &[], &[]),
            change(Action::Create, r#"kubernetes_deployment.x["b"]"#, &[], &[]),
        ];
        assert_eq!(
            pairs(&moved),
            [r#"Make kubernetes_deployment.x["b"] < Remove kubernetes_deployment.x["a"]"#]
        );
    }
}
