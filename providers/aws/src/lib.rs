//! Amazon Web Services: EKS clusters and node groups, ECR repositories, IAM roles.
//!
//! Read in this order: [`catalog`] says what can be rented, [`resources`] what must exist, [`schema`]
//! what its attributes mean; one file an API family (`clusters`, `node_pools`, `registries`, `roles`)
//! makes it so through `transport`, the one seam to AWS. [`emulator`] is the other side of that seam.
//!
//! Quotas are those that the stack declares: AWS's own (Service Quotas) are not asked.

pub mod catalog;
pub mod resources;
mod schema;

mod attributes;
mod clusters;
mod node_pools;
mod registries;
mod roles;

mod errors;
mod text;
mod transport;
mod xml;

pub mod emulator;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetform_contract::{
    Address, Attributes, Cloud, Error, KubeAccess, Mark, Objects, Offering, Owner, Pace, Progress,
    Provider, Quota, Record, Reference, Registry, Remote, Resource, Result, Schema, Site, Tariff,
    Token, Value,
};
use futures::{StreamExt, TryStreamExt, stream};

pub use schema::schema;
use schema::{CLUSTER, LIFECYCLE_POLICY, NODE_GROUP, REPOSITORY, ROLE, ROLE_POLICY_ATTACHMENT};
use transport::{Clients, Operation, Transport};

/// Dollars an hour for a control plane whose version is in standard support.
const CONTROL_PLANE_PRICE_HOUR: f64 = 0.10;
/// Regions that are listed at the same time.
const WIDTH: usize = 8;

/// The provider of a cloud of kind `aws`. No I/O: the first call connects.
pub fn provider(cloud: &Cloud) -> Result<Box<dyn Provider>> {
    let wrong = |what: String| Err(Error::rejected(format!("cloud `{}`: {what}", cloud.name)));
    let known = catalog::regions();
    if let Some(region) = cloud.regions.iter().find(|region| !known.contains(region.as_str())) {
        let names: Vec<&str> = known.iter().copied().collect();
        return wrong(format!(
            "`{region}` is no region that Fleetform has AWS prices for; it knows {}",
            names.join(", ")
        ));
    }
    if !cloud.cluster.subnet_ids.is_empty() && cloud.regions.len() != 1 {
        return wrong(
            "subnets belong to one region, so a cloud with `cluster.subnet_ids` names exactly one \
             in `regions`; use one cloud for each region"
                .into(),
        );
    }
    for (api, url) in &cloud.endpoints {
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if host.is_none_or(str::is_empty) || url.parse::<http::Uri>().is_err() {
            return wrong(format!("the endpoint of `{api}` is no URL: `{url}`"));
        }
    }
    Ok(Box::new(Aws { transport: Transport::new(cloud.clone()), cloud: cloud.clone() }))
}

/// The same cloud, pointed at the emulator. Roles and subnets that the stack names exist in the real
/// account only, so the sandbox makes and finds its own.
pub fn sandboxed(mut cloud: Cloud, urls: &BTreeMap<&'static str, String>) -> Cloud {
    if let Some(url) = urls.get("aws") {
        for service in ["eks", "ecr", "iam", "ec2", "sts"] {
            cloud.endpoints.insert(service.to_owned(), url.clone());
        }
    }
    if let Some(url) = urls.get("kubernetes") {
        cloud.endpoints.insert("kubernetes".to_owned(), url.clone());
    }
    cloud.account.insert("credentials".to_owned(), "sandbox".to_owned());
    cloud.cluster.cluster_role_arn = None;
    cloud.cluster.node_role_arn = None;
    cloud.cluster.subnet_ids.clear();
    cloud.pace = Pace { poll: Duration::from_millis(2), ..cloud.pace };
    cloud
}

struct Aws {
    cloud: Cloud,
    transport: Transport,
}

impl Aws {
    /// The clients of the region that an object is in: as recorded or desired, else as its id says.
    async fn clients(&self, attributes: &Attributes, id: Option<&str>) -> Result<Arc<Clients>> {
        let from_id = || id?.strip_prefix("arn:")?.split(':').nth(2);
        let region = attributes::text(attributes, "region")
            .or_else(|| from_id().filter(|region| !region.is_empty()))
            .unwrap_or_else(|| self.home());
        self.transport.region(region).await
    }

    /// The region from which what has no region (IAM) is called.
    fn home(&self) -> &str {
        self.cloud.regions.first().map_or("us-east-1", String::as_str)
    }

    fn operation<'a>(
        &self,
        clients: &'a Clients,
        token: &'a Token,
        progress: &'a dyn Progress,
    ) -> Operation<'a> {
        Operation { clients, pace: self.cloud.pace, token, progress }
    }

    async fn list_region(&self, stack: &str, region: &str) -> Result<Vec<(Mark, Remote)>> {
        let clients = self.transport.region(region).await?;
        let mut found = Vec::new();
        for cluster in clusters::list(&clients).await? {
            let Some(mark) = clusters::mark_of(&cluster, stack) else { continue };
            for group in node_pools::list(&clients, cluster.name().unwrap_or_default()).await? {
                if let Some(mark) = node_pools::mark_of(&group, stack) {
                    found.push((mark, node_pools::remote(region, &group)));
                }
            }
            found.push((mark, clusters::observed(&clients, &cluster).await?));
        }
        found.extend(registries::list(&clients, stack).await?);
        Ok(found)
    }
}

