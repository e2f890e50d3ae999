//! The course of one incident of a server: which series moved, when each of them did first, and when that is worth saying
//! again.
//!
//! In: window by window the series that stick out, and how far the server does. Out: the movers in the order of time, and
//! whether to say it again. Invariant: a function of the windows alone; it says itself again after a pause at the earliest.

use tidewatch_schemas::Series;

use super::{Odd, Record, Window, words};
use crate::detect::{Band, Oddness};

/// Series that are remembered of one incident.
const MOST: usize = 64;
/// What moved earlier than that before the alert began is another story.
const AHEAD_MS: i64 = 300_000;
/// A series that came back for so long, while nothing fires, has not moved any more.
const BACK_MS: i64 = 60_000;
/// Between two sayings.
const PAUSE_MS: i64 = 300_000;
/// It is worth it when so many times as many series moved, and so many more at least ...
const JOINED: usize = 2;
const JOINED_LEAST: usize = 3;
/// ... or when the server sticks out so many times as far.
const LOUDER: f64 = 2.0;

/// A series that moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Mover {
    pub series: Series,
    /// Start of the first window in which it stuck out.
    pub at: i64,
    /// Start of the last one.
    seen: i64,
    /// As it was when it stuck out most, and when that was.
    pub value: f64,
    pub band: Band,
    pub size: f64,
    pub score: f64,
    /// In which way it was odd within its band, if it was.
    oddness: Oddness,
    peak_at: i64,
    /// What was known of it before.
    before: Record,
}

impl Mover {
    /// How rare its value is in its own history.
    pub fn rarity(&self) -> Option<String> {
        if self.score < 1.0 {
            return None;
        }
        // within its band an error is not what is rare
        if self.oddness != Oddness::Loud {
            return self.before.extreme(self.value, self.peak_at);
        }
        self.before.rarity(self.value, self.peak_at)
    }

    /// In which way it is odd, where its value and its band do not show it.
    pub fn novelty(&self) -> Option<&'static str> {
        (self.oddness != Oddness::Loud).then(|| words::oddness(self.oddness))
    }
}

/// What was said last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Told {
    /// End of the window after which it was said.
    at: i64,
    movers: usize,
    score: f64,
}

/// Why an alert is said again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Again {
    /// When it was said before.
    pub told_at: i64,
    /// Movers then.
    pub movers: usize,
    /// How many times as far the server sticks out by now.
    pub louder: f64,
    /// How far that is.
    pub score: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    movers: Vec<Mover>,
    told: Option<Told>,
    loudest: f64,
}

impl Course {
    /// A window begins.
    pub fn pass(&mut self, window: Window) {
        if self.told.is_none() && !self.movers.is_empty() {
            self.movers.retain(|mover| window.start - mover.seen <= BACK_MS);
        }
    }

    /// A series that sticks out in this window; `before` is what was known of it until then.
    pub fn note(&mut self, window: Window, odd: &Odd<'_>, before: Record) {
        let known = self.movers.iter_mut().find(|mover| {
            mover.series.metric == odd.series.metric && mover.series.labels == odd.series.labels
        });
        if let Some(mover) = known {
            mover.seen = window.start;
            if odd.size > mover.size {
                mover.value = odd.value;
                mover.band = odd.band;
                mover.size = odd.size;
                mover.peak_at = window.start;
            }
            mover.score = mover.score.max(odd.score);
            if mover.oddness == Oddness::Loud {
                mover.oddness = odd.oddness;
            }
        } else if self.movers.len() < MOST {
            self.movers.push(Mover {
                series: odd.series.clone(),
                at: window.start,
                seen: window.start,
                value: odd.value,
                band: odd.band,
                size: odd.size,
                score: odd.score,
                oddness: odd.oddness,
                peak_at: window.start,
                before,
            });
        }
    }

    /// An alert begins with this window.
    pub fn begin(&mut self, window: Window, score: f64) {
        self.movers.retain(|mover| mover.at >= window.start - AHEAD_MS);
        self.loudest = score;
        self.told = Some(Told { at: window.end, movers: self.movers.len(), score });
    }

    /// Whether the alert is worth saying again; `raw` is how far the server sticks out in this window.
    pub fn again(&mut self, window: Window, raw: f64) -> Option<Again> {
        let told = self.told?;
        self.loudest = self.loudest.max(raw);
        let movers = self.movers.len();
        let joined = movers >= (told.movers * JOINED).max(told.movers + JOINED_LEAST);
        let louder = self.loudest / told.score.max(1.0);
        if window.end - told.at < PAUSE_MS || !(joined || louder >= LOUDER) {
            return None;
        }
        self.told = Some(Told { at: window.end, movers, score: self.loudest });
        Some(Again { told_at: told.at, movers: told.movers, louder, score: self.loudest })
    }

