//! Azure's refusals → what to do next. Azure says it with a code in the body; the HTTP status is only
//! asked where the code says nothing.
//!
//! The codes: <https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors>
//! and <https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/welcome-azure-kubernetes>.

use std::time::Duration;

use fleetform_contract::Error;
use http::StatusCode;
use serde_json::Value as Json;

/// Sizes that cannot be had here and now: another offering may be.
const NO_CAPACITY: [&str; 11] = [
    "SkuNotAvailable",
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
    "QuotaExceeded",
    "ErrCode_InsufficientVCPUQuota",
    "InsufficientVCPUQuota",
    "VMSizeNotSupported",
    "AgentPoolUpsertVMSizeNotAvailable",
    "SpotVMsNotAvailable",
];

/// Busy: the same request may be fine a little later.
const CONFLICT: [&str; 8] = [
    // A new identity is not known everywhere at once.
    "PrincipalNotFound",
    "AnotherOperationInProgress",
    "OperationNotAllowed",
    "Conflict",
    "ResourceGroupBeingDeleted",
    "EtagMismatch",
    "PreconditionFailed",
    "RegistryStatusConflict",
];

/// Answered with 409 or 403, and no waiting or permission helps.
const REJECTED: [&str; 12] = [
    "AlreadyInUse",
    "InvalidResourceLocation",
    "InvalidResourceGroupLocation",
    "MissingSubscriptionRegistration",
    "NameNotAvailable",
    "PropertyChangeNotAllowed",
    "ReadOnlyDisabledSubscription",
    "RequestDisallowedByPolicy",
    "ReservedResourceName",
    "RoleAssignmentExists",
    "RoleAssignmentUpdateNotPermitted",
    "ScopeLocked",
];

/// What a refused request means.
pub fn of_answer(status: StatusCode, body: &Json, after: Option<Duration>) -> Error {
    let (code, message) = innermost(body);
    let message = match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (None, None) => format!("Azure answered {status}"),
        (some, other) => some.or(other).unwrap_or_default().to_owned(),
    };
    let code = code.unwrap_or_default();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Error::Throttled { message, after };
    }
    if NO_CAPACITY.contains(&code) || speaks_of_capacity(&message) {
        return Error::NoCapacity { message };
    }
    if REJECTED.contains(&code) {
        return Error::Rejected { message };
    }
    if CONFLICT.contains(&code) {
        return Error::Conflict { message };
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Error::Denied { permission: permission(&message), message }
        }
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Error::Conflict { message },
        StatusCode::REQUEST_TIMEOUT => Error::Lost { message },
        status if status.is_server_error() => Error::Lost { message },
        _ => Error::Rejected { message },
    }
}

/// What an operation that ended badly means.
pub fn of_operation(body: &Json) -> Error {
    match of_answer(StatusCode::BAD_REQUEST, body, None) {
        // The operation is over, so nothing is busy any more.
        Error::Conflict { message } => Error::Rejected { message },
        error => error,
    }
}

/// The code of an error body.
pub fn code(body: &Json) -> Option<&str> {
    error_of(body)["code"].as_str()
}

/// Every cause of an error in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Resource Manager wraps its errors in `error`; AKS sometimes does not.
fn error_of(body: &Json) -> &Json {
    if body["error"].is_object() { &body["error"] } else { body }
}

/// The code and the message of the deepest detail, which is the cause of those around it.
fn innermost(body: &Json) -> (Option<&str>, Option<&str>) {
    let mut error = error_of(body);
    while error["details"][0]["code"].is_string() {
        error = &error["details"][0];
    }
    (error["code"].as_str(), error["message"].as_str())
}

/// Compute answers a quota with `OperationNotAllowed`, AKS a size that is not sold with `BadRequest`:
/// then only the message tells.
fn speaks_of_capacity(message: &str) -> bool {
    message.contains("exceeding approved")
        || message.contains("is not allowed in your subscription in location")
        || message.contains("Insufficient regional vcpu quota")
        || message.contains("Insufficient vcpu quota")
}

/// The action in "… does not have authorization to perform action 'Microsoft.…/write' over scope …".
fn permission(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("perform action '")?;
    rest.split_once('\'').map(|(action, _)| action.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_refusal_says_what_to_do_next() {
        let wrapped =
            |code: &str, message: &str| json!({ "error": { "code": code, "message": message } });
        let denied = "The client 'x' with object id 'y' does not have authorization to perform action \
                      'Microsoft.ContainerService/managedClusters/write' over scope '/z'.";
        let quota = "Operation could not be completed as it results in exceeding approved Total \
                     Regional Cores quota.";
        let size =
            "The VM size of Standard_X is not allowed in your subscription in location 'eastus'.";
        let nested = json!({ "error": { "code": "DeploymentFailed", "message": "outside", "details": [
            { "code": "SkuNotAvailable", "message": "inside" },
        ] } });
        let cases = [
            (429, wrapped("TooManyRequests", "m"), "throttled"),
            (409, wrapped("SkuNotAvailable", "m"), "no_capacity"),
            (400, wrapped("AllocationFailed", "m"), "no_capacity"),
            (400, wrapped("QuotaExceeded", "m"), "no_capacity"),
            (400, wrapped("ErrCode_InsufficientVCPUQuota", "m"), "no_capacity"),
            (409, wrapped("OperationNotAllowed", quota), "no_capacity"),
            (400, wrapped("BadRequest", size), "no_capacity"),
            (400, nested, "no_capacity"),
            (409, wrapped("OperationNotAllowed", "Another operation is in progress"), "conflict"),
            (409, wrapped("AnotherOperationInProgress", "m"), "conflict"),
            (409, wrapped("ResourceGroupBeingDeleted", "m"), "conflict"),
            (409, wrapped("SomethingNew", "m"), "conflict"),
            (412, wrapped("PreconditionFailed", "m"), "conflict"),
            (400, wrapped("PrincipalNotFound", "m"), "conflict"),
            (409, wrapped("RoleAssignmentExists", "m"), "rejected"),
            (409, wrapped("AlreadyInUse", "m"), "rejected"),
            (409, wrapped("MissingSubscriptionRegistration", "m"), "rejected"),
            (403, wrapped("RequestDisallowedByPolicy", "m"), "rejected"),
            (400, json!({ "code": "BadRequest", "message": "m", "details": null }), "rejected"),
            (404, wrapped("SubscriptionNotFound", "m"), "rejected"),
            (403, wrapped("AuthorizationFailed", denied), "denied"),
            (401, wrapped("InvalidAuthenticationToken", "m"), "denied"),
            (408, Json::Null, "lost"),
            (500, wrapped("InternalServerError", "m"), "lost"),
            (503, Json::Null, "lost"),
        ];
        for (status, body, class) in cases {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = of_answer(status, &body, Some(Duration::from_secs(7)));
            assert_eq!(error.class(), class, "{status} {body}");
            match error {
                Error::Throttled { after, .. } => assert_eq!(after, Some(Duration::from_secs(7))),
                Error::Denied { permission, message } if message.contains("perform") => assert_eq!(
                    permission.as_deref(),
                    Some("Microsoft.ContainerService/managedClusters/write")
                ),
                _ => {}
            }
        }
    }

    #[test]
    fn an_operation_that_ended_is_never_busy() {
        let failed =
            |code: &str| json!({ "status": "Failed", "error": { "code": code, "message": "m" } });
        assert_eq!(of_operation(&failed("OperationNotAllowed")).class(), "rejected");
        assert_eq!(of_operation(&failed("AllocationFailed")).class(), "no_capacity");
        assert_eq!(of_operation(&failed("InternalError")).class(), "rejected");
    }
}
