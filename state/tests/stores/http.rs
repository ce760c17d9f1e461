//! A server of Terraform's HTTP state protocol, stricter than the usual ones: it wants a lock, the
//! right ID, a matching checksum, and a serial that grows by one, as GitLab does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::Value;

/// `user:secret` in base64.
const LOGIN: &str = "Basic dXNlcjpzZWNyZXQ=";

#[derive(Default)]
pub struct Kept {
    pub documents: BTreeMap<String, Value>,
    pub locks: BTreeMap<String, Value>,
}

pub type Shared = Arc<Mutex<Kept>>;

pub async fn serve() -> (u16, Shared) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let shared = Shared::default();
    let limit = axum::extract::DefaultBodyLimit::disable();
    let app = Router::new().fallback(answer).layer(limit).with_state(Arc::clone(&shared));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, shared)
}

fn say(status: StatusCode, text: &str) -> Response {
    (status, text.to_owned()).into_response()
}

/// `/NAME` speaks Terraform's methods; `/NAME/lock` with POST and DELETE is GitLab's way.
async fn answer(
    State(shared): State<Shared>,
    method: axum::http::Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some(LOGIN) {
        return say(StatusCode::UNAUTHORIZED, "who are you?");
    }
    if !body.is_empty() {
        let digest = BASE64.encode(Md5::digest(&body));
        if header("content-type") != Some("application/json")
            || header("content-md5") != Some(&digest)
        {
            return say(StatusCode::BAD_REQUEST, "no JSON, or another checksum");
        }
    }
    let (name, is_lock) = match uri.path().strip_suffix("/lock") {
        Some(name) => (name.to_owned(), true),
        None => (uri.path().to_owned(), false),
    };
    let mut kept = shared.lock().expect("no holder panics");
    match (method.as_str(), is_lock) {
        ("GET", false) => match kept.documents.get(&name) {
            Some(document) => axum::Json(document.clone()).into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        },
        ("LOCK", false) | ("POST", true) => {
            let wanted: Value = serde_json::from_slice(&body).expect("lock information is JSON");
            for field in ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"] {
                assert!(wanted[field].is_string(), "{field} of {wanted}");
            }
            match kept.locks.get(&name) {
                Some(holder) => {
                    let status = if is_lock { StatusCode::CONFLICT } else { StatusCode::LOCKED };
                    (status, axum::Json(holder.clone())).into_response()
                }
                None => {
                    kept.locks.insert(name, wanted);
                    StatusCode::OK.into_response()
                }
            }
        }
        ("UNLOCK", false) | ("DELETE", true) => {
            let info: Value = serde_json::from_slice(&body).unwrap_or_default();
            match kept.locks.get(&name) {
                Some(holder) if holder["ID"] != info["ID"] => {
                    (StatusCode::CONFLICT, axum::Json(holder.clone())).into_response()
                }
                _ => {
                    kept.locks.remove(&name);
                    StatusCode::OK.into_response()
                }
            }
        }
        ("POST", false) => {
            let id = uri.query().and_then(|query| query.strip_prefix("ID=")).unwrap_or_default();
            match kept.locks.get(&name) {
                Some(holder) if holder["ID"] == id => {}
                _ => return say(StatusCode::CONFLICT, "not your lock"),
            }
            let Ok(document) = serde_json::from_slice::<Value>(&body) else {
                return say(StatusCode::BAD_REQUEST, "no JSON");
            };
            let there = kept.documents.get(&name);
            let last = there.map_or(0, |document| document["serial"].as_u64().unwrap_or_default());
            let is_state = document["version"] == 4
                && document["terraform_version"].is_string()
                && document["lineage"].is_string()
                && document["resources"].is_array()
                && there.is_none_or(|there| there["lineage"] == document["lineage"]);
            if !is_state || document["serial"] != last + 1 {
                return say(StatusCode::UNPROCESSABLE_ENTITY, "no next version of a state");
            }
            kept.documents.insert(name, document);
            StatusCode::OK.into_response()
        }
        _ => say(StatusCode::METHOD_NOT_ALLOWED, "not known"),
    }
}
