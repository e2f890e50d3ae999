//! Why ingest could not start. Once it runs, everything that breaks is waited for or told to whoever sent it.

use std::{io, net::SocketAddr};

use rdkafka::error::KafkaError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen on {address} (--ingest-listen): {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// The settings of the client contradict themselves; a broker that is away is none of this.
    #[error("make kafka producer: {0}")]
    Producer(#[from] KafkaError),
    #[error("start collector: {0}")]
    Collector(io::Error),
}
