//! Who owns which field: server-side apply, and the trace that every other write leaves.
//!
//! Applying merges the configuration into the live object, removes what the same manager applied before
//! and applies no longer (unless somebody else owns it), and refuses to change what others own unless it
//! is forced; then they lose it. Any other write takes the fields that it changes, from everybody.

use serde_json::{Value as Json, json};

use super::fields::{self, Set};

/// Fields that belong to the system, not to any manager.
const SYSTEM: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:generateName"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:managedFields"],
];

/// Who writes, through what.
#[derive(Clone, Debug)]
pub(super) struct Writer<'a> {
    pub manager: &'a str,
    /// `status` or `scale`, where the write goes through one.
    pub subresource: Option<&'a str>,
    pub api_version: &'a str,
    pub now: &'a str,
}

/// A field of another manager that an apply would change: who, and the field.
pub(super) type Conflict = (String, String);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: Option<String>,
    time: String,
    set: Set,
}

/// Applies a configuration; `live` is the object as it is, empty where there is none.
pub(super) fn apply(
    live: &Json,
    config: &Json,
    writer: &Writer,
    force: bool,
) -> Result<Json, Vec<Conflict>> {
    let config = without_nulls(config);
    let mut entries = entries(live);
    let mine = |entry: &Entry| {
        entry.manager == writer.manager
            && entry.operation == "Apply"
            && entry.subresource.as_deref() == writer.subresource
    };
    let last = entries.iter().position(mine).map(|index| entries.remove(index));
    let set = Set::of(&config).without(SYSTEM);

    let mut merged = live.clone();
    if merged.is_null() {
        merged = json!({});
    }
    fields::merge(&mut merged, &config, "");
    if let Some(last) = &last {
        let mut keep = set.clone();
        for entry in &entries {
            keep.add(&entry.set);
        }
        fields::prune(&mut merged, &last.set, &keep, "");
    }

    let difference = fields::compare(&bare(live), &bare(&merged));
    let mut conflicts = Vec::new();
    for entry in &mut entries {
        let taken = entry.set.intersection(&difference.changed);
        if !taken.is_empty() {
            let who = entry.describe();
            conflicts.extend(taken.paths().into_iter().map(|path| (who.clone(), path)));
            entry.set.subtract(&taken);
        }
        entry.set.subtract(&difference.removed);
    }
    if !force && !conflicts.is_empty() {
        conflicts.sort();
        return Err(conflicts);
    }
    let time = match &last {
        Some(last) if last.set == set => last.time.clone(),
        _ => writer.now.to_owned(),
    };
    entries.push(Entry { time, ..Entry::new(writer, "Apply", set) });
    write(&mut merged, entries);
    Ok(merged)
}

/// Notes a write that is no apply in the new object's managed fields.
pub(super) fn track(old: &Json, new: &mut Json, writer: &Writer) {
    let mut entries = entries(old);
    let mut difference = fields::compare(&bare(old), &bare(new));
    difference.changed = difference.changed.without(SYSTEM);
    let mine = |entry: &Entry| {
        entry.manager == writer.manager
            && entry.operation == "Update"
            && entry.subresource.as_deref() == writer.subresource
    };
    let position = entries.iter().position(mine);
    let mut own = position
        .map(|index| entries.remove(index))
        .unwrap_or_else(|| Entry::new(writer, "Update", Set::default()));
    for entry in &mut entries {
        entry.set.subtract(&difference.changed);
        entry.set.subtract(&difference.removed);
    }
    let before = own.set.clone();
    own.set.subtract(&difference.removed);
    own.set.add(&difference.changed);
    if own.set != before {
        own.time = writer.now.to_owned();
    }
    entries.push(own);
    write(new, entries);
}

impl Entry {
    fn new(writer: &Writer, operation: &str, set: Set) -> Entry {
        Entry {
            manager: writer.manager.to_owned(),
            operation: operation.to_owned(),
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.map(str::to_owned),
            time: writer.now.to_owned(),
            set,
        }
    }

    /// As the server names a manager in a conflict.
    fn describe(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if let Some(subresource) = &self.subresource {
            text += &format!(" with subresource {subresource:?}");
        }
        if self.operation == "Update" {
            text += &format!(" using {}", self.api_version);
        }
        text
    }

