//! The whole sink on a real Kafka, PostgreSQL and Redis: every record once, whoever comes, goes or dies.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
    producer::{FutureProducer, FutureRecord},
};
use tidewatch_schemas::{AggregateFrame, AggregateKind, Origin, Series, encode, headers};
use tidewatch_service_kit::{
    Deps, Shutdown, config,
    kafka::{Context, create_topics},
};
use tidewatch_sink::{Config, run};
use tidewatch_store::{
    Freshness,
    testing::{Database, Stack},
    write::offsets,
};
use tokio::task::JoinHandle;

const SERVERS: i64 = 6;
const SERIES: usize = 20;

struct Bench {
    stack: Stack,
    db: Database,
    config: Config,
    producer: FutureProducer<Context>,
    start: i64,
}

impl Bench {
    async fn new() -> Self {
        let stack = Stack::start("kafka postgres redis").expect("stack");
        let db = stack.database().await.expect("database");
        let config: Config = config::assemble(
            "sink",
            &[
                ("kafka-brokers", stack.kafka()),
                ("postgres-url", db.config.postgres_url.reveal()),
                ("redis-url", db.config.redis_url.reveal()),
                ("redis-prefix", &db.config.redis_prefix),
                ("sink-batch-age", "100ms"),
                ("sink-batch-rows", "300"),
            ],
        )
        .expect("config");
        create_topics(&config.kafka, &config.kafka.topics().all(4), 1).await.expect("topics");
        let producer = config.kafka.producer().create_with_context(Context).expect("producer");
        // windows of now, as a stream processor would send them
        let start = (chrono::Utc::now().timestamp_millis() - 3_600_000) / 10_000 * 10_000;
        Self { stack, db, config, producer, start }
    }

    async fn produce(&self, windows: std::ops::Range<i64>) {
        let topic = self.config.kafka.topics().window(10_000);
        let sends = windows.flat_map(|window| (0..SERVERS).map(move |server| (window, server))).map(
            async |(window, server)| {
                let frame = self.frame(window, server);
                let bytes = encode(&frame).expect("encode");
                let record = FutureRecord::to(&topic).key(&frame.server).payload(&bytes);
                self.producer.send(record, Duration::from_secs(10)).await.map_err(|(e, _)| e).expect("send");
            },
        );
        futures_util::future::join_all(sends).await;
    }

    fn frame(&self, window: i64, server: i64) -> AggregateFrame {
        let value = (window * 10 + server) as f64 / 3.0;
        let (n, at) = (SERIES, 5_000);
        AggregateFrame {
            server: format!("server-{server}"),
            window_start: self.start + window * 10_000,
            window_ms: 10_000,
            kind: AggregateKind::Final,
            origin: Origin { partition: (server % 4) as i32, offset: window },
            layout: (0..n).map(|i| Series::gauge(format!("m{i}"), "")).collect(),
            count: vec![1; n],
            sum: vec![value; n],
            min: vec![value; n],
            max: vec![value; n],
            first: vec![value; n],
            last: vec![value; n],
            first_at: vec![at; n],
            last_at: vec![at; n],
            m2: vec![0.0; n],
            increase: vec![0.0; n],
            resets: vec![0; n],
            histograms: vec![],
        }
    }

    fn instance(&self) -> (Shutdown, Deps, JoinHandle<Result<(), tidewatch_sink::Error>>) {
        let (shutdown, deps) = (Shutdown::new(), Deps::default());
        (shutdown.clone(), deps.clone(), tokio::spawn(run(self.config.clone(), deps, shutdown)))
    }

