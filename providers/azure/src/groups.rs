//! Resource groups: `Microsoft.Resources/resourceGroups`.

use fleetform_contract::{
    Error, Mark, Progress, Record, Reference, Remote, Resource, Result, Value,
};
use http::Method;
use serde_json::{Value as Json, json};

use crate::attributes::{collect, ensure, json, location, mark, put, remote, required, tags};
use crate::resources::TAG_PREFIX;
use crate::transport::{Arm, Change};

/// Of `Microsoft.Resources`.
pub const VERSION: &str = "2025-04-01";

/// Names of what is left in a group, in the message that refuses to delete it.
const NAMED_LEFTOVERS: usize = 5;

/// Whether Azure takes the text for the name of a group.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules>
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
    (1..=90).contains(&text.chars().count()) && text.chars().all(allowed) && !text.ends_with('.')
}

/// `/subscriptions/S/resourceGroups/NAME`.
pub fn id(arm: &Arm, name: &str) -> Result<String> {
    Ok(format!("{}/resourceGroups/{name}", arm.subscription()?))
}

pub async fn read(arm: &Arm, reference: Reference<'_>) -> Result<Option<Remote>> {
    let id = match reference.id {
        Some(id) => id.to_owned(),
        None => id(arm, required(reference.attributes, "name")?)?,
    };
    Ok(arm.get(&id, VERSION).await?.map(|body| as_remote(id, &body)))
}

pub async fn create(arm: &Arm, desired: &Resource, progress: &dyn Progress) -> Result<Remote> {
    let id = id(arm, required(&desired.attributes, "name")?)?;
    let body = json!({
        "location": json(&desired.attributes, "location"),
        "tags": json(&desired.attributes, "tags"),
    });
    let made = ensure(arm, desired, put(&id, VERSION, body), progress).await?;
    Ok(as_remote(id, &made))
}

pub async fn update(
    arm: &Arm,
    record: &Record,
    desired: &Resource,
    progress: &dyn Progress,
) -> Result<Remote> {
    let body = json!({ "tags": json(&desired.attributes, "tags") });
    let change = Change { method: Method::PATCH, ..put(&record.id, VERSION, body) };
    let now = arm.change(change, progress).await?;
    Ok(as_remote(record.id.clone(), &now))
}

/// Removes the group, if nothing is left in it: Azure would remove that too, and it is not ours.
pub async fn delete(arm: &Arm, record: &Record, progress: &dyn Progress) -> Result<()> {
    let left = arm.list(&format!("{}/resources", record.id), VERSION, None).await?;
    let lineage = format!("{TAG_PREFIX}lineage");
    let ours = record.attributes.get("tags").and_then(|tags| tags.at(&lineage)?.as_str());
    let (ours, others): (Vec<&Json>, Vec<&Json>) =
        left.iter().partition(|item| ours.is_some() && item["tags"][&lineage].as_str() == ours);
    let names = |items: &[&Json]| {
        let names = items.iter().filter_map(|item| item["id"].as_str()).take(NAMED_LEFTOVERS);
        names.collect::<Vec<_>>().join(", ")
    };
    if !others.is_empty() {
        return Err(Error::rejected(format!(
            "{} still holds what Fleetform did not make there: {}. Remove or move it first",
            record.address,
            names(&others)
        )));
    }
    if !ours.is_empty() {
        // Azure's index of a group is a little behind: what we have removed may still stand there.
        let message = format!("{} still holds {}", record.address, names(&ours));
        return Err(Error::Conflict { message });
    }
    arm.delete(&record.id, VERSION, progress).await
}

/// The groups with the stack's tags.
pub async fn list(arm: &Arm, stack: &str) -> Result<Vec<(Mark, Remote)>> {
    let path = format!("{}/resourcegroups", arm.subscription()?);
    let quoted = |text: &str| text.replace('\'', "''");
    let filter = format!("tagName eq '{TAG_PREFIX}stack' and tagValue eq '{}'", quoted(stack));
    let bodies = arm.list(&path, VERSION, Some(&filter)).await?;
    let ours = bodies.iter().filter_map(|body| {
        let mark = mark(tags(body), stack)?;
        let id = id(arm, body["name"].as_str()?).ok()?;
        Some((mark, as_remote(id, body)))
    });
    Ok(ours.collect())
}

fn as_remote(id: String, body: &Json) -> Remote {
    let attributes = collect([
        ("name", Value::from_plain_json(&body["name"])),
        ("location", location(body)),
        ("tags", Value::from_plain_json(tags(body))),
    ]);
    remote(id, attributes)
}
