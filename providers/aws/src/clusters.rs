//! `aws_eks_cluster`: EKS control planes.

use std::collections::BTreeMap;

use aws_sdk_eks::operation::create_cluster::builders::CreateClusterFluentBuilder;
use aws_sdk_eks::operation::update_cluster_config::builders::UpdateClusterConfigFluentBuilder;
use aws_sdk_eks::types::{
    AuthenticationMode, Cluster, ClusterStatus, CreateAccessConfigRequest, LogSetup, LogType,
    Logging, SupportType, Update, UpdateAccessConfigRequest, UpdateStatus, UpgradePolicyRequest,
    VpcConfigRequest,
};
use fleetform_contract::{Attributes, Error, KubeAccess, Remote, Resource, Result, Value};

use crate::attributes::{
    attributes, block, check_ours, flag, hash_map, map_of, required, set, tag_changes, text,
    text_map, texts, time, tree_map,
};
use crate::errors::{code, message, translate};
use crate::text::mark;
use crate::transport::{Clients, Operation};

/// Zones that cannot hold a control plane (from the EKS user guide, "Subnet requirements").
const ZONES_WITHOUT_EKS: [&str; 3] = ["use1-az3", "usw1-az2", "cac1-az3"];
/// Looks at a new role before it must have reached every part of AWS.
const ROLE_ROUNDS: u32 = 12;
const LOG_TYPES: [&str; 5] = ["api", "audit", "authenticator", "controllerManager", "scheduler"];

pub async fn read(clients: &Clients, name: &str) -> Result<Option<Remote>> {
    match describe(clients, name).await? {
        Some(cluster) => observed(clients, &cluster).await.map(Some),
        None => Ok(None),
    }
}

/// Makes the cluster and waits until it is active.
pub async fn create(operation: &Operation<'_>, desired: &Resource) -> Result<Remote> {
    let clients = operation.clients;
    let name = required(&desired.attributes, "name")?;
    let request = creation(clients, desired).await?;
    let patience = operation.patience();
    let (mut attempt, mut role_rounds) = (1, 0);
    loop {
        let token = operation.client_token(&format!("create-{attempt}"));
        let Err(error) = request.clone().client_request_token(token).send().await else { break };
        if code(&error) == "ResourceInUseException" {
            let Some(found) = describe(clients, name).await? else {
                continue;
            };
            check_ours(&format!("the cluster `{name}`"), &tree_map(found.tags()), desired)?;
            match found.status() {
                Some(ClusterStatus::Deleting) => await_gone(operation, name).await?,
                Some(ClusterStatus::Failed) => delete(operation, name).await?,
                _ => break,
            }
            attempt += 1;
        } else if role_is_new(code(&error), message(&error)) && role_rounds < ROLE_ROUNDS {
            role_rounds += 1;
            operation.report("waiting for the role");
            patience.pause("the role's way to EKS").await?;
        } else {
            return Err(translate(error));
        }
    }
    match await_active(operation, name).await {
        Ok(cluster) => observed(clients, &cluster).await,
        // What failed to start can never start: nothing is left behind.
        Err(Failure::Failed(error)) => delete(operation, name).await.and(Err(error)),
        Err(Failure::Other(error)) => Err(error),
    }
}

