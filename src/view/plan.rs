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
use crate::problem::requests;

/// The whole plan, with tables of at most `width` columns. It ends with a newline.
pub fn plan(plan: &Plan, paint: Paint, width: usize) -> String {
    let mut text = String::new();
    if let (Some(decided), Operation::Apply) = (&plan.placement, plan.operation) {
        text += &placement(decided, paint, width);
        text += "\n";
    }
    if !plan.drift.is_empty() {
        text += &drift(plan, paint);
    }
    if plan.operation == Operation::Refresh && plan.has_changes() {
        return text;
    }
    if !plan.has_changes() {
        text += &nothing(plan, paint);
        text += match plan.operation {
            Operation::Apply => {
                "\nFleetform has compared your real infrastructure against your stack and found\nno differences, so no changes are needed.\n"
            }
            Operation::Refresh => {
                "\nFleetform has checked that the real remote objects still match the result of your\nmost recent changes, and found no differences.\n"
            }
            Operation::Destroy => {
                "\nEither you have not made any objects yet or they were already destroyed.\n"
            }
        };
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
    text += &protection(plan, paint);
    if plan.effects().next().is_none() {
        text += match plan.protection.is_empty() {
            true => {
                "\nYou can apply this plan to save these new output values to the state, without\nchanging any real infrastructure.\n"
            }
            false => {
                "\nYou can apply this plan to save these changes to the state, without changing any\nreal infrastructure.\n"
            }
        };
    }
    text += &cost(plan);
    text += &checks(plan, paint);
    text
}

/// The line that says that there is nothing to do.
pub fn nothing(plan: &Plan, paint: Paint) -> String {
    let why = match plan.operation {
        Operation::Apply => "Your infrastructure matches the configuration.",
        Operation::Refresh => "Your infrastructure still matches the configuration.",
        Operation::Destroy => "No objects need to be destroyed.",
    };
    format!("{} {why}\n", paint.bold(&paint.green("No changes.")))
}

/// `Plan: 5 to add, 0 to change, 0 to destroy.`
pub fn summary(plan: &Plan, paint: Paint) -> String {
    let counts = plan.counts();
    let import = match counts.import {
        0 => String::new(),
        count => format!("{count} to import, "),
    };
    format!(
        "{} {import}{} to add, {} to change, {} to destroy.",
        paint.bold("Plan:"),
        counts.add,
        counts.change,
        counts.destroy
    )
}

fn legend(plan: &Plan, paint: Paint) -> String {
    let mut text = String::from(
        "Fleetform used the selected clouds to generate the following execution plan.\n",
    );
    // Moves and imports have no symbol.
    if plan.changes.iter().any(|change| change.action != Action::NoOp) {
        text += "Resource actions are indicated with the following symbols:\n";
    }
    for (action, meaning) in [
        (Action::Create, "create"),
        (Action::Update, "update in-place"),
        (Action::Delete, "destroy"),
        (Action::Replace, "destroy and then create replacement"),
        (Action::Forget, "no longer managed, not destroyed"),
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

/// The placement's table, its proof, and what it costs a month. Where the table is wider than `width`,
/// each row takes two lines.
pub fn placement(placement: &Placement, paint: Paint, width: usize) -> String {
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
            format!("{nodes} × {}", rental.offering.machine()),
            rental.offering.market.to_string(),
            dollars(seats.cost_month),
        ]);
    }
    let mut beside = |what: String, place: String, cost: f64| {
        let empty = String::new;
        rows.push(vec![what, empty(), place, empty(), empty(), dollars(cost)]);
    };
    let cost = &placement.cost;
    for (site, cost) in cost.sites_month.iter().filter(|(_, cost)| **cost > 0.0) {
        beside("(control plane)".into(), site.clone(), *cost);
    }
    for (model, by_site) in &cost.weights_month {
        for (site, cost) in by_site {
            beside(format!("(weights of {model})"), site.clone(), *cost);
        }
    }
    for (from, by_site) in &cost.egress_month {
        for (to, cost) in by_site {
            beside("(traffic)".into(), format!("{from} → {to}"), *cost);
        }
    }
    let total = dollars(placement.cost.total_month);
    let empty = String::new;
    rows.push(vec!["total".into(), replicas(placement), empty(), empty(), empty(), total]);
    let proof = &placement.proof;
    let mut text = format!("{}\n\n", paint.bold("Placement"));
    let wide = table("  ", &columns, &rows);
    let fits = wide.lines().all(|line| line.chars().count() <= width);
    text += &if fits { wide } else { narrow(&rows) };
    if shares_nodes(placement) {
        text +=
            "\n  A node that holds several services counts in the row of each, and is paid once.\n";
    }
    for (index, (workload, load)) in placement.loads.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let _ = writeln!(
            text,
            "{gap}  {workload} is sized for {}; its replicas can serve {:.1}.",
            requests(load.asked_per_second),
            load.served_per_second
        );
    }
    let sign = if placement.weighed.is_none() { "$" } else { "" };
    let moves = match proof.moves_month {
        0.0 => String::new(),
        moves => format!(" ({sign}{} of it for moves, which nobody pays)", dollars(moves)),
    };
    let _ = writeln!(
        text,
        "\n  Objective {sign}{} a month{moves}, bound {sign}{}, gap {:.2} % ({}).",
        dollars(proof.objective_month),
        dollars(proof.bound_month),
        proof.gap * 100.0,
        proof.solver
    );
    if let Some(weighed) = &placement.weighed {
        let _ = writeln!(
            text,
            "  It is {} × ${} + {} × {:.0} kg CO2e + {} × {:.0} ms of all replicas.",
            weighed.cost_weight,
            dollars(placement.cost.total_month),
            weighed.carbon_weight,
            weighed.carbon_kg_month,
            weighed.latency_weight,
            weighed.latency_ms
        );
    }
    text
}

