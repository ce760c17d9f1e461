//! Function calls: what needs expressions rather than values (`try`, `can`, templates, sensitivity)
//! is done here, everything else by [`functions`].

use std::ops::Range;
use std::sync::Arc;

use fleetform_contract::Value;
use hcl_edit::Span as _;
use hcl_edit::expr::FuncCall;

use super::convert::{kind_name, to_text};
use super::expression::{Evaluator, Fault, Frame, Result, Scope, Sight};
use super::{functions, read, syntax, template};
use crate::diagnostic::Diagnostic;

/// Functions of this file.
const SPECIAL: [&str; 7] =
    ["can", "issensitive", "nonsensitive", "sensitive", "templatefile", "templatestring", "try"];

/// Functions that only rearrange their arguments: an unknown or a secret inside one stays inside.
const STRUCTURAL: [&str; 13] = [
    "chunklist",
    "coalescelist",
    "concat",
    "element",
    "keys",
    "length",
    "lookup",
    "merge",
    "reverse",
    "slice",
    "tomap",
    "values",
    "zipmap",
];

struct Argument {
    value: Value,
    range: Option<Range<usize>>,
}

pub(super) fn call(evaluator: &Evaluator, call: &FuncCall, frame: &Frame) -> Result<Value> {
    let mut parts: Vec<&str> = call.name.namespace.iter().map(|part| part.as_str()).collect();
    if parts == ["core"] {
        parts.clear();
    }
    parts.push(call.name.name.as_str());
    let name = parts.join("::");
    let name_span = || frame.span(call.name.name.span());
    if frame.sight == Sight::Constants {
        return Err(Diagnostic::error(
            "Function calls not allowed",
            "Functions cannot be called here: the value is needed before the stack's own.",
        )
        .at(name_span())
        .hint("give the plain value, and compute with it in `locals`")
        .into());
    }
    match name.as_str() {
        "can" => {
            exactly(call, "can", 1, frame)?;
            let Some(argument) = call.args.get(0) else { return Ok(Value::Null) };
            return match evaluator.evaluate(argument, frame) {
                Ok(Value::Unknown(unknown)) => Ok(Value::Unknown(unknown)),
                Ok(_) => Ok(Value::Bool(true)),
                Err(Fault::New(_)) => Ok(Value::Bool(false)),
                Err(reported) => Err(reported),
            };
        }
        "try" => return attempt(evaluator, call, frame),
        _ => {}
    }
    if !SPECIAL.contains(&name.as_str()) && !functions::names().any(|known| known == name) {
        let mut diagnostic = Diagnostic::error(
            "Call to unknown function",
            format!("There is no function named {name:?}."),
        )
        .at(name_span());
        let known = functions::names().chain(SPECIAL);
        if let Some(reason) = functions::left_out(&name) {
            diagnostic.detail = reason.to_owned();
        } else if let Some(near) = super::nearest(&name, known) {
            diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
        }
        return Err(diagnostic.into());
    }
    let arguments = arguments(evaluator, call, frame)?;
    let range = call.span();
    match name.as_str() {
        "sensitive" => {
            exactly(call, "sensitive", 1, frame)?;
            Ok(evaluator.seal(first(arguments)))
        }
        "nonsensitive" => {
            exactly(call, "nonsensitive", 1, frame)?;
            Ok(evaluator.open(first(arguments), frame, range)?.0)
        }
        "issensitive" => {
            exactly(call, "issensitive", 1, frame)?;
            Ok(Value::Bool(matches!(first(arguments), Value::Secret(_))))
        }
        "templatefile" | "templatestring" => {
            exactly(call, &name, 2, frame)?;
            rendered(evaluator, &name, arguments, call, frame)
        }
        _ => plain(evaluator, &name, arguments, call, frame),
    }
}

