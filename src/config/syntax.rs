//! Text → syntax tree: the one file that asks hcl-edit to parse.

use std::sync::Arc;

use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;
use hcl_edit::template::Template;

use super::scan;
use crate::diagnostic::{Diagnostic, Span};

/// A file's blocks. The scanner goes first: it is not recursive, so it can refuse what would
/// overflow the parser's stack, and it knows better where a quote or a bracket went wrong.
pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Body, Box<Diagnostic>> {
    check(file, text)?;
    hcl_edit::parser::parse_body(text).map_err(|error| unexpected(file, text, &error))
}

/// One expression, as in `-var name=value`.
pub(super) fn parse_expression(file: &Arc<str>, text: &str) -> Result<Expression, Box<Diagnostic>> {
    check(file, text)?;
    hcl_edit::parser::parse_expr(text).map_err(|error| unexpected(file, text, &error))
}

/// A template file.
pub(super) fn parse_template(file: &Arc<str>, text: &str) -> Result<Template, Box<Diagnostic>> {
    // Outside its sequences a template may hold anything, so only their depth can be checked: at
    // most as many as opened before.
    let sequences = text.matches("${").count() + text.matches("%{").count();
    if sequences > scan::MAX_DEPTH {
        let heredoc = format!("<<FLEETFORM-TEMPLATE\n{text}\nFLEETFORM-TEMPLATE\n");
        let shift = heredoc.find('\n').map_or(0, |line| line + 1);
        if let Err(problem) = scan::scan(&heredoc) {
            let span = Span {
                file: file.clone(),
                start: problem.start.saturating_sub(shift).min(text.len()),
                end: problem.end.saturating_sub(shift).min(text.len()),
            };
            return Err(Box::new(Diagnostic::error(problem.summary, problem.detail).at(span)));
        }
    }
    hcl_edit::parser::parse_template(text).map_err(|error| unexpected(file, text, &error))
}

fn check(file: &Arc<str>, text: &str) -> Result<(), Box<Diagnostic>> {
    scan::scan(text).map(drop).map_err(|problem| {
        let span = Span { file: file.clone(), start: problem.start, end: problem.end };
        let diagnostic = Diagnostic::error(problem.summary, problem.detail);
        Box::new(diagnostic.hint(problem.hint).at(span))
    })
}

fn unexpected(file: &Arc<str>, text: &str, error: &hcl_edit::parser::Error) -> Box<Diagnostic> {
    let message = error.message();
    // The parser has read past the letter that is no escape.
    let back = usize::from(message.contains("escape sequence"));
    let mut start = error.location().offset().min(text.len()).saturating_sub(back);
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    // The word that was not expected, or the one character.
    let rest = &text[start..];
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let length =
        word.max(rest.chars().next().map_or(0, |c| if c == '\n' { 0 } else { c.len_utf8() }));
    let span = Span { file: file.clone(), start, end: start + length };
    let diagnostic = if message.contains("redefined attribute") {
        Diagnostic::error("Attribute redefined", "The attribute was set above already.")
            .hint("remove one of the two")
    } else if message.contains("redefined object key") {
        Diagnostic::error("Duplicate object key", "The key was given above already.")
            .hint("remove one of the two")
    } else if message.contains("nested levels") || message.contains("chained binary operators") {
        Diagnostic::error(
            "Nested too deeply",
            "The expression has more levels than 64, or more than 128 operators in a row.",
        )
        .hint("give a part of it a name in `locals` and use that")
    } else {
        let diagnostic = Diagnostic::error("Invalid syntax", in_words(message));
        if rest.starts_with(',') || text[..start].trim_end_matches([' ', '\t']).ends_with(',') {
            diagnostic.hint("in a block each attribute has a line of its own, without commas")
        } else {
            diagnostic
        }
    };
    Box::new(diagnostic.at(span))
}

/// The parser's message as a sentence; lists of everything that could have stood there help nobody.
fn in_words(message: &str) -> String {
    if message.starts_with("invalid expression") {
        return "A value is expected here.".into();
    }
    match message {
        "expected newline or eof" => "The line should end here.".into(),
        "unexpected token" => "This is not expected here.".into(),
        _ => {
            let mut detail = format!("{message}.");
            if let Some(first) = detail.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            detail
        }
    }
}
