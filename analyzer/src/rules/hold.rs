//! A condition over time: it has to hold for a while before it fires, and to be over for a while before it resolves.
//!
//! In: window by window, whether the condition holds. Out: at most one transition for each window. Invariant: when it
//! started is the start of the first window in which it held, however often and from where on it is computed.

use crate::snapshot::Keep;

/// How long a condition has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub hold_ms: i64,
    pub keep_ms: i64,
}

/// Windows missing for longer than this end a condition that was being watched: nobody knows what was between.
const PATIENCE_MS: i64 = 60_000;

/// The state of one condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hold {
    #[default]
    Idle,
    Pending {
        since: i64,
        seen: i64,
    },
    Firing {
        since: i64,
        clear_since: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Fire { starts_at: i64 },
    Resolve { ends_at: i64 },
}

impl Hold {
    pub fn is_firing(self) -> bool {
        matches!(self, Self::Firing { .. })
    }

    /// Takes one window; `end` is exclusive.
    pub fn step(&mut self, holds: bool, start: i64, end: i64, pace: Pace) -> Option<Transition> {
        match *self {
            Self::Firing { since, clear_since } => {
                self.step_firing(holds, start, end, since, clear_since, pace)
            }
            _ if !holds => {
                *self = Self::Idle;
                None
            }
            Self::Pending { since, seen } if start - seen <= PATIENCE_MS => {
                self.step_pending(since, end, pace)
            }
            Self::Idle | Self::Pending { .. } => self.step_pending(start, end, pace),
        }
    }

    fn step_pending(&mut self, since: i64, end: i64, pace: Pace) -> Option<Transition> {
        if end - since < pace.hold_ms {
            *self = Self::Pending { since, seen: end };
            return None;
        }
        *self = Self::Firing { since, clear_since: None };
        Some(Transition::Fire { starts_at: since })
    }

    fn step_firing(
        &mut self,
        holds: bool,
        start: i64,
        end: i64,
        since: i64,
        clear_since: Option<i64>,
        pace: Pace,
    ) -> Option<Transition> {
        if holds {
            *self = Self::Firing { since, clear_since: None };
            return None;
        }
        let ends_at = clear_since.unwrap_or(start);
        if end - ends_at < pace.keep_ms {
            *self = Self::Firing { since, clear_since: Some(ends_at) };
            return None;
        }
        *self = Self::Idle;
        Some(Transition::Resolve { ends_at })
    }

    /// It fired and could not be said: it fires again with the next window in which it still holds.
    pub fn postpone(&mut self) {
        if let Self::Firing { since, .. } = *self {
            *self = Self::Pending { since, seen: i64::MAX / 2 };
        }
    }

    /// What a silent replay found, corrected by what was really said: `said` is the start of the open alert. A condition
    /// that should be firing but was never said fires with the next window in which it still holds.
    #[must_use]
    pub fn reconcile(self, said: Option<i64>) -> Self {
        match (self, said) {
            // one that came back while its alert was held open has held for less time than the alert
            (Self::Firing { .. }, Some(_)) => self,
            (_, Some(since)) => Self::Firing { since, clear_since: None },
            (Self::Firing { since, .. }, None) => Self::Pending { since, seen: i64::MAX / 2 },
            (other, None) => other,
        }
    }
}

impl Keep for Hold {
    fn keep(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Idle => 0_u8.keep(out),
            Self::Pending { since, seen } => {
                1_u8.keep(out);
                (since, seen).keep(out);
            }
            Self::Firing { since, clear_since } => {
                2_u8.keep(out);
                (since, clear_since).keep(out);
            }
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        match u8::recall(from)? {
            0 => Some(Self::Idle),
            1 => Keep::recall(from).map(|(since, seen)| Self::Pending { since, seen }),
            2 => Keep::recall(from).map(|(since, clear_since)| Self::Firing { since, clear_since }),
            _ => None,
        }
    }
}
