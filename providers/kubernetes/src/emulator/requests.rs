//! Requests for objects: reading, creating, changing and removing them.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::apply::{self, Writer};
use super::bodies::{decode, identify, require_namespace, typed};
use super::controllers::{self, FOREGROUND};
use super::kinds::Kind;
use super::status::{Cause, Refusal, Result};
use super::store::Cluster;
use super::{defaults, patch, protobuf, selectors, validation};

/// One request for objects of a kind, as far as HTTP is concerned.
pub(super) struct Request {
    pub method: String,
    pub kind: &'static Kind,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
    pub query: BTreeMap<String, String>,
    pub content_type: String,
    pub user_agent: String,
    pub body: Vec<u8>,
}

/// A good answer.
pub(super) struct Reply {
    pub code: u16,
    pub body: Json,
    /// What the server did not like and let pass.
    pub warnings: Vec<String>,
}

impl Reply {
    fn ok(body: Json) -> Reply {
        Reply { code: 200, body, warnings: Vec::new() }
    }
}

/// Answers a request. The controllers have run.
pub(super) fn answer(cluster: &mut Cluster, request: &Request) -> Result<Reply> {
    if request.kind.namespaced && request.namespace.is_none() && request.name.is_some() {
        return Err(Refusal::no_resource());
    }
    match request.subresource.as_deref() {
        None => {}
        Some("status") if request.kind.status => {}
        Some("scale") if request.kind.scale => return scale(cluster, request),
        Some("eviction") if request.kind.is("Pod") && request.method == "POST" => {
            let pod = current(cluster, request)?;
            remove(cluster, request.kind, pod, &json!({}));
            return Ok(Reply { code: 201, ..Reply::ok(success(request)) });
        }
        Some(_) => return Err(Refusal::no_resource()),
    }
    match (request.method.as_str(), &request.name) {
        ("GET", Some(_)) => current(cluster, request).map(Reply::ok),
        ("GET", None) => list(cluster, request).map(Reply::ok),
        ("POST", None) => create(cluster, request),
        ("PUT", Some(_)) => replace(cluster, request),
        ("PATCH", Some(_)) => change(cluster, request),
        ("DELETE", Some(_)) => delete(cluster, request).map(Reply::ok),
        ("DELETE", None) => delete_collection(cluster, request).map(Reply::ok),
        _ => Err(Refusal::not_allowed()),
    }
}

impl Request {
    fn flag(&self, name: &str) -> bool {
        matches!(self.query.get(name).map(String::as_str), Some("true" | "1"))
    }

    fn is_dry(&self) -> Result<bool> {
        match self.query.get("dryRun").map(String::as_str) {
            None | Some("") => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(Refusal::bad_request(format!("dryRun: Unsupported value: {other:?}")))
            }
        }
    }

    /// Who writes: the field manager, else the first word of the user agent.
    fn manager(&self) -> String {
        let named = self.query.get("fieldManager").filter(|manager| !manager.is_empty());
        let agent = self.user_agent.split('/').next().unwrap_or_default();
        named
            .cloned()
            .unwrap_or_else(|| if agent.is_empty() { "unknown" } else { agent }.to_owned())
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn json(&self) -> Result<Json> {
        if self.content_type.contains("protobuf") {
            return protobuf::decode(&self.body)
                .map_err(|why| Refusal::new(415, "UnsupportedMediaType", why));
        }
        if self.content_type.contains("yaml") {
            return serde_norway::from_slice(&self.body)
                .map_err(|error| Refusal::bad_request(format!("error decoding YAML: {error}")));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::bad_request(format!("error decoding JSON: {error}")))
    }
}

fn current(cluster: &Cluster, request: &Request) -> Result<Json> {
    let object = cluster.get(request.kind, request.namespace.as_deref(), request.name());
    object.cloned().ok_or_else(|| Refusal::not_found(request.kind, request.name()))
}

fn success(request: &Request) -> Json {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": request.name, "kind": request.kind.plural } })
}

