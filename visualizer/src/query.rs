//! `GET /api/v1/query`: the columns of a server's charts. In: windows (Redis first), bands, anomalies. Out: one answer on
//! one grid.
//!
//! Keeps: the same answer whether the windows came from Redis or from PostgreSQL.

use std::collections::HashMap;

use serde::Serialize;
use tidewatch_schemas::{Labels, SeriesKind, time::rfc3339};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{AnomalyQuery, AnomalyRow, ExpectationRow, Freshness, SeriesMeta, Tier, WindowRow};
use utoipa::ToSchema;

pub(crate) mod columns;
pub(crate) mod many;

use columns::{Band, COARSE, Columns, Expected, FINE, Grid, Odd};

use crate::{
    app::{App, Failure, Mode, too_much},
    format::{Csv, Field, Format, Table, labels_text},
    keep::{Answer, Source},
    openapi::schemas,
    params::{Params, Range, bad},
    rate::Window,
};

/// Windows that one query may read: a bound for memory, far above what a screen shows.
const MAX_READ: usize = 300_000;

/// Anomalies in one answer.
const MAX_ODD: usize = 5_000;

/// How fine a chart is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution {
    Width(i64),
    Step(i64),
}

impl Resolution {
    fn read(params: &Params) -> Result<Self, Problem> {
        let width = params.number("width", 10, 10_000)?;
        let step = params.number("step", FINE, 366 * crate::params::DAY)?;
        match (width, step) {
            (Some(_), Some(_)) => Err(bad("step", "may not be given together with width")),
            (None, Some(step)) if step % FINE != 0 || (step > COARSE && step % COARSE != 0) => {
                Err(bad("step", "has to be a multiple of 10000 ms, above 60000 ms one of 60000 ms"))
            }
            (None, Some(step)) => Ok(Self::Step(step)),
            (width, None) => Ok(Self::Width(width.unwrap_or(600))),
        }
    }
}

/// A question for columns.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) server: String,
    pub(crate) metrics: Vec<String>,
    pub(crate) range: Range,
    pub(crate) resolution: Resolution,
    pub(crate) format: Format,
}

impl Question {
    pub(crate) const KNOWN: [&str; 7] = ["server", "metric", "from", "to", "width", "step", "format"];

    pub(crate) fn read(params: &Params, format: Format, now: i64) -> Result<Self, Problem> {
        let server = params.get("server").filter(|s| !s.is_empty());
        let server = server.ok_or_else(|| bad("server", "is required: the id or name of a server"))?;
        let range = params.range(now, crate::params::HOUR)?;
        Ok(Self {
            server: server.to_owned(),
            metrics: params.metrics()?,
            range,
            resolution: Resolution::read(params)?,
            format,
        })
    }

    pub(crate) fn key(&self, now: i64) -> String {
        let Self { server, metrics, resolution, format, .. } = self;
        format!("query {server:?} {metrics:?} {} {resolution:?} {format:?}", self.range.key(now))
    }
}

/// The grid for so many series: a width leaves us the choice, and many series over a long time make it coarser.
fn grid(question: &Question, series: usize, max_points: usize) -> Result<Grid, Failure> {
    let series = series.max(1);
    let windows = |grid: Grid| (grid.end() - grid.reads_from()) / grid.tier().window_ms();
    let fits = |grid: Grid| {
        grid.len.saturating_mul(series) <= max_points
            && (windows(grid) as usize).saturating_mul(series) <= MAX_READ
    };
    let grid = match question.resolution {
        Resolution::Step(step) => Grid::new(question.range, step),
        Resolution::Width(width) => {
            let finest = Grid::for_width(question.range, width);
            // minutes instead of ten seconds save the most; then fewer and fewer points
            let minutes = Grid::new(question.range, finest.step.max(2 * COARSE));
            let fewer = (1..=6).map(|halves| Grid::for_width(question.range, (width >> halves).max(10)));
            let choices = [finest, minutes].into_iter().chain(fewer);
            choices.into_iter().find(|&grid| fits(grid)).unwrap_or(finest)
        }
    };
    if fits(grid) {
        return Ok(grid);
    }
    Err(too_much(&format!("{series} series over {} steps are too many for one answer", grid.len)).into())
}

