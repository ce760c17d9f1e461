//! What every store must do, whatever it is made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetform_state::{Batch, Kept, Put, Snapshot, Store, verify};
use futures::future::join_all;

use crate::common::{creation, genesis, writer};
use crate::proxy::Proxy;

/// Opens the state with this name.
pub type Open = Box<dyn Fn(&str) -> Arc<dyn Store> + Send + Sync>;

/// A kind of store with a server behind it.
pub struct Subject {
    pub name: &'static str,
    /// A client of the state with this name. Two clients of one name are two runs on one state.
    pub open: Open,
    /// The same through a proxy that can lose answers; none where there is no wire.
    pub lossy: Option<Lossy>,
    /// So many batches that reading them takes more than one page.
    pub batches: u64,
}

pub struct Lossy {
    pub open: Open,
    pub proxy: Proxy,
}

/// All of it.
pub async fn check(subject: &Subject) {
    let case = |name: &str| eprintln!("{}: {name}", subject.name);
    case("an empty state");
    empty(subject).await;
    case("a number is given once");
    once(subject).await;
    case("32 writers of one number");
    exclusive(subject).await;
    case("batches are read in order");
    ordered(subject).await;
    case("more than a page");
    paged(subject).await;
    case("a large batch");
    large(subject).await;
    case("the newest snapshot");
    snapshots(subject).await;
    case("heartbeats");
    heartbeats(subject).await;
    case("a batch in place of another");
    replaced(subject).await;
    case("dropped batches");
    dropped(subject).await;
    case("the life of a log");
    life(subject).await;
    if let Some(lossy) = &subject.lossy {
        case("lost answers");
        lost_answers(subject, lossy).await;
    }
}

fn batch(first: u64, text: &str) -> Batch {
    Batch { first, bytes: text.as_bytes().to_vec() }
}

async fn empty(subject: &Subject) {
    let store = (subject.open)("empty");
    assert_eq!(store.read_snapshot().await.expect("read"), None);
    assert_eq!(store.read_from(1).await.expect("read"), []);
    assert_eq!(store.read_heartbeats().await.expect("read"), BTreeMap::new());
    store.remove_heartbeat("nobody").await.expect("nothing to remove is fine");
}

async fn once(subject: &Subject) {
    let (ours, theirs) = ((subject.open)("once"), (subject.open)("once"));
    assert_eq!(ours.put_if_absent(batch(1, "ours")).await.expect("put"), Put::Kept);
    assert_eq!(theirs.put_if_absent(batch(1, "theirs")).await.expect("put"), Put::Taken);
    assert_eq!(theirs.put_if_absent(batch(2, "theirs")).await.expect("put"), Put::Kept);
    let kept = [batch(1, "ours"), batch(2, "theirs")];
    assert_eq!(ours.read_from(1).await.expect("read"), kept);
    assert_eq!(theirs.read_from(1).await.expect("read"), kept);
    // States with other names are other states.
    assert_eq!((subject.open)("once-more").read_from(1).await.expect("read"), []);
    let (batch, snapshot) = (ours.place(Kept::Batch(1)), ours.place(Kept::Snapshot(1)));
    assert_ne!(batch, snapshot);
    assert_ne!(batch, ours.place(Kept::Batch(2)));
}

async fn exclusive(subject: &Subject) {
    const WRITERS: usize = 32;
    let stores: Vec<_> = (0..WRITERS).map(|_| (subject.open)("exclusive")).collect();
    for number in 1..=3 {
        let writes = stores.iter().enumerate().map(|(index, store)| {
            let (store, bytes) = (Arc::clone(store), format!("writer {index} of {number}"));
            tokio::spawn(async move { store.put_if_absent(batch(number, &bytes)).await })
        });
        let answers = join_all(writes).await;
        let kept: Vec<usize> = answers
            .into_iter()
            .enumerate()
            .filter_map(|(index, answer)| {
                let put = answer.expect("no panic").expect("put");
                (put == Put::Kept).then_some(index)
            })
            .collect();
        let [winner] = kept[..] else { panic!("not one writer won: {kept:?}") };
        let there = stores[0].read_from(number).await.expect("read");
        assert_eq!(there, [batch(number, &format!("writer {winner} of {number}"))]);
    }
}

