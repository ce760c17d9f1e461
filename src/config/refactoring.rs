//! `moved`, `removed` and `import` blocks: what becomes of what is recorded.
//!
//! Their addresses are read and not evaluated: they name what may be declared no more.

use std::collections::BTreeMap;

use fleetform_contract::Address;
use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, TraversalOperator};

use super::declare::{self, Declared};
use super::evaluate::Run;
use super::expression::Frame;
use super::fields::{Notes, Reader, Section};
use super::schema::is_address;
use super::{Import, Moved, Named, Removed, Stack};
use crate::diagnostic::{Diagnostic, Span};

/// The kinds of block whose objects have addresses.
const WORKLOADS: [&str; 2] = ["service", "job"];

pub(super) fn read(run: &Run, declared: &Declared, stack: &mut Stack) {
    let frame = Frame::new(&declared.source.file, &declared.source.text);
    let body = &declared.block.body;
    let expressions = body.attributes().filter(|attribute| {
        let name = attribute.key.as_str();
        declared.schema.has_attribute(name) && !is_address(declared.kind, name)
    });
    let section = Section {
        label: None,
        header: declared.header(),
        attributes: expressions
            .map(|attribute| (attribute.key.to_string(), run.attribute(attribute, &frame)))
            .collect(),
        sections: BTreeMap::new(),
    };
    let reader = Reader {
        section: &section,
        path: declared.kind,
        notes: run.notes,
        table: run.table,
        vault: run.evaluator.vault,
    };
    let named = |name: &str| -> Option<Named> {
        let Some(attribute) = body.get_attribute(name) else {
            let example = if declared.kind == "import" { RESOURCE } else { "service.chat" };
            reader.require(name, example);
            return None;
        };
        let span = declare::span(&declared.source.file, attribute.value.span());
        match address(&attribute.value) {
            Some(address) => known_kind(address, span, run.notes),
            None => {
                run.notes.report(not_an_address(span));
                None
            }
        }
    };
    match declared.kind {
        "moved" => {
            if let (Some(from), Some(to)) = (named("from"), named("to")) {
                stack.moved.push(Moved { from, to });
            }
        }
        "removed" => {
            if let Some(from) = named("from") {
                let destroy = reader.bool("destroy").unwrap_or(true);
                stack.removed.push(Removed { from, destroy });
            }
        }
        _ => {
            reader.require("id", "\"…\"");
            let to = named("to");
            if let (Some(to), Some(id)) = (to, reader.filled("id")) {
                let Named { address: to, span } = to;
                let lineage = reader.filled("lineage");
                stack.imports.push(Import { to, span: Some(span), id, lineage });
            }
        }
    }
}

const RESOURCE: &str = "kubernetes_service.chat[\"edge/local\"]";

/// `service.chat`, `service.chat["eu"]`, `aws_eks_cluster.main["us-east-1"]`.
fn address(expression: &Expression) -> Option<Address> {
    let Expression::Traversal(traversal) = expression else { return None };
    let Expression::Variable(kind) = &traversal.expr else { return None };
    let mut steps = traversal.operators.iter().map(|step| step.value());
    let Some(TraversalOperator::GetAttr(name)) = steps.next() else { return None };
    let key = match steps.next() {
        None => None,
        Some(TraversalOperator::Index(Expression::String(key))) => Some(key.as_str().to_owned()),
        Some(_) => return None,
    };
    let whole = steps.next().is_none();
    whole.then(|| Address { kind: kind.as_str().to_owned(), name: name.as_str().to_owned(), key })
}

fn not_an_address(span: Span) -> Diagnostic {
    Diagnostic::error(
        "Not an address",
        "An address is TYPE.NAME or TYPE.NAME[\"KEY\"], written as it is: no quotes around it, nothing computed in it.",
    )
    .at(span)
    .hint(format!("for example service.chat, service.chat[\"eu\"] or {RESOURCE}"))
}

/// The address, where there are objects of its kind.
fn known_kind(address: Address, span: Span, notes: &Notes) -> Option<Named> {
    let kind = address.kind.as_str();
    if WORKLOADS.contains(&kind) || fleetform_providers::schema(kind).is_some() {
        return Some(Named { address, span });
    }
    let diagnostic = Diagnostic::error(
        "Not an address",
        format!("There are no resources of the type {kind:?}."),
    )
    .at(span);
    notes.report(match super::nearest(kind, WORKLOADS) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic.hint("`fleetform state list` shows the addresses that there are"),
    });
    None
}

