//! `aws_eks_node_group`: managed groups of equal nodes.

use std::collections::BTreeMap;

use aws_sdk_eks::operation::create_nodegroup::builders::CreateNodegroupFluentBuilder;
use aws_sdk_eks::types::{
    AmiTypes, CapacityTypes, Nodegroup, NodegroupIssueCode, NodegroupScalingConfig,
    NodegroupStatus, NodegroupUpdateConfig, Taint, TaintEffect, UpdateLabelsPayload,
    UpdateTaintsPayload,
};
use fleetform_contract::{Attributes, Error, Remote, Resource, Result, Value};

use crate::attributes::{
    at, attributes, block, check_ours, hash_map, map_of, required, set, tag_changes, text,
    text_map, texts, tree_map, whole,
};
use crate::clusters::{await_update, is_missing, role_is_new};
use crate::errors::{code, message, translate};
use crate::text::mark;
use crate::transport::{Clients, Operation};

/// Looks at a new role before it must have reached every part of AWS.
const ROLE_ROUNDS: u32 = 12;

/// A node group's names: its cluster's and its own.
#[derive(Clone, Debug)]
pub struct Names {
    pub cluster: String,
    pub group: String,
}

impl Names {
    /// As recorded or desired, else from an id (`cluster:group` or an ARN).
    pub fn of(attributes: &Attributes, id: Option<&str>) -> Result<Names> {
        let names = text(attributes, "cluster_name").zip(text(attributes, "node_group_name"));
        let from_id = || {
            let id = id?;
            match id.split_once(":nodegroup/") {
                Some((_, rest)) => {
                    let mut parts = rest.split('/');
                    Some((parts.next()?, parts.next()?))
                }
                None => id.split_once(':'),
            }
        };
        let (cluster, group) = names.or_else(from_id).ok_or_else(|| {
            Error::rejected("the attributes `cluster_name` and `node_group_name` are missing")
        })?;
        Ok(Names { cluster: cluster.to_owned(), group: group.to_owned() })
    }
}

pub async fn read(clients: &Clients, names: &Names) -> Result<Option<Remote>> {
    Ok(describe(clients, names).await?.map(|group| remote(&clients.region, &group)))
}

