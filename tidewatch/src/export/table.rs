//! The columns of a file, whatever its format, and what a window has in them.
//!
//! In: a window of values or of a histogram. Out: a field for each column. Keeps: the first six columns are the same in both.

use tidewatch_schemas::{Buckets, distribution::relative_error};
use tidewatch_store::{HistogramRow, SeriesMeta, WindowRow};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A text that is JSON.
    Json,
    /// Milliseconds since 1970 UTC.
    Time,
    Long,
    Double,
    /// A double that may be missing.
    Known,
}

/// A column's name and what it holds.
pub(super) type Column = (&'static str, Kind);

/// Of windows of values. `value` is what the view `metrics` shows; times are the windows' starts.
pub(super) const VALUES: &[Column] = &[
    ("server", Kind::Text),
    ("metric", Kind::Text),
    ("labels", Kind::Json),
    ("kind", Kind::Text),
    ("unit", Kind::Text),
    ("time", Kind::Time),
    ("value", Kind::Double),
    ("count", Kind::Long),
    ("sum", Kind::Double),
    ("min", Kind::Double),
    ("max", Kind::Double),
    ("first", Kind::Double),
    ("last", Kind::Double),
    ("increase", Kind::Double),
];

/// Of windows of histograms: what was observed, estimates of quantiles and how far these may be off as a share, and the buckets
/// as the tables have them.
pub(super) const HISTOGRAMS: &[Column] = &[
    ("server", Kind::Text),
    ("metric", Kind::Text),
    ("labels", Kind::Json),
    ("kind", Kind::Text),
    ("unit", Kind::Text),
    ("time", Kind::Time),
    ("count", Kind::Long),
    ("sum", Kind::Known),
    ("min", Kind::Known),
    ("max", Kind::Known),
    ("p50", Kind::Known),
    ("p90", Kind::Known),
    ("p99", Kind::Known),
    ("relative_error", Kind::Double),
    ("scale", Kind::Long),
    ("zero_threshold", Kind::Double),
    ("zero_count", Kind::Long),
    ("positive_offset", Kind::Long),
    ("positive", Kind::Json),
    ("negative_offset", Kind::Long),
    ("negative", Kind::Json),
];

/// What a row has in a column.
#[derive(Debug, Clone)]
pub(super) enum Field<'a> {
    Text(&'a str),
    Made(String),
    Time(i64),
    Long(i64),
    Double(f64),
    /// NaN = unknown.
    Known(f64),
}

/// One row, a field for each column.
#[derive(Debug)]
pub(super) struct Row<'a>(pub(super) Vec<Field<'a>>);

impl<'a> Row<'a> {
    /// `labels` are JSON.
    pub(super) fn of_window(
        server: &'a str,
        series: &'a SeriesMeta,
        labels: &'a str,
        window: &WindowRow,
    ) -> Self {
        let mut fields = begin(server, series, labels, series.kind.as_str(), window.ts_ms);
        fields.extend([Field::Double(window.value(series.kind)), Field::Long(window.count)]);
        let numbers = [window.sum, window.min, window.max, window.first, window.last, window.increase];
        fields.extend(numbers.map(Field::Double));
        Self(fields)
    }

    /// `labels` are JSON.
    pub(super) fn of_histogram(
        server: &'a str,
        series: &'a SeriesMeta,
        labels: &'a str,
        window: &HistogramRow,
    ) -> Self {
        let observed = &window.observed;
        let mut fields = begin(server, series, labels, "histogram", window.ts_ms);
        fields.push(Field::Long(observed.count));
        fields.extend([observed.sum, observed.min, observed.max].map(Field::Known));
        fields.extend([0.5, 0.9, 0.99].map(|q| Field::Known(observed.quantile(q).unwrap_or(f64::NAN))));
        fields.extend([
            Field::Double(relative_error(observed.scale)),
            Field::Long(observed.scale.into()),
            Field::Double(observed.zero_threshold),
            Field::Long(observed.zero_count),
        ]);
        for buckets in [&observed.positive, &observed.negative] {
            fields.extend([Field::Long(buckets.offset.into()), Field::Made(json(buckets))]);
        }
        Self(fields)
    }
}

fn begin<'a>(
    server: &'a str,
    series: &'a SeriesMeta,
    labels: &'a str,
    kind: &'a str,
    ts_ms: i64,
) -> Vec<Field<'a>> {
    let texts = [server, &series.metric_name, labels, kind, &series.unit];
    texts.into_iter().map(Field::Text).chain([Field::Time(ts_ms)]).collect()
}

fn json(buckets: &Buckets) -> String {
    let counts: Vec<String> = buckets.counts.iter().map(i64::to_string).collect();
    format!("[{}]", counts.join(","))
}
