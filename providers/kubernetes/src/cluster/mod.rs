//! One cluster's API as [`Objects`]: server-side apply with field manager `fleetform`.
//!
//! Who owns a field is the API server's knowledge, not ours. We send exactly the fields of the manifest;
//! what we no longer send, the server removes, unless somebody else set it. What a person or a controller
//! changed behind our back is put right (the plan has shown it); what another declarative tool applies
//! is left to it, because two tools that each insist would never stop.

mod project;
mod ready;
mod transport;

use std::time::Duration;

use async_trait::async_trait;
use fleetform_contract::{
    Address, Attributes, Error, KubeAccess, Mark, Objects, Owner, Pace, Progress, Record,
    Reference, Remote, Resource, Result, Schema, Token, Value,
};
use serde_json::{Value as Json, json};

use crate::kinds::{self, KINDS, Kind};
use crate::labels;
use ready::Readiness;
use transport::{Api, Failure};

const MANAGER: &str = "fleetform";
/// Holds `spec.replicas` from the moment we stop naming it until an autoscaler sets it.
const HANDOVER_MANAGER: &str = "fleetform-handover";

/// The API of one cluster. It must be called inside a Tokio runtime; nothing is sent before the first
/// call.
///
/// # Errors
/// `Rejected` where the server's URL or a credential cannot be read.
pub fn objects(access: &KubeAccess) -> Result<Box<dyn Objects>> {
    // An emulator on loopback answers at once, and its clock moves with requests.
    let loopback = ["http://127.", "http://localhost", "http://[::1]"];
    let pace = if loopback.iter().any(|prefix| access.server.starts_with(prefix)) {
        Pace { poll: Duration::from_millis(2), patience: Duration::from_secs(60) }
    } else {
        Pace { poll: Duration::from_secs(2), patience: Duration::from_secs(45 * 60) }
    };
    Ok(Box::new(Cluster { api: Api::new(access)?, pace }))
}

struct Cluster {
    api: Api,
    pace: Pace,
}

/// Where one object is.
struct Place {
    kind: &'static Kind,
    namespace: Option<String>,
    name: String,
}

