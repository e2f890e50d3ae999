//! What a new owner of a partition needs: where its replay starts, and which alerts are open.
//!
//! In: the commit's metadata, `analyzer.state`, the alert topic. Invariant: all are read after the predecessor was fenced or
//! its transaction decided, so they belong together.

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
    message::BorrowedMessage,
};
use tidewatch_schemas::{Alert, decode};
use tidewatch_service_kit::kafka::{self, Context, KafkaConfig, REQUEST_TIMEOUT, Start};

use super::{
    STAGE,
    states::{Findings, Found},
};
use crate::{analysis::Said, error::SessionError, snapshot::Shelf};

/// For all alerts, and for all snapshots, of the assigned partitions; the member has to poll again within two minutes.
const READ_TIMEOUT: Duration = Duration::from_secs(50);
/// How often it is looked whether a transaction is decided.
const DECIDED: Duration = Duration::from_millis(200);

/// What a commit holds besides the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    /// The newest stamp of a record taken, milliseconds since 1970: what the replay is measured from.
    pub(super) stamp: i64,
    /// The lowest record that a server's snapshot does not contain; `None`: there were no snapshots yet.
    pub(super) low_water: Option<i64>,
    /// How many servers have a snapshot.
    pub(super) snapshots: usize,
}

impl Committed {
    pub(super) fn metadata(self) -> String {
        match self.low_water {
            None => format!("1 {}", self.stamp),
            Some(low_water) => format!("2 {} {low_water} {}", self.stamp, self.snapshots),
        }
    }

