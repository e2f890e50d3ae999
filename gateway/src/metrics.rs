//! What the gateway counts. Labels are words of ours and addresses of instances: nothing a client can make up.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec, IntGaugeVec};

const REQUESTS: &str = "tidewatch_gateway_requests_total";
const SECONDS: &str = "tidewatch_gateway_request_seconds";
const REFUSED: &str = "tidewatch_gateway_refused_total";
const LIMITED: &str = "tidewatch_gateway_limited_total";
const RETRIES: &str = "tidewatch_gateway_retries_total";
const FAILURES: &str = "tidewatch_gateway_upstream_failures_total";
const UP: &str = "tidewatch_gateway_upstream_up";

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: Histogram,
    refused: IntCounterVec,
    limited: IntCounterVec,
    retries: IntCounterVec,
    failures: IntCounterVec,
    up: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new(metrics: &tidewatch_service_kit::Metrics) -> Self {
        let made = Self {
            requests: metrics.counters(
                REQUESTS,
                "Requests answered, by place, status and role",
                &["route", "status", "role"],
            ),
            seconds: metrics.seconds(SECONDS, "Time from a request's head to its answer's head"),
            refused: metrics.counters(REFUSED, "Requests not let in, by reason", &["code"]),
            limited: metrics.counters(
                LIMITED,
                "Requests refused because their client asks too often",
                &["policy"],
            ),
            retries: metrics.counters(RETRIES, "Further tries of a request", &["service"]),
            failures: metrics.counters(FAILURES, "Calls that an instance failed", &["service", "kind"]),
            up: metrics.gauges(UP, "Whether an instance passes its health check", &["service", "instance"]),
        };
        // there from the start, so that a rate of it is never without its first step
        for policy in ["default", "ingest", "sign-in"] {
            made.limited.with_label_values(&[policy]);
        }
        made
    }

    pub(crate) fn record_answer(&self, route: &str, status: u16, role: &str, took: Duration) {
        self.requests.with_label_values(&[route, &status.to_string(), role]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn record_refused(&self, code: &str) {
        self.refused.with_label_values(&[code]).inc();
    }

    pub(crate) fn record_limited(&self, policy: &str) {
        self.limited.with_label_values(&[policy]).inc();
    }

    pub(crate) fn record_retry(&self, service: &str) {
        self.retries.with_label_values(&[service]).inc();
    }

    pub(crate) fn record_failure(&self, service: &str, kind: &str) {
        self.failures.with_label_values(&[service, kind]).inc();
    }

    pub(crate) fn record_up(&self, service: &str, instance: &str, up: bool) {
        self.up.with_label_values(&[service, instance]).set(i64::from(up));
    }

    /// The instance is not among the addresses of its name any more.
    pub(crate) fn forget_instance(&self, service: &str, instance: &str) {
        // it may never have been checked
        let _ = self.up.remove_label_values(&[service, instance]);
    }
}
