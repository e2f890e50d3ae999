//! One window of one series, and what a counter did between two of them. In: stored or live windows. Out: growth and
//! the time it took. Pure.
//!
//! Keeps: charts and the live stream compute a rate by this one rule, so a point never changes when a page is reloaded.

use tidewatch_schemas::{AggregateFrame, SeriesKind};

/// Counters are joined across windows whose samples lie no further apart than this; a longer silence is a gap.
pub(crate) const JOIN: i64 = tidewatch_store::JOIN_MS;

/// What one window says about one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    /// Milliseconds since 1970, start of the window.
    pub(crate) ts: i64,
    pub(crate) count: i64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
    /// Milliseconds after `ts`.
    pub(crate) first_at: i32,
    pub(crate) last_at: i32,
    pub(crate) increase: f64,
}

impl Window {
    /// Series `index` of a frame that is consistent.
    pub(crate) fn of(frame: &AggregateFrame, index: usize) -> Self {
        Self {
            ts: frame.window_start,
            count: frame.count[index],
            sum: frame.sum[index],
            min: frame.min[index],
            max: frame.max[index],
            first: frame.first[index],
            last: frame.last[index],
            first_at: frame.first_at[index],
            last_at: frame.last_at[index],
            increase: frame.increase[index],
        }
    }

    /// The newest sample.
    pub(crate) fn tail(&self) -> Sample {
        Sample { at: self.ts + i64::from(self.last_at), value: self.last }
    }
}

/// A counter's value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) at: i64,
    pub(crate) value: f64,
}

/// Growth over some milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    pub(crate) amount: f64,
    pub(crate) millis: i64,
}

impl Growth {
    pub(crate) fn per_second(self) -> f64 {
        self.amount * 1_000.0 / self.millis as f64
    }
}

/// How a counter grew from `before` (the newest earlier sample) to the window's last sample. A value below the one before
/// is a restart from zero. `None`: one sample and nothing near enough before it says nothing about growth.
pub(crate) fn growth(before: Option<Sample>, window: &Window) -> Option<Growth> {
    let first_at = window.ts + i64::from(window.first_at);
    let tail = window.tail();
    let joined = before.filter(|b| b.at < first_at && first_at - b.at <= JOIN);
    let (amount, since) = joined.map_or((window.increase, first_at), |b| {
        let step = if window.first < b.value { window.first } else { window.first - b.value };
        (step + window.increase, b.at)
    });
    (tail.at > since).then_some(Growth { amount, millis: tail.at - since })
}

/// A number that JSON can hold.
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Mean, least and greatest of one window: the values of a gauge, the rate per second of a counter.
pub(crate) fn point(kind: SeriesKind, before: Option<Sample>, window: &Window) -> Option<(f64, f64, f64)> {
    match kind {
        SeriesKind::Gauge => {
            (window.count > 0).then(|| (window.sum / window.count as f64, window.min, window.max))
        }
        SeriesKind::Counter => growth(before, window).map(|g| {
            let rate = g.per_second();
            (rate, rate, rate)
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A window of samples (milliseconds since 1970, value), as the stream processor makes it.
    pub(crate) fn window(ts: i64, samples: &[(i64, f64)]) -> Window {
        let values = || samples.iter().map(|s| s.1);
        let grown =
            samples.windows(2).map(|p| if p[1].1 < p[0].1 { p[1].1 } else { p[1].1 - p[0].1 }).sum::<f64>();
        Window {
            ts,
            count: samples.len() as i64,
            sum: values().sum(),
            min: values().fold(f64::INFINITY, f64::min),
            max: values().fold(f64::NEG_INFINITY, f64::max),
            first: samples[0].1,
            last: samples[samples.len() - 1].1,
            first_at: (samples[0].0 - ts) as i32,
            last_at: (samples[samples.len() - 1].0 - ts) as i32,
            increase: grown,
        }
    }

    #[test]
    fn a_counter_grows_across_the_border_of_two_windows() {
        let a = window(0, &[(1_000, 10.0), (9_000, 26.0)]);
        let b = window(10_000, &[(11_000, 30.0), (19_000, 46.0)]);
        assert_eq!(growth(Some(a.tail()), &b), Some(Growth { amount: 20.0, millis: 10_000 }));
        assert_eq!(growth(None, &b), Some(Growth { amount: 16.0, millis: 8_000 }));
    }

    #[test]
    fn a_restart_counts_from_zero() {
        let a = window(0, &[(9_000, 1e6)]);
        let b = window(10_000, &[(14_000, 5.0)]);
        assert_eq!(growth(Some(a.tail()), &b), Some(Growth { amount: 5.0, millis: 5_000 }));
    }

    #[test]
    fn a_lone_sample_after_a_gap_has_no_rate() {
        let b = window(1_000_000, &[(1_000_500, 5.0)]);
        assert_eq!(growth(None, &b), None);
        let before = |at| Some(Sample { at, value: 1.0 });
        assert_eq!(growth(before(1_000_500 - JOIN - 1), &b), None);
        assert!(growth(before(1_000_500 - JOIN), &b).is_some());
    }
}
