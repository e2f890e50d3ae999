//! One transaction: the offsets of a batch by compare-and-set, then its rows, then the commit.
//!
//! In: items in the order they were read. Out: what Redis has to be told. Invariant: rows and offsets are committed
//! together or not at all; a row that is there already changes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use hashbrown::{HashMap, HashSet};
use sqlx::{Acquire, PgConnection};
use tidewatch_schemas::Reason;
use tidewatch_store::{
    Error, ExpectationRow, StoredAlert, Tier,
    hot::writer::Refresh,
    write::{
        catalog,
        events::{self, NewAnomaly},
        offsets::{self, Move},
        packed,
        partitions::{self, Partition, Partitioned},
    },
};

use crate::{
    metrics::SinkMetrics,
    record::{Body, Item},
};

mod again;
mod histograms;
mod ids;
mod settle;
mod windows;

pub(crate) use again::YOUNG_MS;
pub use again::{Batch, Counts, Outcome, Rewriter};

use ids::Ids;
use windows::Plan;

/// (topic, partition) -> the first offset that is not written; `None`: nothing is.
pub type Positions = HashMap<(Arc<str>, i32), Option<i64>>;

/// Why a batch is not written. After any of them nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else wrote these partitions: this instance does not own them any more.
    #[error("move offsets: another instance moved them")]
    Zombie,
    /// These items, by index, can never be written.
    #[error("write batch: {} records are no good", .0.len())]
    Bad(Vec<(usize, Reason, String)>),
    #[error(transparent)]
    Store(#[from] Error),
}

/// How far a write is let; for tests that break it off at each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Offsets,
    /// Of packed hours that rows fall into.
    Unpack,
    Samples,
    Histograms,
    Events,
    Servers,
    Commit,
}

/// Writes batches, one at a time.
#[derive(Debug)]
pub struct Writer {
    group: String,
    ids: Ids,
    /// That are there.
    partitions: HashSet<Partition>,
    metrics: SinkMetrics,
    /// Nothing is taken to be new: after a key turned out to be there.
    careful: bool,
    /// The commit was asked for and not confirmed.
    unsure: bool,
    stop_before: Option<Step>,
}

impl Writer {
    pub fn new(group: impl Into<String>, series_per_server: usize, metrics: SinkMetrics) -> Self {
        Self {
            group: group.into(),
            ids: Ids::new(series_per_server),
            partitions: HashSet::new(),
            metrics,
            careful: false,
            unsure: false,
            stop_before: None,
        }
    }

    /// Forgets what other instances may have changed: partitions came or went.
    pub fn forget(&mut self) {
        self.ids.forget();
        self.careful = false;
    }

    /// Partitions that were dropped or may have been.
    pub fn forget_partitions(&mut self) {
        self.partitions.clear();
    }

    /// Whether a commit may have happened that nobody was told of; asking resets it.
    pub fn was_unsure(&mut self) -> bool {
        std::mem::take(&mut self.unsure)
    }

    /// Takes nothing to be new in the next batch.
    pub fn be_careful(&mut self) {
        self.careful = true;
    }

    /// Breaks writes off with an error before a step, transaction open.
    pub fn stop_before(&mut self, step: Option<Step>) {
        self.stop_before = step;
    }

    fn reach(&self, step: Step) -> Result<(), Error> {
        if self.stop_before == Some(step) { Err(sqlx::Error::WorkerCrashed.into()) } else { Ok(()) }
    }

    /// Writes a batch and moves `positions`.
    pub async fn write(
        &mut self,
        conn: &mut PgConnection,
        items: &[Item],
        positions: &mut Positions,
    ) -> Result<Refresh, WriteError> {
        let began = Instant::now();
        let Some(moves) = moves(items, positions) else { return Err(WriteError::Zombie) };
        let bad = self.ids.resolve(conn, items).await?;
        if !bad.is_empty() {
            return Err(WriteError::Bad(bad));
        }
        let touched = touched(items);
        ensure_partitions(conn, &mut self.partitions, &touched).await?;
        let mut plan = Plan::new(items, &self.ids, self.careful);

        let mut transaction = conn.begin().await.map_err(Error::from)?;
        self.reach(Step::Offsets)?;
        if !offsets::advance(&mut transaction, &self.group, &moves).await? {
            return Err(WriteError::Zombie);
        }
        self.reach(Step::Unpack)?;
        // before any of their tables is touched
        let held = packed::hold(&mut transaction, &touched).await?;
        for tier in Tier::ALL {
            plan.unpacked += held.unpack(&mut transaction, tier, plan.keys(tier)).await?;
        }
        self.reach(Step::Samples)?;
        let mut refresh = Refresh::default();
        for tier in Tier::ALL {
            plan.write(&mut transaction, tier).await?;
        }
        self.reach(Step::Histograms)?;
        for tier in Tier::ALL {
            plan.histograms.write(&mut transaction, tier).await?;
        }
        self.reach(Step::Events)?;
        let (alerts, anomalies, expected) = events_of(items, &self.ids);
        let alerts = events::upsert_alerts(&mut transaction, &alerts).await?;
        events::insert_anomalies(&mut transaction, &anomalies).await?;
        events::upsert_expectations(&mut transaction, &expected).await?;
        self.reach(Step::Servers)?;
        let mut people = Vec::new();
        if !plan.seen.is_empty() {
            let seen: Vec<(i32, i64)> = plan.seen.iter().map(|(id, ms)| (*id, *ms)).collect();
            people = catalog::touch(&mut transaction, &seen).await?;
        }
        for (id, info) in &plan.described {
            catalog::describe(&mut transaction, *id, info.ip_address.as_deref(), &info.labels).await?;
        }
        self.reach(Step::Commit)?;
        self.unsure = true;
        transaction.commit().await.map_err(Error::from)?;
        self.unsure = false;

        self.careful = false;
        for m in &moves {
            if let Some(position) = positions.get_mut(&(Arc::from(m.topic.as_str()), m.partition)) {
                *position = Some(m.to);
            }
        }
        refresh.servers = self.ids.committed(&plan.seen, &plan.longer, &plan.described, people);
        refresh.series = self.ids.take_new_series();
        refresh.windows = std::mem::take(&mut plan.for_redis);
        self.record(items, &plan, began, [alerts.len(), anomalies.len(), expected.len()]);
        refresh.alerts = alerts;
        Ok(refresh)
    }