#[async_trait]
impl Objects for Aws {
    fn schema(&self, kind: &str) -> Option<&'static Schema> {
        schema(kind)
    }

    fn containers(&self, kind: &str) -> &'static [&'static str] {
        match kind {
            "aws_eks_node_group" => &["aws_eks_cluster"],
            "aws_ecr_lifecycle_policy" => &["aws_ecr_repository"],
            "aws_iam_role_policy_attachment" => &["aws_iam_role"],
            _ => &[],
        }
    }

    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>> {
        let Reference { address, id, attributes } = reference;
        let clients = self.clients(attributes, id).await?;
        match address.kind.as_str() {
            CLUSTER => clusters::read(&clients, &clusters::name_in(attributes, id)?).await,
            NODE_GROUP => node_pools::read(&clients, &node_pools::Names::of(attributes, id)?).await,
            REPOSITORY => {
                registries::read(&clients, &registries::name_in(attributes, "name", id)?).await
            }
            LIFECYCLE_POLICY => {
                let name = registries::name_in(attributes, "repository", id)?;
                registries::read_policy(&clients, &name).await
            }
            ROLE => roles::read(&clients.query, &roles::name_in(attributes, id)?).await,
            ROLE_POLICY_ATTACHMENT => {
                let names = roles::Attachment::of(attributes, id)?;
                roles::read_attachment(&clients.query, &names).await
            }
            _ => Err(foreign(address)),
        }
    }

    async fn is_leaving(&self, reference: Reference<'_>) -> Result<bool> {
        let found = self.read(reference).await?;
        let status = found.as_ref().and_then(|found| found.attributes.get("status"));
        Ok(status.and_then(Value::as_str) == Some("DELETING"))
    }

    async fn create(
        &self,
        desired: &Resource,
        token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        let clients = self.clients(&desired.attributes, None).await?;
        let operation = self.operation(&clients, token, progress);
        match desired.address.kind.as_str() {
            CLUSTER => clusters::create(&operation, desired).await,
            NODE_GROUP => node_pools::create(&operation, desired).await,
            REPOSITORY => registries::create(&operation, desired).await,
            LIFECYCLE_POLICY => registries::put_policy(&clients, desired).await,
            ROLE => roles::create(&clients.query, desired).await,
            ROLE_POLICY_ATTACHMENT => {
                let names = roles::Attachment::of(&desired.attributes, None)?;
                roles::create_attachment(&clients.query, &names).await
            }
            _ => Err(foreign(&desired.address)),
        }
    }

    async fn update(
        &self,
        _record: &Record,
        desired: &Resource,
        token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        // What differs is found against the object itself: the record may be older, and an update
        // that was cut off goes on where it stopped.
        let clients = self.clients(&desired.attributes, None).await?;
        let operation = self.operation(&clients, token, progress);
        match desired.address.kind.as_str() {
            CLUSTER => clusters::update(&operation, desired).await,
            NODE_GROUP => node_pools::update(&operation, desired).await,
            REPOSITORY => registries::update(&operation, desired).await,
            LIFECYCLE_POLICY => registries::put_policy(&clients, desired).await,
            ROLE => roles::update(&clients.query, desired).await,
            ROLE_POLICY_ATTACHMENT => {
                let names = roles::Attachment::of(&desired.attributes, None)?;
                roles::create_attachment(&clients.query, &names).await
            }
            _ => Err(foreign(&desired.address)),
        }
    }

    async fn delete(&self, record: &Record, token: &Token, progress: &dyn Progress) -> Result<()> {
        let (attributes, id) = (&record.attributes, Some(record.id.as_str()));
        let clients = self.clients(attributes, id).await?;
        let operation = self.operation(&clients, token, progress);
        match record.address.kind.as_str() {
            CLUSTER => clusters::delete(&operation, &clusters::name_in(attributes, id)?).await,
            NODE_GROUP => {
                node_pools::delete(&operation, &node_pools::Names::of(attributes, id)?).await
            }
            REPOSITORY => {
                registries::delete(&clients, &registries::name_in(attributes, "name", id)?).await
            }
            LIFECYCLE_POLICY => {
                let name = registries::name_in(attributes, "repository", id)?;
                registries::delete_policy(&clients, &name).await
            }
            ROLE => roles::delete(&clients.query, &roles::name_in(attributes, id)?).await,
            ROLE_POLICY_ATTACHMENT => {
                let names = roles::Attachment::of(attributes, id)?;
                roles::delete_attachment(&clients.query, &names).await
            }
            _ => Err(foreign(&record.address)),
        }
    }

    /// Regions are those of the cloud. A cloud that names none may use any, so all are asked; one
    /// that the account has not opted into has nothing of ours and is passed over.
    fn owner(&self, attributes: &Attributes) -> Option<Owner> {
        Owner::in_tags(text::TAG_PREFIX, attributes.get("tags"))
    }

    async fn list(&self, stack: &str) -> Result<Vec<(Mark, Remote)>> {
        let home = self.transport.region(self.home()).await?;
        let mut found = roles::list(&home.query, stack).await?;
        let every = self.cloud.regions.is_empty();
        let named = self.cloud.regions.iter().map(String::as_str);
        let regions: Vec<&str> =
            if every { catalog::regions().iter().copied().collect() } else { named.collect() };
        let looks = regions.into_iter().map(|region| async move {
            match self.list_region(stack, region).await {
                Err(Error::Denied { message, .. }) if every && is_closed_region(&message) => {
                    Ok(Vec::new())
                }
                answer => answer,
            }
        });
        let looks: Vec<_> = looks.collect();
        let listed: Vec<Vec<_>> = stream::iter(looks).buffered(WIDTH).try_collect().await?;
        found.extend(listed.into_iter().flatten());
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

#[async_trait]
impl Provider for Aws {
    fn offerings(&self) -> Vec<Offering> {
        catalog::offerings(&self.cloud)
    }

    fn tariff(&self) -> Tariff {
        catalog::tariff(CONTROL_PLANE_PRICE_HOUR)
    }

    fn resources(&self, sites: &[Site], registries: &[Registry], owner: &Owner) -> Vec<Resource> {
        resources::resources(&self.cloud, sites, registries, owner)
    }

    fn cluster_address(&self, region: &str) -> Option<Address> {
        Some(resources::cluster_address(&self.cloud, region))
    }

    async fn quotas(&self) -> Result<Vec<Quota>> {
        Ok(self.cloud.quotas.clone())
    }

    async fn cluster_access(&self, region: &str, cluster: Option<&Record>) -> Result<KubeAccess> {
        let record = cluster.ok_or_else(|| {
            Error::rejected(format!(
                "no cluster of cloud `{}` is known in {region}",
                self.cloud.name
            ))
        })?;
        let clients = self.transport.region(region).await?;
        let name = clusters::name_in(&record.attributes, Some(&record.id))?;
        let base = self.cloud.endpoints.get("kubernetes").map(String::as_str);
        clusters::access(&clients, &name, base).await
    }
}

fn foreign(address: &Address) -> Error {
    Error::rejected(format!("{address} is no type that the AWS provider makes"))
}

/// What AWS says in a region that the account has not opted into.
fn is_closed_region(message: &str) -> bool {
    ["UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "OptInRequired"]
        .iter()
        .any(|code| message.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud() -> Cloud {
        Cloud {
            name: "aws".into(),
            kind: "aws".into(),
            regions: vec!["us-east-1".into()],
            ..Cloud::default()
        }
    }

    #[test]
    fn clouds_that_cannot_work_are_refused() {
        type Spoil = fn(&mut Cloud);
        let cases: [(Spoil, &str); 4] = [
            (|c| c.regions = vec!["us-esat-1".into()], "`us-esat-1` is no region"),
            (
                |c| {
                    c.regions.push("us-west-2".into());
                    c.cluster.subnet_ids = vec!["subnet-1".into()];
                },
                "subnets belong to one region",
            ),
            (|c| drop(c.endpoints.insert("eks".into(), "nowhere".into())), "is no URL: `nowhere`"),
            (|c| drop(c.endpoints.insert("eks".into(), "http://".into())), "is no URL: `http://`"),
        ];
        for (spoil, expected) in cases {
            let mut cloud = cloud();
            spoil(&mut cloud);
            match provider(&cloud) {
                Err(Error::Rejected { message }) => {
                    assert!(message.contains(expected), "{message}")
                }
                Err(other) => panic!("{expected}: {other:?}"),
                Ok(_) => panic!("{expected}: accepted"),
            }
        }
        assert!(provider(&cloud()).is_ok());
    }

    #[test]
    fn the_sandbox_has_roles_and_subnets_of_its_own() {
        let mut real = cloud();
        real.cluster.version = Some("1.33".into());
        real.cluster.node_role_arn = Some("arn:aws:iam::1:role/n".into());
        real.cluster.cluster_role_arn = Some("arn:aws:iam::1:role/c".into());
        real.cluster.subnet_ids = vec!["subnet-1".into()];
        let urls = [("aws", "http://a".to_owned()), ("kubernetes", "http://k".to_owned())];
        let sandboxed = sandboxed(real.clone(), &urls.into());
        assert_eq!(sandboxed.cluster.version, real.cluster.version);
        assert_eq!(sandboxed.cluster.node_role_arn, None);
        assert_eq!(sandboxed.cluster.cluster_role_arn, None);
        assert!(sandboxed.cluster.subnet_ids.is_empty());
        assert_eq!(sandboxed.endpoints["sts"], "http://a");
        assert_eq!(sandboxed.endpoints["kubernetes"], "http://k");
    }
}
