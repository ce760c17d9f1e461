//! Answers and refusals in Resource Manager's shape.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::{Value as Json, json};

use super::Call;

/// Items of one page of a list.
const PAGE: usize = 50;

/// `{"error": {"code": …, "message": …}}`.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into() }
    }

    pub fn bad(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, code, message)
    }

    pub fn missing(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, code, message)
    }
}

pub fn refuse<T>(refusal: Refusal) -> Result<T, Refusal> {
    Err(refusal)
}

/// What goes back over the wire.
pub struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Option<Json>,
}

impl Answer {
    pub fn new(status: StatusCode, body: Json) -> Answer {
        Answer { status, headers: Vec::new(), body: Some(body) }
    }

    pub fn ok(body: Json) -> Answer {
        Answer::new(StatusCode::OK, body)
    }

    pub fn empty(status: StatusCode) -> Answer {
        Answer { status, headers: Vec::new(), body: None }
    }

    pub fn header(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.push((name, value.into()));
    }

    /// A page of a list. `items` come in the order of their keys, which is where the next page goes on.
    pub fn page(call: &Call, items: impl Iterator<Item = (String, Json)>) -> Answer {
        let after = call.query("$skiptoken").and_then(from_hex);
        let size = call.query("$top").and_then(|top| top.parse().ok()).unwrap_or(PAGE);
        let size = size.clamp(1, PAGE);
        let mut items =
            items.skip_while(|(key, _)| after.as_ref().is_some_and(|after| key <= after));
        let mut value = Vec::new();
        let mut last = String::new();
        for (key, item) in items.by_ref().take(size) {
            value.push(item);
            last = key;
        }
        let mut body = json!({ "value": value });
        if items.next().is_some() {
            let mut query = format!("api-version={}", call.version());
            for name in ["$filter", "$top"] {
                if let Some(text) = call.query(name) {
                    query = format!("{query}&{name}={}", encode(text));
                }
            }
            let next = format!("{}{}?{query}&$skiptoken={}", call.base, call.path, to_hex(&last));
            body["nextLink"] = next.into();
        }
        Answer::ok(body)
    }

    pub fn into_response(self, request_id: &str) -> Response {
        let body = match self.body {
            Some(body) => Body::from(body.to_string()),
            None => Body::empty(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
        let ids = ["x-ms-request-id", "x-ms-correlation-request-id"];
        let ids = ids.map(|name| (name, request_id.to_owned()));
        for (name, value) in ids.into_iter().chain(self.headers) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        let error = json!({ "code": refusal.code, "message": refusal.message });
        let mut answer = Answer::new(refusal.status, json!({ "error": error }));
        answer.header("x-ms-failure-cause", "gateway");
        if refusal.status == StatusCode::UNAUTHORIZED {
            answer.header("www-authenticate", "Bearer realm=\"sandbox\"");
        }
        answer
    }
}

/// `%41` → `A`; what is no escape stays.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escape = bytes.get(index + 1..index + 3).filter(|_| bytes[index] == b'%');
        let byte = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(bytes[index]));
        index += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn to_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<String> {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_both_ways() {
        for text in ["tagName eq 'fleetform:lineage'", "é%", "", "a+b&c=d"] {
            assert_eq!(decode(&encode(text)), text);
            assert_eq!(from_hex(&to_hex(text)).as_deref(), Some(text));
        }
        assert_eq!(decode("100%"), "100%");
        assert_eq!(from_hex("0"), None.or(from_hex("0")));
        assert_eq!(from_hex("zz"), None);
    }
}
