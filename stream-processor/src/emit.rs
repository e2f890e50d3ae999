//! Output and offsets in one Kafka transaction.
//!
//! In: windows that closed, late and refused originals, what each partition commits. Out: their records, visible to
//! `read_committed` readers together with the offsets, or not at all. After any error the producer is not used again.

use rdkafka::{
    Offset, TopicPartitionList,
    message::{Header, OwnedHeaders},
};
use tidewatch_schemas::{AggregateFrame, Topics, encode, headers};
use tidewatch_service_kit::kafka::{Group, KafkaConfig, Original, Outgoing, Transactor};

use crate::{commit::Committed, error::SessionError};

/// What one transaction holds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) windows: Vec<AggregateFrame>,
    /// Late and refused records, as they came.
    pub(crate) originals: Vec<Original>,
    pub(crate) offsets: Vec<(i32, Committed)>,
}

/// The transactional output of one session.
pub(crate) struct Emitter {
    transactor: Transactor,
    topics: Topics,
}

impl Emitter {
    pub(crate) fn open(kafka: &KafkaConfig, instance: &str) -> Result<Self, SessionError> {
        let id = kafka.group(&format!("stream-processor.{instance}"));
        Ok(Self { transactor: Transactor::open(kafka, &id)?, topics: kafka.topics() })
    }

    /// Keeps the idle client's events moving.
    pub(crate) fn serve(&self) {
        self.transactor.serve();
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
        self.transactor.begin()?;
        for window in &batch.windows {
            self.send_window(window)?;
        }
        for original in &batch.originals {
            self.transactor.send(original.outgoing())?;
        }
        Ok(self.transactor.commit(group, &offsets)?)
    }

    /// To the partition it came from.
    fn send_window(&self, window: &AggregateFrame) -> Result<(), SessionError> {
        let payload = encode(window)
            .map_err(|error| SessionError::Encode { what: "window", message: error.to_string() })?;
        let content = Header { key: headers::CONTENT_TYPE, value: Some(headers::CONTENT_TYPE_AVRO) };
        Ok(self.transactor.send(Outgoing {
            topic: &self.topics.window(window.window_ms),
            partition: window.origin.partition,
            key: Some(window.server.as_bytes()),
            payload: &payload,
            headers: OwnedHeaders::new().insert(content),
        })?)
    }
}
