//! Polls Kafka on a thread of its own, cuts batches by size and age, and commits to Kafka what PostgreSQL has.
//!
//! Where a partition starts is PostgreSQL's word, not Kafka's. When batches are not taken (PostgreSQL is away) the
//! partitions are paused and polling goes on, so that the group keeps us and memory stays bounded.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use tidewatch_service_kit::{
    Shutdown,
    health::Component,
    kafka::{Group, GroupChange, Start},
    retry,
};
use tidewatch_store::{Error, History, write::offsets};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    commit::{Batch, SharedOwned, Told},
    config::Config,
    metrics::SinkMetrics,
    record::{Inputs, Item, parse},
};

const POLL: Duration = Duration::from_millis(50);
/// How long an assignment waits for PostgreSQL before it is given back.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How often Kafka learns how far we are.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long a full batch waits for the committer before the partitions are paused. A pause throws away what the client has
/// fetched ahead, so one for every batch would fetch everything several times.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the last batch may take after the wish to stop.
const DRAIN: Duration = Duration::from_secs(8);

/// What the thread works with.
#[derive(Debug)]
pub(crate) struct Poller {
    pub(crate) config: Config,
    pub(crate) history: History,
    pub(crate) owned: SharedOwned,
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) told: std_mpsc::Receiver<Told>,
    pub(crate) metrics: SinkMetrics,
    pub(crate) health: Component,
    pub(crate) shutdown: Shutdown,
    pub(crate) runtime: Handle,
    /// Batches handed over of which nothing was heard yet.
    pub(crate) in_hand: usize,
}

