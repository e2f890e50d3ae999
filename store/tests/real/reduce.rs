//! Many series reduced in the database, against the same done by hand: on a real PostgreSQL.

use std::collections::BTreeMap;

use tidewatch_schemas::{Origin, Series, SeriesKind};
use tidewatch_store::{
    Across, Error, OverTime, ReduceQuery, Tier, WindowRow,
    testing::{Database, Stack},
    write::{
        catalog,
        partitions::{self, Partitioned},
        samples,
    },
};

/// A whole hour.
const T0: i64 = 1_795_392_000_000;
const MINUTE: i64 = 60_000;
const SERIES: i32 = 120;
/// Windows of 10 s of each series: more than one walk reads alone.
const WINDOWS: i64 = 480;

/// Series differ, miss windows, and start from zero now and then; `None` is a gap.
fn window(series: i32, n: i64) -> Option<WindowRow> {
    let (s, gap) = (i64::from(series), (n + i64::from(series)) % 97);
    // a gap that is joined, and one that is too long for it
    if gap < 3 || (n / 20 == 9 && s % 2 == 0) {
        return None;
    }
    let value = |at: i64| ((at % 150) * (s % 7 + 1)) as f64;
    let (first, last) = (value(3 * n), value(3 * n + 2));
    Some(WindowRow {
        series_id: series,
        ts_ms: T0 + n * 10_000,
        count: 2 + n % 3,
        sum: first + last,
        min: first.min(last) - 1.0,
        max: first.max(last) + 1.0,
        first,
        last,
        first_at: 500,
        last_at: 9_000,
        m2: 0.0,
        increase: if last < first { last } else { last - first },
        resets: 0,
        origin: Origin { partition: 0, offset: n },
    })
}

/// Several windows into one, as the stream processor does.
fn joined(rows: &[WindowRow], length: i64) -> WindowRow {
    let (a, z) = (rows[0], rows[rows.len() - 1]);
    let ts_ms = a.ts_ms.div_euclid(length) * length;
    let between =
        rows.windows(2).map(|p| if p[1].first < p[0].last { p[1].first } else { p[1].first - p[0].last });
    WindowRow {
        ts_ms,
        count: rows.iter().map(|r| r.count).sum(),
        sum: rows.iter().map(|r| r.sum).sum(),
        min: rows.iter().map(|r| r.min).fold(f64::INFINITY, f64::min),
        max: rows.iter().map(|r| r.max).fold(f64::NEG_INFINITY, f64::max),
        first: a.first,
        last: z.last,
        first_at: (a.ts_ms - ts_ms) as i32 + a.first_at,
        last_at: (z.ts_ms - ts_ms) as i32 + z.last_at,
        increase: rows.iter().map(|r| r.increase).sum::<f64>() + between.sum::<f64>(),
        ..a
    }
}

/// All series' windows; of five minutes only those of the first half, as if the rest were not closed.
async fn seeded() -> (Database, Vec<i32>) {
    let db = Stack::shared().expect("stack").database().await.expect("database");
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    for table in Partitioned::ALL {
        partitions::ensure(&mut conn, table.of(T0)).await.expect("partition");
    }
    let server = catalog::servers(&mut conn, &[("a", T0)]).await.expect("server")[0].id;
    let layout: Vec<Series> =
        (0..SERIES).map(|i| Series::counter("c", "").with("i", i.to_string())).collect();
    let new: Vec<_> = layout.iter().map(|series| (server, series)).collect();
    let mut ids: Vec<i32> =
        catalog::insert_series(&mut conn, &new).await.expect("series").iter().map(|s| s.id).collect();
    ids.sort_unstable();
    for tier in [Tier::TenSeconds, Tier::Minute, Tier::FiveMinutes] {
        let mut rows = Vec::new();
        for &id in &ids {
            let fine: Vec<_> = (0..WINDOWS).filter_map(|n| window(id, n)).collect();
            let length = tier.window_ms();
            let same =
                |a: &WindowRow, b: &WindowRow| a.ts_ms.div_euclid(length) == b.ts_ms.div_euclid(length);
            rows.extend(fine.chunk_by(same).map(|rows| joined(rows, length)));
        }
        if tier == Tier::FiveMinutes {
            rows.retain(|row| row.ts_ms < T0 + WINDOWS / 2 * 10_000);
        }
        samples::copy_in(&mut conn, tier, &rows).await.expect("windows");
    }
    drop(conn);
    (db, ids)
}