impl App {
    pub(crate) async fn query(&self, question: &Question, mode: Mode) -> Result<Answer, Failure> {
        let server = self.server(&question.server).await?;
        let series = self.series(server.id, &question.metrics, mode).await?;
        let grid = grid(question, series.len(), self.max_points)?;
        let ids: Vec<i32> = series.iter().map(|s| s.id).collect();
        let read = Range { from: grid.reads_from(), to: grid.end() };
        let (rows, source, newest) = self.windows(server.id, &ids, grid, read, mode).await?;
        let (expected, odd) = if mode == Mode::Fresh {
            let anomalies = AnomalyQuery {
                server_id: Some(server.id),
                from_ms: Some(grid.t0),
                to_ms: Some(grid.end()),
                limit: MAX_ODD,
            };
            // a band of a minute that began before the grid reaches into it
            let history = &self.store.history;
            tokio::try_join!(
                history.expectations(&ids, grid.t0 - COARSE, grid.end()),
                history.anomalies(&anomalies)
            )?
        } else {
            (Vec::new(), Vec::new())
        };
        let now = (self.clock)();
        let as_of = if mode == Mode::Fresh { now } else { newest.unwrap_or(now) };
        let (range, format) = (question.range, question.format);
        let build = move || {
            let answer = View {
                server: ServerName { id: server.id, name: &server.name },
                from: range.from,
                to: range.to,
                step: grid.step,
                tier: grid.tier().as_str(),
                as_of,
                anomalies: anomalies(grid, &series, odd),
                series: series_views(grid, &series, &rows, &expected),
            };
            format.write(&answer)
        };
        let built = tokio::task::spawn_blocking(build).await;
        let body = built.map_err(|e| Failure::Outage(e.to_string()))??;
        Ok(Answer { body, format, source, link: None, as_of })
    }

    /// The series of a server by id, of these names or all.
    pub(crate) async fn series(
        &self,
        server_id: i32,
        metrics: &[String],
        mode: Mode,
    ) -> Result<Vec<SeriesMeta>, Failure> {
        let freshness = if mode == Mode::Fresh { Freshness::Exact } else { Freshness::LastKnown };
        if let Some(mut series) = self.store.hot.series(server_id, freshness).await {
            if !metrics.is_empty() {
                series.retain(|s| metrics.contains(&s.metric_name));
            }
            return Ok(series);
        }
        match mode {
            Mode::Fresh => Ok(self.store.history.series(server_id, metrics).await?),
            Mode::LastKnown => Err(crate::app::busy()),
        }
    }

    /// Windows by series and time, where they came from, and the newest that Redis knows.
    pub(crate) async fn windows(
        &self,
        server_id: i32,
        ids: &[i32],
        grid: Grid,
        range: Range,
        mode: Mode,
    ) -> Result<(Vec<WindowRow>, Source, Option<i64>), Failure> {
        if grid.tier() == Tier::TenSeconds {
            let freshness = if mode == Mode::Fresh { Freshness::Exact } else { Freshness::LastKnown };
            let recent = self.store.hot.recent(server_id, range.from, range.to, freshness).await;
            if let Some(mut recent) = recent {
                recent.rows.retain(|row| ids.binary_search(&row.series_id).is_ok());
                return Ok((recent.rows, Source::Redis, Some(recent.newest_ms + FINE)));
            }
        }
        match mode {
            Mode::Fresh => {
                let history = &self.store.history;
                let rows = match grid.tier() {
                    Tier::TenSeconds => history.windows(ids, Tier::TenSeconds, range.from, range.to).await?,
                    _ => history.windows_for(ids, grid.step, range.from, range.to).await?,
                };
                Ok((rows, Source::Postgres, None))
            }
            Mode::LastKnown => Err(crate::app::busy()),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerColumns)]
pub(crate) struct View<'a> {
    server: ServerName<'a>,
    from: i64,
    to: i64,
    step: i64,
    tier: &'static str,
    as_of: i64,
    series: Vec<SeriesView<'a>>,
    anomalies: Vec<OddView<'a>>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct ServerName<'a> {
    id: i32,
    name: &'a str,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SeriesColumns)]
struct SeriesView<'a> {
    series_id: i32,
    metric: &'a str,
    #[schema(schema_with = schemas::labels)]
    labels: &'a Labels,
    #[schema(schema_with = schemas::kind)]
    kind: SeriesKind,
    unit: &'a str,
    t0: i64,
    #[serde(flatten)]
    columns: Columns,
    expected: Option<Band>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SeriesAnomaly)]
