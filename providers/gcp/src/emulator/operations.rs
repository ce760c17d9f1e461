//! Long-running operations of both APIs, and what they do when they end.
//!
//! An operation ends at a tick of the world. Ended operations of an object that is gone are forgotten
//! once somebody has seen that it is gone, or some requests later, so that a sandbox from which everything
//! was removed is empty again.

use fleetform_sandbox::{Object, Table};
use serde_json::{Value, json};

use super::refusal::{Refusal, failed_precondition, not_found};
use super::{Answer, Answered, Call, clusters, hash, node_pools, repositories, timestamp, wire};

const OPERATIONS: &str = "gcp/operations";
/// Running operations in the order in which they end, and ended ones that will be forgotten.
const PENDING: &str = "gcp/operations/pending";
/// Ticks for which an operation that removed its object can still be asked for.
const REMEMBERED_TICKS: u64 = 100;

/// What an operation does to the world when it ends.
pub struct Effect {
    /// One of the `after_…` functions, by its name there.
    pub action: &'static str,
    /// The key of the object.
    pub key: String,
    /// Fields that the object has afterwards.
    pub set: Value,
}

/// What an operation is about.
pub struct Target<'a> {
    pub project: &'a str,
    pub location: &'a str,
    /// The key of the cluster or repository: operations of its pools count as its own.
    pub owner: &'a str,
    /// The full name of the object.
    pub link: String,
}

/// Begins an operation on clusters and pools and answers it, as it runs.
pub fn begin(
    table: &mut Table,
    target: &Target<'_>,
    kind: &str,
    effect: &Effect,
) -> (String, Value) {
    let tick = table.tick();
    let owner = &hash(target.owner)[..8];
    let name = format!("operation-{}-{owner}", tick * 1000);
    let link = format!("https://container.googleapis.com/v1/{}", target.link);
    let parent = format!("projects/{}/locations/{}", target.project, target.location);
    let operation = json!({
        "name": name,
        "operationType": kind,
        "status": "RUNNING",
        "location": target.location,
        "zone": target.location,
        "startTime": timestamp(table.now_unix()),
        "selfLink": format!("https://container.googleapis.com/v1/{parent}/operations/{name}"),
        "targetLink": link,
    });
    keep(table, target, &name, operation.clone(), effect);
    (name, operation)
}

/// Begins an operation on repositories and answers it (`google.longrunning.Operation`), as it runs.
pub fn begin_repository(table: &mut Table, target: &Target<'_>, effect: &Effect) -> Value {
    let owner = &hash(target.owner)[..8];
    let name = format!("{owner}-0000-4000-8000-{:012x}", table.tick());
    let parent = format!("projects/{}/locations/{}", target.project, target.location);
    let metadata = "type.googleapis.com/google.devtools.artifactregistry.v1.OperationMetadata";
    let operation = json!({
        "name": format!("{parent}/operations/{name}"),
        "metadata": { "@type": metadata },
    });
    keep(table, target, &name, operation.clone(), effect);
    operation
}

/// Ends the operations whose time has come.
pub fn settle(table: &mut Table) {
    let now = table.tick();
    loop {
        let due = table.list(PENDING, "").next().and_then(|(key, object)| {
            let key = (object.settles_at <= now).then(|| key.to_owned())?;
            Some((key, object.body.as_str()?.to_owned()))
        });
        let Some((pending, key)) = due else { return };
        table.remove(PENDING, &pending);
        match table.get(OPERATIONS, &key) {
            Some(object) if is_done(&object.body) => {
                table.remove(OPERATIONS, &key);
            }
            Some(_) => end(table, &key),
            None => {}
        }
    }
}

/// Forgets the ended operations of an object that is gone.
pub fn forget(table: &mut Table, project: &str, location: &str, owner: &str) {
    let prefix = format!("{project}/{location}/{}/", &hash(owner)[..8]);
    let ended = table.list(OPERATIONS, &prefix).filter(|(_, object)| is_done(&object.body));
    let keys: Vec<(String, u64)> =
        ended.map(|(key, object)| (key.to_owned(), object.settles_at)).collect();
    for (key, settles_at) in keys {
        table.remove(OPERATIONS, &key);
        table.remove(PENDING, &pending(settles_at, &key));
    }
}

pub fn get(call: &mut Call<'_>, name: &str) -> Answered {
    let key = key(call.project, call.location, name);
    let Some(object) = call.table.get(OPERATIONS, &key) else { return Err(missing(call, name)) };
    Ok(answer(&object.body["operation"], call.numbers))
}

