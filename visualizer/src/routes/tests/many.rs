//! Questions over many servers on a real PostgreSQL: against the answers for one server, and what is refused.

use super::*;

fn series(answer: &Answered) -> &Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["series"].as_array().expect("series")
}

pub(super) fn numbers(values: &Value) -> Vec<Option<f64>> {
    values.as_array().expect("values").iter().map(Value::as_f64).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_servers_are_answered_as_each_of_them_is() {
    let stack = Stack::start("postgres redis");
    let service = Service::start(&stack).await;
    let metrics = ["node_load1", "node_disk_read_bytes_total", "tidewatch_host_cpu_busy_percent"];
    for metric in metrics {
        for step in [10_000, 20_000, 60_000] {
            let range = format!("metric={metric}&from=now-10m&to=now&step={step}");
            let one = service.get(&format!("/api/v1/query?server=web-1&{range}")).await;
            let many = service.get(&format!("/api/v1/query?{range}")).await;
            assert_eq!(many.header("x-tidewatch-source"), Some("postgres"));
            assert_eq!(many.body["tier"], if step == 60_000 { "1m" } else { "10s" });
            assert_eq!(series(&one).len(), series(&many).len(), "{range}");
            for (one, many) in series(&one).iter().zip(series(&many)) {
                assert_eq!((&one["labels"], &many["server"]["name"]), (&many["labels"], &"web-1".into()));
                // minutes join the samples inside of them over any gap, charts of ten seconds do not
                let near = |(a, b): (Option<f64>, Option<f64>)| match (a, b) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs(),
                    (a, b) => a == b,
                };
                let (one, many) = (numbers(&one["avg"]), numbers(&many["values"]));
                assert_eq!(one.len(), many.len());
                assert!(one.iter().copied().zip(many.iter().copied()).all(near), "{range}: {one:?} {many:?}");
            }
        }
    }
    groups_are_made(&service).await;
    formats_hold_the_same(&service).await;
    bad_questions_are_refused(&service).await;
}

/// Twenty days of minutes of everybody.
const DEAR: &str = "/api/v1/query?metric=node_load1&from=now-20d&to=now&step=60000&group=avg";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dear_question_is_asked_once_for_all_instances() {
    let stack = Stack::start("postgres redis");
    let service = Service::start(&stack).await;
    let another = || instance(&stack, &service.store).0;
    let first = service.get(DEAR).await;
    assert_eq!((first.status, first.header("x-tidewatch-source")), (200, Some("postgres")));
    assert!(!series(&first).is_empty());
    let second = get_from(&another(), DEAR).await;
    assert_eq!((second.header("x-tidewatch-source"), &second.body), (Some("redis"), &first.body));

    let config = stack.config();
    let client = redis::Client::open(config.store.redis_url.reveal()).expect("client");
    let mut redis = client.get_multiplexed_async_connection().await.expect("connect");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*kept:*").query_async(&mut redis).await.expect("keys");
    let [key] = &keys[..] else { panic!("one question was dear: {keys:?}") };
    let lifetime: i64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await.expect("lifetime");
    assert!((1..=10_000).contains(&lifetime), "{lifetime}");
    let old = |as_of: i64| rmp_serde::to_vec(&(as_of, [(0, NOW - 60_000, 4.5)])).expect("text");
    for (wrong, source) in [
        (b"garbage of somebody else".to_vec(), "postgres"),
        (old(NOW - 5_001), "postgres"),
        (old(NOW + 1), "postgres"),
        (old(NOW - 4_000), "redis"),
    ] {
        let () = redis::cmd("SET").arg(key).arg(wrong).query_async(&mut redis).await.expect("set");
        let answer = get_from(&another(), DEAR).await;
        assert_eq!(answer.header("x-tidewatch-source"), Some(source));
        let as_of = answer.body["as_of"].as_i64().expect("time");
        assert_eq!(as_of, if source == "redis" { NOW - 4_000 } else { NOW });
    }
}

