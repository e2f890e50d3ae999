//! A member of a consumer group that decides itself where each of its partitions starts.
//!
//! The start is asked for inside the rebalance callback, before the first record of the assignment is fetched: the
//! window protocol starts at its low water, the sink where PostgreSQL says. Everything is seen from one polling thread,
//! in order: `Assigned` before the first record of a partition, `Revoked` after its last.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    types::RDKafkaRespErr,
};

use super::{KafkaConfig, REQUEST_TIMEOUT, log, log_error};

/// Where a newly assigned partition starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub topic: String,
    pub partition: i32,
    /// The group's committed offset and its metadata.
    pub committed: Option<(i64, String)>,
    /// Where to read from: `None` = the topic's beginning. Preset to the committed offset.
    pub offset: Option<i64>,
}

/// What a poll brings. The changes came before the message: act on them first.
#[derive(Default)]
pub struct Polled<'a> {
    pub changes: Vec<GroupChange>,
    pub message: Option<BorrowedMessage<'a>>,
}

impl fmt::Debug for Polled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.as_ref().map(|m| (m.topic(), m.partition(), m.offset()));
        f.debug_struct("Polled").field("changes", &self.changes).field("message", &message).finish()
    }
}

/// Partitions that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    Assigned(Vec<Start>),
    Revoked(Vec<(String, i32)>),
}

/// Who fetches the records of the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetching {
    /// The member's own client: a poll brings them.
    Here,
    /// Somebody else: the client is told to fetch nothing, and what a poll brings all the same is to be passed over.
    Elsewhere,
}

/// Sets each start's offset, or says why it can't; runs on the polling thread, may block for some seconds.
type Starter = dyn Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync;

/// Records behind the end of each partition, as the client last said.
type Lags = Arc<Mutex<BTreeMap<(String, i32), i64>>>;

/// The consumer's context: turns the callbacks into changes.
pub struct GroupContext {
    changes: Arc<Mutex<VecDeque<KafkaResult<GroupChange>>>>,
    lags: Lags,
    fetching: Fetching,
    starter: Box<Starter>,
    before_revoke: Box<dyn Fn() + Send + Sync>,
    /// Whether there are changes: asked at every poll, where a lock would cost.
    changed: Arc<AtomicBool>,
    commit_failed: Arc<AtomicBool>,
}

impl fmt::Debug for GroupContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupContext").finish_non_exhaustive()
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let lags = statistics.topics.into_iter().flat_map(|(topic, stats)| {
            let partitions = stats.partitions.into_values();
            partitions
                .filter(|p| p.partition >= 0 && p.consumer_lag >= 0)
                .map(move |p| ((topic.clone(), p.partition), p.consumer_lag))
        });
        *self.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags.collect();
    }
}

impl GroupContext {
    fn push(&self, change: KafkaResult<GroupChange>) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
        self.changed.store(true, Ordering::Release);
    }

    fn starts(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<Vec<Start>> {
        let mut starts = committed(consumer, list)?;
        (self.starter)(&mut starts)?;
        Ok(starts)
    }
}

/// The committed offsets; an offset of a transaction not yet decided is waited for.
fn committed(consumer: &BaseConsumer<GroupContext>, list: &TopicPartitionList) -> KafkaResult<Vec<Start>> {
    let deadline = std::time::Instant::now() + 3 * REQUEST_TIMEOUT;
    loop {
        let result = consumer.committed_offsets(list.clone(), REQUEST_TIMEOUT).and_then(|found| {
            found
                .elements()
                .iter()
                .try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)?;
            Ok(found)
        });
        match result {
            Ok(found) => return Ok(found.elements().iter().map(start).collect()),
            Err(error) if std::time::Instant::now() < deadline => {
                tracing::debug!(%error, "read committed offsets again");
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(error),
        }
    }
}

fn start(element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>) -> Start {
    let committed = match element.offset() {
        Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
        _ => None,
    };
    let offset = committed.as_ref().map(|(offset, _)| *offset);
    Start { topic: element.topic().to_owned(), partition: element.partition(), committed, offset }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let result = self.starts(consumer, list).and_then(|starts| {
                let mut from = TopicPartitionList::with_capacity(starts.len());
                for start in &starts {
                    let offset = start.offset.map_or(Offset::Beginning, Offset::Offset);
                    from.add_partition_offset(&start.topic, start.partition, offset)?;
                }
                consumer.assign(&from)?;
                if self.fetching == Fetching::Elsewhere {
                    consumer.pause(&from)?;
                }
                Ok(starts)
            });
            self.push(result.map(GroupChange::Assigned));
        } else {
            (self.before_revoke)();
            let gone = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
            let left = consumer.unassign();
            self.push(Ok(GroupChange::Revoked(gone)));
            if let Err(error) = left {
                self.push(Err(error));
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "commit offsets");
            self.commit_failed.store(true, Ordering::Release);
        }
    }
}

