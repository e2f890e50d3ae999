//! Values that come faster than every five minutes, averaged into points of five minutes.
//!
//! In: time and value. Out: now and then a point that is complete. Keeps: a point is told with the last value of its five
//! minutes if that is known by the pace of the series, else with the first one after it, and never changed afterwards.

/// Seconds of a point.
const POINT: f64 = 300.0;
/// Values nearly as slow as that are points themselves.
const SLOW: f64 = 0.9 * POINT;
/// How far the pace follows one step: gaps pass, and a new pace is known after some dozen values.
const FOLLOW: f64 = 1.1;

#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// The first value of the point: from there the others are added up, so that the mean of a constant is the constant.
    base: f64,
    sum: f64,
    count: u32,
    /// The five minutes that are being added up, counted from 1970.
    slot: f64,
    /// Those told last.
    told: f64,
    /// Seconds from one value to the next; 0 = unknown.
    pace: f64,
}

impl Default for Grid {
    fn default() -> Self {
        Self { base: 0.0, sum: 0.0, count: 0, slot: 0.0, told: f64::NEG_INFINITY, pace: 0.0 }
    }
}

impl Grid {
    /// `passed`: seconds since the value before, 0 when that is unknown. Gives time and mean of a point.
    pub(super) fn step(&mut self, seconds: f64, passed: f64, value: f64) -> Option<(f64, f64)> {
        if passed > 0.0 {
            let slow = passed.min(self.pace * FOLLOW);
            self.pace = if self.pace > 0.0 { slow.max(self.pace / FOLLOW) } else { passed };
        }
        if self.pace >= SLOW {
            self.count = 0;
            self.sum = 0.0;
            return Some((seconds, value));
        }
        let slot = (seconds / POINT).floor();
        let late = if self.count > 0 && slot != self.slot { Some(self.close()) } else { None };
        if slot == self.told {
            return late;
        }
        self.slot = slot;
        if self.count == 0 {
            self.base = value;
        }
        self.sum += value - self.base;
        self.count += 1;
        let is_last = self.pace > 0.0 && seconds + self.pace >= (slot + 1.0) * POINT;
        if late.is_none() && is_last { Some(self.close()) } else { late }
    }

    fn close(&mut self) -> (f64, f64) {
        let mean = self.base + self.sum / f64::from(self.count);
        self.sum = 0.0;
        self.count = 0;
        self.told = self.slot;
        (self.slot * POINT, mean)
    }
}

crate::snapshot::keep_fields!(Grid { base, sum, count, slot, told, pace });

#[cfg(test)]
mod tests {
    use super::*;

    /// The points of values at such times, and with which value each was told.
    fn points(times: &[f64]) -> Vec<(usize, f64, f64)> {
        let mut grid = Grid::default();
        let mut before = None;
        let told = times.iter().enumerate().filter_map(|(i, &time)| {
            let passed = before.replace(time).map_or(0.0, |before: f64| time - before);
            grid.step(time, passed, i as f64).map(|(at, mean)| (i, at, mean))
        });
        told.collect()
    }

    #[test]
    fn a_point_is_told_with_its_last_value() {
        let times: Vec<f64> = (0..15).map(|i| f64::from(i) * 60.0).collect();
        assert_eq!(points(&times), [(4, 0.0, 2.0), (9, 300.0, 7.0), (14, 600.0, 12.0)]);
    }

    #[test]
    fn or_with_the_first_one_after_it_when_that_is_missing() {
        let times = [0.0, 60.0, 120.0, 180.0, 300.0, 360.0];
        assert_eq!(points(&times), [(4, 0.0, 1.5)]);
    }

    #[test]
    fn the_mean_of_a_constant_is_the_constant() {
        let mut grid = Grid::default();
        let told =
            (0..400).filter_map(|i| grid.step(f64::from(i) * 10.0, if i > 0 { 10.0 } else { 0.0 }, 0.1));
        assert!(told.map(|(_, mean)| mean).all(|mean| mean == 0.1));
    }

    #[test]
    fn slow_values_are_points_themselves() {
        let times: Vec<f64> = (0..6).map(|i| f64::from(i) * 3_600.0).collect();
        let told = points(&times);
        assert_eq!(told.len(), 5, "at the first one the pace is not known");
        assert_eq!(told[0], (1, 3_600.0, 1.0));
    }

    #[test]
    fn a_gap_does_not_change_the_pace_much_and_a_clock_that_steps_back_breaks_nothing() {
        let mut times: Vec<f64> = (0..10).map(|i| f64::from(i) * 60.0).collect();
        times.extend((0..10).map(|i| 90_000.0 + f64::from(i) * 60.0));
        times.extend((0..10).map(|i| f64::from(i) * 60.0));
        let told = points(&times);
        assert_eq!(told.len(), 6, "{told:?}");
        assert!(told.iter().all(|(_, at, mean)| at.is_finite() && mean.is_finite()));
    }
}
