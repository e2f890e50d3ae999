//! Questions, groups and steps, without a database.

use std::sync::Arc;

use tidewatch_store::{People, Reduced, Server};

use super::*;
use crate::{
    keep::Source,
    params::{DAY, SECOND},
};

mod histograms;

const NOW: i64 = 1_795_443_360_000;

fn parse(query: &str) -> Result<ManyQuestion, Problem> {
    Params::parse(Some(query), &ManyQuestion::KNOWN)
        .and_then(|params| ManyQuestion::parse(&params, Format::Json, NOW))
}

fn directory() -> Directory {
    let server = |id: i32, name: &str, dc: &str| Server {
        id,
        name: name.into(),
        ip_address: None,
        labels: [("dc".to_owned(), dc.to_owned())].into(),
        first_seen_ms: NOW - 30 * DAY,
        last_seen_ms: NOW,
        people: People::default(),
    };
    Directory::new(vec![server(1, "db-1", "ams"), server(2, "web-1", "fra"), server(3, "web-2", "fra")])
}

fn series(id: i32, server_id: i32, device: &str, kind: SeriesKind) -> SeriesMeta {
    let metric_name = if kind == SeriesKind::Counter { "reads" } else { "load" };
    SeriesMeta {
        id,
        server_id,
        metric_name: metric_name.into(),
        labels: [("device".to_owned(), device.to_owned())].into(),
        kind,
        unit: device.into(),
    }
}

fn all() -> Vec<SeriesMeta> {
    let counter = |id, server, device| series(id, server, device, SeriesKind::Counter);
    vec![counter(10, 1, "sda"), counter(11, 2, "sda"), counter(12, 2, "sdb"), counter(13, 3, "sdb")]
}

#[test]
fn groups_are_made_by_server_by_its_labels_and_by_the_series_own() {
    let (series, directory) = (all(), directory());
    let of = |query: &str| {
        let question = parse(query).expect(query);
        group(&series, &directory, question.across.is_some(), &question.by).1
    };
    assert_eq!(of("metric=reads"), [0, 1, 2, 3], "each its own");
    assert_eq!(of("metric=reads&group=sum"), [0, 0, 0, 0]);
    assert_eq!(of("metric=reads&by=server"), [0, 1, 1, 2]);
    assert_eq!(of("metric=reads&by=server.dc"), [0, 1, 1, 1]);
    assert_eq!(of("metric=reads&by=device"), [0, 0, 1, 1]);
    assert_eq!(of("metric=reads&by=server.dc,device"), [0, 1, 2, 2]);
    let (groups, _) = group(&series, &directory, true, &["server.dc".to_owned()]);
    let fra = &groups[1];
    assert_eq!((fra.labels["server.dc"].as_str(), fra.series, fra.unit.as_str()), ("fra", 3, ""));
    assert_eq!(groups[0].server, None);
}

#[test]
fn matchers_are_on_the_server_or_on_the_series() {
    let directory = directory();
    let question =
        parse("metric=reads&match=server.name%3D~web-.*&match=server.dc%3Dfra&match=device!%3Dsda")
            .expect("good");
    assert_eq!(question.servers(&directory), Some(vec![2, 3]));
    let ids: Vec<_> = all().into_iter().filter(|one| question.wants(one)).map(|one| one.id).collect();
    assert_eq!(ids, [12, 13]);
    assert_eq!(parse("metric=reads").expect("good").servers(&directory), None);
}

#[test]
fn a_counter_comes_as_a_rate_unless_something_else_is_asked() {
    let (counters, gauges) = (all(), vec![series(1, 1, "", SeriesKind::Gauge)]);
    let mixed = [counters.clone(), gauges.clone()].concat();
    let over_time = |query: &str, series: &[SeriesMeta]| parse(query).expect(query).over_time(series).ok();
    assert_eq!(over_time("metric=reads", &counters), Some(OverTime::Rate));
    assert_eq!(over_time("metric=load", &gauges), Some(OverTime::Avg));
    assert_eq!(over_time("metric=reads&agg=last", &counters), Some(OverTime::Last));
    assert_eq!(over_time("metric=load,reads", &mixed), None);
    assert_eq!(over_time("metric=load,reads&agg=max", &mixed), Some(OverTime::Max));
    assert_eq!(over_time("metric=load&agg=increase", &gauges), None);
}

