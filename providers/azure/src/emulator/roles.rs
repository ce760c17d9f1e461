//! Role assignments at a registry: `…/providers/Microsoft.Authorization/roleAssignments`.

use fleetform_sandbox::{Object, Table};
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal, refuse};
use super::{Call, ROLES, groups, no_such_type, registries, validate, wrong_method};

const KIND: &str = "Microsoft.Authorization/roleAssignments";

const PROPERTIES: [&str; 12] = [
    "condition",
    "conditionVersion",
    "createdBy",
    "createdOn",
    "delegatedManagedIdentityResourceId",
    "description",
    "principalId",
    "principalType",
    "roleDefinitionId",
    "scope",
    "updatedBy",
    "updatedOn",
];

/// Routes below `/…/registries/NAME`.
pub fn route(table: &mut Table, call: &Call, rest: &[&str]) -> Result<Answer, Refusal> {
    registries::existing(table, call)?;
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            if call.query("$filter").is_some_and(|filter| filter != "atScope()") {
                return refuse(Refusal::bad("UnsupportedQuery", "The filter is not supported."));
            }
            let prefix = format!("{}/", registries::key(call));
            let found = table.list(ROLES, &prefix);
            Ok(Answer::page(call, found.map(|(key, object)| (key.to_owned(), object.body.clone()))))
        }
        ("GET", [_]) => table
            .get(ROLES, &key(call))
            .map(|object| Answer::ok(object.body.clone()))
            .ok_or_else(|| {
                let name = call.name(11);
                let message = format!("The role assignment '{name}' is not found.");
                Refusal::missing("RoleAssignmentNotFound", message)
            }),
        ("PUT", [_]) => put(table, call),
        ("DELETE", [_]) => Ok(match table.remove(ROLES, &key(call)) {
            Some(object) => Answer::ok(object.body),
            None => Answer::empty(StatusCode::NO_CONTENT),
        }),
        (_, [] | [_]) => Err(wrong_method(call)),
        _ => Err(no_such_type(call)),
    }
}

/// A registry takes its assignments with it.
pub fn remove_at(table: &mut Table, registry: &str) {
    let keys: Vec<String> =
        table.list(ROLES, &format!("{registry}/")).map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        table.remove(ROLES, &key);
    }
}

fn put(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    groups::expect_open(table, call)?;
    let name = &call.lower[11];
    if !crate::is_guid(name) {
        return refuse(Refusal::bad(
            "InvalidRoleAssignmentId",
            format!("The role assignment ID '{name}' is not valid. It must be a GUID."),
        ));
    }
    validate::fields(&call.body, &["id", "name", "type", "properties"], "RoleAssignment")?;
    let wanted = &call.body["properties"];
    validate::fields(wanted, &PROPERTIES, "RoleAssignmentProperties")?;
    let text = |name: &str| wanted[name].as_str().unwrap_or_default();
    if !crate::is_guid(text("principalId")) {
        return refuse(Refusal::bad(
            "InvalidPrincipalId",
            format!("A valid principal ID must be provided, '{}' is none.", text("principalId")),
        ));
    }
    let role = text("roleDefinitionId").to_lowercase();
    let is_role = |id: &str| crate::is_guid(id) && role.contains("/roledefinitions/");
    if !role.rsplit('/').next().is_some_and(is_role) {
        return refuse(Refusal::bad(
            "RoleDefinitionDoesNotExist",
            "The specified role definition does not exist.",
        ));
    }
    let kinds = ["User", "Group", "ServicePrincipal"];
    validate::one_of(&wanted["principalType"], &kinds, "principalType")?;
    if text("description").chars().count() > 1024 {
        return refuse(Refusal::bad("InvalidDescription", "The description is too long."));
    }

    let key = key(call);
    let same = |body: &Json| {
        let there = &body["properties"];
        there["principalId"] == wanted["principalId"]
            && there["roleDefinitionId"].as_str().is_some_and(|id| id.to_lowercase() == role)
    };
    if let Some(there) = table.get(ROLES, &key) {
        if same(&there.body) {
            return Ok(Answer::ok(there.body.clone()));
        }
        return refuse(Refusal::conflict(
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        ));
    }
    let prefix = format!("{}/", registries::key(call));
    if table.list(ROLES, &prefix).any(|(_, object)| same(&object.body)) {
        return refuse(Refusal::conflict(
            "RoleAssignmentExists",
            "The role assignment already exists.",
        ));
    }
    let registry = registries::existing(table, call)?;
    let scope = registry["id"].as_str().unwrap_or_default();
    let body = json!({
        "id": format!("{scope}/providers/{KIND}/{name}"),
        "name": name,
        "type": KIND,
        "properties": {
            "scope": scope,
            "roleDefinitionId": wanted["roleDefinitionId"],
            "principalId": wanted["principalId"],
            "principalType": wanted["principalType"].as_str().unwrap_or("User"),
            "description": wanted["description"],
        },
    });
    table.put(ROLES, key, Object { body: body.clone(), settles_at: 0 });
    Ok(Answer::new(StatusCode::CREATED, body))
}

fn key(call: &Call) -> String {
    format!("{}/{}", registries::key(call), call.lower[11])
}
