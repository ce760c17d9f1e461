//! `plan`: what would change, and what it would cost.

use super::Ended;
use super::arguments::{PlanArguments, RunArguments};
use super::planning::{self, Planned, Wish};
use super::saved;
use super::screen::Screen;
use super::session::{Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::plan::{Operation, Plan};
use crate::view;

pub async fn run(screen: &Screen, arguments: &PlanArguments, ordered: &[(bool, String)]) -> Ended {
    refuse_unbuilt(&arguments.run)?;
    version_event(screen);
    let setting = Setting::new(&arguments.directory, &arguments.run.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    session.begin().await?;
    let operation = if arguments.destroy { Operation::Destroy } else { Operation::Apply };
    let wish = wish(&arguments.run, operation, false);
    let planned = planning::plan(&session, &wish).await?;
    if arguments.concise && !screen.json {
        concise(screen, &planned.plan);
    } else {
        show(screen, &planned, "plan");
    }
    screen.diagnostics(&planned.warnings);
    if let Some(path) = &arguments.out {
        saved::write(path, &planned.plan)?;
        screen.say(&format!(
            "\n{}\n\nSaved the plan to: {}\n",
            "─".repeat(screen.width.min(77)),
            path.display()
        ));
        if !screen.in_automation {
            screen.say(&format!(
                "\nTo perform exactly these actions, run the following command to apply:\n    fleetform apply \"{}\"\n",
                path.display()
            ));
        }
    } else if planned.plan.has_changes() && !screen.in_automation {
        screen.say(&format!(
            "\n{}\n\nNote: You didn't use the -out option to save this plan, so Fleetform can't\nguarantee to take exactly these actions if you run \"fleetform apply\" now.\n",
            "─".repeat(screen.width.min(77))
        ));
    }
    let changes = planned.plan.has_changes();
    Ok(if arguments.detailed_exitcode && changes { 2 } else { 0 })
}

/// The plan as text or as events.
pub fn show(screen: &Screen, planned: &Planned, operation: &str) {
    let plan = &planned.plan;
    screen.say(&view::plan::plan(plan, screen.paint, screen.table_width));
    for drift in &plan.drift {
        let (message, fields) = view::events::resource_drift(drift);
        screen.event("info", "resource_drift", &message, fields);
    }
    for change in plan.effects() {
        let (message, fields) = view::events::planned_change(change);
        screen.event("info", "planned_change", &message, fields);
    }
    let counts = plan.counts();
    let message = view::plan::summary(plan, view::Paint::Plain);
    let fields = view::events::change_summary(counts.add, counts.change, counts.destroy, operation);
    screen.event("info", "change_summary", &message, fields);
    if plan.output_changes().next().is_some() {
        let message = format!("Outputs: {}", plan.outputs.len());
        screen.event("info", "outputs", &message, view::events::planned_outputs(plan));
    }
    if screen.json {
        let placement = serde_json::json!({
            "placement": plan.placement,
            "cost": view::json::cost(plan),
        });
        screen.event("info", "placement", "Placement decided", placement);
    }
}

fn concise(screen: &Screen, plan: &Plan) {
    for change in plan.effects() {
        let symbol = view::change::symbol(change.action);
        screen.say(&format!("{symbol} {}\n", change.address));
    }
    if plan.effects().next().is_some() {
        screen.say(&format!("{}\n", view::plan::summary(plan, screen.paint)));
    } else if !plan.has_changes() {
        screen.say(&view::plan::nothing(plan, screen.paint));
    }
    screen.say(&view::plan::outputs(plan, screen.paint));
    screen.say(&view::plan::cost(plan));
}

pub fn wish(run: &RunArguments, operation: Operation, resume: bool) -> Wish<'_> {
    Wish {
        operation,
        refresh: run.refresh,
        parallelism: run.parallelism.into(),
        replace: &run.replace,
        targets: &run.target,
        excluded: &run.exclude,
        resume,
    }
}

pub fn version_event(screen: &Screen) {
    let version = env!("CARGO_PKG_VERSION");
    let fields = serde_json::json!({ "fleetform": version, "terraform": version, "ui": "1.2" });
    screen.event("info", "version", &format!("Fleetform {version}"), fields);
}

/// Flags of Terraform's that mean something and are not built: refused, never ignored.
pub fn refuse_unbuilt(run: &RunArguments) -> Result<(), Vec<Diagnostic>> {
    let given = [
        ("-refresh-only", run.refresh_only),
        ("-generate-config-out", run.generate_config_out.is_some()),
        ("-json-into", run.json_into.is_some()),
    ];
    let refused: Vec<Diagnostic> = given
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(flag, _)| {
            Diagnostic::error(
                "Not supported yet",
                format!("The flag {flag} is known from Terraform and not supported yet."),
            )
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}
