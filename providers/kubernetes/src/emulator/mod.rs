//! An emulated Kubernetes API server: what kubectl, client libraries and Fleetform itself need of one.
//!
//! A cluster answers under `/{kind}/{region}/{name}`, its key in the sandbox, as long as its cloud keeps it
//! open. Objects live in the sandbox table. What is not declared is refused, names and references are
//! checked, and fields have owners, as in a cluster; pods are bound to nodes by labels, taints and
//! amounts, and nothing is ever run.

mod apply;
mod bodies;
mod controllers;
mod defaults;
mod discovery;
mod fields;
mod kinds;
mod kubelet;
mod nodes;
mod patch;
mod pods;
mod protobuf;
mod requests;
mod rollout;
mod scheduler;
mod selectors;
mod status;
mod store;
mod tables;
mod validation;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use fleetform_contract::{Cloud, Offering};
use fleetform_sandbox::{Api, Fault, KUBERNETES_OBJECTS, NodePool, Object, World};

use requests::Request;
use scheduler::Amounts;
use status::{Refusal, answer};
use store::{Cluster, Memory};

/// The API servers of every cluster that a cloud opens, each under its key. Nodes have room for anything.
pub fn api(world: &World) -> Api {
    api_with(world, &[])
}

/// The same, where nodes of the offerings' instance types have what the offerings say.
pub fn api_with(world: &World, offerings: &[Offering]) -> Api {
    let catalog = offerings.iter().map(|offering| {
        let amounts = nodes::amounts(offering.gpus, offering.cpus, offering.memory_gib);
        (offering.instance_type.clone(), amounts)
    });
    let server = Server {
        world: world.clone(),
        memory: Arc::new(Mutex::new(Memory::since(world.step(|table| table.tick())))),
        catalog: Arc::new(catalog.collect()),
    };
    Api { name: "kubernetes", routes: Router::new().fallback(serve).with_state(server), refuse }
}

/// Opens a cluster that exists already, with its declared nodes. Doing it again changes nothing but
/// the nodes.
pub fn existing(world: &World, cloud: &Cloud) {
    let key = crate::existing::cluster_key(cloud);
    let version = cloud.cluster.version.as_deref().unwrap_or("1.34");
    world.step(|table| {
        if table.cluster_version(&key).is_none() {
            table.open_cluster(&key, version);
        }
        for (pool, _) in table.nodes(&key) {
            if !cloud.nodes.iter().any(|group| group.name == pool) {
                table.set_nodes(&key, &pool, &NodePool::default());
            }
        }
        for group in &cloud.nodes {
            let amounts = nodes::amounts(group.gpus, group.cpus, group.memory_gib);
            let capacity = Object { body: nodes::amounts_to_json(&amounts), settles_at: 0 };
            table.put(KUBERNETES_OBJECTS, format!("{key}/~capacity/{}", group.name), capacity);
            let mut labels = Vec::new();
            if let Some(gpu) = &group.gpu_type {
                labels.push(("nvidia.com/gpu.product".to_owned(), gpu.clone()));
            }
            let nodes = NodePool {
                count: group.count,
                instance_type: group.name.clone(),
                labels,
                ..NodePool::default()
            };
            table.set_nodes(&key, &group.name, &nodes);
        }
    });
}

/// What every request needs. Clones are the same server.
#[derive(Clone)]
struct Server {
    world: World,
    memory: Arc<Mutex<Memory>>,
    catalog: Arc<BTreeMap<String, Amounts>>,
}

impl Server {
    /// Does something in a cluster, in one step of the world and after what was due there; `None` where
    /// there is no such cluster.
    fn within<T>(&self, key: &str, action: impl FnOnce(&mut Cluster) -> T) -> Option<T> {
        self.world.step(|table| {
            table.cluster_version(key)?;
            let mut memory = self.memory.lock().expect("no request panics");
            let mut cluster = Cluster { table, key, memory: &mut memory, catalog: &self.catalog };
            controllers::run(&mut cluster);
            Some(action(&mut cluster))
        })
    }
}

