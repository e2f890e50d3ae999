//! More alerts at once than anybody can read: what waits, what does not, and that nothing is dropped without a word.

use super::{crash::crash_under, *};

const STORM: &str = "
rules:
  - {name: many, metric: 'm*', above: 90}
  - {name: worst, metric: c, above: 90, severity: critical}
";
/// Ten minutes after the alerts of the first window.
const ROOM: i64 = 60;

/// Thirty series of which `high` says which stick out, and one that is critical from window 5 on.
fn storm(server: &str, windows: i64, high: impl Fn(i64, i64) -> bool) -> Vec<AggregateFrame> {
    let level = |is_high: bool| if is_high { 99.0 } else { 1.0 };
    let series = |w: i64| -> Vec<_> {
        let many = (0..30).map(|k| (Series::gauge(format!("m{k:02}"), ""), level(high(w, k))));
        many.chain([(Series::gauge("c", ""), level(w >= 5))]).collect()
    };
    (0..windows).map(|w| frame(server, w, &series(w))).collect()
}

fn begun(outputs: &[Output], window: i64) -> Vec<&Alert> {
    let begins = |alert: &&Alert| {
        alert.status == AlertStatus::Firing && alert.updated_at == T0 + (window + 1) * WINDOW
    };
    alerts(outputs).into_iter().filter(begins).collect()
}

fn held_back(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::HeldBack)).count()
}

#[test]
fn what_is_too_much_at_once_is_said_when_there_is_room() {
    // five of those that have to wait are over before it is their turn
    let out = feed(&mut live(STORM), storm("a", 70, |w, k| w < 30 || k < 25));
    assert_eq!(begun(&out, 0).len(), 20);
    assert_eq!(held_back(&out), 10, "each is counted once");
    let critical = begun(&out, 5);
    assert_eq!((critical.len(), critical[0].rule.as_str()), (1, "worst"), "it does not wait");
    let late = begun(&out, ROOM);
    assert_eq!(late.len(), 5);
    assert_eq!(late[0].starts_at, T0, "it is the alert that it was");
    assert!(
        late[0].explanation.ends_with(
            "It was held back since 00:00:10 UTC: too many alerts began at once. 5 more alerts of this server had to wait and are over."
        ),
        "{}",
        late[0].explanation
    );
    assert!(late[1].explanation.ends_with("too many alerts began at once."), "{}", late[1].explanation);
    let over = alerts(&out).into_iter().filter(|alert| alert.status == AlertStatus::Resolved);
    assert_eq!(over.count(), 0, "of what was never said no end is said");
}

#[test]
fn a_storm_on_many_servers_is_capped_for_all_of_them() {
    let mut analysis = live(STORM);
    let mut out = Vec::new();
    for server in 0..12 {
        out.extend(feed(&mut analysis, storm(&format!("s{server:02}"), 1, |_, k| k < 18)));
    }
    assert_eq!(alerts(&out).len(), 200);
    assert_eq!(held_back(&out), 16);
}

#[test]
fn a_crash_in_a_storm_changes_nothing() {
    let log = storm("a", 90, |w, k| w < 30 || k < 25);
    let plain = feed(&mut live(STORM), log.clone());
    for crash in 0..log.len() {
        let crashed = crash_under(STORM, &log, 1 + crash % 3, crash, usize::MAX);
        assert!(crashed == plain, "crash before {crash}");
    }
}
