//! The mathematics: a [`Problem`] as a mixed-integer linear program.
//!
//! Indices: groups *g* of equal demands (`R_g` replicas, each takes `r_g^k` of resource *k*; of a demand that
//! is sized by load, `R_g` is the most that can be of use), candidates *o*
//! (a node gives `K_o^k`, costs `p_o` a month), sites *ρ* (control plane `q_ρ` a month).
//!
//! Weights of a model *m* at a site cost `v_m,ρ` a month; what traffic adds stands in `traffic.rs`.
//!
//! Columns: `x[g,o]` replicas, `n[o]` nodes, `y[ρ]` site open, and where a rule asks for them `z[s,·]`
//! cloud, region or site in use by *s*, `t[s,ρ]` the one site of *s*.
//!
//! ```text
//! minimise  Σ p_o·n[o] + Σ q_ρ·y[ρ] + Σ charge(g, cloud of o)·x[g,o] + Σ v_m,ρ·w[m,ρ] + traffic
//!
//! Σ_o x[g,o] = R_g                                       every replica has a seat
//! Σ_o rate[s,o]·x[s,o] ≥ load_s, Σ_o x[s,o] ≥ least_s    … or so many that they serve the load
//! Σ_g r_g^k·x[g,o] ≤ K_o^k·n[o]                          nodes hold them, resource by resource
//! x[g,o] ≤ ⌊min_k K_o^k / r_g^k⌋·n[o]                    … in whole replicas
//! Σ_{o in ρ} x[g,o] ≤ R_g·y[ρ]                           only at open sites
//! Σ_{o in ρ} x[g,o] ≤ R_g·w[m,ρ]                         weights are where their model is served
//! Σ gpus_o·n[o] ≤ quota                                  in a region, of a type
//! Σ r_g^k·x[g,o] ≤ capacity, Σ n[o] ≤ capacity           of a cloud
//! n[o] ≤ max_nodes                                       what exists or is reserved
//! Σ_{o spot} x[s,o] ≤ ⌊max_share·R_s⌋, ≤ R_s − base      spot
//! z[s,c] ≤ Σ_{o in c} x[s,o],  Σ_c z[s,c] ≥ min          spread
//! Σ_{o in c} x[s,o] ≤ ⌊max_share·R_s⌋                    spread
//! (min − 1)·Σ_{o in z} x[s,o] ≤ Σ_o x[s,o] − 1            spread over zones z
//! Σ_{o not spot} rate[s,o]·x[s,o] ≥ (1 − max_share)·load_s   spot, and …
//! Σ_{o not in c} rate[s,o]·x[s,o] ≥ (1 − max_share)·load_s   … spread, of a load
//! Σ_{o not spot} x[s,o] ≥ base, Σ_o x[s,o] ≤ autoscale.max   of a load
//! Σ_{o in ρ} x[s,o] ≤ R_s·t[s,ρ],  Σ_ρ t[s,ρ] = 1        split = false, gangs
//! Σ_{o in ρ} x[s,o] ≤ R_s·z[s,ρ],  z[s,ρ] ≤ Σ x[s,o]     z tells whether s is at ρ:
//! z[s,ρ] + z[t,ρ] ≤ 1                                    apart_from
//! z[s,ρ] = z[t,ρ]                                        together_with
//! ```
//!
//! Rows on spreading have others beside them that no placement breaks and that the relaxation does not keep by
//! itself: who is in a place has a whole node there, and an open site. With `most` replicas in one place at most,
//! `Σ_{o in c} x[s,o] ≤ most·Σ_{o in c} n[o]`.
//!
//! Where something runs already, `moves` adds what it is charged to leave it.
//!
//! A ceiling on the mean round trip of replicas, or on what nodes emit, is a row that only a front asks for.
//!
//! The budget is no row: what is minimised is compared with it afterwards. Where `weights` are minimised instead,
//! dollars count by theirs, a node by its carbon and a replica by its milliseconds; then the budget is a row. In the *elastic* form each
//! limit may be exceeded by an amount that is a column of its own, to find out which limits clash.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::Market;

use super::model::{Effort, Model, Outcome, Sense};
use super::moves::Move;
use super::packing::{Amounts, Counts, fitting, patterns};
use super::pareto::round_trip_ms;
use super::reduce::Group;
use super::traffic::{self, Edge};
use crate::config::SpreadOver;
use crate::problem::{Amount, Candidate, Ceiling, HOURS_MONTH, Problem, Rule};

