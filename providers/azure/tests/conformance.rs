//! Azure's provider against its emulator over HTTP: the contract's suite, the requests on the wire, and what
//! it does when things go wrong.

mod sandbox;

use std::collections::BTreeMap;
use std::future::Future;

use fleetform_contract::conformance::{self, Case};
use fleetform_contract::{Error, Market, Record, Resource, Silent, Token, Value};
use fleetform_sandbox::FaultPlan;
use sandbox::{
    CLUSTERS, GROUP, SUBSCRIPTION, Sandbox, cloud, fill, owner, pool, recorded, registry, site,
};
use serde_json::{Value as Json, json};

#[tokio::test]
async fn the_provider_keeps_the_contract() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let site_of = |nodes: u32, max_nodes: u32| {
        let mut spot = pool(provider, "Standard_NC24ads_A100_v4", Market::OnDemand, nodes);
        spot.offering.market = Market::Spot;
        spot.max_nodes = max_nodes;
        site(vec![pool(provider, "Standard_D4s_v5", Market::OnDemand, 1), spot])
    };
    let before = provider.resources(&[site_of(2, 5)], &[registry()], &owner());
    let mut after = provider.resources(&[site_of(2, 9)], &[registry()], &owner());
    // Of a role assignment nothing can change.
    let is_fixed = |resource: &Resource| resource.address.kind == "azurerm_role_assignment";
    for resource in after.iter_mut().filter(|resource| !is_fixed(resource)) {
        let team = ("team".to_owned(), Value::from("ml"));
        let Some(Value::Map(tags)) = resource.attributes.get_mut("tags") else { panic!("no tags") };
        tags.extend([team]);
        if resource.address.kind == "azurerm_kubernetes_cluster" {
            resource.attributes.insert("kubernetes_version".into(), "1.34".into());
            resource.attributes.insert("sku_tier".into(), "Premium".into());
        }
        if resource.address.kind == "azurerm_container_registry" {
            resource.attributes.insert("sku".into(), "Premium".into());
        }
    }
    assert_eq!(before.len(), 6);
    let cases = before.into_iter().zip(after);
    let cases = cases.map(|(resource, updated)| Case {
        resource,
        updated: Some(updated).filter(|r| !is_fixed(r)),
    });
    conformance::check(provider, &owner(), cases.collect()).await;

    // One request more for what ends with the last tick.
    sandbox.ask("GET", "?api-version=2022-12-01", Json::Null).await;
    let census: BTreeMap<String, usize> = sandbox.world.step(|table| {
        table.census().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    });
    assert_eq!(census, BTreeMap::new(), "something is left behind");
}

#[tokio::test]
async fn in_a_group_that_exists_nothing_beyond_it_is_touched() {
    let mut cloud = cloud();
    cloud.account.insert("resource_group".into(), "Shared.group_(1)".into());
    let sandbox = Sandbox::of(cloud, 7, FaultPlan::default()).await;
    let provider = sandbox.provider.as_ref();
    let pools = vec![pool(provider, "Standard_D4s_v5", Market::OnDemand, 1)];
    let resources = provider.resources(&[site(pools)], &[registry()], &owner());
    let missing = provider.create(&resources[0], &Token("t".into()), &Silent).await;
    let Err(Error::Rejected { message }) = missing else { panic!("{missing:?}") };
    assert!(message.starts_with("ResourceGroupNotFound: "), "{message}");

    let path = "/resourceGroups/Shared.group_(1)?api-version=2021-04-01";
    assert_eq!(sandbox.ask("PUT", path, json!({ "location": "eastus" })).await.0, 201);
    let cases = resources.into_iter().map(|resource| Case { resource, updated: None });
    conformance::check(provider, &owner(), cases.collect()).await;
    assert_eq!(sandbox.ask("GET", path, Json::Null).await.0, 200, "the group stays");
}

