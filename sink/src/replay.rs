//! History again, from the topics: what PostgreSQL lost comes back, what it has stays.
//!
//! ```text
//! a topic, from a while before the range to its end -> survey (which windows have several records)
//!     -> once more, partition by partition: gather (each window's records) -> Rewriter (compare, and write what differs)
//!     -> Redis (what changed of the last minutes)
//! ```
//! Keeps: neither a group's offsets in Kafka nor those in PostgreSQL move; a sink may be at work meanwhile; what the topic
//! has lost is not taken from PostgreSQL. Whatever breaks off can be done again.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::error::KafkaError;
use sqlx::PgConnection;
use tidewatch_service_kit::{kafka::KafkaConfig, retry};
use tidewatch_store::{
    Error as StoreError, History, Store,
    hot::writer::{HotWriter, Refresh},
    migrate,
    write::offsets,
};

use crate::{
    dead_letter::STAGE,
    record::{Body, Inputs, Item, Kind},
    write::{Batch, Counts, Rewriter, YOUNG_MS},
};

mod events;
mod gather;
mod read;
mod survey;
mod windows;

use read::{Extent, Topic};
use survey::Range;

/// What is to be read again.
#[derive(Debug, Clone)]
pub struct Request {
    pub kafka: KafkaConfig,
    /// Of which topics.
    pub kinds: Vec<Kind>,
    /// Windows, and alerts, that start at this time or later.
    pub from_ms: i64,
    /// And before this one.
    pub to_ms: i64,
    /// Of these servers; of all when empty.
    pub servers: Vec<String>,
    /// As the sink's setting.
    pub series_per_server: usize,
    /// Only say what would be done.
    pub is_dry: bool,
}

/// From when on a topic has what belongs to the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// From this time on, in every partition.
    Since(i64),
    /// A partition has nothing any more.
    Nothing,
}

/// What came of one topic.
#[derive(Debug, Clone)]
pub struct Report {
    pub topic: String,
    /// Read.
    pub records: u64,
    /// Of them, those that are dead letters.
    pub bad: u64,
    pub kept: Kept,
    pub counts: Counts,
    /// Windows in PostgreSQL from before the topic's data, which nothing can be said of; only of topics of windows.
    pub unknown: Option<u64>,
}

/// Hears how far it is.
pub trait Progress {
    fn begin(&self, what: &str, records: u64);
    fn advance(&self, records: u64);
}

