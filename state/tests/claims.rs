//! Claims held by runs: waited for, kept alive, taken from the dead, and raced for by many.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{address, begin, creation, done, genesis, holder, open, record, writer};
use fleetform_contract::Address;
use fleetform_state::{
    Action, Batch, Claim, Clock, Entry, Error, Genesis, Holder, Holding, Journal, LocalStore, Log,
    MemoryStore, Snapshot, Store, SystemClock, Terms, hold, process, verify,
};
use tokio::sync::oneshot;

/// Time that passes when everybody waits.
#[derive(Clone, Default)]
struct VirtualClock(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    now: Duration,
    sleepers: BTreeMap<(Duration, usize), oneshot::Sender<()>>,
    count: usize,
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.lock().expect("no holder panics").now
    }

    async fn sleep(&self, duration: Duration) {
        let (wake, woken) = oneshot::channel();
        {
            let mut time = self.0.lock().expect("no holder panics");
            time.count += 1;
            let until = (time.now + duration, time.count);
            time.sleepers.insert(until, wake);
        }
        let _ = woken.await;
    }
}

impl VirtualClock {
    /// The future's end. Whenever nothing moves, time goes on to the next one who wakes.
    async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            // In memory everything that can move has moved after so many turns.
            for _ in 0..100 {
                if let std::task::Poll::Ready(value) = futures::poll!(&mut future) {
                    return value;
                }
                tokio::task::yield_now().await;
            }
            let mut time = self.0.lock().expect("no holder panics");
            let ((until, _), wake) = time.sleepers.pop_first().expect("somebody wakes some time");
            time.now = until;
            let _ = wake.send(());
        }
    }
}

/// What a waiting run was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl hold::Listener for Told {
    fn waiting(&self, run: &str, _: &Claim) {
        self.0.lock().expect("no holder panics").push(format!("waiting for {run}"));
    }
    fn fenced(&self, run: &str, _: &Claim) {
        self.0.lock().expect("no holder panics").push(format!("fenced {run}"));
    }
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").clone()
    }
}

fn addresses(names: &[&str]) -> BTreeSet<Address> {
    names.iter().map(|name| address(name)).collect()
}

async fn journal(store: impl Store + 'static, run: &str) -> Journal {
    Journal::new(open(store, run).await.expect("it opens"))
}

fn patient(patience_seconds: u64) -> Terms {
    Terms { patience: Duration::from_secs(patience_seconds), ..Terms::default() }
}

/// A run of that name that tries for these addresses.
async fn holding(
    store: &MemoryStore,
    clock: &VirtualClock,
    run: &str,
    terms: Terms,
) -> (Journal, Holding) {
    let journal = journal(store.clone(), run).await;
    let holding = Holding::new(journal.clone(), holder(run), terms, Arc::new(clock.clone()));
    (journal, holding)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_live_holder_is_found_alive_before_anybody_gives_up() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let (_, mut one) = holding(&store, &clock, "one", patient(0)).await;
    one.claim(addresses(&["a", "b"]), &told).await.expect("nobody else is there");
    let (_, mut two) = holding(&store, &clock, "two", patient(0)).await;
    let refused = clock.run(two.claim(addresses(&["b", "c"]), &told)).await;
    match refused {
        Err(error @ Error::Claimed { .. }) => {
            assert!(error.to_string().contains("one@host"), "{error}");
            assert!(error.to_string().contains(&address("b").to_string()), "{error}");
            assert!(error.hint().contains("fleetform lock break one"), "{}", error.hint());
        }
        other => panic!("{other:?}"),
    }
    assert!(clock.now() <= 7 * SECOND, "one heartbeat tells it: {:?}", clock.now());
    assert_eq!(told.lines(), ["waiting for one"]);

    // What is apart needs no waiting.
    let before = clock.now();
    clock.run(two.claim(addresses(&["c"]), &told)).await.expect("disjoint claims live together");
    assert_eq!(clock.now(), before);
    assert_eq!(store.read_heartbeats().await.expect("memory reads").len(), 2);
    one.release().await.expect("it is released");
    two.release().await.expect("it is released");
    assert!(store.read_heartbeats().await.expect("memory reads").is_empty());
    assert_eq!(verify(&store).await.expect("the log is whole").entries, 5);
}

