//! Hot answers in Redis: the last minutes of every server, its series, the servers and the open alerts.
//!
//! ```text
//! tw:recent:{server id}  hash   epoch, from, low, newest, w<window number> -> blob of the window's rows
//! tw:series:{server id}  string epoch, version, and on the next line all series of the server as JSON
//! tw:servers             hash   server id -> JSON
//! tw:alerts:open         hash   alert id -> JSON
//! tw:kept:{question}     string what a reader found, for others, for some seconds
//! tw:lease:{epoch}       hash   there while the writer of that epoch lives and misses nothing: what it left of each server
//! ```
//! Invariant: an exact answer equals PostgreSQL's, or there is none. A writer that missed one refresh takes a new epoch
//! and lets the lease of the old one go; what it wrote before is exact no more. An outage is a `None` and a counter,
//! never an error: the caller asks PostgreSQL instead.

use std::{future::Future, sync::Arc, time::Duration};

use prometheus::IntCounterVec;
use redis::{AsyncCommands, RedisError, aio::ConnectionManager};
use tidewatch_service_kit::{Breaker, BreakerError};

use crate::{Error, SeriesMeta, Server, StoredAlert, WindowRow};

mod blob;
mod catalog;
mod link;
mod scripts;
pub mod writer;

use catalog::Catalog;
use link::Link;

/// How true an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What PostgreSQL would answer now.
    Exact,
    /// The last that was known: for when PostgreSQL is away; to be marked as stale.
    LastKnown,
}

/// The windows of a server in a range, by time and series.
#[derive(Debug, Clone, PartialEq)]
pub struct Recent {
    pub rows: Vec<WindowRow>,
    /// Start of the newest window that is known.
    pub newest_ms: i64,
    /// All series of the server, by id, unless Redis has lost them.
    pub series: Option<Arc<Vec<SeriesMeta>>>,
}

/// How much of the past is kept for each server.
pub const KEPT: Duration = Duration::from_mins(15);

const WINDOW: i64 = 10_000;

/// A connection to Redis behind a breaker; made again by itself. Clones share both.
#[derive(Clone)]
pub struct Hot {
    link: Arc<Link>,
    timeout: Duration,
    breaker: Breaker,
    calls: IntCounterVec,
    catalog: Arc<Catalog>,
    /// In front of every key: several Tidewatches may share a Redis.
    prefix: Arc<str>,
}

impl std::fmt::Debug for Hot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hot").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    #[error("reach redis: {0}")]
    Redis(#[from] RedisError),
    #[error("reach redis: no answer in time")]
    Timeout,
    #[error("skip redis: the breaker is open")]
    Open,
}

impl Hot {
    /// Connects to nothing yet. Has to be called inside a tokio runtime.
    pub fn new(
        url: &str,
        prefix: &str,
        timeout: Duration,
        breaker: Breaker,
        calls: IntCounterVec,
    ) -> Result<Self, Error> {
        let link = Arc::new(Link::new(url, timeout)?);
        Ok(Self { link, timeout, breaker, calls, catalog: Arc::default(), prefix: prefix.into() })
    }

    /// Whether Redis is taken to be away: answers come from PostgreSQL, slower.
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// The windows that start in `[from_ms, to_ms)`; `None` unless all of that range is known.
    pub async fn recent(
        &self,
        server_id: i32,
        from_ms: i64,
        to_ms: i64,
        freshness: Freshness,
    ) -> Option<Recent> {
        let first = from_ms.div_euclid(WINDOW) + i64::from(from_ms.rem_euclid(WINDOW) != 0);
        let end = to_ms.div_euclid(WINDOW) + i64::from(to_ms.rem_euclid(WINDOW) != 0);
        let known = self.catalog.version(server_id);
        let found: Option<Found> = self
            .ask("recent", async |redis| {
                scripts::READ
                    .key(self.recent_key(server_id))
                    .key(self.series_key(server_id))
                    .arg(self.lease_key(""))
                    .arg(first)
                    .arg(end)
                    .arg(&known)
                    .arg(i32::from(freshness == Freshness::Exact))
                    .arg(server_id)
                    .invoke_async(redis)
                    .await
            })
            .await?;
        let found = found.and_then(|(newest, windows, series)| {
            let mut rows = Vec::new();
            for (number, blob) in windows {
                rows.extend(blob::decode(&blob, number * WINDOW)?);
            }
            let series = series.and_then(|told| self.catalog.learn(server_id, told));
            Some(Recent { rows, newest_ms: newest * WINDOW, series })
        });
        self.seen("recent", found)
    }

