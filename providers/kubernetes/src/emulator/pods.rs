//! What a pod may not say.

use serde_json::{Value as Json, json};

use super::status::Cause;
use super::validation::is_dns_label;
use crate::quantity;

/// Everything that is wrong with a pod's spec.
pub(super) fn check(spec: &Json, path: &str, causes: &mut Vec<Cause>) {
    let containers = list(&spec["containers"]);
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let volumes = list(&spec["volumes"]);
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{path}.volumes[{index}].name");
        unique_label(&volume["name"], &volumes[..index], &path, causes);
    }
    for (index, container) in containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        unique_label(&container["name"], &containers[..index], &format!("{path}.name"), causes);
        check_container(container, volumes, &path, causes);
    }
    for (index, toleration) in list(&spec["tolerations"]).iter().enumerate() {
        let exists = toleration["operator"] == "Exists";
        let path = format!("{path}.tolerations[{index}]");
        if exists && toleration["value"].as_str().is_some_and(|value| !value.is_empty()) {
            let why = "value must be empty when `operator` is 'Exists'";
            causes.push(Cause::invalid(format!("{path}.operator"), &toleration["value"], why));
        }
        if !exists && toleration["key"].as_str().unwrap_or_default().is_empty() {
            let why = "operator must be Exists when `key` is empty";
            causes.push(Cause::invalid(format!("{path}.operator"), &toleration["operator"], why));
        }
    }
    for (index, constraint) in list(&spec["topologySpreadConstraints"]).iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        if constraint["maxSkew"].as_i64().unwrap_or(0) < 1 {
            let why = "must be greater than zero";
            causes.push(Cause::invalid(format!("{path}.maxSkew"), &constraint["maxSkew"], why));
        }
    }
}

fn check_container(container: &Json, volumes: &[Json], path: &str, causes: &mut Vec<Cause>) {
    let image = container["image"].as_str().unwrap_or_default();
    if image.is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        causes.push(Cause::invalid(format!("{path}.image"), &container["image"], why));
    }
    let ports = list(&container["ports"]);
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        port_number(&port["containerPort"], &format!("{path}.containerPort"), causes);
        let name = port["name"].as_str().unwrap_or_default();
        if name.len() > 15 {
            let why = "must be no more than 15 characters";
            causes.push(Cause::invalid(format!("{path}.name"), &port["name"], why));
        }
        if !name.is_empty() && ports[..index].iter().any(|other| other["name"] == port["name"]) {
            causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        }
    }
    for (index, variable) in list(&container["env"]).iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        let name = variable["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if name.contains('=') || !name.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            let why = "a valid environment variable name must consist of printable ASCII \
                       characters other than '='";
            causes.push(Cause::invalid(format!("{path}.name"), &variable["name"], why));
        }
        let text = variable["value"].as_str().unwrap_or_default();
        if !text.is_empty() && !variable["valueFrom"].is_null() {
            let why = "may not be specified when `value` is not empty";
            causes.push(Cause::invalid(format!("{path}.valueFrom"), &json!(""), why));
        }
    }
    for (index, mount) in list(&container["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if !volumes.iter().any(|volume| volume["name"] == mount["name"]) {
            let message = format!("Not found: {}", mount["name"]);
            causes.push(Cause {
                reason: "FieldValueNotFound",
                message,
                field: format!("{path}.name"),
            });
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        check_probe(&container[probe], ports, &format!("{path}.{probe}"), causes);
    }
    check_resources(&container["resources"], &format!("{path}.resources"), causes);
}

fn check_probe(probe: &Json, ports: &[Json], path: &str, causes: &mut Vec<Cause>) {
    if probe.is_null() {
        return;
    }
    let handlers = ["httpGet", "tcpSocket", "exec", "grpc"];
    match handlers.iter().filter(|handler| !probe[**handler].is_null()).count() {
        1 => {}
        0 => causes.push(Cause::required(path, "must specify a handler type")),
        _ => causes.push(Cause::forbidden(path, "may not specify more than 1 handler type")),
    }
    let port = &probe["httpGet"]["port"];
    if port.is_number() {
        port_number(port, &format!("{path}.httpGet.port"), causes);
    } else if let Some(name) = port.as_str()
        && !ports.iter().any(|known| known["name"] == name)
    {
        let why = "no port of the container has this name";
        causes.push(Cause::invalid(format!("{path}.httpGet.port"), port, why));
    }
    for name in ["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"] {
        if probe[name].as_i64().is_some_and(|number| number < 0) {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid(format!("{path}.{name}"), &probe[name], why));
        }
    }
}

fn check_resources(resources: &Json, path: &str, causes: &mut Vec<Cause>) {
    for place in ["limits", "requests"] {
        for (name, amount) in resources[place].as_object().into_iter().flatten() {
            let field = format!("{path}.{place}[{name}]");
            match amount.as_str().and_then(quantity::millis) {
                None => {
                    let why = "quantities must match the regular expression \
                               '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                    causes.push(Cause::invalid(field, amount, why));
                }
                Some(millis) if millis < 0 => {
                    let why = "must be greater than or equal to 0";
                    causes.push(Cause::invalid(field, amount, why));
                }
                Some(millis) if is_extended(name) && millis % 1000 != 0 => {
                    causes.push(Cause::invalid(field, amount, "must be an integer"));
                }
                Some(_) => {}
            }
        }
    }
    let amount =
        |place: &str, name: &str| resources[place][name].as_str().and_then(quantity::millis);
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let (requested, limit) = (amount("requests", name), amount("limits", name));
        let field = format!("{path}.requests");
        if is_extended(name) {
            if limit.is_none() {
                let why = "Limit must be set for non overcommitable resources";
                causes.push(Cause::required(format!("{path}.limits"), why));
            } else if requested != limit {
                let why = format!("must be equal to {name} limit");
                causes.push(Cause::invalid(field, request, &why));
            }
        } else if requested.zip(limit).is_some_and(|(requested, limit)| requested > limit) {
            let why = format!("must be less than or equal to {name} limit");
            causes.push(Cause::invalid(field, request, &why));
        }
    }
}

/// Whether a resource is counted in whole devices.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

pub(super) fn port_number(port: &Json, path: &str, causes: &mut Vec<Cause>) {
    if !port.as_i64().is_some_and(|port| (1..=65_535).contains(&port)) {
        causes.push(Cause::invalid(path, port, "must be between 1 and 65535, inclusive"));
    }
}

fn unique_label(name: &Json, before: &[Json], path: &str, causes: &mut Vec<Cause>) {
    match name.as_str().unwrap_or_default() {
        "" => causes.push(Cause::required(path, "")),
        text if !is_dns_label(text) => {
            let why = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                       or '-', and must start and end with an alphanumeric character";
            causes.push(Cause::invalid(path, name, why));
        }
        _ if before.iter().any(|other| other["name"] == *name) => {
            causes.push(Cause::duplicate(path, name));
        }
        _ => {}
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}
