//! Rules of Prometheus in our words, and that nothing of a file is lost without a word.

use proptest::prelude::*;
use tidewatch_schemas::Labels;

use super::*;
use crate::rules::{Condition as OurCondition, Measure, Of, Rule, Side, Threshold, parse};

fn imported(text: &str) -> Import {
    import(text, Path::new("prom.yaml")).unwrap()
}

/// A file of one rule with this expression.
fn one(expr: &str) -> Import {
    imported(&format!(
        "groups:\n  - name: g\n    rules:\n      - alert: A\n        for: 1m\n        expr: |\n          {expr}\n"
    ))
}

fn rule(expr: &str) -> Rule {
    let import = one(expr);
    assert_eq!(import.left_out, [], "{expr}");
    parse(&import.yaml, Path::new("ours.yaml")).unwrap().rules.remove(0)
}

fn threshold(expr: &str) -> Threshold {
    match rule(expr).condition {
        OurCondition::Threshold(threshold) => threshold,
        other => panic!("{expr}: {other:?}"),
    }
}

#[test]
fn a_comparison_with_a_number_is_a_limit() {
    for (expr, side, limit) in [
        ("m > 5", Side::Above, 5.0),
        ("m < 0.5", Side::Below, 0.5),
        ("5 < m", Side::Above, 5.0),
        ("m * 100 > 90", Side::Above, 0.9),
        ("m / 1024 / 1024 > 3", Side::Above, 3.0 * 1024.0 * 1024.0),
        ("100 - m > 90", Side::Below, 10.0),
        ("-m > 2", Side::Below, -2.0),
        ("m + 1 > 2 * (3 - 1)", Side::Above, 3.0),
        ("m >= 5", Side::Above, 5.0_f64.next_down()),
        ("m <= 5", Side::Below, 5.0_f64.next_up()),
    ] {
        let threshold = threshold(expr);
        assert_eq!((threshold.side, threshold.limit), (side, limit), "{expr}");
        assert_eq!((threshold.of, threshold.measure), (Some(Of::Last), Measure::Figure), "{expr}");
        assert_eq!(threshold.select.metric.exact(), Some("m"));
    }
}

#[test]
fn rates_changes_and_ratios_are_what_they_were() {
    let rate = threshold("rate(c_total{a=\"b\"}[5m]) * 60 > 30");
    assert_eq!(rate.measure, Measure::Change { over_ms: 300_000, per_ms: 1_000 });
    assert_eq!((rate.of, rate.limit), (Some(Of::Rate), 0.5));
    let increase = threshold("increase(c_total[10m]) > 30");
    assert_eq!(increase.measure, Measure::Change { over_ms: 600_000, per_ms: 600_000 });
    assert_eq!((increase.of, increase.limit), (Some(Of::Rate), 30.0));
    let delta = threshold("delta(g[1h]) < -7");
    assert_eq!(delta.measure, Measure::Change { over_ms: 3_600_000, per_ms: 3_600_000 });
    assert_eq!((delta.of, delta.side, delta.limit), (Some(Of::Last), Side::Below, -7.0));
    let ratio = threshold("(1 - a{x=\"1\"} / b{y!=\"2\"}) * 100 > 90");
    assert_eq!(ratio.measure, Measure::Ratio("b".into()));
    assert_eq!((ratio.side, ratio.select.labels.len()), (Side::Below, 2), "the divisor's matchers too");
    assert!((ratio.limit - 0.1).abs() < 1e-12, "{}", ratio.limit);
}

#[test]
fn a_line_that_is_drawn_ahead_is_a_forecast() {
    let expr = "predict_linear(a{x=\"1\"}[6h], 4 * 3600) / 1024 < 2";
    let OurCondition::Forecast(forecast) = rule(expr).condition else { panic!() };
    assert_eq!((forecast.within_ms, forecast.beyond.limit), (4 * 3_600_000, 2_048.0));
    assert_eq!((forecast.beyond.side, forecast.beyond.of), (Side::Below, Some(Of::Last)));
    let notes = one(expr).notes;
    assert!(notes.iter().any(|note| note.text.contains("not through 6h")), "{notes:?}");
}

