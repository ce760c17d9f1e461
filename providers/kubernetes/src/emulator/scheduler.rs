//! Which node a pod can run on: selectors, affinity, taints and amounts.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::quantity;

/// Resources by name (`cpu`, `memory`, `nvidia.com/gpu`, `pods`), in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

pub(super) const GPU: &str = "nvidia.com/gpu";

pub(super) fn add(to: &mut Amounts, amounts: &Amounts, sign: i128) {
    for (name, amount) in amounts {
        *to.entry(name.clone()).or_default() += sign * amount;
    }
}

/// What a pod asks for: the sum of its containers' requests, with limits where there is no request.
pub(super) fn asked(pod_spec: &Json) -> Amounts {
    let mut amounts = Amounts::from([("pods".to_owned(), 1000)]);
    for container in pod_spec["containers"].as_array().into_iter().flatten() {
        let mut own = Amounts::new();
        // Requests last: they replace what the limits would default to.
        for place in ["limits", "requests"] {
            for (name, text) in container["resources"][place].as_object().into_iter().flatten() {
                if let Some(amount) = text.as_str().and_then(quantity::millis) {
                    own.insert(name.clone(), amount);
                }
            }
        }
        add(&mut amounts, &own, 1);
    }
    amounts
}

/// What a pod takes of which node: nothing before it is bound and after it has ended.
pub(super) fn taken(pod: &Json) -> Option<(&str, Amounts)> {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let node = pod["spec"]["nodeName"].as_str().filter(|_| !ended)?;
    Some((node, asked(&pod["spec"])))
}

/// What a node has to give.
pub(super) fn allocatable(node: &Json) -> Amounts {
    let given = node["status"]["allocatable"].as_object().into_iter().flatten();
    given
        .filter_map(|(name, text)| Some((name.clone(), quantity::millis(text.as_str()?)?)))
        .collect()
}

/// Why a pod does not run on a node; `None` where it may, as far as amounts go not.
pub(super) fn unfit(pod_spec: &Json, node: &Json) -> Option<String> {
    if node["spec"]["unschedulable"].as_bool() == Some(true) {
        return Some("node(s) were unschedulable".to_owned());
    }
    for taint in node["spec"]["taints"].as_array().into_iter().flatten() {
        let soft = taint["effect"] == "PreferNoSchedule";
        if !soft && !tolerated(&pod_spec["tolerations"], taint) {
            let (key, value) = (text(&taint["key"]), text(&taint["value"]));
            return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
        }
    }
    let labels = &node["metadata"]["labels"];
    let selected = pod_spec["nodeSelector"]
        .as_object()
        .into_iter()
        .flatten()
        .all(|(key, value)| labels[key] == *value);
    let required =
        &pod_spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let affine = required["nodeSelectorTerms"].as_array().is_none_or(|terms| {
        terms.iter().any(|term| {
            let expressions = term["matchExpressions"].as_array().into_iter().flatten();
            expressions.clone().all(|expression| matches(expression, labels))
        })
    });
    (!selected || !affine).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

/// Which resources a node lacks for a pod.
pub(super) fn lacking(asked: &Amounts, used: &Amounts, node: &Json) -> Vec<String> {
    let given = allocatable(node);
    let free =
        |name: &str| given.get(name).copied().unwrap_or(0) - used.get(name).copied().unwrap_or(0);
    let short = asked.iter().filter(|(name, amount)| **amount > 0 && free(name) < **amount);
    short
        .map(|(name, _)| match name.as_str() {
            "pods" => "Too many pods".to_owned(),
            name => format!("Insufficient {name}"),
        })
        .collect()
}

/// GPUs that nobody has taken, in thousandths.
pub(super) fn free_gpus(used: &Amounts, node: &Json) -> i128 {
    allocatable(node).get(GPU).copied().unwrap_or(0) - used.get(GPU).copied().unwrap_or(0)
}

fn tolerated(tolerations: &Json, taint: &Json) -> bool {
    tolerations.as_array().into_iter().flatten().any(|toleration| {
        let key = text(&toleration["key"]);
        let effect = text(&toleration["effect"]);
        let exists = toleration["operator"] == "Exists";
        (effect.is_empty() || effect == text(&taint["effect"]))
            && ((key.is_empty() && exists)
                || (key == text(&taint["key"])
                    && (exists || text(&toleration["value"]) == text(&taint["value"]))))
    })
}

/// One expression of a node selector or of a label selector.
pub(super) fn matches(expression: &Json, labels: &Json) -> bool {
    let label = expression["key"].as_str().and_then(|key| labels.get(key)).and_then(Json::as_str);
    let values = expression["values"].as_array();
    let among =
        |label: &str| values.is_some_and(|values| values.iter().any(|value| value == label));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.and_then(|values| values.first()?.as_str()).and_then(number);
    match expression["operator"].as_str() {
        Some("In") => label.is_some_and(among),
        Some("NotIn") => !label.is_some_and(among),
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        Some("Gt") => label.and_then(number).zip(bound).is_some_and(|(label, bound)| label > bound),
        Some("Lt") => label.and_then(number).zip(bound).is_some_and(|(label, bound)| label < bound),
        _ => false,
    }
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_runs_where_labels_taints_and_amounts_allow() {
        let node = json!({
            "metadata": { "labels": { "fleetform.dev/pool": "gpu" } },
            "spec": { "taints": [{ "key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule" }] },
            "status": { "allocatable": { "nvidia.com/gpu": "2", "cpu": "4", "pods": "110" } },
        });
        let affinity = |values: Json| {
            json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{ "matchExpressions": [
                    { "key": "fleetform.dev/pool", "operator": "In", "values": values }] }] } } })
        };
        let tolerations = json!([{ "key": "nvidia.com/gpu", "operator": "Exists" }]);
        let fits = json!({ "tolerations": tolerations, "affinity": affinity(json!(["gpu", "x"])) });
        assert_eq!(unfit(&fits, &node), None);
        let stranger = json!({ "affinity": affinity(json!(["gpu"])) });
        assert!(unfit(&stranger, &node).expect("tainted").contains("untolerated taint"));
        let elsewhere = json!({ "tolerations": tolerations, "affinity": affinity(json!(["x"])) });
        assert!(unfit(&elsewhere, &node).expect("other pool").contains("affinity/selector"));

        let asked = asked(&json!({ "containers": [
            { "resources": { "limits": { "nvidia.com/gpu": "2" }, "requests": { "cpu": "500m" } } }] }));
        assert_eq!(lacking(&asked, &Amounts::new(), &node), [""; 0]);
        let used = Amounts::from([("nvidia.com/gpu".to_owned(), 1000)]);
        assert_eq!(lacking(&asked, &used, &node), ["Insufficient nvidia.com/gpu"]);
    }
}
