//! What a node emits: an estimate for choosing between regions and machines, not for a report.
//!
//! Watts of the GPUs at their rated power and of the host at half load, times what cooling and conversion
//! add, times the grid's average. What was emitted to make the machine is not in it.

use fleetform_contract::{Offering, Tariff};

use super::HOURS_MONTH;

/// Of the world's average kilowatt-hour in 2024: Ember, Global Electricity Review 2025 (its edition of 2026 has
/// 471 for that year).
pub const WORLD_GRAMS_KWH: f64 = 473.0;
/// Energy of a data centre by that of its machines, on average: Uptime Institute, Global Survey 2024.
const POWER_OVERHEAD: f64 = 1.56;
/// A virtual CPU at half load and a gigabyte of memory: Cloud Carbon Footprint's methodology, with the mean of
/// its least (0.74 W) and most (3.5 W) for AWS, from which those for other clouds differ by little.
const WATTS_PER_CPU: f64 = 2.12;
const WATTS_PER_GIB: f64 = 0.392;
/// Of a GPU that is not in the table.
const WATTS_PER_GPU: f64 = 300.0;
/// Rated power of one GPU, from Nvidia's data sheets.
const GPU_WATTS: [(&str, f64); 24] = [
    ("A10", 150.0),
    ("A100", 400.0),
    ("A100-80GB", 400.0),
    ("A10G", 150.0),
    ("B200", 1000.0),
    ("B300", 1400.0),
    ("GB200", 1200.0),
    ("H100", 700.0),
    ("H100-NVL", 400.0),
    ("H200", 700.0),
    ("K80", 150.0),
    ("L4", 72.0),
    ("L40S", 350.0),
    ("M60", 150.0),
    ("Orin", 60.0),
    ("P100", 250.0),
    ("P4", 75.0),
    ("P40", 250.0),
    ("RTXPRO6000", 600.0),
    ("T4", 70.0),
    ("T4g", 70.0),
    ("V100", 300.0),
    ("V100-32GB", 300.0),
    ("Xavier", 30.0),
];

/// Kilograms of CO2 equivalent that one node emits in a month, all of which it runs.
pub fn kg_month(offering: &Offering, tariff: Option<&Tariff>) -> f64 {
    let known = tariff.and_then(|tariff| tariff.regions.get(&offering.region)?.grid_grams_kwh);
    let overhead = tariff.and_then(|tariff| tariff.power_overhead).unwrap_or(POWER_OVERHEAD);
    let kwh = watts(offering) / 1000.0 * HOURS_MONTH * overhead;
    kwh * known.unwrap_or(WORLD_GRAMS_KWH) / 1000.0
}

fn watts(offering: &Offering) -> f64 {
    let gpu = offering.gpu_type.as_deref().map_or(0.0, |name| {
        let known = GPU_WATTS.iter().find(|(known, _)| *known == name);
        known.map_or(WATTS_PER_GPU, |(_, watts)| *watts)
    });
    f64::from(offering.gpus) * gpu
        + offering.cpus * WATTS_PER_CPU
        + offering.memory_gib * WATTS_PER_GIB
}
