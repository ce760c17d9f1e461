//! The one seam to kube: requests in, contract errors out. It retries nothing; `apply` does.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetform_contract::{Error, KubeAccess, Result};
use http::Request;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::core::response::StatusCause;
use kube::{Client, Config};
use serde_json::{Value as Json, json};

use crate::kinds::Kind;

/// Objects a page.
const PAGE: usize = 500;
/// Pages at most: a list that does not end is an error, not a hang.
const PAGES: usize = 10_000;
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(30);
/// Until a whole answer is there; without one the effect is unknown.
const ANSWER: Duration = Duration::from_secs(90);

pub(super) struct Api {
    client: Client,
}

/// Why an apply failed.
pub(super) enum Failure {
    /// Other managers own fields that we name.
    FieldConflicts(Vec<StatusCause>),
    Other(kube::Error),
}

impl Api {
    pub fn new(access: &KubeAccess) -> Result<Api> {
        let bad = |what: &str, error: &dyn std::fmt::Display| {
            Error::rejected(format!("{what} of cluster {}: {error}", access.server))
        };
        let server = access.server.parse().map_err(|error| bad("the URL", &error))?;
        let mut config = Config::new(server);
        if let Some(pem) = &access.certificate_authority {
            let certificates = certificates(pem);
            if certificates.is_empty() {
                return Err(bad("the certificate authority", &"no certificate in it"));
            }
            config.root_cert = Some(certificates);
        }
        config.auth_info.token = access.token.clone().map(Into::into);
        if let Some((certificate, key)) = &access.client_certificate {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
        }
        let client = client(&config).map_err(|error| bad("the credentials", &error))?;
        Ok(Api { client })
    }

    /// The object, or `None` where there is none.
    pub async fn get(&self, kind: &Kind, path: &str) -> Result<Option<Json>> {
        match self.send("GET", path, None, None).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(failure) => Err(error("get", kind, failure)),
        }
    }

    /// Server-side apply.
    pub async fn apply(
        &self,
        path: &str,
        manifest: &Json,
        manager: &str,
        force: bool,
    ) -> std::result::Result<Json, Failure> {
        let path = format!("{path}?fieldManager={manager}&force={force}&fieldValidation=Strict");
        let sent = self.send("PATCH", &path, Some("application/apply-patch+yaml"), Some(manifest));
        sent.await.map_err(|failure| match failure {
            kube::Error::Api(status) if status.code == 409 => {
                let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
                let conflicts: Vec<StatusCause> = causes
                    .iter()
                    .filter(|cause| cause.reason == "FieldManagerConflict")
                    .cloned()
                    .collect();
                if conflicts.is_empty() {
                    Failure::Other(kube::Error::Api(status))
                } else {
                    Failure::FieldConflicts(conflicts)
                }
            }
            other => Failure::Other(other),
        })
    }

    /// Deletes with everything that belongs to the object; an object that is gone is no error.
    pub async fn delete(&self, kind: &Kind, path: &str) -> Result<()> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground",
        });
        match self.send("DELETE", path, Some("application/json"), Some(&options)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(failure) => Err(error("delete", kind, failure)),
        }
    }

    /// Every object of a kind, in all namespaces, with these labels.
    pub async fn list(&self, kind: &Kind, selector: &str) -> Result<Vec<Json>> {
        let listed = self.pages(&kind.path(None, None), selector).await;
        let mut items = listed.map_err(|failure| error("list", kind, failure))?;
        // Items of a list do not repeat what the list says of all.
        for item in &mut items {
            item["apiVersion"] = kind.api_version.into();
            item["kind"] = kind.kind.into();
        }
        Ok(items)
    }

    /// The pods of a namespace with these labels.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Json>> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.pages(&path, selector).await.map_err(|failure| describe("list", "pods", failure))
    }

    async fn pages(
        &self,
        path: &str,
        selector: &str,
    ) -> std::result::Result<Vec<Json>, kube::Error> {
        let selector = encode(selector);
        let (mut items, mut next) = (Vec::new(), String::new());
        for _ in 0..PAGES {
            let page = format!("{path}?labelSelector={selector}&limit={PAGE}&continue={next}");
            let mut answer = self.send("GET", &page, None, None).await?;
            if let Json::Array(page) = answer["items"].take() {
                items.extend(page);
            }
            next = encode(answer["metadata"]["continue"].as_str().unwrap_or_default());
            if next.is_empty() {
                break;
            }
        }
        Ok(items)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Option<&Json>,
    ) -> std::result::Result<Json, kube::Error> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let body = body.map(|body| serde_json::to_vec(body).expect("JSON serializes"));
        let request = request.body(body.unwrap_or_default()).map_err(kube::Error::HttpError)?;
        match tokio::time::timeout(ANSWER, self.client.request(request)).await {
            Ok(answer) => answer,
            Err(late) => Err(kube::Error::Service(late.into())),
        }
    }
}

