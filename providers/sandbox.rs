//! Every cloud's emulator over one world: started in this process, or joined where another process
//! keeps it up.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use fleetform_contract::Cloud;
pub use fleetform_sandbox::{Fault, FaultPlan, Gate, Moment, Object, Request, World};
use fleetform_sandbox::{Served, ask, discover, serve as host};

use crate::{CLOUDS, KUBERNETES, kind};

/// The first of the ports at which `sandbox serve` answers unless told otherwise.
pub const DEFAULT_PORT: u16 = 8471;

/// A sandbox that answers, in this process or another. Dropping it ends what this process serves.
pub struct Running {
    urls: BTreeMap<&'static str, String>,
    /// `None` where another process serves it.
    own: Option<(World, Served)>,
}

/// Opens the world of a directory (a new one in memory for `None`) and serves every cloud's API over
/// it, with the clusters that exist already among `clouds`. `first_port` and those behind it are taken
/// where they are free; 0 takes any.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where another process has the directory open, besides what opening files
/// and ports can meet.
pub async fn start(
    directory: Option<&Path>,
    seed: u64,
    clouds: &[Cloud],
    first_port: u16,
    faults: FaultPlan,
) -> io::Result<Running> {
    let world = match directory {
        Some(directory) => World::open(directory, seed)?,
        None => World::in_memory(seed),
    };
    open_existing(&world, clouds);
    let apis = CLOUDS.iter().zip(0..).map(|(kind, offset)| {
        let mut api = (kind.emulator)(&world);
        if kind.name == KUBERNETES.name {
            api.routes = with_existing(&world).fallback_service(api.routes);
        }
        (api, if first_port == 0 { 0 } else { first_port.saturating_add(offset) })
    });
    let served = host(&world, apis.collect(), faults).await?;
    Ok(Running { urls: served.urls.clone(), own: Some((world, served)) })
}

/// Starts the sandbox of a directory and tells other processes where it is: `sandbox serve`.
///
/// # Errors
/// As [`start`].
pub async fn serve(
    directory: &Path,
    seed: u64,
    clouds: &[Cloud],
    first_port: u16,
) -> io::Result<Running> {
    let running = start(Some(directory), seed, clouds, first_port, FaultPlan::default()).await?;
    if let Some((world, _)) = &running.own {
        world.announce(&running.urls)?;
    }
    Ok(running)
}

/// The sandbox of a directory: that which another process serves, else one in this process.
///
/// # Errors
/// As [`start`], and where the other process does not answer.
pub async fn join_or_start(directory: &Path, seed: u64, clouds: &[Cloud]) -> io::Result<Running> {
    if let Some(running) = join(directory, clouds).await? {
        return Ok(running);
    }
    match start(Some(directory), seed, clouds, 0, FaultPlan::default()).await {
        // Another process may have opened it since we looked, and serve it by now.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            join(directory, clouds).await?.ok_or(error)
        }
        started => started,
    }
}

/// Whether some process serves the sandbox of a directory.
pub fn is_served(directory: &Path) -> bool {
    discover(directory).is_some()
}

async fn join(directory: &Path, clouds: &[Cloud]) -> io::Result<Option<Running>> {
    let Some(found) = discover(directory) else { return Ok(None) };
    let names = CLOUDS.iter().filter_map(|kind| Some((kind.name, found.get(kind.name)?.clone())));
    let running = Running { urls: names.collect(), own: None };
    let existing: Vec<&Cloud> = clouds.iter().filter(|cloud| is_existing(cloud)).collect();
    if !existing.is_empty() {
        let clouds = serde_json::to_value(existing).expect("clouds serialize");
        ask(running.url(KUBERNETES.name)?, "existing", Some(&clouds)).await?;
    }
    Ok(Some(running))
}

