//! What the attributes of Azure's resource types mean, in the spelling of Terraform's azurerm provider 4.

use fleetform_contract::{Attribute, Schema};

pub const RESOURCE_GROUP: &str = "azurerm_resource_group";
pub const CLUSTER: &str = "azurerm_kubernetes_cluster";
pub const NODE_POOL: &str = "azurerm_kubernetes_cluster_node_pool";
pub const REGISTRY: &str = "azurerm_container_registry";
pub const ROLE_ASSIGNMENT: &str = "azurerm_role_assignment";

/// The schema of one of Azure's resource types.
pub fn schema(kind: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.kind == kind)
}

static SCHEMAS: [Schema; 5] = [
    Schema {
        kind: RESOURCE_GROUP,
        partial: false,
        attributes: &[
            Attribute::computed("id"),
            Attribute::ours("name").required().forces_replacement(),
            // Where Azure keeps the group's own record: chosen once. It says nothing of where things
            // run, and moving it would replace everything inside, so a later choice is no difference.
            Attribute::autoscaler("location").required(),
            Attribute::ours("tags"),
        ],
    },
    Schema {
        kind: CLUSTER,
        partial: false,
        attributes: &[
            Attribute::computed("id"),
            Attribute::computed("current_kubernetes_version"),
            Attribute::computed("fqdn"),
            Attribute::computed("kubelet_identity"),
            Attribute::computed("node_resource_group"),
            Attribute::computed("oidc_issuer_url"),
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("location").required().forces_replacement(),
            Attribute::ours("resource_group_name").required().forces_replacement(),
            Attribute::ours("dns_prefix").required().forces_replacement(),
            Attribute::ours("identity").required(),
            Attribute::computed("identity.*.principal_id"),
            Attribute::computed("identity.*.tenant_id"),
            Attribute::ours("default_node_pool").required().forces_replacement(),
            Attribute::ours("default_node_pool.*.node_count").required(),
            // AKS picks a version where the stack names none, and keeps it.
            Attribute::provider_default("kubernetes_version"),
            Attribute::ours("sku_tier"),
            // Once on, it cannot be turned off.
            Attribute::ours("oidc_issuer_enabled").forces_replacement(),
            Attribute::ours("tags"),
        ],
    },
    Schema {
        kind: NODE_POOL,
        partial: false,
        attributes: &[
            Attribute::computed("id"),
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("kubernetes_cluster_id").required().forces_replacement(),
            Attribute::ours("vm_size").required().forces_replacement(),
            Attribute::ours("priority").forces_replacement(),
            Attribute::ours("eviction_policy").forces_replacement(),
            Attribute::ours("spot_max_price").forces_replacement(),
            Attribute::ours("os_disk_size_gb").forces_replacement(),
            Attribute::ours("vnet_subnet_id").forces_replacement(),
            Attribute::ours("zones").forces_replacement(),
            Attribute::autoscaler("node_count"),
            Attribute::provider_default("orchestrator_version"),
            Attribute::ours("auto_scaling_enabled"),
            Attribute::ours("min_count"),
            Attribute::ours("max_count"),
            Attribute::ours("mode"),
            Attribute::ours("node_labels"),
            Attribute::ours("node_taints"),
            Attribute::ours("tags"),
        ],
    },
    Schema {
        kind: REGISTRY,
        partial: false,
        attributes: &[
            Attribute::computed("id"),
            Attribute::computed("login_server"),
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("resource_group_name").required().forces_replacement(),
            // Chosen once: a registry that followed its services would lose every image.
            Attribute::autoscaler("location").required(),
            Attribute::ours("sku").required(),
            Attribute::ours("admin_enabled"),
            Attribute::ours("tags"),
        ],
    },
    Schema {
        kind: ROLE_ASSIGNMENT,
        partial: false,
        attributes: &[
            Attribute::computed("id"),
            Attribute::ours("name").required().forces_replacement(),
            Attribute::ours("scope").required().forces_replacement(),
            Attribute::ours("role_definition_name").required().forces_replacement(),
            Attribute::ours("principal_id").required().forces_replacement(),
            Attribute::ours("principal_type").forces_replacement(),
            Attribute::ours("description").forces_replacement(),
        ],
    },
];
