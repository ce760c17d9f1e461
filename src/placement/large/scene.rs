//! A problem with numbers for names: places, parts of demands and limits, as the other files here read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleetform_contract::Market;

use super::together;
use crate::config::SpreadOver;
use crate::placement::packing::Amounts;
use crate::placement::reduce::Group;
use crate::problem::{Amount, Candidate, Demand, Problem, Rule};

pub(super) struct Scene<'a> {
    pub problem: &'a Problem,
    pub groups: &'a [Group],
    /// By group: where it may be.
    candidates: Vec<Arc<[u32]>>,
    /// By candidate.
    pub places: Vec<Place>,
    /// By site: its name and what it counts in the objective, a month.
    pub sites: Vec<(&'a str, f64)>,
    /// By what fails together, sites that are not told apart by zone among them: its site.
    pub site_of_zone: Vec<usize>,
    /// Types of GPU, no GPU among them.
    pub kinds: usize,
    /// Limits that several demands share.
    pub caps: Vec<Cap>,
    /// By demand: its own rules.
    pub rules: Vec<Rules>,
    /// Models' weights, and which of them each demand uses.
    pub stored: Vec<Stored>,
    stored_of: Vec<Option<usize>>,
    /// What the sites of any placement, and weights of models at them, count in the objective at least.
    pub least_sites: f64,
}

/// Where nodes can be rented.
pub(super) struct Place {
    /// What one node counts in the objective, a month.
    pub price: f64,
    pub capacity: Amounts,
    pub site: usize,
    pub cloud: usize,
    pub zone: usize,
    /// Its type of GPU.
    pub kind: usize,
    pub is_spot: bool,
    /// Which limits count what is here, ascending.
    pub caps: Vec<usize>,
}

/// A model's weights, kept once at every site that serves it.
pub(super) struct Stored {
    /// By site: what keeping them there counts in the objective, a month. Infinite where nobody needs them.
    pub by_site: Vec<f64>,
    /// Of those that use them, all that are not sized by load. Each stands for so small a part of what its site keeps at
    /// least.
    replicas: f64,
}

impl Stored {
    /// By site, the part of one replica.
    fn shares(&self) -> Vec<f64> {
        self.by_site.iter().map(|cost| cost / self.replicas).collect()
    }
}

/// `Σ use ≤ max`
pub(super) struct Cap {
    pub max: f64,
    pub counts: Counting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    NodeGpus,
    Nodes,
    ReplicaGpus,
    ReplicaCpus,
}

/// What one demand asks of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Most of its amount that may be on spot nodes.
    pub spot: Option<f64>,
    pub together: bool,
    /// Of a load: whether the number of its replicas has limits.
    pub is_counted: bool,
    pub min: Vec<(SpreadOver, usize)>,
    /// Most of its amount that may be in one of them. A load may be served beyond what is asked for.
    pub share: Vec<(SpreadOver, f64)>,
}

impl Rules {
    fn share_at_most(&mut self, over: SpreadOver, most: f64) {
        match self.share.iter_mut().find(|(one, _)| *one == over) {
            Some((_, before)) => *before = most.min(*before),
            None => self.share.push((over, most)),
        }
    }

    /// What each rule on spreading tells apart.
    pub fn spread_over(&self) -> impl Iterator<Item = SpreadOver> {
        let min = self.min.iter().map(|(over, _)| *over);
        min.chain(self.share.iter().map(|(over, _)| *over))
    }

    /// Leaves out what other rules say already: zones are at sites, and sites in clouds.
    fn simplify(&mut self) {
        let Rules { min, share, .. } = self;
        let all = min.clone();
        let is_wider = |one: &SpreadOver, other: &SpreadOver| level(*one) < level(*other);
        min.retain(|(over, least)| {
            // Three zones and more are a rule on how much is in one.
            *over == SpreadOver::Zone && *least > 2
                || !all.iter().any(|(other, more)| is_wider(other, over) && more >= least)
        });
        let all = share.clone();
        share.retain(|(over, most)| {
            !all.iter().any(|(other, less)| is_wider(other, over) && less <= most)
        });
    }

