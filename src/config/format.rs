//! The canonical form of a text, which is `terraform fmt`'s.
//!
//! Only spaces change, with two exceptions that Terraform makes too: a value that is nothing but an
//! interpolation loses its quotes, and block labels get theirs. The text is cut into tokens, the
//! tokens into lines, and each line into what leads, what is assigned and a comment; then lines are
//! indented by their brackets, tokens spaced by their neighbours, and the cells of neighbouring
//! lines aligned.
//!
//! Invariant: formatting what was formatted changes nothing.

use std::sync::Arc;

use super::scan::{self, Kind};
use super::syntax;
use crate::diagnostic::{Diagnostic, Sources};

/// Formats a text of HCL.
///
/// # Errors
/// Where the text is no HCL; the diagnostics point into a file named `name`.
pub fn format_named(name: &str, text: &str) -> Result<String, super::Failure> {
    let file: Arc<str> = name.into();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let fail = |diagnostic: Box<Diagnostic>| super::Failure {
        sources: Sources { files: [(file.clone(), Arc::from(text))].into() },
        diagnostics: vec![*diagnostic],
    };
    super::on_large_stack(|| syntax::parse(&file, text).map(drop)).map_err(fail)?;
    Ok(formatted(text))
}

/// Formats a text of HCL that has no file.
///
/// # Errors
/// Where the text is no HCL.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    format_named("<stdin>", text).map_err(|failure| failure.diagnostics)
}

/// The text of a file that has been parsed.
fn formatted(text: &str) -> String {
    let scanned = scan::scan(text).unwrap_or_default();
    let tokens = scanned.iter().map(|token| {
        let text = &text[token.start as usize..token.end as usize];
        // Comments carry their line's end, and lose what stands before it.
        let ends = text.ends_with('\n');
        let text = match token.kind {
            Kind::Comment if ends => format!("{}\n", text.trim_end()),
            Kind::Newline => "\n".to_owned(),
            _ => text.to_owned(),
        };
        Token { kind: token.kind, text, spaces: 0 }
    });
    let mut lines = lines(tokens.collect());
    for line in &mut lines {
        quote_labels(line);
        unwrap_interpolation(line);
    }
    let mut lines: Vec<Line> = lines.into_iter().map(Line::cut).collect();
    indent(&mut lines);
    for line in &mut lines {
        space(&mut line.lead);
        space(&mut line.assign);
        if let Some(first) = line.assign.first_mut() {
            first.spaces = 1;
        }
    }
    align(
        &mut lines,
        |line| (!line.assign.is_empty()).then(|| columns(&line.lead)),
        |line, spaces| {
            line.assign[0].spaces = spaces;
        },
    );
    align(
        &mut lines,
        |line| line.comment.as_ref().map(|_| columns(&line.lead) + columns(&line.assign)),
        |line, spaces| {
            if let Some(comment) = &mut line.comment {
                comment.spaces = spaces;
            }
        },
    );
    let mut out = String::with_capacity(text.len());
    for line in &lines {
        for token in line.lead.iter().chain(&line.assign).chain(&line.comment) {
            out.extend(std::iter::repeat_n(' ', token.spaces));
            out.push_str(&token.text);
        }
    }
    out
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    text: String,
    /// Before it.
    spaces: usize,
}

#[derive(Default)]
struct Line {
    lead: Vec<Token>,
    /// From `=` on, where what is assigned ends on this line.
    assign: Vec<Token>,
    comment: Option<Token>,
}

fn lines(tokens: Vec<Token>) -> Vec<Vec<Token>> {
    let mut lines = vec![Vec::new()];
    for token in tokens {
        let ends = token.kind == Kind::Newline
            || (token.kind == Kind::Comment && token.text.ends_with('\n'));
        if let Some(line) = lines.last_mut() {
            line.push(token);
        }
        if ends {
            lines.push(Vec::new());
        }
    }
    lines
}

impl Line {
    fn cut(tokens: Vec<Token>) -> Line {
        let mut line = Line { lead: tokens, ..Line::default() };
        if line.lead.len() > 1 && line.lead.last().is_some_and(|token| token.kind == Kind::Comment)
        {
            line.comment = line.lead.pop();
        }
        let equal = line.lead.iter().skip(1).position(|token| token.kind == Kind::Equal);
        if let Some(at) = equal.map(|at| at + 1)
            && net_brackets(&line.lead[at..]) == 0
        {
            line.assign = line.lead.split_off(at);
        }
        line
    }
}

fn net_brackets(tokens: &[Token]) -> i32 {
    tokens.iter().map(|token| token.kind.bracket_change()).sum()
}

fn columns(tokens: &[Token]) -> usize {
    tokens.iter().map(|token| token.spaces + token.text.chars().count()).sum()
}

/// `service chat {` → `service "chat" {`.
fn quote_labels(line: &mut [Token]) {
    let Some(brace) = line.iter().position(|token| token.kind == Kind::OpenBrace) else { return };
    let labels = |kind: Kind| {
        matches!(kind, Kind::Ident | Kind::OpenQuote | Kind::QuotedText | Kind::CloseQuote)
    };
    if brace < 2 || line[0].kind != Kind::Ident || !line[..brace].iter().all(|t| labels(t.kind)) {
        return;
    }
    for token in &mut line[1..brace] {
        if token.kind == Kind::Ident {
            token.text = format!("\"{}\"", token.text);
            // One token stands for three, and is spaced like a whole string.
            token.kind = Kind::Number;
        }
    }
}

