//! What an apply writes into the state, by the number of its resources: `cargo bench -p fleetform-state`.
//!
//! An apply claims its addresses, begins and ends every operation, ten at once, and releases. The store
//! is in memory and counts every byte that it is given: batches and snapshots, in clear and encrypted. The
//! figures of a run are kept in `benches/README.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fleetform_contract::{Address, Record, Resource, Value};
use fleetform_state::hold::Listener;
use fleetform_state::stores::Surroundings;
use fleetform_state::{
    Action, Claim, Entry, Genesis, Holder, Holding, Journal, KeySource, KeySources, Keys, Log,
    MemoryStore, SealedStore, Store, SystemClock, Terms, Writer, verify,
};
use futures::StreamExt;

struct Nobody;

impl Listener for Nobody {
    fn waiting(&self, _: &str, _: &Claim) {}
    fn fenced(&self, _: &str, _: &Claim) {}
}

/// A deployment of a thousand bytes, which is what one of ours takes.
fn resource(index: usize) -> Resource {
    let address = Address::keyed("kubernetes_deployment", format!("s{index:05}"), "aws/us-east-1");
    let manifest = BTreeMap::from([
        ("name".to_owned(), Value::from(format!("s{index:05}"))),
        ("spec".to_owned(), Value::from("x".repeat(900))),
    ]);
    Resource {
        address,
        cloud: "aws".into(),
        site: Some("aws/us-east-1".into()),
        attributes: manifest,
        depends_on: Vec::new(),
    }
}

fn begin_and_done(index: usize) -> [Entry; 2] {
    let resource = resource(index);
    let op = format!("0.{index}.make");
    let record = Record {
        address: resource.address.clone(),
        cloud: resource.cloud.clone(),
        site: resource.site.clone(),
        id: format!("default/s{index:05}"),
        attributes: resource.attributes.clone(),
        depends_on: Vec::new(),
        version: 0,
        tainted: false,
    };
    let begin = Entry::Begin {
        op: op.clone(),
        address: resource.address.clone(),
        action: Action::Create,
        token: format!("{index:032x}"),
        desired: Some(resource),
        previous: None,
    };
    [begin, Entry::Done { op, record: Some(record) }]
}

struct Written {
    bytes: u64,
    entries: u64,
    batches: u64,
    seconds: f64,
}

fn passphrase() -> Keys {
    let variables = [("PASSPHRASE".to_owned(), "correct horse battery".to_owned())].into();
    let around = Surroundings { variables, ..Surroundings::default() };
    let current = Some(KeySource::PassphraseEnv("PASSPHRASE".into()));
    let keys = Keys::new(&KeySources { current, previous: Vec::new() }, &around);
    keys.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

async fn apply(count: usize, keys: Keys) -> Written {
    let memory = MemoryStore::default();
    let store = Arc::new(SealedStore::new(Arc::new(memory.clone()), keys));
    let writer = Writer {
        run: "e0ed7449-60bd-45fb-aba3-d296cbe81981".into(),
        clock: Box::new(|| "2026-01-01T00:00:00.000000000Z".into()),
    };
    let started = Instant::now();
    let log =
        Log::open(Arc::clone(&store) as Arc<dyn Store>, writer, Genesis::random("bench")).await;
    let journal = Journal::new(log.expect("memory opens"));
    let clock = Arc::new(SystemClock::default());
    let mut holding = Holding::new(journal.clone(), Holder::default(), Terms::default(), clock);
    let addresses = (0..count).map(|index| resource(index).address).collect();
    holding.claim(addresses, &Nobody).await.expect("nobody else is there");
    futures::stream::iter(0..count)
        .for_each_concurrent(10, |index| {
            let journal = journal.clone();
            async move {
                let [begin, done] = begin_and_done(index);
                journal.append(vec![begin]).await.expect("memory keeps");
                tokio::task::yield_now().await;
                journal.append(vec![done]).await.expect("memory keeps");
            }
        })
        .await;
    holding.release().await.expect("memory keeps");
    let seconds = started.elapsed().as_secs_f64();
    let report = verify(&*store).await.expect("the log is whole");
    Written {
        bytes: memory.bytes_written(),
        entries: report.entries,
        batches: report.batches,
        seconds,
    }
}

fn main() {
    // `cargo test --benches` runs this too: then it is to be quick.
    let counts: &[usize] = if std::env::args().any(|argument| argument == "--bench") {
        &[100, 1_000, 10_000]
    } else {
        &[100]
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    println!(
        "| kept | resources | bytes written | a resource | against the first | entries | batches | seconds |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (kept, keys) in [("in clear", Keys::none()), ("encrypted", passphrase())] {
        let mut first = None;
        for &count in counts {
            let written = runtime.block_on(apply(count, keys.clone()));
            let each = written.bytes as f64 / count as f64;
            let ratio = each / *first.get_or_insert(each);
            println!(
                "| {kept} | {count} | {} | {each:.0} | {ratio:.2} | {} | {} | {:.2} |",
                written.bytes, written.entries, written.batches, written.seconds
            );
        }
    }
}
