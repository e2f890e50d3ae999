//! What the stream processor sends: all series of one server in one window, column by column; and what the analyzer
//! expects of the next one.
//!
//! Invariant: every column is as long as the layout, and every count is at least 1.

use serde::{Deserialize, Serialize};

use crate::{
    Histogram,
    frame::{Series, nan_as_null},
};

/// Whether a record is the window itself or something to be merged into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AggregateKind {
    #[default]
    Final,
    Delta,
}

/// The record of `metrics.raw` whose arrival made an output: with the window, the output's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    pub partition: i32,
    pub offset: i64,
}

/// All series of one server in one tumbling window (topics `metrics.10s`, `.1m`, ...; key = server).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateFrame {
    pub server: String,
    /// Milliseconds since 1970 UTC, inclusive; a multiple of `window_ms`.
    pub window_start: i64,
    pub window_ms: i64,
    #[serde(default)]
    pub kind: AggregateKind,
    pub origin: Origin,
    pub layout: Vec<Series>,
    pub count: Vec<i64>,
    #[serde(with = "nan_as_null")]
    pub sum: Vec<f64>,
    #[serde(with = "nan_as_null")]
    pub min: Vec<f64>,
    #[serde(with = "nan_as_null")]
    pub max: Vec<f64>,
    #[serde(with = "nan_as_null")]
    pub first: Vec<f64>,
    #[serde(with = "nan_as_null")]
    pub last: Vec<f64>,
    /// Milliseconds after `window_start`.
    pub first_at: Vec<i32>,
    /// Milliseconds after `window_start`.
    pub last_at: Vec<i32>,
    /// Sum of squared deviations from the mean.
    #[serde(with = "nan_as_null")]
    pub m2: Vec<f64>,
    /// Counters: growth inside the window.
    #[serde(with = "nan_as_null")]
    pub increase: Vec<f64>,
    pub resets: Vec<i32>,
    /// Of series of their own, which stand in no column.
    #[serde(default)]
    pub histograms: Vec<Histogram>,
}

impl AggregateFrame {
    /// Exclusive end of the window, milliseconds since 1970 UTC.
    pub fn window_end(&self) -> i64 {
        self.window_start + self.window_ms
    }

    /// Whether every column is as long as the layout and no series is empty.
    pub fn is_consistent(&self) -> bool {
        let n = self.layout.len();
        [self.sum.len(), self.min.len(), self.max.len(), self.first.len(), self.last.len(), self.m2.len()]
            .iter()
            .all(|&l| l == n)
            && [
                self.count.len(),
                self.first_at.len(),
                self.last_at.len(),
                self.increase.len(),
                self.resets.len(),
            ]
            .iter()
            .all(|&l| l == n)
            && self.window_ms > 0
            && self.window_start.rem_euclid(self.window_ms) == 0
            && self.count.iter().all(|&c| c > 0)
    }
}

/// The band in which the analyzer expects a server's series in the coming window (topic `metrics.expected`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    pub server: String,
    pub window_start: i64,
    pub window_ms: i64,
    pub layout: Vec<Series>,
    /// In the series' own unit; counters as a rate per second.
    #[serde(with = "nan_as_null")]
    pub low: Vec<f64>,
    #[serde(with = "nan_as_null")]
    pub high: Vec<f64>,
}
