//! Milliseconds since 1970 UTC, in and out of RFC 3339.

use chrono::{DateTime, SecondsFormat, Utc};

/// `2026-11-23T14:16:00.000Z`; a time outside chrono's range shows as its number.
pub fn rfc3339(millis: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(millis)
        .map_or_else(|| millis.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Milliseconds of an RFC 3339 time; `None` when it is not one.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_millis())
}
