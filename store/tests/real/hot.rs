//! Redis answers what PostgreSQL would, or nothing: on a real Redis.

use std::time::Duration;

use tidewatch_schemas::{Origin, SeriesKind};
use tidewatch_store::{
    Freshness, People, SeriesMeta, Server, WindowRow,
    hot::writer::{HotWriter, Refresh, ServerWindow},
    testing::{Database, Stack},
};

const T0: i64 = 1_795_392_000_000;

async fn database() -> Database {
    Stack::shared().expect("stack").database().await.expect("database")
}

fn row(series_id: i32, window: i64, value: f64) -> WindowRow {
    WindowRow {
        series_id,
        ts_ms: T0 + window * 10_000,
        count: 2,
        sum: value * 2.0,
        min: value - 0.1,
        max: value + 0.1,
        first: value - 0.1,
        last: value + 0.1,
        first_at: 1,
        last_at: 9_999,
        m2: 0.02,
        increase: 0.0,
        resets: 0,
        origin: Origin { partition: 0, offset: window },
    }
}

fn window(server_id: i32, window: i64, is_newest: bool) -> Refresh {
    let rows = vec![row(1, window, 0.5), row(7, window, -3.25)];
    let window = ServerWindow { server_id, ts_ms: T0 + window * 10_000, is_newest, rows };
    Refresh { windows: vec![window], ..Refresh::default() }
}

async fn exact(db: &Database, from: i64, to: i64) -> Option<Vec<WindowRow>> {
    let recent = db.store.hot.recent(5, T0 + from * 10_000, T0 + to * 10_000, Freshness::Exact).await;
    recent.map(|recent| recent.rows)
}

#[tokio::test]
async fn what_was_written_is_read_and_what_was_before_is_not_known() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    assert_eq!(exact(&db, 0, 1).await, None, "an empty Redis knows nothing");
    for n in [3, 4, 6] {
        writer.refresh(&window(5, n, true)).await.expect("refresh");
    }
    let rows = vec![row(1, 3, 0.5), row(1, 4, 0.5), row(1, 6, 0.5)];
    let mut rows: Vec<_> = rows.into_iter().chain([3, 4, 6].map(|n| row(7, n, -3.25))).collect();
    rows.sort_by_key(|row| (row.ts_ms, row.series_id));
    assert_eq!(exact(&db, 3, 7).await, Some(rows), "in order of time and series, the gap a gap");
    assert_eq!(exact(&db, 3, 100).await.map(|rows| rows.len()), Some(6));
    assert_eq!(exact(&db, 5, 6).await, Some(vec![]));
    assert_eq!(exact(&db, 2, 7).await, None, "the writer does not know what was before its first window");
    let recent = db.store.hot.recent(5, T0 + 60_000, T0 + 90_000, Freshness::Exact).await.expect("recent");
    assert_eq!((recent.newest_ms, recent.rows.len(), recent.series), (T0 + 60_000, 2, None));
    assert_eq!(exact(&db, 3, 7).await.map(|rows| rows.len()), Some(6), "reading changes nothing");
}

#[tokio::test]
async fn a_late_window_ends_what_is_known() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    for n in 0..5 {
        writer.refresh(&window(5, n, true)).await.expect("refresh");
    }
    writer.refresh(&window(5, 2, false)).await.expect("refresh");
    assert_eq!(exact(&db, 0, 5).await, None);
    writer.refresh(&window(5, 5, true)).await.expect("refresh");
    assert_eq!(exact(&db, 5, 6).await.map(|rows| rows.len()), Some(2), "and it starts again");
    // one before all that is known takes nothing away
    writer.refresh(&window(5, 1, false)).await.expect("refresh");
    assert_eq!(exact(&db, 5, 6).await.map(|rows| rows.len()), Some(2));
}