fn list(cluster: &Cluster, request: &Request) -> Result<Json> {
    let kind = request.kind;
    let filter = selectors::Filter::of(&request.query)?;
    let objects = cluster.keyed(kind, request.namespace.as_deref());
    let limit = request.query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(0_usize);
    // The token is the key of the last object that was sent, as text that survives a URL.
    let after = request.query.get("continue").filter(|token| !token.is_empty());
    let after = after
        .map(|token| {
            selectors::decode_token(token)
                .ok_or_else(|| Refusal::bad_request("continue key is not valid"))
        })
        .transpose()?;
    let mut rest = objects
        .into_iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .filter(|(_, object)| filter.passes(object))
        .peekable();
    let (mut items, mut last) = (Vec::new(), String::new());
    for (key, object) in rest.by_ref() {
        items.push(object.clone());
        last = key;
        if limit > 0 && items.len() == limit {
            break;
        }
    }
    let mut metadata = json!({ "resourceVersion": cluster.tick().to_string() });
    if rest.peek().is_some() {
        metadata["continue"] = selectors::encode_token(&last).into();
    }
    Ok(json!({
        "kind": format!("{}List", kind.kind),
        "apiVersion": kind.api_version(),
        "metadata": metadata,
        "items": items,
    }))
}

fn create(cluster: &mut Cluster, request: &Request) -> Result<Reply> {
    let kind = request.kind;
    let mut object = request.json()?;
    identify(cluster, request, &mut object)?;
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
        return Err(Refusal::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    require_namespace(cluster, request)?;
    if cluster.get(kind, request.namespace.as_deref(), &name).is_some() {
        return Err(Refusal::already_exists(kind, &name));
    }
    let warnings = decode(request, &mut object)?;
    let object = finish_creation(cluster, request, object, |object, writer| {
        apply::track(&Json::Null, object, writer);
    })?;
    Ok(Reply { code: 201, body: object, warnings })
}

/// Fills, checks and writes a new object; `trace` notes who made it.
fn finish_creation(
    cluster: &mut Cluster,
    request: &Request,
    mut object: Json,
    trace: impl FnOnce(&mut Json, &Writer),
) -> Result<Json> {
    let kind = request.kind;
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if let Some(map) = object.as_object_mut()
        && kind.status
        && !kind.is("Node")
    {
        map.remove("status");
    }
    let metadata = &mut object["metadata"];
    metadata["uid"] = cluster.uid(kind, request.namespace.as_deref(), &name).into();
    metadata["creationTimestamp"] = cluster.now().into();
    if kind.generation {
        metadata["generation"] = 1.into();
    }
    defaults::fill(kind, &mut object);
    let causes = validation::check(kind, &object);
    if !causes.is_empty() {
        return Err(Refusal::invalid(kind, &name, &causes));
    }
    let (manager, api_version, now) = (request.manager(), kind.api_version(), cluster.now());
    let writer =
        Writer { manager: &manager, subresource: None, api_version: &api_version, now: &now };
    trace(&mut object, &writer);
    if kind.status && object["status"].is_null() {
        object["status"] = json!({});
    }
    if request.is_dry()? {
        return Ok(object);
    }
    let object = cluster.put(kind, object);
    controllers::written(cluster, kind, &object);
    Ok(object)
}

fn replace(cluster: &mut Cluster, request: &Request) -> Result<Reply> {
    let old = current(cluster, request)?;
    let mut object = request.json()?;
    identify(cluster, request, &mut object)?;
    let warnings = decode(request, &mut object)?;
    let object = finish_update(cluster, request, &old, object, apply::track)?;
    Ok(Reply { code: 200, body: object, warnings })
}

fn change(cluster: &mut Cluster, request: &Request) -> Result<Reply> {
    if request.content_type.contains("apply-patch") {
        return apply(cluster, request);
    }
    let old = current(cluster, request)?;
    let patch = request.json()?;
    let mut object = old.clone();
    let failed = |why: String| Refusal::bad_request(why);
    match request.content_type.split(';').next().unwrap_or_default() {
        "application/merge-patch+json" => patch::merge(&mut object, &patch),
        "application/strategic-merge-patch+json" => {
            patch::strategic(&mut object, &patch).map_err(failed)?;
        }
        "application/json-patch+json" => {
            patch::json_patch(&mut object, &patch)
                .map_err(|why| Refusal::new(422, "Invalid", why))?;
        }
        other => {
            let message = format!("the body of the request was in an unknown format: {other}");
            return Err(Refusal::new(415, "UnsupportedMediaType", message));
        }
    }
    identify(cluster, request, &mut object)?;
    let warnings = decode(request, &mut object)?;
    let object = finish_update(cluster, request, &old, object, apply::track)?;
    Ok(Reply { code: 200, body: object, warnings })
}

/// Server-side apply.
fn apply(cluster: &mut Cluster, request: &Request) -> Result<Reply> {
    let kind = request.kind;
    if request.query.get("fieldManager").is_none_or(String::is_empty) {
        return Err(Refusal::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required \
             for apply patch",
        ));
    }
    let mut config = request.json()?;
    if config["apiVersion"].is_null() || config["kind"].is_null() {
        return Err(Refusal::bad_request("apiVersion and kind must be set in an apply patch"));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    identify(cluster, request, &mut config)?;
    // An apply never lets an undeclared field pass.
    let unknown = typed(kind, &config)?;
    if let Some(field) = unknown.first() {
        let place = request.namespace.as_deref().map_or(String::new(), |ns| format!("{ns}/"));
        return Err(Refusal::new(
            500,
            "InternalError",
            format!(
                "failed to create typed patch object ({place}{}; {}, Kind={}): .{field}: field not \
                 declared in schema",
                request.name(),
                kind.api_version(),
                kind.kind
            ),
        ));
    }
    defaults::canonical_quantities(&mut config);
    if let Some(map) = config.as_object_mut()
        && kind.status
        && request.subresource.is_none()
    {
        map.remove("status");
    }
    let (manager, api_version, now) = (request.manager(), kind.api_version(), cluster.now());
    let writer = Writer {
        manager: &manager,
        subresource: request.subresource.as_deref(),
        api_version: &api_version,
        now: &now,
    };
    let live = cluster.get(kind, request.namespace.as_deref(), request.name()).cloned();
    let Some(live) = live else {
        if request.subresource.is_some() {
            return Err(Refusal::not_found(kind, request.name()));
        }
        require_namespace(cluster, request)?;
        let object = apply::apply(&Json::Null, &config, &writer, true)
            .map_err(|conflicts| Refusal::field_conflicts(&conflicts))?;
        let object = finish_creation(cluster, request, object, |_, _| {})?;
        return Ok(Reply { code: 201, ..Reply::ok(object) });
    };
    let applied = apply::apply(&live, &config, &writer, request.flag("force"))
        .map_err(|conflicts| Refusal::field_conflicts(&conflicts))?;
    let object = finish_update(cluster, request, &live, applied, |_, _, _| {})?;
    Ok(Reply::ok(object))
}

/// Fills, checks and writes a changed object; `trace` notes who changed it.
fn finish_update(
    cluster: &mut Cluster,
    request: &Request,
    old: &Json,
    mut object: Json,
    trace: impl FnOnce(&Json, &mut Json, &Writer),
) -> Result<Json> {
    let kind = request.kind;
    let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !version.is_empty() && old["metadata"]["resourceVersion"] != version {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        return Err(Refusal::conflict(kind, request.name(), why));
    }
    let uid = &object["metadata"]["uid"];
    if uid.is_string() && *uid != old["metadata"]["uid"] {
        let why = "Precondition failed: UID in precondition does not match UID in object meta";
        return Err(Refusal::conflict(kind, request.name(), why));
    }
    for key in ["uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp"] {
        object["metadata"][key] = old["metadata"][key].clone();
    }
    if object["metadata"]["managedFields"].is_null() {
        object["metadata"]["managedFields"] = old["metadata"]["managedFields"].clone();
    }
    if request.subresource.as_deref() == Some("status") {
        let status = object["status"].take();
        let managed = object["metadata"]["managedFields"].take();
        object = old.clone();
        object["status"] = status;
        object["metadata"]["managedFields"] = managed;
    } else if kind.status {
        object["status"] = old["status"].clone();
    }
    defaults::fill(kind, &mut object);
    let mut causes = validation::check(kind, &object);
    causes.extend(validation::check_update(kind, old, &object));
    if !causes.is_empty() {
        return Err(Refusal::invalid(kind, request.name(), &causes));
    }
    if kind.generation && spec_changed(old, &object) {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = generation.into();
    }
    let (manager, api_version, now) = (request.manager(), kind.api_version(), cluster.now());
    let writer = Writer {
        manager: &manager,
        subresource: request.subresource.as_deref(),
        api_version: &api_version,
        now: &now,
    };
    trace(old, &mut object, &writer);
    if object == *old || request.is_dry()? {
        return Ok(object);
    }
    let deleting = !object["metadata"]["deletionTimestamp"].is_null();
    if deleting && finalizers(&object).is_empty() {
        cluster.remove(kind, &object);
        return Ok(object);
    }
    let changed = spec_changed(old, &object) || deleting;
    let object = cluster.put(kind, object);
    if changed {
        controllers::written(cluster, kind, &object);
    }
    Ok(object)
}

/// Whether anything but metadata and status differs.
fn spec_changed(old: &Json, new: &Json) -> bool {
    let others = |object: &Json| -> BTreeMap<String, Json> {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect()
    };
    others(old) != others(new)
}

fn delete(cluster: &mut Cluster, request: &Request) -> Result<Json> {
    let object = current(cluster, request)?;
    let mut options = if request.body.is_empty() { json!({}) } else { request.json()? };
    if let Some(policy) = request.query.get("propagationPolicy") {
        options["propagationPolicy"] = policy.as_str().into();
    }
    let kind = request.kind;
    for field in ["uid", "resourceVersion"] {
        let wanted = &options["preconditions"][field];
        if wanted.is_string() && *wanted != object["metadata"][field] {
            let why = format!("the {field} in the precondition does not match the record");
            return Err(Refusal::conflict(kind, request.name(), &why));
        }
    }
    let policy = options["propagationPolicy"].as_str().unwrap_or("Background");
    if !["Orphan", "Background", "Foreground"].contains(&policy) {
        let value = json!(policy);
        let supported = ["Foreground", "Background", "Orphan"];
        let cause = Cause::unsupported("propagationPolicy", &value, &supported);
        return Err(Refusal::invalid(kind, request.name(), &[cause]));
    }
    let system = ["default", "kube-system", "kube-public"];
    if kind.is("Namespace") && system.contains(&request.name()) {
        let why = "this namespace may not be deleted";
        return Err(Refusal::forbidden(kind, request.name(), why, &[]));
    }
    let dry = request.is_dry()? || options["dryRun"][0] == "All";
    if dry {
        return Ok(success(request));
    }
    Ok(remove(cluster, kind, object, &options).unwrap_or_else(|| success(request)))
}

/// Removes an object, or marks it where finalizers hold it; then gives it as it is.
fn remove(
    cluster: &mut Cluster,
    kind: &'static Kind,
    mut object: Json,
    options: &Json,
) -> Option<Json> {
    let policy = options["propagationPolicy"].as_str().unwrap_or("Background");
    let owns = matches!(
        kind.kind,
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob"
    );
    let foreground = policy == "Foreground" && owns;
    if kind.is("Namespace") || foreground || !finalizers(&object).is_empty() {
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Some(object);
        }
        object["metadata"]["deletionTimestamp"] = cluster.now().into();
        if kind.is("Namespace") {
            object["status"]["phase"] = "Terminating".into();
        } else {
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        }
        if foreground {
            let mut finalizers = finalizers(&object);
            finalizers.push(FOREGROUND.into());
            object["metadata"]["finalizers"] = finalizers.into();
        }
        let object = cluster.put(kind, object);
        if kind.is("Namespace") || foreground {
            cluster.look_after(kind, &object, 1);
        }
        return Some(object);
    }
    if policy != "Orphan" {
        controllers::remove_owned(cluster, kind, &object);
    }
    cluster.remove(kind, &object);
    controllers::removed(cluster, &object);
    None
}

