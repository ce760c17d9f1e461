//! What names mean: variables, locals, blocks and their attributes, and the values found for them.
//!
//! A reference names one attribute of a block, so two services may use each other's URL: only what
//! really needs itself is a cycle.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use fleetform_contract::Value;
use hcl_edit::expr::{Expression, TraversalOperator};
use hcl_edit::{Decorated, Span as _};

use super::convert::{kind_name, number_text, to_text};
use super::declare::Declarations;
use super::expression::{Evaluator, Fault, Frame, Result};
use super::fields::{Field, Section};
use super::{Known, nearest, schema};
use crate::diagnostic::{Diagnostic, Span};

/// One value that something may depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Node {
    Variable(String),
    Local(String),
    /// An attribute, or all nested blocks of one kind, of a block by its place in the declarations.
    Field(usize, String),
}

/// What evaluation found for a block.
#[derive(Default)]
pub(super) struct Found {
    /// The instances of a `for_each` with key and value; one without, for a block that has none.
    /// `None` while they are not known, or where they have failed.
    pub instances: Option<Vec<Option<(String, Value)>>>,
    /// Attributes by name, one for each instance.
    pub attributes: BTreeMap<String, Vec<Field>>,
    /// Nested blocks by kind, those of each instance.
    pub sections: BTreeMap<String, Vec<Vec<Section>>>,
}

pub(super) struct Table<'p> {
    pub declarations: &'p Declarations<'p>,
    /// Places of the blocks by kind and label.
    index: BTreeMap<(&'static str, &'p str), usize>,
    /// `None` for a value that has failed.
    pub variables: RefCell<BTreeMap<String, Option<Value>>>,
    pub locals: RefCell<BTreeMap<String, Option<Value>>>,
    pub found: RefCell<Vec<Found>>,
    pub known: &'p Known,
    /// `path.stack`.
    pub directory: String,
    pub environment: Option<String>,
    /// The stack's name.
    pub name: String,
    /// Template files that were read: diagnostics may point into them.
    read: RefCell<BTreeMap<Arc<str>, Arc<str>>>,
}

/// Roots of references that are no blocks.
const ROOTS: [&str; 5] = ["each", "fleetform", "local", "path", "var"];

impl<'p> Table<'p> {
    pub(super) fn new(declarations: &'p Declarations<'p>, known: &'p Known) -> Table<'p> {
        let index = declarations.blocks.iter().enumerate();
        Table {
            declarations,
            index: index.map(|(at, block)| ((block.kind, block.label.as_str()), at)).collect(),
            variables: RefCell::default(),
            locals: RefCell::default(),
            found: RefCell::new(declarations.blocks.iter().map(|_| Found::default()).collect()),
            known,
            directory: String::new(),
            environment: None,
            name: String::new(),
            read: RefCell::default(),
        }
    }

    pub(super) fn remember(&self, file: &Arc<str>, text: &Arc<str>) {
        self.read.borrow_mut().insert(file.clone(), text.clone());
    }

    pub(super) fn remembered(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.read.borrow().clone()
    }

    /// The labels of a kind of block.
    pub(super) fn labels(&self, kind: &str) -> impl Iterator<Item = &'p str> {
        self.declarations
            .blocks
            .iter()
            .filter(move |block| block.kind == kind)
            .map(|b| b.label.as_str())
    }

