//! The rules people write: limits, forecasts, changes, ratios, scores and absence, with matchers, hold and keep times,
//! hysteresis and times of quiet.
//!
//! In: YAML text. Out: a checked [`RuleSet`], or file, line and reason of the first thing that is wrong. Invariant: a
//! `RuleSet` that exists is right: names are unique, regular expressions compile, a clear level lies on the quiet side.

mod calendar;
mod hold;
mod matcher;
mod parse;
mod raw;
mod trail;

use std::{collections::BTreeMap, fmt, path::PathBuf};

pub use calendar::Recurring;
pub use hold::{Hold, Pace, Transition};
pub use matcher::{LabelMatcher, Matcher};
pub use parse::parse;
pub(crate) use parse::read_yaml;
use tidewatch_schemas::{Alert, Labels, Series, SeriesKind, Severity};
pub use trail::Trail;
use twox_hash::XxHash3_64;

/// The rules that hold when no file is given.
pub const BUILT_IN: &str = include_str!("../../deploy/rules/host.yaml");

/// The name of the detector's own alerts; no rule may have it.
pub const LEARNED: &str = Alert::LEARNED;

/// What is wrong in a rules file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct RuleError {
    pub path: PathBuf,
    pub line: u64,
    pub message: String,
}

/// All rules, in the order of their file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet {
    pub rules: Vec<Rule>,
    numbers: BTreeMap<String, u16>,
    identities: Vec<Identity>,
}

/// A rule's name, and a digest of what it watches for.
pub(crate) type Identity = (String, u64);

impl RuleSet {
    /// Names are unique, and there are at most 65,535.
    fn new(rules: Vec<Rule>) -> Self {
        let numbers = (0_u16..).zip(&rules).map(|(number, rule)| (rule.name.clone(), number)).collect();
        let identities = rules.iter().map(Rule::identity).collect();
        Self { rules, numbers, identities }
    }

    /// By number.
    pub(crate) fn identities(&self) -> &Vec<Identity> {
        &self.identities
    }

    /// As [`Self::kept_from`], of a set of which only the identities are known.
    pub(crate) fn kept_of(&self, before: &[Identity]) -> Vec<Option<u16>> {
        let numbers: BTreeMap<&Identity, u16> = before.iter().zip(0_u16..).collect();
        self.identities.iter().map(|identity| numbers.get(identity).copied()).collect()
    }

    pub fn by_name(&self, name: &str) -> Option<&Rule> {
        self.number_of(name).map(|number| self.rule(number))
    }

    pub(crate) fn number_of(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    /// The rule with a number that this set gave out.
    pub(crate) fn rule(&self, number: u16) -> &Rule {
        &self.rules[usize::from(number)]
    }

    /// All rules with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u16, &Rule)> {
        (0_u16..).zip(&self.rules)
    }

    /// For each rule the number it had in the set before, if what it watches for is the same still.
    pub(crate) fn kept_from(&self, before: &Self) -> Vec<Option<u16>> {
        let kept = |rule: &Rule| {
            let number = before.number_of(&rule.name)?;
            before.rule(number).watches_as(rule).then_some(number)
        };
        self.rules.iter().map(kept).collect()
    }

    /// The longest time a condition or its end is watched before something is said.
    pub fn longest_wait_ms(&self) -> i64 {
        self.rules.iter().map(|rule| rule.hold_ms.max(rule.keep_ms)).max().unwrap_or(0)
    }

    /// The longest stretch over which a change is measured.
    pub fn longest_span_ms(&self) -> i64 {
        self.rules.iter().map(Rule::span_ms).max().unwrap_or(0)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
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
    /// When nothing new is said, and no wait runs.
    pub quiet: Vec<Recurring>,
    pub condition: Condition,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Threshold(Threshold),
    Forecast(Forecast),
    /// A series that its server reported and leaves out now.
    SeriesAbsent(Selector),
    /// The server reports, but no series that fits.
    MetricAbsent(Selector),
    /// The server says nothing for `hold_ms`.
    Silence,
}

/// Which series a rule is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    pub metric: Matcher,
    pub labels: Vec<LabelMatcher>,
}