/// The same answer, written in three ways.
async fn formats_hold_the_same(service: &Service) {
    for question in [
        "/api/v1/query?metric=node_load1&from=now-10m&step=10000",
        "/api/v1/query?server=web-1&metric=node_load1&from=now-10m&step=10000",
        "/api/v1/metrics/web-1?metric=node_load1&from=now-10m&limit=20",
    ] {
        let json = service.get(question).await.body;
        let ask = async |path: &str, accept: &str| {
            let request = Request::get(path).header(header::ACCEPT, accept);
            let request = request.body(Body::empty()).expect("request");
            let response = service.router.clone().oneshot(request).await.expect("an answer");
            let (parts, body) = response.into_parts();
            let kind = parts.headers[header::CONTENT_TYPE].to_str().expect("text").to_owned();
            let link = parts.headers.get(header::LINK).map(|link| link.to_str().expect("text").to_owned());
            (kind, to_bytes(body, 1 << 20).await.expect("body"), link)
        };
        let (kind, packed, _) = ask(question, "application/msgpack").await;
        let packed: Value = rmp_serde::from_slice(&packed).expect("MessagePack");
        assert_eq!((kind.as_str(), packed), ("application/msgpack", json.clone()));
        let (kind, csv, link) = ask(&format!("{question}&format=csv"), "application/json").await;
        assert!(kind.starts_with("text/csv"), "{kind}");
        assert_eq!(link.is_some_and(|link| link.contains("format=csv")), question.contains("/metrics/"));
        let csv = String::from_utf8(csv.to_vec()).expect("text");
        let found: Vec<Option<f64>> =
            csv.lines().skip(1).map(|line| line.split(',').nth(3)?.parse().ok()).collect();
        let wanted: Vec<Option<f64>> = if let Some(rows) = json.as_array() {
            rows.iter().map(|row| row["value"].as_f64()).collect()
        } else {
            let one = &json["series"][0];
            let values = if one["values"].is_null() { &one["avg"] } else { &one["values"] };
            numbers(values).into_iter().flatten().map(Some).collect()
        };
        // the many's server stands before its labels, and nothing here has a comma in it
        let found = if csv.starts_with("time,metric,server") {
            csv.lines().skip(1).map(|line| line.split(',').nth(4)?.parse().ok()).collect()
        } else {
            found
        };
        assert!(wanted.len() >= 20, "{wanted:?}");
        assert_eq!(found, wanted, "{csv}");
    }
    let xml = service.get("/api/v1/query?metric=node_load1&format=xml").await;
    assert_eq!((xml.status, &xml.body["parameter"]), (400, &"format".into()));
}

async fn groups_are_made(service: &Service) {
    let disk = "/api/v1/query?metric=node_disk_read_bytes_total&from=now-10m&step=10000";
    let each = service.get(disk).await;
    let columns: Vec<_> = series(&each).iter().map(|line| numbers(&line["values"])).collect();
    assert_eq!(each.body["agg"], "rate");
    let sums: Vec<_> =
        (0..columns[0].len()).map(|i| columns[0][i].zip(columns[1][i]).map(|(a, b)| a + b)).collect();
    for by in ["", "&by=server", "&by=server.os", "&by=server,server.dc"] {
        let grouped = service.get(&format!("{disk}&group=sum{by}")).await;
        let lines = series(&grouped);
        assert_eq!((lines.len(), &lines[0]["series"]), (1, &2.into()), "{by}");
        assert_eq!(numbers(&lines[0]["values"]), sums, "{by}");
        assert_eq!(
            lines[0]["server"]["name"].as_str(),
            by.starts_with("&by=server").then_some("web-1").filter(|_| by != "&by=server.os")
        );
        assert_eq!(lines[0]["labels"]["server.os"].as_str(), (by == "&by=server.os").then_some("Debian"));
    }
    let matched =
        service.get(&format!("{disk}&match=device%3D~sd%5Bbc%5D&match=server.name!%3Ddb.fra-2")).await;
    assert_eq!(series(&matched).len(), 1);
    assert_eq!(series(&matched)[0]["labels"]["device"], "sdb");
    assert!(series(&service.get(&format!("{disk}&match=server.name%3Ddb.fra-2")).await).is_empty());
    let one = service.get(&format!("{disk}&server=web-1&agg=rate")).await;
    assert_eq!(series(&one), series(&each));
    assert!(series(&service.get(&format!("{disk}&server=db.fra-2&agg=rate")).await).is_empty());
    // two samples in each window
    let count = service.get("/api/v1/query?metric=node_load1&agg=count&from=now-10m&step=60000").await;
    assert_eq!(
        numbers(&series(&count)[0]["values"])[..5],
        [Some(12.0), Some(12.0), Some(12.0), Some(12.0), None]
    );
}

