//! The windows of histograms into the cells of a grid. In: series, each with the number of its group. Out: all that was
//! observed of a group in a step, and what is told of it.
//!
//! Keeps: distributions are merged before anything is made of them; what is held is bounded, whatever was sent.

use std::collections::HashMap;

use tidewatch_schemas::Distribution;
use tidewatch_store::{Error as StoreError, HistogramQuery, HistogramRow, History, MAX_WINDOWS, SeriesMeta};

use super::{
    SeriesView,
    columns::{Columns, Grid},
};
use crate::{
    app::{App, Failure, Mode, SHARED, busy, too_much},
    rate::finite,
};

/// Buckets that one question may hold at once: 64 MB.
const MAX_HELD: usize = 8_000_000;

/// (Group, step) -> what was observed.
pub(crate) type Cells = HashMap<(i32, usize), Distribution>;

/// What is made of the observations of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stat {
    Avg,
    Min,
    Max,
    Sum,
    Count,
    /// Observations a second.
    Rate,
    Quantile(f64),
}

impl Stat {
    pub(crate) fn of(self, observed: &Distribution, step_ms: i64) -> Option<f64> {
        let count = observed.count as f64;
        match self {
            Self::Avg => finite(observed.sum / count),
            Self::Min => finite(observed.min),
            Self::Max => finite(observed.max),
            Self::Sum => finite(observed.sum),
            Self::Count => finite(count),
            Self::Rate => finite(count * 1_000.0 / step_ms as f64),
            Self::Quantile(q) => observed.quantile(q).and_then(finite),
        }
    }

    pub(crate) fn needs_buckets(self) -> bool {
        matches!(self, Self::Quantile(_))
    }
}

/// Reads and merges. `groups` are as long as the query's series.
pub(crate) async fn cells(
    history: &History,
    query: &HistogramQuery,
    groups: &[i32],
    grid: Grid,
) -> Result<Cells, Failure> {
    let of: HashMap<i32, i32> = query.series.iter().copied().zip(groups.iter().copied()).collect();
    let (mut cells, mut held) = (Cells::new(), 0);
    let take = |row: HistogramRow| {
        let (Some(group), Some(step)) = (of.get(&row.series_id), grid.index(row.ts_ms)) else {
            return Ok(());
        };
        let cell = cells.entry((*group, step)).or_default();
        held -= size(cell);
        cell.merge(&row.observed);
        held += size(cell);
        if held > MAX_HELD { Err(StoreError::TooMuch(MAX_HELD)) } else { Ok(()) }
    };
    match history.histograms(query, take).await {
        Err(StoreError::TooMuch(MAX_HELD)) => {
            Err(too_much(&format!("the answer needs more than {MAX_HELD} buckets")).into())
        }
        done => Ok(done.map(|()| cells)?),
    }
}

/// Names of histograms that are held; with more of them every name may be one.
const MAX_NAMES: usize = 1_000;

impl App {
    /// The histograms of a server, of which Redis knows none. PostgreSQL is asked where a name may be one's.
    pub(super) async fn histograms(
        &self,
        server_id: i32,
        metrics: &[String],
        mode: Mode,
    ) -> Result<Vec<SeriesMeta>, Failure> {
        if mode == Mode::LastKnown {
            return Ok(Vec::new());
        }
        let history = &self.store.history;
        let read = async { Ok(history.histogram_names(MAX_NAMES + 1).await?) };
        let (names, _) = self.histogram_names.get(SHARED, busy, read).await?;
        if !may_observe(&names, metrics) {
            return Ok(Vec::new());
        }
        Ok(history.histogram_series(server_id, metrics).await?)
    }
}

/// Whether some of these metrics, or of all when there is none, are histograms of some server. `names`: those of histograms.
fn may_observe(names: &[String], metrics: &[String]) -> bool {
    if metrics.is_empty() || names.len() > MAX_NAMES {
        return !names.is_empty();
    }
    metrics.iter().any(|metric| names.contains(metric))
}

/// The histograms of one server, each by itself: counts, sums and extremes.
pub(crate) async fn of_server(
    history: &History,
    histograms: &[SeriesMeta],
    grid: Grid,
) -> Result<Cells, Failure> {
    let query = HistogramQuery {
        series: histograms.iter().map(|one| one.id).collect(),
        tier: grid.tier(),
        step_ms: grid.step,
        from_ms: grid.t0,
        to_ms: grid.end(),
        buckets: false,
        limit: MAX_WINDOWS,
    };
    let each: Vec<i32> = (0..histograms.len() as i32).collect();
    cells(history, &query, &each, grid).await
}

fn size(observed: &Distribution) -> usize {
    observed.positive.counts.len() + observed.negative.counts.len()
}

/// What was observed in each step: its mean, its smallest and its largest.
pub(super) fn views<'a>(grid: Grid, histograms: &'a [SeriesMeta], observed: &Cells) -> Vec<SeriesView<'a>> {
    let mut views = Vec::new();
    for (index, meta) in histograms.iter().enumerate() {
        let column = |stat: Stat| {
            let cells = (0..grid.len).map(|step| observed.get(&(index as i32, step)));
            cells.map(|cell| cell.and_then(|cell| stat.of(cell, grid.step))).collect::<Vec<_>>()
        };
        let columns = Columns { avg: column(Stat::Avg), min: column(Stat::Min), max: column(Stat::Max) };
        if [&columns.avg, &columns.min, &columns.max].into_iter().flatten().any(Option::is_some) {
            views.push(SeriesView {
                series_id: meta.id,
                metric: &meta.metric_name,
                labels: &meta.labels,
                kind: "histogram",
                unit: &meta.unit,
                t0: grid.t0,
                columns,
                expected: None,
            });
        }
    }
    views
}

#[cfg(test)]
mod tests;
