//! How large values are, so that limits hold before copies are made.

use fleetform_contract::Value;

/// The bytes of all texts and keys in a value, and one for every value.
pub(super) fn bytes(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.iter().map(bytes).sum(),
        Value::Map(map) => map.iter().map(|(key, item)| key.len() + bytes(item)).sum(),
        _ => 0,
    }
}
