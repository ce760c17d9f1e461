//! The real catalogs, and stacks as they are written.

use std::collections::BTreeMap;
use std::path::Path;

use fleetform_contract::{Provider, RateCard, SecretKey};

use super::support::*;

#[path = "../../../benches/instances.rs"]
pub mod instances;
use crate::config::{self, Inputs, Spread, SpreadOver};
use crate::placement::large::{self, Tries};
use crate::placement::{Placement, check, is_large, plain, reduce, solve};
use crate::problem::{Amount, Candidate, Demand, Problem, Rule, pose};

/// What the clouds of a stack offer.
fn pose_with_catalogs(stack: &config::Stack) -> Problem {
    let mut offerings = BTreeMap::new();
    let mut quotas = BTreeMap::new();
    let mut tariffs = BTreeMap::new();
    for (name, cloud) in &stack.clouds {
        let provider: Box<dyn Provider> = fleetform_providers::provider(cloud).expect("a cloud");
        offerings.insert(name.clone(), provider.offerings());
        quotas.insert(name.clone(), cloud.quotas.clone());
        tariffs.insert(name.clone(), provider.tariff());
    }
    pose(stack, &offerings, &quotas, &tariffs, None).expect("the stack can be posed")
}

#[test]
fn the_lepton_stack_as_it_is_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/lepton");
    let loaded = config::load(&directory, &Inputs::new(SecretKey::new([0; 32])));
    let stack = loaded.unwrap_or_else(|failure| panic!("{:?}", failure.diagnostics));
    let placement = solve(&pose_with_catalogs(&stack)).expect("it can be placed");
    assert_eq!(placement.cost.total_month, 40_120.0);
    assert!(placement.proof.gap <= 1e-9, "{:?}", placement.proof);
}

/// Services of many sizes that may run anywhere.
fn fleet(services: usize) -> config::Stack {
    let mut dice = Dice(7);
    let workloads = (0..services).map(|number| {
        let gpus = dice.pick(&[0, 1, 1, 1, 2, 4, 8]);
        let mut service = service(&format!("s{number}"), 1 + dice.roll(12) as u32, gpus);
        service.needs.cpus = dice.pick(&[1.0, 2.0, 4.0, 6.0]) * f64::from(gpus.max(1));
        service.needs.memory_gib = service.needs.cpus * dice.pick(&[2.0, 4.0]);
        if gpus > 0 && dice.chance(60) {
            let gpu_type = dice.pick(&["L4", "A100", "A100-80GB", "H100", "T4"]);
            service.needs.gpu_types = vec![gpu_type.to_owned()];
        }
        if dice.chance(40) {
            service.placement.markets.push(SPOT);
        }
        if dice.chance(20) {
            service.placement.regions = vec![dice.pick(&["us-*", "*us*", "eu*"]).to_owned()];
        }
        service
    });
    let clouds = vec![cloud("aws"), cloud("azure"), cloud("gcp")];
    world(clouds, workloads.collect(), Vec::new()).stack
}

#[test]
fn services_on_every_offering_of_three_clouds() {
    let problem = pose_with_catalogs(&fleet(8));
    let groups = reduce::groups(&problem);
    let kept = reduce::undominated(&problem, &groups);
    assert!(
        kept.len() * 4 < problem.candidates.len(),
        "{} of {} candidates are kept",
        kept.len(),
        problem.candidates.len()
    );
    let placement = solve(&problem).expect("it can be placed");
    assert!(placement.proof.gap <= 3e-3, "{:?}", placement.proof);
}

/// A few replicas far apart, who could be anywhere: the relaxation knows that each place takes a whole node.
#[test]
fn few_replicas_are_spread_at_the_proven_least() {
    for over in [SpreadOver::Zone, SpreadOver::Region] {
        let mut chat = service("chat", 3, 0);
        (chat.needs.cpus, chat.needs.memory_gib) = (1.0, 2.0);
        chat.placement.spread = vec![Spread { over, min: Some(2), max_share: None }];
        let clouds = vec![cloud("aws"), cloud("azure"), cloud("gcp")];
        let problem = pose_with_catalogs(&world(clouds, vec![chat], Vec::new()).stack);
        let placement = solve(&problem).expect("it can be placed");
        assert!(placement.proof.gap <= 1e-9, "{over:?}: {:?}", placement.proof);
        let sites = placement.cost.sites_month.len();
        assert_eq!(sites, if over == SpreadOver::Zone { 1 } else { 2 }, "{over:?}");
    }
}

