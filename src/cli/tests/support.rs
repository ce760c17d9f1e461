//! A stack with its sandbox and its state, and runs of it that can be ended at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fleetform_contract::{Address, Error, Mark};
use fleetform_providers::sandbox::{self, FaultPlan, Gate, Moment, Running};
use fleetform_state::{
    Batch, Claim, Holder, Line, LocalStore, Put, Snapshot, State, Store, SystemClock, Terms, hold,
    process, verify,
};
use tokio::sync::watch;

use crate::apply::Stop;
use crate::cli::apply::{carry_out, revive};
use crate::cli::locked::{Locking, lock_saved, plan_locked};
use crate::cli::planning::{self, Aim, Wish};
use crate::cli::screen::Screen;
use crate::cli::session::{Injected, SANDBOX_SEED, Session, Setting};
use crate::cli::{Ended, lock};
use crate::diagnostic::Diagnostic;
use crate::plan::{Plan, at, differences};

pub use super::given::{EMPTY, Random, STACK};

/// A directory with a stack, its sandbox served by this process, and its state.
pub struct Place {
    /// Gone with the place.
    _directory: tempfile::TempDir,
    path: PathBuf,
    pub running: Running,
    pub store: Arc<dyn Store>,
}

impl Place {
    /// A new world with this stack, its state in a directory.
    pub async fn new(stack: &str) -> Place {
        Place::at(tempfile::tempdir().expect("a temporary directory"), stack).await
    }

    /// The same moment once more, in a directory of its own.
    pub async fn of(moment: &Kept, stack: &str) -> Place {
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy(&moment.path, &directory.path().join("stack"));
        let mut place = Place::at(directory, stack).await;
        if let Some(store) = moment.stores.last() {
            place.store = Arc::clone(store);
        }
        place
    }

    async fn at(directory: tempfile::TempDir, stack: &str) -> Place {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The stack is called after its directory.
        let path = directory.path().join("stack");
        std::fs::create_dir_all(&path).expect("a new directory");
        std::fs::write(path.join("main.hcl"), stack).expect("written");
        let setting = setting(&path);
        let evaluated = Session::stack(&screen(), &setting).expect("a good stack");
        let clouds: Vec<_> = evaluated.clouds.into_values().collect();
        let running = sandbox::serve(&setting.world(), SANDBOX_SEED, &clouds, 0).await;
        let running = running.expect("the sandbox is served");
        let store = Arc::new(LocalStore::new(path.join("state")));
        Place { running, _directory: directory, path, store }
    }

    /// Makes the stack this one.
    pub fn write(&self, stack: &str) {
        std::fs::write(self.path.join("main.hcl"), stack).expect("written");
    }

    pub async fn apply(&self) -> Ended {
        self.run(&Run::default()).await
    }

    /// Plans and applies the stack, as `apply -auto-approve` does.
    pub async fn run(&self, run: &Run) -> Ended {
        let screen = screen();
        let store = run.store.clone().unwrap_or_else(|| Arc::clone(&self.store));
        let setting = Setting { store: Some(Injected(store)), ..setting(&self.path) };
        let session = Session::open_begun(&screen, &setting).await?;
        let wish = Wish {
            aim: Aim::Stack,
            refresh: true,
            parallelism: run.parallelism,
            replace: &[],
            targets: &run.targets,
            excluded: &[],
            resume: true,
        };
        let locking = run.locking();
        let (planned, holding) = plan_locked(&session, &wish, &locking).await?;
        let (_stop, never) = watch::channel(Stop::Go);
        let stop = run.stop.as_ref().unwrap_or(&never);
        let ended = carry_out(&session, planned, run.parallelism, stop).await;
        let released = holding.release().await.map_err(|error| vec![lock::told(&error)]);
        ended.and_then(|code| released.map(|()| code))
    }

