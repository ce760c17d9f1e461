//! Sites and registries → the objects that AWS must have for them. Pure.
//!
//! Per site a cluster and a node group for each pool; per registry, region and image a repository; and,
//! where the stack names no roles of its own, one role for the clusters and one for the nodes, which
//! all regions share because IAM is global.
//!
//! A pool of the reserved market is an on-demand node group: open capacity reservations, Reserved
//! Instances and Savings Plans apply to it by themselves. Targeted reservations and capacity blocks
//! need a launch template and are not supported.

use fleetform_contract::{
    Address, Attributes, Cloud, Market, Owner, Pool, Registry, Repository, Resource, Site, Value,
};

use crate::attributes::{attributes, block, canonical_json, set};
use crate::schema::{
    CLUSTER, LIFECYCLE_POLICY, NODE_GROUP, REPOSITORY, ROLE, ROLE_POLICY_ATTACHMENT,
};
use crate::text;

/// What control planes may do.
pub const CLUSTER_POLICIES: [&str; 1] = ["AmazonEKSClusterPolicy"];
/// What nodes may do: join, give pods addresses, pull images.
pub const NODE_POLICIES: [&str; 3] =
    ["AmazonEC2ContainerRegistryReadOnly", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"];
/// Every role that Fleetform makes is named so: IAM lists roles by name, not by tag.
pub const ROLE_PREFIX: &str = "fleetform-";

/// GiB of a node's root volume: images with CUDA and model servers are large.
const DISK_GIB: u32 = 50;
const GPU_DISK_GIB: u32 = 100;

/// Every object for these sites and registries, ordered by address. What belongs to other clouds is
/// passed over.
pub fn resources(
    cloud: &Cloud,
    sites: &[Site],
    registries: &[Registry],
    owner: &Owner,
) -> Vec<Resource> {
    let expansion = Expansion { cloud, owner };
    let mut resources = Vec::new();
    let sites: Vec<&Site> = sites.iter().filter(|site| site.cloud == cloud.name).collect();
    if let Some(site) = sites.first() {
        resources.extend(expansion.roles(site));
    }
    for site in sites {
        resources.push(expansion.cluster(site));
        resources.extend(site.pools.iter().map(|pool| expansion.node_group(site, pool)));
    }
    for registry in registries.iter().filter(|registry| registry.cloud == cloud.name) {
        for region in &registry.regions {
            for repository in &registry.repositories {
                resources.extend(expansion.repository(registry, region, repository));
            }
        }
    }
    resources.sort_by(|a, b| a.address.cmp(&b.address));
    resources
}

pub fn cluster_address(cloud: &Cloud, region: &str) -> Address {
    Address::keyed(CLUSTER, cloud.resource_name(), region)
}

/// The attachment of a policy to a role, from the role's address and the policy's last name.
pub fn attachment_address(role: &Address, policy: &str) -> Address {
    let key = role.key.as_ref().map_or(policy.to_owned(), |key| format!("{key}/{policy}"));
    Address::keyed(ROLE_POLICY_ATTACHMENT, &role.name, key)
}

/// The role of clusters or of nodes: which one, who assumes it and what it may do.
struct RoleKind {
    key: &'static str,
    service: &'static str,
    description: &'static str,
    policies: &'static [&'static str],
}

const CLUSTER_ROLE: RoleKind = RoleKind {
    key: "cluster",
    service: "eks.amazonaws.com",
    description: "EKS control planes made by Fleetform",
    policies: &CLUSTER_POLICIES,
};
const NODE_ROLE: RoleKind = RoleKind {
    key: "node",
    service: "ec2.amazonaws.com",
    description: "EKS nodes made by Fleetform",
    policies: &NODE_POLICIES,
};

struct Expansion<'a> {
    cloud: &'a Cloud,
    owner: &'a Owner,
}

