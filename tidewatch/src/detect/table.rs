//! A file's rows, column by column, whatever its format.
//!
//! In: names, then times and fields row by row. Out: a table of series. Keeps: each series has a value for each row, NaN where
//! there is none; a time that can't be read is an error that names its line, for a row without a time has no place.

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// What the first column is called.
const TIME: &str = "timestamp";
/// Columns for judges, not for the detector.
const NOT_SERIES: [&str; 2] = ["label", "warmup"];
/// What people write where nothing is known, besides NaN, which is a number.
const MISSING: [&str; 6] = ["", "null", "NULL", "None", "NA", "N/A"];
/// Steps of time from which the interval is taken.
const STEPS: usize = 100;
/// The interval of a file with fewer than two rows.
const ANY_INTERVAL: f64 = 300.0;

#[derive(Debug, PartialEq)]
pub(super) struct Table {
    /// As the file has them.
    pub(super) times: Vec<String>,
    /// Since 1970 UTC.
    pub(super) seconds: Vec<f64>,
    pub(super) series: Vec<Series>,
    /// What was left out, in words.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// NaN = missing.
    pub(super) values: Vec<f64>,
}

impl Table {
    /// Seconds from one row to the next: the median of the first steps.
    pub(super) fn interval(&self) -> f64 {
        let first = &self.seconds[..self.seconds.len().min(STEPS + 1)];
        let mut steps: Vec<f64> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable_by(f64::total_cmp);
        let middle = match steps.len() {
            0 => ANY_INTERVAL,
            n => f64::midpoint(steps[(n - 1) / 2], steps[n / 2]),
        };
        if middle > 0.0 { middle } else { ANY_INTERVAL }
    }
}

/// What a column turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing but missing values so far.
    Unknown,
    Numbers,
    /// Its first field is no number, or it is for judges.
    Other,
}

#[derive(Debug)]
struct Column {
    series: Series,
    kind: Kind,
    /// Fields among numbers that are none, and the row of the first one.
    bad: u64,
    first_bad: u64,
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Builder {
    /// What a row is called in messages: `line` or `row`.
    row: &'static str,
    times: Vec<String>,
    seconds: Vec<f64>,
    columns: Vec<Column>,
}

impl Builder {
    pub(super) fn new<'a>(
        row: &'static str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        let mut names = names.into_iter();
        let first = names.next().unwrap_or_default();
        ensure!(first == TIME, "the first column has to be `{TIME}`, not `{first}`");
        let columns = names.map(|name| Column {
            kind: if NOT_SERIES.contains(&name) { Kind::Other } else { Kind::Unknown },
            series: Series { name: name.to_owned(), values: Vec::new() },
            bad: 0,
            first_bad: 0,
        });
        Ok(Self { row, times: Vec::new(), seconds: Vec::new(), columns: columns.collect() })
    }

    /// Begins row `number` of the file. `seconds` = `None`: what `text` says.
    pub(super) fn time(&mut self, text: String, seconds: Option<f64>, number: u64) -> anyhow::Result<()> {
        let seconds = seconds.or_else(|| read_time(&text));
        let seconds = seconds.with_context(|| {
            format!("{} {number}: `{text}` is neither ISO 8601 nor seconds since 1970", self.row)
        })?;
        self.times.push(text);
        self.seconds.push(seconds);
        Ok(())
    }

    /// The field of a column, of which the first one after the time is 0.
    pub(super) fn text(&mut self, column: usize, text: &str, number: u64) {
        let value = if MISSING.contains(&text) { Some(f64::NAN) } else { text.parse().ok() };
        self.value(column, value, number);
    }

    /// Likewise; `None` is a field that is no number, NaN a missing one.
    pub(super) fn value(&mut self, column: usize, value: Option<f64>, number: u64) {
        let Some(column) = self.columns.get_mut(column) else { return };
        if column.kind == Kind::Other {
            return;
        }
        match value {
            Some(value) if !value.is_nan() => column.kind = Kind::Numbers,
            None if column.kind == Kind::Unknown => {
                column.kind = Kind::Other;
                column.series.values = Vec::new();
                return;
            }
            None => {
                column.first_bad = if column.bad == 0 { number } else { column.first_bad };
                column.bad += 1;
            }
            Some(_) => {}
        }
        column.series.values.push(value.unwrap_or(f64::NAN));
    }

