//! Promises of a cluster's objects that the contract's suite does not walk through: drift, other
//! managers, pods that find no node, faults.

mod sandbox;

use std::collections::BTreeMap;
use std::sync::Mutex;

use fleetform_contract::{
    Autoscale, Error, KubeAccess, Needs, Objects, Progress, Record, Remote, Resource, Silent,
    Token, Value, Workload, WorkloadKind,
};
use fleetform_sandbox::FaultPlan;
use http::Request;
use sandbox::{find, owner, resources, served, set, workload};
use serde_json::{Value as Json, json};

/// A person with kubectl beside us.
struct Person(kube::Client);

impl Person {
    fn new(access: &KubeAccess) -> Person {
        let config = kube::Config::new(access.server.parse().expect("a URL"));
        Person(kube::Client::try_from(config).expect("a plain client"))
    }

    async fn patch(&self, path: &str, manager: &str, content_type: &str, body: &Json) -> Json {
        let uri = format!("{path}?fieldManager={manager}&force=true");
        let uri = if content_type.contains("apply") { uri } else { uri.replace("&force=true", "") };
        let request = Request::builder()
            .method("PATCH")
            .uri(uri)
            .header("content-type", content_type)
            .body(serde_json::to_vec(body).expect("JSON"))
            .expect("a request");
        self.0.request(request).await.expect("a good patch")
    }

    async fn edit(&self, path: &str, body: &Json) -> Json {
        self.patch(path, "kubectl-edit", "application/merge-patch+json", body).await
    }

    async fn get(&self, path: &str) -> Json {
        let request = Request::get(path).body(Vec::new()).expect("a request");
        self.0.request(request).await.expect("it is there")
    }
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/chat/deployments/chat";

fn token() -> Token {
    Token("t".into())
}

fn record(desired: &Resource, remote: &Remote) -> Record {
    Record {
        address: desired.address.clone(),
        cloud: desired.cloud.clone(),
        site: desired.site.clone(),
        id: remote.id.clone(),
        attributes: remote.attributes.clone(),
        depends_on: Vec::new(),
        version: 0,
        tainted: false,
    }
}

/// Creates the namespace and the deployment of `chat`.
async fn deploy(objects: &dyn Objects, workload: Workload) -> (Resource, Record) {
    let made = resources(vec![workload]);
    let namespace = find(&made, "kubernetes_namespace", "main");
    objects.create(&namespace, &token(), &Silent).await.expect("a namespace");
    let deployment = find(&made, "kubernetes_deployment", "chat");
    let remote = objects.create(&deployment, &token(), &Silent).await.expect("a deployment");
    let record = record(&deployment, &remote);
    (deployment, record)
}

fn service() -> Workload {
    workload("chat", WorkloadKind::Service)
}

#[tokio::test]
async fn what_a_person_edits_is_seen_and_put_right() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let (desired, record) = deploy(&*objects, service()).await;
    let person = Person::new(&access);
    let edit = json!({ "spec": { "replicas": 1 }, "metadata": { "labels": { "theirs": "yes" } } });
    person.edit(DEPLOYMENT, &edit).await;

    let seen = objects.read(record.reference()).await.expect("readable").expect("there");
    let mut expected = desired.attributes.clone();
    if let Some(Value::Map(spec)) = expected.get_mut("spec") {
        spec.insert("replicas".into(), 1.into());
    }
    assert_eq!(seen.attributes, expected, "the replicas drifted, and nothing else is ours");

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn report(&self, phase: &str) {
            self.0.lock().expect("no panic").push(phase.to_owned());
        }
    }
    let heard = Heard::default();
    let now = objects.update(&record, &desired, &token(), &heard).await.expect("put right");
    assert_eq!(now.attributes, desired.attributes);
    let heard = heard.0.into_inner().expect("no panic").join("\n");
    assert!(heard.contains(".spec.replicas") && heard.contains("kubectl-edit"), "{heard}");
    let live = person.get(DEPLOYMENT).await;
    assert_eq!(live["metadata"]["labels"]["theirs"], "yes", "what is not ours is left alone");
}

#[tokio::test]
async fn another_tool_that_applies_the_same_field_is_named_and_left_alone() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let (desired, record) = deploy(&*objects, service()).await;
    let person = Person::new(&access);
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "chat" },
        "spec": { "replicas": 5 },
    });
    person.patch(DEPLOYMENT, "argocd", "application/apply-patch+yaml", &body).await;
    let refused = objects.update(&record, &desired, &token(), &Silent).await.expect_err("a fight");
    let text = refused.to_string();
    assert_eq!(refused.class(), "rejected", "{text}");
    assert!(text.contains("argocd") && text.contains(".spec.replicas"), "{text}");
    assert_eq!(person.get(DEPLOYMENT).await["spec"]["replicas"], 5);
}

#[tokio::test]
async fn what_somebody_else_made_is_not_taken_over() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let (desired, _) = deploy(&*objects, service()).await;
    let mut stranger = desired.clone();
    set(&mut stranger, &["metadata", "labels", "fleetform.dev/lineage"], "another".into());
    let refused = objects.create(&stranger, &token(), &Silent).await.expect_err("not ours");
    assert_eq!(refused.class(), "rejected");
    assert!(refused.to_string().contains("not made by this stack"), "{refused}");
}

