//! Tests of rules, as promtool has them: series that somebody wrote down, and which alerts have to be open when.
//!
//! In: the text of a test file, and rules. Out: what went otherwise. The series become windows, the windows go through the same
//! [`Analysis`] as real ones do, and a clock ticks every second; nothing is read and nothing waits.

mod file;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use file::{Ask, Expected, Input, Test};
pub use file::{TestFile, parse};
use tidewatch_schemas::{
    AggregateFrame, AggregateKind, Alert, AlertStatus, Labels, Origin, SeriesKind, Severity,
};

use crate::{
    analysis::{Analysis, Output, Said, Sight},
    incident::words,
    rules::{RuleError, RuleSet},
};

const WINDOW_MS: i64 = 10_000;
const SECOND_MS: i64 = 1_000;

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    /// Of each question that was answered otherwise: its line, and how.
    pub failures: Vec<(u64, String)>,
}

/// Runs all tests of a file; refuses one that asks for a rule that there is not.
pub fn run(file: &TestFile, rules: &Arc<RuleSet>) -> Result<Vec<Outcome>, RuleError> {
    for ask in file.tests.iter().flat_map(|test| &test.asks) {
        if rules.by_name(&ask.rule).is_none() {
            let message = format!("there is no rule `{}`", ask.rule);
            return Err(RuleError { path: file.path.clone(), line: ask.line, message });
        }
    }
    let outcome = |test: &Test| Outcome { name: test.name.clone(), failures: rehearse(test, rules) };
    Ok(file.tests.iter().map(outcome).collect())
}

fn rehearse(test: &Test, rules: &Arc<RuleSet>) -> Vec<(u64, String)> {
    let mut analysis = Analysis::new(Arc::clone(rules));
    analysis.go_live(Said::default());
    let servers: BTreeSet<&str> = test.inputs.iter().map(|input| input.server.as_str()).collect();
    let last = test.asks.iter().map(|ask| ask.at_ms).max().unwrap_or(0);
    let mut open: BTreeMap<String, Alert> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut out = Vec::new();
    for at in (0..=last).step_by(SECOND_MS as usize) {
        let now = test.start + at;
        if at > 0 && at % WINDOW_MS == 0 {
            for server in &servers {
                if let Some(frame) = frame(test, server, at / WINDOW_MS - 1) {
                    analysis.step(&frame, now, &mut out);
                }
            }
        }
        analysis.tick(now, Sight::Clear, Some(test.start), &mut out);
        for output in out.drain(..) {
            let Output::Alert(alert) = output else { continue };
            match alert.status {
                AlertStatus::Firing => open.insert(alert.alert_id.clone(), *alert),
                AlertStatus::Resolved => open.remove(&alert.alert_id),
            };
        }
        for ask in test.asks.iter().filter(|ask| ask.at_ms == at) {
            let found: Vec<&Alert> = open.values().filter(|alert| alert.rule == ask.rule).collect();
            failures.extend(compare(test, ask, found).map(|how| (ask.line, how)));
        }
    }
    failures
}

/// What a server reports in a window; nothing when all its series are missing.
fn frame(test: &Test, server: &str, window: i64) -> Option<AggregateFrame> {
    let of_server = test.inputs.iter().filter(|input| input.server == server);
    let present = of_server.filter_map(|input| Some((input, value(test, input, window)?)));
    let (inputs, column): (Vec<&Input>, Vec<f64>) = present.unzip();
    let n = inputs.len();
    (n > 0).then(|| AggregateFrame {
        server: server.to_owned(),
        window_start: test.start + window * WINDOW_MS,
        window_ms: WINDOW_MS,
        kind: AggregateKind::Final,
        origin: Origin { partition: 0, offset: window },
        layout: inputs.into_iter().map(|input| input.series.clone()).collect(),
        count: vec![1; n],
        sum: column.clone(),
        min: column.clone(),
        max: column.clone(),
        first: column.clone(),
        last: column,
        first_at: vec![0; n],
        last_at: vec![0; n],
        m2: vec![0.0; n],
        increase: vec![0.0; n],
        resets: vec![0; n],
        histograms: vec![],
    })
}

/// Between two values a gauge stays and a counter grows evenly; one that falls was started again.
fn value(test: &Test, input: &Input, window: i64) -> Option<f64> {
    let windows = test.interval_ms / WINDOW_MS;
    let place = (window / windows) as usize;
    let value = *input.values.get(place)?;
    let next = input.values.get(place + 1).copied().flatten();
    let value = value?;
    match next.filter(|next| *next > value && input.series.kind == SeriesKind::Counter) {
        Some(next) => Some(value + (next - value) * (window % windows) as f64 / windows as f64),
        None => Some(value),
    }
}

/// How what is open differs from what had to be.
fn compare(test: &Test, ask: &Ask, mut found: Vec<&Alert>) -> Option<String> {
    let firing: Vec<String> = found
        .iter()
        .map(|a| say(&a.server, &a.labels, a.severity.as_str(), a.starts_at - test.start))
        .collect();
    let mut missing = Vec::new();
    for expected in &ask.expected {
        match found.iter().position(|alert| fits(test, expected, alert)) {
            Some(place) => {
                found.swap_remove(place);
            }
            None => missing.push(expected),
        }
    }
    if missing.is_empty() && found.is_empty() {
        return None;
    }
    let wanted: Vec<String> = ask
        .expected
        .iter()
        .map(|e| {
            let severity = e.severity.map_or("of any severity", Severity::as_str);
            let since = e.starts_ms.map_or_else(String::new, |at| format!(" since {}", after(at)));
            format!("{} {severity}{since}", place(&e.server, &e.labels))
        })
        .collect();
    Some(format!(
        "`{}` after {}: expected {}; firing: {}",
        ask.rule,
        after(ask.at_ms),
        list(&wanted),
        list(&firing)
    ))
}

fn fits(test: &Test, expected: &Expected, alert: &Alert) -> bool {
    expected.server == alert.server
        && expected.labels == alert.labels
        && expected.severity.is_none_or(|severity| severity == alert.severity)
        && expected.starts_ms.is_none_or(|starts| test.start + starts == alert.starts_at)
}

fn say(server: &str, labels: &Labels, severity: &str, starts_ms: i64) -> String {
    format!("{} {severity} since {}", place(server, labels), after(starts_ms))
}

fn place(server: &str, labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    if labels.is_empty() { server.to_owned() } else { format!("{server}{{{}}}", labels.join(", ")) }
}

fn list(all: &[String]) -> String {
    if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
}

/// With plain spaces: a terminal's font may not have the narrow one.
fn after(millis: i64) -> String {
    words::duration(millis).replace('\u{202f}', " ")
}

#[cfg(test)]
mod tests;
