//! GKE node pools: `google_container_node_pool`.

use fleetform_contract::{
    Attributes, Error, Progress, Record, Reference, Remote, Resource, Result, Value,
};
use google_cloud_container_v1::client::ClusterManager;
use google_cloud_container_v1::model::{
    AcceleratorConfig, GPUDriverInstallationConfig, NodeConfig, NodeLabels, NodeManagement,
    NodePool, NodePoolAutoscaling, NodeTaint, NodeTaints, ReservationAffinity, ResourceLabels,
    UpdateNodePoolRequest, WorkloadMetadataConfig, gpu_driver_installation_config, node_pool,
    node_pool_autoscaling, node_taint, reservation_affinity, workload_metadata_config,
};
use google_cloud_gax::error::Error as SdkError;
use google_cloud_gax::error::rpc::Code;

use crate::attributes::{
    at, block, blocks, flag, is_googles, number, our_map, present, text, text_map, text_or_empty,
    texts,
};
use crate::clusters::{carries, clean_up};
use crate::transport::{Look, Transport, error, has_code};

pub async fn read(transport: &Transport, reference: Reference<'_>) -> Result<Option<Remote>> {
    let name = name_of(transport, reference)?;
    let client = transport.container().await?;
    let found = get(client, &name).await.map_err(error)?;
    Ok(found.map(|pool| remote(&name, &pool)))
}

/// Whether it is being removed.
pub async fn is_leaving(transport: &Transport, reference: Reference<'_>) -> Result<bool> {
    let name = name_of(transport, reference)?;
    let found = get(transport.container().await?, &name).await.map_err(error)?;
    Ok(found.is_some_and(|pool| pool.status == node_pool::Status::Stopping))
}

