//! What is usual at an hour of the day or of the week.
//!
//! In: a time, a value. Out: how far the value is from what this hour was. Keeps: the level of an hour is the mean of its
//! first values and then follows the later ones; an hour that was never seen has no residual.

use crate::snapshot::Keep;

const HOUR: f64 = 3_600.0;
/// Values of an hour that count alike; from then on each new one has a tenth of the weight.
const ALIKE: u8 = 10;

/// `HOURS` is 24 for the day, 168 for the week.
#[derive(Debug, Clone)]
pub(super) struct Seasons<const HOURS: usize> {
    levels: [f32; HOURS],
    /// Counted up to `ALIKE` only.
    visits: [u8; HOURS],
}

impl<const HOURS: usize> Default for Seasons<HOURS> {
    fn default() -> Self {
        Self { levels: [0.0; HOURS], visits: [0; HOURS] }
    }
}

fn hour_of<const HOURS: usize>(seconds: f64) -> usize {
    // the remainder of a time just before zero may be rounded up to a whole round
    ((seconds / HOUR).rem_euclid(HOURS as f64) as usize).min(HOURS - 1)
}

/// Counts a value of this time; gives its hour.
pub(super) fn visit<const HOURS: usize>(visits: &mut [u8; HOURS], seconds: f64) -> usize {
    let hour = hour_of::<HOURS>(seconds);
    visits[hour] = (visits[hour] + 1).min(ALIKE);
    hour
}

/// The hour it is, and whether this hour of the week was seen in an earlier week.
#[derive(Debug, Clone, Default)]
pub(super) struct Now {
    /// Counted from 1970.
    hour: f64,
    knows_week: bool,
}

impl Now {
    /// Before the visit.
    pub(super) fn is(&mut self, seconds: f64, week: &[u8; 168]) {
        let hour = (seconds / HOUR).floor();
        if hour != self.hour {
            self.hour = hour;
            self.knows_week = week[hour_of::<168>(seconds)] > 0;
        }
    }

    pub(super) fn knows_week(&self) -> bool {
        self.knows_week
    }
}

impl<const HOURS: usize> Seasons<HOURS> {
    pub(super) fn visits(&self) -> &[u8; HOURS] {
        &self.visits
    }

    /// What is known of values that were all nothing.
    pub(super) fn of_nothing(visits: [u8; HOURS]) -> Self {
        Self { levels: [0.0; HOURS], visits }
    }

    /// The residual of `x`, which is learned from afterwards.
    pub(super) fn step(&mut self, seconds: f64, x: f64) -> f64 {
        let hour = visit(&mut self.visits, seconds);
        let (level, visits) = (&mut self.levels[hour], self.visits[hour]);
        let before = f64::from(*level);
        let residual = if visits > 1 { x - before } else { 0.0 };
        let after = before + (x - before) / f64::from(visits);
        *level = after.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        residual
    }
}

crate::snapshot::keep_fields!(Now { hour, knows_week });

impl<const HOURS: usize> Keep for Seasons<HOURS> {
    fn keep(&self, out: &mut Vec<u8>) {
        self.levels.keep(out);
        self.visits.keep(out);
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        Some(Self { levels: Keep::recall(from)?, visits: Keep::recall(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_known_from_its_second_value_on() {
        let mut day = Seasons::<24>::default();
        assert_eq!(day.step(3_600.0, 5.0), 0.0);
        assert_eq!(day.step(3_700.0, 7.0), 2.0);
        assert_eq!(day.step(86_400.0 + 3_650.0, 6.0), 0.0, "the mean of both, a day later");
        assert_eq!(day.step(7_200.0, 100.0), 0.0, "another hour");
    }

    #[test]
    fn hours_of_a_week_are_apart_and_times_before_1970_have_theirs() {
        let mut week = Seasons::<168>::default();
        week.step(0.0, 1.0);
        assert_eq!(week.step(86_400.0, 9.0), 0.0);
        assert_eq!(week.step(7.0 * 86_400.0, 2.0), 1.0);
        assert_eq!(week.step(-7.0 * 86_400.0, 2.5), 1.0);
        week.step(-1e-12, 3.0);
        week.step(1e300, 3.0);
        week.step(f64::NAN, 3.0);
    }

    #[test]
    fn an_hour_of_the_week_is_known_from_its_second_week_on() {
        let (mut week, mut now) = (Seasons::<168>::default(), Now::default());
        let mut knows = |seconds: f64| {
            now.is(seconds, week.visits());
            week.step(seconds, 1.0);
            now.knows_week()
        };
        let (begin, a_week) = (1.6e9, 7.0 * 86_400.0);
        for after in [0.0, 300.0, 86_400.0] {
            assert!(!knows(begin + after), "{after}");
        }
        assert!(knows(begin + a_week) && knows(begin + a_week + 300.0));
        assert!(!knows(begin + a_week + 2.0 * 86_400.0), "nothing came at this hour");
    }

    #[test]
    fn a_level_follows_a_change() {
        let mut day = Seasons::<24>::default();
        for _ in 0..1_000 {
            day.step(0.0, 1.0);
        }
        assert_eq!(day.step(0.0, 11.0), 10.0);
        assert!((day.step(0.0, 11.0) - 9.0).abs() < 1e-5);
    }
}
