//! Expression → [`Value`]: Terraform's expression language over the contract's values.
//!
//! Two values need care everywhere. An unknown goes through: what is computed from it is unknown
//! too. A secret is opened, computed with, and what comes out is sealed again; no text of it gets
//! into a diagnostic, because messages are phrases about kinds, never about contents.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use fleetform_contract::{Unknown, Value, Vault};
use hcl_edit::expr::{Expression, ForExpr, Object, ObjectKey, Traversal, TraversalOperator};
use hcl_edit::{Decorated, Span as _};

use super::convert::{kind_name, to_bool, to_number, to_text};
use super::{functions, operators, table::Table, template};
use crate::diagnostic::{Diagnostic, Span};

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Fault {
    New(Box<Diagnostic>),
    /// What it needs has failed, and the user has been told.
    Reported,
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

impl From<Box<Diagnostic>> for Fault {
    fn from(diagnostic: Box<Diagnostic>) -> Fault {
        Fault::New(diagnostic)
    }
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Fault {
        Fault::New(Box::new(diagnostic))
    }
}

/// Where an expression stands and what it sees beside the stack's own names.
#[derive(Clone, Copy)]
pub(super) struct Frame<'f> {
    pub file: &'f Arc<str>,
    pub text: &'f str,
    pub scope: Option<&'f Scope<'f>>,
    /// `each.key` and `each.value`.
    pub each: Option<(&'f str, &'f Value)>,
    pub sight: Sight,
}

/// What an expression may use beside the names bound around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The stack's names and every function.
    Stack,
    /// A template: every function that does not start another template.
    Template,
    /// Nothing: values of variables and their defaults.
    Constants,
}

/// A name bound by a `for` or given to a template.
pub(super) struct Scope<'f> {
    pub name: &'f str,
    pub value: &'f Value,
    pub outer: Option<&'f Scope<'f>>,
}

impl<'f> Frame<'f> {
    pub(super) fn new(file: &'f Arc<str>, text: &'f str) -> Frame<'f> {
        Frame { file, text, scope: None, each: None, sight: Sight::Stack }
    }

    pub(super) fn span(&self, range: Option<Range<usize>>) -> Span {
        let range = range.unwrap_or(0..0);
        Span { file: self.file.clone(), start: range.start, end: range.end }
    }

    pub(super) fn bound(&self, name: &str) -> Option<&'f Value> {
        let mut scope = self.scope;
        while let Some(here) = scope {
            if here.name == name {
                return Some(here.value);
            }
            scope = here.outer;
        }
        None
    }
}

/// How much one stack may compute: about a second's work. Without it, ten lines of locals that each
/// repeat the one before ten times would fill the memory.
const FUEL: u64 = 20_000_000;
/// What one round of a `for` costs, beside the values in it.
pub(super) const WORK_PER_ITEM: u64 = 8;

