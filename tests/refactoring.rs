//! Plans of a part of a stack; and what is renamed, let go of, taken over and protected: through the
//! program, on the sandbox.

mod common;

use common::{Place, Ran};
use serde_json::Value as Json;

const TWO: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
variable "replicas" {
  type    = number
  default = 2
}
image "x" { source = "ghcr.io/acme/x:1" }
service "chat" {
  image    = image.x
  replicas = var.replicas
  resources { cpus = 1 }
}
service "rank" {
  image    = image.x
  replicas = var.replicas
  resources { cpus = 1 }
}
output "replicas" { value = var.replicas }
"#;

#[test]
fn a_target_takes_along_what_it_needs_and_nothing_else() {
    let place = Place::with(TWO);
    place
        .run("apply -sandbox -auto-approve -target=service.chat stack")
        .ends(0)
        .says("Warning: Resource targeting is in effect")
        .says("Warning: Applied changes may be incomplete");
    let list = place.run("state list -sandbox -stack-dir stack").ends(0).out;
    assert!(list.contains("kubernetes_deployment.chat"), "{list}");
    assert!(list.contains("aws_eks_cluster.main"), "{list}");
    assert!(!list.contains(".rank"), "{list}");
    let rest = place.run("plan -sandbox -detailed-exitcode stack").ends(2).out;
    assert!(
        rest.contains("kubernetes_deployment.rank[\"aws/us-east-1\"] will be created"),
        "{rest}"
    );
    place.run("apply -sandbox -auto-approve stack").ends(0);

    place.run("plan -sandbox -out=part.plan -var replicas=3 -exclude service.rank stack").ends(0);
    place.run("apply part.plan").ends(0).says("Applied changes may be incomplete");
    let rest = place.run("plan -sandbox -detailed-exitcode -var replicas=3 stack").ends(2).out;
    assert!(!rest.contains("kubernetes_deployment.chat"), "{rest}");
    assert!(rest.contains("kubernetes_deployment.rank"), "{rest}");

    place.run("destroy -sandbox -auto-approve -target=service.rank stack").ends(0);
    let list = place.run("state list -sandbox -stack-dir stack").ends(0).out;
    assert!(list.contains(".chat") && !list.contains(".rank"), "{list}");
    place.run("destroy -sandbox -auto-approve stack").ends(0);
    place.run("sandbox census stack").ends(0).says("The sandbox is empty.");
}

#[test]
fn a_target_that_names_nothing_is_refused() {
    let place = Place::with(TWO);
    place
        .run("plan -sandbox -target=service.caht stack")
        .ends(1)
        .says("Error: No such address")
        .says("The plan has nothing that service.caht names.")
        .says("hint: did you mean service.chat?");
    place.run("plan -sandbox -exclude=nonsense stack").ends(1).says("Error: Not an address");
}

const CHAT: &str = r#"kubernetes_deployment.chat["aws/us-east-1"]"#;
const TALK: &str = r#"kubernetes_deployment.talk["aws/us-east-1"]"#;
const RANK: &str = r#"kubernetes_deployment.rank["aws/us-east-1"]"#;

/// The service `rank` of the stack.
const RANK_BLOCK: &str = r#"service "rank" {
  image    = image.x
  replicas = var.replicas
  resources { cpus = 1 }
}
"#;

fn applied() -> Place {
    let place = Place::with(TWO);
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place
}

/// Adds a block to the stack.
fn add(place: &Place, block: &str) {
    place.edit("image \"x\"", &format!("{block}\nimage \"x\""));
}

/// Runs with words that may hold spaces and quotes.
fn run(place: &Place, verb: &str, words: &[&str]) -> Ran {
    let mut command = place.command(verb);
    command.args(words).args(["-sandbox", "-stack-dir", "stack"]);
    command.into()
}

/// The change of a saved plan at an address.
fn change(place: &Place, plan: &str, address: &str) -> Json {
    let shown = place.run(&format!("show -json {plan}")).ends(0).out;
    let shown: Json = serde_json::from_str(&shown).expect("JSON");
    let changes = shown["resource_changes"].as_array().expect("changes");
    changes.iter().find(|change| change["address"] == address).expect(address).clone()
}

/// A plan of now has nothing to do, and the state is whole.
fn nothing_is_left_to_do(place: &Place) {
    place.run("plan -sandbox -detailed-exitcode stack").ends(0).says("No changes.");
    run(place, "state", &["verify"]).ends(0);
}

