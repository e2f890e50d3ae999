//! Partitions by time: made ahead, made on demand for a time that lacks one, dropped when their time is over.
//!
//! Keeps: readers and writers of other partitions are never waited for, nor made to wait.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{Error, PackedTier, Tier, history::at};

/// Tables that are partitioned by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partitioned {
    Samples(Tier),
    /// The same windows, packed: partitions as long as the tier's own, made by the packer.
    Packed(PackedTier),
    /// Windows of histograms: partitions as long as those of the tier's samples.
    Histograms(Tier),
    Expectations,
}

/// How long a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Day,
    /// From Monday on.
    Week,
    Month,
}

impl Partitioned {
    pub const ALL: [Self; 11] = [
        Self::Samples(Tier::TenSeconds),
        Self::Samples(Tier::Minute),
        Self::Samples(Tier::FiveMinutes),
        Self::Samples(Tier::Hour),
        Self::Packed(PackedTier::TenSeconds),
        Self::Packed(PackedTier::Minute),
        Self::Histograms(Tier::TenSeconds),
        Self::Histograms(Tier::Minute),
        Self::Histograms(Tier::FiveMinutes),
        Self::Histograms(Tier::Hour),
        Self::Expectations,
    ];

    pub fn table(self) -> &'static str {
        match self {
            Self::Samples(tier) => tier.table(),
            Self::Packed(packed) => packed.table(),
            Self::Histograms(tier) => tier.histograms(),
            Self::Expectations => "expectations",
        }
    }

    /// Whether its partitions are made ahead of their time.
    pub fn is_made_ahead(self) -> bool {
        !matches!(self, Self::Packed(_))
    }

    fn length(self) -> Length {
        match self {
            Self::Packed(packed) => Self::Samples(packed.tier()).length(),
            Self::Histograms(tier) => Self::Samples(tier).length(),
            Self::Samples(Tier::TenSeconds) | Self::Expectations => Length::Day,
            Self::Samples(Tier::Minute) => Length::Week,
            Self::Samples(Tier::FiveMinutes | Tier::Hour) => Length::Month,
        }
    }

    /// The partition that holds a time.
    pub fn of(self, ms: i64) -> Partition {
        let day = at(ms).date_naive();
        let first = match self.length() {
            Length::Day => day,
            Length::Week => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
            Length::Month => day - Days::new(u64::from(day.day0())),
        };
        Partition { table: self, first }
    }
}

/// A stretch of days of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    table: Partitioned,
    first: NaiveDate,
}

impl Partition {
    pub(super) fn first_ms(self) -> i64 {
        self.first.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
    }

    /// The day behind its last one.
    fn behind(self) -> NaiveDate {
        match self.table.length() {
            Length::Day => self.first + Days::new(1),
            Length::Week => self.first + Days::new(7),
            Length::Month => self.first + Months::new(1),
        }
    }

    /// Its table in PostgreSQL.
    pub fn name(self) -> String {
        format!("{}_{}", self.table.table(), self.first.format("%Y%m%d"))
    }

    /// Where its windows are when they are packed; `None` for those that never are.
    #[must_use]
    pub fn packed(self) -> Option<Self> {
        let Partitioned::Samples(tier) = self.table else { return None };
        PackedTier::of(tier).map(|packed| Self { table: Partitioned::Packed(packed), ..self })
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self { first: self.behind(), ..self }
    }
}

/// Makes a partition unless it is there; `true` when it did. A transaction of its own, so that no lock outlives it.
pub async fn ensure(conn: &mut PgConnection, partition: Partition) -> Result<bool, Error> {
    let mut transaction = conn.begin().await?;
    let made = sqlx::query_scalar("SELECT tidewatch_ensure_partition($1, $2, $3)")
        .bind(partition.table.table())
        .bind(partition.first)
        .bind(partition.behind())
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(made)
}

/// Detaches and drops the partitions that hold nothing younger than `kept`; says how many. Whatever an earlier call left
/// half done is finished. One caller at a time: for another one there is nothing to do.
pub async fn drop_older(
    conn: &mut PgConnection,
    table: Partitioned,
    kept: Duration,
    now_ms: i64,
) -> Result<u32, Error> {
    // of the session, for a partition can't be detached beside its users inside a transaction
    let key = "hashtext('tidewatch retention')";
    let ours: bool = sqlx::query_scalar(AssertSqlSafe(format!("SELECT pg_try_advisory_lock({key})")))
        .fetch_one(&mut *conn)
        .await?;
    if !ours {
        return Ok(0);
    }
    let dropped = drop_behind(conn, table.table(), at(now_ms.saturating_sub(kept.as_millis() as i64))).await;
    sqlx::query(AssertSqlSafe(format!("SELECT pg_advisory_unlock({key})"))).execute(conn).await?;
    dropped
}

async fn drop_behind(conn: &mut PgConnection, table: &str, oldest: DateTime<Utc>) -> Result<u32, Error> {
    let over: Vec<(String, bool)> = sqlx::query_as(
        "SELECT child, leaving FROM tidewatch_partitions WHERE parent = $1 AND (behind <= $2 OR leaving) ORDER BY first",
    )
    .bind(table)
    .bind(oldest)
    .fetch_all(&mut *conn)
    .await?;
    for (child, leaving) in &over {
        let how = if *leaving { "FINALIZE" } else { "CONCURRENTLY" };
        run(conn, format!("ALTER TABLE {table} DETACH PARTITION {child} {how}")).await?;
    }
    // those that were just detached, and any that a broken call left
    let detached: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname ~ ('^' || $1 || '_[0-9]{8}$')
             AND NOT c.relispartition",
    )
    .bind(table)
    .fetch_all(&mut *conn)
    .await?;
    for child in &detached {
        run(conn, format!("DROP TABLE {child}")).await?;
    }
    Ok(detached.len() as u32)
}

/// Names in it are ours: they hold no quote.
pub(super) async fn run(conn: &mut PgConnection, statement: String) -> Result<(), Error> {
    sqlx::query(AssertSqlSafe(statement)).execute(conn).await?;
    Ok(())
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

    fn days(tier: Tier, ms: i64) -> (String, String) {
        let partition = Partitioned::Samples(tier).of(ms);
        (partition.first.to_string(), partition.behind().to_string())
    }

    #[test]
    fn a_partition_is_as_long_as_its_tier_asks_for_in_utc() {
        // Monday, 23 November 2026, 00:00
        let monday = 1_795_392_000_000;
        let expect = |first: &str, behind: &str| (first.to_owned(), behind.to_owned());
        assert_eq!(days(Tier::TenSeconds, monday), expect("2026-11-23", "2026-11-24"));
        assert_eq!(days(Tier::TenSeconds, monday - 1), expect("2026-11-22", "2026-11-23"));
        assert_eq!(days(Tier::Minute, monday), expect("2026-11-23", "2026-11-30"));
        assert_eq!(days(Tier::Minute, monday - 1), expect("2026-11-16", "2026-11-23"));
        assert_eq!(days(Tier::Hour, monday), expect("2026-11-01", "2026-12-01"));
        assert_eq!(days(Tier::FiveMinutes, -1), expect("1969-12-01", "1970-01-01"));
    }

    #[test]
    fn partitions_follow_each_other_without_a_gap() {
        for table in Partitioned::ALL {
            let partition = table.of(1_795_392_000_000);
            assert_eq!(partition.next().first, partition.behind());
        }
    }
}
