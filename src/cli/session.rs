//! What every run begins with: the stack, its clouds (or the sandbox's), its state.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleetform_contract::{Owner, Record, SecretKey, Value};
use fleetform_providers::sandbox::{self, Running};
use fleetform_state::stores::{self, Argument, Refusal, Surroundings};
use fleetform_state::{
    Entry, Genesis, Journal, Keys, Log, OutputValue, SealedStore, Store, Writer,
};
use sha2::{Digest, Sha256};

use super::arguments::StackArguments;
use super::screen::{Screen, now};
use crate::clouds::{Backoff, Clouds};
use crate::config::{self, Stack, StateSettings};
use crate::diagnostic::Diagnostic;
use crate::plan;
use crate::view;

/// The seed of the sandbox's world: the same steps give the same world everywhere.
pub const SANDBOX_SEED: u64 = 2026;

/// Where a stack's sandbox keeps its state.
const SANDBOX_STATE: &str = ".fleetform/sandbox/state";

pub struct Session<'a> {
    pub screen: &'a Screen,
    pub stack: Stack,
    pub inputs: plan::Inputs,
    pub clouds: Clouds,
    pub journal: Journal,
    pub owner: Owner,
    /// What is written beside the state is sealed with them, too.
    pub keys: Keys,
    /// Kept so that the emulators live as long as the session.
    pub sandbox: Option<Running>,
    files: config::Files,
    config: config::Inputs,
    /// The loads that were measured, once for the whole run, or that a saved plan was made for.
    loads: tokio::sync::OnceCell<BTreeMap<String, f64>>,
    /// The day (UTC, `2026-01-31`) that is planned for.
    pub day: String,
}

/// What a run is told about its stack.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    pub directory: PathBuf,
    pub environment: Option<String>,
    pub sandbox: bool,
    /// `-var` and `-var-file` in order: (`true` for a file, text).
    pub variables: Vec<(bool, String)>,
    /// Values that a saved plan was made with; over everything else.
    pub values: BTreeMap<String, Value>,
    /// In place of the store that the stack names: for whoever runs a verb in process.
    pub store: Option<Injected>,
    /// The measured loads that a saved plan was made for.
    pub loads: Option<BTreeMap<String, f64>>,
    /// The day that a saved plan was made for, where that matters.
    pub day: Option<String>,
}

/// A store that was made elsewhere.
#[derive(Clone)]
pub struct Injected(pub Arc<dyn Store>);

impl std::fmt::Debug for Injected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Injected")
    }
}

impl Setting {
    /// What a saved plan was made with. Sensitive variables are not in it: they come from the
    /// environment again.
    pub fn of_plan(plan: &plan::Plan) -> Setting {
        Setting {
            directory: PathBuf::from(&plan.inputs.directory),
            environment: plan.inputs.environment.clone(),
            sandbox: plan.inputs.sandbox,
            variables: Vec::new(),
            values: plan.inputs.variables.clone(),
            store: None,
            loads: Some(plan.inputs.loads.clone()),
            day: plan.inputs.day.clone(),
        }
    }

    pub fn new(
        directory: &Path,
        arguments: &StackArguments,
        ordered: &[(bool, String)],
    ) -> Setting {
        Setting {
            directory: directory.to_owned(),
            environment: arguments.environment.clone(),
            sandbox: arguments.sandbox,
            variables: ordered.to_vec(),
            values: BTreeMap::new(),
            store: None,
            loads: None,
            day: None,
        }
    }

    /// Where this stack keeps what it generates.
    pub fn data(&self) -> PathBuf {
        let data = self.directory.join(".fleetform");
        if self.sandbox { data.join("sandbox") } else { data }
    }

    pub fn world(&self) -> PathBuf {
        self.directory.join(".fleetform/sandbox/world")
    }

    fn config(&self, secret_key: SecretKey) -> Result<config::Inputs, Vec<Diagnostic>> {
        let mut inputs = config::Inputs::new(secret_key);
        inputs.environment = self.environment.clone();
        for (is_file, text) in &self.variables {
            inputs.assignments.push(match (is_file, text.split_once('=')) {
                (true, _) => config::Assignment::File(PathBuf::from(text)),
                (false, Some((name, text))) => config::Assignment::Variable {
                    name: name.trim().to_owned(),
                    text: text.to_owned(),
                },
                (false, None) => {
                    return Err(vec![
                        Diagnostic::error(
                            "Not a variable assignment",
                            format!("The flag -var has `{text}`, which has no `=`."),
                        )
                        .hint("write -var 'NAME=VALUE'"),
                    ]);
                }
            });
        }
        inputs.env = environment()
            .into_iter()
            .filter(|(name, _)| name.starts_with("TF_VAR_") || name.starts_with("FLEETFORM_VAR_"))
            .collect();
        Ok(inputs)
    }
}

