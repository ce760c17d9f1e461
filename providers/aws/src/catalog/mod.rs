//! What AWS rents: the price sheet in `aws.csv` as offerings. Where its numbers come from and
//! what is left out when it is read stands in `SOURCES.md`.
//!
//! Invariant: rows are in the order of their offerings' ids, those of a type in a region by zone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use fleetform_contract::{Cloud, Location, Market, Offering, Tariff};

static SHEET: &str = include_str!("aws.csv");
static LOCATIONS: &str = include_str!("locations.csv");
static TARIFF_REGIONS: &str = include_str!("regions.csv");
static NETWORK: &str = include_str!("network.csv");
static PODS: &str = include_str!("pods.csv");

/// One line of the sheet: a type in a region and, where its spot price depends on it, a zone.
#[derive(Clone, Debug)]
pub struct Row {
    pub instance_type: &'static str,
    pub region: &'static str,
    /// Empty for all zones.
    pub zone: &'static str,
    /// Empty for CPU-only types.
    pub accelerator: &'static str,
    /// Not whole where a type has a part of a GPU.
    pub accelerators: f64,
    /// Per accelerator.
    pub accelerator_memory_gib: f64,
    pub cpus: f64,
    pub memory_gib: f64,
    pub price_hour: f64,
    pub spot_price_hour: Option<f64>,
    pub architecture: &'static str,
    pub as_of: &'static str,
}

/// Accelerators that pods reach by `nvidia.com/gpu`.
const NVIDIA: [&str; 15] = [
    "A100",
    "A100-80GB",
    "A10G",
    "B200",
    "B300",
    "H100",
    "H200",
    "L4",
    "L40S",
    "RTXPRO4500",
    "RTXPRO6000",
    "T4",
    "T4g",
    "V100",
    "V100-32GB",
];

/// Every row of the sheet, in its order.
pub fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| SHEET.lines().skip(1).map(parse).collect())
}

/// Energy of the data centres by that of their machines, as Cloud Carbon Footprint's methodology has it.
const POWER_OVERHEAD: f64 = 1.135;

/// What is paid beside nodes, and what a kilowatt-hour emits.
pub fn tariff(control_plane_price_hour: f64) -> Tariff {
    Tariff {
        power_overhead: Some(POWER_OVERHEAD),
        ..Tariff::read(control_plane_price_hour, TARIFF_REGIONS, NETWORK)
    }
}

/// The zones of a region that nodes can be in.
pub fn zones(region: &str) -> &'static [String] {
    static TARIFF: OnceLock<Tariff> = OnceLock::new();
    TARIFF.get_or_init(|| tariff(0.0)).regions.get(region).map_or(&[], |region| &region.zones)
}

/// Where a region is.
pub fn location(region: &str) -> Option<&'static Location> {
    static BY_REGION: OnceLock<BTreeMap<&str, Location>> = OnceLock::new();
    BY_REGION.get_or_init(|| Location::table(LOCATIONS)).get(region)
}

/// The pods that a node's network interfaces have addresses for, where they are fewer than the kubelet's 110.
fn max_pods(instance_type: &str) -> Option<u32> {
    static BY_TYPE: OnceLock<BTreeMap<&str, u32>> = OnceLock::new();
    let by_type = BY_TYPE.get_or_init(|| {
        let rows = PODS.lines().skip(1).map(|line| line.split_once(',').expect("two fields"));
        rows.map(|(name, pods)| (name, pods.parse().expect("a number of pods"))).collect()
    });
    by_type.get(instance_type).copied()
}

/// Every region of the sheet.
pub fn regions() -> &'static BTreeSet<&'static str> {
    static REGIONS: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    REGIONS.get_or_init(|| rows().iter().map(|row| row.region).collect())
}

