//! Azure Resource Manager on the sandbox: subscriptions, resource groups, AKS clusters with their node
//! pools, container registries, the list of resources and the state of operations.
//!
//! Stricter than Azure: an `api-version` must be one we know, a field one of the API's, a name, a parent, a
//! state and a VM size right. Ids and paths are read in any case, as Azure does. A request may come without
//! a token, because Azure's own clients refuse to send one over plain HTTP; one that is sent must be a
//! bearer token.
//!
//! Invariant: what is over leaves nothing behind. Operations are kept nowhere; their ids say when they
//! end.

mod answer;
mod clusters;
mod credentials;
mod groups;
mod node_checks;
mod nodes;
mod operations;
mod registries;
mod roles;
mod search;
mod validate;
mod versions;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use fleetform_sandbox::{Api, Fault, Object, Table, World};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value as Json, json};

use answer::{Answer, Refusal};

/// Resource Manager's own limit.
const BODY_LIMIT: usize = 4 << 20;

/// Objects that are in the middle of something, by the tick at which it is over.
const PENDING: &str = "azure/pending";

const GROUPS: &str = "azure/groups";
const CLUSTERS: &str = "azure/clusters";
const POOLS: &str = "azure/pools";
const REGISTRIES: &str = "azure/registries";
const ROLES: &str = "azure/roles";

/// The versions that each namespace knows: ours, and those of Azure's current Python clients.
const RESOURCES_VERSIONS: [&str; 4] = ["2025-04-01", "2024-03-01", "2022-12-01", "2021-04-01"];
const CLUSTERS_VERSIONS: [&str; 3] = ["2026-08-01", "2025-10-01", "2025-08-01"];
const REGISTRIES_VERSIONS: [&str; 2] = ["2025-11-01", "2023-07-01"];
const ROLES_VERSIONS: [&str; 1] = ["2022-04-01"];

/// The emulated API.
pub fn api(world: &World) -> Api {
    let routes = Router::new().fallback(handle).with_state(world.clone());
    Api { name: "azure", routes, refuse: refuse_for }
}

/// Azure's own answers to a request that meets a fault.
fn refuse_for(fault: Fault) -> Response {
    let refusal = match fault {
        Fault::Throttled => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "SubscriptionRequestsThrottled",
            "Number of requests for subscription exceeded the limit. Please try again later.",
        ),
        _ => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServerTimeout",
            "The request timed out. Please try again.",
        ),
    };
    let mut answer = Answer::from(refusal);
    answer.header("retry-after", "0");
    answer.into_response("00000000-0000-4000-8000-000000000000")
}

async fn handle(State(world): State<World>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = read(body).await;
    world.step(|table| {
        let request_id = operations::request_id(table.tick());
        let answer = body.and_then(|body| {
            let call = Call::new(&parts.method, &parts.uri, &parts.headers, body)?;
            settle(table);
            route(table, &call)
        });
        answer.unwrap_or_else(Answer::from).into_response(&request_id)
    })
}

async fn read(body: Body) -> Result<Json, Refusal> {
    let bytes = to_bytes(body, BODY_LIMIT).await.map_err(|_| {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestContentTooLarge",
            "The request content size exceeds the maximum size of 4 MB.",
        )
    })?;
    if bytes.is_empty() {
        return Ok(Json::Null);
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::bad(
            "InvalidRequestContent",
            format!("The request content was invalid and could not be deserialized: '{error}'."),
        )
    })
}

/// One request, taken apart.
struct Call {
    method: Method,
    /// The path's segments as they came.
    segments: Vec<String>,
    /// The same in lower case, for routes and keys.
    lower: Vec<String>,
    query: Vec<(String, String)>,
    /// `http://127.0.0.1:PORT`, for links in answers.
    base: String,
    path: String,
    if_match: Option<String>,
    if_none_match: Option<String>,
    body: Json,
}

impl Call {
    fn new(
        method: &Method,
        uri: &http::Uri,
        headers: &HeaderMap,
        body: Json,
    ) -> Result<Call, Refusal> {
        let header = |name: header::HeaderName| {
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            if token.is_none_or(|token| token.trim().is_empty()) {
                return Err(Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "AuthenticationFailed",
                    "Authentication failed. The 'Authorization' header is not a bearer token.",
                ));
            }
        }
        let decoded = |text: &str| answer::decode(text);
        let segments: Vec<String> =
            uri.path().split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let query = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let query = query.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        });
        Ok(Call {
            method: method.clone(),
            lower: segments.iter().map(|segment| segment.to_lowercase()).collect(),
            segments,
            query: query.collect(),
            base: format!("http://{}", header(header::HOST).unwrap_or_default()),
            path: uri.path().to_owned(),
            if_match: header(header::IF_MATCH),
            if_none_match: header(header::IF_NONE_MATCH),
            body,
        })
    }

    fn query(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The subscription's id, as every route has it.
    fn subscription(&self) -> &str {
        &self.lower[1]
    }

    /// The name at a segment, in the case that the caller used.
    fn name(&self, index: usize) -> &str {
        &self.segments[index]
    }

    fn version(&self) -> &str {
        self.query("api-version").unwrap_or_default()
    }

    fn demand_version(&self, kind: &str, known: &[&str]) -> Result<(), Refusal> {
        match self.query("api-version").filter(|version| !version.is_empty()) {
            None => Err(Refusal::bad(
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )),
            Some(version) if !known.contains(&version) => Err(Refusal::bad(
                "InvalidApiVersionParameter",
                format!(
                    "The api-version '{version}' is invalid for type '{kind}'. The supported versions are \
                     '{}'.",
                    known.join(",")
                ),
            )),
            Some(_) => Ok(()),
        }
    }
}

