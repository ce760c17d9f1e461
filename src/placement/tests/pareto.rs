//! The fronts of cost and latency, and of cost and carbon.

use fleetform_contract::{Location, Tariff, TariffRegion};

use super::catalog::{instance, instances};
use super::support::*;
use crate::config::{LatencyRule, ObjectiveWeights};
use crate::placement::{End, Point, check, pareto, solve};
use crate::problem::{Ceiling, Limit, Problem, Rule};
use crate::view;

const BERLIN: Location = Location { latitude: 52.52, longitude: 13.40, country: None };

/// The nearer, the dearer: Frankfurt, Dublin, Virginia, Oregon; three replicas that Berlin asks for, and one
/// that nobody is near to.
fn near_and_far() -> World {
    let mut chat = service("chat", 3, 1);
    chat.placement.latency = Some(LatencyRule { from: BERLIN, max_ms: 500.0 });
    let places = [
        ("frankfurt", 50.11, 8.68, 4.0),
        ("dublin", 53.35, -6.26, 2.5),
        ("virginia", 39.04, -77.49, 1.2),
        ("oregon", 45.84, -119.7, 1.0),
    ];
    let offerings = places.map(|(region, latitude, longitude, price)| {
        let mut offering = gpu(&format!("aws/{region}/g/on_demand"), "L4", 1, 24.0, price);
        offering.location = Some(Location { latitude, longitude, country: None });
        offering
    });
    world(vec![cloud("aws")], vec![chat, service("batch", 1, 1)], offerings.into())
}

