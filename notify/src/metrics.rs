//! What the notifier tells of itself; everything by target, whose number the settings bound.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use tidewatch_schemas::Reason;
use tidewatch_service_kit::Metrics;

use crate::deliver::verdict::Kind;

/// What a transition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    Refused,
    /// A firing too old to be told, resolved meanwhile; and that resolution.
    Stale,
    /// A second copy in the topic.
    Repeated,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Taken, Self::Refused, Self::Stale, Self::Repeated];

    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Repeated => "repeated",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct NotifyMetrics {
    transitions: IntCounterVec,
    failures: IntCounterVec,
    repeats: IntCounterVec,
    dead_letters: IntCounterVec,
    sessions: IntCounterVec,
    partitions: IntGaugeVec,
    pending: IntGaugeVec,
    standing: IntGaugeVec,
    lag_records: IntGaugeVec,
    oldest_seconds: GaugeVec,
    request_seconds: Histogram,
    delivery_seconds: Histogram,
}

impl NotifyMetrics {
    pub(crate) fn new(m: &Metrics) -> Self {
        let dead_letters = m.counters(
            "tidewatch_notify_dead_letters_total",
            "Transitions that a target refused for good, and records that are no alerts, by reason",
            &["reason"],
        );
        for reason in [Reason::Refused, Reason::Undecodable, Reason::UnknownSchema] {
            dead_letters.with_label_values(&[reason.code()]);
        }
        let gauges = |name: &str, help: &str| m.gauges(name, help, &["target"]);
        Self {
            transitions: m.counters(
                "tidewatch_notify_transitions_total",
                "Transitions done with, by target and by what they came to",
                &["target", "fate"],
            ),
            failures: m.counters(
                "tidewatch_notify_failures_total",
                "Requests that have to be made again, by target and kind",
                &["target", "kind"],
            ),
            repeats: m.counters(
                "tidewatch_notify_repeats_total",
                "Alerts of which Alertmanager was told again, so that it does not forget them",
                &["target"],
            ),
            dead_letters,
            sessions: m.counters(
                "tidewatch_notify_sessions_total",
                "Group memberships begun, by target; more than one means recovery",
                &["target"],
            ),
            partitions: gauges("tidewatch_notify_partitions", "Partitions assigned, by target"),
            pending: gauges("tidewatch_notify_pending", "Transitions read and not yet taken, by target"),
            standing: gauges(
                "tidewatch_notify_standing_alerts",
                "Alerts of which the target is told again: those that fire, and those resolved a moment ago",
            ),
            lag_records: gauges("tidewatch_notify_lag_records", "Records of alerts not yet read, by target"),
            oldest_seconds: m.float_gauges(
                "tidewatch_notify_oldest_pending_seconds",
                "Age of the oldest transition that is not yet taken, by target; 0 when there is none",
                &["target"],
            ),
            request_seconds: m.seconds("tidewatch_notify_request_seconds", "Duration of a request"),
            delivery_seconds: m.seconds(
                "tidewatch_notify_delivery_seconds",
                "From a transition's record in Kafka to a target that has taken it",
            ),
        }
    }

    /// Those of one target, at zero until something happens.
    pub(crate) fn of(&self, target: &str) -> TargetMetrics {
        TargetMetrics {
            transitions: Fate::ALL.map(|fate| self.transitions.with_label_values(&[target, fate.as_str()])),
            failures: Kind::MADE.map(|kind| self.failures.with_label_values(&[target, kind.as_str()])),
            repeats: self.repeats.with_label_values(&[target]),
            dead_letters: self.dead_letters.clone(),
            sessions: self.sessions.with_label_values(&[target]),
            partitions: self.partitions.with_label_values(&[target]),
            pending: self.pending.with_label_values(&[target]),
            standing: self.standing.with_label_values(&[target]),
            lag_records: self.lag_records.with_label_values(&[target]),
            oldest_seconds: self.oldest_seconds.with_label_values(&[target]),
            request_seconds: self.request_seconds.clone(),
            delivery_seconds: self.delivery_seconds.clone(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TargetMetrics {
    transitions: [IntCounter; Fate::ALL.len()],
    failures: [IntCounter; Kind::MADE.len()],
    repeats: IntCounter,
    dead_letters: IntCounterVec,
    sessions: IntCounter,
    partitions: IntGauge,
    pending: IntGauge,
    standing: IntGauge,
    lag_records: IntGauge,
    oldest_seconds: Gauge,
    request_seconds: Histogram,
    delivery_seconds: Histogram,
}

impl TargetMetrics {
    pub(crate) fn record_session(&self) {
        self.sessions.inc();
    }

    /// `age_ms` since its record was stamped.
    pub(crate) fn record_taken(&self, age_ms: i64) {
        self.record_fate(Fate::Taken, 1);
        self.delivery_seconds.observe(age_ms.max(0) as f64 / 1_000.0);
    }

    pub(crate) fn record_fate(&self, fate: Fate, count: usize) {
        if let Some((_, counter)) = Fate::ALL.iter().zip(&self.transitions).find(|(one, _)| **one == fate) {
            counter.inc_by(count as u64);
        }
    }

    pub(crate) fn record_failure(&self, kind: Kind) {
        if let Some((_, counter)) = Kind::MADE.iter().zip(&self.failures).find(|(one, _)| **one == kind) {
            counter.inc();
        }
    }

    pub(crate) fn record_repeats(&self, count: usize) {
        self.repeats.inc_by(count as u64);
    }

    pub(crate) fn record_dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn record_request(&self, took: Duration) {
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn record_state(&self, state: State) {
        self.partitions.set(state.partitions as i64);
        self.pending.set(state.pending as i64);
        self.standing.set(state.standing as i64);
        self.lag_records.set(state.lag);
        self.oldest_seconds.set(state.oldest_ms.max(0) as f64 / 1_000.0);
    }
}

/// What a target's member has in hand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) partitions: usize,
    pub(crate) pending: usize,
    pub(crate) standing: usize,
    /// Records of the topic not yet read.
    pub(crate) lag: i64,
    /// Age of the oldest pending one.
    pub(crate) oldest_ms: i64,
}
