//! Axes: how far a scale goes and where its ticks stand. In: extents and pixels. Out: domains and ticks. Pure; the rules of
//! the pages (`web/src/charts/ticks.ts`), with more ticks where there is more room.
//!
//! Keeps: ticks are 1, 2 or 5 times a power of ten of the axis' own unit, or round times in UTC; labels never meet.

use super::words::{Unit, clock, clock_short, day};
use crate::params::{DAY, HOUR, MINUTE, SECOND};

/// Pixels between two ticks of time, at least.
const X_GAP: f64 = 74.0;

/// Pixels between two ticks of value: at least, and about.
const Y_GAP: f64 = 34.0;
const Y_ROOM: f64 = 45.0;

const LADDER: [i64; 24] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
    364 * DAY,
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeTick {
    pub(super) at: i64,
    pub(super) label: String,
    /// A midnight among times of day.
    pub(super) is_day: bool,
}

/// Ticks on round times; a midnight carries its date.
pub(super) fn time_ticks(from: i64, to: i64, width: f64) -> Vec<TimeTick> {
    let span = (to - from).max(1) as f64;
    let fits = |every: i64| every as f64 / span * width >= X_GAP;
    let every = LADDER.into_iter().find(|&every| fits(every)).unwrap_or(LADDER[LADDER.len() - 1]);
    let first = (from + every - 1).div_euclid(every) * every;
    let ticks = (0..).map(|i| first + i * every).take_while(|&at| at <= to);
    let tick = |at: i64| {
        let write = if at % DAY == 0 {
            day
        } else if every < MINUTE {
            clock
        } else {
            clock_short
        };
        TimeTick { at, label: write(at), is_day: at % DAY == 0 && every < DAY }
    };
    ticks.map(tick).collect()
}

/// A scale of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) is_log: bool,
}

impl Scale {
    /// From zero, percent to 100 at most, logarithmic where the values pass two decades and none is zero.
    pub(super) fn of(values: impl IntoIterator<Item = f64>, unit: Unit) -> Self {
        let (mut min, mut max, mut positive) = (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY);
        let mut is_above_zero = true;
        for value in values {
            (min, max) = (min.min(value), max.max(value));
            is_above_zero &= value > 0.0;
            if value > 0.0 {
                positive = positive.min(value);
            }
        }
        let least_top = if unit == Unit::Percent { 5.0 } else { 0.0 };
        if min > max {
            return Self { low: 0.0, high: if unit == Unit::Percent { 100.0 } else { 1.0 }, is_log: false };
        }
        if is_above_zero && max / positive > 100.0 {
            let low = 10_f64.powf(positive.log10().floor());
            return Self { low, high: (max * 1.6).min(f64::MAX), is_log: true };
        }
        let low = (min * 1.08).clamp(f64::MIN, 0.0);
        let mut high = (max * 1.12).clamp(least_top, f64::MAX);
        if unit == Unit::Percent && max <= 100.0 {
            high = high.min(100.0);
        }
        Self { low, high: if high > low { high } else { low + 1.0 }, is_log: false }
    }

    /// The share of the height at which a value stands, from the base: 0 to 1 within the scale.
    pub(super) fn share(&self, value: f64) -> f64 {
        if !self.is_log {
            // halves first: the whole span of two large numbers may be too large for a number
            return (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        }
        let low = self.low.log10();
        if value <= self.low { 0.0 } else { (value.log10() - low) / (self.high.log10() - low) }
    }

    /// Labelled values for so many pixels; `divisor` is that of the axis' unit. Zero at the base is the base line and
    /// needs no label.
    pub(super) fn ticks(&self, divisor: f64, height: f64) -> Vec<f64> {
        let most = most_ticks(height);
        if self.is_log {
            return self.decades(divisor, most);
        }
        let (low, high) = (self.low / divisor, self.high / divisor);
        let mut best: Vec<f64> = Vec::new();
        let wanted = ((height / Y_ROOM) as usize).clamp(2, 8);
        for count in [0, 1, -1, 2, 3, -2].map(|more| wanted.saturating_add_signed(more).max(1)) {
            let mut ticks = nice(low, high, count);
            ticks.retain(|tick| *tick != 0.0 || self.low < 0.0);
            if (2..=most).contains(&ticks.len()) {
                best = ticks;
                break;
            }
            if best.is_empty() || (!ticks.is_empty() && ticks.len() < best.len()) {
                best = ticks;
            }
        }
        let first = best.len().saturating_sub(most);
        best.drain(..first);
        best.into_iter().map(|tick| tick * divisor).collect()
    }

    /// Decades of the axis' own unit: a round number of bytes is no round number of GiB.
    fn decades(&self, divisor: f64, most: usize) -> Vec<f64> {
        let first = (self.low / divisor).log10().floor() as i32;
        let last = (self.high / divisor).log10().ceil() as i32;
        let decades = (first..=last).map(|power| 10_f64.powi(power) * divisor);
        let inside: Vec<f64> =
            decades.filter(|value| *value > self.low * 1.01 && *value <= self.high).collect();
        let every = inside.len().div_ceil(most).max(1);
        // the largest is kept, and then every so many
        let skipped = inside.len().saturating_sub(1) % every;
        inside.into_iter().skip(skipped).step_by(every).collect()
    }
}

fn most_ticks(height: f64) -> usize {
    ((height / Y_GAP) as usize).clamp(2, 10)
}

/// About `count` values at 1, 2 or 5 times a power of ten, all there are from `low` to `high`.
fn nice(low: f64, high: f64, count: usize) -> Vec<f64> {
    let raw = (high - low) / count as f64;
    if !raw.is_normal() || raw <= 0.0 {
        return Vec::new();
    }
    let exponent = raw.log10().floor() as i32;
    let error = raw / 10_f64.powi(exponent);
    let factor = match error {
        e if e >= 50_f64.sqrt() => 10.0,
        e if e >= 10_f64.sqrt() => 5.0,
        e if e >= 2_f64.sqrt() => 2.0,
        _ => 1.0,
    };
    // whole multiples of a power of ten, so that 0.3 is not 0.30000000000000004
    let at = |i: f64| match exponent {
        e if e < 0 => i * factor / 10_f64.powi(-e),
        e => i * factor * 10_f64.powi(e),
    };
    let step = at(1.0);
    if !step.is_normal() {
        return Vec::new();
    }
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let more = last - first;
    if more.is_nan() || more > 100.0 {
        return Vec::new();
    }
    (0..=more.max(-1.0) as i64).map(|i| at(first + i as f64)).collect()
}

#[cfg(test)]
mod tests;
