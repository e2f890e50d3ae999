//! The Kafka end of the live stream, on a thread of its own. In: `metrics.10s` and `alerts`, all partitions, from a minute
//! ago on. Out: from where on they are read, then decoded records into a bounded queue; when it is full this thread waits,
//! and Kafka keeps the rest.
//!
//! Keeps: no group and no commits, so any number of instances see everything; Kafka away is said once and outlived; each
//! record is handed on once, whatever becomes of the consumer.

use std::time::{Duration, Instant};

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
use tokio::sync::{mpsc, oneshot};

use super::{
    Record,
    place::{Place, Position, TOPICS, Topic},
    recent::AGE,
};
use crate::metrics::Metrics;

const POLL: Duration = Duration::from_millis(200);
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// How often new partitions are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Records that are read besides the last minute's: what a reader saw last may have been older, with the marks of
/// transactions behind it, which are no records but take up offsets.
const BEFORE: i64 = 64;

/// Everything the thread holds.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) kafka: KafkaConfig,
    pub(crate) records: mpsc::Sender<Record>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Component,
    pub(crate) shutdown: Shutdown,
}

/// How many partitions each of [`TOPICS`] has.
type Partitions = [usize; 2];

impl Follower {
    /// Runs until the wish to stop.
    pub(crate) fn run(self) {
        self.health.waiting("kafka");
        let mut next = Position::default();
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
            match made.and_then(|consumer| self.follow(&consumer, &mut next)) {
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

    /// The name of a topic.
    fn topic(&self, topic: Topic) -> String {
        match topic {
            Topic::Windows => self.kafka.topics().window(crate::query::columns::FINE),
            Topic::Alerts => self.kafka.topics().alerts(),
        }
    }

    fn follow(&self, consumer: &BaseConsumer<Context>, next: &mut Position) -> KafkaResult<()> {
        let names = TOPICS.map(|topic| self.topic(topic));
        let mut known = Partitions::default();
        let mut away = None::<u32>;
        let mut look = Instant::now();
        while !self.shutdown.is_triggered() {
            if Instant::now() >= look {
                match self.look(consumer, &names, &mut known, next) {
                    Ok(Looked::Closed) => return Ok(()),
                    Ok(looked) => {
                        if looked == Looked::Same && away.is_some() {
                            tracing::info!("live stream is back");
                        }
                        away = None;
                        self.health.ready();
                        look = Instant::now() + LOOK_AGAIN;
                    }
                    Err(why) => {
                        let attempt = away.unwrap_or(0);
                        // at the start everything starts at once: being a little early is no surprise
                        if attempt == 0 && known != Partitions::default() {
                            tracing::warn!(%why, "live stream lost kafka");
                        }
                        self.health.waiting(why);
                        away = Some(attempt + 1);
                        look = Instant::now() + retry::pause(attempt);
                    }
                }
            }
            match consumer.poll(POLL) {
                Some(Ok(message)) if !self.take(&message, &names, next) => return Ok(()),
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

    /// Looks for partitions, and follows them when they are others than before.
    fn look(
        &self,
        consumer: &BaseConsumer<Context>,
        names: &[String; 2],
        known: &mut Partitions,
        next: &mut Position,
    ) -> Result<Looked, String> {
        let found = partitions(consumer, names)?;
        if found == *known {
            return Ok(Looked::Same);
        }
        *next = starts(consumer, names, found, next).map_err(|error| format!("kafka ({error})"))?;
        let mut list = TopicPartitionList::new();
        for at in next.places().filter(|at| at.partition < found[at.topic as usize]) {
            let name = &names[at.topic as usize];
            list.add_partition_offset(name, at.partition as i32, Offset::Offset(at.offset))
                .map_err(|error| error.to_string())?;
        }
        consumer.assign(&list).map_err(|error| format!("kafka ({error})"))?;
        *known = found;
        tracing::info!(partitions = found.iter().sum::<usize>(), "live stream follows kafka");
        // ready is who understands the ids of readers that come back: not before the publisher knows the beginning
        let (done, begun) = oneshot::channel();
        let told = self.records.blocking_send(Record::Begin(next.clone(), done));
        let is_open = told.is_ok() && begun.blocking_recv().is_ok();
        Ok(if is_open { Looked::Follows } else { Looked::Closed })
    }

    /// `false` when nobody listens any more.
    fn take(&self, message: &BorrowedMessage<'_>, names: &[String; 2], next: &mut Position) -> bool {
        let topic = if message.topic() == names[0] { Topic::Windows } else { Topic::Alerts };
        let place = Place {
            topic,
            partition: usize::try_from(message.partition()).unwrap_or_default(),
            offset: message.offset(),
        };
        next.pass(place);
        let age = message.timestamp().to_millis().map(|at| crate::now() - at);
        let record = match topic {
            Topic::Windows => payload::<AggregateFrame>(message)
                .filter(AggregateFrame::is_consistent)
                .map(|frame| Record::Window(place, frame)),
            Topic::Alerts => payload::<Alert>(message).map(|alert| Record::Alert(place, alert)),
        };
        let kind = match &record {
            Some(Record::Window(..)) => "window",
            Some(_) => "alert",
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

#[derive(PartialEq)]
enum Looked {
    Same,
    Follows,
    /// Nobody listens any more.
    Closed,
}

/// How many partitions each topic has, or what is missing.
fn partitions(consumer: &BaseConsumer<Context>, names: &[String; 2]) -> Result<Partitions, String> {
    let mut found = Partitions::default();
    for (found, name) in found.iter_mut().zip(names) {
        let metadata = consumer
            .fetch_metadata(Some(name), METADATA_TIMEOUT)
            .map_err(|error| format!("kafka ({error})"))?;
        let topic = metadata.topics().iter().find(|t| t.name() == name && t.error().is_none());
        *found = topic.map_or(0, |t| t.partitions().len());
        if *found == 0 {
            return Err(format!("topic {name}"));
        }
    }
    Ok(found)
}

/// Where to read on. Known partitions go on where they are; at the first sight of a topic it is a minute ago, so that readers
/// of before a restart get what they missed; a partition added later is read from its beginning.
fn starts(
    consumer: &BaseConsumer<Context>,
    names: &[String; 2],
    found: Partitions,
    next: &Position,
) -> KafkaResult<Position> {
    let mut starts = next.clone();
    for (topic, name) in TOPICS.into_iter().zip(names) {
        let (before, count) = (next.partitions(topic), found[topic as usize]);
        let mut times = TopicPartitionList::new();
        for partition in before..count {
            times.add_partition_offset(name, partition as i32, Offset::Offset(crate::now() - AGE))?;
        }
        if times.count() == 0 {
            continue;
        }
        let times =
            if before == 0 { Some(consumer.offsets_for_times(times, METADATA_TIMEOUT)?) } else { None };
        for partition in before..count {
            let (low, high) = consumer.fetch_watermarks(name, partition as i32, METADATA_TIMEOUT)?;
            let at = times.as_ref().and_then(|times| times.find_partition(name, partition as i32));
            let young = match at.map(|at| at.offset()) {
                Some(Offset::Offset(offset)) if offset >= 0 => offset,
                Some(_) => high,
                None => low,
            };
            let offset = (young - BEFORE).max(low);
            starts.go_to(Place { topic, partition, offset });
        }
    }
    Ok(starts)
}
