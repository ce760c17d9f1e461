//! Repositories of the Artifact Registry API, and the locations it lists.

use fleetform_sandbox::{Object, Table};
use serde_json::{Value, json};

use super::operations::{self, Effect, Target};
use super::refusal::{
    Refusal, already_exists, bad_field, failed_precondition, invalid, not_found, unimplemented,
};
use super::{Answer, Answered, Call, check_labels, empty, is_name, text, timestamp, wire};
use crate::catalog;

const REPOSITORIES: &str = "gcp/artifactregistry/repositories";
/// Repositories on their way: kept apart, because they are not there until their operation has ended.
const COMING: &str = "gcp/artifactregistry/repositories/coming";

const MULTI_REGIONS: [&str; 3] = ["asia", "europe", "us"];
const DEFAULT_PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

const OUTPUT_ONLY: [&str; 6] =
    ["createTime", "registryUri", "satisfiesPzi", "satisfiesPzs", "sizeBytes", "updateTime"];

/// What `UpdateRepository` changes, by the first name of a mask's path.
const UPDATABLE: [&str; 6] = [
    "cleanupPolicies",
    "cleanupPolicyDryRun",
    "description",
    "dockerConfig",
    "labels",
    "vulnerabilityScanningConfig",
];

pub fn list_locations(call: &mut Call<'_>) -> Answered {
    let all: Vec<Value> =
        locations().map(|location| location_value(call.project, location)).collect();
    let (locations, next) = page(call.query, &all)?;
    Ok(Answer::Ready(json!({ "locations": locations, "nextPageToken": next })))
}

pub fn get_location(call: &mut Call<'_>) -> Answered {
    check_location(call)?;
    Ok(Answer::Ready(location_value(call.project, call.location)))
}

pub fn create(call: &mut Call<'_>) -> Answered {
    // The body is the repository itself, its id is a parameter.
    let mut repository = wire::decode("Repository", call.body)?;
    let id = parameters(call, "CreateRepositoryRequest", &["repositoryId"])?;
    let id = id["repositoryId"].as_str().unwrap_or_default().to_owned();
    check_location(call)?;
    if !is_name(&id, 63) || id.len() < 2 {
        return Err(bad_field(
            "repository_id",
            format!(
                "The repository id \"{id}\" is not valid: it must start with a lower-case letter, end \
                 with a letter or digit, and have 2 to 63 lower-case letters, digits and dashes."
            ),
        ));
    }
    let (key, name) = (call.key(&id), format!("{}/repositories/{id}", call.parent()));
    let taken = [REPOSITORIES, COMING].iter().any(|kept| call.table.get(kept, &key).is_some());
    if taken {
        return Err(already_exists("the repository already exists"));
    }
    if let Some(field) = OUTPUT_ONLY.iter().find(|field| repository.get(**field).is_some()) {
        let field = wire::snake(field);
        return Err(bad_field(&field, format!("Field \"{field}\" is output only.")));
    }
    if matches!(text(&repository, "format"), "" | "FORMAT_UNSPECIFIED") {
        return Err(bad_field("repository.format", "The format of the repository is required."));
    }
    let mode = text(&repository, "mode");
    if !matches!(mode, "" | "MODE_UNSPECIFIED" | "STANDARD_REPOSITORY") {
        return Err(unimplemented(&format!("repositories of mode {mode}")));
    }
    check(&repository)?;
    let now = timestamp(call.table.now_unix());
    let uri = match text(&repository, "format") {
        "DOCKER" => format!("{}-docker.pkg.dev/{}/{id}", call.location, call.project),
        other => {
            let format = other.to_lowercase();
            format!("{}-{format}.pkg.dev/{}/{id}", call.location, call.project)
        }
    };
    for (field, value) in [
        ("name", name.clone()),
        ("mode", "STANDARD_REPOSITORY".into()),
        ("createTime", now.clone()),
        ("updateTime", now),
        ("registryUri", uri),
    ] {
        repository[field] = value.into();
    }
    let scanning = &mut repository["vulnerabilityScanningConfig"];
    if text(scanning, "enablementConfig").is_empty() {
        *scanning = json!({ "enablementConfig": "INHERITED" });
    }
    let active = text(scanning, "enablementConfig") == "INHERITED";
    scanning["enablementState"] =
        if active { "SCANNING_ACTIVE" } else { "SCANNING_DISABLED" }.into();

    let effect = Effect { action: "repository_change", key: key.clone(), set: repository };
    let target = target(call, &key, name);
    let operation = operations::begin_repository(call.table, &target, &effect);
    call.table.put(COMING, key, Object { body: empty(), settles_at: 0 });
    Ok(Answer::Ready(operation))
}

