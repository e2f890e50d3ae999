//! What the stream processor tells of itself.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use tidewatch_schemas::{AggregateFrame, AggregateKind, Reason, topics::tier_name};
use tidewatch_service_kit::Metrics;

#[derive(Debug, Clone)]
pub(crate) struct ProcessorMetrics {
    records: IntCounter,
    samples: IntCounter,
    windows: IntCounterVec,
    late: IntCounter,
    dead_letters: IntCounterVec,
    replayed: IntCounter,
    ticks: IntCounter,
    commit_seconds: Histogram,
    sessions: IntCounter,
    partitions: IntGauge,
    open_windows: IntGauge,
    servers: IntGauge,
    lag_records: IntGauge,
    lag_seconds: Gauge,
    watermark_delay: Gauge,
}

impl ProcessorMetrics {
    pub(crate) fn new(m: &Metrics) -> Self {
        let dead_letters = m.counters(
            "tidewatch_stream_processor_dead_letters_total",
            "Records refused, wholly or in part, by reason",
            &["reason"],
        );
        for reason in Reason::ALL {
            dead_letters.with_label_values(&[reason.code()]);
        }
        Self {
            records: m.counter(
                "tidewatch_stream_processor_records_total",
                "Records of metrics.raw read for the first time",
            ),
            samples: m.counter("tidewatch_stream_processor_samples_total", "Samples counted into windows"),
            windows: m.counters(
                "tidewatch_stream_processor_windows_total",
                "Window records committed, by tier and kind",
                &["tier", "kind"],
            ),
            late: m.counter(
                "tidewatch_stream_processor_late_total",
                "Frames below the floor, sent to metrics.late",
            ),
            dead_letters,
            replayed: m.counter(
                "tidewatch_stream_processor_replayed_total",
                "Records read again to rebuild open windows",
            ),
            ticks: m
                .counter("tidewatch_stream_processor_ticks_total", "Ticks written into silent partitions"),
            commit_seconds: m.seconds(
                "tidewatch_stream_processor_commit_seconds",
                "Duration of a transaction, begin to commit",
            ),
            sessions: m.counter(
                "tidewatch_stream_processor_sessions_total",
                "Group memberships begun; more than one means recovery",
            ),
            partitions: m.gauge("tidewatch_stream_processor_partitions", "Partitions assigned"),
            open_windows: m
                .gauge("tidewatch_stream_processor_open_windows", "Windows that still take samples"),
            servers: m.gauge("tidewatch_stream_processor_servers", "Servers with windows above the floor"),
            lag_records: m
                .gauge("tidewatch_stream_processor_lag_records", "Records of metrics.raw not yet read"),
            lag_seconds: m.float_gauge(
                "tidewatch_stream_processor_lag_seconds",
                "Age of the last record read when it was read",
            ),
            watermark_delay: m.float_gauge(
                "tidewatch_stream_processor_watermark_delay_seconds",
                "Wall clock minus the lowest append clock of the assigned partitions",
            ),
        }
    }

    pub(crate) fn record_read(&self, live: bool, age_ms: i64) {
        if live {
            self.records.inc();
        } else {
            self.replayed.inc();
        }
        self.lag_seconds.set(age_ms.max(0) as f64 / 1_000.0);
    }

    pub(crate) fn record_samples(&self, samples: usize) {
        self.samples.inc_by(samples as u64);
    }

    pub(crate) fn record_late(&self) {
        self.late.inc();
    }

    pub(crate) fn record_dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn record_commit(&self, seconds: f64, windows: &[AggregateFrame]) {
        self.commit_seconds.observe(seconds);
        for window in windows {
            let kind = if window.kind == AggregateKind::Final { "final" } else { "delta" };
            self.windows.with_label_values(&[tier_name(window.window_ms).as_str(), kind]).inc();
        }
    }

    pub(crate) fn record_session(&self) {
        self.sessions.inc();
    }

    pub(crate) fn record_tick(&self) {
        self.ticks.inc();
    }

    pub(crate) fn record_idle(&self) {
        self.lag_seconds.set(0.0);
    }

    pub(crate) fn record_state(
        &self,
        partitions: usize,
        open_windows: usize,
        servers: usize,
        lag: i64,
        delay_ms: i64,
    ) {
        self.partitions.set(partitions as i64);
        self.open_windows.set(open_windows as i64);
        self.servers.set(servers as i64);
        self.lag_records.set(lag);
        self.watermark_delay.set(delay_ms.max(0) as f64 / 1_000.0);
    }
}
