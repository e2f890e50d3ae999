//! What a person says of an alert to the detector, as JSON on `analyzer.feedback` (key = server).
//!
//! Invariants: of what was said of one alert the newest holds, for windows that start [`Feedback::AFTER_MS`] after it was
//! said or later; members are only ever added, and whoever reads passes over those that it does not know.

use serde::{Deserialize, Serialize};

use crate::frame::Labels;

/// What somebody found an alert to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was wrong.
    FalseAlarm,
}

impl Verdict {
    pub const ALL: [Self; 1] = [Self::FalseAlarm];

    /// The name used in every text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FalseAlarm => "false_alarm",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// A series of the server, as the alert named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSeries {
    pub metric: String,
    #[serde(default)]
    pub labels: Labels,
}

/// What somebody says of one alert from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    pub alert_id: String,
    pub server: String,
    /// Absent: what was said before is taken back.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Milliseconds since 1970 UTC.
    pub said_at: i64,
    /// The name of the key.
    #[serde(default)]
    pub said_by: String,
    /// All that the alert named.
    #[serde(default)]
    pub series: Vec<NamedSeries>,
}

impl Feedback {
    /// So long after it was said it is in force: by then everybody who has to know has read it.
    pub const AFTER_MS: i64 = 60_000;

    /// The start of the first window that it is about.
    pub fn in_force_from(&self) -> i64 {
        self.said_at.saturating_add(Self::AFTER_MS)
    }

    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    pub fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read_as_it_was_written() {
        let mut said = Feedback {
            alert_id: "0f34".into(),
            server: "web \"1\"".into(),
            verdict: Some(Verdict::FalseAlarm),
            said_at: 1_795_000_000_123,
            said_by: "ann".into(),
            series: vec![NamedSeries {
                metric: "node_load1".into(),
                labels: Labels::from([("cpu".into(), "0".into())]),
            }],
        };
        for verdict in [Some(Verdict::FalseAlarm), None] {
            said.verdict = verdict;
            assert_eq!(Feedback::decode(&said.encode().unwrap()).unwrap(), said);
        }
        assert_eq!(said.in_force_from(), 1_795_000_060_123);
        assert_eq!(Feedback { said_at: i64::MAX, ..said }.in_force_from(), i64::MAX);
    }

    #[test]
    fn which_alert_and_when_is_enough_and_what_is_new_is_passed_over() {
        let read =
            Feedback::decode(br#"{"alert_id": "a", "server": "s", "said_at": 7, "why": [1]}"#).unwrap();
        assert_eq!((read.alert_id.as_str(), read.verdict, read.series.len()), ("a", None, 0));
        for bad in ["", "[]", "{\"alert_id\": \"a\", \"server\": \"s\"}", "{\"verdict\": \"true_alarm\"}"] {
            assert!(Feedback::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_verdict_has_the_same_name_everywhere() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::parse(verdict.as_str()), Some(verdict));
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
        assert_eq!(Verdict::parse("FALSE_ALARM"), None);
    }
}
