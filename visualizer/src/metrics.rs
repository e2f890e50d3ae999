//! What the visualizer says about itself. In: events of the domain. Out: Prometheus metrics `tidewatch_visualizer_*`.
//!
//! Keeps: labels come from fixed sets (route templates, status codes, sources), never from a request.

use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};
use tidewatch_service_kit::Metrics as Registry;

const REQUESTS: &str = "tidewatch_visualizer_requests_total";
const REQUEST_SECONDS: &str = "tidewatch_visualizer_request_seconds";
const CACHE_HITS: &str = "tidewatch_visualizer_cache_hits_total";
const LIVE_CLIENTS: &str = "tidewatch_visualizer_live_clients";
const LIVE_RECORDS: &str = "tidewatch_visualizer_live_records_total";
const LIVE_LAGGED: &str = "tidewatch_visualizer_live_lagged_clients_total";
const LIVE_LAG_SECONDS: &str = "tidewatch_visualizer_live_lag_seconds";

/// Handles of all metrics; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: Histogram,
    cache_hits: IntCounterVec,
    live_clients: IntGauge,
    live_records: IntCounterVec,
    live_lagged: IntCounter,
    live_lag_seconds: Gauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(
                REQUESTS,
                "Answers by route, status and where they came from",
                &["route", "status", "source"],
            ),
            seconds: registry.seconds(REQUEST_SECONDS, "Time to answer a query"),
            cache_hits: registry.counters(
                CACHE_HITS,
                "Answers from memory: shared = computed for another request a moment ago, kept = while PostgreSQL is away",
                &["cache"],
            ),
            live_clients: registry.gauge(LIVE_CLIENTS, "Open live streams"),
            live_records: registry.counters(
                LIVE_RECORDS,
                "Records of the live stream by kind: window, alert, undecodable",
                &["kind"],
            ),
            live_lagged: registry.counter(LIVE_LAGGED, "Live streams ended because their reader was too slow"),
            live_lag_seconds: registry
                .float_gauge(LIVE_LAG_SECONDS, "Age of the newest record of the live stream when it was read"),
        }
    }

    pub(crate) fn record_request(&self, route: &str, status: u16, source: &str, time: Duration) {
        self.requests.with_label_values(&[route, &status.to_string(), source]).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    /// `shared` or `kept`.
    pub(crate) fn record_cache_hit(&self, cache: &str) {
        self.cache_hits.with_label_values(&[cache]).inc();
    }

    /// `window`, `alert` or `undecodable`, with its age.
    pub(crate) fn record_live(&self, kind: &str, age_ms: Option<i64>) {
        self.live_records.with_label_values(&[kind]).inc();
        if let Some(age) = age_ms {
            self.live_lag_seconds.set(age.max(0) as f64 / 1_000.0);
        }
    }

    pub(crate) fn record_lagged(&self) {
        self.live_lagged.inc();
    }

    pub(crate) fn live_clients(&self) -> &IntGauge {
        &self.live_clients
    }
}
