//! Points in time, given in the stack as RFC 3339 texts. There is no clock here.

use fleetform_contract::Value;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::arguments::Arguments;
use super::types::text;
use super::{Function, FunctionError, Result, function};

pub(super) const FUNCTIONS: &[Function] = &[
    function("formatdate", &["format", "time"], formatdate),
    function("timeadd", &["timestamp", "duration"], timeadd),
    function("timecmp", &["timestamp_a", "timestamp_b"], |arguments| {
        let (left, right) = (parse(arguments, 0)?, parse(arguments, 1)?);
        Ok(Value::from(left.timestamp.cmp(&right.timestamp) as i32))
    }),
];

/// A timestamp as it was written: at which offset from UTC.
struct Moment {
    timestamp: Timestamp,
    offset: Offset,
}

impl Moment {
    fn civil(&self) -> DateTime {
        self.offset.to_datetime(self.timestamp)
    }

    fn rfc3339(&self) -> String {
        let civil = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            self.zone("Z", ":")
        )
    }

    /// The offset as `+02:00`, with the given colon; `utc` where it is none.
    fn zone(&self, utc: &str, colon: &str) -> String {
        let seconds = self.offset.seconds();
        if seconds == 0 && !utc.is_empty() {
            return utc.to_owned();
        }
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.abs() / 60;
        format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    }
}

/// Strict RFC 3339: `2006-01-02T15:04:05Z`, perhaps with a fraction and an offset.
fn parse(arguments: &Arguments, index: usize) -> Result<Moment> {
    let whole = arguments.text(index)?;
    let wrong = |why: &str| arguments.wrong(index, format!("not a valid RFC3339 timestamp: {why}"));
    let mut rest = Rest(&whole);
    let year = rest.digits(4).ok_or_else(|| wrong("cannot read the year"))?;
    rest.take("-").ok_or_else(|| wrong("\"-\" is expected after the year"))?;
    let month = rest.digits(2).ok_or_else(|| wrong("cannot read the month"))?;
    rest.take("-").ok_or_else(|| wrong("\"-\" is expected after the month"))?;
    let day = rest.digits(2).ok_or_else(|| wrong("cannot read the day of month"))?;
    let date = Date::new(year as i16, month as i8, day as i8)
        .map_err(|_| wrong("there is no such day"))?;
    rest.take("T").ok_or_else(|| wrong("missing required time introducer 'T'"))?;
    let hour = rest.digits(2).ok_or_else(|| wrong("cannot read the hour"))?;
    rest.take(":").ok_or_else(|| wrong("\":\" is expected after the hour"))?;
    let minute = rest.digits(2).ok_or_else(|| wrong("cannot read the minute"))?;
    rest.take(":").ok_or_else(|| wrong("\":\" is expected after the minute"))?;
    let second = rest.digits(2).ok_or_else(|| wrong("cannot read the second"))?;
    let nanosecond = rest.fraction().ok_or_else(|| wrong("cannot read the fraction"))?;
    let time = Time::new(hour as i8, minute as i8, second as i8, nanosecond)
        .map_err(|_| wrong("there is no such time of day"))?;
    let seconds = rest.offset().ok_or_else(|| wrong("cannot read the UTC offset"))?;
    let offset = Offset::from_seconds(seconds).map_err(|_| wrong("UTC offset is too large"))?;
    let timestamp = offset.to_timestamp(DateTime::from_parts(date, time));
    let timestamp = timestamp.map_err(|_| wrong("out of range"))?;
    Ok(Moment { timestamp, offset })
}

/// What is left to read of a text.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, prefix: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(prefix)?;
        Some(())
    }

    /// A number of exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<i32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    /// `.123`, where it is there, in nanoseconds.
    fn fraction(&mut self) -> Option<i32> {
        if self.take(".").or_else(|| self.take(",")).is_none() {
            return Some(0);
        }
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
        if digits.is_empty() { None } else { nine.parse().ok() }
    }

    /// `Z` or `+02:00`, to the end of the text, in seconds.
    fn offset(&mut self) -> Option<i32> {
        if self.0 == "Z" {
            return Some(0);
        }
        let sign = if self.take("+").is_some() {
            1
        } else {
            self.take("-")?;
            -1
        };
        let hours = self.digits(2)?;
        self.take(":")?;
        let minutes = self.digits(2)?;
        let fits = self.0.is_empty() && hours < 24 && minutes < 60;
        fits.then_some(sign * (hours * 3600 + minutes * 60))
    }
}

