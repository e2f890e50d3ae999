//! What people say of alerts: reads `analyzer.feedback`, all of it, for all servers.
//!
//! In: the topic, from its beginning on. Out: [`Verdicts`]. Invariant: no window is judged before all is known that was in the
//! topic half a minute ago. A verdict is in force a minute after it was said, so everybody knows it by then, whoever judges the
//! window, now or in a replay.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use tidewatch_schemas::{Feedback, validate::check_server_name};
use tidewatch_service_kit::kafka::{self, Context, KafkaConfig, REQUEST_TIMEOUT};

use super::STAGE;
use crate::{error::SessionError, feedback::Verdicts};

/// The topic's only partition.
const PARTITION: i32 = 0;
/// What is known may be so old.
const STALE_MS: i64 = Feedback::AFTER_MS / 2;
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// For all of it; the member has to poll again within two minutes.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) struct Listener {
    topic: String,
    consumer: BaseConsumer<Context>,
    verdicts: Arc<Verdicts>,
    /// The next record to read.
    next: i64,
    /// All that was there at this time was read; milliseconds since 1970.
    known: i64,
}

impl Listener {
    /// `None`: there is no such topic. Needs no group: whoever judges windows reads all of it.
    pub(super) fn open(kafka: &KafkaConfig) -> Result<Option<Self>, SessionError> {
        let topic = kafka.topics().feedback();
        let consumer: BaseConsumer<Context> = kafka
            .consumer(&kafka.group(STAGE))
            .set("enable.partition.eof", "true")
            .create_with_context(Context)
            .map_err(SessionError::kafka("create consumer"))?;
        let found = consumer.fetch_metadata(Some(&topic), REQUEST_TIMEOUT);
        let found = found.map_err(SessionError::kafka("look for feedback"))?;
        if found.topics().first().is_none_or(|topic| topic.partitions().is_empty()) {
            tracing::warn!(topic, "nobody can call an alert false: create the topic and restart");
            return Ok(None);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, PARTITION, Offset::Beginning)
            .map_err(SessionError::kafka("assign feedback"))?;
        consumer.assign(&list).map_err(SessionError::kafka("assign feedback"))?;
        let verdicts = Arc::default();
        Ok(Some(Self { topic, consumer, verdicts, next: 0, known: i64::MIN }))
    }

    pub(super) fn verdicts(&self) -> &Arc<Verdicts> {
        &self.verdicts
    }

    /// Whether windows have to wait for what may have been said.
    pub(super) fn is_stale(&self, now: i64) -> bool {
        now.saturating_sub(self.known) > STALE_MS
    }

    /// Takes what has come, without waiting for more; whether something was said.
    pub(super) fn listen(&mut self) -> bool {
        let mut heard = false;
        while let Some(is_word) = self.poll(Duration::ZERO) {
            heard |= is_word;
        }
        heard
    }

    /// Asks where the end is: if we are there, what we know is of now. What fails is tried again before it matters.
    pub(super) fn look(&mut self, now: i64) {
        match self.consumer.fetch_watermarks(&self.topic, PARTITION, ASK_TIMEOUT).map(|marks| self.end(marks))
        {
            Ok(end) if self.next >= end => self.known = now,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "look for the end of feedback"),
        }
    }

    /// Reads to the end as it is now; whether something was said.
    pub(super) fn catch_up(&mut self, now: i64) -> Result<bool, SessionError> {
        let begun = Instant::now();
        let mut heard = self.listen();
        let marks = kafka::watermarks(&self.consumer, &self.topic, PARTITION);
        let end = self.end(marks.map_err(SessionError::kafka("find the end of feedback"))?);
        while self.next < end {
            if begun.elapsed() > READ_TIMEOUT {
                return Err(SessionError::Restore { what: "feedback", seconds: READ_TIMEOUT.as_secs() });
            }
            heard |= self.poll(Duration::from_millis(200)).unwrap_or_default();
        }
        self.known = now;
        Ok(heard)
    }

    fn end(&mut self, (first, end): (i64, i64)) -> i64 {
        // what is older was deleted
        self.next = self.next.max(first);
        end
    }

    /// `None`: nothing came; else whether it was a word on an alert.
    fn poll(&mut self, wait: Duration) -> Option<bool> {
        match self.consumer.poll(wait)? {
            Ok(message) => {
                self.next = self.next.max(message.offset() + 1);
                Some(hear(Arc::make_mut(&mut self.verdicts), &message))
            }
            Err(KafkaError::PartitionEOF(_)) => {
                // behind the last record there may be marks of a transaction, which nobody gets to see
                let marks = self.consumer.fetch_watermarks(&self.topic, PARTITION, ASK_TIMEOUT);
                self.next = self.next.max(marks.map_or(0, |(_, end)| end));
                Some(false)
            }
            Err(error) => {
                tracing::debug!(%error, "read feedback");
                Some(false)
            }
        }
    }
}

/// What is no word on an alert is passed over: it may be from a version to come.
fn hear(verdicts: &mut Verdicts, message: &BorrowedMessage<'_>) -> bool {
    let offset = message.offset();
    match Feedback::decode(message.payload().unwrap_or_default()) {
        Ok(said) if check_server_name(&said.server).is_ok() => {
            let Feedback { server, alert_id, said_by, .. } = &said;
            tracing::info!(server, alert = alert_id, by = said_by, verdict = ?said.verdict, "feedback heard");
            verdicts.add(said);
            true
        }
        Ok(_) => {
            tracing::debug!(offset, "pass over feedback without a server");
            false
        }
        Err(error) => {
            tracing::debug!(%error, offset, "pass over foreign feedback");
            false
        }
    }
}
