//! The pure core: what is said once, and what a crash may not change.

mod crash;
mod feedback;
mod foresee;
mod incidents;
mod kinds;
mod memory;
mod reload;
mod silence;
mod storm;

use std::path::Path;

use tidewatch_schemas::{AlertStatus, Origin, Series};

use super::*;
use crate::rules::{LEARNED, parse};

pub(super) const T0: i64 = 1_795_392_000_000; // Mon 23 Nov 2026 00:00 UTC
pub(super) const WINDOW: i64 = 10_000;

pub(super) const RULES: &str = "
rules:
  - {name: cpu, metric: cpu_percent, above: 90, clear_below: 80, for: 30s, keep: 20s}
  - {name: disk, metric: disk_percent, above: 95, labels: ['mountpoint!=/run']}
  - {name: forks, metric: forks_total, above: 500}
  - {name: gone, absent: server, for: 60s, severity: critical}
";

pub(super) fn rules(text: &str) -> Arc<RuleSet> {
    Arc::new(parse(text, Path::new("test")).unwrap())
}

pub(super) fn frame(server: &str, window: i64, values: &[(Series, f64)]) -> AggregateFrame {
    let column: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let n = values.len();
    AggregateFrame {
        server: server.to_owned(),
        window_start: T0 + window * WINDOW,
        window_ms: WINDOW,
        kind: AggregateKind::Final,
        origin: Origin { partition: 0, offset: window },
        layout: values.iter().map(|(series, _)| series.clone()).collect(),
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
    }
}

pub(super) fn cpu(value: f64) -> (Series, f64) {
    (Series::gauge("cpu_percent", "percent"), value)
}

pub(super) fn live(text: &str) -> Analysis {
    let mut analysis = Analysis::new(rules(text));
    analysis.go_live(Said::default());
    analysis
}

/// Beginnings and ends.
pub(super) fn alerts(outputs: &[Output]) -> Vec<&Alert> {
    let mut said = Vec::new();
    for output in outputs {
        if let Output::Alert(alert) = output {
            said.push(&**alert);
        }
    }
    said
}

/// All that the alert topic gets.
pub(super) fn topic(outputs: &[Output]) -> Said {
    let mut log = Said::default();
    for output in outputs {
        if let Output::Alert(alert) | Output::Again(alert, _) = output {
            log.add((**alert).clone());
        }
    }
    log
}

pub(super) fn add_all(log: &mut Said, said: &[&Alert]) {
    for &alert in said {
        log.add(alert.clone());
    }
}

/// (rule, status, start and end in windows).
pub(super) fn brief(outputs: &[Output]) -> Vec<(String, &'static str, i64, Option<i64>)> {
    let window = |time: i64| (time - T0) / WINDOW;
    let brief = |alert: &Alert| {
        (alert.rule.clone(), alert.status.as_str(), window(alert.starts_at), alert.ends_at.map(window))
    };
    alerts(outputs).into_iter().map(brief).collect()
}

pub(super) fn feed(analysis: &mut Analysis, frames: impl IntoIterator<Item = AggregateFrame>) -> Vec<Output> {
    let mut out = Vec::new();
    for frame in frames {
        analysis.step(&frame, frame.window_start + WINDOW, &mut out);
    }
    out
}

#[test]
fn a_threshold_holds_fires_and_resolves_once() {
    let values = [50, 95, 70, 95, 96, 97, 85, 85, 99, 70, 70, 70, 50];
    let out =
        feed(&mut live(RULES), (0..).zip(values).map(|(i, value)| frame("a", i, &[cpu(f64::from(value))])));
    assert_eq!(
        brief(&out),
        [("cpu".to_owned(), "firing", 3, None), ("cpu".to_owned(), "resolved", 3, Some(9))]
    );
    let said = alerts(&out);
    assert_eq!(said[0].alert_id, said[1].alert_id);
    assert_eq!(said[0].updated_at, T0 + 6 * WINDOW);
}

#[test]
fn each_series_has_its_own_alert_and_they_share_an_incident() {
    let disk =
        |mount: &str, value| (Series::gauge("disk_percent", "percent").with("mountpoint", mount), value);
    let mut analysis = live(RULES);
    let mut out =
        feed(&mut analysis, [frame("a", 0, &[disk("/", 99.0), disk("/run", 99.0), disk("/var", 10.0)])]);
    out.extend(feed(
        &mut analysis,
        [frame("a", 1, &[disk("/", 99.0), disk("/run", 99.0), disk("/var", 97.0)])],
    ));
    out.extend(feed(&mut analysis, [frame("b", 1, &[disk("/", 99.0)])]));
    let said = alerts(&out);
    assert_eq!(said.len(), 3);
    assert_eq!(said[1].incident_id, said[0].alert_id, "the second joins the first");
    assert_ne!(said[2].incident_id, said[0].incident_id, "another server is another incident");
    assert_ne!(said[0].fingerprint, said[1].fingerprint);
}

/// Quiet days, then `spike` windows in which four series stick out.
pub(super) fn spiky(window: i64, spike: std::ops::Range<i64>) -> AggregateFrame {
    let noise = |k: i64| ((window * 7_919 + k * 104_729) % 101) as f64 / 50.0;
    let beyond = if spike.contains(&window) { 60.0 } else { 0.0 };
    let names = ["cpu_percent", "load", "network_bytes", "disk_percent"];
    let values: Vec<_> =
        (0..).zip(names).map(|(k, name)| (Series::gauge(name, ""), 20.0 + noise(k) + beyond)).collect();
    frame("a", window, &values)
}

