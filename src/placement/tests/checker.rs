//! The independent check notices every kind of lie.

use super::support::*;
use crate::config::{SpotRules, Spread, SpreadOver};
use crate::placement::{Placement, check};

const CHEAP: &str = "aws/r1/two/on_demand";
const DEAR: &str = "gcp/r1/two/on_demand";

/// A problem with one of everything, and its placement.
fn honest() -> (World, Placement) {
    let mut aws = cloud("aws");
    aws.quotas.push(fleetform_contract::Quota { region: None, gpu_type: None, max_gpus: 4 });
    aws.capacity.nodes = Some(2);
    let mut gcp = cloud("gcp");
    gcp.rate_card = Some(fleetform_contract::RateCard { gpu_month: 2_000.0, ..Default::default() });
    let mut a = service("a", 4, 1);
    a.placement.markets.push(SPOT);
    a.placement.spot = Some(SpotRules { max_share: Some(0.5), base_on_demand: 0 });
    let spread = Spread { over: SpreadOver::Cloud, min: Some(2), max_share: Some(0.75) };
    a.placement.spread.push(spread);
    let mut b = service("b", 1, 1);
    b.needs.cpus = 1.0;
    b.placement.split = false;
    let mut world = world(
        vec![aws, gcp],
        vec![a, b],
        vec![
            gpu(CHEAP, "L4", 2, 24.0, 1.0),
            gpu("aws/r2/two/spot", "L4", 2, 24.0, 0.3),
            gpu(DEAR, "L4", 2, 24.0, 3.0),
        ],
    );
    world.control_plane_price_hour.insert("aws".to_owned(), 0.1);
    world.stack.optimize.budget_month = Some(10_000.0);
    let placement = world.solve();
    (world, placement)
}

#[test]
fn lies_are_found() {
    let (world, placement) = honest();
    let problem = world.problem();
    assert_eq!(check(&problem, &placement), Ok(()));
    type Lie = fn(&mut Placement);
    let lies: Vec<(&str, Lie, &str)> = vec![
        ("a replica without a seat", |p| p.seats[0].replicas -= 1, "seats for 4 replicas"),
        ("a seat too many", |p| p.seats[0].replicas += 1, "seats for 4 replicas"),
        ("seats that are not packed", |p| p.rentals.clear(), "whose nodes hold 0"),
        ("a stranger", |p| p.seats[0].workload = "c".to_owned(), "no workload of the problem"),
        ("another order", |p| p.seats.reverse(), "not in order"),
        (
            "an unknown offering",
            |p| {
                let rental = p.rentals[CHEAP].clone();
                p.rentals.insert("aws/r9/two/on_demand".to_owned(), rental);
            },
            "is no offering of the problem",
        ),
        (
            "everything on one node",
            |p| {
                let rental = p.rentals.get_mut(CHEAP).expect("rented");
                let all = &mut rental.nodes[0];
                *all.entry("b".to_owned()).or_insert(0) += 2;
            },
            "GPUs of 2",
        ),
        (
            "an empty node",
            |p| p.rentals.get_mut(CHEAP).expect("rented").nodes.push(Default::default()),
            "is empty",
        ),
        (
            "another price",
            |p| p.rentals.get_mut(CHEAP).expect("rented").price_hour = 0.5,
            "something else than what is offered",
        ),
        (
            "another machine",
            |p| p.rentals.get_mut(CHEAP).expect("rented").offering.gpus = 16,
            "something else than what is offered",
        ),
        (
            "a reservation nobody has",
            |p| p.rentals.get_mut(CHEAP).expect("rented").reserved_nodes = 1,
            "0 reserved nodes",
        ),
        ("a wrong total", |p| p.cost.total_month -= 1.0, "the total is"),
        ("wrong nodes", |p| p.cost.nodes_month -= 1.0, "the nodes cost"),
        ("a forgotten site", |p| p.cost.sites_month.clear(), "the sites are"),
        (
            "a cheaper site",
            |p| *p.cost.sites_month.get_mut("aws/r1").expect("in use") = 0.0,
            "site aws/r1 costs",
        ),
        (
            "a smaller charge",
            |p| *p.cost.rate_card_month.get_mut("gcp").expect("in use") = 1.0,
            "the rate card of gcp charges",
        ),
        ("an unfair share", |p| p.seats[0].cost_month += 5.0, "the shares of the seats"),
        ("an objective of its own", |p| p.proof.objective_month += 1.0, "the objective is"),
        ("a bound above", |p| p.proof.bound_month += 10.0, "is above the objective"),
        ("a smaller gap", |p| p.proof.gap += 0.5, "the gap is"),
    ];
    for (name, lie, words) in lies {
        let mut placement = placement.clone();
        lie(&mut placement);
        let broken = check(&problem, &placement).expect_err(name).join("\n");
        assert!(broken.contains(words), "{name}: {broken}");
    }
}