#[tokio::test]
async fn a_writer_that_missed_something_vouches_for_nothing_before() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    writer.refresh(&window(5, 0, true)).await.expect("refresh");
    writer.restart();
    writer.heartbeat().await.expect("heartbeat");
    assert_eq!(exact(&db, 0, 1).await, None, "the old epoch's lease is gone");
    let known = db.store.hot.recent(5, T0, T0 + 10_000, Freshness::LastKnown).await;
    assert_eq!(known.map(|recent| recent.rows.len()), Some(2), "as last known it is there");
    writer.refresh(&window(5, 2, true)).await.expect("refresh");
    assert_eq!(exact(&db, 0, 3).await, None);
    assert_eq!(exact(&db, 2, 3).await.map(|rows| rows.len()), Some(2));
}

#[tokio::test]
async fn another_writer_takes_over_with_an_epoch_of_its_own() {
    let db = database().await;
    let mut old = HotWriter::new(db.store.hot.clone());
    let mut new = HotWriter::new(db.store.hot.clone());
    old.refresh(&window(5, 0, true)).await.expect("refresh");
    new.refresh(&window(5, 3, true)).await.expect("refresh");
    assert_eq!(exact(&db, 0, 4).await, None);
    assert_eq!(exact(&db, 3, 4).await.map(|rows| rows.len()), Some(2));
}

#[tokio::test]
async fn only_the_last_fifteen_minutes_are_kept() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    for n in 0..100 {
        writer.refresh(&window(5, n, true)).await.expect("refresh");
    }
    assert_eq!(exact(&db, 9, 100).await, None);
    assert_eq!(exact(&db, 10, 100).await.map(|rows| rows.len()), Some(180));
}

#[tokio::test]
async fn wrong_bytes_are_no_answer() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    writer.refresh(&window(5, 0, true)).await.expect("refresh");
    let mut raw = raw(&db).await;
    let field = format!("w{}", T0 / 10_000);
    let key = |name: &str| key(&db, name);
    for wrong in [&b""[..], b"\x02\x7f", b"garbage of somebody else"] {
        let () = redis::cmd("HSET")
            .arg(key("recent:5"))
            .arg(&field)
            .arg(wrong)
            .query_async(&mut raw)
            .await
            .unwrap();
        assert_eq!(exact(&db, 0, 1).await, None);
    }
    let () = redis::cmd("DEL").arg(key("recent:5")).query_async(&mut raw).await.unwrap();
    let () = redis::cmd("SET").arg(key("recent:5")).arg("a string").query_async(&mut raw).await.unwrap();
    assert_eq!(exact(&db, 0, 1).await, None, "a key of another type is an error, not an answer");
    let () = redis::cmd("SET").arg(key("series:5")).arg("{}").query_async(&mut raw).await.unwrap();
    assert_eq!(db.store.hot.series(5, Freshness::LastKnown).await, None);
}

#[tokio::test]
async fn evicted_series_are_asked_for_again() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    let told = writer.refresh(&window(5, 0, true)).await.expect("refresh");
    assert_eq!(told.lacking_series.into_iter().collect::<Vec<_>>(), [5]);
    let series = Refresh { series: vec![(5, Vec::new())], ..Refresh::default() };
    writer.refresh(&series).await.expect("refresh");
    let told = writer.refresh(&window(5, 1, true)).await.expect("refresh");
    assert!(told.lacking_series.is_empty());
    assert_eq!(db.store.hot.series(5, Freshness::Exact).await.as_deref(), Some(&vec![]));
}

#[tokio::test]
async fn series_come_with_the_windows_and_change_with_their_version() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    let series = |ids: std::ops::Range<i32>| -> Vec<SeriesMeta> {
        let one = |id| SeriesMeta {
            id,
            server_id: 5,
            metric_name: format!("metric_{id}"),
            labels: [("path".to_owned(), "a\nb".to_owned())].into(),
            kind: SeriesKind::Gauge,
            unit: String::new(),
        };
        ids.map(one).collect()
    };
    let refreshed = |n, series| Refresh { series: vec![(5, series)], ..window(5, n, true) };
    for (n, all) in [(0, series(1..8)), (1, series(1..8)), (2, series(1..9)), (3, series(1..8))] {
        writer.refresh(&refreshed(n, all.clone())).await.expect("refresh");
        for _ in 0..2 {
            let recent = db.store.hot.recent(5, T0, T0 + 90_000, Freshness::Exact).await.expect("recent");
            assert_eq!(recent.series.as_deref(), Some(&all), "window {n}");
            assert_eq!(db.store.hot.series(5, Freshness::Exact).await.as_deref(), Some(&all));
        }
    }
    writer.restart();
    writer.heartbeat().await.expect("heartbeat");
    writer.refresh(&window(5, 4, true)).await.expect("refresh");
    let recent = db.store.hot.recent(5, T0 + 40_000, T0 + 90_000, Freshness::Exact).await.expect("recent");
    assert_eq!(recent.series, None, "of an epoch that has ended");
    assert_eq!(db.store.hot.series(5, Freshness::Exact).await, None);
    assert_eq!(db.store.hot.series(5, Freshness::LastKnown).await.as_deref(), Some(&series(1..8)));
}

