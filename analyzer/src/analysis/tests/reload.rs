//! Other rules while it runs: what goes on, what ends, and that a set that says the same changes nothing.

use super::{
    crash::{RULES, log},
    *,
};

#[test]
fn the_same_rules_in_another_order_change_nothing() {
    let log = log(5, 440);
    let plain = feed(&mut live(RULES), log.clone());
    assert!(alerts(&plain).len() > 20);
    let other = RULES.replace("rules:\n", "rules:\n  - {name: first, metric: nothing, above: 1}\n");
    for cut in (0..log.len()).step_by(29) {
        let mut analysis = live(RULES);
        let mut out = feed(&mut analysis, log[..cut].iter().cloned());
        analysis.set_rules(rules(&other));
        out.extend(feed(&mut analysis, log[cut..].iter().cloned()));
        assert!(out == plain, "changed before record {cut}");
    }
}

/// Three windows at 99 under the first rules, then the others under the second.
fn changed(first: &str, second: &str, values: &[f64]) -> Vec<Output> {
    let mut analysis = live(first);
    let mut out = feed(&mut analysis, (0..3).map(|w| frame("a", w, &[cpu(99.0)])));
    analysis.set_rules(rules(second));
    out.extend(feed(&mut analysis, (3..).zip(values).map(|(w, value)| frame("a", w, &[cpu(*value)]))));
    out
}

const FIRST: &str = "rules: [{name: cpu, metric: cpu_percent, above: 90}]";

fn fired_and_resolved(end: i64) -> [(String, &'static str, i64, Option<i64>); 2] {
    [("cpu".to_owned(), "firing", 0, None), ("cpu".to_owned(), "resolved", 0, Some(end))]
}

#[test]
fn an_open_alert_of_a_changed_rule_goes_on_until_the_new_one_says_otherwise() {
    let out = changed(FIRST, "rules: [{name: cpu, metric: cpu_percent, above: 50}]", &[70.0, 70.0, 40.0]);
    assert_eq!(brief(&out), fired_and_resolved(5));
    assert_eq!(alerts(&out)[0].alert_id, alerts(&out)[1].alert_id);
    let out = changed(FIRST, "rules: [{name: cpu, metric: cpu_percent, above: 99.5}]", &[99.0]);
    assert_eq!(brief(&out), fired_and_resolved(3), "the higher limit is not reached");
}

#[test]
fn an_open_alert_waits_until_the_new_rule_knows() {
    let mut analysis = live(FIRST);
    let mut out = feed(&mut analysis, (0..3).map(|w| frame("a", w, &[cpu(99.0)])));
    analysis.set_rules(rules("rules: [{name: cpu, metric: cpu_percent, change_over: 20m, above: 1}]"));
    // three quarters of twenty minutes have to be known
    out.extend(feed(&mut analysis, (3..100).map(|w| frame("a", w, &[cpu(99.0)]))));
    assert_eq!(brief(&out), fired_and_resolved(93));
}

#[test]
fn an_open_alert_that_no_rule_is_about_ends() {
    for second in [
        "rules: []",
        "rules: [{name: cpu, metric: cpu_percent, above: 90, labels: [core=0]}]",
        "rules: [{name: cpu, metric: cpu_percent, above: 90, server: b}]",
        "rules: [{name: cpu, metric: load, above: 90}]",
        "rules: [{name: cpu, metric: cpu_percent, above: 90, of: rate}]",
    ] {
        let out = changed(FIRST, second, &[99.0]);
        assert_eq!(brief(&out), fired_and_resolved(3), "{second}");
    }
}

#[test]
fn a_rule_that_tells_metrics_apart_speaks_anew() {
    let out = changed(FIRST, "rules: [{name: cpu, metric: 'cpu_*', above: 90}]", &[99.0]);
    let said: Vec<_> = alerts(&out).iter().map(|alert| alert.status).collect();
    assert_eq!(said, [AlertStatus::Firing, AlertStatus::Firing, AlertStatus::Resolved]);
    assert_eq!(alerts(&out)[2].alert_id, alerts(&out)[0].alert_id);
}

#[test]
fn a_wait_goes_on_if_only_words_change_and_begins_anew_otherwise() {
    let rule = |wait: &str, summary: &str| {
        format!("rules: [{{name: cpu, metric: cpu_percent, above: 90, for: {wait}, summary: {summary}}}]")
    };
    let starts = |second: &str| {
        let out = changed(&rule("1m", "old"), second, &[99.0; 20]);
        let said = alerts(&out);
        assert_eq!(said.len(), 1, "{second}");
        (said[0].starts_at - T0) / WINDOW
    };
    assert_eq!(starts(&rule("1m", "new")), 0);
    assert_eq!(starts(&rule("50s", "old")), 3);
}

#[test]
fn a_new_rule_watches_from_then_on_and_of_missing_metrics_too() {
    let second = "rules:
  - {name: cpu, metric: cpu_percent, above: 90}
  - {name: high, metric: cpu_percent, above: 95, for: 20s}
  - {name: none, metric: backup, absent: metric, for: 30s}
  - {name: some, metric: cpu_percent, absent: metric, for: 30s}
";
    let out = changed(FIRST, second, &[99.0; 5]);
    let window = |alert: &Alert| (alert.rule.clone(), (alert.starts_at - T0) / WINDOW);
    let said: Vec<_> = alerts(&out).into_iter().map(window).collect();
    assert_eq!(said, [("cpu".to_owned(), 0), ("high".to_owned(), 3), ("none".to_owned(), 3)]);
}

#[test]
fn rules_that_change_in_a_replay_hold_for_the_rest_of_it() {
    let mut analysis = Analysis::new(rules("rules: []"));
    let windows = |range: std::ops::Range<i64>| range.map(|w| frame("a", w, &[cpu(99.0)]));
    assert_eq!(feed(&mut analysis, windows(0..3)), []);
    analysis.set_rules(rules(FIRST));
    assert_eq!(feed(&mut analysis, windows(3..6)), []);
    analysis.go_live(Said::default());
    let out = feed(&mut analysis, windows(6..7));
    assert_eq!(brief(&out), [("cpu".to_owned(), "firing", 3, None)]);
}
