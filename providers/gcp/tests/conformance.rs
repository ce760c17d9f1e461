//! The provider through Google's SDK, over HTTP, against the emulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use fleetform_contract::conformance::{Case, check};
use fleetform_contract::{
    Address, Cloud, Error, Market, Objects, Offering, Owner, Pool, Provider, Record, Registry,
    Remote, Resource, Silent, Site, Token, Value,
};
use fleetform_sandbox::{Api, FaultPlan, Served, World, serve};
use serde_json::{Value as Json, json};

/// Requests that change something: method, path with query, body.
type Wire = Arc<Mutex<Vec<(String, String, Json)>>>;

struct Sandbox {
    world: World,
    wire: Wire,
    provider: Box<dyn Provider>,
    _served: Served,
}

async fn sandbox() -> Sandbox {
    sandbox_with(FaultPlan::default()).await
}

async fn sandbox_with(faults: FaultPlan) -> Sandbox {
    sandbox_of(World::in_memory(7), faults).await
}

async fn sandbox_of(world: World, faults: FaultPlan) -> Sandbox {
    let wire = Wire::default();
    let api = recorded(fleetform_gcp::emulator::api(&world), Arc::clone(&wire));
    let served = serve(&world, vec![(api, 0)], faults).await.expect("loopback is there");
    let cloud = Cloud {
        name: "gcp".into(),
        kind: "gcp".into(),
        regions: vec!["us-central1".into()],
        ..Cloud::default()
    };
    let mut urls = served.urls.clone();
    urls.insert("kubernetes", "http://127.0.0.1:1".into());
    let cloud = fleetform_gcp::sandboxed(cloud, &urls);
    let provider = fleetform_gcp::provider(&cloud).expect("making a provider does no I/O");
    Sandbox { world, wire, provider, _served: served }
}

fn recorded(api: Api, wire: Wire) -> Api {
    let record = move |request: Request, next: Next| {
        let wire = Arc::clone(&wire);
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("bodies here are small");
            if parts.method != "GET" {
                let json = serde_json::from_slice(&body).unwrap_or(Json::Null);
                let path = parts.uri.path_and_query().map(ToString::to_string);
                let entry = (parts.method.to_string(), path.unwrap_or_default(), json);
                wire.lock().expect("no test panics here").push(entry);
            }
            let response: Response = next.run(Request::from_parts(parts, Body::from(body))).await;
            response
        }
    };
    Api { routes: api.routes.layer(from_fn(record)), ..api }
}

fn owner() -> Owner {
    Owner { stack: "chat".into(), lineage: "0b1c5f6e-7a51-4f5c-9d0e-1f2a3b4c5d6e".into() }
}

fn pool(provider: &dyn Provider, instance_type: &str, market: Market, nodes: u32) -> Pool {
    let wanted = |o: &Offering| o.instance_type == instance_type && o.market == market;
    let offering = provider.offerings().into_iter().find(wanted).expect("the catalog has it");
    Pool { offering, nodes, min_nodes: nodes, max_nodes: nodes, workloads: Vec::new() }
}

fn site(pools: Vec<Pool>) -> Site {
    Site {
        cloud: "gcp".into(),
        region: "us-central1".into(),
        cluster: "chat".into(),
        pools,
        workloads: Vec::new(),
    }
}

fn registry() -> Registry {
    Registry {
        name: "main".into(),
        cloud: "gcp".into(),
        regions: vec!["us-central1".into()],
        immutable_tags: true,
        scan_on_push: true,
        keep_images: Some(20),
        repositories: Vec::new(),
    }
}

fn record(desired: &Resource, remote: &Remote) -> Record {
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: None,
        id: remote.id.clone(),
        attributes: remote.attributes.clone(),
        depends_on: desired.depends_on.clone(),
        version: 0,
        tainted: false,
    }
}

fn token() -> Token {
    Token("test".into())
}

async fn create(objects: &dyn Provider, desired: &Resource) -> Remote {
    let made = objects.create(desired, &token(), &Silent).await;
    made.unwrap_or_else(|error| panic!("creating {}: {error}", desired.address))
}

