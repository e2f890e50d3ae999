//! A record as it came, whichever client fetched it.

use std::fmt;

use rdkafka::{
    Message,
    message::{BorrowedHeaders, BorrowedMessage, Header, Headers as _, OwnedHeaders},
};

use super::fetch;

/// A record of a partition, borrowed from whoever fetched it.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970; 0 = none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub payload: Option<&'a [u8]>,
    pub headers: ReceivedHeaders<'a>,
}

#[derive(Clone, Copy)]
pub enum ReceivedHeaders<'a> {
    Fetched(fetch::Headers<'a>),
    Consumed(Option<&'a BorrowedHeaders>),
}

impl fmt::Debug for ReceivedHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Received<'a> {
    pub(super) fn fetched(topic: &'a str, partition: i32, record: &fetch::Record<'a>) -> Self {
        Self {
            topic,
            partition,
            offset: record.offset,
            timestamp: known(record.timestamp),
            key: record.key,
            payload: record.value,
            headers: ReceivedHeaders::Fetched(record.headers),
        }
    }

    pub(super) fn unreadable(topic: &'a str, partition: i32, offset: i64, timestamp: i64) -> Self {
        Self {
            topic,
            partition,
            offset,
            timestamp: known(timestamp),
            key: None,
            payload: None,
            headers: ReceivedHeaders::Consumed(None),
        }
    }
}

/// -1 says that there is none, to librdkafka too.
fn known(timestamp: i64) -> i64 {
    if timestamp == -1 { 0 } else { timestamp }
}

impl<'a> From<&'a BorrowedMessage<'_>> for Received<'a> {
    fn from(message: &'a BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap_or(0),
            key: message.key(),
            payload: message.payload(),
            headers: ReceivedHeaders::Consumed(message.headers()),
        }
    }
}

impl<'a> ReceivedHeaders<'a> {
    pub fn iter(self) -> impl Iterator<Item = Header<'a, &'a [u8]>> {
        let (fetched, consumed) = match self {
            Self::Fetched(headers) => (Some(headers), None),
            Self::Consumed(headers) => (None, headers),
        };
        let fetched =
            fetched.into_iter().flat_map(fetch::Headers::iter).map(|(key, value)| Header { key, value });
        fetched.chain(consumed.into_iter().flat_map(BorrowedHeaders::iter))
    }

    pub fn to_owned(self) -> OwnedHeaders {
        self.iter().fold(OwnedHeaders::new(), |all, header| all.insert(header))
    }
}