impl<'a> Session<'a> {
    /// Evaluates the stack alone: no state, no cloud.
    pub fn stack(screen: &Screen, setting: &Setting) -> Result<Stack, Vec<Diagnostic>> {
        let config = setting.config(SecretKey::new([0; 32]))?;
        evaluate(screen, setting, &config).map(|(_, stack)| stack)
    }

    /// Opens the state and the clouds of a stack. Writes nothing yet.
    pub async fn open(
        screen: &'a Screen,
        setting: &Setting,
    ) -> Result<Session<'a>, Vec<Diagnostic>> {
        // The stack says where the state is, and the state has the key of the digests: the first
        // evaluation is for the place alone.
        let first = Session::stack(screen, setting)?;
        let (journal, store) = open_state(&first, setting, None).await?;
        let key = journal.read(|log| log.state().secret_key()).await;
        let config = setting.config(key)?;
        let (files, mut stack) = evaluate(screen, setting, &config)?;
        stack.warnings.extend(store.was_in_clear().then(|| in_clear(&store)));
        let lineage = journal.read(|log| log.state().lineage().to_owned()).await;
        let running = match setting.sandbox {
            true => Some(enter_sandbox(&mut stack, setting).await?),
            false => None,
        };
        let backoff = if setting.sandbox { Backoff::QUICK } else { Backoff::default() };
        let clouds = Clouds::new(stack.clouds.values(), backoff).map_err(|error| {
            vec![Diagnostic::error("A cloud cannot be used", format!("{error}."))]
        })?;
        let inputs = inputs(setting, &stack);
        let owner = Owner { stack: stack.name.clone(), lineage };
        Ok(Session {
            screen,
            stack,
            inputs,
            clouds,
            journal,
            owner,
            sandbox: running,
            keys: store.keys().clone(),
            files,
            config,
            loads: setting.loads.clone().map(tokio::sync::OnceCell::from).unwrap_or_default(),
            day: setting.day.clone().unwrap_or_else(super::screen::today),
        })
    }

    /// The loads that the stack says by a query, measured at the first use.
    pub async fn loads(&self) -> Result<&BTreeMap<String, f64>, Vec<Diagnostic>> {
        self.loads.get_or_try_init(|| crate::refresh::measure(&self.stack)).await
    }

    /// In the place of a measurement: what the loads were when something was placed last, where that is
    /// known of every one.
    pub fn expect_loads(&self, last: &crate::placement::Placement) {
        let known = self.stack.queries().map(|(name, _)| {
            let load = last.loads.get(name)?;
            Some((name.to_owned(), load.asked_per_second))
        });
        if let Some(known) = known.collect::<Option<BTreeMap<String, f64>>>() {
            // What is measured already stands.
            let _ = self.loads.set(known);
        }
    }

    /// Opens the state alone, for verbs that only look into it. The stack is evaluated for the place of
    /// its state.
    pub async fn open_state(screen: &Screen, setting: &Setting) -> Result<Kept, Vec<Diagnostic>> {
        let stack = Session::stack(screen, setting)?;
        let (journal, store) = open_state(&stack, setting, None).await?;
        Ok(Kept { journal, store, stack })
    }

    /// The same; a state that has not begun begins with this.
    pub async fn open_state_from(
        screen: &Screen,
        setting: &Setting,
        genesis: Genesis,
    ) -> Result<Kept, Vec<Diagnostic>> {
        let stack = Session::stack(screen, setting)?;
        let (journal, store) = open_state(&stack, setting, Some(genesis)).await?;
        Ok(Kept { journal, store, stack })
    }

    /// Where the state is kept, without reading it.
    pub fn state_store(
        screen: &Screen,
        setting: &Setting,
    ) -> Result<Arc<SealedStore>, Vec<Diagnostic>> {
        let stack = Session::stack(screen, setting)?;
        store(&stack, setting)
    }

    /// Makes sure that the state has begun, so that every plan and run from now on is of one lineage.
    /// Sandboxes need no such beginning: theirs is the same every time.
    pub async fn begin(&self) -> Result<(), Vec<Diagnostic>> {
        let begun = self.journal.read(|log| log.has_begun()).await;
        if begun || self.sandbox.is_some() {
            return Ok(());
        }
        self.write(vec![Entry::Outputs { outputs: BTreeMap::new() }]).await
    }

    /// As [`Session::open`], with a state that has begun. Where another run begins it at the same moment, the
    /// session is of that state.
    pub async fn open_begun(
        screen: &'a Screen,
        setting: &Setting,
    ) -> Result<Session<'a>, Vec<Diagnostic>> {
        let session = Session::open(screen, setting).await?;
        match session.begin().await {
            Ok(()) => Ok(session),
            Err(diagnostics) if !session.journal.read(|log| log.has_begun()).await => {
                Err(diagnostics)
            }
            Err(_) => {
                drop(session);
                Session::open(screen, setting).await
            }
        }
    }

    /// Lets the state, which has not begun, begin with this lineage: that of a lost one.
    pub async fn begin_as(
        &mut self,
        setting: &Setting,
        lineage: &str,
    ) -> Result<(), Vec<Diagnostic>> {
        let genesis = self.journal.read(|log| log.state().genesis.clone()).await;
        let genesis = Genesis { lineage: lineage.to_owned(), ..genesis };
        (self.journal, _) = open_state(&self.stack, setting, Some(genesis)).await?;
        lineage.clone_into(&mut self.owner.lineage);
        Ok(())
    }

    /// Appends to the log outside of any operation.
    pub async fn write(&self, entries: Vec<Entry>) -> Result<(), Vec<Diagnostic>> {
        write(&self.journal, entries).await
    }

    /// Records what a complete run leaves: the placement it followed and the outputs.
    pub async fn record(
        &self,
        placement: serde_json::Value,
        outputs: BTreeMap<String, OutputValue>,
    ) -> Result<(), Vec<Diagnostic>> {
        let (last, shown) = self
            .journal
            .read(|log| (log.state().placement.clone(), log.state().outputs.clone()))
            .await;
        let mut entries = Vec::new();
        if last.unwrap_or(serde_json::Value::Null) != placement {
            entries.push(Entry::Placement { placement });
        }
        if shown != outputs {
            entries.push(Entry::Outputs { outputs });
        }
        self.write(entries).await
    }

    /// The stack evaluated again, now that these computed attributes are known.
    pub fn evaluate_with(&self, known: BTreeMap<String, Value>) -> Result<Stack, Vec<Diagnostic>> {
        let inputs = config::Inputs { known, ..self.config.clone() };
        config::evaluate(&self.files, &inputs).map_err(|failure| failure.diagnostics)
    }

    /// Tells the screen what is being read.
    pub fn reading(&self) -> impl crate::refresh::Listener + '_ {
        Reading(self.screen)
    }
}

