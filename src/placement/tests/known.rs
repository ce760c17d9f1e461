//! Answers that are known, and what makes answers the same every time.

use std::collections::BTreeMap;

use super::support::*;
use crate::placement::{Placement, Rental, solve};

/// Replicas by what comes before the first `/` of the offering: by cloud.
fn replicas_by_cloud(placement: &Placement) -> BTreeMap<&str, u32> {
    let mut by = BTreeMap::new();
    for seats in &placement.seats {
        let (cloud, _) = seats.offering.split_once('/').expect("an offering's id");
        *by.entry(cloud).or_insert(0) += seats.replicas;
    }
    by
}

fn nodes(placement: &Placement) -> BTreeMap<&str, usize> {
    placement.rentals.iter().map(|(id, rental)| (id.as_str(), rental.nodes.len())).collect()
}

#[test]
fn the_ten_services_cost_40_120_dollars_a_month() {
    let placement = lepton().solve();
    assert_eq!(placement.cost.total_month, 40_120.0);
    let expected = BTreeMap::from([("aws", 10), ("azure", 10), ("gcp", 6)]);
    assert_eq!(replicas_by_cloud(&placement), expected);
    let rate_card_month = [("aws", 16_000.0), ("azure", 12_300.0), ("gcp", 11_820.0)];
    let rate_card_month = rate_card_month.map(|(cloud, month)| (cloud.to_owned(), month));
    assert_eq!(placement.cost.rate_card_month, BTreeMap::from(rate_card_month));
    assert_eq!(placement.cost.nodes_month, 0.0);
    assert_eq!(placement.proof.objective_month, 40_120.0);
    assert!(placement.proof.gap <= 1e-9, "{:?}", placement.proof);
    assert!(placement.proof.solver.starts_with("HiGHS 1."), "{}", placement.proof.solver);
    // Where the rate card charges, list prices still choose the machines: the cheapest, in one region.
    let expected = BTreeMap::from([
        ("aws/us-east-1/g6.xlarge/on_demand", 10),
        ("azure/eastus/NC4as_T4_v3/on_demand", 10),
        ("gcp/us-central1/g2-standard-4/on_demand", 6),
    ]);
    assert_eq!(nodes(&placement), expected);
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let bytes =
        |world: &World| serde_json::to_string(&world.solve()).expect("placements serialize");
    let mut world = lepton();
    world.stack.clouds.get_mut("aws").expect("aws").rate_card = None;
    let first = bytes(&world);
    for seed in 0..5 {
        let mut dice = Dice(seed);
        for offerings in world.offerings.values_mut() {
            dice.shuffle(offerings);
        }
        assert_eq!(bytes(&world), first, "seed {seed}");
    }
}

#[test]
fn equal_costs_are_settled_by_list_price_then_nodes_then_name() {
    // The same price everywhere: one region, the first.
    let regions = ["us-west-2", "us-east-1", "us-east-2"];
    let equal = |region: &&str| gpu(&format!("aws/{region}/g/on_demand"), "L4", 1, 24.0, 0.8);
    let equal = world(
        vec![cloud("aws")],
        vec![service("a", 2, 1), service("b", 1, 1)],
        regions.iter().map(equal).collect(),
    );
    assert_eq!(nodes(&equal.solve()), BTreeMap::from([("aws/us-east-1/g/on_demand", 3)]));

    // Four nodes with a GPU cost what one with four does: fewer nodes.
    let linear = world(
        vec![cloud("aws")],
        vec![service("a", 4, 1)],
        vec![
            gpu("aws/r/one/on_demand", "L4", 1, 24.0, 1.0),
            gpu("aws/r/four/on_demand", "L4", 4, 24.0, 4.0),
        ],
    );
    assert_eq!(nodes(&linear.solve()), BTreeMap::from([("aws/r/four/on_demand", 1)]));
}

#[test]
fn a_control_plane_is_paid_once_a_site() {
    // Splitting saves 0.1 on one node and costs 0.2 for the second control plane.
    let mut two = world(
        vec![cloud("aws"), cloud("gcp")],
        vec![service("a", 1, 1), service("b", 1, 2)],
        vec![
            gpu("aws/r/one/on_demand", "L4", 1, 24.0, 1.0),
            gpu("aws/r/two/on_demand", "L4", 2, 24.0, 2.0),
            gpu("gcp/r/two/on_demand", "L4", 2, 24.0, 1.9),
        ],
    );
    let price = |world: &mut World, price: f64| {
        for cloud in ["aws", "gcp"] {
            world.control_plane_price_hour.insert(cloud.to_owned(), price);
        }
    };
    price(&mut two, 0.2);
    let placement = two.solve();
    assert_eq!(placement.cost.sites_month.len(), 1);
    assert!((placement.cost.total_month - 730.0 * 3.2).abs() < 1e-6, "{:?}", placement.cost);
    price(&mut two, 0.05);
    let placement = two.solve();
    assert!((placement.cost.total_month - 730.0 * 3.0).abs() < 1e-6, "{:?}", placement.cost);
    assert_eq!(placement.cost.sites_month.len(), 2);
}

