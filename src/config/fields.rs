//! Evaluated blocks, and the typed reading of their attributes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fleetform_contract::{Value, Vault};

use super::convert::{kind_name, number_text, to_bool, to_number, to_text};
use super::quantity::{self, Measure};
use super::{nearest, table::Table};
use crate::diagnostic::{Diagnostic, Span};

/// An attribute's value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// `None` where it failed, which the user has been told.
    pub value: Option<Value>,
    /// The value's place.
    pub span: Span,
    /// The place of name and value.
    pub whole: Span,
}

/// An evaluated block.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub label: Option<String>,
    /// Type and labels.
    pub header: Span,
    pub attributes: BTreeMap<String, Field>,
    pub sections: BTreeMap<String, Vec<Section>>,
}

/// What all readers of one stack write to.
pub(super) struct Notes {
    pub problems: RefCell<Vec<Diagnostic>>,
    pub spans: RefCell<BTreeMap<String, Span>>,
}

/// More mistakes than anybody reads; what comes after them is counted as one.
pub(super) const MAX_PROBLEMS: usize = 500;

impl Notes {
    /// Whether what is still found will not be shown.
    pub(super) fn is_full(&self) -> bool {
        self.problems.borrow().len() > MAX_PROBLEMS
    }

    pub(super) fn report(&self, diagnostic: Diagnostic) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() > MAX_PROBLEMS {
            return;
        }
        // Instances of one block make the same mistake at the same place.
        if !problems.contains(&diagnostic) {
            problems.push(diagnostic);
        }
    }
}

/// Reads a section's attributes with their types, and reports what does not fit.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r> {
    pub section: &'r Section,
    /// In [`super::Stack::spans`]: `service.chat.resources`.
    pub path: &'r str,
    pub notes: &'r Notes,
    pub table: &'r Table<'r>,
    pub vault: &'r Vault,
}

impl<'r> Reader<'r> {
    /// Puts the spans of the section and its attributes where the stack keeps them.
    pub(super) fn note_spans(&self) {
        let mut spans = self.notes.spans.borrow_mut();
        spans.entry(self.path.to_owned()).or_insert_with(|| self.section.header.clone());
        for (name, field) in &self.section.attributes {
            spans.entry(format!("{}.{name}", self.path)).or_insert_with(|| field.whole.clone());
        }
    }

    /// The section's only block of a kind.
    pub(super) fn block<T>(&self, name: &str, read: impl FnOnce(Reader) -> T) -> Option<T> {
        let section = self.section.sections.get(name)?.first()?;
        let path = format!("{}.{name}", self.path);
        let reader = Reader { section, path: &path, ..*self };
        reader.note_spans();
        Some(read(reader))
    }

    /// Every block of a kind with its label; in paths it is the label or the number that stands.
    pub(super) fn blocks<T>(&self, name: &str, mut read: impl FnMut(Reader, &str) -> T) -> Vec<T> {
        let sections = self.section.sections.get(name).map_or(&[][..], Vec::as_slice);
        let read_one = |(index, section): (usize, &Section)| {
            let label = section.label.clone().unwrap_or_default();
            let part = if section.label.is_some() { label.clone() } else { index.to_string() };
            let path = format!("{}.{name}.{part}", self.path);
            let reader = Reader { section, path: &path, ..*self };
            reader.note_spans();
            read(reader, &label)
        };
        sections.iter().enumerate().map(read_one).collect()
    }

    pub(super) fn report(&self, diagnostic: Diagnostic) {
        self.notes.report(diagnostic);
    }

    /// A mistake in an attribute, or in the block where the attribute is not there.
    pub(super) fn fail(&self, name: &str, summary: &str, detail: impl Into<String>, hint: &str) {
        let diagnostic = Diagnostic::error(summary, detail).at(self.span(name));
        self.report(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    pub(super) fn span(&self, name: &str) -> Span {
        let field = self.section.attributes.get(name);
        field.map_or_else(|| self.section.header.clone(), |field| field.span.clone())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.section.attributes.get(name).is_some_and(|f| !matches!(f.value, Some(Value::Null)))
    }

    /// An attribute that is set, with whatever value.
    pub(super) fn any(&self, name: &str) -> Option<&'r Value> {
        self.section.attributes.get(name)?.value.as_ref().filter(|value| !value.is_null())
    }

    /// An attribute that is set, and known and plain as settings of the plan itself must be.
    pub(super) fn value(&self, name: &str) -> Option<&'r Value> {
        let value = self.any(name)?;
        self.plain(name, value, value.has_unknown(), value.has_secret())
    }

