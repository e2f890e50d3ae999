//! A log of windows, late parts and second copies, read in batches of any size by instances that break off anywhere: the
//! rows are those of the log read once, and Redis never says otherwise.

use std::collections::{BTreeMap, btree_map::Entry};

use proptest::{prelude::*, test_runner::TestRunner};
use tidewatch_schemas::{AggregateFrame, AggregateKind, Distribution, Origin, Series, SeriesKind};
use tidewatch_sink::{record::Item, write::Step};
use tidewatch_store::{
    Freshness, HistogramRow, Store, Tier, WindowRow,
    merge::{merge, merge_histogram},
};

use crate::fixture::{
    Instance, T0, all_histograms, all_rows, database, frame, histogram, layout, next_offset, pack, windows,
};

const STEPS: [Step; 7] =
    [Step::Offsets, Step::Unpack, Step::Samples, Step::Histograms, Step::Events, Step::Servers, Step::Commit];

/// One record: which server, how far the server's clock moves (0 = a late part), whether it is of the minute tier, a copy
/// of the one before, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    server: u8,
    ahead: i64,
    minute: bool,
    copy: bool,
    value: i32,
}

pub(crate) fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (
        0..2_u8,
        prop_oneof![Just(0), Just(1), Just(1), Just(3)],
        any::<bool>(),
        prop::bool::weighted(0.15),
        -50..50,
    )
        .prop_map(|(server, ahead, minute, copy, value)| Draw { server, ahead, minute, copy, value });
    prop::collection::vec(draw, 4..60)
}

/// Where reading breaks off, and how: after so many records, before that step of the commit (or none); and how many chunks
/// are packed before that, by a packer that breaks off then.
type Break = (usize, Option<usize>, Option<usize>);

fn breaks() -> impl Strategy<Value = Vec<Break>> {
    let packing = prop::option::weighted(0.6, 0..4_usize);
    prop::collection::vec((1..9_usize, prop::option::of(0..STEPS.len()), packing), 1..60)
}

pub(crate) fn log(draws: &[Draw]) -> Vec<AggregateFrame> {
    let mut clock = BTreeMap::new();
    let mut log: Vec<AggregateFrame> = Vec::new();
    for (n, draw) in draws.iter().enumerate() {
        if draw.copy
            && let Some(before) = log.last()
        {
            log.push(before.clone());
            continue;
        }
        let now: &mut i64 = clock.entry((draw.server, draw.minute)).or_insert(0);
        *now += draw.ahead;
        let window = if draw.ahead == 0 { (*now - 2).max(0) } else { *now };
        let series = if draw.value % 7 == 0 {
            vec![Series::gauge(format!("rare{}", draw.value), "")]
        } else {
            layout()
        };
        let mut frame = frame(&format!("s{}", draw.server), window, f64::from(draw.value) / 3.0, series);
        if draw.minute {
            frame.window_ms = 60_000;
            frame.window_start = T0 + window * 60_000;
        }
        if draw.ahead == 0 {
            frame.kind = AggregateKind::Delta;
        }
        let at = (n as i32 * 131) % 10_000;
        frame.first_at.fill(at);
        frame.last_at.fill(at);
        frame.origin = Origin { partition: 0, offset: n as i64 };
        if draw.value % 3 != 0 {
            // of the same name as a gauge, which is another series
            frame.histograms.push(histogram("load", draw.value % 5, draw.value, 1 + n as i64 % 4));
        }
        log.push(frame);
    }
    log
}

pub(crate) type Key = (String, String, i64);

/// The log read once.
pub(crate) fn reference(log: &[AggregateFrame], tier: Tier) -> BTreeMap<Key, WindowRow> {
    let mut rows: BTreeMap<Key, WindowRow> = BTreeMap::new();
    for frame in log.iter().filter(|frame| frame.window_ms == tier.window_ms()) {
        for (i, series) in frame.layout.iter().enumerate() {
            let part = WindowRow {
                series_id: 0,
                ts_ms: frame.window_start,
                count: frame.count[i],
                sum: frame.sum[i],
                min: frame.min[i],
                max: frame.max[i],
                first: frame.first[i],
                last: frame.last[i],
                first_at: frame.first_at[i],
                last_at: frame.last_at[i],
                m2: frame.m2[i],
                increase: frame.increase[i],
                resets: frame.resets[i],
                origin: frame.origin,
            };
            let key = (frame.server.clone(), series.metric.clone(), frame.window_start);
            let row = rows.entry(key).or_insert(part);
            *row = merge(
                row,
                &part,
                if series.metric == "bytes" { SeriesKind::Counter } else { SeriesKind::Gauge },
            );
        }
    }
    rows
}

/// The histograms of the log read once.
pub(crate) fn reference_histograms(log: &[AggregateFrame], tier: Tier) -> BTreeMap<Key, HistogramRow> {
    let mut rows: BTreeMap<Key, HistogramRow> = BTreeMap::new();
    for frame in log.iter().filter(|frame| frame.window_ms == tier.window_ms()) {
        for one in &frame.histograms {
            let observed = Distribution::of(one, f64::MAX).expect("good").expect("observed");
            let part =
                HistogramRow { series_id: 0, ts_ms: frame.window_start, observed, origin: frame.origin };
            let key = (frame.server.clone(), one.series.metric.clone(), frame.window_start);
            match rows.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(part);
                }
                Entry::Occupied(mut row) => {
                    merge_histogram(row.get_mut(), &part);
                }
            }
        }
    }
    rows
}

