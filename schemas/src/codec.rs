//! Records to bytes and back: Avro single-object encoding and JSON out; single-object, Confluent framing and JSON in.
//!
//! Invariant: only writer schemas that are compiled in are ever read, so hostile bytes meet a bounded decoder: no
//! recursion, no unknown types, allocation capped at [`MAX_ALLOCATION`].

use std::sync::LazyLock;

use apache_avro::{
    Schema, rabin::Rabin, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{AggregateFrame, Alert, Anomaly, Expectation, Layout, MetricFrame};

/// The most that one array or string of a decoded record may take, bytes.
pub const MAX_ALLOCATION: usize = 8 << 20;

const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];

/// What stood in front of the datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `C3 01` and the little-endian CRC-64-AVRO fingerprint of the writer schema.
    SingleObject,
    /// `00` and the big-endian id a schema registry gave the writer schema.
    Confluent { schema_id: u32 },
    /// A JSON object of the record's shape.
    Json,
}

/// Why bytes are not a record. Each is a dead letter; none is worth a retry.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("read framing: neither single-object, Confluent nor JSON (first byte {0:?})")]
    UnknownFraming(Option<u8>),
    #[error("read framing: writer schema {0:016x} is not known")]
    UnknownSchema(u64),
    #[error("read avro datum: {0}")]
    Avro(String),
    #[error("read avro datum: {0} bytes left over")]
    Trailing(usize),
    #[error("read json: {0}")]
    Json(#[from] serde_json::Error),
}

/// A parsed schema with what is derived from it.
#[derive(Debug)]
pub struct KnownSchema {
    schema: Schema,
    fingerprint: [u8; 8],
}

impl KnownSchema {
    /// # Panics
    /// When a schema that is compiled in does not parse: every test run would show it.
    #[expect(clippy::expect_used, reason = "the schemas are compiled in and parsed by every test")]
    fn compiled_in(text: &str) -> Self {
        apache_avro::util::max_allocation_bytes(MAX_ALLOCATION);
        let schema = Schema::parse_str(text).expect("parse compiled-in schema");
        let bare: Value = serde_json::from_str(text).expect("parse compiled-in schema");
        let bare = Schema::parse(&without_logical_types(bare)).expect("parse compiled-in schema");
        let fingerprint = bare.fingerprint::<Rabin>();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&fingerprint.bytes);
        Self { schema, fingerprint: bytes }
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// `{"type": "long", "logicalType": ..}` as `"long"`. The canonical form that a fingerprint is taken of has to have it so
/// (Avro specification, rule PRIMITIVES), but apache-avro 0.22 leaves `{"type":"long"}`, and nobody else would know our frames.
fn without_logical_types(schema: Value) -> Value {
    match schema {
        Value::Object(mut members) if members.contains_key("logicalType") => {
            members.remove("type").unwrap_or(Value::Null)
        }
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, without_logical_types(member))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_logical_types).collect(),
        other => other,
    }
}

/// A record type of one topic.
pub trait AvroRecord: Serialize + DeserializeOwned {
    /// The schema we write.
    fn known_schema() -> &'static KnownSchema;

    /// Those of before, whose records may still lie in the topic. A field that they lack has a serde default.
    fn older_schemas() -> &'static [KnownSchema] {
        &[]
    }
}

macro_rules! avro_record {
    ($record:ty, $file:literal $(, $older:literal)*) => {
        impl AvroRecord for $record {
            fn known_schema() -> &'static KnownSchema {
                static SCHEMA: LazyLock<KnownSchema> =
                    LazyLock::new(|| KnownSchema::compiled_in(include_str!(concat!("../avro/", $file))));
                &SCHEMA
            }

            fn older_schemas() -> &'static [KnownSchema] {
                static OLDER: LazyLock<Vec<KnownSchema>> = LazyLock::new(|| {
                    vec![$(KnownSchema::compiled_in(include_str!(concat!("../avro/history/", $older)))),*]
                });
                &OLDER
            }
        }
    };
}

