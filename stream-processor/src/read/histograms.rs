//! A record's histograms where they lie. In: what is left of it behind its values or columns. Out: each histogram, its
//! series still as bytes and its buckets still to be counted.
//!
//! Invariant: what is handed out was walked once to its end, so that a record is known to be one before anything is made of it.

use super::{Column, Cursor, ReadError, Version};

/// The histograms of one record; nearly always none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histograms<'a>(&'a [u8]);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistogramView<'a> {
    /// As a layout has it; whether it is text is asked when it is seen for the first time.
    pub series: &'a [u8],
    pub count: i64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub scale: i32,
    pub zero_threshold: f64,
    pub zero_count: i64,
    pub positive: BucketsView<'a>,
    pub negative: BucketsView<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketsView<'a> {
    pub offset: i32,
    pub counts: Column<'a>,
}

/// The histograms, which are all that is left of a record.
#[inline]
pub fn histograms(rest: &[u8], version: Version) -> Result<Histograms<'_>, ReadError> {
    match (rest, version) {
        ([0], Version::Current | Version::Either) | ([], Version::First | Version::Either) => {
            Ok(Histograms(&[]))
        }
        (_, Version::First) => Err(ReadError::Trailing(rest.len())),
        _ => walked(rest),
    }
}

fn walked(bytes: &[u8]) -> Result<Histograms<'_>, ReadError> {
    let (mut cursor, mut any) = (Cursor(bytes), false);
    while let Some(block) = cursor.block("histograms")? {
        any = true;
        for _ in 0..block {
            cursor.histogram()?;
        }
    }
    match cursor.0 {
        [] => Ok(Histograms(if any { bytes } else { &[] })),
        rest => Err(ReadError::Trailing(rest.len())),
    }
}

impl<'a> Histograms<'a> {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(self) -> impl Iterator<Item = HistogramView<'a>> {
        let (mut cursor, mut left) = (Cursor(self.0), 0);
        std::iter::from_fn(move || {
            if left == 0 {
                left = cursor.block("histograms").ok()??;
            }
            left -= 1;
            cursor.histogram().ok()
        })
    }
}

impl<'a> Cursor<'a> {
    fn histogram(&mut self) -> Result<HistogramView<'a>, ReadError> {
        let begin = self.0;
        self.skip_series()?;
        let series = &begin[..begin.len() - self.0.len()];
        Ok(HistogramView {
            series,
            count: self.long("count")?,
            sum: self.double("sum")?,
            min: self.double("min")?,
            max: self.double("max")?,
            scale: self.int("scale")?,
            zero_threshold: self.double("zero_threshold")?,
            zero_count: self.long("zero_count")?,
            positive: self.buckets()?,
            negative: self.buckets()?,
        })
    }

    fn buckets(&mut self) -> Result<BucketsView<'a>, ReadError> {
        let offset = self.int("offset")?;
        Ok(BucketsView { offset, counts: self.longs("counts")? })
    }
}
