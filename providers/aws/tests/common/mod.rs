//! A small fleet on AWS, and the emulator to put it on.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use fleetform_contract::{
    Address, Cloud, ClusterSettings, Market, Offering, Owner, Pool, Provider, Record, Registry,
    Remote, Repository, Resource, Silent, Site, Token, Value,
};
use fleetform_sandbox::{FaultPlan, Served, World, serve};

pub const REGION: &str = "us-east-1";

/// The emulator over a new world.
pub struct Sandbox {
    pub world: World,
    pub served: Served,
}

impl Sandbox {
    pub async fn start() -> Sandbox {
        Sandbox::with_faults(FaultPlan::default()).await
    }

    pub async fn with_faults(faults: FaultPlan) -> Sandbox {
        let world = World::in_memory(7);
        let api = fleetform_aws::emulator::api(&world);
        let served = serve(&world, vec![(api, 0)], faults).await;
        Sandbox { world, served: served.expect("loopback is there") }
    }

    /// The provider of the cloud, pointed here.
    pub fn provider(&self, cloud: &Cloud) -> Box<dyn Provider> {
        let cloud = fleetform_aws::sandboxed(cloud.clone(), &self.served.urls);
        fleetform_aws::provider(&cloud).expect("the cloud is sound")
    }

    /// The bodies of the calls of this method and path.
    pub fn bodies(&self, method: &str, path: &str) -> Vec<serde_json::Value> {
        let requests = self.served.requests().into_iter();
        let found = requests.filter(|request| request.method == method && request.path == path);
        found.map(|request| request.body).collect()
    }

    /// Every collection that has objects, with their number.
    pub fn census(&self) -> Vec<(String, usize)> {
        self.world.step(|table| {
            let census = table.census().into_iter();
            census.map(|(name, count)| (name.to_owned(), count)).collect()
        })
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

/// Makes every resource of the fleet, in order.
pub async fn create_all(provider: &dyn Provider, cloud: &Cloud, gpu_nodes: u32) -> Vec<Record> {
    let mut records = Vec::new();
    for resource in resources(provider, cloud, gpu_nodes) {
        let desired = fill(&resource, &records);
        let token = Token(format!("create-{}", desired.address));
        let made = provider.create(&desired, &token, &Silent).await;
        let made = made.unwrap_or_else(|error| panic!("{}: {error}", desired.address));
        records.push(record(&desired, made));
    }
    records
}

/// The resource with what earlier ones computed put in.
pub fn fill(resource: &Resource, records: &[Record]) -> Resource {
    let mut filled = resource.clone();
    for value in filled.attributes.values_mut() {
        *value = value.map_leaves(&mut |leaf| match leaf {
            Value::Unknown(unknown) => {
                let provides = |record: &&Record| record.address.to_string() == unknown.address;
                let found = records.iter().find(provides).expect("parents come first");
                let attributes = Value::Map(found.attributes.clone());
                attributes.at(&unknown.path).expect("parents compute it").clone()
            }
            other => other.clone(),
        });
    }
    filled
}

pub fn record(desired: &Resource, made: Remote) -> Record {
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: desired.site.clone(),
        id: made.id,
        attributes: made.attributes,
        depends_on: desired.depends_on.clone(),
        version: 1,
        tainted: false,
    }
}

pub fn find<'a>(records: &'a [Record], kind: &str) -> &'a Record {
    records.iter().find(|record| record.address.kind == kind).expect("it is among them")
}
