//! Which offerings fit a workload, and the words for when none does.
//!
//! The offerings are narrowed one rule at a time, in a fixed order. The first rule that leaves nothing
//! is the one the user hears about: with what there is instead, and the change nearest at hand.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Cloud, Location, Market, Offering, Reservation};

use super::{Offer, Size};
use crate::config::{Amount, Stack, Workload, matches_pattern};
use crate::diagnostic::Diagnostic;

/// The rules, in the order in which they narrow.
const STEPS: [Step; 13] = [
    Step::Cloud,
    Step::Region,
    Step::Residency,
    Step::Latency,
    Step::Market,
    Step::Kind,
    Step::GpuType,
    Step::Throughput,
    Step::Architecture,
    Step::Gpus,
    Step::GpuMemory,
    Step::Cpus,
    Step::Memory,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Cloud,
    Region,
    /// In a country that is allowed.
    Residency,
    /// Near enough.
    Latency,
    Market,
    /// With GPUs, or without for replicas that need none.
    Kind,
    GpuType,
    /// With a GPU type on which the model's throughput is known, for who is sized by load.
    Throughput,
    Architecture,
    Gpus,
    GpuMemory,
    Cpus,
    Memory,
}

/// The rules that ask where a candidate is; the others ask what it is.
const WHERE: [Step; 4] = [Step::Cloud, Step::Region, Step::Residency, Step::Latency];

/// Many offers are at one place, and many are of one kind: a rule is asked once for each.
pub(super) struct Offered<'a> {
    all: &'a [Offer<'a>],
    /// One of each place, and one of each kind.
    places: Vec<&'a Offer<'a>>,
    kinds: Vec<&'a Offer<'a>>,
    /// By offer: its place and its kind.
    of: Vec<(usize, usize)>,
    gpu_types: BTreeSet<&'a str>,
}

impl<'a> Offered<'a> {
    /// Of offers that are ordered by id.
    pub fn new(all: &'a [Offer<'a>]) -> Offered<'a> {
        let mut places: Vec<&Offer> = Vec::new();
        let mut kinds: Vec<&Offer> = Vec::new();
        let mut number: BTreeMap<_, usize> = BTreeMap::new();
        let mut of = Vec::with_capacity(all.len());
        let is_together = |a: &Offer, b: &Offer| {
            (&a.offering.region, &a.offering.cloud) == (&b.offering.region, &b.offering.cloud)
        };
        for there in all.chunk_by(is_together) {
            places.push(&there[0]);
            for offer in there {
                let offering = offer.offering;
                // What tells most apart comes first.
                let kind = (
                    (offer.usable, offering.market, offer.reserved),
                    (offering.gpus, offering.gpu_memory_gib.to_bits()),
                    (&offering.gpu_type, &offering.architecture),
                );
                let kind = *number.entry(kind).or_insert_with(|| {
                    kinds.push(offer);
                    kinds.len() - 1
                });
                of.push((places.len() - 1, kind));
            }
        }
        let gpu_types = kinds.iter().filter_map(|kind| kind.offering.gpu_type.as_deref());
        Offered { all, gpu_types: gpu_types.collect(), places, kinds, of }
    }
}

/// Indices of the offers that can hold one replica and are allowed to, ascending.
pub(super) fn candidates(
    stack: &Stack,
    workload: &Workload,
    offered: &Offered,
) -> Result<Vec<usize>, Vec<Diagnostic>> {
    let unknown = unknown_patterns(stack, workload, &offered.places);
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let (by_place, by_kind): (Vec<Step>, Vec<Step>) =
        STEPS.into_iter().partition(|step| WHERE.contains(step));
    let pass = |steps: &[Step], those: &[&Offer]| -> Vec<bool> {
        let passes = |one: &&Offer| steps.iter().all(|step| passes(*step, workload, one));
        those.iter().map(passes).collect()
    };
    let places = pass(&by_place, &offered.places);
    let kinds = pass(&by_kind, &offered.kinds);
    let of = offered.of.iter().enumerate();
    let fitting: Vec<usize> =
        of.filter(|(_, (place, kind))| places[*place] && kinds[*kind]).map(|(i, _)| i).collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let all = offered.all;
    let mut left: Vec<usize> = (0..all.len()).collect();
    for step in STEPS {
        let next: Vec<usize> =
            left.iter().copied().filter(|index| passes(step, workload, &all[*index])).collect();
        if next.is_empty() {
            let before: Vec<&Offer> = left.iter().map(|index| &all[*index]).collect();
            return Err(vec![no_offering(stack, workload, step, &before, offered)]);
        }
        left = next;
    }
    Ok(left)
}

