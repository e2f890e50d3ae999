//! Alerts, anomalies and expectations. All can be written again: the newest state of an alert stays, a second copy of the
//! others changes nothing.

use chrono::{DateTime, Utc};
use hashbrown::{HashMap, HashSet};
use sqlx::{PgConnection, types::Json};

use super::bulk::by_key;
use crate::{
    Error, ExpectationRow, StoredAlert,
    history::{at, windows::band},
};

/// A row of `anomalies`.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAnomaly {
    pub series_id: i32,
    pub ts_ms: i64,
    pub window_ms: i32,
    pub value: f64,
    pub expected_low: f64,
    pub expected_high: f64,
    pub score: f64,
    pub method: String,
}

/// Keeps the newest state of each alert; of two of the same time, resolved comes after firing. Returns the states that
/// were newer than what was there.
pub async fn upsert_alerts(
    conn: &mut PgConnection,
    alerts: &[StoredAlert],
) -> Result<Vec<StoredAlert>, Error> {
    let mut news = Vec::new();
    let mut alerts: Vec<&StoredAlert> = alerts.iter().collect();
    // stable: of one alert's states the last given comes last
    alerts.sort_by(|a, b| a.alert.alert_id.cmp(&b.alert.alert_id));
    for stored in alerts {
        let StoredAlert { server_id, alert } = stored;
        let done = sqlx::query(
            "INSERT INTO alerts AS a (alert_id, fingerprint, incident_id, server_id, status, severity, rule, starts_at,
                 ends_at, updated_at, title, explanation, metric_name, labels, unit, value, expected_low,
                 expected_high, score, related, runbook_url)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
             ON CONFLICT (alert_id) DO UPDATE SET
                 fingerprint = EXCLUDED.fingerprint, incident_id = EXCLUDED.incident_id, server_id = EXCLUDED.server_id,
                 status = EXCLUDED.status, severity = EXCLUDED.severity, rule = EXCLUDED.rule,
                 starts_at = EXCLUDED.starts_at, ends_at = EXCLUDED.ends_at, updated_at = EXCLUDED.updated_at,
                 title = EXCLUDED.title, explanation = EXCLUDED.explanation, metric_name = EXCLUDED.metric_name,
                 labels = EXCLUDED.labels, unit = EXCLUDED.unit, value = EXCLUDED.value,
                 expected_low = EXCLUDED.expected_low, expected_high = EXCLUDED.expected_high, score = EXCLUDED.score,
                 related = EXCLUDED.related, runbook_url = EXCLUDED.runbook_url
             WHERE EXCLUDED.updated_at > a.updated_at OR (EXCLUDED.updated_at = a.updated_at AND a.status = 'firing')",
        )
        .bind(&alert.alert_id)
        .bind(&alert.fingerprint)
        .bind(&alert.incident_id)
        .bind(server_id)
        .bind(alert.status.as_str())
        .bind(alert.severity.as_str())
        .bind(&alert.rule)
        .bind(at(alert.starts_at))
        .bind(alert.ends_at.map(at))
        .bind(at(alert.updated_at))
        .bind(&alert.title)
        .bind(&alert.explanation)
        .bind(&alert.metric)
        .bind(Json(&alert.labels))
        .bind(&alert.unit)
        .bind(alert.value)
        .bind(alert.expected_low)
        .bind(alert.expected_high)
        .bind(alert.score)
        .bind(Json(&alert.related))
        .bind(&alert.runbook_url)
        .execute(&mut *conn)
        .await?;
        if done.rows_affected() > 0 {
            news.push(stored.clone());
        }
    }
    Ok(news)
}

/// Which of these alerts are there, in whatever state.
pub async fn alerts_there(conn: &mut PgConnection, ids: &[&str]) -> Result<HashSet<String>, Error> {
    let query = "SELECT alert_id FROM alerts WHERE alert_id = ANY($1::text[])";
    let found: Vec<String> = sqlx::query_scalar(query).bind(ids).fetch_all(conn).await?;
    Ok(found.into_iter().collect())
}

/// The first given stays; says how many were new.
pub async fn insert_anomalies(conn: &mut PgConnection, anomalies: &[NewAnomaly]) -> Result<u64, Error> {
    if anomalies.is_empty() {
        return Ok(0);
    }
    let mut rows: Vec<&NewAnomaly> = anomalies.iter().collect();
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    rows.dedup_by_key(|row| (row.series_id, row.ts_ms));
    let done = sqlx::query(
        "INSERT INTO anomalies (series_id, ts, window_ms, value, expected_low, expected_high, score, method)
         SELECT * FROM UNNEST($1::integer[], $2::timestamptz[], $3::integer[], $4::float8[], $5::float8[], $6::float8[],
             $7::float8[], $8::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(rows.iter().map(|r| r.series_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| at(r.ts_ms)).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.window_ms).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.value).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.expected_low).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.expected_high).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.score).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.method.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Of two bands for one window the last given stays.
pub async fn upsert_expectations(conn: &mut PgConnection, rows: &[ExpectationRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<&ExpectationRow> = rows.iter().rev().collect();
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    rows.dedup_by_key(|row| (row.series_id, row.ts_ms));
    sqlx::query(
        "INSERT INTO expectations (series_id, ts, window_ms, low, high)
         SELECT * FROM UNNEST($1::integer[], $2::timestamptz[], $3::integer[], $4::float8[], $5::float8[])
         ON CONFLICT (series_id, ts) DO UPDATE SET window_ms = EXCLUDED.window_ms, low = EXCLUDED.low, high = EXCLUDED.high",
    )
    .bind(rows.iter().map(|r| r.series_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| at(r.ts_ms)).collect::<Vec<DateTime<Utc>>>())
    .bind(rows.iter().map(|r| r.window_ms).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.low).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.high).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// The bands that are there for these keys (series, time).
pub async fn expectations_there(
    conn: &mut PgConnection,
    keys: &[(i32, i64)],
) -> Result<HashMap<(i32, i64), ExpectationRow>, Error> {
    by_key(conn, "expectations", "series_id, ts, window_ms, low, high", keys, band).await
}
