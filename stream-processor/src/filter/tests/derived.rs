//! Derived series: which operands find each other, what is absent, what is refused, what later rules may do with them.

use super::*;

const PERCENT: &str =
    "name: p, unit: percent, value: 100 * used / size, operands: {used: fs_used, size: fs_size}";

fn derive(text: &str, frame: &[(&str, f64)]) -> (Plan, Vec<(String, f64)>) {
    let (plan, out) = run(&format!("rules: [{{derive: {{{text}}}}}]"), frame);
    let fresh = out.into_iter().skip(frame.len()).collect();
    (plan, fresh)
}

#[test]
fn operands_with_the_same_labels_find_each_other() {
    let (plan, out) = derive(
        PERCENT,
        &[
            ("fs_size{m=/}", 50.0),
            ("fs_used{m=/}", 5.0),
            ("fs_used{m=/a}", 1.0),
            ("fs_size{m=/b}", 4.0),
            ("fs_used{m=/b}", 2.0),
        ],
    );
    assert_eq!(out, [("p{m=/}".to_owned(), 10.0), ("p{m=/b}".to_owned(), 50.0)]);
    assert_eq!((&plan.series[5].unit[..], plan.series[5].kind), ("percent", SeriesKind::Gauge));
    assert_eq!((plan.dropped, plan.refused_total), (0, 0), "an operand that is not there is no error");
}

#[test]
fn labels_that_operands_name_are_set_aside() {
    let text = "name: p, value: idle / all, operands: {idle: {metric: cpu, labels: {mode: idle}}, all: {metric: sum}}";
    let (_, out) =
        derive(text, &[("cpu{c=0,mode=idle}", 3.0), ("cpu{c=0,mode=user}", 9.0), ("sum{c=0,mode=x}", 4.0)]);
    assert_eq!(out, [("p{c=0}".to_owned(), 0.75)]);
}

#[test]
fn by_says_which_labels_have_to_be_equal() {
    let frame = [("fs_size{m=/,dev=a}", 50.0), ("fs_used{m=/,dev=b}", 5.0)];
    assert_eq!(derive(PERCENT, &frame).1, []);
    assert_eq!(derive(&format!("{PERCENT}, by: [m]"), &frame).1, [("p{m=/}".to_owned(), 10.0)]);
    assert_eq!(derive(&format!("{PERCENT}, by: []"), &frame).1, [("p".to_owned(), 10.0)]);
    assert_eq!(derive(&format!("{PERCENT}, by: [other]"), &frame).1, [("p".to_owned(), 10.0)]);
}

#[test]
fn no_result_is_absent() {
    let values = |used: f64, size: f64| derive(PERCENT, &[("fs_size", size), ("fs_used", used)]).1[0].1;
    assert_eq!(values(1.0, 2.0), 50.0);
    for (used, size) in
        [(1.0, 0.0), (0.0, 0.0), (f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0), (1e308, 1.0)]
    {
        assert!(values(used, size).is_nan(), "{used} / {size}");
    }
}

#[test]
fn an_operand_that_is_two_series_is_refused() {
    let frame =
        [("fs_size{m=/}", 1.0), ("fs_used{m=/}", 1.0), ("fs_used{m=/a}", 1.0), ("fs_size{m=/b}", 1.0)];
    let (plan, out) = derive(&format!("{PERCENT}, by: []"), &frame);
    assert_eq!((out.len(), plan.refused_total), (0, 1));
    assert_eq!(plan.refused[0].reason, Reason::DuplicateSeries);
    assert_eq!(plan.refused[0].message, "derive p: `size` is both fs_size{m=\"/\"} and fs_size{m=\"/b\"}");
}

#[test]
fn a_counter_is_a_sum_of_counters() {
    let text = "name: bytes_total, kind: counter, value: (rx + tx) / 8, operands: {rx: rx*, tx: tx*}";
    let (plan, out) = derive(text, &[("rx_total", 8.0), ("tx_total", 16.0)]);
    assert_eq!(out, [("bytes_total".to_owned(), 3.0)]);
    assert_eq!(plan.series[2].kind, SeriesKind::Counter);
    let (plan, out) = derive(text, &[("rx_total", 8.0), ("tx", 16.0)]);
    assert_eq!((out.len(), &plan.refused[0].message[..]), (0, "derive bytes_total: `tx` is no counter: tx"));
}

#[test]
fn later_rules_see_derived_series_and_operands_may_go() {
    let text = format!(
        "rules:
  - derive: {{{PERCENT}}}
  - scale: {{ metric: p, factor: 0.01, offset: 1, unit: ratio }}
  - derive: {{ name: left, value: 2 - p, operands: {{ p: p }} }}
  - drop: {{ metric: 'fs_*' }}
"
    );
    let (plan, out) = run(&text, &[("fs_size{m=/}", 50.0), ("fs_used{m=/}", 10.0)]);
    assert_eq!(out, [("p{m=/}".to_owned(), 1.2), ("left{m=/}".to_owned(), 0.8)]);
    assert_eq!((plan.dropped, &plan.series[0].unit[..]), (2, "ratio"));
    let dropped_before = format!("rules: [{{drop: {{metric: fs_size}}}}, {{derive: {{{PERCENT}}}}}]");
    assert_eq!(names(&dropped_before, &["fs_size", "fs_used"]), ["fs_used"]);
}

#[test]
fn operands_that_were_scaled_are_scaled() {
    let text =
        format!("rules: [{{scale: {{metric: fs_used, factor: 2, offset: 1}}}}, {{derive: {{{PERCENT}}}}}]");
    assert_eq!(run(&text, &[("fs_size", 10.0), ("fs_used", 2.0)]).1[2].1, 50.0);
}

#[test]
fn an_expression_that_grows_from_rule_to_rule_ends() {
    let double = |i: usize| format!("{{derive: {{name: m{}, value: a * a, operands: {{a: m{i}}}}}}}", i + 1);
    let rules: Vec<String> = (0..100).map(double).collect();
    let (plan, out) = run(&format!("rules: [{}]", rules.join(", ")), &[("m0", 1.0)]);
    assert_eq!((out.len(), plan.refused_total), (8, 1), "2^7 loads are 255 steps");
    assert!(plan.refused[0].message.contains("too long"), "{:?}", plan.refused);
}

#[test]
fn no_more_series_than_a_frame_may_hold() {
    let layout: Vec<Series> = (0..9_000).map(|i| series(&format!("a{{x={i}}}"))).collect();
    let text = "rules: [{derive: {name: b, value: a * 2, operands: {a: a}}}]";
    let plan = filter(text).plan("s", &layout);
    assert_eq!((plan.series.len(), plan.refused_total), (10_000, 8_000));
    assert_eq!(plan.refused[0].reason, Reason::TooManySeries);
}

#[test]
fn a_derived_name_that_is_taken_is_left_out() {
    let (plan, out) = derive(PERCENT, &[("fs_size", 10.0), ("fs_used", 2.0), ("p", 1.0)]);
    assert_eq!((out.len(), plan.refused[0].reason), (0, Reason::DuplicateSeries));
}