async fn ordered(subject: &Subject) {
    let store = (subject.open)("ordered");
    let numbers = [1, 2, 9, 10, 11, 99, 100, 101, 1000, 123_456_789_012];
    for number in numbers.iter().rev() {
        let put = store.put_if_absent(batch(*number, &number.to_string())).await.expect("put");
        assert_eq!(put, Put::Kept);
    }
    for start in [0, 1, 2, 3, 10, 100, 102, 1001, 123_456_789_013] {
        let wanted: Vec<Batch> = numbers
            .iter()
            .filter(|number| **number >= start)
            .map(|number| batch(*number, &number.to_string()))
            .collect();
        assert_eq!(store.read_from(start).await.expect("read"), wanted, "from {start}");
    }
}

async fn paged(subject: &Subject) {
    let store = (subject.open)("paged");
    let numbers: Vec<u64> = (1..=subject.batches).collect();
    for some in numbers.chunks(16) {
        let puts = some.iter().map(|number| store.put_if_absent(batch(*number, "x")));
        for put in join_all(puts).await {
            assert_eq!(put.expect("put"), Put::Kept);
        }
    }
    let read: Vec<u64> =
        store.read_from(1).await.expect("read").iter().map(|batch| batch.first).collect();
    assert_eq!(read, numbers);
}

async fn large(subject: &Subject) {
    let store = (subject.open)("large");
    let mut seed = 1_u64;
    let mut byte = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    let bytes: Vec<u8> = (0..6 << 20).map(|_| byte()).collect();
    let batch = Batch { first: 1, bytes: bytes.clone() };
    assert_eq!(store.put_if_absent(batch.clone()).await.expect("put"), Put::Kept);
    assert!(store.read_from(1).await.expect("read") == [batch], "a large batch comes back whole");
    store.put_snapshot(Snapshot { number: 1, bytes: bytes.clone() }).await.expect("put");
    let snapshot = store.read_snapshot().await.expect("read").expect("there");
    assert!(snapshot.bytes == bytes, "a large snapshot comes back whole");
}

async fn snapshots(subject: &Subject) {
    let store = (subject.open)("snapshots");
    let snapshot =
        |number: u64| Snapshot { number, bytes: format!("the fold up to {number}").into_bytes() };
    for (put, newest) in [(5, 5), (9, 9), (7, 9), (10, 10), (100, 100), (20, 100)] {
        store.put_snapshot(snapshot(put)).await.expect("put");
        let read = (subject.open)("snapshots").read_snapshot().await.expect("read");
        assert_eq!(read, Some(snapshot(newest)), "after {put}");
    }
}

async fn heartbeats(subject: &Subject) {
    let store = (subject.open)("heartbeats");
    let (one, two) = ("0d1f…one".replace('…', "-"), "run-two".to_owned());
    store.put_heartbeat(&one, b"1".to_vec()).await.expect("put");
    store.put_heartbeat(&two, b"2".to_vec()).await.expect("put");
    store.put_heartbeat(&one, b"3".to_vec()).await.expect("put again");
    let watcher = (subject.open)("heartbeats");
    let expected = BTreeMap::from([(one.clone(), b"3".to_vec()), (two.clone(), b"2".to_vec())]);
    assert_eq!(watcher.read_heartbeats().await.expect("read"), expected);
    watcher.remove_heartbeat(&one).await.expect("remove");
    let left: Vec<String> = store.read_heartbeats().await.expect("read").into_keys().collect();
    assert_eq!(left, [two]);
    assert_eq!(store.read_from(1).await.expect("read"), [], "heartbeats are no part of the log");
}

async fn replaced(subject: &Subject) {
    let store = (subject.open)("replaced");
    for number in 1..=3 {
        store.put_if_absent(batch(number, "once")).await.expect("put");
    }
    store.replace(batch(2, "again")).await.expect("replaced");
    let there = (subject.open)("replaced").read_from(1).await.expect("read");
    assert_eq!(there, [batch(1, "once"), batch(2, "again"), batch(3, "once")]);
    let put = store.put_if_absent(batch(2, "late")).await.expect("put");
    assert_eq!(put, Put::Taken);
}

