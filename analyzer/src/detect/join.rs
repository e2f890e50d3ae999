//! One score for a series, and one for a server: 1 or more is an alert.
//!
//! ```text
//! series: value ─┬─ loud: how large is the error ───────────────────────┬─ the largest ─ one voice an episode
//!                ├─ stuck: for how long has it been the same ───────────┤
//!                └─ points of 5 min ─ novelty: how rare is this ─ / bar ┘
//! server: loud or stuck, each ─ together: how many at once, how far ──────── one voice an episode
//! ```
//! `tidewatch detect` and the pipeline hear with this very code: [`Joined`] a series, [`Gathered`] a window of a server.
//! Invariant: what is said is a function of the values given so far, to the bit; it is said before it is learned from.

use super::{
    Band, Judgement, Loud, Rarity, Surprise, Together, Verdict,
    episode::{Episode, Said},
    grid::Grid,
    loud::LOUD_AT_ONE,
    novelty::{Kind, LARGEST, Sleeper},
    stuck::Stuck,
    together::LOUDER,
};
use crate::snapshot::Keep;

/// Decades of rarity that are an alert, of a series that gave none of late.
const NOVELTY_AT_ONE: f64 = 6.5;
/// How often a series may speak in the long run: once a week. An episode raises the bar of novelty by `STEP` (log units), and
/// each week lowers it by as much, so that a series that is new again and again settles at that rate.
const PERIOD: f64 = 7.0 * 86_400.0;
/// As [`Loud`] moves its own bar.
const STEP: f64 = 0.15;
/// Points without anything odd after which something new is another episode; a burst of flatness lasts as long.
const CALM: u32 = 50;

/// What is said of one value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opinion {
    /// With one voice for each episode: 1 or more speaks.
    pub score: f64,
    /// Without it: how odd the value is.
    pub raw: f64,
    /// What novelty has in that.
    pub novelty: f64,
    /// How long it has been the same; 1 or more is odd, and it grows for as long as that lasts.
    pub stuck: f64,
    pub judgement: Judgement,
    /// Of the five minutes that this value completes.
    pub rarity: Option<Rarity>,
}

/// In which way a value is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddness {
    /// The forecast error is large.
    Loud,
    /// It says the same for far longer than it ever did.
    Stuck,
    /// It is rare, in this way most.
    New(Kind),
}

impl Oddness {
    /// As an anomaly's `method` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loud => "loud",
            Self::Stuck => "stuck",
            Self::New(Kind::Far) => "novelty.far",
            Self::New(Kind::OffHour) => "novelty.hour_of_day",
            Self::New(Kind::OffWeek) => "novelty.hour_of_week",
            Self::New(Kind::Flat) => "novelty.flat",
            Self::New(Kind::Shape) => "novelty.shape",
        }
    }
}

impl Opinion {
    /// The same against bars that stand `times` as high.
    #[must_use]
    pub fn against(self, times: f64) -> Self {
        let judgement = self.judgement.against(times);
        let (score, raw) = (self.score / times, self.raw / times);
        let (novelty, stuck) = (self.novelty / times, self.stuck / times);
        Self { score, raw, novelty, stuck, judgement, ..self }
    }

    /// Whether the value is odd, whatever was said before.
    pub fn is_odd(&self) -> bool {
        self.raw >= 1.0
    }

    /// How far it sticks out, in usual large errors; what is stuck is as odd as an error with the same score.
    pub fn size(&self) -> f64 {
        self.judgement.size.max(LOUD_AT_ONE * self.stuck)
    }

    /// In which way it is odd most, if it is: what is outside of its band is loud, whatever else it is.
    pub fn oddness(&self) -> Oddness {
        let kind = self.rarity.filter(|_| self.novelty >= 1.0).and_then(|rarity| rarity.most());
        match kind {
            _ if self.judgement.score >= 1.0 => Oddness::Loud,
            _ if self.stuck >= 1.0 => Oddness::Stuck,
            Some(kind) => Oddness::New(kind),
            None => Oddness::Loud,
        }
    }
}

/// The state of one series.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    loud: Loud,
    grid: Grid,
    novelty: Sleeper,
    stuck: Stuck,
    episode: Episode,
    /// How far the bar of novelty is raised, in log units.
    raised: f64,
    /// Points since something was odd.
    calm: u32,
    before: Option<f64>,
}

