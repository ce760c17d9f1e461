//! Sites and registries → the resources Google Cloud must have for them. Pure.
//!
//! A site is a regional GKE cluster; each of its pools is a node pool. A regional pool has
//! `initial_node_count` nodes in *each* of its zones, so a pool is pinned to as many of the zones that
//! sell its type as divide the number of nodes: three nodes go to three zones one by one, four to two
//! zones two by two, five (where three zones sell the type) to one. The number of real nodes is exactly
//! the placement's. A pool whose zone the placement has chosen is in that one.

use fleetform_contract::{
    Address, Attributes, Cloud, Market, Owner, Pool, Registry, Resource, Site, Value,
};

use crate::attributes::{block, present};
use crate::{catalog, labels, schema};

/// Google's limits on names.
const LONGEST_CLUSTER_NAME: usize = 40;
const LONGEST_POOL_NAME: usize = 40;
const LONGEST_REPOSITORY_NAME: usize = 63;

/// Google's own default for boot disks, and one with room for images with CUDA in them.
const DISK_GB: u32 = 100;
const GPU_DISK_GB: u32 = 200;

/// Zones a pool is spread over at most, like Google's default for a regional cluster.
const MOST_ZONES: usize = 3;

/// Everything that Google's own APIs must have: clusters, then pools, then repositories.
pub fn expand(
    cloud: &Cloud,
    sites: &[Site],
    registries: &[Registry],
    owner: &Owner,
) -> Vec<Resource> {
    let sites = || sites.iter().filter(|site| site.cloud == cloud.name);
    let clusters = sites().map(|site| cluster(cloud, site, owner));
    let pools = sites()
        .flat_map(|site| site.pools.iter().map(move |pool| node_pool(cloud, site, pool, owner)));
    let registries = registries.iter().filter(|registry| registry.cloud == cloud.name);
    let repositories = registries.flat_map(|registry| {
        registry.regions.iter().map(|region| repository(cloud, registry, region, owner))
    });
    clusters.chain(pools).chain(repositories).collect()
}

/// The address of the cluster of a region.
pub fn cluster_address(cloud: &Cloud, region: &str) -> Address {
    Address::keyed(schema::CLUSTER, cloud.resource_name(), region)
}

fn cluster(cloud: &Cloud, site: &Site, owner: &Owner) -> Resource {
    let address = cluster_address(cloud, &site.region);
    let attributes = present([
        ("name", cluster_name(site).into()),
        ("location", (&site.region).into()),
        ("project", project(cloud)),
        ("networking_mode", "VPC_NATIVE".into()),
        ("subnetwork", subnetwork(cloud, &site.region).into()),
        ("initial_node_count", 1.into()),
        ("remove_default_node_pool", true.into()),
        ("deletion_protection", false.into()),
        ("min_master_version", cloud.cluster.version.clone().into()),
        ("release_channel", block([("channel", "REGULAR".into())])),
        ("resource_labels", labels::value(owner, &address)),
        ("workload_identity_config", workload_identity(cloud)),
    ]);
    resource(cloud, address, attributes, Vec::new())
}

fn node_pool(cloud: &Cloud, site: &Site, pool: &Pool, owner: &Owner) -> Resource {
    let key = format!("{}/{}", site.region, pool.key());
    let address = Address::keyed(schema::NODE_POOL, cloud.resource_name(), key);
    let zones = zones(pool);
    let nodes_per_zone = pool.nodes / zones.len().max(1) as u32;
    let autoscaling = block([
        ("total_min_node_count", pool.min_nodes.into()),
        ("total_max_node_count", pool.max_nodes.max(1).into()),
        ("location_policy", location_policy(pool).into()),
    ]);
    let attributes = present([
        ("name", labels::name(&pool.slug(), LONGEST_POOL_NAME).into()),
        ("cluster", cluster_name(site).into()),
        ("location", (&site.region).into()),
        ("project", project(cloud)),
        ("node_locations", Value::list(zones)),
        ("initial_node_count", nodes_per_zone.into()),
        ("autoscaling", autoscaling),
        // A cluster in a release channel wants both.
        ("management", block([("auto_repair", true.into()), ("auto_upgrade", true.into())])),
        ("node_config", Value::List(vec![node_config(cloud, site, pool, owner, &address)])),
    ]);
    resource(cloud, address, attributes, vec![cluster_address(cloud, &site.region)])
}