/// What can be rented in the cloud's regions (in all of them where it names none), ordered by id.
pub fn offerings(cloud: &Cloud) -> Vec<Offering> {
    let wanted =
        |region: &str| cloud.regions.is_empty() || cloud.regions.iter().any(|r| r == region);
    let mut offerings = Vec::with_capacity(rows().len());
    let regions = rows().chunk_by(|a, b| a.region == b.region);
    for rows in regions.filter(|rows| wanted(rows[0].region)) {
        let location = location(rows[0].region);
        let types = rows.chunk_by(|a, b| a.instance_type == b.instance_type);
        let offered = types.filter(|rows| rows[0].is_offered());
        offerings.extend(offered.flat_map(|rows| offer(&cloud.name, location, rows)));
    }
    offerings
}

impl Row {
    fn is_offered(&self) -> bool {
        let whole = self.accelerators.fract() == 0.0;
        self.accelerator.is_empty() || (whole && NVIDIA.contains(&self.accelerator))
    }
}

/// The offerings of one type in one region, from its rows for zones.
fn offer(cloud: &str, location: Option<&Location>, rows: &[Row]) -> impl Iterator<Item = Offering> {
    let row = &rows[0];
    let max_pods = max_pods(row.instance_type);
    let make = |market, price_hour, zones: Vec<String>| Offering {
        cloud: cloud.to_owned(),
        region: row.region.to_owned(),
        instance_type: row.instance_type.to_owned(),
        market,
        zones,
        zone: None,
        max_pods,
        gpu_type: Some(row.accelerator).filter(|name| !name.is_empty()).map(str::to_owned),
        gpus: row.accelerators as u32,
        gpu_memory_gib: row.accelerator_memory_gib,
        cpus: row.cpus,
        memory_gib: row.memory_gib,
        architecture: row.architecture.to_owned(),
        price_hour,
        max_nodes: None,
        location: location.cloned(),
        as_of: row.as_of.to_owned(),
    };
    let zones = |rows: &mut dyn Iterator<Item = &Row>| {
        let named = rows.map(|row| row.zone).filter(|zone| !zone.is_empty());
        named.map(str::to_owned).collect()
    };
    let on_demand = make(Market::OnDemand, row.price_hour, zones(&mut rows.iter()));

    let mut spot_prices: Vec<f64> = rows.iter().filter_map(|row| row.spot_price_hour).collect();
    spot_prices.sort_by(f64::total_cmp);
    let spot = (!spot_prices.is_empty()).then(|| {
        let mut sold = rows.iter().filter(|row| row.spot_price_hour.is_some());
        make(Market::Spot, spot_prices[(spot_prices.len() - 1) / 2], zones(&mut sold))
    });
    [Some(on_demand), spot].into_iter().flatten()
}

