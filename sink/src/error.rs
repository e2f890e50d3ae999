//! Why the sink ends. Everything else is retried, refused to a dead letter, or waited for.

use rdkafka::error::KafkaError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings name a store that cannot be.
    #[error("prepare store: {0}")]
    Store(#[from] tidewatch_store::Error),
    #[error("create dead-letter producer: {0}")]
    Producer(#[source] KafkaError),
    #[error("start consumer thread: {0}")]
    Thread(#[source] std::io::Error),
}