#[test]
fn limits_are_checked() {
    // The placement of a lenient stack, against the same stack with one limit more.
    type Change = fn(&mut World);
    let changes: Vec<(Change, &str)> = vec![
        (|w| w.stack.clouds.get_mut("aws").expect("aws").quotas[0].max_gpus = 1, "GPUs, at most 1"),
        (
            |w| w.stack.clouds.get_mut("aws").expect("aws").capacity.nodes = Some(1),
            "nodes, at most 1",
        ),
        (
            |w| w.stack.clouds.get_mut("aws").expect("aws").capacity.gpus = Some(1.0),
            "GPUs, at most 1",
        ),
        (
            |w| w.stack.clouds.get_mut("aws").expect("aws").capacity.cpus = Some(0.5),
            "CPUs, at most 0.5",
        ),
        (
            |w| {
                for offering in w.offerings.get_mut("aws").expect("aws") {
                    offering.max_nodes = Some(0);
                }
            },
            "nodes, at most 0",
        ),
        (|w| w.stack.optimize.budget_month = Some(1.0), "dollars a month, at most 1"),
        (
            |w| {
                let spread = Spread { over: SpreadOver::Region, min: Some(4), max_share: None };
                w.stack.workloads.get_mut("a").expect("a").placement.spread = vec![spread];
            },
            "places, at least 4",
        ),
        (
            |w| {
                let spread = Spread { over: SpreadOver::Cloud, min: None, max_share: Some(0.25) };
                w.stack.workloads.get_mut("a").expect("a").placement.spread = vec![spread];
            },
            "replicas in one place, at most 1",
        ),
        (
            |w| w.stack.workloads.get_mut("a").expect("a").placement.split = false,
            "sites, at most 1",
        ),
        (
            |w| {
                let spot = SpotRules { max_share: Some(0.0), base_on_demand: 0 };
                w.stack.workloads.get_mut("a").expect("a").placement.spot = Some(spot);
            },
            "replicas on spot, at most 0",
        ),
        (
            |w| {
                let a = w.stack.workloads.get_mut("a").expect("a");
                a.placement.apart_from = vec!["b".to_owned()];
            },
            "a and b are both at",
        ),
        (
            |w| {
                let a = w.stack.workloads.get_mut("a").expect("a");
                a.placement.together_with = vec!["b".to_owned()];
            },
            "one of a and b is alone at",
        ),
        (
            |w| {
                let a = w.stack.workloads.get_mut("a").expect("a");
                a.placement.clouds = vec!["gcp".to_owned()];
            },
            "not its cloud",
        ),
        (
            |w| {
                let a = w.stack.workloads.get_mut("a").expect("a");
                a.placement.regions = vec!["r2".to_owned()];
            },
            "not its region",
        ),
    ];
    let mut lenient = honest().0;
    lenient.stack.workloads.get_mut("a").expect("a").placement.spot = None;
    let placement = lenient.solve();
    for (index, (change, words)) in changes.into_iter().enumerate() {
        let mut strict = lenient.clone();
        change(&mut strict);
        let problem = strict.problem();
        let broken = check(&problem, &placement).expect_err(words).join("\n");
        assert!(broken.contains(words), "{index}: {broken}");
    }
}
