//! The exported model, read back by the solver's own reader and solved there.

use std::ffi::CString;

use super::brute_force::random;
use super::support::{World, lepton};
use crate::placement::{mps, solve};

/// What the model in this text costs at least, or `None` where it has no solution.
fn solved(text: &str) -> Option<f64> {
    let file = tempfile::Builder::new().suffix(".mps").tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let path = CString::new(file.path().to_str().expect("a plain path")).expect("no NUL");
    // SAFETY: the handle is made, used and destroyed here; the strings outlive the calls.
    unsafe {
        let highs = highs_sys::Highs_create();
        highs_sys::Highs_setBoolOptionValue(highs, c"output_flag".as_ptr(), 0);
        highs_sys::Highs_setDoubleOptionValue(highs, c"mip_rel_gap".as_ptr(), 0.0);
        assert_eq!(
            highs_sys::Highs_readModel(highs, path.as_ptr()),
            highs_sys::STATUS_OK,
            "{text}"
        );
        highs_sys::Highs_run(highs);
        let is_optimal = highs_sys::Highs_getModelStatus(highs) == highs_sys::MODEL_STATUS_OPTIMAL;
        let cost = highs_sys::Highs_getObjectiveValue(highs);
        highs_sys::Highs_destroy(highs);
        is_optimal.then_some(cost)
    }
}

fn check(world: &World, seed: &str) {
    let Ok(problem) = world.pose() else { return };
    let exported = solved(&mps(&problem));
    match (solve(&problem), exported) {
        (Ok(placement), Some(cost)) => {
            let proof = &placement.proof;
            // Packing is no part of the model: it may cost more than the model says, never less.
            assert!(cost <= proof.objective_month + 1e-4, "{seed}: {cost} {proof:?}");
            if proof.packing_cuts == 0 {
                assert!((cost - proof.objective_month).abs() < 1e-4, "{seed}: {cost} {proof:?}");
            }
        }
        (Err(_), None) => {}
        (Err(errors), Some(cost)) => {
            let is_told = errors.iter().any(|error| error.summary.contains("No placement"));
            assert!(is_told, "{seed}: the model costs {cost}, {errors:?}");
        }
        (Ok(placement), None) => panic!("{seed}: {:?} and no model", placement.proof),
    }
}

#[test]
fn another_reader_of_the_model_finds_the_same_cost() {
    check(&lepton(), "lepton");
    assert!((solved(&mps(&lepton().problem())).expect("it is solved") - 40_120.0).abs() < 1e-6);
    for seed in 0..60 {
        check(&random(seed), &format!("seed {seed}"));
    }
}
