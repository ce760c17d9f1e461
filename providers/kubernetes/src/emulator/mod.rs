//! An emulated Kubernetes API server on sandbox objects.

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fleetform_contract::Cloud;
use fleetform_sandbox::{Api, Fault, NodePool, World};

/// The API servers of every cluster that a cloud has opened, each under its key.
pub fn api(_world: &World) -> Api {
    Api { name: "kubernetes", routes: Router::new().fallback(unanswered), refuse }
}

/// Opens a cluster that exists already, with its declared nodes. Opening it again changes nothing but
/// the nodes.
pub fn existing(world: &World, cloud: &Cloud) {
    let key = crate::existing::cluster_key(cloud);
    let version = cloud.cluster.version.as_deref().unwrap_or("1.34");
    world.step(|table| {
        if table.cluster_version(&key).is_none() {
            table.open_cluster(&key, version);
        }
        for group in &cloud.nodes {
            let nodes = NodePool {
                count: group.count,
                instance_type: group.name.clone(),
                ..NodePool::default()
            };
            table.set_nodes(&key, &group.name, &nodes);
        }
    });
}

async fn unanswered() -> Response {
    StatusCode::NOT_IMPLEMENTED.into_response()
}

fn refuse(_fault: Fault) -> Response {
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}
