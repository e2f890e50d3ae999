//! Figures and times in a picture, written as the pages write them (`web/src/format.ts`). In: plain numbers in base units.
//! Out: text. Pure.
//!
//! Keeps: three significant figures at most, a narrow no-break space before a unit, "–" instead of a missing value; the
//! cases in `web/src/format.cases.json` hold here and there.

use chrono::{DateTime, Utc};
use tidewatch_schemas::SeriesKind;

const THIN: char = '\u{202f}';
const MINUS: char = '\u{2212}';
pub(super) const NONE: &str = "–";

/// How a number is to be read. Bytes are in binary units, rates in SI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Percent,
    Bytes,
    BytesPerSecond,
    Seconds,
    PerSecond,
    Number,
}

impl Unit {
    /// From what the sender says, else from how metrics are usually named.
    pub(super) fn of(metric: &str, said: &str, kind: SeriesKind) -> Self {
        let is_counter = kind == SeriesKind::Counter;
        let ends = |ends: &[&str]| ends.iter().any(|end| metric.ends_with(end));
        match said.to_lowercase().as_str() {
            "bytes" | "byte" | "by" if is_counter => Self::BytesPerSecond,
            "bytes" | "byte" | "by" => Self::Bytes,
            "percent" | "%" => Self::Percent,
            // seconds a second are a share of time
            "seconds" | "s" if is_counter => Self::Percent,
            "seconds" | "s" => Self::Seconds,
            _ if ends(&["bytes_per_second"]) => Self::BytesPerSecond,
            _ if is_counter && ends(&["_bytes", "_bytes_total"]) => Self::BytesPerSecond,
            _ if is_counter && ends(&["_seconds", "_seconds_total"]) => Self::Percent,
            _ if is_counter => Self::PerSecond,
            _ if ends(&["_bytes"]) => Self::Bytes,
            _ if ends(&["_percent", "_pct"]) => Self::Percent,
            _ if ends(&["_seconds"]) => Self::Seconds,
            _ => Self::Number,
        }
    }

    fn steps(self) -> &'static [(f64, &'static str)] {
        match self {
            Self::Bytes => &BINARY,
            Self::BytesPerSecond => &DECIMAL,
            Self::Seconds => &TIME,
            _ => &[],
        }
    }
}

const BINARY: [(f64, &str); 6] = [
    (1.0, "B"),
    (1_024.0, "KiB"),
    (1_048_576.0, "MiB"),
    (1_073_741_824.0, "GiB"),
    (1_099_511_627_776.0, "TiB"),
    (1_125_899_906_842_624.0, "PiB"),
];
const DECIMAL: [(f64, &str); 5] = [(1.0, "B/s"), (1e3, "kB/s"), (1e6, "MB/s"), (1e9, "GB/s"), (1e12, "TB/s")];
const TIME: [(f64, &str); 3] = [(1e-6, "µs"), (1e-3, "ms"), (1.0, "s")];

/// Zero and what is smaller than all steps is in the first one; a time of zero is in milliseconds.
fn pick(unit: Unit, value: f64) -> (f64, &'static str) {
    let steps = unit.steps();
    // 999.5 of a unit would print as 1,000 of it: the next one reads better
    let fits = steps.iter().rev().find(|(size, _)| value.abs() >= size * 0.9995);
    let least = steps.get(usize::from(unit == Unit::Seconds && value == 0.0));
    fits.or(least).copied().unwrap_or((1.0, ""))
}