/// Makes the node group and waits until its nodes have joined.
pub async fn create(operation: &Operation<'_>, desired: &Resource) -> Result<Remote> {
    let clients = operation.clients;
    let names = Names::of(&desired.attributes, None)?;
    let request = creation(clients, &names, desired)?;
    let patience = operation.patience();
    let (mut attempt, mut role_rounds) = (1, 0);
    loop {
        let token = operation.client_token(&format!("create-{attempt}"));
        let Err(error) = request.clone().client_request_token(token).send().await else { break };
        let found = if code(&error) == "ResourceInUseException" {
            describe(clients, &names).await?
        } else {
            None
        };
        if let Some(found) = found {
            let what = format!("the node group `{}` of `{}`", names.group, names.cluster);
            check_ours(&what, &tree_map(found.tags()), desired)?;
            match found.status() {
                Some(NodegroupStatus::Deleting) => await_gone(operation, &names).await?,
                Some(NodegroupStatus::CreateFailed) => delete(operation, &names).await?,
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
    let group = await_settled(operation, &names).await?;
    if group.status() == Some(&NodegroupStatus::CreateFailed) {
        // What failed to start can never start: nothing is left behind.
        let error = failure(&group);
        return delete(operation, &names).await.and(Err(error));
    }
    Ok(remote(&clients.region, &group))
}

/// Changes what differs. The version goes by its own call, after the cluster's.
pub async fn update(operation: &Operation<'_>, desired: &Resource) -> Result<Remote> {
    let clients = operation.clients;
    let want = &desired.attributes;
    let names = Names::of(want, None)?;
    let now = await_settled(operation, &names).await?;

    let (add, remove) = tag_changes(&tree_map(now.tags()), &text_map(want, "tags"));
    let arn = now.nodegroup_arn().unwrap_or_default();
    if !add.is_empty() {
        let call = clients.eks.tag_resource().resource_arn(arn).set_tags(Some(hash_map(add)));
        call.send().await.map_err(translate)?;
    }
    if !remove.is_empty() {
        let call = clients.eks.untag_resource().resource_arn(arn).set_tag_keys(Some(remove));
        call.send().await.map_err(translate)?;
    }

    let release = text(want, "release_version").filter(|to| now.release_version() != Some(*to));
    let version = text(want, "version").filter(|to| now.version() != Some(*to));
    if version.is_some() || release.is_some() {
        let call = clients.eks.update_nodegroup_version();
        let answer = call
            .cluster_name(&names.cluster)
            .nodegroup_name(&names.group)
            .set_version(version.map(str::to_owned))
            .set_release_version(release.map(str::to_owned))
            .client_request_token(operation.client_token("version"))
            .send()
            .await
            .map_err(translate)?;
        await_update(operation, &names.cluster, Some(&names.group), answer.update()).await?;
    }

    let labels = label_changes(&now, want);
    let taints = taint_changes(&now, want)?;
    let scaling = scaling_change(&now, want);
    let update_config = update_config_change(&now, want);
    if labels.is_some() || taints.is_some() || scaling.is_some() || update_config.is_some() {
        let call = clients.eks.update_nodegroup_config();
        let answer = call
            .cluster_name(&names.cluster)
            .nodegroup_name(&names.group)
            .set_labels(labels)
            .set_taints(taints)
            .set_scaling_config(scaling)
            .set_update_config(update_config)
            .client_request_token(operation.client_token("config"))
            .send()
            .await
            .map_err(translate)?;
        await_update(operation, &names.cluster, Some(&names.group), answer.update()).await?;
    }
    Ok(remote(&clients.region, &await_settled(operation, &names).await?))
}

/// Removes the node group and waits until it is gone.
pub async fn delete(operation: &Operation<'_>, names: &Names) -> Result<()> {
    let clients = operation.clients;
    let patience = operation.patience();
    loop {
        let Some(group) = describe(clients, names).await? else { return Ok(()) };
        match group.status() {
            Some(NodegroupStatus::Deleting) => return await_gone(operation, names).await,
            Some(NodegroupStatus::Creating | NodegroupStatus::Updating) => {
                operation.report(status(&group));
                patience.pause(&format!("what runs on the node group `{}`", names.group)).await?;
            }
            _ => {
                let call = clients.eks.delete_nodegroup().cluster_name(&names.cluster);
                match call.nodegroup_name(&names.group).send().await {
                    Ok(_) => return await_gone(operation, names).await,
                    Err(error) if is_missing(code(&error)) => return Ok(()),
                    Err(error) => return Err(translate(error)),
                }
            }
        }
    }
}

/// Every node group of a cluster.
pub async fn list(clients: &Clients, cluster: &str) -> Result<Vec<Nodegroup>> {
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let call = clients.eks.list_nodegroups().cluster_name(cluster).set_next_token(next);
        let page = match call.send().await {
            Ok(page) => page,
            Err(error) if is_missing(code(&error)) => break,
            Err(error) => return Err(translate(error)),
        };
        for group in page.nodegroups() {
            let names = Names { cluster: cluster.to_owned(), group: group.clone() };
            groups.extend(describe(clients, &names).await?);
        }
        next = page.next_token().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    Ok(groups)
}

/// The address that a node group's tags name, where they name this owner.
pub fn mark_of(group: &Nodegroup, stack: &str) -> Option<fleetform_contract::Mark> {
    mark(stack, |key| Some(group.tags()?.get(key)?.as_str()))
}

/// The node group's attributes in Terraform's layout.
pub fn remote(region: &str, group: &Nodegroup) -> Remote {
    let scaling = group.scaling_config().map(|scaling| {
        block([
            ("desired_size", scaling.desired_size().into()),
            ("max_size", scaling.max_size().into()),
            ("min_size", scaling.min_size().into()),
        ])
    });
    let update = group.update_config().map(|update| {
        block([
            ("max_unavailable", update.max_unavailable().into()),
            ("max_unavailable_percentage", update.max_unavailable_percentage().into()),
        ])
    });
    let taints: Vec<Value> = sorted_taints(group.taints())
        .iter()
        .map(|taint| {
            Value::Map(attributes([
                ("key", taint.key().into()),
                ("value", taint.value().filter(|value| !value.is_empty()).into()),
                ("effect", taint.effect().map(TaintEffect::as_str).into()),
            ]))
        })
        .collect();
    let names = group.resources().map(|resources| resources.auto_scaling_groups());
    let names = names.unwrap_or_default().iter();
    let autoscaling: Vec<Value> =
        names.map(|group| Value::map([("name", group.name().into())])).collect();
    let cluster = group.cluster_name().unwrap_or_default();
    let name = group.nodegroup_name().unwrap_or_default();
    let attributes = attributes([
        ("region", region.into()),
        ("cluster_name", cluster.into()),
        ("node_group_name", name.into()),
        ("node_role_arn", group.node_role().into()),
        ("subnet_ids", set(group.subnets.as_deref())),
        ("version", group.version().into()),
        ("release_version", group.release_version().into()),
        ("instance_types", group.instance_types.as_deref().map(Value::list).into()),
        ("capacity_type", group.capacity_type().map(CapacityTypes::as_str).into()),
        ("ami_type", group.ami_type().map(AmiTypes::as_str).into()),
        ("disk_size", group.disk_size().into()),
        ("scaling_config", scaling.into()),
        ("update_config", update.into()),
        ("labels", map_of(group.labels())),
        ("taint", if taints.is_empty() { Value::Null } else { Value::List(taints) }),
        ("tags", map_of(group.tags())),
        ("arn", group.nodegroup_arn().into()),
        ("id", format!("{cluster}:{name}").into()),
        ("resources", block([("autoscaling_groups", Value::List(autoscaling))])),
        ("status", status(group).into()),
    ]);
    Remote { id: group.nodegroup_arn().unwrap_or_default().to_owned(), attributes }
}

async fn describe(clients: &Clients, names: &Names) -> Result<Option<Nodegroup>> {
    let call = clients.eks.describe_nodegroup().cluster_name(&names.cluster);
    match call.nodegroup_name(&names.group).send().await {
        Ok(answer) => Ok(answer.nodegroup),
        Err(error) if is_missing(code(&error)) => Ok(None),
        Err(error) => Err(translate(error)),
    }
}

fn creation(
    clients: &Clients,
    names: &Names,
    desired: &Resource,
) -> Result<CreateNodegroupFluentBuilder> {
    let want = &desired.attributes;
    let scaling = NodegroupScalingConfig::builder()
        .set_desired_size(whole(want, "scaling_config.0.desired_size"))
        .set_max_size(whole(want, "scaling_config.0.max_size"))
        .set_min_size(whole(want, "scaling_config.0.min_size"))
        .build();
    Ok(clients
        .eks
        .create_nodegroup()
        .cluster_name(&names.cluster)
        .nodegroup_name(&names.group)
        .node_role(required(want, "node_role_arn")?)
        .set_subnets(texts(want, "subnet_ids"))
        .set_version(text(want, "version").map(str::to_owned))
        .set_release_version(text(want, "release_version").map(str::to_owned))
        .set_instance_types(texts(want, "instance_types"))
        .set_capacity_type(text(want, "capacity_type").map(CapacityTypes::from))
        .set_ami_type(text(want, "ami_type").map(AmiTypes::from))
        .set_disk_size(whole(want, "disk_size"))
        .scaling_config(scaling)
        .set_update_config(update_config(want))
        .set_labels(at(want, "labels").map(|_| hash_map(text_map(want, "labels"))))
        .set_taints(at(want, "taint").map(|_| wanted_taints(want)).transpose()?)
        .set_tags(Some(hash_map(text_map(want, "tags")))))
}

fn update_config(want: &Attributes) -> Option<NodegroupUpdateConfig> {
    at(want, "update_config.0")?;
    let nodes = whole(want, "update_config.0.max_unavailable");
    let share = whole(want, "update_config.0.max_unavailable_percentage");
    Some(
        NodegroupUpdateConfig::builder()
            .set_max_unavailable(nodes)
            .set_max_unavailable_percentage(share)
            .build(),
    )
}

fn update_config_change(now: &Nodegroup, want: &Attributes) -> Option<NodegroupUpdateConfig> {
    update_config(want).filter(|wanted| {
        now.update_config().is_none_or(|now| {
            now.max_unavailable() != wanted.max_unavailable()
                || now.max_unavailable_percentage() != wanted.max_unavailable_percentage()
        })
    })
}

/// New bounds. The size itself is the autoscaler's: it moves only where the bounds make it.
fn scaling_change(now: &Nodegroup, want: &Attributes) -> Option<NodegroupScalingConfig> {
    let min = whole(want, "scaling_config.0.min_size")?;
    let max = whole(want, "scaling_config.0.max_size")?;
    let now = now.scaling_config();
    let size = now.and_then(|now| now.desired_size());
    let size = size.or(whole(want, "scaling_config.0.desired_size")).unwrap_or(min);
    let clamped = size.min(max).max(min);
    let same = now.is_some_and(|now| {
        now.min_size() == Some(min)
            && now.max_size() == Some(max)
            && now.desired_size() == Some(clamped)
    });
    let change = NodegroupScalingConfig::builder().min_size(min).max_size(max);
    (!same).then(|| change.desired_size(clamped).build())
}

fn label_changes(now: &Nodegroup, want: &Attributes) -> Option<UpdateLabelsPayload> {
    let (add, remove) = tag_changes(&tree_map(now.labels()), &text_map(want, "labels"));
    if add.is_empty() && remove.is_empty() {
        return None;
    }
    let add = (!add.is_empty()).then(|| hash_map(add));
    let remove = (!remove.is_empty()).then_some(remove);
    Some(
        UpdateLabelsPayload::builder()
            .set_add_or_update_labels(add)
            .set_remove_labels(remove)
            .build(),
    )
}

/// A taint is named by its key and effect.
fn taint_changes(now: &Nodegroup, want: &Attributes) -> Result<Option<UpdateTaintsPayload>> {
    type Named = BTreeMap<(String, String), Taint>;
    let named = |taints: Vec<Taint>| -> Named {
        let name = |taint: &Taint| {
            let effect = taint.effect().map_or("", TaintEffect::as_str);
            (taint.key().unwrap_or_default().to_owned(), effect.to_owned())
        };
        taints.into_iter().map(|taint| (name(&taint), taint)).collect()
    };
    let (now, want) = (named(sorted_taints(now.taints())), named(wanted_taints(want)?));
    let plain = |taint: &Taint| taint.value().unwrap_or_default().to_owned();
    let changed =
        want.iter().filter(|(name, taint)| now.get(name).map(plain) != Some(plain(taint)));
    let changed: Vec<Taint> = changed.map(|(_, taint)| taint.clone()).collect();
    let gone = now.into_iter().filter(|(name, _)| !want.contains_key(name));
    let gone: Vec<Taint> = gone.map(|(_, taint)| taint).collect();
    if changed.is_empty() && gone.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        UpdateTaintsPayload::builder()
            .set_add_or_update_taints((!changed.is_empty()).then_some(changed))
            .set_remove_taints((!gone.is_empty()).then_some(gone))
            .build(),
    ))
}

fn wanted_taints(want: &Attributes) -> Result<Vec<Taint>> {
    let taints = at(want, "taint").and_then(Value::as_list).unwrap_or_default();
    let part =
        |taint: &Value, name: &str| taint.at(name).and_then(Value::as_str).map(str::to_owned);
    let read = taints.iter().map(|taint| {
        let effect = part(taint, "effect")
            .ok_or_else(|| Error::rejected("a taint of a node group has no `effect`"))?;
        Ok(Taint::builder()
            .set_key(part(taint, "key"))
            .set_value(part(taint, "value"))
            .effect(TaintEffect::from(effect.as_str()))
            .build())
    });
    read.collect()
}

fn sorted_taints(taints: &[Taint]) -> Vec<Taint> {
    let mut taints = taints.to_vec();
    taints.sort_by(|a, b| {
        let name = |taint: &Taint| {
            let effect = taint.effect().map(|effect| effect.as_str().to_owned());
            (taint.key().map(str::to_owned), effect)
        };
        name(a).cmp(&name(b))
    });
    taints
}

/// Waits while something is going on.
async fn await_settled(operation: &Operation<'_>, names: &Names) -> Result<Nodegroup> {
    let patience = operation.patience();
    loop {
        let Some(group) = describe(operation.clients, names).await? else {
            return Err(Error::lost(format!("the node group `{}` is not there", names.group)));
        };
        match group.status() {
            Some(NodegroupStatus::Creating | NodegroupStatus::Updating) => {}
            Some(NodegroupStatus::Deleting) => {
                let message = format!("the node group `{}` is being deleted", names.group);
                return Err(Error::Conflict { message });
            }
            // A degraded group is there and can be changed; why it is degraded stands in `status`.
            _ => return Ok(group),
        }
        operation.report(status(&group));
        patience.pause(&format!("the node group `{}`", names.group)).await?;
    }
}

async fn await_gone(operation: &Operation<'_>, names: &Names) -> Result<()> {
    let patience = operation.patience();
    while let Some(group) = describe(operation.clients, names).await? {
        if group.status() == Some(&NodegroupStatus::DeleteFailed) {
            return Err(failure(&group));
        }
        operation.report(status(&group));
        patience.pause(&format!("the deletion of the node group `{}`", names.group)).await?;
    }
    Ok(())
}

/// What a group's health says of why it failed.
fn failure(group: &Nodegroup) -> Error {
    let issues = group.health().map(|health| health.issues()).unwrap_or_default();
    let out = issues.iter().any(|issue| {
        let text = issue.message().unwrap_or_default();
        let out_of_nodes = matches!(
            issue.code(),
            Some(
                NodegroupIssueCode::AsgInstanceLaunchFailures
                    | NodegroupIssueCode::InstanceLimitExceeded
            )
        );
        out_of_nodes || text.contains("InsufficientInstanceCapacity")
    });
    let texts = issues.iter().map(|issue| {
        let code = issue.code().map_or("Failed", NodegroupIssueCode::as_str);
        format!("{code}: {}", issue.message().unwrap_or_default())
    });
    let text = texts.collect::<Vec<_>>().join("; ");
    let name = group.nodegroup_name().unwrap_or_default();
    let message = format!("the node group `{name}` is {}: {text}", status(group));
    if out { Error::NoCapacity { message } } else { Error::Rejected { message } }
}

fn status(group: &Nodegroup) -> &str {
    group.status().map_or("UNKNOWN", NodegroupStatus::as_str)
}