#[test]
fn discounts_and_reservations_change_what_a_node_costs() {
    let mut aws = cloud("aws");
    aws.discount = 0.1;
    aws.reservations.push(fleetform_contract::Reservation {
        region: "r".to_owned(),
        instance_type: "p5".to_owned(),
        nodes: 2,
        id: None,
        zone: None,
        from: None,
        until: None,
    });
    let reserved = world(
        vec![aws],
        vec![service("a", 3, 8)],
        vec![gpu("aws/r/p5/on_demand", "H100", 8, 80.0, 10.0)],
    );
    let placement = reserved.solve();
    let expected = BTreeMap::from([("aws/r/p5/on_demand", 1), ("aws/r/p5/reserved", 2)]);
    assert_eq!(nodes(&placement), expected);
    assert!((placement.cost.total_month - 730.0 * 9.0).abs() < 1e-6, "{:?}", placement.cost);
    assert_eq!(placement.rentals["aws/r/p5/reserved"].reserved_nodes, 2);
}

#[test]
fn a_reservation_holds_from_its_first_day_to_its_last() {
    let mut aws = cloud("aws");
    aws.discount = 0.1;
    aws.reservations.push(fleetform_contract::Reservation {
        region: "r".to_owned(),
        instance_type: "p5".to_owned(),
        nodes: 1,
        id: None,
        zone: None,
        from: Some("2026-03-01".to_owned()),
        until: Some("2026-03-31".to_owned()),
    });
    // Twelve requests a second are three replicas, whoever pays for the nodes.
    let world = world(
        vec![aws],
        vec![loaded("chat", 12.0, &[("H100", 4.0)])],
        vec![gpu("aws/r/p5/on_demand", "H100", 1, 80.0, 10.0)],
    );
    let world = world.say(&["cloud.aws.reservation.0.until"]);
    for (day, reserved, warnings) in [
        ("2026-01-01", 0, 0),
        ("2026-02-28", 0, 0),
        ("2026-03-01", 1, 1),
        ("2026-03-31", 1, 1),
        ("2026-04-01", 0, 0),
    ] {
        let mut then = world.clone();
        assert!(then.stack.has_windows());
        let ending = then.stack.on_day(day);
        assert_eq!(ending.len(), warnings, "{day}");
        for warning in ending {
            assert!(!warning.is_error() && warning.span.is_some() && warning.hint.is_some());
            assert!(warning.detail.contains("holds until 2026-03-31"), "{}", warning.detail);
        }
        let placement = then.solve();
        let rental = placement.rentals.get("aws/r/p5/reserved");
        assert_eq!(rental.map_or(0, |rental| rental.nodes.len()), reserved, "{day}");
        let paid = 730.0 * 9.0 * (3 - reserved) as f64;
        assert!((placement.cost.total_month - paid).abs() < 1e-6, "{day}: {:?}", placement.cost);
    }
}

/// Three replicas of five GPUs, in services that differ, and a small one that fills two nodes of eight by
/// the sum of GPUs.
fn five_gpus_each() -> World {
    let mut services = vec![service("a", 1, 5), service("b", 1, 5), service("c", 1, 5)];
    for (index, service) in services.iter_mut().enumerate() {
        service.needs.cpus = index as f64;
    }
    services.push(service("d", 1, 1));
    let eight = gpu("aws/r/eight/on_demand", "A100", 8, 40.0, 1.0);
    world(vec![cloud("aws")], services, vec![eight])
}

#[test]
fn three_replicas_of_five_gpus_do_not_share_two_nodes() {
    let eight = gpu("aws/r/eight/on_demand", "A100", 8, 40.0, 1.0);
    let one = world(vec![cloud("aws")], vec![service("a", 3, 5)], vec![eight]);
    assert_eq!(nodes(&one.solve()), BTreeMap::from([("aws/r/eight/on_demand", 3)]));

    let placement = five_gpus_each().solve();
    assert_eq!(nodes(&placement), BTreeMap::from([("aws/r/eight/on_demand", 3)]));
    assert!(placement.proof.packing_cuts > 0, "the aggregate rows allow two nodes");
    assert!(placement.proof.gap <= 1e-9, "{:?}", placement.proof);
}

