//! GKE clusters: `google_container_cluster`.

use std::collections::HashMap;
use std::future::Future;

use base64::Engine;
use fleetform_contract::{
    Attributes, Error, KubeAccess, Progress, Record, Reference, Remote, Resource, Result, Value,
};
use google_cloud_container_v1::client::ClusterManager;
use google_cloud_container_v1::model::{
    Cluster, ClusterUpdate, IPAllocationPolicy, ReleaseChannel, WorkloadIdentityConfig, cluster,
    release_channel,
};
use google_cloud_gax::error::Error as SdkError;
use google_cloud_gax::error::rpc::Code;

use crate::attributes::{block, flag, number, our_map, present, text, text_map, text_or_empty};
use crate::transport::{Look, Transport, error, has_code};

/// The pool that Google makes with a cluster made without pools.
const DEFAULT_POOL: &str = "default-pool";

pub async fn read(transport: &Transport, reference: Reference<'_>) -> Result<Option<Remote>> {
    let name = name_of(transport, reference)?;
    let client = transport.container().await?;
    let found = get(client, &name).await.map_err(error)?;
    Ok(found.map(|cluster| remote(&name, &cluster, reference.attributes)))
}

/// Whether it is being removed.
pub async fn is_leaving(transport: &Transport, reference: Reference<'_>) -> Result<bool> {
    let name = name_of(transport, reference)?;
    let found = get(transport.container().await?, &name).await.map_err(error)?;
    Ok(found.is_some_and(|cluster| is_in(&cluster, &[cluster::Status::Stopping])))
}

pub async fn create(
    transport: &Transport,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let name = name_of(transport, desired.reference())?;
    let location = text_or_empty(&desired.attributes, "location");
    let client = transport.container().await?;
    let _turn = transport.turn(&name).await;
    loop {
        let request = client
            .create_cluster()
            .set_parent(transport.parent(&location)?)
            .set_cluster(wanted(&desired.attributes));
        match request.send().await {
            Ok(operation) => {
                if let Err(failure) = transport.finish(&location, operation, progress).await {
                    let removal = remove(transport, &name, progress);
                    return Err(clean_up(&name, failure, removal).await);
                }
            }
            Err(failure) if has_code(&failure, Code::AlreadyExists) => {
                if !resume(transport, &name, desired, progress).await? {
                    continue;
                }
            }
            Err(failure) => return Err(error(failure)),
        }
        break;
    }
    if flag(&desired.attributes, "remove_default_node_pool") {
        remove_default_pool(transport, &name, &location, progress).await?;
    }
    let made = get(client, &name).await.map_err(error)?;
    let made = made.ok_or_else(|| Error::lost(format!("{name} was made and is not there")))?;
    Ok(remote(&name, &made, &desired.attributes))
}

