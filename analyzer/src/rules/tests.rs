//! What a rules file may say, what it is told when it is wrong, and how a condition lasts.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn rules(text: &str) -> Result<RuleSet, RuleError> {
    parse(text, Path::new("rules.yaml"))
}

#[test]
fn the_built_in_rules_are_good() {
    let set = rules(BUILT_IN).unwrap();
    assert!(set.rules.len() >= 5);
    assert!(set.rules.iter().any(|rule| matches!(rule.condition, Condition::Silence)));
    assert!(set.rules.iter().all(|rule| rule.summary.is_some()));
}

#[test]
fn a_wrong_file_is_told_which_line_and_why() {
    let wrong = |text: &str, line: u64, part: &str| {
        let error = rules(text).unwrap_err();
        assert_eq!(error.line, line, "{text}\n{error}");
        assert!(error.message.contains(part), "{text}\n{error}");
        assert!(error.to_string().starts_with("rules.yaml:"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    };
    let base = "rules:\n  - name: a\n    metric: m\n    above: 1\n";
    rules(base).unwrap();
    wrong("rules:\n  - name: a\n    metrik: m\n    above: 1\n", 3, "metrik");
    wrong("rulez: []\n", 1, "rulez");
    wrong(&format!("{base}  - name: a\n    metric: m\n    above: 2\n"), 5, "above already");
    wrong("rules:\n  - name: a\n    metric: m\n", 2, "`above` or `below`");
    wrong("rules:\n  - name: a\n    above: 3\n", 2, "`absent: server`");
    wrong("rules:\n  - name: learned\n    metric: m\n    above: 1\n", 2, "learned");
    wrong("rules:\n  - name: a b\n    metric: m\n    above: 1\n", 2, "no name");
    wrong("rules:\n  - name: a\n    metric: m m\n    above: 1\n", 3, "no metric name");
    wrong("rules:\n  - name: a\n    metric: m\n    above: 1\n    below: 0\n", 5, "not both");
    wrong("rules:\n  - name: a\n    metric: m\n    above: high\n", 4, "");
    wrong("rules:\n  - name: a\n    metric: m\n    above: .nan\n", 4, "finite");
    wrong(&format!("{base}    for: 30\n"), 5, "unit");
    wrong(&format!("{base}    keep: soon\n"), 5, "duration");
    wrong(&format!("{base}    clear_below: 2\n"), 5, "beyond");
    wrong(&format!("{base}    clear_above: 0\n"), 5, "clears with");
    wrong(&format!("{base}    severity: bad\n"), 5, "bad");
    wrong(&format!("{base}    of: median\n"), 5, "median");
    wrong(&format!("{base}    labels:\n      - ok=1\n      - fstype=~(\n"), 7, "regular expression");
    wrong(&format!("{base}    labels: [fstype]\n"), 5, "label matcher");
    wrong(&format!("{base}    server: =~[\n"), 5, "regular expression");
    wrong("rules:\n  - name: a\n    absent: server\n    for: 5s\n", 4, "30s");
    wrong("rules:\n  - name: a\n    absent: disk\n    for: 60s\n", 3, "disk");
    wrong("rules:\n  - name: a\n    absent: server\n    for: 60s\n    above: 1\n", 5, "no level");
    wrong("rules:\n  - name: a\n   metric: b\n", 3, "");
    wrong(&format!("{base}    for: 31d\n"), 5, "30d at most");
    wrong(&format!("{base}    change_over: 5s\n"), 5, "30s at least");
    wrong(&format!("{base}    change_over: 7h\n"), 5, "6h at most");
    wrong(&format!("{base}    change_over: 5m\n    per: 0s\n"), 6, "such as");
    wrong(&format!("{base}    per: 1m\n"), 5, "belongs to");
    wrong(&format!("{base}    divided_by: b b\n"), 5, "no metric name");
    wrong(&format!("{base}    change_over: 5m\n    divided_by: b\n"), 6, "not both");
    wrong(&format!("{base}    of: score\n    divided_by: b\n"), 5, "score");
    wrong(&format!("{base}    quiet: [someday]\n"), 5, "no time");
    wrong("rules:\n  - name: a\n    metric: m_*\n    above: 1\n    divided_by: b\n", 3, "one name");
    wrong("rules:\n  - name: a\n    metric: =~(\n    above: 1\n", 3, "regular expression");
    wrong("rules:\n  - name: a\n    metric: m\n    absent: server\n    for: 60s\n", 3, "without `metric`");
    wrong("rules:\n  - name: a\n    absent: series\n    for: 60s\n", 3, "need a `metric`");
    wrong("rules:\n  - name: a\n    metric: m\n    absent: series\n    for: 5s\n", 5, "30s");
    wrong(
        "rules:\n  - name: a\n    metric: m\n    absent: metric\n    for: 1m\n    per: 1s\n",
        6,
        "no `per`",
    );
    wrong("rules:\n  - name: a\n    absent: server\n    for: 60s\n    keep: 60s\n", 5, "no `keep`");
    wrong("rules:\n  - name: a\n    absent: server\n    for: 60s\n    within: 1h\n", 5, "no `within`");
    wrong(&format!("{base}    within: 5m\n"), 5, "10m at least and 32h at most");
    wrong(&format!("{base}    within: 2d\n"), 5, "10m at least and 32h at most");
    wrong(&format!("{base}    within: 1h\n    clear_below: 0\n"), 6, "ends by itself");
    wrong(&format!("{base}    within: 1h\n    of: score\n"), 6, "goes nowhere");
    wrong(&format!("{base}    within: 1h\n    change_over: 5m\n"), 6, "without `change_over`");
    wrong("rules:\n  - name: a\n    metric: m\n    within: 1h\n", 2, "`above` or `below`");
}

#[test]
fn each_kind_of_rule_is_understood() {
    let set = rules(
        "rules:
  - {name: change, metric: m, change_over: 10m, per: 1h, below: -5}
  - {name: ratio, metric: m, divided_by: n, above: 0.9}
  - {name: score, metric: 'm_*', of: score, above: 2}
  - {name: lost, metric: m, absent: series, for: 1m, keep: 1m}
  - {name: never, metric: m, absent: metric, for: 2h}
  - {name: ahead, metric: m, divided_by: n, above: 1, within: 6h}
",
    )
    .unwrap();
    let measure = |i: usize| set.rules[i].condition.threshold().unwrap().measure.clone();
    assert_eq!(measure(0), Measure::Change { over_ms: 600_000, per_ms: 3_600_000 });
    assert_eq!(measure(1), Measure::Ratio("n".to_owned()));
    assert_eq!(measure(2), Measure::Figure);
    assert!(matches!(set.rules[3].condition, Condition::SeriesAbsent(_)));
    assert!(matches!(set.rules[4].condition, Condition::MetricAbsent(_)));
    assert!(matches!(set.rules[5].condition, Condition::Forecast(_)));
    assert_eq!(measure(5), Measure::Ratio("n".to_owned()));
    assert_eq!((set.longest_wait_ms(), set.longest_span_ms()), (7_200_000, 600_000));
    let apart: Vec<bool> = set.rules.iter().map(Rule::tells_metrics_apart).collect();
    assert_eq!(apart, [false, false, true, false, false, false]);
}

#[test]
fn a_star_stands_for_anything_but_in_quotes() {
    let matches = |pattern: &str, text: &str| Matcher::parse(pattern).unwrap().is_match(text);
    for (pattern, yes, no) in [
        ("web-*", "web-1", "my-web-1"),
        ("*_total", "a_total", "a_totals"),
        ("a*b*c", "axbxbxc", "acb"),
        ("a*a", "aa", "a"),
        ("=db*", "db", "web"),
        ("!=web-*", "db-1", "web-1"),
        ("=\"a*\"", "a*", "ab"),
        ("=~a.*", "ab", "ba"),
        ("!~a.*", "ba", "ab"),
    ] {
        assert!(matches(pattern, yes), "{pattern} {yes}");
        assert!(!matches(pattern, no), "{pattern} {no}");
    }
    assert!(Matcher::parse("=~a)(b").is_err());
    assert_eq!(Matcher::parse("=\"a*\"").unwrap().exact(), Some("a*"));
    assert_eq!(Matcher::parse("a*").unwrap().exact(), None);
    assert_eq!(Matcher::parse("!=a").unwrap().exact(), None);
}

#[test]
fn what_is_kept_of_a_set_is_what_watches_for_the_same() {
    let set = |limit: i64, summary: &str, quiet: &str| {
        let first = "{name: b, metric: m, above: 1}";
        let second = format!(
            "{{name: a, metric: 'm*', above: {limit}, labels: ['x=~a|b'], quiet: [{quiet}], summary: {summary}}}"
        );
        rules(&format!("rules:\n  - {first}\n  - {second}\n")).unwrap()
    };
    let before = set(5, "old", "sun");
    assert_eq!(set(5, "old", "sun").kept_from(&before), [Some(0), Some(1)]);
    assert_eq!(set(5, "new", "sun").kept_from(&before), [Some(0), Some(1)], "only what people read");
    assert_eq!(set(6, "old", "sun").kept_from(&before), [Some(0), None]);
    assert_eq!(set(5, "old", "sat").kept_from(&before), [Some(0), None]);
    let alone =
        rules("rules:\n  - {name: c, metric: m, above: 1}\n  - {name: b, metric: m, above: 1}").unwrap();
    assert_eq!(alone.kept_from(&before), [None, Some(0)], "by its name, wherever it stands");
}

#[test]
fn a_limit_with_a_time_is_a_forecast() {
    let text =
        "rules:\n  - name: a\n    metric: m\n    below: 5\n    within: 6h\n    for: 10m\n    labels: [x=y]\n";
    let rule = rules(text).unwrap().rules.remove(0);
    let Condition::Forecast(forecast) = &rule.condition else { panic!("{rule:?}") };
    assert_eq!((forecast.beyond.limit, forecast.beyond.side), (5.0, Side::Below));
    assert_eq!((forecast.within_ms, rule.hold_ms), (6 * 3_600_000, 600_000));
    assert!(rule.watches("s", &Series::gauge("m", "").with("x", "y")));
    assert!(!rule.watches("s", &Series::gauge("m", "")));
}

#[test]
fn matchers_choose_series_and_servers() {
    let set = rules(
        "rules:\n  - name: a\n    metric: m\n    above: 1\n    server: =~web-.*\n    labels: ['mount!~/(run|snap).*', 'fstype!=tmpfs', 'zone=']\n",
    )
    .unwrap();
    let wants = |server: &str, series: &Series| set.rules[0].watches(server, series);
    let series = |mount: &str| Series::gauge("m", "").with("mount", mount).with("fstype", "ext4");
    assert!(wants("web-1", &series("/")));
    assert!(wants("web-1", &series("/var/run")), "anchored at both ends");
    assert!(!wants("web-1", &series("/run/lock")));
    assert!(!wants("my-web-1", &series("/")));
    assert!(!wants("web-1", &series("/").with("fstype", "tmpfs")));
    assert!(!wants("web-1", &series("/").with("zone", "a")));
    assert!(!wants("web-1", &Series::gauge("other", "").with("mount", "/")));
}

#[test]
fn a_rate_is_asked_of_counters_only() {
    let set = rules("rules:\n  - name: a\n    metric: m\n    above: 1\n    of: rate\n").unwrap();
    assert!(set.rules[0].watches("s", &Series::counter("m", "")));
    assert!(!set.rules[0].watches("s", &Series::gauge("m", "")));
}

#[test]
fn hysteresis_keeps_what_fires_until_the_clear_level() {
    let set = rules("rules:\n  - name: a\n    metric: m\n    above: 90\n    clear_below: 80\n").unwrap();
    let Condition::Threshold(t) = &set.rules[0].condition else { panic!() };
    assert!(!t.holds(85.0, false) && t.holds(85.0, true) && t.holds(80.0, true) && !t.holds(79.9, true));
    assert!(t.holds(90.1, false) && !t.holds(90.0, false));
}

/// Feeds ten-second windows; returns (window, transition).
fn run(conditions: &[bool], pace: Pace) -> Vec<(usize, Transition)> {
    let mut hold = Hold::default();
    let window = |i: usize| 10_000 * i as i64;
    let step = |(i, &holds)| Some((i, hold.step(holds, window(i), window(i + 1), pace)?));
    conditions.iter().enumerate().filter_map(step).collect()
}

#[test]
fn it_fires_after_the_hold_time_and_resolves_after_the_keep_time() {
    let pace = Pace { hold_ms: 30_000, keep_ms: 20_000 };
    let text = "001101111011000000";
    let conditions: Vec<bool> = text.chars().map(|c| c == '1').collect();
    assert_eq!(
        run(&conditions, pace),
        [(7, Transition::Fire { starts_at: 50_000 }), (13, Transition::Resolve { ends_at: 120_000 })]
    );
    let at_once = Pace { hold_ms: 0, keep_ms: 0 };
    assert_eq!(
        run(&[false, true, true, false], at_once),
        [(1, Transition::Fire { starts_at: 10_000 }), (3, Transition::Resolve { ends_at: 30_000 })]
    );
}

#[test]
fn a_long_gap_starts_the_watch_again() {
    let pace = Pace { hold_ms: 30_000, keep_ms: 0 };
    let mut hold = Hold::default();
    assert_eq!(hold.step(true, 0, 10_000, pace), None);
    assert_eq!(hold.step(true, 600_000, 610_000, pace), None);
    assert_eq!(hold.step(true, 620_000, 630_000, pace), Some(Transition::Fire { starts_at: 600_000 }));
}

proptest! {
    #[test]
    fn fires_and_resolves_alternate_and_never_overlap(
        conditions in proptest::collection::vec(any::<bool>(), 0..200), hold in 0..6_i64, keep in 0..6_i64,
    ) {
        let said = run(&conditions, Pace { hold_ms: hold * 10_000, keep_ms: keep * 10_000 });
        let mut open: Option<i64> = None;
        let mut last_end = 0;
        for (_, transition) in said {
            match transition {
                Transition::Fire { starts_at } => {
                    prop_assert!(open.is_none() && starts_at >= last_end);
                    open = Some(starts_at);
                }
                Transition::Resolve { ends_at } => {
                    prop_assert!(ends_at > open.take().unwrap());
                    last_end = ends_at;
                }
            }
        }
    }
}
