//! Compaction: what a log says stays, what it was made of goes, and nothing is lost on the way.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use common::{batch, creation, genesis, log_of, open, store, writer};
use fleetform_state::{
    Batch, Entry, Error, Journal, Kept, LocalStore, Log, MemoryStore, Put, Snapshot, State, Store,
    as_of, compact, damages, history, runs, verify,
};

const NOW: &str = "2026-01-02T00:00:00Z";

async fn journal(store: impl Store + 'static, run: &str) -> Journal {
    Journal::new(open(store, run).await.expect("it opens"))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("r{index}")).collect()
}

async fn grown(store: &LocalStore, count: usize) -> State {
    let names = names(count);
    log_of(store, &names.iter().map(String::as_str).collect::<Vec<_>>()).await.state().clone()
}

/// What a state says, without what compacting adds to it.
fn said(state: &State) -> State {
    State { serial: 0, compactions: BTreeMap::new(), ..state.clone() }
}

#[tokio::test]
async fn a_compacted_log_says_the_same_and_begins_later() {
    let (_directory, store) = store();
    let before = grown(&store, 80).await;
    let lines = history(&store).await.expect("whole");
    let done = compact(&journal(store.clone(), "janitor").await, 50, NOW).await.expect("compacted");
    let done = done.expect("there was something");
    // 161 entries, 50 stay: entry 111 ends a batch.
    assert_eq!((done.through, done.batches), (111, 80));
    assert_eq!(done.left, 80 - 54 + 1);
    let report = verify(&store).await.expect("whole");
    assert_eq!((report.entries, report.beginning), (162, Some(111)));
    let after = open(store.clone(), "reader").await.expect("it opens");
    assert_eq!(said(after.state()), said(&before));
    // Versions of records are those that they had: saved plans stay what they are.
    assert_eq!(after.state().records, before.records);
    let kept = history(&store).await.expect("whole");
    assert!(matches!(kept[0].entry, Entry::Beginning { .. }));
    assert_eq!(kept[1..51], lines[111..]);
    assert_eq!(as_of(&kept, 111).expect("known"), as_of(&lines, 111).expect("known"));
    assert_eq!(as_of(&kept, 140).expect("known"), as_of(&lines, 140).expect("known"));
    let gone = as_of(&kept, 110).expect_err("compacted");
    assert!(matches!(gone, Error::Compacted { entry: 110, through: 111 }), "{gone}");
    assert_eq!(runs(&kept).iter().map(|run| run.first()).collect::<Vec<_>>(), [112, 162]);

    // Once more, and down to nothing but the beginning and the entry that names it.
    let nothing = compact(&journal(store.clone(), "janitor").await, 50, NOW).await.expect("fine");
    assert_eq!(nothing, None);
    let done = compact(&journal(store.clone(), "janitor").await, 0, NOW).await.expect("compacted");
    assert_eq!(done.map(|done| done.left), Some(2));
    let last = open(store.clone(), "reader").await.expect("it opens");
    assert_eq!(last.state().records, before.records);
    // And it goes on, with snapshots and all.
    let mut log = open(store.clone(), "next").await.expect("it opens");
    for name in names(200) {
        log.append(creation(&format!("more-{name}")).into()).await.expect("appended");
    }
    let report = verify(&store).await.expect("whole");
    assert!(report.snapshot > report.beginning, "{report:?}");
    assert_eq!(open(store, "reader").await.expect("it opens").state().records.len(), 280);
}

#[tokio::test]
async fn who_was_asleep_goes_on_behind_the_beginning() {
    let memory = MemoryStore::default();
    let open = |run: &str| {
        let opened = Log::open(Arc::new(memory.clone()), writer(run), genesis());
        async move { opened.await.expect("it opens") }
    };
    let mut first = open("first").await;
    first.append(creation("a").into()).await.expect("appended");
    let (mut reader, mut asleep) = (open("reader").await, open("asleep").await);
    for name in names(40) {
        first.append(creation(&name).into()).await.expect("appended");
    }
    compact(&Journal::new(open("janitor").await), 0, NOW).await.expect("compacted");
    assert_eq!(memory.batches(), 2);
    reader.refresh().await.expect("it reads again");
    assert_eq!(reader.state().records.len(), 41);
    // Its number is long dropped, and still taken.
    let numbers = asleep.append(creation("late").into()).await.expect("appended");
    assert_eq!(numbers, 85..87);
    let report = verify(&memory).await.expect("whole");
    assert_eq!(report.entries, 86);
    assert_eq!(open("reader").await.state().records.len(), 42);
}

