//! Each kind of rule on a log made for it: when it speaks, of what, and when it is over.

use super::*;

fn gauge(metric: &str, value: f64) -> (Series, f64) {
    (Series::gauge(metric, ""), value)
}

fn at(metric: &str, mount: &str, value: f64) -> (Series, f64) {
    (Series::gauge(metric, "").with("mountpoint", mount), value)
}

fn said(
    rule: &str,
    status: &'static str,
    start: i64,
    end: Option<i64>,
) -> (String, &'static str, i64, Option<i64>) {
    (rule.to_owned(), status, start, end)
}

#[test]
fn a_gauge_that_falls_too_fast_is_told_until_it_stops() {
    let rules = "rules: [{name: fill, metric: free, change_over: 1m, per: 1m, below: -55}]";
    // 60 a minute, from window 20 to window 39
    let level = |window: i64| 1_000.0 - 10.0 * (window - 19).clamp(0, 20) as f64;
    let out = feed(&mut live(rules), (0..60).map(|w| frame("a", w, &[gauge("free", level(w))])));
    assert_eq!(brief(&out), [said("fill", "firing", 25, None), said("fill", "resolved", 25, Some(40))]);
    assert_eq!(alerts(&out)[0].value, Some(-60.0));
}

#[test]
fn a_counter_grows_across_its_restarts() {
    let rules = "rules: [{name: busy, metric: c_total, change_over: 1m, above: 5}]";
    let total = |window: i64| 100.0 * (window % 40 + 1) as f64;
    let counter = |window: i64| (Series::counter("c_total", ""), total(window));
    let out = feed(&mut live(rules), (0..120).map(|w| frame("a", w, &[counter(w)])));
    assert_eq!(brief(&out), [said("busy", "firing", 5, None)], "45 s have to be known");
    assert_eq!(alerts(&out)[0].value, Some(10.0));
}

#[test]
fn a_ratio_is_of_series_with_the_same_labels() {
    let rules = "rules: [{name: inodes, metric: free, divided_by: all, below: 0.1}]";
    let whole = [
        at("free", "/", 5.0),
        at("all", "/", 100.0),
        at("all", "/b", 100.0),
        at("free", "/b", 50.0),
        at("free", "/c", 1.0),
        at("free", "/d", 1.0),
        at("all", "/d", 0.0),
    ];
    let mut analysis = live(rules);
    let out = feed(&mut analysis, (0..3).map(|w| frame("a", w, &whole)));
    assert_eq!(brief(&out), [said("inodes", "firing", 0, None)]);
    let first = alerts(&out)[0];
    assert_eq!((first.labels["mountpoint"].as_str(), first.value), ("/", Some(0.05)));
    // the divisor goes away: nothing can be said any more, and after five minutes that is said
    let out = feed(&mut analysis, (3..60).map(|w| frame("a", w, &whole[..1])));
    assert_eq!(brief(&out), [said("inodes", "resolved", 0, Some(3))]);
}

#[test]
fn a_score_is_a_figure_as_others_are() {
    let rules = "rules: [{name: odd, metric: load, of: score, above: 1.5}]";
    let out = feed(&mut live(rules), (0..420).map(|w| spiky(w, 350..354)));
    let odd: Vec<_> = alerts(&out).into_iter().filter(|alert| alert.rule == "odd").collect();
    assert_eq!(odd[0].starts_at, T0 + 350 * WINDOW, "{odd:?}");
    assert!(odd[0].score.unwrap() > 1.5 && odd[0].score == odd[0].value);
    assert_eq!(odd.last().unwrap().status, AlertStatus::Resolved);
}

#[test]
fn a_series_that_is_left_out_is_missed_until_it_is_back() {
    let rules = "rules: [{name: lost, metric: 'temp*', absent: series, for: 30s}]";
    let log = (0..30).map(|w| {
        let mut values = vec![cpu(1.0)];
        if !(10..20).contains(&w) {
            values.push(at("temperature", "/", 40.0));
        }
        frame("a", w, &values)
    });
    let out = feed(&mut live(rules), log);
    assert_eq!(brief(&out), [said("lost", "firing", 10, None), said("lost", "resolved", 10, Some(20))]);
    let first = alerts(&out)[0];
    assert_eq!((first.updated_at, first.labels["mountpoint"].as_str()), (T0 + 13 * WINDOW, "/"));
}

/// A series that is only in window 0, others that come and go, so that the layout is looked at again and again.
fn lost_at_once(rules: &str, windows: i64) -> (Analysis, Vec<Output>) {
    let log = (0..windows).map(|w| {
        let mut values = vec![cpu(1.0), gauge(if w % 2 == 0 { "even" } else { "odd" }, 1.0)];
        if w == 0 {
            values.push(gauge("temperature", 40.0));
        }
        frame("a", w, &values)
    });
    let mut analysis = live(rules);
    let out = feed(&mut analysis, log);
    (analysis, out)
}

