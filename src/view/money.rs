//! Dollars, as people write them.

/// `40,120.00`.
pub fn dollars(amount: f64) -> String {
    let cents = (amount.abs() * 100.0).round();
    // Below half a cent there is no sign: "-0.00" says nothing.
    let sign = if amount < 0.0 && cents > 0.0 { "-" } else { "" };
    let whole = (cents / 100.0).trunc();
    let digits = format!("{whole:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}.{:02.0}", cents - whole * 100.0)
}

/// `+$1,200.00`, `-$3.50`, `$0.00`.
pub fn difference(amount: f64) -> String {
    let text = dollars(amount);
    match text.strip_prefix('-') {
        Some(text) => format!("-${text}"),
        None if text == "0.00" => "$0.00".to_owned(),
        None => format!("+${text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_written_by_hand() {
        for (amount, text) in [
            (40_120.0, "40,120.00"),
            (0.0, "0.00"),
            (-0.001, "0.00"),
            (999.999, "1,000.00"),
            (1_234_567.891, "1,234,567.89"),
            (-72.5, "-72.50"),
        ] {
            assert_eq!(dollars(amount), text);
        }
        assert_eq!(difference(1200.0), "+$1,200.00");
        assert_eq!(difference(-3.5), "-$3.50");
        assert_eq!(difference(0.0), "$0.00");
    }
}