impl Poller {
    /// Memberships, one after the other, until the wish to stop.
    pub(crate) fn run(mut self) {
        let mut attempt = 0;
        while !self.shutdown.is_triggered() {
            let began = Instant::now();
            match self.membership() {
                Ok(()) => {}
                Err(error) => {
                    if began.elapsed() > Duration::from_secs(30) {
                        attempt = 0;
                    }
                    tracing::warn!(%error, attempt, "membership ended, join again");
                    self.health.waiting(error.to_string());
                    let until = Instant::now() + retry::pause(attempt);
                    while Instant::now() < until && !self.shutdown.is_triggered() {
                        std::thread::sleep(POLL);
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// Joins, reads, and leaves: on the wish to stop, or when another instance turned out to own our partitions.
    fn membership(&mut self) -> KafkaResult<()> {
        let kafka = &self.config.kafka;
        let inputs = Inputs::new(&kafka.topics());
        let name = kafka.group(crate::dead_letter::STAGE);
        let group = Group::join(kafka, &name, &inputs.names(), self.starter(name.clone()))?;
        self.health.waiting("an assignment of partitions");
        let mut reading = Reading {
            inputs,
            generation: 0,
            items: Vec::new(),
            weight: 0,
            since: Instant::now(),
            paused: false,
            committed: BTreeMap::new(),
            untold: false,
            told_kafka: Instant::now(),
        };
        let batch_rows = self.config.sink_batch_rows as usize;
        while !self.shutdown.is_triggered() {
            let polled = group.poll(POLL)?;
            for change in &polled.changes {
                self.change(&mut reading, change);
            }
            if let Some(GroupChange::Revoked(_)) = polled.changes.last() {
                self.let_go(&mut reading);
            }
            if let Some(message) = polled.message {
                reading.take(&message);
            }
            let due = reading.weight >= batch_rows || reading.since.elapsed() >= self.config.sink_batch_age;
            if due && !reading.items.is_empty() {
                self.hand_over(&mut reading, &group)?;
            }
            if !self.listen(&mut reading) {
                return Ok(());
            }
            if reading.told_kafka.elapsed() >= COMMIT_EVERY {
                reading.tell_kafka(&group, CommitMode::Async);
                self.metrics.record_lag(group.lag());
            }
        }
        self.drain(&mut reading, &group);
        Ok(())
    }

    /// Asks PostgreSQL where each partition starts. Runs inside a rebalance, before the first record of it is fetched.
    fn starter(&self, group: String) -> impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + use<> {
        let (history, owned, runtime) = (self.history.clone(), Arc::clone(&self.owned), self.runtime.clone());
        let (shutdown, health) = (self.shutdown.clone(), self.health.clone());
        move |starts| {
            let work = async {
                // waits for the batch that is being written: its offsets are about to move
                let mut owned = owned.lock().await;
                owned.generation += 1;
                owned.positions.clear();
                let stored = stored_offsets(&history, &group, &shutdown, &health).await?;
                for start in starts.iter_mut() {
                    let known = stored.get(&(start.topic.clone(), start.partition)).copied();
                    start.offset = known;
                    owned.positions.insert((Arc::from(start.topic.as_str()), start.partition), known);
                }
                Ok(())
            };
            runtime.block_on(work)
        }
    }

    fn change(&self, reading: &mut Reading, change: &GroupChange) {
        // what was read before belongs to an assignment that is gone; PostgreSQL said where to go on
        reading.items.clear();
        reading.weight = 0;
        reading.paused = false;
        reading.committed.clear();
        reading.generation = self.runtime.block_on(async { self.owned.lock().await.generation });
        match change {
            GroupChange::Assigned(starts) => {
                // what was written and not told before is told now: a partition at rest would seem behind for ever
                reading.committed = starts
                    .iter()
                    .filter_map(|start| {
                        Some(((Arc::from(start.topic.as_str()), start.partition), start.offset?))
                    })
                    .collect();
                reading.untold = true;
                tracing::info!(
                    partitions = starts.len(),
                    generation = reading.generation,
                    "partitions assigned"
                );
                self.metrics.record_partitions(starts.len());
                self.health.ready();
            }
            GroupChange::Revoked(gone) => {
                tracing::info!(partitions = gone.len(), "partitions revoked");
                self.metrics.record_partitions(0);
            }
        }
    }

    /// Without partitions nothing is to be written any more: what is in hand belongs to somebody else.
    fn let_go(&self, reading: &mut Reading) {
        reading.generation = self.runtime.block_on(async {
            let mut owned = self.owned.lock().await;
            owned.generation += 1;
            owned.positions.clear();
            owned.generation
        });
    }

    /// Gives the batch to the committer, or pauses while it has enough to do.
    fn hand_over(&mut self, reading: &mut Reading, group: &Group) -> KafkaResult<()> {
        let is_full = reading.weight >= self.config.sink_batch_rows as usize;
        let permit = if is_full && !reading.paused {
            let room = async { tokio::time::timeout(PATIENCE, self.batches.reserve()).await };
            self.runtime.block_on(room).ok().and_then(Result::ok)
        } else {
            self.batches.try_reserve().ok()
        };
        if let Some(permit) = permit {
            permit.send(Batch { generation: reading.generation, items: std::mem::take(&mut reading.items) });
            self.in_hand += 1;
            reading.weight = 0;
            if std::mem::take(&mut reading.paused) {
                group.consumer().resume(&group.consumer().assignment()?)?;
            }
        } else if is_full && !reading.paused {
            group.consumer().pause(&group.consumer().assignment()?)?;
            reading.paused = true;
        }
        Ok(())
    }

    /// Hears what the committer has done; `false` when this membership is void.
    fn listen(&mut self, reading: &mut Reading) -> bool {
        while let Ok(told) = self.told.try_recv() {
            self.in_hand = self.in_hand.saturating_sub(1);
            match told {
                Told::Committed(generation, ends) if generation == reading.generation => {
                    reading.committed.extend(ends);
                    reading.untold = true;
                }
                Told::Lost(generation) if generation == reading.generation => return false,
                Told::Committed(..) | Told::Lost(_) | Told::GivenUp => {}
            }
        }
        true
    }

    /// The last batch, the last commit; polling goes on meanwhile.
    fn drain(&mut self, reading: &mut Reading, group: &Group) {
        let until = Instant::now() + DRAIN;
        while Instant::now() < until && (self.in_hand > 0 || !reading.items.is_empty()) {
            if !reading.items.is_empty()
                && let Ok(permit) = self.batches.try_reserve()
            {
                permit.send(Batch {
                    generation: reading.generation,
                    items: std::mem::take(&mut reading.items),
                });
                self.in_hand += 1;
            }
            match group.poll(POLL) {
                // what is read now is read again by whoever comes next
                Ok(polled) if polled.changes.is_empty() => {}
                _ => return,
            }
            if !self.listen(reading) {
                return;
            }
        }
        // whatever became of the last commit that nobody waited for
        reading.untold = true;
        reading.tell_kafka(group, CommitMode::Sync);
    }
}

/// One assignment's records on their way.
struct Reading {
    inputs: Inputs,
    generation: u64,
    items: Vec<Item>,
    weight: usize,
    /// When the first of the items came.
    since: Instant,
    paused: bool,
    /// The ends of what is written.
    committed: BTreeMap<(Arc<str>, i32), i64>,
    /// Whether Kafka has to hear of them.
    untold: bool,
    told_kafka: Instant,
}

impl Reading {
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let Some((topic, kind)) = self.inputs.of(message.topic()) else { return };
        if self.items.is_empty() {
            self.since = Instant::now();
        }
        let now = chrono::Utc::now().timestamp_millis();
        let item = Item {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            body: parse(kind, message.payload(), now),
        };
        self.weight += item.body.weight();
        self.items.push(item);
    }

    /// For tools that show the lag; where we start is PostgreSQL's word.
    fn tell_kafka(&mut self, group: &Group, mode: CommitMode) {
        self.told_kafka = Instant::now();
        self.untold |= group.take_failed_commit();
        if !self.untold || self.committed.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(self.committed.len());
        for ((topic, partition), offset) in &self.committed {
            // a list that was just made takes every partition
            let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
        }
        match group.consumer().commit(&list, mode) {
            Ok(()) => self.untold = false,
            Err(error) => tracing::debug!(%error, "tell kafka the offsets"),
        }
    }
}

/// The group's offsets; PostgreSQL is waited for, within reason.
async fn stored_offsets(
    history: &History,
    group: &str,
    shutdown: &Shutdown,
    health: &Component,
) -> KafkaResult<hashbrown::HashMap<(String, i32), i64>> {
    let until = Instant::now() + START_TIMEOUT;
    let mut attempt = 0;
    loop {
        let read = history.guard(async {
            let mut conn = history.pool().acquire().await?;
            offsets::read(&mut conn, group).await
        });
        let error: Error = match read.await {
            Ok(stored) => return Ok(stored),
            Err(error) => error,
        };
        health.waiting("PostgreSQL, to say where to start");
        if Instant::now() > until || !shutdown.sleep(retry::pause(attempt)).await {
            return Err(KafkaError::Subscription(format!("read stored offsets: {error}")));
        }
        attempt += 1;
    }
}
