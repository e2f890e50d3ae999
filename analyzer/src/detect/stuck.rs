//! A sensor that says the same again and again: for how long, against how long it ever did.
//!
//! In: values, oldest first. Out: how many times as long as the shortest run that is odd here; 1 or more is odd. Keeps: a run of
//! zeros is rest, for whatever is counted rests at times; and a run is judged by those that ended before it.

/// A run is odd from so many usual ones on: where values change by chance, e^-30 of the runs are as long.
const USUAL: f64 = 30.0;
/// And from so many times the longest one of late: nights, weekends, what is set by hand.
const LONGEST: f64 = 3.0;
/// Seconds in which the longest run fades to a third.
const FORGET: f64 = 28.0 * 86_400.0;
/// Seconds after which what is odd is how it is now: a sensor that nobody misses, a service that is gone.
const ACCEPTED: f64 = 86_400.0;
/// Runs before anything is said.
const WARMUP: u32 = 150;
/// Runs that the usual one is the mean of.
const MEAN: u32 = 1_000;
/// The mean of samples that are all the same is the same to within so much.
const EQUAL: f64 = 1e-12;

#[derive(Debug, Clone, Default)]
pub(super) struct Stuck {
    value: f64,
    /// Values in the run that goes on, and for how many seconds it has been odd.
    run: u32,
    odd: f64,
    /// Runs that ended.
    runs: u32,
    /// Their mean length, and the longest of late.
    usual: f64,
    longest: f64,
}

impl Stuck {
    /// Judges a value and then learns from it. `passed`: seconds since the one before.
    pub(super) fn step(&mut self, passed: f64, value: f64) -> f64 {
        self.longest *= 1.0 - (passed / FORGET).min(1.0);
        if self.run > 0 && (value - self.value).abs() <= EQUAL * self.value.abs() {
            self.run = self.run.saturating_add(1);
        } else {
            self.learn();
            self.value = value;
            self.run = 1;
            self.odd = 0.0;
        }
        if self.value == 0.0 || self.runs < WARMUP || self.odd > ACCEPTED {
            return 0.0;
        }
        let said = f64::from(self.run) / (USUAL * self.usual).max(LONGEST * self.longest);
        if said >= 1.0 {
            self.odd += passed;
        }
        said
    }

    /// The run is over.
    fn learn(&mut self) {
        if self.run == 0 || self.value == 0.0 {
            return;
        }
        let run = f64::from(self.run);
        self.runs = self.runs.saturating_add(1);
        self.usual += (run - self.usual) / f64::from(self.runs.min(MEAN));
        self.longest = self.longest.max(run);
    }
}

crate::snapshot::keep_fields!(Stuck { value, run, odd, runs, usual, longest });

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: f64 = 10.0;

    fn run(stuck: &mut Stuck, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        values.into_iter().map(|value| stuck.step(WINDOW, value)).collect()
    }

    /// Values that never are the same twice running.
    fn lively(count: u32) -> impl Iterator<Item = f64> {
        (0..count).map(|i| 40.0 + f64::from(i * 7 % 11) / 3.0)
    }

    /// After how many of the same values it is odd, if within `most`.
    fn odd_after(stuck: &Stuck, value: f64, most: usize) -> Option<usize> {
        let said = run(&mut stuck.clone(), std::iter::repeat_n(value, most));
        said.iter().position(|&said| said >= 1.0).map(|at| at + 1)
    }

    #[test]
    fn a_lively_sensor_is_stuck_after_thirty_values_and_more_so_the_longer() {
        let mut stuck = Stuck::default();
        assert!(run(&mut stuck, lively(1_000)).iter().all(|&said| said < 0.1));
        assert_eq!(odd_after(&stuck, 41.5, 100), Some(30));
        let said = run(&mut stuck, std::iter::repeat_n(41.5, 360));
        assert!((said[359] - 12.0).abs() < 1e-9, "{}", said[359]);
    }

    #[test]
    fn it_warms_up() {
        let mut stuck = Stuck::default();
        run(&mut stuck, lively(WARMUP));
        // the last one is still going on
        assert_eq!(odd_after(&stuck, 47.7, 1), None);
        let mut early = Stuck::default();
        run(&mut early, lively(WARMUP - 1));
        assert_eq!(odd_after(&early, early.value, 10_000), None);
    }

    #[test]
    fn what_stands_still_often_has_to_do_so_for_longer() {
        let mut stuck = Stuck::default();
        // each value ten times
        run(&mut stuck, (0..5_000_u32).map(|i| f64::from(i / 10 * 7 % 11) + 1.0));
        assert_eq!(odd_after(&stuck, 77.0, 1_000), Some(300));
    }

    #[test]
    fn a_night_is_known_after_the_first_one_and_fades_in_weeks() {
        let mut stuck = Stuck::default();
        let day = || lively(5_760).chain(std::iter::repeat_n(3.0, 2_880));
        let first = run(&mut stuck, day());
        assert!(first.iter().any(|&said| said >= 1.0), "the first one is odd");
        for night in 1..10 {
            assert!(run(&mut stuck, day()).iter().all(|&said| said < 1.0), "night {night}");
        }
        run(&mut stuck, lively(8_640 * 28));
        let after = odd_after(&stuck, 3.0, 8_640).unwrap();
        assert!((3_000..3_300).contains(&after), "three nights to a third: {after}");
    }

    #[test]
    fn after_a_day_it_is_how_it_is() {
        let mut stuck = Stuck::default();
        run(&mut stuck, lively(1_000));
        let said = run(&mut stuck, std::iter::repeat_n(41.5, 20_000));
        let odd = said.iter().filter(|&&said| said >= 1.0).count();
        assert!((8_640..8_643).contains(&odd), "{odd} windows");
        assert_eq!(said[19_999], 0.0);
    }

    #[test]
    fn zeros_are_rest() {
        let mut stuck = Stuck::default();
        run(&mut stuck, lively(1_000));
        assert_eq!(odd_after(&stuck, 0.0, 100_000), None);
        assert_eq!(odd_after(&stuck, 41.5, 100), Some(30), "and teach nothing");
    }

    #[test]
    fn what_is_set_now_and_then_says_nothing() {
        let mut stuck = Stuck::default();
        // a limit that is raised every five hours
        let said = run(&mut stuck, (0..200_000_u32).map(|i| f64::from(i / 1_800)));
        assert!(said.iter().all(|&said| said < 1.0));
    }

    #[test]
    fn the_mean_of_the_same_samples_is_the_same() {
        let mut stuck = Stuck::default();
        run(&mut stuck, lively(1_000));
        let mean = |count: u32| (0..count).map(|_| 0.1).sum::<f64>() / f64::from(count);
        let said = run(&mut stuck, (0..40).map(|i| mean(3 + i % 4)));
        assert!(said[39] > 1.0, "{said:?}");
    }
}
