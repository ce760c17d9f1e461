//! `explain`: why a workload runs where it runs, and what would move it; for a resource, what its change
//! in the plan comes from.

use super::Ended;
use super::arguments::Explain;
use super::planning::{self, Aim, Wish};
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::config::nearest;
use crate::diagnostic::Diagnostic;
use crate::placement;
use crate::problem::{Conditions, Problem};
use crate::view;

pub async fn run(screen: &Screen, arguments: &Explain, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    let last = planning::last_placement(&session.journal).await;
    let problem = planning::pose(&session, &Conditions::default(), last.as_ref()).await?;
    let Some(demand) = demand(&problem, &arguments.what) else {
        return resource(&session, &problem, arguments).await;
    };
    screen.diagnostics(&problem.warnings);
    let told = planning::solving(move || {
        placement::solve(&problem).map(|placed| placement::explain(&problem, &placed, demand))
    });
    let told = told.await?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&told).expect("explanations serialize");
        write_out(&format!("{json}\n"));
    } else {
        write_out(&view::explain::explanation(&told, screen.paint));
    }
    Ok(0)
}

/// `service.chat`, or just `chat`.
fn demand(problem: &Problem, what: &str) -> Option<usize> {
    problem.demands.iter().position(|demand| demand.reference == what || demand.workload == what)
}

/// The chain from the stack to one change of the plan.
async fn resource(session: &Session<'_>, problem: &Problem, arguments: &Explain) -> Ended {
    let wish = Wish {
        targets: &[],
        excluded: &[],
        aim: Aim::Stack,
        refresh: true,
        parallelism: 10,
        replace: &[],
        resume: false,
    };
    let before = planning::last_placement(&session.journal).await;
    let planned = planning::plan(session, &wish).await?;
    let mut changes = planned.plan.changes.iter();
    let Some(change) = changes.find(|change| change.address.to_string() == arguments.what) else {
        return Err(vec![unknown(problem, &planned.plan, &arguments.what)]);
    };
    let after = planned.plan.placement.as_ref().expect("an apply has a placement");
    let resource = change.desired.as_ref().map(|resource| &resource.cloud);
    let cloud = resource.or(change.before.as_ref().map(|record| &record.cloud));
    let cloud = cloud.expect("a change has a before or an after");
    let causes = placement::causes(problem, before.as_ref(), after, cloud, &change.address);
    if arguments.json {
        let json =
            serde_json::json!({ "change": view::json::resource_change(change), "causes": causes });
        let json = serde_json::to_string_pretty(&json).expect("changes serialize");
        write_out(&format!("{json}\n"));
    } else {
        write_out(&view::explain::causes(change, &causes, session.screen.paint));
    }
    Ok(0)
}

fn unknown(problem: &Problem, plan: &crate::plan::Plan, what: &str) -> Diagnostic {
    let workloads = problem.demands.iter().map(|demand| demand.reference.clone());
    let addresses = plan.changes.iter().map(|change| change.address.to_string());
    let known: Vec<String> = workloads.chain(addresses).collect();
    let near = nearest(what, known.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let names = problem.demands.iter().map(|demand| demand.reference.as_str());
            let some = names.take(6).collect::<Vec<_>>().join(", ");
            format!("name a workload ({some}), or an address as the plan writes it")
        }
    };
    Diagnostic::error(
        "Nothing of that name to explain",
        format!("The stack has no workload and no resource `{what}`."),
    )
    .hint(hint)
}
