//! The event stream of `-json`: one object a line, in the shapes of Terraform's UI 1.2.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetform_contract::{Address, Record, Value};
use serde_json::{Value as Json, json};

use crate::plan::{Action, Change, Counts, Operation, Phase, Plan, Reason};

/// Puts the common fields around an event.
pub fn event(level: &str, kind: &str, message: &str, timestamp: &str, fields: Json) -> Json {
    let mut event = json!({
        "@level": level,
        "@message": message,
        "@module": "fleetform.ui",
        "@timestamp": timestamp,
        "type": kind,
    });
    if let (Some(event), Json::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    event
}

pub fn resource(address: &Address) -> Json {
    json!({
        "addr": address.to_string(),
        "module": "",
        "resource": address.to_string(),
        "implied_provider": address.kind.split('_').next(),
        "resource_type": address.kind,
        "resource_name": address.name,
        "resource_key": address.key,
    })
}

fn action(change: &Change) -> &'static str {
    match change.action {
        Action::NoOp if change.previous.is_some() => "move",
        Action::NoOp if change.importing.is_some() => "import",
        Action::NoOp => "noop",
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Forget => "remove",
    }
}

/// (message, fields) of `planned_change`.
pub fn planned_change(change: &Change) -> (String, Json) {
    let mut inner = json!({
        "resource": resource(&change.address),
        "action": action(change),
    });
    if let Some(previous) = &change.previous {
        inner["previous_resource"] = resource(previous);
    }
    if let Some(id) = &change.importing {
        inner["importing"] = json!({ "id": id });
    }
    let reason = match change.reason {
        Some(Reason::ReplaceBecauseCannotUpdate) => "cannot_update",
        Some(Reason::ReplaceByTriggers) => "replace_triggered_by",
        Some(Reason::ReplaceByRequest) => "requested",
        Some(Reason::ReplaceBecauseTainted) => "tainted",
        Some(Reason::DeleteBecauseNoResourceConfig) => "delete_because_no_resource_config",
        Some(Reason::DeleteBecauseNoMoveTarget) => "delete_because_no_move_target",
        Some(Reason::ForgetBecauseNeeded) | None => "",
    };
    if !reason.is_empty() {
        inner["reason"] = reason.into();
    }
    let message = format!("{}: Plan to {}", change.address, action(change));
    (message, json!({ "change": inner }))
}

/// (message, fields) of `resource_drift`.
pub fn resource_drift(drift: &crate::plan::Drift) -> (String, Json) {
    let action = if drift.after.is_some() { "update" } else { "delete" };
    let paths: Vec<String> = drift.paths.iter().map(|path| super::change::path(path)).collect();
    let change = json!({ "resource": resource(&drift.address), "action": action, "paths": paths });
    (format!("{}: Drift detected ({action})", drift.address), json!({ "change": change }))
}

/// Fields of `change_summary`.
pub fn change_summary(counts: Counts, operation: &str) -> Json {
    let Counts { import, add, change, destroy } = counts;
    json!({ "changes": {
        "add": add, "change": change, "import": import, "remove": destroy, "operation": operation,
    } })
}

/// Of an incomplete run: each address with an operation that is not done, and how that ended.
pub fn unfinished(ends: &[(&Address, &str)]) -> Json {
    ends.iter()
        .map(|(address, outcome)| json!({ "resource": resource(address), "outcome": outcome }))
        .collect()
}

pub fn operation(plan: &Plan) -> &'static str {
    match plan.operation {
        Operation::Apply | Operation::Refresh => "apply",
        Operation::Destroy => "destroy",
    }
}

/// Fields of `outputs`.
pub fn outputs(outputs: &BTreeMap<String, (Value, bool)>) -> Json {
    let shown = outputs.iter().map(|(name, (value, sensitive))| {
        let mut out = json!({ "sensitive": sensitive, "type": super::json::kind(value) });
        if !sensitive && !value.has_unknown() {
            out["value"] = value.to_plain_json();
        }
        (name.clone(), out)
    });
    json!({ "outputs": shown.collect::<serde_json::Map<_, _>>() })
}

/// Fields of `outputs` after a plan: what will happen to each, not what it will be.
pub fn planned_outputs(plan: &Plan) -> Json {
    let shown = plan.outputs.iter().map(|(name, output)| {
        let action = super::json::output_action(output, "noop");
        (name.clone(), json!({ "sensitive": output.sensitive, "action": action }))
    });
    json!({ "outputs": shown.collect::<serde_json::Map<_, _>>() })
}

/// Verbs of a step: (`action` in JSON, "Creating", "Creation").
pub fn words(change: &Change, phase: Phase) -> (&'static str, &'static str, &'static str) {
    match (phase, change.action) {
        (Phase::Remove, _) => ("delete", "Destroying", "Destruction"),
        (Phase::Make, Action::Update) => ("update", "Modifying", "Modifications"),
        (Phase::Make, _) => ("create", "Creating", "Creation"),
    }
}

/// Fields of `apply_start`, `apply_progress`, `apply_complete` and `apply_errored`.
pub fn hook(
    change: &Change,
    phase: Phase,
    record: Option<&Record>,
    elapsed: Option<Duration>,
) -> Json {
    let mut hook = json!({
        "resource": resource(&change.address),
        "action": words(change, phase).0,
    });
    if let Some(record) = record {
        hook["id_key"] = "id".into();
        hook["id_value"] = record.id.clone().into();
    }
    if let Some(elapsed) = elapsed {
        hook["elapsed_seconds"] = elapsed.as_secs().into();
    }
    json!({ "hook": hook })
}
