//! Between Azure's JSON and Terraform's attributes: what the API families share.

use std::borrow::Cow;

use fleetform_contract::{
    Attributes, Error, Mark, Progress, Record, Remote, Resource, Result, Value,
};
use http::{Method, header};
use serde_json::{Value as Json, json};

use crate::resources::TAG_PREFIX;
use crate::roles;
use crate::transport::{Arm, Change};

/// The text that an attribute must have for a call to make sense.
pub fn required<'a>(attributes: &'a Attributes, name: &str) -> Result<&'a str> {
    let text = attributes.get(name).and_then(Value::as_str);
    text.ok_or_else(|| Error::rejected(format!("the attribute `{name}` is missing")))
}

/// Attributes in Terraform's spelling, without what Azure does not say.
pub fn collect<const N: usize>(pairs: [(&str, Value); N]) -> Attributes {
    let told = pairs.into_iter().filter(|(_, value)| !value.is_null());
    told.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An attribute as JSON; null where it is not set.
pub fn json(attributes: &Attributes, name: &str) -> Json {
    attributes.get(name).map_or(Json::Null, Value::to_plain_json)
}

/// The part of an id after a segment, which Azure spells in any case:
/// `/subscriptions/S/resourcegroups/G/…` has `G` after `resourceGroups`.
pub fn segment<'a>(id: &'a str, after: &str) -> Option<&'a str> {
    let mut segments = id.split('/');
    segments.find(|segment| segment.eq_ignore_ascii_case(after))?;
    segments.next()
}

/// A location in the form of a name: `East US` is `eastus`.
pub fn location(body: &Json) -> Value {
    let plain = |text: &str| text.replace(' ', "").to_lowercase();
    body["location"].as_str().map(plain).into()
}

/// The tags of an object; those of a node pool are among its properties.
pub fn tags(body: &Json) -> &Json {
    if body["tags"].is_object() { &body["tags"] } else { &body["properties"]["tags"] }
}

/// The marks that tell whose an object is: its tags, or where it has none, its description.
fn marks(body: &Json) -> Cow<'_, Json> {
    if body["properties"]["description"].is_string() {
        Cow::Owned(roles::marks(body))
    } else {
        Cow::Borrowed(tags(body))
    }
}

/// What the tags say, where they name this stack.
pub fn mark(tags: &Json, stack: &str) -> Option<Mark> {
    let tag = |name: &str| tags[format!("{TAG_PREFIX}{name}")].as_str();
    if tag("stack") != Some(stack) {
        return None;
    }
    Some(Mark { address: tag("address")?.parse().ok()?, lineage: tag("lineage")?.to_owned() })
}

/// Makes what stands for `desired` at the path, unless it stands there already: what another run of
/// ours has begun is waited for, and what is somebody else's is left alone.
pub async fn ensure(
    arm: &Arm,
    desired: &Resource,
    put: Change<'_>,
    progress: &dyn Progress,
) -> Result<Json> {
    let (path, version) = (put.path, put.version);
    let mut put = put;
    if let Some(existing) = arm.get(path, version).await? {
        expect_ours(desired, path, &marks(&existing))?;
        match existing["properties"]["provisioningState"].as_str() {
            Some("Deleting") => arm.gone(path, version, progress).await?,
            // Azure's remedy for what failed is to ask for it again.
            Some("Failed" | "Canceled") => put.condition = None,
            _ => return arm.settled(path, version, progress).await,
        }
    }
    progress.report("Creating");
    arm.change(put, progress).await
}

/// Only while nothing stands there: for APIs that know the condition.
pub fn if_new() -> Option<(header::HeaderName, String)> {
    Some((header::IF_NONE_MATCH, "*".to_owned()))
}

/// Only while it is as we have read it.
pub fn if_unchanged(etag: &Json) -> Option<(header::HeaderName, String)> {
    etag.as_str().map(|etag| (header::IF_MATCH, etag.to_owned()))
}

/// A PUT of the body.
pub fn put<'a>(path: &'a str, version: &'a str, body: Json) -> Change<'a> {
    Change { method: Method::PUT, path, version, body, condition: None }
}

/// What is recorded, as Azure has it now, for a change that must know the whole.
pub async fn current(arm: &Arm, record: &Record, version: &str) -> Result<Json> {
    let body = arm
        .get(&record.id, version)
        .await?
        .ok_or_else(|| Error::rejected(format!("{} is gone: {}", record.address, record.id)))?;
    if !body["properties"].is_object() {
        return Err(Error::lost(format!("the answer for {} has no properties", record.id)));
    }
    Ok(body)
}

/// Takes away what Azure says and does not want to hear.
pub fn strip(body: &mut Json, names: &[&str]) {
    if let Some(map) = body.as_object_mut() {
        map.retain(|name, _| !names.contains(&name.as_str()));
    }
}

/// Whether the attribute differs between the record and what is desired.
pub fn differs(record: &Record, desired: &Resource, name: &str) -> bool {
    record.attributes.get(name) != desired.attributes.get(name)
}

/// An object with its id among its attributes, as Terraform has it.
pub fn remote(id: String, mut attributes: Attributes) -> Remote {
    attributes.insert("id".to_owned(), Value::from(&id));
    Remote { id, attributes }
}

fn expect_ours(desired: &Resource, path: &str, marks: &Json) -> Result<()> {
    let wanted = match desired.attributes.get("tags") {
        Some(tags) => tags.to_plain_json(),
        None => roles::marks(&json!({ "properties": {
            "description": json(&desired.attributes, "description"),
        } })),
    };
    let mut ours = wanted.as_object().into_iter().flatten();
    let mut ours = ours.by_ref().filter(|(name, _)| name.starts_with(TAG_PREFIX)).peekable();
    if ours.peek().is_some() && ours.all(|(name, value)| *value == marks[name]) {
        return Ok(());
    }
    Err(Error::rejected(format!(
        "{path} exists and does not carry the tags of {}; it would be overwritten. Import it, remove it, \
         or choose another name",
        desired.address
    )))
}
