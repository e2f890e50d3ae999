//! Order, what is left out, how far the partition is done with; and that nothing is lost however deliveries fail.

use proptest::prelude::*;
use tidewatch_schemas::{Labels, Severity};

use super::*;

/// 2026-11-23T14:16:00Z.
const START: i64 = 1_795_443_360_000;
const HOUR: i64 = 3_600_000;

/// An alert of the rule `cpu_busy` that fires.
pub(crate) fn firing(alert_id: &str, server: &str) -> Alert {
    Alert {
        alert_id: alert_id.into(),
        fingerprint: "f".into(),
        incident_id: "i".into(),
        server: server.into(),
        status: AlertStatus::Firing,
        severity: Severity::Critical,
        rule: "cpu_busy".into(),
        starts_at: START,
        ends_at: None,
        updated_at: START + 20_000,
        title: format!("cpu 99 % on {server}"),
        explanation: "cpu 99 %, above 95 %.".into(),
        metric: Some("cpu".into()),
        labels: Labels::from([("mode".to_owned(), "user".to_owned())]),
        unit: "percent".into(),
        value: Some(99.0),
        expected_low: None,
        expected_high: None,
        score: None,
        related: Vec::new(),
        runbook_url: Some("https://r/cpu".into()),
    }
}

/// The same when it is over.
pub(crate) fn resolved(alert_id: &str, server: &str) -> Alert {
    let ends_at = Some(START + 60_000);
    Alert { status: AlertStatus::Resolved, ends_at, updated_at: START + 70_000, ..firing(alert_id, server) }
}

fn transition(offset: i64, stamp: i64, alert: Alert) -> Transition {
    let id = format!("{}.{}", alert.alert_id, alert.status.as_str());
    Transition { offset, stamp, id, traceparent: None, alert: Arc::new(alert), key: None, payload: vec![] }
}

fn fires(offset: i64, stamp: i64, alert_id: &str) -> Transition {
    transition(offset, stamp, firing(alert_id, "web-1"))
}

fn ends(offset: i64, stamp: i64, alert_id: &str) -> Transition {
    transition(offset, stamp, resolved(alert_id, "web-1"))
}

/// A ledger of a topic that had these when it began, and has read none of them yet.
fn ledger(committed: Option<i64>, said: &[Transition]) -> Ledger {
    let mut history = History::default();
    for one in said {
        history.add(one, committed);
    }
    Ledger::new(history, committed, Duration::from_hours(1))
}

fn offsets(ledger: &Ledger, now: i64) -> Vec<i64> {
    ledger.due(now).iter().map(|(_, one)| one.offset).collect()
}

#[test]
fn of_an_alert_only_the_oldest_transition_is_due() {
    let mut ledger = ledger(Some(0), &[]);
    for one in [fires(0, START, "a"), fires(1, START, "b"), ends(2, START, "a")] {
        assert!(ledger.take(one));
    }
    assert_eq!(offsets(&ledger, START), [0, 1]);
    ledger.taken(&fires(0, START, "a"), START);
    assert_eq!(offsets(&ledger, START), [1, 2]);
    ledger.put_off(2, START + 1_000);
    assert_eq!(offsets(&ledger, START), [1]);
    assert_eq!(offsets(&ledger, START + 1_000), [1, 2]);
    assert_eq!((ledger.tries(1), ledger.tries(2)), (0, 1));
    assert_eq!(ledger.due(START + 1_000)[1].0, 1);
}

#[test]
fn a_later_one_does_not_overtake_the_one_that_was_put_off() {
    let mut ledger = ledger(Some(0), &[]);
    ledger.take(fires(0, START, "a"));
    ledger.take(ends(1, START, "a"));
    ledger.put_off(0, START + 1_000);
    assert!(offsets(&ledger, START).is_empty());
}

#[test]
fn it_is_done_up_to_the_oldest_pending_transition() {
    let mut ledger = ledger(Some(5), &[]);
    assert_eq!(ledger.to_commit(), None);
    ledger.take(fires(5, START, "a"));
    assert_eq!(ledger.to_commit(), None, "nothing moved");
    ledger.take(fires(7, START, "b"));
    ledger.pass(8);
    ledger.taken(&fires(7, START, "b"), START);
    assert_eq!(ledger.to_commit(), None);
    ledger.refused(&fires(5, START, "a"));
    assert_eq!(ledger.to_commit(), Some(9));
    ledger.committed(9);
    assert_eq!(ledger.to_commit(), None);
}

#[test]
fn a_second_copy_is_passed_over() {
    let mut ledger = ledger(Some(0), &[]);
    assert!(ledger.take(fires(0, START, "a")));
    assert!(!ledger.take(fires(1, START, "a")));
    ledger.taken(&fires(0, START, "a"), START);
    assert!(!ledger.take(fires(2, START, "a")));
    assert_eq!(ledger.to_commit(), Some(3));
    let mut update = fires(3, START, "a");
    update.id.push_str(".2");
    assert!(ledger.take(update), "said again under its own number");
}