/// Redis by hand.
async fn raw(db: &Database) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(db.config.redis_url.reveal()).expect("client");
    client.get_multiplexed_async_connection().await.expect("connect")
}

fn key(db: &Database, name: &str) -> String {
    format!("{}{name}", db.config.redis_prefix)
}

async fn dump(db: &Database, name: &str) -> Vec<u8> {
    redis::cmd("DUMP").arg(key(db, name)).query_async(&mut raw(db).await).await.expect("dump")
}

/// As a replica that was behind has it.
async fn put_back(db: &Database, name: &str, old: &[u8]) {
    let mut restore = redis::cmd("RESTORE");
    restore.arg(key(db, name)).arg(600_000).arg(old).arg("REPLACE");
    let () = restore.query_async(&mut raw(db).await).await.expect("restore");
}

/// The name of the only lease, behind the prefix.
async fn lease(db: &Database) -> String {
    let find = redis::cmd("KEYS").arg(key(db, "lease:*")).to_owned();
    let leases: Vec<String> = find.query_async(&mut raw(db).await).await.expect("keys");
    let [lease] = &leases[..] else { panic!("{leases:?}") };
    lease.strip_prefix(&*db.config.redis_prefix).expect("ours").to_owned()
}

#[tokio::test]
async fn old_versions_that_come_back_are_no_answer() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    let series = |names: &[&str]| -> Vec<SeriesMeta> {
        let one = |(id, name): (i32, &&str)| SeriesMeta {
            id,
            server_id: 5,
            metric_name: (*name).to_owned(),
            labels: tidewatch_schemas::Labels::default(),
            kind: SeriesKind::Gauge,
            unit: String::new(),
        };
        (1..).zip(names).map(one).collect()
    };
    let with = |n, all| Refresh { series: vec![(5, all)], ..window(5, n, true) };
    writer.refresh(&with(0, series(&["a"]))).await.expect("refresh");
    let old = (dump(&db, "recent:5").await, dump(&db, "series:5").await);
    writer.refresh(&with(1, series(&["a", "b"]))).await.expect("refresh");
    assert_eq!(exact(&db, 0, 2).await.map(|rows| rows.len()), Some(4));

    put_back(&db, "series:5", &old.1).await;
    let recent = db.store.hot.recent(5, T0, T0 + 20_000, Freshness::Exact).await.expect("recent");
    assert_eq!((recent.rows.len(), recent.series), (4, None), "nobody vouches for series of before");
    assert_eq!(db.store.hot.series(5, Freshness::Exact).await, None);
    assert_eq!(db.store.hot.series(5, Freshness::LastKnown).await.as_deref(), Some(&series(&["a"])));

    put_back(&db, "recent:5", &old.0).await;
    assert_eq!(exact(&db, 0, 1).await, None, "nor for windows of before");
    let known = db.store.hot.recent(5, T0, T0 + 20_000, Freshness::LastKnown).await;
    assert_eq!(known.map(|recent| recent.rows.len()), Some(2));
    writer.refresh(&window(5, 2, true)).await.expect("refresh");
    assert_eq!(exact(&db, 0, 3).await, None);
    assert_eq!(exact(&db, 2, 3).await.map(|rows| rows.len()), Some(2));

    // the newest window is the same, but a late part of it was not there yet
    let old = dump(&db, "recent:5").await;
    writer.refresh(&window(5, 2, false)).await.expect("refresh");
    put_back(&db, "recent:5", &old).await;
    assert_eq!(exact(&db, 2, 3).await, None);
    writer.refresh(&window(5, 3, true)).await.expect("refresh");
    assert_eq!(exact(&db, 2, 4).await, None);
    assert_eq!(exact(&db, 3, 4).await.map(|rows| rows.len()), Some(2));
}

