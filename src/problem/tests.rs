//! Problems that cannot be posed, and what is said about them.

use fleetform_contract::{Location, Market, Offering, Quota, Reservation};
use insta::assert_snapshot;

use super::Rule;
use crate::config::{LatencyRule, Workload};
use crate::placement::tests::support::*;

fn offerings() -> Vec<Offering> {
    let mut small = gpu("aws/eu-west-1/g6.xlarge/on_demand", "L4", 1, 22.4, 0.8);
    (small.cpus, small.memory_gib) = (4.0, 16.0);
    let mut arm = gpu("gcp/us-east1/grace/on_demand", "GH200", 1, 96.0, 0.1);
    arm.architecture = "arm64".to_owned();
    vec![
        small,
        gpu("aws/eu-west-1/p4d/on_demand", "A100", 8, 40.0, 20.0),
        gpu("aws/us-east-1/p5/on_demand", "H100", 8, 80.0, 40.0),
        gpu("aws/us-east-1/g6.xlarge/spot", "L4", 1, 22.4, 0.3),
        gpu("gcp/us-east1/a3-ultra/on_demand", "H100", 16, 80.0, 90.0),
        arm,
    ]
}

/// What is said about one service that these changes make impossible.
fn refusal(change: impl FnOnce(&mut Workload)) -> String {
    let mut chat = service("chat", 2, 1);
    change(&mut chat);
    let said = ["gpus", "gpu_types", "gpu_memory", "cpus", "memory"];
    let said = said.map(|name| format!("service.chat.resources.{name}"));
    let mut said: Vec<&str> = said.iter().map(String::as_str).collect();
    said.extend(["service.chat", "service.chat.placement.regions"]);
    said.extend(["service.chat.placement.clouds", "service.chat.placement.markets"]);
    world(vec![cloud("aws"), cloud("gcp")], vec![chat], offerings()).say(&said).refusal()
}

/// The offerings with their places: AWS in Dublin and Ashburn, Google Cloud nobody knows where.
fn placed_refusal(change: impl FnOnce(&mut Workload)) -> String {
    let mut chat = service("chat", 2, 1);
    change(&mut chat);
    let place = |latitude, longitude, country: &str| {
        Some(Location { latitude, longitude, country: Some(country.to_owned().into()) })
    };
    let mut offerings = offerings();
    for offering in &mut offerings {
        offering.location = match offering.region.as_str() {
            "eu-west-1" => place(53.35, -6.26, "IE"),
            "us-east-1" => place(39.04, -77.49, "US"),
            _ => None,
        };
    }
    let said = ["service.chat.placement.residency", "service.chat.placement.latency.max"];
    world(vec![cloud("aws"), cloud("gcp")], vec![chat], offerings).say(&said).refusal()
}

#[test]
fn no_region_in_the_country() {
    let text = placed_refusal(|chat| chat.placement.residency = vec!["DE".into(), "FR".into()]);
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.placement.residency)
    `service.chat` must stay in DE and FR, and what it may use is in IE, US and gcp/us-east1 (nobody told where).
    ");
}

#[test]
fn no_region_near_enough() {
    let berlin = Location { latitude: 52.52, longitude: 13.40, country: None };
    let rule = |max_ms| Some(LatencyRule { from: berlin.clone(), max_ms });
    let text = placed_refusal(|chat| chat.placement.latency = rule(20.0));
    assert_snapshot!(text, @r#"
    No offering fits (at service.chat.placement.latency.max)
    `service.chat` must be within 20 ms, and the nearest region that it may use, aws/eu-west-1, is about 25 ms away.
    hint: allow "25ms", or another region
    "#);
    let text = placed_refusal(|chat| {
        chat.placement.clouds = vec!["gcp".to_owned()];
        chat.placement.latency = rule(500.0);
    });
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.placement.latency.max)
    `service.chat` must be within 500 ms, and nobody told where the clusters are that it may use.
    hint: say where: `location = { latitude = …, longitude = … }`
    ");
}

#[test]
fn too_many_gpus_for_a_region() {
    let text = refusal(|chat| {
        chat.needs.gpus = 16;
        chat.placement.regions = vec!["eu-west-1".to_owned()];
    });
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.resources.gpus)
    One replica needs 16 GPUs. Because `service.chat` is limited to aws/eu-west-1 and the largest offering there has 8 GPUs, no node can hold one replica.
    hint: allow another region: gcp/us-east1 has one that fits, or ask for at most 8 GPUs
    ");
}

