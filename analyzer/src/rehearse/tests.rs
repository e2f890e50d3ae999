//! What a test of rules may say, that it fails when it has to, and the tests of the rules that are shipped.

use std::path::Path;

use tidewatch_schemas::Series;

use super::*;
use crate::rules::{self, BUILT_IN};

const RULES: &str = "
rules:
  - {name: full, metric: avail, below: 10, for: 1m, severity: critical}
  - {name: fast, metric: bytes_total, above: 99}
  - {name: gone, absent: server, for: 1m}
  - {name: night, metric: avail, below: 10, quiet: ['00:00-06:00']}
";

fn rules_of(text: &str) -> Arc<RuleSet> {
    Arc::new(rules::parse(text, Path::new("rules.yaml")).unwrap())
}

/// The failures of a file's only test.
fn failures(test: &str) -> Vec<(u64, String)> {
    let file = parse(test, Path::new("test.yaml")).unwrap();
    let mut outcomes = run(&file, &rules_of(RULES)).unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).failures
}

const GOOD: &str = r#"
tests:
  - name: a disk
    interval: 1m
    server: db-1
    input_series:
      - {series: 'avail{mountpoint="/"}', values: '20x2 5x3 20 _x10'}
      - {series: 'avail{mountpoint="/var"}', values: '20x20'}
    alert_rule_test:
      - {eval_time: 3m, alertname: full}
      - eval_time: 4m
        alertname: full
        exp_alerts:
          - {exp_labels: {mountpoint: /}, severity: critical, starts: 3m}
      - {eval_time: 7m, alertname: full, exp_alerts: [{server: db-1, exp_labels: {mountpoint: /}}]}
      - {eval_time: 430s, alertname: full}
      - {eval_time: 5m, alertname: night}
"#;

