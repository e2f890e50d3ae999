//! Output and offsets in one Kafka transaction: the mechanism the stream processor and the analyzer share.
//!
//! A burst: begin, send everything, send the offsets, commit. After any error the transactor is not used again: the next
//! one fences it, and only then what is committed tells whether the commit took. One that goes gives up what it has open.

use std::{
    cell::Cell,
    fmt,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{CommitMode, Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode},
    message::OwnedHeaders,
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{Context, Group, KafkaConfig, Received};

/// How long begin, send-offsets and commit may each take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long giving up may take, without it the broker does it later; and one attempt: in between the client has to be served.
const GIVING_UP: Duration = Duration::from_secs(2);
const ATTEMPT: Duration = Duration::from_millis(20);
/// More than an outage leaves behind between two commits, and few enough to ask for in vain.
const EVENTS: usize = 32;

/// What could not be done; whether it was done after all is only known from what is committed.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct TransactionError {
    action: &'static str,
    source: KafkaError,
}

impl TransactionError {
    fn on(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self { action, source }
    }
}

/// A record of a transaction.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    /// Explicit: a server is the same partition in every topic.
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub payload: &'a [u8],
    pub headers: OwnedHeaders,
    /// Milliseconds since 1970 UTC; `None` = now.
    pub timestamp: Option<i64>,
}

/// A record that goes out as it came in: to the late topic or a dead letter.
#[derive(Debug)]
pub struct Original {
    pub topic: String,
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub headers: OwnedHeaders,
}

impl Original {
    /// The record's own key and bytes, to the partition of the same number.
    pub fn of<'a>(record: impl Into<Received<'a>>, topic: impl Into<String>, headers: OwnedHeaders) -> Self {
        let record = record.into();
        Self {
            topic: topic.into(),
            partition: record.partition,
            key: record.key.map(<[u8]>::to_vec),
            payload: record.payload.unwrap_or_default().to_vec(),
            headers,
        }
    }

    pub fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            partition: self.partition,
            key: self.key.as_deref(),
            payload: &self.payload,
            headers: self.headers.clone(),
            timestamp: None,
        }
    }
}

/// The transactional producer of one session.
pub struct Transactor {
    producer: BaseProducer<Context>,
    /// Whether something may be open.
    open: Cell<bool>,
}

impl Drop for Transactor {
    /// Readers wait behind an open transaction until the broker is tired of it, and where this is the end of the process
    /// nobody fences it. The client aborts none whose commit may have taken.
    fn drop(&mut self) {
        let deadline = Instant::now() + GIVING_UP;
        while self.open.get() {
            self.serve();
            match self.producer.abort_transaction(ATTEMPT) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => {
                    tracing::debug!(%error, "an open transaction is left to the broker");
                    return;
                }
                Ok(()) => return,
            }
        }
    }
}

impl fmt::Debug for Transactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactor").finish_non_exhaustive()
    }
}

impl Transactor {
    /// Fences a predecessor of the same id: what it had open is aborted before anything is read.
    pub fn open(kafka: &KafkaConfig, id: &str) -> Result<Self, TransactionError> {
        let config = kafka.transactional(id);
        let producer: BaseProducer<Context> =
            config.create_with_context(Context).map_err(TransactionError::on("create producer"))?;
        producer.init_transactions(3 * TIMEOUT).map_err(TransactionError::on("fence predecessor"))?;
        serve(&producer);
        Ok(Self { producer, open: Cell::new(false) })
    }

    /// Lets the client say what it has to say: unasked, it would tell of an outage when it is long over.
    pub fn serve(&self) {
        serve(&self.producer);
    }

    pub fn begin(&self) -> Result<(), TransactionError> {
        self.producer.begin_transaction().map_err(TransactionError::on("begin transaction"))?;
        self.open.set(true);
        Ok(())
    }

    /// A full queue is waited for: everything in it belongs to this transaction and is on its way.
    pub fn send(&self, outgoing: Outgoing<'_>) -> Result<(), TransactionError> {
        send(&self.producer, outgoing)
    }

    /// A record without a payload: a compacted topic forgets the key.
    pub fn erase(&self, topic: &str, partition: i32, key: &[u8]) -> Result<(), TransactionError> {
        push(&self.producer, BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(key))
    }

    /// All that was sent since `begin`, and `offsets` for the member's group, or nothing of it.
    pub fn commit(&self, group: &Group, offsets: &TopicPartitionList) -> Result<(), TransactionError> {
        // taken at the cut: a rebalance since then makes the commit fail, and this session with it
        let Some(member) = group.consumer().group_metadata() else {
            return Err(TransactionError::on("read group metadata")(KafkaError::Canceled));
        };
        self.commit_for(&member, offsets)
    }

    /// The same for a membership as it was when the offsets were cut.
    pub fn commit_for(
        &self,
        member: &ConsumerGroupMetadata,
        offsets: &TopicPartitionList,
    ) -> Result<(), TransactionError> {
        self.producer
            .send_offsets_to_transaction(offsets, member, TIMEOUT)
            .map_err(TransactionError::on("send offsets"))?;
        self.producer.commit_transaction(TIMEOUT).map_err(TransactionError::on("commit transaction"))?;
        self.open.set(false);
        self.serve();
        Ok(())
    }
}

/// Handles what happened so far: a poll without a wait handles one event.
pub fn serve(producer: &BaseProducer<Context>) {
    for _ in 0..EVENTS {
        producer.poll(Duration::ZERO);
    }
}

fn send(producer: &BaseProducer<Context>, outgoing: Outgoing<'_>) -> Result<(), TransactionError> {
    let mut record = BaseRecord::<[u8], [u8]>::to(outgoing.topic)
        .partition(outgoing.partition)
        .payload(outgoing.payload)
        .headers(outgoing.headers);
    if let Some(key) = outgoing.key {
        record = record.key(key);
    }
    if let Some(timestamp) = outgoing.timestamp {
        record = record.timestamp(timestamp);
    }
    push(producer, record)
}

/// A full queue is waited for, the client being served meanwhile.
fn push(
    producer: &BaseProducer<Context>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), TransactionError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < deadline =>
            {
                record = back;
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => return Err(TransactionError::on("send record")(error)),
        }
    }
}

/// The same without transactions: what was sent before an unclear end may be sent again.
pub struct PlainSender {
    producer: BaseProducer<Context>,
}

impl fmt::Debug for PlainSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainSender").finish_non_exhaustive()
    }
}

impl PlainSender {
    pub fn open(kafka: &KafkaConfig) -> Result<Self, TransactionError> {
        let mut config = kafka.producer();
        config.set("linger.ms", "5");
        let producer =
            config.create_with_context(Context).map_err(TransactionError::on("create producer"))?;
        Ok(Self { producer })
    }

    pub fn serve(&self) {
        serve(&self.producer);
    }

    pub fn send(&self, outgoing: Outgoing<'_>) -> Result<(), TransactionError> {
        send(&self.producer, outgoing)
    }

    /// Waits until everything is on all in-sync replicas, then commits the offsets.
    pub fn commit(&self, group: &Group, offsets: &TopicPartitionList) -> Result<(), TransactionError> {
        self.producer.flush(TIMEOUT).map_err(TransactionError::on("flush"))?;
        // an empty list would be an error, or everything
        if offsets.count() == 0 {
            return Ok(());
        }
        let commit = group.consumer().commit(offsets, CommitMode::Sync);
        self.serve();
        commit.map_err(TransactionError::on("commit offsets"))
    }
}
