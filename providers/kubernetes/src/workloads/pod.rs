//! The pods of a workload.

use fleetform_contract::{Health, Market, Needs, Pool, Value, Workload, ZoneSpread};
use serde_json::{Value as Json, json};

use super::{APP_NAME, IntoValue, Scope, put};
use crate::labels::POOL;
use crate::{labels, quantity};

pub(super) const RENDEZVOUS_PORT: u16 = 29_500;
pub(super) const GPU: &str = "nvidia.com/gpu";
const ZONE: &str = "topology.kubernetes.io/zone";
pub(super) const SECRETS_DIGEST: &str = "fleetform.dev/secrets-digest";

/// The name of the Secret that holds a workload's secret environment.
pub(super) fn secret_name(workload: &Workload) -> String {
    format!("{}-env", workload.name)
}

/// The pod template of a Deployment.
pub(super) fn service_template(scope: &Scope, workload: &Workload) -> Value {
    let mut spec = json!({
        // Long answers are finished before a replica goes.
        "terminationGracePeriodSeconds": 60,
    });
    if workload.replicas > 1 || workload.autoscale.as_ref().is_some_and(|scale| scale.max > 1) {
        spec["topologySpreadConstraints"] = [ZONE, "kubernetes.io/hostname"]
            .map(|key| {
                json!({
                    "maxSkew": 1,
                    "topologyKey": key,
                    // Wanted, not demanded: the placement has paid for exactly these nodes.
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": { "matchLabels": { APP_NAME: workload.name } },
                })
            })
            .into_iter()
            .collect();
        if let Some(mut demanded) = demanded_zones(workload) {
            // A rollout's new replicas are counted for themselves, or there would be no room for the first.
            demanded["matchLabelKeys"] = json!(["pod-template-hash"]);
            // Zones are asked for once.
            spec["topologySpreadConstraints"][0] = demanded;
        }
    }
    let mut container = container(workload);
    if let Some(port) = workload.port {
        container["ports"] = json!([{ "name": "http", "containerPort": port, "protocol": "TCP" }]);
    }
    if let Some(health) = &workload.health {
        for (name, probe) in probes(health) {
            container[name] = probe;
        }
    }
    template(scope, workload, spec, container, environment(workload))
}

/// What the placement demands of the zones of a site.
///
/// While there are fewer zones with nodes than `minDomains`, Kubernetes takes the least of them to have none
/// of the pods, so `maxSkew` is the most that any zone may have.
fn demanded_zones(workload: &Workload) -> Option<Json> {
    /// More than any region has.
    const ZONES: u32 = 100;
    let (skew, zones) = match workload.zone_spread? {
        ZoneSpread::AtMost(replicas) => (replicas, ZONES),
        ZoneSpread::Even { more, zones } => (more, zones),
    };
    Some(json!({
        "maxSkew": skew.max(1),
        "minDomains": zones.max(1),
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { APP_NAME: workload.name } },
    }))
}

/// The pod template of a Job: one node of a gang.
pub(super) fn job_template(scope: &Scope, workload: &Workload) -> Value {
    let mut spec = json!({ "restartPolicy": "Never" });
    if let Some(demanded) = demanded_zones(workload) {
        spec["topologySpreadConstraints"] = json!([demanded]);
    }
    let mut env = environment(workload);
    if workload.replicas > 1 {
        spec["subdomain"] = workload.name.as_str().into();
        let mut gang = gang_environment(scope, workload);
        gang.retain(|variable| !env.iter().any(|own| own.at("name") == variable.at("name")));
        // Before the user's own, which may refer to them as $(NAME).
        gang.append(&mut env);
        env = gang;
    }
    template(scope, workload, spec, container(workload), env)
}

fn template(
    scope: &Scope,
    workload: &Workload,
    mut spec: Json,
    container: Json,
    env: Vec<Value>,
) -> Value {
    spec["automountServiceAccountToken"] = false.into();
    spec["enableServiceLinks"] = false.into();
    spec["securityContext"] = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    let pools: Vec<&Pool> =
        scope.site.pools.iter().filter(|pool| workload.pools.contains_key(&pool.key())).collect();
    // Nodes of clusters that exist already do not carry our label.
    if scope.cluster.is_some() && !pools.is_empty() {
        let values: Json = pools.iter().map(|pool| pool.slug()).collect();
        spec["affinity"] = json!({ "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{
                "matchExpressions": [{ "key": POOL, "operator": "In", "values": values }],
            }] },
        } });
    }
    let tolerations = tolerations(&workload.needs, &pools);
    if !tolerations.is_empty() {
        spec["tolerations"] = tolerations.into();
    }
    let mut spec = spec.into_value();
    let mut container = container.into_value();
    put(&mut container, "image", workload.image.clone());
    if !env.is_empty() {
        put(&mut container, "env", Value::List(env));
    }
    put(&mut spec, "containers", Value::List(vec![container]));

    let mut metadata = json!({ "labels": scope.labels(&workload.name) });
    if let Some(digest) = secrets_digest(workload) {
        // Pods read a Secret when they start; a new text must start new ones.
        metadata["annotations"] = json!({ SECRETS_DIGEST: digest });
    }
    Value::map([("metadata", metadata.into_value()), ("spec", spec)])
}

/// Everything of the container but image and environment, which may be unknown.
fn container(workload: &Workload) -> Json {
    let mut container = json!({
        "name": workload.name,
        "securityContext": { "allowPrivilegeEscalation": false },
    });
    let resources = resources(&workload.needs);
    if resources.as_object().is_some_and(|resources| !resources.is_empty()) {
        container["resources"] = resources;
    }
    if !workload.command.is_empty() {
        container["command"] = workload.command.as_slice().into();
    }
    container
}