impl Running {
    /// Base URLs by API.
    pub fn urls(&self) -> &BTreeMap<&'static str, String> {
        &self.urls
    }

    /// The APIs that could not have the ports they were to have from `first_port` on: each port that was
    /// taken, with the URL that stands in for it.
    pub fn moved(&self, first_port: u16) -> Vec<(u16, &str)> {
        if first_port == 0 {
            return Vec::new();
        }
        let wanted = CLOUDS.iter().zip(0..).filter_map(|(kind, offset)| {
            Some((first_port.saturating_add(offset), self.urls.get(kind.name)?.as_str()))
        });
        wanted.filter(|(port, url)| !url.ends_with(&format!(":{port}"))).collect()
    }

    /// Every collection that has objects, with their number.
    pub async fn census(&self) -> io::Result<BTreeMap<String, usize>> {
        if let Some((world, _)) = &self.own {
            return Ok(world.census());
        }
        // Every API counts the whole world.
        let answer = ask(self.url(KUBERNETES.name)?, "census", None).await?;
        serde_json::from_value(answer).map_err(io::Error::other)
    }

    /// The last requests to all APIs, in the order in which they were answered.
    pub async fn requests(&self) -> io::Result<Vec<Request>> {
        if let Some((_, served)) = &self.own {
            return Ok(served.requests());
        }
        let mut all = Vec::new();
        for url in self.urls.values() {
            let answer = ask(url, "requests", None).await?;
            all.extend(serde_json::from_value::<Vec<Request>>(answer).map_err(io::Error::other)?);
        }
        Ok(all)
    }

    /// From now on these faults, where this process serves it.
    pub fn set_faults(&self, faults: FaultPlan) {
        if let Some((_, served)) = &self.own {
            served.set_faults(faults);
        }
    }

    /// From now on every request passes this gate, where this process serves it.
    pub fn set_gate(&self, gate: Option<Gate>) {
        if let Some((_, served)) = &self.own {
            served.set_gate(gate);
        }
    }

    /// The world, where it is this process's.
    pub fn world(&self) -> Option<&World> {
        self.own.as_ref().map(|(world, _)| world)
    }

    /// How to point the official clients of these clouds at it: text with commands to copy.
    pub fn instructions(&self, clouds: &[Cloud]) -> String {
        let mut text = String::new();
        let keys = self.world().map(|world| {
            world.step(|table| table.clusters().into_iter().map(str::to_owned).collect::<Vec<_>>())
        });
        if let Some(url) = self.urls.get(KUBERNETES.name) {
            text += &crate::instructions::clusters(url, clouds, &keys.unwrap_or_default());
        }
        for cloud in clouds {
            if let (Some(kind), Some(url)) = (kind(&cloud.kind), self.urls.get(&*cloud.kind)) {
                text += &(kind.instructions)(&crate::sandboxed(cloud.clone(), &self.urls), url);
            }
        }
        text
    }

    /// Stops what this process serves, once the answers under way are given. What another process
    /// serves goes on.
    pub async fn stop(self) {
        if let Some((_, served)) = self.own {
            served.stop().await;
        }
    }

    fn url(&self, api: &str) -> io::Result<&str> {
        self.urls.get(api).map(String::as_str).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the sandbox serves no {api}"))
        })
    }
}

fn is_existing(cloud: &Cloud) -> bool {
    cloud.kind == KUBERNETES.name
}

fn open_existing(world: &World, clouds: &[Cloud]) {
    for cloud in clouds.iter().filter(|cloud| is_existing(cloud)) {
        fleetform_kubernetes::emulator::existing(world, cloud);
    }
}

/// `POST /_sandbox/existing`: whoever joins brings the clusters that exist already in its stack.
fn with_existing(world: &World) -> Router {
    async fn open(State(world): State<World>, Json(clouds): Json<Vec<Cloud>>) -> Json<()> {
        open_existing(&world, &clouds);
        Json(())
    }
    Router::new().route("/_sandbox/existing", post(open)).with_state(world.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str) -> Cloud {
        Cloud { name: name.into(), kind: "kubernetes".into(), ..Cloud::default() }
    }

    #[tokio::test]
    async fn a_served_sandbox_is_joined_and_a_stopped_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        assert!(!is_served(path));
        let serving = serve(path, 1, &[edge("one")], 0).await.expect("it is served");
        assert!(is_served(path));
        assert!(serve(path, 1, &[], 0).await.is_err(), "nobody else may serve it");

        // Whoever joins brings the clusters that exist in its stack.
        let joined = join_or_start(path, 1, &[edge("two")]).await.expect("it is joined");
        assert_eq!(joined.urls(), serving.urls());
        assert!(joined.world().is_none());
        let census = joined.census().await.expect("it answers");
        assert_eq!(census, serving.census().await.expect("it is here"));
        assert_eq!(census.get("kubernetes/clusters"), Some(&2));
        joined.stop().await;
        assert!(is_served(path), "joining and leaving does not end it");

        serving.stop().await;
        assert!(!is_served(path));
        let own = join_or_start(path, 1, &[]).await.expect("it is opened");
        assert!(own.world().is_some() && !is_served(path));
        assert_eq!(own.census().await.expect("it is here").get("kubernetes/clusters"), Some(&2));
    }

    #[tokio::test]
    async fn a_taken_port_is_told() {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = taken.local_addr().expect("it is bound").port();
        let running = start(None, 1, &[], port, FaultPlan::default()).await.expect("it starts");
        let moved = running.moved(port);
        assert_eq!(moved.first(), Some(&(port, running.urls()[CLOUDS[0].name].as_str())));
        let anywhere = start(None, 1, &[], 0, FaultPlan::default()).await.expect("it starts");
        assert_eq!(anywhere.moved(0), Vec::new(), "any port was asked for");
    }

    #[tokio::test]
    async fn instructions_name_what_is_there() {
        let clouds = [edge("shanghai")];
        let running = start(None, 1, &clouds, 0, FaultPlan::default()).await.expect("it starts");
        let text = running.instructions(&clouds);
        let server = format!("--server={}/kubernetes/local/shanghai", running.urls()["kubernetes"]);
        assert!(text.contains(&server), "{text}");
    }
}