#[tokio::test]
async fn the_provider_keeps_the_contract() {
    let sandbox = sandbox().await;
    let provider = &sandbox.provider;
    let of = |t4: Pool, cpu: Pool, registry: Registry| {
        provider.resources(&[site(vec![cpu, t4])], &[registry], &owner())
    };
    let t4 = pool(&**provider, "n1-standard-8+T4:1", Market::Spot, 2);
    let cpu = pool(&**provider, "e2-standard-4", Market::OnDemand, 3);
    let before = of(t4.clone(), cpu.clone(), registry());
    let more = Pool { nodes: 4, min_nodes: 4, max_nodes: 4, ..t4 };
    let elastic = Pool { max_nodes: 9, ..cpu };
    let changed =
        Registry { immutable_tags: false, scan_on_push: false, keep_images: Some(5), ..registry() };
    let mut after = of(more, elastic, changed);
    after[0].attributes.insert("min_master_version".into(), "1.35".into());
    let channel = Value::list([Value::map([("channel", Value::from("RAPID"))])]);
    after[0].attributes.insert("release_channel".into(), channel);
    let cases = before.into_iter().zip(after);
    let cases = cases.map(|(resource, updated)| Case { resource, updated: Some(updated) });
    check(&**provider as &dyn Objects, &owner(), cases.collect()).await;
    sandbox
        .world
        .step(|table| assert_eq!(table.census(), BTreeMap::new(), "the world is empty again"));
}

#[tokio::test]
async fn a_number_of_nodes_walks_from_the_site_to_the_wire() {
    let sandbox = sandbox().await;
    let pool = pool(&*sandbox.provider, "a2-ultragpu-1g", Market::Spot, 4);
    let resources = sandbox.provider.resources(&[site(vec![pool])], &[], &owner());
    for resource in &resources {
        create(&*sandbox.provider, resource).await;
    }
    let wire = sandbox.wire.lock().expect("no test panics here").clone();
    let paths: Vec<String> =
        wire.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let parent = "/v1/projects/fleetform-sandbox/locations/us-central1/clusters";
    let alt = "?%24alt=json%3Benum-encoding%3Dint";
    assert_eq!(
        paths,
        [
            format!("POST {parent}{alt}"),
            format!(
                "DELETE {parent}/chat/nodePools/default-pool?projectId=&zone=&clusterId=&nodePoolId=&{}",
                &alt[1..]
            ),
            format!("POST {parent}/chat/nodePools{alt}"),
        ]
    );
    assert_eq!(
        wire[0].2,
        json!({
            "cluster": {
                "name": "chat",
                "initialNodeCount": 1,
                "ipAllocationPolicy": { "useIpAliases": true },
                "releaseChannel": { "channel": 2 },
                "resourceLabels": {
                    "fleetform-address": "google__container__cluster_pmain_ous-central1_q",
                    "fleetform-lineage": owner().lineage,
                    "fleetform-stack": "chat",
                },
                "workloadIdentityConfig": { "workloadPool": "fleetform-sandbox.svc.id.goog" },
            },
        })
    );
    assert_eq!(
        wire[2].2,
        json!({
            "nodePool": {
                "name": "a2-ultragpu-1g-spot",
                // Two nodes in each of the two zones that sell the type: four nodes.
                "initialNodeCount": 2,
                "locations": ["us-central1-a", "us-central1-c"],
                "autoscaling": {
                    "enabled": true,
                    "totalMinNodeCount": 4,
                    "totalMaxNodeCount": 4,
                    "locationPolicy": 2,
                },
                "management": { "autoRepair": true, "autoUpgrade": true },
                "config": {
                    "machineType": "a2-ultragpu-1g",
                    "spot": true,
                    "accelerators": [{
                        "acceleratorType": "nvidia-a100-80gb",
                        "acceleratorCount": "1",
                        "gpuDriverInstallationConfig": { "gpuDriverVersion": 2 },
                    }],
                    "diskSizeGb": 200,
                    "oauthScopes": ["https://www.googleapis.com/auth/cloud-platform"],
                    "labels": { "fleetform.dev/pool": "a2-ultragpu-1g-spot" },
                    "resourceLabels": {
                        "fleetform-address": "google__container__node__pool_pmain_ous-central1_sa2-ultragpu-1",
                        "fleetform-address-1": "g_sspot_q",
                        "fleetform-lineage": owner().lineage,
                        "fleetform-stack": "chat",
                    },
                    "metadata": { "disable-legacy-endpoints": "true" },
                    "workloadMetadataConfig": { "mode": 2 },
                },
            },
        })
    );
    sandbox.world.step(|table| {
        let nodes = table.nodes("gcp/us-central1/chat");
        assert_eq!(nodes.len(), 1, "the default pool is gone");
        let (name, nodes) = &nodes[0];
        assert_eq!((name.as_str(), nodes.count), ("a2-ultragpu-1g-spot", 4));
        let label =
            |key: &str| nodes.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        assert_eq!(label("fleetform.dev/pool"), Some("a2-ultragpu-1g-spot"));
        assert_eq!(label("cloud.google.com/gke-nodepool"), Some("a2-ultragpu-1g-spot"));
        assert_eq!(nodes.taints, [], "the system's pods have no other nodes");
        assert!(table.cluster_version("gcp/us-central1/chat").is_some());
    });
}

