//! The merge against a reference that sees all samples at once: any split, any order of the parts, any repetition.

use proptest::prelude::*;
use tidewatch_schemas::{Origin, SeriesKind};

use super::*;

/// The row of some samples (time, value), in order of time.
fn row(samples: &[(i32, f64)], offset: i64) -> WindowRow {
    let values = || samples.iter().map(|(_, v)| *v);
    let n = samples.len() as f64;
    let sum: f64 = values().sum();
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let steps = || samples.windows(2).map(|pair| (pair[0].1, pair[1].1));
    WindowRow {
        series_id: 1,
        ts_ms: 0,
        count: samples.len() as i64,
        sum,
        min: values().fold(f64::INFINITY, f64::min),
        max: values().fold(f64::NEG_INFINITY, f64::max),
        first: first.1,
        last: last.1,
        first_at: first.0,
        last_at: last.0,
        m2: values().map(|v| (v - sum / n).powi(2)).sum(),
        increase: steps().map(|(a, b)| if b >= a { b - a } else { b }).sum(),
        resets: steps().filter(|(a, b)| b < a).count() as i32,
        origin: Origin { partition: 0, offset },
    }
}

fn merged(parts: &[WindowRow], kind: SeriesKind) -> WindowRow {
    parts[1..].iter().fold(parts[0], |row, part| merge(&row, part, kind))
}

/// Whole numbers, so that sums are exact in any order; times without ties.
fn samples() -> impl Strategy<Value = Vec<(i32, f64)>> {
    prop::collection::btree_map(0..10_000_i32, 0..1_000_i32, 1..12)
        .prop_map(|map| map.into_iter().map(|(at, v)| (at, f64::from(v))).collect())
}

/// Which part each sample goes to.
fn split(samples: &[(i32, f64)], to: &[usize]) -> Vec<Vec<(i32, f64)>> {
    let mut parts = vec![Vec::new(); 4];
    for (sample, part) in samples.iter().zip(to) {
        parts[*part].push(*sample);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

proptest! {
    #[test]
    fn parts_of_a_gauge_make_the_whole(samples in samples(), to in prop::collection::vec(0..4_usize, 12), turn in 0..4_usize) {
        let mut parts = split(&samples, &to);
        let n = parts.len();
        parts.rotate_left(turn % n);
        let rows: Vec<_> = parts.iter().enumerate().map(|(i, part)| row(part, i as i64)).collect();
        let (found, whole) = (merged(&rows, SeriesKind::Gauge), row(&samples, 0));
        let exact = |r: &WindowRow| (r.count, r.sum, r.min, r.max, r.first, r.last, r.first_at, r.last_at);
        prop_assert_eq!(exact(&found), exact(&whole));
        prop_assert!((found.m2 - whole.m2).abs() <= 1e-9 * whole.m2.max(1.0), "{} {}", found.m2, whole.m2);
        if n > 1 {
            prop_assert_eq!((found.increase, found.resets), (0.0, 0));
        }
    }

    #[test]
    fn parts_of_a_counter_one_after_the_other_make_the_whole(samples in samples(), cuts in prop::array::uniform3(0..12_usize)) {
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut > 0 && *cut < samples.len()).collect();
        cuts.extend([0, samples.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let rows: Vec<_> =
            cuts.windows(2).enumerate().map(|(i, cut)| row(&samples[cut[0]..cut[1]], i as i64)).collect();
        let (found, whole) = (merged(&rows, SeriesKind::Counter), row(&samples, 0));
        prop_assert_eq!((found.increase, found.resets), (whole.increase, whole.resets));
    }

    #[test]
    fn interleaved_parts_of_a_rising_counter_grow_from_first_to_last(
        samples in samples(), to in prop::collection::vec(0..4_usize, 12),
    ) {
        let mut rising = samples;
        rising.iter_mut().fold(0.0, |total, sample| {
            sample.1 += total;
            sample.1
        });
        let parts = split(&rising, &to);
        let rows: Vec<_> = parts.iter().enumerate().map(|(i, part)| row(part, i as i64)).collect();
        let found = merged(&rows, SeriesKind::Counter);
        prop_assert_eq!((found.increase, found.resets), (found.last - found.first, 0));
    }

    #[test]
    fn a_second_copy_changes_nothing(samples in samples(), to in prop::collection::vec(0..4_usize, 12), again in 0..4_usize) {
        let parts = split(&samples, &to);
        let rows: Vec<_> = parts.iter().enumerate().map(|(i, part)| row(part, i as i64)).collect();
        let once = merged(&rows, SeriesKind::Counter);
        let repeated = &rows[again % rows.len()..];
        let twice = repeated.iter().fold(once, |row, part| merge(&row, part, SeriesKind::Counter));
        prop_assert_eq!(once, twice);
    }
}

#[test]
fn a_part_of_another_partition_is_news_whatever_its_offset() {
    let a = row(&[(0, 1.0)], 100);
    let b = WindowRow { origin: Origin { partition: 1, offset: 5 }, ..row(&[(9, 3.0)], 5) };
    assert_eq!(merge(&a, &b, SeriesKind::Gauge).count, 2);
}
