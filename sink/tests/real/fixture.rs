//! A committer on a database of its own, the records it is given, and a place for its dead letters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::error::KafkaError;
use tidewatch_schemas::{AggregateFrame, AggregateKind, Buckets, Histogram, Origin, Reason, Series};
use tidewatch_service_kit::{Health, Metrics, Shutdown};
use tidewatch_sink::{
    commit::{Batch, Committer, SharedOwned, Told},
    dead_letter::DeadLetters,
    metrics::SinkMetrics,
    record::{Body, Item},
    write::Writer,
};
use tidewatch_store::{
    HistogramRow, PackedTier, Store, Tier, WindowRow,
    hot::writer::HotWriter,
    testing::{Database, Stack},
    write::{histograms, offsets, pack as packing},
};
use tokio::sync::mpsc;

pub(crate) const T0: i64 = 1_795_392_000_000;
pub(crate) const GROUP: &str = "tidewatch.sink";

/// Dead letters, kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letters(pub(crate) Arc<Mutex<Vec<(i64, Reason)>>>);

impl DeadLetters for Letters {
    async fn send(&self, item: &Item, reason: Reason, _: &str) -> Result<(), KafkaError> {
        self.0.lock().expect("lock").push((item.offset, reason));
        Ok(())
    }
}

/// One instance of the sink, without its Kafka.
pub(crate) struct Instance {
    pub(crate) committer: Committer<Letters>,
    pub(crate) letters: Letters,
    pub(crate) owned: SharedOwned,
    pub(crate) health: Health,
}

pub(crate) async fn database() -> Database {
    Stack::shared().expect("stack").database().await.expect("database")
}

impl Instance {
    pub(crate) fn new(store: &Store) -> Self {
        let metrics = SinkMetrics::new(&Metrics::default());
        let (letters, owned, health) = (Letters::default(), SharedOwned::default(), Health::default());
        let component = health.component("postgresql");
        component.ready();
        let committer = Committer::new(
            store.history.clone(),
            HotWriter::new(store.hot.clone()),
            Writer::new(GROUP, 50, metrics.clone()),
            letters.clone(),
            Arc::clone(&owned),
            metrics,
            component,
            Shutdown::new(),
        );
        Self { committer, letters, owned, health }
    }

    /// An assignment of partition 0 of every topic in use, as the consumer's starter makes it. Returns its generation.
    pub(crate) async fn assign(&self, store: &Store) -> u64 {
        let mut conn = store.history.pool().acquire().await.expect("connection");
        let stored = offsets::read(&mut conn, GROUP).await.expect("offsets");
        let mut owned = self.owned.lock().await;
        owned.generation += 1;
        owned.positions =
            TOPICS.iter().map(|t| ((Arc::from(*t), 0), stored.get(&((*t).to_owned(), 0)).copied())).collect();
        owned.generation
    }

    /// Gives it batches of one generation and waits until it is done with all; what it told.
    pub(crate) async fn commit(&mut self, generation: u64, batches: Vec<Vec<Item>>) -> Vec<Told> {
        let (send, receive) = mpsc::channel(batches.len().max(1));
        let (told, hear) = std::sync::mpsc::channel();
        for items in batches {
            send.send(Batch { generation, items }).await.expect("send");
        }
        drop(send);
        self.committer.run(receive, &told).await;
        drop(told);
        hear.iter().collect()
    }
}

pub(crate) const TOPICS: [&str; 5] = ["m.10s", "m.1m", "m.expected", "anomalies", "alerts"];

pub(crate) fn item(topic: &str, offset: i64, body: Body) -> Item {
    Item { topic: topic.into(), partition: 0, offset, timestamp: Some(T0), key: None, payload: None, body }
}

/// A window of a server whose series all have the same one sample.
pub(crate) fn frame(server: &str, window: i64, value: f64, layout: Vec<Series>) -> AggregateFrame {
    let n = layout.len();
    AggregateFrame {
        server: server.to_owned(),
        window_start: T0 + window * 10_000,
        window_ms: 10_000,
        kind: AggregateKind::Final,
        origin: Origin { partition: 0, offset: 1_000 + window },
        layout,
        count: vec![1; n],
        sum: vec![value; n],
        min: vec![value; n],
        max: vec![value; n],
        first: vec![value; n],
        last: vec![value; n],
        first_at: vec![4_000; n],
        last_at: vec![4_000; n],
        m2: vec![0.0; n],
        increase: vec![0.0; n],
        resets: vec![0; n],
        histograms: vec![],
    }
}

