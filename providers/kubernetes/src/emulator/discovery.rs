//! What the server says it can do: versions, groups, resources, and as much OpenAPI as kubectl asks for.

use serde_json::{Value as Json, json};

use super::kinds::{self, KINDS, Kind};

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Answers a discovery path; `None` where it is none. `aggregated` asks for everything in one answer.
pub(super) fn answer(path: &[&str], version: &str, aggregated: bool) -> Option<Json> {
    Some(match path {
        ["version"] => version_info(version),
        ["healthz" | "livez" | "readyz"] => "ok".into(),
        ["api"] if aggregated => aggregate(|group| group.is_empty()),
        ["apis"] if aggregated => aggregate(|group| !group.is_empty()),
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => {
            let groups = kinds::groups();
            let named = groups.iter().filter(|(group, _)| !group.is_empty());
            let groups: Json = named.map(|(group, version)| api_group(group, version)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["api", version] => resources("", version)?,
        ["apis", group, version] => resources(group, version)?,
        ["apis", group] => {
            let (_, version) = kinds::groups().into_iter().find(|(known, _)| known == group)?;
            let mut answer = api_group(group, version);
            answer["kind"] = "APIGroup".into();
            answer["apiVersion"] = "v1".into();
            answer
        }
        ["openapi", "v3"] => {
            let paths = kinds::groups().into_iter().map(|(group, version)| {
                let path = group_path(group, version);
                let url = format!("/openapi/v3/{path}");
                (path, json!({ "serverRelativeURL": url }))
            });
            json!({ "paths": Json::Object(paths.collect()) })
        }
        ["openapi", "v3", "api", version] => openapi("", version)?,
        ["openapi", "v3", "apis", group, version] => openapi(group, version)?,
        ["openapi", "v2"] => json!({
            "swagger": "2.0",
            "info": { "title": "Kubernetes", "version": version },
            "paths": {},
            "definitions": {},
        }),
        _ => return None,
    })
}

fn version_info(version: &str) -> Json {
    let plain = version.trim_start_matches('v');
    let mut parts = plain.split('.');
    let (major, minor) = (parts.next().unwrap_or("1"), parts.next().unwrap_or("34"));
    let patch = parts.next().unwrap_or("0");
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.{patch}"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    })
}

fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

fn api_group(group: &str, version: &str) -> Json {
    let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    json!({ "name": group, "versions": [version], "preferredVersion": version })
}

fn of_group(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(move |kind| kind.group == group && kind.version == version)
}

fn resources(group: &str, version: &str) -> Option<Json> {
    let mut resources = Vec::new();
    for kind in of_group(group, version) {
        let mut resource = json!({
            "name": kind.plural,
            "singularName": kind.singular(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": VERBS,
            "shortNames": kind.short,
        });
        if kind.all {
            resource["categories"] = json!(["all"]);
        }
        resources.push(resource);
        for (has, name, scale) in [(kind.status, "status", false), (kind.scale, "scale", true)] {
            if has {
                let mut sub = json!({
                    "name": format!("{}/{name}", kind.plural),
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": if scale { "Scale" } else { kind.kind },
                    "verbs": ["get", "patch", "update"],
                });
                if scale {
                    sub["group"] = "autoscaling".into();
                    sub["version"] = "v1".into();
                }
                resources.push(sub);
            }
        }
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": resources,
        })
    })
}

fn aggregate(wanted: impl Fn(&str) -> bool) -> Json {
    let mut items = Vec::new();
    for (group, version) in kinds::groups().into_iter().filter(|(group, _)| wanted(group)) {
        let resources: Json = of_group(group, version).map(aggregated_resource).collect();
        items.push(json!({
            "metadata": { "name": group, "creationTimestamp": null },
            "versions": [{ "version": version, "freshness": "Current", "resources": resources }],
        }));
    }
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(kind: &Kind) -> Json {
    let own = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": own,
        "scope": scope,
        "singularResource": kind.singular(),
        "verbs": VERBS,
        "shortNames": kind.short,
    });
    if kind.all {
        resource["categories"] = json!(["all"]);
    }
    let mut below = Vec::new();
    let verbs = ["get", "patch", "update"];
    if kind.status {
        below.push(json!({ "subresource": "status", "responseKind": own, "verbs": verbs }));
    }
    if kind.scale {
        let scale = json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" });
        below.push(json!({ "subresource": "scale", "responseKind": scale, "verbs": verbs }));
    }
    if !below.is_empty() {
        resource["subresources"] = below.into();
    }
    resource
}

/// The operations of a group. kubectl looks here whether the server validates fields itself (it does),
/// and then asks for no schemas.
fn openapi(group: &str, version: &str) -> Option<Json> {
    let parameters: Json = ["dryRun", "fieldManager", "fieldValidation", "force"]
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }))
        .collect();
    let mut paths = serde_json::Map::new();
    for kind in of_group(group, version) {
        let own = json!({ "group": group, "version": version, "kind": kind.kind });
        let operation = |action: &str| {
            json!({
                "operationId": format!("{action}{}", kind.kind),
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": own,
                "parameters": parameters,
                "responses": { "200": { "description": "OK" } },
            })
        };
        let scope = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{}/{scope}{}/{{name}}", group_path(group, version), kind.plural);
        paths.insert(path, json!({ "patch": operation("patch"), "put": operation("put") }));
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": { "title": "Kubernetes", "version": "unversioned" },
            "paths": paths,
            "components": { "schemas": {} },
        })
    })
}