#[test]
fn a_spike_is_learned_said_once_and_resolved_once() {
    let out = feed(&mut live(RULES), (0..420).map(|w| spiky(w, 350..354)));
    let said = brief(&out);
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], ("learned".to_owned(), "firing", 350, None));
    assert_eq!((said[1].1, said[1].2), ("resolved", 350));
    let ended = said[1].3.unwrap();
    assert!((354..360).contains(&ended), "{ended}");
    assert_eq!(alerts(&out)[1].updated_at, T0 + (ended + 6) * WINDOW, "after six quiet windows");
    let odd: Vec<_> = out.iter().filter(|output| matches!(output, Output::Anomaly(_))).collect();
    assert!(odd.len() >= 4, "each series is odd for itself");
    let first = alerts(&out)[0];
    assert_eq!(first.related.len(), 3);
    assert!(first.score.unwrap() >= 1.0 && first.value.unwrap() > first.expected_high.unwrap());
}

#[test]
fn the_pipeline_hears_what_is_heard_in_files() {
    let value = |w: i64| 50.0 + ((w * 7_919) % 101) as f64 / 25.0 + if w % 900 == 899 { 200.0 } else { 0.0 };
    let out = feed(&mut live("rules: []"), (0..6_000).map(|w| frame("a", w, &[cpu(value(w))])));
    let found: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Anomaly(a) => Some(((a.window_start - T0) / WINDOW, a.score, a.method.clone())),
            _ => None,
        })
        .collect();
    let mut joined = crate::detect::Joined::default();
    let wanted: Vec<_> = (0..6_000)
        .filter_map(|w| {
            let opinion = joined.step((T0 + w * WINDOW) as f64 / 1_000.0, value(w)).unwrap();
            let name = opinion.oddness().name().to_owned();
            (opinion.score >= 1.0).then_some((w, opinion.score, name))
        })
        .collect();
    assert_eq!(found, wanted);
    assert!(found.len() >= 3 && found[0].0 == 899, "{found:?}");
}

#[test]
fn what_is_expected_is_told_once_a_minute_when_it_is_known() {
    let out = feed(&mut live(RULES), (0..200).map(|w| spiky(w, 0..0)));
    let told: Vec<_> = out
        .iter()
        .filter_map(|output| match output {
            Output::Expectation(expectation) => Some(&**expectation),
            _ => None,
        })
        .collect();
    // 150 windows of warming up are 25 minutes; 200 windows end after 33 min 20 s
    let minutes: Vec<_> = told.iter().map(|e| (e.window_start - T0) / 60_000).collect();
    assert_eq!(minutes, (25..=33).collect::<Vec<_>>());
    for expectation in told {
        assert_eq!(expectation.layout.len(), 4);
        assert!(
            expectation
                .low
                .iter()
                .zip(&expectation.high)
                .all(|(low, high)| (0.0..21.0).contains(low) && (21.0..60.0).contains(high))
        );
    }
}

#[test]
fn copies_deltas_and_older_windows_change_nothing() {
    let log: Vec<_> = (0..420).map(|w| spiky(w, 350..354)).collect();
    let plain = feed(&mut live(RULES), log.clone());
    let noisy = log.iter().flat_map(|window| {
        let delta = AggregateFrame { kind: AggregateKind::Delta, sum: vec![1e9; 4], ..window.clone() };
        let older = AggregateFrame {
            window_start: window.window_start - 3 * WINDOW,
            sum: vec![1e9; 4],
            ..window.clone()
        };
        // a delta may come before the final of its window: it must not be taken for it
        [delta.clone(), window.clone(), window.clone(), delta, older]
    });
    assert_eq!(feed(&mut live(RULES), noisy), plain);
}

#[test]
fn an_alert_on_what_is_not_reported_any_more_ends() {
    let disk = (Series::gauge("disk_percent", "percent").with("mountpoint", "/mnt"), 99.0);
    let mut analysis = live(RULES);
    let mut out = feed(&mut analysis, [frame("a", 0, &[disk.clone(), cpu(1.0)])]);
    out.extend(feed(&mut analysis, (1..40).map(|w| frame("a", w, &[cpu(1.0)]))));
    assert_eq!(
        brief(&out),
        [("disk".to_owned(), "firing", 0, None), ("disk".to_owned(), "resolved", 0, Some(1))]
    );
    // mounted again, it is said again
    let again = feed(&mut analysis, [frame("a", 50, &[disk, cpu(1.0)])]);
    assert_eq!(brief(&again), [("disk".to_owned(), "firing", 50, None)]);
}

#[test]
fn an_alert_of_a_rule_that_was_removed_ends() {
    let said = feed(&mut live(RULES), (0..3).map(|w| frame("a", w, &[cpu(99.0)])));
    let mut log = Said::default();
    add_all(&mut log, &alerts(&said));
    let mut analysis = Analysis::new(rules("rules: []"));
    analysis.go_live(log);
    let out = feed(&mut analysis, [frame("a", 3, &[cpu(99.0)])]);
    assert_eq!(brief(&out), [("cpu".to_owned(), "resolved", 0, Some(3))]);
}

#[test]
fn a_series_takes_less_than_four_kilobytes() {
    let mut analysis = live(RULES);
    feed(
        &mut analysis,
        (0..100).map(|w| {
            let values: Vec<_> = (0..200)
                .map(|k| {
                    (
                        Series::counter("node_cpu_seconds_total", "seconds")
                            .with("cpu", k.to_string())
                            .with("mode", "idle"),
                        1.0,
                    )
                })
                .collect();
            frame("a", w, &values)
        }),
    );
    let sizes = analysis.sizes();
    // none of them ever moved, so none holds what novelty keeps
    assert_eq!((sizes.servers, sizes.series), (1, 200));
    let each = sizes.bytes / sizes.series;
    assert!((500..2_048).contains(&each), "{each} bytes a series");
}