/// Operations of clusters and pools, in order of their names; `-` stands for every location.
pub fn list(call: &mut Call<'_>) -> Answered {
    call.request("ListOperationsRequest")?;
    let prefix = match call.location {
        "-" => format!("{}/", call.project),
        location => format!("{}/{location}/", call.project),
    };
    let kept = call.table.list(OPERATIONS, &prefix).map(|(_, object)| &object.body["operation"]);
    let operations: Vec<Value> =
        kept.filter(|operation| operation.get("operationType").is_some()).cloned().collect();
    Ok(Answer::Message("ListOperationsResponse", json!({ "operations": operations })))
}

/// Google cancels upgrades of nodes only, which are not emulated.
pub fn cancel(call: &mut Call<'_>, name: &str) -> Answered {
    call.request("CancelOperationRequest")?;
    let key = key(call.project, call.location, name);
    let Some(object) = call.table.get(OPERATIONS, &key) else { return Err(missing(call, name)) };
    let kind = object.body["operation"]["operationType"].as_str().unwrap_or("UNKNOWN");
    let state = if is_done(&object.body) { "is done" } else { "cannot be cancelled" };
    Err(failed_precondition(format!("Operation {name} of type {kind} {state}.")))
}

fn keep(table: &mut Table, target: &Target<'_>, name: &str, operation: Value, effect: &Effect) {
    let key = key(target.project, target.location, name);
    let settles_at = table.tick() + table.duration(&key, 2, 5);
    let body = json!({
        "operation": operation,
        "action": effect.action,
        "key": effect.key,
        "set": effect.set,
    });
    schedule(table, settles_at, &key);
    table.put(OPERATIONS, key, Object { body, settles_at });
}

fn end(table: &mut Table, key: &str) {
    let Some(object) = table.get(OPERATIONS, key) else { return };
    let kept = object.body.clone();
    let object_key = kept["key"].as_str().unwrap_or_default();
    let set = &kept["set"];
    let mut response = Value::Null;
    let mut error = None;
    let mut gone = false;
    match kept["action"].as_str().unwrap_or_default() {
        "cluster_change" => error = clusters::after_change(table, object_key, set),
        "cluster_removal" => {
            clusters::after_removal(table, object_key);
            gone = true;
        }
        "pool_change" => error = node_pools::after_change(table, object_key, set),
        "pool_removal" => node_pools::after_removal(table, object_key),
        "repository_change" => response = repositories::after_change(table, object_key, set),
        "repository_removal" => {
            repositories::after_removal(table, object_key);
            response = json!({ "@type": "type.googleapis.com/google.protobuf.Empty" });
            gone = true;
        }
        _ => {}
    }
    if gone && let Some((project_and_location, _)) = object_key.rsplit_once('/') {
        let (project, location) = project_and_location.split_once('/').unwrap_or_default();
        forget(table, project, location, object_key);
    }
    let now = timestamp(table.now_unix());
    let forgotten_at = table.tick() + REMEMBERED_TICKS;
    if gone {
        schedule(table, forgotten_at, key);
    }
    let Some(object) = table.get_mut(OPERATIONS, key) else { return };
    if gone {
        object.settles_at = forgotten_at;
    }
    let operation = &mut object.body["operation"];
    if operation.get("operationType").is_some() {
        operation["status"] = "DONE".into();
        operation["endTime"] = now.into();
        if let Some(error) = error {
            operation["error"] = error;
        }
    } else {
        operation["done"] = true.into();
        operation["response"] = response;
    }
}

fn schedule(table: &mut Table, tick: u64, key: &str) {
    let object = Object { body: key.into(), settles_at: tick };
    table.put(PENDING, pending(tick, key), object);
}

/// Sorts by tick.
fn pending(tick: u64, key: &str) -> String {
    format!("{tick:020}/{key}")
}

/// An operation's name says whose it is: `operation-TIME-OWNER`, or `OWNER-…` for repositories.
fn key(project: &str, location: &str, name: &str) -> String {
    let owner = match name.strip_prefix("operation-") {
        Some(rest) => rest.rsplit('-').next().unwrap_or_default(),
        None => name.split('-').next().unwrap_or_default(),
    };
    format!("{project}/{location}/{owner}/{name}")
}

fn is_done(kept: &Value) -> bool {
    kept["operation"]["status"] == "DONE" || kept["operation"]["done"] == true
}

fn answer(operation: &Value, numbers: bool) -> Answer {
    if operation.get("operationType").is_some() {
        return Answer::Message("Operation", operation.clone());
    }
    let mut operation = operation.clone();
    let kind = operation["response"]["@type"].as_str().unwrap_or_default().to_owned();
    if kind.ends_with(".Repository") {
        let mut response = wire::encode("Repository", &operation["response"], numbers);
        response["@type"] = kind.into();
        operation["response"] = response;
    }
    Answer::Ready(operation)
}

fn missing(call: &Call<'_>, name: &str) -> Refusal {
    not_found(format!("Not found: {}/operations/{name}.", call.parent()))
}
