//! `lifecycle` blocks of services and jobs: what is left as it is.

use fleetform_contract::Value;
use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, TraversalOperator};

use super::expression::Frame;
use super::fields::{Notes, Reader};
use super::{Ignored, nearest};
use crate::diagnostic::Diagnostic;

const ALL: &str = "all";

/// The names in an expression: `"all"`, or a list of lists of their parts.
pub(super) fn names(expression: &Expression, frame: &Frame, notes: &Notes) -> Option<Value> {
    let wrong = |expression: &Expression| {
        let diagnostic = Diagnostic::error(
            "Not a list of attributes",
            "\"ignore_changes\" is `all`, or a list of attributes, written as they are: no quotes around them, nothing computed in them.",
        )
        .at(frame.span(expression.span()));
        notes.report(diagnostic.hint("for example `ignore_changes = [image, env[\"LOG_LEVEL\"]]`"));
    };
    match expression {
        Expression::Variable(name) if name.as_str() == ALL => Some(Value::from(ALL)),
        Expression::Array(items) => {
            let mut names = Vec::new();
            for item in items {
                match parts(item) {
                    Some(parts) => names.push(Value::list(parts)),
                    None => wrong(item),
                }
            }
            Some(Value::List(names))
        }
        other => {
            wrong(other);
            None
        }
    }
}

/// `env["TOKEN"]`: `env`, `TOKEN`.
fn parts(expression: &Expression) -> Option<Vec<String>> {
    let traversal = match expression {
        Expression::Variable(name) => return Some(vec![name.as_str().to_owned()]),
        Expression::Traversal(traversal) => traversal,
        _ => return None,
    };
    let Expression::Variable(root) = &traversal.expr else { return None };
    let mut parts = vec![root.as_str().to_owned()];
    for step in &traversal.operators {
        parts.push(match step.value() {
            TraversalOperator::GetAttr(name) => name.as_str().to_owned(),
            TraversalOperator::Index(Expression::String(key)) => key.as_str().to_owned(),
            TraversalOperator::Index(Expression::Number(number)) => number.value().to_string(),
            _ => return None,
        });
    }
    Some(parts)
}

/// What a workload's block says of it.
pub(super) fn ignored(workload: &Reader) -> Ignored {
    let read = workload.block("lifecycle", |lifecycle| {
        let names = match lifecycle.any("ignore_changes") {
            Some(Value::String(_)) => return Ignored::All,
            Some(names) => names.as_list().unwrap_or_default(),
            None => &[],
        };
        let mut places = Vec::new();
        for name in names {
            let parts = name.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
            let parts: Vec<String> = parts.map(str::to_owned).collect();
            match fleetform_providers::places(&parts) {
                Some(_) if is_secret(workload, &parts) => lifecycle.fail(
                    "ignore_changes",
                    "Cannot be ignored",
                    format!("The secrets of \"env\" are in one object: {:?} alone cannot be left as it is.", parts[1]),
                    "ignore all of `env`",
                ),
                Some(found) => {
                    let found = found.into_iter();
                    places.extend(found.map(|(kind, path)| (kind.to_owned(), path)));
                }
                None => unknown(&lifecycle, &parts),
            }
        }
        Ignored::Places(places)
    });
    read.unwrap_or(Ignored::Places(Vec::new()))
}

/// Whether it is a variable of the environment whose text is a secret.
fn is_secret(workload: &Reader, parts: &[String]) -> bool {
    let [env, name] = parts else { return false };
    env == "env"
        && workload
            .any("env")
            .and_then(|env| env.as_map()?.get(name))
            .is_some_and(Value::has_secret)
}

fn unknown(lifecycle: &Reader, parts: &[String]) {
    let name = parts.join(".");
    let known = fleetform_providers::IGNORABLE;
    let hint = match nearest(&parts[0], known) {
        Some(near) if near != parts[0] => format!("did you mean `{near}`?"),
        _ => format!(
            "these can be: {}; and what is in an object, as `kubernetes_service.spec.type`",
            known.join(", ")
        ),
    };
    let detail = format!("`{name}` is no attribute whose changes can be ignored.");
    lifecycle.fail("ignore_changes", "Cannot be ignored", detail, &hint);
}
