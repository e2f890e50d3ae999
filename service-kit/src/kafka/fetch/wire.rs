//! Requests and responses of Kafka's protocol, as far as a reader needs them: Metadata v8, ListOffsets v5, Fetch v11, the
//! last versions without tagged fields. In: what to ask, and a response's bytes. Out: bytes, and what they say.
//!
//! Every length is checked against what is there: a response can be wrong, it can't make us read past it or allocate.

use std::{ops::Range, sync::Arc};

use super::{Leader, state::Asked};

pub(super) const CLIENT: &str = "tidewatch";

/// Read committed: nothing above the last stable offset, and a list of the aborted.
const ISOLATION: u8 = 1;
/// The timestamp that stands for the beginning of the log.
const EARLIEST: i64 = -2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Fetch,
    ListOffsets,
    Metadata,
}

impl Api {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fetch => "Fetch",
            Self::ListOffsets => "ListOffsets",
            Self::Metadata => "Metadata",
        }
    }

    fn key_and_version(self) -> (i16, i16) {
        match self {
            Self::Fetch => (1, 11),
            Self::ListOffsets => (2, 5),
            Self::Metadata => (3, 8),
        }
    }
}

/// What a response or a batch has to hold, and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cut short or malformed")]
pub(super) struct Malformed;

/// Bytes still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let length = self.i16()?;
        if length < 0 {
            return Ok(None);
        }
        std::str::from_utf8(self.take(length as usize)?).map(Some).map_err(|_| Malformed)
    }

    /// How many elements follow; each takes a byte at least.
    fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i32()?.max(0)).map_err(|_| Malformed)?;
        if count > self.rest.len() { Err(Malformed) } else { Ok(count) }
    }

    fn skip_ints(&mut self) -> Result<(), Malformed> {
        let count = self.count()?;
        self.take(4 * count).map(drop)
    }
}

/// A request under way to the wire; the length in front is filled in at the end.
#[derive(Debug)]
struct Writer(Vec<u8>);

impl Writer {
    fn new(api: Api, correlation: i32) -> Self {
        let (key, version) = api.key_and_version();
        let mut writer = Self(vec![0; 4]);
        writer.i16(key);
        writer.i16(version);
        writer.i32(correlation);
        writer.string(CLIENT);
        writer
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn string(&mut self, value: &str) {
        self.i16(value.len() as i16);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }

    /// An array of topics, each with its partitions; `asked` is ordered by topic only where neighbours are of one.
    fn topics(&mut self, asked: &[Asked], mut partition: impl FnMut(&mut Self, &Asked)) {
        let groups = || asked.chunk_by(|a, b| a.topic == b.topic);
        self.i32(groups().count() as i32);
        for group in groups() {
            self.string(&group[0].topic);
            self.i32(group.len() as i32);
            for asked in group {
                partition(self, asked);
            }
        }
    }
}

/// How much a Fetch may bring, and how long the broker may wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) max_wait_ms: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_max_bytes: i32,
}

pub(super) fn fetch_request(correlation: i32, asked: &[Asked], bounds: Bounds) -> Vec<u8> {
    let mut w = Writer::new(Api::Fetch, correlation);
    // not a replica
    w.i32(-1);
    w.i32(bounds.max_wait_ms);
    w.i32(1);
    w.i32(bounds.max_bytes);
    w.u8(ISOLATION);
    // no session: every request says all of it
    w.i32(0);
    w.i32(-1);
    w.topics(asked, |w, asked| {
        w.i32(asked.partition);
        w.i32(asked.epoch);
        w.i64(asked.offset);
        w.i64(-1);
        w.i32(bounds.partition_max_bytes);
    });
    // nothing to forget, no rack
    w.i32(0);
    w.string("");
    w.finish()
}

pub(super) fn log_start_request(correlation: i32, asked: &[Asked]) -> Vec<u8> {
    let mut w = Writer::new(Api::ListOffsets, correlation);
    w.i32(-1);
    w.u8(ISOLATION);
    w.topics(asked, |w, asked| {
        w.i32(asked.partition);
        w.i32(asked.epoch);
        w.i64(EARLIEST);
    });
    w.finish()
}