    /// What a plan of the stack says now, refreshed.
    pub async fn plan(&self) -> Plan {
        let screen = screen();
        let session = self.session(&screen).await;
        let wish = Wish {
            aim: Aim::Stack,
            refresh: true,
            parallelism: 10,
            replace: &[],
            targets: &[],
            excluded: &[],
            resume: false,
        };
        planning::plan(&session, &wish).await.expect("a plan").plan
    }

    /// Applies a saved plan.
    pub async fn apply_saved(&self, plan: Plan) -> Ended {
        let (screen, run) = (screen(), Run::default());
        let session = self.session(&screen).await;
        let holding = lock_saved(&session, &plan, &run.locking()).await?;
        let (_stop, stopping) = watch::channel(Stop::Go);
        let ended = match revive(&session, plan).await {
            Ok(planned) => carry_out(&session, planned, run.parallelism, &stopping).await,
            Err(diagnostics) => Err(diagnostics),
        };
        let released = holding.release().await.map_err(|error| vec![lock::told(&error)]);
        ended.and_then(|code| released.map(|()| code))
    }

    pub async fn session<'a>(&self, screen: &'a Screen) -> Session<'a> {
        let store = Some(Injected(Arc::clone(&self.store)));
        let setting = Setting { store, ..setting(&self.path) };
        Session::open(screen, &setting).await.expect("a session")
    }

    /// Asserts that nothing is left to do, that no operation is open, and that the log is whole.
    #[track_caller]
    pub fn at_rest<'a>(&'a self, context: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let plan = self.plan().await;
            let effects: Vec<String> = plan
                .effects()
                .map(|change| {
                    let (Some(before), Some(after)) = (&change.before, &change.after) else {
                        return format!("{:?} {}", change.action, change.address);
                    };
                    let paths = differences(&before.attributes, after);
                    let pairs = paths.iter().map(|path| {
                        let values = (at(&before.attributes, path), at(after, path));
                        format!("{}: {values:?}", path.join("."))
                    });
                    let pairs: Vec<String> = pairs.collect();
                    format!("{:?} {} {pairs:?}", change.action, change.address)
                })
                .collect();
            assert!(!plan.has_changes(), "{context} ({caller}): {effects:?} is left to do");
            let state = self.state().await;
            assert!(state.open.is_empty(), "{context} ({caller}): {:?}", state.open);
            verify(&*self.store).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        }
    }

    pub async fn state(&self) -> State {
        let screen = screen();
        let session = self.session(&screen).await;
        session.journal.read(|log| log.state().clone()).await
    }

    /// Every entry of the log.
    pub async fn lines(&self) -> Vec<Line> {
        fleetform_state::history(&*self.store).await.expect("the log is whole")
    }

    /// Objects by collection.
    pub async fn census(&self) -> BTreeMap<String, usize> {
        self.running.census().await.expect("the world is here")
    }

    /// The same, once what the clusters' own controllers make has come to rest: pods follow a moment later.
    pub async fn settled(&self) -> BTreeMap<String, usize> {
        for _ in 0..20 {
            let before = self.census().await;
            self.plan().await;
            if self.census().await == before {
                return before;
            }
        }
        panic!("the clusters do not come to rest")
    }

    pub fn faults(&self, faults: FaultPlan) {
        self.running.set_faults(faults);
    }

    /// Every request that may change something passes this before and after its effect.
    pub fn gate(&self, pass: impl Fn(Moment) -> Passing + Send + Sync + 'static) {
        let gate: Gate = Arc::new(move |moment, method, _| match method {
            "GET" | "HEAD" => Box::pin(std::future::ready(())),
            _ => pass(moment),
        });
        self.running.set_gate(Some(gate));
    }
}

pub type Passing = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// How one run is made.
pub struct Run {
    pub store: Option<Arc<dyn Store>>,
    pub targets: Vec<String>,
    pub parallelism: usize,
    pub patience: Duration,
    /// What others take its process for: one that has ended, unless told otherwise.
    pub process: Option<String>,
    pub stop: Option<watch::Receiver<Stop>>,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            store: None,
            targets: Vec::new(),
            parallelism: 10,
            patience: Duration::ZERO,
            process: process::identity().map(|identity| identity + "0"),
            stop: None,
        }
    }
}

