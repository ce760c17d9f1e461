//! `aws_iam_role` and `aws_iam_role_policy_attachment`: what control planes and nodes may do.

use std::collections::BTreeMap;

use fleetform_contract::{Attributes, Error, Mark, Remote, Resource, Result, Value};

use crate::attributes::{
    attributes, canonical_json, check_ours, required, tag_changes, text, text_map, whole,
};
use crate::resources::{CLUSTER_POLICIES, NODE_POLICIES, ROLE_PREFIX, attachment_address};
use crate::text::{mark, percent_decode};
use crate::transport::{Query, Refused};
use crate::xml::Element;

pub async fn read(query: &Query, name: &str) -> Result<Option<Remote>> {
    match query.call("iam", "GetRole", &[pair("RoleName", name)]).await {
        Ok(answer) => Ok(answer.at("GetRoleResult.Role").map(|role| remote(role, &tags_in(role)))),
        Err(refused) if refused.code == "NoSuchEntity" => Ok(None),
        Err(refused) => Err(refused.error),
    }
}

pub async fn create(query: &Query, desired: &Resource) -> Result<Remote> {
    let want = &desired.attributes;
    let name = required(want, "name")?;
    let mut parameters = vec![
        pair("RoleName", name),
        pair("AssumeRolePolicyDocument", required(want, "assume_role_policy")?),
    ];
    parameters.extend(text(want, "path").map(|path| pair("Path", path)));
    parameters.extend(text(want, "description").map(|text| pair("Description", text)));
    let seconds = whole(want, "max_session_duration").map(|seconds| seconds.to_string());
    parameters.extend(seconds.map(|seconds| pair("MaxSessionDuration", &seconds)));
    parameters.extend(tag_parameters(&text_map(want, "tags")));
    match query.call("iam", "CreateRole", &parameters).await {
        Ok(_) => {}
        Err(refused) if refused.code == "EntityAlreadyExists" => {
            if let Some(found) = read(query, name).await? {
                let tags = text_map(&found.attributes, "tags");
                check_ours(&format!("the role `{name}`"), &tags, desired)?;
            }
        }
        Err(refused) => return Err(refused.error),
    }
    present(read(query, name).await?, name)
}

pub async fn update(query: &Query, desired: &Resource) -> Result<Remote> {
    let want = &desired.attributes;
    let name = required(want, "name")?;
    let now = present(read(query, name).await?, name)?.attributes;
    let role = pair("RoleName", name);
    let trust = required(want, "assume_role_policy")?;
    if text(&now, "assume_role_policy") != Some(&canonical_json(trust)) {
        let parameters = [role.clone(), pair("PolicyDocument", trust)];
        query.call("iam", "UpdateAssumeRolePolicy", &parameters).await?;
    }
    let duration = whole(want, "max_session_duration");
    let new_duration = duration.filter(|_| duration != whole(&now, "max_session_duration"));
    let description = text(want, "description").unwrap_or_default();
    if text(&now, "description").unwrap_or_default() != description || new_duration.is_some() {
        let mut parameters = vec![role.clone(), pair("Description", description)];
        let seconds = duration.map(|seconds| seconds.to_string());
        parameters.extend(seconds.map(|seconds| pair("MaxSessionDuration", &seconds)));
        query.call("iam", "UpdateRole", &parameters).await?;
    }
    let (add, remove) = tag_changes(&text_map(&now, "tags"), &text_map(want, "tags"));
    if !add.is_empty() {
        let mut parameters = vec![role.clone()];
        parameters.extend(tag_parameters(&add));
        query.call("iam", "TagRole", &parameters).await?;
    }
    if !remove.is_empty() {
        let keys = remove.iter().enumerate();
        let keys = keys.map(|(index, key)| pair(&format!("TagKeys.member.{}", index + 1), key));
        let parameters: Vec<_> = [role].into_iter().chain(keys).collect();
        query.call("iam", "UntagRole", &parameters).await?;
    }
    present(read(query, name).await?, name)
}

/// Removes the role, after what is still attached to it.
pub async fn delete(query: &Query, name: &str) -> Result<()> {
    for arn in attached(query, name).await?.unwrap_or_default() {
        detach(query, name, &arn).await?;
    }
    missing_is_fine(query.call("iam", "DeleteRole", &[pair("RoleName", name)]).await)
}

/// This owner's roles and our policies on them. IAM lists no tags, so only roles with our prefix are
/// asked for theirs.
pub async fn list(query: &Query, stack: &str) -> Result<Vec<(Mark, Remote)>> {
    let mut found = Vec::new();
    for role in pages(query, "ListRoles", &[], "Roles").await? {
        let name = role.text("RoleName").unwrap_or_default();
        if !name.starts_with(ROLE_PREFIX) {
            continue;
        }
        // ListRoles leaves tags out; a role may be gone by now.
        let Some(role) = read(query, name).await? else { continue };
        let tags = text_map(&role.attributes, "tags");
        let tag = |key: &str| tags.get(key).map(String::as_str);
        let Some(mark) = mark(stack, tag) else { continue };
        for arn in attached(query, name).await?.unwrap_or_default() {
            let policy = arn.rsplit('/').next().unwrap_or_default();
            if CLUSTER_POLICIES.contains(&policy) || NODE_POLICIES.contains(&policy) {
                let address = attachment_address(&mark.address, policy);
                found.push((Mark { address, ..mark.clone() }, attachment(name, &arn)));
            }
        }
        found.push((mark, role));
    }
    Ok(found)
}

pub async fn read_attachment(query: &Query, names: &Attachment) -> Result<Option<Remote>> {
    let attached = attached(query, &names.role).await?.unwrap_or_default();
    let found = attached.contains(&names.policy_arn);
    Ok(found.then(|| attachment(&names.role, &names.policy_arn)))
}

