//! The program as its users meet it: exit codes, saved plans, drift, bad input.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use common::Place;

/// One service on one cloud, small enough to be quick.
const SMALL: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
variable "replicas" {
  type    = number
  default = 2
}
variable "token" {
  type      = string
  default   = "planted-secret-text"
  sensitive = true
}
image "chat" { source = "ghcr.io/acme/chat:1.4.2" }
service "chat" {
  image    = image.chat
  replicas = var.replicas
  port     = 8080
  env      = { MODE = "fast", TOKEN = var.token }
  resources {
    gpus      = 1
    gpu_types = ["L4"]
    cpus      = 2
    memory    = "8GiB"
  }
}
output "url" { value = service.chat.url }
output "clusters" { value = cloud.aws.clusters }
"#;

#[test]
fn exit_codes_are_terraforms() {
    let place = Place::with(SMALL);
    place.run("plan -sandbox stack").ends(0).says("Plan: ");
    place.run("plan -sandbox -detailed-exitcode stack").ends(2);
    place.run("apply -sandbox -auto-approve stack").ends(0).says("Apply complete!");
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");
    place.run("drift -sandbox stack").ends(0).says("No drift.");
    place
        .run("apply -sandbox -auto-approve stack")
        .ends(0)
        .says("0 added, 0 changed, 0 destroyed.");
    place.run("plan -sandbox -detailed-exitcode -var replicas=3 stack").ends(2).says("spec");
    place.run("plan -sandbox -nonsense stack").ends(1);
    place.run("plan -sandbox nowhere").ends(1);
    place.run("validate stack").ends(0).says("Success!");
    place.edit("gpus      = 1", "gpus = 1");
    place.run("fmt -check stack").ends(3).says("main.hcl");
    place.run("fmt stack").ends(0).says("main.hcl");
    place.run("fmt -check stack").ends(0);
    place.run("output -sandbox -stack-dir stack -raw url").ends(0).says("http://chat.");
    place.run("output -sandbox -stack-dir stack -json clusters").ends(0).says("us-east-1");
    place.run("state list -sandbox -stack-dir stack").ends(0).says("kubernetes_deployment.chat");
    place.run("version").ends(0).says("Fleetform v");
    place.run("destroy -sandbox -auto-approve stack").ends(0).says("Destroy complete!");
    place.run("sandbox census stack").ends(0).says("The sandbox is empty.");
}

#[test]
fn nobody_to_ask_means_no() {
    let place = Place::with(SMALL);
    place.run("apply -sandbox -input=false stack").ends(1).says("Apply cancelled");
    let mut command = place.command("apply -sandbox stack");
    command.stdin(Stdio::null());
    common::Ran::from(command).ends(1).says("Apply cancelled");
    place.run("sandbox census stack").ends(0).says("The sandbox is empty.");
}

