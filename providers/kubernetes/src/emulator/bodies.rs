//! What a request's body says: that it is the object the path names, and of its kind's type.

use serde_json::{Value as Json, json};

use super::kinds::{Kind, named};
use super::requests::Request;
use super::status::{Cause, Refusal, Result};
use super::store::Cluster;
use super::{defaults, kubelet, validation};

/// Checks that a body is what the path says, and fills in what the path knows.
pub(super) fn identify(cluster: &Cluster, request: &Request, object: &mut Json) -> Result<()> {
    let kind = request.kind;
    let Some(map) = object.as_object_mut() else {
        return Err(Refusal::bad_request("the body must be an object"));
    };
    for (key, expected) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        match map.get(key) {
            None | Some(Json::Null) => {
                map.insert(key.to_owned(), expected.into());
            }
            Some(given) if *given == expected => {}
            Some(given) => {
                return Err(Refusal::bad_request(format!(
                    "the {key} in the data ({given}) does not match the expected {key} \
                     ({expected:?})"
                )));
            }
        }
    }
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(Refusal::bad_request("metadata must be an object"));
    };
    for (key, from_path) in [("namespace", &request.namespace), ("name", &request.name)] {
        match (metadata.get(key).and_then(Json::as_str).filter(|text| !text.is_empty()), from_path)
        {
            (None, Some(known)) => {
                metadata.insert(key.to_owned(), known.as_str().into());
            }
            (Some(given), Some(known)) if given != known => {
                return Err(Refusal::bad_request(format!(
                    "the {key} of the provided object does not match the {key} sent on the request"
                )));
            }
            _ => {}
        }
    }
    if !kind.namespaced && metadata.contains_key("namespace") {
        metadata.remove("namespace");
    } else if kind.namespaced && request.namespace.is_none() {
        return Err(Refusal::not_allowed());
    }
    let named = metadata.get("name").and_then(Json::as_str).is_some_and(|name| !name.is_empty());
    if let Some(prefix) = metadata.get("generateName").and_then(Json::as_str)
        && !named
    {
        let seed = format!("{prefix}/{}", cluster.tick());
        let name = format!("{prefix}{}", kubelet::suffix(&seed));
        metadata.insert("name".to_owned(), name.into());
    }
    Ok(())
}

/// Refuses what is not of the kind's type; unknown fields as `fieldValidation` says.
pub(super) fn decode(request: &Request, object: &mut Json) -> Result<Vec<String>> {
    let kind = request.kind;
    let unknown = typed(kind, object)?;
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let fields: Vec<String> =
        unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
    // Stricter than a cluster, which only warns where nothing is said.
    match request.query.get("fieldValidation").map_or("Strict", String::as_str) {
        "Ignore" => {
            validation::drop_fields(object, &unknown);
            Ok(Vec::new())
        }
        "Warn" => {
            validation::drop_fields(object, &unknown);
            Ok(fields)
        }
        _ => Err(Refusal::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
            kind.kind,
            kind.version,
            kind.kind,
            fields.join(", ")
        ))),
    }
}

/// The unknown fields of an object, read as the API's own type.
pub(super) fn typed(kind: &Kind, object: &Json) -> Result<Vec<String>> {
    // Numbers are good quantities in YAML; the typed form wants text.
    let mut canonical = object.clone();
    defaults::canonical_quantities(&mut canonical);
    validation::unknown_fields(kind, &canonical).map_err(|error| {
        Refusal::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {error}",
            kind.kind, kind.version, kind.kind
        ))
    })
}

pub(super) fn require_namespace(cluster: &Cluster, request: &Request) -> Result<()> {
    let Some(name) = &request.namespace else { return Ok(()) };
    let kind = named("Namespace");
    let Some(namespace) = cluster.get(kind, None, name) else {
        return Err(Refusal::not_found(kind, name));
    };
    if !namespace["metadata"]["deletionTimestamp"].is_null() {
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        let cause = Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        return Err(Refusal::forbidden(request.kind, request.name(), &why, &[cause]));
    }
    Ok(())
}