#[test]
fn a_service_that_moves_keeps_its_seats_and_its_objects_are_replaced() {
    let place = applied();
    place.edit("service \"chat\"", "service \"talk\"");
    add(&place, "moved {\n  from = service.chat\n  to   = service.talk\n}");
    // Its objects are called after it, so they cannot just be renamed, and the plan says so.
    place
        .run("plan -sandbox -out=p stack")
        .ends(0)
        .says(&format!("# {TALK} must be replaced\n  # (moved from {CHAT})"))
        .says("name        = \"chat\" -> \"talk\" # forces replacement");
    let planned = change(&place, "p", TALK);
    assert_eq!(planned["previous_address"], CHAT);
    assert_eq!(planned["change"]["actions"], serde_json::json!(["delete", "create"]));
    place.run("apply p").ends(0);
    let list = run(&place, "state", &["list"]).ends(0).out;
    assert!(list.contains(TALK) && !list.contains(".chat"), "{list}");
    nothing_is_left_to_do(&place);

    // The saved plan was for another state of things.
    place.run("apply p").ends(1).says("Error: Saved plan is stale");
}

#[test]
fn a_record_moves_without_any_call_through_a_chain() {
    let place = applied();
    let (now, old) = (r#"aws_iam_role.main["cluster"]"#, r#"aws_iam_role.old["cluster"]"#);
    run(&place, "state", &["mv", now, old]).ends(0);
    add(&place, "moved {\n  from = aws_iam_role.old\n  to   = aws_iam_role.older\n}");
    add(&place, "moved {\n  from = aws_iam_role.older\n  to   = aws_iam_role.main\n}");
    let before = place.run("sandbox census stack").ends(0).out;
    place
        .run("plan -sandbox -detailed-exitcode -out=p stack")
        .ends(2)
        .says(&format!("# {old} has moved to {now}"))
        .says("Plan: 0 to add, 0 to change, 0 to destroy.");
    let planned = change(&place, "p", now);
    assert_eq!(planned["previous_address"], old);
    assert_eq!(planned["change"]["actions"], serde_json::json!(["no-op"]));
    let events = place.run("plan -sandbox -json stack").ends(0).out;
    let moves = events.lines().filter(|line| line.contains("\"action\":\"move\""));
    assert_eq!(moves.count(), 1, "{events}");
    place.run("apply p").ends(0).says("0 added, 0 changed, 0 destroyed");
    assert_eq!(place.run("sandbox census stack").ends(0).out, before);
    nothing_is_left_to_do(&place);
}

#[test]
fn moves_that_cannot_be_are_refused_with_their_lines() {
    let place = applied();
    // Both are recorded, and only one can be `talk`.
    place.edit(RANK_BLOCK, "");
    add(&place, "moved {\n  from = service.rank\n  to   = service.chat\n}");
    place
        .run("plan -sandbox stack")
        .ends(1)
        .says("Error: The address is taken")
        .says(&format!("{RANK} cannot become\n{CHAT}: the state has a record there already."))
        .says("from = service.rank");
    let place = applied();
    add(
        &place,
        "moved {\n  from = aws_iam_role.main[\"node\"]\n  to   = aws_iam_role.main[\"nodes\"]\n}",
    );
    place
        .run("plan -sandbox stack")
        .ends(1)
        .says("Error: Moved object still exists")
        .says("The stack still makes aws_iam_role.main[\"node\"].");
}

#[test]
fn what_is_removed_without_destruction_goes_on_to_exist_and_comes_back_by_import() {
    let place = applied();
    // Of the cloud: in the cluster, deployments may be rolled out anew. A pool that takes in what moves is
    // updated.
    let objects = |place: &Place| -> Vec<String> {
        let census = place.run("sandbox census stack").ends(0).out;
        let objects = census.lines().filter(|line| line.contains("aws/"));
        objects.filter(|line| !line.ends_with("/updates")).map(str::to_owned).collect()
    };
    let before = objects(&place);
    place.edit(RANK_BLOCK, "removed {\n  from    = service.rank\n  destroy = false\n}\n");
    place
        .run("plan -sandbox -out=p stack")
        .ends(0)
        .says(&format!(
            "# {RANK} will no longer be managed by Fleetform, but will not be destroyed"
        ))
        .says("\n . resource \"kubernetes_deployment\" \"rank\" {")
        .says("# (because something that goes on to exist needs it)")
        .says("Plan: 0 to add, 2 to change, 0 to destroy.")
        .says("Warning: Some objects will no longer be managed by Fleetform");
    let forget = serde_json::json!(["forget"]);
    assert_eq!(change(&place, "p", RANK)["change"]["actions"], forget);
    place.run("apply p").ends(0);
    assert_eq!(objects(&place), before, "nothing was destroyed");
    nothing_is_left_to_do(&place);
    let list = run(&place, "state", &["list"]).ends(0).out;
    assert!(!list.contains(".rank"), "{list}");

    // Back again: one object by the verb, the others by blocks.
    place.edit("removed {\n  from    = service.rank\n  destroy = false\n}\n", RANK_BLOCK);
    run(&place, "import", &[RANK, "stack/rank"]).ends(0).says("Import successful!");
    run(&place, "import", &[RANK, "stack/rank"]).ends(1).says("Error: The address is taken");
    let budget = r#"kubernetes_pod_disruption_budget.rank["aws/us-east-1"]"#;
    run(&place, "import", &[budget, "stack/nobody"])
        .ends(1)
        .says("Error: Cannot import non-existent remote object");
    run(&place, "import", &["kubernetes_service.rank", "stack/rank"])
        .ends(1)
        .says("Error: Import target does not exist");
    let pool = r#"aws_eks_node_group.main["us-east-1/c6a.xlarge/on_demand"]"#;
    add(&place, &format!("import {{\n  to = {budget}\n  id = \"stack/rank\"\n}}"));
    add(&place, &format!("import {{\n  to = {pool}\n  id = \"stack:c6a-xlarge-on-demand\"\n}}"));
    place
        .run("plan -sandbox -out=p stack")
        .ends(0)
        .says(&format!("# {budget} will be imported"))
        .says("Plan: 2 to import, 0 to add, 2 to change, 0 to destroy.");
    let planned = change(&place, "p", budget);
    assert_eq!(planned["change"]["importing"]["id"], "stack/rank");
    place.run("apply p").ends(0).says("Resources: 2 imported, 0 added, 2 changed, 0 destroyed.");
    assert_eq!(objects(&place), before);
    nothing_is_left_to_do(&place);
}

#[test]
fn what_another_stack_manages_is_taken_over_only_when_told() {
    let place = Place::with(
        &TWO.replace(
            "regions = [\"us-east-1\"] }",
            "regions = [\"us-east-1\"]\n  cluster {\n    name = \"shared\"\n  }\n}",
        )
        .replace("cloud \"aws\" { ", "cloud \"aws\" {\n  "),
    );
    place.environment("theirs");
    place.run("apply -sandbox -auto-approve -env theirs stack").ends(0);
    let cluster = r#"aws_eks_cluster.main["us-east-1"]"#;
    let refused = run(&place, "import", &[cluster, "shared"])
        .ends(1)
        .says("Error: The object belongs to another stack");
    let lineage = refused.err.split("-lineage=").nth(1).expect("the hint names it");
    let lineage = lineage.split_whitespace().next().expect("a lineage");
    let block = format!(
        "import {{\n  to      = {cluster}\n  id      = \"shared\"\n  lineage = \"{lineage}\"\n}}"
    );
    add(&place, &block);
    // The tags become ours in the same plan.
    place
        .run("plan -sandbox -out=p stack")
        .ends(0)
        .says("# (imported from \"shared\")")
        .says(&format!("\"fleetform:lineage\" = \"{lineage}\" ->"))
        .says("Plan: 1 to import");
}

#[test]
fn protection_outlives_its_block_and_is_lifted_first() {
    let place = Place::with(TWO);
    place.edit("service \"rank\" {", "service \"rank\" {\n  protect = true");
    let protected = RANK_BLOCK.replace("{\n  image ", "{\n  protect = true\n  image ");
    place
        .run("plan -sandbox stack")
        .ends(0)
        .says(&format!("Changes to Protection:\n  + {RANK} is protected by service.rank"));
    place.run("apply -sandbox -auto-approve stack").ends(0);
    nothing_is_left_to_do(&place);
    run(&place, "state", &["show", RANK])
        .ends(0)
        .says("# protected from destruction by service.rank");
    let refused = "Error: Protected from destruction";
    place.run("destroy -sandbox -auto-approve stack").ends(1).says(refused).says("protect = true");
    let replace = ["-replace", r#"aws_eks_cluster.main["us-east-1"]"#, "-sandbox", "stack"];
    let mut command = place.command("plan");
    command.args(replace);
    Ran::from(command).ends(1).says(&format!("{RANK} is protected"));

    place.edit(&protected, "");
    place
        .run("plan -sandbox stack")
        .ends(1)
        .says(refused)
        .says("hint: service.rank is not in the stack any more");
    // Without destroying it, it may go its own way.
    add(&place, "removed {\n  from    = service.rank\n  destroy = false\n}");
    place.run("plan -sandbox stack").ends(0).says("will no longer be managed");
    place.edit("removed {\n  from    = service.rank\n  destroy = false\n}", RANK_BLOCK);
    nothing_is_left_to_do(&place);
    place.edit("service \"rank\" {", "service \"rank\" {\n  protect = false");
    place
        .run("apply -sandbox -auto-approve stack")
        .ends(0)
        .says(&format!("- {RANK} may be destroyed again"));
    place.run("destroy -sandbox -auto-approve stack").ends(0);
}

#[test]
fn a_saved_plan_does_not_destroy_what_was_protected_since() {
    let place = applied();
    place.run("plan -sandbox -destroy -out=p stack").ends(0);
    place.edit("service \"rank\" {", "service \"rank\" {\n  protect = true");
    place.run("apply -sandbox -auto-approve stack").ends(0);
    place.edit("service \"rank\" {\n  protect = true", "service \"rank\" {");
    place.run("apply p").ends(1).says("Error: Protected from destruction");
}
