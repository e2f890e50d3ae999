//! From a batch to a commit, whatever it takes: waits for PostgreSQL, sends what cannot be written to the dead letters,
//! finds the one bad record by halving, and then tells Redis: at once, or while the next batch, if there is one, is written.
//!
//! Invariant: a batch is given up only when its partitions are not ours any more. Redis hears of commits in their order, and
//! is never more than one behind.

use std::{future::Future, pin::Pin, sync::Arc};

use hashbrown::HashMap;
use tidewatch_schemas::Reason;
use tidewatch_service_kit::{Shutdown, health::Component, retry};
use tidewatch_store::{
    Error, History,
    hot::{
        HotError,
        writer::{HotWriter, Refresh, Refreshed},
    },
};
use tokio::sync::{Mutex, mpsc};

use crate::{
    dead_letter::DeadLetters,
    metrics::SinkMetrics,
    record::{Body, Item},
    write::{Positions, WriteError, Writer},
};

mod transact;

use transact::transact;

/// Records read under one assignment of partitions.
#[derive(Debug)]
pub struct Batch {
    /// Of the assignment.
    pub generation: u64,
    pub items: Vec<Item>,
}

/// Which partitions are ours and how far they are written. Held while a batch is written, so that a new assignment never
/// reads offsets that are about to move.
#[derive(Debug, Default)]
pub struct Owned {
    pub generation: u64,
    pub positions: Positions,
}

pub type SharedOwned = Arc<Mutex<Owned>>;

/// What the consumer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// (topic, partition) -> the offset to commit to Kafka, for lag tools.
    Committed(u64, HashMap<(Arc<str>, i32), i64>),
    /// The assignment of that generation is void: join again.
    Lost(u64),
    /// A batch was given up; its assignment is over anyway.
    GivenUp,
}

/// Why a batch was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenUp {
    /// Another assignment has replaced the batch's.
    Superseded,
    /// Another instance writes its partitions.
    Zombie,
    Shutdown,
}

/// Commits batches, one at a time.
#[derive(Debug)]
pub struct Committer<D> {
    pub history: History,
    pub hot: HotWriter,
    pub writer: Writer,
    pub dead_letters: D,
    pub owned: SharedOwned,
    pub metrics: SinkMetrics,
    pub health: Component,
    pub shutdown: Shutdown,
    /// Whether PostgreSQL, Kafka's dead letters or Redis were away at the last look: each is said once.
    away: Away,
    generation: u64,
    /// What the last commit changed, if Redis has not been told yet.
    untold: Option<Refresh>,
}

#[derive(Debug, Default)]
struct Away {
    postgresql: bool,
    dead_letters: bool,
    /// Refreshes that failed in a row.
    redis: u32,
}

/// How long a batch in hand may still take after the wish to stop.
const LAST_TRIES: u32 = 3;
/// Failed refreshes of Redis in a row that are worth a word.
const FAILURES_TOLD: u32 = 2;
/// Dead letters on their way at once.
const LETTERS_AT_ONCE: usize = 500;

impl<D: DeadLetters + Send + Sync> Committer<D> {
    #[expect(clippy::too_many_arguments, reason = "its parts, given once by `run` and by tests")]
    pub fn new(
        history: History,
        hot: HotWriter,
        writer: Writer,
        dead_letters: D,
        owned: SharedOwned,
        metrics: SinkMetrics,
        health: Component,
        shutdown: Shutdown,
    ) -> Self {
        let away = Away::default();
        Self {
            history,
            hot,
            writer,
            dead_letters,
            owned,
            metrics,
            health,
            shutdown,
            away,
            generation: 0,
            untold: None,
        }
    }

    /// Until the consumer hangs up.
    pub async fn run(&mut self, mut batches: mpsc::Receiver<Batch>, told: &std::sync::mpsc::Sender<Told>) {
        let mut beat = tokio::time::interval(std::time::Duration::from_secs(1));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next = None;
        loop {
            let batch = if let Some(batch) = next.take() {
                batch
            } else {
                tokio::select! {
                    batch = batches.recv() => match batch {
                        Some(batch) => batch,
                        None => return,
                    },
                    _ = beat.tick() => {
                        self.beat().await;
                        continue;
                    }
                }
            };
            let generation = batch.generation;
            let ends = ends(&batch.items);
            let message = match self.commit(batch).await {
                Ok(()) => Told::Committed(generation, ends),
                Err(GivenUp::Superseded | GivenUp::Shutdown) => Told::GivenUp,
                Err(GivenUp::Zombie) => {
                    tracing::warn!(generation, "another instance writes our partitions, join again");
                    Told::Lost(generation)
                }
            };
            next = batches.try_recv().ok();
            if next.is_none() {
                self.tell_redis().await;
            }
            if told.send(message).is_err() {
                return;
            }
        }
    }

