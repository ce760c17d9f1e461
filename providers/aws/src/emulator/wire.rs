//! AWS's protocols: how answers and refusals look in each, and what all operations check alike.

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fleetform_sandbox::Fault;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Call;
use crate::text;
use crate::xml::Element;

/// How a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// EKS: paths and JSON.
    RestJson,
    /// ECR: `X-Amz-Target` and JSON.
    Json,
    /// IAM and STS: forms and XML.
    Query,
    /// EC2: forms and XML too, with answers of another shape.
    Ec2,
}

/// What an operation answers.
#[derive(Debug)]
pub enum Answer {
    Json(Value),
    Xml(Element),
}

/// What an operation refuses: AWS's own code for it.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// Further members of the error (`clusterName`).
    pub more: Vec<(&'static str, String)>,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), more: Vec::new() }
    }

    /// Query APIs spell codes without the ending.
    fn query_code(&self) -> &'static str {
        self.code.strip_suffix("Exception").unwrap_or(self.code)
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Refusal {
        self.more.push((name, value.to_owned()));
        self
    }
}

impl Answer {
    /// `<NameResponse xmlns=…><NameResult>…</NameResult></NameResponse>`.
    pub fn xml(name: &str, namespace: &str, result: Option<(&str, Vec<Element>)>) -> Answer {
        let children = result.map(|(name, children)| Element::node(name, children));
        let root = format!("{name} xmlns=\"{namespace}\"");
        Answer::Xml(Element::node(&root, children.into_iter().collect()))
    }
}

impl Dialect {
    pub fn of(parts: &Parts) -> Dialect {
        let content = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
        let is_form = content.is_some_and(|kind| kind.starts_with("application/x-www-form"));
        let action = parts.uri.query().is_some_and(|query| query.contains("Action="));
        let signed = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        if parts.headers.contains_key("x-amz-target") {
            Dialect::Json
        } else if is_form && signed.is_some_and(|text| text.contains("/ec2/aws4_request")) {
            Dialect::Ec2
        } else if is_form || (parts.uri.path() == "/" && action) {
            Dialect::Query
        } else {
            Dialect::RestJson
        }
    }

    /// The HTTP response of the `tick`th request.
    pub fn respond(self, answer: Result<Answer, Refusal>, tick: u64) -> Response {
        let id = format!("00000000-0000-4000-8000-{tick:012x}");
        let builder = Response::builder().header("x-amzn-requestid", &id);
        let (builder, content, body) = match (self, answer) {
            (Dialect::Ec2, Ok(Answer::Xml(mut root))) => {
                root.children.insert(0, leaf("requestId", &*id));
                (builder, "text/xml", root.to_string())
            }
            (_, Ok(Answer::Xml(mut root))) => {
                let metadata = Element::node("ResponseMetadata", vec![leaf("RequestId", &*id)]);
                root.children.push(metadata);
                (builder, "text/xml", root.to_string())
            }
            (Dialect::Ec2, Err(refusal)) => {
                let error =
                    vec![leaf("Code", refusal.query_code()), leaf("Message", refusal.message)];
                let errors = Element::node("Errors", vec![Element::node("Error", error)]);
                let root = Element::node("Response", vec![errors, leaf("RequestID", &*id)]);
                (builder.status(refusal.status), "text/xml", root.to_string())
            }
            (Dialect::Query, Err(refusal)) => {
                let error = vec![
                    leaf("Type", if refusal.status < 500 { "Sender" } else { "Receiver" }),
                    leaf("Code", refusal.query_code()),
                    leaf("Message", refusal.message),
                ];
                let children = vec![Element::node("Error", error), leaf("RequestId", &*id)];
                let root = Element::node("ErrorResponse", children);
                (builder.status(refusal.status), "text/xml", root.to_string())
            }
            (_, Ok(Answer::Json(json))) => (builder, self.json_type(), json.to_string()),
            (_, Err(refusal)) => {
                let mut body = json!({ "message": refusal.message });
                if self == Dialect::Json {
                    body["__type"] = refusal.code.into();
                }
                for (name, value) in refusal.more {
                    body[name] = value.into();
                }
                let builder =
                    builder.status(refusal.status).header("x-amzn-errortype", refusal.code);
                (builder, self.json_type(), body.to_string())
            }
        };
        builder
            .header("content-type", content)
            .body(Body::from(body))
            .expect("the parts of an answer are valid")
    }

    fn json_type(self) -> &'static str {
        if self == Dialect::Json { "application/x-amz-json-1.1" } else { "application/json" }
    }
}

/// A refusal by the fault plan. It does not know which API was asked, so it is one that the clients of
/// all of them understand: by its status and its header.
pub fn refuse(fault: Fault) -> Response {
    let refusal = match fault {
        Fault::Throttled => Refusal::new(429, "ThrottlingException", "Rate exceeded"),
        Fault::Unavailable | Fault::AnswerLost | Fault::Stale => {
            Refusal::new(503, "ServiceUnavailableException", "Service is unavailable")
        }
    };
    Dialect::Json.respond(Err(refusal), 0)
}

