//! The port against the reference (`tests/fixtures/make.py`), and what must hold of any series.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const REFERENCE: &str = include_str!("../../../tests/fixtures/novelty.csv");

#[test]
fn rarities_and_scores_equal_those_of_the_reference() {
    let mut states: BTreeMap<&str, Solo> = BTreeMap::new();
    let (mut compared, mut rare, mut alerts) = (0, 0, 0);
    for line in REFERENCE.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [name, seconds, value, decades, score] = fields[..] else { panic!("{line}") };
        let state = states.entry(name).or_default();
        let (ours, rarity) = state.step(seconds.parse().unwrap(), value.parse().unwrap()).unwrap();
        if decades.is_empty() {
            continue;
        }
        let (decades, score): (f64, f64) = (decades.parse().unwrap(), score.parse().unwrap());
        // single precision of what is kept: 7 digits of a distance, 5 of how rare it is
        assert!((rarity.sum() - decades).abs() <= 1e-4, "{line}: {rarity:?}");
        assert!((ours - score).abs() <= 1e-4, "{line}: {ours}");
        compared += 1;
        rare += i32::from(decades > 0.0);
        alerts += i32::from(score >= 1.0);
    }
    assert!(
        compared > 500 && rare > 300 && alerts >= 10,
        "{compared} compared, {rare} rare, {alerts} alerts"
    );
    assert_eq!(states.len(), 5);
}

/// A wave with a little noise that is the same each time.
fn wave(t: u32) -> f64 {
    10.0 * (f64::from(t) * std::f64::consts::TAU / 24.0).sin() + f64::from(t * 7 % 11) / 20.0
}

/// Numbers from 0 to 20 in no order.
fn rough(t: u32) -> f64 {
    f64::from(t.wrapping_mul(2_654_435_761) >> 22) / 50.0
}

fn run(values: impl IntoIterator<Item = f64>) -> (Novelty, Vec<Rarity>) {
    let mut novelty = Novelty::default();
    let said = (0_u32..).zip(values).filter_map(|(t, value)| novelty.step(f64::from(t) * 300.0, value));
    let said = said.collect();
    (novelty, said)
}

#[test]
fn each_kind_hears_what_it_is_for() {
    let (_, said) = run((0..1_200).map(|t| wave(t) + if t == 1_000 { 90.0 } else { 0.0 }));
    assert!(said[1_000].decades[0] > 2.0, "far: {:?}", said[1_000]);
    let (_, said) = run((0..1_200).map(|t| if t < 1_000 { rough(t) } else { 10.0 }));
    let flat = said[1_000..].iter().map(|rarity| rarity.decades[3]).fold(0.0, f64::max);
    assert!(flat > 2.0, "flat: {flat}");
    let (_, said) = run((0..1_200).map(|t| if (1_000..1_006).contains(&t) { -wave(t) } else { wave(t) }));
    let shape = said[1_000..1_012].iter().map(|rarity| rarity.decades[4]).fold(0.0, f64::max);
    assert!(shape > 2.0, "shape: {shape}");
    assert_eq!(said[1_003].most().is_some(), said[1_003].sum() > 0.0);
}

#[test]
fn nothing_is_said_while_warming_up() {
    let (novelty, said) = run((0..WARMUP).map(|t| if t % 40 == 39 { 1e6 } else { wave(t) }));
    assert!(novelty.is_warm() && said.iter().all(|rarity| *rarity == Rarity::default()));
}

#[test]
fn a_constant_is_never_rare() {
    for constant in [0.0, 0.1, -7.0, 1e15, f64::MAX, f64::MIN_POSITIVE] {
        let (_, said) = run(std::iter::repeat_n(constant, 2_000));
        assert!(said.iter().all(|rarity| rarity.sum() == 0.0), "{constant}");
    }
}

#[test]
fn what_is_not_a_number_changes_nothing() {
    let (mut with, mut without) = (Novelty::default(), Novelty::default());
    for t in 0..400 {
        let seconds = f64::from(t) * 300.0;
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(with.step(seconds, bad), None);
        }
        assert_eq!(with.step(seconds, wave(t)), without.step(seconds, wave(t)));
    }
}

#[test]
fn one_value_a_day_and_a_clock_that_steps_back_are_borne() {
    let mut novelty = Novelty::default();
    for t in 0..800 {
        let seconds = if t % 100 == 99 { -1e9 } else { f64::from(t) * 86_400.0 };
        let rarity = novelty.step(seconds, wave(t)).unwrap();
        assert!(rarity.sum().is_finite());
    }
}

#[test]
fn a_series_takes_less_than_four_kilobytes() {
    assert!(size_of::<Novelty>() <= 3_300, "{}", size_of::<Novelty>());
    assert!(size_of::<Solo>() <= 4_000, "{}", size_of::<Solo>());
}

proptest! {
    /// Whatever comes: finite, not below nothing, at most eight decades a kind, and the same again.
    #[test]
    fn any_series_gets_sane_rarities(
        values in proptest::collection::vec(
            prop_oneof![8 => -10.0..10.0_f64, 1 => any::<f64>(), 1 => Just(0.0)], 150..400
        ),
    ) {
        let (_, said) = run(values.iter().copied());
        for rarity in &said {
            prop_assert!(rarity.decades.iter().all(|decades| (0.0..=8.0).contains(decades)), "{rarity:?}");
        }
        prop_assert_eq!(said, run(values).1);
    }

    /// A score depends on nothing that comes later.
    #[test]
    fn nothing_looks_ahead(values in proptest::collection::vec(-10.0..10.0_f64, 200..300), cut in 0..200_usize) {
        let (_, whole) = run(values.iter().copied());
        let (_, part) = run(values[..cut].iter().copied());
        prop_assert_eq!(&whole[..cut], &part[..]);
    }
}

#[test]
fn a_weekend_is_not_off_for_the_hour_of_the_day_once_there_was_one() {
    const A_DAY: i64 = 288;
    let mut novelty = Novelty::default();
    // a Thursday was the first day of 1970
    let is_weekend = |point: i64| matches!(point / A_DAY % 7, 2 | 3);
    let off_hour = |novelty: &Novelty, point: i64, by_week| {
        let mut next = novelty.clone();
        next.residuals(point as f64 * 300.0, 40.0, by_week)[Kind::OffHour as usize]
    };
    for week in 0..2 {
        let saturday = (7 * week + 2) * A_DAY + A_DAY / 2;
        for point in 7 * week * A_DAY..saturday {
            novelty.step(point as f64 * 300.0, if is_weekend(point) { 40.0 } else { 0.0 });
        }
        let (by_day, by_either) = (off_hour(&novelty, saturday, false), off_hour(&novelty, saturday, true));
        assert!(by_day > 10.0, "{week}: {by_day}");
        assert!(if week == 0 { by_either == by_day } else { by_either < 1.0 }, "{week}: {by_either}");
        for point in saturday..7 * (week + 1) * A_DAY {
            novelty.step(point as f64 * 300.0, if is_weekend(point) { 40.0 } else { 0.0 });
        }
    }
}
