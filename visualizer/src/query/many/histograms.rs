//! Histograms over many servers. In: the series that a question names. Out: values of groups by step, made of what all of a
//! group observed in a step: never a quantile of quantiles.
//!
//! Two forms: base-2 exponential ones, which have tables of their own, and classic ones, which are counters with a label `le`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tidewatch_schemas::{Labels, SeriesKind, distribution::relative_error};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{HistogramQuery, OverTime, ReduceQuery, Reduced, SeriesMeta};

use super::{Bounds, Context, Found, ManyQuestion, OVER_TIME, cached::Reduction, group, name_of};
use crate::{
    app::{App, Failure},
    params::{Params, bad},
    query::{
        columns::lead,
        observed::{self, Stat},
        quantile::{self, Bound, Cumulative},
    },
};

/// The label of a classic bucket: its upper bound.
const LE: &str = "le";

/// Windows of histograms that one question may read, and those that a `width` rather reads than coarser ones. They are larger
/// than those of values.
const MAX_READ: usize = 300_000;
const GOOD_READ: usize = 50_000;

/// What a question is about, by the series that it names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What {
    Values(OverTime),
    Observed(Stat),
    /// The share of a quantile.
    Classic(f64),
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Values(over_time) => name_of(&OVER_TIME, over_time),
            Self::Observed(Stat::Avg) => "avg",
            Self::Observed(Stat::Min) => "min",
            Self::Observed(Stat::Max) => "max",
            Self::Observed(Stat::Sum) => "sum",
            Self::Observed(Stat::Count) => "count",
            Self::Observed(Stat::Rate) => "rate",
            Self::Observed(Stat::Quantile(_)) | Self::Classic(_) => "quantile",
        }
    }

    pub(super) fn q(self) -> Option<f64> {
        match self {
            Self::Observed(Stat::Quantile(q)) | Self::Classic(q) => Some(q),
            _ => None,
        }
    }
}

/// `q`, which belongs to `agg=quantile`.
pub(super) fn share(params: &Params) -> Result<Option<f64>, Problem> {
    let expected = "has to be a number from 0 to 1";
    match (params.get("agg") == Some("quantile"), params.get("q")) {
        (true, Some(text)) => {
            let q = text.parse::<f64>().ok().filter(|q| (0.0..=1.0).contains(q));
            q.map(Some).ok_or_else(|| bad("q", expected))
        }
        (true, None) => Err(bad("q", &format!("is required with agg=quantile and {expected}"))),
        (false, Some(_)) => Err(bad("q", "is of agg=quantile")),
        (false, None) => Ok(None),
    }
}

impl ManyQuestion {
    pub(super) fn what(&self, series: &[SeriesMeta], histograms: &[SeriesMeta]) -> Result<What, Problem> {
        let what = match (self.q, series, histograms) {
            (_, [value, ..], [histogram, ..]) => {
                let (histogram, value) = (&histogram.metric_name, &value.metric_name);
                return Err(bad(
                    "metric",
                    &format!(
                        "names a histogram, {histogram}, and {value}, which is none: ask for them one by one"
                    ),
                ));
            }
            (Some(q), [], _) => What::Observed(Stat::Quantile(q)),
            (Some(q), series, []) => {
                let is_bucket =
                    |one: &&SeriesMeta| one.kind == SeriesKind::Counter && one.labels.contains_key(LE);
                if let Some(other) = series.iter().find(|one| !is_bucket(one)) {
                    let is = if other.kind == SeriesKind::Gauge { "a gauge" } else { "a counter without it" };
                    let name = &other.metric_name;
                    let why = format!(
                        "quantile is of histograms and of counters with a label le, and {name} is {is}"
                    );
                    return Err(bad("agg", &why));
                }
                What::Classic(q)
            }
            (None, [], histograms) if self.merge || !histograms.is_empty() => What::Observed(self.stat()?),
            (None, series, _) => What::Values(self.over_time(series)?),
        };
        match what {
            What::Values(_) if self.merge => Err(bad("group", "merge is of histograms and quantiles")),
            What::Observed(_) | What::Classic(_) if self.group_given && !self.merge => {
                Err(bad("group", "may only be merge: the histograms of a group are added up first"))
            }
            What::Classic(_) if self.by.iter().any(|label| label == LE) => {
                Err(bad("by", "may not be le: a quantile is made of the counters of all le"))
            }
            what => Ok(what),
        }
    }

    /// What is made of the observations of a step when it is no quantile.
    fn stat(&self) -> Result<Stat, Problem> {
        match self.agg {
            None | Some(OverTime::Avg) => Ok(Stat::Avg),
            Some(OverTime::Min) => Ok(Stat::Min),
            Some(OverTime::Max) => Ok(Stat::Max),
            Some(OverTime::Sum) => Ok(Stat::Sum),
            Some(OverTime::Count) => Ok(Stat::Count),
            Some(OverTime::Rate) => Ok(Stat::Rate),
            Some(OverTime::Last | OverTime::Increase) => {
                Err(bad("agg", "of a histogram has to be one of avg, min, max, sum, count, rate, quantile"))
            }
        }
    }

    /// Whether several histograms become one line.
    pub(super) fn is_merged(&self) -> bool {
        self.merge || !self.by.is_empty()
    }
}

