//! `placement`: where everything would run, as things are and under other conditions; and the model
//! itself, for other solvers.

use fleetform_contract::{Capacity, Quota};

use super::Ended;
use super::arguments::{ModelFormat, PlacementAction, PlacementArguments, PlacementExport};
use super::planning;
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::config::{Stack, matches_pattern, nearest};
use crate::diagnostic::Diagnostic;
use crate::placement::{self, End, Placement};
use crate::problem::{Conditions, Problem};
use crate::view;

pub async fn run(
    screen: &Screen,
    arguments: &PlacementArguments,
    ordered: &[(bool, String)],
) -> Ended {
    if let Some(PlacementAction::Export(arguments)) = &arguments.action {
        return export(screen, arguments, ordered).await;
    }
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    let conditions = conditions(arguments, &session.stack)?;
    let last = planning::last_placement(&session.journal).await;
    if !arguments.pareto.is_empty() {
        return front(&session, arguments, &conditions, last.as_ref()).await;
    }
    let plain = planning::pose(&session, &Conditions::default(), last.as_ref()).await?;
    screen.diagnostics(&plain.warnings);
    let is_asked = conditions != Conditions::default() || !arguments.without.is_empty();
    let usual = planning::solving(move || placement::solve(&plain)).await;
    if !is_asked {
        show(screen, arguments, &usual?, None);
        return Ok(0);
    }
    let problem = planning::pose(&session, &conditions, last.as_ref()).await?;
    let problem = without(&problem, &arguments.without)?;
    let decided = planning::solving(move || placement::solve(&problem)).await?;
    // Where nothing can be placed as things are, there is nothing to compare with.
    show(screen, arguments, &decided, usual.ok().as_ref());
    Ok(0)
}

/// Points of a front, the nearest and the cheapest among them.
const POINTS: u32 = 9;

/// The front of cost and another end, as a table or JSON and as a chart.
async fn front(
    session: &Session<'_>,
    arguments: &PlacementArguments,
    conditions: &Conditions,
    last: Option<&Placement>,
) -> Ended {
    let mut ends = arguments.pareto.clone();
    ends.sort();
    let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
    let (end, name) = match ends.as_slice() {
        ["cost", "latency"] => (End::Latency, "latency_ms"),
        ["carbon", "cost"] => (End::Carbon, "carbon_kg_month"),
        _ => {
            let detail = format!("-pareto={} is not a pair of ends.", arguments.pareto.join(","));
            let hint = "write -pareto=cost,latency or -pareto=cost,carbon";
            return Err(vec![Diagnostic::error("Not a pair of ends", detail).hint(hint)]);
        }
    };
    let problem = planning::pose(session, conditions, last).await?;
    let problem = without(&problem, &arguments.without)?;
    let points = planning::solving(move || placement::pareto(&problem, end, POINTS)).await?;
    if let Some(path) = &arguments.out {
        let chart = view::pareto::chart(&points, end, &session.stack.name);
        std::fs::write(path, chart).map_err(|error| {
            let detail = format!("Writing {}: {error}.", path.display());
            vec![Diagnostic::error("The chart cannot be written", detail)]
        })?;
    }
    if arguments.json {
        let points = points
            .iter()
            .map(|point| serde_json::json!({ name: point.amount, "placement": point.placement }));
        let json = serde_json::json!({ "front": points.collect::<Vec<_>>() });
        let json = serde_json::to_string_pretty(&json).expect("placements serialize");
        write_out(&format!("{json}\n"));
    } else {
        write_out(&view::pareto::front(&points, end, session.screen.paint));
    }
    Ok(0)
}

async fn export(screen: &Screen, arguments: &PlacementExport, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    let last = planning::last_placement(&session.journal).await;
    let problem = planning::pose(&session, &Conditions::default(), last.as_ref()).await?;
    let text = match arguments.format {
        ModelFormat::Mps => placement::mps(&problem),
    };
    match &arguments.out {
        None => write_out(&text),
        Some(path) => std::fs::write(path, text).map_err(|error| {
            let detail = format!("Writing {}: {error}.", path.display());
            vec![Diagnostic::error("The model cannot be written", detail)]
        })?,
    }
    Ok(0)
}

fn show(
    screen: &Screen,
    arguments: &PlacementArguments,
    decided: &Placement,
    usual: Option<&Placement>,
) {
    if arguments.json {
        let json = serde_json::json!({
            "placement": decided,
            "compared": usual.map(|usual| serde_json::json!({
                "total_month": usual.cost.total_month,
                "extra_month": decided.cost.total_month - usual.cost.total_month,
                "moves": placement::moved(usual, decided),
            })),
        });
        let json = serde_json::to_string_pretty(&json).expect("placements serialize");
        return write_out(&format!("{json}\n"));
    }
    write_out(&view::plan::placement(decided, screen.paint, screen.table_width));
    if let Some(usual) = usual {
        write_out(&view::explain::comparison(usual, decided));
    }
}

