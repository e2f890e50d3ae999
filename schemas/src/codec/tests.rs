//! The codec against itself: round trips, framings, hostile bytes.

use proptest::prelude::*;

use super::*;
use crate::{Series, SeriesKind};

fn frame() -> MetricFrame {
    MetricFrame {
        server: "web-1".into(),
        sequence: 7,
        collected_at: 1_795_000_000_123,
        layout_id: 0,
        layout: vec![
            Series::gauge("node_load1", ""),
            Series::counter("node_cpu_seconds_total", "seconds").with("cpu", "0").with("mode", "idle"),
        ],
        values: vec![0.25, f64::NAN],
        histograms: vec![],
    }
}

/// NaN is not equal to itself: compare bit by bit.
fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_frame_survives_each_framing() {
    let original = frame();
    let bytes = encode(&original).unwrap();
    let confluent = [&[0, 0, 0, 0, 42], &bytes[10..]].concat();
    let json = serde_json::to_vec(&original).unwrap();
    for (bytes, framing) in [
        (bytes, Framing::SingleObject),
        (confluent, Framing::Confluent { schema_id: 42 }),
        (json, Framing::Json),
    ] {
        let (read, seen) = decode::<MetricFrame>(&bytes).unwrap();
        assert_eq!(seen, framing);
        assert_eq!(bits(&read.values), bits(&original.values), "{framing:?}");
        assert_eq!(
            MetricFrame { values: vec![], ..read },
            MetricFrame { values: vec![], ..original.clone() }
        );
    }
}

#[test]
fn json_needs_only_what_cannot_be_guessed() {
    let text =
        br#"{"server": "a", "collected_at": 1795000000000, "layout": [{"metric": "m"}], "values": [1]}"#;
    let (read, _) = decode::<MetricFrame>(text).unwrap();
    assert_eq!((read.sequence, read.layout_id, read.layout[0].kind), (0, 0, SeriesKind::Gauge));
}

#[test]
fn what_is_no_record_is_an_error_that_says_so() {
    let good = encode(&frame()).unwrap();
    let mut other_schema = good.clone();
    other_schema[2] ^= 0xFF;
    assert!(matches!(decode::<MetricFrame>(&other_schema), Err(DecodeError::UnknownSchema(_))));
    assert!(matches!(decode::<MetricFrame>(&good[..good.len() - 3]), Err(DecodeError::Avro(_))));
    let longer = [good.as_slice(), &[0]].concat();
    assert!(matches!(decode::<MetricFrame>(&longer), Err(DecodeError::Trailing(1))));
    assert!(matches!(decode::<MetricFrame>(b""), Err(DecodeError::UnknownFraming(None))));
    assert!(matches!(decode::<MetricFrame>(b"hello"), Err(DecodeError::UnknownFraming(Some(b'h')))));
    assert!(matches!(decode::<MetricFrame>(b"{\"server\": 1}"), Err(DecodeError::Json(_))));
}

#[test]
fn a_claimed_giant_array_costs_nothing() {
    // server "a", sequence 0, collected_at 0, layout_id 0, then a layout said to hold 2^60 series
    let mut bomb = encode(&frame()).unwrap()[..10].to_vec();
    bomb.extend_from_slice(&[2, b'a', 0, 0, 0]);
    bomb.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
    assert!(matches!(decode::<MetricFrame>(&bomb), Err(DecodeError::Avro(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
        if known {
            let header = encode(&frame()).unwrap()[..10].to_vec();
            bytes.splice(0..0, header);
        }
        let _ = decode::<MetricFrame>(&bytes).map(|(frame, _)| frame.values.len());
    }

    #[test]
    fn any_values_survive(values in proptest::collection::vec(any::<f64>(), 0..50), sequence in any::<i64>(), at in any::<i64>()) {
        let original = MetricFrame { values, sequence, collected_at: at, ..frame() };
        let (read, _) = decode::<MetricFrame>(&encode(&original).unwrap()).unwrap();
        prop_assert_eq!(bits(&read.values), bits(&original.values));
        prop_assert_eq!((read.sequence, read.collected_at), (sequence, at));
    }
}

#[test]
fn a_layout_has_one_id_that_anybody_can_compute() {
    let named = Layout::of(frame().layout).unwrap();
    // computed by fastavro and hashlib: tests/contracts/test_layout_id.py
    assert_eq!(named.layout_id, 1_465_684_938_732_778_516);
    assert!(named.is_named_right());
    let other = Layout { layout: named.layout[..1].to_vec(), ..named };
    assert!(!other.is_named_right());
    assert_ne!(Layout::of(vec![]).unwrap().layout_id, 0);
}
