//! Requests to collect at once. In: `collect.requests`, all partitions, from where it ends when we start. Out: a word to the
//! collector's thread for each that names this host.
//!
//! Runs on a thread of its own. Keeps: no group and no commits, so every collector sees every request, once; one that can't be
//! read, is old or names another host is counted and passed over; Kafka away is outlived, and no tick waits for any of this.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use tidewatch_schemas::CollectRequest;
use tidewatch_service_kit::{
    Shutdown,
    kafka::{Context, KafkaConfig},
    retry,
};

use crate::{
    collect::{Asking, now_ms},
    metrics::{Metrics, Outcome},
};

pub(crate) mod pace;

/// How long one poll takes when nothing happens; also how long the thread outlives the wish to stop.
const POLL: Duration = Duration::from_millis(500);

const METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// How often new partitions are looked for.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Looks in vain, some twenty seconds in all, before a topic that is missing is said: at a start everything starts at once.
const PATIENCE: u32 = 10;

/// It is said again after so many more.
const SAY_AGAIN: u32 = 100;

/// Everything the thread holds.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) kafka: KafkaConfig,
    /// Whom we collect.
    pub(crate) server: String,
    pub(crate) collector: Asking,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

/// Why the topic is not followed at the moment.
#[derive(Debug)]
enum Away {
    Missing,
    Kafka(KafkaError),
}

impl From<KafkaError> for Away {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

impl Follower {
    /// Runs until the wish to stop.
    pub(crate) fn run(self) {
        // the next offset of each partition, whatever becomes of the consumer
        let mut next = Vec::new();
        let mut attempt = 0;
        while !self.shutdown.is_triggered() {
            match self.consumer().and_then(|consumer| self.follow(&consumer, &mut next)) {
                Ok(()) => break,
                Err(error) => {
                    if attempt == 0 {
                        tracing::warn!(%error, "follow requests to collect, will try again");
                    }
                    thread::sleep(retry::pause(attempt));
                    attempt += 1;
                }
            }
        }
    }

    fn consumer(&self) -> KafkaResult<BaseConsumer<Context>> {
        self.kafka
            .consumer(&self.kafka.group("ingest-requests"))
            .set("auto.offset.reset", "latest")
            .set("statistics.interval.ms", "0")
            // a request is answered at once all the same; there may be thousands of us
            .set("fetch.wait.max.ms", "1000")
            .set("queued.min.messages", "100")
            .set("queued.max.messages.kbytes", "1024")
            .create_with_context(Context)
    }

    fn follow(&self, consumer: &BaseConsumer<Context>, next: &mut Vec<i64>) -> KafkaResult<()> {
        let topic = self.kafka.topics().collect_requests();
        let (mut assigned, mut attempt) = (0, 0_u32);
        let mut look = Instant::now();
        while !self.shutdown.is_triggered() {
            if Instant::now() >= look {
                match look_for(consumer, &topic, next) {
                    Ok(()) => {
                        if next.len() != assigned {
                            assign(consumer, &topic, next)?;
                            assigned = next.len();
                            tracing::info!(partitions = assigned, "follow requests to collect");
                        }
                        attempt = 0;
                        look = Instant::now() + LOOK_AGAIN;
                    }
                    Err(why) => {
                        say(&why, &topic, attempt);
                        look = Instant::now() + retry::pause(attempt);
                        attempt = attempt.saturating_add(1);
                    }
                }
            }
            match consumer.poll(POLL) {
                Some(Ok(message)) => self.take(&message, next),
                None => {}
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                Some(Err(error)) => {
                    tracing::debug!(%error, "poll requests to collect");
                    // errors come at once, one after the other
                    thread::sleep(retry::pause(0));
                }
            }
        }
        Ok(())
    }

    fn take(&self, message: &BorrowedMessage<'_>, next: &mut [i64]) {
        let partition = usize::try_from(message.partition()).unwrap_or_default();
        if let Some(next) = next.get_mut(partition) {
            *next = message.offset() + 1;
        }
        let request = match CollectRequest::decode(message.payload().unwrap_or_default()) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(partition, offset = message.offset(), %error, "skip request to collect");
                self.metrics.record_collect_request(Outcome::Undecodable);
                return;
            }
        };
        match pace::judge(&request, &self.server, now_ms()) {
            Ok(()) => {
                tracing::debug!(id = request.id, client = request.requested_by, "asked to collect");
                self.collector.ask();
            }
            Err(outcome) => self.metrics.record_collect_request(outcome),
        }
    }
}

/// Sets where partitions that were not known are read from: at the first sight of the topic from its end, later from the beginning.
fn look_for(consumer: &BaseConsumer<Context>, topic: &str, next: &mut Vec<i64>) -> Result<(), Away> {
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
    let count = found.map_or(0, |t| t.partitions().len());
    if count == 0 {
        return Err(Away::Missing);
    }
    let is_first = next.is_empty();
    let mut starts = Vec::new();
    for partition in next.len()..count {
        let (low, high) = consumer.fetch_watermarks(topic, partition as i32, METADATA_TIMEOUT)?;
        starts.push(if is_first { high } else { low });
    }
    // all or none: half of them would be taken for a topic that has grown
    next.append(&mut starts);
    Ok(())
}

fn assign(consumer: &BaseConsumer<Context>, topic: &str, next: &[i64]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in next.iter().enumerate() {
        list.add_partition_offset(topic, partition as i32, Offset::Offset(*offset))?;
    }
    consumer.assign(&list)
}

/// That Kafka is away is said by who publishes; a topic that is not there when Kafka is, here.
fn say(why: &Away, topic: &str, attempt: u32) {
    match why {
        Away::Missing if attempt % SAY_AGAIN == PATIENCE => {
            tracing::warn!(topic, "no such topic: requests to collect are not heard");
        }
        Away::Missing => tracing::debug!(topic, "no such topic yet"),
        Away::Kafka(error) => tracing::debug!(%error, "look for requests to collect"),
    }
}
