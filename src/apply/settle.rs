//! What became of operations that were begun and never ended: a crash, a lost answer.
//!
//! Invariant: an operation is closed only by what a cloud says. What may have been made is looked for by
//! its name and by its tags; what is in the middle of being made or removed is waited for.

use std::collections::BTreeMap;

use fleetform_contract::{
    Address, Error, Mark, Objects, Owner, Record, Remote, Resource, Silent, Token, Vault,
};
use fleetform_state::{Action, Entry, OpenOperation};

use crate::clouds::Clouds;
use crate::diagnostic::Diagnostic;
use crate::refresh::seal;

/// One open operation, after a look at the cloud.
#[derive(Debug, PartialEq)]
pub struct Settled {
    pub op: String,
    pub address: Address,
    pub became: Became,
    /// The number of the entry that began it.
    pub since: u64,
}

/// What came of an operation.
#[derive(Debug, PartialEq)]
pub enum Became {
    /// The object is there, as it was to be or on the way there.
    Is(Box<Record>),
    /// The object is there and will never be what it was to be: the record is tainted.
    Broken { record: Box<Record>, class: String, message: String },
    /// The object was there and is gone.
    Gone,
    /// Nothing that its end could be told from.
    Nothing,
}

/// Who settles, with what.
pub struct Settling<'a> {
    pub clouds: &'a Clouds,
    pub owner: &'a Owner,
    pub vault: &'a Vault,
    /// Wait for what is half made or half removed, instead of only looking at it.
    pub resume: bool,
    /// Ends that the run which made them could not write, by operation.
    pub kept: &'a BTreeMap<String, Entry>,
}

/// Looks at every open operation's object, in the order in which they began.
pub async fn settle(
    open: &BTreeMap<String, OpenOperation>,
    records: &BTreeMap<Address, Record>,
    settling: &Settling<'_>,
) -> Result<Vec<Settled>, Vec<Diagnostic>> {
    let mut settled: Vec<Settled> = Vec::new();
    let mut failures = Vec::new();
    let mut known = records.clone();
    let mut ordered: Vec<(&String, &OpenOperation)> = open.iter().collect();
    ordered.sort_by_key(|(_, operation)| operation.since);
    for (op, operation) in ordered {
        let became = match settling.kept.get(op) {
            Some(end) => Ok(Became::of(end)),
            None => settling.became(operation, &known).await,
        };
        match became {
            Ok(became) => {
                let (op, address) = (op.clone(), operation.address.clone());
                let one = Settled { op, address, became, since: operation.since };
                one.fold(&mut known);
                settled.push(one);
            }
            Err(error) => failures.push(
                Diagnostic::error(
                    "An interrupted operation could not be settled",
                    format!(
                        "Looking at {}, where a run began to {} and did not end: {error}.",
                        operation.address, operation.action
                    ),
                )
                .about(&operation.address)
                .hint("try again once the cloud answers"),
            ),
        }
    }
    if failures.is_empty() { Ok(settled) } else { Err(failures) }
}

impl Settled {
    /// What to write into the log.
    pub fn entry(&self) -> Entry {
        let op = self.op.clone();
        match &self.became {
            Became::Is(record) => Entry::Done { op, record: Some((**record).clone()) },
            Became::Broken { record, class, message } => {
                let (record, class, message) = ((**record).clone(), class.clone(), message.clone());
                Entry::Tainted { op, record, class, message }
            }
            Became::Gone => Entry::Done { op, record: None },
            Became::Nothing => Entry::Failed {
                op,
                class: "interrupted".to_owned(),
                message: "the run ended before its answer".to_owned(),
            },
        }
    }

    /// What the log will say of the records once this is written.
    pub fn fold(&self, records: &mut BTreeMap<Address, Record>) {
        match &self.became {
            Became::Is(record) | Became::Broken { record, .. } => {
                records.insert(record.address.clone(), (**record).clone());
            }
            Became::Gone => {
                let removed = records.get(&self.address).is_some_and(|r| r.version < self.since);
                if removed {
                    records.remove(&self.address);
                }
            }
            Became::Nothing => {}
        }
    }
}