/// `a = "${b}"` → `a = b`.
fn unwrap_interpolation(line: &mut Vec<Token>) {
    let end = line.len()
        - line
            .iter()
            .rev()
            .take_while(|token| matches!(token.kind, Kind::Newline | Kind::Comment))
            .count();
    let kinds: Vec<Kind> = line[..end].iter().map(|token| token.kind).collect();
    let [
        Kind::Ident,
        Kind::Equal,
        Kind::OpenQuote,
        Kind::Interpolation,
        inside @ ..,
        Kind::SequenceEnd,
        Kind::CloseQuote,
    ] = &kinds[..]
    else {
        return;
    };
    let mut quotes = 0;
    for kind in inside {
        match kind {
            Kind::OpenQuote => quotes += 1,
            Kind::CloseQuote => quotes -= 1,
            Kind::Interpolation | Kind::Control | Kind::SequenceEnd | Kind::QuotedText
                if quotes == 0 =>
            {
                return;
            }
            Kind::OpenHeredoc | Kind::Comment => return,
            _ => {}
        }
    }
    if !inside.is_empty() {
        line.drain(end - 2..end);
        line.drain(2..4);
    }
}

/// Indents lines by the brackets that are open. Several brackets opened on one line indent once.
fn indent(lines: &mut [Line]) {
    let mut opened: Vec<i32> = Vec::new();
    let mut heredocs = 0;
    for line in lines {
        let inside_heredoc = heredocs > 0;
        for token in line.lead.iter().chain(&line.assign) {
            match token.kind {
                Kind::OpenHeredoc => heredocs += 1,
                Kind::CloseHeredoc => heredocs -= 1,
                _ => {}
            }
        }
        let Some(first) = line.lead.first_mut() else { continue };
        if inside_heredoc || first.kind == Kind::Newline {
            first.spaces = 0;
            continue;
        }
        let net = net_brackets(&line.lead) + net_brackets(&line.assign);
        let mut closed = -net;
        while closed > 0 {
            match opened.last_mut() {
                None => break,
                Some(last) if closed < *last => {
                    *last -= closed;
                    closed = 0;
                }
                Some(last) => {
                    closed -= *last;
                    opened.pop();
                }
            }
        }
        line.lead[0].spaces = 2 * opened.len();
        if net > 0 {
            opened.push(net);
        }
    }
}

/// Spaces every token but the first by its neighbours.
fn space(tokens: &mut [Token]) {
    for index in 1..tokens.len() {
        let before = index.checked_sub(2).map(|at| &tokens[at]);
        let one = space_between(before, &tokens[index - 1], &tokens[index]);
        tokens[index].spaces = usize::from(one);
    }
}

/// Whether a space stands between two tokens.
fn space_between(before: Option<&Token>, left: &Token, right: &Token) -> bool {
    use Kind::{
        Bang, CloseBrace, CloseHeredoc, CloseQuote, Comma, Dot, DoubleColon, Ellipsis, HeredocText,
        Ident, Minus, Newline, Number, OpenBrace, OpenBracket, OpenHeredoc, OpenParen, OpenQuote,
        QuotedText, SequenceEnd,
    };
    let opens_sequence = |kind: Kind| matches!(kind, Kind::Interpolation | Kind::Control);
    match (left.kind, right.kind) {
        (_, Newline) => false,
        // Calls and namespaces.
        (Ident, OpenParen) | (Ident, DoubleColon) | (DoubleColon, Ident) => false,
        (Dot, _) | (_, Dot) => false,
        (_, Comma | Ellipsis) => false,
        (Comma, _) => true,
        // Inside templates every space is text.
        (QuotedText | HeredocText | OpenQuote | OpenHeredoc, _) => false,
        (_, QuotedText | HeredocText | CloseQuote | CloseHeredoc) => false,
        // `for x in [1]`, where `in` is no name.
        (Ident, _) if left.text == "in" && before.is_some_and(|token| token.kind == Ident) => true,
        (_, OpenBracket)
            if matches!(left.kind, Ident | Number) || left.kind.bracket_change() < 0 =>
        {
            false
        }
        (Bang, _) => false,
        (Minus, _) => before.is_some_and(|token| ends_expression(token.kind)),
        (OpenBrace, CloseBrace) => false,
        (OpenBrace, _) | (_, CloseBrace) => true,
        (kind, OpenBrace) if opens_sequence(kind) => true,
        (SequenceEnd, kind) if opens_sequence(kind) => false,
        (left, _) if left.bracket_change() > 0 => false,
        (_, right) if right.bracket_change() < 0 => false,
        _ => true,
    }
}

/// Whether a minus after it subtracts; else it negates.
fn ends_expression(kind: Kind) -> bool {
    use Kind::*;
    !matches!(
        kind,
        OpenParen
            | OpenBrace
            | OpenBracket
            | Equal
            | Colon
            | Comma
            | Question
            | Plus
            | Star
            | Slash
            | Percent
            | Minus
            | Comparison
            | Logical
            | Bang
    )
}

/// Aligns one cell of neighbouring lines: `width` says how wide what stands before it is, `None`
/// where the line has no such cell.
fn align(
    lines: &mut [Line],
    width: impl Fn(&Line) -> Option<usize>,
    set: impl Fn(&mut Line, usize),
) {
    let mut start = 0;
    while start < lines.len() {
        let widths: Vec<usize> = lines[start..].iter().map_while(&width).collect();
        let widest = widths.iter().max().copied().unwrap_or_default();
        for (line, width) in lines[start..].iter_mut().zip(&widths) {
            set(line, widest - width + 1);
        }
        start += widths.len() + 1;
    }
}

#[cfg(test)]
mod tests;
