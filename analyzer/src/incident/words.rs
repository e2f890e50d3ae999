//! Numbers, units, times and names as people read them (`docs/rules.md`: three significant figures, a narrow space
//! before the unit, IEC for stored bytes, SI for rates, the two largest units of a duration).

use chrono::{DateTime, Utc};
use tidewatch_schemas::{Series, SeriesKind};

use crate::{
    detect::{Band, Oddness, novelty::Kind},
    rules::{Measure, Of, Threshold},
};

/// U+202F, between number and unit.
const SPACE: char = '\u{202f}';
/// U+2212.
const MINUS: char = '\u{2212}';

/// In which way a value is odd, as the end of a sentence.
pub fn oddness(oddness: Oddness) -> &'static str {
    match oddness {
        Oddness::Loud => "it is farther from its forecast than its errors usually are",
        Oddness::Stuck => "it has said the same for far longer than it ever did",
        Oddness::New(Kind::Far) => "it is farther from its mean than it ever was",
        Oddness::New(Kind::OffHour) => "its last hour is unlike this hour of other days",
        Oddness::New(Kind::OffWeek) => "it is unlike this hour of other weeks",
        Oddness::New(Kind::Flat) => "it moves less than it ever did",
        Oddness::New(Kind::Shape) => "its last values are unlike any stretch of late",
    }
}

/// The names people use for what the collector reports; others are shown as they are.
const NAMES: [(&str, &str); 20] = [
    ("tidewatch_host_cpu_busy_percent", "CPU busy"),
    ("tidewatch_host_memory_used_percent", "Memory used"),
    ("tidewatch_host_filesystem_used_percent", "File system used"),
    ("tidewatch_host_network_bytes_per_second", "Network traffic"),
    ("node_load1", "Load over 1 min"),
    ("node_load5", "Load over 5 min"),
    ("node_load15", "Load over 15 min"),
    ("node_procs_running", "Running processes"),
    ("node_procs_blocked", "Blocked processes"),
    ("node_memory_MemAvailable_bytes", "Available memory"),
    ("node_context_switches_total", "Context switches"),
    ("node_vmstat_pswpin", "Pages swapped in"),
    ("node_vmstat_pswpout", "Pages swapped out"),
    ("node_pressure_memory_stalled_seconds_total", "Time all waited for memory"),
    ("node_pressure_io_stalled_seconds_total", "Time all waited for disks"),
    ("node_vmstat_oom_kill", "Processes ended for lack of memory"),
    ("node_filesystem_files_free", "Free inodes"),
    ("node_filesystem_files", "Inodes"),
    ("node_filefd_allocated", "File handles in use"),
    ("node_processes_threads", "Threads"),
];

fn name_of(metric: &str) -> &str {
    NAMES.iter().find(|(known, _)| *known == metric).map_or(metric, |(_, name)| name)
}

/// What a series measures and where.
pub fn what(series: &Series) -> String {
    let name = name_of(&series.metric);
    let said = |label: &str| series.labels.get(label).filter(|value| !value.is_empty());
    let place = said("mountpoint").or_else(|| said("device"));
    let place = place.map_or(String::new(), |place| format!(" of {place}"));
    let others: Vec<_> = series
        .labels
        .iter()
        .filter(|(name, value)| {
            !matches!(name.as_str(), "mountpoint" | "device" | "fstype") && !value.is_empty()
        })
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("{name}{place}{others}")
}

/// What a rule compares with its limit.
pub fn subject(series: &Series, threshold: &Threshold) -> String {
    let what = what(series);
    match &threshold.measure {
        Measure::Figure if threshold.of == Some(Of::Score) => format!("Oddness of {what}"),
        Measure::Figure => what,
        Measure::Change { over_ms, per_ms } => {
            let change = if series.kind == SeriesKind::Counter { "" } else { "Change of " };
            // the value says of which time it is
            let over =
                if per_ms == over_ms { String::new() } else { format!(" over {}", duration(*over_ms)) };
            format!("{change}{what}{over}")
        }
        Measure::Ratio(by) => format!("{what} divided by {}", name_of(by)),
    }
}

