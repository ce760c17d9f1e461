//! Kubernetes quantities: `500m`, `16Gi`, `1e3`.

/// A quantity as an exact number of thousandths; `None` for text that is none or is finer than that.
pub(crate) fn millis(text: &str) -> Option<i128> {
    let split =
        text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    // Powers of ten times powers of two.
    let (ten, two) = match suffix {
        "" => (0, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            (digits.parse::<i32>().ok().filter(|power| power.abs() <= 18)?, 0)
        }
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > 18 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = sign * all.parse::<i128>().ok()? * (1_i128 << two);
    let power = ten + 3 - i32::try_from(fraction.len()).ok()?;
    if power >= 0 {
        value.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)
    } else {
        let divisor = 10_i128.checked_pow(power.unsigned_abs())?;
        (value % divisor == 0).then_some(value / divisor)
    }
}

/// Whether two texts are the same quantity in different spellings.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one == other || millis(one).is_some_and(|value| millis(other) == Some(value))
}

/// As the API server spells it: the largest suffix of the same family that keeps it whole.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let value = millis(text)?;
    let binary = text.ends_with('i');
    if value % 1000 != 0 {
        return Some(format!("{value}m"));
    }
    let whole = value / 1000;
    if whole == 0 {
        return Some("0".to_owned());
    }
    let (base, suffixes): (i128, &[&str]) = if binary {
        (1024, &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
    } else {
        (1000, &["k", "M", "G", "T", "P", "E"])
    };
    let (mut rest, mut suffix) = (whole, "");
    for next in suffixes {
        if rest % base != 0 {
            break;
        }
        (rest, suffix) = (rest / base, next);
    }
    Some(format!("{rest}{suffix}"))
}

/// Processor cores: `4`, `1500m`.
pub(crate) fn cpus(cores: f64) -> String {
    let millis = (cores * 1000.0).round();
    if millis % 1000.0 == 0.0 { format!("{}", millis / 1000.0) } else { format!("{millis}m") }
}

/// Binary gigabytes: `16Gi`, `1536Mi`.
pub(crate) fn gibibytes(gib: f64) -> String {
    if gib.fract() == 0.0 { format!("{gib}Gi") } else { format!("{}Mi", (gib * 1024.0).ceil()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_quantity_are_the_same() {
        for (one, other) in
            [("1000m", "1"), ("0.5", "500m"), ("1Gi", "1024Mi"), ("1e3", "1k"), ("1.5Gi", "1536Mi")]
        {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1G", "1Gi"), ("x", "1"), ("", "0"), ("1.5.5", "1")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn quantities_are_spelled_as_the_api_server_does() {
        for (text, expected) in [
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("2000", "2k"),
            ("0", "0"),
            ("8", "8"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(canonical("many"), None);
        assert_eq!((cpus(4.0), cpus(0.5)), ("4".to_owned(), "500m".to_owned()));
        assert_eq!((gibibytes(16.0), gibibytes(1.5)), ("16Gi".to_owned(), "1536Mi".to_owned()));
    }
}
