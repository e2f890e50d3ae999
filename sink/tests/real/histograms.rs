//! Histograms of records, good and bad, beside the rows of values.

use tidewatch_schemas::{AggregateFrame, AggregateKind, Histogram, Origin, Reason, encode};
use tidewatch_sink::record::{Item, Kind, parse};
use tidewatch_store::{Tier, write::histograms};

use crate::fixture::{
    Instance, T0, all_histograms, all_rows, database, frame, histogram, item, layout, next_offset, windows,
};

/// As the consumer makes one of a record's bytes.
fn read(offset: i64, frame: &AggregateFrame) -> Item {
    let bytes = encode(frame).expect("encode");
    item("m.10s", offset, parse(Kind::Windows(Tier::TenSeconds), Some(&bytes), T0 + 3_600_000))
}

fn with(window: i64, histograms: Vec<Histogram>) -> AggregateFrame {
    AggregateFrame { histograms, ..frame("web", window, 1.0, layout()) }
}

#[tokio::test]
async fn a_bad_histogram_is_a_dead_letter_and_the_rest_of_its_record_is_written() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let bad = Histogram { count: 5, ..histogram("bad", 3, 1, 1) };
    let endless = Histogram { sum: Some(f64::INFINITY), ..histogram("endless", 3, 1, 1) };
    let empty = Histogram { count: 0, ..histogram("empty", 3, 1, 0) };
    let batch = vec![
        read(0, &with(0, vec![histogram("took", 3, 8, 1)])),
        read(1, &with(1, vec![bad, histogram("took", 3, 8, 2), empty])),
        read(2, &with(2, vec![endless])),
        read(3, &with(3, vec![histogram("took", 3, 8, 4)])),
    ];
    sink.commit(generation, vec![batch]).await;
    assert_eq!(*sink.letters.0.lock().expect("lock"), [(1, Reason::BadHistogram), (2, Reason::NotANumber)]);
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 8, "every series of values");
    let found = all_histograms(&db.store, Tier::TenSeconds).await;
    let found: Vec<_> = found
        .iter()
        .map(|(_, name, row)| (name.as_str(), (row.ts_ms - T0) / 10_000, row.observed.count))
        .collect();
    assert_eq!(found, [("took", 0, 2), ("took", 1, 4), ("took", 3, 8)]);
    assert_eq!(next_offset(&db.store, "m.10s").await, Some(4));
}

#[tokio::test]
async fn a_late_part_of_another_scale_is_merged_and_its_copy_is_not() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let late = AggregateFrame {
        kind: AggregateKind::Delta,
        origin: Origin { partition: 0, offset: 5_000 },
        layout: vec![],
        ..frame("web", 0, 1.0, vec![])
    };
    let late = AggregateFrame { histograms: vec![histogram("took", 0, 1, 3)], ..late };
    sink.commit(generation, vec![vec![windows(0, with(0, vec![histogram("took", 2, 8, 1)]))]]).await;
    sink.commit(generation, vec![vec![windows(1, late.clone()), windows(2, late.clone())]]).await;
    sink.commit(generation, vec![vec![windows(3, late)]]).await;
    let found = all_histograms(&db.store, Tier::TenSeconds).await;
    let [(server, _, row)] = &found[..] else { panic!("{found:?}") };
    // buckets 8 and 9 of scale 2 are in bucket 2 of scale 0
    let observed = &row.observed;
    assert_eq!((server.as_str(), observed.count, observed.scale, observed.sum), ("web", 8, 0, 4.0));
    assert_eq!((observed.positive.offset, &observed.positive.counts[..]), (1, &[3, 5][..]));
    assert_eq!(row.origin.offset, 5_000);
}

#[tokio::test]
async fn a_row_that_was_taken_to_be_new_and_is_there_is_merged() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    sink.commit(generation, vec![vec![windows(0, with(0, vec![histogram("took", 3, 8, 1)]))]]).await;
    let (_, _, before) = all_histograms(&db.store, Tier::TenSeconds).await.remove(0);
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let hidden = tidewatch_store::HistogramRow { ts_ms: T0 + 10_000, ..before };
    histograms::copy_in(&mut conn, Tier::TenSeconds, &[hidden]).await.expect("copy");
    sink.commit(generation, vec![vec![windows(1, with(1, vec![histogram("took", 3, 8, 5)]))]]).await;
    let counts: Vec<i64> = all_histograms(&db.store, Tier::TenSeconds)
        .await
        .iter()
        .map(|(.., row)| row.observed.count)
        .collect();
    assert_eq!(counts, [2, 12]);
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 4, "nothing of the record is lost");
}

#[tokio::test]
async fn histograms_count_among_the_series_that_a_server_may_have() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    // 50 are allowed, two of which are values
    let many =
        |from: i32, to: i32| (from..to).map(|i| histogram(&format!("h{i}"), 3, 8, 1)).collect::<Vec<_>>();
    let batch = vec![windows(0, with(0, many(0, 48))), windows(1, with(1, many(0, 49)))];
    sink.commit(generation, vec![batch]).await;
    assert_eq!(*sink.letters.0.lock().expect("lock"), [(1, Reason::TooManySeries)]);
    assert_eq!(all_histograms(&db.store, Tier::TenSeconds).await.len(), 48);
    assert_eq!(db.store.history.series_count().await.expect("count"), 50);
}