/// One member of a group, polled from one thread.
pub struct Group {
    consumer: BaseConsumer<GroupContext>,
    changes: Arc<Mutex<VecDeque<KafkaResult<GroupChange>>>>,
    changed: Arc<AtomicBool>,
    commit_failed: Arc<AtomicBool>,
    lags: Lags,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

impl Group {
    /// Joins. `starter` sets where each new partition starts; its error ends the membership with that error.
    pub fn join(
        config: &KafkaConfig,
        group: &str,
        topics: &[&str],
        starter: impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + 'static,
    ) -> KafkaResult<Self> {
        Self::join_with(&config.consumer(group), topics, Fetching::Here, starter, || ())
    }

    /// Joins as a static member: a restart under the same `instance` gets its partitions back at once.
    pub fn join_as(
        config: &KafkaConfig,
        group: &str,
        instance: &str,
        topics: &[&str],
        starter: impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + 'static,
    ) -> KafkaResult<Self> {
        Self::join_waiting(config, group, instance, topics, Fetching::Here, starter, || ())
    }

    /// The same; `before_revoke` runs before partitions are let go: a commit under way is to end there.
    pub fn join_waiting(
        config: &KafkaConfig,
        group: &str,
        instance: &str,
        topics: &[&str],
        fetching: Fetching,
        starter: impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + 'static,
        before_revoke: impl Fn() + Send + Sync + 'static,
    ) -> KafkaResult<Self> {
        let mut client = config.consumer(group);
        client.set("group.instance.id", instance);
        if fetching == Fetching::Elsewhere {
            // they would tell of a lag that this client does not know
            client.set("statistics.interval.ms", "0");
        }
        Self::join_with(&client, topics, fetching, starter, before_revoke)
    }

    fn join_with(
        client: &ClientConfig,
        topics: &[&str],
        fetching: Fetching,
        starter: impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + 'static,
        before_revoke: impl Fn() + Send + Sync + 'static,
    ) -> KafkaResult<Self> {
        let changes = Arc::default();
        let changed = Arc::new(AtomicBool::new(false));
        let commit_failed = Arc::new(AtomicBool::new(false));
        let lags = Lags::default();
        let context = GroupContext {
            changes: Arc::clone(&changes),
            lags: Arc::clone(&lags),
            fetching,
            starter: Box::new(starter),
            before_revoke: Box::new(before_revoke),
            changed: Arc::clone(&changed),
            commit_failed: Arc::clone(&commit_failed),
        };
        let consumer: BaseConsumer<GroupContext> = client.create_with_context(context)?;
        consumer.subscribe(topics)?;
        Ok(Self { consumer, changes, changed, commit_failed, lags })
    }

    /// Records behind the end of all assigned partitions, a few seconds old.
    pub fn lag(&self) -> i64 {
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Records behind the end of one partition, a few seconds old; 0 too when nothing is known of it.
    pub fn lag_of(&self, topic: &str, partition: i32) -> i64 {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.get(&(topic.to_owned(), partition)).copied().unwrap_or(0)
    }

    /// The next message, and what changed before it. Errors that heal by themselves (a broker away) are passed over; what
    /// is returned means that this membership is over and a new one has to be made.
    pub fn poll(&self, timeout: Duration) -> KafkaResult<Polled<'_>> {
        // the rebalance callbacks run inside this call, before the message it returns was fetched
        let message = match self.consumer.poll(timeout) {
            Some(Ok(message)) => Some(message),
            Some(Err(KafkaError::MessageConsumption(code))) if !ends_membership(code) => {
                tracing::debug!(%code, "poll kafka");
                None
            }
            Some(Err(error)) => return Err(error),
            None => None,
        };
        if !self.changed.load(Ordering::Acquire) {
            return Ok(Polled { changes: Vec::new(), message });
        }
        self.changed.store(false, Ordering::Release);
        let changes = std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Polled { changes: changes.into_iter().collect::<KafkaResult<_>>()?, message })
    }

    /// Whether a commit that nobody waited for has failed since this was last asked.
    pub fn take_failed_commit(&self) -> bool {
        self.commit_failed.swap(false, Ordering::AcqRel)
    }

    /// The consumer itself: group metadata, watermarks, pause and resume, commits.
    pub fn consumer(&self) -> &BaseConsumer<GroupContext> {
        &self.consumer
    }
}

fn ends_membership(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Fatal
            | Code::FencedInstanceId
            | Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::SaslAuthenticationFailed
    )
}