/// The parameters of a query API, read strictly.
pub struct Form {
    pairs: Vec<(String, String)>,
}

impl Call<'_> {
    /// The JSON body as a typed request. Members that it does not know are refused with `code`.
    pub fn json<T: DeserializeOwned>(&self, code: &'static str) -> Result<T, Refusal> {
        let body = if self.body.is_empty() { "{}" } else { self.body };
        serde_json::from_str(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Refusal::new(400, code, error.to_string()),
            _ => Refusal::new(400, "SerializationException", error.to_string()),
        })
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Refuses query parameters that the operation does not have.
    pub fn only(&self, names: &[&str], code: &'static str) -> Result<(), Refusal> {
        match self.query.iter().find(|(found, _)| !names.contains(&found.as_str())) {
            None => Ok(()),
            Some((found, _)) => {
                Err(Refusal::new(400, code, format!("unknown parameter `{found}`")))
            }
        }
    }

    /// The form, from the body or, for a request signed beforehand, the query string.
    pub fn form(&self) -> Result<Form, Refusal> {
        let malformed = || Refusal::new(400, "MalformedQueryString", "the form does not decode");
        let mut pairs = text::form_decode(self.body).ok_or_else(malformed)?;
        let signature = |name: &str| name.starts_with("X-Amz-");
        pairs.extend(self.query.iter().filter(|(name, _)| !signature(name)).cloned());
        Ok(Form { pairs })
    }
}

impl Form {
    pub fn action(&self) -> Result<&str, Refusal> {
        let missing = || Refusal::new(400, "MissingAction", "the parameter Action is missing");
        self.get("Action").ok_or_else(missing)
    }

    pub fn unknown_action(&self) -> Refusal {
        let action = self.get("Action").unwrap_or_default();
        Refusal::new(400, "InvalidAction", format!("Could not find operation {action}"))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("The request must contain the parameter {name}.");
            Refusal::new(400, "MissingParameter", message)
        })
    }

    /// `Prefix.1`, `Prefix.2`, … in their order.
    pub fn numbered(&self, prefix: &str) -> Vec<&str> {
        (1..).map_while(|number| self.get(&format!("{prefix}.{number}"))).collect()
    }

    /// Refuses parameters that the action does not have; `#` in a name stands for a number.
    pub fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        let shape = |name: &str| {
            let parts = name.split('.').map(|part| match part.parse::<u32>() {
                Ok(_) => "#",
                Err(_) => part,
            });
            parts.collect::<Vec<_>>().join(".")
        };
        match self.pairs.iter().find(|(found, _)| !names.contains(&shape(found).as_str())) {
            None => Ok(()),
            Some((found, _)) => {
                let message = format!("The parameter {found} is not recognized");
                Err(Refusal::new(400, "UnknownParameter", message))
            }
        }
    }
}

/// One page of names and the token of the next.
pub fn page<'a>(
    names: &'a [String],
    size: Option<&str>,
    limit: usize,
    token: Option<&str>,
    refuse: impl Fn(String) -> Refusal,
) -> Result<(&'a [String], Option<String>), Refusal> {
    let size = match size {
        None => limit,
        Some(text) => {
            text.parse().ok().filter(|size| (1..=limit).contains(size)).ok_or_else(|| {
                refuse(format!("the size of a page is a number from 1 to {limit}, not `{text}`"))
            })?
        }
    };
    let start = match token {
        None => 0,
        Some(token) => {
            let bytes = BASE64_STANDARD.decode(token).ok();
            let last = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let last =
                last.ok_or_else(|| refuse("the token of the next page is invalid".into()))?;
            names.partition_point(|name| *name <= last)
        }
    };
    let end = names.len().min(start + size);
    let next = (end < names.len() && end > 0).then(|| BASE64_STANDARD.encode(&names[end - 1]));
    Ok((&names[start..end], next))
}

pub fn leaf(name: &str, text: impl Into<String>) -> Element {
    Element::leaf(name, text)
}

/// Why AWS takes no such tags; `None` where it does.
pub fn tags_fault<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    let mut count = 0;
    for (key, value) in tags {
        count += 1;
        if key.is_empty() || key.chars().count() > 128 || key.to_lowercase().starts_with("aws:") {
            return Some(format!("the tag key '{key}' is empty, too long or reserved"));
        }
        if value.chars().count() > 256 {
            return Some(format!("the value of the tag '{key}' is longer than 256 characters"));
        }
        if !key.chars().all(allowed) || !value.chars().all(allowed) {
            return Some(format!(
                "the tag '{key}' = '{value}' has characters that are not allowed"
            ));
        }
    }
    (count > 50).then(|| "more than 50 tags".to_owned())
}

/// A UUID that depends on nothing but the text.
pub fn uuid(of: &str) -> String {
    let hash = text::hash(of);
    format!(
        "{}-{}-4{}-8{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[13..16],
        &hash[17..20],
        &hash[20..32]
    )
}
