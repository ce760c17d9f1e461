//! Makes a problem smaller without changing its answer: equal demands become one group, and candidates
//! that another one covers are dropped before the solver sees them.
//!
//! **Groups.** Demands with the same needs, the same candidates and no rule of their own (spread, spot,
//! one site, a load, apart from or together with another, calls) are interchangeable: any split of the group's seats among its members is
//! a placement of
//! the same cost, so the model counts the group's replicas only.
//!
//! **Cover within a site.** Candidate *a* covers *b* when every group that may use *b* may use *a*; a
//! node of *a* holds what a node of *b* holds, and a replica serves as much of a load there; it costs no more (nor, at equal cost, by list price) and a
//! replica's rate-card charge there is no more; *a* has no limit on its nodes; and every limit that
//! counts *a* counts *b* at least as much (quotas count GPUs of nodes; a spot limit counts *a* only if it
//! counts *b*); and *a* is in the zone of *b*, or both are in none that is told. Then each node of *b* in a
//! placement can be exchanged for a node of *a* with the same
//! replicas on it: no row gets worse, nor does the cost. So a cheapest placement without *b* exists.
//!
//! **Cover from afar.** Candidate *a* of another site covers *b* when it covers it as within a site and a node of it
//! costs less by at least the control plane of its site: the first node that is exchanged pays for opening that.
//! Groups whose replicas may not leave one by one (spread, one site, apart from or near others, stored weights,
//! latency that counts) forbid it.
//!
//! **Cover of sites.** Site *A* covers *B* when its control plane costs no more and each candidate of *B*
//! is covered by one of *A*. Everything at *B* can move to *A* at once, with its nodes. Groups that must be
//! spread over regions (or clouds, where *A* and *B* differ in it) forbid that, for they may need *B*, and so do
//! groups that must be apart from another, which may be at *A*. Traffic forbids it unless *A* and *B* are of one area:
//! then nobody pays more to or from *A*, and between the two nobody pays any more. Weights may not cost more at *A*.
//! Groups that must stay at one site move as a whole, as do groups that must be at the same sites.
//!
//! What runs already is covered by nothing: leaving it is charged. Going there from elsewhere is not.
//!
//! Cover is transitive, so dropping everything but one representative of each class of mutual cover
//! (the first) at once is sound: each dropped candidate has a kept one that covers it, and the moves
//! together count in each limit at most what was counted before. The same argument holds when limits
//! are made elastic.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::Market;
use petgraph::unionfind::UnionFind;

use super::moves;
use crate::config::SpreadOver;
use crate::problem::{Amount, Candidate, Ceiling, Problem, Rule};

/// Interchangeable demands.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Indices into [`Problem::demands`], ascending.
    pub demands: Vec<usize>,
    /// All their replicas; of a load, the most that can be of use.
    pub replicas: u32,
    /// Indices into [`Problem::candidates`], ascending.
    pub candidates: Vec<usize>,
}

/// The groups of a problem, ordered by their first demand. Demands without replicas are in none.
pub(super) fn groups(problem: &Problem) -> Vec<Group> {
    let paired = problem.limits.iter().flat_map(|limit| pair(&limit.rule));
    let coupled: BTreeSet<usize> = paired.chain(talking(problem)).collect();
    let mut groups: Vec<Group> = Vec::new();
    let mut by_key: BTreeMap<(String, &[usize]), usize> = BTreeMap::new();
    for (index, demand) in problem.demands.iter().enumerate() {
        if demand.amount == Amount::Replicas(0) {
            continue;
        }
        let rates = demand.candidates.iter().map(|index| demand.rate(&problem.candidates[*index]));
        let replicas = demand.most(rates.fold(f64::INFINITY, f64::min));
        let alone = demand.together
            || demand.rules.spot.is_some()
            || !demand.rules.spread.is_empty()
            || matches!(demand.amount, Amount::Load(_))
            || coupled.contains(&index);
        // Types of GPU are in the candidates already.
        let models = problem.stored.iter().position(|stored| stored.demands.contains(&index));
        let is_counted = problem.weights.is_some() || problem.ceiling.is_some();
        let from = demand.rules.latency.as_ref().filter(|_| is_counted);
        let from = from.map(|rule| &rule.from);
        let charges = charges_key(problem, index);
        let needs = format!("{:?} {charges:?} {models:?} {from:?}", demand.size);
        let key = (needs, demand.candidates.as_slice());
        match by_key.get(&key) {
            Some(&group) if !alone => {
                groups[group].demands.push(index);
                groups[group].replicas += replicas;
            }
            _ => {
                if !alone {
                    by_key.insert(key, groups.len());
                }
                groups.push(Group {
                    demands: vec![index],
                    replicas,
                    candidates: demand.candidates.clone(),
                });
            }
        }
    }
    groups
}

