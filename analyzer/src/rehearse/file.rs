//! A file of rule tests. Unknown keys are refused; every complaint names its line.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_saphyr::Spanned;
use tidewatch_schemas::{
    Labels, Limits, Series, SeriesKind, Severity,
    time::parse_rfc3339,
    validate::{check_series, check_server_name},
};
use tidewatch_service_kit::config::duration;

use super::{SECOND_MS, WINDOW_MS, values};
use crate::rules::{RuleError, read_yaml};

/// Mon 23 Nov 2026 00:00 UTC.
const START: i64 = 1_795_392_000_000;
const LONGEST_MS: i64 = 30 * 86_400_000;
const SERVER: &str = "server-1";

/// Checked tests, and the rules they are about.
#[derive(Debug, Clone)]
pub struct TestFile {
    pub(super) path: PathBuf,
    /// As it stands in the file; the built-in ones without it.
    pub rules: Option<String>,
    pub(super) tests: Vec<Test>,
}

#[derive(Debug, Clone)]
pub(super) struct Test {
    pub(super) name: String,
    pub(super) start: i64,
    pub(super) interval_ms: i64,
    pub(super) inputs: Vec<Input>,
    pub(super) asks: Vec<Ask>,
}

/// The values of one series, one for each interval.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) server: String,
    pub(super) series: Series,
    pub(super) values: Vec<Option<f64>>,
}

/// Which alerts of a rule have to be open at a time.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) line: u64,
    pub(super) at_ms: i64,
    pub(super) rule: String,
    pub(super) expected: Vec<Expected>,
}

#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) server: String,
    pub(super) labels: Labels,
    pub(super) severity: Option<Severity>,
    pub(super) starts_ms: Option<i64>,
}

type Text = Spanned<String>;
type Wrong = (u64, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Option<String>,
    tests: Vec<Spanned<RawTest>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: Option<String>,
    start: Option<Text>,
    interval: Option<Text>,
    server: Option<Text>,
    input_series: Vec<RawInput>,
    alert_rule_test: Vec<Spanned<RawAsk>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    series: Text,
    server: Option<Text>,
    kind: Option<SeriesKind>,
    #[serde(default)]
    unit: String,
    values: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAsk {
    eval_time: Text,
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<RawExpected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpected {
    server: Option<String>,
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    severity: Option<Severity>,
    starts: Option<Text>,
}

/// The tests of a file's text; `path` is only for the complaint.
pub fn parse(text: &str, path: &Path) -> Result<TestFile, RuleError> {
    let complain = |(line, message): Wrong| RuleError { path: path.to_owned(), line, message };
    let file: File = read_yaml(text).map_err(complain)?;
    let tests = file.tests.into_iter().map(check).collect::<Result<_, _>>().map_err(complain)?;
    Ok(TestFile { path: path.to_owned(), rules: file.rules, tests })
}

fn wrong<T>(place: &Spanned<T>, message: impl Into<String>) -> Wrong {
    (place.defined.line(), message.into())
}

fn check(raw: Spanned<RawTest>) -> Result<Test, Wrong> {
    let line = raw.defined.line();
    let raw = raw.value;
    let interval_ms = raw.interval.as_ref().map_or(Ok(WINDOW_MS), millis)?;
    if let Some(interval) = raw.interval.as_ref().filter(|_| interval_ms == 0 || interval_ms % WINDOW_MS != 0)
    {
        return Err(wrong(interval, "windows are of 10 s: `interval` is a multiple of that"));
    }
    let start = raw.start.as_ref().map_or(Ok(START), |text| {
        let time = parse_rfc3339(&text.value).filter(|time| time % WINDOW_MS == 0);
        time.ok_or_else(|| wrong(text, "`start` is a time such as 2026-11-23T02:00:00Z, on a full 10 s"))
    })?;
    let server = server(raw.server.as_ref(), SERVER)?;
    let inputs = raw.input_series.into_iter().map(|input| check_input(input, &server));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let asks = raw.alert_rule_test.into_iter().map(|ask| check_ask(ask, &server));
    let asks = asks.collect::<Result<_, _>>()?;
    let name = raw.name.unwrap_or_else(|| format!("line {line}"));
    Ok(Test { name, start, interval_ms, inputs, asks })
}

fn millis(text: &Text) -> Result<i64, Wrong> {
    let time = duration(&text.value).map_err(|message| wrong(text, message))?;
    i64::try_from(time.as_millis())
        .ok()
        .filter(|millis| *millis <= LONGEST_MS)
        .ok_or_else(|| wrong(text, format!("`{}` is too long: 30d at most", text.value)))
}

fn server(text: Option<&Text>, default: &str) -> Result<String, Wrong> {
    let Some(text) = text else { return Ok(default.to_owned()) };
    check_server_name(&text.value).map_err(|_| wrong(text, format!("`{}` is no server name", text.value)))?;
    Ok(text.value.clone())
}

fn check_input(raw: RawInput, of_test: &str) -> Result<Input, Wrong> {
    let server = server(raw.server.as_ref(), of_test)?;
    let (metric, labels) = notation(&raw.series.value).ok_or_else(|| {
        wrong(&raw.series, format!("`{}` is no series such as metric{{label=\"value\"}}", raw.series.value))
    })?;
    let kind =
        raw.kind.unwrap_or(if metric.ends_with("_total") { SeriesKind::Counter } else { SeriesKind::Gauge });
    let series = Series { metric, labels, kind, unit: raw.unit };
    check_series(&series, &Limits::default())
        .map_err(|reason| wrong(&raw.series, format!("no collector sends such a series: {reason}")))?;
    let values = values::parse(&raw.values.value).map_err(|message| wrong(&raw.values, message))?;
    Ok(Input { server, series, values })
}

/// `metric{label="value", other="\"quoted\""}`.
fn notation(text: &str) -> Option<(String, Labels)> {
    let (metric, mut rest) = text.trim().split_once('{').unwrap_or((text.trim(), "}"));
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start();
        if let Some(end) = rest.strip_prefix('}') {
            return (end.is_empty() && !metric.is_empty()).then(|| (metric.trim_end().to_owned(), labels));
        }
        let (name, quoted) = rest.split_once('=')?;
        let (value, after) = unquoted(quoted.trim_start().strip_prefix('"')?)?;
        let is_new = labels.insert(name.trim().to_owned(), value).is_none();
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(rest) => rest,
            None if rest.starts_with('}') => rest,
            None => return None,
        };
        if !is_new {
            return None;
        }
    }
}

/// A text up to its closing quote, and what is behind that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}

fn check_ask(raw: Spanned<RawAsk>, of_test: &str) -> Result<Ask, Wrong> {
    let line = raw.defined.line();
    let raw = raw.value;
    let at_ms = millis(&raw.eval_time)?;
    if at_ms % SECOND_MS != 0 {
        return Err(wrong(&raw.eval_time, "the clock ticks in seconds: `eval_time` is a multiple of that"));
    }
    let expected = |expected: RawExpected| {
        Ok(Expected {
            server: expected.server.unwrap_or_else(|| of_test.to_owned()),
            labels: expected.exp_labels,
            severity: expected.severity,
            starts_ms: expected.starts.as_ref().map(millis).transpose()?,
        })
    };
    let expected = raw.exp_alerts.into_iter().map(expected).collect::<Result<_, Wrong>>()?;
    Ok(Ask { line, at_ms, rule: raw.alertname, expected })
}
