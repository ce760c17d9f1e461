//! `format` and `formatlist`: printf for values.

use fleetform_contract::Value;

use super::arguments::Arguments;
use super::numbers::{Decimal, number_to_text};
use super::types::{text, to_bool, to_number, to_text};
use super::{Function, FunctionError, MAX_TEXT_BYTES, Result, json, strings, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("format", &["format"], "args", |arguments| {
        let template = arguments.text(0)?;
        let values: Vec<&Value> = arguments.all()[1..].iter().collect();
        format(&template, &values).map(text)
    }),
    variadic("formatlist", &["format"], "args", formatlist),
];

/// Widest field and longest fraction.
const MAX_WIDTH: usize = 1 << 16;

fn formatlist(arguments: &Arguments) -> Result<Value> {
    let template = arguments.text(0)?;
    let values = &arguments.all()[1..];
    let mut chooser: Option<(usize, usize)> = None;
    for (index, list) in values.iter().enumerate() {
        let Value::List(list) = list else { continue };
        match chooser {
            Some((first, length)) if length != list.len() => {
                return Err(arguments.wrong(
                    index + 1,
                    format!(
                        "argument {} has length {}, which is inconsistent with argument {} of \
                         length {length}",
                        index + 1,
                        list.len(),
                        first + 1
                    ),
                ));
            }
            Some(_) => {}
            None => chooser = Some((index, list.len())),
        }
    }
    let rows = chooser.map_or(1, |(_, length)| length);
    let mut out = Vec::with_capacity(rows);
    let mut bytes = 0;
    for row in 0..rows {
        let pick = |value: &'_ Value| -> usize { value.as_list().map_or(usize::MAX, |_| row) };
        let row_values: Vec<&Value> = values
            .iter()
            .map(|value| value.as_list().and_then(|list| list.get(pick(value))).unwrap_or(value))
            .collect();
        let line = format(&template, &row_values).map_err(|error| {
            FunctionError::new(format!("error on format iteration {row}: {}", error.message))
        })?;
        bytes += line.len();
        arguments.check_text(bytes)?;
        out.push(text(line));
    }
    Ok(Value::List(out))
}

/// One `%…` of a template.
struct Verb<'a> {
    /// As written, for messages.
    raw: &'a str,
    offset: usize,
    letter: char,
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn format(template: &str, values: &[&Value]) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut next = 0;
    let mut most = 0;
    let mut position = 0;
    while let Some(found) = template[position..].find('%') {
        let start = position + found;
        out.push_str(&template[position..start]);
        if template[start..].starts_with("%%") {
            out.push('%');
            position = start + 2;
            continue;
        }
        let mut reader = Reader { template, start, position: start + 1, next };
        let (verb, argument) = reader.verb()?;
        next = argument + 1;
        most = most.max(next);
        position = reader.position;
        verb.append(argument, values, &mut out)?;
        if out.len() > MAX_TEXT_BYTES {
            return Err(FunctionError::new(format!(
                "The result of \"format\" would be longer than {} MiB.",
                MAX_TEXT_BYTES >> 20
            )));
        }
    }
    out.push_str(&template[position..]);
    if most < values.len() {
        return Err(FunctionError {
            argument: Some(most + 1),
            message: match most {
                0 => "too many arguments; no verbs in format string".to_owned(),
                most => format!("too many arguments; only {most} used by format string"),
            },
        });
    }
    Ok(out)
}

/// Reads one verb of a template.
struct Reader<'a> {
    template: &'a str,
    /// Of the percent sign.
    start: usize,
    position: usize,
    /// The argument that is due.
    next: usize,
}

impl<'a> Reader<'a> {
    /// The verb and its argument, both from here on.
    fn verb(&mut self) -> Result<(Verb<'a>, usize)> {
        let mut verb = Verb {
            raw: "",
            offset: self.start,
            letter: ' ',
            sharp: false,
            zero: false,
            plus: false,
            minus: false,
            space: false,
            width: None,
            precision: None,
        };
        loop {
            match self.peek() {
                Some('#') => verb.sharp = true,
                Some('0') => verb.zero = true,
                Some('+') => verb.plus = true,
                Some('-') => verb.minus = true,
                Some(' ') => verb.space = true,
                _ => break,
            }
            self.position += 1;
        }
        if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            verb.width = Some(self.digits()?);
        }
        if self.take('.') {
            verb.precision = Some(self.digits()?);
        }
        self.argument_index()?;
        let Some(letter) = self.peek() else {
            return Err(FunctionError {
                argument: Some(0),
                message: format!(
                    "invalid format string starting at offset {}: the verb is missing",
                    self.start
                ),
            });
        };
        if !letter.is_ascii_alphabetic() {
            return Err(FunctionError {
                argument: Some(0),
                message: format!(
                    "unrecognized format character \"{letter}\" at offset {}",
                    self.position
                ),
            });
        }
        self.position += 1;
        verb.letter = letter;
        verb.raw = &self.template[self.start..self.position];
        Ok((verb, self.next))
    }

    fn peek(&self) -> Option<char> {
        self.template[self.position..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let taken = self.peek() == Some(wanted);
        if taken {
            self.position += wanted.len_utf8();
        }
        taken
    }

    /// Digits; none are 0.
    fn digits(&mut self) -> Result<usize> {
        let start = self.position;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.position += 1;
        }
        let digits = &self.template[start..self.position];
        let number = if digits.is_empty() { Ok(0) } else { digits.parse::<usize>() };
        number.ok().filter(|number| *number <= MAX_WIDTH).ok_or_else(|| too_wide(start))
    }

    /// `[n]`: the argument to take.
    fn argument_index(&mut self) -> Result<()> {
        let start = self.position;
        if !self.take('[') {
            return Ok(());
        }
        let number = self.digits()?;
        if number == 0 || !self.take(']') {
            return Err(FunctionError {
                argument: Some(0),
                message: format!(
                    "invalid format string: an argument index at offset {start} must be a number \
                     from 1, in brackets"
                ),
            });
        }
        self.next = number - 1;
        Ok(())
    }
}

