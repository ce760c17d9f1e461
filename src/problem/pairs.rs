//! Workloads that must be at the same sites and have none in common.

use std::collections::BTreeSet;

use super::{Candidate, Demand, Limit, Rule};
use crate::diagnostic::Diagnostic;

/// So many sites are named.
const FEW: usize = 3;

/// A diagnostic for each pair without a site that fits both.
pub(super) fn without_a_site(
    limits: &[Limit],
    demands: &[Demand],
    candidates: &[Candidate],
) -> Vec<Diagnostic> {
    let sites = |demand: usize| -> BTreeSet<&str> {
        let own = demands[demand].candidates.iter();
        own.map(|index| candidates[*index].site.as_str()).collect()
    };
    let mut errors = Vec::new();
    for limit in limits {
        let Rule::SameSites { demands: [one, other] } = limit.rule else { continue };
        let [mine, others] = [one, other].map(sites);
        if !mine.is_disjoint(&others) {
            continue;
        }
        let [this, that] = [one, other].map(|index| &demands[index].origin.path);
        let detail = format!(
            "`{this}` and `{that}` must be at the same sites, and none fits both: `{this}` fits {}, `{that}` \
             {}.",
            among(&mine, "regions"),
            among(&others, "others")
        );
        errors.push(
            Diagnostic::error("No site fits both", detail)
                .at(limit.origin.span.clone())
                .about(this)
                .hint("widen the regions or GPU types of one of them, or remove this rule"),
        );
    }
    errors
}

fn among(sites: &BTreeSet<&str>, many: &str) -> String {
    let sites: Vec<&str> = sites.iter().copied().collect();
    match sites.as_slice() {
        [one] => format!("in {one} only"),
        sites if sites.len() <= FEW => format!("in {}", sites.join(", ")),
        sites => format!("in {} {many}", sites.len()),
    }
}
