//! Record batches (magic 2) as they lie in a response: which of them have records to be shown, and where the next one begins.
//!
//! In: a partition's bytes, the offset wanted, the transactions that were aborted. Out: batches to decompress, in order.
//! Passed over: control batches, aborted ones, what lies below the wanted offset, a last batch that is cut off. A batch that
//! makes no sense is no reason to stop: it is told of, and the reader goes on behind it. The CRC is not checked, as in librdkafka.

use std::{collections::HashSet, ops::Range};

use super::{
    records::varint,
    wire::{Fetched, Malformed, Reader},
};

/// From the base offset to the records.
const HEADER: usize = 61;
/// The base offset and the length, which the length does not count.
const PREFIX: usize = 12;
const MAGIC: i8 = 2;

const CODEC: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// A batch whose records are to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// The lowest offset to be shown.
    pub(super) wanted: i64,
    pub(super) base: i64,
    /// The last one, whether or not a record has it.
    pub(super) last: i64,
    pub(super) content: Content,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    /// The broker's stamp: one for all of its records.
    pub(super) append_time: bool,
    pub(super) count: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Where the records lie in the response, and what they are compressed with.
    Records(Range<usize>, u8),
    /// Nothing can be read of it: why.
    Unreadable(String),
}

/// What a partition's part of a response comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) batches: Vec<Batch>,
    /// Where to fetch from next.
    pub(super) next: i64,
}

/// The header's fields that matter here.
struct Header {
    base: i64,
    /// Of the whole batch, prefix and all.
    length: usize,
    attributes: i16,
    last: i64,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: i64,
    count: i32,
}

enum Next {
    Batch(Header),
    /// Older than magic 2: its offset and its length.
    Old(i64, usize, i8),
    /// The broker sent no more of it.
    CutOff,
    Nonsense,
}

/// `response` is all of it: the batches' places are counted from its beginning.
pub(super) fn find(response: &[u8], fetched: &Fetched<'_>, wanted: i64) -> Found {
    let mut found = Found { batches: Vec::new(), next: wanted };
    let mut aborted = Aborted::new(&fetched.aborted);
    let mut at = fetched.records.start;
    loop {
        let rest = &response[at..fetched.records.end];
        let header = match header(rest) {
            Next::Batch(header) if header.last >= found.next => header,
            Next::Batch(header) if header.last < wanted => {
                aborted.pass(&header, rest);
                at += header.length;
                continue;
            }
            Next::Old(offset, length, magic) => {
                let why = format!("a message of the old format {magic}, which is not read any more");
                found.unreadable(offset, why);
                at += length;
                continue;
            }
            Next::CutOff => break,
            // a log does not go back either
            Next::Batch(_) | Next::Nonsense => {
                found.unreadable(found.next, "not a batch".to_owned());
                break;
            }
        };
        // the last stable offset that the answer tells of is no bound: the broker notes it before it reads
        let shown = !aborted.pass(&header, rest) && header.count > 0;
        if shown {
            found.batches.push(Batch {
                wanted: found.next,
                base: header.base,
                last: header.last,
                content: Content::Records(at + HEADER..at + header.length, (header.attributes & CODEC) as u8),
                base_timestamp: header.base_timestamp,
                max_timestamp: header.max_timestamp,
                append_time: header.attributes & APPEND_TIME != 0,
                count: header.count,
            });
        }
        found.next = header.last + 1;
        at += header.length;
    }
    found
}

impl Found {
    /// From the next offset to this one at least there is nothing to be read.
    fn unreadable(&mut self, last: i64, why: String) {
        let (wanted, last) = (self.next, last.max(self.next));
        let batch = Batch {
            wanted,
            base: wanted,
            last,
            content: Content::Unreadable(why),
            base_timestamp: -1,
            max_timestamp: -1,
            append_time: true,
            count: 0,
        };
        self.batches.push(batch);
        self.next = last.saturating_add(1);
    }
}

fn header(bytes: &[u8]) -> Next {
    let Ok((base, length, magic)) = prefix(bytes) else { return Next::CutOff };
    let Some(length) = usize::try_from(length).ok().and_then(|length| length.checked_add(PREFIX)) else {
        return Next::Nonsense;
    };
    if length > bytes.len() {
        return Next::CutOff;
    }
    if (0..MAGIC).contains(&magic) && base >= 0 {
        return Next::Old(base, length, magic);
    }
    if magic != MAGIC || length < HEADER {
        return Next::Nonsense;
    }
    fields(base, &bytes[..length]).map_or(Next::Nonsense, Next::Batch)
}

fn prefix(bytes: &[u8]) -> Result<(i64, i32, i8), Malformed> {
    let mut r = Reader::new(bytes);
    let (base, length, _epoch) = (r.i64()?, r.i32()?, r.i32()?);
    Ok((base, length, r.u8()? as i8))
}

fn fields(base: i64, batch: &[u8]) -> Option<Header> {
    let mut r = Reader::new(batch.get(PREFIX + 9..)?);
    let mut read = || Ok::<_, Malformed>((r.i16()?, r.i32()?, r.i64()?, r.i64()?, r.i64()?));
    let (attributes, last_delta, base_timestamp, max_timestamp, producer) = read().ok()?;
    let count = Reader::new(batch.get(HEADER - 4..)?).i32().ok()?;
    let last = base.checked_add(i64::from(last_delta))?;
    let sound = base >= 0 && last_delta >= 0 && last < i64::MAX && count >= 0;
    let length = batch.len();
    sound.then_some(Header { base, length, attributes, last, base_timestamp, max_timestamp, producer, count })
}

/// Transactions that were aborted: open from their first offset to their marker.
struct Aborted {
    /// (first offset, producer), the last one first.
    ahead: Vec<(i64, i64)>,
    open: HashSet<i64>,
}

impl Aborted {
    fn new(list: &[(i64, i64)]) -> Self {
        let mut ahead: Vec<_> = list.iter().map(|(producer, first)| (*first, *producer)).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Self { ahead, open: HashSet::new() }
    }

    /// Goes past a batch; whether it is one that nobody is to see.
    fn pass(&mut self, header: &Header, batch: &[u8]) -> bool {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= header.last) {
            self.open.insert(producer);
        }
        if header.attributes & CONTROL != 0 {
            if is_abort(&batch[HEADER..header.length]).unwrap_or(false) {
                self.open.remove(&header.producer);
            }
            return true;
        }
        header.attributes & TRANSACTIONAL != 0 && self.open.contains(&header.producer)
    }
}

/// Whether a control batch's one record ends a transaction by taking it back.
fn is_abort(records: &[u8]) -> Result<bool, Malformed> {
    let mut r = Reader::new(records);
    // length, attributes, the deltas of time and offset, the key's length
    varint(&mut r)?;
    r.u8()?;
    varint(&mut r)?;
    varint(&mut r)?;
    varint(&mut r)?;
    let (_version, kind) = (r.i16()?, r.i16()?);
    Ok(kind == 0)
}
