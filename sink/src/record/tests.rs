//! Good records pass whole, bad ones name their reason.

use tidewatch_schemas::{AggregateKind, Buckets, Histogram, Origin, Series, encode};

use super::*;

const NOW: i64 = 1_795_392_000_000;

fn frame() -> AggregateFrame {
    AggregateFrame {
        server: "web-1".to_owned(),
        window_start: NOW - 10_000,
        window_ms: 10_000,
        kind: AggregateKind::Final,
        origin: Origin { partition: 0, offset: 5 },
        layout: vec![Series::gauge("load", "")],
        count: vec![1],
        sum: vec![1.0],
        min: vec![1.0],
        max: vec![1.0],
        first: vec![1.0],
        last: vec![1.0],
        first_at: vec![0],
        last_at: vec![0],
        m2: vec![0.0],
        increase: vec![0.0],
        resets: vec![0],
        histograms: vec![],
    }
}

fn reason_of(frame: &AggregateFrame) -> Option<Reason> {
    let bytes = encode(frame).expect("encode");
    match parse(Kind::Windows(Tier::TenSeconds), Some(&bytes), NOW) {
        Body::Bad(reason, _) => Some(reason),
        Body::Windows(Tier::TenSeconds, read) => {
            assert_eq!(*read, *frame);
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_frame_passes_whole() {
    assert_eq!(reason_of(&frame()), None);
}

#[test]
fn each_fault_has_its_reason() {
    let with = |change: fn(&mut AggregateFrame)| {
        let mut frame = frame();
        change(&mut frame);
        reason_of(&frame)
    };
    assert_eq!(with(|f| f.server = String::new()), Some(Reason::BadServerName));
    assert_eq!(with(|f| f.server = "a\0b".to_owned()), Some(Reason::BadServerName));
    assert_eq!(with(|f| f.sum.push(1.0)), Some(Reason::LayoutMismatch));
    assert_eq!(with(|f| f.count[0] = 0), Some(Reason::LayoutMismatch));
    assert_eq!(with(|f| f.window_start += 1), Some(Reason::LayoutMismatch));
    assert_eq!(with(|f| f.window_ms = 60_000), Some(Reason::LayoutMismatch));
    assert_eq!(with(|f| f.window_start = 0), Some(Reason::BadTimestamp));
    assert_eq!(with(|f| f.window_start = i64::MIN / 10_000 * 10_000), Some(Reason::BadTimestamp));
    assert_eq!(with(|f| f.window_start += 2 * MAX_AHEAD_MS), Some(Reason::Future));
}

#[test]
fn bytes_of_something_else_are_undecodable_and_a_tombstone_is_nothing() {
    for bytes in [&b"hello"[..], &[0, 0, 0, 0, 1, 0xFF], b"{\"server\": 1}"] {
        let body = parse(Kind::Alerts, Some(bytes), NOW);
        assert!(matches!(body, Body::Bad(Reason::Undecodable, _)), "{body:?}");
    }
    let other = [&[0xC3, 1][..], &[7; 12]].concat();
    assert!(matches!(parse(Kind::Alerts, Some(&other), NOW), Body::Bad(Reason::UnknownSchema, _)));
    assert_eq!(parse(Kind::Alerts, None, NOW), Body::Nothing);
    assert_eq!(parse(Kind::Alerts, Some(b""), NOW), Body::Nothing);
}

/// The analyzer may be told to write JSON: the same record in either form is the same row.
#[test]
fn alerts_and_anomalies_are_read_in_both_forms() {
    let firing = [
        &include_bytes!("../../../schemas/fixtures/alert/firing.avro")[..],
        include_bytes!("../../../schemas/fixtures/alert/firing.json"),
    ];
    let [avro, json] = firing.map(|bytes| parse(Kind::Alerts, Some(bytes), NOW));
    assert!(avro == json && matches!(json, Body::Alert(_)), "{avro:?} {json:?}");
    let odd = [
        &include_bytes!("../../../schemas/fixtures/anomaly/plain.avro")[..],
        include_bytes!("../../../schemas/fixtures/anomaly/plain.json"),
    ];
    let [avro, json] = odd.map(|bytes| parse(Kind::Anomalies, Some(bytes), NOW));
    assert!(avro == json && matches!(json, Body::Anomaly(_)), "{avro:?} {json:?}");
}

#[test]
fn the_topics_are_those_of_the_contract() {
    let inputs = Inputs::new(&Topics::new("t."));
    let windows = ["t.metrics.10s", "t.metrics.1m", "t.metrics.5m", "t.metrics.1h"];
    assert_eq!(inputs.names(), [&windows[..], &["t.metrics.expected", "t.anomalies", "t.alerts"]].concat());
    assert_eq!(inputs.of("t.alerts").map(|(_, kind)| kind), Some(Kind::Alerts));
    assert!(inputs.of("t.metrics.raw").is_none());
}

#[test]
fn of_a_frame_with_bad_histograms_the_good_rest_is_left() {
    let good = Histogram {
        series: Series::gauge("took", "seconds"),
        count: 3,
        sum: None,
        min: None,
        max: None,
        scale: 2,
        zero_threshold: 0.0,
        zero_count: 1,
        positive: Buckets { offset: -3, counts: vec![2] },
        negative: Buckets::default(),
    };
    let whole = AggregateFrame { histograms: vec![good.clone()], ..frame() };
    assert_eq!(reason_of(&whole), None);
    for bad in [Histogram { count: 4, ..good.clone() }, Histogram { scale: 21, ..good.clone() }] {
        let mixed = AggregateFrame { histograms: vec![bad, good.clone()], ..frame() };
        let bytes = encode(&mixed).expect("encode");
        let body = parse(Kind::Windows(Tier::TenSeconds), Some(&bytes), NOW);
        let Body::Partly(Reason::BadHistogram, message, rest) = &body else { panic!("{body:?}") };
        assert!(message.starts_with("histogram took: "), "{message}");
        assert_eq!(**rest, Body::Windows(Tier::TenSeconds, Box::new(whole.clone())));
        assert_eq!(body.weight(), 1 + HEAVY);
    }
}
