//! Everything in the clouds that carries a stack's tags: what a lost state is made again from.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Error, Mark, Offering, Record, Remote, Resource, Vault};

use super::seal;
use crate::clouds::Clouds;
use crate::diagnostic::Diagnostic;

/// An object with a stack's tags, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    pub mark: Mark,
    pub cloud: String,
    pub site: Option<String>,
    pub remote: Remote,
}

/// What the clouds themselves have, and what is in clusters that exist already; of every lineage.
///
/// # Errors
/// One for each cloud that does not answer: what it has would be missing.
pub async fn gather(stack: &str, clouds: &Clouds) -> Result<Vec<Gathered>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for (cloud, provider) in clouds.iter() {
        let mut note = |site: Option<&str>, listed: Result<Vec<(Mark, Remote)>, Error>| match listed
        {
            Ok(listed) => found.extend(in_cloud(cloud, site, listed)),
            Err(error) => failures.push(unlisted(site.unwrap_or(cloud), &error)),
        };
        note(None, provider.list(stack).await);
        for region in regions(&provider.offerings()) {
            if provider.cluster_address(&region).is_none() {
                let site = format!("{cloud}/{region}");
                note(Some(&site), list_site(stack, clouds, cloud, &site, None).await);
            }
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(failures) }
}

/// What is in the clusters among these records, of every lineage.
///
/// # Errors
/// One for each cluster that does not answer.
pub async fn gather_inside(
    stack: &str,
    clouds: &Clouds,
    records: &BTreeMap<Address, Record>,
) -> Result<Vec<Gathered>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for (cloud, provider) in clouds.iter() {
        for region in regions(&provider.offerings()) {
            let cluster = provider.cluster_address(&region);
            let Some(cluster) = cluster.and_then(|address| records.get(&address)) else { continue };
            let site = format!("{cloud}/{region}");
            match list_site(stack, clouds, cloud, &site, Some(cluster)).await {
                Ok(listed) => found.extend(in_cloud(cloud, Some(&site), listed)),
                Err(error) => failures.push(unlisted(&site, &error)),
            }
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(failures) }
}

fn regions(offerings: &[Offering]) -> BTreeSet<String> {
    offerings.iter().map(|offering| offering.region.clone()).collect()
}

async fn list_site(
    stack: &str,
    clouds: &Clouds,
    cloud: &str,
    site: &str,
    cluster: Option<&Record>,
) -> Result<Vec<(Mark, Remote)>, Error> {
    clouds.objects(cloud, Some(site), cluster).await?.list(stack).await
}

fn in_cloud<'a>(
    cloud: &'a str,
    site: Option<&'a str>,
    listed: Vec<(Mark, Remote)>,
) -> impl Iterator<Item = Gathered> + 'a {
    listed.into_iter().map(move |(mark, remote)| Gathered {
        mark,
        cloud: cloud.to_owned(),
        site: site.map(str::to_owned),
        remote,
    })
}

fn unlisted(place: &str, error: &Error) -> Diagnostic {
    Diagnostic::error(
        "Objects could not be listed",
        format!("Looking for objects with this stack's tags in {place} failed: {error}."),
    )
    .hint("a state that lacks what is there would make it twice: try again once everything answers")
}

impl Gathered {
    /// As a record. What it depends on the clouds do not say: it is as the stack has it, else what the
    /// object lives in.
    pub fn record(
        &self,
        desired: &BTreeMap<Address, Resource>,
        all: &[Gathered],
        clouds: &Clouds,
        vault: &Vault,
    ) -> Record {
        let address = &self.mark.address;
        let schema = fleetform_providers::schema(&address.kind);
        let depends_on = match desired.get(address) {
            Some(resource) => resource.depends_on.clone(),
            None => self.lives_in(all, clouds),
        };
        Record {
            address: address.clone(),
            cloud: self.cloud.clone(),
            site: self.site.clone(),
            id: self.remote.id.clone(),
            attributes: seal(address, &self.remote.attributes, schema, vault),
            depends_on,
            version: 0,
            tainted: false,
        }
    }

    fn lives_in(&self, all: &[Gathered], clouds: &Clouds) -> Vec<Address> {
        let Some(provider) = clouds.provider(&self.cloud) else { return Vec::new() };
        let mine = &self.mark.address;
        if let Some(site) = &self.site {
            let region = site.split_once('/').map_or("", |(_, region)| region);
            let namespace = all.iter().filter(|other| {
                other.site == self.site && other.mark.address.kind == "kubernetes_namespace"
            });
            let namespace = namespace.map(|other| other.mark.address.clone());
            let around = provider.cluster_address(region).into_iter().chain(namespace);
            return around.filter(|address| address != mine).collect();
        }
        let kinds = provider.containers(&mine.kind);
        let holds = |other: &&Gathered| {
            let other = &other.mark.address;
            let key = mine.key.as_deref().unwrap_or("");
            let same_place = other.key.as_deref().is_none_or(|outer| {
                key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            kinds.contains(&other.kind.as_str()) && same_place
        };
        all.iter().filter(holds).map(|other| other.mark.address.clone()).collect()
    }
}
