//! The whole service while Kafka is away: it starts, says what it waits for, answers 503 in time, keeps what it
//! collects, and stops when told to.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail it by panicking")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tidewatch_ingest::{Config, Error, run, run_on};
use tidewatch_service_kit::{Deps, Shutdown, config::assemble};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn config(listen: &str) -> Config {
    let set = [
        // nobody listens on port 1
        ("kafka-brokers", "127.0.0.1:1"),
        ("ingest-listen", listen),
        ("ingest-ack-timeout", "1s"),
        ("collect-interval", "100ms"),
    ];
    assemble("ingest", &set).unwrap()
}

async fn post(address: SocketAddr, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_503_in_time_and_keeps_what_it_collects() {
    let (deps, shutdown) = (Deps::default(), Shutdown::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tokio::spawn(run_on(listener, config("127.0.0.1:0"), deps.clone(), shutdown.clone()));

    let started = Instant::now();
    let answer = post(address, r#"{"server": "a", "metrics": {"x": 1}}"#).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\"kafka_unavailable\"") && answer.contains("retry-after: "), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let refused = post(address, r#"{"server": "", "metrics": {"x": 1}}"#).await;
    assert!(
        refused.starts_with("HTTP/1.1 422 "),
        "what is wrong is said whether Kafka is there or not: {refused}"
    );

    let waiting = deps.health.waiting();
    assert_eq!(waiting[0].0, "ingest");
    let kept = |metrics: &str| {
        let line = metrics.lines().find(|line| line.starts_with("tidewatch_ingest_backlog_frames ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    while kept(&deps.metrics.encode()) < 3 {
        assert!(started.elapsed() < Duration::from_secs(30), "nothing is collected");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    shutdown.trigger();
    tokio::time::timeout(Duration::from_secs(8), service).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_said_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = run(config(&address), Deps::default(), Shutdown::new()).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }));
    let message = error.to_string();
    assert!(message.contains(&address) && message.contains("in use") && !message.contains('\n'), "{message}");
}