/// A value of what a rule compares, with its unit: `0.97`, `9.3 GiB/h`.
pub fn measured(value: f64, series: &Series, threshold: &Threshold) -> String {
    match threshold.measure {
        Measure::Figure if threshold.of == Some(Of::Score) => number(value),
        Measure::Figure => quantity(value, series, threshold.of),
        Measure::Ratio(_) => number(value),
        Measure::Change { per_ms: 1_000, .. } if series.kind == SeriesKind::Counter => {
            quantity(value, series, Some(Of::Rate))
        }
        Measure::Change { per_ms, over_ms } => {
            let quantity = quantity(value, series, Some(Of::Last));
            match per_ms {
                all if all == over_ms => format!("{quantity} in {}", duration(all)),
                1_000 => format!("{quantity}/s"),
                60_000 => format!("{quantity}/min"),
                3_600_000 => format!("{quantity}/h"),
                86_400_000 => format!("{quantity}/d"),
                other => format!("{quantity} in {}", duration(other)),
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Percent,
    Bytes,
    BytesPerSecond,
    Seconds,
    PerSecond(&'static str),
    Plain,
}

fn unit(series: &Series, of: Option<Of>) -> Unit {
    let name = series.metric.strip_suffix("_total").unwrap_or(&series.metric);
    let is = |unit: &str, suffix: &str| series.unit == unit || name.ends_with(suffix);
    let rate = series.kind == SeriesKind::Counter && matches!(of, None | Some(Of::Rate));
    if is("percent", "_percent") {
        Unit::Percent
    } else if is("bytes_per_second", "_bytes_per_second") || (rate && is("bytes", "_bytes")) {
        Unit::BytesPerSecond
    } else if is("bytes", "_bytes") {
        Unit::Bytes
    } else if is("seconds", "_seconds") {
        if rate { Unit::PerSecond("s/s") } else { Unit::Seconds }
    } else if rate {
        Unit::PerSecond("/s")
    } else {
        Unit::Plain
    }
}

/// A value with its unit: `98 %`, `1.2 GB/s`, `47 GiB`, `1,740/s`.
pub fn quantity(value: f64, series: &Series, of: Option<Of>) -> String {
    let (number, unit) = scaled(value, unit(series, of));
    join(&number, unit)
}

/// `4 to 31 %`; units that differ are both said.
pub fn range(band: Band, series: &Series) -> String {
    let unit = unit(series, None);
    let high =
        if unit == Unit::Percent && band.high > 100.0 && band.expected <= 100.0 { 100.0 } else { band.high };
    let ((low, low_unit), (high, high_unit)) = (scaled(band.low, unit), scaled(high, unit));
    if low_unit == high_unit || low == "0" {
        format!("{low} to {}", join(&high, high_unit))
    } else {
        format!("{} to {}", join(&low, low_unit), join(&high, high_unit))
    }
}

fn join(number: &str, unit: &str) -> String {
    match unit {
        "" => number.to_owned(),
        "/s" => format!("{number}/s"),
        _ => format!("{number}{SPACE}{unit}"),
    }
}

fn scaled(value: f64, unit: Unit) -> (String, &'static str) {
    let steps = |base: f64, names: &[&'static str]| {
        let mut value = value;
        let mut names = names.iter().copied();
        let mut name = names.next().unwrap_or_default();
        // 999.6 would be said as 1,000 of the smaller unit
        for next in names {
            if value.abs() < base * 0.9995 {
                break;
            }
            value /= base;
            name = next;
        }
        (number(value), name)
    };
    match unit {
        Unit::Percent => (number(value), "%"),
        Unit::Bytes => steps(1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"]),
        Unit::BytesPerSecond => steps(1000.0, &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
        Unit::Seconds => match value.abs() {
            v if v >= 1.0 || v == 0.0 => (number(value), "s"),
            v if v >= 0.001 => (number(value * 1e3), "ms"),
            _ => (number(value * 1e6), "\u{b5}s"),
        },
        Unit::PerSecond(name) => (number(value), name),
        Unit::Plain => (number(value), ""),
    }
}

/// Three significant figures at most, a comma for thousands, a true minus.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "no data".to_owned();
    }
    let size = value.abs();
    let text = if size == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e12).contains(&size) {
        format!("{size:.2e}")
    } else {
        let digits = (2 - size.log10().floor() as i32).max(0) as usize;
        let rounded = format!("{size:.digits$}");
        if rounded.contains('.') {
            rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            let power = 10_f64.powi((size.log10().floor() as i32 - 2).max(0));
            thousands(((size / power).round() * power) as u64)
        }
    };
    if value < 0.0 && text != "0" { format!("{MINUS}{text}") } else { text }
}

fn thousands(value: u64) -> String {
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

/// `14:03:10 UTC`.
pub fn clock(millis: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(millis)
        .map_or_else(|| millis.to_string(), |time| time.format("%H:%M:%S UTC").to_string())
}

/// The two largest units: `6 h 40 min`, `50 s`.
pub fn duration(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let mut left = seconds;
    let mut parts = Vec::with_capacity(2);
    for (size, name) in &units[first..units.len().min(first + 2)] {
        if left / size > 0 || parts.is_empty() {
            parts.push(format!("{}{SPACE}{name}", left / size));
        }
        left %= size;
    }
    parts.join(" ")
}

/// The largest unit alone, rounded down: `9 d`, `2 h`.
pub fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    let size = [86_400, 3_600, 60].into_iter().find(|size| seconds >= *size).unwrap_or(1);
    duration(seconds / size * size * 1_000)
}

/// `21 Nov 14:03 UTC`.
pub fn date(millis: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(millis)
        .map_or_else(|| millis.to_string(), |time| time.format("%-d %b %H:%M UTC").to_string())
}

/// The longest explanation.
const LONGEST: usize = 1_500;

/// A text that is not longer than what people read: its end is left out.
pub fn bounded(text: String) -> String {
    bounded_to(text, LONGEST)
}

/// The same with a sentence behind it, which is never left out.
pub fn with_last(text: String, sentence: &str) -> String {
    let room = LONGEST.saturating_sub(sentence.len() + 1);
    bounded(format!("{} {sentence}", bounded_to(text, room)))
}

fn bounded_to(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most.saturating_sub('\u{2026}'.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}
