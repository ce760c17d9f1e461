//! The typed stack: everything one directory of HCL asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleetform_contract::{
    Address, Autoscale, Cloud, Health, JobSettings, Location, Market, Needs, SecretEnv, Value,
    Vault,
};
use fleetform_state::KeySources;
pub use fleetform_state::stores::Settings as StateSettings;

use crate::diagnostic::{Diagnostic, Sources, Span};

/// Everything one directory of HCL asks for, evaluated and typed.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The directory's name: the stack's, in tags and titles.
    pub name: String,
    pub directory: PathBuf,
    /// `-env`, where given.
    pub environment: Option<String>,
    pub sources: Sources,
    pub variables: BTreeMap<String, Value>,
    pub clouds: BTreeMap<String, Cloud>,
    pub registries: BTreeMap<String, Registry>,
    pub images: BTreeMap<String, Image>,
    pub models: BTreeMap<String, Model>,
    /// Services and jobs by instance name (a DNS label): `chat`, and `chat-eu` for the instance
    /// `service.chat["eu"]` of a `for_each`.
    pub workloads: BTreeMap<String, Workload>,
    pub optimize: Optimize,
    /// The base URL of the Prometheus server.
    pub prometheus: Option<String>,
    pub outputs: BTreeMap<String, Output>,
    pub checks: BTreeMap<String, Check>,
    pub moved: Vec<Moved>,
    pub removed: Vec<Removed>,
    pub imports: Vec<Import>,
    /// Where the state is kept.
    pub state: StateSettings,
    /// What encrypts the state and saved plans.
    pub encryption: KeySources,
    /// Where things were said, by dotted path: `service.chat`, `service.chat.resources.gpus`,
    /// `cloud.aws.quota.0`, `optimize.budget`.
    pub spans: BTreeMap<String, Span>,
    /// Warnings found on the way.
    pub warnings: Vec<Diagnostic>,
    /// The texts of the secrets met while evaluating.
    pub vault: Vault,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    pub clouds: Vec<String>,
    pub immutable_tags: bool,
    pub scan_on_push: bool,
    pub keep_images: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// As pods pull it: `ghcr.io/acme/chat:1.4.2`.
    pub source: String,
    pub registry: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub weights: Option<Weights>,
    /// Per replica, by GPU type.
    pub throughput: BTreeMap<String, Throughput>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub source: String,
    /// Binary gigabytes.
    pub size_gib: f64,
    pub sha256: Option<String>,
    /// The cloud (by its name) and region where the source is; `None` where nobody said.
    pub kept_in: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Throughput {
    pub requests_per_second: f64,
    pub latency_p95_ms: Option<f64>,
}

/// A `service` or a `job`, one instance of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// `service.chat`, `service.chat["eu"]`, `job.finetune`: as the user would write it.
    pub reference: String,
    /// The path of its block in [`Stack::spans`]: `service.chat`.
    pub path: String,
    pub job: Option<JobSettings>,
    pub image: String,
    pub model: Option<String>,
    pub amount: Amount,
    pub port: Option<u16>,
    pub command: Vec<String>,
    pub env: BTreeMap<String, Value>,
    pub secret_env: Vec<SecretEnv>,
    /// Mbps that it sends, all replicas together, by the instance name of the service it calls.
    pub calls: BTreeMap<String, f64>,
    pub needs: Needs,
    pub placement: PlacementRules,
    pub autoscale: Option<Autoscale>,
    pub health: Option<Health>,
    /// Whether what it is made of must not be destroyed; where nothing is said, what was said before
    /// goes on to hold.
    pub protect: Option<bool>,
    /// What stays as it is in the objects of this workload, whatever the stack says.
    pub ignored: Ignored,
}

/// Attributes whose changes are ignored, here and in the clouds.
#[derive(Clone, Debug, PartialEq)]
pub enum Ignored {
    All,
    /// Types of objects, and ways to values in them ([`fleetform_providers::places`]).
    Places(Vec<(String, Vec<String>)>),
}

/// How much of a workload is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Amount {
    /// Replicas, or a job's nodes.
    Replicas(u32),
    /// As many replicas as it takes, of the GPU types that make them cheapest.
    Load(Load),
}

/// What all replicas of a service together must serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub size: LoadSize,
    /// Requests a second that one replica serves, by GPU type; more than 0. Other GPU types are not for
    /// this service.
    pub rates: BTreeMap<String, f64>,
}

/// How large a load is.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadSize {
    /// Requests a second, as said or as measured.
    Known(f64),
    /// What this query of the stack's Prometheus server answers.
    Query(String),
}

/// Where a workload may run.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementRules {
    /// Names; empty for any cloud of the stack.
    pub clouds: Vec<String>,
    /// Patterns with `*`; empty for any region.
    pub regions: Vec<String>,
    /// Never empty.
    pub markets: Vec<Market>,
    pub spot: Option<SpotRules>,
    pub spread: Vec<Spread>,
    /// `false`: all replicas at one site.
    pub split: bool,
    /// Countries (ISO 3166-1 alpha-2) or groups of them (`EU`, `EEA`); empty for any.
    pub residency: Vec<String>,
    pub latency: Option<LatencyRule>,
    /// Instance names of workloads that share no site with this one.
    pub apart_from: Vec<String>,
    /// Instance names of workloads that run at every site where this one runs, and nowhere else.
    pub together_with: Vec<String>,
}

