//! From transitions to alerts: identity, the incident an alert belongs to, and what it says.
//!
//! In: a rule or the detector, the series, when it began. Out: `Alert` records. Invariant: `alert_id` is a function of
//! rule, server, labels and start alone, so whoever computes an alert again gives it the same one.

mod course;
mod foretell;
mod learned;
mod past;
mod record;
pub mod words;

pub use course::{Again, Course, Mover};
pub use foretell::{Foretold, forecast};
pub use learned::{Breadth, again, learned};
pub use past::Past;
pub use record::Record;
use sha2::{Digest, Sha256};
use tidewatch_schemas::{Alert, AlertStatus, Anomaly, Labels, Series, Severity};

use crate::{
    detect::{Band, Oddness},
    rules::{Forecast, Measure, Of, Rule, Selector, Side, Threshold},
};

/// One window of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

/// A series that left its band, or nearly.
#[derive(Debug, Clone)]
pub struct Odd<'a> {
    pub series: &'a Series,
    pub value: f64,
    pub band: Band,
    pub size: f64,
    /// 1 or more: odd.
    pub score: f64,
    pub oddness: Oddness,
}

/// The same for every occurrence of an alert.
pub fn fingerprint(rule: &str, server: &str, labels: &Labels) -> String {
    let mut hash = Sha256::new();
    for part in [rule, server].into_iter().chain(labels.iter().flat_map(|(k, v)| [k.as_str(), v.as_str()])) {
        // the length in front: ("ab", "c") and ("a", "bc") are different alerts
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize())
}

/// The fingerprint of a rule's alert about a series. A rule about several metrics has one for each of them.
pub fn series_fingerprint(rule: &Rule, server: &str, metric: &str, labels: &Labels) -> String {
    if !rule.tells_metrics_apart() {
        return fingerprint(&rule.name, server, labels);
    }
    let mut labels = labels.clone();
    labels.insert("__name__".to_owned(), metric.to_owned());
    fingerprint(&rule.name, server, &labels)
}

/// The fingerprint of a rule's alert about a server.
pub fn server_fingerprint(rule: &str, server: &str) -> String {
    fingerprint(rule, server, &Labels::new())
}

/// The same however often one occurrence is computed.
pub fn alert_id(fingerprint: &str, starts_at: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(fingerprint.as_bytes());
    hash.update(starts_at.to_be_bytes());
    hex(&hash.finalize())
}

/// Names an odd window of a series: the same however often it is computed.
pub fn anomaly_id(anomaly: &Anomaly) -> String {
    alert_id(&fingerprint(&anomaly.metric, &anomaly.server, &anomaly.labels), anomaly.window_start)
}

/// W3C Trace Context of an event: all that is said of one thing, by its id, is one trace, whoever says it. `None`: the id is
/// none of ours.
pub fn traceparent(id: &str, event: &str) -> Option<String> {
    let is_ours = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| format!("00-{id}-{}-01", &hex(&Sha256::digest(event.as_bytes()))[..16]))
}

/// 16 bytes are enough: 10^9 alerts collide with a chance of 10^-21.
fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn blank(
    rule: &str,
    severity: Severity,
    server: &str,
    labels: &Labels,
    fingerprint: String,
    (starts_at, updated_at): (i64, i64),
) -> Alert {
    let alert_id = alert_id(&fingerprint, starts_at);
    Alert {
        incident_id: alert_id.clone(),
        alert_id,
        fingerprint,
        server: server.to_owned(),
        status: AlertStatus::Firing,
        severity,
        rule: rule.to_owned(),
        starts_at,
        ends_at: None,
        updated_at,
        title: String::new(),
        explanation: String::new(),
        metric: None,
        labels: labels.clone(),
        unit: String::new(),
        value: None,
        expected_low: None,
        expected_high: None,
        score: None,
        related: Vec::new(),
        runbook_url: None,
    }
}

