//! Every example stack: the plan beside it is the plan it gives, and its whole life works on the
//! sandbox.
//!
//! `FLEETFORM_UPDATE_PLANS=1 cargo test --test stacks` writes the plans anew.

mod common;

use std::path::Path;

use common::Place;

fn check(name: &str) {
    let place = Place::of(name);
    let planned = place.run(&format!("plan -sandbox {name}")).ends(0);
    let again = place.run(&format!("plan -sandbox {name}")).ends(0);
    assert_eq!(planned.out, again.out, "two plans of the same input differ");

    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(name).join("plan.txt");
    if std::env::var_os("FLEETFORM_UPDATE_PLANS").is_some() {
        std::fs::write(&kept, &planned.out).expect("written");
    }
    let expected = std::fs::read_to_string(&kept).unwrap_or_default();
    assert!(
        expected == planned.out,
        "stacks/{name}/plan.txt is not the plan that {name} gives:\n{}",
        similar::TextDiff::from_lines(&expected, &planned.out).unified_diff()
    );

    live(&place, name);
    let left = place.run(&format!("sandbox census {name}")).ends(0).out;
    if name == "edge-vision" {
        // A cluster that exists already stays, with what every cluster has: a second life adds nothing.
        live(&place, name);
        assert_eq!(place.run(&format!("sandbox census {name}")).ends(0).out, left);
    } else {
        assert_eq!(left, "The sandbox is empty.\n");
    }
}

/// Applies, looks twice, destroys.
fn live(place: &Place, name: &str) {
    place.run(&format!("apply -sandbox -auto-approve {name}")).ends(0).says("Apply complete!");
    place
        .run(&format!("plan -sandbox -detailed-exitcode {name}"))
        .ends(0)
        .says("No changes. Your infrastructure matches the configuration.");
    place.run(&format!("drift -sandbox {name}")).ends(0);
    place.run(&format!("destroy -sandbox -auto-approve {name}")).ends(0).says("Destroy complete!");
}

#[test]
fn quickstart() {
    check("quickstart");
}

#[test]
fn lepton() {
    check("lepton");
}

#[test]
fn recommender() {
    check("recommender");
}

#[test]
fn risk_scoring() {
    check("risk-scoring");
}

#[test]
fn edge_vision() {
    check("edge-vision");
}

#[test]
fn batch_training() {
    check("batch-training");
}