/// The applier's policy, in short: what may be tried again is, whatever it takes.
async fn insist<T, F: Future<Output = Result<T, Error>>>(mut attempt: impl FnMut() -> F) -> T {
    for _ in 0..200 {
        match attempt().await {
            Ok(value) => return value,
            Err(Error::Throttled { .. } | Error::Lost { .. } | Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("200 attempts were not enough")
}

#[tokio::test]
async fn whatever_is_lost_on_the_way_nothing_is_made_twice_or_left_behind() {
    for seed in 1..=6 {
        let faults = FaultPlan {
            throttled: 0.1,
            unavailable: 0.1,
            answer_lost: 0.15,
            ..FaultPlan::default()
        };
        let sandbox = Sandbox::of(cloud(), seed, faults).await;
        let provider = sandbox.provider.as_ref();
        let token = Token("t".into());
        let with_nodes = |nodes: u32| {
            let pools = vec![pool(provider, "Standard_D4s_v5", Market::OnDemand, nodes)];
            provider.resources(&[site(pools)], &[registry()], &owner())
        };
        let mut records: Vec<Record> = Vec::new();
        for resource in with_nodes(1) {
            let desired = fill(&resource, &records);
            let made = insist(|| provider.create(&desired, &token, &Silent)).await;
            records.push(recorded(&desired, made));
        }
        let mut bigger = with_nodes(1);
        for resource in &mut bigger {
            if let Some(max) = resource.attributes.get_mut("max_count") {
                *max = 7.into();
            }
        }
        let desired = fill(&bigger[2], &records);
        let updated = insist(|| provider.update(&records[2], &desired, &token, &Silent)).await;
        assert_eq!(updated.attributes["max_count"].as_i64(), Some(7), "seed {seed}");
        let owner = owner();
        let listed = insist(|| provider.list(&owner.stack)).await;
        assert_eq!(listed.len(), records.len(), "seed {seed}: {listed:#?}");

        for record in records.iter().rev() {
            insist(|| provider.delete(record, &token, &Silent)).await;
        }
        let census = sandbox.world.step(|table| format!("{:?}", table.census()));
        assert_eq!(census, "{}", "seed {seed}");
    }
}

#[tokio::test]
async fn a_node_count_walks_from_the_site_to_the_wire() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let mut gpus = pool(provider, "Standard_NC24ads_A100_v4", Market::OnDemand, 3);
    gpus.offering.market = Market::Spot;
    let resources = provider.resources(&[site(vec![gpus])], &[registry()], &owner());
    sandbox.make(&resources).await;

    let wire = sandbox.wire.lock().expect("no holder panics").clone();
    let puts: Vec<(&str, &Json)> = wire
        .iter()
        .map(|(method, path, body)| {
            assert_eq!(method, "PUT");
            (path.as_str(), body)
        })
        .collect();
    let [
        (group, _),
        (cluster_path, cluster),
        (pool_path, pool),
        (registry_path, registry),
        (role_path, role),
    ] = puts.as_slice()
    else {
        panic!("five puts: {puts:#?}");
    };
    let base = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}");
    assert_eq!(*group, format!("{base}?api-version=2025-04-01"));
    assert_eq!(*cluster_path, format!("{base}/{CLUSTERS}/chat-eastus?api-version=2025-08-01"));
    assert!(pool_path.contains("/managedClusters/chat-eastus/agentPools/nc24ad"), "{pool_path}");
    assert!(registry_path.contains("/Microsoft.ContainerRegistry/registries/chatmain"));
    let tags = |address: &str| {
        json!({
            "fleetform:address": address,
            "fleetform:lineage": "5e0c",
            "fleetform:stack": "chat",
        })
    };
    let expected = json!({
        "location": "eastus",
        "identity": { "type": "SystemAssigned" },
        "sku": { "name": "Base", "tier": "Standard" },
        "tags": tags(r#"azurerm_kubernetes_cluster.main["eastus"]"#),
        "properties": {
            "dnsPrefix": "chat-eastus",
            "oidcIssuerProfile": { "enabled": true },
            "agentPoolProfiles": [{
                "name": "system",
                "mode": "System",
                "type": "VirtualMachineScaleSets",
                "osType": "Linux",
                "vmSize": "Standard_D2s_v5",
                "count": 1,
            }],
        },
    });
    assert_eq!(**cluster, expected, "{cluster:#}");
    let expected = json!({
        "properties": {
            "mode": "User",
            "type": "VirtualMachineScaleSets",
            "osType": "Linux",
            "vmSize": "Standard_NC24ads_A100_v4",
            "count": 3,
            "enableAutoScaling": true,
            "minCount": 1,
            "maxCount": 5,
            "osDiskSizeGB": 256,
            "scaleSetPriority": "Spot",
            "scaleSetEvictionPolicy": "Delete",
            "spotMaxPrice": -1,
            "nodeLabels": {
                "fleetform.dev/pool": "standard-nc24ads-a100-v4-spot",
                "kubernetes.azure.com/scalesetpriority": "spot",
            },
            "nodeTaints": [
                "kubernetes.azure.com/scalesetpriority=spot:NoSchedule",
                "nvidia.com/gpu=present:NoSchedule",
            ],
            "tags": tags(
                r#"azurerm_kubernetes_cluster_node_pool.main["eastus/Standard_NC24ads_A100_v4/spot"]"#
            ),
        },
    });
    assert_eq!(**pool, expected, "{pool:#}");
    let expected = json!({
        "location": "eastus",
        "sku": { "name": "Standard" },
        "tags": tags(r#"azurerm_container_registry.main["main"]"#),
        "properties": { "adminUserEnabled": false },
    });
    assert_eq!(**registry, expected, "{registry:#}");

    assert!(
        role_path.contains("/providers/Microsoft.Authorization/roleAssignments/"),
        "{role_path}"
    );
    let expected = format!(
        "/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/\
         7f951dda-4ed3-4680-a7ca-43fe172d538d"
    );
    assert_eq!(role["properties"]["roleDefinitionId"], expected);
    assert_eq!(role["properties"]["principalType"], "ServicePrincipal");

    // And the nodes are in the cluster.
    let nodes = sandbox.world.step(|table| table.nodes("azure/eastus/chat-eastus"));
    let counts: Vec<u32> = nodes.iter().map(|(_, pool)| pool.count).collect();
    assert_eq!(counts, [3, 1], "{nodes:#?}");
}

#[tokio::test]
async fn an_update_leaves_the_autoscaler_its_nodes() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let with_bounds = |min_nodes: u32, max_nodes: u32| {
        let mut pool = pool(provider, "Standard_D4s_v5", Market::OnDemand, 3);
        (pool.min_nodes, pool.max_nodes) = (min_nodes, max_nodes);
        provider.resources(&[site(vec![pool])], &[], &owner())
    };
    let records = sandbox.make(&with_bounds(1, 5)).await;
    let pool = records.last().expect("a pool");

    // The autoscaler makes it four.
    let path = format!("{}?api-version=2025-08-01", pool.id.split_once(SUBSCRIPTION).unwrap().1);
    let (_, mut body) = sandbox.ask("GET", &path, Json::Null).await;
    body["properties"]["count"] = 4.into();
    assert_eq!(sandbox.ask("PUT", &path, body).await.0, 200);

    for (bounds, expected) in [((1, 9), 4), ((5, 9), 5), ((1, 3), 3)] {
        let desired = with_bounds(bounds.0, bounds.1);
        let desired = fill(desired.last().expect("a pool"), &records);
        let token = Token("update".into());
        let updated = provider.update(pool, &desired, &token, &Silent).await;
        // The first one meets the autoscaler's own operation.
        let updated = match updated {
            Err(Error::Conflict { .. }) => {
                provider.update(pool, &desired, &token, &Silent).await.expect("now it is idle")
            }
            other => other.expect("an update"),
        };
        assert_eq!(updated.attributes["node_count"].as_i64(), Some(expected), "{bounds:?}");
    }
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let sandbox = Sandbox::start().await;
    let resources = sandbox.provider.resources(&[site(Vec::new())], &[], &owner());
    let group = &resources[0];
    let path = format!("/resourcegroups/{GROUP}?api-version=2021-04-01");
    let body = json!({ "location": "eastus", "tags": { "fleetform:lineage": "other" } });
    assert_eq!(sandbox.ask("PUT", &path, body.clone()).await.0, 201);
    let refused = sandbox.provider.create(group, &Token("t".into()), &Silent).await;
    let Err(Error::Rejected { message }) = refused else { panic!("{refused:?}") };
    assert!(
        message.contains("does not carry the tags of azurerm_resource_group.main"),
        "{message}"
    );
    let (_, after) = sandbox.ask("GET", &path, Json::Null).await;
    assert_eq!(after["tags"], body["tags"], "untouched");
}

#[tokio::test]
async fn a_group_with_others_things_is_not_deleted() {
    let sandbox = Sandbox::start().await;
    let resources = sandbox.provider.resources(&[], &[registry()], &owner());
    let records = sandbox.make(&resources[..1]).await;
    let theirs = format!(
        "/resourceGroups/{GROUP}/providers/Microsoft.ContainerRegistry/registries/theirs1?api-version=2025-11-01"
    );
    let body = json!({ "location": "eastus", "sku": { "name": "Basic" } });
    assert_eq!(sandbox.ask("PUT", &theirs, body).await.0, 201);
    let refused = sandbox.provider.delete(&records[0], &Token("t".into()), &Silent).await;
    let Err(Error::Rejected { message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("registries/theirs1"), "{message}");
}

#[tokio::test]
async fn many_pools_at_once_stand_in_line() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let sizes = ["Standard_D2s_v5", "Standard_D4s_v5", "Standard_D8s_v5", "Standard_E4s_v5"];
    let pools = sizes.map(|size| pool(provider, size, Market::OnDemand, 1));
    let resources = provider.resources(&[site(pools.to_vec())], &[], &owner());
    let parents = sandbox.make(&resources[..2]).await;
    let token = Token("t".into());
    let desired: Vec<Resource> = resources[2..].iter().map(|pool| fill(pool, &parents)).collect();
    let (a, b, c, d) = tokio::join!(
        provider.create(&desired[0], &token, &Silent),
        provider.create(&desired[1], &token, &Silent),
        provider.create(&desired[2], &token, &Silent),
        provider.create(&desired[3], &token, &Silent),
    );
    for made in [a, b, c, d] {
        made.expect("AKS would refuse two at a time");
    }
}

#[tokio::test]
async fn a_cluster_gives_access() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let records = sandbox.make(&provider.resources(&[site(Vec::new())], &[], &owner())).await;
    let cluster = records
        .last()
        .filter(|record| Some(&record.address) == provider.cluster_address("eastus").as_ref());
    let access = provider.cluster_access("eastus", cluster).await.expect("access");
    assert_eq!(access.server, "http://kubernetes.test/azure/eastus/chat-eastus");
    assert_eq!(access.token.as_deref(), Some("sandbox"));
    let open = sandbox
        .world
        .step(|table| table.cluster_version("azure/eastus/chat-eastus").map(str::to_owned));
    assert_eq!(open.as_deref(), Some("1.33.5"));
    assert!(provider.cluster_access("eastus", None).await.is_err());
}

#[tokio::test]
async fn lists_go_over_pages() {
    let sandbox = Sandbox::start().await;
    for index in 0..120 {
        let path = format!("/resourcegroups/group-{index:03}?api-version=2021-04-01");
        let tags = json!({
            "fleetform:stack": "chat",
            "fleetform:lineage": "5e0c",
            "fleetform:address": format!("azurerm_resource_group.g{index}"),
        });
        let (status, _) =
            sandbox.ask("PUT", &path, json!({ "location": "eastus", "tags": tags })).await;
        assert_eq!(status, 201);
    }
    assert_eq!(sandbox.provider.list(&owner().stack).await.expect("a list").len(), 120);
}
