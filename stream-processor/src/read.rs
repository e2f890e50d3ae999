//! Reads a frame where it lies: a bounded reader of one writer schema, `MetricFrame`, that copies and allocates nothing.
//! What a window's record has beside it is in `window.rs`.
//!
//! In: the record's bytes. Out: the head's fields, and the body (layout, values, histograms), which is split only once it
//! is known whether the server has sent that layout before. Every length is checked against what is there; nothing recurses.
//! Binary Avro as of the specification 1.12; held to apache-avro by the golden files and by random bytes.

use tidewatch_schemas::{AvroRecord, DecodeError, Series, SeriesKind, codec};

mod histograms;
mod window;

pub use histograms::{BucketsView, HistogramView, Histograms, histograms};
pub use window::{Column, Columns, Row, WindowView, columns, window};

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
    #[error("read frame: {0} is no int of 32 bits")]
    BadInt(&'static str),
    #[error("read frame: {0} is none of its kinds")]
    BadKind(&'static str),
    #[error("read frame: {0} bytes left over")]
    Trailing(usize),
}

/// Which versions of its schema a datum may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Ends before `histograms`.
    First,
    Current,
    /// Nothing says which. What ends before `histograms` is of the first.
    Either,
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
    /// The layout, the values and the histograms, not yet told apart.
    pub body: &'a [u8],
    pub version: Version,
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

/// A record's bytes behind its framing.
#[derive(Debug)]
pub enum Framed<'a> {
    Datum(&'a [u8], Version),
    /// JSON, or what only the general decoder can judge.
    Other,
}

/// Strips the framing; the schema's id in a Confluent frame is the registry's affair, `T` has two versions.
pub fn unframe<T: AvroRecord>(bytes: &[u8]) -> Result<Framed<'_>, DecodeError> {
    match bytes {
        [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
            let (fingerprint, datum) = rest.split_at(8);
            if fingerprint == codec::fingerprint::<T>() {
                return Ok(Framed::Datum(datum, Version::Current));
            }
            if codec::older_fingerprints::<T>().any(|older| fingerprint == older) {
                return Ok(Framed::Datum(datum, Version::First));
            }
            let mut id = [0; 8];
            id.copy_from_slice(fingerprint);
            Err(DecodeError::UnknownSchema(u64::from_le_bytes(id)))
        }
        [0, _, _, _, _, datum @ ..] => Ok(Framed::Datum(datum, Version::Either)),
        _ => Ok(Framed::Other),
    }
}

/// The head of a frame: everything before layout, values and histograms.
pub fn head(datum: &[u8], version: Version) -> Result<FrameView<'_>, ReadError> {
    let mut cursor = Cursor(datum);
    let server = cursor.text("server")?;
    let sequence = cursor.long("sequence")?;
    let collected_at = cursor.long("collected_at")?;
    let layout_id = cursor.long("layout_id")?;
    Ok(FrameView { server, sequence, collected_at, layout_id, body: cursor.0, version })
}

/// How many bytes of a body are the layout, and how many series it has.
pub fn layout_extent(body: &[u8]) -> Result<(usize, usize), ReadError> {
    let mut cursor = Cursor(body);
    let mut series = 0_usize;
    while let Some(block) = cursor.block("layout")? {
        series = series.saturating_add(block);
        for _ in 0..block {
            cursor.skip_series()?;
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
            series.push(cursor.series()?);
        }
    }
    if cursor.0.is_empty() { Ok(series) } else { Err(ReadError::Trailing(cursor.0.len())) }
}

/// The one series whose bytes these are.
pub fn series(bytes: &[u8]) -> Result<Series, ReadError> {
    let mut cursor = Cursor(bytes);
    let series = cursor.series()?;
    if cursor.0.is_empty() { Ok(series) } else { Err(ReadError::Trailing(cursor.0.len())) }
}

/// The values, which stand in a body behind its layout; returns what is left behind them.
pub fn values<'a>(bytes: &'a [u8], into: &mut Vec<f64>) -> Result<&'a [u8], ReadError> {
    into.clear();
    let mut cursor = Cursor(bytes);
    while let Some(block) = cursor.block("values")? {
        let length = block.checked_mul(8).ok_or(ReadError::TooLong("values"))?;
        let (doubles, _) = cursor.take(length, "values")?.as_chunks::<8>();
        into.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
    }
    Ok(cursor.0)
}

#[derive(Debug, Clone, Copy)]
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

    fn int(&mut self, what: &'static str) -> Result<i32, ReadError> {
        i32::try_from(self.long(what)?).map_err(|_| ReadError::BadInt(what))
    }

    fn double(&mut self, what: &'static str) -> Result<f64, ReadError> {
        let (bytes, tail) = self.0.split_first_chunk::<8>().ok_or(ReadError::Truncated(what))?;
        self.0 = tail;
        Ok(f64::from_le_bytes(*bytes))
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

    fn series(&mut self) -> Result<Series, ReadError> {
        let metric = self.text("metric")?.to_owned();
        let mut labels = tidewatch_schemas::Labels::new();
        while let Some(entries) = self.block("labels")? {
            for _ in 0..entries {
                let name = self.text("label")?.to_owned();
                labels.insert(name, self.text("label value")?.to_owned());
            }
        }
        let kind = self.kind()?;
        Ok(Series { metric, labels, kind, unit: self.text("unit")?.to_owned() })
    }

    fn skip_series(&mut self) -> Result<(), ReadError> {
        self.skip_text("metric")?;
        self.skip_map()?;
        self.kind()?;
        self.skip_text("unit")
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
            _ => Err(ReadError::BadKind("series kind")),
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
