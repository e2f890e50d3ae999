//! What people call a false alarm raises bars, the same whenever it is heard and however the log is cut.

use tidewatch_schemas::{Feedback, Labels, NamedSeries, Verdict};

use super::{crash::RULES as ALL_KINDS, *};

const QUIET: &str = "rules: []";
const NAMES: [&str; 4] = ["cpu_percent", "load", "network_bytes", "disk_percent"];
/// When the two spikes begin; between them somebody says something.
const FIRST: i64 = 3_000;
const SECOND: i64 = 3_300;
const END: i64 = 3_400;
/// The window that is running when it is said.
const SAID: i64 = 3_100;
/// The first one that it is about: it is a minute later, and windows start every ten seconds.
const FROM: i64 = SAID + 6;

/// Two spikes of three windows; both are some twice as far out as an alert takes.
fn log() -> Vec<AggregateFrame> {
    let noise = |w: i64, k: i64| ((w * 7_919 + k * 104_729) % 101) as f64 / 50.0;
    let is_spike = |w: i64| (FIRST..FIRST + 3).contains(&w) || (SECOND..SECOND + 3).contains(&w);
    let value = |w: i64, k: i64| 20.0 + noise(w, k) + if is_spike(w) { 48.0 } else { 0.0 };
    let values = |w: i64| -> Vec<_> {
        (0..).zip(NAMES).map(|(k, name)| (Series::gauge(name, ""), value(w, k))).collect()
    };
    (0..END).map(|w| frame("a", w, &values(w))).collect()
}

fn said(alert: usize, at: i64, verdict: Option<Verdict>) -> Feedback {
    Feedback {
        alert_id: alert.to_string(),
        server: "a".into(),
        verdict,
        said_at: T0 + at * WINDOW,
        said_by: "ann".into(),
        series: NAMES.map(|metric| NamedSeries { metric: metric.into(), labels: Labels::new() }).into(),
    }
}

fn false_alarms(count: usize) -> Arc<Verdicts> {
    let mut verdicts = Verdicts::default();
    (0..count).for_each(|alert| verdicts.add(said(alert, SAID, Some(Verdict::FalseAlarm))));
    Arc::new(verdicts)
}

/// The verdicts are heard before record `heard`.
fn told(text: &str, log: &[AggregateFrame], verdicts: &Arc<Verdicts>, heard: usize) -> Vec<Output> {
    let mut analysis = live(text);
    let mut out = feed(&mut analysis, log[..heard].iter().cloned());
    analysis.set_verdicts(Arc::clone(verdicts));
    out.extend(feed(&mut analysis, log[heard..].iter().cloned()));
    out
}

fn firings(outputs: &[Output]) -> Vec<i64> {
    let firing = alerts(outputs).into_iter().filter(|alert| alert.status == AlertStatus::Firing);
    firing.map(|alert| (alert.starts_at - T0) / WINDOW).collect()
}

fn anomalies(outputs: &[Output], from: i64) -> Vec<&Anomaly> {
    let mut odd = Vec::new();
    for output in outputs {
        if let Output::Anomaly(anomaly) = output
            && anomaly.window_start >= T0 + from * WINDOW
        {
            odd.push(&**anomaly);
        }
    }
    odd
}

#[test]
fn enough_verdicts_silence_what_comes_again_and_fewer_say_so() {
    let log = log();
    let plain = feed(&mut live(QUIET), log.clone());
    assert_eq!(firings(&plain), [FIRST, SECOND]);
    assert_eq!(firings(&told(QUIET, &log, &false_alarms(4), 0)), [FIRST], "what was before stays as it was");

    let once = told(QUIET, &log, &false_alarms(1), 0);
    assert_eq!(firings(&once), [FIRST, SECOND]);
    let words =
        |outputs: &[Output], alert: usize| alerts(outputs)[alert].explanation.replace('\u{202f}', " ");
    assert_eq!(words(&once, 0), words(&plain, 0));
    let second = words(&once, 2);
    assert!(second.contains("stands 1.4 times as high since an alert that named it was called"), "{second}");
    assert!(second.contains("So do those of 3 more series of this alert."), "{second}");

    let (before, after) = (anomalies(&plain, SECOND), anomalies(&once, SECOND));
    let (before, after) = (before[0], after[0]);
    assert_eq!((&before.metric, before.window_start), (&after.metric, after.window_start));
    assert!((before.score / after.score - 1.4).abs() < 1e-3, "{} {}", before.score, after.score);
    assert!(after.expected_high > before.expected_high && after.value == before.value);
    assert_eq!((before.method.as_str(), &after.method[..13]), ("loud", "loud, its bar"));
}

