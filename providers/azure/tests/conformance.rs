//! Azure's provider against its emulator over HTTP: the contract's suite, the requests on the wire, and what
//! the emulator refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use fleetform_azure::{emulator, provider, sandboxed};
use fleetform_contract::conformance::{self, Case};
use fleetform_contract::{
    Cloud, Error, Market, Offering, Owner, Pool, Provider, Record, Registry, Resource, Silent,
    Site, Token, Value,
};
use fleetform_sandbox::{FaultPlan, Served, World, serve};
use serde_json::{Value as Json, json};

/// Method, path with its query, and body of each request that changes something.
type Wire = Arc<Mutex<Vec<(String, String, Json)>>>;

struct Sandbox {
    world: World,
    served: Served,
    wire: Wire,
    client: reqwest::Client,
    provider: Box<dyn Provider>,
}

impl Sandbox {
    async fn start() -> Sandbox {
        Sandbox::of(cloud()).await
    }

    async fn of(cloud: Cloud) -> Sandbox {
        let world = World::in_memory(7);
        let wire = Wire::default();
        let mut api = emulator::api(&world);
        api.routes = api.routes.layer(middleware::from_fn_with_state(Arc::clone(&wire), record));
        let served = serve(&world, vec![(api, 0)], FaultPlan::default()).await.expect("loopback");
        let mut urls = served.urls.clone();
        urls.insert("kubernetes", "http://kubernetes.test".into());
        let provider = provider(&sandboxed(cloud, &urls)).expect("a good cloud");
        Sandbox { world, served, wire, client: client(), provider }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/subscriptions/{SUBSCRIPTION}{path}", self.served.urls["azure"])
    }

    /// Status, code and message of the emulator's answer to a request of our own.
    async fn ask(&self, method: &str, path: &str, body: Json) -> (u16, Json) {
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
    async fn make(&self, resources: &[Resource]) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        for resource in resources {
            let desired = fill(resource, &records);
            let token = Token(resource.address.to_string());
            let made = self.provider.create(&desired, &token, &Silent).await;
            let made = made.unwrap_or_else(|error| panic!("{}: {error}", resource.address));
            records.push(Record {
                address: desired.address,
                cloud: desired.cloud,
                site: None,
                id: made.id,
                attributes: made.attributes,
                depends_on: desired.depends_on,
                version: 0,
            });
        }
        records
    }
}

async fn record(State(wire): State<Wire>, request: Request, next: Next) -> Response {
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

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
const GROUP: &str = "fleetform-chat-main-ec9005";
const CLUSTERS: &str = "providers/Microsoft.ContainerService/managedClusters";

fn cloud() -> Cloud {
    Cloud {
        name: "azure".into(),
        kind: "azure".into(),
        regions: vec!["eastus".into()],
        ..Cloud::default()
    }
}

fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "5e0c".into() }
}

/// A pool of this size, as the catalog has it.
fn pool(provider: &dyn Provider, instance_type: &str, market: Market, nodes: u32) -> Pool {
    let is_it = |o: &Offering| o.instance_type == instance_type && o.market == market;
    let offering = provider.offerings().into_iter().find(is_it).expect("it is offered");
    Pool { offering, nodes, min_nodes: 1, max_nodes: 5, workloads: vec!["chat".into()] }
}

fn site(pools: Vec<Pool>) -> Site {
    Site {
        cloud: "azure".into(),
        region: "eastus".into(),
        cluster: "chat".into(),
        pools,
        workloads: Vec::new(),
    }
}

