//! Level and slope of a series now, and when it reaches a limit if it goes on like this.
//!
//! In: a line and the place of now on it. Out: a range that holds the truth in 8 of 10 cases while the line lasts.

use super::Line;
use crate::rules::Side;

/// A slope is sure when it is so many standard errors away from 0.
const SURE: f64 = 5.0;
/// Nobody looks further ahead than so many times what was seen.
const AHEAD: f64 = 4.0;
/// A limit is far when it is reached so many times later than is asked for.
const CLEARLY: f64 = 1.5;
const HOUR_MS: f64 = 3_600_000.0;

/// What is asked of a course: whether it is beyond a limit within a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    pub limit: f64,
    /// Beyond the limit is above or below it.
    pub side: Side,
    pub within_ms: i64,
}

impl Ask {
    /// How far a value is from the limit; 0 or less beyond it.
    pub fn gap(&self, value: f64) -> f64 {
        self.toward() * (self.limit - value)
    }

    fn toward(&self) -> f64 {
        match self.side {
            Side::Above => 1.0,
            Side::Below => -1.0,
        }
    }
}

/// Change an hour: 80 % interval and the likeliest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    pub low: f64,
    pub likely: f64,
    pub high: f64,
}

/// Time from now to a limit, milliseconds: 80 % interval and the likeliest; 0 or less when it is behind us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    pub earliest_ms: i64,
    pub likely_ms: i64,
    pub latest_ms: i64,
}

/// How a series goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    line: Line,
    /// Milliseconds between two points.
    width: f64,
    /// Now, as the number of a point.
    now: f64,
}

impl Course {
    pub(super) fn new(line: Line, width: f64, now: f64) -> Self {
        Self { line, width, now }
    }

    /// The line's value now.
    pub fn level(&self) -> f64 {
        self.line.at(self.now)
    }

    pub fn slope(&self) -> Slope {
        let hourly = HOUR_MS / self.width;
        let (likely, reach) = (self.line.slope * hourly, self.reach() * hourly);
        Slope { low: likely - reach, likely, high: likely + reach }
    }

    /// For how long the series has kept to this line.
    pub fn seen_ms(&self) -> i64 {
        (self.line.span * self.width) as i64
    }

    /// When the limit is reached. `None` when that is not within the time asked for, or when the interval of the slope
    /// holds 0 or points away. The interval is that of the place where the line's confidence band meets the limit (Fieller 1954).
    pub fn until(&self, ask: Ask) -> Option<Reach> {
        let slope = ask.toward() * self.line.slope;
        let doubt = self.line.t * self.line.doubt / slope;
        let certain = 1.0 - doubt * doubt / self.line.sxx;
        if slope <= 0.0 || certain <= 0.0 {
            return None;
        }
        // points from the line's middle to the limit
        let ahead = ask.gap(self.line.level) / slope;
        let spread = doubt * (ahead * ahead / self.line.sxx + certain / self.line.count).sqrt();
        let from_now = |place: f64| (place + self.line.middle - self.now) * self.width;
        let likely = from_now(ahead);
        let (earliest, latest) = (from_now((ahead - spread) / certain), from_now((ahead + spread) / certain));
        (likely <= ask.within_ms as f64 && latest.is_finite()).then_some(Reach {
            earliest_ms: earliest.max(0.0) as i64,
            likely_ms: likely as i64,
            latest_ms: latest as i64,
        })
    }

    /// Whether there is enough evidence to speak of a limit that is reached in so many milliseconds.
    pub fn is_sure(&self, likely_ms: i64) -> bool {
        self.line.slope.abs() > SURE * self.line.slope_error()
            && likely_ms as f64 <= AHEAD * self.line.span * self.width
    }

    /// Whether the limit is clearly not reached within the time asked for.
    pub fn is_far(&self, ask: Ask) -> bool {
        let (gap, within) = (ask.gap(self.level()), ask.within_ms as f64 / self.width);
        let slope = ask.toward() * self.line.slope;
        let beyond = |slope: f64, within: f64| slope <= 0.0 || gap > slope * within;
        gap > 0.0 && beyond(slope + self.reach(), within) && beyond(slope, CLEARLY * within)
    }

    /// Half the 80 % interval of the slope, from point to point.
    fn reach(&self) -> f64 {
        self.line.t * self.line.slope_error()
    }
}