#[tokio::test]
async fn who_is_patient_gets_the_claim_when_it_is_given_back() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let (_, mut one) = holding(&store, &clock, "one", patient(0)).await;
    one.claim(addresses(&["a"]), &told).await.expect("nobody else is there");
    let ending = clock.clone();
    tokio::spawn(async move {
        ending.sleep(100 * SECOND).await;
        one.release().await.expect("it is released");
    });
    let (_, mut two) = holding(&store, &clock, "two", patient(60)).await;
    let refused = clock.run(two.claim(addresses(&["a"]), &told)).await;
    assert!(matches!(refused, Err(Error::Claimed { .. })), "{refused:?}");
    assert!((60 * SECOND..63 * SECOND).contains(&clock.now()), "{:?}", clock.now());
    let (_, mut three) = holding(&store, &clock, "three", patient(60)).await;
    clock.run(three.claim(addresses(&["a"]), &told)).await.expect("it is free at 100 s");
    assert!((100 * SECOND..103 * SECOND).contains(&clock.now()), "{:?}", clock.now());
}

#[tokio::test]
async fn a_dead_holder_is_fenced_by_the_watchers_clock_and_its_operations_stay_open() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let (dead, mut one) = holding(&store, &clock, "one", patient(0)).await;
    one.claim(addresses(&["a"]), &told).await.expect("nobody else is there");
    dead.append(vec![begin("1", "a", Action::Create, None)]).await.expect("it is begun");
    drop(one);

    let (next, mut two) = holding(&store, &clock, "two", patient(0)).await;
    clock.run(two.claim(addresses(&["a"]), &told)).await.expect("the dead make room");
    assert!((30 * SECOND..33 * SECOND).contains(&clock.now()), "{:?}", clock.now());
    assert_eq!(told.lines(), ["waiting for one", "fenced one"]);
    let state = next.read(|log| log.state().clone()).await;
    assert_eq!(state.open.keys().collect::<Vec<_>>(), ["1"]);
    assert_eq!(state.claims.fenced["one"], "two@host (run two)");

    // It was not dead, only asleep: it wakes, loses, and the log has nothing of it.
    let woken = dead.append(vec![done("1", Some(record("a", "id")))]).await;
    match woken {
        Err(error @ Error::Fenced { .. }) => {
            assert!(error.to_string().contains("two@host"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let again = dead.append(vec![begin("2", "z", Action::Create, None)]).await;
    assert!(matches!(again, Err(Error::Fenced { .. })), "{again:?}");
    next.append(vec![done("1", Some(record("a", "id")))]).await.expect("two settles it");
    assert_eq!(verify(&store).await.expect("the log is whole").entries, 6);
    assert_eq!(store.read_heartbeats().await.expect("memory reads").len(), 1, "only two's");
}

#[tokio::test]
async fn a_run_that_writes_is_alive_also_where_its_heartbeats_are_lost() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let (writing, mut one) = holding(&store, &clock, "one", patient(0)).await;
    one.claim(addresses(&["a"]), &told).await.expect("nobody else is there");
    drop(one);
    let at_work = clock.clone();
    tokio::spawn(async move {
        for _ in 0..10 {
            at_work.sleep(10 * SECOND).await;
            let seen = Entry::Observed { record: record("a", "id") };
            writing.append(vec![seen]).await.expect("it is not fenced");
        }
    });
    let (_, mut two) = holding(&store, &clock, "two", patient(600)).await;
    clock.run(two.claim(addresses(&["a"]), &told)).await.expect("it falls silent at last");
    assert!((130 * SECOND..133 * SECOND).contains(&clock.now()), "{:?}", clock.now());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_that_is_gone_from_this_machine_is_not_waited_for() {
    let ours = process::identity().expect("Linux names its processes");
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let killed = Holder { process: Some(format!("{ours}0")), ..holder("one") };
    let one = journal(store.clone(), "one").await;
    let mut one = Holding::new(one, killed, patient(0), Arc::new(clock.clone()));
    one.claim(addresses(&["a"]), &told).await.expect("nobody else is there");
    let (_, mut two) = holding(&store, &clock, "two", patient(0)).await;
    clock.run(two.claim(addresses(&["a"]), &told)).await.expect("the dead make room");
    assert_eq!(clock.now(), Duration::ZERO);

    // One that runs is known to live, at once; not when it has been silent for too long.
    let living = Holder { process: Some(ours), ..holder("three") };
    let three = journal(store.clone(), "three").await;
    let mut three = Holding::new(three, living, patient(0), Arc::new(clock.clone()));
    three.claim(addresses(&["b"]), &told).await.expect("nobody else is there");
    drop(three);
    let refused = clock.run(two.claim(addresses(&["b"]), &told)).await;
    assert!(matches!(refused, Err(Error::Claimed { .. })), "{refused:?}");
    assert_eq!(clock.now(), Duration::ZERO);
    let (_, mut four) = holding(&store, &clock, "four", patient(60)).await;
    clock.run(four.claim(addresses(&["b"]), &told)).await.expect("it hangs");
    assert!((30 * SECOND..33 * SECOND).contains(&clock.now()), "{:?}", clock.now());
}

#[tokio::test]
async fn what_the_dead_left_open_is_claimed_and_what_the_living_do_is_left_to_them() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let mut lives = Vec::new();
    for (run, name) in [("living", "a"), ("dead", "b"), ("ended", "c")] {
        let (journal, mut holding) = holding(&store, &clock, run, patient(0)).await;
        holding.claim(addresses(&[name, run]), &told).await.expect("nobody else is there");
        let begun = begin(run, name, Action::Create, None);
        journal.append(vec![begun]).await.expect("it is begun");
        match run {
            "living" => lives.push(holding),
            "ended" => holding.release().await.expect("it is released"),
            _ => drop(holding),
        }
    }
    let (next, mut recovering) = holding(&store, &clock, "next", patient(0)).await;
    clock.run(recovering.recover(&told)).await.expect("it can be told who lives");
    assert!((30 * SECOND..33 * SECOND).contains(&clock.now()), "{:?}", clock.now());
    let claims = next.read(|log| log.state().claims.clone()).await;
    assert_eq!(claims.held["next"].addresses, addresses(&["b", "c"]));
    assert_eq!(claims.held.keys().collect::<Vec<_>>(), ["living", "next"]);
    assert_eq!(claims.fenced.keys().collect::<Vec<_>>(), ["dead"]);
    recovering.claim_what_is_free(addresses(&["a", "d"])).await.expect("nobody is waited for");
    let claims = next.read(|log| log.state().claims.clone()).await;
    assert_eq!(claims.held["next"].addresses, addresses(&["b", "c", "d"]));
}

#[tokio::test]
async fn a_run_that_gave_its_claim_back_begins_nothing_more() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let (journal, mut one) = holding(&store, &clock, "one", patient(0)).await;
    one.claim(BTreeSet::new(), &told).await.expect("nothing is to be had for nothing");
    journal.append(creation("z").to_vec()).await.expect("without claims nothing is missing");
    one.claim(addresses(&["a"]), &told).await.expect("nobody else is there");
    one.claim(addresses(&["b"]), &told).await.expect("a claim grows");
    journal.append([creation("a"), creation("b")].concat()).await.expect("both are claimed");
    let outside = journal.append(creation("c").to_vec()).await;
    assert!(matches!(outside, Err(Error::Refused(_))), "{outside:?}");
    one.release().await.expect("it is released");
    let late = journal.append(vec![begin("late", "a", Action::Update, None)]).await;
    assert!(matches!(late, Err(Error::Refused(_))), "{late:?}");
    let (_, mut two) = holding(&store, &clock, "two", patient(0)).await;
    two.claim(addresses(&["a", "b"]), &told).await.expect("nobody is there");
}

/// One apply: claims, makes or changes each of its objects, gives back. `inside` counts who is in the
/// critical part of each address.
async fn apply(
    store: Arc<dyn Store>,
    run: String,
    names: Vec<String>,
    inside: Arc<BTreeMap<String, AtomicUsize>>,
) {
    let log = Log::open(store, writer(&run), genesis()).await.expect("it opens");
    let journal = Journal::new(log);
    let quick = Terms {
        beat: Duration::from_millis(10),
        patience: Duration::from_secs(300),
        ..Terms::default()
    };
    let clock = Arc::new(SystemClock::default());
    let mut holding = Holding::new(journal.clone(), holder(&run), quick, clock);
    let wanted = names.iter().map(|name| address(name)).collect();
    holding.claim(wanted, &Told::default()).await.expect("its turn comes");
    let operations = names.iter().map(|name| {
        let (journal, inside, op) = (&journal, &inside[name], format!("{run}.{name}"));
        async move {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two runs write at {name}");
            let begun = begin(&op, name, Action::Update, None);
            journal.append(vec![begun]).await.expect("it is begun");
            tokio::task::yield_now().await;
            let ended = done(&op, Some(record(name, &op)));
            journal.append(vec![ended]).await.expect("it is done");
            inside.fetch_sub(1, Ordering::SeqCst);
        }
    });
    futures::future::join_all(operations).await;
    holding.release().await.expect("it is released");
}

/// Runs that many applies at once, each of one object of its own and, where they overlap, one that all
/// share.
async fn race(store: Arc<dyn Store>, runs: usize, overlap: bool) {
    let mut first = Log::open(store.clone(), writer("first"), genesis()).await.expect("it opens");
    first.append(creation("first").to_vec()).await.expect("the log begins");
    let names = |run: usize| {
        let shared = overlap.then(|| "shared".to_owned());
        shared.into_iter().chain([format!("own-{run}")]).collect::<Vec<_>>()
    };
    let inside = (0..runs).flat_map(names).map(|name| (name, AtomicUsize::new(0))).collect();
    let inside = Arc::new(inside);
    let tasks = (0..runs).map(|run| {
        tokio::spawn(apply(store.clone(), format!("run-{run}"), names(run), Arc::clone(&inside)))
    });
    for task in futures::future::join_all(tasks).await {
        task.expect("no apply fails");
    }
    let report = verify(&*store).await.expect("the log is whole");
    let of_each = 2 + 2 * names(0).len() as u64;
    assert_eq!(report.entries, 3 + runs as u64 * of_each);
    let log = Log::open(store, writer("reader"), genesis()).await.expect("it opens");
    assert_eq!(log.state().records.len(), 1 + runs + usize::from(overlap));
    assert!(log.state().open.is_empty() && log.state().claims.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_applies_in_memory_exclude_each_other_just_where_they_overlap() {
    for runs in [2, 8, 32] {
        race(Arc::new(MemoryStore::default()), runs, false).await;
        race(Arc::new(MemoryStore::default()), runs, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_applies_on_disk_exclude_each_other_just_where_they_overlap() {
    for runs in [2, 8, 32] {
        for overlap in [false, true] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            race(Arc::new(LocalStore::new(directory.path())), runs, overlap).await;
        }
    }
}

#[tokio::test]
async fn the_bytes_of_an_apply_grow_with_its_resources_and_no_faster() {
    let mut each = Vec::new();
    for count in [100_u64, 1000] {
        let (store, clock) = (MemoryStore::default(), VirtualClock::default());
        let (journal, mut one) = holding(&store, &clock, "one", patient(0)).await;
        let names: Vec<String> = (0..count).map(|index| format!("r{index:04}")).collect();
        let wanted = names.iter().map(|name| address(name)).collect();
        one.claim(wanted, &Told::default()).await.expect("nobody else is there");
        for name in &names {
            let [begun, ended] = creation(name);
            journal.append(vec![begun]).await.expect("appended");
            journal.append(vec![ended]).await.expect("appended");
        }
        one.release().await.expect("it is released");
        each.push(store.bytes_written() / count);
    }
    // Ten times the resources, at most one and a half times the bytes of each.
    assert!(each[1] * 2 <= each[0] * 3, "bytes a resource at 100 and 1,000: {each:?}");
}

/// A log written by the first version of the format: three applies and destroys and one more apply.
async fn old_log() -> MemoryStore {
    let store = MemoryStore::default();
    let mut batch = Batch { first: 1, bytes: Vec::new() };
    let mut number = 0;
    for line in include_bytes!("fixtures/format-1.log.jsonl").split_inclusive(|b| *b == b'\n') {
        number += 1;
        batch.bytes.extend_from_slice(line);
        let line: serde_json::Value = serde_json::from_slice(line).expect("a line is JSON");
        if line["more"] == 0 {
            let whole = std::mem::replace(&mut batch, Batch { first: number + 1, bytes: vec![] });
            store.put_if_absent(whole).await.expect("memory keeps");
        }
    }
    let bytes = include_bytes!("fixtures/format-1.snapshot-100.json").to_vec();
    store.put_snapshot(Snapshot { number: 100, bytes }).await.expect("memory keeps");
    store
}

#[tokio::test]
async fn logs_of_the_first_format_are_read_and_written_on() {
    let store = old_log().await;
    let report = verify(&store).await.expect("the log is whole");
    assert_eq!((report.entries, report.snapshot), (113, Some(100)));
    let other = Genesis::random("other");
    let log = Log::open(Arc::new(store.clone()), writer("new"), other).await.expect("it opens");
    assert_eq!(log.state().genesis.format, 1);
    assert_eq!(log.state().records.len(), 7);
    assert!(log.state().claims.is_empty());
    let journal = Journal::new(log);
    let clock = Arc::new(VirtualClock::default());
    let mut holding = Holding::new(journal.clone(), holder("new"), Terms::default(), clock);
    holding.claim(addresses(&["a"]), &Told::default()).await.expect("nobody is there");
    journal.append(creation("a").to_vec()).await.expect("it goes on");
    holding.release().await.expect("it is released");
    assert_eq!(verify(&store).await.expect("the log is whole").entries, 117);
}

/// Keeps entries but no heartbeat.
struct Heartless(MemoryStore);

#[async_trait]
impl Store for Heartless {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        self.0.read_snapshot().await
    }
    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        self.0.put_snapshot(snapshot).await
    }
    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        self.0.read_from(number).await
    }
    async fn put_if_absent(&self, batch: Batch) -> io::Result<fleetform_state::Put> {
        self.0.put_if_absent(batch).await
    }
    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.0.replace(batch).await
    }
    async fn drop_before(&self, kept: fleetform_state::Kept) -> io::Result<()> {
        self.0.drop_before(kept).await
    }
    async fn put_heartbeat(&self, _: &str, _: Vec<u8>) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    async fn remove_heartbeat(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn place(&self, kept: fleetform_state::Kept) -> String {
        self.0.place(kept)
    }
}

#[tokio::test]
async fn nobody_is_called_dead_where_heartbeats_cannot_be_read() {
    let (store, clock, told) = (MemoryStore::default(), VirtualClock::default(), Told::default());
    let (_, mut one) = holding(&store, &clock, "one", patient(0)).await;
    one.claim(addresses(&["a"]), &told).await.expect("nobody else is there");
    let two = journal(Heartless(store), "two").await;
    let mut two = Holding::new(two, holder("two"), patient(600), Arc::new(clock.clone()));
    two.claim(addresses(&["b"]), &told).await.expect("a heartbeat that is lost costs nothing");
    let refused = clock.run(two.claim(addresses(&["a"]), &told)).await;
    assert!(matches!(&refused, Err(Error::Store { doing, .. }) if doing.contains("heartbeats")));
}
