//! From bytes to what is to be written: decode and validate a record of each topic. Pure.
//!
//! Invariant: what passes here has columns of one length, a window on its grid, and times PostgreSQL can hold; histograms
//! whose counts add up; everything else carries the reason of its dead letter.

use std::sync::Arc;

use tidewatch_schemas::{
    AggregateFrame, Alert, Anomaly, AvroRecord, DecodeError, Distribution, Expectation, Reason, Topics,
    decode,
    validate::{self, EARLIEST},
};
use tidewatch_store::Tier;

/// What a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Windows(Tier),
    Expected,
    Anomalies,
    Alerts,
}

/// The topics the sink reads.
#[derive(Debug, Clone)]
pub struct Inputs(Vec<(Arc<str>, Kind)>);

impl Inputs {
    pub fn new(topics: &Topics) -> Self {
        let mut inputs: Vec<(Arc<str>, Kind)> = Tier::ALL
            .into_iter()
            .map(|tier| (topics.window(tier.window_ms()).into(), Kind::Windows(tier)))
            .collect();
        inputs.push((topics.expected().into(), Kind::Expected));
        inputs.push((topics.anomalies().into(), Kind::Anomalies));
        inputs.push((topics.alerts().into(), Kind::Alerts));
        Self(inputs)
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| &**name).collect()
    }

    /// The name of the topic of a kind.
    pub fn topic(&self, kind: Kind) -> Option<Arc<str>> {
        self.0.iter().find(|(_, other)| *other == kind).map(|(name, _)| Arc::clone(name))
    }

    /// The shared name and the kind of a topic.
    pub fn of(&self, topic: &str) -> Option<(Arc<str>, Kind)> {
        self.0.iter().find(|(name, _)| &**name == topic).cloned()
    }
}

/// What a record turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Windows(Tier, Box<AggregateFrame>),
    Expected(Expectation),
    Anomaly(Anomaly),
    Alert(Box<Alert>),
    /// To be a dead letter.
    Bad(Reason, String),
    /// A dead letter because of a part of it; the rest is to be written.
    Partly(Reason, String, Box<Self>),
    /// Nothing to write: only its offset counts.
    Nothing,
}

impl Body {
    /// Whom it speaks of.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Windows(_, frame) => Some(&frame.server),
            Self::Expected(expected) => Some(&expected.server),
            Self::Anomaly(anomaly) => Some(&anomaly.server),
            Self::Alert(alert) => Some(&alert.server),
            Self::Bad(..) | Self::Partly(..) | Self::Nothing => None,
        }
    }

    /// When that is: the start of its window, or of the alert. After all times when it speaks of nothing.
    pub fn time(&self) -> i64 {
        match self {
            Self::Windows(_, frame) => frame.window_start,
            Self::Expected(expected) => expected.window_start,
            Self::Anomaly(anomaly) => anomaly.window_start,
            Self::Alert(alert) => alert.starts_at,
            Self::Bad(..) | Self::Partly(..) | Self::Nothing => i64::MAX,
        }
    }
}

/// A record and where it came from.
#[derive(Debug, Clone)]
pub struct Item {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// The broker's or the producer's, milliseconds.
    pub timestamp: Option<i64>,
    /// As they were, for a dead letter.
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub body: Body,
}

impl Body {
    /// Rows it will write, roughly; at least 1.
    pub fn weight(&self) -> usize {
        match self {
            Self::Windows(_, frame) => (frame.layout.len() + HEAVY * frame.histograms.len()).max(1),
            Self::Expected(expected) => expected.layout.len().max(1),
            Self::Partly(_, _, rest) => rest.weight(),
            _ => 1,
        }
    }
}

/// Rows that a histogram weighs, by its bytes.
const HEAVY: usize = 8;

/// Windows further ahead than this are a clock gone wrong: they would make partitions of a far future.
const MAX_AHEAD_MS: i64 = 86_400_000;

