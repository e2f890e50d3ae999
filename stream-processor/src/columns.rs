//! One window's cells for all series of a server, laid out so that a whole frame is added with vector instructions.
//!
//! In: a frame's values for a run of slots, or one sample, or a cell. Out: cells. Eight slots make a block, each field of
//! which is one line of cache. What is the same for all slots (how many samples, when) stands once until it differs, and a
//! window of a single frame, as there are many where that is what a collector sends, is that frame's values and nothing else.
//! Invariant: a slot holds what `Cell::add` makes of the same samples in the same order, to the bit.

use crate::aggregate::{Cell, growth};

pub(crate) const LANES: usize = 8;
pub(crate) type Lanes = [f64; LANES];

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Block {
    pub(crate) shift: Lanes,
    pub(crate) sum: Lanes,
    pub(crate) squares: Lanes,
    pub(crate) min: Lanes,
    pub(crate) max: Lanes,
    pub(crate) last: Lanes,
}

/// Only where a series is a counter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Growth {
    pub(crate) increase: Lanes,
    pub(crate) resets: [i32; LANES],
}

/// How many samples a slot has, and the times of the first and the last one after the window's start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) count: u32,
    pub(crate) first_at: i32,
    pub(crate) last_at: i32,
}

#[derive(Debug, Clone)]
enum Stamps {
    /// Of every slot.
    All(Stamp),
    Each(Vec<Stamp>),
}

/// Slots that have samples in common, and so many of each.
#[derive(Debug)]
pub(crate) enum Uniform<'a> {
    /// One, whose values these are.
    Single(&'a [f64]),
    /// The lanes behind the last slot mean nothing.
    Blocks(&'a [Block], &'a [Growth]),
}

#[derive(Debug, Clone)]
pub(crate) struct Columns {
    len: usize,
    /// Whether a slot is a counter's.
    counters: bool,
    /// The only sample of each slot, while there are no blocks.
    single: Vec<f64>,
    /// Empty until there is more to know than the single values.
    blocks: Vec<Block>,
    /// Empty until a counter comes, and while there are no blocks.
    growths: Vec<Growth>,
    stamps: Stamps,
    /// The earliest value of each slot, once one came that was earlier than the first to arrive.
    firsts: Option<Vec<f64>>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            len: 0,
            counters: false,
            single: Vec::new(),
            blocks: Vec::new(),
            growths: Vec::new(),
            stamps: Stamps::All(Stamp::default()),
            firsts: None,
        }
    }
}

impl Columns {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Slots for `len` series; `counters` says whether one of them is a counter.
    pub(crate) fn grow(&mut self, len: usize, counters: bool) {
        self.counters |= counters;
        let more = len > self.len;
        if more {
            if !self.single.is_empty() {
                self.spread();
            }
            match &mut self.stamps {
                Stamps::All(stamp) if stamp.count == 0 => {}
                Stamps::All(stamp) => {
                    let mut each = vec![*stamp; self.len];
                    each.resize(len, Stamp::default());
                    self.stamps = Stamps::Each(each);
                }
                Stamps::Each(each) => each.resize(len, Stamp::default()),
            }
            if let Some(firsts) = &mut self.firsts {
                firsts.resize(len, 0.0);
            }
            self.len = len;
        }
        if !self.blocks.is_empty() && (more || self.counters && self.growths.is_empty()) {
            self.resize();
        }
    }

    /// Blocks for every slot.
    fn resize(&mut self) {
        let blocks = self.len.div_ceil(LANES);
        if self.blocks.is_empty() {
            self.blocks.reserve_exact(blocks);
        }
        self.blocks.resize(blocks, Block::default());
        if self.counters {
            if self.growths.is_empty() {
                self.growths.reserve_exact(blocks);
            }
            self.growths.resize(blocks, Growth::default());
        }
    }

    /// From single values, or none, to blocks.
    fn spread(&mut self) {
        let values = std::mem::take(&mut self.single);
        self.blocks.reserve_exact(self.len.div_ceil(LANES));
        let (whole, tail) = values.as_chunks::<LANES>();
        self.blocks.extend(whole.iter().map(Block::of));
        if !tail.is_empty() {
            let mut lanes = Lanes::default();
            lanes[..tail.len()].copy_from_slice(tail);
            self.blocks.push(Block::of(&lanes));
        }
        self.resize();
    }

