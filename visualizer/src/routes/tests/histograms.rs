//! Questions about histograms of both forms on a real PostgreSQL: against the observations they were made of.

use std::collections::BTreeMap;

use tidewatch_schemas::{Buckets, Distribution, Origin, Series};
use tidewatch_store::{
    HistogramRow, Tier, WindowRow,
    write::{catalog, histograms, samples},
};

use super::{
    many::numbers,
    seed::{NOW, START},
    *,
};
use crate::params::{MINUTE, SECOND};

const SCALE: i32 = 3;
const SERVERS: [&str; 2] = ["web-1", "db.fra-2"];

/// What a server observed in a window of 10 s; in some nothing.
fn observations(server: usize, ts: i64) -> Vec<f64> {
    let n = (ts - START) / (10 * SECOND);
    let count = if n % 11 == 0 { 0 } else { 3 + n % 5 + 20 * server as i64 };
    (0..count).map(|i| 0.001 * (1 + (37 * i + 13 * n) % 997) as f64 * (1.0 + 9.0 * server as f64)).collect()
}

fn distribution(values: &[f64]) -> Distribution {
    let mut sum = Distribution::default();
    for value in values {
        let index = (value.log2() * f64::from(SCALE).exp2()).ceil() as i32 - 1;
        sum.merge(&Distribution {
            count: 1,
            zero_count: 0,
            scale: SCALE,
            zero_threshold: 0.0,
            sum: *value,
            min: *value,
            max: *value,
            positive: Buckets { offset: index, counts: vec![1] },
            negative: Buckets::default(),
        });
    }
    sum
}

/// All that some servers observed, by step.
fn by_step(servers: &[usize], step: i64) -> BTreeMap<i64, Vec<f64>> {
    let mut steps: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for ts in (START..NOW).step_by(10_000) {
        for server in servers {
            let values = observations(*server, ts);
            if !values.is_empty() {
                steps.entry(ts.div_euclid(step) * step).or_default().extend(values);
            }
        }
    }
    for values in steps.values_mut() {
        values.sort_by(f64::total_cmp);
    }
    steps
}

/// What is made of all values of a step, and its length.
type Sum = fn(&[f64], i64) -> f64;

/// Histograms of both servers, and the counters of classic ones, whose bounds differ.
async fn seed_histograms(store: &Store) {
    let mut conn = store.history.pool().acquire().await.expect("connect");
    let servers = store.history.servers().await.expect("servers");
    let id = |name: &str| servers.iter().find(|server| server.name == name).expect("server").id;
    let took = Series::gauge("took", "seconds").with("route", "/");
    for (n, name) in SERVERS.into_iter().enumerate() {
        let series =
            catalog::insert_histograms(&mut conn, &[(id(name), &took)]).await.expect("histograms")[0].id;
        for tier in [Tier::TenSeconds, Tier::Minute] {
            let row = |(ts_ms, values): (&i64, &Vec<f64>)| HistogramRow {
                series_id: series,
                ts_ms: *ts_ms,
                observed: distribution(values),
                origin: Origin { partition: 0, offset: *ts_ms },
            };
            let rows: Vec<_> = by_step(&[n], tier.window_ms()).iter().map(row).collect();
            histograms::copy_in(&mut conn, tier, &rows).await.expect("rows");
        }
        let buckets: &[(&str, f64)] = if n == 0 {
            &[("0.1", 3.0), ("0.5", 8.0), ("+Inf", 10.0)]
        } else {
            &[("0.1", 1.0), ("1", 10.0), ("+Inf", 10.0)]
        };
        for (le, grown) in buckets {
            let series = Series::counter("took_bucket", "").with("le", *le);
            let series =
                catalog::insert_series(&mut conn, &[(id(name), &series)]).await.expect("series")[0].id;
            let windows = (START..NOW).step_by(10_000).enumerate().map(|(i, ts_ms)| {
                let last = grown * (i + 1) as f64;
                let first = last - grown / 2.0;
                WindowRow {
                    series_id: series,
                    ts_ms,
                    count: 2,
                    sum: first + last,
                    min: first,
                    max: last,
                    first,
                    last,
                    first_at: 1_000,
                    last_at: 6_000,
                    m2: 0.0,
                    increase: last - first,
                    resets: 0,
                    origin: Origin { partition: 0, offset: ts_ms },
                }
            });
            let windows: Vec<_> = windows.collect();
            samples::copy_in(&mut conn, Tier::TenSeconds, &windows).await.expect("windows");
        }
    }
}

