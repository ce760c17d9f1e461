//! One change as Terraform writes it: the heading, the block, a symbol for each line that differs.

use std::collections::BTreeSet;
use std::fmt::Write;

use fleetform_contract::{Attributes, Value};

use super::Paint;
use crate::plan::{Action, Change, Reason, same};

/// The heading, without the comment sign: `aws_eks_cluster.main["x"] will be created`.
pub fn heading(change: &Change) -> String {
    let address = &change.address;
    match (change.action, change.reason) {
        (Action::NoOp, _) => match &change.previous {
            Some(previous) => format!("{previous} has moved to {address}"),
            None if change.importing.is_some() => format!("{address} will be imported"),
            None => format!("{address} is up-to-date"),
        },
        (Action::Create, _) => format!("{address} will be created"),
        (Action::Update, _) => format!("{address} will be updated in-place"),
        (Action::Delete, _) => format!("{address} will be destroyed"),
        (Action::Forget, _) => {
            format!("{address} will no longer be managed by Fleetform, but will not be destroyed")
        }
        (Action::Replace, Some(Reason::ReplaceByRequest)) => {
            format!("{address} will be replaced, as requested")
        }
        (Action::Replace, Some(Reason::ReplaceBecauseTainted)) => {
            format!("{address} is tainted, so must be replaced")
        }
        (Action::Replace, Some(Reason::ReplaceByTriggers)) => {
            format!("{address} will be replaced due to changes in what it lives in")
        }
        (Action::Replace, _) => format!("{address} must be replaced"),
    }
}

/// The symbol in its three columns.
pub fn symbol(action: Action) -> &'static str {
    match action {
        Action::NoOp => "   ",
        Action::Create => "  +",
        Action::Update => "  ~",
        Action::Replace => "-/+",
        Action::Delete => "  -",
        Action::Forget => " .",
    }
}

/// The change's heading and block.
pub fn change(change: &Change, paint: Paint) -> String {
    let mut text = format!("  {}\n", paint.bold(&format!("# {}", heading(change))));
    for note in notes(change) {
        let _ = writeln!(text, "  # ({note})");
    }
    text + &block(change, paint)
}

/// What the heading does not say.
fn notes(change: &Change) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(previous) = &change.previous
        && change.action != Action::NoOp
    {
        notes.push(format!("moved from {previous}"));
    }
    if let Some(id) = &change.importing {
        if change.action != Action::NoOp {
            notes.push(format!("imported from {}", quote(id)));
        }
        if change.action == Action::Replace {
            notes.push("this will destroy the imported object".to_owned());
        }
    }
    match change.reason {
        Some(Reason::DeleteBecauseNoResourceConfig) => {
            notes.push("because nothing in the stack asks for it any more".to_owned());
        }
        Some(Reason::DeleteBecauseNoMoveTarget) => {
            notes
                .push(format!("because it moved to {}, which is not in the stack", change.address));
        }
        Some(Reason::ForgetBecauseNeeded) => {
            notes.push("because something that goes on to exist needs it".to_owned());
        }
        _ if change.action == Action::Forget => {
            notes.push("destroy = false is set in the stack".to_owned());
        }
        _ => {}
    }
    notes
}

/// The change's block, without a heading.
pub fn block(change: &Change, paint: Paint) -> String {
    let empty = Attributes::new();
    let before = change.before.as_ref().map_or(&empty, |record| &record.attributes);
    let after = change.after.as_ref().unwrap_or(&empty);
    let mut writer = Writer { text: String::new(), paint, forcing: &change.replace_paths };
    let colour = |text: &str| match change.action {
        Action::Create => paint.green(text),
        Action::Update => paint.yellow(text),
        Action::Replace | Action::Delete | Action::Forget => paint.red(text),
        Action::NoOp => text.to_owned(),
    };
    let _ = writeln!(
        writer.text,
        "{} resource \"{}\" \"{}\" {{",
        colour(symbol(change.action)),
        change.address.kind,
        change.address.name
    );
    match change.action {
        Action::Create => writer.entries(6, Mark::Add, &empty, after, &mut Vec::new()),
        Action::Delete => writer.entries(6, Mark::Remove, before, &empty, &mut Vec::new()),
        Action::Forget => writer.entries(6, Mark::Change, before, before, &mut Vec::new()),
        _ => writer.entries(6, Mark::Change, before, after, &mut Vec::new()),
    }
    writer.text += "    }\n";
    writer.text
}