pub(crate) async fn stored_histograms(store: &Store, tier: Tier) -> BTreeMap<Key, HistogramRow> {
    let mut rows = BTreeMap::new();
    for (server, metric, row) in all_histograms(store, tier).await {
        rows.insert((server, metric, row.ts_ms), HistogramRow { series_id: 0, ..row });
    }
    rows
}

/// What PostgreSQL has, named as in the reference.
pub(crate) async fn stored(store: &Store, tier: Tier) -> BTreeMap<Key, WindowRow> {
    let mut names = BTreeMap::new();
    for server in store.history.servers().await.expect("servers") {
        for meta in store.history.series(server.id, &[]).await.expect("series") {
            names.insert(meta.id, (server.name.clone(), meta.metric_name));
        }
    }
    let rows = all_rows(store, tier).await;
    rows.into_iter()
        .map(|row| {
            let (server, metric) = names[&row.series_id].clone();
            ((server, metric, row.ts_ms), WindowRow { series_id: 0, ..row })
        })
        .collect()
}

/// How often Redis gave an exact answer; each has to equal PostgreSQL's.
async fn compare_redis(store: &Store, end: i64) -> usize {
    let mut hits = 0;
    for server in store.history.servers().await.expect("servers") {
        let series = store.history.series(server.id, &[]).await.expect("series");
        let ids: Vec<i32> = series.iter().map(|meta| meta.id).collect();
        if let Some(hot) = store.hot.series(server.id, Freshness::Exact).await {
            assert_eq!(*hot, series);
        }
        for from in (T0..end).step_by(30_000) {
            if let Some(recent) = store.hot.recent(server.id, from, end, Freshness::Exact).await {
                let mut rows =
                    store.history.windows(&ids, Tier::TenSeconds, from, end).await.expect("windows");
                rows.sort_by_key(|row| (row.ts_ms, row.series_id));
                assert_eq!(recent.rows, rows, "{} from {}", server.name, (from - T0) / 10_000);
                hits += 1;
            }
        }
    }
    hits
}

async fn read(store: &Store, log: &[AggregateFrame], breaks: &[Break]) -> usize {
    let items: Vec<Item> =
        log.iter().enumerate().map(|(n, frame)| windows(n as i64, frame.clone())).collect();
    let end = T0 + 10_000 * (log.len() as i64 * 3 + 1);
    let mut sink = Instance::new(store);
    let mut generation = sink.assign(store).await;
    let (mut hits, mut turn) = (0, 0);
    // each topic has offsets of its own; here they share one numbering, which may have gaps like Kafka's
    let mut from = 0;
    while from < items.len() {
        let (size, step, packing) = breaks[turn % breaks.len()];
        turn += 1;
        if let Some(chunks) = packing {
            pack(store, chunks, 30).await;
        }
        let batch = &items[from..items.len().min(from + size)];
        if let Some(step) = step.filter(|_| turn < 200) {
            let mut conn = store.history.pool().acquire().await.expect("connection");
            sink.committer.writer.forget();
            sink.committer.writer.stop_before(Some(STEPS[step]));
            let mut owned = sink.owned.lock().await;
            let result = sink.committer.writer.write(&mut conn, batch, &mut owned.positions).await;
            assert!(result.is_err(), "{result:?}");
            drop(owned);
            drop(conn);
            // the process is gone: a new one reads where to go on
            sink = Instance::new(store);
            generation = sink.assign(store).await;
            let batch = vec![batch.to_vec()];
            sink.commit(generation, batch).await;
        } else {
            sink.commit(generation, vec![batch.to_vec()]).await;
        }
        from += batch.len();
        hits += compare_redis(store, end).await;
    }
    assert!(sink.letters.0.lock().expect("lock").is_empty());
    hits
}

#[test]
fn whatever_breaks_off_the_rows_are_those_of_the_log_read_once() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() });
    let hits = std::cell::Cell::new(0);
    let result = runner.run(&(draws(), breaks()), |(draws, breaks)| {
        let log = log(&draws);
        runtime.block_on(async {
            let db = database().await;
            hits.set(hits.get() + read(&db.store, &log, &breaks).await);
            for _ in 0..2 {
                for tier in Tier::ALL {
                    assert_eq!(stored(&db.store, tier).await, reference(&log, tier), "{}", tier.as_str());
                    let (found, wanted) =
                        (stored_histograms(&db.store, tier).await, reference_histograms(&log, tier));
                    assert_eq!(found, wanted, "histograms of {}", tier.as_str());
                }
                pack(&db.store, usize::MAX, 30).await;
            }
            let last =
                |tier: Tier| log.iter().rposition(|f| f.window_ms == tier.window_ms()).map(|n| n as i64 + 1);
            assert_eq!(next_offset(&db.store, "m.10s").await, last(Tier::TenSeconds));
            assert_eq!(next_offset(&db.store, "m.1m").await, last(Tier::Minute));
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(hits.get() > 0, "Redis never answered: nothing was compared");
}
