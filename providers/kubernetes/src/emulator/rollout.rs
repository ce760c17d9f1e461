//! Deployments: replica sets, pods, and the bounds of a rolling update.

use serde_json::{Value as Json, json};

use super::controllers::{owned, patience, remove_owned};
use super::kinds::named;
use super::kubelet::{condition, make_pod, owner_reference, progress, suffix};
use super::store::Cluster;
use crate::labels;

/// A number or a percentage.
pub(super) enum Share {
    Count(i64),
    Percent(i64),
}

impl Share {
    pub fn of(json: &Json, default: i64) -> Share {
        match json {
            Json::String(text) => {
                let percent = text.trim_end_matches('%').parse();
                percent.map_or(Share::Count(default), Share::Percent)
            }
            number => Share::Count(number.as_i64().unwrap_or(default)),
        }
    }

    pub fn up(&self, whole: i64) -> i64 {
        match self {
            Share::Count(count) => *count,
            Share::Percent(percent) => (whole * percent + 99) / 100,
        }
    }

    pub fn down(&self, whole: i64) -> i64 {
        match self {
            Share::Count(count) => *count,
            Share::Percent(percent) => whole * percent / 100,
        }
    }
}

/// One step of a rollout.
pub(super) fn deployment(cluster: &mut Cluster, deployment: &Json) {
    let kind = named("Deployment");
    let (sets, pods) = (named("ReplicaSet"), named("Pod"));
    let spec = &deployment["spec"];
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    let paused = spec["paused"] == true;

    let all = owned(cluster, sets, deployment);
    let hash = template_hash(&spec["template"]);
    let is_current = |set: &&Json| set["metadata"]["labels"]["pod-template-hash"] == hash;
    let current = match all.iter().find(is_current) {
        Some(set) => set.clone(),
        None => make_set(cluster, deployment, &hash, &all),
    };
    let retired: Vec<Json> = all.iter().filter(|set| !is_current(set)).cloned().collect();
    let mut new = owned(cluster, pods, &current);
    let mut old: Vec<Json> = retired.iter().flat_map(|set| owned(cluster, pods, set)).collect();

    let running = |pod: &Json| pod["status"]["phase"] == "Running";
    let strategy = &spec["strategy"];
    let (surge, mut unavailable) = if strategy["type"] == "Recreate" {
        (0, replicas)
    } else {
        let rolling = &strategy["rollingUpdate"];
        (
            Share::of(&rolling["maxSurge"], 1).up(replicas),
            Share::of(&rolling["maxUnavailable"], 0).down(replicas),
        )
    };
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }

    // Too many of the new ones: those that do not run go first.
    new.sort_by_key(|pod| !running(pod));
    for pod in new.split_off(new.len().min(usize::try_from(replicas).unwrap_or(0))) {
        cluster.remove(pods, &pod);
    }
    if !paused {
        // Old ones that serve nobody go at once, the others as far as enough are left.
        let mut available = new.iter().chain(&old).filter(|pod| running(pod)).count() as i64;
        old.retain(|pod| {
            let goes = !running(pod) || available > replicas - unavailable;
            if goes {
                available -= i64::from(running(pod));
                cluster.remove(pods, pod);
            }
            !goes
        });
    }
    let room = replicas + surge - (new.len() + old.len()) as i64;
    let blocked = strategy["type"] == "Recreate" && !old.is_empty();
    let missing = if blocked { 0 } else { (replicas - new.len() as i64).min(room).max(0) };
    let base = current["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    for index in 0..missing {
        let seed = format!("{base}/{}/{index}", cluster.tick());
        let name = format!("{base}-{}", suffix(&seed));
        new.push(make_pod(cluster, sets, &current, &name, |_| {}));
    }

    let mut ready = 0;
    for pod in &new {
        if progress(cluster, pod, false) == "Running" {
            ready += 1;
        }
    }
    let serving_old = old.iter().filter(|pod| running(pod)).count() as i64;
    set_status(cluster, &current, new.len() as i64, ready);
    for set in &retired {
        let left = owned(cluster, pods, set).len() as i64;
        set_status(cluster, set, left, left);
    }
    forget_history(cluster, deployment, retired);

    let counts = Counts {
        replicas,
        total: (new.len() + old.len()) as i64,
        updated: new.len() as i64,
        available: ready + serving_old,
        least: replicas - unavailable,
        complete: ready == replicas && old.is_empty(),
    };
    let status = status(cluster, deployment, &counts, &base);
    let moved = ["replicas", "updatedReplicas", "availableReplicas"]
        .iter()
        .any(|name| deployment["status"][*name] != status[*name]);
    if moved {
        cluster.note(kind, deployment, cluster.tick());
    }
    cluster.put_status(kind, deployment, status);
    if !counts.complete {
        cluster.look_after(kind, deployment, if moved { 1 } else { 2 });
    }
    for kind in ["PodDisruptionBudget"].map(named) {
        // Ours are named after what they protect.
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = deployment["metadata"]["namespace"].as_str();
        if moved && let Some(budget) = cluster.get(kind, namespace, name).cloned() {
            cluster.look_after(kind, &budget, 1);
        }
    }
}

