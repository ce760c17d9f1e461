//! `state …` as its users meet it: on the sandbox, through the program.

mod common;

use common::{Place, Ran};
use serde_json::Value as Json;

/// One service on one cloud, with a secret.
const CHAT: &str = r#"
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
  env      = { TOKEN = var.token }
  resources {
    gpus      = 1
    gpu_types = ["L4"]
    cpus      = 2
    memory    = "8GiB"
  }
}
output "url" { value = service.chat.url }
"#;

/// `state WORDS`; a word may hold spaces and quotes.
fn state(place: &Place, words: &[&str]) -> Ran {
    let mut command = place.command("state");
    command.args(words).args(["-sandbox", "-stack-dir", "stack"]);
    command.into()
}

fn applied() -> Place {
    let place = Place::with(CHAT);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place
}

fn json(ran: Ran) -> Json {
    serde_json::from_str(&ran.ends(0).out).expect("JSON")
}

#[test]
fn records_are_listed_and_shown() {
    let place = applied();
    let all = state(&place, &["list"]).ends(0).out;
    assert_eq!(all.lines().count(), 14, "{all}");
    for (words, lines) in [
        (&["list", "aws_iam_role."][..], 2),
        (&["list", "service.chat"], 4),
        (&["list", "service.chat", "aws_eks_cluster"], 5),
        (&["list", "-cloud", "aws"], 14),
        (&["list", "-cloud", "gcp"], 0),
        (&["list", "-site", "aws/us-east-1"], 6),
        (&["list", "-id", "aws_eks_cluster"], 1),
    ] {
        let out = state(&place, words).ends(0).out;
        assert_eq!(out.lines().count(), lines, "{words:?}: {out}");
    }
    let list = json(state(&place, &["list", "-json", "kubernetes_service"]));
    assert_eq!(list[0]["address"], r#"kubernetes_service.chat["aws/us-east-1"]"#);
    assert_eq!((&list[0]["id"], &list[0]["site"]), (&"stack/chat".into(), &"aws/us-east-1".into()));
    let shown = json(state(&place, &["show", "-json", "kubernetes_service.chat"]));
    assert_eq!(shown["values"]["spec"]["ports"][0]["port"], 8080);
    assert_eq!(shown["fleetform"]["cloud"], "aws");
    state(&place, &["show", "service.chat"]).ends(0).says("resource \"kubernetes_deployment\"");
    state(&place, &["show", "aws_eks_clster.main"])
        .ends(1)
        .says("Error: No such address")
        .says("The state has nothing that aws_eks_clster.main names.")
        .says("hint: did you mean aws_eks_cluster.main?");
    state(&place, &["show", "cluster"]).ends(1).says("Error: Not an address");
    let empty = Place::with(CHAT);
    state(&empty, &["show", "service.chat"]).ends(1).says("hint: the state is empty");
}

#[test]
fn the_past_can_be_read() {
    let place = applied();
    place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(0);
    let history = state(&place, &["history"]).ends(0).says("14 created").says("2 updated").out;
    assert_eq!(history.lines().count(), 3, "{history}");
    let runs = json(state(&place, &["history", "-json"]));
    let (first, second) = (&runs[0], &runs[1]);
    assert_eq!(first["first_entry"], 1);
    assert_eq!(first["summary"]["created"], 14);
    assert_eq!(second["summary"]["updated"], 2);
    let name = second["run"].as_str().expect("a name");
    state(&place, &["history", &name[..8]])
        .ends(0)
        .says(&format!("Run {name}: 2 updated"))
        .says(r#"updated    kubernetes_deployment.chat["aws/us-east-1"]"#);

    let before = first["last_entry"].to_string();
    state(&place, &["diff", &before])
        .ends(0)
        .says(r#"# kubernetes_deployment.chat["aws/us-east-1"] has changed"#)
        .says("~ replicas = 2 -> 3")
        .says("0 new, 2 changed, 0 gone.");
    state(&place, &["diff", "1", &before])
        .ends(0)
        .says("is new")
        .says("14 new, 0 changed, 0 gone.");
    let diff = json(state(&place, &["diff", "-json", &before, &name[..8]]));
    assert_eq!(diff["changes"].as_array().map(Vec::len), Some(2));
    const SEATS: &str = r#"metadata.annotations["fleetform.dev/seats"]"#;
    assert_eq!(diff["changes"][1]["paths"], serde_json::json!([SEATS, "spec.replicas"]));
    state(&place, &["diff", "99"]).ends(1).says("Error: No such entry").says("numbered from 1 to");
    state(&place, &["diff", "zzz"]).ends(1).says("Error: No such run").says("state history");
}

#[test]
fn a_pulled_state_can_be_pushed_where_nothing_newer_is() {
    let place = applied();
    let pulled = state(&place, &["pull"]).ends(0).out;
    assert!(!pulled.contains("planted-secret"), "{pulled}");
    let write = |text: &str| {
        std::fs::write(place.path().join("../pushed.json"), text).expect("written");
        "pushed.json"
    };
    let old: Json = serde_json::from_str(&pulled).expect("JSON");
    // What Terraform's tools look for.
    assert_eq!((&old["version"], &old["terraform_version"].is_string()), (&4.into(), &true));
    let resources = old["resources"].as_array().expect("resources");
    let secret = resources.iter().find(|r| r["type"] == "kubernetes_secret").expect("a secret");
    assert_eq!(secret["instances"][0]["attributes"]["stringData"]["TOKEN"], Json::Null);
    assert_eq!(secret["instances"][0]["sensitive_attributes"][0][1]["value"], "TOKEN");
    assert_eq!(secret["instances"][0]["index_key"], "aws/us-east-1");

    state(&place, &["push", write(&pulled)]).ends(0).says("The state is the same already");
    place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(0);
    state(&place, &["push", "pushed.json"])
        .ends(1)
        .says("Error: The state was not taken over")
        .says("It is older than the state that is there")
        .says("hint: -force takes it over all the same");
    state(&place, &["push", "-force", "pushed.json"]).ends(0).says("The state was taken over");
    // The records say 2 again, and the cloud has 3: that shows as drift.
    place.run("drift -sandbox stack").ends(2).says("2 -> 3");

    let mut other = old.clone();
    other["lineage"] = "other".into();
    other["fleetform"]["state"]["genesis"]["lineage"] = "other".into();
    state(&place, &["push", write(&other.to_string())]).ends(1).says("of another lineage: other");
    let mut edited = old.clone();
    edited["resources"] = serde_json::json!([]);
    state(&place, &["push", write(&edited.to_string())])
        .ends(1)
        .says("Error: Not a usable state file")
        .says("its \"resources\" and its \"fleetform\" do not say the same");
    let terraform = r#"{"version": 4, "terraform_version": "1.11.4"}"#;
    state(&place, &["push", write(terraform)]).ends(1).says("is Terraform's own state");
    state(&place, &["push", write("{")]).ends(1).says("is no JSON");

    // Into an empty place, where the same lineage goes on, and the digests of secrets still fit.
    state(&place, &["pull"]).ends(0);
    std::fs::remove_dir_all(place.path().join(".fleetform/sandbox/state")).expect("it is lost");
    state(&place, &["push", write(&pulled)]).ends(0).says("The state was taken over");
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");
}

#[test]
fn records_are_moved_and_forgotten() {
    let place = applied();
    let role = r#"aws_iam_role.main["node"]"#;
    let other = r#"aws_iam_role.other["node"]"#;
    state(&place, &["mv", "-dry-run", role, other]).ends(0).says("Would move").says(other);
    state(&place, &["mv", role, other])
        .ends(0)
        .says(&format!("Move {role} to {other}"))
        .says("Successfully moved 1 object.");
    let list = state(&place, &["list", "aws_iam_role"]).ends(0).out;
    assert_eq!(list.lines().nth(1), Some(other));
    let pulled = json(state(&place, &["pull"]));
    let named = pulled.to_string();
    assert!(!named.contains(r#"aws_iam_role.main[\"node\"]"#), "dependencies follow: {named}");
    state(&place, &["mv", other, role]).ends(0);
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");

    state(&place, &["mv", role, r#"aws_iam_role.main["cluster"]"#])
        .ends(1)
        .says("Error: The address is taken")
        .says("hint: move");
    state(&place, &["mv", "service.chat", "job.chat"])
        .ends(1)
        .says("Error: Cannot be moved there")
        .says("they are of different kinds");
    state(&place, &["mv", "service.caht", "service.talk"])
        .ends(1)
        .says("did you mean service.chat?");

    state(&place, &["rm", "-dry-run", "service.chat"]).ends(0).says("Would remove");
    state(&place, &["rm", "service.chat", "nothing.here"]).ends(1).says("No such address");
    let budget = "kubernetes_pod_disruption_budget.chat";
    let census = place.run("sandbox census stack").ends(0).out;
    state(&place, &["rm", budget]).ends(0).says("Successfully removed 1 object from the state.");
    assert_eq!(place.run("sandbox census stack").ends(0).out, census, "nothing was destroyed");
    place.run("plan -sandbox -detailed-exitcode stack").ends(2).says("1 to add, 0 to change");
}

#[test]
fn damage_is_named_with_its_file_and_entry() {
    let place = applied();
    place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(0);
    state(&place, &["verify"]).ends(0).says("The state is whole.");
    assert_eq!(json(state(&place, &["verify", "-json"]))["whole"], true);
    let log = place.path().join(".fleetform/sandbox/state/log");
    let mut batches: Vec<_> = std::fs::read_dir(&log)
        .expect("a log")
        .map(|entry| entry.expect("a file").path())
        .collect();
    batches.sort();
    let number = |path: &std::path::Path| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        name.parse::<u64>().expect("a number")
    };
    for path in [&batches[1], &batches[4]] {
        let text = std::fs::read_to_string(path).expect("a batch");
        let flipped = text.replacen("\"time\":\"2", "\"time\":\"3", 1);
        assert_ne!(text, flipped);
        std::fs::write(path, flipped).expect("written");
    }
    let mut ran = state(&place, &["verify"]).ends(1);
    for path in [&batches[1], &batches[4]] {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        // The path may be wrapped; its last part is not.
        ran = ran.says(&name).says(&format!("entry {} does not match", number(path)));
    }
    let damages = json_of(state(&place, &["verify", "-json"]).ends(1));
    assert_eq!(damages["damages"].as_array().map(Vec::len), Some(2), "{damages}");
    assert_eq!(damages["damages"][0]["entry"], number(&batches[1]));
    place.run("plan -sandbox stack").ends(1).says("The state cannot be read");
    std::fs::remove_file(&batches[6]).expect("removed");
    let damages = json_of(state(&place, &["verify", "-json"]).ends(1));
    assert_eq!(damages["damages"][2]["entry"], number(&batches[6]), "{damages}");
    let empty = Place::with(CHAT);
    state(&empty, &["verify"]).ends(0).says("The state is empty");
}

fn json_of(ran: Ran) -> Json {
    serde_json::from_str(&ran.out).expect("JSON")
}

/// The name of the run that wrote the state's n-th history line, beginning with 0.
fn run_of(place: &Place, n: usize) -> String {
    let runs = json(state(place, &["history", "-json"]));
    runs[n]["run"].as_str().expect("a name").to_owned()
}

#[test]
fn a_rollback_is_a_plan_that_goes_back() {
    let place = applied();
    let first = run_of(&place, 0);
    place.run("apply -sandbox -auto-approve -var replicas=3 -var token=newer stack").ends(0);
    let serial = json(state(&place, &["pull"]))["serial"].clone();

    // The secret of then is what the stack gives by default: it is known, and goes back too.
    state(&place, &["rollback", &first, "-out=back"])
        .ends(0)
        .says("This plan goes back to what was after entry")
        .says("~ replicas = 3 -> 2")
        .says("# kubernetes_secret.chat[\"aws/us-east-1\"] will be updated in-place");
    assert_eq!(json(state(&place, &["pull"]))["serial"], serial, "nothing was written");
    place.run("apply back").ends(0).says("0 destroyed.");
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");
    state(&place, &["verify"]).ends(0);
    place.run("apply back").ends(1).says("Error: Saved plan is stale");

    // Where it is not known, the present one stays, and that is said.
    place.run("apply -sandbox -auto-approve -var token=newest stack").ends(0);
    let mut command = place.command("state");
    command.args(["rollback", &first, "-out=back", "-var", "token=newest"]);
    command.args(["-sandbox", "-stack-dir", "stack"]);
    Ran::from(command)
        .ends(0)
        .says("Warning: A secret stays as it is now")
        .says("kubernetes_secret.chat[\"aws/us-east-1\"] had another secret then");
    for text in ["planted-secret-text", "newest"] {
        let plan = std::fs::read_to_string(place.path().with_file_name("back")).expect("a plan");
        assert!(!plan.contains(text), "{text} is in the plan");
    }
    state(&place, &["rollback", "zzz", "-out=back"]).ends(1).says("Error: No such run");
}

#[test]
fn a_rollback_makes_what_was_destroyed_again() {
    let place = Place::of("lepton");
    place.run("apply -sandbox -auto-approve lepton").ends(0);
    place.run("destroy -sandbox -auto-approve lepton").ends(0);
    place.run("sandbox census lepton").ends(0).says("The sandbox is empty.");
    place.run("state rollback -sandbox -stack-dir lepton -out=back 2").ends(0).says("No changes.");
    let history = place.run("state history -sandbox -stack-dir lepton -json").ends(0).out;
    let history: Json = serde_json::from_str(&history).expect("JSON");
    let last = &history[0]["last_entry"];
    place.run(&format!("state rollback -sandbox -stack-dir lepton -out=back {last}")).ends(0);
    place.run("apply back").ends(0);
    // What the clouds compute anew (identities, endpoints) was taken from now.
    place.run("plan -sandbox -detailed-exitcode lepton").ends(0).says("No changes.");
}

/// Loses the state, and leaves the clouds as they are.
fn lose(place: &Place) {
    let state = place.path().join(".fleetform/sandbox/state");
    std::fs::remove_dir_all(state).expect("a state was there");
}

#[test]
fn a_lost_state_is_rebuilt_from_the_tags_of_three_clouds() {
    let place = Place::of("lepton");
    place.run("apply -sandbox -auto-approve lepton").ends(0);
    let verb = |words: &str| place.run(&format!("state {words} -sandbox -stack-dir lepton"));
    let records = verb("list -id").ends(0).out;
    let outputs = place.run("output -sandbox -stack-dir lepton -json");
    verb("rebuild").ends(1).says("Error: There is a state");
    lose(&place);
    verb("rebuild -dry-run").ends(0).says("Would recover");
    verb("rebuild").ends(0).says("That is exactly what the stack asks for");
    assert_eq!(verb("list -id").ends(0).out, records);
    assert_eq!(place.run("output -sandbox -stack-dir lepton -json").out, outputs.out);
    place
        .run("plan -sandbox -detailed-exitcode lepton")
        .ends(0)
        .says("No changes. Your infrastructure matches the configuration.");
    place.run("drift -sandbox lepton").ends(0);
    verb("verify").ends(0);
    place.run("destroy -sandbox -auto-approve lepton").ends(0);
    place.run("sandbox census lepton").ends(0).says("The sandbox is empty.");
    lose(&place);
    verb("rebuild").ends(1).says("Error: Nothing to rebuild from");
}

#[test]
fn a_rebuilt_state_knows_where_things_run_and_what_is_protected() {
    // Where it would not be placed now: what keeps it there is that it is there.
    let there = "placement { regions = [\"eu-central-1\"] }\n  protect = true\n  resources {";
    let place = Place::with(
        &CHAT
            .replace("regions = [\"us-east-1\"]", "regions = [\"us-east-1\", \"eu-central-1\"]")
            .replace("resources {", there),
    );
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place.edit("placement { regions = [\"eu-central-1\"] }\n", "");
    place.edit("output", "optimize { move_penalty = 1 }\noutput");
    let plan = || place.run("plan -sandbox -detailed-exitcode stack");
    plan().ends(0).says("No changes.");
    lose(&place);
    // Without a memory it would move.
    let fresh = plan().ends(2).out;
    assert!(fresh.contains("us-east-1") && !fresh.contains("eu-central-1"), "{fresh}");
    state(&place, &["rebuild"]).ends(0).says("That is exactly what the stack asks for");
    plan().ends(0).says("No changes.");
    let records = json(state(&place, &["pull"]));
    let protected = &records["fleetform"]["state"]["protected"];
    let deployment = r#"kubernetes_deployment.chat["aws/eu-central-1"]"#;
    assert_eq!(protected[deployment], "service.chat", "{protected}");
    let refused = place.run("destroy -sandbox -auto-approve stack").ends(1);
    refused.says("Protected from destruction").says(deployment);
    // The block is gone, and what it said goes on to hold.
    let text = std::fs::read_to_string(place.path().join("main.hcl")).expect("a stack");
    let (before, _) = text.split_once("service \"chat\"").expect("the service");
    std::fs::write(place.path().join("main.hcl"), before).expect("written");
    place.run("plan -sandbox stack").ends(1).says("Protected from destruction");
    // Also where the stack asks for more by now: the others are left where they are.
    std::fs::write(place.path().join("main.hcl"), &text).expect("written");
    lose(&place);
    place.edit("default = 2", "default = 3");
    state(&place, &["rebuild"]).ends(0).says("The stack asks for something else.");
    let plan = place.run("plan -sandbox stack").ends(0).says("0 to destroy").out;
    assert!(plan.contains("  chat                    2  aws/eu-central-1"), "{plan}");
}

#[test]
fn of_several_lineages_one_is_rebuilt() {
    let place = Place::with(&CHAT.replace(
        r#"cloud "aws" { regions = ["us-east-1"] }"#,
        r#"cloud "gcp" { regions = ["us-central1"] }"#,
    ));
    place.run("apply -sandbox -auto-approve stack").ends(0);
    let mine = json(state(&place, &["pull"]))["lineage"].as_str().expect("a lineage").to_owned();
    place.environment("theirs");
    place.run("apply -sandbox -auto-approve -env theirs stack").ends(0);
    lose(&place);
    state(&place, &["rebuild"])
        .ends(1)
        .says("Error: Several lineages")
        .says(&mine)
        .says("hint: say which one this is: -lineage=LINEAGE");
    state(&place, &["rebuild", "-lineage=nobodys"]).ends(1).says("Error: No such lineage");
    state(&place, &["rebuild", &format!("-lineage={mine}")]).ends(0);
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");
}

#[test]
fn what_is_tainted_is_made_again_unless_that_is_lifted() {
    let place = applied();
    let deployment = r#"kubernetes_deployment.chat["aws/us-east-1"]"#;
    let mut pulled = json(state(&place, &["pull"]));
    pulled["fleetform"]["state"]["records"][deployment]["tainted"] = true.into();
    let resources = pulled["resources"].as_array_mut().expect("resources").iter_mut();
    for resource in resources.filter(|resource| resource["type"] == "kubernetes_deployment") {
        resource["instances"][0]["status"] = "tainted".into();
    }
    let file = place.path().with_file_name("tainted.json");
    std::fs::write(file, pulled.to_string()).expect("written");
    state(&place, &["push", "-force", "tainted.json"]).ends(0);
    state(&place, &["show", deployment]).ends(0).says(&format!("# {deployment}: (tainted)"));
    let pulled = json(state(&place, &["pull"])).to_string();
    assert!(pulled.contains("\"status\":\"tainted\""), "{pulled}");
    place
        .run("plan -sandbox -out=p stack")
        .ends(0)
        .says(&format!("# {deployment} is tainted, so must be replaced"))
        .says("Plan: 1 to add, 0 to change, 1 to destroy.");
    let shown = place.run("show -json p").ends(0).out;
    assert!(shown.contains("replace_because_tainted"), "{shown}");
    state(&place, &["untaint", "service.chat"]).ends(0).says(deployment);
    state(&place, &["untaint", "service.chat"]).ends(0).says("None of these objects is tainted.");
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");
}

#[test]
fn a_refresh_only_plan_records_and_changes_nothing() {
    let place = applied();
    place.run("plan -sandbox -refresh-only -detailed-exitcode stack").ends(0).says("No changes.");
    let old = state(&place, &["pull"]).ends(0).out;
    place.run("apply -sandbox -auto-approve -var replicas=3 stack").ends(0);
    std::fs::write(place.path().with_file_name("old.json"), old).expect("written");
    state(&place, &["push", "-force", "old.json"]).ends(0);
    let deployment = r#"kubernetes_deployment.chat["aws/us-east-1"]"#;
    place
        .run("plan -sandbox -refresh-only -detailed-exitcode -out=p stack")
        .ends(2)
        .says(&format!("# {deployment} has changed"))
        .says("This is a refresh-only plan");
    place.run("drift -sandbox stack").ends(2);
    place.run("apply p").ends(0).says("0 added, 0 changed, 0 destroyed.");
    place.run("drift -sandbox stack").ends(0);
    state(&place, &["show", deployment]).ends(0).says("replicas                = 3");
    place
        .run("plan -sandbox -refresh-only -destroy stack")
        .ends(1)
        .says("Error: Incompatible options")
        .says("it cannot go with -destroy");
    place
        .run("plan -sandbox -generate-config-out=x.hcl stack")
        .ends(1)
        .says("Error: Nothing to generate");
}

#[test]
fn events_go_into_a_file_beside_the_text() {
    let place = applied();
    let shown = place.run("plan -sandbox -json-into=events -var replicas=3 stack").ends(0);
    assert!(shown.out.contains("Plan: 0 to add, 2 to change, 0 to destroy."), "{}", shown.out);
    let events = std::fs::read_to_string(place.path().with_file_name("events")).expect("events");
    let types: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).expect("JSON")["type"].to_string())
        .collect();
    assert_eq!(types[0], "\"version\"");
    for kind in ["refresh_complete", "planned_change", "change_summary"] {
        assert!(types.contains(&format!("{kind:?}")), "{kind} is not in {types:?}");
    }
    assert!(!events.contains("planted-secret-text"));
    place.run("plan -sandbox -json-into=no/such/dir stack").ends(1).says("Cannot write the events");
}
