//! Since when records have been coming without a break, of whichever server: whether a silence is a server's or everybody's.
//!
//! In: the stamps of all records read, in any order (partitions are replayed one beside the other). Out: the start of the
//! unbroken stretch that reaches up to now. Invariant: a stretch is never said to be longer than it was.

use std::collections::BTreeSet;

/// Stamps are kept to this precision ...
const BEAT_MS: i64 = 5_000;
/// ... for so long.
const KEPT: i64 = 1_800_000 / BEAT_MS;
/// A window of each server comes every ten seconds: more than two of them missing is a break.
const BREAK: i64 = 25_000 / BEAT_MS;

#[derive(Debug, Default)]
pub(super) struct Flow {
    beats: BTreeSet<i64>,
}

impl Flow {
    pub(super) fn beat(&mut self, stamp: i64) {
        let beat = stamp.div_euclid(BEAT_MS);
        if self.beats.insert(beat)
            && let Some(&newest) = self.beats.last()
        {
            self.beats = self.beats.split_off(&(newest - KEPT));
        }
    }

    /// Milliseconds since 1970; `None` when nothing comes right now.
    pub(super) fn since(&self, now: i64) -> Option<i64> {
        let now = now.div_euclid(BEAT_MS);
        let mut since = None;
        let mut after = now;
        // stamps of a clock ahead of ours prove nothing yet
        for &beat in self.beats.range(..=now).rev() {
            if after - beat > BREAK {
                break;
            }
            after = beat;
            since = Some((beat + 1) * BEAT_MS);
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(seconds: impl IntoIterator<Item = i64>) -> Flow {
        let mut flow = Flow::default();
        seconds.into_iter().for_each(|second| flow.beat(second * 1_000));
        flow
    }

    #[test]
    fn a_stretch_reaches_back_to_the_last_break() {
        let beats = (0..20_i64).chain(60..200).filter(|second| second % 10 == 0);
        assert_eq!(flow(beats.clone()).since(205_000), Some(65_000));
        // in whichever order they were read
        assert_eq!(flow(beats.rev()).since(205_000), Some(65_000));
    }

    #[test]
    fn what_stopped_does_not_flow() {
        assert_eq!(flow(0..100).since(200_000), None);
        assert_eq!(flow([]).since(200_000), None);
        assert_eq!(flow([900]).since(200_000), None, "from the future");
    }

    #[test]
    fn half_an_hour_is_kept() {
        let long = flow((0..100_000).step_by(3));
        assert!(long.beats.len() as i64 <= KEPT + 1);
        assert!(100_000_000 - long.since(100_000_000).unwrap() >= 1_790_000);
    }
}
