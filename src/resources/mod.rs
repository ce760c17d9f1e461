//! Placement → [`Resource`]s: the clusters, pools, registries and Kubernetes objects that carry it.
//!
//! This stage decides what belongs to which site; what it looks like at a cloud, that cloud decides.

mod computed;

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{
    Address, Autoscale, Owner, Pool, Registry, Repository, Resource, Site, Value, Workload,
    WorkloadKind, ZoneSpread,
};

use crate::clouds::Clouds;
use crate::config::{SpreadOver, Stack};
use crate::placement::{Placement, Rental};

pub use computed::computed;

/// Every object that must exist for the placement, by address.
pub fn expand(
    stack: &Stack,
    placement: &Placement,
    clouds: &Clouds,
    owner: &Owner,
) -> BTreeMap<Address, Resource> {
    let mut resources = BTreeMap::new();
    let sites = sites(stack, placement);
    for (name, provider) in clouds.iter() {
        let here: Vec<Site> = sites.iter().filter(|site| site.cloud == name).cloned().collect();
        let registries = registries(stack, name, &here);
        let mut made = provider.resources(&here, &registries, owner);
        for site in &here {
            let cluster = provider.cluster_address(&site.region);
            let pools = pools_of(&made, cluster.as_ref());
            made.extend(fleetform_providers::workloads(site, owner, cluster.as_ref(), &pools));
        }
        resources.extend(made.into_iter().map(|resource| (resource.address.clone(), resource)));
    }
    await_blocks(&mut resources);
    resources
}

/// The sites that the placement opens, with their pools and workloads.
pub fn sites(stack: &Stack, placement: &Placement) -> Vec<Site> {
    let mut sites: BTreeMap<String, Site> = BTreeMap::new();
    for rental in placement.rentals.values() {
        let offering = &rental.offering;
        let workloads: BTreeSet<&String> = rental.nodes.iter().flat_map(BTreeMap::keys).collect();
        let nodes = u32::try_from(rental.nodes.len()).expect("the solver limits nodes");
        let site = sites.entry(offering.site()).or_insert_with(|| Site {
            cloud: offering.cloud.clone(),
            region: offering.region.clone(),
            cluster: cluster_name(stack, &offering.cloud),
            pools: Vec::new(),
            workloads: Vec::new(),
        });
        site.pools.push(Pool {
            offering: offering.clone(),
            nodes,
            min_nodes: nodes,
            max_nodes: nodes + nodes_for_growth(stack, placement, rental),
            workloads: workloads.into_iter().cloned().collect(),
        });
    }
    for site in sites.values_mut() {
        site.pools.sort_by_key(Pool::key);
    }
    for (name, workload) in &stack.workloads {
        let mut by_site: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        for seats in placement.seats.iter().filter(|seats| seats.workload == *name) {
            let offering = &placement.rentals[&seats.offering].offering;
            let pools = by_site.entry(offering.site()).or_default();
            *pools.entry(offering.pool()).or_default() += seats.replicas;
        }
        let all = by_site.values().flat_map(BTreeMap::values).sum();
        for (site, pools) in by_site {
            let replicas = (pools.values().sum(), all);
            let site = sites.get_mut(&site).expect("seats sit on rented nodes");
            let mut here = at_site(stack, name, workload, replicas, pools);
            here.zone_spread = zone_spread(workload, &here, &site.pools);
            site.workloads.push(here);
        }
    }
    sites.into_values().collect()
}

/// A workload's part at one site: so many of all its replicas.
fn at_site(
    stack: &Stack,
    name: &str,
    workload: &crate::config::Workload,
    (replicas, all): (u32, u32),
    pools: BTreeMap<String, u32>,
) -> Workload {
    Workload {
        name: name.to_owned(),
        kind: workload.job.clone().map_or(WorkloadKind::Service, WorkloadKind::Job),
        image: stack.images[&workload.image].source.as_str().into(),
        command: workload.command.clone(),
        env: workload.env.clone(),
        secret_env: workload.secret_env.clone(),
        replicas,
        zone_spread: None,
        pools,
        needs: workload.needs.clone(),
        port: workload.port,
        health: workload.health.clone(),
        autoscale: workload.autoscale.as_ref().map(|bounds| Autoscale {
            min: share(bounds.min, replicas, all).max(1),
            max: share(bounds.max, replicas, all).max(replicas),
            target_cpu: bounds.target_cpu,
        }),
    }
}

/// What keeps a workload's rules over zones at a site whose zones the placement has chosen: no zone may have
/// more replicas than the placement put into its fullest. An autoscaler's further replicas stay as even
/// as the placement is.
fn zone_spread(
    workload: &crate::config::Workload,
    here: &Workload,
    pools: &[Pool],
) -> Option<ZoneSpread> {
    let spreads = &workload.placement.spread;
    if !spreads.iter().any(|spread| spread.over == SpreadOver::Zone) {
        return None;
    }
    let mut zones: BTreeMap<&String, u32> = BTreeMap::new();
    for pool in pools {
        if let (Some(replicas), Some(zone)) = (here.pools.get(&pool.key()), &pool.offering.zone) {
            *zones.entry(zone).or_default() += replicas;
        }
    }
    let (most, least) = (*zones.values().max()?, *zones.values().min()?);
    Some(match here.autoscale {
        None => ZoneSpread::AtMost(most),
        Some(_) => ZoneSpread::Even { more: (most - least).max(1), zones: zones.len() as u32 },
    })
}