async fn serve(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parts: Option<Vec<String>> = uri
        .path()
        .trim_start_matches('/')
        .trim_end_matches('/')
        .split('/')
        .map(|part| percent_decoded(part, false))
        .collect();
    let Some(parts) = parts.filter(|parts| parts.len() >= 3) else {
        return no_cluster(uri.path());
    };
    let key = parts[..3].join("/");
    let path: Vec<&str> = parts[3..].iter().map(String::as_str).collect();
    let header = |name: header::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let accept = header(header::ACCEPT);

    if method == Method::GET {
        let version = server.world.step(|table| table.cluster_version(&key).map(str::to_owned));
        let Some(version) = version else { return no_cluster(&key) };
        let aggregated = accept.contains("APIGroupDiscoveryList");
        if let Some(found) = discovery::answer(&path, &version, aggregated) {
            return discovered(&path, found, aggregated);
        }
    }
    // In the sandbox everybody may do everything.
    if let ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] = path[..]
        && method == Method::POST
        && server.within(&key, |_| ()).is_some()
    {
        return answer(201, &allowed());
    }
    let Some(query) = query(uri.query().unwrap_or_default()) else {
        return Refusal::bad_request("the query is no text").into_response();
    };
    let mut request = Request {
        method: method.as_str().to_owned(),
        kind: kinds::named("Namespace"),
        namespace: None,
        name: None,
        subresource: None,
        query,
        content_type: header(header::CONTENT_TYPE),
        user_agent: header(header::USER_AGENT),
        body: body.to_vec(),
    };
    if let Err(refusal) = locate(&path, &mut request) {
        let exists = server.within(&key, |_| ()).is_some();
        return if exists { refusal.into_response() } else { no_cluster(&key) };
    }
    if request.kind.is("Pod") && request.subresource.as_deref() == Some("log") {
        return match server.within(&key, |_| ()) {
            Some(()) => "The sandbox runs no containers: there are no logs.\n".into_response(),
            None => no_cluster(&key),
        };
    }
    let as_table = accept.contains("as=Table");
    let watching = matches!(request.query.get("watch").map(String::as_str), Some("true" | "1"));
    if watching && method == Method::GET {
        return watch::start(server, key.clone(), request, as_table)
            .unwrap_or_else(|| no_cluster(&key));
    }
    let Some((result, now)) = server
        .within(&key, |cluster| (requests::answer(cluster, &request), cluster.table.now_unix()))
    else {
        return no_cluster(&key);
    };
    match result {
        Err(refusal) => refusal.into_response(),
        Ok(reply) => {
            let shown = request.method == "GET" && request.subresource.is_none();
            let body = if as_table && shown {
                let whole = request.query.get("includeObject").is_some_and(|what| what == "Object");
                tables::table(request.kind, &reply.body, now, whole)
            } else {
                reply.body
            };
            let mut response = answer(reply.code, &body);
            for warning in reply.warnings {
                if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
                    response.headers_mut().append(header::WARNING, value);
                }
            }
            response
        }
    }
}

/// Finds what a path names.
fn locate(path: &[&str], request: &mut Request) -> status::Result<()> {
    let (group, version, rest) = match path {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(Refusal::no_resource()),
    };
    let text = |text: &str| Some(text.to_owned());
    let kind = |plural: &str, namespaced: Option<bool>| {
        kinds::find(group, version, plural)
            .filter(|kind| namespaced.is_none_or(|namespaced| kind.namespaced == namespaced))
            .ok_or_else(Refusal::no_resource)
    };
    match rest {
        ["namespaces", name, sub @ ("status" | "finalize")] => {
            request.kind = kind("namespaces", None)?;
            (request.name, request.subresource) = (text(name), text(sub));
        }
        ["namespaces", namespace, plural, rest @ ..] => {
            request.kind = kind(plural, Some(true))?;
            request.namespace = text(namespace);
            match rest {
                [] => {}
                [name] => request.name = text(name),
                [name, sub] => (request.name, request.subresource) = (text(name), text(sub)),
                _ => return Err(Refusal::no_resource()),
            }
        }
        [plural] => request.kind = kind(plural, None)?,
        [plural, name] => (request.kind, request.name) = (kind(plural, Some(false))?, text(name)),
        [plural, name, sub] => {
            request.kind = kind(plural, Some(false))?;
            (request.name, request.subresource) = (text(name), text(sub));
        }
        _ => return Err(Refusal::no_resource()),
    }
    Ok(())
}

fn discovered(path: &[&str], found: serde_json::Value, aggregated: bool) -> Response {
    let mut response = match &found {
        serde_json::Value::String(text) => text.clone().into_response(),
        json => answer(200, json),
    };
    if aggregated && matches!(path, ["api"] | ["apis"]) {
        let content = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    }
    response
}

fn allowed() -> serde_json::Value {
    serde_json::json!({
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {},
        "status": { "allowed": true },
    })
}

fn no_cluster(key: &str) -> Response {
    Refusal::new(404, "NotFound", format!("there is no cluster {key}")).into_response()
}

fn refuse(fault: Fault) -> Response {
    match fault {
        Fault::Throttled => {
            let message = "the server has received too many requests and has asked us to try again \
                           later";
            let mut response = Refusal::new(429, "TooManyRequests", message).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Fault::Unavailable | Fault::AnswerLost | Fault::Stale => {
            let message = "the server is currently unable to handle the request";
            Refusal::new(503, "ServiceUnavailable", message).into_response()
        }
    }
}

fn query(text: &str) -> Option<BTreeMap<String, String>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decoded(key, true)?, percent_decoded(value, true)?))
        })
        .collect()
}

/// Decodes `%XX`, and `+` in queries; `None` for what is no UTF-8 text.
fn percent_decoded(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'+' if plus => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}