    /// All series of a server, by id.
    pub async fn series(&self, server_id: i32, freshness: Freshness) -> Option<Arc<Vec<SeriesMeta>>> {
        let known = self.catalog.version(server_id);
        let told: Option<catalog::Told> = self
            .ask("series", async |redis| {
                scripts::READ_SERIES
                    .key(self.series_key(server_id))
                    .arg(self.lease_key(""))
                    .arg(&known)
                    .arg(i32::from(freshness == Freshness::Exact))
                    .arg(server_id)
                    .invoke_async(redis)
                    .await
            })
            .await?;
        self.seen("series", told.and_then(|told| self.catalog.learn(server_id, told)))
    }

    /// The servers by name, as last known: to be marked as stale.
    pub async fn servers_last_known(&self) -> Option<Vec<Server>> {
        let all: std::collections::HashMap<String, String> =
            self.ask("servers", async |redis| redis.hgetall(self.servers_key()).await).await?;
        let mut servers =
            all.values().map(|text| serde_json::from_str(text).ok()).collect::<Option<Vec<Server>>>()?;
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        self.seen("servers", (!servers.is_empty()).then_some(servers))
    }

    /// Replaces what is last known of a server, when a person said something new of it. Nobody waits for Redis: its writer
    /// says the same with the server's next window.
    pub async fn replace_server(&self, server: &Server) {
        let Ok(text) = serde_json::to_string(server) else { return };
        let replaced: Option<bool> = self
            .ask("replace", async |redis| {
                scripts::REPLACE.key(self.servers_key()).arg(server.id).arg(&text).invoke_async(redis).await
            })
            .await;
        if let Some(there) = replaced {
            self.seen("replace", there.then_some(()));
        }
    }

    /// The open alerts, newest first, as last known: to be marked as stale.
    pub async fn open_alerts_last_known(&self) -> Option<Vec<StoredAlert>> {
        let all: std::collections::HashMap<String, String> =
            self.ask("alerts", async |redis| redis.hgetall(self.open_alerts_key()).await).await?;
        let mut alerts =
            all.values().map(|text| serde_json::from_str(text).ok()).collect::<Option<Vec<StoredAlert>>>()?;
        alerts.sort_by(|a, b| {
            (b.alert.starts_at, &a.alert.alert_id).cmp(&(a.alert.starts_at, &b.alert.alert_id))
        });
        self.seen("alerts", Some(alerts))
    }

    /// What a reader has kept under this key for others; true as far as it itself says.
    pub async fn kept(&self, key: &str) -> Option<Vec<u8>> {
        let found: Option<Vec<u8>> =
            self.ask("kept", async |redis| redis.get(self.kept_key(key)).await).await?;
        self.seen("kept", found)
    }

