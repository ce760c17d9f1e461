//! `plan`: what would change, and what it would cost.

use super::Ended;
use super::arguments::{PlanArguments, RunArguments};
use super::planning::{self, Aim, Planned, Wish};
use super::saved;
use super::screen::Screen;
use super::session::{Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::plan::Plan;
use crate::view;

pub async fn run(screen: &Screen, arguments: &PlanArguments, ordered: &[(bool, String)]) -> Ended {
    refuse_foreign(&arguments.run)?;
    version_event(screen);
    let setting = Setting::new(&arguments.directory, &arguments.run.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    session.begin().await?;
    let aim = aim(&arguments.run, arguments.destroy)?;
    let wish = wish(&arguments.run, aim, false);
    let planned = planning::plan(&session, &wish).await?;
    if arguments.concise && !screen.json {
        concise(screen, &planned.plan);
    } else {
        show(screen, &planned, "plan");
    }
    screen.diagnostics(&planned.warnings);
    if let Some(path) = &arguments.out {
        saved::write(path, &planned.plan, &session.stack.encryption, &setting.directory)?;
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
    let message = view::plan::summary(plan, view::Paint::Plain);
    let fields = view::events::change_summary(plan.counts(), operation);
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

pub fn wish<'a>(run: &'a RunArguments, aim: Aim<'a>, resume: bool) -> Wish<'a> {
    Wish {
        aim,
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

/// What these flags ask for.
pub fn aim(run: &RunArguments, destroy: bool) -> Result<Aim<'static>, Vec<Diagnostic>> {
    if !run.refresh_only {
        return Ok(if destroy { Aim::Nothing } else { Aim::Stack });
    }
    let others = [
        ("-destroy", destroy),
        ("-refresh=false", !run.refresh),
        ("-replace", !run.replace.is_empty()),
        ("-target", !run.target.is_empty()),
        ("-exclude", !run.exclude.is_empty()),
    ];
    match others.into_iter().find(|(_, given)| *given) {
        None => Ok(Aim::Records),
        Some((flag, _)) => Err(vec![
            Diagnostic::error(
                "Incompatible options",
                format!(
                    "-refresh-only records what everything is like now; it cannot go with {flag}."
                ),
            )
            .hint("use one of the two"),
        ]),
    }
}

/// Flags of Terraform's that mean nothing here: refused with why, never ignored.
pub fn refuse_foreign(run: &RunArguments) -> Result<(), Vec<Diagnostic>> {
    match &run.generate_config_out {
        None => Ok(()),
        Some(_) => Err(vec![
            Diagnostic::error(
                "Nothing to generate",
                "With -generate-config-out Terraform writes a `resource` block for each import. A stack has no such blocks: its resources follow from services, jobs and registries.",
            )
            .hint("declare the service whose object it is, then import to the address that `fleetform plan` shows"),
        ]),
    }
}
