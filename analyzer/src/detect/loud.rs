//! Loudness of one series: how large is the forecast error, in this series' own usual large errors, unless errors of
//! that size are habitual here.
//!
//! In: time and value, oldest first. Out: a judgement made before anything is learned from the value. One pass, a fixed
//! size, no look-ahead. Invariant: what is said is a function of the values given so far, to the bit.

/// Values before anything is scored.
pub const WARMUP: u32 = 150;

/// Bins of the daily profile: half hours, interpolated between their centres.
const BINS: usize = 48;
const DAY: f64 = 86_400.0;
/// Gain of the level on top of the profile.
const LEVEL: f64 = 0.1;
/// The level follows at most so many mean absolute errors at once: an outlier does not drag it away.
const CLIP: f64 = 3.0;
/// A profile bin's gain is 1 / min(visits, PROFILE).
const PROFILE: u8 = 50;
/// The usual large error is this quantile of |error| ...
const USUAL: f64 = 0.95;
/// ... or so many root mean square errors, whichever is larger (rules where most errors are zero).
const DEVIATION: f64 = 0.75;
/// Values over which the mean square forgets.
const FORGET: f64 = 30_000.0;
/// Odd from so many usual large errors on ...
pub(super) const LOUD_AT_ONE: f64 = 4.5;
/// ... and from so far above the level that bursts of error cross once in `EVERY` values.
const ABOVE: f64 = 1.75;
const EVERY: f64 = 1_000.0;
/// How fast that level moves, in log units for each crossing.
const STEP: f64 = 0.15;
/// Crossings within so many values are one burst.
const BURST: i64 = 10;
/// Values from which the quantile starts.
const FIRST: usize = 64;
/// So many of them are at the quantile or above it, besides the largest.
const TOP: usize = 3;

/// What is said of one value, before it is learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// |error| in usual large errors; 0 while warming up. The input of [`super::Together`].
    pub size: f64,
    /// 1 or more is odd; 0 while warming up.
    pub score: f64,
    pub expected: f64,
    /// The value at which the score reaches 1 from below; not under 0 for a series that never was.
    pub low: f64,
    /// The value at which the score reaches 1 from above.
    pub high: f64,
    warm: bool,
    negative: bool,
}

impl Judgement {
    /// The same against a bar that stands `times` as high: the band is as much wider. The error is what it was.
    #[must_use]
    pub fn against(self, times: f64) -> Self {
        let reach = (self.high - self.expected) * times;
        let Band { low, high, .. } = Band::around(self.expected, reach, self.negative);
        Self { score: self.score / times, low, high, ..self }
    }

    /// Whether enough had been seen for it to mean something.
    pub fn is_warm(&self) -> bool {
        self.warm
    }

    pub fn band(&self) -> Band {
        Band { expected: self.expected, low: self.low, high: self.high }
    }
}

/// The range a value may be in without being odd.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    pub expected: f64,
    pub low: f64,
    pub high: f64,
}

impl Band {
    /// `negative`: whether the series ever was.
    fn around(expected: f64, reach: f64, negative: bool) -> Self {
        let (low, high) = (expected - reach, expected + reach);
        // what never was below nothing is not expected there: bytes, counts, percentages
        let low = if negative { low } else { low.max(0.0).min(high) };
        Self { expected, low, high }
    }
}

/// The state of one series.
#[derive(Debug, Clone)]
pub struct Loud {
    profile: [f64; BINS],
    /// Counted up to `PROFILE` only.
    visits: [u8; BINS],
    level: f64,
    /// Running mean of |error|, outliers clipped.
    absolute: f64,
    /// Running mean of error^2.
    square: f64,
    /// Running quantile of |error|, and the unit its steps are taken in.
    q: f64,
    unit: f64,
    /// The level that bursts cross once in `EVERY` values.
    bar: f64,
    /// When an error was last above it.
    crossed: i64,
    /// Values seen.
    t: u32,
    /// Of the first `FIRST` errors, those next to the largest, which is `bar` then, in falling order: what the quantile starts from is
    /// among them.
    next: [f64; TOP],
    negative: bool,
}

impl Default for Loud {
    fn default() -> Self {
        Self {
            profile: [0.0; BINS],
            visits: [0; BINS],
            level: 0.0,
            absolute: 0.0,
            square: 0.0,
            q: 0.0,
            unit: 0.0,
            bar: 0.0,
            crossed: -1_000_000_000,
            t: 0,
            next: [0.0; TOP],
            negative: false,
        }
    }
}

/// The two bins around a time of day, and how far it is from the first one's centre.
#[derive(Clone, Copy)]
struct Place {
    a: usize,
    b: usize,
    part: f64,
}

impl Place {
    fn of(seconds: f64) -> Self {
        let phase = seconds.rem_euclid(DAY) / DAY * BINS as f64 - 0.5;
        let floor = phase.floor();
        let low = floor as i64;
        let bins = BINS as i64;
        Self { a: low.rem_euclid(bins) as usize, b: (low + 1).rem_euclid(bins) as usize, part: phase - floor }
    }

