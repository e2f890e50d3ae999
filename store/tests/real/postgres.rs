//! The tables, what is written to them and what is read of them: on a real PostgreSQL.

use std::time::Duration;

use proptest::prelude::*;
use sqlx::{Acquire, PgConnection, Row, pool::PoolConnection};
use tidewatch_schemas::{Origin, Series, SeriesKind};
use tidewatch_service_kit::{Metrics, breaker, config};
use tidewatch_store::{
    Error, History, MetricsQuery, Store, StoreConfig, Tier, WindowRow, migrate,
    rows::metric_id,
    testing::{Database, Stack},
    write::{
        catalog,
        offsets::{self, Move},
        partitions::{self, Partitioned},
        samples,
    },
};

const T0: i64 = 1_795_392_000_000;
const DAY: i64 = 86_400_000;

async fn database() -> (Database, PoolConnection<sqlx::Postgres>) {
    let db = Stack::shared().expect("stack").database().await.expect("database");
    let conn = db.store.history.pool().acquire().await.expect("connection");
    (db, conn)
}

fn row(series_id: i32, ts_ms: i64, value: f64) -> WindowRow {
    WindowRow {
        series_id,
        ts_ms,
        count: 2,
        sum: value * 2.0,
        min: value,
        max: value,
        first: value,
        last: value + 1.0,
        first_at: 5,
        last_at: 9_000,
        m2: 0.25,
        increase: 1.0,
        resets: 0,
        origin: Origin { partition: 1, offset: ts_ms / 10 },
    }
}

async fn make_partitions(conn: &mut PgConnection, ms: i64) {
    for table in Partitioned::ALL.into_iter().filter(|table| table.is_made_ahead()) {
        partitions::ensure(conn, table.of(ms)).await.expect("partition");
    }
}

/// A server with so many gauges `g<i>` and one counter `c`; returns its id and its series', the counter's last.
async fn server(conn: &mut PgConnection, name: &str, gauges: usize) -> (i32, Vec<i32>) {
    let servers = catalog::servers(conn, &[(name, T0)]).await.expect("servers");
    let mut series: Vec<Series> =
        (0..gauges).map(|i| Series::gauge(format!("g{}", i % 3), "").with("i", i.to_string())).collect();
    series.push(Series::counter("c", "bytes"));
    let wanted: Vec<_> = series.iter().map(|series| (servers[0].id, series)).collect();
    let made = catalog::insert_series(conn, &wanted).await.expect("series");
    let again = catalog::insert_series(conn, &wanted).await.expect("series");
    assert_eq!(made, again, "ids are made once");
    let counter = made.iter().find(|meta| meta.kind == SeriesKind::Counter).expect("counter").id;
    let mut ids: Vec<i32> = made.iter().map(|meta| meta.id).filter(|id| *id != counter).collect();
    ids.push(counter);
    (servers[0].id, ids)
}

#[tokio::test]
async fn programs_that_start_at_once_migrate_once_and_everything_is_explained() {
    let (db, mut conn) = database().await;
    let pool = db.store.history.pool();
    let (a, b) = tokio::join!(migrate(pool), migrate(pool));
    a.and(b).expect("migrate");
    let silent: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname <> '_sqlx_migrations'
           AND (obj_description(c.oid) IS NULL OR col_description(c.oid, a.attnum) IS NULL)",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("query");
    assert!(silent.is_empty(), "no comment on {silent:?}");
}

#[tokio::test]
async fn copied_rows_come_back_bit_for_bit() {
    let (db, mut conn) = database().await;
    make_partitions(&mut conn, T0).await;
    let values = [0.1, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, 5e-324];
    let rows: Vec<_> = values.iter().zip(1..).map(|(v, id)| row(id, T0, *v)).collect();
    samples::copy_in(&mut conn, Tier::TenSeconds, &rows).await.expect("copy");
    let ids: Vec<i32> = rows.iter().map(|row| row.series_id).collect();
    let read = db.store.history.windows(&ids, Tier::TenSeconds, T0, T0 + 1).await.expect("read");
    assert_eq!(format!("{read:?}"), format!("{rows:?}"));
    let again = samples::copy_in(&mut conn, Tier::TenSeconds, &rows[..1]).await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    let changed = [WindowRow { count: 9, sum: 0.3, resets: 4, ..rows[0] }, row(90, T0, 1.0)];
    samples::replace(&mut conn, Tier::TenSeconds, &changed).await.expect("replace");
    let keys = [(1, T0), (90, T0), (91, T0)];
    let there = samples::existing(&mut conn, Tier::TenSeconds, &keys).await.expect("existing");
    assert_eq!((there.len(), there[&(1, T0)], there[&(90, T0)]), (2, changed[0], changed[1]));
}

