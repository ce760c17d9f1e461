//! Quantities: strings with units, `"24GiB"`, `"50Mbps"`, `"1h30m"`.

use fleetform_contract::Value;

use super::convert::parse_number;

/// What an attribute measures; a bare number counts the first unit of each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// GiB.
    Memory,
    /// Decimal terabytes.
    Storage,
    /// Mbps.
    Bandwidth,
    /// Seconds.
    Duration,
    /// Milliseconds.
    Latency,
}

const KIB: f64 = 1024.0;

/// Bytes.
const BYTES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("PB", 1e15),
    ("KiB", KIB),
    ("MiB", KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("TiB", KIB * KIB * KIB * KIB),
    ("PiB", KIB * KIB * KIB * KIB * KIB),
];
/// Bits a second.
const BITS: &[(&str, f64)] =
    &[("bps", 1.0), ("Kbps", 1e3), ("Mbps", 1e6), ("Gbps", 1e9), ("Tbps", 1e12)];
/// Milliseconds.
const TIMES: &[(&str, f64)] =
    &[("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3_600e3), ("d", 86_400e3)];

impl Measure {
    fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Measure::Memory | Measure::Storage => BYTES,
            Measure::Bandwidth => BITS,
            Measure::Duration | Measure::Latency => TIMES,
        }
    }

    /// The unit results are in, in the units of [`Measure::units`].
    fn base(self) -> f64 {
        match self {
            Measure::Memory => KIB * KIB * KIB,
            Measure::Storage => 1e12,
            Measure::Bandwidth => 1e6,
            Measure::Duration => 1e3,
            Measure::Latency => 1.0,
        }
    }

    pub(super) fn example(self) -> &'static str {
        match self {
            Measure::Memory => "\"24GiB\"",
            Measure::Storage => "\"10TB\"",
            Measure::Bandwidth => "\"50Mbps\"",
            Measure::Duration => "\"30s\" or \"6h\"",
            Measure::Latency => "\"80ms\"",
        }
    }
}

/// Why a value is no quantity, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub detail: String,
    pub hint: String,
}

/// The quantity in its measure's unit.
pub(super) fn parse(value: &Value, measure: Measure) -> Result<f64, Mistake> {
    let text = match value {
        Value::Number(number) => return Ok(*number),
        Value::String(text) => text.trim(),
        _ => {
            return Err(Mistake {
                detail: "A quantity is a string with a unit.".into(),
                hint: format!("for example {}", measure.example()),
            });
        }
    };
    if let Some(number) = parse_number(text) {
        return Ok(number);
    }
    let mut total = 0.0;
    let mut rest = text;
    loop {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
        let (number, tail) = rest.split_at(digits.unwrap_or(rest.len()));
        let tail = tail.trim_start();
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
        let (unit, tail) = tail.split_at(end.unwrap_or(tail.len()));
        let number = parse_number(number).ok_or_else(|| Mistake {
            detail: format!("{text:?} does not start with a number."),
            hint: format!("for example {}", measure.example()),
        })?;
        total += number * scale(text, unit.trim_end(), measure)?;
        rest = tail;
        // Only times are written in several parts: 1h30m.
        if rest.is_empty() || measure.units() != TIMES {
            break;
        }
    }
    if !rest.is_empty() {
        return Err(Mistake {
            detail: format!("{text:?} has something after its unit."),
            hint: format!("for example {}", measure.example()),
        });
    }
    Ok(total / measure.base())
}

fn scale(text: &str, unit: &str, measure: Measure) -> Result<f64, Mistake> {
    let units = measure.units();
    if let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) {
        return Ok(*scale);
    }
    let detail = if unit.is_empty() {
        format!("{text:?} has no unit.")
    } else {
        format!("{text:?} has the unit `{unit}`, which does not fit here.")
    };
    // `24Gi` and `24gb` and `24G` mean something, and we know what; `Gb` is bits, and here a guess
    // would be wrong by eight.
    let bits = units == BYTES && unit.len() >= 2 && unit.ends_with('b') && !unit.ends_with("ib");
    let near = units.iter().find(|(name, _)| {
        name.eq_ignore_ascii_case(unit)
            || name.strip_suffix('B').is_some_and(|short| short.eq_ignore_ascii_case(unit))
            || (unit.len() > 1
                && name.strip_suffix("ps").is_some_and(|short| short.eq_ignore_ascii_case(unit)))
    });
    let hint = match near {
        Some((name, _)) if bits => format!("`{unit}` counts bits; bytes are written `{name}`"),
        Some((name, _)) => format!("write `{name}`"),
        None => {
            let names = units.iter().map(|(name, _)| *name).collect::<Vec<_>>();
            format!("units are {}", names.join(", "))
        }
    };
    Err(Mistake { detail, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_their_measures_unit() {
        for (text, measure, expected) in [
            ("24GiB", Measure::Memory, 24.0),
            ("512MiB", Measure::Memory, 0.5),
            ("10TB", Measure::Storage, 10.0),
            ("500 GB", Measure::Storage, 0.5),
            ("1Gbps", Measure::Bandwidth, 1000.0),
            ("1h30m", Measure::Duration, 5400.0),
            ("80ms", Measure::Latency, 80.0),
            ("1.5s", Measure::Latency, 1500.0),
            ("3", Measure::Memory, 3.0),
        ] {
            assert_eq!(parse(&text.into(), measure), Ok(expected), "{text}");
        }
        assert_eq!(parse(&2.into(), Measure::Storage), Ok(2.0));
    }

    #[test]
    fn wrong_units_say_what_to_write() {
        for (text, measure, hint) in [
            ("24Gi", Measure::Memory, "write `GiB`"),
            ("24gib", Measure::Memory, "write `GiB`"),
            ("24G", Measure::Memory, "write `GB`"),
            ("24Gb", Measure::Memory, "`Gb` counts bits; bytes are written `GB`"),
            ("50Mb", Measure::Bandwidth, "write `Mbps`"),
            ("6 hours", Measure::Duration, "units are ms, s, m, h, d"),
            ("GiB", Measure::Memory, "for example"),
            ("1GiB2GiB", Measure::Memory, "for example"),
            ("", Measure::Memory, "for example"),
        ] {
            let mistake = parse(&text.into(), measure).expect_err(text);
            assert!(mistake.hint.starts_with(hint), "{text}: {mistake:?}");
        }
    }
}