/// A state, opened to be looked into.
pub struct Kept {
    pub journal: Journal,
    /// What the journal writes to.
    pub store: Arc<SealedStore>,
    pub stack: Stack,
}

/// Appends to a log outside of any operation.
pub async fn write(journal: &Journal, entries: Vec<Entry>) -> Result<(), Vec<Diagnostic>> {
    if entries.is_empty() {
        return Ok(());
    }
    journal.append(entries).await.map(|_| ()).map_err(|error| {
        vec![
            Diagnostic::error("The state could not be written", format!("{error}."))
                .hint(error.hint()),
        ]
    })
}

/// What the user is told of a state that cannot be read.
pub fn unreadable(error: &fleetform_state::Error) -> Diagnostic {
    let cause = std::error::Error::source(error).map(|c| format!(": {c}")).unwrap_or_default();
    Diagnostic::error("The state cannot be read", format!("{error}{cause}.")).hint(error.hint())
}

struct Reading<'a>(&'a Screen);

impl crate::refresh::Listener for Reading<'_> {
    fn reading(&self, record: &Record) {
        let message = format!("{}: Refreshing state... [id={}]", record.address, record.id);
        self.0.event("info", "refresh_start", &message, refresh_hook(record));
    }

    fn read(&self, record: &Record) {
        let message = format!("{}: Refresh complete [id={}]", record.address, record.id);
        self.0.event("info", "refresh_complete", &message, refresh_hook(record));
    }
}

fn refresh_hook(record: &Record) -> serde_json::Value {
    serde_json::json!({ "hook": {
        "resource": view::events::resource(&record.address),
        "id_key": "id",
        "id_value": record.id,
    } })
}

fn evaluate(
    screen: &Screen,
    setting: &Setting,
    inputs: &config::Inputs,
) -> Result<(config::Files, Stack), Vec<Diagnostic>> {
    let (mut files, unreadable) = config::read(&setting.directory, inputs);
    let show = |sources| *screen.sources.lock().expect("no holder panics") = sources;
    show(files.sources.clone());
    if unreadable.iter().any(Diagnostic::is_error) {
        return Err(unreadable);
    }
    let values = setting
        .values
        .iter()
        .map(|(name, value)| config::Given::Value { name: name.clone(), value: value.clone() });
    files.variables.extend(values);
    match config::evaluate(&files, inputs) {
        Ok(mut stack) => {
            show(stack.sources.clone());
            stack.warnings.splice(0..0, unreadable);
            Ok((files, stack))
        }
        Err(failure) => {
            show(failure.sources);
            Err(unreadable.into_iter().chain(failure.diagnostics).collect())
        }
    }
}

