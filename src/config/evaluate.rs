//! Declarations → values: every local and every attribute of every block, each after what it needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetform_contract::Value;
use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::structure::{Attribute, Block, Body, Structure};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::convert::{kind_name, to_text};
use super::declare::{Source, field_name, span};
use super::expression::{Evaluator, Fault, Frame};
use super::fields::{Field, Notes, Section};
use super::lifecycle;
use super::references::references;
use super::schema::{self, Schema};
use super::table::{Node, Table, statement};
use crate::diagnostic::{Diagnostic, Span};

/// Values nested deeper than this are refused: each level is a call on the stack of whoever walks
/// through the value later.
const MAX_VALUE_DEPTH: u32 = 100;
/// Instances of one `for_each`.
const MAX_INSTANCES: usize = 10_000;

pub(super) struct Run<'r> {
    pub table: &'r Table<'r>,
    pub evaluator: &'r Evaluator<'r>,
    pub notes: &'r Notes,
}

impl Run<'_> {
    /// Evaluates all locals and all blocks that can be referred to.
    pub(super) fn everything(&self) {
        let (graph, nodes) = self.graph();
        for component in kosaraju_scc(&graph) {
            let first = component[0];
            if component.len() > 1 || graph.find_edge(first, first).is_some() {
                self.cycle(&graph, &component);
                continue;
            }
            match &nodes[first.index()] {
                Node::Variable(_) => {}
                Node::Local(name) => self.local(name),
                Node::Field(at, name) => self.field(*at, name),
            }
        }
        for name in self.table.declarations.rest.iter().chain(&self.table.declarations.variables) {
            self.check_references(name.kind, &name.block.body, name.source);
        }
    }

    /// Edges go from what needs to what is needed.
    fn graph(&self) -> (DiGraph<String, ()>, Vec<Node>) {
        let declarations = self.table.declarations;
        let mut graph = DiGraph::new();
        let mut nodes = Vec::new();
        let mut places: BTreeMap<Node, NodeIndex> = BTreeMap::new();
        let mut add = |node: Node, title: String| {
            places.entry(node.clone()).or_insert_with(|| {
                nodes.push(node);
                graph.add_node(title)
            });
        };
        for variable in &declarations.variables {
            add(Node::Variable(variable.label.clone()), variable.path());
        }
        for name in declarations.locals.keys() {
            add(Node::Local(name.clone()), format!("local.{name}"));
        }
        for (at, block) in declarations.blocks.iter().enumerate() {
            // Without a `for_each`, this is what says so.
            add(Node::Field(at, "for_each".into()), format!("{}.for_each", block.path()));
            for name in &block.fields {
                add(Node::Field(at, (*name).into()), format!("{}.{name}", block.path()));
            }
        }

        let mut edges: Vec<(NodeIndex, NodeIndex)> = Vec::new();
        for (name, local) in &declarations.locals {
            let from = places[&Node::Local(name.clone())];
            self.edges(local.expression, local.source, from, &places, &mut edges);
        }
        for (at, block) in declarations.blocks.iter().enumerate() {
            let instances = places[&Node::Field(at, "for_each".into())];
            for structure in &block.block.body {
                let Some(name) = field_name(structure, block.schema) else {
                    // Unknown names are reported already; what they refer to may be wrong too.
                    continue;
                };
                let from = places[&Node::Field(at, name.into())];
                if from != instances {
                    edges.push((from, instances));
                }
                each_expression(structure, &mut |expression| {
                    self.edges(expression, block.source, from, &places, &mut edges);
                });
            }
        }
        for (from, to) in edges {
            graph.update_edge(from, to, ());
        }
        (graph, nodes)
    }

    fn edges(
        &self,
        expression: &Expression,
        source: &Source,
        from: NodeIndex,
        places: &BTreeMap<Node, NodeIndex>,
        edges: &mut Vec<(NodeIndex, NodeIndex)>,
    ) {
        if self.notes.is_full() {
            return;
        }
        for reference in references(expression) {
            let at = span(&source.file, reference.range.clone());
            match self.table.targets(reference.root, reference.steps, at) {
                Ok(nodes) => {
                    edges.extend(nodes.iter().filter_map(|node| Some((from, *places.get(node)?))));
                }
                Err(diagnostic) => self.notes.report(*diagnostic),
            }
        }
    }

    /// Reports references to nothing in a block that nothing refers to.
    fn check_references(&self, kind: &str, body: &Body, source: &Source) {
        for structure in body {
            // A variable's type is written in names that are no references; addresses name what may
            // be declared no more.
            if structure.as_attribute().is_some_and(|attribute| {
                let name = attribute.key.as_str();
                matches!(name, "type" | "default") || schema::is_address(kind, name)
            }) {
                continue;
            }
            each_expression(structure, &mut |expression| {
                for reference in references(expression) {
                    let at = span(&source.file, reference.range.clone());
                    if let Err(diagnostic) = self.table.targets(reference.root, reference.steps, at)
                    {
                        self.notes.report(*diagnostic);
                    }
                }
            });
        }
    }

    /// Reports one cycle, as the chain of names in it.
    fn cycle(&self, graph: &DiGraph<String, ()>, component: &[NodeIndex]) {
        let start = *component.iter().min().expect("a component has a node");
        let chain = shortest_cycle(graph, component, start);
        let names: Vec<&str> =
            chain.iter().chain([&start]).map(|node| graph[*node].as_str()).collect();
        let diagnostic = Diagnostic::error(
            "Cycle",
            format!("Each of these needs the next: {}.", names.join(" → ")),
        )
        .hint("take one reference out, or give its value a name in `locals` that both use");
        let spans = names.iter().find_map(|name| self.span_of(name));
        self.notes.report(diagnostic.at(spans));
    }

    fn span_of(&self, name: &str) -> Option<Span> {
        let (path, field) = name.rsplit_once('.')?;
        if path == "local" {
            return self.table.declarations.locals.get(field).map(|local| local.span.clone());
        }
        let block = self.table.declarations.blocks.iter().find(|block| block.path() == path)?;
        let file = &block.source.file;
        let attribute = block.block.body.get_attribute(field).map(|a| span(file, a.span()));
        attribute.or_else(|| Some(block.header()))
    }

    fn local(&self, name: &str) {
        let Some(local) = self.table.declarations.locals.get(name) else { return };
        let frame = Frame::new(&local.source.file, &local.source.text);
        let value = self.top(local.expression, &frame);
        self.table.locals.borrow_mut().insert(name.to_owned(), value);
    }

    /// One attribute or kind of nested block, for every instance.
    fn field(&self, at: usize, name: &str) {
        let block = &self.table.declarations.blocks[at];
        let base = Frame::new(&block.source.file, &block.source.text);
        let body = &block.block.body;
        if name == "for_each" {
            let instances = match body.get_attribute("for_each") {
                None => Some(vec![None]),
                Some(attribute) => self.instances(attribute, &base),
            };
            self.table.found.borrow_mut()[at].instances = instances;
            return;
        }
        let Some(instances) = self.table.found.borrow()[at].instances.clone() else { return };
        let frames = instances.iter().map(|instance| {
            let each = instance.as_ref().map(|(key, value)| (key.as_str(), value));
            Frame { each, ..base }
        });
        if let Some(attribute) = body.get_attribute(name) {
            let fields = frames.map(|frame| self.attribute(attribute, &frame)).collect();
            self.table.found.borrow_mut()[at].attributes.insert(name.to_owned(), fields);
        } else if let Some(nested) = block.schema.block(name) {
            let sections = frames.map(|frame| {
                let blocks = body.get_blocks(name);
                blocks.map(|block| self.section(block, nested.schema, &frame)).collect()
            });
            let sections = sections.collect();
            self.table.found.borrow_mut()[at].sections.insert(name.to_owned(), sections);
        }
    }

    fn instances(
        &self,
        attribute: &Attribute,
        frame: &Frame,
    ) -> Option<Vec<Option<(String, Value)>>> {
        let value = self.top(&attribute.value, frame)?;
        let fail = |summary: &str, detail: String, hint: &str| {
            let diagnostic = Diagnostic::error(summary, detail);
            self.notes.report(diagnostic.at(frame.span(attribute.value.span())).hint(hint));
            None
        };
        let pairs: Vec<(String, Value)> = match value {
            Value::Unknown(_) => {
                return fail(
                    "Value known only after apply",
                    "\"for_each\" decides which instances there are, so it must be known before."
                        .into(),
                    "give the keys as values that are known, and the unknown ones as attributes",
                );
            }
            Value::Secret(_) => {
                return fail(
                    "Invalid for_each argument",
                    "The keys of \"for_each\" are names of instances, so they cannot be sensitive."
                        .into(),
                    "`nonsensitive(…)` shows a value",
                );
            }
            Value::Map(map) => map.into_iter().collect(),
            Value::List(items) => {
                let mut pairs: Vec<(String, Value)> = Vec::new();
                for item in items {
                    let key = match &item {
                        Value::String(_) => to_text(&item).unwrap_or_default(),
                        _ => {
                            return fail(
                                "Invalid for_each argument",
                                format!(
                                    "\"for_each\" goes over an object or a list of strings; an element is {}.",
                                    kind_name(&item)
                                ),
                                "an object gives each instance a name: `{ name = …, }`",
                            );
                        }
                    };
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return fail(
                            "Invalid for_each argument",
                            format!(
                                "The list has {key:?} twice, and instances are told apart by it."
                            ),
                            "`toset(…)` keeps one of each",
                        );
                    }
                    pairs.push((key, item));
                    if pairs.len() > MAX_INSTANCES {
                        break;
                    }
                }
                pairs.sort_by(|left, right| left.0.cmp(&right.0));
                pairs
            }
            other => {
                return fail(
                    "Invalid for_each argument",
                    format!(
                        "\"for_each\" goes over an object or a list of strings; this is {}.",
                        kind_name(&other)
                    ),
                    "`{}` makes no instance",
                );
            }
        };
        if pairs.len() > MAX_INSTANCES {
            let detail = format!("One block may have {MAX_INSTANCES} instances.");
            return fail("Invalid for_each argument", detail, "split the stack");
        }
        Some(pairs.into_iter().map(Some).collect())
    }

    pub(super) fn attribute(&self, attribute: &Attribute, frame: &Frame) -> Field {
        let value = match schema::is_names(attribute.key.as_str()) {
            true => lifecycle::names(&attribute.value, frame, self.notes),
            false => self.top(&attribute.value, frame),
        };
        Field {
            value,
            span: frame.span(attribute.value.span()),
            whole: frame.span(attribute.span()),
        }
    }

    /// A block's attributes and nested blocks, as far as the schema knows them.
    pub(super) fn section(&self, block: &Block, schema: &'static Schema, frame: &Frame) -> Section {
        let file: &Arc<str> = frame.file;
        let mut section = Section {
            label: block.labels.first().map(|label| label.as_str().to_owned()),
            header: super::declare::header(block, file),
            attributes: BTreeMap::new(),
            sections: BTreeMap::new(),
        };
        for structure in &block.body {
            match structure {
                Structure::Attribute(attribute) => {
                    let name = attribute.key.as_str();
                    if schema.has_attribute(name) {
                        let field = self.attribute(attribute, frame);
                        section.attributes.insert(name.to_owned(), field);
                    }
                }
                Structure::Block(block) => {
                    if let Some(nested) = schema.block(block.ident.as_str()) {
                        let inner = self.section(block, nested.schema, frame);
                        let name = nested.name.to_owned();
                        section.sections.entry(name).or_default().push(inner);
                    }
                }
            }
        }
        section
    }

    /// An instance's section, put together from what was evaluated field by field.
    pub(super) fn assembled(&self, at: usize, instance: usize) -> Section {
        let block = &self.table.declarations.blocks[at];
        let found = self.table.found.borrow();
        let pick = |fields: &Vec<Field>| fields.get(instance).cloned();
        let attributes = found[at].attributes.iter();
        let sections = found[at].sections.iter();
        Section {
            label: Some(block.label.clone()),
            header: block.header(),
            attributes: attributes
                .filter_map(|(name, fields)| Some((name.clone(), pick(fields)?)))
                .collect(),
            sections: sections
                .filter_map(|(name, all)| Some((name.clone(), all.get(instance)?.clone())))
                .collect(),
        }
    }

    /// Evaluates an expression that stands for itself, and reports what goes wrong with the values
    /// that mattered.
    pub(super) fn top(&self, expression: &Expression, frame: &Frame) -> Option<Value> {
        match self.evaluator.evaluate(expression, frame) {
            Ok(value) if too_deep(&value, MAX_VALUE_DEPTH) => {
                let detail =
                    format!("Lists and objects may stand {MAX_VALUE_DEPTH} deep in one another.");
                let diagnostic = Diagnostic::error("Nested too deeply", detail);
                self.notes.report(diagnostic.at(frame.span(expression.span())));
                None
            }
            Ok(value) => Some(value),
            Err(Fault::Reported) => {
                // Never lose a value silently.
                if !self.notes.problems.borrow().iter().any(Diagnostic::is_error) {
                    let detail = "Something that this refers to has no value.";
                    let diagnostic = Diagnostic::error("Invalid reference", detail);
                    self.notes.report(diagnostic.at(frame.span(expression.span())));
                }
                None
            }
            Err(Fault::New(diagnostic)) => {
                self.notes.report(self.with_values(*diagnostic, expression, frame));
                None
            }
        }
    }

    /// Adds the values of the references in and around the mistake.
    pub(super) fn with_values(
        &self,
        mut diagnostic: Diagnostic,
        expression: &Expression,
        frame: &Frame,
    ) -> Diagnostic {
        let Some(at) = diagnostic.span.clone().filter(|at| at.file == *frame.file) else {
            return diagnostic;
        };
        for reference in references(expression) {
            let Some(range) = reference.range.clone() else { continue };
            if range.start >= at.end.max(at.start + 1) || range.end <= at.start {
                continue;
            }
            // The longest beginning of the reference that has a value.
            for steps in (0..=reference.steps.len()).rev() {
                let traversal = &reference.steps[..steps];
                let resolved = self
                    .table
                    .resolve(self.evaluator, reference.root, traversal, None, frame)
                    .and_then(|(value, used)| {
                        self.evaluator.walk(value, &traversal[used..], frame)
                    });
                let Ok(value) = resolved else { continue };
                // That a block has attributes is no news.
                if matches!(value, Value::Map(_)) && super::schema::top(reference.root).is_some() {
                    break;
                }
                let end = match steps {
                    0 => range.start + reference.root.len(),
                    _ => traversal[steps - 1].span().map_or(range.end, |span| span.end),
                };
                let name = frame.text.get(range.start..end).unwrap_or(reference.root);
                let brackets = name.matches('[').count() > name.matches(']').count();
                let name = format!("{name}{}", if brackets { "]" } else { "" });
                let entry = (name, statement(&value));
                if !diagnostic.values.contains(&entry) {
                    diagnostic.values.push(entry);
                }
                break;
            }
        }
        diagnostic.values.sort();
        diagnostic
    }
}

