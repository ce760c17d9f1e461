//! What became of operations that were begun and never ended: a crash, a lost answer.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Error, Record, Remote, Resource, Silent, Token, Vault};
use fleetform_state::{Action, Entry, OpenOperation};

use crate::clouds::Clouds;
use crate::diagnostic::Diagnostic;
use crate::refresh::seal;

/// One open operation, after a look at the cloud.
#[derive(Debug, PartialEq)]
pub struct Settled {
    pub op: String,
    pub address: Address,
    /// What was made, where it was; `None` where nothing came of it.
    pub record: Option<Record>,
}

/// Looks at every open operation's object. With `resume`, a creation found half done is waited for
/// under its own token; without, it is only read.
///
/// Updates and deletions need no look of their own: their objects are recorded, and refresh reads them.
pub async fn settle(
    open: &BTreeMap<String, OpenOperation>,
    records: &BTreeMap<Address, Record>,
    clouds: &Clouds,
    vault: &Vault,
    resume: bool,
) -> Result<Vec<Settled>, Vec<Diagnostic>> {
    let mut settled: Vec<Settled> = Vec::new();
    let mut failures = Vec::new();
    let mut known = records.clone();
    for (op, operation) in open {
        let mut result =
            Settled { op: op.clone(), address: operation.address.clone(), record: None };
        if let (Action::Create, Some(desired)) = (operation.action, &operation.desired) {
            match found(desired, &operation.token, &known, clouds, vault, resume).await {
                Ok(remote) => {
                    result.record = remote.map(|remote| record(desired, remote, vault));
                    if let Some(record) = &result.record {
                        known.insert(record.address.clone(), record.clone());
                    }
                }
                Err(error) => failures.push(
                    Diagnostic::error(
                        "An interrupted operation could not be settled",
                        format!(
                            "Looking for {}, whose creation was begun: {error}.",
                            desired.address
                        ),
                    )
                    .about(&desired.address)
                    .hint("try again once the cloud answers"),
                ),
            }
        }
        settled.push(result);
    }
    if failures.is_empty() { Ok(settled) } else { Err(failures) }
}

impl Settled {
    /// What to write into the log.
    pub fn entry(&self) -> Entry {
        match &self.record {
            Some(record) => Entry::Done { op: self.op.clone(), record: Some(record.clone()) },
            None => Entry::Failed {
                op: self.op.clone(),
                class: "interrupted".to_owned(),
                message: "the run ended before its answer".to_owned(),
            },
        }
    }
}

async fn found(
    desired: &Resource,
    token: &str,
    known: &BTreeMap<Address, Record>,
    clouds: &Clouds,
    vault: &Vault,
    resume: bool,
) -> Result<Option<Remote>, Error> {
    let cluster = match &desired.site {
        None => None,
        Some(site) => match clouds.cluster(site, known) {
            Ok(cluster) => cluster,
            Err(_) => return Ok(None),
        },
    };
    let objects = clouds.objects(&desired.cloud, desired.site.as_deref(), cluster).await?;
    let seen = objects.read(desired.reference()).await?;
    if seen.is_none() || !resume {
        return Ok(seen);
    }
    match super::open(desired, vault) {
        Ok(plain) => match objects.create(&plain, &Token(token.to_owned()), &Silent).await {
            Ok(remote) => Ok(Some(remote)),
            // What is there by that name is somebody else's: nothing came of our operation.
            Err(Error::Rejected { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        // A secret that is no longer given: what was made stays as it is, and the plan decides.
        Err(_) => Ok(seen),
    }
}

fn record(desired: &Resource, remote: Remote, vault: &Vault) -> Record {
    let schema = fleetform_providers::schema(&desired.address.kind);
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: desired.site.clone(),
        id: remote.id,
        attributes: seal(&desired.address, &remote.attributes, schema, vault),
        depends_on: desired.depends_on.clone(),
        version: 0,
    }
}
