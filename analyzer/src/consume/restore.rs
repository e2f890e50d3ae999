//! What a new owner of a partition needs: where its replay starts, and which alerts are open.
//!
//! In: the commit's metadata, the alert topic. Invariant: both are read after the predecessor was fenced or its
//! transaction decided, so they belong together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use tidewatch_schemas::{Alert, decode};
use tidewatch_service_kit::kafka::{self, Context, KafkaConfig, REQUEST_TIMEOUT, Start};

use super::STAGE;
use crate::{analysis::Said, error::SessionError};

/// For all alerts of the assigned partitions; the member has to poll again within two minutes.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
/// How often it is looked whether a transaction is decided.
const DECIDED: Duration = Duration::from_millis(200);

/// What a commit holds besides the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    /// The newest stamp of a record taken, milliseconds since 1970: what the replay is measured from.
    pub(super) stamp: i64,
}

impl Committed {
    pub(super) fn metadata(self) -> String {
        format!("1 {}", self.stamp)
    }

    pub(super) fn parse(metadata: &str) -> Option<Self> {
        let stamp = metadata.strip_prefix("1 ")?.parse().ok()?;
        Some(Self { stamp })
    }
}

/// Sets each start back by `replay_ms` of its topic's own time.
pub(super) fn starter(
    kafka: &KafkaConfig,
    replay_ms: Arc<AtomicI64>,
) -> impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + 'static {
    let client = kafka.consumer(&kafka.group(STAGE));
    move |starts: &mut [Start]| {
        let replay_ms = replay_ms.load(Ordering::Relaxed);
        let mut times = TopicPartitionList::new();
        for start in starts.iter() {
            let Some((_, metadata)) = &start.committed else { continue };
            let Some(committed) = Committed::parse(metadata) else { continue };
            let time = Offset::Offset((committed.stamp - replay_ms).max(0));
            times.add_partition_offset(&start.topic, start.partition, time)?;
        }
        if times.count() == 0 {
            return Ok(());
        }
        // one for each time: kept and never polled, it would tell of an outage when it is long over
        let lookup: BaseConsumer<Context> = client.create_with_context(Context)?;
        let found = lookup.offsets_for_times(times, REQUEST_TIMEOUT)?;
        for start in starts {
            let Some((committed, _)) = start.committed else { continue };
            let element = found.find_partition(&start.topic, start.partition);
            if let Some(Offset::Offset(offset)) = element.map(|element| element.offset()) {
                start.offset = Some(offset.min(committed));
            }
        }
        Ok(())
    }
}

/// Waits until no transaction is undecided below what are the ends now: behind one of somebody who died, what others said since
/// can't be read until the broker has given that transaction up.
fn await_decided(
    client: &ClientConfig,
    stable: &BaseConsumer<Context>,
    topic: &str,
    partitions: &[i32],
    deadline: Instant,
) -> Result<(), SessionError> {
    let all: BaseConsumer<Context> = client
        .clone()
        .set("isolation.level", "read_uncommitted")
        .create_with_context(Context)
        .map_err(SessionError::kafka("create consumer"))?;
    for &number in partitions {
        let end = |consumer: &BaseConsumer<Context>| {
            let marks = kafka::watermarks(consumer, topic, number);
            marks.map(|(_, end)| end).map_err(SessionError::kafka("read watermarks"))
        };
        let wanted = end(&all)?;
        while end(stable)? < wanted {
            if Instant::now() > deadline {
                return Err(SessionError::Restore { what: "alerts", seconds: READ_TIMEOUT.as_secs() });
            }
            std::thread::sleep(DECIDED);
        }
    }
    Ok(())
}

/// All alerts of the partitions, to the end of each.
pub(super) fn read_alerts(
    kafka: &KafkaConfig,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Said>, SessionError> {
    let topic = kafka.topics().alerts();
    let mut said: BTreeMap<i32, Said> = partitions.iter().map(|&number| (number, Said::default())).collect();
    let mut unread: BTreeSet<i32> = partitions.iter().copied().collect();
    let deadline = Instant::now() + READ_TIMEOUT;
    let client = kafka.consumer(&kafka.group(STAGE));
    let consumer: BaseConsumer<Context> = client
        .clone()
        .set("enable.partition.eof", "true")
        .create_with_context(Context)
        .map_err(SessionError::kafka("create consumer"))?;
    await_decided(&client, &consumer, &topic, partitions, deadline)?;
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &number in partitions {
        list.add_partition_offset(&topic, number, Offset::Beginning)
            .map_err(SessionError::kafka("assign alerts"))?;
    }
    consumer.assign(&list).map_err(SessionError::kafka("assign alerts"))?;
    while !unread.is_empty() {
        if Instant::now() > deadline {
            return Err(SessionError::Restore { what: "alerts", seconds: READ_TIMEOUT.as_secs() });
        }
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => match decode::<Alert>(message.payload().unwrap_or_default()) {
                Ok((alert, _)) => said.entry(message.partition()).or_default().add(alert),
                // somebody else's record: not one of ours to go on with
                Err(error) => tracing::debug!(%error, offset = message.offset(), "pass over foreign alert"),
            },
            Some(Err(KafkaError::PartitionEOF(number))) => {
                unread.remove(&number);
            }
            Some(Err(error)) => tracing::debug!(%error, "read alerts back"),
            None => {}
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_back_and_foreign_ones_are_not() {
        let committed = Committed { stamp: 1_795_442_590_000 };
        assert_eq!(Committed::parse(&committed.metadata()), Some(committed));
        for foreign in ["", "1", "2 5", "1 x"] {
            assert_eq!(Committed::parse(foreign), None, "{foreign}");
        }
    }
}