    pub(super) fn finish(self) -> anyhow::Result<Table> {
        let numbers: Vec<Column> =
            self.columns.into_iter().filter(|column| column.kind == Kind::Numbers).collect();
        if numbers.is_empty() && !self.times.is_empty() {
            bail!("there is no column of numbers beside {TIME}, {}", NOT_SERIES.join(" and "));
        }
        let bad = numbers.iter().filter(|column| column.bad > 0);
        let notes = bad.map(|column| {
            format!(
                "fields of `{}` that are no numbers count as missing: {}, the first in {} {}",
                column.series.name, column.bad, self.row, column.first_bad
            )
        });
        Ok(Table {
            notes: notes.collect(),
            times: self.times,
            seconds: self.seconds,
            series: numbers.into_iter().map(|column| column.series).collect(),
        })
    }
}

/// Seconds since 1970 of ISO 8601, UTC unless it says otherwise, or of a number of them.
pub(super) fn read_time(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros() as f64 / 1e6);
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let time = time.or_else(|| {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0))
    });
    time.map(|time| time.and_utc().timestamp_micros() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601_or_seconds() {
        for text in [
            "1577836800",
            "1577836800.0",
            "2020-01-01",
            "2020-01-01 00:00",
            "2020-01-01 00:00:00",
            "2020-01-01T00:00:00.000",
            "2020-01-01T00:00:00Z",
            "2020-01-01T02:00:00+02:00",
        ] {
            assert_eq!(read_time(text), Some(1_577_836_800.0), "{text}");
        }
        for text in ["", "yesterday", "NaN", "inf", "2020-13-01", "01/02/2020"] {
            assert_eq!(read_time(text), None, "{text}");
        }
        assert_eq!(read_time("1970-01-01T00:00:00.25"), Some(0.25));
    }

    #[test]
    fn the_interval_is_the_usual_step() {
        let of = |seconds: &[f64]| {
            Table { times: vec![], seconds: seconds.to_vec(), series: vec![], notes: vec![] }.interval()
        };
        assert_eq!(of(&[]), ANY_INTERVAL);
        assert_eq!(of(&[5.0]), ANY_INTERVAL);
        assert_eq!(of(&[0.0, 60.0, 120.0, 9_000.0]), 60.0);
        assert_eq!(of(&[0.0, 0.0, 0.0]), ANY_INTERVAL);
    }

    #[test]
    fn columns_are_series_when_they_begin_with_a_number() {
        let names = ["timestamp", "a", "host", "label", "empty", "late"];
        let mut builder = Builder::new("line", names).unwrap();
        for (number, fields) in
            (2..).zip([["1", "web", "0", "", ""], ["x", "2", "1", "", "7"], ["", "3", "0", "NaN", "-"]])
        {
            builder.time(format!("{number}"), None, number).unwrap();
            (0..).zip(fields).for_each(|(column, field)| builder.text(column, field, number));
        }
        let table = builder.finish().unwrap();
        let names: Vec<&str> = table.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["a", "late"]);
        assert_eq!(table.series[0].values[0], 1.0);
        assert!(table.series[0].values[1..].iter().all(|value| value.is_nan()));
        assert_eq!(table.series[1].values.len(), 3);
        assert_eq!(table.notes.len(), 2);
        assert_eq!(
            table.notes[0],
            "fields of `a` that are no numbers count as missing: 1, the first in line 3"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let error = Builder::new("line", ["time", "a"]).unwrap_err().to_string();
        assert!(error.contains("`timestamp`, not `time`"), "{error}");
        let mut builder = Builder::new("line", ["timestamp", "host"]).unwrap();
        let error = builder.time("noon".into(), None, 7).unwrap_err().to_string();
        assert!(error.starts_with("line 7: `noon`"), "{error}");
        builder.time("1".into(), None, 8).unwrap();
        builder.text(0, "web-1", 8);
        assert!(builder.finish().unwrap_err().to_string().contains("no column of numbers"));
    }
}
