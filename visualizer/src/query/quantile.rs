//! Quantiles of the cumulative counts of classic buckets; those of distributions are told by
//! [`tidewatch_schemas::Distribution`]. Out: an estimate of the smallest observation that at least the share `q` of all is not
//! above. Pure.
//!
//! As Prometheus' `histogram_quantile`, linear between the bounds of a bucket.

use std::collections::BTreeMap;

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
