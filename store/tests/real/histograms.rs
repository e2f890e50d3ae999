//! The windows of histograms, what is written of them and what is read: on a real PostgreSQL.

use std::collections::BTreeMap;

use sqlx::{Acquire, PgConnection, pool::PoolConnection};
use tidewatch_schemas::{Buckets, Distribution, Origin, Series};
use tidewatch_store::{
    Error, HistogramQuery, HistogramRow, Tier,
    merge::merge_histogram,
    testing::{Database, Stack},
    write::{
        catalog, histograms,
        partitions::{self, Partitioned},
    },
};

/// A whole hour.
const T0: i64 = 1_795_392_000_000;
const MINUTE: i64 = 60_000;

async fn database() -> (Database, PoolConnection<sqlx::Postgres>) {
    let db = Stack::shared().expect("stack").database().await.expect("database");
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    for tier in Tier::ALL {
        partitions::ensure(&mut conn, Partitioned::Histograms(tier).of(T0)).await.expect("partition");
    }
    (db, conn)
}

/// `n` observations in each of three buckets, one of them below zero.
fn row(series_id: i32, ts_ms: i64, n: i64) -> HistogramRow {
    let observed = Distribution {
        count: 3 * n,
        zero_count: 0,
        scale: 3,
        zero_threshold: 0.25,
        sum: 0.5 * n as f64,
        min: -1.0,
        max: 2.0,
        positive: Buckets { offset: -4, counts: vec![n, 0, n] },
        negative: Buckets { offset: 7, counts: vec![n] },
    };
    HistogramRow { series_id, ts_ms, observed, origin: Origin { partition: 1, offset: ts_ms / 1_000 } }
}

/// Everything there is.
async fn all(db: &Database, query: &HistogramQuery) -> Result<Vec<HistogramRow>, Error> {
    let mut rows = Vec::new();
    let take = |row| {
        rows.push(row);
        Ok(())
    };
    db.store.history.histograms(query, take).await?;
    Ok(rows)
}

fn query(series: &[i32], tier: Tier, step_ms: i64) -> HistogramQuery {
    let (from_ms, to_ms) = (T0, T0 + 60 * MINUTE);
    HistogramQuery { series: series.to_vec(), tier, step_ms, from_ms, to_ms, buckets: true, limit: 10_000 }
}

