//! `GET /api/v1/query` over many servers: a metric's series, reduced in PostgreSQL. In: a question without `server`, or with
//! `agg`. Out: one line for each series, or for each group of them, on one grid.
//!
//! Keeps: what is asked for is bounded before it is read (series, windows, points); a line's values are those that the
//! same steps of `?server=` show.

use std::sync::Arc;

use tidewatch_schemas::SeriesKind;
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Across, OverTime, ReduceQuery, SeriesMeta, Tier};

pub(crate) mod cached;
mod groups;
mod histograms;
mod steps;
mod view;

use cached::Reduction;
use groups::{Group, group};
use histograms::What;
use steps::Kept;
pub(crate) use view::ManyView;
use view::lines;

use super::{Resolution, ServerName};
use crate::{
    app::{App, Directory, Failure, Mode, busy},
    format::Format,
    keep::Answer,
    matchers::{self, Matcher, SERVER},
    params::{HOUR, Params, Range, bad},
    query::columns::{Grid, STEPS, lead},
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

/// `other` is one that is read elsewhere.
fn read_name<T: Copy>(
    params: &Params,
    parameter: &str,
    names: &[(&str, T)],
    other: &str,
) -> Result<Option<T>, Problem> {
    let Some(text) = params.get(parameter) else { return Ok(None) };
    let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    let known = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| bad(parameter, &format!("has to be one of {known}, {other}")))
}

/// What one answer may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Lines times steps.
    points: usize,
    /// Windows that a question of a `width` reads rather than coarser ones.
    good: usize,
    /// Windows that are read at most.
    most: usize,
}

/// Who there is and what is kept.
#[derive(Debug)]
struct Context<'a> {
    directory: &'a Directory,
    kept: Kept,
}

/// What was read.
#[derive(Debug)]
struct Found {
    groups: Vec<Group>,
    reduced: Arc<Reduction>,
    /// Of each group: how far its values may be off.
    errors: Vec<Option<f64>>,
    grid: Grid,
    tier: Tier,
}

/// A question over many servers.
#[derive(Debug, Clone)]
pub(crate) struct ManyQuestion {
    metrics: Vec<String>,
    matchers: Vec<Matcher>,
    /// Of one server only.
    server: Option<String>,
    agg: Option<OverTime>,
    /// `agg=quantile`.
    q: Option<f64>,
    by: Vec<String>,
    across: Option<Across>,
    /// `group=merge`.
    merge: bool,
    group_given: bool,
    range: Range,
    resolution: Resolution,
    format: Format,
    /// All but the times, as they were asked.
    asked: String,
}

impl ManyQuestion {
    pub(crate) const KNOWN: [&str; 12] =
        ["metric", "server", "match", "agg", "q", "by", "group", "from", "to", "width", "step", "format"];