#[tokio::test]
async fn another_beginning_in_its_place_is_found() {
    let (_directory, store) = store();
    grown(&store, 30).await;
    compact(&journal(store.clone(), "janitor").await, 20, NOW).await.expect("compacted");
    let first = history(&store).await.expect("whole");
    let old = fs::read(batch(&store, first[0].number - 1)).expect("the old beginning");
    let old_path = batch(&store, first[0].number - 1);
    log_of(&store, &["x", "y", "z"]).await;
    compact(&journal(store.clone(), "janitor").await, 0, NOW).await.expect("compacted");
    let through = verify(&store).await.expect("whole").beginning.expect("compacted");
    let path = fs::read_dir(store.directory().join("log"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .min()
        .expect("a beginning");
    let new = fs::read(&path).expect("it reads");
    let restored = |bytes: &[u8]| fs::write(&path, bytes).expect("written");
    // (what, what is said)
    let cases: [(&str, &dyn Fn(), &str); 4] = [
        ("a replayed old beginning", &|| restored(&old), "it is the beginning of the log at entry"),
        (
            "a flipped bit",
            &|| {
                let mut bytes = new.clone();
                bytes[300] ^= 1;
                restored(&bytes);
            },
            "does not match its own hash",
        ),
        (
            "a truncated beginning",
            &|| restored(&new[..new.len() / 2]),
            "does not match its own hash",
        ),
        (
            "the old beginning in its old place",
            &|| {
                fs::remove_file(&path).expect("removed");
                fs::write(&old_path, &old).expect("written");
                // As somebody would who brings back a whole old directory.
                fs::write(store.directory().join("beginning"), "1").expect("written");
            },
            "is missing",
        ),
    ];
    for (what, damage, says) in cases {
        damage();
        for error in [
            open(store.clone(), "reader").await.err().expect("opening finds it"),
            verify(&store).await.expect_err("verifying finds it"),
            damages(&store).await.expect("it can be read").remove(0),
        ] {
            assert!(error.to_string().contains(says), "{what}: {error}");
            assert!(error.hint().contains("backup"), "{what}: {}", error.hint());
        }
        restored(&new);
    }
    let _ = fs::remove_file(&old_path);
    assert_eq!(verify(&store).await.expect("whole").beginning, Some(through));
}

/// A store that fails at a place: the changes from there on fail.
#[derive(Clone)]
struct Failing {
    inner: MemoryStore,
    left: Arc<AtomicI64>,
}

impl Failing {
    fn step(&self) -> io::Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 0 => Ok(()),
            _ => Err(io::Error::other("the end")),
        }
    }
}

#[async_trait]
impl Store for Failing {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        self.inner.read_snapshot().await
    }
    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        self.step()?;
        self.inner.put_snapshot(snapshot).await
    }
    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        self.inner.read_from(number).await
    }
    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        self.step()?;
        self.inner.put_if_absent(batch).await
    }
    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.step()?;
        self.inner.replace(batch).await
    }
    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        self.step()?;
        self.inner.drop_before(kept).await
    }
    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.inner.put_heartbeat(run, bytes).await
    }
    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        self.inner.read_heartbeats().await
    }
    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        self.inner.remove_heartbeat(run).await
    }
    fn place(&self, kept: Kept) -> String {
        self.inner.place(kept)
    }
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_a_whole_log() {
    for place in 0.. {
        let inner = MemoryStore::default();
        let failing = Failing { inner: inner.clone(), left: Arc::new(AtomicI64::new(i64::MAX)) };
        let mut log = open(failing.clone(), "run").await.expect("it opens");
        for name in names(30) {
            log.append(creation(&name).into()).await.expect("appended");
        }
        let before = log.state().clone();
        let janitor = journal(failing.clone(), "janitor").await;
        failing.left.store(place, Ordering::SeqCst);
        let ended = compact(&janitor, 10, NOW).await;
        // The next run sees everything, and compacts what this one has left.
        let next = open(inner.clone(), "next").await.expect("it opens");
        assert_eq!(said(next.state()), said(&before), "place {place}");
        verify(&inner).await.unwrap_or_else(|error| panic!("place {place}: {error}"));
        compact(&Journal::new(next), 0, NOW).await.expect("compacted");
        assert_eq!(inner.batches(), 2, "place {place}");
        let after = open(inner, "last").await.expect("it opens");
        assert_eq!(said(after.state()), said(&before), "place {place}");
        if ended.is_ok() {
            assert!(place >= 3, "three steps and more");
            return;
        }
    }
}