fn timeadd(arguments: &Arguments) -> Result<Value> {
    let mut moment = parse(arguments, 0)?;
    let duration = duration(&arguments.text(1)?).ok_or_else(|| {
        arguments.wrong(
            1,
            "not a duration: expected numbers with the units h, m, s, ms, us or ns, such as \
             \"1h30m\", of at most 292 years",
        )
    })?;
    moment.timestamp = moment.timestamp.checked_add(duration).map_err(|_| {
        FunctionError::new("the time is out of the range of the years -9999 to 9999")
    })?;
    Ok(moment.rfc3339().into())
}

/// Go's durations: `1.5h`, `-2h5m`, `300ms`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanoseconds: i128 = 0;
    loop {
        let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(length);
        let length = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
        // More digits than a nanosecond's are too small to count.
        let fraction: String = fraction.chars().chain("0".repeat(15).chars()).take(15).collect();
        let part = unit * fraction.parse::<i128>().ok()? / 1_000_000_000_000_000;
        nanoseconds += unit * i128::from(whole) + part;
        if nanoseconds > i128::from(i64::MAX) {
            return None;
        }
        if tail.is_empty() {
            return Some(SignedDuration::from_nanos(i64::try_from(sign * nanoseconds).ok()?));
        }
        rest = tail;
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

fn formatdate(arguments: &Arguments) -> Result<Value> {
    let format = arguments.text(0)?;
    let moment = parse(arguments, 1)?;
    let mut out = String::new();
    let mut rest = &*format;
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            rest = quoted(rest, &mut out)
                .ok_or_else(|| arguments.wrong(0, "unterminated literal '"))?;
        } else if c.is_ascii_alphabetic() {
            let length = rest.bytes().take_while(|byte| char::from(*byte) == c).count();
            let (verb, tail) = rest.split_at(length);
            let part = date_part(verb, &moment).ok_or_else(|| {
                arguments.wrong(0, format!("invalid date format verb \"{verb}\""))
            })?;
            out.push_str(&part);
            rest = tail;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(text(out))
}

/// Writes a literal in quotes, where two quotes are one; gives what follows it.
fn quoted<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix("''") {
        out.push('\'');
        return Some(rest);
    }
    let mut rest = &text[1..];
    loop {
        let end = rest.find('\'')?;
        out.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(tail) => {
                out.push('\'');
                rest = tail;
            }
            None => return Some(rest),
        }
    }
}

fn date_part(verb: &str, moment: &Moment) -> Option<String> {
    let civil = moment.civil();
    let month = MONTHS[civil.month() as usize - 1];
    let day = DAYS[civil.weekday().to_monday_zero_offset() as usize];
    let twelve = match civil.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if civil.hour() < 12 { "AM" } else { "PM" };
    Some(match verb {
        "YY" => format!("{:02}", civil.year() % 100),
        "YYYY" => format!("{:04}", civil.year()),
        "M" => civil.month().to_string(),
        "MM" => format!("{:02}", civil.month()),
        "MMM" => month[..3].to_owned(),
        "MMMM" => month.to_owned(),
        "D" => civil.day().to_string(),
        "DD" => format!("{:02}", civil.day()),
        "EEE" => day[..3].to_owned(),
        "EEEE" => day.to_owned(),
        "h" => civil.hour().to_string(),
        "hh" => format!("{:02}", civil.hour()),
        "H" => twelve.to_string(),
        "HH" => format!("{twelve:02}"),
        "AA" => half.to_owned(),
        "aa" => half.to_lowercase(),
        "m" => civil.minute().to_string(),
        "mm" => format!("{:02}", civil.minute()),
        "s" => civil.second().to_string(),
        "ss" => format!("{:02}", civil.second()),
        "Z" => moment.zone("Z", ":"),
        "ZZZ" => moment.zone("UTC", ""),
        "ZZZZ" => moment.zone("", ""),
        "ZZZZZ" => moment.zone("", ":"),
        _ => return None,
    })
}
