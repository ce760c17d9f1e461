//! Variables: their declarations, where their values come from, and their types.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use fleetform_contract::{Value, Vault};
use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::Structure;

use super::convert::{Member, Type, convert, to_bool};
use super::declare::{Declared, span};
use super::expression::{Evaluator, Fault, Frame, Sight};
use super::fields::Notes;
use super::read::{Given, json_values, masked, masked_entirely};
use super::{nearest, syntax};
use crate::diagnostic::{Diagnostic, Span};

/// A declared variable.
pub(super) struct Variable {
    pub name: String,
    pub kind: Type,
    /// `None` where it must be given, or where it failed.
    pub default: Option<Value>,
    /// Whether a value is missing where none is given: a default that failed has been reported.
    pub required: bool,
    pub sensitive: bool,
    pub nullable: bool,
    pub header: Span,
}

impl Variable {
    /// Reads a declaration; what is wrong with it is reported.
    pub(super) fn read(declared: &Declared, evaluator: &Evaluator, notes: &Notes) -> Variable {
        let body = &declared.block.body;
        let frame = Frame {
            sight: Sight::Constants,
            ..Frame::new(&declared.source.file, &declared.source.text)
        };
        let constant = |name: &str| {
            let attribute = body.get_attribute(name)?;
            match evaluator.evaluate(&attribute.value, &frame) {
                Ok(value) => Some(value),
                Err(Fault::New(diagnostic)) => {
                    notes.report(*diagnostic);
                    None
                }
                Err(Fault::Reported) => None,
            }
        };
        let flag = |name: &str, usual: bool| match constant(name) {
            None | Some(Value::Null) => usual,
            Some(value) => to_bool(&value).unwrap_or_else(|error| {
                let range = body.get_attribute(name).and_then(|a| a.value.span());
                let detail = format!("Inappropriate value for attribute {name:?}: {error}.");
                let diagnostic = Diagnostic::error("Incorrect attribute value type", detail);
                notes.report(diagnostic.at(frame.span(range)));
                usual
            }),
        };
        let sensitive = flag("sensitive", false);
        let nullable = flag("nullable", true);
        let kind = match body.get_attribute("type") {
            None => Type::Any,
            Some(attribute) => {
                parse_type(&attribute.value, evaluator, &frame).unwrap_or_else(|d| {
                    notes.report(*d);
                    Type::Any
                })
            }
        };
        let header = declared.header();
        let default = constant("default").and_then(|value| match convert(&value, &kind) {
            Ok(value) => Some(value),
            Err(error) => {
                let range = body.get_attribute("default").and_then(|a| a.value.span());
                // The line of a sensitive default is not for showing.
                let at = if sensitive { header.clone() } else { frame.span(range) };
                let detail =
                    format!("The default value does not fit the variable's type: {error}.");
                notes
                    .report(Diagnostic::error("Invalid default value for variable", detail).at(at));
                None
            }
        });
        if !nullable && default == Some(Value::Null) {
            let detail = "The default is null, and the variable says `nullable = false`.";
            notes.report(
                Diagnostic::error("Invalid default value for variable", detail).at(header.clone()),
            );
        }
        if body.has_attribute("description") {
            constant("description");
        }
        Variable {
            name: declared.label.clone(),
            kind,
            default,
            required: !body.has_attribute("default"),
            sensitive,
            nullable,
            header,
        }
    }
}