pub(crate) fn layout() -> Vec<Series> {
    vec![Series::gauge("load", ""), Series::counter("bytes", "bytes").with("device", "eth0")]
}

/// `n` observations in each of two buckets.
pub(crate) fn histogram(name: &str, scale: i32, offset: i32, n: i64) -> Histogram {
    Histogram {
        series: Series::gauge(name, "seconds"),
        count: 2 * n,
        sum: Some(n as f64),
        min: Some(0.25),
        max: Some(f64::from(offset)),
        scale,
        zero_threshold: 0.0,
        zero_count: 0,
        positive: Buckets { offset, counts: vec![n, n] },
        negative: Buckets::default(),
    }
}

pub(crate) fn windows(offset: i64, frame: AggregateFrame) -> Item {
    let tier = Tier::of_window(frame.window_ms).expect("tier");
    item(
        if tier == Tier::TenSeconds { "m.10s" } else { "m.1m" },
        offset,
        Body::Windows(tier, Box::new(frame)),
    )
}

/// All rows of a tier, by series and time.
pub(crate) async fn all_rows(store: &Store, tier: Tier) -> Vec<WindowRow> {
    let mut rows = Vec::new();
    for server in store.history.servers().await.expect("servers") {
        let series = store.history.series(server.id, &[]).await.expect("series");
        let ids: Vec<i32> = series.iter().map(|meta| meta.id).collect();
        rows.extend(store.history.windows(&ids, tier, 0, i64::MAX).await.expect("windows"));
    }
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    rows
}

/// All histograms of a tier: server, name, row; by series and time.
pub(crate) async fn all_histograms(store: &Store, tier: Tier) -> Vec<(String, String, HistogramRow)> {
    let mut conn = store.history.pool().acquire().await.expect("connection");
    let query =
        format!("SELECT series_id, (extract(epoch FROM ts) * 1000)::bigint FROM {}", tier.histograms());
    let keys: Vec<(i32, i64)> =
        sqlx::query_as(sqlx::AssertSqlSafe(query)).fetch_all(&mut *conn).await.expect("keys");
    let mut rows: Vec<HistogramRow> =
        histograms::existing(&mut conn, tier, &keys).await.expect("rows").into_values().collect();
    rows.sort_by_key(|row| (row.series_id, row.ts_ms));
    let mut names = BTreeMap::new();
    for server in store.history.servers().await.expect("servers") {
        for meta in store.history.histogram_series(server.id, &[]).await.expect("histograms") {
            names.insert(meta.id, (server.name.clone(), meta.metric_name));
        }
    }
    let named = |row: HistogramRow| {
        let (server, name) = names[&row.series_id].clone();
        (server, name, row)
    };
    rows.into_iter().map(named).collect()
}

pub(crate) async fn next_offset(store: &Store, topic: &str) -> Option<i64> {
    let mut conn = store.history.pool().acquire().await.expect("connection");
    offsets::read(&mut conn, GROUP).await.expect("offsets").get(&(topic.to_owned(), 0)).copied()
}

/// Packs so many chunks of whatever can be packed, however young, each of about so many windows.
pub(crate) async fn pack(store: &Store, mut chunks: usize, windows: usize) {
    let mut conn = store.history.pool().acquire().await.expect("connection");
    for tier in PackedTier::ALL {
        let due = packing::due(&mut conn, tier, Duration::ZERO, T0 + 400 * 86_400_000).await.expect("due");
        for mut pass in due {
            pass.prepare(&mut conn).await.expect("prepare");
            loop {
                if chunks == 0 {
                    return;
                }
                chunks -= 1;
                if pass.chunk(&mut conn, windows).await.expect("chunk").is_none() {
                    break;
                }
            }
            // not at once when somebody reads
            pass.finish(&mut conn).await.expect("finish");
        }
    }
}
