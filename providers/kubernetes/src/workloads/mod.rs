//! A site → the Kubernetes objects in its cluster. Pure; attributes are the manifests.
//!
//! What is left out is as deliberate as what is said: under server-side apply a field we do not name
//! belongs to whoever sets it, so a Deployment with an autoscaler carries no `replicas`.

mod device_plugin;
mod notes;
mod places;
mod pod;

use std::collections::BTreeMap;

use fleetform_contract::{
    Address, Autoscale, JobSettings, Owner, Resource, Site, Value, Workload, WorkloadKind,
};
use serde_json::{Value as Json, json};

use crate::labels;

pub use notes::{protect, protected_by, seats};
pub use places::{ATTRIBUTES as IGNORABLE, places};

pub(crate) const APP_NAME: &str = "app.kubernetes.io/name";

/// Every Kubernetes object of a site: the namespace, the device plugin where GPU nodes need one, and
/// what each workload consists of. `cluster` is `None` where the cluster exists already; `pools` are
/// the addresses of the site's node pools.
pub fn workloads(
    site: &Site,
    owner: &Owner,
    cluster: Option<&Address>,
    pools: &[Address],
) -> Vec<Resource> {
    let scope = Scope {
        site,
        owner,
        cluster,
        pools,
        namespace: labels::namespace(&owner.stack),
        device_plugin: device_plugin::needed(site, cluster),
    };
    let mut resources = vec![scope.namespace()];
    if scope.device_plugin {
        resources.push(scope.resource(
            "kubernetes_daemon_set",
            device_plugin::NAME,
            device_plugin::NAMESPACE,
            device_plugin::spec(),
            scope.cluster.cloned(),
        ));
    }
    for workload in &site.workloads {
        match &workload.kind {
            WorkloadKind::Service => scope.service(workload, &mut resources),
            WorkloadKind::Job(settings) => scope.job(workload, settings, &mut resources),
        }
    }
    resources
}

/// Where the pods of a site reach one of its services.
pub fn service_url(stack: &str, service: &str, port: u16) -> String {
    format!("http://{service}.{}.svc.cluster.local:{port}", labels::namespace(stack))
}

/// What all objects of a site share.
struct Scope<'a> {
    site: &'a Site,
    owner: &'a Owner,
    cluster: Option<&'a Address>,
    pools: &'a [Address],
    namespace: String,
    device_plugin: bool,
}

