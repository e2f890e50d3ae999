//! What the tables of rows by (series, time) have in common: binary COPY in, rows read by their keys, rows put in place of
//! others.

use chrono::{DateTime, Utc};
use hashbrown::HashMap;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use crate::{Error, history::at};

/// 2000-01-01, from which PostgreSQL counts microseconds.
pub(super) const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

/// Bytes sent at once.
const PIECE: usize = 128 << 10;

/// Copies rows into a table and says how many; `put` writes one as PostgreSQL's binary COPY format has it (documentation of
/// COPY, "Binary Format"): its number of columns, then each field as its length and its bytes, big end first.
pub(super) async fn copy<T>(
    conn: &mut PgConnection,
    into: &str,
    rows: impl Iterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) -> Result<u64, Error> {
    let mut copy = conn.copy_in_raw(&format!("COPY {into} FROM STDIN (FORMAT binary)")).await?;
    // piece by piece: PostgreSQL works on one while the next is written
    let mut piece = Vec::with_capacity(2 * PIECE);
    begin(&mut piece);
    for row in rows {
        put(&mut piece, row);
        if piece.len() >= PIECE {
            copy.send(piece.as_slice()).await?;
            piece.clear();
        }
    }
    end(&mut piece);
    copy.send(piece).await?;
    Ok(copy.finish().await?)
}

pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PGCOPY\n\xFF\r\n\0");
    // no flags, no extension of the header
    out.extend_from_slice(&[0; 8]);
}

pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i16).to_be_bytes());
}

pub(super) fn put<const N: usize>(out: &mut Vec<u8>, field: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&field);
}

/// A time as PostgreSQL's binary formats have it.
pub(super) fn micros(ms: i64) -> i64 {
    ms.saturating_sub(POSTGRES_EPOCH_MS).saturating_mul(1_000)
}

/// The rows that are there for these keys (series, time); the first two columns are the key.
pub(super) async fn by_key<T>(
    conn: &mut PgConnection,
    table: &str,
    columns: &str,
    keys: &[(i32, i64)],
    read: impl Fn(&PgRow) -> Result<T, Error>,
) -> Result<HashMap<(i32, i64), T>, Error> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    // LATERAL with OFFSET 0: one look into the primary key for each, whatever the planner thinks of the table
    let query = format!(
        "SELECT r.* FROM UNNEST($1::integer[], $2::timestamptz[]) AS k(id, at)
         CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE series_id = k.id AND ts = k.at OFFSET 0) r"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(column(keys, |(id, _)| *id))
        .bind(column(keys, |(_, ts)| at(*ts)))
        .fetch_all(conn)
        .await?;
    let keyed = |row: &PgRow| {
        let ts: DateTime<Utc> = row.try_get(1)?;
        Ok(((row.try_get(0)?, ts.timestamp_millis()), read(row)?))
    };
    rows.iter().map(keyed).collect()
}

/// `ON CONFLICT` for rows that take the place of those that are there.
pub(super) fn overwrite(columns: &str) -> String {
    let set = columns.split(',').map(str::trim).skip(2).map(|column| format!("{column} = EXCLUDED.{column}"));
    format!("ON CONFLICT (series_id, ts) DO UPDATE SET {}", set.collect::<Vec<_>>().join(", "))
}

pub(super) fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