/// One named value that changes, at `indent`.
pub fn value_change(
    indent: usize,
    name: &str,
    width: usize,
    before: Option<&Value>,
    after: Option<&Value>,
    paint: Paint,
) -> String {
    let mark = match (before, after) {
        (None, _) => Mark::Add,
        (_, None) => Mark::Remove,
        _ => Mark::Change,
    };
    let mut writer = Writer { text: String::new(), paint, forcing: &[] };
    let label = format!("{name:<width$} = ");
    writer.entry(indent, mark, &label, before, after, "", &mut Vec::new());
    writer.text
}

/// What stands for a value that must not be seen.
pub fn hidden() -> Value {
    Value::Secret(fleetform_contract::Secret { reference: String::new(), digest: String::new() })
}

/// A path as HCL would write it: `metadata.labels["fleetform.dev/pool"]`, `taint[0].key`.
pub fn path(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if part.parse::<usize>().is_ok() {
            let _ = write!(text, "[{part}]");
        } else if key(part) == *part {
            let dot = if text.is_empty() { "" } else { "." };
            let _ = write!(text, "{dot}{part}");
        } else {
            let _ = write!(text, "[{}]", quote(part));
        }
    }
    text
}

/// A value as HCL writes it.
pub fn value(value: &Value) -> String {
    let text = hcl::format::to_string(&expression(value)).expect("expressions can be written");
    text.trim_end().to_owned()
}

/// A record as HCL would write it, in the canonical style.
pub fn record(record: &fleetform_contract::Record) -> String {
    let address = &record.address;
    let shown = record.attributes.iter().filter(|(_, value)| !value.is_null());
    let attributes =
        shown.map(|(name, value)| hcl::Attribute::new(name.as_str(), expression(value)));
    let block = hcl::Block::builder("resource")
        .add_label(address.kind.as_str())
        .add_label(address.name.as_str())
        .add_attributes(attributes)
        .build();
    let body = hcl::Body::builder().add_block(block).build();
    let text = hcl::format::to_string(&body).expect("bodies can be written");
    let tainted = if record.tainted { " (tainted)" } else { "" };
    format!("# {address}:{tainted}\n{}", crate::config::format(&text).unwrap_or(text))
}

