//! What is seen of a series in a window, and how odd that is.
//!
//! In: the finals of `metrics.10s`, column by column. Out: figures (mean, extremes, rate), an opinion on each series, a
//! verdict on the server. No Kafka, no clock. Invariant: everything is said before it is learned from.

mod episode;
mod grid;
mod join;
pub mod loud;
pub mod novelty;
mod stuck;
pub mod together;

pub use join::{Gathered, Joined, JoinedServer, Oddness, Opinion};
pub use loud::{Band, Judgement, Loud};
pub use novelty::{Novelty, Rarity};
use tidewatch_schemas::{AggregateFrame, SeriesKind};
pub use together::{Surprise, Together, Verdict};

/// A counter that was away for so many windows starts anew: the mean over the gap says nothing about this window.
const COUNTER_GAP_WINDOWS: i64 = 10;

/// A counter's last sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LastSample {
    value: f64,
    at: i64,
}

/// The figures of one series in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    pub avg: f64,
    pub min: f64,
    pub max: f64,
    pub last: f64,
    /// Counters, from the second window on: growth a second since the last sample of the window before.
    pub rate: Option<f64>,
    /// The same, not divided by the time.
    pub growth: Option<f64>,
    /// When the last sample was taken, milliseconds since 1970.
    pub last_at: i64,
}

impl Figures {
    /// What series `index` of the frame shows; remembers a counter's last sample in `before`.
    pub fn read(frame: &AggregateFrame, index: usize, before: &mut Option<LastSample>) -> Self {
        let last =
            LastSample { value: frame.last[index], at: frame.window_start + i64::from(frame.last_at[index]) };
        let grown = if frame.layout[index].kind == SeriesKind::Counter {
            before.replace(last).and_then(|before| grown(frame, index, before, last))
        } else {
            None
        };
        Self {
            avg: frame.sum[index] / frame.count[index] as f64,
            min: frame.min[index],
            max: frame.max[index],
            last: last.value,
            rate: grown.map(|(rate, _)| rate),
            growth: grown.map(|(_, growth)| growth),
            last_at: last.at,
        }
    }

    /// The detector's input: a gauge's mean, a counter's rate.
    pub fn value(&self, kind: SeriesKind) -> Option<f64> {
        match kind {
            SeriesKind::Gauge => Some(self.avg),
            SeriesKind::Counter => self.rate,
        }
    }
}

/// The growth a second, and the growth.
fn grown(frame: &AggregateFrame, index: usize, before: LastSample, last: LastSample) -> Option<(f64, f64)> {
    let first = frame.first[index];
    // after a reset it grew from zero
    let joined = if first >= before.value { first - before.value } else { first };
    let millis = last.at - before.at;
    let known = frame.window_start - before.at <= COUNTER_GAP_WINDOWS * frame.window_ms;
    let growth = joined + frame.increase[index];
    let rate = growth / (millis as f64 / 1_000.0);
    (millis > 0 && known && rate.is_finite()).then_some((rate, growth))
}

crate::snapshot::keep_fields!(LastSample { value, at });

#[cfg(test)]
mod tests {
    use tidewatch_schemas::{Origin, Series};

    use super::*;

    fn window(start: i64, samples: &[(i32, f64)], increase: f64) -> AggregateFrame {
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        AggregateFrame {
            server: "a".into(),
            window_start: start,
            window_ms: 10_000,
            kind: tidewatch_schemas::AggregateKind::Final,
            origin: Origin { partition: 0, offset: 0 },
            layout: vec![Series::counter("c_total", "")],
            count: vec![samples.len() as i64],
            sum: vec![samples.iter().map(|s| s.1).sum()],
            min: vec![0.0],
            max: vec![0.0],
            first: vec![first.1],
            last: vec![last.1],
            first_at: vec![first.0],
            last_at: vec![last.0],
            m2: vec![0.0],
            increase: vec![increase],
            resets: vec![0],
            histograms: vec![],
        }
    }

    #[test]
    fn a_rate_joins_windows_and_survives_a_reset() {
        let mut before = None;
        let mut rate = |frame: &AggregateFrame| Figures::read(frame, 0, &mut before).rate;
        assert_eq!(rate(&window(0, &[(1_000, 100.0), (9_000, 180.0)], 80.0)), None, "nothing to join with");
        assert_eq!(rate(&window(10_000, &[(1_000, 200.0), (9_000, 280.0)], 80.0)), Some(10.0));
        assert_eq!(rate(&window(20_000, &[(1_000, 5.0), (9_000, 45.0)], 40.0)), Some(4.5), "grew from zero");
        assert_eq!(rate(&window(20_000, &[(1_000, 5.0), (9_000, 45.0)], 40.0)), None, "no time has passed");
        assert_eq!(rate(&window(900_000, &[(0, 50.0)], 0.0)), None, "a long gap starts anew");
        assert_eq!(rate(&window(910_000, &[(0, 70.0)], 0.0)), Some(2.0));
        let figures = Figures::read(&window(920_000, &[(5_000, 100.0)], 0.0), 0, &mut before);
        assert_eq!((figures.rate, figures.growth, figures.last_at), (Some(2.0), Some(30.0), 925_000));
    }
}
