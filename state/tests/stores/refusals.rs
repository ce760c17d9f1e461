//! What the user is told where a store cannot be used.

use fleetform_state::stores::{Argument, Failure, Surroundings};
use fleetform_state::{Batch, stores};

use crate::servers::{moto, postgres};
use crate::{AWS, Pairs, block, http, open, with_tls};

/// The error of reading a state, and its hint.
async fn refused(kind: &str, arguments: Pairs<'_>, variables: Pairs<'_>) -> (String, String) {
    let store = open(kind, arguments, variables, "chat");
    let error = store.read_from(1).await.expect_err("a store that cannot be used");
    (error.to_string(), Failure::hint_of(&error).unwrap_or_default().to_owned())
}

fn assert_says(said: &(String, String), what: &str, hint: &str) {
    assert!(said.0.contains(what), "{said:?} does not say {what:?}");
    assert!(said.1.contains(hint), "{said:?} does not hint at {hint:?}");
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_named() {
    with_tls();
    let server = moto();
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let said = refused("s3", &[("bucket", "nowhere"), ("endpoint", &endpoint)], AWS).await;
    assert_says(
        &said,
        "the bucket \"nowhere\" of s3://nowhere/chat does not exist",
        "Make the bucket",
    );
}

#[tokio::test]
async fn credentials_that_do_not_do_are_hinted_at() {
    with_tls();
    let port = crate::gcs::serve().await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let arguments = [("bucket", "states"), ("endpoint", endpoint.as_str())];
    let said = refused("gcs", &arguments, &[("GOOGLE_OAUTH_ACCESS_TOKEN", "wrong")]).await;
    assert_says(&said, "of gs://states/chat was not allowed", "GOOGLE_APPLICATION_CREDENTIALS");
}

#[tokio::test]
async fn a_database_says_what_is_wrong() {
    let server = postgres();
    let url = |database: &str| format!("postgres://deploy@127.0.0.1:{}/{database}", server.port);
    let said = refused("postgres", &[("url", &url("postgres"))], &[("PGPASSWORD", "wrong")]).await;
    assert_says(&said, "password authentication failed", "PGPASSWORD");
    assert!(!said.0.contains("wrong"), "a password is not said: {said:?}");
    let said = refused("postgres", &[("url", &url("missing"))], &[("PGPASSWORD", "secret")]).await;
    assert_says(&said, "database \"missing\" does not exist", "Make the database");
    // Who may not make tables is shown what is to be made.
    let (mut settings, mut around) =
        block("postgres", &[("url", &url("postgres"))], &[("PGPASSWORD", "secret")], "chat");
    settings.arguments.insert("create_table".into(), Argument::Flag(false));
    let store = stores::open(&settings, &around).expect("settings that do");
    let batch = Batch { first: 1, bytes: b"x".to_vec() };
    let error = store.put_if_absent(batch).await.expect_err("there is no table");
    let hint = Failure::hint_of(&error).unwrap_or_default();
    assert!(hint.contains("CREATE TABLE IF NOT EXISTS \"fleetform_state\""), "{error}: {hint}");
    // An environment's state is another one.
    around.environment = Some("prod".into());
    let place = stores::open(&settings, &around).expect("settings that do");
    let place = place.place(fleetform_state::Kept::Batch(7));
    assert!(place.ends_with("state \"chat/envs/prod\", batch 7)"), "{place}");
}

const LOGIN: Pairs = &[("TF_HTTP_USERNAME", "user"), ("TF_HTTP_PASSWORD", "secret")];

#[tokio::test]
async fn a_lock_that_stays_is_reported_with_its_holder() {
    with_tls();
    let (port, kept) = http::serve().await;
    let holder = serde_json::json!({
        "ID": "8a6b", "Operation": "OperationTypeApply", "Info": "", "Who": "ada@runner-7",
        "Version": "1.11.4", "Created": "2026-01-01T00:00:00Z", "Path": "",
    });
    kept.lock().expect("no holder panics").locks.insert("/chat".into(), holder);
    let address = format!("http://127.0.0.1:{port}/chat");
    let (mut settings, around) = block("http", &[("address", &address)], LOGIN, "chat");
    settings.arguments.insert("lock_timeout".into(), Argument::Seconds(0.2));
    let store = stores::open(&settings, &around).expect("settings that do");
    let batch = Batch { first: 1, bytes: b"x".to_vec() };
    let error = store.put_if_absent(batch).await.expect_err("the lock is held");
    let said = (error.to_string(), Failure::hint_of(&error).unwrap_or_default().to_owned());
    assert_says(&said, "ID:        8a6b", "UNLOCK");
    assert_says(&said, "Who:       ada@runner-7", "dead");
    // Reading needs no lock.
    assert_eq!(store.read_from(1).await.expect("read"), []);
}

#[tokio::test]
async fn a_state_of_terraforms_is_left_alone() {
    with_tls();
    let (port, kept) = http::serve().await;
    let document = serde_json::json!({
        "version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "l",
        "outputs": {}, "resources": [{ "type": "aws_instance" }], "check_results": null,
    });
    kept.lock().expect("no holder panics").documents.insert("/chat".into(), document);
    let address = format!("http://127.0.0.1:{port}/chat");
    let said = refused("http", &[("address", &address)], LOGIN).await;
    assert_says(&said, "it is a state of Terraform", "an address of its own");
    let said = refused("http", &[("address", &address)], &[]).await;
    assert_says(&said, "401", "TF_HTTP_PASSWORD");
}

#[tokio::test]
async fn nobody_there_is_said_soon() {
    with_tls();
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let endpoint = format!("http://127.0.0.1:{port}");
    let said = refused("s3", &[("bucket", "states"), ("endpoint", &endpoint)], AWS).await;
    assert_says(&said, "s3://states/chat failed", "`endpoint`");
    let said = refused("http", &[("address", &endpoint)], &[]).await;
    assert_says(&said, "failed", "`address`");
    let url = format!("postgres://deploy@127.0.0.1:{port}/x");
    let said = refused("postgres", &[("url", &url)], &[]).await;
    assert_says(&said, "postgres://127.0.0.1/x failed", "PGHOST");
}

#[test]
fn settings_that_do_not_do_are_refused_at_once() {
    with_tls();
    let around = Surroundings {
        stack: "chat".into(),
        environment: Some("prod".into()),
        ..Surroundings::default()
    };
    let cases: [(&str, Pairs, Option<&str>, &str); 9] = [
        ("s3", &[("bucket", "b"), ("endpoint", "127.0.0.1:9000")], Some("endpoint"), "Invalid URL"),
        ("s3", &[("bucket", "b/prefix")], Some("bucket"), "Missing required argument"),
        ("s3", &[("bucket", "b"), ("profile", "nobody")], Some("profile"), "Unknown profile"),
        ("azblob", &[("container", "c")], Some("account"), "Missing required argument"),
        ("postgres", &[("url", "mysql://x/y")], Some("url"), "Invalid database URL"),
        (
            "postgres",
            &[("url", "postgres://x/y"), ("table", "a b")],
            Some("table"),
            "Invalid table name",
        ),
        ("http", &[], Some("address"), "Missing required argument"),
        ("http", &[("address", "https://x/chat")], Some("address"), "Environments share a state"),
        ("ftp", &[], None, "Unknown state store"),
    ];
    for (kind, arguments, argument, summary) in cases {
        let (settings, _) = block(kind, arguments, &[], "chat");
        let refusal = stores::open(&settings, &around).err().expect("refused");
        assert_eq!((refusal.argument, refusal.summary), (argument, summary), "{refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
    }
}
