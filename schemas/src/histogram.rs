//! The distribution of a series: OpenTelemetry's base-2 exponential histogram (its data model, "ExponentialHistogram").
//!
//! Bucket `i` of scale `s` covers `(base^i, base^(i+1)]` with `base = 2^(2^-s)`. Histograms of any scales add up exactly: a
//! bucket of one scale is two whole buckets of the next.

use serde::{Deserialize, Serialize};

use crate::frame::Series;

/// What was observed of one series since its producer's frame before, or in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub series: Series,
    /// Observations; `zero_count` and those of all buckets.
    pub count: i64,
    /// `None` = unknown: NaN in Avro, `null` in JSON. So are the smallest and the largest observation.
    #[serde(default, with = "nan_as_none")]
    pub sum: Option<f64>,
    #[serde(default, with = "nan_as_none")]
    pub min: Option<f64>,
    #[serde(default, with = "nan_as_none")]
    pub max: Option<f64>,
    pub scale: i32,
    /// Observations up to this magnitude may stand in `zero_count`.
    #[serde(default)]
    pub zero_threshold: f64,
    #[serde(default)]
    pub zero_count: i64,
    #[serde(default)]
    pub positive: Buckets,
    /// Of the magnitudes of negative observations.
    #[serde(default)]
    pub negative: Buckets,
}

/// Neighbouring buckets: `counts[i]` is that of bucket `offset + i`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Buckets {
    #[serde(default)]
    pub offset: i32,
    #[serde(default)]
    pub counts: Vec<i64>,
}

/// The finest scale we take; also the one in which OpenTelemetry's SDKs begin.
pub const MAX_SCALE: i32 = 20;
/// The coarsest: one bucket is a factor of 2^1024.
pub const MIN_SCALE: i32 = -10;
/// Buckets of one sign that a frame may hold.
pub const MAX_BUCKETS: usize = 1_000;

/// Powers of two beyond which no bucket reaches: a double ends at 2^1024 and 2^-1074.
const MAX_EXPONENT: i32 = 1_100;

/// The indices that a scale may use.
pub fn indices(scale: i32) -> std::ops::RangeInclusive<i64> {
    let coarser = MAX_SCALE - scale;
    let end = i64::from(MAX_EXPONENT) << MAX_SCALE;
    -end >> coarser..=(end - 1) >> coarser
}

mod nan_as_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            value.filter(|value| value.is_finite()).serialize(serializer)
        } else {
            value.unwrap_or(f64::NAN).serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        if deserializer.is_human_readable() {
            Option::deserialize(deserializer)
        } else {
            f64::deserialize(deserializer).map(|value| (!value.is_nan()).then_some(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_double_has_a_bucket_in_every_scale() {
        for scale in MIN_SCALE..=MAX_SCALE {
            let allowed = indices(scale);
            for exponent in [-1_074, -1, 0, 1, 1_024_i64] {
                let finest = (exponent << MAX_SCALE) - 1;
                assert!(allowed.contains(&(finest >> (MAX_SCALE - scale))), "2^{exponent} at scale {scale}");
            }
            let finer = indices((scale + 1).min(MAX_SCALE));
            assert!(allowed.contains(&(finer.start() >> 1)) && allowed.contains(&(finer.end() >> 1)));
        }
        assert_eq!(indices(0), -1_100..=1_099);
    }
}
