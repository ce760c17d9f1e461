//! Kubernetes versions that AKS has on offer.

use serde_json::{Value as Json, json};

use super::answer::{Answer, Refusal, refuse};

/// Minor versions with their patch releases, oldest first, and the default.
const VERSIONS: [(&str, &str); 5] = [
    ("1.31", "1.31.13"),
    ("1.32", "1.32.9"),
    ("1.33", "1.33.5"),
    ("1.34", "1.34.1"),
    ("1.35", "1.35.0"),
];
const DEFAULT_VERSION: &str = "1.33";

/// `GET …/locations/REGION/kubernetesVersions`.
pub fn list() -> Answer {
    let value = VERSIONS.map(|(minor, patch)| {
        json!({ "version": minor, "isDefault": minor == DEFAULT_VERSION, "patchVersions": { patch: {} } })
    });
    Answer::ok(json!({ "values": value }))
}

/// The version asked for and its patch release. Versions go up by one minor at a time.
pub fn choose(
    wanted: &Json,
    before: Option<&Json>,
    name: &str,
) -> Result<(String, String), Refusal> {
    let before = before.and_then(|body| body["properties"]["kubernetesVersion"].as_str());
    let asked = wanted["kubernetesVersion"].as_str().or(before).unwrap_or(DEFAULT_VERSION);
    let index =
        |asked: &str| VERSIONS.iter().position(|(minor, patch)| *minor == asked || *patch == asked);
    let Some(new) = index(asked) else {
        return refuse(Refusal::bad(
            "K8sVersionNotSupported",
            format!(
                "Managed cluster {name} is on version {asked}, which is not supported in this region. Please use \
                 [az aks get-versions] command to get the supported version list in this region."
            ),
        ));
    };
    let old = before.and_then(index).unwrap_or(new);
    if new < old || new > old + 1 {
        return refuse(Refusal::bad(
            "OperationNotAllowed",
            format!(
                "Upgrading Kubernetes version {} to {asked} is not allowed. Available upgrades: {}.",
                before.unwrap_or_default(),
                VERSIONS.get(old + 1).map_or("none", |(_, patch)| patch)
            ),
        ));
    }
    Ok((asked.to_owned(), VERSIONS[new].1.to_owned()))
}

/// The patch release that a version stands for.
pub fn patch(version: &str) -> &str {
    VERSIONS.iter().find(|(minor, _)| *minor == version).map_or(version, |(_, patch)| patch)
}
