//! YAML as Terraform reads it: plain `yes`, `on` and `n` are bools, dates are timestamps, and aliases
//! are copies.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetform_contract::Value;
use jiff::civil::{Date, Time};
use regex::Regex;
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::numbers::parse_number;
use super::types::{text, to_text};
use super::{MAX_TEXT_BYTES, weight};

/// Deepest nesting.
const MAX_DEPTH: usize = 128;

/// Most values, with every alias counted as what it stands for: few lines of YAML can say billions.
const MAX_VALUES: usize = 1 << 18;

/// Most bytes of text, counted in the same way.
const MAX_BYTES: usize = 2 * MAX_TEXT_BYTES;

/// The value of a YAML text of one document.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn decode(source: &str) -> Result<Value, String> {
    let mut reader = Reader::default();
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        reader.event(event).map_err(|why| {
            format!("on line {}, column {}: {why}", span.start.line(), span.start.col() + 1)
        })?;
    }
    reader.document.ok_or_else(|| "on line 1, column 1: missing start of document".to_owned())
}

#[derive(Default)]
struct Reader {
    document: Option<Value>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Value>,
    values: usize,
    bytes: usize,
}

/// A list or a map whose end is not read yet.
enum Open {
    List { anchor: usize, items: Vec<Value> },
    Map { anchor: usize, entries: BTreeMap<String, Value>, key: Option<Key> },
}

enum Key {
    Name(String),
    /// `<<`: the entries of the value that follows.
    Merge,
}

impl Reader {
    fn event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) if self.document.is_some() => {
                Err("only a single document is allowed".to_owned())
            }
            Event::Scalar(source, style, anchor, tag) => {
                let plain = matches!(style, ScalarStyle::Plain);
                let value = scalar(&source, plain, tag.as_deref())?;
                if self.expects_key() && plain && tag.is_none() && source == "<<" {
                    return self.key(Key::Merge);
                }
                self.value(anchor, value)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    "cannot refer to an anchor from inside its own definition".to_owned()
                })?;
                if self.expects_key() {
                    return Err("only strings are allowed as mapping keys".to_owned());
                }
                self.count(size(&value), weight::bytes(&value))?;
                self.put(value)
            }
            Event::SequenceStart(anchor, tag) => {
                expect_tag(tag.as_deref(), "seq", "sequence")?;
                self.begin(Open::List { anchor, items: Vec::new() })
            }
            Event::MappingStart(anchor, tag) => {
                expect_tag(tag.as_deref(), "map", "mapping")?;
                self.begin(Open::Map { anchor, entries: BTreeMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { anchor, items }) => self.value(anchor, Value::List(items)),
                Some(Open::Map { anchor, entries, .. }) => self.value(anchor, Value::Map(entries)),
                None => Err("unexpected end".to_owned()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    fn begin(&mut self, open: Open) -> Result<(), String> {
        if self.expects_key() {
            return Err("only strings are allowed as mapping keys".to_owned());
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.open.push(open);
        Ok(())
    }

    fn count(&mut self, values: usize, bytes: usize) -> Result<(), String> {
        self.values = self.values.saturating_add(values);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes of text"));
        }
        if self.values > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        Ok(())
    }

    fn value(&mut self, anchor: usize, value: Value) -> Result<(), String> {
        self.count(1, value.as_str().map_or(0, str::len))?;
        if anchor > 0 {
            // Kept beside the value itself, which may stand in one with an anchor too.
            self.count(size(&value), weight::bytes(&value))?;
            self.anchors.insert(anchor, value.clone());
        }
        self.put(value)
    }

    fn key(&mut self, name: Key) -> Result<(), String> {
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = Some(name);
        }
        Ok(())
    }

    fn put(&mut self, value: Value) -> Result<(), String> {
        if self.expects_key() {
            if value.is_null() {
                return Err("mapping key cannot be null".to_owned());
            }
            let name = to_text(&value).ok_or("only strings are allowed as mapping keys")?;
            return self.key(Key::Name(name));
        }
        match self.open.last_mut() {
            None => self.document = Some(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { entries, key, .. }) => match (key.take(), value) {
                (Some(Key::Name(name)), value) => {
                    entries.insert(name, value);
                }
                (_, Value::Map(merged)) => {
                    entries.extend(merged);
                }
                (_, value) => {
                    let kind = super::types::kind(&value);
                    return Err(format!("cannot merge {kind} into mapping"));
                }
            },
        }
        Ok(())
    }
}

/// How many values stand in one.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(map) => map.values().map(size).sum::<usize>(),
        _ => 0,
    }
}

