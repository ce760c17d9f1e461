//! The host over real HTTP: faults, the log, limits, the stop.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fleetform_sandbox::{
    Api, BODY_LIMIT_BYTES, Fault, FaultPlan, Object, Request, Served, World, ask, serve,
};
use http::StatusCode;

/// An API that keeps what it is sent.
fn api(name: &'static str, world: &World) -> Api {
    async fn put(State(world): State<World>, Path(key): Path<String>, body: Bytes) -> String {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        world.step(|table| table.put("things", key, Object { body, settles_at: 0 }));
        "kept".to_owned()
    }
    async fn count(State(world): State<World>) -> Json<usize> {
        Json(world.step(|table| table.list("things", "").count()))
    }
    // An answer that never ends, as a watch is.
    async fn watch() -> Response {
        let nothing = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        axum::body::Body::from_stream(nothing).into_response()
    }
    fn refuse(fault: Fault) -> Response {
        match fault {
            Fault::Throttled => (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response(),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response(),
        }
    }
    let routes = Router::new()
        .route("/things", get(count))
        .route("/things/{key}", post(put))
        .route("/watch", get(watch))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(world.clone());
    Api { name, routes, refuse }
}

async fn served(world: &World, faults: FaultPlan) -> (Served, String, reqwest::Client) {
    let served = serve(world, vec![(api("things", world), 0)], faults).await.expect("it is served");
    let url = served.urls["things"].clone();
    // Another test of this process may have been first, with the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    (served, url, reqwest::Client::new())
}

#[tokio::test]
async fn requests_are_answered_counted_and_logged() {
    let world = World::in_memory(1);
    let (served, url, client) = served(&world, FaultPlan::default()).await;
    let answer = client.post(format!("{url}/things/a?dry=no")).body(r#"{"size":1}"#).send().await;
    assert_eq!(answer.expect("it answers").text().await.expect("it is text"), "kept");
    let answer = client.get(format!("{url}/nothing")).send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);

    let request = |number, method: &str, path: &str, body, status| Request {
        api: "things".into(),
        number,
        method: method.into(),
        path: path.into(),
        body,
        status: Some(status),
        fault: None,
    };
    let expected = [
        request(1, "POST", "/things/a?dry=no", serde_json::json!({ "size": 1 }), 200),
        request(2, "GET", "/nothing", serde_json::Value::Null, 404),
    ];
    assert_eq!(served.requests(), expected);
    assert_eq!((served.request_count("things"), served.request_count("other")), (2, 0));

    let own = |path: &str| client.get(format!("{url}/_sandbox/{path}")).send();
    let census = own("census").await.expect("it answers").json::<BTreeMap<String, usize>>().await;
    assert_eq!(census.expect("it is JSON"), BTreeMap::from([("things".to_owned(), 1)]));
    let census = ask(&url, "census", None).await.expect("it answers");
    assert_eq!(census, serde_json::json!({ "things": 1 }));
    let error = ask(&url, "else", None).await.expect_err("there is nothing");
    assert!(error.to_string().contains("404"), "{error}");
    let log = own("requests").await.expect("it answers").json::<Vec<Request>>().await;
    assert_eq!(log.expect("it is JSON"), expected);
    assert_eq!(own("else").await.expect("it answers").status(), StatusCode::NOT_FOUND);
    assert_eq!(served.request_count("things"), 2, "the sandbox's own paths are not counted");
}

#[tokio::test]
async fn refusals_have_no_effect_and_lost_answers_have() {
    let world = World::in_memory(1);
    let throttled = FaultPlan { throttled: 1.0, ..FaultPlan::default() };
    let (_served, url, client) = served(&world, throttled).await;
    let answer = client.post(format!("{url}/things/a")).send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.text().await.expect("it is text"), "slow down");
    assert_eq!(world.census().get("things"), None);

    let lost = FaultPlan { answer_lost: 1.0, ..FaultPlan::default() };
    let (served, url, client) = self::served(&world, lost).await;
    let error = client.post(format!("{url}/things/a")).send().await.expect_err("no answer comes");
    assert!(error.is_request() && error.status().is_none(), "{error:?}");
    assert_eq!(world.census().get("things"), Some(&1));
    let last = served.requests().pop().expect("it is logged");
    assert_eq!((last.status, last.fault), (None, Some(Fault::AnswerLost)));
}