#[test]
fn a_saved_plan_applies_exactly_and_goes_stale() {
    let place = Place::with(SMALL);
    place.run("plan -sandbox -out=a.plan stack").ends(0).says("Saved the plan to: a.plan");
    place.run("plan -sandbox -out=b.plan -var replicas=3 stack").ends(0);
    place.run("show a.plan").ends(0).says("Plan: ");
    let json = place.run("show -json b.plan").ends(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("a plan in JSON");
    assert_eq!(json["format_version"], "1.2");
    assert_eq!(json["variables"]["replicas"]["value"], 3);
    assert_eq!(json["fleetform"]["hash"].as_str().map(str::len), Some(64));

    place.run("apply a.plan").ends(0).says("Apply complete!");
    place.run("plan -sandbox -detailed-exitcode stack").ends(0);
    place.run("apply b.plan").ends(1).says("Saved plan is stale");

    place.run("plan -sandbox -out=c.plan -var replicas=3 stack").ends(0);
    place.edit("fast", "slow");
    place.run("apply c.plan").ends(1).says("main.hcl was changed");
}

#[test]
fn the_text_of_a_secret_is_nowhere() {
    let place = Place::with(SMALL);
    for line in [
        "plan -sandbox -out=a.plan stack",
        "show a.plan",
        "show -json a.plan",
        "apply -sandbox -auto-approve -json stack",
        "plan -sandbox -json -var token=planted-secret-text-2 stack",
        "show -sandbox -json stack",
        "drift -sandbox -json stack",
    ] {
        let ran = place.run(line).ends(0);
        assert!(!ran.out.contains("planted-secret"), "{line}: {}", ran.out);
        assert!(!ran.err.contains("planted-secret"), "{line}: {}", ran.err);
    }
    // The stack itself names it; what Fleetform writes must not, but for the emulated cluster, which
    // holds the Kubernetes secret as a real one would.
    let mut files = vec![place.path().join("../a.plan")];
    let mut directories = vec![place.path().join(".fleetform/sandbox/state")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("the state is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 2, "the state has files");
    for file in files {
        let bytes = std::fs::read(&file).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("planted-secret"), "{} holds the secret", file.display());
    }
}

/// A sandbox that another process keeps up.
struct Served {
    child: Child,
    kubernetes: String,
}

impl Served {
    fn start(place: &Place) -> Served {
        let mut command = place.command("sandbox serve -port 0 stack");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the sandbox starts");
        let out = BufReader::new(child.stdout.take().expect("it has an output"));
        let server = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let at = line.find("--server=")? + "--server=".len();
                Some(line[at..].split_whitespace().next()?.trim_matches(['"', '\'']).to_owned())
            })
            .expect("the instructions name the Kubernetes API");
        // Everything before the path: clusters are at KIND/REGION/NAME.
        let host_end = server["http://".len()..].find('/').map_or(server.len(), |at| at + 7);
        Served { child, kubernetes: server[..host_end].to_owned() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn drift_names_what_was_changed_behind_its_back() {
    let place = Place::with(SMALL);
    let served = Served::start(&place);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    let deployment = format!(
        "{}/aws/us-east-1/stack/apis/apps/v1/namespaces/stack/deployments/chat",
        served.kubernetes
    );
    // The test speaks plain HTTP only, but the client wants to know its TLS first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let answer = client
        .patch(&deployment)
        .header("content-type", "application/merge-patch+json")
        .body(r#"{"spec":{"replicas":7}}"#)
        .send()
        .await
        .expect("the API server answers");
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    place
        .run("drift -sandbox stack")
        .ends(2)
        .says("kubernetes_deployment.chat")
        .says("spec.replicas")
        .says("2 -> 7");
    let json = place.run("drift -sandbox -json stack").ends(2).out;
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    place.run("plan -sandbox stack").ends(0).says("Objects have changed outside of Fleetform");
    place
        .run("apply -sandbox -auto-approve stack")
        .ends(0)
        .says("0 added, 1 changed, 0 destroyed.");
    place.run("drift -sandbox stack").ends(0);
    let gone = client.delete(&deployment).send().await.expect("the API server answers");
    assert!(gone.status().is_success());
    place.run("drift -sandbox stack").ends(2).says("has been deleted");
    place
        .run("apply -sandbox -auto-approve stack")
        .ends(0)
        .says("1 added, 0 changed, 0 destroyed.");
    place.run("destroy -sandbox -auto-approve stack").ends(0);
    place.run("sandbox census stack").ends(0).says("The sandbox is empty.");
}

#[test]
fn bad_input_gets_a_diagnostic() {
    let deep = format!("locals {{ x = {}1{} }}", "(".repeat(10_000), ")".repeat(10_000));
    let large = format!("# {}\n", "x".repeat(50 << 20));
    for (what, text) in [
        ("an unterminated string", "locals { x = \"abc\n}".to_owned()),
        ("deep nesting", deep),
        ("a cycle", "locals {\n  a = local.b\n  b = local.a\n}".to_owned()),
        ("an unknown block", "servce \"x\" {}".to_owned()),
        ("a NUL byte", "locals { x = \"a\0b\" }".to_owned()),
        ("a large file", large),
        ("a wrong type", SMALL.replace("replicas = var.replicas", "replicas = \"many\"")),
        ("no offering", SMALL.replace("gpus      = 1", "gpus      = 64")),
        ("an unknown GPU", SMALL.replace("\"L4\"", "\"L5\"")),
    ] {
        let place = Place::with(&text);
        let ran = place.run("plan -sandbox stack").ends(1).says("Error:");
        assert!(!ran.err.contains("panicked"), "{what}: {}", ran.err);
        let indented = ran.err.lines().count() > 2;
        assert!(indented, "{what} is explained: {}", ran.err);
    }
    let place = Place::with("");
    std::fs::write(place.path().join("main.hcl"), b"locals { x = \"\xff\xfe\" }").expect("written");
    place.run("plan -sandbox stack").ends(1).says("Error:");
}

#[test]
fn doubts_about_a_placement_are_told() {
    let place = Place::with(&SMALL.replace("[\"L4\"]", "[\"L4\", \"H1000\"]"));
    for line in ["plan -sandbox stack", "placement -sandbox stack", "explain chat -sandbox stack"] {
        place.run(line).ends(0).says("Warning: GPU type is not offered");
    }
}

#[test]
fn a_first_stack_works_at_once() {
    let place = Place::with("");
    place.run("init new").ends(0).says("main.hcl");
    place.run("init new").ends(0).says("nothing was written");
    place.run("fmt -check new").ends(0);
    place.run("validate new").ends(0);
    place.run("apply -sandbox -auto-approve new").ends(0).says("Apply complete!");
    place.run("plan -sandbox -detailed-exitcode new").ends(0);
    place.run("graph -sandbox new").ends(0).says("digraph");
    place.run("graph -sandbox -format=mermaid new").ends(0).says("flowchart");
    place.run("destroy -sandbox -auto-approve new").ends(0);
    place.run("sandbox census new").ends(0).says("The sandbox is empty.");
}
