//! What a picture of a series is made of, what it is cut by, and that nothing makes it panic.

mod cover;
mod foretell;

use proptest::prelude::*;

use super::*;
use crate::rules::Side;

const MINUTE: i64 = MINUTE_MS;
/// Far enough from 1970 to be a real time.
const T0: i64 = 1_795_392_000_000;

/// A small generator of its own: the same numbers each time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.uniform();
        random
    }

    pub(super) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1: the sum of twelve uniform ones.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// One value a minute.
pub(super) fn fed(values: impl IntoIterator<Item = f64>) -> Trend {
    let mut trend = Trend::default();
    for (minute, value) in (0_i64..).zip(values) {
        trend.step(T0 + minute * MINUTE, value);
    }
    trend
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

#[test]
fn the_state_is_small() {
    assert_eq!(size_of::<Trend>(), 200);
    assert!(size_of::<Outlook>() <= 64, "{}", size_of::<Outlook>());
}

#[test]
fn a_straight_line_is_known_after_nine_minutes_and_reaches_back_for_hours() {
    let line = |minutes: u32| fed((0..=minutes).map(|minute| 40.0 + 0.5 * f64::from(minute)));
    assert_eq!(line(8).course(), None, "eight parts are there when the ninth begins");
    for minutes in [9, 40, 100, 400, 2_000] {
        let course = line(minutes).course().unwrap();
        let slope = course.slope();
        assert!(close(slope.likely, 30.0) && slope.high - slope.low < 1e-6, "{minutes}: {slope:?}");
        // a value stands for the middle of its minute
        assert!(close(course.level(), 40.0 + 0.5 * (f64::from(minutes) - 0.5)), "{minutes}: {course:?}");
        let seen = course.seen_ms() / MINUTE;
        assert!((8..=i64::from(minutes)).contains(&seen), "{minutes}: {seen}");
        assert!(minutes < 500 || seen >= 240, "{minutes}: {seen}");
    }
}

#[test]
fn a_limit_is_reached_when_the_line_does() {
    let course = fed((0..=100).map(|minute| 40.0 + 0.5 * f64::from(minute))).course().unwrap();
    let ask = Ask { limit: 100.0, side: Side::Above, within_ms: 60 * MINUTE };
    let reach = course.until(ask).unwrap();
    // the value is 100 in the middle of minute 120, and minute 100 has just begun
    assert!((reach.likely_ms - (20 * MINUTE + MINUTE / 2)).abs() < 10, "{reach:?}");
    assert!(reach.earliest_ms <= reach.likely_ms && reach.likely_ms <= reach.latest_ms);
    assert!(course.is_sure(reach.likely_ms) && !course.is_far(ask));
    assert_eq!(course.until(Ask { within_ms: 20 * MINUTE, ..ask }), None, "later than is asked for");
    assert_eq!(course.until(Ask { side: Side::Below, limit: 10.0, ..ask }), None, "it goes the other way");
    assert!(course.is_far(Ask { within_ms: 13 * MINUTE, ..ask }));
    assert!(!course.is_far(Ask { within_ms: 14 * MINUTE, ..ask }), "a little later is not far");
    assert!(!course.is_sure(1_000 * MINUTE), "nobody sees so far");
}

#[test]
fn a_step_begins_a_new_picture_and_a_spike_does_not() {
    let mut random = Random::new(1);
    let spike = |minute: i32| if minute == 90 || minute == 91 { 30.0 } else { 0.0 };
    let course = fed((0..120).map(|m| 50.0 + spike(m) + 0.1 * random.normal())).course().unwrap();
    assert!(course.seen_ms() >= 100 * MINUTE && (course.level() - 50.0).abs() < 0.2, "{course:?}");
    let mut random = Random::new(1);
    let step = |minute: i32| if minute >= 90 { -30.0 } else { 0.0 };
    let after =
        |minutes: i32, random: &mut Random| fed((0..minutes).map(|m| 50.0 + step(m) + 0.1 * random.normal()));
    assert_eq!(after(94, &mut random).course(), None, "it is looked at anew");
    let course = after(120, &mut random).course().unwrap();
    assert!(course.seen_ms() <= 30 * MINUTE && (course.level() - 20.0).abs() < 0.2, "{course:?}");
    assert!(course.slope().low < 0.0 && course.slope().high > 0.0, "{course:?}");
}

#[test]
fn a_bend_cuts_the_older_half_off() {
    let mut random = Random::new(2);
    let bent = |minute: f64| if minute < 120.0 { 10.0 } else { 10.0 + 0.02 * (minute - 120.0) };
    let course = fed((0..360).map(|m| bent(f64::from(m)) + 0.3 * random.normal())).course().unwrap();
    let slope = course.slope();
    assert!((slope.likely - 1.2).abs() < 0.25, "{slope:?}");
    assert!(course.seen_ms() < 300 * MINUTE, "{course:?}");
}

#[test]
fn a_staircase_of_like_steps_is_a_slope() {
    let mut random = Random::new(3);
    let stairs = (0..1_800).map(|minute| 50.0 + f64::from(minute / 60) + 0.01 * random.normal());
    let slope = fed(stairs).course().unwrap().slope();
    assert!((slope.likely - 1.0).abs() < 0.1 && slope.low > 0.5, "{slope:?}");
}

#[test]
fn a_pause_begins_a_new_picture_and_a_gap_does_not() {
    let line = |minute: i64| 10.0 + 0.1 * minute as f64;
    let with_gap = |gap: i64| {
        let mut trend = Trend::default();
        for minute in (0..60).chain(60 + gap..70 + gap) {
            trend.step(T0 + minute * MINUTE, line(minute));
        }
        trend.course()
    };
    let course = with_gap(20).unwrap();
    assert!((course.slope().likely - 6.0).abs() < 0.1 && course.seen_ms() >= 80 * MINUTE, "{course:?}");
    assert!(with_gap(100).unwrap().seen_ms() <= 10 * MINUTE);
}

#[test]
fn clocks_that_step_and_values_that_are_none_change_nothing() {
    let plain = fed((0..200).map(|minute| 0.1 * f64::from(minute)));
    let mut trend = Trend::default();
    for minute in 0..200_i64 {
        trend.step(T0 + minute * MINUTE, 0.1 * minute as f64);
        trend.step(T0 + (minute - 90) * MINUTE, 1e9);
        trend.step(T0 - 1_000 * MINUTE, -1e9);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            trend.step(T0 + minute * MINUTE, value);
        }
    }
    assert_eq!(trend.course(), plain.course());
    // a year ahead: it begins there
    trend.step(T0 + 500_000 * MINUTE, 5.0);
    assert_eq!(trend.course(), None);
    for minute in 500_000..500_020_i64 {
        trend.step(T0 + minute * MINUTE, 5.0);
    }
    assert_eq!(trend.course().map(|course| course.slope().likely), Some(0.0));
}

