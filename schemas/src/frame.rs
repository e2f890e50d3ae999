//! What a collector sends: the frame of one scrape, and the series its values belong to.
//!
//! Invariant: `layout.len() == values.len()` unless `layout_id` names the layout; `codec::decode` does not check it,
//! `validate::check_frame` does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Histogram;

/// Labels in a fixed order, so that equal sets are equal bytes.
pub type Labels = BTreeMap<String, String>;

/// Whether a series' value stands for itself or only its growth matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesKind {
    #[default]
    Gauge,
    Counter,
}

impl SeriesKind {
    /// The name used in every text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// One series of a server: its identity is (metric, labels).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    pub metric: String,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub kind: SeriesKind,
    #[serde(default)]
    pub unit: String,
}

impl Series {
    /// A gauge without labels.
    pub fn gauge(metric: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { metric: metric.into(), labels: Labels::new(), kind: SeriesKind::Gauge, unit: unit.into() }
    }

    /// A counter without labels.
    pub fn counter(metric: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { kind: SeriesKind::Counter, ..Self::gauge(metric, unit) }
    }

    /// The same series with one more label.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }
}

/// One scrape of one server (topic `metrics.raw`, key = server).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricFrame {
    pub server: String,
    /// Unique within the server; 0 = none.
    #[serde(default)]
    pub sequence: i64,
    /// Milliseconds since 1970 UTC.
    pub collected_at: i64,
    /// 0 = the layout is inline.
    #[serde(default)]
    pub layout_id: i64,
    #[serde(default)]
    pub layout: Vec<Series>,
    /// One for each series; NaN = absent (`null` in JSON).
    #[serde(default, with = "nan_as_null")]
    pub values: Vec<f64>,
    /// What was observed since the producer's frame before.
    #[serde(default)]
    pub histograms: Vec<Histogram>,
}

/// What a `layout_id` stands for (topic `metrics.layouts`, key = id).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub layout_id: i64,
    pub layout: Vec<Series>,
}

impl Layout {
    /// The layout under the id that it has to have: the first 8 bytes, big-endian, of the SHA-256 of `layout` in Avro
    /// (`array<Series>` in one block, labels in the order of their names); 1 in place of 0.
    ///
    /// Anybody can check it, so an id means one thing for ever, whoever announces it.
    pub fn of(layout: Vec<Series>) -> Result<Self, apache_avro::Error> {
        let unnamed = Self { layout_id: 0, layout };
        let bytes = crate::encode(&unnamed)?;
        let digest = Sha256::digest(&bytes[BEFORE_LAYOUT..]);
        let id = digest.iter().take(8).fold(0_u64, |id, byte| id << 8 | u64::from(*byte));
        Ok(Self { layout_id: id.max(1).cast_signed(), ..unnamed })
    }

    /// Whether the id is the layout's own.
    pub fn is_named_right(&self) -> bool {
        Self::of(self.layout.clone()).is_ok_and(|named| named.layout_id == self.layout_id)
    }
}

/// Bytes of an encoded [`Layout`] in front of its series: framing, and the id 0.
const BEFORE_LAYOUT: usize = 11;

/// JSON has no NaN: there an absent value is `null`; in Avro it is NaN itself.
pub(crate) mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(values.iter().map(|v| v.is_finite().then_some(*v)))
        } else {
            serializer.collect_seq(values)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        if deserializer.is_human_readable() {
            let values = Vec::<Option<f64>>::deserialize(deserializer)?;
            Ok(values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect())
        } else {
            Vec::deserialize(deserializer)
        }
    }
}