/// The body of a record; an empty one (a tombstone) is nothing.
pub fn parse(kind: Kind, payload: Option<&[u8]>, now_ms: i64) -> Body {
    let Some(bytes) = payload.filter(|bytes| !bytes.is_empty()) else { return Body::Nothing };
    match kind {
        Kind::Windows(tier) => {
            read(bytes, |frame| check_windows(tier, frame, now_ms), |frame| windows(tier, frame))
        }
        Kind::Expected => read(bytes, |expected| check_expected(expected, now_ms), Body::Expected),
        Kind::Anomalies => read(bytes, |anomaly| check_anomaly(anomaly, now_ms), Body::Anomaly),
        Kind::Alerts => read(bytes, |alert| check_alert(alert, now_ms), |alert| Body::Alert(Box::new(alert))),
    }
}

/// A frame with its good histograms; the last that is none makes it a dead letter, too.
fn windows(tier: Tier, mut frame: AggregateFrame) -> Body {
    let mut bad = None;
    frame.histograms.retain(|one| match Distribution::of(one, f64::MAX) {
        Ok(observed) => observed.is_some(),
        Err((reason, why)) => {
            let name: String = one.series.metric.chars().take(64).collect();
            bad = Some((reason, format!("histogram {name}: {why}")));
            false
        }
    });
    let rest = Body::Windows(tier, Box::new(frame));
    match bad {
        Some((reason, message)) => Body::Partly(reason, message, Box::new(rest)),
        None => rest,
    }
}

fn read<T: AvroRecord>(
    bytes: &[u8],
    check: impl FnOnce(&T) -> Result<(), (Reason, &'static str)>,
    body: impl FnOnce(T) -> Body,
) -> Body {
    match decode::<T>(bytes) {
        Ok((record, _)) => match check(&record) {
            Ok(()) => body(record),
            Err((reason, message)) => Body::Bad(reason, message.to_owned()),
        },
        Err(error @ DecodeError::UnknownSchema(_)) => Body::Bad(Reason::UnknownSchema, error.to_string()),
        Err(error) => Body::Bad(Reason::Undecodable, error.to_string()),
    }
}

type Checked = Result<(), (Reason, &'static str)>;

fn check_server(name: &str) -> Checked {
    validate::check_server_name(name).map_err(|reason| (reason, "the server's name is no good"))
}

fn check_time(ms: i64, now_ms: i64) -> Checked {
    if ms < EARLIEST {
        return Err((Reason::BadTimestamp, "the time is before 2000"));
    }
    if ms > now_ms.saturating_add(MAX_AHEAD_MS) {
        return Err((Reason::Future, "the time is more than a day ahead"));
    }
    Ok(())
}

fn check_window(window_start: i64, window_ms: i64, now_ms: i64) -> Checked {
    if window_ms <= 0 || i32::try_from(window_ms).is_err() || window_start.rem_euclid(window_ms) != 0 {
        return Err((Reason::LayoutMismatch, "the window is not on its grid"));
    }
    check_time(window_start, now_ms)
}

fn check_windows(tier: Tier, frame: &AggregateFrame, now_ms: i64) -> Checked {
    check_server(&frame.server)?;
    if !frame.is_consistent() {
        return Err((Reason::LayoutMismatch, "columns and layout do not fit"));
    }
    if frame.window_ms != tier.window_ms() {
        return Err((Reason::LayoutMismatch, "the window is not of the topic's length"));
    }
    check_window(frame.window_start, frame.window_ms, now_ms)
}

fn check_expected(expected: &Expectation, now_ms: i64) -> Checked {
    check_server(&expected.server)?;
    let n = expected.layout.len();
    if expected.low.len() != n || expected.high.len() != n {
        return Err((Reason::LayoutMismatch, "columns and layout do not fit"));
    }
    check_window(expected.window_start, expected.window_ms, now_ms)
}

fn check_anomaly(anomaly: &Anomaly, now_ms: i64) -> Checked {
    check_server(&anomaly.server)?;
    check_window(anomaly.window_start, anomaly.window_ms, now_ms)
}

fn check_alert(alert: &Alert, now_ms: i64) -> Checked {
    check_server(&alert.server)?;
    check_time(alert.starts_at, now_ms)?;
    check_time(alert.updated_at, now_ms)?;
    alert.ends_at.map_or(Ok(()), |ends| check_time(ends, now_ms))
}

#[cfg(test)]
mod tests;
