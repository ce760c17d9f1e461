//! What the tests of the log share.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::sync::Arc;

use fleetform_contract::{Address, Record, Resource, Value};
use fleetform_state::{
    Action, Entry, Error, FORMAT, Genesis, Holder, Kept, KeyBytes, LocalStore, Log, Store, Writer,
};

pub fn genesis() -> Genesis {
    Genesis {
        format: FORMAT,
        stack: "shop".into(),
        lineage: "lineage-1".into(),
        secret_key: KeyBytes([7; 32]),
    }
}

pub fn writer(run: &str) -> Writer {
    Writer { run: run.into(), clock: Box::new(|| "2026-01-01T00:00:00Z".into()) }
}

pub async fn open(store: impl Store + 'static, run: &str) -> Result<Log, Error> {
    Log::open(Arc::new(store), writer(run), genesis()).await
}

pub fn address(name: &str) -> Address {
    Address::keyed("aws_eks_cluster", name, "us-east-1")
}

pub fn record(name: &str, id: &str) -> Record {
    Record {
        address: address(name),
        cloud: "aws".into(),
        site: None,
        id: id.into(),
        attributes: [("name".to_owned(), Value::from(name))].into(),
        depends_on: Vec::new(),
        version: 0,
        tainted: false,
    }
}

pub fn resource(name: &str) -> Resource {
    Resource {
        address: address(name),
        cloud: "aws".into(),
        site: None,
        attributes: [("name".to_owned(), Value::from(name))].into(),
        depends_on: Vec::new(),
    }
}

pub fn begin(op: &str, name: &str, action: Action, previous: Option<Record>) -> Entry {
    Entry::Begin {
        op: op.into(),
        address: address(name),
        action,
        token: format!("token-{op}"),
        desired: (action != Action::Delete).then(|| resource(name)),
        previous,
    }
}

pub fn done(op: &str, record: Option<Record>) -> Entry {
    Entry::Done { op: op.into(), record }
}

pub fn failed(op: &str) -> Entry {
    Entry::Failed { op: op.into(), class: "rejected".into(), message: "no".into() }
}

/// An apply of one resource, as entries.
pub fn creation(name: &str) -> [Entry; 2] {
    [begin(name, name, Action::Create, None), done(name, Some(record(name, "id")))]
}

pub fn claim(run: &str, names: &[&str]) -> Entry {
    Entry::Claim {
        run: run.into(),
        addresses: names.iter().map(|name| address(name)).collect(),
        holder: holder(run),
        ttl_seconds: 30,
    }
}

pub fn holder(run: &str) -> Holder {
    Holder {
        operation: "OperationTypeApply".into(),
        who: format!("{run}@host"),
        created: "2026-01-01T00:00:00Z".into(),
        ..Holder::default()
    }
}

pub fn fence(run: &str) -> Entry {
    Entry::Fence { run: run.into(), by: "somebody".into() }
}

pub fn release(run: &str) -> Entry {
    Entry::Release { run: run.into() }
}

pub fn store() -> (tempfile::TempDir, LocalStore) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = LocalStore::new(directory.path().join("deep/state"));
    (directory, store)
}

/// A log of one batch for each of the names, behind the batch that holds the genesis and the first.
pub async fn log_of(store: &LocalStore, names: &[&str]) -> Log {
    let mut log = open(store.clone(), "run").await.expect("a log opens");
    for name in names {
        log.append(creation(name).to_vec()).await.expect("it is appended");
    }
    log
}

pub fn batch(store: &LocalStore, first: u64) -> PathBuf {
    store.place(Kept::Batch(first)).into()
}
