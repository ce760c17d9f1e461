//! When nothing satisfies every limit: which ones would have to give way, and by how much.
//!
//! The elastic form of the model has a column for how far each limit is exceeded. It is solved three
//! times: for the smallest number of limits, then for the smallest sum of amounts, then for the cheapest
//! placement among those; always packed onto whole nodes, so that what is told can be done.

use std::collections::BTreeSet;

use fleetform_contract::Market;

use super::formulation::{Formulation, Slack};
use super::packing::Counts;
use super::reduce::Group;
use super::search::{self, Found, Packed};
use super::waits;
use crate::config::SpreadOver;
use crate::diagnostic::Diagnostic;
use crate::problem::{Candidate, Demand, Limit, Problem, Rule, SpotSaid};

const SUMMARY: &str = "No placement satisfies every limit";
/// A reservation is a fact, not a wish: it gives way only where nothing else would do.
const RESERVATION_WEIGHT: f64 = 1.5;

/// In a model of more columns the amounts are told without asking what they cost.
const MANY: usize = 10_000;

/// The diagnostic for a problem without any solution, budget aside. It is all of `whole`, or its demands for which limits
/// clash.
pub(super) fn explain(
    problem: &Problem,
    groups: &[Group],
    kept: &[usize],
    whole: &Problem,
    clashing: &BTreeSet<usize>,
) -> Diagnostic {
    let mut formulation = Formulation::elastic(problem, groups, kept.to_vec());
    match relaxed(&mut formulation) {
        Ok(packed) => and_the_rest(whole, clashing, diagnostic(&formulation, &packed)),
        Err(words) => {
            let detail = format!(
                "Which limits would have to give way was not found within the work limit ({words})."
            );
            Diagnostic::error(SUMMARY, detail)
        }
    }
}

/// All demands of a problem.
pub(super) fn all(problem: &Problem) -> BTreeSet<usize> {
    (0..problem.demands.len()).collect()
}

/// With what can be placed all the same.
fn and_the_rest(
    problem: &Problem,
    clashing: &BTreeSet<usize>,
    mut diagnostic: Diagnostic,
) -> Diagnostic {
    if let Some(words) = waits::words(problem, clashing) {
        diagnostic.detail = format!("{}\n{words}", diagnostic.detail);
    }
    diagnostic
}

/// The cheapest solution that breaks the fewest limits by the least.
fn relaxed(formulation: &mut Formulation) -> Result<Packed, String> {
    let effort = search::effort(formulation);
    let slacks = formulation.slacks.clone();
    let problem = formulation.problem;
    let weighed = |of: fn(&Slack) -> usize| {
        slacks.iter().map(move |slack| (of(slack), weight(problem, slack))).collect::<Vec<_>>()
    };
    let numbers = weighed(|slack| slack.used);
    let amounts = weighed(|slack| slack.amount);
    let sum = |terms: &[(usize, f64)], packed: &Packed| -> f64 {
        terms.iter().map(|(column, factor)| packed.values[*column] * factor).sum()
    };
    let hold_least = |formulation: &mut Formulation, terms: Vec<(usize, f64)>| {
        let packed = packed(search::best(formulation, objective(&terms), None, effort))?;
        let least = sum(&terms, &packed) + 1e-6;
        formulation.model.row(terms, super::model::Sense::AtMost, least);
        Ok::<Packed, String>(packed)
    };
    hold_least(formulation, numbers)?;
    let least = hold_least(formulation, amounts)?;
    if formulation.model.columns.len() > MANY {
        return Ok(least);
    }
    packed(search::best(formulation, |f| f.cost.clone(), None, effort))
}

fn objective(terms: &[(usize, f64)]) -> impl Fn(&Formulation) -> Vec<f64> {
    move |formulation| {
        let mut weights = vec![0.0; formulation.model.columns.len()];
        for (column, factor) in terms {
            weights[*column] += factor;
        }
        weights
    }
}

fn packed(found: Found) -> Result<Packed, String> {
    match found {
        Found::Packed(packed) => Ok(packed),
        Found::Infeasible => Err("even without limits nothing fits".to_owned()),
        Found::Unsolved(words) => Err(words),
    }
}

fn weight(problem: &Problem, slack: &Slack) -> f64 {
    match problem.limits[slack.limit].rule {
        Rule::Nodes { candidate, .. } if problem.candidates[candidate].reserved => {
            RESERVATION_WEIGHT
        }
        _ => 1.0,
    }
}