    async fn commit(&mut self, batch: Batch) -> Result<(), GivenUp> {
        if batch.generation != self.generation {
            // what was committed under the assignment before is the old epoch's
            self.tell_redis().await;
        }
        self.adopt(batch.generation);
        let mut items = batch.items;
        self.settle(batch.generation, &mut items).await
    }

    /// Under another assignment what other instances wrote meanwhile is not in our caches, nor in what Redis has from us.
    fn adopt(&mut self, generation: u64) {
        if generation != self.generation {
            self.generation = generation;
            self.writer.forget();
            self.hot.restart();
        }
    }

    /// Writes the items, in as many transactions as it takes.
    fn settle<'a>(
        &'a mut self,
        generation: u64,
        items: &'a mut [Item],
    ) -> Pin<Box<dyn Future<Output = Result<(), GivenUp>> + Send + 'a>> {
        Box::pin(async move {
            let (mut attempt, mut partitions_checked) = (0, false);
            loop {
                self.bury(generation, items).await?;
                match self.write(generation, items).await? {
                    Ok(refresh) => {
                        self.recovered();
                        self.untold = Some(refresh);
                        return Ok(());
                    }
                    Err(WriteError::Zombie) => {
                        self.metrics.record_failure("zombie");
                        return Err(GivenUp::Zombie);
                    }
                    Err(WriteError::Bad(bad)) => {
                        for (index, reason, message) in bad {
                            items[index].body = Body::Bad(reason, message);
                        }
                    }
                    Err(WriteError::Store(Error::Conflict(error))) => {
                        // a row that was taken to be new is there: look before writing
                        tracing::debug!(%error, "write batch with care");
                        self.metrics.record_failure("conflict");
                        self.writer.be_careful();
                    }
                    Err(WriteError::Store(Error::Refused(error))) => {
                        self.metrics.record_failure("refused");
                        // a partition that retention dropped, perhaps: made again, once
                        if !std::mem::replace(&mut partitions_checked, true) {
                            self.writer.forget_partitions();
                            continue;
                        }
                        if let [item] = items {
                            item.body = Body::Bad(Reason::Refused, error.to_string());
                            continue;
                        }
                        let (left, right) = items.split_at_mut(items.len() / 2);
                        self.settle(generation, left).await?;
                        return self.settle(generation, right).await;
                    }
                    Err(WriteError::Store(error)) => {
                        self.failed(&error).await;
                        self.pause(&mut attempt).await?;
                    }
                }
            }
        })
    }

    /// One transaction, and meanwhile what Redis has still to be told of the one before. The outer result is about the
    /// assignment, the inner about PostgreSQL.
    async fn write(
        &mut self,
        generation: u64,
        items: &[Item],
    ) -> Result<Result<Refresh, WriteError>, GivenUp> {
        let untold = self.untold.take();
        let earlier = async {
            match &untold {
                Some(refresh) => Some(self.hot.refresh(refresh).await),
                None => None,
            }
        };
        let write = transact(&self.history, &mut self.writer, &self.owned, generation, items);
        let (written, refreshed) = tokio::join!(write, earlier);
        if let (Some(refresh), Some(refreshed)) = (untold, refreshed) {
            self.refreshed(&refresh, refreshed);
        }
        written
    }

    /// Sends dead letters; afterwards only their offsets are left to write, and what was good of them.
    async fn bury(&mut self, generation: u64, items: &mut [Item]) -> Result<(), GivenUp> {
        let mut attempt = 0;
        loop {
            let bad = items.iter_mut().filter(|item| matches!(item.body, Body::Bad(..) | Body::Partly(..)));
            let mut bad: Vec<&mut Item> = bad.take(LETTERS_AT_ONCE).collect();
            if bad.is_empty() {
                return Ok(());
            }
            if self.owned.lock().await.generation != generation {
                return Err(GivenUp::Superseded);
            }
            // Kafka may take its time
            self.tell_redis().await;
            let letters = &self.dead_letters;
            let sending = bad.iter().map(|item| async {
                match &item.body {
                    Body::Bad(reason, message) | Body::Partly(reason, message, _) => {
                        letters.send(item, *reason, message).await
                    }
                    _ => Ok(()),
                }
            });
            let mut failure = None;
            let all_sent = futures_util::future::join_all(sending).await;
            for (item, sent) in bad.iter_mut().zip(all_sent) {
                if let Err(error) = sent {
                    failure = Some(error);
                    continue;
                }
                let (reason, message, rest) = match std::mem::replace(&mut item.body, Body::Nothing) {
                    Body::Bad(reason, message) => (reason, message, Body::Nothing),
                    Body::Partly(reason, message, rest) => (reason, message, *rest),
                    other => {
                        item.body = other;
                        continue;
                    }
                };
                self.metrics.record_dead_letter(reason);
                tracing::debug!(topic = &*item.topic, item.partition, item.offset, %reason, message, "dead letter");
                item.body = rest;
            }
            if let Some(error) = failure {
                if !std::mem::replace(&mut self.away.dead_letters, true) {
                    tracing::warn!(%error, "send dead letters, try until it works");
                }
                self.beat().await;
                self.pause(&mut attempt).await?;
            } else if std::mem::take(&mut self.away.dead_letters) {
                tracing::info!("dead letters are accepted again");
            }
        }
    }

    /// PostgreSQL did not take a batch that is good: said once, with what a person can do about it.
    async fn failed(&mut self, error: &Error) {
        let (kind, waits_for) = match error {
            Error::Denied(_) => {
                ("denied", "PostgreSQL refuses the credentials: correct --postgres-url or the role")
            }
            Error::Open => ("open", "PostgreSQL is away"),
            Error::Unavailable(_) | Error::Timeout(_) => ("unavailable", "PostgreSQL is away"),
            _ => ("unexpected", "PostgreSQL refuses the batch for a reason the sink does not know"),
        };
        self.metrics.record_failure(kind);
        self.health.waiting(waits_for);
        if !std::mem::replace(&mut self.away.postgresql, true) {
            tracing::warn!(%error, "write batch, pause and try until it works");
        }
        if self.writer.was_unsure() {
            self.hot.restart();
        }
        self.beat().await;
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.away.postgresql) {
            self.health.ready();
            tracing::info!("postgresql takes batches again");
        }
    }

    async fn pause(&self, attempt: &mut u32) -> Result<(), GivenUp> {
        let pause = retry::pause(*attempt);
        *attempt += 1;
        if self.shutdown.is_triggered() && *attempt > LAST_TRIES {
            return Err(GivenUp::Shutdown);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Whatever the last commit changed, if Redis has not been told yet.
    async fn tell_redis(&mut self) {
        if let Some(refresh) = self.untold.take() {
            let refreshed = self.hot.refresh(&refresh).await;
            self.refreshed(&refresh, refreshed);
        }
    }

    fn refreshed(&mut self, refresh: &Refresh, refreshed: Result<Refreshed, HotError>) {
        match refreshed {
            Ok(refreshed) => {
                refreshed.lacking_series.into_iter().for_each(|id| self.writer.series_again(id));
                self.redis_is(None);
            }
            Err(error) => {
                self.metrics.record_refresh_error();
                // the series it would have been told with the next window of a server are lost on it
                refresh.series.iter().for_each(|(id, _)| self.writer.series_again(*id));
                self.redis_is(Some(&error.to_string()));
            }
        }
    }

    /// Keeps Redis' answers exact while nothing is committed. For partitions that are somebody else's now, or that are
    /// changing hands, it vouches no longer.
    async fn beat(&mut self) {
        let Ok(generation) = self.owned.try_lock().map(|owned| owned.generation) else { return };
        self.adopt(generation);
        let result = self.hot.heartbeat().await;
        self.redis_is(result.err().map(|error| error.to_string()).as_deref());
    }

    /// Said once it lasts: a single refresh that came too late costs some answers their source and nobody anything.
    fn redis_is(&mut self, error: Option<&str>) {
        let Some(error) = error else {
            if std::mem::take(&mut self.away.redis) >= FAILURES_TOLD {
                tracing::info!("redis is refreshed again");
            }
            return;
        };
        self.away.redis = self.away.redis.saturating_add(1);
        if self.away.redis == FAILURES_TOLD {
            tracing::warn!(error, "refresh redis; answers come from postgresql");
        }
    }
}

fn ends(items: &[Item]) -> HashMap<(Arc<str>, i32), i64> {
    items.iter().map(|item| ((Arc::clone(&item.topic), item.partition), item.offset + 1)).collect()
}