pub fn list(call: &mut Call<'_>) -> Answered {
    let request = call.request("ListRepositoriesRequest")?;
    check_location(call)?;
    for field in ["filter", "orderBy"] {
        if !text(&request, field).is_empty() {
            return Err(unimplemented(&format!("{} in lists", wire::snake(field))));
        }
    }
    let prefix = call.key("");
    let all: Vec<Value> =
        call.table.list(REPOSITORIES, &prefix).map(|(_, object)| object.body.clone()).collect();
    let (repositories, next) = page(call.query, &all)?;
    let answer = json!({ "repositories": repositories, "nextPageToken": next });
    Ok(Answer::Message("ListRepositoriesResponse", answer))
}

pub fn get(call: &mut Call<'_>, id: &str) -> Answered {
    call.request("GetRepositoryRequest")?;
    match find(call, id) {
        Ok(repository) => Ok(Answer::Message("Repository", repository)),
        Err(missing) => {
            let key = call.key(id);
            operations::forget(call.table, call.project, call.location, &key);
            Err(missing)
        }
    }
}

pub fn update(call: &mut Call<'_>, id: &str) -> Answered {
    let given = wire::decode("Repository", call.body)?;
    let mask = parameters(call, "UpdateRepositoryRequest", &["updateMask"])?;
    let mut repository = find(call, id)?;
    busy(&repository)?;
    let paths: Vec<String> = match text(&mask, "updateMask") {
        // Without a mask: whatever is given.
        "" | "*" => {
            let fields = given.as_object().into_iter().flatten().map(|(field, _)| field.clone());
            fields.filter(|field| field != "name").collect()
        }
        mask => mask.split(',').map(|path| path.trim().to_owned()).collect(),
    };
    for path in paths {
        let first = wire::camel(path.split('.').next().unwrap_or_default());
        if !UPDATABLE.contains(&first.as_str()) {
            return Err(bad_field(
                "update_mask",
                format!("Field \"{path}\" of a repository does not exist or cannot be updated."),
            ));
        }
        let mut value = given.get(&first).cloned().unwrap_or(Value::Null);
        if first == "vulnerabilityScanningConfig" && value.is_object() {
            let active = text(&value, "enablementConfig") != "DISABLED";
            let state = if active { "SCANNING_ACTIVE" } else { "SCANNING_DISABLED" };
            value["enablementState"] = state.into();
        }
        repository[first] = value;
    }
    check(&repository)?;
    repository["updateTime"] = timestamp(call.table.now_unix()).into();
    let key = call.key(id);
    call.table.put(REPOSITORIES, key, Object { body: repository.clone(), settles_at: 0 });
    Ok(Answer::Message("Repository", repository))
}

pub fn delete(call: &mut Call<'_>, id: &str) -> Answered {
    call.request("DeleteRepositoryRequest")?;
    let mut repository = find(call, id)?;
    busy(&repository)?;
    let key = call.key(id);
    let effect = Effect { action: "repository_removal", key: key.clone(), set: empty() };
    let target = target(call, &key, text(&repository, "name").to_owned());
    let operation = operations::begin_repository(call.table, &target, &effect);
    repository["$deleting"] = true.into();
    call.table.put(REPOSITORIES, key, Object { body: repository, settles_at: 0 });
    Ok(Answer::Ready(operation))
}

/// The repository is there now. Gives what its operation answers.
pub fn after_change(table: &mut Table, key: &str, repository: &Value) -> Value {
    table.remove(COMING, key);
    table.put(REPOSITORIES, key, Object { body: repository.clone(), settles_at: 0 });
    let mut response = repository.clone();
    response["@type"] = "type.googleapis.com/google.devtools.artifactregistry.v1.Repository".into();
    response
}