/// `digits` behind the point; a five that is exact goes up, as in the pages.
fn decimal(value: f64, digits: usize) -> String {
    let exact = format!("{value:.80}");
    let rest = exact.split_once('.').and_then(|(_, behind)| behind.get(digits..)).unwrap_or_default();
    let is_tie = rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0');
    format!("{:.digits$}", if is_tie { value.next_up() } else { value })
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A bare number: 9.3, 42, 1,740, 0.92.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let size = value.abs();
    let text = if size < 1e-6 {
        return "0".to_owned();
    } else if size >= 999.5 {
        let unit = 10_f64.powf(size.log10().floor() - 2.0);
        let rounded = (size / unit).round() * unit;
        if rounded < 1e18 { grouped(rounded.round() as u64) } else { format!("{rounded:.2e}") }
    } else if size >= 9.95 {
        format!("{:.0}", size.round())
    } else if size >= 0.995 {
        if size.fract() == 0.0 { format!("{size:.0}") } else { decimal(size, 1) }
    } else {
        let digits = 1 - size.log10().floor() as i32;
        decimal(size, digits.max(1) as usize).trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if value < 0.0 { format!("{MINUS}{text}") } else { text }
}

/// A value with its unit: 9.3 %, 47 GiB, 1.2 GB/s, 0.92 ms, 1,740/s.
pub(super) fn value(value: Option<f64>, unit: Unit) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return NONE.to_owned() };
    match unit {
        Unit::Percent => format!("{}{THIN}%", number(value)),
        Unit::Seconds if value.abs() >= 120.0 => duration((value * 1_000.0).round() as i64),
        Unit::Bytes | Unit::BytesPerSecond | Unit::Seconds => {
            let (size, label) = pick(unit, value);
            format!("{}{THIN}{label}", number(value / size))
        }
        Unit::PerSecond => format!("{}/s", number(value)),
        Unit::Number => number(value),
    }
}

/// The unit a whole axis is labelled in, by its largest value: what to divide by, and its name.
pub(super) fn axis_unit(unit: Unit, largest: f64) -> (f64, String) {
    match unit {
        Unit::Percent => (1.0, "%".to_owned()),
        Unit::Bytes | Unit::BytesPerSecond | Unit::Seconds => {
            let (size, label) = pick(unit, largest);
            (size, label.to_owned())
        }
        Unit::PerSecond => large(largest, "per second"),
        Unit::Number => large(largest, ""),
    }
}

/// A gutter holds five characters: larger numbers are counted in thousands or millions, said once.
fn large(largest: f64, label: &str) -> (f64, String) {
    let (size, word) = match largest.abs() {
        a if a >= 1e10 => (1e9, "billion"),
        a if a >= 1e7 => (1e6, "million"),
        a if a >= 1e4 => (1e3, "thousand"),
        _ => (1.0, ""),
    };
    (size, [word, label].join(" ").trim().to_owned())
}

/// One decimal, 1.0 alerts.
pub(super) fn score(value: f64) -> String {
    decimal(value, 1)
}

fn time(ms: i64, pattern: &str) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.format(pattern).to_string())
}

/// 14:03:10
pub(super) fn clock(ms: i64) -> String {
    time(ms, "%H:%M:%S")
}

/// 14:03
pub(super) fn clock_short(ms: i64) -> String {
    time(ms, "%H:%M")
}

/// Mon 23 Nov
pub(super) fn day(ms: i64) -> String {
    time(ms, "%a %-d %b")
}

/// Mon 23 Nov 2026, 12:26 to 14:26 UTC
pub(super) fn range(from: i64, to: i64) -> String {
    let clock = if (from % 60_000, to % 60_000) == (0, 0) { clock_short } else { clock };
    let year = |ms| time(ms, "%Y");
    let (first, last) = (day(from), day(to));
    if (&first, year(from)) == (&last, year(to)) {
        return format!("{first} {}, {} to {} UTC", year(from), clock(from), clock(to));
    }
    let first = if year(from) == year(to) { first } else { format!("{first} {}", year(from)) };
    format!("{first}, {} to {last} {}, {} UTC", clock(from), year(to), clock(to))
}

/// A duration in its two largest units: 6 h 40 min, 41 d 6 h, 12 s.
pub(super) fn duration(ms: i64) -> String {
    const PARTS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = ms.max(0).saturating_add(500) / 1_000;
    if rest == 0 {
        return if ms > 0 { format!("{ms}{THIN}ms") } else { format!("0{THIN}s") };
    }
    let first = PARTS.iter().position(|(size, _)| rest >= *size).unwrap_or(PARTS.len() - 1);
    let mut words = Vec::with_capacity(2);
    for (size, name) in PARTS.iter().skip(first).take(2) {
        if rest / size > 0 {
            words.push(format!("{}{THIN}{name}", rest / size));
        }
        rest %= size;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