#[tokio::test]
async fn a_redis_that_was_set_back_as_a_whole_answers_no_more_after_the_writers_next_word() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    writer.refresh(&window(5, 0, true)).await.expect("refresh");
    let lease = lease(&db).await;
    let old = (dump(&db, "recent:5").await, dump(&db, &lease).await);
    writer.refresh(&window(5, 1, true)).await.expect("refresh");
    put_back(&db, "recent:5", &old.0).await;
    put_back(&db, &lease, &old.1).await;
    writer.heartbeat().await.expect("heartbeat");
    assert_eq!(exact(&db, 0, 1).await, None);
    writer.refresh(&window(5, 2, true)).await.expect("refresh");
    assert_eq!(exact(&db, 0, 3).await, None);
    assert_eq!(exact(&db, 2, 3).await.map(|rows| rows.len()), Some(2));
}

#[tokio::test]
async fn a_lease_that_was_lost_vouches_again_with_the_next_window() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    let first = Refresh { series: vec![(5, Vec::new())], ..window(5, 0, true) };
    writer.refresh(&first).await.expect("refresh");
    let (mut raw, lease) = (raw(&db).await, key(&db, &lease(&db).await));
    let lease = lease.as_str();
    let () = redis::cmd("DEL").arg(lease).query_async(&mut raw).await.expect("evict");
    assert_eq!(exact(&db, 0, 1).await, None);
    writer.heartbeat().await.expect("heartbeat");
    assert_eq!(exact(&db, 0, 1).await, None, "it knows of no window");
    let told = writer.refresh(&window(5, 1, true)).await.expect("refresh");
    assert_eq!(exact(&db, 0, 2).await.map(|rows| rows.len()), Some(4), "nothing was missed");
    assert_eq!(told.lacking_series.into_iter().collect::<Vec<_>>(), [5], "to be sent again");
    let left: i64 = redis::cmd("PTTL").arg(lease).query_async(&mut raw).await.expect("ttl");
    assert!((1..=5_000).contains(&left), "{left}");
}

#[tokio::test]
async fn servers_are_known_by_name() {
    let db = database().await;
    let mut writer = HotWriter::new(db.store.hot.clone());
    let server = |id, name: &str| Server {
        id,
        name: name.to_owned(),
        ip_address: None,
        labels: [("os".to_owned(), "linux".to_owned())].into(),
        first_seen_ms: T0,
        last_seen_ms: T0 + 10_000,
        people: People::default(),
    };
    assert_eq!(db.store.hot.servers_last_known().await, None);
    let servers = vec![server(2, "web"), server(9, "db")];
    writer.refresh(&Refresh { servers, ..Refresh::default() }).await.expect("refresh");
    assert_eq!(db.store.hot.servers_last_known().await, Some(vec![server(9, "db"), server(2, "web")]));
}

#[tokio::test]
async fn a_redis_that_is_away_costs_little_and_answers_nothing() {
    let stack = Stack::start("postgres redis").expect("stack");
    let db = stack.database().await.expect("database");
    let mut writer = HotWriter::new(db.store.hot.clone());
    writer.refresh(&window(5, 0, true)).await.expect("refresh");
    assert!(exact(&db, 0, 1).await.is_some());
    stack.stop_part("redis").expect("stop");
    for _ in 0..10 {
        let began = std::time::Instant::now();
        assert_eq!(exact(&db, 0, 1).await, None);
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    }
    assert!(db.store.hot.is_open());
    assert!(writer.refresh(&window(5, 1, true)).await.is_err());
    stack.start_part("redis").expect("start");
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while writer.refresh(&window(5, 2, true)).await.is_err() {
        assert!(std::time::Instant::now() < until, "redis is not used again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(exact(&db, 0, 3).await, None);
    assert_eq!(exact(&db, 2, 3).await.map(|rows| rows.len()), Some(2));
}