/// A problem of the benchmark.
pub fn instance(text: String) -> Problem {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("main.hcl"), text).expect("written");
    let loaded = config::load(directory.path(), &Inputs::new(SecretKey::new([0; 32])));
    pose_with_catalogs(&loaded.unwrap_or_else(|failure| panic!("{:?}", failure.diagnostics)))
}

/// Both ways of large problems: filled by worth, and counted by programs.
#[test]
fn middling_fleets_cost_what_the_plain_formulation_costs() {
    for seed in 0..4 {
        let problem = instance(instances::fleet(8 + 4 * seed, seed as u64, instances::Extent::Few));
        let groups = reduce::groups(&problem);
        let plain = plain(&problem, 1e-3);
        let objective = plain.objective_month.expect("it can be placed");
        for quick in [true, false] {
            let counted = !quick;
            let tries = Tries { quick, bounded: true, counted, runs: [(12, 0.0); 2], near: 0.0 };
            let proof = large::tried(&problem, &groups, &tries).expect("it can be placed").proof;
            assert!(proof.bound_month <= objective + 1e-6, "seed {seed}: {proof:?} {plain:?}");
            assert!(
                proof.objective_month >= plain.bound_month - 1e-6,
                "seed {seed}: {proof:?} {plain:?}"
            );
            let gap = 1.0 - plain.bound_month / proof.objective_month;
            assert!(gap <= proof.gap.max(2e-3), "seed {seed}: {gap} {proof:?} {plain:?}");
            assert!(gap < 0.02, "seed {seed}: {gap} {proof:?} {plain:?}");
        }
    }
}

/// The resource prices alone leave 1.2 % here.
#[test]
fn a_large_fleet_is_placed_with_a_small_gap() {
    let problem = instance(instances::fleet(100, 2, instances::Extent::All));
    let proof = solve(&problem).expect("it can be placed").proof;
    assert!(proof.gap < 5e-3, "{proof:?}");
}

#[test]
fn zones_traffic_and_being_apart_are_known_in_large_stacks() {
    let text = instances::fleet(40, 1, instances::Extent::All);
    let text = text.replace("over = \"region\"", "over = \"zone\"");
    let apart = "  placement {\n    apart_from = [service.s1, service.s2]\n";
    let text = text.replacen("  placement {\n", apart, 1);
    let calls = "service \"s0\" {\n  calls \"s3\" {\n    traffic = \"20Mbps\"\n  }\n";
    let problem = instance(text.replacen("service \"s0\" {\n", calls, 1));
    assert_eq!(problem.traffic.len(), 1);
    let zoned = problem.limits.iter().filter(|limit| matches!(limit.rule, Rule::ZoneMin { .. }));
    let apart = problem.limits.iter().filter(|limit| matches!(limit.rule, Rule::Apart { .. }));
    assert_eq!((zoned.count(), apart.count()), (2, 2));
    let placement = solve(&problem).expect("it can be placed");
    assert!(placement.proof.gap < 0.02, "{:?}", placement.proof);
    check(&problem, &placement).expect("it is sound");
}

/// A fleet with so much more said of the placement of some services.
fn said(services: usize, more: &[(usize, &str)]) -> String {
    let mut text = instances::fleet(services, 1, instances::Extent::All);
    for (number, words) in more {
        let at = text.find(&format!("service \"s{number}\"")).expect("it is there");
        let placement = "  placement {\n";
        let inside = at + text[at..].find(placement).expect("it has one") + placement.len();
        text.insert_str(inside, &format!("    {words}\n"));
    }
    text
}

