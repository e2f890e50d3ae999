//! Incidents, and alerts with what people did about them.
//!
//! Keeps: an incident is what its alerts are at this moment; nothing of it is kept apart.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use tidewatch_schemas::{AlertStatus, Severity, Verdict};

use super::{
    History, at,
    events::{self, AlertQuery},
};
use crate::{
    AnomalyRow, Error,
    triage::{Acknowledgement, Incident, TrackedAlert},
};

/// Which alerts, also by what people did about them.
#[derive(Debug, Clone, Default)]
pub struct TrackedQuery {
    pub alerts: AlertQuery,
    pub acknowledged: Option<bool>,
    pub silenced: Option<bool>,
    /// By it an alert that fires is silenced or not.
    pub now_ms: i64,
}

/// Which incidents: those that overlap `[from_ms, to_ms)`, one that fires for ever.
#[derive(Debug, Clone, Default)]
pub struct IncidentQuery {
    pub firing: Option<bool>,
    /// With an alert of this server.
    pub server_id: Option<i32>,
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    pub limit: usize,
}

/// The silences `z` of an alert `a` of a server `s`: now (`$1`) while it fires, else at any time while it did.
const SILENCES: &str = "FROM silences z WHERE z.starts_at < z.ends_at
    AND z.ends_at > CASE a.status WHEN 'firing' THEN $1::timestamptz ELSE a.starts_at END
    AND z.starts_at <= CASE a.status WHEN 'firing' THEN $1::timestamptz ELSE coalesce(a.ends_at, a.updated_at) END
    AND (z.server IS NULL OR tidewatch_fits(s.name, z.server))
    AND (z.metric IS NULL OR tidewatch_fits(a.metric_name, z.metric))
    AND NOT EXISTS (SELECT FROM jsonb_each_text(z.labels) l WHERE NOT tidewatch_fits(a.labels->>l.key, l.value))";

/// What the alerts of an incident are together; its id comes behind.
const SUMMARY: &str = "SELECT bool_or(b.status = 'firing') AS firing,
        max(array_position(ARRAY['info', 'warning', 'critical'], b.severity)) AS severity,
        (array_agg(b.title ORDER BY b.starts_at, b.alert_id))[1] AS title, min(b.starts_at) AS started,
        (array_agg(coalesce(b.metric_name, b.rule) ORDER BY b.starts_at, b.alert_id))[1] AS moved,
        max(b.updated_at) AS updated, max(coalesce(b.ends_at, b.updated_at)) AS ended, count(*) AS alerts,
        count(*) FILTER (WHERE f.verdict = 'false_alarm') AS false_alarms,
        array_agg(DISTINCT v.name ORDER BY v.name) AS servers, array_agg(DISTINCT b.server_id) AS server_ids
    FROM alerts b JOIN servers v ON v.id = b.server_id LEFT JOIN acknowledgements f ON f.alert_id = b.alert_id
    WHERE b.incident_id =";

impl History {
    /// Open alerts before resolved ones, each newest first.
    pub async fn tracked_alerts(&self, query: &TrackedQuery) -> Result<Vec<TrackedAlert>, Error> {
        self.guard(async {
            let which = format!(
                "{} AND ($7::boolean IS NULL OR (k.alert_id IS NOT NULL) = $7)
                 AND ($8::boolean IS NULL OR EXISTS (SELECT {SILENCES}) = $8) {} LIMIT $6",
                events::FILTER,
                events::ORDER
            );
            let rows = sqlx::query(tracked_where(&which))
                .bind(at(query.now_ms))
                .bind(query.alerts.status.map(AlertStatus::as_str))
                .bind(query.alerts.server_id)
                .bind(query.alerts.from_ms.map(at))
                .bind(query.alerts.to_ms.map(at))
                .bind(query.alerts.limit as i64)
                .bind(query.acknowledged)
                .bind(query.silenced)
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(tracked).collect()
        })
        .await
    }

