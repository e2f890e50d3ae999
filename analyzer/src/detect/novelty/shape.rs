//! The last values of a series, and what their shape tells: how much they spread, and how far the newest pattern is from
//! anything of late.
//!
//! In: values, as distances from the series' first one. Out: a standard deviation, a distance. Keeps: 250 values in a
//! kilobyte; a distance is the same whatever order lags are tried in, so they are tried side by side.

/// Values kept.
pub(super) const KEPT: usize = 250;
/// Values of a pattern.
const PATTERN: usize = 6;
/// Values whose spread is taken.
const SPREAD: usize = 50;
/// Lags tried at once: sums that do not wait for each other.
const LANES: usize = 8;
/// Values from which patterns are compared.
const ENOUGH: usize = PATTERN + 22;

/// What [`Past::unroll`] needs to write to.
pub(super) type Room = [f64; KEPT];

#[derive(Debug, Clone)]
pub(super) struct Past {
    /// Single precision: a distance from the first value keeps 7 digits of what varies, whatever the level.
    ring: [f32; KEPT],
    held: u16,
    next: u16,
}

impl Default for Past {
    fn default() -> Self {
        Self { ring: [0.0; KEPT], held: 0, next: 0 }
    }
}

impl Past {
    pub(super) fn push(&mut self, x: f64) {
        let next = usize::from(self.next);
        self.ring[next] = x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        self.next = if next + 1 == KEPT { 0 } else { self.next + 1 };
        self.held = (self.held + 1).min(KEPT as u16);
    }

    /// The values, oldest first.
    pub(super) fn unroll<'a>(&self, room: &'a mut Room) -> &'a [f64] {
        let held = usize::from(self.held);
        let (newer, older) = self.ring.split_at(usize::from(self.next));
        // before the ring has been filled there is nothing behind its next place
        let older = if held < KEPT { &older[..0] } else { older };
        let (front, back) = room.split_at_mut(older.len());
        widen(older, front);
        widen(newer, back);
        &room[..held]
    }
}

fn widen(from: &[f32], to: &mut [f64]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = f64::from(from);
    }
}

/// Standard deviation of the newest values.
pub(super) fn spread(values: &[f64]) -> f64 {
    let newest = &values[values.len().saturating_sub(SPREAD)..];
    let count = newest.len().max(1) as f64;
    let mean = newest.iter().rev().sum::<f64>() / count;
    let squares: f64 = newest.iter().rev().map(|value| (value - mean) * (value - mean)).sum();
    (squares / count).sqrt()
}

/// Distance of the newest pattern from the nearest one before that does not overlap it; 0 while there is too little.
pub(super) fn nearest(values: &[f64]) -> f64 {
    if values.len() < ENOUGH {
        return 0.0;
    }
    let newest = &values[values.len() - PATTERN..];
    // where the last one of `LANES` neighbouring patterns begins that end before the newest one does
    let last = values.len() - 2 * PATTERN + 1 - LANES;
    let mut best = [f64::INFINITY; LANES];
    let mut start = 1;
    loop {
        let mut sums = [0.0; LANES];
        for (i, value) in newest.iter().enumerate().rev() {
            let others = &values[start + i..start + i + LANES];
            for (sum, other) in sums.iter_mut().zip(others) {
                let difference = value - other;
                *sum += difference * difference;
            }
        }
        for (best, sum) in best.iter_mut().zip(sums) {
            *best = if sum < *best { sum } else { *best };
        }
        if start == last {
            break;
        }
        // the last ones overlap those before them
        start = (start + LANES).min(last);
    }
    best.into_iter().fold(f64::INFINITY, f64::min).sqrt()
}

crate::snapshot::keep_fields!(Past { ring, held, next });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn past(values: &[f64]) -> Past {
        let mut past = Past::default();
        for &value in values {
            past.push(value);
        }
        past
    }

    /// As it is defined: one lag after the other.
    fn plain(values: &[f64]) -> f64 {
        let newest = values.len() - 1;
        let mut best = f64::INFINITY;
        for lag in PATTERN..=newest - PATTERN {
            let distance: f64 =
                (0..PATTERN).map(|i| (values[newest - i] - values[newest - lag - i]).powi(2)).sum();
            best = best.min(distance);
        }
        best.sqrt()
    }

    #[test]
    fn a_shape_seen_before_is_near_and_a_new_one_is_not() {
        let mut values: Vec<f64> = (0..200_u32).map(|t| f64::from(t % 24)).collect();
        assert_eq!(nearest(&values), 0.0);
        values.extend([90.0; 3]);
        assert!(nearest(&values) > 3.0);
        assert_eq!(nearest(&values[..ENOUGH - 1]), 0.0);
    }

    #[test]
    fn the_spread_is_that_of_the_newest() {
        assert_eq!(spread(&[]), 0.0);
        assert_eq!(spread(&[3.0]), 0.0);
        let mut values = vec![1_000.0; 80];
        assert_eq!(spread(&values), 0.0);
        values.extend([2.0, 4.0].repeat(25));
        assert_eq!(spread(&values), 1.0);
    }

    proptest! {
        #[test]
        fn the_ring_holds_the_newest_in_order(values in proptest::collection::vec(-1e6..1e6_f64, 0..600)) {
            let past = past(&values);
            let mut room = [0.0; KEPT];
            let newest = &values[values.len().saturating_sub(KEPT)..];
            let wanted: Vec<f64> = newest.iter().map(|value| f64::from(*value as f32)).collect();
            prop_assert_eq!(past.unroll(&mut room), &wanted[..]);
        }

        #[test]
        fn side_by_side_is_one_after_the_other(values in proptest::collection::vec(-9..9_i32, ENOUGH..300)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            prop_assert_eq!(nearest(&values), plain(&values));
        }
    }
}