/// One series by hand, of its windows of 10 s: value by step.
fn by_hand(series: i32, step: i64, over_time: OverTime) -> BTreeMap<i64, f64> {
    let rows: Vec<_> = (0..WINDOWS).filter_map(|n| window(series, n)).collect();
    let mut steps: BTreeMap<i64, Vec<(WindowRow, f64, f64)>> = BTreeMap::new();
    let mut before: Option<WindowRow> = None;
    for row in rows {
        let (first, last) = (row.ts_ms + i64::from(row.first_at), row.ts_ms + i64::from(row.last_at));
        let near = before.filter(|b| first - (b.ts_ms + i64::from(b.last_at)) <= 150_000);
        let (grown, since) = near.map_or((row.increase, first), |b| {
            let jump = if row.first < b.last { row.first } else { row.first - b.last };
            (row.increase + jump, b.ts_ms + i64::from(b.last_at))
        });
        let step = row.ts_ms.div_euclid(step) * step;
        steps.entry(step).or_default().push((row, grown, (last - since) as f64));
        before = Some(row);
    }
    let value = |rows: &Vec<(WindowRow, f64, f64)>| {
        let sum = |of: fn(&(WindowRow, f64, f64)) -> f64| rows.iter().map(of).sum::<f64>();
        match over_time {
            OverTime::Avg => sum(|r| r.0.sum) / sum(|r| r.0.count as f64),
            OverTime::Sum => sum(|r| r.0.sum),
            OverTime::Count => sum(|r| r.0.count as f64),
            OverTime::Min => rows.iter().map(|r| r.0.min).fold(f64::INFINITY, f64::min),
            OverTime::Max => rows.iter().map(|r| r.0.max).fold(f64::NEG_INFINITY, f64::max),
            OverTime::Last => rows[rows.len() - 1].0.last,
            OverTime::Increase => sum(|r| r.1),
            OverTime::Rate => sum(|r| r.1) * 1_000.0 / sum(|r| r.2),
        }
    };
    steps.iter().map(|(step, rows)| (*step, value(rows))).collect()
}

fn group_by_hand(values: &[f64], across: Across) -> f64 {
    match across {
        Across::Avg => values.iter().sum::<f64>() / values.len() as f64,
        Across::Sum => values.iter().sum(),
        Across::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Across::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Across::Count => values.len() as f64,
    }
}

fn query(ids: &[i32], tier: Tier, step_ms: i64, over_time: OverTime, across: Option<Across>) -> ReduceQuery {
    let groups =
        ids.iter().enumerate().map(|(i, _)| if across.is_some() { i % 3 } else { i } as i32).collect();
    ReduceQuery {
        series: ids.to_vec(),
        groups,
        tier,
        step_ms,
        from_ms: T0,
        to_ms: T0 + WINDOWS * 10_000,
        lead_ms: 5 * MINUTE,
        over_time,
        across,
        limit: 1_000_000,
    }
}

async fn check(db: &Database, asked: &ReduceQuery) {
    let mut wanted: BTreeMap<(i32, i64), Vec<f64>> = BTreeMap::new();
    for (id, group) in asked.series.iter().zip(&asked.groups) {
        for (step, value) in by_hand(*id, asked.step_ms, asked.over_time) {
            wanted.entry((*group, step)).or_default().push(value);
        }
    }
    let found = db.store.history.reduce(asked).await.expect("reduced");
    let what = format!("{:?} {:?} {:?} {}", asked.over_time, asked.across, asked.tier, asked.step_ms);
    assert_eq!(found.len(), wanted.len(), "{what}");
    for one in found {
        let values = &wanted[&(one.group, one.ts_ms)];
        let value = asked.across.map_or(values[0], |across| group_by_hand(values, across));
        let near = (one.value - value).abs() <= 1e-9 * value.abs().max(1.0);
        assert!(near, "{what}: {} and not {value} at {}", one.value, (one.ts_ms - T0) / MINUTE);
    }
}

