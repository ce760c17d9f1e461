//! Arithmetic.

use fleetform_contract::Value;

use super::arguments::Arguments;
use super::types::kind;
use super::{Function, FunctionError, Result, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", &["num"], |arguments| arguments.finite(arguments.number(0)?.abs())),
    function("ceil", &["num"], |arguments| arguments.finite(arguments.number(0)?.ceil())),
    function("floor", &["num"], |arguments| arguments.finite(arguments.number(0)?.floor())),
    function("log", &["num", "base"], log),
    variadic("max", &[], "numbers", |arguments| extreme(arguments, f64::max)),
    variadic("min", &[], "numbers", |arguments| extreme(arguments, f64::min)),
    function("parseint", &["number", "base"], parseint),
    function("pow", &["num", "power"], |arguments| {
        arguments.finite(libm::pow(arguments.number(0)?, arguments.number(1)?))
    }),
    function("signum", &["num"], |arguments| Ok(Value::from(arguments.whole(0)?.signum() as i32))),
];

// libm instead of the platform's mathematics, whose last digit differs between platforms.
fn log(arguments: &Arguments) -> Result<Value> {
    arguments.finite(libm::log(arguments.number(0)?) / libm::log(arguments.number(1)?))
}

fn extreme(arguments: &Arguments, choose: fn(f64, f64) -> f64) -> Result<Value> {
    let mut numbers = (0..arguments.len()).map(|index| arguments.number(index));
    let first =
        numbers.next().ok_or_else(|| FunctionError::new("must pass at least one number"))?;
    numbers.try_fold(first?, |best, number| Ok(choose(best, number?))).map(Value::Number)
}

fn parseint(arguments: &Arguments) -> Result<Value> {
    let Value::String(text) = arguments.value(0)? else {
        let kind = kind(arguments.nullable(0));
        return Err(arguments.wrong(0, format!("first argument must be a string, not {kind}")));
    };
    let base = arguments.whole(1)?;
    if !(2..=62).contains(&base) {
        return Err(arguments.wrong(1, "base must be a whole number between 2 and 62 inclusive"));
    }
    let wrong = || {
        let why = format!("cannot parse \"{text}\" as a base {base} integer");
        arguments.wrong(0, why)
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return Err(wrong());
    }
    let mut number = 0.0;
    for digit in digits.chars() {
        let digit = match digit {
            '0'..='9' => i64::from(digit as u8 - b'0'),
            'a'..='z' => i64::from(digit as u8 - b'a') + 10,
            'A'..='Z' if base <= 36 => i64::from(digit as u8 - b'A') + 10,
            'A'..='Z' => i64::from(digit as u8 - b'A') + 36,
            _ => return Err(wrong()),
        };
        if digit >= base {
            return Err(wrong());
        }
        number = number * base as f64 + digit as f64;
    }
    arguments.finite(sign * number)
}
