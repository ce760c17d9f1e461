//! Traffic between sites, weights at sites, carbon and latency: who runs where because of them, and what is told.

use std::collections::BTreeMap;

use super::support::*;
use crate::config::{Amount, Load, LoadSize, Model, ObjectiveWeights, Weights};
use crate::placement::{Flow, Placement, check, explain};

/// A caller and a callee; each has a node at each of three sites, and each is cheapest at another one.
fn two(mbps: f64) -> World {
    let mut chat = service("chat", 2, 1);
    chat.needs.gpu_types = vec!["A".to_owned()];
    chat.calls.insert("ranker".to_owned(), mbps);
    let mut ranker = service("ranker", 1, 1);
    ranker.needs.gpu_types = vec!["B".to_owned()];
    let offerings = [
        gpu("aws/r1/a/on_demand", "A", 1, 24.0, 1.0),
        gpu("aws/r2/a/on_demand", "A", 1, 24.0, 1.5),
        gpu("gcp/r1/a/on_demand", "A", 1, 24.0, 2.0),
        gpu("aws/r1/b/on_demand", "B", 1, 24.0, 1.3),
        gpu("aws/r2/b/on_demand", "B", 1, 24.0, 1.2),
        gpu("gcp/r1/b/on_demand", "B", 1, 24.0, 1.0),
    ];
    let mut world = world(vec![cloud("aws"), cloud("gcp")], vec![chat, ranker], offerings.into());
    for cloud in ["aws", "gcp"] {
        world.tariffs.insert(cloud.to_owned(), tariff(0.02, 0.05, [0.10, 0.05], 3_285.0));
    }
    world
}

/// Where a workload's replicas are.
fn at(placement: &Placement, workload: &str) -> Vec<String> {
    let seats = placement.seats.iter().filter(|seats| seats.workload == workload);
    seats.map(|seats| seats.offering.clone()).collect()
}

#[test]
fn callees_come_as_near_as_their_traffic_is_dear() {
    // A megabit a second is 328.5 GB: 32.85 dollars a month to another cloud, 6.57 to another region.
    let cases = [
        // Cheapest alone: the ranker at gcp for 730.
        (1.0, "gcp/r1/b/on_demand", 1_460.0 + 730.0 + 32.85),
        // aws/r2 costs 146 more than gcp and 73 less than aws/r1.
        (8.0, "aws/r2/b/on_demand", 1_460.0 + 876.0 + 8.0 * 6.57),
        (20.0, "aws/r1/b/on_demand", 1_460.0 + 949.0),
    ];
    for (mbps, ranker, total) in cases {
        let placement = two(mbps).solve();
        assert_eq!(at(&placement, "ranker"), [ranker], "{mbps}");
        let cost = &placement.cost;
        assert!((cost.total_month - total).abs() < 1e-6, "{mbps}: {cost:?}");
        assert_eq!(placement.traffic.iter().map(|flow| flow.mbps).sum::<f64>(), mbps);
    }
}

#[test]
fn an_explanation_says_what_talking_costs() {
    let world = two(1.0);
    let (problem, placement) = (world.problem(), world.solve());
    for demand in [0, 1] {
        let told = explain(&problem, &placement, demand);
        let [call] = told.traffic.as_slice() else { panic!("{:?}", told.traffic) };
        let Flow { from_site, to_site, mbps, .. } = &call.flow;
        assert_eq!((from_site.as_str(), to_site.as_str(), *mbps), ("aws/r1", "gcp/r1", 1.0));
        assert!((call.cost_month - 32.85).abs() < 1e-9, "{call:?}");
    }
    let (near, placement) = (two(20.0).problem(), two(20.0).solve());
    assert_eq!(explain(&near, &placement, 0).traffic[0].cost_month, 0.0);
}

#[test]
fn the_price_to_the_internet_falls_with_the_volume_of_all() {
    // The ranker cannot leave gcp and the chat cannot leave aws; 10 Mbps are 3,285 GB at 0.10, 5 more at 0.05.
    let mut world = two(8.0);
    for (name, cloud) in [("chat", "aws"), ("ranker", "gcp")] {
        let workload = world.stack.workloads.get_mut(name).expect("it is there");
        workload.placement.clouds = vec![cloud.to_owned()];
    }
    let mut other = world.stack.workloads["chat"].clone();
    other.reference = "service.other".to_owned();
    other.path = other.reference.clone();
    other.calls.insert("ranker".to_owned(), 7.0);
    world.stack.workloads.insert("other".to_owned(), other);
    let placement = world.solve();
    let egress = &placement.cost.egress_month["aws/r1"]["gcp/r1"];
    assert!((egress - (328.5 + 5.0 * 16.425)).abs() < 1e-6, "{egress}");
    // A discount is off these prices too, and a rate card is instead of them.
    let aws = world.stack.clouds.get_mut("aws").expect("aws");
    aws.discount = 0.5;
    let halved = &world.solve().cost.egress_month["aws/r1"]["gcp/r1"];
    assert!((halved * 2.0 - egress).abs() < 1e-6, "{halved}");
    let aws = world.stack.clouds.get_mut("aws").expect("aws");
    aws.rate_card = Some(fleetform_contract::RateCard::default());
    assert_eq!(world.solve().cost.egress_month, BTreeMap::new());
}

