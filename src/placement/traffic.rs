//! Which site talks to which: the part of the mathematics that carries traffic.
//!
//! A service *s* sends `T` Mbps to a service *t*. Every replica of *s* sends the same share and every replica
//! of *t* receives the same share, so with `X_s[ρ]` the replicas at site *ρ*, what leaves *ρ* is
//! `T·X_s[ρ]/R_s` and what arrives there is `T·X_t[ρ]/R_t`. Of a service that is sized by load, `X` is what the
//! replicas serve and `R` the load; where they serve more than that, none has more than its share. Who talks to
//! whom is chosen at the least cost, as a mesh does that prefers near endpoints: within a site it is free.
//!
//! ```text
//! f[ρ]              stays within the site          f[ρ] ≤ T·X_s[ρ]/R_s,  f[ρ] ≤ T·X_t[ρ]/R_t
//! g[a,b]            from area a to area b          Σ_b g[a,b] ≤ Σ_{ρ in a} (T·X_s[ρ]/R_s − f[ρ])
//!                                                  Σ_a g[a,b] ≤ Σ_{ρ in b} (T·X_t[ρ]/R_t − f[ρ])
//! Σ f[ρ] + Σ g[a,b] = T                            all of it is carried
//! ```
//!
//! Prices depend on areas alone, so there is a column for two areas where there would be one for two sites.
//! What is left out, that `g[a,a]` might lead from a site to itself, is dearer than `f` and never chosen.
//!
//! Out of a cloud the price falls with the volume, which no linear program can say: all would take the last
//! price at once. So a step that a cheaper one follows has to be full before the next one opens:
//! `v[k] ≥ width_k·u[k+1]`, `v[k+1] ≤ width_{k+1}·u[k+1]`, `u` 0 or 1, `Σ_k v[k] = Σ g` of the ladder. Where all
//! traffic of the stack fits the first step there is just the first price.

use std::collections::BTreeMap;

use super::Flow;
use super::model::{Effort, Model, Outcome, Sense};
use crate::problem::{Carriage, Ladder, Network, Problem};

/// What can be sent from (or to) one site, in Mbps: `Σ factor·column + constant`.
#[derive(Clone, Debug, Default)]
pub(super) struct Amount {
    pub terms: Vec<(usize, f64)>,
    pub constant: f64,
}

/// One service's calls to another, by site.
#[derive(Clone, Debug)]
pub(super) struct Edge<'a> {
    pub mbps: f64,
    pub from: BTreeMap<&'a str, Amount>,
    pub to: BTreeMap<&'a str, Amount>,
}

/// Columns of one edge.
struct Flows<'a> {
    local: BTreeMap<&'a str, usize>,
    /// By areas.
    between: BTreeMap<(usize, usize), usize>,
}

/// Adds the traffic to a model; `cost` has the dollars a month of every column and grows with it.
pub(super) fn add(model: &mut Model, cost: &mut Vec<f64>, network: &Network, edges: &[Edge]) {
    flows(model, cost, network, edges);
}

