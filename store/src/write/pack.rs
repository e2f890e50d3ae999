//! Packs closed partitions: windows become rows of `packed_10s` and `packed_1m`, an hour of a series each.
//!
//! In: a partition that is over. Out: the same windows in its packed sibling, and an empty partition. Keeps: the windows of
//! a series and hour are in one of the two and never in both, wherever a pass breaks off; readers see each once; writers
//! of that partition wait for one chunk at most, and writers of others for nothing.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    bulk,
    packed::LOCKS,
    partitions::{self, Partition, Partitioned, run},
};
use crate::{
    Error, PackedTier, WindowRow,
    history::{
        at,
        windows::{COLUMNS, window},
    },
};

mod hour;

const HOUR_MS: i64 = 3_600_000;

/// A partition with windows to pack, and how far it is.
#[derive(Debug, Clone)]
pub struct Pass {
    partition: Partition,
    packed: PackedTier,
    /// Series up to this one are done.
    upto: Option<i32>,
}

/// What one transaction packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Windows that were rows.
    pub windows: usize,
    /// Rows they are now.
    pub hours: usize,
}

/// Takes the packer's place; `false` when another has it. The session keeps it until it ends.
pub async fn begin(conn: &mut PgConnection) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('tidewatch packer'))")
        .fetch_one(conn)
        .await?)
}

/// The partitions that ended `after` or more before `now_ms` and hold anything, oldest first.
pub async fn due(
    conn: &mut PgConnection,
    packed: PackedTier,
    after: Duration,
    now_ms: i64,
) -> Result<Vec<Pass>, Error> {
    let table = Partitioned::Samples(packed.tier());
    let firsts: Vec<chrono::DateTime<chrono::Utc>> = sqlx::query_scalar(
        "SELECT first FROM tidewatch_partitions
         WHERE parent = $1 AND behind <= $2 AND NOT leaving AND pg_relation_size(to_regclass(child)) > 0 ORDER BY first",
    )
    .bind(table.table())
    .bind(at(now_ms.saturating_sub(after.as_millis() as i64)))
    .fetch_all(conn)
    .await?;
    let pass = |first: chrono::DateTime<chrono::Utc>| Pass {
        partition: table.of(first.timestamp_millis()),
        packed,
        upto: None,
    };
    Ok(firsts.into_iter().map(pass).collect())
}

