//! `catalog`: what can be rented, where, and for how much.

use std::cmp::Ordering;

use fleetform_contract::{Cloud, Market, Offering};

use super::Ended;
use super::arguments::{Catalog, CatalogOrder};
use super::screen::{Screen, write_out};
use crate::config::matches_pattern;
use crate::diagnostic::Diagnostic;
use crate::view::table::{Align, table};

pub fn run(screen: &Screen, arguments: &Catalog) -> Ended {
    let mut offerings = Vec::new();
    for kind in kinds(arguments)? {
        let cloud = Cloud { name: kind.to_owned(), kind: kind.to_owned(), ..Cloud::default() };
        let provider = fleetform_providers::provider(&cloud).map_err(|error| {
            vec![Diagnostic::error("A cloud cannot be used", format!("{error}."))]
        })?;
        offerings.extend(provider.offerings());
    }
    check_names(arguments, &offerings)?;
    let market = arguments
        .market
        .as_deref()
        .map(str::parse::<Market>)
        .transpose()
        .map_err(|why| vec![Diagnostic::error("Not a market", format!("{why}."))])?;
    offerings.retain(|offering| keeps(arguments, market, offering));
    offerings.sort_by(|a, b| order(arguments.sort, a, b).then_with(|| a.id().cmp(&b.id())));
    let found = offerings.len();
    if arguments.limit > 0 {
        offerings.truncate(arguments.limit);
    }
    if arguments.json {
        let json = serde_json::to_string_pretty(&offerings).expect("offerings serialize");
        write_out(&format!("{json}\n"));
        return Ok(0);
    }
    if offerings.is_empty() {
        screen.say("Nothing in the catalog matches.\n");
        return Ok(0);
    }
    let columns = [
        ("cloud/region", Align::Left),
        ("type", Align::Left),
        ("market", Align::Left),
        ("GPUs", Align::Left),
        ("GiB/GPU", Align::Right),
        ("vCPU", Align::Right),
        ("GiB", Align::Right),
        ("$/hour", Align::Right),
        ("$/month", Align::Right),
        ("as of", Align::Left),
    ];
    let rows: Vec<Vec<String>> = offerings.iter().map(row).collect();
    screen.say(&table("", &columns, &rows));
    if found > offerings.len() {
        screen.say(&format!(
            "\n{} of {found}; -limit=0 shows all. Prices are list prices in US dollars; a month is 730 hours.\n",
            offerings.len()
        ));
    }
    Ok(0)
}

fn kinds(arguments: &Catalog) -> Result<Vec<&'static str>, Vec<Diagnostic>> {
    let rentable: Vec<&'static str> =
        fleetform_providers::kinds().iter().copied().filter(|kind| *kind != "kubernetes").collect();
    match &arguments.cloud {
        None => Ok(rentable),
        Some(wanted) => match rentable.iter().find(|kind| *kind == wanted) {
            Some(kind) => Ok(vec![kind]),
            None => Err(vec![
                Diagnostic::error("No such cloud", format!("The catalog has no cloud `{wanted}`."))
                    .hint(format!("it has: {}", rentable.join(", "))),
            ]),
        },
    }
}

/// A GPU type that nobody sells is a slip of the pen, not an empty answer.
fn check_names(arguments: &Catalog, offerings: &[Offering]) -> Result<(), Vec<Diagnostic>> {
    let Some(wanted) = arguments.gpu.as_deref().filter(|gpu| *gpu != "none") else { return Ok(()) };
    let names: std::collections::BTreeSet<&str> =
        offerings.iter().filter_map(|offering| offering.gpu_type.as_deref()).collect();
    if names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let all: Vec<&str> = names.into_iter().collect();
    Err(vec![
        Diagnostic::error("No such GPU type", format!("Nothing in the catalog has a `{wanted}`."))
            .hint(format!("there are: {}", all.join(", "))),
    ])
}

fn keeps(arguments: &Catalog, market: Option<Market>, offering: &Offering) -> bool {
    let gpu = arguments.gpu.as_deref().is_none_or(|wanted| match &offering.gpu_type {
        None => wanted == "none",
        Some(gpu) => gpu.eq_ignore_ascii_case(wanted),
    });
    let region = arguments
        .region
        .as_deref()
        .is_none_or(|pattern| matches_pattern(pattern, &offering.region));
    gpu && region
        && market.is_none_or(|market| market == offering.market)
        && arguments.min_gpus.is_none_or(|least| offering.gpus >= least)
        && arguments.max_price.is_none_or(|most| offering.price_hour <= most)
}

fn order(by: CatalogOrder, a: &Offering, b: &Offering) -> Ordering {
    let per_gpu = |offering: &Offering| match offering.gpus {
        0 => f64::INFINITY,
        gpus => offering.price_hour / f64::from(gpus),
    };
    match by {
        CatalogOrder::Price => a.price_hour.total_cmp(&b.price_hour),
        CatalogOrder::GpuPrice => per_gpu(a).total_cmp(&per_gpu(b)),
        CatalogOrder::Name => Ordering::Equal,
    }
}

fn row(offering: &Offering) -> Vec<String> {
    let gpus = match &offering.gpu_type {
        Some(gpu) => format!("{} × {gpu}", offering.gpus),
        None => "-".to_owned(),
    };
    let memory = if offering.gpus > 0 { offering.gpu_memory_gib.to_string() } else { "-".into() };
    vec![
        offering.site(),
        offering.instance_type.clone(),
        offering.market.to_string(),
        gpus,
        memory,
        offering.cpus.to_string(),
        offering.memory_gib.to_string(),
        format!("{:.4}", offering.price_hour),
        crate::view::money::dollars(offering.price_hour * 730.0),
        offering.as_of.clone(),
    ]
}