fn sentences<const N: usize>(all: [Option<String>; N]) -> String {
    all.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A series beyond a rule's limit for long enough.
pub fn threshold(
    rule: &Rule,
    threshold: &Threshold,
    server: &str,
    odd: (&Series, f64, Option<Band>),
    starts_at: i64,
    window: Window,
) -> Alert {
    let (series, value, band) = odd;
    let subject = words::subject(series, threshold);
    let quantity = |value| words::measured(value, series, threshold);
    let side = match threshold.side {
        Side::Above => "above",
        Side::Below => "below",
    };
    let seen = format!(
        "{subject} {}, {side} {} since {} ({}).",
        quantity(value),
        quantity(threshold.limit),
        words::clock(starts_at),
        words::duration(window.end - starts_at),
    );
    // the band is one of means and rates: beside another figure it would mislead
    let band = band.filter(|_| threshold.of.is_none() && threshold.measure == Measure::Figure);
    let expected = band.map(|band| format!("Expected now: {}.", words::range(band, series)));
    let explanation = sentences([rule.summary.clone(), Some(seen), expected]);
    Alert {
        title: format!("{subject} {} on {server}", quantity(value)),
        explanation,
        unit: unit_of(series, threshold),
        value: Some(value),
        expected_low: band.map(|band| band.low),
        expected_high: band.map(|band| band.high),
        score: (threshold.of == Some(Of::Score)).then_some(value),
        ..of_series(rule, server, series, starts_at, window)
    }
}

/// The unit of what a rule compares with its limit: a score and a ratio have none.
fn unit_of(series: &Series, threshold: &Threshold) -> String {
    if threshold.of == Some(Of::Score) || matches!(threshold.measure, Measure::Ratio(_)) {
        return String::new();
    }
    series.unit.clone()
}

/// What every alert of a rule about a series has in common.
fn of_series(rule: &Rule, server: &str, series: &Series, starts_at: i64, window: Window) -> Alert {
    let fingerprint = series_fingerprint(rule, server, &series.metric, &series.labels);
    let times = (starts_at, window.end);
    Alert {
        metric: Some(series.metric.clone()),
        runbook_url: rule.runbook.clone(),
        ..blank(&rule.name, rule.severity, server, &series.labels, fingerprint, times)
    }
}

/// A series that its server leaves out for long enough.
pub fn series_absent(rule: &Rule, server: &str, series: &Series, starts_at: i64, window: Window) -> Alert {
    let what = words::what(series);
    let seen = format!(
        "{server} does not report {what} any more, since {} ({}); other series of it still come.",
        words::clock(starts_at),
        words::duration(window.end - starts_at)
    );
    Alert {
        title: format!("Missing on {server}: {what}"),
        explanation: sentences([rule.summary.clone(), Some(seen)]),
        unit: series.unit.clone(),
        ..of_series(rule, server, series, starts_at, window)
    }
}

/// A server that reports, but nothing that fits.
pub fn metric_absent(rule: &Rule, select: &Selector, server: &str, starts_at: i64, window: Window) -> Alert {
    let seen = format!(
        "{server} reports, but no {select}, since {} ({}).",
        words::clock(starts_at),
        words::duration(window.end - starts_at)
    );
    let fingerprint = server_fingerprint(&rule.name, server);
    let times = (starts_at, window.end);
    Alert {
        title: format!("Missing on {server}: {select}"),
        explanation: sentences([rule.summary.clone(), Some(seen)]),
        metric: select.metric.exact().map(str::to_owned),
        runbook_url: rule.runbook.clone(),
        ..blank(&rule.name, rule.severity, server, &Labels::new(), fingerprint, times)
    }
}

/// A server that says nothing any more; it began when its last window ended.
pub fn silence(rule: &Rule, server: &str, starts_at: i64, now: i64) -> Alert {
    let since = words::clock(starts_at);
    let seen = format!(
        "The last values of {server} are from {since}; the rule allows {} of silence.",
        words::duration(rule.hold_ms)
    );
    let doubt = "Whether the server, its collector or the way between stopped can't be seen from here.";
    let explanation = sentences([rule.summary.clone(), Some(seen), Some(doubt.to_owned())]);
    let fingerprint = server_fingerprint(&rule.name, server);
    Alert {
        title: format!("{server} silent since {since}"),
        explanation,
        runbook_url: rule.runbook.clone(),
        ..blank(&rule.name, rule.severity, server, &Labels::new(), fingerprint, (starts_at, now))
    }
}

/// Why an alert is over.
#[derive(Debug, Clone, Copy)]
pub enum Over<'a> {
    /// The condition is; the series shows this now.
    Value(&'a Series, f64, &'a Threshold),
    /// The limit is not foreseen to be crossed any more; the series shows this now.
    Averted(&'a Series, f64, &'a Forecast),
    /// The server's series are where they are expected again.
    Calm,
    /// The server reports again.
    Heard,
    /// The series is not reported any more.
    Gone,
    /// This is reported again.
    Back(&'a str),
    /// The rule is not there any more, or not about this any more.
    RuleGone,
}

/// How an alert ends, in words: kept while it is held open though it is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    pub ends_at: i64,
    title: String,
    text: String,
    /// What the series shows now, where a value is asked for.
    value: Option<f64>,
}

/// What there is to say of an alert that is over.
pub fn ending(alert: &Alert, ends_at: i64, over: Over<'_>) -> Ending {
    let server = &alert.server;
    let mut now = None;
    let (title, text) = match over {
        Over::Value(series, value, threshold) => {
            let quantity = words::measured(value, series, threshold);
            now = Some(value);
            let what = words::subject(series, threshold);
            (format!("{what} back at {quantity} on {server}"), format!("{what} is at {quantity} again."))
        }
        Over::Averted(series, value, forecast) => {
            now = Some(value);
            foretell::averted(server, series, value, forecast)
        }
        Over::Calm => (
            format!("{server} is as expected again"),
            format!("The series are where they are expected again. It began with: {}.", alert.title),
        ),
        Over::Heard => (format!("{server} reports again"), format!("{server} was silent.")),
        Over::Gone => (
            format!("No longer reported: {}", alert.title),
            "The series is not reported any more, so nothing can be said of it.".to_owned(),
        ),
        Over::Back(what) => {
            (format!("Reported again on {server}: {what}"), format!("{server} reports {what} again."))
        }
        Over::RuleGone => (
            format!("No longer watched: {}", alert.title),
            format!("There is no rule `{}` about this any more.", alert.rule),
        ),
    };
    Ending { ends_at, title, text, value: now }
}

/// The last record of an alert.
pub fn resolved(alert: &Alert, ending: &Ending, updated_at: i64) -> Alert {
    let ends_at = ending.ends_at.max(alert.starts_at);
    let lasted = format!(
        "From {} to {}, {}.",
        words::clock(alert.starts_at),
        words::clock(ends_at),
        words::duration(ends_at - alert.starts_at)
    );
    Alert {
        status: AlertStatus::Resolved,
        ends_at: Some(ends_at),
        updated_at,
        title: ending.title.clone(),
        explanation: words::bounded(format!("{} {lasted}", ending.text)),
        value: ending.value.or(alert.value),
        ..alert.clone()
    }
}

crate::snapshot::keep_fields!(Window { start, end });
crate::snapshot::keep_fields!(Ending { ends_at, title, text, value });

#[cfg(test)]
mod tests;
