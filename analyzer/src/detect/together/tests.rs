//! The port against the reference (`tests/fixtures/make.py`).

use super::*;

const REFERENCE: &str = include_str!("../../../tests/fixtures/together.csv");

#[test]
fn scores_equal_those_of_the_reference() {
    let mut together = Together::of_a_known_server(10.0);
    let (mut spoken, mut hushed) = (0, 0);
    for line in REFERENCE.lines().skip(1) {
        let row: Vec<f64> = line.split(',').map(|field| field.parse().unwrap()).collect();
        let [sizes @ .., score, first] = &row[..] else { panic!("{line}") };
        let mut surprise = Surprise::default();
        sizes.iter().enumerate().for_each(|(series, &size)| surprise.add(series, size));
        let verdict = together.step(&surprise);
        assert!((verdict.score - score).abs() <= 1e-9 * score.abs(), "{line}: {verdict:?}");
        assert_eq!(surprise.first(), *first as usize, "{line}");
        spoken += i32::from(verdict.score >= 1.0);
        hushed += i32::from(verdict.raw >= 1.0 && verdict.score < 1.0);
    }
    assert!(spoken >= 2 && hushed >= 2, "{spoken} spoken, {hushed} hushed");
}

#[test]
fn nothing_is_said_while_warming_up() {
    let mut together = Together::new(10.0);
    let mut loudest = Surprise::default();
    (0..MOST).for_each(|series| loudest.add(series, 1e6));
    for _ in 0..QUIET_START {
        assert_eq!(together.step(&Surprise::default()), Verdict { score: 0.0, raw: 0.0 });
    }
    assert!(together.step(&loudest).score > 1.0);
}

#[test]
fn the_bar_of_a_new_server_comes_down_within_a_day() {
    let (mut new, mut known) = (Together::new(300.0), Together::of_a_known_server(300.0));
    let mut some = Surprise::default();
    (0..MOST).for_each(|series| some.add(series, 9.0));
    let mut higher = Vec::new();
    for row in 1..=400 {
        let odd = if row % 100 == 0 { some } else { Surprise::default() };
        let (new, known) = (new.step(&odd).raw, known.step(&odd).raw);
        if known > 0.0 {
            higher.push(known / new);
        }
    }
    // the 300 rows before are only learned from, and a day has 288
    assert_eq!(higher, [1.0]);
    let mut minutes = Together::new(60.0);
    for _ in 0..720 {
        minutes.step(&Surprise::default());
    }
    assert!((minutes.bar() / minutes.bar - 1.5).abs() < 1e-12, "half a day");
}

#[test]
fn a_series_with_a_higher_bar_has_a_smaller_share() {
    let sum = |times: f64| {
        let mut surprise = Surprise::default();
        surprise.add(0, 3.0);
        surprise.add_against(1, 12.0, times);
        (surprise.sum(), surprise.first())
    };
    let (own, other) = ((12.0 / FROM).ln(), (3.0 / FROM).ln());
    assert_eq!(sum(1.0), (own + other, 1));
    assert_eq!(sum(2.0), (own / 2.0 + other, 1));
    assert_eq!(sum(4.0), (other + own / 4.0, 0), "another one is more surprised");
}