fn passes(step: Step, workload: &Workload, offer: &Offer) -> bool {
    let (needs, rules, offering) = (&workload.needs, &workload.placement, offer.offering);
    let size = Size::of_replica(needs);
    match step {
        Step::Cloud => rules.clouds.is_empty() || rules.clouds.contains(&offering.cloud),
        Step::Region => {
            rules.regions.is_empty()
                || rules.regions.iter().any(|p| matches_pattern(p, &offering.region))
        }
        // A place that nobody told cannot be said to be inside a country, or near.
        Step::Residency => {
            rules.residency.is_empty()
                || offering.location.as_ref().is_some_and(|place| {
                    rules.residency.iter().any(|allowed| is_inside(place, allowed))
                })
        }
        Step::Latency => rules.latency.as_ref().is_none_or(|rule| {
            let place = offering.location.as_ref();
            place.is_some_and(|place| place.round_trip_ms(&rule.from) <= rule.max_ms)
        }),
        // What is reserved is paid for: whoever may run on demand may run there.
        Step::Market => {
            rules.markets.contains(&offering.market)
                || offer.reserved && rules.markets.contains(&Market::OnDemand)
        }
        Step::Kind => (needs.gpus > 0) == (offering.gpus > 0),
        Step::GpuType => {
            needs.gpus == 0
                || needs.gpu_types.is_empty()
                || offering.gpu_type.as_ref().is_some_and(|of| needs.gpu_types.contains(of))
        }
        Step::Throughput => match &workload.amount {
            Amount::Replicas(_) => true,
            Amount::Load(load) => {
                offering.gpu_type.as_ref().is_some_and(|of| load.rates.contains_key(of))
            }
        },
        // Images are built for x86_64 unless somebody says otherwise; who names a GPU that only arm64
        // machines carry, says so.
        Step::Architecture => {
            offering.architecture != "arm64"
                || offering.gpu_type.as_ref().is_some_and(|of| needs.gpu_types.contains(of))
        }
        Step::Gpus => size.gpus <= offer.usable.gpus,
        Step::GpuMemory => {
            needs.gpus == 0 || needs.gpu_memory_gib <= offering.gpu_memory_gib + 1e-9
        }
        Step::Cpus => size.cpu_millis <= offer.usable.cpu_millis,
        Step::Memory => size.memory_mib <= offer.usable.memory_mib,
    }
}

/// Members of the European Union, in order
/// (<https://european-union.europa.eu/principles-countries-history/eu-countries_en>).
pub(crate) const EU: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];
/// With those, the European Economic Area (<https://www.efta.int/about-efta/european-economic-area>).
pub(crate) const EEA_BESIDE_EU: [&str; 3] = ["IS", "LI", "NO"];

/// Whether a place is inside a country or a group of countries.
fn is_inside(place: &Location, allowed: &str) -> bool {
    let Some(country) = place.country.as_deref() else { return false };
    match allowed {
        "EU" => EU.contains(&country),
        "EEA" => EU.contains(&country) || EEA_BESIDE_EU.contains(&country),
        code => country == code,
    }
}

