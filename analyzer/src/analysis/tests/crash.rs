//! A crash at every step: what was committed and what the successor says are together what one that never crashed says.

use std::collections::BTreeSet;

use super::*;

/// One of each kind that needs no model.
pub(super) const RULES: &str = "
rules:
  - {name: cpu, metric: cpu_percent, above: 90, clear_below: 80, for: 30s, keep: 20s}
  - {name: disk, metric: disk_percent, above: 95, labels: ['mountpoint!=/run']}
  - {name: forks, metric: forks_total, above: 500}
  - {name: gone, absent: server, for: 60s, severity: critical}
  - {name: climb, metric: cpu_percent, change_over: 2m, per: 1m, above: 15}
  - {name: growth, metric: 'forks_*', change_over: 1m, above: 300, for: 20s}
  - {name: share, metric: load, divided_by: disk_percent, above: 0.5, quiet: ['00:10-00:20']}
  - {name: lost, metric: extra, absent: series, for: 30s, keep: 20s}
  - {name: none, metric: extra, absent: metric, for: 1m}
";

/// A small generator of its own: the same log each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Two servers, four series each, with stretches in which some of them go wild, and lost windows.
pub(super) fn log(seed: u64, windows: i64) -> Vec<AggregateFrame> {
    let mut random = Random(seed);
    let mut log = Vec::new();
    let mut counter = 0.0;
    let mut wild = [0_i64; 2];
    for window in 0..windows {
        for (server, wild) in ["a", "b"].iter().zip(&mut wild) {
            // calm at first, so that the models learn what calm is
            if random.next() < if window < 320 { 0.0 } else { 0.03 } {
                *wild = window + 2 + (random.next() * 12.0) as i64;
            }
            let beyond = if window < *wild { 70.0 } else { 0.0 };
            let lost = random.next() < 0.02;
            counter += 1_000.0 + 100.0 * random.next() + 200.0 * beyond;
            let mut values = vec![
                cpu(20.0 + 5.0 * random.next() + beyond * (0.9 + 0.2 * random.next())),
                (Series::counter("forks_total", ""), counter),
                (
                    Series::gauge("disk_percent", "percent").with("mountpoint", "/"),
                    30.0 + random.next() + beyond,
                ),
                (Series::gauge("load", ""), random.next() + beyond),
            ];
            if window / 20 % 3 != 2 {
                values.push((Series::gauge("extra", ""), 1.0));
            }
            if !lost {
                log.push(frame(server, window, &values));
            }
        }
    }
    log
}

fn with_crash(log: &[AggregateFrame], every: usize, crash: usize, replay: usize) -> Vec<Output> {
    crash_under(RULES, log, every, crash, replay)
}

/// Runs with commits after every `every` records and a crash before record `crash`; the successor replays from `replay`
/// records before what is committed. Gives all that was committed.
pub(super) fn crash_under(
    text: &str,
    log: &[AggregateFrame],
    every: usize,
    crash: usize,
    replay: usize,
) -> Vec<Output> {
    let mut first = live(text);
    let committed = crash / every * every;
    let mut said = feed(&mut first, log[..committed].iter().cloned());
    // what is found after the last commit goes down with it
    feed(&mut first, log[committed..crash].iter().cloned());
    let mut successor = Analysis::new(rules(text));
    successor.recall(&topic(&said));
    let silent = feed(&mut successor, log[committed.saturating_sub(replay)..committed].iter().cloned());
    assert_eq!(silent, [], "a replay says nothing");
    successor.go_live(topic(&said));
    said.extend(feed(&mut successor, log[committed..].iter().cloned()));
    said
}

#[test]
fn a_crash_at_any_step_changes_nothing() {
    for seed in 1..4 {
        let log = log(seed, 440);
        let plain = with_crash(&log, 1, 0, 0);
        let kinds: BTreeSet<_> =
            alerts(&plain).iter().map(|alert| (alert.rule.clone(), alert.status.as_str())).collect();
        assert!(kinds.len() >= 16, "the log has to be eventful: {kinds:?}");
        for crash in (0..log.len()).step_by(if seed == 1 { 3 } else { 41 }) {
            let crashed = with_crash(&log, 1 + crash % 7, crash, usize::MAX);
            assert!(
                crashed == plain,
                "seed {seed}, crash before record {crash}: {} outputs, {} expected",
                crashed.len(),
                plain.len()
            );
        }
    }
}

