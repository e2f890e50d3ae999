//! Packed partitions: the same windows bit for bit, found by index, on a real PostgreSQL.

use std::time::Duration;

use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{PgConnection, Row, pool::PoolConnection};
use tidewatch_schemas::{Origin, Series};
use tidewatch_store::{
    History, MetricsQuery, PackedTier, Tier, WindowRow,
    testing::{Database, Stack},
    write::{
        catalog, pack, packed,
        partitions::{self, Partitioned},
        samples,
    },
};

const T0: i64 = 1_795_392_000_000;
const HOUR: i64 = 3_600_000;

async fn database() -> (Database, PoolConnection<sqlx::Postgres>) {
    let db = Stack::shared().expect("stack").database().await.expect("database");
    let conn = db.store.history.pool().acquire().await.expect("connection");
    (db, conn)
}

async fn write(conn: &mut PgConnection, tier: Tier, rows: &[WindowRow]) {
    for row in rows {
        partitions::ensure(conn, Partitioned::Samples(tier).of(row.ts_ms)).await.expect("partition");
    }
    samples::copy_in(conn, tier, rows).await.expect("copy");
}

/// Packs everything; says how many windows.
async fn pack_all(conn: &mut PgConnection, tier: PackedTier, windows: usize) -> usize {
    let mut packed = 0;
    for mut pass in pack::due(conn, tier, Duration::ZERO, T0 + 400 * 86_400_000).await.expect("due") {
        pass.prepare(conn).await.expect("prepare");
        while let Some(chunk) = pass.chunk(conn, windows).await.expect("chunk") {
            packed += chunk.windows;
        }
        pass.finish(conn).await.expect("finish");
    }
    packed
}

/// Every bit of a row.
fn bits(row: &WindowRow) -> [i64; 15] {
    let float = |value: f64| value.to_bits() as i64;
    [
        i64::from(row.series_id),
        row.ts_ms,
        row.count,
        float(row.sum),
        float(row.min),
        float(row.max),
        float(row.first),
        float(row.last),
        i64::from(row.first_at),
        i64::from(row.last_at),
        float(row.m2),
        float(row.increase),
        i64::from(row.resets),
        i64::from(row.origin.partition),
        row.origin.offset,
    ]
}

fn odd() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(-0.0),
        Just(0.0),
        Just(f64::NAN),
        Just(f64::from_bits(0xfff8_0000_0000_0001)),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(5e-324),
        Just(4_294_967_296.5),
        any::<i32>().prop_map(|n| f64::from(n) / 100.0),
        any::<f64>(),
    ]
}

/// The values of a column: one for all, decimals near each other or far apart, a line, a copy of another, or anything.
fn column() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        odd().prop_map(|value| vec![value]),
        (prop::collection::vec(-30_000_i32..30_000, 40), 1..4_u32, any::<i32>()).prop_map(
            |(values, digits, base)| {
                values
                    .iter()
                    .map(|v| f64::from(*v) / 10_f64.powi(digits as i32) + f64::from(base % 3))
                    .collect()
            }
        ),
        prop::collection::vec(any::<i32>().prop_map(|n| f64::from(n) * 4_096.0), 40),
        (1..1_000_i64, prop::collection::vec(0..900_i64, 40)).prop_map(|(step, noise)| {
            noise
                .iter()
                .zip(0..)
                .map(|(noise, n)| (1_000_000_000_000 + step * n * 1_000 + noise) as f64)
                .collect()
        }),
        prop::collection::vec(odd(), 40),
    ]
}

type Columns = (Vec<Vec<f64>>, [u8; 7], Vec<i64>, Vec<i32>, Vec<i64>);

/// Seven columns and which of them are copies of `last`; counts; times; offsets.
fn columns() -> impl Strategy<Value = Columns> {
    let counts = prop_oneof![
        Just(vec![1]),
        Just(vec![10]),
        prop::collection::vec(1..12_i64, 40),
        Just(vec![i64::MAX])
    ];
    let times = prop_oneof![
        Just(vec![4_000]),
        prop::collection::vec(0..60_000, 40),
        prop::collection::vec(any::<i32>(), 40)
    ];
    let offsets = prop_oneof![
        prop::collection::vec(0..500_i64, 40).prop_map(|noise| noise
            .iter()
            .zip(0..)
            .map(|(noise, n)| n * 10_000 + noise)
            .collect()),
        prop::collection::vec(any::<i64>(), 40),
        Just(vec![-1]),
    ];
    (prop::collection::vec(column(), 7), any::<[u8; 7]>(), counts, times, offsets)
}

