//! Operators and conditionals.

use std::ops::Range;

use fleetform_contract::Value;
use hcl_edit::Span as _;
use hcl_edit::expr::{BinaryOp, BinaryOperator, Conditional, Expression, UnaryOp, UnaryOperator};

use super::convert::{kind_name, to_bool, to_number};
use super::expression::{Evaluator, Fault, Frame, Result};
use super::functions::{self, tidy};
use crate::diagnostic::Diagnostic;

pub(super) fn unary(evaluator: &Evaluator, operation: &UnaryOp, frame: &Frame) -> Result<Value> {
    let range = operation.expr.span();
    let value = evaluator.evaluate(&operation.expr, frame)?;
    if let Value::Unknown(_) = value {
        return Ok(value);
    }
    let (value, secret) = evaluator.open(value, frame, range.clone())?;
    let result = match operation.operator.value() {
        UnaryOperator::Neg => Value::Number(-number(&value, "unary", frame, range)?),
        UnaryOperator::Not => Value::Bool(!bool(&value, "unary", frame, range)?),
    };
    Ok(evaluator.seal_if(secret, result))
}

pub(super) fn binary(evaluator: &Evaluator, operation: &BinaryOp, frame: &Frame) -> Result<Value> {
    let operator = *operation.operator.value();
    let (left_range, right_range) = (operation.lhs_expr.span(), operation.rhs_expr.span());
    let left = evaluator.evaluate(&operation.lhs_expr, frame)?;
    let (left, left_secret) = evaluator.open(left, frame, left_range.clone())?;

    if let BinaryOperator::And | BinaryOperator::Or = operator {
        let decides = operator == BinaryOperator::Or;
        let known = match &left {
            Value::Unknown(_) => None,
            value => Some(bool(value, "left", frame, left_range)?),
        };
        if known == Some(decides) {
            return Ok(evaluator.seal_if(left_secret, Value::Bool(decides)));
        }
        let right = evaluator.evaluate(&operation.rhs_expr, frame)?;
        let (right, right_secret) = evaluator.open(right, frame, right_range.clone())?;
        let secret = left_secret || right_secret;
        if let Value::Unknown(_) = right {
            return Ok(right);
        }
        let right = bool(&right, "right", frame, right_range)?;
        return match (known, left) {
            // An unknown side does not matter where the other side decides.
            (None, unknown) if right != decides => Ok(unknown),
            _ => Ok(evaluator.seal_if(secret, Value::Bool(right))),
        };
    }

    let right = evaluator.evaluate(&operation.rhs_expr, frame)?;
    let (right, right_secret) = evaluator.open(right, frame, right_range.clone())?;
    let secret = left_secret || right_secret;
    if let BinaryOperator::Eq | BinaryOperator::NotEq = operator {
        if let Some(unknown) = first_unknown(&left).or_else(|| first_unknown(&right)) {
            return Ok(unknown.clone());
        }
        let equal = (left == right) == (operator == BinaryOperator::Eq);
        return Ok(evaluator.seal_if(secret, Value::Bool(equal)));
    }
    for side in [&left, &right] {
        if let Value::Unknown(_) = side {
            return Ok(side.clone());
        }
    }
    let left = number(&left, "left", frame, left_range)?;
    let right = number(&right, "right", frame, right_range.clone())?;
    let divisor_is_zero = || {
        Fault::from(
            Diagnostic::error("Division by zero", "The right operand is zero.")
                .at(frame.span(right_range.clone())),
        )
    };
    let result = match operator {
        BinaryOperator::Less => Value::Bool(left < right),
        BinaryOperator::LessEq => Value::Bool(left <= right),
        BinaryOperator::Greater => Value::Bool(left > right),
        BinaryOperator::GreaterEq => Value::Bool(left >= right),
        BinaryOperator::Plus => Value::Number(tidy(left + right)),
        BinaryOperator::Minus => Value::Number(tidy(left - right)),
        BinaryOperator::Mul => Value::Number(tidy(left * right)),
        BinaryOperator::Div if right == 0.0 => return Err(divisor_is_zero()),
        BinaryOperator::Mod if right == 0.0 => return Err(divisor_is_zero()),
        BinaryOperator::Div => Value::Number(tidy(left / right)),
        BinaryOperator::Mod => Value::Number(tidy(left % right)),
        BinaryOperator::Eq | BinaryOperator::NotEq | BinaryOperator::And | BinaryOperator::Or => {
            unreachable!("handled above")
        }
    };
    if matches!(result, Value::Number(number) if !number.is_finite()) {
        return Err(Diagnostic::error(
            "Number out of range",
            "The result is too large for a number.",
        )
        .at(frame.span(left_to_right(operation)))
        .into());
    }
    Ok(evaluator.seal_if(secret, result))
}