fn exactly(call: &FuncCall, name: &str, wanted: usize, frame: &Frame) -> Result<()> {
    if call.args.len() == wanted && !call.args.expand_final() {
        return Ok(());
    }
    let summary = if call.args.len() < wanted {
        "Not enough function arguments"
    } else {
        "Too many function arguments"
    };
    let detail = format!("Function {name:?} takes {}.", super::counted(wanted, "argument"));
    Err(Diagnostic::error(summary, detail).at(frame.span(call.span())).into())
}

fn first(arguments: Vec<Argument>) -> Value {
    arguments.into_iter().next().map_or(Value::Null, |argument| argument.value)
}

fn attempt(evaluator: &Evaluator, call: &FuncCall, frame: &Frame) -> Result<Value> {
    let mut failures = Vec::new();
    for argument in call.args.iter() {
        match evaluator.evaluate(argument, frame) {
            Err(Fault::New(diagnostic)) => failures.push(diagnostic.detail),
            other => return other,
        }
    }
    let detail = match failures.len() {
        0 => "Function \"try\" takes at least one argument.".to_owned(),
        _ => format!("No expression succeeded: {}", failures.join(" ")),
    };
    Err(Diagnostic::error("Error in function call", detail).at(frame.span(call.span())).into())
}

fn arguments(evaluator: &Evaluator, call: &FuncCall, frame: &Frame) -> Result<Vec<Argument>> {
    let mut arguments = call
        .args
        .iter()
        .map(|argument| {
            let value = evaluator.evaluate(argument, frame)?;
            Ok(Argument { value, range: argument.span() })
        })
        .collect::<Result<Vec<_>>>()?;
    if !call.args.expand_final() {
        return Ok(arguments);
    }
    let Some(last) = arguments.pop() else { return Ok(arguments) };
    let range = last.range;
    let items = match last.value {
        Value::List(items) => items,
        // The call is unknown, or sealed, as a whole.
        Value::Unknown(unknown) => vec![Value::Unknown(unknown)],
        secret @ Value::Secret(_) => match evaluator.open(secret, frame, range.clone())?.0 {
            Value::List(items) => items.into_iter().map(|item| evaluator.seal(item)).collect(),
            _ => return Err(not_expandable(frame, range)),
        },
        _ => return Err(not_expandable(frame, range)),
    };
    arguments.extend(items.into_iter().map(|value| Argument { value, range: range.clone() }));
    Ok(arguments)
}

fn not_expandable(frame: &Frame, range: Option<Range<usize>>) -> Fault {
    Diagnostic::error(
        "Invalid expanding argument value",
        "The argument before `...` must be a list: its elements become the arguments.",
    )
    .at(frame.span(range))
    .into()
}

fn plain(
    evaluator: &Evaluator,
    name: &str,
    arguments: Vec<Argument>,
    call: &FuncCall,
    frame: &Frame,
) -> Result<Value> {
    let structural = STRUCTURAL.contains(&name);
    for argument in &arguments {
        if let Some(unknown) = unknown_in(&argument.value, structural) {
            return Ok(unknown);
        }
    }
    let mut secret = false;
    let mut values = Vec::with_capacity(arguments.len());
    for argument in &arguments {
        let hidden = match structural {
            true => matches!(argument.value, Value::Secret(_)),
            false => argument.value.has_secret(),
        };
        let value = argument.value.clone();
        secret |= hidden;
        values.push(if hidden {
            evaluator.open(value, frame, argument.range.clone())?.0
        } else {
            value
        });
    }
    let result = functions::call(name, &values, evaluator.context).map_err(|error| {
        let range = match error.argument.and_then(|index| arguments.get(index)) {
            Some(argument) => argument.range.clone(),
            None => call.span(),
        };
        let detail = if secret {
            // Its message may quote what must not be seen.
            format!(
                "Call to function {name:?} failed. Why is hidden, because an argument is sensitive."
            )
        } else {
            format!("Call to function {name:?} failed. {}", error.message)
        };
        Diagnostic::error("Error in function call", detail).at(frame.span(range))
    })?;
    evaluator.pay(&result, frame, call.span())?;
    Ok(evaluator.seal_if(secret, result))
}