/// kube's own stack without its retries, and without waiting for small packets to be acknowledged before
/// the next is sent: that costs 40 ms a request.
fn client(config: &Config) -> std::result::Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(tower::BoxError::from)
        .service(
            hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
        );
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// What a failed call means for the caller; `verb` and kind name the permission.
pub(super) fn error(verb: &str, kind: &Kind, failure: kube::Error) -> Error {
    describe(verb, &kind.resource(), failure)
}

fn describe(verb: &str, resource: &str, failure: kube::Error) -> Error {
    let status = match failure {
        kube::Error::Api(status) => status,
        // Without an answer, and with one that is none, the effect may have happened.
        kube::Error::Service(_)
        | kube::Error::HyperError(_)
        | kube::Error::ReadEvents(_)
        | kube::Error::FromUtf8(_)
        | kube::Error::SerdeError(_) => {
            return Error::lost(format!("{verb} {resource}: {}", chain(&failure)));
        }
        kube::Error::Auth(_) => {
            return Error::Denied {
                message: format!("{verb} {resource}: {}", chain(&failure)),
                permission: None,
            };
        }
        other => return Error::rejected(format!("{verb} {resource}: {}", chain(&other))),
    };
    let details = status.details.as_ref();
    let cause = |reason: &str| {
        details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
    };
    let message =
        format!("{verb} {resource}: {} ({} {})", status.message, status.code, status.reason);
    match status.code {
        // A namespace that goes away takes nothing new; soon it is gone and can be made again.
        403 if cause("NamespaceTerminating") => Error::Conflict { message },
        401 | 403 => Error::Denied { message, permission: Some(format!("{verb} {resource}")) },
        409 => Error::Conflict { message },
        429 | 503 => {
            let after = details.map_or(0, |details| details.retry_after_seconds);
            let after = (after > 0).then(|| Duration::from_secs(after.into()));
            Error::Throttled { message, after }
        }
        500 | 502 | 504 => Error::Lost { message },
        _ => Error::Rejected { message },
    }
}

/// An error with its causes, each once: kube's own texts repeat theirs.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += &format!(": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The certificates of a PEM bundle, as DER.
fn certificates(pem: &str) -> Vec<Vec<u8>> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    blocks
        .filter_map(|block| {
            let (body, _) = block.split_once("-----END CERTIFICATE-----")?;
            let body: String = body.split_whitespace().collect();
            STANDARD.decode(body).ok()
        })
        .collect()
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: u16, reason: &str, causes: &[&str]) -> &'static str {
        let causes: Json = causes.iter().map(|reason| json!({ "reason": reason })).collect();
        let status = serde_json::from_value(json!({
            "code": code, "reason": reason, "details": { "causes": causes },
        }));
        let status = status.expect("a Status");
        describe("patch", "deployments.apps", kube::Error::Api(Box::new(status))).class()
    }

    #[test]
    fn a_status_says_what_to_do_next() {
        for (code, reason, causes, expected) in [
            (401, "Unauthorized", &[][..], "denied"),
            (403, "Forbidden", &[], "denied"),
            (403, "Forbidden", &["NamespaceTerminating"], "conflict"),
            (404, "NotFound", &[], "rejected"),
            (409, "AlreadyExists", &[], "conflict"),
            (422, "Invalid", &[], "rejected"),
            (429, "TooManyRequests", &[], "throttled"),
            (503, "ServiceUnavailable", &[], "throttled"),
            (500, "InternalError", &[], "lost"),
            (504, "Timeout", &[], "lost"),
        ] {
            assert_eq!(class(code, reason, causes), expected, "{code} {reason}");
        }
    }

    #[test]
    fn bundles_of_certificates_are_read_whole() {
        let pem = "# one\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n\
                   -----BEGIN CERTIFICATE-----\nBAU=\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(pem), [vec![1, 2, 3], vec![4, 5]]);
        assert!(certificates("nothing").is_empty());
    }
}