#[test]
fn near_replicas_are_called_first() {
    // Two of the three rankers have to be elsewhere, and one caller of two: its share goes to them.
    let mut world = two(12.0);
    let limit = |world: &mut World, candidate: &str, nodes: u32| {
        let offerings = world.offerings.get_mut("aws").expect("aws");
        let offering = offerings.iter_mut().find(|offering| offering.id() == candidate);
        offering.expect("it is there").max_nodes = Some(nodes);
    };
    limit(&mut world, "aws/r1/a/on_demand", 1);
    limit(&mut world, "aws/r1/b/on_demand", 1);
    limit(&mut world, "aws/r2/b/on_demand", 2);
    for workload in world.stack.workloads.values_mut() {
        workload.placement.clouds = vec!["aws".to_owned()];
    }
    world.stack.workloads.get_mut("ranker").expect("it is there").amount = Amount::Replicas(3);
    let placement = world.solve();
    let flows: Vec<(&str, &str, f64)> = placement
        .traffic
        .iter()
        .map(|flow| (flow.from_site.as_str(), flow.to_site.as_str(), flow.mbps.round()))
        .collect();
    // Each caller sends 6, each ranker receives 4.
    assert_eq!(
        flows,
        [("aws/r1", "aws/r1", 4.0), ("aws/r1", "aws/r2", 2.0), ("aws/r2", "aws/r2", 6.0)]
    );
    let cost = placement.cost.egress_month["aws/r1"]["aws/r2"];
    assert!((cost - 2.0 * 6.57).abs() < 1e-6, "{cost}");
}

#[test]
fn a_load_gets_replicas_where_its_callers_are() {
    // One replica would serve the load; the callers at two places pay more for the traffic than for another.
    let mut world = two(20.0);
    let mut other = world.stack.workloads["chat"].clone();
    other.reference = "service.other".to_owned();
    other.path = other.reference.clone();
    other.placement.clouds = vec!["gcp".to_owned()];
    world.stack.workloads.insert("other".to_owned(), other);
    let chat = world.stack.workloads.get_mut("chat").expect("it is there");
    chat.placement.clouds = vec!["aws".to_owned()];
    let ranker = world.stack.workloads.get_mut("ranker").expect("it is there");
    let rates = [("B".to_owned(), 10.0)].into();
    ranker.amount = Amount::Load(Load { size: LoadSize::Known(5.0), rates });
    for (mbps, sites) in [
        (60.0, vec!["aws/r1/b/on_demand", "gcp/r1/b/on_demand"]),
        (10.0, vec!["gcp/r1/b/on_demand"]),
    ] {
        for caller in ["chat", "other"] {
            let caller = world.stack.workloads.get_mut(caller).expect("it is there");
            caller.calls.insert("ranker".to_owned(), mbps);
        }
        assert_eq!(at(&world.solve(), "ranker"), sites, "{mbps}");
    }
}

#[test]
fn weights_are_kept_where_they_are_served() {
    let mut world = two(1.0);
    let kept_in = Some(("aws".to_owned(), "r1".to_owned()));
    // A thousand gigabytes.
    let size_gib = 1e12 / f64::from(1 << 30);
    let weights = Weights { source: String::new(), size_gib, sha256: None, kept_in };
    let model = Model { weights: Some(weights), throughput: BTreeMap::new() };
    world.stack.models.insert("m".to_owned(), model);
    world.stack.workloads.get_mut("ranker").expect("it is there").model = Some("m".to_owned());
    let placement = world.solve();
    // 20 dollars to keep them, and a twelfth of 100 to bring them to the other cloud.
    assert_eq!(at(&placement, "ranker"), ["gcp/r1/b/on_demand"]);
    let there = placement.cost.weights_month["m"]["gcp/r1"];
    assert!((there - (20.0 + 100.0 / 12.0)).abs() < 1e-6, "{there}");
}

#[test]
fn lies_about_traffic_and_weights_are_found() {
    let mut world = two(1.0);
    let weights = Weights { source: String::new(), size_gib: 100.0, sha256: None, kept_in: None };
    let model = Model { weights: Some(weights), throughput: BTreeMap::new() };
    world.stack.models.insert("m".to_owned(), model);
    world.stack.workloads.get_mut("ranker").expect("it is there").model = Some("m".to_owned());
    let problem = world.problem();
    let honest = world.solve();
    assert_eq!(check(&problem, &honest), Ok(()));
    type Lie = fn(&mut Placement);
    let lies: Vec<(Lie, &str)> = vec![
        (|p| p.traffic.clear(), "are due"),
        (|p| p.traffic[0].mbps *= 0.5, "are due"),
        (|p| p.traffic[0].to_site = "aws/r2".to_owned(), "where there is no replica"),
        (|p| p.traffic[0].from = "ranker".to_owned(), "has nothing to send"),
        (|p| p.cost.egress_month.clear(), "traffic of aws/r1 and gcp/r1 cost"),
        (|p| p.cost.weights_month.clear(), "the weights of m and gcp/r1 cost"),
    ];
    for (lie, words) in lies {
        let mut placement = honest.clone();
        lie(&mut placement);
        let broken = check(&problem, &placement).expect_err(words).join("\n");
        assert!(broken.contains(words), "{words}: {broken}");
    }
}

