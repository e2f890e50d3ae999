//! Records that are read again: lost rows come back, packed or not, beside a sink at work; what is there stays as it is.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::{AssertSqlSafe, Connection};
use tidewatch_schemas::{AggregateKind, AlertStatus, Anomaly, Expectation, Origin};
use tidewatch_sink::{
    record::{Body, Item},
    write::{Batch, Counts, Rewriter},
};
use tidewatch_store::{
    AlertQuery, Freshness, Store, Tier,
    hot::writer::HotWriter,
    write::offsets::{self, Move},
};

use crate::{
    fixture::{
        GROUP, Instance, T0, all_histograms, all_rows, database, frame, histogram, item, layout, next_offset,
        pack, windows,
    },
    log::{draws, log, reference, reference_histograms, stored, stored_histograms},
    records::alert,
};

fn rewriter() -> Rewriter {
    Rewriter::new(GROUP, 50, false)
}

/// The windows of a tier, each with all its records.
fn batch(items: &[Item], tier: Tier) -> Batch {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for item in items {
        if !matches!(item.body, Body::Windows(other, _) if other == tier) {
            continue;
        }
        let key = |item: &Item| (item.body.server().map(str::to_owned), item.body.time());
        match groups.iter_mut().find(|group| key(&group[0]) == key(item)) {
            Some(group) => group.push(item.clone()),
            None => groups.push(vec![item.clone()]),
        }
    }
    let mut batch = Batch::default();
    for group in groups {
        batch.push(group, true);
    }
    batch
}

/// Compares, and writes what differs; what came of it.
async fn again(store: &Store, rewriter: &mut Rewriter, batch: Batch) -> Counts {
    let mut conn = store.history.pool().acquire().await.expect("connection");
    let looked = rewriter.look(&mut conn, &batch).await.expect("look");
    let mut counts = looked.counts;
    for part in batch.choose(&looked.left, 40) {
        let outcome = rewriter.write(&mut conn, &part, true).await.expect("write");
        assert!(outcome.left.is_empty());
        counts += outcome.counts;
    }
    counts
}

async fn execute(store: &Store, statement: impl Into<String>) {
    let statement = AssertSqlSafe(statement.into());
    sqlx::raw_sql(statement).execute(store.history.pool()).await.expect("statement");
}

/// A third of the rows, of the packed hours and of histograms too; or all.
async fn lose(store: &Store, which: u8) {
    for tier in ["10s", "1m"] {
        if which > 2 {
            execute(store, format!("TRUNCATE samples_{tier}, packed_{tier}, histograms_{tier}")).await;
            continue;
        }
        let of = |time: &str| format!("(series_id + extract(epoch FROM {time})::bigint / 10) % 3 = {which}");
        execute(store, format!("DELETE FROM samples_{tier} WHERE {}", of("ts"))).await;
        execute(store, format!("DELETE FROM histograms_{tier} WHERE {}", of("ts"))).await;
        execute(store, format!("DELETE FROM packed_{tier} WHERE series_id % 3 = {which}")).await;
    }
}

