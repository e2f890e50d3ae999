//! One incident is one alert: what moved first, said again when more has moved, held open when it flaps.

use super::{
    crash::{crash_under, log},
    *,
};

const FLAP: &str = "rules: [{name: cpu, metric: cpu_percent, above: 90}]";

/// High in these windows.
fn flapping(high: &[i64], windows: i64) -> Vec<AggregateFrame> {
    let value = |w: i64| if high.contains(&w) { 99.0 } else { 10.0 };
    (0..windows).map(|w| frame("a", w, &[cpu(value(w))])).collect()
}

fn cpu_said(status: &'static str, start: i64, end: Option<i64>) -> (String, &'static str, i64, Option<i64>) {
    ("cpu".to_owned(), status, start, end)
}

#[test]
fn the_fourth_time_within_an_hour_it_is_held_open_and_says_so() {
    let out = feed(&mut live(FLAP), flapping(&[0, 6, 12, 18, 24, 30], 140));
    let expected: Vec<_> = [(0, 1), (6, 7), (12, 13), (18, 31)]
        .into_iter()
        .flat_map(|(start, end)| [cpu_said("firing", start, None), cpu_said("resolved", start, Some(end))])
        .collect();
    assert_eq!(brief(&out), expected);
    let said = alerts(&out);
    let words = |alert: &Alert| alert.explanation.replace('\u{202f}', " ");
    assert!(!words(said[4]).contains("came and went"), "{}", words(said[4]));
    assert!(
        words(said[6]).ends_with(
            "It came and went 3 times within the hour before, so it stays open until it has been over for 15 min."
        ),
        "{}",
        words(said[6])
    );
    assert_eq!(said[7].updated_at, T0 + 121 * WINDOW, "after a quarter of an hour, with its true end");
}

#[test]
fn what_comes_every_half_an_hour_does_not_flap() {
    let high: Vec<i64> = (0..8).map(|k| k * 200).collect();
    let out = feed(&mut live(FLAP), flapping(&high, 1_500));
    assert_eq!(alerts(&out).len(), 16);
    assert!(alerts(&out).iter().all(|alert| !alert.explanation.contains("came and went")));
}

#[test]
fn what_is_held_open_ends_at_once_when_its_rule_is_gone() {
    let mut analysis = live(FLAP);
    let mut out = feed(&mut analysis, flapping(&[0, 6, 12, 18], 25));
    analysis.set_rules(rules("rules: []"));
    out.extend(feed(&mut analysis, flapping(&[], 30).split_off(25)));
    assert_eq!(brief(&out).last(), Some(&cpu_said("resolved", 18, Some(19))));
}

#[test]
fn a_crash_while_it_flaps_changes_nothing() {
    let log = flapping(&[0, 6, 12, 18, 24, 30, 130, 135, 290], 400);
    let plain = feed(&mut live(FLAP), log.clone());
    for crash in (0..log.len()).step_by(3) {
        for replay in [100, usize::MAX] {
            let crashed = crash_under(FLAP, &log, 1 + crash % 5, crash, replay);
            assert_eq!(brief(&crashed), brief(&plain), "crash before {crash}, {replay} replayed");
        }
    }
}

/// When the first of nine series moves.
const BEGIN: i64 = 5_000;

/// Nine quiet series; one moves, three follow after two windows, five more after ten.
fn spreading(windows: i64, end: i64) -> Vec<AggregateFrame> {
    let noise = |w: i64, k: i64| ((w * 7_919 + k * 104_729) % 101) as f64 / 50.0;
    let moves = |k: i64| match k {
        0 => BEGIN,
        1..=3 => BEGIN + 2,
        _ => BEGIN + 10,
    };
    let value = |w: i64, k: i64| 20.0 + noise(w, k) + if (moves(k)..end).contains(&w) { 40.0 } else { 0.0 };
    let series =
        |w: i64| -> Vec<_> { (0..9).map(|k| (Series::gauge(format!("m{k}"), ""), value(w, k))).collect() };
    (0..windows).map(|w| frame("a", w, &series(w))).collect()
}

fn again(outputs: &[Output]) -> Vec<(&Alert, u32)> {
    let mut said = Vec::new();
    for output in outputs {
        if let Output::Again(alert, number) = output {
            said.push((&**alert, *number));
        }
    }
    said
}