#[test]
fn what_is_missed_is_not_forgotten_before_it_is_said() {
    let rules = "rules: [{name: lost, metric: temperature, absent: series, for: 2h}]";
    let (mut analysis, out) = lost_at_once(rules, 800);
    assert_eq!(brief(&out), [said("lost", "firing", 1, None)]);
    assert_eq!(analysis.sizes().series, 3, "now it is");
    let back = feed(&mut analysis, [frame("a", 900, &[cpu(1.0), gauge("temperature", 40.0)])]);
    assert_eq!(brief(&back), [said("lost", "resolved", 1, Some(900))]);
    let quiet = "rules: [{name: lost, metric: temperature, absent: series, for: 1m, quiet: ['00:00-02:00']}]";
    assert_eq!(brief(&lost_at_once(quiet, 800).1), [said("lost", "firing", 720, None)]);
}

#[test]
fn a_metric_that_never_was_is_missed_too() {
    let rules = "rules: [{name: none, metric: 'backup_*', absent: metric, labels: [kind=full], for: 1m}]";
    let backup = (Series::gauge("backup_size", "").with("kind", "full"), 1.0);
    let other = (Series::gauge("backup_size", "").with("kind", "part"), 1.0);
    let log = (0..20)
        .map(|w| frame("a", w, &[cpu(1.0), other.clone()]))
        .chain((20..25).map(|w| frame("a", w, &[cpu(1.0), backup.clone()])));
    let out = feed(&mut live(rules), log);
    assert_eq!(brief(&out), [said("none", "firing", 0, None), said("none", "resolved", 0, Some(20))]);
    assert_eq!(alerts(&out)[0].updated_at, T0 + 6 * WINDOW);
}

#[test]
fn a_rule_about_many_metrics_tells_them_apart() {
    let rules = "rules: [{name: any, metric: 'disk_*', above: 1}]";
    let mut analysis = live(rules);
    let out =
        feed(&mut analysis, [frame("a", 0, &[gauge("disk_a", 2.0), gauge("disk_b", 2.0), gauge("d", 2.0)])]);
    let said: Vec<_> =
        alerts(&out).iter().map(|alert| (alert.metric.clone(), alert.fingerprint.clone())).collect();
    assert_eq!(said.len(), 2);
    assert_ne!(said[0], said[1]);
    let out = feed(&mut analysis, [frame("a", 1, &[gauge("disk_a", 0.0), gauge("disk_b", 2.0)])]);
    let over = alerts(&out);
    assert_eq!((over.len(), over[0].metric.as_deref()), (1, Some("disk_a")));
}

#[test]
fn in_a_time_of_quiet_nothing_begins_and_what_is_open_goes_on() {
    // windows 30 to 59
    let rules = "rules: [{name: cpu, metric: cpu_percent, above: 90, for: 20s, quiet: ['00:05-00:10']}]";
    let busy = |from: i64, to: i64| {
        let log =
            (0..100).map(move |w| frame("a", w, &[cpu(if (from..to).contains(&w) { 99.0 } else { 1.0 })]));
        brief(&feed(&mut live(rules), log))
    };
    assert!(busy(29, 55).is_empty());
    assert_eq!(
        busy(29, 70),
        [said("cpu", "firing", 60, None), said("cpu", "resolved", 60, Some(70))],
        "it waits anew when the quiet is over"
    );
    assert_eq!(busy(20, 35), [said("cpu", "firing", 20, None), said("cpu", "resolved", 20, Some(35))]);
}

#[test]
fn a_server_that_falls_silent_in_a_time_of_quiet_is_told_afterwards() {
    let mut analysis = live("rules: [{name: gone, absent: server, for: 60s, quiet: ['00:01-00:10']}]");
    let mut out = feed(&mut analysis, (0..6).map(|w| frame("a", w, &[cpu(1.0)])));
    let tick = |analysis: &mut Analysis, second: i64, out: &mut Vec<Output>| {
        assert!(!analysis.is_silence_due(T0 + second * 1_000) || second >= 600);
        analysis.tick(T0 + second * 1_000, Sight::Clear, Some(T0), out);
    };
    (60..600).for_each(|second| tick(&mut analysis, second, &mut out));
    assert!(brief(&out).is_empty());
    tick(&mut analysis, 600, &mut out);
    assert_eq!(brief(&out), [said("gone", "firing", 6, None)]);
}