/// A cheap place and a clean one.
fn clean() -> World {
    let chat = service("chat", 2, 1);
    let offerings = [
        gpu("aws/r1/a/on_demand", "L4", 1, 24.0, 1.0),
        gpu("aws/r2/a/on_demand", "L4", 1, 24.0, 1.2),
    ];
    let mut world = world(vec![cloud("aws")], vec![chat], offerings.into());
    let mut tariff = tariff(0.0, 0.0, [0.0; 2], 1.0);
    for (region, grams) in [("r1", 600.0), ("r2", 20.0)] {
        let region = tariff.regions.get_mut(region).expect("it is there");
        region.grid_grams_kwh = Some(grams);
    }
    tariff.power_overhead = Some(1.0);
    world.tariffs.insert("aws".to_owned(), tariff);
    world
}

#[test]
fn carbon_has_a_price() {
    // A node takes 72 W for its GPU, 64 × 2.12 for its CPUs and 512 × 0.392 for its memory: 408.384 W, which are
    // 298.12 kWh a month, and 172.91 kg less at r2. It costs 146 dollars a month more.
    let mut world = clean();
    for (carbon, offering) in [(0.0, "aws/r1/a/on_demand"), (1.0, "aws/r2/a/on_demand")] {
        let weights = ObjectiveWeights { cost: 1.0, carbon, latency: 0.0 };
        world.stack.optimize.weights = Some(weights);
        let placement = world.solve();
        assert_eq!(at(&placement, "chat"), [offering], "{carbon}");
        let weighed = placement.weighed.as_ref().expect("it is weighed");
        let kwh = 0.408_384 * 730.0;
        let kg = 2.0 * kwh * if carbon == 0.0 { 0.6 } else { 0.02 };
        assert!((weighed.carbon_kg_month - kg).abs() < 1e-6, "{weighed:?}");
        let objective = placement.cost.total_month + carbon * kg;
        assert!((placement.proof.objective_month - objective).abs() < 1e-6, "{weighed:?}");
    }
    // The budget is about dollars: where the clean place is above it, the other one is taken.
    world.stack.optimize.budget_month = Some(1_500.0);
    assert_eq!(at(&world.solve(), "chat"), ["aws/r1/a/on_demand"]);
    world.stack.optimize.budget_month = Some(1_000.0);
    let said = world.say(&["optimize.budget"]).refusal();
    assert!(said.contains("the budget is $1,000 a month"), "{said}");
}

#[test]
fn lies_about_what_is_weighed_are_found() {
    let mut world = clean();
    world.stack.optimize.weights = Some(ObjectiveWeights { cost: 1.0, carbon: 1.0, latency: 0.0 });
    let problem = world.problem();
    let honest = world.solve();
    assert_eq!(check(&problem, &honest), Ok(()));
    type Lie = fn(&mut Placement);
    let lies: Vec<(Lie, &str)> = vec![
        (|p| p.weighed = None, "the weights are"),
        (|p| p.weighed.as_mut().expect("weighed").carbon_weight = 0.5, "the weight of carbon is"),
        (|p| p.weighed.as_mut().expect("weighed").carbon_kg_month = 1.0, "the carbon is"),
        (|p| p.weighed.as_mut().expect("weighed").latency_ms = 1.0, "the latency is"),
        (
            |p| p.weighed.as_mut().expect("weighed").objective_month = 1.0,
            "the weighed objective is",
        ),
    ];
    for (lie, words) in lies {
        let mut placement = honest.clone();
        lie(&mut placement);
        let broken = check(&problem, &placement).expect_err(words).join("\n");
        assert!(broken.contains(words), "{words}: {broken}");
    }
}

#[test]
fn grids_that_nobody_knows_are_told() {
    let mut world = clean();
    world.stack.optimize.weights = Some(ObjectiveWeights { cost: 1.0, carbon: 1.0, latency: 1.0 });
    let tariff = world.tariffs.get_mut("aws").expect("aws");
    tariff.regions.get_mut("r2").expect("it is there").grid_grams_kwh = None;
    let warnings = world.problem().warnings;
    let details: Vec<&str> = warnings.iter().map(|warning| warning.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "Nobody published what a kilowatt-hour emits at aws/r2. The world's average of 473 g stands in.",
            "No workload says from where it is used, so the weight of latency says nothing.",
        ]
    );
}
