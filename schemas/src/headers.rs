//! Names of the Kafka headers we write and read.

/// `avro/binary` (default) or `application/json`.
pub const CONTENT_TYPE: &str = "content-type";
pub const CONTENT_TYPE_JSON: &str = "application/json";
pub const CONTENT_TYPE_AVRO: &str = "application/avro";

/// On `metrics.raw`, and on topics of windows that are rolled up: an empty record by which a silent partition's owner moves
/// its append clock (value `1`).
pub const TICK: &str = "tidewatch-tick";

/// On `metrics.late`: why the frame is there (a [`crate::Reason`] code), or that it was counted all the same.
pub const LATE_REASON: &str = "tidewatch-reason";
pub const BACKFILLED: &str = "late_backfilled";

// On dead letters; Kafka Connect's names, so that people's tools know them.
pub const DEAD_LETTER_TOPIC: &str = "__connect.errors.topic";
pub const DEAD_LETTER_PARTITION: &str = "__connect.errors.partition";
pub const DEAD_LETTER_OFFSET: &str = "__connect.errors.offset";
pub const DEAD_LETTER_STAGE: &str = "__connect.errors.stage";
/// The [`crate::Reason`] code.
pub const DEAD_LETTER_CLASS: &str = "__connect.errors.exception.class.name";
/// In words.
pub const DEAD_LETTER_MESSAGE: &str = "__connect.errors.exception.message";

/// On alerts and anomalies: W3C Trace Context. What is said of one alert is one trace.
pub const TRACEPARENT: &str = "traceparent";

// On alerts and anomalies: CloudEvents 1.0, Kafka protocol binding, binary mode; `datacontenttype` is [`CONTENT_TYPE`] there.
pub const CE_SPECVERSION: &str = "ce_specversion";
pub const CE_ID: &str = "ce_id";
pub const CE_SOURCE: &str = "ce_source";
pub const CE_TYPE: &str = "ce_type";
pub const CE_TIME: &str = "ce_time";
pub const CE_SUBJECT: &str = "ce_subject";