fn too_wide(offset: usize) -> FunctionError {
    FunctionError {
        argument: Some(0),
        message: format!("the number at offset {offset} of the format is above {MAX_WIDTH}"),
    }
}

impl Verb<'_> {
    fn append(&self, argument: usize, values: &[&Value], out: &mut String) -> Result<()> {
        let (raw, offset) = (self.raw, self.offset);
        let value = *values.get(argument).ok_or_else(|| {
            FunctionError::new(format!(
                "not enough arguments for \"{raw}\" at {offset}: need index {} but have {} total",
                argument + 1,
                values.len()
            ))
        })?;
        let wrong = |why: &str| FunctionError {
            argument: Some(argument + 1),
            message: format!("unsupported value for \"{raw}\" at {offset}: {why}"),
        };
        if self.letter != 'v' && value.is_null() {
            return Err(wrong("null value cannot be formatted"));
        }
        match self.letter {
            'v' => out.push_str(&self.pad(match value {
                Value::String(text) if !self.sharp => text.clone(),
                Value::Number(number) if !self.sharp => {
                    let decimal = Decimal::new(*number);
                    let sign = if decimal.negative { "-" } else { "" };
                    format!("{sign}{}", decimal.general(None, 'e'))
                }
                value => json::encode(value),
            })),
            't' => {
                out.push_str(&to_bool(value).map_err(|why| wrong(&why))?.to_string());
            }
            'b' | 'd' | 'o' | 'x' | 'X' => {
                let number = to_number(value).map_err(|why| wrong(&why))?;
                if number.fract() != 0.0 {
                    return Err(wrong("an integer is required"));
                }
                let digits = self.integer(number).ok_or_else(|| wrong("number is too large"))?;
                out.push_str(&digits);
            }
            'e' | 'E' | 'f' | 'g' | 'G' => {
                let number = to_number(value).map_err(|why| wrong(&why))?;
                out.push_str(&self.float(number));
            }
            's' | 'q' => {
                let whole = to_text(value).ok_or_else(|| wrong("string required"))?;
                let cut = match self.precision {
                    Some(count) if count > 0 => strings::first(&whole, count).to_owned(),
                    _ => whole,
                };
                out.push_str(&self.pad(match self.letter {
                    's' => cut,
                    _ => json::encode(&Value::String(cut)),
                }));
            }
            letter => {
                return Err(FunctionError {
                    argument: Some(0),
                    message: format!(
                        "unsupported format verb '{letter}' in \"{raw}\" at offset {offset}"
                    ),
                });
            }
        }
        Ok(())
    }

    /// Fills a text up to the width, counted in characters.
    fn pad(&self, text: String) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(strings::length(&text));
        let fill = if self.zero { "0" } else { " " }.repeat(missing);
        if self.minus { text + &fill } else { fill + &text }
    }

    /// Fills a number up to the width; zeros stand between its sign and its digits.
    fn pad_number(&self, negative: bool, prefix: &str, digits: &str, zeros: bool) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let length = sign.len() + prefix.len() + digits.len();
        let missing = self.width.unwrap_or(0).saturating_sub(length);
        if self.minus {
            format!("{sign}{prefix}{digits}{}", " ".repeat(missing))
        } else if self.zero && zeros {
            format!("{sign}{prefix}{}{digits}", "0".repeat(missing))
        } else {
            format!("{}{sign}{prefix}{digits}", " ".repeat(missing))
        }
    }

    fn float(&self, number: f64) -> String {
        let mut decimal = Decimal::new(number);
        let places = self.precision.unwrap_or(6);
        let letter = if self.letter.is_ascii_uppercase() { 'E' } else { 'e' };
        let digits = match self.letter {
            'e' | 'E' => {
                decimal.round(places as i64 + 1);
                decimal.scientific(places, letter)
            }
            'f' => {
                decimal.round(i64::from(decimal.point) + places as i64);
                decimal.fixed(places)
            }
            _ => {
                let count = self.precision.map(|precision| precision.max(1));
                if let Some(count) = count {
                    decimal.round(count as i64);
                }
                decimal.general(count, letter)
            }
        };
        self.pad_number(decimal.negative, "", &digits, true)
    }

    /// `None` where the number is too large for its base.
    fn integer(&self, number: f64) -> Option<String> {
        let size = number.abs();
        let mut digits = match self.letter {
            'd' => number_to_text(size),
            _ if size >= 2_f64.powi(127) => return None,
            'b' => format!("{:b}", size as u128),
            'o' => format!("{:o}", size as u128),
            'x' => format!("{:x}", size as u128),
            _ => format!("{:X}", size as u128),
        };
        if let Some(precision) = self.precision {
            digits = "0".repeat(precision.saturating_sub(digits.len())) + &digits;
        }
        let prefix = match self.letter {
            'b' if self.sharp => "0b",
            'o' if self.sharp => "0",
            'x' if self.sharp => "0x",
            'X' if self.sharp => "0X",
            _ => "",
        };
        Some(self.pad_number(number < 0.0, prefix, &digits, self.precision.is_none()))
    }
}
