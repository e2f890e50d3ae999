//! The filter's file and the texts of filters past.
//!
//! In: a YAML file, looked at again every two seconds. Out: the filter; a bad file is refused and the old one stays. Each
//! text stands in a compacted topic before it is used: who replays records that were read under another filter finds
//! it there.

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidewatch_service_kit::kafka::{Context, KafkaConfig, REQUEST_TIMEOUT};

use crate::{Error, error::SessionError, filter::Filter};

const LOOK: Duration = Duration::from_secs(2);

/// What was last found in place of the file.
type Seen = Option<(SystemTime, u64)>;

#[derive(Debug)]
pub(super) struct Filters {
    path: Option<PathBuf>,
    kafka: KafkaConfig,
    topic: String,
    seen: Seen,
    looked: Instant,
    current: Filter,
    /// By fingerprint.
    known: HashMap<u64, Filter>,
}

impl Filters {
    /// The file was good when the settings were read; that it still is shows here.
    pub(super) fn open(path: Option<PathBuf>, kafka: &KafkaConfig) -> Result<Self, SessionError> {
        let mut filters = Self {
            topic: kafka.topics().filters(),
            kafka: kafka.clone(),
            seen: None,
            looked: Instant::now(),
            current: Filter::none(),
            known: HashMap::from([(0, Filter::none())]),
            path,
        };
        if let Some(path) = filters.path.clone() {
            filters.seen = filters.look();
            let filter = read(&path).map_err(|why| SessionError::Fatal(Error::Filter(why)))?;
            filters.take(filter)?;
        }
        Ok(filters)
    }

    pub(super) fn current(&self) -> &Filter {
        &self.current
    }

    /// The filter if the file has another one now.
    pub(super) fn changed(&mut self, now: Instant) -> Result<Option<Filter>, SessionError> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        if now - self.looked < LOOK {
            return Ok(None);
        }
        self.looked = now;
        let seen = self.look();
        if seen == self.seen {
            return Ok(None);
        }
        self.seen = seen;
        match read(&path) {
            Ok(filter) if filter.fingerprint() == self.current.fingerprint() => Ok(None),
            Ok(filter) => {
                tracing::info!(file = %path.display(), "filter changed");
                self.take(filter)?;
                Ok(Some(self.current.clone()))
            }
            Err(error) => {
                tracing::error!(%error, "keep the filter as it was");
                Ok(None)
            }
        }
    }

    /// The filter of a fingerprint that stands in a commit.
    pub(super) fn of(&mut self, fingerprint: u64) -> Result<Filter, SessionError> {
        if !self.known.contains_key(&fingerprint) {
            self.read_topic()?;
        }
        self.known
            .get(&fingerprint)
            .cloned()
            .ok_or(SessionError::Fatal(Error::UnknownFilter { topic: self.topic.clone(), fingerprint }))
    }

    fn look(&self) -> Seen {
        let found = std::fs::metadata(self.path.as_ref()?).ok()?;
        Some((found.modified().ok()?, found.len()))
    }

    /// In the topic before anything is read under it: a delivery that failed would be noticed when it is too late.
    fn take(&mut self, filter: Filter) -> Result<(), SessionError> {
        let fingerprint = filter.fingerprint();
        if !self.known.contains_key(&fingerprint) {
            self.read_topic()?;
        }
        if !self.known.contains_key(&fingerprint) {
            self.publish(&filter).map_err(SessionError::kafka("publish filter"))?;
            self.read_topic()?;
            if !self.known.contains_key(&fingerprint) {
                return Err(SessionError::kafka("publish filter")(KafkaError::Canceled));
            }
        }
        self.current = filter;
        Ok(())
    }

    fn publish(&self, filter: &Filter) -> Result<(), KafkaError> {
        let producer: BaseProducer<Context> = self.kafka.producer().create_with_context(Context)?;
        let key = format!("{:016x}", filter.fingerprint());
        let record = BaseRecord::<str, str>::to(&self.topic).partition(0).key(&key).payload(filter.text());
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(REQUEST_TIMEOUT)
    }

    fn read_topic(&mut self) -> Result<(), SessionError> {
        let mut config: ClientConfig = self.kafka.consumer(&self.kafka.group("stream-processor.filters"));
        config.set("enable.partition.eof", "true");
        let read = || -> Result<Vec<Filter>, KafkaError> {
            let consumer: BaseConsumer<Context> = config.create_with_context(Context)?;
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(&self.topic, 0, Offset::Beginning)?;
            consumer.assign(&from)?;
            let until = Instant::now() + REQUEST_TIMEOUT;
            let mut found = Vec::new();
            loop {
                match consumer.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) => {
                        let text = message.payload().and_then(|text| std::str::from_utf8(text).ok());
                        found.extend(text.and_then(|text| Filter::parse(text).ok()));
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
                    Some(Err(error)) if Instant::now() > until => return Err(error),
                    None if Instant::now() > until => return Err(KafkaError::Canceled),
                    Some(Err(_)) | None => {}
                }
            }
        };
        let found = read().map_err(SessionError::kafka("read filters"))?;
        self.known.extend(found.into_iter().map(|filter| (filter.fingerprint(), filter)));
        Ok(())
    }
}

/// The filter of a file, or in one sentence what is wrong with it.
pub(crate) fn read(path: &std::path::Path) -> Result<Filter, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{}: read filters: {error}", path.display()))?;
    Filter::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}
