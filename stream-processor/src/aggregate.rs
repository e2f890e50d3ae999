//! What a window knows of its series: columns that a sample updates and that become one `AggregateFrame`.
//!
//! In: (slot, time, value) in the log's order. Out: the columns of the series that had samples. Sums are kept shifted by
//! each series' first value, so that neither they nor the squares lose digits to a large offset (T. F. Chan,
//! G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", 1983).
//!
//! Invariant: the result is a function of the samples and their order alone.

use tidewatch_schemas::{AggregateFrame, AggregateKind, Origin, Series, SeriesKind};

/// One window's state for all series of a server; a column's index is the series' slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    count: u32,
    resets: i32,
    /// Milliseconds after the window's start.
    first_at: i32,
    last_at: i32,
    /// The value that arrived first: what the sums are shifted by.
    shift: f64,
    /// Sum of `value - shift`, and of its square.
    sum: f64,
    squares: f64,
    min: f64,
    max: f64,
    first: f64,
    last: f64,
    increase: f64,
}

/// What the counter grew by from one sample to the next; after a reset it grew from zero.
fn growth(from: f64, to: f64) -> (f64, i32) {
    if to >= from { (to - from, 0) } else { (to, 1) }
}

impl Cell {
    fn add(&mut self, at: i32, value: f64) {
        if self.count == 0 {
            *self = Self {
                count: 1,
                first_at: at,
                last_at: at,
                shift: value,
                min: value,
                max: value,
                first: value,
                last: value,
                ..Self::default()
            };
            return;
        }
        self.count += 1;
        let shifted = value - self.shift;
        self.sum += shifted;
        self.squares += shifted * shifted;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        // A sample between two others adds no growth of its own: what lies between them is counted already.
        if at >= self.last_at {
            let (grown, resets) = growth(self.last, value);
            self.increase += grown;
            self.resets += resets;
            self.last = value;
            self.last_at = at;
        } else if at < self.first_at {
            let (grown, resets) = growth(value, self.first);
            self.increase += grown;
            self.resets += resets;
            self.first = value;
            self.first_at = at;
        }
    }

    fn total(&self) -> f64 {
        self.shift * f64::from(self.count) + self.sum
    }

    /// Sum of squared deviations from the mean; rounding can leave it a hair below zero.
    fn m2(&self) -> f64 {
        (self.squares - self.sum * self.sum / f64::from(self.count)).max(0.0)
    }
}

/// Where a frame belongs and what made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) window_start: i64,
    pub(crate) window_ms: i64,
    pub(crate) kind: AggregateKind,
    pub(crate) origin: Origin,
}

impl Columns {
    /// `at` is in milliseconds after the window's start.
    pub(crate) fn add(&mut self, slot: u32, at: i32, value: f64) {
        let slot = slot as usize;
        if slot >= self.cells.len() {
            self.cells.resize(slot + 1, Cell::default());
        }
        self.cells[slot].add(at, value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.count == 0)
    }

    /// The record of this window; `series` by slot.
    pub(crate) fn frame(&self, server: &str, series: &[Series], identity: Identity) -> AggregateFrame {
        let filled: Vec<(&Series, &Cell)> =
            series.iter().zip(&self.cells).filter(|(_, cell)| cell.count > 0).collect();
        let column = |value: fn(&Cell) -> f64| filled.iter().map(|(_, cell)| value(cell)).collect();
        let counter = |series: &Series| series.kind == SeriesKind::Counter;
        AggregateFrame {
            server: server.to_owned(),
            window_start: identity.window_start,
            window_ms: identity.window_ms,
            kind: identity.kind,
            origin: identity.origin,
            layout: filled.iter().map(|(series, _)| (*series).clone()).collect(),
            count: filled.iter().map(|(_, cell)| i64::from(cell.count)).collect(),
            sum: column(Cell::total),
            min: column(|cell| cell.min),
            max: column(|cell| cell.max),
            first: column(|cell| cell.first),
            last: column(|cell| cell.last),
            first_at: filled.iter().map(|(_, cell)| cell.first_at).collect(),
            last_at: filled.iter().map(|(_, cell)| cell.last_at).collect(),
            m2: column(Cell::m2),
            increase: filled.iter().map(|(s, cell)| if counter(s) { cell.increase } else { 0.0 }).collect(),
            resets: filled.iter().map(|(s, cell)| if counter(s) { cell.resets } else { 0 }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: SeriesKind, samples: &[(i32, f64)]) -> AggregateFrame {
        let mut columns = Columns::default();
        for &(at, value) in samples {
            columns.add(0, at, value);
        }
        let series = [Series { kind, ..Series::gauge("m", "") }];
        let origin = Origin { partition: 0, offset: 0 };
        columns.frame(
            "a",
            &series,
            Identity { window_start: 0, window_ms: 10_000, kind: AggregateKind::Final, origin },
        )
    }

    #[test]
    fn first_and_last_go_by_time_not_by_arrival() {
        let frame = frame(SeriesKind::Gauge, &[(5_000, 2.0), (9_000, 3.0), (1_000, 1.0), (7_000, 9.0)]);
        assert_eq!((frame.first[0], frame.last[0]), (1.0, 3.0));
        assert_eq!((frame.first_at[0], frame.last_at[0]), (1_000, 9_000));
        assert_eq!((frame.count[0], frame.sum[0], frame.min[0], frame.max[0]), (4, 15.0, 1.0, 9.0));
    }

    #[test]
    fn a_counter_grows_over_resets_and_does_not_care_about_order() {
        let in_order = frame(SeriesKind::Counter, &[(0, 10.0), (1_000, 15.0), (2_000, 3.0), (3_000, 4.0)]);
        assert_eq!((in_order.increase[0], in_order.resets[0]), (5.0 + 3.0 + 1.0, 1));
        let reordered = frame(SeriesKind::Counter, &[(1_000, 15.0), (3_000, 40.0), (0, 10.0), (2_000, 30.0)]);
        assert_eq!((reordered.increase[0], reordered.resets[0]), (30.0, 0));
    }

    #[test]
    fn the_squares_survive_a_large_offset() {
        let samples: Vec<(i32, f64)> = [1.0, 2.0, 3.0, 4.0].iter().map(|v| (0, 1e12 + v)).collect();
        assert_eq!(frame(SeriesKind::Gauge, &samples).m2[0], 5.0);
    }
}
