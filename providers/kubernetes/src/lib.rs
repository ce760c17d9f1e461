//! What runs inside a cluster, on any cloud; clusters that exist already (on-prem, edge); and an
//! emulated Kubernetes API server.
//!
//! - [`workloads`] turns a site into Kubernetes objects: pure.
//! - [`objects`] is one cluster's API: server-side apply through kube, with field manager `fleetform`.
//! - [`provider`] is the cloud kind `kubernetes`: clusters somebody else made.
//! - [`emulator`] is the API server that the sandbox serves.

mod cluster;
pub mod emulator;
mod existing;
mod kinds;
mod kubeconfig;
mod labels;
mod quantity;
mod workloads;

pub use cluster::objects;
pub use existing::{provider, sandboxed};
pub use kinds::schema;
pub use labels::namespace;
pub use workloads::{IGNORABLE, places, protect, protected_by, seats, service_url, workloads};
