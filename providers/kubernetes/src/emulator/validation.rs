//! What a request may not say: unknown fields, bad names, missing and immutable fields.

use serde_json::{Value as Json, json};

use super::kinds::Kind;
use super::pods;
use super::scheduler;
use super::status::Cause;

/// Names of fields that the API does not declare, as `spec.template.spec.containers[0].imag`; the error is
/// the reason why the object is not of its type at all.
pub(super) fn unknown_fields(kind: &Kind, object: &Json) -> Result<Vec<String>, String> {
    let known = (kind.round_trip)(object)?;
    let mut unknown = Vec::new();
    lost(object, &known, "", &mut unknown);
    Ok(unknown)
}

fn lost(given: &Json, known: &Json, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Json::Object(given), Json::Object(known)) => {
            for (key, item) in given.iter().filter(|(_, item)| !item.is_null()) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(below) => lost(item, below, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        (Json::Array(given), Json::Array(known)) => {
            for (index, (item, below)) in given.iter().zip(known).enumerate() {
                lost(item, below, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Removes fields by the names that [`unknown_fields`] gives.
pub(super) fn drop_fields(object: &mut Json, fields: &[String]) {
    for field in fields {
        let pointer = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
        if let Some((parent, last)) = pointer.rsplit_once('/')
            && let Some(map) = object.pointer_mut(parent).and_then(Json::as_object_mut)
        {
            map.remove(last);
        }
    }
}

/// Everything that is wrong with an object.
pub(super) fn check(kind: &Kind, object: &Json) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(kind, &object["metadata"], &mut causes);
    let spec = &object["spec"];
    match kind.kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => {
            workload(kind, spec, &mut causes);
        }
        "Pod" => pods::check(spec, "spec", &mut causes),
        "Job" => job(spec, "spec", &mut causes),
        "CronJob" => cron_job(object, &mut causes),
        "Service" => service(spec, &mut causes),
        "HorizontalPodAutoscaler" => autoscaler(spec, &mut causes),
        "PodDisruptionBudget"
            if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() =>
        {
            let why = "minAvailable and maxUnavailable cannot be both set";
            causes.push(Cause::invalid("spec", &json!("PodDisruptionBudgetSpec"), why));
        }
        "Secret" => {
            for key in object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
                if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                    let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
                    causes.push(Cause::invalid(format!("data[{key}]"), &json!(key), why));
                }
            }
        }
        _ => {}
    }
    causes
}

/// What an update may not change.
pub(super) fn check_update(kind: &Kind, old: &Json, new: &Json) -> Vec<Cause> {
    let fields: &[&str] = match kind.kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" => &["/spec/selector"],
        "StatefulSet" => &[
            "/spec/selector",
            "/spec/serviceName",
            "/spec/podManagementPolicy",
            "/spec/volumeClaimTemplates",
        ],
        "Job" => {
            &["/spec/selector", "/spec/template", "/spec/completionMode", "/spec/podFailurePolicy"]
        }
        "Service" if old["spec"]["type"] != "ExternalName" => &["/spec/clusterIP"],
        "Secret" => &["/type"],
        "PersistentVolumeClaim" => &["/spec/storageClassName", "/spec/accessModes"],
        _ => &[],
    };
    let mut causes: Vec<Cause> = fields
        .iter()
        .filter(|field| old.pointer(field) != new.pointer(field))
        .map(|field| {
            let name = field[1..].replace('/', ".");
            Cause::invalid(name, new.pointer(field).unwrap_or(&Json::Null), "field is immutable")
        })
        .collect();
    let spec = |object: &Json, name: &str| object["spec"][name].clone();
    if kind.is("Job") && spec(old, "completions") != spec(new, "completions") {
        // An indexed job may grow and shrink as a whole.
        let elastic = new["spec"]["completionMode"] == "Indexed"
            && spec(new, "completions") == spec(new, "parallelism");
        if !elastic {
            let value = spec(new, "completions");
            causes.push(Cause::invalid("spec.completions", &value, "field is immutable"));
        }
    }
    if old["immutable"] == true {
        for place in ["data", "immutable"] {
            if old[place] != new[place] {
                causes.push(Cause::forbidden(place, "field is immutable when `immutable` is set"));
            }
        }
    }
    causes
}

fn metadata(kind: &Kind, metadata: &Json, causes: &mut Vec<Cause>) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        let label = matches!(kind.kind, "Namespace" | "Service");
        let free = kind.group == "rbac.authorization.k8s.io";
        let (valid, why) = if kind.is("Service") {
            (is_dns_1035(name), DNS_1035)
        } else if label {
            (is_dns_label(name), DNS_LABEL)
        } else {
            (is_subdomain(name), DNS_SUBDOMAIN)
        };
        if !valid && !free {
            causes.push(Cause::invalid("metadata.name", &json!(name), why));
        }
    }
    labels(&metadata["labels"], "metadata.labels", causes);
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        if !is_qualified(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), QUALIFIED));
        }
        if !value.is_string() {
            causes.push(Cause::invalid("metadata.annotations", value, "must be a string"));
        }
    }
}

pub(super) fn labels(labels: &Json, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if !is_qualified(key) {
            causes.push(Cause::invalid(path, &json!(key), QUALIFIED));
        }
        if !value.as_str().is_some_and(is_label_value) {
            causes.push(Cause::invalid(path, value, LABEL_VALUE));
        }
    }
}