#[async_trait]
impl Objects for Cluster {
    fn schema(&self, kind: &str) -> Option<&'static Schema> {
        kinds::schema(kind)
    }

    async fn read(&self, reference: Reference<'_>) -> Result<Option<Remote>> {
        let place = Place::of(reference)?;
        let live = self.api.get(place.kind, &place.path()).await?;
        Ok(live.map(|live| place.remote(reference.attributes, live)))
    }

    async fn is_leaving(&self, reference: Reference<'_>) -> Result<bool> {
        let place = Place::of(reference)?;
        let live = self.api.get(place.kind, &place.path()).await?;
        Ok(live.is_some_and(|live| !live["metadata"]["deletionTimestamp"].is_null()))
    }

    async fn create(
        &self,
        desired: &Resource,
        _token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        let place = Place::of(desired.reference())?;
        if let Some(live) = self.api.get(place.kind, &place.path()).await? {
            if !live["metadata"]["deletionTimestamp"].is_null() {
                let message = format!("{} is still being deleted", place.display());
                return Err(Error::Conflict { message });
            }
            if !ours(&live, desired) {
                return Err(Error::rejected(format!(
                    "{} exists already and was not made by this stack; import it, or give one of \
                     them another name",
                    place.display()
                )));
            }
        }
        self.apply(&place, desired, progress).await?;
        self.settled(&place, &desired.attributes, progress).await
    }

    async fn update(
        &self,
        record: &Record,
        desired: &Resource,
        _token: &Token,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        let place = Place::of(desired.reference())?;
        if replicas(&record.attributes).is_some() && replicas(&desired.attributes).is_none() {
            self.hand_over_replicas(&place).await?;
        }
        self.apply(&place, desired, progress).await?;
        self.settled(&place, &desired.attributes, progress).await
    }

    async fn delete(&self, record: &Record, _token: &Token, progress: &dyn Progress) -> Result<()> {
        let place = Place::of(record.reference())?;
        let path = place.path();
        let Some(live) = self.api.get(place.kind, &path).await? else { return Ok(()) };
        let uid = live["metadata"]["uid"].clone();
        self.api.delete(place.kind, &path).await?;
        let mut waited = Duration::ZERO;
        // Another object of the name is somebody else's: ours is gone.
        while let Some(live) = self.api.get(place.kind, &path).await?
            && live["metadata"]["uid"] == uid
        {
            self.pause(&mut waited, &format!("deleting {}", place.display())).await?;
            progress.report("Terminating");
        }
        Ok(())
    }

    fn owner(&self, attributes: &Attributes) -> Option<Owner> {
        let labels = attributes.get("metadata").and_then(|metadata| metadata.at("labels"));
        Owner::in_tags(labels::PREFIX, labels)
    }

    /// In the shape of what is wanted, under the name that the id gives.
    async fn find(&self, wanted: &Resource, id: &str) -> Result<Option<Remote>> {
        let (namespace, name) = id.split_once('/').map_or((None, id), |(n, name)| (Some(n), name));
        let mut attributes = wanted.attributes.clone();
        if let Some(Value::Map(metadata)) = attributes.get_mut("metadata") {
            metadata.insert("name".to_owned(), name.into());
            metadata.remove("namespace");
            metadata.extend(namespace.map(|namespace| ("namespace".to_owned(), namespace.into())));
        }
        let address = &wanted.address;
        self.read(Reference { address, id: Some(id), attributes: &attributes }).await
    }

    async fn list(&self, stack: &str) -> Result<Vec<(Mark, Remote)>> {
        let selector = labels::stack_selector(stack);
        let mut found = Vec::new();
        for kind in KINDS {
            for live in self.api.list(kind, &selector).await? {
                let address = live["metadata"]["annotations"][labels::ADDRESS].as_str();
                // Only what carries an address is a resource of ours; pods and the like are not.
                let Some(Ok(address)) = address.map(str::parse::<Address>) else { continue };
                let lineage = live["metadata"]["labels"][labels::LINEAGE].as_str();
                let mark = Mark { address, lineage: lineage.unwrap_or_default().to_owned() };
                let text = |name: &str| live["metadata"][name].as_str().map(str::to_owned);
                let Some(name) = text("name") else { continue };
                let place = Place { kind, namespace: text("namespace"), name };
                found.push((mark, place.remote(&Attributes::new(), live)));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }
}

impl Cluster {
    /// Applies the manifest. Fields that persons and controllers took are taken back.
    async fn apply(
        &self,
        place: &Place,
        desired: &Resource,
        progress: &dyn Progress,
    ) -> Result<()> {
        let manifest = project::to_wire(&desired.attributes);
        let path = place.path();
        let conflicts = match self.api.apply(&path, &manifest, MANAGER, false).await {
            Ok(_) => return Ok(()),
            Err(Failure::FieldConflicts(conflicts)) => conflicts,
            Err(Failure::Other(error)) => return Err(transport::error("patch", place.kind, error)),
        };
        // The server writes `conflict with "kubectl-edit" using apps/v1` of an update, and
        // `conflict with "argocd"` of an apply.
        let declared: Vec<String> = conflicts
            .iter()
            .filter(|conflict| !conflict.message.contains(" using "))
            .map(|conflict| format!("{} ({})", conflict.field, conflict.message))
            .collect();
        if !declared.is_empty() {
            return Err(Error::rejected(format!(
                "another tool applies the same fields of {}: {}; remove them from one of the two",
                place.display(),
                declared.join(", ")
            )));
        }
        for conflict in &conflicts {
            progress.report(&format!("taking back {} ({})", conflict.field, conflict.message));
        }
        match self.api.apply(&path, &manifest, MANAGER, true).await {
            Ok(_) => Ok(()),
            Err(Failure::Other(error)) => Err(transport::error("patch", place.kind, error)),
            Err(Failure::FieldConflicts(conflicts)) => Err(Error::Conflict {
                message: format!("{}: {}", place.display(), conflicts[0].message),
            }),
        }
    }

    /// Keeps the number of replicas when we stop naming it. Without this the server would remove the
    /// field with its last owner, and the default is one replica.
    async fn hand_over_replicas(&self, place: &Place) -> Result<()> {
        let path = place.path();
        let Some(live) = self.api.get(place.kind, &path).await? else { return Ok(()) };
        let manifest = json!({
            "apiVersion": place.kind.api_version,
            "kind": place.kind.kind,
            "metadata": { "name": place.name, "namespace": place.namespace },
            "spec": { "replicas": live["spec"]["replicas"] },
        });
        // Forced: an autoscaler may move the number meanwhile, and moves it again.
        match self.api.apply(&path, &manifest, HANDOVER_MANAGER, true).await {
            Ok(_) => Ok(()),
            Err(Failure::Other(error)) => Err(transport::error("patch", place.kind, error)),
            Err(Failure::FieldConflicts(_)) => Err(Error::Conflict { message: place.display() }),
        }
    }

    /// Waits until the object can be used and gives it as it is then.
    async fn settled(
        &self,
        place: &Place,
        attributes: &Attributes,
        progress: &dyn Progress,
    ) -> Result<Remote> {
        let mut waited = Duration::ZERO;
        loop {
            let Some(live) = self.api.get(place.kind, &place.path()).await? else {
                return Err(Error::lost(format!("{} vanished while we waited", place.display())));
            };
            match ready::readiness(place.kind, &live) {
                Readiness::Ready => return Ok(place.remote(attributes, live)),
                Readiness::Waiting(phase) => {
                    progress.report(&phase);
                    self.pause(&mut waited, &format!("{}: {phase}", place.display())).await?;
                }
                Readiness::Failed(reason) => {
                    let pods = self.pods_of(&live).await.unwrap_or_default();
                    return Err(ready::failure(&place.display(), &reason, &pods));
                }
            }
        }
    }

    /// The pods a workload's selector matches: only they know why nothing starts.
    async fn pods_of(&self, live: &Json) -> Result<Vec<Json>> {
        let namespace = live["metadata"]["namespace"].as_str().unwrap_or_default();
        let Some(labels) = live["spec"]["selector"]["matchLabels"].as_object() else {
            return Ok(Vec::new());
        };
        let selector: Vec<String> = labels
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        self.api.pods(namespace, &selector.join(",")).await
    }

    /// Waits for one poll, as long as patience lasts.
    async fn pause(&self, waited: &mut Duration, what: &str) -> Result<()> {
        if *waited >= self.pace.patience {
            let minutes = waited.as_secs() / 60;
            return Err(Error::lost(format!("{what}: not done after {minutes} minutes")));
        }
        tokio::time::sleep(self.pace.poll).await;
        *waited += self.pace.poll;
        Ok(())
    }
}

impl Place {
    fn of(reference: Reference<'_>) -> Result<Place> {
        let address = reference.address;
        let kind = kinds::kind(&address.kind).ok_or_else(|| {
            Error::rejected(format!("{address}: no Kubernetes type of this name is supported"))
        })?;
        let metadata = reference.attributes.get("metadata");
        let text = |name: &str| {
            metadata
                .and_then(|metadata| metadata.at(name))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let (namespace, name) = match (text("name"), reference.id) {
            (Some(name), _) => (text("namespace"), name),
            (None, Some(id)) => match id.split_once('/') {
                Some((namespace, name)) => (Some(namespace.to_owned()), name.to_owned()),
                None => (None, id.to_owned()),
            },
            (None, None) => {
                return Err(Error::rejected(format!("{address} has no `metadata.name`")));
            }
        };
        let segments = [Some(name.as_str()), namespace.as_deref()];
        // Names become parts of a path; what could leave it is no name.
        let fits = |part: &&str| {
            !part.is_empty()
                && *part != "."
                && *part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        if let Some(bad) = segments.iter().flatten().find(|part| !fits(part)) {
            return Err(Error::rejected(format!("{address}: `{bad}` is no name in Kubernetes")));
        }
        if kind.namespaced && namespace.is_none() {
            return Err(Error::rejected(format!("{address} has no `metadata.namespace`")));
        }
        Ok(Place { kind, namespace: namespace.filter(|_| kind.namespaced), name })
    }

    fn path(&self) -> String {
        self.kind.path(self.namespace.as_deref(), Some(&self.name))
    }

    /// `namespace/name`, as Terraform's provider writes it.
    fn id(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// `deployments.apps "chat/chat"`.
    fn display(&self) -> String {
        format!("{} \"{}\"", self.kind.resource(), self.id())
    }

    /// The live object in the shape of `attributes`; where they say nothing of the object, the fields
    /// that we own of it.
    fn remote(&self, attributes: &Attributes, live: Json) -> Remote {
        let live = project::from_wire(live);
        let attributes = if attributes.contains_key("metadata") {
            project::onto(attributes, &live)
        } else {
            project::owned(&live, MANAGER)
        };
        Remote { id: self.id(), attributes }
    }
}

/// Whether an object that is there already is the one we are about to make: our address, our lineage.
fn ours(live: &Json, desired: &Resource) -> bool {
    let wanted = |place: &str, key: &str| {
        let entries = desired.attributes.get("metadata")?.at(place)?.as_map()?;
        entries.get(key)?.as_str()
    };
    [("annotations", labels::ADDRESS), ("labels", labels::LINEAGE)].iter().all(|(place, key)| {
        wanted(place, key).is_some_and(|text| live["metadata"][*place][*key] == text)
    })
}

fn replicas(attributes: &Attributes) -> Option<&Value> {
    attributes.get("spec").and_then(|spec| spec.at("replicas"))
}