#[test]
fn an_old_firing_that_was_resolved_meanwhile_is_left_out() {
    let now = START + 2 * HOUR;
    // the target was away: it may know the alert, so it gets the end of it
    let said = || {
        [
            fires(0, START, "a"),
            ends(1, START + 9, "a"),
            fires(2, START, "b"),
            fires(3, now, "c"),
            ends(4, now, "c"),
        ]
    };
    let mut known = ledger(Some(0), &said());
    let mut new = ledger(None, &said());
    for one in said() {
        known.take(one);
    }
    for one in said() {
        new.take(one);
    }
    assert_eq!(known.leave_out_stale(now), 1);
    assert_eq!(offsets(&known, now), [1, 2, 3], "what still fires is told however old it is");
    assert_eq!(new.leave_out_stale(now), 2);
    assert_eq!(offsets(&new, now), [2, 3]);
    assert_eq!((known.leave_out_stale(now), new.leave_out_stale(now)), (0, 0));
}

#[test]
fn what_was_resolved_behind_the_last_record_read_counts() {
    let now = START + 2 * HOUR;
    let said = [fires(0, START, "a"), ends(1, START + 9, "a")];
    let mut ledger = ledger(Some(0), &said);
    // only the first has been fetched so far
    ledger.take(fires(0, START, "a"));
    assert_eq!(ledger.leave_out_stale(now), 1);
    assert!(offsets(&ledger, now).is_empty());
}

#[test]
fn a_new_target_commits_when_it_is_through_with_what_was_there() {
    let said = || [fires(0, START, "a"), fires(1, START, "b"), fires(2, START, "c")];
    let mut ledger = ledger(None, &said());
    for one in said() {
        ledger.take(one);
    }
    ledger.taken(&fires(0, START, "a"), START);
    assert_eq!(ledger.to_commit(), None);
    ledger.taken(&fires(1, START, "b"), START);
    ledger.taken(&fires(2, START, "c"), START);
    assert_eq!(ledger.to_commit(), Some(3));
}

#[test]
fn what_fires_is_told_again_and_a_resolution_for_a_while() {
    let said = [
        fires(0, START, "a"),
        fires(1, START, "b"),
        ends(2, START, "b"),
        fires(3, START, "c"),
        ends(4, START - HOUR, "d"),
    ];
    let mut ledger = ledger(Some(5), &said);
    let told = |ledger: &mut Ledger, now| {
        let mut told: Vec<_> =
            ledger.standing(now).iter().map(|a| (a.alert_id.clone(), a.status.as_str())).collect();
        told.sort();
        told.into_iter().map(|(id, status)| format!("{id} {status}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(told(&mut ledger, START + 1), "a firing, b resolved, c firing");
    ledger.take(ends(5, START, "a"));
    ledger.taken(&ends(5, START, "a"), START + 1);
    ledger.refused(&fires(6, START, "c"));
    assert_eq!(told(&mut ledger, START + 1), "a resolved, b resolved");
    assert_eq!(told(&mut ledger, START + RESOLVED_FOR_MS + 1), "");
}

#[test]
fn an_alert_that_alone_fails_is_to_blame_in_the_end() {
    let mut ledger = ledger(Some(0), &[]);
    ledger.take(fires(0, START, "a"));
    let mut taken = 0;
    for _ in 0..50 {
        assert!(!ledger.strike(0, taken), "nobody else is served either");
        ledger.put_off(0, 0);
    }
    for _ in 1..STRIKES {
        taken += 1;
        assert!(!ledger.strike(0, taken));
        ledger.put_off(0, 0);
    }
    assert!(ledger.strike(0, taken + 1));
}

proptest! {
    /// However deliveries fail, each alert's transitions are taken in order, once, and nothing is committed before it was.
    #[test]
    fn nothing_is_lost_and_nothing_overtakes(fails in prop::collection::vec(any::<bool>(), 0..200), alerts in 1_usize..6) {
        let mut ledger = ledger(Some(0), &[]);
        let names: Vec<String> = (0..alerts).map(|i| format!("a{i}")).collect();
        for (offset, name) in (0..).zip(&names) {
            ledger.take(fires(offset, START, name));
        }
        for (offset, name) in (alerts as i64..).zip(&names) {
            ledger.take(ends(offset, START, name));
        }
        let mut fails = fails.into_iter();
        let mut taken: Vec<i64> = Vec::new();
        while ledger.pending_len() > 0 {
            for (_, one) in ledger.due(START) {
                if fails.next().unwrap_or(false) {
                    ledger.put_off(one.offset, START);
                } else {
                    ledger.taken(&one, START);
                    taken.push(one.offset);
                }
            }
            let done = ledger.to_commit().unwrap_or(0);
            prop_assert!((0..done).all(|offset| taken.contains(&offset)));
        }
        for alert in 0..alerts as i64 {
            let at = |offset: i64| taken.iter().position(|one| *one == offset);
            prop_assert!(at(alert) < at(alert + alerts as i64));
        }
        taken.sort_unstable();
        prop_assert_eq!(taken, (0..2 * alerts as i64).collect::<Vec<_>>());
    }
}
