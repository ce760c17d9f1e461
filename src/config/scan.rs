//! Text → tokens, as HCL's own scanner cuts them. The parser proper is recursive and stops at the
//! first thing it does not expect; this scanner is neither, so it finds what is wrong with quotes,
//! brackets and depth first, at the place where the mistake was made. The formatter works on its tokens.
//!
//! Invariant: tokens are in order, do not overlap, and between them stand only spaces and tabs.

/// A token's kind and its place, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: u32,
    pub end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ident,
    Number,
    OpenQuote,
    CloseQuote,
    /// Text inside quotes.
    QuotedText,
    /// `<<EOT` with its line end.
    OpenHeredoc,
    CloseHeredoc,
    /// One line of text inside a heredoc, with its line end.
    HeredocText,
    /// `${` or `${~`.
    Interpolation,
    /// `%{` or `%{~`.
    Control,
    /// The `}` or `~}` of either.
    SequenceEnd,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    Comma,
    Dot,
    Ellipsis,
    Colon,
    DoubleColon,
    Question,
    Equal,
    Bang,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    /// `==`, `!=`, `<`, `<=`, `>`, `>=`.
    Comparison,
    /// `&&`, `||`.
    Logical,
    Arrow,
    /// With its line end, where it ends the line.
    Comment,
    Newline,
}

