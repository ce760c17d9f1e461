//! The part of Google Cloud Storage's XML interface that a store uses, stricter than the original:
//! what it does not know it refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// Objects a listing gives at once.
pub const PAGE: usize = 100;
pub const TOKEN: &str = "test-token";

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    generation: u64,
}

struct Object {
    bytes: Bytes,
    generation: u64,
}

type Shared = Arc<Mutex<Bucket>>;

/// Serves the bucket `states`; gives the port.
pub async fn serve() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let limit = axum::extract::DefaultBodyLimit::disable();
    let app = Router::new().fallback(answer).layer(limit).with_state(Shared::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    (status, [("content-type", "application/xml")], body).into_response()
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "AuthenticationRequired",
            "Authentication required.",
        );
    }
    let path = decoded(uri.path().trim_start_matches('/'));
    let (name, key) = path.split_once('/').unwrap_or((&path, ""));
    if name != "states" {
        return refuse(
            StatusCode::NOT_FOUND,
            "NoSuchBucket",
            "The specified bucket does not exist.",
        );
    }
    let query: BTreeMap<String, String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(&value.replace('+', " "))))
        .collect();
    let mut bucket = shared.lock().expect("no holder panics");
    match (method, key) {
        (Method::GET, "") => list(&bucket, &query),
        (Method::PUT, key) if query.is_empty() && !key.is_empty() => {
            if header("content-length").is_none() {
                return refuse(
                    StatusCode::LENGTH_REQUIRED,
                    "MissingContentLength",
                    "A length is required.",
                );
            }
            let there = bucket.objects.get(key).map_or(0, |object| object.generation);
            match header("x-goog-if-generation-match").map(str::parse::<u64>) {
                Some(Ok(wanted)) if wanted != there => {
                    return refuse(
                        StatusCode::PRECONDITION_FAILED,
                        "PreconditionFailed",
                        "At least one of the pre-conditions you specified did not hold.",
                    );
                }
                Some(Err(_)) => {
                    return refuse(StatusCode::BAD_REQUEST, "InvalidArgument", "No generation.");
                }
                _ => {}
            }
            bucket.generation += 1;
            let generation = bucket.generation;
            bucket.objects.insert(key.to_owned(), Object { bytes: body, generation });
            (StatusCode::OK, described(generation)).into_response()
        }
        (Method::GET, key) if query.is_empty() => match bucket.objects.get(key) {
            Some(object) => {
                (StatusCode::OK, described(object.generation), object.bytes.clone()).into_response()
            }
            None => refuse(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist."),
        },
        (Method::DELETE, key) if query.is_empty() => match bucket.objects.remove(key) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => refuse(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist."),
        },
        (method, key) => {
            let message = format!("{method} {key:?} with {query:?} is not known.");
            refuse(StatusCode::BAD_REQUEST, "InvalidArgument", &message)
        }
    }
}

fn described(generation: u64) -> [(&'static str, String); 3] {
    [
        ("etag", format!("\"{generation}\"")),
        ("x-goog-generation", generation.to_string()),
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
    ]
}

fn list(bucket: &Bucket, query: &BTreeMap<String, String>) -> Response {
    const KNOWN: [&str; 5] =
        ["continuation-token", "list-type", "max-keys", "prefix", "start-after"];
    if query.get("list-type").map(String::as_str) != Some("2")
        || query.keys().any(|name| !KNOWN.contains(&name.as_str()))
    {
        return refuse(StatusCode::BAD_REQUEST, "InvalidArgument", "Not a listing of version 2.");
    }
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let after = text("start-after").max(text("continuation-token"));
    let mut found = bucket
        .objects
        .iter()
        .filter(|(key, _)| key.starts_with(text("prefix")) && key.as_str() > after)
        .peekable();
    let mut body = String::new();
    let mut last = String::new();
    for (key, object) in found.by_ref().take(PAGE) {
        body += &format!(
            "<Contents><Key>{key}</Key><Generation>{}</Generation><ETag>\"{}\"</ETag>\
             <LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{}</Size></Contents>",
            object.generation,
            object.generation,
            object.bytes.len()
        );
        last.clone_from(key);
    }
    let more = match found.peek() {
        Some(_) => format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
        ),
        None => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    let body = format!(
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><Name>states</Name>{more}{body}</ListBucketResult>"
    );
    (StatusCode::OK, [("content-type", "application/xml")], body).into_response()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let hexadecimal = (*byte == b'%').then(|| tail.get(..2)).flatten();
        let byte_of = |digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match hexadecimal.and_then(byte_of) {
            Some(value) => {
                bytes.push(value);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).expect("names are text")
}
