//! A reader of partitions of our own: Kafka's Fetch, read committed, over plaintext connections.
//!
//! ```text
//! metadata: who leads it -> leader: a thread for each broker: fetch, decompress -> shared: bounded queue -> Chunk: records in place
//! ```
//! In: partitions and where to begin. Out: batches, one partition's in order, all partitions in turn. Membership of a group,
//! offsets and transactions are none of its business: they stay with librdkafka, whose own fetching costs more than what is done
//! with the records (`docs/adr/0015-the-input-is-fetched-by-our-own-client.md`). Leaders that move or go are found again by itself.

use std::{sync::Arc, time::Duration};

use super::{KafkaConfig, Security};

mod batch;
mod chunk;
mod compression;
mod connection;
mod leader;
mod lz4;
mod metadata;
mod records;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod wire;

pub use chunk::{Chunk, Item};
pub use records::Headers;
pub(super) use records::Record;
use shared::Shared;

/// Why nothing more comes of a fetcher. What heals by itself is none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Brokers older than 2.3, or something else that speaks a part of the protocol.
    #[error("the broker does not know this version of {0}")]
    Unsupported(&'static str),
    #[error("not allowed to read {0}")]
    Unauthorized(String),
    #[error("start a thread that fetches: {0}")]
    Thread(String),
    #[error("a thread that fetches panicked")]
    Panicked,
}

/// The broker that leads a partition, and since which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leader {
    id: i32,
    epoch: i32,
}

/// Reads the partitions it is given; its threads end soon after it is dropped.
#[derive(Debug)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

impl Fetcher {
    /// Whether it can read from such brokers at all.
    pub fn speaks(config: &KafkaConfig) -> bool {
        config.kafka_security == Security::Plaintext
    }

    pub fn start(config: &KafkaConfig) -> Result<Self, FetchError> {
        let shared = Arc::new(Shared::default());
        let (ours, bootstrap) = (Arc::clone(&shared), connection::addresses(&config.kafka_brokers));
        std::thread::Builder::new()
            .name("fetch".into())
            .spawn(move || metadata::serve(&ours, &bootstrap))
            .map_err(|error| FetchError::Thread(error.to_string()))?;
        Ok(Self { shared })
    }

    /// Reads this partition from here on; `None` = from the beginning of its log.
    pub fn assign(&self, topic: &str, partition: i32, offset: Option<i64>) {
        self.shared.assign(topic, partition, offset);
    }

    /// Nothing of it comes any more; a chunk of it that is in use is not current any more.
    pub fn revoke(&self, topic: &str, partition: i32) {
        self.shared.revoke(topic, partition);
    }

    /// The next batch of any partition, waited for.
    pub fn next(&self, timeout: Duration) -> Result<Option<Chunk>, FetchError> {
        let ready = self.shared.next(timeout)?;
        Ok(ready.map(|ready| Chunk::new(ready, Arc::clone(&self.shared))))
    }

    /// Offsets between what is used up and the end of what is committed, of all partitions.
    pub fn lag(&self) -> i64 {
        self.shared.lag()
    }

    /// The same of one; 0 too when nothing is known of it.
    pub fn lag_of(&self, topic: &str, partition: i32) -> i64 {
        self.shared.lag_of(topic, partition)
    }

    /// The end of what is committed of one partition, as the broker said with what was read last; 0 when nothing is known of it.
    pub fn end_of(&self, topic: &str, partition: i32) -> i64 {
        self.shared.end_of(topic, partition)
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