/// Requests are what the placement counted. Memory is limited to it, because what one replica takes
/// beyond it another was promised; CPU is not, because idle cycles harm nobody. Storage and network are
/// priced but not requested: nodes offer neither in the sizes that stacks ask for.
fn resources(needs: &Needs) -> Json {
    let (mut requests, mut limits) = (json!({}), json!({}));
    if needs.cpus > 0.0 {
        requests["cpu"] = quantity::cpus(needs.cpus).into();
    }
    if needs.memory_gib > 0.0 {
        requests["memory"] = quantity::gibibytes(needs.memory_gib).into();
        limits["memory"] = requests["memory"].clone();
    }
    if needs.gpus > 0 {
        requests[GPU] = needs.gpus.to_string().into();
        limits[GPU] = requests[GPU].clone();
    }
    let mut resources = json!({});
    for (name, amounts) in [("requests", requests), ("limits", limits)] {
        if amounts.as_object().is_some_and(|amounts| !amounts.is_empty()) {
            resources[name] = amounts;
        }
    }
    resources
}

/// A replica has ten minutes after the initial delay to come up; only then does liveness count.
fn probes(health: &Health) -> [(&'static str, Json); 3] {
    let get = json!({ "path": health.path, "port": health.port, "scheme": "HTTP" });
    let mut startup = json!({
        "httpGet": get, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 60,
    });
    if health.initial_delay_seconds > 0 {
        startup["initialDelaySeconds"] = health.initial_delay_seconds.into();
    }
    [
        ("startupProbe", startup),
        (
            "readinessProbe",
            json!({ "httpGet": get, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3 }),
        ),
        (
            "livenessProbe",
            json!({ "httpGet": get, "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 6 }),
        ),
    ]
}

/// What keeps other pods off the nodes of these pools: GPUs everywhere, spot on GKE and AKS, ARM on GKE.
fn tolerations(needs: &Needs, pools: &[&Pool]) -> Vec<Json> {
    let mut tolerations = Vec::new();
    if needs.gpus > 0 {
        tolerations.push(json!({ "key": GPU, "operator": "Exists", "effect": "NoSchedule" }));
    }
    let mut equal = |key: &str, value: &str| {
        tolerations.push(
            json!({ "key": key, "operator": "Equal", "value": value, "effect": "NoSchedule" }),
        );
    };
    if pools.iter().any(|pool| pool.offering.market == Market::Spot) {
        equal("cloud.google.com/gke-spot", "true");
        equal("kubernetes.azure.com/scalesetpriority", "spot");
    }
    if pools.iter().any(|pool| pool.offering.architecture == "arm64") {
        equal("kubernetes.io/arch", "arm64");
    }
    tolerations
}

/// The user's environment, by name: plain values, secret ones by reference.
fn environment(workload: &Workload) -> Vec<Value> {
    let mut env: Vec<(String, Value)> = Vec::new();
    for (name, value) in &workload.env {
        let variable = if value.has_secret() {
            from_secret(name, &secret_name(workload), name)
        } else {
            match text(value) {
                Some(value) => Value::map([("name", Value::from(name)), ("value", value)]),
                None => continue,
            }
        };
        env.push((name.clone(), variable));
    }
    for secret in &workload.secret_env {
        env.push((secret.name.clone(), from_secret(&secret.name, &secret.secret, &secret.key)));
    }
    // By name, and of two of one name the later: `secret_env` says where a text comes from.
    env.sort_by(|(one, _), (other, _)| one.cmp(other));
    env.reverse();
    env.dedup_by(|(one, _), (other, _)| one == other);
    env.reverse();
    env.into_iter().map(|(_, variable)| variable).collect()
}

fn from_secret(name: &str, secret: &str, key: &str) -> Value {
    json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } })
        .into_value()
}

/// A value as the text a program finds in its environment; `None` for null, which sets nothing.
fn text(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Unknown(_) | Value::String(_) | Value::Secret(_) => Some(value.clone()),
        Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
            Some(value.to_plain_json().to_string().into())
        }
    }
}

/// How the nodes of a gang find each other: PyTorch's names, and ours for other launchers.
fn gang_environment(scope: &Scope, workload: &Workload) -> Vec<Value> {
    let field = |name: &str, path: &str| {
        json!({
            "name": name,
            "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } },
        })
        .into_value()
    };
    let plain = |name: &str, value: String| json!({ "name": name, "value": value }).into_value();
    // The job's own name is known only to the pod: a CronJob makes a new one every time.
    let first = format!("$(FLEETFORM_JOB)-0.{}.{}.svc", workload.name, scope.namespace);
    vec![
        field("FLEETFORM_JOB", "metadata.labels['batch.kubernetes.io/job-name']"),
        field(
            "FLEETFORM_NODE_RANK",
            "metadata.annotations['batch.kubernetes.io/job-completion-index']",
        ),
        plain("FLEETFORM_NODES", workload.replicas.to_string()),
        plain("MASTER_ADDR", first),
        plain("MASTER_PORT", RENDEZVOUS_PORT.to_string()),
    ]
}

/// Changes when any of the secret texts does, and tells nothing about them.
fn secrets_digest(workload: &Workload) -> Option<String> {
    let mut digests = String::new();
    for (name, value) in workload.env.iter().filter(|(_, value)| value.has_secret()) {
        value.map_leaves(&mut |leaf| {
            if let Value::Secret(secret) = leaf {
                digests += &format!("{name}={};", secret.digest);
            }
            Value::Null
        });
    }
    (!digests.is_empty()).then(|| labels::hash(&digests))
}