#[tokio::test]
async fn fields_that_the_stack_no_longer_names_go() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let (_, record) = deploy(&*objects, service()).await;
    let person = Person::new(&access);
    let container = "/spec/template/spec/containers/0";
    let live = person.get(DEPLOYMENT).await;
    assert!(live.pointer(&format!("{container}/livenessProbe")).is_some());
    let plain = Workload { health: None, env: BTreeMap::new(), ..service() };
    let desired = find(&resources(vec![plain]), "kubernetes_deployment", "chat");
    objects.update(&record, &desired, &token(), &Silent).await.expect("updated");
    let live = person.get(DEPLOYMENT).await;
    for gone in ["livenessProbe", "startupProbe", "env"] {
        assert_eq!(live.pointer(&format!("{container}/{gone}")), None, "{live:#}");
    }
}

#[tokio::test]
async fn replicas_stay_when_they_are_handed_to_an_autoscaler() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let (_, before) = deploy(&*objects, Workload { replicas: 3, ..service() }).await;
    let scaled = Workload {
        replicas: 3,
        autoscale: Some(Autoscale { min: 2, max: 4, target_cpu: 0.5 }),
        ..service()
    };
    let made = resources(vec![scaled]);
    let desired = find(&made, "kubernetes_deployment", "chat");
    let remote = objects.update(&before, &desired, &token(), &Silent).await.expect("updated");
    let person = Person::new(&access);
    assert_eq!(person.get(DEPLOYMENT).await["spec"]["replicas"], 3);

    // From then on the number is the autoscaler's: no drift for us, and applying leaves it.
    let scale = json!({ "spec": { "replicas": 4 } });
    person.edit(&format!("{DEPLOYMENT}/scale"), &scale).await;
    let record = record(&desired, &remote);
    let seen = objects.read(record.reference()).await.expect("readable").expect("there");
    assert_eq!(seen.attributes, desired.attributes);
    objects.update(&record, &desired, &token(), &Silent).await.expect("updated again");
    assert_eq!(person.get(DEPLOYMENT).await["spec"]["replicas"], 4);
}

#[tokio::test]
async fn pods_that_find_no_node_say_why() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let big = Workload { needs: Needs { gpus: 5, ..Needs::default() }, ..service() };
    let made = resources(vec![big]);
    let namespace = find(&made, "kubernetes_namespace", "main");
    objects.create(&namespace, &token(), &Silent).await.expect("a namespace");
    let deployment = find(&made, "kubernetes_deployment", "chat");
    let failed = objects.create(&deployment, &token(), &Silent).await.expect_err("no such node");
    let text = failed.to_string();
    assert_eq!(failed.class(), "rejected", "{text}");
    for part in ["0 of 2 replicas", "0/2 nodes are available", "2 Insufficient nvidia.com/gpu"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn ours_are_listed_as_we_applied_them() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let (deployment, _) = deploy(&*objects, service()).await;
    let listed = objects.list(&owner().stack).await.expect("listed");
    let found = listed.iter().find(|(mark, _)| mark.address == deployment.address);
    let (_, remote) = found.expect("listed");
    assert_eq!(remote.id, "chat/chat");
    assert_eq!(remote.attributes, deployment.attributes);
    assert_eq!(listed.len(), 2, "pods and replica sets carry no address");
    assert!(listed.iter().all(|(mark, _)| mark.lineage == owner().lineage));
    assert_eq!(objects.owner(&remote.attributes), Some(owner()));
    assert_eq!(objects.list("other").await, Ok(Vec::new()));
}

#[tokio::test]
async fn faults_say_what_to_do_next() {
    for (faults, class) in [
        (FaultPlan { throttled: 1.0, ..FaultPlan::default() }, "throttled"),
        (FaultPlan { unavailable: 1.0, ..FaultPlan::default() }, "throttled"),
        (FaultPlan { answer_lost: 1.0, ..FaultPlan::default() }, "lost"),
    ] {
        let (access, _served, _) = served(faults.clone()).await;
        let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
        let namespace = find(&resources(Vec::new()), "kubernetes_namespace", "main");
        let error = objects.read(namespace.reference()).await.expect_err("it fails");
        assert_eq!(error.class(), class, "{faults:?}: {error}");
    }
    // Nobody listens on port 1.
    let access = KubeAccess {
        server: "http://127.0.0.1:1".into(),
        certificate_authority: None,
        token: None,
        client_certificate: None,
    };
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let namespace = find(&resources(Vec::new()), "kubernetes_namespace", "main");
    let error = objects.read(namespace.reference()).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
}

#[tokio::test]
async fn names_that_would_leave_their_path_are_refused() {
    let (access, _served, _) = served(FaultPlan::default()).await;
    let objects = fleetform_kubernetes::objects(&access).expect("a plain server");
    let mut namespace = find(&resources(Vec::new()), "kubernetes_namespace", "main");
    for name in ["../../api", "..", "", "a?b", "a/b"] {
        set(&mut namespace, &["metadata", "name"], name.into());
        let error = objects.read(namespace.reference()).await.expect_err(name);
        assert_eq!(error.class(), "rejected", "{error}");
    }
}
