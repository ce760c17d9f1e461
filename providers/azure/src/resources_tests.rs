use fleetform_contract::{ClusterSettings, Offering};
use serde_json::json;

use super::*;

fn cloud() -> Cloud {
    Cloud {
        name: "azure".into(),
        kind: "azure".into(),
        regions: vec!["eastus".into(), "westeurope".into()],
        ..Cloud::default()
    }
}

fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5e0c".into() }
}

fn pool(instance_type: &str, market: Market, gpus: u32) -> Pool {
    let offering = Offering {
        cloud: "azure".into(),
        region: "eastus".into(),
        instance_type: instance_type.into(),
        market,
        zones: Vec::new(),
        zone: None,
        max_pods: None,
        gpu_type: (gpus > 0).then(|| "A100-80GB".into()),
        gpus,
        gpu_memory_gib: 80.0,
        cpus: 24.0,
        memory_gib: 220.0,
        architecture: "x86_64".into(),
        price_hour: 3.67,
        max_nodes: None,
        location: None,
        as_of: "2026-06-18".into(),
    };
    Pool { offering, nodes: 3, min_nodes: 1, max_nodes: 5, workloads: vec!["chat".into()] }
}

fn site(region: &str, pools: Vec<Pool>) -> Site {
    Site {
        cloud: "azure".into(),
        region: region.into(),
        cluster: "chat".into(),
        pools,
        workloads: Vec::new(),
    }
}

fn registry() -> Registry {
    Registry {
        name: "main".into(),
        cloud: "azure".into(),
        regions: vec!["westeurope".into()],
        immutable_tags: true,
        scan_on_push: true,
        keep_images: Some(20),
        repositories: Vec::new(),
    }
}