fn unknown_in(value: &Value, top_only: bool) -> Option<Value> {
    match value {
        Value::Unknown(_) => Some(value.clone()),
        _ if top_only => None,
        Value::List(items) => items.iter().find_map(|item| unknown_in(item, false)),
        Value::Map(map) => map.values().find_map(|item| unknown_in(item, false)),
        _ => None,
    }
}

/// `templatefile(path, variables)` and `templatestring(text, variables)`.
fn rendered(
    evaluator: &Evaluator,
    name: &str,
    arguments: Vec<Argument>,
    call: &FuncCall,
    frame: &Frame,
) -> Result<Value> {
    let fail = |detail: String| {
        Fault::from(Diagnostic::error("Error in function call", detail).at(frame.span(call.span())))
    };
    if frame.sight == Sight::Template {
        return Err(fail(format!("A template cannot call {name:?}, so that templates end.")));
    }
    let [source, variables] = <[Argument; 2]>::try_from(arguments)
        .map_err(|_| fail(format!("Function {name:?} takes 2 arguments.")))?;
    for value in [&source.value, &variables.value] {
        if let Value::Unknown(unknown) = value {
            return Ok(Value::Unknown(unknown.clone()));
        }
    }
    let (source_value, source_secret) = evaluator.open(source.value, frame, source.range)?;
    let source_text =
        to_text(&source_value).map_err(|error| fail(format!("The first argument: {error}.")))?;
    let hidden = matches!(variables.value, Value::Secret(_));
    let variables = match variables.value {
        secret @ Value::Secret(_) => evaluator.open(secret, frame, variables.range)?.0,
        plain => plain,
    };
    let Value::Map(variables) = variables else {
        return Err(fail(format!(
            "The second argument gives the template its variables and is an object, not {}.",
            kind_name(&variables)
        )));
    };
    let variables: Vec<(String, Value)> = variables
        .into_iter()
        .map(|(name, value)| (name, if hidden { evaluator.seal(value) } else { value }))
        .collect();

    let from_file = name == "templatefile";
    let (file, text): (Arc<str>, Arc<str>) = if from_file {
        let path = evaluator.context.directory.join(&source_text);
        let file: Arc<str> = path.display().to_string().into();
        let text = read::text(&path, &file).map_err(|diagnostic| fail(diagnostic.detail))?;
        evaluator.table.remember(&file, &text);
        (file, text)
    } else {
        ("template".into(), source_text.into())
    };
    // A text that is no file has no place; its mistakes are the call's.
    let place = |mut fault: Fault| {
        if let Fault::New(diagnostic) = &mut fault
            && !from_file
        {
            if source_secret {
                diagnostic.detail =
                    "The template is sensitive, and so is what is wrong with it.".into();
                diagnostic.hint = None;
            }
            diagnostic.span = Some(frame.span(call.span()));
        }
        fault
    };
    let parsed =
        syntax::parse_template(&file, &text).map_err(|diagnostic| place(diagnostic.into()))?;
    let value = bind(&variables, None, &mut |scope| {
        let frame = Frame { file: &file, text: &text, scope, each: None, sight: Sight::Template };
        template::evaluate(evaluator, &parsed, template::Kind::Lines { indented: false }, &frame)
    });
    let value = value.map_err(place)?;
    Ok(evaluator.seal_if(source_secret, value))
}

/// Binds the variables, one scope in another, and does the rest inside.
fn bind(
    variables: &[(String, Value)],
    outer: Option<&Scope>,
    then: &mut dyn FnMut(Option<&Scope>) -> Result<Value>,
) -> Result<Value> {
    match variables.split_first() {
        None => then(outer),
        Some(((name, value), rest)) => bind(rest, Some(&Scope { name, value, outer }), then),
    }
}
