//! YAML, spelled as Terraform spells it.

use fleetform_contract::Value;

use super::json;
use super::numbers::number_to_text;

/// A YAML text of the value: keys in order, texts quoted or, with line breaks, in blocks.
pub(super) fn encode(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::List(items) if !items.is_empty() => sequence(items, 0, &mut out),
        Value::Map(map) if !map.is_empty() => mapping(map.iter(), 0, &mut out),
        Value::Null => return "null\n...\n".to_owned(),
        value => {
            scalar(value, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Items below each other; the place of the first is written already.
fn sequence(items: &[Value], depth: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            indent(depth, out);
        }
        out.push_str("- ");
        match item {
            Value::List(items) if !items.is_empty() => sequence(items, depth + 1, out),
            Value::Map(map) if !map.is_empty() => mapping(map.iter(), depth + 1, out),
            item => {
                scalar(item, depth, out);
                out.push('\n');
            }
        }
    }
}

/// Entries below each other; the place of the first is written already.
fn mapping<'a>(
    entries: impl Iterator<Item = (&'a String, &'a Value)>,
    depth: usize,
    out: &mut String,
) {
    for (index, (key, item)) in entries.enumerate() {
        if index > 0 {
            indent(depth, out);
        }
        quote(key, out);
        out.push(':');
        match item {
            // A list's dashes stand under the key.
            Value::List(items) if !items.is_empty() => {
                out.push('\n');
                indent(depth, out);
                sequence(items, depth, out);
            }
            Value::Map(map) if !map.is_empty() => {
                out.push('\n');
                indent(depth + 1, out);
                mapping(map.iter(), depth + 1, out);
            }
            item => {
                out.push(' ');
                scalar(item, depth, out);
                out.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null | Value::Unknown(_) | Value::Secret(_) => out.push_str("null"),
        Value::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_to_text(*number)),
        Value::String(text) if text.contains('\n') => block(text, depth, out),
        Value::String(text) => quote(text, out),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}

/// A text of several lines, each on its own, without its last line's end.
fn block(text: &str, depth: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let lines = match text.strip_suffix('\n') {
        None => {
            out.push('-');
            text
        }
        Some(lines) => {
            if lines.is_empty() || lines.ends_with('\n') {
                out.push('+');
            }
            lines
        }
    };
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(depth + 1, out);
            out.push_str(line);
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            '\u{feff}' => out.push_str("\\uFEFF"),
            c if c < ' ' || ('\u{7f}'..'\u{a0}').contains(&c) => {
                out.push_str(&format!("\\x{:02X}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The value of a YAML text of one document.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn decode(text: &str) -> Result<Value, String> {
    let mut yaml: serde_norway::Value =
        serde_norway::from_str(text).map_err(|error| error.to_string())?;
    yaml.apply_merge().map_err(|error| error.to_string())?;
    from_yaml(&yaml).map(|value| json::normal(&value))
}

fn from_yaml(yaml: &serde_norway::Value) -> Result<Value, String> {
    use serde_norway::Value as Yaml;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(bit) => Value::Bool(*bit),
        Yaml::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Yaml::String(text) => Value::from(text),
        Yaml::Sequence(items) => {
            Value::List(items.iter().map(from_yaml).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(map) => {
            let entry = |(key, item): (&Yaml, &Yaml)| {
                let key = super::to_text(&from_yaml(key)?)
                    .ok_or("only strings are allowed as mapping keys")?;
                Ok::<_, String>((key, from_yaml(item)?))
            };
            Value::Map(map.iter().map(entry).collect::<Result<_, _>>()?)
        }
        Yaml::Tagged(tagged) => from_yaml(&tagged.value)?,
    })
}
