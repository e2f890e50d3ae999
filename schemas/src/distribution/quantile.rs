//! Quantiles of what was observed. In: a distribution. Out: an estimate, and how far it may be off. Pure.
//!
//! The middle of the bucket that holds it, in the sense of DDSketch (Masson, Rim and Lee, 2019): off by [`relative_error`] at
//! most.

use super::Distribution;

impl Distribution {
    /// The smallest observation that at least the share `q` of all is not above, estimated; `None` when nothing was observed.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (positive, negative) = (&self.positive, &self.negative);
        let at = |offset: i32, i: usize| (f64::from(offset) + i as f64) * width(self.scale);
        // from the smallest observation on
        let below = negative
            .counts
            .iter()
            .enumerate()
            .rev()
            .map(|(i, count)| (-middle(at(negative.offset, i), self.scale), count));
        let above = positive
            .counts
            .iter()
            .enumerate()
            .map(|(i, count)| (middle(at(positive.offset, i), self.scale), count));
        let buckets = || below.clone().chain([(0.0, &self.zero_count)]).chain(above.clone());
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
        let (min, max) = (known(self.min), known(self.max));
        let estimate = match (q, min, max) {
            (0.0, Some(min), _) => found.map(|_| min),
            (1.0, _, Some(max)) => found.map(|_| max),
            _ => found,
        };
        // nothing was observed outside of them
        estimate.map(|value| value.max(min.unwrap_or(value)).min(max.unwrap_or(f64::MAX)))
    }
}

/// How far the quantile of a distribution may be off, as a share of what it should be: (base - 1) / (base + 1). What is not
/// above the zero threshold counts as zero.
pub fn relative_error(scale: i32) -> f64 {
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

/// Of the bucket whose lower bound is 2^`exponent`: as far from the one as from the other, as a share of each.
fn middle(exponent: f64, scale: i32) -> f64 {
    let value = exponent.exp2() * (2.0 / (1.0 + 1.0 / base(scale)));
    value.min(f64::MAX)
}

#[cfg(test)]
mod tests;