/// Attaching twice is attaching once.
pub async fn create_attachment(query: &Query, names: &Attachment) -> Result<Remote> {
    let parameters = [pair("RoleName", &names.role), pair("PolicyArn", &names.policy_arn)];
    query.call("iam", "AttachRolePolicy", &parameters).await?;
    Ok(attachment(&names.role, &names.policy_arn))
}

pub async fn delete_attachment(query: &Query, names: &Attachment) -> Result<()> {
    detach(query, &names.role, &names.policy_arn).await
}

/// A policy on a role.
pub struct Attachment {
    pub role: String,
    pub policy_arn: String,
}

impl Attachment {
    /// As recorded or desired, else from an id (`role/arn:…`).
    pub fn of(attributes: &Attributes, id: Option<&str>) -> Result<Attachment> {
        let names = text(attributes, "role").zip(text(attributes, "policy_arn"));
        let (role, policy_arn) = names
            .or_else(|| id.and_then(|id| id.split_once('/')))
            .ok_or_else(|| Error::rejected("the attributes `role` and `policy_arn` are missing"))?;
        Ok(Attachment { role: role.to_owned(), policy_arn: policy_arn.to_owned() })
    }
}

/// A role's name: as recorded or desired, else the end of its id.
pub fn name_in(attributes: &Attributes, id: Option<&str>) -> Result<String> {
    let id = id.and_then(|id| id.rsplit('/').next());
    let name = text(attributes, "name").or(id);
    name.map(str::to_owned).ok_or_else(|| Error::rejected("the attribute `name` is missing"))
}

fn remote(role: &Element, tags: &BTreeMap<String, String>) -> Remote {
    let part = |name: &str| role.text(name);
    let trust = part("AssumeRolePolicyDocument").unwrap_or_default();
    let trust = percent_decode(trust).unwrap_or_else(|| trust.to_owned());
    let seconds = part("MaxSessionDuration").and_then(|text| text.parse::<f64>().ok());
    let tags = tags.iter().map(|(key, value)| (key.clone(), Value::from(value)));
    let attributes = attributes([
        ("name", part("RoleName").into()),
        ("assume_role_policy", canonical_json(&trust).into()),
        ("description", part("Description").filter(|text| !text.is_empty()).into()),
        ("path", part("Path").into()),
        ("max_session_duration", seconds.into()),
        ("tags", Value::map(tags)),
        ("arn", part("Arn").into()),
        ("id", part("RoleName").into()),
        ("unique_id", part("RoleId").into()),
        ("create_date", part("CreateDate").into()),
    ]);
    Remote { id: part("Arn").unwrap_or_default().to_owned(), attributes }
}

fn tags_in(role: &Element) -> BTreeMap<String, String> {
    let tags = role
        .items("Tags")
        .iter()
        .filter_map(|tag| Some((tag.text("Key")?.to_owned(), tag.text("Value")?.to_owned())));
    tags.collect()
}

fn attachment(role: &str, policy_arn: &str) -> Remote {
    let id = format!("{role}/{policy_arn}");
    let attributes = attributes([
        ("role", role.into()),
        ("policy_arn", policy_arn.into()),
        ("id", id.as_str().into()),
    ]);
    Remote { id, attributes }
}

/// ARNs of the policies on a role; `None` where there is no such role.
async fn attached(query: &Query, role: &str) -> Result<Option<Vec<String>>> {
    let role = [pair("RoleName", role)];
    match pages(query, "ListAttachedRolePolicies", &role, "AttachedPolicies").await {
        Ok(policies) => {
            let arns = policies.iter().filter_map(|policy| policy.text("PolicyArn"));
            Ok(Some(arns.map(str::to_owned).collect()))
        }
        Err(refused) if refused.code == "NoSuchEntity" => Ok(None),
        Err(refused) => Err(refused.error),
    }
}

async fn detach(query: &Query, role: &str, policy_arn: &str) -> Result<()> {
    let parameters = [pair("RoleName", role), pair("PolicyArn", policy_arn)];
    missing_is_fine(query.call("iam", "DetachRolePolicy", &parameters).await)
}

/// Every item of a list that comes in pages.
async fn pages(
    query: &Query,
    action: &str,
    parameters: &[(String, String)],
    list: &str,
) -> std::result::Result<Vec<Element>, Refused> {
    let mut items = Vec::new();
    let mut marker = None;
    loop {
        let mut page = parameters.to_vec();
        page.extend(marker.take().map(|marker: String| pair("Marker", &marker)));
        let answer = query.call("iam", action, &page).await?;
        let result = format!("{action}Result");
        items.extend_from_slice(answer.items(&format!("{result}.{list}")));
        if answer.text(&format!("{result}.IsTruncated")) != Some("true") {
            return Ok(items);
        }
        marker = answer.text(&format!("{result}.Marker")).map(str::to_owned);
        if marker.is_none() {
            return Ok(items);
        }
    }
}

fn missing_is_fine(answer: std::result::Result<Element, Refused>) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(refused) if refused.code == "NoSuchEntity" => Ok(()),
        Err(refused) => Err(refused.error),
    }
}

fn tag_parameters(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let numbered = tags.iter().zip(1..);
    let pairs = numbered.flat_map(|((key, value), number)| {
        [
            pair(&format!("Tags.member.{number}.Key"), key),
            pair(&format!("Tags.member.{number}.Value"), value),
        ]
    });
    pairs.collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn present(remote: Option<Remote>, name: &str) -> Result<Remote> {
    remote
        .ok_or_else(|| Error::lost(format!("the role `{name}` is not there after it was written")))
}