async fn bad_questions_are_refused(service: &Service) {
    for (query, status, code, parameter) in [
        ("from=now-1h", 400, "bad_parameter", "metric"),
        ("metric=nothing", 404, "unknown_metric", "metric"),
        ("metric=x%27%3B%20DROP%20TABLE%20series", 400, "bad_parameter", "metric"),
        ("metric=node_load1&by=x%27--", 400, "bad_parameter", "by"),
        ("metric=node_load1&match=device", 400, "bad_parameter", "match"),
        ("metric=node_load1&match=device%3D~(", 400, "bad_parameter", "match"),
        ("metric=node_load1&agg=rate", 400, "bad_parameter", "agg"),
        ("metric=node_load1&agg=p99", 400, "bad_parameter", "agg"),
        ("metric=node_load1,node_disk_read_bytes_total", 400, "bad_parameter", "agg"),
        ("metric=node_load1&group=median", 400, "bad_parameter", "group"),
        ("metric=node_load1&from=now&to=now-1h", 400, "bad_parameter", "from"),
        ("metric=node_load1&from=2026-02-30T00:00:00Z", 400, "bad_parameter", "from"),
        ("metric=node_load1&step=0", 400, "bad_parameter", "step"),
        ("metric=node_load1&from=now-400d&step=10000", 400, "bad_parameter", "step"),
        ("metric=node_load1&width=1000000000", 400, "bad_parameter", "width"),
        ("metric=node_load1&server=nobody", 404, "unknown_server", ""),
        ("metric=node_load1&server=nobody&agg=max", 404, "unknown_server", ""),
        ("metric=node_load1&server=web-1&by=device", 400, "bad_parameter", "by"),
        ("metric=node_load1&metrics=x", 400, "bad_parameter", "metrics"),
    ] {
        let answer = service.get(&format!("/api/v1/query?{query}")).await;
        let found = (
            answer.status,
            answer.body["code"].as_str(),
            answer.body["parameter"].as_str().unwrap_or_default(),
        );
        assert_eq!(found, (status, Some(code), parameter), "{query}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_range_is_read_from_longer_windows_and_the_answer_says_so() {
    let stack = Stack::start("postgres redis");
    let service = Service::start(&stack).await;
    let pool = service.store.history.pool();
    let gone: Vec<String> = sqlx::query_scalar(
        "SELECT child FROM tidewatch_partitions WHERE parent IN ('samples_10s', 'packed_10s')",
    )
    .fetch_all(pool)
    .await
    .expect("partitions");
    for child in gone {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE {child}"))).execute(pool).await.expect("drop");
    }
    let answer = service.get("/api/v1/query?metric=node_load1&from=now-10m&step=20000").await;
    assert_eq!((&answer.body["tier"], &answer.body["step"]), (&"1m".into(), &60_000.into()));
    assert_eq!(numbers(&series(&answer)[0]["values"]).iter().flatten().count(), 9);
}