#[test]
fn some_are_apart_and_others_together_in_a_large_stack() {
    let mut problem = instance(said(
        24,
        &[
            (0, "together_with = [service.s4]"),
            (4, "apart_from = [service.s5, service.s6]"),
            (5, "together_with = [service.s7]"),
        ],
    ));
    let placement = solve(&problem).expect("it can be placed");
    check(&problem, &placement).expect("it is sound");
    assert!(placement.proof.gap < 0.02, "{:?}", placement.proof);
    runs(&mut problem);
}

#[test]
fn sites_that_clash_are_told_of_those_they_clash_for() {
    let mut text = said(40, &[(0, "together_with = [service.s4]")]);
    let pair = [
        (
            "a",
            "[\"eu-west-1\", \"eu-central-1\"]\n    spread {\n      over = \"region\"\n      min = 2\n    }",
        ),
        ("b", "[\"eu-west-1\", \"us-east-1\"]\n    together_with = [service.a]"),
    ];
    for (name, regions) in pair {
        text += &format!(
            "service \"{name}\" {{\n  image = image.app\n  replicas = 3\n  resources {{\n    cpus = 2\n    \
             memory = \"4GiB\"\n  }}\n  placement {{\n    regions = {regions}\n  }}\n}}\n"
        );
    }
    let errors = solve(&instance(text)).expect_err("there is no second site for both");
    let detail = &errors[0].detail;
    assert!(
        detail.starts_with("`service.a` must run in at least 2 regions; 1 is possible"),
        "{detail}"
    );
    assert!(detail.ends_with("\nIf `service.b` waits, the rest can be placed."), "{detail}");
}

/// Nodes cost nothing where a rate card takes the place of list prices; of all machines the ones with low list prices are taken.
#[test]
fn rate_cards_do_not_bring_odd_machines_into_a_large_stack() {
    let services = (0..20).map(|number| {
        let mut service = service(&format!("s{number}"), 1 + number % 3, 1);
        service.needs.gpu_types = vec!["T4".to_owned()];
        (service.needs.cpus, service.needs.memory_gib) = (1.0, 4.0 + f64::from(number) / 8.0);
        service
    });
    let mut azure = cloud("azure");
    azure.rate_card = Some(RateCard { gpu_month: 1_000.0, ..RateCard::default() });
    let problem = pose_with_catalogs(&world(vec![azure], services.collect(), Vec::new()).stack);
    assert!(is_large(&problem), "that is what is tried");
    let placement = solve(&problem).expect("it can be placed");
    assert_eq!(placement.cost.total_month, placement.cost.rate_card_month["azure"]);
    let list: f64 = placement
        .rentals
        .values()
        .map(|rental| rental.nodes.len() as f64 * rental.offering.price_hour)
        .sum();
    let machines = problem.candidates.iter().filter(|one| one.offering.gpus == 1);
    let least = machines.map(|one| one.offering.price_hour).fold(f64::INFINITY, f64::min);
    let replicas: u32 = placement.seats.iter().map(|seats| seats.replicas).sum();
    assert!(list <= 1.02 * least * f64::from(replicas), "{list} for {replicas} of {least}");
    assert_eq!(placement.cost.sites_month.len(), 1, "{:?}", placement.cost);
}

fn zoned_loads() -> Problem {
    let zoned = "  placement {\n    spread {\n      over = \"zone\"\n      min = 2\n    }\n  }\n  resources {";
    let text = instances::loads(5, 1, instances::Extent::All).replace("  resources {", zoned);
    instance(text)
}

/// Where few replicas serve loads by rules, trials of a few nodes lead nowhere: a program knows all of them.
#[test]
fn loads_in_two_zones_each_are_placed_near_the_least() {
    let problem = zoned_loads();
    let placement = solve(&problem).expect("it can be placed");
    check(&problem, &placement).expect("it is sound");
    assert!(placement.proof.gap < 0.015, "{:?}", placement.proof);
    let groups = reduce::groups(&problem);
    let tries =
        Tries { quick: true, bounded: true, counted: false, runs: [(12, 0.0); 2], near: 0.0 };
    let trials = large::tried(&problem, &groups, &tries).expect("it can be placed").proof;
    assert!(placement.proof.objective_month < 0.99 * trials.objective_month, "{trials:?}");
}

