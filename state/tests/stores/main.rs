//! One suite for every store, each with the real thing behind it: moto's S3, azurite, a PostgreSQL
//! server, a server of the HTTP state protocol, Google Cloud Storage's XML interface, a directory.
//!
//! `.ci/setup` installs the servers. They are started on free ports, in directories of their own, and
//! stopped with the test. What is missing fails the test and says so.

mod azurite;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod gcs;
mod http;
mod proxy;
mod refusals;
mod servers;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetform_state::stores::{Argument, Settings, Surroundings};
use fleetform_state::{LocalStore, MemoryStore, Store, stores};
use tempfile::tempdir;

use azurite::{ACCOUNT, KEY};
use conformance::{Lossy, Open, Subject, check};
use proxy::Proxy;
use servers::{moto, postgres};

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A `state` block in a process with these variables.
fn block(kind: &str, arguments: Pairs, variables: Pairs, state: &str) -> (Settings, Surroundings) {
    let text = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let settings = Settings {
        kind: kind.into(),
        arguments: arguments
            .iter()
            .map(text)
            .map(|(name, value)| (name, Argument::Text(value)))
            .collect(),
    };
    let around = Surroundings {
        stack: state.into(),
        variables: variables.iter().map(text).collect(),
        ..Surroundings::default()
    };
    (settings, around)
}

fn open(kind: &str, arguments: Pairs, variables: Pairs, state: &str) -> Arc<dyn Store> {
    let (settings, around) = block(kind, arguments, variables, state);
    stores::open(&settings, &around).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// What opens a state of a kind at a port.
fn opener(at: impl Fn(u16, &str) -> Arc<dyn Store> + Send + Sync + 'static, port: u16) -> Open {
    Box::new(move |state| at(port, state))
}

async fn served(
    name: &'static str,
    port: u16,
    batches: u64,
    at: impl Fn(u16, &str) -> Arc<dyn Store> + Send + Sync + Clone + 'static,
) -> Subject {
    let proxy = Proxy::before(port).await;
    let lossy = Lossy { open: opener(at.clone(), proxy.port), proxy };
    Subject { name, open: opener(at, port), lossy: Some(lossy), batches }
}

/// rustls wants to be told who does its arithmetic.
fn with_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test]
async fn a_directory() {
    let directory = tempdir().expect("a temporary directory");
    let path = directory.path().to_owned();
    let open = move |state: &str| -> Arc<dyn Store> { Arc::new(LocalStore::new(path.join(state))) };
    check(&Subject { name: "local", open: Box::new(open), lossy: None, batches: 40 }).await;
}

#[tokio::test]
async fn memory() {
    let states = std::sync::Mutex::new(BTreeMap::<String, MemoryStore>::new());
    let open = move |state: &str| -> Arc<dyn Store> {
        let mut states = states.lock().expect("no holder panics");
        Arc::new(states.entry(state.to_owned()).or_default().clone())
    };
    check(&Subject { name: "memory", open: Box::new(open), lossy: None, batches: 40 }).await;
}

pub const AWS: Pairs = &[("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")];

#[tokio::test]
async fn s3() {
    with_tls();
    let server = moto();
    let bucket = format!("http://127.0.0.1:{}/states", server.port);
    let made = reqwest::Client::new().put(bucket).send().await.expect("moto answers");
    assert!(made.status().is_success(), "{made:?}");
    // A page of a listing has 1,000 objects.
    let at = |port: u16, state: &str| {
        let endpoint = format!("http://127.0.0.1:{port}");
        open("s3", &[("bucket", "states"), ("endpoint", &endpoint)], AWS, state)
    };
    check(&served("s3", server.port, 1010, at).await).await;
}

#[tokio::test]
async fn azure_blob_storage() {
    with_tls();
    let server = azurite::serve();
    azurite::make_container(server.port, "states").await;
    let at = |port: u16, state: &str| {
        let endpoint = format!("http://127.0.0.1:{port}/{ACCOUNT}");
        let arguments = [("container", "states"), ("account", ACCOUNT), ("endpoint", &endpoint)];
        open("azblob", &arguments, &[("AZURE_STORAGE_ACCOUNT_KEY", KEY)], state)
    };
    check(&served("azblob", server.port, 40, at).await).await;
}

#[tokio::test]
async fn google_cloud_storage() {
    with_tls();
    let port = gcs::serve().await;
    let at = |port: u16, state: &str| {
        let endpoint = format!("http://127.0.0.1:{port}");
        let arguments = [("bucket", "states"), ("endpoint", endpoint.as_str())];
        open("gcs", &arguments, &[("GOOGLE_OAUTH_ACCESS_TOKEN", gcs::TOKEN)], state)
    };
    check(&served("gcs", port, 2 * gcs::PAGE as u64 + 10, at).await).await;
}

#[tokio::test]
async fn postgresql() {
    let server = postgres();
    let at = |port: u16, state: &str| {
        let url = format!("postgres://deploy@127.0.0.1:{port}/postgres");
        open("postgres", &[("url", &url)], &[("PGPASSWORD", "secret")], state)
    };
    check(&served("postgres", server.port, 1010, at).await).await;
}

#[tokio::test]
async fn terraforms_http_protocol() {
    with_tls();
    let (port, kept) = http::serve().await;
    let variables = [("TF_HTTP_USERNAME", "user"), ("TF_HTTP_PASSWORD", "secret")];
    let at = move |port: u16, state: &str| {
        let address = format!("http://127.0.0.1:{port}/{state}");
        open("http", &[("address", &address)], &variables, state)
    };
    check(&served("http", port, 40, at).await).await;
    let kept = kept.lock().expect("no holder panics");
    assert!(kept.locks.is_empty(), "locks were left behind: {:?}", kept.locks);
    let life = &kept.documents["/life"];
    assert_eq!(life["resources"], serde_json::json!([]), "Terraform finds nothing to destroy");
}

/// GitLab's methods and addresses.
#[tokio::test]
async fn gitlabs_way_of_locking() {
    with_tls();
    let (port, _kept) = http::serve().await;
    let variables = [
        ("TF_HTTP_USERNAME", "user"),
        ("TF_HTTP_PASSWORD", "secret"),
        ("TF_HTTP_LOCK_METHOD", "POST"),
        ("TF_HTTP_UNLOCK_METHOD", "DELETE"),
    ];
    let at = move |port: u16, state: &str| {
        let address = format!("http://127.0.0.1:{port}/{state}");
        let lock = format!("{address}/lock");
        open("http", &[("address", &address), ("lock_address", &lock)], &variables, state)
    };
    check(&served("gitlab", port, 40, at).await).await;
}