fn rows(series_id: i32, tier: Tier, places: &[usize], columns: &Columns) -> Vec<WindowRow> {
    let (values, copies, counts, times, offsets) = columns;
    let at = |column: usize, n: usize| {
        let column = if copies[column] % 3 == 0 { &values[4] } else { &values[column] };
        column[n % column.len()]
    };
    let row = |(n, place): (usize, &usize)| {
        let count = counts[n % counts.len()];
        WindowRow {
            series_id,
            ts_ms: T0 + *place as i64 * tier.window_ms(),
            count,
            sum: if copies[0] % 2 == 0 { at(4, n) * count as f64 } else { at(0, n) },
            min: at(1, n),
            max: at(2, n),
            first: at(3, n),
            last: at(4, n),
            first_at: times[n % times.len()],
            last_at: times[(n + usize::from(copies[5] % 2)) % times.len()],
            m2: at(5, n),
            increase: if copies[6] % 2 == 0 { at(4, n) - at(3, n) } else { at(6, n) },
            resets: i32::from(copies[1]) * (n as i32 % 2),
            origin: Origin {
                partition: i32::from(copies[2] % 2) * n as i32,
                offset: offsets[n % offsets.len()],
            },
        }
    };
    places.iter().enumerate().map(row).collect()
}

#[test]
fn whatever_is_packed_comes_back_bit_for_bit_and_so_do_rows_made_of_it_again() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    // connections are given back inside it
    let _inside = runtime.enter();
    let (db, _) = runtime.block_on(database());
    let mut runner = TestRunner::new(ProptestConfig { cases: 150, ..ProptestConfig::default() });
    let next = std::cell::Cell::new(0);
    let places = prop_oneof![
        (0..300_usize, 1..40_usize).prop_map(|(from, n)| (from..from + n).collect::<Vec<_>>()),
        prop::collection::btree_set(0..1_000_usize, 1..40).prop_map(|set| set.into_iter().collect()),
    ];
    let result = runner.run(
        &(prop::collection::vec(columns(), 1..4), places, any::<bool>()),
        |(all, places, minute)| {
            let tier = if minute { PackedTier::Minute } else { PackedTier::TenSeconds };
            let first = next.get() + 1;
            next.set(next.get() + all.len() as i32);
            let rows: Vec<WindowRow> = all
                .iter()
                .zip(first..)
                .flat_map(|(columns, id)| rows(id, tier.tier(), &places, columns))
                .collect();
            let ids: Vec<i32> = (first..=next.get()).collect();
            let wanted: Vec<_> = rows.iter().map(bits).collect();
            runtime.block_on(async {
                let mut conn = db.store.history.pool().acquire().await.expect("connection");
                let read = async || {
                    let read = db.store.history.windows(&ids, tier.tier(), 0, i64::MAX).await.expect("read");
                    read.iter().map(bits).collect::<Vec<_>>()
                };
                write(&mut conn, tier.tier(), &rows).await;
                assert_eq!(pack_all(&mut conn, tier, 25).await, rows.len());
                assert_eq!(read().await, wanted);
                // the hour of one window becomes rows, the others stay
                let key = &rows[rows.len() / 2];
                let touched = [Partitioned::Samples(tier.tier()).of(key.ts_ms)];
                let mut transaction = sqlx::Acquire::begin(&mut *conn).await.expect("begin");
                let held = packed::hold(&mut transaction, &touched).await.expect("hold");
                assert!(held.is_packed(tier.tier(), key.ts_ms));
                let keys = [(key.series_id, key.ts_ms), (key.series_id, key.ts_ms), (i32::MAX, key.ts_ms)];
                let unpacked =
                    held.unpack(&mut transaction, tier.tier(), keys.into_iter()).await.expect("unpack");
                transaction.commit().await.expect("commit");
                let hour = |row: &WindowRow| (row.series_id, row.ts_ms / HOUR);
                assert_eq!(unpacked as usize, rows.iter().filter(|row| hour(row) == hour(key)).count());
                assert_eq!(read().await, wanted);
                assert_eq!(pack_all(&mut conn, tier, 1_000).await, unpacked as usize);
                assert_eq!(read().await, wanted);
            });
            Ok(())
        },
    );
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// A gauge, or the last series, a counter.
fn values(series: &[i32], from: i64, windows: i64) -> Vec<WindowRow> {
    let row = |series_id: i32, n: i64| {
        let value = ((n * 7_919 + i64::from(series_id)) % 1_000) as f64 / 10.0;
        WindowRow {
            series_id,
            ts_ms: from + n * 10_000,
            count: 2,
            sum: value * 2.0 + 1.0,
            min: value,
            max: value + 1.0,
            first: value,
            last: value + 1.0,
            first_at: 5,
            last_at: 9_000,
            m2: 0.5,
            increase: 1.0,
            resets: 0,
            origin: Origin { partition: 1, offset: n },
        }
    };
    series.iter().flat_map(|id| (0..windows).map(move |n| row(*id, n))).collect()
}

