//! Types at run time: conversions between them, and the one type that several values share.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::Value;
use icu_normalizer::ComposingNormalizerBorrowed;

use super::arguments::Arguments;
use super::numbers::{Decimal, number_to_text, parse_number};
use super::{Function, Result, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("tobool", &["v"], tobool),
    function("tolist", &["v"], tolist),
    function("tomap", &["v"], tomap),
    function("tonumber", &["v"], tonumber),
    function("toset", &["v"], toset),
    function("tostring", &["v"], tostring),
];

/// The values have no type in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the values have no type in common")]
pub struct NoCommonType;

/// What a value is, in a word for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Unknown(_) => "unknown value",
        Value::Secret(_) => "secret",
    }
}

/// A text as a value: in Unicode's composed form (NFC), which Terraform gives every string.
pub fn text(text: impl Into<String>) -> Value {
    let text = text.into();
    if text.is_ascii() {
        return Value::String(text);
    }
    let composed = ComposingNormalizerBorrowed::new_nfc();
    Value::String(match composed.normalize(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(composed) => composed,
    })
}

/// The text of a string, number or bool.
pub fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number_to_text(*number)),
        Value::Bool(bit) => Some(bit.to_string()),
        _ => None,
    }
}

pub(super) fn to_number(value: &Value) -> std::result::Result<f64, String> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::String(text) => parse_number(text).ok_or_else(|| "a number is required".to_owned()),
        value => Err(format!("number required, not {}", kind(value))),
    }
}

pub(super) fn to_bool(value: &Value) -> std::result::Result<bool, String> {
    match value {
        Value::Bool(bit) => Ok(*bit),
        Value::String(text) => match text.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            "True" | "TRUE" | "False" | "FALSE" => Err(format!(
                "a bool is required; to convert from string, use lowercase \"{}\"",
                text.to_lowercase()
            )),
            _ => Err("a bool is required".to_owned()),
        },
        value => Err(format!("bool required, not {}", kind(value))),
    }
}

/// The same values converted to the one type they share, as Terraform does for the elements of a list
/// and the results of a conditional: numbers and bools become strings beside a string; inside lists
/// of one length and maps of the same keys, place by place; else all elements get one type.
/// Nulls, unknowns and secrets are of any type and stay as they are.
///
/// # Errors
/// [`NoCommonType`] where there is none: a bool beside a number, a list beside a map.
pub fn unify<'a, I>(values: I) -> std::result::Result<Vec<Value>, NoCommonType>
where
    I: IntoIterator<Item = &'a Value>,
{
    let values: Vec<&Value> = values.into_iter().collect();
    let shared = shared(values.iter().copied())?;
    let convert = |value: &&Value| shared.convert(value);
    Ok(values.iter().map(convert).collect())
}

/// What several values have in common.
enum Shared {
    /// Nothing to convert.
    Same,
    Text,
    /// Of one length: each place has its own type.
    Places(Vec<Shared>),
    /// Of the same keys: each key has its own type.
    Keys(BTreeMap<String, Shared>),
    /// Lists or maps whose elements all have one type.
    Elements(Box<Shared>),
}

/// What values have in common; nulls, unknowns and secrets are of any type.
fn shared<'a>(
    values: impl Iterator<Item = &'a Value>,
) -> std::result::Result<Shared, NoCommonType> {
    let of_any_type =
        |value: &&Value| matches!(value, Value::Null | Value::Unknown(_) | Value::Secret(_));
    let values: Vec<&Value> = values.filter(|value| !of_any_type(value)).collect();
    shared_by(&values)
}

fn shared_by(values: &[&Value]) -> std::result::Result<Shared, NoCommonType> {
    let rank = |value: &Value| match value {
        Value::List(_) => 1,
        Value::Map(_) => 2,
        _ => 0,
    };
    let Some(first) = values.first() else { return Ok(Shared::Same) };
    if values.iter().any(|value| rank(value) != rank(first)) {
        return Err(NoCommonType);
    }
    match first {
        Value::List(first) => {
            let lists: Vec<&[Value]> = values.iter().filter_map(|value| value.as_list()).collect();
            if lists.iter().all(|list| list.len() == first.len()) {
                let place = |index: usize| shared(lists.iter().map(|list| &list[index]));
                let places = (0..first.len()).map(place);
                return places.collect::<std::result::Result<_, _>>().map(Shared::Places);
            }
            let elements = shared(lists.iter().flat_map(|list| list.iter()))?;
            Ok(Shared::Elements(Box::new(elements)))
        }
        Value::Map(first) => {
            let maps: Vec<_> = values.iter().filter_map(|value| value.as_map()).collect();
            if maps.iter().all(|map| map.keys().eq(first.keys())) {
                let of_key = |key: &String| {
                    shared(maps.iter().map(|map| &map[key])).map(|shared| (key.clone(), shared))
                };
                let keys = first.keys().map(of_key);
                return keys.collect::<std::result::Result<_, _>>().map(Shared::Keys);
            }
            let elements = shared(maps.iter().flat_map(|map| map.values()))?;
            Ok(Shared::Elements(Box::new(elements)))
        }
        _ => {
            let kinds: BTreeSet<&str> = values.iter().map(|value| kind(value)).collect();
            if kinds.len() == 1 {
                Ok(Shared::Same)
            } else if kinds.contains("string") {
                Ok(Shared::Text)
            } else {
                Err(NoCommonType)
            }
        }
    }
}

