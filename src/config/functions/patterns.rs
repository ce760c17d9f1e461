//! Regular expressions, in Go's syntax (RE2).
//!
//! The regex crate speaks almost the same language and has the same promise of linear time. A pattern
//! is rewritten where the two differ: Go's `\d`, `\s`, `\w` and `\b` mean ASCII, `\Q…\E` quotes, `[`,
//! `&&`, `--` and `~~` are plain characters in a class, and a brace that counts nothing is plain too.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use fleetform_contract::Value;
use regex::{Captures, Regex, RegexBuilder};

use super::arguments::Arguments;
use super::types::text;
use super::{Function, FunctionError, Result, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("regex", &["pattern", "string"], regex),
    function("regexall", &["pattern", "string"], regexall),
    function("replace", &["str", "substr", "replace"], replace),
];

/// Most memory of a compiled pattern, in bytes.
const MAX_PROGRAM_BYTES: usize = 4 << 20;

fn regex(arguments: &Arguments) -> Result<Value> {
    let pattern = compile(arguments, 0, &arguments.text(0)?)?;
    let whole = arguments.text(1)?;
    let captures = pattern
        .captures(&whole)
        .ok_or_else(|| FunctionError::new("pattern did not match any part of the given string"))?;
    arguments.check_text(weight(&captures))?;
    Ok(found(&pattern, &captures))
}

fn regexall(arguments: &Arguments) -> Result<Value> {
    let pattern = compile(arguments, 0, &arguments.text(0)?)?;
    let whole = arguments.text(1)?;
    let mut out = Vec::new();
    let (mut elements, mut bytes) = (0, 0);
    for captures in pattern.captures_iter(&whole) {
        elements += captures.len();
        bytes += weight(&captures);
        arguments.check_elements(elements)?;
        arguments.check_text(bytes)?;
        out.push(found(&pattern, &captures));
    }
    Ok(Value::List(out))
}

/// The bytes of all groups: they may overlap.
fn weight(captures: &Captures) -> usize {
    captures.iter().flatten().map(|group| group.len()).sum()
}

fn replace(arguments: &Arguments) -> Result<Value> {
    let (whole, searched) = (arguments.text(0)?, arguments.text(1)?);
    let replacement = arguments.text(2)?;
    if let Some(pattern) = searched.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        let pattern = compile(arguments, 1, pattern)?;
        let references = replacement.matches('$').count();
        let mut out = String::new();
        let mut end = 0;
        for captures in pattern.captures_iter(&whole) {
            let Some(all) = captures.get(0) else { continue };
            out.push_str(&whole[end..all.start()]);
            let longest = captures.iter().flatten().map(|group| group.len()).max().unwrap_or(0);
            let inserted = longest.saturating_mul(references).saturating_add(replacement.len());
            arguments.check_text(out.len().saturating_add(inserted))?;
            captures.expand(&replacement, &mut out);
            end = all.end();
        }
        out.push_str(&whole[end..]);
        arguments.check_text(out.len())?;
        return Ok(text(out));
    }
    let matches = whole.matches(&*searched).count();
    arguments.check_text(whole.len().saturating_add(matches.saturating_mul(replacement.len())))?;
    Ok(text(whole.replace(&*searched, &replacement)))
}

/// What a match gives: the text where the pattern has no groups, else a list of the groups or a map of
/// the named ones.
fn found(pattern: &Regex, captures: &Captures) -> Value {
    let group = |index: usize| captures.get(index).map(|group| group.as_str()).map(text);
    let value = |index: usize| group(index).unwrap_or_default();
    if captures.len() == 1 {
        return value(0);
    }
    let names: Vec<Option<&str>> = pattern.capture_names().skip(1).collect();
    if names.iter().any(Option::is_some) {
        let named = names.iter().enumerate();
        return Value::map(
            named.filter_map(|(index, name)| name.map(|name| (name, value(index + 1)))),
        );
    }
    Value::List((1..captures.len()).map(value).collect())
}

fn compile(arguments: &Arguments, index: usize, pattern: &str) -> Result<Regex> {
    let invalid = |why: &str| arguments.wrong(index, format!("invalid regexp pattern: {why}"));
    let translated = translate(pattern).map_err(|why| invalid(&why))?;
    let regex = RegexBuilder::new(&translated).size_limit(MAX_PROGRAM_BYTES).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => invalid("it is too large"),
        error => {
            // The last line of several says what is wrong.
            let text = error.to_string();
            let cause = text.lines().last().unwrap_or_default().trim();
            invalid(cause.strip_prefix("error: ").unwrap_or(cause))
        }
    })?;
    let names = regex.capture_names().skip(1);
    let (named, unnamed): (Vec<_>, Vec<_>) = names.partition(Option::is_some);
    if index == 0 && !named.is_empty() && !unnamed.is_empty() {
        return Err(invalid("cannot mix both named and unnamed capture groups"));
    }
    Ok(regex)
}

