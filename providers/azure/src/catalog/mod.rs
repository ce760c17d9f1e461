//! What Azure rents: VM sizes by region and market at list prices, from a dated table
//! (`SOURCES.md` beside it says where every number comes from).
//!
//! Invariant: rows are in the order of their offerings' ids and name a size once per region.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use fleetform_contract::{Cloud, Location, Market, Offering, Tariff};

const TABLE: &str = include_str!("azure.csv");
const LOCATIONS: &str = include_str!("locations.csv");
const REGIONS: &str = include_str!("regions.csv");
const NETWORK: &str = include_str!("network.csv");

/// The VM size of the nodes that run a cluster's own services (DNS, metrics): the smallest size of
/// the catalog that AKS takes for a system pool (at least 2 vCPUs and 4 GiB), sold in every region.
/// <https://learn.microsoft.com/azure/aks/use-system-pools>
pub const SYSTEM_VM_SIZE: &str = "Standard_D2s_v5";

/// One size in one region.
#[derive(Debug)]
pub struct Row {
    pub instance_type: &'static str,
    pub region: &'static str,
    pub gpu_type: Option<&'static str>,
    /// Not whole for sizes that share a GPU.
    pub gpus: f64,
    /// Per GPU.
    pub gpu_memory_gib: f64,
    pub cpus: f64,
    pub memory_gib: f64,
    /// Dollars for one node, on demand.
    pub price_hour: f64,
    pub spot_price_hour: Option<f64>,
    pub architecture: &'static str,
    pub as_of: &'static str,
}

/// Every row, ordered by region and size. Parsed once a process.
pub fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| TABLE.lines().skip(1).map(parse).collect())
}

/// The row of a size in a region; Azure does not mind the case of a size.
pub fn find(region: &str, instance_type: &str) -> Option<&'static Row> {
    in_region(region).iter().find(|row| row.instance_type.eq_ignore_ascii_case(instance_type))
}

pub fn has_region(region: &str) -> bool {
    !in_region(region).is_empty()
}

fn in_region(region: &str) -> &'static [Row] {
    let rows = rows();
    let start = rows.partition_point(|row| row.region < region);
    let length = rows[start..].partition_point(|row| row.region == region);
    &rows[start..start + length]
}

/// Energy of the data centres by that of their machines, as Cloud Carbon Footprint's methodology has it.
const POWER_OVERHEAD: f64 = 1.185;

/// What is paid beside nodes, and what a kilowatt-hour emits.
pub fn tariff(control_plane_price_hour: f64) -> Tariff {
    Tariff {
        power_overhead: Some(POWER_OVERHEAD),
        ..Tariff::read(control_plane_price_hour, REGIONS, NETWORK)
    }
}

/// The zones of a region; none where it has no zones.
pub fn zones(region: &str) -> &'static [String] {
    static TARIFF: OnceLock<Tariff> = OnceLock::new();
    TARIFF.get_or_init(|| tariff(0.0)).regions.get(region).map_or(&[], |region| &region.zones)
}

/// Where a region is.
pub fn location(region: &str) -> Option<&'static Location> {
    static BY_REGION: OnceLock<BTreeMap<&str, Location>> = OnceLock::new();
    BY_REGION.get_or_init(|| Location::table(LOCATIONS)).get(region)
}

/// What can be rented in the cloud's regions (in all of them where it names none), ordered by id.
pub fn offerings(cloud: &Cloud) -> Vec<Offering> {
    let wanted =
        |region: &str| cloud.regions.is_empty() || cloud.regions.iter().any(|r| r == region);
    let mut offerings = Vec::with_capacity(rows().len());
    let regions = rows().chunk_by(|a, b| a.region == b.region);
    for rows in regions.filter(|rows| wanted(rows[0].region)) {
        let location = location(rows[0].region);
        for row in rows.iter().filter(|row| is_offered(row)) {
            let offer = |market, price_hour| offering(cloud, location, row, market, price_hour);
            offerings.push(offer(Market::OnDemand, row.price_hour));
            offerings.extend(row.spot_price_hour.map(|price_hour| offer(Market::Spot, price_hour)));
        }
    }
    offerings
}

/// Whether a node of this size is something replicas can be put on: shares of a GPU are not, and pods
/// ask for `nvidia.com/gpu`, which AMD nodes never have.
fn is_offered(row: &Row) -> bool {
    row.gpus.fract() == 0.0 && !row.gpu_type.is_some_and(|gpu_type| gpu_type.starts_with("MI"))
}

