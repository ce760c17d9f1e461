//! Refused requests, in the shape of Google's errors.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fleetform_sandbox::Fault;
use serde_json::{Value, json};

/// `{"error": {"code", "message", "status", "details"}}`.
#[derive(Debug)]
pub struct Refusal {
    pub http: u16,
    pub status: &'static str,
    pub message: String,
    pub details: Vec<Value>,
}

pub fn invalid(message: impl Into<String>) -> Refusal {
    refusal(400, "INVALID_ARGUMENT", message)
}

pub fn not_found(message: impl Into<String>) -> Refusal {
    refusal(404, "NOT_FOUND", message)
}

pub fn already_exists(message: impl Into<String>) -> Refusal {
    refusal(409, "ALREADY_EXISTS", message)
}

pub fn failed_precondition(message: impl Into<String>) -> Refusal {
    refusal(400, "FAILED_PRECONDITION", message)
}

/// What Google has and the emulator has not.
pub fn unimplemented(what: &str) -> Refusal {
    refusal(501, "UNIMPLEMENTED", format!("The sandbox does not emulate {what}."))
}

/// A field that breaks a rule, with Google's detail about it.
pub fn bad_field(field: &str, description: impl Into<String>) -> Refusal {
    let description = description.into();
    let detail = json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{ "field": field, "description": description }],
    });
    Refusal { details: vec![detail], ..invalid(description) }
}

/// What goes wrong before the emulator sees a request, in Google's words.
pub fn refuse(fault: Fault) -> Response {
    match fault {
        Fault::Throttled => {
            let detail = json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "googleapis.com",
                "metadata": { "quota_unit": "1/min/{project}" },
            });
            let message = "Quota exceeded for quota metric 'All requests' and limit 'All requests per \
                           minute' of service 'googleapis.com'.";
            let refusal = refusal(429, "RESOURCE_EXHAUSTED", message);
            Refusal { details: vec![detail], ..refusal }.into_response()
        }
        Fault::Unavailable | Fault::AnswerLost | Fault::Stale => {
            let message = "The service is currently unavailable.";
            refusal(503, "UNAVAILABLE", message).into_response()
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({
            "code": self.http,
            "message": self.message,
            "status": self.status,
        });
        if !self.details.is_empty() {
            error["details"] = self.details.into();
        }
        let status = StatusCode::from_u16(self.http).unwrap_or(StatusCode::BAD_REQUEST);
        (status, axum::Json(json!({ "error": error }))).into_response()
    }
}

fn refusal(http: u16, status: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { http, status, message: message.into(), details: Vec::new() }
}
