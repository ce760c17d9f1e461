//! Stack and offerings → [`Problem`]: what is to be decided, with every number the decision needs and no
//! decision in it.
//!
//! Invariants of a posed problem: demands are ordered by name, candidates by id; every demand has at
//! least one candidate and every candidate is of use to some demand; every limit knows the line of the
//! stack it came from.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Cloud, Market, Needs, Offering, Quota, RateCard, Tariff};

use crate::config::{self, LoadSize, ObjectiveWeights, PlacementRules, Stack, Workload};
use crate::diagnostic::Diagnostic;
use crate::placement::Placement;

mod amount;
mod carbon;
mod fit;
mod limits;
mod network;
mod pairs;
mod size;
mod what_if;
mod zones;

pub use amount::{Amount, Load, requests};
pub use carbon::WORLD_GRAMS_KWH;
pub(crate) use fit::{EEA_BESIDE_EU, EU};
pub use limits::{Limit, Origin, Rule, SpotSaid};
pub use network::{
    Area, Carriage, GB_MONTH_PER_MBPS, Ladder, Network, Stored, TRANSFER_MONTHS, Traffic,
};
pub use size::Size;
pub use what_if::Conditions;

use limits::Origins;

/// Hours of a month, everywhere.
pub const HOURS_MONTH: f64 = 730.0;
/// More replicas than any fleet has: a slip of the hand is told, not computed.
const MAX_REPLICAS: u32 = 100_000;

/// Demands, offerings, limits and the last placement.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Ordered by workload.
    pub demands: Vec<Demand>,
    /// Ordered by id.
    pub candidates: Vec<Candidate>,
    /// What one cluster costs, by site (`aws/us-east-1`).
    pub sites: BTreeMap<String, SitePrice>,
    /// Negotiated unit rates, by cloud.
    pub rate_cards: BTreeMap<String, RateCard>,
    /// Calls between services, ordered by caller and callee.
    pub traffic: Vec<Traffic>,
    /// What they cost between the sites; empty without traffic.
    pub network: Network,
    /// Weights of the models in use, ordered by model.
    pub stored: Vec<Stored>,
    pub limits: Vec<Limit>,
    /// What an objective other than the cost is made of.
    pub weights: Option<ObjectiveWeights>,
    /// What runs now, as far as is known.
    pub last: Option<Placement>,
    /// Share of what a placement gives up of the last one that doing so must save.
    pub move_penalty: f64,
    /// Where one asks what could be had below it.
    pub ceiling: Option<Ceiling>,
    pub warnings: Vec<Diagnostic>,
}

/// A most that no stack asks for: a point on a front.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ceiling {
    /// The mean round trip of the replicas whose workloads say where they are asked from.
    LatencyMs(f64),
    /// What all nodes emit in a month.
    CarbonKg(f64),
}

/// What the replicas of one workload need and where they may run.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The instance name: `chat`.
    pub workload: String,
    /// As the user would write it: `service.chat`.
    pub reference: String,
    pub amount: Amount,
    pub needs: Needs,
    pub size: Size,
    pub rules: PlacementRules,
    /// All replicas at one site.
    pub together: bool,
    /// Replicas may be of use for where they are: who calls it or is called by it, or must be at its sites, is
    /// near them.
    pub elsewhere: bool,
    /// Indices into [`Problem::candidates`], ascending.
    pub candidates: Vec<usize>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// An offering with what it gives and costs here, before anybody asked for it.
struct Offer<'a> {
    offering: &'a Offering,
    usable: Size,
    price_hour: f64,
    reserved: bool,
}

/// An offer that some demand may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// [`Offering::id`].
    pub id: String,
    /// [`Offering::site`].
    pub site: String,
    /// What fails together, as far as is told apart: `aws/us-east-1/use1-az1`, or the site.
    pub zone: String,
    pub offering: Offering,
    /// What replicas may take of one node.
    pub usable: Size,
    /// Dollars for one node after the discount; 0 where a rate card replaces list prices.
    pub price_hour: f64,
    /// Its nodes are a reservation's: paid for already.
    pub reserved: bool,
    /// Of CO2 equivalent, by one node.
    pub carbon_kg_month: f64,
}

/// Dollars a month for a site's control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SitePrice {
    /// After the discount; 0 where a rate card replaces list prices.
    pub price_month: f64,
    pub list_month: f64,
}

impl Candidate {
    /// What one more node costs, in dollars a month.
    pub fn price_month(&self) -> f64 {
        if self.reserved { 0.0 } else { self.price_hour * HOURS_MONTH }
    }
}

impl Demand {
    /// The estimated round trip between those who use it and a candidate, for who says where they are.
    pub fn latency_ms(&self, candidate: &Candidate) -> f64 {
        let rule = self.rules.latency.as_ref();
        let place = candidate.offering.location.as_ref();
        rule.zip(place).map_or(0.0, |(rule, place)| place.round_trip_ms(&rule.from))
    }
}

