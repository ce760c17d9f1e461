//! Templates: quoted strings, heredocs and template files.
//!
//! HCL cuts literals of heredocs and files line by line, and both the strip markers (`~`) and the
//! removal of indentation (`<<-`) work on such pieces. So does this: a template becomes a flat list
//! of pieces first, is trimmed, and is evaluated then.

use fleetform_contract::{Unknown, Value};
use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::template::{Directive, Element, ForDirective, IfDirective, Strip, Template};

use super::convert::{kind_name, to_bool, to_text};
use super::expression::{Evaluator, Frame, Result, Scope, WORK_PER_ITEM, pairs};
use super::functions;
use crate::diagnostic::Diagnostic;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Inside quotes: each literal is one piece.
    Quoted,
    /// A heredoc or a file: a piece a line.
    Lines { indented: bool },
}

enum Piece<'t> {
    Literal(String),
    Value(&'t Expression),
    If(&'t IfDirective),
    Else,
    For(&'t ForDirective),
    End,
}

/// A template given as its elements; `frame.text` is the text that the elements' spans point into.
pub(super) fn evaluate(
    evaluator: &Evaluator,
    template: &Template,
    kind: Kind,
    frame: &Frame,
) -> Result<Value> {
    // A string that is nothing but one interpolation is that value, whatever its kind.
    if kind == Kind::Quoted
        && let Some(Element::Interpolation(only)) = template.as_single_element()
    {
        return evaluator.evaluate(&only.expr, frame);
    }
    let mut pieces = Pieces { kind, text: frame.text, list: Vec::new(), trim_next: false };
    pieces.template(template);
    let mut pieces = pieces.list;
    if kind == (Kind::Lines { indented: true }) {
        remove_indentation(&mut pieces);
    }
    let mut output = Output::default();
    run(evaluator, &pieces, &mut 0, frame, &mut Some(&mut output))?;
    let range = template.span();
    evaluator.spend(output.text.len() as u64 / 16, frame, range)?;
    Ok(match output.unknown {
        Some(unknown) => Value::Unknown(unknown),
        None => evaluator.seal_if(output.secret, functions::text(output.text)),
    })
}

struct Pieces<'t> {
    kind: Kind,
    text: &'t str,
    list: Vec<Piece<'t>>,
    /// Whether a `~}` came right before.
    trim_next: bool,
}

impl<'t> Pieces<'t> {
    fn template(&mut self, template: &'t Template) {
        for element in template {
            match element {
                Element::Literal(literal) => match self.kind {
                    Kind::Quoted => self.literal(literal.value().clone()),
                    Kind::Lines { .. } => {
                        // The parser has removed indentation already, by rules of its own.
                        let raw = literal.span().and_then(|span| self.text.get(span));
                        let raw = raw.unwrap_or(literal.value().as_str());
                        for line in raw.split_inclusive('\n') {
                            self.literal(line.replace("$${", "${").replace("%%{", "%{"));
                        }
                    }
                },
                Element::Interpolation(inner) => {
                    self.control(inner.strip, Piece::Value(&inner.expr));
                }
                Element::Directive(directive) => match directive.as_ref() {
                    Directive::If(directive) => {
                        self.control(directive.if_expr.strip, Piece::If(directive));
                        self.template(&directive.if_expr.template);
                        if let Some(otherwise) = &directive.else_expr {
                            self.control(otherwise.strip, Piece::Else);
                            self.template(&otherwise.template);
                        }
                        self.control(directive.endif_expr.strip, Piece::End);
                    }
                    Directive::For(directive) => {
                        self.control(directive.for_expr.strip, Piece::For(directive));
                        self.template(&directive.for_expr.template);
                        self.control(directive.endfor_expr.strip, Piece::End);
                    }
                },
            }
        }
    }

    fn literal(&mut self, text: String) {
        let trim = std::mem::take(&mut self.trim_next);
        self.list.push(Piece::Literal(if trim { text.trim_start().to_owned() } else { text }));
    }

    fn control(&mut self, strip: Strip, piece: Piece<'t>) {
        if strip.strip_start()
            && let Some(Piece::Literal(before)) = self.list.last_mut()
        {
            before.truncate(before.trim_end().len());
        }
        self.list.push(piece);
        self.trim_next = strip.strip_end();
    }
}

/// `<<-`: takes away the spaces that every line has in front.
fn remove_indentation(pieces: &mut [Piece]) {
    let leading = |text: &str| text.chars().take_while(|c| c.is_whitespace()).count();
    let mut starts = Vec::new();
    let mut least = usize::MAX;
    let mut at_line_start = true;
    for (index, piece) in pieces.iter().enumerate() {
        if at_line_start {
            at_line_start = false;
            match piece {
                // A blank line counts for nothing.
                Piece::Literal(text) if text.trim().is_empty() && text.ends_with('\n') => {}
                Piece::Literal(text) => {
                    least = least.min(leading(text));
                    starts.push(index);
                }
                _ => least = 0,
            }
        }
        if let Piece::Literal(text) = piece {
            at_line_start = text.ends_with('\n');
        }
    }
    for index in starts {
        if let Piece::Literal(text) = &mut pieces[index] {
            *text = text.chars().skip(least).collect();
        }
    }
}

#[derive(Default)]
struct Output {
    text: String,
    secret: bool,
    unknown: Option<Unknown>,
}

/// Evaluates pieces from `at` up to the `else` or the end of the directive they are in, or to the
/// end; leaves `at` there. Without an output it only finds that place.
fn run(
    evaluator: &Evaluator,
    pieces: &[Piece],
    at: &mut usize,
    frame: &Frame,
    output: &mut Option<&mut Output>,
) -> Result<()> {
    while let Some(piece) = pieces.get(*at) {
        match piece {
            Piece::Else | Piece::End => return Ok(()),
            Piece::Literal(text) => {
                if let Some(output) = output {
                    output.text.push_str(text);
                }
            }
            Piece::Value(expression) => {
                if let Some(output) = output {
                    append(evaluator, expression, frame, output)?;
                }
            }
            Piece::If(directive) => {
                let condition = &directive.if_expr.cond_expr;
                let holds = match output {
                    None => None,
                    Some(output) => condition_holds(evaluator, condition, frame, output)?,
                };
                for branch in [true, false] {
                    *at += 1;
                    let mut taken = output.as_deref_mut().filter(|_| holds == Some(branch));
                    run(evaluator, pieces, at, frame, &mut taken)?;
                    if !matches!(pieces.get(*at), Some(Piece::Else)) {
                        break;
                    }
                }
            }
            Piece::For(directive) => {
                let body = *at + 1;
                if let Some(output) = output {
                    for_directive(evaluator, directive, pieces, body, frame, output)?;
                }
                *at = body;
                run(evaluator, pieces, at, frame, &mut None)?;
            }
        }
        *at += 1;
    }
    Ok(())
}

/// `None` where it is known only after apply.
fn condition_holds(
    evaluator: &Evaluator,
    condition: &Expression,
    frame: &Frame,
    output: &mut Output,
) -> Result<Option<bool>> {
    let value = evaluator.evaluate(condition, frame)?;
    if let Value::Unknown(unknown) = value {
        output.unknown.get_or_insert(unknown);
        return Ok(None);
    }
    let (value, secret) = evaluator.open(value, frame, condition.span())?;
    output.secret |= secret;
    to_bool(&value).map(Some).map_err(|_| {
        Diagnostic::error(
            "Incorrect condition type",
            format!("The condition must be true or false; it is {}.", kind_name(&value)),
        )
        .at(frame.span(condition.span()))
        .into()
    })
}

fn append(
    evaluator: &Evaluator,
    expression: &Expression,
    frame: &Frame,
    output: &mut Output,
) -> Result<()> {
    let value = evaluator.evaluate(expression, frame)?;
    if let Value::Unknown(unknown) = value {
        output.unknown.get_or_insert(unknown);
        return Ok(());
    }
    let (value, secret) = evaluator.open(value, frame, expression.span())?;
    output.secret |= secret;
    let text = to_text(&value).map_err(|_| {
        let detail = match &value {
            Value::Null => {
                "The expression result is null. Cannot include a null value in a string template."
                    .to_owned()
            }
            other => format!(
                "Cannot include the given value in a string template: it is {}, and a string is required.",
                kind_name(other)
            ),
        };
        let diagnostic = Diagnostic::error("Invalid template interpolation value", detail)
            .at(frame.span(expression.span()));
        match value {
            Value::List(_) => diagnostic.hint("`join(\", \", …)` makes one string of a list"),
            Value::Map(_) => diagnostic.hint("`jsonencode(…)` makes a string of an object"),
            _ => diagnostic,
        }
    })?;
    evaluator.spend(text.len() as u64 / 16, frame, expression.span())?;
    output.text.push_str(&text);
    Ok(())
}

fn for_directive(
    evaluator: &Evaluator,
    directive: &ForDirective,
    pieces: &[Piece],
    body: usize,
    frame: &Frame,
    output: &mut Output,
) -> Result<()> {
    let intro = &directive.for_expr;
    let range = intro.collection_expr.span();
    let collection = evaluator.evaluate(&intro.collection_expr, frame)?;
    if let Value::Unknown(unknown) = collection {
        output.unknown.get_or_insert(unknown);
        return Ok(());
    }
    let (collection, secret) = match collection {
        Value::Secret(_) => evaluator.open(collection, frame, range.clone())?,
        plain => (plain, false),
    };
    output.secret |= secret;
    let pairs = pairs(collection).map_err(|detail| {
        Diagnostic::error("Iteration over non-iterable value", detail).at(frame.span(range.clone()))
    })?;
    for (key, value) in pairs {
        evaluator.spend(WORK_PER_ITEM, frame, range.clone())?;
        let (key, value) = match secret {
            true => (evaluator.seal(key), evaluator.seal(value)),
            false => (key, value),
        };
        let outer = intro.key_var.as_ref().map(|name| Scope {
            name: name.as_str(),
            value: &key,
            outer: frame.scope,
        });
        let scope = Scope {
            name: intro.value_var.as_str(),
            value: &value,
            outer: outer.as_ref().or(frame.scope),
        };
        let frame = Frame { scope: Some(&scope), ..*frame };
        run(evaluator, pieces, &mut body.clone(), &frame, &mut Some(&mut *output))?;
    }
    Ok(())
}