async fn server(conn: &mut PgConnection, name: &str) -> (i32, Vec<i32>) {
    let id = catalog::servers(conn, &[(name, T0)]).await.expect("server")[0].id;
    let mut series: Vec<Series> =
        (0..20).map(|i| Series::gauge(format!("g{}", i % 5), "").with("i", i.to_string())).collect();
    series.push(Series::counter("c", "bytes"));
    let wanted: Vec<_> = series.iter().map(|series| (id, series)).collect();
    let made = catalog::insert_series(conn, &wanted).await.expect("series");
    (id, made.iter().map(|meta| meta.id).collect())
}

async fn metrics(history: &History, server: i32) -> Vec<(i64, i64, f64)> {
    let rows = sqlx::query("SELECT id, extract(epoch FROM timestamp)::bigint, value FROM metrics WHERE server_id = $1 ORDER BY id")
        .bind(server)
        .fetch_all(history.pool())
        .await
        .expect("metrics");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn packed_windows_are_found_by_index_and_say_the_same_everywhere() {
    let (db, mut conn) = database().await;
    let history = &db.store.history;
    let (id, series) = server(&mut conn, "web").await;
    let (_, others) = server(&mut conn, "db").await;
    // two days, the first of them packed, and gaps in one hour
    let mut rows = values(&series, T0 - 7 * HOUR, 3_600);
    rows.extend(values(&others, T0 - 7 * HOUR, 3_600));
    rows.retain(|row| !(5..9).contains(&(row.ts_ms / 60_000 % 240)));
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    write(&mut conn, Tier::TenSeconds, &rows).await;
    let query = MetricsQuery {
        server_id: id,
        metrics: Vec::new(),
        from_ms: T0 - 2 * HOUR,
        to_ms: T0 + HOUR,
        step_ms: 60_000,
        after: None,
        limit: 100_000,
    };
    let fine = MetricsQuery { step_ms: 10_000, ..query.clone() };
    let before = (
        metrics(history, id).await,
        history.metrics_page(&query).await.expect("page"),
        history.metrics_page(&fine).await.expect("page"),
    );
    for mut pass in pack::due(&mut conn, PackedTier::TenSeconds, Duration::ZERO, T0).await.expect("due") {
        pass.prepare(&mut conn).await.expect("prepare");
        while pass.chunk(&mut conn, 10_000).await.expect("chunk").is_some() {}
        pass.finish(&mut conn).await.expect("finish");
    }
    sqlx::query("ANALYZE").execute(&mut *conn).await.expect("analyze");
    let after = (
        metrics(history, id).await,
        history.metrics_page(&query).await.expect("page"),
        history.metrics_page(&fine).await.expect("page"),
    );
    assert!(before == after, "the same values");

    let by_time = format!(
        "EXPLAIN SELECT * FROM metrics WHERE server_id = {id} AND metric_name = 'g1'
         AND timestamp BETWEEN '2026-11-22T20:00:00Z' AND '2026-11-22T21:10:00Z' ORDER BY timestamp"
    );
    let windows = format!(
        "EXPLAIN SELECT * FROM windows_10s WHERE series_id = ANY('{{{}, {}}}') AND ts >= '2026-11-22T20:00:00Z'
         AND ts < '2026-11-22T21:10:00Z' AND hour >= '2026-11-22T20:00:00Z' AND hour < '2026-11-22T21:10:00Z'",
        series[0], series[3]
    );
    for (query, index) in [(by_time, "packed_10s_20261122"), (windows, "packed_10s_20261122_pkey")] {
        let plan: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&mut *conn).await.expect("explain");
        let plan = plan.join("\n");
        assert!(plan.contains(index), "{plan}");
        // the rows' partition of that day is empty
        assert!(!plan.contains("Seq Scan on packed") && !plan.contains("Seq Scan on slots"), "{plan}");
        assert!(!plan.contains("20261123"), "a day that nobody asked for:\n{plan}");
    }
}