/// The same rows, two lines each: who and how much, and below it where and on what.
fn narrow(rows: &[Vec<String>]) -> String {
    let columns = [("service", Align::Left), ("replicas", Align::Right), ("$/month", Align::Right)];
    let short: Vec<Vec<String>> =
        rows.iter().map(|row| vec![row[0].clone(), row[1].clone(), row[5].clone()]).collect();
    let mut text = String::new();
    for (index, line) in table("  ", &columns, &short).lines().enumerate() {
        text += line;
        text += "\n";
        let place = index.checked_sub(1).map_or(&[][..], |row| &rows[row][2..5]);
        let place: Vec<&str> =
            place.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
        if !place.is_empty() {
            let _ = writeln!(text, "    {}", place.join(", "));
        }
    }
    text
}

fn replicas(placement: &Placement) -> String {
    placement.seats.iter().map(|seats| seats.replicas).sum::<u32>().to_string()
}

fn shares_nodes(placement: &Placement) -> bool {
    placement.rentals.values().flat_map(|rental| &rental.nodes).any(|node| node.len() > 1)
}

/// What a plan shows of drift, so that it does not drown the changes: the verb `drift` shows all.
const DRIFTED_OBJECTS: usize = 10;
const DRIFTED_ATTRIBUTES: usize = 8;

fn drift(plan: &Plan, paint: Paint) -> String {
    let mut text = format!("{}\n\n", paint.bold("Note: Objects have changed outside of Fleetform"));
    text += "Fleetform detected the following changes made outside of Fleetform\nsince the last apply:\n\n";
    let (objects, attributes) = match plan.operation {
        // It is what the plan is about.
        Operation::Refresh => (usize::MAX, usize::MAX),
        _ => (DRIFTED_OBJECTS, DRIFTED_ATTRIBUTES),
    };
    for one in plan.drift.iter().take(objects) {
        text += &drifted(one, paint, attributes);
        text += "\n";
    }
    if plan.operation == Operation::Refresh {
        return text
            + "This is a refresh-only plan, so Fleetform will not take any actions to undo these.\nIf you were expecting these changes then you can apply this plan to record the\nupdated values in the state without changing any remote objects.\n";
    }
    if let Some(more) = plan.drift.len().checked_sub(DRIFTED_OBJECTS).filter(|more| *more > 0) {
        let _ = writeln!(text, "  # ({more} more; \"fleetform drift\" shows all of them)\n");
    }
    text += "Unless your stack asks for the same, the following plan may include actions to\nundo or respond to these changes.\n\n";
    text += &format!("{}\n\n", "─".repeat(77));
    text
}

/// One drifted object with what was and what is, of at most `most` attributes.
pub fn drifted(drift: &crate::plan::Drift, paint: Paint, most: usize) -> String {
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
    let paths = &drift.paths[..drift.paths.len().min(most)];
    let names: Vec<String> = paths.iter().map(|path| super::change::path(path)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (path, name) in paths.iter().zip(&names) {
        let (before, now) = (crate::plan::at(&drift.before, path), crate::plan::at(after, path));
        text += &value_change(6, name, width, before, now, paint);
    }
    let more = drift.paths.len() - paths.len();
    if more > 0 {
        let plural = if more == 1 { "" } else { "s" };
        let note = format!("# ({more} more changed attribute{plural} hidden)");
        let _ = writeln!(text, "        {}", paint.dim(&note));
    }
    text += "    }\n";
    text
}

/// `Changes to Outputs:` with an empty line before it; nothing where none changes.
pub fn outputs(plan: &Plan, paint: Paint) -> String {
    let changed: BTreeMap<_, _> = plan.output_changes().collect();
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

/// What will be protected and what no longer, with an empty line before it.
fn protection(plan: &Plan, paint: Paint) -> String {
    if plan.protection.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nChanges to Protection:\n");
    for (address, by) in &plan.protection {
        let _ = match by {
            Some(by) => {
                writeln!(text, "  {} {address} is protected by {by}", paint.green("+"))
            }
            None => writeln!(text, "  {} {address} may be destroyed again", paint.red("-")),
        };
    }
    text
}

/// What it costs before and after, with an empty line before it.
pub fn cost(plan: &Plan) -> String {
    // What a part of the placement costs is not what the whole of it costs.
    if !plan.scope.is_whole() {
        return String::new();
    }
    let after = match plan.operation {
        Operation::Destroy => 0.0,
        Operation::Refresh => return String::new(),
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
