//! The port against the reference (`tests/fixtures/make.py`), and what must hold of any series.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const REFERENCE: &str = include_str!("../../../tests/fixtures/loud.csv");

fn close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-12)
}

#[test]
fn scores_equal_those_of_the_reference() {
    let mut states: BTreeMap<&str, Loud> = BTreeMap::new();
    let (mut compared, mut odd) = (0, 0);
    for line in REFERENCE.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, seconds, value, size, score] = fields[..] else { panic!("{line}") };
        let state = states.entry(name).or_default();
        let judged = state.step(seconds.parse().unwrap(), value.parse().unwrap_or(f64::NAN));
        if size.is_empty() {
            continue;
        }
        let judged = judged.unwrap();
        let (size, score): (f64, f64) = (size.parse().unwrap(), score.parse().unwrap());
        assert!(close(judged.size, size) && close(judged.score, score), "{line}: {judged:?}");
        compared += 1;
        odd += i32::from(score >= 1.0);
    }
    assert!(compared > 1_000 && odd >= 8, "{compared} compared, {odd} of them odd");
    assert_eq!(states.len(), 10);
}

#[test]
fn a_value_is_odd_exactly_outside_its_band() {
    let mut loud = Loud::default();
    for t in 0..400_u32 {
        let wave = f64::from(t % 7) + if t == 300 { 40.0 } else { 0.0 } - if t == 350 { 40.0 } else { 0.0 };
        let judged = loud.step(f64::from(t) * 10.0, 50.0 + wave).unwrap();
        let outside = 50.0 + wave < judged.low || 50.0 + wave > judged.high;
        assert_eq!(judged.score > 1.0, outside && t >= WARMUP, "{t}: {judged:?}");
        assert_eq!(judged.score > 1.0, t == 300 || t == 350, "{t}: {judged:?}");
    }
}

#[test]
fn against_a_higher_bar_the_band_is_wider_and_the_score_lower_by_as_much() {
    let mut loud = Loud::default();
    for t in 0..400_u32 {
        let told = loud.band_against(f64::from(t) * 10.0, 1.5);
        let judged = loud.step(f64::from(t) * 10.0, 50.0 + f64::from(t % 7)).unwrap();
        let raised = judged.against(1.5);
        assert_eq!((raised.size, raised.expected), (judged.size, judged.expected));
        assert!(close(raised.score * 1.5, judged.score), "{t}");
        assert!(close(raised.high - raised.expected, 1.5 * (judged.high - judged.expected)), "{t}");
        assert!(raised.low >= 0.0 && raised.low <= judged.low, "{t}: it never was below zero");
        if let Some(told) = told {
            assert!(close(told.high, raised.high) && close(told.low, raised.low), "{t}: as it is told ahead");
        }
    }
}

#[test]
fn nothing_below_zero_is_expected_of_a_series_that_never_was() {
    let run = |sign: f64| {
        let mut loud = Loud::default();
        (0..200).for_each(|t| {
            loud.step(f64::from(t), if t % 9 == 0 { 3.0 * sign } else { 0.5 });
        });
        loud.band(200.0).unwrap().low
    };
    assert_eq!(run(1.0), 0.0);
    assert!(run(-1.0) < 0.0);
}

#[test]
fn what_is_not_a_number_changes_nothing() {
    let values: Vec<f64> = (0..300).map(|t| f64::from(t % 11)).collect();
    let (mut with, mut without) = (Loud::default(), Loud::default());
    for (t, &value) in values.iter().enumerate() {
        assert_eq!(with.step(t as f64, f64::NAN), None);
        assert_eq!(with.step(t as f64, f64::INFINITY), None);
        assert_eq!(with.step(t as f64, value), without.step(t as f64, value));
    }
}

#[test]
fn a_series_takes_little_more_than_half_a_kilobyte() {
    assert!(size_of::<Loud>() <= 560, "{}", size_of::<Loud>());
}

proptest! {
    #[test]
    fn the_quantile_starts_as_if_all_errors_were_kept(
        errors in proptest::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0..9.0_f64], FIRST),
    ) {
        let mut loud = Loud::default();
        for (t, &error) in errors.iter().enumerate() {
            loud.learn_quantile(error);
            loud.learn_bar(error);
            loud.t += 1;
            if t % 8 == 7 {
                let mut sorted = errors[..=t].to_vec();
                sorted.sort_unstable_by(f64::total_cmp);
                prop_assert_eq!(loud.q, sorted[(USUAL * (t + 1) as f64) as usize]);
            }
        }
    }

    /// Scale and unit of a series do not matter: powers of two keep every bit.
    #[test]
    fn a_scaled_series_scores_the_same(values in proptest::collection::vec(-100.0..100.0_f64, 160..220), power in -20..20_i32) {
        let scale = 2.0_f64.powi(power);
        let (mut plain, mut scaled) = (Loud::default(), Loud::default());
        for (t, &value) in values.iter().enumerate() {
            let (a, b) = (plain.step(t as f64, value).unwrap(), scaled.step(t as f64, value * scale).unwrap());
            prop_assert!((a.score - b.score).abs() <= 1e-6 * a.score.abs(), "{} {}", a.score, b.score);
            prop_assert!(a.score.is_finite() && a.low <= a.high && a.size >= 0.0);
        }
    }
}
