//! What the ids of layouts stand for, as their producers announced it in a compacted topic.
//!
//! In: an id that a frame names. Out: the layout, read from the topic if need be, up to the topic's end at that moment: a
//! producer that keeps the order (announced and acknowledged, then named) is always understood, whoever named the id too early
//! before it. Invariant: an id is the digest of its layout, so it means the same to everybody and at every time; what claims
//! otherwise is refused.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use tidewatch_schemas::{Layout, decode};
use tidewatch_service_kit::kafka::{self, Context, KafkaConfig, REQUEST_TIMEOUT, Received};

use crate::{error::SessionError, layout::write_layout, metrics::ProcessorMetrics};

/// Bytes of layouts kept here; the partitions keep those that they use.
const MAX_BYTES: usize = 64 << 20;
const MAX_ABSENT: usize = 10_000;
const PARTITION: i32 = 0;

pub(super) struct Announcements<'a> {
    config: ClientConfig,
    topic: String,
    metrics: &'a ProcessorMetrics,
    /// Made when the first id comes: many fleets never name one.
    consumer: Option<BaseConsumer<Context>>,
    /// The next offset of the topic.
    next: i64,
    kept: Kept,
    /// By the frames' partition and the id: nobody had announced it when that partition reached so far.
    absent: HashMap<(i32, i64), i64>,
    /// The topic is not there, and that was said.
    missing: bool,
}

impl<'a> Announcements<'a> {
    pub(super) fn new(kafka: &KafkaConfig, metrics: &'a ProcessorMetrics) -> Self {
        let mut config = kafka.consumer(&kafka.group("stream-processor.layouts"));
        config.set("enable.partition.eof", "true");
        // the end of the topic is told after so long a wait for more
        config.set("fetch.wait.max.ms", "20");
        Self {
            config,
            topic: kafka.topics().layouts(),
            metrics,
            consumer: None,
            next: 0,
            kept: Kept::default(),
            absent: HashMap::new(),
            missing: false,
        }
    }

