//! A run that dies at the 1st, 2nd, … write of the journal, and before and after every effect on a cloud,
//! until none is left; and the next run, once with the same stack and once with an empty one.

use std::sync::Arc;

use fleetform_state::ObjectStore;
use fleetform_state::stores::{self, Argument, Settings, Surroundings};
use futures::StreamExt;

use super::support::{EMPTY, Fork, Fuse, Kept, Place, Run, STACK, succeeds};

#[path = "../../../state/tests/stores/servers.rs"]
mod servers;

/// Recovers from every moment. Gives how many there were.
async fn recover(moments: Vec<Kept>, made: &Place, empty: &Place) -> usize {
    let (made, empty) = (made.census().await, empty.census().await);
    let count = moments.len();
    let cases = moments
        .into_iter()
        .enumerate()
        .flat_map(|(index, moment)| [(index, moment.clone(), STACK), (index, moment, EMPTY)]);
    let recoveries = cases.map(|(index, mut moment, stack)| {
        // Two runs from one moment must not share what is in memory.
        moment.stores.truncate(if stack == STACK { 1 } else { 2 });
        let expected = if stack == STACK { &made } else { &empty };
        async move {
            let name = if stack == STACK { "the same stack" } else { "an empty stack" };
            let context = format!("died at point {index}, {}; then {name}", moment.what);
            let place = Place::of(&moment, stack).await;
            succeeds(place.apply().await, &context);
            assert_eq!(place.census().await, *expected, "{context}");
            place.at_rest(&context).await;
        }
    });
    futures::stream::iter(recoveries).buffer_unordered(4).for_each(|()| async {}).await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_run_dies_the_next_one_finishes_or_clears_up() {
    let moments = tempfile::tempdir().expect("a temporary directory");
    let (made, empty) = (Place::new(STACK).await, Place::new(EMPTY).await);
    let kept = made.run_and_keep(moments.path(), None).await;
    made.at_rest("undisturbed").await;
    succeeds(empty.apply().await, "nothing");
    let writes = kept.iter().filter(|kept| kept.what.ends_with("write")).count();
    let effects = kept.len() - writes;
    assert!(writes >= 25 && effects >= 20, "{writes} writes, {effects} effects");
    let count = recover(kept, &made, &empty).await;
    println!("recovered twice from {count} moments: {writes} at writes, {effects} at effects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_where_the_state_is_in_a_bucket() {
    let moments = tempfile::tempdir().expect("a temporary directory");
    let (mut made, empty) = (Place::new(STACK).await, Place::new(EMPTY).await);
    let (store, fork) = ObjectStore::in_memory();
    made.store = Arc::new(store);
    let fork: Fork = Box::new(move || Arc::new(fork()));
    let kept = made.run_and_keep(moments.path(), Some(fork)).await;
    // What happens at effects does not depend on where the state is.
    let writes: Vec<Kept> = kept.into_iter().filter(|kept| kept.what.ends_with("write")).collect();
    assert!(writes.len() >= 25, "{} writes", writes.len());
    let count = recover(writes, &made, &empty).await;
    println!("recovered twice from {count} writes into a bucket");
}

/// Of the points of a run so many are left out between two, where each costs a while.
const STRIDE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_in_a_bucket_of_s3() {
    let server = servers::moto();
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bucket = reqwest::Client::new().put(format!("{endpoint}/states")).send().await;
    assert!(bucket.expect("moto answers").status().is_success());
    let open = |state: String| {
        let text =
            |(name, value): (&str, &str)| (name.to_owned(), Argument::Text(value.to_owned()));
        let arguments = [("bucket", "states"), ("endpoint", &endpoint)].map(text).into();
        let credentials = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let variables = credentials.map(|name| (name.to_owned(), "test".to_owned())).into();
        let around = Surroundings { stack: state, variables, ..Surroundings::default() };
        let settings = Settings { kind: "s3".to_owned(), arguments };
        stores::open(&settings, &around).expect("the store opens")
    };
    let (made, empty) = (Place::new(STACK).await, Place::new(EMPTY).await);
    succeeds(made.apply().await, "undisturbed");
    succeeds(empty.apply().await, "nothing");
    let mut deaths = 0;
    loop {
        let mut place = Place::new(STACK).await;
        place.store = open(format!("state-{deaths}"));
        let fuse = Fuse::of(deaths * STRIDE);
        let run = Run { parallelism: 2, ..Run::default() };
        if let Some(ended) = place.run_until(&fuse, run).await {
            succeeds(ended, "a run that nothing disturbs");
            break;
        }
        let (stack, expected) = if deaths % 2 == 0 { (STACK, &made) } else { (EMPTY, &empty) };
        place.write(stack);
        let context = format!("died after {} points, the state in S3", deaths * STRIDE);
        succeeds(place.apply().await, &context);
        assert_eq!(place.census().await, expected.census().await, "{context}");
        place.at_rest(&context).await;
        deaths += 1;
    }
    println!("recovered from {deaths} deaths, the state in S3");
    assert!(deaths >= 8, "{deaths} deaths");
}
