//! Novelty of one series: how rare is what happens now, in this series' own past.
//!
//! ```text
//! value ─┬─ far from all it was ─────────── tail ─┐
//!        ├─ off for this hour of the day ── tail ─┤
//!        ├─ off for this hour of the week ─ tail ─┼─ decades of rarity, added up
//!        ├─ flat ────────────────────────── tail ─┤
//!        └─ a shape not seen before ─────── tail ─┘
//! ```
//! In: time and value, oldest first. Out: five rarities, each said before anything is learned from the value. One pass, a
//! fixed size, no allocation, no look-ahead. A series that never moved holds none of it (`still.rs`). Invariant: what is said is a function of the values given so far, to the bit.

mod jump;
mod seasons;
mod shape;
mod solo;
mod still;
mod tail;

use seasons::{Now, Seasons};
use shape::{KEPT, Past};
pub use solo::Solo;
pub(crate) use still::Sleeper;
use tail::Tail;

/// Values before anything is said.
pub const WARMUP: u32 = 150;
/// Kinds of oddness.
pub const KINDS: usize = 5;

/// Values averaged against the hour of the day.
const SMOOTH: u32 = 12;
/// Values within which a peak belongs to the burst before it, by kind.
const GAPS: [u32; KINDS] = [10, 24, 10, 50, 10];
/// What is added to a ratio of spreads: nothing is flatter than this part of the usual.
const FLATTEST: f64 = 0.02;
/// A deviation of nothing.
const LEAST: f64 = 1e-12;
/// Rounding noise: mean excesses below this part of a deviation are none.
const NOISE: f64 = 1e-6;
/// What is larger is taken for this, so that no square overflows.
pub(super) const LARGEST: f64 = 1e100;

/// One way in which a value can be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Far,
    OffHour,
    OffWeek,
    Flat,
    Shape,
}

impl Kind {
    pub const ALL: [Self; KINDS] = [Self::Far, Self::OffHour, Self::OffWeek, Self::Flat, Self::Shape];
}

/// How rare a value is: decades of -log10 of the chance of as much, in the order of [`Kind::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rarity {
    pub decades: [f64; KINDS],
}

impl Rarity {
    /// All kinds together: one event that shows in several ways is rarer than each of them says.
    pub fn sum(&self) -> f64 {
        self.decades.iter().sum()
    }

    /// The kind that says most, if any says something.
    pub fn most(&self) -> Option<Kind> {
        let all = Kind::ALL.into_iter().zip(self.decades).filter(|(_, decades)| *decades > 0.0);
        all.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(kind, _)| kind)
    }
}

/// The state of one series. Values are kept as distances from the first one.
#[derive(Debug, Clone)]
pub struct Novelty {
    tails: [Tail; KINDS],
    past: Past,
    day: Seasons<24>,
    week: Seasons<168>,
    now: Now,
    /// The last residuals against the hour of the day.
    recent: [f64; SMOOTH as usize],
    /// The same against the hour of the week, where that is known from an earlier week.
    recent_by_week: [f64; SMOOTH as usize],
    first: f64,
    mean: f64,
    variance: f64,
    /// Mean of the short standard deviation.
    spread: f64,
    /// Values seen.
    t: u32,
}

impl Default for Novelty {
    fn default() -> Self {
        Self {
            tails: GAPS.map(Tail::new),
            past: Past::default(),
            day: Seasons::default(),
            week: Seasons::default(),
            now: Now::default(),
            recent: [0.0; SMOOTH as usize],
            recent_by_week: [0.0; SMOOTH as usize],
            first: 0.0,
            mean: 0.0,
            variance: 0.0,
            spread: 0.0,
            t: 0,
        }
    }
}

impl Novelty {
    /// Judges a value as the reference does and then learns from it; `None` for one that is not finite.
    pub fn step(&mut self, seconds: f64, value: f64) -> Option<Rarity> {
        self.judge(seconds, value, false)
    }

    /// The same, but what the hour of the week explains is not off for the hour of the day: weekends and nights are rare
    /// among a few days.
    pub fn step_by_week(&mut self, seconds: f64, value: f64) -> Option<Rarity> {
        self.judge(seconds, value, true)
    }

    fn judge(&mut self, seconds: f64, value: f64, by_week: bool) -> Option<Rarity> {
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        if self.t == 0 {
            self.first = value;
        }
        let residuals = self.residuals(seconds, value - self.first, by_week);
        let noise = NOISE * (self.variance.sqrt() + LEAST);
        // ratios have a scale of their own
        let floors = [NOISE, noise, noise, NOISE, noise];
        let mut decades = [0.0; KINDS];
        for (i, tail) in self.tails.iter_mut().enumerate() {
            if self.t >= WARMUP {
                decades[i] = tail.score(residuals[i], self.t, floors[i]);
            }
            if self.t > 0 {
                tail.learn(residuals[i], self.t);
            }
        }
        self.t = self.t.saturating_add(1);
        Some(Rarity { decades })
    }

    /// Whether enough was seen to say anything.
    pub fn is_warm(&self) -> bool {
        self.t >= WARMUP
    }

    /// How odd `x` is in each way, before the baselines learn from it.
    fn residuals(&mut self, seconds: f64, x: f64, by_week: bool) -> [f64; KINDS] {
        let far = self.far(x);
        self.now.is(seconds, self.week.visits());
        let (off_day, off_week) = (self.day.step(seconds, x), self.week.step(seconds, x));
        let place = (self.t % SMOOTH) as usize;
        self.recent[place] = off_day;
        self.recent_by_week[place] = if self.now.knows_week() { off_week } else { off_day };
        let count = self.t.saturating_add(1).min(SMOOTH);
        let smooth = |recent: &[f64]| (recent[..count as usize].iter().sum::<f64>() / f64::from(count)).abs();
        let mut off_hour = smooth(&self.recent);
        if by_week && self.now.knows_week() {
            off_hour = off_hour.min(smooth(&self.recent_by_week));
        }
        let off_week = off_week.abs();
        self.past.push(x);
        let mut room = [0.0; KEPT];
        let values = self.past.unroll(&mut room);
        let spread = shape::spread(values);
        let shape = shape::nearest(values);
        self.spread += (spread - self.spread) / (f64::from(self.t) + 1.0);
        let flat = if self.spread > 0.0 { -(spread / (self.spread + LEAST) + FLATTEST).ln() } else { 0.0 };
        [far, off_hour, off_week, flat, shape]
    }

    /// Distance from the mean of all values before, in their standard deviations.
    fn far(&mut self, x: f64) -> f64 {
        let distance = x - self.mean;
        let far = if self.t > 1 { distance.abs() / (self.variance.sqrt() + LEAST) } else { 0.0 };
        let weight = 1.0 / (f64::from(self.t) + 1.0);
        self.mean += weight * distance;
        self.variance = (1.0 - weight) * (self.variance + weight * distance * distance);
        far
    }
}

crate::snapshot::keep_fields!(Novelty {
    tails,
    past,
    day,
    week,
    now,
    recent,
    recent_by_week,
    first,
    mean,
    variance,
    spread,
    t
});
crate::snapshot::keep_variants!(Kind { 0 = Far, 1 = OffHour, 2 = OffWeek, 3 = Flat, 4 = Shape });

#[cfg(test)]
mod tests;
