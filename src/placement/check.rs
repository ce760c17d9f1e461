//! Checks a placement against its problem, from nothing but the two: cost and every constraint are
//! computed again here, in the plainest way, sharing no code with what found the placement.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Location, Market, Offering};

use super::{Placement, Rental, Seats};
use crate::config::SpreadOver;
use crate::problem::{
    Amount, Candidate, Ceiling, Demand, EEA_BESIDE_EU, EU, HOURS_MONTH, Limit, Problem, Rule,
};

/// Verifies that a placement answers a problem: every replica has a seat that it may have, every node
/// holds what is on it, every limit is kept, and the costs are what they are said to be.
///
/// # Errors
/// One sentence for each promise that is broken.
pub fn check(problem: &Problem, placement: &Placement) -> Result<(), Vec<String>> {
    check_by(problem, placement, problem.limits.iter())
}

/// The same where these are all limits.
pub(super) fn check_by<'a>(
    problem: &'a Problem,
    placement: &Placement,
    limits: impl Iterator<Item = &'a Limit>,
) -> Result<(), Vec<String>> {
    let mut broken = Vec::new();
    let candidates = by_id(problem);
    let demands: BTreeMap<&str, &Demand> =
        problem.demands.iter().map(|demand| (demand.workload.as_str(), demand)).collect();

    check_seats(problem, placement, &candidates, &demands, &mut broken);
    check_loads(problem, placement, &candidates, &mut broken);
    for (id, rental) in &placement.rentals {
        match candidates.get(id.as_str()) {
            Some(candidate) => check_rental(placement, candidate, rental, &demands, &mut broken),
            None => broken.push(format!("{id} is rented and is no offering of the problem")),
        }
    }
    for limit in limits {
        if let Some(words) = exceeded(problem, placement, limit) {
            broken.push(words);
        }
    }
    check_traffic(problem, placement, &mut broken);
    broken.extend(above_ceiling(problem, placement));
    check_cost(problem, placement, &mut broken);
    check_weighed(problem, placement, &mut broken);
    check_proof(problem, placement, &mut broken);
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

fn by_id(problem: &Problem) -> BTreeMap<&str, &Candidate> {
    problem.candidates.iter().map(|candidate| (candidate.id.as_str(), candidate)).collect()
}

/// Equal up to the rounding of sums, in dollars a month.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * (1.0 + a.abs().max(b.abs()))
}

fn check_seats(
    problem: &Problem,
    placement: &Placement,
    candidates: &BTreeMap<&str, &Candidate>,
    demands: &BTreeMap<&str, &Demand>,
    broken: &mut Vec<String>,
) {
    for demand in &problem.demands {
        let seats = placement.seats.iter().filter(|seats| seats.workload == demand.workload);
        let seated: u64 = seats.map(|seats| u64::from(seats.replicas)).sum();
        let name = &demand.workload;
        match &demand.amount {
            Amount::Replicas(replicas) if seated != u64::from(*replicas) => {
                broken.push(format!("{name} has {seated} seats for {replicas} replicas"));
            }
            Amount::Load(load) if seated < u64::from(load.least) => {
                broken.push(format!("{name} has {seated} seats, at least {}", load.least));
            }
            Amount::Replicas(_) | Amount::Load(_) => {}
        }
    }
    let keys: Vec<(&str, &str)> =
        placement.seats.iter().map(|s| (s.workload.as_str(), s.offering.as_str())).collect();
    if !keys.is_sorted_by(|a, b| a < b) {
        broken.push("the seats are not in order, or one is there twice".to_owned());
    }
    for seats in &placement.seats {
        let Seats { workload, offering, replicas, .. } = seats;
        if *replicas == 0 {
            broken.push(format!("{workload} has an empty seat on {offering}"));
        }
        let packed = placement.rentals.get(offering).map_or(0, |rental| {
            rental.nodes.iter().filter_map(|node| node.get(workload)).sum::<u32>()
        });
        if packed != *replicas {
            broken.push(format!(
                "{workload} has {replicas} seats on {offering}, whose nodes hold {packed}"
            ));
        }
        match (demands.get(workload.as_str()), candidates.get(offering.as_str())) {
            (Some(demand), Some(candidate)) => {
                let has_zones = |other: &Candidate| {
                    other.site == candidate.site && other.offering.zone.is_some()
                };
                let is_spread = demand.rules.spread.iter().any(|one| one.over == SpreadOver::Zone);
                if is_spread
                    && candidate.offering.zone.is_none()
                    && problem.candidates.iter().any(has_zones)
                {
                    broken.push(format!("{workload} is in a zone of {offering} that nobody knows"));
                }
                if let Some(reason) = unfit(demand, candidate) {
                    broken.push(format!("{workload} may not run on {offering}: {reason}"));
                }
            }
            (None, _) => broken.push(format!("{workload} is no workload of the problem")),
            (_, None) => broken.push(format!("{offering} is no offering of the problem")),
        }
    }
}

