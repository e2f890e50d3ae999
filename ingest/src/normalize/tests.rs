//! Examples for each reason, and properties: nothing panics, nothing gets lost, nothing good is refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_795_000_000_000;

fn limits() -> RequestLimits {
    RequestLimits {
        names: Limits::default(),
        objects: 10,
        frame_bytes: frame_size::MAX_FRAME,
        request_bytes: 4_000_000,
    }
}

fn read(body: &Value) -> Batch {
    normalize(body.to_string().as_bytes(), NOW, &limits()).unwrap()
}

fn reasons(batch: &Batch) -> Vec<&'static str> {
    batch.errors.iter().map(|error| error.reason.code()).collect()
}

#[test]
fn one_object_becomes_one_frame() {
    let batch = read(&json!({
        "server": "web-1", "sequence": 7, "timestamp": "2026-11-18T10:53:20.5Z",
        "metrics": {"disk_read_bytes_total": 5, "load": 0.25, "gone": null, "used_percent": -1e-3},
        "labels": {"zone": "b", "app": "shop"}, "unknown": [1]
    }));
    assert!(batch.errors.is_empty());
    let [frame] = batch.frames.as_slice() else { panic!("{batch:?}") };
    assert_eq!((frame.server.as_str(), frame.sequence, frame.collected_at), ("web-1", 7, 1_794_999_200_500));
    assert_eq!(frame.values, [5.0, 0.25, -0.001]);
    let kinds: Vec<_> = frame.layout.iter().map(|s| (s.metric.as_str(), s.kind, s.unit.as_str())).collect();
    assert_eq!(
        kinds,
        [
            ("disk_read_bytes_total", SeriesKind::Counter, "bytes"),
            ("load", SeriesKind::Gauge, ""),
            ("used_percent", SeriesKind::Gauge, "percent"),
        ]
    );
    assert!(frame.layout.iter().all(|s| s.labels["app"] == "shop" && s.labels.len() == 2));
}

#[test]
fn the_good_rest_goes_on() {
    let batch = read(&json!([
        {"server": "a", "metrics": {"x": 1, "1bad": 2, "nan": "NaN", "flag": true, "deep": {"x": 1}}},
        {"server": "", "metrics": {"x": 1, "y": 2}},
        5,
        {"server": "b", "timestamp": NOW - 1, "metrics": {"x": 2}},
    ]));
    assert_eq!((batch.frames.len(), batch.samples, batch.rejected), (2, 2, 4 + 2 + 1));
    assert_eq!(batch.frames[0].collected_at, NOW);
    assert_eq!(
        reasons(&batch),
        ["bad_metric_name", "not_a_number", "not_a_number", "not_a_number", "bad_server_name", "bad_json"]
    );
    assert_eq!(batch.errors[2].metric.as_deref(), Some("flag"));
    assert_eq!(batch.by_reason[&Reason::BadServerName], 2);
}

#[test]
fn each_mistake_has_its_reason() {
    let long = "x".repeat(10_240);
    let many: serde_json::Map<String, Value> = (0..33).map(|i| (format!("l{i}"), json!("v"))).collect();
    for (object, reason) in [
        (json!({"metrics": {"x": 1}}), "bad_server_name"),
        (json!({"server": 5, "metrics": {"x": 1}}), "bad_server_name"),
        (json!({"server": long, "metrics": {"x": 1}}), "name_too_long"),
        (json!({"server": "a", "metrics": {long.as_str(): 1}}), "name_too_long"),
        (json!({"server": "a", "metrics": {"": 1}}), "bad_metric_name"),
        (json!({"server": "a", "metrics": {"x": "Infinity"}}), "not_a_number"),
        (json!({"server": "a"}), "no_metrics"),
        (json!({"server": "a", "metrics": {}}), "no_metrics"),
        (json!({"server": "a", "metrics": {"x": null}}), "no_metrics"),
        (json!({"server": "a", "metrics": [1]}), "no_metrics"),
        (json!({"server": "a", "metrics": {"x": 1}, "labels": ["a"]}), "bad_label"),
        (json!({"server": "a", "metrics": {"x": 1}, "labels": {"a": 1}}), "bad_label"),
        (json!({"server": "a", "metrics": {"x": 1}, "labels": {"a": "\n"}}), "bad_label"),
        (json!({"server": "a", "metrics": {"x": 1}, "labels": {"a": long.as_str()}}), "name_too_long"),
        (json!({"server": "a", "metrics": {"x": 1}, "labels": many}), "bad_label"),
        (json!({"server": "a", "metrics": {"x": 1}, "sequence": 0}), "bad_sequence"),
        (json!({"server": "a", "metrics": {"x": 1}, "sequence": 1.5}), "bad_sequence"),
        (json!({"server": "a", "metrics": {"x": 1}, "sequence": "1"}), "bad_sequence"),
        (json!({"server": "a", "metrics": {"x": 1}, "timestamp": "yesterday"}), "bad_timestamp"),
        (json!({"server": "a", "metrics": {"x": 1}, "timestamp": NOW / 1_000}), "bad_timestamp"),
        (json!({"server": "a", "metrics": {"x": 1}, "timestamp": NOW + 30_001}), "bad_timestamp"),
        (json!({"server": "a", "metrics": {"x": 1}, "timestamp": true}), "bad_timestamp"),
    ] {
        let batch = read(&object);
        assert_eq!((batch.frames.len(), reasons(&batch)), (0, vec![reason]), "{object}");
        assert_eq!(batch.rejected, 1);
    }
}