fn offering(
    cloud: &Cloud,
    location: Option<&Location>,
    row: &Row,
    market: Market,
    price_hour: f64,
) -> Offering {
    Offering {
        cloud: cloud.name.clone(),
        region: row.region.to_owned(),
        instance_type: row.instance_type.to_owned(),
        market,
        zones: Vec::new(),
        zone: None,
        max_pods: None,
        gpu_type: row.gpu_type.map(str::to_owned),
        gpus: row.gpus as u32,
        gpu_memory_gib: row.gpu_memory_gib,
        cpus: row.cpus,
        memory_gib: row.memory_gib,
        architecture: row.architecture.to_owned(),
        price_hour,
        max_nodes: None,
        location: location.cloned(),
        as_of: row.as_of.to_owned(),
    }
}

fn parse(line: &'static str) -> Row {
    // Of cells this short, a set of characters finds the end sooner than a character does.
    let mut cells = line.split([',']);
    let mut cell = || cells.next().expect("a row of the catalog has twelve cells");
    let (instance_type, region, _zone) = (cell(), cell(), cell());
    let gpu_type = Some(cell()).filter(|text| !text.is_empty());
    Row {
        instance_type,
        region,
        gpu_type,
        gpus: number(cell()).unwrap_or(0.0),
        gpu_memory_gib: number(cell()).unwrap_or(0.0),
        cpus: number(cell()).expect("every size has vCPUs"),
        memory_gib: number(cell()).expect("every size has memory"),
        price_hour: number(cell()).expect("every row has a price"),
        spot_price_hour: number(cell()),
        architecture: cell(),
        as_of: cell(),
    }
}

fn number(text: &str) -> Option<f64> {
    (!text.is_empty()).then(|| text.parse().expect("the catalog's numbers are numbers"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cloud(regions: &[&str]) -> Cloud {
        Cloud {
            name: "azure".into(),
            kind: "azure".into(),
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            ..Cloud::default()
        }
    }

    #[test]
    fn every_region_has_a_tariff() {
        let tariff = tariff(0.0);
        assert!(tariff.is_complete());
        let located: Vec<&str> =
            LOCATIONS.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
        assert_eq!(tariff.regions.keys().collect::<Vec<_>>(), located);
    }

    #[test]
    fn every_row_makes_sense() {
        assert_eq!(rows().len(), 4627);
        assert!(rows().is_sorted_by_key(|row| row.region));
        let mut seen = BTreeSet::new();
        for row in rows() {
            assert!(seen.insert((row.region, row.instance_type)), "{row:?} stands twice");
            assert!(row.instance_type.starts_with("Standard_"), "{row:?}");
            assert!(row.region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
            assert!(row.cpus > 0.0 && row.memory_gib > 0.0 && row.price_hour > 0.0, "{row:?}");
            assert_eq!(row.gpu_type.is_some(), row.gpus > 0.0, "{row:?}");
            assert_eq!(row.gpu_type.is_some(), row.gpu_memory_gib > 0.0, "{row:?}");
            assert!(row.spot_price_hour.is_none_or(|spot| spot > 0.0 && spot < row.price_hour));
            assert!(["x86_64", "arm64"].contains(&row.architecture), "{row:?}");
            assert!(row.as_of.len() == 10 && row.as_of.starts_with("20"), "{row:?}");
        }
    }

    #[test]
    fn the_system_size_is_sold_everywhere() {
        let regions: BTreeSet<&str> = rows().iter().map(|row| row.region).collect();
        assert_eq!(regions.len(), 57);
        for region in regions {
            assert!(find(region, SYSTEM_VM_SIZE).is_some(), "{region}");
        }
    }

    #[test]
    fn offerings_are_whole_gpus_in_order_of_id() {
        let offerings = offerings(&cloud(&[]));
        assert_eq!(offerings.len(), 4502 + 82, "on demand and spot");
        assert!(offerings.is_sorted_by(|a, b| a.id() < b.id()), "ids rise strictly");
        assert!(offerings.iter().all(|o| (o.gpus > 0) == o.gpu_type.is_some()));
        for left_out in ["Standard_NV6ads_A10_v5", "Standard_ND96isr_MI300X_v5"] {
            assert!(rows().iter().any(|row| row.instance_type == left_out), "{left_out}");
            assert!(!offerings.iter().any(|o| o.instance_type == left_out), "{left_out}");
        }
    }

    #[test]
    fn regions_and_markets_are_told_apart() {
        let cloud = cloud(&["eastus", "westeurope"]);
        let ids: Vec<String> = offerings(&cloud)
            .iter()
            .filter(|offering| offering.instance_type == "Standard_NC4as_T4_v3")
            .map(|offering| format!("{} {}", offering.id(), offering.price_hour))
            .collect();
        assert_eq!(
            ids,
            [
                "azure/eastus/Standard_NC4as_T4_v3/on_demand 0.526",
                "azure/eastus/Standard_NC4as_T4_v3/spot 0.062699",
                "azure/westeurope/Standard_NC4as_T4_v3/on_demand 0.658",
            ]
        );
    }
}
