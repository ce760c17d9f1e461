//! Where the attributes of a `service` or `job` block are in its objects, for who wants one left alone.

/// A type, and the way to a value in its manifests: `*` stands for every item of a list, `name=X` for the item
/// of that name.
pub type Place = (&'static str, Vec<String>);

/// The pods of each type of workload.
const PODS: [(&str, &str); 3] = [
    ("kubernetes_deployment", "spec.template"),
    ("kubernetes_job", "spec.template"),
    ("kubernetes_cron_job", "spec.jobTemplate.spec.template"),
];

/// Attributes that are in one place of each object. Others decide where something runs, or whether it is
/// there at all.
pub const ATTRIBUTES: [&str; 12] = [
    "autoscale",
    "command",
    "duration",
    "env",
    "health",
    "image",
    "nodes",
    "port",
    "replicas",
    "resources",
    "retries",
    "schedule",
];

/// Where an attribute of a block (`image`, `env`, `TOKEN`) or an object's own (`kubernetes_service`, `spec`,
/// `type`) is. `None` for what is in no such place.
pub fn places(attribute: &[String]) -> Option<Vec<Place>> {
    let parts: Vec<&str> = attribute.iter().map(String::as_str).collect();
    if let [kind, path @ ..] = &parts[..]
        && let Some(kind) = crate::kinds::kind(kind)
    {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        return (!path.is_empty()).then(|| vec![(kind.name, path)]);
    }
    Some(match parts[..] {
        ["image"] => container(&["image"]),
        ["command"] => container(&["command"]),
        ["env"] => {
            let digest = pods(&["metadata", "annotations", super::pod::SECRETS_DIGEST]);
            let secret = at("kubernetes_secret", "stringData");
            [container(&["env"]), digest, vec![secret]].concat()
        }
        ["env", name] => container(&["env", &format!("name={name}")]),
        ["port"] => [container(&["ports"]), vec![at("kubernetes_service", "spec.ports")]].concat(),
        ["resources"] => container(&["resources"]),
        ["resources", "cpus"] => container(&["resources", "requests", "cpu"]),
        ["resources", "memory"] => both("memory"),
        ["resources", "gpus"] => both(super::pod::GPU),
        ["health"] => {
            let probes = ["readinessProbe", "livenessProbe", "startupProbe"];
            probes.iter().flat_map(|probe| container(&[probe])).collect()
        }
        ["replicas"] => vec![at("kubernetes_deployment", "spec.replicas")],
        ["nodes"] => job(&["completions", "parallelism"]),
        ["duration"] => job(&["activeDeadlineSeconds"]),
        ["retries"] => job(&["backoffLimit"]),
        ["schedule"] => vec![at("kubernetes_cron_job", "spec.schedule")],
        ["autoscale"] => vec![at("kubernetes_horizontal_pod_autoscaler", "spec")],
        ["autoscale", "min"] => {
            vec![at("kubernetes_horizontal_pod_autoscaler", "spec.minReplicas")]
        }
        ["autoscale", "max"] => {
            vec![at("kubernetes_horizontal_pod_autoscaler", "spec.maxReplicas")]
        }
        ["autoscale", "target_cpu"] => {
            vec![at("kubernetes_horizontal_pod_autoscaler", "spec.metrics")]
        }
        _ => return None,
    })
}

fn at(kind: &'static str, dotted: &str) -> Place {
    (kind, dotted.split('.').map(str::to_owned).collect())
}

fn pods(rest: &[&str]) -> Vec<Place> {
    let places = PODS.iter().map(|(kind, template)| {
        let path = template.split('.').chain(rest.iter().copied());
        (*kind, path.map(str::to_owned).collect())
    });
    places.collect()
}

fn container(rest: &[&str]) -> Vec<Place> {
    pods(&[&["spec", "containers", "*"], rest].concat())
}

/// What is requested and limited alike.
fn both(resource: &str) -> Vec<Place> {
    let sides = ["requests", "limits"];
    sides.iter().flat_map(|side| container(&["resources", side, resource])).collect()
}

fn job(fields: &[&str]) -> Vec<Place> {
    let places = fields.iter().flat_map(|field| {
        let cron = format!("spec.jobTemplate.spec.{field}");
        [at("kubernetes_job", &format!("spec.{field}")), at("kubernetes_cron_job", &cron)]
    });
    places.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_in_places_of_manifests() {
        let found = |text: &str| {
            let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
            let places = places(&parts)?;
            let first = places.first().map(|(kind, path)| format!("{kind}: {}", path.join("/")));
            first.map(|first| (places.len(), first))
        };
        for (attribute, count, first) in [
            ("image", 3, "kubernetes_deployment: spec/template/spec/containers/*/image"),
            ("env", 7, "kubernetes_deployment: spec/template/spec/containers/*/env"),
            ("env/A", 3, "kubernetes_deployment: spec/template/spec/containers/*/env/name=A"),
            ("nodes", 4, "kubernetes_job: spec/completions"),
            ("autoscale/min", 1, "kubernetes_horizontal_pod_autoscaler: spec/minReplicas"),
            ("kubernetes_service/spec/type", 1, "kubernetes_service: spec/type"),
        ] {
            assert_eq!(found(attribute), Some((count, first.to_owned())));
        }
        for attribute in ["placement", "for_each", "image/x", "kubernetes_service", "aws_eks/x"] {
            assert_eq!(found(attribute), None, "{attribute}");
        }
        for attribute in ATTRIBUTES {
            assert!(found(attribute).is_some(), "{attribute}");
        }
    }
}
