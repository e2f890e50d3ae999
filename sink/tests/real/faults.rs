//! Two owners of one partition, rows that should not be there, and a PostgreSQL and a Redis that go away.

use std::time::Duration;

use tidewatch_sink::commit::Told;
use tidewatch_store::{Freshness, Tier, testing::Stack, write::samples};

use crate::fixture::{Instance, T0, all_rows, database, frame, layout, next_offset, windows};

#[tokio::test]
async fn of_two_instances_that_own_a_partition_one_is_told_that_it_does_not() {
    let db = database().await;
    let (mut first, mut second) = (Instance::new(&db.store), Instance::new(&db.store));
    let (a, b) = (first.assign(&db.store).await, second.assign(&db.store).await);
    let batch = |n: i64| vec![windows(n, frame("web", n, 1.0, layout()))];
    let told = first.commit(a, vec![batch(0), batch(1)]).await;
    assert!(matches!(told[..], [Told::Committed(..), Told::Committed(..)]), "{told:?}");
    let told = second.commit(b, vec![batch(0), batch(1)]).await;
    assert_eq!(told, [Told::Lost(b), Told::Lost(b)]);
    // it joins again and goes on where the other was; the other is the zombie now
    let b = second.assign(&db.store).await;
    assert!(matches!(second.commit(b, vec![batch(2)]).await[..], [Told::Committed(..)]));
    assert_eq!(first.commit(a, vec![batch(2)]).await, [Told::Lost(a)]);
    let rows = all_rows(&db.store, Tier::TenSeconds).await;
    assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [1; 6]);
    assert_eq!(next_offset(&db.store, "m.10s").await, Some(3));
}

#[tokio::test]
async fn a_batch_of_an_assignment_that_is_over_is_given_up() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let old = sink.assign(&db.store).await;
    let new = sink.assign(&db.store).await;
    let batch = |n: i64| vec![windows(n, frame("web", n, 1.0, layout()))];
    assert_eq!(sink.commit(old, vec![batch(0)]).await, [Told::GivenUp]);
    assert_eq!(next_offset(&db.store, "m.10s").await, None);
    assert!(matches!(sink.commit(new, vec![batch(0)]).await[..], [Told::Committed(..)]));
}

#[tokio::test]
async fn a_row_that_was_taken_to_be_new_and_is_there_is_merged() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    sink.commit(generation, vec![vec![windows(0, frame("web", 0, 1.0, layout()))]]).await;
    let before = all_rows(&db.store, Tier::TenSeconds).await[0];
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let hidden = tidewatch_store::WindowRow { ts_ms: T0 + 10_000, ..before };
    samples::copy_in(&mut conn, Tier::TenSeconds, &[hidden]).await.expect("copy");
    sink.commit(generation, vec![vec![windows(1, frame("web", 1, 5.0, layout()))]]).await;
    let rows = all_rows(&db.store, Tier::TenSeconds).await;
    let found = rows.iter().find(|r| r.series_id == before.series_id && r.ts_ms == T0 + 10_000).expect("row");
    assert_eq!((found.count, found.sum, found.max), (2, 6.0, 5.0));
    assert!(sink.letters.0.lock().expect("lock").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_go_away_cost_time_and_nothing_else() {
    let stack = Stack::start("postgres redis").expect("stack");
    let db = stack.database().await.expect("database");
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let batch = |n: i64| vec![windows(n, frame("web", n, 1.0, layout()))];
    sink.commit(generation, vec![batch(0), batch(1)]).await;
    let exact = |from: i64| db.store.hot.recent(1, T0 + from * 10_000, T0 + 900_000, Freshness::Exact);
    assert_eq!(exact(0).await.map(|recent| recent.rows.len()), Some(4));

    stack.stop_part("postgres").expect("stop");
    let health = sink.health.clone();
    let work = tokio::spawn(async move {
        let told = sink.commit(generation, vec![batch(2), batch(3)]).await;
        (sink, told)
    });
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while health.is_ready() {
        assert!(std::time::Instant::now() < until, "nobody says that PostgreSQL is away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(exact(0).await.map(|recent| recent.rows.len()), Some(4), "the cache goes on answering");
    stack.start_part("postgres").expect("start");
    let (mut sink, told) =
        tokio::time::timeout(Duration::from_mins(1), work).await.expect("in time").expect("join");
    assert!(matches!(told[..], [Told::Committed(..), Told::Committed(..)]), "{told:?}");
    assert!(health.is_ready());
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 8);

    stack.stop_part("redis").expect("stop");
    sink.commit(generation, vec![batch(4), batch(5)]).await;
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 12, "an outage of redis holds nothing up");
    stack.start_part("redis").expect("start");
    let mut window = 6;
    while exact(window - 1).await.is_none() {
        assert!(window < 80, "redis is not refreshed again");
        tokio::time::sleep(Duration::from_millis(250)).await;
        sink.commit(generation, vec![batch(window)]).await;
        window += 1;
    }
    assert_eq!(exact(0).await, None);
}