fn left_to_right(operation: &BinaryOp) -> Option<Range<usize>> {
    Some(operation.lhs_expr.span()?.start..operation.rhs_expr.span()?.end)
}

fn first_unknown(value: &Value) -> Option<&Value> {
    match value {
        Value::Unknown(_) => Some(value),
        Value::List(items) => items.iter().find_map(first_unknown),
        Value::Map(map) => map.values().find_map(first_unknown),
        _ => None,
    }
}

fn number(value: &Value, side: &str, frame: &Frame, range: Option<Range<usize>>) -> Result<f64> {
    to_number(value).map_err(|error| operand(value, side, &error, frame, range))
}

fn bool(value: &Value, side: &str, frame: &Frame, range: Option<Range<usize>>) -> Result<bool> {
    to_bool(value).map_err(|error| operand(value, side, &error, frame, range))
}

fn operand(
    value: &Value,
    side: &str,
    error: &str,
    frame: &Frame,
    range: Option<Range<usize>>,
) -> Fault {
    let detail = match value {
        Value::Null => format!("Unsuitable value for {side} operand: it is null."),
        _ => format!("Unsuitable value for {side} operand: {error}."),
    };
    let mut diagnostic = Diagnostic::error("Invalid operand", detail).at(frame.span(range));
    if let (Value::String(_), "a number is required") = (value, error) {
        diagnostic = diagnostic.hint("strings are joined in a template: `\"${a}${b}\"`");
    }
    diagnostic.into()
}

pub(super) fn conditional(
    evaluator: &Evaluator,
    conditional: &Conditional,
    frame: &Frame,
) -> Result<Value> {
    let range = conditional.cond_expr.span();
    let condition = evaluator.evaluate(&conditional.cond_expr, frame)?;
    if let Value::Unknown(_) = condition {
        return Ok(condition);
    }
    let (condition, secret) = evaluator.open(condition, frame, range.clone())?;
    let summary = if condition.is_null() { "Null condition" } else { "Incorrect condition type" };
    let chosen = to_bool(&condition).map_err(|_| {
        let detail = match &condition {
            Value::Null => {
                "The condition value is null. Conditions must either be true or false.".into()
            }
            other => format!("The condition must be true or false; it is {}.", kind_name(other)),
        };
        Diagnostic::error(summary, detail).at(frame.span(range))
    })?;
    let (this, other) = if chosen {
        (&conditional.true_expr, &conditional.false_expr)
    } else {
        (&conditional.false_expr, &conditional.true_expr)
    };
    let value = evaluator.evaluate(this, frame)?;
    let value = in_common_type(evaluator, value, this, other, frame)?;
    Ok(evaluator.seal_if(secret, value))
}

/// Both results of a conditional have one type, so that it does not depend on the condition: a
/// number beside a string becomes a string.
fn in_common_type(
    evaluator: &Evaluator,
    value: Value,
    this: &Expression,
    other: &Expression,
    frame: &Frame,
) -> Result<Value> {
    // The side that was not chosen may fail; then it has no type to agree with.
    let Ok(beside) = evaluator.evaluate(other, frame) else {
        return Ok(value);
    };
    match (functions::unify([&value, &beside]), &value, &beside) {
        (Ok(unified), ..) => Ok(unified.into_iter().next().unwrap_or(value)),
        // Terraform wants the same of what is inside; here an object may lack attributes.
        (Err(_), Value::List(_), Value::List(_)) | (Err(_), Value::Map(_), Value::Map(_)) => {
            Ok(value)
        }
        (Err(_), ..) => inconsistent(&value, &beside, this, other, frame),
    }
}

fn inconsistent(
    value: &Value,
    beside: &Value,
    this: &Expression,
    other: &Expression,
    frame: &Frame,
) -> Result<Value> {
    let (this, other) = (this.span().unwrap_or(0..0), other.span().unwrap_or(0..0));
    let range = this.start.min(other.start)..this.end.max(other.end);
    Err(Diagnostic::error(
        "Inconsistent conditional result types",
        format!(
            "The true and false result expressions must have consistent types; one is {}, the other {}.",
            kind_name(value),
            kind_name(beside)
        ),
    )
    .at(frame.span(Some(range)))
    .into())
}
