//! Kubernetes' error shape: a `Status` object.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::kinds::Kind;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, …
    pub reason: &'static str,
    pub message: String,
    pub field: String,
}

impl Cause {
    pub fn required(field: impl Into<String>, why: &str) -> Cause {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Cause { reason: "FieldValueRequired", message, field: field.into() }
    }

    pub fn invalid(field: impl Into<String>, value: &Json, why: &str) -> Cause {
        let message = format!("Invalid value: {value}: {why}");
        Cause { reason: "FieldValueInvalid", message, field: field.into() }
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Cause {
        let message = format!("Forbidden: {why}");
        Cause { reason: "FieldValueForbidden", message, field: field.into() }
    }

    pub fn duplicate(field: impl Into<String>, value: &Json) -> Cause {
        let message = format!("Duplicate value: {value}");
        Cause { reason: "FieldValueDuplicate", message, field: field.into() }
    }

    pub fn unsupported(field: impl Into<String>, value: &Json, supported: &[&str]) -> Cause {
        let supported: Vec<String> = supported.iter().map(|text| format!("{text:?}")).collect();
        let message =
            format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        Cause { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    fn json(&self) -> Json {
        json!({ "reason": self.reason, "message": self.message, "field": self.field })
    }
}

/// A refused request.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub code: u16,
    pub body: Json,
}

pub(super) type Result<T> = std::result::Result<T, Refusal>;

impl Refusal {
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Refusal {
        let body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message.into(),
            "reason": reason,
            "code": code,
        });
        Refusal { code, body }
    }

    fn about(mut self, kind: &Kind, name: &str, causes: &[Cause]) -> Refusal {
        let mut details = json!({ "name": name, "kind": kind.plural });
        if !kind.group.is_empty() {
            details["group"] = kind.group.into();
        }
        if !causes.is_empty() {
            details["causes"] = causes.iter().map(Cause::json).collect();
        }
        self.body["details"] = details;
        self
    }

    pub fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    /// There is no such path in the API.
    pub fn no_resource() -> Refusal {
        Refusal::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub fn not_found(kind: &Kind, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Refusal::new(404, "NotFound", message).about(kind, name, &[])
    }

    pub fn already_exists(kind: &Kind, name: &str) -> Refusal {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Refusal::new(409, "AlreadyExists", message).about(kind, name, &[])
    }

    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Refusal {
        let resource = kind.resource();
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Refusal::new(409, "Conflict", message).about(kind, name, &[])
    }

    /// Server-side apply met other managers' fields: `(their description, the field)`.
    pub fn field_conflicts(conflicts: &[(String, String)]) -> Refusal {
        let causes: Vec<Json> = conflicts
            .iter()
            .map(|(who, field)| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {who}"),
                    "field": field,
                })
            })
            .collect();
        let listed: Vec<String> =
            conflicts.iter().map(|(who, field)| format!("conflict with {who}: {field}")).collect();
        let count = conflicts.len();
        let plural = if count == 1 { "conflict" } else { "conflicts" };
        let message = format!("Apply failed with {count} {plural}: {}", listed.join("; "));
        let mut refusal = Refusal::new(409, "Conflict", message);
        refusal.body["details"] = json!({ "causes": causes });
        refusal
    }

    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Refusal {
        let listed: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let listed =
            if listed.len() == 1 { listed[0].clone() } else { format!("[{}]", listed.join(", ")) };
        let message = format!("{} \"{name}\" is invalid: {listed}", kind.qualified());
        Refusal::new(422, "Invalid", message).about(kind, name, causes)
    }

    pub fn forbidden(kind: &Kind, name: &str, why: &str, causes: &[Cause]) -> Refusal {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.resource());
        Refusal::new(403, "Forbidden", message).about(kind, name, causes)
    }

    pub fn not_allowed() -> Refusal {
        let message = "the server does not allow this method on the requested resource";
        Refusal::new(405, "MethodNotAllowed", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        answer(self.code, &self.body)
    }
}

/// A JSON answer.
pub(super) fn answer(code: u16, body: &Json) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut text = body.to_string();
    text.push('\n');
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
