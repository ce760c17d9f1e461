//! `ignore_changes`, from the stack to what is asked of a cluster.

use fleetform_contract::Value;

use super::support::{EMPTY, Place, STACK, succeeds};
use crate::plan::{Action, lookup};

const IMAGE: &str = "spec.template.spec.containers.0.image";

/// The stack with this inside its service, and this version of its image.
fn stack(version: &str, inside: &str) -> String {
    let stack = STACK.replace(":1.4.2", &format!(":{version}"));
    stack.replace("  port ", &format!("  {inside}\n  port "))
}

/// Somebody else changes every Deployment.
fn change(place: &Place, change: impl Fn(&mut serde_json::Value)) {
    place.running.world().expect("it is ours").step(|table| {
        let keys = table.list("kubernetes/objects", "").map(|(key, _)| key.to_owned());
        let keys: Vec<String> = keys.filter(|key| key.contains("/deployments/")).collect();
        for key in keys {
            change(&mut table.get_mut("kubernetes/objects", &key).expect("it was listed").body);
        }
    });
}

/// What the plan does to the Deployment, and the image and replicas that it has then.
async fn planned(place: &Place) -> (Action, String, Option<i64>) {
    let plan = place.plan().await;
    let mut changes = plan.changes.iter();
    let change = changes.find(|change| change.address.kind == "kubernetes_deployment");
    let change = change.expect("the service has one");
    let after = change.after.as_ref().expect("it stays");
    let image = lookup(after, IMAGE).and_then(Value::as_str).expect("it has an image").to_owned();
    (change.action, image, lookup(after, "spec.replicas").and_then(Value::as_i64))
}

fn image(version: &str) -> String {
    format!("ghcr.io/acme/chat:{version}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ignored_stays_as_it_is_here_and_there() {
    let ignoring = "lifecycle { ignore_changes = [image, replicas, env[\"LEVEL\"]] }";
    let place = Place::new(&stack("1", ignoring)).await;
    succeeds(place.apply().await, "it is made as the stack says");
    assert_eq!(planned(&place).await, (Action::NoOp, image("1"), Some(2)));

    // Another tool rolls out a version and scales.
    change(&place, |body| {
        body["spec"]["replicas"] = 1.into();
        body["spec"]["template"]["spec"]["containers"][0]["image"] = image("2").into();
    });
    let plan = place.plan().await;
    assert!(!plan.has_changes() && plan.drift.is_empty(), "{:?}", plan.drift);
    // The stack goes on to a version of its own, and sets what is ignored.
    let newer = format!("env = {{ LEVEL = \"debug\" }}\n  {ignoring}");
    place.write(&stack("3", &newer));
    assert_eq!(planned(&place).await, (Action::NoOp, image("2"), Some(1)));
    // What is not ignored changes, and takes nothing back.
    place.write(&stack("3", &format!("command = [\"serve\"]\n  {newer}")));
    assert_eq!(planned(&place).await, (Action::Update, image("2"), Some(1)));
    succeeds(place.apply().await, "another command");
    place.at_rest("after it").await;
    let state = place.state().await;
    let mut records = state.records.values();
    let made = records.find(|it| it.address.kind == "kubernetes_deployment").expect("one");
    assert_eq!(lookup(&made.attributes, IMAGE), Some(&image("2").into()));
    assert_eq!(lookup(&made.attributes, "spec.template.spec.containers.0.env"), None);

    // All of it is.
    place.write(&stack("3", "lifecycle { ignore_changes = all }"));
    assert_eq!(planned(&place).await, (Action::NoOp, image("2"), Some(1)));
    // Nothing is any more.
    place.write(&stack("3", ""));
    assert_eq!(planned(&place).await, (Action::Update, image("3"), Some(2)));
    // What is made anew is made as the stack says.
    place.write(EMPTY);
    succeeds(place.apply().await, "nothing");
    place.write(&stack("3", ignoring));
    succeeds(place.apply().await, "it is made again");
    assert_eq!(planned(&place).await, (Action::NoOp, image("3"), Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_an_object_is_ignored_by_its_path() {
    let text = "lifecycle { ignore_changes = [kubernetes_deployment.spec.revisionHistoryLimit] }";
    let place = Place::new(&stack("1", text)).await;
    succeeds(place.apply().await, "it is made");
    change(&place, |body| body["spec"]["revisionHistoryLimit"] = 7.into());
    let plan = place.plan().await;
    assert!(!plan.has_changes() && plan.drift.is_empty(), "{:?}", plan.drift);
    place.write(&stack("1", ""));
    let plan = place.plan().await;
    assert!(plan.has_changes() && plan.drift.len() == 1, "{:?}", plan.drift);
}
