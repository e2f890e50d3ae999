//! Second stage: the JSON that anybody can write in, frames and rejections out. Pure: no clock, no Kafka.
//!
//! Invariant: every sample of a readable body is in exactly one of a frame, `rejected` or (as `null`) absent; what is
//! refused has a reason; and no body, however it is made, expands beyond [`RequestLimits`].

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tidewatch_schemas::{Labels, Limits, MetricFrame, Reason, Series, SeriesKind, validate};

use crate::frame_size;

mod json;

use json::Members;

/// Errors told to the sender; the rest is only counted.
pub const ERRORS_TOLD: usize = 100;

/// What one request may hold.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    pub names: Limits,
    /// Objects of an array.
    pub objects: usize,
    /// Encoded bytes of one object's frame.
    pub frame_bytes: usize,
    /// Encoded bytes of all frames: labels are repeated at each series, so a small body may become large.
    pub request_bytes: usize,
}

/// One thing that was refused: an object (no `metric`) or a metric of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub index: usize,
    pub server: Option<String>,
    pub metric: Option<String>,
    pub reason: Reason,
    pub detail: String,
}

/// What a body holds.
#[derive(Debug, Default)]
pub struct Batch {
    pub frames: Vec<MetricFrame>,
    /// Values in `frames`.
    pub samples: u64,
    /// Values that are in no frame; an object without values counts as one.
    pub rejected: u64,
    /// The first [`ERRORS_TOLD`] rejections.
    pub errors: Vec<Rejection>,
    pub by_reason: BTreeMap<Reason, u64>,
}

/// Why a body as a whole is not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    BadJson(String),
    #[error("more than {0} objects in one request")]
    TooManyObjects(usize),
}

/// Reads a body; `now` (milliseconds) is the time of objects that bring none.
pub fn normalize(body: &[u8], now: i64, limits: &RequestLimits) -> Result<Batch, ReadError> {
    let text = std::str::from_utf8(body).map_err(|error| ReadError::BadJson(error.to_string()))?;
    match read(text, now, limits) {
        // the whole body need not suffer for a number that JSON cannot say
        Err(ReadError::BadJson(why)) => match json::quoted_nan(text) {
            Some(quoted) => read(&quoted, now, limits),
            None => Err(ReadError::BadJson(why)),
        },
        other => other,
    }
}

fn read(text: &str, now: i64, limits: &RequestLimits) -> Result<Batch, ReadError> {
    let bad = |error: serde_json::Error| ReadError::BadJson(error.to_string());
    let mut reader = Reader { now, limits, bytes: 0, batch: Batch::default() };
    match text.trim_start().as_bytes().first() {
        Some(b'[') => {
            let objects = json::array(text, limits.objects).map_err(bad)?;
            if objects.len() > limits.objects {
                return Err(ReadError::TooManyObjects(limits.objects));
            }
            if objects.is_empty() {
                let refused = Refused::new(Reason::NoMetrics, "the array is empty");
                reader.refuse_object(0, None, 0, refused);
            }
            for (index, object) in objects.into_iter().enumerate() {
                reader.object(index, object.get());
            }
        }
        Some(b'{') => {
            let object: &RawValue = serde_json::from_str(text).map_err(bad)?;
            reader.object(0, object.get());
        }
        Some(_) => return Err(ReadError::BadJson("expected an object or an array of objects".into())),
        None => return Err(ReadError::BadJson("the body is empty".into())),
    }
    Ok(reader.batch)
}

struct Refused {
    reason: Reason,
    detail: String,
}

impl Refused {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

struct Reader<'l> {
    now: i64,
    limits: &'l RequestLimits,
    bytes: usize,
    batch: Batch,
}

