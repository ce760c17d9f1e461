//! What a cloud charges beside nodes: control planes, bytes that leave a region, bytes that are kept. And
//! what a kilowatt-hour emits where its regions are.

use std::collections::BTreeMap;

/// List prices in US dollars; a gigabyte is 10⁹ bytes. What is not in it costs nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tariff {
    /// One cluster.
    pub control_plane_price_hour: f64,
    pub regions: BTreeMap<String, TariffRegion>,
    /// A gigabyte from a region to another one, by their areas; `*` stands for every other.
    pub between: BTreeMap<(String, String), f64>,
    /// A gigabyte out of the cloud, by [`TariffRegion::internet`]: ascending, the first from 0.
    pub internet: BTreeMap<String, Vec<Tier>>,
    /// Energy of the data centres by that of their machines (PUE); `None` where it is not published.
    pub power_overhead: Option<f64>,
}

/// How a region is priced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TariffRegion {
    /// Regions of an area pay the same between regions.
    pub area: String,
    /// Regions of one name pay the same to the internet, and their bytes are counted together.
    pub internet: String,
    /// A gigabyte in the region's object storage; `None` where the sheet does not say.
    pub storage_gb_month: Option<f64>,
    /// CO2 equivalent of the grid's average kilowatt-hour; `None` where nobody published it.
    pub grid_grams_kwh: Option<f64>,
    /// Its zones that can hold nodes; empty for a region without zones.
    pub zones: Vec<String>,
}

/// What each gigabyte of a month costs above a volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    pub above_gb_month: f64,
    pub price_gb: f64,
}

impl Tariff {
    /// Reads the two tables that a cloud's catalog has, each with a heading:
    /// `region,area,internet,storage_gb_month,grid_grams_kwh,grid_source,zones` (with spaces between the zones)
    /// and `from,to,above_gb_month,price_gb`, where `to` is an area, `*` or `internet`.
    ///
    /// # Panics
    /// If a table is not of that form: it is part of the program.
    pub fn read(control_plane_price_hour: f64, regions: &str, network: &str) -> Tariff {
        let number = |text: &str| -> f64 {
            text.parse().unwrap_or_else(|_| panic!("{text:?} is no number in a tariff"))
        };
        let known = |text: &str| (!text.is_empty()).then(|| number(text));
        let mut tariff = Tariff { control_plane_price_hour, ..Tariff::default() };
        for line in regions.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [region, area, internet, storage, grid, _, zones] = fields[..] else {
                panic!("{line:?} has other than seven fields")
            };
            let region_tariff = TariffRegion {
                area: area.to_owned(),
                internet: internet.to_owned(),
                storage_gb_month: known(storage),
                grid_grams_kwh: known(grid),
                zones: zones.split_whitespace().map(str::to_owned).collect(),
            };
            tariff.regions.insert(region.to_owned(), region_tariff);
        }
        for line in network.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [from, to, above, price] = fields[..] else {
                panic!("{line:?} has other than four fields")
            };
            if to == "internet" {
                let tier = Tier { above_gb_month: number(above), price_gb: number(price) };
                tariff.internet.entry(from.to_owned()).or_default().push(tier);
            } else {
                tariff.between.insert((from.to_owned(), to.to_owned()), number(price));
            }
        }
        tariff
    }

    /// A gigabyte from a region of one area to another region, which may be of the same area.
    pub fn between_gb(&self, from: &str, to: &str) -> f64 {
        let price = |to: &str| self.between.get(&(from.to_owned(), to.to_owned())).copied();
        price(to).or_else(|| price("*")).unwrap_or(0.0)
    }

    /// A gigabyte kept for a month in a region: where the sheet does not say, the dearest that it knows.
    pub fn storage_gb_month(&self, region: &str) -> f64 {
        let own = self.regions.get(region).and_then(|region| region.storage_gb_month);
        own.unwrap_or_else(|| {
            let known = self.regions.values().filter_map(|region| region.storage_gb_month);
            known.fold(0.0, f64::max)
        })
    }

    /// Whether every region's words are prices, and prices fall with the volume: for the catalogs' tests.
    pub fn is_complete(&self) -> bool {
        self.regions.values().all(|region| {
            let tiers = self.internet.get(&region.internet).map_or(&[][..], Vec::as_slice);
            let areas = self.regions.values().map(|other| &other.area);
            let priced = |to: &str| self.between_gb(&region.area, to) > 0.0;
            tiers.first().is_some_and(|first| first.above_gb_month == 0.0)
                && tiers.is_sorted_by(|a, b| {
                    a.above_gb_month < b.above_gb_month && a.price_gb >= b.price_gb
                })
                && areas.into_iter().all(|area| priced(area))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let tariff = Tariff::read(
            0.1,
            "region,area,internet,storage_gb_month,grid_grams_kwh,grid_source,zones\n\
             r1,near,all,0.02,100,x,a b\nr2,near,all,0.03,,,\nr3,far,all,,,,\n",
            "from,to,above_gb_month,price_gb\nnear,near,0,0.01\nnear,*,0,0.02\nfar,*,0,0.1\n\
             all,internet,0,0.09\nall,internet,1000,0.05\n",
        );
        assert!(tariff.is_complete());
        let prices = [("near", "near", 0.01), ("near", "far", 0.02), ("far", "near", 0.1)];
        for (from, to, price) in prices {
            assert_eq!(tariff.between_gb(from, to), price, "{from} {to}");
        }
        assert_eq!(tariff.storage_gb_month("r1"), 0.02);
        assert_eq!(tariff.storage_gb_month("r3"), 0.03, "the dearest stands in");
        assert_eq!(tariff.regions["r1"].grid_grams_kwh, Some(100.0));
        assert_eq!(tariff.regions["r1"].zones, ["a", "b"]);
        assert!(tariff.regions["r2"].zones.is_empty());
        assert_eq!(tariff.internet["all"][1], Tier { above_gb_month: 1000.0, price_gb: 0.05 });
        assert_eq!(Tariff::default().between_gb("near", "far"), 0.0);
    }
}
