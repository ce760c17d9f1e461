//! Small stacks and catalogs, built in code.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fleetform_contract::{
    Capacity, Cloud, JobSettings, Market, Needs, Offering, RateCard, SecretKey, Tariff,
    TariffRegion, Tier, Vault,
};
use fleetform_state::KeySources;

use crate::config::{
    Amount, Ignored, Load, LoadSize, Optimize, PlacementRules, Stack, StateSettings, Workload,
};
use crate::diagnostic::{Diagnostic, Sources, Span};
use crate::placement::{Placement, solve};
use crate::problem::{Problem, pose};

pub fn offering(id: &str) -> Offering {
    let parts: Vec<&str> = id.split('/').collect();
    let [cloud, region, instance_type, market] = parts[..] else { panic!("{id}") };
    Offering {
        cloud: cloud.to_owned(),
        region: region.to_owned(),
        instance_type: instance_type.to_owned(),
        market: market.parse().expect("a market"),
        zones: Vec::new(),
        zone: None,
        max_pods: None,
        gpu_type: None,
        gpus: 0,
        gpu_memory_gib: 0.0,
        cpus: 64.0,
        memory_gib: 512.0,
        architecture: "x86_64".to_owned(),
        price_hour: 1.0,
        max_nodes: None,
        location: None,
        as_of: "2026-01-01".to_owned(),
    }
}

/// An offering with GPUs: id, type, GPUs, GiB each, dollars an hour.
pub fn gpu(id: &str, gpu_type: &str, gpus: u32, gpu_memory_gib: f64, price_hour: f64) -> Offering {
    Offering {
        gpu_type: Some(gpu_type.to_owned()),
        gpus,
        gpu_memory_gib,
        price_hour,
        ..offering(id)
    }
}

/// An offering without GPUs: id, CPUs, GiB, dollars an hour.
pub fn cpu(id: &str, cpus: f64, memory_gib: f64, price_hour: f64) -> Offering {
    Offering { cpus, memory_gib, price_hour, ..offering(id) }
}

pub fn cloud(name: &str) -> Cloud {
    Cloud { name: name.to_owned(), kind: name.to_owned(), ..Cloud::default() }
}

/// Two areas a cloud at these prices between regions, and out of it for the first gigabytes and above.
pub fn tariff(near: f64, far: f64, internet: [f64; 2], above_gb_month: f64) -> Tariff {
    let regions = [("r1", "near"), ("r2", "near"), ("r3", "far")].map(|(region, area)| {
        let (area, internet) = (area.to_owned(), "all".to_owned());
        let storage_gb_month = Some(0.02);
        let region_tariff =
            TariffRegion { area, internet, storage_gb_month, ..TariffRegion::default() };
        (region.to_owned(), region_tariff)
    });
    let price = |from: &str, to: &str, price: f64| ((from.to_owned(), to.to_owned()), price);
    let tiers = [(0.0, internet[0]), (above_gb_month, internet[1])]
        .map(|(above_gb_month, price_gb)| Tier { above_gb_month, price_gb });
    Tariff {
        regions: regions.into(),
        between: [price("near", "near", near), price("near", "far", far), price("far", "*", far)]
            .into(),
        internet: [("all".to_owned(), tiers.to_vec())].into(),
        ..Tariff::default()
    }
}

/// A service whose replicas need GPUs and nothing else.
pub fn service(name: &str, replicas: u32, gpus: u32) -> Workload {
    Workload {
        reference: format!("service.{name}"),
        path: format!("service.{name}"),
        job: None,
        image: "image".to_owned(),
        model: None,
        amount: Amount::Replicas(replicas),
        port: None,
        command: Vec::new(),
        env: BTreeMap::new(),
        calls: BTreeMap::new(),
        secret_env: Vec::new(),
        needs: Needs { gpus, ..Needs::default() },
        placement: PlacementRules::default(),
        autoscale: None,
        health: None,
        protect: None,
        ignored: Ignored::Places(Vec::new()),
    }
}

