//! What a real API server fills in: defaults of the version, and values that it allocates.

use serde_json::{Value as Json, json};

use super::kinds::Kind;
use crate::quantity;

/// Fills an object's defaults in. Filling twice is filling once.
pub(super) fn fill(kind: &Kind, object: &mut Json) {
    canonical_quantities(object);
    let spec = &mut object["spec"];
    match kind.kind {
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            or(object, "status", json!({ "phase": "Active" }));
        }
        "Pod" => pod_spec(spec),
        "Deployment" => {
            or(spec, "replicas", 1.into());
            or(spec, "revisionHistoryLimit", 10.into());
            or(spec, "progressDeadlineSeconds", 600.into());
            or(spec, "strategy", json!({}));
            let strategy = &mut spec["strategy"];
            or(strategy, "type", "RollingUpdate".into());
            if strategy["type"] == "RollingUpdate" {
                or(strategy, "rollingUpdate", json!({}));
                or(&mut strategy["rollingUpdate"], "maxSurge", "25%".into());
                or(&mut strategy["rollingUpdate"], "maxUnavailable", "25%".into());
            }
            template(&mut spec["template"]);
        }
        "ReplicaSet" => {
            or(spec, "replicas", 1.into());
            template(&mut spec["template"]);
        }
        "DaemonSet" => {
            or(spec, "revisionHistoryLimit", 10.into());
            or(spec, "updateStrategy", json!({}));
            or(&mut spec["updateStrategy"], "type", "RollingUpdate".into());
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                or(&mut spec["updateStrategy"], "rollingUpdate", json!({}));
                or(&mut spec["updateStrategy"]["rollingUpdate"], "maxSurge", 0.into());
                or(&mut spec["updateStrategy"]["rollingUpdate"], "maxUnavailable", 1.into());
            }
            template(&mut spec["template"]);
        }
        "StatefulSet" => {
            or(spec, "replicas", 1.into());
            or(spec, "revisionHistoryLimit", 10.into());
            or(spec, "podManagementPolicy", "OrderedReady".into());
            or(spec, "updateStrategy", json!({ "type": "RollingUpdate" }));
            template(&mut spec["template"]);
        }
        "Job" => {
            let uid = object["metadata"]["uid"].clone();
            let name = object["metadata"]["name"].clone();
            job_spec(&mut object["spec"]);
            if uid.is_string() && object["spec"]["manualSelector"] != true {
                let labels = json!({ "batch.kubernetes.io/controller-uid": uid });
                or(&mut object["spec"], "selector", json!({ "matchLabels": labels }));
                for key in ["batch.kubernetes.io/job-name", "job-name"] {
                    object["spec"]["template"]["metadata"]["labels"][key] = name.clone();
                }
                for key in ["batch.kubernetes.io/controller-uid", "controller-uid"] {
                    object["spec"]["template"]["metadata"]["labels"][key] = uid.clone();
                }
            }
        }
        "CronJob" => {
            or(spec, "concurrencyPolicy", "Allow".into());
            or(spec, "suspend", false.into());
            or(spec, "successfulJobsHistoryLimit", 3.into());
            or(spec, "failedJobsHistoryLimit", 1.into());
            template(&mut spec["jobTemplate"]["spec"]["template"]);
        }
        "Service" => service(object),
        "HorizontalPodAutoscaler" => {
            or(spec, "minReplicas", 1.into());
            let target = json!({ "type": "Utilization", "averageUtilization": 80 });
            let metric =
                json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
            or(spec, "metrics", json!([metric]));
        }
        "Secret" => {
            or(object, "type", "Opaque".into());
            move_string_data(object);
        }
        _ => {}
    }
    // Looking at a place that is not there has put a null there.
    strip_nulls(object);
}

/// Sets a key that is not there.
fn or(map: &mut Json, key: &str, value: Json) {
    if map[key].is_null() {
        map[key] = value;
    }
}

fn each(list: &mut Json) -> impl Iterator<Item = &mut Json> {
    list.as_array_mut().into_iter().flatten()
}

fn template(template: &mut Json) {
    if template.is_object() {
        pod_spec(&mut template["spec"]);
    }
}

fn job_spec(spec: &mut Json) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        or(spec, "completions", 1.into());
    }
    or(spec, "parallelism", 1.into());
    or(spec, "backoffLimit", 6.into());
    or(spec, "completionMode", "NonIndexed".into());
    or(spec, "suspend", false.into());
    let replacement =
        if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
    or(spec, "podReplacementPolicy", replacement.into());
    template(&mut spec["template"]);
}

fn pod_spec(spec: &mut Json) {
    if !spec.is_object() {
        return;
    }
    or(spec, "restartPolicy", "Always".into());
    or(spec, "dnsPolicy", "ClusterFirst".into());
    or(spec, "schedulerName", "default-scheduler".into());
    or(spec, "terminationGracePeriodSeconds", 30.into());
    or(spec, "securityContext", json!({}));
    for kind in ["initContainers", "containers"] {
        if spec[kind].is_array() {
            each(&mut spec[kind]).for_each(container);
        }
    }
    if spec["volumes"].is_array() {
        for volume in each(&mut spec["volumes"]) {
            for source in ["secret", "configMap", "projected", "downwardAPI"] {
                if volume[source].is_object() {
                    or(&mut volume[source], "defaultMode", 420.into());
                }
            }
            if volume["hostPath"].is_object() {
                or(&mut volume["hostPath"], "type", "".into());
            }
        }
    }
}

