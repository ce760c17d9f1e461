//! What the attributes of AWS resource types mean. Names and nesting are those of the official
//! Terraform provider, version 6.

use fleetform_contract::{Attribute, Schema};

pub const CLUSTER: &str = "aws_eks_cluster";
pub const NODE_GROUP: &str = "aws_eks_node_group";
pub const REPOSITORY: &str = "aws_ecr_repository";
pub const LIFECYCLE_POLICY: &str = "aws_ecr_lifecycle_policy";
pub const ROLE: &str = "aws_iam_role";
pub const ROLE_POLICY_ATTACHMENT: &str = "aws_iam_role_policy_attachment";

/// The schema of a type; `None` for types that are not this cloud's.
pub fn schema(kind: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.kind == kind)
}

static SCHEMAS: [Schema; 6] = [
    Schema {
        kind: CLUSTER,
        attributes: &[
            Attribute::ours("region").required().forces_replacement(),
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("role_arn").required().forces_replacement(),
            Attribute::provider_default("version"),
            Attribute::provider_default("access_config"),
            Attribute::ours("vpc_config").required(),
            // The subnets of the default VPC, where none are named.
            Attribute::provider_default("vpc_config.*.subnet_ids"),
            Attribute::provider_default("vpc_config.*.security_group_ids"),
            Attribute::provider_default("vpc_config.*.public_access_cidrs"),
            Attribute::computed("vpc_config.*.vpc_id"),
            Attribute::computed("vpc_config.*.cluster_security_group_id"),
            Attribute::provider_default("kubernetes_network_config").forces_replacement(),
            Attribute::provider_default("upgrade_policy"),
            Attribute::ours("enabled_cluster_log_types"),
            Attribute::ours("deletion_protection"),
            Attribute::ours("tags"),
            Attribute::computed("arn"),
            Attribute::computed("id"),
            Attribute::computed("endpoint"),
            Attribute::computed("certificate_authority"),
            Attribute::computed("created_at"),
            Attribute::computed("identity"),
            Attribute::computed("platform_version"),
            Attribute::computed("status"),
            // Not Terraform's: which subnets a pool of one zone goes into.
            Attribute::computed("zone_subnet_ids"),
        ],
        partial: false,
    },
    Schema {
        kind: NODE_GROUP,
        attributes: &[
            Attribute::ours("region").required().forces_replacement(),
            Attribute::ours("cluster_name").required().forces_replacement(),
            Attribute::ours("node_group_name").required().forces_replacement(),
            Attribute::ours("node_role_arn").required().forces_replacement(),
            Attribute::ours("subnet_ids").required().forces_replacement(),
            Attribute::ours("instance_types").forces_replacement(),
            Attribute::ours("capacity_type").forces_replacement(),
            Attribute::ours("ami_type").forces_replacement(),
            Attribute::ours("disk_size").forces_replacement(),
            Attribute::ours("scaling_config").required(),
            Attribute::autoscaler("scaling_config.*.desired_size"),
            Attribute::ours("labels"),
            Attribute::ours("taint"),
            Attribute::provider_default("update_config"),
            Attribute::provider_default("version"),
            Attribute::provider_default("release_version"),
            Attribute::ours("tags"),
            Attribute::computed("arn"),
            Attribute::computed("id"),
            Attribute::computed("resources"),
            Attribute::computed("status"),
        ],
        partial: false,
    },
    Schema {
        kind: REPOSITORY,
        attributes: &[
            Attribute::ours("region").required().forces_replacement(),
            Attribute::ours("name").required().forces_replacement(),
            Attribute::provider_default("encryption_configuration").forces_replacement(),
            Attribute::ours("image_tag_mutability"),
            Attribute::ours("image_scanning_configuration"),
            Attribute::ours("force_delete"),
            Attribute::ours("tags"),
            Attribute::computed("arn"),
            Attribute::computed("id"),
            Attribute::computed("registry_id"),
            Attribute::computed("repository_url"),
        ],
        partial: false,
    },
    Schema {
        kind: LIFECYCLE_POLICY,
        attributes: &[
            Attribute::ours("region").required().forces_replacement(),
            Attribute::ours("repository").required().forces_replacement(),
            Attribute::ours("policy").required(),
            Attribute::computed("id"),
            Attribute::computed("registry_id"),
        ],
        partial: false,
    },
    Schema {
        kind: ROLE,
        attributes: &[
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("assume_role_policy").required(),
            Attribute::ours("description"),
            Attribute::provider_default("path").forces_replacement(),
            Attribute::provider_default("max_session_duration"),
            Attribute::ours("tags"),
            Attribute::computed("arn"),
            Attribute::computed("id"),
            Attribute::computed("unique_id"),
            Attribute::computed("create_date"),
        ],
        partial: false,
    },
    Schema {
        kind: ROLE_POLICY_ATTACHMENT,
        attributes: &[
            Attribute::ours("role").required().forces_replacement(),
            Attribute::ours("policy_arn").required().forces_replacement(),
            Attribute::computed("id"),
        ],
        partial: false,
    },
];
