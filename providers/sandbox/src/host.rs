//! Serves the emulators on loopback.

use std::collections::BTreeMap;

use axum::Router;
use axum::response::Response;

use crate::{Fault, FaultPlan, World};

/// One cloud's emulated API: its own listener.
pub struct Api {
    /// `aws`, `gcp`, `azure`, `kubernetes`.
    pub name: &'static str,
    pub routes: Router,
    /// The cloud's own answer to a refused request.
    pub refuse: fn(Fault) -> Response,
}

/// A running sandbox. Dropping it ends it.
pub struct Served {
    /// Base URL (`http://127.0.0.1:PORT`) by API.
    pub urls: BTreeMap<&'static str, String>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Serves each API on its port (0 for any), in the same order.
pub async fn serve(
    _world: &World,
    apis: Vec<(Api, u16)>,
    _faults: FaultPlan,
) -> std::io::Result<Served> {
    let mut urls = BTreeMap::new();
    let mut tasks = Vec::new();
    for (api, port) in apis {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        urls.insert(api.name, format!("http://{}", listener.local_addr()?));
        tasks.push(tokio::spawn(async move {
            // Serving ends with the task; an accept error is retried inside.
            let _ = axum::serve(listener, api.routes).await;
        }));
    }
    Ok(Served { urls, tasks })
}

impl Drop for Served {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