fn container(container: &mut Json) {
    if !container.is_object() {
        return;
    }
    let image = container["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default().split_once(':').map(|(_, tag)| tag);
    let latest = !image.contains('@') && matches!(tag, None | Some("latest"));
    let policy = if latest { "Always" } else { "IfNotPresent" };
    or(container, "imagePullPolicy", policy.into());
    or(container, "terminationMessagePath", "/dev/termination-log".into());
    or(container, "terminationMessagePolicy", "File".into());
    or(container, "resources", json!({}));
    if container["ports"].is_array() {
        for port in each(&mut container["ports"]).filter(|port| port.is_object()) {
            or(port, "protocol", "TCP".into());
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &mut container[name];
        if probe.is_object() {
            or(probe, "timeoutSeconds", 1.into());
            or(probe, "periodSeconds", 10.into());
            or(probe, "successThreshold", 1.into());
            or(probe, "failureThreshold", 3.into());
            if probe["httpGet"].is_object() {
                or(&mut probe["httpGet"], "scheme", "HTTP".into());
                or(&mut probe["httpGet"], "path", "/".into());
            }
        }
    }
    if container["env"].is_array() {
        for variable in each(&mut container["env"]) {
            let field = &mut variable["valueFrom"]["fieldRef"];
            if field.is_object() {
                or(field, "apiVersion", "v1".into());
            }
        }
    }
}

fn service(object: &mut Json) {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let spec = &mut object["spec"];
    or(spec, "type", "ClusterIP".into());
    or(spec, "sessionAffinity", "None".into());
    if spec["type"] != "ExternalName" {
        or(spec, "internalTrafficPolicy", "Cluster".into());
        or(spec, "ipFamilies", json!(["IPv4"]));
        or(spec, "ipFamilyPolicy", "SingleStack".into());
        if spec["clusterIP"].as_str().unwrap_or_default().is_empty() && !uid.is_empty() {
            // From the uid, so that the same world gives the same addresses.
            let digits = |from: usize| {
                u32::from_str_radix(uid.get(from..from + 2).unwrap_or("1"), 16).unwrap_or(1)
            };
            spec["clusterIP"] = format!("10.96.{}.{}", digits(0), 1 + digits(2) % 254).into();
        }
        let address = spec["clusterIP"].clone();
        if address.is_string() {
            spec["clusterIPs"] = json!([address]);
        }
    }
    if spec["ports"].is_array() {
        for port in each(&mut spec["ports"]).filter(|port| port.is_object()) {
            or(port, "protocol", "TCP".into());
            let own = port["port"].clone();
            or(port, "targetPort", own);
        }
    }
    or(object, "status", json!({ "loadBalancer": {} }));
}

/// `stringData` is written and never read: it becomes `data`.
fn move_string_data(object: &mut Json) {
    use base64::Engine;
    let texts = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (key, text) in texts.as_ref().and_then(Json::as_object).into_iter().flatten() {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        object["data"][key] = encoded.into();
    }
}

/// Quantities as the server spells them: numbers become text, `1000m` becomes `1`.
pub(super) fn canonical_quantities(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(canonical_quantities),
        Json::Object(map) => {
            for (key, item) in map {
                let amounts = matches!(key.as_str(), "requests" | "limits" | "capacity" | "hard");
                match item {
                    Json::Object(amounts_by_name) if amounts => {
                        for amount in amounts_by_name.values_mut() {
                            let text = match &*amount {
                                Json::Number(number) => number.to_string(),
                                Json::String(text) => text.clone(),
                                _ => continue,
                            };
                            *amount = quantity::canonical(&text).unwrap_or(text).into();
                        }
                    }
                    _ => canonical_quantities(item),
                }
            }
        }
        _ => {}
    }
}

/// Removes nulls, which the API never shows.
fn strip_nulls(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(strip_nulls),
        Json::Object(map) => {
            map.retain(|_, item| !item.is_null());
            map.values_mut().for_each(strip_nulls);
            // What indexing made on its way to a null.
            if map
                .get("valueFrom")
                .is_some_and(|item| item.as_object().is_some_and(|m| m.is_empty()))
            {
                map.remove("valueFrom");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::named;
    use super::*;

    #[test]
    fn a_deployment_gets_what_a_server_gives_it() {
        let mut object = json!({
            "metadata": { "name": "a" },
            "spec": { "template": { "spec": { "containers": [{
                "name": "a", "image": "reg:5000/a",
                "ports": [{ "containerPort": 80 }],
                "env": [{ "name": "X", "value": "1" }],
                "resources": { "limits": { "cpu": "1000m", "memory": 1024 } },
                "readinessProbe": { "httpGet": { "port": 80 } },
            }] } } },
        });
        fill(named("Deployment"), &mut object);
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxSurge"], "25%");
        let container = &spec["template"]["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["env"][0], json!({ "name": "X", "value": "1" }));
        assert_eq!(container["resources"]["limits"], json!({ "cpu": "1", "memory": "1024" }));
        assert_eq!(container["readinessProbe"]["httpGet"]["scheme"], "HTTP");
        assert!(container.get("livenessProbe").is_none());
        let once = object.clone();
        fill(named("Deployment"), &mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn secrets_keep_data_only() {
        let mut object = json!({ "metadata": {}, "stringData": { "a": "b" } });
        fill(named("Secret"), &mut object);
        assert_eq!(object, json!({ "metadata": {}, "type": "Opaque", "data": { "a": "Yg==" } }));
    }
}
