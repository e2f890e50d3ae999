//! The whole interface on real PostgreSQL and real Redis: what is answered, that both sources answer the same, and what
//! is answered while one of them is away.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::header,
};
use serde_json::Value;
use tidewatch_service_kit::{Deps, Shutdown, breaker};
use tidewatch_store::Store;
use tower::ServiceExt;

use super::*;
use crate::{live, metrics::Metrics, watch};

mod charts;
mod collect;
mod feedback;
mod freshness;
mod histograms;
mod many;
mod people;
pub(crate) mod seed;
pub(crate) mod stack;
mod triage;

use seed::{GAP, NOW, RESTART, START, Seeded};
use stack::Stack;

struct Answered {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

async fn get_from(router: &Router, path: &str) -> Answered {
    ask_of(router, "GET", path, &[], "").await
}

async fn ask_of(router: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Body::from(body.to_owned())).expect("request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 64 << 20).await.expect("body");
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answered { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// One of several on the same store.
fn instance(stack: &Stack, store: &Store) -> (Router, Shutdown) {
    let (config, deps, shutdown) = (stack.config(), Deps::default(), Shutdown::new());
    let metrics = Metrics::new(&deps.metrics);
    let app = App::new(&config, store.clone(), metrics, live::Events::default(), shutdown.clone(), || NOW);
    let app = Arc::new(app);
    tokio::spawn(watch::watch(Arc::clone(&app), deps.health.component("history")));
    (router(app), shutdown)
}

/// The service without its listener and without Kafka.
struct Service {
    router: Router,
    seeded: Seeded,
    store: Store,
    shutdown: Shutdown,
}

impl Service {
    async fn start(stack: &Stack) -> Self {
        let (config, deps) = (stack.config(), Deps::default());
        let breakers = breaker::gauges(&deps.metrics);
        let store = Store::new(&config.store, "visualizer", &deps.metrics, &breakers).expect("store");
        let seeded = seed::seed(&store).await;
        let (router, shutdown) = instance(stack, &store);
        Self { router, seeded, store, shutdown }
    }

    async fn get(&self, path: &str) -> Answered {
        get_from(&self.router, path).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        ask_of(&self.router, method, path, headers, body).await
    }

    /// All pages one after the other.
    async fn pages(&self, first: &str) -> Vec<Value> {
        let (mut rows, mut path) = (Vec::new(), first.to_owned());
        loop {
            let page = self.get(&path).await;
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            rows.extend(page.body.as_array().expect("array").iter().cloned());
            match page.header("link") {
                Some(link) => {
                    path = link.trim_start_matches('<').split('>').next().expect("address").to_owned();
                }
                None => return rows,
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    for _ in 0..300 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

const QUESTIONS: [&str; 10] = [
    "/api/v1/servers",
    "/api/v1/servers/web-1",
    "/api/v1/metrics/web-1?from=now-10m",
    "/api/v1/metrics/web-1?from=now-10m&metric=node_disk_read_bytes_total&limit=7",
    "/api/v1/query?server=web-1&from=now-10m",
    "/api/v1/query?server=web-1&from=now-10m&step=60000&metric=node_load1",
    "/api/v1/fleet",
    "/api/v1/alerts?status=firing",
    "/api/v1/anomalies?server=web-1",
    "/api/v1/servers?label=os%3D~Deb.*&status=odd,ok&sort=-last_seen",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sources_give_the_same_answers() {
    let stack = Stack::start("postgres redis");
    let mut service = Service::start(&stack).await;
    service.seeded.writer.heartbeat().await.expect("lease");

    let mut with_redis = Vec::new();
    for question in QUESTIONS {
        let answer = service.get(question).await;
        assert_eq!(answer.status, 200, "{question}: {}", answer.body);
        let hot = question.contains("/metrics/") || question.contains("/query");
        assert_eq!(
            answer.header("x-tidewatch-source"),
            Some(if hot { "redis" } else { "postgres" }),
            "{question}"
        );
        assert_eq!(answer.header("x-tidewatch-degraded"), None);
        with_redis.push(answer.body);
    }
    let paged = "/api/v1/metrics/web-1?from=now-10m&limit=17";
    let paged_redis = service.pages(paged).await;
    columns_are_right(&service).await;
    bad_questions_are_refused(&service).await;
    the_fleet_is_told_truly(&with_redis[0], &with_redis[6]);
    assert_eq!(with_redis[9].as_array().map(|found| &found[..]), Some(&[with_redis[0][1].clone()][..]));
    let servers = service.pages("/api/v1/servers?sort=-open_alerts&limit=1").await;
    assert_eq!(Some(&servers), with_redis[0].as_array(), "db.fra-2 has the alert");

    stack.stop_part("redis");
    eventually("the answers say that redis is away", || async {
        service.get(QUESTIONS[0]).await.header("x-tidewatch-degraded") == Some("redis")
    })
    .await;
    for (question, before) in QUESTIONS.iter().zip(&with_redis) {
        let answer = service.get(question).await;
        assert_eq!(answer.header("x-tidewatch-source"), Some("postgres"), "{question}");
        assert_eq!(&answer.body, before, "{question}");
    }
    let whole = service.get("/api/v1/metrics/web-1?from=now-10m&limit=10000").await;
    assert_eq!(whole.header("link"), None);
    let paged_postgres = service.pages(paged).await;
    assert_eq!(paged_redis, paged_postgres);
    assert_eq!(Some(&paged_postgres), whole.body.as_array());
    // ten minutes of six windows, one minute missing, five series
    assert_eq!(paged_postgres.len(), 9 * 6 * 5);

    stack.start_part("redis");
    eventually("the answers say no more that redis is away", || async {
        service.get(QUESTIONS[0]).await.header("x-tidewatch-degraded").is_none()
    })
    .await;
}

/// The columns against the samples that were seeded.
async fn columns_are_right(service: &Service) {
    let answer = service.get("/api/v1/query?server=web-1&from=now-10m&to=now&step=10000").await.body;
    let t0 = answer["series"][0]["t0"].as_i64().expect("t0");
    assert_eq!((t0, answer["tier"].as_str()), (NOW - 600_000, Some("10s")));
    let series = answer["series"].as_array().expect("series");
    assert_eq!(series.len(), service.seeded.series.len());
    for one in series {
        let avg = one["avg"].as_array().expect("avg");
        assert_eq!(avg.len(), 60);
        for (i, value) in avg.iter().enumerate() {
            let from = t0 + i as i64 * 10_000;
            assert_eq!(value.is_null(), GAP.contains(&from), "{}: {i}", one["metric"]);
            // 50 every five seconds; the first sample after the restart is 0
            if one["kind"] == "counter" && !GAP.contains(&from) {
                assert_eq!(value.as_f64(), Some(if from == RESTART { 5.0 } else { 10.0 }), "{i}");
            }
        }
        assert_eq!(one["expected"].is_null(), one["metric"] != "node_load1");
    }
    let load = series.iter().find(|s| s["metric"] == "node_load1").expect("node_load1");
    assert_eq!(
        (&load["expected"]["low"][0], &load["expected"]["high"][59]),
        (&Value::from(1.0), &Value::from(20.0))
    );
    let n = (NOW - 600_000 - START) as f64 / 5_000.0;
    assert_eq!(load["avg"][0].as_f64(), Some(f64::midpoint(n / 3.0, (n + 1.0) / 3.0)));
    let odd = answer["anomalies"].as_array().expect("anomalies");
    let spans: Vec<_> =
        odd.iter().map(|o| (o["from"].as_i64(), o["to"].as_i64(), o["value"].as_f64())).collect();
    let at = |i: i64| Some(NOW - 240_000 + i * 10_000);
    assert_eq!(spans, [(at(6), at(9), Some(58.0)), (at(20), at(21), Some(70.0))]);
}

fn the_fleet_is_told_truly(servers: &Value, fleet: &Value) {
    let statuses: Vec<_> = servers
        .as_array()
        .expect("servers")
        .iter()
        .map(|s| {
            (s["name"].as_str(), s["status"].as_str(), s["ip_address"].as_str(), s["open_alerts"].as_u64())
        })
        .collect();
    assert_eq!(
        statuses,
        [
            (Some("db.fra-2"), Some("critical"), None, Some(1)),
            (Some("web-1"), Some("odd"), Some("10.0.0.5"), Some(0)),
        ]
    );
    let rows = fleet["servers"].as_array().expect("servers");
    assert_eq!((fleet["series"].as_i64(), fleet["odd_series"].as_i64()), (Some(5), Some(1)));
    assert_eq!(rows[0]["why"], "CPU busy 98 % on db.fra-2");
    assert_eq!(rows[0]["since"], NOW - 240_000);
    assert_eq!(rows[1]["disk"]["mountpoint"], "/");
    for row in rows {
        assert_eq!(row["heartbeat"].as_array().map(Vec::len), Some(48));
        assert_eq!(row["heartbeat"][0], "none");
        assert_eq!(row["heartbeat"][47], row["status"]);
        assert!(row["cpu"]["avg"].as_array().is_some_and(|avg| avg.len() <= 72));
    }
    assert!(rows[1]["cpu"]["last"].as_f64().is_some_and(|last| (40.0..47.0).contains(&last)));
}

async fn bad_questions_are_refused(service: &Service) {
    for (path, status, code) in [
        ("/api/v1/servers?x=1", 400, "bad_parameter"),
        ("/api/v1/servers?label=os", 400, "bad_parameter"),
        ("/api/v1/servers?sort=os", 400, "bad_parameter"),
        ("/api/v1/servers?limit=10001", 400, "bad_parameter"),
        ("/api/v1/servers?cursor=0", 400, "bad_parameter"),
        ("/api/v1/servers/nobody", 404, "unknown_server"),
        ("/api/v1/servers/999999", 404, "unknown_server"),
        ("/api/v1/metrics/nobody", 404, "unknown_server"),
        ("/api/v1/metrics/web-1?step=11", 400, "bad_parameter"),
        ("/api/v1/metrics/web-1?limit=100000", 400, "bad_parameter"),
        ("/api/v1/metrics/web-1?cursor=0123", 400, "bad_parameter"),
        ("/api/v1/query", 400, "bad_parameter"),
        ("/api/v1/query?server=", 400, "bad_parameter"),
        ("/api/v1/query?server=web-1&from=2026-13-01T00:00:00Z", 400, "bad_parameter"),
        ("/api/v1/query?server=web-1&from=now&to=now-1h", 400, "bad_parameter"),
        ("/api/v1/query?server=web-1&from=now-300d&step=10000", 400, "bad_parameter"),
        ("/api/v1/query?server=web-1&metric=%00", 400, "bad_parameter"),
        ("/api/v1/fleet?from=soon", 400, "bad_parameter"),
        ("/api/v1/alerts?status=open", 400, "bad_parameter"),
        ("/api/v1/alerts?server=nobody", 404, "unknown_server"),
        ("/api/v1/live?server=nobody", 404, "unknown_server"),
        ("/api/v1/live?from=now", 400, "bad_parameter"),
        ("/api/v1/nothing", 404, "unknown_path"),
        ("/assets/none.js", 404, "unknown_path"),
    ] {
        let answer = service.get(path).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (status, Some(code)),
            "{path}: {}",
            answer.body
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert!(answer.header("x-request-id").is_some() && answer.body["request_id"].is_string(), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let limit = service.get("/api/v1/metrics/web-1?limit=x").await;
    assert_eq!(limit.body["parameter"], "limit");
    let request = Request::post("/api/v1/servers").body(Body::empty()).expect("request");
    let response = service.router.clone().oneshot(request).await.expect("an answer");
    assert_eq!(response.status().as_u16(), 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgresql_the_last_good_answers_are_given_as_stale() {
    let stack = Stack::start("postgres redis");
    let mut service = Service::start(&stack).await;
    service.seeded.writer.heartbeat().await.expect("lease");
    let mut before = Vec::new();
    for question in QUESTIONS {
        before.push(service.get(question).await.body);
    }
    stack.stop_part("postgres");
    // the shared answers are good for two seconds
    eventually("the answers are stale", || async {
        service.get(QUESTIONS[0]).await.header("x-tidewatch-stale") == Some("true")
    })
    .await;
    for (question, before) in QUESTIONS.iter().zip(&before) {
        let answer = service.get(question).await;
        assert_eq!((answer.status, &answer.body), (200, before), "{question}");
        // values that Redis vouches for are not stale for as long as it does
        if !question.contains("/metrics/") {
            assert_eq!(answer.header("x-tidewatch-stale"), Some("true"), "{question}");
            assert!(answer.header("age").is_some_and(|age| age.parse::<u64>().is_ok()), "{question}");
        }
    }
    // never asked before, and only Redis knows it: its writer has long let the lease go
    eventually("the lease is over", || async {
        let answer = service.get("/api/v1/metrics/web-1?from=now-9m&limit=3").await;
        answer.status == 200
            && answer.header("x-tidewatch-source") == Some("redis")
            && answer.header("x-tidewatch-stale") == Some("true")
    })
    .await;
    // never asked before, and nobody knows it
    for unknown in
        ["/api/v1/anomalies?limit=3", "/api/v1/metrics/web-1?from=now-2h", "/api/v1/alerts?limit=3"]
    {
        let answer = service.get(unknown).await;
        assert_eq!(
            (answer.status, answer.body["code"].as_str()),
            (503, Some("history_unavailable")),
            "{unknown}"
        );
        assert!(answer.header("retry-after").is_some(), "{unknown}");
    }
    stack.start_part("postgres");
    eventually("the answers are fresh again", || async {
        service.get(QUESTIONS[0]).await.header("x-tidewatch-stale").is_none()
    })
    .await;
    assert_eq!(service.get(QUESTIONS[8]).await.body, before[8]);
}
