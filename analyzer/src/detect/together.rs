//! Loudness of a server: how far its most surprised series stick out together, against how far they usually do here.
//!
//! In: for each window the size of each series' error (`Judgement::size`). Out: a score; 1 or more is an alert, said
//! once for each episode. Invariant: the score of a window is made before it is learned from.

use super::episode::Episode;
pub use super::episode::LOUDER;

/// Usual large errors from which a series counts as surprised.
pub const FROM: f64 = 1.5;
/// One series' share at most: alone it seldom is an incident of the server.
const SHARE: f64 = 4.5;
/// How many of the most surprised are added up.
pub const MOST: usize = 4;
/// The bar at one value a minute.
const SERVER_AT_ONE: f64 = 3.2;
/// Histogram of the sum.
const LEVELS: usize = 200;
const HIGHEST: f64 = 20.0;
/// Its quantile that is usual at this server, and the least it is taken for.
const HIGH: f64 = 0.99;
const LEAST: f64 = 1.0;
/// Rows after which the histogram's counts are halved.
const HALF: u32 = 20_000;
/// How much higher the bar of a new server stands: what is usual here is known after a day, and until then this comes down
/// evenly.
const NEW: f64 = 1.0;
/// Rows before anything is said.
const QUIET_START: u32 = 2 * super::loud::WARMUP;

/// What is said of one window of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// With the rule of one voice for each episode: 1 or more speaks.
    pub score: f64,
    /// Without it: how odd the window is.
    pub raw: f64,
}

/// The most surprised series of one window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surprise {
    top: [f64; MOST],
    first: usize,
}

impl Surprise {
    /// Adds a series; `size` as [`super::Judgement::size`] has it.
    pub fn add(&mut self, series: usize, size: f64) {
        self.add_against(series, size, 1.0);
    }

    /// The same of a series whose bar stands `times` as high.
    pub fn add_against(&mut self, series: usize, size: f64, times: f64) {
        let share = if size > FROM { (size / FROM).ln().min(SHARE) / times } else { 0.0 };
        if share <= self.top[MOST - 1] {
            return;
        }
        if share > self.top[0] {
            self.first = series;
        }
        let mut k = MOST - 1;
        while k > 0 && self.top[k - 1] < share {
            self.top[k] = self.top[k - 1];
            k -= 1;
        }
        self.top[k] = share;
    }

    /// The most surprised one; 0 when none is.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Whether one is surprised at all.
    pub fn is_any(&self) -> bool {
        self.top[0] > 0.0
    }

    fn sum(&self) -> f64 {
        self.top.iter().sum()
    }
}

/// The state of one server.
#[derive(Debug, Clone)]
pub struct Together {
    bar: f64,
    /// For how many windows the server is new.
    new: f64,
    count: [f64; LEVELS + 1],
    total: f64,
    usual: f64,
    episode: Episode,
    t: u32,
}

impl Together {
    /// `interval` in seconds: fewer windows a day are fewer chances of a false alarm, so the bar goes with the logarithm
    /// of windows a day.
    pub fn new(interval: f64) -> Self {
        Self { new: a_day(interval), ..Self::of_a_known_server(interval) }
    }

    /// The same without the higher bar of the first day, as the reference has it.
    fn of_a_known_server(interval: f64) -> Self {
        Self {
            bar: SERVER_AT_ONE * a_day(interval).ln() / 1_440.0_f64.ln(),
            new: 0.0,
            count: [0.0; LEVELS + 1],
            total: 0.0,
            usual: LEAST,
            episode: Episode::default(),
            t: 0,
        }
    }

    /// Judges a window and then learns from it.
    pub fn step(&mut self, surprise: &Surprise) -> Verdict {
        let sum = surprise.sum();
        let raw = if self.is_warm() { sum / (self.bar() * self.usual.max(LEAST).sqrt()) } else { 0.0 };
        let score = self.episode.step(raw).score;
        self.learn(sum);
        Verdict { score, raw }
    }

    pub fn is_warm(&self) -> bool {
        self.t >= QUIET_START
    }

    fn bar(&self) -> f64 {
        let t = f64::from(self.t);
        let left = if t < self.new { 1.0 - t / self.new } else { 0.0 };
        self.bar * (1.0 + NEW * left)
    }

    fn learn(&mut self, sum: f64) {
        self.count[((sum / HIGHEST * LEVELS as f64) as usize).min(LEVELS)] += 1.0;
        self.total += 1.0;
        if self.t % HALF == HALF - 1 {
            self.count.iter_mut().for_each(|count| *count *= 0.5);
            self.total *= 0.5;
        }
        let need = self.total * (1.0 - HIGH);
        let mut above = 0.0;
        for (level, &count) in self.count.iter().enumerate().rev() {
            if above + count >= need {
                let part = (need - above) / count.max(1e-9);
                self.usual = ((level + 1) as f64 - part) * HIGHEST / LEVELS as f64;
                break;
            }
            above += count;
        }
        self.t = self.t.saturating_add(1);
    }
}

/// Windows a day.
fn a_day(interval: f64) -> f64 {
    (86_400.0 / interval).max(48.0)
}

crate::snapshot::keep_fields!(Together { bar, new, count, total, usual, episode, t });

#[cfg(test)]
mod tests;
