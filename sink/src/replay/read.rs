//! Reads stretches of a topic without being a member of any group: where they lie by time, and their records, decoded.
//!
//! Keeps: what is read ahead is bounded, in records of Kafka and in chunks of ours; no offset is committed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use tidewatch_service_kit::kafka::{Context, KafkaConfig, REQUEST_TIMEOUT, is_retriable};
use tokio::sync::mpsc;

use super::Error;
use crate::record::{Body, Item, Kind, parse};

/// A stretch of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) partition: i32,
    pub(super) start: i64,
    /// Behind the last.
    pub(super) end: i64,
    /// Older records have been there, and may belong to the range.
    pub(super) is_cut: bool,
}

impl Extent {
    pub(super) fn records(&self) -> u64 {
        (self.end - self.start).max(0) as u64
    }
}

/// A topic and how to reach it. Its calls block.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) kafka: KafkaConfig,
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
}

/// How much Kafka's client reads ahead of all partitions, kilobytes.
const AHEAD: usize = 65_536;
const POLL: Duration = Duration::from_millis(100);
/// How long Kafka may say nothing although there is more.
const STALL: Duration = Duration::from_mins(1);
/// Rows that are handed over at once.
const CHUNK: usize = 5_000;

impl Topic {
    fn consumer(&self, partitions: usize) -> KafkaResult<BaseConsumer<Context>> {
        let mut config = self.kafka.consumer(&self.kafka.group("replay"));
        let each = (AHEAD / partitions.max(1)).max(256);
        config
            .set("enable.partition.eof", "true")
            .set("statistics.interval.ms", "0")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", each.to_string());
        config.create_with_context(Context)
    }

    /// From the first record stamped at `since_ms` or later to the end now, of every partition.
    pub(super) fn extents(&self, since_ms: i64) -> Result<Vec<Extent>, Error> {
        let asked =
            |source| Error::Kafka { what: "ask for the offsets of", topic: self.name.to_string(), source };
        let consumer = self.consumer(1).map_err(asked)?;
        let metadata = consumer.fetch_metadata(Some(&self.name), REQUEST_TIMEOUT).map_err(asked)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if partitions == 0 {
            return Err(Error::NoTopic(self.name.to_string()));
        }
        let mut times = TopicPartitionList::with_capacity(partitions);
        for partition in 0..partitions as i32 {
            times
                .add_partition_offset(&self.name, partition, Offset::Offset(since_ms.max(0)))
                .map_err(asked)?;
        }
        let starts = consumer.offsets_for_times(times, REQUEST_TIMEOUT).map_err(asked)?;
        let mut extents = Vec::with_capacity(partitions);
        for element in starts.elements() {
            element.error().map_err(asked)?;
            let partition = element.partition();
            let (low, high) =
                consumer.fetch_watermarks(&self.name, partition, REQUEST_TIMEOUT).map_err(asked)?;
            let start = match element.offset() {
                Offset::Offset(offset) => offset.clamp(low, high),
                // nothing is that young
                _ => high,
            };
            extents.push(Extent { partition, start, end: high, is_cut: start == low && low > 0 });
        }
        Ok(extents)
    }

    /// Where these partitions end now.
    pub(super) fn ends(&self, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, Error> {
        let asked =
            |source| Error::Kafka { what: "ask for the end of", topic: self.name.to_string(), source };
        let consumer = self.consumer(1).map_err(asked)?;
        let end = |partition: &i32| {
            consumer
                .fetch_watermarks(&self.name, *partition, REQUEST_TIMEOUT)
                .map(|(_, high)| (*partition, high))
                .map_err(asked)
        };
        partitions.iter().map(end).collect()
    }

    /// Their records, by a thread of its own that ends with the receiver.
    pub(super) fn read(&self, extents: Vec<Extent>) -> Result<Records, Error> {
        let (send, receive) = mpsc::channel(2);
        let topic = self.clone();
        std::thread::Builder::new()
            .name("replay-read".to_owned())
            .spawn(move || {
                if let Err(error) = topic.pump(&extents, &send) {
                    // the receiver may be gone: nobody wants to know
                    let _ = send.blocking_send(Err(error));
                }
            })
            .map_err(Error::Thread)?;
        Ok(Records(receive))
    }

    fn pump(&self, extents: &[Extent], send: &mpsc::Sender<Result<Vec<Item>, Error>>) -> Result<(), Error> {
        let failed = |source| Error::Kafka { what: "read", topic: self.name.to_string(), source };
        let mut open: BTreeMap<i32, i64> = BTreeMap::new();
        let mut list = TopicPartitionList::with_capacity(extents.len());
        for extent in extents.iter().filter(|extent| extent.records() > 0) {
            list.add_partition_offset(&self.name, extent.partition, Offset::Offset(extent.start))
                .map_err(failed)?;
            open.insert(extent.partition, extent.end);
        }
        if open.is_empty() {
            return Ok(());
        }
        let consumer = self.consumer(open.len()).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        let now_ms = chrono::Utc::now().timestamp_millis();
        let (mut chunk, mut weight, mut last) = (Vec::new(), 0, Instant::now());
        while !open.is_empty() {
            // the end of a partition, or the record behind the last that was asked for
            let over = match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    last = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = open.get(&partition).copied() else { continue };
                    if offset < end {
                        let item = Item {
                            topic: Arc::clone(&self.name),
                            partition,
                            offset,
                            timestamp: message.timestamp().to_millis(),
                            key: None,
                            payload: None,
                            // what was no good of it has been a dead letter before
                            body: match parse(self.kind, message.payload(), now_ms) {
                                Body::Partly(.., rest) => *rest,
                                body => body,
                            },
                        };
                        weight += item.body.weight();
                        chunk.push(item);
                    }
                    (offset + 1 >= end).then_some(partition)
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => Some(partition),
                Some(Err(error)) if !is_retriable(&error) => return Err(failed(error)),
                Some(Err(_)) | None if last.elapsed() > STALL => {
                    return Err(Error::Stalled(self.name.to_string()));
                }
                Some(Err(_)) | None => None,
            };
            if let Some(partition) = over
                && open.remove(&partition).is_some()
            {
                let mut done = TopicPartitionList::with_capacity(1);
                done.add_partition(&self.name, partition);
                consumer.pause(&done).map_err(failed)?;
            }
            if weight >= CHUNK || (open.is_empty() && !chunk.is_empty()) {
                weight = 0;
                if send.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
                    return Ok(());
                }
                // waiting for the receiver is not Kafka's silence
                last = Instant::now();
            }
        }
        Ok(())
    }
}

/// Records on their way, in the order of each partition.
#[derive(Debug)]
pub(super) struct Records(mpsc::Receiver<Result<Vec<Item>, Error>>);

impl Records {
    /// Some more; `None` when that was all.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Item>>, Error> {
        self.0.recv().await.transpose()
    }
}