#[tokio::test]
async fn the_repository_on_the_wire() {
    let sandbox = sandbox().await;
    let resources = sandbox.provider.resources(&[], &[registry()], &owner());
    let made = create(&*sandbox.provider, &resources[0]).await;
    let uri = "us-central1-docker.pkg.dev/fleetform-sandbox/chat-main";
    assert_eq!(made.attributes.get("registry_uri"), Some(&Value::from(uri)));
    let wire = sandbox.wire.lock().expect("no test panics here").clone();
    let path = "/v1/projects/fleetform-sandbox/locations/us-central1/repositories\
                ?repositoryId=chat-main&%24alt=json%3Benum-encoding%3Dint";
    assert_eq!((wire[0].0.as_str(), wire[0].1.as_str()), ("POST", path));
    assert_eq!(
        wire[0].2,
        json!({
            "format": 1,
            "mode": 1,
            "description": "Images of stack chat",
            "labels": {
                "fleetform-address": "google__artifact__registry__repository_pmain_ous-central1_q",
                "fleetform-lineage": owner().lineage,
                "fleetform-stack": "chat",
            },
            "dockerConfig": { "immutableTags": true },
            "cleanupPolicies": {
                "delete-older": { "id": "delete-older", "action": 1, "condition": { "tagState": 3 } },
                "keep-newest": {
                    "id": "keep-newest",
                    "action": 2,
                    "mostRecentVersions": { "keepCount": 20 },
                },
            },
            "vulnerabilityScanningConfig": { "enablementConfig": 1 },
        })
    );
}

#[tokio::test]
async fn drift_behind_our_back_is_seen() {
    let sandbox = sandbox().await;
    let pool = pool(&*sandbox.provider, "e2-standard-4", Market::OnDemand, 3);
    let resources = sandbox.provider.resources(&[site(vec![pool])], &[], &owner());
    let mut records = Vec::new();
    for resource in &resources {
        records.push(record(resource, &create(&*sandbox.provider, resource).await));
    }
    let mut other = resources[1].clone();
    let bounds = Value::list([Value::map([
        ("total_min_node_count", 1.into()),
        ("total_max_node_count", 8.into()),
        ("location_policy", Value::from("BALANCED")),
    ])]);
    other.attributes.insert("autoscaling".into(), bounds.clone());
    let moved = sandbox.provider.update(&records[1], &other, &token(), &Silent).await;
    moved.expect("someone else may change it");
    let seen = sandbox.provider.read(records[1].reference()).await.expect("reading works");
    let seen = seen.expect("it is there").attributes;
    assert_eq!(seen.get("autoscaling"), Some(&bounds));
    assert_eq!(seen.get("initial_node_count"), Some(&Value::from(1)), "the size is left alone");
    let different: Vec<&String> = records[1]
        .attributes
        .iter()
        .filter(|(name, value)| seen.get(*name) != Some(value))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(different, ["autoscaling"], "and nothing else looks different");
}

