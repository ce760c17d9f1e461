//! The clouds. This is the only list of them in the project: adding one is a crate and one entry
//! of `CLOUDS`.
//!
//! Everything here asks for a cloud by the name of its kind; what only one cloud knows is in its own
//! crate. [`sandbox`] puts the emulators of all of them together.

mod instructions;
pub mod sandbox;

use std::collections::BTreeMap;

use fleetform_contract::{Cloud, Error, Provider, Result, Schema};
use fleetform_sandbox::{Api, World};

pub use fleetform_kubernetes::{
    IGNORABLE, namespace, objects, places, protect, protected_by, seats, service_url, workloads,
};

/// What this crate needs of a kind of cloud.
struct Kind {
    name: &'static str,
    provider: fn(&Cloud) -> Result<Box<dyn Provider>>,
    schema: fn(&str) -> Option<&'static Schema>,
    sandboxed: fn(Cloud, &BTreeMap<&'static str, String>) -> Cloud,
    emulator: fn(&World) -> Api,
    /// How official clients are pointed at the emulator at this URL. The cloud is sandboxed.
    instructions: fn(&Cloud, &str) -> String,
}

const KUBERNETES: Kind = Kind {
    name: "kubernetes",
    provider: fleetform_kubernetes::provider,
    schema: fleetform_kubernetes::schema,
    sandboxed: fleetform_kubernetes::sandboxed,
    emulator: fleetform_kubernetes::emulator::api,
    instructions: instructions::kubernetes,
};

const AWS: Kind = Kind {
    name: "aws",
    provider: fleetform_aws::provider,
    schema: fleetform_aws::schema,
    sandboxed: fleetform_aws::sandboxed,
    emulator: fleetform_aws::emulator::api,
    instructions: instructions::aws,
};

const GCP: Kind = Kind {
    name: "gcp",
    provider: fleetform_gcp::provider,
    schema: fleetform_gcp::schema,
    sandboxed: fleetform_gcp::sandboxed,
    emulator: fleetform_gcp::emulator::api,
    instructions: instructions::gcp,
};

const AZURE: Kind = Kind {
    name: "azure",
    provider: fleetform_azure::provider,
    schema: fleetform_azure::schema,
    sandboxed: fleetform_azure::sandboxed,
    emulator: fleetform_azure::emulator::api,
    instructions: instructions::azure,
};

/// In the order in which their emulators take ports.
const CLOUDS: [&Kind; 4] = [&KUBERNETES, &AWS, &GCP, &AZURE];

const KINDS: [&str; CLOUDS.len()] = {
    let mut names = [""; CLOUDS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = CLOUDS[index].name;
        index += 1;
    }
    names
};

/// The kinds of cloud that there are.
pub fn kinds() -> &'static [&'static str] {
    &KINDS
}

/// The provider of a cloud. It does no I/O.
///
/// # Errors
/// `Rejected` where there is no such kind, or where the kind's own crate can tell already that the
/// cloud cannot be right.
pub fn provider(cloud: &Cloud) -> Result<Box<dyn Provider>> {
    let kind = kind(&cloud.kind).ok_or_else(|| {
        Error::rejected(format!(
            "cloud `{}` is of kind `{}`, which does not exist; the kinds are {}",
            cloud.name,
            cloud.kind,
            KINDS.join(", ")
        ))
    })?;
    (kind.provider)(cloud)
}

/// The schema of a resource type of any cloud, or of what runs inside clusters.
pub fn schema(resource_type: &str) -> Option<&'static Schema> {
    CLOUDS.iter().find_map(|kind| (kind.schema)(resource_type))
}

/// The same cloud, pointed at the emulators at these base URLs, by API.
pub fn sandboxed(cloud: Cloud, urls: &BTreeMap<&'static str, String>) -> Cloud {
    match kind(&cloud.kind) {
        Some(kind) => (kind.sandboxed)(cloud, urls),
        // Its provider says what is wrong with it.
        None => cloud,
    }
}

fn kind(name: &str) -> Option<&'static Kind> {
    CLOUDS.iter().copied().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_provider_and_others_are_refused() {
        for name in kinds() {
            let kind = kind(name).expect("kinds are those of the list");
            assert_eq!((kind.emulator)(&World::in_memory(1)).name, *name);
        }
        let cloud = Cloud { name: "home".into(), kind: "abacus".into(), ..Cloud::default() };
        match provider(&cloud) {
            Err(Error::Rejected { message }) => {
                assert!(
                    message.contains("`abacus`") && message.contains("kubernetes"),
                    "{message}"
                );
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("accepted"),
        }
        assert_eq!(sandboxed(cloud.clone(), &BTreeMap::new()), cloud);
    }

    #[test]
    fn schemas_are_found_by_type() {
        for name in [
            "kubernetes_deployment",
            "aws_eks_cluster",
            "google_container_cluster",
            "azurerm_kubernetes_cluster",
        ] {
            assert!(schema(name).is_some(), "{name}");
        }
        assert!(schema("abacus_bead").is_none());
    }
}
