//! What Google Cloud rents: machine types by region, with zones and list prices (`SOURCES.md`).
//!
//! The table is compiled in and read once, without allocating for its texts.
//!
//! Invariant: entries are in the order of their offerings' ids, and so by region.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fleetform_contract::{Location, Market, Offering, Tariff};

const TABLE: &str = include_str!("gcp.csv");
const LOCATIONS: &str = include_str!("locations.csv");
const REGIONS: &str = include_str!("regions.csv");
const NETWORK: &str = include_str!("network.csv");

/// A machine type (with its GPUs) in a region: every zone that sells it.
#[derive(Debug)]
struct Entry {
    region: &'static str,
    instance_type: &'static str,
    zones: Vec<&'static str>,
    gpu_type: Option<&'static str>,
    gpus: u32,
    gpu_memory_gib: f64,
    cpus: f64,
    memory_gib: f64,
    on_demand_hour: Option<f64>,
    spot_hour: Option<f64>,
    architecture: &'static str,
    as_of: &'static str,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| read(TABLE));

/// What a node pool of an instance type is made of: `n1-standard-8+T4:1` is the machine type
/// `n1-standard-8` with one T4 attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine<'a> {
    pub machine_type: &'a str,
    /// Fleetform's name of the attached GPU and how many of it; `None` for GPUs that come with the
    /// machine type.
    pub attached: Option<(&'a str, u32)>,
}

/// Google's names of GPUs, by ours.
const ACCELERATORS: &[(&str, &str)] = &[
    ("A100", "nvidia-tesla-a100"),
    ("A100-80GB", "nvidia-a100-80gb"),
    ("H100", "nvidia-h100-80gb"),
    ("H100-MEGA", "nvidia-h100-mega-80gb"),
    ("L4", "nvidia-l4"),
    ("P100", "nvidia-tesla-p100"),
    ("P4", "nvidia-tesla-p4"),
    ("T4", "nvidia-tesla-t4"),
    ("V100", "nvidia-tesla-v100"),
];

/// Every offering in the regions (all of them where none is named), ordered by [`Offering::id`].
pub fn offerings(cloud: &str, regions: &[String]) -> Vec<Offering> {
    let wanted = |region: &str| regions.is_empty() || regions.iter().any(|r| r == region);
    let mut offerings = Vec::with_capacity(2 * ENTRIES.len());
    let regions = ENTRIES.chunk_by(|a, b| a.region == b.region);
    for entries in regions.filter(|entries| wanted(entries[0].region)) {
        let location = location(entries[0].region);
        for entry in entries {
            let offer = |market, price_hour| offering(cloud, location, entry, market, price_hour);
            offerings.extend(entry.on_demand_hour.map(|price| offer(Market::OnDemand, price)));
            offerings.extend(entry.spot_hour.map(|price| offer(Market::Spot, price)));
        }
    }
    offerings
}

fn offering(
    cloud: &str,
    location: Option<&Location>,
    entry: &Entry,
    market: Market,
    price_hour: f64,
) -> Offering {
    Offering {
        cloud: cloud.to_owned(),
        region: entry.region.to_owned(),
        instance_type: entry.instance_type.to_owned(),
        market,
        zones: entry.zones.iter().map(|zone| (*zone).to_owned()).collect(),
        zone: None,
        max_pods: None,
        gpu_type: entry.gpu_type.map(str::to_owned),
        gpus: entry.gpus,
        gpu_memory_gib: entry.gpu_memory_gib,
        cpus: entry.cpus,
        memory_gib: entry.memory_gib,
        architecture: entry.architecture.to_owned(),
        price_hour,
        max_nodes: None,
        location: location.cloned(),
        as_of: entry.as_of.to_owned(),
    }
}

/// Energy of the data centres by that of their machines, as Cloud Carbon Footprint's methodology has it.
const POWER_OVERHEAD: f64 = 1.1;

/// What is paid beside nodes, and what a kilowatt-hour emits.
pub fn tariff(control_plane_price_hour: f64) -> Tariff {
    Tariff {
        power_overhead: Some(POWER_OVERHEAD),
        ..Tariff::read(control_plane_price_hour, REGIONS, NETWORK)
    }
}

/// Where a region is.
pub fn location(region: &str) -> Option<&'static Location> {
    static BY_REGION: LazyLock<BTreeMap<&str, Location>> =
        LazyLock::new(|| Location::table(LOCATIONS));
    BY_REGION.get(region)
}

/// Takes an instance type of the table apart.
pub fn machine(instance_type: &str) -> Machine<'_> {
    let attached = instance_type.split_once('+').and_then(|(machine_type, gpus)| {
        let (name, count) = gpus.split_once(':')?;
        Some(Machine { machine_type, attached: Some((name, count.parse().ok()?)) })
    });
    attached.unwrap_or(Machine { machine_type: instance_type, attached: None })
}

