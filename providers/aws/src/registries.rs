//! `aws_ecr_repository` and `aws_ecr_lifecycle_policy`: where images are kept.

use std::collections::BTreeMap;

use aws_sdk_ecr::types::{
    EncryptionConfiguration, EncryptionType, ImageScanningConfiguration, ImageTagMutability,
    Repository, Tag,
};
use fleetform_contract::{Attributes, Error, Mark, Remote, Resource, Result, Value};
use futures::{StreamExt, TryStreamExt, stream};

use crate::attributes::{
    attributes, block, canonical_json, check_ours, flag, required, tag_changes, text, text_map,
};
use crate::errors::{code, translate};
use crate::schema::LIFECYCLE_POLICY;
use crate::text::mark;
use crate::transport::{Clients, Operation};

/// Repositories whose tags are asked for at the same time.
const WIDTH: usize = 8;

pub async fn read(clients: &Clients, name: &str) -> Result<Option<Remote>> {
    let Some(repository) = describe(clients, name).await? else { return Ok(None) };
    let tags = tags_of(clients, &repository).await?;
    Ok(Some(remote(&clients.region, &repository, &tags)))
}

pub async fn create(operation: &Operation<'_>, desired: &Resource) -> Result<Remote> {
    let clients = operation.clients;
    let want = &desired.attributes;
    let name = required(want, "name")?;
    let encryption = text(want, "encryption_configuration.0.encryption_type").map(|kind| {
        let key = text(want, "encryption_configuration.0.kms_key").filter(|key| !key.is_empty());
        EncryptionConfiguration::builder()
            .encryption_type(EncryptionType::from(kind))
            .set_kms_key(key.map(str::to_owned))
            .build()
    });
    let call = clients
        .ecr
        .create_repository()
        .repository_name(name)
        .set_image_tag_mutability(text(want, "image_tag_mutability").map(ImageTagMutability::from))
        .set_image_scanning_configuration(scanning(want))
        .set_encryption_configuration(
            encryption.transpose().map_err(|error| Error::rejected(error.to_string()))?,
        )
        .set_tags(Some(tag_list(text_map(want, "tags"))?));
    match call.send().await {
        Ok(_) => {}
        Err(error) if code(&error) == "RepositoryAlreadyExistsException" => {
            if let Some(found) = describe(clients, name).await? {
                let tags = tags_of(clients, &found).await?;
                check_ours(&format!("the repository `{name}`"), &tags, desired)?;
            }
        }
        Err(error) => return Err(translate(error)),
    }
    present(read(clients, name).await?, name)
}

pub async fn update(operation: &Operation<'_>, desired: &Resource) -> Result<Remote> {
    let clients = operation.clients;
    let want = &desired.attributes;
    let name = required(want, "name")?;
    let Some(now) = describe(clients, name).await? else {
        return Err(Error::lost(format!("the repository `{name}` is not there")));
    };
    let arn = now.repository_arn().unwrap_or_default();
    let (add, remove) = tag_changes(&tags_of(clients, &now).await?, &text_map(want, "tags"));
    if !add.is_empty() {
        let call = clients.ecr.tag_resource().resource_arn(arn).set_tags(Some(tag_list(add)?));
        call.send().await.map_err(translate)?;
    }
    if !remove.is_empty() {
        let call = clients.ecr.untag_resource().resource_arn(arn).set_tag_keys(Some(remove));
        call.send().await.map_err(translate)?;
    }
    if let Some(mutability) = text(want, "image_tag_mutability").map(ImageTagMutability::from)
        && now.image_tag_mutability() != Some(&mutability)
    {
        let call = clients.ecr.put_image_tag_mutability().repository_name(name);
        call.image_tag_mutability(mutability).send().await.map_err(translate)?;
    }
    let scanned = now.image_scanning_configuration().map(|now| now.scan_on_push());
    if let Some(scanning) = scanning(want)
        && scanned != Some(scanning.scan_on_push())
    {
        let call = clients.ecr.put_image_scanning_configuration().repository_name(name);
        call.image_scanning_configuration(scanning).send().await.map_err(translate)?;
    }
    present(read(clients, name).await?, name)
}

/// Removes the repository with the images in it.
pub async fn delete(clients: &Clients, name: &str) -> Result<()> {
    match clients.ecr.delete_repository().repository_name(name).force(true).send().await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(code(&error)) => Ok(()),
        Err(error) => Err(translate(error)),
    }
}

