//! Commit: dead letters, then offsets.
//!
//! Keeps: an offset is not committed before the dead letters in front of it are on all in-sync replicas. What fails is
//! tried again for as long as the partitions are ours: nothing is lost meanwhile, and nothing is sent twice.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer},
};
use tidewatch_schemas::Reason;
use tidewatch_service_kit::kafka::{Group, Original, PlainSender, Source, dead_letter_headers};

use super::{STAGE, Session, TICK};
use crate::error::SessionError;

/// How long commits may fail until that is worth a word.
const PATIENCE: Duration = Duration::from_secs(30);

impl Session<'_> {
    /// A dead letter, to be written before the next commit.
    pub(super) fn bury(
        &mut self,
        (partition, offset): (i32, i64),
        key: Option<Vec<u8>>,
        payload: Vec<u8>,
        reason: Reason,
        words: &str,
    ) {
        let source = Source { topic: &self.topic, partition, offset };
        let message = format!("{}: {words}", self.notifier.target.id());
        let headers = dead_letter_headers(STAGE, &source, reason, &message);
        let topic = self.kafka().topics().dead_letter(STAGE);
        self.letters.push(Original { topic, partition, key, payload, headers });
        self.notifier.target.metrics().record_dead_letter(reason);
    }

    pub(super) fn commit(&mut self, group: &Group) -> Result<(), SessionError> {
        let mut offsets = TopicPartitionList::new();
        let mut done = Vec::new();
        for (&partition, ledger) in &self.ledgers {
            let Some(offset) = ledger.to_commit() else { continue };
            offsets
                .add_partition_offset(&self.topic, partition, Offset::Offset(offset))
                .map_err(SessionError::kafka("set offset"))?;
            done.push((partition, offset));
        }
        let is_due = Instant::now() >= self.commit_at || self.notifier.shutdown.is_triggered();
        if !is_due || (done.is_empty() && self.letters.is_empty()) {
            return Ok(());
        }
        if let Err(error) = self.send_letters_and(group, &offsets) {
            self.failed(&error);
            return Ok(());
        }
        if let Some((_, true)) = self.failing.take() {
            tracing::info!(target_id = self.notifier.target.id(), "offsets are committed again");
        }
        self.letters.clear();
        for (partition, offset) in done {
            if let Some(ledger) = self.ledgers.get_mut(&partition) {
                ledger.committed(offset);
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &SessionError) {
        let id = self.notifier.target.id();
        let (since, said) = self.failing.get_or_insert((Instant::now(), false));
        if !*said && since.elapsed() > PATIENCE {
            *said = true;
            tracing::warn!(target_id = id, %error, "offsets can't be committed, try until they can");
        } else {
            tracing::debug!(target_id = id, %error, "commit, try again");
        }
        self.commit_at = Instant::now() + TICK;
    }

    fn send_letters_and(&mut self, group: &Group, offsets: &TopicPartitionList) -> Result<(), SessionError> {
        if self.letters.is_empty() {
            let commit = group.consumer().commit(offsets, CommitMode::Sync);
            return commit.map_err(SessionError::kafka("commit offsets"));
        }
        // few ever need it
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => PlainSender::open(self.kafka())?,
        };
        let sender = self.sender.insert(sender);
        self.letters.iter().try_for_each(|letter| sender.send(letter.outgoing()))?;
        Ok(sender.commit(group, offsets)?)
    }
}
