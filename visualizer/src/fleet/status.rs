//! How a server is, in one word, now and over the last day. In: when it was seen, its alerts, its odd series. Out: a
//! [`Status`], 48 heartbeats. Pure.
//!
//! Keeps: the worst of what is true wins, in the order of the enum.

use std::collections::BTreeSet;

use serde::Serialize;
use tidewatch_schemas::Severity;
use utoipa::ToSchema;

use crate::params::MINUTE;

/// Worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Critical,
    Warning,
    Silent,
    Odd,
    Learning,
    Ok,
    /// Of a time before the server was first seen; only in heartbeats.
    None,
}

impl Status {
    /// As answers and questions call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Silent => "silent",
            Self::Odd => "odd",
            Self::Learning => "learning",
            Self::Ok => "ok",
            Self::None => "none",
        }
    }
}

/// 150 windows of 10 s: before that the analyzer judges nothing.
pub(crate) const LEARNING: i64 = 25 * MINUTE;

/// How far back odd series make a server odd.
pub(crate) const ODD_WITHIN: i64 = 5 * MINUTE;

/// Time of one heartbeat, and how many there are.
pub(crate) const BEAT: i64 = 30 * MINUTE;
pub(crate) const BEATS: usize = 48;

/// Series that have to be odd within five minutes before the server is called odd: with hundreds of series a single one
/// is odd by chance now and then, with a few it is not.
pub(crate) fn odd_bound(series: i64) -> i64 {
    (series / 50).clamp(1, 3)
}

/// What an alert makes of its server.
pub(crate) fn of_alert(severity: Severity) -> Option<Status> {
    match severity {
        Severity::Critical => Some(Status::Critical),
        Severity::Warning => Some(Status::Warning),
        Severity::Info => None,
    }
}

/// What is known of a server at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: i64,
    pub(crate) first_seen: i64,
    pub(crate) last_seen: i64,
    pub(crate) worst_alert: Option<Severity>,
    pub(crate) odd_series: i64,
    pub(crate) series: i64,
    pub(crate) silent_after: i64,
}

pub(crate) fn status(of: Now) -> Status {
    if let Some(status) = of.worst_alert.and_then(of_alert) {
        status
    } else if of.at - of.last_seen > of.silent_after {
        Status::Silent
    } else if of.odd_series >= odd_bound(of.series) {
        Status::Odd
    } else if of.at - of.first_seen < LEARNING {
        Status::Learning
    } else {
        Status::Ok
    }
}

/// The last day of one server.
#[derive(Debug, Default)]
pub(crate) struct Day {
    pub(crate) first_seen: i64,
    /// Starts of the beats in which it sent anything.
    pub(crate) present: BTreeSet<i64>,
    /// (start, end or now, what it made of the server).
    pub(crate) alerts: Vec<(i64, i64, Status)>,
    /// Times at which it was odd.
    pub(crate) odd: Vec<i64>,
}

/// Start of the first heartbeat; the last one holds `now`.
pub(crate) fn first_beat(now: i64) -> i64 {
    now.div_euclid(BEAT) * BEAT - (BEATS as i64 - 1) * BEAT
}

/// The worst state of each half hour, oldest first; the last one is what the server is now.
pub(crate) fn heartbeat(now: i64, day: &Day, current: Status) -> Vec<Status> {
    let first = first_beat(now);
    (0..BEATS as i64)
        .map(|i| {
            let (from, to) = (first + i * BEAT, first + (i + 1) * BEAT);
            if to <= day.first_seen {
                return Status::None;
            }
            let alerts = day.alerts.iter().filter(|(start, end, _)| *start < to && *end >= from).map(|a| a.2);
            let silent = (!day.present.contains(&from) && i + 1 < BEATS as i64).then_some(Status::Silent);
            let odd = day.odd.iter().any(|at| (from..to).contains(at)).then_some(Status::Odd);
            let learning = (from < day.first_seen + LEARNING).then_some(Status::Learning);
            let last = (i + 1 == BEATS as i64).then_some(current);
            alerts.chain(silent).chain(odd).chain(learning).chain(last).min().unwrap_or(Status::Ok)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_795_443_360_000;

    fn calm() -> Now {
        Now {
            at: NOW,
            first_seen: NOW - 100 * LEARNING,
            last_seen: NOW - 15_000,
            worst_alert: None,
            odd_series: 0,
            series: 400,
            silent_after: MINUTE,
        }
    }

    #[test]
    fn the_worst_that_is_true_wins() {
        assert_eq!(status(calm()), Status::Ok);
        assert_eq!(status(Now { first_seen: NOW - LEARNING + 1, ..calm() }), Status::Learning);
        assert_eq!(status(Now { odd_series: 2, ..calm() }), Status::Ok);
        let odd = Now { odd_series: 3, ..calm() };
        assert_eq!(status(odd), Status::Odd);
        assert_eq!(status(Now { odd_series: 1, series: 4, ..calm() }), Status::Odd);
        let silent = Now { last_seen: NOW - MINUTE - 1, ..odd };
        assert_eq!(status(silent), Status::Silent);
        assert_eq!(status(Now { worst_alert: Some(Severity::Info), ..silent }), Status::Silent);
        assert_eq!(status(Now { worst_alert: Some(Severity::Warning), ..silent }), Status::Warning);
        assert_eq!(status(Now { worst_alert: Some(Severity::Critical), ..silent }), Status::Critical);
    }

    #[test]
    fn a_day_shows_when_the_server_came_fell_silent_and_was_in_trouble() {
        let first = first_beat(NOW);
        let at = |beat: i64| first + beat * BEAT;
        let day = Day {
            first_seen: at(10) + MINUTE,
            present: (10..48).filter(|b| !(20..22).contains(b)).map(at).collect(),
            alerts: vec![(at(30) + 1, at(31) + 1, Status::Critical), (at(31), at(33), Status::Warning)],
            odd: vec![at(40) + MINUTE],
        };
        let beats = heartbeat(NOW, &day, Status::Ok);
        assert_eq!(beats.len(), BEATS);
        assert_eq!(beats[9..12], [Status::None, Status::Learning, Status::Ok]);
        assert_eq!(beats[19..23], [Status::Ok, Status::Silent, Status::Silent, Status::Ok]);
        assert_eq!(
            beats[29..35],
            [Status::Ok, Status::Critical, Status::Critical, Status::Warning, Status::Warning, Status::Ok]
        );
        assert_eq!(beats[40], Status::Odd);
    }

    proptest! {
        #[test]
        fn the_last_beat_holds_now_and_what_is_so_now(now in 0_i64..4_000_000_000_000, current in prop_oneof![Just(Status::Critical), Just(Status::Silent), Just(Status::Ok)]) {
            let last = first_beat(now) + (BEATS as i64 - 1) * BEAT;
            prop_assert!((last..last + BEAT).contains(&now));
            let beats = heartbeat(now, &Day { first_seen: i64::MIN / 2, ..Day::default() }, current);
            prop_assert!(beats[BEATS - 1] <= current);
        }
    }
}
