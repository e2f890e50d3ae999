//! A producer whose acknowledgements can be awaited.
//!
//! The library's own futures producer polls ten times a second and spins for the last millisecond of each: 1 % of a
//! core for doing nothing. Ours polls once a second, and acknowledgements still arrive at once.

use std::{
    fmt,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext},
};
use tidewatch_schemas::headers;
use tokio::sync::oneshot;

/// Resolves when Kafka has the record, or has refused it.
pub type Acknowledged = oneshot::Receiver<Result<(), KafkaError>>;

/// How long one poll takes when nothing happens; also how long the thread outlives the producer.
const POLL: Duration = Duration::from_secs(1);

/// How long the broker may take to say what it knows of the topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// What the producer is told of a record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub topic: &'a str,
    /// Otherwise the key decides.
    pub partition: Option<i32>,
    pub key: &'a str,
    pub bytes: &'a [u8],
    pub content_type: &'a str,
}

struct Deliveries;

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        super::log_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        // whoever waited may have given up
        let _ = waiting.send(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}

/// Clones share the client and its thread; both end with the last clone.
#[derive(Clone)]
pub struct Producer(Arc<BaseProducer<Deliveries>>);

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// Needs no broker yet.
    pub fn new(settings: &ClientConfig) -> KafkaResult<Self> {
        let producer: Arc<BaseProducer<Deliveries>> = Arc::new(settings.create_with_context(Deliveries)?);
        let polled = Arc::downgrade(&producer);
        thread::Builder::new()
            .name("publish".into())
            .spawn(move || poll(&polled))
            .map_err(|error| KafkaError::ClientCreation(format!("start thread: {error}")))?;
        Ok(Self(producer))
    }

    /// Hands the record over without waiting.
    pub fn send(&self, record: &Record<'_>) -> Result<Acknowledged, KafkaError> {
        let (told, acknowledged) = oneshot::channel();
        let content = Header { key: headers::CONTENT_TYPE, value: Some(record.content_type) };
        let mut sent = BaseRecord::with_opaque_to(record.topic, Box::new(told))
            .key(record.key)
            .payload(record.bytes)
            .headers(OwnedHeaders::new_with_capacity(1).insert(content));
        sent.partition = record.partition;
        self.0.send(sent).map(|()| acknowledged).map_err(|(error, _)| error)
    }

    /// Whether the client is dead for good.
    pub fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.client().fatal_error()
    }

    /// Asks for the topic; blocks. The error completes "waits for".
    pub fn finds(&self, topic: &str) -> Result<(), String> {
        let metadata = self
            .0
            .client()
            .fetch_metadata(Some(topic), METADATA_TIMEOUT)
            .map_err(|error| format!("kafka: {error}"))?;
        match metadata.topics().iter().find(|found| found.name() == topic) {
            Some(found) if found.error().is_none() && !found.partitions().is_empty() => Ok(()),
            _ => Err(format!("topic {topic}")),
        }
    }
}

fn poll(producer: &Weak<BaseProducer<Deliveries>>) {
    while let Some(producer) = producer.upgrade() {
        producer.poll(POLL);
    }
}
