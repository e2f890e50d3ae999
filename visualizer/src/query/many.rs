//! `GET /api/v1/query` over many servers: a metric's series, reduced in PostgreSQL. In: a question without `server`. Out:
//! one line for each series, or for each group of them, on one grid.
//!
//! Keeps: what is asked for is bounded before it is read (series, windows, points); a line's values are those that the
//! same steps of `?server=` show.

use serde::Serialize;
use tidewatch_schemas::{Labels, SeriesKind, time::rfc3339};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Across, OverTime, ReduceQuery, Reduced, SeriesMeta, Tier};
use utoipa::ToSchema;

mod groups;
mod steps;

use groups::{Group, group};
use steps::Kept;

use super::{Resolution, ServerName};
use crate::{
    app::{App, Directory, Failure, Mode, busy},
    format::{Csv, Field, Format, Table, labels_text},
    keep::{Answer, Source},
    matchers::Matcher,
    openapi::schemas,
    params::{HOUR, Params, Range, bad},
    query::columns::{Grid, STEPS, lead},
    rate::finite,
};

/// Series that one question may read.
const MAX_SERIES: usize = 50_000;

/// Windows that one question may read: some seconds of PostgreSQL.
const MAX_READ: usize = 5_000_000;

/// Windows that a question of a `width` reads rather than coarser ones: some tenths of a second.
const GOOD_READ: usize = 400_000;

/// Steps below which a chart says little: rather more windows than fewer steps.
const FEW: usize = 60;

/// Labels that groups are made by.
const MAX_BY: usize = 8;

pub(crate) const OVER_TIME: [(&str, OverTime); 8] = [
    ("avg", OverTime::Avg),
    ("min", OverTime::Min),
    ("max", OverTime::Max),
    ("sum", OverTime::Sum),
    ("count", OverTime::Count),
    ("last", OverTime::Last),
    ("rate", OverTime::Rate),
    ("increase", OverTime::Increase),
];

pub(crate) const ACROSS: [(&str, Across); 5] = [
    ("avg", Across::Avg),
    ("sum", Across::Sum),
    ("min", Across::Min),
    ("max", Across::Max),
    ("count", Across::Count),
];

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], wanted: T) -> &'static str {
    names.iter().find(|(_, known)| *known == wanted).map_or("", |(name, _)| name)
}

fn read_name<T: Copy>(params: &Params, parameter: &str, names: &[(&str, T)]) -> Result<Option<T>, Problem> {
    let Some(text) = params.get(parameter) else { return Ok(None) };
    let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    let known = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| bad(parameter, &format!("has to be one of {known}")))
}

/// A question over many servers.
#[derive(Debug, Clone)]
pub(crate) struct ManyQuestion {
    metrics: Vec<String>,
    matchers: Vec<Matcher>,
    agg: Option<OverTime>,
    by: Vec<String>,
    across: Option<Across>,
    range: Range,
    resolution: Resolution,
    format: Format,
    /// All but the times, as they were asked.
    asked: String,
}

impl ManyQuestion {
    pub(crate) const KNOWN: [&str; 10] =
        ["metric", "match", "agg", "by", "group", "from", "to", "width", "step", "format"];

    pub(crate) fn parse(params: &Params, format: Format, now: i64) -> Result<Self, Problem> {
        let metrics = params.metrics()?;
        if metrics.is_empty() {
            return Err(bad("metric", "is required without server: the name of a metric"));
        }
        let by = groups::labels(params)?;
        let across = read_name(params, "group", &ACROSS)?;
        Ok(Self {
            metrics,
            matchers: Matcher::all(params, "match")?,
            agg: read_name(params, "agg", &OVER_TIME)?,
            across: across.or_else(|| (!by.is_empty()).then_some(Across::Avg)),
            by,
            range: params.range(now, HOUR)?,
            resolution: Resolution::read(params)?,
            format,
            asked: params.query_without(&["from", "to"]),
        })
    }

    pub(crate) fn key(&self, now: i64) -> String {
        format!("query {} {} {:?}", self.asked, self.range.key(now), self.format)
    }