struct Counts {
    replicas: i64,
    total: i64,
    updated: i64,
    available: i64,
    least: i64,
    complete: bool,
}

fn status(cluster: &Cluster, deployment: &Json, counts: &Counts, set: &str) -> Json {
    let kind = named("Deployment");
    let now = cluster.now();
    let mut status = json!({ "observedGeneration": deployment["metadata"]["generation"] });
    for (name, count) in [
        ("replicas", counts.total),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.available),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", counts.replicas.max(counts.total) - counts.available),
    ] {
        // The API leaves zeros out.
        if count > 0 {
            status[name] = count.into();
        }
    }
    let since = |condition: &Json| {
        let before = deployment["status"]["conditions"].as_array().into_iter().flatten();
        let mut same = before.filter(|old| {
            ["type", "status", "reason"].iter().all(|key| old[*key] == condition[*key])
        });
        same.next().map(|old| old["lastTransitionTime"].clone())
    };
    let available = if counts.available >= counts.least {
        let message = "Deployment has minimum availability.";
        condition("Available", "True", "MinimumReplicasAvailable", message, &now)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", message, &now)
    };
    let stalled = cluster.tick() - cluster.noted(kind, deployment).min(cluster.tick());
    let progressing = if counts.complete {
        let message = format!("ReplicaSet \"{set}\" has successfully progressed.");
        condition("Progressing", "True", "NewReplicaSetAvailable", &message, &now)
    } else if stalled > patience(&deployment["spec"]) {
        let message = format!("ReplicaSet \"{set}\" has timed out progressing.");
        condition("Progressing", "False", "ProgressDeadlineExceeded", &message, &now)
    } else {
        let message = format!("ReplicaSet \"{set}\" is progressing.");
        condition("Progressing", "True", "ReplicaSetUpdated", &message, &now)
    };
    let conditions = [available, progressing].map(|mut condition| {
        if let Some(time) = since(&condition) {
            condition["lastTransitionTime"] = time;
        }
        condition["lastUpdateTime"] = condition["lastTransitionTime"].clone();
        condition
    });
    status["conditions"] = conditions.into_iter().collect();
    status
}

fn make_set(cluster: &mut Cluster, deployment: &Json, hash: &str, others: &[Json]) -> Json {
    let kind = named("ReplicaSet");
    let deployments = named("Deployment");
    let revision = |object: &Json| {
        let text = object["metadata"]["annotations"][REVISION].as_str();
        text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let next = 1 + others.iter().map(revision).max().unwrap_or(0);
    let namespace = deployment["metadata"]["namespace"].as_str();
    let name = format!("{}-{hash}", deployment["metadata"]["name"].as_str().unwrap_or_default());
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = hash.into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = hash.into();
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": cluster.uid(kind, namespace, &name),
            "creationTimestamp": cluster.now(),
            "generation": 1,
            "labels": template["metadata"]["labels"],
            "annotations": { REVISION: next.to_string() },
            "ownerReferences": [owner_reference(deployments, deployment)],
        },
        "spec": { "replicas": deployment["spec"]["replicas"], "selector": selector, "template": template },
        "status": { "replicas": 0 },
    });
    cluster.put(kind, set)
}

const REVISION: &str = "deployment.kubernetes.io/revision";

fn set_status(cluster: &mut Cluster, set: &Json, replicas: i64, ready: i64) {
    let kind = named("ReplicaSet");
    let name = set["metadata"]["name"].as_str().unwrap_or_default();
    let Some(mut now) = cluster.get(kind, set["metadata"]["namespace"].as_str(), name).cloned()
    else {
        return;
    };
    let mut status =
        json!({ "replicas": replicas, "observedGeneration": now["metadata"]["generation"] });
    for (name, count) in
        [("fullyLabeledReplicas", replicas), ("readyReplicas", ready), ("availableReplicas", ready)]
    {
        if count > 0 {
            status[name] = count.into();
        }
    }
    if now["status"] != status || now["spec"]["replicas"] != replicas {
        now["spec"]["replicas"] = replicas.into();
        now["status"] = status;
        cluster.put(kind, now);
    }
}

/// Keeps as many retired replica sets as the deployment wants.
fn forget_history(cluster: &mut Cluster, deployment: &Json, mut retired: Vec<Json>) {
    let kind = named("ReplicaSet");
    let limit = deployment["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10);
    retired.sort_by_key(super::store::created);
    let excess = retired.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for set in retired.into_iter().take(excess) {
        if owned(cluster, named("Pod"), &set).is_empty() {
            remove_owned(cluster, kind, &set);
            cluster.remove(kind, &set);
        }
    }
}

fn template_hash(template: &Json) -> String {
    let text = template.to_string();
    let digits = labels::hash(&text);
    format!("{digits}{}", &labels::hash(&format!("{digits}{text}"))[..2])
}
