//! Services that are sized by their load: which GPU types, and how many of each.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::support::*;
use crate::config::{Amount, LoadSize, SpotRules, Spread, SpreadOver, Workload};
use crate::placement::{Placement, Served, check, solve};

fn nodes(placement: &Placement) -> BTreeMap<&str, usize> {
    placement.rentals.iter().map(|(id, rental)| (id.as_str(), rental.nodes.len())).collect()
}

const SMALL: &str = "aws/r/small/on_demand";
const LARGE: &str = "aws/r/large/on_demand";
const LARGE_ON_SPOT: &str = "aws/r/large/spot";
const LARGE_ELSEWHERE: &str = "gcp/r/large/on_demand";

/// Two GPU types: a small one at 1 dollar for 4 requests a second, a large one at 3 for 18.
fn mix(requests_per_second: f64, change: impl FnOnce(&mut Workload)) -> World {
    let mut chat = loaded("chat", requests_per_second, &[("L4", 4.0), ("A100", 18.0)]);
    change(&mut chat);
    let mut elsewhere = gpu(LARGE_ELSEWHERE, "A100", 1, 40.0, 3.5);
    elsewhere.region = "r".to_owned();
    world(
        vec![cloud("aws"), cloud("gcp")],
        vec![chat],
        vec![
            gpu(SMALL, "L4", 1, 24.0, 1.0),
            gpu(LARGE, "A100", 1, 40.0, 3.0),
            gpu(LARGE_ON_SPOT, "A100", 1, 40.0, 1.5),
            elsewhere,
            // Nobody knows what it serves there, so it is none of the choices.
            gpu("aws/r/unknown/on_demand", "H100", 1, 80.0, 0.01),
        ],
    )
}

#[test]
fn type_and_number_are_chosen_together() {
    for (load, expected) in [
        (0.0, vec![(SMALL, 1)]),
        (4.0, vec![(SMALL, 1)]),
        (4.1, vec![(SMALL, 2)]),
        // Three small ones cost what a large one does, and serve less.
        (12.1, vec![(LARGE, 1)]),
        (18.0, vec![(LARGE, 1)]),
        // The rest is for small ones.
        (22.0, vec![(LARGE, 1), (SMALL, 1)]),
        (500.0, vec![(LARGE, 28)]),
        (494.0, vec![(LARGE, 27), (SMALL, 2)]),
    ] {
        let placement = mix(load, |_| {}).solve();
        assert_eq!(nodes(&placement), BTreeMap::from_iter(expected), "{load}");
        let Served { asked_per_second, served_per_second } = placement.loads["chat"];
        assert_eq!(asked_per_second, load);
        assert!(served_per_second >= load, "{load}: {served_per_second}");
    }
}

/// The toy instance of Mélange (Griggs et al., "Mélange: Cost Efficient Large Language Model Serving by
/// Exploiting GPU Heterogeneity", 2024) as its repository has it: tyler-griggs/melange-release
/// `melange/main.py` @1fc682c. Requests of four sizes, by their shares; what a GPU of a type serves of each size alone;
/// dollars an hour.
const MELANGE_SHARES: [f64; 4] = [0.25, 0.125, 0.375, 0.25];
const MELANGE: [(&str, f64, [f64; 4]); 2] =
    [("A10G", 1.01, [5.0, 1.0, 10.0, 5.0]), ("A100", 3.67, [20.0, 2.0, 50.0, 20.0])];

/// Its integer program, by trying every assignment of a size to a type: GPUs of each type, dollars an hour.
fn melange(requests_per_second: f64) -> ([u32; 2], f64) {
    let assignments = (0..1 << MELANGE_SHARES.len()).map(|bits: u32| {
        let gpus = [0, 1].map(|kind| {
            let mine = (0..4).filter(|size| bits >> size & 1 == kind as u32);
            let (_, _, served) = MELANGE[kind];
            let load = mine.map(|i| MELANGE_SHARES[i] * requests_per_second / served[i]);
            (load.sum::<f64>() - 1e-9).ceil().max(0.0) as u32
        });
        (gpus, f64::from(gpus[0]) * MELANGE[0].1 + f64::from(gpus[1]) * MELANGE[1].1)
    });
    assignments.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are some")
}

