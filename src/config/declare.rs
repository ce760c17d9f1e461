//! Syntax trees → declarations: which blocks there are, checked for shape before anything is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Block, Body, Structure};

use super::fields::MAX_PROBLEMS;
use super::schema::{self, Schema};
use super::{nearest, scan};
use crate::diagnostic::{Diagnostic, Span};

/// A parsed file.
pub(super) struct Source {
    pub file: Arc<str>,
    pub text: Arc<str>,
    pub body: Body,
}

/// A block at the top of a file.
pub(super) struct Declared<'p> {
    pub kind: &'static str,
    /// Empty for kinds without a label.
    pub label: String,
    pub block: &'p Block,
    pub source: &'p Source,
    pub schema: &'static Schema,
    /// The attributes and kinds of nested blocks that are there and that the schema knows, each once.
    pub fields: BTreeSet<&'p str>,
}

impl Declared<'_> {
    /// `service.chat`; `optimize` for kinds without a label.
    pub(super) fn path(&self) -> String {
        match self.label.as_str() {
            "" => self.kind.to_owned(),
            label => format!("{}.{label}", self.kind),
        }
    }

    pub(super) fn header(&self) -> Span {
        header(self.block, &self.source.file)
    }
}

/// One local value.
pub(super) struct Local<'p> {
    pub expression: &'p Expression,
    pub source: &'p Source,
    pub span: Span,
}

/// All declarations of a stack, in order of files and lines.
#[derive(Default)]
pub(super) struct Declarations<'p> {
    pub variables: Vec<Declared<'p>>,
    pub locals: BTreeMap<String, Local<'p>>,
    /// Blocks that expressions refer to.
    pub blocks: Vec<Declared<'p>>,
    /// Outputs, checks and settings.
    pub rest: Vec<Declared<'p>>,
}

pub(super) fn declare<'p>(
    sources: &'p [Source],
    problems: &mut Vec<Diagnostic>,
) -> Declarations<'p> {
    let mut declarations = Declarations::default();
    let mut seen: BTreeMap<String, (Span, &Source)> = BTreeMap::new();
    for source in sources {
        for structure in &source.body {
            // Each of the next ones may cost a look through the whole text.
            if problems.len() > MAX_PROBLEMS {
                return declarations;
            }
            let block = match structure {
                Structure::Block(block) => block,
                Structure::Attribute(attribute) => {
                    let span = span(&source.file, attribute.key.span());
                    problems.push(
                        Diagnostic::error(
                            "Attribute outside a block",
                            format!("{:?} stands in no block.", attribute.key.as_str()),
                        )
                        .at(span)
                        .hint("named values go into a `locals` block, variable values into a *.tfvars file"),
                    );
                    continue;
                }
            };
            let name = block.ident.as_str();
            let Some(top) = schema::top(name) else {
                problems.push(unknown_block(block, source));
                continue;
            };
            let header = header(block, &source.file);
            check_labels(block, top.labelled, &header, problems);
            let label = match block.labels.first() {
                Some(label) if top.labelled => label.as_str().to_owned(),
                _ if top.labelled => continue,
                _ => String::new(),
            };
            if top.name == "locals" {
                check_body(&block.body, top.schema, "locals", source, problems);
                for attribute in block.body.attributes() {
                    if problems.len() > MAX_PROBLEMS {
                        return declarations;
                    }
                    let name = attribute.key.as_str().to_owned();
                    let span = span(&source.file, attribute.span());
                    if let Some(first) = declarations.locals.get(&name) {
                        problems.push(duplicate(
                            &format!("local.{name}"),
                            &span,
                            &first.span,
                            first.source,
                        ));
                        continue;
                    }
                    let local = Local { expression: &attribute.value, source, span };
                    declarations.locals.insert(name, local);
                }
                continue;
            }
            if top.labelled && !is_name(&label) {
                problems.push(
                    Diagnostic::error(
                        "Invalid name",
                        format!("{label:?} is no name: it takes letters, digits, `-` and `_`, and starts with a letter or `_`."),
                    )
                    .at(header.clone()),
                );
            }
            let fields =
                block.body.iter().filter_map(|structure| field_name(structure, top.schema));
            let declared = Declared {
                kind: top.name,
                label,
                block,
                source,
                schema: top.schema,
                fields: fields.collect(),
            };
            check_body(&block.body, top.schema, &declared.path(), source, problems);
            let path = declared.path();
            match seen.get(&path) {
                Some((first, from)) if !top.repeatable => {
                    problems.push(duplicate(&path, &header, first, from));
                    continue;
                }
                _ => drop(seen.insert(path, (header, source))),
            }
            match top.name {
                "variable" => declarations.variables.push(declared),
                _ if top.referable => declarations.blocks.push(declared),
                _ => declarations.rest.push(declared),
            }
        }
    }
    declarations
}

fn duplicate(path: &str, span: &Span, first: &Span, source: &Source) -> Diagnostic {
    let (line, _) = scan::position(&source.text, first.start);
    Diagnostic::error(
        "Duplicate declaration",
        format!("`{path}` was declared at {} line {line} already.", first.file),
    )
    .at(span.clone())
    .hint("give one of the two another name")
}

