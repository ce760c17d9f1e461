//! AWS as its clients see it, over the sandbox's object table: EKS (REST with JSON), ECR (JSON 1.1), IAM
//! and STS (query and XML) and the part of EC2 that finds the default VPC's subnets, on one port.
//!
//! Stricter than AWS: a field or parameter that it does not know is refused, and so is a parent that
//! does not exist, a name that is taken, a state that does not allow the call, a request that is not
//! signed or is signed for another service. The region comes from the signature's scope; signatures
//! themselves are not verified, because there are no secrets to verify them with.
//!
//! What AWS accepts and this does not: node groups with launch templates or remote access, clusters on
//! Outposts, with EKS Auto Mode or with envelope encryption, Fargate, add-ons, access entries.

mod auth;
mod clusters;
mod ec2;
mod ecr;
mod iam;
mod node_groups;
mod tags;
mod updates;
mod wire;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use fleetform_sandbox::{Api, Table, World};
use http::Method;

use auth::Scope;
use wire::{Answer, Dialect, Refusal};

/// The account that everything belongs to.
const ACCOUNT: &str = "123456789012";
/// Requests larger than this are refused.
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// The emulated API over a world.
pub fn api(world: &World) -> Api {
    let routes = Router::new().fallback(serve).with_state(world.clone());
    Api { name: "aws", routes, refuse: wire::refuse }
}

/// A request, as far as it is the same in every protocol.
struct Call<'a> {
    method: &'a Method,
    /// Decoded, without empty ones at the ends.
    path: Vec<String>,
    query: Vec<(String, String)>,
    /// `X-Amz-Target`.
    target: Option<&'a str>,
    body: &'a str,
    scope: Scope,
}

async fn serve(State(world): State<World>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let dialect = Dialect::of(&parts);
    let bytes = to_bytes(body, BODY_LIMIT_BYTES).await;
    world.step(|table| {
        settle(table);
        let answer = bytes
            .map_err(|_| Refusal::new(413, "RequestEntityTooLarge", "the body is too large"))
            .and_then(|bytes| answer(table, &parts, &bytes));
        dialect.respond(answer, table.tick())
    })
}

fn answer(
    table: &mut Table,
    parts: &http::request::Parts,
    bytes: &[u8],
) -> Result<Answer, Refusal> {
    let malformed = |what: &str| Refusal::new(400, "SerializationException", what);
    let body = std::str::from_utf8(bytes).map_err(|_| malformed("the body is no UTF-8"))?;
    let segments = parts.uri.path().trim_matches('/').split('/').map(crate::text::percent_decode);
    let path = segments.collect::<Option<Vec<String>>>();
    let query = crate::text::form_decode(parts.uri.query().unwrap_or_default());
    let (Some(path), Some(query)) = (path, query) else {
        return Err(malformed("the URL does not decode"));
    };
    let scope = auth::scope(&parts.headers, &query)?;
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let call = Call { method: &parts.method, path, query, target, body, scope };
    match (Dialect::of(parts), call.scope.service.as_str()) {
        (Dialect::RestJson, "eks") => eks(table, &call),
        (Dialect::Json, "ecr") => ecr::answer(table, &call),
        (Dialect::Query, "iam") => iam::answer(table, &call),
        (Dialect::Ec2, "ec2") => ec2::answer(&call),
        (Dialect::Query, "sts") => sts(&call),
        (dialect, service) => Err(auth::wrong_service(dialect, service)),
    }
}

/// What time has finished since the last request.
fn settle(table: &mut Table) {
    clusters::settle(table);
    node_groups::settle(table);
}

fn eks(table: &mut Table, call: &Call<'_>) -> Result<Answer, Refusal> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (call.method.as_str(), path.as_slice()) {
        ("POST", ["clusters"]) => clusters::create(table, call),
        ("GET", ["clusters"]) => clusters::list(table, call),
        ("GET", ["clusters", name]) => clusters::describe(table, call, name),
        ("DELETE", ["clusters", name]) => clusters::delete(table, call, name),
        ("POST", ["clusters", name, "updates"]) => clusters::update_version(table, call, name),
        ("POST", ["clusters", name, "update-config"]) => clusters::update_config(table, call, name),
        ("GET", ["clusters", name, "updates"]) => updates::list(table, call, name),
        ("GET", ["clusters", name, "updates", id]) => updates::describe(table, call, name, id),
        ("POST", ["clusters", name, "node-groups"]) => node_groups::create(table, call, name),
        ("GET", ["clusters", name, "node-groups"]) => node_groups::list(table, call, name),
        ("GET", ["clusters", name, "node-groups", group]) => {
            node_groups::describe(table, call, name, group)
        }
        ("DELETE", ["clusters", name, "node-groups", group]) => {
            node_groups::delete(table, call, name, group)
        }
        ("POST", ["clusters", name, "node-groups", group, "update-config"]) => {
            node_groups::update_config(table, call, name, group)
        }
        ("POST", ["clusters", name, "node-groups", group, "update-version"]) => {
            node_groups::update_version(table, call, name, group)
        }
        ("GET", ["cluster-versions"]) => clusters::versions(call),
        (method, ["tags", arn @ ..]) => tags::answer(table, call, method, &arn.join("/")),
        _ => Err(Refusal::new(404, "UnknownOperationException", "EKS has no such operation here")),
    }
}

fn sts(call: &Call<'_>) -> Result<Answer, Refusal> {
    let form = call.form()?;
    if form.action()? != "GetCallerIdentity" {
        return Err(form.unknown_action());
    }
    form.only(&["Action", "Version"])?;
    Ok(Answer::xml(
        "GetCallerIdentityResponse",
        "https://sts.amazonaws.com/doc/2011-06-15/",
        Some((
            "GetCallerIdentityResult",
            vec![
                wire::leaf("Arn", format!("arn:aws:iam::{ACCOUNT}:user/sandbox")),
                wire::leaf("UserId", "AIDASANDBOXSANDBOX000"),
                wire::leaf("Account", ACCOUNT),
            ],
        )),
    ))
}
