//! Container registries: `Microsoft.ContainerRegistry/registries`.

use fleetform_contract::{Mark, Progress, Record, Reference, Remote, Resource, Result, Value};
use http::Method;
use serde_json::{Value as Json, json};

use crate::attributes::{
    collect, ensure, json, location, mark, put, remote, required, segment, tags,
};
use crate::transport::{Arm, Change};
use crate::{groups, roles};

/// Of `Microsoft.ContainerRegistry`.
pub const VERSION: &str = "2025-11-01";

/// `/subscriptions/S/resourceGroups/G/providers/Microsoft.ContainerRegistry/registries/NAME`.
fn id(arm: &Arm, group: &str, name: &str) -> Result<String> {
    let group = groups::id(arm, group)?;
    Ok(format!("{group}/providers/Microsoft.ContainerRegistry/registries/{name}"))
}

pub async fn read(arm: &Arm, reference: Reference<'_>) -> Result<Option<Remote>> {
    let id = match reference.id {
        Some(id) => id.to_owned(),
        None => {
            let group = required(reference.attributes, "resource_group_name")?;
            id(arm, group, required(reference.attributes, "name")?)?
        }
    };
    Ok(arm.get(&id, VERSION).await?.map(|body| as_remote(id, &body)))
}

pub async fn create(arm: &Arm, desired: &Resource, progress: &dyn Progress) -> Result<Remote> {
    let group = required(&desired.attributes, "resource_group_name")?;
    let id = id(arm, group, required(&desired.attributes, "name")?)?;
    let mut body = changeable(desired);
    body["location"] = json(&desired.attributes, "location");
    let made = ensure(arm, desired, put(&id, VERSION, body), progress).await?;
    Ok(as_remote(id, &made))
}

pub async fn update(
    arm: &Arm,
    record: &Record,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let change = Change { method: Method::PATCH, ..put(&record.id, VERSION, changeable(desired)) };
    let now = arm.change(change, progress).await?;
    Ok(as_remote(record.id.clone(), &now))
}

/// The registries with the owner's tags, and what is assigned at them.
pub async fn list(arm: &Arm, scope: &str, stack: &str) -> Result<Vec<(Mark, Remote)>> {
    let path = format!("{scope}/providers/Microsoft.ContainerRegistry/registries");
    let mut found = Vec::new();
    for body in arm.list(&path, VERSION, None).await? {
        let Some(mark) = mark(tags(&body), stack) else { continue };
        let group = body["id"].as_str().and_then(|id| segment(id, "resourceGroups"));
        let (Some(group), Some(name)) = (group, body["name"].as_str()) else { continue };
        let id = id(arm, group, name)?;
        found.extend(roles::list(arm, &id, stack).await?);
        found.push((mark, as_remote(id, &body)));
    }
    Ok(found)
}

fn changeable(desired: &Resource) -> Json {
    let attributes = &desired.attributes;
    json!({
        "tags": json(attributes, "tags"),
        "sku": { "name": json(attributes, "sku") },
        "properties": { "adminUserEnabled": json(attributes, "admin_enabled") },
    })
}

fn as_remote(id: String, body: &Json) -> Remote {
    let attributes = collect([
        ("name", Value::from_plain_json(&body["name"])),
        ("location", location(body)),
        ("resource_group_name", segment(&id, "resourceGroups").into()),
        ("sku", Value::from_plain_json(&body["sku"]["name"])),
        ("admin_enabled", (body["properties"]["adminUserEnabled"] == true).into()),
        ("login_server", Value::from_plain_json(&body["properties"]["loginServer"])),
        ("tags", Value::from_plain_json(tags(body))),
    ]);
    remote(id, attributes)
}
