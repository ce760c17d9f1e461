//! The typed difference between resources and records.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{
    Address, Attributes, Ownership, Record, Resource, Schema, Unknown, Value, path,
};

use super::{Action, Change, Path, Reason, order};

/// What the planner asks about types; the clouds know the answers.
pub trait Schemas {
    fn schema(&self, kind: &str) -> Option<&'static Schema>;

    /// Whether `resource` is gone when `container` goes.
    fn lives_in(&self, resource: &Resource, container: &Address) -> bool;
}

/// What must change so that exactly `desired` exists, where `records` do now. Addresses in `replace`
/// are replaced even where they need not be.
pub fn diff(
    desired: &BTreeMap<Address, Resource>,
    records: &BTreeMap<Address, Record>,
    replace: &BTreeSet<Address>,
    schemas: &dyn Schemas,
) -> Vec<Change> {
    let mut changes: BTreeMap<Address, Change> = BTreeMap::new();
    for address in order::by_dependency(desired) {
        let resource = &desired[&address];
        let record = records.get(&address);
        let mut change = one(resource, record, &changes, records, schemas);
        let container_goes = resource.depends_on.iter().any(|dependency| {
            changes.get(dependency).is_some_and(|change| change.action == Action::Replace)
                && schemas.lives_in(resource, dependency)
        });
        if record.is_some() && (container_goes || replace.contains(&address)) {
            change.action = Action::Replace;
            change.reason = match change.reason {
                Some(Reason::ReplaceBecauseTainted) => change.reason,
                _ if container_goes => Some(Reason::ReplaceByTriggers),
                _ => Some(Reason::ReplaceByRequest),
            };
            change.after = Some(after_creation(&change, schemas));
        }
        changes.insert(address, change);
    }
    for (address, record) in records.iter().filter(|(address, _)| !desired.contains_key(address)) {
        let change = Change {
            action: Action::Delete,
            // Where nothing is asked for at all, every deletion is what was asked for.
            reason: (!desired.is_empty()).then_some(Reason::DeleteBecauseNoResourceConfig),
            before: Some(record.clone()),
            ..Change::nothing(address.clone())
        };
        changes.insert(address.clone(), change);
    }
    changes.into_values().collect()
}

/// The change of one resource, whose dependencies' changes are decided.
fn one(
    resource: &Resource,
    record: Option<&Record>,
    decided: &BTreeMap<Address, Change>,
    records: &BTreeMap<Address, Record>,
    schemas: &dyn Schemas,
) -> Change {
    let mut resource = resource.clone();
    for value in resource.attributes.values_mut() {
        *value = value.map_leaves(&mut |leaf| match leaf {
            Value::Unknown(unknown) => provided(unknown, decided, records),
            other => other.clone(),
        });
    }
    let address = resource.address.clone();
    let mut change =
        Change { before: record.cloned(), desired: Some(resource), ..Change::nothing(address) };
    let Some(record) = record else {
        change.action = Action::Create;
        change.after = Some(after_creation(&change, schemas));
        return change;
    };
    let wanted = &change.desired.as_ref().expect("set above").attributes;
    let schema = schemas.schema(&change.address.kind);
    let after = merge_attributes(wanted, &record.attributes, schema);
    let paths = differences(&record.attributes, &after);
    let forcing: Vec<Path> = paths
        .iter()
        .filter(|path| schema.is_some_and(|schema| schema.forces_replacement(&path.join("."))))
        .cloned()
        .collect();
    if record.tainted || !forcing.is_empty() {
        change.action = Action::Replace;
        change.reason = Some(match record.tainted {
            true => Reason::ReplaceBecauseTainted,
            false => Reason::ReplaceBecauseCannotUpdate,
        });
        change.replace_paths = forcing;
        change.after = Some(after_creation(&change, schemas));
    } else {
        change.action = if paths.is_empty() { Action::NoOp } else { Action::Update };
        change.after = Some(after);
    }
    change
}

/// What an unknown is, where the resource that provides it exists and stays.
fn provided(
    unknown: &Unknown,
    decided: &BTreeMap<Address, Change>,
    records: &BTreeMap<Address, Record>,
) -> Value {
    let keep = || Value::Unknown(unknown.clone());
    let Ok(address) = unknown.address.parse::<Address>() else { return keep() };
    match decided.get(&address).map(|change| change.action) {
        Some(Action::NoOp | Action::Update) => {}
        _ => return keep(),
    }
    let Some(record) = records.get(&address) else { return keep() };
    lookup(&record.attributes, &unknown.path).cloned().unwrap_or_else(keep)
}

