//! Which windows make up a step. In: the step that is asked for, and what is kept of each tier. Out: the tier to read, and
//! a step that its windows make up. Pure.

use std::time::Duration;

use tidewatch_store::Tier;

use crate::{app::Directory, params::Range};

/// How long it is good for what is kept: partitions come and go by the day.
pub(super) const GOOD_FOR: Duration = Duration::from_mins(1);

/// From when on each tier has windows.
#[derive(Debug)]
pub(super) struct Kept {
    from: [i64; 4],
    /// Nobody has sent anything before.
    first_seen: i64,
}

impl Kept {
    /// `from` in the order of the tiers; one without has nothing.
    pub(super) fn new(from: [Option<i64>; 4], directory: &Directory) -> Self {
        Self {
            from: from.map(|first| first.unwrap_or(i64::MAX)),
            first_seen: directory.servers.iter().map(|server| server.first_seen_ms).min().unwrap_or(i64::MAX),
        }
    }

    fn of(&self, tier: Tier) -> i64 {
        self.from[tier as usize]
    }

    /// The longest windows that make up the step, or the next longer ones that reach back to the range's begin; when none
    /// do, those that reach furthest. The step becomes a multiple of them.
    pub(super) fn fit(&self, step: i64, range: Range) -> (i64, Tier) {
        let wanted = Tier::of_step(step);
        // nothing is missing before the first sample of all
        let from = range.from.max(self.first_seen);
        let reaches = |tier: &Tier| self.of(*tier) <= from;
        let longer = || Tier::ALL.into_iter().filter(|tier| *tier >= wanted);
        let found = longer().find(reaches).or_else(|| longer().min_by_key(|tier| self.of(*tier)));
        let tier = found.unwrap_or(wanted);
        let unit = tier.window_ms();
        ((step + unit - 1).div_euclid(unit) * unit, tier)
    }
}