pub(super) struct Formulation<'a> {
    pub problem: &'a Problem,
    pub groups: &'a [Group],
    /// The candidates in the model, ascending; columns are by position in it.
    pub kept: Vec<usize>,
    pub model: Model,
    /// By group: (position of the candidate, column).
    pub seats: Vec<Vec<(usize, usize)>>,
    /// By position of the candidate.
    pub nodes: Vec<usize>,
    /// What is minimised, by column: dollars a month, or what they and others weigh.
    pub cost: Vec<f64>,
    /// Dollars a month, by column, where weights are minimised instead.
    dollars: Option<Vec<f64>>,
    /// What decides between placements of equal cost, by column.
    pub preference: Vec<f64>,
    /// What could stay where it is.
    pub moves: Vec<Move>,
    /// In the elastic form: by how much limits are exceeded.
    pub slacks: Vec<Slack>,
    /// [`Formulation::presence`] of the groups that rules have asked for.
    present: BTreeMap<usize, BTreeMap<&'a str, usize>>,
    /// By position of the candidate: the column of its site.
    pub sites: Vec<usize>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Exact,
    Loose,
    Elastic,
}

/// How far one limit gives way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slack {
    /// Index into [`Problem::limits`].
    pub limit: usize,
    /// Column: the amount above (or below) the limit.
    pub amount: usize,
    /// Column: 1 where the amount is not 0.
    pub used: usize,
}

/// A set of nodes that cannot hold what the model put on them.
pub(super) struct Overfull {
    /// Position of the candidate.
    pub place: usize,
    /// Replicas, by group.
    pub counts: Counts,
    pub nodes: u32,
}

/// Dollars a month that one node and one site are worth avoiding where nothing else decides: a cent.
const TIE_MONTH: f64 = 0.01;