/// A service sized by load, whose replicas need one GPU: requests a second in all, and of one replica by
/// GPU type.
pub fn loaded(name: &str, requests_per_second: f64, rates: &[(&str, f64)]) -> Workload {
    let rates = rates.iter().map(|(gpu_type, rate)| ((*gpu_type).to_owned(), *rate)).collect();
    Workload {
        model: Some("model".to_owned()),
        amount: Amount::Load(Load { size: LoadSize::Known(requests_per_second), rates }),
        ..service(name, 1, 1)
    }
}

pub fn job(name: &str, nodes: u32, gpus: u32) -> Workload {
    Workload {
        reference: format!("job.{name}"),
        path: format!("job.{name}"),
        job: Some(JobSettings::default()),
        ..service(name, nodes, gpus)
    }
}

/// A stack, its catalog and what its clouds report: everything that a problem is posed from.
#[derive(Clone)]
pub struct World {
    pub stack: Stack,
    pub offerings: BTreeMap<String, Vec<Offering>>,
    pub control_plane_price_hour: BTreeMap<String, f64>,
    /// What else is paid; control planes go above.
    pub tariffs: BTreeMap<String, Tariff>,
    /// What runs already.
    pub last: Option<Placement>,
}

pub fn world(clouds: Vec<Cloud>, workloads: Vec<Workload>, offerings: Vec<Offering>) -> World {
    let name = |workload: &Workload| {
        let (_, name) = workload.reference.split_once('.').expect("a type and a name");
        name.to_owned()
    };
    let mut by_cloud: BTreeMap<String, Vec<Offering>> = BTreeMap::new();
    for offering in offerings {
        by_cloud.entry(offering.cloud.clone()).or_default().push(offering);
    }
    let stack = Stack {
        name: "test".to_owned(),
        directory: PathBuf::from("test"),
        environment: None,
        sources: Sources::default(),
        variables: BTreeMap::new(),
        clouds: clouds.into_iter().map(|cloud| (cloud.name.clone(), cloud)).collect(),
        registries: BTreeMap::new(),
        images: BTreeMap::new(),
        models: BTreeMap::new(),
        workloads: workloads.into_iter().map(|workload| (name(&workload), workload)).collect(),
        optimize: Optimize { budget_month: None, move_penalty: 0.0, weights: None },
        prometheus: None,
        outputs: BTreeMap::new(),
        checks: BTreeMap::new(),
        moved: Vec::new(),
        removed: Vec::new(),
        imports: Vec::new(),
        state: StateSettings::default(),
        encryption: KeySources::default(),
        spans: BTreeMap::new(),
        warnings: Vec::new(),
        vault: Vault::new(SecretKey::new([0; 32])),
    };
    World {
        stack,
        offerings: by_cloud,
        control_plane_price_hour: BTreeMap::new(),
        tariffs: BTreeMap::new(),
        last: None,
    }
}

impl World {
    /// Gives these paths a line each of `main.hcl`, so that diagnostics can point at them.
    pub fn say(mut self, paths: &[&str]) -> World {
        let file: Arc<str> = Arc::from("main.hcl");
        let mut text = String::new();
        for path in paths {
            let span = Span { file: file.clone(), start: text.len(), end: text.len() + path.len() };
            self.stack.spans.insert((*path).to_owned(), span);
            text.push_str(path);
            text.push('\n');
        }
        self.stack.sources.files.insert(file, Arc::from(text));
        self
    }

    pub fn pose(&self) -> Result<Problem, Vec<Diagnostic>> {
        let declared = self.stack.clouds.iter();
        let quotas = declared.map(|(name, cloud)| (name.clone(), cloud.quotas.clone())).collect();
        let mut tariffs = self.tariffs.clone();
        for (cloud, price) in &self.control_plane_price_hour {
            tariffs.entry(cloud.clone()).or_default().control_plane_price_hour = *price;
        }
        pose(&self.stack, &self.offerings, &quotas, &tariffs, self.last.as_ref())
    }

