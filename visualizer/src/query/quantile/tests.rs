//! Estimates against the exact quantiles of what was drawn; sums of histograms against a count of everything.

use proptest::prelude::*;

use super::*;

/// The smallest that at least the share `q` is not above.
fn exact(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = q * sorted.len() as f64;
    let at = (1..=sorted.len()).find(|n| *n as f64 >= rank).expect("q is at most 1");
    sorted[at - 1]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..=1.0_f64, 1 => Just(0.5), 1 => Just(0.99), 1 => Just(0.0), 1 => Just(1.0)]
}

fn cumulative(values: &[f64], bounds: &[f64]) -> Cumulative {
    let up_to = |bound: f64| values.iter().filter(|value| **value <= bound).count() as f64;
    bounds.iter().map(|bound| (Bound(*bound), up_to(*bound))).collect()
}

/// Bounds that begin at zero or above it, and end at infinity.
fn bounds() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::btree_set(0..64_i32, 1..12)
        .prop_map(|set| set.into_iter().map(|i| f64::from(i) / 8.0).chain([f64::INFINITY]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_quantile_of_classic_buckets_is_in_the_bucket_that_holds_it(
        values in prop::collection::vec(0.0..10.0_f64, 1..100), bounds in bounds(), q in share(),
    ) {
        let found = of_classic(&cumulative(&values, &bounds), q).expect("observed");
        let wanted = exact(&values, q);
        let above = bounds.iter().position(|bound| wanted <= *bound).expect("infinity");
        let below = above.checked_sub(1).map_or(0.0, |before| bounds[before]);
        if bounds[above].is_infinite() {
            prop_assert_eq!(found, below, "as far as the bounds reach");
        } else {
            prop_assert!((below..=bounds[above]).contains(&found), "{found} and {wanted} in {below}..{}", bounds[above]);
        }
    }

    #[test]
    fn classic_histograms_of_different_bounds_are_one_of_those_that_all_have(
        parts in prop::collection::vec((prop::collection::vec(0.0..10.0_f64, 0..50), bounds()), 1..5),
    ) {
        let all: Vec<f64> = parts.iter().flat_map(|(values, _)| values).copied().collect();
        let shared: Vec<f64> = parts[0].1.iter().copied().filter(|b| parts.iter().all(|(_, own)| own.contains(b))).collect();
        let each: Vec<Cumulative> = parts.iter().map(|(values, bounds)| cumulative(values, bounds)).collect();
        let sum = |mut parts: Vec<Cumulative>| {
            let mut sum = parts.remove(0);
            for part in &parts {
                merge(&mut sum, part);
            }
            sum
        };
        prop_assert_eq!(&sum(each.clone()), &cumulative(&all, &shared));
        prop_assert_eq!(&sum(each.into_iter().rev().collect()), &cumulative(&all, &shared));
    }
}

fn classic(buckets: &[(f64, f64)]) -> Cumulative {
    buckets.iter().map(|(bound, count)| (Bound(*bound), *count)).collect()
}

const INF: f64 = f64::INFINITY;

#[test]
fn classic_buckets_are_read_as_prometheus_reads_them() {
    let two = classic(&[(1.0, 10.0), (2.0, 20.0), (INF, 20.0)]);
    for (q, wanted) in [(0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)] {
        assert_eq!(of_classic(&two, q), Some(wanted), "{q}");
    }
    let above = classic(&[(1.0, 10.0), (INF, 20.0)]);
    assert_eq!(of_classic(&above, 0.9), Some(1.0), "in +Inf: the highest bound there is");
    assert_eq!(of_classic(&classic(&[(-1.0, 4.0), (0.0, 4.0), (INF, 8.0)]), 0.1), Some(-1.0), "no lower end");
    assert_eq!(of_classic(&classic(&[(INF, 8.0)]), 0.5), None);
    assert_eq!(of_classic(&classic(&[(1.0, 4.0), (2.0, 8.0)]), 0.5), None, "without +Inf");
    assert_eq!(of_classic(&classic(&[(1.0, 0.0), (INF, 0.0)]), 0.5), None, "nothing was observed");
    let falling = classic(&[(1.0, 10.0), (2.0, 9.0), (3.0, 20.0), (INF, 20.0)]);
    assert_eq!(of_classic(&falling, 0.75), Some(2.5));
}

#[test]
fn the_bounds_of_labels_are_numbers() {
    assert_eq!(Bound::parse("+Inf"), Some(Bound(INF)));
    assert_eq!(Bound::parse("5e-3"), Bound::parse("0.005"));
    assert_eq!(Bound::parse("-0"), Some(Bound(0.0)));
    assert_eq!((Bound::parse("NaN"), Bound::parse("fast")), (None, None));
}
