//! Reads a frame where it lies: a bounded reader of one writer schema, `MetricFrame`, that copies and allocates nothing.
//!
//! In: the record's bytes. Out: the head's fields, and the body (layout, values), which is split only once it is known
//! whether the server has sent that layout before. Every length is checked against what is there; nothing recurses.
//! Binary Avro as of the specification 1.12; held to apache-avro by the golden files and by random bytes.

use tidewatch_schemas::{DecodeError, MetricFrame, Series, SeriesKind, codec};

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("read frame: it ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("read frame: {0} is longer than the frame")]
    TooLong(&'static str),
    #[error("read frame: {0} is no varint of 64 bits")]
    BadVarint(&'static str),
    #[error("read frame: {0} is not UTF-8")]
    NotText(&'static str),
    #[error("read frame: series kind {0} is not known")]
    BadKind(i64),
    #[error("read frame: {0} bytes left over")]
    Trailing(usize),
}

/// A frame as it lies in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameView<'a> {
    pub server: &'a str,
    /// Unique within the server; 0 = none.
    pub sequence: i64,
    /// Milliseconds since 1970 UTC.
    pub collected_at: i64,
    /// 0 = the layout is inline.
    pub layout_id: i64,
    /// The layout and the values, not yet told apart.
    pub body: &'a [u8],
}

impl FrameView<'_> {
    /// The id of the layout, if the frame names it instead of holding it.
    #[inline]
    pub fn named_layout(&self) -> Option<i64> {
        (self.layout_id != 0 && self.body.first() == Some(&0)).then_some(self.layout_id)
    }
}

/// Bytes of a layout without series.
pub(crate) const NO_LAYOUT: usize = 1;

/// A frame's bytes behind its framing.
#[derive(Debug)]
pub enum Framed<'a> {
    Datum(&'a [u8]),
    /// JSON, or what only the general decoder can judge.
    Other,
}

/// Strips the framing; the schema's id in a Confluent frame is the registry's affair, ours is the one schema.
pub fn unframe(bytes: &[u8]) -> Result<Framed<'_>, DecodeError> {
    match bytes {
        [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
            let (fingerprint, datum) = rest.split_at(8);
            if fingerprint != codec::fingerprint::<MetricFrame>() {
                let mut id = [0; 8];
                id.copy_from_slice(fingerprint);
                return Err(DecodeError::UnknownSchema(u64::from_le_bytes(id)));
            }
            Ok(Framed::Datum(datum))
        }
        [0, _, _, _, _, datum @ ..] => Ok(Framed::Datum(datum)),
        _ => Ok(Framed::Other),
    }
}

/// The head of a frame: everything before layout and values.
pub fn head(datum: &[u8]) -> Result<FrameView<'_>, ReadError> {
    let mut cursor = Cursor(datum);
    let server = cursor.text("server")?;
    let sequence = cursor.long("sequence")?;
    let collected_at = cursor.long("collected_at")?;
    let layout_id = cursor.long("layout_id")?;
    Ok(FrameView { server, sequence, collected_at, layout_id, body: cursor.0 })
}

/// How many bytes of a body are the layout, and how many series it has.
pub fn layout_extent(body: &[u8]) -> Result<(usize, usize), ReadError> {
    let mut cursor = Cursor(body);
    let mut series = 0_usize;
    while let Some(block) = cursor.block("layout")? {
        series = series.saturating_add(block);
        for _ in 0..block {
            cursor.skip_text("metric")?;
            cursor.skip_map()?;
            cursor.kind()?;
            cursor.skip_text("unit")?;
        }
    }
    Ok((body.len() - cursor.0.len(), series))
}

/// The series of a layout's bytes, labels in order; of a label that stands twice the last one counts.
pub fn layout_series(layout: &[u8]) -> Result<Vec<Series>, ReadError> {
    let mut cursor = Cursor(layout);
    let mut series = Vec::new();
    while let Some(block) = cursor.block("layout")? {
        for _ in 0..block {
            let metric = cursor.text("metric")?.to_owned();
            let mut labels = tidewatch_schemas::Labels::new();
            while let Some(entries) = cursor.block("labels")? {
                for _ in 0..entries {
                    let name = cursor.text("label")?.to_owned();
                    labels.insert(name, cursor.text("label value")?.to_owned());
                }
            }
            let kind = cursor.kind()?;
            series.push(Series { metric, labels, kind, unit: cursor.text("unit")?.to_owned() });
        }
    }
    if cursor.0.is_empty() { Ok(series) } else { Err(ReadError::Trailing(cursor.0.len())) }
}

/// The values, which are all that is left of a body behind its layout.
pub fn values(bytes: &[u8], into: &mut Vec<f64>) -> Result<(), ReadError> {
    into.clear();
    let mut cursor = Cursor(bytes);
    while let Some(block) = cursor.block("values")? {
        let length = block.checked_mul(8).ok_or(ReadError::TooLong("values"))?;
        let (doubles, _) = cursor.take(length, "values")?.as_chunks::<8>();
        into.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
    }
    if cursor.0.is_empty() { Ok(()) } else { Err(ReadError::Trailing(cursor.0.len())) }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    fn long(&mut self, what: &'static str) -> Result<i64, ReadError> {
        let mut value = 0_u64;
        for (i, &byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7F);
            if i == 9 && bits > 1 {
                return Err(ReadError::BadVarint(what));
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(if self.0.len() < 10 { ReadError::Truncated(what) } else { ReadError::BadVarint(what) })
    }

    #[inline]
    fn length(&mut self, what: &'static str) -> Result<usize, ReadError> {
        usize::try_from(self.long(what)?).map_err(|_| ReadError::TooLong(what))
    }

    #[inline]
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], ReadError> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(ReadError::TooLong(what))?;
        self.0 = tail;
        Ok(head)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, ReadError> {
        let length = self.length(what)?;
        std::str::from_utf8(self.take(length, what)?).map_err(|_| ReadError::NotText(what))
    }

    /// Whether it is text is asked when a layout is seen for the first time.
    #[inline]
    fn skip_text(&mut self, what: &'static str) -> Result<(), ReadError> {
        let length = self.length(what)?;
        self.take(length, what).map(drop)
    }

    fn skip_map(&mut self) -> Result<(), ReadError> {
        while let Some(block) = self.block("labels")? {
            for _ in 0..block {
                self.skip_text("label")?;
                self.skip_text("label value")?;
            }
        }
        Ok(())
    }

    fn kind(&mut self) -> Result<SeriesKind, ReadError> {
        match self.long("kind")? {
            0 => Ok(SeriesKind::Gauge),
            1 => Ok(SeriesKind::Counter),
            other => Err(ReadError::BadKind(other)),
        }
    }

    /// Items of the next block of an array or map; `None` = its end. Each item takes a byte at least, so a count beyond that
    /// is a lie. The size in bytes that a writer may add helps those who skip, and is not believed.
    #[inline]
    fn block(&mut self, what: &'static str) -> Result<Option<usize>, ReadError> {
        let count = self.long(what)?;
        if count == 0 {
            return Ok(None);
        }
        if count < 0 {
            self.long(what)?;
        }
        let items = usize::try_from(count.unsigned_abs()).map_err(|_| ReadError::TooLong(what))?;
        if items > self.0.len() { Err(ReadError::TooLong(what)) } else { Ok(Some(items)) }
    }
}

#[cfg(test)]
mod tests;
