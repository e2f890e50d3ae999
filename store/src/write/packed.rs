//! What a writer does about hours that are packed: it keeps the packer away, and unpacks what it is going to change.
//!
//! Keeps: within the writer's transaction the windows that it touches are rows. Partitions that nobody packed cost one look
//! at their names.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use sqlx::{AssertSqlSafe, PgConnection};

use super::partitions::{Partition, Partitioned};
use crate::{
    Error, Tier,
    history::{at, hour_of, windows::COLUMNS},
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
    let siblings: Vec<String> = named.values().filter_map(|p| p.packed()).map(Partition::name).collect();
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
    Ok(Held { packed: named.into_values().filter(is_packed).collect() })
}

impl Held {
    /// Whether a window's time is in a partition that is packed.
    pub fn is_packed(&self, tier: Tier, ts_ms: i64) -> bool {
        !self.packed.is_empty() && self.packed.contains(&Partitioned::Samples(tier).of(ts_ms))
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
    // all parts of the statement see the same state: the rows that go are still there for those that come
    let statement = format!(
        "WITH held AS MATERIALIZED (
             SELECT r.* FROM UNNEST($1::integer[], $2::timestamptz[]) AS k(id, at) CROSS JOIN LATERAL (
                 SELECT series_id, hour FROM {sibling} WHERE series_id = k.id AND hour = k.at OFFSET 0 FOR UPDATE) r),
         gone AS (DELETE FROM {sibling} p USING held WHERE p.series_id = held.series_id AND p.hour = held.hour)
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