    /// All series of a server for Redis, again.
    pub fn series_again(&mut self, server_id: i32) {
        self.ids.series_again(server_id);
    }

    fn record(&self, items: &[Item], plan: &Plan, began: Instant, events: [usize; 3]) {
        let now = chrono::Utc::now().timestamp_millis();
        let newest = items.iter().filter_map(|item| item.timestamp).max();
        self.metrics.record_commit(began.elapsed(), newest.map(|ms| now - ms));
        let mut topics: BTreeMap<&str, usize> = BTreeMap::new();
        for item in items {
            *topics.entry(&item.topic).or_default() += 1;
        }
        for (topic, n) in topics {
            self.metrics.record_records(topic, n);
        }
        for (tier, rows) in Tier::ALL.into_iter().zip(plan.written) {
            self.metrics.record_rows(tier.table(), rows);
        }
        for (tier, rows) in Tier::ALL.into_iter().zip(plan.histograms.written) {
            self.metrics.record_rows(tier.histograms(), rows);
        }
        for (table, rows) in ["alerts", "anomalies", "expectations"].into_iter().zip(events) {
            self.metrics.record_rows(table, rows);
        }
        self.metrics.record_known_rows(plan.known + plan.histograms.known);
        self.metrics.record_unpacked(plan.unpacked);
    }
}

/// Makes those partitions that are not known to be there.
async fn ensure_partitions(
    conn: &mut PgConnection,
    there: &mut HashSet<Partition>,
    touched: &[Partition],
) -> Result<(), Error> {
    for partition in touched {
        if !there.contains(partition) {
            partitions::ensure(conn, *partition).await?;
            there.insert(*partition);
        }
    }
    Ok(())
}

/// The events of the items, with the ids of whom they speak of.
fn events_of(items: &[Item], ids: &Ids) -> (Vec<StoredAlert>, Vec<NewAnomaly>, Vec<ExpectationRow>) {
    let (mut alerts, mut anomalies, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        match &item.body {
            Body::Alert(alert) => {
                if let Some(server_id) = ids.server_id(&alert.server) {
                    alerts.push(StoredAlert { server_id, alert: (**alert).clone() });
                }
            }
            Body::Anomaly(anomaly) => {
                if let Some(series_id) = ids.series_id(&anomaly.server, &anomaly.metric, &anomaly.labels) {
                    anomalies.push(NewAnomaly {
                        series_id,
                        ts_ms: anomaly.window_start,
                        window_ms: anomaly.window_ms as i32,
                        value: anomaly.value,
                        expected_low: anomaly.expected_low,
                        expected_high: anomaly.expected_high,
                        score: anomaly.score,
                        method: anomaly.method.clone(),
                    });
                }
            }
            Body::Expected(frame) => {
                for (i, series) in frame.layout.iter().enumerate() {
                    // a band without an end is none
                    if frame.low[i].is_nan() || frame.high[i].is_nan() {
                        continue;
                    }
                    if let Some(series_id) = ids.series_id(&frame.server, &series.metric, &series.labels) {
                        expected.push(ExpectationRow {
                            series_id,
                            ts_ms: frame.window_start,
                            window_ms: frame.window_ms as i32,
                            low: frame.low[i],
                            high: frame.high[i],
                        });
                    }
                }
            }
            _ => {}
        }
    }
    (alerts, anomalies, expected)
}

/// The partitions that the items' rows are in, each once.
fn touched(items: &[Item]) -> Vec<Partition> {
    let mut touched: Vec<Partition> = Vec::new();
    for item in items {
        match &item.body {
            Body::Windows(tier, frame) => {
                touched.push(Partitioned::Samples(*tier).of(frame.window_start));
                if !frame.histograms.is_empty() {
                    touched.push(Partitioned::Histograms(*tier).of(frame.window_start));
                }
            }
            Body::Expected(expected) => {
                touched.push(Partitioned::Expectations.of(expected.window_start));
            }
            _ => {}
        }
    }
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// Each partition's step over the items; `None` for a partition that is not ours.
fn moves(items: &[Item], positions: &Positions) -> Option<Vec<Move>> {
    let mut ends: BTreeMap<(Arc<str>, i32), i64> = BTreeMap::new();
    for item in items {
        ends.insert((Arc::clone(&item.topic), item.partition), item.offset + 1);
    }
    ends.into_iter()
        .map(|((topic, partition), to)| {
            let from = *positions.get(&(Arc::clone(&topic), partition))?;
            Some(Move { topic: topic.to_string(), partition, from, to })
        })
        .collect()
}