    pub fn is_zoned(&self) -> bool {
        self.spread_over().any(|over| over == SpreadOver::Zone)
    }
}

/// Clouds first, then what is in them.
pub(super) fn level(over: SpreadOver) -> u8 {
    match over {
        SpreadOver::Cloud => 0,
        SpreadOver::Region => 1,
        SpreadOver::Zone => 2,
    }
}

/// A cloud, a site or a zone, by its number.
pub(super) type Given = Option<(SpreadOver, usize)>;

/// What replicas on one type of GPU serve of a load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serves {
    pub kind: usize,
    /// Requests a second of one replica.
    pub rate: f64,
}

/// An amount of a group that may be anywhere on its candidates: what has no rule but that.
#[derive(Clone)]
pub(super) struct Part {
    pub group: usize,
    pub size: Amounts,
    /// Replicas, or requests a second.
    pub amount: f64,
    /// Ascending.
    pub candidates: Arc<[u32]>,
    /// By type of GPU, what one replica counts for; empty where that is 1.
    pub rates: Vec<f64>,
    /// By site, what one replica counts in the objective beside its node; empty where that is nothing.
    pub charges: Vec<f64>,
    /// By site, what one replica stands for of its model's weights there; empty where that is nothing.
    pub shares: Vec<f64>,
    /// Its model's weights.
    pub stored: Option<usize>,
    /// Not on spot nodes.
    pub is_steady: bool,
    /// The cloud, site or zone that it was given, where a rule asks for one.
    pub given: Given,
    /// What of a load it serves, where it is of one.
    pub serves: Option<Serves>,
    /// It runs where it is, and stays.
    pub is_fixed: bool,
}

impl Part {
    pub fn rate(&self, place: &Place) -> f64 {
        self.rates.get(place.kind).copied().unwrap_or(1.0)
    }

    /// The largest part that one replica takes of a node.
    pub fn share(&self, place: &Place) -> f64 {
        let amounts = self.size.iter().zip(place.capacity).filter(|(_, has)| *has > 0);
        amounts.map(|(size, has)| *size as f64 / has as f64).fold(0.0, f64::max)
    }

    /// What one replica is large by: GPUs, or CPUs where it needs none.
    pub fn unit(&self) -> f64 {
        self.size.iter().find(|size| **size > 0).map_or(1.0, |size| *size as f64)
    }

    /// What one replica stands for at least beside its node.
    pub fn charge(&self, place: &Place) -> f64 {
        self.paid(place) + self.shares.get(place.site).copied().unwrap_or(0.0)
    }

    /// The same without weights, which are paid once.
    pub fn paid(&self, place: &Place) -> f64 {
        self.charges.get(place.site).copied().unwrap_or(0.0)
    }
}