fn expect_tag(tag: Option<&Tag>, wanted: &str, what: &str) -> Result<(), String> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == wanted) => {
            Err(format!("can't interpret {what} as {tag}"))
        }
        _ => Ok(()),
    }
}

fn scalar(source: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let tag = match tag {
        None => None,
        Some(tag) if tag.is_yaml_core_schema() => Some(tag.suffix.as_str()),
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Some("str"),
        Some(tag) => return Err(format!("unsupported tag \"{tag}\"")),
    };
    let wrong = |tag: &str| format!("cannot parse \"{source}\" as !!{tag}");
    match tag {
        Some("binary") => match STANDARD.decode(source.replace(['\n', '\r'], "")) {
            Ok(_) => Ok(text(source)),
            Err(_) => Err(format!("{}: not valid base64", wrong("binary"))),
        },
        Some("str") => Ok(text(source)),
        Some("bool" | "float" | "int" | "null" | "timestamp") if !plain => Ok(text(source)),
        Some("bool") => bool(source).map(Value::Bool).ok_or_else(|| wrong("bool")),
        Some(tag @ ("float" | "int")) => {
            number(source).map(Value::Number).ok_or_else(|| wrong(tag))
        }
        Some("null") => Ok(Value::Null),
        Some("timestamp") => timestamp(source).map(text).ok_or_else(|| wrong("timestamp")),
        Some(tag) => Err(format!("unsupported tag \"!!{tag}\"")),
        None if !plain => Ok(text(source)),
        None => match source {
            "" | "~" | "null" | "Null" | "NULL" => Ok(Value::Null),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
            | "-.INF" => Err("an infinite number is not supported".to_owned()),
            ".nan" | ".NaN" | ".NAN" => Err("floating point NaN is not supported".to_owned()),
            source => Ok(bool(source)
                .map(Value::Bool)
                .or_else(|| timestamp(source).map(text))
                .or_else(|| number(source).map(Value::Number))
                .unwrap_or_else(|| text(source))),
        },
    }
}

fn bool(source: &str) -> Option<bool> {
    match source {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// Decimal, `0x1F` or `0o17`.
fn number(source: &str) -> Option<f64> {
    let (base, digits) = match source.split_at_checked(2) {
        Some(("0x", digits)) => (16, digits),
        Some(("0o", digits)) => (8, digits),
        _ => return parse_number(source),
    };
    let whole = u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'));
    whole.map(|whole| whole as f64)
}

static TIMESTAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$",
    )
    .expect("the pattern is a regular expression")
});

/// A date or a date and time, in RFC 3339.
fn timestamp(source: &str) -> Option<String> {
    let parts = TIMESTAMP.captures(source)?;
    let number = |index: usize| -> Option<i16> {
        parts.get(index).map_or(Some(0), |part| part.as_str().parse().ok())
    };
    let zone = parts.get(8).map(|zone| zone.as_str());
    match parts.get(4).map(|introducer| introducer.as_str()) {
        None => {}
        Some(" ") if zone.is_none() => {}
        Some("T" | "t") if zone.is_some() => {}
        Some(_) => return None,
    }
    let date = Date::new(number(1)?, number(2)? as i8, number(3)? as i8).ok()?;
    let time = Time::new(number(5)? as i8, number(6)? as i8, number(7)? as i8, 0).ok()?;
    Some(format!("{date}T{time}{}", zone.unwrap_or("Z")))
}
