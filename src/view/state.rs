//! A state in the layout of Terraform's state file, version 4, with the whole of it under our own key
//! `fleetform`: tools that read Terraform's states understand the first part, and nothing is lost.

use std::collections::BTreeMap;

use fleetform_contract::{Record, Value};
use fleetform_state::State;
use serde_json::{Map, Value as Json, json};

/// The version of what stands under `fleetform`.
pub const FORMAT: u32 = 1;

pub fn json(state: &State) -> Json {
    // Who writes at the moment is no part of what is known.
    let state = &State { claims: Default::default(), ..state.clone() };
    let outputs: Map<String, Json> = state
        .outputs
        .iter()
        .map(|(name, output)| {
            let mut shown = json!({
                "value": output.value.to_plain_json(),
                "type": super::json::kind(&output.value),
            });
            if output.sensitive {
                shown["sensitive"] = true.into();
            }
            (name.clone(), shown)
        })
        .collect();
    json!({
        "version": 4,
        "terraform_version": env!("CARGO_PKG_VERSION"),
        "serial": state.serial,
        "lineage": state.lineage(),
        "outputs": outputs,
        "resources": resources(state),
        "check_results": null,
        "fleetform": { "format": FORMAT, "state": state },
    })
}

/// Terraform has one resource for all keys of a type and name.
fn resources(state: &State) -> Vec<Json> {
    let mut grouped: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
    for record in state.records.values() {
        let address = &record.address;
        grouped.entry((&address.kind, &address.name)).or_default().push(record);
    }
    let resources = grouped.into_iter().map(|((kind, name), records)| {
        let mut resource = json!({
            "mode": "managed",
            "type": kind,
            "name": name,
            "provider": format!("provider[\"{}\"]", super::json::provider_name(kind)),
            "instances": records.iter().map(|record| instance(record)).collect::<Vec<_>>(),
        });
        if records.iter().any(|record| record.address.key.is_some()) {
            resource["each"] = "map".into();
        }
        resource
    });
    resources.collect()
}

fn instance(record: &Record) -> Json {
    let attributes: Map<String, Json> = record
        .attributes
        .iter()
        .map(|(name, value)| (name.clone(), value.to_plain_json()))
        .collect();
    let mut sensitive = Vec::new();
    for (name, value) in &record.attributes {
        secrets(value, &mut vec![json!({ "type": "get_attr", "value": name })], &mut sensitive);
    }
    let dependencies: Vec<String> = record.depends_on.iter().map(ToString::to_string).collect();
    let mut instance = json!({
        "schema_version": 0,
        "attributes": attributes,
        "sensitive_attributes": sensitive,
        "dependencies": dependencies,
    });
    if let Some(key) = &record.address.key {
        instance["index_key"] = key.clone().into();
    }
    if record.tainted {
        instance["status"] = "tainted".into();
    }
    instance
}

/// The paths of the secrets in a value, as Terraform writes them.
fn secrets(value: &Value, path: &mut Vec<Json>, found: &mut Vec<Json>) {
    match value {
        Value::Secret(_) => found.push(path.clone().into()),
        Value::Map(map) => {
            for (name, item) in map {
                path.push(json!({ "type": "get_attr", "value": name }));
                secrets(item, path, found);
                path.pop();
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let value = json!({ "value": index, "type": "number" });
                path.push(json!({ "type": "index", "value": value }));
                secrets(item, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}
