//! What a writer does about hours that are packed: it keeps the packer away, and unpacks what it is going to change.
//!
//! Keeps: within the writer's transaction the windows that it touches are rows. Partitions that nobody packed cost one look
//! at their names.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hashbrown::{HashMap, HashSet};
use sqlx::{AssertSqlSafe, PgConnection};

use super::partitions::{Partition, Partitioned};
use crate::{
    Error, Tier, WindowRow,
    history::{
        at, hour_of,
        windows::{COLUMNS, window},
    },
};

/// The first key of the advisory locks between packer (alone) and writers (together); the second is the partition's.
pub(super) const LOCKS: &str = "hashtext('tidewatch packing')";

/// Partitions that the transaction may write; those of them that are packed.
#[derive(Debug, Default)]
pub struct Held {
    packed: HashSet<Partition>,
}

/// Keeps the packer away from partitions until the transaction ends. To be called before any table of windows is touched:
/// who waits here holds nothing that the packer may wait for.
pub async fn hold(conn: &mut PgConnection, partitions: &[Partition]) -> Result<Held, Error> {
    // in order, as all do
    let named: BTreeMap<String, Partition> =
        partitions.iter().filter(|p| p.packed().is_some()).map(|p| (p.name(), *p)).collect();
    if named.is_empty() {
        return Ok(Held::default());
    }
    let names: Vec<&str> = named.keys().map(String::as_str).collect();
    let lock =
        format!("SELECT pg_advisory_xact_lock_shared({LOCKS}, hashtext(n)) FROM UNNEST($1::text[]) AS k(n)");
    sqlx::query(AssertSqlSafe(lock)).bind(&names).execute(&mut *conn).await?;
    // only now: the packer makes the sibling before it takes the lock
    look(conn, partitions).await
}

/// Which partitions are packed at the moment; without [`hold`] the packer may be at work on them.
pub async fn look(conn: &mut PgConnection, partitions: &[Partition]) -> Result<Held, Error> {
    let siblings: Vec<String> = partitions.iter().filter_map(|p| p.packed()).map(Partition::name).collect();
    if siblings.is_empty() {
        return Ok(Held::default());
    }
    let there: HashSet<String> = sqlx::query_scalar::<_, String>(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY($1::text[])
             AND relispartition",
    )
    .bind(&siblings)
    .fetch_all(conn)
    .await?
    .into_iter()
    .collect();
    let is_packed = |p: &Partition| p.packed().is_some_and(|sibling| there.contains(&sibling.name()));
    Ok(Held { packed: partitions.iter().copied().filter(is_packed).collect() })
}

impl Held {
    /// Whether a window's time is in a partition that is packed.
    pub fn is_packed(&self, tier: Tier, ts_ms: i64) -> bool {
        !self.packed.is_empty() && self.packed.contains(&Partitioned::Samples(tier).of(ts_ms))
    }

    /// The windows of these keys (series, time) that are packed.
    pub async fn existing(
        &self,
        conn: &mut PgConnection,
        tier: Tier,
        keys: impl Iterator<Item = (i32, i64)>,
    ) -> Result<HashMap<(i32, i64), WindowRow>, Error> {
        // an hour is read as a whole, so once for all of its windows
        let mut hours: BTreeMap<(i32, DateTime<Utc>), (i64, i64)> = BTreeMap::new();
        for (series, ts) in keys.filter(|(_, ts)| self.is_packed(tier, *ts)) {
            let span = hours.entry((series, hour_of(ts))).or_insert((ts, ts));
            *span = (span.0.min(ts), span.1.max(ts));
        }
        if hours.is_empty() {
            return Ok(HashMap::new());
        }
        let query = format!(
            "SELECT r.* FROM UNNEST($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[]) AS k(id, hour, first, last)
             CROSS JOIN LATERAL (
                 SELECT {COLUMNS} FROM unpacked_{} WHERE series_id = k.id AND hour = k.hour AND ts BETWEEN k.first AND k.last OFFSET 0) r",
            tier.as_str()
        );
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(hours.keys().map(|(series, _)| *series).collect::<Vec<_>>())
            .bind(hours.keys().map(|(_, hour)| *hour).collect::<Vec<_>>())
            .bind(hours.values().map(|(first, _)| at(*first)).collect::<Vec<_>>())
            .bind(hours.values().map(|(_, last)| at(*last)).collect::<Vec<_>>())
            .fetch_all(conn)
            .await?;
        rows.iter().map(|row| window(row).map(|row| ((row.series_id, row.ts_ms), row))).collect()
    }

    /// Makes rows of the packed hours of these windows (series, time); says how many windows these hours had.
    pub async fn unpack(
        &self,
        conn: &mut PgConnection,
        tier: Tier,
        keys: impl Iterator<Item = (i32, i64)>,
    ) -> Result<u64, Error> {
        let mut hours: BTreeMap<Partition, Vec<(i32, i64)>> = BTreeMap::new();
        for (series, ts) in keys.filter(|(_, ts)| self.is_packed(tier, *ts)) {
            let Some(sibling) = Partitioned::Samples(tier).of(ts).packed() else { continue };
            hours.entry(sibling).or_default().push((series, hour_of(ts).timestamp_millis()));
        }
        let mut windows = 0;
        for (sibling, mut keys) in hours {
            keys.sort_unstable();
            keys.dedup();
            windows += unpack(conn, tier, &sibling.name(), &keys).await?;
        }
        Ok(windows)
    }
}

async fn unpack(
    conn: &mut PgConnection,
    tier: Tier,
    sibling: &str,
    keys: &[(i32, i64)],
) -> Result<u64, Error> {
    // all parts of the statement see the same state: the rows that go are still there for those that come. By their places,
    // which are locked: by their keys, or in a join, the planner would look for them in the whole partition
    let statement = format!(
        "WITH held AS MATERIALIZED (
             SELECT r.* FROM UNNEST($1::integer[], $2::timestamptz[]) AS k(id, at) CROSS JOIN LATERAL (
                 SELECT ctid AS row, series_id, hour FROM {sibling} WHERE series_id = k.id AND hour = k.at OFFSET 0 FOR UPDATE) r),
         gone AS (DELETE FROM {sibling} WHERE ctid = ANY(ARRAY(SELECT row FROM held)))
         INSERT INTO {} ({COLUMNS})
         SELECT r.* FROM held CROSS JOIN LATERAL (
             SELECT {COLUMNS} FROM unpacked_{} WHERE series_id = held.series_id AND hour = held.hour OFFSET 0) r",
        tier.table(),
        tier.as_str(),
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(keys.iter().map(|(series, _)| *series).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, hour)| at(*hour)).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
