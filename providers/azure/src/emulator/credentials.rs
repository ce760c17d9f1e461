//! Kubeconfigs of clusters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fleetform_sandbox::Table;
use serde_json::json;

use super::answer::{Answer, Refusal, refuse};
use super::{Call, clusters, state};
use crate::attributes::segment;

/// A kubeconfig with a token. The address is that of the cluster as Azure would name it; where the
/// sandbox's API server is, only its host knows.
pub fn give(table: &Table, call: &Call, role: &str) -> Result<Answer, Refusal> {
    let body = clusters::existing(table, call)?;
    if ["Creating", "Deleting"].contains(&state(&body)) {
        return refuse(Refusal::bad(
            "BadRequest",
            format!("The cluster '{}' is in the state {}.", call.name(7), state(&body)),
        ));
    }
    if body["properties"]["disableLocalAccounts"] == true && role.contains("admin") {
        return refuse(Refusal::bad(
            "BadRequest",
            "Getting static credential is not allowed because this cluster is set to disable local accounts.",
        ));
    }
    let (kind, user) = match role {
        "listclusteradmincredential" => ("clusterAdmin", "clusterAdmin"),
        _ => ("clusterUser", "clusterUser"),
    };
    let name = body["name"].as_str().unwrap_or_default();
    let group =
        segment(body["id"].as_str().unwrap_or_default(), "resourceGroups").unwrap_or_default();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {name}\npreferences: {{}}\nclusters:\n- name: \
         {name}\n  cluster:\n    server: https://{}:443\ncontexts:\n- name: {name}\n  context:\n    cluster: \
         {name}\n    user: {user}_{group}_{name}\nusers:\n- name: {user}_{group}_{name}\n  user:\n    token: \
         sandbox\n",
        body["properties"]["fqdn"].as_str().unwrap_or_default()
    );
    let value = json!([{ "name": kind, "value": BASE64.encode(config) }]);
    Ok(Answer::ok(json!({ "kubeconfigs": value })))
}