    pub fn problem(&self) -> Problem {
        self.pose().unwrap_or_else(|errors| panic!("{}", self.show(&errors)))
    }

    pub fn solve(&self) -> Placement {
        solve(&self.problem()).unwrap_or_else(|errors| panic!("{}", self.show(&errors)))
    }

    /// The diagnostics of a problem that cannot be posed or solved.
    pub fn refusal(&self) -> String {
        match self.pose().and_then(|problem| solve(&problem)) {
            Err(errors) => self.show(&errors),
            Ok(placement) => panic!("it is placed: {:?}", placement.seats),
        }
    }

    fn show(&self, diagnostics: &[Diagnostic]) -> String {
        let mut out = String::new();
        for diagnostic in diagnostics {
            let at = diagnostic.span.as_ref().map_or("nowhere", |span| {
                &self.stack.sources.files[&span.file][span.start..span.end]
            });
            out += &format!("{} (at {at})\n{}\n", diagnostic.summary, diagnostic.detail);
            if let Some(hint) = &diagnostic.hint {
                out += &format!("hint: {hint}\n");
            }
        }
        out
    }
}

/// The ten services: 26 replicas of one GPU, 10 TB and 50 Mbps on three clouds of ten GPUs each, which
/// charge by rate card.
pub fn lepton() -> World {
    let rates =
        [("aws", 100.0, 50.0, 20.0), ("azure", 80.0, 40.0, 15.0), ("gcp", 120.0, 60.0, 25.0)];
    let clouds = rates.map(|(name, gpu_month, storage_tb_month, network_mbps_month)| Cloud {
        capacity: Capacity { gpus: Some(10.0), ..Capacity::default() },
        rate_card: Some(RateCard {
            gpu_month,
            storage_tb_month,
            network_mbps_month,
            ..RateCard::default()
        }),
        ..cloud(name)
    });
    let replicas = [1, 2, 3, 4, 1, 2, 3, 4, 2, 4];
    let services = replicas.iter().enumerate().map(|(index, replicas)| {
        let mut service = service(&format!("service-{}", index + 1), *replicas, 1);
        service.needs.storage_tb = 10.0;
        service.needs.network_mbps = 50.0;
        service
    });
    let offerings = vec![
        gpu("aws/us-east-1/g6.xlarge/on_demand", "L4", 1, 22.4, 0.8048),
        gpu("aws/us-east-1/g5.xlarge/on_demand", "A10G", 1, 22.4, 1.006),
        gpu("aws/us-west-2/g6.xlarge/on_demand", "L4", 1, 22.4, 0.8048),
        gpu("aws/us-east-1/p4d.24xlarge/on_demand", "A100", 8, 40.0, 21.96),
        gpu("azure/eastus/NC4as_T4_v3/on_demand", "T4", 1, 16.0, 0.526),
        gpu("azure/eastus/NC64as_T4_v3/on_demand", "T4", 4, 16.0, 4.352),
        gpu("azure/westus/NC4as_T4_v3/on_demand", "T4", 1, 16.0, 0.6),
        gpu("gcp/us-central1/g2-standard-4/on_demand", "L4", 1, 24.0, 0.7069),
        gpu("gcp/us-central1/g2-standard-24/on_demand", "L4", 2, 24.0, 2.0),
    ];
    let mut world = world(clouds.into(), services.collect(), offerings);
    for (cloud, price) in [("aws", 0.1), ("azure", 0.1), ("gcp", 0.1)] {
        world.control_plane_price_hour.insert(cloud.to_owned(), price);
    }
    world
}

/// A generator that is the same on every machine (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize].clone()
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.roll(index as u64 + 1) as usize;
            items.swap(index, other);
        }
    }
}

/// Spot, for short.
pub const SPOT: Market = Market::Spot;