    fn read(json: &Json) -> Option<Entry> {
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        Some(Entry {
            manager: text("manager")?,
            operation: text("operation")?,
            api_version: text("apiVersion")?,
            subresource: text("subresource"),
            time: text("time").unwrap_or_default(),
            set: Set::from_json(&json["fieldsV1"]),
        })
    }

    fn json(&self) -> Json {
        let mut json = json!({
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.to_json(),
        });
        if let Some(subresource) = &self.subresource {
            json["subresource"] = subresource.as_str().into();
        }
        json
    }
}

fn entries(object: &Json) -> Vec<Entry> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().filter_map(Entry::read).collect()
}

fn write(object: &mut Json, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    entries.sort_by(|one, other| {
        let key = |entry: &Entry| {
            let applies_first = entry.operation != "Apply";
            (applies_first, entry.manager.clone(), entry.subresource.clone())
        };
        key(one).cmp(&key(other))
    });
    object["metadata"]["managedFields"] = entries.iter().map(Entry::json).collect();
}

/// The object without what the system keeps in it.
fn bare(object: &Json) -> Json {
    let mut object = if object.is_null() { json!({}) } else { object.clone() };
    if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
    object
}

/// An explicit null says nothing in a configuration.
fn without_nulls(json: &Json) -> Json {
    match json {
        Json::Object(map) => Json::Object(
            map.iter()
                .filter(|(_, item)| !item.is_null())
                .map(|(key, item)| (key.clone(), without_nulls(item)))
                .collect(),
        ),
        Json::Array(items) => items.iter().map(without_nulls).collect(),
        leaf => leaf.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(manager: &'static str) -> Writer<'static> {
        Writer { manager, subresource: None, api_version: "apps/v1", now: "2026-01-01T00:00:00Z" }
    }

    /// Applies under names in turn, by force, and gives the object without its trace.
    fn after(steps: &[(&'static str, Json)]) -> Json {
        let mut object = Json::Null;
        for (manager, config) in steps {
            object = apply(&object, config, &writer(manager), true).expect("forced");
        }
        object.as_object_mut().expect("an object").remove("metadata");
        object
    }

    fn containers(items: Json) -> Json {
        json!({ "spec": { "containers": items } })
    }

    #[test]
    fn what_is_no_longer_applied_goes_unless_another_owns_it() {
        for (name, steps, expected) in [
            (
                "a field is pruned",
                vec![
                    ("a", json!({ "spec": { "x": 1, "y": 2 } })),
                    ("a", json!({ "spec": { "x": 1 } })),
                ],
                json!({ "spec": { "x": 1 } }),
            ),
            (
                "a shared field stays",
                vec![
                    ("a", json!({ "spec": { "x": 1, "y": 2 } })),
                    ("b", json!({ "spec": { "y": 2 } })),
                    ("a", json!({ "spec": { "x": 1 } })),
                ],
                json!({ "spec": { "x": 1, "y": 2 } }),
            ),
            (
                "items of lists are found by key",
                vec![
                    ("a", containers(json!([{ "name": "one", "image": "1", "tty": true }]))),
                    ("b", containers(json!([{ "name": "two", "image": "2" }]))),
                    ("a", containers(json!([{ "name": "one", "image": "3" }]))),
                ],
                containers(
                    json!([{ "name": "one", "image": "3" }, { "name": "two", "image": "2" }]),
                ),
            ),
            (
                "an item nobody owns goes with everything in it",
                vec![
                    ("a", containers(json!([{ "name": "one" }, { "name": "two", "image": "2" }]))),
                    ("a", containers(json!([{ "name": "one" }]))),
                ],
                containers(json!([{ "name": "one" }])),
            ),
            (
                "the default protocol is part of a port's key",
                vec![
                    ("a", containers(json!([{ "name": "c", "ports": [{ "containerPort": 80 }] }]))),
                    (
                        "b",
                        containers(json!([{ "name": "c", "ports": [
                            { "containerPort": 80, "protocol": "TCP", "name": "http" }] }])),
                    ),
                ],
                containers(json!([{ "name": "c", "ports": [
                    { "containerPort": 80, "protocol": "TCP", "name": "http" }] }])),
            ),
            (
                "an atomic list is replaced whole",
                vec![
                    ("a", json!({ "spec": { "tolerations": [{ "key": "x" }] } })),
                    ("b", json!({ "spec": { "tolerations": [{ "key": "y" }] } })),
                ],
                json!({ "spec": { "tolerations": [{ "key": "y" }] } }),
            ),
            (
                "an atomic map is replaced whole",
                vec![
                    ("a", json!({ "spec": { "selector": { "matchLabels": { "x": "1" } } } })),
                    ("b", json!({ "spec": { "selector": { "matchLabels": { "y": "2" } } } })),
                ],
                json!({ "spec": { "selector": { "matchLabels": { "y": "2" } } } }),
            ),
            (
                "a block goes with the defaults in it",
                vec![
                    ("a", json!({ "spec": { "probe": { "path": "/" } } })),
                    ("a", json!({ "spec": { "x": 1 } })),
                ],
                json!({ "spec": { "x": 1 } }),
            ),
            (
                "null says nothing",
                vec![("a", json!({ "spec": { "x": null, "y": 1 } }))],
                json!({ "spec": { "y": 1 } }),
            ),
        ] {
            assert_eq!(after(&steps), expected, "{name}");
        }
    }

    #[test]
    fn a_block_goes_with_the_defaults_that_the_server_put_in_it() {
        let mut live = apply(
            &Json::Null,
            &containers(json!([{ "name": "c", "probe": { "path": "/" } }])),
            &writer("a"),
            false,
        )
        .expect("alone");
        live["spec"]["containers"][0]["probe"]["period"] = 10.into();
        let config = containers(json!([{ "name": "c" }]));
        let now = apply(&live, &config, &writer("a"), false).expect("alone");
        assert_eq!(now["spec"], config["spec"]);
    }

    #[test]
    fn changing_what_another_owns_is_a_conflict_that_names_both() {
        let live = apply(&Json::Null, &json!({ "spec": { "replicas": 1 } }), &writer("a"), false)
            .expect("alone");
        // The same value is shared ownership, no conflict.
        let shared = apply(&live, &json!({ "spec": { "replicas": 1 } }), &writer("b"), false);
        assert_eq!(
            shared.expect("the same")["metadata"]["managedFields"].as_array().map(Vec::len),
            Some(2)
        );
        let wanted = json!({ "spec": { "replicas": 2 } });
        let conflicts = apply(&live, &wanted, &writer("b"), false).expect_err("another value");
        assert_eq!(conflicts, [("\"a\"".to_owned(), ".spec.replicas".to_owned())]);

        // An update takes the field from whoever applied it.
        let mut edited = live.clone();
        edited["spec"]["replicas"] = 5.into();
        track(&live, &mut edited, &writer("kubectl-edit"));
        let conflicts = apply(&edited, &wanted, &writer("a"), false).expect_err("edited");
        assert_eq!(
            conflicts,
            [("\"kubectl-edit\" using apps/v1".to_owned(), ".spec.replicas".to_owned())]
        );
        let forced = apply(&edited, &wanted, &writer("a"), true).expect("forced");
        assert_eq!(forced["spec"]["replicas"], 2);
        let managers: Vec<&Json> = forced["metadata"]["managedFields"]
            .as_array()
            .expect("traces")
            .iter()
            .map(|e| &e["manager"])
            .collect();
        assert_eq!(managers, ["a"]);
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let config = json!({ "spec": { "replicas": 1, "containers": [{ "name": "c" }] } });
        let once = apply(&Json::Null, &config, &writer("a"), false).expect("alone");
        let later = Writer { now: "2027-01-01T00:00:00Z", ..writer("a") };
        assert_eq!(apply(&once, &config, &later, false).expect("alone"), once);
    }

    #[test]
    fn sets_are_written_as_the_api_writes_them() {
        let config = json!({
            "metadata": { "name": "x", "labels": { "app": "x" }, "finalizers": ["f"] },
            "spec": { "containers": [{ "name": "c", "ports": [{ "containerPort": 80 }] }] },
        });
        let set = Set::of(&config).without(SYSTEM);
        let json = json!({
            "f:metadata": { "f:labels": { "f:app": {} }, "f:finalizers": { "v:\"f\"": {} } },
            "f:spec": { "f:containers": { "k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {},
                "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                    ".": {}, "f:containerPort": {} } },
            } } },
        });
        assert_eq!(set.to_json(), json);
        assert_eq!(Set::from_json(&json), set);
        assert!(set.paths().contains(
            &".spec.containers[name=\"c\"].ports[containerPort=80,protocol=\"TCP\"].containerPort".to_owned()
        ));
    }
}
