//! Windows into the columns of a chart. In: one series' windows, bands, anomalies in order of time, and a grid. Out: one
//! value or `null` for each step. Pure.
//!
//! Keeps: a cell is a sum of parts, so it comes out the same however its windows are split; a step without data is
//! `null`, never 0 and never drawn through.

use serde::Serialize;
use tidewatch_schemas::SeriesKind;
use tidewatch_store::Tier;
use utoipa::ToSchema;

use crate::{
    params::{DAY, HOUR, MINUTE, Range, SECOND},
    rate::{JOIN, Sample, Window, finite, growth},
};

/// Length of the windows that charts are made of.
pub(crate) const FINE: i64 = 10 * SECOND;
pub(crate) const COARSE: i64 = MINUTE;

/// Steps that divide the hour or the day, so that labels of the axis fall on them.
pub(crate) const STEPS: [i64; 17] = [
    FINE,
    20 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
];

/// The steps of a chart: step `i` covers `t0 + i * step ..` and all are multiples of the step since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) t0: i64,
    pub(crate) step: i64,
    pub(crate) len: usize,
}

impl Grid {
    pub(crate) fn new(range: Range, step: i64) -> Self {
        let t0 = range.from.div_euclid(step) * step;
        Self { t0, step, len: ((range.to - t0 + step - 1) / step).max(0) as usize }
    }

    /// The finest step that gives at most two points a pixel.
    pub(crate) fn for_width(range: Range, pixels: i64) -> Self {
        let most = 2 * pixels as usize;
        let fits = STEPS.iter().map(|&step| Self::new(range, step)).find(|grid| grid.len <= most);
        fits.unwrap_or_else(|| {
            let days = (range.to - range.from) / (DAY * (most as i64 - 1).max(1)) + 1;
            Self::new(range, days * DAY)
        })
    }

    /// The windows that fill the steps: up to a minute those of 10 s, which Redis may have.
    pub(crate) fn tier(self) -> Tier {
        if self.step <= COARSE { Tier::TenSeconds } else { Tier::of_step(self.step) }
    }

    pub(crate) fn end(self) -> i64 {
        self.t0 + self.len as i64 * self.step
    }

    /// From where windows are needed: what lies before `t0` only lends the first step its counters' last values.
    pub(crate) fn reads_from(self) -> i64 {
        self.t0 - lead(self.tier())
    }

    pub(crate) fn index(self, ts: i64) -> Option<usize> {
        let index = (ts - self.t0).div_euclid(self.step);
        usize::try_from(index).ok().filter(|&i| i < self.len)
    }
}

/// How far before the first step a counter's value is looked for.
pub(crate) fn lead(tier: Tier) -> i64 {
    match tier {
        Tier::TenSeconds => MINUTE,
        Tier::Minute => JOIN.div_euclid(COARSE) * COARSE,
        longer => longer.window_ms(),
    }
}

/// One step of one series: sums, so that two cells of the same step can be added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cell {
    /// A gauge's sum, a thousand times a counter's growth.
    total: f64,
    /// A gauge's count, a counter's milliseconds.
    weight: f64,
    min: f64,
    max: f64,
}