/// A site's part of a bound, by its part of the replicas, rounded up.
fn share(bound: u32, replicas: u32, all: u32) -> u32 {
    (bound * replicas).div_ceil(all.max(1))
}

/// Nodes that a pool may grow by, so that its workloads' autoscalers can reach their maximum.
fn nodes_for_growth(stack: &Stack, placement: &Placement, rental: &Rental) -> u32 {
    let mut seats: BTreeMap<&String, u32> = BTreeMap::new();
    let mut densest: BTreeMap<&String, u32> = BTreeMap::new();
    for (workload, replicas) in rental.nodes.iter().flatten() {
        *seats.entry(workload).or_default() += replicas;
        let most = densest.entry(workload).or_default();
        *most = (*most).max(*replicas);
    }
    let growth = seats.iter().map(|(name, replicas)| {
        let workload = &stack.workloads[*name];
        let Some(bounds) = &workload.autoscale else { return 0 };
        let everywhere = placement.seats.iter().filter(|seats| seats.workload == **name);
        let all = everywhere.map(|seats| seats.replicas).sum();
        let most = share(bounds.max, *replicas, all);
        most.saturating_sub(*replicas).div_ceil(densest[name].max(1))
    });
    growth.sum()
}

/// The cluster's name at a cloud: as told, else the stack's and its environment's.
fn cluster_name(stack: &Stack, cloud: &str) -> String {
    if let Some(name) = stack.clouds.get(cloud).and_then(|cloud| cloud.cluster.name.clone()) {
        return name;
    }
    match &stack.environment {
        Some(environment) => format!("{}-{environment}", stack.name),
        None => stack.name.clone(),
    }
}

/// The registries of a cloud that runs something of theirs.
fn registries(stack: &Stack, cloud: &str, sites: &[Site]) -> Vec<Registry> {
    let declared = stack
        .registries
        .iter()
        .filter(|(_, registry)| registry.clouds.iter().any(|name| name == cloud));
    let registries = declared.map(|(name, registry)| {
        let images: BTreeSet<&String> = stack
            .images
            .iter()
            .filter(|(_, image)| image.registry.as_ref() == Some(name))
            .map(|(image, _)| image)
            .collect();
        let uses = |site: &&Site| {
            site.workloads
                .iter()
                .any(|workload| images.contains(&stack.workloads[&workload.name].image))
        };
        let regions: BTreeSet<String> =
            sites.iter().filter(uses).map(|site| site.region.clone()).collect();
        Registry {
            name: name.clone(),
            cloud: cloud.to_owned(),
            regions: regions.into_iter().collect(),
            immutable_tags: registry.immutable_tags,
            scan_on_push: registry.scan_on_push,
            keep_images: registry.keep_images,
            repositories: images
                .into_iter()
                .map(|image| Repository { image: image.clone() })
                .collect(),
        }
    });
    registries.filter(|registry| !registry.regions.is_empty()).collect()
}

/// What a cluster's workloads wait for beside it: everything made of the same cloud that depends on
/// the cluster.
fn pools_of(made: &[Resource], cluster: Option<&Address>) -> Vec<Address> {
    let Some(cluster) = cluster else { return Vec::new() };
    let pools = made.iter().filter(|resource| resource.depends_on.contains(cluster));
    pools.filter(|r| r.site.is_none()).map(|resource| resource.address.clone()).collect()
}

/// An attribute that waits for a block (`registry.main`, `cloud.aws`) depends on all that provides the
/// block's computed attributes.
fn await_blocks(resources: &mut BTreeMap<Address, Resource>) {
    let providers: Vec<(Address, String)> = resources
        .values()
        .filter(|resource| resource.site.is_none())
        .map(|resource| (resource.address.clone(), resource.cloud.clone()))
        .collect();
    for resource in resources.values_mut() {
        let mut blocks = BTreeSet::new();
        for value in resource.attributes.values() {
            value.map_leaves(&mut |leaf| {
                if let Value::Unknown(unknown) = leaf {
                    blocks.insert(unknown.address.clone());
                }
                Value::Null
            });
        }
        for block in blocks {
            let waits = |(address, cloud): &&(Address, String)| match block.split_once('.') {
                Some(("registry", name)) => address.name == name,
                Some(("cloud", name)) => cloud == name,
                _ => false,
            };
            let first = providers.iter().filter(waits).map(|(address, _)| address.clone());
            resource.depends_on.extend(first);
        }
        resource.depends_on.retain(|dependency| *dependency != resource.address);
        let unique: BTreeSet<Address> = resource.depends_on.drain(..).collect();
        resource.depends_on.extend(unique);
    }
}
