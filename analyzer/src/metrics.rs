//! What the analyzer tells of itself.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use tidewatch_schemas::Reason;
use tidewatch_service_kit::Metrics;

use crate::{
    analysis::{Output, Sizes},
    publish::Snapshots,
};

#[derive(Debug, Clone)]
pub(crate) struct AnalyzerMetrics {
    windows: IntCounter,
    values: IntCounter,
    ignored: IntCounter,
    replayed: IntCounter,
    anomalies: IntCounter,
    alerts: IntCounterVec,
    alerts_held_back: IntCounter,
    expectations: IntCounter,
    dead_letters: IntCounterVec,
    commit_seconds: Histogram,
    sessions: IntCounter,
    partitions: IntGauge,
    servers: IntGauge,
    series: IntGauge,
    model_bytes: IntGauge,
    open_alerts: IntGauge,
    verdicts: IntGauge,
    rules: IntGauge,
    rules_refused: IntGauge,
    rule_reloads: IntCounterVec,
    snapshots: IntCounterVec,
    snapshot_bytes: IntCounter,
    lag_records: IntGauge,
    lag_seconds: Gauge,
}

impl AnalyzerMetrics {
    pub(crate) fn new(m: &Metrics) -> Self {
        let alerts = m.counters(
            "tidewatch_analyzer_alerts_total",
            "Alert transitions committed, by status: firing, updated (said again), resolved",
            &["status"],
        );
        for status in ["firing", "updated", "resolved"] {
            alerts.with_label_values(&[status]);
        }
        let dead_letters = m.counters(
            "tidewatch_analyzer_dead_letters_total",
            "Records of metrics.10s that are no windows, by reason",
            &["reason"],
        );
        for reason in Reason::ALL {
            dead_letters.with_label_values(&[reason.code()]);
        }
        let rule_reloads = m.counters(
            "tidewatch_analyzer_rule_reloads_total",
            "Changes of the rules file, by outcome: taken, refused",
            &["outcome"],
        );
        for outcome in ["taken", "refused"] {
            rule_reloads.with_label_values(&[outcome]);
        }
        let snapshots = m.counters(
            "tidewatch_analyzer_snapshots_total",
            "Snapshots of servers, by outcome: written, dropped, restored, or not usable: torn, older, newer, ahead, missing",
            &["outcome"],
        );
        for outcome in ["written", "dropped", "restored", "torn", "older", "newer", "ahead", "missing"] {
            snapshots.with_label_values(&[outcome]);
        }
        Self {
            windows: m.counter("tidewatch_analyzer_windows_total", "Windows analysed for the first time"),
            values: m.counter(
                "tidewatch_analyzer_values_total",
                "Values judged by a detector, for the first time",
            ),
            ignored: m.counter(
                "tidewatch_analyzer_ignored_total",
                "Deltas and windows not newer than the last of their server",
            ),
            replayed: m.counter(
                "tidewatch_analyzer_replayed_total",
                "Windows read again silently to rebuild models and watches",
            ),
            anomalies: m
                .counter("tidewatch_analyzer_anomalies_total", "Odd windows of single series committed"),
            alerts,
            alerts_held_back: m.counter(
                "tidewatch_analyzer_alerts_held_back_total",
                "Alerts that had to wait since too many began at once; most of them were said later",
            ),
            expectations: m.counter(
                "tidewatch_analyzer_expectations_total",
                "Expected bands of a server and minute committed",
            ),
            dead_letters,
            commit_seconds: m
                .seconds("tidewatch_analyzer_commit_seconds", "Duration of a transaction, begin to commit"),
            sessions: m.counter(
                "tidewatch_analyzer_sessions_total",
                "Group memberships begun; more than one means recovery",
            ),
            partitions: m.gauge("tidewatch_analyzer_partitions", "Partitions assigned"),
            servers: m.gauge("tidewatch_analyzer_servers", "Servers known"),
            series: m.gauge("tidewatch_analyzer_series", "Series known"),
            model_bytes: m.gauge("tidewatch_analyzer_model_bytes", "Memory of models and watches, estimated"),
            open_alerts: m.gauge("tidewatch_analyzer_open_alerts", "Alerts that fire and are not resolved"),
            verdicts: m.gauge(
                "tidewatch_analyzer_verdicts",
                "Alerts that people called false and that raise the bars of what they named",
            ),
            rules: m.gauge("tidewatch_analyzer_rules", "Rules in force"),
            rules_refused: m.gauge(
                "tidewatch_analyzer_rules_refused",
                "1 while the rules file is one that was refused, and those of before hold",
            ),
            rule_reloads,
            snapshots,
            snapshot_bytes: m
                .counter("tidewatch_analyzer_snapshot_bytes_total", "Bytes of snapshots committed"),
            lag_records: m.gauge("tidewatch_analyzer_lag_records", "Records of metrics.10s not yet read"),
            lag_seconds: m.float_gauge(
                "tidewatch_analyzer_lag_seconds",
                "Age of the last record read when it was read; 0 when there is none to read",
            ),
        }
    }