/// A service's replicas all get the same mixture of requests, of which a GPU serves `1 / Σ share/served`.
#[test]
fn the_toy_instance_of_melange_has_its_answer() {
    let rates = MELANGE.map(|(name, _, served)| {
        let load: f64 = MELANGE_SHARES.iter().zip(served).map(|(share, each)| share / each).sum();
        (name, 1.0 / load)
    });
    let answer = |requests_per_second: f64| {
        let offerings = MELANGE
            .map(|(name, price, _)| gpu(&format!("aws/r/{name}/on_demand"), name, 1, 24.0, price));
        let chat = loaded("chat", requests_per_second, &rates);
        let placement = world(vec![cloud("aws")], vec![chat], offerings.into()).solve();
        let gpus = MELANGE.map(|(name, _, _)| {
            let rental = placement.rentals.get(&format!("aws/r/{name}/on_demand"));
            rental.map_or(0, |rental| rental.nodes.len() as u32)
        });
        (gpus, placement.cost.total_month / 730.0)
    };
    // 16 requests a second: five A10G at $5.05 an hour, by its program and by ours.
    let (gpus, dollars) = melange(16.0);
    assert_eq!((gpus, (dollars * 100.0).round()), ([5, 0], 505.0));
    let (gpus, dollars) = answer(16.0);
    assert_eq!((gpus, (dollars * 100.0).round()), ([5, 0], 505.0));
    // More of them, by trying every number of each.
    for load in [1.0, 4.0, 11.0, 23.0, 37.0, 60.0, 128.0] {
        let mut least = f64::INFINITY;
        for (small, large) in (0..50).flat_map(|small| (0..20).map(move |large| (small, large))) {
            let (small, large) = (f64::from(small), f64::from(large));
            if small * rates[0].1 + large * rates[1].1 >= load {
                least = least.min(small * MELANGE[0].1 + large * MELANGE[1].1);
            }
        }
        let (gpus, dollars) = answer(load);
        assert!((dollars - least).abs() < 1e-9, "{load}: {gpus:?} for {dollars}, least is {least}");
    }
}

/// Figures of our own: a service whose small requests are cheapest on a small GPU and whose large ones need a
/// large GPU. Each kind of request is a service of its own here. A mix of both types is cheaper than either.
#[test]
fn a_mix_of_gpu_types_is_cheaper_than_any_one() {
    let toy = |types: &[&str]| {
        let mut small = loaded("small-requests", 7.0, &[("A10G", 2.0), ("A100", 4.0)]);
        let mut large = loaded("large-requests", 3.0, &[("A10G", 0.5), ("A100", 3.0)]);
        for workload in [&mut small, &mut large] {
            workload.needs.gpu_types = types.iter().map(|name| (*name).to_owned()).collect();
        }
        world(
            vec![cloud("aws")],
            vec![small, large],
            vec![
                gpu("aws/r/a10g/on_demand", "A10G", 1, 24.0, 1.01),
                gpu("aws/r/a100/on_demand", "A100", 1, 80.0, 3.67),
            ],
        )
    };
    let cost = |types: &[&str]| toy(types).solve().cost.total_month / 730.0;
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    close(cost(&["A10G"]), 10.0 * 1.01);
    close(cost(&["A100"]), 3.0 * 3.67);
    close(cost(&["A10G", "A100"]), 4.0 * 1.01 + 3.67);
}