fn node_config(cloud: &Cloud, site: &Site, pool: &Pool, owner: &Owner, at: &Address) -> Value {
    let offering = &pool.offering;
    let machine = catalog::machine(&offering.instance_type);
    let gpus = machine.attached.or_else(|| Some((offering.gpu_type.as_deref()?, offering.gpus)));
    let gpus = gpus.filter(|(_, count)| *count > 0);
    let accelerator = gpus.map(|(gpu, count)| {
        block([
            ("type", catalog::accelerator_type(gpu).into()),
            ("count", count.into()),
            ("gpu_driver_installation_config", block([("gpu_driver_version", "DEFAULT".into())])),
        ])
    });
    // Google's own rule: GPU nodes are kept for GPUs where other nodes can hold the system's pods.
    let has_other_nodes = site.pools.iter().any(|pool| pool.offering.gpus == 0);
    let taint = gpus.filter(|_| has_other_nodes).map(|_| {
        block([
            ("key", "nvidia.com/gpu".into()),
            ("value", "present".into()),
            ("effect", "NO_SCHEDULE".into()),
        ])
    });
    let workload_metadata =
        workload_identity_pool(cloud).map(|_| block([("mode", "GKE_METADATA".into())]));
    let reservation = reservation(cloud, site, pool);
    Value::Map(present([
        ("machine_type", machine.machine_type.into()),
        ("spot", (offering.market == Market::Spot).into()),
        ("guest_accelerator", accelerator.into()),
        ("disk_size_gb", if gpus.is_some() { GPU_DISK_GB } else { DISK_GB }.into()),
        ("oauth_scopes", Value::list(["https://www.googleapis.com/auth/cloud-platform"])),
        ("labels", Value::map([("fleetform.dev/pool", pool.slug().into())])),
        ("taint", taint.into()),
        ("resource_labels", labels::value(owner, at)),
        // The legacy metadata endpoints give node credentials to any pod.
        ("metadata", Value::map([("disable-legacy-endpoints", "true".into())])),
        ("workload_metadata_config", workload_metadata.into()),
        ("reservation_affinity", reservation.into()),
    ]))
}

fn repository(cloud: &Cloud, registry: &Registry, region: &str, owner: &Owner) -> Resource {
    // Two clouds of this kind may share a registry and a region; a region has no slash.
    let key = match cloud.resource_name() {
        "main" => region.to_owned(),
        other => format!("{other}/{region}"),
    };
    let address = Address::keyed(schema::REPOSITORY, &registry.name, key);
    let name = format!("{}-{}", owner.stack, registry.name);
    let scanning = if registry.scan_on_push { "INHERITED" } else { "DISABLED" };
    let attributes = present([
        ("repository_id", labels::name(&name, LONGEST_REPOSITORY_NAME).into()),
        ("location", region.into()),
        ("project", project(cloud)),
        ("format", "DOCKER".into()),
        ("mode", "STANDARD_REPOSITORY".into()),
        ("description", format!("Images of stack {}", owner.stack).into()),
        ("labels", labels::value(owner, &address)),
        ("docker_config", block([("immutable_tags", registry.immutable_tags.into())])),
        ("cleanup_policies", registry.keep_images.map(cleanup_policies).into()),
        ("vulnerability_scanning_config", block([("enablement_config", scanning.into())])),
    ]);
    resource(cloud, address, attributes, Vec::new())
}

/// Keeping does nothing on its own: Google deletes what a policy deletes and no policy keeps. Ordered
/// by id.
fn cleanup_policies(keep: u32) -> Value {
    Value::List(vec![
        Value::map([
            ("id", "delete-older".into()),
            ("action", "DELETE".into()),
            ("condition", block([("tag_state", "ANY".into())])),
        ]),
        Value::map([
            ("id", "keep-newest".into()),
            ("action", "KEEP".into()),
            ("most_recent_versions", block([("keep_count", keep.into())])),
        ]),
    ])
}

