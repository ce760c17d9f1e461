//! 2, 8 and 32 applies at once on one state.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetform_state::process;
use futures::future::join_all;

use super::support::{Place, Run, succeeds, told};
use crate::cli::Ended;

/// A cluster that exists already, and so many services on it that have nothing in common.
fn services(count: usize) -> String {
    let mut stack = String::from(
        "cloud \"lab\" {\n  kind = \"kubernetes\"\n  kubeconfig = \"~/.kube/config\"\n  \
         context = \"lab\"\n  location = {\n    latitude = 1\n    longitude = 1\n    country = \
         \"CN\"\n  }\n  node \"server\" {\n    count = 64\n    cpus = 32\n    memory = \"128GiB\"\n    \
         price_hour = 0\n  }\n}\nimage \"app\" { source = \"nats:2.12.0\" }\n",
    );
    for number in 0..count {
        stack += &format!(
            "service \"s{number}\" {{\n  image = image.app\n  port = 8080\n  replicas = 1\n  \
             resources {{\n    cpus = 1\n    memory = \"1GiB\"\n  }}\n}}\n"
        );
    }
    stack
}

/// A run of a process that lives, as these all do.
fn living() -> Run {
    Run { process: process::identity(), ..Run::default() }
}

async fn disjoint(count: usize) {
    let stack = services(count);
    let place = Place::new(&stack).await;
    // What all of them stand on is there before.
    let first = Run { targets: vec!["service.s0".to_owned()], ..living() };
    succeeds(place.run(&first).await, "what they share");
    let runs: Vec<Run> = (0..count)
        .map(|number| Run { targets: vec![format!("service.s{number}")], ..living() })
        .collect();
    for (number, ended) in
        join_all(runs.iter().map(|run| place.run(run))).await.into_iter().enumerate()
    {
        succeeds(ended, &format!("{count} disjoint applies, number {number}"));
    }
    let state = place.state().await;
    let deployments = state.records.keys().filter(|at| at.kind == "kubernetes_deployment");
    let names: BTreeSet<&str> = deployments.map(|address| address.name.as_str()).collect();
    assert_eq!(names.len(), count, "{names:?}");
    assert!(state.claims.held.is_empty(), "{:?}", state.claims.held);
    // Outputs and the placement are left by a run of everything.
    succeeds(place.apply().await, "all of it");
    place.at_rest(&format!("after {count} disjoint applies")).await;
}

async fn overlapping(count: usize) {
    let place = Place::new(&services(2)).await;
    let runs: Vec<Run> = (0..count).map(|_| living()).collect();
    let ended = join_all(runs.iter().map(|run| place.run(run))).await;
    let (done, refused): (Vec<Ended>, Vec<Ended>) = ended.into_iter().partition(Result::is_ok);
    assert!(!done.is_empty(), "somebody comes through");
    for diagnostics in refused.into_iter().filter_map(Result::err) {
        let text = told(&diagnostics);
        assert!(text.starts_with("Error acquiring the state lock"), "{text}");
    }
    place.at_rest(&format!("after {count} overlapping applies")).await;
    let census = place.census().await;

    // Those who wait come through one after the other, and find nothing left to do.
    let runs: Vec<Run> =
        (0..count).map(|_| Run { patience: Duration::from_secs(600), ..living() }).collect();
    for ended in join_all(runs.iter().map(|run| place.run(run))).await {
        succeeds(ended, &format!("{count} who wait"));
    }
    assert_eq!(place.census().await, census);
    place.at_rest(&format!("after {count} waiting applies")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disjoint_applies_all_succeed() {
    for count in [2, 8, 32] {
        disjoint(count).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_applies_exclude_each_other() {
    for count in [2, 8, 32] {
        overlapping(count).await;
    }
}