async fn dropped(subject: &Subject) {
    let (store, asleep) = ((subject.open)("dropped"), (subject.open)("dropped"));
    for number in [1, 2, 5, 9] {
        store.put_if_absent(batch(number, "x")).await.expect("put");
    }
    for number in [3, 4] {
        store.put_snapshot(Snapshot { number, bytes: b"x".to_vec() }).await.expect("put");
    }
    store.drop_before(Kept::Batch(5)).await.expect("dropped");
    store.drop_before(Kept::Batch(2)).await.expect("a second time, and further back");
    let left = [batch(5, "x"), batch(9, "x")];
    assert_eq!((subject.open)("dropped").read_from(1).await.expect("read"), left);
    // Their numbers stay taken, also for who has not heard of it.
    for number in [1, 2, 3] {
        let put = asleep.put_if_absent(batch(number, "late")).await.expect("put");
        assert_eq!(put, Put::Taken, "number {number}");
    }
    assert_eq!(asleep.read_from(1).await.expect("read"), left);
    assert_eq!(asleep.put_if_absent(batch(10, "y")).await.expect("put"), Put::Kept);
    store.drop_before(Kept::Snapshot(4)).await.expect("dropped");
    let newest = store.read_snapshot().await.expect("read").map(|snapshot| snapshot.number);
    assert_eq!(newest, Some(4));
    store.drop_before(Kept::Snapshot(5)).await.expect("dropped");
    assert_eq!(store.read_snapshot().await.expect("read"), None);
    assert_eq!(store.read_from(1).await.expect("read").len(), 3);
}

async fn life(subject: &Subject) {
    let open = |run: &str| {
        let opened = fleetform_state::Log::open((subject.open)("life"), writer(run), genesis());
        async move { opened.await.expect("a log opens") }
    };
    let mut first = open("run-0").await;
    assert!(!first.has_begun());
    first.append(creation("a").into()).await.expect("appended");
    // Runs side by side: everything is kept, in one order.
    let runs = (1..=8).map(|run| async move {
        let mut log = open(&format!("run-{run}")).await;
        for round in 0..8 {
            let name = format!("r{run}-{round}");
            log.append(creation(&name).into()).await.expect("appended");
        }
    });
    join_all(runs).await;
    first.refresh().await.expect("refreshed");
    let entries = 1 + 2 + 8 * 8 * 2;
    assert_eq!(first.state().serial, entries);
    let last = open("run-9").await;
    assert_eq!(last.state(), first.state());
    assert_eq!(last.state().records.len(), 1 + 8 * 8);
    let store = (subject.open)("life");
    let report = verify(&*store).await.expect("the log is whole");
    assert_eq!((report.entries, report.lineage.as_deref()), (entries, Some("lineage-1")));
    assert!(report.snapshot.is_some(), "a log of {entries} entries has a snapshot");

    // Its older entries go while somebody sleeps and others write.
    let mut asleep = open("asleep").await;
    let janitor = fleetform_state::Journal::new(open("janitor").await);
    let writing = async {
        let mut log = open("busy").await;
        for round in 0..8 {
            log.append(creation(&format!("busy-{round}")).into()).await.expect("appended");
            open("reader").await;
        }
    };
    let compacting = fleetform_state::compact(&janitor, 4, "2026-01-01T00:00:00Z");
    let (compacted, ()) = futures::future::join(compacting, writing).await;
    let compacted = compacted.expect("compacted").expect("there was much");
    assert!(compacted.through >= entries - 4, "{compacted:?}");
    asleep.append(creation("late").into()).await.expect("appended");
    let report = verify(&*store).await.expect("the log is whole");
    assert_eq!(report.entries, entries + 1 + 2 * 9);
    assert_eq!(report.beginning, Some(compacted.through));
    assert!(report.batches < 16, "{report:?}");
    let last = open("run-9").await;
    assert_eq!(last.state(), asleep.state());
    assert_eq!(last.state().records.len(), 1 + 8 * 8 + 8 + 1);
}

/// Loses the first answer, the second, … until none is left to lose.
async fn lost_answers(subject: &Subject, lossy: &Lossy) {
    for (lost, place) in (0..60).enumerate() {
        let state = format!("lost-{place}");
        let store = (lossy.open)(&state);
        lossy.proxy.lose(place);
        let put = store.put_if_absent(batch(1, "ours")).await;
        let was_lost = lossy.proxy.forgive();
        let there = (subject.open)(&state).read_from(1).await.expect("read");
        // A write may fail where nothing was written. What is written is ours, once, and known to be.
        match put {
            Ok(put) => {
                assert_eq!(put, Put::Kept, "answer {place} lost");
                assert_eq!(there, [batch(1, "ours")], "answer {place} lost");
            }
            Err(error) => panic!("one lost answer is no failure (answer {place}): {error}"),
        }
        let again = store.put_if_absent(batch(1, "another")).await.expect("put");
        assert_eq!(again, Put::Taken, "answer {place} lost");
        if !was_lost {
            assert!(lost > 0, "no answer was lost at all");
            return;
        }
    }
    panic!("a put takes no 60 answers");
}