fn parse(line: &'static str) -> Row {
    // Of cells this short, a set of characters finds the end sooner than a character does.
    let mut fields = line.split([',']);
    let mut field = || fields.next().unwrap_or_else(|| panic!("the price sheet is cut: {line}"));
    let number = |text: &str| {
        text.parse().unwrap_or_else(|_| panic!("`{text}` is no number in the price sheet: {line}"))
    };
    let number_or_zero = |text: &str| if text.is_empty() { 0.0 } else { number(text) };
    Row {
        instance_type: field(),
        region: field(),
        zone: field(),
        accelerator: field(),
        accelerators: number_or_zero(field()),
        accelerator_memory_gib: number_or_zero(field()),
        cpus: number(field()),
        memory_gib: number(field()),
        price_hour: number(field()),
        spot_price_hour: Some(field()).filter(|text| !text.is_empty()).map(number),
        architecture: field(),
        as_of: field(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Offering> {
        offerings(&Cloud { name: "aws".into(), kind: "aws".into(), ..Cloud::default() })
    }

    #[test]
    fn every_region_has_a_tariff() {
        let tariff = tariff(0.0);
        assert!(tariff.is_complete());
        // A cluster wants subnets in two zones, and a type is sold in zones of its region.
        assert!(tariff.regions.values().all(|region| region.zones.len() >= 2));
        let known: BTreeSet<&str> =
            tariff.regions.values().flat_map(|r| &r.zones).map(String::as_str).collect();
        let sold: BTreeSet<&str> =
            rows().iter().map(|row| row.zone).filter(|z| !z.is_empty()).collect();
        let unusable: Vec<&&str> = sold.difference(&known).collect();
        assert_eq!(unusable, [&"use1-az3"], "it cannot hold EKS");
        let located: Vec<&str> =
            LOCATIONS.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
        assert_eq!(tariff.regions.keys().collect::<Vec<_>>(), located);
    }

    #[test]
    fn the_sheet_keeps_its_promises() {
        let offerings = all();
        let ids: Vec<String> = offerings.iter().map(Offering::id).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ordered, none twice");
        for offering in &offerings {
            let id = offering.id();
            assert!(offering.price_hour > 0.0 && offering.price_hour.is_finite(), "{id}");
            assert!(offering.cpus >= 1.0 && offering.memory_gib > 0.0, "{id}");
            assert_eq!(offering.gpu_type.is_some(), offering.gpus > 0, "{id}");
            assert_eq!(offering.gpus > 0, offering.gpu_memory_gib > 0.0, "{id}");
            assert!(["x86_64", "arm64"].contains(&offering.architecture.as_str()), "{id}");
            assert!(!offering.as_of.is_empty(), "{id}");
        }
        assert_eq!((rows().len(), offerings.len()), (3065, 2860));
        assert_eq!(rows().iter().filter(|row| !row.is_offered()).count(), 187);
    }

    #[test]
    fn zones_of_a_type_agree_on_all_but_spot() {
        let mut seen: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
        for row in rows() {
            let first = seen.entry((row.region, row.instance_type)).or_insert(row);
            let facts = |row: &Row| {
                (row.price_hour, row.cpus, row.memory_gib, row.accelerators, row.accelerator)
            };
            assert_eq!(facts(first), facts(row), "{} {}", row.region, row.instance_type);
        }
    }

    #[test]
    fn known_prices_are_found() {
        let offerings = all();
        let find = |id: &str| {
            offerings.iter().find(|o| o.id() == id).unwrap_or_else(|| panic!("{id} is missing"))
        };
        let p4d = find("aws/us-east-1/p4d.24xlarge/on_demand");
        assert_eq!((p4d.price_hour * 1e4).round() / 1e4, 21.9576);
        assert_eq!((p4d.gpu_type.as_deref(), p4d.gpus, p4d.zones.len()), (Some("A100"), 8, 4));
        // 2.4655, 7.8799, 8.1203 and 8.1915 in its four zones.
        assert_eq!(find("aws/us-east-1/p4d.24xlarge/spot").price_hour, 7.8799);
        let l4 = find("aws/us-east-1/g6.xlarge/on_demand");
        assert_eq!(
            (l4.gpus, l4.cpus, l4.memory_gib, l4.as_of.as_str()),
            (1, 4.0, 16.0, "2026-07-20")
        );
        assert!(offerings.iter().any(|o| o.gpus == 0 && o.architecture == "arm64"));
        // Three interfaces of ten addresses, one of them each its own, and two pods on the host's network.
        let pods = |name: &str| find(&format!("aws/us-east-1/{name}/on_demand")).max_pods;
        assert_eq!(
            [pods("m6i.large"), pods("m6i.xlarge"), pods("m6i.8xlarge")],
            [Some(29), Some(58), None]
        );
        assert!(!offerings.iter().any(|o| o.instance_type.starts_with("inf2.")));
    }

    #[test]
    fn regions_filter() {
        let cloud = Cloud {
            name: "prod".into(),
            kind: "aws".into(),
            regions: vec!["eu-west-1".into()],
            ..Cloud::default()
        };
        let offerings = offerings(&cloud);
        assert!(!offerings.is_empty());
        assert!(offerings.iter().all(|o| o.region == "eu-west-1" && o.cloud == "prod"));
    }
}