impl Scope<'_> {
    fn address(&self, kind: &str, name: &str) -> Address {
        Address::keyed(kind, name, self.site.id())
    }

    fn namespace(&self) -> Resource {
        let address = self.address("kubernetes_namespace", "main");
        let metadata = self.metadata(&address, &self.namespace, None, "main");
        let manifest = json!({ "apiVersion": "v1", "kind": "Namespace" });
        self.finish(address, manifest, metadata, self.cluster.cloned().into_iter().collect())
    }

    fn service(&self, workload: &Workload, resources: &mut Vec<Resource>) {
        let name = &workload.name;
        let secret = self.secret(workload);
        let deployment = self.address("kubernetes_deployment", name);
        let parents = self.pod_parents(workload, secret.as_ref());
        resources.extend(secret);
        if let Some(port) = workload.port {
            let spec = json!({
                "type": "ClusterIP",
                "selector": { APP_NAME: name },
                "ports": [{ "name": "http", "port": port, "protocol": "TCP", "targetPort": "http" }],
            });
            resources.push(self.spec("kubernetes_service", name, name, spec.into_value(), []));
        }
        let spec = self.deployment(workload);
        let mut made = self.spec("kubernetes_deployment", name, name, spec, parents);
        notes::seat(&mut made, &workload.pools);
        resources.push(made);
        if let Some(autoscale) = &workload.autoscale {
            let spec = autoscaler(name, autoscale).into_value();
            let parents = [deployment.clone()];
            let kind = "kubernetes_horizontal_pod_autoscaler";
            resources.push(self.spec(kind, name, name, spec, parents));
        }
        let least = workload.autoscale.as_ref().map_or(workload.replicas, |scale| scale.min);
        if least > 1 {
            let spec =
                json!({ "maxUnavailable": 1, "selector": { "matchLabels": { APP_NAME: name } } });
            let kind = "kubernetes_pod_disruption_budget";
            resources.push(self.spec(kind, name, name, spec.into_value(), [deployment]));
        }
    }

    fn deployment(&self, workload: &Workload) -> Value {
        // Nodes are rented for the replicas we asked for. Where GPUs are whole and counted, a surge pod
        // finds none and the rollout would wait forever; so one goes before one comes.
        let (surge, unavailable) = if workload.needs.gpus > 0 { (0, 1) } else { (1, 0) };
        let mut spec = json!({
            "selector": { "matchLabels": { APP_NAME: workload.name } },
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable },
            },
            // Nodes must come up, drivers load and weights arrive before a first replica is ready.
            "progressDeadlineSeconds": 1800,
            "revisionHistoryLimit": 3,
        });
        if workload.autoscale.is_none() {
            spec["replicas"] = workload.replicas.into();
        }
        let mut spec = spec.into_value();
        put(&mut spec, "template", pod::service_template(self, workload));
        spec
    }

    fn job(&self, workload: &Workload, settings: &JobSettings, resources: &mut Vec<Resource>) {
        let name = &workload.name;
        let secret = self.secret(workload);
        let mut parents = self.pod_parents(workload, secret.as_ref());
        resources.extend(secret);
        if workload.replicas > 1 {
            // The nodes of a gang find each other by name, before they are ready.
            let spec = json!({
                "clusterIP": "None",
                "publishNotReadyAddresses": true,
                "selector": { APP_NAME: name },
                "ports": [{
                    "name": "rendezvous", "port": pod::RENDEZVOUS_PORT, "protocol": "TCP",
                    "targetPort": pod::RENDEZVOUS_PORT,
                }],
            });
            let service = self.spec("kubernetes_service", name, name, spec.into_value(), []);
            parents.push(service.address.clone());
            resources.push(service);
        }
        let mut spec = json!({
            "completionMode": "Indexed",
            "completions": workload.replicas,
            "parallelism": workload.replicas,
            "backoffLimit": settings.retries,
            // A node that the cloud takes back is not the program's failure.
            "podFailurePolicy": { "rules": [{
                "action": "Ignore",
                "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
            }] },
        });
        if settings.duration_seconds > 0 {
            spec["activeDeadlineSeconds"] = settings.duration_seconds.into();
        }
        let mut spec = spec.into_value();
        put(&mut spec, "template", pod::job_template(self, workload));
        let Some(schedule) = &settings.schedule else {
            let mut made = self.spec("kubernetes_job", name, name, spec, parents);
            notes::seat(&mut made, &workload.pools);
            resources.push(made);
            return;
        };
        let template = Value::map([
            ("metadata", json!({ "labels": { APP_NAME: name } }).into_value()),
            ("spec", spec),
        ]);
        let mut cron = json!({
            "schedule": schedule,
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
        })
        .into_value();
        put(&mut cron, "jobTemplate", template);
        // The API server appends eleven characters to make the names of the jobs.
        let object = labels::dns_label(name, 52);
        let mut made = self.spec("kubernetes_cron_job", name, &object, cron, parents);
        notes::seat(&mut made, &workload.pools);
        resources.push(made);
    }

    /// The secret values of a workload's environment, in a Secret of their own.
    fn secret(&self, workload: &Workload) -> Option<Resource> {
        let data: BTreeMap<String, Value> = workload
            .env
            .iter()
            .filter(|(_, value)| value.has_secret())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if data.is_empty() {
            return None;
        }
        let address = self.address("kubernetes_secret", &workload.name);
        let name = pod::secret_name(workload);
        let metadata = self.metadata(&address, &name, Some(&self.namespace), &workload.name);
        let manifest = json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque" });
        let mut secret = self.finish(address, manifest, metadata, self.in_namespace());
        secret.attributes.insert("stringData".to_owned(), Value::Map(data));
        Some(secret)
    }

    /// What pods need before they can run: their nodes and what they refer to.
    fn pod_parents(&self, workload: &Workload, secret: Option<&Resource>) -> Vec<Address> {
        let mut parents = self.pools.to_vec();
        if self.device_plugin && workload.needs.gpus > 0 {
            parents.push(self.address("kubernetes_daemon_set", device_plugin::NAME));
        }
        parents.extend(secret.map(|secret| secret.address.clone()));
        parents
    }

    fn in_namespace(&self) -> Vec<Address> {
        let namespace = self.address("kubernetes_namespace", "main");
        self.cluster.cloned().into_iter().chain([namespace]).collect()
    }

    /// An object of the stack's namespace.
    fn spec(
        &self,
        kind: &str,
        name: &str,
        object: &str,
        spec: Value,
        parents: impl IntoIterator<Item = Address>,
    ) -> Resource {
        let parents = self.in_namespace().into_iter().chain(parents);
        let mut resource = self.resource(kind, name, &self.namespace, spec, parents);
        if object != name {
            let metadata = resource.attributes.get_mut("metadata").expect("every object has it");
            put(metadata, "name", object.into());
        }
        resource
    }

    fn resource(
        &self,
        kind: &str,
        name: &str,
        namespace: &str,
        spec: Value,
        parents: impl IntoIterator<Item = Address>,
    ) -> Resource {
        let known = crate::kinds::kind(kind).expect("only kinds of the table are made");
        let address = self.address(kind, name);
        let metadata = self.metadata(&address, name, Some(namespace), name);
        let manifest = json!({ "apiVersion": known.api_version, "kind": known.kind });
        let mut resource = self.finish(address, manifest, metadata, parents.into_iter().collect());
        resource.attributes.insert("spec".to_owned(), spec);
        resource
    }

    fn metadata(&self, address: &Address, name: &str, namespace: Option<&str>, app: &str) -> Json {
        let mut labels = self.labels(app);
        for (key, value) in labels::owner_labels(self.owner) {
            labels[key] = value.into();
        }
        let (key, value) = labels::address_annotation(address);
        let mut metadata = json!({
            "name": name,
            "labels": labels,
            "annotations": { key: value },
        });
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        metadata
    }

    /// The labels of objects and pods alike.
    fn labels(&self, app: &str) -> Json {
        json!({
            APP_NAME: app,
            "app.kubernetes.io/managed-by": "fleetform",
            "app.kubernetes.io/part-of": labels::label_value(&self.owner.stack),
        })
    }

    fn finish(
        &self,
        address: Address,
        manifest: Json,
        metadata: Json,
        mut depends_on: Vec<Address>,
    ) -> Resource {
        let Value::Map(mut attributes) = manifest.into_value() else {
            unreachable!("manifests are maps")
        };
        attributes.insert("metadata".to_owned(), metadata.into_value());
        depends_on.sort();
        depends_on.dedup();
        Resource {
            address,
            cloud: self.site.cloud.clone(),
            site: Some(self.site.id()),
            attributes,
            depends_on,
        }
    }
}

fn autoscaler(name: &str, autoscale: &Autoscale) -> Json {
    json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
        // Zero replicas need a feature gate and a metric that is not a pod's own.
        "minReplicas": autoscale.min.max(1),
        "maxReplicas": autoscale.max.max(1),
        "metrics": [{
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {
                    "type": "Utilization",
                    "averageUtilization": (autoscale.target_cpu * 100.0).round() as i64,
                },
            },
        }],
    })
}

/// JSON written in code as a value.
trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for Json {
    fn into_value(self) -> Value {
        Value::from_plain_json(&self)
    }
}

/// Sets a key of a map.
fn put(map: &mut Value, key: &str, item: Value) {
    let Value::Map(map) = map else { unreachable!("only maps are put into") };
    map.insert(key.to_owned(), item);
}

#[cfg(test)]
mod tests;