fn no_offering(
    stack: &Stack,
    workload: &Workload,
    step: Step,
    before: &[&Offer],
    offered: &Offered,
) -> Diagnostic {
    let needs = &workload.needs;
    let reference = &workload.reference;
    let may = match confinement(workload, before) {
        Some(confinement) => format!("`{reference}` {confinement} and "),
        None => String::new(),
    };
    let there = if may.is_empty() { "" } else { " there" };
    let largest = |of: fn(&Offer) -> f64| before.iter().map(|c| of(c)).fold(0.0, f64::max);
    let (attribute, detail, at_most) = match step {
        Step::Cloud => {
            let names = list(workload.placement.clouds.iter().map(|name| format!("`{name}`")));
            let detail = if names.is_empty() {
                format!("No cloud of the stack offers anything that `{reference}` could run on.")
            } else {
                format!("`{reference}` may run on {names} only, and nothing is offered there.")
            };
            ("placement.clouds", detail, None)
        }
        Step::Region => {
            let regions = list(workload.placement.regions.iter().cloned());
            let clouds = list(distinct(before, |c| c.offering.cloud.clone()));
            let detail = format!(
                "`{reference}` is limited to {regions}, and nothing is offered there by {clouds}."
            );
            ("placement.regions", detail, None)
        }
        Step::Residency => {
            let countries = list(workload.placement.residency.iter().cloned());
            let there = distinct(before, |c| {
                let place = c.offering.location.as_ref();
                let country = place.and_then(|place| place.country.as_deref());
                country.map_or_else(
                    || format!("{} (nobody told where)", c.offering.site()),
                    str::to_owned,
                )
            });
            let detail = format!(
                "`{reference}` must stay in {countries}, and what it may use is in {}.",
                list(there)
            );
            ("placement.residency", detail, None)
        }
        Step::Latency => {
            let rule = workload.placement.latency.as_ref().expect("the rule removed something");
            let trips = before.iter().filter_map(|offer| {
                let place = offer.offering.location.as_ref()?;
                Some((place.round_trip_ms(&rule.from), offer.offering.site()))
            });
            let nearest = trips.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            let most = number(rule.max_ms);
            let (detail, hint) = match nearest {
                Some((trip, site)) => (
                    format!(
                        "`{reference}` must be within {most} ms, and the nearest region that it may \
                         use, {site}, is about {} ms away.",
                        number(trip.ceil())
                    ),
                    format!("allow \"{}ms\", or another region", number(trip.ceil())),
                ),
                None => (
                    format!(
                        "`{reference}` must be within {most} ms, and nobody told where the clusters \
                         are that it may use."
                    ),
                    "say where: `location = { latitude = …, longitude = … }`".to_owned(),
                ),
            };
            ("placement.latency.max", detail, Some(hint))
        }
        Step::Market => {
            let markets = list(workload.placement.markets.iter().map(|m| format!("`{m}`")));
            let detail =
                format!("Because {may}nothing is sold{there} on {markets}, no node can be rented.");
            ("placement.markets", detail, None)
        }
        Step::Kind if needs.gpus > 0 => {
            let detail = format!("Because {may}no offering{there} has a GPU, no node can hold it.");
            ("resources.gpus", detail, None)
        }
        Step::Kind => {
            let detail = format!(
                "Because {may}every offering{there} has GPUs, there is no node for a replica that \
                 needs none."
            );
            ("resources", detail, None)
        }
        Step::GpuType => {
            let types = list(needs.gpu_types.iter().map(|name| format!("`{name}`")));
            let offered = distinct(before, |c| c.offering.gpu_type.clone().unwrap_or_default());
            let detail = format!(
                "Because {may}no offering{there} has a GPU of type {types}, no node can hold one \
                 replica. There are: {}.",
                list(offered)
            );
            ("resources.gpu_types", detail, None)
        }
        Step::Throughput => {
            let model = workload.model.as_deref().unwrap_or_default();
            let offered = distinct(before, |c| c.offering.gpu_type.clone().unwrap_or_default());
            let told = match &workload.amount {
                Amount::Load(load) => list(load.rates.keys().cloned()),
                Amount::Replicas(_) => String::new(),
            };
            let detail = format!(
                "`{reference}` is sized by its load, and `model.{model}` has a throughput on {told} \
                 only. Because {may}the GPUs{there} are {}, nothing is known to serve it.",
                list(offered.iter().cloned())
            );
            let first = offered.first().cloned().unwrap_or_default();
            let hint = format!("measure it and add `throughput \"{first}\"` to `model.{model}`");
            ("load", detail, Some(hint))
        }
        Step::Architecture => {
            let detail = format!(
                "Because {may}every offering{there} is an arm64 machine, which runs only images \
                 built for it, none was chosen."
            );
            ("resources", detail, None)
        }
        Step::Gpus => {
            let most = largest(|c| f64::from(c.offering.gpus));
            let detail = format!(
                "One replica needs {}. Because {may}the largest offering{there} has {}, no node \
                 can hold one replica.",
                count(needs.gpus.into(), "GPU"),
                count(most, "GPU")
            );
            ("resources.gpus", detail, Some(format!("ask for at most {}", count(most, "GPU"))))
        }
        Step::GpuMemory => {
            let most = number(largest(|c| c.offering.gpu_memory_gib));
            let asked = number(needs.gpu_memory_gib);
            let detail = format!(
                "One replica needs GPUs with {asked} GiB. Because {may}the largest such GPU{there} \
                 has {most} GiB, no node can hold one replica."
            );
            ("resources.gpu_memory", detail, Some(format!("ask for at most {most}GiB")))
        }
        Step::Cpus => {
            let most = number(largest(|c| c.usable.cpu_millis as f64 / 1000.0));
            let detail = format!(
                "One replica needs {}. Because {may}the largest such node{there} leaves {most} \
                 CPUs to replicas (the system keeps the rest), no node can hold one replica.",
                count(needs.cpus, "CPU")
            );
            ("resources.cpus", detail, Some(format!("ask for at most {most} CPUs")))
        }
        Step::Memory => {
            let most = largest(|c| c.usable.memory_mib as f64 / 1024.0);
            let most = number((most * 100.0).floor() / 100.0);
            let detail = format!(
                "One replica needs {} GiB of memory. Because {may}the largest such node{there} \
                 leaves {most} GiB to replicas (the system keeps the rest), no node can hold one \
                 replica.",
                number(needs.memory_gib)
            );
            ("resources.memory", detail, Some(format!("ask for at most {most}GiB")))
        }
    };
    let near = nearest(workload, step, offered.all);
    let known = &offered.gpu_types;
    let meant = match step {
        Step::GpuType => needs.gpu_types.iter().find_map(|name| {
            let unknown = !known.contains(name.as_str());
            unknown.then(|| similar(name, known.iter().copied())).flatten()
        }),
        _ => None,
    };
    let hint = match (meant, near, at_most) {
        (Some(meant), _, _) => Some(format!("did you mean `{meant}`?")),
        (None, Some(near), Some(at_most)) => Some(format!("{near}, or {at_most}")),
        (None, near, at_most) => near.or(at_most),
    };
    let mut error = Diagnostic::error("No offering fits", detail)
        .at(stack.span(&format!("{}.{attribute}", workload.path)))
        .about(reference);
    error.hint = hint;
    error
}