#[test]
fn it_does_not_matter_when_it_is_heard_nor_how_the_log_is_cut() {
    let log = log();
    for count in [1, 4] {
        let verdicts = false_alarms(count);
        let plain = told(QUIET, &log, &verdicts, 0);
        for heard in [1, SAID as usize, FROM as usize] {
            assert!(told(QUIET, &log, &verdicts, heard) == plain, "{count} heard before {heard}");
        }
        // a new owner knows all of them before its replay
        for crash in (FROM - 20..END).step_by(17).map(|window| window as usize) {
            let mut said = told(QUIET, &log[..crash], &verdicts, FROM.min(crash as i64) as usize);
            let mut successor = Analysis::new(rules(QUIET));
            successor.set_verdicts(Arc::clone(&verdicts));
            successor.recall(&topic(&said));
            assert_eq!(feed(&mut successor, log[..crash].iter().cloned()), []);
            successor.go_live(topic(&said));
            said.extend(feed(&mut successor, log[crash..].iter().cloned()));
            assert!(said == plain, "{count}, crash before {crash}");
        }
    }
}

#[test]
fn what_is_taken_back_raises_nothing_from_then_on() {
    let log = log();
    let mut verdicts = (*false_alarms(4)).clone();
    (0..4).for_each(|alert| verdicts.add(said(alert, SAID + 50, None)));
    let verdicts = Arc::new(verdicts);
    let out = told(QUIET, &log, &verdicts, 0);
    assert_eq!(firings(&out), [FIRST, SECOND]);
    assert!(!alerts(&out)[2].explanation.contains("false alarm"));
    assert!(told(QUIET, &log, &verdicts, FROM as usize) == out);
}

#[test]
fn rules_hear_of_no_verdict() {
    let log = super::crash::log(3, 440);
    let by_rule = |outputs: Vec<Output>| -> Vec<Alert> {
        alerts(&outputs).into_iter().filter(|alert| alert.rule != LEARNED).cloned().collect()
    };
    // incidents are shared with the detector's alerts, so they may be others
    let identity = |alerts: Vec<Alert>| -> Vec<_> {
        alerts.into_iter().map(|a| (a.alert_id, a.status, a.updated_at, a.value, a.expected_high)).collect()
    };
    let rules = format!("{ALL_KINDS}  - {{name: odd, metric: cpu_percent, of: score, above: 1.2}}\n");
    let plain = identity(by_rule(feed(&mut live(&rules), log.clone())));
    assert!(plain.len() > 20);
    let mut verdicts = Verdicts::default();
    for server in ["a", "b"] {
        for alert in 0..4 {
            let said = said(alert, 0, Some(Verdict::FalseAlarm));
            verdicts.add(Feedback { server: server.into(), ..said });
        }
    }
    assert_eq!(identity(by_rule(told(&rules, &log, &Arc::new(verdicts), 0))), plain);
}

#[test]
fn a_server_that_was_not_seen_yet_has_its_verdicts_and_they_are_counted() {
    let mut analysis = live(QUIET);
    analysis.set_verdicts(false_alarms(3));
    let log = log();
    feed(&mut analysis, log[..FROM as usize].iter().cloned());
    assert_eq!(analysis.sizes().verdicts, 0);
    feed(&mut analysis, log[FROM as usize..=FROM as usize].iter().cloned());
    assert_eq!(analysis.sizes().verdicts, 3);
}
