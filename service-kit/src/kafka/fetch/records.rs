//! The records of a batch, read where they lie. In: a batch's decompressed bytes. Out: one record after the other, or up to where
//! they make no sense. Invariant: offsets ascend, and none is outside of what the batch's header says; nothing is copied.

use super::wire::{Malformed, Reader};

/// A record, borrowed from the buffer of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970; -1 = none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record; what makes no sense ends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let mut r = Reader::new(self.bytes);
        let mut header = move || {
            let name = std::str::from_utf8(nullable(&mut r)?.ok_or(Malformed)?).map_err(|_| Malformed)?;
            Ok::<_, Malformed>((name, nullable(&mut r)?))
        };
        // behind the last one there is no byte left
        std::iter::from_fn(move || header().ok()).fuse()
    }
}

/// A zigzag varint of up to 64 bits.
#[inline]
pub(super) fn varint(r: &mut Reader<'_>) -> Result<i64, Malformed> {
    // nearly all of them are one byte
    if let Some((&byte, rest)) = r.rest.split_first()
        && byte < 0x80
    {
        r.rest = rest;
        return Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1));
    }
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = r.u8()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(Malformed)
}

/// Bytes with their length before them; a negative one says that there are none.
#[inline]
fn nullable<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let length = varint(r)?;
    if length < 0 {
        return Ok(None);
    }
    r.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some)
}

/// Where the reading of a batch is.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    /// Bytes read so far.
    pub(super) at: usize,
    pub(super) left: i32,
    /// The lowest offset that the next record may have.
    pub(super) next: i64,
    pub(super) base: i64,
    pub(super) last: i64,
    pub(super) base_timestamp: i64,
    /// One for all records, in place of their own.
    pub(super) append_time: Option<i64>,
}

impl Cursor {
    /// The next record; `None` at the end.
    #[inline]
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Record<'a>>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut r = Reader::new(bytes.get(self.at..).ok_or(Malformed)?);
        let length = usize::try_from(varint(&mut r)?).map_err(|_| Malformed)?;
        let mut body = Reader::new(r.take(length)?);
        let _attributes = body.u8()?;
        let (timestamp_delta, offset_delta) = (varint(&mut body)?, varint(&mut body)?);
        let (key, value) = (nullable(&mut body)?, nullable(&mut body)?);
        let headers = varint(&mut body)?;
        let offset = self.base.checked_add(offset_delta).ok_or(Malformed)?;
        if offset < self.next || offset > self.last {
            return Err(Malformed);
        }
        self.at = bytes.len() - r.rest.len();
        self.left -= 1;
        self.next = offset + 1;
        let timestamp = self.append_time.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta));
        let headers = Headers { bytes: if headers > 0 { body.rest } else { &[] } };
        Ok(Some(Record { offset, timestamp, key, value, headers }))
    }
}
