//! Laws of ticks, and the cases of the pages.

use proptest::prelude::*;

use super::*;

/// 1, 2 or 5 times a power of ten.
fn is_nice(step: f64) -> bool {
    let digit = step / 10_f64.powf((step * 1.000_001).log10().floor());
    [1.0, 2.0, 5.0].iter().any(|nice| (digit - nice).abs() < 1e-6)
}

proptest! {
    #[test]
    fn ticks_of_value_are_nice_cover_the_scale_and_are_few(
        low in -1e5_f64..0.0, span in 1e-2_f64..1e9, height in 20.0_f64..2_000.0, below in any::<bool>()
    ) {
        let low = if below { low } else { 0.0 };
        let scale = Scale { low, high: low + span, is_log: false };
        let ticks = scale.ticks(1.0, height);
        let most = most_ticks(height);
        prop_assert!(!ticks.is_empty() && ticks.len() <= most, "{:?}", ticks);
        let slack = span * 1e-6;
        prop_assert!(ticks.iter().all(|t| *t >= scale.low - slack && *t <= scale.high + slack));
        let Some(step) = ticks.windows(2).map(|pair| pair[1] - pair[0]).reduce(f64::min) else { return Ok(()) };
        prop_assert!(is_nice(step), "{} {:?}", step, ticks);
        for pair in ticks.windows(2) {
            let gap = pair[1] - pair[0];
            prop_assert!((gap - step).abs() < 1e-6 * step, "even: {:?}", ticks);
        }
        // nothing of the scale's upper end is left without a tick
        prop_assert!(scale.high - ticks[ticks.len() - 1] < step * 1.000_001, "{:?} {:?}", scale, ticks);
        prop_assert!(ticks.iter().all(|tick| (tick / step - (tick / step).round()).abs() < 1e-6), "multiples: {:?}", ticks);
    }

    #[test]
    fn whatever_was_measured_lies_within_its_scale(values in prop::collection::vec(-1e12_f64..1e12, 0..20), bare in any::<bool>()) {
        let unit = if bare { Unit::Number } else { Unit::Percent };
        let scale = Scale::of(values.iter().copied(), unit);
        prop_assert!(scale.high > scale.low);
        for value in values {
            let share = scale.share(value);
            prop_assert!((-1e-9..=1.0 + 1e-9).contains(&share), "{} {:?}", value, scale);
        }
    }

    #[test]
    fn no_values_make_a_scale_fail(values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 0..6), height in 20.0_f64..2_000.0) {
        let scale = Scale::of(values.iter().copied(), Unit::Number);
        prop_assert!(scale.ticks(1.0, height).len() <= most_ticks(height));
        for value in values {
            prop_assert!(!scale.share(value).is_nan());
        }
    }

    #[test]
    fn ticks_of_time_are_round_and_apart(from in 946_684_800_000_i64..4_000_000_000_000, span in 1_000_i64..34_560_000_000, width in 100.0_f64..4_000.0) {
        let ticks = time_ticks(from, from + span, width);
        prop_assert!(ticks.len() as f64 <= width / X_GAP + 1.0);
        prop_assert!(ticks.iter().all(|tick| (from..=from + span).contains(&tick.at)));
        let every = ticks.windows(2).map(|pair| pair[1].at - pair[0].at).collect::<Vec<_>>();
        for gap in &every {
            prop_assert!(LADDER.contains(gap) && *gap as f64 / span as f64 * width >= X_GAP);
        }
        if let Some(gap) = every.first() {
            prop_assert!(ticks.iter().all(|tick| tick.at % gap == 0));
            prop_assert!(ticks[0].at - from < *gap && from + span - ticks[ticks.len() - 1].at < *gap);
        }
    }
}

#[test]
fn a_scale_has_two_ticks_or_more_whatever_its_top_is() {
    for k in 0..400 {
        let top = 10_f64.powf(f64::from(k) / 40.0 - 4.0);
        for height in [136.0, 300.0, 1_500.0] {
            let ticks = Scale::of([top], Unit::Number).ticks(1.0, height);
            assert!(ticks.len() >= 2, "{top} {height} {ticks:?}");
        }
    }
}

#[test]
fn a_percent_ends_at_100_and_an_axis_ticks_in_its_own_unit() {
    assert_eq!(Scale::of([3.0, 97.0], Unit::Percent), Scale { low: 0.0, high: 100.0, is_log: false });
    assert_eq!(Scale::of([0.5], Unit::Percent).high, 5.0);
    assert!(Scale::of([180.0], Unit::Percent).high > 180.0);
    let gib = 1_073_741_824.0;
    let scale = Scale { low: 0.0, high: 125.6 * gib, is_log: false };
    assert_eq!(scale.ticks(gib, 136.0), [50.0 * gib, 100.0 * gib]);
    assert_eq!(Scale { low: 0.0, high: 0.45, is_log: false }.ticks(1.0, 200.0), [0.1, 0.2, 0.3, 0.4]);
}

#[test]
fn more_than_two_decades_are_logarithmic_unless_there_are_zeros() {
    assert!(Scale::of([0.3, 31.1], Unit::Number).is_log);
    assert!(!Scale::of([0.3, 29.0], Unit::Number).is_log);
    assert!(!Scale::of([0.0, 0.3, 31.1], Unit::Number).is_log);
    let scale = Scale { low: 0.1, high: 160.0, is_log: true };
    assert_eq!(scale.ticks(1.0, 136.0), [1.0, 10.0, 100.0]);
    assert_eq!((scale.share(0.0), scale.share(0.1)), (0.0, 0.0));
    let wide = Scale { low: 1e-6, high: 1e6, is_log: true }.ticks(1.0, 136.0);
    assert!(wide.len() <= 4 && wide.last() == Some(&1e6), "{wide:?}");
}

#[test]
fn a_midnight_is_its_date() {
    let midnight = 1_795_392_000_000;
    assert_eq!(midnight % DAY, 0);
    let ticks = time_ticks(midnight - 3 * HOUR, midnight + 3 * HOUR, 600.0);
    let days: Vec<_> =
        ticks.iter().filter(|tick| tick.is_day).map(|tick| (tick.at, tick.label.as_str())).collect();
    assert_eq!(days, [(midnight, "Mon 23 Nov")]);
    assert!(ticks.iter().filter(|tick| !tick.is_day).all(|tick| tick.label.len() == 5));
    assert!(
        time_ticks(midnight, midnight + 7 * DAY, 700.0)
            .iter()
            .all(|tick| !tick.is_day && tick.label.len() > 5)
    );
}