fn finalizers(object: &Json) -> Vec<Json> {
    object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

fn delete_collection(cluster: &mut Cluster, request: &Request) -> Result<Json> {
    if request.kind.is("Namespace") {
        return Err(Refusal::not_allowed());
    }
    let answer = list(cluster, request)?;
    if !request.is_dry()? {
        let options = if request.body.is_empty() { json!({}) } else { request.json()? };
        for object in answer["items"].as_array().into_iter().flatten() {
            remove(cluster, request.kind, object.clone(), &options);
        }
    }
    Ok(answer)
}

/// `/scale`: the number of replicas alone.
fn scale(cluster: &mut Cluster, request: &Request) -> Result<Reply> {
    let old = current(cluster, request)?;
    let mut scale = scale_of(&old);
    match request.method.as_str() {
        "GET" => return Ok(Reply::ok(scale)),
        "PUT" => scale = request.json()?,
        "PATCH" => {
            let patch = request.json()?;
            if request.content_type.contains("json-patch") {
                patch::json_patch(&mut scale, &patch).map_err(Refusal::bad_request)?;
            } else {
                patch::merge(&mut scale, &patch);
            }
        }
        _ => return Err(Refusal::not_allowed()),
    }
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    let version = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let mut object = old.clone();
    object["metadata"]["resourceVersion"] = version.into();
    object["spec"]["replicas"] = replicas.into();
    let object = finish_update(cluster, request, &old, object, apply::track)?;
    Ok(Reply::ok(scale_of(&object)))
}

fn scale_of(object: &Json) -> Json {
    let metadata = &object["metadata"];
    let labels = object["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    let selector: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": { "replicas": object["spec"]["replicas"] },
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": selector.join(","),
        },
    })
}
