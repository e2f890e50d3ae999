//! Cells: order of time against order of arrival, resets, precision, and merges that are what the whole would have been.

use proptest::prelude::*;

use super::*;

fn cell(samples: &[(i32, f64)]) -> Cell {
    let mut cell = Cell::default();
    for &(at, value) in samples {
        cell.add(at, value);
    }
    cell
}

#[test]
fn first_and_last_go_by_time_not_by_arrival() {
    let cell = cell(&[(5_000, 2.0), (9_000, 3.0), (1_000, 1.0), (7_000, 9.0)]);
    assert_eq!((cell.first, cell.last), (1.0, 3.0));
    assert_eq!((cell.first_at, cell.last_at), (1_000, 9_000));
    assert_eq!((cell.count, cell.total(), cell.min, cell.max), (4, 15.0, 1.0, 9.0));
}

#[test]
fn a_counter_grows_over_resets_and_does_not_care_about_order() {
    let in_order = cell(&[(0, 10.0), (1_000, 15.0), (2_000, 3.0), (3_000, 4.0)]);
    assert_eq!((in_order.increase, in_order.resets), (5.0 + 3.0 + 1.0, 1));
    let reordered = cell(&[(1_000, 15.0), (3_000, 40.0), (0, 10.0), (2_000, 30.0)]);
    assert_eq!((reordered.increase, reordered.resets), (30.0, 0));
}

#[test]
fn the_squares_survive_a_large_offset() {
    let samples: Vec<(i32, f64)> = [1.0, 2.0, 3.0, 4.0].iter().map(|v| (0, 1e12 + v)).collect();
    assert_eq!(cell(&samples).m2(), 5.0);
}

proptest! {
    /// Cut anywhere, and merged in any order of two: what the whole would have been.
    #[test]
    fn two_cells_merge_into_the_cell_of_all_samples(
        values in prop::collection::vec(-1_000_i32..1_000, 2..40),
        cut in any::<prop::sample::Index>(),
        swapped in any::<bool>(),
    ) {
        let samples: Vec<(i32, f64)> =
            values.iter().enumerate().map(|(i, v)| (i as i32, f64::from(*v))).collect();
        let (early, late) = samples.split_at(1 + cut.index(samples.len() - 1));
        let (mut merged, other) = if swapped { (cell(late), cell(early)) } else { (cell(early), cell(late)) };
        merged.merge(&other);
        let whole = cell(&samples);
        prop_assert_eq!((merged.count, merged.total()), (whole.count, whole.total()));
        prop_assert_eq!((merged.min, merged.max), (whole.min, whole.max));
        prop_assert_eq!((merged.first, merged.last), (whole.first, whole.last));
        prop_assert_eq!((merged.first_at, merged.last_at), (whole.first_at, whole.last_at));
        prop_assert_eq!((merged.increase, merged.resets), (whole.increase, whole.resets));
        prop_assert!((merged.m2() - whole.m2()).abs() <= 1e-9 * whole.m2().max(1.0));
    }
}
