//! Packing beside writing: hours that are packed and unpacked again and again lose nothing and count nothing twice.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tidewatch_schemas::{AggregateKind, Origin};
use tidewatch_service_kit::{Metrics, Shutdown};
use tidewatch_sink::{metrics::SinkMetrics, pack::pass};
use tidewatch_store::Tier;

use crate::fixture::{Instance, T0, all_rows, database, frame, layout, pack, windows};

/// Windows of each server, an hour and a half.
const WINDOWS: i64 = 540;

#[tokio::test(flavor = "multi_thread")]
async fn a_packer_and_a_writer_on_the_same_hours_lose_nothing_and_count_nothing_twice() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let finals = (0..WINDOWS).map(|n| windows(n, frame("web", n, 1.0, layout()))).collect();
    sink.commit(generation, vec![finals]).await;
    let done = AtomicBool::new(false);
    let packer = async {
        let mut rounds = 0;
        while !done.load(Ordering::Relaxed) {
            pack(&db.store, usize::MAX, 700).await;
            rounds += 1;
        }
        rounds
    };
    let writer = async {
        for round in 0..60_i64 {
            // late parts into some windows of both hours, each record twice
            let part = |n: i64| {
                let mut part = frame("web", (round * 37 + n * 97) % WINDOWS, 2.0, layout());
                part.kind = AggregateKind::Delta;
                part.origin = Origin { partition: 0, offset: 10_000 + round * 10 + n };
                part
            };
            let offset = WINDOWS + round * 10;
            let batch = (0..10).map(|n| windows(offset + n, part(n / 2))).collect();
            sink.commit(generation, vec![batch]).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let reader = async {
        let mut looks = 0;
        while !done.load(Ordering::Relaxed) {
            let rows = all_rows(&db.store, Tier::TenSeconds).await;
            assert_eq!(rows.len(), 2 * WINDOWS as usize, "every window once, whatever is being packed");
            assert!(rows.is_sorted_by(|a, b| (a.series_id, a.ts_ms) < (b.series_id, b.ts_ms)));
            looks += 1;
        }
        looks
    };
    let (rounds, (), looks) = tokio::join!(packer, writer, reader);
    assert!(rounds > 5 && looks > 5, "{rounds} rounds of packing, {looks} of reading");
    let mut expected = vec![1; WINDOWS as usize];
    for round in 0..60_i64 {
        for n in 0..5 {
            expected[((round * 37 + n * 97) % WINDOWS) as usize] += 1;
        }
    }
    let rows = all_rows(&db.store, Tier::TenSeconds).await;
    for series in rows.chunk_by(|a, b| a.series_id == b.series_id) {
        assert_eq!(series.iter().map(|row| row.count).collect::<Vec<_>>(), expected);
        assert!(series.iter().all(|row| row.sum == (row.count * 2 - 1) as f64));
    }
    assert!(sink.letters.0.lock().expect("lock").is_empty());
}

#[tokio::test]
async fn a_pass_packs_what_ended_long_enough_ago_and_gives_its_space_back() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let finals = (0..WINDOWS).map(|n| windows(n, frame("web", n, 1.0, layout()))).collect();
    sink.commit(generation, vec![finals]).await;
    let before = all_rows(&db.store, Tier::TenSeconds).await;
    let (metrics, shutdown) = (Metrics::default(), Shutdown::new());
    let told = SinkMetrics::new(&metrics);
    let (history, end, after) = (&db.store.history, T0 + 86_400_000, Duration::from_hours(6));
    let size = async || {
        let query = "SELECT pg_relation_size('samples_10s_20261123') > 0 AS rows, count(*) FROM packed_10s";
        sqlx::query_as::<_, (bool, i64)>(query).fetch_one(history.pool()).await.expect("size")
    };
    pass(history, after, end + 6 * 3_600_000 - 1, &told, &shutdown).await.expect("pass");
    assert_eq!(size().await, (true, 0), "too young");
    // the packer's place is free as soon as its connection is gone; so is the space as soon as nobody looks back
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while size().await.0 {
        assert!(std::time::Instant::now() < until, "never packed");
        pass(history, after, end + 6 * 3_600_000, &told, &shutdown).await.expect("pass");
    }
    assert_eq!(size().await, (false, 4));
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await, before);
    let text = metrics.encode();
    assert!(text.contains(r#"tidewatch_sink_packed_windows_total{table="samples_10s"} 1080"#), "{text}");
    assert!(text.contains(r#"tidewatch_sink_packed_partitions_total{table="samples_10s"} 1"#), "{text}");
}