impl Joined {
    /// Judges a value and then learns from it; `None` for one that is not finite.
    pub fn step(&mut self, seconds: f64, value: f64) -> Option<Opinion> {
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        let judgement = self.loud.step(seconds, value)?;
        let passed = self.before.replace(seconds).map_or(0.0, |before| (seconds - before).max(0.0));
        self.raised = (self.raised - STEP * passed / PERIOD).max(0.0);
        let point = self.grid.step(seconds, passed, value);
        let rarity = point.and_then(|(at, mean)| self.novelty.step(at, mean));
        let novelty = rarity.map_or(0.0, |rarity| rarity.sum() / (NOVELTY_AT_ONE * self.raised.exp()));
        let stuck = self.stuck.step(passed, value);
        // it gets louder for as long as it lasts, and that is nothing to say again
        let raw = judgement.score.max(novelty).max(stuck.min(LOUDER));
        self.calm = self.calm.saturating_add(u32::from(rarity.is_some()));
        let goes_on = judgement.score < 1.0 && self.calm <= CALM;
        if raw >= 1.0 {
            self.calm = 0;
        }
        let Said { score, begins } = self.episode.step_on(raw, goes_on);
        if begins {
            self.raised += STEP;
        }
        Some(Opinion { score, raw, novelty, stuck, judgement, rarity })
    }

    /// The range expected at a time, from what is known now; `None` while warming up.
    pub fn band(&self, seconds: f64) -> Option<Band> {
        self.band_against(seconds, 1.0)
    }

    /// The same when the bar stands `times` as high.
    pub fn band_against(&self, seconds: f64, times: f64) -> Option<Band> {
        self.loud.band_against(seconds, times)
    }

    /// What it holds besides itself: little of a series that never moved.
    pub fn heap_bytes(&self) -> usize {
        self.novelty.heap_bytes()
    }
}

/// A window of a server, while its series are judged one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gathered {
    surprise: Surprise,
}

impl Gathered {
    /// Judges the value of the series at `place`; `None` for one that is not finite. The server hears it against a bar that
    /// stands `times` as high; the opinion is the one of the series' own.
    pub fn hear(
        &mut self,
        place: usize,
        series: &mut Joined,
        seconds: f64,
        value: f64,
        times: f64,
    ) -> Option<Opinion> {
        let opinion = series.step(seconds, value)?;
        self.surprise.add_against(place, opinion.size(), times);
        Some(opinion)
    }

    /// The verdict on the server, and the place of the series that moved most.
    pub fn judge(&self, together: &mut Together) -> (Verdict, Option<usize>) {
        let verdict = together.step(&self.surprise);
        (verdict, self.surprise.is_any().then(|| self.surprise.first()))
    }
}

/// The state of one server: its series by place.
#[derive(Debug, Clone)]
pub struct JoinedServer {
    series: Vec<Joined>,
    together: Together,
}

impl JoinedServer {
    /// `interval`: seconds from one row of values to the next.
    pub fn new(series: usize, interval: f64) -> Self {
        Self { series: vec![Joined::default(); series], together: Together::new(interval) }
    }

    /// Judges a row, one value for each series, and then learns from it: the verdict, and the place of the series that moved
    /// most. What is not finite says nothing. `each` gets what is said of each value.
    pub fn step(
        &mut self,
        seconds: f64,
        values: &[f64],
        mut each: impl FnMut(usize, Opinion),
    ) -> (Verdict, Option<usize>) {
        let mut gathered = Gathered::default();
        for (place, (series, &value)) in self.series.iter_mut().zip(values).enumerate() {
            if let Some(opinion) = gathered.hear(place, series, seconds, value, 1.0) {
                each(place, opinion);
            }
        }
        gathered.judge(&mut self.together)
    }
}

impl Keep for Oddness {
    fn keep(&self, out: &mut Vec<u8>) {
        match self {
            Self::Loud => out.push(0),
            Self::Stuck => out.push(1),
            Self::New(kind) => {
                out.push(2);
                kind.keep(out);
            }
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        Some(match u8::recall(from)? {
            0 => Self::Loud,
            1 => Self::Stuck,
            2 => Self::New(Kind::recall(from)?),
            _ => return None,
        })
    }
}

crate::snapshot::keep_fields!(Joined { loud, grid, novelty, stuck, episode, raised, calm, before });

#[cfg(test)]
mod tests;