impl Became {
    fn of(end: &Entry) -> Became {
        match end {
            Entry::Done { record: Some(record), .. } => Became::Is(Box::new(record.clone())),
            Entry::Done { record: None, .. } => Became::Gone,
            Entry::Tainted { record, class, message, .. } => Became::Broken {
                record: Box::new(record.clone()),
                class: class.clone(),
                message: message.clone(),
            },
            _ => Became::Nothing,
        }
    }
}

impl Settling<'_> {
    async fn became(
        &self,
        operation: &OpenOperation,
        known: &BTreeMap<Address, Record>,
    ) -> Result<Became, Error> {
        let token = Token(operation.token.clone());
        let (desired, previous) = (operation.desired.as_ref(), operation.previous.as_ref());
        let home = match operation.action {
            Action::Create => desired.map(|desired| (&desired.cloud, &desired.site)),
            Action::Update | Action::Delete => previous.map(|record| (&record.cloud, &record.site)),
        };
        let Some((cloud, site)) = home else { return Ok(Became::Nothing) };
        let Some(place) = self.place(cloud, site.as_deref(), known).await? else {
            return Ok(match operation.action {
                Action::Delete => Became::Gone,
                Action::Create | Action::Update => Became::Nothing,
            });
        };
        let attempt = || async {
            match (operation.action, desired, previous) {
                (Action::Create, Some(desired), _) => self.created(desired, &token, &place).await,
                (Action::Update, Some(desired), Some(previous)) => {
                    self.updated(desired, previous, &place).await
                }
                (Action::Delete, _, Some(previous)) => self.deleted(previous, &token, &place).await,
                _ => Ok(Became::Nothing),
            }
        };
        self.clouds.call(cloud, &token.0, &Silent, attempt).await
    }

    /// The object as the cloud has it now. What was half made is waited for under its own token, which makes
    /// nothing twice.
    async fn created(
        &self,
        desired: &Resource,
        token: &Token,
        place: &Place<'_>,
    ) -> Result<Became, Error> {
        let objects = place.objects(self.clouds).await?;
        let objects = objects.as_ref();
        let Some(seen) = self.clouds.look(|| self.find(objects, desired)).await? else {
            return Ok(Became::Nothing);
        };
        let remote = match super::open(desired, self.vault) {
            Ok(plain) if self.resume => match objects.create(&plain, token, &Silent).await {
                Ok(remote) => remote,
                // It will not become what it was to be: the plan makes it again. By that name it may also be
                // somebody else's, and nothing came of our operation.
                Err(error) if error.is_final() => {
                    let left = tagged(objects, self.owner, &desired.address).await?;
                    return Ok(left.map_or(Became::Nothing, |remote| {
                        let record = made(desired, remote, self.vault);
                        Became::Broken {
                            record: Box::new(Record { tainted: true, ..record }),
                            class: error.class().to_owned(),
                            message: error.to_string(),
                        }
                    }));
                }
                Err(error) => return Err(error),
            },
            // Also where a secret is not given any more: what was made stays as it is.
            _ => seen,
        };
        Ok(Became::Is(Box::new(made(desired, remote, self.vault))))
    }

    /// By name, and where the cloud chose the name by our tags.
    async fn find(
        &self,
        objects: &dyn Objects,
        desired: &Resource,
    ) -> Result<Option<Remote>, Error> {
        match objects.read(desired.reference()).await {
            Ok(Some(seen)) => Ok(Some(seen)),
            // Without a name there is nothing to ask for.
            Ok(None) | Err(Error::Rejected { .. }) => {
                tagged(objects, self.owner, &desired.address).await
            }
            Err(error) => Err(error),
        }
    }

    /// However far it came, the record is what is there; the plan sees what is missing.
    async fn updated(
        &self,
        desired: &Resource,
        previous: &Record,
        place: &Place<'_>,
    ) -> Result<Became, Error> {
        let objects = place.objects(self.clouds).await?;
        Ok(match self.clouds.look(|| objects.read(previous.reference())).await? {
            Some(remote) => Became::Is(Box::new(made(desired, remote, self.vault))),
            None => Became::Nothing,
        })
    }

    /// Whether it is gone. What is on its way out is waited for; what nobody removes stays, until a plan
    /// says again that it should go.
    async fn deleted(
        &self,
        previous: &Record,
        token: &Token,
        place: &Place<'_>,
    ) -> Result<Became, Error> {
        let objects = place.objects(self.clouds).await?;
        if self.clouds.look(|| objects.read(previous.reference())).await?.is_none() {
            return Ok(Became::Gone);
        }
        if !objects.is_leaving(previous.reference()).await? {
            return Ok(Became::Nothing);
        }
        if self.resume {
            objects.delete(previous, token, &Silent).await?;
        }
        Ok(Became::Gone)
    }

    /// Where an object lives; `None` where that was a cluster which does not exist.
    async fn place<'a>(
        &self,
        cloud: &'a str,
        site: Option<&'a str>,
        known: &'a BTreeMap<Address, Record>,
    ) -> Result<Option<Place<'a>>, Error> {
        let Some(site) = site else { return Ok(Some(Place { cloud, site, cluster: None })) };
        let Ok(cluster) = self.clouds.cluster(site, known) else { return Ok(None) };
        let place = Place { cloud, site: Some(site), cluster };
        let Some(record) = cluster else { return Ok(Some(place)) };
        let outside = Place { cloud, site: None, cluster: None };
        let look = || async {
            let objects = outside.objects(self.clouds).await?;
            self.clouds.look(|| objects.read(record.reference())).await
        };
        let found = self.clouds.call(cloud, &record.id, &Silent, look).await?;
        Ok(found.is_some().then_some(place))
    }
}

