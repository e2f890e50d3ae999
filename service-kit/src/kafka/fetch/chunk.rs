//! A batch of one partition, ready to be read: its buffer goes back when it is dropped.

use std::{fmt, sync::Arc};

use super::{
    batch::{Batch, Content},
    compression::Output,
    records::Cursor,
    shared::Shared,
};
use crate::kafka::Received;

/// What a batch brings.
#[derive(Debug)]
pub enum Item<'a> {
    Record(Received<'a>),
    /// Offsets of which nothing can be read: a batch, or the rest of one.
    Unreadable {
        /// The first of them: without a key, a payload and headers, with the batch's highest timestamp.
        record: Received<'a>,
        last: i64,
        why: String,
    },
}

impl<'a> Item<'a> {
    pub fn record(&self) -> &Received<'a> {
        match self {
            Self::Record(record) | Self::Unreadable { record, .. } => record,
        }
    }

    /// The record's offset, or the last one of those that can't be read.
    pub fn last_offset(&self) -> i64 {
        match self {
            Self::Record(record) => record.offset,
            Self::Unreadable { last, .. } => *last,
        }
    }
}

/// What a chunk is of.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// Of the assignment: another one of the same partition has another.
    pub(super) generation: u64,
}

/// A batch between its decompression and its end.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) origin: Origin,
    pub(super) output: Output,
    used: usize,
    cursor: Cursor,
    wanted: i64,
    timestamp: i64,
    unreadable: Option<String>,
}

impl Ready {
    /// `result`: how many bytes of the output are the batch's records, or why there are none.
    pub(super) fn new(origin: Origin, batch: &Batch, output: Output, result: Result<usize, String>) -> Self {
        let why = match (&batch.content, result) {
            (Content::Unreadable(why), _) => Err(why.clone()),
            (Content::Records(..), result) => result,
        };
        let (used, unreadable) = why.map_or_else(|why| (0, Some(why)), |used| (used, None));
        let cursor = Cursor {
            at: 0,
            left: if unreadable.is_some() { 0 } else { batch.count },
            next: batch.base,
            base: batch.base,
            last: batch.last,
            base_timestamp: batch.base_timestamp,
            append_time: batch.append_time.then_some(batch.max_timestamp),
        };
        let timestamp = batch.max_timestamp;
        Self { origin, output, used, cursor, wanted: batch.wanted, timestamp, unreadable }
    }

    /// The offset behind the batch.
    pub(super) fn end(&self) -> i64 {
        self.cursor.last + 1
    }

    pub(super) fn next(&mut self) -> Option<Item<'_>> {
        let Self { cursor, wanted, origin: Origin { topic, partition, .. }, .. } = self;
        let why = match self.unreadable.take() {
            Some(why) => why,
            None => loop {
                match cursor.next(self.output.bytes.get(..self.used).unwrap_or_default()) {
                    // the broker sends whole batches
                    Ok(Some(record)) if record.offset < *wanted => {}
                    Ok(Some(record)) => {
                        return Some(Item::Record(Received::fetched(topic, *partition, &record)));
                    }
                    Ok(None) => return None,
                    Err(error) => {
                        cursor.left = 0;
                        break format!("the record at offset {} or behind it: {error}", cursor.next);
                    }
                }
            },
        };
        let (first, last) = (cursor.next.max(*wanted), cursor.last);
        let record = Received::unreadable(topic, *partition, first, self.timestamp);
        (first <= last).then_some(Item::Unreadable { record, last, why })
    }
}

/// A batch's records, in order.
pub struct Chunk {
    /// There until the drop.
    ready: Option<Ready>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("of", &self.ready.as_ref().map(|r| &r.origin)).finish_non_exhaustive()
    }
}

impl Chunk {
    pub(super) fn new(ready: Ready, shared: Arc<Shared>) -> Self {
        Self { ready: Some(ready), shared }
    }

    pub fn topic(&self) -> &str {
        self.ready.as_ref().map_or("", |ready| &ready.origin.topic)
    }

    /// Whether the assignment that it was fetched for still holds.
    pub fn is_current(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| self.shared.is_current(&ready.origin))
    }

    /// The next record, borrowed from the chunk.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        self.ready.as_mut()?.next()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(ready) = self.ready.take() {
            self.shared.give_back(ready);
        }
    }
}