fn check_loads(
    problem: &Problem,
    placement: &Placement,
    candidates: &BTreeMap<&str, &Candidate>,
    broken: &mut Vec<String>,
) {
    let mut due = BTreeSet::new();
    for demand in &problem.demands {
        let Amount::Load(load) = &demand.amount else { continue };
        let name = &demand.workload;
        due.insert(name);
        let served = served(demand, placement, candidates, |_| true);
        let asked = load.requests_per_second;
        if served < asked - 1e-6 * (1.0 + asked) {
            broken.push(format!("{name} serves {served} requests a second of {asked}"));
        }
        let said = placement.loads.get(name);
        if !said.is_some_and(|said| {
            same(said.asked_per_second, asked) && same(said.served_per_second, served)
        }) {
            broken.push(format!("{name} serves {served} requests a second, not {said:?}"));
        }
    }
    if let Some(name) = placement.loads.keys().find(|name| !due.contains(name)) {
        broken.push(format!("{name} has no load"));
    }
}

/// Requests a second that the replicas of a demand serve on the offerings that are kept.
fn served(
    demand: &Demand,
    placement: &Placement,
    candidates: &BTreeMap<&str, &Candidate>,
    keep: impl Fn(&Candidate) -> bool,
) -> f64 {
    let Amount::Load(load) = &demand.amount else { return 0.0 };
    let mut served = 0.0;
    for seats in placement.seats.iter().filter(|seats| seats.workload == demand.workload) {
        let Some(candidate) = candidates.get(seats.offering.as_str()) else { continue };
        let rate = candidate.offering.gpu_type.as_ref().and_then(|of| load.rates.get(of));
        if keep(candidate) {
            served += f64::from(seats.replicas) * rate.copied().unwrap_or(0.0);
        }
    }
    served
}

/// Why a demand may not use a candidate.
fn unfit(demand: &Demand, candidate: &Candidate) -> Option<&'static str> {
    let (needs, rules, offering) = (&demand.needs, &demand.rules, &candidate.offering);
    if !rules.clouds.is_empty() && !rules.clouds.contains(&offering.cloud) {
        return Some("not its cloud");
    }
    let region = |pattern: &String| glob(pattern.as_bytes(), offering.region.as_bytes());
    if !rules.regions.is_empty() && !rules.regions.iter().any(region) {
        return Some("not its region");
    }
    let on_demand = rules.markets.contains(&Market::OnDemand);
    if !rules.residency.is_empty() {
        let country = offering.location.as_ref().and_then(|place| place.country.as_deref());
        let is_allowed = |allowed: &String| match (allowed.as_str(), country) {
            (_, None) => false,
            ("EU", Some(country)) => EU.binary_search(&country).is_ok(),
            ("EEA", Some(country)) => {
                EU.binary_search(&country).is_ok() || EEA_BESIDE_EU.contains(&country)
            }
            (allowed, Some(country)) => allowed == country,
        };
        if !rules.residency.iter().any(is_allowed) {
            return Some("not its country");
        }
    }
    if let Some(rule) = &rules.latency {
        let Some(place) = &offering.location else { return Some("nobody knows how far it is") };
        if round_trip_ms(place, &rule.from) > rule.max_ms + 1e-6 {
            return Some("too far away");
        }
    }
    let prepaid = candidate.reserved && on_demand;
    if !(prepaid || rules.markets.contains(&offering.market)) {
        return Some("not its market");
    }
    if needs.gpus == 0 {
        return (offering.gpus > 0).then_some("it needs no GPU");
    }
    if offering.gpus < needs.gpus {
        return Some("too few GPUs");
    }
    let Some(gpu_type) = &offering.gpu_type else { return Some("no GPU") };
    if !needs.gpu_types.is_empty() && !needs.gpu_types.contains(gpu_type) {
        return Some("not its GPU type");
    }
    if let Amount::Load(load) = &demand.amount
        && !load.rates.contains_key(gpu_type)
    {
        return Some("nobody knows what it serves there");
    }
    (offering.gpu_memory_gib < needs.gpu_memory_gib - 1e-6).then_some("too little GPU memory")
}

