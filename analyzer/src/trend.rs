//! Where a series is going: its slope with an uncertainty, and when it reaches a limit, as a range (`docs/trends.md`).
//!
//! In: time and value of one series, oldest first. Out: its [`Course`]. One pass, a fixed size, no clock, no look-ahead.
//! Invariant: what is said is a function of the values given so far, to the bit, however they were cut into batches.
//!
//! The state is a picture of the stretch of time in which the series has kept to one line: up to 16 means of equal parts of
//! it, of a minute each at first, twice as long whenever the picture is full. A step begins a new picture; a bend cuts
//! the older half off.

mod course;
mod line;
mod outlook;

pub use course::{Ask, Course, Reach, Slope};
use line::Line;
pub use outlook::{Minute, Outlook};

/// What is told changes once a minute.
const MINUTE_MS: i64 = 60_000;
/// Parts of the picture.
const POINTS: usize = 16;
/// The longest part is 2^5 = 32 minutes: the picture reaches back for four to eight hours at most.
const WIDEST: u8 = 5;
/// A picture of 15 of them, and nobody looks further ahead than four times what was seen: 32 hours.
pub const FURTHEST_MS: i64 = 4 * 15 * 32 * MINUTE_MS;
/// A pause of more than so many minutes, and of more than four parts, begins a new picture.
const PAUSE: i64 = 30;
/// Points from which a course is told.
const ENOUGH: f64 = 8.0;

/// Points from which minutes are held against the line.
const FIRM: u8 = 6;
/// A minute does not fit when it is so many usual distances away from the line.
const FAR: f64 = 6.0;
/// So many in a row are a step; fewer are spikes, which are left out.
const STEP: usize = 3;
/// A step leaves this part of its height in what is usual: a second one like it soon after is nothing new, and a
/// staircase is a slope.
const LEFT: f64 = 0.25;
/// Minutes over which the usual distance forgets.
const MEMORY: u8 = 180;
/// Rounding noise of a constant series.
const LEAST: f64 = 1e-9;

/// Points from which a bend is looked for.
const LONG: u8 = 12;
/// Slopes of both halves that are so many standard errors apart ...
const BEND: f64 = 4.0;
/// ... and differ by this part of the larger one are a bend.
const BENT: f64 = 0.2;

/// The state of one series, 200 bytes.
#[derive(Debug, Clone, Default)]
pub struct Trend {
    /// Means of the parts of the picture, oldest first; not a number where nothing came.
    points: [f64; POINTS],
    /// The minute since 1970 with which the first part begins.
    start: i64,
    /// The minute that is being filled, the mean of its values, how many they are.
    minute: i64,
    mean: f64,
    values: u32,
    /// The part that is being filled: the mean of its minutes, how many they are.
    part: f64,
    minutes: u8,
    /// Minutes in a row that do not fit.
    held: [f64; STEP - 1],
    odd: u8,
    /// Mean distance of a minute from the line, and over how many minutes it was taken.
    usual: f64,
    learned: u8,
    /// How many of `points` there are, and their length: 2^level minutes.
    n: u8,
    level: u8,
}

impl Trend {
    /// Takes a value. When it begins a minute, gives the mean of the one that ended, unless that one does not fit the line
    /// and the next have to show why; what is told changes only then. Values that are not finite, or of a minute that is
    /// over, are passed over.
    pub fn step(&mut self, at_ms: i64, value: f64) -> Option<f64> {
        let minute = at_ms.div_euclid(MINUTE_MS);
        if !value.is_finite() || (self.values > 0 && minute < self.minute) {
            return None;
        }
        if self.values > 0 && minute == self.minute {
            self.values = self.values.saturating_add(1);
            self.mean += (value - self.mean) / f64::from(self.values);
            return None;
        }
        let mut ended = None;
        if self.values > 0 && self.mean.is_finite() {
            self.take(self.minute, self.mean);
            ended = (self.odd == 0).then_some(self.mean);
        }
        if minute - self.minute > PAUSE.max(4_i64 << self.level) {
            self.forget();
        }
        (self.minute, self.mean, self.values) = (minute, value, 1);
        ended
    }

    /// Level and slope now; `None` while too little is known.
    pub fn course(&self) -> Option<Course> {
        let line = self.line().filter(|line| line.count >= ENOUGH)?;
        let now = (self.minute - self.start) as f64 / self.width() - 0.5;
        Some(Course::new(line, self.width() * MINUTE_MS as f64, now))
    }