/// "is limited to aws/eu-west-1": where the workload may run, if that is less than everywhere.
fn confinement(workload: &Workload, left: &[&Offer]) -> Option<String> {
    let rules = &workload.placement;
    if rules.clouds.is_empty() && rules.regions.is_empty() {
        let sites = distinct(left, |c| c.offering.site());
        return (sites.len() == 1).then(|| format!("can run in {} only", list(sites)));
    }
    let sites = distinct(left, |c| c.offering.site());
    Some(match sites.len() {
        0..=3 => format!("is limited to {}", list(sites)),
        many => format!("is limited to {many} regions"),
    })
}

/// The one rule whose removal would help, in words: another region, market or cloud.
fn nearest(workload: &Workload, failed: Step, all: &[Offer]) -> Option<String> {
    let without = |gone: &[Step]| {
        let steps = STEPS.into_iter().filter(|step| !gone.contains(step));
        let steps: Vec<Step> = steps.collect();
        let fits = |c: &&Offer| steps.iter().all(|step| passes(*step, workload, c));
        all.iter().filter(fits).min_by(|a, b| {
            let price = a.offering.price_hour.total_cmp(&b.offering.price_hour);
            price.then_with(|| a.offering.cmp_by_id(b.offering))
        })
    };
    // What keeps a place out by where it is has its own words.
    if matches!(failed, Step::Residency | Step::Latency) {
        return None;
    }
    let rules = &workload.placement;
    if !rules.regions.is_empty()
        && let Some(found) = without(&[Step::Region])
    {
        return Some(format!("allow another region: {} has one that fits", found.offering.site()));
    }
    if let Some(found) = without(&[Step::Market]) {
        return Some(format!("allow the market `{}`", found.offering.market));
    }
    if !rules.clouds.is_empty()
        && let Some(found) = without(&[Step::Cloud])
    {
        return Some(format!("allow `cloud.{}`", found.offering.cloud));
    }
    if let Some(found) = without(&[Step::Cloud, Step::Region]) {
        return Some(format!("allow another place: {} has one that fits", found.offering.site()));
    }
    let found = without(&[failed])?;
    match failed {
        Step::GpuType => {
            let gpu_type = found.offering.gpu_type.as_deref().unwrap_or_default();
            Some(format!("allow the GPU type `{gpu_type}`"))
        }
        Step::Architecture => {
            let gpu_type = found.offering.gpu_type.as_deref()?;
            Some(format!("if the image is built for arm64, name `{gpu_type}` in `gpu_types`"))
        }
        _ => None,
    }
}

/// Patterns of `regions` that no region of the clouds in question fits.
fn unknown_patterns(stack: &Stack, workload: &Workload, places: &[&Offer]) -> Vec<Diagnostic> {
    let patterns = &workload.placement.regions;
    if patterns.is_empty() {
        return Vec::new();
    }
    let offered = places.iter().filter(|c| passes(Step::Cloud, workload, c));
    let regions: BTreeSet<&str> = offered.map(|c| c.offering.region.as_str()).collect();
    if regions.is_empty() {
        return Vec::new();
    }
    let unknown =
        patterns.iter().filter(|p| !regions.iter().any(|region| matches_pattern(p, region)));
    unknown
        .map(|pattern| {
            let detail = format!(
                "`{}` asks for the region `{pattern}`, and the clouds it may use have none of \
                 that name. They have: {}.",
                workload.reference,
                list(regions.iter().map(|region| (*region).to_owned()))
            );
            let mut error = Diagnostic::error("Unknown region", detail)
                .at(stack.span(&format!("{}.placement.regions", workload.path)))
                .about(&workload.reference);
            error.hint = similar(pattern, regions.iter().copied())
                .map(|region| format!("did you mean `{region}`?"));
            error
        })
        .collect()
}