#[test]
fn a_bad_question_names_its_parameter() {
    for (query, parameter) in [
        ("", "metric"),
        ("metric=a;drop", "metric"),
        ("metric=a'--", "metric"),
        ("metric=a&agg=median", "agg"),
        ("metric=a&group=last", "group"),
        ("metric=a&by=", "by"),
        ("metric=a&by=a%20b", "by"),
        ("metric=a&by=a,b,c,d,e,f,g,h,i", "by"),
        ("metric=a&match=x", "match"),
        ("metric=a&match=x%3D~(", "match"),
        ("metric=a&from=now&to=now-1h", "from"),
        ("metric=a&step=0", "step"),
        ("metric=a&step=15000", "step"),
        ("metric=a&step=10000&width=100", "step"),
        ("metric=a&width=1000000000", "width"),
        ("metric=a&limit=1", "limit"),
    ] {
        let problem = parse(query).expect_err(query);
        assert_eq!(problem.status().as_u16(), 400);
        assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{query}: {problem:?}");
    }
}

/// 10 s for a week, minutes for four, longer ones for ever.
fn kept() -> Kept {
    Kept::new([Some(NOW - 7 * DAY), Some(NOW - 28 * DAY), Some(0), Some(0)], &directory())
}

#[test]
fn a_step_is_of_the_tier_that_reaches_back_to_its_begin() {
    let fit = |step: i64, days: i64| {
        let (step, tier) = kept().fit(step, Range { from: NOW - days * DAY, to: NOW });
        (step / SECOND, tier.as_str())
    };
    assert_eq!(fit(10_000, 6), (10, "10s"));
    assert_eq!(fit(20_000, 8), (60, "1m"));
    assert_eq!(fit(60_000, 8), (60, "1m"));
    assert_eq!(fit(120_000, 29), (300, "5m"));
    assert_eq!(fit(420_000, 29), (600, "5m"), "a multiple of its windows");
    assert_eq!(fit(3_600_000, 400), (3_600, "1h"));
    let young =
        Kept::new([Some(NOW - DAY), Some(NOW - DAY), Some(NOW - DAY), None], &Directory::new(Vec::new()));
    assert_eq!(
        young.fit(10_000, Range { from: NOW - 2 * DAY, to: NOW }),
        (10_000, Tier::TenSeconds),
        "nothing is lost"
    );
}

#[test]
fn a_width_gives_way_to_many_series_and_a_step_does_not() {
    let grid = |query: &str, series, lines| {
        let bounds = Bounds { points: 1_000_000, good: GOOD_READ, most: MAX_READ };
        let found = parse(query).expect(query).grid(&kept(), series, lines, bounds);
        found.map(|(grid, tier)| (grid.step / SECOND, tier.as_str()))
    };
    assert_eq!(grid("metric=a&from=now-1h", 1, 1).ok(), Some((10, "10s")));
    assert_eq!(grid("metric=a&from=now-6h", 1_000, 1).ok(), Some((60, "1m")));
    assert_eq!(grid("metric=a&from=now-6h", 10_000, 1).ok(), Some((300, "5m")));
    for (query, parameter) in
        [("metric=a&from=now-6h&step=10000", "step"), ("metric=a&from=now-300d", "from")]
    {
        let Err(Failure::Problem(problem)) = grid(query, 50_000, 50_000) else {
            panic!("{query} is answered")
        };
        assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{problem:?}");
    }
}

#[test]
fn lines_have_nulls_where_nothing_was_and_empty_ones_are_left_out() {
    let directory = Arc::new(directory());
    let (groups, _) = group(&all(), &directory, true, &["server".to_owned()]);
    let grid = Grid::new(Range { from: NOW - 180_000, to: NOW }, 60_000);
    let reduced = [
        Reduced { group: 2, ts_ms: grid.t0 + 60_000, value: 7.0 },
        Reduced { group: 2, ts_ms: grid.t0 + 120_000, value: f64::NAN },
        Reduced { group: 2, ts_ms: grid.end(), value: 1.0 },
    ];
    let errors = vec![None; groups.len()];
    let reduced = Arc::new(Reduction { as_of: NOW, source: Source::Postgres, values: reduced.into() });
    let found = Found { groups, reduced, errors, grid, tier: Tier::Minute };
    let found = lines(&found);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].values, [None, Some(7.0), None]);
    assert_eq!(found[0].server, Some(ServerName { id: 3, name: "web-2" }));
}
