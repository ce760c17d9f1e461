//! The kinds the emulated API server knows, and their types.

use k8s_openapi::api;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

/// One resource of the API.
#[derive(Debug)]
pub(super) struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub short: &'static [&'static str],
    pub namespaced: bool,
    /// Whether `metadata.generation` counts the changes of the spec.
    pub generation: bool,
    /// Whether it has a `/status` of its own.
    pub status: bool,
    /// Whether it has a `/scale`.
    pub scale: bool,
    /// Whether `kubectl get all` shows it.
    pub all: bool,
    /// Reads an object as the API's type and writes it again: what is not declared gets lost.
    pub round_trip: fn(&Json) -> Result<Json, String>,
}

impl Kind {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `deployments.apps`, as messages spell it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Deployment.apps`, as messages of invalid objects spell it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }

    pub fn singular(&self) -> String {
        self.kind.to_lowercase()
    }
}

fn round_trip<T: DeserializeOwned + Serialize>(json: &Json) -> Result<Json, String> {
    let typed: T = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// The kind with this group, version and plural.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind with this name; names are unique in the table but for events.
pub(super) fn named(kind: &str) -> &'static Kind {
    let found = KINDS.iter().find(|known| known.kind == kind);
    found.unwrap_or_else(|| panic!("{kind} is in the table of kinds"))
}

/// Groups with their version, in the order of the table.
pub(super) fn groups() -> Vec<(&'static str, &'static str)> {
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for kind in KINDS {
        if !groups.contains(&(kind.group, kind.version)) {
            groups.push((kind.group, kind.version));
        }
    }
    groups
}

macro_rules! kinds {
    ($($group:literal $version:literal $kind:literal $plural:literal [$($short:literal),*]
       $type:ty { $($flag:ident),* };)*) => {
        pub(super) static KINDS: &[Kind] = &[$({
            #[allow(unused_mut, reason = "not every kind has flags")]
            let mut kind = Kind {
                group: $group,
                version: $version,
                kind: $kind,
                plural: $plural,
                short: &[$($short),*],
                namespaced: false,
                generation: false,
                status: false,
                scale: false,
                all: false,
                round_trip: round_trip::<$type>,
            };
            $(kind.$flag = true;)*
            kind
        }),*];
    };
}

kinds! {
    "" "v1" "Namespace" "namespaces" ["ns"] api::core::v1::Namespace { status };
    "" "v1" "Node" "nodes" ["no"] api::core::v1::Node { status };
    "" "v1" "Pod" "pods" ["po"] api::core::v1::Pod { namespaced, status, all };
    "" "v1" "Service" "services" ["svc"] api::core::v1::Service { namespaced, status, all };
    "" "v1" "ConfigMap" "configmaps" ["cm"] api::core::v1::ConfigMap { namespaced };
    "" "v1" "Secret" "secrets" [] api::core::v1::Secret { namespaced };
    "" "v1" "Event" "events" ["ev"] api::core::v1::Event { namespaced };
    "" "v1" "ServiceAccount" "serviceaccounts" ["sa"] api::core::v1::ServiceAccount { namespaced };
    "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" ["pvc"]
        api::core::v1::PersistentVolumeClaim { namespaced, status };
    "" "v1" "ResourceQuota" "resourcequotas" ["quota"] api::core::v1::ResourceQuota { namespaced, status };
    "" "v1" "LimitRange" "limitranges" ["limits"] api::core::v1::LimitRange { namespaced };
    "apps" "v1" "Deployment" "deployments" ["deploy"]
        api::apps::v1::Deployment { namespaced, generation, status, scale, all };
    "apps" "v1" "ReplicaSet" "replicasets" ["rs"]
        api::apps::v1::ReplicaSet { namespaced, generation, status, scale, all };
    "apps" "v1" "DaemonSet" "daemonsets" ["ds"]
        api::apps::v1::DaemonSet { namespaced, generation, status, all };
    "apps" "v1" "StatefulSet" "statefulsets" ["sts"]
        api::apps::v1::StatefulSet { namespaced, generation, status, scale, all };
    "batch" "v1" "Job" "jobs" [] api::batch::v1::Job { namespaced, generation, status, all };
    "batch" "v1" "CronJob" "cronjobs" ["cj"]
        api::batch::v1::CronJob { namespaced, generation, status, all };
    "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" ["hpa"]
        api::autoscaling::v2::HorizontalPodAutoscaler { namespaced, status, all };
    "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" ["pdb"]
        api::policy::v1::PodDisruptionBudget { namespaced, generation, status };
    "networking.k8s.io" "v1" "Ingress" "ingresses" ["ing"]
        api::networking::v1::Ingress { namespaced, generation, status };
    "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" ["netpol"]
        api::networking::v1::NetworkPolicy { namespaced, generation };
    "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" []
        api::discovery::v1::EndpointSlice { namespaced };
    "coordination.k8s.io" "v1" "Lease" "leases" [] api::coordination::v1::Lease { namespaced };
    "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" [] api::rbac::v1::ClusterRole {};
    "rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" []
        api::rbac::v1::ClusterRoleBinding {};
    "rbac.authorization.k8s.io" "v1" "Role" "roles" [] api::rbac::v1::Role { namespaced };
    "rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" []
        api::rbac::v1::RoleBinding { namespaced };
}
