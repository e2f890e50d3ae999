//! YAML to rules. Unknown keys are refused; every complaint names its line.

use std::{collections::BTreeSet, path::Path};

use serde::Deserialize;
use serde_saphyr::Spanned;
use tidewatch_schemas::{Limits, validate::check_metric_name};
use tidewatch_service_kit::config::duration;

use super::{
    Condition, Forecast, LEARNED, LabelMatcher, Matcher, Measure, Of, Recurring, Rule, RuleError, RuleSet,
    Selector, Side, Threshold,
    raw::{Absent, File, Raw, Text},
};
use crate::trend::FURTHEST_MS;

/// The least time after which something counts as absent: a window needs some seconds to get here.
const LEAST_SILENCE_MS: i64 = 30_000;
/// What a new owner of a partition reads again grows with it.
const LONGEST_WAIT_MS: i64 = 30 * 86_400_000;
/// A change needs some windows, and what a new owner has to read again is limited.
const LEAST_SPAN_MS: i64 = 30_000;
const LONGEST_SPAN_MS: i64 = 6 * 3_600_000;
/// A forecast needs some minutes to be made.
const LEAST_HORIZON_MS: i64 = 600_000;

/// A series keeps the number of each rule about it in 16 bits.
const MOST_RULES: usize = 10_000;

/// A complaint about a line.
type Wrong = (u64, String);

/// The rules of a file's text; `path` is only for the complaint.
pub fn parse(text: &str, path: &Path) -> Result<RuleSet, RuleError> {
    let complain = |(line, message): Wrong| RuleError { path: path.to_owned(), line, message };
    let file: File = read_yaml(text).map_err(complain)?;
    if let Some(first) = file.rules.get(MOST_RULES) {
        return Err(complain((first.defined.line(), format!("more than {MOST_RULES} rules"))));
    }
    let mut rules = Vec::with_capacity(file.rules.len());
    let mut names = BTreeSet::new();
    for raw in file.rules {
        let line = raw.defined.line();
        let rule = check(raw.value, line).map_err(complain)?;
        if !names.insert(rule.name.clone()) {
            return Err(complain((line, format!("a rule `{}` stands above already", rule.name))));
        }
        rules.push(rule);
    }
    Ok(RuleSet::new(rules))
}

/// YAML of any shape, or the line and the reason why it is none.
pub(crate) fn read_yaml<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, (u64, String)> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |at| at.line());
        (line.max(1), one_line(&error.to_string()))
    })
}

/// The message alone: the place is said by us, in the form that editors jump to.
fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let first =
        first.strip_prefix("line ").and_then(|rest| rest.split_once(": ")).map_or(first, |(_, rest)| rest);
    first.split(" at line ").next().unwrap_or(first).to_owned()
}

fn check(raw: Raw, line: u64) -> Result<Rule, Wrong> {
    check_metric_name(&raw.name.value, &Limits::default()).map_err(|_| {
        wrong(&raw.name, format!("`{}` is no name: letters, digits, _ - . :", raw.name.value))
    })?;
    if raw.name.value == LEARNED {
        return Err(wrong(&raw.name, format!("`{LEARNED}` is the name of the detector's own alerts")));
    }
    let matcher = |text: &Text| Matcher::parse(&text.value).map_err(|message| wrong(text, message));
    let server = raw.server.as_ref().map(matcher).transpose()?;
    let quiet = |text: &Text| Recurring::parse(&text.value).map_err(|message| wrong(text, message));
    let quiet = raw.quiet.iter().map(quiet).collect::<Result<_, _>>()?;
    let hold_ms = millis(raw.hold.as_ref())?;
    let keep_ms = millis(raw.keep.as_ref())?;
    let condition = match (&raw.metric, &raw.absent) {
        (Some(metric), None) => match &raw.within {
            Some(within) => Condition::Forecast(forecast(&raw, metric, within, line)?),
            None => Condition::Threshold(threshold(&raw, metric, line)?),
        },
        (metric, Some(absent)) => missing(&raw, metric.as_ref(), absent, hold_ms)?,
        (None, None) => return Err((line, "a rule needs a `metric`, or `absent: server`".into())),
    };
    Ok(Rule {
        name: raw.name.value,
        severity: raw.severity,
        summary: raw.summary,
        runbook: raw.runbook,
        server,
        hold_ms,
        keep_ms,
        quiet,
        condition,
    })
}

