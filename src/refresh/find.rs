//! Objects that exist already → records: what an import takes over.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Error, Objects, Owner, Record, Resource, Vault};

use super::seal;
use crate::clouds::Clouds;
use crate::config::Import;
use crate::diagnostic::Diagnostic;

/// Where imports are looked for.
pub struct Finding<'a> {
    /// What the stack makes; an import is one of these.
    pub desired: &'a BTreeMap<Address, Resource>,
    pub records: &'a BTreeMap<Address, Record>,
    pub clouds: &'a Clouds,
}

impl Finding<'_> {
    /// The record of the object that an import names. Nothing is changed: not even its tags.
    ///
    /// # Errors
    /// What the stack does not make, what does not exist, and what is somebody else's already.
    pub async fn find(
        &self,
        import: &Import,
        owner: &Owner,
        vault: &Vault,
    ) -> Result<Record, Diagnostic> {
        let Import { to, id, .. } = import;
        let Some(wanted) = self.desired.get(to) else { return Err(not_made(to, self.desired)) };
        if let Some(other) = self.records.values().find(|record| {
            record.id == *id && record.cloud == wanted.cloud && record.site == wanted.site
        }) && other.address.kind == to.kind
        {
            return Err(managed_already(id, &other.address));
        }
        let unreadable = |error: Error| {
            Diagnostic::error(
                "Cannot read what is to be imported",
                format!("Reading {id:?} for {to} failed: {error}."),
            )
            .hint("the id is the one that the cloud gives objects of this type, as `fleetform state list -id` shows it for others")
        };
        let objects = self.objects(wanted).await?.map_err(unreadable)?;
        let Some(remote) = objects.find(wanted, id).await.map_err(unreadable)? else {
            return Err(nothing_there(id, to));
        };
        if let Some(holder) = objects.owner(&remote.attributes)
            && holder.lineage != owner.lineage
            && import.lineage.as_ref() != Some(&holder.lineage)
        {
            return Err(somebody_elses(import, &holder));
        }
        let schema = fleetform_providers::schema(&to.kind);
        Ok(Record {
            address: to.clone(),
            cloud: wanted.cloud.clone(),
            site: wanted.site.clone(),
            id: remote.id,
            attributes: seal(to, &remote.attributes, schema, vault),
            depends_on: wanted.depends_on.clone(),
            version: 0,
            tainted: false,
        })
    }

    async fn objects(
        &self,
        wanted: &Resource,
    ) -> Result<Result<std::sync::Arc<dyn Objects>, Error>, Diagnostic> {
        let cluster = match &wanted.site {
            None => None,
            Some(site) => self.clouds.cluster(site, self.records).map_err(|missing| {
                Diagnostic::error(
                    "Cannot import into a cluster that is not there",
                    format!(
                        "{} lives in {}, which does not exist yet.",
                        wanted.address, missing.address
                    ),
                )
                .hint("import the cluster first, in an apply of its own")
            })?,
        };
        Ok(self.clouds.objects(&wanted.cloud, wanted.site.as_deref(), cluster).await)
    }
}

fn not_made(to: &Address, desired: &BTreeMap<Address, Resource>) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "Import target does not exist",
        format!("The stack makes no resource {to}, so nothing could take the object over."),
    );
    let like = |address: &&Address| strsim::jaro_winkler(&address.to_string(), &to.to_string());
    let near = desired.keys().filter(|address| address.kind == to.kind);
    match near.max_by(|a, b| like(a).total_cmp(&like(b))) {
        Some(near) => diagnostic.hint(format!("did you mean {near}?")),
        None => diagnostic.hint("`fleetform plan` shows the addresses that the stack makes"),
    }
}

fn managed_already(id: &str, address: &Address) -> Diagnostic {
    Diagnostic::error(
        "Already managed",
        format!("{id:?} is managed by this stack already, as {address}."),
    )
    .hint(format!("`fleetform state mv` or a `moved` block gives {address} another address"))
}

fn nothing_there(id: &str, to: &Address) -> Diagnostic {
    Diagnostic::error(
        "Cannot import non-existent remote object",
        format!("There is no object {id:?} that could become {to}."),
    )
    .hint("check the id, and that the cloud block looks at the right account and region")
}

fn somebody_elses(import: &Import, holder: &Owner) -> Diagnostic {
    Diagnostic::error(
        "The object belongs to another stack",
        format!(
            "The tags of {:?} say that the stack {:?} manages it, with the lineage {}. Two stacks that manage one object undo each other's changes.",
            import.id, holder.stack, holder.lineage
        ),
    )
    .hint(format!(
        "let that stack forget it first; to take it over all the same, name the lineage: {}",
        match import.span {
            Some(_) => format!("lineage = {:?}", holder.lineage),
            None => format!("-lineage={}", holder.lineage),
        }
    ))
}
