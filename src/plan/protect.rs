//! `protect`: what must not be destroyed, also after its block is gone.
//!
//! What is protected is what a workload is: its Deployment or Job and the Service in front of it. What
//! these live in is protected with them, because a plan that replaces it replaces them. An autoscaler
//! or a Secret may come and go.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Resource};

use super::{Action, Change};
use crate::config::{Stack, Workload};
use crate::diagnostic::Diagnostic;

const KINDS: [&str; 4] =
    ["kubernetes_deployment", "kubernetes_job", "kubernetes_cron_job", "kubernetes_service"];

/// By address, the block that protects it from now on; `None` where it may be destroyed again.
pub type Protection = BTreeMap<Address, Option<String>>;

/// What the stack changes of the protections that are recorded.
pub fn protection(
    stack: &Stack,
    desired: &BTreeMap<Address, Resource>,
    recorded: &BTreeMap<Address, String>,
) -> Protection {
    let mut changes = Protection::new();
    for address in desired.keys() {
        if let Some(workload) = protecting(stack, address)
            && recorded.get(address) != Some(&workload.reference)
        {
            changes.insert(address.clone(), Some(workload.reference.clone()));
        }
    }
    let lifts = |by: &String| {
        stack.workloads.values().any(|w| w.reference == *by && w.protect == Some(false))
    };
    let lifted = recorded.iter().filter(|(_, by)| lifts(by));
    changes.extend(lifted.map(|(address, _)| (address.clone(), None)));
    changes
}

/// The workload that an address is protected by, as the stack has it.
fn protecting<'s>(stack: &'s Stack, address: &Address) -> Option<&'s Workload> {
    let workload = stack.workloads.get(&address.name)?;
    (KINDS.contains(&address.kind.as_str()) && workload.protect == Some(true)).then_some(workload)
}

/// Writes on the resources what protects them, now or by what is recorded: so a lost state can be told.
pub fn mark(
    stack: &Stack,
    desired: &mut BTreeMap<Address, Resource>,
    recorded: &BTreeMap<Address, String>,
) {
    for (address, resource) in desired {
        let declared = stack.workloads.get(&address.name).and_then(|workload| workload.protect);
        let by = match protecting(stack, address) {
            Some(workload) => Some(&workload.reference),
            None => recorded.get(address).filter(|_| declared != Some(false)),
        };
        if let Some(by) = by {
            fleetform_providers::protect(resource, by);
        }
    }
}

/// Refuses changes that destroy what is protected.
///
/// # Errors
/// One for each protected address that would be destroyed or replaced.
pub fn guard(
    changes: &[Change],
    stack: &Stack,
    recorded: &BTreeMap<Address, String>,
) -> Result<(), Vec<Diagnostic>> {
    let mut failures = Vec::new();
    for change in changes {
        let verb = match change.action {
            Action::Delete => "destroy",
            Action::Replace => "replace",
            _ => continue,
        };
        let declared = || protecting(stack, &change.address).map(|w| w.reference.clone());
        let at = change.previous.as_ref().unwrap_or(&change.address);
        if let Some(by) = recorded.get(at).cloned().or_else(declared) {
            failures.push(protected(change, verb, &by, stack));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

fn protected(change: &Change, verb: &str, by: &str, stack: &Stack) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "Protected from destruction",
        format!(
            "{} is protected by `protect = true` in {by}, and this plan would {verb} it.",
            change.address
        ),
    )
    .about(&change.address);
    match stack.workloads.values().find(|workload| workload.reference == by) {
        Some(workload) => {
            diagnostic.at(stack.span(&format!("{}.protect", workload.path))).hint(format!(
                "to lift the protection, set `protect = false` in {by} and apply that first"
            ))
        }
        None => diagnostic.hint(format!(
            "{by} is not in the stack any more, and its protection holds until it is lifted: put the block back with `protect = false` and apply that first, or run fleetform state unprotect '{by}'"
        )),
    }
}