/// Changes what differs, one call after the other: EKS takes one kind of change at a time.
pub async fn update(operation: &Operation<'_>, desired: &Resource) -> Result<Remote> {
    let clients = operation.clients;
    let name = required(&desired.attributes, "name")?;
    let now = await_active(operation, name).await?;
    let seen = remote(&clients.region, &now).attributes;
    let want = &desired.attributes;

    let (add, remove) = tag_changes(&tree_map(now.tags()), &text_map(want, "tags"));
    let arn = now.arn().unwrap_or_default();
    if !add.is_empty() {
        let call = clients.eks.tag_resource().resource_arn(arn).set_tags(Some(hash_map(add)));
        call.send().await.map_err(translate)?;
    }
    if !remove.is_empty() {
        let call = clients.eks.untag_resource().resource_arn(arn).set_tag_keys(Some(remove));
        call.send().await.map_err(translate)?;
    }

    let differs = |path: &str| {
        crate::attributes::at(want, path)
            .is_some_and(|want| crate::attributes::at(&seen, path) != Some(want))
    };
    if let Some(version) = text(want, "version") {
        for step in version_steps(now.version().unwrap_or_default(), version) {
            let token = operation.client_token(&format!("version-{step}"));
            let call = clients.eks.update_cluster_version().name(name).version(&step);
            let answer = call.client_request_token(token).send().await.map_err(translate)?;
            await_update(operation, name, None, answer.update()).await?;
        }
    }
    let endpoints = ["endpoint_private_access", "endpoint_public_access", "public_access_cidrs"];
    if endpoints.iter().any(|name| differs(&format!("vpc_config.0.{name}"))) {
        let vpc = VpcConfigRequest::builder()
            .set_endpoint_private_access(flag(want, "vpc_config.0.endpoint_private_access"))
            .set_endpoint_public_access(flag(want, "vpc_config.0.endpoint_public_access"))
            .set_public_access_cidrs(texts(want, "vpc_config.0.public_access_cidrs"))
            .build();
        configure(operation, name, "endpoints", |call| call.resources_vpc_config(vpc)).await?;
    }
    if differs("vpc_config.0.subnet_ids") || differs("vpc_config.0.security_group_ids") {
        let vpc = VpcConfigRequest::builder()
            .set_subnet_ids(texts(want, "vpc_config.0.subnet_ids"))
            .set_security_group_ids(texts(want, "vpc_config.0.security_group_ids"))
            .build();
        configure(operation, name, "subnets", |call| call.resources_vpc_config(vpc)).await?;
    }
    let logs = texts(want, "enabled_cluster_log_types").unwrap_or_default();
    if set(Some(&logs)) != set(texts(&seen, "enabled_cluster_log_types").as_deref()) {
        configure(operation, name, "logging", |call| call.logging(logging(&logs))).await?;
    }
    if let Some(mode) = text(want, "access_config.0.authentication_mode")
        && differs("access_config.0.authentication_mode")
    {
        let access = UpdateAccessConfigRequest::builder()
            .authentication_mode(AuthenticationMode::from(mode))
            .build();
        configure(operation, name, "access", |call| call.access_config(access)).await?;
    }
    if let Some(support) = text(want, "upgrade_policy.0.support_type")
        && differs("upgrade_policy.0.support_type")
    {
        let policy =
            UpgradePolicyRequest::builder().support_type(SupportType::from(support)).build();
        configure(operation, name, "upgrades", |call| call.upgrade_policy(policy)).await?;
    }
    let protection = flag(want, "deletion_protection").unwrap_or_default();
    if protection != flag(&seen, "deletion_protection").unwrap_or_default() {
        configure(operation, name, "protection", |call| call.deletion_protection(protection))
            .await?;
    }
    observed(clients, &await_active(operation, name).await?).await
}

/// Removes the cluster and waits until it is gone.
pub async fn delete(operation: &Operation<'_>, name: &str) -> Result<()> {
    let clients = operation.clients;
    let patience = operation.patience();
    loop {
        let Some(cluster) = describe(clients, name).await? else { return Ok(()) };
        match cluster.status() {
            Some(ClusterStatus::Deleting) => return await_gone(operation, name).await,
            // EKS deletes nothing that it is still making.
            Some(ClusterStatus::Creating | ClusterStatus::Updating | ClusterStatus::Pending) => {
                operation.report(status(&cluster));
                patience.pause(&format!("what runs on the cluster `{name}`")).await?;
            }
            _ => match clients.eks.delete_cluster().name(name).send().await {
                Ok(_) => return await_gone(operation, name).await,
                Err(error) if is_missing(code(&error)) => return Ok(()),
                Err(error) => return Err(translate(error)),
            },
        }
    }
}

