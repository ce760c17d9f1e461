//! Locks through the program: who is in whose way, what heals by itself, what makes a saved plan stale.

mod common;

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use common::Place;
use fleetform_contract::{Address, Record};
use fleetform_state::{
    Action, Entry, Genesis, Holder, LocalStore, Log, State, Writer, process, verify,
};

const STACK: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
variable "replicas" {
  type    = number
  default = 2
}
image "chat" { source = "ghcr.io/acme/chat:1.4.2" }
service "chat" {
  image    = image.chat
  replicas = var.replicas
  port     = 8080
  resources {
    gpus      = 1
    gpu_types = ["L4"]
    cpus      = 2
    memory    = "8GiB"
  }
}
"#;

fn store(place: &Place) -> LocalStore {
    LocalStore::new(place.path().join(".fleetform/sandbox/state"))
}

/// The state of the stack, open for writing as a run of that name.
async fn log(place: &Place, run: &str) -> Log {
    let clock = Box::new(|| "2026-01-01T00:00:00Z".to_owned());
    let writer = Writer { run: run.to_owned(), clock };
    let opened = Log::open(Arc::new(store(place)), writer, Genesis::random("unused"));
    opened.await.expect("the state opens")
}

async fn state(place: &Place) -> State {
    log(place, "reader").await.state().clone()
}

fn claim(run: &str, address: &Address, process: Option<String>) -> Entry {
    Entry::Claim {
        run: run.to_owned(),
        addresses: [address.clone()].into(),
        holder: Holder {
            operation: "OperationTypeApply".to_owned(),
            info: "https://ci.example/run/7".to_owned(),
            who: "ada@build-7".to_owned(),
            version: "0.1.0".to_owned(),
            created: "2026-11-23T08:55:26.382007187Z".to_owned(),
            path: "state".to_owned(),
            process,
        },
        ttl_seconds: 30,
    }
}

fn deployment(state: &State) -> Record {
    let mut records = state.records.values();
    let found = records.find(|record| record.address.kind == "kubernetes_deployment");
    found.expect("the service has one").clone()
}

/// This process, as a holder that lives.
fn living() -> Option<String> {
    Some(process::identity().expect("these tests run where processes have names"))
}

