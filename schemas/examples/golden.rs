//! Writes the golden bytes: for each `schemas/fixtures/<record>/<case>.json`, `<case>.avro` (single-object encoding) and
//! `<case>.confluent` (the same datum behind a registry's id). The JSON is written by hand; what comes out is committed, so a
//! codec that changes its bytes shows as a difference.

use std::{error::Error, fs, path::Path};

use tidewatch_schemas::{
    AggregateFrame, Alert, Anomaly, AvroRecord, Expectation, Layout, MetricFrame, decode_json, encode,
};

/// The id of the golden Confluent framing.
const SCHEMA_ID: u32 = 42;

/// Magic and fingerprint in front of a single-object datum.
const HEADER: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    write::<MetricFrame>("metric_frame")?;
    write::<Layout>("layout")?;
    write::<AggregateFrame>("aggregate_frame")?;
    write::<Expectation>("expectation")?;
    write::<Anomaly>("anomaly")?;
    write::<Alert>("alert")
}

fn write<T: AvroRecord>(record: &str) -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(record);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let bytes = encode(&decode_json::<T>(&fs::read(&path)?)?)?;
        let confluent = [&[0], &SCHEMA_ID.to_be_bytes()[..], &bytes[HEADER..]].concat();
        fs::write(path.with_extension("avro"), &bytes)?;
        fs::write(path.with_extension("confluent"), confluent)?;
    }
    Ok(())
}