pub(super) struct Evaluator<'a> {
    pub table: &'a Table<'a>,
    pub vault: &'a Vault,
    pub context: &'a functions::Context,
    fuel: Cell<u64>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        table: &'a Table<'a>,
        vault: &'a Vault,
        context: &'a functions::Context,
    ) -> Evaluator<'a> {
        Evaluator { table, vault, context, fuel: Cell::new(FUEL) }
    }

    /// Pays for a value that is copied or made.
    pub(super) fn pay(
        &self,
        value: &Value,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<()> {
        self.spend(weight(value), frame, range)
    }

    pub(super) fn spend(
        &self,
        work: u64,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<()> {
        match self.fuel.get().checked_sub(work) {
            Some(left) => {
                self.fuel.set(left);
                Ok(())
            }
            None => {
                self.fuel.set(0);
                Err(Diagnostic::error(
                    "Expression too large",
                    "The values computed so far have more elements than one stack may have.",
                )
                .at(frame.span(range))
                .hint("look for a local that repeats another one many times")
                .into())
            }
        }
    }

    pub(super) fn evaluate(&self, expression: &Expression, frame: &Frame) -> Result<Value> {
        let span = || frame.span(expression.span());
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(bit) => Ok(Value::Bool(*bit.value())),
            Expression::Number(number) => {
                const LARGEST: u64 = 1 << 53;
                let value = number.value().as_f64().unwrap_or(f64::NAN);
                let whole = number
                    .as_repr()
                    .is_none_or(|repr| repr.bytes().all(|b| !matches!(b, b'.' | b'e' | b'E')));
                // As it was written: the double beside 2^53 + 1 is 2^53.
                let size = match (number.value().as_u64(), number.value().as_i64()) {
                    (Some(number), _) => Some(number),
                    (_, Some(number)) => Some(number.unsigned_abs()),
                    _ => None,
                };
                if whole && size.is_none_or(|size| size > LARGEST) {
                    return Err(Diagnostic::error(
                        "Number out of range",
                        "Whole numbers are exact up to 2^53 = 9007199254740992; this one is larger.",
                    )
                    .at(span())
                    .hint("put an identifier in quotes, so that it is a string")
                    .into());
                }
                Ok(Value::Number(value))
            }
            Expression::String(text) => Ok(functions::text(text.value().clone())),
            Expression::Array(array) => array
                .iter()
                .map(|item| self.evaluate(item, frame))
                .collect::<Result<_>>()
                .map(Value::List),
            Expression::Object(object) => self.object(object, frame),
            Expression::StringTemplate(text) => {
                template::evaluate(self, text, template::Kind::Quoted, frame)
            }
            Expression::HeredocTemplate(heredoc) => {
                let start = expression.span().unwrap_or(0..0).start;
                let indented = frame.text.get(start..).is_some_and(|rest| rest.starts_with("<<-"));
                let kind = template::Kind::Lines { indented };
                template::evaluate(self, &heredoc.template, kind, frame)
            }
            Expression::Parenthesis(inner) => self.evaluate(inner.inner(), frame),
            Expression::Variable(name) => {
                let (value, _) = self.name(name.as_str(), &[], expression.span(), frame)?;
                Ok(value)
            }
            Expression::Conditional(conditional) => {
                operators::conditional(self, conditional, frame)
            }
            Expression::FuncCall(call) => super::calls::call(self, call, frame),
            Expression::Traversal(traversal) => self.traversal(traversal, frame),
            Expression::UnaryOp(operation) => operators::unary(self, operation, frame),
            Expression::BinaryOp(operation) => operators::binary(self, operation, frame),
            Expression::ForExpr(expression) => self.for_expression(expression, frame),
        }
    }

    /// The plain value of one that may be or hold secrets, and whether it did.
    pub(super) fn open(
        &self,
        value: Value,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<(Value, bool)> {
        if !value.has_secret() {
            return Ok((value, false));
        }
        match self.vault.open(&value) {
            Ok(plain) => Ok((plain, true)),
            Err(secret) => Err(Diagnostic::error(
                "Sensitive value not available",
                format!("The text of `{}` is not known in this run.", secret.reference),
            )
            .at(frame.span(range))
            .hint("give the variable again")
            .into()),
        }
    }

    /// Hides a result that was computed from secrets. What is unknown inside stays visible as unknown.
    pub(super) fn seal(&self, value: Value) -> Value {
        let plain = self.vault.open(&value).unwrap_or(value);
        match plain {
            Value::Null | Value::Unknown(_) => plain,
            plain if plain.has_unknown() => plain.map_leaves(&mut |leaf| self.seal(leaf.clone())),
            plain => self.vault.seal("expression", plain),
        }
    }

    pub(super) fn seal_if(&self, secret: bool, value: Value) -> Value {
        if secret { self.seal(value) } else { value }
    }

    fn object(&self, object: &Object, frame: &Frame) -> Result<Value> {
        let mut map = BTreeMap::new();
        let mut secret_key = false;
        for (key, item) in object {
            let name = match key {
                ObjectKey::Ident(name) => name.as_str().to_owned(),
                // Not the value: a key without parentheses is a name.
                ObjectKey::Expression(Expression::Null(_)) => "null".to_owned(),
                ObjectKey::Expression(expression) => {
                    let value = self.evaluate(expression, frame)?;
                    if let Value::Unknown(unknown) = value {
                        return Ok(Value::Unknown(unknown));
                    }
                    let (value, secret) = self.open(value, frame, expression.span())?;
                    secret_key |= secret;
                    object_key(&value).map_err(|detail| {
                        Diagnostic::error("Invalid object key", detail)
                            .at(frame.span(expression.span()))
                    })?
                }
            };
            map.insert(name, self.evaluate(item.expr(), frame)?);
        }
        Ok(self.seal_if(secret_key, Value::Map(map)))
    }

    /// A name and the steps after it that belong to it; how many those are.
    fn name(
        &self,
        root: &str,
        steps: &[Decorated<TraversalOperator>],
        range: Option<Range<usize>>,
        frame: &Frame,
    ) -> Result<(Value, usize)> {
        let (value, used) = match frame.bound(root) {
            Some(value) => self.descend(value, steps, frame)?,
            None if frame.sight == Sight::Constants => {
                return Err(Diagnostic::error(
                    "Variables not allowed",
                    "Nothing can be referred to here: the value is needed before the stack's own.",
                )
                .at(frame.span(range))
                .hint("text is written in double quotes")
                .into());
            }
            None if frame.sight == Sight::Template => {
                return Err(Diagnostic::error(
                    "Unknown variable",
                    format!("The template was given no variable named {root:?}."),
                )
                .at(frame.span(range))
                .hint("add it to the object that the call gives to the template")
                .into());
            }
            None => self.table.resolve(self, root, steps, range.clone(), frame)?,
        };
        self.pay(&value, frame, range)?;
        Ok((value, used))
    }

    /// Follows as many steps as lead into what is there already, so that only the end of them is
    /// copied: `local.sizes[each.key]` in ten thousand instances must not copy all sizes each time.
    /// Gives the value there and how many steps that were.
    pub(super) fn descend(
        &self,
        value: &Value,
        steps: &[Decorated<TraversalOperator>],
        frame: &Frame,
    ) -> Result<(Value, usize)> {
        let mut here = value;
        for (used, step) in steps.iter().enumerate() {
            let inner = match (step.value(), here) {
                (TraversalOperator::GetAttr(name), Value::Map(map)) => map.get(name.as_str()),
                (TraversalOperator::Index(expression), _) => {
                    let key = self.evaluate(expression, frame)?;
                    let inner = match (&key, here) {
                        (Value::String(key), Value::Map(map)) => map.get(key),
                        (Value::Number(index), Value::List(items)) if *index >= 0.0 => {
                            items.get(*index as usize).filter(|_| index.fract() == 0.0)
                        }
                        _ => None,
                    };
                    if inner.is_none() {
                        // The key has been evaluated, and must not be again.
                        let value = self.index(here.clone(), key, frame, step.span())?;
                        return Ok((value, used + 1));
                    }
                    inner
                }
                _ => None,
            };
            match inner {
                Some(inner) => here = inner,
                None => return Ok((here.clone(), used)),
            }
        }
        Ok((here.clone(), steps.len()))
    }

    fn traversal(&self, traversal: &Traversal, frame: &Frame) -> Result<Value> {
        let mut steps: &[Decorated<TraversalOperator>] = &traversal.operators;
        let value = match &traversal.expr {
            Expression::Variable(name) => {
                let (value, used) = self.name(name.as_str(), steps, traversal.span(), frame)?;
                steps = &steps[used..];
                value
            }
            other => self.evaluate(other, frame)?,
        };
        self.walk(value, steps, frame)
    }

    /// Follows the steps of a traversal from a value.
    pub(super) fn walk(
        &self,
        mut value: Value,
        steps: &[Decorated<TraversalOperator>],
        frame: &Frame,
    ) -> Result<Value> {
        for (index, step) in steps.iter().enumerate() {
            let rest = &steps[index + 1..];
            let per_item = match step.value() {
                TraversalOperator::AttrSplat(_) => rest
                    .iter()
                    .take_while(|step| matches!(step.value(), TraversalOperator::GetAttr(_)))
                    .count(),
                TraversalOperator::FullSplat(_) => rest
                    .iter()
                    .take_while(|step| {
                        !matches!(
                            step.value(),
                            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_)
                        )
                    })
                    .count(),
                _ => {
                    value = self.step(value, step, frame)?;
                    continue;
                }
            };
            let (each, after) = rest.split_at(per_item);
            let list = self.splat(value, each, frame)?;
            return self.walk(list, after, frame);
        }
        Ok(value)
    }

    fn splat(
        &self,
        value: Value,
        each: &[Decorated<TraversalOperator>],
        frame: &Frame,
    ) -> Result<Value> {
        if let Value::Unknown(_) = value {
            return Ok(value);
        }
        let secret = matches!(value, Value::Secret(_));
        let value = if secret { self.open(value, frame, None)?.0 } else { value };
        let items = match value {
            Value::Null => Vec::new(),
            Value::List(items) => items,
            other => vec![other],
        };
        let items = items.into_iter().map(|item| self.walk(item, each, frame));
        let list = Value::List(items.collect::<Result<_>>()?);
        Ok(self.seal_if(secret, list))
    }

    fn step(
        &self,
        value: Value,
        step: &Decorated<TraversalOperator>,
        frame: &Frame,
    ) -> Result<Value> {
        let range = step.span();
        let key = match step.value() {
            TraversalOperator::GetAttr(name) => {
                return self.attribute(value, name.as_str(), frame, range);
            }
            TraversalOperator::LegacyIndex(index) => Value::Number(*index.value() as f64),
            TraversalOperator::Index(expression) => self.evaluate(expression, frame)?,
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                unreachable!("walk() takes splats itself")
            }
        };
        self.index(value, key, frame, range)
    }

    fn attribute(
        &self,
        value: Value,
        name: &str,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<Value> {
        let fail = |detail: String| {
            Fault::from(
                Diagnostic::error("Unsupported attribute", detail).at(frame.span(range.clone())),
            )
        };
        match value {
            Value::Unknown(unknown) => Ok(Value::Unknown(below(unknown, name))),
            Value::Secret(_) => {
                let (plain, _) = self.open(value, frame, range.clone())?;
                Ok(self.seal(self.attribute(plain, name, frame, range)?))
            }
            Value::Map(mut map) => match map.remove(name) {
                Some(item) => Ok(item),
                None => {
                    let mut diagnostic = Diagnostic::error(
                        "Unsupported attribute",
                        format!("This object does not have an attribute named {name:?}."),
                    )
                    .at(frame.span(range));
                    if let Some(near) = super::nearest(name, map.keys().map(String::as_str)) {
                        diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
                    }
                    Err(diagnostic.into())
                }
            },
            Value::Null => Err(fail(
                "The value before this attribute is null, so it has no attributes.".into(),
            )),
            Value::List(_) => {
                let diagnostic = Diagnostic::error(
                    "Unsupported attribute",
                    "The value before this attribute is a list, which has elements and no attributes.",
                )
                .at(frame.span(range));
                Err(diagnostic
                    .hint(format!("for that attribute of every element, write `[*].{name}`"))
                    .into())
            }
            other => Err(fail(format!(
                "The value before this attribute is {}, which has no attributes.",
                kind_name(&other)
            ))),
        }
    }

    pub(super) fn index(
        &self,
        value: Value,
        key: Value,
        frame: &Frame,
        range: Option<Range<usize>>,
    ) -> Result<Value> {
        let fail = |detail: &str| {
            Fault::from(Diagnostic::error("Invalid index", detail).at(frame.span(range.clone())))
        };
        if let Value::Unknown(unknown) = key {
            return Ok(Value::Unknown(unknown));
        }
        if matches!(value, Value::Secret(_)) || matches!(key, Value::Secret(_)) {
            let (value, _) = self.open(value, frame, range.clone())?;
            let (key, _) = self.open(key, frame, range.clone())?;
            return Ok(self.seal(self.index(value, key, frame, range)?));
        }
        match value {
            Value::Unknown(unknown) => {
                let name = to_text(&key).map_err(|_| fail("A key is a string or a number."))?;
                Ok(Value::Unknown(below(unknown, &name)))
            }
            Value::List(mut items) => {
                let number = to_number(&key)
                    .map_err(|_| fail("An element of a list is chosen by a number."))?;
                if number.fract() != 0.0 || number < 0.0 || number >= items.len() as f64 {
                    return Err(fail(&format!(
                        "The given key does not identify an element: the list has {} and the first is number 0.",
                        super::counted(items.len(), "element"),
                    )));
                }
                Ok(items.swap_remove(number as usize))
            }
            Value::Map(mut map) => {
                let name = to_text(&key)
                    .map_err(|_| fail("An element of an object is chosen by a string."))?;
                map.remove(&name).ok_or_else(|| {
                    fail("The given key does not identify an element in this object.")
                })
            }
            Value::Null => Err(fail("The value is null, so it has no elements.")),
            other => {
                Err(fail(&format!("The value is {}, which has no elements.", kind_name(&other))))
            }
        }
    }

    fn for_expression(&self, expression: &ForExpr, frame: &Frame) -> Result<Value> {
        let intro = &expression.intro;
        let range = intro.collection_expr.span();
        let collection = self.evaluate(&intro.collection_expr, frame)?;
        let mut secret = matches!(collection, Value::Secret(_));
        let collection = match collection {
            Value::Unknown(unknown) => return Ok(Value::Unknown(unknown)),
            // Items go on as secrets, so that nothing inside can print them.
            Value::Secret(_) => match self.open(collection, frame, range.clone())?.0 {
                Value::List(items) => {
                    Value::List(items.into_iter().map(|v| self.seal(v)).collect())
                }
                Value::Map(map) => {
                    Value::Map(map.into_iter().map(|(k, v)| (k, self.seal(v))).collect())
                }
                other => other,
            },
            other => other,
        };
        let pairs: Vec<(Value, Value)> = pairs(collection).map_err(|detail| {
            let summary = "Iteration over non-iterable value";
            Diagnostic::error(summary, detail).at(frame.span(range))
        })?;

        let mut list = Vec::new();
        let mut map: BTreeMap<String, Value> = BTreeMap::new();
        for (key, value) in &pairs {
            self.spend(WORK_PER_ITEM, frame, expression.span())?;
            let outer = intro.key_var.as_ref().map(|name| Scope {
                name: name.as_str(),
                value: key,
                outer: frame.scope,
            });
            let scope = Scope {
                name: intro.value_var.as_str(),
                value,
                outer: outer.as_ref().or(frame.scope),
            };
            let frame = Frame { scope: Some(&scope), ..*frame };
            if let Some(condition) = &expression.cond {
                let range = condition.expr.span();
                let value = self.evaluate(&condition.expr, &frame)?;
                if let Value::Unknown(unknown) = value {
                    return Ok(Value::Unknown(unknown));
                }
                let (value, hidden) = self.open(value, &frame, range.clone())?;
                secret |= hidden;
                let keep = to_bool(&value).map_err(|_| {
                    Diagnostic::error(
                        "Invalid 'for' condition",
                        "The 'if' clause value must be true or false.",
                    )
                    .at(frame.span(range))
                })?;
                if !keep {
                    continue;
                }
            }
            let Some(key_expression) = &expression.key_expr else {
                list.push(self.evaluate(&expression.value_expr, &frame)?);
                continue;
            };
            let key = self.evaluate(key_expression, &frame)?;
            if let Value::Unknown(unknown) = key {
                return Ok(Value::Unknown(unknown));
            }
            let (key, hidden) = self.open(key, &frame, key_expression.span())?;
            secret |= hidden;
            let key = object_key(&key).map_err(|detail| {
                Diagnostic::error("Invalid object key", detail)
                    .at(frame.span(key_expression.span()))
            })?;
            let value = self.evaluate(&expression.value_expr, &frame)?;
            match map.entry(key) {
                Entry::Vacant(entry) if expression.grouping => {
                    entry.insert(Value::List(vec![value]));
                }
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) if expression.grouping => match entry.get_mut() {
                    Value::List(items) => items.push(value),
                    _ => unreachable!("grouping puts lists only"),
                },
                Entry::Occupied(entry) => {
                    let which = match secret {
                        true => "one key".into(),
                        false => format!("the key {:?}", entry.key()),
                    };
                    return Err(Diagnostic::error(
                        "Duplicate object key",
                        format!("Two different items produced {which} in this 'for' expression."),
                    )
                    .at(frame.span(key_expression.span()))
                    .hint("to group the items of one key in a list, write `...` after the value")
                    .into());
                }
            }
        }
        let result =
            if expression.key_expr.is_some() { Value::Map(map) } else { Value::List(list) };
        Ok(self.seal_if(secret, result))
    }
}

