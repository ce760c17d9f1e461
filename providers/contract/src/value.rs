//! The one value type: what expressions give, attributes hold and the state keeps.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Secret;

/// JSON's values and two that JSON has not: what is known only after apply, and what must not be
/// seen.
///
/// Numbers are IEEE doubles: whole numbers are exact up to 2^53, which the language checks when it
/// reads them. A set is a list without duplicates in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    Unknown(Unknown),
    Secret(Secret),
}

/// A value that exists only after apply, named by what will provide it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unknown {
    /// A resource (`aws_eks_cluster.main["us-east-1"]`) or a block (`service.chat`).
    pub address: String,
    /// The attribute there, with dots: `endpoint`, `urls.us-east-1`.
    pub path: String,
}

impl Value {
    /// An unknown of `address` at `path`.
    pub fn unknown(address: impl fmt::Display, path: impl Into<String>) -> Value {
        Value::Unknown(Unknown { address: address.to_string(), path: path.into() })
    }

    /// A map of the given pairs.
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A list of the given values.
    pub fn list<V: Into<Value>>(items: impl IntoIterator<Item = V>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number as a whole one, where it is whole.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_f64()
            .filter(|n| n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0)
            .map(|n| n as i64)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bit) => Some(*bit),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// What stands at a dotted path (`scaling_config.desired_size`, `containers.0.image`).
    pub fn at(&self, dotted: &str) -> Option<&Value> {
        dotted.split('.').try_fold(self, |value, part| match value {
            Value::Map(map) => map.get(part),
            Value::List(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        })
    }

    /// Whether an unknown stands anywhere inside.
    pub fn has_unknown(&self) -> bool {
        self.any(&|value| matches!(value, Value::Unknown(_)))
    }

    /// Whether a secret stands anywhere inside.
    pub fn has_secret(&self) -> bool {
        self.any(&|value| matches!(value, Value::Secret(_)))
    }

    fn any(&self, test: &dyn Fn(&Value) -> bool) -> bool {
        match self {
            Value::List(items) => items.iter().any(|item| item.any(test)),
            Value::Map(map) => map.values().any(|item| item.any(test)),
            leaf => test(leaf),
        }
    }

    /// The same value with every leaf (everything but lists and maps) replaced by what `change`
    /// makes of it.
    pub fn map_leaves(&self, change: &mut dyn FnMut(&Value) -> Value) -> Value {
        match self {
            Value::List(items) => {
                Value::List(items.iter().map(|item| item.map_leaves(change)).collect())
            }
            Value::Map(map) => Value::Map(
                map.iter().map(|(key, item)| (key.clone(), item.map_leaves(change))).collect(),
            ),
            leaf => change(leaf),
        }
    }

    /// Plain JSON, as a provider's API wants it. Unknowns become null; a secret becomes null too,
    /// because its text must have been put back (see [`crate::Vault::open`]) before anything is sent.
    pub fn to_plain_json(&self) -> serde_json::Value {
        match self {
            Value::Null | Value::Unknown(_) | Value::Secret(_) => serde_json::Value::Null,
            Value::Bool(bit) => (*bit).into(),
            Value::Number(number) => number_to_json(*number),
            Value::String(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Value::to_plain_json).collect(),
            Value::Map(map) => serde_json::Value::Object(
                map.iter().map(|(key, item)| (key.clone(), item.to_plain_json())).collect(),
            ),
        }
    }

    /// From plain JSON, as a provider's API answers.
    pub fn from_plain_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(bit) => Value::Bool(*bit),
            serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Value::String(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(Value::from_plain_json).collect())
            }
            serde_json::Value::Object(map) => Value::Map(
                map.iter().map(|(key, item)| (key.clone(), Value::from_plain_json(item))).collect(),
            ),
        }
    }
}

/// Joins the parts of a path with dots.
pub fn path(parts: &[&str]) -> String {
    parts.join(".")
}

fn number_to_json(number: f64) -> serde_json::Value {
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        (number as i64).into()
    } else {
        serde_json::Number::from_f64(number)
            .map_or(serde_json::Value::Null, serde_json::Value::Number)
    }
}

// On disk an unknown is {"$unknown": {...}} and a secret {"$secret": {...}}. A user's map with a key
// that starts with "$" gets one more "$", so nothing a user writes can be read back as either.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(bit) => serializer.serialize_bool(*bit),
            Value::Number(number) => number_to_json(*number).serialize(serializer),
            Value::String(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items),
            Value::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (key, item) in map {
                    if key.starts_with('$') {
                        out.serialize_entry(&format!("${key}"), item)?;
                    } else {
                        out.serialize_entry(key, item)?;
                    }
                }
                out.end()
            }
            Value::Unknown(unknown) => {
                let mut out = serializer.serialize_map(Some(1))?;
                out.serialize_entry("$unknown", unknown)?;
                out.end()
            }
            Value::Secret(secret) => {
                let mut out = serializer.serialize_map(Some(1))?;
                out.serialize_entry("$secret", secret)?;
                out.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        from_disk(serde_json::Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn from_disk(json: serde_json::Value) -> serde_json::Result<Value> {
    Ok(match json {
        serde_json::Value::Array(items) => {
            Value::List(items.into_iter().map(from_disk).collect::<serde_json::Result<_>>()?)
        }
        serde_json::Value::Object(map) => {
            if map.len() == 1 {
                if let Some(unknown) = map.get("$unknown") {
                    return Ok(Value::Unknown(serde_json::from_value(unknown.clone())?));
                }
                if let Some(secret) = map.get("$secret") {
                    return Ok(Value::Secret(serde_json::from_value(secret.clone())?));
                }
            }
            let mut out = BTreeMap::new();
            for (key, item) in map {
                let key = key.strip_prefix("$$").map_or(key.clone(), |rest| format!("${rest}"));
                out.insert(key, from_disk(item)?);
            }
            Value::Map(out)
        }
        leaf => Value::from_plain_json(&leaf),
    })
}

impl From<bool> for Value {
    fn from(bit: bool) -> Value {
        Value::Bool(bit)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::String(text.clone())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Number(number.into())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Value {
        Value::Number(number.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::List(items)
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(map: BTreeMap<String, Value>) -> Value {
        Value::Map(map)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_round_trip_keeps_every_kind_apart() {
        let value = Value::map([
            ("null", Value::Null),
            ("number", 1.5.into()),
            ("whole", 3.into()),
            ("list", Value::list(["a", "b"])),
            ("unknown", Value::unknown("service.chat", "url")),
            ("secret", Value::Secret(Secret { reference: "var.x".into(), digest: "d".into() })),
            ("user", Value::map([("$unknown", Value::from("not one")), ("$$x", true.into())])),
        ]);
        let text = serde_json::to_string(&value).expect("values serialize");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("and come back"), value, "{text}");
        assert!(text.contains(r#""whole":3"#), "{text}");
    }

    #[test]
    fn paths_reach_into_lists_and_maps() {
        let value = Value::map([("a", Value::list([Value::map([("b", 1.into())])]))]);
        assert_eq!(value.at("a.0.b"), Some(&Value::Number(1.0)));
        assert_eq!(value.at("a.1.b"), None);
    }
}
