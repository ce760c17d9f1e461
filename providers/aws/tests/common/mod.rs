//! A small fleet on AWS, and the emulator to put it on.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use fleetform_contract::{
    Address, Cloud, ClusterSettings, Market, Offering, Owner, Pool, Provider, Registry, Repository,
    Resource, Site,
};
use fleetform_sandbox::{FaultPlan, Served, World, serve};

pub const REGION: &str = "us-east-1";

/// What a client sent: method, path with query, and body.
#[derive(Clone, Debug)]
pub struct Sent {
    pub call: String,
    pub body: String,
}

/// The emulator over a new world, with everything that reached it.
pub struct Sandbox {
    pub world: World,
    pub served: Served,
    pub sent: Arc<Mutex<Vec<Sent>>>,
}

impl Sandbox {
    pub async fn start() -> Sandbox {
        let world = World::in_memory(7);
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let mut api = fleetform_aws::emulator::api(&world);
        let log = sent.clone();
        api.routes = api.routes.layer(from_fn(move |request: Request, next: Next| {
            let log = log.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = to_bytes(body, usize::MAX).await.expect("the body arrives");
                let body = String::from_utf8_lossy(&bytes).into_owned();
                let call = format!("{} {}", parts.method, parts.uri);
                log.lock().expect("no holder panics").push(Sent { call, body });
                next.run(Request::from_parts(parts, Body::from(bytes))).await
            }
        }));
        let served = serve(&world, vec![(api, 0)], FaultPlan::default()).await;
        Sandbox { world, served: served.expect("loopback is there"), sent }
    }

    /// The provider of the cloud, pointed here.
    pub fn provider(&self, cloud: &Cloud) -> Box<dyn Provider> {
        let cloud = fleetform_aws::sandboxed(cloud.clone(), &self.served.urls);
        fleetform_aws::provider(&cloud).expect("the cloud is sound")
    }

    /// The bodies of the calls that start with this.
    pub fn bodies(&self, call: &str) -> Vec<serde_json::Value> {
        let sent = self.sent.lock().expect("no holder panics");
        let found = sent.iter().filter(|sent| sent.call.starts_with(call));
        found.map(|sent| serde_json::from_str(&sent.body).expect("it is JSON")).collect()
    }
}

pub fn cloud() -> Cloud {
    Cloud {
        name: "aws".into(),
        kind: "aws".into(),
        regions: vec![REGION.into()],
        cluster: ClusterSettings { version: Some("1.33".into()), ..ClusterSettings::default() },
        ..Cloud::default()
    }
}

pub fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5f0c1a52-0000-4000-8000-000000000001".into() }
}

pub fn offering(cloud: &Cloud, instance_type: &str, market: Market) -> Offering {
    let found = fleetform_aws::catalog::offerings(cloud)
        .into_iter()
        .find(|offering| offering.instance_type == instance_type && offering.region == REGION);
    Offering { market, ..found.expect("the catalog has it") }
}

/// Two pools: one of GPUs on the spot market, one of CPUs.
pub fn site(cloud: &Cloud, gpu_nodes: u32) -> Site {
    let pool = |instance_type: &str, market, nodes| Pool {
        offering: offering(cloud, instance_type, market),
        nodes,
        min_nodes: 1,
        max_nodes: nodes + 2,
        workloads: vec!["chat".into()],
    };
    Site {
        cloud: cloud.name.clone(),
        region: REGION.into(),
        cluster: "chat".into(),
        pools: vec![
            pool("g6.xlarge", Market::Spot, gpu_nodes),
            pool("m7g.large", Market::OnDemand, 1),
        ],
        workloads: Vec::new(),
    }
}

pub fn registry() -> Registry {
    Registry {
        name: "main".into(),
        cloud: "aws".into(),
        regions: vec![REGION.into()],
        immutable_tags: true,
        scan_on_push: true,
        keep_images: Some(20),
        repositories: vec![Repository { image: "chat".into() }],
    }
}

/// The fleet's resources, parents first.
pub fn resources(provider: &dyn Provider, cloud: &Cloud, gpu_nodes: u32) -> Vec<Resource> {
    let mut left = provider.resources(&[site(cloud, gpu_nodes)], &[registry()], &owner());
    let mut ordered: Vec<Resource> = Vec::new();
    while !left.is_empty() {
        let ready = left.iter().position(|resource| {
            let done = |parent: &Address| ordered.iter().any(|made| made.address == *parent);
            resource.depends_on.iter().all(done)
        });
        ordered.push(left.remove(ready.expect("dependencies have no cycle")));
    }
    ordered
}