    pub(crate) fn parse(params: &Params, format: Format, now: i64) -> Result<Self, Problem> {
        let metrics = params.metrics()?;
        if metrics.is_empty() {
            return Err(bad("metric", "is required without server and with agg: the name of a metric"));
        }
        let by = groups::labels(params)?;
        let q = histograms::share(params)?;
        let merge = params.get("group") == Some("merge");
        let across = if merge { None } else { read_name(params, "group", &ACROSS, "merge")? };
        Ok(Self {
            metrics,
            matchers: Matcher::all(params, "match")?,
            server: params.get("server").map(str::to_owned),
            agg: if q.is_some() { None } else { read_name(params, "agg", &OVER_TIME, "quantile")? },
            q,
            merge,
            group_given: params.get("group").is_some(),
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
        matchers::servers(&self.matchers, directory)
    }

    /// Whether labels of servers decide what the answer is: these may change when the time in question is over.
    fn is_of_servers_labels(&self) -> bool {
        self.by.iter().any(|label| label.starts_with(SERVER))
            || self.matchers.iter().any(|m| m.behind(SERVER).is_some())
    }

    fn wants(&self, series: &SeriesMeta) -> bool {
        let mut on_series = self.matchers.iter().filter(|m| m.behind(SERVER).is_none());
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
        bounds: Bounds,
    ) -> Result<(Grid, Tier), Failure> {
        let Bounds { points, good, most } = bounds;
        let fitted = |step| {
            let (step, tier) = kept.fit(step, self.range);
            (Grid::new(self.range, step), tier)
        };
        let reads = |(grid, tier): &(Grid, Tier)| {
            ((grid.end() - grid.t0 + lead(*tier)) / tier.window_ms()) as usize * series
        };
        let fits = |one: &(Grid, Tier), read| one.0.len.saturating_mul(lines) <= points && reads(one) <= read;
        let choices: Vec<(Grid, Tier)> = match self.resolution {
            Resolution::Step(step) => vec![fitted(step)],
            Resolution::Width(width) => {
                let finest = Grid::for_width(self.range, width).step;
                let coarser = STEPS.into_iter().filter(|step| *step > finest);
                [finest].into_iter().chain(coarser).map(fitted).collect()
            }
        };
        let finest = choices.iter().find(|one| fits(one, good) && one.0.len >= FEW);
        let cheapest = || {
            let shown = choices.iter().filter(|one| fits(one, most) && one.0.len >= FEW);
            shown.min_by_key(|one| reads(one))
        };
        let found = finest.or_else(cheapest).or_else(|| choices.iter().find(|one| fits(one, most)));
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
        let mut servers = question.servers(&directory);
        if let Some(wanted) = &question.server {
            let id = self.server(wanted).await?.id;
            let is_left = servers.is_none_or(|servers| servers.contains(&id));
            servers = Some(if is_left { vec![id] } else { Vec::new() });
        }
        let (mut series, mut histograms) = self.named(question, servers.as_deref()).await?;
        let is_named = |metric: &String| series.iter().chain(&histograms).any(|s| s.metric_name == *metric);
        if servers.is_none()
            && let Some(unknown) = question.metrics.iter().find(|metric| !is_named(metric))
        {
            return Err(unknown_metric(unknown).into());
        }
        series.retain(|one| question.wants(one));
        histograms.retain(|one| question.wants(one));
        let what = question.what(&series, &histograms)?;
        let history = &self.store.history;
        let kept =
            self.kept_from.get(steps::GOOD_FOR, busy, async { Ok(history.kept_from().await?) }).await?.0;
        let context = Context { directory: &directory, kept: Kept::new(*kept, &directory) };
        let found = match what {
            What::Values(over_time) => self.values(question, &context, &series, over_time).await?,
            What::Observed(stat) => self.observed(question, &context, &histograms, stat).await?,
            What::Classic(q) => self.classic(question, &context, &series, q).await?,
        };
        let (as_of, source) = (found.reduced.as_of, found.reduced.source);
        let ends = (!question.is_of_servers_labels()).then(|| found.grid.end());
        let (question, format) = (question.clone(), question.format);
        let build = move || {
            let group = match what {
                What::Values(_) => question.across.map(|across| name_of(&ACROSS, across)),
                _ => question.is_merged().then_some("merge"),
            };
            format.write(&ManyView {
                from: question.range.from,
                to: question.range.to,
                step: found.grid.step,
                tier: found.tier.as_str(),
                as_of,
                agg: what.name(),
                q: what.q(),
                by: &question.by,
                group,
                t0: found.grid.t0,
                series: lines(&found),
            })
        };
        let built = tokio::task::spawn_blocking(build).await;
        let body = built.map_err(|e| Failure::Outage(e.to_string()))??;
        Ok(Answer { body, format, source, link: None, as_of, ends })
    }

    /// The series of a question's names, of values and histograms.
    async fn named(
        &self,
        question: &ManyQuestion,
        servers: Option<&[i32]>,
    ) -> Result<(Vec<SeriesMeta>, Vec<SeriesMeta>), Failure> {
        let (history, metrics) = (&self.store.history, &question.metrics);
        let found = tokio::try_join!(
            history.series_named(metrics, servers, MAX_SERIES),
            history.histograms_named(metrics, servers, MAX_SERIES)
        );
        match found {
            Err(tidewatch_store::Error::TooMuch(most)) => {
                let why = format!(
                    "names more than {most} series: match on server.name or another label of servers"
                );
                Err(bad("metric", &why).into())
            }
            found => Ok(found?),
        }
    }

    /// Of gauges and counters.
    async fn values(
        &self,
        question: &ManyQuestion,
        context: &Context<'_>,
        series: &[SeriesMeta],
        over_time: OverTime,
    ) -> Result<Found, Failure> {
        let (groups, of) = group(series, context.directory, question.across.is_some(), &question.by);
        let bounds = Bounds { points: self.max_points, good: GOOD_READ, most: MAX_READ };
        let (grid, tier) = question.grid(&context.kept, series.len(), groups.len(), bounds)?;
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
        let reduced = self.reduced(&query).await?;
        Ok(Found { errors: vec![None; groups.len()], groups, reduced, grid, tier })
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

#[cfg(test)]
mod tests;