fn diagnostic(formulation: &Formulation, packed: &Packed) -> Diagnostic {
    let problem = formulation.problem;
    let broken: Vec<&Slack> =
        formulation.slacks.iter().filter(|slack| packed.values[slack.used] > 0.5).collect();
    let sentences: Vec<String> = broken
        .iter()
        .map(|slack| {
            let limit = &problem.limits[slack.limit];
            let needed = needed(formulation, packed, slack.limit);
            with_place(&sentence(problem, limit, needed), limit)
        })
        .collect();
    let detail = match sentences.as_slice() {
        [one] => format!("{one}."),
        many => format!("{} limits must give way together:\n- {}.", many.len(), many.join(";\n- ")),
    };
    let first = broken.first().map(|slack| &problem.limits[slack.limit]);
    let hint = match broken.len() {
        1 => "change this limit that far, or ask for less; no smaller change is enough",
        _ => {
            "change these limits that far, or ask for less; no fewer limits and no smaller changes \
              are enough"
        }
    };
    Diagnostic::error(SUMMARY, detail)
        .at(first.and_then(|limit| limit.origin.span.clone()))
        .hint(hint)
}

/// The diagnostic for a cheapest placement that is above the budget.
pub(super) fn over_budget(
    problem: &Problem,
    limit: &Limit,
    max_month: f64,
    cost: f64,
    bound: f64,
) -> Diagnostic {
    let cheapest = if bound > max_month && cost - bound < 0.005 {
        format!("the cheapest possible placement costs {} a month", dollars(cost))
    } else {
        format!(
            "the cheapest placement found costs {} a month, and none costs less than {}",
            dollars(cost),
            dollars(bound)
        )
    };
    let budget = match limit.origin.span {
        Some(_) => format!("`optimize` has a budget of {}", dollars(max_month)),
        None => format!("The budget is {}", dollars(max_month)),
    };
    let sentence = format!("{budget}; {cheapest}");
    let error = Diagnostic::error(SUMMARY, format!("{}.", with_place(&sentence, limit)))
        .at(limit.origin.span.clone())
        .hint(format!("raise `budget` to {}, or ask for less", (cost * 100.0).ceil() / 100.0));
    and_the_rest(problem, &all(problem), error)
}

fn with_place(sentence: &str, limit: &Limit) -> String {
    match &limit.origin.place {
        Some(place) => format!("{sentence} ({place})"),
        None => sentence.to_owned(),
    }
}

fn sentence(problem: &Problem, limit: &Limit, needed: f64) -> String {
    let is_one = needed == 1.0;
    let needed_text = amount(needed);
    let outcome = match &limit.rule {
        Rule::SpreadMin { .. } | Rule::ZoneMin { .. } | Rule::BaseOnDemand { .. } if is_one => {
            "is possible"
        }
        Rule::SpreadMin { .. } | Rule::ZoneMin { .. } | Rule::BaseOnDemand { .. } => "are possible",
        Rule::LoadOffSpot { .. } | Rule::LoadElsewhere { .. } if is_one => "can be",
        Rule::LoadOffSpot { .. } | Rule::LoadElsewhere { .. } => "can be",
        Rule::Together { .. } => "sites are needed",
        // What is needed of these is that they are not kept; there is no number to tell.
        Rule::Apart { .. } | Rule::SameSites { .. } => {
            return format!("{}, and cannot", words(problem, limit));
        }
        _ if is_one => "is needed",
        _ => "are needed",
    };
    format!("{}; {needed_text} {outcome}", words(problem, limit))
}

