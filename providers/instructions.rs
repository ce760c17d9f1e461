//! How the official clients of each cloud are pointed at the sandbox: lines to copy into a shell.

use fleetform_contract::Cloud;

/// For what runs inside the clusters of any cloud. `keys` are those of the clusters there are.
pub fn clusters(url: &str, clouds: &[Cloud], keys: &[String]) -> String {
    let mut text =
        format!("Kubernetes: every cluster's API server is at {url}/KIND/REGION/CLUSTER\n");
    // Without a kubeconfig of its own kubectl would send this server a user's credentials.
    let kubectl = |key: &str| {
        format!("  kubectl --kubeconfig=/dev/null --server={url}/{key} get all --all-namespaces\n")
    };
    for key in keys {
        text += &kubectl(key);
    }
    if keys.is_empty()
        && let Some(cloud) = clouds.first()
    {
        let region = cloud.regions.first().map_or("local", String::as_str);
        text += &kubectl(&format!("{}/{region}/CLUSTER", cloud.kind));
    }
    text + "\n"
}

/// Nothing but its clusters.
pub fn kubernetes(_cloud: &Cloud, _url: &str) -> String {
    String::new()
}
