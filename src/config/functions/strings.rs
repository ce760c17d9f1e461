//! Text. A character is what a reader sees as one: a grapheme cluster.

use std::borrow::Cow;

use fleetform_contract::Value;
use unicode_segmentation::UnicodeSegmentation;

use super::arguments::Arguments;
use super::types::text;
use super::{Function, FunctionError, Result, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    function("chomp", &["str"], |arguments| {
        Ok(text(arguments.text(0)?.trim_end_matches(['\n', '\r'])))
    }),
    function("endswith", &["str", "suffix"], |arguments| {
        Ok(arguments.text(0)?.ends_with(&*arguments.text(1)?).into())
    }),
    function("indent", &["spaces", "str"], indent),
    variadic("join", &["separator"], "lists", join),
    function("lower", &["str"], |arguments| {
        Ok(text(arguments.text(0)?.chars().map(lower).collect::<String>()))
    }),
    function("split", &["separator", "str"], split),
    function("startswith", &["str", "prefix"], |arguments| {
        Ok(arguments.text(0)?.starts_with(&*arguments.text(1)?).into())
    }),
    function("strcontains", &["str", "substr"], |arguments| {
        Ok(arguments.text(0)?.contains(&*arguments.text(1)?).into())
    }),
    function("strrev", &["str"], |arguments| {
        Ok(text(arguments.text(0)?.graphemes(true).rev().collect::<String>()))
    }),
    function("substr", &["str", "offset", "length"], substr),
    function("title", &["str"], title),
    function("trim", &["str", "cutset"], |arguments| {
        let cutset = arguments.text(1)?;
        Ok(text(arguments.text(0)?.trim_matches(|c| cutset.contains(c))))
    }),
    function("trimprefix", &["str", "prefix"], |arguments| {
        let (whole, prefix) = (arguments.text(0)?, arguments.text(1)?);
        Ok(text(whole.strip_prefix(&*prefix).unwrap_or(&whole)))
    }),
    function("trimspace", &["str"], |arguments| Ok(text(arguments.text(0)?.trim()))),
    function("trimsuffix", &["str", "suffix"], |arguments| {
        let (whole, suffix) = (arguments.text(0)?, arguments.text(1)?);
        Ok(text(whole.strip_suffix(&*suffix).unwrap_or(&whole)))
    }),
    function("upper", &["str"], |arguments| {
        Ok(text(arguments.text(0)?.chars().map(upper).collect::<String>()))
    }),
];

/// How many characters a text has.
pub(super) fn length(text: &str) -> usize {
    if text.is_ascii() && !text.contains('\r') {
        return text.len();
    }
    text.graphemes(true).count()
}

/// The first `count` characters.
pub(super) fn first(text: &str, count: usize) -> &str {
    text.grapheme_indices(true).nth(count).map_or(text, |(end, _)| &text[..end])
}

/// Upper case, one character for one: `ß`, whose upper case is two, stays.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

/// Upper case at the beginning of a word: differs for the letters that are two in one.
fn titlecase(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        c => upper(c),
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn title(arguments: &Arguments) -> Result<Value> {
    let separates = |c: char| {
        if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { c.is_whitespace() }
    };
    let mut starts = true;
    let word = |c: char| {
        let titled = if starts { titlecase(c) } else { c };
        starts = separates(c);
        titled
    };
    Ok(text(arguments.text(0)?.chars().map(word).collect::<String>()))
}

fn indent(arguments: &Arguments) -> Result<Value> {
    let spaces = usize::try_from(arguments.whole(0)?)
        .map_err(|_| arguments.wrong(0, "the number of spaces must not be negative"))?;
    let lines = arguments.text(1)?;
    let breaks = lines.matches('\n').count();
    arguments.check_text(breaks.saturating_mul(spaces).saturating_add(lines.len()))?;
    if breaks == 0 {
        return Ok(text(lines));
    }
    Ok(text(lines.replace('\n', &format!("\n{}", " ".repeat(spaces)))))
}

fn join(arguments: &Arguments) -> Result<Value> {
    let separator = arguments.text(0)?;
    if arguments.len() < 2 {
        return Err(FunctionError::new("at least two arguments are required"));
    }
    let mut parts = Vec::new();
    for index in 1..arguments.len() {
        for (position, part) in arguments.texts(index)?.into_iter().enumerate() {
            parts.push(part.ok_or_else(|| {
                arguments.wrong(
                    index,
                    format!("element {position} is null; cannot concatenate null values"),
                )
            })?);
        }
    }
    let separators = separator.len().saturating_mul(parts.len());
    arguments
        .check_text(parts.iter().map(String::len).sum::<usize>().saturating_add(separators))?;
    Ok(text(parts.join(&separator)))
}

fn split(arguments: &Arguments) -> Result<Value> {
    let (separator, whole) = (arguments.text(0)?, arguments.text(1)?);
    let parts: Vec<Value> = if separator.is_empty() {
        arguments.check_elements(whole.len())?;
        whole.chars().map(text).collect()
    } else {
        arguments.check_elements(whole.matches(&*separator).count())?;
        whole.split(&*separator).map(text).collect()
    };
    Ok(Value::List(parts))
}

fn substr(arguments: &Arguments) -> Result<Value> {
    let whole = arguments.text(0)?;
    let (offset, count) = (arguments.whole(1)?, arguments.whole(2)?);
    let skipped = if offset < 0 {
        // From the end; further back than the beginning is the beginning.
        (length(&whole) as i64 + offset).max(0)
    } else {
        offset
    };
    let start = whole.grapheme_indices(true).nth(usize::try_from(skipped).unwrap_or(usize::MAX));
    let rest = start.map_or("", |(start, _)| &whole[start..]);
    let part = match usize::try_from(count) {
        Ok(count) => first(rest, count),
        Err(_) => rest,
    };
    Ok(text(Cow::Borrowed(part)))
}
