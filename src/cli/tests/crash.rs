//! A run that dies at the 1st, 2nd, … write of the journal, and before and after every effect on a cloud,
//! until none is left; and the next run, once with the same stack and once with an empty one.

use std::sync::Arc;

use fleetform_state::stores::{self, Argument, Settings, Surroundings};
use fleetform_state::{Action, ObjectStore};
use futures::StreamExt;

use super::support::{EMPTY, Fork, Fuse, Kept, Place, Run, STACK, succeeds};

#[path = "../../../state/tests/stores/servers.rs"]
mod servers;

/// A stack to recover into, what it is called, and a place where it was applied undisturbed.
type Into<'a> = (&'static str, &'a str, &'a Place);

/// Recovers from every moment, into each of these stacks. Gives how many moments there were.
async fn recover(moments: Vec<Kept>, stacks: &[Into<'_>]) -> usize {
    let count = moments.len();
    let mut cases = Vec::new();
    for (index, moment) in moments.into_iter().enumerate() {
        for (which, (name, stack, expected)) in stacks.iter().enumerate() {
            let mut moment = moment.clone();
            // Two runs from one moment must not share what is in memory.
            moment.stores.truncate(which + 1);
            let context = format!("died at point {index}, {}; then {name}", moment.what);
            cases.push((moment, *stack, *expected, context));
        }
    }
    let recoveries = cases.into_iter().map(|(moment, stack, expected, context)| async move {
        let place = Place::of(&moment, stack).await;
        succeeds(place.apply().await, &context);
        place.at_rest(&context).await;
        assert_eq!(place.settled().await, expected.settled().await, "{context}");
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
    let count =
        recover(kept, &[("the same stack", STACK, &made), ("an empty one", EMPTY, &empty)]).await;
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
    let into = [("the same stack", STACK, &made), ("an empty one", EMPTY, &empty)];
    let count = recover(writes, &into).await;
    println!("recovered twice from {count} writes into a bucket");
}

/// The moments of a run at which an operation of this kind was open, its effect about to come or there
/// already. Operations run one at a time.
async fn in_the_middle_of(action: Action, kept: Vec<Kept>) -> Vec<Kept> {
    let mut found = Vec::new();
    for moment in kept.into_iter().filter(|kept| kept.what.ends_with("effect")) {
        let open = Place::of(&moment, EMPTY).await.state().await.open;
        if open.values().any(|operation| operation.action == action) {
            found.push(moment);
        }
    }
    let count = |what: &str| found.iter().filter(|moment| moment.what == what).count();
    let (before, after) = (count("before an effect"), count("after an effect"));
    println!("{action}: {before} moments before an effect, {after} after one");
    assert!(before >= 2 && after >= 2, "{before} before, {after} after");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_update_is_settled_whether_it_had_its_effect_or_not() {
    let moments = tempfile::tempdir().expect("a temporary directory");
    let larger = STACK.replace("replicas = 2", "replicas = 3");
    let (place, empty) = (Place::new(STACK).await, Place::new(EMPTY).await);
    succeeds(place.apply().await, "the first run");
    succeeds(empty.apply().await, "nothing");
    place.write(&larger);
    let kept = place.run_and_keep(moments.path(), None).await;
    let kept = in_the_middle_of(Action::Update, kept).await;
    recover(kept, &[("the same stack", &larger, &place), ("an empty one", EMPTY, &empty)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_deletion_is_settled_whether_it_had_its_effect_or_not() {
    let moments = tempfile::tempdir().expect("a temporary directory");
    let (place, made) = (Place::new(STACK).await, Place::new(STACK).await);
    for place in [&place, &made] {
        succeeds(place.apply().await, "the first run");
    }
    place.write(EMPTY);
    let kept = place.run_and_keep(moments.path(), None).await;
    let kept = in_the_middle_of(Action::Delete, kept).await;
    // What is asked for again is made again: that takes longer, and every other object will do.
    let again = kept.chunks(2).step_by(2).flatten().cloned().collect();
    recover(kept, &[("the same empty stack", EMPTY, &place)]).await;
    recover(again, &[("the stack of before", STACK, &made)]).await;
}

/// Of the points of a run so many are left out between two, where each costs a while.
/// `FLEETFORM_S3_STRIDE=1` leaves out none, and recovers from each of them twice.
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
    let stride = std::env::var("FLEETFORM_S3_STRIDE").ok().and_then(|text| text.parse().ok());
    let stride = stride.unwrap_or(STRIDE).max(1);
    let both = [(STACK, &made), (EMPTY, &empty)];
    let mut deaths = 0;
    'points: for index in 0.. {
        let points = index * stride;
        let stacks = if stride == 1 { &both[..] } else { &both[index % 2..][..1] };
        for (stack, expected) in stacks {
            let mut place = Place::new(STACK).await;
            place.store = open(format!("state-{deaths}"));
            let run = Run { parallelism: 2, ..Run::default() };
            if let Some(ended) = place.run_until(&Fuse::of(points), run).await {
                succeeds(ended, "a run that nothing disturbs");
                break 'points;
            }
            place.write(stack);
            let context = format!("died after {points} points, the state in S3");
            succeeds(place.apply().await, &context);
            assert_eq!(place.census().await, expected.census().await, "{context}");
            place.at_rest(&context).await;
            deaths += 1;
        }
    }
    println!("recovered from {deaths} deaths, one in {stride} points, the state in S3");
    assert!(deaths >= 8, "{deaths} deaths");
}
