//! Windows of histograms into their tier's table: by binary COPY when no row can be there yet, else read, merged and written
//! back, as those of values are ([`samples`]).

use hashbrown::HashMap;
use sqlx::{AssertSqlSafe, PgConnection};
use tidewatch_schemas::Buckets;

use super::samples::{self, begin, end, micros, put};
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
    let statement = format!("COPY {} ({COLUMNS}) FROM STDIN (FORMAT binary)", tier.histograms());
    let mut copy = conn.copy_in_raw(&statement).await?;
    let mut piece = Vec::with_capacity(2 * samples::PIECE);
    begin(&mut piece);
    for row in rows {
        put_row(&mut piece, row);
        if piece.len() >= samples::PIECE {
            copy.send(piece.as_slice()).await?;
            piece.clear();
        }
    }
    end(&mut piece);
    copy.send(piece).await?;
    Ok(copy.finish().await?)
}

/// The rows that are there for these keys (series, time).
pub async fn existing(
    conn: &mut PgConnection,
    tier: Tier,
    keys: &[(i32, i64)],
) -> Result<HashMap<(i32, i64), HistogramRow>, Error> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let query = format!(
        "SELECT r.* FROM UNNEST($1::integer[], $2::timestamptz[]) AS k(id, at)
         CROSS JOIN LATERAL (SELECT {COLUMNS} FROM {} WHERE series_id = k.id AND ts = k.at OFFSET 0) r",
        tier.histograms()
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(keys.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(keys.iter().map(|(_, ts)| at(*ts)).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| histogram(row).map(|row| ((row.series_id, row.ts_ms), row))).collect()
}

/// Writes rows, in place of what is there. `rows` are in order of (series, time), each key once.
pub async fn replace(conn: &mut PgConnection, tier: Tier, rows: &[HistogramRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let set = COLUMNS.split(',').map(str::trim).skip(2).map(|column| format!("{column} = EXCLUDED.{column}"));
    // arrays of different lengths have no array of arrays: they go as text
    let query = format!(
        "INSERT INTO {} ({COLUMNS})
         SELECT series_id, ts, count, sum, min, max, scale, zero_threshold, zero_count, positive_offset, positive::bigint[],
             negative_offset, negative::bigint[], origin_partition, origin_offset
         FROM UNNEST($1::integer[], $2::timestamptz[], $3::bigint[], $4::float8[], $5::float8[], $6::float8[], $7::integer[],
             $8::float8[], $9::bigint[], $10::integer[], $11::text[], $12::integer[], $13::text[], $14::integer[],
             $15::bigint[]) AS n({COLUMNS})
         ON CONFLICT (series_id, ts) DO UPDATE SET {}",
        tier.histograms(),
        set.collect::<Vec<_>>().join(", ")
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

fn column<T>(rows: &[HistogramRow], value: impl Fn(&HistogramRow) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
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