impl Problem {
    /// What one node counts in the objective, by month.
    pub fn node_objective(&self, candidate: &Candidate) -> f64 {
        match &self.weights {
            None => candidate.price_month(),
            Some(weights) => {
                weights.cost * candidate.price_month() + weights.carbon * candidate.carbon_kg_month
            }
        }
    }

    /// What a dollar counts in the objective.
    pub fn cost_weight(&self) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights.cost)
    }

    /// What a cloud's rate card charges for one replica, in dollars a month; 0 without one.
    pub fn charge_month(&self, needs: &Needs, cloud: &str) -> f64 {
        self.rate_cards.get(cloud).map_or(0.0, |card| {
            card.gpu_month * f64::from(needs.gpus)
                + card.cpu_month * needs.cpus
                + card.memory_gib_month * needs.memory_gib
                + card.storage_tb_month * needs.storage_tb
                + card.network_mbps_month * needs.network_mbps
        })
    }
}

/// Poses the placement problem of a stack: what its workloads need, what may be rented for them and
/// which limits hold.
///
/// `offerings`, `quotas` and `tariffs` are by the cloud's name; a cloud that is missing offers nothing, has only
/// its declared quotas and charges for nodes alone.
/// Their order does not matter.
///
/// # Errors
/// Everything that makes the stack impossible before any choice is made: workloads that no offering
/// fits, regions and instance types nobody offers, rules that are not supported.
pub fn pose(
    stack: &Stack,
    offerings: &BTreeMap<String, Vec<Offering>>,
    quotas: &BTreeMap<String, Vec<Quota>>,
    tariffs: &BTreeMap<String, Tariff>,
    last: Option<&Placement>,
) -> Result<Problem, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let mut reserved: Vec<Offering> = Vec::new();
    for (name, cloud) in &stack.clouds {
        let offered = offerings.get(name).map_or(&[][..], Vec::as_slice);
        errors.extend(fit::unknown_regions(stack, cloud, offered));
        match reservations(stack, cloud, offered, tariffs.get(name)) {
            Ok(offerings) => reserved.extend(offerings),
            Err(unknown) => errors.extend(unknown),
        }
    }
    let offers = offers(stack, offerings, &reserved);

    let origins = Origins::new(stack);
    let mut demands = Vec::new();
    let offered = fit::Offered::new(&offers);
    for (name, workload) in &stack.workloads {
        warnings.extend(fit::doubtful_gpu_types(stack, workload, &offered));
        match fit::candidates(stack, workload, &offered) {
            Ok(candidates) => demands.push(demand(&origins, name, workload, candidates)),
            Err(error) => errors.extend(error),
        }
    }
    // Before the candidates are made: many offers are of use to nobody.
    let (useful, _) = keep_useful(offers, &mut demands);
    let useful = useful.into_iter();
    let mut candidates: Vec<Candidate> = useful.map(|offer| candidate(offer, tariffs)).collect();
    errors.extend(zones::tell_apart(&mut demands, &mut candidates, tariffs));
    errors.extend(too_many(&demands, &candidates));
    if !errors.is_empty() {
        return Err(errors);
    }

    let sites = site_prices(stack, &candidates, tariffs);
    let rate_cards = stack.clouds.iter();
    let rate_cards = rate_cards
        .filter_map(|(name, cloud)| Some((name.clone(), cloud.rate_card.clone()?)))
        .collect();
    let limits = limits::of(&origins, quotas, &demands, &candidates);
    let pairs = pairs::without_a_site(&limits, &demands, &candidates);
    if !pairs.is_empty() {
        return Err(pairs);
    }
    let traffic = network::traffic(&origins, &demands);
    let near = limits.iter().filter_map(|limit| match limit.rule {
        Rule::SameSites { demands } => Some(demands),
        _ => None,
    });
    for demand in near.chain(traffic.iter().map(|one| [one.from, one.to])).flatten() {
        demands[demand].elsewhere = true;
    }
    let network = match traffic.is_empty() {
        true => Network::default(),
        false => network::network(stack, &candidates, tariffs),
    };
    warnings.extend(doubtful_weights(stack, &demands, &candidates, tariffs));
    Ok(Problem {
        weights: stack.optimize.weights.clone(),
        stored: network::stored(stack, &demands, &candidates, tariffs),
        demands,
        candidates,
        sites,
        rate_cards,
        traffic,
        network,
        limits,
        last: last.cloned(),
        move_penalty: stack.optimize.move_penalty,
        ceiling: None,
        warnings,
    })
}