impl<'a> Scene<'a> {
    /// `None` where the problem asks for something that is not known here.
    pub fn new(problem: &'a Problem, groups: &'a [Group]) -> Option<Scene<'a>> {
        if problem.ceiling.is_some() {
            return None;
        }
        let mut clouds: BTreeMap<&str, usize> = BTreeMap::new();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        let mut site_of_zone = Vec::new();
        let mut kinds: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        let weigh = problem.cost_weight();
        let mut sites = Vec::new();
        let places = problem.candidates.iter().map(|candidate| {
            let site = *names.entry(&candidate.site).or_insert_with(|| {
                let price = problem.sites.get(&candidate.site).copied().unwrap_or_default();
                sites.push((candidate.site.as_str(), weigh * price.price_month));
                sites.len() - 1
            });
            let next = clouds.len();
            let cloud = *clouds.entry(&candidate.offering.cloud).or_insert(next);
            let zone = *zones.entry(&candidate.zone).or_insert_with(|| {
                site_of_zone.push(site);
                site_of_zone.len() - 1
            });
            let next = kinds.len();
            let kind = *kinds.entry(candidate.offering.gpu_type.as_deref()).or_insert(next);
            Place {
                price: problem.node_objective(candidate),
                capacity: candidate.usable.array(),
                site,
                cloud,
                zone,
                kind,
                is_spot: candidate.offering.market == Market::Spot,
                caps: Vec::new(),
            }
        });
        let places = places.collect();
        let rules = vec![Rules::default(); problem.demands.len()];
        let stored = problem.stored.iter().map(|stored| {
            let cost =
                |site| stored.cost_month.get(site).map_or(f64::INFINITY, |cost| weigh * cost);
            let replicas = stored.demands.iter().map(|demand| &problem.demands[*demand].amount);
            let replicas = replicas.filter_map(|amount| match amount {
                Amount::Replicas(replicas) => Some(f64::from(*replicas)),
                Amount::Load(_) => None,
            });
            Stored {
                by_site: sites.iter().map(|(site, _)| cost(*site)).collect(),
                replicas: replicas.sum(),
            }
        });
        let stored = stored.collect();
        let mut stored_of = vec![None; problem.demands.len()];
        for (number, stored) in problem.stored.iter().enumerate() {
            stored.demands.iter().for_each(|demand| stored_of[*demand] = Some(number));
        }
        let kinds = kinds.len();
        let caps = Vec::new();
        let least_sites = 0.0;
        let candidates = groups.iter().map(|group| {
            let candidates = group.candidates.iter();
            candidates.map(|index| *index as u32).collect()
        });
        let candidates = candidates.collect();
        let mut scene = Scene {
            problem,
            groups,
            candidates,
            places,
            sites,
            site_of_zone,
            kinds,
            caps,
            rules,
            stored,
            stored_of,
            least_sites,
        };
        for limit in &problem.limits {
            scene.add(&limit.rule)?;
        }
        for demands in together::components(problem) {
            scene.spread_alike(&demands);
        }
        for (rules, demand) in scene.rules.iter_mut().zip(&problem.demands) {
            rules.simplify();
            rules.is_counted |= matches!(&demand.amount, Amount::Load(load) if load.least > 1);
        }
        scene.count_sites();
        scene.count_stored();
        Some(scene)
    }

    fn add(&mut self, rule: &Rule) -> Option<()> {
        match rule {
            Rule::Quota { max_gpus, .. } => {
                self.cap(f64::from(*max_gpus), Counting::NodeGpus, |one| rule.counts_gpus_of(one));
            }
            Rule::CapacityGpus { cloud, max } => {
                self.cap(*max, Counting::ReplicaGpus, |one| one.offering.cloud == *cloud);
            }
            Rule::CapacityCpus { cloud, max } => {
                self.cap(*max, Counting::ReplicaCpus, |one| one.offering.cloud == *cloud);
            }
            Rule::CapacityNodes { cloud, max } => {
                let is_there = |one: &Candidate| one.offering.cloud == *cloud;
                self.cap(f64::from(*max), Counting::Nodes, is_there);
            }
            Rule::Nodes { candidate, max } => {
                self.places[*candidate].caps.push(self.caps.len());
                self.caps.push(Cap { max: f64::from(*max), counts: Counting::Nodes });
            }
            Rule::Spot { demand, max_replicas, .. } => {
                let most = f64::from(*max_replicas);
                let spot = &mut self.rules[*demand].spot;
                *spot = Some(spot.map_or(most, |before| before.min(most)));
            }
            Rule::LoadOffSpot { demand, min, .. } => {
                let asked = self.problem.demands[*demand].asked();
                self.rules[*demand].spot = Some((asked - min).max(0.0));
            }
            // No zone holds so many that fewer zones could hold all: of two, each may hold all but one.
            Rule::ZoneMin { demand, min } => {
                let rules = &mut self.rules[*demand];
                match (min, &self.problem.demands[*demand].amount) {
                    (0 | 1, _) => {}
                    (3.., Amount::Replicas(replicas)) => {
                        let most = replicas.saturating_sub(1) / (min - 1);
                        rules.share_at_most(SpreadOver::Zone, f64::from(most));
                    }
                    _ => rules.min.push((SpreadOver::Zone, *min as usize)),
                }
            }
            // What is elsewhere serves the rest.
            Rule::LoadElsewhere { demand, over, min, .. } => {
                let most = (self.problem.demands[*demand].asked() - min).max(0.0);
                self.rules[*demand].share_at_most(*over, most);
            }
            Rule::Together { demand } => self.rules[*demand].together = true,
            Rule::SpreadMin { demand, over, min } => {
                self.rules[*demand].min.push((*over, *min as usize));
            }
            Rule::SpreadShare { demand, over, max_replicas, .. } => {
                self.rules[*demand].share_at_most(*over, f64::from(*max_replicas));
            }
            // Not kept: what the checker finds broken goes the general way.
            Rule::MaxReplicas { demand, .. } => self.rules[*demand].is_counted = true,
            // Kept by asking again (`apart`, `together`).
            Rule::Apart { .. } | Rule::SameSites { .. } => {}
            Rule::Budget { .. } if self.problem.weights.is_none() => {}
            _ => return None,
        }
        Some(())
    }

    /// Demands at the same sites are at as many, and in as many clouds, as the one that is at most.
    fn spread_alike(&mut self, demands: &[usize]) {
        let mut most: [(SpreadOver, usize); 2] = [(SpreadOver::Cloud, 1), (SpreadOver::Region, 1)];
        for demand in demands {
            let Rules { min, share, .. } = &self.rules[*demand];
            let by_share = share.iter().map(|(over, most)| {
                let least = match self.problem.demands[*demand].amount {
                    Amount::Replicas(replicas) => (f64::from(replicas) / most).ceil() as usize,
                    // Two that serve more than they may are enough.
                    Amount::Load(_) => {
                        1 + usize::from(*most < self.problem.demands[*demand].asked())
                    }
                };
                (*over, least)
            });
            for (over, min) in min.iter().copied().chain(by_share) {
                let alike = most.iter_mut().filter(|(one, _)| *one == over);
                alike.for_each(|(_, most)| *most = min.max(*most));
            }
        }
        for demand in demands {
            let min = &mut self.rules[*demand].min;
            min.retain(|(over, _)| *over == SpreadOver::Zone);
            min.extend(most.iter().copied().filter(|(_, least)| *least > 1));
        }
    }

    fn cap(&mut self, max: f64, counts: Counting, is_there: impl Fn(&Candidate) -> bool) {
        for (place, candidate) in self.places.iter_mut().zip(&self.problem.candidates) {
            if is_there(candidate) {
                place.caps.push(self.caps.len());
            }
        }
        self.caps.push(Cap { max, counts });
    }

    /// What open sites cost at least: each demand needs some of its own, and demands whose sites are all different need
    /// different ones.
    fn count_sites(&mut self) {
        let mut wanted: Vec<(Vec<usize>, usize)> = Vec::new();
        for group in 0..self.groups.len() {
            let candidates = self.groups[group].candidates.iter();
            let mut sites: Vec<usize> = candidates.map(|place| self.places[*place].site).collect();
            sites.sort_unstable();
            sites.dedup();
            // Zones may be of one site.
            let min = self.rules(group).min.iter().filter(|(over, _)| *over != SpreadOver::Zone);
            let min = min.map(|(_, min)| *min).max().unwrap_or(1);
            wanted.push((sites, min));
        }
        wanted.sort_by(|a, b| a.0.len().cmp(&b.0.len()).then(b.1.cmp(&a.1)).then(a.0.cmp(&b.0)));
        let mut is_counted = vec![false; self.sites.len()];
        for (sites, min) in wanted {
            if sites.iter().any(|site| is_counted[*site]) {
                continue;
            }
            sites.iter().for_each(|site| is_counted[*site] = true);
            let mut prices: Vec<f64> = sites.iter().map(|site| self.sites[*site].1).collect();
            prices.sort_by(f64::total_cmp);
            self.least_sites += prices.iter().take(min).sum::<f64>();
        }
    }

    /// What is kept for loads alone is kept somewhere.
    fn count_stored(&mut self) {
        for (stored, of) in self.stored.iter().zip(&self.problem.stored) {
            let asked = of.demands.iter().map(|demand| self.problem.demands[*demand].asked());
            if stored.replicas == 0.0 && asked.sum::<f64>() > 0.0 {
                self.least_sites += stored.by_site.iter().copied().fold(f64::INFINITY, f64::min);
            }
        }
    }

    pub fn demand(&self, group: usize) -> &'a Demand {
        &self.problem.demands[self.groups[group].demands[0]]
    }

    pub fn rules(&self, group: usize) -> &Rules {
        &self.rules[self.groups[group].demands[0]]
    }

    /// The whole group, whatever its rules.
    pub fn part(&self, group: usize) -> Part {
        let index = self.groups[group].demands[0];
        let demand = &self.problem.demands[index];
        let mut rates = Vec::new();
        let mut amount = f64::from(self.groups[group].replicas);
        if let Amount::Load(_) = demand.amount {
            amount = demand.asked();
            rates = vec![0.0; self.kinds];
            for index in &demand.candidates {
                rates[self.places[*index].kind] = demand.rate(&self.problem.candidates[*index]);
            }
        }
        let mut charges = Vec::new();
        let weights = self.problem.weights.as_ref();
        if !self.problem.rate_cards.is_empty() || weights.is_some_and(|one| one.latency > 0.0) {
            charges = vec![0.0; self.sites.len()];
            for index in &demand.candidates {
                let candidate = &self.problem.candidates[*index];
                let dollars = self.problem.charge_month(&demand.needs, &candidate.offering.cloud);
                charges[self.places[*index].site] = match weights {
                    None => dollars,
                    Some(one) => one.cost * dollars + one.latency * demand.latency_ms(candidate),
                };
            }
        }
        let stored = self.stored_of[index];
        let shared = stored.filter(|_| rates.is_empty()).map(|one| &self.stored[one]);
        let shares = shared.map_or_else(Vec::new, Stored::shares);
        let candidates = Arc::clone(&self.candidates[group]);
        let size = demand.size.array();
        Part {
            group,
            size,
            amount,
            candidates,
            rates,
            charges,
            shares,
            stored,
            is_steady: false,
            given: None,
            serves: None,
            is_fixed: false,
        }
    }

    /// How much of a limit one node of a place takes.
    pub fn node_use(&self, cap: usize, place: &Place) -> f64 {
        match self.caps[cap].counts {
            Counting::NodeGpus => place.capacity[0] as f64,
            Counting::Nodes => 1.0,
            Counting::ReplicaGpus | Counting::ReplicaCpus => 0.0,
        }
    }

    /// How much of a limit one replica takes.
    pub fn seat_use(&self, cap: usize, part: &Part) -> f64 {
        let needs = &self.demand(part.group).needs;
        match self.caps[cap].counts {
            Counting::ReplicaGpus => f64::from(needs.gpus),
            Counting::ReplicaCpus => needs.cpus,
            Counting::NodeGpus | Counting::Nodes => 0.0,
        }
    }

    /// Candidates of a group in one cloud, at one site or in one zone.
    pub fn inside(&self, part: &Part, over: SpreadOver, section: usize) -> Arc<[u32]> {
        let places = self.candidates[part.group].iter().copied();
        let places = places.filter(|place| self.section(*place, over) == section);
        let is_free = |place: &u32| {
            let place = &self.places[*place as usize];
            let is_kind = part.serves.is_none_or(|serves| serves.kind == place.kind);
            is_kind && !(part.is_steady && place.is_spot)
        };
        places.filter(is_free).collect()
    }

    /// The cloud, the site or the zone.
    pub fn section(&self, place: u32, over: SpreadOver) -> usize {
        let place = &self.places[place as usize];
        match over {
            SpreadOver::Cloud => place.cloud,
            SpreadOver::Region => place.site,
            SpreadOver::Zone => place.zone,
        }
    }
}
