//! Writes a window as an `AggregateFrame`, straight from its cells: what apache-avro would write, at a tenth of its price.
//!
//! In: a server, a window's identity, its series and cells, its histograms. Out: the record's bytes in single-object encoding, appended to
//! a buffer. Invariant: series without samples are left out, so every count is at least 1; the tests read it all
//! back with apache-avro.

use std::ops::Range;

use tidewatch_schemas::{
    AggregateFrame, AggregateKind, Distribution, Origin, codec, distribution::MOST_BUCKETS,
};

use crate::{
    aggregate::Cell,
    columns::{self, Columns, LANES, Stamp, Uniform},
    histogram,
    layout::{Layout, write_long, write_text},
};

mod room;

use room::{HEAD, LEAST_BUCKETS, ROW};
pub(crate) use room::{MAX_RECORD, Room};

/// Where a record belongs and what made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) window_start: i64,
    pub(crate) window_ms: i64,
    pub(crate) kind: AggregateKind,
    pub(crate) origin: Origin,
    /// The append clock when it was made: the record's timestamp.
    pub(crate) clock: i64,
}

/// One record for a topic; its bytes stand in the [`Output`]'s buffer.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub window_ms: i64,
    pub kind: AggregateKind,
    /// Milliseconds since 1970 UTC.
    pub timestamp: i64,
    chunk: usize,
    server: Range<usize>,
    payload: Range<usize>,
}

/// Windows that closed, as records ready to be sent.
#[derive(Debug, Default)]
pub struct Output {
    /// Of which none grows once something is in it: one buffer that does would be copied, and half empty.
    chunks: Vec<Vec<u8>>,
    records: Vec<Emitted>,
    size: usize,
}

/// Bytes of a chunk, if no record needs more.
const CHUNK: usize = 256 << 10;

impl Output {
    pub fn records(&self) -> &[Emitted] {
        &self.records
    }

    /// The server: the record's key.
    pub fn key(&self, record: &Emitted) -> &[u8] {
        &self.chunks[record.chunk][record.server.clone()]
    }

    pub fn payload(&self, record: &Emitted) -> &[u8] {
        &self.chunks[record.chunk][record.payload.clone()]
    }