#[test]
fn what_is_as_expected_has_no_failures() {
    let said = failures(GOOD);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn what_is_otherwise_is_told_with_its_line() {
    for (from, to, line, part) in [
        (
            "eval_time: 3m, alertname: full",
            "eval_time: 5m, alertname: full",
            10,
            "expected nothing; firing: db-1",
        ),
        ("severity: critical,", "severity: info,", 11, "expected db-1{mountpoint=\"/\"} info since 3 min"),
        ("starts: 3m", "starts: 2m", 11, "critical since 3 min"),
        ("{server: db-1, exp", "{server: db-2, exp", 15, "expected db-2"),
        ("eval_time: 4m", "eval_time: 230s", 11, "firing: nothing"),
        (
            "exp_alerts: [{server: db-1, exp_labels: {mountpoint: /}}]",
            "exp_alerts: []",
            15,
            "expected nothing",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let said = failures(&text);
        assert_eq!(said.len(), 1, "{to}: {said:?}");
        assert_eq!(said[0].0, line, "{to}: {said:?}");
        assert!(said[0].1.contains(part), "{to}: {said:?}");
    }
}

#[test]
fn a_counter_grows_between_its_values_and_a_server_may_fall_silent() {
    let test = "
tests:
  - interval: 1m
    input_series:
      - {series: bytes_total, values: '0+6000x4 0+6060x4 _x20'}
    alert_rule_test:
      - {eval_time: 20s, alertname: fast, exp_alerts: [{starts: 10s}]}
      - {eval_time: 4m, alertname: fast, exp_alerts: [{starts: 10s}]}
      - {eval_time: 660s, alertname: gone}
      - {eval_time: 11m, alertname: gone, exp_alerts: [{starts: 10m}]}
";
    let said = failures(&test.replace("660s", "650s"));
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(failures(test).len(), 1, "660 s are eleven minutes");
}

#[test]
fn a_time_of_quiet_is_one_of_the_day_on_which_the_test_begins() {
    let test = |start: &str| {
        format!(
            "tests:
  - start: 2026-11-23T{start}Z
    input_series:
      - {{series: avail, values: '5x100'}}
    alert_rule_test:
      - {{eval_time: 5m, alertname: night, exp_alerts: [{{server: server-1}}]}}
"
        )
    };
    assert!(failures(&test("06:00:00")).is_empty());
    assert!(failures(&test("05:58:00")).is_empty());
    assert_eq!(failures(&test("05:00:00")).len(), 1);
}

#[test]
fn a_wrong_test_file_is_told_which_line_and_why() {
    for (from, to, line, part) in [
        ("interval: 1m", "interval: 15s", 4, "multiple"),
        ("interval: 1m", "interval: 0s", 4, "multiple"),
        ("interval: 1m", "intervall: 1m", 4, "intervall"),
        ("server: db-1\n", "server: ' db'\n", 5, "server name"),
        ("'20x20'", "'20y20'", 8, "no value"),
        ("mountpoint=\"/var\"", "mountpoint=/var", 8, "no series"),
        ("avail{mountpoint=\"/var\"}", "a b", 8, "no collector"),
        ("eval_time: 3m", "eval_time: 3", 10, "unit"),
        ("eval_time: 3m", "eval_time: 1500ms", 10, "seconds"),
        ("eval_time: 3m", "eval_time: 31d", 10, "30d"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let error = parse(&text, Path::new("test.yaml")).unwrap_err();
        assert_eq!(error.line, line, "{to}: {error}");
        assert!(error.to_string().starts_with("test.yaml:") && error.message.contains(part), "{to}: {error}");
    }
    let text = GOOD.replacen("alertname: night", "alertname: knight", 1);
    let file = parse(&text, Path::new("test.yaml")).unwrap();
    let error = run(&file, &rules_of(RULES)).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (17, "there is no rule `knight`"));
}

#[test]
fn series_are_written_as_prometheus_writes_them() {
    let series = |text: &str| {
        let test =
            format!("tests: [{{input_series: [{{series: '{text}', values: '1'}}], alert_rule_test: []}}]");
        let file = parse(&test, Path::new("x")).map_err(|error| error.message)?;
        Ok::<_, String>(file.tests[0].inputs[0].series.clone())
    };
    let plain = Series::gauge("m", "");
    assert_eq!(series("m"), Ok(plain.clone()));
    assert_eq!(series("m{}"), Ok(plain.clone()));
    let both = plain.with("a", "x,}=\"").with("b", "c:\\d");
    assert_eq!(series(r#"m{a="x,}=\"", b="c:\\d",}"#), Ok(both));
    assert_eq!(series("m_total").map(|series| series.kind), Ok(SeriesKind::Counter));
    for bad in [
        "",
        "{a=\"b\"}",
        "m{a}",
        "m{a=\"b\"",
        "m{a=\"b\" b=\"c\"}",
        "m{a=\"b\",a=\"c\"}",
        "m{}x",
        "m{a=\"\\x\"}",
    ] {
        assert!(series(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_examples_of_the_documentation_are_good() {
    let text = include_str!("../../../docs/rules.md");
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<&str> = blocks.collect();
    let [rules, tests] = blocks[..] else { panic!("{} examples", blocks.len()) };
    let outcomes = run(&parse(tests, Path::new("docs")).unwrap(), &rules_of(rules)).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.failures.is_empty()), "{outcomes:?}");
}

#[test]
fn the_shipped_rules_pass_their_tests() {
    let text = include_str!("../../../deploy/rules/host.test.yaml");
    let file = parse(text, Path::new("host.test.yaml")).unwrap();
    let rules = rules_of(BUILT_IN);
    for outcome in run(&file, &rules).unwrap() {
        assert!(outcome.failures.is_empty(), "{}: {:?}", outcome.name, outcome.failures);
    }
    let asked: BTreeSet<&str> =
        file.tests.iter().flat_map(|test| &test.asks).map(|ask| ask.rule.as_str()).collect();
    let untested: Vec<_> = rules.rules.iter().filter(|rule| !asked.contains(rule.name.as_str())).collect();
    assert!(untested.is_empty(), "{untested:?}");
}