#[test]
fn a_share_of_spot_may_be_lost_at_once() {
    let spot = |max_share, base_on_demand| {
        move |chat: &mut Workload| {
            chat.placement.markets.push(SPOT);
            chat.placement.spot = Some(SpotRules { max_share, base_on_demand });
        }
    };
    // Half of 36 must be served without spot.
    let placement = mix(36.0, spot(Some(0.5), 0)).solve();
    assert_eq!(nodes(&placement), BTreeMap::from([(LARGE, 1), (LARGE_ON_SPOT, 1)]));
    let placement = mix(36.0, spot(Some(0.9), 0)).solve();
    assert_eq!(nodes(&placement), BTreeMap::from([(LARGE_ON_SPOT, 2), (SMALL, 1)]));
    let placement = mix(36.0, spot(None, 2)).solve();
    assert_eq!(nodes(&placement), BTreeMap::from([(LARGE_ON_SPOT, 2), (SMALL, 2)]));
}

#[test]
fn a_place_may_be_lost_at_once() {
    let over = |over, min, max_share| {
        move |chat: &mut Workload| chat.placement.spread = vec![Spread { over, min, max_share }]
    };
    let placement = mix(36.0, over(SpreadOver::Cloud, None, Some(0.5))).solve();
    assert_eq!(nodes(&placement), BTreeMap::from([(LARGE, 1), (LARGE_ELSEWHERE, 1)]));
    let placement = mix(4.0, over(SpreadOver::Cloud, Some(2), None)).solve();
    assert_eq!(nodes(&placement), BTreeMap::from([(SMALL, 1), (LARGE_ELSEWHERE, 1)]));
}