/// A series beyond a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    pub select: Selector,
    pub of: Option<Of>,
    pub measure: Measure,
    pub side: Side,
    pub limit: f64,
    /// Where a firing alert's condition ends; the limit itself unless told otherwise.
    pub clear: f64,
}

/// A series that is going to be beyond a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Has no clear level: a forecast ends when the limit is clearly later than `within_ms` again.
    pub beyond: Threshold,
    pub within_ms: i64,
}

/// What is compared with the limit.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// The figure of the window.
    Figure,
    /// How much it changed over a stretch of time, for each `per_ms`; a counter's growth, across its restarts.
    Change { over_ms: i64, per_ms: i64 },
    /// It, divided by the same figure of the metric named, of the same server and labels, in the same window.
    Ratio(String),
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
    /// How odd the detector finds the value: 1 is odd.
    Score,
}

impl Rule {
    /// Whether the rule is about this server.
    pub fn wants_server(&self, server: &str) -> bool {
        self.server.as_ref().is_none_or(|matcher| matcher.is_match(server))
    }

    /// Whether each window of this series has to be looked at for the rule.
    pub fn watches(&self, server: &str, series: &Series) -> bool {
        let of = self.condition.threshold().and_then(|threshold| threshold.of);
        let counts = of != Some(Of::Rate) || series.kind == SeriesKind::Counter;
        let select = self.condition.of_series();
        let fits = select.is_some_and(|select| select.is_match(&series.metric, &series.labels));
        counts && fits && self.wants_server(server)
    }

    /// Whether nothing new is said at this time.
    pub fn is_quiet_at(&self, time: i64) -> bool {
        self.quiet.iter().any(|recurring| recurring.contains(time))
    }

    /// A rule about several metrics has an alert for each of them.
    pub(crate) fn tells_metrics_apart(&self) -> bool {
        self.condition.of_series().is_some_and(|select| select.metric.exact().is_none())
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace { hold_ms: self.hold_ms, keep_ms: self.keep_ms }
    }

    /// Whether a wait that one of them began goes on under the other: what only people read may differ.
    fn watches_as(&self, other: &Self) -> bool {
        self.condition == other.condition
            && self.server == other.server
            && (self.hold_ms, self.keep_ms) == (other.hold_ms, other.keep_ms)
            && self.quiet == other.quiet
    }

    /// The same for rules that watch alike; another version of this program may have another one.
    fn identity(&self) -> Identity {
        let watched = (&self.condition, &self.server, self.hold_ms, self.keep_ms, &self.quiet);
        (self.name.clone(), XxHash3_64::oneshot(format!("{watched:?}").as_bytes()))
    }

    fn span_ms(&self) -> i64 {
        match &self.condition {
            Condition::Threshold(Threshold { measure: Measure::Change { over_ms, .. }, .. }) => *over_ms,
            _ => 0,
        }
    }
}

impl Condition {
    /// What a series is held against, now or in the time to come.
    pub(crate) fn threshold(&self) -> Option<&Threshold> {
        match self {
            Self::Threshold(threshold) | Self::Forecast(Forecast { beyond: threshold, .. }) => {
                Some(threshold)
            }
            Self::SeriesAbsent(_) | Self::MetricAbsent(_) | Self::Silence => None,
        }
    }

    /// Which series have an alert of their own.
    pub(crate) fn of_series(&self) -> Option<&Selector> {
        match self {
            Self::Threshold(Threshold { select, .. })
            | Self::Forecast(Forecast { beyond: Threshold { select, .. }, .. })
            | Self::SeriesAbsent(select) => Some(select),
            Self::MetricAbsent(_) | Self::Silence => None,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric.source())?;
        for (i, wanted) in self.labels.iter().enumerate() {
            write!(f, "{}{}{}", if i == 0 { "{" } else { ", " }, wanted.label, wanted.matcher.source())?;
        }
        f.write_str(if self.labels.is_empty() { "" } else { "}" })
    }
}

impl Selector {
    pub fn is_match(&self, metric: &str, labels: &Labels) -> bool {
        // a label that is not there is an empty one
        let value = |label: &str| labels.get(label).map_or("", String::as_str);
        self.metric.is_match(metric)
            && self.labels.iter().all(|wanted| wanted.matcher.is_match(value(&wanted.label)))
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
