//! What Azure checks of any object: fields, names, locations, tags, preconditions.

use http::StatusCode;
use serde_json::{Map, Value as Json};

use super::Call;
use super::answer::{Refusal, refuse};
use crate::catalog;

/// The body as an object.
pub fn object(body: &Json) -> Result<&Map<String, Json>, Refusal> {
    body.as_object().ok_or_else(|| {
        Refusal::bad(
            "InvalidRequestContent",
            "The request content was invalid: an object is expected.",
        )
    })
}

/// Refuses fields that the API does not have.
pub fn fields(body: &Json, known: &[&str], place: &str) -> Result<(), Refusal> {
    match object(body)?.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => refuse(Refusal::bad(
            "InvalidRequestContent",
            format!(
                "The request content was invalid and could not be deserialized: 'Could not find member \
                 '{name}' on object of type '{place}'. Path '{name}'.'."
            ),
        )),
    }
}

/// A name: letters and digits at both ends, letters, digits, dashes and underscores between.
pub fn name(name: &str, limit: usize) -> bool {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (1..=limit).contains(&name.len())
        && alphanumeric(name.chars().next())
        && alphanumeric(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// A location in its plain form; on an update the one that is there.
pub fn location(call: &Call, existing: Option<&Json>, kind: &str) -> Result<String, Refusal> {
    let Some(text) = call.body["location"].as_str().filter(|text| !text.is_empty()) else {
        return refuse(Refusal::bad(
            "LocationRequired",
            "The location property is required for this definition.",
        ));
    };
    let plain = text.replace(' ', "").to_lowercase();
    if !catalog::has_region(&plain) {
        return refuse(Refusal::bad(
            "LocationNotAvailableForResourceType",
            format!("The provided location '{text}' is not available for resource type '{kind}'."),
        ));
    }
    match existing.and_then(|existing| existing["location"].as_str()) {
        Some(there) if there != plain => refuse(Refusal::conflict(
            if kind.ends_with("resourceGroups") {
                "InvalidResourceGroupLocation"
            } else {
                "InvalidResourceLocation"
            },
            format!(
                "The resource already exists in location '{there}'. A resource with the same name cannot be \
                 created in location '{plain}'. Please select a new resource name."
            ),
        )),
        _ => Ok(plain),
    }
}

/// Tags: at most 50, texts, names without the characters that Azure reserves.
pub fn tags(tags: &Json) -> Result<(), Refusal> {
    if tags.is_null() {
        return Ok(());
    }
    let Some(tags) = tags.as_object() else {
        return refuse(Refusal::bad(
            "InvalidRequestContent",
            "The tags property must be an object.",
        ));
    };
    if tags.len() > 50 {
        return refuse(Refusal::bad("TooManyTags", "The number of tags may not exceed 50."));
    }
    for (name, value) in tags {
        let reserved = |c: char| "<>%&\\?/".contains(c) || c.is_control();
        if name.is_empty() || name.chars().count() > 512 || name.chars().any(reserved) {
            return refuse(Refusal::bad(
                "InvalidTagNameCharacters",
                format!(
                    "The tag name '{name}' has reserved characters '<,>,%,&,\\,?,/' or control characters."
                ),
            ));
        }
        if value.as_str().is_none_or(|value| value.chars().count() > 256) {
            return refuse(Refusal::bad(
                "InvalidTagValueLength",
                format!("The value of tag '{name}' must be a text of at most 256 characters."),
            ));
        }
    }
    Ok(())
}

/// `If-Match` and `If-None-Match` against what is there.
pub fn preconditions(call: &Call, etag: Option<&str>) -> Result<(), Refusal> {
    let failed =
        |why: String| Refusal::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", why);
    if call.if_none_match.as_deref() == Some("*") && etag.is_some() {
        return refuse(failed("The resource exists and If-None-Match was '*'.".into()));
    }
    match (&call.if_match, etag) {
        // Some of Azure's clients put the tag in quotes, others do not.
        (Some(wanted), found) if wanted != "*" && Some(wanted.trim_matches('"')) != found => {
            refuse(failed(format!("The etag '{wanted}' is not the current one.")))
        }
        (Some(_), None) => {
            refuse(failed("The resource does not exist and If-Match was given.".into()))
        }
        _ => Ok(()),
    }
}

/// A text out of a few.
pub fn one_of(value: &Json, known: &[&str], parameter: &str) -> Result<(), Refusal> {
    if value.is_null() || value.as_str().is_some_and(|text| known.contains(&text)) {
        return Ok(());
    }
    refuse(invalid(parameter, format!("The value {value} is not one of {}.", known.join(", "))))
}

/// AKS's refusal of a parameter.
pub fn invalid(parameter: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::bad(
        "InvalidParameter",
        format!("The value of parameter {parameter} is invalid. Error details: {why}"),
    )
}