    /// Says that somebody takes care of an alert; the same said again changes nothing. `None`: there is no such alert.
    pub async fn acknowledge(
        &self,
        alert_id: &str,
        said: &Acknowledgement,
    ) -> Result<Option<TrackedAlert>, Error> {
        self.guard(async {
            sqlx::query(
                "INSERT INTO acknowledgements AS k (alert_id, by, at, note, verdict)
                 SELECT a.alert_id, $2::text, $3::timestamptz, $4::text, $5::text FROM alerts a WHERE a.alert_id = $1
                 ON CONFLICT (alert_id) DO UPDATE
                 SET by = EXCLUDED.by, at = EXCLUDED.at, note = EXCLUDED.note, verdict = EXCLUDED.verdict
                 WHERE (k.by, k.note, k.verdict) IS DISTINCT FROM (EXCLUDED.by, EXCLUDED.note, EXCLUDED.verdict)",
            )
            .bind(alert_id)
            .bind(&said.by)
            .bind(at(said.at_ms))
            .bind(said.note.as_deref())
            .bind(said.verdict.map(Verdict::as_str))
            .execute(self.pool())
            .await?;
            self.one_tracked(alert_id, said.at_ms).await
        })
        .await
    }

    /// Takes it back, if it was said; `None`: there is no such alert.
    pub async fn withdraw(&self, alert_id: &str, now_ms: i64) -> Result<Option<TrackedAlert>, Error> {
        self.guard(async {
            let query = sqlx::query("DELETE FROM acknowledgements WHERE alert_id = $1").bind(alert_id);
            query.execute(self.pool()).await?;
            self.one_tracked(alert_id, now_ms).await
        })
        .await
    }

    /// One alert as it is now.
    pub async fn tracked_alert(&self, alert_id: &str, now_ms: i64) -> Result<Option<TrackedAlert>, Error> {
        self.guard(self.one_tracked(alert_id, now_ms)).await
    }

    async fn one_tracked(&self, alert_id: &str, now_ms: i64) -> Result<Option<TrackedAlert>, Error> {
        let query = sqlx::query(tracked_where("a.alert_id = $2")).bind(at(now_ms)).bind(alert_id);
        query.fetch_optional(self.pool()).await?.as_ref().map(tracked).transpose()
    }

    /// The newest first.
    pub async fn incidents(&self, query: &IncidentQuery) -> Result<Vec<Incident>, Error> {
        self.guard(async {
            // each incident once, by its first alert
            let mut sql = format!(
                "SELECT a.incident_id AS id, i.* FROM alerts a CROSS JOIN LATERAL ({SUMMARY} a.incident_id) i
                 WHERE NOT EXISTS (SELECT FROM alerts e
                         WHERE e.incident_id = a.incident_id AND (e.starts_at, e.alert_id) < (a.starts_at, a.alert_id))
                     AND ($1::boolean IS NULL OR i.firing = $1) AND ($2::integer IS NULL OR $2 = ANY(i.server_ids))
                     AND ($3::timestamptz IS NULL OR i.firing OR i.ended >= $3)
                     AND ($4::timestamptz IS NULL OR a.starts_at < $4)"
            );
            // few of many are found by their own indexes
            if query.firing == Some(true) {
                sql += " AND a.incident_id IN (SELECT o.incident_id FROM alerts o WHERE o.status = 'firing')";
            }
            if query.server_id.is_some() {
                sql += " AND a.incident_id IN (SELECT o.incident_id FROM alerts o WHERE o.server_id = $2)";
            }
            if query.from_ms.is_some() {
                sql += " AND a.incident_id IN (SELECT o.incident_id FROM alerts o
                         WHERE o.status = 'firing' OR coalesce(o.ends_at, o.updated_at) >= $3)";
            }
            sql += " ORDER BY a.starts_at DESC, a.alert_id LIMIT $5";
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(query.firing)
                .bind(query.server_id)
                .bind(query.from_ms.map(at))
                .bind(query.to_ms.map(at))
                .bind(query.limit as i64)
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(incident).collect()
        })
        .await
    }

    pub async fn incident(&self, id: &str) -> Result<Option<Incident>, Error> {
        self.guard(async {
            let sql = format!("SELECT $1::text AS id, i.* FROM ({SUMMARY} $1) i WHERE i.alerts > 0");
            let query = sqlx::query(AssertSqlSafe(sql)).bind(id);
            query.fetch_optional(self.pool()).await?.as_ref().map(incident).transpose()
        })
        .await
    }

    /// The alerts of an incident in the order of their start.
    pub async fn incident_alerts(
        &self,
        id: &str,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<TrackedAlert>, Error> {
        self.guard(async {
            let which = "a.incident_id = $2 ORDER BY a.starts_at, a.alert_id LIMIT $3";
            let query = sqlx::query(tracked_where(which)).bind(at(now_ms)).bind(id).bind(limit as i64);
            query.fetch_all(self.pool()).await?.iter().map(tracked).collect()
        })
        .await
    }

    /// The anomalies, in windows that start in `[from_ms, to_ms]`, of the series that the alerts of an incident name; in order of
    /// time, and how many there are in all.
    pub async fn incident_anomalies(
        &self,
        id: &str,
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Result<(Vec<AnomalyRow>, i64), Error> {
        self.guard(async {
            let rows = sqlx::query(
                "WITH named AS (
                     SELECT a.server_id, a.metric_name, a.labels FROM alerts a
                     WHERE a.incident_id = $1 AND a.metric_name IS NOT NULL
                     UNION
                     SELECT a.server_id, r->>'metric', coalesce(r->'labels', '{}'::jsonb)
                     FROM alerts a CROSS JOIN LATERAL jsonb_array_elements(a.related) r WHERE a.incident_id = $1)
                 SELECT e.server_id, s.name AS server, a.series_id, e.metric_name, e.labels, a.ts, a.window_ms, a.value,
                     a.expected_low, a.expected_high, a.score, a.method, count(*) OVER () AS found
                 FROM named n
                 JOIN series e ON e.server_id = n.server_id AND e.metric_name = n.metric_name AND e.labels = n.labels
                 JOIN anomalies a ON a.series_id = e.id JOIN servers s ON s.id = e.server_id
                 WHERE a.ts >= $2 AND a.ts <= $3
                 ORDER BY a.ts, a.series_id LIMIT $4",
            )
            .bind(id)
            .bind(at(from_ms))
            .bind(at(to_ms))
            .bind(limit as i64)
            .fetch_all(self.pool())
            .await?;
            let found = rows.first().map(|row| row.try_get::<i64, _>("found")).transpose()?.unwrap_or_default();
            let anomalies: Result<Vec<_>, Error> = rows.iter().map(events::anomaly).collect();
            Ok((anomalies?, found))
        })
        .await
    }
}

