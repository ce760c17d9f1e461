//! The limits of a stack that are weighed against each other, each with the line it came from.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Market, Quota};

use super::{Amount, Candidate, Demand};
use crate::config::{SpreadOver, Stack};
use crate::diagnostic::Span;

/// A limit that a placement must keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    pub rule: Rule,
    pub origin: Origin,
}

/// Where in the stack something was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// `cloud.aws.quota.0`.
    pub path: String,
    pub span: Option<Span>,
    /// For people: `main.hcl:14`.
    pub place: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// GPUs of the cloud's nodes, of a type and in a region or of any.
    Quota {
        cloud: String,
        region: Option<String>,
        gpu_type: Option<String>,
        max_gpus: u32,
    },
    /// GPUs that the cloud's replicas ask for.
    CapacityGpus {
        cloud: String,
        max: f64,
    },
    /// CPUs that the cloud's replicas ask for.
    CapacityCpus {
        cloud: String,
        max: f64,
    },
    CapacityNodes {
        cloud: String,
        max: u32,
    },
    /// Nodes of one candidate (by index): what exists, or what is reserved.
    Nodes {
        candidate: usize,
        max: u32,
    },
    /// Replicas of one demand (by index) on spot nodes.
    Spot {
        demand: usize,
        max_replicas: u32,
        said: SpotSaid,
    },
    /// Clouds or regions with a replica of the demand.
    SpreadMin {
        demand: usize,
        over: SpreadOver,
        min: u32,
    },
    /// Zones that replicas of the demand are in whatever Kubernetes does: no zone has so many of them that fewer
    /// zones could hold all.
    ZoneMin {
        demand: usize,
        min: u32,
    },
    /// Replicas of the demand in any one cloud, region or zone.
    SpreadShare {
        demand: usize,
        over: SpreadOver,
        max_replicas: u32,
        max_share: f64,
    },
    /// Requests a second that a demand (by index) sized by load serves without its spot nodes.
    LoadOffSpot {
        demand: usize,
        min: f64,
        max_share: f64,
    },
    /// Replicas of a demand sized by load that are not on spot nodes.
    BaseOnDemand {
        demand: usize,
        min: u32,
    },
    /// Requests a second that a demand sized by load serves without any one cloud, region or zone.
    LoadElsewhere {
        demand: usize,
        over: SpreadOver,
        min: f64,
        max_share: f64,
    },
    /// Replicas of a demand sized by load: the most that its autoscaler may run.
    MaxReplicas {
        demand: usize,
        max: u32,
    },
    /// All replicas of the demand at one site.
    Together {
        demand: usize,
    },
    /// No site has replicas of both demands (by index, ascending).
    Apart {
        demands: [usize; 2],
    },
    /// Every site with replicas of one of the demands (by index, ascending) has some of the other.
    SameSites {
        demands: [usize; 2],
    },
    /// Dollars a month for everything.
    Budget {
        max_month: f64,
    },
}

/// How the user put a limit on spot replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SpotSaid {
    MaxShare(f64),
    BaseOnDemand(u32),
}

/// Tells origins, and for that where the lines of the stack's files end.
pub(super) struct Origins<'a> {
    pub stack: &'a Stack,
    line_ends: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Origins<'a> {
    pub fn new(stack: &'a Stack) -> Origins<'a> {
        let line_ends = stack.sources.files.iter().map(|(file, text)| {
            (&**file, text.match_indices('\n').map(|(index, _)| index).collect())
        });
        Origins { stack, line_ends: line_ends.collect() }
    }

    pub fn of(&self, path: &str) -> Origin {
        let span = self.stack.span(path);
        let place = span.as_ref().and_then(|span| {
            let line_ends = self.line_ends.get(&*span.file)?;
            let line = 1 + line_ends.partition_point(|end| *end < span.start);
            Some(format!("{}:{line}", span.file))
        });
        Origin { path: path.to_owned(), span, place }
    }
}

