//! The suite that every implementation of [`Objects`] passes, against its emulator.
//!
//! It walks resources through their lives: absent, created, created again under the same token,
//! read, listed, updated, deleted, deleted again. Each step's promise is asserted with the address.

use crate::{Mark, Objects, Owner, Ownership, Record, Resource, Schema, Silent, Token, Value};

/// One resource and, where its type can be updated in place, what to update it to.
pub struct Case {
    pub resource: Resource,
    pub updated: Option<Resource>,
}

/// Runs the suite over the cases, in order (parents first), and removes them in reverse.
///
/// # Panics
/// Where a promise of the contract is broken.
pub async fn check(objects: &dyn Objects, owner: &Owner, cases: Vec<Case>) {
    let mut records: Vec<Record> = Vec::new();
    for case in &cases {
        let desired = fill(&case.resource, &records);
        let address = &desired.address;
        let schema = objects.schema(&address.kind);
        let schema = schema.unwrap_or_else(|| panic!("{address} has no schema"));
        assert_eq!(
            objects.read(desired.reference()).await,
            Ok(None),
            "{address} exists before it is created"
        );
        let token = Token(format!("create-{address}"));
        let made = objects.create(&desired, &token, &Silent).await;
        let made = made.unwrap_or_else(|error| panic!("creating {address}: {error}"));
        for name in schema.computed() {
            assert!(
                made.attributes.get(name).is_some_and(|value| !value.has_unknown()),
                "{address}: computed attribute `{name}` is missing after creation"
            );
        }
        let again = objects.create(&desired, &token, &Silent).await;
        let again = again.unwrap_or_else(|error| panic!("creating {address} again: {error}"));
        assert_eq!(again.id, made.id, "{address}: one token made two objects");

        let mut record = record(&desired, &made);
        expect_attributes(objects, &record, &desired).await;
        let unrecorded = objects.read(desired.reference()).await.expect("reading by name works");
        assert_eq!(
            unrecorded.map(|remote| remote.id).as_ref(),
            Some(&made.id),
            "{address} is not found by the names in its attributes"
        );
        if let Some(updated) = &case.updated {
            let updated = fill(updated, &records);
            let token = Token(format!("update-{address}"));
            let now = objects.update(&record, &updated, &token, &Silent).await;
            let now = now.unwrap_or_else(|error| panic!("updating {address}: {error}"));
            assert_eq!(now.id, made.id, "{address}: an update in place made another object");
            record = self::record(&updated, &now);
            expect_attributes(objects, &record, &updated).await;
        }
        records.push(record);
    }

    let listed = objects.list(&owner.stack).await.expect("listing by tags works");
    for record in &records {
        let address = &record.address;
        let mark = Mark { address: address.clone(), lineage: owner.lineage.clone() };
        assert!(
            listed.iter().any(|(found, _)| *found == mark),
            "{address} is not among the objects with our tags"
        );
    }
    assert_eq!(
        objects.list("someone").await.expect("listing works"),
        [],
        "a stranger owns nothing"
    );

    for record in records.iter().rev() {
        let address = &record.address;
        let token = Token(format!("delete-{address}"));
        for attempt in ["deleting", "deleting again"] {
            let gone = objects.delete(record, &token, &Silent).await;
            gone.unwrap_or_else(|error| panic!("{attempt} {address}: {error}"));
        }
        assert_eq!(objects.read(record.reference()).await, Ok(None), "{address} is still there");
    }
    assert_eq!(
        objects.list(&owner.stack).await.expect("listing works"),
        [],
        "something is left behind"
    );
}

/// Every attribute we set reads back as we set it.
async fn expect_attributes(objects: &dyn Objects, record: &Record, desired: &Resource) {
    let address = &desired.address;
    let schema = objects.schema(&address.kind).expect("the suite has asked for it before");
    let seen = objects.read(record.reference()).await.expect("reading works");
    let seen = seen.unwrap_or_else(|| panic!("{address} is not there after it was written"));
    assert_eq!(seen.id, record.id, "{address} changed its id");
    for (name, value) in desired.attributes.iter().filter(|(_, value)| !value.is_null()) {
        let found = seen.attributes.get(name);
        assert!(
            found.is_some_and(|found| agrees(schema, name, value, found)),
            "{address}: `{name}` reads differently: {found:?} instead of {value:?}"
        );
    }
}

/// Whether `found` is what we set, but for what stands beside it in a nested block and is the
/// cloud's by the schema (a cluster's `vpc_config.0.vpc_id`).
fn agrees(schema: &Schema, path: &str, set: &Value, found: &Value) -> bool {
    match (set, found) {
        (Value::Map(set), Value::Map(found)) => {
            let inside = |key: &str| format!("{path}.{key}");
            set.iter().filter(|(_, value)| !value.is_null()).all(|(key, value)| {
                found.get(key).is_some_and(|found| agrees(schema, &inside(key), value, found))
            }) && found.iter().all(|(key, value)| {
                let ownership = schema.ownership(&inside(key));
                set.contains_key(key)
                    || value.is_null()
                    || schema.partial
                    || matches!(ownership, Ownership::Computed | Ownership::ProviderDefault)
            })
        }
        (Value::List(set), Value::List(found)) => {
            let items = set.iter().zip(found).enumerate();
            set.len() == found.len()
                && items.into_iter().all(|(index, (set, found))| {
                    agrees(schema, &format!("{path}.{index}"), set, found)
                })
        }
        _ => set == found,
    }
}

fn record(desired: &Resource, remote: &crate::Remote) -> Record {
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: desired.site.clone(),
        id: remote.id.clone(),
        attributes: remote.attributes.clone(),
        depends_on: desired.depends_on.clone(),
        version: 0,
        tainted: false,
    }
}

/// The resource with what earlier ones computed put in.
fn fill(resource: &Resource, records: &[Record]) -> Resource {
    let mut filled = resource.clone();
    for value in filled.attributes.values_mut() {
        *value = value.map_leaves(&mut |leaf| match leaf {
            Value::Unknown(unknown) => records
                .iter()
                .find(|record| record.address.to_string() == unknown.address)
                .and_then(|record| Value::Map(record.attributes.clone()).at(&unknown.path).cloned())
                .unwrap_or_else(|| panic!("{}: nothing provides {unknown:?}", resource.address)),
            other => other.clone(),
        });
    }
    filled
}
