//! YAML to rules. Unknown keys are refused; every complaint names its line.

use std::{collections::BTreeSet, path::Path};

use serde::Deserialize;
use serde_saphyr::Spanned;
use tidewatch_schemas::{Limits, Severity, validate::check_metric_name};
use tidewatch_service_kit::config::duration;

use super::{
    Condition, Forecast, LEARNED, LabelMatcher, Matcher, Of, Rule, RuleError, RuleSet, Side, Threshold,
};
use crate::trend::FURTHEST_MS;

/// The least time after which a server counts as silent: a window needs some seconds to get here.
const LEAST_SILENCE_MS: i64 = 30_000;

/// A forecast needs some minutes to be made, and does not see further than this.
const FORECAST_MS: std::ops::RangeInclusive<i64> = 600_000..=FURTHEST_MS;

/// A series keeps the number of each rule about it in 16 bits.
const MOST_RULES: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    metric: Option<Spanned<String>>,
    absent: Option<Spanned<Absent>>,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    server: Option<Spanned<String>>,
    above: Option<Spanned<f64>>,
    below: Option<Spanned<f64>>,
    clear_below: Option<Spanned<f64>>,
    clear_above: Option<Spanned<f64>>,
    of: Option<Of>,
    within: Option<Spanned<String>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    keep: Option<Spanned<String>>,
    #[serde(default)]
    severity: Severity,
    summary: Option<String>,
    runbook: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Absent {
    Server,
}

/// A complaint about a line.
type Wrong = (u64, String);

/// The rules of a file's text; `path` is only for the complaint.
pub fn parse(text: &str, path: &Path) -> Result<RuleSet, RuleError> {
    let complain = |(line, message): Wrong| RuleError { path: path.to_owned(), line, message };
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |at| at.line());
        complain((line.max(1), one_line(&error.to_string())))
    })?;
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
    Ok(RuleSet { rules })
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
        (raw.name.defined.line(), format!("`{}` is no name: letters, digits, _ - . :", raw.name.value))
    })?;
    if raw.name.value == LEARNED {
        return Err((
            raw.name.defined.line(),
            format!("`{LEARNED}` is the name of the detector's own alerts"),
        ));
    }
    let server = raw
        .server
        .as_ref()
        .map(|text| Matcher::parse(&text.value).map_err(|message| (text.defined.line(), message)))
        .transpose()?;
    let hold_ms = millis(raw.hold.as_ref())?;
    let keep_ms = millis(raw.keep.as_ref())?;
    let condition = match (&raw.metric, &raw.absent) {
        (Some(metric), None) => match &raw.within {
            Some(within) => Condition::Forecast(forecast(&raw, metric, within, line)?),
            None => Condition::Threshold(threshold(&raw, metric, line)?),
        },
        (None, Some(absent)) => silence(&raw, absent, hold_ms)?,
        (Some(_), Some(absent)) => {
            return Err((
                absent.defined.line(),
                "a rule is about a `metric` or about what is `absent`, not both".into(),
            ));
        }
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
        condition,
    })
}

fn millis(text: Option<&Spanned<String>>) -> Result<i64, Wrong> {
    let Some(text) = text else { return Ok(0) };
    duration(&text.value)
        .map(|time| time.as_millis() as i64)
        .map_err(|message| (text.defined.line(), message))
}

fn silence(raw: &Raw, absent: &Spanned<Absent>, hold_ms: i64) -> Result<Condition, Wrong> {
    let Absent::Server = absent.value;
    let levels = [&raw.above, &raw.below, &raw.clear_above, &raw.clear_below];
    if let Some(level) = levels.into_iter().flatten().next() {
        return Err((level.defined.line(), "a rule about what is absent has no level".into()));
    }
    if let Some(label) = raw.labels.first() {
        return Err((label.defined.line(), "a rule about a server has no labels: use `server`".into()));
    }
    if let Some(keep) = &raw.keep {
        return Err((keep.defined.line(), "a rule about what is absent has no `keep`".into()));
    }
    if let Some(within) = &raw.within {
        return Err((within.defined.line(), "a rule about what is absent has no `within`".into()));
    }
    if raw.of.is_some() {
        return Err((absent.defined.line(), "a rule about what is absent has no `of`".into()));
    }
    if hold_ms < LEAST_SILENCE_MS {
        let line = raw.hold.as_ref().map_or(absent.defined.line(), |hold| hold.defined.line());
        return Err((line, "a rule about what is absent needs `for` of 30s at least".into()));
    }
    Ok(Condition::Silence)
}

fn forecast(
    raw: &Raw,
    metric: &Spanned<String>,
    within: &Spanned<String>,
    line: u64,
) -> Result<Forecast, Wrong> {
    if let Some(clear) = [&raw.clear_above, &raw.clear_below].into_iter().flatten().next() {
        return Err((clear.defined.line(), "a forecast ends by itself: it has no level that clears".into()));
    }
    let within_ms = millis(Some(within))?;
    if !FORECAST_MS.contains(&within_ms) {
        return Err((within.defined.line(), "`within` of a forecast is between 10m and 32h".into()));
    }
    Ok(Forecast { beyond: threshold(raw, metric, line)?, within_ms })
}

fn threshold(raw: &Raw, metric: &Spanned<String>, line: u64) -> Result<Threshold, Wrong> {
    check_metric_name(&metric.value, &Limits::default())
        .map_err(|_| (metric.defined.line(), format!("`{}` is no metric name", metric.value)))?;
    let (side, limit, clear, wrong_clear) = match (&raw.above, &raw.below) {
        (Some(above), None) => (Side::Above, above, &raw.clear_below, &raw.clear_above),
        (None, Some(below)) => (Side::Below, below, &raw.clear_above, &raw.clear_below),
        (Some(_), Some(below)) => {
            return Err((below.defined.line(), "a rule has `above` or `below`, not both".into()));
        }
        (None, None) => return Err((line, "a rule about a metric needs `above` or `below`".into())),
    };
    if let Some(wrong) = wrong_clear {
        return Err((
            wrong.defined.line(),
            "`above` clears with `clear_below`, `below` with `clear_above`".into(),
        ));
    }
    for level in [Some(limit), clear.as_ref()].into_iter().flatten() {
        if !level.value.is_finite() {
            return Err((level.defined.line(), "a level has to be a finite number".into()));
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
    let labels = raw
        .labels
        .iter()
        .map(|text| LabelMatcher::parse(&text.value).map_err(|message| (text.defined.line(), message)))
        .collect::<Result<_, _>>()?;
    Ok(Threshold {
        metric: metric.value.clone(),
        labels,
        of: raw.of,
        side,
        limit: limit.value,
        clear: clear_level,
    })
}