#[test]
fn a_large_fleet_that_a_quota_forbids_is_told_which() {
    let text = instances::fleet(40, 1, instances::Extent::All);
    let quota = "cloud \"aws\" {\n  quota {\n    gpu_type = \"T4\"\n    max_gpus = 1\n  }\n";
    let text = ["aws", "azure", "gcp"].iter().fold(text, |text, cloud| {
        let head = format!("cloud \"{cloud}\" {{");
        text.replacen(&head, &quota.replace("aws", cloud), 1)
    });
    let problem = instance(text);
    let errors = solve(&problem).expect_err("more are asked for");
    let detail = &errors[0].detail;
    assert!(detail.contains("has a quota of 1 T4 GPU; "), "{detail}");
    assert!(detail.contains("the rest can be placed"), "{detail}");
}

/// Lets a problem's placement run: neither the same prices nor such that moved by 2 % move anything.
fn runs(problem: &mut Problem) -> Placement {
    let first = solve(problem).expect("it can be placed");
    problem.last = Some(first.clone());
    assert_eq!(solve(problem).expect("it can be placed").seats, first.seats);

    let mut dice = Dice(3);
    for candidate in &mut problem.candidates {
        candidate.price_hour *= 0.98 + 0.04 * f64::from(dice.roll(100) as u32) / 100.0;
    }
    let moved = solve(problem).expect("it can be placed");
    assert_eq!(places(&moved), places(&first), "prices that move by 2 % move nothing");
    first
}

/// Workloads with their offerings and replicas.
fn places(placement: &Placement) -> Vec<(String, String, u32)> {
    let seats = placement.seats.iter();
    seats.map(|one| (one.workload.clone(), one.offering.clone(), one.replicas)).collect()
}

/// The same of all but one.
fn others(placement: &Placement, name: &str) -> Vec<(String, String, u32)> {
    let mut all = places(placement);
    all.retain(|(workload, ..)| workload != name);
    all
}

#[test]
fn a_large_fleet_that_runs_stays_where_it_is() {
    let mut problem = instance(instances::fleet(40, 2, instances::Extent::All));
    let first = runs(&mut problem);
    // Nothing is worth leaving for.
    problem.move_penalty = 1.0;

    let rules = [
        |one: &Demand| one.rules.spread.is_empty() && !one.together,
        |one: &Demand| !one.rules.spread.is_empty(),
        |one: &Demand| one.together,
        |one: &Demand| one.rules.spot.is_some(),
    ];
    for has_rule in rules {
        let mut problem = problem.clone();
        let grown = problem.demands.iter().position(has_rule).expect("there is one");
        let name = problem.demands[grown].workload.clone();
        let asked = problem.demands[grown].asked() as u32;
        problem.ask_for(grown, asked + 3);
        let more = solve(&problem).expect("it can be placed");
        assert_eq!(others(&more, &name), others(&first, &name), "only {name} grew");
        assert!(more.proof.moves_month < 1e-6, "{name} {:?}", more.proof);
    }
}

/// Of few workloads programs know what each move is charged: what became cheaper elsewhere draws them, and little changes do not.
#[test]
fn few_workloads_stay_until_something_draws_them() {
    let mut problem = instance(instances::fleet(12, 5, instances::Extent::Few));
    assert!(is_large(&problem), "that is what is tried");
    let first = runs(&mut problem);
    let cheaper = |one: &&mut Candidate| one.offering.gpus == 0 && one.offering.cloud == "azure";
    for candidate in problem.candidates.iter_mut().filter(cheaper) {
        candidate.price_hour *= 0.3;
    }
    let drawn = solve(&problem).expect("it can be placed");
    assert!(places(&drawn) != places(&first), "nothing moved");
    assert!(drawn.proof.moves_month > 0.0, "{:?}", drawn.proof);
    check(&problem, &drawn).expect("it is sound");
    problem.move_penalty = 1e3;
    let stays = solve(&problem).expect("it can be placed");
    let stays = stays.proof.objective_month;
    assert!(drawn.proof.objective_month < stays - 1.0, "{:?} {stays}", drawn.proof);
}