fn workload(kind: &Kind, spec: &Json, causes: &mut Vec<Cause>) {
    if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &spec["replicas"], why));
    }
    let selector = &spec["selector"];
    let template = &spec["template"];
    if selector.is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        let why = "empty selector is invalid for deployment";
        causes.push(Cause::invalid("spec.selector", selector, why));
    } else if !selects(selector, &template["metadata"]["labels"]) {
        let labels = &template["metadata"]["labels"];
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    labels(&template["metadata"]["labels"], "spec.template.metadata.labels", causes);
    pods::check(&template["spec"], "spec.template.spec", causes);
    let policy = &template["spec"]["restartPolicy"];
    if policy != "Always" {
        let field = "spec.template.spec.restartPolicy";
        causes.push(Cause::unsupported(field, policy, &["Always"]));
    }
    if kind.is("Deployment") {
        let rolling = &spec["strategy"]["rollingUpdate"];
        let zero = |value: &Json| *value == 0 || *value == "0%";
        if zero(&rolling["maxSurge"]) && zero(&rolling["maxUnavailable"]) {
            let why = "may not be 0 when `maxSurge` is 0";
            let field = "spec.strategy.rollingUpdate.maxUnavailable";
            causes.push(Cause::invalid(field, &rolling["maxUnavailable"], why));
        }
        if spec["strategy"]["type"] == "Recreate" && !rolling.is_null() {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            causes.push(Cause::forbidden("spec.strategy.rollingUpdate", why));
        }
    }
}

fn job(spec: &Json, path: &str, causes: &mut Vec<Cause>) {
    for name in ["completions", "parallelism", "backoffLimit", "activeDeadlineSeconds"] {
        if spec[name].as_i64().is_some_and(|number| number < 0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid(format!("{path}.{name}"), &spec[name], why));
        }
    }
    if spec["completionMode"] == "Indexed" && spec["completions"].is_null() {
        let why = "when completion mode is Indexed";
        causes.push(Cause::required(format!("{path}.completions"), why));
    }
    let policy = &spec["template"]["spec"]["restartPolicy"];
    let field = format!("{path}.template.spec.restartPolicy");
    if policy != "Never" && policy != "OnFailure" {
        causes.push(Cause::unsupported(field, policy, &["OnFailure", "Never"]));
    } else if policy != "Never" && !spec["podFailurePolicy"].is_null() {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        causes.push(Cause::invalid(field, policy, why));
    }
    pods::check(&spec["template"]["spec"], &format!("{path}.template.spec"), causes);
}

fn cron_job(object: &Json, causes: &mut Vec<Cause>) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name.len() > 52 {
        let why = "must be no more than 52 characters";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    let schedule = &object["spec"]["schedule"];
    let text = schedule.as_str().unwrap_or_default();
    if text.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if !is_schedule(text) {
        causes.push(Cause::invalid(
            "spec.schedule",
            schedule,
            "is no cron schedule of five fields",
        ));
    }
    job(&object["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec", causes);
}

fn is_schedule(text: &str) -> bool {
    let macros = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    let field = |field: &str| {
        let alphabet = |c: char| c.is_ascii_alphanumeric() || "*/,-?".contains(c);
        !field.is_empty() && field.chars().all(alphabet)
    };
    macros.contains(&text) || (text.split(' ').count() == 5 && text.split(' ').all(field))
}

fn service(spec: &Json, causes: &mut Vec<Cause>) {
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !types.iter().any(|known| spec["type"] == *known) {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &types));
    }
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && spec["clusterIP"] != "None" && spec["type"] != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        pods::port_number(&port["port"], &format!("{path}.port"), causes);
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
        let same =
            |other: &&Json| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if ports[..index].iter().any(|other| same(&other)) {
            causes.push(Cause::duplicate(path, &port["port"]));
        }
    }
    labels(&spec["selector"], "spec.selector", causes);
}

fn autoscaler(spec: &Json, causes: &mut Vec<Cause>) {
    for name in ["kind", "name"] {
        if spec["scaleTargetRef"][name].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{name}"), ""));
        }
    }
    let least = spec["minReplicas"].as_i64().unwrap_or(1);
    let most = spec["maxReplicas"].as_i64().unwrap_or(0);
    if least < 1 {
        let why = "must be greater than or equal to 1";
        causes.push(Cause::invalid("spec.minReplicas", &spec["minReplicas"], why));
    }
    if most < 1 {
        let why = "must be greater than 0";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], why));
    } else if most < least {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], why));
    }
}

/// Whether a label selector selects labels.
pub(super) fn selects(selector: &Json, labels: &Json) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.clone().all(|(key, value)| labels[key] == *value)
        && expressions.all(|expression| scheduler::matches(expression, labels))
}

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
    start with an alphabetic character, and end with an alphanumeric character";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
    characters, '-', '_' or '.', and must start and end with an alphanumeric character";

pub(super) fn is_dns_label(name: &str) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(alphabet)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_dns_1035(name: &str) -> bool {
    is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_subdomain(name: &str) -> bool {
    // The parts of a subdomain are labels of any length.
    let part = |part: &str| {
        let alphabet = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty()
            && part.bytes().all(alphabet)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name_part(value)
}

fn is_name_part(part: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    part.len() <= 63
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && ends(part.chars().next())
        && ends(part.chars().last())
}

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(key),
    }
}