#[test]
fn too_many_gpus_for_anybody() {
    assert_snapshot!(refusal(|chat| chat.needs.gpus = 32), @r"
    No offering fits (at service.chat.resources.gpus)
    One replica needs 32 GPUs. Because the largest offering has 16 GPUs, no node can hold one replica.
    hint: ask for at most 16 GPUs
    ");
}

#[test]
fn too_much_gpu_memory() {
    let text = refusal(|chat| {
        chat.needs.gpu_types = vec!["A100".to_owned()];
        chat.needs.gpu_memory_gib = 80.0;
    });
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.resources.gpu_memory)
    One replica needs GPUs with 80 GiB. Because `service.chat` can run in aws/eu-west-1 only and the largest such GPU there has 40 GiB, no node can hold one replica.
    hint: ask for at most 40GiB
    ");
}

#[test]
fn unknown_gpu_types() {
    assert_snapshot!(refusal(|chat| chat.needs.gpu_types = vec!["H10O".to_owned()]), @r"
    No offering fits (at service.chat.resources.gpu_types)
    Because no offering has a GPU of type `H10O`, no node can hold one replica. There are: A100, GH200, H100 and L4.
    hint: did you mean `H100`?
    ");
}

#[test]
fn gpu_types_of_another_region() {
    let text = refusal(|chat| {
        chat.needs.gpu_types = vec!["H100".to_owned()];
        chat.placement.regions = vec!["eu-*".to_owned()];
    });
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.resources.gpu_types)
    Because `service.chat` is limited to aws/eu-west-1 and no offering there has a GPU of type `H100`, no node can hold one replica. There are: A100 and L4.
    hint: allow another region: aws/us-east-1 has one that fits
    ");
}

#[test]
fn unknown_regions() {
    let regions = ["us-est-1", "eu-*"].map(str::to_owned);
    assert_snapshot!(refusal(|chat| chat.placement.regions = regions.into()), @r"
    Unknown region (at service.chat.placement.regions)
    `service.chat` asks for the region `us-est-1`, and the clouds it may use have none of that name. They have: eu-west-1, us-east-1 and us-east1.
    hint: did you mean `us-east-1`?
    ");
}

#[test]
fn nothing_on_the_market() {
    let text = refusal(|chat| {
        chat.placement.markets = vec![SPOT];
        chat.placement.regions = vec!["eu-west-1".to_owned()];
    });
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.placement.markets)
    Because `service.chat` is limited to aws/eu-west-1 and nothing is sold there on `spot`, no node can be rented.
    hint: allow another region: aws/us-east-1 has one that fits
    ");
}

