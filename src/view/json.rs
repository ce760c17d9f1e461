//! A plan in Terraform's JSON layout (format 1.2), with our own keys beside theirs: `fleetform`, which
//! holds placement, cost and the plan's hash. Nothing of theirs is renamed; everything is sorted.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Attributes, Record, Value};
use serde_json::{Map, Value as Json, json};

use crate::plan::{Action, Change, CheckStatus, Operation, OutputChange, Plan, Reason};

/// The whole plan as one JSON object.
pub fn plan(plan: &Plan) -> Json {
    json!({
        "format_version": "1.2",
        "terraform_version": plan.fleetform_version,
        "variables": variables(plan),
        "planned_values": { "outputs": planned_outputs(plan), "root_module": { "resources": planned(plan) } },
        "resource_drift": plan.drift.iter().map(drift).collect::<Vec<_>>(),
        "resource_changes": plan.changes.iter().map(resource_change).collect::<Vec<_>>(),
        "output_changes": plan.outputs.iter()
            .map(|(name, output)| (name.clone(), output_change(output)))
            .collect::<Map<_, _>>(),
        "prior_state": {
            "format_version": "1.0",
            "terraform_version": plan.fleetform_version,
            "values": { "root_module": { "resources": prior(plan) } },
        },
        "configuration": { "root_module": {} },
        "checks": plan.checks.iter().map(|check| {
            let status = check_status(check.status);
            let display = format!("check.{}", check.name);
            json!({
                "address": { "kind": "check", "name": check.name, "to_display": display },
                "status": status,
                "instances": [{
                    "address": { "to_display": display },
                    "status": status,
                    "problems": check.problems.iter()
                        .map(|message| json!({ "message": message })).collect::<Vec<_>>(),
                }],
            })
        }).collect::<Vec<_>>(),
        "timestamp": plan.created,
        "applyable": plan.has_changes(),
        "complete": true,
        "errored": false,
        "fleetform": {
            "stack": plan.stack,
            "lineage": plan.lineage,
            "serial": plan.serial,
            "hash": plan.hash(),
            "loads": plan.inputs.loads,
            "day": plan.inputs.day,
            "placement": plan.placement,
            "cost": cost(plan),
            "protection": plan.protection,
            "goes_back_to": plan.goes_back_to,
        },
    })
}

/// Dollars a month before and after.
pub fn cost(plan: &Plan) -> Json {
    let before = plan.cost_before_month.unwrap_or(0.0);
    let after = match (plan.operation, &plan.placement) {
        (Operation::Apply | Operation::Refresh, Some(placement)) => placement.cost.total_month,
        _ => 0.0,
    };
    json!({
        "currency": "USD",
        "before_month": before,
        "after_month": after,
        "difference_month": after - before,
    })
}

fn check_status(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Pass => "pass",
        CheckStatus::Fail => "fail",
        CheckStatus::Unknown => "unknown",
    }
}

fn variables(plan: &Plan) -> Map<String, Json> {
    let variables = plan.inputs.variables.iter();
    variables.map(|(name, value)| (name.clone(), json!({ "value": shown(value) }))).collect()
}

/// Values as Terraform shows them: what is unknown is left out, what is secret is null.
pub(super) fn values(attributes: &Attributes) -> Json {
    Json::Object(
        attributes
            .iter()
            .filter(|(_, value)| !matches!(value, Value::Unknown(_)))
            .map(|(name, value)| (name.clone(), shown(value)))
            .collect(),
    )
}

fn shown(value: &Value) -> Json {
    match value {
        Value::Map(map) => values(map),
        Value::List(items) => items.iter().map(shown).collect(),
        other => other.to_plain_json(),
    }
}

/// `true` where `test` holds, in the shape of the value; maps without any are empty, as Terraform has it.
fn marks(value: &Value, test: &dyn Fn(&Value) -> bool) -> Json {
    match value {
        Value::Map(map) => map_marks(map, test),
        Value::List(items) => items.iter().map(|item| marks(item, test)).collect(),
        leaf => test(leaf).into(),
    }
}

fn map_marks(map: &BTreeMap<String, Value>, test: &dyn Fn(&Value) -> bool) -> Json {
    let marked = map.iter().map(|(name, value)| (name.clone(), marks(value, test)));
    Json::Object(marked.filter(|(_, mark)| *mark != Json::Bool(false)).collect())
}

fn is_unknown(value: &Value) -> bool {
    matches!(value, Value::Unknown(_))
}

fn is_secret(value: &Value) -> bool {
    matches!(value, Value::Secret(_))
}

fn identity(address: &Address) -> Map<String, Json> {
    let mut out = Map::new();
    out.insert("address".into(), address.to_string().into());
    out.insert("mode".into(), "managed".into());
    out.insert("type".into(), address.kind.clone().into());
    out.insert("name".into(), address.name.clone().into());
    if let Some(key) = &address.key {
        out.insert("index".into(), key.clone().into());
    }
    out.insert("provider_name".into(), provider_name(&address.kind).into());
    out
}

/// The official Terraform provider whose type names these are: the type's prefix names it.
pub(super) fn provider_name(kind: &str) -> String {
    let prefix = kind.split('_').next().unwrap_or(kind);
    format!("registry.terraform.io/hashicorp/{prefix}")
}

fn planned(plan: &Plan) -> Vec<Json> {
    let kept = plan.changes.iter().filter_map(|change| {
        let after = change.after.as_ref()?;
        let mut out = identity(&change.address);
        out.insert("schema_version".into(), 0.into());
        out.insert("values".into(), values(after));
        out.insert("sensitive_values".into(), map_marks(after, &is_secret));
        Some(Json::Object(out))
    });
    kept.collect()
}

