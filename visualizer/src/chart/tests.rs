//! What may be asked for, and which series are drawn together.

use tidewatch_schemas::{Labels, SeriesKind};

use super::*;

const NOW: i64 = 1_795_443_360_000;

fn read(file: &str, query: &str) -> Result<ChartQuestion, Problem> {
    ChartQuestion::read(file, Some(query), NOW)
}

#[test]
fn a_path_ends_in_what_is_wanted() {
    let named = |file: &str| read(file, "metric=a").map(|q| (q.columns.server, q.format)).ok();
    assert_eq!(named("web-1.svg"), Some(("web-1".to_owned(), Format::Svg)));
    assert_eq!(named("db.fra-2.example.png"), Some(("db.fra-2.example".to_owned(), Format::Png)));
    for bad in ["web-1", "web-1.gif", ".svg", "web-1.SVG", ""] {
        assert_eq!(read(bad, "metric=a").expect_err(bad).code(), "unknown_path");
    }
}

#[test]
fn a_bad_parameter_is_named() {
    for (query, parameter) in [
        ("", "metric"),
        ("metric=a&width=199", "width"),
        ("metric=a&width=4001", "width"),
        ("metric=a&height=99", "height"),
        ("metric=a&height=2001", "height"),
        ("metric=a&theme=blue", "theme"),
        ("metric=a&scale=5", "scale"),
        ("metric=a&scale=2&width=4000&height=2000", "scale"),
        ("metric=a&step=15000", "step"),
        ("metric=a&step=fast", "step"),
        ("metric=a&from=soon", "from"),
        ("metric=a&match=x", "match"),
        ("metric=a&server=b", "server"),
        (&format!("metric=a&title={}", "x".repeat(201)), "title"),
    ] {
        let problem = read("web-1.png", query).expect_err(query);
        assert_eq!(problem.status().as_u16(), 400);
        assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{query}: {problem:?}");
    }
    assert!(read("web-1.svg", "metric=a&scale=1").is_err(), "SVG has no pixels");
}

#[test]
fn what_is_not_said_fits() {
    let question = read("web-1.png", "metric=a").expect("good");
    assert_eq!((question.width, question.height, question.scale), (800, 320, 2));
    assert_eq!(question.columns.resolution, Resolution::Width(800));
    assert_eq!(read("web-1.png", "metric=a&width=4000&height=2000").expect("good").scale, 1);
    assert_eq!(read("w.png", "metric=a&step=auto").expect("good").columns.resolution, Resolution::Width(800));
    let fixed = read("w.png", "metric=a&step=60000&width=300").expect("good");
    assert_eq!(fixed.columns.resolution, Resolution::Step(60_000));
}

#[test]
fn only_the_same_question_has_the_same_key() {
    let key = |file: &str, query: &str| read(file, query).expect("good").key(NOW);
    let keys: BTreeSet<_> = [
        key("a.svg", "metric=a"),
        key("a.png", "metric=a"),
        key("b.svg", "metric=a"),
        key("a.svg", "metric=b"),
        key("a.svg", "metric=a&theme=dark"),
        key("a.svg", "metric=a&title=x"),
        key("a.svg", "metric=a&width=300"),
        key("a.svg", "metric=a&from=now-2h"),
        key("a.svg", "metric=a&match=x%3Dy"),
    ]
    .into();
    assert_eq!(keys.len(), 9);
    let later = ChartQuestion::read("a.svg", Some("metric=a"), NOW + 2_000).expect("good");
    assert!(keys.contains(&later.key(NOW + 2_000)), "the last hour stays the last hour");
}

fn series(metric: &str, device: &str, unit: &str, kind: SeriesKind) -> SeriesMeta {
    SeriesMeta {
        id: 1,
        server_id: 1,
        metric_name: metric.to_owned(),
        labels: Labels::from([("device".to_owned(), device.to_owned())]),
        kind,
        unit: unit.to_owned(),
    }
}

#[test]
fn series_of_one_unit_are_drawn_and_others_refused_by_name() {
    let all = vec![
        series("reads", "sda", "bytes", SeriesKind::Counter),
        series("reads", "sdb", "bytes", SeriesKind::Counter),
        series("temp", "sda", "", SeriesKind::Gauge),
    ];
    let of =
        |metric: &str| all.iter().filter(|s| metric.contains(&s.metric_name)).cloned().collect::<Vec<_>>();
    let chosen = |query: &str, series| read("web-1.svg", query).expect("good").chosen("web-1", series);
    let (both, unit) = chosen("metric=reads", of("reads")).expect("series");
    assert_eq!((both.len(), unit), (2, Unit::BytesPerSecond));
    assert_eq!(chosen("metric=reads&match=device%3Dsdb", of("reads")).expect("one").0.len(), 1);
    let missing = chosen("metric=writes", Vec::new()).expect_err("unknown");
    assert_eq!((missing.status().as_u16(), missing.code()), (404, "unknown_metric"));
    let none = chosen("metric=reads&match=device%3Dsdc", of("reads")).expect_err("no such label");
    assert_eq!((none.status().as_u16(), none.code()), (404, "unknown_metric"));
    let mixed = chosen("metric=reads,temp", all.clone()).expect_err("two units");
    assert_eq!((mixed.status().as_u16(), mixed.code()), (400, "bad_parameter"));
}