impl Kind {
    /// +1 for what opens, −1 for what closes.
    pub(super) fn bracket_change(self) -> i32 {
        match self {
            Kind::OpenBrace
            | Kind::OpenBracket
            | Kind::OpenParen
            | Kind::Control
            | Kind::Interpolation => 1,
            Kind::CloseBrace | Kind::CloseBracket | Kind::CloseParen | Kind::SequenceEnd => -1,
            _ => 0,
        }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub summary: &'static str,
    pub detail: String,
    pub hint: &'static str,
    pub start: usize,
    pub end: usize,
}

/// Brackets, blocks and templates in one another.
pub(super) const MAX_DEPTH: usize = 60;
/// Keys of one object. The parser compares each key with all before it.
const MAX_KEYS: u32 = 2_000;
/// Attributes of one block.
const MAX_ATTRIBUTES: u32 = 20_000;

enum Mode {
    /// Outside any template; the brackets opened there are on the stack.
    Code,
    Quote,
    Heredoc {
        marker: (usize, usize),
    },
}

/// Something open: closed by its counterpart only.
struct Open {
    kind: Kind,
    at: usize,
    keys: u32,
    most_keys: u32,
    /// `?` whose `:` has not come: that is no key's.
    questions: u32,
}

/// Cuts a text into tokens. Stops at the first problem: what follows it would be guesses.
pub(super) fn scan(text: &str) -> Result<Vec<Token>, Problem> {
    let mut scanner = Scanner { text, at: 0, tokens: Vec::new(), open: Vec::new() };
    scanner.run()?;
    Ok(scanner.tokens)
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
    open: Vec<Open>,
}

impl<'t> Scanner<'t> {
    fn run(&mut self) -> Result<(), Problem> {
        let mut modes = vec![Mode::Code];
        while self.at < self.text.len() {
            match modes.last() {
                Some(Mode::Quote) => self.quoted(&mut modes)?,
                Some(Mode::Heredoc { marker }) => {
                    let marker = *marker;
                    self.heredoc(&mut modes, marker)?;
                }
                _ => self.code(&mut modes)?,
            }
        }
        match self.open.pop() {
            None => Ok(()),
            Some(open) => Err(self.unclosed(&open)),
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let start = self.at as u32;
        self.at += length;
        self.tokens.push(Token { kind, start, end: self.at as u32 });
    }

    fn open(&mut self, kind: Kind, length: usize) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem {
                summary: "Nested too deeply",
                detail: format!(
                    "Brackets, blocks and templates may stand {MAX_DEPTH} deep in one another; this is one more."
                ),
                hint: "give the inner part a name in `locals` and use that",
                start: self.at,
                end: self.at + length,
            });
        }
        // The brace of a block follows its type or its label, that of an object never.
        let before = self.tokens.last().map(|token| token.kind);
        let block = matches!(before, Some(Kind::Ident | Kind::CloseQuote));
        let most_keys = if block { MAX_ATTRIBUTES } else { MAX_KEYS };
        self.open.push(Open { kind, at: self.at, keys: 0, most_keys, questions: 0 });
        self.push(kind, length);
        Ok(())
    }

    /// Closes the innermost thing, which must be the counterpart.
    fn close(&mut self, kind: Kind, length: usize) -> Result<(), Problem> {
        let bracket = &self.rest()[..length];
        match self.open.pop() {
            Some(open) if counterpart(open.kind) == Some(kind) => {
                self.push(kind, length);
                Ok(())
            }
            Some(open)
                if matches!(open.kind, Kind::OpenBrace | Kind::OpenBracket | Kind::OpenParen) =>
            {
                let (line, _) = position(self.text, open.at);
                Err(Problem {
                    summary: "Brackets do not match",
                    detail: format!(
                        "The `{}` of line {line} is still open where this `{bracket}` stands.",
                        &self.text[open.at..open.at + 1],
                    ),
                    hint: "close the inner bracket first, or remove this one",
                    start: self.at,
                    end: self.at + length,
                })
            }
            _ => Err(Problem {
                summary: "Brackets do not match",
                detail: format!("This `{bracket}` closes nothing."),
                hint: "remove it, or add what it should close",
                start: self.at,
                end: self.at + length,
            }),
        }
    }

    fn unclosed(&self, open: &Open) -> Problem {
        let opener = match open.kind {
            Kind::OpenQuote => {
                return Problem {
                    summary: "Unterminated string",
                    detail: "The string that starts here has no closing quote on its line.".into(),
                    hint: "add a `\"`; a text of several lines is a heredoc: `<<EOT`",
                    start: open.at,
                    end: line_end(self.text, open.at),
                };
            }
            Kind::OpenHeredoc => {
                return Problem {
                    summary: "Unterminated heredoc",
                    detail: "The heredoc that starts here never ends.".into(),
                    hint: "put its marker on a line of its own after the text",
                    start: open.at,
                    end: line_end(self.text, open.at),
                };
            }
            Kind::Interpolation => "${",
            Kind::Control => "%{",
            Kind::OpenBracket => "[",
            Kind::OpenParen => "(",
            _ => "{",
        };
        Problem {
            summary: "Unclosed bracket",
            detail: format!("The `{opener}` that opens here is never closed."),
            hint: "add its counterpart",
            start: open.at,
            end: open.at + opener.len(),
        }
    }

    fn code(&mut self, modes: &mut Vec<Mode>) -> Result<(), Problem> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let starts = |prefix: &str| rest.starts_with(prefix);
        let in_template = matches!(
            self.open.last(),
            Some(Open { kind: Kind::Interpolation | Kind::Control, .. })
        );
        match bytes[0] {
            b' ' | b'\t' => self.at += 1,
            b'\n' => self.push(Kind::Newline, 1),
            b'\r' if starts("\r\n") => self.push(Kind::Newline, 2),
            b'#' => self.line_comment(),
            b'/' if starts("//") => self.line_comment(),
            b'/' if starts("/*") => match rest.find("*/") {
                Some(end) => self.push(Kind::Comment, end + 2),
                None => {
                    return Err(Problem {
                        summary: "Unterminated comment",
                        detail: "The comment that starts here has no `*/`.".into(),
                        hint: "add `*/`, or start comment lines with `#`",
                        start: self.at,
                        end: line_end(self.text, self.at),
                    });
                }
            },
            b'"' => {
                self.open(Kind::OpenQuote, 1)?;
                modes.push(Mode::Quote);
            }
            b'<' if starts("<<") => return self.open_heredoc(modes),
            b'0'..=b'9' => {
                let length = number_length(bytes);
                self.push(Kind::Number, length);
            }
            b'{' => self.open(Kind::OpenBrace, 1)?,
            b'[' => self.open(Kind::OpenBracket, 1)?,
            b'(' => self.open(Kind::OpenParen, 1)?,
            b'}' if in_template => self.end_sequence(modes, 1)?,
            b'~' if in_template && starts("~}") => self.end_sequence(modes, 2)?,
            b'}' => self.close(Kind::CloseBrace, 1)?,
            b']' => self.close(Kind::CloseBracket, 1)?,
            b')' => self.close(Kind::CloseParen, 1)?,
            b',' => self.push(Kind::Comma, 1),
            b'.' if starts("...") => self.push(Kind::Ellipsis, 3),
            b'.' => self.push(Kind::Dot, 1),
            b':' if starts("::") => self.push(Kind::DoubleColon, 2),
            b':' => self.separator(Kind::Colon)?,
            b'?' => {
                if let Some(open) = self.open.last_mut() {
                    open.questions += 1;
                }
                self.push(Kind::Question, 1);
            }
            b'=' if starts("==") => self.push(Kind::Comparison, 2),
            b'=' if starts("=>") => self.push(Kind::Arrow, 2),
            b'=' => self.separator(Kind::Equal)?,
            b'!' if starts("!=") => self.push(Kind::Comparison, 2),
            b'!' => self.push(Kind::Bang, 1),
            b'<' | b'>' if bytes.get(1) == Some(&b'=') => self.push(Kind::Comparison, 2),
            b'<' | b'>' => self.push(Kind::Comparison, 1),
            b'&' if starts("&&") => self.push(Kind::Logical, 2),
            b'|' if starts("||") => self.push(Kind::Logical, 2),
            b'+' => self.push(Kind::Plus, 1),
            b'-' => self.push(Kind::Minus, 1),
            b'*' => self.push(Kind::Star, 1),
            b'/' => self.push(Kind::Slash, 1),
            b'%' => self.push(Kind::Percent, 1),
            _ => return self.word(),
        }
        Ok(())
    }

    fn line_comment(&mut self) {
        let rest = self.rest();
        // Inside a template sequence a comment ends with its line like anywhere else.
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        self.push(Kind::Comment, length);
    }

    /// `=` or `:`: counts keys.
    fn separator(&mut self, kind: Kind) -> Result<(), Problem> {
        let (start, end) = (self.at, self.at + 1);
        self.push(kind, 1);
        if let Some(open) = self.open.last_mut()
            && open.kind == Kind::OpenBrace
        {
            if kind == Kind::Colon && open.questions > 0 {
                open.questions -= 1;
                return Ok(());
            }
            open.keys += 1;
            if open.keys > open.most_keys {
                return Err(Problem {
                    summary: "Too many keys",
                    detail: format!(
                        "An object may have {MAX_KEYS} keys and a block {MAX_ATTRIBUTES} attributes."
                    ),
                    hint: "split it, or read the data with `jsondecode(file(…))`",
                    start,
                    end,
                });
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), Problem> {
        let rest = self.rest();
        let length = rest
            .char_indices()
            .find(|(index, c)| !(if *index == 0 { starts_name(*c) } else { continues_name(*c) }))
            .map_or(rest.len(), |(index, _)| index);
        if length > 0 {
            self.push(Kind::Ident, length);
            return Ok(());
        }
        let character = rest.chars().next().expect("code() is called before the end");
        let (detail, hint) = match character {
            '\0' => ("A NUL byte stands here.".to_owned(), "save the file as UTF-8 text"),
            '\'' => {
                ("Single quotes have no meaning.".to_owned(), "strings take double quotes: `\"…\"`")
            }
            '“' | '”' | '„' | '‘' | '’' => (
                "A typographic quote stands here.".to_owned(),
                "strings take straight double quotes: `\"…\"`",
            ),
            '`' => (
                "Backquotes have no meaning.".to_owned(),
                "strings take double quotes; several lines are a heredoc: `<<EOT`",
            ),
            ';' => (
                "Semicolons have no meaning.".to_owned(),
                "put each attribute on a line of its own",
            ),
            '&' => ("A single `&` has no meaning.".to_owned(), "the logical operator is `&&`"),
            '|' => ("A single `|` has no meaning.".to_owned(), "the logical operator is `||`"),
            c if c.is_control() => {
                (format!("The control character U+{:04X} stands here.", c as u32), "remove it")
            }
            c => (format!("The character `{c}` has no meaning here."), "put text in double quotes"),
        };
        Err(Problem {
            summary: "Invalid character",
            detail,
            hint,
            start: self.at,
            end: self.at + character.len_utf8(),
        })
    }

    fn end_sequence(&mut self, modes: &mut Vec<Mode>, length: usize) -> Result<(), Problem> {
        self.close(Kind::SequenceEnd, length)?;
        modes.pop();
        Ok(())
    }

    /// `${` or `%{` where the text stands at one.
    fn open_sequence(&mut self, modes: &mut Vec<Mode>) -> Result<(), Problem> {
        let rest = self.rest();
        let kind = if rest.starts_with('$') { Kind::Interpolation } else { Kind::Control };
        let length = if rest.as_bytes().get(2) == Some(&b'~') { 3 } else { 2 };
        self.open(kind, length)?;
        modes.push(Mode::Code);
        Ok(())
    }

    fn quoted(&mut self, modes: &mut Vec<Mode>) -> Result<(), Problem> {
        let bytes = self.rest().as_bytes();
        let mut length = 0;
        while length < bytes.len() {
            match bytes[length] {
                b'"' | b'\n' => break,
                b'\0' => {
                    self.at += length;
                    return self.word();
                }
                b'\\' => {
                    length += 1 + usize::from(bytes.get(length + 1).is_some_and(|b| *b != b'\n'))
                }
                b'$' | b'%' => match sequence(&bytes[length..]) {
                    Marker::Opens => break,
                    Marker::Escaped => length += 3,
                    Marker::None => length += 1,
                },
                _ => length += 1,
            }
        }
        let length = length.min(bytes.len());
        let stop = bytes.get(length).copied();
        if length > 0 {
            self.push(Kind::QuotedText, length);
        }
        match stop {
            Some(b'"') => {
                self.close(Kind::CloseQuote, 1)?;
                modes.pop();
                Ok(())
            }
            Some(b'$' | b'%') => self.open_sequence(modes),
            _ => {
                let open = self.open.pop().expect("a quote is open in this mode");
                Err(self.unclosed(&open))
            }
        }
    }

    fn open_heredoc(&mut self, modes: &mut Vec<Mode>) -> Result<(), Problem> {
        let rest = self.rest();
        let marker_at = if rest.starts_with("<<-") { 3 } else { 2 };
        let name = &rest[marker_at..];
        let length = name
            .char_indices()
            .find(|(index, c)| !(if *index == 0 { starts_name(*c) } else { continues_name(*c) }))
            .map_or(name.len(), |(index, _)| index);
        let after = &name[length..];
        let newline = match after {
            _ if after.starts_with('\n') => 1,
            _ if after.starts_with("\r\n") => 2,
            _ => 0,
        };
        if length == 0 || newline == 0 {
            return Err(Problem {
                summary: "Invalid heredoc",
                detail: "A heredoc starts with `<<` and a marker that ends the line.".into(),
                hint: "write `<<EOT`, the text on the next lines, then `EOT` alone on a line",
                start: self.at,
                end: line_end(self.text, self.at),
            });
        }
        let marker = (self.at + marker_at, self.at + marker_at + length);
        self.open(Kind::OpenHeredoc, marker_at + length + newline)?;
        modes.push(Mode::Heredoc { marker });
        Ok(())
    }

    fn heredoc(&mut self, modes: &mut Vec<Mode>, marker: (usize, usize)) -> Result<(), Problem> {
        let rest = self.rest();
        let at_line_start = self.at == 0 || self.text.as_bytes()[self.at - 1] == b'\n';
        if at_line_start {
            let trimmed = rest.trim_start_matches([' ', '\t']);
            let name = &self.text[marker.0..marker.1];
            if let Some(after) = trimmed.strip_prefix(name)
                && !after.chars().next().is_some_and(continues_name)
            {
                self.close(Kind::CloseHeredoc, rest.len() - after.len())?;
                modes.pop();
                return Ok(());
            }
        }
        let bytes = rest.as_bytes();
        let mut length = 0;
        while length < bytes.len() {
            match bytes[length] {
                b'\n' => {
                    length += 1;
                    break;
                }
                b'\0' => {
                    self.at += length;
                    return self.word();
                }
                b'$' | b'%' => match sequence(&bytes[length..]) {
                    Marker::Opens => break,
                    Marker::Escaped => length += 3,
                    Marker::None => length += 1,
                },
                _ => length += 1,
            }
        }
        let length = length.min(bytes.len());
        if length > 0 {
            self.push(Kind::HeredocText, length);
        }
        let rest = self.rest();
        if length < bytes.len() && bytes[..length].last() != Some(&b'\n') && !rest.is_empty() {
            return self.open_sequence(modes);
        }
        Ok(())
    }
}

enum Marker {
    Opens,
    Escaped,
    None,
}

/// What a `$` or `%` in a template starts.
fn sequence(bytes: &[u8]) -> Marker {
    let sign = bytes[0];
    match (bytes.get(1), bytes.get(2)) {
        (Some(b'{'), _) => Marker::Opens,
        (Some(second), Some(b'{')) if *second == sign => Marker::Escaped,
        _ => Marker::None,
    }
}

fn counterpart(open: Kind) -> Option<Kind> {
    match open {
        Kind::OpenBrace => Some(Kind::CloseBrace),
        Kind::OpenBracket => Some(Kind::CloseBracket),
        Kind::OpenParen => Some(Kind::CloseParen),
        Kind::Interpolation | Kind::Control => Some(Kind::SequenceEnd),
        Kind::OpenQuote => Some(Kind::CloseQuote),
        Kind::OpenHeredoc => Some(Kind::CloseHeredoc),
        _ => None,
    }
}

fn starts_name(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn continues_name(c: char) -> bool {
    c == '_' || c == '-' || c.is_alphanumeric()
}

fn number_length(bytes: &[u8]) -> usize {
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && digits((length + 1).min(bytes.len())) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find(['\n', '\r']).map_or(text.len(), |end| from + end)
}

/// Line and column of a byte, both from 1; columns count characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |index| index + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> String {
        match scan(text) {
            Ok(tokens) => {
                tokens.iter().map(|token| format!("{:?}", token.kind)).collect::<Vec<_>>().join(" ")
            }
            Err(problem) => {
                let (line, column) = position(text, problem.start);
                format!("{line}:{column}: {}", problem.summary)
            }
        }
    }

    #[test]
    fn tokens_are_cut_as_hcl_does() {
        for (text, expected) in [
            ("a-b = 1.5e3 # c\n", "Ident Equal Number Comment"),
            (
                r#"x = "a${b}$${c}""#,
                "Ident Equal OpenQuote QuotedText Interpolation Ident SequenceEnd QuotedText CloseQuote",
            ),
            (
                "x = <<-E\n a ${b ~}\n E\n",
                "Ident Equal OpenHeredoc HeredocText Interpolation Ident SequenceEnd HeredocText CloseHeredoc Newline",
            ),
            (
                r#""${ { a = "}" } }""#,
                "OpenQuote Interpolation OpenBrace Ident Equal OpenQuote QuotedText CloseQuote CloseBrace SequenceEnd CloseQuote",
            ),
            (
                "[for k, v in a : k => v...]\r\n",
                "OpenBracket Ident Ident Comma Ident Ident Ident Colon Ident Arrow Ident Ellipsis CloseBracket Newline",
            ),
            ("a /* x */ b", "Ident Comment Ident"),
        ] {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn problems_are_found_where_they_were_made() {
        for (text, expected) in [
            ("a = \"x\nb = 1\n", "1:5: Unterminated string"),
            ("a = \"${b\n", "1:6: Unclosed bracket"),
            ("a = [1\n}\n", "2:1: Brackets do not match"),
            ("a = 1)\n", "1:6: Brackets do not match"),
            ("a {\n", "1:3: Unclosed bracket"),
            ("a = <<E\nx\n", "1:5: Unterminated heredoc"),
            ("a = << E\nx\n", "1:5: Invalid heredoc"),
            ("/* x", "1:1: Unterminated comment"),
            ("a = 'x'", "1:5: Invalid character"),
            ("a = \"\0\"", "1:6: Invalid character"),
            ("a\0", "1:2: Invalid character"),
            ("a = \"\\", "1:5: Unterminated string"),
            ("a = \"\\\n\"", "1:5: Unterminated string"),
        ] {
            assert_eq!(kinds(text), expected, "{text:?}");
        }
        assert_eq!(kinds(&"[".repeat(10_000)), "1:61: Nested too deeply");
        assert_eq!(kinds(&"\"${".repeat(10_000)), "1:91: Nested too deeply");
        let keys = |most: u32| (0..=most).map(|key| format!("k{key}=1\n")).collect::<String>();
        let block = format!("x {{\n{}}}", keys(MAX_ATTRIBUTES));
        assert_eq!(kinds(&block), "20002:7: Too many keys");
        let object = format!("x = {{\n{}}}", keys(MAX_KEYS));
        assert_eq!(kinds(&object), "2002:6: Too many keys");
    }
}
