//! Subscriptions and resource groups.

use fleetform_sandbox::{Object, Table};
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal, refuse};
use super::{
    CLUSTERS, Call, GROUPS, POOLS, REGISTRIES, begin, clusters, no_such_type, operations,
    registries, search, state, validate, wrong_method,
};
use crate::catalog;

pub fn route(table: &mut Table, call: &Call, rest: &[&str]) -> Result<Answer, Refusal> {
    let method = call.method.as_str();
    match (method, rest) {
        ("GET", []) => Ok(Answer::ok(subscription(call))),
        ("GET", ["locations"]) => Ok(locations(call)),
        ("GET", ["resources"]) => search::resources(table, call, None),
        ("GET", ["operationresults", id]) => operations::result(table, call, id),
        ("GET", ["resourcegroups"]) => list(table, call),
        ("GET", ["resourcegroups", group, "resources"]) => {
            existing(table, call)?;
            search::resources(table, call, Some(group))
        }
        ("GET", ["resourcegroups", _]) => existing(table, call).map(Answer::ok),
        ("HEAD", ["resourcegroups", _]) => Ok(Answer::empty(match existing(table, call) {
            Ok(_) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::NOT_FOUND,
        })),
        ("PUT", ["resourcegroups", _]) => put(table, call),
        ("PATCH", ["resourcegroups", _]) => patch(table, call),
        ("DELETE", ["resourcegroups", _]) => delete(table, call),
        (_, [] | ["locations" | "resources" | "resourcegroups"] | ["resourcegroups", _]) => {
            Err(wrong_method(call))
        }
        _ => Err(no_such_type(call)),
    }
}

/// The group of the call's path, where something can be made in it.
pub fn expect_open(table: &Table, call: &Call) -> Result<(), Refusal> {
    let group = existing(table, call)?;
    if state(&group) == "Deleting" {
        return refuse(Refusal::conflict(
            "ResourceGroupBeingDeleted",
            format!(
                "The resource group '{}' is in deprovisioning state and cannot perform this operation.",
                call.name(3)
            ),
        ));
    }
    Ok(())
}

/// The group of the call's path.
pub fn existing(table: &Table, call: &Call) -> Result<Json, Refusal> {
    table.get(GROUPS, &key(call)).map(|object| object.body.clone()).ok_or_else(|| {
        Refusal::missing(
            "ResourceGroupNotFound",
            format!("Resource group '{}' could not be found.", call.name(3)),
        )
    })
}

/// A group that was being deleted is gone, with everything in it.
pub fn settle(table: &mut Table, key: &str) {
    let prefix = format!("{key}/");
    let inside = |table: &Table, collection: &str| -> Vec<String> {
        table.list(collection, &prefix).map(|(key, _)| key.to_owned()).collect()
    };
    for cluster in inside(table, CLUSTERS) {
        clusters::remove(table, &cluster);
    }
    for registry in inside(table, REGISTRIES) {
        registries::remove(table, &registry);
    }
    table.remove(GROUPS, key);
}

/// `SUBSCRIPTION/GROUP`, in lower case.
pub fn key(call: &Call) -> String {
    format!("{}/{}", call.subscription(), call.lower[3])
}

fn put(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    let name = call.name(3);
    if !crate::groups::is_name(name) {
        return refuse(Refusal::bad(
            "InvalidResourceGroupName",
            format!(
                "The provided resource group name '{name}' has these invalid characters or is too long."
            ),
        ));
    }
    // `id`, `name`, `type` and `properties` are Azure's own; a caller may send them back.
    let known = ["id", "name", "type", "location", "tags", "managedBy", "properties"];
    validate::fields(&call.body, &known, "ResourceGroupDefinition")?;
    validate::tags(&call.body["tags"])?;
    let key = key(call);
    let before = table.get(GROUPS, &key).map(|object| object.body.clone());
    if before.is_some() {
        expect_open(table, call)?;
    }
    let location = validate::location(call, before.as_ref(), "Microsoft.Resources/resourceGroups")?;
    let name = before.as_ref().and_then(|body| body["name"].as_str()).unwrap_or(name).to_owned();
    let body = json!({
        "id": format!("/subscriptions/{}/resourceGroups/{name}", call.name(1)),
        "name": name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": location,
        "tags": if call.body["tags"].is_null() { json!({}) } else { call.body["tags"].clone() },
        "properties": { "provisioningState": "Succeeded" },
    });
    table.put(GROUPS, key, Object { body: body.clone(), settles_at: 0 });
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Answer::new(status, body))
}

fn patch(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    expect_open(table, call)?;
    validate::fields(
        &call.body,
        &["name", "tags", "managedBy", "properties"],
        "ResourceGroupPatchable",
    )?;
    validate::tags(&call.body["tags"])?;
    let mut body = existing(table, call)?;
    if !call.body["tags"].is_null() {
        body["tags"] = call.body["tags"].clone();
    }
    table.put(GROUPS, key(call), Object { body: body.clone(), settles_at: 0 });
    Ok(Answer::ok(body))
}

fn delete(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    let body = existing(table, call)?;
    let key = key(call);
    if state(&body) == "Deleting" {
        let settles_at = table.get(GROUPS, &key).map_or(0, |object| object.settles_at);
        return Ok(operations::accept(call, settles_at));
    }
    let prefix = format!("{key}/");
    for collection in [CLUSTERS, POOLS, REGISTRIES] {
        let inside: Vec<String> =
            table.list(collection, &prefix).map(|(key, _)| key.to_owned()).collect();
        for inside in inside {
            if let Some(object) = table.get_mut(collection, &inside) {
                // Whatever was going on there ends with the group.
                object.settles_at = 0;
                object.body["properties"]["provisioningState"] = "Deleting".into();
            }
        }
    }
    let settles_at = begin(table, GROUPS, &key, body, "Deleting");
    Ok(operations::accept(call, settles_at))
}

fn list(table: &Table, call: &Call) -> Result<Answer, Refusal> {
    let filter = search::Filter::parse(call.query("$filter"))?;
    let prefix = format!("{}/", call.subscription());
    let groups = table.list(GROUPS, &prefix).filter(|(_, group)| filter.admits(&group.body));
    Ok(Answer::page(call, groups.map(|(key, group)| (key.to_owned(), group.body.clone()))))
}

fn subscription(call: &Call) -> Json {
    json!({
        "id": format!("/subscriptions/{}", call.name(1)),
        "subscriptionId": call.name(1),
        "tenantId": "00000000-0000-0000-0000-000000000000",
        "displayName": "Sandbox",
        "state": "Enabled",
        "authorizationSource": "RoleBased",
    })
}

fn locations(call: &Call) -> Answer {
    let mut regions: Vec<&str> = catalog::rows().iter().map(|row| row.region).collect();
    regions.dedup();
    let location = |region: &str| {
        json!({
            "id": format!("/subscriptions/{}/locations/{region}", call.name(1)),
            "name": region,
            "type": "Region",
            "displayName": region,
        })
    };
    Answer::ok(json!({ "value": regions.into_iter().map(location).collect::<Vec<_>>() }))
}
