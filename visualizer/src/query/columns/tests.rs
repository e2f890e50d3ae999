//! Properties of the columns: splits, gaps, rates across windows and restarts, grids.

use proptest::prelude::*;

use super::*;
use crate::rate::tests::window;

/// Samples every second from `T0`, some missing; whole numbers, so that sums are exact in any order.
const T0: i64 = 1_795_443_360_000;

fn windows(samples: &[(i64, f64)]) -> Vec<Window> {
    let mut made: Vec<Window> = Vec::new();
    let mut rest = samples;
    while let Some(&(at, _)) = rest.first() {
        let ts = at.div_euclid(FINE) * FINE;
        let (inside, after) = rest.split_at(rest.iter().take_while(|s| s.0 < ts + FINE).count());
        made.push(window(ts, inside));
        rest = after;
    }
    made
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    prop::collection::vec((any::<bool>(), 0_u32..1_000), 1..400).prop_map(|all| {
        let present = all.iter().enumerate().filter(|(_, (there, _))| *there);
        present.map(|(i, &(_, value))| (T0 + i as i64 * SECOND, f64::from(value))).collect()
    })
}

proptest! {
    #[test]
    fn a_gauges_columns_are_the_mean_and_extremes_of_its_samples(samples in samples(), steps in 1_i64..7) {
        let grid = Grid::new(Range { from: T0, to: T0 + 400 * SECOND }, steps * FINE);
        let found = columns(grid, SeriesKind::Gauge, windows(&samples));
        prop_assert_eq!(found.is_none(), samples.is_empty());
        for (i, avg) in found.iter().flat_map(|c| c.avg.iter().enumerate()) {
            let from = grid.t0 + i as i64 * grid.step;
            let inside: Vec<f64> =
                samples.iter().filter(|s| (from..from + grid.step).contains(&s.0)).map(|s| s.1).collect();
            let mean = (!inside.is_empty()).then(|| inside.iter().sum::<f64>() / inside.len() as f64);
            prop_assert_eq!(*avg, mean);
            let columns = found.as_ref().expect("present");
            prop_assert_eq!(columns.min[i], inside.iter().copied().reduce(f64::min));
            prop_assert_eq!(columns.max[i], inside.iter().copied().reduce(f64::max));
        }
    }

    #[test]
    fn a_merge_of_any_split_is_the_whole(samples in samples(), kind in prop_oneof![Just(SeriesKind::Gauge), Just(SeriesKind::Counter)], at in 0_usize..40) {
        let all = windows(&samples);
        let grid = Grid::new(Range { from: T0, to: T0 + 400 * SECOND }, 6 * FINE);
        let whole = cells(grid, kind, all.clone());
        // the second part starts with the window before it, as a read from `reads_from` does
        let cut = at.min(all.len());
        let mut merged = cells(grid, kind, all[..cut].to_vec());
        let mut before = cut.checked_sub(1).map(|i| all[i].tail());
        for window in &all[cut..] {
            if let (Some(i), Some(part)) = (grid.index(window.ts), Cell::of(kind, before, window)) {
                merged[i].add(part);
            }
            before = Some(window.tail());
        }
        for (a, b) in whole.iter().zip(&merged) {
            prop_assert_eq!(a.avg(), b.avg());
            prop_assert_eq!((a.min, a.max), (b.min, b.max));
        }
    }

    #[test]
    fn what_a_counter_grew_is_found_whatever_the_step(growths in prop::collection::vec(0_u32..100, 2..300), restart in 0_usize..300, steps in 1_i64..7) {
        let mut value = 0.0;
        let mut total = 0.0;
        let samples: Vec<_> = growths.iter().enumerate().map(|(i, &g)| {
            if i > 0 {
                if i == restart { value = 0.0; }
                total += f64::from(g);
            }
            value += f64::from(g);
            (T0 + i as i64 * SECOND, value)
        }).collect();
        let grid = Grid::new(Range { from: T0, to: T0 + 400 * SECOND }, steps * FINE);
        let cells = cells(grid, SeriesKind::Counter, windows(&samples));
        let grown: f64 = cells.iter().map(|c| c.total).sum();
        let millis: f64 = cells.iter().map(|c| c.weight).sum();
        // a restart to a value above the one before it can't be seen; then the growth seen is what is left of it
        let seen: f64 = samples.windows(2).map(|p| if p[1].1 < p[0].1 { p[1].1 } else { p[1].1 - p[0].1 }).sum();
        prop_assert!(seen <= total);
        prop_assert_eq!(grown, 1_000.0 * seen);
        prop_assert_eq!(millis, (samples.len() - 1) as f64 * 1_000.0);
    }

    #[test]
    fn a_grid_covers_its_range_and_fits_its_width(from in 0_i64..1_000_000_000, length in 1_i64..400 * DAY, width in 10_i64..4_000) {
        let range = Range { from: T0 - from, to: T0 - from + length };
        let grid = Grid::for_width(range, width);
        prop_assert_eq!(grid.t0 % grid.step, 0);
        prop_assert_eq!(grid.step % grid.tier().window_ms(), 0);
        prop_assert!(grid.t0 <= range.from && grid.end() >= range.to);
        prop_assert!(grid.t0 + grid.step > range.from && grid.end() - grid.step < range.to);
        prop_assert!(grid.len <= 2 * width as usize);
    }

    #[test]
    fn runs_cover_every_odd_window_and_keep_the_worst(present in prop::collection::vec(prop::option::of(1_u32..100), 1..80)) {
        let odd: Vec<_> = present.iter().enumerate().filter_map(|(i, score)| {
            let from = T0 + i as i64 * FINE;
            score.map(|s| Odd { from, to: from + FINE, score: f64::from(s), value: f64::from(s), low: 0.0, high: 1.0 })
        }).collect();
        let runs = runs(FINE, odd.clone());
        for pair in runs.windows(2) {
            prop_assert!(pair[1].from - pair[0].to > FINE);
        }
        for one in &odd {
            let run = runs.iter().find(|r| r.from <= one.from && one.to <= r.to);
            prop_assert!(run.is_some_and(|r| r.score >= one.score && r.value == r.score));
        }
    }
}