    pub(crate) fn record_session(&self) {
        self.sessions.inc();
    }

    pub(crate) fn record_rules(&self, rules: usize) {
        self.rules.set(rules as i64);
    }

    pub(crate) fn record_rules_taken(&self, rules: usize) {
        self.record_rules(rules);
        self.rules_refused.set(0);
        self.rule_reloads.with_label_values(&["taken"]).inc();
    }

    pub(crate) fn record_rules_refused(&self) {
        self.rules_refused.set(1);
        self.rule_reloads.with_label_values(&["refused"]).inc();
    }

    pub(crate) fn record_judged(&self, values: usize, age_ms: i64) {
        self.windows.inc();
        self.values.inc_by(values as u64);
        self.record_age(age_ms);
    }

    pub(crate) fn record_replayed(&self, age_ms: i64) {
        self.replayed.inc();
        self.record_age(age_ms);
    }

    pub(crate) fn record_ignored(&self) {
        self.ignored.inc();
    }

    fn record_age(&self, age_ms: i64) {
        self.lag_seconds.set(age_ms.max(0) as f64 / 1_000.0);
    }

    pub(crate) fn record_idle(&self) {
        self.lag_seconds.set(0.0);
    }

    pub(crate) fn record_dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn record_commit<'a>(&self, seconds: f64, outputs: impl Iterator<Item = &'a Output>) {
        self.commit_seconds.observe(seconds);
        for output in outputs {
            match output {
                Output::Anomaly(_) => self.anomalies.inc(),
                Output::Alert(alert) => self.alerts.with_label_values(&[alert.status.as_str()]).inc(),
                Output::Again(..) => self.alerts.with_label_values(&["updated"]).inc(),
                Output::HeldBack => self.alerts_held_back.inc(),
                Output::Expectation(_) => self.expectations.inc(),
            }
        }
    }

    /// What a commit did to `analyzer.state`.
    pub(crate) fn record_snapshots(&self, snapshots: Snapshots) {
        self.snapshots.with_label_values(&["written"]).inc_by(snapshots.written as u64);
        self.snapshots.with_label_values(&["dropped"]).inc_by(snapshots.dropped as u64);
        self.snapshot_bytes.inc_by(snapshots.bytes as u64);
    }

    /// What a new owner found there.
    pub(crate) fn record_found(&self, outcome: &str, servers: usize) {
        self.snapshots.with_label_values(&[outcome]).inc_by(servers as u64);
    }

    pub(crate) fn record_state(&self, partitions: usize, sizes: Sizes, lag: i64) {
        self.partitions.set(partitions as i64);
        self.servers.set(sizes.servers as i64);
        self.series.set(sizes.series as i64);
        self.model_bytes.set(sizes.bytes as i64);
        self.open_alerts.set(sizes.open_alerts as i64);
        self.verdicts.set(sizes.verdicts as i64);
        self.lag_records.set(lag);
    }
}