/// The mean of round trips, or what nodes emit, where a ceiling on it is asked for.
fn above_ceiling(problem: &Problem, placement: &Placement) -> Option<String> {
    let ceiling = match problem.ceiling? {
        Ceiling::LatencyMs(ceiling) => ceiling,
        Ceiling::CarbonKg(most) => {
            let emitted = problem.candidates.iter().map(|candidate| {
                let rental = placement.rentals.get(&candidate.id);
                rental.map_or(0.0, |rental| rental.nodes.len() as f64) * candidate.carbon_kg_month
            });
            let emitted = emitted.sum::<f64>();
            let is_above = emitted > most + 1e-6 * (1.0 + most);
            return is_above.then(|| format!("{emitted} kg are emitted, above {most} kg"));
        }
    };
    let (mut sum, mut all) = (0.0, 0.0);
    for seats in &placement.seats {
        let demand = problem.demands.iter().find(|demand| demand.workload == seats.workload)?;
        let location = placement.rentals.get(&seats.offering)?.offering.location.as_ref();
        if let (Some(rule), Some(place)) = (&demand.rules.latency, location) {
            sum += f64::from(seats.replicas) * round_trip_ms(place, &rule.from);
            all += f64::from(seats.replicas);
        }
    }
    (sum > all * (ceiling + 1e-3)).then(|| format!("the mean round trip is above {ceiling} ms"))
}

/// By the spherical law of cosines, where the problem's own estimate uses the haversine formula.
fn round_trip_ms(a: &Location, b: &Location) -> f64 {
    let (from, to) = (a.latitude.to_radians(), b.latitude.to_radians());
    let apart = (a.longitude - b.longitude).to_radians();
    let cosine = from.sin() * to.sin() + from.cos() * to.cos() * apart.cos();
    5.0 + 1.5 * 6371.0 * cosine.clamp(-1.0, 1.0).acos() / 100.0
}

fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([b'*', rest @ ..], _) => glob(rest, name) || !name.is_empty() && glob(pattern, &name[1..]),
        ([p, pattern @ ..], [n, name @ ..]) => p == n && glob(pattern, name),
        ([], []) => true,
        _ => false,
    }
}

fn check_rental(
    placement: &Placement,
    candidate: &Candidate,
    rental: &Rental,
    demands: &BTreeMap<&str, &Demand>,
    broken: &mut Vec<String>,
) {
    let id = &candidate.id;
    if rental.offering != candidate.offering || !same(rental.price_hour, candidate.price_hour) {
        broken.push(format!("{id} is rented as something else than what is offered"));
    }
    let reserved = if candidate.reserved { rental.nodes.len() } else { 0 };
    if rental.reserved_nodes as usize != reserved {
        broken.push(format!("{id} has {reserved} reserved nodes, not {}", rental.reserved_nodes));
    }
    if rental.nodes.is_empty() {
        broken.push(format!("{id} is rented without nodes"));
    }
    for (number, node) in rental.nodes.iter().enumerate() {
        if node.values().sum::<u32>() == 0 {
            broken.push(format!("node {number} of {id} is empty"));
        }
        let mut gpus = 0.0;
        let mut cpus = 0.0;
        let mut memory_gib = 0.0;
        let mut pods = 0.0;
        for (workload, &replicas) in node {
            let Some(demand) = demands.get(workload.as_str()) else {
                broken.push(format!("{workload} on {id} is no workload of the problem"));
                continue;
            };
            let replicas = f64::from(replicas);
            gpus += replicas * f64::from(demand.needs.gpus);
            cpus += replicas * demand.needs.cpus;
            memory_gib += replicas * demand.needs.memory_gib;
            pods += replicas;
            if !placement.seats.iter().any(|s| s.workload == *workload && s.offering == *id) {
                broken.push(format!("{workload} is on a node of {id} without a seat"));
            }
        }
        let usable = &candidate.usable;
        for (what, used, there) in [
            ("GPUs", gpus, usable.gpus as f64),
            ("CPUs", cpus, usable.cpu_millis as f64 / 1000.0),
            ("GiB of memory", memory_gib, usable.memory_mib as f64 / 1024.0),
            ("pods", pods, usable.pods as f64),
        ] {
            if used > there + 1e-6 {
                broken.push(format!("node {number} of {id} holds {used} {what} of {there}"));
            }
        }
    }
}

