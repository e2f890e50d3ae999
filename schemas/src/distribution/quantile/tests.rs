//! Estimates against the exact quantiles of what was drawn.

use proptest::prelude::*;

use super::*;
use crate::{
    Buckets,
    histogram::{MAX_SCALE, MIN_SCALE},
};

/// One observation, as a producer of this scale counts it.
fn observed(value: f64, scale: i32, zero_threshold: f64) -> Distribution {
    let magnitude = value.abs();
    let is_zero = magnitude <= zero_threshold;
    // bucket i holds (base^i, base^(i+1)]
    let index = (magnitude.log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
    let one = Buckets { offset: index, counts: vec![1] };
    let (positive, negative) = match (is_zero, value > 0.0) {
        (true, _) => (Buckets::default(), Buckets::default()),
        (_, true) => (one, Buckets::default()),
        (_, false) => (Buckets::default(), one),
    };
    Distribution {
        count: 1,
        zero_count: i64::from(is_zero),
        scale,
        zero_threshold,
        sum: value,
        min: value,
        max: value,
        positive,
        negative,
    }
}

/// The smallest that at least the share `q` is not above.
fn exact(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = q * sorted.len() as f64;
    let at = (1..=sorted.len()).find(|n| *n as f64 >= rank).expect("q is at most 1");
    sorted[at - 1]
}

/// Of many magnitudes, of both signs and zero; or of one kind, as latencies are.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let wide = (any::<bool>(), -40.0..40.0_f64).prop_map(|(negative, exponent)| {
        let magnitude = exponent.exp2();
        if negative { -magnitude } else { magnitude }
    });
    let any_kind = prop_oneof![8 => wide, 1 => Just(0.0), 2 => 1e-3..1e-2_f64];
    let latencies = (-8.0..2.0_f64).prop_map(f64::exp2);
    prop_oneof![prop::collection::vec(any_kind, 1..200), prop::collection::vec(latencies, 1..200)]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..=1.0_f64, 1 => Just(0.5), 1 => Just(0.99), 1 => Just(0.0), 1 => Just(1.0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_quantile_is_within_its_relative_error(
        values in values(), scale in MIN_SCALE..=MAX_SCALE, zero_threshold in prop_oneof![Just(0.0), Just(1e-6)],
        q in share(), cut in any::<prop::sample::Index>(), is_known in any::<bool>(),
    ) {
        // merged in two parts, the later first
        let (a, b) = values.split_at(cut.index(values.len()));
        let sum = |values: &[f64]| values.iter().fold(Distribution::default(), |mut sum, value| {
            sum.merge(&observed(*value, scale, zero_threshold));
            sum
        });
        let mut all = sum(b);
        all.merge(&sum(a));
        if !is_known {
            (all.min, all.max) = (f64::NAN, f64::NAN);
        }
        let (found, wanted) = (all.quantile(q).expect("observed"), exact(&values, q));
        let error = (relative_error(all.scale) + 1e-12) * wanted.abs() + zero_threshold;
        prop_assert!((found - wanted).abs() <= error, "{found} and not {wanted}, scale {}", all.scale);
    }
}

#[test]
fn ends_and_extremes_are_told_as_they_are_known() {
    assert_eq!(Distribution::default().quantile(0.5), None);
    let mut all = observed(3.0, 0, 0.0);
    all.merge(&observed(900.0, 0, 0.0));
    assert_eq!((all.quantile(0.0), all.quantile(1.0)), (Some(3.0), Some(900.0)));
    // full counts, and the widest buckets there are
    let full = Distribution {
        count: i64::MAX,
        positive: Buckets { offset: 0, counts: vec![i64::MAX; 2] },
        min: f64::NAN,
        ..all
    };
    assert!(full.quantile(0.5).is_some_and(f64::is_finite));
    assert!((relative_error(MIN_SCALE) - 1.0).abs() < 1e-12 && relative_error(MAX_SCALE) < 1e-6);
    assert!((relative_error(3) - 0.0433).abs() < 1e-4);
}