impl App {
    /// Of histograms that have windows of their own.
    pub(super) async fn observed(
        &self,
        question: &ManyQuestion,
        context: &Context<'_>,
        series: &[SeriesMeta],
        stat: Stat,
    ) -> Result<Found, Failure> {
        let (groups, of) = group(series, context.directory, question.is_merged(), &question.by);
        let bounds = Bounds { points: self.max_points, good: GOOD_READ, most: MAX_READ };
        let (grid, tier) = question.grid(&context.kept, series.len(), groups.len(), bounds)?;
        let query = HistogramQuery {
            series: series.iter().map(|one| one.id).collect(),
            tier,
            step_ms: grid.step,
            from_ms: grid.t0,
            to_ms: grid.end(),
            buckets: stat.needs_buckets(),
            // the minutes behind what is closed of longer windows may be as many again
            limit: 2 * MAX_READ,
        };
        let cells = observed::cells(&self.store.history, &query, &of, grid).await?;
        let mut errors = vec![None; groups.len()];
        let mut reduced = Vec::with_capacity(cells.len());
        for ((group, step), observed) in cells {
            let ts_ms = grid.t0 + step as i64 * grid.step;
            let Some(value) = stat.of(&observed, grid.step) else { continue };
            reduced.push(Reduced { group, ts_ms, value });
            if stat.needs_buckets() {
                let error = &mut errors[group as usize];
                *error = Some(relative_error(observed.scale).max(error.unwrap_or(0.0)));
            }
        }
        Ok(Found { groups, reduced: self.reduction(reduced), errors, grid, tier })
    }

    /// Of counters, each of a bucket.
    pub(super) async fn classic(
        &self,
        question: &ManyQuestion,
        context: &Context<'_>,
        counters: &[SeriesMeta],
        q: f64,
    ) -> Result<Found, Failure> {
        let Classic { histograms, buckets } = Classic::of(counters);
        let (groups, of) = group(&histograms, context.directory, question.is_merged(), &question.by);
        // the growth of every counter is held
        let bounds = Bounds { points: self.max_points, good: super::GOOD_READ, most: super::MAX_READ };
        let (grid, tier) = question.grid(&context.kept, buckets.len(), buckets.len(), bounds)?;
        let query = ReduceQuery {
            series: buckets.iter().map(|bucket| bucket.id).collect(),
            groups: (0..buckets.len() as i32).collect(),
            tier,
            step_ms: grid.step,
            from_ms: grid.t0,
            to_ms: grid.end(),
            lead_ms: lead(tier),
            over_time: OverTime::Increase,
            across: None,
            limit: self.max_points,
        };
        let grown = self.reduced(&query).await?;
        let values = quantiles(&buckets, &of, &grown.values, q);
        let reduced = Arc::new(Reduction { as_of: grown.as_of, source: grown.source, values });
        Ok(Found { errors: vec![None; groups.len()], groups, reduced, grid, tier })
    }
}

/// Counters that are the buckets of histograms.
#[derive(Debug)]
pub(super) struct Classic {
    /// Without `le`; their ids are of no use.
    pub(super) histograms: Vec<SeriesMeta>,
    pub(super) buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    /// Of the counter.
    pub(super) id: i32,
    /// Which of the histograms it is of.
    pub(super) histogram: usize,
    pub(super) bound: Bound,
}

impl Classic {
    /// A counter whose `le` is no number is of no histogram.
    pub(super) fn of(counters: &[SeriesMeta]) -> Self {
        let mut of: BTreeMap<(i32, &str, Labels), usize> = BTreeMap::new();
        let (mut histograms, mut buckets) = (Vec::new(), Vec::new());
        for counter in counters {
            let mut labels = counter.labels.clone();
            let Some(bound) = labels.remove(LE).as_deref().and_then(Bound::parse) else { continue };
            let key = (counter.server_id, counter.metric_name.as_str(), labels.clone());
            let histogram = *of.entry(key).or_insert(histograms.len());
            if histogram == histograms.len() {
                // the unit of a counter is that of observations, not of what was observed
                histograms.push(SeriesMeta { labels, unit: String::new(), ..counter.clone() });
            }
            buckets.push(Bucket { id: counter.id, histogram, bound });
        }
        Self { histograms, buckets }
    }
}

/// `of`: the group of each histogram; `grown`: by how much each bucket's counter grew in a step, its group being the bucket.
pub(super) fn quantiles(buckets: &[Bucket], of: &[i32], grown: &[Reduced], q: f64) -> Vec<Reduced> {
    let mut steps: HashMap<(i32, i64), BTreeMap<usize, Cumulative>> = HashMap::new();
    for one in grown {
        let Some(bucket) = buckets.get(one.group as usize) else { continue };
        let step = steps.entry((of[bucket.histogram], one.ts_ms)).or_default();
        *step.entry(bucket.histogram).or_default().entry(bucket.bound).or_insert(0.0) += one.value;
    }
    let quantile = |((group, ts_ms), parts): ((i32, i64), BTreeMap<usize, Cumulative>)| {
        // who observed nothing has no say in which bounds there are
        let parts = parts.into_values().filter(|part| part.values().any(|count| *count > 0.0));
        let sum = parts.reduce(|mut sum, part| {
            quantile::merge(&mut sum, &part);
            sum
        })?;
        Some(Reduced { group, ts_ms, value: quantile::of_classic(&sum, q)? })
    };
    steps.into_iter().filter_map(quantile).collect()
}
