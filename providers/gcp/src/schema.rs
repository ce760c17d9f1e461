//! What the attributes of Google's resource types mean, in the spelling of Terraform's `google` provider.

use fleetform_contract::{Attribute, Schema};

pub const CLUSTER: &str = "google_container_cluster";
pub const NODE_POOL: &str = "google_container_node_pool";
pub const REPOSITORY: &str = "google_artifact_registry_repository";

/// The schema of a type; `None` for a type that is not Google's.
pub fn schema(kind: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.kind == kind)
}

static SCHEMAS: [Schema; 3] = [
    Schema {
        kind: CLUSTER,
        attributes: &[
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("location").required().forces_replacement(),
            Attribute::ours("project").forces_replacement(),
            Attribute::ours("description").forces_replacement(),
            Attribute::ours("networking_mode").forces_replacement(),
            Attribute::provider_default("subnetwork").forces_replacement(),
            // The pool that Google insists on making with a cluster: it is removed at once, so its size
            // means nothing afterwards.
            Attribute::provider_default("initial_node_count"),
            Attribute::ours("remove_default_node_pool"),
            Attribute::ours("deletion_protection"),
            // Where no version is asked for, the release channel moves it.
            Attribute::provider_default("min_master_version"),
            Attribute::ours("release_channel"),
            Attribute::ours("resource_labels"),
            Attribute::ours("workload_identity_config"),
            Attribute::computed("endpoint"),
            Attribute::computed("master_auth"),
            Attribute::computed("master_version"),
            Attribute::computed("self_link"),
        ],
        partial: false,
    },
    Schema {
        kind: NODE_POOL,
        attributes: &[
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("cluster").required().forces_replacement(),
            Attribute::ours("location").required().forces_replacement(),
            Attribute::ours("project").forces_replacement(),
            // Chosen with the number of nodes when the pool is made; moving them later would move nodes.
            Attribute::autoscaler("node_locations"),
            Attribute::autoscaler("initial_node_count"),
            Attribute::ours("autoscaling"),
            Attribute::ours("management"),
            Attribute::ours("node_config").required().forces_replacement(),
            Attribute { forces_replacement: false, ..Attribute::ours("node_config.*.labels") },
            Attribute { forces_replacement: false, ..Attribute::ours("node_config.*.taint") },
            Attribute {
                forces_replacement: false,
                ..Attribute::ours("node_config.*.resource_labels")
            },
            Attribute {
                forces_replacement: false,
                ..Attribute::ours("node_config.*.disk_size_gb")
            },
            Attribute::computed("instance_group_urls"),
            Attribute::computed("version"),
        ],
        partial: false,
    },
    Schema {
        kind: REPOSITORY,
        attributes: &[
            Attribute::ours("repository_id").required().forces_replacement(),
            Attribute::ours("location").required().forces_replacement(),
            Attribute::ours("project").forces_replacement(),
            Attribute::ours("format").required().forces_replacement(),
            Attribute::ours("mode").forces_replacement(),
            Attribute::ours("description"),
            Attribute::ours("labels"),
            Attribute::ours("docker_config"),
            Attribute::ours("cleanup_policies"),
            Attribute::ours("vulnerability_scanning_config"),
            Attribute::computed("name"),
            Attribute::computed("registry_uri"),
        ],
        partial: false,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_replaced_for_its_hardware_and_changed_in_place_for_the_rest() {
        let schema = schema(NODE_POOL).expect("pools have a schema");
        for (path, replaced) in [
            ("node_config.0.machine_type", true),
            ("node_config.0.spot", true),
            ("node_config.0.guest_accelerator.0.count", true),
            ("node_config.0.labels.team", false),
            ("node_config.0.taint.0.effect", false),
            ("node_config.0.resource_labels.fleetform-stack", false),
            ("autoscaling.0.total_max_node_count", false),
            ("cluster", true),
        ] {
            assert_eq!(schema.forces_replacement(path), replaced, "{path}");
        }
        assert!(super::schema("aws_eks_cluster").is_none());
    }
}