fn wrong<T>(place: &Spanned<T>, message: impl Into<String>) -> Wrong {
    (place.defined.line(), message.into())
}

fn millis(text: Option<&Text>) -> Result<i64, Wrong> {
    let Some(text) = text else { return Ok(0) };
    let time = duration(&text.value).map_err(|message| wrong(text, message))?;
    i64::try_from(time.as_millis())
        .ok()
        .filter(|millis| *millis <= LONGEST_WAIT_MS)
        .ok_or_else(|| wrong(text, format!("`{}` is too long: 30d at most", text.value)))
}

/// A rule about what is not there.
fn missing(
    raw: &Raw,
    metric: Option<&Text>,
    absent: &Spanned<Absent>,
    hold_ms: i64,
) -> Result<Condition, Wrong> {
    let levels = [&raw.above, &raw.below, &raw.clear_above, &raw.clear_below];
    if let Some(level) = levels.into_iter().flatten().next() {
        return Err(wrong(level, "a rule about what is absent has no level"));
    }
    if let Some(of) = &raw.of {
        return Err(wrong(of, "a rule about what is absent has no `of`"));
    }
    for (key, text) in [
        ("change_over", &raw.change_over),
        ("per", &raw.per),
        ("divided_by", &raw.divided_by),
        ("within", &raw.within),
    ] {
        if let Some(text) = text {
            return Err(wrong(text, format!("a rule about what is absent has no `{key}`")));
        }
    }
    if hold_ms < LEAST_SILENCE_MS {
        let line = raw.hold.as_ref().map_or(absent.defined.line(), |hold| hold.defined.line());
        return Err((line, "a rule about what is absent needs `for` of 30s at least".into()));
    }
    match (absent.value, metric) {
        (Absent::Server, None) => {}
        (Absent::Server, Some(metric)) => {
            return Err(wrong(metric, "`absent: server` is about all that a server says: without `metric`"));
        }
        (Absent::Series, Some(metric)) => return Ok(Condition::SeriesAbsent(select(raw, metric)?)),
        (Absent::Metric, Some(metric)) => return Ok(Condition::MetricAbsent(select(raw, metric)?)),
        (Absent::Series | Absent::Metric, None) => {
            return Err(wrong(absent, "which one? `absent: series` and `absent: metric` need a `metric`"));
        }
    }
    if let Some(label) = raw.labels.first() {
        return Err(wrong(label, "a rule about a server has no labels: use `server`"));
    }
    if let Some(keep) = &raw.keep {
        return Err(wrong(keep, "a rule about an absent server has no `keep`"));
    }
    Ok(Condition::Silence)
}

fn select(raw: &Raw, metric: &Text) -> Result<Selector, Wrong> {
    let parsed = Matcher::parse(&metric.value).map_err(|message| wrong(metric, message))?;
    if let Some(name) = parsed.exact() {
        check_metric_name(name, &Limits::default())
            .map_err(|_| wrong(metric, format!("`{name}` is no metric name")))?;
    }
    let label = |text: &Text| LabelMatcher::parse(&text.value).map_err(|message| wrong(text, message));
    Ok(Selector { metric: parsed, labels: raw.labels.iter().map(label).collect::<Result<_, _>>()? })
}

fn forecast(raw: &Raw, metric: &Text, within: &Text, line: u64) -> Result<Forecast, Wrong> {
    if let Some(clear) = raw.clear_above.as_ref().or(raw.clear_below.as_ref()) {
        return Err(wrong(clear, "a forecast ends by itself: it has no level that clears"));
    }
    if let Some(of) = raw.of.as_ref().filter(|of| of.value == Of::Score) {
        return Err(wrong(of, "a score goes nowhere: a forecast is of another figure"));
    }
    if let Some(over) = &raw.change_over {
        return Err(wrong(over, "a forecast is of a value, not of its change: without `change_over`"));
    }
    let within_ms = millis(Some(within))?;
    if !(LEAST_HORIZON_MS..=FURTHEST_MS).contains(&within_ms) {
        return Err(wrong(within, "`within` is 10m at least and 32h at most"));
    }
    Ok(Forecast { beyond: threshold(raw, metric, line)?, within_ms })
}

