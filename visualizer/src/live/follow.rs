//! The Kafka end of the live stream, on a thread of its own. In: `metrics.10s` and `alerts`, all partitions, from their
//! ends on. Out: decoded records into a bounded queue; when it is full this thread waits, and Kafka keeps the rest.
//!
//! Keeps: no group and no commits, so any number of instances see everything; Kafka away is said once and outlived.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use tidewatch_schemas::{AggregateFrame, Alert, AvroRecord, decode};
use tidewatch_service_kit::{
    Shutdown,
    health::Component,
    kafka::{Context, KafkaConfig},
    retry,
};
use tokio::sync::mpsc;

use super::Record;
use crate::metrics::Metrics;

const POLL: Duration = Duration::from_millis(200);
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// How often new partitions are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Everything the thread holds.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) kafka: KafkaConfig,
    pub(crate) records: mpsc::Sender<Record>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Component,
    pub(crate) shutdown: Shutdown,
}

type Partitions = BTreeMap<String, i32>;

impl Follower {
    /// Runs until the wish to stop.
    pub(crate) fn run(self) {
        self.health.waiting("kafka");
        let mut attempt = 0;
        while !self.shutdown.is_triggered() {
            let made: KafkaResult<BaseConsumer<Context>> = self
                .kafka
                .consumer(&self.kafka.group("visualizer-live"))
                .set("auto.offset.reset", "latest")
                .set("statistics.interval.ms", "0")
                .set("queued.min.messages", "1000")
                .set("queued.max.messages.kbytes", "16384")
                .create_with_context(Context);
            match made.and_then(|consumer| self.follow(&consumer)) {
                Ok(()) => break,
                Err(error) => {
                    if attempt == 0 {
                        tracing::warn!(%error, "follow live topics, will try again");
                    }
                    self.health.waiting("kafka");
                    std::thread::sleep(retry::pause(attempt));
                    attempt += 1;
                }
            }
        }
    }

    fn follow(&self, consumer: &BaseConsumer<Context>) -> KafkaResult<()> {
        let topics = [self.kafka.topics().window(crate::query::columns::FINE), self.kafka.topics().alerts()];
        let mut known = Partitions::new();
        let mut away = None::<u32>;
        let mut look = Instant::now();
        while !self.shutdown.is_triggered() {
            if Instant::now() >= look {
                match partitions(consumer, &topics) {
                    Ok(found) => {
                        if found != known {
                            assign(consumer, &known, &found)?;
                            tracing::info!(
                                partitions = found.values().sum::<i32>(),
                                "live stream follows kafka"
                            );
                            known = found;
                        } else if away.is_some() {
                            tracing::info!("live stream is back");
                        }
                        away = None;
                        self.health.ready();
                        look = Instant::now() + LOOK_AGAIN;
                    }
                    Err(why) => {
                        let attempt = away.unwrap_or(0);
                        // at the start everything starts at once: being a little early is no surprise
                        if attempt == 0 && !known.is_empty() {
                            tracing::warn!(%why, "live stream lost kafka");
                        }
                        self.health.waiting(why);
                        away = Some(attempt + 1);
                        look = Instant::now() + retry::pause(attempt);
                    }
                }
            }
            match consumer.poll(POLL) {
                Some(Ok(message)) if !self.take(&message, &topics[0]) => return Ok(()),
                Some(Ok(_)) | None => {}
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                Some(Err(error)) => {
                    tracing::debug!(%error, "poll live topics");
                    // ask at once whether the brokers are there, but not in a tight loop
                    if away.is_none() {
                        look = look.min(Instant::now() + Duration::from_millis(500));
                    }
                }
            }
        }
        Ok(())
    }

    /// `false` when nobody listens any more.
    fn take(&self, message: &BorrowedMessage<'_>, windows: &str) -> bool {
        let (partition, offset) = (message.partition(), message.offset());
        let age = message.timestamp().to_millis().map(|at| crate::now() - at);
        let record = if message.topic() == windows {
            payload::<AggregateFrame>(message)
                .filter(AggregateFrame::is_consistent)
                .map(|frame| Record::Window(format!("w-{partition}-{offset}"), frame))
        } else {
            payload::<Alert>(message).map(|alert| Record::Alert(format!("a-{partition}-{offset}"), alert))
        };
        let kind = match &record {
            Some(Record::Window(..)) => "window",
            Some(Record::Alert(..)) => "alert",
            None => "undecodable",
        };
        self.metrics.record_live(kind, age);
        record.is_none_or(|record| self.records.blocking_send(record).is_ok())
    }
}

/// The sink sets a record that can't be read aside; here it is only counted.
fn payload<T: AvroRecord>(message: &BorrowedMessage<'_>) -> Option<T> {
    match decode(message.payload().unwrap_or_default()) {
        Ok((record, _)) => Some(record),
        Err(error) => {
            tracing::debug!(topic = message.topic(), partition = message.partition(), offset = message.offset(), %error, "skip live record");
            None
        }
    }
}

/// How many partitions each topic has, or what is missing.
fn partitions(consumer: &BaseConsumer<Context>, topics: &[String]) -> Result<Partitions, String> {
    let mut found = Partitions::new();
    for topic in topics {
        let metadata = consumer
            .fetch_metadata(Some(topic), METADATA_TIMEOUT)
            .map_err(|error| format!("kafka ({error})"))?;
        let count = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        let count = count.map_or(0, |t| t.partitions().len() as i32);
        if count == 0 {
            return Err(format!("topic {topic}"));
        }
        found.insert(topic.clone(), count);
    }
    Ok(found)
}

/// Known partitions go on where they are; at the first sight of a topic only what comes next is of interest; a partition
/// added later is read from its beginning.
fn assign(consumer: &BaseConsumer<Context>, known: &Partitions, found: &Partitions) -> KafkaResult<()> {
    let positions = consumer.position()?;
    let mut list = TopicPartitionList::new();
    for (topic, &count) in found {
        let before = known.get(topic).copied();
        for partition in 0..count {
            let at = positions.find_partition(topic, partition).map(|p| p.offset());
            let offset = match (before, at) {
                (Some(_), Some(Offset::Offset(at))) => Offset::Offset(at),
                (Some(before), _) if partition >= before => Offset::Beginning,
                _ => Offset::End,
            };
            list.add_partition_offset(topic, partition, offset)?;
        }
    }
    consumer.assign(&list)
}