fn too_many(demands: &[Demand], all: &[Candidate]) -> Option<Diagnostic> {
    // Of a load, as many as it takes of the fastest.
    let fewest = |demand: &Demand| match demand.amount {
        Amount::Replicas(replicas) => f64::from(replicas),
        Amount::Load(_) => {
            let rates = demand.candidates.iter().map(|index| demand.rate(&all[*index]));
            (demand.asked() / rates.fold(0.0, f64::max)).ceil()
        }
    };
    let replicas: f64 = demands.iter().map(fewest).sum();
    if replicas <= f64::from(MAX_REPLICAS) {
        return None;
    }
    let detail = format!(
        "The stack asks for {replicas} replicas; at most {MAX_REPLICAS} are placed together."
    );
    let largest = demands.iter().max_by(|a, b| fewest(a).total_cmp(&fewest(b)));
    let span = largest.and_then(|demand| demand.origin.span.clone());
    Some(Diagnostic::error("Too many replicas", detail).at(span))
}

/// What the clouds offer and what is reserved in them, ordered by id.
fn offers<'a>(
    stack: &Stack,
    offerings: &'a BTreeMap<String, Vec<Offering>>,
    reserved: &'a [Offering],
) -> Vec<Offer<'a>> {
    let offer = |offering: &'a Offering, cloud: &Cloud, reserved| Offer {
        offering,
        usable: Size::of_node(offering),
        price_hour: match cloud.rate_card {
            Some(_) => 0.0,
            None => offering.price_hour * (1.0 - cloud.discount),
        },
        reserved,
    };
    let number = offerings.values().map(Vec::len).sum::<usize>() + reserved.len();
    let mut offers = Vec::with_capacity(number);
    for (name, cloud) in &stack.clouds {
        // A price that is no number is a hole in a catalog: the offering cannot be compared.
        let offered = offerings.get(name).into_iter().flatten();
        let priced = offered.filter(|o| o.price_hour.is_finite() && o.price_hour >= 0.0);
        offers.extend(priced.map(|offering| offer(offering, cloud, false)));
    }
    offers.extend(reserved.iter().map(|o| offer(o, &stack.clouds[&o.cloud], true)));
    // A reservation's own offering wins over a catalog's of the same name, then the cheaper one.
    offers.sort_by(|a, b| {
        let by_id = a.offering.cmp_by_id(b.offering).then(b.reserved.cmp(&a.reserved));
        by_id.then(a.price_hour.total_cmp(&b.price_hour))
    });
    offers.dedup_by(|later, first| later.offering.cmp_by_id(first.offering).is_eq());
    offers
}

fn candidate(offer: Offer, tariffs: &BTreeMap<String, Tariff>) -> Candidate {
    let Offer { offering, usable, price_hour, reserved } = offer;
    let site = offering.site();
    Candidate {
        id: offering.id(),
        zone: zones::of(&site, offering.zone.as_deref()),
        site,
        offering: offering.clone(),
        usable,
        price_hour,
        reserved,
        carbon_kg_month: carbon::kg_month(offering, tariffs.get(&offering.cloud)),
    }
}

/// One offering of the `reserved` market for each reserved instance type: as many nodes as are
/// reserved, at no further cost. Beside the on-demand offering of the same type this says just "the
/// first N nodes are paid for".
fn reservations(
    stack: &Stack,
    cloud: &Cloud,
    offered: &[Offering],
    tariff: Option<&Tariff>,
) -> Result<Vec<Offering>, Vec<Diagnostic>> {
    let mut reserved: BTreeMap<String, Offering> = BTreeMap::new();
    let mut errors = Vec::new();
    // One without nodes does not hold now.
    let holding = cloud.reservations.iter().enumerate().filter(|(_, one)| one.nodes > 0);
    for (index, reservation) in holding {
        let found = offered
            .iter()
            .filter(|offering| offering.region == reservation.region)
            .filter(|offering| offering.instance_type == reservation.instance_type)
            .min_by_key(|offering| offering.market);
        let Some(offering) = found else {
            let path = format!("cloud.{}.reservation.{index}", cloud.name);
            errors.push(fit::unknown_reservation(stack, &path, reservation, offered));
            continue;
        };
        errors.extend(zones::unknown(stack, cloud, index, offering, tariff));
        let mut reserved_offering = Offering {
            market: Market::Reserved,
            zone: reservation.zone.clone(),
            ..offering.clone()
        };
        let id = reserved_offering.id();
        let before = reserved.get(&id).and_then(|offering| offering.max_nodes);
        reserved_offering.max_nodes = Some(before.unwrap_or(0).saturating_add(reservation.nodes));
        reserved.insert(id, reserved_offering);
    }
    if errors.is_empty() { Ok(reserved.into_values().collect()) } else { Err(errors) }
}