struct OddView<'a> {
    series_id: i32,
    metric: &'a str,
    #[schema(schema_with = schemas::labels)]
    labels: &'a Labels,
    from: i64,
    to: i64,
    score: f64,
    value: f64,
    low: f64,
    high: f64,
}

impl Table for View<'_> {
    fn rows(&self, csv: &mut Csv) -> csv::Result<()> {
        csv.row(["time", "metric", "labels", "avg", "min", "max"].map(Field::Text))?;
        for one in &self.series {
            let labels = labels_text(one.labels);
            for (i, avg) in one.columns.avg.iter().enumerate().filter(|(_, avg)| avg.is_some()) {
                let time = rfc3339(one.t0 + i as i64 * self.step);
                let extremes = [one.columns.min[i].into(), one.columns.max[i].into()];
                let names = [Field::Text(&time), Field::Text(one.metric), Field::Text(&labels)];
                csv.row(names.into_iter().chain([(*avg).into()]).chain(extremes))?;
            }
        }
        Ok(())
    }
}

fn series_views<'a>(
    grid: Grid,
    series: &'a [SeriesMeta],
    rows: &[WindowRow],
    expected: &[ExpectationRow],
) -> Vec<SeriesView<'a>> {
    let windows: HashMap<i32, &[WindowRow]> =
        rows.chunk_by(|a, b| a.series_id == b.series_id).map(|chunk| (chunk[0].series_id, chunk)).collect();
    let bands: HashMap<i32, &[ExpectationRow]> = expected
        .chunk_by(|a, b| a.series_id == b.series_id)
        .map(|chunk| (chunk[0].series_id, chunk))
        .collect();
    let views = series.iter().filter_map(|meta| {
        let rows = windows.get(&meta.id)?;
        let columns = columns::columns(grid, meta.kind, rows.iter().map(Window::from))?;
        let band = bands.get(&meta.id).and_then(|rows| columns::band(grid, rows.iter().map(Expected::from)));
        Some(SeriesView {
            series_id: meta.id,
            metric: &meta.metric_name,
            labels: &meta.labels,
            kind: meta.kind,
            unit: &meta.unit,
            t0: grid.t0,
            columns,
            expected: band,
        })
    });
    views.collect()
}

fn anomalies(grid: Grid, series: &[SeriesMeta], mut odd: Vec<AnomalyRow>) -> Vec<OddView<'_>> {
    odd.sort_by_key(|row| (row.series_id, row.ts_ms));
    let mut views = Vec::new();
    for rows in odd.chunk_by(|a, b| a.series_id == b.series_id) {
        let Ok(index) = series.binary_search_by_key(&rows[0].series_id, |s| s.id) else { continue };
        let meta = &series[index];
        // windows within the same or the next step look like one
        for run in columns::runs(grid.step, rows.iter().map(Odd::from)) {
            views.push(OddView {
                series_id: meta.id,
                metric: &meta.metric_name,
                labels: &meta.labels,
                from: run.from,
                to: run.to,
                score: run.score,
                value: run.value,
                low: run.low,
                high: run.high,
            });
        }
    }
    views
}

impl From<&WindowRow> for Window {
    fn from(row: &WindowRow) -> Self {
        Self {
            ts: row.ts_ms,
            count: row.count,
            sum: row.sum,
            min: row.min,
            max: row.max,
            first: row.first,
            last: row.last,
            first_at: row.first_at,
            last_at: row.last_at,
            increase: row.increase,
        }
    }
}

impl From<&ExpectationRow> for Expected {
    fn from(row: &ExpectationRow) -> Self {
        Self { ts: row.ts_ms, window_ms: row.window_ms.into(), low: row.low, high: row.high }
    }
}

impl From<&AnomalyRow> for Odd {
    fn from(row: &AnomalyRow) -> Self {
        Self {
            from: row.ts_ms,
            to: row.ts_ms + i64::from(row.window_ms),
            score: row.score,
            value: row.value,
            low: row.expected_low,
            high: row.expected_high,
        }
    }
}

#[cfg(test)]
mod tests;