fn prior(plan: &Plan) -> Vec<Json> {
    plan.changes.iter().filter_map(|change| change.before.as_ref()).map(record).collect()
}

/// A record as Terraform's state JSON shows a resource.
pub fn record(record: &Record) -> Json {
    let mut out = identity(&record.address);
    out.insert("schema_version".into(), 0.into());
    out.insert("values".into(), values(&record.attributes));
    out.insert("sensitive_values".into(), map_marks(&record.attributes, &is_secret));
    out.insert(
        "depends_on".into(),
        record.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
    );
    Json::Object(out)
}

/// A value's type in Terraform's JSON notation.
pub fn kind(value: &Value) -> Json {
    match value {
        Value::Null | Value::Unknown(_) | Value::Secret(_) => json!("dynamic"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::List(items) => json!(["tuple", items.iter().map(kind).collect::<Vec<_>>()]),
        Value::Map(map) => {
            let kinds = map.iter().map(|(name, value)| (name.clone(), kind(value)));
            json!(["object", kinds.collect::<Map<_, _>>()])
        }
    }
}

fn planned_outputs(plan: &Plan) -> Map<String, Json> {
    let kept = plan.outputs.iter().filter_map(|(name, output)| {
        let after = output.after.as_ref()?;
        let mut out = Map::new();
        out.insert("sensitive".into(), output.sensitive.into());
        if !after.has_unknown() {
            out.insert("type".into(), kind(after));
            out.insert("value".into(), if output.sensitive { Json::Null } else { shown(after) });
        }
        Some((name.clone(), Json::Object(out)))
    });
    kept.collect()
}

fn output_change(output: &OutputChange) -> Json {
    let value = |value: &Option<Value>| match value {
        Some(value) if !output.sensitive => shown(value),
        _ => Json::Null,
    };
    json!({
        "actions": [output_action(output, "no-op")],
        "before": value(&output.before),
        "after": value(&output.after),
        "after_unknown": output.after.as_ref().is_some_and(Value::has_unknown),
        "before_sensitive": output.sensitive,
        "after_sensitive": output.sensitive,
    })
}

/// What happens to an output; `nothing` is the word for the same before and after, which plans and
/// events spell differently.
pub fn output_action(output: &OutputChange, nothing: &'static str) -> &'static str {
    match (&output.before, &output.after) {
        (before, after) if before == after => nothing,
        (None, _) => "create",
        (_, None) => "delete",
        _ => "update",
    }
}

pub fn resource_change(change: &Change) -> Json {
    let mut out = identity(&change.address);
    if let Some(previous) = &change.previous {
        out.insert("previous_address".into(), previous.to_string().into());
    }
    let before = change.before.as_ref().map(|record| &record.attributes);
    let actions = match change.action {
        Action::NoOp => json!(["no-op"]),
        Action::Create => json!(["create"]),
        Action::Update => json!(["update"]),
        Action::Replace => json!(["delete", "create"]),
        Action::Delete => json!(["delete"]),
        Action::Forget => json!(["forget"]),
    };
    let empty = || Json::Object(Map::new());
    let mut inner = json!({
        "actions": actions,
        "before": before.map_or(Json::Null, values),
        "after": change.after.as_ref().map_or(Json::Null, values),
        "after_unknown": change.after.as_ref().map_or_else(empty, |a| map_marks(a, &is_unknown)),
        "before_sensitive": before.map_or(Json::Bool(false), |b| map_marks(b, &is_secret)),
        "after_sensitive": change.after.as_ref().map_or(Json::Bool(false), |a| map_marks(a, &is_secret)),
    });
    if !change.replace_paths.is_empty() {
        let paths = change.replace_paths.iter().map(|path| {
            path.iter()
                .map(|part| part.parse::<u64>().map_or_else(|_| json!(part), |index| json!(index)))
                .collect::<Json>()
        });
        inner["replace_paths"] = paths.collect();
    }
    if let Some(id) = &change.importing {
        inner["importing"] = json!({ "id": id });
    }
    out.insert("change".into(), inner);
    let reason = change.reason.and_then(|reason| match reason {
        Reason::ReplaceBecauseCannotUpdate => Some("replace_because_cannot_update"),
        Reason::ReplaceByTriggers => Some("replace_by_triggers"),
        Reason::ReplaceByRequest => Some("replace_by_request"),
        Reason::ReplaceBecauseTainted => Some("replace_because_tainted"),
        Reason::DeleteBecauseNoResourceConfig => Some("delete_because_no_resource_config"),
        Reason::DeleteBecauseNoMoveTarget => Some("delete_because_no_move_target"),
        // Terraform has no reason for it.
        Reason::ForgetBecauseNeeded => None,
    });
    if let Some(reason) = reason {
        out.insert("action_reason".into(), reason.into());
    }
    Json::Object(out)
}

/// One drifted object in the layout of `resource_drift`, with the paths that differ as our own key.
pub fn drift(drift: &crate::plan::Drift) -> Json {
    let mut out = identity(&drift.address);
    out.insert(
        "change".into(),
        json!({
            "actions": [if drift.after.is_some() { "update" } else { "delete" }],
            "before": values(&drift.before),
            "after": drift.after.as_ref().map_or(Json::Null, values),
            "after_unknown": {},
            "before_sensitive": map_marks(&drift.before, &is_secret),
            "after_sensitive": drift.after.as_ref()
                .map_or(Json::Bool(false), |after| map_marks(after, &is_secret)),
        }),
    );
    let paths: Vec<String> = drift.paths.iter().map(|path| super::change::path(path)).collect();
    out.insert("fleetform_paths".into(), paths.into());
    Json::Object(out)
}