fn demand(origins: &Origins, name: &str, workload: &Workload, candidates: Vec<usize>) -> Demand {
    // A gang trains over one network: unless the user says that it may be split, it stays at one site.
    let split_is_said =
        origins.stack.spans.contains_key(&format!("{}.placement.split", workload.path));
    let together = match (&workload.job, split_is_said) {
        (Some(_), false) => true,
        _ => !workload.placement.split,
    };
    Demand {
        workload: name.to_owned(),
        reference: workload.reference.clone(),
        amount: match &workload.amount {
            config::Amount::Replicas(replicas) => Amount::Replicas(*replicas),
            config::Amount::Load(load) => Amount::Load(Load {
                requests_per_second: match load.size {
                    LoadSize::Known(size) => size,
                    LoadSize::Query(_) => panic!("loads are measured before a problem is posed"),
                },
                rates: load.rates.clone(),
                // A service answers, however little it is asked.
                least: workload.autoscale.as_ref().map_or(1, |bounds| bounds.min),
            }),
        },
        needs: workload.needs.clone(),
        size: Size::of_replica(&workload.needs),
        rules: workload.placement.clone(),
        together,
        elsewhere: false,
        candidates,
        origin: origins.of(&workload.path),
    }
}

/// Drops the candidates (or offers) that no demand may use and renumbers the demands' lists. With it: the new
/// number of each by its old one.
fn keep_useful<T>(all: Vec<T>, demands: &mut [Demand]) -> (Vec<T>, Vec<Option<usize>>) {
    let mut is_used = vec![false; all.len()];
    for index in demands.iter().flat_map(|demand| &demand.candidates) {
        is_used[*index] = true;
    }
    let mut kept = 0..;
    let renumbered: Vec<Option<usize>> =
        is_used.iter().map(|is_used| is_used.then(|| kept.next()).flatten()).collect();
    for index in demands.iter_mut().flat_map(|demand| &mut demand.candidates) {
        *index = renumbered[*index].expect("a demand may use it");
    }
    let kept = all.into_iter().zip(&is_used).filter(|(_, is_used)| **is_used);
    (kept.map(|(one, _)| one).collect(), renumbered)
}

/// Weights that say nothing, and what stands in for what nobody published.
fn doubtful_weights(
    stack: &Stack,
    demands: &[Demand],
    candidates: &[Candidate],
    tariffs: &BTreeMap<String, Tariff>,
) -> Vec<Diagnostic> {
    let Some(weights) = &stack.optimize.weights else { return Vec::new() };
    let mut warnings = Vec::new();
    let mut warn = |summary: &str, detail: String, hint: &str| {
        let at = stack.span("optimize.weights");
        warnings.push(Diagnostic::warning(summary, detail).at(at).hint(hint));
    };
    let is_dark = |candidate: &&Candidate| {
        let tariff = tariffs.get(&candidate.offering.cloud);
        let region = tariff.and_then(|tariff| tariff.regions.get(&candidate.offering.region));
        region.is_none_or(|region| region.grid_grams_kwh.is_none())
    };
    let dark: BTreeSet<&str> =
        candidates.iter().filter(is_dark).map(|candidate| candidate.site.as_str()).collect();
    if weights.carbon > 0.0 && !dark.is_empty() {
        let dark: Vec<&str> = dark.into_iter().collect();
        let shown = dark.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = match dark.len().saturating_sub(5) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let detail = format!(
            "Nobody published what a kilowatt-hour emits at {shown}{more}. The world's average of \
             {WORLD_GRAMS_KWH} g stands in."
        );
        warn("Carbon intensity is not known", detail, "name `regions` whose grid is known");
    }
    if weights.latency > 0.0 && demands.iter().all(|demand| demand.rules.latency.is_none()) {
        let detail =
            "No workload says from where it is used, so the weight of latency says nothing.";
        let hint = "add `latency { from = { latitude = …, longitude = … }, max = \"300ms\" }` to a `placement`";
        warn("Weight without effect", detail.to_owned(), hint);
    }
    warnings
}

fn site_prices(
    stack: &Stack,
    candidates: &[Candidate],
    tariffs: &BTreeMap<String, Tariff>,
) -> BTreeMap<String, SitePrice> {
    let mut sites = BTreeMap::new();
    for there in candidates.chunk_by(|a, b| a.site == b.site) {
        let candidate = &there[0];
        let cloud = &stack.clouds[&candidate.offering.cloud];
        let list_hour = tariffs.get(&cloud.name).map(|tariff| tariff.control_plane_price_hour);
        let list_month = list_hour.unwrap_or(0.0) * HOURS_MONTH;
        let price_month = match cloud.rate_card {
            Some(_) => 0.0,
            None => list_month * (1.0 - cloud.discount),
        };
        sites.insert(candidate.site.clone(), SitePrice { price_month, list_month });
    }
    sites
}

#[cfg(test)]
mod tests;
