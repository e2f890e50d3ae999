//! The contracts may grow but not break. Public topics: every version of a schema reads every other. The raw topic: the
//! current schema reads all older ones. The newest file of the history is the current schema.

#![expect(clippy::unwrap_used, reason = "what panics in a test fails it")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};

fn avro() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("avro")
}

fn current(name: &str) -> String {
    fs::read_to_string(avro().join(format!("{name}.avsc"))).unwrap()
}

/// Every version that was ever published, by number.
fn history(name: &str) -> BTreeMap<u32, String> {
    let files = fs::read_dir(avro().join("history")).unwrap().map(|entry| entry.unwrap().path());
    let mut versions = BTreeMap::new();
    for path in files {
        let file = path.file_name().unwrap().to_str().unwrap();
        let parts: Vec<_> = file.split('.').collect();
        let [record, number, "avsc"] = parts[..] else { panic!("{file} is not <record>.<number>.avsc") };
        if record == name {
            versions.insert(number.parse().unwrap(), fs::read_to_string(&path).unwrap());
        }
    }
    assert!(versions.keys().copied().eq(1..=versions.len() as u32), "{name}: versions 1.. without a hole");
    versions
}

fn can_read(writer: &str, reader: &str) -> Result<(), String> {
    let (writer, reader) = (Schema::parse_str(writer).unwrap(), Schema::parse_str(reader).unwrap());
    SchemaCompatibility::can_read(&writer, &reader).map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_newest_history_is_the_current_schema() {
    for file in fs::read_dir(avro()).unwrap().map(|entry| entry.unwrap().path()) {
        if !file.is_file() {
            continue;
        }
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (number, newest) = history(name).pop_last().unwrap();
        assert_eq!(
            current(name),
            newest,
            "{name} changed after version {number}: add a version to the history"
        );
    }
}

#[test]
fn public_topics_are_fully_compatible_across_all_versions() {
    for name in ["aggregate_frame", "expectation", "anomaly", "alert"] {
        let versions = history(name);
        for (a, writer) in &versions {
            for (b, reader) in &versions {
                can_read(writer, reader).unwrap_or_else(|e| panic!("{name}: {b} does not read {a}: {e}"));
            }
        }
    }
}

#[test]
fn the_current_raw_schemas_read_all_older_ones() {
    for name in ["metric_frame", "layout"] {
        for (number, writer) in history(name) {
            can_read(&writer, &current(name))
                .unwrap_or_else(|e| panic!("{name}: does not read {number}: {e}"));
        }
    }
}

#[test]
fn a_breaking_change_is_refused() {
    let old = current("alert");
    let with = |field: &str| old.replacen("\"fields\": [", &format!("\"fields\": [{field},"), 1);
    let required = with(r#"{"name": "pager", "type": "string"}"#);
    let optional = with(r#"{"name": "pager", "type": "string", "default": ""}"#);
    let renamed = old.replacen("\"starts_at\"", "\"started_at\"", 1);
    assert!(can_read(&old, &required).is_err());
    assert!(can_read(&old, &renamed).is_err());
    assert_eq!(can_read(&old, &optional), Ok(()));
    assert_eq!(can_read(&required, &old), Ok(()));
}