/// A process of this machine that has ended.
fn dead() -> Option<String> {
    living().map(|identity| identity + "0")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_living_run_is_in_the_way_until_its_lock_is_broken() {
    let place = Place::with(STACK);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place.run("lock list -sandbox -stack-dir stack").ends(0).says("No locks are held.");
    let target = deployment(&state(&place).await).address;
    let mut holder = log(&place, "holder-1").await;
    holder.append(vec![claim("holder-1", &target, living())]).await.expect("it is claimed");

    let refused = place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(1);
    let refused = refused.says("Error: Error acquiring the state lock").says("Lock Info:");
    for line in [
        "  ID:        holder-1\n",
        "  Operation: OperationTypeApply\n",
        "  Who:       ada@build-7\n",
        "  Created:   2026-11-23 08:55:26.382007187 +0000 UTC\n",
        "  Info:      https://ci.example/run/7\n",
        &format!("{target} is being changed by another run"),
        "-lock-timeout=DURATION",
    ] {
        assert!(refused.err.contains(line), "{line:?} is not in\n{}", refused.err);
    }
    // Neither plans nor runs that change something else are kept out; who claims nothing is, there.
    place.run("plan -sandbox -var replicas=3 stack").ends(0).says("Plan: ");
    place.run("apply -sandbox -auto-approve stack").ends(0).says("Apply complete!");
    place
        .run("apply -sandbox -auto-approve -lock=false -var replicas=3 stack")
        .ends(1)
        .says("claimed by another run");

    place.run("lock list -sandbox -stack-dir stack").ends(0).says(&target.to_string());
    let json = place.run("lock list -sandbox -json -stack-dir stack").ends(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json[0]["ID"], "holder-1");
    assert_eq!(json[0]["Who"], "ada@build-7");
    assert_eq!(json[0]["Addresses"][0], target.to_string());

    place
        .run("force-unlock -sandbox -stack-dir stack -force holder-2")
        .ends(1)
        .says("Failed to unlock state")
        .says("holder-1");
    let mut asked = place.command("lock break -sandbox -stack-dir stack holder-1");
    asked.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut asked = asked.spawn().expect("the program starts");
    asked.stdin.take().expect("it is piped").write_all(b"no\n").expect("it is asked");
    assert_eq!(asked.wait().expect("it ends").code(), Some(1));
    place
        .run("force-unlock -sandbox -stack-dir stack -force holder-1")
        .ends(0)
        .says("successfully unlocked");
    place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(0).says("Apply complete!");

    // The run whose lock was broken can write nothing any more.
    let late = holder.append(vec![Entry::Vanished { address: target }]).await;
    assert!(matches!(late, Err(fleetform_state::Error::Fenced { .. })), "{late:?}");
    let state = state(&place).await;
    assert!(state.claims.held.is_empty(), "every apply has given its claim back");
    verify(&store(&place)).await.expect("the log is whole");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dead_run_is_in_nobodys_way_and_its_operations_are_settled() {
    let place = Place::with(STACK);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    let record = deployment(&state(&place).await);
    let mut dying = log(&place, "killed-1").await;
    let begin = Entry::Begin {
        op: "killed-1.0".to_owned(),
        address: record.address.clone(),
        action: Action::Update,
        token: "token".to_owned(),
        desired: None,
        previous: Some(record.clone()),
    };
    let entries = vec![claim("killed-1", &record.address, dead()), begin];
    dying.append(entries).await.expect("it is written");
    drop(dying);
    place
        .run("apply -sandbox -auto-approve -var replicas=3 stack")
        .ends(0)
        .says("The run killed-1 of ada@build-7 is dead: its lock was taken over.")
        .says("2 changed");
    let state = state(&place).await;
    assert!(state.open.is_empty() && state.claims.held.is_empty(), "{:?}", state.claims);
    assert!(state.claims.fenced.contains_key("killed-1"));
    place.run("plan -sandbox -detailed-exitcode -var replicas=3 stack").ends(0);
    verify(&store(&place)).await.expect("the log is whole");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_waits_gets_the_lock_when_it_is_released() {
    let place = Place::with(STACK);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    let target = deployment(&state(&place).await).address;
    let mut holder = log(&place, "holder-1").await;
    holder.append(vec![claim("holder-1", &target, living())]).await.expect("it is claimed");
    let mut waiting =
        place.command("apply -sandbox -auto-approve -lock-timeout=5m -var replicas=3 stack");
    waiting.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut waiting = waiting.spawn().expect("the program starts");
    let out = std::io::BufReader::new(waiting.stdout.take().expect("it is piped"));
    let mut lines = std::io::BufRead::lines(out).map(|line| line.expect("output is text"));
    let waits = lines.by_ref().find(|line| line.contains("waiting for ada@build-7"));
    assert!(waits.is_some(), "it says whom it waits for");
    holder.append(vec![Entry::Release { run: "holder-1".into() }]).await.expect("it is released");
    assert!(lines.any(|line| line.contains("2 changed")), "it goes on");
    assert_eq!(waiting.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn a_saved_plan_is_stale_when_something_related_has_changed_and_only_then() {
    let place = Place::with(STACK);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    let before = state(&place).await;
    let target = deployment(&before);
    let unrelated = before.records.values().find(|record| {
        record.address != target.address && !target.depends_on.contains(&record.address)
    });
    let unrelated = unrelated.expect("there is something else").clone();

    place.run("plan -sandbox -var replicas=3 -out a.plan stack").ends(0);
    let mut other = log(&place, "other").await;
    other.append(vec![Entry::Observed { record: unrelated }]).await.expect("it is written");
    place.run("apply a.plan").ends(0).says("2 changed");

    place.run("plan -sandbox -var replicas=4 -out b.plan stack").ends(0);
    let now = deployment(&state(&place).await);
    let mut other = log(&place, "another").await;
    other.append(vec![Entry::Observed { record: now.clone() }]).await.expect("it is written");
    let then = now.version;
    let now = deployment(&state(&place).await).version;
    assert!(now > then);
    let refused = place.run("apply b.plan").ends(1).says("Saved plan is stale");
    let told = refused.err.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = format!("{} moved from version {then} to {now}", target.address);
    assert!(told.contains(&expected), "{told}");
    assert!(state(&place).await.claims.is_empty(), "a plan that is refused holds nothing");
}

#[tokio::test]
async fn a_damaged_state_is_refused_by_plan_wherever_the_damage_is() {
    let place = Place::with(STACK);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(0);
    let folder = place.path().join(".fleetform/sandbox/state/log");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the log is there")
        .map(|file| file.expect("it lists").path())
        .collect();
    files.sort();
    for file in [&files[0], &files[files.len() / 2], &files[files.len() - 1]] {
        let whole = std::fs::read(file).expect("it reads");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        std::fs::write(file, flipped).expect("it is written");
        let name = file.file_name().expect("it has one").to_string_lossy().into_owned();
        place.run("plan -sandbox stack").ends(1).says("The state cannot be read").says(&name);
        std::fs::write(file, whole).expect("it is written");
    }
    place.run("plan -sandbox -var replicas=3 stack").ends(0);
}
