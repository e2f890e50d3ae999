//! What people do about alerts, free of SQL: acknowledge one, silence those that fit; and the incidents that alerts make up.
//! Times are milliseconds since 1970 UTC.

mod join;

pub use join::joined;
use tidewatch_schemas::{Labels, Severity, Verdict};

use crate::StoredAlert;

/// That somebody takes care of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub by: String,
    pub at_ms: i64,
    pub note: Option<String>,
    /// What they found it to be.
    pub verdict: Option<Verdict>,
}

/// An alert with what people did about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackedAlert {
    pub stored: StoredAlert,
    pub acknowledged: Option<Acknowledgement>,
    /// Silences by id, the first 100: of an alert that fires those of now, else those of any time while it fired.
    pub silenced_by: Vec<i32>,
}

/// All alerts of one `incident_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub id: String,
    /// Whether any of its alerts fires.
    pub is_firing: bool,
    /// The highest.
    pub severity: Severity,
    /// Of the alert that began first.
    pub title: String,
    /// What that alert is about: a metric, or else its rule.
    pub moved: String,
    pub started_ms: i64,
    pub updated_ms: i64,
    /// `None` while it fires.
    pub ended_ms: Option<i64>,
    /// By name.
    pub servers: Vec<String>,
    /// How many.
    pub alerts: i64,
    /// How many of them somebody called a false alarm.
    pub false_alarms: i64,
    /// The ids of incidents of other servers that are told with it.
    pub joined: Vec<String>,
}

/// Which alerts: all that is there has to fit, as a whole. `*` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// By name.
    pub server: Option<String>,
    /// An alert of no metric has an empty one.
    pub metric: Option<String>,
    /// Of the alert; one that is not there is empty.
    pub labels: Labels,
}

/// What is asked for: nothing of alerts that fit, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSilence {
    pub scope: Scope,
    pub starts_ms: i64,
    /// Not before `starts_ms`.
    pub ends_ms: i64,
    pub comment: String,
    pub created_by: String,
    pub created_ms: i64,
}

/// The same with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub id: i32,
    pub said: NewSilence,
}

/// Where a silence is in its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceState {
    Pending,
    Active,
    Ended,
}

impl SilenceState {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Active, Self::Ended];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}

impl Silence {
    pub fn state(&self, now_ms: i64) -> SilenceState {
        if self.said.ends_ms <= now_ms {
            SilenceState::Ended
        } else if self.said.starts_ms > now_ms {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }
}
