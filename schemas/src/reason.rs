//! Why something was not counted: one code for HTTP answers, dead letters, the late topic and counters.

use std::fmt;

/// A reason code. Its text form is stable: people filter dead letters by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    BadJson,
    Undecodable,
    UnknownSchema,
    UnknownLayout,
    LayoutMismatch,
    BadServerName,
    BadMetricName,
    BadLabel,
    NameTooLong,
    NotANumber,
    OutOfRange,
    BadTimestamp,
    Future,
    TooManySeries,
    TooManyServers,
    NoMetrics,
    BadSequence,
    Duplicate,
    Late,
    DuplicateSeries,
    BadHistogram,
    Refused,
}

impl Reason {
    /// Every reason, for metrics that want to start at zero.
    pub const ALL: [Self; 22] = [
        Self::BadJson,
        Self::Undecodable,
        Self::UnknownSchema,
        Self::UnknownLayout,
        Self::LayoutMismatch,
        Self::BadServerName,
        Self::BadMetricName,
        Self::BadLabel,
        Self::NameTooLong,
        Self::NotANumber,
        Self::OutOfRange,
        Self::BadTimestamp,
        Self::Future,
        Self::TooManySeries,
        Self::TooManyServers,
        Self::NoMetrics,
        Self::BadSequence,
        Self::Duplicate,
        Self::Late,
        Self::DuplicateSeries,
        Self::BadHistogram,
        Self::Refused,
    ];

    /// The code as it stands in headers, answers and labels.
    pub fn code(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::Undecodable => "undecodable",
            Self::UnknownSchema => "unknown_schema",
            Self::UnknownLayout => "unknown_layout",
            Self::LayoutMismatch => "layout_mismatch",
            Self::BadServerName => "bad_server_name",
            Self::BadMetricName => "bad_metric_name",
            Self::BadLabel => "bad_label",
            Self::NameTooLong => "name_too_long",
            Self::NotANumber => "not_a_number",
            Self::OutOfRange => "out_of_range",
            Self::BadTimestamp => "bad_timestamp",
            Self::Future => "future",
            Self::TooManySeries => "too_many_series",
            Self::TooManyServers => "too_many_servers",
            Self::NoMetrics => "no_metrics",
            Self::BadSequence => "bad_sequence",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::DuplicateSeries => "duplicate_series",
            Self::BadHistogram => "bad_histogram",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