    /// As [`Reader::value`], for references: a block may well hold what is known later.
    fn target(&self, name: &str) -> Option<&'r Value> {
        let value = self.any(name)?;
        let inner = || value.as_list().unwrap_or_default().iter().chain([value]);
        let unknown = inner().any(|value| matches!(value, Value::Unknown(_)));
        let secret = inner().any(|value| matches!(value, Value::Secret(_)));
        self.plain(name, value, unknown, secret)
    }

    fn plain(
        &self,
        name: &str,
        value: &'r Value,
        unknown: bool,
        secret: bool,
    ) -> Option<&'r Value> {
        if unknown {
            self.fail(
                name,
                "Value known only after apply",
                format!("{name:?} decides what the plan is, so it must be known before."),
                "such values may be used in `env`, `output` and `check`",
            );
            return None;
        }
        if secret {
            self.fail(
                name,
                "Sensitive value not allowed",
                format!("{name:?} is shown in plans, so it cannot be sensitive."),
                "`nonsensitive(…)` shows it; secrets go into `env` or `secret_env`",
            );
            return None;
        }
        Some(value)
    }

    fn wrong_type(&self, name: &str, wanted: &str, hint: &str) {
        let detail = format!("Inappropriate value for attribute {name:?}: {wanted}.");
        self.fail(name, "Incorrect attribute value type", detail, hint);
    }

    /// Reports an attribute that must be there and is not.
    pub(super) fn require(&self, name: &str, example: &str) {
        if !self.has(name) {
            let diagnostic = Diagnostic::error(
                "Missing required argument",
                format!("The argument {name:?} is required, but no definition was found."),
            );
            let diagnostic = diagnostic.at(self.section.header.clone());
            self.report(diagnostic.hint(format!("for example `{name} = {example}`")));
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        match to_text(value) {
            Ok(text) => Some(text),
            Err(_) => {
                self.wrong_type(
                    name,
                    &format!("a string is required, not {}", kind_name(value)),
                    "",
                );
                None
            }
        }
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.trim().is_empty() {
            self.fail(name, "Value is empty", format!("{name:?} cannot be empty."), "");
            return None;
        }
        Some(text)
    }

    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        let bit = to_bool(self.value(name)?);
        bit.map_err(|error| self.wrong_type(name, &error, "write `true` or `false`")).ok()
    }

    /// A number of at least `least` and at most `most`.
    pub(super) fn number(&self, name: &str, least: f64, most: f64) -> Option<f64> {
        let number = to_number(self.value(name)?);
        let number = number.map_err(|error| self.wrong_type(name, &error, "")).ok()?;
        self.bounded(name, number, least, most)
    }

    fn bounded(&self, name: &str, number: f64, least: f64, most: f64) -> Option<f64> {
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let bounds = if most == f64::MAX {
            format!("at least {}", number_text(least))
        } else {
            format!("from {} to {}", number_text(least), number_text(most))
        };
        let detail = format!("{name:?} is {bounds}; {} is not.", number_text(number));
        self.fail(name, "Value out of range", detail, "");
        None
    }

    /// A share, 0 to 1.
    pub(super) fn share(&self, name: &str) -> Option<f64> {
        let number = to_number(self.value(name)?);
        let number = number.map_err(|error| self.wrong_type(name, &error, "")).ok()?;
        if number > 1.0 && number <= 100.0 {
            let detail =
                format!("{name:?} is a share from 0 to 1; {} is not.", number_text(number));
            let hint =
                format!("{} percent is {}", number_text(number), number_text(number / 100.0));
            self.fail(name, "Value out of range", detail, &hint);
            return None;
        }
        self.bounded(name, number, 0.0, 1.0)
    }

    /// A whole number.
    pub(super) fn count(&self, name: &str, least: u32, most: u32) -> Option<u32> {
        let number = to_number(self.value(name)?);
        let number = number.map_err(|error| self.wrong_type(name, &error, "")).ok()?;
        if number.fract() != 0.0 {
            let detail = format!("{name:?} is a whole number; {} is not.", number_text(number));
            self.fail(name, "Value out of range", detail, "");
            return None;
        }
        self.bounded(name, number, least.into(), most.into()).map(|number| number as u32)
    }

    pub(super) fn quantity(&self, name: &str, measure: Measure) -> Option<f64> {
        match quantity::parse(self.value(name)?, measure) {
            Ok(number) => self.bounded(name, number, 0.0, f64::MAX),
            Err(mistake) => {
                self.fail(name, "Invalid quantity", mistake.detail, &mistake.hint);
                None
            }
        }
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let Value::List(items) = self.value(name)? else {
            self.wrong_type(name, "list of string required", "write `[\"…\"]`");
            return None;
        };
        let texts = items.iter().enumerate().map(|(index, item)| match to_text(item) {
            Ok(text) => Some(text),
            Err(_) => {
                let wanted =
                    format!("element {index}: a string is required, not {}", kind_name(item));
                self.wrong_type(name, &wanted, "");
                None
            }
        });
        texts.collect()
    }

    /// The label of the block that an attribute refers to.
    pub(super) fn reference(&self, name: &str, kind: &str) -> Option<String> {
        let value = self.target(name)?;
        self.one_reference(name, value, kind)
    }

    pub(super) fn references(&self, name: &str, kind: &str) -> Option<Vec<String>> {
        let value = self.target(name)?;
        let Value::List(items) = value else {
            let hint = format!("write `[{kind}.name]`");
            self.wrong_type(name, &format!("a list of {kind}s is required"), &hint);
            return None;
        };
        let mut labels = Vec::new();
        for item in items {
            let label = self.one_reference(name, item, kind)?;
            if labels.contains(&label) {
                let detail = format!("{name:?} names `{kind}.{label}` twice.");
                self.fail(name, "Duplicate reference", detail, "");
            } else {
                labels.push(label);
            }
        }
        Some(labels)
    }

    /// The instance names of the services and jobs in a list of references; a repeated block stands for
    /// all its instances.
    pub(super) fn workloads(&self, name: &str) -> Vec<String> {
        let Some(value) = self.target(name) else { return Vec::new() };
        let Value::List(items) = value else {
            self.wrong_type(name, "a list of services is required", "write `[service.name]`");
            return Vec::new();
        };
        let mut names: Vec<String> = Vec::new();
        for item in items {
            let one = |item: &Value| {
                let map = item.as_map()?;
                let address = map.get("address")?.as_str()?;
                let is_workload = address.starts_with("service.") || address.starts_with("job.");
                map.get("name").filter(|_| is_workload)?.as_str().map(str::to_owned)
            };
            let found = match item {
                Value::String(label) => self.table.workloads(label),
                Value::Map(instances) => one(item)
                    .map(|name| vec![name])
                    .or_else(|| instances.values().map(one).collect::<Option<_>>()),
                _ => None,
            };
            match (found, item) {
                (Some(found), _) => names.extend(found),
                (None, Value::String(label)) => {
                    let known = ["service", "job"].iter().flat_map(|kind| self.table.labels(kind));
                    let hint = match nearest(label, known) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("declare it: `service \"{label}\" {{ … }}`"),
                    };
                    let detail = format!("There is no service and no job named {label:?}.");
                    self.fail(name, "Reference to undeclared block", detail, &hint);
                }
                (None, _) => {
                    self.wrong_type(name, "services and jobs are required", "write `service.name`");
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }

    fn one_reference(&self, name: &str, value: &Value, kind: &str) -> Option<String> {
        let label = match value {
            Value::Map(map) => {
                let address = map.get("address").and_then(Value::as_str).unwrap_or_default();
                match address.split_once('.') {
                    Some((found, label)) if found == kind => return Some(label.to_owned()),
                    Some((found, _)) => {
                        let wanted =
                            format!("{} is required, not {}", super::a(kind), super::a(found));
                        self.wrong_type(name, &wanted, &format!("write `{kind}.name`"));
                        return None;
                    }
                    None => None,
                }
            }
            Value::String(label) => Some(label),
            _ => None,
        };
        let Some(label) = label else {
            self.wrong_type(
                name,
                &format!("{} is required", super::a(kind)),
                &format!("write `{kind}.name`"),
            );
            return None;
        };
        if self.table.labels(kind).any(|known| known == label) {
            return Some(label.clone());
        }
        let near = nearest(label, self.table.labels(kind));
        let hint = match near {
            Some(near) => format!("did you mean `{kind}.{near}`?"),
            None => format!("declare it: `{kind} \"{label}\" {{ … }}`"),
        };
        let detail = format!("There is no {kind} named {label:?}.");
        self.fail(name, "Reference to undeclared block", detail, &hint);
        None
    }
}
