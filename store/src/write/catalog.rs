//! Servers and series: from names to the short ids of the rows. Ids are made once and never change.

use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row, types::Json};
use tidewatch_schemas::{Labels, Series};

use crate::{
    Error, People, SeriesMeta, Server,
    history::{at, servers},
};

/// The kind of a histogram; values have one of [`tidewatch_schemas::SeriesKind`].
const HISTOGRAM: &str = "histogram";

/// What identifies a label set in an index: 16 bytes of SHA-256, every part preceded by its length.
pub fn labels_hash(labels: &Labels) -> [u8; 16] {
    hash_of(labels, b"")
}

/// The same of a histogram: it may have the name and the labels of a series of values.
pub fn histogram_hash(labels: &Labels) -> [u8; 16] {
    hash_of(labels, b"histogram")
}

fn hash_of(labels: &Labels, before: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(before);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// The servers of these names, made if need be; `first_seen` and `last_seen` of a new one are the time given with it.
pub async fn servers(conn: &mut PgConnection, named: &[(&str, i64)]) -> Result<Vec<Server>, Error> {
    let mut named = named.to_vec();
    named.sort_unstable();
    named.dedup_by_key(|(name, _)| *name);
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    let query =
        "SELECT id, name, ip_address, labels, first_seen, last_seen, display_name, user_labels FROM servers
                 WHERE name = ANY($1)";
    let mut found = sqlx::query(query).bind(&names).fetch_all(&mut *conn).await?;
    if found.len() < names.len() {
        sqlx::query(
            "INSERT INTO servers (name, first_seen, last_seen)
             SELECT name, seen, seen FROM UNNEST($1::text[], $2::timestamptz[]) AS n(name, seen)
             WHERE NOT EXISTS (SELECT 1 FROM servers s WHERE s.name = n.name) ORDER BY name COLLATE \"C\"
             ON CONFLICT DO NOTHING",
        )
        .bind(&names)
        .bind(named.iter().map(|(_, seen)| at(*seen)).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
        found = sqlx::query(query).bind(&names).fetch_all(conn).await?;
    }
    found.iter().map(servers::server).collect()
}

/// All series of these servers: those of values, and histograms.
pub async fn series_of(
    conn: &mut PgConnection,
    server_ids: &[i32],
) -> Result<(Vec<SeriesMeta>, Vec<SeriesMeta>), Error> {
    let rows = sqlx::query(
        "SELECT id, server_id, metric_name, labels, kind, unit FROM series WHERE server_id = ANY($1) ORDER BY id",
    )
    .bind(server_ids)
    .fetch_all(conn)
    .await?;
    let (mut series, mut histograms) = (Vec::new(), Vec::new());
    for row in &rows {
        let is_histogram = row.try_get::<&str, _>("kind")? == HISTOGRAM;
        let those = if is_histogram { &mut histograms } else { &mut series };
        those.push(servers::series_meta(row)?);
    }
    Ok((series, histograms))
}

/// These series of these servers, made if need be; one that is there with another kind takes the kind and unit given.
pub async fn insert_series(
    conn: &mut PgConnection,
    new: &[(i32, &Series)],
) -> Result<Vec<SeriesMeta>, Error> {
    insert(conn, new, labels_hash, |series| series.kind.as_str()).await
}

/// These histograms of these servers, made if need be.
pub async fn insert_histograms(
    conn: &mut PgConnection,
    new: &[(i32, &Series)],
) -> Result<Vec<SeriesMeta>, Error> {
    insert(conn, new, histogram_hash, |_| HISTOGRAM).await
}

async fn insert(
    conn: &mut PgConnection,
    new: &[(i32, &Series)],
    hash: fn(&Labels) -> [u8; 16],
    kind: fn(&Series) -> &'static str,
) -> Result<Vec<SeriesMeta>, Error> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut keyed: Vec<_> = new
        .iter()
        .map(|(server, series)| (*server, series.metric.as_str(), hash(&series.labels), *series))
        .collect();
    keyed.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    keyed.dedup_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2));
    let servers: Vec<i32> = keyed.iter().map(|k| k.0).collect();
    let metrics: Vec<&str> = keyed.iter().map(|k| k.1).collect();
    let hashes: Vec<&[u8]> = keyed.iter().map(|k| k.2.as_slice()).collect();
    sqlx::query(
        "INSERT INTO series (server_id, metric_name, labels_hash, labels, kind, unit)
         SELECT * FROM UNNEST($1::integer[], $2::text[], $3::bytea[], $4::jsonb[], $5::text[], $6::text[])
         ON CONFLICT (server_id, metric_name, labels_hash) DO UPDATE SET kind = EXCLUDED.kind, unit = EXCLUDED.unit
             WHERE series.kind <> EXCLUDED.kind",
    )
    .bind(&servers)
    .bind(&metrics)
    .bind(&hashes)
    .bind(keyed.iter().map(|k| Json(&k.3.labels)).collect::<Vec<_>>())
    .bind(keyed.iter().map(|k| kind(k.3)).collect::<Vec<_>>())
    .bind(keyed.iter().map(|k| k.3.unit.as_str()).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query(
        "SELECT e.id, e.server_id, e.metric_name, e.labels, e.kind, e.unit
         FROM UNNEST($1::integer[], $2::text[], $3::bytea[]) AS k(server_id, metric_name, labels_hash)
         JOIN series e USING (server_id, metric_name, labels_hash) ORDER BY e.id",
    )
    .bind(&servers)
    .bind(&metrics)
    .bind(&hashes)
    .fetch_all(conn)
    .await?;
    rows.iter().map(servers::series_meta).collect()
}

/// Moves `last_seen` of servers (id, time) forward, never back. Returns what people say of those that moved: they may have
/// said something new at any time.
pub async fn touch(conn: &mut PgConnection, seen: &[(i32, i64)]) -> Result<Vec<(i32, People)>, Error> {
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    let moved = sqlx::query(
        "UPDATE servers s SET last_seen = n.seen FROM (
             SELECT s.id, k.seen FROM UNNEST($1::integer[], $2::timestamptz[]) AS k(id, seen)
             JOIN servers s ON s.id = k.id WHERE s.last_seen < k.seen ORDER BY s.id FOR UPDATE OF s) n
         WHERE s.id = n.id AND s.last_seen < n.seen RETURNING s.id, s.display_name, s.user_labels",
    )
    .bind(seen.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(seen.iter().map(|(_, ms)| at(*ms)).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    moved.iter().map(|row| Ok((row.try_get("id")?, servers::people(row)?))).collect()
}

/// What a server's collector says about it; what people say stands apart.
pub async fn describe(
    conn: &mut PgConnection,
    server_id: i32,
    ip_address: Option<&str>,
    labels: &Labels,
) -> Result<(), Error> {
    sqlx::query("UPDATE servers SET ip_address = $2, labels = $3 WHERE id = $1")
        .bind(server_id)
        .bind(ip_address)
        .bind(Json(labels))
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_name_ends_is_part_of_the_hash() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let hashes = [
            labels_hash(&labels(&[("a", "bc")])),
            labels_hash(&labels(&[("ab", "c")])),
            labels_hash(&labels(&[("a", "b"), ("c", "")])),
            labels_hash(&labels(&[])),
            histogram_hash(&labels(&[])),
            histogram_hash(&labels(&[("a", "bc")])),
        ];
        for (i, hash) in hashes.iter().enumerate() {
            assert!(!hashes[i + 1..].contains(hash));
        }
    }
}