impl Pass {
    /// What is packed, for logs and metrics.
    pub fn table(&self) -> &'static str {
        self.packed.tier().table()
    }

    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// Makes the place for what is packed.
    pub async fn prepare(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let Some(sibling) = self.partition.packed() else { return Ok(()) };
        partitions::ensure(conn, sibling).await?;
        if self.packed == PackedTier::TenSeconds {
            // the hours of the view `metrics`
            sqlx::query(
                "INSERT INTO slots_10s (ts, hour, slot)
                 SELECT ts, date_bin('1 hour', ts, 'epoch'), row_number() OVER (PARTITION BY date_bin('1 hour', ts, 'epoch') ORDER BY ts) - 1
                 FROM generate_series($1::timestamptz, $1 + '1 day'::interval - '10 s'::interval, '10 s') AS g(ts)
                 ON CONFLICT DO NOTHING",
            )
            .bind(at(self.partition.first_ms()))
            .execute(conn)
            .await?;
        }
        Ok(())
    }

    /// Packs the next whole series, about so many windows in one transaction; `None` when there are no more.
    pub async fn chunk(&mut self, conn: &mut PgConnection, windows: usize) -> Result<Option<Chunk>, Error> {
        let child = self.partition.name();
        let Some(sibling) = self.partition.packed() else { return Ok(None) };
        // what is off the grid, by whoever wrote it, has no place in an hour and stays a row
        let on_grid = format!("ts = date_bin('{} ms', ts, 'epoch')", self.packed.tier().window_ms());
        let mut transaction = conn.begin().await?;
        lock(&mut transaction, &child).await?;
        let upto = self.upto.map_or(i64::from(i32::MIN) - 1, i64::from);
        let query = format!(
            "SELECT {COLUMNS} FROM {child} WHERE series_id > $1 AND {on_grid} ORDER BY series_id, ts LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(upto)
            .bind(windows as i64)
            .fetch_all(&mut *transaction)
            .await?;
        let mut rows: Vec<WindowRow> = rows.iter().map(window).collect::<Result<_, _>>()?;
        let Some(last) = rows.last().map(|row| row.series_id) else { return Ok(None) };
        if rows.len() == windows {
            if rows[0].series_id == last {
                // one series alone is more than a chunk
                let query =
                    format!("SELECT {COLUMNS} FROM {child} WHERE series_id = $1 AND {on_grid} ORDER BY ts");
                let whole = sqlx::query(AssertSqlSafe(query)).bind(last).fetch_all(&mut *transaction).await?;
                rows = whole.iter().map(window).collect::<Result<_, _>>()?;
            } else {
                rows.retain(|row| row.series_id != last);
            }
        }
        let (Some(from), Some(to)) = (rows.first(), rows.last()) else { return Ok(None) };
        let (from, to) = (from.series_id, to.series_id);
        let hours = copy(&mut transaction, &sibling.name(), self.packed, &rows).await?;
        let delete = format!("DELETE FROM {child} WHERE series_id BETWEEN $1 AND $2 AND {on_grid}");
        let gone = sqlx::query(AssertSqlSafe(delete)).bind(from).bind(to).execute(&mut *transaction).await?;
        if gone.rows_affected() != rows.len() as u64 {
            // somebody who does not know our locks wrote here: nothing is changed, the next look sees it
            return Err(sqlx::Error::WorkerCrashed.into());
        }
        transaction.commit().await?;
        self.upto = Some(to);
        Ok(Some(Chunk { windows: rows.len(), hours }))
    }

    /// Gives the space of a partition back that has nothing left; `false` when it has, or when somebody may still look at
    /// what was there.
    pub async fn finish(&self, conn: &mut PgConnection) -> Result<bool, Error> {
        let child = self.partition.name();
        // whoever looks at an older state than this one's would find the partition empty and the packed rows not yet there
        let now: String =
            sqlx::query_scalar("SELECT pg_current_xact_id()::xid::text").fetch_one(&mut *conn).await?;
        let mut transaction = conn.begin().await?;
        run(&mut transaction, "SET LOCAL lock_timeout = '300ms'".to_owned()).await?;
        lock(&mut transaction, &child).await?;
        let query = format!(
            "SELECT NOT EXISTS (SELECT 1 FROM {child}) AND NOT EXISTS (
                 SELECT 1 FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND age(backend_xmin) > age($1::xid))"
        );
        let is_over: bool =
            sqlx::query_scalar(AssertSqlSafe(query)).bind(&now).fetch_one(&mut *transaction).await?;
        if is_over {
            run(&mut transaction, format!("TRUNCATE {child}")).await?;
            transaction.commit().await?;
            if let Some(sibling) = self.partition.packed() {
                run(conn, format!("ANALYZE {}", sibling.name())).await?;
            }
        }
        Ok(is_over)
    }
}

/// Keeps writers of the partition away until the transaction ends.
async fn lock(conn: &mut PgConnection, child: &str) -> Result<(), Error> {
    sqlx::query(AssertSqlSafe(format!("SELECT pg_advisory_xact_lock({LOCKS}, hashtext($1))")))
        .bind(child)
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds the hours of rows that are in order of series and time; says how many.
async fn copy(
    conn: &mut PgConnection,
    sibling: &str,
    packed: PackedTier,
    rows: &[WindowRow],
) -> Result<usize, Error> {
    let hour_of = |row: &WindowRow| row.ts_ms.div_euclid(HOUR_MS) * HOUR_MS;
    let hours = rows.chunk_by(|a, b| (a.series_id, hour_of(a)) == (b.series_id, hour_of(b)));
    let window_ms = packed.tier().window_ms();
    let put = |out: &mut Vec<u8>, windows: &[WindowRow]| {
        hour::put_hour(out, windows, hour_of(&windows[0]), window_ms);
    };
    Ok(bulk::copy(conn, sibling, hours, put).await? as usize)
}

/// Deletes the windows of hours that no packed partition holds any more, a day later to be sure.
pub async fn forget_slots(conn: &mut PgConnection, kept: Duration, now_ms: i64) -> Result<(), Error> {
    let kept = kept.saturating_add(Duration::from_hours(48));
    sqlx::query("DELETE FROM slots_10s WHERE ts < $1")
        .bind(at(now_ms.saturating_sub(kept.as_millis() as i64)))
        .execute(conn)
        .await?;
    Ok(())
}