#[tokio::test]
async fn a_pool_beside_one_that_goes_is_made_without_googles_taint() {
    let sandbox = sandbox().await;
    let provider = &*sandbox.provider;
    let cpu = pool(provider, "e2-standard-4", Market::OnDemand, 1);
    let gpu = pool(provider, "n1-standard-8+T4:1", Market::OnDemand, 1);
    for resource in provider.resources(&[site(vec![cpu])], &[], &owner()) {
        create(provider, &resource).await;
    }
    // Found by the simulation: the pool with GPUs is the only one that is wanted, and the other is there still.
    let wanted = provider.resources(&[site(vec![gpu])], &[], &owner());
    let made = create(provider, &wanted[1]).await;
    assert_eq!(wanted[1].attributes["node_config"].at("0.taint"), None);
    assert_eq!(made.attributes["node_config"].at("0.taint"), None, "{made:?}");
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_alone() {
    let sandbox = sandbox().await;
    let ours = sandbox.provider.resources(&[site(Vec::new())], &[registry()], &owner());
    let someone = Owner { stack: "other".into(), lineage: "else".into() };
    let mut theirs = sandbox.provider.resources(&[site(Vec::new())], &[registry()], &someone);
    theirs[1].attributes.insert("repository_id".into(), "chat-main".into());
    for (their, our) in theirs.iter().zip(&ours) {
        create(&*sandbox.provider, their).await;
        let refused = sandbox.provider.create(our, &token(), &Silent).await;
        let Err(Error::Rejected { message }) = refused else { panic!("{refused:?}") };
        assert!(message.contains("exists already and does not carry the labels"), "{message}");
    }
    assert_eq!(sandbox.provider.list(&owner().stack).await, Ok(Vec::new()));
    assert_eq!(sandbox.provider.list(&someone.stack).await.expect("listing works").len(), 2);
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_resumed() {
    let sandbox = sandbox().await;
    let pool = pool(&*sandbox.provider, "e2-standard-4", Market::OnDemand, 1);
    let resources = sandbox.provider.resources(&[site(vec![pool])], &[], &owner());
    // Cut off after the request: the cluster is being made, with its default pool.
    let mut body = json!({ "cluster": { "name": "chat", "initialNodeCount": 1 } });
    let labels = resources[0].attributes["resource_labels"].to_plain_json();
    body["cluster"]["resourceLabels"] = labels;
    let path = "/v1/projects/fleetform-sandbox/locations/us-central1/clusters";
    let (status, _) = call(&sandbox.world, "POST", path, body).await;
    assert_eq!(status, 200);
    let made = create(&*sandbox.provider, &resources[0]).await;
    assert_eq!(made.attributes.get("remove_default_node_pool"), Some(&Value::Bool(true)));
    assert!(made.attributes.get("endpoint").is_some_and(|endpoint| !endpoint.is_null()));
    create(&*sandbox.provider, &resources[1]).await;
    let creations = sandbox.wire.lock().expect("no test panics here").clone();
    let creations = creations.iter().filter(|(method, _, _)| method == "POST").count();
    assert_eq!(creations, 2, "one was refused because it exists, one made the pool");
}

#[tokio::test]
async fn nothing_is_made_twice_or_left_behind_when_answers_get_lost() {
    let faults =
        FaultPlan { throttled: 0.1, unavailable: 0.1, answer_lost: 0.2, ..FaultPlan::default() };
    let sandbox = sandbox_with(faults).await;
    let provider = &*sandbox.provider;
    let cpu = pool(provider, "e2-standard-4", Market::OnDemand, 3);
    let gpu = pool(provider, "g2-standard-4", Market::Spot, 2);
    let resources = provider.resources(&[site(vec![cpu, gpu])], &[registry()], &owner());
    let mut records = Vec::new();
    for desired in &resources {
        let made = persist(async || provider.create(desired, &token(), &Silent).await).await;
        records.push(record(desired, &made));
    }
    // A listing asks every location, so it is made where nothing gets lost.
    let reliable = sandbox_of(sandbox.world.clone(), FaultPlan::default()).await;
    let listed = reliable.provider.list(&owner().stack).await.expect("listing works");
    let mut listed: Vec<&Address> = listed.iter().map(|(mark, _)| &mark.address).collect();
    let mut expected: Vec<&Address> = resources.iter().map(|resource| &resource.address).collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    sandbox.world.step(|table| {
        let nodes = table.nodes("gcp/us-central1/chat");
        let counts: Vec<u32> = nodes.iter().map(|(_, nodes)| nodes.count).collect();
        assert_eq!(counts, [3, 2]);
    });
    for record in records.iter().rev() {
        persist(async || provider.delete(record, &token(), &Silent).await).await;
    }
    assert_eq!(sandbox.world.census(), BTreeMap::new(), "the world is empty again");
}

#[tokio::test]
async fn a_zone_that_is_out_of_machines_leaves_nothing_behind() {
    let sandbox = sandbox().await;
    let provider = &*sandbox.provider;
    let gpu = pool(provider, "a2-ultragpu-1g", Market::OnDemand, 2);
    let resources = provider.resources(&[site(vec![gpu])], &[], &owner());
    let cluster = create(provider, &resources[0]).await;
    sandbox.world.step(|table| {
        let stock = fleetform_sandbox::Object { body: json!(0), settles_at: 0 };
        table.put("gcp/stock", "us-central1-c/a2-ultragpu-1g", stock);
    });
    let refused = provider.create(&resources[1], &token(), &Silent).await;
    let Err(Error::NoCapacity { message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("GCE_STOCKOUT") && message.contains("us-central1-c"), "{message}");
    assert_eq!(provider.read(resources[1].reference()).await, Ok(None));
    sandbox.world.step(|table| table.remove("gcp/stock", "us-central1-c/a2-ultragpu-1g"));
    create(provider, &resources[1]).await;
    let cluster = record(&resources[0], &cluster);
    provider.delete(&cluster, &token(), &Silent).await.expect("its pools go with it");
    assert_eq!(sandbox.world.census(), BTreeMap::new(), "the world is empty again");
}

/// What `apply` does, without its waiting: again, as long as the error says so.
async fn persist<T>(mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> T {
    for _ in 0..200 {
        match attempt().await {
            Ok(outcome) => return outcome,
            Err(Error::Throttled { .. } | Error::Lost { .. } | Error::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("it never succeeds");
}

#[tokio::test]
async fn access_to_a_cluster_of_the_sandbox_needs_no_credentials() {
    let sandbox = sandbox().await;
    let resources = sandbox.provider.resources(&[site(Vec::new())], &[], &owner());
    let address = sandbox.provider.cluster_address("us-central1");
    assert_eq!(address, Some(resources[0].address.clone()));
    let made = record(&resources[0], &create(&*sandbox.provider, &resources[0]).await);
    let access = sandbox.provider.cluster_access("us-central1", Some(&made)).await;
    let access = access.expect("it exists");
    assert_eq!(access.server, "http://127.0.0.1:1/gcp/us-central1/chat");
    assert_eq!((access.token, access.certificate_authority), (None, None));
    assert!(sandbox.provider.cluster_access("us-central1", None).await.is_err());
}

#[tokio::test]
async fn a_cloud_that_answers_nothing_loses_the_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let urls = BTreeMap::from([("gcp", format!("http://127.0.0.1:{port}"))]);
    let cloud = Cloud { name: "gcp".into(), kind: "gcp".into(), ..Cloud::default() };
    let cloud = fleetform_gcp::sandboxed(cloud, &urls);
    let provider = fleetform_gcp::provider(&cloud).expect("making a provider does no I/O");
    let address = Address::keyed("google_container_cluster", "main", "us-central1");
    let attributes = [("name", "chat"), ("location", "us-central1")];
    let attributes = attributes.map(|(name, text)| (name.to_owned(), Value::from(text))).into();
    let reference =
        fleetform_contract::Reference { address: &address, id: None, attributes: &attributes };
    let answer = provider.read(reference).await;
    assert!(matches!(answer, Err(Error::Lost { .. })), "{answer:?}");
}

/// One request to the emulator without any SDK: the status and the body.
async fn call(world: &World, method: &str, path: &str, body: Json) -> (u16, Json) {
    use tower::ServiceExt;
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).body(body).expect("it is a request");
    let response = fleetform_gcp::emulator::api(world).routes.oneshot(request).await;
    let response = response.expect("the emulator always answers");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("bodies here are small");
    (status, serde_json::from_slice(&body).expect("Google answers JSON"))
}

/// Waits until the emulator is done with everything.
async fn settle(world: &World) {
    for _ in 0..10 {
        call(world, "GET", "/v1/projects/p-1/locations/-/clusters", Json::Null).await;
    }
}

#[tokio::test]
async fn the_emulator_refuses_as_google_does() {
    let world = World::in_memory(1);
    let clusters = "/v1/projects/p-1/locations/us-central1/clusters";
    let pools = "/v1/projects/p-1/locations/us-central1/clusters/main/nodePools";
    let repositories = "/v1/projects/p-1/locations/us-central1/repositories";
    let make = json!({ "cluster": { "name": "main", "initialNodeCount": 1 } });
    let (status, operation) = call(&world, "POST", clusters, make.clone()).await;
    assert_eq!((status, &operation["status"]), (200, &json!("RUNNING")), "{operation}");
    let busy = json!({ "nodePool": { "name": "more", "initialNodeCount": 1 } });
    let (status, refused) = call(&world, "POST", pools, busy.clone()).await;
    let message = format!(
        "Cluster is running incompatible operation {}.",
        operation["name"].as_str().expect("operations have names")
    );
    assert_eq!(status, 400);
    assert_eq!(
        refused,
        json!({ "error": { "code": 400, "message": message, "status": "FAILED_PRECONDITION" } })
    );
    settle(&world).await;

    let pool = |pool: Json| json!({ "nodePool": pool });
    let a100 = json!([{ "acceleratorType": "nvidia-tesla-a100", "acceleratorCount": "1" }]);
    for (method, path, body, code, status, text) in [
        (
            "POST",
            clusters,
            make,
            409,
            "ALREADY_EXISTS",
            "Already exists: projects/p-1/locations/us-central1/clusters/main.",
        ),
        (
            "POST",
            clusters,
            json!({ "clustr": {} }),
            400,
            "INVALID_ARGUMENT",
            "Unknown name \"clustr\": Cannot find field.",
        ),
        (
            "POST",
            clusters,
            json!({ "cluster": { "name": "Main", "initialNodeCount": 1 } }),
            400,
            "INVALID_ARGUMENT",
            "Invalid value for field \"cluster.name\"",
        ),
        (
            "POST",
            clusters,
            json!({ "cluster": { "name": "b" } }),
            400,
            "INVALID_ARGUMENT",
            "initial_node_count must be greater than zero",
        ),
        (
            "POST",
            clusters,
            json!({ "cluster": { "name": "b", "initialNodeCount": 1, "status": "RUNNING" } }),
            400,
            "INVALID_ARGUMENT",
            "output only",
        ),
        (
            "POST",
            clusters,
            json!({ "cluster": { "name": "b", "initialNodeCount": 1, "initialClusterVersion": "1.9" } }),
            400,
            "INVALID_ARGUMENT",
            "No valid versions with the prefix \"1.9\" found.",
        ),
        (
            "POST",
            clusters,
            json!({ "cluster": { "name": "b", "initialNodeCount": 1, "resourceLabels": { "Team": "x" } } }),
            400,
            "INVALID_ARGUMENT",
            "Label key 'Team'",
        ),
        (
            "POST",
            clusters,
            json!({ "cluster": { "name": "b", "initialNodeCount": 1, "workloadIdentityConfig": { "workloadPool": "q.svc.id.goog" } } }),
            400,
            "INVALID_ARGUMENT",
            "must be \"p-1.svc.id.goog\"",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/mars-north1/clusters",
            json!({ "cluster": { "name": "b", "initialNodeCount": 1 } }),
            400,
            "INVALID_ARGUMENT",
            "Location \"mars-north1\" does not exist.",
        ),
        (
            "GET",
            "/v1/projects/p-1/locations/us-central1/clusters/none",
            Json::Null,
            404,
            "NOT_FOUND",
            "Not found: projects/p-1/locations/us-central1/clusters/none.",
        ),
        (
            "GET",
            "/v1/projects/p-1/locations/us-central1/clusters/main?nome=x",
            Json::Null,
            400,
            "INVALID_ARGUMENT",
            "Cannot bind query parameter",
        ),
        (
            "PUT",
            "/v1/projects/p-1/locations/us-central1/clusters/main",
            json!({ "update": {} }),
            400,
            "INVALID_ARGUMENT",
            "Exactly one field",
        ),
        (
            "PUT",
            "/v1/projects/p-1/locations/us-central1/clusters/main",
            json!({ "update": { "desiredAddonsConfig": {} } }),
            501,
            "UNIMPLEMENTED",
            "does not emulate updates of desired_addons_config",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/us-central1/clusters/main:setResourceLabels",
            json!({ "resourceLabels": {}, "labelFingerprint": "old" }),
            400,
            "FAILED_PRECONDITION",
            "fingerprint mismatch",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/us-central1/clusters/none/nodePools",
            busy,
            404,
            "NOT_FOUND",
            "clusters/none.",
        ),
        (
            "POST",
            pools,
            pool(json!({ "name": "default-pool" })),
            409,
            "ALREADY_EXISTS",
            "nodePools/default-pool.",
        ),
        (
            "POST",
            pools,
            pool(json!({ "name": "a", "config": { "machineType": "n9-huge" } })),
            400,
            "INVALID_ARGUMENT",
            "Machine type with name \"n9-huge\" does not exist in zone \"us-central1-a\".",
        ),
        (
            "POST",
            pools,
            pool(
                json!({ "name": "a", "locations": ["us-central1-b"], "config": { "machineType": "a2-ultragpu-1g" } }),
            ),
            400,
            "INVALID_ARGUMENT",
            "does not exist in zone \"us-central1-b\"",
        ),
        (
            "POST",
            pools,
            pool(
                json!({ "name": "a", "locations": ["us-central1-a"], "config": { "machineType": "n2-standard-8", "accelerators": a100 } }),
            ),
            400,
            "INVALID_ARGUMENT",
            "cannot be used with machine type \"n2-standard-8\"",
        ),
        (
            "POST",
            pools,
            pool(json!({ "name": "a", "locations": ["us-east1-b"] })),
            400,
            "INVALID_ARGUMENT",
            "is not a zone of \"us-central1\"",
        ),
        (
            "POST",
            pools,
            pool(json!({ "name": "a", "autoscaling": { "enabled": true } })),
            400,
            "INVALID_ARGUMENT",
            "maximum node count",
        ),
        (
            "POST",
            pools,
            pool(
                json!({ "name": "a", "autoscaling": { "enabled": true, "totalMaxNodeCount": 3, "maxNodeCount": 1 } }),
            ),
            400,
            "INVALID_ARGUMENT",
            "exclude each other",
        ),
        (
            "POST",
            pools,
            pool(json!({ "name": "a", "config": { "taints": [{ "key": "k" }] } })),
            400,
            "INVALID_ARGUMENT",
            "has no effect",
        ),
        (
            "POST",
            pools,
            pool(json!({ "name": "a", "config": { "labels": { "kubernetes.io/os": "x" } } })),
            400,
            "INVALID_ARGUMENT",
            "reserved prefix",
        ),
        (
            "DELETE",
            "/v1/projects/p-1/locations/us-central1/clusters/main/nodePools/none",
            Json::Null,
            404,
            "NOT_FOUND",
            "nodePools/none.",
        ),
        (
            "GET",
            "/v1/projects/p-1/locations/us-central1/operations/operation-1-x",
            Json::Null,
            404,
            "NOT_FOUND",
            "operations/operation-1-x.",
        ),
        (
            "GET",
            "/v2/projects/p-1/locations/us-central1/clusters",
            Json::Null,
            404,
            "NOT_FOUND",
            "Method not found",
        ),
        (
            "POST",
            repositories,
            json!({ "format": "DOCKER" }),
            400,
            "INVALID_ARGUMENT",
            "repository id \"\" is not valid",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/us-central1/repositories?repositoryId=main",
            json!({}),
            400,
            "INVALID_ARGUMENT",
            "format of the repository is required",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/us-central1/repositories?repositoryId=main",
            json!({ "format": "NPM", "dockerConfig": {} }),
            400,
            "INVALID_ARGUMENT",
            "has no docker_config",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/us-central1/repositories?repositoryId=main",
            json!({ "format": "DOCKER", "cleanupPolicies": { "a": { "id": "b" } } }),
            400,
            "INVALID_ARGUMENT",
            "its id must be its key",
        ),
        (
            "POST",
            "/v1/projects/p-1/locations/moon/repositories?repositoryId=main",
            json!({ "format": "DOCKER" }),
            400,
            "INVALID_ARGUMENT",
            "Location \"moon\" is not valid.",
        ),
        (
            "DELETE",
            "/v1/projects/p-1/locations/us-central1/repositories/none",
            Json::Null,
            404,
            "NOT_FOUND",
            "repositories/none\" not found",
        ),
    ] {
        let (http, refused) = call(&world, method, path, body).await;
        let error = &refused["error"];
        assert_eq!(http, code, "{method} {path}: {refused}");
        assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)), "{refused}");
        let message = error["message"].as_str().expect("errors have a message");
        assert!(message.contains(text), "{method} {path}: {message}");
    }
}

#[tokio::test]
async fn repositories_come_in_pages_and_are_changed_by_mask() {
    let world = World::in_memory(1);
    let repositories = "/v1/projects/p-1/locations/us-central1/repositories";
    for id in ["aa", "bb", "cc"] {
        let path = format!("{repositories}?repositoryId={id}");
        let (status, operation) = call(&world, "POST", &path, json!({ "format": "DOCKER" })).await;
        assert_eq!((status, operation.get("done")), (200, None), "{operation}");
        let (status, _) = call(&world, "POST", &path, json!({ "format": "DOCKER" })).await;
        assert_eq!(status, 409, "it is on its way");
    }
    settle(&world).await;
    let (_, first) = call(&world, "GET", &format!("{repositories}?pageSize=2"), Json::Null).await;
    assert_eq!(first["repositories"].as_array().map(Vec::len), Some(2), "{first}");
    let token = first["nextPageToken"].as_str().expect("there is more");
    let rest = format!("{repositories}?pageSize=2&pageToken={token}");
    let (_, rest) = call(&world, "GET", &rest, Json::Null).await;
    assert!(rest["repositories"][0]["name"].as_str().is_some_and(|name| name.ends_with("/cc")));
    assert_eq!(rest.get("nextPageToken"), None);

    let change = json!({ "description": "new", "labels": { "a": "b" } });
    let path = format!("{repositories}/aa?updateMask=description");
    let (_, changed) = call(&world, "PATCH", &path, change.clone()).await;
    assert_eq!((&changed["description"], changed.get("labels")), (&json!("new"), None));
    let path = format!("{repositories}/aa?updateMask=format");
    let (status, _) = call(&world, "PATCH", &path, change).await;
    assert_eq!(status, 400, "the format cannot be changed");
    let asked = format!("{repositories}/aa?%24alt=json%3Benum-encoding%3Dint");
    let (_, numbers) = call(&world, "GET", &asked, Json::Null).await;
    assert_eq!((&numbers["format"], &changed["format"]), (&json!(1), &json!("DOCKER")));
}

#[tokio::test]
async fn faults_are_told_in_googles_words() {
    let api = fleetform_gcp::emulator::api(&World::in_memory(1));
    for (fault, code, status) in [
        (fleetform_sandbox::Fault::Throttled, 429, "RESOURCE_EXHAUSTED"),
        (fleetform_sandbox::Fault::Unavailable, 503, "UNAVAILABLE"),
    ] {
        let response = (api.refuse)(fault);
        assert_eq!(response.status().as_u16(), code);
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("it is small");
        let body: Json = serde_json::from_slice(&body).expect("Google answers JSON");
        assert_eq!(body["error"]["status"], status);
    }
}
