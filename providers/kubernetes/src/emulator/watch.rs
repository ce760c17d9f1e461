//! Watches: a stream of JSON lines, one for each change.
//!
//! A watch looks again every so often, and each look is a step of the world; so what is watched moves on,
//! as it would in a cluster.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use super::requests::Request;
use super::selectors::Filter;
use super::status::{Refusal, Result};
use super::store::{self, Cluster};
use super::{Server, tables};

/// Between two looks.
const PACE: Duration = Duration::from_millis(200);
/// For watches that set no end.
const LONGEST: u64 = 1800;

/// Begins a watch; `None` where there is no such cluster.
pub(super) fn start(
    server: Server,
    key: String,
    request: Request,
    as_table: bool,
) -> Option<Response> {
    let mut filter = match Filter::of(&request.query) {
        Ok(filter) => filter,
        Err(refusal) => return Some(refusal.into_response()),
    };
    if let Some(name) = &request.name {
        let query = format!("metadata.name={name}");
        let by_name = Filter::of(&BTreeMap::from([("fieldSelector".to_owned(), query)]));
        match by_name {
            Ok(by_name) => filter.also(by_name),
            Err(refusal) => return Some(refusal.into_response()),
        }
    }
    let seconds = request.query.get("timeoutSeconds").and_then(|text| text.parse().ok());
    let deadline = Instant::now() + Duration::from_secs(seconds.unwrap_or(LONGEST).min(LONGEST));
    let mut watch = Watch {
        server: server.clone(),
        key: key.clone(),
        request,
        filter,
        as_table,
        seen: BTreeMap::new(),
        lines: VecDeque::new(),
        deadline,
    };
    let begun = server.within(&key, |cluster| watch.begin(cluster))?;
    if let Err(refusal) = begun {
        return Some(refusal.into_response());
    }
    let lines = futures::stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(line), watch))
    });
    let content = [(header::CONTENT_TYPE, "application/json")];
    Some((content, Body::from_stream(lines)).into_response())
}

struct Watch {
    server: Server,
    key: String,
    request: Request,
    filter: Filter,
    as_table: bool,
    /// What the client knows: objects by their keys.
    seen: BTreeMap<String, Json>,
    /// What it has not been told yet.
    lines: VecDeque<Bytes>,
    deadline: Instant,
}

impl Watch {
    /// What the client missed since the version it names; everything where it names none.
    fn begin(&mut self, cluster: &mut Cluster) -> Result<()> {
        let now = cluster.table.now_unix();
        let version = self.request.query.get("resourceVersion").map_or("", String::as_str);
        let initial =
            self.request.query.get("sendInitialEvents").is_some_and(|value| value == "true");
        let known: Option<u64> = match version {
            "" | "0" => None,
            _ if initial => None,
            text => Some(text.parse().map_err(|_| {
                Refusal::bad_request(format!("resourceVersion: Invalid value: {text:?}"))
            })?),
        };
        if let Some(known) = known {
            let prefix = cluster.path(self.request.kind, self.request.namespace.as_deref(), "");
            let Some(deleted) = cluster.memory.deleted_since(known) else {
                let message = format!("too old resource version: {known} ({})", cluster.tick());
                return Err(Refusal::new(410, "Expired", message));
            };
            let deleted: Vec<Json> = deleted
                .filter(|(key, object)| {
                    key.starts_with(&prefix)
                        && self.filter.passes(object)
                        && store::created(object) <= known
                })
                .map(|(_, object)| object.clone())
                .collect();
            for object in &deleted {
                self.tell("DELETED", object, now);
            }
        }
        for (key, object) in self.current(cluster) {
            match known {
                Some(known) if store::version(&object) <= known => {}
                Some(known) if store::created(&object) <= known => {
                    self.tell("MODIFIED", &object, now);
                }
                _ => self.tell("ADDED", &object, now),
            }
            self.seen.insert(key, object);
        }
        if initial {
            let bookmark = json!({
                "kind": self.request.kind.kind,
                "apiVersion": self.request.kind.api_version(),
                "metadata": {
                    "resourceVersion": cluster.tick().to_string(),
                    "annotations": { "k8s.io/initial-events-end": "true" },
                },
            });
            self.line(&json!({ "type": "BOOKMARK", "object": bookmark }));
        }
        Ok(())
    }

    fn current(&self, cluster: &Cluster) -> Vec<(String, Json)> {
        let objects = cluster.keyed(self.request.kind, self.request.namespace.as_deref());
        let passing = objects.into_iter().filter(|(_, object)| self.filter.passes(object));
        passing.map(|(key, object)| (key, object.clone())).collect()
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if Instant::now() >= self.deadline {
                return None;
            }
            tokio::time::sleep(PACE).await;
            let server = self.server.clone();
            let key = self.key.clone();
            server.within(&key, |cluster| self.look(cluster))?;
        }
    }

    fn look(&mut self, cluster: &mut Cluster) {
        let now = cluster.table.now_unix();
        let current: BTreeMap<String, Json> = self.current(cluster).into_iter().collect();
        let before = std::mem::take(&mut self.seen);
        for (key, object) in &before {
            if !current.contains_key(key) {
                self.tell("DELETED", object, now);
            }
        }
        for (key, object) in &current {
            match before.get(key) {
                None => self.tell("ADDED", object, now),
                // Another object of the same name: the old one has gone in between.
                Some(old) if old["metadata"]["uid"] != object["metadata"]["uid"] => {
                    self.tell("DELETED", old, now);
                    self.tell("ADDED", object, now);
                }
                Some(old) if store::version(old) != store::version(object) => {
                    self.tell("MODIFIED", object, now);
                }
                Some(_) => {}
            }
        }
        self.seen = current;
    }

    fn tell(&mut self, event: &str, object: &Json, now: u64) {
        let object = if self.as_table {
            let whole =
                self.request.query.get("includeObject").is_some_and(|what| what == "Object");
            tables::table(self.request.kind, object, now, whole)
        } else {
            object.clone()
        };
        self.line(&json!({ "type": event, "object": object }));
    }

    fn line(&mut self, event: &Json) {
        self.lines.push_back(Bytes::from(format!("{event}\n")));
    }
}
