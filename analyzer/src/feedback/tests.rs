//! What raises a bar, how far, from when, and what is said of it.

use tidewatch_schemas::{AlertStatus, NamedSeries, RelatedSeries, Severity};

use super::*;

const NOON: i64 = 1_795_176_000_000; // Fri 20 Nov 2026 12:00 UTC
const DAY: i64 = 86_400_000;
/// The first window that what is said at noon is about.
const FROM: i64 = NOON + Feedback::AFTER_MS;

fn named(metric: &str) -> NamedSeries {
    NamedSeries { metric: metric.into(), labels: Labels::new() }
}

fn said(alert: &str, said_at: i64, verdict: Option<Verdict>, metrics: &[&str]) -> Feedback {
    Feedback {
        alert_id: alert.into(),
        server: "a".into(),
        verdict,
        said_at,
        said_by: "ann".into(),
        series: metrics.iter().map(|metric| named(metric)).collect(),
    }
}

fn false_alarm(alert: &str, said_at: i64) -> Feedback {
    said(alert, said_at, Some(Verdict::FalseAlarm), &["cpu"])
}

/// Of the server, its series being `cpu` and `load`.
fn bars(all: impl IntoIterator<Item = Feedback>) -> Bars {
    let mut verdicts = Verdicts::default();
    all.into_iter().for_each(|one| verdicts.add(one));
    let mut bars = verdicts.bars_of("a");
    bars.place([Series::gauge("load", ""), Series::gauge("cpu", "percent")].iter());
    bars
}

#[test]
fn a_verdict_raises_the_bar_of_what_was_named_from_its_window_on_and_fades() {
    let bars = bars([false_alarm("1", NOON)]);
    let times = |start| bars.times(1, start);
    assert_eq!((times(FROM - 10_000), times(FROM)), (1.0, LOUDER));
    assert!((times(FROM + 14 * DAY) / LOUDER.sqrt() - 1.0).abs() < 1e-12);
    assert!(times(FROM + 28 * DAY - 10_000) > 1.0);
    assert_eq!((times(FROM + 28 * DAY), times(i64::MAX), times(i64::MIN)), (1.0, 1.0, 1.0));
    assert_eq!((bars.times(0, FROM), bars.times(9, FROM)), (1.0, 1.0), "another series");
    assert_eq!((bars.in_force(FROM - 1), bars.in_force(FROM), bars.in_force(FROM + 28 * DAY)), (0, 1, 0));
}

#[test]
fn several_raise_it_further_and_no_number_of_them_for_ever() {
    let of = |count: i64| bars((0..count).map(|k| false_alarm(&k.to_string(), NOON))).times(1, FROM);
    assert!((of(2) / LOUDER.powi(2) - 1.0).abs() < 1e-12);
    assert_eq!((of(4), of(50)), (LOUDER.powf(MOST), LOUDER.powf(MOST)));
    let twice = said("1", NOON, Some(Verdict::FalseAlarm), &["cpu", "cpu"]);
    assert_eq!(bars([twice]).times(1, FROM), LOUDER, "named twice, said once");
}

#[test]
fn of_one_alert_the_newest_word_holds_in_whichever_order_they_are_heard() {
    let words = [
        false_alarm("1", NOON),
        said("1", NOON + DAY, None, &[]),
        false_alarm("1", NOON + 2 * DAY),
        false_alarm("1", NOON + 2 * DAY),
    ];
    let mut backwards = words.clone();
    backwards.reverse();
    for bars in [bars(words), bars(backwards)] {
        let times = |days: i64| bars.times(1, FROM + days * DAY);
        assert_eq!((times(0), times(1), times(2)), (LOUDER, 1.0, LOUDER));
        assert!(bars.times(1, FROM + DAY - 10_000) > 1.0);
        assert_eq!(bars.in_force(FROM + 2 * DAY), 1);
    }
}

#[test]
fn what_was_said_of_another_server_or_by_nobody_is_none() {
    let mut other = false_alarm("1", NOON);
    other.server = "b".into();
    assert_eq!(bars([other, said("2", NOON, None, &["cpu"])]).times(1, FROM), 1.0);
    let many: Vec<String> = (0..500).map(|k| format!("m{k}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let bars = bars([said("1", NOON, Some(Verdict::FalseAlarm), &many)]);
    assert_eq!(bars.all.len(), NAMED);
}

fn alert(metric: Option<&str>, related: &[&str]) -> Alert {
    let related = related.iter().map(|metric| RelatedSeries {
        metric: (*metric).into(),
        labels: Labels::new(),
        score: 1.0,
    });
    Alert {
        alert_id: "9".into(),
        fingerprint: "f".into(),
        incident_id: "9".into(),
        server: "a".into(),
        status: AlertStatus::Firing,
        severity: Severity::Warning,
        rule: "learned".into(),
        starts_at: FROM,
        ends_at: None,
        updated_at: FROM,
        title: "cpu".into(),
        explanation: "cpu 9.".into(),
        metric: metric.map(str::to_owned),
        labels: Labels::new(),
        unit: String::new(),
        value: None,
        expected_low: None,
        expected_high: None,
        score: None,
        related: related.collect(),
        runbook_url: None,
    }
}

fn explained(bars: &Bars, mut alert: Alert, start: i64) -> String {
    bars.explain(&mut alert, start);
    alert.explanation
}

#[test]
fn an_alert_says_whose_bar_is_raised_and_why() {
    let once = bars([false_alarm("1", NOON)]);
    assert_eq!(
        explained(&once, alert(Some("cpu"), &["load"]), FROM),
        "cpu 9. The bar of cpu stands 1.4 times as high since an alert that named it was called a false alarm on 2026-11-20."
    );
    assert_eq!(explained(&once, alert(Some("load"), &[]), FROM), "cpu 9.");
    assert_eq!(explained(&once, alert(None, &[]), FROM), "cpu 9.");
    assert_eq!(explained(&once, alert(Some("cpu"), &[]), FROM - 10_000), "cpu 9.");
    assert_eq!(
        explained(&once, alert(Some("cpu"), &[]), FROM + 27 * DAY),
        "cpu 9.",
        "hardly raised any more"
    );
    let both = Some(Verdict::FalseAlarm);
    let twice =
        bars([said("1", NOON, both, &["cpu", "load"]), said("2", NOON + DAY, both, &["cpu", "load"])]);
    assert_eq!(
        explained(&twice, alert(Some("disk"), &["cpu", "load"]), FROM + DAY),
        "cpu 9. The bar of cpu stands 1.94 times as high since 2 alerts that named it were called false alarms, the last one on 2026-11-21. So does that of one more series of this alert."
    );
    let mut long = alert(Some("cpu"), &[]);
    long.explanation = "x ".repeat(2_000);
    let long = explained(&once, long, FROM);
    assert!(long.len() <= 1_500 && long.ends_with("on 2026-11-20."), "the reason is not cut off: {long}");
}

#[test]
fn an_anomaly_is_marked_as_measured_against_a_raised_bar() {
    let bars = bars([false_alarm("1", NOON), false_alarm("2", NOON)]);
    assert_eq!(bars.method(1, FROM, "loud"), "loud, its bar 1.96 times as high for 2 false alarms");
    assert_eq!(bars.method(0, FROM, "loud"), "loud");
    assert_eq!(bars.method(1, FROM - 10_000, "loud"), "loud");
}
