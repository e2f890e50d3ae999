//! `GET /api/v1/charts/{server}.svg|png`: series of one unit as a picture, for a chat or a mail. In: columns as `/query`
//! makes them, alerts. Out: SVG, or PNG made of it.
//!
//! ```text
//! question -> series -> material (query), alerts -> lines, gaps, ticks, stretches -> draw -> SVG -> png
//! ```
//! Keeps: a picture's size, points and turns are bounded; it is drawn on no thread that answers.

use std::{collections::BTreeSet, time::Duration};

use axum::http::StatusCode;
use tidewatch_schemas::{Alert, SeriesKind};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{AlertQuery, SeriesMeta, Server};

mod draw;
mod frame;
mod gaps;
mod legend;
mod lines;
mod plot;
mod png;
mod stretches;
mod style;
mod svg;
mod text;
mod theme;
mod ticks;
mod words;

use draw::{Odd, Picture, draw};
use gaps::Extent;
use lines::{Line, names, order, varying};
use theme::Theme;
use words::Unit;

use crate::{
    app::{App, Failure, Mode},
    format::Format,
    keep::Answer,
    matchers::Matcher,
    params::{HOUR, Params, SECOND, bad},
    query::{
        Material, Question, Resolution,
        columns::{Band, Columns},
    },
};

/// Pixels of a PNG: 32 MiB while it is drawn.
const MAX_PIXELS: i64 = 8_000_000;

/// Values of a picture, in all lines: above what can be seen.
const MAX_DRAWN: usize = 100_000;

/// Alerts that are looked through.
const MAX_ALERTS: usize = 200;

/// Characters of a title.
const MAX_TITLE: usize = 200;

/// Windows this young may not have reached the store yet, as in the pages.
const EDGE_LAG: i64 = 30 * SECOND;

/// How long a picture waits for its turn to be drawn.
const TURN: Duration = Duration::from_secs(2);

/// Pictures that are drawn at once.
pub(crate) const DRAWN_AT_ONCE: usize = 4;

pub(crate) const THEMES: [(&str, &Theme); 2] = [("light", &theme::LIGHT), ("dark", &theme::DARK)];

/// A question for a picture.
#[derive(Debug, Clone)]
pub(crate) struct ChartQuestion {
    columns: Question,
    matchers: Vec<Matcher>,
    title: Option<String>,
    theme: &'static Theme,
    width: i64,
    height: i64,
    scale: i64,
    format: Format,
    /// All but the times, as they were asked.
    asked: String,
}

impl ChartQuestion {
    pub(crate) const KNOWN: [&str; 10] =
        ["metric", "match", "from", "to", "step", "width", "height", "scale", "theme", "title"];

    /// `file` is the server with the ending that says what is wanted.
    pub(crate) fn read(file: &str, query: Option<&str>, now: i64) -> Result<Self, Problem> {
        let (server, format) = match file.rsplit_once('.') {
            Some((server, "svg")) if !server.is_empty() => (server, Format::Svg),
            Some((server, "png")) if !server.is_empty() => (server, Format::Png),
            _ => {
                let expected = "a chart is at /api/v1/charts/{server}.svg or .png";
                return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_path", expected));
            }
        };
        let params = Params::parse(query, &Self::KNOWN)?;
        let metrics = params.metrics()?;
        if metrics.is_empty() {
            return Err(bad("metric", "is required: the name of a metric"));
        }
        let width = params.number("width", 200, 4_000)?.unwrap_or(800);
        let height = params.number("height", 100, 2_000)?.unwrap_or(320);
        let theme = match params.get("theme") {
            None => &theme::LIGHT,
            Some(name) => {
                let found = THEMES.iter().find(|(known, _)| *known == name).map(|(_, theme)| *theme);
                found.ok_or_else(|| bad("theme", "has to be light or dark"))?
            }
        };
        let title = params.get("title").map(str::trim).filter(|title| !title.is_empty());
        if title.is_some_and(|title| title.chars().count() > MAX_TITLE) {
            return Err(bad("title", &format!("may have {MAX_TITLE} characters at most")));
        }
        let step = if params.get("step") == Some("auto") { None } else { Resolution::step(&params)? };
        Ok(Self {
            columns: Question {
                server: server.to_owned(),
                metrics,
                range: params.range(now, HOUR)?,
                resolution: step.unwrap_or(Resolution::Width(width)),
                format,
            },
            matchers: Matcher::all(&params, "match")?,
            title: title.map(str::to_owned),
            theme,
            width,
            height,
            scale: scale(&params, format, width * height)?,
            format,
            asked: params.query_without(&["from", "to"]),
        })
    }