    fn nearer(self) -> usize {
        if self.part < 0.5 { self.a } else { self.b }
    }
}

impl Loud {
    /// Judges a value and then learns from it; `None` for one that is not finite.
    pub fn step(&mut self, seconds: f64, value: f64) -> Option<Judgement> {
        if !value.is_finite() {
            return None;
        }
        if self.t == 0 {
            self.level = value;
        }
        let place = Place::of(seconds);
        let error = value - self.level - self.offset(place);
        let e = error.abs();
        let usual = self.usual();
        let least = self.least();
        let warm = self.is_warm();
        let (size, score) = if warm { (e / usual.max(least), e / self.reach()) } else { (0.0, 0.0) };
        let Band { expected, low, high } = self.at(place, 1.0);
        let negative = self.negative;
        self.learn(place, value, error);
        Some(Judgement { size, score, expected, low, high, warm, negative })
    }

    /// Whether enough was seen to say anything.
    pub fn is_warm(&self) -> bool {
        self.t >= WARMUP
    }

    /// The range expected at a time, from what is known now; `None` while warming up.
    pub fn band(&self, seconds: f64) -> Option<Band> {
        self.band_against(seconds, 1.0)
    }

    /// The same when the bar stands `times` as high.
    pub fn band_against(&self, seconds: f64, times: f64) -> Option<Band> {
        self.is_warm().then(|| self.at(Place::of(seconds), times))
    }

    fn at(&self, place: Place, times: f64) -> Band {
        Band::around(self.level + self.offset(place), self.reach() * times, self.negative)
    }

    fn offset(&self, place: Place) -> f64 {
        self.profile[place.a] * (1.0 - place.part) + self.profile[place.b] * place.part
    }

    fn usual(&self) -> f64 {
        self.q.max(DEVIATION * self.square.sqrt())
    }

    /// Rounding noise of a constant series.
    fn least(&self) -> f64 {
        1e-6 * self.level.abs() + 1e-12
    }

    /// The error at which the score is 1.
    fn reach(&self) -> f64 {
        (LOUD_AT_ONE * self.usual()).max(ABOVE * self.bar).max(self.least())
    }

    fn learn(&mut self, place: Place, value: f64, error: f64) {
        let e = error.abs();
        let t = f64::from(self.t);
        self.negative |= value < 0.0;
        self.learn_quantile(e);
        self.square += (1.0 / (t + 1.0)).max(1.0 / FORGET) * (e * e - self.square);
        self.learn_bar(e);
        let limit = if self.t > 50 { 5.0 * self.absolute } else { 1e300 };
        self.absolute += (1.0 / (t + 1.0)).max(0.001) * (e.min(limit) - self.absolute);
        let clip = CLIP * self.absolute;
        self.level += LEVEL * error.max(-clip).min(clip);
        let c = place.nearer();
        self.visits[c] = self.visits[c].saturating_add(1).min(PROFILE);
        // the first visit only says that the bin is known: with it the profile would repeat the level
        if self.visits[c] > 1 {
            self.profile[c] += 1.0 / f64::from(self.visits[c]) * (value - self.level - self.profile[c]);
        }
        self.t = self.t.saturating_add(1);
    }

    fn learn_quantile(&mut self, e: f64) {
        let t = self.t as usize;
        if t < FIRST {
            let next = e.min(self.bar);
            if let Some(place) = self.next.iter().position(|&known| next > known) {
                self.next[place..].rotate_right(1);
                self.next[place] = next;
            }
            if t % 8 == 7 {
                let above = t - ((USUAL * (t + 1) as f64) as usize).min(t);
                self.q = if above == 0 { e.max(self.bar) } else { self.next[above - 1] };
            }
            self.unit = self.q.max(1e-300);
            return;
        }
        // of no more use, and shorter to keep
        self.next = [0.0; TOP];
        let g = (2.0 / (f64::from(self.t) + 1.0)).max(2e-4);
        if e > self.q {
            self.q += g * self.unit * 0.2 * USUAL / (1.0 - USUAL);
        } else {
            self.q = (self.q - g * self.unit * 0.2).max(0.0);
        }
        self.unit += g * (self.q.max(e * (1.0 - USUAL)) - self.unit);
    }

    fn learn_bar(&mut self, e: f64) {
        if !self.is_warm() {
            self.bar = self.bar.max(e);
            return;
        }
        let t = i64::from(self.t);
        if e > self.bar {
            if t - self.crossed > BURST {
                self.bar *= STEP.exp();
            }
            self.crossed = t;
        }
        self.bar = (self.bar * (1.0 - STEP / EVERY)).max(self.absolute);
    }
}

crate::snapshot::keep_fields!(Loud {
    profile,
    visits,
    level,
    absolute,
    square,
    q,
    unit,
    bar,
    crossed,
    t,
    next,
    negative
});
crate::snapshot::keep_fields!(Band { expected, low, high });

#[cfg(test)]
mod tests;
