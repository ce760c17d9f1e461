//! Numbers as text, and back.

use std::cmp::Ordering;

/// A number's text: decimal without an exponent, as short as tells it from every other double.
pub fn number_to_text(number: f64) -> String {
    format!("{}", number + 0.0)
}

/// The number a text says, as Terraform reads it: decimal, perhaps with an exponent, no spaces.
/// `None` where it says none or one too large for a double.
pub fn parse_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Rust would read "inf" and "nan" as well.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

/// Takes off the last-digit noise of binary fractions: where a decimal of at most 15 digits is
/// within two steps of the number, that decimal. `0.1 + 0.2` is `0.3`, as it is with Terraform's
/// longer numbers; `1 / 3` stays as it is.
pub fn tidy(number: f64) -> f64 {
    if !number.is_finite() || number.fract() == 0.0 {
        return number;
    }
    let Ok(decimal) = format!("{number:.14e}").parse::<f64>() else { return number };
    // Neighbouring doubles of one sign are neighbouring integers in their bits.
    if number.to_bits().abs_diff(decimal.to_bits()) <= 2 { decimal } else { number }
}

/// A number's shortest decimal digits: `0.d₁d₂… · 10^point`.
pub(super) struct Decimal {
    pub negative: bool,
    /// Values 0 to 9, the first not 0; empty for zero.
    pub digits: Vec<u8>,
    pub point: i32,
}

impl Decimal {
    pub fn new(number: f64) -> Decimal {
        let negative = number < 0.0;
        if number == 0.0 {
            return Decimal { negative, digits: Vec::new(), point: 0 };
        }
        let text = format!("{:e}", number.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0');
        let point = exponent.parse::<i32>().unwrap_or(0) + 1;
        Decimal { negative, digits: digits.collect(), point }
    }

    /// Keeps `count` digits. Half is rounded as Terraform's number of 512 bits would be, which is a
    /// little above or below the decimal, and to even where it is exactly that.
    pub fn round(&mut self, count: i64) {
        let Ok(count) = usize::try_from(count) else {
            self.digits.clear();
            self.point = 0;
            return;
        };
        if count >= self.digits.len() {
            return;
        }
        let exactness = self.in_512_bits();
        let rest = self.digits.split_off(count);
        let odd = self.digits.last().is_some_and(|digit| digit % 2 == 1);
        let up = match (rest[0], rest.len()) {
            (5, 1) => match exactness {
                Ordering::Equal => odd,
                beside => beside == Ordering::Greater,
            },
            (first, _) => first >= 5,
        };
        if up {
            while self.digits.last() == Some(&9) {
                self.digits.pop();
            }
            match self.digits.last_mut() {
                Some(digit) => *digit += 1,
                None => {
                    self.digits.push(1);
                    self.point += 1;
                }
            }
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.point = 0;
        }
    }

    /// How the nearest binary number of 512 bits compares to the decimal.
    fn in_512_bits(&self) -> Ordering {
        let places = self.digits.len() as i32 - self.point;
        // The number is `whole / 10^places`; dividing by two only moves the point.
        let divisor = u32::try_from(places).ok().and_then(|places| 5_u128.checked_pow(places));
        let Some(divisor) = divisor.filter(|divisor| *divisor < 1 << 126) else {
            return Ordering::Equal;
        };
        let whole = self.digits.iter().fold(0, |whole, digit| whole * 10 + u128::from(*digit));
        let mut bits = 128 - (whole / divisor).leading_zeros();
        let mut rest = whole % divisor;
        while rest > 0 && bits < 512 {
            rest *= 2;
            if rest >= divisor || bits > 0 {
                bits += 1;
            }
            rest %= divisor;
        }
        // The rest is cut off or rounded up; it is never just half, because the divisor is odd.
        match rest {
            0 => Ordering::Equal,
            rest if rest * 2 > divisor => Ordering::Greater,
            _ => Ordering::Less,
        }
    }

    /// The digit at a place before (1, 2, …) or behind (0, -1, …) the point.
    fn digit(&self, place: i32) -> char {
        let index = usize::try_from(self.point - place);
        let digit = index.ok().and_then(|index| self.digits.get(index)).copied().unwrap_or(0);
        char::from(b'0' + digit)
    }

    /// `123.456` with so many places behind the point.
    pub fn fixed(&self, places: usize) -> String {
        let mut out: String =
            (1..=self.point.max(1)).rev().map(|place| self.digit(place)).collect();
        if places > 0 {
            out.push('.');
            out.extend((0..places as i32).map(|place| self.digit(-place)));
        }
        out
    }

    /// `1.23456e+02` with so many places behind the point.
    pub fn scientific(&self, places: usize, letter: char) -> String {
        let exponent = if self.digits.is_empty() { 0 } else { self.point - 1 };
        let mut out = String::from(self.digit(self.point));
        if places > 0 {
            out.push('.');
            out.extend((1..=places as i32).map(|place| self.digit(self.point - place)));
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("{letter}{sign}{:02}", exponent.abs()));
        out
    }

    /// The shorter of both, with so many digits (`None`: as many as there are).
    pub fn general(&self, count: Option<usize>, letter: char) -> String {
        let length = self.digits.len();
        let exponent = if self.digits.is_empty() { -1 } else { self.point - 1 };
        let limit = match count {
            None => 6,
            Some(count) if count > length && length as i32 >= self.point => length as i32,
            Some(count) => count as i32,
        };
        if exponent < -4 || exponent >= limit.max(1) && !self.digits.is_empty() {
            return self.scientific(length.saturating_sub(1), letter);
        }
        self.fixed((length as i32 - self.point).max(0) as usize)
    }
}
