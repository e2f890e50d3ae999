//! When each server's state is written, and from where on the log is needed.
//!
//! In: which records were taken, where snapshots were written. Out: whose turn it is; the low water. Invariants: every record
//! of a server in memory that its snapshot does not contain lies at or above the low water; whose turn it is when is a
//! matter of the windows' time and of a hash of the name, so servers take turns and a restart does not bring them together.

use std::{collections::BTreeMap, time::Duration};

use twox_hash::XxHash3_64;

use super::Place;

/// Nobody is written more often.
const LEAST_MS: i64 = 1_000;

#[derive(Debug)]
pub(crate) struct Schedule {
    every_ms: i64,
    /// The end of the newest window of any server: one that is silent takes its turn too, or it would hold the log back.
    clock: i64,
    marks: BTreeMap<String, Mark>,
}

/// Where one server stands.
#[derive(Debug)]
struct Mark {
    /// What of its records lies below is in its snapshot, or there is none below.
    from: i64,
    /// The records of its snapshot; 0 = there is none yet.
    pieces: u16,
    /// The turn in which that was written, or in which the server was first seen.
    turn: i64,
    /// How far its turns are ahead of those of others.
    phase: i64,
}

impl Schedule {
    pub(crate) fn new(every: Duration) -> Self {
        let every_ms = (every.as_millis() as i64).max(LEAST_MS);
        Self { every_ms, clock: 0, marks: BTreeMap::new() }
    }

    /// A window of a server was taken.
    pub(crate) fn took(&mut self, server: &str, offset: i64, window_end: i64) {
        self.clock = self.clock.max(window_end);
        if !self.marks.contains_key(server) {
            self.mark(server, offset, 0, self.clock);
        }
    }

    /// A server came back from its snapshot.
    pub(crate) fn restored(&mut self, server: &str, place: Place) {
        self.clock = self.clock.max(place.clock);
        self.mark(server, place.offset, place.pieces, place.clock);
    }

    fn mark(&mut self, server: &str, from: i64, pieces: u16, clock: i64) {
        let phase = (XxHash3_64::oneshot(server.as_bytes()) % self.every_ms as u64) as i64;
        let turn = turn(clock, phase, self.every_ms);
        self.marks.insert(server.to_owned(), Mark { from, pieces, turn, phase });
    }

    /// Whether a record is in its server's snapshot.
    pub(crate) fn contains(&self, server: &str, offset: i64) -> bool {
        self.marks.get(server).is_some_and(|mark| mark.pieces > 0 && offset < mark.from)
    }

    /// Whose turn it is, who has waited for longest first.
    pub(crate) fn due(&self) -> Vec<String> {
        let is_due = |mark: &Mark| turn(self.clock, mark.phase, self.every_ms) > mark.turn;
        let mut due: Vec<_> = self.marks.iter().filter(|(_, mark)| is_due(mark)).collect();
        due.sort_by_key(|(_, mark)| mark.from);
        due.into_iter().map(|(server, _)| server.clone()).collect()
    }

    /// The time of the newest window.
    pub(crate) fn clock(&self) -> i64 {
        self.clock
    }

    /// A snapshot of a server is in the commit; gives how many records the one before had.
    pub(crate) fn written(&mut self, server: &str, offset: i64, pieces: u16) -> u16 {
        let before = self.marks.get(server).map_or(0, |mark| mark.pieces);
        self.mark(server, offset, pieces, self.clock);
        before
    }

    /// Those that are not known any more: each with how many records its snapshot had.
    pub(crate) fn forget(&mut self, is_known: impl Fn(&str) -> bool) -> Vec<(String, u16)> {
        let gone: Vec<String> = self.marks.keys().filter(|server| !is_known(server)).cloned().collect();
        let forgotten = gone.into_iter().map(|server| {
            let pieces = self.marks.remove(&server).map_or(0, |mark| mark.pieces);
            (server, pieces)
        });
        forgotten.collect()
    }

    /// The lowest record that somebody may still need; `next` when nobody does.
    pub(crate) fn low_water(&self, next: i64) -> i64 {
        self.marks.values().map(|mark| mark.from).fold(next, i64::min)
    }

    /// How many servers have a snapshot.
    pub(crate) fn snapshots(&self) -> usize {
        self.marks.values().filter(|mark| mark.pieces > 0).count()
    }
}

/// Which turn it is for one whose turns are ahead by `phase`.
fn turn(clock: i64, phase: i64, every_ms: i64) -> i64 {
    (clock + phase).div_euclid(every_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_795_392_000_000;

    fn names() -> impl Iterator<Item = String> {
        (0..100).map(|number| format!("web-{number}"))
    }

    #[test]
    fn everybody_takes_a_turn_in_ten_minutes_and_never_all_at_once() {
        let mut schedule = Schedule::new(Duration::from_mins(10));
        let mut turns: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for window in 0..360 {
            let end = T0 + window * 10_000;
            // half of them fall silent, and take their turns all the same
            for (offset, name) in
                (window * 100..).zip(names().filter(|name| window < 60 || name.ends_with('1')))
            {
                schedule.took(&name, offset, end);
            }
            let due = schedule.due();
            assert!(due.len() < 10, "{due:?}");
            for name in due {
                schedule.written(&name, window * 100 + 100, 1);
                turns.entry(name).or_default().push(window);
            }
        }
        assert_eq!(turns.len(), 100);
        for (name, turns) in turns {
            assert!(turns.windows(2).all(|pair| pair[1] - pair[0] == 60), "{name}: {turns:?}");
            assert!(turns.len() >= 5, "{name}: {turns:?}");
        }
    }

    #[test]
    fn the_low_water_is_what_somebody_needs() {
        let mut schedule = Schedule::new(Duration::from_mins(10));
        assert_eq!(schedule.low_water(7), 7);
        schedule.took("a", 3, T0);
        schedule.took("b", 5, T0);
        schedule.took("a", 6, T0);
        assert_eq!((schedule.low_water(9), schedule.snapshots()), (3, 0), "neither was ever written");
        assert!(!schedule.contains("a", 2));
        assert_eq!(schedule.written("a", 9, 2), 0);
        assert_eq!((schedule.low_water(9), schedule.snapshots()), (5, 1));
        assert!(schedule.contains("a", 8) && !schedule.contains("a", 9) && !schedule.contains("b", 4));
        assert_eq!(schedule.written("a", 20, 1), 2);
        assert_eq!(schedule.forget(|name| name == "b"), [("a".to_owned(), 1)]);
        assert_eq!(schedule.forget(|name| name == "b"), []);
    }

    #[test]
    fn who_comes_back_keeps_its_turn() {
        let mut before = Schedule::new(Duration::from_mins(10));
        before.took("a", 0, T0);
        before.written("a", 1, 1);
        let mut after = Schedule::new(Duration::from_mins(10));
        after.restored("a", Place { offset: 1, clock: T0, pieces: 1 });
        for second in 0..1_300 {
            before.took("b", 2, T0 + second * 1_000);
            after.took("b", 2, T0 + second * 1_000);
            assert_eq!(before.due(), after.due());
        }
        assert!(after.due().contains(&"a".to_owned()));
    }
}
