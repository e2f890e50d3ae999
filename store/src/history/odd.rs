//! Counts over all servers: their series, and how many of these were odd when.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{History, at};
use crate::{Error, MAX_WINDOWS};

impl History {
    /// (server, start of step, series of it that were odd) for the steps of `[from_ms, to_ms)` that have any; steps are
    /// counted from 1970.
    pub async fn odd_steps(
        &self,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<(i32, i64, i64)>, Error> {
        self.guard(async {
            let query = format!(
                "SELECT e.server_id, date_bin('{} milliseconds', a.ts, 'epoch') AS bin, count(DISTINCT a.series_id)
                 FROM anomalies a JOIN series e ON e.id = a.series_id
                 WHERE a.ts >= $1 AND a.ts < $2 GROUP BY e.server_id, bin ORDER BY e.server_id, bin LIMIT $3",
                step_ms.max(1)
            );
            let rows = sqlx::query_as::<_, (i32, DateTime<Utc>, i64)>(AssertSqlSafe(query))
                .bind(at(from_ms))
                .bind(at(to_ms))
                .bind(MAX_WINDOWS as i64)
                .fetch_all(self.pool())
                .await?;
            Ok(rows.into_iter().map(|(server, bin, count)| (server, bin.timestamp_millis(), count)).collect())
        })
        .await
    }

    /// How many series each server has.
    pub async fn series_counts(&self) -> Result<Vec<(i32, i64)>, Error> {
        self.guard(async {
            Ok(sqlx::query_as("SELECT server_id, count(*) FROM series GROUP BY server_id ORDER BY server_id")
                .fetch_all(self.pool())
                .await?)
        })
        .await
    }
}
