//! What ingest tells about itself. `source` is `host` (collected here) or `http` (received).

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use tidewatch_schemas::Reason;
use tidewatch_service_kit::metrics::Metrics as Registry;

const FRAMES: &str = "tidewatch_ingest_frames_total";
const SAMPLES: &str = "tidewatch_ingest_samples_total";
const REJECTED: &str = "tidewatch_ingest_rejected_samples_total";
const REQUESTS: &str = "tidewatch_ingest_requests_total";
const PUBLISH_SECONDS: &str = "tidewatch_ingest_publish_seconds";
const PUBLISH_FAILURES: &str = "tidewatch_ingest_publish_failures_total";
const QUEUE_BYTES: &str = "tidewatch_ingest_queue_bytes";
const COLLECT_SECONDS: &str = "tidewatch_ingest_collect_seconds";
const COLLECT_ERRORS: &str = "tidewatch_ingest_collect_errors_total";
const COLLECT_REQUESTS: &str = "tidewatch_ingest_collect_requests_total";
const COLLECT_SERIES: &str = "tidewatch_ingest_collect_series";
const ANNOUNCED_LAYOUTS: &str = "tidewatch_ingest_announced_layouts_total";
const ANNOUNCE_FAILURES: &str = "tidewatch_ingest_announce_failures_total";
const LAYOUT_NAMED: &str = "tidewatch_ingest_layout_named";
const BACKLOG_FRAMES: &str = "tidewatch_ingest_backlog_frames";
const BACKLOG_BYTES: &str = "tidewatch_ingest_backlog_bytes";
const BACKLOG_LAG: &str = "tidewatch_ingest_backlog_lag_milliseconds";
const BACKLOG_DROPPED: &str = "tidewatch_ingest_backlog_dropped_frames_total";

/// Where frames came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Host,
    Http,
}

impl Origin {
    fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Http => "http",
        }
    }
}

/// What became of a request to collect at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Collected,
    /// Another collection, within a second of it, answers it.
    Coalesced,
    /// Too old when it was read.
    Expired,
    /// Names a server that is not collected here.
    Other,
    Undecodable,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Collected, Self::Coalesced, Self::Expired, Self::Other, Self::Undecodable];

    fn label(self) -> &'static str {
        match self {
            Self::Collected => "collected",
            Self::Coalesced => "coalesced",
            Self::Expired => "expired",
            Self::Other => "other_server",
            Self::Undecodable => "undecodable",
        }
    }
}

/// All of them; clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    frames: IntCounterVec,
    samples: IntCounterVec,
    rejected: IntCounterVec,
    requests: IntCounterVec,
    publish_seconds: Histogram,
    publish_failures: IntCounter,
    queue_bytes: IntGauge,
    collect_seconds: Histogram,
    collect_errors: IntCounterVec,
    collect_requests: IntCounterVec,
    collect_series: IntGauge,
    announced_layouts: IntCounter,
    announce_failures: IntCounter,
    layout_named: IntGauge,
    backlog_frames: IntGauge,
    backlog_bytes: IntGauge,
    backlog_lag: IntGauge,
    backlog_dropped: IntCounter,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self {
            frames: registry.counters(FRAMES, "Frames that Kafka acknowledged", &["source"]),
            samples: registry.counters(SAMPLES, "Samples in the frames that Kafka acknowledged", &["source"]),
            rejected: registry.counters(REJECTED, "Samples refused at the HTTP door", &["reason"]),
            requests: registry.counters(REQUESTS, "Requests answered at the HTTP door", &["status"]),
            publish_seconds: registry
                .seconds(PUBLISH_SECONDS, "From handing frames to Kafka to its acknowledgement"),
            publish_failures: registry
                .counter(PUBLISH_FAILURES, "Publishing attempts that failed or were not made"),
            queue_bytes: registry
                .gauge(QUEUE_BYTES, "Bytes held by requests that are being read or wait for Kafka"),
            collect_seconds: registry.seconds(COLLECT_SECONDS, "Duration of one scrape of this host"),
            collect_errors: registry.counters(COLLECT_ERRORS, "Parts of a scrape that failed", &["part"]),
            collect_requests: registry.counters(
                COLLECT_REQUESTS,
                "Requests to collect at once, by what became of them",
                &["outcome"],
            ),
            collect_series: registry.gauge(COLLECT_SERIES, "Series of the last scrape of this host"),
            announced_layouts: registry
                .counter(ANNOUNCED_LAYOUTS, "Announcements of this host's layout that Kafka acknowledged"),
            announce_failures: registry
                .counter(ANNOUNCE_FAILURES, "Announcements of a layout that failed or were not made"),
            layout_named: registry.gauge(
                LAYOUT_NAMED,
                "Whether the last collected frame named its layout (1) or carried it (0)",
            ),
            backlog_frames: registry
                .gauge(BACKLOG_FRAMES, "Collected frames that Kafka has not acknowledged"),
            backlog_bytes: registry.gauge(BACKLOG_BYTES, "Bytes of those frames"),
            backlog_lag: registry.gauge(BACKLOG_LAG, "Age of the oldest of those frames"),
            backlog_dropped: registry
                .counter(BACKLOG_DROPPED, "Collected frames dropped because Kafka was away for too long"),
        };
        for origin in [Origin::Host, Origin::Http] {
            metrics.frames.with_label_values(&[origin.label()]);
            metrics.samples.with_label_values(&[origin.label()]);
        }
        for outcome in Outcome::ALL {
            metrics.collect_requests.with_label_values(&[outcome.label()]);
        }
        metrics
    }

    pub(crate) fn record_published(&self, origin: Origin, frames: u64, samples: u64, took: Duration) {
        self.frames.with_label_values(&[origin.label()]).inc_by(frames);
        self.samples.with_label_values(&[origin.label()]).inc_by(samples);
        self.publish_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn record_publish_failure(&self) {
        self.publish_failures.inc();
    }

    pub(crate) fn record_rejected(&self, reason: Reason, samples: u64) {
        self.rejected.with_label_values(&[reason.code()]).inc_by(samples);
    }

    pub(crate) fn record_answer(&self, status: u16) {
        self.requests.with_label_values(&[&status.to_string()]).inc();
    }

    pub(crate) fn record_queue(&self, bytes: usize) {
        self.queue_bytes.set(bytes as i64);
    }

    pub(crate) fn record_scrape(&self, took: Duration, series: usize) {
        self.collect_seconds.observe(took.as_secs_f64());
        self.collect_series.set(series as i64);
    }

    pub(crate) fn record_collect_error(&self, part: &str) {
        self.collect_errors.with_label_values(&[part]).inc();
    }

    pub(crate) fn record_collect_request(&self, outcome: Outcome) {
        self.collect_requests.with_label_values(&[outcome.label()]).inc();
    }

    pub(crate) fn record_announced(&self) {
        self.announced_layouts.inc();
    }

    pub(crate) fn record_announce_failure(&self) {
        self.announce_failures.inc();
    }

    pub(crate) fn record_layout(&self, named: bool) {
        self.layout_named.set(i64::from(named));
    }

    pub(crate) fn record_backlog(&self, frames: usize, bytes: usize, lag: i64) {
        self.backlog_frames.set(frames as i64);
        self.backlog_bytes.set(bytes as i64);
        self.backlog_lag.set(lag);
    }

    pub(crate) fn record_dropped(&self, frames: u64) {
        self.backlog_dropped.inc_by(frames);
    }
}