/// `list(object({ name = string, size = optional(number, 1) }))`.
fn parse_type(
    expression: &Expression,
    evaluator: &Evaluator,
    frame: &Frame,
) -> Result<Type, Box<Diagnostic>> {
    let fail = |detail: String, hint: Option<String>| {
        let diagnostic = Diagnostic::error("Invalid type specification", detail)
            .at(frame.span(expression.span()));
        Err(Box::new(match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }))
    };
    const SIMPLE: [&str; 4] = ["any", "bool", "number", "string"];
    const COMPLEX: [&str; 5] = ["list", "map", "object", "set", "tuple"];
    match expression {
        Expression::Parenthesis(inner) => parse_type(inner.inner(), evaluator, frame),
        Expression::Variable(name) => match name.as_str() {
            "any" => Ok(Type::Any),
            "bool" => Ok(Type::Bool),
            "number" => Ok(Type::Number),
            "string" => Ok(Type::String),
            // Short forms that Terraform has kept from its beginnings.
            "list" => Ok(Type::List(Box::new(Type::Any))),
            "map" => Ok(Type::Map(Box::new(Type::Any))),
            other => {
                let near = nearest(other, SIMPLE.into_iter().chain(COMPLEX));
                fail(
                    format!("{other:?} is no type."),
                    Some(match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => {
                            format!("types are {}", [&SIMPLE[..], &COMPLEX].concat().join(", "))
                        }
                    }),
                )
            }
        },
        Expression::String(text) => fail(
            "A type is written without quotes.".into(),
            Some(format!("write `{}`", text.value())),
        ),
        Expression::FuncCall(call) => {
            let name = call.name.name.as_str();
            let [argument] = call.args.iter().collect::<Vec<_>>()[..] else {
                return fail(format!("{name}(…) takes one argument."), None);
            };
            let item = || parse_type(argument, evaluator, frame).map(Box::new);
            match (name, argument) {
                ("list", _) => Ok(Type::List(item()?)),
                ("set", _) => Ok(Type::Set(item()?)),
                ("map", _) => Ok(Type::Map(item()?)),
                ("tuple", Expression::Array(kinds)) => {
                    let kinds = kinds.iter().map(|kind| parse_type(kind, evaluator, frame));
                    kinds.collect::<Result<_, _>>().map(Type::Tuple)
                }
                ("tuple", _) => fail("tuple(…) takes a list of types.".into(), None),
                ("object", Expression::Object(object)) => {
                    let mut members = BTreeMap::new();
                    for (key, value) in object {
                        let name = match key {
                            ObjectKey::Ident(name) => name.as_str().to_owned(),
                            ObjectKey::Expression(Expression::String(text)) => text.value().clone(),
                            ObjectKey::Expression(_) => {
                                return fail("An attribute's name is written out.".into(), None);
                            }
                        };
                        members.insert(name, parse_member(value.expr(), evaluator, frame)?);
                    }
                    Ok(Type::Object(members))
                }
                ("object", _) => fail("object(…) takes an object of types.".into(), None),
                ("optional", _) => fail("optional(…) stands in object types only.".into(), None),
                (other, _) => fail(
                    format!("{other:?} is no type."),
                    nearest(other, COMPLEX).map(|near| format!("did you mean `{near}`?")),
                ),
            }
        }
        _ => fail("This is no type.".into(), Some("for example `list(string)`".into())),
    }
}

fn parse_member(
    expression: &Expression,
    evaluator: &Evaluator,
    frame: &Frame,
) -> Result<Member, Box<Diagnostic>> {
    let Expression::FuncCall(call) = expression else {
        return Ok(Member { kind: parse_type(expression, evaluator, frame)?, optional: None });
    };
    if call.name.name.as_str() != "optional" {
        return Ok(Member { kind: parse_type(expression, evaluator, frame)?, optional: None });
    }
    let fail = |detail: String| {
        Box::new(
            Diagnostic::error("Invalid type specification", detail)
                .at(frame.span(expression.span())),
        )
    };
    let arguments: Vec<_> = call.args.iter().collect();
    let (kind, default) = match arguments[..] {
        [kind] => (parse_type(kind, evaluator, frame)?, Value::Null),
        [kind, default] => {
            let default = evaluator.evaluate(default, frame).map_err(|fault| match fault {
                Fault::New(diagnostic) => diagnostic,
                Fault::Reported => fail("The default has no value.".into()),
            })?;
            (parse_type(kind, evaluator, frame)?, default)
        }
        _ => return Err(fail("optional(…) takes a type, and a default if you like.".into())),
    };
    let default = convert(&default, &kind)
        .map_err(|error| fail(format!("The default does not fit the type: {error}.")))?;
    Ok(Member { kind, optional: Some(default) })
}

