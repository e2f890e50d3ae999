//! Silence: who is accused, and who is not because we could not see.

use super::*;

/// Eleven windows of two servers; both are then silent unless told otherwise. The clock begins at their end.
fn two_servers() -> (Analysis, i64) {
    let mut analysis = live(RULES);
    let mut out = Vec::new();
    let begin = T0 + 11 * WINDOW;
    for window in 0..=10 {
        analysis.step(&frame("a", window, &[cpu(1.0)]), T0 + (window + 1) * WINDOW, &mut out);
        analysis.step(&frame("b", window, &[cpu(1.0)]), T0 + (window + 1) * WINDOW, &mut out);
        analysis.tick(T0 + (window + 1) * WINDOW, Sight::Clear, None, &mut out);
    }
    assert_eq!(alerts(&out), Vec::<&Alert>::new());
    (analysis, begin)
}

/// Ticks every second of the range; `b` speaks all the time.
fn ticks(analysis: &mut Analysis, begin: i64, seconds: std::ops::Range<i64>, sight: Sight) -> Vec<Output> {
    let mut out = Vec::new();
    for second in seconds {
        if second % 10 == 0 {
            analysis.step(&frame("b", 10 + second / 10, &[cpu(1.0)]), begin + second * 1_000, &mut out);
        }
        analysis.tick(begin + second * 1_000, sight, None, &mut out);
    }
    out
}

#[test]
fn a_silent_server_is_said_once_and_heard_once() {
    let (mut analysis, begin) = two_servers();
    let out = ticks(&mut analysis, begin, 0..300, Sight::Clear);
    let said = alerts(&out);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].server.as_str(), said[0].starts_at, said[0].rule.as_str()), ("a", begin, "gone"));
    assert_eq!(said[0].updated_at, begin + 60_000);
    let mut out = Vec::new();
    analysis.step(&frame("a", 45, &[cpu(1.0)]), T0 + 46 * WINDOW, &mut out);
    let heard = alerts(&out)[0];
    assert_eq!(
        (heard.status, heard.ends_at, &heard.alert_id),
        (AlertStatus::Resolved, Some(T0 + 45 * WINDOW), &said[0].alert_id)
    );
}

#[test]
fn nobody_is_accused_of_a_time_in_which_we_saw_nothing() {
    let (mut analysis, begin) = two_servers();
    assert_eq!(ticks(&mut analysis, begin, 0..200, Sight::Blind), []);
    // it counts from when we see again
    assert_eq!(alerts(&ticks(&mut analysis, begin, 200..260, Sight::Clear)), Vec::<&Alert>::new());
    let out = ticks(&mut analysis, begin, 260..262, Sight::Clear);
    let said = alerts(&out);
    assert_eq!((said.len(), said[0].starts_at), (1, begin), "but it began when its last window ended");
}

#[test]
fn nobody_is_accused_while_there_is_more_to_read() {
    let (mut analysis, begin) = two_servers();
    assert!(!analysis.is_silence_due(begin + 59_000));
    assert_eq!(alerts(&ticks(&mut analysis, begin, 0..100, Sight::Behind)), Vec::<&Alert>::new());
    assert!(analysis.is_silence_due(begin + 100_000));
    assert_eq!(alerts(&ticks(&mut analysis, begin, 100..101, Sight::Clear)).len(), 1);
    assert!(!analysis.is_silence_due(begin + 101_000), "said already");
}

#[test]
fn nobody_is_accused_of_our_own_sleep() {
    let (mut analysis, begin) = two_servers();
    let mut out = Vec::new();
    analysis.tick(begin, Sight::Clear, None, &mut out);
    let hour = begin + 3_600_000;
    (0..59).for_each(|second| analysis.tick(hour + second * 1_000, Sight::Clear, None, &mut out));
    assert_eq!(out, []);
}

#[test]
fn windows_of_long_ago_that_only_now_arrive_are_no_silence() {
    let mut analysis = live(RULES);
    let mut out = Vec::new();
    let (behind, mut window) = (3_600_000, 0);
    for second in 0..400 {
        if second % 10 == 0 {
            analysis.step(&frame("a", window, &[cpu(1.0)]), T0 + behind + second * 1_000, &mut out);
            window += 1;
        }
        analysis.tick(T0 + behind + second * 1_000, Sight::Clear, None, &mut out);
    }
    assert_eq!(alerts(&out), Vec::<&Alert>::new());
    (400..600).for_each(|second| analysis.tick(T0 + behind + second * 1_000, Sight::Clear, None, &mut out));
    let said = alerts(&out);
    assert_eq!(
        (said.len(), said[0].starts_at, said[0].updated_at),
        (1, T0 + 40 * WINDOW, T0 + behind + 430_000)
    );
}

#[test]
fn a_restart_keeps_what_was_said_and_does_not_say_it_again() {
    let (mut analysis, begin) = two_servers();
    let out = ticks(&mut analysis, begin, 0..70, Sight::Clear);
    let mut log = Said::default();
    add_all(&mut log, &alerts(&out));
    // the successor was given too little to know the server itself
    let mut successor = Analysis::new(rules(RULES));
    successor.go_live(log);
    assert_eq!(successor.sizes().open_alerts, 1);
    let again = ticks(&mut successor, begin, 70..300, Sight::Clear);
    assert_eq!(alerts(&again), Vec::<&Alert>::new());
    let mut heard = Vec::new();
    successor.step(&frame("a", 60, &[cpu(1.0)]), T0 + 61 * WINDOW, &mut heard);
    assert_eq!(alerts(&heard)[0].alert_id, alerts(&out)[0].alert_id);
    assert_eq!(successor.sizes().open_alerts, 0);
}

/// A successor that replayed windows 0 to 10 of both servers.
fn successor() -> Analysis {
    let mut successor = Analysis::new(rules(RULES));
    let mut out = Vec::new();
    for window in 0..=10 {
        for server in ["a", "b"] {
            successor.step(&frame(server, window, &[cpu(1.0)]), T0 + (window + 1) * WINDOW, &mut out);
        }
    }
    successor.go_live(Said::default());
    successor
}

#[test]
fn a_restart_forgets_no_silence_while_others_were_heard() {
    let begin = T0 + 11 * WINDOW;
    let mut out = Vec::new();
    // others of this or another partition kept coming all the time: `a` is silent, not we blind
    let mut flowing = successor();
    flowing.tick(begin + 59_000, Sight::Clear, Some(T0), &mut out);
    assert_eq!(out, []);
    flowing.tick(begin + 60_000, Sight::Clear, Some(T0), &mut out);
    assert_eq!(alerts(&out).len(), 2);
    // everything was down: it counts from when records flow again, or from now
    for flow_since in [None, Some(begin + 300_000)] {
        let mut fresh = successor();
        let mut out = Vec::new();
        (301..355).for_each(|second| fresh.tick(begin + second * 1_000, Sight::Clear, flow_since, &mut out));
        assert_eq!(out, [], "{flow_since:?}");
    }
}

#[test]
fn a_server_long_silent_is_forgotten_unless_something_is_open() {
    let rules = "rules: []";
    let mut analysis = live(rules);
    let mut out = Vec::new();
    analysis.step(&frame("a", 0, &[cpu(1.0)]), T0 + WINDOW, &mut out);
    analysis.tick(T0 + 3_600_000, Sight::Clear, None, &mut out);
    assert_eq!(analysis.sizes().servers, 1);
    analysis.tick(T0 + 25 * 3_600_000, Sight::Clear, None, &mut out);
    assert_eq!(analysis.sizes().servers, 0);
}