/// Why a replay ended. What was written until then is good, and is found unchanged by the next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("topic {0} does not exist; `tidewatch topics create` makes it")]
    NoTopic(String),
    #[error("{what} topic {topic}: {source}")]
    Kafka { what: &'static str, topic: String, source: KafkaError },
    #[error("read topic {0}: Kafka has said nothing for a minute")]
    Stalled(String),
    #[error("read topic {0}: Kafka deleted records that were about to be read; start again")]
    Trimmed(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reach redis, which has to be told of rows that are younger than an hour: {0}")]
    Redis(#[source] tidewatch_store::hot::HotError),
    #[error("start thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// Records may be stamped so long before the end of their window: a clock runs ahead by half a minute at most, and a band is
/// said a window before. What is stamped earlier still is not looked for.
const LEAD_MS: i64 = 3_600_000;
/// Tries of a call that PostgreSQL does not take, over half a minute and more.
const TRIES: u32 = 10;
/// The same for Redis.
const REDIS_TRIES: u32 = 5;

/// Reads the topics of the request again, one after the other.
pub async fn run(request: &Request, store: &Store, progress: &dyn Progress) -> Result<Vec<Report>, Error> {
    let group = request.kafka.group(STAGE);
    let mut replay = Replay {
        request,
        progress,
        history: store.history.clone(),
        hot: HotWriter::new(store.hot.clone()),
        rewriter: Rewriter::new(group, request.series_per_server, request.is_dry),
        is_away: false,
    };
    replay.prepare().await?;
    let inputs = Inputs::new(&request.kafka.topics());
    let mut reports = Vec::with_capacity(request.kinds.len());
    for kind in &request.kinds {
        let Some(name) = inputs.topic(*kind) else { continue };
        let topic = Topic { kafka: request.kafka.clone(), name, kind: *kind };
        reports.push(replay.topic(&topic).await?);
    }
    Ok(reports)
}

struct Replay<'a> {
    request: &'a Request,
    progress: &'a dyn Progress,
    history: History,
    hot: HotWriter,
    rewriter: Rewriter,
    /// Whether PostgreSQL was away at the last look.
    is_away: bool,
}

impl Replay<'_> {
    /// Whoever is needed is there, before anything is read.
    async fn prepare(&mut self) -> Result<(), Error> {
        let group = self.request.kafka.group(STAGE);
        if self.request.is_dry {
            self.attempt(async |_, conn| offsets::read(conn, &group).await).await?;
            return Ok(());
        }
        let pool = self.history.pool().clone();
        self.attempt(async |_, _| migrate(&pool).await).await?;
        if self.request.to_ms > chrono::Utc::now().timestamp_millis() - YOUNG_MS {
            self.hot.heartbeat().await.map_err(Error::Redis)?;
        }
        Ok(())
    }

    async fn topic(&mut self, topic: &Topic) -> Result<Report, Error> {
        let since = self.request.from_ms.saturating_sub(LEAD_MS);
        let extents = blocking(topic, move |topic| topic.extents(since)).await?;
        let mut report = Report {
            topic: topic.name.to_string(),
            records: 0,
            bad: 0,
            kept: Kept::Whole,
            counts: Counts::default(),
            unknown: None,
        };
        match topic.kind {
            Kind::Windows(_) | Kind::Expected => self.windows(topic, &extents, &mut report).await?,
            Kind::Anomalies | Kind::Alerts => self.events(topic, &extents, &mut report).await?,
        }
        Ok(report)
    }

    fn range(&self) -> Range<'_> {
        let Request { from_ms, to_ms, servers, .. } = self.request;
        Range { from_ms: *from_ms, to_ms: *to_ms, servers }
    }

    /// Reads all of it once, and notes from when on there is something.
    async fn read_once(
        &self,
        topic: &Topic,
        extents: &[Extent],
        report: &mut Report,
        mut see: impl FnMut(Item),
    ) -> Result<Begins, Error> {
        let mut begins = BTreeMap::new();
        self.progress
            .begin(&format!("look through {}", topic.name), extents.iter().map(Extent::records).sum());
        let mut records = topic.read(extents.to_vec())?;
        while let Some(items) = records.next().await? {
            self.progress.advance(items.len() as u64);
            report.records += items.len() as u64;
            for item in items {
                begins.entry(item.partition).or_insert(item.timestamp.unwrap_or(i64::MAX));
                report.bad += u64::from(matches!(item.body, Body::Bad(..)));
                see(item);
            }
        }
        let begins = Begins::new(extents, &begins);
        report.kept = begins.kept();
        Ok(begins)
    }

    /// Makes a call that PostgreSQL may not take at once.
    async fn attempt<T>(
        &mut self,
        mut call: impl AsyncFnMut(&mut Rewriter, &mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tries = 0;
        loop {
            let (history, rewriter) = (&self.history, &mut self.rewriter);
            let guarded = history.guard(async {
                let mut conn = history.pool().acquire().await?;
                let result = call(rewriter, &mut conn).await;
                if result.is_err() {
                    conn.close_on_drop();
                }
                result
            });
            match guarded.await {
                Err(error @ (StoreError::Unavailable(_) | StoreError::Open | StoreError::Timeout(_)))
                    if tries < TRIES =>
                {
                    if !std::mem::replace(&mut self.is_away, true) {
                        tracing::warn!(%error, "postgresql does not take it, try again");
                    }
                    tokio::time::sleep(retry::pause(tries)).await;
                    tries += 1;
                }
                result => {
                    self.is_away = false;
                    return result;
                }
            }
        }
    }

    /// What changed of the last minutes is exact in Redis no more.
    async fn tell(&mut self, refresh: Refresh) {
        if refresh.windows.is_empty() && refresh.series.is_empty() && refresh.alerts.is_empty() {
            return;
        }
        for tries in 0..REDIS_TRIES {
            match self.hot.refresh(&refresh).await {
                Ok(_) => return,
                Err(error) if tries + 1 == REDIS_TRIES => {
                    tracing::warn!(%error, "tell redis what changed; its answers may lack that for a quarter of an hour");
                }
                Err(_) => tokio::time::sleep(retry::pause(tries) + Duration::from_millis(200)).await,
            }
        }
    }
}

/// What is left of a batch that PostgreSQL refuses: its halves, or nothing of a single window.
fn halve(batch: Batch, error: StoreError, report: &mut Report) -> Result<Vec<Batch>, Error> {
    match error {
        StoreError::Refused(_) if batch.len() > 1 => Ok(batch.halves().into()),
        StoreError::Refused(error) => {
            tracing::warn!(topic = report.topic, %error, "leave out a window that postgresql refuses");
            report.counts.refused += batch.into_groups().map(|(items, _)| items.len() as u64).sum::<u64>();
            Ok(Vec::new())
        }
        other => Err(other.into()),
    }
}

async fn blocking<T: Send + 'static>(
    topic: &Topic,
    ask: impl FnOnce(&Topic) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let topic = topic.clone();
    tokio::task::spawn_blocking(move || ask(&topic)).await.map_err(|error| Error::Thread(error.into()))?
}

/// Partitions whose beginning is gone -> stamp of the first record that is there; after all times when there is none.
#[derive(Debug, Clone)]
struct Begins(BTreeMap<i32, i64>);

impl Begins {
    fn new(extents: &[Extent], firsts: &BTreeMap<i32, i64>) -> Self {
        let cut = extents.iter().filter(|extent| extent.is_cut);
        Self(cut.map(|e| (e.partition, firsts.get(&e.partition).copied().unwrap_or(i64::MAX))).collect())
    }

    fn kept(&self) -> Kept {
        match self.0.values().max() {
            None => Kept::Whole,
            Some(&i64::MAX) => Kept::Nothing,
            Some(first) => Kept::Since(*first),
        }
    }

    /// Whether all records of a window of that end are there, in this partition or, without one, in all.
    fn has_all(&self, partition: Option<i32>, end_ms: i64) -> bool {
        let concerned = |other: &i32| partition.is_none_or(|partition| partition == *other);
        self.0.iter().filter(|(other, _)| concerned(other)).all(|(_, first)| end_ms - LEAD_MS > *first)
    }

    /// For each of them, behind the windows that were closed before its first record; `to_ms` at most.
    fn ends(&self, window_ms: i64, to_ms: i64) -> Vec<(i32, i64)> {
        let end = |first: i64| first.saturating_sub(window_ms).saturating_add(1).min(to_ms);
        self.0.iter().map(|(partition, first)| (*partition, end(*first))).collect()
    }
}

#[cfg(test)]
mod tests;