/// By variable; `None` where there is none and the user has been told.
pub(super) type Values = BTreeMap<String, Option<Value>>;
/// By file.
type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// A value that was given and where; `None` for the command line and the environment.
struct Assigned {
    value: Value,
    span: Option<Span>,
}

/// The final values, secrets sealed; `None` where there is none. Also gives the variable files'
/// texts for diagnostics to show, with everything masked that may be secret.
pub(super) fn assign(
    variables: &[Variable],
    given: &[Given],
    evaluator: &Evaluator,
    vault: &Vault,
    notes: &Notes,
) -> (Values, Texts) {
    let mut texts = BTreeMap::new();
    let mut assigned: BTreeMap<&str, Assigned> = BTreeMap::new();
    for given in given {
        match given {
            Given::File { file, text } => {
                let shown = from_file(variables, file, text, evaluator, notes, &mut assigned);
                texts.insert(file.clone(), shown);
            }
            Given::Option { name, text } => {
                let Some(variable) = variables.iter().find(|v| v.name == *name) else {
                    let detail = format!(
                        "A variable named {name:?} was assigned on the command line, but the stack does not declare a variable of that name."
                    );
                    let hint = match nearest(name, variables.iter().map(|v| v.name.as_str())) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("declare it: `variable \"{name}\" {{ … }}`"),
                    };
                    notes.report(
                        Diagnostic::error("Value for undeclared variable", detail).hint(hint),
                    );
                    continue;
                };
                let origin = format!("-var {name}");
                from_text(variable, text, &origin, evaluator, notes, &mut assigned);
            }
            Given::Environment { name, text } => {
                if let Some(variable) = variables.iter().find(|v| v.name == *name) {
                    let origin = format!("the environment variable of {name}");
                    from_text(variable, text, &origin, evaluator, notes, &mut assigned);
                }
            }
            Given::Value { name, value } => {
                if let Some(variable) = variables.iter().find(|v| v.name == *name) {
                    let value = value.clone();
                    assigned.insert(&variable.name, Assigned { value, span: None });
                }
            }
        }
    }
    let values = variables.iter().map(|variable| {
        let value = settle(variable, assigned.remove(variable.name.as_str()), vault, notes);
        (variable.name.clone(), value)
    });
    (values.collect(), texts)
}

/// Converts and seals the value of one variable, or takes its default.
fn settle(
    variable: &Variable,
    assigned: Option<Assigned>,
    vault: &Vault,
    notes: &Notes,
) -> Option<Value> {
    let name = &variable.name;
    let value = match assigned {
        Some(Assigned { value: Value::Null, .. }) if !variable.nullable => variable.default.clone(),
        Some(Assigned { value, span }) => match convert(&value, &variable.kind) {
            Ok(value) => Some(value),
            Err(error) => {
                let detail = format!("The given value is not suitable for var.{name}: {error}.");
                let diagnostic = Diagnostic::error("Invalid value for input variable", detail)
                    .at(Some(span.unwrap_or_else(|| variable.header.clone())));
                notes.report(diagnostic);
                return None;
            }
        },
        None => variable.default.clone(),
    };
    let Some(value) = value else {
        if !variable.required {
            return None;
        }
        let detail = format!("The input variable {name:?} is not set, and has no default value.");
        let hint =
            format!("give it with `-var {name}=…`, in a *.tfvars file or as FLEETFORM_VAR_{name}");
        notes.report(
            Diagnostic::error("No value for required variable", detail)
                .at(variable.header.clone())
                .hint(hint),
        );
        return None;
    };
    if !variable.sensitive || value.is_null() {
        return Some(value);
    }
    if let Value::Secret(secret) = &value
        && vault.reveal(secret).is_none()
    {
        let detail = format!("The text of `var.{name}` is sensitive, so no plan keeps it.");
        notes.report(
            Diagnostic::error("Sensitive value not available", detail)
                .at(variable.header.clone())
                .hint("give the variable again, as for the plan"),
        );
        return None;
    }
    Some(vault.seal(format!("var.{name}"), value))
}

