//! Merges against a count of every bucket at the finest scale, in any order; and what is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Buckets as Sent, Histogram as Record};

fn taken(record: &Record, most: f64) -> Result<Option<Distribution>, Refused> {
    Distribution::of(record, most)
}

fn written(distribution: &Distribution) -> Record {
    distribution.record(Series::gauge("m", ""))
}

fn record(scale: i32, positive: (i32, &[i64]), negative: (i32, &[i64]), zero_count: i64) -> Record {
    let all = positive.1.iter().chain(negative.1).fold(zero_count, |sum, count| sum.saturating_add(*count));
    Record {
        series: Series::gauge("m", ""),
        count: all,
        sum: Some(all as f64),
        min: Some(-1.0),
        max: Some(1.0),
        scale,
        zero_threshold: 0.0,
        zero_count,
        positive: Sent { offset: positive.0, counts: positive.1.to_vec() },
        negative: Sent { offset: negative.0, counts: negative.1.to_vec() },
    }
}

fn good(record: &Record) -> Distribution {
    taken(record, 1e150).unwrap().unwrap()
}

/// All counts of one sign, at `scale`.
fn counted(records: &[Record], scale: i32, sign: fn(&Record) -> &Sent) -> BTreeMap<i64, i64> {
    let mut counts = BTreeMap::new();
    for record in records {
        let wide = 2_i64.pow((record.scale - scale) as u32);
        for (i, count) in sign(record).counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let index = (i64::from(sign(record).offset) + i as i64).div_euclid(wide);
            let all: &mut i64 = counts.entry(index).or_default();
            *all = all.saturating_add(*count);
        }
    }
    counts
}

/// The finest scale in which both signs span 160 buckets at most, by trying.
fn expected(records: &[Record], most: i64) -> (i32, BTreeMap<i64, i64>, BTreeMap<i64, i64>) {
    let mut scale = records.iter().map(|record| record.scale).min().unwrap();
    loop {
        let signs = [counted(records, scale, |r| &r.positive), counted(records, scale, |r| &r.negative)];
        let span = |counts: &BTreeMap<i64, i64>| {
            counts.keys().next_back().map_or(0, |last| last - counts.keys().next().unwrap() + 1)
        };
        if signs.iter().all(|counts| span(counts) <= most) {
            let [positive, negative] = signs;
            return (scale, positive, negative);
        }
        scale -= 1;
    }
}

fn as_map(sent: &Sent) -> BTreeMap<i64, i64> {
    let all = sent.counts.iter().enumerate().filter(|(_, count)| **count > 0);
    all.map(|(i, count)| (i64::from(sent.offset) + i as i64, *count)).collect()
}