/// Regions of a cloud's block where nothing is offered.
pub(super) fn unknown_regions(
    stack: &Stack,
    cloud: &Cloud,
    offered: &[Offering],
) -> Vec<Diagnostic> {
    if cloud.regions.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<&str> = offered.iter().map(|o| o.region.as_str()).collect();
    let unknown = cloud.regions.iter().filter(|region| !known.contains(region.as_str()));
    unknown
        .map(|region| {
            let reference = format!("cloud.{}", cloud.name);
            let detail =
                format!("The catalog of `{reference}` has nothing in a region `{region}`.");
            let mut error = Diagnostic::error("Unknown region", detail)
                .at(stack.span(&format!("{reference}.regions")))
                .about(&reference);
            error.hint = similar(region, known.iter().copied())
                .map(|region| format!("did you mean `{region}`?"));
            error
        })
        .collect()
}

pub(super) fn unknown_reservation(
    stack: &Stack,
    path: &str,
    reservation: &Reservation,
    offered: &[Offering],
) -> Diagnostic {
    let Reservation { region, instance_type, .. } = reservation;
    let there = offered.iter().filter(|offering| offering.region == *region);
    let names: BTreeSet<&str> = there.map(|offering| offering.instance_type.as_str()).collect();
    let detail =
        format!("A reservation names `{instance_type}`, which is not offered in {region}.");
    let mut error = Diagnostic::error("Unknown instance type", detail)
        .at(stack.span(&format!("{path}.instance_type")));
    error.hint = similar(instance_type, names).map(|name| format!("did you mean `{name}`?"));
    error
}

/// GPU types that no offering has, where another of the list does fit.
pub(super) fn doubtful_gpu_types(
    stack: &Stack,
    workload: &Workload,
    offered: &Offered,
) -> Vec<Diagnostic> {
    let known = &offered.gpu_types;
    let names = &workload.needs.gpu_types;
    if !names.iter().any(|name| known.contains(name.as_str())) {
        return Vec::new();
    }
    let doubtful = names.iter().filter(|name| !known.contains(name.as_str()));
    doubtful
        .map(|name| {
            let detail = format!(
                "No cloud of the stack offers a GPU of type `{name}`; `{}` will run on others.",
                workload.reference
            );
            let mut warning = Diagnostic::warning("GPU type is not offered", detail)
                .at(stack.span(&format!("{}.resources.gpu_types", workload.path)))
                .about(&workload.reference);
            warning.hint = similar(name, known.iter().copied())
                .map(|known| format!("did you mean `{known}`?"));
            warning
        })
        .collect()
}

/// The nearest of the known names, if one is near.
fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase();
    let scored = known.into_iter().map(|candidate| {
        let same = candidate.to_lowercase();
        let score = strsim::jaro_winkler(&folded, &same);
        // A name that continues what was written is near however long it is: A100 → A100-80GB.
        (if same.starts_with(&folded) { score.max(0.9) } else { score }, candidate)
    });
    let near = scored.filter(|(score, _)| *score >= 0.8);
    near.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))).map(|(_, name)| name)
}

fn distinct(offers: &[&Offer], of: fn(&Offer) -> String) -> BTreeSet<String> {
    offers.iter().map(|offer| of(offer)).collect()
}

/// `a, b and c`; of a long list its start.
fn list(names: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<String> = names.into_iter().collect();
    if names.len() > SHOWN {
        let more = names.len() - SHOWN;
        names.truncate(SHOWN);
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

fn count(amount: f64, noun: &str) -> String {
    let plural = if amount == 1.0 { "" } else { "s" };
    format!("{} {noun}{plural}", number(amount))
}

/// Without digits that say nothing.
fn number(amount: f64) -> String {
    let rounded = (amount * 1000.0).round() / 1000.0;
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let known = ["A100", "A100-80GB", "H100", "L4", "T4"];
        for (name, near) in [("l4", Some("L4")), ("H10O", Some("H100")), ("TPU-v5", None)] {
            assert_eq!(similar(name, known), near, "{name}");
        }
    }
}