/// Every cluster of the region, as it is.
pub async fn list(clients: &Clients) -> Result<Vec<Cluster>> {
    let mut names = Vec::new();
    let mut next = None;
    loop {
        let page = clients.eks.list_clusters().set_next_token(next).send().await;
        let page = page.map_err(translate)?;
        names.extend_from_slice(page.clusters());
        next = page.next_token().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    let mut clusters = Vec::new();
    for name in names {
        clusters.extend(describe(clients, &name).await?);
    }
    Ok(clusters)
}

/// The address that a cluster's tags name, where they name this owner.
pub fn mark_of(cluster: &Cluster, stack: &str) -> Option<fleetform_contract::Mark> {
    mark(stack, |key| Some(cluster.tags()?.get(key)?.as_str()))
}

/// A token for the cluster's API server, good for a quarter of an hour: a signed question to STS,
/// which the server asks to learn who we are.
pub async fn access(clients: &Clients, name: &str, base: Option<&str>) -> Result<KubeAccess> {
    let Some(cluster) = describe(clients, name).await? else {
        return Err(Error::rejected(format!("the cluster `{name}` does not exist")));
    };
    let url = clients.query.presigned_identity(("x-k8s-aws-id", name)).await?;
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, url);
    let token = Some(format!("k8s-aws-v1.{encoded}"));
    if let Some(base) = base {
        let server = format!("{}/aws/{}/{name}", base.trim_end_matches('/'), clients.region);
        return Ok(KubeAccess {
            server,
            certificate_authority: None,
            token,
            client_certificate: None,
        });
    }
    let server = cluster.endpoint().ok_or_else(|| Error::Conflict {
        message: format!("the cluster `{name}` has no endpoint yet: it is {}", status(&cluster)),
    })?;
    let authority = cluster.certificate_authority().and_then(|authority| authority.data());
    let authority = authority
        .and_then(|data| base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).ok())
        .and_then(|pem| String::from_utf8(pem).ok());
    Ok(KubeAccess {
        server: server.to_owned(),
        certificate_authority: authority,
        token,
        client_certificate: None,
    })
}

/// The cluster with its subnets by zone (`use1-az1`), for pools that are to be in one zone. Whoever may
/// not ask EC2 does without.
pub async fn observed(clients: &Clients, cluster: &Cluster) -> Result<Remote> {
    let mut remote = remote(&clients.region, cluster);
    let subnets = cluster.resources_vpc_config().map(|vpc| vpc.subnet_ids()).unwrap_or_default();
    if subnets.is_empty() {
        return Ok(remote);
    }
    let named = subnets.iter().zip(1..);
    let named: Vec<(String, String)> =
        named.map(|(id, number)| (format!("SubnetId.{number}"), id.clone())).collect();
    let answer =
        match clients.query.call("ec2", "DescribeSubnets", &named).await.map_err(Error::from) {
            Err(Error::Denied { .. } | Error::Rejected { .. }) => return Ok(remote),
            answer => answer?,
        };
    let mut by_zone: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for subnet in answer.items("subnetSet") {
        if let (Some(zone), Some(id)) = (subnet.text("availabilityZoneId"), subnet.text("subnetId"))
        {
            by_zone.entry(zone.to_owned()).or_default().push(id.to_owned());
        }
    }
    let by_zone = by_zone.into_iter().map(|(zone, ids)| (zone, set(Some(&ids))));
    remote.attributes.insert("zone_subnet_ids".to_owned(), Value::map(by_zone));
    Ok(remote)
}

