//! The resources and what depends on what, for Graphviz and Mermaid.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use fleetform_contract::{Address, Resource};

/// Graphviz. Arrows point from a resource to what it depends on, as Terraform draws them.
pub fn dot(resources: &BTreeMap<Address, Resource>) -> String {
    let mut text = String::from(
        "digraph G {\n  rankdir = \"RL\";\n  node [shape = rect, fontname = \"sans-serif\"];\n",
    );
    for address in resources.keys() {
        let _ = writeln!(text, "  {};", quoted(address));
    }
    for (from, to) in edges(resources) {
        let _ = writeln!(text, "  {} -> {};", quoted(from), quoted(to));
    }
    text + "}\n"
}

/// Mermaid's flow chart, which Markdown on the usual forges draws.
pub fn mermaid(resources: &BTreeMap<Address, Resource>) -> String {
    let mut text = String::from("flowchart RL\n");
    let ids: BTreeMap<&Address, usize> =
        resources.keys().enumerate().map(|(index, address)| (address, index)).collect();
    for (address, id) in &ids {
        let label = address.to_string().replace('"', "#quot;");
        let _ = writeln!(text, "  n{id}[\"{label}\"]");
    }
    for (from, to) in edges(resources) {
        let _ = writeln!(text, "  n{} --> n{}", ids[from], ids[to]);
    }
    text
}

fn quoted(address: &Address) -> String {
    format!("\"{}\"", address.to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Dependencies, without those that follow from others.
fn edges(resources: &BTreeMap<Address, Resource>) -> Vec<(&Address, &Address)> {
    let mut edges = Vec::new();
    for (address, resource) in resources {
        let direct: BTreeSet<&Address> =
            resource.depends_on.iter().filter(|to| resources.contains_key(to)).collect();
        for to in &direct {
            let implied = direct.iter().any(|other| other != to && reaches(resources, other, to));
            if !implied {
                edges.push((address, *to));
            }
        }
    }
    edges
}

fn reaches(resources: &BTreeMap<Address, Resource>, from: &Address, to: &Address) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(address) = next.pop() {
        if address == to {
            return true;
        }
        if seen.insert(address) {
            next.extend(resources.get(address).into_iter().flat_map(|r| &r.depends_on));
        }
    }
    false
}
