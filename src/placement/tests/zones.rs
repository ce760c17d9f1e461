//! Spread over zones, compared with trying everything and with answers that can be worked out by hand.

use std::collections::BTreeMap;

use fleetform_contract::{Offering, Reservation, Tariff, TariffRegion};

use super::brute_force::{compare, compare_large, random, random_load};
use super::support::*;
use crate::config::{Spread, SpreadOver};
use crate::placement::{Placement, check, explain};

fn over_zones(min: Option<u32>, max_share: Option<f64>) -> Spread {
    Spread { over: SpreadOver::Zone, min, max_share }
}

fn in_zones(offering: Offering, zones: &[&str]) -> Offering {
    Offering { zones: zones.iter().map(|zone| (*zone).to_owned()).collect(), ..offering }
}

/// `chat` with so many replicas of one GPU, on nodes of four GPUs in three zones of one region.
fn chat(replicas: u32, spread: Spread) -> World {
    let mut chat = service("chat", replicas, 1);
    chat.placement.spread.push(spread);
    let small = in_zones(gpu("aws/r1/small/on_demand", "L4", 1, 24.0, 1.0), &["a", "b", "c"]);
    let large = in_zones(gpu("aws/r1/large/on_demand", "L4", 4, 24.0, 2.0), &["a", "b", "c"]);
    world(vec![cloud("aws")], vec![chat], vec![small, large])
}

/// Nodes by offering.
fn nodes(placement: &Placement) -> BTreeMap<&str, usize> {
    let rentals = placement.rentals.iter();
    rentals.map(|(id, rental)| (id.as_str(), rental.nodes.len())).collect()
}

#[test]
fn nodes_are_rented_in_as_many_zones_as_replicas_must_be_in() {
    // One node of four GPUs would do for three replicas.
    let placement = chat(3, over_zones(Some(3), None)).solve();
    let each = ["a", "b", "c"].map(|zone| (format!("aws/r1/small@{zone}/on_demand"), 1));
    let each: BTreeMap<&str, usize> = each.iter().map(|(id, n)| (id.as_str(), *n)).collect();
    assert_eq!(nodes(&placement), each);

    // No more than three of five in a zone: a large node there and two small ones here.
    let placement = chat(5, over_zones(None, Some(0.6))).solve();
    let expected = [("aws/r1/large@a/on_demand", 1), ("aws/r1/small@b/on_demand", 2)];
    let least = 730.0 * 4.0;
    assert!((placement.cost.total_month - least).abs() < 1e-6, "{:?}", nodes(&placement));
    assert!(nodes(&placement).len() >= 2, "{:?}", nodes(&placement));
    assert_eq!(
        nodes(&placement).values().sum::<usize>(),
        if nodes(&placement) == expected.into() { 3 } else { 2 }
    );
}

/// "At least" holds whichever way the replicas are dealt onto the zones: not three, one and one, from which
/// three and two could become.
#[test]
fn a_minimum_of_zones_is_for_sure() {
    for (replicas, min, most) in [(5, 3, 2), (4, 2, 3), (10, 3, 4), (3, 3, 1), (9, 2, 8)] {
        let world = chat(replicas, over_zones(Some(min), None));
        let placement = world.solve();
        let mut zones: BTreeMap<String, u32> = BTreeMap::new();
        for seats in &placement.seats {
            let zone = placement.rentals[&seats.offering].offering.zone.clone();
            *zones.entry(zone.expect("it is in a zone")).or_default() += seats.replicas;
        }
        let fullest = zones.values().max().copied().expect("there are some");
        assert!(fullest <= most, "{replicas} over {min}: {zones:?}");
        assert!(replicas.div_ceil(fullest) >= min, "{replicas} over {min}: {zones:?}");
    }
}

#[test]
fn who_has_no_rule_shares_the_nodes_of_who_has_one() {
    let mut world = chat(2, over_zones(Some(2), None));
    world.stack.workloads.insert("plain".to_owned(), service("plain", 4, 1));
    for offering in world.offerings.values_mut().flatten().filter(|o| o.gpus == 1) {
        offering.price_hour = 1.9;
    }
    // Two large nodes hold all six; nobody rents a third.
    let placement = world.solve();
    assert_eq!(placement.cost.total_month, 730.0 * 4.0, "{:?}", nodes(&placement));
    assert!(placement.rentals.values().all(|rental| rental.offering.zone.is_some()));
    // Alone it has the region's own offering.
    world.stack.workloads.remove("chat");
    let placement = world.solve();
    assert_eq!(nodes(&placement), [("aws/r1/large/on_demand", 1)].into());
}

