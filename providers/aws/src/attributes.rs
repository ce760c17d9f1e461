//! Between attributes and what the SDK wants: reading typed values out of them, and writing blocks.

use std::collections::{BTreeMap, HashMap};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use fleetform_contract::{Attributes, Error, Resource, Result, Value};

use crate::text::TAG_PREFIX;

/// What stands at a dotted path.
pub fn at<'a>(attributes: &'a Attributes, path: &str) -> Option<&'a Value> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let value = attributes.get(name)?;
    rest.map_or(Some(value), |rest| value.at(rest)).filter(|value| !value.is_null())
}

/// The text at a path, which must be there.
pub fn required<'a>(attributes: &'a Attributes, path: &str) -> Result<&'a str> {
    text(attributes, path)
        .ok_or_else(|| Error::rejected(format!("the attribute `{path}` is missing or no text")))
}

pub fn text<'a>(attributes: &'a Attributes, path: &str) -> Option<&'a str> {
    at(attributes, path)?.as_str()
}

pub fn flag(attributes: &Attributes, path: &str) -> Option<bool> {
    at(attributes, path)?.as_bool()
}

pub fn whole(attributes: &Attributes, path: &str) -> Option<i32> {
    at(attributes, path)?.as_i64().and_then(|number| i32::try_from(number).ok())
}

/// A list of texts.
pub fn texts(attributes: &Attributes, path: &str) -> Option<Vec<String>> {
    let items = at(attributes, path)?.as_list()?;
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// A map of texts; empty where there is none.
pub fn text_map(attributes: &Attributes, path: &str) -> BTreeMap<String, String> {
    let map = at(attributes, path).and_then(Value::as_map);
    let pairs = map.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A nested block as Terraform writes it: a list of one object, without what is null.
pub fn block<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::List(vec![Value::Map(attributes(pairs))])
}

/// Attributes without what is null.
pub fn attributes<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Attributes {
    let present = pairs.into_iter().filter(|(_, value)| !value.is_null());
    present.map(|(name, value)| (name.into(), value)).collect()
}

/// A set of texts: in order, without duplicates; null where it is empty.
pub fn set(items: Option<&[String]>) -> Value {
    let mut items: Vec<&String> = items.unwrap_or_default().iter().collect();
    items.sort();
    items.dedup();
    if items.is_empty() { Value::Null } else { Value::list(items) }
}

/// Tags and labels of an answer. What AWS itself put there is not ours to show.
pub fn map_of(pairs: Option<&HashMap<String, String>>) -> Value {
    let pairs = pairs.into_iter().flatten().filter(|(key, _)| !key.starts_with("aws:"));
    Value::map(pairs.map(|(key, value)| (key.clone(), Value::from(value))))
}

/// RFC 3339.
pub fn time(at: Option<&DateTime>) -> Value {
    at.and_then(|at| at.fmt(Format::DateTime).ok()).into()
}

/// What to tag and what to untag to get from one set of tags to another.
pub fn tag_changes(
    from: &BTreeMap<String, String>,
    to: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let changed = to.iter().filter(|(key, value)| from.get(*key) != Some(value));
    let gone = from.keys().filter(|key| !to.contains_key(*key) && !key.starts_with("aws:"));
    (changed.map(|(key, value)| (key.clone(), value.clone())).collect(), gone.cloned().collect())
}

/// JSON with sorted keys and no spaces, so that two spellings of one document are equal. Text that
/// is no JSON stays as it is.
pub fn canonical_json(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|json| serde_json::to_string(&Value::from_plain_json(&json)).ok())
        .unwrap_or_else(|| text.to_owned())
}

/// Whether an object that exists is the one we want, by the owner's tags; else why it is not ours to
/// touch.
pub fn check_ours(what: &str, found: &BTreeMap<String, String>, desired: &Resource) -> Result<()> {
    let ours = text_map(&desired.attributes, "tags");
    let mut owner = ours.iter().filter(|(key, _)| key.starts_with(TAG_PREFIX));
    if owner.all(|(key, value)| found.get(key) == Some(value)) {
        return Ok(());
    }
    let owner = match found.get("fleetform:stack") {
        Some(stack) => format!("belongs to `{stack}` (its fleetform:* tags name another object)"),
        None => "was not made by Fleetform (it has no fleetform:* tags)".to_owned(),
    };
    Err(Error::rejected(format!(
        "{what} exists already and {owner}: give it another name, or remove it"
    )))
}

/// The pairs of a map as an SDK wants them.
pub fn hash_map(pairs: BTreeMap<String, String>) -> HashMap<String, String> {
    pairs.into_iter().collect()
}

/// The pairs of a map as an SDK gives them, without what AWS itself put there.
pub fn tree_map(pairs: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter().flatten().filter(|(key, _)| !key.starts_with("aws:"));
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}