/// The process's environment, as far as it is text.
pub fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// The store of a stack's state. Sandboxes have one of their own, whatever the stack says.
fn store(stack: &Stack, setting: &Setting) -> Result<Arc<SealedStore>, Vec<Diagnostic>> {
    let settings = match setting.sandbox {
        true => {
            let path = Argument::Text(SANDBOX_STATE.to_owned());
            StateSettings { arguments: [("path".to_owned(), path)].into(), ..Default::default() }
        }
        false => stack.state.clone(),
    };
    let around = Surroundings {
        stack: stack.name.clone(),
        environment: setting.environment.clone(),
        directory: setting.directory.clone(),
        variables: environment(),
    };
    let refused = |block: &str, refusal: Refusal| {
        let path = match refusal.argument {
            Some(argument) => format!("fleetform.{block}.{argument}"),
            None => format!("fleetform.{block}"),
        };
        vec![
            Diagnostic::error(refusal.summary, refusal.detail)
                .hint(refusal.hint)
                .at(stack.span(&path)),
        ]
    };
    let store = match &setting.store {
        Some(Injected(store)) => Arc::clone(store),
        None => stores::open(&settings, &around).map_err(|refusal| refused("state", refusal))?,
    };
    let keys =
        Keys::new(&stack.encryption, &around).map_err(|refusal| refused("encryption", refusal))?;
    Ok(Arc::new(SealedStore::new(store, keys)))
}

/// Opens a stack's state. One that has not begun will begin with `genesis`.
async fn open_state(
    stack: &Stack,
    setting: &Setting,
    genesis: Option<Genesis>,
) -> Result<(Journal, Arc<SealedStore>), Vec<Diagnostic>> {
    let genesis = genesis.unwrap_or_else(|| match setting.sandbox {
        true => sandbox_genesis(&stack.name, setting.environment.as_deref()),
        false => Genesis::random(stack.name.clone()),
    });
    let writer = Writer { run: uuid::Uuid::new_v4().to_string(), clock: Box::new(now) };
    let store = store(stack, setting)?;
    let opened = Log::open(Arc::clone(&store) as Arc<dyn Store>, writer, genesis).await;
    opened.map(|log| (Journal::new(log), store)).map_err(|error| vec![unreadable(&error)])
}

fn in_clear(store: &SealedStore) -> Diagnostic {
    Diagnostic::warning(
        "The state is not encrypted yet",
        format!(
            "The stack has an `encryption` block, and nothing in {} is encrypted. Where encryption was turned on just now that is as it should be, and what comes now is encrypted. Where it was on before, somebody has put another state there.",
            store.place(fleetform_state::Kept::Batch(1))
        ),
    )
    .hint("`fleetform state rekey` encrypts what is there")
}

/// The sandbox's states are reproducible, as its world is: a lineage and a key from the names.
fn sandbox_genesis(stack: &str, environment: Option<&str>) -> Genesis {
    let name = format!("fleetform sandbox\n{stack}\n{}", environment.unwrap_or(""));
    let key: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    Genesis {
        lineage: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).to_string(),
        secret_key: fleetform_state::KeyBytes(key),
        ..Genesis::random(stack)
    }
}

/// Starts the stack's embedded clouds, or joins those that `sandbox serve` keeps up, and points every
/// cloud of the stack at them.
async fn enter_sandbox(stack: &mut Stack, setting: &Setting) -> Result<Running, Vec<Diagnostic>> {
    let clouds: Vec<_> = stack.clouds.values().cloned().collect();
    let world = setting.world();
    let running = sandbox::join_or_start(&world, SANDBOX_SEED, &clouds).await.map_err(|error| {
        vec![Diagnostic::error(
            "The sandbox cannot be started",
            format!("Opening {}: {error}.", world.display()),
        )]
    })?;
    for cloud in stack.clouds.values_mut() {
        *cloud = fleetform_providers::sandboxed(cloud.clone(), running.urls());
    }
    Ok(running)
}

fn inputs(setting: &Setting, stack: &Stack) -> plan::Inputs {
    let hash = |text: &str| {
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let files = setting.variables.iter().filter(|(is_file, _)| *is_file);
    plan::Inputs {
        directory: setting.directory.display().to_string(),
        environment: setting.environment.clone(),
        variable_files: files.map(|(_, text)| text.clone()).collect(),
        variables: stack
            .variables
            .iter()
            .filter(|(_, value)| !value.has_secret())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        sandbox: setting.sandbox,
        loads: BTreeMap::new(),
        day: None,
        sources: stack
            .sources
            .files
            .iter()
            .map(|(name, text)| (name.to_string(), hash(text)))
            .collect(),
    }
}
