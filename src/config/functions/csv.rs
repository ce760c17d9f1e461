//! CSV, as strict as Terraform reads it.
//!
//! Not the csv crate, which reads a quote in the middle of a field as text and goes on: a broken file
//! must not become a plan.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use fleetform_contract::Value;

use super::types::text;
use super::{MAX_ELEMENTS, MAX_TEXT_BYTES};

/// A list of a map per line, by the names in the first line.
///
/// # Errors
/// What is wrong with it, and in which line.
pub(super) fn decode(source: &str) -> Result<Value, String> {
    let mut rows = Rows { rest: source.chars().peekable(), line: 1 };
    let (_, names) = rows.next_row()?.ok_or("missing header line")?;
    let mut seen = BTreeMap::new();
    for name in &names {
        if seen.insert(name, ()).is_some() {
            return Err(format!("duplicate column name \"{name}\""));
        }
    }
    // Every line repeats the names.
    let bytes_of_names: usize = names.iter().map(String::len).sum();
    let mut out = Vec::new();
    while let Some((line, fields)) = rows.next_row()? {
        if fields.len() != names.len() {
            return Err(format!("CSV parse error on line {line}: wrong number of fields"));
        }
        if (out.len() + 1).saturating_mul(names.len()) > MAX_ELEMENTS
            || (out.len() + 1).saturating_mul(bytes_of_names) > MAX_TEXT_BYTES
        {
            return Err(format!("there are too many cells from line {line} on"));
        }
        let cells = names.iter().cloned().zip(fields.into_iter().map(text));
        out.push(Value::map(cells));
    }
    Ok(Value::List(out))
}

struct Rows<'a> {
    rest: Peekable<Chars<'a>>,
    /// Counted from 1.
    line: usize,
}

impl Rows<'_> {
    /// The next line that is not empty, with its number.
    fn next_row(&mut self) -> Result<Option<(usize, Vec<String>)>, String> {
        while self.end_of_line() {}
        if self.rest.peek().is_none() {
            return Ok(None);
        }
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            if self.rest.next_if_eq(&',').is_none() {
                self.end_of_line();
                return Ok(Some((line, fields)));
            }
        }
    }

    /// Reads a line's end, where one is next.
    fn end_of_line(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next_if_eq(&'\r');
        let found = ahead.next_if_eq(&'\n').is_some();
        if found {
            self.rest = ahead;
            self.line += 1;
        }
        found
    }

    fn field(&mut self) -> Result<String, String> {
        let mut field = String::new();
        if self.rest.next_if_eq(&'"').is_some() {
            loop {
                if self.end_of_line() {
                    // Also where the file has "\r\n", as Go reads it.
                    field.push('\n');
                    continue;
                }
                match self.rest.next() {
                    Some('"') if self.rest.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err(self.wrong("extraneous or missing \" in quoted-field")),
                }
            }
            if !self.at_end_of_field() {
                return Err(self.wrong("extraneous or missing \" in quoted-field"));
            }
            return Ok(field);
        }
        while !self.at_end_of_field() {
            match self.rest.next() {
                Some('"') => return Err(self.wrong("bare \" in non-quoted-field")),
                Some(c) => field.push(c),
                None => break,
            }
        }
        Ok(field)
    }

    fn at_end_of_field(&self) -> bool {
        let mut ahead = self.rest.clone();
        match ahead.next() {
            None | Some(',' | '\n') => true,
            Some('\r') => ahead.next() == Some('\n'),
            Some(_) => false,
        }
    }

    fn wrong(&self, why: &str) -> String {
        format!("CSV parse error on line {}: {why}", self.line)
    }
}
