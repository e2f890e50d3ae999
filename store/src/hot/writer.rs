//! Keeps Redis fresh after each commit: the sink's side.
//!
//! Invariant: under one epoch no committed window is missed. Whatever may have been missed (a refused or unanswered
//! refresh, a crash, partitions that moved) ends the epoch: its lease is deleted or runs out within [`LEASE`].

use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use redis::{Pipeline, Value};

use super::{Hot, HotError, KEPT, WINDOW, blob, catalog, scripts};
use crate::{SeriesMeta, Server, StoredAlert, WindowRow};
use tidewatch_schemas::AlertStatus;

/// How long a writer that says nothing is taken to miss nothing.
pub const LEASE: Duration = Duration::from_secs(5);

/// A whole batch may take longer than a single read.
const BATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// One window of one server, as committed.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerWindow {
    pub server_id: i32,
    pub ts_ms: i64,
    /// Whether it is newer than every window PostgreSQL had of the server. If not, the rows are not looked at.
    pub is_newest: bool,
    /// In order of series.
    pub rows: Vec<WindowRow>,
}

/// What a commit changed.
#[derive(Debug, Clone, Default)]
pub struct Refresh {
    /// In order of commit.
    pub windows: Vec<ServerWindow>,
    pub servers: Vec<Server>,
    /// All series of a server that has new ones.
    pub series: Vec<(i32, Vec<SeriesMeta>)>,
    pub alerts: Vec<StoredAlert>,
}

/// What came of a refresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Servers whose series Redis does not have (evicted, say): to be sent with the next refresh.
    pub lacking_series: HashSet<i32>,
}

/// One writer; there is one for each sink.
#[derive(Debug)]
pub struct HotWriter {
    hot: Hot,
    epoch: String,
    /// Epochs whose leases have to go before anything else is said.
    ended: Vec<String>,
    /// Refreshes under this epoch, heartbeats too.
    words: u64,
    /// Server -> the window that was appended last under this epoch.
    appended: HashMap<i32, i64>,
}

impl HotWriter {
    pub fn new(hot: Hot) -> Self {
        Self { hot, epoch: new_epoch(), ended: Vec::new(), words: 0, appended: HashMap::new() }
    }

    /// Ends the epoch: from now on nothing that was written before is exact.
    pub fn restart(&mut self) {
        let ended = std::mem::replace(&mut self.epoch, new_epoch());
        self.ended.push(ended);
        self.words = 0;
        self.appended.clear();
        // leases older than these have run out long ago
        if self.ended.len() > 16 {
            self.ended.remove(0);
        }
    }

    /// Renews the lease while there is nothing to write; at least every second.
    pub async fn heartbeat(&mut self) -> Result<(), HotError> {
        self.refresh(&Refresh::default()).await.map(|_| ())
    }

    /// Writes what a commit changed. After an error the epoch is a new one.
    pub async fn refresh(&mut self, changed: &Refresh) -> Result<Refreshed, HotError> {
        let mut pipe = redis::pipe();
        for epoch in &self.ended {
            pipe.del(self.hot.lease_key(epoch)).ignore();
        }
        pipe.cmd("EVAL")
            .arg(scripts::LEASE)
            .arg(1)
            .arg(self.hot.lease_key(&self.epoch))
            .arg(LEASE.as_millis() as u64)
            .arg(self.words)
            .arg(self.words + 1)
            .ignore();
        self.series(&mut pipe, changed);
        let asked = self.windows(&mut pipe, changed);
        servers(&mut pipe, &self.hot.servers_key(), &changed.servers);
        alerts(&mut pipe, &self.hot.open_alerts_key(), &changed.alerts);
        let answers = self
            .hot
            .guard(BATCH_TIMEOUT.max(self.hot.timeout), async |redis| {
                pipe.query_async::<Vec<Value>>(redis).await
            })
            .await;
        match answers {
            Ok(answers) => {
                self.ended.clear();
                self.words += 1;
                let lacking = asked.iter().zip(&answers).filter(|(_, answer)| **answer == Value::Int(0));
                Ok(Refreshed { lacking_series: lacking.map(|(id, _)| *id).collect() })
            }
            Err(error) => {
                self.restart();
                Err(error)
            }
        }
    }

    fn series(&self, pipe: &mut Pipeline, changed: &Refresh) {
        for (server_id, series) in &changed.series {
            if let Some((version, text)) = catalog::text(&self.epoch, series) {
                pipe.cmd("EVAL")
                    .arg(scripts::SET_SERIES)
                    .arg(2)
                    .arg(self.hot.series_key(*server_id))
                    .arg(self.hot.lease_key(&self.epoch))
                    .arg(text)
                    .arg(lifetime())
                    .arg(*server_id)
                    .arg(version)
                    .ignore();
            }
        }
    }

    /// Returns the servers whose answers the pipeline will hold, in order.
    fn windows(&mut self, pipe: &mut Pipeline, changed: &Refresh) -> Vec<i32> {
        let kept = KEPT.as_millis() as i64 / WINDOW;
        let mut asked = Vec::new();
        for window in &changed.windows {
            let number = window.ts_ms / WINDOW;
            if window.is_newest {
                asked.push(window.server_id);
                let before = self.appended.insert(window.server_id, number).unwrap_or(-1);
                pipe.cmd("EVAL")
                    .arg(scripts::APPEND)
                    .arg(3)
                    .arg(self.hot.recent_key(window.server_id))
                    .arg(self.hot.series_key(window.server_id))
                    .arg(self.hot.lease_key(&self.epoch))
                    .arg(&self.epoch)
                    .arg(number)
                    .arg(blob::encode(&window.rows))
                    .arg(kept)
                    .arg(lifetime())
                    .arg(before)
                    .arg(window.server_id);
            } else {
                pipe.cmd("EVAL")
                    .arg(scripts::FORGET)
                    .arg(2)
                    .arg(self.hot.recent_key(window.server_id))
                    .arg(self.hot.lease_key(&self.epoch))
                    .arg(number)
                    .arg(window.server_id)
                    .ignore();
            }
        }
        asked
    }
}

fn servers(pipe: &mut Pipeline, key: &str, servers: &[Server]) {
    for server in servers {
        if let Ok(text) = serde_json::to_string(server) {
            pipe.hset(key, server.id, text).ignore();
        }
    }
}

fn alerts(pipe: &mut Pipeline, key: &str, alerts: &[StoredAlert]) {
    for stored in alerts {
        match (stored.alert.status, serde_json::to_string(stored)) {
            (AlertStatus::Firing, Ok(text)) => {
                pipe.hset(key, &stored.alert.alert_id, text).ignore();
            }
            _ => {
                pipe.hdel(key, &stored.alert.alert_id).ignore();
            }
        }
    }
}

/// Milliseconds a server's keys live without a write: with jitter, so that a fleet's do not expire at once.
fn lifetime() -> u64 {
    let kept = KEPT.as_millis() as u64;
    kept + rand::random_range(kept / 10..kept / 3)
}

/// Nobody else's: 128 random bits.
fn new_epoch() -> String {
    format!("{:032x}", rand::random::<u128>())
}
