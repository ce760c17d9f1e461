//! Nodes of a cluster, from the pools that its cloud has set.

use fleetform_sandbox::NodePool;
use serde_json::{Value as Json, json};

use super::kinds::{self, named};
use super::scheduler::Amounts;
use super::store::Cluster;
use crate::labels::dns_label;

/// Makes nodes follow the pools, and removes pods from nodes that are gone.
pub(super) fn follow_pools(cluster: &mut Cluster) {
    let pools = cluster.table.nodes(cluster.key);
    let fingerprint = json!(pools);
    if cluster.private("nodes") == Some(&fingerprint) {
        return;
    }
    if cluster.private("nodes").is_none() {
        cluster.forget();
        begin(cluster);
    }
    cluster.put_private("nodes", fingerprint);

    let kind = named("Node");
    let mut wanted = Vec::new();
    for (pool, nodes) in &pools {
        for index in 0..nodes.count {
            let node = node(cluster, pool, index, nodes);
            let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            match cluster.get(kind, None, &name).cloned() {
                None => {
                    cluster.put(kind, node);
                }
                // A pool's labels and taints may change under its nodes.
                Some(mut known) => {
                    known["metadata"]["labels"] = node["metadata"]["labels"].clone();
                    known["spec"] = node["spec"].clone();
                    cluster.put(kind, known);
                }
            }
            wanted.push(name);
        }
    }
    let gone: Vec<Json> = cluster
        .list(kind, None, "")
        .into_iter()
        .filter(|node| !wanted.iter().any(|name| node["metadata"]["name"] == *name))
        .cloned()
        .collect();
    for node in &gone {
        cluster.remove(kind, node);
    }
    let pods = named("Pod");
    let stranded: Vec<Json> = cluster
        .list(pods, None, "")
        .into_iter()
        .filter(|pod| gone.iter().any(|node| node["metadata"]["name"] == pod["spec"]["nodeName"]))
        .cloned()
        .collect();
    for pod in &stranded {
        cluster.remove(pods, pod);
    }
    for kind in ["Deployment", "DaemonSet", "StatefulSet", "Job"].map(named) {
        let workloads: Vec<Json> = cluster.list(kind, None, "").into_iter().cloned().collect();
        for workload in &workloads {
            cluster.look_after(kind, workload, 1);
        }
    }
}

/// What a new cluster has.
fn begin(cluster: &mut Cluster) {
    let kind = named("Namespace");
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        if cluster.get(kind, None, name).is_some() {
            continue;
        }
        let metadata = json!({
            "name": name,
            "uid": cluster.uid(kind, None, name),
            "creationTimestamp": cluster.now(),
            "labels": { "kubernetes.io/metadata.name": name },
        });
        cluster.put(
            kind,
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": metadata,
                "spec": { "finalizers": ["kubernetes"] },
                "status": { "phase": "Active" },
            }),
        );
    }
}

fn node(cluster: &Cluster, pool: &str, index: u32, nodes: &NodePool) -> Json {
    let kind = kinds::named("Node");
    let name = format!("{}-{index}", dns_label(pool, 50));
    let region = cluster.key.split('/').nth(1).unwrap_or_default();
    let mut labels = json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": nodes.instance_type,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": format!("{region}-{}", ["a", "b", "c"][index as usize % 3]),
    });
    for (key, value) in &nodes.labels {
        labels[key] = value.as_str().into();
    }
    let mut spec = json!({ "providerID": format!("sandbox:///{}/{name}", cluster.key) });
    if !nodes.taints.is_empty() {
        let taints = nodes.taints.iter();
        spec["taints"] = taints
            .map(|(key, value, effect)| json!({ "key": key, "value": value, "effect": effect }))
            .collect();
    }
    let capacity = capacity(cluster, pool, &nodes.instance_type);
    let now = cluster.now();
    let version = cluster.table.cluster_version(cluster.key).unwrap_or("1.34");
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": cluster.uid(kind, None, &name),
            "creationTimestamp": now,
            "labels": labels,
        },
        "spec": spec,
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
            "addresses": [{ "type": "Hostname", "address": name }],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.0",
                "kernelVersion": "6.8.0", "kubeProxyVersion": "", "machineID": "",
                "kubeletVersion": format!("v{}", version.trim_start_matches('v')),
                "operatingSystem": "linux", "osImage": "Fleetform sandbox", "systemUUID": "",
            },
        },
    })
}

/// What a node has: as its pool declares, else as the catalog says of its type; a type nobody knows
/// has room for anything.
fn capacity(cluster: &Cluster, pool: &str, instance_type: &str) -> Json {
    if let Some(declared) = cluster.private(&format!("capacity/{pool}")) {
        return declared.clone();
    }
    match cluster.catalog.get(instance_type) {
        Some(amounts) => amounts_to_json(amounts),
        None => json!({ "cpu": "1024", "memory": "16Ti", "nvidia.com/gpu": "64", "pods": "110" }),
    }
}

/// Amounts of an offering.
pub(super) fn amounts(gpus: u32, cpus: f64, memory_gib: f64) -> Amounts {
    let mut amounts = Amounts::from([
        ("cpu".to_owned(), (cpus * 1000.0) as i128),
        ("memory".to_owned(), (memory_gib * 1_073_741_824.0) as i128 * 1000),
        ("pods".to_owned(), 110_000),
    ]);
    if gpus > 0 {
        amounts.insert("nvidia.com/gpu".to_owned(), i128::from(gpus) * 1000);
    }
    amounts
}

pub(super) fn amounts_to_json(amounts: &Amounts) -> Json {
    let text = |name: &str, amount: i128| match name {
        "memory" => format!("{}Ki", amount / 1000 / 1024),
        _ if amount % 1000 == 0 => (amount / 1000).to_string(),
        _ => format!("{amount}m"),
    };
    let texts = amounts.iter().map(|(name, amount)| (name.clone(), text(name, *amount).into()));
    Json::Object(texts.collect())
}
