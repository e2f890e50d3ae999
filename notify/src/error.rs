//! What ends the service, and what ends a membership.

use rdkafka::error::KafkaError;
use tidewatch_service_kit::kafka::TransactionError;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("sign webhooks: --notify-webhook needs TIDEWATCH_NOTIFY_WEBHOOK_SECRET")]
    NoSecret,
    #[error("sign webhooks: the secret is not one")]
    BadSecret,
    #[error("read the authorities of this machine: {0}")]
    Tls(#[from] native_tls::Error),
    #[error("send alerts: the thread of a target panicked")]
    Panicked,
}

/// Why a membership ended. What it had not committed is read again by the next one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("{action}: {source}")]
    Kafka { action: &'static str, source: KafkaError },
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    #[error("read alerts back: not at the end after {seconds} s")]
    History { seconds: u64 },
}

impl SessionError {
    pub(crate) fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action, source }
    }
}
