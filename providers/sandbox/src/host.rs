//! Serves the emulators on loopback, with the fault plan in front of them.
//!
//! Every API also answers `GET /_sandbox/census` (objects by collection) and `GET /_sandbox/requests`
//! (what it was asked lately). Paths under `/_sandbox/` meet no faults and are not counted; what the host
//! itself does not know there it asks the API's router for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use crate::requests::{self, Requests};
use crate::{Fault, FaultPlan, Request, World};

/// Bytes of a request's body that are read at most; more is answered with 413.
pub const BODY_LIMIT_BYTES: usize = 8 << 20;

/// The API whose reads are never stale.
const KUBERNETES: &str = "kubernetes";

/// How long open answers (a watch of Kubernetes, say) may go on after a stop.
const GRACE: Duration = Duration::from_millis(500);

/// One cloud's emulated API: its own listener.
pub struct Api {
    /// `aws`, `gcp`, `azure`, `kubernetes`.
    pub name: &'static str,
    pub routes: Router,
    /// The cloud's own answer to a refused request.
    pub refuse: fn(Fault) -> Response,
}

/// Where a request is on its way through the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is read, and has had no effect yet.
    Before,
    /// It has had its effect, and nobody knows.
    After,
}

/// What every request passes before and after its effect: a test that counts them, holds one back, or ends
/// whoever sent it. It is told the method and the path; the request goes on when it returns.
pub type Gate =
    Arc<dyn Fn(Moment, &str, &str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What may change while the host runs.
struct Settings {
    faults: FaultPlan,
    gate: Option<Gate>,
}

/// A running sandbox. Dropping it ends it at once; [`Served::stop`] lets answers finish.
pub struct Served {
    /// Base URL (`http://127.0.0.1:PORT`) by API.
    pub urls: BTreeMap<&'static str, String>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    requests: Requests,
    settings: Arc<RwLock<Settings>>,
    world: World,
}

/// What stands in front of one API's router.
struct Front {
    world: World,
    api: Api,
    settings: Arc<RwLock<Settings>>,
    requests: Requests,
}

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost, as the fault plan wants it")]
struct AnswerLost;

/// Serves each API on its port (0 for any; any, too, where the port is taken), in the same order.
pub async fn serve(world: &World, apis: Vec<(Api, u16)>, faults: FaultPlan) -> io::Result<Served> {
    let (stop, stopped) = watch::channel(false);
    let requests = Requests::default();
    let settings = Arc::new(RwLock::new(Settings { faults, gate: None }));
    let (urls, tasks, world) = (BTreeMap::new(), Vec::new(), world.clone());
    world.set_faults(&settings.read().expect("no holder panics").faults);
    let mut served = Served { urls, tasks, stop, requests, settings, world };
    for (api, port) in apis {
        let listener = bind(port).await?;
        served.urls.insert(api.name, format!("http://{}", listener.local_addr()?));
        let front = Front {
            world: served.world.clone(),
            api,
            settings: Arc::clone(&served.settings),
            requests: served.requests.clone(),
        };
        let task = accept(listener, Arc::new(front), stopped.clone());
        served.tasks.push(tokio::spawn(task));
    }
    Ok(served)
}

impl Served {
    /// The last requests of all APIs, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.last()
    }

    /// From now on these faults.
    pub fn set_faults(&self, faults: FaultPlan) {
        self.world.set_faults(&faults);
        self.settings.write().expect("no holder panics").faults = faults;
    }

    /// From now on every request passes this gate.
    pub fn set_gate(&self, gate: Option<Gate>) {
        self.settings.write().expect("no holder panics").gate = gate;
    }

    /// How many requests an API has had.
    pub fn request_count(&self, api: &str) -> u64 {
        self.requests.count(api)
    }

    /// Takes no more requests and returns when those under way are answered, or cut off after half
    /// a second.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            // A task that ended in another way has nothing left to answer.
            let _ = task.await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Err(error) if port != 0 && error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind(("127.0.0.1", 0)).await
        }
        bound => bound,
    }
}

