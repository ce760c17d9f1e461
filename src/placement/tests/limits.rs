//! Every limit binds where it should, and where limits clash the diagnostic says which and by how much.

use std::collections::BTreeMap;

use fleetform_contract::{Capacity, Offering, Quota, Reservation};
use insta::assert_snapshot;

use super::support::*;
use crate::config::{Amount, SpotRules, Spread, SpreadOver};
use crate::placement::Placement;

/// Replicas by offering, over all workloads.
fn replicas(placement: &Placement) -> BTreeMap<&str, u32> {
    let mut by = BTreeMap::new();
    for seats in &placement.seats {
        *by.entry(seats.offering.as_str()).or_insert(0) += seats.replicas;
    }
    by
}

const CHEAP: &str = "aws/r1/g/on_demand";
const SECOND: &str = "aws/r2/g/on_demand";
const OTHER: &str = "gcp/r1/g/on_demand";
const ON_SPOT: &str = "aws/r1/g/spot";

/// One GPU a node, at 1, 2, 3 and half a dollar an hour.
fn offerings() -> Vec<Offering> {
    [(CHEAP, 1.0), (SECOND, 2.0), (OTHER, 3.0), (ON_SPOT, 0.5)]
        .map(|(id, price)| gpu(id, "L4", 1, 24.0, price))
        .into()
}

/// Four replicas on two clouds, without any limit yet.
fn four() -> World {
    world(vec![cloud("aws"), cloud("gcp")], vec![service("chat", 4, 1)], offerings())
}

fn with(change: impl FnOnce(&mut World)) -> World {
    let mut world = four();
    change(&mut world);
    world
}

fn aws(world: &mut World) -> &mut fleetform_contract::Cloud {
    world.stack.clouds.get_mut("aws").expect("aws")
}

fn chat(world: &mut World) -> &mut crate::config::Workload {
    world.stack.workloads.get_mut("chat").expect("chat")
}

fn only_aws(world: &mut World) {
    chat(world).placement.clouds = vec!["aws".to_owned()];
}

fn quota(region: Option<&str>, gpu_type: Option<&str>, max_gpus: u32) -> Quota {
    let [region, gpu_type] = [region, gpu_type].map(|text| text.map(str::to_owned));
    Quota { region, gpu_type, max_gpus }
}

#[test]
fn limits_bind() {
    let spread = |over, min, max_share| vec![Spread { over, min, max_share }];
    type Case = (&'static str, World, Vec<(&'static str, u32)>);
    let cases: Vec<Case> = vec![
        ("none", four(), vec![(CHEAP, 4)]),
        (
            "quota of a region",
            with(|world| aws(world).quotas.push(quota(Some("r1"), None, 3))),
            vec![(CHEAP, 3), (SECOND, 1)],
        ),
        (
            "quota of a type",
            with(|world| aws(world).quotas.push(quota(None, Some("L4"), 1))),
            vec![(CHEAP, 1), (OTHER, 3)],
        ),
        (
            "quota of another type",
            with(|world| aws(world).quotas.push(quota(None, Some("H100"), 0))),
            vec![(CHEAP, 4)],
        ),
        (
            "capacity in GPUs",
            with(|world| aws(world).capacity.gpus = Some(2.0)),
            vec![(CHEAP, 2), (OTHER, 2)],
        ),
        (
            "capacity in CPUs",
            with(|world| {
                chat(world).needs.cpus = 2.0;
                aws(world).capacity.cpus = Some(7.0);
            }),
            vec![(CHEAP, 3), (OTHER, 1)],
        ),
        (
            "capacity in nodes",
            with(|world| aws(world).capacity.nodes = Some(1)),
            vec![(CHEAP, 1), (OTHER, 3)],
        ),
        (
            "nodes that exist",
            with(|world| {
                let aws = world.offerings.get_mut("aws").expect("aws");
                aws[0].max_nodes = Some(2);
            }),
            vec![(CHEAP, 2), (SECOND, 2)],
        ),
        ("spot", with(|world| chat(world).placement.markets.push(SPOT)), vec![(ON_SPOT, 4)]),
        (
            "share of spot",
            with(|world| {
                chat(world).placement.markets.push(SPOT);
                let spot = SpotRules { max_share: Some(0.7), base_on_demand: 0 };
                chat(world).placement.spot = Some(spot);
            }),
            vec![(CHEAP, 2), (ON_SPOT, 2)],
        ),
        (
            "base on demand",
            with(|world| {
                chat(world).placement.markets.push(SPOT);
                let spot = SpotRules { max_share: None, base_on_demand: 3 };
                chat(world).placement.spot = Some(spot);
            }),
            vec![(CHEAP, 3), (ON_SPOT, 1)],
        ),
        (
            "spread over regions",
            with(|world| {
                chat(world).placement.spread = spread(SpreadOver::Region, Some(2), None);
            }),
            vec![(CHEAP, 3), (SECOND, 1)],
        ),
        (
            "spread over clouds",
            with(|world| chat(world).placement.spread = spread(SpreadOver::Cloud, Some(2), None)),
            vec![(CHEAP, 3), (OTHER, 1)],
        ),
        (
            "largest share of a region",
            with(|world| {
                chat(world).placement.spread = spread(SpreadOver::Region, None, Some(0.5));
            }),
            vec![(CHEAP, 2), (SECOND, 2)],
        ),
        (
            "one site",
            with(|world| {
                aws(world).quotas.push(quota(Some("r1"), None, 3));
                chat(world).placement.split = false;
            }),
            vec![(SECOND, 4)],
        ),
        (
            "regions and clouds",
            with(|world| {
                chat(world).placement.regions = vec!["r2*".to_owned()];
                only_aws(world);
            }),
            vec![(SECOND, 4)],
        ),
    ];
    for (name, world, expected) in cases {
        assert_eq!(replicas(&world.solve()), BTreeMap::from_iter(expected), "{name}");
    }
}

