//! The windows of histograms. In: series, and a grid of steps. Out: each row as it comes, so that whoever adds them up holds
//! sums and never all of them.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};
use tidewatch_schemas::{Buckets, Distribution, Origin};

use super::{History, at};
use crate::{Error, HistogramRow, Tier};

/// The columns of a [`HistogramRow`], in the order of the tables.
pub(crate) const COLUMNS: &str = "series_id, ts, count, sum, min, max, scale, zero_threshold, zero_count, positive_offset, \
     positive, negative_offset, negative, origin_partition, origin_offset";

/// Which windows.
#[derive(Debug, Clone)]
pub struct HistogramQuery {
    pub series: Vec<i32>,
    pub tier: Tier,
    /// A multiple of the tier's window; no step is made of windows of two lengths.
    pub step_ms: i64,
    /// Start of the first step.
    pub from_ms: i64,
    pub to_ms: i64,
    /// Else rows come without buckets: for sums, counts and extremes.
    pub buckets: bool,
    /// Rows at most; more are [`Error::TooMuch`].
    pub limit: usize,
}

impl History {
    /// Gives `take` the windows that start in the range: those of the tier as far as it is closed, of a shorter one from
    /// there on; of each series and tier in order of time.
    pub async fn histograms(
        &self,
        query: &HistogramQuery,
        take: impl FnMut(HistogramRow) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let (from, to) = (query.from_ms, query.to_ms);
        if query.series.is_empty() || from >= to {
            return Ok(());
        }
        let covered = if query.tier > Tier::TenSeconds {
            let whole = self.covered(&query.series, query.tier.histograms(), query.tier, query.step_ms);
            self.guard(whole).await?.clamp(from, to)
        } else {
            to
        };
        let shorter = if query.tier > Tier::Minute { Tier::Minute } else { Tier::TenSeconds };
        self.read_histograms(query, [(query.tier, from, covered), (shorter, covered, to)], take).await
    }

    /// Gives `take` the tier's own windows that start in the range, of each series in order of time; `step_ms` says nothing.
    pub async fn histograms_of_tier(
        &self,
        query: &HistogramQuery,
        take: impl FnMut(HistogramRow) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        self.read_histograms(query, [(query.tier, query.from_ms, query.to_ms)], take).await
    }

    /// Of each tier the windows from a time on and before another.
    async fn read_histograms<const N: usize>(
        &self,
        query: &HistogramQuery,
        stretches: [(Tier, i64, i64); N],
        mut take: impl FnMut(HistogramRow) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let mut left = query.limit;
        self.guard_cancellable(async |connection| {
            for (tier, from, to) in stretches {
                if from >= to {
                    continue;
                }
                let mut rows = sqlx::query(AssertSqlSafe(query.sql(tier)))
                    .bind(&query.series)
                    .bind(at(from))
                    .bind(at(to))
                    .bind(left as i64 + 1)
                    .fetch(&mut *connection);
                while let Some(row) = rows.try_next().await? {
                    left = left.checked_sub(1).ok_or(Error::TooMuch(query.limit))?;
                    take(histogram(&row)?)?;
                }
            }
            Ok(())
        })
        .await
    }
}

impl HistogramQuery {
    fn sql(&self, tier: Tier) -> String {
        let none = |column: &str| match column {
            "positive" | "negative" if !self.buckets => format!("'{{}}'::bigint[] AS {column}"),
            column => column.to_owned(),
        };
        let columns: Vec<String> = COLUMNS.split(", ").map(|column| none(column.trim())).collect();
        // series by series: one index walk for each
        format!(
            "SELECT r.* FROM UNNEST($1::integer[]) AS k(id) CROSS JOIN LATERAL (
                 SELECT {} FROM {} WHERE series_id = k.id AND ts >= $2 AND ts < $3 ORDER BY ts OFFSET 0) r LIMIT $4",
            columns.join(", "),
            tier.histograms()
        )
    }
}

pub(crate) fn histogram(row: &PgRow) -> Result<HistogramRow, Error> {
    let known = |index: usize| row.try_get::<Option<f64>, _>(index).map(|value| value.unwrap_or(f64::NAN));
    let observed = Distribution {
        count: row.try_get(2)?,
        sum: known(3)?,
        min: known(4)?,
        max: known(5)?,
        scale: row.try_get(6)?,
        zero_threshold: row.try_get(7)?,
        zero_count: row.try_get(8)?,
        positive: Buckets { offset: row.try_get(9)?, counts: row.try_get(10)? },
        negative: Buckets { offset: row.try_get(11)?, counts: row.try_get(12)? },
    };
    Ok(HistogramRow {
        series_id: row.try_get(0)?,
        ts_ms: row.try_get::<DateTime<Utc>, _>(1)?.timestamp_millis(),
        observed,
        origin: Origin { partition: row.try_get(13)?, offset: row.try_get(14)? },
    })
}
