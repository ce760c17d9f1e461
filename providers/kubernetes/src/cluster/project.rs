//! Between manifests and live objects: a live object has a hundred fields where a manifest has ten.
//!
//! [`onto`] keeps of the live object what the manifest names, in the manifest's spelling where both mean
//! the same; so equal means unchanged, and what differs is drift.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetform_contract::{Attributes, Value};
use serde_json::{Map, Value as Json};

use crate::quantity;

/// Lists whose items have names: the field and what names an item.
const KEYED_LISTS: [(&str, &[&str]); 13] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("ports", &["containerPort", "port", "protocol"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("hostAliases", &["ip"]),
    ("resourceClaims", &["name"]),
    ("ownerReferences", &["uid"]),
    ("conditions", &["type"]),
];

/// The manifest as the API takes it. A Secret's `stringData` becomes `data`: server-side apply
/// tracks the fields that are sent, and the server never keeps `stringData`, so a key that we
/// dropped would stay.
pub(super) fn to_wire(attributes: &Attributes) -> Json {
    let mut manifest = Value::Map(attributes.clone()).to_plain_json();
    texts_of_environment(&mut manifest);
    if let Some(Json::Object(texts)) =
        manifest.as_object_mut().and_then(|map| map.remove("stringData"))
    {
        for (key, text) in texts {
            let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
            manifest["data"][key] = STANDARD.encode(text).into();
        }
    }
    manifest
}

/// What another resource computes may turn out to be a number; a variable's value is text.
fn texts_of_environment(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(texts_of_environment),
        Json::Object(map) => {
            for (key, item) in map {
                if key != "env" {
                    texts_of_environment(item);
                    continue;
                }
                for variable in item.as_array_mut().into_iter().flatten() {
                    let value = &variable["value"];
                    if value.is_number() || value.is_boolean() {
                        variable["value"] = value.to_string().into();
                    }
                }
            }
        }
        _ => {}
    }
}

/// The live object as manifests spell it: a Secret's data as text.
pub(super) fn from_wire(mut live: Json) -> Json {
    if live["kind"] == "Secret"
        && let Some(Json::Object(data)) = live.as_object_mut().and_then(|map| map.remove("data"))
    {
        let text = |encoded: &Json| {
            let bytes = STANDARD.decode(encoded.as_str()?).ok()?;
            String::from_utf8(bytes).ok()
        };
        // What is no text stays encoded: it cannot be ours.
        let texts = data.into_iter().map(|(key, encoded)| {
            let value = text(&encoded).map_or(encoded, Json::String);
            (key, value)
        });
        live["stringData"] = Json::Object(texts.collect());
    }
    live
}

/// Of the live object, what the manifest names.
pub(super) fn onto(attributes: &Attributes, live: &Json) -> Attributes {
    match project(&Value::Map(attributes.clone()), live, "") {
        Value::Map(projected) => projected,
        _ => Attributes::new(),
    }
}

fn project(ours: &Value, live: &Json, field: &str) -> Value {
    match (ours, live) {
        (Value::Map(wanted), Json::Object(map)) => {
            let quantities = matches!(field, "requests" | "limits");
            let mut projected = Attributes::new();
            for (key, ours) in wanted {
                match map.get(key) {
                    Some(Json::String(text)) if quantities && is_quantity(ours, text) => {
                        projected.insert(key.clone(), ours.clone());
                    }
                    Some(item) => {
                        projected.insert(key.clone(), project(ours, item, key));
                    }
                    // The server drops what is empty.
                    None if is_empty(ours) => {
                        projected.insert(key.clone(), ours.clone());
                    }
                    None => {}
                }
            }
            Value::Map(projected)
        }
        (Value::List(wanted), Json::Array(items)) => list(wanted, items, field),
        // A port may be a number here and the same digits there.
        (Value::Number(_) | Value::Bool(_), Json::String(text)) if written(ours) == *text => {
            ours.clone()
        }
        _ => Value::from_plain_json(live),
    }
}

