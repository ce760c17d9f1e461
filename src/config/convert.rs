//! Type constraints and conversion, as Terraform's: strings, numbers and bools turn into one another
//! where nothing is lost, collections convert element by element.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use fleetform_contract::Value;

pub(super) use super::functions::{number_to_text as number_text, parse_number};

/// A variable's `type`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Any,
    Bool,
    Number,
    String,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Tuple(Vec<Type>),
    Object(BTreeMap<String, Member>),
}

/// An attribute of an object type.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub kind: Type,
    /// `optional(…)`: what stands in where it is missing; null where nothing was said.
    pub optional: Option<Value>,
}

impl Type {
    /// As in "list of number required".
    fn name(&self) -> String {
        match self {
            Type::Any => "any value".into(),
            Type::Bool => "bool".into(),
            Type::Number => "number".into(),
            Type::String => "string".into(),
            Type::List(item) => format!("list of {}", item.name()),
            Type::Set(item) => format!("set of {}", item.name()),
            Type::Map(item) => format!("map of {}", item.name()),
            Type::Tuple(_) => "tuple".into(),
            Type::Object(_) => "object".into(),
        }
    }
}

/// A kind of value in words: "a string", "a list".
pub(super) fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) => "an object",
        Value::Unknown(_) => "known only after apply",
        Value::Secret(_) => "sensitive",
    }
}

pub(super) fn to_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number_text(*number)),
        Value::Bool(bit) => Ok(bit.to_string()),
        _ => Err("string required".into()),
    }
}

pub(super) fn to_number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(number) => Ok(*number),
        Value::String(text) => parse_number(text).ok_or_else(|| "a number is required".into()),
        _ => Err("a number is required".into()),
    }
}

pub(super) fn to_bool(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(bit) => Ok(*bit),
        Value::String(text) => match text.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other if other.eq_ignore_ascii_case("true") => {
                Err("a bool is required; to convert from string, use lowercase \"true\"".into())
            }
            other if other.eq_ignore_ascii_case("false") => {
                Err("a bool is required; to convert from string, use lowercase \"false\"".into())
            }
            _ => Err("a bool is required".into()),
        },
        _ => Err("a bool is required".into()),
    }
}

/// The value as one of the type; the error is a phrase without the value in it ("a number is
/// required"). Nulls and unknowns are of every type; secrets must have been opened.
pub(super) fn convert(value: &Value, wanted: &Type) -> Result<Value, String> {
    if matches!(value, Value::Null | Value::Unknown(_) | Value::Secret(_)) {
        return Ok(value.clone());
    }
    match wanted {
        Type::Any => Ok(value.clone()),
        Type::Bool => to_bool(value).map(Value::Bool),
        Type::Number => to_number(value).map(Value::Number),
        Type::String => to_text(value).map(Value::String),
        Type::List(item) => match value {
            Value::List(items) => convert_items(items, item).map(Value::List),
            _ => Err(format!("{} required", wanted.name())),
        },
        Type::Set(item) => match value {
            Value::List(items) => {
                let mut items = convert_items(items, item)?;
                items.sort_by(order);
                items.dedup();
                Ok(Value::List(items))
            }
            _ => Err(format!("{} required", wanted.name())),
        },
        Type::Map(item) => match value {
            Value::Map(map) => {
                let items = map
                    .iter()
                    .map(|(key, value)| {
                        convert(value, item).map_err(|error| format!("element {key:?}: {error}"))
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let items = if **item == Type::Any { unify(items) } else { items };
                Ok(Value::Map(map.keys().cloned().zip(items).collect()))
            }
            _ => Err(format!("{} required", wanted.name())),
        },
        Type::Tuple(kinds) => match value {
            Value::List(items) if items.len() == kinds.len() => items
                .iter()
                .zip(kinds)
                .enumerate()
                .map(|(index, (value, kind))| {
                    convert(value, kind).map_err(|error| format!("element {index}: {error}"))
                })
                .collect::<Result<_, _>>()
                .map(Value::List),
            Value::List(_) => Err(format!("a tuple of {} elements is required", kinds.len())),
            _ => Err("tuple required".into()),
        },
        Type::Object(members) => match value {
            Value::Map(map) => members
                .iter()
                .map(|(name, member)| {
                    let value = match (map.get(name), &member.optional) {
                        (None, None) => return Err(format!("attribute {name:?} is required")),
                        (None | Some(Value::Null), Some(default)) => default,
                        (Some(value), _) => value,
                    };
                    let value = convert(value, &member.kind)
                        .map_err(|error| format!("attribute {name:?}: {error}"))?;
                    Ok((name.clone(), value))
                })
                .collect::<Result<_, _>>()
                .map(Value::Map),
            _ => Err("object required".into()),
        },
    }
}

fn convert_items(items: &[Value], item: &Type) -> Result<Vec<Value>, String> {
    let items = items
        .iter()
        .enumerate()
        .map(|(index, value)| {
            convert(value, item).map_err(|error| format!("element {index}: {error}"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(if *item == Type::Any { unify(items) } else { items })
}

/// Values of one collection have one type: where strings stand beside numbers or bools, all become
/// strings.
pub(super) fn unify(items: Vec<Value>) -> Vec<Value> {
    let any_text = items.iter().any(|item| matches!(item, Value::String(_)));
    let mixed = items.iter().any(|item| matches!(item, Value::Number(_) | Value::Bool(_)));
    if !any_text || !mixed {
        return items;
    }
    items.into_iter().map(|item| to_text(&item).map_or(item, Value::String)).collect()
}

/// The order of a set's elements.
pub(super) fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => left.total_cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        // Rare enough (sets of objects) that the text form will do; it is total and deterministic.
        _ => format!("{left:?}").cmp(&format!("{right:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read_as_terraform_does() {
        for (number, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (1e21, "1000000000000000000000"),
            (-0.0, "0"),
            (1e-7, "0.0000001"),
        ] {
            assert_eq!(number_text(number), text);
        }
        for (text, number) in [
            ("1", Some(1.0)),
            ("-1.5e2", Some(-150.0)),
            ("inf", None),
            ("+1", Some(1.0)),
            (" 1", None),
            ("", None),
            ("1e999", None),
        ] {
            assert_eq!(parse_number(text), number, "{text}");
        }
    }

    #[test]
    fn conversion_goes_element_by_element() {
        let list = Value::list([Value::from(1), "a".into()]);
        let any_list = Type::List(Box::new(Type::Any));
        assert_eq!(convert(&list, &any_list), Ok(Value::list(["1", "a"])));
        let numbers = Type::Set(Box::new(Type::Number));
        assert_eq!(convert(&Value::list(["3", "1", "3"]), &numbers), Ok(Value::list([1.0, 3.0])),);
        assert_eq!(convert(&list, &numbers), Err("element 1: a number is required".into()));
        let object = Type::Object(BTreeMap::from([
            ("a".to_owned(), Member { kind: Type::Number, optional: None }),
            ("b".to_owned(), Member { kind: Type::String, optional: Some("x".into()) }),
        ]));
        assert_eq!(
            convert(&Value::map([("a", Value::from("1")), ("c", true.into())]), &object),
            Ok(Value::map([("a", Value::from(1)), ("b", "x".into())])),
        );
        assert_eq!(
            convert(&Value::map([("b", "x")].map(|(k, v)| (k, Value::from(v)))), &object),
            Err("attribute \"a\" is required".into()),
        );
    }
}