    pub(super) fn parse(metadata: &str) -> Option<Self> {
        let words: Vec<&str> = metadata.split(' ').collect();
        match words[..] {
            ["1", stamp] => Some(Self { stamp: stamp.parse().ok()?, low_water: None, snapshots: 0 }),
            ["2", stamp, low_water, snapshots] => Some(Self {
                stamp: stamp.parse().ok()?,
                low_water: Some(low_water.parse().ok()?),
                snapshots: snapshots.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// Sets each start back to its low water; where a snapshot is missing or no good, by `replay_ms` of its topic's own time.
pub(super) fn starter(
    kafka: &KafkaConfig,
    replay_ms: Arc<AtomicI64>,
    findings: Findings,
) -> impl Fn(&mut [Start]) -> KafkaResult<()> + Send + Sync + 'static {
    let kafka = kafka.clone();
    let client = kafka.consumer(&kafka.group(STAGE));
    move |starts: &mut [Start]| {
        let replay_ms = replay_ms.load(Ordering::Relaxed);
        let found = read_states(&kafka, starts)?;
        let mut times = TopicPartitionList::new();
        for start in starts.iter_mut() {
            let Some((high_water, metadata)) = &start.committed else { continue };
            let Some(committed) = Committed::parse(metadata) else { continue };
            let low_water = committed.low_water.unwrap_or(*high_water);
            start.offset = Some(low_water.min(*high_water));
            if !found.get(&start.partition).is_some_and(Found::is_all) {
                let time = Offset::Offset((committed.stamp - replay_ms).max(0));
                times.add_partition_offset(&start.topic, start.partition, time)?;
            }
        }
        findings.put(found);
        if times.count() == 0 {
            return Ok(());
        }
        // one for each time: kept and never polled, it would tell of an outage when it is long over
        let lookup: BaseConsumer<Context> = client.create_with_context(Context)?;
        let found = lookup.offsets_for_times(times, REQUEST_TIMEOUT)?;
        for start in starts {
            let element = found.find_partition(&start.topic, start.partition);
            if let Some(Offset::Offset(offset)) = element.map(|element| element.offset()) {
                start.offset = start.offset.map(|known| known.min(offset));
            }
        }
        Ok(())
    }
}

/// The snapshots of all partitions that have a committed offset: without one nobody knows what they are of.
fn read_states(kafka: &KafkaConfig, starts: &[Start]) -> KafkaResult<BTreeMap<i32, Found>> {
    let commits: BTreeMap<i32, (i64, Committed)> = starts
        .iter()
        .filter_map(|start| {
            let (high_water, metadata) = start.committed.as_ref()?;
            Some((start.partition, (*high_water, Committed::parse(metadata)?)))
        })
        .collect();
    let numbers: Vec<i32> = commits.keys().copied().collect();
    let mut shelves: BTreeMap<i32, Shelf> = BTreeMap::new();
    let read = read_all(kafka, "snapshots", &kafka.topics().analyzer_state(), &numbers, |message| {
        let shelf = shelves.entry(message.partition()).or_default();
        shelf.put(message.key().unwrap_or_default(), message.payload());
    });
    match read {
        Ok(()) => {}
        // half of them may be older than the commit: none is used
        Err(error @ SessionError::Restore { .. }) => {
            tracing::warn!(%error, "do without snapshots");
            shelves.clear();
        }
        Err(SessionError::Kafka { source, .. }) => return Err(source),
        Err(_) => return Err(KafkaError::Canceled),
    }
    let found = commits.into_iter().map(|(number, (high_water, committed))| {
        let shelf = shelves.remove(&number).unwrap_or_default();
        (number, Found::read(shelf, high_water, committed))
    });
    Ok(found.collect())
}

/// Waits until no transaction is undecided below what are the ends now: behind one of somebody who died, what others said since
/// can't be read until the broker has given that transaction up.
fn await_decided(
    client: &ClientConfig,
    stable: &BaseConsumer<Context>,
    what: &'static str,
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
                return Err(SessionError::Restore { what, seconds: READ_TIMEOUT.as_secs() });
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
    let mut said: BTreeMap<i32, Said> = partitions.iter().map(|&number| (number, Said::default())).collect();
    read_all(kafka, "alerts", &kafka.topics().alerts(), partitions, |message| {
        match decode::<Alert>(message.payload().unwrap_or_default()) {
            Ok((alert, _)) => said.entry(message.partition()).or_default().add(alert),
            // somebody else's record: not one of ours to go on with
            Err(error) => tracing::debug!(%error, offset = message.offset(), "pass over foreign alert"),
        }
    })?;
    Ok(said)
}

/// Every committed record of the partitions of a topic, to the end of each.
fn read_all(
    kafka: &KafkaConfig,
    what: &'static str,
    topic: &str,
    partitions: &[i32],
    mut take: impl FnMut(&BorrowedMessage<'_>),
) -> Result<(), SessionError> {
    let mut unread: BTreeSet<i32> = partitions.iter().copied().collect();
    if unread.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + READ_TIMEOUT;
    let client = kafka.consumer(&kafka.group(STAGE));
    let consumer: BaseConsumer<Context> = client
        .clone()
        .set("enable.partition.eof", "true")
        .create_with_context(Context)
        .map_err(SessionError::kafka("create consumer"))?;
    await_decided(&client, &consumer, what, topic, partitions, deadline)?;
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &number in partitions {
        list.add_partition_offset(topic, number, Offset::Beginning)
            .map_err(SessionError::kafka("assign partitions"))?;
    }
    consumer.assign(&list).map_err(SessionError::kafka("assign partitions"))?;
    while !unread.is_empty() {
        if Instant::now() > deadline {
            return Err(SessionError::Restore { what, seconds: READ_TIMEOUT.as_secs() });
        }
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => take(&message),
            Some(Err(KafkaError::PartitionEOF(number))) => {
                unread.remove(&number);
            }
            Some(Err(error)) => tracing::debug!(%error, what, "read back"),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_back_and_foreign_ones_are_not() {
        for low_water in [None, Some(42)] {
            let snapshots = if low_water.is_some() { 7 } else { 0 };
            let committed = Committed { stamp: 1_795_442_590_000, low_water, snapshots };
            assert_eq!(Committed::parse(&committed.metadata()), Some(committed));
        }
        for foreign in ["", "1", "2 5", "1 x", "2 5 6 x", "3 5 6 7", "2 5 6 7 8"] {
            assert_eq!(Committed::parse(foreign), None, "{foreign}");
        }
    }
}