/// Google's name of a GPU. One that is not in the table gets the name Google would most likely give.
pub fn accelerator_type(gpu_type: &str) -> String {
    let known = ACCELERATORS.iter().find(|(ours, _)| *ours == gpu_type);
    known.map_or_else(
        || format!("nvidia-{}", gpu_type.to_lowercase()),
        |(_, name)| (*name).to_owned(),
    )
}

/// The regions of the table, in order.
pub fn regions() -> impl Iterator<Item = &'static str> {
    ENTRIES.chunk_by(|a, b| a.region == b.region).map(|entries| entries[0].region)
}

fn in_region(region: &str) -> &'static [Entry] {
    let start = ENTRIES.partition_point(|entry| entry.region < region);
    let length = ENTRIES[start..].partition_point(|entry| entry.region == region);
    &ENTRIES[start..start + length]
}

/// The zones of a region where general types are sold, in order; empty for a region that is not in the
/// table. Some GPU types are sold in further zones.
pub fn region_zones(region: &str) -> Vec<String> {
    static TARIFF: LazyLock<Tariff> = LazyLock::new(|| tariff(0.0));
    TARIFF.regions.get(region).map_or_else(Vec::new, |region| region.zones.clone())
}

/// The region of a zone that exists.
pub fn region_of(zone: &str) -> Option<&str> {
    let (region, _) = zone.rsplit_once('-')?;
    let sells = |entry: &Entry| entry.zones.contains(&zone);
    (in_region(region).iter().any(sells) || region_zones(region).iter().any(|known| known == zone))
        .then_some(region)
}

/// The instance type of the table that a machine type with these GPUs (Google's name, number) is, where
/// the zone sells it.
pub fn sold_in(
    zone: &str,
    machine_type: &str,
    accelerator: Option<(&str, i64)>,
) -> Option<&'static str> {
    let region = region_of(zone)?;
    let found = in_region(region).iter().find(|entry| {
        let made_of = machine(entry.instance_type);
        let gpus = entry.gpu_type.map(|gpu| (accelerator_type(gpu), i64::from(entry.gpus)));
        let same_gpus = match (&gpus, accelerator) {
            (None, None) => true,
            (Some((name, count)), Some((wanted, number))) => name == wanted && *count == number,
            // GPUs that come with the machine type may go without saying.
            (Some(_), None) => made_of.attached.is_none(),
            (None, Some(_)) => false,
        };
        made_of.machine_type == machine_type && same_gpus && entry.sells_in(zone)
    });
    found.map(|entry| entry.instance_type)
}

/// Whether a machine type exists in a zone at all, whatever is attached to it.
pub fn machine_exists(zone: &str, machine_type: &str) -> bool {
    let Some(region) = region_of(zone) else { return false };
    in_region(region).iter().any(|entry| {
        machine(entry.instance_type).machine_type == machine_type && entry.sells_in(zone)
    })
}

impl Entry {
    /// Whether the zone sells it; types without zones are sold in every general zone.
    fn sells_in(&self, zone: &str) -> bool {
        if self.zones.is_empty() {
            return region_zones(self.region).iter().any(|known| known == zone);
        }
        self.zones.contains(&zone)
    }
}

