//! Which questions are about histograms, and quantiles of counters with bounds, without a database.

use super::{super::histograms::*, *};
use crate::query::{observed::Stat, quantile::Bound};

fn histogram(id: i32) -> SeriesMeta {
    SeriesMeta { metric_name: "took".into(), ..series(id, 1, "", SeriesKind::Gauge) }
}

fn bucket(id: i32, server_id: i32, route: &str, le: &str) -> SeriesMeta {
    SeriesMeta {
        metric_name: "took_bucket".into(),
        labels: [("route".to_owned(), route.to_owned()), ("le".to_owned(), le.to_owned())].into(),
        unit: "seconds".into(),
        ..series(id, server_id, "", SeriesKind::Counter)
    }
}

#[test]
fn what_is_asked_depends_on_the_series() {
    let (gauge, histogram) = ([series(1, 1, "", SeriesKind::Gauge)], [histogram(2)]);
    let classic = [bucket(3, 1, "/", "1"), bucket(4, 1, "/", "+Inf")];
    let counter = [series(5, 1, "", SeriesKind::Counter)];
    let what = |query: &str, series: &[SeriesMeta], histograms: &[SeriesMeta]| {
        let question = parse(&format!("metric=a&{query}")).expect(query);
        question.what(series, histograms).map_err(|problem| format!("{problem:?}"))
    };
    let good = |query: &str, series: &[SeriesMeta], histograms: &[SeriesMeta]| {
        what(query, series, histograms).expect(query)
    };
    assert_eq!(good("", &gauge, &[]), What::Values(OverTime::Avg));
    assert_eq!(good("", &[], &histogram), What::Observed(Stat::Avg));
    assert_eq!(good("agg=count&by=server", &[], &histogram), What::Observed(Stat::Count));
    assert_eq!(good("agg=rate&group=merge", &[], &histogram), What::Observed(Stat::Rate));
    assert_eq!(good("agg=quantile&q=0.5", &[], &histogram), What::Observed(Stat::Quantile(0.5)));
    assert_eq!(good("agg=quantile&q=1", &classic, &[]), What::Classic(1.0));
    assert_eq!(good("agg=max", &classic, &[]), What::Values(OverTime::Max));
    let bad = |query: &str, series: &[SeriesMeta], histograms: &[SeriesMeta], parameter: &str| {
        let problem = what(query, series, histograms).expect_err(query);
        assert!(problem.contains(&format!("\"{parameter}: ")), "{query}: {problem}");
    };
    bad("agg=quantile&q=0.5", &gauge, &[], "agg");
    bad("agg=quantile&q=0.5", &counter, &[], "agg");
    bad("agg=last", &[], &histogram, "agg");
    bad("agg=increase", &[], &histogram, "agg");
    bad("group=avg", &[], &histogram, "group");
    bad("agg=quantile&q=0.5&group=sum", &classic, &[], "group");
    bad("group=merge", &gauge, &[], "group");
    bad("agg=quantile&q=0.5&by=le", &classic, &[], "by");
    bad("", &gauge, &histogram, "metric");
    bad("agg=quantile&q=0.5", &classic, &histogram, "metric");
}

#[test]
fn a_share_is_of_a_quantile_and_from_0_to_1() {
    for query in ["agg=quantile", "q=0.5", "agg=avg&q=0.5"] {
        let problem = parse(&format!("metric=a&{query}")).expect_err(query);
        assert!(format!("{problem:?}").contains("\"q: "), "{query}: {problem:?}");
    }
    for q in ["1.01", "-0.1", "99", "NaN", "inf", "", "half"] {
        let problem = parse(&format!("metric=a&agg=quantile&q={q}")).expect_err(q);
        assert!(format!("{problem:?}").contains("\"q: "), "{q}: {problem:?}");
    }
}

#[test]
fn counters_with_bounds_are_merged_before_the_quantile_is_taken() {
    let counters = [
        bucket(10, 1, "/", "1"),
        bucket(11, 1, "/", "2"),
        bucket(12, 1, "/", "+Inf"),
        bucket(20, 2, "/", "1"),
        bucket(21, 2, "/", "4"),
        bucket(22, 2, "/", "+Inf"),
        bucket(30, 2, "/", "fast"),
    ];
    let Classic { histograms, buckets } = Classic::of(&counters);
    assert_eq!(histograms.iter().map(|one| one.server_id).collect::<Vec<_>>(), [1, 2]);
    assert!(histograms.iter().all(|one| one.labels.len() == 1 && one.unit.is_empty()));
    assert_eq!(buckets.len(), 6, "a bound that is no number is none");
    assert_eq!(buckets[3], Bucket { id: 20, histogram: 1, bound: Bound(1.0) });
    let grown: Vec<Reduced> = [10.0, 20.0, 20.0, 70.0, 100.0, 100.0]
        .into_iter()
        .enumerate()
        .map(|(i, value)| Reduced { group: i as i32, ts_ms: 0, value })
        .collect();
    let of = |groups: &[i32], q: f64| {
        let mut found = quantiles(&buckets, groups, &grown, q);
        found.sort_by_key(|one| one.group);
        found.iter().map(|one| one.value).collect::<Vec<_>>()
    };
    assert_eq!(of(&[0, 1], 0.75), [1.5, 1.5]);
    // 80 of 120 up to 1, which is the only bound of both: the quantile of all, not one between their own
    assert_eq!(of(&[0, 0], 0.5), [60.0 / 80.0]);
    assert_eq!(of(&[0, 0], 0.9), [1.0], "above the bounds that both have");
    // who observed nothing does not take bounds from the other
    let first: Vec<Reduced> = grown
        .iter()
        .map(|one| Reduced { value: if one.group < 3 { one.value } else { 0.0 }, ..*one })
        .collect();
    assert_eq!(
        quantiles(&buckets, &[0, 0], &first, 0.75).iter().map(|one| one.value).collect::<Vec<_>>(),
        [1.5]
    );
}
