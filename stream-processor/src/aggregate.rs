//! What a window knows of one series: a cell that each sample updates and that becomes a row of an `AggregateFrame`'s columns.
//!
//! In: (time, value) in the log's order, or another cell to be merged. Sums are kept shifted by the series' first
//! value, so that neither they nor the squares lose digits to a large offset (T. F. Chan, G. H. Golub, R. J. LeVeque,
//! "Algorithms for computing the sample variance", 1983).
//!
//! Invariant: the result is a function of the samples and their order alone.

use crate::read::Row;

/// One series in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) count: u32,
    pub(crate) resets: i32,
    /// Milliseconds after the window's start.
    pub(crate) first_at: i32,
    pub(crate) last_at: i32,
    /// The value that arrived first: what the sums are shifted by.
    pub(crate) shift: f64,
    /// Sum of `value - shift`, and of its square.
    pub(crate) sum: f64,
    pub(crate) squares: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) increase: f64,
}

/// What the counter grew by from one sample to the next; after a reset it grew from zero.
pub(crate) fn growth(from: f64, to: f64) -> (f64, i32) {
    if to >= from { (to - from, 0) } else { (to, 1) }
}

impl Cell {
    #[inline]
    pub(crate) fn add(&mut self, at: i32, value: f64) {
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
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
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

    /// Takes in what another cell of the same series knows; both count their times from the same moment.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.count == 0 || other.count == 0 {
            if other.count > 0 {
                *self = *other;
            }
            return;
        }
        let moved = other.shift - self.shift;
        let n = f64::from(other.count);
        self.count += other.count;
        self.squares += other.squares + moved * (2.0 * other.sum + moved * n);
        self.sum += other.sum + moved * n;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.resets += other.resets;
        self.increase += other.increase;
        let later = other.first_at >= self.last_at;
        let earlier = other.last_at < self.first_at;
        if !later && !earlier {
            // interleaved: what both grew by lies within what the outermost samples tell
            self.resets -= other.resets;
            self.increase -= other.increase;
        }
        if other.last_at >= self.last_at {
            let (grown, resets) = growth(self.last, if later { other.first } else { other.last });
            self.increase += grown;
            self.resets += resets;
        }
        if other.first_at < self.first_at {
            let (grown, resets) = growth(if earlier { other.last } else { other.first }, self.first);
            self.increase += grown;
            self.resets += resets;
            self.first = other.first;
            self.first_at = other.first_at;
        }
        if other.last_at >= self.last_at {
            self.last = other.last;
            self.last_at = other.last_at;
        }
    }

    /// The same with its times counted from `by` milliseconds earlier.
    pub(crate) fn moved(self, by: i32) -> Self {
        Self { first_at: self.first_at + by, last_at: self.last_at + by, ..self }
    }

    /// A row of the record of a window that is so long. `None` = the row is no cell.
    pub(crate) fn of_row(window_ms: i64, row: &Row) -> Option<Self> {
        let count = u32::try_from(row.count).ok().filter(|count| *count > 0)?;
        let (n, shift) = (f64::from(count), row.first);
        let sum = row.sum - shift * n;
        let time = |at: i32| (0..window_ms).contains(&i64::from(at)).then_some(at);
        let cell = Self {
            count,
            resets: row.resets,
            first_at: time(row.first_at)?,
            last_at: time(row.last_at)?,
            shift,
            sum,
            squares: row.m2 + sum * sum / n,
            min: row.min,
            max: row.max,
            first: shift,
            last: row.last,
            increase: row.increase,
        };
        let known = [cell.sum, cell.squares, cell.min, cell.max, cell.first, cell.last, cell.increase];
        known.iter().all(|value| value.is_finite()).then_some(cell)
    }

    pub(crate) fn total(&self) -> f64 {
        self.shift * f64::from(self.count) + self.sum
    }

    /// Sum of squared deviations from the mean; rounding can leave it a hair below zero.
    pub(crate) fn m2(&self) -> f64 {
        (self.squares - self.sum * self.sum / f64::from(self.count)).max(0.0)
    }
}

#[cfg(test)]
mod tests;
