//! Writes records that are read again: what is missing comes back, what differs becomes what the topic says, and what is as
//! it should be is left alone, packed or not.
//!
//! In: all parts of each window that the topic has, together. Keeps: no row gets fewer samples, no source offset moves; a
//! sink at work on the same Kafka partitions waits for one transaction at most, and the other way round.

use std::collections::BTreeSet;

use hashbrown::HashSet;
use sqlx::{Acquire, PgConnection};
use tidewatch_store::{
    Error, Tier,
    hot::writer::ServerWindow,
    write::{
        catalog,
        events::{self, NewAnomaly},
        histograms, offsets, packed,
        partitions::Partition,
        samples,
    },
};

use super::{ensure_partitions, events_of, ids::Ids, settle::Left, touched, windows::Plan};
use crate::record::{Body, Item};

mod batch;
mod judge;

pub use batch::{Batch, Counts, Outcome};

/// What is known between batches of a replay.
#[derive(Debug)]
pub struct Rewriter {
    /// The sink's, whose writers wait while a batch is written.
    group: String,
    ids: Ids,
    /// That are there.
    partitions: HashSet<Partition>,
    /// Changes nothing.
    is_dry: bool,
}

impl Rewriter {
    pub fn new(group: impl Into<String>, series_per_server: usize, is_dry: bool) -> Self {
        let ids = Ids::of_the_past(series_per_server);
        Self { group: group.into(), ids, partitions: HashSet::new(), is_dry }
    }

    /// Partitions that were dropped or may have been.
    pub fn forget_partitions(&mut self) {
        self.partitions.clear();
    }

    /// Compares windows or bands with what is there, without a lock. Left is what has to be written; in a dry run nothing is.
    pub async fn look(&mut self, conn: &mut PgConnection, batch: &Batch) -> Result<Outcome, Error> {
        if !self.is_dry {
            let refused = self.resolve(conn, &batch.items).await?;
            return self.compare(conn, batch, &refused).await;
        }
        // names that are new get their ids, and lose them again
        self.ids.forget();
        let mut transaction = conn.begin().await?;
        let refused = self.resolve(&mut transaction, &batch.items).await?;
        let outcome = self.compare(&mut transaction, batch, &refused).await?;
        transaction.rollback().await?;
        Ok(outcome)
    }

    async fn compare(
        &self,
        conn: &mut PgConnection,
        batch: &Batch,
        refused: &HashSet<usize>,
    ) -> Result<Outcome, Error> {
        let held = packed::look(conn, &touched(&batch.items)).await?;
        let left = if self.is_dry { Left::Nothing } else { Left::Unsettled };
        let (mut outcome, _) = self.judge(conn, batch, refused, &held, false).await?.sort(left);
        // those of windows that are left are told when these are written
        let is_left = |index: &usize| outcome.left.iter().any(|n| batch.groups[*n].items.contains(index));
        outcome.counts.refused = refused.iter().filter(|index| !is_left(index)).count() as u64;
        Ok(outcome)
    }

    /// Writes windows or bands in one transaction. Left is, unless `is_last`, what somebody wrote who has read further.
    pub async fn write(
        &mut self,
        conn: &mut PgConnection,
        batch: &Batch,
        is_last: bool,
    ) -> Result<Outcome, Error> {
        let refused = self.resolve(conn, &batch.items).await?;
        let touched = touched(&batch.items);
        ensure_partitions(conn, &mut self.partitions, &touched).await?;
        let mut transaction = conn.begin().await?;
        offsets::hold(&mut transaction, &self.group, &sources(&batch.items)).await?;
        let held = packed::hold(&mut transaction, &touched).await?;
        let mut plan = Plan::default();
        let judged = self.judge(&mut transaction, batch, &refused, &held, is_last).await?;
        let tier = judged.tier;
        let (mut outcome, mut rows) = judged.sort(Left::Ahead);
        if let Some(tier) = tier {
            rows.windows.sort_by_key(|row| (row.series_id, row.ts_ms));
            let keys = rows.windows.iter().map(|row| (row.series_id, row.ts_ms));
            held.unpack(&mut transaction, tier, keys).await?;
            samples::replace(&mut transaction, tier, &rows.windows).await?;
            rows.histograms.sort_by_key(|row| (row.series_id, row.ts_ms));
            histograms::replace(&mut transaction, tier, &rows.histograms).await?;
            self.tell(&mut plan, batch, &outcome.left);
        }
        events::upsert_expectations(&mut transaction, &rows.bands).await?;
        outcome.counts.refused = refused.len() as u64;
        let seen: Vec<(i32, i64)> = plan.seen.iter().map(|(id, ms)| (*id, *ms)).collect();
        let people =
            if seen.is_empty() { Vec::new() } else { catalog::touch(&mut transaction, &seen).await? };
        for (id, info) in &plan.described {
            catalog::describe(&mut transaction, *id, info.ip_address.as_deref(), &info.labels).await?;
        }
        transaction.commit().await?;
        // a sink tells Redis of servers with their next window
        self.ids.committed(&plan.seen, &plan.longer, &plan.described, people);
        outcome.refresh.series = self.ids.take_new_series();
        outcome.refresh.windows = plan.for_redis;
        Ok(outcome)
    }