avro_record!(MetricFrame, "metric_frame.avsc", "metric_frame.1.avsc");
avro_record!(Layout, "layout.avsc");
avro_record!(AggregateFrame, "aggregate_frame.avsc", "aggregate_frame.1.avsc");
avro_record!(Expectation, "expectation.avsc");
avro_record!(Anomaly, "anomaly.avsc");
avro_record!(Alert, "alert.avsc");

/// What stands behind `C3 01` in front of a record in single-object encoding: its schema's CRC-64-AVRO, little-endian.
pub fn fingerprint<T: AvroRecord>() -> [u8; 8] {
    T::known_schema().fingerprint
}

/// The same of the schemas of before, oldest first.
pub fn older_fingerprints<T: AvroRecord>() -> impl Iterator<Item = [u8; 8]> {
    T::older_schemas().iter().map(|schema| schema.fingerprint)
}

/// The record in single-object encoding.
pub fn encode<T: AvroRecord>(record: &T) -> Result<Vec<u8>, apache_avro::Error> {
    let known = T::known_schema();
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&SINGLE_OBJECT);
    bytes.extend_from_slice(&known.fingerprint);
    let writer = GenericDatumWriter::builder(&known.schema).human_readable(false).build()?;
    writer.write_ser(&mut bytes, record)?;
    Ok(bytes)
}

/// The record as JSON: a member for each field of its schema, times in milliseconds, what is absent `null`. Not the JSON
/// encoding of Avro: a union has no mark of its branch.
pub fn encode_json<T: AvroRecord>(record: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(record)
}

/// A record in any framing we know, and which it was. JSON is recognised by its first byte.
pub fn decode<T: AvroRecord>(bytes: &[u8]) -> Result<(T, Framing), DecodeError> {
    match bytes {
        [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
            let (fingerprint, datum) = rest.split_at(8);
            let mut known = std::iter::once(T::known_schema()).chain(T::older_schemas());
            let writer = known.find(|schema| schema.fingerprint == fingerprint).ok_or_else(|| {
                let mut id = [0; 8];
                id.copy_from_slice(fingerprint);
                DecodeError::UnknownSchema(u64::from_le_bytes(id))
            })?;
            Ok((read_datum(writer, datum)?, Framing::SingleObject))
        }
        [0, a, b, c, d, datum @ ..] => {
            let schema_id = u32::from_be_bytes([*a, *b, *c, *d]);
            Ok((read_any_version(datum)?, Framing::Confluent { schema_id }))
        }
        [b'{' | b' ' | b'\n' | b'\r' | b'\t', ..] => Ok((decode_json(bytes)?, Framing::Json)),
        _ => Err(DecodeError::UnknownFraming(bytes.first().copied())),
    }
}

/// A record from its JSON form: the same field names, times in milliseconds, absent values `null`.
pub fn decode_json<T: AvroRecord>(bytes: &[u8]) -> Result<T, DecodeError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// A registry's id says nothing to us. Versions only add fields at the end, so a datum is a whole record of one of them.
fn read_any_version<T: AvroRecord>(datum: &[u8]) -> Result<T, DecodeError> {
    read_datum(T::known_schema(), datum).or_else(|error| {
        let older = T::older_schemas().iter().rev();
        older.map(|writer| read_datum(writer, datum)).find_map(Result::ok).ok_or(error)
    })
}

fn read_datum<T: AvroRecord>(known: &KnownSchema, datum: &[u8]) -> Result<T, DecodeError> {
    let error = |e: apache_avro::Error| DecodeError::Avro(e.to_string());
    let reader = GenericDatumReader::builder(&known.schema).human_readable(false).build().map_err(error)?;
    let mut rest = datum;
    let record = reader.read_deser(&mut rest).map_err(error)?;
    if rest.is_empty() { Ok(record) } else { Err(DecodeError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests;