pub(super) fn metadata_request(correlation: i32, topics: &[Arc<str>]) -> Vec<u8> {
    let mut w = Writer::new(Api::Metadata, correlation);
    w.i32(topics.len() as i32);
    for topic in topics {
        w.string(topic);
    }
    // create no topic, list no operations
    w.u8(0);
    w.u8(0);
    w.u8(0);
    w.finish()
}

/// A partition's part of a Fetch response.
#[derive(Debug)]
pub(super) struct Fetched<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) error: i16,
    pub(super) last_stable_offset: i64,
    /// (producer, first offset) of the transactions that were aborted.
    pub(super) aborted: Vec<(i64, i64)>,
    /// Where its batches lie in the response.
    pub(super) records: Range<usize>,
}

/// The response's own error, and what it says of each partition.
pub(super) fn fetch_response(bytes: &[u8]) -> Result<(i16, Vec<Fetched<'_>>), Malformed> {
    let mut r = Reader::new(bytes);
    let (_throttle, error, _session) = (r.i32()?, r.i16()?, r.i32()?);
    let mut found = Vec::new();
    for _ in 0..r.count()? {
        let topic = r.string()?;
        for _ in 0..r.count()? {
            let (partition, error, _high_watermark) = (r.i32()?, r.i16()?, r.i64()?);
            let (last_stable_offset, _log_start) = (r.i64()?, r.i64()?);
            let count = r.count()?;
            let mut aborted = Vec::new();
            for _ in 0..count {
                aborted.push((r.i64()?, r.i64()?));
            }
            let _preferred_replica = r.i32()?;
            let length = r.i32()?.max(0) as usize;
            let begin = bytes.len() - r.rest.len();
            r.take(length)?;
            let records = begin..begin + length;
            found.push(Fetched { topic, partition, error, last_stable_offset, aborted, records });
        }
    }
    Ok((error, found))
}

/// Where a partition's log begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogStart<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) error: i16,
    pub(super) offset: i64,
}

pub(super) fn log_start_response(bytes: &[u8]) -> Result<Vec<LogStart<'_>>, Malformed> {
    let mut r = Reader::new(bytes);
    let _throttle = r.i32()?;
    let mut found = Vec::new();
    for _ in 0..r.count()? {
        let topic = r.string()?;
        for _ in 0..r.count()? {
            let (partition, error, _timestamp) = (r.i32()?, r.i16()?, r.i64()?);
            let (offset, _epoch) = (r.i64()?, r.i32()?);
            found.push(LogStart { topic, partition, error, offset });
        }
    }
    Ok(found)
}

/// Who leads what.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// (id, host, port)
    pub(super) brokers: Vec<(i32, String, u16)>,
    /// What is wrong with a topic as a whole.
    pub(super) refused: Vec<(String, i16)>,
    pub(super) leaders: Vec<(String, i32, Leader)>,
}

pub(super) fn metadata_response(bytes: &[u8]) -> Result<Metadata, Malformed> {
    let mut r = Reader::new(bytes);
    let mut found = Metadata::default();
    let _throttle = r.i32()?;
    for _ in 0..r.count()? {
        let (id, host, port) = (r.i32()?, r.string()?, r.i32()?);
        let _rack = r.nullable_string()?;
        found.brokers.push((id, host.to_owned(), u16::try_from(port).map_err(|_| Malformed)?));
    }
    let _cluster = r.nullable_string()?;
    let _controller = r.i32()?;
    for _ in 0..r.count()? {
        let (error, topic, _internal) = (r.i16()?, r.string()?, r.u8()?);
        if error != 0 {
            found.refused.push((topic.to_owned(), error));
        }
        for _ in 0..r.count()? {
            let (_error, partition, id, epoch) = (r.i16()?, r.i32()?, r.i32()?, r.i32()?);
            r.skip_ints()?;
            r.skip_ints()?;
            r.skip_ints()?;
            if id >= 0 {
                found.leaders.push((topic.to_owned(), partition, Leader { id, epoch }));
            }
        }
        let _operations = r.i32()?;
    }
    Ok(found)
}