#[tokio::test]
async fn of_two_writers_only_the_one_that_saw_the_last_move_makes_the_next() {
    let (db, mut conn) = database().await;
    let step = |from, to| [Move { topic: "t".to_owned(), partition: 0, from, to }];
    let mut first = conn.begin().await.expect("begin");
    assert!(offsets::advance(&mut first, "g", &step(None, 10)).await.expect("advance"));
    // the second waits for the first, then finds the place taken
    let pool = db.store.history.pool().clone();
    let second = tokio::spawn(async move {
        let mut conn = pool.acquire().await.expect("connection");
        offsets::advance(&mut conn, "g", &step(None, 20)).await.expect("advance")
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    first.commit().await.expect("commit");
    assert!(!second.await.expect("join"));
    let mut other = db.store.history.pool().acquire().await.expect("connection");
    let mut first = conn.begin().await.expect("begin");
    assert!(offsets::advance(&mut first, "g", &step(Some(10), 30)).await.expect("advance"));
    let late = step(Some(10), 31);
    let (zombie, ()) = tokio::join!(offsets::advance(&mut other, "g", &late), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.commit().await.expect("commit");
    });
    assert!(!zombie.expect("advance"));
    assert!(!offsets::advance(&mut other, "g", &step(None, 5)).await.expect("advance"));
    let stored = offsets::read(&mut conn, "g").await.expect("read");
    assert_eq!(stored.into_iter().collect::<Vec<_>>(), [(("t".to_owned(), 0), 30)]);
}

#[tokio::test]
async fn partitions_are_made_once_and_dropped_whole() {
    let (db, mut conn) = database().await;
    let pool = db.store.history.pool();
    let table = Partitioned::Samples(Tier::TenSeconds);
    let made = futures_util::future::join_all((0..4).map(|_| async {
        let mut conn = pool.acquire().await.expect("connection");
        partitions::ensure(&mut conn, table.of(T0)).await.expect("ensure")
    }))
    .await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    for days in [7, 8] {
        partitions::ensure(&mut conn, table.of(T0 - days * DAY)).await.expect("ensure");
    }
    let kept = Duration::from_hours(7 * 24);
    let dropped = partitions::drop_older(&mut conn, table, kept, T0 + DAY / 2).await.expect("drop");
    assert_eq!(dropped, 1, "the day seven days ago is still partly young enough");
    let without = samples::copy_in(&mut conn, Tier::Minute, &[row(1, T0, 1.0)]).await;
    assert!(matches!(without, Err(Error::Refused(_))), "a time without a partition: {without:?}");
}

#[tokio::test]
async fn retention_does_not_wait_for_readers_of_younger_days_and_ends_what_broke_off() {
    let (db, mut conn) = database().await;
    let pool = db.store.history.pool();
    let table = Partitioned::Samples(Tier::TenSeconds);
    for days in [0, 10, 11] {
        partitions::ensure(&mut conn, table.of(T0 - days * DAY)).await.expect("ensure");
    }
    samples::copy_in(&mut conn, Tier::TenSeconds, &[row(1, T0, 1.0)]).await.expect("copy");
    // broken off between detaching and dropping
    let child: String =
        sqlx::query_scalar("SELECT min(child) FROM tidewatch_partitions WHERE parent = 'samples_10s'")
            .fetch_one(&mut *conn)
            .await
            .expect("child");
    let detach = format!("ALTER TABLE samples_10s DETACH PARTITION {child}");
    sqlx::query(sqlx::AssertSqlSafe(detach)).execute(&mut *conn).await.expect("detach");

    let mut reader = pool.begin().await.expect("begin");
    let newest = "SELECT count(*) FROM samples_10s WHERE ts >= '2026-11-23'";
    let count: i64 = sqlx::query_scalar(newest).fetch_one(&mut *reader).await.expect("read");
    let first = {
        let mut conn = pool.acquire().await.expect("connection");
        let retention = partitions::drop_older(&mut conn, table, Duration::from_hours(7 * 24), T0);
        let other = async {
            // while the first waits for the reader's transaction, a second one has nothing to do
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut conn = pool.acquire().await.expect("connection");
            let second = partitions::drop_older(&mut conn, table, Duration::from_hours(7 * 24), T0).await;
            assert_eq!(second.expect("second"), 0);
            // and others read and write beside it
            let again: i64 = sqlx::query_scalar(newest).fetch_one(&mut *conn).await.expect("read");
            samples::copy_in(&mut conn, Tier::TenSeconds, &[row(2, T0, 1.0)]).await.expect("write");
            reader.commit().await.expect("commit");
            again
        };
        let (first, again) = tokio::join!(retention, other);
        assert_eq!(again, count);
        first
    };
    assert_eq!(first.expect("retention"), 2);
    let left: Vec<String> =
        sqlx::query_scalar("SELECT relname::text FROM pg_class WHERE relname ~ '^samples_10s_[0-9]+$'")
            .fetch_all(&mut *conn)
            .await
            .expect("tables");
    assert_eq!(left, ["samples_10s_20261123"]);
}

#[tokio::test]
async fn minutes_kept_by_day_are_moved_into_weeks() {
    let db = Stack::shared().expect("stack").database_at(1).await.expect("database");
    let pool = db.store.history.pool();
    let mut conn = pool.acquire().await.expect("connection");
    // a Sunday, a Monday, and a Wednesday of the week after
    let times = [T0 - DAY, T0, T0 + 9 * DAY];
    let mut rows = Vec::new();
    for ts in times {
        sqlx::query("SELECT tidewatch_ensure_day('samples_1m', to_timestamp($1::float8 / 1000)::date)")
            .bind(ts as f64)
            .execute(&mut *conn)
            .await
            .expect("day");
        rows.push(row(1, ts, 1.0));
    }
    samples::copy_in(&mut conn, Tier::Minute, &rows).await.expect("copy");
    migrate(pool).await.expect("migrate");
    let found = db.store.history.windows(&[1], Tier::Minute, 0, i64::MAX).await.expect("windows");
    assert_eq!(found, rows);
    let weeks: Vec<String> = sqlx::query_scalar(
        "SELECT child FROM tidewatch_partitions WHERE parent = 'samples_1m' ORDER BY first",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("weeks");
    assert_eq!(weeks, ["samples_1m_20261116", "samples_1m_20261123", "samples_1m_20261130"]);
}

#[tokio::test]
async fn long_steps_come_from_long_windows_as_far_as_these_are_closed() {
    let (db, mut conn) = database().await;
    make_partitions(&mut conn, T0).await;
    let (id, series) = server(&mut conn, "web", 3).await;
    let minutes: Vec<WindowRow> =
        series.iter().flat_map(|s| (0..120).map(move |n| row(*s, T0 + n * 60_000, n as f64))).collect();
    samples::copy_in(&mut conn, Tier::Minute, &minutes).await.expect("minutes");
    let history = &db.store.history;
    let query = MetricsQuery {
        server_id: id,
        metrics: Vec::new(),
        from_ms: T0,
        to_ms: T0 + 7_200_000,
        step_ms: 600_000,
        after: None,
        limit: 10_000,
    };
    let of_minutes = page(history, &query).await;
    assert_eq!(of_minutes.len(), 12 * series.len());
    // the first 85 minutes are closed; what they say differs from the minutes' sums by their own count
    let long: Vec<WindowRow> = minutes
        .chunk_by(|a, b| (a.series_id, a.ts_ms / 300_000) == (b.series_id, b.ts_ms / 300_000))
        .filter(|five| five[0].ts_ms < T0 + 85 * 60_000)
        .map(|five| {
            five.iter().skip(1).fold(five[0], |sum, part| {
                let part =
                    WindowRow { origin: Origin { offset: sum.origin.offset + 1, ..part.origin }, ..*part };
                tidewatch_store::merge::merge(&sum, &part, SeriesKind::Gauge)
            })
        })
        .map(|five| WindowRow { sum: five.sum + 1_000.0, last: -1.0, ..five })
        .collect();
    samples::copy_in(&mut conn, Tier::FiveMinutes, &long).await.expect("five minutes");
    let mixed = page(history, &query).await;
    assert_eq!(mixed.len(), of_minutes.len());
    for (with, without) in mixed.iter().zip(&of_minutes) {
        assert_eq!((with.0, with.1), (without.0, without.1));
        // steps of ten minutes: eight are whole in the long windows
        let is_long = with.0 < T0 + 80 * 60_000;
        assert_eq!((with.2 - without.2).abs() > 1e-9, is_long, "{with:?} {without:?}");
    }
    let rows = history.windows_for(&series, 600_000, T0, T0 + 7_200_000).await.expect("windows");
    assert!(rows.is_sorted_by_key(|row| (row.series_id, row.ts_ms)));
    assert_eq!(rows.len(), (16 + 40) * series.len());
    // without any long window the minutes serve
    let old = history.windows_for(&series, 3_600_000, T0, T0 + 7_200_000).await.expect("windows");
    assert_eq!(old.len(), minutes.len());
}

#[tokio::test]
async fn the_metrics_view_is_read_by_index() {
    let (_db, mut conn) = database().await;
    make_partitions(&mut conn, T0).await;
    make_partitions(&mut conn, T0 - 86_400_000).await;
    let (id, series) = server(&mut conn, "web", 30).await;
    let (_, others) = server(&mut conn, "db", 30).await;
    let mut rows: Vec<_> = series
        .iter()
        .chain(&others)
        .flat_map(|s| (0..1_500).map(move |n| row(*s, T0 - 1_500_000 + n * 10_000, n as f64)))
        .collect();
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    for rows in rows.chunks(10_000) {
        samples::copy_in(&mut conn, Tier::TenSeconds, rows).await.expect("copy");
    }
    sqlx::query("ANALYZE").execute(&mut *conn).await.expect("analyze");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT * FROM metrics WHERE server_id = $1 AND metric_name = 'g1'
         AND timestamp BETWEEN '2026-11-23T00:00:00Z' AND '2026-11-23T00:10:00Z' ORDER BY timestamp",
    )
    .bind(id)
    .fetch_all(&mut *conn)
    .await
    .expect("explain");
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan using samples_10s_20261123_pkey"), "{plan}");
    assert!(!plan.contains("Seq Scan on samples") && !plan.contains("20261122"), "{plan}");
    let row = sqlx::query("SELECT id, value, time FROM metrics WHERE metric_name = 'c' AND server_id = $1 AND timestamp = '2026-11-23T00:00:00Z'")
        .bind(id)
        .fetch_one(&mut *conn)
        .await
        .expect("row");
    let counter = series[series.len() - 1];
    assert_eq!(
        (row.get::<i64, _>(0), row.get::<f64, _>(1)),
        (metric_id(counter, T0), 151.0),
        "a counter's last value"
    );
}

async fn page(history: &History, query: &MetricsQuery) -> Vec<(i64, i64, f64)> {
    let rows = history.metrics_page(query).await.expect("page");
    rows.into_iter().map(|row| (row.ts_ms, row.id, row.value)).collect()
}

#[tokio::test]
async fn pages_put_together_are_the_whole_in_order() {
    let (db, mut conn) = database().await;
    make_partitions(&mut conn, T0).await;
    let (id, series) = server(&mut conn, "web", 5).await;
    // series come and go, and there is an hour without any
    let mut rows = Vec::new();
    for (i, s) in series.iter().enumerate() {
        for n in (0..500).filter(|n| (n / 7 + i as i64) % 3 != 0 && !(60..420).contains(n)) {
            rows.push(row(*s, T0 + n * 10_000, n as f64));
        }
    }
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    samples::copy_in(&mut conn, Tier::TenSeconds, &rows).await.expect("copy");
    let mut minutes: Vec<_> =
        series.iter().flat_map(|s| (0..60).map(move |n| row(*s, T0 + n * 60_000, n as f64))).collect();
    minutes.sort_by_key(|row| (row.series_id, row.ts_ms));
    samples::copy_in(&mut conn, Tier::Minute, &minutes).await.expect("copy");
    let history = &db.store.history;
    for (step_ms, expected) in [(10_000, rows.len()), (60_000, 360), (300_000, 72)] {
        let mut query = MetricsQuery {
            server_id: id,
            metrics: Vec::new(),
            from_ms: T0,
            to_ms: T0 + 6_000_000,
            step_ms,
            after: None,
            limit: 10_000,
        };
        let whole = page(history, &query).await;
        assert_eq!(whole.len(), expected);
        assert!(whole.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)), "in order of time, then id");
        query.limit = 17;
        let mut pages = Vec::new();
        loop {
            let page = page(history, &query).await;
            query.after = page.last().map(|last| (last.0, last.1));
            let done = page.len() < query.limit;
            pages.extend(page);
            if done {
                break;
            }
        }
        assert_eq!(pages, whole, "step {step_ms}");
    }
    let query = MetricsQuery {
        server_id: id,
        metrics: vec!["c".to_owned()],
        from_ms: T0 + 1,
        to_ms: T0 + 600_001,
        step_ms: 300_000,
        after: None,
        limit: 10,
    };
    let counter = series[series.len() - 1];
    let expected = [
        (T0 + 300_000, metric_id(counter, T0 + 300_000), 10.0),
        (T0 + 600_000, metric_id(counter, T0 + 600_000), 15.0),
    ];
    assert_eq!(
        page(history, &query).await,
        expected,
        "steps that begin in the range, whole; a counter's last value"
    );
}

