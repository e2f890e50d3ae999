//! The live stream on a real Kafka: windows with rates and ids, alerts, the beat while Kafka is away.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use futures_util::StreamExt;
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
    sync::{mpsc, oneshot},
};

use tower::ServiceExt;

use super::{
    Event, Record, Told,
    place::{Place, Position, Topic},
    publish::tests::frame,
};
use crate::{
    app::App,
    params::SECOND,
    routes::tests::{seed, stack::Stack},
};

struct Client {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
    last_id: String,
}

impl Client {
    async fn connect(address: std::net::SocketAddr, path: &str, last_id: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nlast-event-id: {last_id}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("send");
        Self { lines: BufReader::new(stream).lines(), last_id: last_id.to_owned() }
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
                } else if let Some(text) = line.strip_prefix("id: ") {
                    text.clone_into(&mut self.last_id);
                    id = true;
                } else if let Some(found) = data.take_if(|_| line.is_empty()) {
                    assert!(id, "{event} has no id");
                    if event == name {
                        return found;
                    }
                    assert_ne!(event, "resync", "nothing was missed");
                }
            }
            panic!("the stream ended before {name}");
        };
        let found = tokio::time::timeout(Duration::from_mins(1), read).await;
        found.unwrap_or_else(|_| panic!("no {name} in time behind {}", self.last_id))
    }
}

type Running = tokio::task::JoinHandle<Result<(), crate::Error>>;

/// An instance on a free port, when it is ready.
async fn run(config: crate::Config, deps: &Deps, shutdown: &Shutdown) -> (std::net::SocketAddr, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    // named before the instance does it: who has no parts yet would be ready at once
    deps.health.component("visualizer live stream");
    let running = tokio::spawn(crate::run_on(listener, config, deps.clone(), shutdown.clone()));
    let ready = async {
        while !deps.health.is_ready() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), ready).await.expect("ready");
    (address, running)
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
    let (address, running) = run(config, &deps, &shutdown).await;

    let mut one = Client::connect(address, "/api/v1/live?server=web-1", "").await;
    let mut fleet = Client::connect(address, "/api/v1/live", "").await;
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

    // a process that begins now knows what the one before told, and what it had not told yet
    let last_id = one.last_id.clone();
    produce(&kafka, &[frame("web-1", start + 30 * SECOND, 42.0)]);
    let other = Deps::default();
    let (address, another) = run(stack.config(), &other, &shutdown).await;
    let mut back = Client::connect(address, "/api/v1/live?server=web-1", &last_id).await;
    back.next("hello").await;
    assert_eq!(back.next("window").await["from"].as_i64(), Some(start + 30 * SECOND));

    shutdown.trigger();
    for running in [running, another] {
        let ended = tokio::time::timeout(Duration::from_secs(15), running).await.expect("drained in time");
        ended.expect("no panic").expect("no error");
    }
}

pub(crate) fn app() -> Arc<App> {
    let (deps, shutdown) = (Deps::default(), Shutdown::new());
    let config: crate::Config = assemble("visualizer", &[]).expect("settings");
    let breakers = breaker::gauges(&deps.metrics);
    let store = Store::new(&config.store, "visualizer", &deps.metrics, &breakers).expect("store");
    let metrics = crate::metrics::Metrics::new(&deps.metrics);
    let app = Arc::new(App::new(&config, store, metrics, super::Events::default(), shutdown, || 7));
    let mut at = Position::default();
    at.go_to(Place { topic: Topic::Windows, partition: 0, offset: 0 });
    app.events.begin(&at);
    app
}

fn publish(app: &App, offset: i64) {
    let told = Told::Alert(format!("{{\"n\":{offset}}}"));
    app.events
        .publish(Event::new(Place { topic: Topic::Windows, partition: 0, offset }, "a".into(), told), 0);
}

/// A stream through the router.
async fn open(app: &Arc<App>, path: &str, last_id: Option<&str>) -> Body {
    let request = axum::http::Request::get(path);
    let request = last_id.into_iter().fold(request, |request, id| request.header("last-event-id", id));
    let request = request.body(Body::empty()).expect("request");
    let response = crate::routes::router(Arc::clone(app)).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// The first events of a stream: name, id and data.
async fn first(body: Body, count: usize) -> Vec<(String, String, String)> {
    let (mut text, mut stream) = (String::new(), body.into_data_stream());
    while text.matches("\n\n").count() < count {
        let read = tokio::time::timeout(Duration::from_secs(3), stream.next());
        let bytes = read.await.expect("in time").expect("more").expect("read");
        text.push_str(std::str::from_utf8(&bytes).expect("text"));
    }
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {event}")).to_owned()
    };
    let events = text.split("\n\n").take(count);
    events.map(|event| (field(event, "event: "), field(event, "id: "), field(event, "data: "))).collect()
}

#[tokio::test]
async fn who_comes_back_with_its_last_id_gets_what_it_missed() {
    let app = app();
    let hello = first(open(&app, "/api/v1/live", None).await, 1).await.remove(0);
    assert_eq!((hello.0.as_str(), hello.2.as_str()), ("hello", "{\"now\":7}"));
    for offset in 0..4 {
        publish(&app, offset);
    }
    let by_parameter = format!("/api/v1/live?last_event_id={}", hello.1);
    for (path, header, missed) in [
        ("/api/v1/live", Some(hello.1.as_str()), 0..4),
        (&by_parameter, None, 0..4),
        (&by_parameter, Some("3~"), 3..4),
    ] {
        let events = first(open(&app, path, header).await, 1 + missed.clone().count()).await;
        assert_eq!(events[0].0, "hello", "{path} {header:?}");
        let told: Vec<_> = events[1..].iter().map(|event| (event.0.as_str(), event.2.clone())).collect();
        let expected: Vec<_> = missed.map(|n| ("alert", format!("{{\"n\":{n}}}"))).collect();
        assert_eq!(told, expected, "{path} {header:?}");
        assert_eq!(events.last().expect("some").1, "4~");
    }
    for id in ["rubbish", "t-7", "ffffffff~", "\u{e9}"] {
        let events = first(open(&app, "/api/v1/live", Some(id)).await, 1).await;
        assert_eq!((events[0].0.as_str(), events[0].1.as_str()), ("resync", "4~"), "{id}");
    }
}

#[tokio::test]
async fn once_the_beginning_is_confirmed_an_id_from_before_it_is_understood() {
    let app = app();
    let (records, received) = mpsc::channel(1);
    let publisher = tokio::spawn(super::publish::publish(Arc::clone(&app), received));
    let mut at = Position::default();
    for (partition, offset) in [(0, 0), (1, 1 << 40)] {
        at.go_to(Place { topic: Topic::Windows, partition, offset });
    }
    let id = at.to_string();
    assert!(app.events.subscribe(Some(&id)).is_lost, "not known before");
    let (done, begun) = oneshot::channel();
    records.send(Record::Begin(at, done)).await.expect("the publisher takes records");
    begun.await.expect("confirmed");
    assert!(!app.events.subscribe(Some(&id)).is_lost);
    drop(records);
    publisher.await.expect("ends with its records");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_so_and_let_go() {
    let app = app();
    let body = open(&app, "/api/v1/live", None).await;
    assert_eq!(app.metrics.live_clients().get(), 1);
    for offset in 0..=2 * super::BEHIND as i64 {
        publish(&app, offset);
    }
    // ends, or the test would never
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("body");
    let body = String::from_utf8(body.to_vec()).expect("text");
    assert!(body.starts_with("event: hello\n") && body.contains("event: lagged\n"), "{body}");
    assert_eq!(app.metrics.live_clients().get(), 0);
}