fn buckets(scale: i32) -> impl Strategy<Value = (i32, Vec<i64>)> {
    let allowed = indices(scale);
    let count = prop_oneof![6 => 0..5_i64, 1 => Just(i64::MAX), 1 => 0..i64::MAX];
    let near = (-400..400_i64).prop_map(|index| index);
    let first = prop_oneof![4 => near, 1 => allowed.clone()];
    let most = if scale > 0 { 400 } else { 12 };
    (first, prop::collection::vec(count, 0..most)).prop_map(move |(first, mut counts)| {
        let first = first.clamp(*allowed.start(), *allowed.end());
        counts.truncate((allowed.end() - first + 1) as usize);
        (first as i32, counts)
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let scale = prop_oneof![MIN_SCALE..=MAX_SCALE, Just(3), Just(20)];
    let value = || prop::option::weighted(0.9, prop_oneof![-1e3..1e3, Just(0.0), Just(-0.0)]);
    scale
        .prop_flat_map(|scale| (Just(scale), buckets(scale), buckets(scale)))
        .prop_flat_map(move |parts| (Just(parts), 0..9_i64, 0.0..1.0, value(), value()))
        .prop_map(|((scale, positive, negative), zero_count, zero_threshold, min, max)| Record {
            min,
            max,
            zero_threshold,
            ..record(scale, (positive.0, &positive.1), (negative.0, &negative.1), zero_count)
        })
}

fn merged<'a>(all: impl IntoIterator<Item = &'a Record>) -> Distribution {
    let mut sum = Distribution::default();
    for histogram in all.into_iter().filter_map(|record| taken(record, 1e150).unwrap()) {
        sum.merge(&histogram);
    }
    sum
}

/// Everything but the sum, which is rounded in the order of its terms.
fn exact(histogram: &Distribution) -> (Distribution, [u64; 3]) {
    let Distribution { min, max, zero_threshold, .. } = *histogram;
    (
        Distribution { sum: 0.0, min: 0.0, max: 0.0, ..histogram.clone() },
        [min, max, zero_threshold].map(f64::to_bits),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_merge_is_the_count_of_every_bucket(records in prop::collection::vec(any_record(), 1..6)) {
        let sent: Vec<Record> = records.iter().filter(|record| record.count > 0).cloned().collect();
        prop_assume!(!sent.is_empty());
        let (scale, positive, negative) = expected(&sent, 160);
        let record = written(&merged(&records));
        prop_assert_eq!(record.scale, scale);
        prop_assert_eq!(as_map(&record.positive), positive);
        prop_assert_eq!(as_map(&record.negative), negative);
        let total = |of: fn(&Record) -> i64| sent.iter().fold(0_i64, |sum, r| sum.saturating_add(of(r)));
        prop_assert_eq!(record.count, total(|r| r.count));
        prop_assert_eq!(record.zero_count, total(|r| r.zero_count));
        prop_assert_eq!(record.zero_threshold, sent.iter().map(|r| r.zero_threshold).fold(0.0, f64::max));
        prop_assert_eq!(record.min.is_none(), sent.iter().any(|r| r.min.is_none()));
        // and what was written is taken again
        prop_assert_eq!(exact(&taken(&record, f64::MAX).unwrap().unwrap()), exact(&merged(&records)));
    }

    #[test]
    fn neither_order_nor_grouping_matters(
        records in prop::collection::vec(any_record(), 2..7).prop_shuffle(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = exact(&merged(&records));
        prop_assert_eq!(&exact(&merged(records.iter().rev())), &whole);
        let (a, b) = records.split_at(cut.index(records.len()));
        let (mut left, mut right) = (merged(a), merged(b));
        let other = left.clone();
        left.merge(&right);
        right.merge(&other);
        prop_assert_eq!(&exact(&left), &whole);
        prop_assert_eq!(&exact(&right), &whole);
    }

    #[test]
    fn fewer_buckets_are_the_same_counts_at_a_coarser_scale(
        record in any_record(), most in prop::sample::select(vec![160_usize, 80, 40, 20]),
    ) {
        prop_assume!(record.count > 0);
        let mut histogram = good(&record);
        histogram.coarsen_to(most);
        prop_assert!(histogram.fits(most));
        let (scale, positive, negative) = expected(std::slice::from_ref(&record), most as i64);
        let coarser = written(&histogram);
        prop_assert_eq!((coarser.scale, as_map(&coarser.positive), as_map(&coarser.negative)), (scale, positive, negative));
    }
}

#[test]
fn a_negative_index_is_halved_downwards() {
    // buckets -3, -2, -1, 0, 1 of scale 1 are -2, -1, -1, 0, 0 of scale 0
    let mut fine = good(&record(1, (-3, &[1, 10, 100, 1_000, 10_000]), (0, &[]), 0));
    fine.merge(&good(&record(0, (0, &[1]), (0, &[]), 0)));
    let sum = written(&fine);
    assert_eq!((sum.scale, sum.positive), (0, Sent { offset: -2, counts: vec![1, 110, 11_001] }));
}

#[test]
fn many_buckets_are_coarsened_and_too_many_refused() {
    let wide = good(&record(5, (-500, &[1; 1_000]), (0, &[]), 0));
    assert_eq!((wide.scale, wide.positive.counts.len()), (2, 126));
    let refused = taken(&record(5, (-500, &[1; 1_001]), (0, &[]), 0), 1e150).unwrap_err();
    assert_eq!(refused.0, Reason::BadHistogram);
}

#[test]
fn the_ends_of_all_doubles_fit() {
    let mut all = good(&record(20, (-(1_100 << 20), &[1]), ((1_100 << 20) - 1, &[1]), 1));
    all.merge(&good(&record(20, ((1_100 << 20) - 1, &[1]), (-(1_100 << 20), &[1]), i64::MAX)));
    assert_eq!((all.scale, all.count, all.zero_count), (-4, i64::MAX, i64::MAX));
    assert_eq!(
        all.positive,
        Sent {
            offset: -69,
            counts: {
                let mut c = vec![0; 138];
                (c[0], c[137]) = (1, 1);
                c
            }
        }
    );
}

#[test]
fn what_is_unknown_stays_unknown() {
    let known = good(&record(0, (0, &[1]), (0, &[]), 0));
    let mut sum = known.clone();
    sum.merge(&good(&Record { sum: None, ..record(0, (0, &[1]), (0, &[]), 0) }));
    sum.merge(&known);
    assert!(sum.sum.is_nan() && sum.min == -1.0 && sum.max == 1.0);
    let huge = Record { sum: Some(f64::MAX), ..record(0, (0, &[1]), (0, &[]), 0) };
    let mut sum = taken(&huge, f64::MAX).unwrap().unwrap();
    sum.merge(&sum.clone());
    assert!(sum.sum.is_nan());
}

#[test]
fn bad_ones_are_refused_with_the_reason() {
    let ok = record(3, (-5, &[1, 2]), (0, &[3]), 4);
    assert!(taken(&ok, 1e150).unwrap().is_some());
    let cases = [
        (Record { count: 9, ..ok.clone() }, Reason::BadHistogram),
        (Record { count: -1, zero_count: -11, ..ok.clone() }, Reason::BadHistogram),
        (record(3, (0, &[-1, 1]), (0, &[]), 0), Reason::BadHistogram),
        (Record { scale: 21, ..ok.clone() }, Reason::BadHistogram),
        (Record { scale: -11, ..ok.clone() }, Reason::BadHistogram),
        (Record { scale: i32::MIN, ..ok.clone() }, Reason::BadHistogram),
        (record(0, (1_100, &[1]), (0, &[]), 0), Reason::BadHistogram),
        (record(0, (0, &[]), (-1_101, &[1]), 0), Reason::BadHistogram),
        (record(20, (i32::MAX, &[1, 1]), (0, &[]), 0), Reason::BadHistogram),
        (record(0, (1_099, &[1, 1]), (0, &[]), 0), Reason::BadHistogram),
        (Record { sum: Some(f64::INFINITY), ..ok.clone() }, Reason::NotANumber),
        (Record { min: Some(f64::NEG_INFINITY), ..ok.clone() }, Reason::NotANumber),
        (Record { max: Some(1e151), ..ok.clone() }, Reason::OutOfRange),
        (Record { zero_threshold: -0.5, ..ok.clone() }, Reason::BadHistogram),
        (Record { zero_threshold: f64::NAN, ..ok.clone() }, Reason::BadHistogram),
    ];
    for (record, reason) in cases {
        assert_eq!(taken(&record, 1e150).map_err(|refused| refused.0), Err(reason), "{record:?}");
    }
    assert_eq!(taken(&record(0, (7, &[0, 0]), (0, &[]), 0), 1e150), Ok(None));
}