fn from_text<'v>(
    variable: &'v Variable,
    text: &str,
    origin: &str,
    evaluator: &Evaluator,
    notes: &Notes,
    assigned: &mut BTreeMap<&'v str, Assigned>,
) {
    // As in Terraform: what has a simple or no type is taken as it stands.
    let literal = matches!(variable.kind, Type::Any | Type::String | Type::Number | Type::Bool);
    if literal {
        let value = Value::from(text);
        assigned.insert(&variable.name, Assigned { value, span: None });
        return;
    }
    let file: Arc<str> = origin.into();
    let frame = Frame { sight: Sight::Constants, ..Frame::new(&file, text) };
    let value = syntax::parse_expression(&file, text)
        .map_err(Fault::from)
        .and_then(|expression| evaluator.evaluate(&expression, &frame));
    match value {
        Ok(value) => drop(assigned.insert(&variable.name, Assigned { value, span: None })),
        Err(_) => notes.report(
            Diagnostic::error(
                "Invalid value for input variable",
                format!(
                    "The text given by {origin} is no expression, as the variable's type needs one."
                ),
            )
            .at(variable.header.clone())
            .hint(format!("for example `-var '{}=[\"a\", \"b\"]'`", variable.name)),
        ),
    }
}

/// Takes a file's values; gives the text to show.
fn from_file<'v>(
    variables: &'v [Variable],
    file: &Arc<str>,
    text: &Arc<str>,
    evaluator: &Evaluator,
    notes: &Notes,
    assigned: &mut BTreeMap<&'v str, Assigned>,
) -> Arc<str> {
    let known = |name: &str| variables.iter().find(|variable| variable.name == name);
    let undeclared = |name: &str, span: Option<Span>| {
        let detail =
            format!("{file} assigns a value to {name:?}, which the stack does not declare.");
        let diagnostic = Diagnostic::warning("Value for undeclared variable", detail).at(span);
        notes.report(match nearest(name, variables.iter().map(|v| v.name.as_str())) {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint("remove it, or declare the variable"),
        });
    };
    if file.ends_with(".json") {
        match json_values(file, text) {
            Err(diagnostic) => notes.report(*diagnostic),
            Ok(values) => {
                for (name, value) in values {
                    match known(&name) {
                        Some(variable) => {
                            drop(assigned.insert(&variable.name, Assigned { value, span: None }));
                        }
                        None => undeclared(&name, None),
                    }
                }
            }
        }
        return masked_entirely(text);
    }
    let body = match syntax::parse(file, text) {
        Ok(body) => body,
        Err(mut diagnostic) => {
            if diagnostic.summary == "Invalid syntax" {
                diagnostic.detail = "The line is not as expected.".into();
            }
            notes
                .report((*diagnostic).hint("a variable file has lines of the form `name = value`"));
            return masked_entirely(text);
        }
    };
    let frame = Frame { sight: Sight::Constants, ..Frame::new(file, text) };
    let mut secret: Vec<Range<usize>> = Vec::new();
    for structure in &body {
        let attribute = match structure {
            Structure::Attribute(attribute) => attribute,
            Structure::Block(block) => {
                let detail = format!("{file} has a block; a variable file has values only.");
                notes.report(
                    Diagnostic::error("Invalid variable file", detail)
                        .at(super::declare::header(block, file))
                        .hint("a variable file has lines of the form `name = value`"),
                );
                secret.extend(block.span());
                continue;
            }
        };
        let range = attribute.value.span();
        let variable = known(attribute.key.as_str());
        if variable.is_none_or(|variable| variable.sensitive) {
            secret.extend(range.clone());
        }
        let Some(variable) = variable else {
            undeclared(attribute.key.as_str(), Some(span(file, attribute.key.span())));
            continue;
        };
        match evaluator.evaluate(&attribute.value, &frame) {
            Ok(value) => {
                let span = Some(frame.span(range));
                assigned.insert(&variable.name, Assigned { value, span });
            }
            Err(Fault::New(diagnostic)) => notes.report(*diagnostic),
            Err(Fault::Reported) => {}
        }
    }
    masked(text, &secret)
}
