//! What clusters may do elsewhere: `Microsoft.Authorization/roleAssignments`. The nodes of a cluster pull
//! images with an identity of their own, which must be allowed to read the registry.
//!
//! Role assignments have no tags; their description carries what tags would.

use fleetform_contract::{
    Error, Mark, Progress, Record, Reference, Remote, Resource, Result, Value,
};
use serde_json::{Value as Json, json};

use crate::attributes::{collect, ensure, json, mark, put, remote, required};
use crate::transport::Arm;

/// Of `Microsoft.Authorization`.
pub const VERSION: &str = "2022-04-01";

/// Azure's built-in roles that we assign, with their ids.
/// <https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/containers>
const ROLES: [(&str, &str); 1] = [("AcrPull", "7f951dda-4ed3-4680-a7ca-43fe172d538d")];

pub async fn read(arm: &Arm, reference: Reference<'_>) -> Result<Option<Remote>> {
    let id = match (reference.id, reference.text("scope")) {
        (Some(id), _) => id.to_owned(),
        (None, Some(scope)) => id(scope, required(reference.attributes, "name")?),
        // Of a registry that is not made yet there is no id, and there are no assignments.
        (None, None) => return Ok(None),
    };
    Ok(arm.get(&id, VERSION).await?.map(|body| as_remote(id, &body)))
}

pub async fn create(arm: &Arm, desired: &Resource, progress: &dyn Progress) -> Result<Remote> {
    let attributes = &desired.attributes;
    let id = id(required(attributes, "scope")?, required(attributes, "name")?);
    let role = required(attributes, "role_definition_name")?;
    let role = ROLES.iter().find(|(name, _)| *name == role).map(|(_, id)| id);
    let role = role.ok_or_else(|| {
        Error::rejected(format!("{}: the role is none that Fleetform assigns", desired.address))
    })?;
    let definitions =
        format!("{}/providers/Microsoft.Authorization/roleDefinitions", arm.subscription()?);
    let body = json!({
        "properties": {
            "roleDefinitionId": format!("{definitions}/{role}"),
            "principalId": json(attributes, "principal_id"),
            // Told the type, Azure does not look for an identity that is too new to be found.
            "principalType": json(attributes, "principal_type"),
            "description": json(attributes, "description"),
        },
    });
    let made = ensure(arm, desired, put(&id, VERSION, body), progress).await?;
    Ok(as_remote(id, &made))
}

/// Every attribute is for life.
pub fn update(record: &Record) -> Result<Remote> {
    Err(Error::rejected(format!("{} cannot be changed, only replaced", record.address)))
}

/// The assignments at a scope whose description is ours.
pub async fn list(arm: &Arm, scope: &str, stack: &str) -> Result<Vec<(Mark, Remote)>> {
    let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments");
    let bodies = arm.list(&path, VERSION, Some("atScope()")).await?;
    let ours = bodies.iter().filter_map(|body| {
        let mark = mark(&marks(body), stack)?;
        Some((mark, as_remote(id(scope, body["name"].as_str()?), body)))
    });
    Ok(ours.collect())
}

/// What a description says in place of tags.
pub fn marks(body: &Json) -> Json {
    let description = body["properties"]["description"].as_str().unwrap_or_default();
    serde_json::from_str(description).unwrap_or_default()
}

fn id(scope: &str, name: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}")
}

fn as_remote(id: String, body: &Json) -> Remote {
    let properties = &body["properties"];
    let text = Value::from_plain_json;
    let definition = properties["roleDefinitionId"].as_str().unwrap_or_default();
    let role = ROLES.iter().find(|(_, id)| definition.to_lowercase().ends_with(id));
    let scope = id.rsplit_once("/providers/Microsoft.Authorization/").map(|(scope, _)| scope);
    let attributes = collect([
        ("name", text(&body["name"])),
        ("scope", scope.into()),
        // A role that is none of ours shows as its id: a difference, as it should be.
        ("role_definition_name", role.map_or(definition, |(name, _)| name).into()),
        ("principal_id", text(&properties["principalId"])),
        ("principal_type", text(&properties["principalType"])),
        ("description", text(&properties["description"])),
    ]);
    remote(id, attributes)
}