impl Rule {
    /// Whether the limit counts GPUs of this candidate's nodes.
    pub fn counts_gpus_of(&self, candidate: &Candidate) -> bool {
        match self {
            Rule::Quota { cloud, region, gpu_type, .. } => {
                let offering = &candidate.offering;
                offering.gpus > 0
                    && offering.cloud == *cloud
                    && region.as_ref().is_none_or(|region| offering.region == *region)
                    && gpu_type.as_ref().is_none_or(|of| offering.gpu_type.as_ref() == Some(of))
            }
            _ => false,
        }
    }
}

/// Every limit of the stack that can bind, in an order that depends on what they say only.
pub(super) fn of(
    origins: &Origins,
    quotas: &BTreeMap<String, Vec<Quota>>,
    demands: &[Demand],
    candidates: &[Candidate],
) -> Vec<Limit> {
    let stack = origins.stack;
    let mut limits = Vec::new();
    let mut add = |path: &str, rule| limits.push(Limit { rule, origin: origins.of(path) });
    for (name, cloud) in &stack.clouds {
        let path = format!("cloud.{name}");
        let reported = quotas.get(name).into_iter().flatten();
        let reported = reported.filter(|quota| !cloud.quotas.contains(quota));
        let declared = cloud.quotas.iter().enumerate();
        let declared = declared.map(|(index, quota)| (format!("{path}.quota.{index}"), quota));
        for (path, quota) in declared.chain(reported.map(|quota| (path.clone(), quota))) {
            let Quota { region, gpu_type, max_gpus } = quota.clone();
            add(&path, Rule::Quota { cloud: name.clone(), region, gpu_type, max_gpus });
        }
        if let Some(max) = cloud.capacity.gpus {
            let path = format!("{path}.capacity.gpus");
            add(&path, Rule::CapacityGpus { cloud: name.clone(), max });
        }
        if let Some(max) = cloud.capacity.cpus {
            let path = format!("{path}.capacity.cpus");
            add(&path, Rule::CapacityCpus { cloud: name.clone(), max });
        }
        if let Some(max) = cloud.capacity.nodes {
            let path = format!("{path}.capacity.nodes");
            add(&path, Rule::CapacityNodes { cloud: name.clone(), max });
        }
    }
    for (index, candidate) in candidates.iter().enumerate() {
        if let Some(max) = candidate.offering.max_nodes {
            let path = nodes_path(stack, candidate);
            add(&path, Rule::Nodes { candidate: index, max });
        }
    }
    for (index, demand) in demands.iter().enumerate() {
        match demand.amount {
            Amount::Replicas(0) => {}
            Amount::Replicas(replicas) => of_replicas(index, demand, replicas, &mut add),
            Amount::Load(_) => {
                let autoscale = stack.workloads[&demand.workload].autoscale.as_ref();
                if let Some(max) = autoscale.map(|bounds| bounds.max) {
                    let path = format!("{}.autoscale.max", demand.origin.path);
                    add(&path, Rule::MaxReplicas { demand: index, max });
                }
                of_load(index, demand, &mut add);
            }
        }
    }
    of_pairs(demands, &mut add);
    if let Some(max_month) = stack.optimize.budget_month {
        add("optimize.budget", Rule::Budget { max_month });
    }
    limits.sort_by_cached_key(|limit| format!("{:?}", limit.rule));
    limits
}

/// The rules of a demand whose replicas are counted.
fn of_replicas(index: usize, demand: &Demand, replicas: u32, add: &mut impl FnMut(&str, Rule)) {
    let path = format!("{}.placement", demand.origin.path);
    if let Some(spot) = &demand.rules.spot {
        if let Some(share) = spot.max_share {
            let max_replicas = share_of(share, replicas);
            let said = SpotSaid::MaxShare(share);
            let path = format!("{path}.spot.max_share");
            add(&path, Rule::Spot { demand: index, max_replicas, said });
        }
        if spot.base_on_demand > 0 {
            let max_replicas = replicas.saturating_sub(spot.base_on_demand);
            let said = SpotSaid::BaseOnDemand(spot.base_on_demand);
            let path = format!("{path}.spot.base_on_demand");
            add(&path, Rule::Spot { demand: index, max_replicas, said });
        }
    }
    for (number, spread) in demand.rules.spread.iter().enumerate() {
        if let Some(max_share) = spread.max_share {
            let max_replicas = share_of(max_share, replicas);
            let over = spread.over;
            let rule = Rule::SpreadShare { demand: index, over, max_replicas, max_share };
            add(&format!("{path}.spread.{number}.max_share"), rule);
        }
    }
    of_places(index, demand, add);
}

