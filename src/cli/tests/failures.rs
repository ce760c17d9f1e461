//! Failures told as they are: stops, a lost store, storms; and bugs that were found.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fleetform_contract::{Address, Record};
use fleetform_providers::sandbox::{Fault, FaultPlan, Moment, Object, World};
use fleetform_state::{Action, Batch, Entry, Kept, OpenOperation, Put, Snapshot, Store};
use tokio::sync::{Notify, watch};

use super::spellings::spellings;
use super::support::{EMPTY, Fuse, Place, Run, STACK, screen, succeeds, told};
use crate::apply::{Became, Settled, Stop};
use crate::cli::errored;
use crate::cli::planning::{Planned, findings};
use crate::plan::{Plan, Reason};

/// A run that is held at its first change of a cloud, told to stop, and let go on.
async fn stopped(place: &Place, stops: &[Stop]) -> String {
    let (stop, stopping) = watch::channel(Stop::Go);
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, there) = (Arc::clone(&arrived), Arc::clone(&go_on));
    let first = Arc::new(AtomicUsize::new(0));
    place.gate(move |moment| {
        let (here, there) = (Arc::clone(&here), Arc::clone(&there));
        let is_first = moment == Moment::After && first.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if is_first {
                here.notify_one();
                there.notified().await;
            }
        })
    });
    let run = Run { stop: Some(stopping), ..Run::default() };
    let signals = async {
        arrived.notified().await;
        for next in stops {
            stop.send_replace(*next);
        }
        if stops.last() != Some(&Stop::Abandon) {
            go_on.notify_one();
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = place.run(&run) => ended,
        () = signals => unreachable!("it waits for ever"),
    };
    place.running.set_gate(None);
    told(&ended.expect_err("it was stopped"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_run_finishes_what_runs_and_starts_nothing() {
    let place = Place::new(STACK).await;
    let text = stopped(&place, &[Stop::Finish]).await;
    assert!(text.contains("Not started, because the run was stopped:"), "{text}");
    assert!(!text.contains("unknown"), "{text}");
    let state = place.state().await;
    assert!(state.open.is_empty() && !state.records.is_empty(), "what ran is recorded");
    assert!(state.claims.held.is_empty(), "and the lock is given back");
    succeeds(place.apply().await, "the next run");
    place.at_rest("after it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_run_leaves_its_operations_open_and_they_are_settled() {
    let place = Place::new(STACK).await;
    let text = stopped(&place, &[Stop::Finish, Stop::Abandon]).await;
    assert!(text.contains("The end of an operation is unknown"), "{text}");
    assert!(text.contains("it was abandoned before its answer"), "{text}");
    let state = place.state().await;
    assert!(!state.open.is_empty() && state.claims.held.is_empty());
    let made = Place::new(STACK).await;
    succeeds(made.apply().await, "undisturbed");
    succeeds(place.apply().await, "the next run");
    place.at_rest("after it").await;
    assert_eq!(place.census().await, made.census().await);
}

/// Keeps so many batches; from then on the disk is full.
struct Full {
    store: Arc<dyn Store>,
    left: AtomicUsize,
}

#[async_trait]
impl Store for Full {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        self.store.read_snapshot().await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        self.store.put_snapshot(snapshot).await
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        self.store.read_from(number).await
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        let burn = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, burn) {
            Ok(_) => self.store.put_if_absent(batch).await,
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    async fn replace(&self, _batch: Batch) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        self.store.drop_before(kept).await
    }

    async fn put_heartbeat(&self, _run: &str, _bytes: Vec<u8>) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        self.store.read_heartbeats().await
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        self.store.remove_heartbeat(run).await
    }

    fn place(&self, kept: Kept) -> String {
        self.store.place(kept)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_run_and_the_next_one_takes_in_what_was_kept() {
    let made = Place::new(STACK).await;
    succeeds(made.apply().await, "undisturbed");
    let mut kept = 0;
    for batches in 0.. {
        let place = Place::new(STACK).await;
        let full = Full { store: Arc::clone(&place.store), left: batches.into() };
        let store: Arc<dyn Store> = Arc::new(full);
        let run = Run { store: Some(store), parallelism: 2, ..Run::default() };
        let context = format!("the disk is full after {batches} batches");
        let Err(diagnostics) = place.run(&run).await else { break };
        let text = told(&diagnostics);
        assert!(text.contains("could not be written") || text.contains("refused"), "{text}");

        let screen = screen();
        let session = place.session(&screen).await;
        let file = errored::path(&session);
        let ends = errored::read(&session).expect("it can be read");
        assert_eq!(file.exists(), !ends.is_empty(), "{context}");
        assert_eq!(text.contains("Results were kept beside the state"), !ends.is_empty(), "{text}");
        if !ends.is_empty() {
            kept += 1;
            let open = place.state().await.open;
            assert!(ends.keys().all(|op| open.contains_key(op)), "{context}: {ends:?}");
        }
        drop(session);
        succeeds(place.apply().await, &context);
        assert!(!file.exists(), "{context}: it was taken in");
        assert_eq!(place.census().await, made.census().await, "{context}");
        place.at_rest(&context).await;
    }
    assert!(kept >= 5, "only {kept} runs had something to keep");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_beside_a_lost_state_holds_no_secret() {
    let planted = "pl@nted \"secret\" \\ of 41 characters, no less";
    let secret = format!("env = {{\n    TOKEN = sensitive({planted:?})\n  }}\n  port");
    let stack = STACK.replace("port", &secret);
    for batches in 0.. {
        let place = Place::new(&stack).await;
        let full = Full { store: Arc::clone(&place.store), left: batches.into() };
        let run = Run { store: Some(Arc::new(full)), parallelism: 1, ..Run::default() };
        place.run(&run).await.expect_err("it cannot go on before the Secret is made");
        let screen = screen();
        let session = place.session(&screen).await;
        let Ok(kept) = std::fs::read_to_string(errored::path(&session)) else { continue };
        for spelling in spellings(planted) {
            assert!(!kept.contains(&spelling), "{kept}");
        }
        if kept.contains("kubernetes_secret.chat") {
            assert!(kept.contains("\"$secret\""), "{kept}");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_is_taken_in_once_and_another_state_s_is_refused() {
    let place = Place::new(STACK).await;
    // Dies between an effect and its record.
    let kept = place.run_until(&Fuse::of(14), Run::default()).await;
    assert!(kept.is_none(), "it was to die");
    let (op, open) = place.state().await.open.pop_first().expect("something is open");
    let screen = screen();
    let session = place.session(&screen).await;
    let failed = Entry::Failed { op: op.clone(), class: "rejected".into(), message: "no".into() };
    errored::keep(&session, std::slice::from_ref(&failed)).expect("it is kept");
    errored::keep(&session, &[failed]).expect("it is kept again");
    let text = std::fs::read_to_string(errored::path(&session)).expect("it is there");
    assert_eq!(text.matches(&op).count(), 1, "{text}");
    succeeds(place.apply().await, "the next run");
    place.at_rest("after it").await;
    assert!(!place.state().await.open.contains_key(&op), "{open:?}");

    // The file comes back, from a backup say: nothing in it is open any more.
    std::fs::write(errored::path(&session), &text).expect("written");
    succeeds(place.apply().await, "once more");
    assert!(!errored::path(&session).exists());
    let other = text.replace(&session.owner.lineage, "another");
    std::fs::write(errored::path(&session), other).expect("written");
    let refused = told(&place.apply().await.expect_err("it is of another state"));
    assert!(refused.contains("it is of another state, with lineage another"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_throttling_slows_a_run_down_and_does_not_fail_it() {
    let place = Place::new(STACK).await;
    place.faults(FaultPlan { storm: 40, ..FaultPlan::default() });
    succeeds(place.apply().await, "through the storm");
    place.at_rest("after it").await;
    let requests = place.running.requests().await.expect("they are logged");
    let throttled = requests.iter().filter(|request| request.fault == Some(Fault::Throttled));
    assert!(throttled.count() >= 40, "there was a storm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_and_settling_try_again_as_an_apply_does() {
    let place = Place::new(STACK).await;
    assert!(place.run_until(&Fuse::of(14), Run::default()).await.is_none());
    let faults =
        FaultPlan { throttled: 0.2, unavailable: 0.1, answer_lost: 0.05, ..FaultPlan::default() };
    place.faults(faults);
    // A plan settles in thought, and reads everything.
    assert!(place.plan().await.has_changes());
    place.faults(FaultPlan::default());
    succeeds(place.apply().await, "the next run");
    place.at_rest("after it").await;
}

/// The record of the service's deployment.
async fn deployment(place: &Place) -> Record {
    let state = place.state().await;
    let found = state.records.values().find(|it| it.address.kind == "kubernetes_deployment");
    found.expect("the service has one").clone()
}

/// Takes every Kubernetes object whose key has this in it out of the world.
fn lose(place: &Place, part: &str) {
    let world = place.running.world().expect("it is ours");
    let lost = world.step(|table| {
        let keys: Vec<String> = table
            .list("kubernetes/objects", "")
            .filter(|(key, _)| key.contains(part))
            .map(|(key, _)| key.to_owned())
            .collect();
        keys.iter().filter_map(|key| table.remove("kubernetes/objects", key)).count()
    });
    assert!(lost > 0, "nothing has {part} in its key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_saved_after_an_object_vanished_is_not_stale() {
    let place = Place::new(STACK).await;
    succeeds(place.apply().await, "the first run");
    lose(&place, "/deployments/");
    let plan = place.plan().await;
    assert!(plan.effects().any(|change| change.address.kind == "kubernetes_deployment"));
    succeeds(place.apply_saved(plan).await, "the saved plan");
    place.at_rest("after it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_changed_and_is_deleted_in_the_same_run_leaves_the_state() {
    let place = Place::new(STACK).await;
    succeeds(place.apply().await, "the first run");
    // Somebody scales it: the next run observes that, under a new version, and deletes it.
    let record = deployment(&place).await;
    let world = place.running.world().expect("it is ours");
    world.step(|table| {
        let keys: Vec<String> = table
            .list("kubernetes/objects", "")
            .filter(|(key, _)| key.contains("/deployments/"))
            .map(|(key, _)| key.to_owned())
            .collect();
        for key in keys {
            let object = table.get_mut("kubernetes/objects", &key).expect("it was listed");
            object.body["spec"]["replicas"] = 1.into();
        }
    });
    place.write(EMPTY);
    succeeds(place.apply().await, "the run that deletes it");
    let state = place.state().await;
    assert!(!state.records.contains_key(&record.address), "{:?}", state.records.keys());
    assert!(state.records.is_empty(), "{:?}", state.records.keys());
    place.at_rest("after it").await;
}

#[tokio::test]
async fn what_is_settled_and_found_gone_does_not_stay_in_the_state() {
    let place = Place::new(STACK).await;
    succeeds(place.apply().await, "a run");
    let record = deployment(&place).await;
    let mut state = place.state().await;
    state.records.remove(&record.address);
    let begin = Entry::Begin {
        op: "1.0.make".into(),
        address: record.address.clone(),
        action: Action::Create,
        token: "token".into(),
        desired: None,
        previous: None,
    };
    state.fold("a run that died", &begin).expect("it may begin");
    let plan = Plan { serial: state.serial, ..place.plan().await };
    let settled = Settled {
        op: "1.0.make".into(),
        address: record.address.clone(),
        became: Became::Is(Box::new(Record { version: 0, ..record.clone() })),
        since: state.serial,
    };
    let records: BTreeMap<Address, Record> = state.records.clone();
    let planned = Planned { plan, records, settled: vec![settled], warnings: Vec::new() };
    for entry in findings(&state.clone(), "another run", &planned) {
        state.fold("another run", &entry).expect("it follows");
    }
    assert!(state.open.is_empty() && !state.records.contains_key(&record.address));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_plan_goes_on_where_a_dead_run_left_what_it_saw_and_is_stale_where_not() {
    let made = Place::new(STACK).await;
    succeeds(made.apply().await, "undisturbed");
    let (mut went_on, mut was_stale) = (0, 0);
    for points in 4..100 {
        let context = format!("died after {points} points");
        let place = Place::new(STACK).await;
        // So that what is half made then is still on its way when it is looked at.
        place.faults(FaultPlan { slow: 1.0, ..FaultPlan::default() });
        let before = place.plan().await;
        let run = Run { parallelism: 1, ..Run::default() };
        if place.run_until(&Fuse::of(points), run).await.is_some() {
            break;
        }
        let open = place.state().await.open;
        let is_slow = |open: &OpenOperation| open.address.kind == "aws_eks_cluster";
        if !open.values().any(is_slow) && (went_on > 0 || open.is_empty()) {
            continue;
        }
        let open = !open.is_empty();
        let after = place.plan().await;
        // Made before the run that died.
        let refused = told(&place.apply_saved(before).await.expect_err("it is stale"));
        assert!(refused.contains("since then, "), "{context}: {refused}");
        // Made after it: the operations that are open are known to it.
        match place.apply_saved(after).await {
            Ok(_) => went_on += usize::from(open),
            Err(diagnostics) => {
                let refused = told(&diagnostics);
                assert!(
                    refused.contains("came to something else than the plan took it for"),
                    "{context}: {refused}"
                );
                was_stale += 1;
                // What was open is settled by then: to plan once more is enough.
                assert!(place.state().await.open.is_empty(), "{context}");
                succeeds(place.apply_saved(place.plan().await).await, &context);
            }
        }
        assert_eq!(place.census().await, made.census().await, "{context}");
        place.at_rest(&context).await;
        if went_on > 0 && was_stale > 0 {
            return;
        }
    }
    panic!("{went_on} went on, {was_stale} were stale");
}

/// Nodes that were taken out of the clusters, by key.
type Taken = Arc<Mutex<BTreeMap<String, Object>>>;

/// Takes the nodes out of every cluster: what is made there does not start.
fn take_nodes(world: &World, taken: &Taken) {
    world.step(|table| {
        let nodes = table.list("kubernetes/nodes", "");
        let nodes: Vec<_> = nodes.map(|(key, node)| (key.to_owned(), node.clone())).collect();
        for (key, node) in nodes {
            table.remove("kubernetes/nodes", &key);
            taken.lock().expect("no holder panics").insert(key, node);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_creation_left_is_tainted_and_replaced() {
    let place = Place::new(STACK).await;
    let (world, taken) = (place.running.world().expect("it is ours").clone(), Taken::default());
    let (everywhere, nodes) = (world.clone(), Arc::clone(&taken));
    place.gate(move |_| {
        take_nodes(&everywhere, &nodes);
        Box::pin(std::future::ready(()))
    });
    let text = told(&place.apply().await.expect_err("nothing can start"));
    assert!(text.contains("is recorded as tainted: the next apply replaces it"), "{text}");
    place.running.set_gate(None);
    let state = place.state().await;
    assert!(state.open.is_empty(), "{:?}", state.open);
    let tainted: Vec<&Record> = state.records.values().filter(|record| record.tainted).collect();
    let [broken] = tainted[..] else { panic!("{tainted:?}") };
    assert_eq!(broken.address.kind, "kubernetes_deployment");
    world.step(|table| {
        for (key, node) in std::mem::take(&mut *taken.lock().expect("no holder panics")) {
            table.put("kubernetes/nodes", key, node);
        }
    });
    let plan = place.plan().await;
    let change = plan.changes.iter().find(|change| change.address == broken.address);
    let change = change.expect("the deployment is in the plan");
    assert_eq!(change.reason, Some(Reason::ReplaceBecauseTainted));
    assert_eq!(
        crate::view::change::heading(change),
        format!("{} is tainted, so must be replaced", broken.address)
    );
    succeeds(place.apply_saved(plan).await, "the saved plan");
    place.at_rest("after it").await;
    assert!(!deployment(&place).await.tainted);
    let lines = place.lines().await;
    let did = lines.iter().filter_map(|line| match &line.entry {
        Entry::Begin { address, action, .. } if *address == broken.address => Some(*action),
        _ => None,
    });
    let did: Vec<Action> = did.collect();
    assert_eq!(did, [Action::Create, Action::Delete, Action::Create]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_broken_after_a_crash_is_tainted_too_and_goes_with_its_stack() {
    let empty = Place::new(EMPTY).await;
    let mut found = 0;
    // Which points lie in the creation of a deployment, calls side by side decide anew in each run.
    let passes = (0..4).flat_map(|pass| (40 + pass % 2..120).step_by(2));
    for points in passes {
        if found > 0 && points <= 41 {
            break;
        }
        let place = Place::new(STACK).await;
        if place.run_until(&Fuse::of(points), Run::default()).await.is_some() {
            continue;
        }
        let open = place.state().await.open;
        if !open.values().any(|it| it.address.kind == "kubernetes_deployment") {
            continue;
        }
        let context = format!("died after {points} points");
        take_nodes(place.running.world().expect("it is ours"), &Taken::default());
        place.apply().await.expect_err("nothing can start");
        let lines = place.lines().await;
        let settled = lines.iter().filter_map(|line| match &line.entry {
            Entry::Tainted { op, .. } => Some(op),
            _ => None,
        });
        found += settled.filter(|op| open.contains_key(*op)).count();
        place.write(EMPTY);
        succeeds(place.apply().await, &context);
        assert_eq!(place.census().await, empty.census().await, "{context}");
        place.at_rest(&context).await;
    }
    assert!(found > 0, "no run found something broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_failed_half_way_is_not_left_behind() {
    let (place, empty) = (Place::new(STACK).await, Place::new(EMPTY).await);
    place.faults(FaultPlan { no_capacity: 1.0, ..FaultPlan::default() });
    let text = told(&place.apply().await.expect_err("there is no capacity"));
    assert!(text.contains("no capacity"), "{text}");
    place.faults(FaultPlan::default());
    let state = place.state().await;
    let tagged = place.tagged().await.expect("everything can be listed");
    for address in tagged {
        let is_open = state.open.values().any(|open| open.address == address);
        assert!(is_open || state.records.contains_key(&address), "nobody knows of {address}");
    }
    place.write(EMPTY);
    succeeds(place.apply().await, "an empty stack");
    assert_eq!(place.census().await, empty.census().await);
    place.at_rest("after it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_creation_that_is_rejected_is_not_left_behind_where_it_is_ours() {
    let place = Place::new(STACK).await;
    let moments = tempfile::tempdir().expect("a temporary directory");
    let kept = place.run_and_keep(moments.path(), None).await;
    let empty = Place::new(EMPTY).await;
    let mut tried = 0;
    for moment in kept.iter().filter(|kept| kept.what == "after an effect") {
        let died = Place::of(moment, EMPTY).await;
        let open = died.state().await.open;
        let Some(operation) = open.values().find(|it| it.address.kind == "kubernetes_deployment")
        else {
            continue;
        };
        tried += 1;
        // Another tool insists on a field of what we made: ours, and never to be applied again.
        let metadata = operation.desired.as_ref().and_then(|it| it.attributes.get("metadata"));
        let text = |name: &str| {
            let value = metadata.and_then(|metadata| metadata.at(name));
            value.and_then(|value| value.as_str()).expect("it has a name").to_owned()
        };
        let (namespace, name) = (text("namespace"), text("name"));
        let cluster = died.running.world().expect("it is ours").step(|table| {
            table.clusters().first().map(|key| (*key).to_owned()).expect("there is one")
        });
        let url = format!(
            "{}/{cluster}/apis/apps/v1/namespaces/{namespace}/deployments/{name}\
             ?fieldManager=argocd&force=true",
            died.running.urls()["kubernetes"]
        );
        let body = serde_json::json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "replicas": 5 },
        });
        let answer = reqwest::Client::new()
            .patch(url)
            .header("content-type", "application/apply-patch+yaml")
            .header("authorization", "Bearer sandbox")
            .body(body.to_string())
            .send()
            .await
            .expect("it answers");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        succeeds(died.apply().await, "an empty stack");
        assert_eq!(died.census().await, empty.census().await, "nothing is left behind");
        died.at_rest("after it").await;
    }
    assert!(tried > 0, "no moment had the deployment's creation open");
}
