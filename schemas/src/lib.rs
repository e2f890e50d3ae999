//! The contracts: what travels between the stages, in which topic, and how it is written.
//!
//! ```text
//! collect.requests  CollectRequest  "collect this server now"    (visualizer -> ingest)
//! metrics.raw       MetricFrame     one scrape of a server       (ingest -> stream-processor)
//! metrics.10s       AggregateFrame  a server's series, a window  (stream-processor -> analyzer, sink, visualizer)
//! anomalies         Anomaly         a series out of its band     (analyzer -> sink, subscribers)
//! alerts            Alert           a transition of an alert     (analyzer -> sink, notify, subscribers)
//! analyzer.feedback Feedback        "that was a false alarm"     (visualizer -> analyzer)
//! ```
//! Depends on nothing else of ours; no Kafka, no clock.

pub mod aggregate;
pub mod alert;
pub mod codec;
pub mod collect;
pub mod distribution;
pub mod feedback;
pub mod frame;
pub mod headers;
pub mod histogram;
pub mod reason;
pub mod time;
pub mod topics;
pub mod validate;

pub use aggregate::{AggregateFrame, AggregateKind, Expectation, Origin};
pub use alert::{Alert, AlertStatus, Anomaly, RelatedSeries, Severity};
pub use codec::{AvroRecord, DecodeError, Framing, decode, decode_json, encode, encode_json};
pub use collect::CollectRequest;
pub use distribution::Distribution;
pub use feedback::{Feedback, NamedSeries, Verdict};
pub use frame::{Labels, Layout, MetricFrame, Series, SeriesKind};
pub use histogram::{Buckets, Histogram};
pub use reason::Reason;
pub use topics::{TopicSpec, Topics};
pub use validate::{Limits, ServerName};
