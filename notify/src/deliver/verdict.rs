//! What an answer means: taken, refused for good, or to be tried again.
//!
//! In: a status and its headers, or why there is none. Out: an [`Outcome`]. Pure. Keeps: what says something about the
//! address, the credentials or the moment, and not about the alert, is never a refusal.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::StatusCode;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The text of `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The beginning of its body.
    pub(crate) words: String,
}

/// What became of a request; `Ok` = taken.
pub(crate) type Outcome = Result<(), No>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum No {
    /// The target does not want this one, now or later.
    Refused(String),
    Later(Fault),
}

/// Why it has to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) words: String,
    /// Not before so long from now, if the target said so.
    pub(crate) after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody there.
    Connect,
    /// The connection broke after something was sent: taken or not, nobody knows.
    Broken,
    Timeout,
    /// Too much at once (408, 425, 429, 502 to 504): the alert is not to blame.
    Busy,
    /// The address or the credentials are wrong (3xx, 401, 403, 404, 405, 407).
    Misdirected,
    /// Another answer that is no success (5xx): perhaps this alert's fault.
    Failed,
    /// Not tried: the breaker is open.
    Skipped,
}

impl Kind {
    /// Those of a request that was made.
    pub(crate) const MADE: [Self; 6] =
        [Self::Connect, Self::Broken, Self::Timeout, Self::Busy, Self::Misdirected, Self::Failed];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Misdirected => "misdirected",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl No {
    pub(crate) fn later(kind: Kind, words: impl Into<String>) -> Self {
        Self::Later(Fault { kind, words: words.into(), after: None })
    }

    /// Whether the target answered, and the same without some other alert may go better.
    pub(crate) fn is_about_content(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Later(fault) => fault.kind == Kind::Failed,
        }
    }

    /// Whether the target counts as away.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::Refused(_) => false,
            Self::Later(fault) => !matches!(fault.kind, Kind::Busy | Kind::Skipped),
        }
    }
}

/// The longest that a target may ask us to wait: an alert is worth another try after that.
const LONGEST: Duration = Duration::from_mins(10);

/// What an answer means.
pub(crate) fn judge(answer: &Answer, now: DateTime<Utc>) -> Outcome {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    let words =
        if answer.words.is_empty() { status.to_string() } else { format!("{status}: {}", answer.words) };
    let kind = match status.as_u16() {
        408 | 425 | 429 | 502..=504 => Kind::Busy,
        300..=399 | 401 | 403 | 404 | 405 | 407 => Kind::Misdirected,
        400..=499 => return Err(No::Refused(words)),
        _ => Kind::Failed,
    };
    let after = answer.retry_after.as_deref().and_then(|text| wait(text, now));
    Err(No::Later(Fault { kind, words, after }))
}

/// `Retry-After` of RFC 9110: seconds, or a date.
fn wait(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let time = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(text.trim()).ok()?.to_utc() - now).to_std().ok()?,
    };
    Some(time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>) -> Outcome {
        let now = DateTime::parse_from_rfc3339("2026-11-23T14:16:00Z").unwrap().to_utc();
        let retry_after = retry_after.map(str::to_owned);
        let status = StatusCode::from_u16(status).unwrap();
        judge(&Answer { status, retry_after, words: "why".into() }, now)
    }

    fn kind(status: u16) -> Option<Kind> {
        match judged(status, None) {
            Err(No::Later(fault)) => Some(fault.kind),
            Ok(()) | Err(No::Refused(_)) => None,
        }
    }

    #[test]
    fn every_success_is_one() {
        for status in [200, 201, 202, 204] {
            assert_eq!(judged(status, None), Ok(()));
        }
    }

    #[test]
    fn what_is_about_the_alert_is_refused_for_good() {
        for status in [400, 406, 409, 410, 413, 415, 422] {
            assert!(
                matches!(judged(status, None), Err(No::Refused(words)) if words.contains("why")),
                "{status}"
            );
        }
    }

    #[test]
    fn what_is_about_the_moment_or_the_address_is_tried_again() {
        for status in [408, 425, 429, 502, 503, 504] {
            assert_eq!(kind(status), Some(Kind::Busy), "{status}");
        }
        for status in [301, 302, 308, 401, 403, 404, 405, 407] {
            assert_eq!(kind(status), Some(Kind::Misdirected), "{status}");
        }
        for status in [500, 501, 505, 599] {
            assert_eq!(kind(status), Some(Kind::Failed), "{status}");
        }
    }

    #[test]
    fn retry_after_is_believed_within_reason() {
        let after = |text| match judged(429, Some(text)) {
            Err(No::Later(fault)) => fault.after,
            Ok(()) | Err(No::Refused(_)) => None,
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Mon, 23 Nov 2026 14:16:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(after("Mon, 23 Nov 2026 14:00:00 GMT"), None, "is over");
        assert_eq!(after("86400"), Some(LONGEST));
        assert_eq!((after("soon"), after("-1"), after("")), (None, None, None));
    }

    #[test]
    fn only_an_absent_target_opens_the_breaker() {
        assert!(!No::Refused(String::new()).is_failure());
        assert!(!No::later(Kind::Busy, "").is_failure());
        for kind in [Kind::Connect, Kind::Broken, Kind::Timeout, Kind::Misdirected, Kind::Failed] {
            assert!(No::later(kind, "").is_failure());
        }
    }
}