/// What a limit says, as the beginning of a sentence: "`cloud.azure` has capacity for 10 GPUs".
pub(super) fn words(problem: &Problem, limit: &Limit) -> String {
    let demand = |index: &usize| -> &Demand { &problem.demands[*index] };
    match &limit.rule {
        Rule::Quota { cloud, region, gpu_type, max_gpus } => {
            let gpus = match gpu_type {
                Some(gpu_type) => count(f64::from(*max_gpus), &format!("{gpu_type} GPU")),
                None => count(f64::from(*max_gpus), "GPU"),
            };
            let place = region.as_ref().map_or(String::new(), |region| format!(" in {region}"));
            format!("`cloud.{cloud}` has a quota of {gpus}{place}")
        }
        Rule::CapacityGpus { cloud, max } => {
            format!("`cloud.{cloud}` has capacity for {}", count(*max, "GPU"))
        }
        Rule::CapacityCpus { cloud, max } => {
            format!("`cloud.{cloud}` has capacity for {}", count(*max, "CPU"))
        }
        Rule::CapacityNodes { cloud, max } => {
            format!("`cloud.{cloud}` has capacity for {}", count(f64::from(*max), "node"))
        }
        Rule::Nodes { candidate, max } => {
            let candidate = &problem.candidates[*candidate];
            let noun = if candidate.reserved { "reserved node" } else { "node" };
            format!("{} has {}", candidate.id, count(f64::from(*max), noun))
        }
        Rule::Spot { demand: index, max_replicas, said } => {
            let Demand { reference, .. } = demand(index);
            let rule = match said {
                SpotSaid::MaxShare(share) => format!("max_share = {share}"),
                SpotSaid::BaseOnDemand(base) => format!("base_on_demand = {base}"),
            };
            format!(
                "`{reference}` may have {max_replicas} of its {} on spot nodes ({rule})",
                demand(index).words()
            )
        }
        Rule::SpreadMin { demand: index, over, min } => {
            let reference = &demand(index).reference;
            format!("`{reference}` must run in at least {min} {}", places(*over))
        }
        Rule::ZoneMin { demand: index, min } => {
            format!("`{}` must run in at least {min} zones", demand(index).reference)
        }
        Rule::SpreadShare { demand: index, over, max_replicas, max_share } => {
            let Demand { reference, .. } = demand(index);
            format!(
                "`{reference}` may have {max_replicas} of its {} in one {} (max_share = {max_share})",
                demand(index).words(),
                place(*over)
            )
        }
        Rule::LoadOffSpot { demand: index, min, max_share } => format!(
            "`{}` must serve {} of {} without its spot nodes (max_share = {max_share})",
            demand(index).reference,
            amount(*min),
            demand(index).words()
        ),
        Rule::LoadElsewhere { demand: index, over, min, max_share } => format!(
            "`{}` must serve {} of {} without any one {} (max_share = {max_share})",
            demand(index).reference,
            amount(*min),
            demand(index).words(),
            place(*over)
        ),
        Rule::BaseOnDemand { demand: index, min } => format!(
            "`{}` must have {} that are not on spot nodes",
            demand(index).reference,
            count(f64::from(*min), "replica")
        ),
        Rule::MaxReplicas { demand: index, max } => {
            let most = count(f64::from(*max), "replica");
            format!("`{}` may have {most} (autoscale.max)", demand(index).reference)
        }
        Rule::Together { demand: index } => {
            format!("`{}` may not be split", demand(index).reference)
        }
        Rule::Apart { demands: [one, other] } => {
            let [one, other] = [&demand(one).reference, &demand(other).reference];
            format!("`{one}` and `{other}` must be apart")
        }
        Rule::SameSites { demands: [one, other] } => {
            let [one, other] = [&demand(one).reference, &demand(other).reference];
            format!("`{one}` and `{other}` must be at the same sites")
        }
        Rule::Budget { max_month } => format!("the budget is {} a month", dollars(*max_month)),
    }
}

fn place(over: SpreadOver) -> &'static str {
    match over {
        SpreadOver::Cloud => "cloud",
        SpreadOver::Region => "region",
        SpreadOver::Zone => "zone",
    }
}

fn places(over: SpreadOver) -> &'static str {
    match over {
        SpreadOver::Cloud => "clouds",
        SpreadOver::Region => "regions",
        SpreadOver::Zone => "zones",
    }
}