    pub(crate) fn stamp(&self, slot: usize) -> Stamp {
        match &self.stamps {
            Stamps::All(stamp) => *stamp,
            Stamps::Each(each) => each[slot],
        }
    }

    /// What the slots have in common, and their values; `None` where a slot has other samples than the next one, or got them
    /// out of order.
    pub(crate) fn uniform(&self) -> Option<(Stamp, Uniform<'_>)> {
        match &self.stamps {
            Stamps::All(stamp) if !self.single.is_empty() => Some((*stamp, Uniform::Single(&self.single))),
            Stamps::All(stamp) if self.firsts.is_none() => {
                Some((*stamp, Uniform::Blocks(&self.blocks, &self.growths)))
            }
            _ => None,
        }
    }

    /// Slots that have samples.
    pub(crate) fn filled(&self) -> usize {
        match &self.stamps {
            Stamps::All(stamp) => {
                if stamp.count > 0 {
                    self.len
                } else {
                    0
                }
            }
            Stamps::Each(each) => each.iter().filter(|stamp| stamp.count > 0).count(),
        }
    }

    pub(crate) fn cell(&self, slot: usize) -> Cell {
        let (stamp, lane) = (self.stamp(slot), slot % LANES);
        let Some(block) = self.blocks.get(slot / LANES) else {
            let mut cell = Cell::default();
            if let Some(value) = self.single.get(slot) {
                cell.add(stamp.first_at, *value);
            }
            return cell;
        };
        let growth = self.growths.get(slot / LANES);
        Cell {
            count: stamp.count,
            resets: growth.map_or(0, |growth| growth.resets[lane]),
            first_at: stamp.first_at,
            last_at: stamp.last_at,
            shift: block.shift[lane],
            sum: block.sum[lane],
            squares: block.squares[lane],
            min: block.min[lane],
            max: block.max[lane],
            first: self.firsts.as_ref().map_or(block.shift[lane], |firsts| firsts[slot]),
            last: block.last[lane],
            increase: growth.map_or(0.0, |growth| growth.increase[lane]),
        }
    }

    pub(crate) fn put(&mut self, slot: usize, cell: &Cell) {
        if self.blocks.is_empty() {
            self.spread();
        }
        let (block, lane) = (&mut self.blocks[slot / LANES], slot % LANES);
        block.shift[lane] = cell.shift;
        block.sum[lane] = cell.sum;
        block.squares[lane] = cell.squares;
        block.min[lane] = cell.min;
        block.max[lane] = cell.max;
        block.last[lane] = cell.last;
        if let Some(growth) = self.growths.get_mut(slot / LANES) {
            growth.increase[lane] = cell.increase;
            growth.resets[lane] = cell.resets;
        }
        if self.firsts.is_none() && cell.first != cell.shift {
            let shifts = self.blocks.iter().flat_map(|block| block.shift);
            self.firsts = Some(shifts.take(self.len).collect());
        }
        if let Some(firsts) = &mut self.firsts {
            firsts[slot] = cell.first;
        }
        let stamp = Stamp { count: cell.count, first_at: cell.first_at, last_at: cell.last_at };
        if let Stamps::All(all) = &self.stamps {
            if *all == stamp {
                return;
            }
            self.stamps = Stamps::Each(vec![*all; self.len]);
        }
        if let Stamps::Each(each) = &mut self.stamps {
            each[slot] = stamp;
        }
    }

    /// One sample.
    #[inline]
    pub(crate) fn add(&mut self, slot: usize, at: i32, value: f64) {
        let mut cell = self.cell(slot);
        cell.add(at, value);
        self.put(slot, &cell);
    }

    /// A sample for each of the slots from `start` on, all of one time.
    pub(crate) fn add_run(&mut self, start: usize, at: i32, values: &[f64]) {
        if self.blocks.is_empty() {
            if self.single.is_empty() && values.len() == self.len {
                self.single = values.to_vec();
                self.stamps = Stamps::All(Stamp { count: 1, first_at: at, last_at: at });
                return;
            }
            self.spread();
        }
        if self.begins(start, at, values.len()) {
            self.first_of_all(start, values);
        } else if self.goes_on(start, at, values.len()) {
            self.next_of_all(start, values);
        } else {
            values.iter().enumerate().for_each(|(i, value)| self.add(start + i, at, *value));
        }
    }

