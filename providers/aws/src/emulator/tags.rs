//! EKS's tags, by ARN.

use std::collections::BTreeMap;

use fleetform_sandbox::Table;
use serde::Deserialize;
use serde_json::{Value, json};

use super::clusters::{CLUSTERS, pairs};
use super::node_groups::NODE_GROUPS;
use super::wire::{self, Answer, Refusal};
use super::{ACCOUNT, Call};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tag {
    tags: Option<BTreeMap<String, String>>,
}

pub fn answer(
    table: &mut Table,
    call: &Call<'_>,
    method: &str,
    arn: &str,
) -> Result<Answer, Refusal> {
    let tags = tags_mut(table, &call.scope.region, arn).ok_or_else(|| {
        Refusal::new(404, "NotFoundException", format!("Resource was not found: {arn}"))
    })?;
    match method {
        "GET" => Ok(Answer::Json(json!({ "tags": tags }))),
        "POST" => {
            let request: Tag = call.json("BadRequestException")?;
            let new = request.tags.ok_or_else(|| bad("tags is required".into()))?;
            let mut all = tags.clone();
            for (key, value) in &new {
                all[key] = value.as_str().into();
            }
            let count = all.as_object().map_or(0, serde_json::Map::len);
            if let Some(fault) = wire::tags_fault(pairs(&new)) {
                return Err(bad(fault));
            }
            if count > 50 {
                return Err(bad("more than 50 tags".into()));
            }
            *tags = all;
            Ok(Answer::Json(json!({})))
        }
        "DELETE" => {
            call.only(&["tagKeys"], "BadRequestException")?;
            let keys: Vec<&String> = call.query.iter().map(|(_, key)| key).collect();
            if keys.is_empty() {
                return Err(bad("tagKeys is required".into()));
            }
            for key in keys {
                tags.as_object_mut().and_then(|tags| tags.remove(key));
            }
            Ok(Answer::Json(json!({})))
        }
        _ => Err(Refusal::new(405, "MethodNotAllowedException", "no such operation on tags")),
    }
}

fn tags_mut<'a>(table: &'a mut Table, region: &str, arn: &str) -> Option<&'a mut Value> {
    let rest = arn.strip_prefix(&format!("arn:aws:eks:{region}:{ACCOUNT}:"))?;
    let parts: Vec<&str> = rest.split('/').collect();
    match parts[..] {
        ["cluster", name] => {
            let object = table.get_mut(CLUSTERS, &format!("{region}/{name}"))?;
            Some(&mut object.body["cluster"]["tags"])
        }
        ["nodegroup", cluster, name, _] => {
            let object = table.get_mut(NODE_GROUPS, &format!("{region}/{cluster}/{name}"))?;
            let group = &mut object.body["nodegroup"];
            (group["nodegroupArn"] == arn).then_some(&mut group["tags"])
        }
        _ => None,
    }
}

fn bad(message: String) -> Refusal {
    Refusal::new(400, "BadRequestException", message)
}