fn flows<'a>(
    model: &mut Model,
    cost: &mut Vec<f64>,
    network: &Network,
    edges: &[Edge<'a>],
) -> Vec<Flows<'a>> {
    let most: f64 = edges.iter().map(|edge| edge.mbps).sum();
    let mut by_ladder: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    let mut all = Vec::new();
    for edge in edges {
        let both = edge.from.keys().filter(|site| edge.to.contains_key(*site));
        let local: BTreeMap<&str, usize> =
            both.map(|site| (*site, column(model, cost, 0.0, edge.mbps))).collect();
        let mut between = BTreeMap::new();
        let areas = |side: &BTreeMap<&str, Amount>| -> Vec<usize> {
            let mut areas: Vec<usize> = side.keys().map(|site| network.area_of[*site]).collect();
            areas.sort_unstable();
            areas.dedup();
            areas
        };
        for from in areas(&edge.from) {
            for to in areas(&edge.to) {
                let price = match network.carriage_of(from, to) {
                    Carriage::Flat(price) => price,
                    Carriage::Ladder(ladder) => first_price(&network.ladders[ladder], most),
                    Carriage::Local => 0.0,
                };
                let flow = column(model, cost, price, edge.mbps);
                between.insert((from, to), flow);
                if let Carriage::Ladder(ladder) = network.carriage_of(from, to) {
                    by_ladder.entry(ladder).or_default().push((flow, 1.0));
                }
            }
        }
        let flows = Flows { local, between };
        let carried = flows.local.values().chain(flows.between.values());
        model.row(carried.map(|flow| (*flow, 1.0)).collect(), Sense::Equal, edge.mbps);
        conserve(model, network, &edge.from, &flows, |(from, _)| from);
        conserve(model, network, &edge.to, &flows, |(_, to)| to);
        all.push(flows);
    }
    for (ladder, mut volume) in by_ladder {
        let ladder = &network.ladders[ladder];
        let steps: Vec<(f64, f64)> =
            ladder.steps.iter().copied().filter(|(above, _)| *above < most).collect();
        if steps.len() < 2 {
            continue;
        }
        let mut before: Option<(usize, f64)> = None;
        for (number, (above, price)) in steps.iter().enumerate() {
            let end = steps.get(number + 1).map_or(most, |(above, _)| *above);
            let width = end - above;
            let part = column(model, cost, *price, width);
            volume.push((part, -1.0));
            let is_cheaper_later =
                |from: usize| steps[from..].iter().any(|(_, later)| *later < steps[from - 1].1);
            if let Some((full, full_width)) = before.filter(|_| is_cheaper_later(number)) {
                let open = model.column(1.0, true);
                model.row(vec![(part, 1.0), (open, -width)], Sense::AtMost, 0.0);
                model.row(vec![(full, 1.0), (open, -full_width)], Sense::AtLeast, 0.0);
            }
            before = Some((part, width));
        }
        model.row(volume, Sense::Equal, 0.0);
    }
    all
}

fn column(model: &mut Model, cost: &mut Vec<f64>, price: f64, upper: f64) -> usize {
    let column = model.column(upper, false);
    cost.resize(column, 0.0);
    cost.push(price);
    column
}

/// The price of a flow itself: what it costs where one price is for all, nothing where steps carry it.
fn first_price(ladder: &Ladder, most: f64) -> f64 {
    match ladder.steps.iter().filter(|(above, _)| *above < most).count() {
        0 | 1 => ladder.steps.first().map_or(0.0, |(_, price)| *price),
        _ => 0.0,
    }
}

/// No more stays at the sites of one side, or goes between areas, than there is at them.
fn conserve(
    model: &mut Model,
    network: &Network,
    side: &BTreeMap<&str, Amount>,
    flows: &Flows,
    end: impl Fn((usize, usize)) -> usize,
) {
    let mut by_area: BTreeMap<usize, (Vec<(usize, f64)>, f64)> = BTreeMap::new();
    for (site, amount) in side {
        let (terms, constant) = by_area.entry(network.area_of[*site]).or_default();
        terms.extend(amount.terms.iter().map(|(column, factor)| (*column, -factor)));
        *constant += amount.constant;
        if let Some(local) = flows.local.get(site) {
            terms.push((*local, 1.0));
            let below = amount.terms.iter().map(|(column, factor)| (*column, -factor));
            let below = below.chain([(*local, 1.0)]).collect();
            model.row(below, Sense::AtMost, amount.constant);
        }
    }
    for (area, (mut terms, constant)) in by_area {
        let leaving = flows.between.iter().filter(|(pair, _)| end(**pair) == area);
        terms.extend(leaving.map(|(_, column)| (*column, 1.0)));
        model.row(terms, Sense::AtMost, constant);
    }
}

