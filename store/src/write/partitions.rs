//! A partition for each day: made ahead, made on demand for a day that lacks one, dropped when its time is over.

use std::time::Duration;

use chrono::NaiveDate;
use sqlx::{Connection, PgConnection};

use crate::{Error, Tier, history::at};

/// Tables with day partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Daily {
    Samples(Tier),
    Expectations,
}

impl Daily {
    pub const ALL: [Self; 3] =
        [Self::Samples(Tier::TenSeconds), Self::Samples(Tier::Minute), Self::Expectations];

    fn table(self) -> &'static str {
        match self {
            Self::Samples(tier) => tier.table(),
            Self::Expectations => "expectations",
        }
    }
}

const DAY_MS: i64 = 86_400_000;

/// The day of a time, UTC, as days since 1970.
pub fn day_of(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

fn date(day: i64) -> NaiveDate {
    at(day.saturating_mul(DAY_MS)).date_naive()
}

/// Makes the partition of a day unless it is there. A transaction of its own, so that no lock outlives it.
pub async fn ensure(conn: &mut PgConnection, table: Daily, day: i64) -> Result<bool, Error> {
    let mut transaction = conn.begin().await?;
    let made = sqlx::query_scalar("SELECT tidewatch_ensure_day($1, $2)")
        .bind(table.table())
        .bind(date(day))
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(made)
}

/// Drops the partitions whose last moment is older than `kept`; says how many.
pub async fn drop_older(
    conn: &mut PgConnection,
    table: Daily,
    kept: Duration,
    now_ms: i64,
) -> Result<i32, Error> {
    let first = day_of(now_ms.saturating_sub(kept.as_millis() as i64));
    let mut transaction = conn.begin().await?;
    let dropped = sqlx::query_scalar("SELECT tidewatch_drop_days($1, $2)")
        .bind(table.table())
        .bind(date(first))
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(dropped)
}

/// Anomalies are few and lie in one table: old ones are deleted.
pub async fn delete_old_anomalies(
    conn: &mut PgConnection,
    kept: Duration,
    now_ms: i64,
) -> Result<u64, Error> {
    let deleted = sqlx::query("DELETE FROM anomalies WHERE ts < $1")
        .bind(at(now_ms.saturating_sub(kept.as_millis() as i64)))
        .execute(conn)
        .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        assert_eq!(date(day_of(1_795_392_000_000)).to_string(), "2026-11-23");
        assert_eq!(date(day_of(1_795_391_999_999)).to_string(), "2026-11-22");
        assert_eq!(day_of(-1), -1);
    }
}
