//! What is known of a topic whose beginning is gone.

use super::*;

const HOUR: i64 = 3_600_000;

fn extent(partition: i32, is_cut: bool) -> Extent {
    Extent { partition, start: 5, end: 9, is_cut }
}

fn begins(firsts: &[(i32, i64)]) -> Begins {
    let extents = [extent(0, true), extent(1, true), extent(2, false)];
    Begins::new(&extents, &firsts.iter().copied().collect())
}

#[test]
fn a_topic_has_all_unless_a_partition_begins_within_the_range() {
    let whole = Begins::new(&[extent(0, false)], &BTreeMap::from([(0, 7)]));
    assert_eq!((whole.kept(), whole.has_all(Some(0), i64::MIN + HOUR)), (Kept::Whole, true));
    assert!(whole.ends(10_000, 99).is_empty());
    let cut = begins(&[(0, 10 * HOUR), (1, 12 * HOUR), (2, 8 * HOUR)]);
    assert_eq!(cut.kept(), Kept::Since(12 * HOUR));
    assert_eq!(begins(&[(0, 10 * HOUR), (2, 8 * HOUR)]).kept(), Kept::Nothing, "the second has no record");
}

#[test]
fn windows_are_whole_from_a_while_after_the_first_record_on() {
    let cut = begins(&[(0, 10 * HOUR), (1, 12 * HOUR)]);
    assert!(!cut.has_all(Some(0), 11 * HOUR));
    assert!(cut.has_all(Some(0), 11 * HOUR + 1));
    assert!(cut.has_all(Some(2), 0), "its beginning is there");
    assert!(!cut.has_all(None, 13 * HOUR), "some of it may have been in any partition");
    assert!(cut.has_all(None, 13 * HOUR + 1));
}

#[test]
fn nothing_is_known_of_windows_that_were_over_before_the_first_record() {
    let cut = begins(&[(0, 10 * HOUR)]);
    let ends = cut.ends(10_000, 11 * HOUR);
    assert_eq!(ends, [(0, 10 * HOUR - 10_000 + 1), (1, 11 * HOUR)]);
    assert_eq!(cut.ends(10_000, 2 * HOUR), [(0, 2 * HOUR), (1, 2 * HOUR)]);
}
