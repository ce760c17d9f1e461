//! Explanations, compared with answers that can be worked out by hand.

use super::support::{cloud, gpu, lepton, service, world};
use crate::config::ObjectiveWeights;
use crate::placement::{Explanation, explain};

fn explanation(world: &super::support::World, workload: &str) -> Explanation {
    let problem = world.problem();
    let placement = world.solve();
    let index = problem.demands.iter().position(|demand| demand.workload == workload);
    explain(&problem, &placement, index.expect("it is asked for"))
}

#[test]
fn the_next_best_places_and_the_prices_that_lead_there() {
    let offerings = vec![
        gpu("aws/a/small/on_demand", "L4", 1, 24.0, 1.00),
        gpu("aws/a/medium/on_demand", "L4", 1, 24.0, 1.10),
        gpu("aws/a/large/on_demand", "L4", 1, 24.0, 1.50),
    ];
    let told =
        explanation(&world(vec![cloud("aws")], vec![service("chat", 2, 1)], offerings), "chat");
    assert_eq!((told.offerings, told.sites), (3, 1));
    let extra: Vec<(String, i64)> = told
        .alternatives
        .iter()
        .map(|one| (one.seats[0].offering.clone(), one.extra_month.round() as i64))
        .collect();
    // Two nodes of 0.10 and 0.50 dollars an hour more, 730 hours.
    assert_eq!(
        extra,
        [("aws/a/medium/on_demand".to_owned(), 146), ("aws/a/large/on_demand".to_owned(), 730)]
    );
    assert!(told.is_complete, "nothing else can hold it");
    let [rise, fall] = told.prices.as_slice() else { panic!("{:?}", told.prices) };
    assert_eq!(rise.offering, "aws/a/small/on_demand");
    assert!((rise.moves_at_hour - 1.10).abs() < 0.006, "{rise:?}");
    assert_eq!(fall.offering, "aws/a/medium/on_demand");
    assert!((fall.moves_at_hour - 1.00).abs() < 0.006, "{fall:?}");
}

#[test]
fn one_more_gpu_saves_what_the_dearer_cloud_costs_more() {
    let told = explanation(&lepton(), "service-10");
    let said: Vec<(&str, &str, i64)> = told
        .limits
        .iter()
        .map(|one| (one.limit.as_str(), one.more.as_str(), one.saving_month.round() as i64))
        .collect();
    // A replica costs 1,970 on Google Cloud, 1,230 on Azure and 1,600 on AWS.
    assert_eq!(
        said,
        [
            ("`cloud.azure` has capacity for 10 GPUs", "1 more GPU", 740),
            ("`cloud.aws` has capacity for 10 GPUs", "1 more GPU", 370),
        ]
    );
}

/// Where weights are minimised, what is told is in the unit of the objective, and prices in dollars.
#[test]
fn what_alternatives_cost_more_is_weighed() {
    let offerings = vec![
        gpu("aws/a/small/on_demand", "L4", 1, 24.0, 1.00),
        gpu("aws/a/medium/on_demand", "L4", 1, 24.0, 1.10),
    ];
    let mut world = world(vec![cloud("aws")], vec![service("chat", 2, 1)], offerings);
    world.stack.optimize.weights = Some(ObjectiveWeights { cost: 0.5, carbon: 0.0, latency: 0.0 });
    let told = explanation(&world, "chat");
    assert_eq!(told.objective_month, Some(730.0));
    assert_eq!(told.total_month, 1_460.0);
    // Half of the 146 dollars.
    assert_eq!(told.alternatives[0].extra_month.round(), 73.0);
    let [rise, fall] = told.prices.as_slice() else { panic!("{:?}", told.prices) };
    assert!((rise.moves_at_hour - 1.10).abs() < 0.006, "{rise:?}");
    assert!((fall.moves_at_hour - 1.00).abs() < 0.006, "{fall:?}");
}
