//! What AWS answers → what to do next. By code, because statuses differ between its protocols.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fleetform_contract::Error;

/// A refusal, as every protocol of AWS gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    pub status: u16,
    /// Empty where the answer has none.
    pub code: &'a str,
    pub message: &'a str,
    pub retry_after: Option<Duration>,
}

/// The contract's error for an error of an SDK.
pub fn translate<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => {
            let raw = answer.raw();
            let retry_after = raw.headers().get("retry-after").and_then(|text| text.parse().ok());
            classify(&Refusal {
                status: raw.status().as_u16(),
                code: answer.err().code().unwrap_or_default(),
                message: answer.err().message().unwrap_or_default(),
                retry_after: retry_after.map(Duration::from_secs),
            })
        }
        SdkError::ConstructionFailure(_) => Error::rejected(chain(&error)),
        SdkError::DispatchFailure(failure) => {
            if let Some(error) = failure.as_connector_error()
                && let Some(denied) = credentials_missing(error)
            {
                return denied;
            }
            if failure.is_user() {
                Error::rejected(chain(&error))
            } else {
                Error::lost(chain(&error))
            }
        }
        // A time-out, or an answer that does not parse: what it did is not known.
        _ => Error::lost(chain(&error)),
    }
}

/// The code of a refusal, where the error is one.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}

/// The text of a refusal, where the error is one.
pub fn message<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default()
}

/// The contract's error for a refusal.
pub fn classify(refusal: &Refusal<'_>) -> Error {
    let &Refusal { status, code, message: text, retry_after } = refusal;
    let message = match (code, text) {
        ("", "") => format!("HTTP {status}"),
        ("", text) => format!("HTTP {status}: {text}"),
        (code, "") => code.to_owned(),
        (code, text) => format!("{code}: {text}"),
    };
    // Codes of one meaning come with and without the ending.
    match code.strip_suffix("Exception").unwrap_or(code) {
        "Throttling"
        | "Throttled"
        | "ThrottledRequest"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete" => Error::Throttled { message, after: retry_after },
        "InsufficientInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientHostCapacity"
        | "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "SpotMaxPriceTooLow" => Error::NoCapacity { message },
        "ResourceInUse"
        | "ConcurrentModification"
        | "OperationAborted"
        | "DeleteConflict"
        | "EntityTemporarilyUnmodifiable" => Error::Conflict { message },
        "AccessDenied"
        | "UnauthorizedOperation"
        | "NotAuthorized"
        | "AuthFailure"
        | "UnrecognizedClient"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "Forbidden" => Error::Denied { permission: permission(text), message },
        // EKS says so of clusters and node groups that something else is changing.
        "InvalidRequest" if is_busy(text) => Error::Conflict { message },
        _ => match status {
            429 => Error::Throttled { message, after: retry_after },
            408 | 500..=599 => Error::Lost { message },
            401 | 403 => Error::Denied { permission: permission(text), message },
            409 => Error::Conflict { message },
            _ => Error::Rejected { message },
        },
    }
}

/// Why there are no credentials, where that is why a request was not sent.
pub fn credentials_missing(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            let message = match credentials {
                // The list of every source that has none helps nobody.
                CredentialsError::CredentialsNotLoaded(_) => "no credentials for AWS: set the \
                    cloud's `profile`, AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                    AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
                _ => format!("the credentials for AWS cannot be loaded: {}", chain(error)),
            };
            return Some(Error::Denied { message, permission: None });
        }
        cause = error.source();
    }
    None
}

/// An error and its causes in one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// "User: … is not authorized to perform: eks:CreateCluster on resource: …" names `eks:CreateCluster`.
fn permission(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("not authorized to perform: ")?;
    let name = rest.split_whitespace().next()?.trim_end_matches(['.', ',']);
    name.contains(':').then(|| name.to_owned())
}

fn is_busy(text: &str) -> bool {
    let text = text.to_lowercase();
    ["not in active", "is not active", "in progress", "while it is", "currently"]
        .iter()
        .any(|phrase| text.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A contract error's class and the permission it names.
    fn check(status: u16, code: &str, message: &str, class: &str, permission: Option<&str>) {
        let error = classify(&Refusal { status, code, message, retry_after: None });
        assert_eq!(error.class(), class, "{status} {code}: {message}");
        if let Error::Denied { permission: named, .. } = &error {
            assert_eq!(named.as_deref(), permission, "{message}");
        }
        assert!(error.to_string().contains(code), "{error}");
    }

    #[test]
    fn codes_say_what_to_do() {
        let not_authorized = "User: arn:aws:iam::1:user/ci is not authorized to perform: \
                              eks:CreateCluster on resource: arn:aws:eks:us-east-1:1:cluster/x";
        for (status, code, message, class, permission) in [
            (429, "ThrottlingException", "Rate exceeded", "throttled", None),
            (400, "Throttling", "Rate exceeded", "throttled", None),
            (400, "TooManyRequestsException", "", "throttled", None),
            (503, "RequestLimitExceeded", "", "throttled", None),
            (429, "", "", "throttled", None),
            (400, "InsufficientInstanceCapacity", "", "no_capacity", None),
            (409, "ResourceInUseException", "update in progress", "conflict", None),
            (409, "DeleteConflict", "Cannot delete entity", "conflict", None),
            (400, "InvalidRequestException", "Cluster x is not in ACTIVE state", "conflict", None),
            (400, "InvalidRequestException", "No such thing", "rejected", None),
            (400, "InvalidParameterException", "bad", "rejected", None),
            (400, "ResourceLimitExceededException", "too many clusters", "rejected", None),
            (404, "ResourceNotFoundException", "gone", "rejected", None),
            (403, "AccessDeniedException", not_authorized, "denied", Some("eks:CreateCluster")),
            (403, "AccessDenied", "no", "denied", None),
            (403, "UnrecognizedClientException", "token is invalid", "denied", None),
            (400, "ExpiredTokenException", "expired", "denied", None),
            (403, "", "", "denied", None),
            (500, "ServerException", "oops", "lost", None),
            (503, "ServiceUnavailableException", "later", "lost", None),
            (500, "InternalFailure", "", "lost", None),
            (502, "", "", "lost", None),
        ] {
            check(status, code, message, class, permission);
        }
    }

    #[test]
    fn the_server_may_say_when() {
        let after = Some(Duration::from_secs(7));
        let refusal =
            Refusal { status: 429, code: "SlowDown", message: "later", retry_after: after };
        let error = classify(&refusal);
        assert_eq!(error, Error::Throttled { message: "SlowDown: later".into(), after });
    }
}
