//! Output and offsets in one Kafka transaction.
//!
//! In: windows that closed, late and refused originals, what each partition commits. Out: their records, visible to
//! `read_committed` readers together with the offsets, or not at all. After any error the producer is not used again.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidewatch_schemas::{AggregateFrame, Topics, encode, headers};
use tidewatch_service_kit::kafka::{Context, Group, KafkaConfig};

use crate::{commit::Committed, error::SessionError};

/// How long begin, send-offsets and commit may each take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A record that goes out as it came in: to the late topic or the dead letter.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: OwnedHeaders,
}

/// What one transaction holds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) windows: Vec<AggregateFrame>,
    pub(crate) originals: Vec<(i32, Original)>,
    pub(crate) offsets: Vec<(i32, Committed)>,
}

/// The transactional producer of one session.
pub(crate) struct Emitter {
    producer: BaseProducer<Context>,
    topics: Topics,
}

impl Emitter {
    /// Fences a predecessor of the same instance: what it had open is aborted before anything is read.
    pub(crate) fn open(kafka: &KafkaConfig, instance: &str) -> Result<Self, SessionError> {
        let id = kafka.group(&format!("stream-processor.{instance}"));
        let producer: BaseProducer<Context> = kafka
            .transactional(&id)
            .create_with_context(Context)
            .map_err(SessionError::kafka("create producer"))?;
        producer.init_transactions(3 * TIMEOUT).map_err(SessionError::kafka("fence predecessor"))?;
        Ok(Self { producer, topics: kafka.topics() })
    }

    /// Lets the client say what it has to say: unasked, an idle one would tell of an outage when it is long over.
    pub(crate) fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Everything of the batch or nothing.
    pub(crate) fn commit(&self, group: &Group, batch: &Batch) -> Result<(), SessionError> {
        let mut offsets = TopicPartitionList::with_capacity(batch.offsets.len());
        for (partition, committed) in &batch.offsets {
            let mut element = offsets.add_partition(&self.topics.raw(), *partition);
            element
                .set_offset(Offset::Offset(committed.high_water))
                .map_err(SessionError::kafka("set offset"))?;
            element.set_metadata(committed.metadata());
        }
        // taken at the cut: a rebalance since then makes the commit fail, and this session with it
        let Some(member) = group.consumer().group_metadata() else {
            return Err(SessionError::kafka("read group metadata")(KafkaError::Canceled));
        };
        self.producer.begin_transaction().map_err(SessionError::kafka("begin transaction"))?;
        for window in &batch.windows {
            self.send_window(window)?;
        }
        for (partition, original) in &batch.originals {
            self.send_original(*partition, original)?;
        }
        self.producer
            .send_offsets_to_transaction(&offsets, &member, TIMEOUT)
            .map_err(SessionError::kafka("send offsets"))?;
        self.producer.commit_transaction(TIMEOUT).map_err(SessionError::kafka("commit transaction"))
    }

    /// To the partition it came from: a server is one partition in every topic.
    fn send_window(&self, window: &AggregateFrame) -> Result<(), SessionError> {
        let payload = encode(window)
            .map_err(|error| SessionError::Encode { what: "window", message: error.to_string() })?;
        let topic = self.topics.window(window.window_ms);
        let content = Header { key: headers::CONTENT_TYPE, value: Some(headers::CONTENT_TYPE_AVRO) };
        let record = BaseRecord::to(&topic)
            .partition(window.origin.partition)
            .key(window.server.as_bytes())
            .payload(payload.as_slice())
            .headers(OwnedHeaders::new().insert(content));
        self.send(record)
    }

    fn send_original(&self, partition: i32, original: &Original) -> Result<(), SessionError> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&original.topic)
            .partition(partition)
            .payload(&original.payload)
            .headers(original.headers.clone());
        if let Some(key) = &original.key {
            record = record.key(key);
        }
        self.send(record)
    }

    /// A full queue is waited for: everything in it belongs to this transaction and is on its way.
    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), SessionError> {
        let deadline = Instant::now() + TIMEOUT;
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                    self.producer.poll(Duration::from_millis(20));
                }
                Err((error, _)) => return Err(SessionError::kafka("send record")(error)),
            }
        }
    }
}