    /// Those of a directory's servers that the matchers on `server.` leave; `None` when there is no such matcher.
    fn servers(&self, directory: &Directory) -> Option<Vec<i32>> {
        let on_server: Vec<Matcher> = self.matchers.iter().filter_map(|m| m.behind(groups::SERVER)).collect();
        let fits = |server: &&tidewatch_store::Server| {
            on_server.iter().all(|m| m.matches(groups::of_server(server, &m.label)))
        };
        let ids = || directory.servers.iter().filter(fits).map(|server| server.id).collect();
        (!on_server.is_empty()).then(ids)
    }

    fn wants(&self, series: &SeriesMeta) -> bool {
        let mut on_series = self.matchers.iter().filter(|m| m.behind(groups::SERVER).is_none());
        let value = |name: &str| series.labels.get(name).map_or("", String::as_str);
        on_series.all(|matcher| matcher.matches(value(&matcher.label)))
    }

    /// What is made of a step, by the kinds of the series: a counter's own value says little.
    fn over_time(&self, series: &[SeriesMeta]) -> Result<OverTime, Problem> {
        let of = |kind| series.iter().find(|s| s.kind == kind).map(|s| &s.metric_name);
        let (gauge, counter) = (of(SeriesKind::Gauge), of(SeriesKind::Counter));
        match (self.agg, gauge, counter) {
            (Some(OverTime::Rate | OverTime::Increase), Some(gauge), _) => {
                Err(bad("agg", &format!("rate and increase are of counters, and {gauge} is a gauge")))
            }
            (Some(agg), ..) => Ok(agg),
            (None, Some(gauge), Some(counter)) => {
                Err(bad("agg", &format!("is required: {gauge} is a gauge and {counter} a counter")))
            }
            (None, None, Some(_)) => Ok(OverTime::Rate),
            (None, ..) => Ok(OverTime::Avg),
        }
    }

    /// The finest grid that is cheap, or else is allowed; a step that was asked for is only made as long as the windows
    /// that are left.
    fn grid(
        &self,
        kept: &Kept,
        series: usize,
        lines: usize,
        max_points: usize,
    ) -> Result<(Grid, Tier), Failure> {
        let fitted = |step| {
            let (step, tier) = kept.fit(step, self.range);
            (Grid::new(self.range, step), tier)
        };
        let reads = |(grid, tier): &(Grid, Tier)| {
            ((grid.end() - grid.t0 + lead(*tier)) / tier.window_ms()) as usize * series
        };
        let fits =
            |one: &(Grid, Tier), read| one.0.len.saturating_mul(lines) <= max_points && reads(one) <= read;
        let choices: Vec<(Grid, Tier)> = match self.resolution {
            Resolution::Step(step) => vec![fitted(step)],
            Resolution::Width(width) => {
                let finest = Grid::for_width(self.range, width).step;
                let coarser = STEPS.into_iter().filter(|step| *step > finest);
                [finest].into_iter().chain(coarser).map(fitted).collect()
            }
        };
        let good = choices.iter().find(|one| fits(one, GOOD_READ) && one.0.len >= FEW);
        let cheapest = || {
            let shown = choices.iter().filter(|one| fits(one, MAX_READ) && one.0.len >= FEW);
            shown.min_by_key(|one| reads(one))
        };
        let found = good.or_else(cheapest).or_else(|| choices.iter().find(|one| fits(one, MAX_READ)));
        found.copied().ok_or_else(|| {
            let parameter = if matches!(self.resolution, Resolution::Step(_)) { "step" } else { "from" };
            let steps = choices.last().map_or(0, |(grid, _)| grid.len);
            let why = format!(
                "{series} series in {lines} lines over {steps} steps are too many for one answer: ask for a shorter range, a \
                 larger step or fewer series"
            );
            bad(parameter, &why).into()
        })
    }
}