    /// How far a minute usually is from the line.
    pub fn noise(&self) -> f64 {
        self.usual
    }

    fn take(&mut self, minute: i64, mean: f64) {
        if self.n == 0 && self.minutes == 0 {
            self.begin(minute);
        }
        if let Some(line) = self.line() {
            let middle = (minute - self.start) as f64 + 0.5;
            let x = middle / self.width() - 0.5;
            let expected = line.at(x);
            let distance = (mean - expected).abs();
            let usual = self.usual.max(LEAST * mean.abs()) + line.error_at(x);
            // one that is not a number does not fit either
            let fits = distance <= FAR * usual;
            if self.n >= FIRM && !fits {
                self.hold(minute, mean, expected);
                return;
            }
            self.learn(distance);
        }
        self.odd = 0;
        self.add(minute, mean);
    }

    fn line(&self) -> Option<Line> {
        Line::through(&self.points[..usize::from(self.n)])
    }

    /// Minutes in a part.
    fn width(&self) -> f64 {
        f64::from(1_u32 << self.level)
    }

    fn learn(&mut self, distance: f64) {
        self.learned = self.learned.saturating_add(1).min(MEMORY);
        let usual = self.usual + (distance - self.usual) / f64::from(self.learned);
        if usual.is_finite() {
            self.usual = usual;
        }
    }

    /// Puts a minute that does not fit aside; with the last of a row the picture begins anew.
    fn hold(&mut self, minute: i64, mean: f64, expected: f64) {
        if let Some(free) = self.held.get_mut(usize::from(self.odd)) {
            *free = mean;
            self.odd += 1;
            return;
        }
        let held = self.held;
        let step =
            held.iter().chain([&mean]).map(|value| f64::abs(value - expected)).fold(f64::MAX, f64::min);
        self.usual = self.usual.max(LEFT * step);
        let first = minute - held.len() as i64;
        self.begin(first);
        for (minute, mean) in (first..).zip(held.into_iter().chain([mean])) {
            self.add(minute, mean);
        }
    }

    fn begin(&mut self, minute: i64) {
        self.forget();
        self.start = minute;
    }

    fn forget(&mut self) {
        (self.n, self.level, self.part, self.minutes, self.odd) = (0, 0, 0.0, 0, 0);
    }

    fn add(&mut self, minute: i64, mean: f64) {
        while (minute - self.start) >> self.level > i64::from(self.n) {
            self.close_part();
        }
        self.minutes = self.minutes.saturating_add(1);
        self.part += (mean - self.part) / f64::from(self.minutes);
    }

    fn close_part(&mut self) {
        let part = if self.minutes > 0 { self.part } else { f64::NAN };
        (self.part, self.minutes) = (0.0, 0);
        if let Some(free) = self.points.get_mut(usize::from(self.n)) {
            *free = part;
            self.n += 1;
        }
        if usize::from(self.n) == POINTS {
            if self.level < WIDEST {
                self.join_pairs();
            } else {
                self.drop_oldest(1);
            }
        }
        if self.n >= LONG && self.is_bent() {
            self.drop_oldest(self.n / 2);
        }
    }

    fn join_pairs(&mut self) {
        for i in 0..POINTS / 2 {
            let (a, b) = (self.points[2 * i], self.points[2 * i + 1]);
            self.points[i] = match (a.is_finite(), b.is_finite()) {
                (true, true) => f64::midpoint(a, b),
                (true, false) => a,
                _ => b,
            };
        }
        self.n /= 2;
        self.level += 1;
    }

    fn drop_oldest(&mut self, count: u8) {
        self.points.copy_within(usize::from(count)..usize::from(self.n), 0);
        self.n -= count;
        self.start += i64::from(count) << self.level;
    }

    /// Whether the two halves of the picture do not lie on one line.
    fn is_bent(&self) -> bool {
        let (older, newer) = self.points[..usize::from(self.n)].split_at(usize::from(self.n / 2));
        let (Some(older), Some(newer)) = (Line::through(older), Line::through(newer)) else { return false };
        let apart = (newer.slope - older.slope).abs();
        apart > BEND * older.slope_error().hypot(newer.slope_error())
            && apart > BENT * newer.slope.abs().max(older.slope.abs())
    }
}

crate::snapshot::keep_fields!(Trend {
    points,
    start,
    minute,
    mean,
    values,
    part,
    minutes,
    held,
    odd,
    usual,
    learned,
    n,
    level,
});

#[cfg(test)]
mod tests;
