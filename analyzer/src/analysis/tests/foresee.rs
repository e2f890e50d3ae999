//! Forecasts through the core: said once with a range, silent while a log is replayed, the same when computed again.

use super::*;

const FORESEE: &str = "
rules:
  - {name: forecast_disk, metric: tidewatch_host_filesystem_used_percent, above: 100, within: 24h, for: 15m, keep: 15m}
";
const HOUR: i64 = 360;
/// It begins to fill up, and somebody tidies up.
const BEGINS: i64 = 2 * HOUR;
const TIDIED: i64 = 8 * HOUR;

/// 50 % of /var are used, then 3 % more each hour, then 30 %.
fn filling(window: i64) -> AggregateFrame {
    let grown = (window - BEGINS).max(0) as f64 * 3.0 / HOUR as f64;
    let used = if window < TIDIED { 50.0 + grown } else { 30.0 };
    let noise = ((window * 7_919) % 101) as f64 / 5_000.0;
    let var = Series::gauge("tidewatch_host_filesystem_used_percent", "percent").with("mountpoint", "/var");
    frame("a", window, &[(var, used + noise)])
}

/// All that is said, by the detector too.
fn run(analysis: &mut Analysis, windows: std::ops::Range<i64>) -> Vec<Alert> {
    alerts(&feed(analysis, windows.map(filling))).into_iter().cloned().collect()
}

fn forecasts(said: &[Alert]) -> Vec<&Alert> {
    said.iter().filter(|alert| alert.rule == "forecast_disk").collect()
}

#[test]
fn a_disk_that_fills_up_is_foretold_and_over_when_it_was_tidied_up() {
    let said = run(&mut live(FORESEE), 0..10 * HOUR);
    let said = forecasts(&said);
    assert_eq!(said.len(), 2, "{said:?}");
    let (first, last) = (said[0], said[1]);
    assert_eq!((first.status, last.status), (AlertStatus::Firing, AlertStatus::Resolved));
    assert_eq!(first.alert_id, last.alert_id);
    let title = first.title.replace('\u{202f}', " ");
    assert!(title.starts_with("Disk /var full in 1") && title.ends_with(" on a"), "{title}");
    assert!(title.contains(", between ") && title.contains(" h and "), "{title}");
    let explanation = first.explanation.replace('\u{202f}', " ");
    assert!(explanation.contains("rising by 3 % an hour"), "{explanation}");
    let window = |time: i64| (time - T0) / WINDOW;
    let fired = window(first.updated_at);
    assert!((BEGINS + HOUR..BEGINS + 5 * HOUR).contains(&fired), "{fired}");
    assert_eq!(first.updated_at - first.starts_at, 15 * 60_000);
    let over = window(last.updated_at);
    assert!((TIDIED + 90..TIDIED + 150).contains(&over), "{over}");
    assert_eq!(last.title, "Disk /var no longer foreseen to be full on a");
}

/// All is replayed: whoever computes it says the same.
#[test]
fn a_crash_changes_no_forecast() {
    let plain = run(&mut live(FORESEE), 0..10 * HOUR);
    for crash in (0..10 * HOUR).step_by(397) {
        let mut said = run(&mut live(FORESEE), 0..crash);
        let mut log = Said::default();
        add_all(&mut log, &said.iter().collect::<Vec<_>>());
        let mut successor = Analysis::new(rules(FORESEE));
        assert!(run(&mut successor, 0..crash).is_empty(), "a replay says nothing");
        successor.go_live(log);
        said.extend(run(&mut successor, crash..10 * HOUR));
        assert_eq!(said, plain, "crash before {crash}");
    }
}

/// Two hours are replayed: what was said goes on, is not said again, and ends once.
#[test]
fn a_younger_trend_neither_repeats_nor_forgets_what_was_said() {
    let said = run(&mut live(FORESEE), 0..7 * HOUR);
    let said = forecasts(&said);
    assert_eq!(said.len(), 1);
    for replayed in [0, HOUR / 10, 2 * HOUR] {
        let mut log = Said::default();
        log.add(said[0].clone());
        let mut successor = Analysis::new(rules(FORESEE));
        run(&mut successor, 7 * HOUR - replayed..7 * HOUR);
        successor.go_live(log);
        let more = run(&mut successor, 7 * HOUR..TIDIED);
        assert!(forecasts(&more).is_empty(), "{replayed}: {more:?}");
        let over = run(&mut successor, TIDIED..TIDIED + 2 * HOUR);
        let over = forecasts(&over);
        assert_eq!(over.len(), 1, "{replayed}: {over:?}");
        assert_eq!((over[0].status, &over[0].alert_id), (AlertStatus::Resolved, &said[0].alert_id));
    }
}