/// What a `for` goes through: keys and values, or positions and elements.
pub(super) fn pairs(collection: Value) -> std::result::Result<Vec<(Value, Value)>, String> {
    match collection {
        Value::List(items) => Ok(items
            .into_iter()
            .enumerate()
            .map(|(index, value)| (Value::Number(index as f64), value))
            .collect()),
        Value::Map(map) => {
            Ok(map.into_iter().map(|(key, value)| (Value::String(key), value)).collect())
        }
        Value::Null => {
            Err("A null value cannot be used as the collection in a 'for' expression.".into())
        }
        other => Err(format!(
            "A 'for' expression goes through a list or an object; this is {}.",
            kind_name(&other)
        )),
    }
}

fn object_key(value: &Value) -> std::result::Result<String, &'static str> {
    match value {
        Value::Null => Err("The key is null; a key is a string."),
        other => {
            to_text(other).map_err(|_| "A key is a string, or a number or bool that becomes one.")
        }
    }
}

/// An unknown inside an unknown.
fn below(unknown: Unknown, name: &str) -> Unknown {
    Unknown { path: format!("{}.{name}", unknown.path), ..unknown }
}

/// Elements in a value, and its texts' length in words.
fn weight(value: &Value) -> u64 {
    match value {
        Value::List(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Value::Map(map) => {
            1 + map.iter().map(|(key, item)| 1 + key.len() as u64 / 16 + weight(item)).sum::<u64>()
        }
        Value::String(text) => 1 + text.len() as u64 / 16,
        _ => 1,
    }
}
