//! One voice for each episode: what lasts is said once, unless it gets much louder.
//!
//! In: how odd each value or window is, 1 or more is odd. Out: what is said of it. Keeps: every odd one prolongs the episode.

/// Values without an odd one that end an episode.
const QUIET: u32 = 40;
/// Within an episode only something so much louder speaks again.
pub const LOUDER: f64 = 1.4;
/// What a suppressed alert shows instead.
const HUSHED: f64 = 0.99;

#[derive(Debug, Clone)]
pub(super) struct Episode {
    /// What spoke last.
    loudest: f64,
    /// Values since an odd one.
    since: u32,
}

impl Default for Episode {
    fn default() -> Self {
        Self { loudest: 0.0, since: u32::MAX }
    }
}

/// What is said of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Said {
    pub(super) score: f64,
    /// Whether an episode begins with it.
    pub(super) begins: bool,
}

impl Episode {
    pub(super) fn step(&mut self, raw: f64) -> Said {
        self.step_on(raw, false)
    }

    /// `goes_on`: what is odd belongs to the episode before, however long nothing was.
    pub(super) fn step_on(&mut self, raw: f64, goes_on: bool) -> Said {
        self.since = self.since.saturating_add(1);
        if raw < 1.0 {
            return Said { score: raw, begins: false };
        }
        let begins = self.since > QUIET && !goes_on;
        self.since = 0;
        if begins || raw > LOUDER * self.loudest {
            self.loudest = raw;
            Said { score: raw, begins }
        } else {
            Said { score: HUSHED, begins }
        }
    }
}

crate::snapshot::keep_fields!(Episode { loudest, since });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_and_what_gets_louder_again() {
        let mut episode = Episode::default();
        let mut say = |raw| episode.step(raw).score;
        assert_eq!(say(0.5), 0.5);
        assert_eq!(say(2.0), 2.0);
        assert_eq!(say(2.7), HUSHED);
        assert_eq!(say(2.9), 2.9);
        for _ in 0..QUIET - 1 {
            assert_eq!(say(0.0), 0.0);
        }
        assert_eq!(say(1.0), HUSHED, "it goes on");
        for _ in 0..QUIET {
            say(0.0);
        }
        assert_eq!(say(1.0), 1.0, "another one");
    }

    #[test]
    fn what_goes_on_is_no_other_episode_however_long_nothing_was() {
        let mut episode = Episode::default();
        episode.step(2.0);
        for goes_on in [true, false] {
            for _ in 0..QUIET {
                episode.step(0.0);
            }
            let said = episode.step_on(1.5, goes_on);
            let score = if goes_on { HUSHED } else { 1.5 };
            assert_eq!(said, Said { score, begins: !goes_on });
        }
    }

    #[test]
    fn only_the_first_one_begins_an_episode() {
        let mut episode = Episode::default();
        assert!(episode.step(1.0).begins);
        assert!(!episode.step(5.0).begins);
    }
}
