//! A row in whatever state against the parts that the topic has, whole or cut.

use proptest::prelude::*;
use tidewatch_schemas::{Buckets, Distribution, SeriesKind};
use tidewatch_store::merge::{merge, merge_histogram};

use super::*;

/// One sample each, so that a row's count is the number of its parts.
fn part(partition: i32, offset: i64, value: i32) -> WindowRow {
    let value = f64::from(value) / 7.0;
    WindowRow {
        series_id: 1,
        ts_ms: 0,
        count: 1,
        sum: value,
        min: value,
        max: value,
        first: value,
        last: value,
        first_at: (offset * 37 % 100) as i32,
        last_at: (offset * 37 % 100) as i32,
        m2: 0.0,
        increase: 0.0,
        resets: 0,
        origin: Origin { partition, offset },
    }
}

fn parts(values: &[i32]) -> Vec<WindowRow> {
    (1..).zip(values).map(|(n, value)| part(0, 10 * n, *value)).collect()
}

fn add(row: &WindowRow, part: &WindowRow) -> WindowRow {
    merge(row, part, SeriesKind::Counter)
}

/// As the sink writes them, one after the other.
fn written(there: Option<WindowRow>, parts: &[WindowRow]) -> Option<WindowRow> {
    parts.iter().fold(there, |row, part| Some(row.map_or(*part, |row| add(&row, part))))
}

/// The row afterwards, and whether somebody has read further.
fn after(there: Option<WindowRow>, parts: &[WindowRow], is_whole: bool) -> (Option<WindowRow>, bool) {
    match settle(there.as_ref(), parts, add, is_whole, false) {
        Verdict::Missing(row) => {
            assert!(there.is_none());
            (Some(row), false)
        }
        Verdict::Changed(row) => (Some(row), false),
        Verdict::Same | Verdict::More => (there, false),
        Verdict::Ahead => (there, true),
    }
}

fn values() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(-50..50, 1..9)
}

fn count(row: Option<WindowRow>) -> i64 {
    row.map_or(0, |row| row.count)
}

/// Two observations, at one of several scales; of some nobody knows the sum.
fn observed(offset: i64, value: i32) -> HistogramRow {
    let observed = Distribution {
        count: 2,
        scale: value.rem_euclid(5),
        sum: if value % 7 == 0 { f64::NAN } else { f64::from(value) / 7.0 },
        positive: Buckets { offset: value, counts: vec![1, 1] },
        ..Distribution::default()
    };
    HistogramRow { series_id: 1, ts_ms: 0, observed, origin: Origin { partition: 0, offset } }
}

fn add_observed(row: &HistogramRow, part: &HistogramRow) -> HistogramRow {
    let mut both = row.clone();
    merge_histogram(&mut both, part);
    both
}

fn all_observed(parts: &[HistogramRow]) -> Option<HistogramRow> {
    let (first, rest) = parts.split_first()?;
    Some(rest.iter().fold(first.clone(), |row, part| add_observed(&row, part)))
}