pub async fn create(
    transport: &Transport,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let name = name_of(transport, desired.reference())?;
    let location = text_or_empty(&desired.attributes, "location");
    let cluster = cluster_of(&name);
    let client = transport.container().await?;
    let _turn = transport.turn(cluster).await;
    loop {
        let request = client
            .create_node_pool()
            .set_parent(cluster)
            .set_node_pool(wanted(&desired.attributes));
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
    let read = || async {
        let made = get(client, &name).await.map_err(error)?;
        made.ok_or_else(|| Error::lost(format!("{name} was made and is not there")))
    };
    let mut made = read().await?;
    // Google taints a pool with GPUs where the cluster has another one, which may be about to go.
    let late = changes(&made, &wanted(&desired.attributes), false);
    if !late.is_empty() {
        change(transport, &name, &location, late, progress).await?;
        made = read().await?;
    }
    Ok(remote(&name, &made))
}

/// Goes on with a pool that exists when it should be created: `true` when it is ours and runs now,
/// `false` when what was left of it is gone and it must be created anew.
async fn resume(
    transport: &Transport,
    name: &str,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<bool> {
    let client = transport.container().await?;
    let Some(found) = get(client, name).await.map_err(error)? else { return Ok(false) };
    let labels = found.config.map(|config| config.resource_labels).unwrap_or_default();
    if !carries(&labels, &desired.attributes, "node_config.0.resource_labels") {
        return Err(Error::rejected(format!(
            "{name} exists already and does not carry the labels of {}: remove it, or import it",
            desired.address
        )));
    }
    let look = || {
        let found = get(client, name);
        async move {
            Ok(match found.await? {
                Some(pool) if pool.status == node_pool::Status::Provisioning => {
                    Look::Still(phase(&pool))
                }
                other => Look::Over(other),
            })
        }
    };
    let usable = [
        node_pool::Status::Running,
        node_pool::Status::Reconciling,
        node_pool::Status::RunningWithError,
    ];
    match transport.watch(name, progress, look).await? {
        Some(pool) if usable.contains(&pool.status) => Ok(true),
        // A creation that failed leaves a pool in error, which no call repairs.
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
    let _turn = transport.turn(cluster_of(&name)).await;
    let now = get(client, &name).await.map_err(error)?;
    let now = now.ok_or_else(|| Error::rejected(format!("{name} does not exist any more")))?;
    let wanted = wanted(&desired.attributes);

    let is_fixed = wanted
        .autoscaling
        .as_ref()
        .is_some_and(|bounds| bounds.total_min_node_count == bounds.total_max_node_count);
    // Between bounds the number of nodes is the autoscaler's, and Google has it wait for pods that do
    // not fit before it moves; a pool of a fixed size is set to it.
    let resize = is_fixed && total(&now) != total(&wanted);

    let seen = remote(&name, &now).attributes;
    let differs = |attribute: &str| seen.get(attribute) != desired.attributes.get(attribute);
    if differs("autoscaling") {
        let bounds = wanted.autoscaling.clone().unwrap_or_default();
        let request = client.set_node_pool_autoscaling().set_name(&name).set_autoscaling(bounds);
        let operation = request.send().await.map_err(error)?;
        transport.finish(&location, operation, progress).await?;
    }
    if differs("management") {
        let management = wanted.management.clone().unwrap_or_default();
        let request = client.set_node_pool_management().set_name(&name).set_management(management);
        let operation = request.send().await.map_err(error)?;
        transport.finish(&location, operation, progress).await?;
    }
    change(transport, &name, &location, changes(&now, &wanted, resize), progress).await?;
    if resize {
        let request =
            client.set_node_pool_size().set_name(&name).set_node_count(wanted.initial_node_count);
        let operation = request.send().await.map_err(error)?;
        transport.finish(&location, operation, progress).await?;
    }
    let now = get(client, &name).await.map_err(error)?;
    let now = now.ok_or_else(|| Error::lost(format!("{name} was updated and is not there")))?;
    Ok(remote(&name, &now))
}

/// Makes these changes, one after the other.
async fn change(
    transport: &Transport,
    name: &str,
    location: &str,
    changes: Vec<UpdateNodePoolRequest>,
    progress: &dyn Progress,
) -> Result<()> {
    let client = transport.container().await?;
    for change in changes {
        let request = client.update_node_pool().with_request(change.set_name(name));
        let operation = request.send().await.map_err(error)?;
        transport.finish(location, operation, progress).await?;
    }
    Ok(())
}

/// What `UpdateNodePool` changes, one thing a call, as Terraform's provider does it.
fn changes(now: &NodePool, wanted: &NodePool, resize: bool) -> Vec<UpdateNodePoolRequest> {
    let (empty, default) = (NodeConfig::new(), NodeConfig::new());
    let config = now.config.as_ref().unwrap_or(&empty);
    let goal = wanted.config.as_ref().unwrap_or(&default);
    let mut changes = Vec::new();
    if resize && sorted(&now.locations) != sorted(&wanted.locations) {
        changes.push(UpdateNodePoolRequest::new().set_locations(wanted.locations.clone()));
    }
    if our_map(&config.labels) != our_map(&goal.labels) {
        let labels = NodeLabels::new().set_labels(goal.labels.clone());
        changes.push(UpdateNodePoolRequest::new().set_labels(labels));
    }
    if taints(config) != taints(goal) {
        let taints = NodeTaints::new().set_taints(goal.taints.clone());
        changes.push(UpdateNodePoolRequest::new().set_taints(taints));
    }
    if our_map(&config.resource_labels) != our_map(&goal.resource_labels) {
        let labels = ResourceLabels::new().set_labels(goal.resource_labels.clone());
        changes.push(UpdateNodePoolRequest::new().set_resource_labels(labels));
    }
    if goal.disk_size_gb != 0 && config.disk_size_gb != goal.disk_size_gb {
        let size = i64::from(goal.disk_size_gb);
        changes.push(UpdateNodePoolRequest::new().set_disk_size_gb(size));
    }
    changes
}

pub async fn delete(transport: &Transport, record: &Record, progress: &dyn Progress) -> Result<()> {
    let name = name_of(transport, record.reference())?;
    let _turn = transport.turn(cluster_of(&name)).await;
    remove(transport, &name, progress).await
}

/// Removes the pool and waits until it is gone; the caller has the turn.
async fn remove(transport: &Transport, name: &str, progress: &dyn Progress) -> Result<()> {
    let client = transport.container().await?;
    let Some(found) = get(client, name).await.map_err(error)? else { return Ok(()) };
    if found.status != node_pool::Status::Stopping {
        let location = name.split('/').nth(3).unwrap_or_default();
        match client.delete_node_pool().set_name(name).send().await {
            Ok(operation) => transport.finish(location, operation, progress).await?,
            Err(failure) if has_code(&failure, Code::NotFound) => return Ok(()),
            Err(failure) => return Err(error(failure)),
        }
    }
    let look = || {
        let found = get(client, name);
        async move {
            Ok(match found.await? {
                Some(pool) => Look::Still(phase(&pool)),
                None => Look::Over(()),
            })
        }
    };
    transport.watch(name, progress, look).await
}

/// As the API reports a pool, in Terraform's words.
pub fn remote(name: &str, pool: &NodePool) -> Remote {
    let mut parts = name.split('/').skip(1).step_by(2);
    let mut part = || parts.next().unwrap_or_default();
    let (project, location, cluster) = (part(), part(), part());
    let autoscaling = pool.autoscaling.as_ref().filter(|bounds| bounds.enabled).map(|bounds| {
        // Bounds a zone, which someone else set: they show as a difference to ours.
        let per_zone = bounds.total_max_node_count == 0;
        let (least, most) = if per_zone {
            ("min_node_count", "max_node_count")
        } else {
            ("total_min_node_count", "total_max_node_count")
        };
        let (min, max) = if per_zone {
            (bounds.min_node_count, bounds.max_node_count)
        } else {
            (bounds.total_min_node_count, bounds.total_max_node_count)
        };
        block([
            (least, min.into()),
            (most, max.into()),
            ("location_policy", bounds.location_policy.name().unwrap_or_default().into()),
        ])
    });
    let management = pool.management.as_ref().map(|management| {
        block([
            ("auto_repair", management.auto_repair.into()),
            ("auto_upgrade", management.auto_upgrade.into()),
        ])
    });
    let config = pool.config.as_ref().map(|config| Value::List(vec![config_value(config)]));
    let attributes = present([
        ("name", (&pool.name).into()),
        ("cluster", cluster.into()),
        ("location", location.into()),
        ("project", project.into()),
        ("node_locations", Value::list(sorted(&pool.locations))),
        ("initial_node_count", pool.initial_node_count.into()),
        ("autoscaling", autoscaling.into()),
        ("management", management.into()),
        ("node_config", config.into()),
        ("instance_group_urls", Value::list(pool.instance_group_urls.iter().map(String::as_str))),
        ("version", pool.version.as_str().into()),
    ]);
    Remote { id: name.to_owned(), attributes }
}

fn config_value(config: &NodeConfig) -> Value {
    let accelerators = config.accelerators.iter().map(|accelerator| {
        let driver = accelerator.gpu_driver_installation_config.as_ref().and_then(|driver| {
            let version = driver.gpu_driver_version.as_ref()?.name()?;
            Some(block([("gpu_driver_version", version.into())]))
        });
        Value::Map(present([
            ("type", (&accelerator.accelerator_type).into()),
            ("count", Value::Number(accelerator.accelerator_count as f64)),
            ("gpu_driver_installation_config", driver.into()),
        ]))
    });
    let taints = taints(config).into_iter().map(|(key, value, effect)| {
        Value::map([("key", key.into()), ("value", value.into()), ("effect", effect.into())])
    });
    let metadata_mode =
        config.workload_metadata_config.as_ref().and_then(|metadata| metadata.mode.name());
    let reservation = config.reservation_affinity.as_ref().and_then(|affinity| {
        let kind = affinity.consume_reservation_type.name()?;
        let values = affinity.values.iter().map(String::as_str);
        let specific = !affinity.key.is_empty();
        Some(Value::List(vec![Value::Map(present([
            ("consume_reservation_type", kind.into()),
            ("key", specific.then_some(affinity.key.as_str()).into()),
            ("values", specific.then(|| Value::list(values)).into()),
        ]))]))
    });
    Value::Map(present([
        ("machine_type", (&config.machine_type).into()),
        ("spot", config.spot.into()),
        ("guest_accelerator", some(accelerators.collect())),
        ("disk_size_gb", config.disk_size_gb.into()),
        ("oauth_scopes", some(config.oauth_scopes.iter().map(Value::from).collect())),
        ("labels", our_map(&config.labels)),
        ("taint", some(taints.collect())),
        ("resource_labels", our_map(&config.resource_labels)),
        ("metadata", our_map(&config.metadata)),
        (
            "workload_metadata_config",
            metadata_mode.map(|mode| block([("mode", mode.into())])).into(),
        ),
        ("reservation_affinity", reservation.into()),
    ]))
}

fn wanted(attributes: &Attributes) -> NodePool {
    let mut pool = NodePool::new()
        .set_name(text_or_empty(attributes, "name"))
        .set_initial_node_count(number(attributes, "initial_node_count").unwrap_or(0))
        .set_locations(texts(attributes, "node_locations"))
        .set_config(wanted_config(attributes));
    if at(attributes, "autoscaling.0").is_some() {
        let count = |name: &str| number(attributes, &format!("autoscaling.0.{name}")).unwrap_or(0);
        let mut bounds = NodePoolAutoscaling::new()
            .set_enabled(true)
            .set_total_min_node_count(count("total_min_node_count"))
            .set_total_max_node_count(count("total_max_node_count"));
        if let Some(policy) = text(attributes, "autoscaling.0.location_policy") {
            bounds =
                bounds.set_location_policy(node_pool_autoscaling::LocationPolicy::from(policy));
        }
        pool = pool.set_autoscaling(bounds);
    }
    if at(attributes, "management.0").is_some() {
        let management = NodeManagement::new()
            .set_auto_repair(flag(attributes, "management.0.auto_repair"))
            .set_auto_upgrade(flag(attributes, "management.0.auto_upgrade"));
        pool = pool.set_management(management);
    }
    pool
}

fn wanted_config(attributes: &Attributes) -> NodeConfig {
    let inside = |name: &str| format!("node_config.0.{name}");
    let accelerators = blocks(attributes, "node_config.0.guest_accelerator").map(|block| {
        let mut accelerator = AcceleratorConfig::new()
            .set_accelerator_type(text_or_empty(block, "type"))
            .set_accelerator_count(number(block, "count").unwrap_or(0));
        if let Some(version) = text(block, "gpu_driver_installation_config.0.gpu_driver_version") {
            let version = gpu_driver_installation_config::GPUDriverVersion::from(version);
            let driver = GPUDriverInstallationConfig::new().set_gpu_driver_version(version);
            accelerator = accelerator.set_gpu_driver_installation_config(driver);
        }
        accelerator
    });
    let taints = blocks(attributes, "node_config.0.taint").map(|block| {
        NodeTaint::new()
            .set_key(text_or_empty(block, "key"))
            .set_value(text_or_empty(block, "value"))
            .set_effect(node_taint::Effect::from(text(block, "effect").unwrap_or_default()))
    });
    let mut config = NodeConfig::new()
        .set_machine_type(text_or_empty(attributes, &inside("machine_type")))
        .set_spot(flag(attributes, &inside("spot")))
        .set_accelerators(accelerators)
        .set_disk_size_gb(number(attributes, &inside("disk_size_gb")).unwrap_or(0))
        .set_oauth_scopes(texts(attributes, &inside("oauth_scopes")))
        .set_labels(text_map(attributes, &inside("labels")))
        .set_taints(taints)
        .set_resource_labels(text_map(attributes, &inside("resource_labels")))
        .set_metadata(text_map(attributes, &inside("metadata")));
    if let Some(mode) = text(attributes, &inside("workload_metadata_config.0.mode")) {
        let mode = workload_metadata_config::Mode::from(mode);
        let metadata = WorkloadMetadataConfig::new().set_mode(mode);
        config = config.set_workload_metadata_config(metadata);
    }
    let reservation = inside("reservation_affinity.0.consume_reservation_type");
    if let Some(kind) = text(attributes, &reservation) {
        let affinity = ReservationAffinity::new()
            .set_consume_reservation_type(reservation_affinity::Type::from(kind))
            .set_key(text_or_empty(attributes, &inside("reservation_affinity.0.key")))
            .set_values(texts(attributes, &inside("reservation_affinity.0.values")));
        config = config.set_reservation_affinity(affinity);
    }
    config
}

/// The full name: the recorded one, else made of the attributes.
fn name_of(transport: &Transport, reference: Reference<'_>) -> Result<String> {
    if let Some(id) = reference.id {
        return Ok(id.to_owned());
    }
    let text = |name: &str| reference.text(name).unwrap_or_default();
    let parent = transport.parent(text("location"))?;
    Ok(format!("{parent}/clusters/{}/nodePools/{}", text("cluster"), text("name")))
}

fn cluster_of(name: &str) -> &str {
    name.split_once("/nodePools/").map_or(name, |(cluster, _)| cluster)
}

async fn get(
    client: &ClusterManager,
    name: &str,
) -> std::result::Result<Option<NodePool>, SdkError> {
    match client.get_node_pool().set_name(name).send().await {
        Ok(pool) => Ok(Some(pool)),
        Err(failure) if has_code(&failure, Code::NotFound) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Nodes in all zones, as last set.
fn total(pool: &NodePool) -> usize {
    usize::try_from(pool.initial_node_count).unwrap_or(0) * pool.locations.len().max(1)
}

/// The taints that are ours, as texts in order: key, value, effect.
fn taints(config: &NodeConfig) -> Vec<(String, String, String)> {
    let ours = config.taints.iter().filter(|taint| {
        // Google adds this one to Arm nodes on its own.
        !is_googles(&taint.key) && taint.key != "kubernetes.io/arch"
    });
    let mut taints: Vec<_> = ours
        .map(|taint| {
            let effect = taint.effect.name().unwrap_or_default().to_owned();
            (taint.key.clone(), taint.value.clone(), effect)
        })
        .collect();
    taints.sort();
    taints
}

fn sorted(texts: &[String]) -> Vec<String> {
    let mut texts = texts.to_vec();
    texts.sort();
    texts
}

fn phase(pool: &NodePool) -> String {
    format!("{} {}", pool.name, pool.status.name().unwrap_or_default())
}

/// A list that is not set when it is empty.
fn some(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::List(items) }
}