const OVER_TIME: [OverTime; 8] = [
    OverTime::Avg,
    OverTime::Min,
    OverTime::Max,
    OverTime::Sum,
    OverTime::Count,
    OverTime::Last,
    OverTime::Rate,
    OverTime::Increase,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_makes_of_many_series_is_what_a_person_would() {
    let (db, ids) = seeded().await;
    for over_time in OVER_TIME {
        for across in [None, Some(Across::Avg), Some(Across::Sum), Some(Across::Count)] {
            check(&db, &query(&ids, Tier::TenSeconds, 10_000, over_time, across)).await;
        }
        check(&db, &query(&ids, Tier::TenSeconds, 30_000, over_time, Some(Across::Min))).await;
        check(&db, &query(&ids, Tier::TenSeconds, 60_000, over_time, Some(Across::Max))).await;
        // few enough for one walk
        check(&db, &query(&ids[..7], Tier::TenSeconds, 20_000, over_time, Some(Across::Avg))).await;
        check(&db, &query(&ids[..7], Tier::TenSeconds, 20_000, over_time, None)).await;
    }
}

/// Longer windows are joined inside of themselves by another rule (every gap), so counters are left out here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_closed_yet_comes_from_shorter_windows() {
    let (db, ids) = seeded().await;
    for over_time in &OVER_TIME[..6] {
        for across in [None, Some(Across::Avg)] {
            check(&db, &query(&ids, Tier::Minute, MINUTE, *over_time, across)).await;
            check(&db, &query(&ids, Tier::FiveMinutes, 5 * MINUTE, *over_time, across)).await;
            check(&db, &query(&ids, Tier::FiveMinutes, 10 * MINUTE, *over_time, across)).await;
            // no hour is closed yet
            check(&db, &query(&ids, Tier::Hour, 60 * MINUTE, *over_time, across)).await;
        }
    }
    // the counter that has no gap in the middle: the tail goes on where the closed part ends
    let whole: Vec<i32> = ids.iter().copied().filter(|id| id % 2 == 1).take(1).collect();
    let grown = |tier, step| query(&whole, tier, step, OverTime::Increase, Some(Across::Sum));
    let mut sums = Vec::new();
    for (tier, step) in [(Tier::TenSeconds, 10_000), (Tier::Minute, MINUTE), (Tier::FiveMinutes, 5 * MINUTE)]
    {
        let found = db.store.history.reduce(&grown(tier, step)).await.expect("reduced");
        sums.push(found.iter().map(|one| one.value).sum::<f64>());
    }
    assert!(sums[0] > 0.0 && sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_bounded_and_names_are_resolved_within_bounds() {
    let (db, ids) = seeded().await;
    let history = &db.store.history;
    let most = ReduceQuery { limit: 100, ..query(&ids, Tier::TenSeconds, 10_000, OverTime::Avg, None) };
    assert!(matches!(history.reduce(&most).await, Err(Error::TooMuch(100))));
    let nothing = ReduceQuery { series: Vec::new(), groups: Vec::new(), ..most };
    assert_eq!(history.reduce(&nothing).await.expect("nothing"), []);

    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let found = history.series_named(&named(&["c", "x"]), None, 1_000).await.expect("series");
    assert_eq!(found.iter().map(|s| s.id).collect::<Vec<_>>(), ids);
    assert!(found.iter().all(|s| s.kind == SeriesKind::Counter));
    assert!(history.series_named(&named(&["c"]), Some(&[]), 1_000).await.expect("none").is_empty());
    assert!(matches!(history.series_named(&named(&["c"]), None, 7).await, Err(Error::TooMuch(7))));
    let injected = named(&["c' OR '1'='1"]);
    assert!(history.series_named(&injected, None, 1_000).await.expect("none").is_empty());
    let kept = history.kept_from().await.expect("kept");
    assert!(kept.iter().all(|first| first.is_some_and(|first| first <= T0)), "{kept:?}");
}