    /// Whether the run is the first that its slots get; then its stamps are set.
    fn begins(&mut self, start: usize, at: i32, n: usize) -> bool {
        let stamp = Stamp { count: 1, first_at: at, last_at: at };
        if self.firsts.is_some() {
            return false;
        }
        if let Stamps::All(all) = &self.stamps
            && all.count == 0
        {
            // a run of every slot would not have come here
            self.stamps = Stamps::Each(vec![Stamp::default(); self.len]);
        }
        match &mut self.stamps {
            Stamps::All(_) => return false,
            Stamps::Each(each) => {
                let each = &mut each[start..start + n];
                if each.iter().any(|stamp| stamp.count > 0) {
                    return false;
                }
                each.fill(stamp);
            }
        }
        true
    }

    /// Whether the run comes after all that its slots have; then its stamps are set.
    fn goes_on(&mut self, start: usize, at: i32, n: usize) -> bool {
        match &mut self.stamps {
            Stamps::All(all) if n == self.len && all.last_at <= at => {
                all.count += 1;
                all.last_at = at;
            }
            Stamps::All(_) => return false,
            Stamps::Each(each) => {
                let each = &mut each[start..start + n];
                if each.iter().any(|stamp| stamp.count == 0 || stamp.last_at > at) {
                    return false;
                }
                for stamp in each {
                    stamp.count += 1;
                    stamp.last_at = at;
                }
            }
        }
        true
    }

    fn first_of_all(&mut self, start: usize, values: &[f64]) {
        for (i, &value) in values.iter().enumerate() {
            let (block, lane) = (&mut self.blocks[(start + i) / LANES], (start + i) % LANES);
            block.shift[lane] = value;
            block.min[lane] = value;
            block.max[lane] = value;
            block.last[lane] = value;
        }
    }

    fn next_of_all(&mut self, start: usize, values: &[f64]) {
        let head = values.len().min((LANES - start % LANES) % LANES);
        let (head, rest) = values.split_at(head);
        let (whole, tail) = rest.as_chunks::<LANES>();
        head.iter().enumerate().for_each(|(i, value)| self.next_of_one(start + i, *value));
        let first = (start + head.len()) / LANES;
        if self.growths.is_empty() {
            let blocks = &mut self.blocks[first..first + whole.len()];
            blocks.iter_mut().zip(whole).for_each(|(block, values)| block.next(values));
        } else {
            let blocks = self.blocks[first..].iter_mut().zip(&mut self.growths[first..]);
            for ((block, growth), values) in blocks.zip(whole) {
                growth.next(&block.last, values);
                block.next(values);
            }
        }
        let at = start + head.len() + whole.len() * LANES;
        tail.iter().enumerate().for_each(|(i, value)| self.next_of_one(at + i, *value));
    }

    fn next_of_one(&mut self, slot: usize, value: f64) {
        let (block, lane) = (&mut self.blocks[slot / LANES], slot % LANES);
        if let Some(all) = self.growths.get_mut(slot / LANES) {
            let (grown, resets) = growth(block.last[lane], value);
            all.increase[lane] += grown;
            all.resets[lane] += resets;
        }
        let shifted = value - block.shift[lane];
        block.sum[lane] += shifted;
        block.squares[lane] += shifted * shifted;
        block.min[lane] = if value < block.min[lane] { value } else { block.min[lane] };
        block.max[lane] = if value > block.max[lane] { value } else { block.max[lane] };
        block.last[lane] = value;
    }
}

impl Block {
    /// The first sample of each slot.
    fn of(values: &Lanes) -> Self {
        Self { shift: *values, min: *values, max: *values, last: *values, ..Self::default() }
    }

    #[inline]
    fn next(&mut self, values: &Lanes) {
        for (lane, &value) in values.iter().enumerate() {
            let shifted = value - self.shift[lane];
            self.sum[lane] += shifted;
            self.squares[lane] += shifted * shifted;
            self.min[lane] = if value < self.min[lane] { value } else { self.min[lane] };
            self.max[lane] = if value > self.max[lane] { value } else { self.max[lane] };
        }
        self.last = *values;
    }
}

impl Growth {
    #[inline]
    fn next(&mut self, last: &Lanes, values: &Lanes) {
        for (lane, (&value, &before)) in values.iter().zip(last).enumerate() {
            let fell = value < before;
            self.increase[lane] += if fell { value } else { value - before };
            self.resets[lane] += i32::from(fell);
        }
    }
}

#[cfg(test)]
mod tests;