impl<'a> Formulation<'a> {
    pub fn new(problem: &'a Problem, groups: &'a [Group], kept: Vec<usize>) -> Formulation<'a> {
        Formulation::build(problem, groups, kept, Form::Exact)
    }

    /// The form without the rows that say what a node holds, for who puts whole nodes together.
    pub fn loose(problem: &'a Problem, groups: &'a [Group], kept: Vec<usize>) -> Formulation<'a> {
        Formulation::build(problem, groups, kept, Form::Loose)
    }

    /// The form in which every limit may be exceeded, for a price.
    pub fn elastic(problem: &'a Problem, groups: &'a [Group], kept: Vec<usize>) -> Formulation<'a> {
        Formulation::build(problem, groups, kept, Form::Elastic)
    }

    fn build(
        problem: &'a Problem,
        groups: &'a [Group],
        kept: Vec<usize>,
        form: Form,
    ) -> Formulation<'a> {
        let elastic = form == Form::Elastic;
        let mut this = Formulation {
            problem,
            groups,
            kept,
            model: Model::default(),
            seats: Vec::new(),
            nodes: Vec::new(),
            cost: Vec::new(),
            dollars: None,
            preference: Vec::new(),
            moves: Vec::new(),
            slacks: Vec::new(),
            present: BTreeMap::new(),
            sites: Vec::new(),
            form,
        };
        this.add_nodes();
        this.add_seats();
        if form != Form::Loose {
            this.add_node_capacity();
        }
        let sites = this.add_sites();
        this.add_weights();
        this.add_traffic();
        this.weigh();
        this.add_moves(&sites);
        this.add_ceiling();
        for limit in 0..problem.limits.len() {
            this.add_limit(limit, elastic);
        }
        this
    }

    /// By position of the candidate: what using it adds to the bound of a relaxation, at least. Who uses it
    /// has a node of it and a replica on it.
    pub fn extra(&self, by_column: &[f64]) -> Vec<f64> {
        let mut seats = vec![f64::INFINITY; self.kept.len()];
        for &(place, column) in self.seats.iter().flatten() {
            seats[place] = seats[place].min(by_column[column]);
        }
        self.nodes.iter().zip(seats).map(|(column, seat)| by_column[*column] + seat).collect()
    }

    /// Closes the candidates that cost more extra than this.
    pub fn exclude(&mut self, extra: &[f64], most: f64) {
        for (node, extra) in self.nodes.iter().zip(extra) {
            if *extra > most + 1e-6 {
                self.model.columns[*node].upper = 0.0;
            }
        }
    }

    /// Closes the candidates at sites without nodes.
    pub fn close_unused_sites(&mut self, nodes: &[Vec<Counts>]) {
        let used = nodes.iter().enumerate().filter(|(_, nodes)| !nodes.is_empty());
        let open: BTreeSet<&str> =
            used.map(|(place, _)| self.candidate(place).site.as_str()).collect();
        for place in 0..self.kept.len() {
            if !open.contains(self.candidate(place).site.as_str()) {
                self.model.columns[self.nodes[place]].upper = 0.0;
            }
        }
    }

    pub fn candidate(&self, place: usize) -> &'a Candidate {
        &self.problem.candidates[self.kept[place]]
    }

    /// What one replica of a group takes.
    pub fn size(&self, group: usize) -> Amounts {
        self.problem.demands[self.groups[group].demands[0]].size.array()
    }

    pub fn column(&mut self, upper: f64, integer: bool, cost: f64, preference: f64) -> usize {
        self.cost.push(cost);
        self.preference.push(preference);
        self.model.column(upper, integer)
    }

    fn add_nodes(&mut self) {
        // A node that holds nothing is never rented: no more nodes than replicas.
        let replicas: f64 = self.groups.iter().map(|group| f64::from(group.replicas)).sum();
        let step = TIE_MONTH / (1 + self.kept.len()) as f64;
        for place in 0..self.kept.len() {
            let candidate = self.candidate(place);
            let list_month = candidate.offering.price_hour * HOURS_MONTH;
            let tie = list_month + TIE_MONTH + step * place as f64;
            let column = self.column(replicas, true, candidate.price_month(), tie);
            self.nodes.push(column);
        }
    }

    fn add_seats(&mut self) {
        for group in self.groups {
            let demand = &self.problem.demands[group.demands[0]];
            let mut seats = Vec::new();
            for &index in &group.candidates {
                let Ok(place) = self.kept.binary_search(&index) else { continue };
                let candidate = self.candidate(place);
                let charge = self.problem.charge_month(&demand.needs, &candidate.offering.cloud);
                // Whoever may have one replica more or less has no more than it takes.
                let (upper, tie) = match demand.amount {
                    Amount::Replicas(_) => (f64::from(group.replicas), 0.0),
                    Amount::Load(_) => (f64::from(demand.most(demand.rate(candidate))), TIE_MONTH),
                };
                seats.push((place, self.column(upper, true, charge, tie)));
            }
            self.seats.push(seats);
            self.add_amount(self.seats.len() - 1);
        }
    }

    /// What the replicas of a group must be or serve together.
    fn add_amount(&mut self, group: usize) {
        let demand = &self.problem.demands[self.groups[group].demands[0]];
        let replicas: Vec<(usize, f64)> =
            self.seats[group].iter().map(|(_, column)| (*column, 1.0)).collect();
        match &demand.amount {
            Amount::Replicas(_) => {
                let all = f64::from(self.groups[group].replicas);
                self.model.row(replicas, Sense::Equal, all);
            }
            Amount::Load(load) => {
                let (terms, least) = self.serving(group, demand.asked(), |_| true);
                self.model.row(terms, Sense::AtLeast, least);
                self.model.row(replicas, Sense::AtLeast, f64::from(load.least));
            }
        }
    }

    /// What the replicas of a group serve on these candidates, and the load: both in units of what the
    /// slowest replica serves, so that the solver's tolerance is far below one replica. Where all rates
    /// are multiples of one, so is what they serve, and the load is rounded up to that.
    fn serving(
        &self,
        group: usize,
        load: f64,
        keep: impl Fn(&Candidate) -> bool,
    ) -> (Vec<(usize, f64)>, f64) {
        const FINEST: f64 = 1000.0;
        let demand = &self.problem.demands[self.groups[group].demands[0]];
        let seats = &self.seats[group];
        let rates: Vec<f64> =
            seats.iter().map(|(place, _)| demand.rate(self.candidate(*place))).collect();
        let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let whole = rates.iter().all(|rate| rate * FINEST < 1e12 && (rate * FINEST).fract() == 0.0);
        let unit = rates.iter().map(|rate| (rate * FINEST) as u64).fold(0, greatest_common_divisor);
        let load = match whole && unit > 0 {
            true => {
                let unit = unit as f64 / FINEST;
                (load / unit - 1e-9).ceil() * unit
            }
            false => load,
        };
        let terms = seats.iter().zip(&rates).filter(|((place, _), _)| keep(self.candidate(*place)));
        let terms = terms.map(|((_, column), rate)| (*column, rate / slowest)).collect();
        (terms, load / slowest)
    }

    /// By position of the candidate: (group, column).
    fn residents(&self) -> Vec<Vec<(usize, usize)>> {
        let mut residents = vec![Vec::new(); self.kept.len()];
        for (group, seats) in self.seats.iter().enumerate() {
            for &(place, column) in seats {
                residents[place].push((group, column));
            }
        }
        residents
    }

    fn add_node_capacity(&mut self) {
        for (place, residents) in self.residents().into_iter().enumerate() {
            let capacity = self.candidate(place).usable.array();
            let node = self.nodes[place];
            let mut tightest = vec![f64::INFINITY; residents.len()];
            for (k, capacity) in capacity.into_iter().enumerate() {
                let sizes: Vec<u64> = residents.iter().map(|(g, _)| self.size(*g)[k]).collect();
                let unit = sizes.iter().copied().fold(0, greatest_common_divisor);
                if unit == 0 {
                    continue;
                }
                // Everything comes in multiples of the unit: what is left of a node below it is waste.
                let whole = (capacity / unit) as f64;
                let mut terms = vec![(node, -whole)];
                for ((tightest, (_, column)), size) in
                    tightest.iter_mut().zip(&residents).zip(&sizes)
                {
                    let size = (size / unit) as f64;
                    *tightest = tightest.min(whole / size);
                    terms.push((*column, size));
                }
                terms.retain(|(_, factor)| *factor != 0.0);
                self.model.row(terms, Sense::AtMost, 0.0);
            }
            for ((group, column), tightest) in residents.iter().zip(tightest) {
                let fit = fitting(&self.size(*group), &capacity);
                let whole = f64::from(fit).min(self.model.columns[*column].upper);
                if whole < tightest - 1e-9 {
                    self.model.row(vec![(*column, 1.0), (node, -whole)], Sense::AtMost, 0.0);
                }
            }
        }
    }

    /// The sites' columns.
    fn add_sites(&mut self) -> BTreeMap<&'a str, usize> {
        let mut sites: BTreeMap<&'a str, usize> = BTreeMap::new();
        for place in 0..self.kept.len() {
            let site = self.candidate(place).site.as_str();
            if !sites.contains_key(site) {
                let price = self.problem.sites.get(site).copied().unwrap_or_default();
                let tie = price.list_month + TIE_MONTH;
                sites.insert(site, self.column(1.0, true, price.price_month, tie));
            }
            self.sites.push(sites[site]);
        }
        for group in 0..self.groups.len() {
            let replicas = f64::from(self.groups[group].replicas);
            let by_site = self.seats_by(group, |candidate| &candidate.site);
            for (site, mut terms) in by_site {
                terms.push((sites[site], -replicas));
                self.model.row(terms, Sense::AtMost, 0.0);
            }
        }
        sites
    }

    /// Turns dollars into the objective, where that is another.
    fn weigh(&mut self) {
        let Some(weights) = &self.problem.weights else { return };
        self.dollars = Some(self.cost.clone());
        for cost in &mut self.cost {
            *cost *= weights.cost;
        }
        for place in 0..self.kept.len() {
            self.cost[self.nodes[place]] += weights.carbon * self.candidate(place).carbon_kg_month;
        }
        for (group, seats) in self.groups.iter().zip(&self.seats) {
            let demand = &self.problem.demands[group.demands[0]];
            for &(place, column) in seats {
                let ms = demand.latency_ms(&self.problem.candidates[self.kept[place]]);
                self.cost[column] += weights.latency * ms;
            }
        }
    }

    fn add_weights(&mut self) {
        for stored in &self.problem.stored {
            let mut kept: BTreeMap<&'a str, usize> = BTreeMap::new();
            for group in 0..self.groups.len() {
                // Equal demands have equal models.
                if !stored.demands.contains(&self.groups[group].demands[0]) {
                    continue;
                }
                let replicas = f64::from(self.groups[group].replicas);
                for (site, mut terms) in self.seats_by(group, |candidate| &candidate.site) {
                    let cost = stored.cost_month[site];
                    if cost > 0.0 {
                        let column =
                            *kept.entry(site).or_insert_with(|| self.column(1.0, true, cost, 0.0));
                        terms.push((column, -replicas));
                        self.model.row(terms, Sense::AtMost, 0.0);
                    }
                }
            }
        }
    }

    fn add_traffic(&mut self) {
        let amounts = |demand: usize, mbps: f64| {
            let group =
                self.group_of(demand).expect("who calls or is called is alone in its group");
            let demand = &self.problem.demands[demand];
            let mut by_site: BTreeMap<&'a str, traffic::Amount> = BTreeMap::new();
            for &(place, column) in &self.seats[group] {
                let candidate = self.candidate(place);
                let share = demand.share_of_traffic(candidate);
                let amount = by_site.entry(candidate.site.as_str()).or_default();
                amount.terms.push((column, mbps * share));
            }
            by_site
        };
        let edges: Vec<Edge> = self
            .problem
            .traffic
            .iter()
            .map(|traffic| Edge {
                mbps: traffic.mbps,
                from: amounts(traffic.from, traffic.mbps),
                to: amounts(traffic.to, traffic.mbps),
            })
            .collect();
        traffic::add(&mut self.model, &mut self.cost, &self.problem.network, &edges);
        self.cost.resize(self.model.columns.len(), 0.0);
        self.preference.resize(self.model.columns.len(), 0.0);
    }

    /// The mean of round trips, `Σ (trip − ceiling)·x ≤ 0`; or what nodes emit, `Σ kg·n ≤ ceiling`.
    fn add_ceiling(&mut self) {
        let mut terms = Vec::new();
        let most = match self.problem.ceiling {
            None => return,
            Some(Ceiling::CarbonKg(most)) => {
                let emit = |place: usize| self.candidate(place).carbon_kg_month;
                terms.extend(
                    self.nodes.iter().enumerate().map(|(place, node)| (*node, emit(place))),
                );
                most
            }
            Some(Ceiling::LatencyMs(ceiling)) => {
                for (group, seats) in self.seats.iter().enumerate() {
                    let demand = &self.problem.demands[self.groups[group].demands[0]];
                    terms.extend(seats.iter().filter_map(|(place, column)| {
                        let trip = round_trip_ms(demand, self.candidate(*place))?;
                        Some((*column, trip - ceiling))
                    }));
                }
                0.0
            }
        };
        self.model.row(terms, Sense::AtMost, most);
    }

    /// The seats of a group by what their candidates share, as terms of a sum.
    fn seats_by(
        &self,
        group: usize,
        key: impl Fn(&'a Candidate) -> &'a String,
    ) -> BTreeMap<&'a str, Vec<(usize, f64)>> {
        let mut by: BTreeMap<&'a str, Vec<(usize, f64)>> = BTreeMap::new();
        for &(place, column) in &self.seats[group] {
            by.entry(key(self.candidate(place))).or_default().push((column, 1.0));
        }
        by
    }

    fn spread_by(&self, group: usize, over: SpreadOver) -> Vec<Vec<(usize, f64)>> {
        self.seats_by(group, |candidate| part(candidate, over)).into_values().collect()
    }

    /// The group of a demand that has a rule of its own.
    pub fn group_of(&self, demand: usize) -> Option<usize> {
        self.groups.iter().position(|group| group.demands == [demand])
    }

    fn add_limit(&mut self, limit: usize, elastic: bool) {
        let rule = &self.problem.limits[limit].rule;
        let places = 0..self.kept.len();
        match rule {
            Rule::Quota { max_gpus, .. } => {
                let terms = places.filter(|place| rule.counts_gpus_of(self.candidate(*place)));
                let terms = terms.map(|place| {
                    (self.nodes[place], f64::from(self.candidate(place).offering.gpus))
                });
                let terms = terms.collect();
                self.at_most(limit, elastic, vec![terms], f64::from(*max_gpus));
            }
            Rule::CapacityGpus { cloud, max } | Rule::CapacityCpus { cloud, max } => {
                let gpus = matches!(rule, Rule::CapacityGpus { .. });
                let mut terms = Vec::new();
                for (group, seats) in self.seats.iter().enumerate() {
                    let needs = &self.problem.demands[self.groups[group].demands[0]].needs;
                    let need = if gpus { f64::from(needs.gpus) } else { needs.cpus };
                    let there = seats.iter().filter(|(place, _)| {
                        need > 0.0 && self.candidate(*place).offering.cloud == *cloud
                    });
                    terms.extend(there.map(|(_, column)| (*column, need)));
                }
                self.at_most(limit, elastic, vec![terms], *max);
            }
            Rule::CapacityNodes { cloud, max } => {
                let there = places.filter(|place| self.candidate(*place).offering.cloud == *cloud);
                let terms = there.map(|place| (self.nodes[place], 1.0)).collect();
                self.at_most(limit, elastic, vec![terms], f64::from(*max));
            }
            Rule::Nodes { candidate, max } => {
                let Ok(place) = self.kept.binary_search(candidate) else { return };
                let terms = vec![(self.nodes[place], 1.0)];
                self.at_most(limit, elastic, vec![terms], f64::from(*max));
            }
            Rule::Spot { demand, max_replicas, .. } => {
                let Some(group) = self.group_of(*demand) else { return };
                let spot = self.seats[group]
                    .iter()
                    .filter(|(place, _)| self.candidate(*place).offering.market == Market::Spot);
                let terms = spot.map(|(_, column)| (*column, 1.0)).collect();
                self.at_most(limit, elastic, vec![terms], f64::from(*max_replicas));
            }
            Rule::SpreadShare { demand, over, max_replicas, .. } => {
                let Some(group) = self.group_of(*demand) else { return };
                let sums = self.spread_by(group, *over);
                for seats in &sums {
                    self.need_nodes(group, seats.clone(), *over, f64::from(*max_replicas));
                }
                self.at_most(limit, elastic, sums, f64::from(*max_replicas));
            }
            Rule::SpreadMin { demand, over, min } => {
                let Some(group) = self.group_of(*demand) else { return };
                let mut present = Vec::new();
                for mut seats in self.spread_by(group, *over) {
                    let column = self.column(1.0, true, 0.0, 0.0);
                    present.push((column, 1.0));
                    self.need_presence(group, &seats, column);
                    for (_, factor) in &mut seats {
                        *factor = -1.0;
                    }
                    seats.push((column, 1.0));
                    self.model.row(seats, Sense::AtMost, 0.0);
                }
                let min = f64::from(*min);
                if elastic {
                    present.push((self.slack(limit, min), 1.0));
                }
                self.model.row(present, Sense::AtLeast, min);
            }
            Rule::ZoneMin { demand, min } => self.add_zone_min(limit, *demand, *min, elastic),
            Rule::LoadOffSpot { demand, min, .. } => {
                let Some(group) = self.group_of(*demand) else { return };
                let steady = |one: &Candidate| one.offering.market != Market::Spot;
                self.at_least(limit, elastic, vec![self.serving(group, *min, steady)]);
            }
            Rule::LoadElsewhere { demand, over, min, .. } => {
                let Some(group) = self.group_of(*demand) else { return };
                let seats = self.seats[group].iter();
                let places: BTreeSet<&String> =
                    seats.map(|(place, _)| part(self.candidate(*place), *over)).collect();
                let sums = places.into_iter().map(|lost| {
                    let elsewhere = |one: &Candidate| part(one, *over) != lost;
                    self.serving(group, *min, elsewhere)
                });
                self.at_least(limit, elastic, sums.collect());
            }
            Rule::BaseOnDemand { demand, min } => {
                let Some(group) = self.group_of(*demand) else { return };
                let steady = self.seats[group]
                    .iter()
                    .filter(|(place, _)| self.candidate(*place).offering.market != Market::Spot);
                let terms = steady.map(|(_, column)| (*column, 1.0)).collect();
                self.at_least(limit, elastic, vec![(terms, f64::from(*min))]);
            }
            Rule::MaxReplicas { demand, max } => {
                let Some(group) = self.group_of(*demand) else { return };
                let terms = self.seats[group].iter().map(|(_, column)| (*column, 1.0)).collect();
                self.at_most(limit, elastic, vec![terms], f64::from(*max));
            }
            Rule::Together { demand } => {
                let Some(group) = self.group_of(*demand) else { return };
                let replicas = f64::from(self.groups[group].replicas);
                let mut chosen = Vec::new();
                for (_, mut seats) in self.seats_by(group, |candidate| &candidate.site) {
                    let column = self.column(1.0, true, 0.0, 0.0);
                    chosen.push((column, 1.0));
                    seats.push((column, -replicas));
                    self.model.row(seats, Sense::AtMost, 0.0);
                }
                self.at_most(limit, elastic, vec![chosen], 1.0);
            }
            Rule::Apart { demands } => {
                let Some(both) = self.presence_of(demands) else { return };
                let shared = both[0]
                    .iter()
                    .filter_map(|(site, one)| Some(vec![(*one, 1.0), (*both[1].get(site)?, 1.0)]));
                self.at_most(limit, elastic, shared.collect(), 1.0);
            }
            Rule::SameSites { demands } => {
                let Some([one, other]) = self.presence_of(demands) else { return };
                let mut without = Vec::new();
                for (these, those) in [(&one, &other), (&other, &one)] {
                    for (site, here) in these {
                        let there = those.get(site).map(|there| (*there, -1.0));
                        without.push([(*here, 1.0)].into_iter().chain(there).collect());
                    }
                }
                self.at_most(limit, elastic, without, 0.0);
            }
            Rule::Budget { max_month } => {
                // The cheapest placement tells of itself whether it is above; the best by weights may be
                // above where a cheaper one is not.
                let Some(dollars) = &self.dollars else { return };
                let terms = dollars.iter().copied().enumerate().filter(|(_, price)| *price != 0.0);
                // Less by what the solver may be off.
                self.at_most(limit, elastic, vec![terms.collect()], max_month - 1e-5);
            }
        }
    }

    /// Where at most so many replicas are in one place, each so many of them need a node there, and the first
    /// an open site.
    fn need_nodes(&mut self, group: usize, seats: Vec<(usize, f64)>, over: SpreadOver, most: f64) {
        if self.form != Form::Exact {
            return;
        }
        let (nodes, sites) = self.under(group, &seats);
        let mut rows = vec![nodes];
        // Many zones may share the site that the first of them opens.
        if over == SpreadOver::Region {
            rows.push(sites);
        }
        for columns in rows {
            let terms = columns.into_iter().map(|column| (column, -most));
            let terms = seats.iter().copied().chain(terms).collect();
            self.model.row(terms, Sense::AtMost, 0.0);
        }
    }

    /// Who is in a place, as a column tells, has a node there and an open site.
    fn need_presence(&mut self, group: usize, seats: &[(usize, f64)], present: usize) {
        if self.form != Form::Exact {
            return;
        }
        let (nodes, sites) = self.under(group, seats);
        for columns in [nodes, sites] {
            let terms = columns.into_iter().map(|column| (column, -1.0));
            let terms = [(present, 1.0)].into_iter().chain(terms).collect();
            self.model.row(terms, Sense::AtMost, 0.0);
        }
    }

    /// The nodes that some of a group's seats are on, and the sites.
    fn under(&self, group: usize, seats: &[(usize, f64)]) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let here: BTreeSet<usize> = seats.iter().map(|(column, _)| *column).collect();
        let places = self.seats[group].iter().filter(|(_, column)| here.contains(column));
        let places = places.map(|(place, _)| (self.nodes[*place], self.sites[*place]));
        places.unzip()
    }

    /// No zone holds so many replicas that fewer than `min` zones could hold all.
    fn add_zone_min(&mut self, limit: usize, demand: usize, min: u32, elastic: bool) {
        let Some(group) = self.group_of(demand) else { return };
        let (others, replicas) = (min.saturating_sub(1), self.groups[group].replicas);
        if others == 0 {
            return;
        }
        let slack =
            elastic.then(|| self.slack(limit, f64::from(others) * f64::from(replicas) + 1.0));
        let is_counted = matches!(self.problem.demands[demand].amount, Amount::Replicas(_));
        for mut terms in self.spread_by(group, SpreadOver::Zone) {
            let mut most = f64::from(replicas.saturating_sub(1) / others);
            if is_counted {
                self.need_nodes(group, terms.clone(), SpreadOver::Zone, most);
            } else {
                // Their number is part of the decision.
                let mut factors: BTreeMap<usize, f64> =
                    self.seats[group].iter().map(|(_, column)| (*column, -1.0)).collect();
                for (column, _) in &terms {
                    *factors.entry(*column).or_default() += f64::from(others);
                }
                terms = factors.into_iter().filter(|(_, factor)| *factor != 0.0).collect();
                most = -1.0;
            }
            terms.extend(slack.map(|slack| (slack, -1.0)));
            self.model.row(terms, Sense::AtMost, most);
        }
    }

    /// Of each of two demands, by site, the column that tells whether it is there.
    fn presence_of(&mut self, demands: &[usize; 2]) -> Option<[BTreeMap<&'a str, usize>; 2]> {
        let [one, other] = demands.map(|demand| self.group_of(demand));
        let [one, other] = [one?, other?];
        Some([self.presence(one), self.presence(other)])
    }

    /// By site, the column that is 1 where the group has a replica and 0 where it has none.
    fn presence(&mut self, group: usize) -> BTreeMap<&'a str, usize> {
        if let Some(known) = self.present.get(&group) {
            return known.clone();
        }
        let replicas = f64::from(self.groups[group].replicas);
        let mut present = BTreeMap::new();
        for (site, seats) in self.seats_by(group, |candidate| &candidate.site) {
            let column = self.column(1.0, true, 0.0, 0.0);
            present.insert(site, column);
            let below = seats.iter().copied().chain([(column, -replicas)]);
            self.model.row(below.collect(), Sense::AtMost, 0.0);
            let above = seats.iter().map(|(seat, _)| (*seat, -1.0)).chain([(column, 1.0)]);
            self.model.row(above.collect(), Sense::AtMost, 0.0);
        }
        self.present.insert(group, present.clone());
        present
    }

    /// Each of the sums is at most `max`; in the elastic form all may exceed it by the same amount.
    fn at_most(&mut self, limit: usize, elastic: bool, sums: Vec<Vec<(usize, f64)>>, max: f64) {
        let uppers = sums.iter().map(|terms| {
            let most = |(column, factor): &(usize, f64)| {
                (factor * self.model.columns[*column].upper).max(0.0)
            };
            terms.iter().map(most).sum()
        });
        let most: f64 = uppers.fold(0.0, f64::max);
        // What cannot be reached is no limit.
        if most <= max {
            return;
        }
        let slack = elastic.then(|| self.slack(limit, most));
        for mut terms in sums {
            terms.extend(slack.map(|slack| (slack, -1.0)));
            self.model.row(terms, Sense::AtMost, max);
        }
    }

    /// Each of the sums is at least what stands beside it; in the elastic form all may stay below it by the
    /// same amount.
    fn at_least(&mut self, limit: usize, elastic: bool, sums: Vec<(Vec<(usize, f64)>, f64)>) {
        let most = sums.iter().map(|(_, min)| *min).fold(0.0, f64::max);
        let slack = (elastic && most > 0.0).then(|| self.slack(limit, most));
        for (mut terms, min) in sums {
            terms.extend(slack.map(|slack| (slack, 1.0)));
            self.model.row(terms, Sense::AtLeast, min);
        }
    }

    fn slack(&mut self, limit: usize, most: f64) -> usize {
        let amount = self.column(most, false, 0.0, 0.0);
        let used = self.column(1.0, true, 0.0, 0.0);
        self.model.row(vec![(amount, 1.0), (used, -most)], Sense::AtMost, 0.0);
        self.slacks.push(Slack { limit, amount, used });
        amount
    }

    /// Cuts off nodes that cannot hold what is on them, and nothing that can be packed.
    ///
    /// First by weights. Let `w ≥ 0` be such that no node holds items of more weight than 1, whichever
    /// pattern of items it holds; then `Σ w_g·x[g,o] ≤ n[o]` for every packing, summed node by node. The
    /// weights are the dual values of the packing's own linear program over all patterns, so if any
    /// weights exclude this set of nodes, these do. They hold as well for every candidate whose nodes are
    /// no larger, because its patterns are some of these.
    ///
    /// Otherwise by cases. More replicas of each group need at least as many nodes, so with
    /// `b_g = 1 where x[g,o] ≥ counts_g` no packing breaks `n[o] ≥ (nodes + 1)·(1 − Σ(1 − b_g))`.
    pub fn cut(&mut self, overfull: &Overfull) {
        if !self.cut_by_weights(overfull) {
            self.cut_by_cases(overfull);
        }
    }

    fn cut_by_weights(&mut self, overfull: &Overfull) -> bool {
        let Overfull { place, counts, nodes } = overfull;
        let here: Vec<usize> = (0..counts.len()).filter(|group| counts[*group] > 0).collect();
        let sizes: Vec<Amounts> = here.iter().map(|group| self.size(*group)).collect();
        let replicas: Counts = here.iter().map(|group| self.groups[*group].replicas).collect();
        let usable = self.candidate(*place).usable;
        let Some(patterns) = patterns(&sizes, &replicas, usable.array()) else { return false };
        let counted: Vec<f64> = here.iter().map(|group| f64::from(counts[*group])).collect();
        let Some(weights) = heaviest(&counted, &patterns) else { return false };
        let weight: f64 = weights.iter().zip(&counted).map(|(weight, count)| weight * count).sum();
        // A cut that the solver's tolerance forgives would come back for ever.
        if weight < f64::from(*nodes) + 1e-4 {
            return false;
        }
        for other in 0..self.kept.len() {
            if !self.candidate(other).usable.fits_in(usable) {
                continue;
            }
            let column = |group: usize| {
                let seats = &self.seats[group];
                let found = seats.binary_search_by_key(&other, |(place, _)| *place).ok()?;
                Some(seats[found].1)
            };
            let seated = here.iter().zip(&weights).filter(|(_, weight)| **weight > 0.0);
            let seated = seated.filter_map(|(group, weight)| Some((column(*group)?, *weight)));
            let mut terms: Vec<(usize, f64)> = seated.collect();
            if terms.len() > 1 || other == *place {
                terms.push((self.nodes[other], -1.0));
                self.model.row(terms, Sense::AtMost, 0.0);
            }
        }
        true
    }

    fn cut_by_cases(&mut self, overfull: &Overfull) {
        let Overfull { place, counts, nodes } = overfull;
        let needed = f64::from(*nodes) + 1.0;
        let here = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut terms = vec![(self.nodes[*place], 1.0)];
        for (group, &count) in here {
            let seats = &self.seats[group];
            let Ok(found) = seats.binary_search_by_key(place, |(place, _)| *place) else {
                continue;
            };
            let seat = seats[found].1;
            let reached = self.column(1.0, true, 0.0, 0.0);
            let rest = f64::from(self.groups[group].replicas) - f64::from(count) + 1.0;
            let below = vec![(seat, 1.0), (reached, -rest)];
            self.model.row(below, Sense::AtMost, f64::from(count) - 1.0);
            terms.push((reached, -needed));
        }
        let groups = (terms.len() - 1) as f64;
        self.model.row(terms, Sense::AtLeast, needed * (1.0 - groups));
    }
}

