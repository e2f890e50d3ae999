//! What ends a membership, and what ends the service.

use rdkafka::error::KafkaError;
use tidewatch_service_kit::kafka::{TransactionError, fetch::FetchError};

use crate::commit::UnknownMetadata;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The offsets were written by a newer version: reading on would count twice.
    #[error("restore partition {partition}: {source}")]
    Metadata { partition: i32, source: UnknownMetadata },
    /// The settings are each good, but not together.
    #[error("windows of {0}: each has to be a multiple of the one before, and the first a second at least")]
    Tiers(String),
    /// What is wrong with the filter's file.
    #[error("{0}")]
    Filter(String),
    /// Records were read under a filter that nobody has any more: what they came to can't be computed again.
    #[error("read filter {fingerprint:016x} in {topic}: it is not there, and records were counted under it")]
    UnknownFilter { topic: String, fingerprint: u64 },
    #[error("start thread: {0}")]
    Thread(std::io::Error),
    #[error("process records: the thread panicked")]
    Panicked,
}

/// Why a membership ended. All of its state is dropped; the next one restores from what is committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{action}: {source}")]
    Kafka { action: &'static str, source: KafkaError },
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    #[error("fetch: {0}")]
    Fetch(#[from] FetchError),
    #[error("cut: the membership is over")]
    NoMembership,
    #[error("commit: its thread is gone")]
    CommitterGone,
    #[error(transparent)]
    Fatal(#[from] Error),
}

impl SessionError {
    pub(crate) fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action, source }
    }
}
