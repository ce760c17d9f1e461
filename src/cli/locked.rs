//! Plans whose addresses are this run's alone until it ends.
//!
//! Invariant: what a run plans to write is claimed before anything is written, and after the claim
//! nothing of it has changed since it was planned; else it is planned again.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleetform_contract::{Address, Value};
use fleetform_state::{Clock, Error, Holder, Holding, OpenOperation, State, Terms, hold};

use super::planning::{Planned, Wish, findings, plan};
use super::session::Session;
use crate::diagnostic::Diagnostic;
use crate::plan::{Change, Plan};

/// Others may change what we plan while we plan it; so often in a row they do not.
const ATTEMPTS: usize = 8;

/// How a run claims what it writes.
pub struct Locking<'a> {
    pub holder: Holder,
    pub terms: Terms,
    pub clock: Arc<dyn Clock>,
    pub listener: &'a dyn hold::Listener,
    /// What the user is told where a claim cannot be had.
    pub told: &'a (dyn Fn(&Error) -> Diagnostic + Sync),
}

/// As [`plan`], for a run that goes on to write: what it writes is claimed.
///
/// # Errors
/// What [`Locking::told`] makes of a claim that cannot be had; and those of a plan.
pub async fn plan_locked(
    session: &Session<'_>,
    wish: &Wish<'_>,
    locking: &Locking<'_>,
) -> Result<(Planned, Holding), Vec<Diagnostic>> {
    let mut holding = locking.holding(session);
    let planned = async {
        for _ in 0..ATTEMPTS {
            holding.recover(locking.listener).await.map_err(|error| locking.refused(&error))?;
            let planned = plan(session, wish).await?;
            locking.claim(session, &mut holding, &planned).await?;
            if !is_outdated(&planned, session.journal.run(), &state(session).await) {
                return Ok(planned);
            }
        }
        Err(vec![
            Diagnostic::error(
                "The state does not come to rest",
                format!("Other runs changed what was planned, {ATTEMPTS} times in a row."),
            )
            .hint("try again when they have finished"),
        ])
    };
    match planned.await {
        Ok(planned) => Ok((planned, holding)),
        Err(diagnostics) => Err(given_back(holding, diagnostics).await),
    }
}

/// Claims what a saved plan writes, so that it stays as true as it is found to be after this.
///
/// # Errors
/// What [`Locking::told`] makes of a claim that cannot be had.
pub async fn lock_saved(
    session: &Session<'_>,
    plan: &Plan,
    locking: &Locking<'_>,
) -> Result<Holding, Vec<Diagnostic>> {
    let mut holding = locking.holding(session);
    let claimed = async {
        holding.recover(locking.listener).await?;
        holding.claim(written(plan), locking.listener).await
    };
    match claimed.await {
        Ok(()) => Ok(holding),
        Err(error) => Err(given_back(holding, locking.refused(&error)).await),
    }
}

/// What has happened since the plan was made to what it writes, or to what it writes that from.
/// `settled` are operations that the plan knows of.
pub fn moved(plan: &Plan, settled: &BTreeSet<&str>, state: &State) -> Option<String> {
    let related = related(plan);
    let mut changes = plan.changes.iter().filter(|change| related.contains(&change.address));
    changes.find_map(|change| moved_change(change, plan, settled, state))
}

fn moved_change(
    change: &Change,
    plan: &Plan,
    settled: &BTreeSet<&str>,
    state: &State,
) -> Option<String> {
    let address = &change.address;
    let begun = |(op, open): &(&String, &OpenOperation)| {
        open.address == *address && open.since > plan.serial && !settled.contains(op.as_str())
    };
    if let Some((_, open)) = state.open.iter().find(begun) {
        return Some(format!(
            "another run began to {} {address} (entry {}) and did not end",
            open.action, open.since
        ));
    }
    // Version 0: made by an operation that was open then and is settled with the plan.
    let then = change.before.as_ref().map(|record| record.version).filter(|version| *version > 0);
    let recorded = change.previous.as_ref().unwrap_or(address);
    let now = state.records.get(recorded).map(|record| record.version);
    match (then, now) {
        // A record from before the plan that the plan does not have: it was found gone.
        (None, Some(now)) if now > plan.serial => {
            Some(format!("{address} was created (version {now})"))
        }
        (Some(then), None) => Some(format!("{address} was removed (version {then})")),
        (Some(then), Some(now)) if then != now => {
            Some(format!("{address} moved from version {then} to {now}"))
        }
        _ => None,
    }
}

impl Locking<'_> {
    fn holding(&self, session: &Session<'_>) -> Holding {
        let (holder, terms) = (self.holder.clone(), self.terms.clone());
        Holding::new(session.journal.clone(), holder, terms, Arc::clone(&self.clock))
    }

    fn refused(&self, error: &Error) -> Vec<Diagnostic> {
        vec![(self.told)(error)]
    }

    /// Claims what the plan writes, and as much as is free of what was only found changed.
    async fn claim(
        &self,
        session: &Session<'_>,
        holding: &mut Holding,
        planned: &Planned,
    ) -> Result<(), Vec<Diagnostic>> {
        let refused = |error: Error| self.refused(&error);
        let wanted = written(&planned.plan);
        holding.claim(wanted, self.listener).await.map_err(refused)?;
        let found = findings(&state(session).await, session.journal.run(), planned);
        let settled = planned.settled.iter().map(|settled| settled.address.clone());
        let found = found.iter().flat_map(|entry| entry.addresses().cloned()).chain(settled);
        holding.claim_what_is_free(found.collect()).await.map_err(refused)
    }
}

async fn given_back(holding: Holding, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    // What could not be given back others take from us once we are gone; the first error counts.
    let _ = holding.release().await;
    diagnostics
}

/// Whether something that the plan needs has changed since it was made, or an operation was left open
/// there that the plan does not know.
fn is_outdated(planned: &Planned, run: &str, state: &State) -> bool {
    let related = related(&planned.plan);
    // What another run is in the middle of, at what we only depend on, is not ours to judge.
    let unknown = state.open.iter().any(|(op, open)| {
        related.contains(&open.address)
            && state.claims.other(run, &open.address).is_none()
            && !planned.settled.iter().any(|settled| settled.op == *op)
    });
    let settled = planned.settled.iter().map(|settled| settled.op.as_str()).collect();
    unknown || moved(&planned.plan, &settled, state).is_some()
}

async fn state(session: &Session<'_>) -> State {
    session.journal.read(|log| log.state().clone()).await
}

/// The addresses that a plan writes.
fn written(plan: &Plan) -> BTreeSet<Address> {
    let both = |change: &Change| [Some(change.address.clone()), change.previous.clone()];
    let effects = plan.effects().flat_map(both).flatten();
    effects.chain(plan.protection.keys().cloned()).collect()
}

/// The addresses that a plan writes, and those whose records it writes them from.
pub fn related(plan: &Plan) -> BTreeSet<Address> {
    let mut related = written(plan);
    for change in plan.effects() {
        let before = change.before.iter().flat_map(|record| &record.depends_on);
        let desired = change.desired.iter().flat_map(|resource| &resource.depends_on);
        related.extend(before.chain(desired).cloned());
        for value in change.desired.iter().flat_map(|resource| resource.attributes.values()) {
            value.map_leaves(&mut |leaf| {
                if let Value::Unknown(unknown) = leaf {
                    related.extend(unknown.address.parse::<Address>().ok());
                }
                Value::Null
            });
        }
    }
    related
}
