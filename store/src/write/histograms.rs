//! Windows of histograms into their tier's table: by binary COPY when no row can be there yet, else read, merged and written
//! back, as those of values are ([`super::samples`]).

use hashbrown::HashMap;
use sqlx::{AssertSqlSafe, PgConnection};
use tidewatch_schemas::Buckets;

use super::bulk::{self, column, micros, overwrite, put};
use crate::{
    Error, HistogramRow, Tier,
    history::{
        at,
        histograms::{COLUMNS, histogram},
    },
};

/// Adds rows that are not there yet; [`Error::Conflict`] when one is, and the transaction is lost. `rows` are in order of
/// (series, time).
pub async fn copy_in(conn: &mut PgConnection, tier: Tier, rows: &[HistogramRow]) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    bulk::copy(conn, &format!("{} ({COLUMNS})", tier.histograms()), rows.iter(), put_row).await
}

/// The rows that are there for these keys (series, time).
pub async fn existing(
    conn: &mut PgConnection,
    tier: Tier,
    keys: &[(i32, i64)],
) -> Result<HashMap<(i32, i64), HistogramRow>, Error> {
    bulk::by_key(conn, tier.histograms(), COLUMNS, keys, histogram).await
}

/// Writes rows, in place of what is there. `rows` are in order of (series, time), each key once.
pub async fn replace(conn: &mut PgConnection, tier: Tier, rows: &[HistogramRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    // arrays of different lengths have no array of arrays: they go as text
    let query = format!(
        "INSERT INTO {} ({COLUMNS})
         SELECT series_id, ts, count, sum, min, max, scale, zero_threshold, zero_count, positive_offset, positive::bigint[],
             negative_offset, negative::bigint[], origin_partition, origin_offset
         FROM UNNEST($1::integer[], $2::timestamptz[], $3::bigint[], $4::float8[], $5::float8[], $6::float8[], $7::integer[],
             $8::float8[], $9::bigint[], $10::integer[], $11::text[], $12::integer[], $13::text[], $14::integer[],
             $15::bigint[]) AS n({COLUMNS})
         {}",
        tier.histograms(),
        overwrite(COLUMNS)
    );
    sqlx::query(AssertSqlSafe(query))
        .bind(column(rows, |r| r.series_id))
        .bind(column(rows, |r| at(r.ts_ms)))
        .bind(column(rows, |r| r.observed.count))
        .bind(column(rows, |r| known(r.observed.sum)))
        .bind(column(rows, |r| known(r.observed.min)))
        .bind(column(rows, |r| known(r.observed.max)))
        .bind(column(rows, |r| r.observed.scale))
        .bind(column(rows, |r| r.observed.zero_threshold))
        .bind(column(rows, |r| r.observed.zero_count))
        .bind(column(rows, |r| r.observed.positive.offset))
        .bind(column(rows, |r| literal(&r.observed.positive)))
        .bind(column(rows, |r| r.observed.negative.offset))
        .bind(column(rows, |r| literal(&r.observed.negative)))
        .bind(column(rows, |r| r.origin.partition))
        .bind(column(rows, |r| r.origin.offset))
        .execute(conn)
        .await?;
    Ok(())
}

fn known(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

/// An array as PostgreSQL reads it.
fn literal(buckets: &Buckets) -> String {
    let counts: Vec<String> = buckets.counts.iter().map(i64::to_string).collect();
    format!("{{{}}}", counts.join(","))
}

const COLUMN_COUNT: i16 = 15;

/// The type of an array's elements: bigint's OID.
const BIGINT: i32 = 20;

fn put_row(out: &mut Vec<u8>, row: &HistogramRow) {
    let observed = &row.observed;
    out.extend_from_slice(&COLUMN_COUNT.to_be_bytes());
    put(out, row.series_id.to_be_bytes());
    put(out, micros(row.ts_ms).to_be_bytes());
    put(out, observed.count.to_be_bytes());
    for value in [observed.sum, observed.min, observed.max] {
        match known(value) {
            Some(value) => put(out, value.to_bits().to_be_bytes()),
            // null: a length of -1
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
    put(out, observed.scale.to_be_bytes());
    put(out, observed.zero_threshold.to_bits().to_be_bytes());
    put(out, observed.zero_count.to_be_bytes());
    for buckets in [&observed.positive, &observed.negative] {
        put(out, buckets.offset.to_be_bytes());
        put_array(out, &buckets.counts);
    }
    put(out, row.origin.partition.to_be_bytes());
    put(out, row.origin.offset.to_be_bytes());
}

/// As `array_recv` reads it: dimensions, whether there are nulls, type; of each dimension length and lowest index; elements.
fn put_array(out: &mut Vec<u8>, counts: &[i64]) {
    let (dimensions, rest) = if counts.is_empty() { (0, 0) } else { (1, 8 + 12 * counts.len() as i32) };
    for field in [12 + rest, dimensions, 0, BIGINT] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    if dimensions > 0 {
        for field in [counts.len() as i32, 1] {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }
    for count in counts {
        put(out, count.to_be_bytes());
    }
}