    /// The alert could not be said: it is going to begin anew.
    pub fn wait(&mut self) {
        self.told = None;
    }

    /// The alert is over.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// What was really said takes the place of what a silent replay found: `said` is when the alert was said last, if the
    /// replay knows how that alert began.
    pub fn reconcile(&mut self, said: Option<i64>) {
        let Some(told) = &mut self.told else { return };
        match said {
            Some(at) => told.at = told.at.max(at),
            None => self.end(),
        }
    }

    /// The first mover first.
    pub fn movers(&self) -> &[Mover] {
        &self.movers
    }

    pub(crate) fn bytes(&self) -> usize {
        self.movers.capacity() * size_of::<Mover>()
    }
}

crate::snapshot::keep_fields!(Mover { series, at, seen, value, band, size, score, oddness, peak_at, before });
crate::snapshot::keep_fields!(Told { at, movers, score });
crate::snapshot::keep_fields!(Course { movers, told, loudest });

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 10_000;

    fn window(number: i64) -> Window {
        Window { start: number * WINDOW, end: (number + 1) * WINDOW }
    }

    fn note(course: &mut Course, number: i64, name: &str, size: f64) {
        let series = Series::gauge(name, "");
        let band = Band { expected: 1.0, low: 0.0, high: 2.0 };
        let odd = Odd { series: &series, value: size, band, size, score: size / 4.5, oddness: Oddness::Loud };
        course.note(window(number), &odd, Record::default());
    }

    fn names(course: &Course) -> Vec<(&str, i64)> {
        course.movers().iter().map(|mover| (mover.series.metric.as_str(), mover.at / WINDOW)).collect()
    }

    #[test]
    fn the_first_mover_is_the_one_that_moved_first_not_the_loudest() {
        let mut course = Course::default();
        for number in 0..4 {
            course.pass(window(number));
            note(&mut course, number, "disk", 5.0);
            if number >= 2 {
                note(&mut course, number, "cpu", 50.0 + number as f64);
            }
        }
        course.begin(window(3), 1.2);
        assert_eq!(names(&course), [("disk", 0), ("cpu", 2)]);
        assert_eq!(course.movers()[1].value, 53.0, "as it was when it stuck out most");
    }

    #[test]
    fn what_came_back_or_moved_long_before_is_another_story() {
        let mut course = Course::default();
        note(&mut course, 0, "once", 5.0);
        for number in 1..40 {
            course.pass(window(number));
            note(&mut course, number, "always", 5.0);
        }
        note(&mut course, 39, "now", 5.0);
        assert_eq!(names(&course), [("always", 1), ("now", 39)]);
        course.begin(window(39), 1.0);
        assert_eq!(
            names(&course),
            [("now", 39)],
            "of what has been odd for longer than five minutes nothing is new"
        );
    }

    #[test]
    fn it_is_said_again_when_twice_as_many_moved_and_not_sooner_than_after_a_pause() {
        let mut course = Course::default();
        note(&mut course, 0, "a", 5.0);
        note(&mut course, 0, "b", 5.0);
        course.begin(window(0), 1.2);
        for (number, name) in [(1, "c"), (2, "d")] {
            note(&mut course, number, name, 5.0);
        }
        assert_eq!(course.again(window(40), 1.2), None, "two more are not enough");
        note(&mut course, 5, "e", 5.0);
        assert_eq!(course.again(window(29), 1.2), None, "less than five minutes");
        let again = course.again(window(30), 1.2).unwrap();
        assert_eq!((again.told_at, again.movers), (WINDOW, 2));
        assert_eq!(course.again(window(31), 1.2), None, "once");
        assert_eq!(course.again(window(90), 1.2), None, "nothing new");
    }

    #[test]
    fn it_is_said_again_when_it_got_twice_as_loud_even_for_a_moment() {
        let mut course = Course::default();
        note(&mut course, 0, "a", 5.0);
        course.begin(window(0), 1.2);
        assert_eq!(course.again(window(1), 2.5), None);
        let again = course.again(window(35), 1.0).unwrap();
        assert!((again.louder - 2.5 / 1.2).abs() < 1e-9 && again.score == 2.5);
        assert_eq!(course.again(window(80), 2.4), None);
    }

    #[test]
    fn what_a_replay_does_not_know_is_not_said_again() {
        let begun = || {
            let mut course = Course::default();
            note(&mut course, 0, "a", 5.0);
            course.begin(window(0), 1.2);
            course
        };
        let mut known = begun();
        known.reconcile(Some(WINDOW));
        assert_eq!(known, begun());
        let mut unknown = begun();
        unknown.reconcile(None);
        assert_eq!(unknown, Course::default());
        assert_eq!(unknown.again(window(99), 9.0), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut course = Course::default();
        for number in 0..500 {
            note(&mut course, 0, &format!("m{number}"), 5.0);
        }
        assert_eq!(course.movers().len(), MOST);
    }
}