#[test]
fn few_loads_far_apart_that_run_stay_where_they_are() {
    runs(&mut zoned_loads());
}

/// Neither all that may stay does, nor all that would be elsewhere if it were made afresh moves.
#[test]
fn what_became_dear_leaves_and_the_rest_of_a_large_fleet_stays() {
    let mut problem = instance(instances::fleet(40, 2, instances::Extent::All));
    let first = solve(&problem).expect("it can be placed");
    problem.last = Some(first.clone());
    let there = first.rentals.keys().find(|id| id.starts_with("gcp/us-east4/g2-standard"));
    let dear = there.expect("some L4 are there");
    for candidate in problem.candidates.iter_mut().filter(|one| one.id == *dear) {
        candidate.price_hour *= 1.5;
    }
    let placed = |problem: Problem| solve(&problem).expect("it can be placed");
    let left = |placement: &Placement| -> u32 {
        let now = placement.by_workload();
        let left = first.seats.iter().map(|then| {
            let here = now.get(&*then.workload).and_then(|now| now.get(&*then.offering));
            then.replicas.saturating_sub(here.copied().unwrap_or(0))
        });
        left.sum()
    };
    let stays = placed(Problem { move_penalty: 1e3, ..problem.clone() });
    let afresh = placed(Problem { last: None, ..problem.clone() });
    let mixed = placed(problem.clone());
    assert_eq!(left(&stays), 0);
    let (some, all) = (left(&mixed), left(&afresh));
    assert!(some > 0 && some * 2 < all, "{some} of {all} move");
    let saved = stays.cost.total_month - mixed.cost.total_month;
    assert!(saved > mixed.proof.moves_month, "saves {saved} {:?}", mixed.proof);
    check(&problem, &mixed).expect("it is sound");

    // There it stays.
    let again = placed(Problem { last: Some(mixed.clone()), ..problem });
    assert_eq!(places(&again), places(&mixed));
}

#[test]
fn large_loads_that_run_stay_where_they_are() {
    let mut text = instances::loads(30, 2, instances::Extent::All);
    // Some are spread.
    let spread = "  placement {\n    spread {\n      over = \"region\"\n      max_share = 0.6\n    }\n  }\n}";
    for number in [3, 11, 19] {
        let at = text.find(&format!("service \"l{number}\"")).expect("it is there");
        let end = at + text[at..].find("\n}").expect("it ends") + 1;
        text.replace_range(end..=end, spread);
    }
    let mut problem = instance(text);
    let first = runs(&mut problem);

    for (factor, name) in [(1.5, "l0"), (0.4, "l0"), (1.5, "l11"), (0.4, "l11")] {
        let replicas = |placement: &Placement| -> u32 {
            let mine = placement.seats.iter().filter(|seats| seats.workload == name);
            mine.map(|seats| seats.replicas).sum()
        };
        let mut problem = problem.clone();
        let demand = problem.demands.iter_mut().find(|demand| demand.workload == name);
        let demand = demand.expect("it is there");
        let Amount::Load(load) = &mut demand.amount else { unreachable!("by load") };
        load.requests_per_second *= factor;
        for limit in &mut problem.limits {
            if let Rule::LoadElsewhere { min, .. } = &mut limit.rule
                && limit.origin.path.contains(&format!("{name}."))
            {
                *min *= factor;
            }
        }
        let changed = solve(&problem).expect("it can be placed");
        // What is left of l11 pays for being somewhere else.
        if factor > 1.0 || name == "l0" {
            assert_eq!(others(&changed, name), others(&first, name), "only {name} changed");
            assert_eq!(replicas(&changed) > replicas(&first), factor > 1.0);
            assert!(changed.proof.moves_month < 1e-6, "{name} {:?}", changed.proof);
        }
    }
}
