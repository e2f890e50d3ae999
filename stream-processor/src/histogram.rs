//! Merging of histograms: counts of base-2 exponential buckets, at whatever scale they fit.
//!
//! In: a histogram as it lies in a record, judged here. Out: sums of them, bounded in size. A bucket of one scale is two whole
//! buckets of the next finer one (index >> 1), so coarsening loses no count (OpenTelemetry's metrics data model, "Exponential
//! Scale").
//!
//! Invariant: counts and scale of a merge are a function of what was merged, not of the order: the scale is the finest, not
//! above anybody's, in which both signs fit, and fitting there implies that each part fits. Nothing is folded into the zero bucket.

use tidewatch_schemas::{
    Reason,
    histogram::{MAX_BUCKETS, MAX_SCALE, MIN_SCALE, indices},
};

use crate::{
    layout::{Refusal, write_long},
    read::{BucketsView, HistogramView},
};

/// Buckets of a sign: OpenTelemetry's default.
pub(crate) const MOST_BUCKETS: usize = 160;

/// What was observed of one series; empty when `count` is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Like every count here: never negative, and full at the largest an Avro long can be.
    count: i64,
    zero_count: i64,
    scale: i32,
    zero_threshold: f64,
    /// NaN = unknown; so are the smallest and the largest observation.
    sum: f64,
    min: f64,
    max: f64,
    positive: Buckets,
    negative: Buckets,
}

/// `counts[i]` is that of bucket `first + i`. Neither the first nor the last of them is 0, and without any `first` is 0.
#[derive(Debug, Clone, Default, PartialEq)]
struct Buckets {
    first: i32,
    counts: Vec<i64>,
}

