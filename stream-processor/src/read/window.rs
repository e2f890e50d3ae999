//! A window's record where it lies: a bounded reader of one writer schema, `AggregateFrame`.
//!
//! In: the datum. Out: the head's fields; then, behind the layout, each column as it lies. As for a frame the layout's bytes
//! are hashed as a whole, so that its series are read only when they are new.

use super::{Cursor, Histograms, ReadError, Version, histograms};

/// A window as it lies in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowView<'a> {
    pub server: &'a str,
    /// Milliseconds since 1970 UTC.
    pub window_start: i64,
    pub window_ms: i64,
    pub is_delta: bool,
    pub partition: i32,
    pub offset: i64,
    /// The layout, the columns and the histograms, not yet told apart.
    pub body: &'a [u8],
    pub version: Version,
}

/// A column: its length, and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    pub len: usize,
    array: &'a [u8],
}

/// All columns, in the record's order, and what stands behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns<'a> {
    pub count: Column<'a>,
    pub sum: Column<'a>,
    pub min: Column<'a>,
    pub max: Column<'a>,
    pub first: Column<'a>,
    pub last: Column<'a>,
    pub first_at: Column<'a>,
    pub last_at: Column<'a>,
    pub m2: Column<'a>,
    pub increase: Column<'a>,
    pub resets: Column<'a>,
    pub histograms: Histograms<'a>,
}

/// What the columns say of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub count: i64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub first: f64,
    pub last: f64,
    pub first_at: i32,
    pub last_at: i32,
    pub m2: f64,
    pub increase: f64,
    pub resets: i32,
}

/// The head of a window: everything before its layout.
pub fn window(datum: &[u8], version: Version) -> Result<WindowView<'_>, ReadError> {
    let mut cursor = Cursor(datum);
    let server = cursor.text("server")?;
    let window_start = cursor.long("window_start")?;
    let window_ms = cursor.long("window_ms")?;
    let is_delta = match cursor.long("kind")? {
        0 => false,
        1 => true,
        _ => return Err(ReadError::BadKind("kind")),
    };
    let partition = cursor.int("partition")?;
    let offset = cursor.long("offset")?;
    Ok(WindowView { server, window_start, window_ms, is_delta, partition, offset, body: cursor.0, version })
}

/// What stands in a body behind its layout.
pub fn columns(bytes: &[u8], version: Version) -> Result<Columns<'_>, ReadError> {
    let mut cursor = Cursor(bytes);
    Ok(Columns {
        count: cursor.longs("count")?,
        sum: cursor.doubles("sum")?,
        min: cursor.doubles("min")?,
        max: cursor.doubles("max")?,
        first: cursor.doubles("first")?,
        last: cursor.doubles("last")?,
        first_at: cursor.ints("first_at")?,
        last_at: cursor.ints("last_at")?,
        m2: cursor.doubles("m2")?,
        increase: cursor.doubles("increase")?,
        resets: cursor.ints("resets")?,
        histograms: histograms(cursor.0, version)?,
    })
}

impl<'a> Columns<'a> {
    /// Whether each is as long as a layout of so many series.
    pub fn are_of(&self, series: usize) -> bool {
        let integers = [self.count, self.first_at, self.last_at, self.resets];
        let doubles = [self.sum, self.min, self.max, self.first, self.last, self.m2, self.increase];
        integers.iter().chain(&doubles).all(|column| column.len == series)
    }

    /// Row by row, up to the end of the shortest.
    pub fn rows(&self) -> impl Iterator<Item = Row> + use<'a> {
        let (mut count, mut sum) = (self.count.longs(), self.sum.doubles());
        let (mut min, mut max) = (self.min.doubles(), self.max.doubles());
        let (mut first, mut last) = (self.first.doubles(), self.last.doubles());
        let (mut first_at, mut last_at) = (self.first_at.ints(), self.last_at.ints());
        let (mut m2, mut increase) = (self.m2.doubles(), self.increase.doubles());
        let mut resets = self.resets.ints();
        std::iter::from_fn(move || {
            Some(Row {
                count: count.next()?,
                sum: sum.next()?,
                min: min.next()?,
                max: max.next()?,
                first: first.next()?,
                last: last.next()?,
                first_at: first_at.next()?,
                last_at: last_at.next()?,
                m2: m2.next()?,
                increase: increase.next()?,
                resets: resets.next()?,
            })
        })
    }
}

impl<'a> Column<'a> {
    pub fn longs(self) -> impl Iterator<Item = i64> + use<'a> {
        let (mut cursor, mut left) = (Cursor(self.array), 0);
        std::iter::from_fn(move || {
            if left == 0 {
                left = cursor.block("array").ok()??;
            }
            left -= 1;
            cursor.long("array").ok()
        })
    }

    pub fn ints(self) -> impl Iterator<Item = i32> + use<'a> {
        self.longs().map_while(|long| i32::try_from(long).ok())
    }

    pub fn doubles(self) -> impl Iterator<Item = f64> + use<'a> {
        let mut cursor = Cursor(self.array);
        std::iter::from_fn(move || {
            let block = cursor.block("array").ok()??;
            let (doubles, _) = cursor.take(block.checked_mul(8)?, "array").ok()?.as_chunks::<8>();
            Some(doubles)
        })
        .flatten()
        .map(|bytes| f64::from_le_bytes(*bytes))
    }
}

impl<'a> Cursor<'a> {
    /// An array whose blocks `skip` leaves behind.
    fn array(
        &mut self,
        what: &'static str,
        skip: impl Fn(&mut Self, usize) -> Result<(), ReadError>,
    ) -> Result<Column<'a>, ReadError> {
        let begin = self.0;
        let mut len = 0_usize;
        while let Some(block) = self.block(what)? {
            len = len.saturating_add(block);
            skip(self, block)?;
        }
        Ok(Column { len, array: &begin[..begin.len() - self.0.len()] })
    }

    pub(super) fn longs(&mut self, what: &'static str) -> Result<Column<'a>, ReadError> {
        self.array(what, |cursor, block| (0..block).try_for_each(|_| cursor.long(what).map(drop)))
    }

    fn ints(&mut self, what: &'static str) -> Result<Column<'a>, ReadError> {
        self.array(what, |cursor, block| (0..block).try_for_each(|_| cursor.int(what).map(drop)))
    }

    pub(super) fn doubles(&mut self, what: &'static str) -> Result<Column<'a>, ReadError> {
        self.array(what, |cursor, block| {
            let length = block.checked_mul(8).ok_or(ReadError::TooLong(what))?;
            cursor.take(length, what).map(drop)
        })
    }
}