/// A Go pattern as the regex crate writes it, or what Go would not take.
fn translate(pattern: &str) -> std::result::Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    // Whether a repetition ends here: Go refuses another one.
    let mut repeated = false;
    while let Some(c) = rest.next() {
        let repeats = matches!(c, '*' | '+' | '?') || c == '{' && counts(rest.clone());
        if repeats && repeated {
            return Err("invalid nested repetition operator".to_owned());
        }
        repeated = repeats;
        match c {
            '{' if repeats => {
                out.push('{');
                take_until('}', &mut rest, &mut out);
            }
            '{' => out.push_str("\\{"),
            '\\' => escape(&mut rest, &mut out),
            '[' => class(&mut rest, &mut out),
            '(' => {
                out.push('(');
                if rest.next_if_eq(&'?').is_some() {
                    out.push('?');
                    check_flags(rest.clone())?;
                }
            }
            c => out.push(c),
        }
        if repeats && rest.next_if_eq(&'?').is_some() {
            out.push('?');
        }
    }
    Ok(out)
}

/// Refuses the flags that only the regex crate has.
fn check_flags(rest: Peekable<Chars>) -> std::result::Result<(), String> {
    let mut letters =
        rest.take_while(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-' | 'x' | 'u' | 'R'));
    match letters.find(|c| matches!(c, 'x' | 'u' | 'R')) {
        Some(letter) => Err(format!("invalid or unsupported Perl syntax in (?{letter}")),
        None => Ok(()),
    }
}

/// Copies up to a character, and that too.
fn take_until(end: char, rest: &mut Peekable<Chars>, out: &mut String) {
    for c in rest.by_ref() {
        out.push(c);
        if c == end {
            return;
        }
    }
}

/// Whether `{` begins a repetition: `n}`, `n,}` or `n,m}`.
fn counts(mut rest: Peekable<Chars>) -> bool {
    let mut digits = 0;
    while rest.next_if(char::is_ascii_digit).is_some() {
        digits += 1;
    }
    if rest.next_if_eq(&',').is_some() {
        while rest.next_if(char::is_ascii_digit).is_some() {}
    }
    digits > 0 && rest.next() == Some('}')
}

/// What stands behind a backslash, outside of a class.
fn escape(rest: &mut Peekable<Chars>, out: &mut String) {
    match rest.next() {
        Some('d') => out.push_str("[0-9]"),
        Some('D') => out.push_str("[^0-9]"),
        Some('s') => out.push_str("[\\t\\n\\f\\r ]"),
        Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
        Some('w') => out.push_str("[0-9A-Za-z_]"),
        Some('W') => out.push_str("[^0-9A-Za-z_]"),
        Some('b') => out.push_str("(?-u:\\b)"),
        Some('B') => out.push_str("(?-u:\\B)"),
        Some('Q') => {
            while let Some(c) = rest.next() {
                if c == '\\' && rest.next_if_eq(&'E').is_some() {
                    break;
                }
                literal(c, out);
            }
        }
        Some(c) if c.is_ascii_punctuation() => literal(c, out),
        Some(c) => named(c, rest, out),
        // The regex crate says that this is an error.
        None => out.push('\\'),
    }
}

/// `\n`, `\pL`, `\p{Greek}`, `\x{41}`: the same in both, with its name.
fn named(c: char, rest: &mut Peekable<Chars>, out: &mut String) {
    out.extend(['\\', c]);
    if matches!(c, 'p' | 'P' | 'x') && rest.next_if_eq(&'{').is_some() {
        out.push('{');
        take_until('}', rest, out);
    }
}

fn literal(c: char, out: &mut String) {
    // A number says every character without meaning anything else.
    if c.is_ascii_punctuation() {
        let _ = write!(out, "\\x{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

/// A class, its opening bracket read.
fn class(rest: &mut Peekable<Chars>, out: &mut String) {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    // A bracket that comes first is a character of the class.
    let mut first = true;
    while let Some(c) = rest.next() {
        match c {
            ']' if !first => {
                out.push(']');
                return;
            }
            '[' if rest.peek() == Some(&':') => {
                // A named class of ASCII, as it is.
                out.push('[');
                take_until(']', rest, out);
            }
            '\\' => match rest.next() {
                Some('d') => out.push_str("0-9"),
                Some('s') => out.push_str("\\t\\n\\f\\r "),
                Some('w') => out.push_str("0-9A-Za-z_"),
                Some('D') => out.push_str("[^0-9]"),
                Some('S') => out.push_str("[^\\t\\n\\f\\r ]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some(c) if c.is_ascii_punctuation() => literal(c, out),
                Some(c) => named(c, rest, out),
                None => out.push('\\'),
            },
            // Between two characters it is a range; what follows it is its end.
            '-' if !first && rest.peek() != Some(&']') => out.push('-'),
            c => literal(c, out),
        }
        first = false;
    }
}
