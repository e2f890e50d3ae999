//! Alerts and anomalies.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Row, postgres::PgRow, types::Json};
use tidewatch_schemas::{Alert, AlertStatus, Severity};

use super::{History, at};
use crate::{AnomalyRow, Error, StoredAlert};

/// Which alerts: those that overlap `[from_ms, to_ms)`, an open one for ever.
#[derive(Debug, Clone, Default)]
pub struct AlertQuery {
    pub status: Option<AlertStatus>,
    pub server_id: Option<i32>,
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    pub limit: usize,
}

/// Which anomalies: windows that start in `[from_ms, to_ms)`.
#[derive(Debug, Clone, Default)]
pub struct AnomalyQuery {
    pub server_id: Option<i32>,
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    pub limit: usize,
}

/// What an [`AlertQuery`] asks for of alerts `a`: its members are `$2` to `$5`.
pub(super) const FILTER: &str =
    "($2::text IS NULL OR a.status = $2) AND ($3::integer IS NULL OR a.server_id = $3)
    AND ($4::timestamptz IS NULL OR a.ends_at IS NULL OR a.ends_at >= $4)
    AND ($5::timestamptz IS NULL OR a.starts_at < $5)";

pub(super) const ORDER: &str = "ORDER BY a.status, a.starts_at DESC, a.alert_id";

impl History {
    /// Open alerts before resolved ones, each newest first.
    pub async fn alerts(&self, query: &AlertQuery) -> Result<Vec<StoredAlert>, Error> {
        self.guard(async {
            let sql = format!(
                "SELECT a.*, s.name AS server FROM alerts a JOIN servers s ON s.id = a.server_id
                 WHERE {FILTER} {ORDER} LIMIT $1"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(query.limit as i64)
                .bind(query.status.map(AlertStatus::as_str))
                .bind(query.server_id)
                .bind(query.from_ms.map(at))
                .bind(query.to_ms.map(at))
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(alert).collect()
        })
        .await
    }

    /// Newest first.
    pub async fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<AnomalyRow>, Error> {
        self.guard(async {
            let rows = sqlx::query(
                "SELECT e.server_id, s.name AS server, a.series_id, e.metric_name, e.labels, a.ts, a.window_ms, a.value,
                        a.expected_low, a.expected_high, a.score, a.method
                 FROM anomalies a JOIN series e ON e.id = a.series_id JOIN servers s ON s.id = e.server_id
                 WHERE ($1::integer IS NULL OR e.server_id = $1)
                   AND ($2::timestamptz IS NULL OR a.ts >= $2) AND ($3::timestamptz IS NULL OR a.ts < $3)
                 ORDER BY a.ts DESC, a.series_id LIMIT $4",
            )
            .bind(query.server_id)
            .bind(query.from_ms.map(at))
            .bind(query.to_ms.map(at))
            .bind(query.limit as i64)
            .fetch_all(self.pool())
            .await?;
            rows.iter().map(anomaly).collect()
        })
        .await
    }

    /// How many series of each server were odd in a window that starts in `[from_ms, to_ms)`; servers with none are
    /// left out.
    pub async fn odd_series(&self, from_ms: i64, to_ms: i64) -> Result<Vec<(i32, i64)>, Error> {
        self.guard(async {
            Ok(sqlx::query_as(
                "SELECT e.server_id, count(DISTINCT a.series_id) FROM anomalies a JOIN series e ON e.id = a.series_id
                 WHERE a.ts >= $1 AND a.ts < $2 GROUP BY e.server_id ORDER BY e.server_id",
            )
            .bind(at(from_ms))
            .bind(at(to_ms))
            .fetch_all(self.pool())
            .await?)
        })
        .await
    }
}

pub(super) fn alert(row: &PgRow) -> Result<StoredAlert, Error> {
    let time = |column| Ok::<_, sqlx::Error>(row.try_get::<DateTime<Utc>, _>(column)?.timestamp_millis());
    Ok(StoredAlert {
        server_id: row.try_get("server_id")?,
        alert: Alert {
            alert_id: row.try_get("alert_id")?,
            fingerprint: row.try_get("fingerprint")?,
            incident_id: row.try_get("incident_id")?,
            server: row.try_get("server")?,
            status: match row.try_get("status")? {
                "firing" => AlertStatus::Firing,
                _ => AlertStatus::Resolved,
            },
            severity: match row.try_get("severity")? {
                "critical" => Severity::Critical,
                "info" => Severity::Info,
                _ => Severity::Warning,
            },
            rule: row.try_get("rule")?,
            starts_at: time("starts_at")?,
            ends_at: row.try_get::<Option<DateTime<Utc>>, _>("ends_at")?.map(|t| t.timestamp_millis()),
            updated_at: time("updated_at")?,
            title: row.try_get("title")?,
            explanation: row.try_get("explanation")?,
            metric: row.try_get("metric_name")?,
            labels: row.try_get::<Json<_>, _>("labels")?.0,
            unit: row.try_get("unit")?,
            value: row.try_get("value")?,
            expected_low: row.try_get("expected_low")?,
            expected_high: row.try_get("expected_high")?,
            score: row.try_get("score")?,
            related: row.try_get::<Json<_>, _>("related")?.0,
            runbook_url: row.try_get("runbook_url")?,
        },
    })
}

pub(super) fn anomaly(row: &PgRow) -> Result<AnomalyRow, Error> {
    Ok(AnomalyRow {
        server_id: row.try_get("server_id")?,
        server: row.try_get("server")?,
        series_id: row.try_get("series_id")?,
        metric_name: row.try_get("metric_name")?,
        labels: row.try_get::<Json<_>, _>("labels")?.0,
        ts_ms: row.try_get::<DateTime<Utc>, _>("ts")?.timestamp_millis(),
        window_ms: row.try_get("window_ms")?,
        value: row.try_get("value")?,
        expected_low: row.try_get("expected_low")?,
        expected_high: row.try_get("expected_high")?,
        score: row.try_get("score")?,
        method: row.try_get("method")?,
    })
}