#[test]
fn a_budget_binds_at_the_cheapest_cost() {
    let cost = 4.0 * 730.0;
    let mut world = four().say(&["optimize.budget"]);
    world.stack.optimize.budget_month = Some(cost);
    assert_eq!(world.solve().cost.total_month, cost);
    world.stack.optimize.budget_month = Some(cost - 20.5);
    assert_snapshot!(world.refusal(), @r"
    No placement satisfies every limit (at optimize.budget)
    `optimize` has a budget of $2,899.50; the cheapest possible placement costs $2,920 a month (main.hcl:1).
    If 1 of the 4 replicas of `service.chat` waits, the rest can be placed.
    hint: raise `budget` to 2920, or ask for less
    ");
}

#[test]
fn too_little_capacity() {
    let mut world = lepton().say(&["cloud.aws.capacity.gpus", "cloud.azure.capacity.gpus"]);
    let service = world.stack.workloads.get_mut("service-1").expect("the first");
    let Amount::Replicas(replicas) = &mut service.amount else { panic!("it has replicas") };
    *replicas += 6;
    assert_snapshot!(world.refusal(), @r"
    No placement satisfies every limit (at cloud.azure.capacity.gpus)
    `cloud.azure` has capacity for 10 GPUs; 12 are needed (main.hcl:2).
    If `service.service-9` waits, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn quotas_that_clash() {
    let world = with(|world| {
        aws(world).quotas.push(quota(Some("r1"), Some("L4"), 1));
        aws(world).quotas.push(quota(Some("r2"), None, 1));
        only_aws(world);
    });
    let world = world.say(&["service.chat", "cloud.aws.quota.0", "cloud.aws.quota.1"]);
    assert_snapshot!(world.refusal(), @r"
    No placement satisfies every limit (at cloud.aws.quota.0)
    `cloud.aws` has a quota of 1 L4 GPU in r1; 3 are needed (main.hcl:2).
    If 2 of the 4 replicas of `service.chat` wait, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn capacities_that_clash() {
    let world = with(|world| {
        chat(world).needs.cpus = 2.5;
        aws(world).capacity = Capacity { gpus: Some(2.0), cpus: Some(5.5), nodes: Some(3) };
        only_aws(world);
    });
    let world = world.say(&["cloud.aws", "cloud.aws.capacity", "cloud.aws.capacity.cpus"]);
    assert_snapshot!(world.refusal(), @r"
    No placement satisfies every limit (at cloud.aws.capacity.cpus)
    3 limits must give way together:
    - `cloud.aws` has capacity for 5.5 CPUs; 10 are needed (main.hcl:3);
    - `cloud.aws` has capacity for 2 GPUs; 4 are needed (main.hcl:2);
    - `cloud.aws` has capacity for 3 nodes; 4 are needed (main.hcl:2).
    If 2 of the 4 replicas of `service.chat` wait, the rest can be placed.
    hint: change these limits that far, or ask for less; no fewer limits and no smaller changes are enough
    ");
}

#[test]
fn too_few_nodes_exist() {
    let world = with(|world| {
        for offering in world.offerings.get_mut("aws").expect("aws") {
            offering.max_nodes = Some(1);
        }
        only_aws(world);
        chat(world).placement.regions = vec!["r1".to_owned()];
    });
    assert_snapshot!(world.say(&["cloud.aws.node.g"]).refusal(), @r"
    No placement satisfies every limit (at cloud.aws.node.g)
    aws/r1/g/on_demand has 1 node; 4 are needed (main.hcl:1).
    If 3 of the 4 replicas of `service.chat` wait, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn a_reservation_alone_is_too_small() {
    let world = with(|world| {
        let reservation = Reservation {
            region: "r1".to_owned(),
            instance_type: "g".to_owned(),
            nodes: 3,
            id: None,
            zone: None,
            from: None,
            until: None,
        };
        aws(world).reservations.push(reservation);
        chat(world).placement.markets = vec![fleetform_contract::Market::Reserved];
    });
    assert_snapshot!(world.say(&["cloud.aws.reservation.0"]).refusal(), @r"
    No placement satisfies every limit (at cloud.aws.reservation.0)
    aws/r1/g/reserved has 3 reserved nodes; 4 are needed (main.hcl:1).
    If 1 of the 4 replicas of `service.chat` waits, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn spot_only_and_a_base_on_demand() {
    let world = with(|world| {
        chat(world).placement.markets = vec![SPOT];
        chat(world).placement.spot = Some(SpotRules { max_share: Some(0.9), base_on_demand: 1 });
    });
    let said = ["service.chat.placement.spot.max_share", "service.chat.placement.spot"];
    assert_snapshot!(world.say(&said).refusal(), @r"
    No placement satisfies every limit (at service.chat.placement.spot)
    2 limits must give way together:
    - `service.chat` may have 3 of its 4 replicas on spot nodes (base_on_demand = 1); 4 are needed (main.hcl:2);
    - `service.chat` may have 3 of its 4 replicas on spot nodes (max_share = 0.9); 4 are needed (main.hcl:1).
    hint: change these limits that far, or ask for less; no fewer limits and no smaller changes are enough
    ");
}

#[test]
fn too_few_places_to_spread_over() {
    let spread = |over, min, max_share| {
        let world = with(|world| {
            chat(world).placement.spread = vec![Spread { over, min, max_share }];
        });
        world.say(&["service.chat.placement.spread.0"]).refusal()
    };
    assert_snapshot!(spread(SpreadOver::Cloud, Some(3), None), @r"
    No placement satisfies every limit (at service.chat.placement.spread.0)
    `service.chat` must run in at least 3 clouds; 2 are possible (main.hcl:1).
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
    assert_snapshot!(spread(SpreadOver::Region, Some(5), None), @r"
    No placement satisfies every limit (at service.chat.placement.spread.0)
    `service.chat` must run in at least 5 regions; 3 are possible (main.hcl:1).
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
    assert_snapshot!(spread(SpreadOver::Cloud, None, Some(0.3)), @r"
    No placement satisfies every limit (at service.chat.placement.spread.0)
    `service.chat` may have 1 of its 4 replicas in one cloud (max_share = 0.3); 2 are needed (main.hcl:1).
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn one_site_is_too_small() {
    let world = with(|world| {
        for region in ["r1", "r2"] {
            aws(world).quotas.push(quota(Some(region), None, 3));
        }
        only_aws(world);
        chat(world).amount = Amount::Replicas(6);
        chat(world).placement.split = false;
    });
    let said = ["service.chat.placement.split", "cloud.aws.quota.0", "cloud.aws.quota.1"];
    assert_snapshot!(world.say(&said).refusal(), @r"
    No placement satisfies every limit (at service.chat.placement.split)
    `service.chat` may not be split; 2 sites are needed (main.hcl:1).
    If 3 of the 6 replicas of `service.chat` wait, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn what_is_told_can_be_packed() {
    // Two nodes have GPUs enough by number; three replicas of five need three nodes of eight.
    let mut world = world(
        vec![cloud("aws")],
        vec![service("a", 3, 5), service("b", 1, 1)],
        vec![gpu("aws/r/eight/on_demand", "A100", 8, 40.0, 1.0)],
    );
    aws(&mut world).quotas.push(quota(None, None, 16));
    assert_snapshot!(world.say(&["cloud.aws.quota.0"]).refusal(), @r"
    No placement satisfies every limit (at cloud.aws.quota.0)
    `cloud.aws` has a quota of 16 GPUs; 24 are needed (main.hcl:1).
    If 1 of the 3 replicas of `service.a` waits, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}

#[test]
fn pairs_are_apart_or_together() {
    let pair = |rule: fn(&mut crate::config::PlacementRules) -> &mut Vec<String>| {
        with(|world| {
            chat(world).amount = Amount::Replicas(2);
            let mut ranker = service("ranker", 1, 1);
            rule(&mut ranker.placement).push("chat".to_owned());
            world.stack.workloads.insert("ranker".to_owned(), ranker);
        })
    };
    let seats = |world: &World| -> Vec<String> {
        let placement = world.solve();
        placement
            .seats
            .iter()
            .map(|seats| format!("{} {}", seats.workload, seats.offering))
            .collect()
    };
    let apart = pair(|rules| &mut rules.apart_from);
    assert_eq!(seats(&apart), ["chat aws/r1/g/on_demand", "ranker aws/r2/g/on_demand"]);
    // Alone the ranker would be at the cheapest site; the quota leaves no room for both there.
    let mut together = pair(|rules| &mut rules.together_with);
    aws(&mut together).quotas.push(quota(Some("r1"), None, 2));
    assert_eq!(seats(&together), ["chat aws/r2/g/on_demand", "ranker aws/r2/g/on_demand"]);

    let mut apart = apart;
    only_aws(&mut apart);
    let placement = &mut apart.stack.workloads.get_mut("ranker").expect("it is there").placement;
    placement.clouds = vec!["aws".to_owned()];
    for workload in apart.stack.workloads.values_mut() {
        workload.placement.regions = vec!["r1".to_owned()];
    }
    assert_snapshot!(apart.say(&["service.ranker.placement.apart_from"]).refusal(), @r"
    No placement satisfies every limit (at service.ranker.placement.apart_from)
    `service.chat` and `service.ranker` must be apart, and cannot (main.hcl:1).
    If `service.ranker` waits, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
    let ranker = together.stack.workloads.get_mut("ranker").expect("it is there");
    ranker.placement.clouds = vec!["aws".to_owned()];
    ranker.placement.regions = vec!["r1".to_owned()];
    let mut elsewhere = together.clone();
    chat(&mut elsewhere).placement.regions = vec!["r2".to_owned()];
    assert_snapshot!(elsewhere.say(&["service.ranker.placement.together_with"]).refusal(), @r"
    No site fits both (at service.ranker.placement.together_with)
    `service.chat` and `service.ranker` must be at the same sites, and none fits both: `service.chat` fits in aws/r2 only, `service.ranker` in aws/r1 only.
    hint: widen the regions or GPU types of one of them, or remove this rule
    ");
    assert_snapshot!(together.say(&["cloud.aws.quota.0"]).refusal(), @r"
    No placement satisfies every limit (at cloud.aws.quota.0)
    `cloud.aws` has a quota of 2 GPUs in r1; 3 are needed (main.hcl:1).
    If `service.ranker` waits, the rest can be placed.
    hint: change this limit that far, or ask for less; no smaller change is enough
    ");
}
