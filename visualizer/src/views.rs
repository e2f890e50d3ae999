//! What answers look like: the JSON shapes that several routes and the live stream share. Pure.
//!
//! Keeps: the field names of the HTTP interface; times as RFC 3339 text.

use serde::Serialize;
use tidewatch_schemas::{Alert, AlertStatus, Labels, Severity, time::rfc3339};
use tidewatch_store::{Acknowledgement, AnomalyRow, Server, StoredAlert, TrackedAlert};
use utoipa::ToSchema;

use crate::{
    fleet::status::Status,
    format::{Csv, Field, Table, labels_text},
    openapi::schemas,
};

/// The collector's summary gauges.
pub(crate) const CPU: &str = "tidewatch_host_cpu_busy_percent";
pub(crate) const MEMORY: &str = "tidewatch_host_memory_used_percent";
pub(crate) const NETWORK: &str = "tidewatch_host_network_bytes_per_second";
pub(crate) const DISK: &str = "tidewatch_host_filesystem_used_percent";
/// What the fleet page shows of each server.
pub(crate) const SUMMARY: [&str; 4] = [CPU, MEMORY, NETWORK, DISK];

/// The fullest file system of a server.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Disk {
    pub(crate) mountpoint: String,
    pub(crate) last: f64,
}

pub(crate) fn mountpoint(labels: &Labels) -> String {
    labels.get("mountpoint").cloned().unwrap_or_default()
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Server)]
pub(crate) struct ServerView {
    id: i32,
    name: String,
    display_name: Option<String>,
    ip_address: Option<String>,
    status: Status,
    #[schema(format = DateTime)]
    last_seen: String,
    #[schema(format = DateTime)]
    first_seen: String,
    #[schema(schema_with = schemas::labels)]
    labels: Labels,
    open_alerts: usize,
}

impl ServerView {
    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn new(server: &Server, status: Status, open_alerts: usize) -> Self {
        Self {
            id: server.id,
            name: server.name.clone(),
            display_name: server.people.display_name.clone(),
            ip_address: server.ip_address.clone(),
            status,
            last_seen: rfc3339(server.last_seen_ms),
            first_seen: rfc3339(server.first_seen_ms),
            labels: server.labels.clone(),
            open_alerts,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Sample)]
pub(crate) struct MetricView<'a> {
    pub(crate) id: i64,
    pub(crate) server_id: i32,
    pub(crate) metric_name: &'a str,
    pub(crate) value: f64,
    #[schema(format = DateTime)]
    pub(crate) timestamp: &'a str,
    #[schema(schema_with = schemas::labels)]
    pub(crate) labels: &'a Labels,
}

impl Table for [MetricView<'_>] {
    fn rows(&self, csv: &mut Csv) -> csv::Result<()> {
        csv.row(["id", "server_id", "metric_name", "value", "timestamp", "labels"].map(Field::Text))?;
        for row in self {
            csv.row([
                Field::Whole(row.id),
                Field::Whole(row.server_id.into()),
                Field::Text(row.metric_name),
                Field::Number(row.value),
                Field::Text(row.timestamp),
                Field::Text(&labels_text(row.labels)),
            ])?;
        }
        Ok(())
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Related)]
pub(crate) struct RelatedView {
    metric: String,
    #[schema(schema_with = schemas::labels)]
    labels: Labels,
    score: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Acknowledgement)]
pub(crate) struct AcknowledgedView {
    /// Name of the key, or `anonymous`
    by: String,
    #[schema(format = DateTime)]
    at: String,
    note: Option<String>,
    /// `false_alarm` when they found that nothing was wrong
    #[schema(example = "false_alarm")]
    verdict: Option<String>,
}

impl From<Acknowledgement> for AcknowledgedView {
    fn from(said: Acknowledgement) -> Self {
        let verdict = said.verdict.map(|verdict| verdict.as_str().to_owned());
        Self { by: said.by, at: rfc3339(said.at_ms), note: said.note, verdict }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub(crate) struct AlertView {
    alert_id: String,
    fingerprint: String,
    incident_id: String,
    server: String,
    /// `null` only in the live stream, for a server that the store does not know yet.
    server_id: Option<i32>,
    #[schema(schema_with = schemas::alert_status)]
    status: AlertStatus,
    #[schema(schema_with = schemas::severity)]
    severity: Severity,
    rule: String,
    #[schema(format = DateTime)]
    starts_at: String,
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    title: String,
    explanation: String,
    metric_name: Option<String>,
    #[schema(schema_with = schemas::labels)]
    labels: Labels,
    unit: String,
    value: Option<f64>,
    expected_low: Option<f64>,
    expected_high: Option<f64>,
    score: Option<f64>,
    related: Vec<RelatedView>,
    runbook_url: Option<String>,
    #[schema(format = DateTime)]
    updated_at: String,
    /// `null` also in the live stream, which does not know it.
    acknowledged: Option<AcknowledgedView>,
    /// Silences that fit, the first 100; of an alert that fires those of now. None in the live stream.
    silenced_by: Vec<i32>,
}

impl AlertView {
    /// Nothing is known of what people did about it.
    pub(crate) fn new(server_id: Option<i32>, alert: Alert) -> Self {
        let related = alert.related.into_iter();
        Self {
            alert_id: alert.alert_id,
            fingerprint: alert.fingerprint,
            incident_id: alert.incident_id,
            server: alert.server,
            server_id,
            status: alert.status,
            severity: alert.severity,
            rule: alert.rule,
            starts_at: rfc3339(alert.starts_at),
            ends_at: alert.ends_at.map(rfc3339),
            title: alert.title,
            explanation: alert.explanation,
            metric_name: alert.metric,
            labels: alert.labels,
            unit: alert.unit,
            value: alert.value,
            expected_low: alert.expected_low,
            expected_high: alert.expected_high,
            score: alert.score,
            related: related
                .map(|r| RelatedView { metric: r.metric, labels: r.labels, score: r.score })
                .collect(),
            runbook_url: alert.runbook_url,
            updated_at: rfc3339(alert.updated_at),
            acknowledged: None,
            silenced_by: Vec::new(),
        }
    }
}

impl From<StoredAlert> for AlertView {
    fn from(stored: StoredAlert) -> Self {
        Self::new(Some(stored.server_id), stored.alert)
    }
}

impl From<TrackedAlert> for AlertView {
    fn from(tracked: TrackedAlert) -> Self {
        let (acknowledged, silenced_by) = (tracked.acknowledged.map(Into::into), tracked.silenced_by);
        Self { acknowledged, silenced_by, ..tracked.stored.into() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Anomaly)]
pub(crate) struct AnomalyView {
    server: String,
    server_id: i32,
    metric_name: String,
    #[schema(schema_with = schemas::labels)]
    labels: Labels,
    #[schema(format = DateTime)]
    timestamp: String,
    value: f64,
    expected_low: f64,
    expected_high: f64,
    score: f64,
    method: String,
}

impl From<AnomalyRow> for AnomalyView {
    fn from(row: AnomalyRow) -> Self {
        Self {
            server: row.server,
            server_id: row.server_id,
            metric_name: row.metric_name,
            labels: row.labels,
            timestamp: rfc3339(row.ts_ms),
            value: row.value,
            expected_low: row.expected_low,
            expected_high: row.expected_high,
            score: row.score,
            method: row.method,
        }
    }
}