#[test]
fn a_gap_is_null_and_not_zero() {
    let samples: Vec<_> = [0, 10, 20, 60, 70].iter().map(|s| (T0 + s * SECOND, 5.0)).collect();
    let grid = Grid::new(Range { from: T0, to: T0 + 80 * SECOND }, FINE);
    let found = columns(grid, SeriesKind::Gauge, windows(&samples)).expect("data");
    let there: Vec<_> = found.avg.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, true, true, false, false, false, true, true]);
    assert_eq!(columns(grid, SeriesKind::Gauge, []), None);
}

#[test]
fn a_band_is_weighted_by_what_it_covers() {
    let grid = Grid::new(Range { from: T0, to: T0 + 4 * MINUTE }, 2 * MINUTE);
    let expected =
        |minute: i64, low, high| Expected { ts: T0 + minute * MINUTE, window_ms: MINUTE, low, high };
    let found = band(grid, [expected(0, 1.0, 3.0), expected(1, 3.0, 5.0)]).expect("a band");
    assert_eq!(found.low, [Some(2.0), None]);
    assert_eq!(found.high, [Some(4.0), None]);
    assert_eq!(band(grid, [expected(9, 1.0, 2.0), expected(0, f64::NAN, 1.0)]), None);
}

#[test]
fn the_windows_before_the_grid_lend_the_first_step_its_rate() {
    let samples: Vec<_> = (0..40).map(|i| (T0 + i * SECOND, i as f64)).collect();
    let grid = Grid::new(Range { from: T0 + 20 * SECOND, to: T0 + 40 * SECOND }, FINE);
    let all = windows(&samples);
    let with = columns(grid, SeriesKind::Counter, all.clone()).expect("data");
    assert_eq!(with.avg, [Some(1.0), Some(1.0)]);
    let cells = cells(grid, SeriesKind::Counter, all[2..].to_vec());
    assert_eq!(cells[0].weight, 9_000.0, "without them a second is lost");
}
