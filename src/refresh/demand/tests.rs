//! What a Prometheus server answers, and what is made of it: a real one for the loads, and a small one that
//! says what it is told for the refusals.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use insta::assert_snapshot;

use super::{measure, measure_within};
use crate::config::{Amount, LoadSize, Stack};
use crate::diagnostic::Diagnostic;
use crate::placement::tests::support::{cloud, gpu, loaded, world};

/// As the program does at its start; the first test to come does it for all.
fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A service for each query, `q0`, `q1`, …, and the server that knows.
fn stack(server: &str, queries: &[&str]) -> Stack {
    use_ring();
    let services = queries.iter().enumerate().map(|(index, query)| {
        let mut service = loaded(&format!("q{index}"), 0.0, &[("L4", 4.0)]);
        let Amount::Load(load) = &mut service.amount else { unreachable!("by load") };
        load.size = LoadSize::Query((*query).to_owned());
        service
    });
    let offerings = vec![gpu("aws/r/g/on_demand", "L4", 1, 24.0, 1.0)];
    let mut stack = world(vec![cloud("aws")], services.collect(), offerings).stack;
    stack.prometheus = Some(server.to_owned());
    stack
}

/// A server with some samples of now in its store, and the directory that it lives in.
struct Prometheus {
    child: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Debian's package, from the path or where `.ci/setup` unpacks it.
    fn program(name: &str) -> PathBuf {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/tools/prometheus/usr/bin");
        let mut directories = std::env::split_paths(&path).chain([PathBuf::from(unpacked)]);
        let found = directories.find(|directory| directory.join(name).exists());
        let found = found.unwrap_or_else(|| panic!("{name} is not there: run .ci/setup"));
        found.join(name)
    }

    fn start(samples: &str) -> Prometheus {
        use_ring();
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("samples.txt"), samples).expect("written");
        std::fs::write(file("prometheus.yml"), "{}").expect("written");
        let made = Command::new(Prometheus::program("promtool"))
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([file("samples.txt"), file("data")])
            .output()
            .expect("promtool starts");
        assert!(made.status.success(), "{made:?}");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(Prometheus::program("prometheus"))
            .arg(format!("--config.file={}", file("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        let url = format!("http://127.0.0.1:{port}");
        Prometheus { child, url, _directory: directory }
    }

    /// Until it answers; it answers 503 while it reads its store.
    async fn ready(&mut self) {
        loop {
            let answer = reqwest::get(format!("{}/-/ready", self.url)).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "prometheus has ended: {ended:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn show(stack: &Stack, diagnostics: &[Diagnostic]) -> String {
    let server = stack.prometheus.as_deref().expect("a server");
    let mut text = String::new();
    for one in diagnostics {
        let hint = one.hint.as_deref().unwrap_or("none");
        text += &format!("{}: {}\nhint: {hint}\n", one.summary, one.detail);
    }
    text.replace(server, "SERVER")
}

#[tokio::test]
async fn loads_come_from_a_real_server() {
    let now = jiff::Timestamp::now().as_second();
    let samples = format!(
        "# TYPE chat gauge\nchat{{pod=\"a\"}} 300 {now}\nchat{{pod=\"b\"}} 200.5 {now}\n# EOF\n"
    );
    let mut server = Prometheus::start(&samples);
    server.ready().await;
    let good = stack(&server.url, &["sum(chat)", "scalar(chat{pod=\"a\"}) * 2", "0"]);
    let loads = measure(&good).await.unwrap_or_else(|errors| panic!("{}", show(&good, &errors)));
    let expected = [("q0", 500.5), ("q1", 600.0), ("q2", 0.0)];
    assert_eq!(loads, expected.map(|(name, load)| (name.to_owned(), load)).into());
    let mut known = good.clone();
    known.know(&loads);
    assert_eq!(known.queries().count(), 0);

    let queries = ["chat", "absent_metric", "chat[5m]", "sum(", "0/0", "-1", "1/0"];
    let bad = stack(&server.url, &queries);
    let errors = measure(&bad).await.expect_err("none of them is a load");
    assert_snapshot!(show(&bad, &errors), @r#"
    Load could not be measured: The load of `service.q0` is what SERVER answers to `chat`: 2 series, where one is wanted.
    hint: put `sum(…)` around the query
    Load could not be measured: The load of `service.q1` is what SERVER answers to `absent_metric`: nothing matches.
    hint: check the query; `… or vector(0)` makes a 0 of nothing, if that is meant
    Load could not be measured: The load of `service.q2` is what SERVER answers to `chat[5m]`: a range or a text, where one number is wanted.
    hint: a load is one number as of now: `rate(…)` makes one of a range
    Load could not be measured: The load of `service.q3` is what SERVER answers to `sum(`: invalid parameter "query": 1:5: parse error: unclosed left parenthesis.
    hint: correct the query
    Load could not be measured: The load of `service.q4` is what SERVER answers to `0/0`: NaN, which is no load.
    hint: a load is 0 or more requests a second
    Load could not be measured: The load of `service.q5` is what SERVER answers to `-1`: -1, which is no load.
    hint: a load is 0 or more requests a second
    Load could not be measured: The load of `service.q6` is what SERVER answers to `1/0`: +Inf, which is no load.
    hint: a load is 0 or more requests a second
    "#);
}

#[tokio::test]
async fn no_answer_is_no_load() {
    let app = Router::new()
        .route("/html/api/v1/query", get(|| async { "<html>" }))
        .route("/broken/api/v1/query", get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/slow/api/v1/query", get(std::future::pending::<&'static str>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let serving = tokio::spawn(axum::serve(listener, app).into_future());
    let mut text = String::new();
    for place in ["html", "broken", "slow", "nowhere"] {
        let stack = stack(&format!("http://{address}/{place}/"), &["up"]);
        let patience = Duration::from_millis(300);
        let errors = measure_within(&stack, patience).await.expect_err("no answer");
        text += &show(&stack, &errors);
    }
    serving.abort();
    assert_snapshot!(text, @r"
    Load could not be measured: The load of `service.q0` is what SERVER answers to `up`: its answer is not one of a Prometheus server (expected value at line 1 column 1).
    hint: `url` is the server's base, to which /api/v1/query is added
    Load could not be measured: The load of `service.q0` is what SERVER answers to `up`: it answered 502 Bad Gateway.
    hint: check `url` in `monitoring`, and that the server can be reached from here
    Load could not be measured: The load of `service.q0` is what SERVER answers to `up`: error sending request: operation timed out.
    hint: check `url` in `monitoring`, and that the server can be reached from here
    Load could not be measured: The load of `service.q0` is what SERVER answers to `up`: it answered 404 Not Found.
    hint: check `url` in `monitoring`, and that the server can be reached from here
    ");
    let mut nobody = stack("http://127.0.0.1:1", &["up"]);
    let errors = measure(&nobody).await.expect_err("nobody listens");
    assert!(errors[0].detail.contains("Connection refused"), "{}", errors[0].detail);
    nobody.workloads.clear();
    assert_eq!(measure(&nobody).await, Ok(BTreeMap::new()));
}