fn registry() -> Registry {
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

fn fill(resource: &Resource, records: &[Record]) -> Resource {
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
    for resource in &mut after {
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
    assert_eq!(before.len(), 5);
    let cases = before.into_iter().zip(after);
    let cases = cases.map(|(resource, updated)| Case { resource, updated: Some(updated) });
    conformance::check(provider, &owner(), cases.collect()).await;

    // One request more for what ends with the last tick.
    sandbox.ask("GET", "?api-version=2022-12-01", Json::Null).await;
    let census: BTreeMap<String, usize> = sandbox.world.step(|table| {
        table.census().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    });
    assert_eq!(census, BTreeMap::new(), "something is left behind");
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
    let [(group, _), (cluster_path, cluster), (pool_path, pool), (registry_path, registry)] =
        puts.as_slice()
    else {
        panic!("four puts: {puts:#?}");
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
    assert_eq!(sandbox.provider.list(&owner()).await.expect("a list").len(), 120);
}

#[tokio::test]
async fn the_emulator_is_stricter_than_azure() {
    let sandbox = Sandbox::start().await;
    let group = "/resourceGroups/g?api-version=2021-04-01";
    let made = sandbox.ask("PUT", group, json!({ "location": "East US" })).await;
    assert_eq!((made.0, &made.1["location"]), (201, &json!("eastus")));
    let cluster =
        |name: &str| format!("/resourceGroups/G/{CLUSTERS}/{name}?api-version=2025-08-01");
    let pool = |cluster: &str, name: &str| {
        format!("/resourceGroups/g/{CLUSTERS}/{cluster}/agentPools/{name}?api-version=2025-08-01")
    };
    let registry = |name: &str| {
        format!(
            "/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/{name}?api-version=2025-11-01"
        )
    };
    let system =
        json!({ "name": "system", "mode": "System", "vmSize": "Standard_D2s_v5", "count": 1 });
    let good = json!({
        "location": "eastus",
        "identity": { "type": "SystemAssigned" },
        "properties": { "dnsPrefix": "c", "agentPoolProfiles": [system] },
    });
    let with = |path: &str, value: Json| {
        let mut body = good.clone();
        *body.pointer_mut(path).expect("a place") = value;
        body
    };
    let worker = |extra: Json| {
        let mut properties = json!({ "mode": "User", "vmSize": "Standard_D2s_v5", "count": 1 });
        for (name, value) in extra.as_object().expect("fields") {
            properties[name] = value.clone();
        }
        json!({ "properties": properties })
    };
    assert_eq!(sandbox.ask("PUT", &cluster("c"), good.clone()).await.0, 201);
    let (status, answer) = sandbox.ask("PUT", &pool("c", "a"), worker(json!({}))).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("OperationNotAllowed")));
    assert_eq!(
        sandbox
            .ask(
                "PUT",
                &registry("taken"),
                json!({ "location": "eastus", "sku": { "name": "Basic" } })
            )
            .await
            .0,
        201
    );

    let profile = "/properties/agentPoolProfiles";
    let null = Json::Null;
    let refused: Vec<(&str, String, Json, u16, &str)> = vec![
        ("GET", "/resourceGroups/g".into(), null.clone(), 400, "MissingApiVersionParameter"),
        (
            "GET",
            "/resourceGroups/g?api-version=2001-01-01".into(),
            null.clone(),
            400,
            "InvalidApiVersionParameter",
        ),
        (
            "GET",
            "/resourceGroups/none?api-version=2021-04-01".into(),
            null.clone(),
            404,
            "ResourceGroupNotFound",
        ),
        ("POST", group.into(), null.clone(), 405, "HttpMethodNotAllowed"),
        (
            "PUT",
            group.into(),
            json!({ "location": "mars" }),
            400,
            "LocationNotAvailableForResourceType",
        ),
        ("PUT", group.into(), json!({ "location": "westus" }), 409, "InvalidResourceGroupLocation"),
        ("PUT", group.into(), json!({}), 400, "LocationRequired"),
        (
            "PUT",
            group.into(),
            json!({ "location": "eastus", "colour": 1 }),
            400,
            "InvalidRequestContent",
        ),
        (
            "PUT",
            group.into(),
            json!({ "location": "eastus", "tags": { "a/b": "c" } }),
            400,
            "InvalidTagNameCharacters",
        ),
        (
            "PUT",
            group.into(),
            json!({ "location": "eastus", "tags": { "a": 1 } }),
            400,
            "InvalidTagValueLength",
        ),
        ("PUT", group.into(), json!([1]), 400, "InvalidRequestContent"),
        ("GET", cluster("none"), null.clone(), 404, "ResourceNotFound"),
        ("PUT", cluster("-x"), good.clone(), 400, "InvalidParameter"),
        ("PUT", cluster("d").replace("/G/", "/none/"), good.clone(), 404, "ResourceGroupNotFound"),
        ("PUT", cluster("d"), with("/identity", null.clone()), 400, "InvalidParameter"),
        ("PUT", cluster("d"), with("/properties/dnsPrefix", "a_b".into()), 400, "InvalidParameter"),
        ("PUT", cluster("d"), with(profile, json!([])), 400, "InvalidParameter"),
        ("PUT", cluster("d"), with("/properties", 5.into()), 400, "InvalidRequestContent"),
        (
            "PUT",
            cluster("d"),
            with("/properties/agentPoolProfiles/0/vmSize", "Standard_Nope".into()),
            400,
            "BadRequest",
        ),
        (
            "PUT",
            cluster("d"),
            with("/properties/agentPoolProfiles/0/count", 0.into()),
            400,
            "InvalidParameter",
        ),
        (
            "PUT",
            cluster("d"),
            with("/properties", json!({ "dnsPrefix": "c", "kubernetesVersion": "1.9" })),
            400,
            "K8sVersionNotSupported",
        ),
        ("PUT", pool("none", "a"), worker(json!({})), 404, "ParentResourceNotFound"),
        ("PUT", registry("Taken"), json!({ "location": "eastus" }), 400, "InvalidRequestContent"),
        (
            "PUT",
            registry("no"),
            json!({ "location": "eastus", "sku": { "name": "Basic" } }),
            400,
            "InvalidResourceName",
        ),
        (
            "PUT",
            registry("fine1"),
            json!({ "location": "eastus", "sku": { "name": "Gold" } }),
            400,
            "InvalidParameter",
        ),
        (
            "GET",
            "/providers/Microsoft.Compute/disks?api-version=2021-04-01".into(),
            null.clone(),
            404,
            "InvalidResourceType",
        ),
        (
            "GET",
            "/resources?api-version=2021-04-01&$filter=colour%20eq%20'red'".into(),
            null.clone(),
            400,
            "InvalidFilterInQueryString",
        ),
        (
            "GET",
            format!(
                "/providers/Microsoft.ContainerService/locations/eastus/operations/{SUBSCRIPTION}?api-version=2025-08-01"
            ),
            null.clone(),
            404,
            "InvalidResourceType",
        ),
        // Now that the cluster is there.
        (
            "PUT",
            cluster("c"),
            with("/properties/dnsPrefix", "d".into()),
            400,
            "PropertyChangeNotAllowed",
        ),
        ("PUT", cluster("c"), with("/location", "westus".into()), 409, "InvalidResourceLocation"),
        (
            "PUT",
            cluster("c"),
            with("/properties/agentPoolProfiles/0/name", "other".into()),
            400,
            "BadRequest",
        ),
        ("PUT", pool("c", "Big"), worker(json!({})), 400, "InvalidParameter"),
        ("PUT", pool("c", "a"), worker(json!({ "colour": 1 })), 400, "InvalidRequestContent"),
        ("PUT", pool("c", "a"), worker(json!({ "minCount": 1 })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "enableAutoScaling": true, "minCount": 2, "maxCount": 3 })),
            400,
            "InvalidParameter",
        ),
        ("PUT", pool("c", "a"), worker(json!({ "spotMaxPrice": -1 })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "scaleSetPriority": "Spot", "mode": "System" })),
            400,
            "InvalidParameter",
        ),
        ("PUT", pool("c", "a"), worker(json!({ "nodeTaints": ["gpu"] })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "nodeLabels": { "kubernetes.azure.com/mode": "x" } })),
            400,
            "InvalidParameter",
        ),
        ("PUT", pool("c", "a"), worker(json!({ "osDiskSizeGB": 3 })), 400, "InvalidParameter"),
        (
            "PUT",
            pool("c", "a"),
            worker(json!({ "vmSize": "Standard_ND40rs_v9" })),
            400,
            "BadRequest",
        ),
        ("PUT", pool("c", "system"), worker(json!({ "mode": "User" })), 400, "InvalidParameter"),
        ("DELETE", pool("c", "system"), null.clone(), 400, "OperationNotAllowed"),
        ("GET", pool("c", "none"), null.clone(), 404, "NotFound"),
        (
            "PUT",
            registry("TAKEN2").replace("/g/", "/g2/"),
            json!({ "location": "eastus", "sku": { "name": "Basic" } }),
            404,
            "ResourceGroupNotFound",
        ),
    ];
    for (method, path, body, status, code) in refused {
        let (found, answer) = sandbox.ask(method, &path, body.clone()).await;
        let what = format!("{method} {path} {body} answers {answer}");
        assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{what}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}");
    }

    // A name that is taken in another group, and a token that is none.
    assert_eq!(
        sandbox
            .ask(
                "PUT",
                "/resourceGroups/g2?api-version=2021-04-01",
                json!({ "location": "eastus" })
            )
            .await
            .0,
        201
    );
    let body = json!({ "location": "eastus", "sku": { "name": "Basic" } });
    let (status, answer) =
        sandbox.ask("PUT", &registry("Taken").replace("/g/", "/g2/"), body).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("AlreadyInUse")));
    let request = sandbox
        .client
        .get(sandbox.url("?api-version=2022-12-01"))
        .header("authorization", "Basic eDp5");
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 401);
    let request = sandbox.client.put(sandbox.url(group)).body("{\"location\": ");
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 400);
}

#[tokio::test]
async fn a_group_takes_everything_with_it() {
    let sandbox = Sandbox::start().await;
    let provider = sandbox.provider.as_ref();
    let pools = vec![pool(provider, "Standard_D4s_v5", Market::OnDemand, 2)];
    sandbox.make(&provider.resources(&[site(pools)], &[registry()], &owner())).await;
    let path = format!("/resourcegroups/{GROUP}?api-version=2021-04-01");
    assert_eq!(sandbox.ask("DELETE", &path, Json::Null).await.0, 202);
    for _ in 0..8 {
        sandbox.ask("HEAD", &path, Json::Null).await;
    }
    let census = sandbox.world.step(|table| table.census().len());
    assert_eq!(census, 0);
}
