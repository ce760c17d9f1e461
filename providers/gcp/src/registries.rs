//! Artifact Registry repositories: `google_artifact_registry_repository`.

use fleetform_contract::{
    Attributes, Error, Progress, Record, Reference, Remote, Resource, Result, Value,
};
use google_cloud_artifactregistry_v1::client::ArtifactRegistry;
use google_cloud_artifactregistry_v1::model::{
    CleanupPolicy, CleanupPolicyCondition, CleanupPolicyMostRecentVersions, Repository,
    cleanup_policy, cleanup_policy_condition, repository,
};
use google_cloud_gax::error::Error as SdkError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_gax::paginator::ItemPaginator;
use google_cloud_wkt::FieldMask;
use tokio::task::JoinSet;

use crate::attributes::{
    block, blocks, flag, number, our_map, present, text, text_map, text_or_empty,
};
use crate::clusters::carries;
use crate::transport::{Look, Transport, classify, error, has_code};

/// Listings of locations that run side by side.
const LISTINGS_AT_ONCE: usize = 8;

pub async fn read(transport: &Transport, reference: Reference<'_>) -> Result<Option<Remote>> {
    let name = name_of(transport, reference)?;
    let found = get(transport.registry().await?, &name).await.map_err(error)?;
    Ok(found.map(|repository| remote(&name, &repository)))
}

pub async fn create(
    transport: &Transport,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let name = name_of(transport, desired.reference())?;
    let client = transport.registry().await?;
    let request = client
        .create_repository()
        .set_parent(transport.parent(&text_or_empty(&desired.attributes, "location"))?)
        .set_repository_id(text_or_empty(&desired.attributes, "repository_id"))
        .set_repository(wanted(&desired.attributes));
    match request.send().await {
        Ok(operation) => finish(transport, &operation.name, progress).await?,
        Err(failure) if has_code(&failure, Code::AlreadyExists) => {}
        Err(failure) => return Err(error(failure)),
    }
    // One that exists already appears here whole or, while it is being made, not yet.
    let look = || {
        let found = get(client, &name);
        async move {
            Ok(match found.await? {
                Some(repository) => Look::Over(repository),
                None => Look::Still("CREATING".to_owned()),
            })
        }
    };
    let made = transport.watch(&name, progress, look).await?;
    if !carries(&made.labels, &desired.attributes, "labels") {
        return Err(Error::rejected(format!(
            "{name} exists already and does not carry the labels of {}: remove it, or import it",
            desired.address
        )));
    }
    Ok(remote(&name, &made))
}

pub async fn update(
    transport: &Transport,
    record: &Record,
    desired: &Resource,
    _progress: &dyn Progress,
) -> Result<Remote> {
    let name = name_of(transport, record.reference())?;
    let client = transport.registry().await?;
    let now = get(client, &name).await.map_err(error)?;
    let now = now.ok_or_else(|| Error::rejected(format!("{name} does not exist any more")))?;
    let (seen, goal) = (remote(&name, &now).attributes, &desired.attributes);
    let paths: Vec<&str> = [
        ("description", "description"),
        ("labels", "labels"),
        ("docker_config", "docker_config"),
        ("cleanup_policies", "cleanup_policies"),
        ("vulnerability_scanning_config", "vulnerability_scanning_config.enablement_config"),
    ]
    .into_iter()
    .filter(|(attribute, _)| seen.get(*attribute) != goal.get(*attribute))
    .map(|(_, path)| path)
    .collect();
    if paths.is_empty() {
        return Ok(remote(&name, &now));
    }
    let request = client
        .update_repository()
        .set_repository(wanted(goal).set_name(&name))
        .set_update_mask(FieldMask::default().set_paths(paths));
    let now = request.send().await.map_err(error)?;
    Ok(remote(&name, &now))
}

pub async fn delete(transport: &Transport, record: &Record, progress: &dyn Progress) -> Result<()> {
    let name = name_of(transport, record.reference())?;
    let client = transport.registry().await?;
    match client.delete_repository().set_name(&name).send().await {
        Ok(operation) => finish(transport, &operation.name, progress).await?,
        Err(failure) if has_code(&failure, Code::NotFound) => return Ok(()),
        Err(failure) => return Err(error(failure)),
    }
    let look = || {
        let found = get(client, &name);
        async move {
            Ok(match found.await? {
                Some(_) => Look::Still("DELETING".to_owned()),
                None => Look::Over(()),
            })
        }
    };
    transport.watch(&name, progress, look).await
}