/// No further away than this, by [`Location::round_trip_ms`].
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyRule {
    pub from: Location,
    pub max_ms: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SpotRules {
    /// Of the replicas, 0 to 1.
    pub max_share: Option<f64>,
    /// Replicas that stay on demand at least.
    pub base_on_demand: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    pub over: SpreadOver,
    pub min: Option<u32>,
    /// Largest share of the replicas in one of them, 0 to 1.
    pub max_share: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpreadOver {
    Cloud,
    Region,
    Zone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Optimize {
    /// Dollars a month; infeasible above.
    pub budget_month: Option<f64>,
    pub move_penalty: f64,
    /// `None`: the cost alone.
    pub weights: Option<ObjectiveWeights>,
}

/// What a unit of each part counts in the objective.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveWeights {
    /// A dollar a month.
    pub cost: f64,
    /// A kilogram of CO2 equivalent a month.
    pub carbon: f64,
    /// A millisecond of round trip, for each replica of the workloads that say from where they are used.
    pub latency: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub value: Value,
    pub sensitive: bool,
    pub description: Option<String>,
}

/// A `check` block: its assertions as far as they are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub assertions: Vec<Assertion>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// `None` where the condition is known only after apply.
    pub holds: Option<bool>,
    pub message: String,
    pub span: Span,
}

/// An address in a `moved`, `removed` or `import` block: a resource's, or a block's (`service.chat`).
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub address: Address,
    pub span: Span,
}

/// What is recorded at `from` goes on at `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub from: Named,
    pub to: Named,
}

/// The stack does without what was at `from`.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    pub from: Named,
    /// `false`: it goes on to exist, and is managed no longer.
    pub destroy: bool,
}

/// An object that exists already is the one at `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub to: Address,
    /// Where the stack says so; `None` for the verb.
    pub span: Option<Span>,
    /// The cloud's own identifier.
    pub id: String,
    /// The lineage that its tags name, where it is taken over from another stack.
    pub lineage: Option<String>,
}

impl Stack {
    /// The queries that say how large loads are, by workload.
    pub fn queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.workloads.iter().filter_map(|(name, workload)| match &workload.amount {
            Amount::Load(Load { size: LoadSize::Query(query), .. }) => {
                Some((name.as_str(), query.as_str()))
            }
            _ => None,
        })
    }

    /// Puts measured loads, in requests a second by workload, in the place of their queries.
    pub fn know(&mut self, loads: &BTreeMap<String, f64>) {
        for (name, measured) in loads {
            if let Some(Workload { amount: Amount::Load(load), .. }) = self.workloads.get_mut(name)
                && matches!(load.size, LoadSize::Query(_))
            {
                load.size = LoadSize::Known(*measured);
            }
        }
    }

    /// Whether any reservation holds for a while only.
    pub fn has_windows(&self) -> bool {
        let mut reservations = self.clouds.values().flat_map(|cloud| &cloud.reservations);
        reservations.any(|one| one.from.is_some() || one.until.is_some())
    }

    /// Leaves no nodes to the reservations that do not hold on a day (`2026-01-31`). Gives a warning for each
    /// that holds and ends soon.
    pub fn on_day(&mut self, day: &str) -> Vec<Diagnostic> {
        let ending = self.ending(day);
        for one in self.clouds.values_mut().flat_map(|cloud| &mut cloud.reservations) {
            let has_begun = one.from.as_deref().is_none_or(|from| from <= day);
            let has_ended = one.until.as_deref().is_some_and(|until| until < day);
            if !has_begun || has_ended {
                one.nodes = 0;
            }
        }
        ending
    }

    fn ending(&self, day: &str) -> Vec<Diagnostic> {
        const SOON_DAYS: i64 = 30;
        let soon = day.parse::<jiff::civil::Date>().ok();
        let soon = soon.and_then(|day| day.checked_add(jiff::Span::new().days(SOON_DAYS)).ok());
        let Some(soon) = soon.map(|day| day.to_string()) else { return Vec::new() };
        let mut warnings = Vec::new();
        for (name, cloud) in &self.clouds {
            for (index, one) in cloud.reservations.iter().enumerate() {
                let until =
                    one.until.as_deref().filter(|until| day <= *until && *until <= soon.as_str());
                let Some(until) = until else { continue };
                let detail = format!(
                    "The reservation of {} {} in {} holds until {until}. From the day after on its nodes are \
                     paid for at the price on demand, and a plan may move what runs on them.",
                    one.nodes, one.instance_type, one.region
                );
                warnings.push(
                    Diagnostic::warning("A reservation ends soon", detail)
                        .at(self.span(&format!("cloud.{name}.reservation.{index}.until")))
                        .hint("renew it, and say until when it holds then"),
                );
            }
        }
        warnings
    }

    /// The span of a path, or of the nearest thing around it that has one.
    pub fn span(&self, path: &str) -> Option<Span> {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return Some(span.clone());
            }
            path = path.rsplit_once('.')?.0;
        }
    }
}

impl Default for PlacementRules {
    fn default() -> PlacementRules {
        PlacementRules {
            clouds: Vec::new(),
            regions: Vec::new(),
            markets: vec![Market::OnDemand],
            spot: None,
            spread: Vec::new(),
            split: true,
            residency: Vec::new(),
            latency: None,
            apart_from: Vec::new(),
            together_with: Vec::new(),
        }
    }
}