    /// Bytes of all records.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where to write a record of at most `most` bytes.
    fn chunk(&mut self, most: usize) -> &mut Vec<u8> {
        if self.chunks.last().is_none_or(|chunk| chunk.capacity() - chunk.len() < most) {
            self.chunks.push(Vec::with_capacity(most.max(CHUNK)));
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    /// Appends a window; nothing if no slot has a sample and there is no histogram.
    pub(crate) fn push(
        &mut self,
        server: &str,
        identity: &Identity,
        rows: &Rows<'_>,
        histograms: &[HistogramRow<'_>],
    ) {
        let filled = rows.columns.filled();
        if filled == 0 && histograms.is_empty() {
            return;
        }
        let mut layout = 0;
        rows.layout(filled, |piece| layout += piece.len());
        let observed: usize =
            histograms.iter().map(|(series, one)| series.len() + histogram::size(one)).sum();
        let out = self.chunk((HEAD + layout + filled * ROW + observed).min(MAX_RECORD));
        let begin = out.len();
        out.extend_from_slice(&[0xC3, 0x01]);
        out.extend_from_slice(&codec::fingerprint::<AggregateFrame>());
        write_text(out, server);
        let key = out.len() - server.len()..out.len();
        write_long(out, identity.window_start);
        write_long(out, identity.window_ms);
        write_long(out, i64::from(identity.kind == AggregateKind::Delta));
        write_long(out, i64::from(identity.origin.partition));
        write_long(out, identity.origin.offset);
        if filled == 0 {
            out.extend_from_slice(&NO_ROWS);
        } else {
            write_long(out, filled as i64);
            rows.layout(filled, |piece| out.extend_from_slice(piece));
            out.push(0);
            if !write_uniform(out, rows) {
                write_cells(out, rows);
            }
        }
        write_histograms(out, begin, histograms);
        let payload = begin..out.len();
        self.size += payload.len();
        self.records.push(Emitted {
            window_ms: identity.window_ms,
            kind: identity.kind,
            timestamp: identity.clock,
            chunk: self.chunks.len() - 1,
            server: key,
            payload,
        });
    }
}

/// The encoding of a histogram's series, and what was observed of it.
pub(crate) type HistogramRow<'a> = (&'a [u8], &'a Distribution);

/// Layout and columns without a row: twelve arrays, each of which is only its end.
const NO_ROWS: [u8; 12] = [0; 12];

/// The histograms of the record that begins at `begin`. Where they are more than it has room for, all that have many buckets
/// get coarser; each has room for [`LEAST_BUCKETS`].
fn write_histograms(out: &mut Vec<u8>, begin: usize, rows: &[HistogramRow<'_>]) {
    if rows.is_empty() {
        out.push(0);
        return;
    }
    let at = out.len();
    for most in [MOST_BUCKETS, MOST_BUCKETS / 2, MOST_BUCKETS / 4, LEAST_BUCKETS] {
        out.truncate(at);
        write_long(out, rows.len() as i64);
        for (series, observed) in rows {
            if observed.fits(most) {
                histogram::write(observed, out, series);
            } else {
                let mut coarser = (*observed).clone();
                coarser.coarsen_to(most);
                histogram::write(&coarser, out, series);
            }
        }
        out.push(0);
        if out.len() - begin <= MAX_RECORD {
            return;
        }
    }
}

/// The statistics, cell by cell.
fn write_cells(out: &mut Vec<u8>, rows: &Rows<'_>) {
    let cells: Vec<(bool, Cell)> = rows.cells().collect();
    longs(out, &cells, |_, cell| i64::from(cell.count));
    doubles(out, &cells, |_, cell| cell.total());
    doubles(out, &cells, |_, cell| cell.min);
    doubles(out, &cells, |_, cell| cell.max);
    doubles(out, &cells, |_, cell| cell.first);
    doubles(out, &cells, |_, cell| cell.last);
    longs(out, &cells, |_, cell| i64::from(cell.first_at));
    longs(out, &cells, |_, cell| i64::from(cell.last_at));
    doubles(out, &cells, |_, cell| cell.m2());
    doubles(out, &cells, |counter, cell| if counter { cell.increase } else { 0.0 });
    longs(out, &cells, |counter, cell| if counter { i64::from(cell.resets) } else { 0 });
}

/// The same bytes column by column, which is how most windows are: one layout, and every series in each frame. `false` = they are
/// not.
fn write_uniform(out: &mut Vec<u8>, rows: &Rows<'_>) -> bool {
    let (Some((stamp, uniform)), None, [Block { layout, picks: None, .. }]) =
        (rows.columns.uniform(), rows.slots, rows.series.blocks.as_slice())
    else {
        return false;
    };
    let n = rows.columns.len();
    if n != layout.len() {
        return false;
    }
    let (blocks, growths) = match uniform {
        Uniform::Single(values) => {
            write_single(out, stamp, values);
            return true;
        }
        Uniform::Blocks(blocks, growths) => (blocks, growths),
    };
    let count = f64::from(stamp.count);
    same(out, n, i64::from(stamp.count));
    lanes(out, n, blocks, |block, i| block.shift[i] * count + block.sum[i]);
    lanes(out, n, blocks, |block, i| block.min[i]);
    lanes(out, n, blocks, |block, i| block.max[i]);
    lanes(out, n, blocks, |block, i| block.shift[i]);
    lanes(out, n, blocks, |block, i| block.last[i]);
    same(out, n, i64::from(stamp.first_at));
    same(out, n, i64::from(stamp.last_at));
    lanes(out, n, blocks, |block, i| (block.squares[i] - block.sum[i] * block.sum[i] / count).max(0.0));
    if !layout.has_counters() {
        zeros(out, n);
        same(out, n, 0);
        return true;
    }
    let counters = |index: usize| layout.is_counter(index as u32);
    write_long(out, n as i64);
    for index in 0..n {
        let grown = if counters(index) { growths[index / LANES].increase[index % LANES] } else { 0.0 };
        out.extend_from_slice(&grown.to_le_bytes());
    }
    out.push(0);
    write_long(out, n as i64);
    for index in 0..n {
        let resets = if counters(index) { growths[index / LANES].resets[index % LANES] } else { 0 };
        write_long(out, i64::from(resets));
    }
    out.push(0);
    true
}

/// One sample of each series: it is the first and the last, the least and the greatest.
fn write_single(out: &mut Vec<u8>, stamp: Stamp, values: &[f64]) {
    let n = values.len();
    same(out, n, i64::from(stamp.count));
    // as a cell's total has it: no negative zero
    column(out, values, |value| value + 0.0);
    for _min_max_first_last in 0..4 {
        column(out, values, |value| value);
    }
    same(out, n, i64::from(stamp.first_at));
    same(out, n, i64::from(stamp.last_at));
    zeros(out, n);
    zeros(out, n);
    same(out, n, 0);
}

#[inline]
fn column(out: &mut Vec<u8>, values: &[f64], change: impl Fn(f64) -> f64) {
    write_long(out, values.len() as i64);
    let begin = out.len();
    out.resize(begin + values.len() * 8, 0);
    let (slots, _) = out[begin..].as_chunks_mut::<8>();
    for (slot, value) in slots.iter_mut().zip(values) {
        *slot = change(*value).to_le_bytes();
    }
    out.push(0);
}

/// A column of doubles that are zero.
fn zeros(out: &mut Vec<u8>, n: usize) {
    write_long(out, n as i64);
    out.resize(out.len() + n * 8, 0);
    out.push(0);
}

/// A column of doubles.
#[inline]
fn lanes(
    out: &mut Vec<u8>,
    n: usize,
    blocks: &[columns::Block],
    value: impl Fn(&columns::Block, usize) -> f64,
) {
    write_long(out, n as i64);
    let begin = out.len();
    for block in blocks {
        let bytes: [[u8; 8]; LANES] = std::array::from_fn(|lane| value(block, lane).to_le_bytes());
        out.extend_from_slice(bytes.as_flattened());
    }
    out.truncate(begin + n * 8);
    out.push(0);
}

/// A column of one number.
fn same(out: &mut Vec<u8>, n: usize, value: i64) {
    write_long(out, n as i64);
    let begin = out.len();
    write_long(out, value);
    let length = out.len() - begin;
    if length == 1 {
        out.resize(begin + n, out[begin]);
    } else {
        for _ in 1..n {
            out.extend_from_within(begin..begin + length);
        }
    }
    out.push(0);
}

/// Columns, and the series that each is of.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) columns: &'a Columns,
    pub(crate) series: &'a SeriesList,
    /// The slot in `series` of each slot of the columns; `None` = the same.
    pub(crate) slots: Option<&'a [u32]>,
}

impl Rows<'_> {
    fn slot(&self, index: usize) -> u32 {
        self.slots.map_or(index as u32, |slots| slots[index])
    }

    fn is_filled(&self, index: usize) -> bool {
        self.columns.stamp(index).count > 0
    }

    /// Every cell with samples, and whether its series is a counter.
    fn cells(&self) -> impl Iterator<Item = (bool, Cell)> {
        (0..self.columns.len()).filter(|index| self.is_filled(*index)).map(|index| {
            let (layout, series) = self.series.get(self.slot(index));
            (layout.is_counter(series), self.columns.cell(index))
        })
    }

    /// The series of the filled slots in Avro, piece by piece.
    fn layout(&self, filled: usize, mut piece: impl FnMut(&[u8])) {
        if self.slots.is_none() && filled == self.series.len() {
            for block in &self.series.blocks {
                match &block.picks {
                    None => piece(block.layout.all()),
                    Some(picks) => picks.iter().for_each(|pick| piece(block.layout.series(*pick))),
                }
            }
            return;
        }
        for index in (0..self.columns.len()).filter(|index| self.is_filled(*index)) {
            let (layout, series) = self.series.get(self.slot(index));
            piece(layout.series(series));
        }
    }
}

/// Series by slot: each layout that brought new ones, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct SeriesList {
    blocks: Vec<Block>,
    len: u32,
    has_counters: bool,
}

#[derive(Debug)]
struct Block {
    start: u32,
    layout: std::sync::Arc<Layout>,
    /// Which of the layout's series have slots here; `None` = all of them.
    picks: Option<Box<[u32]>>,
}

impl SeriesList {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn has_counters(&self) -> bool {
        self.has_counters
    }