/// Every repository of the project, in any location, in order of their names. The API lists one location
/// at a time.
pub async fn all(transport: &Transport) -> Result<Vec<Repository>> {
    let client = transport.registry().await?;
    let project = format!("projects/{}", transport.project()?);
    let mut locations = client.list_locations().set_name(project).by_item();
    let mut parents = Vec::new();
    while let Some(location) = locations.next().await {
        parents.push(transport.parent(&location.map_err(error)?.location_id)?);
    }
    let mut found = Vec::new();
    let mut listings = JoinSet::new();
    let mut parents = parents.into_iter();
    loop {
        while listings.len() < LISTINGS_AT_ONCE {
            let Some(parent) = parents.next() else { break };
            listings.spawn(list(client.clone(), parent));
        }
        let Some(listing) = listings.join_next().await else { break };
        let listing = listing.map_err(|ended| Error::lost(format!("a listing ended: {ended}")))?;
        found.extend(listing.map_err(error)?);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

async fn list(
    client: ArtifactRegistry,
    parent: String,
) -> std::result::Result<Vec<Repository>, SdkError> {
    let mut items = client.list_repositories().set_parent(parent).by_item();
    let mut found = Vec::new();
    while let Some(item) = items.next().await {
        found.push(item?);
    }
    Ok(found)
}

/// As the API reports a repository, in Terraform's words.
pub fn remote(name: &str, found: &Repository) -> Remote {
    let mut parts = name.split('/').skip(1).step_by(2);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (project, location, id) = (part(), part(), part());
    let docker = found.docker_config();
    let scanning = found.vulnerability_scanning_config.as_ref();
    let scanning = scanning.and_then(|config| config.enablement_config.name());
    let description = Some(found.description.as_str()).filter(|text| !text.is_empty());
    let attributes = present([
        ("repository_id", (&id).into()),
        ("location", location.into()),
        ("project", project.into()),
        ("format", found.format.name().into()),
        ("mode", found.mode.name().into()),
        ("description", description.into()),
        ("labels", our_map(&found.labels)),
        (
            "docker_config",
            docker.map(|docker| block([("immutable_tags", docker.immutable_tags.into())])).into(),
        ),
        ("cleanup_policies", policies_value(found)),
        (
            "vulnerability_scanning_config",
            scanning.map(|mode| block([("enablement_config", mode.into())])).into(),
        ),
        ("name", id.into()),
        ("registry_uri", Some(&found.registry_uri).filter(|uri| !uri.is_empty()).cloned().into()),
    ]);
    Remote { id: name.to_owned(), attributes }
}

fn policies_value(found: &Repository) -> Value {
    let mut policies: Vec<&CleanupPolicy> = found.cleanup_policies.values().collect();
    if policies.is_empty() {
        return Value::Null;
    }
    policies.sort_by(|one, other| one.id.cmp(&other.id));
    let values = policies.into_iter().map(|policy| {
        let keep = policy.most_recent_versions().and_then(|versions| versions.keep_count);
        let condition = policy.condition().and_then(|condition| condition.tag_state.as_ref());
        let tag_state = condition.and_then(|state| state.name());
        Value::Map(present([
            ("id", (&policy.id).into()),
            ("action", policy.action.name().into()),
            ("condition", tag_state.map(|state| block([("tag_state", state.into())])).into()),
            ("most_recent_versions", keep.map(|keep| block([("keep_count", keep.into())])).into()),
        ]))
    });
    Value::List(values.collect())
}

fn wanted(attributes: &Attributes) -> Repository {
    let policies = blocks(attributes, "cleanup_policies").map(|block| {
        let id = text_or_empty(block, "id");
        let mut policy = CleanupPolicy::new()
            .set_id(&id)
            .set_action(cleanup_policy::Action::from(text(block, "action").unwrap_or_default()));
        if let Some(state) = text(block, "condition.0.tag_state") {
            let state = cleanup_policy_condition::TagState::from(state);
            policy = policy.set_condition(CleanupPolicyCondition::new().set_tag_state(state));
        }
        if let Some(keep) = number(block, "most_recent_versions.0.keep_count") {
            let versions = CleanupPolicyMostRecentVersions::new().set_keep_count(keep);
            policy = policy.set_most_recent_versions(versions);
        }
        (id, policy)
    });
    let mut wanted = Repository::new()
        .set_format(repository::Format::from(text(attributes, "format").unwrap_or_default()))
        .set_mode(repository::Mode::from(text(attributes, "mode").unwrap_or_default()))
        .set_description(text_or_empty(attributes, "description"))
        .set_labels(text_map(attributes, "labels"))
        .set_cleanup_policies(policies);
    if blocks(attributes, "docker_config").next().is_some() {
        let docker = repository::DockerRepositoryConfig::new()
            .set_immutable_tags(flag(attributes, "docker_config.0.immutable_tags"));
        wanted = wanted.set_docker_config(docker);
    }
    if let Some(mode) = text(attributes, "vulnerability_scanning_config.0.enablement_config") {
        use repository::vulnerability_scanning_config::EnablementConfig;
        let scanning = repository::VulnerabilityScanningConfig::new()
            .set_enablement_config(EnablementConfig::from(mode));
        wanted = wanted.set_vulnerability_scanning_config(scanning);
    }
    wanted
}

/// The full name: the recorded one, else made of the attributes.
fn name_of(transport: &Transport, reference: Reference<'_>) -> Result<String> {
    if let Some(id) = reference.id {
        return Ok(id.to_owned());
    }
    let text = |name: &str| reference.text(name).unwrap_or_default();
    let parent = transport.parent(text("location"))?;
    Ok(format!("{parent}/repositories/{}", text("repository_id")))
}

async fn get(
    client: &ArtifactRegistry,
    name: &str,
) -> std::result::Result<Option<Repository>, SdkError> {
    match client.get_repository().set_name(name).send().await {
        Ok(repository) => Ok(Some(repository)),
        Err(failure) if has_code(&failure, Code::NotFound) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Waits for a long-running operation; its failure is an error.
async fn finish(transport: &Transport, name: &str, progress: &dyn Progress) -> Result<()> {
    let client = transport.registry().await?;
    let look = || {
        let request = client.get_operation().set_name(name);
        async move {
            let now = request.send().await?;
            Ok(if now.done { Look::Over(now) } else { Look::Still("RUNNING".to_owned()) })
        }
    };
    let ended = transport.watch(name, progress, look).await?;
    match ended.error() {
        Some(status) => Err(classify(Code::from(status.code), &status.message, &[])),
        None => Ok(()),
    }
}
