//! What blocks compute: `registry.main.urls`, `cloud.aws.clusters`. Unknown until what provides it
//! exists; then read off the records.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Record, Resource, Value};

use crate::clouds::Clouds;
use crate::config::Stack;

/// The attribute in which a cloud's registry type says where images go.
const REGISTRY_URLS: [&str; 3] = ["repository_url", "registry_uri", "login_server"];

/// The attribute in which a cloud's cluster type says where its API server answers.
const CLUSTER_ENDPOINTS: [&str; 2] = ["endpoint", "fqdn"];

/// Computed attributes by `BLOCK.NAME.ATTRIBUTE`, of the blocks for which everything that `desired`
/// has is recorded.
pub fn computed(
    stack: &Stack,
    desired: &BTreeMap<Address, Resource>,
    records: &BTreeMap<Address, Record>,
    clouds: &Clouds,
) -> BTreeMap<String, Value> {
    let mut known = BTreeMap::new();
    for name in stack.registries.keys() {
        let providers = desired.values().filter(|resource| {
            resource.site.is_none() && resource.address.name == *name && url(resource, records).1
        });
        let mut urls = BTreeMap::new();
        let mut complete = true;
        for resource in providers {
            match url(resource, records).0 {
                Some(value) => {
                    let key = resource.address.key.as_deref().unwrap_or("");
                    urls.insert(format!("{}/{key}", resource.cloud), value.clone());
                }
                None => complete = false,
            }
        }
        if complete {
            known.insert(format!("registry.{name}.urls"), Value::Map(urls));
        }
    }
    for (name, provider) in clouds.iter() {
        let regions: std::collections::BTreeSet<&str> = desired
            .values()
            .filter(|resource| resource.cloud == name)
            .filter_map(|resource| resource.site.as_deref()?.split_once('/'))
            .map(|(_, region)| region)
            .collect();
        let mut clusters = BTreeMap::new();
        let mut complete = true;
        for region in regions {
            let Some(address) = provider.cluster_address(region) else { continue };
            match records.get(&address) {
                Some(record) => {
                    let endpoint =
                        CLUSTER_ENDPOINTS.iter().find_map(|name| record.attributes.get(*name));
                    clusters.insert(
                        region.to_owned(),
                        Value::map([
                            ("name", record.text("name").map_or(Value::Null, Value::from)),
                            ("endpoint", endpoint.cloned().unwrap_or_default()),
                        ]),
                    );
                }
                None => complete = false,
            }
        }
        if complete {
            known.insert(format!("cloud.{name}.clusters"), Value::Map(clusters));
        }
    }
    known
}

/// A registry resource's URL where it is recorded, and whether the resource has one at all.
fn url<'a>(
    resource: &Resource,
    records: &'a BTreeMap<Address, Record>,
) -> (Option<&'a Value>, bool) {
    let schema = fleetform_providers::schema(&resource.address.kind);
    let name = REGISTRY_URLS.into_iter().find(|name| {
        schema.is_some_and(|schema| schema.computed().any(|computed| computed == *name))
    });
    let Some(name) = name else { return (None, false) };
    (records.get(&resource.address).and_then(|record| record.attributes.get(name)), true)
}
