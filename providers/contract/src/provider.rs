//! The traits a cloud implements: a pure part that decides, and a part that calls.

use async_trait::async_trait;

use crate::{
    Address, Attributes, Error, Mark, Offering, Owner, Quota, Record, Reference, Registry, Remote,
    Resource, Result, Schema, Site, Tariff, Value,
};

/// Makes, reads and removes objects of some types: a cloud's own API, or one cluster's.
///
/// Every call that changes something is idempotent under its token: sent twice, it happens once. Long
/// operations are waited for, report progress, and resume: an object found in the middle of its
/// creation by the same token is waited for, not created again.
#[async_trait]
pub trait Objects: Send + Sync {
    /// What the attributes of a type mean; `None` for a type that is not this provider's.
    fn schema(&self, kind: &str) -> Option<&'static Schema>;

    /// The types that objects of this type live inside of: when one of those goes, they are gone.
    fn containers(&self, _kind: &str) -> &'static [&'static str] {
        &[]
    }

    /// The object as it is now; `None` when it does not exist.
    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>>;

    /// Whether the object is there and its removal is under way. A cloud that removes things at once need not
    /// say anything.
    async fn is_leaving(&self, _reference: Reference<'_>) -> Result<bool> {
        Ok(false)
    }

    /// Makes the object and waits until it can be used. All attributes are known and plain.
    async fn create(
        &self,
        desired: &Resource,
        token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote>;

    /// Changes in place what differs between the record and the desired attributes.
    async fn update(
        &self,
        record: &Record,
        desired: &Resource,
        token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote>;

    /// Removes the object and waits until it is gone. An object that is gone already is no error.
    async fn delete(&self, record: &Record, token: &Token, progress: &dyn Progress) -> Result<()>;

    /// Every object that carries the tags of a stack, of whatever lineage, with what its tags say.
    async fn list(&self, stack: &str) -> Result<Vec<(Mark, Remote)>>;

    /// Who made an object, as the tags among its attributes say.
    fn owner(&self, attributes: &Attributes) -> Option<Owner>;

    /// Reads by its id an object that was never recorded, to stand for what is wanted.
    async fn find(&self, wanted: &Resource, id: &str) -> Result<Option<Remote>> {
        // Where to look is no part of every id; which one it is must come from the id alone.
        let place = |(name, _): &(&String, &Value)| matches!(name.as_str(), "region" | "location");
        let place = wanted.attributes.iter().filter(place);
        let attributes = place.map(|(name, value)| (name.clone(), value.clone())).collect();
        let reference =
            Reference { address: &wanted.address, id: Some(id), attributes: &attributes };
        self.read(reference).await
    }
}

/// One cloud of a stack. It is made from a [`crate::Cloud`] without any I/O; the first call connects.
#[async_trait]
pub trait Provider: Objects {
    /// What can be rented in the cloud's regions, at list prices. Ordered by [`Offering::id`].
    fn offerings(&self) -> Vec<Offering>;

    /// What is paid beside nodes, at list prices.
    fn tariff(&self) -> Tariff;

    /// Every object that the cloud's own API must have for these sites and registries: pure. All
    /// sites at once, because services share clusters and pools.
    fn resources(&self, sites: &[Site], registries: &[Registry], owner: &Owner) -> Vec<Resource>;

    /// The address of the cluster of a site (a resource of [`Provider::resources`]); `None` where
    /// clusters exist already.
    fn cluster_address(&self, region: &str) -> Option<Address>;

    /// Limits as the cloud reports them, where credentials allow; else what is declared.
    async fn quotas(&self) -> Result<Vec<Quota>>;

    /// Short-lived credentials for the cluster of a region, taken at the moment of use. `cluster` is
    /// the record at [`Provider::cluster_address`].
    async fn cluster_access(&self, region: &str, cluster: Option<&Record>) -> Result<KubeAccess>;
}

/// How to reach a cluster's API server.
#[derive(Clone, PartialEq, Eq)]
pub struct KubeAccess {
    /// Base URL; may carry a path.
    pub server: String,
    /// PEM.
    pub certificate_authority: Option<String>,
    pub token: Option<String>,
    /// PEM of a client certificate and its key.
    pub client_certificate: Option<(String, String)>,
}

// By hand, so that no log line ever shows a credential.
impl std::fmt::Debug for KubeAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeAccess").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Names one operation: the same lineage, address and operation number give the same token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(pub String);

/// Hears how a long operation is going.
pub trait Progress: Send + Sync {
    /// A short phrase: `CREATING`, `2 of 4 nodes`.
    fn report(&self, phase: &str);
}

/// Hears nothing.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _phase: &str) {}
}

impl Error {
    /// A rejection with this message.
    pub fn rejected(message: impl Into<String>) -> Error {
        Error::Rejected { message: message.into() }
    }

    /// A lost answer with this message.
    pub fn lost(message: impl Into<String>) -> Error {
        Error::Lost { message: message.into() }
    }
}
