//! The rules people write: thresholds, forecasts and absence, with matchers, hold and keep times, hysteresis.
//!
//! In: YAML text. Out: a checked [`RuleSet`], or file, line and reason of the first thing that is wrong. Invariant: a
//! `RuleSet` that exists is right: names are unique, regular expressions compile, a clear level lies on the quiet side.

mod hold;
mod matcher;
mod parse;

use std::path::PathBuf;

pub use hold::{Hold, Pace, Transition};
pub use matcher::{LabelMatcher, Matcher};
pub use parse::parse;
use tidewatch_schemas::{Series, SeriesKind, Severity};

/// The rules that hold when no file is given.
pub const BUILT_IN: &str = include_str!("../../deploy/rules/host.yaml");

/// The name of the detector's own alerts; no rule may have it.
pub const LEARNED: &str = "learned";

/// What is wrong in a rules file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct RuleError {
    pub path: PathBuf,
    pub line: u64,
    pub message: String,
}

/// All rules, in the order of their file.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    pub rules: Vec<Rule>,
}

impl RuleSet {
    pub fn by_name(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The longest time a condition or its end is watched before something is said.
    pub fn longest_wait_ms(&self) -> i64 {
        self.rules.iter().map(|rule| rule.hold_ms.max(rule.keep_ms)).max().unwrap_or(0)
    }
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub severity: Severity,
    /// Said first in the explanation.
    pub summary: Option<String>,
    pub runbook: Option<String>,
    pub server: Option<Matcher>,
    /// How long the condition has to hold before the alert fires.
    pub hold_ms: i64,
    /// How long it has to be over before the alert resolves.
    pub keep_ms: i64,
    pub condition: Condition,
}

#[derive(Debug, Clone)]
pub enum Condition {
    Threshold(Threshold),
    Forecast(Forecast),
    /// The server says nothing for `hold_ms`.
    Silence,
}

/// A series beyond a limit.
#[derive(Debug, Clone)]
pub struct Threshold {
    pub metric: String,
    pub labels: Vec<LabelMatcher>,
    pub of: Option<Of>,
    pub side: Side,
    pub limit: f64,
    /// Where a firing alert's condition ends; the limit itself unless told otherwise.
    pub clear: f64,
}

/// A series that is going to be beyond a limit.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// Has no clear level: a forecast ends when the limit is clearly later than `within_ms` again.
    pub beyond: Threshold,
    pub within_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

/// Which figure of a window is compared. Without one: a gauge's mean, a counter's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    Avg,
    Max,
    Min,
    Last,
    Rate,
}

impl Rule {
    /// Whether the rule is about this server.
    pub fn wants_server(&self, server: &str) -> bool {
        self.server.as_ref().is_none_or(|matcher| matcher.is_match(server))
    }

    /// The threshold that is or will be crossed, when the rule is one about this series.
    pub fn threshold_for(&self, server: &str, series: &Series) -> Option<&Threshold> {
        let threshold = match &self.condition {
            Condition::Threshold(threshold) => threshold,
            Condition::Forecast(forecast) => &forecast.beyond,
            Condition::Silence => return None,
        };
        let counts = threshold.of != Some(Of::Rate) || series.kind == SeriesKind::Counter;
        let labels = |matcher: &LabelMatcher| {
            // a label that is not there is an empty one
            matcher.matcher.is_match(series.labels.get(&matcher.label).map_or("", String::as_str))
        };
        (counts
            && threshold.metric == series.metric
            && self.wants_server(server)
            && threshold.labels.iter().all(labels))
        .then_some(threshold)
    }
}

impl Threshold {
    /// Whether the condition holds; a firing one is measured against the clear level.
    pub fn holds(&self, value: f64, firing: bool) -> bool {
        let limit = if firing { self.clear } else { self.limit };
        match self.side {
            // at the clear level itself a firing alert goes on only if there is a gap between the two
            Side::Above => value > limit || (firing && self.clear < self.limit && value >= limit),
            Side::Below => value < limit || (firing && self.clear > self.limit && value <= limit),
        }
    }
}

#[cfg(test)]
mod tests;