#[test]
fn a_region_without_zones_is_one() {
    let mut world = chat(4, over_zones(Some(2), None));
    for offering in world.offerings.values_mut().flatten() {
        offering.zones.clear();
    }
    let bare = gpu("aws/r2/small/on_demand", "L4", 1, 24.0, 5.0);
    world.offerings.get_mut("aws").expect("it is there").push(bare);
    let placement = world.solve();
    let sites: Vec<String> = placement.rentals.values().map(|r| r.offering.site()).collect();
    assert!(sites.contains(&"aws/r1".to_owned()) && sites.contains(&"aws/r2".to_owned()));
    assert!(placement.rentals.values().all(|rental| rental.offering.zone.is_none()));
}

#[test]
fn zones_come_from_the_tariff_where_the_offering_does_not_say() {
    let mut world = chat(2, over_zones(Some(2), None));
    let zones = ["b", "c", "d"].map(str::to_owned).to_vec();
    let region = TariffRegion { zones, ..TariffRegion::default() };
    let regions = [("r1".to_owned(), region)].into();
    world.tariffs.insert("aws".to_owned(), Tariff { regions, ..Tariff::default() });
    let zones = |world: &World| -> Vec<String> {
        let candidates = world.problem().candidates;
        let mut zones: Vec<String> =
            candidates.iter().filter_map(|one| one.offering.zone.clone()).collect();
        zones.sort();
        zones.dedup();
        zones
    };
    // Sold in a, b and c; nodes can be in b, c and d.
    assert_eq!(zones(&world), ["b", "c"]);
    for offering in world.offerings.values_mut().flatten() {
        offering.zones.clear();
    }
    assert_eq!(zones(&world), ["b", "c", "d"]);
}

#[test]
fn too_few_zones_are_told() {
    let said = ["service.chat.placement.spread.0.min"];
    let mut world = chat(4, over_zones(Some(3), None)).say(&said);
    for offering in world.offerings.values_mut().flatten() {
        offering.zones.truncate(2);
    }
    let text = world.refusal();
    let sentence = "`service.chat` must run in at least 3 zones; 2 are possible (main.hcl:1).";
    assert!(text.contains(sentence), "{text}");
    let said = ["service.chat.placement.spread.0.max_share"];
    let mut world = chat(4, over_zones(None, Some(0.3))).say(&said);
    for offering in world.offerings.values_mut().flatten() {
        offering.zones.truncate(2);
    }
    let text = world.refusal();
    let sentence =
        "`service.chat` may have 1 of its 4 replicas in one zone (max_share = 0.3); 2 are needed";
    assert!(text.contains(sentence), "{text}");
    // A load has as many replicas as it likes, but no third zone.
    let rates = [("L4", 1.0)];
    let mut load = loaded("chat", 4.0, &rates);
    load.placement.spread.push(over_zones(Some(3), None));
    world.stack.workloads.insert("chat".to_owned(), load);
    let text = world.refusal();
    assert!(text.contains("must run in at least 3 zones; 2 are possible"), "{text}");
}

#[test]
fn reserved_nodes_are_in_a_zone_that_nobody_told() {
    let mut world = chat(2, over_zones(Some(2), None)).say(&["service.chat"]);
    let reservation = Reservation {
        region: "r1".to_owned(),
        instance_type: "small".to_owned(),
        nodes: 9,
        ..Reservation::default()
    };
    world.stack.clouds.get_mut("aws").expect("it is there").reservations.push(reservation);
    let placement = world.solve();
    assert!(placement.rentals.values().all(|rental| rental.reserved_nodes == 0));
    for offering in world.offerings.values_mut().flatten() {
        offering.max_nodes = Some(9);
    }
    let text = world.refusal();
    assert!(text.contains("No offering fits (at service.chat)"), "{text}");
    assert!(text.contains("the zone of every node that fits it is not known"), "{text}");
}