/// The cluster's attributes in Terraform's layout.
pub fn remote(region: &str, cluster: &Cluster) -> Remote {
    let vpc = cluster.resources_vpc_config();
    let vpc_config = vpc.map(|vpc| {
        block([
            ("subnet_ids", set(vpc.subnet_ids.as_deref())),
            ("security_group_ids", set(vpc.security_group_ids.as_deref())),
            ("public_access_cidrs", set(vpc.public_access_cidrs.as_deref())),
            ("endpoint_private_access", vpc.endpoint_private_access().into()),
            ("endpoint_public_access", vpc.endpoint_public_access().into()),
            ("vpc_id", vpc.vpc_id().into()),
            ("cluster_security_group_id", vpc.cluster_security_group_id().into()),
        ])
    });
    let mode = cluster.access_config().and_then(|access| access.authentication_mode());
    let access = mode.map(|mode| block([("authentication_mode", mode.as_str().into())]));
    let support = cluster.upgrade_policy().and_then(|policy| policy.support_type());
    let upgrade = support.map(|support| block([("support_type", support.as_str().into())]));
    let network = cluster.kubernetes_network_config().map(|network| {
        block([
            ("service_ipv4_cidr", network.service_ipv4_cidr().into()),
            ("service_ipv6_cidr", network.service_ipv6_cidr().into()),
            ("ip_family", network.ip_family().map(|family| family.as_str()).into()),
        ])
    });
    let enabled = cluster.logging().map(|logging| logging.cluster_logging()).unwrap_or_default();
    let enabled = enabled.iter().filter(|setup| setup.enabled() == Some(true));
    let logs: Vec<String> =
        enabled.flat_map(|setup| setup.types()).map(|kind| kind.as_str().to_owned()).collect();
    let issuer = cluster.identity().and_then(|identity| identity.oidc()).map(|oidc| oidc.issuer());
    let identity = issuer.map(|issuer| block([("oidc", block([("issuer", issuer.into())]))]));
    let authority = cluster.certificate_authority().and_then(|authority| authority.data());
    let attributes = attributes([
        ("region", region.into()),
        ("name", cluster.name().into()),
        ("role_arn", cluster.role_arn().into()),
        ("version", cluster.version().into()),
        ("access_config", access.into()),
        ("vpc_config", vpc_config.into()),
        ("kubernetes_network_config", network.into()),
        ("upgrade_policy", upgrade.into()),
        ("enabled_cluster_log_types", set(Some(&logs))),
        ("deletion_protection", cluster.deletion_protection().filter(|on| *on).into()),
        ("tags", map_of(cluster.tags())),
        ("arn", cluster.arn().into()),
        ("id", cluster.name().into()),
        ("endpoint", cluster.endpoint().unwrap_or_default().into()),
        ("certificate_authority", block([("data", authority.unwrap_or_default().into())])),
        ("created_at", time(cluster.created_at())),
        ("identity", identity.unwrap_or_else(|| Value::List(Vec::new()))),
        ("platform_version", cluster.platform_version().unwrap_or_default().into()),
        ("status", status(cluster).into()),
    ]);
    Remote { id: cluster.arn().unwrap_or_default().to_owned(), attributes }
}

/// Waits for an update of a cluster or, where one is named, of a node group.
pub async fn await_update(
    operation: &Operation<'_>,
    cluster: &str,
    node_group: Option<&str>,
    update: Option<&Update>,
) -> Result<()> {
    // EKS answers no update where there was nothing to do.
    let Some(id) = update.and_then(Update::id) else { return Ok(()) };
    let patience = operation.patience();
    loop {
        let look = operation.clients.eks.describe_update().name(cluster).update_id(id);
        let look = look.set_nodegroup_name(node_group.map(str::to_owned));
        let answer = look.send().await.map_err(translate)?;
        let update = answer.update();
        match update.and_then(Update::status) {
            Some(UpdateStatus::Successful) => return Ok(()),
            Some(UpdateStatus::Failed | UpdateStatus::Cancelled) => {
                let errors = update.map(Update::errors).unwrap_or_default();
                let texts = errors.iter().map(|error| {
                    let code = error.error_code().map_or("Failed", |code| code.as_str());
                    format!("{code}: {}", error.error_message().unwrap_or_default())
                });
                let text = texts.collect::<Vec<_>>().join("; ");
                return Err(Error::rejected(format!("the update did not succeed: {text}")));
            }
            _ => {}
        }
        operation.report("UPDATING");
        patience.pause(&format!("the update of `{}`", node_group.unwrap_or(cluster))).await?;
    }
}

/// Whether EKS refuses a role that was made a moment ago: IAM tells the rest of AWS with a delay.
pub fn role_is_new(code: &str, message: &str) -> bool {
    let message = message.to_lowercase();
    matches!(code, "InvalidParameterException" | "InvalidRequestException")
        && message.contains("role")
        && ["does not exist", "assume", "managed policies", "policy must include", "not authorized"]
            .iter()
            .any(|phrase| message.contains(phrase))
}