/// How a placement breaks a limit, if it does.
fn exceeded(problem: &Problem, placement: &Placement, limit: &Limit) -> Option<String> {
    let path = &limit.origin.path;
    let above = |used: f64, max: f64, what: &str| {
        (used > max + 1e-6).then(|| format!("{path}: {used} {what}, at most {max}"))
    };
    let nodes = |keep: &dyn Fn(&Rental) -> bool| -> f64 {
        let kept = placement.rentals.values().filter(|rental| keep(rental));
        kept.map(|rental| rental.nodes.len() as f64).sum()
    };
    match &limit.rule {
        Rule::Quota { cloud, region, gpu_type, max_gpus } => {
            let mut gpus = 0.0;
            for rental in placement.rentals.values() {
                let offering = &rental.offering;
                let in_region = region.is_none() || region.as_ref() == Some(&offering.region);
                let of_type = gpu_type.is_none() || *gpu_type == offering.gpu_type;
                if offering.cloud == *cloud && in_region && of_type {
                    gpus += rental.nodes.len() as f64 * f64::from(offering.gpus);
                }
            }
            above(gpus, f64::from(*max_gpus), "GPUs")
        }
        Rule::CapacityGpus { cloud, max } | Rule::CapacityCpus { cloud, max } => {
            let gpus = matches!(limit.rule, Rule::CapacityGpus { .. });
            let mut used = 0.0;
            for seats in &placement.seats {
                let demand = problem.demands.iter().find(|d| d.workload == seats.workload)?;
                let rental = placement.rentals.get(&seats.offering)?;
                if rental.offering.cloud == *cloud {
                    let needs = &demand.needs;
                    let each = if gpus { f64::from(needs.gpus) } else { needs.cpus };
                    used += each * f64::from(seats.replicas);
                }
            }
            above(used, *max, if gpus { "GPUs" } else { "CPUs" })
        }
        Rule::CapacityNodes { cloud, max } => {
            let used = nodes(&|rental| rental.offering.cloud == *cloud);
            above(used, f64::from(*max), "nodes")
        }
        Rule::Nodes { candidate, max } => {
            let offering = &problem.candidates[*candidate].offering;
            let used = nodes(&|rental| rental.offering.id() == offering.id());
            above(used, f64::from(*max), "nodes")
        }
        Rule::Spot { demand, max_replicas, .. } => {
            let by_market = replicas_by(problem, placement, *demand, |rental| {
                rental.offering.market.to_string()
            });
            let spot = by_market.get("spot").copied().unwrap_or(0);
            above(f64::from(spot), f64::from(*max_replicas), "replicas on spot")
        }
        Rule::SpreadMin { demand, over, min } => {
            let places = replicas_by(problem, placement, *demand, |rental| part(rental, *over));
            let there = places.len() as u32;
            (there < *min).then(|| format!("{path}: {there} places, at least {min}"))
        }
        Rule::ZoneMin { demand, min } => {
            let zones =
                replicas_by(problem, placement, *demand, |rental| part(rental, SpreadOver::Zone));
            let (all, most) = (zones.values().sum::<u32>(), zones.values().max().copied());
            // As many zones as it takes if each were as full as the fullest.
            let sure = all.div_ceil(most.unwrap_or(1));
            (sure < *min).then(|| format!("{path}: {sure} zones for sure, at least {min}"))
        }
        Rule::SpreadShare { demand, over, max_replicas, .. } => {
            let places = replicas_by(problem, placement, *demand, |rental| part(rental, *over));
            let most = places.values().copied().max().unwrap_or(0);
            above(f64::from(most), f64::from(*max_replicas), "replicas in one place")
        }
        Rule::LoadOffSpot { demand, min, .. } => {
            let candidates = by_id(problem);
            let steady = served(&problem.demands[*demand], placement, &candidates, |candidate| {
                candidate.offering.market != Market::Spot
            });
            (steady < min - 1e-6 * (1.0 + min)).then(|| {
                format!("{path}: {steady} requests a second off spot nodes, at least {min}")
            })
        }
        Rule::LoadElsewhere { demand, over, min, .. } => {
            let candidates = by_id(problem);
            let asked = &problem.demands[*demand];
            let places = replicas_by(problem, placement, *demand, |rental| part(rental, *over));
            let without = places.keys().map(|lost| {
                served(asked, placement, &candidates, |candidate| {
                    let offering = &candidate.offering;
                    place(offering, *over) != *lost
                })
            });
            let least = without.fold(f64::INFINITY, f64::min);
            (least < min - 1e-6 * (1.0 + min))
                .then(|| format!("{path}: {least} requests a second elsewhere, at least {min}"))
        }
        Rule::BaseOnDemand { demand, min } => {
            let by_market = replicas_by(problem, placement, *demand, |rental| {
                rental.offering.market.to_string()
            });
            let steady: u32 =
                by_market.iter().filter(|(market, _)| *market != "spot").map(|(_, n)| n).sum();
            (steady < *min).then(|| format!("{path}: {steady} replicas off spot, at least {min}"))
        }
        Rule::MaxReplicas { demand, max } => {
            let all = replicas_by(problem, placement, *demand, |_| String::new());
            above(f64::from(all.values().sum::<u32>()), f64::from(*max), "replicas")
        }
        Rule::Together { demand } => {
            let sites = replicas_by(problem, placement, *demand, |r| part(r, SpreadOver::Region));
            above(sites.len() as f64, 1.0, "sites")
        }
        Rule::Apart { demands } | Rule::SameSites { demands } => {
            let sites = demands.map(|demand| -> BTreeSet<String> {
                replicas_by(problem, placement, demand, |r| part(r, SpreadOver::Region))
                    .into_keys()
                    .collect()
            });
            let [one, other] = demands.map(|demand| &problem.demands[demand].workload);
            if matches!(limit.rule, Rule::Apart { .. }) {
                let shared = sites[0].intersection(&sites[1]).next()?;
                return Some(format!("{path}: {one} and {other} are both at {shared}"));
            }
            let alone = sites[0].symmetric_difference(&sites[1]).next()?;
            Some(format!("{path}: one of {one} and {other} is alone at {alone}"))
        }
        Rule::Budget { max_month } => {
            above(placement.cost.total_month, *max_month, "dollars a month")
        }
    }
}

