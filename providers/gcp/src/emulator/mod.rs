//! Google's Kubernetes Engine API (container v1) and Artifact Registry API (artifactregistry v1) over
//! objects of the sandbox: both REST APIs of one cloud on one listener.
//!
//! Stricter than Google: every field of a request must exist, names, parents and states are checked, a
//! cluster runs one operation at a time, and what is known but not emulated is refused, not ignored.
//! Operations end after some requests of the world, not after some time. A zone never runs out of
//! machines, unless the collection `gcp/stock` has a number at `ZONE/MACHINE_TYPE`.

mod clusters;
mod node_pools;
mod operations;
mod refusal;
mod repositories;
mod wire;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use fleetform_sandbox::{Api, Table, World};
use serde_json::{Value, json};

use refusal::{Refusal, invalid, not_found};

/// Google's API over the world. Its routes answer container v1 (v1beta1 is an alias) and
/// artifactregistry v1.
pub fn api(world: &World) -> Api {
    let routes = Router::new().fallback(answer).with_state(world.clone());
    Api { name: "gcp", routes, refuse: refusal::refuse }
}

/// One request, taken apart.
struct Call<'a> {
    table: &'a mut Table,
    /// `projects/P/locations/L`, where the path goes that far.
    project: &'a str,
    location: &'a str,
    query: &'a [(String, String)],
    body: &'a Value,
    /// Whether enums are wanted as numbers (`$alt=json;enum-encoding=int`).
    numbers: bool,
}

/// What is answered: a message of the API definitions, or JSON that is ready.
enum Answer {
    Message(&'static str, Value),
    Ready(Value),
}

type Answered = Result<Answer, Refusal>;

async fn answer(
    State(world): State<World>,
    method: Method,
    uri: Uri,
    Query(query): Query<Vec<(String, String)>>,
    body: Bytes,
) -> Response {
    let numbers = query.iter().any(|(name, value)| {
        matches!(name.as_str(), "$alt" | "alt") && value.contains("enum-encoding=int")
    });
    let body = if body.is_empty() {
        Value::Object(Default::default())
    } else {
        match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(error) => {
                let message = format!("Invalid JSON payload received. {error}");
                return invalid(message).into_response();
            }
        }
    };
    let answered = world.step(|table| {
        operations::settle(table);
        route(table, &method, uri.path(), &query, &body, numbers)
    });
    match answered {
        Ok(Answer::Message(name, value)) => {
            (StatusCode::OK, axum::Json(wire::encode(name, &value, numbers))).into_response()
        }
        Ok(Answer::Ready(value)) => (StatusCode::OK, axum::Json(value)).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn route(
    table: &mut Table,
    method: &Method,
    path: &str,
    query: &[(String, String)],
    body: &Value,
    numbers: bool,
) -> Answered {
    let nowhere = || Err(not_found(format!("Method not found: {method} {path}")));
    // A verb follows the last segment: `…/clusters/main:setResourceLabels`.
    let (path, verb) = match path.rsplit_once(':') {
        Some((path, verb)) if !verb.contains('/') => (path, verb),
        _ => (path, ""),
    };
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let [version, "projects", project, "locations", rest @ ..] = segments.as_slice() else {
        return nowhere();
    };
    if !matches!(*version, "v1" | "v1beta1") {
        return nowhere();
    }
    if !is_project(project) {
        return Err(invalid(format!(
            "Invalid resource field value in the request: \"{project}\"."
        )));
    }
    let (location, rest) = rest.split_first().map_or(("", rest), |(first, rest)| (*first, rest));
    let call = &mut Call { table, project, location, query, body, numbers };
    match (method.as_str(), location, rest, verb) {
        ("GET", "", [], "") => repositories::list_locations(call),
        ("GET", _, [], "") => repositories::get_location(call),

        ("GET", _, ["serverConfig"], "") => clusters::server_config(call),
        ("POST", _, ["clusters"], "") => clusters::create(call),
        ("GET", _, ["clusters"], "") => clusters::list(call),
        ("GET", _, ["clusters", name], "") => clusters::get(call, name),
        ("PUT", _, ["clusters", name], "") => clusters::update(call, name),
        ("DELETE", _, ["clusters", name], "") => clusters::delete(call, name),
        ("POST", _, ["clusters", name], "setResourceLabels") => clusters::set_labels(call, name),
        ("POST", _, ["clusters", name], "updateMaster") => clusters::update_master(call, name),

        ("POST", _, ["clusters", cluster, "nodePools"], "") => node_pools::create(call, cluster),
        ("GET", _, ["clusters", cluster, "nodePools"], "") => node_pools::list(call, cluster),
        (_, _, ["clusters", cluster, "nodePools", name], _) => match (method.as_str(), verb) {
            ("GET", "") => node_pools::get(call, cluster, name),
            ("PUT", "") => node_pools::update(call, cluster, name),
            ("DELETE", "") => node_pools::delete(call, cluster, name),
            ("POST", "setAutoscaling") => node_pools::set_autoscaling(call, cluster, name),
            ("POST", "setManagement") => node_pools::set_management(call, cluster, name),
            ("POST", "setSize") => node_pools::set_size(call, cluster, name),
            _ => nowhere(),
        },

        ("GET", _, ["operations"], "") => operations::list(call),
        ("GET", _, ["operations", name], "") => operations::get(call, name),
        ("POST", _, ["operations", name], "cancel") => operations::cancel(call, name),

        ("POST", _, ["repositories"], "") => repositories::create(call),
        ("GET", _, ["repositories"], "") => repositories::list(call),
        ("GET", _, ["repositories", name], "") => repositories::get(call, name),
        ("PATCH", _, ["repositories", name], "") => repositories::update(call, name),
        ("DELETE", _, ["repositories", name], "") => repositories::delete(call, name),
        _ => nowhere(),
    }
}

impl Call<'_> {
    /// The request as a message: the body's fields with those of the query, each checked.
    fn request(&self, message: &str) -> Result<Value, Refusal> {
        let mut request = wire::decode(message, self.body)?;
        for (name, value) in self.query {
            // Parameters that every Google API takes.
            let general = ["alt", "key", "fields", "prettyPrint", "access_token", "quotaUser"];
            if name.starts_with('$') || general.contains(&name.as_str()) || value.is_empty() {
                continue;
            }
            let (field, value) = wire::decode_parameter(message, name, value)?;
            request[field] = value;
        }
        Ok(request)
    }

    /// The key under which objects of this location are kept.
    fn key(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.project, self.location)
    }