#[test]
fn an_autoscaler_bounds_the_number() {
    let bounds = |min, max| {
        move |chat: &mut Workload| {
            chat.autoscale = Some(fleetform_contract::Autoscale { min, max, target_cpu: 0.8 });
        }
    };
    assert_eq!(nodes(&mix(4.0, bounds(3, 9)).solve()), BTreeMap::from([(SMALL, 3)]));
    assert_eq!(nodes(&mix(12.0, bounds(1, 2)).solve()), BTreeMap::from([(LARGE, 1)]));
    let refusal = mix(40.0, bounds(1, 2)).say(&["service.chat.autoscale.max"]).refusal();
    assert_snapshot!(refusal, @r"
    No placement satisfies every limit (at service.chat.autoscale.max)
    `service.chat` may have 2 replicas (autoscale.max); 3 are needed (main.hcl:1).
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn nodes_and_rates_meet_in_large_nodes() {
    // Eight GPUs for the price of six: 500 requests a second are 28 replicas, or three nodes and two more.
    let mut chat = loaded("chat", 500.0, &[("A100", 18.0)]);
    chat.needs.gpus = 1;
    let eights = world(
        vec![cloud("aws")],
        vec![chat],
        vec![
            gpu("aws/r/one/on_demand", "A100", 1, 40.0, 1.0),
            gpu("aws/r/eight/on_demand", "A100", 8, 40.0, 6.0),
        ],
    );
    let expected = BTreeMap::from([("aws/r/eight/on_demand", 3), ("aws/r/one/on_demand", 4)]);
    assert_eq!(nodes(&eights.solve()), expected);
}

#[test]
fn nothing_known_to_serve_it_is_told() {
    let refusal = mix(4.0, |chat| chat.needs.gpu_types = vec!["H100".to_owned()]);
    assert_snapshot!(refusal.say(&["service.chat.load"]).refusal(), @r#"
    No offering fits (at service.chat.load)
    `service.chat` is sized by its load, and `model.model` has a throughput on A100 and L4 only. Because `service.chat` can run in aws/r only and the GPUs there are H100, nothing is known to serve it.
    hint: measure it and add `throughput "H100"` to `model.model`
    "#);
    let mut none = mix(4.0, |_| {});
    let chat = none.stack.workloads.get_mut("chat").expect("chat");
    let Amount::Load(load) = &mut chat.amount else { panic!("by load") };
    load.size = LoadSize::Known(1e9);
    assert_snapshot!(none.say(&["service.chat"]).refusal(), @r"
    Too many replicas (at service.chat)
    The stack asks for 55555556 replicas; at most 100000 are placed together.
    ");
}

#[test]
fn limits_that_clash_with_a_load_are_told() {
    let mut short = mix(36.0, |chat| {
        chat.placement.clouds = vec!["aws".to_owned()];
        chat.placement.markets.push(SPOT);
        chat.placement.spot = Some(SpotRules { max_share: Some(0.5), base_on_demand: 0 });
    });
    let quota = |gpu_type: &str, max_gpus| fleetform_contract::Quota {
        region: None,
        gpu_type: Some(gpu_type.to_owned()),
        max_gpus,
    };
    let aws = short.stack.clouds.get_mut("aws").expect("aws");
    aws.quotas = vec![quota("A100", 1), quota("L4", 3)];
    let said = ["cloud.aws.quota.0", "cloud.aws.quota.1", "service.chat.placement.spot.max_share"];
    assert_snapshot!(short.say(&said).refusal(), @r"
    No placement satisfies every limit (at cloud.aws.quota.0)
    `cloud.aws` has a quota of 1 A100 GPU; 2 are needed (main.hcl:1).
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn what_is_served_elsewhere_is_told() {
    let alone = mix(36.0, |chat| {
        chat.placement.clouds = vec!["aws".to_owned()];
        let over = SpreadOver::Cloud;
        chat.placement.spread = vec![Spread { over, min: None, max_share: Some(0.5) }];
    });
    let said = ["service.chat.placement.spread.0.max_share"];
    assert_snapshot!(alone.say(&said).refusal(), @r"
    No placement satisfies every limit (at service.chat.placement.spread.0.max_share)
    `service.chat` must serve 18 of 36 requests per second without any one cloud (max_share = 0.5); 0 can be (main.hcl:1).
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn lies_about_a_load_are_found() {
    let world = mix(22.0, |_| {});
    let (problem, placement) = (world.problem(), world.solve());
    assert_eq!(check(&problem, &placement), Ok(()));
    type Lie = fn(&mut Placement);
    let lies: Vec<(Lie, &str)> = vec![
        (
            |p| p.seats.retain(|seats| seats.offering == LARGE),
            "chat serves 18 requests a second of 22",
        ),
        (|p| p.seats.clear(), "chat has 0 seats, at least 1"),
        (|p| p.loads.clear(), "chat serves 22 requests a second, not None"),
        (|p| p.loads.values_mut().for_each(|load| load.served_per_second += 1.0), "not Some"),
        (
            |p| {
                let served = p.loads["chat"];
                p.loads.insert("web".to_owned(), served);
            },
            "web has no load",
        ),
    ];
    for (lie, words) in lies {
        let mut placement = placement.clone();
        lie(&mut placement);
        let broken = check(&problem, &placement).expect_err(words).join("\n");
        assert!(broken.contains(words), "{words}: {broken}");
    }
}

#[test]
fn nothing_is_asked_of_a_load_that_waits() {
    let mut world = mix(40.0, |chat| {
        chat.placement.markets.push(SPOT);
        chat.placement.spot = Some(SpotRules { max_share: Some(0.5), base_on_demand: 1 });
        let (min, max_share) = (Some(2), Some(0.6));
        chat.placement.spread = vec![Spread { over: SpreadOver::Cloud, min, max_share }];
        chat.placement.together_with = vec!["other".to_owned()];
    });
    world.stack.workloads.insert("other".to_owned(), service("other", 2, 1));
    let mut problem = world.problem();
    let chat = problem.demands.iter().position(|demand| demand.workload == "chat");
    problem.ask_for(chat.expect("it is there"), 0);
    let placement = solve(&problem).expect("the other can be placed");
    assert_eq!(check(&problem, &placement), Ok(()));
    assert!(placement.seats.iter().all(|seats| seats.workload == "other"), "{placement:?}");
}
