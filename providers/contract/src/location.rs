//! Where things are on Earth, and how long light takes between them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Mean radius of the Earth.
const EARTH_RADIUS_KM: f64 = 6371.0;
/// Light in glass covers 200 km in a millisecond, so there and back is 100 km.
const ROUND_TRIP_KM_PER_MS: f64 = 100.0;
/// Cables are longer than great circles.
const DETOUR: f64 = 1.5;
/// Routers, queues and the last mile, whatever the distance.
const OVERHEAD_MS: f64 = 5.0;

/// A place on Earth, in degrees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Location {
    pub latitude: f64,
    pub longitude: f64,
    /// ISO 3166-1 alpha-2.
    pub country: Option<Cow<'static, str>>,
}

impl Location {
    /// Along the great circle, by the haversine formula.
    pub fn distance_km(&self, other: &Location) -> f64 {
        let radians = |degrees: f64| degrees.to_radians();
        let latitudes = radians(other.latitude - self.latitude);
        let longitudes = radians(other.longitude - self.longitude);
        let both = radians(self.latitude).cos() * radians(other.latitude).cos();
        let half = (latitudes / 2.0).sin().powi(2) + both * (longitudes / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS_KM * half.sqrt().min(1.0).asin()
    }

    /// An estimate of the network's round trip, for choosing between regions: 5 ms, and 1 ms for each 67 km
    /// of the great circle (light in glass at 200 km/ms, there and back, by cables half as long again).
    /// On the careful side: Frankfurt to Virginia is 103 ms by it and about 90 ms in fact.
    pub fn round_trip_ms(&self, other: &Location) -> f64 {
        OVERHEAD_MS + DETOUR * self.distance_km(other) / ROUND_TRIP_KM_PER_MS
    }

    /// Reads a table `region,place,country,latitude,longitude` with a heading.
    ///
    /// # Panics
    /// If the table is not of that form: it is part of the program.
    pub fn table(text: &'static str) -> BTreeMap<&'static str, Location> {
        let rows = text.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [region, _, country, latitude, longitude] = fields[..] else {
                panic!("{line:?} has other than five fields")
            };
            let degrees = |text: &str| text.parse().expect("degrees are numbers");
            let location = Location {
                latitude: degrees(latitude),
                longitude: degrees(longitude),
                country: Some(country.into()),
            };
            (region, location)
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_round_trips_are_those_of_the_map() {
        let at = |latitude, longitude| Location { latitude, longitude, country: None };
        let (frankfurt, ashburn, sydney) = (at(50.11, 8.68), at(39.04, -77.49), at(-33.87, 151.21));
        // Figures of any great-circle calculator, to a kilometre in a thousand.
        for (from, to, km) in [
            (&frankfurt, &ashburn, 6_537.0),
            (&frankfurt, &sydney, 16_485.0),
            (&sydney, &sydney, 0.0),
        ] {
            let found = from.distance_km(to);
            assert!((found - km).abs() <= km / 500.0, "{found} {km}");
            assert_eq!(found, to.distance_km(from));
        }
        assert!((frankfurt.round_trip_ms(&ashburn) - 103.0).abs() < 0.5);
        assert_eq!(sydney.round_trip_ms(&sydney), 5.0);
        // The other side of the world is half its circumference away.
        let far = at(0.0, 0.0).distance_km(&at(0.0, 180.0));
        assert!((far - 20_015.0).abs() < 1.0, "{far}");
    }
}