impl App {
    pub(crate) async fn query_many(&self, question: &ManyQuestion, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let directory = self.directory().await?;
        let servers = question.servers(&directory);
        let history = &self.store.history;
        let found = history.series_named(&question.metrics, servers.as_deref(), MAX_SERIES).await;
        let mut series = match found {
            Err(tidewatch_store::Error::TooMuch(most)) => {
                let why = format!(
                    "names more than {most} series: match on server.name or another label of servers"
                );
                return Err(bad("metric", &why).into());
            }
            found => found?,
        };
        if servers.is_none()
            && let Some(unknown) =
                question.metrics.iter().find(|m| !series.iter().any(|s| s.metric_name == **m))
        {
            return Err(unknown_metric(unknown).into());
        }
        series.retain(|one| question.wants(one));
        let over_time = question.over_time(&series)?;
        let (groups, of) = group(&series, &directory, question.across.is_some(), &question.by);
        let kept =
            self.kept_from.get(steps::GOOD_FOR, busy, async { Ok(history.kept_from().await?) }).await?.0;
        let kept = Kept::new(*kept, &directory);
        let (grid, tier) = question.grid(&kept, series.len(), groups.len(), self.max_points)?;
        let query = ReduceQuery {
            series: series.iter().map(|one| one.id).collect(),
            groups: of,
            tier,
            step_ms: grid.step,
            from_ms: grid.t0,
            to_ms: grid.end(),
            lead_ms: if matches!(over_time, OverTime::Rate | OverTime::Increase) { lead(tier) } else { 0 },
            over_time,
            across: question.across,
            limit: self.max_points,
        };
        let reduced = history.reduce(&query).await?;
        let as_of = (self.clock)();
        let (question, format) = (question.clone(), question.format);
        let build = move || {
            format.write(&ManyView {
                from: question.range.from,
                to: question.range.to,
                step: grid.step,
                tier: tier.as_str(),
                as_of,
                agg: name_of(&OVER_TIME, over_time),
                by: &question.by,
                group: question.across.map(|across| name_of(&ACROSS, across)),
                t0: grid.t0,
                series: lines(grid, &groups, &reduced),
            })
        };
        let built = tokio::task::spawn_blocking(build).await;
        let body = built.map_err(|e| Failure::Outage(e.to_string()))??;
        Ok(Answer { body, format, source: Source::Postgres, link: None, as_of })
    }
}

fn unknown_metric(name: &str) -> Problem {
    Problem::new(
        axum::http::StatusCode::NOT_FOUND,
        "unknown_metric",
        format!("no server has a metric \"{name}\""),
    )
    .with("parameter", "metric".into())
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lines)]
pub(crate) struct ManyView<'a> {
    from: i64,
    to: i64,
    step: i64,
    tier: &'static str,
    as_of: i64,
    agg: &'static str,
    by: &'a [String],
    group: Option<&'static str>,
    t0: i64,
    series: Vec<Line<'a>>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct Line<'a> {
    metric: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    server: Option<ServerName<'a>>,
    #[schema(schema_with = schemas::labels)]
    labels: &'a Labels,
    unit: &'a str,
    /// How many series it stands for.
    series: usize,
    values: Vec<Option<f64>>,
}

impl Table for ManyView<'_> {
    fn rows(&self, csv: &mut Csv) -> csv::Result<()> {
        csv.row(["time", "metric", "server", "labels", "value"].map(Field::Text))?;
        for line in &self.series {
            let labels = labels_text(line.labels);
            let server = line.server.as_ref().map_or(Field::None, |server| Field::Text(server.name));
            for (i, value) in line.values.iter().enumerate().filter(|(_, value)| value.is_some()) {
                let time = rfc3339(self.t0 + i as i64 * self.step);
                let names = [Field::Text(&time), Field::Text(line.metric), server, Field::Text(&labels)];
                csv.row(names.into_iter().chain([(*value).into()]))?;
            }
        }
        Ok(())
    }
}

/// The values in their steps; a group without any is left out.
fn lines<'a>(grid: Grid, groups: &'a [Group], reduced: &[Reduced]) -> Vec<Line<'a>> {
    let mut values: Vec<Vec<Option<f64>>> = vec![Vec::new(); groups.len()];
    for one in reduced {
        let step = grid.index(one.ts_ms);
        let line = usize::try_from(one.group).ok().and_then(|group| values.get_mut(group));
        if let (Some(line), Some(step)) = (line, step) {
            line.resize(grid.len, None);
            line[step] = finite(one.value);
        }
    }
    let line = |(group, values): (&'a Group, Vec<Option<f64>>)| Line {
        metric: &group.metric,
        server: group.server.as_ref().map(|(id, name)| ServerName { id: *id, name }),
        labels: &group.labels,
        unit: &group.unit,
        series: group.series,
        values,
    };
    let there = groups.iter().zip(values).filter(|(_, values)| values.iter().any(Option::is_some));
    there.map(line).collect()
}

#[cfg(test)]
mod tests;
