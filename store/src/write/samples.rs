//! Windows into their tier's table: by binary COPY when no row can be there yet, else read, merged and
//! written back. Rows are always in order of their key, so that two writers never wait for each other in a circle.

use hashbrown::HashMap;
use sqlx::{AssertSqlSafe, PgConnection};

use super::bulk::{self, column, micros, overwrite, put};
use crate::{
    Error, Tier, WindowRow,
    history::{
        at,
        windows::{COLUMNS, window},
    },
};

/// Adds rows that are not there yet; [`Error::Conflict`] when one is, and the transaction is lost. `rows` are in order of
/// (series, time).
pub async fn copy_in(conn: &mut PgConnection, tier: Tier, rows: &[WindowRow]) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    bulk::copy(conn, &format!("{} ({COLUMNS})", tier.table()), rows.iter(), put_row).await
}

/// The rows that are there for these keys (series, time).
pub async fn existing(
    conn: &mut PgConnection,
    tier: Tier,
    keys: &[(i32, i64)],
) -> Result<HashMap<(i32, i64), WindowRow>, Error> {
    bulk::by_key(conn, tier.table(), COLUMNS, keys, window).await
}

/// Writes rows, in place of what is there. `rows` are in order of (series, time), each key once.
pub async fn replace(conn: &mut PgConnection, tier: Tier, rows: &[WindowRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let query = format!(
        "INSERT INTO {} ({COLUMNS})
         SELECT * FROM UNNEST($1::integer[], $2::timestamptz[], $3::bigint[], $4::float8[], $5::float8[], $6::float8[],
             $7::float8[], $8::float8[], $9::integer[], $10::integer[], $11::float8[], $12::float8[], $13::integer[],
             $14::integer[], $15::bigint[])
         {}",
        tier.table(),
        overwrite(COLUMNS)
    );
    sqlx::query(AssertSqlSafe(query))
        .bind(column(rows, |r| r.series_id))
        .bind(column(rows, |r| at(r.ts_ms)))
        .bind(column(rows, |r| r.count))
        .bind(column(rows, |r| r.sum))
        .bind(column(rows, |r| r.min))
        .bind(column(rows, |r| r.max))
        .bind(column(rows, |r| r.first))
        .bind(column(rows, |r| r.last))
        .bind(column(rows, |r| r.first_at))
        .bind(column(rows, |r| r.last_at))
        .bind(column(rows, |r| r.m2))
        .bind(column(rows, |r| r.increase))
        .bind(column(rows, |r| r.resets))
        .bind(column(rows, |r| r.origin.partition))
        .bind(column(rows, |r| r.origin.offset))
        .execute(conn)
        .await?;
    Ok(())
}

const COLUMN_COUNT: i16 = 15;

fn put_row(out: &mut Vec<u8>, row: &WindowRow) {
    out.extend_from_slice(&COLUMN_COUNT.to_be_bytes());
    put(out, row.series_id.to_be_bytes());
    put(out, micros(row.ts_ms).to_be_bytes());
    put(out, row.count.to_be_bytes());
    for value in [row.sum, row.min, row.max, row.first, row.last] {
        put(out, value.to_bits().to_be_bytes());
    }
    put(out, row.first_at.to_be_bytes());
    put(out, row.last_at.to_be_bytes());
    put(out, row.m2.to_bits().to_be_bytes());
    put(out, row.increase.to_bits().to_be_bytes());
    put(out, row.resets.to_be_bytes());
    put(out, row.origin.partition.to_be_bytes());
    put(out, row.origin.offset.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::Origin;

    use super::{
        super::bulk::{POSTGRES_EPOCH_MS, begin, end},
        *,
    };

    /// A row of the binary format: its number of columns, then five columns of 4 bytes and ten of 8, each after its length.
    const ROW_BYTES: usize = 2 + 15 * 4 + 5 * 4 + 10 * 8;

    #[test]
    fn a_row_is_written_as_postgresql_documents_it() {
        let row = WindowRow {
            series_id: 1,
            ts_ms: POSTGRES_EPOCH_MS + 10_000,
            count: 2,
            sum: 1.0,
            min: 0.0,
            max: 1.0,
            first: 0.0,
            last: 1.0,
            first_at: 3,
            last_at: 4,
            m2: 0.5,
            increase: 0.0,
            resets: 0,
            origin: Origin { partition: 5, offset: -1 },
        };
        let mut bytes = Vec::new();
        begin(&mut bytes);
        put_row(&mut bytes, &row);
        put_row(&mut bytes, &row);
        end(&mut bytes);
        assert_eq!(&bytes[..11], b"PGCOPY\n\xFF\r\n\0");
        assert_eq!(&bytes[11..19], &[0; 8]);
        let tuple = &bytes[19..];
        assert_eq!(&tuple[..10], &[0, 15, 0, 0, 0, 4, 0, 0, 0, 1]);
        assert_eq!(&tuple[10..22], &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0x98, 0x96, 0x80]);
        assert_eq!(bytes.len(), 19 + 2 * ROW_BYTES + 2);
        assert_eq!(&tuple[ROW_BYTES - 8..ROW_BYTES], &[0xFF; 8]);
        assert_eq!(&bytes[bytes.len() - 2..], &[0xFF, 0xFF]);
    }
}