fn each_expression(structure: &Structure, visit: &mut dyn FnMut(&Expression)) {
    match structure {
        Structure::Attribute(attribute) if schema::is_names(attribute.key.as_str()) => {}
        Structure::Attribute(attribute) => visit(&attribute.value),
        Structure::Block(block) => {
            block.body.iter().for_each(|structure| each_expression(structure, visit));
        }
    }
}

/// The nodes of a shortest way from `start` back to itself inside a component.
fn shortest_cycle(
    graph: &DiGraph<String, ()>,
    component: &[NodeIndex],
    start: NodeIndex,
) -> Vec<NodeIndex> {
    let mut before: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut next: Vec<NodeIndex> = graph.neighbors(node).collect();
        next.sort();
        for neighbor in next {
            if neighbor == start {
                let mut chain = vec![node];
                while let Some(previous) = before.get(chain.last().expect("it has a node")) {
                    chain.push(*previous);
                }
                chain.reverse();
                return chain;
            }
            if component.contains(&neighbor) && !before.contains_key(&neighbor) {
                before.insert(neighbor, node);
                queue.push_back(neighbor);
            }
        }
    }
    vec![start]
}

fn too_deep(value: &Value, left: u32) -> bool {
    match value {
        Value::List(items) => left == 0 || items.iter().any(|item| too_deep(item, left - 1)),
        Value::Map(map) => left == 0 || map.values().any(|item| too_deep(item, left - 1)),
        _ => false,
    }
}
