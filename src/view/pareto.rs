//! The front of cost and another end, as a table and as a chart.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Paint;
use super::money::{difference, dollars};
use super::table::{Align, table};
use crate::placement::{End, Placement, Point};

/// What the other end is called in which place.
struct Words {
    title: &'static str,
    column: &'static str,
    axis: &'static str,
    note: &'static str,
}

fn words(end: End) -> Words {
    match end {
        End::Latency => Words {
            title: "Cost and latency",
            column: "latency",
            axis: "estimated round trip, ms (mean over replicas)",
            note: "Latency is the estimated round trip to `placement.latency.from`, the mean over replicas.",
        },
        End::Carbon => Words {
            title: "Cost and carbon",
            column: "CO2e/month",
            axis: "estimated CO2 equivalent, kg a month",
            note: "Carbon is an estimate of what the nodes emit at full load of their GPUs, by the grids' averages.",
        },
    }
}

fn amount(end: End, point: &Point) -> String {
    match end {
        End::Latency => format!("{:.1} ms", point.amount),
        End::Carbon => format!("{:.1} kg", point.amount),
    }
}

/// The table. It ends with a newline.
pub fn front(points: &[Point], end: End, paint: Paint) -> String {
    let words = words(end);
    let columns = [
        (words.column, Align::Right),
        ("$/month", Align::Right),
        ("more than the cheapest", Align::Right),
        ("replicas at", Align::Left),
    ];
    let least = points.last().map_or(0.0, cost);
    let rows = points.iter().map(|point| {
        vec![
            amount(end, point),
            dollars(cost(point)),
            difference(cost(point) - least),
            sites(&point.placement),
        ]
    });
    format!(
        "{}\n\n{}\n  {}\n",
        paint.bold(words.title),
        table("  ", &columns, &rows.collect::<Vec<_>>()),
        words.note
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
pub fn chart(points: &[Point], end: End, stack: &str) -> String {
    let words = words(end);
    let across = Scale::over(points.iter().map(|point| point.amount), LEFT, WIDTH - RIGHT);
    let up = Scale::over(points.iter().map(cost), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{LEFT}" y="28" font-size="16">{} of {}</text>
"##,
        words.title,
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
<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>
<text transform="translate(18 {:.1}) rotate(-90)" text-anchor="middle">dollars a month</text>"##,
        f64::midpoint(LEFT, right),
        HEIGHT - 16.0,
        words.axis,
        f64::midpoint(TOP, bottom)
    );
    let mut line = String::new();
    for (index, point) in points.iter().enumerate() {
        let (x, y) = (across.at(point.amount), up.at(cost(point)));
        let _ = match index {
            0 => write!(line, "M{x:.1} {y:.1}"),
            _ => write!(line, "H{x:.1}V{y:.1}"),
        };
    }
    let _ = writeln!(svg, r##"<path d="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>"##);
    for point in points {
        let _ = writeln!(
            svg,
            r##"<circle cx="{:.1}" cy="{:.1}" r="4" fill="#1f6feb"><title>{}, ${} a month: {}</title></circle>"##,
            across.at(point.amount),
            up.at(cost(point)),
            amount(end, point),
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
        let room = if most > least { 0.0 } else { most.abs().max(1.0) / 10.0 };
        let (least, most) = (least - room, most + room);
        let span = most - least;
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