impl Expansion<'_> {
    fn roles(&self, site: &Site) -> Vec<Resource> {
        let settings = &self.cloud.cluster;
        let kinds = [
            (CLUSTER_ROLE, settings.cluster_role_arn.is_none()),
            (NODE_ROLE, settings.node_role_arn.is_none()),
        ];
        let wanted = kinds.into_iter().filter(|(_, wanted)| *wanted);
        wanted.flat_map(|(kind, _)| self.role(&kind, site)).collect()
    }

    fn role(&self, kind: &RoleKind, site: &Site) -> Vec<Resource> {
        let address = self.role_address(kind);
        let name = role_name(&site.cluster, &self.cloud.name, kind.key);
        let trust = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Action": "sts:AssumeRole",
                "Effect": "Allow",
                "Principal": { "Service": kind.service },
            }],
        });
        let role = attributes([
            ("name", name.as_str().into()),
            ("assume_role_policy", canonical_json(&trust.to_string()).into()),
            ("description", kind.description.into()),
            ("path", "/".into()),
            ("tags", self.tags(&address)),
        ]);
        let mut resources = vec![self.resource(address.clone(), role, Vec::new())];
        for policy in kind.policies {
            let partition = text::partition(&site.region);
            let attachment = attributes([
                ("role", name.as_str().into()),
                ("policy_arn", format!("arn:{partition}:iam::aws:policy/{policy}").into()),
            ]);
            let at = attachment_address(&address, policy);
            resources.push(self.resource(at, attachment, vec![address.clone()]));
        }
        resources
    }

    fn cluster(&self, site: &Site) -> Resource {
        let settings = &self.cloud.cluster;
        let address = cluster_address(self.cloud, &site.region);
        let (role_arn, depends_on) = self.role_arn(&CLUSTER_ROLE, &settings.cluster_role_arn);
        let cluster = attributes([
            ("region", site.region.as_str().into()),
            ("name", site.cluster.as_str().into()),
            ("role_arn", role_arn),
            ("version", settings.version.clone().into()),
            // Access entries for new tools, the `aws-auth` map for old ones.
            ("access_config", block([("authentication_mode", "API_AND_CONFIG_MAP".into())])),
            (
                "vpc_config",
                block([
                    ("subnet_ids", set(Some(&settings.subnet_ids))),
                    // Nodes talk to the control plane inside the VPC; we reach it from outside.
                    ("endpoint_private_access", true.into()),
                    ("endpoint_public_access", true.into()),
                ]),
            ),
            ("tags", self.tags(&address)),
        ]);
        self.resource(address, cluster, depends_on)
    }

    fn node_group(&self, site: &Site, pool: &Pool) -> Resource {
        let settings = &self.cloud.cluster;
        let offering = &pool.offering;
        let key = format!("{}/{}", site.region, pool.key());
        let address = Address::keyed(NODE_GROUP, self.cloud.resource_name(), key);
        let cluster = cluster_address(self.cloud, &site.region);
        let (role_arn, mut depends_on) = self.role_arn(&NODE_ROLE, &settings.node_role_arn);
        depends_on.insert(0, cluster.clone());
        let subnet_ids = match (&offering.zone, set(Some(&settings.subnet_ids))) {
            // Only AWS knows in which zone a subnet is.
            (Some(zone), _) => Value::unknown(&cluster, format!("zone_subnet_ids.{zone}")),
            (None, Value::Null) => Value::unknown(&cluster, "vpc_config.0.subnet_ids"),
            (None, subnets) => subnets,
        };
        let has_gpu = offering.gpus > 0;
        // EKS refuses a largest size of 0, and a desired size outside of the bounds.
        let max_nodes = pool.max_nodes.max(pool.nodes).max(1);
        let min_nodes = pool.min_nodes.min(max_nodes);
        let scaling = block([
            ("desired_size", pool.nodes.clamp(min_nodes, max_nodes).into()),
            ("max_size", max_nodes.into()),
            ("min_size", min_nodes.into()),
        ]);
        let gpu_taint = block([
            ("key", "nvidia.com/gpu".into()),
            ("value", "present".into()),
            ("effect", "NO_SCHEDULE".into()),
        ]);
        let group = attributes([
            ("region", site.region.as_str().into()),
            ("cluster_name", site.cluster.as_str().into()),
            ("node_group_name", text::fit(&pool.slug(), 63).into()),
            ("node_role_arn", role_arn),
            ("subnet_ids", subnet_ids),
            ("version", settings.version.clone().into()),
            ("instance_types", Value::list([offering.instance_type.as_str()])),
            ("capacity_type", capacity_type(offering.market).into()),
            ("ami_type", ami_type(&offering.architecture, has_gpu).into()),
            ("disk_size", if has_gpu { GPU_DISK_GIB } else { DISK_GIB }.into()),
            ("scaling_config", scaling),
            ("update_config", block([("max_unavailable", 1.into())])),
            ("labels", Value::map([("fleetform.dev/pool", pool.slug().into())])),
            ("taint", if has_gpu { gpu_taint } else { Value::Null }),
            ("tags", self.tags(&address)),
        ]);
        self.resource(address, group, depends_on)
    }

    fn repository(
        &self,
        registry: &Registry,
        region: &str,
        repository: &Repository,
    ) -> Vec<Resource> {
        let key = format!("{region}/{}/{}", registry.name, repository.image);
        let address = Address::keyed(REPOSITORY, self.cloud.resource_name(), &key);
        let name = repository_name(&self.owner.stack, &registry.name, &repository.image);
        let mutability = if registry.immutable_tags { "IMMUTABLE" } else { "MUTABLE" };
        let scanning = block([("scan_on_push", registry.scan_on_push.into())]);
        let attributes_ = attributes([
            ("region", region.into()),
            ("name", name.as_str().into()),
            ("image_tag_mutability", mutability.into()),
            ("image_scanning_configuration", scanning),
            ("force_delete", true.into()),
            ("tags", self.tags(&address)),
        ]);
        let mut resources = vec![self.resource(address.clone(), attributes_, Vec::new())];
        if let Some(keep) = registry.keep_images {
            let policy = serde_json::json!({ "rules": [{
                "rulePriority": 1,
                "description": format!("Keep the newest {keep} images"),
                "selection": {
                    "tagStatus": "any",
                    "countType": "imageCountMoreThan",
                    "countNumber": keep,
                },
                "action": { "type": "expire" },
            }]});
            let policy = attributes([
                ("region", region.into()),
                ("repository", name.into()),
                ("policy", canonical_json(&policy.to_string()).into()),
            ]);
            let at = Address::keyed(LIFECYCLE_POLICY, self.cloud.resource_name(), key);
            resources.push(self.resource(at, policy, vec![address]));
        }
        resources
    }

    fn resource(
        &self,
        address: Address,
        attributes: Attributes,
        depends_on: Vec<Address>,
    ) -> Resource {
        let cloud = self.cloud.name.clone();
        Resource { address, cloud, site: None, attributes, depends_on }
    }

    /// A role's ARN and what must exist before it can be used: the named role, else ours.
    fn role_arn(&self, kind: &RoleKind, named: &Option<String>) -> (Value, Vec<Address>) {
        if let Some(arn) = named {
            return (arn.into(), Vec::new());
        }
        let role = self.role_address(kind);
        let attachments = kind.policies.iter().map(|policy| attachment_address(&role, policy));
        let depends_on = [role.clone()].into_iter().chain(attachments).collect();
        (Value::unknown(&role, "arn"), depends_on)
    }

    fn role_address(&self, kind: &RoleKind) -> Address {
        Address::keyed(ROLE, self.cloud.resource_name(), kind.key)
    }

    fn tags(&self, address: &Address) -> Value {
        Value::map(text::owner_tags(self.owner, address).map(|(key, value)| (key, value.into())))
    }
}