/// The pool's own zone, or as many zones that sell the type as divide the number of nodes, in order.
fn zones(pool: &Pool) -> Vec<String> {
    if let Some(zone) = &pool.offering.zone {
        return vec![zone.clone()];
    }
    let mut zones = pool.offering.zones.clone();
    if zones.is_empty() {
        zones = catalog::region_zones(&pool.offering.region);
    }
    let most = zones.len().min(MOST_ZONES);
    let count = (1..=most).rev().find(|count| pool.nodes.is_multiple_of(*count as u32));
    zones.truncate(count.unwrap_or(0));
    zones
}

/// Scarce nodes are taken where there are any.
fn location_policy(pool: &Pool) -> &'static str {
    let scarce = pool.offering.market == Market::Spot || pool.offering.gpus > 0;
    if scarce { "ANY" } else { "BALANCED" }
}

/// Reserved nodes first, then on-demand ones; a pool of reserved nodes takes nothing else.
fn reservation(cloud: &Cloud, site: &Site, pool: &Pool) -> Option<Value> {
    let offering = &pool.offering;
    let found = cloud.reservations.iter().find(|reservation| {
        reservation.region == site.region
            && reservation.instance_type == offering.instance_type
            && (reservation.zone == offering.zone || offering.market != Market::Reserved)
    })?;
    match (offering.market, &found.id) {
        (Market::Spot, _) => None,
        (Market::Reserved, Some(id)) => Some(block([
            ("consume_reservation_type", "SPECIFIC_RESERVATION".into()),
            ("key", "compute.googleapis.com/reservation-name".into()),
            ("values", Value::list([id.as_str()])),
        ])),
        _ => Some(block([("consume_reservation_type", "ANY_RESERVATION".into())])),
    }
}

fn cluster_name(site: &Site) -> String {
    labels::name(&site.cluster, LONGEST_CLUSTER_NAME)
}

fn project(cloud: &Cloud) -> Value {
    cloud.account.get("project").map(String::as_str).into()
}

fn workload_identity_pool(cloud: &Cloud) -> Option<String> {
    cloud.account.get("project").map(|project| format!("{project}.svc.id.goog"))
}

fn workload_identity(cloud: &Cloud) -> Value {
    workload_identity_pool(cloud).map(|pool| block([("workload_pool", pool.into())])).into()
}

/// The subnet of the region among those given, else the first.
fn subnetwork<'a>(cloud: &'a Cloud, region: &str) -> Option<&'a str> {
    let ids = &cloud.cluster.subnet_ids;
    let here = ids.iter().find(|id| id.contains(&format!("/regions/{region}/")));
    here.or(ids.first()).map(String::as_str)
}

