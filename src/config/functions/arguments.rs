//! The arguments of one call, converted as Terraform converts them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fleetform_contract::Value;

use super::types::{self, kind};
use super::{Context, Function, FunctionError, MAX_ELEMENTS, MAX_TEXT_BYTES, Result, numbers};

/// The arguments of one call; as many as the function's parameters ask for.
pub(super) struct Arguments<'a> {
    function: &'a Function,
    values: &'a [Value],
    pub context: &'a Context,
}

impl<'a> Arguments<'a> {
    pub fn new(
        function: &'a Function,
        values: &'a [Value],
        context: &'a Context,
    ) -> Result<Arguments<'a>> {
        let (name, wanted) = (function.name, function.parameters.len());
        if let Some(missing) = function.parameters.get(values.len()) {
            let least = if function.rest.is_some() { "at least " } else { "" };
            return Err(FunctionError::new(format!(
                "Function \"{name}\" expects {least}{wanted} argument(s). Missing value for \
                 \"{missing}\"."
            )));
        }
        if values.len() > wanted && function.rest.is_none() {
            return Err(FunctionError {
                argument: Some(wanted),
                message: format!("Function \"{name}\" expects only {wanted} argument(s)."),
            });
        }
        Ok(Arguments { function, values, context })
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// An error about one argument.
    pub fn wrong(&self, index: usize, why: impl AsRef<str>) -> FunctionError {
        let parameter = self.function.parameters.get(index).copied().or(self.function.rest);
        let (parameter, why) = (parameter.unwrap_or_default(), why.as_ref());
        FunctionError {
            argument: Some(index),
            message: format!("Invalid value for \"{parameter}\" parameter: {why}."),
        }
    }

    /// All arguments, nulls too.
    pub fn all(&self) -> &'a [Value] {
        self.values
    }

    /// An argument that may be null.
    pub fn nullable(&self, index: usize) -> &'a Value {
        &self.values[index]
    }

    /// An argument that is not null.
    pub fn value(&self, index: usize) -> Result<&'a Value> {
        match &self.values[index] {
            Value::Null => Err(self.wrong(index, "argument must not be null")),
            value => Ok(value),
        }
    }

    pub fn text(&self, index: usize) -> Result<Cow<'a, str>> {
        match self.value(index)? {
            Value::String(text) => Ok(Cow::Borrowed(text)),
            value => match types::to_text(value) {
                Some(text) => Ok(Cow::Owned(text)),
                None => Err(self.wrong(index, format!("string required, not {}", kind(value)))),
            },
        }
    }

    /// A finite number.
    pub fn number(&self, index: usize) -> Result<f64> {
        let value = self.value(index)?;
        types::to_number(value).map_err(|why| self.wrong(index, why))
    }

    pub fn whole(&self, index: usize) -> Result<i64> {
        let number = self.number(index)?;
        Value::Number(number)
            .as_i64()
            .ok_or_else(|| self.wrong(index, "whole number between -2^53 and 2^53 required"))
    }

    /// The elements of a list as they are.
    pub fn list(&self, index: usize) -> Result<&'a [Value]> {
        let value = self.value(index)?;
        let why = || self.wrong(index, format!("list required, not {}", kind(value)));
        value.as_list().ok_or_else(why)
    }

    /// The elements of a list, converted to one type.
    pub fn unified(&self, index: usize) -> Result<Vec<Value>> {
        types::unify(self.list(index)?)
            .map_err(|_| self.wrong(index, "all list elements must have the same type"))
    }

    /// The elements of a list as texts; nulls stay.
    pub fn texts(&self, index: usize) -> Result<Vec<Option<String>>> {
        let convert = |(position, value): (usize, &Value)| match value {
            Value::Null => Ok(None),
            value => types::to_text(value).map(Some).ok_or_else(|| {
                self.wrong(
                    index,
                    format!("element {position}: string required, not {}", kind(value)),
                )
            }),
        };
        self.list(index)?.iter().enumerate().map(convert).collect()
    }

    pub fn map(&self, index: usize) -> Result<&'a BTreeMap<String, Value>> {
        let value = self.value(index)?;
        let why = || self.wrong(index, format!("map required, not {}", kind(value)));
        value.as_map().ok_or_else(why)
    }

    /// Refuses a text of so many bytes before it is made.
    pub fn check_text(&self, bytes: usize) -> Result<()> {
        if bytes <= MAX_TEXT_BYTES {
            return Ok(());
        }
        Err(FunctionError::new(format!(
            "The result of \"{}\" would be longer than {} MiB.",
            self.function.name,
            MAX_TEXT_BYTES >> 20
        )))
    }

    /// Refuses a list of so many elements before it is made.
    pub fn check_elements(&self, elements: usize) -> Result<()> {
        if elements <= MAX_ELEMENTS {
            return Ok(());
        }
        Err(FunctionError::new(format!(
            "The result of \"{}\" would have more than {MAX_ELEMENTS} elements.",
            self.function.name
        )))
    }

    /// The result of a computation, where it is a number at all.
    pub fn finite(&self, number: f64) -> Result<Value> {
        if number.is_finite() {
            // Minus zero would print as "-0".
            return Ok(Value::Number(numbers::tidy(number) + 0.0));
        }
        Err(FunctionError::new(format!(
            "The result of \"{}\" is not a finite number.",
            self.function.name
        )))
    }
}