#[test]
fn values_that_jump_both_ways_do_not_stop_it() {
    let constant = std::iter::repeat_n(7.0, 300);
    let wild = (0..300).map(|minute| if minute % 2 == 0 { 1e6 } else { -1e6 });
    let course = fed(constant.chain(wild)).course().unwrap();
    assert!(course.level().abs() < 1e6 && course.seen_ms() <= 300 * MINUTE, "{course:?}");
}

/// Whatever comes.
fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        -1e3..1e3_f64,
        Just(0.0),
        Just(f64::MAX),
        Just(f64::MIN),
        Just(f64::MIN_POSITIVE),
        Just(1e-320),
    ]
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(
        values in proptest::collection::vec((anything(), any::<i32>(), 0..200_000_i64), 0..300),
        limit in anything(), above in any::<bool>(), within_ms in any::<i64>(), jumps in any::<bool>(),
    ) {
        let mut trend = Trend::default();
        let mut outlook = Outlook::default();
        let side = if above { Side::Above } else { Side::Below };
        let ask = Ask { limit, side, within_ms };
        let mut at = T0;
        for (value, jump, pace) in values {
            at = if jumps && jump % 7 == 0 { at + i64::from(jump) * 1_000 } else { at + pace };
            let Some(mean) = trend.step(at, value) else { continue };
            prop_assert!(mean.is_finite());
            let course = trend.course();
            if let Some(course) = &course {
                course.slope();
                if let Some(reach) = course.until(ask) {
                    prop_assert!(reach.earliest_ms >= 0 && reach.earliest_ms <= reach.latest_ms.max(0));
                    prop_assert!(reach.likely_ms <= within_ms.saturating_add(1));
                }
            }
            let minute = Minute { end_ms: at, mean, noise: trend.noise(), firing: jump % 2 == 0 };
            outlook.step(ask, course.as_ref(), minute);
        }
        for end in [i64::MIN, i64::MAX] {
            trend.step(end, 1.0);
        }
    }

    /// A line with noise, once in other units and from another zero.
    #[test]
    fn units_and_zero_do_not_matter(
        seed in any::<u64>(), minutes in 9..600_u32, slope in -1.0..1.0_f64, power in -60..60_i32, shift in -1e3..1e3_f64,
    ) {
        let scale = 2.0_f64.powi(power);
        let feed = |scale: f64, shift: f64| {
            let mut random = Random::new(seed);
            fed((0..minutes).map(|m| scale * (50.0 + slope * f64::from(m) + random.normal()) + shift)).course()
        };
        let plain = feed(1.0, 0.0);
        let (scaled, shifted) = (feed(scale, 0.0), feed(1.0, shift));
        prop_assert_eq!(plain.is_some(), scaled.is_some());
        prop_assert_eq!(plain.is_some(), shifted.is_some());
        if let (Some(plain), Some(scaled), Some(shifted)) = (plain, scaled, shifted) {
            prop_assert!(close(scaled.slope().high / scale, plain.slope().high));
            prop_assert!(close(scaled.level() / scale, plain.level()));
            prop_assert!((shifted.slope().high - plain.slope().high).abs() < 1e-6);
            prop_assert!((shifted.level() - shift - plain.level()).abs() < 1e-6);
            let ask = |limit| Ask { limit, side: Side::Above, within_ms: i64::MAX };
            let (a, b) = (plain.until(ask(1e4)), scaled.until(ask(1e4 * scale)));
            prop_assert_eq!(a.is_some(), b.is_some());
            if let (Some(a), Some(b)) = (a, b) {
                prop_assert!((a.likely_ms - b.likely_ms).abs() <= 1 + a.likely_ms / 1_000_000);
            }
        }
    }

    /// Every ten seconds or the mean of each minute: the picture is the same, and so is each course when told twice.
    #[test]
    fn how_often_it_is_asked_changes_nothing(seed in any::<u64>(), windows in 0..1_500_i64, every in 1..50_i64) {
        let value = |random: &mut Random, window: i64| 20.0 + 0.001 * window as f64 + random.normal();
        let (mut random, mut often, mut seldom) = (Random::new(seed), Trend::default(), Trend::default());
        let mut told = None;
        for window in 0..windows {
            let value = value(&mut random, window);
            often.step(T0 + window * 10_000, value);
            told = often.course();
            prop_assert_eq!(told, often.course());
            seldom.step(T0 + window * 10_000, value);
            if window % every == 0 {
                let copy = seldom.clone();
                prop_assert_eq!(copy.course(), told);
                seldom = copy;
            }
        }
        prop_assert_eq!(seldom.course(), told);
    }
}