#[test]
fn a_site_and_a_registry_are_five_resources() {
    let pools = vec![pool("Standard_NC24ads_A100_v4", Market::Spot, 1)];
    let made = resources(&cloud(), &[site("eastus", pools)], &[registry()], &owner());
    let seen: Vec<serde_json::Value> = made
        .iter()
        .map(|resource| {
            json!({
                "address": resource.address.to_string(),
                "attributes": resource.attributes,
                "depends_on": resource.depends_on,
            })
        })
        .collect();
    let tags = |address: &str| {
        json!({
            "fleetform:address": address,
            "fleetform:lineage": "5e0c",
            "fleetform:stack": "chat",
        })
    };
    let pool =
        r#"azurerm_kubernetes_cluster_node_pool.main["eastus/Standard_NC24ads_A100_v4/spot"]"#;
    let expected = json!([
        {
            "address": "azurerm_resource_group.main",
            "attributes": {
                "location": "eastus",
                "name": "fleetform-chat-main-ec9005",
                "tags": tags("azurerm_resource_group.main"),
            },
            "depends_on": [],
        },
        {
            "address": r#"azurerm_kubernetes_cluster.main["eastus"]"#,
            "attributes": {
                "default_node_pool": [
                    { "name": "system", "node_count": 1, "vm_size": "Standard_D2s_v5" },
                ],
                "dns_prefix": "chat-eastus",
                "identity": [{ "type": "SystemAssigned" }],
                "location": "eastus",
                "name": "chat-eastus",
                "oidc_issuer_enabled": true,
                "resource_group_name": "fleetform-chat-main-ec9005",
                "sku_tier": "Standard",
                "tags": tags(r#"azurerm_kubernetes_cluster.main["eastus"]"#),
            },
            "depends_on": ["azurerm_resource_group.main"],
        },
        {
            "address": pool,
            "attributes": {
                "auto_scaling_enabled": true,
                "eviction_policy": "Delete",
                "kubernetes_cluster_id": {
                    "$unknown": {
                        "address": r#"azurerm_kubernetes_cluster.main["eastus"]"#,
                        "path": "id",
                    },
                },
                "max_count": 5,
                "min_count": 1,
                "mode": "User",
                "name": "nc24ad6e2718",
                "node_count": 3,
                "node_labels": {
                    "fleetform.dev/pool": "standard-nc24ads-a100-v4-spot",
                    "kubernetes.azure.com/scalesetpriority": "spot",
                },
                "node_taints": [
                    "kubernetes.azure.com/scalesetpriority=spot:NoSchedule",
                    "nvidia.com/gpu=present:NoSchedule",
                ],
                "os_disk_size_gb": 256,
                "priority": "Spot",
                "spot_max_price": -1,
                "tags": tags(pool),
                "vm_size": "Standard_NC24ads_A100_v4",
            },
            "depends_on": [r#"azurerm_kubernetes_cluster.main["eastus"]"#],
        },
        {
            "address": r#"azurerm_container_registry.main["main"]"#,
            "attributes": {
                "admin_enabled": false,
                "location": "westeurope",
                "name": "chatmain933f69587196",
                "resource_group_name": "fleetform-chat-main-ec9005",
                "sku": "Standard",
                "tags": tags(r#"azurerm_container_registry.main["main"]"#),
            },
            "depends_on": ["azurerm_resource_group.main"],
        },
        {
            "address": r#"azurerm_role_assignment.main["main/eastus"]"#,
            "attributes": {
                "description": tags(r#"azurerm_role_assignment.main["main/eastus"]"#).to_string(),
                "name": "0635a3cb-5bb5-5dfe-8043-4476ff719fe4",
                "principal_id": {
                    "$unknown": {
                        "address": r#"azurerm_kubernetes_cluster.main["eastus"]"#,
                        "path": "kubelet_identity.0.object_id",
                    },
                },
                "principal_type": "ServicePrincipal",
                "role_definition_name": "AcrPull",
                "scope": {
                    "$unknown": {
                        "address": r#"azurerm_container_registry.main["main"]"#,
                        "path": "id",
                    },
                },
            },
            "depends_on": [
                r#"azurerm_kubernetes_cluster.main["eastus"]"#,
                r#"azurerm_container_registry.main["main"]"#,
            ],
        },
    ]);
    assert_eq!(json!(seen), expected, "{:#}", json!(seen));
}

#[test]
fn a_named_group_is_used_and_not_made() {
    let mut cloud = cloud();
    cloud.account.insert("resource_group".into(), "shared".into());
    cloud.cluster = ClusterSettings {
        version: Some("1.33".into()),
        subnet_ids: vec!["/subnets/us".into(), "/subnets/eu".into()],
        ..ClusterSettings::default()
    };
    let pools = vec![pool("Standard_D4s_v5", Market::OnDemand, 0)];
    let made = resources(&cloud, &[site("westeurope", pools)], &[], &owner());
    let [cluster, pool] = made.as_slice() else { panic!("two resources: {made:#?}") };
    assert_eq!(cluster.text("resource_group_name"), Some("shared"));
    assert_eq!(cluster.depends_on, []);
    assert_eq!(cluster.text("kubernetes_version"), Some("1.33"));
    assert_eq!(
        cluster.attributes["default_node_pool"].at("0.vnet_subnet_id"),
        Some(&"/subnets/eu".into())
    );
    assert_eq!(pool.text("orchestrator_version"), Some("1.33"));
    assert_eq!(pool.text("vnet_subnet_id"), Some("/subnets/eu"));
    assert_eq!(pool.text("priority"), Some("Regular"));
    for absent in ["eviction_policy", "spot_max_price", "node_taints"] {
        assert!(!pool.attributes.contains_key(absent), "{absent}");
    }
}

#[test]
fn what_runs_elsewhere_makes_nothing_here() {
    let mut elsewhere = site("eastus", Vec::new());
    elsewhere.cloud = "aws".into();
    assert_eq!(resources(&cloud(), &[elsewhere], &[], &owner()), []);
}

#[test]
fn names_fit_azure_and_stay_apart() {
    let long = "a".repeat(70);
    let is_fit = |name: &str, limit: usize| {
        let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        name.len() <= limit
            && alphanumeric(name.chars().next())
            && alphanumeric(name.chars().next_back())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let texts = ["chat", "-", "é", "", "chat eu", "chat-eu-", &long, &format!("{long}b")];
    let mut seen = std::collections::BTreeSet::new();
    for text in texts {
        let name = fit(text, 40);
        assert!(is_fit(&name, 40), "{text:?} gives {name:?}");
        assert!(seen.insert(name), "{text:?} shares a name");
    }

    let mut region = site("eastus", Vec::new());
    region.cluster = long;
    assert!(is_fit(&cluster_name(&region), 63));
    region.cluster = "prod-eastus".into();
    assert_eq!(cluster_name(&region), "prod-eastus", "the region stands there once");

    let mut names = std::collections::BTreeSet::new();
    for row in crate::catalog::rows().iter().filter(|row| row.region == "eastus") {
        for market in [Market::OnDemand, Market::Spot] {
            let name = pool_name(&pool(row.instance_type, market, 0).slug());
            assert!(name.len() <= 12 && name.starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
            assert!(names.insert(name), "{} {market}", row.instance_type);
        }
    }
}