/// Finds the family that answers. Every path begins with `/subscriptions/ID`.
fn route(table: &mut Table, call: &Call) -> Result<Answer, Refusal> {
    let path: Vec<&str> = call.lower.iter().map(String::as_str).collect();
    let rest = match path.as_slice() {
        ["subscriptions", id, rest @ ..] => {
            if !crate::is_guid(id) {
                return Err(Refusal::bad(
                    "InvalidSubscriptionId",
                    format!("The provided subscription identifier '{id}' is malformed or invalid."),
                ));
            }
            rest
        }
        _ => return Err(no_such_type(call)),
    };
    match rest {
        [] | ["resourcegroups" | "resources" | "operationresults" | "locations", ..]
            if !matches!(rest, ["resourcegroups", _, "providers", ..]) =>
        {
            call.demand_version("resourceGroups", &RESOURCES_VERSIONS)?;
            groups::route(table, call, rest)
        }
        ["providers", "microsoft.containerservice", rest @ ..] => {
            call.demand_version("managedClusters", &CLUSTERS_VERSIONS)?;
            clusters::route_subscription(table, call, rest)
        }
        ["providers", "microsoft.containerregistry", rest @ ..] => {
            call.demand_version("registries", &REGISTRIES_VERSIONS)?;
            registries::route_subscription(table, call, rest)
        }
        ["resourcegroups", _, "providers", "microsoft.containerservice", rest @ ..] => {
            call.demand_version("managedClusters", &CLUSTERS_VERSIONS)?;
            clusters::route_group(table, call, rest)
        }
        [
            "resourcegroups",
            _,
            "providers",
            "microsoft.containerregistry",
            "registries",
            _,
            "providers",
            "microsoft.authorization",
            "roleassignments",
            rest @ ..,
        ] => {
            call.demand_version("roleAssignments", &ROLES_VERSIONS)?;
            roles::route(table, call, rest)
        }
        ["resourcegroups", _, "providers", "microsoft.containerregistry", rest @ ..] => {
            call.demand_version("registries", &REGISTRIES_VERSIONS)?;
            registries::route_group(table, call, rest)
        }
        _ => Err(no_such_type(call)),
    }
}

fn no_such_type(call: &Call) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "InvalidResourceType",
        format!("The resource type could not be found for the path '{}'.", call.path),
    )
}

fn wrong_method(call: &Call) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "HttpMethodNotAllowed",
        format!("The method '{}' is not supported for the path '{}'.", call.method, call.path),
    )
}

/// Ends every transition whose time has come.
fn settle(table: &mut Table) {
    while let Some((entry, due)) = next_due(table) {
        let Some(pending) = table.remove(PENDING, &entry) else { return };
        let text = |name: &str| pending.body[name].as_str().unwrap_or_default();
        let (collection, key) = (text("collection"), text("key"));
        // Something newer may have begun meanwhile, which has an entry of its own.
        if table.get(collection, key).is_none_or(|object| object.settles_at != due) {
            continue;
        }
        match collection {
            GROUPS => groups::settle(table, key),
            CLUSTERS => clusters::settle(table, key),
            POOLS => nodes::settle(table, key),
            _ => registries::settle(table, key),
        }
    }
}

/// The first transition that is over, and its tick. Entries are in the order of their ticks.
fn next_due(table: &Table) -> Option<(String, u64)> {
    let (entry, pending) = table.list(PENDING, "").next()?;
    (pending.settles_at <= table.tick()).then(|| (entry.to_owned(), pending.settles_at))
}

/// Puts an object that is `state` until its time is over, and says when that is.
fn begin(table: &mut Table, collection: &str, key: &str, mut body: Json, state: &str) -> u64 {
    body["properties"]["provisioningState"] = state.into();
    let settles_at = table.tick() + table.duration(key, 1, 4);
    table.put(collection, key, Object { body, settles_at });
    let entry = json!({ "collection": collection, "key": key });
    let pending = format!("{settles_at:020}/{collection}/{key}");
    table.put(PENDING, pending, Object { body: entry, settles_at });
    settles_at
}

/// The state of an object: `Succeeded`, or what it is in the middle of.
fn state(body: &Json) -> &str {
    body["properties"]["provisioningState"].as_str().unwrap_or("Succeeded")
}

fn settle_state(table: &mut Table, collection: &str, key: &str) {
    if let Some(object) = table.get_mut(collection, key) {
        object.body["properties"]["provisioningState"] = "Succeeded".into();
    }
}
