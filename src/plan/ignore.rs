//! `ignore_changes`: what stays as it is, whatever the stack says and whoever changes it.
//!
//! Invariant: what is ignored is asked for as it is; so a change of something else leaves it alone, too. It
//! counts only for what exists: what is made is made as the stack says.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Attributes, Record, Resource, Value};

use super::{Drift, differences};
use crate::config::{Ignored, Stack};

/// Asks for what is ignored as it is.
pub fn ignore(
    stack: &Stack,
    desired: &mut BTreeMap<Address, Resource>,
    records: &BTreeMap<Address, Record>,
) {
    for (address, resource) in desired {
        if let Some(record) = records.get(address) {
            ignore_one(stack, resource, record);
        }
    }
}

/// The same for one resource, which exists.
pub fn ignore_one(stack: &Stack, resource: &mut Resource, record: &Record) {
    if let Some(ignored) = ignored(stack, &resource.address, resource.site.as_ref()) {
        keep(&mut resource.attributes, &record.attributes, &resource.address, ignored);
    }
}

/// Leaves out what was changed elsewhere and is ignored.
pub fn ignore_drift(stack: &Stack, records: &BTreeMap<Address, Record>, drift: &mut Vec<Drift>) {
    drift.retain_mut(|drift| {
        let Some(after) = &mut drift.after else { return true };
        let site = records.get(&drift.address).and_then(|record| record.site.as_ref());
        let Some(ignored) = ignored(stack, &drift.address, site) else { return true };
        keep(after, &drift.before, &drift.address, ignored);
        let left = differences(&drift.before, after);
        drift.paths.retain(|path| left.contains(path));
        !drift.paths.is_empty()
    });
}

/// What is ignored of an object: of those in a cluster, what their workload says.
fn ignored<'s>(stack: &'s Stack, address: &Address, site: Option<&String>) -> Option<&'s Ignored> {
    let ignored = &site.and_then(|_| stack.workloads.get(&address.name))?.ignored;
    match ignored {
        Ignored::All => Some(ignored),
        Ignored::Places(places) => {
            places.iter().any(|(kind, _)| *kind == address.kind).then_some(ignored)
        }
    }
}

/// Puts what is ignored as it stands in `seen` into `wanted`.
fn keep(wanted: &mut Attributes, seen: &Attributes, address: &Address, ignored: &Ignored) {
    match ignored {
        Ignored::All => wanted.clone_from(seen),
        Ignored::Places(places) => {
            for (_, path) in places.iter().filter(|(kind, _)| *kind == address.kind) {
                keep_in_map(wanted, Some(seen), path);
            }
        }
    }
}

fn keep_in_map(wanted: &mut Attributes, seen: Option<&Attributes>, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    let kept = keep_at(wanted.remove(name), seen.and_then(|seen| seen.get(name)), rest);
    wanted.extend(kept.map(|value| (name.clone(), value)));
}

/// What is to stand at a place, where this is wanted and that is there; `None` for nothing.
fn keep_at(wanted: Option<Value>, seen: Option<&Value>, path: &[String]) -> Option<Value> {
    let Some((part, rest)) = path.split_first() else { return seen.cloned() };
    match (wanted, seen) {
        (Some(Value::List(mut items)), seen) => {
            let there = seen.and_then(Value::as_list).unwrap_or_default();
            keep_in_list(&mut items, there, part, rest);
            (!items.is_empty() || seen.is_some()).then_some(Value::List(items))
        }
        (Some(Value::Map(mut map)), seen) => {
            keep_in_map(&mut map, seen.and_then(Value::as_map), path);
            Some(Value::Map(map))
        }
        // Of something that is not asked for, what is ignored stays.
        (None, Some(Value::Map(seen))) => {
            let mut map = Attributes::new();
            keep_in_map(&mut map, Some(seen), path);
            (!map.is_empty()).then_some(Value::Map(map))
        }
        (None, Some(Value::List(seen))) => {
            let mut items = Vec::new();
            keep_in_list(&mut items, seen, part, rest);
            (!items.is_empty()).then_some(Value::List(items))
        }
        (wanted, _) => wanted,
    }
}

fn keep_in_list(items: &mut Vec<Value>, seen: &[Value], part: &str, rest: &[String]) {
    if part == "*" {
        for (item, seen) in items.iter_mut().zip(seen) {
            *item = keep_at(Some(item.clone()), Some(seen), rest).unwrap_or(Value::Null);
        }
        return;
    }
    let (here, there) = match part.strip_prefix("name=") {
        Some(name) => {
            let named = |item: &Value| item.at("name").and_then(Value::as_str) == Some(name);
            (items.iter().position(named), seen.iter().position(named))
        }
        None => {
            let index = part.parse::<usize>().ok();
            (index.filter(|index| *index < items.len()), index)
        }
    };
    let wanted = here.map(|index| items[index].clone());
    let kept = keep_at(wanted, there.and_then(|index| seen.get(index)), rest);
    match (here, kept) {
        (Some(index), Some(kept)) => items[index] = kept,
        (Some(index), None) => drop(items.remove(index)),
        // Where it stood, as far as there is such a place: another order would be a change.
        (None, Some(kept)) => items.insert(there.unwrap_or_default().min(items.len()), kept),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn check(path: &str, wanted: Json, seen: Json, expected: Json) {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let value = |json: &Json| Value::from_plain_json(json);
        let kept = keep_at(Some(value(&wanted)), Some(&value(&seen)), &path);
        assert_eq!(kept, Some(value(&expected)), "{path:?} of {wanted} and {seen}");
    }

    #[test]
    fn what_is_ignored_is_as_it_is_and_the_rest_as_wanted() {
        check("a", json!({"a": 1, "b": 2}), json!({"a": 3, "b": 4}), json!({"a": 3, "b": 2}));
        check("a", json!({"b": 2}), json!({"a": 3}), json!({"a": 3, "b": 2}));
        check("a", json!({"a": 1, "b": 2}), json!({}), json!({"b": 2}));
        check(
            "a/b",
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"b": 3}}),
            json!({"a": {"b": 3, "c": 2}}),
        );
        check("a/b", json!({}), json!({"a": {"b": 3, "c": 4}}), json!({"a": {"b": 3}}));
        check("a/b", json!({}), json!({"a": {"c": 4}}), json!({}));
        check("*/a", json!([{"a": 1}, {"a": 2}]), json!([{"a": 3}]), json!([{"a": 3}, {"a": 2}]));
        check(
            "1/a",
            json!([{"a": 1}, {"a": 2}]),
            json!([{}, {"a": 3}]),
            json!([{"a": 1}, {"a": 3}]),
        );
        let (wanted, seen) = (
            json!([{"name": "x", "value": 1}, {"name": "y", "value": 2}]),
            json!([{"name": "y", "value": 4}, {"name": "z", "value": 5}]),
        );
        let name = |name: &str| format!("name={name}");
        check(
            &name("y"),
            wanted.clone(),
            seen.clone(),
            json!([{"name": "x", "value": 1}, {"name": "y", "value": 4}]),
        );
        check(&name("x"), wanted.clone(), seen.clone(), json!([{"name": "y", "value": 2}]));
        check(
            &name("z"),
            wanted,
            seen,
            json!([{"name": "x", "value": 1}, {"name": "z", "value": 5}, {"name": "y", "value": 2}]),
        );
    }
}