impl Reader<'_> {
    fn object(&mut self, index: usize, text: &str) {
        let Ok(object) = serde_json::from_str::<Members<'_>>(text) else {
            return self.refuse_object(index, None, 0, Refused::new(Reason::BadJson, "not an object"));
        };
        let server = object.get("server").and_then(json::string);
        let metrics = match object.get("metrics") {
            None => Ok(Members::default()),
            Some(raw) => serde_json::from_str::<Members<'_>>(raw.get())
                .map_err(|_| Refused::new(Reason::NoMetrics, "`metrics` has to be an object of numbers")),
        };
        let values = metrics.as_ref().map_or(0, |all| all.iter().filter(|(_, v)| !json::is_null(v)).count());
        let head = self.head(&object, server.as_deref());
        let labels = self.labels(object.get("labels"));
        let read = metrics.and_then(|metrics| self.frame(index, head?, &labels?, &metrics));
        match read {
            Ok(Some(frame)) => {
                self.batch.samples += frame.values.len() as u64;
                self.batch.frames.push(frame);
            }
            // each of its metrics is refused already
            Ok(None) => {}
            Err(refused) => self.refuse_object(index, server.as_deref(), values, refused),
        }
    }

    /// Everything of an object but its metrics.
    fn head(&self, object: &Members<'_>, server: Option<&str>) -> Result<MetricFrame, Refused> {
        let Some(server) = server else {
            return Err(Refused::new(Reason::BadServerName, "`server` has to be a string"));
        };
        validate::check_server_name(server).map_err(|reason| {
            Refused::new(
                reason,
                "`server` has to be 1 to 253 bytes without control characters or outer white space",
            )
        })?;
        let sequence = match object.get("sequence") {
            None => 0,
            Some(raw) => raw.get().parse::<i64>().ok().filter(|n| *n > 0).ok_or_else(|| {
                Refused::new(Reason::BadSequence, "`sequence` has to be an integer from 1 to 2^63 - 1")
            })?,
        };
        let collected_at = match object.get("timestamp") {
            None => self.now,
            Some(raw) => self.time(raw)?,
        };
        Ok(MetricFrame {
            server: server.to_owned(),
            sequence,
            collected_at,
            layout_id: 0,
            layout: Vec::new(),
            values: Vec::new(),
            histograms: Vec::new(),
        })
    }

    fn time(&self, raw: &RawValue) -> Result<i64, Refused> {
        let read = json::string(raw)
            .map_or_else(|| raw.get().parse().ok(), |text| tidewatch_schemas::time::parse_rfc3339(&text));
        let wrong = |detail| Refused::new(Reason::BadTimestamp, detail);
        let time =
            read.ok_or_else(|| wrong("`timestamp` has to be RFC 3339 or integer milliseconds since 1970"))?;
        validate::check_time(time, self.now).map_err(|reason| match reason {
            Reason::Future => wrong("`timestamp` is more than 30 s ahead"),
            _ => wrong("`timestamp` is before 2000; it is in milliseconds, not in seconds"),
        })?;
        Ok(time)
    }

    /// The frame with its good metrics; none when every metric is refused for itself.
    fn frame(
        &mut self,
        index: usize,
        mut frame: MetricFrame,
        labels: &Labels,
        metrics: &Members<'_>,
    ) -> Result<Option<MetricFrame>, Refused> {
        let label_bytes =
            frame_size::labels(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut bytes = frame_size::head(&frame.server);
        let mut refused = Vec::new();
        for (name, raw) in metrics.iter().filter(|(_, raw)| !json::is_null(raw)) {
            let value = match self.sample(name, raw) {
                Ok(value) => value,
                Err(wrong) => {
                    refused.push((name, wrong));
                    continue;
                }
            };
            let (kind, unit) = guess(name);
            bytes += frame_size::series(name, unit, label_bytes);
            if frame.values.len() >= self.limits.names.series || bytes > self.limits.frame_bytes {
                let detail = format!(
                    "an object may hold {} series and {} bytes with its labels: send it in several",
                    self.limits.names.series, self.limits.frame_bytes
                );
                return Err(Refused::new(Reason::TooManySeries, detail));
            }
            frame.values.push(value);
            frame.layout.push(Series {
                metric: name.to_owned(),
                labels: labels.clone(),
                kind,
                unit: unit.to_owned(),
            });
        }
        if frame.values.is_empty() && refused.is_empty() {
            return Err(Refused::new(Reason::NoMetrics, "`metrics` holds no number"));
        }
        if self.bytes + bytes > self.limits.request_bytes {
            return Err(Refused::new(Reason::TooManySeries, "the request is too large with its labels"));
        }
        for (name, wrong) in refused {
            self.refuse(index, Some(&frame.server), Some(name), 1, wrong);
        }
        if frame.values.is_empty() {
            return Ok(None);
        }
        self.bytes += bytes;
        Ok(Some(frame))
    }

    fn sample(&self, name: &str, raw: &RawValue) -> Result<f64, Refused> {
        validate::check_metric_name(name, &self.limits.names).map_err(|reason| {
            Refused::new(
                reason,
                "a metric's name is at most 200 of letters, digits and _ : . - /, not starting with a digit",
            )
        })?;
        let wrong = |detail| Err(Refused::new(Reason::NotANumber, detail));
        match raw.get().as_bytes() {
            [b'-' | b'0'..=b'9', ..] => match raw.get().parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => wrong("the number is beyond what 64 bits hold"),
            },
            _ => wrong("a value has to be a finite JSON number"),
        }
    }

    fn labels(&self, raw: Option<&RawValue>) -> Result<Labels, Refused> {
        let wrong = |reason, detail: &str| Refused::new(reason, detail);
        let Some(raw) = raw else { return Ok(Labels::new()) };
        let members = serde_json::from_str::<Members<'_>>(raw.get())
            .map_err(|_| wrong(Reason::BadLabel, "`labels` has to be an object of strings"))?;
        let mut labels = Labels::new();
        for (name, raw) in members.iter() {
            let value = json::string(raw)
                .ok_or_else(|| wrong(Reason::BadLabel, "a label's value has to be a string"))?;
            validate::check_label(name, &value, &self.limits.names).map_err(|reason| {
                wrong(
                    reason,
                    "a label's name is like a metric's; its value at most 1,024 bytes, no control characters",
                )
            })?;
            labels.insert(name.to_owned(), value);
        }
        if labels.len() > self.limits.names.labels {
            return Err(wrong(Reason::BadLabel, "more than 32 labels"));
        }
        Ok(labels)
    }

    fn refuse_object(&mut self, index: usize, server: Option<&str>, values: usize, refused: Refused) {
        self.refuse(index, server, None, values.max(1) as u64, refused);
    }

    fn refuse(
        &mut self,
        index: usize,
        server: Option<&str>,
        metric: Option<&str>,
        count: u64,
        refused: Refused,
    ) {
        self.batch.rejected += count;
        *self.batch.by_reason.entry(refused.reason).or_default() += count;
        if self.batch.errors.len() < ERRORS_TOLD {
            self.batch.errors.push(Rejection {
                index,
                server: server.map(shortened),
                metric: metric.map(shortened),
                reason: refused.reason,
                detail: refused.detail,
            });
        }
    }
}

/// Enough of a name to find it by: a refused one may be megabytes.
fn shortened(name: &str) -> String {
    const CHARS: usize = 100;
    match name.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

/// What a bare name tells: `_total` makes a counter, a last word such as `_bytes` is the unit.
fn guess(name: &str) -> (SeriesKind, &'static str) {
    let (stem, kind) = match name.strip_suffix("_total") {
        Some(stem) => (stem, SeriesKind::Counter),
        None => (name, SeriesKind::Gauge),
    };
    let units = [
        ("_bytes_per_second", "bytes_per_second"),
        ("_seconds", "seconds"),
        ("_milliseconds", "milliseconds"),
        ("_bytes", "bytes"),
        ("_percent", "percent"),
        ("_ratio", "ratio"),
        ("_celsius", "celsius"),
    ];
    (kind, units.iter().find(|(suffix, _)| stem.ends_with(suffix)).map_or("", |(_, unit)| unit))
}

#[cfg(test)]
mod tests;
