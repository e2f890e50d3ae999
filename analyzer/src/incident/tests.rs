//! Identity, numbers, and the sentences people read.

use std::path::Path;

use super::*;
use crate::rules::{Condition, parse};

/// With plain spaces and minus, to be readable here.
fn plain(text: &str) -> String {
    text.replace('\u{202f}', " ").replace('\u{2212}', "-")
}

const START: i64 = 1_795_442_590_000; // Mon 23 Nov 2026 14:03:10 UTC

fn at(seconds: i64) -> Window {
    Window { start: START + seconds * 1_000, end: START + (seconds + 10) * 1_000 }
}

#[test]
fn identity_depends_on_rule_server_labels_and_start_alone() {
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let one = fingerprint("cpu", "web-1", &labels(&[("a", "bc")]));
    assert_eq!(one, fingerprint("cpu", "web-1", &labels(&[("a", "bc")])));
    assert_eq!(one.len(), 32);
    for other in [
        fingerprint("cpu", "web-2", &labels(&[("a", "bc")])),
        fingerprint("cpuw", "eb-1", &labels(&[("a", "bc")])),
        fingerprint("cpu", "web-1", &labels(&[("ab", "c")])),
        fingerprint("cpu", "web-1", &labels(&[])),
    ] {
        assert_ne!(one, other);
    }
    assert_eq!(alert_id(&one, 1), alert_id(&one, 1));
    assert_ne!(alert_id(&one, 1), alert_id(&one, 2));
    let event = format!("{one}.firing");
    let trace = traceparent(&one, &event).unwrap();
    assert_eq!((trace.len(), &trace[..36], &trace[52..]), (55, format!("00-{one}-").as_str(), "-01"));
    assert_ne!(traceparent(&one, &format!("{one}.resolved")).unwrap()[36..52], trace[36..52], "its own span");
    for foreign in ["", "a1", &one.to_uppercase(), &format!("{one}0")] {
        assert_eq!(traceparent(foreign, &event), None, "{foreign}");
    }
    // pinned: subscribers may have stored it
    assert_eq!(fingerprint("cpu_busy", "web-1", &Labels::new()), "15546f505908bfc7847441b6a37b588c");
}

#[test]
fn numbers_have_three_figures() {
    for (value, text) in [
        (0.0, "0"),
        (9.3, "9.3"),
        (41.96, "42"),
        (98.0, "98"),
        (0.92, "0.92"),
        (1_743.0, "1,740"),
        (1_234_567.0, "1,230,000"),
        (-4.04, "-4.04"),
        (0.000_012_3, "1.23e-5"),
        (999.6, "1,000"),
        (f64::NAN, "no data"),
    ] {
        assert_eq!(plain(&words::number(value)), text, "{value}");
    }
}

#[test]
fn quantities_have_the_units_of_their_series() {
    let quantity = |value, series: Series| plain(&words::quantity(value, &series, None));
    assert_eq!(quantity(98.0, Series::gauge("x_percent", "percent")), "98 %");
    assert_eq!(quantity(50_465_865_728.0, Series::gauge("node_memory_MemFree_bytes", "bytes")), "47 GiB");
    assert_eq!(quantity(1.2e9, Series::counter("node_network_receive_bytes_total", "bytes")), "1.2 GB/s");
    assert_eq!(quantity(1_740.0, Series::counter("node_forks_total", "")), "1,740/s");
    assert_eq!(quantity(0.000_92, Series::gauge("latency_seconds", "seconds")), "920 \u{b5}s");
    assert_eq!(quantity(0.97, Series::counter("node_cpu_seconds_total", "seconds")), "0.97 s/s");
    assert_eq!(quantity(2.5, Series::gauge("node_load1", "")), "2.5");
    assert_eq!(plain(&words::duration(24_000_000)), "6 h 40 min");
    assert_eq!(plain(&words::duration(50_000)), "50 s");
    assert_eq!(plain(&words::duration(120_000)), "2 min");
}

fn rule(text: &str) -> Rule {
    parse(&format!("rules:\n  - {text}"), Path::new("test")).unwrap().rules.remove(0)
}

#[test]
fn a_threshold_alert_says_what_was_seen_and_what_was_expected() {
    let rule = rule(
        "{name: filesystem_used, metric: tidewatch_host_filesystem_used_percent, above: 90, for: 1m, summary: It is filling up.}",
    );
    let Condition::Threshold(limit) = &rule.condition else { panic!() };
    let series =
        Series::gauge("tidewatch_host_filesystem_used_percent", "percent").with("mountpoint", "/var");
    let band = Band { expected: 50.0, low: 44.2, high: 57.81 };
    let alert = threshold(&rule, limit, "web-1", (&series, 93.44, Some(band)), START, at(50));
    assert_eq!(plain(&alert.title), "File system used of /var 93.4 % on web-1");
    assert_eq!(
        plain(&alert.explanation),
        "It is filling up. File system used of /var 93.4 %, above 90 % since 14:03:10 UTC (1 min). Expected now: 44.2 to 57.8 %."
    );
    assert_eq!((alert.expected_low, alert.value), (Some(44.2), Some(93.44)));
    let over = resolved(
        &alert,
        &ending(&alert, START + 120_000, Over::Value(&series, 71.0, limit)),
        START + 130_000,
    );
    assert_eq!(plain(&over.title), "File system used of /var back at 71 % on web-1");
    assert_eq!(
        plain(&over.explanation),
        "File system used of /var is at 71 % again. From 14:03:10 UTC to 14:05:10 UTC, 2 min."
    );
    assert_eq!((over.alert_id, over.ends_at), (alert.alert_id, Some(START + 120_000)));
}