/// A fifth of an hour more than what is held open takes, for two servers.
const SHORT: usize = 2 * (90 + 72);

/// With less replayed the models are younger, but what rules say is the same to the letter of its identity.
#[test]
fn a_short_replay_changes_no_rule_alert() {
    let identities = |outputs: &[Output]| -> Vec<_> {
        let by_rule = alerts(outputs).into_iter().filter(|alert| alert.rule != LEARNED);
        by_rule.map(|a| (a.alert_id.clone(), a.status, a.starts_at, a.ends_at, a.updated_at)).collect()
    };
    for seed in 1..4 {
        let log = log(seed, 440);
        let plain = identities(&with_crash(&log, 1, 0, 0));
        assert!(plain.len() > 10);
        for crash in (0..log.len()).step_by(9) {
            assert_eq!(
                identities(&with_crash(&log, 4, crash, SHORT)),
                plain,
                "seed {seed}, crash before record {crash}"
            );
        }
    }
}

#[test]
fn every_alert_fires_once_and_resolves_at_most_once() {
    for crash in [0, 100, 733, 800] {
        let said = with_crash(&log(9, 440), 5, crash, 120);
        let mut open = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for alert in alerts(&said) {
            if alert.status == AlertStatus::Firing {
                assert!(seen.insert(alert.alert_id.clone()), "fired twice: {}", alert.title);
                assert!(open.insert(alert.alert_id.clone()));
            } else {
                assert!(open.remove(&alert.alert_id), "resolved without firing: {}", alert.title);
                assert!(alert.ends_at.unwrap() >= alert.starts_at);
            }
        }
        assert!(seen.len() > 10);
    }
}

/// All that the successor replays lies between the two levels: only the alert topic knows that the alert is open.
#[test]
fn an_alert_that_the_replay_cannot_see_goes_on_and_resolves() {
    let frames = |windows: std::ops::Range<i64>, value| windows.map(move |w| frame("a", w, &[cpu(value)]));
    let said = feed(&mut live(RULES), frames(0..5, 95.0).chain(frames(5..40, 85.0)));
    let mut log = Said::default();
    add_all(&mut log, &alerts(&said));
    let mut successor = Analysis::new(rules(RULES));
    assert_eq!(feed(&mut successor, frames(20..40, 85.0)), []);
    successor.go_live(log);
    assert_eq!(alerts(&feed(&mut successor, frames(40..45, 85.0))), Vec::<&Alert>::new());
    let out = feed(&mut successor, frames(45..50, 70.0));
    let over = alerts(&out);
    assert_eq!((over.len(), over[0].status), (1, AlertStatus::Resolved));
    assert_eq!((&over[0].alert_id, over[0].ends_at), (&alerts(&said)[0].alert_id, Some(T0 + 45 * WINDOW)));
}

/// The same for the detector: too little is replayed for it to say anything, but what was said is ended.
#[test]
fn a_learned_alert_that_the_replay_cannot_see_resolves() {
    let log: Vec<_> = (0..420).map(|w| spiky(w, 350..354)).collect();
    let said = feed(&mut live(super::RULES), log[..352].iter().cloned());
    assert_eq!(alerts(&said).len(), 1);
    let mut open = Said::default();
    add_all(&mut open, &alerts(&said));
    let mut successor = Analysis::new(rules(super::RULES));
    feed(&mut successor, log[330..352].iter().cloned());
    successor.go_live(open);
    let out = feed(&mut successor, log[352..].iter().cloned());
    let over = alerts(&out);
    assert_eq!((over.len(), over[0].status), (1, AlertStatus::Resolved));
    assert_eq!(over[0].alert_id, alerts(&said)[0].alert_id);
}
