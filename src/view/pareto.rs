//! The front of cost and latency, as a table and as a chart.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Paint;
use super::money::{difference, dollars};
use super::table::{Align, table};
use crate::placement::{Placement, Point};

/// The table. It ends with a newline.
pub fn front(points: &[Point], paint: Paint) -> String {
    let columns = [
        ("latency", Align::Right),
        ("$/month", Align::Right),
        ("more than the cheapest", Align::Right),
        ("replicas at", Align::Left),
    ];
    let least = points.last().map_or(0.0, cost);
    let rows = points.iter().map(|point| {
        vec![
            format!("{:.1} ms", point.latency_ms),
            dollars(cost(point)),
            difference(cost(point) - least),
            sites(&point.placement),
        ]
    });
    format!(
        "{}\n\n{}\n  Latency is the estimated round trip to `placement.latency.from`, the mean over replicas.\n",
        paint.bold("Cost and latency"),
        table("  ", &columns, &rows.collect::<Vec<_>>())
    )
}

fn cost(point: &Point) -> f64 {
    point.placement.cost.total_month
}

/// `3 aws/us-east-1, 1 gcp/us-central1`.
fn sites(placement: &Placement) -> String {
    let mut by_site: BTreeMap<String, u32> = BTreeMap::new();
    for seats in &placement.seats {
        let site = placement.rentals[&seats.offering].offering.site();
        *by_site.entry(site).or_default() += seats.replicas;
    }
    let sites = by_site.iter().map(|(site, replicas)| format!("{replicas} {site}"));
    sites.collect::<Vec<_>>().join(", ")
}

/// Pixels: the picture, and the margins around the chart in it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;

/// The chart, as SVG. Between two points nothing is cheaper than the nearer one, so the line has steps.
pub fn chart(points: &[Point], stack: &str) -> String {
    let across = Scale::over(points.iter().map(|point| point.latency_ms), LEFT, WIDTH - RIGHT);
    let up = Scale::over(points.iter().map(cost), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{LEFT}" y="28" font-size="16">Cost and latency of {}</text>
"##,
        escaped(stack)
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for tick in &across.ticks {
        let x = across.at(*tick);
        let _ = writeln!(
            svg,
            r##"<path d="M{x:.1} {TOP}V{bottom}" stroke="#ddd"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{tick}</text>"##,
            bottom + 18.0
        );
    }
    for tick in &up.ticks {
        let y = up.at(*tick);
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">${}</text>"##,
            LEFT - 8.0,
            y + 4.0,
            dollars(*tick).trim_end_matches(".00")
        );
    }
    let _ = writeln!(
        svg,
        r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#222"/>
<text x="{:.1}" y="{:.1}" text-anchor="middle">estimated round trip, ms (mean over replicas)</text>
<text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">dollars a month</text>"##,
        f64::midpoint(LEFT, right),
        HEIGHT - 16.0,
        f64::midpoint(TOP, bottom)
    );
    let mut line = String::new();
    for (index, point) in points.iter().enumerate() {
        let (x, y) = (across.at(point.latency_ms), up.at(cost(point)));
        let _ = match index {
            0 => write!(line, "M{x:.1} {y:.1}"),
            _ => write!(line, "H{x:.1}V{y:.1}"),
        };
    }
    let _ = writeln!(svg, r##"<path d="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>"##);
    for point in points {
        let _ = writeln!(
            svg,
            r##"<circle cx="{:.1}" cy="{:.1}" r="4" fill="#1f6feb"><title>{:.1} ms, ${} a month: {}</title></circle>"##,
            across.at(point.latency_ms),
            up.at(cost(point)),
            point.latency_ms,
            dollars(cost(point)),
            escaped(&sites(&point.placement))
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// From values to pixels, with round ticks around the values.
struct Scale {
    ticks: Vec<f64>,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Scale {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        // One value alone gets some room around it.
        let span = if most > least { most - least } else { most.abs().max(1.0) };
        let rough = span / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let first = (least / step).floor();
        let last = (most / step).ceil().max(first + 1.0);
        let ticks = (0..=(last - first) as u32).map(|index| {
            let tick = (first + f64::from(index)) * step;
            (tick * 1000.0).round() / 1000.0
        });
        Scale { ticks: ticks.collect(), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let (first, last) = (self.ticks[0], self.ticks[self.ticks.len() - 1]);
        self.from + (value - first) / (last - first) * (self.to - self.from)
    }
}
