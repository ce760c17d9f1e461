//! YAML, spelled as Terraform spells it.

use fleetform_contract::Value;

use super::numbers::number_to_text;

/// The bytes of indentation in a value's YAML, at most.
pub(super) fn indentation(value: &Value, depth: usize) -> usize {
    2 * (depth + 1)
        + match value {
            Value::String(text) => 2 * (depth + 1) * (text.matches(['\n', ' ']).count()),
            Value::List(items) => items.iter().map(|item| indentation(item, depth + 1)).sum(),
            Value::Map(map) => map.values().map(|item| indentation(item, depth + 1)).sum(),
            _ => 0,
        }
}

/// A YAML text of the value: keys in order, texts quoted or, with line breaks, in blocks.
pub(super) fn encode(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::List(items) if !items.is_empty() => sequence(items, 0, &mut out),
        Value::Map(map) if !map.is_empty() => mapping(map.iter(), 0, &mut out),
        // Go's writer ends a document of a bare word with a line of dots.
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            scalar(value, 0, &mut out);
            out.push_str("\n...\n");
        }
        value => {
            scalar(value, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Items below each other; the place of the first is written already.
fn sequence(items: &[Value], depth: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            indent(depth, out);
        }
        out.push_str("- ");
        match item {
            Value::List(items) if !items.is_empty() => sequence(items, depth + 1, out),
            Value::Map(map) if !map.is_empty() => mapping(map.iter(), depth + 1, out),
            item => {
                scalar(item, depth, out);
                out.push('\n');
            }
        }
    }
}

/// Entries below each other; the place of the first is written already.
fn mapping<'a>(
    entries: impl Iterator<Item = (&'a String, &'a Value)>,
    depth: usize,
    out: &mut String,
) {
    for (index, (key, item)) in entries.enumerate() {
        if index > 0 {
            indent(depth, out);
        }
        if key.len() > MAX_SIMPLE_KEY || key.contains('\n') {
            out.push_str("? ");
            scalar(&Value::from(key), depth, out);
            out.push('\n');
            indent(depth, out);
        } else {
            quote(key, None, out);
        }
        out.push(':');
        match item {
            // A list's dashes stand under the key.
            Value::List(items) if !items.is_empty() => {
                out.push('\n');
                indent(depth, out);
                sequence(items, depth, out);
            }
            Value::Map(map) if !map.is_empty() => {
                out.push('\n');
                indent(depth + 1, out);
                mapping(map.iter(), depth + 1, out);
            }
            item => {
                out.push(' ');
                scalar(item, depth, out);
                out.push('\n');
            }
        }
    }
}

/// Longest key in front of its colon, in bytes; a longer one gets a line of its own.
const MAX_SIMPLE_KEY: usize = 128;

fn scalar(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null | Value::Unknown(_) | Value::Secret(_) => out.push_str("null"),
        Value::Bool(bit) => out.push_str(if *bit { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_to_text(*number)),
        Value::String(text) if fits_block(text) => block(text, depth, out),
        Value::String(text) => quote(text, Some(depth), out),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}

/// Whether a text has several lines and nothing that a block would lose.
fn fits_block(text: &str) -> bool {
    text.contains('\n')
        && !text.ends_with(' ')
        && !text.contains(" \n")
        && text.chars().all(|c| c == '\n' || printable(c))
}

fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// A text of several lines, each on its own, without its last line's end.
fn block(text: &str, depth: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let lines = match text.strip_suffix('\n') {
        None => {
            out.push('-');
            text
        }
        Some(lines) => {
            if lines.is_empty() || lines.ends_with('\n') {
                out.push('+');
            }
            lines
        }
    };
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(depth + 1, out);
            out.push_str(line);
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Lines of a quoted text are broken at the first space behind this column.
const WIDTH: usize = 80;

/// A text in quotes; broken into lines where it stands at a depth, in one line where at none.
fn quote(text: &str, depth: Option<usize>, out: &mut String) {
    let line = out.rfind('\n').map_or(0, |end| end + 1);
    let mut column = out[line..].chars().count() + 1;
    out.push('"');
    let mut after_space = false;
    let mut rest = text.char_indices().peekable();
    while let Some((index, c)) = rest.next() {
        let inside = index > 0 && rest.peek().is_some();
        if c == ' ' {
            match depth {
                Some(depth) if inside && !after_space && column > WIDTH => {
                    out.push('\n');
                    indent(depth + 1, out);
                    column = 2 * (depth + 1);
                    if rest.peek().is_some_and(|(_, next)| *next == ' ') {
                        out.push('\\');
                        column += 1;
                    }
                }
                _ => {
                    out.push(' ');
                    column += 1;
                }
            }
            after_space = true;
            continue;
        }
        after_space = false;
        let before = out.len();
        let short = match c {
            '"' => '"',
            '\\' => '\\',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\u{1b}' => 'e',
            '\u{85}' => 'N',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            c if printable(c) => {
                out.push(c);
                column += 1;
                continue;
            }
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                });
                column += out.len() - before;
                continue;
            }
        };
        out.extend(['\\', short]);
        column += 2;
    }
    out.push('"');
}