/// What is wrong with these blocks beside one another and beside what is declared.
pub(super) fn check(stack: &Stack, notes: &Notes) {
    let mut from: BTreeMap<&Address, &Moved> = BTreeMap::new();
    let mut to: BTreeMap<&Address, &Moved> = BTreeMap::new();
    for moved in &stack.moved {
        if moved.from.address.kind != moved.to.address.kind {
            notes.report(other_kind(moved));
        }
        if let Some(first) = from.insert(&moved.from.address, moved) {
            notes.report(ambiguous(stack, &moved.from, "comes from", &first.from.span));
        }
        if let Some(first) = to.insert(&moved.to.address, moved) {
            notes.report(ambiguous(stack, &moved.to, "goes to", &first.to.span));
        }
        check_gone(stack, &moved.from, "Moved object still exists", "moved", notes);
    }
    for start in from.values() {
        check_cycle(start, &from, notes);
    }
    for removed in &stack.removed {
        check_gone(stack, &removed.from, "Removed object still exists", "removed", notes);
    }
    let mut targets: BTreeMap<&Address, &Span> = BTreeMap::new();
    for import in &stack.imports {
        let address = &import.to;
        let Some(span) = &import.span else { continue };
        if WORKLOADS.contains(&address.kind.as_str()) {
            let detail = format!("{address} is many objects, and an import is of one.");
            let hint = "name the resource, as `fleetform plan` does";
            notes.report(Diagnostic::error("Not one object", detail).at(span.clone()).hint(hint));
        }
        if let Some(first) = targets.insert(address, span) {
            let named = Named { address: address.clone(), span: span.clone() };
            notes.report(ambiguous(stack, &named, "imports to", first));
        }
    }
}

fn other_kind(moved: &Moved) -> Diagnostic {
    let (from, to) = (&moved.from.address, &moved.to.address);
    Diagnostic::error(
        "Cannot be moved there",
        format!("{from} cannot become {to}: they are of different kinds."),
    )
    .at(moved.to.span.clone())
    .hint("a resource moves to another name or key of its type, a service to a service, a job to a job")
}

fn ambiguous(stack: &Stack, named: &Named, verb: &str, first: &Span) -> Diagnostic {
    let line = |span: &Span| {
        let text = stack.sources.files.get(&span.file).map_or("", AsRef::as_ref);
        format!("{} line {}", span.file, super::scan::position(text, span.start).0)
    };
    Diagnostic::error(
        "Ambiguous address",
        format!("A block {verb} {} at {} already.", named.address, line(first)),
    )
    .at(named.span.clone())
    .hint("remove one of the two")
}

/// What a block says is gone must not be declared. (A block whose only instance became one of several is
/// declared, but not as that instance.)
fn check_gone(stack: &Stack, named: &Named, summary: &str, block: &str, notes: &Notes) {
    let written = named.address.to_string();
    let declared = stack.workloads.values().find(|workload| workload.reference == written);
    let Some(declared) = declared else { return };
    let spans = notes.spans.borrow();
    let at = spans.get(&declared.path).map(|span| {
        let text = stack.sources.files.get(&span.file).map_or("", AsRef::as_ref);
        format!(" at {} line {}", span.file, super::scan::position(text, span.start).0)
    });
    let detail = format!("{written} is declared{}.", at.unwrap_or_default());
    drop(spans);
    let hint = format!("remove that block, or this `{block}` block");
    notes.report(Diagnostic::error(summary, detail).at(named.span.clone()).hint(hint));
}

/// Reports a cycle once: at its first address.
fn check_cycle(start: &Moved, from: &BTreeMap<&Address, &Moved>, notes: &Notes) {
    let mut chain = vec![&start.from.address];
    let mut at = &start.to.address;
    while at != &start.from.address {
        match from.get(at) {
            Some(next) if !chain.contains(&at) => {
                chain.push(at);
                at = &next.to.address;
            }
            _ => return,
        }
    }
    if chain.iter().any(|address| *address < &start.from.address) {
        return;
    }
    let names: Vec<String> = chain.iter().chain([&at]).map(ToString::to_string).collect();
    let detail = format!("Moves end nowhere: {}.", names.join(" → "));
    let diagnostic = Diagnostic::error("Cycle", detail).at(start.from.span.clone());
    notes.report(diagnostic.hint("remove the block that is out of date"));
}
