//! A replica count walks from HCL to the wire: through the program, into the request bodies that the
//! emulated EKS, GKE, AKS and Kubernetes APIs get.

mod common;

use common::Place;
use fleetform_providers::sandbox::{self, Request, Running};
use serde_json::Value;

/// Six replicas, at most a third on one cloud, each on a node with one GPU.
const STACK: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
cloud "gcp" { regions = ["us-central1"] }
cloud "azure" { regions = ["eastus"] }
image "chat" { source = "ghcr.io/acme/chat:1.4.2" }
service "chat" {
  image    = image.chat
  replicas = 6
  port     = 8080
  resources {
    gpus      = 1
    gpu_types = ["L4", "T4"]
  }
  placement {
    spread {
      over      = "cloud"
      max_share = 0.34
    }
  }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_count_walks_from_hcl_to_the_wire() {
    let place = Place::with(STACK);
    let world = place.path().join(".fleetform/sandbox/world");
    let clouds = sandbox::serve(&world, 1, &[], 0).await.expect("the sandbox starts");

    let made = apply(&place, &clouds, 0).await;
    let group = only(&made, "aws", "POST", |path| path.ends_with("/node-groups"));
    assert_eq!(group["scalingConfig"]["desiredSize"], 2);
    let pool = only(&made, "gcp", "POST", |path| path.contains("/nodePools"));
    assert_eq!(nodes(&pool["nodePool"], &pool["nodePool"], "initialNodeCount"), 2);
    let pool = only(&made, "azure", "PUT", |path| path.contains("/agentPools/"));
    assert_eq!(pool["properties"]["count"], 2);
    assert_eq!(deployments(&made), [2, 2, 2]);

    place.edit("replicas = 6", "replicas = 9");
    let changed = apply(&place, &clouds, made.len()).await;
    let group = only(&changed, "aws", "POST", |path| path.ends_with("/update-config"));
    assert_eq!(group["scalingConfig"]["desiredSize"], 3);
    // A pool is told its zones and how many nodes each of them has.
    let zones = only(&changed, "gcp", "PUT", |path| path.contains("/nodePools/"));
    let size = only(&changed, "gcp", "POST", |path| path.ends_with(":setSize"));
    assert_eq!(nodes(zones, size, "nodeCount"), 3);
    let pool = only(&changed, "azure", "PUT", |path| path.contains("/agentPools/"));
    assert_eq!(pool["properties"]["count"], 3);
    assert_eq!(deployments(&changed), [3, 3, 3]);
    place.run("plan -sandbox -detailed-exitcode stack").ends(0);
}

/// One of nine replicas in a zone, three on a cloud: a pool in each of three zones, everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_walks_from_hcl_to_the_wire() {
    let rule = "spread {\n      over      = \"zone\"\n      max_share = 0.12\n    }\n    spread {";
    let stack = STACK.replace("replicas = 6", "replicas = 9").replacen("spread {", rule, 1);
    let place = Place::with(&stack);
    let world = place.path().join(".fleetform/sandbox/world");
    let clouds = sandbox::serve(&world, 1, &[], 0).await.expect("the sandbox starts");

    let made = apply(&place, &clouds, 0).await;
    let zones = |api: &str, method: &str, part: &str, pointer: &str| -> Vec<String> {
        let mut zones = Vec::new();
        for request in made.iter().filter(|request| {
            request.api == api && request.method == method && request.path.contains(part)
        }) {
            let of_pool = request.body.pointer(pointer).and_then(Value::as_array);
            let [zone] = of_pool.expect("zones").as_slice() else { panic!("{:#}", request.body) };
            zones.push(zone.as_str().expect("a text").to_owned());
        }
        zones.sort();
        zones.dedup();
        zones
    };
    // Subnets are in one zone each.
    assert_eq!(zones("aws", "POST", "/node-groups", "/subnets").len(), 3);
    let expected = ["a", "b", "c"].map(|letter| format!("us-central1-{letter}"));
    assert_eq!(zones("gcp", "POST", "/nodePools", "/nodePool/locations"), expected);
    let expected = ["1", "2", "3"];
    assert_eq!(zones("azure", "PUT", "/agentPools/", "/properties/availabilityZones"), expected);

    let pods = made.iter().filter(|request| {
        request.api == "kubernetes"
            && request.method == "PATCH"
            && request.path.contains("/deployments/chat")
    });
    let constraints: Vec<&Value> = pods
        .map(|request| &request.body["spec"]["template"]["spec"]["topologySpreadConstraints"][0])
        .collect();
    assert_eq!(constraints.len(), 3);
    for constraint in constraints {
        let expected = serde_json::json!({
            "maxSkew": 1,
            "minDomains": 100,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app.kubernetes.io/name": "chat" } },
            "matchLabelKeys": ["pod-template-hash"],
        });
        assert_eq!(*constraint, expected);
    }
    // What `kubectl get nodes -L topology.kubernetes.io/zone` shows.
    let world = clouds.world().expect("it is in this process");
    let zones: Vec<String> = world.step(|table| {
        let pools = table.list("kubernetes/nodes", "").map(|(_, pool)| pool.body["labels"].clone());
        let labels = pools.flat_map(|labels| labels.as_array().cloned().unwrap_or_default());
        let zones = labels.filter(|label| label[0] == "topology.kubernetes.io/zone");
        zones.map(|label| label[1].as_str().unwrap_or_default().to_owned()).collect()
    });
    let distinct: std::collections::BTreeSet<&String> = zones.iter().collect();
    assert_eq!((zones.len(), distinct.len()), (9, 9), "{zones:?}");
    place.run("plan -sandbox -detailed-exitcode stack").ends(0);
}

/// Applies the stack through the program; gives the requests that the clouds got meanwhile.
async fn apply(place: &Place, clouds: &Running, seen: usize) -> Vec<Request> {
    place.run("apply -sandbox -auto-approve stack").ends(0);
    clouds.requests().await.expect("the sandbox tells").split_off(seen)
}

/// The body of the one request of this kind.
#[track_caller]
fn only<'a>(
    requests: &'a [Request],
    api: &str,
    method: &str,
    is_it: impl Fn(&str) -> bool,
) -> &'a Value {
    let path = |request: &Request| request.path.split('?').next().unwrap_or("").to_owned();
    let found: Vec<&Request> = requests
        .iter()
        .filter(|request| request.api == api && request.method == method && is_it(&path(request)))
        .collect();
    let asked = || {
        let asked = requests.iter().filter(|request| request.method != "GET");
        asked.map(|r| format!("{} {} {}", r.api, r.method, r.path)).collect::<Vec<_>>()
    };
    assert_eq!(found.len(), 1, "{:#?}", asked());
    &found[0].body
}

/// The nodes of a pool that is told how many each of its zones has.
fn nodes(zones: &Value, size: &Value, count: &str) -> u64 {
    let zones = zones["locations"].as_array().map_or(0, Vec::len) as u64;
    size[count].as_u64().expect("a count") * zones
}

/// The replicas that each cluster was told of, in the order of the requests.
fn deployments(requests: &[Request]) -> Vec<u64> {
    let applied = requests.iter().filter(|request| {
        request.api == "kubernetes"
            && request.method == "PATCH"
            && request.path.contains("/deployments/chat")
    });
    applied.map(|request| request.body["spec"]["replicas"].as_u64().expect("a count")).collect()
}