#[test]
fn a_body_that_is_no_json_is_refused_as_a_whole() {
    for body in [&b""[..], b"  ", b"5", b"\"a\"", b"{", b"[{}", b"[{}] x", b"{\"x\": NaN", b"\xff", b"[1,]"] {
        let result = normalize(body, NOW, &limits());
        assert!(matches!(result, Err(ReadError::BadJson(_))), "{body:?}: {result:?}");
    }
    let many = format!("[{}{{}}]", "{},".repeat(10));
    assert_eq!(normalize(many.as_bytes(), NOW, &limits()).unwrap_err(), ReadError::TooManyObjects(10));
    let deep = format!(
        r#"{{"server":"a","metrics":{{"x":{}1{},"y":2}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(normalize(deep.as_bytes(), NOW, &limits()).unwrap().samples, 1);
}

#[test]
fn numbers_beyond_64_bits_and_repeated_keys_are_read_with_care() {
    let body = br#"{"server":"z","server":"a","metrics":{"big":1e999,"x":1,"x":2,"tiny":1e-999}}"#;
    let batch = normalize(body, NOW, &limits()).unwrap();
    assert_eq!(batch.frames[0].server, "a");
    assert_eq!(batch.frames[0].values, [0.0, 2.0]);
    assert_eq!(reasons(&batch), ["not_a_number"]);
}

#[test]
fn a_bare_nan_spoils_only_itself() {
    let body = br#"[{"server":"N\"aN-","metrics":{"NaN":NaN,"x":-Infinity,"y":Infinity,"good":-2}}]"#;
    let batch = normalize(body, NOW, &limits()).unwrap();
    assert_eq!(batch.frames[0].server, "N\"aN-");
    assert_eq!(batch.frames[0].values, [-2.0]);
    assert_eq!(reasons(&batch), ["not_a_number"; 3]);
    assert_eq!(json::quoted_nan(r#"{"NaN": "Infinity \" NaN", "x": -1}"#), None);
}

#[test]
fn labels_cannot_blow_a_request_up() {
    let metrics: serde_json::Map<String, Value> = (0..5_000).map(|i| (format!("m{i}"), json!(i))).collect();
    let labels: serde_json::Map<String, Value> =
        (0..32).map(|i| (format!("l{i}"), json!("v".repeat(1_000)))).collect();
    let batch = read(&json!({"server": "a", "metrics": metrics, "labels": labels}));
    assert_eq!((batch.frames.len(), batch.rejected, reasons(&batch)), (0, 5_000, vec!["too_many_series"]));
    let object = json!({"server": "a", "metrics": metrics, "labels": {"l": "v".repeat(100)}});
    let batch = read(&Value::Array(vec![object; 10]));
    assert!((1..10).contains(&batch.frames.len()), "{}", batch.frames.len());
    assert_eq!(batch.samples + batch.rejected, 50_000);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\u{e9}\n]{0,5}".prop_map(Value::from),
    ];
    let key = prop_oneof!["server|metrics|labels|timestamp|sequence", "[a-z1 ]{0,4}"];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = normalize(&body, NOW, &limits());
    }

    #[test]
    fn any_json_gives_only_good_frames(body in any_json()) {
        if let Ok(batch) = normalize(body.to_string().as_bytes(), NOW, &limits()) {
            prop_assert!(batch.samples + batch.rejected > 0);
            prop_assert_eq!(batch.samples, batch.frames.iter().map(|f| f.values.len() as u64).sum::<u64>());
            prop_assert_eq!(batch.rejected, batch.by_reason.values().sum::<u64>());
            for frame in &batch.frames {
                prop_assert_eq!(frame.layout.len(), frame.values.len());
                prop_assert!(!frame.values.is_empty() && frame.values.iter().all(|v| v.is_finite()));
                prop_assert_eq!(validate::check_server_name(&frame.server), Ok(()));
                prop_assert_eq!(validate::check_time(frame.collected_at, NOW), Ok(()));
                for series in &frame.layout {
                    prop_assert_eq!(validate::check_series(series, &limits().names), Ok(()));
                }
            }
        }
    }

    #[test]
    fn good_samples_arrive_bit_for_bit(
        objects in prop::collection::vec(
            ("[a-z]{1,9}", prop::collection::btree_map("[a-z_]{1,9}", any::<f64>().prop_filter("finite", |v| v.is_finite()), 1..20)),
            1..10,
        )
    ) {
        let body: Value = objects.iter().map(|(server, metrics)| json!({"server": server, "metrics": metrics})).collect();
        let batch = read(&body);
        prop_assert_eq!(batch.rejected, 0);
        prop_assert_eq!(batch.frames.len(), objects.len());
        for (frame, (server, metrics)) in batch.frames.iter().zip(&objects) {
            prop_assert_eq!(&frame.server, server);
            let got: BTreeMap<_, _> = frame.layout.iter().map(|s| s.metric.clone()).zip(&frame.values).collect();
            for (name, value) in metrics {
                prop_assert_eq!(got[name].to_bits(), value.to_bits());
            }
        }
    }
}