impl Run {
    fn locking(&self) -> Locking<'static> {
        let holder = Holder { process: self.process.clone(), ..Holder::default() };
        let terms = Terms { patience: self.patience, ..Terms::default() };
        let clock = Arc::new(SystemClock::default());
        Locking { holder, terms, clock, listener: &Deaf, told: &lock::told }
    }
}

pub fn screen() -> Screen {
    Screen { mute: true, ..Screen::new(true, false) }
}

fn setting(directory: &Path) -> Setting {
    Setting { directory: directory.to_owned(), sandbox: true, ..Setting::default() }
}

/// What went wrong, for an assertion.
pub fn told(diagnostics: &[Diagnostic]) -> String {
    let lines = diagnostics.iter().map(|told| format!("{}: {}", told.summary, told.detail));
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
pub fn succeeds(ended: Ended, context: &str) {
    if let Err(diagnostics) = ended {
        panic!("{context}: {}", told(&diagnostics));
    }
}

/// Copies what is kept, and no sign of who has it open.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new directory");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if !["lock", "serve.json"].contains(&&*entry.file_name().to_string_lossy()) {
            std::fs::copy(path, target).expect("copied");
        }
    }
}

struct Deaf;

impl hold::Listener for Deaf {
    fn waiting(&self, _run: &str, _claim: &Claim) {}
    fn fenced(&self, _run: &str, _claim: &Claim) {}
}

/// Where a run passes on its way: something happens at each of its points, in order.
pub type Point = Arc<dyn Fn(&'static str) -> Passing + Send + Sync>;

/// Copies the state of a moment.
pub type Fork = Box<dyn Fn() -> Arc<dyn Store> + Send + Sync>;

/// A place at a point of a run.
#[derive(Clone)]
pub struct Kept {
    pub path: PathBuf,
    pub what: &'static str,
    /// Where the state is not in the directory: two copies.
    pub stores: Vec<Arc<dyn Store>>,
}

/// A store with a point before and after every write.
pub struct Pointed {
    pub store: Arc<dyn Store>,
    pub point: Point,
}

#[async_trait]
impl Store for Pointed {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        self.store.read_snapshot().await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        self.store.put_snapshot(snapshot).await
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        self.store.read_from(number).await
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        (self.point)("before a write").await;
        let put = self.store.put_if_absent(batch).await;
        (self.point)("after a write").await;
        put
    }

    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.store.replace(batch).await
    }

    async fn drop_before(&self, kept: fleetform_state::Kept) -> io::Result<()> {
        self.store.drop_before(kept).await
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.store.put_heartbeat(run, bytes).await
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        self.store.read_heartbeats().await
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        self.store.remove_heartbeat(run).await
    }

    fn place(&self, kept: fleetform_state::Kept) -> String {
        self.store.place(kept)
    }
}

/// Burns down by one at each point; a run that finds it burnt out stands still for ever.
#[derive(Clone)]
pub struct Fuse {
    left: Arc<AtomicUsize>,
    out: Arc<watch::Sender<bool>>,
}

impl Fuse {
    /// For so many points.
    pub fn of(points: usize) -> Fuse {
        Fuse { left: Arc::new(AtomicUsize::new(points)), out: Arc::new(watch::Sender::new(false)) }
    }

    pub fn point(&self) -> Point {
        let fuse = self.clone();
        Arc::new(move |_| {
            let fuse = fuse.clone();
            Box::pin(async move {
                let burn = |left: usize| left.checked_sub(1);
                if fuse.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, burn).is_err() {
                    fuse.out.send_replace(true);
                    std::future::pending::<()>().await;
                }
            })
        })
    }

    pub async fn burnt_out(&self) {
        let mut out = self.out.subscribe();
        out.wait_for(|out| *out).await.expect("we hold the other end");
    }
}