    /// Writes anomalies or alerts.
    pub async fn write_events(&mut self, conn: &mut PgConnection, items: &[Item]) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        let known = if self.is_dry {
            self.ids.forget();
            HashSet::new()
        } else {
            self.resolve(conn, items).await?
        };
        let mut transaction = conn.begin().await?;
        let refused = if self.is_dry { self.resolve(&mut transaction, items).await? } else { known };
        let (alerts, mut anomalies, _) = events_of(items, &self.ids);
        let counts = &mut outcome.counts;
        counts.refused = refused.len() as u64;

        let key = |row: &NewAnomaly| (row.series_id, row.ts_ms);
        anomalies.sort_by_key(key);
        anomalies.dedup_by_key(|row| key(row));
        let made = events::insert_anomalies(&mut transaction, &anomalies).await?;
        counts.made += made;
        counts.unchanged += anomalies.len() as u64 - made;

        let ids: BTreeSet<&str> = alerts.iter().map(|stored| stored.alert.alert_id.as_str()).collect();
        let asked: Vec<&str> = ids.iter().copied().collect();
        let there = events::alerts_there(&mut transaction, &asked).await?;
        let news = events::upsert_alerts(&mut transaction, &alerts).await?;
        let changed: BTreeSet<&str> = news.iter().map(|stored| stored.alert.alert_id.as_str()).collect();
        let merged = changed.iter().filter(|id| there.contains(**id)).count();
        counts.merged += merged as u64;
        counts.made += (changed.len() - merged) as u64;
        counts.unchanged += (ids.len() - changed.len()) as u64;

        if self.is_dry {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
            outcome.refresh.alerts = news;
            outcome.refresh.series = self.ids.take_new_series();
        }
        Ok(outcome)
    }

    /// Ids for all that the items name; the items that would give their server too many series, by index.
    async fn resolve(&mut self, conn: &mut PgConnection, items: &[Item]) -> Result<HashSet<usize>, Error> {
        self.ids.servers(conn, items).await?;
        self.ids.nothing_new();
        Ok(self.ids.resolve(conn, items).await?.into_iter().map(|(index, ..)| index).collect())
    }

    /// What is to be known of the servers whose windows are written.
    fn tell(&self, plan: &mut Plan, batch: &Batch, left: &[usize]) {
        let young = chrono::Utc::now().timestamp_millis() - YOUNG_MS;
        for (number, group) in batch.groups.iter().enumerate() {
            let last = &batch.items[group.items.end - 1];
            let Body::Windows(Tier::TenSeconds, frame) = &last.body else { continue };
            let Some(known) = self.ids.known(&frame.server).filter(|_| !left.contains(&number)) else {
                continue;
            };
            let (id, end) = (known.server.id, frame.window_end());
            if end > plan.seen.get(&id).copied().unwrap_or(known.server.last_seen_ms) {
                plan.seen.insert(id, end);
                plan.describe(frame, known);
            }
            if frame.window_start >= young {
                let window =
                    ServerWindow { server_id: id, ts_ms: frame.window_start, is_newest: false, rows: vec![] };
                plan.for_redis.push(window);
            }
        }
    }
}

/// Redis knows nothing of windows that are older.
pub(crate) const YOUNG_MS: i64 = 3_600_000;

/// Topics and partitions that the items came from, each once.
fn sources(items: &[Item]) -> Vec<(&str, i32)> {
    let sources: BTreeSet<(&str, i32)> = items.iter().map(|item| (&*item.topic, item.partition)).collect();
    sources.into_iter().collect()
}
