//! What the fleet page shows of all servers at once: the collector's summary gauges, and who was there when.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Row, types::Json};
use tidewatch_schemas::Labels;

use super::{History, at, hour_of};
use crate::{Error, MAX_WINDOWS, Tier};

/// One gauge of one server in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetPoint {
    pub server_id: i32,
    pub metric_name: String,
    pub labels: Labels,
    /// Start of the step.
    pub ts_ms: i64,
    pub count: i64,
    pub sum: f64,
    pub max: f64,
    /// Value of the step's latest sample.
    pub last: f64,
}

impl History {
    /// These gauges of all servers in `[from_ms, to_ms)`, in steps counted from 1970: by server, metric, labels' series and
    /// time. Steps under a minute are read from the 10 s windows.
    pub async fn fleet(
        &self,
        metrics: &[&str],
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<FleetPoint>, Error> {
        let tier = if step_ms < Tier::Minute.window_ms() { Tier::TenSeconds } else { Tier::Minute };
        let step = (step_ms / tier.window_ms()).max(1) * tier.window_ms();
        self.guard(async {
            let query = format!(
                "SELECT e.server_id, e.metric_name, e.labels, date_bin('{step} milliseconds', s.ts, 'epoch') AS bin,
                        sum(s.count)::bigint, sum(s.sum), max(s.max), (array_agg(s.last ORDER BY s.ts DESC))[1]
                 FROM series e CROSS JOIN LATERAL (
                     SELECT ts, count, sum, max, last FROM {}
                     WHERE series_id = e.id AND ts >= $1 AND ts < $2 AND hour >= $4 AND hour < $2 OFFSET 0) s
                 WHERE e.metric_name = ANY($5)
                 GROUP BY e.id, bin ORDER BY e.server_id, e.metric_name, e.id, bin LIMIT $3",
                tier.view()
            );
            let rows = sqlx::query(AssertSqlSafe(query))
                .bind(at(from_ms))
                .bind(at(to_ms))
                .bind(MAX_WINDOWS as i64 + 1)
                .bind(hour_of(from_ms))
                .bind(metrics)
                .fetch_all(self.pool())
                .await?;
            if rows.len() > MAX_WINDOWS {
                return Err(Error::TooMuch(MAX_WINDOWS));
            }
            rows.iter()
                .map(|row| {
                    Ok(FleetPoint {
                        server_id: row.try_get(0)?,
                        metric_name: row.try_get(1)?,
                        labels: row.try_get::<Json<Labels>, _>(2)?.0,
                        ts_ms: row.try_get::<DateTime<Utc>, _>(3)?.timestamp_millis(),
                        count: row.try_get(4)?,
                        sum: row.try_get(5)?,
                        max: row.try_get(6)?,
                        last: row.try_get(7)?,
                    })
                })
                .collect()
        })
        .await
    }

    /// (server, start of step) for each step of `[from_ms, to_ms)` in which the server sent anything; steps are counted
    /// from `from_ms` and at least a minute long.
    pub async fn presence(&self, from_ms: i64, to_ms: i64, step_ms: i64) -> Result<Vec<(i32, i64)>, Error> {
        let step = step_ms.max(Tier::Minute.window_ms());
        self.guard(async {
            // OFFSET 0: asked step by step, which ends at the first row found, rather than joined with all rows
            let query = format!(
                "SELECT v.id, t.bin FROM servers v,
                    generate_series($1::timestamptz, $2::timestamptz - '1 ms'::interval, '{step} ms') AS t(bin)
                 WHERE v.last_seen > t.bin AND v.first_seen < t.bin + '{step} ms'::interval AND EXISTS (
                    SELECT 1 FROM series e CROSS JOIN LATERAL (
                        SELECT 1 FROM windows_1m
                        WHERE series_id = e.id AND ts >= t.bin AND ts < t.bin + '{step} ms'::interval
                          AND hour >= date_trunc('hour', t.bin) AND hour < t.bin + '{step} ms'::interval
                        LIMIT 1) s
                    WHERE e.server_id = v.id OFFSET 0)
                 ORDER BY v.id, t.bin LIMIT $3"
            );
            let rows = sqlx::query_as::<_, (i32, DateTime<Utc>)>(AssertSqlSafe(query))
                .bind(at(from_ms))
                .bind(at(to_ms))
                .bind(MAX_WINDOWS as i64)
                .fetch_all(self.pool())
                .await?;
            Ok(rows.into_iter().map(|(id, bin)| (id, bin.timestamp_millis())).collect())
        })
        .await
    }
}