/// The cheapest flows for replicas that have their seats. `at` tells what share of a demand's traffic its
/// replicas may have, by site; together at least 1.
pub(super) fn route<'a>(
    problem: &'a Problem,
    at: impl Fn(usize) -> BTreeMap<&'a str, f64>,
) -> Vec<Flow> {
    let amounts = |demand: usize, mbps: f64| -> BTreeMap<&'a str, Amount> {
        let amount = |share: f64| Amount { terms: Vec::new(), constant: mbps * share };
        at(demand).into_iter().map(|(site, share)| (site, amount(share))).collect()
    };
    let edges: Vec<Edge> = problem
        .traffic
        .iter()
        .map(|traffic| Edge {
            mbps: traffic.mbps,
            from: amounts(traffic.from, traffic.mbps),
            to: amounts(traffic.to, traffic.mbps),
        })
        .collect();
    if edges.is_empty() {
        return Vec::new();
    }
    let mut model = Model::default();
    let mut cost = Vec::new();
    let columns = flows(&mut model, &mut cost, &problem.network, &edges);
    cost.resize(model.columns.len(), 0.0);
    // Where other sites are free as well, near is better.
    for local in columns.iter().flat_map(|flows| flows.local.values()) {
        cost[*local] = -1e-6;
    }
    let effort = Effort::new(1e-9, 20_000);
    let values = match model.minimise(&cost, None, effort) {
        Outcome::Solved { values, .. } => values,
        // Whatever flows, flows: what the solver does not send is sent below.
        Outcome::Infeasible | Outcome::Unsolved(_) => vec![0.0; cost.len()],
    };
    let mut routed: BTreeMap<[String; 4], f64> = BTreeMap::new();
    for ((traffic, edge), flows) in problem.traffic.iter().zip(&edges).zip(&columns) {
        let name = |demand: usize| problem.demands[demand].workload.clone();
        let mut add = |from: &str, to: &str, mbps: f64| {
            // What is less is the rounding of sums.
            if mbps > 1e-9 * edge.mbps {
                let key = [name(traffic.from), name(traffic.to), from.to_owned(), to.to_owned()];
                *routed.entry(key).or_default() += mbps;
            }
        };
        let mut leaving: BTreeMap<&str, f64> =
            edge.from.iter().map(|(site, amount)| (*site, amount.constant)).collect();
        let mut arriving: BTreeMap<&str, f64> =
            edge.to.iter().map(|(site, amount)| (*site, amount.constant)).collect();
        let mut waiting = edge.mbps;
        for (site, column) in &flows.local {
            let most = leaving[site].min(arriving[site]);
            let local = values[*column].clamp(0.0, most);
            add(site, site, local);
            waiting -= local;
            *leaving.get_mut(site).expect("it sends") -= local;
            *arriving.get_mut(site).expect("it receives") -= local;
        }
        let mut send = |most: f64, fits: &dyn Fn(&str, &str) -> bool| {
            let mut left = most.min(waiting);
            for (source, supply) in &mut leaving {
                for (target, demand) in &mut arriving {
                    let some = left.min(*supply).min(*demand);
                    if some > 0.0 && fits(source, target) {
                        add(source, target, some);
                        left -= some;
                        waiting -= some;
                        *supply -= some;
                        *demand -= some;
                    }
                }
            }
        };
        let area_of = &problem.network.area_of;
        for ((from, to), column) in &flows.between {
            send(values[*column], &|source, target| {
                area_of[source] == *from && area_of[target] == *to
            });
        }
        send(edge.mbps, &|_, _| true);
    }
    let flows = routed.into_iter();
    flows
        .map(|([from, to, from_site, to_site], mbps)| Flow { from, to, from_site, to_site, mbps })
        .collect()
}

/// What flows cost a month, by the sites they are between; what is free is left out.
pub(super) fn cost_month(
    network: &Network,
    flows: &[Flow],
) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut cost: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let paid = flows.iter().zip(each_month(network, flows)).filter(|(_, paid)| *paid > 0.0);
    for (flow, paid) in paid {
        let from = cost.entry(flow.from_site.clone()).or_default();
        *from.entry(flow.to_site.clone()).or_default() += paid;
    }
    cost
}

/// What each of all flows costs a month.
pub(super) fn each_month(network: &Network, flows: &[Flow]) -> Vec<f64> {
    let mut volumes: BTreeMap<usize, f64> = BTreeMap::new();
    for flow in flows {
        if let Carriage::Ladder(ladder) = network.carriage(&flow.from_site, &flow.to_site) {
            *volumes.entry(ladder).or_default() += flow.mbps;
        }
    }
    let price = |flow: &Flow| match network.carriage(&flow.from_site, &flow.to_site) {
        Carriage::Local => 0.0,
        Carriage::Flat(price) => price,
        // Each megabit pays the average of the ladder.
        Carriage::Ladder(ladder) => {
            network.ladders[ladder].cost_month(volumes[&ladder]) / volumes[&ladder]
        }
    };
    flows.iter().map(|flow| price(flow) * flow.mbps).collect()
}