/// By workload: its group.
pub(super) fn group_of<'a>(problem: &'a Problem, groups: &[Group]) -> BTreeMap<&'a str, usize> {
    let numbered = groups.iter().enumerate();
    let each = numbered.flat_map(|(number, group)| {
        let demands = group.demands.iter().map(|demand| &problem.demands[*demand]);
        demands.map(move |demand| (demand.workload.as_str(), number))
    });
    each.collect()
}

/// The demands that a rule on two of them names.
fn pair(rule: &Rule) -> impl Iterator<Item = usize> + use<> {
    let demands = match rule {
        Rule::Apart { demands } | Rule::SameSites { demands } => Some(*demands),
        _ => None,
    };
    demands.into_iter().flatten()
}

/// The demands that must not share a site, in pairs.
pub(super) fn apart(problem: &Problem) -> impl Iterator<Item = [usize; 2]> {
    problem.limits.iter().filter_map(|limit| match limit.rule {
        Rule::Apart { demands } => Some(demands),
        _ => None,
    })
}

/// The demands that must be at the same sites, in pairs.
pub(super) fn same_sites(problem: &Problem) -> impl Iterator<Item = [usize; 2]> {
    problem.limits.iter().filter_map(|limit| match limit.rule {
        Rule::SameSites { demands } => Some(demands),
        _ => None,
    })
}

/// All demands in sets that pairs tie together, each ascending.
pub(super) fn connected(
    problem: &Problem,
    pairs: impl Iterator<Item = [usize; 2]>,
) -> Vec<Vec<usize>> {
    let mut union = UnionFind::new(problem.demands.len());
    for [one, other] in pairs {
        union.union(one, other);
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for demand in 0..problem.demands.len() {
        sets.entry(union.find(demand)).or_default().push(demand);
    }
    sets.into_values().collect()
}

/// Whatever else of a demand's needs costs or counts: charges by cloud, and CPUs as capacity counts them.
fn charges_key(problem: &Problem, demand: usize) -> (u64, Vec<u64>) {
    let needs = &problem.demands[demand].needs;
    let clouds = problem.rate_cards.keys();
    let charges = clouds.map(|cloud| problem.charge_month(needs, cloud).to_bits());
    (needs.cpus.to_bits(), charges.collect())
}

/// Demands that call or are called.
fn talking(problem: &Problem) -> BTreeSet<usize> {
    problem.traffic.iter().flat_map(|traffic| [traffic.from, traffic.to]).collect()
}

/// Indices of the candidates that the solver needs to see, ascending.
pub(super) fn undominated(problem: &Problem, groups: &[Group]) -> Vec<usize> {
    let held = moves::held(problem).seats;
    let cover = Cover::new(problem, groups);
    let mut sites: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in problem.candidates.iter().enumerate() {
        if cover.users[index].iter().any(|word| *word != 0) {
            sites.entry(&candidate.site).or_default().push(index);
        }
    }
    for candidates in sites.values_mut() {
        let mut zones: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &index in candidates.iter() {
            zones.entry(&problem.candidates[index].zone).or_default().push(index);
        }
        candidates.retain(|&b| {
            held.contains_key(&b)
                || !zones[problem.candidates[b].zone.as_str()]
                    .iter()
                    .any(|&a| a != b && cover.holds(a, b) && (a < b || !cover.holds(b, a)))
        });
    }
    let mut left: Vec<usize> = sites.values().flatten().copied().collect();
    left.sort_by(|a, b| cover.price(*a).total_cmp(&cover.price(*b)).then(a.cmp(b)));
    if problem.ceiling.is_none() && problem.weights.is_none() {
        for candidates in sites.values_mut() {
            candidates.retain(|&b| {
                let cheaper = left.iter().copied().take_while(|a| cover.price(*a) < cover.price(b));
                held.contains_key(&b)
                    || cover.is_bound(b)
                    || !cheaper.into_iter().any(|a| cover.holds_from_afar(a, b))
            });
        }
        sites.retain(|_, candidates| !candidates.is_empty());
    }
    let sites: Vec<(&str, Vec<usize>)> = sites.into_iter().collect();
    let covers = |a: usize, b: usize| cover.site_holds(&sites[a], &sites[b]);
    let is_held = |site: usize| sites[site].1.iter().any(|index| held.contains_key(index));
    let kept = (0..sites.len()).filter(|&b| {
        is_held(b) || !(0..sites.len()).any(|a| a != b && covers(a, b) && (a < b || !covers(b, a)))
    });
    let mut kept: Vec<usize> = kept.flat_map(|site| sites[site].1.iter().copied()).collect();
    kept.sort_unstable();
    kept
}

struct Cover<'a> {
    problem: &'a Problem,
    groups: &'a [Group],
    /// For each candidate, the groups that may use it, as bits.
    users: Vec<Vec<u64>>,
    /// For each candidate, the limits that count its nodes or its GPUs or replicas, as indices.
    limits: Vec<Vec<usize>>,
    /// Demands that must be apart from another.
    apart: BTreeSet<usize>,
    talking: BTreeSet<usize>,
}