/// Every repository of the region that is this stack's, and its lifecycle policy.
pub async fn list(clients: &Clients, stack: &str) -> Result<Vec<(Mark, Remote)>> {
    let mut repositories = Vec::new();
    let mut next = None;
    loop {
        let page = clients.ecr.describe_repositories().set_next_token(next).send().await;
        let page = page.map_err(translate)?;
        repositories.extend_from_slice(page.repositories());
        next = page.next_token().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    let looks: Vec<_> =
        repositories.iter().map(|repository| list_one(clients, stack, repository)).collect();
    let found: Vec<Vec<_>> = stream::iter(looks).buffered(WIDTH).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn list_one(
    clients: &Clients,
    stack: &str,
    repository: &Repository,
) -> Result<Vec<(Mark, Remote)>> {
    let tags = tags_of(clients, repository).await?;
    let tag = |key: &str| tags.get(key).map(String::as_str);
    let Some(mark) = mark(stack, tag) else { return Ok(Vec::new()) };
    let mut policy_mark = mark.clone();
    policy_mark.address.kind = LIFECYCLE_POLICY.to_owned();
    let mut found = vec![(mark, remote(&clients.region, repository, &tags))];
    let policy = read_policy(clients, repository.repository_name().unwrap_or_default()).await?;
    found.extend(policy.map(|policy| (policy_mark, policy)));
    Ok(found)
}

pub async fn read_policy(clients: &Clients, repository: &str) -> Result<Option<Remote>> {
    match clients.ecr.get_lifecycle_policy().repository_name(repository).send().await {
        Ok(answer) => {
            let policy = canonical_json(answer.lifecycle_policy_text().unwrap_or_default());
            let attributes = attributes([
                ("region", clients.region.as_str().into()),
                ("repository", repository.into()),
                ("policy", policy.into()),
                ("id", repository.into()),
                ("registry_id", answer.registry_id().into()),
            ]);
            let id = format!("{}/{repository}", clients.region);
            Ok(Some(Remote { id, attributes }))
        }
        Err(error) if is_missing(code(&error)) => Ok(None),
        Err(error) => Err(translate(error)),
    }
}

/// Puts the policy, whether there is one or not.
pub async fn put_policy(clients: &Clients, desired: &Resource) -> Result<Remote> {
    let repository = required(&desired.attributes, "repository")?;
    let policy = required(&desired.attributes, "policy")?;
    let call = clients.ecr.put_lifecycle_policy().repository_name(repository);
    call.lifecycle_policy_text(policy).send().await.map_err(translate)?;
    present(read_policy(clients, repository).await?, repository)
}

pub async fn delete_policy(clients: &Clients, repository: &str) -> Result<()> {
    match clients.ecr.delete_lifecycle_policy().repository_name(repository).send().await {
        Ok(_) => Ok(()),
        Err(error) if is_missing(code(&error)) => Ok(()),
        Err(error) => Err(translate(error)),
    }
}

/// A repository's name: an attribute of this name, else the end of an id.
pub fn name_in(attributes: &Attributes, name: &str, id: Option<&str>) -> Result<String> {
    // arn:aws:ecr:us-east-1:123456789012:repository/lepton/main/chat
    let id = id.map(|id| id.split_once(":repository/").map_or(id, |(_, name)| name));
    let found = text(attributes, name).or(id);
    found
        .map(str::to_owned)
        .ok_or_else(|| Error::rejected(format!("the attribute `{name}` is missing")))
}

fn remote(region: &str, repository: &Repository, tags: &BTreeMap<String, String>) -> Remote {
    let name = repository.repository_name().unwrap_or_default();
    let scanning = repository.image_scanning_configuration();
    let encryption = repository.encryption_configuration().map(|encryption| {
        block([
            ("encryption_type", encryption.encryption_type().as_str().into()),
            ("kms_key", encryption.kms_key().into()),
        ])
    });
    let mutability = repository.image_tag_mutability().map(ImageTagMutability::as_str);
    let tags = tags.iter().map(|(key, value)| (key.clone(), Value::from(value)));
    let attributes = attributes([
        ("region", region.into()),
        ("name", name.into()),
        ("image_tag_mutability", mutability.into()),
        (
            "image_scanning_configuration",
            scanning.map(|scan| block([("scan_on_push", scan.scan_on_push().into())])).into(),
        ),
        ("encryption_configuration", encryption.into()),
        // Ours alone: AWS does not know it, and we always delete by force.
        ("force_delete", true.into()),
        ("tags", Value::map(tags)),
        ("arn", repository.repository_arn().into()),
        ("id", name.into()),
        ("registry_id", repository.registry_id().into()),
        ("repository_url", repository.repository_uri().into()),
    ]);
    Remote { id: repository.repository_arn().unwrap_or_default().to_owned(), attributes }
}

async fn describe(clients: &Clients, name: &str) -> Result<Option<Repository>> {
    match clients.ecr.describe_repositories().repository_names(name).send().await {
        Ok(answer) => Ok(answer.repositories.unwrap_or_default().into_iter().next()),
        Err(error) if is_missing(code(&error)) => Ok(None),
        Err(error) => Err(translate(error)),
    }
}

/// Without what AWS itself put there; empty for a repository that is gone meanwhile.
async fn tags_of(clients: &Clients, repository: &Repository) -> Result<BTreeMap<String, String>> {
    let arn = repository.repository_arn().unwrap_or_default();
    match clients.ecr.list_tags_for_resource().resource_arn(arn).send().await {
        Ok(answer) => {
            let tags = answer.tags().iter().filter(|tag| !tag.key().starts_with("aws:"));
            Ok(tags.map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
        }
        Err(error) if is_missing(code(&error)) => Ok(BTreeMap::new()),
        Err(error) => Err(translate(error)),
    }
}

fn tag_list(tags: BTreeMap<String, String>) -> Result<Vec<Tag>> {
    let build = |(key, value): (String, String)| Tag::builder().key(key).value(value).build();
    let tags: std::result::Result<Vec<Tag>, _> = tags.into_iter().map(build).collect();
    tags.map_err(|error| Error::rejected(error.to_string()))
}

fn scanning(want: &Attributes) -> Option<ImageScanningConfiguration> {
    let scan = flag(want, "image_scanning_configuration.0.scan_on_push")?;
    Some(ImageScanningConfiguration::builder().scan_on_push(scan).build())
}

fn is_missing(code: &str) -> bool {
    code == "RepositoryNotFoundException" || code == "LifecyclePolicyNotFoundException"
}

fn present(remote: Option<Remote>, name: &str) -> Result<Remote> {
    remote.ok_or_else(|| Error::lost(format!("`{name}` is not there after it was written")))
}