#[tokio::test]
async fn rows_come_back_bit_for_bit_copied_or_replaced() {
    let (db, mut conn) = database().await;
    let edge = |id: i32, observed: Distribution| HistogramRow { observed, ..row(id, T0, 1) };
    let unknown = Distribution {
        sum: f64::NAN,
        min: f64::NAN,
        max: f64::NAN,
        positive: Buckets::default(),
        ..row(1, T0, 1).observed
    };
    let extreme = Distribution {
        count: i64::MAX,
        zero_count: i64::MAX,
        scale: -10,
        sum: f64::MAX,
        min: -0.0,
        max: 5e-324,
        positive: Buckets { offset: i32::MIN, counts: vec![i64::MAX; 160] },
        negative: Buckets::default(),
        ..unknown.clone()
    };
    let rows = [row(1, T0, 5), edge(2, unknown), edge(3, extreme)];
    histograms::copy_in(&mut conn, Tier::Minute, &rows).await.expect("copy");
    let found = all(&db, &query(&[1, 2, 3], Tier::Minute, MINUTE)).await.expect("read");
    assert_eq!(format!("{found:?}"), format!("{rows:?}"));
    let again = histograms::copy_in(&mut conn, Tier::Minute, &rows[..1]).await;
    assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    // the same bits by the other way, some in place of others
    let swapped = [
        HistogramRow { series_id: 1, ..rows[2].clone() },
        HistogramRow { series_id: 2, ..rows[0].clone() },
        HistogramRow { series_id: 4, ..rows[1].clone() },
    ];
    histograms::replace(&mut conn, Tier::Minute, &swapped).await.expect("replace");
    let keys = [(1, T0), (2, T0), (4, T0), (5, T0)];
    let there = histograms::existing(&mut conn, Tier::Minute, &keys).await.expect("existing");
    assert_eq!(there.len(), 3);
    for row in &swapped {
        assert_eq!(format!("{:?}", there[&(row.series_id, T0)]), format!("{row:?}"));
    }
    // anyone can read them
    let seen: (i64, Vec<i64>) =
        sqlx::query_as("SELECT count, positive FROM histograms_1m WHERE series_id = 2")
            .fetch_one(&mut *conn)
            .await
            .expect("select");
    assert_eq!(seen, (15, vec![5, 0, 5]));
    let by_hand: Vec<(f64, i64)> = sqlx::query_as(
        "SELECT (2 ^ ((positive_offset + n) * 2.0 ^ -scale))::float8 AS up_to, c AS observations
         FROM histograms_1m, UNNEST(positive) WITH ORDINALITY u(c, n) WHERE series_id = 2 ORDER BY n",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("select");
    // buckets -4 to -2 of scale 3 end at 2^(-3/8), 2^(-2/8) and 2^(-1/8)
    let ends = [-3.0, -2.0, -1.0_f64].map(|eighths| (eighths / 8.0).exp2());
    assert_eq!(by_hand.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [5, 0, 5]);
    assert!(by_hand.iter().zip(ends).all(|((found, _), end)| (found - end).abs() < 1e-9), "{by_hand:?}");
}

/// A part goes to the row that is there, as the sink does it.
async fn put(conn: &mut PgConnection, part: &HistogramRow) {
    let key = (part.series_id, part.ts_ms);
    let mut there = histograms::existing(conn, Tier::TenSeconds, &[key]).await.expect("existing");
    let row = match there.remove(&key) {
        Some(mut row) => merge_histogram(&mut row, part).then_some(row),
        None => Some(part.clone()),
    };
    histograms::replace(conn, Tier::TenSeconds, row.as_slice()).await.expect("replace");
}

#[tokio::test]
async fn parts_in_any_scale_make_the_whole_and_a_second_copy_nothing() {
    let (db, mut conn) = database().await;
    let part = |offset: i64, scale: i32, first: i32, n: i64| HistogramRow {
        observed: Distribution {
            count: n * 4,
            scale,
            positive: Buckets { offset: first, counts: vec![n; 4] },
            negative: Buckets::default(),
            ..row(1, T0, 1).observed
        },
        origin: Origin { partition: 0, offset },
        ..row(1, T0, 1)
    };
    let parts = [part(3, 5, -90, 1), part(7, 2, 4, 2), part(9, 4, 60, 3)];
    let mut whole = Distribution::default();
    for part in &parts {
        // one that is rolled back leaves nothing
        let mut transaction = conn.begin().await.expect("begin");
        put(&mut transaction, part).await;
        transaction.rollback().await.expect("rollback");
        put(&mut conn, part).await;
        put(&mut conn, part).await;
        whole.merge(&part.observed);
    }
    put(&mut conn, &parts[1]).await;
    let found = all(&db, &query(&[1], Tier::TenSeconds, 10_000)).await.expect("read");
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].observed, found[0].origin), (&whole, parts[2].origin));
    assert_eq!((whole.count, whole.scale), (24, 2));
}