/// How much of what a limit counts the solution has.
fn needed(formulation: &Formulation, packed: &Packed, limit: usize) -> f64 {
    let problem = formulation.problem;
    let rule = &problem.limits[limit].rule;
    let candidate = |place: usize| &problem.candidates[formulation.kept[place]];
    let rented = || packed.nodes.iter().enumerate().map(|(place, nodes)| (place, nodes.len()));
    let nodes = |count: &dyn Fn(usize) -> f64| -> f64 {
        rented().map(|(place, nodes)| nodes as f64 * count(place)).sum()
    };
    let one_if = |condition: bool| if condition { 1.0 } else { 0.0 };
    match rule {
        Rule::Quota { .. } => nodes(&|place| {
            let candidate = candidate(place);
            one_if(rule.counts_gpus_of(candidate)) * f64::from(candidate.offering.gpus)
        }),
        Rule::CapacityNodes { cloud, .. } => {
            nodes(&|place| one_if(candidate(place).offering.cloud == *cloud))
        }
        Rule::Nodes { candidate: index, .. } => {
            nodes(&|place| one_if(formulation.kept[place] == *index))
        }
        Rule::CapacityGpus { cloud, .. } | Rule::CapacityCpus { cloud, .. } => {
            let gpus = matches!(rule, Rule::CapacityGpus { .. });
            let mut sum = 0.0;
            for (group, seats) in packed.seats.iter().enumerate() {
                let needs = &problem.demands[formulation.groups[group].demands[0]].needs;
                let need = if gpus { f64::from(needs.gpus) } else { needs.cpus };
                sum += need * replicas(formulation, group, seats, |c| c.offering.cloud == *cloud);
            }
            sum
        }
        Rule::LoadOffSpot { demand, .. } => {
            served(formulation, packed, *demand, |one| one.offering.market != Market::Spot)
        }
        Rule::LoadElsewhere { demand, over, .. } => {
            let places: Vec<String> = (0..formulation.kept.len())
                .map(|place| super::formulation::part(candidate(place), *over).clone())
                .collect();
            let without = places.iter().map(|lost| {
                served(formulation, packed, *demand, |one| {
                    super::formulation::part(one, *over) != lost
                })
            });
            without.fold(f64::INFINITY, f64::min)
        }
        // The rules of one demand: the limit and how far it is exceeded.
        Rule::Spot { max_replicas: limit_at, .. }
        | Rule::SpreadShare { max_replicas: limit_at, .. } => {
            f64::from(*limit_at) + excess(formulation, packed, limit)
        }
        Rule::MaxReplicas { max, .. } => f64::from(*max) + excess(formulation, packed, limit),
        Rule::SpreadMin { min, .. } | Rule::BaseOnDemand { min, .. } => {
            f64::from(*min) - excess(formulation, packed, limit)
        }
        Rule::ZoneMin { demand, .. } => zones_for_sure(formulation, packed, *demand),
        Rule::Together { .. } => 1.0 + excess(formulation, packed, limit),
        Rule::Budget { max_month } => {
            let slack = formulation.slacks.iter().find(|slack| slack.limit == limit);
            max_month + slack.map_or(0.0, |slack| packed.values[slack.amount])
        }
        Rule::Apart { .. } | Rule::SameSites { .. } => 0.0,
    }
}

/// As many zones as a demand's replicas take if each were as full as the fullest.
fn zones_for_sure(formulation: &Formulation, packed: &Packed, demand: usize) -> f64 {
    let Some(group) = formulation.group_of(demand) else { return 0.0 };
    let seats = &packed.seats[group];
    let all = replicas(formulation, group, seats, |_| true);
    let most = formulation.seats[group].iter().map(|(place, _)| {
        let zone = &formulation.candidate(*place).zone;
        replicas(formulation, group, seats, |candidate| candidate.zone == *zone)
    });
    (all / most.fold(1.0, f64::max)).ceil()
}

fn replicas(
    formulation: &Formulation,
    group: usize,
    seats: &Counts,
    keep: impl Fn(&Candidate) -> bool,
) -> f64 {
    let seats = formulation.seats[group].iter().zip(seats);
    let kept = seats
        .filter(|((place, _), _)| keep(&formulation.problem.candidates[formulation.kept[*place]]));
    kept.map(|(_, count)| f64::from(*count)).sum()
}

/// Requests a second that a demand serves on these candidates.
fn served(
    formulation: &Formulation,
    packed: &Packed,
    demand: usize,
    keep: impl Fn(&Candidate) -> bool,
) -> f64 {
    let problem = formulation.problem;
    let Some(group) = formulation.group_of(demand) else { return 0.0 };
    let seats = formulation.seats[group].iter().zip(&packed.seats[group]);
    let seats = seats.map(|((place, _), count)| {
        (&problem.candidates[formulation.kept[*place]], f64::from(*count))
    });
    let kept = seats.filter(|(candidate, _)| keep(candidate));
    kept.map(|(candidate, count)| problem.demands[demand].rate(candidate) * count).sum()
}

fn excess(formulation: &Formulation, packed: &Packed, limit: usize) -> f64 {
    let slack = formulation.slacks.iter().find(|slack| slack.limit == limit);
    slack.map_or(0.0, |slack| packed.values[slack.amount].round())
}

fn count(number: f64, noun: &str) -> String {
    let plural = if number == 1.0 { "" } else { "s" };
    format!("{} {noun}{plural}", amount(number))
}

/// Without digits that say nothing.
fn amount(amount: f64) -> String {
    // Adding 0 makes a 0 of -0.
    format!("{}", (amount * 1000.0).round() / 1000.0 + 0.0)
}

/// `$40,120` or `$40,120.50`.
fn dollars(amount: f64) -> String {
    let cents = (amount * 100.0).round().max(0.0) as u64;
    let whole = (cents / 100).to_string();
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match cents % 100 {
        0 => format!("${grouped}"),
        cents => format!("${grouped}.{cents:02}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn dollars_are_grouped() {
        for (amount, text) in [(0.0, "$0"), (999.5, "$999.50"), (1_040_120.0, "$1,040,120")] {
            assert_eq!(super::dollars(amount), text);
        }
    }
}