impl Shared {
    fn convert(&self, value: &Value) -> Value {
        match (self, value) {
            (Shared::Text, value) => to_text(value).map_or_else(|| value.clone(), Value::String),
            (Shared::Places(places), Value::List(items)) => Value::List(
                places.iter().zip(items).map(|(place, item)| place.convert(item)).collect(),
            ),
            (Shared::Keys(keys), Value::Map(map)) => Value::Map(
                map.iter().map(|(key, item)| (key.clone(), keys[key].convert(item))).collect(),
            ),
            (Shared::Elements(shared), Value::List(items)) => {
                Value::List(items.iter().map(|item| shared.convert(item)).collect())
            }
            (Shared::Elements(shared), Value::Map(map)) => Value::Map(
                map.iter().map(|(key, item)| (key.clone(), shared.convert(item))).collect(),
            ),
            (_, value) => value.clone(),
        }
    }
}

/// A set: the values of one type without duplicates, in order.
pub(super) fn set(mut values: Vec<Value>) -> Vec<Value> {
    let plain = |value: &Value| !matches!(value, Value::List(_) | Value::Map(_));
    if values.iter().all(plain) {
        values.sort_by(order);
    } else {
        values.sort_by_cached_key(|value| {
            let mut key = String::new();
            sort_key(value, &mut key);
            key
        });
    }
    values.dedup();
    values
}

/// Text by its bytes, numbers by size, false before true, null last.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => left.total_cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (left, right) => left.is_null().cmp(&right.is_null()),
    }
}

/// The text by which Terraform orders lists and maps in a set.
fn sort_key(value: &Value, out: &mut String) {
    match value {
        Value::Bool(true) => out.push('T'),
        Value::Bool(false) => out.push('F'),
        Value::Number(number) => {
            let mut decimal = Decimal::new(*number);
            decimal.round(10);
            if decimal.negative {
                out.push('-');
            }
            out.push_str(&decimal.general(Some(10), 'e'));
        }
        Value::String(text) => out.push_str(&format!("{text:?}")),
        Value::List(items) => {
            out.push('[');
            for item in items {
                sort_key(item, out);
                out.push(';');
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (key, item) in map {
                out.push_str(&format!("{key:?}:"));
                sort_key(item, out);
                out.push(';');
            }
            out.push('}');
        }
        Value::Null | Value::Unknown(_) | Value::Secret(_) => out.push('~'),
    }
}

fn tostring(arguments: &Arguments) -> Result<Value> {
    if arguments.nullable(0).is_null() {
        return Ok(Value::Null);
    }
    Ok(Value::String(arguments.text(0)?.into_owned()))
}

fn tonumber(arguments: &Arguments) -> Result<Value> {
    if arguments.nullable(0).is_null() {
        return Ok(Value::Null);
    }
    arguments.number(0).map(Value::Number)
}

fn tobool(arguments: &Arguments) -> Result<Value> {
    match arguments.nullable(0) {
        Value::Null => Ok(Value::Null),
        value => to_bool(value).map(Value::Bool).map_err(|why| arguments.wrong(0, why)),
    }
}

fn tolist(arguments: &Arguments) -> Result<Value> {
    if arguments.nullable(0).is_null() {
        return Ok(Value::Null);
    }
    arguments.unified(0).map(Value::List)
}

fn toset(arguments: &Arguments) -> Result<Value> {
    if arguments.nullable(0).is_null() {
        return Ok(Value::Null);
    }
    arguments.unified(0).map(|values| Value::List(set(values)))
}

fn tomap(arguments: &Arguments) -> Result<Value> {
    if arguments.nullable(0).is_null() {
        return Ok(Value::Null);
    }
    let map = arguments.map(0)?;
    let values = unify(map.values())
        .map_err(|_| arguments.wrong(0, "all map elements must have the same type"))?;
    Ok(Value::Map(map.keys().cloned().zip(values).collect()))
}
