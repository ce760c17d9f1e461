//! Who signs, for which region and service.

use http::HeaderMap;

use super::wire::{Dialect, Refusal};
use crate::catalog;

/// The scope of a signature (version 4).
pub struct Scope {
    pub region: String,
    pub service: String,
}

/// The scope of the request's signature: in its `Authorization` header, or in its query string where
/// it was signed beforehand.
pub fn scope(headers: &HeaderMap, query: &[(String, String)]) -> Result<Scope, Refusal> {
    let find =
        |name: &str| query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let header = headers.get("authorization").map(|value| value.to_str().unwrap_or_default());
    let (credential, signed_headers, signature) = match header {
        Some(header) => {
            let parts = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| {
                incomplete("Authorization header requires the algorithm AWS4-HMAC-SHA256")
            })?;
            let part = |name: &str| {
                let mut parts = parts.split(',').map(str::trim);
                parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
            };
            (part("Credential"), part("SignedHeaders"), part("Signature"))
        }
        None if find("X-Amz-Algorithm") == Some("AWS4-HMAC-SHA256") => {
            (find("X-Amz-Credential"), find("X-Amz-SignedHeaders"), find("X-Amz-Signature"))
        }
        None => {
            let code = "MissingAuthenticationTokenException";
            return Err(Refusal::new(403, code, "Missing Authentication Token"));
        }
    };
    let (Some(credential), Some(signed), Some(signature)) = (credential, signed_headers, signature)
    else {
        return Err(incomplete("a signature needs Credential, SignedHeaders and Signature"));
    };
    if !signed.split(';').any(|name| name == "host") {
        return Err(invalid("'Host' must be a 'SignedHeader' in the AWS Authorization."));
    }
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid("The request signature we calculated does not match the signature"));
    }
    let parts: Vec<&str> = credential.split('/').collect();
    let &[key, date, region, service, "aws4_request"] = parts.as_slice() else {
        return Err(incomplete("Credential must have exactly 5 slash-delimited elements"));
    };
    if key.is_empty() || date.len() != 8 {
        return Err(incomplete("Credential names no key or no date"));
    }
    if !catalog::regions().contains(region) {
        let message = format!("The security token is not valid in the region '{region}'");
        return Err(Refusal::new(403, "UnrecognizedClientException", message));
    }
    Ok(Scope { region: region.to_owned(), service: service.to_owned() })
}

/// The refusal of a request whose form belongs to another service than its signature.
pub fn wrong_service(dialect: Dialect, service: &str) -> Refusal {
    let wanted = match dialect {
        Dialect::RestJson => "eks",
        Dialect::Json => "ecr",
        Dialect::Query | Dialect::Ec2 => "iam', 'ec2' or 'sts",
    };
    invalid(&format!("Credential should be scoped to correct service: '{wanted}', not '{service}'"))
}

fn incomplete(message: &str) -> Refusal {
    Refusal::new(400, "IncompleteSignatureException", message)
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(403, "InvalidSignatureException", message)
}