fn expression(value: &Value) -> hcl::Expression {
    match value {
        Value::Null => hcl::Expression::Null,
        Value::Bool(bit) => (*bit).into(),
        Value::Number(number) => match value.as_i64() {
            Some(whole) => whole.into(),
            None => hcl::Number::from_f64(*number).map_or(hcl::Expression::Null, Into::into),
        },
        // The library escapes all but what would begin a template's directive.
        Value::String(text) => text.replace("%{", "%%{").into(),
        Value::List(items) => hcl::Expression::Array(items.iter().map(expression).collect()),
        Value::Map(map) => hcl::Expression::Object(
            map.iter()
                .map(|(name, item)| {
                    let name = match hcl::Identifier::new(name.as_str()) {
                        Ok(identifier) => hcl::ObjectKey::Identifier(identifier),
                        Err(_) => hcl::ObjectKey::Expression(name.as_str().into()),
                    };
                    (name, expression(item))
                })
                .collect(),
        ),
        Value::Unknown(_) => "(known after apply)".into(),
        Value::Secret(_) => "(sensitive value)".into(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Add,
    Remove,
    Change,
    Same,
}

struct Writer<'a> {
    text: String,
    paint: Paint,
    forcing: &'a [crate::plan::Path],
}

impl Writer<'_> {
    /// The entries of a map, aligned; what stays the same is counted, not shown, but for names.
    fn entries(
        &mut self,
        indent: usize,
        mark: Mark,
        before: &Attributes,
        after: &Attributes,
        path: &mut crate::plan::Path,
    ) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut shown = Vec::new();
        let mut hidden = 0;
        for name in names {
            let (old, new) = (before.get(name), after.get(name));
            let (old_value, new_value) = (old.unwrap_or(&Value::Null), new.unwrap_or(&Value::Null));
            let entry_mark = match mark {
                Mark::Change if same(old_value, new_value) => Mark::Same,
                Mark::Change if old_value.is_null() => Mark::Add,
                Mark::Change if new_value.is_null() => Mark::Remove,
                other => other,
            };
            let nothing = old_value.is_null() && new_value.is_null();
            let named = path.is_empty() && matches!(name.as_str(), "id" | "name" | "region");
            match entry_mark {
                Mark::Same if nothing => {}
                Mark::Same if !named => hidden += 1,
                Mark::Add | Mark::Remove if nothing => {}
                _ => shown.push((name, entry_mark, old, new)),
            }
        }
        let width = shown.iter().map(|(name, ..)| key(name).chars().count()).max().unwrap_or(0);
        for (name, entry_mark, old, new) in shown {
            let label = format!("{:<width$} = ", key(name));
            path.push(name.clone());
            self.entry(indent, entry_mark, &label, old, new, "", path);
            path.pop();
        }
        if hidden > 0 {
            self.hidden(indent, hidden, "attribute");
        }
    }

    fn hidden(&mut self, indent: usize, count: usize, what: &str) {
        let plural = if count == 1 { "" } else { "s" };
        let note = format!("# ({count} unchanged {what}{plural} hidden)");
        let _ = writeln!(self.text, "{}{}", " ".repeat(indent + 2), self.paint.dim(&note));
    }

    fn start(&mut self, indent: usize, mark: Mark) {
        let symbol = match mark {
            Mark::Add => self.paint.green("+"),
            Mark::Remove => self.paint.red("-"),
            Mark::Change => self.paint.yellow("~"),
            Mark::Same => " ".to_owned(),
        };
        let _ = write!(self.text, "{}{symbol} ", " ".repeat(indent));
    }

    /// One entry: `symbol label value suffix`.
    #[expect(clippy::too_many_arguments, reason = "one place draws every kind of line")]
    fn entry(
        &mut self,
        indent: usize,
        mark: Mark,
        label: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        comma: &str,
        path: &mut crate::plan::Path,
    ) {
        let forces = self.forcing.contains(path);
        let end = if forces { self.paint.red(" # forces replacement") } else { String::new() };
        let null = Value::Null;
        let (old, new) = (before.unwrap_or(&null), after.unwrap_or(&null));
        self.start(indent, mark);
        self.text += label;
        match mark {
            Mark::Add | Mark::Same => {
                self.tree(indent, if mark == Mark::Add { "+" } else { " " }, new);
            }
            Mark::Remove => {
                self.tree(indent, "-", old);
                // Inside a list there is nothing that could become null.
                self.text += if comma.is_empty() { " -> null" } else { "" };
            }
            Mark::Change => self.changed(indent, old, new, path),
        }
        let _ = writeln!(self.text, "{comma}{end}");
    }

    fn changed(&mut self, indent: usize, old: &Value, new: &Value, path: &mut crate::plan::Path) {
        match (old, new) {
            (Value::Map(old), Value::Map(new)) => {
                self.text += "{\n";
                self.entries(indent + 4, Mark::Change, old, new, path);
                let _ = write!(self.text, "{}}}", " ".repeat(indent + 2));
            }
            (Value::List(old), Value::List(new)) => {
                self.text += "[\n";
                self.items(indent + 4, old, new, path);
                let _ = write!(self.text, "{}]", " ".repeat(indent + 2));
            }
            (Value::String(old), Value::String(new))
                if encoded(old).is_some() && encoded(new).is_some() =>
            {
                let (old, new) =
                    encoded(old).zip(encoded(new)).expect("both were just seen to be JSON");
                self.text += "jsonencode(\n";
                self.start(indent + 4, Mark::Change);
                self.changed(indent + 4, &old, &new, path);
                let _ = write!(self.text, "\n{})", " ".repeat(indent + 2));
            }
            (Value::String(old), Value::String(new))
                if old.contains('\n') && new.contains('\n') =>
            {
                self.text += "<<-EOT\n";
                let difference = similar::TextDiff::from_lines(old.as_str(), new.as_str());
                for line in difference.iter_all_changes() {
                    let mark = match line.tag() {
                        similar::ChangeTag::Delete => self.paint.red("-"),
                        similar::ChangeTag::Insert => self.paint.green("+"),
                        similar::ChangeTag::Equal => " ".to_owned(),
                    };
                    let line = line.value().trim_end_matches('\n');
                    let _ = writeln!(self.text, "{}{mark} {line}", " ".repeat(indent + 4));
                }
                let _ = write!(self.text, "{}EOT", " ".repeat(indent + 2));
            }
            (Value::Secret(_), Value::Secret(_)) => self.text += "(sensitive value)",
            _ => {
                self.tree(indent, "-", old);
                self.text += " -> ";
                self.tree(indent, "+", new);
            }
        }
    }

    fn items(&mut self, indent: usize, old: &[Value], new: &[Value], path: &mut crate::plan::Path) {
        // Lists of blocks keep their places; other lists are compared as sequences.
        let blocks = |items: &[Value]| items.iter().any(|item| matches!(item, Value::Map(_)));
        if old.len() == new.len() && (blocks(old) || blocks(new)) {
            let mut hidden = 0;
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                if same(old, new) {
                    hidden += 1;
                } else {
                    path.push(index.to_string());
                    self.entry(indent, Mark::Change, "", Some(old), Some(new), ",", path);
                    path.pop();
                }
            }
            if hidden > 0 {
                self.hidden(indent, hidden, "element");
            }
            return;
        }
        let texts = |items: &[Value]| -> Vec<String> {
            items
                .iter()
                .map(|item| serde_json::to_string(item).expect("values serialize"))
                .collect()
        };
        let (old_texts, new_texts) = (texts(old), texts(new));
        let mut hidden = 0;
        for op in similar::capture_diff_slices(similar::Algorithm::Myers, &old_texts, &new_texts) {
            let (tag, old_range, new_range) = op.as_tag_tuple();
            if tag == similar::DiffTag::Equal {
                hidden += old_range.len();
                continue;
            }
            for item in &old[old_range] {
                self.entry(indent, Mark::Remove, "", Some(item), None, ",", path);
            }
            for item in &new[new_range] {
                self.entry(indent, Mark::Add, "", None, Some(item), ",", path);
            }
        }
        if hidden > 0 {
            self.hidden(indent, hidden, "element");
        }
    }

    /// A whole value, each line with the same symbol.
    fn tree(&mut self, indent: usize, symbol: &str, value: &Value) {
        let mark = match symbol {
            "+" => Mark::Add,
            "-" => Mark::Remove,
            _ => Mark::Same,
        };
        match value {
            Value::Null => self.text += "null",
            Value::Bool(bit) => {
                let _ = write!(self.text, "{bit}");
            }
            Value::Number(_) => {
                let _ = write!(self.text, "{}", value.to_plain_json());
            }
            Value::String(text) if encoded(text).is_some() => {
                let inner = encoded(text).expect("just seen");
                let _ = write!(self.text, "jsonencode(\n{}", " ".repeat(indent + 6));
                self.tree(indent + 4, symbol, &inner);
                let _ = write!(self.text, "\n{})", " ".repeat(indent + 2));
            }
            Value::String(text) if text.contains('\n') => {
                self.text += "<<-EOT\n";
                for line in text.trim_end_matches('\n').lines() {
                    let _ = writeln!(self.text, "{}{line}", " ".repeat(indent + 6));
                }
                let _ = write!(self.text, "{}EOT", " ".repeat(indent + 2));
            }
            Value::String(text) => self.text += &quote(text),
            Value::Unknown(_) => self.text += "(known after apply)",
            Value::Secret(_) => self.text += "(sensitive value)",
            Value::List(items) if items.is_empty() => self.text += "[]",
            Value::Map(map) if map.is_empty() => self.text += "{}",
            Value::List(items) => {
                self.text += "[\n";
                for item in items {
                    self.start(indent + 4, mark);
                    self.tree(indent + 4, symbol, item);
                    self.text += ",\n";
                }
                let _ = write!(self.text, "{}]", " ".repeat(indent + 2));
            }
            Value::Map(map) => {
                self.text += "{\n";
                let shown: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
                let width = shown.iter().map(|(name, _)| key(name).chars().count()).max();
                for (name, item) in shown {
                    self.start(indent + 4, mark);
                    let _ = write!(self.text, "{:<1$} = ", key(name), width.unwrap_or(0));
                    self.tree(indent + 4, symbol, item);
                    self.text += "\n";
                }
                let _ = write!(self.text, "{}}}", " ".repeat(indent + 2));
            }
        }
    }
}

/// The object or array whose JSON a string is, for it is read more easily than its JSON.
fn encoded(text: &str) -> Option<Value> {
    if !text.starts_with(['{', '[']) || text.len() < 3 {
        return None;
    }
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(Value::from_plain_json(&json))
}

/// A key as HCL writes it: quoted where it is no identifier.
fn key(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if plain { name.to_owned() } else { quote(name) }
}

/// A string as HCL writes it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.replace("${", "$${").replace("%{", "%%{") + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_hcl() {
        let shown = Value::map([
            ("plain", "a \"quoted\" ${template} and 50%{off}".into()),
            ("two words", Value::list([1.into(), 2.5.into(), true.into(), Value::Null])),
            ("secret", hidden()),
        ]);
        insta::assert_snapshot!(value(&shown), @r#"
        {
          plain = "a \"quoted\" $${template} and 50%%{off}"
          secret = "(sensitive value)"
          "two words" = [
            1,
            2.5,
            true,
            null
          ]
        }
        "#);
        let text = format!("locals {{\n  x = {}\n}}\n", value(&shown));
        assert!(hcl_edit::parser::parse_body(&text).is_ok(), "{text}");
    }
}