#[test]
fn one_incident_is_one_alert_that_names_who_moved_first_and_is_said_again_when_more_follow() {
    let out = feed(&mut live(FLAP), spreading(BEGIN + 400, BEGIN + 36));
    let said = alerts(&out);
    assert_eq!(said.len(), 2, "{:?}", brief(&out));
    let first = said[0];
    assert_eq!((first.metric.as_deref(), first.related.len()), (Some("m0"), 3));
    let words = first.explanation.replace('\u{202f}', " ");
    assert!(words.contains(", since 13:53:20 UTC: the highest in 13 h. 20 s later: m"), "{words}");
    assert!(words.contains("4 of 9 series are outside"), "{words}");

    let again = again(&out);
    assert_eq!(again.len(), 1);
    let (update, number) = again[0];
    assert_eq!((number, &update.alert_id, update.status), (1, &first.alert_id, AlertStatus::Firing));
    assert_eq!(update.updated_at, first.updated_at + 300_000, "not before the pause is over");
    assert_eq!((update.metric.as_deref(), update.related.len()), (Some("m0"), 8));
    let words = update.explanation.replace('\u{202f}', " ");
    assert!(words.starts_with("By now 9 series have moved, 4 at 13:53:50 UTC. m0 "), "{words}");
    assert_eq!((said[1].status, &said[1].alert_id), (AlertStatus::Resolved, &first.alert_id));
}

#[test]
fn a_crash_at_any_window_of_an_incident_changes_nothing() {
    let log = spreading(BEGIN + 100, BEGIN + 36);
    let plain = feed(&mut live(FLAP), log.clone());
    assert_eq!(again(&plain).len(), 1);
    for crash in (BEGIN - 1..BEGIN + 60).step_by(6) {
        let crashed = crash_under(FLAP, &log, 1 + crash as usize % 4, crash as usize, usize::MAX);
        assert!(crashed == plain, "crash before {crash}");
    }
}

/// Two hours are replayed: how the incident began is not known any more.
#[test]
fn an_incident_older_than_the_replay_is_not_said_again_but_ends() {
    let log = spreading(BEGIN + 100, BEGIN + 36);
    let crashed = crash_under(FLAP, &log, 1, BEGIN as usize + 20, 15);
    assert_eq!(again(&crashed).len(), 0);
    let said: Vec<_> = brief(&crashed).into_iter().map(|(_, status, ..)| status).collect();
    assert_eq!(said, ["firing", "resolved"]);
}

#[test]
fn an_incident_like_an_earlier_one_says_so_also_after_a_restart() {
    let log: Vec<_> =
        (0..3_400).map(|w| spiky(w, if w < 3_200 { 3_000..3_003 } else { 3_300..3_303 })).collect();
    let plain = feed(&mut live(FLAP), log.clone());
    let said = alerts(&plain);
    assert_eq!(said.len(), 4, "{:?}", brief(&plain));
    assert!(!said[0].explanation.contains("resembles"), "{}", said[0].explanation);
    let words = said[2].explanation.replace('\u{202f}', " ");
    assert!(
        words.contains(
            "It resembles the incident of 23 Nov 08:20 UTC (4 of 4 metrics are the same), which lasted "
        ),
        "{words}"
    );
    for crash in [3_100, 3_290, 3_304] {
        assert!(crash_under(FLAP, &log, 3, crash, usize::MAX) == plain, "crash before {crash}");
    }
}

/// On a log in which everything happens at once.
#[test]
fn what_is_said_again_is_numbered_and_lies_between_beginning_and_end() {
    for seed in 1..4 {
        let out = feed(&mut live(super::crash::RULES), log(seed, 440));
        let mut open: BTreeMap<&str, (u32, i64)> = BTreeMap::new();
        for output in &out {
            match output {
                Output::Alert(alert) if alert.status == AlertStatus::Firing => {
                    assert!(open.insert(&alert.alert_id, (0, alert.updated_at)).is_none());
                }
                Output::Alert(alert) => assert!(open.remove(alert.alert_id.as_str()).is_some()),
                Output::Again(alert, number) => {
                    let (last, at) = open.get_mut(alert.alert_id.as_str()).unwrap();
                    assert_eq!((*number, alert.updated_at - *at >= 300_000), (*last + 1, true));
                    (*last, *at) = (*number, alert.updated_at);
                }
                Output::Anomaly(_) | Output::Expectation(_) | Output::HeldBack => {}
            }
        }
    }
}

#[test]
fn a_rule_says_what_is_an_extreme_in_the_series_own_past() {
    let rules = "rules: [{name: cpu, metric: cpu_percent, above: 90, for: 1m}]";
    let value = |w: i64| match w {
        500..510 => 95.0,
        520..530 => 93.0,
        _ => 10.0 + (w % 7) as f64,
    };
    let out = feed(&mut live(rules), (0..540).map(|w| frame("a", w, &[cpu(value(w))])));
    let said: Vec<_> = alerts(&out).into_iter().filter(|alert| alert.rule == "cpu").collect();
    let words = |alert: &Alert| alert.explanation.replace('\u{202f}', " ");
    // the minute it waited is not held against it
    assert!(words(said[0]).ends_with("It is the highest in 1 h."), "{}", words(said[0]));
    assert_eq!(said[2].starts_at, T0 + 520 * WINDOW);
    assert!(!words(said[2]).contains("highest"), "it was higher ten minutes ago: {}", words(said[2]));
}
