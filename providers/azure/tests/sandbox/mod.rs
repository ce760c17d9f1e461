//! Azure's provider on its emulator, and what tests put there.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use fleetform_azure::{emulator, provider, sandboxed};
use fleetform_contract::{
    Cloud, Market, Offering, Owner, Pool, Provider, Record, Registry, Remote, Resource, Silent,
    Site, Token, Value,
};
use fleetform_sandbox::{FaultPlan, Served, World, serve};
use serde_json::Value as Json;

/// Method, path with its query, and body of each request that changes something.
pub type Wire = Arc<Mutex<Vec<(String, String, Json)>>>;

pub struct Sandbox {
    pub world: World,
    pub served: Served,
    pub wire: Wire,
    pub client: reqwest::Client,
    pub provider: Box<dyn Provider>,
}

impl Sandbox {
    pub async fn start() -> Sandbox {
        Sandbox::of(cloud(), 7, FaultPlan::default()).await
    }

    pub async fn of(cloud: Cloud, seed: u64, faults: FaultPlan) -> Sandbox {
        let world = World::in_memory(seed);
        let wire = Wire::default();
        let mut api = emulator::api(&world);
        api.routes = api.routes.layer(middleware::from_fn_with_state(Arc::clone(&wire), record));
        let served = serve(&world, vec![(api, 0)], faults).await.expect("loopback");
        let mut urls = served.urls.clone();
        urls.insert("kubernetes", "http://kubernetes.test".into());
        let provider = provider(&sandboxed(cloud, &urls)).expect("a good cloud");
        Sandbox { world, served, wire, client: client(), provider }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/subscriptions/{SUBSCRIPTION}{path}", self.served.urls["azure"])
    }

    /// Status, code and message of the emulator's answer to a request of our own.
    pub async fn ask(&self, method: &str, path: &str, body: Json) -> (u16, Json) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, self.url(path));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the emulator answers");
        assert!(answer.headers().contains_key("x-ms-request-id"), "{path}");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// Makes every resource in order; the records.
    pub async fn make(&self, resources: &[Resource]) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        for resource in resources {
            let desired = fill(resource, &records);
            let token = Token(resource.address.to_string());
            let made = self.provider.create(&desired, &token, &Silent).await;
            let made = made.unwrap_or_else(|error| panic!("{}: {error}", resource.address));
            records.push(recorded(&desired, made));
        }
        records
    }
}

pub async fn record(State(wire): State<Wire>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    if parts.method != "GET" {
        let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap());
        if parts
            .headers
            .get("user-agent")
            .is_some_and(|agent| agent.to_str().is_ok_and(|agent| agent.starts_with("fleetform/")))
        {
            assert_eq!(authorization, Some("Bearer sandbox"));
        }
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        let entry = (parts.method.to_string(), parts.uri.to_string(), body);
        wire.lock().expect("no holder panics").push(entry);
    }
    next.run(Request::from_parts(parts, bytes.into())).await
}

pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
pub const GROUP: &str = "fleetform-chat-main-ec9005";
pub const CLUSTERS: &str = "providers/Microsoft.ContainerService/managedClusters";

pub fn cloud() -> Cloud {
    Cloud {
        name: "azure".into(),
        kind: "azure".into(),
        regions: vec!["eastus".into()],
        ..Cloud::default()
    }
}

pub fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5e0c".into() }
}

/// A pool of this size, as the catalog has it.
pub fn pool(provider: &dyn Provider, instance_type: &str, market: Market, nodes: u32) -> Pool {
    let is_it = |o: &Offering| o.instance_type == instance_type && o.market == market;
    let offering = provider.offerings().into_iter().find(is_it).expect("it is offered");
    Pool { offering, nodes, min_nodes: 1, max_nodes: 5, workloads: vec!["chat".into()] }
}

pub fn site(pools: Vec<Pool>) -> Site {
    Site {
        cloud: "azure".into(),
        region: "eastus".into(),
        cluster: "chat".into(),
        pools,
        workloads: Vec::new(),
    }
}

pub fn registry() -> Registry {
    Registry {
        name: "main".into(),
        cloud: "azure".into(),
        regions: vec!["eastus".into()],
        immutable_tags: false,
        scan_on_push: false,
        keep_images: None,
        repositories: Vec::new(),
    }
}

pub fn recorded(desired: &Resource, made: Remote) -> Record {
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: None,
        id: made.id,
        attributes: made.attributes,
        depends_on: desired.depends_on.clone(),
        version: 0,
        tainted: false,
    }
}

pub fn fill(resource: &Resource, records: &[Record]) -> Resource {
    let mut filled = resource.clone();
    for value in filled.attributes.values_mut() {
        *value = value.map_leaves(&mut |leaf| match leaf {
            Value::Unknown(unknown) => {
                let made =
                    records.iter().find(|record| record.address.to_string() == unknown.address);
                let made = made.expect("what it needs is made before");
                Value::Map(made.attributes.clone())
                    .at(&unknown.path)
                    .cloned()
                    .expect("it is provided")
            }
            other => other.clone(),
        });
    }
    filled
}