/// Takes connections until the stop. When this future is dropped, its connections end with it.
async fn accept(listener: TcpListener, front: Arc<Front>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let handed_on = stopped.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&front), handed_on.clone()));
                }
                // Out of file descriptors, or a client that is gone already: the next may do better.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            () = wait(&mut stopped) => break,
        }
    }
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        connections.shutdown().await;
    }
}

async fn converse(stream: TcpStream, front: Arc<Front>, mut stopped: watch::Receiver<bool>) {
    // Answers are small and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { front.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // The client went away, or its answer was to be lost: either way this is the end of it.
        _ = connection.as_mut() => return,
        () = wait(&mut stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Returns at the stop.
async fn wait(stopped: &mut watch::Receiver<bool>) {
    // Whoever could stop us being gone is a stop, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

impl Front {
    async fn answer(&self, request: http::Request<Incoming>) -> Result<Response, AnswerLost> {
        if let Some(own) = request.uri().path().strip_prefix("/_sandbox/") {
            return Ok(match own {
                "census" => axum::Json(self.world.census()).into_response(),
                "requests" => {
                    let mut requests = self.requests.last();
                    requests.retain(|request| request.api == self.api.name);
                    axum::Json(requests).into_response()
                }
                _ => self.call(request.map(Body::new)).await,
            });
        }
        let name = self.api.name;
        let number = self.requests.number(name);
        let fault = {
            let settings = self.settings.read().expect("no holder panics");
            settings.faults.decide(self.world.seed(), name, number)
        };
        let (head, body) = request.into_parts();
        let method = head.method.to_string();
        let path = head.uri.path_and_query().map_or_else(|| "/".into(), ToString::to_string);
        // Who writes has read what there is.
        let is_stale =
            fault == Some(Fault::Stale) && head.method == http::Method::GET && name != KUBERNETES;
        let fault = fault.filter(|fault| *fault != Fault::Stale || is_stale);
        let read = axum::body::to_bytes(Body::new(body), BODY_LIMIT_BYTES).await;
        let (log_body, size) = match &read {
            Ok(bytes) => (requests::readable(bytes), bytes.len()),
            Err(_) => (serde_json::Value::Null, 0),
        };
        let response = match (read, fault) {
            (Err(_), _) => too_large(),
            (Ok(_), Some(fault @ (Fault::Throttled | Fault::Unavailable))) => {
                (self.api.refuse)(fault)
            }
            (Ok(bytes), Some(Fault::Stale)) => {
                let call = self.call(http::Request::from_parts(head, Body::from(bytes)));
                crate::world::stale(call).await
            }
            (Ok(bytes), None | Some(Fault::AnswerLost)) => {
                self.pass(Moment::Before, &method, &path).await;
                let answer = self.call(http::Request::from_parts(head, Body::from(bytes))).await;
                self.pass(Moment::After, &method, &path).await;
                answer
            }
        };
        let is_lost = fault == Some(Fault::AnswerLost);
        let status = (!is_lost).then(|| response.status().as_u16());
        let request =
            Request { api: name.into(), number, method, path, body: log_body, status, fault };
        // A parsed body takes a few times the bytes it came in.
        self.requests.push(request, 256 + 4 * size);
        if is_lost { Err(AnswerLost) } else { Ok(response) }
    }

    async fn pass(&self, moment: Moment, method: &str, path: &str) {
        let passing = {
            let settings = self.settings.read().expect("no holder panics");
            settings.gate.as_ref().map(|gate| gate(moment, method, path))
        };
        if let Some(passing) = passing {
            passing.await;
        }
    }

    /// Lets the emulator answer, unless the world is no longer kept.
    async fn call(&self, request: http::Request<Body>) -> Response {
        if let Some(failure) = self.world.failure() {
            return broken(failure);
        }
        let response: Result<Response, Infallible> = self.api.routes.clone().oneshot(request).await;
        let Ok(response) = response;
        // Nobody may be told of an effect that the disk does not know.
        self.world.failure().map_or(response, broken)
    }
}

fn too_large() -> Response {
    let text = format!("the sandbox reads bodies of up to {BODY_LIMIT_BYTES} bytes\n");
    (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
}

fn broken(failure: String) -> Response {
    (StatusCode::INSUFFICIENT_STORAGE, failure + "\n").into_response()
}
