//! Random stacks, states and faults, from a printed seed.
//!
//! After every step: nothing exists in a cloud that is in neither the records nor the open operations. In
//! the end, without faults: one apply, and nothing is left to do; and once the stack is empty, nothing
//! is left.
//!
//! `FLEETFORM_SIMULATION_SEED=N` runs the one seed, `FLEETFORM_SIMULATION_SEEDS=N` so many from 1 on.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::Address;
use fleetform_providers::sandbox::FaultPlan;

use super::support::{Fuse, Place, Random, Run, succeeds, told};

const SEEDS: [u64; 2] = [5, 7];
const STEPS: usize = 4;

/// The clouds stay: without its block nothing on a cloud can be called.
const CLOUDS: &str = r#"
cloud "aws" { regions = ["us-east-1"] }
cloud "gcp" { regions = ["us-central1"] }
cloud "azure" { regions = ["eastus"] }
"#;

/// Some services, each on a cloud of its own choice or of nobody's.
fn stack(random: &mut Random) -> String {
    let mut text = CLOUDS.to_owned();
    text += "image \"app\" { source = \"nats:2.12.0\" }\n";
    for name in ["a", "b", "c"] {
        if random.chance(0.4) {
            continue;
        }
        let replicas = 1 + random.below(3);
        let resources = match random.below(3) {
            0 => "gpus = 1\n    gpu_types = [\"L4\"]\n    cpus = 2\n    memory = \"8GiB\"",
            1 => "gpus = 1\n    gpu_types = [\"T4\"]\n    cpus = 2\n    memory = \"8GiB\"",
            _ => "cpus = 2\n    memory = \"4GiB\"",
        };
        let cloud = ["aws", "gcp", "azure"][random.below(3)];
        // Azure rents no L4.
        let resources = match cloud {
            "azure" => resources.replace("L4", "T4"),
            _ => resources.to_owned(),
        };
        text += &format!(
            "service \"{name}\" {{\n  image = image.app\n  port = 8080\n  replicas = {replicas}\n  \
             resources {{\n    {resources}\n  }}\n  placement {{ clouds = [cloud.{cloud}] }}\n}}\n"
        );
    }
    text
}

fn faults(random: &mut Random) -> FaultPlan {
    let mut share = |most: f64| match random.chance(0.5) {
        true => most * random.share(),
        false => 0.0,
    };
    let (throttled, unavailable, answer_lost) = (share(0.15), share(0.1), share(0.15));
    let (slow, no_capacity, stale) = (share(0.5), share(0.5), share(0.2));
    let storm = if random.chance(0.2) { random.below(40) as u64 } else { 0 };
    FaultPlan { storm, throttled, unavailable, answer_lost, slow, no_capacity, stale }
}

/// What is in a cloud and in no record or open operation.
async fn unknown_to(place: &Place) -> BTreeSet<Address> {
    place.faults(FaultPlan::default());
    let mut tagged = place.tagged().await.expect("everything can be listed");
    let state = place.state().await;
    tagged.retain(|address| {
        let is_open = state.open.values().any(|open| open.address == *address);
        !state.records.contains_key(address) && !is_open
    });
    tagged
}

/// Objects by collection, without what a cloud remembers of operations: that goes some requests later.
async fn left(place: &Place) -> BTreeMap<String, usize> {
    let mut census = place.census().await;
    census.retain(|collection, _| !collection.contains("/operations"));
    census
}

async fn simulate(seed: u64) {
    let mut random = Random(seed);
    let place = Place::new(CLOUDS).await;
    succeeds(place.apply().await, "nothing");
    let nothing = left(&place).await;
    for step in 1..=STEPS {
        let context = format!("FLEETFORM_SIMULATION_SEED={seed}, step {step}");
        let stack = stack(&mut random);
        place.write(&stack);
        place.faults(faults(&mut random));
        let run = Run { parallelism: 1 + random.below(8), ..Run::default() };
        let fuse = match random.chance(0.5) {
            true => Fuse::of(random.below(60)),
            false => Fuse::of(usize::MAX),
        };
        // It may fail, die, or come through: what it leaves must be known in any case.
        let ended = place.run_until(&fuse, run).await;
        let left = unknown_to(&place).await;
        let ended = ended.map(|ended| ended.map_err(|diagnostics| told(&diagnostics)));
        assert_eq!(left, BTreeSet::new(), "{context}: nobody knows of these\n{ended:?}\n{stack}");
    }
    let context = format!("FLEETFORM_SIMULATION_SEED={seed}, without faults");
    succeeds(place.apply().await, &context);
    place.at_rest(&context).await;
    place.write(CLOUDS);
    succeeds(place.apply().await, &format!("{context}, with an empty stack"));
    assert_eq!(left(&place).await, nothing, "{context}: left behind");
    place.at_rest(&context).await;
}

/// Answers of clouds are read by deep calls, deepest in a build without optimisation.
const STACK_BYTES: usize = 32 << 20;

#[test]
fn random_stacks_states_and_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (one, many) = (number("FLEETFORM_SIMULATION_SEED"), number("FLEETFORM_SIMULATION_SEEDS"));
    let seeds = match (one, many) {
        (Some(seed), _) => vec![seed],
        (None, Some(many)) => (1..=many).collect(),
        (None, None) => SEEDS.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .expect("a runtime");
    for seed in seeds {
        println!("FLEETFORM_SIMULATION_SEED={seed}");
        let simulated = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread
                .spawn_scoped(scope, || runtime.block_on(simulate(seed)))
                .expect("a thread")
                .join()
        });
        simulated.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
