//! Drop, keep, rename, relabel and scale, one at a time; collisions; names beyond the limits.

use super::*;

#[test]
fn drop_leaves_out_what_matches_all_of_it() {
    let text = "rules: [{drop: {metric: 'cpu_*', labels: {mode: idle, dev: '!x'}}}]";
    let layout = ["cpu_a{mode=idle}", "cpu_a{mode=idle,dev=x}", "cpu_a{mode=user}", "mem{mode=idle}"];
    assert_eq!(names(text, &layout), ["cpu_a{dev=x,mode=idle}", "cpu_a{mode=user}", "mem{mode=idle}"]);
    assert_eq!(run(text, &layout.map(|name| (name, 1.0))).0.dropped, 1);
}

#[test]
fn a_missing_label_is_an_empty_one() {
    let layout = ["a", "a{dev=x}"];
    assert_eq!(names("rules: [{drop: {labels: {dev: ''}}}]", &layout), ["a{dev=x}"]);
    assert_eq!(names("rules: [{drop: {labels: {dev: '!'}}}]", &layout), ["a"]);
}

#[test]
fn keep_leaves_out_what_does_not_match() {
    let text = "rules: [{keep: {metric: '/cpu|mem/'}}]";
    let (plan, _) = run(text, &[("cpu", 1.0), ("disk", 1.0), ("mem", 1.0), ("memory", 1.0)]);
    assert_eq!((plan.series.len(), plan.dropped), (2, 2));
    assert_eq!(plan.sources, [Source::Copy(0), Source::Copy(2)]);
}

#[test]
fn rules_apply_in_their_order() {
    let rename = "{rename: {metric: a, to: b}}";
    let drop = "{drop: {metric: b}}";
    assert_eq!(names(&format!("rules: [{rename}, {drop}]"), &["a"]), [] as [&str; 0]);
    assert_eq!(names(&format!("rules: [{drop}, {rename}]"), &["a"]), ["b"]);
}

#[test]
fn rename_fills_in_stars_and_groups() {
    let rename = |metric: &str, to: &str| format!("rules: [{{rename: {{metric: '{metric}', to: '{to}'}}}}]");
    let layout = ["node_cpu", "up{x=1}"];
    assert_eq!(names(&rename("node_*", "host_*"), &layout), ["host_cpu", "up{x=1}"]);
    assert_eq!(names(&rename("/node_(?<what>.*)/", "${what}_of_node"), &layout), ["cpu_of_node", "up{x=1}"]);
    assert_eq!(names(&rename("!node_*", "other"), &layout), ["node_cpu", "other{x=1}"]);
    let labels = "rules: [{rename: {metric: '*', labels: {x: '1'}, to: 'one.*'}}]";
    assert_eq!(names(labels, &layout), ["node_cpu", "one.up{x=1}"]);
}

#[test]
fn relabel_sets_removes_and_renames() {
    let layout = ["disk_a{dev=sda1,mode=p}"];
    let relabel = |text: &str| names(&format!("rules: [{{relabel: {{{text}}}}}]"), &layout);
    assert_eq!(relabel("set: {team: storage, dev: ''}"), ["disk_a{mode=p,team=storage}"]);
    assert_eq!(relabel("remove: [mode, x]"), ["disk_a{dev=sda1}"]);
    assert_eq!(relabel("remove: ['!dev']"), ["disk_a{dev=sda1}"]);
    assert_eq!(relabel("rename: {dev: mode, mode: dev, x: y}"), ["disk_a{dev=p,mode=sda1}"]);
    assert_eq!(relabel("rename: {dev: mode}"), ["disk_a{mode=sda1}"]);
    assert_eq!(relabel("metric: cpu, remove: [mode]"), layout);
    let capture = |text: &str| relabel(&format!("set: {{disk: {{{text}}}}}, remove: [dev, mode]"));
    assert_eq!(capture(r"from: dev, match: '/(sd.)\d/'"), ["disk_a{disk=sda}"], "$1 unless told otherwise");
    assert_eq!(capture("from: dev, match: 'sd*', to: 'hd*'"), ["disk_a{disk=hda1}"]);
    assert_eq!(capture("from: dev, match: nvme0, to: other"), ["disk_a"], "no match: left as it is");
    assert_eq!(capture("from: __name__, match: '*_*', to: '$2.$1'"), ["disk_a{disk=a.disk}"]);
    assert_eq!(capture("from: mode"), ["disk_a{disk=p}"]);
    assert_eq!(capture("from: absent"), ["disk_a"], "an empty value removes");
}

#[test]
fn scale_multiplies_adds_and_names_the_unit() {
    let text = "rules: [{scale: {metric: '*_c', factor: 1.8, offset: 32, unit: fahrenheit}}]";
    let (plan, out) = run(text, &[("temp_c", 100.0), ("other", 1.0), ("cold_c", f64::NAN)]);
    assert_eq!(out[..2], [("temp_c".to_owned(), 212.0), ("other".to_owned(), 1.0)]);
    assert!(out[2].1.is_nan());
    assert_eq!(plan.series[0].unit, "fahrenheit");
    let twice = "rules: [{scale: {metric: a, factor: 2, offset: 1}}, {scale: {metric: a, factor: 10}}]";
    assert_eq!(run(twice, &[("a", 3.0)]).1[0].1, 70.0);
    let unit = run("rules: [{scale: {metric: a, unit: bytes}}]", &[("a", 3.0)]).0;
    assert_eq!((&unit.series[0].unit[..], &unit.sources[0]), ("bytes", &Source::Copy(0)));
}

