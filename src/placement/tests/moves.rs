//! What runs already stays where it is, unless a move pays.

use std::collections::BTreeMap;

use super::brute_force::{random, random_load, reprice};
use super::support::*;
use crate::placement::{Placement, check};

/// Replicas by workload and offering, and nodes by offering.
type Whole = (Vec<(String, String, u32)>, BTreeMap<String, usize>);

fn whole(placement: &Placement) -> Whole {
    let seats = placement.seats.iter();
    let seats = seats.map(|s| (s.workload.clone(), s.offering.clone(), s.replicas));
    let nodes = placement.rentals.iter();
    (seats.collect(), nodes.map(|(id, rental)| (id.clone(), rental.nodes.len())).collect())
}

fn seats(placement: &Placement) -> Vec<(&str, &str, u32)> {
    let seats = placement.seats.iter();
    seats.map(|s| (s.workload.as_str(), s.offering.as_str(), s.replicas)).collect()
}

const HERE: &str = "aws/r/one/on_demand";
const THERE: &str = "gcp/r/one/on_demand";

/// A node with one GPU at a dollar an hour here and at this price there.
fn two(services: &[(&str, u32)], price_there: f64) -> World {
    let mut world = world(
        vec![cloud("aws"), cloud("gcp")],
        services.iter().map(|(name, replicas)| service(name, *replicas, 1)).collect(),
        vec![gpu(HERE, "L4", 1, 24.0, 1.0), gpu(THERE, "L4", 1, 24.0, price_there)],
    );
    world.stack.optimize.move_penalty = 0.05;
    world
}

/// The second world, where the placement of the first one runs.
fn after(first: &World, mut then: World) -> World {
    then.last = Some(first.solve());
    then
}

#[test]
fn random_prices_of_two_per_cent_move_nothing() {
    let mut kept = 0;
    for seed in 0..400 {
        let world = if seed % 2 == 0 { random(seed) } else { random_load(seed) };
        let Ok(before) = world.pose().and_then(|problem| crate::placement::solve(&problem)) else {
            continue;
        };
        let mut now = reprice(&world, seed, 2);
        now.last = Some(before.clone());
        now.stack.optimize.move_penalty = 0.05;
        let placement = now.solve();
        assert_eq!(whole(&placement), whole(&before), "seed {seed}");
        assert_eq!(placement.proof.moves_month, 0.0, "seed {seed}");
        kept += 1;
    }
    assert!(kept > 200, "{kept}");
}

#[test]
fn a_move_happens_only_when_it_pays() {
    let first = two(&[("chat", 2)], 2.0);
    for (price_there, expected) in [(0.96, HERE), (0.951, HERE), (0.949, THERE), (0.5, THERE)] {
        let now = after(&first, two(&[("chat", 2)], price_there));
        let placement = now.solve();
        assert_eq!(seats(&placement), [("chat", expected, 2)], "{price_there}");
        let moves = if expected == HERE { 0.0 } else { 0.05 * 2.0 * 730.0 };
        assert!((placement.proof.moves_month - moves).abs() < 1e-6, "{:?}", placement.proof);
        let cost = placement.cost.total_month;
        assert!((placement.proof.objective_month - cost - moves).abs() < 1e-6);
    }
    // Free moves take the least saving; and none where there is none.
    let mut now = after(&first, two(&[("chat", 2)], 0.999));
    now.stack.optimize.move_penalty = 0.0;
    assert_eq!(seats(&now.solve()), [("chat", THERE, 2)]);
    let mut now = after(&two(&[("chat", 2)], 0.5), two(&[("chat", 2)], 1.0));
    now.stack.optimize.move_penalty = 0.0;
    assert_eq!(seats(&now.solve()), [("chat", THERE, 2)]);
}