#[tokio::test]
async fn steps_are_made_of_the_longest_windows_as_far_as_these_are_closed() {
    let (db, mut conn) = database().await;
    // an hour of minutes, of which the first 40 minutes are closed in fives
    let minutes: Vec<_> =
        [7, 8].iter().flat_map(|id| (0..60).map(|n| row(*id, T0 + n * MINUTE, 1))).collect();
    histograms::copy_in(&mut conn, Tier::Minute, &minutes).await.expect("copy");
    let fives: Vec<_> =
        [7, 8].iter().flat_map(|id| (0..8).map(|n| row(*id, T0 + n * 5 * MINUTE, 5))).collect();
    histograms::copy_in(&mut conn, Tier::FiveMinutes, &fives).await.expect("copy");
    let counts = async |query: &HistogramQuery| {
        let rows = all(&db, query).await.expect("read");
        let mut counts: BTreeMap<(i32, i64), i64> = BTreeMap::new();
        for row in &rows {
            *counts.entry((row.series_id, (row.ts_ms - T0) / query.step_ms)).or_default() +=
                row.observed.count;
        }
        (rows.len(), counts)
    };
    let every = |steps: i64, count: i64| -> BTreeMap<(i32, i64), i64> {
        [7, 8].iter().flat_map(|id| (0..steps).map(move |step| ((*id, step), count))).collect()
    };
    assert_eq!(counts(&query(&[7, 8], Tier::Minute, MINUTE)).await, (120, every(60, 3)));
    assert_eq!(counts(&query(&[7, 8], Tier::FiveMinutes, 5 * MINUTE)).await, (2 * (8 + 20), every(12, 15)));
    // a step of 15 minutes is closed up to 30 minutes
    assert_eq!(counts(&query(&[7, 8], Tier::FiveMinutes, 15 * MINUTE)).await, (2 * (6 + 30), every(4, 45)));
    let sums = HistogramQuery { buckets: false, ..query(&[7], Tier::FiveMinutes, 5 * MINUTE) };
    let rows = all(&db, &sums).await.expect("read");
    assert!(rows.iter().all(|row| row.observed.positive.counts.is_empty() && row.observed.sum > 0.0));
    let few = HistogramQuery { limit: 27, ..query(&[7], Tier::FiveMinutes, 5 * MINUTE) };
    assert!(matches!(all(&db, &few).await, Err(Error::TooMuch(27))));
    assert_eq!(all(&db, &HistogramQuery { limit: 28, ..few }).await.expect("read").len(), 28);
    // of a tier alone, what is closed of it
    let mut own = Vec::new();
    let take = |row: HistogramRow| {
        own.push((row.series_id, row.ts_ms, row.observed.positive.counts.len()));
        Ok(())
    };
    let of_tier = query(&[7, 8], Tier::FiveMinutes, MINUTE);
    db.store.history.histograms_of_tier(&of_tier, take).await.expect("read");
    let closed = [7, 8].into_iter().flat_map(|id| (0..8).map(move |n| (id, T0 + n * 5 * MINUTE, 3)));
    assert_eq!(own, closed.collect::<Vec<_>>());
    // whoever has enough says so
    let mut taken = 0;
    let stop = |_| {
        taken += 1;
        if taken == 3 { Err(Error::TooMuch(3)) } else { Ok(()) }
    };
    let stopped = db.store.history.histograms(&query(&[7], Tier::Minute, MINUTE), stop).await;
    assert!(matches!(stopped, Err(Error::TooMuch(3))) && taken == 3);
    assert_eq!(all(&db, &query(&[], Tier::Minute, MINUTE)).await.expect("nothing"), []);
}

#[tokio::test]
async fn a_histogram_is_a_series_of_its_own_whatever_it_is_called() {
    let (db, mut conn) = database().await;
    let history = &db.store.history;
    let server = catalog::servers(&mut conn, &[("a", T0)]).await.expect("server")[0].id;
    let (took, load) = (Series::gauge("took", "seconds").with("route", "/"), Series::gauge("load", ""));
    let values =
        catalog::insert_series(&mut conn, &[(server, &took), (server, &load)]).await.expect("series");
    let made = catalog::insert_histograms(&mut conn, &[(server, &took)]).await.expect("histograms");
    let again = catalog::insert_histograms(&mut conn, &[(server, &took)]).await.expect("histograms");
    assert_eq!(made, again, "ids are made once");
    assert!(values.iter().all(|one| one.id != made[0].id));
    assert_eq!((made[0].unit.as_str(), &made[0].labels), ("seconds", &took.labels));
    let names = ["took".to_owned()];
    assert_eq!(history.series(server, &[]).await.expect("series").len(), 2);
    assert_eq!(history.histogram_names(9).await.expect("names"), names);
    assert!(history.histogram_names(0).await.expect("no names").is_empty());
    assert_eq!(history.histogram_series(server, &[]).await.expect("histograms"), made);
    assert_eq!(history.histogram_series(server, &["load".to_owned()]).await.expect("none"), []);
    let ids = |series: Vec<tidewatch_store::SeriesMeta>| series.iter().map(|one| one.id).collect::<Vec<_>>();
    let value = values.iter().find(|one| one.metric_name == "took").expect("took").id;
    assert_eq!(ids(history.series_named(&names, None, 9).await.expect("values")), [value]);
    assert_eq!(ids(history.histograms_named(&names, Some(&[server]), 9).await.expect("named")), [made[0].id]);
    assert_eq!(ids(history.histograms_named(&names, Some(&[]), 9).await.expect("none")), Vec::<i32>::new());
    let (series, histograms) = catalog::series_of(&mut conn, &[server]).await.expect("all");
    assert_eq!((series.len(), histograms), (2, made));
}