#[test]
fn absence_is_asked_of_each_server_and_said_so() {
    let import = one("absent(node_load1{a=\"b\"})");
    assert!(import.notes.iter().any(|note| note.text.contains("each server")), "{:?}", import.notes);
    let OurCondition::MetricAbsent(select) = rule("absent(node_load1{a=\"b\"})").condition else { panic!() };
    assert_eq!((select.metric.exact(), select.labels.len()), (Some("node_load1"), 1));
    let at_once = imported("groups: [{name: g, rules: [{alert: A, expr: absent(m)}]}]");
    assert!(at_once.yaml.contains("for: 30s") && at_once.notes.len() == 2, "{}", at_once.yaml);
}

#[test]
fn matchers_keep_their_meaning() {
    let select = threshold(r#"m{a="x*y", b!="~z", c=~"d.+|", d!~"'q'", e="", f=" s "} > 1"#).select;
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let good = [("a", "x*y"), ("b", "w"), ("c", "dd"), ("d", "q"), ("f", " s ")];
    assert!(select.is_match("m", &labels(&good)));
    for (at, other) in [(0, "xzy"), (1, "~z"), (2, "e"), (3, "'q'"), (4, "s")] {
        let mut bad = good;
        bad[at].1 = other;
        assert!(!select.is_match("m", &labels(&bad)), "{bad:?}");
    }
    assert!(!select.is_match("m", &labels(&[good.as_slice(), &[("e", "1")]].concat())));
    let named = threshold("{__name__=~\"a|b\"} > 1").select;
    assert!(named.is_match("a", &labels(&[])) && !named.is_match("c", &labels(&[])));
}

#[test]
fn what_prometheus_adds_is_left_out_and_said() {
    let import = one("m{job=\"node\", instance=~\"web.*\", a=\"b\"} > 1");
    assert_eq!(import.rules, 1);
    let notes: Vec<_> = import.notes.iter().map(|note| note.text.as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("job=\"node\"")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("instance=~\"web.*\"")), "{notes:?}");
    assert!(import.yaml.contains("# left out job"), "{}", import.yaml);
}

#[test]
fn what_does_not_fit_is_listed_with_its_reason() {
    for (expr, part) in [
        ("up == 0", "absent: server"),
        ("up < 1", "absent: server"),
        ("m == 3", "no limits"),
        ("m", "compares nothing"),
        ("a > b", "two series"),
        ("1 > 2", "two numbers"),
        ("a + b > 1", "adds or subtracts"),
        ("a * b > 1", "multiplies"),
        ("1 / a > 1", "divides by a series"),
        ("rate(a[5m]) / rate(b[5m]) > 1", "divides what is made"),
        ("(a + 1) / b > 1", "divides sums"),
        ("m / 0 > 1", "finite"),
        ("a > 1 < 3", "filters"),
        ("sum(a) > 1", "`sum`"),
        ("a > 1 and b > 1", "`and`"),
        ("avg_over_time(a[5m]) > 1", "avg_over_time"),
        ("deriv(a[1h]) < 0", "deriv"),
        ("predict_linear(a[6h], 4 * 86400) < 0", "32h at most"),
        ("predict_linear(a[6h], b) < 0", "no number"),
        ("irate(a[5m]) > 1", "irate"),
        ("time() - a > 60", "time()"),
        ("abs(a) > 1", "abs()"),
        ("a[5m] > 1", "without a function"),
        ("absent(sum(a))", "`sum`"),
        ("absent(a) > 0", "absent"),
        ("{a=\"b\"} > 1", "one metric"),
        ("rate(a[1d]) > 1", "6h at most"),
        ("a{b=~\"(\"} > 1", "regular expression"),
        ("a >", "missing"),
    ] {
        let import = one(expr);
        assert_eq!((import.rules, import.left_out.len()), (0, 1), "{expr}");
        let Remark { line, rule, text } = &import.left_out[0];
        assert_eq!((*line, rule.as_str()), (4, "A"), "{expr}");
        assert!(text.contains(part), "{expr}: {text}");
        assert!(import.yaml.starts_with("rules: []\n\n# not imported, prom.yaml:4: A: "), "{}", import.yaml);
        assert!(parse(&import.yaml, Path::new("x")).is_ok());
    }
}

