//! Diagnostics as people and programs read them: Terraform's box and Terraform's JSON, with our hint.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::Paint;
use crate::diagnostic::{Diagnostic, Sources, Span};

#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub paint: Paint,
    /// Columns.
    pub width: usize,
}

/// The text, with the box where there is colour and without its bars where there is none.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, style: Style) -> String {
    let paint = style.paint;
    let colour =
        |text: &str| if diagnostic.is_error() { paint.red(text) } else { paint.yellow(text) };
    let word = if diagnostic.is_error() { "Error:" } else { "Warning:" };
    let mut lines =
        vec![format!("{} {}", paint.bold(&colour(word)), paint.bold(&diagnostic.summary))];
    lines.push(String::new());
    if let Some(place) = diagnostic.span.as_ref().and_then(|span| Place::of(span, sources)) {
        let context = place.context.map(|c| format!(", in {c}")).unwrap_or_default();
        lines.push(format!("  on {} line {}{context}:", place.file, place.line));
        let number = format!("{:4}: ", place.line);
        lines.push(format!("{number}{}", place.text));
        let before: String = place.text.chars().take(place.column).map(blank).collect();
        let marks = "^".repeat(place.length.max(1));
        lines.push(format!("{}{before}{}", " ".repeat(number.len()), colour(&marks)));
        if !diagnostic.values.is_empty() {
            lines.push("    ├────────────────".to_owned());
            for (name, value) in &diagnostic.values {
                lines.push(format!("    │ {name} {value}"));
            }
        }
        lines.push(String::new());
    } else if let Some(address) = &diagnostic.address {
        lines.push(format!("  with {address}"));
        lines.push(String::new());
    }
    let width = style.width.clamp(40, 100) - 2;
    lines.extend(wrap(&diagnostic.detail, width));
    if let Some(hint) = &diagnostic.hint {
        lines.push(String::new());
        lines.extend(wrap(&format!("hint: {hint}"), width));
    }
    let mut text = String::new();
    match paint {
        Paint::Plain => {
            for line in lines {
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        Paint::Colour => {
            let _ = writeln!(text, "{}", colour("╷"));
            for line in lines {
                let _ = writeln!(text, "{}", format!("{} {line}", colour("│")).trim_end());
            }
            let _ = writeln!(text, "{}", colour("╵"));
        }
    }
    text
}

/// Terraform's layout of a diagnostic, with `hint` beside it.
pub fn json(diagnostic: &Diagnostic, sources: &Sources) -> Json {
    let mut out = json!({
        "severity": if diagnostic.is_error() { "error" } else { "warning" },
        "summary": diagnostic.summary,
        "detail": diagnostic.detail,
    });
    if let Some(address) = &diagnostic.address {
        out["address"] = address.clone().into();
    }
    if let Some(hint) = &diagnostic.hint {
        out["hint"] = hint.clone().into();
    }
    let Some(span) = &diagnostic.span else { return out };
    let Some(text) = sources.files.get(&span.file) else { return out };
    let position = |at: usize| {
        let (line, column) = line_and_column(text, at);
        json!({ "line": line, "column": column, "byte": at.min(text.len()) })
    };
    out["range"] = json!({
        "filename": &*span.file,
        "start": position(span.start),
        "end": position(span.end),
    });
    if let Some(place) = Place::of(span, sources) {
        out["snippet"] = json!({
            "context": place.context,
            "code": place.text,
            "start_line": place.line,
            "highlight_start_offset": place.offset,
            "highlight_end_offset": place.offset + place.bytes,
            "values": diagnostic.values.iter()
                .map(|(name, value)| json!({ "traversal": name, "statement": value }))
                .collect::<Vec<_>>(),
        });
    }
    out
}

/// A span's first line.
struct Place {
    file: String,
    /// From 1.
    line: usize,
    text: String,
    /// Of the block around it: `service "chat"`.
    context: Option<String>,
    /// Characters before the marked ones, and how many are marked.
    column: usize,
    length: usize,
    /// The same in bytes.
    offset: usize,
    bytes: usize,
}

/// Longer lines are cut around what is marked: nobody reads a line of a megabyte.
const LONGEST_LINE: usize = 160;

impl Place {
    fn of(span: &Span, sources: &Sources) -> Option<Place> {
        let text = sources.files.get(&span.file)?;
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let (line, _) = line_and_column(text, start);
        let whole = text[line_start..line_end].trim_end_matches('\r');
        let offset = (start - line_start).min(whole.len());
        let bytes = end.min(line_end).saturating_sub(start).min(whole.len() - offset);
        let mut place = Place {
            file: span.file.to_string(),
            line,
            text: whole.to_owned(),
            context: context(text, line_start, start),
            column: whole[..offset].chars().count(),
            length: whole[offset..offset + bytes].chars().count(),
            offset,
            bytes,
        };
        if place.text.chars().count() > LONGEST_LINE {
            place.cut();
        }
        Some(place)
    }

    fn cut(&mut self) {
        let from = self.column.saturating_sub(LONGEST_LINE / 2);
        let kept: String = self.text.chars().skip(from).take(LONGEST_LINE).collect();
        self.column -= from;
        self.length = self.length.min(LONGEST_LINE - self.column.min(LONGEST_LINE));
        self.offset = kept.chars().take(self.column).map(char::len_utf8).sum();
        self.bytes = kept.chars().skip(self.column).take(self.length).map(char::len_utf8).sum();
        self.text = kept;
    }
}

/// The heading of the top-level block that the place is in: the nearest line above without indent
/// that opens a block.
fn context(text: &str, line_start: usize, start: usize) -> Option<String> {
    let heading = |line: &str| {
        let line = line.trim_end();
        let opens = line.strip_suffix('{')?.trim_end();
        let starts_block = line.starts_with(|c: char| c.is_alphabetic());
        (starts_block && !opens.contains('=') && !opens.is_empty()).then(|| opens.to_owned())
    };
    // A mark in the heading itself needs no context.
    let own_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if heading(&text[line_start..own_end]).is_some() {
        return None;
    }
    for line in text[..line_start].lines().rev() {
        if line.starts_with('}') {
            return None;
        }
        if let Some(heading) = heading(line) {
            return Some(heading);
        }
    }
    None
}

/// From 1; columns in characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

fn blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

/// Breaks text at spaces; lines that are indented or have no spaces stay as they are.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        if paragraph.starts_with(' ') {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        let mut sources = Sources::default();
        sources.files.insert("main.hcl".into(), text.into());
        sources
    }

    #[test]
    fn the_box_shows_the_place_and_the_hint() {
        let text = "cloud \"x\" {\n}\n\nservice \"chat\" {\n  resources {\n    gpus = 16\n  }\n}\n";
        let start = text.find("16").expect("it is there");
        let diagnostic = Diagnostic::error("No offering fits", "No node holds one replica.")
            .at(Span { file: "main.hcl".into(), start, end: start + 2 })
            .hint("allow another region");
        let style = Style { paint: Paint::Plain, width: 80 };
        insta::assert_snapshot!(render(&diagnostic, &sources(text), style), @r#"
        Error: No offering fits

          on main.hcl line 6, in service "chat":
           6:     gpus = 16
                         ^^

        No node holds one replica.

        hint: allow another region
        "#);
        let json = json(&diagnostic, &sources(text));
        assert_eq!(json["range"]["start"], json!({ "line": 6, "column": 12, "byte": start }));
        assert_eq!(json["snippet"]["context"], "service \"chat\"");
        assert_eq!(json["snippet"]["highlight_start_offset"], 11);
    }

    #[test]
    fn places_that_do_not_exist_and_long_lines_do_no_harm() {
        let long = format!("x = \"{}é\"", "y".repeat(5000));
        for (start, end) in [(0, 1), (4, 5007), (5005, 5006), (9000, 9001), (6, 2)] {
            let diagnostic =
                Diagnostic::error("S", "D").at(Span { file: "main.hcl".into(), start, end });
            for paint in [Paint::Plain, Paint::Colour] {
                let style = Style { paint, width: 80 };
                let text = render(&diagnostic, &sources(&long), style);
                assert!(text.len() < 2000, "{text}");
            }
            assert_eq!(json(&diagnostic, &sources(&long))["severity"], "error");
        }
    }
}
