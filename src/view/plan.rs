//! A plan as people read it: the placement, the changes, the summary line, the cost.

use std::collections::BTreeMap;
use std::fmt::Write;

use fleetform_contract::Value;

use super::Paint;
use super::change::{change, symbol, value_change};
use super::money::{difference, dollars};
use super::table::{Align, table};
use crate::placement::Placement;
use crate::plan::{Action, CheckStatus, Operation, Plan};

/// The whole plan. It ends with a newline.
pub fn plan(plan: &Plan, paint: Paint) -> String {
    let mut text = String::new();
    if let (Some(decided), Operation::Apply) = (&plan.placement, plan.operation) {
        text += &placement(decided, paint);
        text += "\n";
    }
    if !plan.drift.is_empty() {
        text += &drift(plan, paint);
    }
    if !plan.has_changes() {
        let _ = writeln!(
            text,
            "{} Your infrastructure matches the configuration.",
            paint.bold(&paint.green("No changes."))
        );
        text += "\nFleetform has compared your real infrastructure against your stack and found no differences, so\nno changes are needed.\n";
        text += &cost(plan);
        text += &checks(plan, paint);
        return text;
    }
    if plan.effects().next().is_some() {
        text += &legend(plan, paint);
        text += "\nFleetform will perform the following actions:\n\n";
        for one in plan.effects() {
            text += &change(one, paint);
            text += "\n";
        }
        text += &summary(plan, paint);
        text += "\n";
    }
    text += &outputs(plan, paint);
    text += &cost(plan);
    text += &checks(plan, paint);
    text
}

/// `Plan: 5 to add, 0 to change, 0 to destroy.`
pub fn summary(plan: &Plan, paint: Paint) -> String {
    let counts = plan.counts();
    format!(
        "{} {} to add, {} to change, {} to destroy.",
        paint.bold("Plan:"),
        counts.add,
        counts.change,
        counts.destroy
    )
}

fn legend(plan: &Plan, paint: Paint) -> String {
    let mut text = String::from("Resource actions are indicated with the following symbols:\n");
    for (action, meaning) in [
        (Action::Create, "create"),
        (Action::Update, "update in-place"),
        (Action::Delete, "destroy"),
        (Action::Replace, "destroy and then create replacement"),
    ] {
        if plan.changes.iter().any(|change| change.action == action) {
            let shown = match action {
                Action::Create => paint.green(symbol(action)),
                Action::Update => paint.yellow(symbol(action)),
                _ => paint.red(symbol(action)),
            };
            let _ = writeln!(text, "{shown} {meaning}");
        }
    }
    text
}

/// The placement's table, its proof, and what it costs a month.
pub fn placement(placement: &Placement, paint: Paint) -> String {
    let columns = [
        ("service", Align::Left),
        ("replicas", Align::Right),
        ("cloud/region", Align::Left),
        ("nodes × type", Align::Left),
        ("market", Align::Left),
        ("$/month", Align::Right),
    ];
    let mut rows = Vec::new();
    for seats in &placement.seats {
        let rental = &placement.rentals[&seats.offering];
        let nodes = rental.nodes.iter().filter(|node| node.contains_key(&seats.workload)).count();
        rows.push(vec![
            seats.workload.clone(),
            seats.replicas.to_string(),
            rental.offering.site(),
            format!("{nodes} × {}", rental.offering.instance_type),
            rental.offering.market.to_string(),
            dollars(seats.cost_month),
        ]);
    }
    for (site, cost) in placement.cost.sites_month.iter().filter(|(_, cost)| **cost > 0.0) {
        rows.push(vec![
            "(control plane)".into(),
            String::new(),
            site.clone(),
            String::new(),
            String::new(),
            dollars(*cost),
        ]);
    }
    let total = dollars(placement.cost.total_month);
    let empty = String::new;
    rows.push(vec!["total".into(), replicas(placement), empty(), empty(), empty(), total]);
    let proof = &placement.proof;
    let mut text = format!("{}\n\n", paint.bold("Placement"));
    text += &table("  ", &columns, &rows);
    if shares_nodes(placement) {
        text += "\n  Nodes that hold several services are counted in each of their rows and paid once.\n";
    }
    let _ = writeln!(
        text,
        "\n  Objective ${} a month, bound ${}, gap {:.2} % ({}).",
        dollars(proof.objective_month),
        dollars(proof.bound_month),
        proof.gap * 100.0,
        proof.solver
    );
    text
}

fn replicas(placement: &Placement) -> String {
    placement.seats.iter().map(|seats| seats.replicas).sum::<u32>().to_string()
}

fn shares_nodes(placement: &Placement) -> bool {
    placement.rentals.values().flat_map(|rental| &rental.nodes).any(|node| node.len() > 1)
}

fn drift(plan: &Plan, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold("Note: Objects have changed outside of Fleetform"));
    text += "Fleetform detected the following changes made outside of Fleetform since the last apply:\n\n";
    for one in &plan.drift {
        text += &drifted(one, paint);
        text += "\n";
    }
    text
}

/// One drifted object, each differing attribute with what was and what is.
pub fn drifted(drift: &crate::plan::Drift, paint: Paint) -> String {
    let mut text = String::new();
    let Some(after) = &drift.after else {
        let _ = writeln!(text, "  # {} has been deleted", drift.address);
        let _ = writeln!(
            text,
            "{} resource \"{}\" \"{}\" {{ … }}",
            paint.red("  -"),
            drift.address.kind,
            drift.address.name
        );
        return text;
    };
    let _ = writeln!(text, "  # {} has changed", drift.address);
    let _ = writeln!(
        text,
        "{} resource \"{}\" \"{}\" {{",
        paint.yellow("  ~"),
        drift.address.kind,
        drift.address.name
    );
    let names: Vec<String> = drift.paths.iter().map(|path| super::change::path(path)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (path, name) in drift.paths.iter().zip(&names) {
        let (before, now) = (crate::plan::at(&drift.before, path), crate::plan::at(after, path));
        text += &value_change(6, name, width, before, now, paint);
    }
    text += "    }\n";
    text
}

fn outputs(plan: &Plan, paint: Paint) -> String {
    let changed: BTreeMap<_, _> =
        plan.outputs.iter().filter(|(_, output)| output.before != output.after).collect();
    if changed.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nChanges to Outputs:\n");
    let width = changed.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, change) in changed {
        let hide = |value: &Option<Value>| match value {
            Some(_) if change.sensitive => Some(super::change::hidden()),
            other => other.clone(),
        };
        let (before, after) = (hide(&change.before), hide(&change.after));
        text += &value_change(2, name, width, before.as_ref(), after.as_ref(), paint);
    }
    text
}

fn cost(plan: &Plan) -> String {
    let after = match plan.operation {
        Operation::Destroy => 0.0,
        Operation::Apply => match &plan.placement {
            Some(placement) => placement.cost.total_month,
            None => return String::new(),
        },
    };
    let before = plan.cost_before_month.unwrap_or(0.0);
    format!(
        "\nCost: ${} → ${} a month ({}).\n",
        dollars(before),
        dollars(after),
        difference(after - before)
    )
}

fn checks(plan: &Plan, paint: Paint) -> String {
    let mut text = String::new();
    for check in plan.checks.iter().filter(|check| check.status == CheckStatus::Fail) {
        for problem in &check.problems {
            let _ = writeln!(
                text,
                "\n{} Check block assertion failed\n\n  in check \"{}\"\n\n{problem}",
                paint.bold(&paint.yellow("Warning:")),
                check.name
            );
        }
    }
    text
}
