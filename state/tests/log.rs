//! Logs on disk: appended to, raced for, crashed, tampered with.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use common::{batch, begin, creation, genesis, log_of, open, record, store, writer};
use fleetform_contract::{Secret, Value};
use fleetform_state::{
    Action, Batch, Entry, Error, Genesis, Journal, Kept, Log, MemoryStore, Put, Snapshot, Store,
    history, verify,
};

#[tokio::test]
async fn opening_writes_nothing_and_the_first_append_begins_the_log() {
    let (_directory, store) = store();
    let log = open(store.clone(), "plan").await.expect("an empty place opens");
    assert!(!log.has_begun() && log.state().serial == 0);
    assert!(!store.directory().exists());

    let mut log = open(store.clone(), "apply").await.expect("an empty place opens");
    assert_eq!(log.append(creation("a").to_vec()).await.expect("appended"), 2..4);
    assert_eq!(log.append(vec![]).await.expect("nothing is appended"), 4..4);
    assert_eq!(log.append(creation("b").to_vec()).await.expect("appended"), 4..6);

    let other = Genesis::random("other");
    let again = Log::open(Arc::new(store.clone()), writer("later"), other).await.expect("it opens");
    assert_eq!(again.state(), log.state());
    assert_eq!(again.state().lineage(), "lineage-1");
    let lines = history(&store).await.expect("the log is whole");
    let seen: Vec<_> = lines.iter().map(|line| (line.number, line.more, &line.run[..])).collect();
    let run = "apply";
    assert_eq!(seen, [(1, 2, run), (2, 1, run), (3, 0, run), (4, 1, run), (5, 0, run)]);
    assert_eq!(lines[0].entry, Entry::Genesis(genesis()));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, store) = store();
    log_of(&store, &["a"]).await;
    let mode = |path: PathBuf| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(batch(&store, 1)), 0o600);
    assert_eq!(mode(store.directory().join("log")), 0o700);
}

#[tokio::test]
async fn refused_entries_are_not_written() {
    let (_directory, store) = store();
    let mut log = log_of(&store, &["a"]).await;
    let twice = vec![begin("x", "x", Action::Create, None), begin("x", "x", Action::Create, None)];
    assert!(matches!(log.append(twice).await, Err(Error::Refused(_))));
    assert_eq!(verify(&store).await.expect("the log is whole").entries, 3);
}

#[tokio::test]
async fn whoever_loses_a_number_reads_and_goes_on() {
    let (_directory, store) = store();
    let mut one = log_of(&store, &["a"]).await;
    let mut two = open(store.clone(), "two").await.expect("it opens");
    one.append(creation("b").to_vec()).await.expect("appended");
    assert_eq!(two.append(creation("c").to_vec()).await.expect("appended behind"), 6..8);
    one.refresh().await.expect("it is read");
    assert_eq!(one.state(), two.state());
    assert_eq!(one.state().records.len(), 3);
}