fn exact(sorted: &[f64], q: f64) -> f64 {
    let rank = q * sorted.len() as f64;
    sorted[(1..=sorted.len()).find(|n| *n as f64 >= rank).expect("rank") - 1]
}

async fn lines(service: &Service, query: &str) -> Vec<Value> {
    let answer = service.get(&format!("/api/v1/query?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    assert_eq!(answer.header("x-tidewatch-source"), Some("postgres"), "{query}");
    answer.body["series"].as_array().expect("series").clone()
}

/// Each value of a line against what `of` makes of the observations in its step, as near as `error` says.
fn check(what: &str, values: &Value, servers: &[usize], step: i64, error: f64, of: impl Fn(&[f64]) -> f64) {
    let (observed, from) = (by_step(servers, step), NOW - 10 * MINUTE);
    let values = numbers(values);
    assert_eq!(values.len() as i64, 10 * MINUTE / step, "{what}");
    let mut compared = 0;
    for (found, ts) in values.into_iter().zip((from..NOW).step_by(step as usize)) {
        let wanted = observed.get(&ts).map(|values| of(values));
        match (found, wanted) {
            (Some(found), Some(wanted)) => {
                let near = (found - wanted).abs() <= (error + 1e-9) * wanted.abs();
                assert!(near, "{what}: {found} and not {wanted} at {}", (ts - from) / step);
                compared += 1;
            }
            (found, wanted) => assert_eq!(found, wanted, "{what} at {}", (ts - from) / step),
        }
    }
    assert!(compared >= 5, "{what}: {compared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_are_merged_before_anything_is_made_of_them() {
    let stack = Stack::start("postgres redis");
    let service = Service::start(&stack).await;
    seed_histograms(&service.store).await;
    for step in [10_000, 20_000, 60_000, 120_000] {
        let range = format!("metric=took&from=now-10m&step={step}");
        for q in [0.0, 0.5, 0.9, 0.99, 1.0] {
            let question = format!("{range}&agg=quantile&q={q}");
            let each = lines(&service, &question).await;
            assert_eq!(each.len(), 2);
            for line in &each {
                let server = SERVERS.iter().position(|name| line["server"]["name"] == *name).expect("server");
                let error = line["relative_error"].as_f64().expect("error");
                assert!((error - 0.0433).abs() < 1e-4, "{error}");
                check(&question, &line["values"], &[server], step, error, |all| exact(all, q));
            }
            for group in ["group=merge", "by=route", "by=route&group=merge"] {
                let all = lines(&service, &format!("{question}&{group}")).await;
                assert_eq!((all.len(), &all[0]["series"]), (1, &2.into()), "{group}");
                check(&question, &all[0]["values"], &[0, 1], step, 0.0434, |all| exact(all, q));
            }
            let one = lines(&service, &format!("{question}&server=db.fra-2")).await;
            assert_eq!((one.len(), &one[0]["server"]["name"]), (1, &"db.fra-2".into()));
        }
        let sums: [(&str, Sum); 6] = [
            ("avg", |all, _| all.iter().sum::<f64>() / all.len() as f64),
            ("min", |all, _| all[0]),
            ("max", |all, _| all[all.len() - 1]),
            ("sum", |all, _| all.iter().sum()),
            ("count", |all, _| all.len() as f64),
            ("rate", |all, step| all.len() as f64 * 1_000.0 / step as f64),
        ];
        for (agg, of) in sums {
            let all = lines(&service, &format!("{range}&agg={agg}&group=merge")).await;
            check(agg, &all[0]["values"], &[0, 1], step, 0.0, |all| of(all, step));
        }
        // the chart of a server, beside its other series
        for names in ["", "&metric=took"] {
            let series = lines(&service, &format!("server=web-1{names}&from=now-10m&step={step}")).await;
            assert!(series.is_sorted_by_key(|one| one["series_id"].as_i64()));
            let one = series.iter().find(|one| one["metric"] == "took").expect("a histogram");
            assert_eq!((&one["kind"], &one["unit"]), (&"histogram".into(), &"seconds".into()));
            for (column, of) in [("avg", sums[0].1), ("min", sums[1].1), ("max", sums[2].1)] {
                check(column, &one[column], &[0], step, 0.0, |all| of(all, step));
            }
        }
    }
    let unasked = lines(&service, "metric=took&from=now-10m&step=60000").await;
    check("avg", &unasked[0]["values"], &[1], 60_000, 0.0, |all| all.iter().sum::<f64>() / all.len() as f64);
    let values = service.get("/api/v1/metrics/web-1?metric=took&from=now-10m").await;
    assert_eq!(
        (values.status, values.body),
        (200, Value::Array(Vec::new())),
        "no single value stands for it"
    );
    classic_ones_are_merged_by_the_bounds_they_share(&service).await;
    formats_and_bad_questions(&service).await;
}

async fn classic_ones_are_merged_by_the_bounds_they_share(service: &Service) {
    for (more, wanted) in [
        ("server=web-1&q=0.5", 0.26),
        ("server=web-1&q=0.99", 0.5),
        ("server=db.fra-2&q=0.55", 0.55),
        // up to 0.1 there are 4 of 20, and nothing is known of 0.5 or 1 for both
        ("group=merge&q=0.1", 0.05),
        ("group=merge&q=0.5", 0.1),
    ] {
        for step in [10_000, 30_000] {
            let found =
                lines(service, &format!("metric=took_bucket&agg=quantile&{more}&from=now-10m&step={step}"))
                    .await;
            assert_eq!(found.len(), 1, "{more}");
            assert_eq!(found[0]["relative_error"], Value::Null);
            let values = numbers(&found[0]["values"]);
            assert_eq!(values.len() as i64, 10 * MINUTE / step);
            let near = |value: &Option<f64>| value.is_some_and(|value| (value - wanted).abs() < 1e-9);
            assert!(values.iter().all(near), "{more}: {values:?}");
        }
    }
}

async fn formats_and_bad_questions(service: &Service) {
    let csv = Request::get("/api/v1/query?metric=took&agg=quantile&q=0.5&from=now-10m&step=60000&format=csv");
    let answer =
        service.router.clone().oneshot(csv.body(Body::empty()).expect("request")).await.expect("answer");
    let text = to_bytes(answer.into_body(), 1 << 20).await.expect("body");
    let text = String::from_utf8(text.to_vec()).expect("text");
    assert!(text.starts_with("time,metric,server,labels,value\r\n") && text.lines().count() == 21, "{text}");
    for (query, status, parameter) in [
        ("metric=took&agg=quantile", 400, "q"),
        ("metric=took&agg=quantile&q=1.5", 400, "q"),
        ("metric=took&agg=quantile&q=-0.1", 400, "q"),
        ("metric=took&agg=avg&q=0.5", 400, "q"),
        ("metric=node_load1&agg=quantile&q=0.5", 400, "agg"),
        ("metric=node_disk_read_bytes_total&agg=quantile&q=0.5", 400, "agg"),
        ("server=web-1&metric=node_load1&agg=quantile&q=0.5", 400, "agg"),
        ("metric=took&agg=last", 400, "agg"),
        ("metric=took&group=avg", 400, "group"),
        ("metric=node_load1&group=merge", 400, "group"),
        ("metric=took_bucket&agg=quantile&q=0.5&by=le", 400, "by"),
        ("metric=took,node_load1", 400, "metric"),
        ("metric=tok&agg=quantile&q=0.5", 404, "metric"),
        ("server=web-1&q=0.5", 400, "q"),
        ("server=web-1&agg=quantile&q=0.5", 400, "metric"),
        ("metric=took&agg=quantile&q=0.5&from=now-400d&step=10000", 400, "step"),
    ] {
        let answer = service.get(&format!("/api/v1/query?{query}")).await;
        let found = (answer.status, answer.body["parameter"].as_str().unwrap_or_default());
        assert_eq!(found, (status, parameter), "{query}: {}", answer.body);
    }
}
