//! Records that can't be written, to `dead-letter.sink`: the bytes as they were, headers that say where from and why.
//!
//! Invariant: a record's offset is not committed before its dead letter is acknowledged by all in-sync replicas.

use std::{future::Future, time::Duration};

use rdkafka::{
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
};
use tidewatch_schemas::Reason;
use tidewatch_service_kit::kafka::{Context, KafkaConfig, Source, dead_letter_headers};

use crate::record::Item;

pub(crate) const STAGE: &str = "sink";

/// Where dead letters go.
pub trait DeadLetters {
    /// Returns when the letter is safe.
    fn send(
        &self,
        item: &Item,
        reason: Reason,
        message: &str,
    ) -> impl Future<Output = Result<(), KafkaError>> + Send;
}

/// The dead-letter topic.
pub struct DeadLetterTopic {
    producer: FutureProducer<Context>,
    topic: String,
}

impl std::fmt::Debug for DeadLetterTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetterTopic").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl DeadLetterTopic {
    pub fn new(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let producer = config.producer().create_with_context(Context)?;
        Ok(Self { producer, topic: config.topics().dead_letter(STAGE) })
    }
}

impl DeadLetters for DeadLetterTopic {
    async fn send(&self, item: &Item, reason: Reason, message: &str) -> Result<(), KafkaError> {
        let source = Source { topic: &item.topic, partition: item.partition, offset: item.offset };
        let headers = dead_letter_headers(STAGE, &source, reason, message);
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).headers(headers);
        record.key = item.key.as_deref();
        record.payload = item.payload.as_deref();
        let sent = self.producer.send(record, Duration::from_secs(5)).await;
        sent.map(|_| ()).map_err(|(error, _)| error)
    }
}
