//! An earlier entry of the log → what was wanted then: what a rollback goes back to.
//!
//! Invariant: a rollback is a plan like any other. It is a diff from what exists now to what was wanted
//! then, and only its goal is another.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Ownership, Record, Resource, Schema, Value, Vault, path};
use fleetform_state::{Entry, Line, OutputValue, State};

use super::{Action, Change, Schemas, at};
use crate::diagnostic::Diagnostic;
use crate::placement::Placement;

/// What a plan can go back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The entry after which it was so.
    pub entry: u64,
    pub desired: BTreeMap<Address, Resource>,
    pub placement: Option<Placement>,
    pub outputs: BTreeMap<String, OutputValue>,
}

/// What was wanted after an entry. `state` is the state as of then.
pub fn past(lines: &[Line], entry: u64, state: &State, schemas: &dyn Schemas) -> Past {
    let mut asked = asked(lines, entry);
    let mut desired = BTreeMap::new();
    for (address, record) in &state.records {
        let resource = asked
            .remove(address)
            .unwrap_or_else(|| without_computed(record, schemas.schema(&address.kind)));
        let resource = Resource { depends_on: record.depends_on.clone(), ..resource };
        desired.insert(address.clone(), awaiting(resource, &state.records, schemas));
    }
    let placement = state.placement.clone().and_then(|kept| serde_json::from_value(kept).ok());
    Past { entry, desired, placement, outputs: state.outputs.clone() }
}

/// What the last operation at each address asked for.
fn asked(lines: &[Line], entry: u64) -> BTreeMap<Address, Resource> {
    let mut begun: BTreeMap<&str, &Resource> = BTreeMap::new();
    let mut asked: BTreeMap<Address, Resource> = BTreeMap::new();
    for line in lines.iter().take_while(|line| line.number <= entry) {
        match &line.entry {
            Entry::Begin { op, desired: Some(desired), .. } => drop(begun.insert(op, desired)),
            Entry::Done { op, record: Some(record) } | Entry::Tainted { op, record, .. } => {
                if let Some(desired) = begun.remove(op.as_str()) {
                    asked.insert(record.address.clone(), desired.clone());
                }
            }
            Entry::Moved { from, to } => {
                if let Some(desired) = asked.remove(from) {
                    asked.insert(to.clone(), Resource { address: to.clone(), ..desired });
                }
            }
            // What was taken over or accepted as it was found is what was wanted.
            Entry::Adopted { record } | Entry::Observed { record } => {
                asked.remove(&record.address);
            }
            _ => {}
        }
    }
    asked
}

/// A record as something to ask for: without what the cloud decides.
fn without_computed(record: &Record, schema: Option<&Schema>) -> Resource {
    let mut resource = record.resource();
    let Some(schema) = schema else { return resource };
    let attributes = resource.attributes.into_iter();
    resource.attributes = attributes
        .filter_map(|(name, value)| Some((name.clone(), ours(&name, value, schema)?)))
        .collect();
    resource
}

fn ours(at: &str, value: Value, schema: &Schema) -> Option<Value> {
    if matches!(schema.ownership(at), Ownership::Computed | Ownership::ProviderDefault) {
        return None;
    }
    Some(match value {
        Value::Map(map) => Value::Map(
            map.into_iter()
                .filter_map(|(name, item)| {
                    let item = ours(&path(&[at, &name]), item, schema)?;
                    Some((name, item))
                })
                .collect(),
        ),
        Value::List(items) => Value::List(
            items
                .into_iter()
                .enumerate()
                .filter_map(|(index, item)| ours(&path(&[at, &index.to_string()]), item, schema))
                .collect(),
        ),
        leaf => leaf,
    })
}

/// The resource with what its dependencies computed unknown again: one that must be made once more
/// computes something else.
fn awaiting(
    mut resource: Resource,
    records: &BTreeMap<Address, Record>,
    schemas: &dyn Schemas,
) -> Resource {
    let mut computed: BTreeMap<String, Value> = BTreeMap::new();
    for record in resource.depends_on.iter().filter_map(|address| records.get(address)) {
        let names = schemas.schema(&record.address.kind).into_iter().flat_map(Schema::computed);
        for name in names {
            if let Some(text) = record.text(name).filter(|text| !text.is_empty()) {
                computed.insert(text.to_owned(), Value::unknown(&record.address, name));
            }
        }
    }
    if computed.is_empty() {
        return resource;
    }
    for value in resource.attributes.values_mut() {
        *value = value.map_leaves(&mut |leaf| {
            let text = leaf.as_str().and_then(|text| computed.get(text));
            text.cloned().unwrap_or_else(|| leaf.clone())
        });
    }
    resource
}

/// Keeps the present value where a secret of then is not known any more: of old secrets there are only
/// digests. Gives the addresses where that was so.
pub fn keep_secrets(
    desired: &mut BTreeMap<Address, Resource>,
    records: &BTreeMap<Address, Record>,
    vault: &Vault,
) -> Vec<Address> {
    let mut kept = Vec::new();
    for (address, resource) in desired {
        let Some(record) = records.get(address) else { continue };
        let mut here = false;
        for (name, value) in &mut resource.attributes {
            *value = with_present(std::slice::from_ref(name), value, record, vault, &mut here);
        }
        if here {
            kept.push(address.clone());
        }
    }
    kept
}

fn with_present(
    place: &[String],
    value: &Value,
    record: &Record,
    vault: &Vault,
    kept: &mut bool,
) -> Value {
    let inner = |name: String| [place, &[name]].concat();
    match value {
        Value::Map(map) => {
            let items = map.iter();
            let items = items.map(|(name, item)| {
                (name.clone(), with_present(&inner(name.clone()), item, record, vault, kept))
            });
            Value::Map(items.collect())
        }
        Value::List(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(index, item)| {
                with_present(&inner(index.to_string()), item, record, vault, kept)
            });
            Value::List(items.collect())
        }
        Value::Secret(secret) if vault.reveal(secret).is_none() => {
            match at(&record.attributes, place) {
                Some(present @ Value::Secret(now)) => {
                    *kept |= now.digest != secret.digest;
                    present.clone()
                }
                _ => value.clone(),
            }
        }
        _ => value.clone(),
    }
}

/// Refuses what cannot be made as it was.
///
/// # Errors
/// Objects to be made with secrets that are not known any more, or in clouds that the stack does not
/// have any more.
pub fn feasible(
    changes: &mut [Change],
    vault: &Vault,
    has_cloud: &dyn Fn(&str) -> bool,
) -> Result<(), Vec<Diagnostic>> {
    let mut failures = Vec::new();
    for change in changes {
        // That nothing asks for it now is not why it goes.
        if change.action == Action::Delete {
            change.reason = None;
        }
        let Some(desired) = change.desired.as_ref().filter(|_| change.action != Action::NoOp)
        else {
            continue;
        };
        if !has_cloud(&desired.cloud) {
            failures.push(
                Diagnostic::error(
                    "A cloud is not in the stack any more",
                    format!(
                        "{} was in cloud `{}`, which the stack does not declare.",
                        change.address, desired.cloud
                    ),
                )
                .about(&change.address)
                .hint("put the `cloud` block back, then roll back again"),
            );
        }
        let missing = desired.attributes.values().find_map(|value| vault.open(value).err());
        if let Some(secret) = missing {
            failures.push(
                Diagnostic::error(
                    "A secret is not known any more",
                    format!(
                        "{} was made with the secret `{}`, of which the state keeps only a digest, and the stack gives another value now.",
                        change.address, secret.reference
                    ),
                )
                .about(&change.address)
                .hint("give the stack the value of then, for example with -var"),
            );
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}
