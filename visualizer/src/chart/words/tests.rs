//! The pages' own cases, and laws of all numbers.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn unit(name: &str) -> Unit {
    match name {
        "percent" => Unit::Percent,
        "bytes" => Unit::Bytes,
        "bytes/s" => Unit::BytesPerSecond,
        "seconds" => Unit::Seconds,
        "per second" => Unit::PerSecond,
        _ => Unit::Number,
    }
}

#[test]
fn every_case_of_the_pages_is_written_the_same() {
    let cases: Value =
        serde_json::from_str(include_str!("../../../web/src/format.cases.json")).expect("JSON");
    let all = |name: &str| cases[name].as_array().expect(name).clone();
    let (numbers, values, axes) = (all("number"), all("value"), all("axis"));
    assert!(numbers.len() > 10 && values.len() > 8 && axes.len() > 5);
    for case in numbers {
        assert_eq!(number(case[0].as_f64().expect("a number")), case[1], "{case}");
    }
    for case in values {
        let unit = unit(case[1].as_str().expect("a unit"));
        assert_eq!(value(case[0].as_f64(), unit), case[2], "{case}");
    }
    for case in axes {
        let (unit, largest) = (unit(case[0].as_str().expect("a unit")), case[1].as_f64().expect("a number"));
        let (divisor, label) = axis_unit(unit, largest);
        assert_eq!(
            (Value::from(divisor).as_f64(), label.as_str()),
            (case[2].as_f64(), case[3].as_str().expect("label")),
            "{case}"
        );
    }
    for case in all("duration") {
        assert_eq!(duration(case[0].as_i64().expect("ms")), case[1], "{case}");
    }
    for case in all("unit") {
        let kind = if case[2] == true { SeriesKind::Counter } else { SeriesKind::Gauge };
        let text = |i: usize| case[i].as_str().expect("text");
        assert_eq!(Unit::of(text(0), text(1), kind), unit(text(3)), "{case}");
    }
}

#[test]
fn a_missing_value_is_never_zero() {
    assert_eq!(value(None, Unit::Bytes), NONE);
    assert_eq!(number(f64::NAN), NONE);
}

#[test]
fn times_are_utc() {
    let at = 1_795_442_590_000;
    assert_eq!(
        (clock(at).as_str(), clock_short(at).as_str(), day(at).as_str()),
        ("14:03:10", "14:03", "Mon 23 Nov")
    );
    assert_eq!(range(at - 10_000, at + 3_590_000), "Mon 23 Nov 2026, 14:03 to 15:03 UTC");
    assert_eq!(range(at - 86_400_000, at), "Sun 22 Nov, 14:03:10 to Mon 23 Nov 2026, 14:03:10 UTC");
    assert!(range(at - 365 * 86_400_000, at).starts_with("Sun 23 Nov 2025, 14:03:10 to Mon 23 Nov 2026"));
}

proptest! {
    #[test]
    fn a_number_is_short_and_near(v in -1e12_f64..1e12) {
        let text = number(v);
        let digits = text.chars().filter(char::is_ascii_digit).collect::<String>();
        let significant = digits.trim_start_matches('0').trim_end_matches('0');
        prop_assert!(significant.len() <= 3, "{} {}", v, text);
        let read: f64 = text.replace(',', "").replace(MINUS, "-").parse().expect("a number");
        prop_assert!((read - v).abs() <= 0.06 * v.abs() + 1e-6, "{} {}", v, text);
    }

    #[test]
    fn no_number_makes_the_words_fail(v in prop::num::f64::ANY) {
        for unit in [Unit::Percent, Unit::Bytes, Unit::BytesPerSecond, Unit::Seconds, Unit::PerSecond, Unit::Number] {
            prop_assert!(!value(Some(v), unit).is_empty());
            let (divisor, _) = axis_unit(unit, v);
            prop_assert!(divisor > 0.0);
        }
        let _ = score(v);
    }
}