/// Goes on with a cluster that exists when it should be created: `true` when it is ours and runs now,
/// `false` when what was left of it is gone and it must be created anew.
async fn resume(
    transport: &Transport,
    name: &str,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<bool> {
    let client = transport.container().await?;
    let Some(found) = get(client, name).await.map_err(error)? else { return Ok(false) };
    if !carries(&found.resource_labels, &desired.attributes, "resource_labels") {
        return Err(Error::rejected(format!(
            "{name} exists already and does not carry the labels of {}: name the cluster otherwise \
             with `cluster {{ name = \"…\" }}`, or import it",
            desired.address
        )));
    }
    let look = || {
        let found = get(client, name);
        async move {
            Ok(match found.await? {
                Some(cluster) if is_in(&cluster, &[cluster::Status::Provisioning]) => {
                    Look::Still(phase(&cluster))
                }
                other => Look::Over(other),
            })
        }
    };
    let settled = transport.watch(name, progress, look).await?;
    let usable =
        [cluster::Status::Running, cluster::Status::Reconciling, cluster::Status::Degraded];
    match settled {
        Some(cluster) if is_in(&cluster, &usable) => Ok(true),
        // A creation that failed leaves a cluster in error, which no call repairs.
        Some(_) => {
            remove(transport, name, progress).await?;
            Ok(false)
        }
        None => Ok(false),
    }
}

pub async fn update(
    transport: &Transport,
    record: &Record,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let name = name_of(transport, record.reference())?;
    let location = text_or_empty(&desired.attributes, "location");
    let client = transport.container().await?;
    let _turn = transport.turn(&name).await;
    let now = get(client, &name).await.map_err(error)?;
    let now = now.ok_or_else(|| Error::rejected(format!("{name} does not exist any more")))?;
    let wanted = wanted(&desired.attributes);

    let seen = remote(&name, &now, &desired.attributes).attributes;
    let differs = |attribute: &str| seen.get(attribute) != desired.attributes.get(attribute);
    if differs("resource_labels") {
        // What Google's controllers added stays: this call replaces all labels.
        let googles =
            now.resource_labels.iter().filter(|(key, _)| crate::attributes::is_googles(key));
        let labels: HashMap<String, String> = googles
            .chain(&wanted.resource_labels)
            .map(|(key, text)| (key.clone(), text.clone()))
            .collect();
        let request = client
            .set_labels()
            .set_name(&name)
            .set_resource_labels(labels)
            .set_label_fingerprint(&now.label_fingerprint);
        let operation = request.send().await.map_err(error)?;
        transport.finish(&location, operation, progress).await?;
    }
    // Google takes one change a call.
    let mut updates = Vec::new();
    if differs("release_channel")
        && let Some(channel) = wanted.release_channel
    {
        updates.push(ClusterUpdate::new().set_desired_release_channel(channel));
    }
    if let Some(version) = text(&desired.attributes, "min_master_version")
        && !at_least(&now.current_master_version, version)
    {
        updates.push(ClusterUpdate::new().set_desired_master_version(version));
    }
    if differs("workload_identity_config") {
        let config = wanted.workload_identity_config.unwrap_or_default();
        updates.push(ClusterUpdate::new().set_desired_workload_identity_config(config));
    }
    for update in updates {
        let request = client.update_cluster().set_name(&name).set_update(update);
        let operation = request.send().await.map_err(error)?;
        transport.finish(&location, operation, progress).await?;
    }
    if flag(&desired.attributes, "remove_default_node_pool") {
        remove_default_pool(transport, &name, &location, progress).await?;
    }
    let now = get(client, &name).await.map_err(error)?;
    let now = now.ok_or_else(|| Error::lost(format!("{name} was updated and is not there")))?;
    Ok(remote(&name, &now, &desired.attributes))
}

pub async fn delete(transport: &Transport, record: &Record, progress: &dyn Progress) -> Result<()> {
    if flag(&record.attributes, "deletion_protection") {
        return Err(Error::rejected(format!(
            "{} has deletion_protection: turn it off first",
            record.address
        )));
    }
    let name = name_of(transport, record.reference())?;
    let _turn = transport.turn(&name).await;
    remove(transport, &name, progress).await
}

/// Removes the cluster and waits until it is gone; the caller has the turn.
async fn remove(transport: &Transport, name: &str, progress: &dyn Progress) -> Result<()> {
    let client = transport.container().await?;
    let Some(found) = get(client, name).await.map_err(error)? else { return Ok(()) };
    if !is_in(&found, &[cluster::Status::Stopping]) {
        match client.delete_cluster().set_name(name).send().await {
            Ok(operation) => transport.finish(&found.location, operation, progress).await?,
            Err(failure) if has_code(&failure, Code::NotFound) => return Ok(()),
            Err(failure) => return Err(error(failure)),
        }
    }
    let look = || {
        let found = get(client, name);
        async move {
            Ok(match found.await? {
                Some(cluster) => Look::Still(phase(&cluster)),
                None => Look::Over(()),
            })
        }
    };
    transport.watch(name, progress, look).await
}

/// Every cluster of the project, with its pools, by its full name.
pub async fn all(transport: &Transport) -> Result<Vec<(String, Cluster)>> {
    let client = transport.container().await?;
    let answer = client.list_clusters().set_parent(transport.parent("-")?).send().await;
    let clusters = answer.map_err(error)?.clusters;
    let named = clusters.into_iter().map(|cluster| {
        let name = format!("{}/clusters/{}", transport.parent(&cluster.location)?, cluster.name);
        Ok((name, cluster))
    });
    named.collect()
}

/// How to reach the cluster's API server.
pub async fn access(transport: &Transport, region: &str, record: &Record) -> Result<KubeAccess> {
    let name = name_of(transport, record.reference())?;
    let token = transport.token().await?;
    if let Some(base) = transport.kubernetes() {
        let short = name.rsplit('/').next().unwrap_or_default();
        let server = format!("{}/gcp/{region}/{short}", base.trim_end_matches('/'));
        return Ok(KubeAccess {
            server,
            certificate_authority: None,
            token,
            client_certificate: None,
        });
    }
    let client = transport.container().await?;
    let found = get(client, &name).await.map_err(error)?;
    let found = found.ok_or_else(|| Error::rejected(format!("{name} does not exist")))?;
    if found.endpoint.is_empty() {
        return Err(Error::Conflict { message: format!("{name} has no endpoint yet") });
    }
    Ok(KubeAccess {
        server: format!("https://{}", found.endpoint),
        certificate_authority: authority(&found),
        token,
        client_certificate: None,
    })
}

/// As the API reports a cluster, in Terraform's words. `asked` is what we asked for, recorded or desired: it
/// decides how things are spelled that have several spellings (`1.33` and `1.33.5-gke.1`).
pub fn remote(name: &str, cluster: &Cluster, asked: &Attributes) -> Remote {
    let project = name.split('/').nth(1).unwrap_or_default();
    let aliases = cluster.ip_allocation_policy.as_ref().is_some_and(|policy| policy.use_ip_aliases);
    let subnetwork = match text(asked, "subnetwork") {
        Some(asked) if asked.rsplit('/').next() == Some(cluster.subnetwork.as_str()) => asked,
        _ => &cluster.subnetwork,
    };
    let version = text(asked, "min_master_version").map(|asked| {
        let satisfied = at_least(&cluster.current_master_version, asked);
        if satisfied { asked } else { &cluster.current_master_version }
    });
    let channel = cluster.release_channel.as_ref().and_then(|channel| channel.channel.name());
    let identity = cluster.workload_identity_config.as_ref();
    let identity = identity.filter(|config| !config.workload_pool.is_empty());
    let authority = cluster.master_auth.as_ref().map(|auth| &auth.cluster_ca_certificate);
    let has_default_pool = cluster.node_pools.iter().any(|pool| pool.name == DEFAULT_POOL);
    let attributes = present([
        ("name", (&cluster.name).into()),
        ("location", (&cluster.location).into()),
        ("project", project.into()),
        ("description", some(&cluster.description)),
        ("networking_mode", if aliases { "VPC_NATIVE" } else { "ROUTES" }.into()),
        ("subnetwork", some(subnetwork)),
        // Neither is kept by the API.
        ("initial_node_count", number(asked, "initial_node_count").unwrap_or(1).into()),
        ("deletion_protection", flag(asked, "deletion_protection").into()),
        ("remove_default_node_pool", (!has_default_pool).into()),
        ("min_master_version", version.into()),
        ("release_channel", channel.map(|name| block([("channel", name.into())])).into()),
        ("resource_labels", our_map(&cluster.resource_labels)),
        (
            "workload_identity_config",
            identity.map(|i| block([("workload_pool", (&i.workload_pool).into())])).into(),
        ),
        ("endpoint", some(&cluster.endpoint)),
        (
            "master_auth",
            authority.map(|pem| block([("cluster_ca_certificate", pem.into())])).into(),
        ),
        ("master_version", some(&cluster.current_master_version)),
        ("self_link", some(&cluster.self_link)),
    ]);
    Remote { id: name.to_owned(), attributes }
}

/// The full name: the recorded one, else made of the attributes.
fn name_of(transport: &Transport, reference: Reference<'_>) -> Result<String> {
    if let Some(id) = reference.id {
        return Ok(id.to_owned());
    }
    let location = reference.text("location").unwrap_or_default();
    let name = reference.text("name").unwrap_or_default();
    Ok(format!("{}/clusters/{name}", transport.parent(location)?))
}

async fn get(
    client: &ClusterManager,
    name: &str,
) -> std::result::Result<Option<Cluster>, SdkError> {
    match client.get_cluster().set_name(name).send().await {
        Ok(cluster) => Ok(Some(cluster)),
        Err(failure) if has_code(&failure, Code::NotFound) => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[expect(deprecated, reason = "Terraform's initial_node_count is this field")]
fn wanted(attributes: &Attributes) -> Cluster {
    let mut cluster = Cluster::new()
        .set_name(text_or_empty(attributes, "name"))
        .set_description(text_or_empty(attributes, "description"))
        .set_initial_node_count(number(attributes, "initial_node_count").unwrap_or(1))
        .set_initial_cluster_version(text_or_empty(attributes, "min_master_version"))
        .set_subnetwork(text_or_empty(attributes, "subnetwork"))
        .set_resource_labels(text_map(attributes, "resource_labels"));
    if text(attributes, "networking_mode") == Some("VPC_NATIVE") {
        let policy = IPAllocationPolicy::new().set_use_ip_aliases(true);
        cluster = cluster.set_ip_allocation_policy(policy);
    }
    if let Some(channel) = text(attributes, "release_channel.0.channel") {
        let channel = release_channel::Channel::from(channel);
        cluster = cluster.set_release_channel(ReleaseChannel::new().set_channel(channel));
    }
    if let Some(pool) = text(attributes, "workload_identity_config.0.workload_pool") {
        let config = WorkloadIdentityConfig::new().set_workload_pool(pool);
        cluster = cluster.set_workload_identity_config(config);
    }
    cluster
}

async fn remove_default_pool(
    transport: &Transport,
    cluster: &str,
    location: &str,
    progress: &dyn Progress,
) -> Result<()> {
    let client = transport.container().await?;
    let name = format!("{cluster}/nodePools/{DEFAULT_POOL}");
    match client.delete_node_pool().set_name(name).send().await {
        Ok(operation) => transport.finish(location, operation, progress).await,
        Err(failure) if has_code(&failure, Code::NotFound) => Ok(()),
        Err(failure) => Err(error(failure)),
    }
}

/// After a creation that failed for good: what is left of it is removed, so that nothing stays behind
/// that no record knows. Where the outcome is not known, nothing is touched.
pub async fn clean_up(
    name: &str,
    failure: Error,
    removal: impl Future<Output = Result<()>>,
) -> Error {
    if !matches!(failure, Error::NoCapacity { .. } | Error::Rejected { .. }) {
        return failure;
    }
    match (removal.await, failure) {
        (Ok(()), failure) => failure,
        (Err(other), Error::NoCapacity { message }) => Error::NoCapacity {
            message: format!(
                "{message}; {name} is still there, because its removal failed: {other}"
            ),
        },
        (Err(other), failure) => Error::rejected(format!(
            "{failure}; {name} is still there, because its removal failed: {other}"
        )),
    }
}

/// Whether an object has every label that we would have given it.
pub fn carries(labels: &HashMap<String, String>, desired: &Attributes, path: &str) -> bool {
    let ours = text_map(desired, path);
    ours.iter()
        .filter(|(key, _)| key.starts_with("fleetform-"))
        .all(|(key, text)| labels.get(key) == Some(text))
}

fn is_in(cluster: &Cluster, states: &[cluster::Status]) -> bool {
    states.contains(&cluster.status)
}

fn phase(cluster: &Cluster) -> String {
    cluster.status.name().unwrap_or_default().to_owned()
}

/// Google gives the certificate in base64 around the PEM.
fn authority(cluster: &Cluster) -> Option<String> {
    let encoded = &cluster.master_auth.as_ref()?.cluster_ca_certificate;
    let pem = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(pem).ok().filter(|pem| !pem.is_empty())
}

/// Whether a version (`1.33.5-gke.1080000`) is the wanted one (`1.33`) or a later one.
fn at_least(version: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let parts = text.split(['.', '-']).filter_map(|part| part.parse().ok());
        parts.collect()
    };
    let (version, wanted) = (numbers(version), numbers(wanted));
    version.iter().take(wanted.len()).ge(wanted.iter())
}

/// An empty text is what Google says for nothing.
fn some(text: &str) -> Value {
    Some(text).filter(|text| !text.is_empty()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_far_as_they_were_asked_for() {
        for (version, wanted, expected) in [
            ("1.33.5-gke.1080000", "1.33", true),
            ("1.33.5-gke.1080000", "1.33.5-gke.1080000", true),
            ("1.33.5-gke.1080000", "1.33.5-gke.1080001", false),
            ("1.33.5-gke.1080000", "1.34", false),
            ("1.34.0-gke.1", "1.33.9", true),
            ("1.9.0", "1.33", false),
            ("", "1.33", false),
        ] {
            assert_eq!(at_least(version, wanted), expected, "{version} {wanted}");
        }
    }
}