#[test]
fn a_reservation_that_says_its_zone_is_used_there() {
    let mut world = chat(3, over_zones(Some(3), None)).say(&["cloud.aws.reservation.0.zone"]);
    let reservation = Reservation {
        region: "r1".to_owned(),
        instance_type: "large".to_owned(),
        nodes: 9,
        zone: Some("b".to_owned()),
        ..Reservation::default()
    };
    let aws = world.stack.clouds.get_mut("aws").expect("it is there");
    aws.reservations.push(reservation);
    let placement = world.solve();
    let small = |zone: &str| format!("aws/r1/small@{zone}/on_demand");
    let expected = ["aws/r1/large@b/reserved".to_owned(), small("a"), small("c")];
    assert_eq!(placement.rentals.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(placement.cost.total_month, 730.0 * 2.0);
    // Who has no rule takes what is paid for.
    world.stack.workloads.insert("plain".to_owned(), service("plain", 4, 1));
    assert_eq!(world.solve().cost.total_month, 730.0 * 2.0);

    world.stack.clouds.get_mut("aws").expect("it is there").reservations[0].zone =
        Some("d".to_owned());
    let text = world.refusal();
    assert!(text.contains("Unknown zone (at cloud.aws.reservation.0.zone)"), "{text}");
    assert!(text.contains("in the zone `d`, in which large of r1 is not sold"), "{text}");
}

#[test]
fn the_checker_refuses_too_many_in_a_zone_and_zones_that_nobody_knows() {
    let world = chat(3, over_zones(Some(3), None));
    let problem = world.problem();
    let placement = world.solve();
    assert_eq!(check(&problem, &placement), Ok(()));
    let broken = |change: &dyn Fn(&mut Placement)| {
        let mut other = placement.clone();
        change(&mut other);
        check(&problem, &other).expect_err("it is wrong").join("\n")
    };
    // All three in the first zone.
    let text = broken(&|other| {
        let seats = other.seats[0].clone();
        other.seats = vec![crate::placement::Seats { replicas: 3, ..seats }];
        other.rentals.retain(|id, _| id.contains("@a/"));
        let rental = other.rentals.values_mut().next().expect("one is left");
        rental.nodes = vec![rental.nodes[0].clone(); 3];
    });
    assert!(text.contains("1 zones for sure, at least 3"), "{text}");
    let text = broken(&|other| {
        other.seats[0].offering = "aws/r1/small/on_demand".to_owned();
    });
    assert!(text.contains("small/on_demand"), "{text}");
}

#[test]
fn explanations_look_at_other_types_and_not_at_other_zones() {
    let world = chat(2, over_zones(Some(2), None));
    let (problem, placement) = (world.problem(), world.solve());
    let told = explain(&problem, &placement, 0);
    let next = &told.alternatives[0];
    assert!(next.seats.iter().all(|seats| seats.offering.contains("large@")), "{next:?}");
    assert_eq!(next.extra_month, 730.0 * 2.0);
    let prices: Vec<(&str, f64)> =
        told.prices.iter().map(|p| (p.offering.as_str(), p.moves_at_hour.round())).collect();
    // Both zones' nodes have one price.
    assert_eq!(prices, [("aws/r1/small/on_demand", 2.0), ("aws/r1/large/on_demand", 1.0)]);
}

/// Zones and rules over them, upon a random problem.
pub(super) fn zoned(seed: u64, mut world: World) -> World {
    let mut dice = Dice(seed ^ 0x20e5);
    let zones = dice.pick(&[&["a", "b"][..], &["a", "b", "c"]]);
    for offering in world.offerings.values_mut().flatten().filter(|o| o.region == "r1") {
        *offering = in_zones(offering.clone(), zones);
    }
    let names: Vec<String> = world.stack.workloads.keys().cloned().collect();
    for name in names.iter().take(1 + dice.roll(2) as usize) {
        let rules = &mut world.stack.workloads.get_mut(name).expect("it is there").placement;
        let min = dice.pick(&[None, Some(2), Some(2), Some(3)]);
        let max_share = dice.pick(&[None, Some(0.5), Some(0.7)]);
        rules.spread = vec![over_zones(min, max_share)];
    }
    world
}

#[test]
fn spread_over_zones_costs_what_trying_everything_finds() {
    let worlds = (900..1_300).map(|seed| (seed, zoned(seed, random(seed))));
    let (placed, clashes, _) = compare(worlds, 2e4);
    assert!(placed > 60 && clashes > 40, "{placed} {clashes}");
}

#[test]
fn resource_prices_bound_what_zones_cost() {
    let worlds = (900..1_300).map(|seed| (seed, zoned(seed, random(seed))));
    compare_large(worlds, 1e5).are_good(30, 6, 0.1);
}

#[test]
fn resource_prices_bound_what_zones_of_loads_cost() {
    let worlds = (900..1_700).map(|seed| (seed, zoned(seed, random_load(seed))));
    compare_large(worlds, 2e4).are_good(20, 6, 0.15);
}

/// Rules over zones, and over the regions or clouds that they are of.
#[test]
fn resource_prices_bound_what_rules_over_zones_and_regions_cost() {
    let worlds = (900..1_700).map(|seed| {
        let mut world = zoned(seed, if seed % 4 == 0 { random_load(seed) } else { random(seed) });
        let workloads = world.stack.workloads.values_mut();
        let spreads = workloads.map(|workload| &mut workload.placement.spread);
        for spread in spreads.filter(|spread| !spread.is_empty()) {
            let over = if seed % 2 == 0 { SpreadOver::Region } else { SpreadOver::Cloud };
            let (min, max_share) = if seed % 3 == 0 { (Some(2), None) } else { (None, Some(0.7)) };
            spread.push(Spread { over, min, max_share });
        }
        (seed, world)
    });
    compare_large(worlds, 1e5).are_good(30, 6, 0.15);
}

#[test]
fn loads_spread_over_zones_cost_what_trying_everything_finds() {
    let worlds = (900..1_300).map(|seed| (seed, zoned(seed, random_load(seed))));
    let (placed, clashes, _) = compare(worlds, 3e3);
    assert!(placed > 20 && clashes > 10, "{placed} {clashes}");
}