#[tokio::test]
async fn a_partition_keeps_its_space_as_long_as_somebody_looks_at_an_older_state() {
    let (db, mut conn) = database().await;
    let (_, series) = server(&mut conn, "web").await;
    write(&mut conn, Tier::TenSeconds, &values(&series, T0, 400)).await;
    let count = "SELECT count(*) FROM windows_10s";
    let mut reader = db.store.history.pool().begin().await.expect("begin");
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .execute(&mut *reader)
        .await
        .expect("level");
    // its state is from here on; the tables are not looked at yet
    sqlx::query("SELECT count(*) FROM servers").execute(&mut *reader).await.expect("look");
    let due = async |conn: &mut PgConnection| {
        pack::due(conn, PackedTier::TenSeconds, Duration::ZERO, T0 + 48 * HOUR).await.expect("due")
    };
    let mut pass = due(&mut conn).await.remove(0);
    pass.prepare(&mut conn).await.expect("prepare");
    while pass.chunk(&mut conn, 1_000).await.expect("chunk").is_some() {
        let now: i64 = sqlx::query_scalar(count).fetch_one(&mut *conn).await.expect("count");
        assert_eq!(now, 8_400);
    }
    assert!(!pass.finish(&mut conn).await.expect("finish"));
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *reader).await.expect("count");
    assert_eq!(seen, 8_400);
    reader.commit().await.expect("commit");
    assert!(pass.finish(&mut conn).await.expect("finish"));
    assert!(due(&mut conn).await.is_empty());
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *conn).await.expect("count");
    assert_eq!(seen, 8_400);
}

#[tokio::test]
async fn packed_partitions_go_with_their_time() {
    let (db, mut conn) = database().await;
    let (_, series) = server(&mut conn, "web").await;
    write(&mut conn, Tier::TenSeconds, &values(&series, T0, 10)).await;
    pack_all(&mut conn, PackedTier::TenSeconds, 1_000).await;
    let table = Partitioned::Packed(PackedTier::TenSeconds);
    let (kept, end) = (Duration::from_hours(24), T0 + 24 * HOUR);
    assert_eq!(partitions::drop_older(&mut conn, table, kept, end + 24 * HOUR - 1).await.expect("drop"), 0);
    assert_eq!(partitions::drop_older(&mut conn, table, kept, end + 24 * HOUR).await.expect("drop"), 1);
    pack::forget_slots(&mut conn, kept, end + 96 * HOUR).await.expect("forget");
    let left: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM windows_10s), (SELECT count(*) FROM slots_10s)")
            .fetch_one(db.store.history.pool())
            .await
            .expect("left");
    assert_eq!(left, (0, 0));
}

#[tokio::test]
async fn the_oldest_window_is_found_packed_or_not() {
    let (db, mut conn) = database().await;
    let (_, series) = server(&mut conn, "web").await;
    let begin = T0 + 600_000;
    let oldest = async |from: i64, to: i64| {
        let found = db.store.history.oldest_window(&series, PackedTier::TenSeconds, from, to).await;
        found.expect("oldest")
    };
    assert_eq!(oldest(0, begin + HOUR).await, None);
    write(&mut conn, Tier::TenSeconds, &values(&series, begin, 400)).await;
    assert_eq!(oldest(0, begin + HOUR).await, Some(begin));
    assert_eq!(oldest(begin + 5_000, begin + HOUR).await, Some(begin + 10_000));
    assert_eq!(oldest(0, begin).await, None);
    pack_all(&mut conn, PackedTier::TenSeconds, 1_000).await;
    assert_eq!(oldest(0, begin + HOUR).await, Some(T0), "its hour");
    assert_eq!(
        oldest(begin + HOUR, begin + 2 * HOUR).await,
        Some(begin + HOUR),
        "not before it was asked for"
    );
    assert_eq!(oldest(T0 + 2 * HOUR, T0 + 9 * HOUR).await, None);
}