    /// Keeps something for other readers, for a tenth less than `time` or up to that: what many keep at once does not go at
    /// once.
    pub async fn keep(&self, key: &str, value: &[u8], time: Duration) {
        let most = time.as_millis() as u64;
        let lifetime = rand::random_range(most - most / 10..=most);
        let keep =
            async |redis: &mut ConnectionManager| redis.pset_ex(self.kept_key(key), value, lifetime).await;
        let _: Option<()> = self.ask("keep", keep).await;
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> bool {
        self.ask("ping", async |redis| redis::cmd("PING").query_async::<String>(redis).await).await.is_some()
    }

    /// A read: its failure is counted and told by `None`.
    async fn ask<T>(
        &self,
        call: &str,
        make: impl AsyncFnOnce(&mut ConnectionManager) -> Result<T, RedisError>,
    ) -> Option<T> {
        match self.guard(self.timeout, make).await {
            Ok(value) => Some(value),
            Err(error) => {
                let outcome = if matches!(error, HotError::Open) { "skipped" } else { "error" };
                self.calls.with_label_values(&[call, outcome]).inc();
                tracing::debug!(call, %error, "ask redis");
                None
            }
        }
    }

    fn seen<T>(&self, call: &str, value: Option<T>) -> Option<T> {
        let outcome = if value.is_some() { "hit" } else { "miss" };
        self.calls.with_label_values(&[call, outcome]).inc();
        value
    }

    async fn guard<T>(
        &self,
        timeout: Duration,
        make: impl AsyncFnOnce(&mut ConnectionManager) -> Result<T, RedisError>,
    ) -> Result<T, HotError> {
        let mut connection = self.link.connection();
        let limited = async {
            match within(timeout, make(&mut connection)).await {
                Some(result) => result.map_err(HotError::Redis),
                None => Err(HotError::Timeout),
            }
        };
        match self.breaker.call(limited).await {
            Ok(value) => Ok(value),
            Err(BreakerError::Open) => Err(HotError::Open),
            Err(BreakerError::Failed(error)) => {
                // the next probe is not to depend on what became of this connection
                if self.breaker.is_open() {
                    self.link.renew();
                }
                Err(error)
            }
        }
    }
}

async fn within<T>(timeout: Duration, call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(timeout, call).await.ok()
}

/// What [`scripts::READ`] answers: newest window, window number and blob for each window found, the series.
type Found = (i64, Vec<(i64, Vec<u8>)>, Option<catalog::Told>);

impl Hot {
    fn recent_key(&self, server_id: i32) -> String {
        format!("{}recent:{server_id}", self.prefix)
    }

    fn series_key(&self, server_id: i32) -> String {
        format!("{}series:{server_id}", self.prefix)
    }

    fn kept_key(&self, key: &str) -> String {
        format!("{}kept:{key}", self.prefix)
    }

    fn servers_key(&self) -> String {
        format!("{}servers", self.prefix)
    }

    fn open_alerts_key(&self) -> String {
        format!("{}alerts:open", self.prefix)
    }

    fn lease_key(&self, epoch: &str) -> String {
        format!("{}lease:{epoch}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use tidewatch_service_kit::{Metrics, breaker};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Handlers run on any thread of the runtime.
    #[test]
    fn answers_can_be_awaited_on_any_thread() {
        fn sendable<T: Send>(_: impl FnOnce(&'static Hot) -> T) {}
        sendable(|hot| hot.recent(1, 0, 1, Freshness::Exact));
        sendable(|hot| hot.series(1, Freshness::Exact));
        sendable(Hot::servers_last_known);
    }

    /// Answers every command; a beginning of an answer is the last that a client hears.
    async fn answer(mut client: TcpStream, answer: &'static [u8]) {
        let mut buffer = [0; 4_096];
        while let Ok(n) = client.read(&mut buffer).await
            && n > 0
        {
            let commands = buffer[..n].split(|&byte| byte == b'*').count() - 1;
            let sent = client.write_all(&answer.repeat(commands)).await;
            if sent.is_err() || !answer.ends_with(b"\n") {
                return;
            }
        }
    }

    /// The client tries twice for each call.
    async fn redis_that_is_cut_off_at_first(listener: TcpListener, cut: &'static [u8]) {
        for _ in 0..4 {
            let (client, _) = listener.accept().await.expect("a client");
            answer(client, cut).await;
        }
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(answer(client, b"+PONG\r\n"));
        }
    }

    #[tokio::test]
    async fn a_connection_that_broke_while_it_was_set_up_is_made_again() {
        let asked = ["+O", "+OK\r", "$5\r\nab"].map(async |cut: &'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
            let url = format!("redis://{}/", listener.local_addr().expect("address"));
            tokio::spawn(redis_that_is_cut_off_at_first(listener, cut.as_bytes()));
            let metrics = Metrics::default();
            let breaker =
                Breaker::new(&breaker::gauges(&metrics), "test", "redis", 3, Duration::from_secs(1));
            let calls = metrics.counters("tidewatch_test_calls_total", "Calls", &["call", "outcome"]);
            let hot = Hot::new(&url, "tw:", Duration::from_millis(150), breaker, calls).expect("url");
            let until = std::time::Instant::now() + Duration::from_secs(15);
            while !hot.ping().await {
                assert!(std::time::Instant::now() < until, "redis is never asked again after {cut:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        futures_util::future::join_all(asked).await;
    }
}
