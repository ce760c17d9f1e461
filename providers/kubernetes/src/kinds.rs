//! The kinds of objects we make: where the API keeps them and what their attributes mean.

use fleetform_contract::{Attribute, Schema};

/// One kind: our name for it and the API's.
pub(crate) struct Kind {
    /// `kubernetes_deployment`.
    pub name: &'static str,
    pub api_version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
    pub schema: Schema,
}

/// The kind of this name, where it is one of ours.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// What the attributes of a `kubernetes_*` type mean; `None` for types that are not made here.
///
/// Attributes are the manifest. All schemas are partial: under server-side apply only the fields we
/// name are ours.
pub fn schema(name: &str) -> Option<&'static Schema> {
    kind(name).map(|kind| &kind.schema)
}

impl Kind {
    /// The API group, empty for the core group.
    pub fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// `deployments.apps`, as RBAC and error messages spell it.
    pub fn resource(&self) -> String {
        match self.group() {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// The URL path of the collection, or of one object in it.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let root = if self.group().is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.api_version);
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path += &format!("/namespaces/{namespace}");
        }
        path += &format!("/{}", self.plural);
        if let Some(name) = name {
            path += &format!("/{name}");
        }
        path
    }
}

/// The attributes that every kind has: its identity cannot be changed.
macro_rules! kinds {
    ($($name:literal = $api_version:literal $kind:literal $plural:literal namespaced $namespaced:literal
        [$($attribute:expr),* $(,)?];)*) => {
        /// Every kind we make, namespaces first.
        pub(crate) static KINDS: &[Kind] = &[$(Kind {
            name: $name,
            api_version: $api_version,
            kind: $kind,
            plural: $plural,
            namespaced: $namespaced,
            schema: Schema {
                kind: $name,
                attributes: &[
                    Attribute::ours("apiVersion").required(),
                    Attribute::ours("kind").required().forces_replacement(),
                    Attribute::ours("metadata.name").required().forces_replacement(),
                    Attribute::ours("metadata.namespace").forces_replacement(),
                    $($attribute),*
                ],
                partial: true,
            },
        }),*];
    };
}

kinds! {
    "kubernetes_namespace" = "v1" "Namespace" "namespaces" namespaced false [];
    "kubernetes_secret" = "v1" "Secret" "secrets" namespaced true [
        Attribute::ours("stringData").sensitive(),
        Attribute::ours("data").sensitive(),
        Attribute::ours("type").forces_replacement(),
    ];
    "kubernetes_service" = "v1" "Service" "services" namespaced true [
        Attribute::provider_default("spec.clusterIP").forces_replacement(),
    ];
    "kubernetes_deployment" = "apps/v1" "Deployment" "deployments" namespaced true [
        Attribute::ours("spec.selector").required().forces_replacement(),
    ];
    "kubernetes_daemon_set" = "apps/v1" "DaemonSet" "daemonsets" namespaced true [
        Attribute::ours("spec.selector").required().forces_replacement(),
    ];
    "kubernetes_horizontal_pod_autoscaler" = "autoscaling/v2" "HorizontalPodAutoscaler"
        "horizontalpodautoscalers" namespaced true [];
    "kubernetes_pod_disruption_budget" = "policy/v1" "PodDisruptionBudget" "poddisruptionbudgets"
        namespaced true [];
    "kubernetes_job" = "batch/v1" "Job" "jobs" namespaced true [
        Attribute::ours("spec.template").required().forces_replacement(),
        Attribute::ours("spec.completions").forces_replacement(),
        Attribute::ours("spec.parallelism").forces_replacement(),
        Attribute::ours("spec.completionMode").forces_replacement(),
        Attribute::ours("spec.podFailurePolicy").forces_replacement(),
    ];
    "kubernetes_cron_job" = "batch/v1" "CronJob" "cronjobs" namespaced true [
        Attribute::ours("spec.schedule").required(),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_apis_own() {
        let path = |name: &str, namespace, object| kind(name).expect(name).path(namespace, object);
        assert_eq!(
            path("kubernetes_deployment", Some("ns"), Some("chat")),
            "/apis/apps/v1/namespaces/ns/deployments/chat"
        );
        assert_eq!(path("kubernetes_namespace", None, Some("ns")), "/api/v1/namespaces/ns");
        assert_eq!(path("kubernetes_secret", None, None), "/api/v1/secrets");
    }

    #[test]
    fn what_cannot_be_changed_in_place_forces_replacement() {
        for (kind, attribute, forces) in [
            ("kubernetes_deployment", "spec.selector.matchLabels.app", true),
            ("kubernetes_deployment", "spec.template.spec.containers.0.image", false),
            ("kubernetes_deployment", "metadata.name", true),
            ("kubernetes_deployment", "metadata.labels.team", false),
            ("kubernetes_job", "spec.template.spec.containers.0.image", true),
            ("kubernetes_job", "spec.backoffLimit", false),
            ("kubernetes_service", "spec.clusterIP", true),
            ("kubernetes_service", "spec.ports.0.port", false),
        ] {
            let schema = schema(kind).expect(kind);
            assert_eq!(schema.forces_replacement(attribute), forces, "{kind} {attribute}");
            assert!(schema.partial);
        }
        assert!(schema("kubernetes_secret").expect("known").sensitive("stringData.TOKEN"));
        assert!(schema("aws_eks_cluster").is_none());
    }
}