pub fn is_missing(code: &str) -> bool {
    code == "ResourceNotFoundException" || code == "NotFoundException"
}

enum Failure {
    /// It will never be ready.
    Failed(Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Failed(error) | Failure::Other(error) => error,
        }
    }
}

async fn describe(clients: &Clients, name: &str) -> Result<Option<Cluster>> {
    match clients.eks.describe_cluster().name(name).send().await {
        Ok(answer) => Ok(answer.cluster),
        Err(error) if is_missing(code(&error)) => Ok(None),
        Err(error) => Err(translate(error)),
    }
}

/// The request for a new cluster, in the subnets that are named or in the default VPC's.
async fn creation(clients: &Clients, desired: &Resource) -> Result<CreateClusterFluentBuilder> {
    let want = &desired.attributes;
    let subnets = match texts(want, "vpc_config.0.subnet_ids") {
        Some(subnets) => subnets,
        None => default_subnets(clients).await?,
    };
    let vpc = VpcConfigRequest::builder()
        .set_subnet_ids(Some(subnets))
        .set_security_group_ids(texts(want, "vpc_config.0.security_group_ids"))
        .set_endpoint_private_access(flag(want, "vpc_config.0.endpoint_private_access"))
        .set_endpoint_public_access(flag(want, "vpc_config.0.endpoint_public_access"))
        .set_public_access_cidrs(texts(want, "vpc_config.0.public_access_cidrs"))
        .build();
    let access = text(want, "access_config.0.authentication_mode").map(|mode| {
        let mode = AuthenticationMode::from(mode);
        CreateAccessConfigRequest::builder().authentication_mode(mode).build()
    });
    let upgrade = text(want, "upgrade_policy.0.support_type").map(|support| {
        UpgradePolicyRequest::builder().support_type(SupportType::from(support)).build()
    });
    let logs = texts(want, "enabled_cluster_log_types").filter(|types| !types.is_empty());
    Ok(clients
        .eks
        .create_cluster()
        .name(required(want, "name")?)
        .role_arn(required(want, "role_arn")?)
        .set_version(text(want, "version").map(str::to_owned))
        .resources_vpc_config(vpc)
        .set_access_config(access)
        .set_upgrade_policy(upgrade)
        .set_logging(logs.map(|types| logging(&types)))
        .set_deletion_protection(flag(want, "deletion_protection"))
        .set_tags(Some(hash_map(text_map(want, "tags")))))
}

/// The default VPC's subnets in zones that can hold a control plane.
async fn default_subnets(clients: &Clients) -> Result<Vec<String>> {
    let filter = [("Filter.1.Name", "default-for-az"), ("Filter.1.Value.1", "true")];
    let filter = filter.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = clients.query.call("ec2", "DescribeSubnets", &filter).await?;
    let usable = answer.items("subnetSet").iter().filter(|subnet| {
        let zone = subnet.text("availabilityZoneId").unwrap_or_default();
        !ZONES_WITHOUT_EKS.contains(&zone)
    });
    let mut subnets: Vec<String> =
        usable.filter_map(|subnet| subnet.text("subnetId")).map(str::to_owned).collect();
    subnets.sort();
    if subnets.len() < 2 {
        return Err(Error::rejected(format!(
            "{} has no default VPC with subnets in two zones: name some with the cloud's \
             `cluster.subnet_ids`",
            clients.region
        )));
    }
    Ok(subnets)
}

async fn configure(
    operation: &Operation<'_>,
    name: &str,
    what: &str,
    fill: impl FnOnce(UpdateClusterConfigFluentBuilder) -> UpdateClusterConfigFluentBuilder,
) -> Result<()> {
    let token = operation.client_token(&format!("config-{what}"));
    let call = operation.clients.eks.update_cluster_config().name(name);
    let call = fill(call.client_request_token(token));
    let answer = call.send().await.map_err(translate)?;
    await_update(operation, name, None, answer.update()).await
}

