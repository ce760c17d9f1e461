//! Records → what exists now: reads every recorded object, in parallel, within a bound.

mod demand;
mod find;
mod gather;

use std::collections::BTreeMap;

use fleetform_contract::{
    Address, Attributes, Error, Record, Remote, Schema, Silent, Value, Vault, path,
};
use futures::StreamExt;

use crate::clouds::Clouds;
use crate::diagnostic::Diagnostic;
use crate::plan::{Drift, differences};

pub use demand::measure;
pub use find::Finding;
pub use gather::{Gathered, gather, gather_inside};

/// What exists now of what was recorded.
#[derive(Debug, Default)]
pub struct Observed {
    /// The records with their attributes as they are now; what is gone is left out.
    pub records: BTreeMap<Address, Record>,
    /// What is not as recorded. Changes of computed attributes alone are no drift.
    pub drift: Vec<Drift>,
}

/// Hears which objects are being read.
pub trait Listener: Send + Sync {
    fn reading(&self, record: &Record);
    fn read(&self, record: &Record);
}

/// Reads every record's object; every failure is a diagnostic, and one is enough to have no answer.
pub async fn observe(
    records: &BTreeMap<Address, Record>,
    clouds: &Clouds,
    vault: &Vault,
    parallelism: usize,
    listener: &dyn Listener,
) -> Result<Observed, Vec<Diagnostic>> {
    // What a cloud's own API made comes first: whether a cluster is there decides whether what is
    // inside can be asked for.
    let (outside, inside): (Vec<&Record>, Vec<&Record>) =
        records.values().partition(|record| record.site.is_none());
    let mut observed = Observed::default();
    let mut failures = Vec::new();
    for batch in [outside, inside] {
        let known = &observed.records;
        let reads = batch.into_iter().map(|record| async move {
            listener.reading(record);
            let remote = read(record, clouds, known).await;
            listener.read(record);
            (record, remote)
        });
        let mut answers: Vec<_> =
            futures::stream::iter(reads).buffer_unordered(parallelism.max(1)).collect().await;
        answers.sort_by(|(a, _), (b, _)| a.address.cmp(&b.address));
        for (record, remote) in answers {
            match remote {
                Ok(Some(remote)) => note(record, &remote, vault, &mut observed),
                Ok(None) => observed.drift.push(Drift {
                    address: record.address.clone(),
                    before: record.attributes.clone(),
                    after: None,
                    paths: Vec::new(),
                }),
                Err(error) => failures.push(unreadable(record, &error)),
            }
        }
    }
    observed.drift.sort_by(|a, b| a.address.cmp(&b.address));
    if failures.is_empty() { Ok(observed) } else { Err(failures) }
}

async fn read(
    record: &Record,
    clouds: &Clouds,
    known: &BTreeMap<Address, Record>,
) -> Result<Option<Remote>, Error> {
    let cluster = match &record.site {
        None => None,
        Some(site) => match clouds.cluster(site, known) {
            Ok(cluster) => cluster,
            // What lived in a cluster that is gone is gone.
            Err(_) => return Ok(None),
        },
    };
    let what = record.address.to_string();
    let attempt = || async {
        let objects = clouds.objects(&record.cloud, record.site.as_deref(), cluster).await?;
        clouds.look(|| objects.read(record.reference())).await
    };
    clouds.call(&record.cloud, &what, &Silent, attempt).await
}

fn note(record: &Record, remote: &Remote, vault: &Vault, observed: &mut Observed) {
    let schema = fleetform_providers::schema(&record.address.kind);
    let attributes = seal(&record.address, &remote.attributes, schema, vault);
    let paths: Vec<_> = differences(&record.attributes, &attributes)
        .into_iter()
        .filter(|path| is_ours(schema, &path.join(".")))
        .collect();
    if !paths.is_empty() {
        observed.drift.push(Drift {
            address: record.address.clone(),
            before: record.attributes.clone(),
            after: Some(attributes.clone()),
            paths,
        });
    }
    let now = Record { id: remote.id.clone(), attributes, ..record.clone() };
    observed.records.insert(record.address.clone(), now);
}

/// Whether somebody changed something of ours, and not a cloud or an autoscaler of theirs.
fn is_ours(schema: Option<&Schema>, path: &str) -> bool {
    use fleetform_contract::Ownership::{Autoscaler, Computed};
    !schema.is_some_and(|schema| matches!(schema.ownership(path), Computed | Autoscaler))
}

/// Attributes as they may be kept: what the schema calls sensitive becomes a secret.
pub fn seal(
    address: &Address,
    attributes: &Attributes,
    schema: Option<&Schema>,
    vault: &Vault,
) -> Attributes {
    let Some(schema) = schema else { return attributes.clone() };
    if !schema.attributes.iter().any(|attribute| attribute.sensitive) {
        return attributes.clone();
    }
    let sealed = attributes
        .iter()
        .map(|(name, value)| (name.clone(), seal_value(address, name, value, schema, vault)));
    sealed.collect()
}

fn seal_value(address: &Address, at: &str, value: &Value, schema: &Schema, vault: &Vault) -> Value {
    let inner =
        |name: &str, value: &Value| seal_value(address, &path(&[at, name]), value, schema, vault);
    match value {
        Value::Map(map) => {
            Value::Map(map.iter().map(|(name, value)| (name.clone(), inner(name, value))).collect())
        }
        Value::List(items) => Value::List(
            items.iter().enumerate().map(|(i, value)| inner(&i.to_string(), value)).collect(),
        ),
        Value::Null | Value::Unknown(_) | Value::Secret(_) => value.clone(),
        leaf if schema.sensitive(at) => vault.seal(format!("{address}.{at}"), leaf.clone()),
        leaf => leaf.clone(),
    }
}

fn unreadable(record: &Record, error: &Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "An object could not be read",
        format!("Reading {} (id `{}`) failed: {error}.", record.address, record.id),
    )
    .about(&record.address);
    match error {
        Error::Denied { permission: Some(permission), .. } => {
            diagnostic.hint(format!("give these credentials the permission `{permission}`"))
        }
        Error::Denied { .. } => diagnostic.hint(format!(
            "check the credentials of cloud `{}`, or plan with -refresh=false",
            record.cloud
        )),
        Error::Throttled { .. } | Error::Lost { .. } | Error::Conflict { .. } => {
            diagnostic.hint("try again, or plan with -refresh=false from what is recorded")
        }
        Error::Rejected { .. } | Error::NoCapacity { .. } => diagnostic,
    }
}