/// Alerts that fit; `which` is a literal of ours, `$1` in it is now.
fn tracked_where(which: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT a.*, s.name AS server, k.by AS acknowledged_by, k.at AS acknowledged_at, k.note AS acknowledged_note,
             k.verdict AS acknowledged_verdict,
             ARRAY(SELECT z.id {SILENCES} ORDER BY z.id LIMIT 100) AS silenced_by
         FROM alerts a JOIN servers s ON s.id = a.server_id LEFT JOIN acknowledgements k ON k.alert_id = a.alert_id
         WHERE {which}"
    ))
}

fn tracked(row: &PgRow) -> Result<TrackedAlert, Error> {
    let by: Option<String> = row.try_get("acknowledged_by")?;
    let acknowledged = match by {
        Some(by) => Some(Acknowledgement {
            by,
            at_ms: time(row, "acknowledged_at")?,
            note: row.try_get("acknowledged_note")?,
            verdict: row
                .try_get::<Option<String>, _>("acknowledged_verdict")?
                .as_deref()
                .and_then(Verdict::parse),
        }),
        None => None,
    };
    Ok(TrackedAlert { stored: events::alert(row)?, acknowledged, silenced_by: row.try_get("silenced_by")? })
}

fn incident(row: &PgRow) -> Result<Incident, Error> {
    let is_firing: bool = row.try_get("firing")?;
    let ended = time(row, "ended")?;
    Ok(Incident {
        id: row.try_get("id")?,
        is_firing,
        severity: match row.try_get::<i32, _>("severity")? {
            1 => Severity::Info,
            2 => Severity::Warning,
            _ => Severity::Critical,
        },
        title: row.try_get("title")?,
        moved: row.try_get("moved")?,
        started_ms: time(row, "started")?,
        updated_ms: time(row, "updated")?,
        ended_ms: (!is_firing).then_some(ended),
        servers: row.try_get("servers")?,
        alerts: row.try_get("alerts")?,
        false_alarms: row.try_get("false_alarms")?,
        joined: Vec::new(),
    })
}

fn time(row: &PgRow, column: &str) -> Result<i64, Error> {
    Ok(row.try_get::<DateTime<Utc>, _>(column)?.timestamp_millis())
}