#[test]
fn more_cpus_and_memory_than_are_left_of_a_node() {
    let cpus = refusal(|chat| {
        chat.needs.gpu_types = vec!["L4".to_owned()];
        chat.needs.cpus = 4.0;
    });
    assert_snapshot!(cpus, @r"
    No offering fits (at service.chat.resources.cpus)
    One replica needs 4 CPUs. Because `service.chat` can run in aws/eu-west-1 only and the largest such node there leaves 3.61 CPUs to replicas (the system keeps the rest), no node can hold one replica.
    hint: allow the market `spot`, or ask for at most 3.61 CPUs
    ");
    let memory = refusal(|chat| {
        chat.needs.gpu_types = vec!["L4".to_owned()];
        chat.needs.memory_gib = 14.5;
    });
    assert_snapshot!(memory, @r"
    No offering fits (at service.chat.resources.memory)
    One replica needs 14.5 GiB of memory. Because `service.chat` can run in aws/eu-west-1 only and the largest such node there leaves 13.05 GiB to replicas (the system keeps the rest), no node can hold one replica.
    hint: allow the market `spot`, or ask for at most 13.05GiB
    ");
}

#[test]
fn no_nodes_without_gpus() {
    assert_snapshot!(refusal(|chat| chat.needs.gpus = 0), @r"
    No offering fits (at service.chat)
    Because every offering has GPUs, there is no node for a replica that needs none.
    ");
}

#[test]
fn only_machines_of_another_architecture() {
    let text = refusal(|chat| chat.needs.gpu_memory_gib = 90.0);
    assert_snapshot!(text, @r"
    No offering fits (at service.chat.resources.gpu_memory)
    One replica needs GPUs with 90 GiB. Because the largest such GPU has 80 GiB, no node can hold one replica.
    hint: ask for at most 80GiB
    ");
    // Named, it is taken.
    let mut chat = service("chat", 2, 1);
    chat.needs.gpu_types = vec!["GH200".to_owned()];
    let named = world(vec![cloud("aws"), cloud("gcp")], vec![chat], offerings());
    assert!(named.solve().rentals.contains_key("gcp/us-east1/grace/on_demand"));
}

#[test]
fn clouds_that_say_what_is_not_there() {
    let mut aws = cloud("aws");
    aws.regions = vec!["eu-west-1".to_owned(), "eu-west-9".to_owned()];
    aws.reservations.push(Reservation {
        region: "eu-west-1".to_owned(),
        instance_type: "p4de".to_owned(),
        nodes: 1,
        id: None,
        zone: None,
        from: None,
        until: None,
    });
    let world = world(vec![aws], vec![service("chat", u32::MAX, 1)], offerings());
    let said = ["cloud.aws.regions", "cloud.aws.reservation.0", "service.chat"];
    assert_snapshot!(world.say(&said).refusal(), @r"
    Unknown region (at cloud.aws.regions)
    The catalog of `cloud.aws` has nothing in a region `eu-west-9`.
    hint: did you mean `eu-west-1`?
    Unknown instance type (at cloud.aws.reservation.0)
    A reservation names `p4de`, which is not offered in eu-west-1.
    hint: did you mean `p4d`?
    Too many replicas (at service.chat)
    The stack asks for 4294967295 replicas; at most 100000 are placed together.
    ");
}

#[test]
fn a_gpu_type_that_is_not_offered_is_a_warning_beside_one_that_is() {
    let mut chat = service("chat", 1, 1);
    chat.needs.gpu_types = ["L4", "A100-80GB"].map(str::to_owned).into();
    let problem = world(vec![cloud("aws")], vec![chat], offerings()).problem();
    let [warning] = problem.warnings.as_slice() else { panic!("{:?}", problem.warnings) };
    assert_eq!(warning.summary, "GPU type is not offered");
    assert!(!warning.is_error());
}

#[test]
fn reported_quotas_hold_beside_declared_ones() {
    let mut aws = cloud("aws");
    let declared = Quota { region: None, gpu_type: None, max_gpus: 3 };
    aws.quotas.push(declared.clone());
    let world = world(vec![aws], vec![service("chat", 1, 1)], offerings());
    let reported = Quota { max_gpus: 2, ..declared.clone() };
    let quotas = [("aws".to_owned(), vec![reported, declared])].into();
    let problem = super::pose(&world.stack, &world.offerings, &quotas, &[].into(), None);
    let limits = problem.expect("it can be posed").limits;
    let gpus = limits.iter().filter_map(|limit| match limit.rule {
        Rule::Quota { max_gpus, .. } => Some((max_gpus, limit.origin.path.as_str())),
        _ => None,
    });
    assert_eq!(gpus.collect::<Vec<_>>(), [(2, "cloud.aws"), (3, "cloud.aws.quota.0")]);
}

#[test]
fn candidates_are_ordered_by_id_and_the_cheapest_of_a_name_stays() {
    // In ids `/` comes after `+`, `-` and `.`, and before letters and digits.
    let ids = [
        "aws-2/r/a/on_demand",
        "aws/r-1/a/spot",
        "aws/r/a+t/spot",
        "aws/r/a-b/on_demand",
        "aws/r/a.b/on_demand",
        "aws/r/a/on_demand",
        "aws/r/a/spot",
        "aws/r/a1/on_demand",
        "aws/r1/a/on_demand",
    ];
    let mut offerings: Vec<Offering> =
        ids.iter().rev().map(|id| gpu(id, "L4", 1, 24.0, 2.0)).collect();
    let cheaper = gpu("aws/r/a/spot", "L4", 1, 24.0, 1.0);
    offerings.extend([cheaper, gpu("aws/r/a0/spot", "L4", 0, 24.0, 1.0)]);
    for (a, b) in offerings.iter().flat_map(|a| offerings.iter().map(move |b| (a, b))) {
        assert_eq!(a.cmp_by_id(b), a.id().cmp(&b.id()), "{} {}", a.id(), b.id());
    }
    let clouds = vec![cloud("aws"), cloud("aws-2")];
    let mut chat = service("chat", 1, 1);
    chat.placement.markets = vec![Market::OnDemand, Market::Spot];
    let problem = world(clouds, vec![chat], offerings).problem();
    let posed: Vec<&str> = problem.candidates.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(posed, ids, "what nobody may use is left out");
    assert_eq!(problem.candidates[6].price_hour, 1.0);
}