#[tokio::test]
async fn the_fleet_is_summed_up_by_step() {
    let (db, mut conn) = database().await;
    make_partitions(&mut conn, T0).await;
    let (id, _) = server(&mut conn, "web", 1).await;
    let cpu = Series::gauge("tidewatch_host_cpu_busy_percent", "percent");
    let info = Series::gauge("tidewatch_host_info", "");
    let made = catalog::insert_series(&mut conn, &[(id, &cpu), (id, &info)]).await.expect("series");
    let mut rows: Vec<_> =
        made.iter().flat_map(|m| (0..20).map(|n| row(m.id, T0 + n * 60_000, n as f64))).collect();
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    samples::copy_in(&mut conn, Tier::Minute, &rows).await.expect("copy");
    catalog::touch(&mut conn, &[(id, T0 + 1_200_000)]).await.expect("touch");
    let points = db
        .store
        .history
        .fleet(&["tidewatch_host_cpu_busy_percent"], T0, T0 + 1_200_000, 600_000)
        .await
        .expect("fleet");
    let found: Vec<_> = points.iter().map(|p| (p.server_id, p.ts_ms, p.count, p.sum, p.last)).collect();
    assert_eq!(found, [(id, T0, 20, 90.0, 10.0), (id, T0 + 600_000, 20, 290.0, 20.0)]);
    let there = db.store.history.presence(T0 - 600_000, T0 + 1_800_000, 600_000).await.expect("presence");
    assert_eq!(there, [(id, T0), (id, T0 + 600_000)]);
}