/// Rows of one type and region differ in their zone only; a line that is not understood is left out
/// (the tests make sure that there is none).
fn read(table: &'static str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in table.lines().skip(1) {
        // Of cells this short, a set of characters finds the end sooner than a character does.
        let mut columns = line.split([',']);
        let mut next = || columns.next().unwrap_or_default();
        let (instance_type, region, zone) = (next(), next(), next());
        if let Some(entry) = entries.last_mut()
            && (entry.instance_type, entry.region) == (instance_type, region)
        {
            entry.zones.push(zone);
            continue;
        }
        let gpu_type = Some(next()).filter(|name| !name.is_empty());
        let mut number = || next().parse::<f64>().ok();
        let (gpus, gpu_memory_gib) = (number(), number());
        let (Some(cpus), Some(memory_gib)) = (number(), number()) else { continue };
        let (on_demand_hour, spot_hour) = (number(), number());
        let (architecture, as_of) = (next(), next());
        entries.push(Entry {
            region,
            instance_type,
            zones: Some(zone).filter(|zone| !zone.is_empty()).into_iter().collect(),
            gpu_type,
            gpus: gpus.unwrap_or_default() as u32,
            gpu_memory_gib: gpu_memory_gib.unwrap_or_default(),
            cpus,
            memory_gib,
            on_demand_hour,
            spot_hour,
            architecture,
            as_of,
        });
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_region_has_a_tariff() {
        let tariff = tariff(0.0);
        assert!(tariff.is_complete());
        let located: Vec<&str> =
            LOCATIONS.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
        assert_eq!(tariff.regions.keys().collect::<Vec<_>>(), located);
    }

    #[test]
    fn the_table_keeps_its_promises() {
        let rows = TABLE.lines().skip(1).count();
        let zones: usize = ENTRIES.iter().map(|entry| entry.zones.len().max(1)).sum();
        assert_eq!(zones, rows, "every row is read, and none twice");
        assert!(ENTRIES.is_sorted_by_key(|entry| entry.region), "a region in one piece");

        let all = offerings("gcp", &[]);
        assert!(all.len() > 4000, "{}", all.len());
        let ids: Vec<String> = all.iter().map(Offering::id).collect();
        assert!(ids.is_sorted(), "ordered by id");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no id twice");
        for offering in &all {
            let id = offering.id();
            assert!(offering.price_hour > 0.0, "{id} costs nothing");
            assert!(offering.cpus > 0.0 && offering.memory_gib > 0.0, "{id} has no size");
            assert_eq!(offering.gpu_type.is_some(), offering.gpus > 0, "{id}");
            assert_eq!(offering.gpus > 0, offering.gpu_memory_gib > 0.0, "{id}");
            assert_eq!(offering.as_of.len(), "2026-07-30".len(), "{id}");
            let home = |zone: &String| zone.starts_with(&format!("{}-", offering.region));
            assert!(offering.zones.iter().all(home), "{id} has a zone of another region");
            assert_eq!(offering.gpus > 0, !offering.zones.is_empty(), "{id}");
            if let Some(gpu) = &offering.gpu_type {
                assert!(ACCELERATORS.iter().any(|(ours, _)| ours == gpu), "{id}: {gpu} at Google?");
            }
        }
        assert!(all.iter().any(|o| o.gpu_type.is_none()) && all.iter().any(|o| o.gpus == 16));
    }

    #[test]
    fn a_known_price_is_as_published() {
        let all = offerings("main-gcp", &["us-central1".into()]);
        assert!(all.iter().all(|offering| offering.region == "us-central1"));
        let price = |market| {
            let found =
                all.iter().find(|o| o.instance_type == "a2-highgpu-1g" && o.market == market);
            found.map(|offering| (offering.price_hour, offering.gpu_type.clone(), offering.id()))
        };
        let id = |market: &str| format!("main-gcp/us-central1/a2-highgpu-1g/{market}");
        let a100 = Some("A100".to_owned());
        assert_eq!(price(Market::OnDemand), Some((3.673_385, a100.clone(), id("on_demand"))));
        let (spot, gpu, spot_id) = price(Market::Spot).expect("it is sold on the spot market");
        assert!(spot < 3.673_385 && gpu == a100 && spot_id == id("spot"), "{spot}");
    }

    #[test]
    fn prices_of_one_type_and_region_agree_over_zones() {
        let mut seen: BTreeMap<(&str, &str), (&str, &str)> = BTreeMap::new();
        for line in TABLE.lines().skip(1) {
            let columns: Vec<&str> = line.split(',').collect();
            assert_eq!(columns.len(), 12, "{line}");
            let prices = (columns[8], columns[9]);
            assert_eq!(*seen.entry((columns[0], columns[1])).or_insert(prices), prices, "{line}");
        }
    }

    #[test]
    fn attached_gpus_are_told_from_those_that_come_with_the_machine() {
        for (instance_type, machine_type, attached) in [
            ("a2-highgpu-1g", "a2-highgpu-1g", None),
            ("n1-standard-8+T4:1", "n1-standard-8", Some(("T4", 1))),
            ("n1-standard-8+V100:2", "n1-standard-8", Some(("V100", 2))),
            ("odd+one", "odd+one", None),
        ] {
            assert_eq!(machine(instance_type), Machine { machine_type, attached });
        }
    }

    #[test]
    fn zones_sell_what_the_table_says() {
        let a100 = Some(("nvidia-tesla-a100", 1));
        assert_eq!(sold_in("us-central1-a", "a2-highgpu-1g", a100), Some("a2-highgpu-1g"));
        assert_eq!(sold_in("us-central1-a", "a2-highgpu-1g", None), Some("a2-highgpu-1g"));
        assert_eq!(sold_in("us-central1-a", "a2-highgpu-1g", Some(("nvidia-l4", 1))), None);
        assert_eq!(sold_in("us-central1-a", "n2-standard-8", None), Some("n2-standard-8"));
        assert_eq!(sold_in("us-central1-a", "n2-standard-8", a100), None);
        let t4 = Some(("nvidia-tesla-t4", 1));
        assert_eq!(sold_in("us-central1-a", "n1-standard-8", t4), Some("n1-standard-8+T4:1"));
        assert_eq!(sold_in("mars-north1-a", "n1-standard-8", None), None);
        assert!(machine_exists("us-central1-a", "n1-standard-8"));
        assert!(!machine_exists("us-central1-a", "n9-standard-8"));
        assert_eq!(region_zones("us-east1"), ["us-east1-b", "us-east1-c", "us-east1-d"]);
        assert_eq!(region_zones("mars-north1"), [""; 0]);
        assert_eq!(region_of("us-east1-a"), Some("us-east1"), "GPU types are sold there");
        assert_eq!(sold_in("us-east1-a", "n2-standard-8", None), None, "general types are not");
    }
}
