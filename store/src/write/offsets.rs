//! Up to where each Kafka partition is written: moved in the transaction of its rows, by compare-and-set.
//!
//! Invariant: of two writers that both believe they own a partition only the one that saw the other's last move can make
//! the next; the other's transaction must not be committed.

use hashbrown::HashMap;
use sqlx::PgConnection;

use crate::Error;

/// One partition's step. `from` is what the writer believes to stand there; `None`: nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub topic: String,
    pub partition: i32,
    pub from: Option<i64>,
    pub to: i64,
}

/// What stands there for a group.
pub async fn read(conn: &mut PgConnection, group: &str) -> Result<HashMap<(String, i32), i64>, Error> {
    let rows: Vec<(String, i32, i64)> =
        sqlx::query_as("SELECT topic, partition, next_offset FROM ingest_offsets WHERE consumer_group = $1")
            .bind(group)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect())
}

/// Keeps the group's writers away from what these partitions (topic, number) bring until the transaction ends: each of their
/// transactions moves its offsets first. To be called before anything else is locked.
pub async fn hold(conn: &mut PgConnection, group: &str, partitions: &[(&str, i32)]) -> Result<(), Error> {
    // all lock in the same order
    let held: i64 = sqlx::query_scalar(
        "WITH held AS MATERIALIZED (
             SELECT 1 FROM ingest_offsets o
             JOIN UNNEST($2::text[], $3::integer[]) AS k(topic, partition) USING (topic, partition)
             WHERE o.consumer_group = $1 ORDER BY o.topic, o.partition FOR UPDATE OF o)
         SELECT count(*) FROM held",
    )
    .bind(group)
    .bind(partitions.iter().map(|(topic, _)| *topic).collect::<Vec<_>>())
    .bind(partitions.iter().map(|(_, number)| *number).collect::<Vec<_>>())
    .fetch_one(&mut *conn)
    .await?;
    if held < partitions.len() as i64 {
        // nobody wrote some of them yet: whoever does now would make its row
        sqlx::query("LOCK TABLE ingest_offsets IN SHARE ROW EXCLUSIVE MODE").execute(conn).await?;
    }
    Ok(())
}

/// Makes all moves, or says `false`: somebody else moved one of them, so the transaction has to be rolled back. Locks the
/// rows until the transaction ends, which makes a second writer wait for the first.
pub async fn advance(conn: &mut PgConnection, group: &str, moves: &[Move]) -> Result<bool, Error> {
    let mut moves: Vec<&Move> = moves.iter().collect();
    // all writers lock in the same order
    moves.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let (known, new): (Vec<&Move>, Vec<&Move>) = moves.into_iter().partition(|m| m.from.is_some());
    if !known.is_empty() {
        let moved = sqlx::query(
            "WITH moves AS MATERIALIZED (
                 SELECT o.ctid AS row, m.new FROM ingest_offsets o
                 JOIN UNNEST($2::text[], $3::integer[], $4::bigint[], $5::bigint[]) AS m(topic, partition, old, new)
                     ON o.topic = m.topic AND o.partition = m.partition AND o.next_offset = m.old
                 WHERE o.consumer_group = $1 ORDER BY o.topic, o.partition FOR UPDATE OF o)
             UPDATE ingest_offsets o SET next_offset = moves.new FROM moves WHERE o.ctid = moves.row",
        )
        .bind(group)
        .bind(known.iter().map(|m| m.topic.as_str()).collect::<Vec<_>>())
        .bind(known.iter().map(|m| m.partition).collect::<Vec<_>>())
        .bind(known.iter().filter_map(|m| m.from).collect::<Vec<_>>())
        .bind(known.iter().map(|m| m.to).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
        if moved.rows_affected() != known.len() as u64 {
            return Ok(false);
        }
    }
    if !new.is_empty() {
        let made = sqlx::query(
            "INSERT INTO ingest_offsets (consumer_group, topic, partition, next_offset)
             SELECT $1, m.* FROM UNNEST($2::text[], $3::integer[], $4::bigint[]) AS m(topic, partition, next)
             ON CONFLICT DO NOTHING",
        )
        .bind(group)
        .bind(new.iter().map(|m| m.topic.as_str()).collect::<Vec<_>>())
        .bind(new.iter().map(|m| m.partition).collect::<Vec<_>>())
        .bind(new.iter().map(|m| m.to).collect::<Vec<_>>())
        .execute(conn)
        .await?;
        return Ok(made.rows_affected() == new.len() as u64);
    }
    Ok(true)
}
