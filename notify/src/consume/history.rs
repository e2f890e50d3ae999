//! What the topic said before: which alerts a target was told of, and which of those it was not told of are over by now.
//!
//! In: the partitions that were assigned, with their committed offsets. Out: a [`History`] for each. Read before the first
//! record is delivered, to where the topic ends at that moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tidewatch_service_kit::kafka::{Context, KafkaConfig, Start};

use super::{
    STAGE,
    read::{Read, read as read_record},
};
use crate::{error::SessionError, ledger::History};

/// The member has to poll again within two minutes.
const TIMEOUT: Duration = Duration::from_secs(90);

/// From the beginning for a target that is told again of `everything` that stands; else from where it goes on.
pub(super) fn read(
    kafka: &KafkaConfig,
    target: &str,
    starts: &[Start],
    everything: bool,
) -> Result<BTreeMap<i32, History>, SessionError> {
    let committed: BTreeMap<i32, Option<i64>> = starts
        .iter()
        .map(|start| (start.partition, start.committed.as_ref().map(|(offset, _)| *offset)))
        .collect();
    let mut said: BTreeMap<i32, History> = BTreeMap::new();
    let mut unread: BTreeSet<i32> = committed.keys().copied().collect();
    if unread.is_empty() {
        return Ok(said);
    }
    let topic = kafka.topics().alerts();
    let consumer: BaseConsumer<Context> = kafka
        .consumer(&kafka.group(&format!("{STAGE}.{target}")))
        .set("enable.partition.eof", "true")
        .create_with_context(Context)
        .map_err(SessionError::kafka("create consumer"))?;
    let mut list = TopicPartitionList::with_capacity(committed.len());
    for (&partition, offset) in &committed {
        let from = match offset {
            Some(offset) if !everything => Offset::Offset(*offset),
            _ => Offset::Beginning,
        };
        list.add_partition_offset(&topic, partition, from).map_err(SessionError::kafka("assign alerts"))?;
    }
    consumer.assign(&list).map_err(SessionError::kafka("assign alerts"))?;
    let deadline = Instant::now() + TIMEOUT;
    while !unread.is_empty() {
        if Instant::now() > deadline {
            return Err(SessionError::History { seconds: TIMEOUT.as_secs() });
        }
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                // what is no alert is dealt with when its turn comes
                if let Read::Transition(transition) = read_record(&message) {
                    let committed = committed.get(&message.partition()).copied().flatten();
                    said.entry(message.partition()).or_default().add(&transition, committed);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            Some(Err(error)) => tracing::debug!(%error, "read alerts back"),
            None => {}
        }
    }
    Ok(said)
}