    /// Waits until all of these windows are there, and that nothing is there twice.
    async fn await_windows(&self, windows: i64) {
        let until = Instant::now() + Duration::from_mins(2);
        let wanted = windows * SERVERS * SERIES as i64;
        loop {
            let (rows, samples): (i64, Option<i64>) =
                sqlx::query_as("SELECT count(*), sum(count)::bigint FROM samples_10s")
                    .fetch_one(self.db.store.history.pool())
                    .await
                    .expect("count");
            assert_eq!(samples.unwrap_or(0), rows, "a sample was counted twice");
            if rows == wanted {
                return;
            }
            assert!(rows < wanted && Instant::now() < until, "{rows} of {wanted} rows");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn watcher(&self, group: &str) -> BaseConsumer {
        self.config.kafka.consumer(group).create().expect("consumer")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_written_once() {
    let bench = Bench::new().await;
    bench.produce(0..20).await;
    let topics = bench.config.kafka.topics();
    let topic = topics.window(10_000);
    let garbage = FutureRecord::to(&topic).key("server-1").payload("no avro");
    bench.producer.send(garbage, Duration::from_secs(10)).await.map_err(|(e, _)| e).expect("send");
    kill_in_the_middle(&bench).await;
    let (stop, deps, first) = bench.instance();
    bench.await_windows(20).await;

    // another instance joins, and the first one goes
    let (stop_second, deps_second, second) = bench.instance();
    bench.produce(20..40).await;
    bench.await_windows(40).await;
    stop.trigger();
    first.await.expect("join").expect("run");
    bench.produce(40..50).await;
    bench.await_windows(50).await;

    // PostgreSQL goes and comes back, and so does Kafka
    bench.stack.stop_part("postgres").expect("stop");
    bench.produce(50..70).await;
    let until = Instant::now() + Duration::from_secs(30);
    while deps_second.health.is_ready() {
        assert!(Instant::now() < until, "nobody says that PostgreSQL is away");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.stack.start_part("postgres").expect("start");
    bench.await_windows(70).await;
    bench.stack.stop_part("kafka").expect("stop");
    bench.stack.start_part("kafka").expect("start");
    bench.produce(70..80).await;
    bench.await_windows(80).await;

    check_values(&bench).await;
    check_dead_letter(&bench);
    check_metrics(&deps, &deps_second);
    stop_second.trigger();
    second.await.expect("join").expect("run");
    check_offsets(&bench).await;
}

/// The sink as a process of its own, killed when it has written something.
async fn kill_in_the_middle(bench: &Bench) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_tidewatch-sink"))
        .args(["--kafka-brokers", bench.stack.kafka(), "--sink-batch-rows", "100", "--log", "warn"])
        .env("TIDEWATCH_POSTGRES_URL", bench.db.config.postgres_url.reveal())
        .env("TIDEWATCH_REDIS_URL", bench.db.config.redis_url.reveal())
        .env("TIDEWATCH_REDIS_PREFIX", &bench.db.config.redis_prefix)
        .spawn()
        .expect("spawn");
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM samples_10s")
            .fetch_one(bench.db.store.history.pool())
            .await
            .expect("count");
        if rows > 0 {
            break;
        }
        assert!(Instant::now() < until, "the process writes nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// PostgreSQL holds what was sent, and what Redis answers is the same.
async fn check_values(bench: &Bench) {
    let history = &bench.db.store.history;
    let end = bench.start + 800_000;
    let mut hits = 0;
    for server in history.servers().await.expect("servers") {
        let number: i64 = server.name.rsplit('-').next().and_then(|n| n.parse().ok()).expect("name");
        let series = history.series(server.id, &[]).await.expect("series");
        let ids: Vec<i32> = series.iter().map(|meta| meta.id).collect();
        let rows = history.windows(&ids, tidewatch_store::Tier::TenSeconds, 0, end).await.expect("windows");
        for row in &rows {
            let frame = bench.frame((row.ts_ms - bench.start) / 10_000, number);
            assert_eq!((row.sum.to_bits(), row.origin), (frame.sum[0].to_bits(), frame.origin));
        }
        assert_eq!(server.last_seen_ms, end);
        for from in (bench.start..end).step_by(10_000) {
            if let Some(recent) = bench.db.store.hot.recent(server.id, from, end, Freshness::Exact).await {
                let mut same: Vec<_> = rows.iter().filter(|row| row.ts_ms >= from).copied().collect();
                same.sort_by_key(|row| (row.ts_ms, row.series_id));
                assert_eq!(recent.rows, same);
                hits += 1;
            }
        }
    }
    assert!(hits > 0, "redis answers nothing");
}

fn check_dead_letter(bench: &Bench) {
    let topics = bench.config.kafka.topics();
    let consumer = bench.watcher("watcher");
    consumer.subscribe(&[&topics.dead_letter("sink")]).expect("subscribe");
    let until = Instant::now() + Duration::from_secs(30);
    let letter = loop {
        assert!(Instant::now() < until, "no dead letter");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            break message.detach();
        }
    };
    assert_eq!(letter.payload(), Some(&b"no avro"[..]));
    let found: BTreeMap<String, String> = letter
        .headers()
        .expect("headers")
        .iter()
        .map(|h| (h.key.to_owned(), String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned()))
        .collect();
    assert_eq!(found[headers::DEAD_LETTER_TOPIC], topics.window(10_000));
    assert_eq!(found[headers::DEAD_LETTER_CLASS], "undecodable");
    assert_eq!(found[headers::DEAD_LETTER_STAGE], "sink");
}

fn check_metrics(first: &Deps, second: &Deps) {
    let value = |deps: &Deps, name: &str| -> f64 {
        let text = deps.metrics.encode();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    };
    let rows = r#"tidewatch_sink_rows_total{table="samples_10s"}"#;
    let written = value(first, rows) + value(second, rows);
    // the killed process wrote some of the first 20
    let most = (80 * SERVERS * SERIES as i64) as f64;
    assert!(written < most && written >= most * 0.75, "{written} of {most}");
    for name in ["tidewatch_sink_lag_records", "tidewatch_sink_lag_seconds"] {
        assert!(second.metrics.encode().contains(name), "{name}");
    }
    assert!(
        second.metrics.encode().contains(r#"tidewatch_breaker_state{peer="postgresql",service="sink"} 0"#)
    );
}

/// Kafka was told what PostgreSQL has.
async fn check_offsets(bench: &Bench) {
    let group = bench.config.kafka.group("sink");
    let mut conn = bench.db.store.history.pool().acquire().await.expect("connection");
    let stored = offsets::read(&mut conn, &group).await.expect("offsets");
    let mut list = TopicPartitionList::new();
    stored.keys().for_each(|(topic, partition)| {
        list.add_partition(topic, *partition);
    });
    let told = bench.watcher(&group).committed_offsets(list, Duration::from_secs(10)).expect("committed");
    let told: BTreeMap<_, _> = told
        .elements()
        .iter()
        .map(|e| ((e.topic().to_owned(), e.partition()), e.offset().to_raw()))
        .collect();
    let stored: BTreeMap<_, _> = stored.into_iter().map(|(key, next)| (key, Some(next))).collect();
    assert_eq!(told, stored);
    assert_eq!(stored.values().map(|next| next.unwrap_or(0)).sum::<i64>(), 80 * SERVERS + 1);
}
