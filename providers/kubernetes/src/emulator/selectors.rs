//! Label and field selectors of a list.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::scheduler;
use super::status::{Refusal, Result};

/// Which objects a list shows.
#[derive(Default)]
pub(super) struct Filter {
    /// Expressions as in a label selector.
    labels: Vec<Json>,
    /// A path and its value; `false` for values that it must not have.
    fields: Vec<(String, String, bool)>,
}

impl Filter {
    pub fn of(query: &BTreeMap<String, String>) -> Result<Filter> {
        let mut filter = Filter::default();
        for part in split(query.get("labelSelector").map_or("", String::as_str)) {
            let expression = expression(&part).ok_or_else(|| {
                Refusal::bad_request(format!("unable to parse requirement: {part:?}"))
            })?;
            filter.labels.push(expression);
        }
        for part in split(query.get("fieldSelector").map_or("", String::as_str)) {
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) = part.split_once('=') {
                (path, value.trim_start_matches('='), true)
            } else {
                let message = format!("invalid field selector: {part:?}");
                return Err(Refusal::bad_request(message));
            };
            filter.fields.push((path.replace('.', "/"), value.to_owned(), equal));
        }
        Ok(filter)
    }

    /// Shows only what `other` shows as well.
    pub fn also(&mut self, other: Filter) {
        self.labels.extend(other.labels);
        self.fields.extend(other.fields);
    }

    pub fn passes(&self, object: &Json) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|expression| scheduler::matches(expression, labels))
            && self.fields.iter().all(|(path, value, equal)| {
                let text = object.pointer(&format!("/{path}")).and_then(Json::as_str);
                (text.unwrap_or_default() == value) == *equal
            })
    }
}

/// Splits at commas that are not in parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn expression(part: &str) -> Option<Json> {
    let key_of = |key: &str| -> Option<String> {
        let key = key.trim();
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        (!key.is_empty() && key.bytes().all(good)).then(|| key.to_owned())
    };
    let make = |key: &str, operator: &str, values: Vec<&str>| {
        Some(json!({ "key": key_of(key)?, "operator": operator, "values": values }))
    };
    for (word, operator) in [(" notin ", "NotIn"), (" in ", "In")] {
        if let Some((key, values)) = part.split_once(word) {
            let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
            return make(key, operator, values.split(',').map(str::trim).collect());
        }
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, "NotIn", vec![value.trim()]);
    }
    if let Some((key, value)) = part.split_once('=') {
        return make(key, "In", vec![value.trim_start_matches('=').trim()]);
    }
    match part.strip_prefix('!') {
        Some(key) => make(key, "DoesNotExist", Vec::new()),
        None => make(part, "Exists", Vec::new()),
    }
}

/// A `continue` token for the key of the last object sent.
pub(super) fn encode_token(key: &str) -> String {
    key.bytes().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn decode_token(token: &str) -> Option<String> {
    if !token.is_ascii() || token.len() % 2 == 1 {
        return None;
    }
    let bytes =
        (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select() {
        let object = json!({
            "metadata": { "name": "a", "labels": { "app": "x", "tier": "web" } },
            "status": { "phase": "Running" },
        });
        for (labels, fields, expected) in [
            ("", "", true),
            ("app=x", "", true),
            ("app==x,tier in (web, db)", "", true),
            ("app!=x", "", false),
            ("tier notin (db)", "", true),
            ("app", "metadata.name=a", true),
            ("!app", "", false),
            ("none", "", false),
            ("", "status.phase!=Running", false),
            ("", "metadata.name==b", false),
        ] {
            let query = BTreeMap::from([
                ("labelSelector".to_owned(), labels.to_owned()),
                ("fieldSelector".to_owned(), fields.to_owned()),
            ]);
            let filter = Filter::of(&query).expect("a good selector");
            assert_eq!(filter.passes(&object), expected, "{labels} {fields}");
        }
        let bad = BTreeMap::from([("labelSelector".to_owned(), "a in b".to_owned())]);
        assert!(Filter::of(&bad).is_err());
    }

    #[test]
    fn tokens_survive_the_way_there_and_back() {
        let key = "aws/us-east-1/chat/apps/v1/deployments/ns/é";
        assert_eq!(decode_token(&encode_token(key)).as_deref(), Some(key));
        for bad in ["x", "zz", "é1"] {
            assert_eq!(decode_token(bad), None);
        }
    }
}
