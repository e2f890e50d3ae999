//! The distribution of what was observed: judged, coarsened, and merged at whatever scale it fits.
//!
//! In: a histogram as a record has it. Out: sums of them, bounded in size. A bucket of one scale is two whole buckets of the
//! next finer one (index >> 1), so coarsening loses no count (OpenTelemetry's metrics data model, "Exponential Scale").
//!
//! Invariant: counts and scale of a merge are a function of what was merged, not of the order: the scale is the finest, not
//! above anybody's, in which both signs fit, and fitting there implies that each part fits. Nothing is folded into the zero bucket.

use crate::{
    Buckets, Histogram, Reason,
    frame::Series,
    histogram::{MAX_BUCKETS, MAX_SCALE, MIN_SCALE, indices},
};

mod quantile;

pub use quantile::relative_error;

/// Buckets of a sign: OpenTelemetry's default.
pub const MOST_BUCKETS: usize = 160;

/// What is wrong with a histogram.
pub type Refused = (Reason, String);

/// What was observed of one series; empty when `count` is 0. Of those that were judged and merged here neither the first nor
/// the last bucket of a sign is 0, and without any the offset is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// Like every count here: never negative, and full at the largest an Avro long can be.
    pub count: i64,
    pub zero_count: i64,
    pub scale: i32,
    pub zero_threshold: f64,
    /// NaN = unknown; so are the smallest and the largest observation.
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub positive: Buckets,
    pub negative: Buckets,
}

impl Distribution {
    /// What a record's histogram says, judged.
    pub fn of(histogram: &Histogram, most: f64) -> Result<Option<Self>, Refused> {
        let known = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let Histogram { count, zero_count, scale, zero_threshold, .. } = *histogram;
        let (sum, min, max) = (known(histogram.sum), known(histogram.min), known(histogram.max));
        let (positive, negative) = (histogram.positive.clone(), histogram.negative.clone());
        Self { count, zero_count, scale, zero_threshold, sum, min, max, positive, negative }.judged(most)
    }

    /// Whether it can be one; coarsened if it has too many buckets. `most` is the largest magnitude that its sum may have.
    /// `None` = nothing was observed.
    pub fn judged(mut self, most: f64) -> Result<Option<Self>, Refused> {
        for (what, value) in [("sum", self.sum), ("min", self.min), ("max", self.max)] {
            if value.is_infinite() {
                return Err((Reason::NotANumber, format!("its {what} is infinite")));
            }
            if value.abs() > most {
                return Err((Reason::OutOfRange, format!("its {what} is too large")));
            }
        }
        if !(MIN_SCALE..=MAX_SCALE).contains(&self.scale) {
            return Err(bad(format!("its scale is not within {MIN_SCALE} to {MAX_SCALE}")));
        }
        if !self.zero_threshold.is_finite() || self.zero_threshold < 0.0 {
            return Err(bad("its zero_threshold is no magnitude"));
        }
        if self.count < 0 || self.zero_count < 0 {
            return Err(bad("a count is negative"));
        }
        self.positive.judge(self.scale)?;
        self.negative.judge(self.scale)?;
        let all = self.positive.total().saturating_add(self.negative.total()).saturating_add(self.zero_count);
        if all != self.count {
            return Err(bad("its count is not that of its buckets"));
        }
        if self.count == 0 {
            return Ok(None);
        }
        self.coarsen_to(MOST_BUCKETS);
        Ok(Some(self))
    }

