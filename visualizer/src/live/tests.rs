//! The live stream on a real Kafka: windows with rates and ids, alerts, the beat while Kafka is away.

use std::{sync::Arc, time::Duration};

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidewatch_schemas::{AggregateFrame, encode};
use tidewatch_service_kit::{
    Deps, Shutdown, breaker,
    config::assemble,
    kafka::{KafkaConfig, create_topics},
};
use tidewatch_store::Store;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use tower::ServiceExt;

use super::{Body, Event, Window, publish::tests::frame};
use crate::{
    app::App,
    params::SECOND,
    routes::tests::{seed, stack::Stack},
};

struct Client {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
}

impl Client {
    async fn connect(address: std::net::SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("send");
        Self { lines: BufReader::new(stream).lines() }
    }

    /// The data of the next event of this name; others are passed over. Every event has an id.
    async fn next(&mut self, name: &str) -> serde_json::Value {
        let read = async {
            let (mut event, mut data, mut id) = (String::new(), None, false);
            while let Some(line) = self.lines.next_line().await.expect("read") {
                if let Some(name) = line.strip_prefix("event: ") {
                    event = name.to_owned();
                } else if let Some(text) = line.strip_prefix("data: ") {
                    data = Some(serde_json::from_str(text).expect("json"));
                } else if line.starts_with("id: ") {
                    id = true;
                } else if let Some(found) = data.take_if(|_| line.is_empty()) {
                    assert!(id, "{event} has no id");
                    if event == name {
                        return found;
                    }
                }
            }
            panic!("the stream ended before {name}");
        };
        tokio::time::timeout(Duration::from_mins(1), read).await.expect("an event in time")
    }
}

fn produce(kafka: &KafkaConfig, frames: &[AggregateFrame]) {
    let producer: BaseProducer = kafka.producer().create().expect("producer");
    let topic = kafka.topics().window(10_000);
    for frame in frames {
        let bytes = encode(frame).expect("encode");
        producer
            .send(BaseRecord::to(&topic).key(&frame.server).payload(&bytes))
            .map_err(|e| e.0)
            .expect("send");
    }
    // what can't be read is passed over
    producer.send(BaseRecord::to(&topic).key("x").payload("rubbish")).map_err(|e| e.0).expect("send");
    producer.flush(Duration::from_secs(30)).expect("flush");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_reach_open_pages_and_the_beat_outlives_kafka() {
    let stack = Stack::start("kafka postgres redis");
    let (config, deps, shutdown) = (stack.config(), Deps::default(), Shutdown::new());
    let kafka = config.kafka.clone();
    let breakers = breaker::gauges(&deps.metrics);
    let store = Store::new(&config.store, "seed", &deps.metrics, &breakers).expect("store");
    seed::seed(&store).await;
    create_topics(&kafka, &kafka.topics().all(2), 1).await.expect("topics");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let running = tokio::spawn(crate::run_on(listener, config, deps.clone(), shutdown.clone()));
    let ready = async {
        while !deps.health.is_ready() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), ready).await.expect("ready");

    let mut one = Client::connect(address, "/api/v1/live?server=web-1").await;
    let mut fleet = Client::connect(address, "/api/v1/live").await;
    one.next("hello").await;
    fleet.next("hello").await;
    let start = crate::now().div_euclid(10 * SECOND) * 10 * SECOND;
    // the ends of the partitions are looked up when the first fetch begins: until then records pass unseen
    let probe = start - 60 * SECOND;
    loop {
        produce(&kafka, &[frame("web-1", probe, 0.0), frame("db.fra-2", probe, 0.0)]);
        let seen = async { tokio::join!(one.next("window"), fleet.next("server")) };
        if tokio::time::timeout(Duration::from_millis(500), seen).await.is_ok() {
            break;
        }
    }
    let other = frame("db.fra-2", start, 1.0);
    produce(&kafka, &[other, frame("web-1", start, 0.0), frame("web-1", start + 10 * SECOND, 22.0)]);
    let mut first = one.next("window").await;
    while first["from"] == probe {
        first = one.next("window").await;
    }
    assert_eq!((first["server"].as_str(), first["from"].as_i64()), (Some("web-1"), Some(start)));
    let second = one.next("window").await;
    assert_eq!(second["series"][0]["kind"], "counter");
    assert_eq!(second["series"][0]["avg"], 2.2);
    assert_eq!(second["step"], 10_000);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let server = fleet.next("server").await;
        assert!(server["id"].as_i64().is_some_and(|id| id > 0));
        seen.insert(server["name"].as_str().expect("name").to_owned());
    }

    stack.stop_part("kafka");
    let away = async {
        while deps.health.is_ready() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), away).await.expect("health says that kafka is away");
    assert!(one.next("beat").await["now"].is_i64());
    stack.start_part("kafka");
    produce(&kafka, &[frame("web-1", start + 20 * SECOND, 32.0)]);
    let third = one.next("window").await;
    assert_eq!(
        (third["from"].as_i64(), third["series"][0]["avg"].as_f64()),
        (Some(start + 20 * SECOND), Some(1.0))
    );

    shutdown.trigger();
    let ended = tokio::time::timeout(Duration::from_secs(15), running).await.expect("drained in time");
    ended.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_so_and_let_go() {
    let (deps, shutdown) = (Deps::default(), Shutdown::new());
    let config: crate::Config = assemble("visualizer", &[]).expect("settings");
    let breakers = breaker::gauges(&deps.metrics);
    let store = Store::new(&config.store, "visualizer", &deps.metrics, &breakers).expect("store");
    let metrics = crate::metrics::Metrics::new(&deps.metrics);
    let app = Arc::new(App::new(&config, store, metrics, super::events(), shutdown, || 7));
    let request = axum::http::Request::get("/api/v1/live").body(axum::body::Body::empty()).expect("request");
    let response = crate::routes::router(Arc::clone(&app)).oneshot(request).await.expect("an answer");
    assert_eq!(app.metrics.live_clients().get(), 1);
    for i in 0..=2 * super::BEHIND {
        let window = Window { server: "a".into(), from: 0, step: 10_000, series: Vec::new() };
        let event = Event::new(i.to_string(), "a".into(), Body::Window { window, summary: None });
        app.events.send(Arc::new(event)).expect("somebody listens");
    }
    // ends, or the test would never
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("body");
    let body = String::from_utf8(body.to_vec()).expect("text");
    assert!(body.starts_with("event: hello\n") && body.contains("event: lagged\n"), "{body}");
    assert_eq!(app.metrics.live_clients().get(), 0);
}
