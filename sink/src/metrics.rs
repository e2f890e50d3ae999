//! What the sink tells about itself.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use tidewatch_schemas::Reason;
use tidewatch_service_kit::Metrics;
use tidewatch_store::write::pack::Chunk;

/// All of the sink's metrics; names begin with `tidewatch_sink_`.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    records: IntCounterVec,
    rows: IntCounterVec,
    copies: IntCounter,
    batches: IntCounter,
    commit_seconds: Histogram,
    failures: IntCounterVec,
    dead_letters: IntCounterVec,
    lag_records: IntGauge,
    lag_seconds: Gauge,
    refresh_errors: IntCounter,
    partitions: IntGauge,
    packed: IntCounterVec,
    packed_hours: IntCounterVec,
    packed_partitions: IntCounterVec,
    pack_seconds: Histogram,
    unpacked: IntCounter,
}

impl SinkMetrics {
    pub fn new(m: &Metrics) -> Self {
        let dead_letters = m.counters(
            "tidewatch_sink_dead_letters_total",
            "Records sent to the dead-letter topic, by reason",
            &["reason"],
        );
        for reason in Reason::ALL {
            dead_letters.with_label_values(&[reason.code()]).reset();
        }
        Self {
            records: m.counters("tidewatch_sink_records_total", "Records committed, by topic", &["topic"]),
            rows: m.counters("tidewatch_sink_rows_total", "Rows committed, by table", &["table"]),
            copies: m.counter(
                "tidewatch_sink_known_rows_total",
                "Rows left out because PostgreSQL had them already (second copies)",
            ),
            batches: m.counter("tidewatch_sink_batches_total", "Transactions committed"),
            commit_seconds: m.seconds(
                "tidewatch_sink_commit_seconds",
                "Time of a transaction, from its first statement to the commit",
            ),
            failures: m.counters(
                "tidewatch_sink_failures_total",
                "Transactions that failed and were tried again, by kind",
                &["kind"],
            ),
            dead_letters,
            lag_records: m.gauge("tidewatch_sink_lag_records", "Records not yet read, of all topics"),
            lag_seconds: m.float_gauge(
                "tidewatch_sink_lag_seconds",
                "Age of the newest record of the last transaction when it was committed; 0 when idle",
            ),
            refresh_errors: m
                .counter("tidewatch_sink_redis_refresh_errors_total", "Refreshes of Redis that failed"),
            partitions: m.gauge("tidewatch_sink_partitions", "Partitions this instance owns"),
            packed: m.counters("tidewatch_sink_packed_windows_total", "Windows packed, by table", &["table"]),
            packed_hours: m.counters(
                "tidewatch_sink_packed_rows_total",
                "Rows that packed windows became, by the table of the windows",
                &["table"],
            ),
            packed_partitions: m.counters(
                "tidewatch_sink_packed_partitions_total",
                "Partitions emptied by packing, by table",
                &["table"],
            ),
            pack_seconds: m.seconds(
                "tidewatch_sink_pack_seconds",
                "Time of a packing transaction, which is how long a late part may wait for it",
            ),
            unpacked: m.counter(
                "tidewatch_sink_unpacked_windows_total",
                "Packed windows that became rows again because something late fell into their hour",
            ),
        }
    }

    pub(crate) fn record_commit(&self, took: Duration, age_ms: Option<i64>) {
        self.batches.inc();
        self.commit_seconds.observe(took.as_secs_f64());
        if let Some(age) = age_ms {
            self.lag_seconds.set(age.max(0) as f64 / 1_000.0);
        }
    }

    pub(crate) fn record_records(&self, topic: &str, records: usize) {
        self.records.with_label_values(&[topic]).inc_by(records as u64);
    }

    pub(crate) fn record_rows(&self, table: &str, rows: usize) {
        self.rows.with_label_values(&[table]).inc_by(rows as u64);
    }

    pub(crate) fn record_known_rows(&self, rows: usize) {
        self.copies.inc_by(rows as u64);
    }

    pub(crate) fn record_failure(&self, kind: &str) {
        self.failures.with_label_values(&[kind]).inc();
    }

    pub(crate) fn record_dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn record_lag(&self, records: i64) {
        self.lag_records.set(records);
        if records == 0 {
            self.lag_seconds.set(0.0);
        }
    }

    pub(crate) fn record_partitions(&self, owned: usize) {
        self.partitions.set(owned as i64);
    }

    pub(crate) fn record_packed(&self, table: &str, chunk: Chunk, took: Duration) {
        self.packed.with_label_values(&[table]).inc_by(chunk.windows as u64);
        self.packed_hours.with_label_values(&[table]).inc_by(chunk.hours as u64);
        self.pack_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn record_packed_partition(&self, table: &str) {
        self.packed_partitions.with_label_values(&[table]).inc();
    }

    pub(crate) fn record_unpacked(&self, windows: u64) {
        self.unpacked.inc_by(windows);
    }

    pub(crate) fn record_refresh_error(&self) {
        self.refresh_errors.inc();
    }
}