    /// As a record has it.
    pub fn record(&self, series: Series) -> Histogram {
        let known = |value: f64| (!value.is_nan()).then_some(value);
        let Self { count, zero_count, scale, zero_threshold, .. } = *self;
        let (sum, min, max) = (known(self.sum), known(self.min), known(self.max));
        let (positive, negative) = (self.positive.clone(), self.negative.clone());
        Histogram { series, count, sum, min, max, scale, zero_threshold, zero_count, positive, negative }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds what was observed in another.
    pub fn merge(&mut self, other: &Self) {
        if self.count == 0 || other.count == 0 {
            if other.count > 0 {
                self.clone_from(other);
            }
            return;
        }
        let finest = self.scale.min(other.scale);
        let (mine, theirs) = (self.scale - finest, other.scale - finest);
        let fits = |by: &i32| {
            let width = |a: &Buckets, b: &Buckets| width(hull(a.range(mine + by), b.range(theirs + by)));
            width(&self.positive, &other.positive) <= MOST_BUCKETS
                && width(&self.negative, &other.negative) <= MOST_BUCKETS
        };
        let by = (0..=finest - MIN_SCALE).find(fits).unwrap_or(finest - MIN_SCALE);
        self.coarsen(mine + by);
        self.positive.add(&other.positive, theirs + by);
        self.negative.add(&other.negative, theirs + by);
        self.count = self.count.saturating_add(other.count);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.zero_threshold = larger(self.zero_threshold, other.zero_threshold);
        let sum = self.sum + other.sum;
        // a sum beyond all numbers is one that nobody knows
        self.sum = if sum.is_finite() { sum } else { f64::NAN };
        let known = |a: f64, b: f64, pick: fn(f64, f64) -> f64| {
            if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) }
        };
        self.min = known(self.min, other.min, |a, b| -larger(-a, -b));
        self.max = known(self.max, other.max, larger);
    }

    /// The finest scale in which neither sign has more than `most` buckets.
    pub fn coarsen_to(&mut self, most: usize) {
        let fits =
            |by: &i32| width(self.positive.range(*by)) <= most && width(self.negative.range(*by)) <= most;
        let coarsest = self.scale - MIN_SCALE;
        self.coarsen((0..=coarsest).find(fits).unwrap_or(coarsest));
    }

    /// Whether neither sign has more than `most` buckets.
    pub fn fits(&self, most: usize) -> bool {
        self.positive.counts.len() <= most && self.negative.counts.len() <= most
    }

    fn coarsen(&mut self, by: i32) {
        if by > 0 {
            self.scale -= by;
            self.positive.coarsen(by);
            self.negative.coarsen(by);
        }
    }
}

fn bad(message: impl Into<String>) -> Refused {
    (Reason::BadHistogram, message.into())
}

/// Of two zeros the positive one, so that the order does not matter.
fn larger(a: f64, b: f64) -> f64 {
    if a.total_cmp(&b).is_lt() { b } else { a }
}

type Range = Option<(i32, i32)>;

fn hull(a: Range, b: Range) -> Range {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

fn width(range: Range) -> usize {
    range.map_or(0, |(first, last)| (i64::from(last) - i64::from(first)) as usize + 1)
}

impl Buckets {
    /// Whether a double can be in each of them; those at the ends are not empty afterwards.
    fn judge(&mut self, scale: i32) -> Result<(), Refused> {
        if self.counts.len() > MAX_BUCKETS {
            return Err(bad(format!("more than {MAX_BUCKETS} buckets of one sign")));
        }
        if self.counts.is_empty() {
            self.offset = 0;
            return Ok(());
        }
        let (first, allowed) = (i64::from(self.offset), indices(scale));
        if !allowed.contains(&first) || !allowed.contains(&(first + self.counts.len() as i64 - 1)) {
            return Err(bad("a bucket is beyond what a double can be"));
        }
        if self.counts.iter().any(|count| *count < 0) {
            return Err(bad("a bucket's count is negative"));
        }
        self.trim();
        Ok(())
    }

    /// Empty buckets at the ends say nothing, and would ask for a coarser scale.
    fn trim(&mut self) {
        let Some(begin) = self.counts.iter().position(|count| *count > 0) else {
            *self = Self::default();
            return;
        };
        let end = self.counts.iter().rposition(|count| *count > 0).unwrap_or(begin);
        self.counts.truncate(end + 1);
        self.counts.drain(..begin);
        self.counts.shrink_to_fit();
        self.offset += begin as i32;
    }

    fn total(&self) -> i64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The first and the last index at a scale that is coarser by `by`.
    fn range(&self, by: i32) -> Range {
        let last = self.counts.len().checked_sub(1)?;
        Some((self.offset >> by, (self.offset + last as i32) >> by))
    }

    fn coarsen(&mut self, by: i32) {
        let Some((first, last)) = self.range(by) else { return };
        for at in 0..self.counts.len() {
            let count = std::mem::take(&mut self.counts[at]);
            let to = &mut self.counts[(((self.offset + at as i32) >> by) - first) as usize];
            *to = to.saturating_add(count);
        }
        self.offset = first;
        self.counts.truncate((last - first) as usize + 1);
    }

    /// Adds the counts of buckets that are finer by `by`.
    fn add(&mut self, other: &Self, by: i32) {
        let Some((first, last)) = hull(self.range(0), other.range(by)) else { return };
        if self.counts.is_empty() {
            self.offset = first;
        }
        let before = (self.offset - first) as usize;
        if before > 0 {
            self.counts.splice(..0, std::iter::repeat_n(0, before));
            self.offset = first;
        }
        self.counts.resize((last - first) as usize + 1, 0);
        for (at, count) in other.counts.iter().enumerate() {
            let to = &mut self.counts[(((other.offset + at as i32) >> by) - first) as usize];
            *to = to.saturating_add(*count);
        }
    }
}

#[cfg(test)]
mod tests;