#[test]
fn shares_of_a_node_are_fair_and_add_up() {
    let mut thrifty = service("thrifty", 1, 1);
    thrifty.needs.cpus = 1.0;
    let shared = world(
        vec![cloud("aws")],
        vec![thrifty, service("hungry", 1, 3)],
        vec![gpu("aws/r/four/on_demand", "L4", 4, 24.0, 4.0)],
    );
    let placement = shared.solve();
    let costs: Vec<f64> = placement.seats.iter().map(|seats| seats.cost_month).collect();
    assert_eq!(costs, [730.0 * 3.0, 730.0]);
    let Rental { nodes, .. } = &placement.rentals["aws/r/four/on_demand"];
    let content = [("hungry".to_owned(), 1), ("thrifty".to_owned(), 1)];
    assert_eq!(*nodes, [BTreeMap::from(content)]);
}

#[test]
fn replicas_without_gpus_go_to_nodes_without_gpus() {
    let mut web = service("web", 3, 0);
    web.needs.cpus = 2.0;
    web.needs.memory_gib = 4.0;
    let mixed = world(
        vec![cloud("aws")],
        vec![web],
        vec![
            gpu("aws/r/g/on_demand", "T4", 1, 16.0, 0.01),
            cpu("aws/r/small/on_demand", 4.0, 16.0, 0.2),
            cpu("aws/r/large/on_demand", 8.0, 32.0, 0.38),
        ],
    );
    // Two CPUs of four are left once the system has its share of a small node, six of eight on a large.
    assert_eq!(nodes(&mixed.solve()), BTreeMap::from([("aws/r/large/on_demand", 1)]));
}

#[test]
fn an_empty_stack_costs_nothing() {
    let empty = world(vec![cloud("aws")], vec![], vec![]);
    let placement = empty.solve();
    assert_eq!((placement.seats.len(), placement.cost.total_month), (0, 0.0));
    let idle =
        world(vec![cloud("aws")], vec![service("a", 0, 1)], lepton().offerings["aws"].clone());
    assert_eq!(idle.solve().seats, []);
}

#[test]
fn gangs_stay_at_one_site() {
    let offerings = vec![
        gpu("aws/r1/p5/on_demand", "H100", 8, 80.0, 10.0),
        gpu("aws/r2/p5/on_demand", "H100", 8, 80.0, 11.0),
    ];
    let mut aws = cloud("aws");
    aws.quotas.push(fleetform_contract::Quota {
        region: Some("r1".to_owned()),
        gpu_type: None,
        max_gpus: 16,
    });
    let gang = world(vec![aws.clone()], vec![job("train", 4, 8)], offerings.clone());
    assert_eq!(nodes(&gang.solve()), BTreeMap::from([("aws/r2/p5/on_demand", 4)]));
    let said = gang.say(&["job.train.placement.split"]);
    let expected = BTreeMap::from([("aws/r1/p5/on_demand", 2), ("aws/r2/p5/on_demand", 2)]);
    assert_eq!(nodes(&said.solve()), expected);
    let service = world(vec![aws], vec![service("serve", 4, 8)], offerings);
    assert_eq!(nodes(&service.solve()), expected);
}

#[test]
fn solving_twice_gives_the_same() {
    let problem = five_gpus_each().problem();
    assert_eq!(solve(&problem), solve(&problem));
}

/// Small problems of every kind, solved one after another and then by several threads at once.
#[test]
fn placements_are_the_same_on_every_number_of_threads() {
    let worlds = (0..48).map(|seed| match seed % 3 {
        0 => super::brute_force::random_load(seed),
        1 => super::zones::zoned(seed, super::brute_force::random(seed)),
        _ => super::brute_force::random(seed),
    });
    let worlds: Vec<World> = worlds.chain([lepton()]).collect();
    let solved = |world: &World| -> String {
        let placement = world.pose().and_then(|problem| crate::placement::solve(&problem));
        match placement {
            Ok(placement) => serde_json::to_string(&placement).expect("placements serialize"),
            Err(errors) => format!("{errors:?}"),
        }
    };
    let alone: Vec<String> = worlds.iter().map(solved).collect();
    assert!(alone.iter().filter(|text| text.starts_with('{')).count() > 10);
    for threads in [2, 5] {
        std::thread::scope(|scope| {
            let (worlds, alone, solved) = (&worlds, &alone, &solved);
            for first in 0..threads {
                scope.spawn(move || {
                    // Each begins elsewhere, so that different problems meet.
                    for step in 0..worlds.len() {
                        let index = (first * worlds.len() / threads + step) % worlds.len();
                        assert_eq!(solved(&worlds[index]), alone[index], "world {index}");
                    }
                });
            }
        });
    }
}