#[test]
fn whatever_was_lost_comes_back_and_a_second_time_changes_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() });
    let made = std::cell::Cell::new(0);
    let plan = (draws(), 0..4_u8, 0..60_usize, any::<[bool; 3]>());
    let result = runner.run(&plan, |(draws, which, middle, packs)| {
        let log = log(&draws);
        let items: Vec<Item> =
            log.iter().enumerate().map(|(n, frame)| windows(n as i64, frame.clone())).collect();
        let (before, after) = items.split_at(middle.min(items.len()));
        runtime.block_on(async {
            let db = database().await;
            let mut sink = Instance::new(&db.store);
            let generation = sink.assign(&db.store).await;
            sink.commit(generation, vec![before.to_vec()]).await;
            if packs[0] {
                pack(&db.store, usize::MAX, 30).await;
            }
            lose(&db.store, which).await;
            // late parts fall into rows that are lost
            sink.commit(generation, vec![after.to_vec()]).await;
            if packs[1] {
                pack(&db.store, usize::MAX, 30).await;
            }
            let offsets = next_offset(&db.store, "m.10s").await;
            for tier in [Tier::TenSeconds, Tier::Minute] {
                let counts = again(&db.store, &mut rewriter(), batch(&items, tier)).await;
                made.set(made.get() + counts.made + counts.merged);
                assert_eq!(stored(&db.store, tier).await, reference(&log, tier), "{}", tier.as_str());
                assert_eq!(
                    stored_histograms(&db.store, tier).await,
                    reference_histograms(&log, tier),
                    "histograms of {}",
                    tier.as_str()
                );
            }
            if packs[2] {
                pack(&db.store, usize::MAX, 30).await;
            }
            for tier in [Tier::TenSeconds, Tier::Minute] {
                let unchanged = (reference(&log, tier).len() + reference_histograms(&log, tier).len()) as u64;
                let counts = again(&db.store, &mut rewriter(), batch(&items, tier)).await;
                assert_eq!(counts, Counts { unchanged, ..Counts::default() });
            }
            assert_eq!(next_offset(&db.store, "m.10s").await, offsets);
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(made.get() > 0, "nothing was ever lost");
}

#[tokio::test]
async fn histograms_that_were_lost_or_say_something_else_come_back_and_values_beside_them_stay() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let items: Vec<Item> = (0..4)
        .map(|n| {
            let mut frame = frame("web", n, 1.0, layout());
            frame.histograms = vec![histogram("took", 3, 8, n + 1), histogram("load", 0, 1, 1)];
            windows(n, frame)
        })
        .collect();
    sink.commit(generation, vec![items.clone()]).await;
    let before = all_histograms(&db.store, Tier::TenSeconds).await;
    let values = all_rows(&db.store, Tier::TenSeconds).await;
    assert_eq!((before.len(), values.len()), (8, 8));
    let took = "(SELECT id FROM series WHERE metric_name = 'took')";
    execute(&db.store, format!("DELETE FROM histograms_10s WHERE series_id = {took} AND positive[1] < 3"))
        .await;
    execute(&db.store, "UPDATE histograms_10s SET sum = sum + 1 WHERE positive[1] = 4").await;
    // one that holds more than the topic stays
    execute(&db.store, "UPDATE histograms_10s SET count = 9, zero_count = 3 WHERE positive[1] = 3").await;
    let counts = again(&db.store, &mut rewriter(), batch(&items, Tier::TenSeconds)).await;
    assert_eq!(counts, Counts { made: 2, merged: 1, kept: 1, unchanged: 12, ..Counts::default() });
    execute(&db.store, "UPDATE histograms_10s SET count = 6, zero_count = 0 WHERE positive[1] = 3").await;
    assert_eq!(all_histograms(&db.store, Tier::TenSeconds).await, before);
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await, values);
    let counts = again(&db.store, &mut rewriter(), batch(&items, Tier::TenSeconds)).await;
    assert_eq!(counts, Counts { unchanged: 16, ..Counts::default() });
}

#[tokio::test]
async fn packed_hours_that_lack_nothing_stay_packed() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let finals: Vec<Item> = (0..540).map(|n| windows(n, frame("web", n, n as f64, layout()))).collect();
    sink.commit(generation, vec![finals.clone()]).await;
    pack(&db.store, usize::MAX, 30_000).await;
    let before = all_rows(&db.store, Tier::TenSeconds).await;
    let hours = async || {
        let query = "SELECT count(*) FROM packed_10s";
        sqlx::query_scalar::<_, i64>(query).fetch_one(db.store.history.pool()).await.expect("count")
    };
    assert_eq!(hours().await, 4);
    let unchanged = Counts { unchanged: 1_080, ..Counts::default() };
    assert_eq!(again(&db.store, &mut rewriter(), batch(&finals, Tier::TenSeconds)).await, unchanged);
    assert_eq!(hours().await, 4);
    execute(
        &db.store,
        "DELETE FROM packed_10s WHERE series_id = 1 AND hour = (SELECT min(hour) FROM packed_10s)",
    )
    .await;
    let counts = again(&db.store, &mut rewriter(), batch(&finals, Tier::TenSeconds)).await;
    assert_eq!((counts.made, counts.unchanged), (360, 720));
    assert_eq!((hours().await, all_rows(&db.store, Tier::TenSeconds).await), (3, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_at_work_on_the_same_rows_loses_nothing_and_counts_nothing_twice() {
    const WINDOWS: i64 = 60;
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let part = |n: i64, window: i64| {
        let mut part = frame("web", window, n as f64, layout());
        part.kind = AggregateKind::Delta;
        part.origin = Origin { partition: 0, offset: n };
        part
    };
    let frames: Vec<_> = (0..600).map(|n| part(n, n * 7 % WINDOWS)).collect();
    let items: Vec<Item> = (0..).zip(&frames).map(|(n, frame)| windows(n, frame.clone())).collect();
    let (before, live) = items.split_at(200);
    sink.commit(generation, vec![before.to_vec()]).await;
    execute(&db.store, "DELETE FROM samples_10s WHERE series_id = 1").await;
    // what Kafka has: the sink reads it as it comes
    let topic = Arc::new(Mutex::new(before.to_vec()));
    let writer = async {
        for few in live.chunks(5) {
            topic.lock().expect("lock").extend(few.to_vec());
            sink.commit(generation, vec![few.to_vec()]).await;
        }
    };
    let replay = async {
        let (mut rewriter, mut ahead) = (rewriter(), 0);
        // the end as it was when it began: the sink is further soon
        let mut left = batch(before, Tier::TenSeconds);
        let mut conn = db.store.history.pool().acquire().await.expect("connection");
        while !left.is_empty() {
            let mut next: Vec<i64> = Vec::new();
            let all: Vec<usize> = (0..left.len()).collect();
            for part in left.choose(&all, 6) {
                let outcome = rewriter.write(&mut conn, &part, false).await.expect("write");
                let of = |batch: Batch| batch.into_groups().map(|(items, _)| items[0].body.time());
                next.extend(part.choose(&outcome.left, usize::MAX).into_iter().flat_map(of));
                // let the sink in
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ahead += next.len();
            let now = topic.lock().expect("lock").clone();
            let wanted: Vec<Item> = now.into_iter().filter(|item| next.contains(&item.body.time())).collect();
            left = batch(&wanted, Tier::TenSeconds);
        }
        ahead
    };
    let (ahead, ()) = tokio::join!(replay, writer);
    assert!(ahead > 0, "the sink was never ahead: nothing was proven");
    assert_eq!(stored(&db.store, Tier::TenSeconds).await, reference(&frames, Tier::TenSeconds));
    assert!(sink.letters.0.lock().expect("lock").is_empty());
}

#[tokio::test]
async fn a_batch_waits_for_the_transaction_of_a_sink_on_its_partition() {
    let db = database().await;
    let items = vec![windows(0, frame("web", 0, 1.0, layout()))];
    for from in [None, Some(1)] {
        let pool = db.store.history.pool();
        let (mut sink, mut conn) =
            (pool.acquire().await.expect("connection"), pool.acquire().await.expect("connection"));
        let mut transaction = sink.begin().await.expect("begin");
        let step = Move { topic: "m.10s".to_owned(), partition: 0, from, to: from.unwrap_or(0) + 1 };
        assert!(offsets::advance(&mut transaction, GROUP, &[step]).await.expect("advance"));
        let (mut rewriter, batch) = (rewriter(), batch(&items, Tier::TenSeconds));
        let write = rewriter.write(&mut conn, &batch, true);
        let mut write = std::pin::pin!(write);
        let waited = tokio::time::timeout(Duration::from_millis(300), &mut write).await;
        assert!(waited.is_err(), "it did not wait");
        transaction.commit().await.expect("commit");
        write.await.expect("write");
    }
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 2);
}

#[tokio::test]
async fn redis_answers_no_longer_for_what_changed_of_the_last_minutes() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let now = chrono::Utc::now().timestamp_millis() / 10_000 * 10_000;
    let young = |n: i64| {
        let mut frame = frame("web", n, 1.0, layout());
        frame.window_start = now - 60_000 + n * 10_000;
        windows(n, frame)
    };
    let items: Vec<Item> = (0..5).map(young).collect();
    for item in &items {
        sink.commit(generation, vec![vec![item.clone()]]).await;
    }
    let exact = async || {
        let recent = db.store.hot.recent(1, now - 40_000, now, Freshness::Exact).await;
        recent.map(|recent| recent.rows.len())
    };
    assert_eq!(exact().await, Some(6));
    execute(&db.store, "DELETE FROM samples_10s WHERE series_id = 1").await;
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let batch = batch(&items, Tier::TenSeconds);
    let outcome = rewriter().write(&mut conn, &batch, true).await.expect("write");
    assert_eq!((outcome.counts.made, outcome.refresh.windows.len()), (5, 5));
    HotWriter::new(db.store.hot.clone()).refresh(&outcome.refresh).await.expect("refresh");
    assert_eq!(exact().await, None);
    // and for older ones it never did
    let old = vec![windows(9, frame("web", 0, 1.0, layout()))];
    let outcome = rewriter().write(&mut conn, &self::batch(&old, Tier::TenSeconds), true).await;
    assert!(outcome.expect("write").refresh.windows.is_empty());
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let db = database().await;
    let items: Vec<Item> = (0..3).map(|n| windows(n, frame("web", n, 1.0, layout()))).collect();
    let mut dry = Rewriter::new(GROUP, 50, true);
    let counts = again(&db.store, &mut dry, batch(&items, Tier::TenSeconds)).await;
    assert_eq!(counts, Counts { made: 6, ..Counts::default() });
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let firing = [item("alerts", 0, alert(AlertStatus::Firing, T0, "a title"))];
    let outcome = dry.write_events(&mut conn, &firing).await.expect("events");
    assert_eq!((outcome.counts.made, outcome.refresh.alerts.len()), (1, 0));
    assert!(db.store.history.servers().await.expect("servers").is_empty());
    assert_eq!(again(&db.store, &mut rewriter(), batch(&items, Tier::TenSeconds)).await.made, 6);
    let counts = again(&db.store, &mut dry, batch(&items, Tier::TenSeconds)).await;
    assert_eq!(counts, Counts { unchanged: 6, ..Counts::default() });
}

#[tokio::test]
async fn bands_anomalies_and_alerts_come_back_as_they_were() {
    let db = database().await;
    let band = |low: f64| {
        let (layout, low) = (vec![layout().remove(0)], vec![low]);
        let (window_start, window_ms, high) = (T0, 10_000, vec![9.0]);
        Body::Expected(Expectation { server: "web".to_owned(), window_start, window_ms, layout, low, high })
    };
    // of two bands of one window the last counts
    let mut bands = Batch::default();
    bands.push(vec![item("m.expected", 0, band(1.0)), item("m.expected", 1, band(2.0))], true);
    let anomaly = Body::Anomaly(Anomaly {
        server: "web".to_owned(),
        metric: "load".to_owned(),
        labels: [].into(),
        unit: String::new(),
        window_start: T0,
        window_ms: 10_000,
        value: 9.0,
        expected_low: 0.0,
        expected_high: 2.0,
        score: 4.5,
        method: "loud".to_owned(),
    });
    let events = [
        item("anomalies", 0, anomaly.clone()),
        item("anomalies", 1, anomaly),
        item("alerts", 0, alert(AlertStatus::Resolved, T0 + 60_000, "over")),
    ];
    let (mut rewriter, made) = (rewriter(), |n| Counts { made: n, ..Counts::default() });
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let outcome = rewriter.write(&mut conn, &bands, false).await.expect("bands");
    assert_eq!(outcome.counts, made(1));
    let outcome = rewriter.write_events(&mut conn, &events).await.expect("events");
    assert_eq!(outcome.counts, made(2));
    let looked = rewriter.look(&mut conn, &bands).await.expect("look");
    assert_eq!((looked.counts.unchanged, looked.left.len()), (1, 0));
    let outcome = rewriter.write_events(&mut conn, &events).await.expect("events");
    assert_eq!(outcome.counts, Counts { unchanged: 2, ..Counts::default() });
    // an older state of the alert replaces nothing
    let firing = [item("alerts", 0, alert(AlertStatus::Firing, T0, "a title"))];
    let outcome = rewriter.write_events(&mut conn, &firing).await.expect("events");
    assert_eq!(outcome.counts, Counts { unchanged: 1, ..Counts::default() });
    let series = db.store.history.series(1, &[]).await.expect("series");
    let bands = db.store.history.expectations(&[series[0].id], T0, T0 + 1).await.expect("bands");
    assert_eq!(bands.iter().map(|band| band.low).collect::<Vec<_>>(), [2.0]);
    let alerts = db.store.history.alerts(&AlertQuery { limit: 9, ..AlertQuery::default() }).await;
    assert_eq!(alerts.expect("alerts").len(), 1);
}
