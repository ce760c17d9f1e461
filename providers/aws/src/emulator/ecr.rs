//! ECR repositories with their lifecycle policies.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use fleetform_sandbox::{Object, Table};
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{self, Answer, Refusal};
use super::{ACCOUNT, Call};

const REPOSITORIES: &str = "aws/ecr/repositories";
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.";
const INVALID: &str = "InvalidParameterException";
const TOKEN_LIFETIME_SECONDS: u64 = 12 * 3600;

/// Every operation's members: each takes its own few.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Input {
    registry_id: Option<String>,
    registry_ids: Option<Vec<String>>,
    repository_name: Option<String>,
    repository_names: Option<Vec<String>>,
    tags: Option<Vec<Tag>>,
    tag_keys: Option<Vec<String>>,
    resource_arn: Option<String>,
    image_tag_mutability: Option<String>,
    image_scanning_configuration: Option<Scanning>,
    encryption_configuration: Option<Encryption>,
    lifecycle_policy_text: Option<String>,
    force: Option<bool>,
    next_token: Option<String>,
    max_results: Option<u32>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Value", default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scanning {
    scan_on_push: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Encryption {
    encryption_type: Option<String>,
}

pub fn answer(table: &mut Table, call: &Call<'_>) -> Result<Answer, Refusal> {
    let operation = call.target.and_then(|target| target.strip_prefix(TARGET)).unwrap_or_default();
    let members: &[&str] = match operation {
        "CreateRepository" => &[
            "registryId",
            "repositoryName",
            "tags",
            "imageTagMutability",
            "imageScanningConfiguration",
            "encryptionConfiguration",
        ],
        "DescribeRepositories" => &["registryId", "repositoryNames", "nextToken", "maxResults"],
        "DeleteRepository" => &["registryId", "repositoryName", "force"],
        "PutImageTagMutability" => &["registryId", "repositoryName", "imageTagMutability"],
        "PutImageScanningConfiguration" => {
            &["registryId", "repositoryName", "imageScanningConfiguration"]
        }
        "PutLifecyclePolicy" => &["registryId", "repositoryName", "lifecyclePolicyText"],
        "GetLifecyclePolicy" | "DeleteLifecyclePolicy" => &["registryId", "repositoryName"],
        "TagResource" => &["resourceArn", "tags"],
        "UntagResource" => &["resourceArn", "tagKeys"],
        "ListTagsForResource" => &["resourceArn"],
        "GetAuthorizationToken" => &["registryIds"],
        _ => {
            let message = format!("ECR has no operation {operation} here");
            return Err(Refusal::new(400, "UnknownOperationException", message));
        }
    };
    let input = input(call, members)?;
    let region = call.scope.region.as_str();
    match operation {
        "CreateRepository" => create(table, region, input),
        "DescribeRepositories" => describe(table, region, input),
        "DeleteRepository" => {
            let (key, repository) = find(table, region, &input)?;
            table.remove(REPOSITORIES, &key);
            Ok(Answer::Json(json!({ "repository": repository })))
        }
        "PutImageTagMutability" => {
            let mutability = mutability(input.image_tag_mutability.as_deref())?;
            let answer = ids(&input, "imageTagMutability", mutability.into());
            change(table, region, &input, "imageTagMutability", mutability.into())?;
            Ok(answer)
        }
        "PutImageScanningConfiguration" => {
            let scanning = scanning(input.image_scanning_configuration.as_ref());
            let answer = ids(&input, "imageScanningConfiguration", scanning.clone());
            change(table, region, &input, "imageScanningConfiguration", scanning)?;
            Ok(answer)
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            tags(table, region, operation, input)
        }
        "GetAuthorizationToken" => {
            let password = format!("AWS:sandbox-{}", table.tick());
            Ok(Answer::Json(json!({ "authorizationData": [{
                "authorizationToken": BASE64_STANDARD.encode(password),
                "expiresAt": table.now_unix() + TOKEN_LIFETIME_SECONDS,
                "proxyEndpoint": format!("https://{ACCOUNT}.dkr.ecr.{region}.amazonaws.com"),
            }] })))
        }
        _ => policy(table, region, operation, input),
    }
}