#[test]
fn every_point_is_the_cheapest_of_its_latency() {
    let problem = near_and_far().problem();
    let front = pareto(&problem, End::Latency, 9).expect("a front");
    let costs: Vec<f64> = front.iter().map(|p| p.placement.cost.total_month / 730.0).collect();
    assert!(front.is_sorted_by(|a, b| a.amount < b.amount), "{front:?}");
    assert!(costs.is_sorted_by(|a, b| a > b), "{costs:?}");
    // The ends: all three nearby and the other where it is cheap; everything where it is cheap.
    assert!((costs[0] - 13.0).abs() < 1e-9 && (costs[costs.len() - 1] - 4.0).abs() < 1e-9);
    // Every distribution of three replicas over four places, by hand: none is nearer and cheaper.
    let trips: Vec<f64> = problem
        .candidates
        .iter()
        .map(|one| one.offering.location.as_ref().expect("placed").round_trip_ms(&BERLIN))
        .collect();
    let prices: Vec<f64> = problem.candidates.iter().map(|one| one.price_hour).collect();
    for (point, cost) in front.iter().zip(&costs) {
        assert_eq!(End::Latency.of(&problem, &point.placement), Some(point.amount));
        for a in 0..4 {
            for b in 0..4 {
                for c in 0..4 {
                    let trip = (trips[a] + trips[b] + trips[c]) / 3.0;
                    let price = 1.0 + prices[a] + prices[b] + prices[c];
                    let is_better = trip < point.amount + 1e-9 && price < cost - 1e-9;
                    assert!(!is_better, "{trip} ms for {price} beats {point:?}");
                }
            }
        }
    }
    // The same every time, and as many points at most as were asked for.
    assert_eq!(pareto(&problem, End::Latency, 9), Ok(front.clone()));
    assert_eq!(pareto(&problem, End::Latency, 2).expect("a front").len(), 2);

    let far = &front[front.len() - 1].placement;
    let under = Problem { ceiling: Some(Ceiling::LatencyMs(50.0)), ..problem.clone() };
    let broken = check(&under, far).expect_err("too far").join("; ");
    assert!(broken.contains("the mean round trip is above 50 ms"), "{broken}");

    let table = view::pareto::front(&front, End::Latency, view::Paint::Plain);
    insta::assert_snapshot!(table, @r"
    Cost and latency

       latency   $/month  more than the cheapest  replicas at
       11.4 ms  9,490.00              +$6,570.00  3 aws/frankfurt, 1 aws/oregon
       24.7 ms  6,205.00              +$3,285.00  3 aws/dublin, 1 aws/oregon
       51.8 ms  5,256.00              +$2,336.00  2 aws/dublin, 1 aws/oregon, 1 aws/virginia
       59.2 ms  5,110.00              +$2,190.00  2 aws/dublin, 2 aws/oregon
       78.9 ms  4,307.00              +$1,387.00  1 aws/dublin, 1 aws/oregon, 2 aws/virginia
       93.6 ms  4,015.00              +$1,095.00  1 aws/dublin, 3 aws/oregon
      113.3 ms  3,212.00                +$292.00  2 aws/oregon, 2 aws/virginia
      128.0 ms  2,920.00                   $0.00  4 aws/oregon

      Latency is the estimated round trip to `placement.latency.from`, the mean over replicas.
    ");
    let chart = view::pareto::chart(&front, End::Latency, "a < b");
    assert_eq!(chart.matches("<circle").count(), front.len());
    assert!(chart.contains("Cost and latency of a &lt; b"), "{chart}");
}

#[test]
fn without_a_place_there_is_no_front() {
    let mut world = near_and_far();
    world.stack.workloads.get_mut("chat").expect("chat").placement.latency = None;
    let errors = pareto(&world.problem(), End::Latency, 9).expect_err("no latency");
    assert_eq!(errors[0].summary, "No latency to weigh");
}

/// Three replicas in four regions: the cleaner the grid, the dearer the node.
#[test]
fn cheaper_places_emit_more() {
    let mut world = near_and_far();
    world.stack.workloads.remove("batch");
    let grids = [("frankfurt", 30.0), ("dublin", 100.0), ("virginia", 300.0), ("oregon", 900.0)];
    let regions = grids.map(|(region, grams)| {
        let region_tariff = TariffRegion { grid_grams_kwh: Some(grams), ..TariffRegion::default() };
        (region.to_owned(), region_tariff)
    });
    let tariff = Tariff { regions: regions.into(), ..Tariff::default() };
    world.tariffs.insert("aws".to_owned(), tariff);
    // What a stack weighs itself plays no part.
    world.stack.optimize.weights =
        Some(ObjectiveWeights { cost: 1.0, carbon: 100.0, latency: 0.0 });
    let problem = world.problem();
    let front = pareto(&problem, End::Carbon, 9).expect("a front");
    assert!(front.is_sorted_by(|a, b| a.amount < b.amount), "{front:?}");
    let costs: Vec<f64> = front.iter().map(|p| p.placement.cost.total_month / 730.0).collect();
    assert!(costs.is_sorted_by(|a, b| a > b), "{costs:?}");
    assert!((costs[0] - 12.0).abs() < 1e-9 && (costs[costs.len() - 1] - 3.0).abs() < 1e-9);
    let nodes: Vec<(f64, f64)> =
        problem.candidates.iter().map(|one| (one.carbon_kg_month, one.price_hour)).collect();
    for (point, cost) in front.iter().zip(&costs) {
        for (a, b, c) in (0..64).map(|i| (nodes[i / 16], nodes[i / 4 % 4], nodes[i % 4])) {
            let (kg, price) = (a.0 + b.0 + c.0, a.1 + b.1 + c.1);
            let is_better = kg < point.amount + 1e-9 && price < cost - 1e-9;
            assert!(!is_better, "{kg} kg for {price} beats {point:?}");
        }
    }
    let (clean, dirty) = (&front[0], &front[front.len() - 1]);
    let ceiling = Some(Ceiling::CarbonKg(clean.amount + 1e-6));
    let under = Problem { ceiling, weights: None, ..problem };
    assert_eq!(check(&under, &clean.placement), Ok(()));
    let broken = check(&under, &dirty.placement).expect_err("too much").join("; ");
    assert!(broken.contains("kg are emitted, above"), "{broken}");
    let table = view::pareto::front(&front, End::Carbon, view::Paint::Plain);
    assert!(table.starts_with("Cost and carbon\n\n  CO2e/month   $/month"), "{table}");
    let chart = view::pareto::chart(&front, End::Carbon, "chat");
    assert!(chart.contains("kg a month</text>") && chart.contains("Cost and carbon of chat"));
}

/// Where the ends are weighed, what is proven for the weights holds for the cheapest that has no more of the other end.
#[test]
fn the_front_of_a_large_stack_is_proven() {
    let mut problem = instance(instances::fleet(6, 1, instances::Extent::All));
    for demand in &mut problem.demands {
        demand.rules.latency = Some(LatencyRule { from: BERLIN, max_ms: 500.0 });
    }
    for end in [End::Carbon, End::Latency] {
        let front = pareto(&problem, end, 5).expect("a front");
        assert!(front.len() > 3, "{front:?}");
        assert!(front.is_sorted_by(|a, b| a.amount < b.amount), "{front:?}");
        let Point { amount, placement } = &front[1];
        let ceiling = match end {
            End::Carbon => Ceiling::CarbonKg(amount * (1.0 + 1e-9)),
            End::Latency => Ceiling::LatencyMs(*amount + 1e-6),
        };
        let under = Problem { ceiling: Some(ceiling), ..problem.clone() };
        check(&under, placement).expect("it is sound");
        let (proof, least) = (&placement.proof, solve(&under).expect("it can be placed").proof);
        assert!(proof.bound_month <= least.objective_month + 1e-6, "{proof:?} {least:?}");
        assert!(proof.objective_month >= least.bound_month - 1e-6, "{proof:?} {least:?}");
        assert!(proof.objective_month < least.objective_month * 1.01, "{proof:?} {least:?}");
    }
}

#[test]
fn the_front_of_a_large_stack_keeps_the_budget() {
    let mut problem = instance(instances::fleet(6, 1, instances::Extent::All));
    let costs = |front: &[Point]| -> Vec<f64> {
        front.iter().map(|point| point.placement.cost.total_month).collect()
    };
    let free = costs(&pareto(&problem, End::Carbon, 5).expect("a front"));
    let max_month = free[0].midpoint(free[1]);
    problem.limits.push(Limit { rule: Rule::Budget { max_month }, ..problem.limits[0].clone() });
    let within = costs(&pareto(&problem, End::Carbon, 5).expect("a front"));
    assert!(within.len() > 2 && within[0] <= max_month, "{within:?} of {max_month}");
    assert!(within[0] >= free[1], "{within:?} of {free:?}");
}
