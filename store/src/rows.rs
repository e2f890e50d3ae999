//! What the store gives out and takes in, free of SQL and Redis. Times are milliseconds since 1970 UTC.

use serde::{Deserialize, Serialize};
use tidewatch_schemas::{Alert, Distribution, Labels, Origin, SeriesKind};

use crate::People;

/// A server as the store knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    pub id: i32,
    pub name: String,
    pub ip_address: Option<String>,
    /// What its collector says.
    pub labels: Labels,
    /// Start of its first 10 s window.
    pub first_seen_ms: i64,
    /// End of its newest 10 s window.
    pub last_seen_ms: i64,
    #[serde(default)]
    pub people: People,
}

impl Server {
    /// The labels that are shown: people's over the collector's.
    pub fn shown_labels(&self) -> Labels {
        self.people.over(&self.labels)
    }
}

/// One series of a server: of values, or a histogram, whose `kind` is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesMeta {
    pub id: i32,
    pub server_id: i32,
    pub metric_name: String,
    pub labels: Labels,
    pub kind: SeriesKind,
    pub unit: String,
}

/// The lengths of window that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    TenSeconds,
    Minute,
    FiveMinutes,
    Hour,
}

impl Tier {
    /// From the shortest on; a tier's place here is its number as a `usize`.
    pub const ALL: [Self; 4] = [Self::TenSeconds, Self::Minute, Self::FiveMinutes, Self::Hour];

    pub fn window_ms(self) -> i64 {
        match self {
            Self::TenSeconds => 10_000,
            Self::Minute => 60_000,
            Self::FiveMinutes => 300_000,
            Self::Hour => 3_600_000,
        }
    }

    /// `10s`, `1m`, `5m`, `1h`: in answers and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenSeconds => "10s",
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }

    pub fn of_window(window_ms: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.window_ms() == window_ms)
    }

    /// The longest windows of which steps of this length are made, whole.
    pub fn of_step(step_ms: i64) -> Self {
        let fits = |tier: &Self| step_ms >= tier.window_ms() && step_ms % tier.window_ms() == 0;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Self::TenSeconds)
    }

    pub fn table(self) -> &'static str {
        match self {
            Self::TenSeconds => "samples_10s",
            Self::Minute => "samples_1m",
            Self::FiveMinutes => "samples_5m",
            Self::Hour => "samples_1h",
        }
    }

    /// Of the windows of histograms.
    pub fn histograms(self) -> &'static str {
        match self {
            Self::TenSeconds => "histograms_10s",
            Self::Minute => "histograms_1m",
            Self::FiveMinutes => "histograms_5m",
            Self::Hour => "histograms_1h",
        }
    }

    /// All of the tier's windows, packed or not; with `hour`, by which packed ones are found.
    pub fn view(self) -> &'static str {
        match self {
            Self::TenSeconds => "windows_10s",
            Self::Minute => "windows_1m",
            Self::FiveMinutes => "windows_5m",
            Self::Hour => "windows_1h",
        }
    }
}

/// The tiers whose closed partitions are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PackedTier {
    TenSeconds,
    Minute,
}

impl PackedTier {
    pub const ALL: [Self; 2] = [Self::TenSeconds, Self::Minute];

    pub fn of(tier: Tier) -> Option<Self> {
        match tier {
            Tier::TenSeconds => Some(Self::TenSeconds),
            Tier::Minute => Some(Self::Minute),
            Tier::FiveMinutes | Tier::Hour => None,
        }
    }

    pub fn tier(self) -> Tier {
        match self {
            Self::TenSeconds => Tier::TenSeconds,
            Self::Minute => Tier::Minute,
        }
    }

    pub fn table(self) -> &'static str {
        match self {
            Self::TenSeconds => "packed_10s",
            Self::Minute => "packed_1m",
        }
    }
}

/// One series in one window: a row of the tier's table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowRow {
    pub series_id: i32,
    /// Start of the window.
    pub ts_ms: i64,
    pub count: i64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub first: f64,
    pub last: f64,
    /// Milliseconds after `ts_ms`.
    pub first_at: i32,
    /// Milliseconds after `ts_ms`.
    pub last_at: i32,
    /// Sum of squared deviations from the mean.
    pub m2: f64,
    /// Counters: growth inside the window.
    pub increase: f64,
    pub resets: i32,
    /// The record that made or last changed the row.
    pub origin: Origin,
}

impl WindowRow {
    /// What the `metrics` view shows: a gauge's mean, a counter's last value.
    pub fn value(&self, kind: SeriesKind) -> f64 {
        match kind {
            SeriesKind::Gauge => self.sum / self.count as f64,
            SeriesKind::Counter => self.last,
        }
    }
}

/// One histogram in one window: a row of the tier's table of histograms.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramRow {
    pub series_id: i32,
    /// Start of the window.
    pub ts_ms: i64,
    pub observed: Distribution,
    /// The record that made or last changed the row.
    pub origin: Origin,
}

/// The id under which the `metrics` view shows a series' window.
pub fn metric_id(series_id: i32, ts_ms: i64) -> i64 {
    (i64::from(series_id) << 29) | (ts_ms / 10_000)
}

/// The series of a metric id.
pub fn series_of_metric_id(id: i64) -> i32 {
    (id >> 29) as i32
}

/// A row of the `metrics` view.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// Stable: [`metric_id`].
    pub id: i64,
    pub server_id: i32,
    pub metric_name: String,
    pub value: f64,
    pub ts_ms: i64,
    pub labels: Labels,
}

/// The band in which a series was expected in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpectationRow {
    pub series_id: i32,
    pub ts_ms: i64,
    pub window_ms: i32,
    pub low: f64,
    pub high: f64,
}

/// An alert and the id of its server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredAlert {
    pub server_id: i32,
    pub alert: Alert,
}

/// An odd window of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct AnomalyRow {
    pub server_id: i32,
    pub server: String,
    pub series_id: i32,
    pub metric_name: String,
    pub labels: Labels,
    pub ts_ms: i64,
    pub window_ms: i32,
    pub value: f64,
    pub expected_low: f64,
    pub expected_high: f64,
    pub score: f64,
    pub method: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_id_tells_its_series_until_2140() {
        let late = 5_300_000_000_000;
        for series in [1, 77, i32::MAX] {
            assert_eq!(series_of_metric_id(metric_id(series, late)), series);
        }
        assert!(metric_id(2, 0) > metric_id(1, late));
    }
}