impl Cell {
    pub(crate) const EMPTY: Self =
        Self { total: 0.0, weight: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    pub(crate) fn add(&mut self, other: Self) {
        self.total += other.total;
        self.weight += other.weight;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// A window's part; `None` when it says nothing.
    pub(crate) fn of(kind: SeriesKind, before: Option<Sample>, window: &Window) -> Option<Self> {
        match kind {
            SeriesKind::Gauge => (window.count > 0 && window.sum.is_finite()).then_some(Self {
                total: window.sum,
                weight: window.count as f64,
                min: window.min,
                max: window.max,
            }),
            SeriesKind::Counter => growth(before, window).map(|g| {
                let rate = g.per_second();
                // in the units of `Growth::per_second`, so that a lone window's mean is its rate to the last bit
                Self { total: g.amount * 1_000.0, weight: g.millis as f64, min: rate, max: rate }
            }),
        }
    }

    pub(crate) fn avg(&self) -> Option<f64> {
        if self.weight > 0.0 { finite(self.total / self.weight) } else { None }
    }
}

/// `avg`, `min` and `max` of a series, as long as the grid.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Columns {
    pub(crate) avg: Vec<Option<f64>>,
    pub(crate) min: Vec<Option<f64>>,
    pub(crate) max: Vec<Option<f64>>,
}

/// The cells of one series; `windows` in order of time, from [`Grid::reads_from`] on.
pub(crate) fn cells(grid: Grid, kind: SeriesKind, windows: impl IntoIterator<Item = Window>) -> Vec<Cell> {
    let mut cells = vec![Cell::EMPTY; grid.len];
    let mut before = None;
    for window in windows {
        if let (Some(index), Some(part)) = (grid.index(window.ts), Cell::of(kind, before, &window)) {
            cells[index].add(part);
        }
        before = Some(window.tail());
    }
    cells
}

/// The columns of one series, or `None` when no step has data.
pub(crate) fn columns(
    grid: Grid,
    kind: SeriesKind,
    windows: impl IntoIterator<Item = Window>,
) -> Option<Columns> {
    let cells = cells(grid, kind, windows);
    let present = |cell: &Cell, value: f64| cell.avg().and_then(|_| finite(value));
    cells.iter().any(|cell| cell.avg().is_some()).then(|| Columns {
        avg: cells.iter().map(Cell::avg).collect(),
        min: cells.iter().map(|c| present(c, c.min)).collect(),
        max: cells.iter().map(|c| present(c, c.max)).collect(),
    })
}

/// What was expected of a series for some time; a counter as a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Expected {
    pub(crate) ts: i64,
    pub(crate) window_ms: i64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The band on the grid.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Band {
    pub(crate) low: Vec<Option<f64>>,
    pub(crate) high: Vec<Option<f64>>,
}

/// The mean band of each step, weighted by how much of the step each expectation covers.
pub(crate) fn band(grid: Grid, expected: impl IntoIterator<Item = Expected>) -> Option<Band> {
    let mut sums = vec![(0.0, 0.0, 0.0); grid.len];
    for one in expected {
        if !(one.low.is_finite() && one.high.is_finite() && one.window_ms > 0) {
            continue;
        }
        let (from, to) = (one.ts.max(grid.t0), (one.ts + one.window_ms).min(grid.end()));
        let mut at = from;
        while at < to {
            let Some(index) = grid.index(at) else { break };
            let until = (grid.t0 + (index as i64 + 1) * grid.step).min(to);
            let weight = (until - at) as f64;
            let (low, high, total) = &mut sums[index];
            *low += one.low * weight;
            *high += one.high * weight;
            *total += weight;
            at = until;
        }
    }
    let mean = |sum: f64, weight: f64| if weight > 0.0 { finite(sum / weight) } else { None };
    sums.iter().any(|s| s.2 > 0.0).then(|| Band {
        low: sums.iter().map(|s| mean(s.0, s.2)).collect(),
        high: sums.iter().map(|s| mean(s.1, s.2)).collect(),
    })
}

/// One odd window of one series, or a run of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Odd {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) score: f64,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Joins windows of one series, in order of time, that lie at most `reach` apart; the worst one speaks for the run.
pub(crate) fn runs(reach: i64, odd: impl IntoIterator<Item = Odd>) -> Vec<Odd> {
    let mut runs: Vec<Odd> = Vec::new();
    for next in odd {
        match runs.last_mut() {
            Some(run) if next.from - run.to <= reach => {
                let (from, to) = (run.from, run.to.max(next.to));
                if next.score > run.score {
                    *run = next;
                }
                (run.from, run.to) = (from, to);
            }
            _ => runs.push(next),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
