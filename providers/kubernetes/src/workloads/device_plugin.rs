//! NVIDIA's device plugin: what makes a node's GPUs known to its cluster.

use fleetform_contract::{Address, Site, Value};
use serde_json::json;

use super::{APP_NAME, IntoValue};

pub(super) const NAME: &str = "nvidia-device-plugin";
pub(super) const NAMESPACE: &str = "kube-system";
const IMAGE: &str = "nvcr.io/nvidia/k8s-device-plugin:v0.17.4";

/// Clusters whose cloud installs drivers and plugin itself.
const INSTALLED_BY_THE_CLOUD: [&str; 1] = ["google_container_cluster"];

/// Whether this site needs the plugin from us. In clusters that exist already it is not ours to make.
pub(super) fn needed(site: &Site, cluster: Option<&Address>) -> bool {
    let installed = |cluster: &Address| INSTALLED_BY_THE_CLOUD.contains(&cluster.kind.as_str());
    cluster.is_some_and(|cluster| !installed(cluster))
        && site.pools.iter().any(|pool| pool.offering.gpus > 0)
}

pub(super) fn spec() -> Value {
    let labels = json!({ APP_NAME: NAME });
    json!({
        "selector": { "matchLabels": labels },
        "updateStrategy": { "type": "RollingUpdate" },
        "template": {
            "metadata": { "labels": labels },
            "spec": {
                "priorityClassName": "system-node-critical",
                "affinity": { "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{
                        "matchExpressions": [{ "key": super::labels::POOL, "operator": "Exists" }],
                    }] },
                } },
                // It must run wherever a GPU is, whatever keeps others away.
                "tolerations": [{ "operator": "Exists" }],
                "containers": [{
                    "name": NAME,
                    "image": IMAGE,
                    "env": [
                        // Nodes without a GPU only wait; they do not fail.
                        { "name": "FAIL_ON_INIT_ERROR", "value": "false" },
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                    },
                    "volumeMounts": [{
                        "name": "device-plugin", "mountPath": "/var/lib/kubelet/device-plugins",
                    }],
                }],
                "volumes": [{
                    "name": "device-plugin",
                    "hostPath": { "path": "/var/lib/kubelet/device-plugins" },
                }],
            },
        },
    })
    .into_value()
}