pub fn after_removal(table: &mut Table, key: &str) {
    table.remove(REPOSITORIES, key);
}

fn target<'a>(call: &Call<'a>, key: &'a str, link: String) -> Target<'a> {
    Target { project: call.project, location: call.location, owner: key, link }
}

fn find(call: &Call<'_>, id: &str) -> Result<Value, Refusal> {
    let found = call.table.get(REPOSITORIES, &call.key(id));
    found.map(|object| object.body.clone()).ok_or_else(|| {
        not_found(format!("Repository \"{}/repositories/{id}\" not found.", call.parent()))
    })
}

fn busy(repository: &Value) -> Result<(), Refusal> {
    if repository["$deleting"] == true {
        let name = text(repository, "name");
        return Err(failed_precondition(format!(
            "Repository \"{name}\" is currently being deleted."
        )));
    }
    Ok(())
}

fn check(repository: &Value) -> Result<(), Refusal> {
    check_labels(&repository["labels"], "repository.labels")?;
    let format = text(repository, "format");
    if repository["dockerConfig"].is_object() && format != "DOCKER" {
        return Err(bad_field(
            "repository.docker_config",
            format!("A repository of format {format} has no docker_config."),
        ));
    }
    let policies = repository["cleanupPolicies"].as_object();
    for (key, policy) in policies.into_iter().flatten() {
        let wrong = |why: &str| {
            bad_field("repository.cleanup_policies", format!("Cleanup policy \"{key}\": {why}."))
        };
        if text(policy, "id") != key {
            return Err(wrong("its id must be its key"));
        }
        if !matches!(text(policy, "action"), "DELETE" | "KEEP") {
            return Err(wrong("its action must be DELETE or KEEP"));
        }
        let conditions = ["condition", "mostRecentVersions"];
        let given = conditions.iter().filter(|name| policy[**name].is_object()).count();
        if given != 1 {
            return Err(wrong("it must have a condition or the most recent versions"));
        }
    }
    Ok(())
}

fn check_location(call: &Call<'_>) -> Result<(), Refusal> {
    if locations().any(|known| known == call.location) {
        return Ok(());
    }
    Err(bad_field("location", format!("Location \"{}\" is not valid.", call.location)))
}

fn locations() -> impl Iterator<Item = &'static str> {
    catalog::regions().chain(MULTI_REGIONS)
}

fn location_value(project: &str, location: &str) -> Value {
    json!({
        "name": format!("projects/{project}/locations/{location}"),
        "locationId": location,
        "displayName": location,
    })
}

/// The parameters that a method takes beside its body.
fn parameters(call: &Call<'_>, message: &str, allowed: &[&str]) -> Result<Value, Refusal> {
    let nothing = empty();
    let aside = Call {
        table: &mut Table::default(),
        project: call.project,
        location: call.location,
        query: call.query,
        body: &nothing,
        numbers: call.numbers,
    };
    let request = aside.request(message)?;
    let other = request
        .as_object()
        .into_iter()
        .flatten()
        .find(|(name, _)| !allowed.contains(&name.as_str()));
    match other {
        Some((name, _)) => Err(invalid(format!("Parameter \"{name}\" is not expected here."))),
        None => Ok(request),
    }
}

/// One page and the token of the next, which is the index where it starts.
fn page(query: &[(String, String)], all: &[Value]) -> Result<(Vec<Value>, String), Refusal> {
    let parameter = |wanted: &str| {
        let found = query.iter().find(|(name, _)| wire::camel(name) == wanted);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    let wrong = |what: &str| invalid(format!("Invalid {what}."));
    let size = parameter("pageSize").map(str::parse::<usize>).transpose();
    let size = match size.map_err(|_| wrong("page_size"))? {
        None | Some(0) => DEFAULT_PAGE,
        Some(size) => size.min(LARGEST_PAGE),
    };
    let start = parameter("pageToken").map(str::parse::<usize>).transpose();
    let start = start.map_err(|_| wrong("page_token"))?.unwrap_or(0);
    if start > all.len() {
        return Err(wrong("page_token"));
    }
    let end = (start + size).min(all.len());
    let next = if end < all.len() { end.to_string() } else { String::new() };
    Ok((all[start..end].to_vec(), next))
}