#[test]
fn changes_ratios_and_scores_are_said_with_their_units() {
    let said = |text: &str, series: &Series, value: f64| {
        let rule = rule(text);
        let Condition::Threshold(limit) = &rule.condition else { panic!() };
        let alert = threshold(&rule, limit, "web-1", (series, value, None), START, at(50));
        (plain(&alert.title), plain(&alert.explanation), alert.unit)
    };
    let avail = Series::gauge("node_filesystem_avail_bytes", "bytes").with("mountpoint", "/");
    let (title, explanation, unit) = said(
        "{name: a, metric: node_filesystem_avail_bytes, change_over: 10m, per: 1h, below: -1e9}",
        &avail,
        -10.0 * 1_073_741_824.0,
    );
    assert_eq!(title, "Change of node_filesystem_avail_bytes of / over 10 min -10 GiB/h on web-1");
    assert_eq!(
        explanation,
        "Change of node_filesystem_avail_bytes of / over 10 min -10 GiB/h, below -954 MiB/h since 14:03:10 UTC (1 min)."
    );
    assert_eq!(unit, "bytes");
    let traffic = Series::counter("node_network_receive_bytes_total", "bytes").with("device", "eth0");
    let (title, ..) = said(
        "{name: a, metric: node_network_receive_bytes_total, change_over: 5m, above: 1}",
        &traffic,
        4.1e7,
    );
    assert_eq!(title, "node_network_receive_bytes_total of eth0 over 5 min 41 MB/s on web-1");
    let killed = Series::counter("node_vmstat_oom_kill", "");
    let (title, ..) =
        said("{name: a, metric: node_vmstat_oom_kill, change_over: 10m, per: 10m, above: 0.5}", &killed, 1.0);
    assert_eq!(title, "Processes ended for lack of memory 1 in 10 min on web-1");
    let inodes = Series::gauge("node_filesystem_files_free", "things").with("mountpoint", "/");
    let (title, _, unit) = said(
        "{name: a, metric: node_filesystem_files_free, divided_by: node_filesystem_files, below: 0.05}",
        &inodes,
        0.031,
    );
    assert_eq!((title.as_str(), unit.as_str()), ("Free inodes of / divided by Inodes 0.031 on web-1", ""));
    let load = Series::gauge("node_load1", "");
    let (title, ..) = said("{name: a, metric: node_load1, of: score, above: 2}", &load, 3.21);
    assert_eq!(title, "Oddness of Load over 1 min 3.21 on web-1");
}

#[test]
fn what_is_missing_is_named() {
    let load = Series::gauge("node_load1", "");
    let lost = rule("{name: a, metric: node_load1, absent: series, for: 1m, runbook: 'https://x'}");
    let alert = series_absent(&lost, "web-1", &load, START, at(50));
    assert_eq!(plain(&alert.title), "Missing on web-1: Load over 1 min");
    assert_eq!(
        plain(&alert.explanation),
        "web-1 does not report Load over 1 min any more, since 14:03:10 UTC (1 min); other series of it still come."
    );
    assert_eq!(
        (alert.metric.as_deref(), alert.runbook_url.as_deref()),
        (Some("node_load1"), Some("https://x"))
    );
    let over =
        resolved(&alert, &ending(&alert, START + 120_000, Over::Back("Load over 1 min")), START + 130_000);
    assert_eq!(plain(&over.title), "Reported again on web-1: Load over 1 min");
    let none = rule(
        "{name: a, metric: 'backup_*', labels: [kind=full], absent: metric, for: 1m, summary: No backup.}",
    );
    let Condition::MetricAbsent(select) = &none.condition else { panic!() };
    let alert = metric_absent(&none, select, "web-1", START, at(50));
    assert_eq!(plain(&alert.title), "Missing on web-1: backup_*{kind=full}");
    assert_eq!(
        plain(&alert.explanation),
        "No backup. web-1 reports, but no backup_*{kind=full}, since 14:03:10 UTC (1 min)."
    );
    assert_eq!((alert.metric, alert.fingerprint), (None, fingerprint("a", "web-1", &Labels::new())));
}

#[test]
fn a_silent_server_is_named_with_its_last_sign() {
    let alert = silence(&rule("{name: gone, absent: server, for: 60s}"), "web-1", START, START + 61_000);
    assert_eq!(plain(&alert.title), "web-1 silent since 14:03:10 UTC");
    assert!(plain(&alert.explanation).contains("allows 1 min of silence"), "{}", alert.explanation);
    assert_eq!(alert.alert_id, alert_id(&alert.fingerprint, START));
    let over = resolved(&alert, &ending(&alert, START + 110_000, Over::Heard), START + 120_000);
    assert_eq!(plain(&over.explanation), "web-1 was silent. From 14:03:10 UTC to 14:05:00 UTC, 1 min 50 s.");
}