#[tokio::test]
async fn wrong_credentials_are_told_from_an_outage() {
    let stack = Stack::shared().expect("stack");
    let db = stack.database().await.expect("database");
    let good = db.config.postgres_url.reveal();
    let (before, after) = good.split_once('@').expect("url");
    let user = before.rsplit_once(':').expect("password").0;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address");
    for (url, denied) in [(format!("{user}:wrong@{after}"), true), (format!("{before}@{dead}/x"), false)] {
        let config = config::assemble::<StoreConfig>(
            "store",
            &[("postgres-url", &url), ("postgres-connect-timeout", "5s")],
        )
        .expect("config");
        let metrics = Metrics::default();
        let store = Store::new(&config, "test", &metrics, &breaker::gauges(&metrics)).expect("store");
        let error = store.history.servers().await.expect_err("no answer");
        assert!(error.is_outage() && matches!(error, Error::Denied(_)) == denied, "{error:?}");
    }
}

/// Of all cases of the property below.
static DATABASE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// What is written by name is found by name, whatever the labels hold.
    #[test]
    fn any_labels_are_told_apart(labels in prop::collection::btree_set(
        prop::collection::btree_map("[a-z]{1,2}", "[^\\x00-\\x1f]{0,40}", 0..4), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            if DATABASE.get().is_none() {
                let db = Stack::shared().expect("stack").database().await.expect("database");
                let _ = DATABASE.set(db.config.postgres_url.reveal().to_owned());
            }
            let url = DATABASE.get().expect("url");
            let mut conn = <PgConnection as sqlx::Connection>::connect(url).await.expect("connect");
            let id = catalog::servers(&mut conn, &[("s", T0)]).await.expect("server")[0].id;
            let series: Vec<Series> = labels.into_iter().map(|labels| Series { labels, ..Series::gauge("m", "") }).collect();
            let wanted: Vec<_> = series.iter().map(|series| (id, series)).collect();
            let made = catalog::insert_series(&mut conn, &wanted).await.expect("series");
            assert_eq!(made.len(), series.len());
            let (read, _) = catalog::series_of(&mut conn, &[id]).await.expect("read");
            assert!(made.iter().all(|meta| read.contains(meta)));
            assert!(series.iter().all(|series| made.iter().any(|meta| meta.labels == series.labels)));
        });
    }
}