/// Named after the clusters, whose names differ by environment: IAM has one name for a whole account. It
/// allows 64 characters: letters, digits and `_+=,.@-`.
fn role_name(cluster: &str, cloud: &str, kind: &str) -> String {
    let name = format!("{ROLE_PREFIX}{cluster}-{cloud}-{kind}");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let plain: String = name.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    text::fit(&plain, 64)
}

/// ECR allows lower-case letters and digits, with single `.`, `_`, `-` and `/` between them.
fn repository_name(stack: &str, registry: &str, image: &str) -> String {
    let part = |text: &str| {
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        if words.is_empty() { "x".to_owned() } else { words.join("-") }
    };
    text::fit(&format!("{}/{}/{}", part(stack), part(registry), part(image)), 256)
}

fn capacity_type(market: Market) -> &'static str {
    match market {
        Market::Spot => "SPOT",
        Market::OnDemand | Market::Reserved => "ON_DEMAND",
    }
}

fn ami_type(architecture: &str, has_gpu: bool) -> &'static str {
    match (architecture, has_gpu) {
        ("arm64", false) => "AL2023_ARM_64_STANDARD",
        ("arm64", true) => "AL2023_ARM_64_NVIDIA",
        (_, false) => "AL2023_x86_64_STANDARD",
        (_, true) => "AL2023_x86_64_NVIDIA",
    }
}
