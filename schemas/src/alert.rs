//! What the analyzer sends: odd windows of single series, and alerts worth a person's time.
//!
//! Invariant: `alert_id` is a function of `fingerprint` and `starts_at` alone.

use serde::{Deserialize, Serialize};

use crate::frame::Labels;

/// One series that was odd in one window (topic `anomalies`, key = server).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    pub server: String,
    pub metric: String,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub unit: String,
    pub window_start: i64,
    pub window_ms: i64,
    /// A gauge's mean over the window, a counter's rate per second.
    pub value: f64,
    pub expected_low: f64,
    pub expected_high: f64,
    /// 1.0 or more is odd.
    pub score: f64,
    pub method: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

impl AlertStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// In rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A series that was odd together with the one alerted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RelatedSeries {
    pub metric: String,
    #[serde(default)]
    pub labels: Labels,
    pub score: f64,
}

/// One transition of one alert (topic `alerts`, key = server).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub alert_id: String,
    pub fingerprint: String,
    pub incident_id: String,
    pub server: String,
    pub status: AlertStatus,
    pub severity: Severity,
    pub rule: String,
    /// Milliseconds since 1970 UTC.
    pub starts_at: i64,
    #[serde(default)]
    pub ends_at: Option<i64>,
    pub updated_at: i64,
    pub title: String,
    pub explanation: String,
    #[serde(default)]
    pub metric: Option<String>,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub unit: String,
    #[serde(default)]
    pub value: Option<f64>,
    #[serde(default)]
    pub expected_low: Option<f64>,
    #[serde(default)]
    pub expected_high: Option<f64>,
    #[serde(default)]
    pub score: Option<f64>,
    #[serde(default)]
    pub related: Vec<RelatedSeries>,
    #[serde(default)]
    pub runbook_url: Option<String>,
}

impl Alert {
    /// The rule of what the detector says by itself.
    pub const LEARNED: &'static str = "learned";

    /// All series that it names, its own first.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Labels)> {
        let own = self.metric.as_deref().map(|metric| (metric, &self.labels));
        own.into_iter().chain(self.related.iter().map(|one| (one.metric.as_str(), &one.labels)))
    }
}