    /// Gives slots to a layout's series, the next ones in their order; `picks` as in a block. Returns the first slot.
    pub(crate) fn append(&mut self, layout: &std::sync::Arc<Layout>, picks: Option<Box<[u32]>>) -> u32 {
        let (start, new) = (self.len, picks.as_ref().map_or(layout.len(), |picks| picks.len()));
        if new == 0 {
            return start;
        }
        self.has_counters |= layout.has_counters();
        self.len += new as u32;
        self.blocks.push(Block { start, layout: std::sync::Arc::clone(layout), picks });
        start
    }

    /// The layout that a slot's series stands in, and where.
    pub(crate) fn get(&self, slot: u32) -> (&Layout, u32) {
        let block = match self.blocks.as_slice() {
            [only] => only,
            blocks => &blocks[blocks.partition_point(|block| block.start <= slot) - 1],
        };
        let within = slot - block.start;
        (&block.layout, block.picks.as_ref().map_or(within, |picks| picks[within as usize]))
    }

    /// Every slot with the identity of its series.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.len).map(|slot| {
            let (layout, series) = self.get(slot);
            (slot, layout.identity(series))
        })
    }
}

/// An array of doubles in one block.
#[inline]
fn doubles(out: &mut Vec<u8>, cells: &[(bool, Cell)], value: impl Fn(bool, &Cell) -> f64) {
    write_long(out, cells.len() as i64);
    let begin = out.len();
    out.resize(begin + cells.len() * 8, 0);
    let (slots, _) = out[begin..].as_chunks_mut::<8>();
    for (slot, (counter, cell)) in slots.iter_mut().zip(cells) {
        *slot = value(*counter, cell).to_le_bytes();
    }
    out.push(0);
}

#[inline]
fn longs(out: &mut Vec<u8>, cells: &[(bool, Cell)], value: impl Fn(bool, &Cell) -> i64) {
    write_long(out, cells.len() as i64);
    for (counter, cell) in cells {
        write_long(out, value(*counter, cell));
    }
    out.push(0);
}

#[cfg(any(test, feature = "broken"))]
impl Output {
    /// Finals, and deltas.
    pub(crate) fn split_deltas(self) -> (Self, Self) {
        let (deltas, finals) = self.records.into_iter().partition(|r| r.kind == AggregateKind::Delta);
        (
            Self { chunks: self.chunks.clone(), records: finals, size: self.size },
            Self { records: deltas, ..self },
        )
    }
}

#[cfg(test)]
mod tests;