#[test]
fn more_replicas_move_nobody_else() {
    let services = |chat| [("apart", 2), ("chat", chat), ("web", 1)];
    let first = two(&services(3), 1.0);
    let before = first.solve();
    let now = after(&first, two(&services(5), 1.0)).solve();
    for name in ["apart", "web"] {
        let of = |placement: &Placement| {
            let seats = whole(placement).0;
            seats.into_iter().filter(|(workload, ..)| workload == name).collect::<Vec<_>>()
        };
        assert_eq!(of(&now), of(&before), "{name}");
    }
    assert_eq!(now.proof.moves_month, 0.0);
    // The same where the new ones find a cheaper place: those that run stay.
    let now = after(&first, two(&services(5), 0.97)).solve();
    let chat: Vec<_> = seats(&now).into_iter().filter(|(name, ..)| *name == "chat").collect();
    assert_eq!(chat, [("chat", HERE, 3), ("chat", THERE, 2)]);
}

#[test]
fn what_ends_is_no_move() {
    // Two services of the same kind are dealt their seats together: each keeps its own.
    let first = two(&[("apart", 3), ("chat", 3)], 1.0);
    let now = after(&first, two(&[("apart", 1), ("chat", 5)], 1.0)).solve();
    assert_eq!(seats(&now), [("apart", HERE, 1), ("chat", HERE, 5)]);
    assert_eq!(now.proof.moves_month, 0.0);
    let now = after(&first, two(&[("chat", 1)], 0.96)).solve();
    assert_eq!(seats(&now), [("chat", HERE, 1)]);
    assert_eq!(now.proof.moves_month, 0.0);
    // A replica whose node has no other use now is judged by what it takes of one.
    let now = after(&first, two(&[("chat", 1)], 0.9)).solve();
    assert_eq!(seats(&now), [("chat", THERE, 1)]);
    assert!((now.proof.moves_month - 0.05 * 730.0).abs() < 1e-6, "{:?}", now.proof);
}

#[test]
fn forced_moves_are_free() {
    let first = two(&[("chat", 2)], 2.0);
    let mut gone = after(&first, two(&[("chat", 2)], 2.0));
    gone.offerings.remove("aws");
    let placement = gone.solve();
    assert_eq!(seats(&placement), [("chat", THERE, 2)]);
    assert_eq!(placement.proof.moves_month, 0.0);
    // A rule that keeps it away now is as good.
    let mut kept_away = after(&first, two(&[("chat", 2)], 2.0));
    let chat = kept_away.stack.workloads.get_mut("chat").expect("chat");
    chat.placement.clouds = vec!["gcp".to_owned()];
    assert_eq!(kept_away.solve().proof.moves_month, 0.0);
    // A name that nobody had before has nothing to leave.
    let renamed = after(&first, two(&[("talk", 2)], 0.99)).solve();
    assert_eq!(seats(&renamed), [("talk", THERE, 2)]);
}

#[test]
fn a_budget_moves_what_it_must() {
    let first = two(&[("chat", 2)], 2.0);
    let mut now = after(&first, two(&[("chat", 2)], 0.97));
    now.stack.optimize.budget_month = Some(2.0 * 730.0 * 0.98);
    assert_eq!(seats(&now.solve()), [("chat", THERE, 2)]);
    now.stack.optimize.budget_month = Some(2.0 * 730.0 * 0.9);
    assert!(
        now.refusal().contains("the cheapest possible placement costs $1,416.20"),
        "{}",
        now.refusal()
    );
}

#[test]
fn lies_about_moves_are_found() {
    let first = two(&[("chat", 2)], 2.0);
    let now = after(&first, two(&[("chat", 2)], 0.5));
    let (problem, mut placement) = (now.problem(), now.solve());
    assert_eq!(check(&problem, &placement), Ok(()));
    placement.proof.moves_month = 0.0;
    let broken = check(&problem, &placement).expect_err("a lie").join("; ");
    assert!(broken.contains("moves are charged 73, not 0"), "{broken}");
}