    /// `projects/P/locations/L`.
    fn parent(&self) -> String {
        format!("projects/{}/locations/{}", self.project, self.location)
    }
}

/// RFC 3339, as Google writes it.
fn timestamp(unix: u64) -> String {
    // Days to a civil date, after Howard Hinnant's `civil_from_days`.
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

fn is_project(text: &str) -> bool {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == ':' || c == '.';
    (1..=63).contains(&text.len()) && text.chars().all(allowed)
}

/// Lower-case letters, digits and dashes, from a letter to a letter or digit.
fn is_name(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Google's rules for labels of resources.
fn check_labels(labels: &Value, field: &str) -> Result<(), Refusal> {
    let empty = serde_json::Map::new();
    let labels = labels.as_object().unwrap_or(&empty);
    if labels.len() > 64 {
        return Err(invalid(format!("Too many labels in {field}: at most 64.")));
    }
    let allowed = |c: char| c.is_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    for (key, value) in labels {
        let value = value.as_str().unwrap_or_default();
        let key_is_fine = (1..=63).contains(&key.chars().count())
            && key.starts_with(char::is_lowercase)
            && key.chars().all(allowed);
        if !key_is_fine {
            return Err(invalid(format!(
                "Label key '{key}' in {field} violates format constraints: it must start with a \
                 lower-case letter and have at most 63 lower-case letters, digits, underscores and dashes."
            )));
        }
        if value.chars().count() > 63 || !value.chars().all(allowed) {
            return Err(invalid(format!(
                "Label value '{value}' of '{key}' in {field} violates format constraints: it may have \
                 at most 63 lower-case letters, digits, underscores and dashes."
            )));
        }
    }
    Ok(())
}

/// A short stable text that stands for a value: etags, fingerprints and ids are made of it.
fn hash(text: &str) -> String {
    format!("{:016x}", crate::labels::fnv(text.as_bytes()))
}

/// Puts a default where nothing was given.
fn default(object: &mut Value, field: &str, value: Value) {
    let given = object.get(field).is_some_and(|given| match given {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        _ => true,
    });
    if !given {
        object[field] = value;
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn empty() -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_as_google_writes_it() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(timestamp(1_767_225_600), "2026-01-01T00:00:00+00:00");
        assert_eq!(timestamp(1_709_210_096), "2024-02-29T12:34:56+00:00");
    }
}