fn part(rental: &Rental, over: SpreadOver) -> String {
    place(&rental.offering, over)
}

fn place(offering: &Offering, over: SpreadOver) -> String {
    let Offering { cloud, region, zone, .. } = offering;
    match (over, zone) {
        (SpreadOver::Cloud, _) => cloud.clone(),
        (SpreadOver::Zone, Some(zone)) => format!("{cloud}/{region}/{zone}"),
        // Where zones are not told apart, the region is one.
        (SpreadOver::Region | SpreadOver::Zone, _) => format!("{cloud}/{region}"),
    }
}

/// Replicas of one demand by a property of where they sit.
fn replicas_by(
    problem: &Problem,
    placement: &Placement,
    demand: usize,
    key: impl Fn(&Rental) -> String,
) -> BTreeMap<String, u32> {
    let workload = &problem.demands[demand].workload;
    let mut by = BTreeMap::new();
    for seats in placement.seats.iter().filter(|seats| seats.workload == *workload) {
        if let Some(rental) = placement.rentals.get(&seats.offering) {
            *by.entry(key(rental)).or_insert(0) += seats.replicas;
        }
    }
    by
}

/// By sender and receiver: by whether it is sent or received, and the site, Mbps.
type Ends<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<(bool, &'a str), f64>>;

/// What is sent at each site is its replicas' share of it, and what is received likewise.
fn check_traffic(problem: &Problem, placement: &Placement, broken: &mut Vec<String>) {
    let mut left: Ends = BTreeMap::new();
    for flow in &placement.traffic {
        if flow.mbps.is_nan() || flow.mbps < 0.0 {
            broken.push(format!("{} sends {} Mbps to {}", flow.from, flow.mbps, flow.to));
        }
        let ends = left.entry((&flow.from, &flow.to)).or_default();
        *ends.entry((true, &flow.from_site)).or_default() += flow.mbps;
        *ends.entry((false, &flow.to_site)).or_default() += flow.mbps;
    }
    for traffic in &problem.traffic {
        let [from, to] = [traffic.from, traffic.to].map(|d| problem.demands[d].workload.as_str());
        let mut carried = left.remove(&(from, to)).unwrap_or_default();
        let sent: f64 = carried.iter().filter(|((sends, _), _)| *sends).map(|(_, mbps)| mbps).sum();
        if (sent - traffic.mbps).abs() > 1e-6 * (1.0 + traffic.mbps) {
            broken.push(format!("{from} sends {sent} Mbps to {to}, not {}", traffic.mbps));
        }
        for (sends, demand) in [(true, traffic.from), (false, traffic.to)] {
            let at = replicas_by(problem, placement, demand, |r| part(r, SpreadOver::Region));
            let all: u32 = at.values().sum();
            let asked = &problem.demands[demand];
            let candidates = by_id(problem);
            for (site, replicas) in at {
                let due = match &asked.amount {
                    Amount::Replicas(_) => traffic.mbps * f64::from(replicas) / f64::from(all),
                    Amount::Load(load) if load.requests_per_second > 0.0 => {
                        let here = served(asked, placement, &candidates, |c| c.site == site);
                        traffic.mbps * here / load.requests_per_second
                    }
                    Amount::Load(_) => traffic.mbps,
                };
                let here =
                    carried.keys().find(|(end, name)| *end == sends && *name == site).copied();
                let found = here.and_then(|key| carried.remove(&key)).unwrap_or(0.0);
                // Of a load more may be served than was asked for, so there is a choice.
                let is_due = match &asked.amount {
                    Amount::Replicas(_) => (found - due).abs() <= 1e-6 * (1.0 + traffic.mbps),
                    Amount::Load(_) => found <= due + 1e-6 * (1.0 + traffic.mbps),
                };
                if !is_due {
                    let verb = if sends { "leave" } else { "reach" };
                    broken.push(format!(
                        "{found} Mbps from {from} to {to} {verb} {site}, where {due} are due"
                    ));
                }
            }
        }
        if carried.values().any(|mbps| *mbps > 1e-6 * (1.0 + traffic.mbps)) {
            broken.push(format!("{from} talks to {to} where there is no replica"));
        }
    }
    for (from, to) in left.keys() {
        broken.push(format!("{from} has nothing to send to {to}"));
    }
}

/// Dollars for the traffic and the weights, by pairs.
fn check_pairs(
    what: &str,
    due: &BTreeMap<(String, String), f64>,
    said: &BTreeMap<String, BTreeMap<String, f64>>,
    broken: &mut Vec<String>,
) -> f64 {
    let said: BTreeMap<(String, String), f64> = said
        .iter()
        .flat_map(|(a, by)| by.iter().map(move |(b, cost)| ((a.clone(), b.clone()), *cost)))
        .collect();
    for pair in due.keys().chain(said.keys()).collect::<BTreeSet<_>>() {
        let [due, said] = [due, &said].map(|by| by.get(pair).copied().unwrap_or(0.0));
        if !same(due, said) {
            broken.push(format!("{what} of {} and {} cost {due}, not {said}", pair.0, pair.1));
        }
    }
    due.values().sum()
}

fn egress_due(problem: &Problem, placement: &Placement) -> BTreeMap<(String, String), f64> {
    let network = &problem.network;
    let area = |site: &String| network.area_of.get(site).map(|index| &network.areas[*index]);
    let area_number = |site: &String| network.area_of.get(site).copied();
    let mut due: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut by_volume: BTreeMap<usize, Vec<&super::Flow>> = BTreeMap::new();
    for flow in placement.traffic.iter().filter(|flow| flow.from_site != flow.to_site) {
        let (Some(from), Some(to)) = (area(&flow.from_site), area(&flow.to_site)) else { continue };
        if from.cloud == to.cloud {
            let to = area_number(&flow.to_site).expect("it has an area");
            let pair = (flow.from_site.clone(), flow.to_site.clone());
            *due.entry(pair).or_insert(0.0) += flow.mbps * from.between[&to];
        } else {
            by_volume.entry(from.ladder).or_default().push(flow);
        }
    }
    for (ladder, flows) in by_volume {
        let volume: f64 = flows.iter().map(|flow| flow.mbps).sum();
        // From the dearest step to the last one that the volume reaches.
        let steps = &network.ladders[ladder].steps;
        let mut cost = 0.0;
        let mut below = volume;
        for (above, price) in steps.iter().rev() {
            if below > *above {
                cost += (below - above) * price;
                below = *above;
            }
        }
        for flow in flows {
            let pair = (flow.from_site.clone(), flow.to_site.clone());
            *due.entry(pair).or_insert(0.0) += cost * flow.mbps / volume;
        }
    }
    due
}

fn weights_due(problem: &Problem, placement: &Placement) -> BTreeMap<(String, String), f64> {
    let mut due = BTreeMap::new();
    for stored in &problem.stored {
        for demand in &stored.demands {
            let at = replicas_by(problem, placement, *demand, |r| part(r, SpreadOver::Region));
            for site in at.into_keys() {
                let cost = stored.cost_month.get(&site).copied().unwrap_or(f64::NAN);
                due.insert((stored.model.clone(), site), cost);
            }
        }
    }
    due
}

fn check_cost(problem: &Problem, placement: &Placement, broken: &mut Vec<String>) {
    let cost = &placement.cost;
    let mut nodes_month = 0.0;
    let mut sites: BTreeSet<String> = BTreeSet::new();
    for rental in placement.rentals.values() {
        let paid = rental.nodes.len() as f64 - f64::from(rental.reserved_nodes);
        nodes_month += paid * rental.price_hour * HOURS_MONTH;
        sites.insert(format!("{}/{}", rental.offering.cloud, rental.offering.region));
    }
    let mut rate_card_month: BTreeMap<String, f64> = BTreeMap::new();
    for seats in &placement.seats {
        let demand = problem.demands.iter().find(|demand| demand.workload == seats.workload);
        let rental = placement.rentals.get(&seats.offering);
        let (Some(demand), Some(rental)) = (demand, rental) else { continue };
        let cloud = &rental.offering.cloud;
        let Some(card) = problem.rate_cards.get(cloud) else { continue };
        let needs = &demand.needs;
        let rates = [
            (card.gpu_month, f64::from(needs.gpus)),
            (card.cpu_month, needs.cpus),
            (card.memory_gib_month, needs.memory_gib),
            (card.storage_tb_month, needs.storage_tb),
            (card.network_mbps_month, needs.network_mbps),
        ];
        let each: f64 = rates.iter().map(|(rate, amount)| rate * amount).sum();
        *rate_card_month.entry(cloud.clone()).or_insert(0.0) += each * f64::from(seats.replicas);
    }
    if !same(nodes_month, cost.nodes_month) {
        let said = cost.nodes_month;
        broken.push(format!("the nodes cost {nodes_month} dollars a month, not {said}"));
    }
    let said: BTreeSet<String> = cost.sites_month.keys().cloned().collect();
    if sites != said {
        broken.push(format!("the sites are {sites:?}, not {said:?}"));
    }
    for (site, said) in &cost.sites_month {
        let price = problem.sites.get(site).map_or(0.0, |site| site.price_month);
        if !same(price, *said) {
            broken.push(format!("site {site} costs {price} dollars a month, not {said}"));
        }
    }
    let clouds: BTreeSet<&String> =
        rate_card_month.keys().chain(cost.rate_card_month.keys()).collect();
    for cloud in clouds {
        let [due, said] = [&rate_card_month, &cost.rate_card_month]
            .map(|charges| charges.get(cloud).copied().unwrap_or(0.0));
        if !same(due, said) {
            broken.push(format!("the rate card of {cloud} charges {due}, not {said}"));
        }
    }
    let sites_month: f64 = cost.sites_month.values().sum();
    let egress = egress_due(problem, placement);
    let egress_month = check_pairs("traffic", &egress, &cost.egress_month, broken);
    let weights = weights_due(problem, placement);
    let weights_month = check_pairs("the weights", &weights, &cost.weights_month, broken);
    let total = nodes_month
        + sites_month
        + rate_card_month.values().sum::<f64>()
        + egress_month
        + weights_month;
    if !same(total, cost.total_month) {
        broken.push(format!("the total is {total} dollars a month, not {}", cost.total_month));
    }
    let seats_month: f64 = placement.seats.iter().map(|seats| seats.cost_month).sum();
    let shares = seats_month + sites_month + egress_month + weights_month;
    if !same(shares, cost.total_month) {
        broken.push(format!(
            "the shares of the seats, sites, weights and traffic add up to {shares} dollars a month, not {}",
            cost.total_month
        ));
    }
    if let Some(seats) = placement.seats.iter().find(|seats| seats.cost_month < -1e-6) {
        broken.push(format!("{} earns money on {}", seats.workload, seats.offering));
    }
}

/// What was minimised is what the weights make of the placement.
fn check_weighed(problem: &Problem, placement: &Placement, broken: &mut Vec<String>) {
    let (weights, said) = match (&problem.weights, &placement.weighed) {
        (None, None) => return,
        (Some(weights), Some(said)) => (weights, said),
        (weights, said) => {
            broken.push(format!("the weights are {weights:?}, not {said:?}"));
            return;
        }
    };
    let candidates = by_id(problem);
    let mut kg = 0.0;
    for (id, rental) in &placement.rentals {
        let each = candidates.get(id.as_str()).map_or(f64::NAN, |c| c.carbon_kg_month);
        kg += each * rental.nodes.len() as f64;
    }
    let mut ms = 0.0;
    for seats in &placement.seats {
        let demand = problem.demands.iter().find(|demand| demand.workload == seats.workload);
        let rule = demand.and_then(|demand| demand.rules.latency.as_ref());
        let rental = placement.rentals.get(&seats.offering);
        let place = rental.and_then(|rental| rental.offering.location.as_ref());
        if let (Some(rule), Some(place)) = (rule, place) {
            ms += round_trip_ms(place, &rule.from) * f64::from(seats.replicas);
        }
    }
    let due =
        weights.cost * placement.cost.total_month + weights.carbon * kg + weights.latency * ms;
    // Two formulas for the same distance agree to a part in a million.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * (1.0 + a.abs().max(b.abs()));
    for (what, due, said) in [
        ("the weight of the cost", weights.cost, said.cost_weight),
        ("the weight of carbon", weights.carbon, said.carbon_weight),
        ("the weight of latency", weights.latency, said.latency_weight),
        ("the carbon", kg, said.carbon_kg_month),
        ("the latency", ms, said.latency_ms),
        ("the weighed objective", due, said.objective_month),
    ] {
        if !near(due, said) {
            broken.push(format!("{what} is {due}, not {said}"));
        }
    }
}

fn check_proof(problem: &Problem, placement: &Placement, broken: &mut Vec<String>) {
    let proof = &placement.proof;
    let total = match &placement.weighed {
        Some(weighed) => weighed.objective_month,
        None => placement.cost.total_month,
    };
    let moves = problem.last.as_ref().map_or(0.0, |last| moves_month(problem, last, placement));
    if !same(proof.moves_month, moves) {
        broken.push(format!("moves are charged {moves}, not {}", proof.moves_month));
    }
    if !same(proof.objective_month, total + moves) {
        broken.push(format!(
            "the objective is {}, the total {total} and moves {moves}",
            proof.objective_month
        ));
    }
    // Not a number is as wrong as a bound above.
    if proof.bound_month.is_nan() || proof.bound_month > proof.objective_month {
        broken.push(format!(
            "the bound {} is above the objective {}",
            proof.bound_month, proof.objective_month
        ));
    }
    let gap = match proof.objective_month {
        0.0 => 0.0,
        objective => (objective - proof.bound_month) / objective,
    };
    if proof.gap.is_nan() || (gap - proof.gap).abs() > 1e-9 {
        broken.push(format!("the gap is {gap}, not {}", proof.gap));
    }
}

/// What giving up parts of the last placement is charged: the dearer of the replicas that left an offering
/// and the nodes that went with them, and the sites that were closed for it.
fn moves_month(problem: &Problem, last: &Placement, now: &Placement) -> f64 {
    let (seats_then, seats_now) = (last.by_workload(), now.by_workload());
    let none = BTreeMap::new();
    let candidates = by_id(problem);
    let price = |id: &str| match candidates[id] {
        candidate if candidate.reserved => 0.0,
        candidate => candidate.price_hour * HOURS_MONTH,
    };
    let mut charged: BTreeMap<&str, f64> = BTreeMap::new();
    // Offerings on which something ended for another reason than a move.
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    for (workload, seats) in &seats_then {
        let demand = problem.demands.iter().find(|demand| demand.workload == *workload);
        let may = demand.into_iter().flat_map(|demand| &demand.candidates);
        let may: BTreeSet<&str> = may.map(|index| &*problem.candidates[*index].id).collect();
        ended.extend(seats.keys().filter(|offering| !may.contains(*offering)));
    }
    for demand in &problem.demands {
        let name = demand.workload.as_str();
        let Some(before) = seats_then.get(name) else { continue };
        let after = seats_now.get(name).unwrap_or(&none);
        // (dollars for one replica, what it serves, replicas that left, offering)
        let mut left: Vec<(f64, f64, f64, &str)> = Vec::new();
        let mut then = 0.0;
        for candidate in demand.candidates.iter().map(|index| &problem.candidates[*index]) {
            let Some(&there) = before.get(candidate.id.as_str()) else { continue };
            let serves = match &demand.amount {
                Amount::Replicas(_) => 1.0,
                Amount::Load(load) => {
                    load.rates[candidate.offering.gpu_type.as_ref().expect("it has GPUs")]
                }
            };
            then += serves * f64::from(there);
            let (needs, usable) = (&demand.needs, &candidate.usable);
            let mut part: f64 = 1.0 / usable.pods as f64;
            for (need, whole) in [
                (f64::from(needs.gpus), usable.gpus as f64),
                ((needs.cpus * 1000.0 - 1e-6).ceil(), usable.cpu_millis as f64),
                ((needs.memory_gib * 1024.0 - 1e-6).ceil(), usable.memory_mib as f64),
            ] {
                if need > 0.0 {
                    part = part.max(need / whole);
                }
            }
            let charge = problem.charge_month(needs, &candidate.offering.cloud);
            let each = part * price(&candidate.id) + charge;
            let stays = after.get(candidate.id.as_str()).copied().unwrap_or(0);
            let gone = f64::from(there.saturating_sub(stays));
            left.push((each, serves, gone, &candidate.id));
        }
        let (mut fewer, asked) = match &demand.amount {
            Amount::Replicas(replicas) => (then, f64::from(*replicas)),
            Amount::Load(load) => {
                let before = last.loads.get(name).map_or(then, |load| load.asked_per_second);
                (before.min(then), load.requests_per_second)
            }
        };
        fewer -= asked;
        if fewer > 0.0 {
            ended.extend(before.keys());
        }
        left.sort_by(|a, b| (b.0 / b.1).total_cmp(&(a.0 / a.1)));
        for (each, serves, gone, offering) in left {
            let forgiven = gone.min(fewer.max(0.0) / serves);
            fewer -= forgiven * serves;
            *charged.entry(offering).or_insert(0.0) += each * (gone - forgiven);
        }
    }
    let mut sum = 0.0;
    let mut sites: BTreeMap<String, bool> = BTreeMap::new();
    for (id, rental) in &last.rentals {
        let site = format!("{}/{}", rental.offering.cloud, rental.offering.region);
        let is_whole = !ended.contains(id.as_str()) && candidates.contains_key(id.as_str());
        *sites.entry(site).or_insert(true) &= is_whole;
        if is_whole {
            let nodes = now.rentals.get(id).map_or(0, |rental| rental.nodes.len());
            let fewer = rental.nodes.len().saturating_sub(nodes) as f64;
            let replicas = charged.entry(id).or_insert(0.0);
            *replicas = replicas.max(fewer * price(id));
        }
    }
    sum += charged.values().sum::<f64>();
    for (site, _) in sites.iter().filter(|(_, is_whole)| **is_whole) {
        if !now.cost.sites_month.contains_key(site) {
            sum += problem.sites.get(site).map_or(0.0, |site| site.price_month);
        }
    }
    sum * problem.move_penalty * problem.cost_weight()
}