impl<'a> Cover<'a> {
    fn new(problem: &'a Problem, groups: &'a [Group]) -> Cover<'a> {
        let words = groups.len().div_ceil(64);
        let mut users = vec![vec![0u64; words]; problem.candidates.len()];
        for (number, group) in groups.iter().enumerate() {
            for &candidate in &group.candidates {
                users[candidate][number / 64] |= 1 << (number % 64);
            }
        }
        let mut limits = vec![Vec::new(); problem.candidates.len()];
        for (number, limit) in problem.limits.iter().enumerate() {
            for (index, candidate) in problem.candidates.iter().enumerate() {
                if counts(&limit.rule, index, candidate) {
                    limits[index].push(number);
                }
            }
        }
        let apart = apart(problem).flatten().collect();
        Cover { problem, groups, users, limits, apart, talking: talking(problem) }
    }

    /// Whether candidate `a` covers candidate `b`.
    fn holds(&self, a: usize, b: usize) -> bool {
        let (one, other) = (&self.problem.candidates[a], &self.problem.candidates[b]);
        // Zones are told apart for groups that must be spread over them.
        if one.zone != other.zone && (one.offering.zone.is_some() || other.offering.zone.is_some())
        {
            return false;
        }
        let prices = |c: &Candidate| (self.problem.node_objective(c), c.offering.price_hour);
        // A budget counts dollars, whatever else is minimised.
        if matches!(self.problem.ceiling, Some(Ceiling::CarbonKg(_)))
            && one.carbon_kg_month > other.carbon_kg_month
        {
            return false;
        }
        if prices(one) > prices(other)
            || one.price_month() > other.price_month()
            || !other.usable.fits_in(one.usable)
        {
            return false;
        }
        let spot = |c: &Candidate| c.offering.market == Market::Spot;
        if one.offering.max_nodes.is_some() || spot(one) && !spot(other) {
            return false;
        }
        if self.users[b].iter().zip(&self.users[a]).any(|(b, a)| b & !a != 0) {
            return false;
        }
        // A node of `a` has at least the GPUs of `b`; where they are counted it may not have more.
        let gpus_are_fine = |limit: &usize| {
            one.offering.gpus <= other.offering.gpus
                || !matches!(self.problem.limits[*limit].rule, Rule::Quota { .. })
        };
        let mut limits = self.limits[a].iter();
        limits.all(|limit| self.limits[b].contains(limit) && gpus_are_fine(limit))
            && self.serves_as_much(a, b)
            && self.charges_no_more(a, b)
    }

    fn price(&self, candidate: usize) -> f64 {
        self.problem.candidates[candidate].price_month()
    }

    /// Whether nodes of `a` are so much cheaper that they pay for another site.
    fn holds_from_afar(&self, a: usize, b: usize) -> bool {
        let site = &self.problem.candidates[a].site;
        let opening = self.problem.sites.get(site).map_or(0.0, |site| site.price_month);
        self.price(a) + opening < self.price(b) && self.holds(a, b)
    }

    /// Whether a group that may use it is not free to leave its site with some of its replicas alone.
    fn is_bound(&self, candidate: usize) -> bool {
        self.users_of(candidate).any(|group| {
            let mut demands = self.groups[group].demands.iter();
            demands.any(|index| {
                let demand = &self.problem.demands[*index];
                demand.together
                    || demand.elsewhere
                    || !demand.rules.spread.is_empty()
                    || self.apart.contains(index)
                    || self.problem.stored.iter().any(|stored| stored.demands.contains(index))
            })
        })
    }

    fn serves_as_much(&self, a: usize, b: usize) -> bool {
        let [one, other] = [a, b].map(|index| &self.problem.candidates[index]);
        one.offering.gpu_type == other.offering.gpu_type
            || self.users_of(b).all(|group| {
                let demand = &self.problem.demands[self.groups[group].demands[0]];
                demand.rate(one) >= demand.rate(other)
            })
    }

    fn charges_no_more(&self, a: usize, b: usize) -> bool {
        let [one, other] = [a, b].map(|index| &self.problem.candidates[index].offering.cloud);
        one == other
            || self.problem.rate_cards.is_empty()
            || self.users_of(b).all(|group| {
                let needs = &self.problem.demands[self.groups[group].demands[0]].needs;
                let charge = |cloud: &str| self.problem.charge_month(needs, cloud);
                charge(one) <= charge(other)
            })
    }

    fn users_of(&self, candidate: usize) -> impl Iterator<Item = usize> {
        let users = &self.users[candidate];
        (0..self.groups.len()).filter(|group| users[group / 64] >> (group % 64) & 1 == 1)
    }

    /// Whether a site covers another, each with its candidates that are left.
    fn site_holds(&self, one: &(&str, Vec<usize>), other: &(&str, Vec<usize>)) -> bool {
        let prices = |site: &str| {
            let price = self.problem.sites.get(site).copied().unwrap_or_default();
            (price.price_month, price.list_month)
        };
        let cloud = |candidates: &[usize]| {
            let first = candidates.first().map(|index| &self.problem.candidates[*index]);
            first.map(|candidate| &candidate.offering.cloud)
        };
        // Elsewhere is nearer or farther.
        !matches!(self.problem.ceiling, Some(Ceiling::LatencyMs(_)))
            && prices(one.0) <= prices(other.0)
            && other.1.iter().all(|&b| one.1.iter().any(|&a| self.holds(a, b)))
            && !self.must_spread(&other.1, cloud(&one.1) == cloud(&other.1))
            && !self.talks_dearer(one.0, other)
            && !self.is_farther(&one.1, &other.1)
            && self.problem.stored.iter().all(|stored| {
                let cost = |site: &str| stored.cost_month.get(site);
                // Who may be at `other` may be at `one`, so a cost at `other` alone cannot be.
                cost(other.0).is_none_or(|there| cost(one.0).is_some_and(|here| here <= there))
            })
    }

    /// Whether a group whose latency counts would be farther away at the first candidates' site.
    fn is_farther(&self, one: &[usize], other: &[usize]) -> bool {
        if self.problem.weights.as_ref().is_none_or(|weights| weights.latency == 0.0) {
            return false;
        }
        let (Some(one), Some(there)) = (one.first(), other.first()) else { return true };
        let [here, there] = [one, there].map(|index| &self.problem.candidates[*index]);
        let mut groups = other.iter().flat_map(|index| self.users_of(*index));
        groups.any(|group| {
            let demand = &self.problem.demands[self.groups[group].demands[0]];
            demand.latency_ms(here) > demand.latency_ms(there)
        })
    }

    /// Whether traffic of a group that may be at a site could cost more from another.
    fn talks_dearer(&self, one: &str, other: &(&str, Vec<usize>)) -> bool {
        let network = &self.problem.network;
        if self.talking.is_empty() || network.area_of[one] == network.area_of[other.0] {
            return false;
        }
        let mut groups = other.1.iter().flat_map(|index| self.users_of(*index));
        groups.any(|group| self.talking.contains(&self.groups[group].demands[0]))
    }

    /// Whether a group that may use these candidates has a rule on spreading or on being apart that a move would touch.
    fn must_spread(&self, candidates: &[usize], same_cloud: bool) -> bool {
        let groups = candidates.iter().flat_map(|index| self.users_of(*index));
        groups.into_iter().any(|group| {
            let mut demands = self.groups[group].demands.iter();
            demands.any(|demand| {
                let spread = &self.problem.demands[*demand].rules.spread;
                spread.iter().any(|spread| !(same_cloud && spread.over == SpreadOver::Cloud))
                    || self.apart.contains(demand)
            })
        })
    }
}

/// Whether a limit counts what is on this candidate.
pub(super) fn counts(rule: &Rule, index: usize, candidate: &Candidate) -> bool {
    match rule {
        Rule::Quota { .. } => rule.counts_gpus_of(candidate),
        Rule::CapacityGpus { cloud, .. }
        | Rule::CapacityCpus { cloud, .. }
        | Rule::CapacityNodes { cloud, .. } => candidate.offering.cloud == *cloud,
        Rule::Nodes { candidate, .. } => *candidate == index,
        // Spot, spread and being apart are asked of the market and the site; a budget, a single site and the
        // same sites are kept by moves that cost no more and move everything.
        Rule::Spot { .. }
        | Rule::LoadOffSpot { .. }
        | Rule::BaseOnDemand { .. }
        | Rule::LoadElsewhere { .. }
        | Rule::MaxReplicas { .. }
        | Rule::SpreadMin { .. }
        | Rule::ZoneMin { .. }
        | Rule::SpreadShare { .. }
        | Rule::Together { .. }
        | Rule::Apart { .. }
        | Rule::SameSites { .. }
        | Rule::Budget { .. } => false,
    }
}