proptest! {
    #[test]
    fn a_histogram_comes_back_as_one_merge_of_all_its_parts(values in values(), lost in 0..9_usize, upto in 0..9_usize) {
        let parts: Vec<_> = (1..).zip(&values).map(|(n, value)| observed(10 * n, *value)).collect();
        let upto = upto.min(parts.len());
        let there = all_observed(&parts[lost.min(upto)..upto]);
        let all = all_observed(&parts).expect("parts");
        let row = match settle(there.as_ref(), &parts, add_observed, true, false) {
            Verdict::Missing(row) | Verdict::Changed(row) => row,
            verdict => {
                prop_assert!(matches!(verdict, Verdict::Same), "{:?}", verdict);
                there.expect("a row")
            }
        };
        prop_assert!(row.is_same(&all), "{:?} {:?}", row, all);
        let again = settle(Some(&row), &parts, add_observed, true, false);
        prop_assert!(matches!(again, Verdict::Same), "{:?}", again);
    }

    #[test]
    fn whatever_was_lost_of_a_row_the_whole_topic_brings_back(values in values(), lost in 0..9_usize, upto in 0..9_usize) {
        let parts = parts(&values);
        // the row went after so many parts, and a sink wrote the later ones up to `upto`
        let (lost, upto) = (lost.min(parts.len()), upto.min(parts.len()));
        let there = written(None, &parts[lost.min(upto)..upto]);
        let (row, is_ahead) = after(there, &parts, true);
        prop_assert!(!is_ahead);
        prop_assert_eq!(row, written(None, &parts));
        prop_assert_eq!(settle(row.as_ref(), &parts, add, true, false), Verdict::Same);
    }

    #[test]
    fn what_a_cut_topic_has_never_makes_a_row_worse(
        values in values(), cut in 0..9_usize, lost in 0..9_usize, upto in 0..9_usize,
    ) {
        let parts = parts(&values);
        let (cut, upto) = (cut.min(parts.len() - 1), upto.min(parts.len()));
        let lost = lost.min(upto);
        let there = written(None, &parts[lost..upto]);
        let (row, is_ahead) = after(there, &parts[cut..], false);
        prop_assert!(!is_ahead);
        prop_assert!(count(row) >= count(there).max((parts.len() - cut) as i64), "{:?} {:?}", there, row);
        // what the row has and what the topic has meet: nothing is missing
        if lost == 0 && upto >= cut {
            prop_assert_eq!(row, written(None, &parts));
        }
        let (again, _) = after(row, &parts[cut..], false);
        prop_assert_eq!(again, row);
    }

    #[test]
    fn second_copies_count_once(values in values(), from in 0..9_usize) {
        let parts = parts(&values);
        let mut twice = parts.clone();
        twice.extend(&parts[from.min(parts.len())..]);
        prop_assert_eq!(after(None, &twice, true).0, written(None, &parts));
        prop_assert_eq!(settle(written(None, &parts).as_ref(), &twice, add, true, false), Verdict::Same);
    }

    #[test]
    fn a_part_from_behind_the_end_is_read_first(values in values(), end in 1..9_usize, lost in 0..9_usize) {
        let parts = parts(&values);
        let end = end.min(parts.len());
        let there = written(None, &parts[lost.min(parts.len() - 1)..]);
        let (row, is_ahead) = after(there, &parts[..end], true);
        prop_assert_eq!(is_ahead, end < parts.len());
        if is_ahead {
            prop_assert_eq!(row, there);
            prop_assert_eq!(after(there, &parts, true), (written(None, &parts), false));
        }
        // at last what holds more samples stays
        if let Verdict::Changed(row) = settle(there.as_ref(), &parts[..end], add, true, true) {
            prop_assert!(row.count > count(there) || end == parts.len());
        }
    }
}

#[test]
fn a_row_of_as_many_samples_that_says_something_else_is_what_the_topic_says() {
    let parts = parts(&[1, 2, 3]);
    let right = written(None, &parts).expect("row");
    let wrong = WindowRow { sum: right.sum + 1.0, ..right };
    assert_eq!(settle(Some(&wrong), &parts, add, true, false), Verdict::Changed(right));
    assert_eq!(settle(Some(&wrong), &parts[1..], add, false, false), Verdict::More, "who knows");
}

#[test]
fn a_row_that_holds_more_than_the_whole_topic_stays() {
    let parts = parts(&[1, 2, 3]);
    let right = written(None, &parts).expect("row");
    let more = WindowRow { count: 7, ..right };
    assert_eq!(settle(Some(&more), &parts, add, true, false), Verdict::More);
}

#[test]
fn parts_of_several_partitions_may_have_been_merged_in_another_order() {
    let (a, b) = (part(0, 10, 3), part(1, 4, 8));
    let other_way = written(None, &[b, a]);
    assert_eq!(settle(other_way.as_ref(), &[a, b], add, true, false), Verdict::Same);
    // one of them alone is less
    assert_eq!(after(Some(a), &[a, b], true).0, written(None, &[a, b]));
    assert_eq!(count(after(Some(b), &[a, b], true).0), 2);
}

#[test]
fn a_nan_is_as_good_as_another() {
    let row = WindowRow { m2: f64::NAN, ..part(0, 1, 1) };
    let other = WindowRow { m2: f64::from_bits(f64::NAN.to_bits() | 1), ..row };
    assert_eq!(settle(Some(&other), &[row], add, true, false), Verdict::Same);
}
