//! How much a series changed over a stretch of time: some points of it, and the difference to now.
//!
//! In: window by window, a gauge's level or a counter's growth. Out: the change a second, once three quarters of the
//! stretch are known. Invariants: at most `CELLS` + 2 points, however long the stretch is; which windows become
//! points is a matter of their time alone, so a replay that begins later comes to the same numbers, to the bit.

use std::collections::VecDeque;

/// A stretch is cut into so many cells of time; the first window in each is remembered.
const CELLS: i64 = 30;

/// What is remembered of one series for one rule.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    points: VecDeque<Point>,
    /// A counter's growth since the last point.
    growth: f64,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at: i64,
    /// A gauge's level; a counter's growth since the point before.
    value: f64,
}

impl Trail {
    /// Takes a gauge's level at a time; `over_ms` is the same each time.
    pub fn level(&mut self, over_ms: i64, at: i64, level: f64) -> Option<f64> {
        self.forget(at - over_ms);
        let change = self.first(over_ms, at).map(|first| (level - first.value) / seconds(at - first.at));
        if self.is_new_cell(over_ms, at) {
            self.points.push_back(Point { at, value: level });
        }
        change
    }

    /// Takes a counter's growth since it was given last; `None` starts anew, as after a gap.
    pub fn growth(&mut self, over_ms: i64, at: i64, growth: Option<f64>) -> Option<f64> {
        let Some(growth) = growth else {
            self.points.clear();
            self.points.push_back(Point { at, value: 0.0 });
            self.growth = 0.0;
            return None;
        };
        self.growth += growth;
        self.forget(at - over_ms);
        let change = self.first(over_ms, at).map(|first| {
            let between: f64 = self.points.iter().skip(1).map(|point| point.value).sum();
            (between + self.growth) / seconds(at - first.at)
        });
        if self.is_new_cell(over_ms, at) {
            self.points.push_back(Point { at, value: self.growth });
            self.growth = 0.0;
        }
        change
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.points.capacity() * size_of::<Point>()
    }

    fn forget(&mut self, before: i64) {
        while self.points.front().is_some_and(|first| first.at < before) {
            self.points.pop_front();
        }
    }

    /// The oldest point, if it reaches back far enough.
    fn first(&self, over_ms: i64, at: i64) -> Option<Point> {
        self.points.front().copied().filter(|first| at > first.at && at - first.at >= over_ms * 3 / 4)
    }

    fn is_new_cell(&self, over_ms: i64, at: i64) -> bool {
        let cell = |time: i64| time.div_euclid((over_ms / CELLS).max(1));
        self.points.back().is_none_or(|last| cell(at) > cell(last.at))
    }
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

crate::snapshot::keep_fields!(Trail { points, growth });
crate::snapshot::keep_fields!(Point { at, value });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OVER: i64 = 600_000;

    #[test]
    fn a_level_is_compared_with_the_one_of_then() {
        let mut trail = Trail::default();
        let said: Vec<_> = (0..100_i64).map(|w| trail.level(OVER, w * 10_000, (w * 20) as f64)).collect();
        assert_eq!(said[44], None, "less than three quarters are known");
        assert!(said[45..].iter().all(|change| *change == Some(2.0)), "{said:?}");
        assert!(trail.points.len() as i64 <= CELLS + 2, "{}", trail.points.len());
    }

    #[test]
    fn growth_is_added_up_and_a_gap_starts_anew() {
        let mut trail = Trail::default();
        assert_eq!(trail.growth(OVER, 0, None), None);
        let said: Vec<_> = (1..100_i64).map(|w| trail.growth(OVER, w * 10_000, Some(50.0))).collect();
        assert_eq!(said[43], None);
        assert!(said[44..].iter().all(|rate| *rate == Some(5.0)), "{said:?}");
        assert_eq!(trail.growth(OVER, 1_000_000, None), None);
        assert_eq!(trail.growth(OVER, 1_010_000, Some(50.0)), None, "nothing is known of the gap");
    }

    proptest! {
        /// A replay that begins anywhere says the same as the whole, from one stretch and a cell later on.
        #[test]
        fn it_does_not_matter_where_a_replay_begins(
            steps in proptest::collection::vec((1..4_i64, -50.0..50.0_f64), 120..240),
            from in 0..60_usize, minutes in 1..15_i64,
        ) {
            let over = minutes * 60_000;
            let mut at = 1_795_392_000_000;
            let log: Vec<_> = steps.into_iter().map(|(gap, value)| { at += gap * 10_000; (at, value) }).collect();
            let (mut whole, mut late) = ((Trail::default(), Trail::default()), (Trail::default(), Trail::default()));
            let settled = log[from].0 + over + over / CELLS + 10_000;
            for (i, (at, value)) in log.iter().copied().enumerate() {
                let says = |trails: &mut (Trail, Trail)| {
                    (trails.0.level(over, at, value), trails.1.growth(over, at, Some(value.abs())))
                };
                let said = says(&mut whole);
                if i >= from {
                    let again = says(&mut late);
                    prop_assert!(at <= settled || said == again, "{said:?} {again:?}");
                }
            }
        }
    }
}