fn resource(
    cloud: &Cloud,
    address: Address,
    attributes: Attributes,
    depends_on: Vec<Address>,
) -> Resource {
    Resource { address, cloud: cloud.name.clone(), site: None, attributes, depends_on }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetform_contract::Reservation;

    fn owner() -> Owner {
        Owner { stack: "chat".into(), lineage: "l-1".into() }
    }

    fn cloud() -> Cloud {
        let account = [("project".to_owned(), "acme-ml".to_owned())].into();
        Cloud { name: "gcp".into(), kind: "gcp".into(), account, ..Cloud::default() }
    }

    fn pool(instance_type: &str, market: Market, nodes: u32) -> Pool {
        let offerings = catalog::offerings("gcp", &["us-central1".into()]);
        let wanted = |o: &fleetform_contract::Offering| {
            o.instance_type == instance_type && o.market == market
        };
        let offering = offerings.into_iter().find(wanted).expect("the catalog has it");
        Pool { offering, nodes, min_nodes: nodes, max_nodes: nodes, workloads: Vec::new() }
    }

    fn expand_pool(cloud: &Cloud, pool: Pool) -> Resource {
        let site = Site {
            cloud: "gcp".into(),
            region: "us-central1".into(),
            cluster: "chat".into(),
            pools: vec![pool, self::pool("e2-standard-2", Market::OnDemand, 1)],
            workloads: Vec::new(),
        };
        expand(cloud, &[site], &[], &owner()).remove(1)
    }

    fn json(resource: &Resource) -> serde_json::Value {
        Value::Map(resource.attributes.clone()).to_plain_json()
    }

    #[test]
    fn nodes_are_divided_over_zones_without_a_rest() {
        for (instance_type, nodes, zones, per_zone) in [
            ("n2-standard-8", 3, "abc", 1),
            ("n2-standard-8", 4, "ab", 2),
            ("n2-standard-8", 5, "a", 5),
            ("n2-standard-8", 6, "abc", 2),
            ("n2-standard-8", 1, "a", 1),
            ("a2-ultragpu-1g", 3, "a", 3),
            ("a2-ultragpu-1g", 4, "ac", 2),
        ] {
            let made = json(&expand_pool(&cloud(), pool(instance_type, Market::OnDemand, nodes)));
            let expected: Vec<String> =
                zones.chars().map(|zone| format!("us-central1-{zone}")).collect();
            assert_eq!(
                made["node_locations"],
                serde_json::json!(expected),
                "{instance_type} {nodes}"
            );
            assert_eq!(made["initial_node_count"], per_zone, "{instance_type} {nodes}");
            assert_eq!(per_zone * zones.len() as u32, nodes, "no node more or less");
        }
    }

    #[test]
    fn a_pool_says_what_terraform_would() {
        let made = expand_pool(&cloud(), pool("n1-standard-8+T4:1", Market::Spot, 2));
        let address = r#"google_container_node_pool.main["us-central1/n1-standard-8+T4:1/spot"]"#;
        assert_eq!(made.address.to_string(), address);
        assert_eq!(
            made.depends_on[0].to_string(),
            r#"google_container_cluster.main["us-central1"]"#
        );
        let labels = labels::of(&owner(), &made.address);
        assert_eq!(
            json(&made),
            serde_json::json!({
                "name": "n1-standard-8-t4-1-spot",
                "cluster": "chat",
                "location": "us-central1",
                "project": "acme-ml",
                "node_locations": ["us-central1-a", "us-central1-b"],
                "initial_node_count": 1,
                "autoscaling": [{
                    "total_min_node_count": 2,
                    "total_max_node_count": 2,
                    "location_policy": "ANY",
                }],
                "management": [{ "auto_repair": true, "auto_upgrade": true }],
                "node_config": [{
                    "machine_type": "n1-standard-8",
                    "spot": true,
                    "guest_accelerator": [{
                        "type": "nvidia-tesla-t4",
                        "count": 1,
                        "gpu_driver_installation_config": [{ "gpu_driver_version": "DEFAULT" }],
                    }],
                    "disk_size_gb": 200,
                    "oauth_scopes": ["https://www.googleapis.com/auth/cloud-platform"],
                    "labels": { "fleetform.dev/pool": "n1-standard-8-t4-1-spot" },
                    "taint": [{ "key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE" }],
                    "resource_labels": labels,
                    "metadata": { "disable-legacy-endpoints": "true" },
                    "workload_metadata_config": [{ "mode": "GKE_METADATA" }],
                }],
            })
        );
    }

    #[test]
    fn pools_without_gpus_have_neither_taint_nor_accelerator() {
        let made = json(&expand_pool(&cloud(), pool("e2-standard-4", Market::OnDemand, 1)));
        let config = &made["node_config"][0];
        assert_eq!(config["machine_type"], "e2-standard-4");
        assert_eq!(config["disk_size_gb"], 100);
        assert!(config["taint"].is_null() && config["guest_accelerator"].is_null(), "{config}");
        assert_eq!(made["autoscaling"][0]["location_policy"], "BALANCED");
    }

    #[test]
    fn a_cluster_of_gpu_nodes_alone_has_room_for_the_systems_pods() {
        let taints = |pools: Vec<Pool>| -> Vec<bool> {
            let site = Site {
                cloud: "gcp".into(),
                region: "us-central1".into(),
                cluster: "chat".into(),
                pools,
                workloads: Vec::new(),
            };
            let made = expand(&cloud(), &[site], &[], &owner());
            made[1..].iter().map(|pool| !json(pool)["node_config"][0]["taint"].is_null()).collect()
        };
        let gpu = || pool("g2-standard-4", Market::OnDemand, 1);
        let cpu = || pool("e2-standard-4", Market::OnDemand, 1);
        assert_eq!(taints(vec![gpu()]), [false]);
        assert_eq!(taints(vec![gpu(), cpu()]), [true, false]);
        assert_eq!(taints(vec![cpu()]), [false]);
    }

    #[test]
    fn reservations_are_used_by_the_type_they_are_for() {
        let mut cloud = cloud();
        cloud.reservations = vec![Reservation {
            region: "us-central1".into(),
            instance_type: "a2-highgpu-1g".into(),
            nodes: 2,
            id: Some("r-1".into()),
            zone: None,
            from: None,
            until: None,
        }];
        let affinity = |pool: Pool| {
            let made = json(&expand_pool(&cloud, pool));
            made["node_config"][0]["reservation_affinity"][0]["consume_reservation_type"].clone()
        };
        assert_eq!(affinity(pool("a2-highgpu-1g", Market::OnDemand, 2)), "ANY_RESERVATION");
        assert_eq!(affinity(pool("a2-highgpu-1g", Market::Spot, 2)), serde_json::Value::Null);
        assert_eq!(affinity(pool("a2-highgpu-2g", Market::OnDemand, 2)), serde_json::Value::Null);
        let mut reserved = pool("a2-highgpu-1g", Market::OnDemand, 2);
        reserved.offering.market = Market::Reserved;
        assert_eq!(affinity(reserved), "SPECIFIC_RESERVATION");
    }

    #[test]
    fn a_registry_is_one_repository_a_region() {
        let registry = Registry {
            name: "main".into(),
            cloud: "gcp".into(),
            regions: vec!["europe-west4".into(), "us-central1".into()],
            immutable_tags: true,
            scan_on_push: false,
            keep_images: Some(20),
            repositories: Vec::new(),
        };
        let made = expand(&cloud(), &[], std::slice::from_ref(&registry), &owner());
        let addresses: Vec<String> = made.iter().map(|r| r.address.to_string()).collect();
        assert_eq!(
            addresses,
            [
                r#"google_artifact_registry_repository.main["europe-west4"]"#,
                r#"google_artifact_registry_repository.main["us-central1"]"#,
            ]
        );
        assert_eq!(made[1].text("repository_id"), Some("chat-main"));
        assert_eq!(
            json(&made[1])["docker_config"],
            serde_json::json!([{ "immutable_tags": true }])
        );
        assert_eq!(
            json(&made[1])["cleanup_policies"],
            serde_json::json!([
                { "id": "delete-older", "action": "DELETE", "condition": [{ "tag_state": "ANY" }] },
                { "id": "keep-newest", "action": "KEEP", "most_recent_versions": [{ "keep_count": 20 }] },
            ])
        );
        let second = Cloud { name: "gcp-eu".into(), ..cloud() };
        let registry = Registry { cloud: "gcp-eu".into(), ..registry };
        let address = expand(&second, &[], &[registry], &owner()).remove(0).address;
        assert_eq!(address.key.as_deref(), Some("gcp-eu/europe-west4"));
    }

    #[test]
    fn a_cluster_without_a_project_leaves_out_what_needs_one() {
        let cloud = Cloud { account: Default::default(), ..cloud() };
        let site = Site {
            cloud: "gcp".into(),
            region: "us-central1".into(),
            cluster: "A very long name of a stack, longer than Google allows".into(),
            pools: Vec::new(),
            workloads: Vec::new(),
        };
        let made = expand(&cloud, &[site], &[], &owner()).remove(0);
        assert_eq!(made.text("project"), None);
        assert_eq!(made.attributes.get("workload_identity_config"), None);
        let name = made.text("name").expect("it has a name");
        assert!(name.len() <= 40 && name.starts_with("a-very-long-name"), "{name}");
    }
}