    /// The layout of an id that a record names, as a frame would hold it; waits for Kafka where the topic has more than was read.
    /// `reach`: the end of the record's partition as far as it is known. Whatever stands below it was written before the layouts are read, so
    /// one look is enough for all of it, and what comes behind is looked at anew.
    pub(super) fn find(
        &mut self,
        id: i64,
        record: &Received<'_>,
        reach: impl FnOnce() -> i64,
    ) -> Result<Option<Arc<[u8]>>, SessionError> {
        if let Some(layout) = self.kept.layouts.get(&id) {
            return Ok(Some(Arc::clone(layout)));
        }
        let place = (record.partition, id);
        if self.absent.get(&place).is_some_and(|reach| record.offset < *reach) {
            return Ok(None);
        }
        let reach = reach().max(record.offset + 1);
        let read = SessionError::kafka("read layouts");
        let found = match self.read(id) {
            Ok(found) => found,
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                if !std::mem::replace(&mut self.missing, true) {
                    tracing::warn!(
                        topic = self.topic,
                        "no such topic: frames that name their layout are refused"
                    );
                }
                None
            }
            Err(error) => return Err(read(error)),
        };
        if found.is_none() {
            if self.absent.len() >= MAX_ABSENT {
                self.absent.clear();
            }
            self.absent.insert(place, reach);
            self.metrics.record_layout("unknown");
        }
        Ok(found)
    }

    /// Lets the client say what it has to say: unasked, it would tell of an outage when it is long over.
    pub(super) fn serve(&self) {
        if let Some(consumer) = &self.consumer {
            // fetches nothing while it is paused; what was fetched before is read again from where we are
            consumer.poll(Duration::ZERO);
        }
    }

    fn read(&mut self, id: i64) -> Result<Option<Arc<[u8]>>, KafkaError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.assign()?,
        };
        let result = self.read_on(&consumer, id);
        if result.is_ok() {
            self.consumer = Some(consumer);
        }
        result
    }

    fn assign(&self) -> Result<BaseConsumer<Context>, KafkaError> {
        let consumer: BaseConsumer<Context> = self.config.create_with_context(Context)?;
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&self.topic, PARTITION, Offset::Offset(self.next))?;
        consumer.assign(&from)?;
        consumer.pause(&from)?;
        Ok(consumer)
    }

    /// Up to the end as it is now. What did not fit before is found by starting over.
    fn read_on(
        &mut self,
        consumer: &BaseConsumer<Context>,
        id: i64,
    ) -> Result<Option<Arc<[u8]>>, KafkaError> {
        let (low, high) = kafka::watermarks(consumer, &self.topic, PARTITION)?;
        if self.kept.dropped {
            self.next = 0;
            self.kept.dropped = false;
        }
        self.next = self.next.max(low);
        if self.next >= high {
            return Ok(None);
        }
        let mut all = TopicPartitionList::new();
        all.add_partition(&self.topic, PARTITION);
        let until = Instant::now() + REQUEST_TIMEOUT;
        consumer.seek(&self.topic, PARTITION, Offset::Offset(self.next), REQUEST_TIMEOUT)?;
        consumer.resume(&all)?;
        while self.next < high {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    self.next = message.offset() + 1;
                    self.take(&message, id);
                }
                // the last record may be one that nobody is shown
                Some(Err(KafkaError::PartitionEOF(_))) => self.next = high,
                Some(Err(error)) if Instant::now() > until => return Err(error),
                None if Instant::now() > until => {
                    return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
                }
                Some(Err(_)) | None => {}
            }
        }
        consumer.pause(&all)?;
        Ok(self.kept.layouts.get(&id).map(Arc::clone))
    }

    fn take(&mut self, message: &impl Message, wanted: i64) {
        // without a value: the topic has forgotten it
        let Some(payload) = message.payload() else { return };
        match decode::<Layout>(payload) {
            Ok((layout, _)) if layout.is_named_right() => {
                self.metrics.record_layout("read");
                let mut bytes = Vec::with_capacity(payload.len());
                write_layout(&mut bytes, &layout.layout);
                self.kept.insert(layout.layout_id, bytes.into(), wanted);
            }
            Ok((layout, _)) => {
                self.metrics.record_layout("refused");
                tracing::debug!(
                    id = layout.layout_id,
                    offset = message.offset(),
                    "the layout is not the id's"
                );
            }
            Err(error) => {
                self.metrics.record_layout("refused");
                tracing::debug!(%error, offset = message.offset(), "no layout");
            }
        }
    }
}

/// The latest layouts, up to a number of bytes.
#[derive(Debug, Default)]
struct Kept {
    layouts: HashMap<i64, Arc<[u8]>>,
    order: VecDeque<i64>,
    bytes: usize,
    /// Something had to go.
    dropped: bool,
}

impl Kept {
    /// The one that is `wanted` does not have to go.
    fn insert(&mut self, id: i64, layout: Arc<[u8]>, wanted: i64) {
        if self.layouts.contains_key(&id) {
            return;
        }
        self.bytes += layout.len();
        self.order.push_back(id);
        self.layouts.insert(id, layout);
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            if oldest == wanted {
                self.order.push_back(oldest);
                if self.order.len() == 1 {
                    break;
                }
            } else if let Some(gone) = self.layouts.remove(&oldest) {
                self.bytes -= gone.len();
                self.dropped = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(byte: u8) -> Arc<[u8]> {
        vec![byte; MAX_BYTES / 4].into()
    }

    #[test]
    fn the_oldest_go_but_not_the_wanted() {
        let mut kept = Kept::default();
        for id in 1..=4 {
            kept.insert(id, layout(id as u8), 1);
        }
        assert!(!kept.dropped);
        kept.insert(5, layout(5), 1);
        let mut ids: Vec<i64> = kept.layouts.keys().copied().collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 3, 4, 5]);
        assert!(kept.dropped && kept.bytes == MAX_BYTES);
    }

    #[test]
    fn one_that_is_too_large_alone_is_kept_while_it_is_wanted() {
        let mut kept = Kept::default();
        kept.insert(1, vec![0; MAX_BYTES + 1].into(), 1);
        assert!(kept.layouts.contains_key(&1) && !kept.dropped);
        kept.insert(2, layout(2), 2);
        assert_eq!(kept.layouts.keys().copied().collect::<Vec<_>>(), [2]);
    }
}
