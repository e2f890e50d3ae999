//! Quantiles of what was observed. In: a distribution, or the cumulative counts of classic buckets. Out: an estimate of the
//! smallest observation that at least the share `q` of all is not above. Pure.
//!
//! Exponential buckets: the middle of the bucket that holds it, in the sense of DDSketch (Masson, Rim and Lee, 2019): off by
//! [`relative_error`] at most. Classic ones: as Prometheus' `histogram_quantile`, linear between the bounds of its bucket.

use std::collections::BTreeMap;

use tidewatch_schemas::Distribution;

/// How far the quantile of a distribution may be off, as a share of what it should be: (base - 1) / (base + 1). What is not
/// above the zero threshold counts as zero.
pub(crate) fn relative_error(scale: i32) -> f64 {
    1.0 - 2.0 / (base(scale) + 1.0)
}

/// The factor between the bounds of a bucket; infinite at the coarsest scale.
fn base(scale: i32) -> f64 {
    width(scale).exp2()
}

/// The same as a power of two.
fn width(scale: i32) -> f64 {
    f64::from(-scale).exp2()
}

/// `None` when nothing was observed.
pub(crate) fn of_distribution(observed: &Distribution, q: f64) -> Option<f64> {
    let (positive, negative) = (&observed.positive, &observed.negative);
    let at = |offset: i32, i: usize| (f64::from(offset) + i as f64) * width(observed.scale);
    // from the smallest observation on
    let below = negative
        .counts
        .iter()
        .enumerate()
        .rev()
        .map(|(i, count)| (-middle(at(negative.offset, i), observed.scale), count));
    let above = positive
        .counts
        .iter()
        .enumerate()
        .map(|(i, count)| (middle(at(positive.offset, i), observed.scale), count));
    let buckets = || below.clone().chain([(0.0, &observed.zero_count)]).chain(above.clone());
    let total: f64 = buckets().map(|(_, count)| *count as f64).sum();
    let (rank, mut seen, mut found) = (q * total, 0.0, None);
    for (value, count) in buckets().filter(|(_, count)| **count > 0) {
        seen += *count as f64;
        found = Some(value);
        if seen >= rank {
            break;
        }
    }
    let known = |value: f64| (!value.is_nan()).then_some(value);
    let (min, max) = (known(observed.min), known(observed.max));
    let estimate = match (q, min, max) {
        (0.0, Some(min), _) => found.map(|_| min),
        (1.0, _, Some(max)) => found.map(|_| max),
        _ => found,
    };
    // nothing was observed outside of them
    estimate.map(|value| value.max(min.unwrap_or(value)).min(max.unwrap_or(f64::MAX)))
}

/// Of the bucket whose lower bound is 2^`exponent`: as far from the one as from the other, as a share of each.
fn middle(exponent: f64, scale: i32) -> f64 {
    let value = exponent.exp2() * (2.0 / (1.0 + 1.0 / base(scale)));
    value.min(f64::MAX)
}

/// An upper bound, in the order of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound(pub(crate) f64);

impl Eq for Bound {}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Bound {
    /// The label `le` of a classic bucket.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bound: f64 = text.parse().ok()?;
        // one zero, so that it is one bound
        (!bound.is_nan()).then_some(Self(bound + 0.0))
    }
}

/// Observations up to each bound.
pub(crate) type Cumulative = BTreeMap<Bound, f64>;

/// Adds another histogram. Only bounds that both have say how much lies below them in both, so others are left out: the
/// counts stay exact, the buckets get wider.
pub(crate) fn merge(sum: &mut Cumulative, other: &Cumulative) {
    sum.retain(|bound, _| other.contains_key(bound));
    for (bound, count) in sum.iter_mut() {
        *count += other[bound];
    }
}

/// `None` when nothing was observed, when there is no bucket beside `+Inf`, and without that one.
pub(crate) fn of_classic(buckets: &Cumulative, q: f64) -> Option<f64> {
    // a count below that of a smaller bound is one that came late: at least as many are not above
    let mut most = 0.0;
    let rising: Vec<(f64, f64)> = buckets
        .iter()
        .map(|(bound, count)| {
            most = f64::max(most, *count);
            (bound.0, most)
        })
        .collect();
    let ((last, total), finite) = rising.split_last()?;
    let highest = finite.last()?.0;
    if *last != f64::INFINITY || *total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let Some(at) = finite.iter().position(|(_, count)| *count >= rank && *count > 0.0) else {
        // above all bounds: as far as they reach
        return Some(highest);
    };
    let (end, count) = finite[at];
    let (start, below) = match at.checked_sub(1) {
        Some(before) => finite[before],
        None if end <= 0.0 => return Some(end),
        None => (0.0, 0.0),
    };
    Some(start + (end - start) * ((rank - below) / (count - below)).max(0.0))
}

#[cfg(test)]
mod tests;