#[test]
fn a_counter_takes_a_positive_factor_only() {
    let scale =
        |text: &str| run(&format!("rules: [{{scale: {{metric: '*', {text}}}}}]"), &[("a_total", 3.0)]);
    assert_eq!(scale("factor: 0.5").1, [("a_total".to_owned(), 1.5)]);
    assert_eq!(scale("offset: 0").1, [("a_total".to_owned(), 3.0)]);
    for bad in ["factor: -1", "offset: 1", "factor: 2, offset: -1"] {
        let (plan, out) = scale(bad);
        assert_eq!((out.len(), plan.refused_total, plan.dropped), (0, 1, 0), "{bad}");
        assert_eq!(plan.refused[0].reason, Reason::Refused);
        assert!(plan.refused[0].message.ends_with("factor or an offset: a_total"), "{:?}", plan.refused);
    }
}

#[test]
fn a_factor_that_no_number_can_hold_leaves_the_series_out() {
    let twice = "{scale: {metric: a, factor: 1e100}}, ".repeat(4);
    let (plan, out) = run(&format!("rules: [{twice}]"), &[("a", 1.0), ("b", 1.0)]);
    assert_eq!((out.len(), plan.refused_total), (1, 1));
}

#[test]
fn what_is_scaled_beyond_a_number_is_infinite_for_the_window_to_refuse() {
    let (_, out) = run("rules: [{scale: {metric: a, factor: 1e100}}]", &[("a", 1e300)]);
    assert_eq!(out[0].1, f64::INFINITY);
}

#[test]
fn of_two_series_with_one_name_the_later_is_left_out() {
    let text = "rules: [{rename: {metric: a, to: b}}, {relabel: {metric: c, remove: [x]}}]";
    let (plan, out) =
        run(text, &[("a{x=1}", 1.0), ("b{x=1}", 2.0), ("c{x=1}", 3.0), ("c{x=2}", 4.0), ("b", 5.0)]);
    let left = [("b{x=1}", 1.0), ("c", 3.0), ("b", 5.0)].map(|(name, value)| (name.to_owned(), value));
    assert_eq!(out, left);
    let duplicate = |name: &str| Refused {
        reason: Reason::DuplicateSeries,
        message: format!("use a name that is taken: {name}"),
    };
    assert_eq!(plan.refused, [duplicate("b{x=\"1\"}"), duplicate("c")]);
    assert_eq!((plan.refused_total, plan.dropped), (2, 0));
}

#[test]
fn names_that_meet_only_in_between_are_no_collision() {
    let text = "rules:
  - rename: { metric: '/a|b/', to: c }
  - relabel: { metric: c, labels: { x: '1' }, set: { x: '3' } }
";
    assert_eq!(names(text, &["a{x=1}", "b{x=1}", "b{x=2}"]), ["c{x=3}", "c{x=2}"]);
    let apart = "rules:
  - relabel: { set: { was: { from: __name__ } } }
  - rename: { metric: '/a|b/', to: c }
";
    assert_eq!(names(apart, &["a", "b"]), ["c{was=a}", "c{was=b}"]);
}

#[test]
fn complaints_are_counted_all_and_told_some() {
    let layout: Vec<String> = (0..40).map(|i| format!("m{{x={i}}}")).collect();
    let layout: Vec<&str> = layout.iter().map(String::as_str).collect();
    let frame: Vec<(&str, f64)> = layout.iter().map(|name| (*name, 1.0)).collect();
    let (plan, out) = run("rules: [{relabel: {remove: [x]}}]", &frame);
    assert_eq!((out.len(), plan.refused_total, plan.refused.len()), (1, 39, MOST_REFUSED));
}

#[test]
fn a_name_beyond_the_limits_leaves_the_series_out() {
    let grow = "{rename: {metric: /(a+)/, to: $1$1}}, ".repeat(50);
    let (plan, out) = run(&format!("rules: [{grow}]"), &[("a", 1.0), ("b", 1.0)]);
    assert_eq!((out.len(), plan.refused_total), (1, 1));
    assert_eq!(plan.refused[0].reason, Reason::NameTooLong);
    let digits = run("rules: [{rename: {metric: 'm*', to: '*'}}]", &[("m1", 1.0)]).0;
    assert_eq!(digits.refused[0].reason, Reason::BadMetricName);
    assert_eq!(digits.refused[0].message, "rename to what is no metric name: m1");
    let labels: Vec<String> = (0..33).map(|i| format!("l{i}: x")).collect();
    let many = run(&format!("rules: [{{relabel: {{set: {{{}}}}}}}]", labels.join(", ")), &[("m", 1.0)]).0;
    assert_eq!(many.refused[0].reason, Reason::BadLabel);
    assert!(many.refused[0].message.len() < 300);
}

#[test]
fn what_no_rule_touches_is_left_for_the_window_to_judge() {
    let layout = [Series::gauge("not a name", ""), series("a")];
    let plan = filter("rules: [{drop: {metric: b}}]").plan("s", &layout);
    assert!(plan.is_identity(&layout));
}
