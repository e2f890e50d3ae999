//! What each action makes of a layout and its values; what a wrong file is told is in `tests/errors.rs`, what holds of any
//! rules in `tests/properties.rs`, against the second opinion of `tests/naive.rs`.

mod actions;
mod derived;
mod errors;
mod naive;
mod properties;

use tidewatch_schemas::{Reason, Series, SeriesKind};

use super::*;

const EXAMPLE: &str = include_str!("../../../deploy/filters.example.yaml");

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `cpu{dev=x,mode=p}`; a counter when its name ends with `_total`.
fn series(text: &str) -> Series {
    let (metric, labels) = text.split_once('{').unwrap_or((text, ""));
    let mut series =
        if metric.ends_with("_total") { Series::counter(metric, "") } else { Series::gauge(metric, "") };
    for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').unwrap();
        series = series.with(name, value);
    }
    series
}

fn shown(series: &Series) -> String {
    let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() {
        series.metric.clone()
    } else {
        format!("{}{{{}}}", series.metric, labels.join(","))
    }
}

/// What a frame of these series with these values becomes.
fn run(text: &str, frame: &[(&str, f64)]) -> (Plan, Vec<(String, f64)>) {
    let layout: Vec<Series> = frame.iter().map(|(name, _)| series(name)).collect();
    let values: Vec<f64> = frame.iter().map(|(_, value)| *value).collect();
    let plan = filter(text).plan("web-1", &layout);
    let mut out = vec![7.0];
    plan.apply(&values, &mut out);
    assert_eq!(plan.series.len(), out.len());
    let named = plan.series.iter().map(shown).zip(out).collect();
    (plan, named)
}

fn names(text: &str, layout: &[&str]) -> Vec<String> {
    let frame: Vec<(&str, f64)> = layout.iter().map(|name| (*name, 1.0)).collect();
    run(text, &frame).1.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn no_filter_passes_everything_as_it_is() {
    let layout = vec![series("a"), series("a"), series("b{x=1}"), Series::gauge("not a name", "")];
    for none in [Filter::none(), filter(""), filter(" \n"), filter("rules: []")] {
        let plan = none.plan("web-1", &layout);
        assert!(none.is_none() && plan.is_identity(&layout) && plan.refused.is_empty());
        assert_eq!(none.class("web-1"), 0);
    }
    assert_eq!((Filter::none().text(), Filter::none().fingerprint()), ("", 0));
    let other = filter("rules: [{drop: {metric: b}}]");
    assert!(!other.is_none() && !other.plan("web-1", &layout).is_identity(&layout));
    assert_eq!(filter(other.text()).fingerprint(), other.fingerprint());
    assert_ne!(other.fingerprint(), 0);
}

#[test]
fn a_plan_that_only_reorders_or_scales_is_no_identity() {
    let layout = vec![series("a"), series("b")];
    let identity = Plan::identity(&layout);
    assert!(identity.is_identity(&layout) && !identity.is_identity(&layout[..1]));
    let swapped = Plan { sources: vec![Source::Copy(1), Source::Copy(0)], ..identity.clone() };
    assert!(!swapped.is_identity(&layout));
    let scaled = filter("rules: [{scale: {metric: a, factor: 2}}]").plan("s", &layout);
    assert!(scaled.series == layout && !scaled.is_identity(&layout));
}

#[test]
fn rules_about_servers_make_classes() {
    let text = "rules:
  - drop: { metric: a, server: 'web-*' }
  - drop: { metric: b, server: '!web-*' }
  - drop: { metric: c, server: 'web-*' }
  - keep: { metric: '!d', server: '/web-[0-4]/' }
";
    let filter = filter(text);
    let layout = ["a", "b", "c", "d"].map(series);
    let left = |server: &str| filter.plan(server, &layout).series.iter().map(shown).collect::<String>();
    assert_eq!([left("web-1"), left("web-7"), left("db-1")], ["b", "bd", "acd"]);
    assert_eq!(["web-1", "web-4", "web-7", "db-1", "db-2"].map(|s| filter.class(s)), [5, 5, 1, 2, 2]);
}

#[test]
fn more_than_64_server_matchers_still_make_classes() {
    let rules: Vec<String> =
        (0..100).map(|i| format!("{{drop: {{metric: m{i}, server: 'web-{i}'}}}}")).collect();
    let filter = filter(&format!("rules: [{}]", rules.join(", ")));
    let classes: std::collections::BTreeSet<u64> =
        (0..100).map(|i| filter.class(&format!("web-{i}"))).collect();
    assert_eq!(classes.len(), 100);
    assert_eq!(filter.class("db-1"), filter.class("db-2"));
    assert!(!classes.contains(&filter.class("db-1")));
}

#[test]
fn the_example_is_good_and_does_what_it_says() {
    let filter = filter(EXAMPLE);
    let actions = filter.rules().iter().map(|rule| std::mem::discriminant(&rule.action));
    assert_eq!(actions.collect::<std::collections::HashSet<_>>().len(), 6, "one of each action");
    let (plan, out) = run(
        EXAMPLE,
        &[
            ("go_goroutines", 9.0),
            ("node_disk_read_bytes_total{device=loop0}", 1.0),
            ("node_disk_read_bytes_total{device=sda}", 2.0),
            ("node_memory_MemTotal_bytes", 100.0),
            ("node_memory_MemAvailable_bytes", 25.0),
            ("node_filesystem_size_bytes{mountpoint=/,device=/dev/sda1,fstype=ext4}", 50.0),
            ("node_filesystem_avail_bytes{mountpoint=/,device=/dev/sda1,fstype=ext4}", 5.0),
            ("app_latency_ms{pod=shop-7d4f9c-x2x}", 1500.0),
        ],
    );
    assert_eq!(plan.refused, []);
    let value = |name: &str| out.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    assert!(out.iter().all(|(name, _)| !name.contains("go_") && !name.contains("loop")), "{out:?}");
    assert_eq!(value("memory_used_percent"), Some(75.0), "{out:?}");
    assert_eq!(
        value("filesystem_used_percent{device=/dev/sda1,disk=sda,mountpoint=/}"),
        Some(90.0),
        "{out:?}"
    );
    assert_eq!(value("app_latency_seconds{app=shop}"), Some(1.5), "{out:?}");
}

#[test]
fn every_example_of_the_documentation_is_good() {
    let text = include_str!("../../../docs/filters.md");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        let start = if block.starts_with("rules:") { "" } else { "rules:\n" };
        assert!(!filter(&format!("{start}{block}")).is_none());
    }
}
