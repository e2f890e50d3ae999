//! The golden files: bytes and their JSON twin stand for the same record, in both directions. A foreign implementation of
//! Avro reads the same files in `tests/contracts`.

#![expect(clippy::unwrap_used, reason = "what panics in a test fails it")]

use std::{fs, path::PathBuf};

use serde_json::Value;
use tidewatch_schemas::{
    AggregateFrame, Alert, Anomaly, AvroRecord, Expectation, Framing, Layout, MetricFrame, decode, encode,
    encode_json,
};

fn cases(record: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(record);
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    cases.sort();
    cases
}

/// `least` guards against a folder that was emptied by mistake.
fn check<T: AvroRecord>(record: &str, least: usize) {
    let cases = cases(record);
    assert!(cases.len() >= least, "{record}: only {} cases", cases.len());
    for path in cases {
        let name = path.display();
        let json = fs::read(&path).unwrap();
        let bytes = fs::read(path.with_extension("avro")).unwrap();
        let confluent = fs::read(path.with_extension("confluent")).unwrap();
        let twin: Value = serde_json::from_slice(&json).unwrap();
        for (bytes, expected) in [
            (&bytes, Framing::SingleObject),
            (&confluent, Framing::Confluent { schema_id: 42 }),
            (&json, Framing::Json),
        ] {
            let (record, framing) = decode::<T>(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(framing, expected, "{name}");
            assert_eq!(serde_json::to_value(&record).unwrap(), twin, "{name} {framing:?}: JSON differs");
            // bytes tell -0.0 from 0.0 and keep NaN, which a comparison of values does not
            assert_eq!(encode(&record).unwrap(), golden(&path), "{name} {framing:?}: bytes differ");
        }
    }
}

fn golden(path: &std::path::Path) -> Vec<u8> {
    fs::read(path.with_extension("avro")).unwrap()
}

#[test]
fn metric_frames() {
    check::<MetricFrame>("metric_frame", 8);
}

#[test]
fn layouts() {
    check::<Layout>("layout", 2);
}

#[test]
fn aggregate_frames() {
    check::<AggregateFrame>("aggregate_frame", 6);
}

#[test]
fn expectations() {
    check::<Expectation>("expectation", 3);
}

/// What is written as JSON says what its twin says, with all members, and is read back as the same record.
fn check_json<T: AvroRecord>(record: &str) {
    for path in cases(record) {
        let name = path.display();
        let twin: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (original, _) = decode::<T>(&golden(&path)).unwrap();
        let json = encode_json(&original).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), twin, "{name}");
        let (read, seen) = decode::<T>(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((seen, encode(&read).unwrap()), (Framing::Json, golden(&path)), "{name}");
    }
}

#[test]
fn anomalies() {
    check::<Anomaly>("anomaly", 2);
    check_json::<Anomaly>("anomaly");
}

#[test]
fn alerts() {
    check::<Alert>("alert", 2);
    check_json::<Alert>("alert");
}

/// What was written before a version still lies in the topics: it is read as what its JSON says.
fn check_history<T: AvroRecord>(record: &str, version: u32, least: usize) {
    let folder = format!("history/{record}.{version}");
    let cases = cases(&folder);
    assert!(cases.len() >= least, "{folder}: only {} cases", cases.len());
    for path in cases {
        let name = path.display();
        let expected = encode(&decode::<T>(&fs::read(&path).unwrap()).unwrap().0).unwrap();
        for (extension, framing) in
            [("avro", Framing::SingleObject), ("confluent", Framing::Confluent { schema_id: 42 })]
        {
            let bytes = fs::read(path.with_extension(extension)).unwrap();
            let (record, seen) = decode::<T>(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(seen, framing, "{name}");
            assert_eq!(encode(&record).unwrap(), expected, "{name} {framing:?}");
            // nothing but the version tells the two apart
            assert!(expected[10..].starts_with(&bytes[bytes.len() - (expected.len() - 11)..]), "{name}");
        }
    }
}

#[test]
fn records_of_before_histograms() {
    check_history::<MetricFrame>("metric_frame", 1, 5);
    check_history::<AggregateFrame>("aggregate_frame", 1, 4);
}

#[test]
fn one_changed_byte_is_noticed() {
    let path = &cases("alert")[0];
    let twin: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut bytes = golden(path);
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    let same = decode::<Alert>(&bytes).is_ok_and(|(alert, _)| serde_json::to_value(alert).unwrap() == twin);
    assert!(!same);
}