/// What stands at a dotted path of attributes.
pub(crate) fn lookup<'a>(attributes: &'a Attributes, dotted: &str) -> Option<&'a Value> {
    let (first, rest) = dotted.split_once('.').map_or((dotted, None), |(a, b)| (a, Some(b)));
    let value = attributes.get(first)?;
    rest.map_or(Some(value), |rest| value.at(rest))
}

/// What stands at a path of attributes.
pub(crate) fn at<'a>(attributes: &'a Attributes, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(attributes.get(first)?, |value, part| match value {
        Value::Map(map) => map.get(part),
        Value::List(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// What a newly made object will look like: what we set, and what the cloud computes.
fn after_creation(change: &Change, schemas: &dyn Schemas) -> Attributes {
    let resource = change.desired.as_ref().expect("what is created is desired");
    let mut after = resource.attributes.clone();
    for name in schemas.schema(&resource.address.kind).into_iter().flat_map(Schema::computed) {
        after.entry(name.to_owned()).or_insert_with(|| Value::unknown(&resource.address, name));
    }
    after
}

fn merge_attributes(wanted: &Attributes, seen: &Attributes, schema: Option<&Schema>) -> Attributes {
    let names: BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
    names
        .into_iter()
        .map(|name| (name.clone(), merge(name, wanted.get(name), seen.get(name), schema)))
        .filter(|(name, value)| !value.is_null() || seen.contains_key(name))
        .collect()
}

/// What an attribute will be: ours, unless the schema gives it to somebody else.
fn merge(
    path: &str,
    wanted: Option<&Value>,
    seen: Option<&Value>,
    schema: Option<&Schema>,
) -> Value {
    let ownership = schema.map_or(Ownership::Ours, |schema| schema.ownership(path));
    match (ownership, wanted, seen) {
        (Ownership::Computed | Ownership::Autoscaler, _, Some(seen)) => seen.clone(),
        (Ownership::ProviderDefault, None | Some(Value::Null), Some(seen)) => seen.clone(),
        (_, Some(Value::Map(wanted)), Some(Value::Map(seen))) => {
            let names: BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
            let merged = names.into_iter().filter_map(|name| {
                let inner = self::path(&[path, name]);
                let value = merge(&inner, wanted.get(name), seen.get(name), schema);
                let gone = value.is_null() && !wanted.contains_key(name);
                (!gone).then(|| (name.clone(), value))
            });
            Value::Map(merged.collect())
        }
        (_, Some(Value::List(wanted)), Some(Value::List(seen))) => {
            let merged = wanted.iter().enumerate().map(|(index, item)| {
                merge(&self::path(&[path, &index.to_string()]), Some(item), seen.get(index), schema)
            });
            Value::List(merged.collect())
        }
        (_, Some(wanted), Some(seen)) if same(wanted, seen) => seen.clone(),
        (_, Some(wanted), _) => wanted.clone(),
        // What we do not ask for and do not own is nothing; an empty collection is nothing as well.
        (_, None, Some(seen)) if is_nothing(seen) => seen.clone(),
        (_, None, _) => Value::Null,
    }
}

/// Whether two values mean the same to a cloud: null, absent and empty collections do.
pub fn same(a: &Value, b: &Value) -> bool {
    a == b || (is_nothing(a) && is_nothing(b))
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

/// The leaves that differ.
pub(crate) fn differences(before: &Attributes, after: &Attributes) -> Vec<Path> {
    let mut paths = Vec::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        collect(&mut vec![name.clone()], before.get(name), after.get(name), &mut paths);
    }
    paths
}

fn collect(path: &mut Path, before: Option<&Value>, after: Option<&Value>, paths: &mut Vec<Path>) {
    let (before, after) = (before.unwrap_or(&Value::Null), after.unwrap_or(&Value::Null));
    if same(before, after) {
        return;
    }
    match (before, after) {
        (Value::Map(before), Value::Map(after)) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                path.push(name.clone());
                collect(path, before.get(name), after.get(name), paths);
                path.pop();
            }
        }
        (Value::List(before), Value::List(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                path.push(index.to_string());
                collect(path, Some(before), Some(after), paths);
                path.pop();
            }
        }
        _ => paths.push(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetform_contract::Attribute;
    use serde_json::{Value as Json, json};

    static POOL: Schema = Schema {
        kind: "pool",
        attributes: &[
            Attribute::ours("machine_type").forces_replacement(),
            Attribute::ours("taint.*.key").forces_replacement(),
            Attribute::computed("id"),
            Attribute::provider_default("version"),
            Attribute::provider_default("upgrade.surge"),
            Attribute::autoscaler("scaling.*.desired"),
        ],
        partial: false,
    };

    struct Types;

    impl Schemas for Types {
        fn schema(&self, kind: &str) -> Option<&'static Schema> {
            (kind == "pool").then_some(&POOL)
        }

        fn lives_in(&self, _: &Resource, container: &Address) -> bool {
            container.kind == "pool"
        }
    }

    fn attributes(json: Json) -> Attributes {
        let Value::Map(map) = Value::from_plain_json(&json) else { panic!("{json} is no object") };
        map
    }

    fn resource(address: &str, json: Json, depends_on: &[&str]) -> Resource {
        Resource {
            address: address.parse().expect("an address"),
            cloud: "c".into(),
            site: None,
            attributes: attributes(json),
            depends_on: depends_on.iter().map(|text| text.parse().expect("an address")).collect(),
        }
    }

    fn record(address: &str, json: Json) -> Record {
        Record {
            address: address.parse().expect("an address"),
            cloud: "c".into(),
            site: None,
            id: address.into(),
            attributes: attributes(json),
            depends_on: Vec::new(),
            version: 1,
            tainted: false,
        }
    }

    fn changes(desired: &[Resource], records: &[Record], replace: &[&str]) -> Vec<Change> {
        let desired = desired.iter().map(|r| (r.address.clone(), r.clone())).collect();
        let records = records.iter().map(|r| (r.address.clone(), r.clone())).collect();
        let replace = replace.iter().map(|text| text.parse().expect("an address")).collect();
        diff(&desired, &records, &replace, &Types)
    }

    #[test]
    fn each_attribute_belongs_to_whom_the_schema_says() {
        let no_op = (Action::NoOp, vec![]);
        let update = (Action::Update, vec![]);
        let replace = |path: &str| (Action::Replace, vec![path.to_owned()]);
        for (why, wanted, seen, (action, forcing)) in [
            ("equal", json!({ "size": 1 }), json!({ "size": 1 }), no_op.clone()),
            ("another value", json!({ "size": 1 }), json!({ "size": 2 }), update.clone()),
            ("1 and 1.0", json!({ "size": 1 }), json!({ "size": 1.0 }), no_op.clone()),
            ("computed", json!({}), json!({ "id": "x" }), no_op.clone()),
            ("a default of the cloud", json!({}), json!({ "version": "1.33" }), no_op.clone()),
            (
                "a default that we set",
                json!({ "version": "1.34" }),
                json!({ "version": "1.33" }),
                update.clone(),
            ),
            (
                "a default inside",
                json!({ "upgrade": { "x": 1 } }),
                json!({ "upgrade": { "x": 1, "surge": 2 } }),
                no_op.clone(),
            ),
            (
                "the autoscaler's",
                json!({ "scaling": [{ "desired": 1, "max": 4 }] }),
                json!({ "scaling": [{ "desired": 3, "max": 4 }] }),
                no_op.clone(),
            ),
            (
                "ours beside the autoscaler's",
                json!({ "scaling": [{ "desired": 1, "max": 5 }] }),
                json!({ "scaling": [{ "desired": 3, "max": 4 }] }),
                update.clone(),
            ),
            ("made by others", json!({}), json!({ "labels": { "x": "y" } }), update.clone()),
            (
                "a key made by others",
                json!({ "labels": {} }),
                json!({ "labels": { "x": "y" } }),
                update.clone(),
            ),
            ("null is absent", json!({ "a": null }), json!({}), no_op.clone()),
            ("absent is null", json!({}), json!({ "a": null }), no_op.clone()),
            ("absent is empty", json!({}), json!({ "a": [], "b": {} }), no_op.clone()),
            ("empty is absent", json!({ "a": [], "b": {} }), json!({}), no_op.clone()),
            ("false is not absent", json!({ "a": false }), json!({}), update.clone()),
            ("\"\" is not absent", json!({ "a": "" }), json!({}), update),
            (
                "forces",
                json!({ "machine_type": "b" }),
                json!({ "machine_type": "a" }),
                replace("machine_type"),
            ),
            (
                "forces inside",
                json!({ "taint": [{ "key": "b" }] }),
                json!({ "taint": [{ "key": "a" }] }),
                replace("taint.0.key"),
            ),
        ] {
            let got = changes(&[resource("pool.a", wanted, &[])], &[record("pool.a", seen)], &[]);
            assert_eq!(got[0].action, action, "{why}");
            let paths: Vec<String> =
                got[0].replace_paths.iter().map(|path| path.join(".")).collect();
            assert_eq!(paths, forcing, "{why}");
            let reason = (action == Action::Replace).then_some(Reason::ReplaceBecauseCannotUpdate);
            assert_eq!(got[0].reason, reason, "{why}");
        }
    }

    #[test]
    fn what_is_updated_keeps_what_others_own() {
        let wanted = json!({ "size": 2, "scaling": [{ "desired": 1, "max": 4 }] });
        let seen = json!({
            "id": "x", "size": 1, "scaling": [{ "desired": 3, "max": 4 }], "version": "1.33",
        });
        let got = changes(&[resource("pool.a", wanted, &[])], &[record("pool.a", seen)], &[]);
        let after = json!({
            "id": "x", "size": 2, "scaling": [{ "desired": 3, "max": 4 }], "version": "1.33",
        });
        assert_eq!(got[0].after, Some(attributes(after)));
    }

    #[test]
    fn what_is_created_has_unknown_computed_attributes() {
        let got = changes(&[resource("pool.a", json!({ "size": 1 }), &[])], &[], &[]);
        assert_eq!(got[0].action, Action::Create);
        let after = got[0].after.as_ref().expect("created");
        assert_eq!(after["id"], Value::unknown("pool.a", "id"));
        assert_eq!(after.len(), 2, "{after:?}");
    }

    #[test]
    fn what_lives_in_a_replaced_container_is_replaced_with_it() {
        let desired = [
            resource("pool.a", json!({ "machine_type": "b" }), &[]),
            resource("app.b", json!({ "x": 1 }), &["pool.a"]),
        ];
        let records =
            [record("pool.a", json!({ "machine_type": "a" })), record("app.b", json!({ "x": 1 }))];
        let got = changes(&desired, &records, &[]);
        assert_eq!(
            (got[0].action, got[0].reason),
            (Action::Replace, Some(Reason::ReplaceByTriggers))
        );
        assert_eq!(got[0].address.to_string(), "app.b");
        assert_eq!(got[1].reason, Some(Reason::ReplaceBecauseCannotUpdate));
        // What does not exist yet is only made.
        let got = changes(&desired, &records[..1], &[]);
        assert_eq!((got[0].action, got[0].reason), (Action::Create, None));
    }

    #[test]
    fn what_a_failed_creation_left_is_made_again() {
        let same = json!({ "size": 1 });
        let broken = Record { tainted: true, ..record("pool.a", same.clone()) };
        let desired = [resource("pool.a", same, &[]), resource("app.b", json!({}), &["pool.a"])];
        let got = changes(&desired, &[broken.clone(), record("app.b", json!({}))], &["pool.a"]);
        let why: Vec<_> = got.iter().map(|change| (change.action, change.reason)).collect();
        let replaced = |reason| (Action::Replace, Some(reason));
        let expected = [Reason::ReplaceByTriggers, Reason::ReplaceBecauseTainted].map(replaced);
        assert_eq!(why, expected);
        let got = changes(&[], &[broken], &[]);
        assert_eq!(got[0].action, Action::Delete);
    }

    #[test]
    fn a_request_replaces_what_need_not_be() {
        let same = json!({ "size": 1 });
        let desired = [resource("pool.a", same.clone(), &[])];
        let got = changes(&desired, &[record("pool.a", same)], &["pool.a"]);
        assert_eq!(
            (got[0].action, got[0].reason),
            (Action::Replace, Some(Reason::ReplaceByRequest))
        );
        let after = got[0].after.as_ref().expect("made again");
        assert!(matches!(after["id"], Value::Unknown(_)));
    }

    #[test]
    fn what_nothing_asks_for_goes_and_says_why_only_beside_what_stays() {
        let records = [record("pool.a", json!({})), record("pool.b", json!({}))];
        let got = changes(&[resource("pool.b", json!({}), &[])], &records, &[]);
        let why = Some(Reason::DeleteBecauseNoResourceConfig);
        assert_eq!((got[0].action, got[0].reason), (Action::Delete, why));
        let got = changes(&[], &records, &[]);
        assert_eq!((got[0].action, got[0].reason), (Action::Delete, None));
    }

    #[test]
    fn an_unknown_is_what_its_provider_has_unless_that_is_made_again() {
        let unknown = || Value::unknown("pool.a", "id");
        let app = || {
            let mut app = resource("app.b", json!({}), &["pool.a"]);
            app.attributes.insert("pool".into(), unknown());
            app
        };
        let records = |machine: &str| {
            [
                record("pool.a", json!({ "id": "p-1", "machine_type": machine })),
                record("app.b", json!({ "pool": "p-1" })),
            ]
        };
        let pool = || resource("pool.a", json!({ "machine_type": "a" }), &[]);
        let got = changes(&[pool(), app()], &records("a"), &[]);
        assert_eq!(got[0].action, Action::NoOp, "the id is known and the same");
        let got = changes(&[pool(), app()], &records("old"), &[]);
        assert_eq!(got[0].after.as_ref().expect("after")["pool"], unknown());
    }
}
