//! What a frame may look like: names, labels, values, times, sizes. The HTTP door and the stream processor ask the
//! same questions here, so a frame that one lets in the other does not refuse.
//!
//! Invariant: limits are checked before any state is made for a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Reason, frame::Series};

/// A server's name: 1 to 253 bytes, no control characters, no white space at its ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

impl ServerName {
    pub const MAX_BYTES: usize = 253;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, or why it is none.
    pub fn parse(name: &str) -> Result<Self, Reason> {
        check_server_name(name).map(|()| Self(name.to_owned()))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ServerName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        check_server_name(&name).map_err(|reason| format!("server name: {reason}"))?;
        Ok(Self(name))
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

/// Sizes that hold before any state is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a metric or label name.
    pub name_bytes: usize,
    /// Bytes of a label value.
    pub label_value_bytes: usize,
    /// Labels of a series.
    pub labels: usize,
    /// Series of a frame.
    pub series: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { name_bytes: 200, label_value_bytes: 1_024, labels: 32, series: 10_000 }
    }
}

/// Not before 2000-01-01: an earlier clock was never set.
pub const EARLIEST: i64 = 946_684_800_000;

/// How far ahead of its append time a frame may be, milliseconds.
pub const MAX_AHEAD: i64 = 30_000;

/// The largest magnitude a value may have: squares of such values, added up over a window, stay finite.
pub const MAX_VALUE: f64 = 1e150;

/// A value that is there; NaN says that it is absent, and is for the caller to leave out.
pub fn check_value(value: f64) -> Result<(), Reason> {
    match value.abs() {
        magnitude if magnitude <= MAX_VALUE => Ok(()),
        magnitude if magnitude.is_finite() => Err(Reason::OutOfRange),
        _ => Err(Reason::NotANumber),
    }
}

pub fn check_server_name(name: &str) -> Result<(), Reason> {
    if name.len() > ServerName::MAX_BYTES {
        return Err(Reason::NameTooLong);
    }
    if name.is_empty() || name.trim() != name || name.chars().any(char::is_control) {
        return Err(Reason::BadServerName);
    }
    Ok(())
}

/// Letters, digits and `_ : . - /`, not starting with a digit.
pub fn check_metric_name(name: &str, limits: &Limits) -> Result<(), Reason> {
    if name.len() > limits.name_bytes {
        return Err(Reason::NameTooLong);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'-' | b'/');
    match name.as_bytes() {
        [first, rest @ ..]
            if !first.is_ascii_digit() && allowed(*first) && rest.iter().all(|&b| allowed(b)) =>
        {
            Ok(())
        }
        _ => Err(Reason::BadMetricName),
    }
}

pub fn check_label(name: &str, value: &str, limits: &Limits) -> Result<(), Reason> {
    if name.len() > limits.name_bytes || value.len() > limits.label_value_bytes {
        return Err(Reason::NameTooLong);
    }
    check_metric_name(name, limits).map_err(|_| Reason::BadLabel)?;
    if value.chars().any(char::is_control) {
        return Err(Reason::BadLabel);
    }
    Ok(())
}

pub fn check_series(series: &Series, limits: &Limits) -> Result<(), Reason> {
    check_metric_name(&series.metric, limits)?;
    if series.labels.len() > limits.labels {
        return Err(Reason::BadLabel);
    }
    if series.unit.len() > limits.name_bytes {
        return Err(Reason::NameTooLong);
    }
    series.labels.iter().try_for_each(|(name, value)| check_label(name, value, limits))
}

/// `now` is the append time in the stream processor, the wall clock at the HTTP door.
pub fn check_time(collected_at: i64, now: i64) -> Result<(), Reason> {
    if collected_at < EARLIEST {
        return Err(Reason::BadTimestamp);
    }
    if collected_at > now.saturating_add(MAX_AHEAD) {
        return Err(Reason::Future);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_may_be_any_readable_text() {
        for good in ["web-1", "db.fra-2.example", "srv 01", "\u{4e2d}\u{6587}"] {
            assert_eq!(check_server_name(good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("", Reason::BadServerName),
            (" web", Reason::BadServerName),
            ("we\nb", Reason::BadServerName),
            (&"x".repeat(10_240), Reason::NameTooLong),
        ] {
            assert_eq!(check_server_name(bad), Err(reason));
        }
    }

    #[test]
    fn a_metric_name_is_an_identifier() {
        let limits = Limits::default();
        for good in ["node_load1", ":job:rate5m", "http.server.duration", "_x"] {
            assert_eq!(check_metric_name(good, &limits), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("", Reason::BadMetricName),
            ("1st", Reason::BadMetricName),
            ("a b", Reason::BadMetricName),
            ("caf\u{e9}", Reason::BadMetricName),
            (&"m".repeat(10_240), Reason::NameTooLong),
        ] {
            assert_eq!(check_metric_name(bad, &limits), Err(reason));
        }
    }

    #[test]
    fn a_time_is_after_2000_and_not_far_ahead() {
        let now = 1_795_000_000_000;
        assert_eq!(check_time(now + MAX_AHEAD, now), Ok(()));
        assert_eq!(check_time(now + MAX_AHEAD + 1, now), Err(Reason::Future));
        assert_eq!(check_time(0, now), Err(Reason::BadTimestamp));
        assert_eq!(check_time(i64::MIN, now), Err(Reason::BadTimestamp));
        assert_eq!(check_time(i64::MAX, now), Err(Reason::Future));
    }
}
