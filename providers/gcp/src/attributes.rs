//! Reading attributes: what is absent or of another type is `None` or empty, never a panic, because
//! attributes may come from a state that another version wrote.

use std::collections::BTreeMap;

use fleetform_contract::{Attributes, Value};

/// What stands at a dotted path.
pub fn at<'a>(attributes: &'a Attributes, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let value = attributes.get(first)?;
    rest.map_or(Some(value), |rest| value.at(rest))
}

pub fn text<'a>(attributes: &'a Attributes, path: &str) -> Option<&'a str> {
    at(attributes, path).and_then(Value::as_str)
}

/// A text that may be absent, as Google's messages want it.
pub fn text_or_empty(attributes: &Attributes, path: &str) -> String {
    text(attributes, path).unwrap_or_default().to_owned()
}

pub fn flag(attributes: &Attributes, path: &str) -> bool {
    at(attributes, path).and_then(Value::as_bool).unwrap_or(false)
}

/// A whole number that fits Google's 32 bits.
pub fn number(attributes: &Attributes, path: &str) -> Option<i32> {
    at(attributes, path).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok())
}

pub fn texts(attributes: &Attributes, path: &str) -> Vec<String> {
    let items = at(attributes, path).and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub fn text_map(attributes: &Attributes, path: &str) -> BTreeMap<String, String> {
    let map = at(attributes, path).and_then(Value::as_map);
    let pairs = map.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The blocks at a path: a list of maps.
pub fn blocks<'a>(
    attributes: &'a Attributes,
    path: &str,
) -> impl Iterator<Item = &'a BTreeMap<String, Value>> {
    let items = at(attributes, path).and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_map)
}

/// One nested block: Terraform's JSON has a list of one object for it.
pub fn block<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::List(vec![Value::map(pairs)])
}

/// A map of texts as a value, without the keys that Google's own controllers put beside ours.
pub fn our_map(map: &std::collections::HashMap<String, String>) -> Value {
    let ours = map.iter().filter(|(key, _)| !is_googles(key));
    Value::map(ours.map(|(key, text)| (key.clone(), text.into())))
}

/// Labels under these prefixes are Google's: no difference and not ours to remove.
pub fn is_googles(key: &str) -> bool {
    key.starts_with("goog-") || key.starts_with("cloud.google.com/")
}

/// Leaves out pairs whose value is null, so that what was never set is not reported as set.
pub fn present(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Attributes {
    let kept = pairs.into_iter().filter(|(_, value)| !value.is_null());
    kept.map(|(name, value)| (name.to_owned(), value)).collect()
}
