//! promtool's short form of a series of values: `1 2 3`, `0+10x5`, `7x3`, `_`, `_x3`, `stale`.

/// One file must not fill the memory.
const MOST_VALUES: usize = 300_000;

/// One value for each interval; `None` where there is none.
pub(super) fn parse(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut values = Vec::new();
    for word in text.split_whitespace() {
        let (head, times) = match word.split_once('x') {
            Some((head, times)) => (head, times.parse::<usize>().map_err(|_| wrong(word))?),
            None => (word, 0),
        };
        let is_missing = head == "_" || (head == "stale" && times == 0);
        // `_x3` is three of them, `1x3` is 1 and three more
        let count = if head == "_" && word != "_" { times } else { times.saturating_add(1) };
        if count > MOST_VALUES.saturating_sub(values.len()) {
            return Err(format!("`{word}` makes more than {MOST_VALUES} values"));
        }
        if is_missing {
            values.extend(std::iter::repeat_n(None, count));
            continue;
        }
        let (first, step) = first_and_step(head, word != head).ok_or_else(|| wrong(word))?;
        let all = (0..count).map(|i| first + i as f64 * step);
        for value in all {
            if !value.is_finite() {
                return Err(format!("`{word}` has a value that is no finite number"));
            }
            values.push(Some(value));
        }
    }
    Ok(values)
}

fn wrong(word: &str) -> String {
    format!("`{word}` is no value such as 5, 0+10x5, 100-1x20, 7x3, _ or _x3")
}

/// `7`, and in front of an `x` also `1+1` and `1-1`.
fn first_and_step(head: &str, repeated: bool) -> Option<(f64, f64)> {
    if let Ok(first) = head.parse() {
        return Some((first, 0.0));
    }
    // the sign of a step, not that of an exponent
    let is_step = |(at, sign): &(usize, char)| {
        *at > 0 && matches!(sign, '+' | '-') && !head[..*at].ends_with(['e', 'E'])
    };
    let (at, _) = head.char_indices().find(is_step).filter(|_| repeated)?;
    Some((head[..at].parse().ok()?, head[at..].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_short_forms_are_promtools() {
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        for (text, values) in [
            ("", vec![]),
            ("1 -2 3e2", some(&[1.0, -2.0, 300.0])),
            ("1+1x3", some(&[1.0, 2.0, 3.0, 4.0])),
            ("1-2x2", some(&[1.0, -1.0, -3.0])),
            ("-2+4x1", some(&[-2.0, 2.0])),
            ("7x2", some(&[7.0, 7.0, 7.0])),
            ("1e+2x1", some(&[100.0, 100.0])),
            ("1+1e+2x1", some(&[1.0, 101.0])),
            ("1 _x2 stale _ 5", vec![Some(1.0), None, None, None, None, Some(5.0)]),
        ] {
            assert_eq!(parse(text), Ok(values), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bad in
            ["a", "1+1", "1x", "x3", "1+x3", "1x-1", "nan", "inf", "1e308+1e308x5", "_x", "stalex2", "{{}}"]
        {
            assert!(parse(bad).is_err(), "{bad}: {:?}", parse(bad));
        }
        assert!(parse("1x99999999").unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn a_stretch_has_its_values_in_even_steps(first in -1e6..1e6_f64, step in -1e3..1e3_f64, times in 0..50_usize) {
            let values = parse(&format!("{first}{step:+}x{times} _x{times}")).unwrap();
            prop_assert_eq!(values.len(), times + 1 + times);
            for (i, value) in values[..=times].iter().enumerate() {
                prop_assert_eq!(*value, Some(first + i as f64 * step));
            }
            prop_assert!(values[times + 1..].iter().all(Option::is_none));
        }
    }
}
