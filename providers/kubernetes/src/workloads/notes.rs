//! What an object says of itself in annotations, for who has nothing else to go by: a lost state.

use std::collections::BTreeMap;

use fleetform_contract::{Attributes, Resource, Value};

/// The block that protects the object from destruction.
const PROTECTED_BY: &str = "fleetform.dev/protected-by";
/// Replicas by pool, as the placement has counted them.
const SEATS: &str = "fleetform.dev/seats";

/// Writes on an object that a block protects it.
pub fn protect(resource: &mut Resource, by: &str) {
    annotate(resource, PROTECTED_BY, by.to_owned());
}

/// The block that protects an object, as the object says.
pub fn protected_by(attributes: &Attributes) -> Option<&str> {
    annotation(attributes, PROTECTED_BY)
}

/// Replicas by pool of the object's site, as the object says: `g6.xlarge/on_demand=2,g5.xlarge/spot=1`.
pub fn seats(attributes: &Attributes) -> BTreeMap<String, u32> {
    let seats = annotation(attributes, SEATS).unwrap_or_default().split(',');
    let pairs = seats.filter_map(|seat| seat.rsplit_once('='));
    pairs.filter_map(|(pool, count)| Some((pool.to_owned(), count.parse().ok()?))).collect()
}

pub(super) fn seat(resource: &mut Resource, pools: &BTreeMap<String, u32>) {
    let seats = pools.iter().map(|(pool, count)| format!("{pool}={count}"));
    annotate(resource, SEATS, seats.collect::<Vec<_>>().join(","));
}

fn annotate(resource: &mut Resource, key: &str, text: String) {
    let Some(Value::Map(metadata)) = resource.attributes.get_mut("metadata") else { return };
    let annotations =
        metadata.entry("annotations".to_owned()).or_insert_with(|| Value::map::<&str>([]));
    if let Value::Map(annotations) = annotations {
        annotations.insert(key.to_owned(), text.into());
    }
}

fn annotation<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    attributes.get("metadata")?.as_map()?.get("annotations")?.as_map()?.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut resource = Resource {
            address: "kubernetes_deployment.a[\"b/c\"]".parse().expect("an address"),
            cloud: "b".into(),
            site: Some("b/c".into()),
            attributes: [("metadata".to_owned(), Value::map([("name", "a".into())]))].into(),
            depends_on: Vec::new(),
        };
        assert_eq!(
            (protected_by(&resource.attributes), seats(&resource.attributes).len()),
            (None, 0)
        );
        let pools = [("g6.xlarge/on_demand".to_owned(), 2), ("g5.xlarge/spot".to_owned(), 1)];
        seat(&mut resource, &pools.clone().into());
        protect(&mut resource, "service.a[\"x\"]");
        assert_eq!(seats(&resource.attributes), pools.into());
        assert_eq!(protected_by(&resource.attributes), Some("service.a[\"x\"]"));
    }
}