fn list(wanted: &[Value], items: &[Json], field: &str) -> Value {
    let keys = KEYED_LISTS.iter().find(|(name, _)| *name == field).map(|(_, keys)| *keys);
    let keys = keys.filter(|_| wanted.iter().all(|item| item.as_map().is_some()));
    let Some(keys) = keys else {
        // Nobody shares such a list: it is all ours or all somebody else's.
        return if wanted.len() == items.len() {
            Value::List(
                wanted.iter().zip(items).map(|(ours, item)| project(ours, item, "")).collect(),
            )
        } else {
            Value::List(items.iter().map(Value::from_plain_json).collect())
        };
    };
    let names = |ours: &Value, item: &Json| {
        keys.iter().all(|key| {
            let ours = ours.at(key).map(Value::to_plain_json);
            match (ours, &item[*key]) {
                (Some(ours), live) => ours == *live,
                // Only the protocol is ever left out; its default is TCP.
                (None, Json::Null) => true,
                (None, live) => live == "TCP",
            }
        })
    };
    let found = wanted.iter().filter_map(|ours| {
        let item = items.iter().find(|item| names(ours, item))?;
        Some(project(ours, item, ""))
    });
    Value::List(found.collect())
}

/// A number or a bit as text.
fn written(value: &Value) -> String {
    value.to_plain_json().to_string()
}