/// The problem without what matches the patterns: clouds, sites or offerings.
fn without(problem: &Problem, patterns: &[String]) -> Result<Problem, Vec<Diagnostic>> {
    // A cloud, a site and a region stand for everything inside them.
    let matches = |pattern: &str, id: &str| {
        let wider = [pattern.to_owned(), format!("{pattern}/*"), format!("*/{pattern}/*")];
        wider.iter().any(|pattern| matches_pattern(pattern, id))
    };
    let idle: Vec<Diagnostic> = patterns
        .iter()
        .filter(|pattern| !problem.candidates.iter().any(|one| matches(pattern, &one.id)))
        .map(|pattern| {
            let offerings = problem.candidates.iter().map(|candidate| &candidate.offering);
            let names = problem.sites.keys().map(String::as_str);
            let names = names.chain(offerings.flat_map(|o| [o.cloud.as_str(), o.region.as_str()]));
            let near = nearest(pattern, names.collect::<std::collections::BTreeSet<_>>());
            let detail = format!("No offering that the stack could use matches `{pattern}`.");
            Diagnostic::error("Nothing to go without", detail).hint(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a cloud, a region (CLOUD/REGION) or an offering, with * for any text"
                    .to_owned(),
            })
        })
        .collect();
    if !idle.is_empty() {
        return Err(idle);
    }
    let left = problem.without(|_, candidate| patterns.iter().any(|p| matches(p, &candidate.id)));
    left.map_err(|stranded| {
        let names: Vec<String> = stranded.iter().map(|name| format!("`{name}`")).collect();
        let detail =
            format!("Without {}, no offering fits {}.", patterns.join(" and "), names.join(", "));
        vec![
            Diagnostic::error("No offering is left", detail)
                .hint("allow these workloads other clouds, regions or GPU types"),
        ]
    })
}

fn conditions(
    arguments: &PlacementArguments,
    stack: &Stack,
) -> Result<Conditions, Vec<Diagnostic>> {
    let mut conditions = Conditions { budget_month: arguments.budget, ..Conditions::default() };
    let mut errors = Vec::new();
    for text in &arguments.with {
        match condition(text, stack) {
            Ok(Condition::Quota(cloud, quota)) => conditions.quotas.push((cloud, quota)),
            Ok(Condition::Capacity(cloud, capacity)) => {
                conditions.capacities.push((cloud, capacity));
            }
            Err(detail) => errors.push(
                Diagnostic::error("Not a condition", format!("-with={text}: {detail}.")).hint(
                    "write quota:CLOUD/REGION/GPU_TYPE=GPUS with * for any, or capacity:CLOUD/gpus=N",
                ),
            ),
        }
    }
    if errors.is_empty() { Ok(conditions) } else { Err(errors) }
}

enum Condition {
    Quota(String, Quota),
    Capacity(String, Capacity),
}

/// `quota:aws/us-east-1/H100=16`, `quota:aws/*/*=64`, `capacity:azure/gpus=12`.
fn condition(text: &str, stack: &Stack) -> Result<Condition, String> {
    let (what, amount) = text.split_once('=').ok_or("it has no `=`")?;
    let amount: u32 = amount.trim().parse().map_err(|_| format!("`{amount}` is no number"))?;
    let (kind, place) = what.split_once(':').ok_or("it names no kind of limit")?;
    let parts: Vec<&str> = place.split('/').collect();
    let cloud = parts[0].to_owned();
    if !stack.clouds.contains_key(&cloud) {
        return Err(format!("the stack has no cloud `{cloud}`"));
    }
    let named = |part: &str| Some(part.to_owned()).filter(|part| part != "*");
    match (kind, &parts[1..]) {
        ("quota", [region, gpu_type]) => {
            let quota =
                Quota { region: named(region), gpu_type: named(gpu_type), max_gpus: amount };
            Ok(Condition::Quota(cloud, quota))
        }
        ("capacity", [what]) => {
            let mut capacity = Capacity::default();
            match *what {
                "gpus" => capacity.gpus = Some(f64::from(amount)),
                "cpus" => capacity.cpus = Some(f64::from(amount)),
                "nodes" => capacity.nodes = Some(amount),
                other => return Err(format!("a capacity has gpus, cpus or nodes, not `{other}`")),
            }
            Ok(Condition::Capacity(cloud, capacity))
        }
        _ => Err("it is neither a quota nor a capacity".to_owned()),
    }
}