    /// The instances' names of a service or a job; `None` where there is none of that label.
    pub(super) fn workloads(&self, label: &str) -> Option<Vec<String>> {
        let found = self.found.borrow();
        let at = ["service", "job"].iter().find_map(|kind| self.index.get(&(*kind, label)))?;
        let instances = found[*at].instances.iter().flatten();
        let key = |instance: &'_ Option<(String, Value)>| {
            instance_name(label, instance.as_ref().map(|(key, _)| key.as_str()))
        };
        Some(instances.map(key).collect())
    }

    // --- before evaluation -------------------------------------------------------------------

    /// What a reference depends on; a diagnostic where it names nothing.
    pub(super) fn targets(
        &self,
        root: &str,
        steps: &[Decorated<TraversalOperator>],
        span: Span,
    ) -> std::result::Result<Vec<Node>, Box<Diagnostic>> {
        let first = steps.first().and_then(|step| constant(step.value()));
        let missing = |what: &str, example: &str| {
            let detail = format!("A reference to {what} needs its name.");
            let diagnostic = Diagnostic::error("Invalid reference", detail).at(span.clone());
            Err(Box::new(diagnostic.hint(format!("for example `{example}`"))))
        };
        match root {
            "var" => {
                let Some(name) = first else { return missing("a variable", "var.name") };
                let names = || self.declarations.variables.iter().map(|v| v.label.as_str());
                if names().any(|known| known == name) {
                    return Ok(vec![Node::Variable(name)]);
                }
                Err(undeclared(
                    "Reference to undeclared input variable",
                    format!("An input variable with the name {name:?} has not been declared."),
                    nearest(&name, names()).map(|near| format!("var.{near}")),
                    format!("declare it: `variable \"{name}\" {{ … }}`"),
                    span,
                ))
            }
            "local" => {
                let Some(name) = first else { return missing("a local value", "local.name") };
                if self.declarations.locals.contains_key(&name) {
                    return Ok(vec![Node::Local(name)]);
                }
                let names = self.declarations.locals.keys().map(String::as_str);
                Err(undeclared(
                    "Reference to undeclared local value",
                    format!("A local value with the name {name:?} has not been declared."),
                    nearest(&name, names).map(|near| format!("local.{near}")),
                    "declare it in a `locals` block".into(),
                    span,
                ))
            }
            "each" | "fleetform" | "path" => Ok(Vec::new()),
            _ => match schema::TOP.iter().find(|top| top.referable && top.name == root) {
                None => Err(Box::new(self.unknown_root(root, span))),
                Some(top) => {
                    let Some(label) = first else {
                        return missing(&super::a(root), &format!("{root}.name"));
                    };
                    let Some(at) = self.index.get(&(top.name, label.as_str())) else {
                        return Err(undeclared(
                            "Reference to undeclared block",
                            format!("There is no {root} named {label:?}."),
                            nearest(&label, self.labels(top.name))
                                .map(|near| format!("{root}.{near}")),
                            format!("declare it: `{root} \"{label}\" {{ … }}`"),
                            span,
                        ));
                    };
                    Ok(self.block_targets(*at, &steps[1..]))
                }
            },
        }
    }

    fn unknown_root(&self, root: &str, span: Span) -> Diagnostic {
        let diagnostic = Diagnostic::error(
            "Invalid reference",
            format!("There is nothing named {root:?} to refer to."),
        )
        .at(span);
        let hint = match root {
            "terraform" => Some("the environment's name is `fleetform.env`".to_owned()),
            "count" | "self" => {
                Some("repetition is `for_each`, with `each.key` and `each.value`".into())
            }
            "data" | "module" | "resource" => {
                Some("a stack refers to variables, locals and its own blocks".into())
            }
            _ => {
                let kinds = schema::TOP.iter().filter(|top| top.referable).map(|top| top.name);
                nearest(root, kinds.chain(ROOTS)).map(|near| format!("did you mean `{near}`?"))
            }
        };
        diagnostic.hint(hint.unwrap_or_else(|| "text is written in double quotes".into()))
    }

    /// The fields of a block that the rest of a reference to it needs.
    fn block_targets(&self, at: usize, steps: &[Decorated<TraversalOperator>]) -> Vec<Node> {
        let block = &self.declarations.blocks[at];
        let body = &block.block.body;
        let field = |name: &str| Node::Field(at, name.to_owned());
        // Which instances there are is needed always, and has a node even where it was not said.
        let mut nodes = vec![field("for_each")];
        let mut steps = steps;
        if body.has_attribute("for_each") {
            steps = steps.get(1..).unwrap_or(&[]);
        }
        let name = steps.first().and_then(|step| constant(step.value()));
        match name.as_deref() {
            Some("url") if block.kind == "service" => nodes.push(field("port")),
            Some("url" | "digest") if block.kind == "image" => nodes.push(field("source")),
            Some(name) if schema::computed(block.kind).contains(&name) => {}
            Some(name) => nodes.push(field(name)),
            None => nodes.extend(block.fields.iter().map(|name| field(name))),
        }
        nodes.retain(|node| match node {
            Node::Field(_, name) => {
                name == "for_each" || body.has_attribute(name) || body.has_blocks(name)
            }
            _ => true,
        });
        nodes.dedup();
        nodes
    }

    // --- during evaluation -------------------------------------------------------------------

    /// The value of a name and of the steps that lead to it; how many steps those are.
    pub(super) fn resolve(
        &self,
        evaluator: &Evaluator,
        root: &str,
        steps: &[Decorated<TraversalOperator>],
        range: Option<Range<usize>>,
        frame: &Frame,
    ) -> Result<(Value, usize)> {
        let first = steps.first().and_then(|step| constant(step.value()));
        let fail = |summary: &str, detail: String, hint: &str| {
            let diagnostic = Diagnostic::error(summary, detail).at(frame.span(range.clone()));
            Err(Fault::from(diagnostic.hint(hint)))
        };
        let stored = |values: &RefCell<BTreeMap<String, Option<Value>>>| {
            let name = first.as_deref().ok_or(Fault::Reported)?;
            // What is missing here was reported as undeclared or as part of a cycle.
            let values = values.borrow();
            let value = values.get(name).and_then(Option::as_ref).ok_or(Fault::Reported)?;
            let (value, used) = evaluator.descend(value, &steps[1..], frame)?;
            Ok((value, used + 1))
        };
        match (root, first.as_deref()) {
            ("var", _) => stored(&self.variables),
            ("local", _) => stored(&self.locals),
            ("each", Some(name @ ("key" | "value"))) => match frame.each {
                Some((key, _)) if name == "key" => Ok((Value::from(key), 1)),
                Some((_, value)) => {
                    let (value, used) = evaluator.descend(value, &steps[1..], frame)?;
                    Ok((value, used + 1))
                }
                None => fail(
                    "Reference to \"each\" in context without for_each",
                    "`each` has a meaning only in a block that sets `for_each`.".into(),
                    "set `for_each` in this block",
                ),
            },
            ("each", _) => fail(
                "Invalid \"each\" attribute",
                "`each` has the attributes `key` and `value`.".into(),
                "write `each.key` or `each.value`",
            ),
            ("path", Some("stack")) => Ok((Value::from(&self.directory), 1)),
            ("path", _) => fail(
                "Invalid \"path\" attribute",
                "`path` has the attribute `stack`: the stack's directory.".into(),
                "write `path.stack`",
            ),
            ("fleetform", Some("env")) => {
                Ok((Value::from(self.environment.as_deref().unwrap_or("default")), 1))
            }
            ("fleetform", _) => fail(
                "Invalid \"fleetform\" attribute",
                "`fleetform` has the attribute `env`: the environment's name.".into(),
                "write `fleetform.env`",
            ),
            (kind, Some(label)) => {
                let kind = schema::top(kind).ok_or(Fault::Reported)?.name;
                let at = self.index.get(&(kind, label)).ok_or(Fault::Reported)?;
                self.block(evaluator, *at, &steps[1..], range, frame)
                    .map(|(value, used)| (value, used + 1))
            }
            _ => Err(Fault::Reported),
        }
    }

    fn block(
        &self,
        evaluator: &Evaluator,
        at: usize,
        steps: &[Decorated<TraversalOperator>],
        range: Option<Range<usize>>,
        frame: &Frame,
    ) -> Result<(Value, usize)> {
        let block = &self.declarations.blocks[at];
        let path = block.path();
        let repeated = block.block.body.has_attribute("for_each");
        let found = self.found.borrow();
        let instances = found[at].instances.as_ref().ok_or(Fault::Reported)?;
        let mut used = 0;
        let mut instance = 0;
        if repeated {
            let key = match steps.first().map(|step| step.value()) {
                Some(TraversalOperator::Index(index)) => evaluator.evaluate(index, frame)?,
                Some(TraversalOperator::GetAttr(name)) => Value::from(name.as_str()),
                _ => {
                    let mut map = BTreeMap::new();
                    for (index, key) in instances.iter().enumerate() {
                        let Some((key, _)) = key else { continue };
                        map.insert(key.clone(), self.whole(at, index, frame, range.clone())?);
                    }
                    return Ok((Value::Map(map), 0));
                }
            };
            if let Value::Unknown(_) = key {
                return Ok((key, 1));
            }
            let (key, _) = evaluator.open(key, frame, range.clone())?;
            let key = to_text(&key).unwrap_or_default();
            // Instances are in the order of their keys.
            let place = instances.binary_search_by(|instance| {
                instance.as_ref().map(|(known, _)| known.as_str()).cmp(&Some(key.as_str()))
            });
            let Ok(place) = place else {
                let keys: Vec<&str> =
                    instances.iter().flatten().map(|(key, _)| key.as_str()).collect();
                let known = schema::computed(block.kind).contains(&key.as_str())
                    || block.schema.names().any(|name| name == key);
                let detail = match known {
                    true => format!(
                        "`{path}` has `for_each`, so its attributes are those of one instance."
                    ),
                    false => format!("`{path}` has no instance with that key."),
                };
                let hint = match keys.first() {
                    Some(key) => {
                        format!("keys are {}; for example `{path}[{key:?}]`", keys.join(", "))
                    }
                    None => "its `for_each` is empty".into(),
                };
                let diagnostic = Diagnostic::error("Invalid index", detail);
                return Err(diagnostic.at(frame.span(range)).hint(hint).into());
            };
            instance = place;
            used = 1;
        }
        match steps.get(used).and_then(|step| constant(step.value())) {
            Some(name) => {
                let span = steps[used].span().or(range);
                Ok((self.field(at, instance, &name, frame, span)?, used + 1))
            }
            None => Ok((self.whole(at, instance, frame, range)?, used)),
        }
    }

    /// One attribute of an instance.
    fn field(
        &self,
        at: usize,
        instance: usize,
        name: &str,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<Value> {
        let block = &self.declarations.blocks[at];
        if schema::computed(block.kind).contains(&name) {
            return self.computed(at, instance, name, frame, range);
        }
        let found = self.found.borrow();
        let found = &found[at];
        if let Some(field) = found.attributes.get(name).and_then(|fields| fields.get(instance)) {
            return field.value.clone().ok_or(Fault::Reported);
        }
        if let Some(sections) = found.sections.get(name).and_then(|all| all.get(instance)) {
            return nested(block.schema, name, sections).ok_or(Fault::Reported);
        }
        let body = &block.block.body;
        if body.has_attribute(name) || body.has_blocks(name) {
            // It is there and has no value: it failed, or is in a cycle.
            return Err(Fault::Reported);
        }
        if block.schema.names().any(|known| known == name) {
            return Ok(Value::Null);
        }
        let mut diagnostic = Diagnostic::error(
            "Unsupported attribute",
            format!("`{}` does not have an attribute named {name:?}.", block.path()),
        )
        .at(frame.span(range));
        let names = block.schema.names().chain(schema::computed(block.kind).iter().copied());
        if let Some(near) = nearest(name, names) {
            diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
        }
        Err(diagnostic.into())
    }

    /// The object of everything that is set, and what Fleetform computes.
    fn whole(
        &self,
        at: usize,
        instance: usize,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<Value> {
        let block = &self.declarations.blocks[at];
        let mut map = BTreeMap::new();
        for name in block.fields.iter().filter(|name| **name != "for_each") {
            map.insert((*name).to_owned(), self.field(at, instance, name, frame, range.clone())?);
        }
        for name in schema::computed(block.kind) {
            let value = match self.computed(at, instance, name, frame, range.clone()) {
                Err(Fault::New(_)) => Value::Null,
                other => other?,
            };
            map.insert((*name).to_owned(), value);
        }
        Ok(Value::Map(map))
    }

    fn computed(
        &self,
        at: usize,
        instance: usize,
        name: &str,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<Value> {
        let block = &self.declarations.blocks[at];
        let key = {
            let found = self.found.borrow();
            let instances = found[at].instances.as_ref().ok_or(Fault::Reported)?;
            instances.get(instance).cloned().flatten().map(|(key, _)| key)
        };
        match (block.kind, name) {
            (_, "address") => Ok(Value::from(reference(&block.path(), key.as_deref()))),
            (_, "name") => Ok(Value::from(instance_name(&block.label, key.as_deref()))),
            (_, "namespace") => Ok(Value::from(fleetform_providers::namespace(&self.name))),
            ("service", "url") => match self.field(at, instance, "port", frame, range.clone())? {
                Value::Null => Err(Diagnostic::error(
                    "Service has no port",
                    format!("`{}` has no URL, because it listens on no port.", block.path()),
                )
                .at(frame.span(range))
                .hint("set `port` in the service")
                .into()),
                Value::Unknown(unknown) => Ok(Value::Unknown(unknown)),
                // A port that is none is reported where the service is read.
                port => {
                    let port = super::convert::to_number(&port).unwrap_or_default() as u16;
                    let name = instance_name(&block.label, key.as_deref());
                    Ok(Value::from(fleetform_providers::service_url(&self.name, &name, port)))
                }
            },
            ("image", "url") => self.field(at, instance, "source", frame, range),
            ("image", "digest") => {
                let source = self.field(at, instance, "source", frame, range)?;
                let digest = source.as_str().and_then(|text| text.split_once('@')).map(|(_, d)| d);
                Ok(digest.map_or_else(|| self.later(&block.path(), name), Value::from))
            }
            _ => Ok(self.later(&block.path(), name)),
        }
    }

    /// What is known only after apply, or was found out by then.
    fn later(&self, address: &str, path: &str) -> Value {
        let known = self.known.get(&format!("{address}.{path}")).cloned();
        known.unwrap_or_else(|| Value::unknown(address, path))
    }
}

/// A name given by a step, where no evaluation is needed to know it.
fn constant(step: &TraversalOperator) -> Option<String> {
    match step {
        TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
        TraversalOperator::Index(Expression::String(text)) => Some(text.value().clone()),
        _ => None,
    }
}

fn undeclared(
    summary: &str,
    detail: String,
    near: Option<String>,
    otherwise: String,
    span: Span,
) -> Box<Diagnostic> {
    let hint = near.map_or(otherwise, |near| format!("did you mean `{near}`?"));
    Box::new(Diagnostic::error(summary, detail).at(span).hint(hint))
}

/// Nested blocks as a value: by label, in order, or the only one.
fn nested(schema: &'static schema::Schema, name: &str, sections: &[Section]) -> Option<Value> {
    let kind = schema.block(name)?;
    if kind.labelled {
        let pairs =
            sections.iter().map(|s| Some((s.label.clone()?, section_value(kind.schema, s)?)));
        return pairs.collect::<Option<BTreeMap<_, _>>>().map(Value::Map);
    }
    if kind.repeatable {
        let list = sections.iter().map(|section| section_value(kind.schema, section));
        return list.collect::<Option<Vec<_>>>().map(Value::List);
    }
    section_value(kind.schema, sections.first()?)
}

fn section_value(schema: &'static schema::Schema, section: &Section) -> Option<Value> {
    let mut map = BTreeMap::new();
    for (name, field) in &section.attributes {
        map.insert(name.clone(), field.value.clone()?);
    }
    for (name, sections) in &section.sections {
        map.insert(name.clone(), nested(schema, name, sections)?);
    }
    Some(Value::Map(map))
}

/// `service.chat["eu"]`.
pub(super) fn reference(path: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{path}[{key:?}]"),
        None => path.to_owned(),
    }
}

/// `chat-eu`: the instance's name inside clusters.
pub(crate) fn instance_name(label: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{label}-{}", super::slug(key)),
        None => label.to_owned(),
    }
}

/// A value in a few words, for the lines under a diagnostic: `is "prod"`, `is a list of 3 elements`.
pub(super) fn statement(value: &Value) -> String {
    match value {
        Value::Null => "is null".into(),
        Value::Bool(bit) => format!("is {bit}"),
        Value::Number(number) => format!("is {}", number_text(*number)),
        Value::String(text) if text.chars().count() > 60 => "is a string".into(),
        Value::String(text) => format!("is {text:?}"),
        Value::List(items) if items.is_empty() => "is an empty list".into(),
        Value::List(items) => format!("is a list of {}", super::counted(items.len(), "element")),
        Value::Map(map) if map.is_empty() => "is an empty object".into(),
        Value::Map(map) => format!("is an object with {}", super::counted(map.len(), "attribute")),
        Value::Unknown(_) => format!("is {}", kind_name(value)),
        Value::Secret(_) => "has a sensitive value".into(),
    }
}
