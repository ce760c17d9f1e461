//! `drift`: is everything as recorded? Exit 0 in sync, 2 drift, 1 error.

use super::Ended;
use super::arguments::Drift;
use super::plan::{refuse_foreign, version_event};
use super::screen::Screen;
use super::session::{Session, Setting};
use crate::{plan, refresh, view};

pub async fn run(screen: &Screen, arguments: &Drift, ordered: &[(bool, String)]) -> Ended {
    refuse_foreign(&arguments.run)?;
    version_event(screen);
    let setting = Setting::new(&arguments.directory, &arguments.run.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    let records = session.journal.read(|log| log.state().records.clone()).await;
    let parallelism = arguments.run.parallelism.into();
    let listener = session.reading();
    let vault = &session.stack.vault;
    let mut observed =
        refresh::observe(&records, &session.clouds, vault, parallelism, &listener).await?;
    plan::ignore_drift(&session.stack, &observed.records, &mut observed.drift);
    for drift in &observed.drift {
        let (message, fields) = view::events::resource_drift(drift);
        screen.event("info", "resource_drift", &message, fields);
    }
    let gone = observed.drift.iter().filter(|drift| drift.after.is_none()).count();
    let changed = observed.drift.len() - gone;
    let fields = serde_json::json!({ "drift": {
        "managed": records.len(), "changed": changed, "missing": gone,
    } });
    if observed.drift.is_empty() {
        let message = format!("No drift. {} objects are as recorded.", records.len());
        screen.say(&format!("{message}\n"));
        screen.event("info", "drift_summary", &message, fields);
        return Ok(0);
    }
    screen.say("Objects have changed outside of Fleetform:\n\n");
    for drift in &observed.drift {
        screen.say(&view::plan::drifted(drift, screen.paint, usize::MAX));
        screen.say("\n");
    }
    let message =
        format!("Drift: {changed} changed, {gone} missing, of {} managed objects.", records.len());
    screen.say(&format!("{}\n", screen.paint.bold(&message)));
    if !screen.in_automation {
        screen.say("\n\"fleetform apply\" makes them what the stack says again.\n");
    }
    screen.event("info", "drift_summary", &message, fields);
    Ok(2)
}