fn is_quantity(ours: &Value, live: &str) -> bool {
    match ours {
        Value::String(text) => quantity::same(text, live),
        Value::Number(_) => quantity::same(&written(ours), live),
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(bit) => !bit,
        Value::Number(number) => *number == 0.0,
        Value::String(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Unknown(_) | Value::Secret(_) => false,
    }
}

/// Of the live object, what `manager` has applied: the manifest as far as the server remembers it. Where
/// it remembers nothing, everything that is not the server's own.
pub(super) fn owned(live: &Json, manager: &str) -> Attributes {
    let entries = live["metadata"]["managedFields"].as_array();
    let applied = entries.into_iter().flatten().find(|entry| {
        entry["manager"] == manager
            && entry["operation"] == "Apply"
            && entry["subresource"].is_null()
    });
    let mut kept = match applied.and_then(|entry| entry["fieldsV1"].as_object()) {
        Some(fields) => {
            // The server remembers that we sent `data`; we spell it as text.
            let mut fields = fields.clone();
            if let Some(data) = fields.remove("f:data").filter(|_| live["kind"] == "Secret") {
                fields.insert("f:stringData".to_owned(), data);
            }
            extract(live, &fields)
        }
        None => {
            let mut all = live.clone();
            if let Some(map) = all.as_object_mut() {
                map.remove("status");
            }
            if let Some(metadata) = all["metadata"].as_object_mut() {
                let servers = ["uid", "resourceVersion", "generation", "creationTimestamp"];
                metadata
                    .retain(|key, _| key != "managedFields" && !servers.contains(&key.as_str()));
            }
            all
        }
    };
    for key in ["apiVersion", "kind"] {
        kept[key] = live[key].clone();
    }
    for key in ["name", "namespace"] {
        if let Some(text) = live["metadata"][key].as_str() {
            kept["metadata"][key] = text.into();
        }
    }
    match Value::from_plain_json(&kept) {
        Value::Map(attributes) => attributes,
        _ => Attributes::new(),
    }
}

/// The parts of `live` that a `fieldsV1` tree names.
fn extract(live: &Json, fields: &Map<String, Json>) -> Json {
    let inside = |item: &Json, below: &Json| match below.as_object() {
        Some(below) if below.keys().any(|key| key != ".") => extract(item, below),
        _ => item.clone(),
    };
    match live {
        Json::Object(map) => {
            let mut kept = Map::new();
            for (key, below) in fields {
                if let Some(name) = key.strip_prefix("f:")
                    && let Some(item) = map.get(name)
                {
                    kept.insert(name.to_owned(), inside(item, below));
                }
            }
            Json::Object(kept)
        }
        Json::Array(items) => items
            .iter()
            .filter_map(|item| {
                let named = fields.iter().find(|(key, _)| {
                    let key: Option<Json> = key
                        .strip_prefix("k:")
                        .or(key.strip_prefix("v:"))
                        .and_then(|key| serde_json::from_str(key).ok());
                    match key {
                        Some(Json::Object(names)) => {
                            names.iter().all(|(name, value)| item.get(name) == Some(value))
                        }
                        Some(value) => *item == value,
                        None => false,
                    }
                })?;
                Some(inside(item, named.1))
            })
            .collect(),
        leaf => leaf.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(ours: Json, live: Json, expected: Json) {
        let Value::Map(ours) = Value::from_plain_json(&ours) else { panic!("manifests are maps") };
        let got = Value::Map(onto(&ours, &live)).to_plain_json();
        assert_eq!(got, expected);
    }

    #[test]
    fn only_what_the_manifest_names_is_seen_in_its_own_spelling() {
        // Fields of others are not ours.
        check(json!({ "a": 1 }), json!({ "a": 1, "b": 2 }), json!({ "a": 1 }));
        // A change is seen, a removal too.
        check(json!({ "a": 1, "b": "x" }), json!({ "a": 2 }), json!({ "a": 2 }));
        // One quantity in two spellings is no change; another quantity is.
        check(
            json!({ "limits": { "cpu": "1000m", "memory": "1Gi" } }),
            json!({ "limits": { "cpu": "1", "memory": "2Gi" } }),
            json!({ "limits": { "cpu": "1000m", "memory": "2Gi" } }),
        );
        // Items are found by name, whatever was injected before them.
        check(
            json!({ "containers": [{ "name": "a", "image": "i" }] }),
            json!({ "containers": [{ "name": "sidecar" }, { "name": "a", "image": "j", "tty": true }] }),
            json!({ "containers": [{ "name": "a", "image": "j" }] }),
        );
        check(
            json!({ "ports": [{ "containerPort": 80 }] }),
            json!({ "ports": [{ "containerPort": 80, "protocol": "UDP" },
                              { "containerPort": 80, "protocol": "TCP" }] }),
            json!({ "ports": [{ "containerPort": 80 }] }),
        );
        // A list without names is seen whole.
        check(
            json!({ "command": ["a", "b"] }),
            json!({ "command": ["a", "b", "c"] }),
            json!({ "command": ["a", "b", "c"] }),
        );
        // The server drops what is empty.
        check(json!({ "a": 0, "b": {}, "c": 1 }), json!({}), json!({ "a": 0, "b": {} }));
    }

    #[test]
    fn secrets_travel_as_data_and_read_as_text() {
        let Value::Map(ours) = Value::from_plain_json(&json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": { "TOKEN": "hunter2" },
        })) else {
            panic!("manifests are maps")
        };
        let wire = to_wire(&ours);
        assert_eq!(wire["data"]["TOKEN"], "aHVudGVyMg==");
        assert!(wire.get("stringData").is_none());
        assert_eq!(onto(&ours, &from_wire(wire)), ours);
    }

    #[test]
    fn numbers_become_text_in_an_environment() {
        let Value::Map(ours) = Value::from_plain_json(&json!({
            "spec": { "containers": [{ "env": [{ "name": "PORT", "value": 8080 }] }] },
        })) else {
            panic!("manifests are maps")
        };
        let wire = to_wire(&ours);
        assert_eq!(wire["spec"]["containers"][0]["env"][0]["value"], "8080");
        assert_eq!(onto(&ours, &wire), ours);
    }

    #[test]
    fn what_we_applied_is_found_from_managed_fields() {
        let live = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "labels": { "x": "1", "theirs": "2" },
                "managedFields": [{
                    "manager": "fleetform", "operation": "Apply",
                    "fieldsV1": { "f:metadata": { "f:labels": { "f:x": {} } }, "f:spec": {
                        "f:replicas": {},
                        "f:containers": { "k:{\"name\":\"c\"}": { ".": {}, "f:name": {}, "f:image": {} } },
                    } },
                }],
            },
            "spec": {
                "replicas": 2, "paused": true,
                "containers": [{ "name": "b" }, { "name": "c", "image": "i", "tty": true }],
            },
            "status": {},
        });
        assert_eq!(
            Value::Map(owned(&live, "fleetform")).to_plain_json(),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": { "name": "a", "namespace": "n", "labels": { "x": "1" } },
                "spec": { "replicas": 2, "containers": [{ "name": "c", "image": "i" }] },
            })
        );
    }
}