/// The cloud, region or zone that a candidate is in.
pub(super) fn part(candidate: &Candidate, over: SpreadOver) -> &String {
    match over {
        SpreadOver::Cloud => &candidate.offering.cloud,
        SpreadOver::Region => &candidate.site,
        SpreadOver::Zone => &candidate.zone,
    }
}

/// Weights of at most 1 in every pattern that make `counts` weigh most.
fn heaviest(counts: &[f64], patterns: &[Counts]) -> Option<Vec<f64>> {
    let mut model = Model::default();
    for _ in counts {
        model.column(1.0, false);
    }
    for pattern in patterns {
        let terms = pattern.iter().enumerate().filter(|(_, count)| **count > 0);
        let terms = terms.map(|(kind, count)| (kind, f64::from(*count)));
        model.row(terms.collect(), Sense::AtMost, 1.0);
    }
    let objective: Vec<f64> = counts.iter().map(|count| -count).collect();
    let Outcome::Solved { values, .. } = model.minimise(&objective, None, Effort::new(0.0, 1))
    else {
        return None;
    };
    // The solver's answer may be off by its tolerance. Rounded down and divided by the heaviest pattern,
    // what is promised holds exactly, whatever the solver said.
    let weights: Vec<f64> = values.iter().map(|w| (w.max(0.0) * 1e6).floor() / 1e6).collect();
    let weigh = |pattern: &Counts| -> f64 {
        pattern.iter().zip(&weights).map(|(count, weight)| f64::from(*count) * weight).sum()
    };
    let heaviest = patterns.iter().map(weigh).fold(1.0, f64::max);
    Some(weights.iter().map(|weight| weight / heaviest).collect())
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