fn threshold(raw: &Raw, metric: &Text, line: u64) -> Result<Threshold, Wrong> {
    let select = select(raw, metric)?;
    let measure = measure(raw, metric, &select)?;
    let (side, limit, clear) = levels(raw, line)?;
    Ok(Threshold { select, of: raw.of.as_ref().map(|of| of.value), measure, side, limit, clear })
}

fn measure(raw: &Raw, metric: &Text, select: &Selector) -> Result<Measure, Wrong> {
    let is_score = raw.of.as_ref().filter(|of| of.value == Of::Score);
    if let (Some(of), Some(_)) = (is_score, raw.change_over.as_ref().or(raw.divided_by.as_ref())) {
        return Err(wrong(of, "a score is compared as it is, without `change_over` and `divided_by`"));
    }
    match (&raw.change_over, &raw.divided_by) {
        (Some(_), Some(by)) => Err(wrong(by, "a rule has `change_over` or `divided_by`, not both")),
        (None, _) if raw.per.is_some() => {
            let line = raw.per.as_ref().map_or(1, |per| per.defined.line());
            Err((line, "`per` belongs to `change_over`".into()))
        }
        (Some(over), None) => {
            let over_ms = millis(Some(over))?;
            if !(LEAST_SPAN_MS..=LONGEST_SPAN_MS).contains(&over_ms) {
                return Err(wrong(over, "`change_over` is 30s at least and 6h at most"));
            }
            let per_ms = raw.per.as_ref().map_or(Ok(1_000), |per| millis(Some(per)))?;
            match &raw.per {
                Some(per) if per_ms == 0 => Err(wrong(per, "`per` is a time such as 1s, 1m or 1h")),
                _ => Ok(Measure::Change { over_ms, per_ms }),
            }
        }
        (None, Some(by)) => {
            if select.metric.exact().is_none() {
                return Err(wrong(metric, "with `divided_by` the `metric` is one name, without a pattern"));
            }
            check_metric_name(&by.value, &Limits::default())
                .map_err(|_| wrong(by, format!("`{}` is no metric name", by.value)))?;
            Ok(Measure::Ratio(by.value.clone()))
        }
        (None, None) => Ok(Measure::Figure),
    }
}

/// The side, the level that fires and the one that clears.
fn levels(raw: &Raw, line: u64) -> Result<(Side, f64, f64), Wrong> {
    let (side, limit, clear, wrong_clear) = match (&raw.above, &raw.below) {
        (Some(above), None) => (Side::Above, above, &raw.clear_below, &raw.clear_above),
        (None, Some(below)) => (Side::Below, below, &raw.clear_above, &raw.clear_below),
        (Some(_), Some(below)) => return Err(wrong(below, "a rule has `above` or `below`, not both")),
        (None, None) => return Err((line, "a rule about a metric needs `above` or `below`".into())),
    };
    if let Some(other) = wrong_clear {
        return Err(wrong(other, "`above` clears with `clear_below`, `below` with `clear_above`"));
    }
    for level in [Some(limit), clear.as_ref()].into_iter().flatten() {
        if !level.value.is_finite() {
            return Err(wrong(level, "a level has to be a finite number"));
        }
    }
    let clear_level = clear.as_ref().map_or(limit.value, |clear| clear.value);
    let on_quiet_side = match side {
        Side::Above => clear_level <= limit.value,
        Side::Below => clear_level >= limit.value,
    };
    if !on_quiet_side {
        let line = clear.as_ref().map_or(line, |clear| clear.defined.line());
        return Err((line, "the level that clears lies beyond the one that fires".into()));
    }
    Ok((side, limit.value, clear_level))
}