fn unknown_block(block: &Block, source: &Source) -> Diagnostic {
    let name = block.ident.as_str();
    let header = header(block, &source.file);
    if schema::LATER.contains(&name) {
        return not_supported("block", name, header);
    }
    let diagnostic = Diagnostic::error(
        "Unsupported block type",
        format!("Blocks of type {name:?} are not expected here."),
    )
    .at(header);
    if let Some((_, instead)) = schema::TERRAFORM.iter().find(|(known, _)| *known == name) {
        return diagnostic.hint(*instead);
    }
    let known = schema::TOP.iter().map(|top| top.name).chain(schema::LATER);
    match nearest(name, known) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

fn not_supported(what: &str, name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "Not supported yet",
        format!("The language has the {what} `{name}`, and this version of Fleetform does not act on it."),
    )
    .at(span)
    .hint("remove it, so that nobody relies on it")
}

fn check_labels(block: &Block, labelled: bool, header: &Span, problems: &mut Vec<Diagnostic>) {
    let name = block.ident.as_str();
    let wanted = usize::from(labelled);
    if block.labels.len() < wanted {
        problems.push(
            Diagnostic::error(
                "Missing block label",
                format!("A block of type {name:?} has a name."),
            )
            .at(header.clone())
            .hint(format!("for example `{name} \"main\" {{ … }}`")),
        );
    } else if block.labels.len() > wanted {
        let detail = match wanted {
            0 => format!("A block of type {name:?} takes no name."),
            _ => format!("A block of type {name:?} takes one name."),
        };
        problems.push(Diagnostic::error("Too many block labels", detail).at(header.clone()));
    }
}

/// Checks names, and how often each block stands.
fn check_body(
    body: &Body,
    schema: &'static Schema,
    path: &str,
    source: &Source,
    problems: &mut Vec<Diagnostic>,
) {
    let mut seen: BTreeMap<(&str, &str), Span> = BTreeMap::new();
    for structure in body {
        if problems.len() > MAX_PROBLEMS {
            return;
        }
        match structure {
            Structure::Attribute(attribute) => {
                let name = attribute.key.as_str();
                let span = span(&source.file, attribute.key.span());
                if schema.has_attribute(name) {
                    continue;
                }
                if schema.later.contains(&name) {
                    problems.push(not_supported("attribute", name, span));
                } else if let Some(nested) = schema.block(name) {
                    let label = if nested.labelled { " \"name\"" } else { "" };
                    problems.push(
                        Diagnostic::error(
                            "Unsupported argument",
                            format!("{name:?} is a block, not an attribute."),
                        )
                        .at(span)
                        .hint(format!("write `{name}{label} {{ … }}`, without `=`")),
                    );
                } else {
                    let diagnostic = Diagnostic::error(
                        "Unsupported argument",
                        format!("An argument named {name:?} is not expected in `{path}`."),
                    )
                    .at(span);
                    problems.push(suggest(diagnostic, name, schema));
                }
            }
            Structure::Block(block) => {
                let name = block.ident.as_str();
                let header = header(block, &source.file);
                let Some(nested) = schema.block(name) else {
                    problems.push(unexpected_block(name, header, schema, path));
                    continue;
                };
                check_labels(block, nested.labelled, &header, problems);
                let label = block.labels.first().map_or("", |label| label.as_str());
                let key = (name, if nested.labelled { label } else { "" });
                match seen.get(&key) {
                    Some(first) if nested.labelled || !nested.repeatable => {
                        let what = format!(
                            "{path}.{name}{}{label}",
                            if label.is_empty() { "" } else { "." }
                        );
                        problems.push(duplicate(&what, &header, first, source));
                    }
                    _ => drop(seen.insert(key, header)),
                }
                check_body(&block.body, nested.schema, &format!("{path}.{name}"), source, problems);
            }
        }
    }
}

fn unexpected_block(name: &str, header: Span, schema: &'static Schema, path: &str) -> Diagnostic {
    if schema.later.contains(&name) {
        return not_supported("block", name, header);
    }
    if schema.attributes.contains(&name) {
        return Diagnostic::error(
            "Unsupported block type",
            format!("{name:?} is an attribute, not a block."),
        )
        .at(header)
        .hint(format!("write `{name} = …`"));
    }
    let diagnostic = Diagnostic::error(
        "Unsupported block type",
        format!("Blocks of type {name:?} are not expected in `{path}`."),
    )
    .at(header);
    suggest(diagnostic, name, schema)
}

fn suggest(diagnostic: Diagnostic, name: &str, schema: &'static Schema) -> Diagnostic {
    match nearest(name, schema.names().chain(schema.later.iter().copied())) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None if name == "count" => {
            diagnostic.hint("repetition is `for_each`, in `service` and `job` blocks")
        }
        None => diagnostic,
    }
}

/// The name of a part of a block, where its schema knows it.
pub(super) fn field_name<'b>(structure: &'b Structure, schema: &'static Schema) -> Option<&'b str> {
    match structure {
        Structure::Attribute(attribute) => {
            Some(attribute.key.as_str()).filter(|name| schema.has_attribute(name))
        }
        Structure::Block(block) => {
            Some(block.ident.as_str()).filter(|name| schema.block(name).is_some())
        }
    }
}

/// Whether a text can be written after a dot in a reference.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_alphabetic())
        && text.chars().all(|c| c == '_' || c == '-' || c.is_alphanumeric())
}

/// The span of a block's type and labels.
pub(super) fn header(block: &Block, file: &Arc<str>) -> Span {
    let start = block.ident.span().unwrap_or(0..0);
    let end = block.labels.last().and_then(|label| label.span()).unwrap_or(start.clone());
    Span { file: file.clone(), start: start.start, end: end.end.max(start.end) }
}

pub(super) fn span(file: &Arc<str>, range: Option<std::ops::Range<usize>>) -> Span {
    let range = range.unwrap_or(0..0);
    Span { file: file.clone(), start: range.start, end: range.end }
}
