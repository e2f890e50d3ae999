//! Whether a limit that comes nearer is worth telling: what a forecast has to know besides the course.
//!
//! In: minute by minute the course, how far the limit is, whether the alert fires. Out: whether the condition of the alert
//! holds. Invariant: what is not known changes nothing: it neither fires nor ends what fires.
//!
//! Daily cycles and rotated logs climb as straight as a disk that fills up, and turn. Where a series has turned by itself is
//! kept in mind: below that it is not spoken of again.

use super::{Ask, Course};

/// A climb matters if it is this part of what was left of the way at its top.
const MATTERS: f64 = 0.25;
/// A turn within this part of its climb before the limit is none: somebody has tidied up.
const CLEAR: f64 = 0.25;
/// A climb is so many times the usual distance of a minute from its line.
const NOISE: f64 = 4.0;
/// A turn of its own counts for two; one while the alert fires, which somebody may have answered, for one.
const KNOWN: u8 = 2;
/// Turns are kept in mind for eight days.
const MEMORY_MS: i64 = 8 * 86_400_000;

/// What a forecast keeps of one series.
#[derive(Debug, Clone)]
pub struct Outlook {
    /// The largest and then the smallest distance to the limit since it last turned.
    high: f64,
    low: f64,
    /// The noise when it was nearest: a step that follows makes what is usual large.
    noise: f64,
    /// The smallest distance at which it turned, when, and what turns count for.
    turned: f64,
    turned_at: i64,
    turns: u8,
    /// Whether the condition holds.
    holds: bool,
}

impl Default for Outlook {
    fn default() -> Self {
        Self {
            high: f64::NEG_INFINITY,
            low: f64::INFINITY,
            noise: 0.0,
            turned: f64::INFINITY,
            turned_at: 0,
            turns: 0,
            holds: false,
        }
    }
}

/// A minute of a series.
#[derive(Debug, Clone, Copy)]
pub struct Minute {
    /// When it was over, milliseconds since 1970.
    pub end_ms: i64,
    pub mean: f64,
    /// [`super::Trend::noise`]
    pub noise: f64,
    /// Whether the alert fires.
    pub firing: bool,
}

impl Outlook {
    /// Whether the condition holds, as of the last minute.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Takes a minute.
    pub fn step(&mut self, ask: Ask, course: Option<&Course>, minute: Minute) {
        let gap = ask.gap(minute.mean);
        let fell_back = self.turn(gap, minute);
        let soon = course.and_then(|course| soon(ask, course, minute.firing));
        self.holds = if minute.firing {
            !fell_back && soon.unwrap_or(self.holds)
        } else {
            soon == Some(true) && !self.turns_before(gap, minute.end_ms)
        };
    }

    /// An alert that was said goes on until it is known to be over.
    pub fn go_on(&mut self) {
        self.holds = true;
    }

    /// Follows the way to the limit and back. Tells whether it came back so far that nothing foretold is true any more.
    fn turn(&mut self, gap: f64, minute: Minute) -> bool {
        if gap <= self.low {
            (self.low, self.noise) = (gap, minute.noise);
        }
        let (climb, back) = (self.high - self.low, gap - self.low);
        let matters = climb >= MATTERS * self.low && climb > NOISE * self.noise;
        let has_turned = matters && back >= climb / 2.0;
        let fell_back = matters && back >= (climb / 2.0).min(self.low.max(climb / 8.0));
        if has_turned && self.low >= CLEAR * climb {
            self.remember(minute);
        }
        if has_turned || gap > self.high {
            (self.high, self.low, self.noise) = (gap, gap, minute.noise);
        }
        fell_back
    }

    fn remember(&mut self, minute: Minute) {
        if minute.end_ms - self.turned_at > MEMORY_MS {
            (self.turned, self.turns) = (f64::INFINITY, 0);
        }
        self.turned = self.turned.min(self.low);
        self.turned_at = minute.end_ms;
        self.turns = self.turns.saturating_add(if minute.firing { 1 } else { KNOWN });
    }

    fn turns_before(&self, gap: f64, now: i64) -> bool {
        self.turns >= KNOWN && now - self.turned_at <= MEMORY_MS && gap > self.turned
    }
}

/// Whether the limit is reached in time; `None` when nobody can tell.
fn soon(ask: Ask, course: &Course, firing: bool) -> Option<bool> {
    if ask.gap(course.level()) <= 0.0 {
        // what is beyond already is not foretold
        return Some(firing);
    }
    if course.until(ask).is_some_and(|reach| course.is_sure(reach.likely_ms)) {
        return Some(true);
    }
    course.is_far(ask).then_some(false)
}

crate::snapshot::keep_fields!(Outlook { high, low, noise, turned, turned_at, turns, holds });
