//! What the stream processor tells of itself.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use tidewatch_schemas::{AggregateKind, Reason, topics::tier_name};
use tidewatch_service_kit::Metrics;

use crate::{consume::Partition, emit::Batch};

#[derive(Debug, Clone)]
pub(crate) struct ProcessorMetrics {
    records: IntCounter,
    samples: IntCounter,
    windows: IntCounterVec,
    late: IntCounter,
    dead_letters: IntCounterVec,
    layouts: IntCounterVec,
    replayed: IntCounter,
    ticks: IntCounter,
    commit_seconds: Histogram,
    sessions: IntCounter,
    partitions: IntGauge,
    open_windows: IntGauge,
    servers: IntGauge,
    lag_records: IntGauge,
    lag_samples: IntGauge,
    replay_left: IntGauge,
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
        let layouts = m.counters(
            "tidewatch_stream_processor_layouts_total",
            "Announced layouts read, announcements refused, and ids that nobody had announced",
            &["result"],
        );
        for result in ["read", "refused", "unknown"] {
            layouts.with_label_values(&[result]);
        }
        Self {
            records: m.counter("tidewatch_stream_processor_records_total", "Records read for the first time"),
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
            layouts,
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
                .gauge("tidewatch_stream_processor_lag_records", "Records not yet read, of all inputs"),
            lag_samples: m.gauge(
                "tidewatch_stream_processor_lag_samples",
                "Samples not yet read, going by how many a record has held so far",
            ),
            replay_left: m.gauge(
                "tidewatch_stream_processor_replay_left_records",
                "Records to be read again before anything new is counted",
            ),
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

    pub(crate) fn record_late(&self) {
        self.late.inc();
    }

    pub(crate) fn record_dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn record_layout(&self, result: &str) {
        self.layouts.with_label_values(&[result]).inc();
    }

    pub(crate) fn record_commit(&self, seconds: f64, batch: &Batch) {
        self.commit_seconds.observe(seconds);
        for window in batch.windows.iter().flat_map(|(_, output)| output.records()) {
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

    /// `raw` are the partitions of the frames' topic: their clocks are those that wait for nothing before them.
    pub(crate) fn record_state<'a>(
        &self,
        all: impl Iterator<Item = &'a Partition>,
        raw: &[Option<Partition>],
        lag: i64,
        now_ms: i64,
    ) {
        let (mut windows, mut servers, mut partitions, mut replay) = (0, 0, 0, 0);
        for partition in all {
            let (open, known) = partition.windows.size();
            windows += open;
            servers += known;
            partitions += 1;
            replay += partition.windows.replay_left();
        }
        let open = raw.iter().flatten().filter(|p| p.windows.has_open_windows());
        let lowest = open.filter_map(|p| p.windows.clock()).min();
        self.partitions.set(partitions);
        self.open_windows.set(windows as i64);
        self.servers.set(servers as i64);
        self.lag_records.set(lag);
        let records = self.records.get().max(1);
        self.lag_samples.set((lag as f64 * self.samples.get() as f64 / records as f64) as i64);
        self.replay_left.set(replay);
        self.watermark_delay.set(lowest.map_or(0, |clock| now_ms - clock).max(0) as f64 / 1_000.0);
    }
}

/// What happened in a round, told at its end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    records: u64,
    replayed: u64,
    pub(crate) samples: u64,
    last_append: Option<i64>,
    /// Nothing was there to be read.
    pub(crate) idle: bool,
}

impl Tally {
    pub(crate) fn read(&mut self, live: bool, append_time: i64) {
        if live {
            self.records += 1;
        } else {
            self.replayed += 1;
        }
        self.last_append = Some(append_time);
    }

    pub(crate) fn flush(&mut self, metrics: &ProcessorMetrics, now_ms: i64) {
        metrics.records.inc_by(self.records);
        metrics.replayed.inc_by(self.replayed);
        metrics.samples.inc_by(self.samples);
        if self.idle {
            metrics.lag_seconds.set(0.0);
        } else if let Some(append_time) = self.last_append {
            metrics.lag_seconds.set((now_ms - append_time).max(0) as f64 / 1_000.0);
        }
        *self = Self::default();
    }
}