impl Histogram {
    /// What the view says, coarsened if it has too many buckets. `most` is the largest magnitude that its sum may have.
    /// `None` = nothing was observed.
    pub(crate) fn of(view: &HistogramView<'_>, most: f64) -> Result<Option<Self>, Refusal> {
        for (what, value) in [("sum", view.sum), ("min", view.min), ("max", view.max)] {
            if value.is_infinite() {
                return Err(Refusal::new(Reason::NotANumber, format!("its {what} is infinite")));
            }
            if value.abs() > most {
                return Err(Refusal::new(Reason::OutOfRange, format!("its {what} is too large")));
            }
        }
        if !(MIN_SCALE..=MAX_SCALE).contains(&view.scale) {
            return Err(bad(format!("its scale is not within {MIN_SCALE} to {MAX_SCALE}")));
        }
        if !view.zero_threshold.is_finite() || view.zero_threshold < 0.0 {
            return Err(bad("its zero_threshold is no magnitude"));
        }
        if view.count < 0 || view.zero_count < 0 {
            return Err(bad("a count is negative"));
        }
        let positive = Buckets::of(&view.positive, view.scale)?;
        let negative = Buckets::of(&view.negative, view.scale)?;
        let all = positive.total().saturating_add(negative.total()).saturating_add(view.zero_count);
        if all != view.count {
            return Err(bad("its count is not that of its buckets"));
        }
        if view.count == 0 {
            return Ok(None);
        }
        let mut histogram = Self {
            count: view.count,
            zero_count: view.zero_count,
            scale: view.scale,
            zero_threshold: view.zero_threshold,
            sum: view.sum,
            min: view.min,
            max: view.max,
            positive,
            negative,
        };
        histogram.coarsen_to(MOST_BUCKETS);
        Ok(Some(histogram))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds what was observed in another.
    pub(crate) fn merge(&mut self, other: &Self) {
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
    pub(crate) fn coarsen_to(&mut self, most: usize) {
        let fits =
            |by: &i32| width(self.positive.range(*by)) <= most && width(self.negative.range(*by)) <= most;
        let coarsest = self.scale - MIN_SCALE;
        self.coarsen((0..=coarsest).find(fits).unwrap_or(coarsest));
    }

    /// Whether neither sign has more than `most` buckets.
    pub(crate) fn fits(&self, most: usize) -> bool {
        self.positive.counts.len() <= most && self.negative.counts.len() <= most
    }

    fn coarsen(&mut self, by: i32) {
        if by > 0 {
            self.scale -= by;
            self.positive.coarsen(by);
            self.negative.coarsen(by);
        }
    }

    /// The most bytes that [`Histogram::write`] takes beside the series, with so many buckets of each sign.
    pub(crate) const fn most_bytes(buckets: usize) -> usize {
        // count and zero_count; four doubles; scale; of each sign the offset, the array's length and end
        2 * LONG + 4 * 8 + 1 + 2 * (5 + 2 + 1 + buckets * LONG)
    }

    /// The most bytes that it takes as it is.
    pub(crate) fn size(&self) -> usize {
        Self::most_bytes(self.positive.counts.len().max(self.negative.counts.len()))
    }

    /// Appends it in Avro, `series` as it is.
    pub(crate) fn write(&self, out: &mut Vec<u8>, series: &[u8]) {
        out.extend_from_slice(series);
        write_long(out, self.count);
        for value in [self.sum, self.min, self.max] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        write_long(out, i64::from(self.scale));
        out.extend_from_slice(&self.zero_threshold.to_le_bytes());
        write_long(out, self.zero_count);
        self.positive.write(out);
        self.negative.write(out);
    }
}

/// The longest varint.
const LONG: usize = 10;

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::BadHistogram, message)
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
    fn of(view: &BucketsView<'_>, scale: i32) -> Result<Self, Refusal> {
        if view.counts.len > MAX_BUCKETS {
            return Err(bad(format!("more than {MAX_BUCKETS} buckets of one sign")));
        }
        if view.counts.len == 0 {
            return Ok(Self::default());
        }
        let (first, allowed) = (i64::from(view.offset), indices(scale));
        if !allowed.contains(&first) || !allowed.contains(&(first + view.counts.len as i64 - 1)) {
            return Err(bad("a bucket is beyond what a double can be"));
        }
        let mut counts: Vec<i64> = Vec::with_capacity(view.counts.len);
        counts.extend(view.counts.longs());
        if counts.iter().any(|count| *count < 0) {
            return Err(bad("a bucket's count is negative"));
        }
        let mut buckets = Self { first: view.offset, counts };
        buckets.trim();
        Ok(buckets)
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
        self.first += begin as i32;
    }

    fn total(&self) -> i64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The first and the last index at a scale that is coarser by `by`.
    fn range(&self, by: i32) -> Range {
        let last = self.counts.len().checked_sub(1)?;
        Some((self.first >> by, (self.first + last as i32) >> by))
    }

    fn coarsen(&mut self, by: i32) {
        let Some((first, last)) = self.range(by) else { return };
        for at in 0..self.counts.len() {
            let count = std::mem::take(&mut self.counts[at]);
            let to = &mut self.counts[(((self.first + at as i32) >> by) - first) as usize];
            *to = to.saturating_add(count);
        }
        self.first = first;
        self.counts.truncate((last - first) as usize + 1);
    }

    /// Adds the counts of buckets that are finer by `by`.
    fn add(&mut self, other: &Self, by: i32) {
        let Some((first, last)) = hull(self.range(0), other.range(by)) else { return };
        if self.counts.is_empty() {
            self.first = first;
        }
        let before = (self.first - first) as usize;
        if before > 0 {
            self.counts.splice(..0, std::iter::repeat_n(0, before));
            self.first = first;
        }
        self.counts.resize((last - first) as usize + 1, 0);
        for (at, count) in other.counts.iter().enumerate() {
            let to = &mut self.counts[(((other.first + at as i32) >> by) - first) as usize];
            *to = to.saturating_add(*count);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_long(out, i64::from(self.first));
        if !self.counts.is_empty() {
            write_long(out, self.counts.len() as i64);
            self.counts.iter().for_each(|count| write_long(out, *count));
        }
        out.push(0);
    }
}

#[cfg(test)]
mod tests;