fn create(table: &mut Table, region: &str, input: Input) -> Result<Answer, Refusal> {
    let name = input.repository_name.as_deref().unwrap_or_default();
    check_name(name)?;
    let key = format!("{region}/{name}");
    if table.get(REPOSITORIES, &key).is_some() {
        let message = format!(
            "The repository with name '{name}' already exists in the registry with id '{ACCOUNT}'"
        );
        return Err(Refusal::new(400, "RepositoryAlreadyExistsException", message));
    }
    let tags = new_tags(input.tags.unwrap_or_default())?;
    let encryption = input.encryption_configuration.and_then(|config| config.encryption_type);
    let encryption = encryption.unwrap_or_else(|| "AES256".to_owned());
    if encryption != "AES256" {
        return Err(invalid(format!("encryption by {encryption} is not emulated")));
    }
    let repository = json!({
        "repositoryArn": format!("arn:aws:ecr:{region}:{ACCOUNT}:repository/{name}"),
        "registryId": ACCOUNT,
        "repositoryName": name,
        "repositoryUri": format!("{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{name}"),
        "createdAt": table.now_unix(),
        "imageTagMutability": mutability(input.image_tag_mutability.as_deref())?,
        "imageScanningConfiguration": scanning(input.image_scanning_configuration.as_ref()),
        "encryptionConfiguration": { "encryptionType": encryption },
    });
    let body = json!({ "repository": repository, "tags": tags, "policy": null });
    table.put(REPOSITORIES, key, Object { body, settles_at: 0 });
    Ok(Answer::Json(json!({ "repository": repository })))
}

fn describe(table: &Table, region: &str, input: Input) -> Result<Answer, Refusal> {
    if let Some(names) = input.repository_names {
        let mut found = Vec::new();
        for name in names {
            let one = Input { repository_name: Some(name), ..Input::default() };
            found.push(find(table, region, &one)?.1);
        }
        return Ok(Answer::Json(json!({ "repositories": found })));
    }
    let prefix = format!("{region}/");
    let keys: Vec<String> =
        table.list(REPOSITORIES, &prefix).map(|(key, _)| key.to_owned()).collect();
    let size = input.max_results.map(|size| size.to_string());
    let token = input.next_token.as_deref();
    // 100 a page by default, 1,000 at most.
    let size = size.as_deref().or(Some("100"));
    let (keys, next) = wire::page(&keys, size, 1000, token, invalid)?;
    let found = keys.iter().filter_map(|key| table.get(REPOSITORIES, key));
    let found: Vec<&Value> = found.map(|object| &object.body["repository"]).collect();
    let mut answer = json!({ "repositories": found });
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    Ok(Answer::Json(answer))
}

fn change(
    table: &mut Table,
    region: &str,
    input: &Input,
    member: &str,
    value: Value,
) -> Result<(), Refusal> {
    let (key, _) = find(table, region, input)?;
    if let Some(object) = table.get_mut(REPOSITORIES, &key) {
        object.body["repository"][member] = value;
    }
    Ok(())
}

fn policy(
    table: &mut Table,
    region: &str,
    operation: &str,
    input: Input,
) -> Result<Answer, Refusal> {
    let (key, _) = find(table, region, &input)?;
    let name = input.repository_name.clone().unwrap_or_default();
    let now = table.now_unix();
    let Some(object) = table.get_mut(REPOSITORIES, &key) else { return Err(no_repository(&name)) };
    let policy = &mut object.body["policy"];
    if operation == "PutLifecyclePolicy" {
        let text = input.lifecycle_policy_text.clone().unwrap_or_default();
        check_policy(&text)?;
        *policy = text.clone().into();
        return Ok(ids(&input, "lifecyclePolicyText", text.into()));
    }
    if policy.is_null() {
        let message = format!(
            "Lifecycle policy does not exist for the repository with name '{name}' in the registry \
             with id '{ACCOUNT}'"
        );
        return Err(Refusal::new(400, "LifecyclePolicyNotFoundException", message));
    }
    let text = if operation == "GetLifecyclePolicy" { policy.clone() } else { policy.take() };
    let mut answer = ids(&input, "lifecyclePolicyText", text);
    if let Answer::Json(answer) = &mut answer {
        answer["lastEvaluatedAt"] = now.into();
    }
    Ok(answer)
}

fn tags(table: &mut Table, region: &str, operation: &str, input: Input) -> Result<Answer, Refusal> {
    let arn = input.resource_arn.unwrap_or_default();
    let prefix = format!("arn:aws:ecr:{region}:{ACCOUNT}:repository/");
    let name = arn.strip_prefix(&prefix).ok_or_else(|| {
        invalid(format!("Invalid parameter at 'resourceArn': '{arn}' is no repository here"))
    })?;
    let object = table.get_mut(REPOSITORIES, &format!("{region}/{name}"));
    let Some(object) = object else { return Err(no_repository(name)) };
    let tags = &mut object.body["tags"];
    match operation {
        "TagResource" => {
            let new = new_tags(input.tags.ok_or_else(|| invalid("tags is required".into()))?)?;
            for (key, value) in new.as_object().into_iter().flatten() {
                tags[key] = value.clone();
            }
            Ok(Answer::Json(json!({})))
        }
        "UntagResource" => {
            let keys = input.tag_keys.ok_or_else(|| invalid("tagKeys is required".into()))?;
            for key in keys {
                tags.as_object_mut().and_then(|tags| tags.remove(&key));
            }
            Ok(Answer::Json(json!({})))
        }
        _ => {
            let tags = tags.as_object().into_iter().flatten();
            let tags = tags.map(|(key, value)| json!({ "Key": key, "Value": value }));
            Ok(Answer::Json(json!({ "tags": tags.collect::<Vec<_>>() })))
        }
    }
}