/// What is recorded of a resource that is there now.
pub(super) fn made(desired: &Resource, remote: Remote, vault: &Vault) -> Record {
    let schema = fleetform_providers::schema(&desired.address.kind);
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: desired.site.clone(),
        id: remote.id,
        attributes: seal(&desired.address, &remote.attributes, schema, vault),
        depends_on: desired.depends_on.clone(),
        version: 0,
        tainted: false,
    }
}

/// What a failed creation has left.
pub enum Left<T> {
    Nothing,
    This(T),
    /// It could not be found out: there may be something.
    Unclear,
}

impl<T> Left<T> {
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Left<U> {
        match self {
            Left::Nothing => Left::Nothing,
            Left::This(this) => Left::This(change(this)),
            Left::Unclear => Left::Unclear,
        }
    }
}

/// What a creation that failed has left of ours.
pub async fn left_behind(
    desired: &Resource,
    cluster: Option<&Record>,
    clouds: &Clouds,
    owner: &Owner,
) -> Left<Remote> {
    let place = Place { cloud: &desired.cloud, site: desired.site.as_deref(), cluster };
    let attempt = || async {
        let objects = place.objects(clouds).await?;
        if objects.read(desired.reference()).await?.is_none() {
            return Ok(None);
        }
        tagged(objects.as_ref(), owner, &desired.address).await
    };
    match clouds.call(&desired.cloud, &desired.address.to_string(), &Silent, attempt).await {
        Ok(Some(remote)) => Left::This(remote),
        Ok(None) => Left::Nothing,
        Err(_) => Left::Unclear,
    }
}

/// The object whose tags say that it is this owner's and at this address.
async fn tagged(
    objects: &dyn Objects,
    owner: &Owner,
    address: &Address,
) -> Result<Option<Remote>, Error> {
    let listed = objects.list(&owner.stack).await?;
    let ours = Mark { address: address.clone(), lineage: owner.lineage.clone() };
    Ok(listed.into_iter().find(|(mark, _)| *mark == ours).map(|(_, remote)| remote))
}

struct Place<'a> {
    cloud: &'a str,
    site: Option<&'a str>,
    cluster: Option<&'a Record>,
}

impl Place<'_> {
    async fn objects(&self, clouds: &Clouds) -> Result<std::sync::Arc<dyn Objects>, Error> {
        clouds.objects(self.cloud, self.site, self.cluster).await
    }
}