impl Place {
    /// A run that dies when the fuse burns out; `None` where it did.
    pub async fn run_until(&self, fuse: &Fuse, run: Run) -> Option<Ended> {
        let point = fuse.point();
        self.gate_at(&point);
        let store = Arc::new(Pointed { store: Arc::clone(&self.store), point });
        let run = Run { store: Some(store), ..run };
        let ended = tokio::select! {
            ended = self.run(&run) => Some(ended),
            () = fuse.burnt_out() => None,
        };
        self.running.set_gate(None);
        ended
    }

    fn gate_at(&self, point: &Point) {
        let point = Arc::clone(point);
        self.gate(move |moment| match moment {
            Moment::Before => point("before an effect"),
            Moment::After => point("after an effect"),
        });
    }

    /// A run that keeps the world and the state at each of its points, in directories below `moments`. One
    /// operation at a time: so nothing moves while it is kept. `fork` copies a state that is in no
    /// directory.
    pub async fn run_and_keep(&self, moments: &Path, fork: Option<Fork>) -> Vec<Kept> {
        let kept: Arc<Mutex<Vec<Kept>>> = Arc::default();
        let (from, to, points) = (self.path.clone(), moments.to_owned(), Arc::clone(&kept));
        let point: Point = Arc::new(move |what| {
            let mut points = points.lock().expect("no holder panics");
            // Between two writes with no effect between them nothing happens.
            let is_same = what == "before a write"
                && points.last().is_some_and(|last: &Kept| last.what == "after a write");
            if is_same {
                return Box::pin(std::future::ready(()));
            }
            let path = to.join(format!("{:03}", points.len()));
            copy(&from, &path);
            let stores = fork.iter().flat_map(|fork| [fork(), fork()]).collect();
            points.push(Kept { path, what, stores });
            Box::pin(std::future::ready(()))
        });
        self.gate_at(&point);
        let store = Arc::new(Pointed { store: Arc::clone(&self.store), point });
        let run = Run { store: Some(store), parallelism: 1, ..Run::default() };
        succeeds(self.run(&run).await, "the run that is watched");
        self.running.set_gate(None);
        std::mem::take(&mut *kept.lock().expect("no holder panics"))
    }

    /// Every object in the clouds that carries our tags, by the address that they name.
    pub async fn tagged(&self) -> Result<BTreeSet<Address>, Error> {
        let screen = screen();
        let session = self.session(&screen).await;
        let state = session.journal.read(|log| log.state().clone()).await;
        let mut found = BTreeSet::new();
        for (name, provider) in session.clouds.iter() {
            let outside = provider.list(&session.owner.stack).await?;
            let mut known = state.records.clone();
            for (Mark { address, .. }, remote) in outside {
                found.insert(address.clone());
                // Its clusters, whether they are recorded or not.
                let region = address.key.clone().unwrap_or_default();
                if provider.cluster_address(&region).as_ref() != Some(&address) {
                    continue;
                }
                let record = fleetform_contract::Record {
                    address: address.clone(),
                    cloud: name.to_owned(),
                    site: None,
                    id: remote.id,
                    attributes: remote.attributes,
                    depends_on: Vec::new(),
                    version: 0,
                    tainted: false,
                };
                known.insert(address, record.clone());
                let site = format!("{name}/{region}");
                // One that is still being made, or is on its way out, has nothing in it that counts.
                let world = self.running.world().expect("it is ours");
                let within = format!("{site}/");
                if !world.step(|table| table.clusters().iter().any(|up| up.starts_with(&within))) {
                    continue;
                }
                let Ok(objects) = session.clouds.objects(name, Some(&site), Some(&record)).await
                else {
                    continue;
                };
                match objects.list(&session.owner.stack).await {
                    Ok(inside) => found.extend(inside.into_iter().map(|(mark, _)| mark.address)),
                    Err(_) if provider.is_leaving(record.reference()).await? => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }
}