/// What a replay finds and nobody said has to hold anew before it is said.
#[test]
fn what_only_a_replay_foretells_has_to_hold_anew() {
    let mut successor = Analysis::new(rules(FORESEE));
    run(&mut successor, 0..7 * HOUR);
    successor.go_live(Said::default());
    let said = run(&mut successor, 7 * HOUR..TIDIED);
    let said = forecasts(&said);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].starts_at - T0) / WINDOW, 7 * HOUR);
}

#[test]
fn a_forecast_on_what_is_not_reported_any_more_ends() {
    let mut analysis = live(FORESEE);
    let said = run(&mut analysis, 0..7 * HOUR);
    let out = feed(&mut analysis, (7 * HOUR..7 * HOUR + 60).map(|w| frame("a", w, &[cpu(1.0)])));
    let over: Vec<Alert> = alerts(&out).into_iter().cloned().collect();
    let over = forecasts(&over);
    assert_eq!((over.len(), &over[0].alert_id), (1, &forecasts(&said)[0].alert_id));
    assert!(over[0].title.starts_with("No longer reported"), "{}", over[0].title);
}

#[test]
fn other_rules_beside_it_change_no_forecast() {
    let plain = run(&mut live(FORESEE), 0..10 * HOUR);
    let other = FORESEE.replace("rules:\n", "rules:\n  - {name: first, metric: nothing, above: 1}\n");
    for cut in [3 * HOUR, 7 * HOUR] {
        let mut analysis = live(FORESEE);
        let mut said = run(&mut analysis, 0..cut);
        analysis.set_rules(rules(&other));
        said.extend(run(&mut analysis, cut..10 * HOUR));
        assert_eq!(said, plain, "changed before {cut}");
    }
}

#[test]
fn in_a_time_of_quiet_nothing_is_foretold() {
    let quiet = FORESEE.replace("keep: 15m", "keep: 15m, quiet: ['00:00-07:00']");
    let said = run(&mut live(&quiet), 0..TIDIED);
    let said = forecasts(&said);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        ((said[0].starts_at - T0) / WINDOW, said[0].updated_at - said[0].starts_at),
        (7 * HOUR, 900_000)
    );
}

/// File handles that nobody closes: the share of all that there may be is what goes somewhere.
#[test]
fn a_ratio_is_foretold_as_any_other_value() {
    const SHARE: &str = "
rules:
  - {name: share, metric: node_filefd_allocated, divided_by: node_filefd_maximum, above: 1, within: 12h, for: 10m}
";
    let used = |window: i64| (Series::gauge("node_filefd_allocated", ""), 10_000.0 + 10.0 * window as f64);
    let most = || (Series::gauge("node_filefd_maximum", ""), 20_000.0);
    let mut analysis = live(SHARE);
    let out = feed(&mut analysis, (0..HOUR).map(|w| frame("a", w, &[used(w), most()])));
    let said: Vec<Alert> = alerts(&out).into_iter().filter(|alert| alert.rule == "share").cloned().collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].title.starts_with("File handles used up in "), "{}", said[0].title);
    assert!(said[0].value.is_some_and(|value| (0.5..0.7).contains(&value)), "{said:?}");
    // of what nothing can be said any more nothing is foretold
    let out = feed(&mut analysis, (HOUR..HOUR + 60).map(|w| frame("a", w, &[used(w)])));
    let over: Vec<_> = alerts(&out).into_iter().filter(|alert| alert.rule == "share").collect();
    assert_eq!((over.len(), &over[0].alert_id), (1, &said[0].alert_id));
    assert!(over[0].title.starts_with("No longer reported"), "{}", over[0].title);
}
