//! JSON on the wire ↔ JSON as the emulator keeps it, by the API definitions in `messages.txt`.
//!
//! Kept: lower-camel names, enums by name, whole numbers as numbers. On the wire a request may use either
//! spelling of a name and either form of an enum; an answer has 64-bit numbers as strings, leaves out
//! defaults, and has enums as the client asked for them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::refusal::{Refusal, bad_field};

#[derive(Debug)]
enum Shape {
    /// Fields by JSON name.
    Message(BTreeMap<&'static str, Field>),
    /// Numbers and names.
    Enum(Vec<(i64, &'static str)>),
}

#[derive(Clone, Copy, Debug)]
struct Field {
    holds: Holds,
    kind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Holds {
    One,
    List,
    Map,
}

static SHAPES: LazyLock<BTreeMap<&'static str, Shape>> =
    LazyLock::new(|| read(include_str!("messages.txt")));

/// Reads a request's body as a message. Every name must be a field's, every value of its type.
pub fn decode(message: &str, json: &Value) -> Result<Value, Refusal> {
    decode_message(message, json, "")
}

/// Reads one query parameter of a request: the field's name and its value.
pub fn decode_parameter(
    message: &str,
    name: &str,
    value: &str,
) -> Result<(&'static str, Value), Refusal> {
    let unknown = || {
        bad_field(
            name,
            format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. \
                 Field '{name}' could not be found in request message."
            ),
        )
    };
    let Some(Shape::Message(fields)) = SHAPES.get(message) else { return Err(unknown()) };
    let camel = camel(name);
    let Some((name, field)) = fields.get_key_value(camel.as_str()) else { return Err(unknown()) };
    Ok((name, decode_one(field.kind, &Value::from(value), name)?))
}

/// Writes a message as an answer. What is not a field (the emulator's own notes) is left out.
pub fn encode(message: &str, kept: &Value, numbers: bool) -> Value {
    let Some(Shape::Message(fields)) = SHAPES.get(message) else { return kept.clone() };
    let mut answer = Map::new();
    for (name, field) in fields {
        let Some(value) = kept.get(*name) else { continue };
        let value = match (field.holds, value) {
            (Holds::List, Value::Array(items)) => {
                items.iter().map(|item| encode_one(field.kind, item, numbers)).collect()
            }
            (Holds::Map, Value::Object(map)) => {
                let pairs = map.iter();
                pairs
                    .map(|(key, item)| (key.clone(), encode_one(field.kind, item, numbers)))
                    .collect()
            }
            _ => encode_one(field.kind, value, numbers),
        };
        let is_message = matches!(SHAPES.get(field.kind), Some(Shape::Message(_)));
        if !is_default(&value, is_message && field.holds == Holds::One) {
            answer.insert((*name).to_owned(), value);
        }
    }
    Value::Object(answer)
}

fn decode_message(message: &str, json: &Value, at: &str) -> Result<Value, Refusal> {
    let Some(Shape::Message(fields)) = SHAPES.get(message) else { return Ok(json.clone()) };
    let Value::Object(given) = json else { return Err(wrong(at, message, json)) };
    let mut kept = Map::new();
    for (name, value) in given {
        let camel = camel(name);
        let Some((name, field)) = fields.get_key_value(camel.as_str()) else {
            let place = if at.is_empty() { String::new() } else { format!(" at '{at}'") };
            return Err(bad_field(
                at,
                format!(
                    "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
                ),
            ));
        };
        if value.is_null() {
            continue;
        }
        let path = if at.is_empty() { snake(name) } else { format!("{at}.{}", snake(name)) };
        let value = match (field.holds, value) {
            (Holds::One, value) => decode_one(field.kind, value, &path)?,
            (Holds::List, Value::Array(items)) => {
                let items = items.iter().enumerate();
                let items = items
                    .map(|(index, item)| decode_one(field.kind, item, &format!("{path}[{index}]")));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            (Holds::Map, Value::Object(map)) => {
                let pairs = map.iter().map(|(key, item)| {
                    Ok((key.clone(), decode_one(field.kind, item, &format!("{path}[{key}]"))?))
                });
                Value::Object(pairs.collect::<Result<_, Refusal>>()?)
            }
            (_, value) => return Err(wrong(&path, field.kind, value)),
        };
        kept.insert((*name).to_owned(), value);
    }
    Ok(Value::Object(kept))
}

fn decode_one(kind: &str, json: &Value, at: &str) -> Result<Value, Refusal> {
    let decoded = match (kind, json) {
        ("any", json) => Some(json.clone()),
        ("string" | "bytes", Value::String(_)) => Some(json.clone()),
        ("bool", Value::Bool(_)) => Some(json.clone()),
        ("bool", Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
        ("double", Value::Number(_)) => Some(json.clone()),
        ("int32", json) => {
            whole(json).and_then(|number| i32::try_from(number).ok()).map(Value::from)
        }
        ("int64", json) => whole(json).map(Value::from),
        (kind, json) => match SHAPES.get(kind) {
            Some(Shape::Message(_)) => return decode_message(kind, json, at),
            Some(Shape::Enum(values)) => {
                let number = whole(json);
                let found = values.iter().find(|(value, name)| match json {
                    Value::String(text) => text == name || number == Some(*value),
                    _ => number == Some(*value),
                });
                found.map(|(_, name)| Value::from(*name))
            }
            None => None,
        },
    };
    decoded.ok_or_else(|| wrong(at, kind, json))
}

fn encode_one(kind: &str, kept: &Value, numbers: bool) -> Value {
    match (kind, SHAPES.get(kind)) {
        ("int64", _) => kept.as_i64().map_or(kept.clone(), |number| number.to_string().into()),
        (_, Some(Shape::Message(_))) => encode(kind, kept, numbers),
        (_, Some(Shape::Enum(values))) => {
            let found = values.iter().find(|(_, name)| kept.as_str() == Some(name));
            match found {
                Some((0, _)) => Value::Null,
                Some((number, _)) if numbers => (*number).into(),
                _ => kept.clone(),
            }
        }
        _ => kept.clone(),
    }
}

/// Whole numbers come as numbers or as strings.
fn whole(json: &Value) -> Option<i64> {
    match json {
        Value::Number(number) => number.as_i64().or_else(|| {
            number.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn is_default(value: &Value, is_message: bool) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && !is_message,
        Value::Bool(true) => false,
    }
}

fn wrong(at: &str, kind: &str, json: &Value) -> Refusal {
    let kind = match kind {
        "string" | "bytes" | "bool" | "double" | "int32" | "int64" => {
            format!("TYPE_{}", kind.to_uppercase())
        }
        other => format!("type.googleapis.com/{other}"),
    };
    bad_field(at, format!("Invalid value at '{at}' ({kind}), {json}"))
}

pub fn camel(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else {
            camel.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    camel
}

pub fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn read(text: &'static str) -> BTreeMap<&'static str, Shape> {
    let mut shapes = BTreeMap::new();
    let mut open = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(inside) = line.strip_prefix(' ') else {
            open = line;
            shapes.insert(open, Shape::Message(BTreeMap::new()));
            continue;
        };
        let (first, second) = inside.split_once(' ').unwrap_or((inside, ""));
        let shape = shapes.entry(open).or_insert_with(|| Shape::Message(BTreeMap::new()));
        if let Ok(number) = first.parse() {
            match shape {
                Shape::Enum(values) => values.push((number, second)),
                Shape::Message(_) => *shape = Shape::Enum(vec![(number, second)]),
            }
        } else if let Shape::Message(fields) = shape {
            let (holds, kind) = match (second.strip_prefix("[]"), second.strip_prefix("{}")) {
                (Some(kind), _) => (Holds::List, kind),
                (_, Some(kind)) => (Holds::Map, kind),
                _ => (Holds::One, second),
            };
            fields.insert(first, Field { holds, kind });
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_type_is_defined() {
        let scalars = ["any", "bool", "bytes", "double", "int32", "int64", "string"];
        for (message, shape) in SHAPES.iter() {
            let Shape::Message(fields) = shape else { continue };
            for (name, field) in fields {
                let known = scalars.contains(&field.kind) || SHAPES.contains_key(field.kind);
                assert!(known, "{message}.{name} is a {}", field.kind);
                assert_eq!(camel(&snake(name)), *name, "{message}");
            }
        }
    }

    #[test]
    fn requests_are_read_in_every_spelling() {
        let taint = |effect: Value| json!({ "taints": [{ "key": "a", "effect": effect }] });
        let kept = json!({ "taints": [{ "key": "a", "effect": "NO_SCHEDULE" }] });
        for effect in [json!("NO_SCHEDULE"), json!(1)] {
            assert_eq!(decode("NodeConfig", &taint(effect)).expect("it is fine"), kept);
        }
        let given = json!({ "disk_size_gb": 10, "accelerators": [{ "acceleratorCount": "2" }] });
        let kept = json!({ "diskSizeGb": 10, "accelerators": [{ "acceleratorCount": 2 }] });
        assert_eq!(decode("NodeConfig", &given).expect("it is fine"), kept);
    }

    #[test]
    fn what_is_no_field_is_refused_with_its_place() {
        for (given, message) in [
            (
                json!({ "clustr": {} }),
                "Invalid JSON payload received. Unknown name \"clustr\": Cannot find field.",
            ),
            (
                json!({ "cluster": { "nodePools": [{ "config": { "gpu": 1 } }] } }),
                "Invalid JSON payload received. Unknown name \"gpu\" at \
                 'cluster.node_pools[0].config': Cannot find field.",
            ),
            (
                json!({ "cluster": { "initialNodeCount": "many" } }),
                "Invalid value at 'cluster.initial_node_count' (TYPE_INT32), \"many\"",
            ),
            (
                json!({ "cluster": { "locations": "here" } }),
                "Invalid value at 'cluster.locations' (TYPE_STRING), \"here\"",
            ),
            (
                json!({ "cluster": { "releaseChannel": { "channel": "WEEKLY" } } }),
                "Invalid value at 'cluster.release_channel.channel' \
                 (type.googleapis.com/ReleaseChannel.Channel), \"WEEKLY\"",
            ),
            (json!([]), "Invalid value at '' (type.googleapis.com/CreateClusterRequest), []"),
        ] {
            let refusal = decode("CreateClusterRequest", &given).expect_err("it is wrong");
            assert_eq!((refusal.http, refusal.message.as_str()), (400, message));
        }
    }

    #[test]
    fn answers_are_written_as_asked_for() {
        let kept = json!({
            "name": "main",
            "status": "RUNNING",
            "$operation": "ours",
            "initialNodeCount": 0,
            "autoscaling": { "enabled": false },
            "config": { "accelerators": [{ "acceleratorCount": 2 }] },
        });
        let accelerators = json!([{ "acceleratorCount": "2" }]);
        assert_eq!(
            encode("NodePool", &kept, false),
            json!({
                "name": "main",
                "status": "RUNNING",
                "autoscaling": {},
                "config": { "accelerators": accelerators },
            })
        );
        assert_eq!(encode("NodePool", &kept, true)["status"], 2);
    }
}