    pub(crate) fn key(&self, now: i64) -> String {
        let Question { server, range, format, .. } = &self.columns;
        format!("chart {server:?} {} {} {format:?}", self.asked, range.key(now))
    }

    /// A text of somebody else's, in letters that can be drawn.
    fn letters(&self, text: &str) -> String {
        if self.format == Format::Png { text::in_font(text) } else { text.to_owned() }
    }

    /// The series that are drawn, in the order of their names; they are of one unit.
    fn chosen(&self, server: &str, mut series: Vec<SeriesMeta>) -> Result<(Vec<SeriesMeta>, Unit), Problem> {
        let unknown = |parameter: &str, detail: String| {
            Problem::new(StatusCode::NOT_FOUND, "unknown_metric", detail).with("parameter", parameter.into())
        };
        let known: BTreeSet<&String> = series.iter().map(|one| &one.metric_name).collect();
        if let Some(missing) = self.columns.metrics.iter().find(|metric| !known.contains(metric)) {
            return Err(unknown("metric", format!("{server} has no series of {missing}")));
        }
        let value = |one: &SeriesMeta, label: &str| one.labels.get(label).cloned().unwrap_or_default();
        series.retain(|one| self.matchers.iter().all(|m| m.matches(&value(one, &m.label))));
        let Some(first) = series.first() else {
            return Err(unknown("match", format!("no series of {server} has these labels")));
        };
        let unit = unit_of(first);
        if let Some(other) = series.iter().find(|one| unit_of(one) != unit) {
            let names = format!("{} and {}", first.metric_name, other.metric_name);
            return Err(bad("metric", &format!("has to be of one unit, and {names} are of two")));
        }
        Ok((series, unit))
    }
}

/// Twice as many pixels as asked for, once where that is too many.
fn scale(params: &Params, format: Format, area: i64) -> Result<i64, Problem> {
    let fits = |scale: i64| area * scale * scale <= MAX_PIXELS;
    match params.number("scale", 1, 4)? {
        Some(_) if format != Format::Png => Err(bad("scale", "is for PNG: SVG has no pixels")),
        Some(scale) if !fits(scale) => {
            Err(bad("scale", &format!("makes more than {MAX_PIXELS} pixels of this width and height")))
        }
        Some(scale) => Ok(scale),
        None => Ok(if fits(2) { 2 } else { 1 }),
    }
}

fn unit_of(series: &SeriesMeta) -> Unit {
    Unit::of(&series.metric_name, &series.unit, series.kind)
}

impl App {
    pub(crate) async fn chart(&self, question: &ChartQuestion, mode: Mode) -> Result<Answer, Failure> {
        let server = self.server(&question.columns.server).await?;
        let series = self.series(server.id, &question.columns.metrics, mode).await?;
        let (series, unit) = question.chosen(&server.name, series)?;
        let max_points = self.max_points.min(MAX_DRAWN);
        let material = self.material(&question.columns, server.id, (series, Vec::new()), max_points, mode);
        let (material, alerts) = tokio::try_join!(material, self.alerts_about(question, &server, mode))?;
        let (source, as_of, format) = (material.source, material.as_of, question.format);
        let ends = Some(material.grid.end());
        let question = question.clone();
        let work = move || {
            let picture = picture(&question, &server, unit, &material, &alerts, mode == Mode::LastKnown);
            let svg = draw(&picture);
            if question.format == Format::Png {
                png::png(&svg, question.scale as f32)
            } else {
                Ok(svg.into_bytes())
            }
        };
        // the turn goes along: whoever hangs up has not ended the drawing
        let turn = tokio::time::timeout(TURN, self.drawing.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let busy = "too many pictures at once";
            let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", busy).retry_after(1);
            return Err(busy.into());
        };
        let drawn = tokio::task::spawn_blocking(move || {
            let drawn = work();
            drop(turn);
            drawn
        });
        let failed = |error: String| {
            tracing::error!(%error, "draw chart");
            let detail = "the chart could not be drawn; the log says why";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", detail)
        };
        let body = drawn.await.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        Ok(Answer { body: body.into(), format, source, link: None, as_of, ends })
    }