/// These types on, all others off.
fn logging(types: &[String]) -> Logging {
    let kinds = |enabled: bool| {
        let of = LOG_TYPES.iter().filter(|kind| types.iter().any(|on| on == *kind) == enabled);
        of.map(|kind| LogType::from(*kind)).collect::<Vec<_>>()
    };
    let setups = [true, false].map(|enabled| {
        LogSetup::builder().enabled(enabled).set_types(Some(kinds(enabled))).build()
    });
    let setups = setups.into_iter().filter(|setup| !setup.types().is_empty());
    Logging::builder().set_cluster_logging(Some(setups.collect())).build()
}

/// EKS goes up one minor version at a time.
fn version_steps(from: &str, to: &str) -> Vec<String> {
    let minor = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some((major.to_owned(), minor.parse::<u32>().ok()?))
    };
    match (minor(from), minor(to)) {
        _ if from == to => Vec::new(),
        (Some((major, old)), Some((same, new))) if major == same && old < new => {
            (old + 1..=new).map(|minor| format!("{major}.{minor}")).collect()
        }
        _ => vec![to.to_owned()],
    }
}

async fn await_active(
    operation: &Operation<'_>,
    name: &str,
) -> std::result::Result<Cluster, Failure> {
    let patience = operation.patience();
    loop {
        let Some(cluster) = describe(operation.clients, name).await? else {
            return Err(Error::lost(format!("the cluster `{name}` is not there")).into());
        };
        match cluster.status() {
            Some(ClusterStatus::Active) => return Ok(cluster),
            Some(ClusterStatus::Failed) => {
                let issues = cluster.health().map(|health| health.issues()).unwrap_or_default();
                let texts = issues.iter().map(|issue| {
                    let code = issue.code().map_or("Failed", |code| code.as_str());
                    format!("{code}: {}", issue.message().unwrap_or_default())
                });
                let text = texts.collect::<Vec<_>>().join("; ");
                let error = Error::rejected(format!("the cluster `{name}` failed: {text}"));
                return Err(Failure::Failed(error));
            }
            Some(ClusterStatus::Deleting) => {
                let message = format!("the cluster `{name}` is being deleted");
                return Err(Error::Conflict { message }.into());
            }
            _ => {}
        }
        operation.report(status(&cluster));
        patience.pause(&format!("the cluster `{name}`")).await?;
    }
}

async fn await_gone(operation: &Operation<'_>, name: &str) -> Result<()> {
    let patience = operation.patience();
    while let Some(cluster) = describe(operation.clients, name).await? {
        operation.report(status(&cluster));
        patience.pause(&format!("the deletion of the cluster `{name}`")).await?;
    }
    Ok(())
}

fn status(cluster: &Cluster) -> &str {
    cluster.status().map_or("UNKNOWN", ClusterStatus::as_str)
}

/// The cluster's name: as recorded or desired, else the end of its id.
pub fn name_in(attributes: &Attributes, id: Option<&str>) -> Result<String> {
    let id = id.and_then(|id| id.rsplit('/').next());
    let name = text(attributes, "name").or(id);
    name.map(str::to_owned).ok_or_else(|| Error::rejected("the attribute `name` is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_go_one_minor_at_a_time() {
        for (from, to, steps) in [
            ("1.31", "1.33", vec!["1.32", "1.33"]),
            ("1.33", "1.33", vec![]),
            ("1.33", "1.32", vec!["1.32"]),
            ("", "1.32", vec!["1.32"]),
        ] {
            assert_eq!(version_steps(from, to), steps, "{from} to {to}");
        }
    }

    #[test]
    fn new_roles_are_waited_for() {
        let code = "InvalidParameterException";
        assert!(role_is_new(code, "Role with arn: arn:aws:iam::1:role/x, could not be assumed"));
        assert!(role_is_new(code, "The role arn:aws:iam::1:role/x does not exist"));
        assert!(!role_is_new(code, "The subnet ID 'subnet-1' does not exist"));
        assert!(!role_is_new("AccessDeniedException", "role does not exist"));
    }
}