/// The body, with no member that the operation does not have.
fn input(call: &Call<'_>, members: &[&str]) -> Result<Input, Refusal> {
    let raw: serde_json::Map<String, Value> = call.json(INVALID)?;
    if let Some(unknown) = raw.keys().find(|member| !members.contains(&member.as_str())) {
        return Err(invalid(format!("the operation has no member `{unknown}`")));
    }
    let input: Input =
        serde_json::from_value(raw.into()).map_err(|error| invalid(error.to_string()))?;
    let others = input.registry_ids.iter().flatten().chain(&input.registry_id);
    match others.into_iter().find(|id| *id != ACCOUNT) {
        None => Ok(input),
        Some(id) => Err(invalid(format!("The registry with id '{id}' is not this account's"))),
    }
}

/// A repository's key and what the API says of it.
fn find(table: &Table, region: &str, input: &Input) -> Result<(String, Value), Refusal> {
    let name = input.repository_name.as_deref().unwrap_or_default();
    check_name(name)?;
    let key = format!("{region}/{name}");
    let object = table.get(REPOSITORIES, &key).ok_or_else(|| no_repository(name))?;
    Ok((key, object.body["repository"].clone()))
}

fn ids(input: &Input, member: &str, value: Value) -> Answer {
    let mut answer = json!({ "registryId": ACCOUNT, "repositoryName": input.repository_name });
    answer[member] = value;
    Answer::Json(answer)
}

/// Parts between `/`: lower-case letters and digits with single `.`, `_` or `-` between them.
fn check_name(name: &str) -> Result<(), Refusal> {
    let part_holds = |part: &str| {
        part.split(['.', '_', '-']).all(|word| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
    };
    if (2..=256).contains(&name.len()) && name.split('/').all(part_holds) {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular \
         expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*'': '{name}'"
    )))
}

fn new_tags(tags: Vec<Tag>) -> Result<Value, Refusal> {
    let pairs = tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str()));
    if let Some(fault) = wire::tags_fault(pairs) {
        return Err(Refusal::new(400, "InvalidTagParameterException", fault));
    }
    Ok(Value::Object(tags.into_iter().map(|tag| (tag.key, tag.value.into())).collect()))
}

fn mutability(value: Option<&str>) -> Result<&str, Refusal> {
    match value.unwrap_or("MUTABLE") {
        known @ ("MUTABLE" | "IMMUTABLE") => Ok(known),
        other => Err(invalid(format!("imageTagMutability '{other}' is unknown or not emulated"))),
    }
}

fn scanning(scanning: Option<&Scanning>) -> Value {
    let scan = scanning.and_then(|scanning| scanning.scan_on_push).unwrap_or(false);
    json!({ "scanOnPush": scan })
}

fn check_policy(text: &str) -> Result<(), Refusal> {
    let invalid = |why: &str| {
        invalid(format!(
            "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle \
             policy validation failure: {why}'"
        ))
    };
    let policy: Value = serde_json::from_str(text).map_err(|_| invalid("it is no JSON"))?;
    let rules = policy["rules"].as_array().filter(|rules| !rules.is_empty());
    let rules = rules.ok_or_else(|| invalid("it has no rules"))?;
    let mut priorities = std::collections::BTreeSet::new();
    for rule in rules {
        let selection = &rule["selection"];
        let priority = rule["rulePriority"].as_u64().filter(|priority| *priority > 0);
        if !priority.is_some_and(|priority| priorities.insert(priority)) {
            return Err(invalid("rulePriority is missing or not unique"));
        }
        let status = selection["tagStatus"].as_str().unwrap_or_default();
        if !["any", "tagged", "untagged"].contains(&status) {
            return Err(invalid("tagStatus is not any, tagged or untagged"));
        }
        let kind = selection["countType"].as_str().unwrap_or_default();
        if !["imageCountMoreThan", "sinceImagePushed"].contains(&kind) {
            return Err(invalid("countType is unknown"));
        }
        if selection["countNumber"].as_u64().unwrap_or_default() == 0 {
            return Err(invalid("countNumber is less than 1"));
        }
        if rule["action"]["type"] != "expire" {
            return Err(invalid("the action is not expire"));
        }
    }
    Ok(())
}

fn invalid(message: String) -> Refusal {
    Refusal::new(400, INVALID, message)
}

fn no_repository(name: &str) -> Refusal {
    let message = format!(
        "The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"
    );
    Refusal::new(400, "RepositoryNotFoundException", message)
}