    /// Alerts of the range that are about what is drawn.
    async fn alerts_about(
        &self,
        question: &ChartQuestion,
        server: &Server,
        mode: Mode,
    ) -> Result<Vec<Alert>, Failure> {
        let stored = if mode == Mode::Fresh {
            let query = AlertQuery {
                status: None,
                server_id: Some(server.id),
                from_ms: Some(question.columns.range.from),
                to_ms: Some(question.columns.range.to),
                limit: MAX_ALERTS,
            };
            self.store.history.alerts(&query).await?
        } else {
            // Redis knows the open ones only
            self.store.hot.open_alerts_last_known().await.unwrap_or_default()
        };
        let alerts = stored.into_iter().filter(|stored| stored.server_id == server.id);
        let alerts = alerts.map(|stored| stored.alert);
        Ok(alerts.filter(|alert| stretches::is_about(alert, &question.columns.metrics)).collect())
    }
}

/// What was read, as it is drawn.
fn picture(
    question: &ChartQuestion,
    server: &Server,
    unit: Unit,
    material: &Material,
    alerts: &[Alert],
    is_stale: bool,
) -> Picture {
    let (range, grid) = (question.columns.range, material.grid);
    let known_until = material.as_of - EDGE_LAG;
    let extent = Extent {
        t0: grid.t0,
        step: grid.step,
        from: range.from,
        to: range.to,
        since: server.first_seen_ms,
        until: known_until,
    };
    let mut series = material.series();
    series.sort_by(|a, b| order(a.metric, a.labels).cmp(&order(b.metric, b.labels)));
    let named: Vec<_> = series.iter().map(|one| (one.metric, one.labels)).collect();
    let names = names(&named);
    let labels: Vec<_> = named.iter().map(|(_, labels)| *labels).collect();
    let ids: Vec<i32> = series.iter().map(|one| one.series_id).collect();
    // seconds a second are a share of time: a hundred percent is one second
    let is_share = |kind| unit == Unit::Percent && kind == SeriesKind::Counter.as_str();
    let factors: Vec<f64> = series.iter().map(|one| if is_share(one.kind) { 100.0 } else { 1.0 }).collect();
    let said = series.first().filter(|_| unit == Unit::Number).map_or("", |one| one.unit);
    let is_one_metric = question.columns.metrics.len() == 1;
    let by = if labels.len() > 1 && is_one_metric { varying(&labels).join(", ") } else { String::new() };
    let by = if by.is_empty() { by } else { format!("by {by}") };
    let is_all_share = !series.is_empty() && series.iter().all(|one| is_share(one.kind));
    let sub = [if is_all_share { "of time" } else { "" }, said, &by];
    let sub: Vec<&str> = sub.into_iter().filter(|words| !words.is_empty()).collect();
    let lines: Vec<Line> = series
        .into_iter()
        .zip(names)
        .zip(&factors)
        .map(|((one, name), &factor)| Line {
            name: question.letters(&name),
            columns: times_columns(one.columns, factor),
            band: one.expected.map(|band| times_band(band, factor)),
        })
        .collect();
    let odd = material.anomalies().into_iter().filter_map(|odd| {
        let line = ids.iter().position(|id| *id == odd.series_id)?;
        let value = value_near(&lines[line], &extent, odd.from).unwrap_or(odd.value * factors[line]);
        let is_seen = odd.to >= range.from && odd.from < range.to;
        is_seen.then_some(Odd { line, from: odd.from, to: odd.to, score: odd.score, value })
    });
    let odd = odd.collect();
    let title = question.title.clone().unwrap_or_else(|| question.columns.metrics.join(", "));
    let mut stretches = stretches::stretches(alerts, range.from, range.to.min(material.as_of));
    for stretch in &mut stretches {
        stretch.title = question.letters(&stretch.title);
    }
    Picture {
        server: question.letters(&server.name),
        title: question.letters(&title),
        sub: question.letters(&sub.join(" ")),
        unit,
        lines,
        extent,
        odd,
        stretches,
        theme: question.theme,
        width: question.width as f64,
        height: question.height as f64,
        as_of: material.as_of,
        is_stale,
        last_seen: server.last_seen_ms,
    }
}

fn times(column: Vec<Option<f64>>, factor: f64) -> Vec<Option<f64>> {
    column.into_iter().map(|value| value.map(|value| value * factor)).collect()
}

fn times_columns(columns: Columns, factor: f64) -> Columns {
    let Columns { avg, min, max } = columns;
    Columns { avg: times(avg, factor), min: times(min, factor), max: times(max, factor) }
}

fn times_band(band: Band, factor: f64) -> Band {
    Band { low: times(band.low, factor), high: times(band.high, factor) }
}

/// The line's own value at a time or soon after: where a mark belongs.
fn value_near(line: &Line, extent: &Extent, at: i64) -> Option<f64> {
    let first = ((at - extent.t0) / extent.step).max(0) as usize;
    line.columns.avg.iter().skip(first).take(4).find_map(|value| *value)
}

#[cfg(test)]
mod tests;
