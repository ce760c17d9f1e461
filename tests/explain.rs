//! `explain` and `placement`: why, and what if.

mod common;

use common::Place;

#[test]
fn a_workload_is_explained_with_true_costs() {
    let place = Place::of("lepton");
    let told = place.run("explain -sandbox service.search lepton").ends(0);
    // A replica costs 1,970 on Google Cloud, 1,600 on AWS and 1,230 on Azure: what moves to Azure saves
    // the difference.
    for text in [
        "4  azure/eastus",
        "everything together costs\n$40,120.00 a month, and no other placement",
        "(lepton/main.hcl:52): 1 more GPU saves $740.00 a month",
        "(lepton/main.hcl:38): 1 more GPU saves $370.00 a month",
    ] {
        assert!(told.out.contains(text), "{text:?} is not in\n{}", told.out);
    }
    // The same in JSON, and once more the same.
    let json = place.run("explain -sandbox -json search lepton").ends(0);
    let parsed: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(parsed["limits"][0]["saving_month"], 740.0);
    assert_eq!(place.run("explain -sandbox -json search lepton").out, json.out);

    place
        .run("explain -sandbox service.serach lepton")
        .ends(1)
        .says("Nothing of that name to explain")
        .says("did you mean `service.search`?");
}

#[test]
fn a_change_is_traced_to_the_line_that_asks_for_it() {
    let place = Place::of("quickstart");
    place.run("apply -sandbox -auto-approve quickstart").ends(0);
    let listed =
        place.run("state list -sandbox -stack-dir quickstart kubernetes_deployment").ends(0);
    let address = listed.out.lines().next().expect("a deployment").to_owned();
    place
        .run(&format!("explain -sandbox {address} quickstart"))
        .ends(0)
        .says("as before")
        .says("So nothing changes:");
    let text = std::fs::read_to_string(place.path().join("main.hcl")).expect("the stack");
    let replicas = text.lines().find(|line| line.contains("replicas =")).expect("replicas");
    place.edit(replicas, "  replicas = 3");
    place
        .run(&format!("explain -sandbox {address} quickstart"))
        .ends(0)
        .says("main.hcl:")
        .says("asks for 3 replicas, ")
        .says("So this changes:")
        .says("replicas");
}

#[test]
fn other_conditions_are_solved_and_compared() {
    let place = Place::of("lepton");
    place
        .run("placement -sandbox -with capacity:azure/gpus=11 lepton")
        .ends(0)
        .says("$40,120.00 → $39,380.00 a month (-$740.00)");
    place.run("placement -sandbox lepton").ends(0).says("Objective $40,120.00 a month");
    place
        .run("placement -sandbox -without azure/eastus lepton")
        .ends(1)
        .says("No placement satisfies every limit");
    place
        .run("placement -sandbox -without azure/eatsus lepton")
        .ends(1)
        .says("Nothing to go without")
        .says("did you mean `azure/eastus`?");
    place
        .run("placement -sandbox -without * lepton")
        .ends(1)
        .says("No offering is left")
        .says("no offering fits `service.chat`");
    place
        .run("placement -sandbox -budget 40000 lepton")
        .ends(1)
        .says("`optimize` has a budget of $40,000; the cheapest possible placement costs $40,120");
    place
        .run("placement -sandbox -with quota:asure/*/*=1 lepton")
        .ends(1)
        .says("Not a condition")
        .says("the stack has no cloud `asure`");
}

#[test]
fn the_model_is_written_for_other_solvers() {
    let place = Place::of("lepton");
    let model = place.run("placement export -sandbox -format mps lepton").ends(0).out;
    assert!(model.contains("\nROWS\n") && model.ends_with("ENDATA\n"), "{model}");
    assert!(model.contains(" n:azure/eastus/Standard_NC4as_T4_v3/on_demand cost 0\n"), "{model}");
    place.run("placement export -sandbox -out model.mps lepton").ends(0);
    let written = std::fs::read_to_string(place.path().join("../model.mps")).expect("written");
    assert_eq!(written, model);
}