/// The rules of a demand that is sized by load. A share is one of the load that may be lost at once: what
/// is elsewhere serves the rest.
fn of_load(index: usize, demand: &Demand, add: &mut impl FnMut(&str, Rule)) {
    let path = format!("{}.placement", demand.origin.path);
    if let Some(spot) = &demand.rules.spot {
        if let Some(max_share) = spot.max_share {
            let min = (1.0 - max_share) * demand.asked();
            let path = format!("{path}.spot.max_share");
            add(&path, Rule::LoadOffSpot { demand: index, min, max_share });
        }
        if spot.base_on_demand > 0 {
            let path = format!("{path}.spot.base_on_demand");
            add(&path, Rule::BaseOnDemand { demand: index, min: spot.base_on_demand });
        }
    }
    for (number, spread) in demand.rules.spread.iter().enumerate() {
        if let Some(max_share) = spread.max_share {
            let (over, min) = (spread.over, (1.0 - max_share) * demand.asked());
            let rule = Rule::LoadElsewhere { demand: index, over, min, max_share };
            add(&format!("{path}.spread.{number}.max_share"), rule);
        }
    }
    of_places(index, demand, add);
}

/// The rules on where the replicas of a demand are, however many there are.
fn of_places(index: usize, demand: &Demand, add: &mut impl FnMut(&str, Rule)) {
    let path = format!("{}.placement", demand.origin.path);
    for (number, spread) in demand.rules.spread.iter().enumerate() {
        if let Some(min) = spread.min.filter(|min| *min > 1) {
            let rule = match spread.over {
                SpreadOver::Zone => Rule::ZoneMin { demand: index, min },
                over => Rule::SpreadMin { demand: index, over, min },
            };
            add(&format!("{path}.spread.{number}.min"), rule);
        }
    }
    if demand.together {
        add(&format!("{path}.split"), Rule::Together { demand: index });
    }
}

/// Each pair once, whoever of the two said it.
fn of_pairs(demands: &[Demand], add: &mut impl FnMut(&str, Rule)) {
    let mut seen = BTreeSet::new();
    for (index, demand) in demands.iter().enumerate().filter(|(_, demand)| demand.runs()) {
        let rules = &demand.rules;
        let apart = rules.apart_from.iter().map(|name| (name, "apart_from"));
        let together = rules.together_with.iter().map(|name| (name, "together_with"));
        for (name, rule) in apart.chain(together) {
            let found = demands.binary_search_by(|other| other.workload.cmp(name));
            let Some(other) = found.ok().filter(|other| demands[*other].runs()) else {
                continue;
            };
            let pair = [index.min(other), index.max(other)];
            if seen.insert((rule, pair)) {
                let path = format!("{}.placement.{rule}", demand.origin.path);
                add(
                    &path,
                    match rule {
                        "apart_from" => Rule::Apart { demands: pair },
                        _ => Rule::SameSites { demands: pair },
                    },
                );
            }
        }
    }
}

/// The largest whole number of replicas that is at most this share of them.
pub(super) fn share_of(share: f64, replicas: u32) -> u32 {
    // 0.29 × 100 is 28.999999999999996 in binary: decimals are meant, so a hair is forgiven.
    (share * f64::from(replicas) + 1e-9).max(0.0) as u32
}

/// Where the number of a candidate's nodes was said.
fn nodes_path(stack: &Stack, candidate: &Candidate) -> String {
    let offering = &candidate.offering;
    let name = &offering.cloud;
    let cloud = &stack.clouds[name];
    if candidate.reserved && offering.market == Market::Reserved {
        let mut reservations = cloud.reservations.iter();
        let found = reservations.position(|reservation| {
            reservation.nodes > 0
                && reservation.region == offering.region
                && reservation.instance_type == offering.instance_type
                && reservation.zone == offering.zone
        });
        if let Some(index) = found {
            return format!("cloud.{name}.reservation.{index}");
        }
    }
    format!("cloud.{name}.node.{}", offering.instance_type)
}
