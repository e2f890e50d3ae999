//! The windows of chosen series, and what was expected of them, each in order of series and time.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use tidewatch_schemas::Origin;

use super::{History, at, hour_of};
use crate::{Error, ExpectationRow, PackedTier, Tier, WindowRow};

/// Most windows that one answer holds; a larger one is [`Error::TooMuch`].
pub const MAX_WINDOWS: usize = 500_000;

/// The columns of a [`WindowRow`], in the order of the tables.
pub(crate) const COLUMNS: &str = "series_id, ts, count, sum, min, max, first, last, first_at, last_at, m2, increase, \
     resets, origin_partition, origin_offset";

impl History {
    /// The windows of these series that start in `[from_ms, to_ms)`.
    pub async fn windows(
        &self,
        series: &[i32],
        tier: Tier,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<WindowRow>, Error> {
        if series.is_empty() || from_ms >= to_ms {
            return Ok(Vec::new());
        }
        self.guard(async {
            let query = format!(
                "SELECT {COLUMNS} FROM {} WHERE series_id = ANY($1) AND ts >= $2 AND ts < $3
                   AND hour >= $5 AND hour < $3
                 ORDER BY series_id, ts LIMIT $4",
                tier.view()
            );
            let rows = sqlx::query(AssertSqlSafe(query))
                .bind(series)
                .bind(at(from_ms))
                .bind(at(to_ms))
                .bind(MAX_WINDOWS as i64 + 1)
                .bind(hour_of(from_ms))
                .fetch_all(self.pool())
                .await?;
            if rows.len() > MAX_WINDOWS {
                return Err(Error::TooMuch(MAX_WINDOWS));
            }
            rows.iter().map(window).collect()
        })
        .await
    }

    /// When the oldest window of these series in `[from_ms, to_ms)` may start, milliseconds: of a packed one its hour. `None`:
    /// there is none.
    pub async fn oldest_window(
        &self,
        series: &[i32],
        tier: PackedTier,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Option<i64>, Error> {
        if series.is_empty() || from_ms >= to_ms {
            return Ok(None);
        }
        // the oldest of each is one step into an index: the view would unpack every hour for it
        let query = format!(
            "SELECT min(r.ts) FROM UNNEST($1::integer[]) AS k(id) CROSS JOIN LATERAL (
                 (SELECT ts FROM {} WHERE series_id = k.id AND ts >= $2 AND ts < $3 ORDER BY ts LIMIT 1)
                 UNION ALL
                 (SELECT hour FROM {} WHERE series_id = k.id AND hour >= $4 AND hour < $3 ORDER BY hour LIMIT 1)) r",
            tier.tier().table(),
            tier.table()
        );
        self.guard(async {
            let oldest: Option<DateTime<Utc>> = sqlx::query_scalar(AssertSqlSafe(query))
                .bind(series)
                .bind(at(from_ms))
                .bind(at(to_ms))
                .bind(hour_of(from_ms))
                .fetch_one(self.pool())
                .await?;
            Ok(oldest.map(|ts| ts.timestamp_millis().max(from_ms)))
        })
        .await
    }

    /// Up to where a tier's closed windows make up whole steps, milliseconds: by the newest window that any of these series
    /// has in `relation`; before all times when there is none.
    pub(super) async fn covered(
        &self,
        series: &[i32],
        relation: &'static str,
        tier: Tier,
        step_ms: i64,
    ) -> Result<i64, Error> {
        // the newest of each is one step into the index
        let query = format!(
            "SELECT max(r.ts) FROM UNNEST($1::integer[]) AS k(id)
             CROSS JOIN LATERAL (SELECT ts FROM {relation} WHERE series_id = k.id ORDER BY ts DESC LIMIT 1) r"
        );
        let newest: Option<DateTime<Utc>> =
            sqlx::query_scalar(AssertSqlSafe(query)).bind(series).fetch_one(self.pool()).await?;
        let end = |ts: DateTime<Utc>| ts.timestamp_millis() + tier.window_ms();
        Ok(newest.map_or(i64::MIN, |ts| end(ts).div_euclid(step_ms) * step_ms))
    }

    /// The windows of these series for steps of `step_ms` that cover `[from_ms, to_ms)`, in order of series and time: of
    /// the longest tier that makes up such steps as far as it is closed, and of minutes from there on.
    pub async fn windows_for(
        &self,
        series: &[i32],
        step_ms: i64,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<WindowRow>, Error> {
        let tier = Tier::of_step(step_ms);
        if tier <= Tier::Minute {
            return self.windows(series, tier, from_ms, to_ms).await;
        }
        let covered =
            self.guard(self.covered(series, tier.view(), tier, step_ms)).await?.clamp(from_ms, to_ms);
        let mut rows = self.windows(series, tier, from_ms, covered).await?;
        rows.extend(self.windows(series, Tier::Minute, covered, to_ms).await?);
        rows.sort_unstable_by_key(|row| (row.series_id, row.ts_ms));
        Ok(rows)
    }

    /// How many windows start in `[from_ms, end)`, with an end for each partition of `metrics.raw` (number, end) that they are
    /// of. `servers`: of these alone. Takes as long as it takes.
    pub async fn count_windows(
        &self,
        tier: Tier,
        from_ms: i64,
        ends: &[(i32, i64)],
        servers: &[String],
    ) -> Result<u64, Error> {
        let Some(end) = ends.iter().map(|(_, end)| *end).max() else { return Ok(0) };
        let query = format!(
            "SELECT count(*) FROM {} w JOIN UNNEST($3::integer[], $4::timestamptz[]) AS k(partition, behind)
                 ON w.origin_partition = k.partition AND w.ts < k.behind
             WHERE w.ts >= $1 AND w.ts < $2 AND w.hour >= $5 AND w.hour < $2
               AND (cardinality($6::text[]) = 0 OR w.series_id IN (
                   SELECT e.id FROM series e JOIN servers v ON v.id = e.server_id WHERE v.name = ANY($6)))",
            tier.view()
        );
        let mut transaction = self.pool().begin().await?;
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *transaction).await?;
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(at(from_ms))
            .bind(at(end))
            .bind(ends.iter().map(|(partition, _)| *partition).collect::<Vec<_>>())
            .bind(ends.iter().map(|(_, end)| at(*end)).collect::<Vec<_>>())
            .bind(hour_of(from_ms))
            .bind(servers)
            .fetch_one(&mut *transaction)
            .await?;
        Ok(found as u64)
    }

    /// The bands of these series for windows that start in `[from_ms, to_ms)`.
    pub async fn expectations(
        &self,
        series: &[i32],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<ExpectationRow>, Error> {
        if series.is_empty() || from_ms >= to_ms {
            return Ok(Vec::new());
        }
        self.guard(async {
            let rows = sqlx::query(
                "SELECT series_id, ts, window_ms, low, high FROM expectations
                 WHERE series_id = ANY($1) AND ts >= $2 AND ts < $3 ORDER BY series_id, ts LIMIT $4",
            )
            .bind(series)
            .bind(at(from_ms))
            .bind(at(to_ms))
            .bind(MAX_WINDOWS as i64 + 1)
            .fetch_all(self.pool())
            .await?;
            if rows.len() > MAX_WINDOWS {
                return Err(Error::TooMuch(MAX_WINDOWS));
            }
            rows.iter().map(band).collect()
        })
        .await
    }
}

pub(crate) fn band(row: &PgRow) -> Result<ExpectationRow, Error> {
    Ok(ExpectationRow {
        series_id: row.try_get(0)?,
        ts_ms: row.try_get::<DateTime<Utc>, _>(1)?.timestamp_millis(),
        window_ms: row.try_get(2)?,
        low: row.try_get(3)?,
        high: row.try_get(4)?,
    })
}

pub(crate) fn window(row: &PgRow) -> Result<WindowRow, Error> {
    Ok(WindowRow {
        series_id: row.try_get(0)?,
        ts_ms: row.try_get::<DateTime<Utc>, _>(1)?.timestamp_millis(),
        count: row.try_get(2)?,
        sum: row.try_get(3)?,
        min: row.try_get(4)?,
        max: row.try_get(5)?,
        first: row.try_get(6)?,
        last: row.try_get(7)?,
        first_at: row.try_get(8)?,
        last_at: row.try_get(9)?,
        m2: row.try_get(10)?,
        increase: row.try_get(11)?,
        resets: row.try_get(12)?,
        origin: Origin { partition: row.try_get(13)?, offset: row.try_get(14)? },
    })
}