const FILE: &str = r#"
groups:
  - name: hosts
    interval: 30s
    labels: {team: infra}
    rules:
      - record: job:load:avg
        expr: avg(node_load1)
      - alert: Host out of memory
        expr: node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 < 10
        for: 2m
        keep_firing_for: 1h30m
        labels: {severity: page}
        annotations:
          summary: "It's the
            memory"
          description: "{{ $value }}"
          runbook_url: https://wiki.example/memory
      - alert: Load
        expr: node_load1 > 20
        labels: {severity: high}
        annotations: {summary: "{{ $labels.instance }} is busy"}
      - alert: Load
        expr: node_load1 > 40
      - alert: learned
        expr: m > 1
"#;

#[test]
fn a_file_becomes_a_good_file_and_everything_else_is_said() {
    let import = imported(FILE);
    let set = parse(&import.yaml, Path::new("ours.yaml")).unwrap();
    let names: Vec<_> = set.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["Host_out_of_memory", "Load", "Load_2", "learned_2"]);
    assert_eq!(import.rules, 4);
    let memory = &set.rules[0];
    assert_eq!((memory.hold_ms, memory.keep_ms), (120_000, 5_400_000));
    assert_eq!(memory.severity.as_str(), "critical");
    assert_eq!(memory.summary.as_deref(), Some("It's the memory"));
    assert_eq!(memory.runbook.as_deref(), Some("https://wiki.example/memory"));
    let OurCondition::Threshold(limit) = &memory.condition else { panic!() };
    assert_eq!((limit.side, limit.limit), (Side::Below, 0.1));
    assert_eq!(import.left_out.len(), 1);
    assert_eq!((import.left_out[0].line, import.left_out[0].rule.as_str()), (7, "job:load:avg"));
    let said = |line: u64, part: &str| {
        assert!(
            import.notes.iter().any(|n| n.line == line && n.text.contains(part)),
            "{line} {part}: {:?}",
            import.notes
        );
    };
    said(3, "interval");
    said(9, "its name was");
    said(9, "`description`");
    said(9, "`team`");
    said(19, "\"high\"");
    said(19, "`summary`");
    said(23, "its name was");
    assert!(import.yaml.contains("# not imported, prom.yaml:7: job:load:avg: "), "{}", import.yaml);
}

#[test]
fn what_is_no_rule_file_is_refused_with_its_line() {
    for (text, line) in [
        ("groups:\n  - name: g\n    rules:\n      - alert: A\n        exprr: m > 1\n", 5),
        ("group: []\n", 1),
        ("groups: [\n", 2),
    ] {
        let error = import(text, Path::new("prom.yaml")).unwrap_err();
        assert!(error.line.abs_diff(line) <= 1, "{error}");
        assert!(error.to_string().starts_with("prom.yaml:"), "{error}");
    }
}

proptest! {
    /// Whatever stands in the texts of a rule: it is imported or listed, and what is written is good.
    #[test]
    fn every_rule_is_written_or_listed(
        names in proptest::collection::vec("[ -~]{0,12}", 1..6), value in "[ -~\u{e9}]{0,12}", limit in -1e9..1e9_f64,
    ) {
        let yaml_text = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let label = value.replace('\\', "\\\\").replace('"', "\\\"");
        let expr = yaml_text(&format!("m{{a=\"{label}\"}} > {limit}"));
        let summary = yaml_text(&value);
        let rule = |name: &String| {
            let name = yaml_text(name);
            format!("      - alert: {name}\n        expr: {expr}\n        annotations: {{summary: {summary}}}\n")
        };
        let all: String = names.iter().map(rule).collect();
        let text = format!("groups:\n  - name: g\n    rules:\n{all}");
        let import = import(&text, Path::new("prom.yaml")).unwrap();
        prop_assert_eq!(import.rules + import.left_out.len(), names.len());
        let set = parse(&import.yaml, Path::new("ours.yaml")).unwrap();
        prop_assert_eq!(set.rules.len(), import.rules);
        for rule in &set.rules {
            let OurCondition::Threshold(threshold) = &rule.condition else { panic!() };
            let labels = Labels::from([("a".to_owned(), value.clone())]);
            prop_assert!(threshold.select.is_match("m", &labels), "{:?}", threshold.select);
            prop_assert_eq!(threshold.limit, limit);
        }
    }
}