#[tokio::test]
async fn the_same_seed_meets_the_same_faults() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let world = World::in_memory(42);
        let plan = FaultPlan {
            throttled: 0.3,
            unavailable: 0.2,
            answer_lost: 0.0,
            ..FaultPlan::default()
        };
        let (served, url, client) = served(&world, plan).await;
        for key in 0..40 {
            client.post(format!("{url}/things/{key}")).send().await.expect("it answers");
        }
        let faults: Vec<_> = served.requests().iter().map(|request| request.fault).collect();
        let kept = faults.iter().filter(|fault| fault.is_none()).count();
        assert_eq!(world.census().get("things"), Some(&kept));
        assert!((5..36).contains(&kept), "{kept}");
        seen.push(faults);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let world = World::in_memory(1);
    let (_served, url, client) = served(&world, FaultPlan::default()).await;
    let send = |size| client.post(format!("{url}/things/a")).body(vec![b' '; size]).send();
    assert_eq!(send(BODY_LIMIT_BYTES).await.expect("it answers").status(), StatusCode::OK);
    // The connection may end while the rest is still being sent.
    if let Ok(answer) = send(BODY_LIMIT_BYTES + 1).await {
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let answer = client.get(format!("{url}/things")).send().await.expect("it goes on");
    assert_eq!(answer.text().await.expect("it is text"), "1");
}

#[tokio::test]
async fn a_taken_port_gives_way_to_a_free_one() {
    let world = World::in_memory(1);
    let first = serve(&world, vec![(api("one", &world), 0)], FaultPlan::default()).await;
    let first = first.expect("it is served");
    let port: u16 = first.urls["one"].rsplit(':').next().unwrap().parse().expect("a port");
    let apis = vec![(api("one", &world), port), (api("two", &world), 0)];
    let second = serve(&world, apis, FaultPlan::default()).await.expect("it is served too");
    assert_eq!(second.urls.len(), 2);
    assert_ne!(first.urls["one"], second.urls["one"]);
}

#[tokio::test]
async fn a_stop_ends_watches_and_frees_the_world() {
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::open(directory.path(), 1).expect("it opens");
    let (served, url, client) = served(&world, FaultPlan::default()).await;
    client.post(format!("{url}/things/a")).send().await.expect("it answers");
    let watch = client.get(format!("{url}/watch")).send().await.expect("it answers");
    served.stop().await;
    assert!(watch.bytes().await.is_err(), "the watch is cut off");
    assert!(client.get(format!("{url}/things")).send().await.is_err(), "nobody answers");
    drop(world);
    let world = World::open(directory.path(), 1).expect("it is free again");
    assert_eq!(world.census().get("things"), Some(&1));
}

#[tokio::test]
async fn a_world_that_cannot_be_kept_answers_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("world.jsonl");
    drop(World::open(directory.path(), 1).expect("it opens"));
    let world = World::open(directory.path(), 1).expect("it opens");
    // The next rewrite of the journal goes to this name, and cannot.
    std::fs::remove_file(&journal).expect("it is removed");
    std::fs::create_dir(&journal).expect("a directory in its place");
    for key in 0..2000 {
        let object = Object { body: serde_json::json!(key), settles_at: 0 };
        world.step(|table| table.put("things", "a", object));
    }
    assert!(world.failure().is_some());
    let (_served, url, client) = served(&world, FaultPlan::default()).await;
    let answer = client.get(format!("{url}/things")).send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert!(answer.text().await.expect("it is text").contains("cannot be kept"));
}
