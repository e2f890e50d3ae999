//! What ends a membership, and what ends the service.

use rdkafka::error::KafkaError;
use tidewatch_service_kit::kafka::TransactionError;

use crate::rules::RuleError;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read rules: {0}")]
    Rules(#[from] RuleError),
    #[error("start thread: {0}")]
    Thread(std::io::Error),
    #[error("analyze windows: the thread panicked")]
    Panicked,
}

/// Why a membership ended. All of its state is dropped; the next one restores from what is committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{action}: {source}")]
    Kafka { action: &'static str, source: KafkaError },
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    #[error("encode {what}: {message}")]
    Encode { what: &'static str, message: String },
    #[error("read {what}: not at the end after {seconds} s")]
    Restore { what: &'static str, seconds: u64 },
}

impl SessionError {
    pub(crate) fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action, source }
    }
}