#[tokio::test]
async fn a_state_begins_once() {
    let store = MemoryStore::default();
    let mut one = open(store.clone(), "one").await.expect("it opens");
    let two = Genesis { lineage: "lineage-2".into(), ..genesis() };
    let mut two = Log::open(Arc::new(store), writer("two"), two).await.expect("it opens");
    one.append(creation("a").to_vec()).await.expect("appended");
    let refused = two.append(creation("b").to_vec()).await;
    assert!(
        matches!(&refused, Err(Error::Begun { lineage }) if lineage == "lineage-1"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_logs_on_one_directory_lose_nothing() {
    let (_directory, store) = store();
    log_of(&store, &["first"]).await;
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut log = open(store, &format!("run-{task}")).await.expect("it opens");
                let mut numbers = Vec::new();
                for index in 0..40 {
                    let name = format!("r{task}-{index}");
                    numbers.extend(log.append(creation(&name).to_vec()).await.expect("appended"));
                }
                numbers
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.extend(task.await.expect("no task panics"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (4..324).collect::<Vec<_>>());
    let log = open(store.clone(), "reader").await.expect("it opens");
    assert_eq!(log.state().records.len(), 161);
    let report = verify(&store).await.expect("the log is whole");
    assert_eq!(report.entries, 323);
    assert!(report.snapshot.is_some_and(|number| number >= 100), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_journal_groups_what_comes_at_once() {
    let store = MemoryStore::default();
    let journal = Journal::new(open(store.clone(), "run").await.expect("it opens"));
    let tasks: Vec<_> = (0..200)
        .map(|index| {
            let journal = journal.clone();
            tokio::spawn(async move {
                // Every tenth is wrong and must fail alone.
                let name = format!("r{index}");
                let [begin, done] = creation(&name);
                let entries = if index % 10 == 0 { vec![done] } else { vec![begin, done] };
                journal.append(entries).await
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for (index, task) in tasks.into_iter().enumerate() {
        match task.await.expect("no task panics") {
            Ok(range) => numbers.extend(range),
            Err(error) => {
                assert!(index % 10 == 0 && matches!(error, Error::Refused(_)), "{index}: {error}");
            }
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (2..362).collect::<Vec<_>>());
    assert_eq!(journal.read(|log| log.state().records.len()).await, 180);
    verify(&store).await.expect("the log is whole");
}

#[tokio::test]
async fn a_crash_before_the_link_leaves_no_entry() {
    let (_directory, store) = store();
    log_of(&store, &["a"]).await;
    let folder = store.directory().join("log");
    let torn = folder.join(format!(".new-{:020}-crashed", 4));
    fs::write(&torn, b"{\"number\":4,\"mo").expect("it is written");

    let mut log = open(store.clone(), "next").await.expect("it opens");
    assert_eq!(log.state().serial, 3);
    assert!(torn.exists(), "its writer may be alive: number 4 is free");
    log.append(creation("b").to_vec()).await.expect("appended");
    open(store.clone(), "later").await.expect("it opens");
    assert!(!torn.exists(), "its number is taken: it can only lose");
    assert_eq!(fs::read_dir(&folder).expect("it lists").count(), 2);
}

#[tokio::test]
async fn entries_of_a_later_version_are_refused_not_guessed() {
    let (_directory, store) = store();
    let genesis = Genesis { format: 99, ..genesis() };
    let mut log =
        Log::open(Arc::new(store.clone()), writer("run"), genesis).await.expect("it opens");
    assert!(matches!(log.append(creation("a").to_vec()).await, Err(Error::Refused(_))));
    let (_directory, store) = common::store();
    log_of(&store, &["a"]).await;
    // A line that is whole, of a kind that is not known here.
    let text = fs::read_to_string(batch(&store, 1)).expect("it reads");
    let last = text.lines().last().expect("it has lines");
    let previous = &last[last.len() - 66..last.len() - 2];
    let body = format!(
        r#"{{"number":4,"more":0,"time":"t","run":"r","previous":"{previous}","entry":{{"teleport":{{}}}}"#
    );
    let hash = sha256(&body);
    fs::write(batch(&store, 4), format!("{body},\"hash\":\"{hash}\"}}\n")).expect("it is written");
    let error = open(store, "reader").await.err().expect("it is refused");
    assert!(
        matches!(&error, Error::Version { what, .. } if what.contains("teleport")),
        "{error:?}"
    );
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn snapshots_open_the_same_state_and_are_checked() {
    let (_directory, store) = store();
    let names: Vec<String> = (0..120).map(|index| format!("r{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let log = log_of(&store, &names).await;
    let report = verify(&store).await.expect("the log is whole");
    let number = report.snapshot.expect("there is a snapshot");
    assert!((100..=report.entries).contains(&number), "{report:?}");
    let again = open(store.clone(), "reader").await.expect("it opens");
    assert_eq!(again.state(), log.state());

    // Without the snapshot the log alone gives the same.
    let snapshot: PathBuf = store.place(Kept::Snapshot(number)).into();
    let kept = fs::read(&snapshot).expect("it reads");
    fs::remove_dir_all(store.directory().join("snapshots")).expect("they are removed");
    let again = open(store.clone(), "reader").await.expect("it opens");
    assert_eq!(again.state(), log.state());

    // A flipped bit in it is named, with the advice to move it away.
    fs::create_dir_all(store.directory().join("snapshots")).expect("it is made");
    let mut flipped = kept.clone();
    flipped[kept.len() / 2] ^= 4;
    fs::write(&snapshot, flipped).expect("it is written");
    let error = open(store.clone(), "reader").await.err().expect("opening finds it");
    assert!(error.to_string().contains(&snapshot.display().to_string()), "{error}");
    assert!(error.hint().contains("move this file away"), "{}", error.hint());

    // A snapshot under another number, and one of a log that ends before it.
    fs::write(store.place(Kept::Snapshot(number + 1)), &kept).expect("it is written");
    assert!(open(store.clone(), "reader").await.is_err());
    fs::remove_file(store.place(Kept::Snapshot(number + 1))).expect("it is removed");
    fs::write(&snapshot, &kept).expect("it is written");
    open(store.clone(), "reader").await.expect("whole again");
    let log_folder = store.directory().join("log");
    let mut files: Vec<_> =
        fs::read_dir(&log_folder).expect("it lists").map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files.iter().rev().take(100) {
        fs::remove_file(file).expect("it is removed");
    }
    let error = open(store.clone(), "reader").await.err().expect("opening finds the cut");
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_snapshot_without_a_placement_is_the_fold() {
    let (_directory, store) = store();
    let mut log = log_of(&store, &["a"]).await;
    log.append(vec![Entry::Placement { placement: serde_json::Value::Null }]).await.expect("kept");
    let names: Vec<String> = (0..60).map(|index| format!("r{index}")).collect();
    for name in &names {
        log.append(creation(name).to_vec()).await.expect("appended");
    }
    assert!(verify(&store).await.expect("the log is whole").snapshot.is_some());
    assert_eq!(open(store, "reader").await.expect("it opens").state(), log.state());
}

#[tokio::test]
async fn bytes_written_grow_linearly() {
    let mut per_resource = Vec::new();
    for count in [100, 1000, 4000] {
        let store = MemoryStore::default();
        let mut log = open(store.clone(), "run").await.expect("it opens");
        for index in 0..count {
            let [begin, done] = creation(&format!("r{index:06}"));
            log.append(vec![begin]).await.expect("appended");
            log.append(vec![done]).await.expect("appended");
        }
        per_resource.push(store.bytes_written() / count);
    }
    let (least, most) = (per_resource[0], per_resource[2]);
    assert!(most <= least * 2, "bytes per resource at 100, 1,000 and 4,000: {per_resource:?}");

    // Also where the state stays small and the log grows.
    let store = MemoryStore::default();
    let mut log = open(store.clone(), "run").await.expect("it opens");
    for _ in 0..1000 {
        log.append(vec![Entry::Observed { record: record("one", "id") }]).await.expect("appended");
    }
    assert!(store.bytes_written() / 1000 < 1000, "{}", store.bytes_written());
}

#[tokio::test]
async fn secrets_are_kept_as_digests() {
    let (_directory, store) = store();
    let mut log = log_of(&store, &[]).await;
    let vault = fleetform_contract::Vault::new(log.state().secret_key());
    let mut kept = record("a", "id");
    kept.attributes.insert("token".into(), vault.seal("var.token", "hunter2".into()));
    log.append(vec![Entry::Adopted { record: kept.clone() }]).await.expect("appended");
    let text = fs::read_to_string(batch(&store, 1)).expect("it reads");
    assert!(!text.contains("hunter2") && text.contains("var.token"), "{text}");
    let again = open(store, "reader").await.expect("it opens");
    let read = &again.state().records[&kept.address].attributes["token"];
    let digest = again.state().secret_key().digest(&"hunter2".into());
    assert_eq!(*read, Value::Secret(Secret { reference: "var.token".into(), digest }));
}

/// Loses the answer of the next write, or refuses snapshots.
#[derive(Default)]
struct Unreliable {
    inner: MemoryStore,
    lose_answer: AtomicBool,
    no_snapshots: bool,
}

#[async_trait]
impl Store for Unreliable {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        self.inner.read_snapshot().await
    }
    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        if self.no_snapshots {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.put_snapshot(snapshot).await
    }
    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        self.inner.read_from(number).await
    }
    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        if self.lose_answer.swap(false, Ordering::SeqCst) {
            // The write happens and its answer does not arrive; the client of the store sends the
            // request again and meets its own entry.
            self.inner.put_if_absent(batch.clone()).await?;
        }
        self.inner.put_if_absent(batch).await
    }
    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.inner.replace(batch).await
    }
    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
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
async fn a_write_whose_answer_is_lost_counts_once() {
    let store = Arc::new(Unreliable::default());
    let mut log = Log::open(store.clone(), writer("run"), genesis()).await.expect("it opens");
    store.lose_answer.store(true, Ordering::SeqCst);
    assert_eq!(log.append(creation("a").to_vec()).await.expect("appended"), 2..4);
    store.lose_answer.store(true, Ordering::SeqCst);
    assert_eq!(log.append(creation("b").to_vec()).await.expect("appended"), 4..6);
    assert_eq!(verify(&*store).await.expect("the log is whole").entries, 5);
}

#[tokio::test]
async fn a_store_without_room_for_snapshots_keeps_entries() {
    let store = Arc::new(Unreliable { no_snapshots: true, ..Unreliable::default() });
    let mut log = Log::open(store.clone(), writer("run"), genesis()).await.expect("it opens");
    for index in 0..120 {
        log.append(creation(&format!("r{index}")).to_vec()).await.expect("appended");
    }
    let report = verify(&*store).await.expect("the log is whole");
    assert_eq!((report.entries, report.snapshot), (241, None));
}
