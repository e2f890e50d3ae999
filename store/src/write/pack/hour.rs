//! One series' windows of one hour as the row of `packed_10s` or `packed_1m` that holds them. Pure.
//!
//! In: the windows in order of time. Out: a tuple of PostgreSQL's binary COPY, its fields in the order of the table.
//! Invariant: whatever is left out or put as an integer comes out of the views bit for bit: it is computed here as they
//! compute it and compared, and is kept as it is when it differs.
//!
//! Most values that people measure are short decimals or multiples of a page. As integers of that scale, less what a
//! straight line through the hour says, they take 2 or 4 bytes (the idea of ALP, Afroozeh et al., "ALP: Adaptive lossless
//! floating-point compression", 2023).

use crate::{
    WindowRow,
    write::bulk::{micros, put},
};

/// Columns of the tables.
const FIELDS: i16 = 36;
/// What times inside a window are stored less, so that those of both tiers fit 16 bits.
const MIDDLE: i32 = 30_000;
/// Tried in turn: pages and kilobytes, integers, quarters, decimals.
const SCALES: [f64; 8] = [1.0 / 4096.0, 1.0 / 1024.0, 1.0, 4.0, 10.0, 100.0, 1_000.0, 10_000.0];
/// Up to here every integer is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The straight line that integers are stored less of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    base: i64,
    step: i64,
}

impl Line {
    /// Through the middle of what is left when the slope, or none, is taken away: whichever leaves less.
    fn through(values: &[i64]) -> Option<Self> {
        let (first, last) = (i128::from(*values.first()?), i128::from(*values.last()?));
        let slope = (last - first) / i128::from(values.len().max(2) as i64 - 1);
        let left = |step: i128| {
            let left = values.iter().zip(0..).map(move |(value, n)| i128::from(*value) - step * n);
            left.fold((i128::MAX, i128::MIN), |(low, high), value| (low.min(value), high.max(value)))
        };
        let (sloped, flat) = (left(slope), left(0));
        let (step, (low, high)) =
            if sloped.1 - sloped.0 < flat.1 - flat.0 { (slope, sloped) } else { (0, flat) };
        let base = i64::try_from(low + (high - low) / 2).ok()?;
        let line = Self { base, step: i64::try_from(step).ok()? };
        // as PostgreSQL computes it: without an overflow on the way
        (0..values.len()).all(|n| line.at(n).is_some()).then_some(line)
    }

    fn at(self, n: usize) -> Option<i64> {
        self.base.checked_add(self.step.checked_mul(n as i64)?)
    }
}

/// How values of an hour become integers.
#[derive(Debug, Clone, Copy)]
struct Model {
    scale: f64,
    line: Line,
}

impl Model {
    /// Made for `last`, and good for what lies near it.
    fn of(rows: &[WindowRow]) -> Option<Self> {
        let (scale, whole) = SCALES.into_iter().find_map(|scale| {
            let whole: Option<Vec<i64>> = rows.iter().map(|row| whole(row.last, scale)).collect();
            Some((scale, whole?))
        })?;
        let line = Line::through(&whole)?;
        let fits = |(n, row): (usize, &WindowRow)| line.at(n)?.checked_mul(row.count);
        rows.iter().enumerate().all(|row| fits(row).is_some()).then_some(Self { scale, line })
    }

    /// The integers of values; `times` is what each takes of the line.
    fn deltas(self, values: &[f64], times: impl Fn(usize) -> i64) -> Option<Vec<i64>> {
        let delta = |(n, value): (usize, &f64)| {
            whole(*value, self.scale)?.checked_sub(self.line.at(n)?.checked_mul(times(n))?)
        };
        values.iter().enumerate().map(delta).collect()
    }
}

/// The integer that makes the value at a scale, bit for bit.
fn whole(value: f64, scale: f64) -> Option<i64> {
    let rounded = (value * scale).round();
    let whole = (rounded.abs() < EXACT).then_some(rounded as i64)?;
    ((whole as f64 / scale).to_bits() == value.to_bits()).then_some(whole)
}

/// How a column of doubles is kept.
#[derive(Debug, PartialEq)]
enum Floats {
    /// The views take it from other columns.
    Derived,
    Own(Vec<f64>),
    Wide(Vec<i32>),
    Small(Vec<i16>),
}

impl Floats {
    fn of(values: Vec<f64>, deltas: Option<Vec<i64>>) -> Self {
        if is_one(&values, |a, b| a.to_bits() == b.to_bits()) {
            return Self::Own(values);
        }
        let Some(deltas) = deltas else { return Self::Own(values) };
        if let Some(small) = narrow(&deltas) {
            return Self::Small(small);
        }
        narrow(&deltas).map_or(Self::Own(values), Self::Wide)
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Derived => nulls(out, 3),
            Self::Own(values) => {
                put_floats(out, values);
                nulls(out, 2);
            }
            Self::Wide(values) => {
                nulls(out, 1);
                array(out, INT4, values.iter().map(|v| v.to_be_bytes()));
                nulls(out, 1);
            }
            Self::Small(values) => {
                nulls(out, 2);
                array(out, INT2, values.iter().map(|v| v.to_be_bytes()));
            }
        }
    }

    fn takes_model(&self) -> bool {
        matches!(self, Self::Wide(_) | Self::Small(_))
    }
}

/// Appends the tuple of an hour. `rows` are of one series and hour, in order of time, on the grid of their tier, and not
/// none.
pub(super) fn put_hour(out: &mut Vec<u8>, rows: &[WindowRow], hour_ms: i64, window_ms: i64) {
    let slots: Vec<i16> = rows.iter().map(|row| ((row.ts_ms - hour_ms) / window_ms) as i16).collect();
    let model = Model::of(rows);
    let column =
        |value: fn(&WindowRow) -> f64, derived: fn(&WindowRow) -> f64, times: fn(&WindowRow) -> i64| {
            if rows.iter().all(|row| derives(derived(row), value(row))) {
                return Floats::Derived;
            }
            let values: Vec<f64> = rows.iter().map(value).collect();
            let deltas = model.and_then(|model| model.deltas(&values, |n| times(&rows[n])));
            Floats::of(values, deltas)
        };
    let once = |_: &WindowRow| 1;
    let never = |_: &WindowRow| f64::NAN;
    let columns = [
        column(|row| row.sum, product, |row| row.count),
        column(|row| row.min, |row| row.first, once),
        column(|row| row.max, |row| row.last, once),
        column(|row| row.first, |row| row.last, once),
        column(|row| row.last, never, once),
    ];

    out.extend_from_slice(&FIELDS.to_be_bytes());
    put(out, rows[0].series_id.to_be_bytes());
    put(out, micros(hour_ms).to_be_bytes());
    put(out, (rows.len() as i32).to_be_bytes());
    put(out, i32::from(slots[0]).to_be_bytes());
    if slots.windows(2).all(|two| two[1] - two[0] == 1) {
        nulls(out, 1);
    } else {
        array(out, INT2, slots.iter().map(|v| v.to_be_bytes()));
    }
    match model.filter(|_| columns.iter().any(Floats::takes_model)) {
        Some(Model { scale, line }) => {
            put(out, scale.to_be_bytes());
            put(out, line.base.to_be_bytes());
            put(out, line.step.to_be_bytes());
        }
        None => nulls(out, 3),
    }
    put_longs(out, &take(rows, |row| row.count));
    for column in &columns {
        column.put(out);
    }
    put_times(out, &take(rows, |row| row.first_at));
    if rows.iter().all(|row| row.last_at == row.first_at) {
        nulls(out, 2);
    } else {
        put_times(out, &take(rows, |row| row.last_at));
    }
    put_floats(out, &take(rows, |row| row.m2));
    if rows.iter().all(|row| derives(row.last - row.first, row.increase)) {
        nulls(out, 1);
    } else {
        put_floats(out, &take(rows, |row| row.increase));
    }
    put_ints(out, &take(rows, |row| row.resets));
    put_ints(out, &take(rows, |row| row.origin.partition));
    put_origins(out, &take(rows, |row| row.origin.offset));
}

/// `last * count`; NaN where PostgreSQL would rather say that it underflows.
fn product(row: &WindowRow) -> f64 {
    let product = row.last * row.count as f64;
    if product == 0.0 && row.last != 0.0 && row.count != 0 { f64::NAN } else { product }
}

/// Whether the views may compute the value: PostgreSQL raises an error for infinite results, and NaN has many bits.
fn derives(computed: f64, value: f64) -> bool {
    computed.is_finite() && computed.to_bits() == value.to_bits()
}

fn take<T>(rows: &[WindowRow], value: impl Fn(&WindowRow) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn is_one<T>(values: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    values.iter().all(|value| same(value, &values[0]))
}

fn narrow<T: TryFrom<i64>>(values: &[i64]) -> Option<Vec<T>> {
    values.iter().map(|value| T::try_from(*value).ok()).collect()
}

// The identifiers of the element types, from PostgreSQL's pg_type.dat.
const INT8: i32 = 20;
const INT2: i32 = 21;
const INT4: i32 = 23;
const FLOAT8: i32 = 701;

fn nulls(out: &mut Vec<u8>, count: usize) {
    for _ in 0..count {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
    }
}

/// As `array_recv` reads it: one dimension, no nulls, counted from 1.
fn array<const N: usize>(out: &mut Vec<u8>, kind: i32, values: impl ExactSizeIterator<Item = [u8; N]>) {
    let header = [1, 0, kind, values.len() as i32, 1];
    out.extend_from_slice(&((header.len() * 4 + values.len() * (4 + N)) as i32).to_be_bytes());
    for word in header {
        out.extend_from_slice(&word.to_be_bytes());
    }
    values.for_each(|value| put(out, value));
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    let kept = if is_one(values, |a, b| a.to_bits() == b.to_bits()) { &values[..1] } else { values };
    array(out, FLOAT8, kept.iter().map(|v| v.to_bits().to_be_bytes()));
}

fn put_longs(out: &mut Vec<u8>, values: &[i64]) {
    let kept = if is_one(values, i64::eq) { &values[..1] } else { values };
    array(out, INT8, kept.iter().map(|v| v.to_be_bytes()));
}

fn put_ints(out: &mut Vec<u8>, values: &[i32]) {
    let kept = if is_one(values, i32::eq) { &values[..1] } else { values };
    array(out, INT4, kept.iter().map(|v| v.to_be_bytes()));
}

/// The column and its `_small` one.
fn put_times(out: &mut Vec<u8>, values: &[i32]) {
    let less: Vec<i64> = values.iter().map(|value| i64::from(*value) - i64::from(MIDDLE)).collect();
    match narrow::<i16>(&less) {
        Some(small) if !is_one(values, i32::eq) => {
            nulls(out, 1);
            array(out, INT2, small.iter().map(|v| v.to_be_bytes()));
        }
        _ => {
            put_ints(out, values);
            nulls(out, 1);
        }
    }
}

/// `origin_base` to `origin_offset`.
fn put_origins(out: &mut Vec<u8>, values: &[i64]) {
    let small = || {
        let line = Line::through(values)?;
        let left: Option<Vec<i64>> =
            values.iter().enumerate().map(|(n, value)| value.checked_sub(line.at(n)?)).collect();
        Some((line, narrow::<i16>(&left?)?))
    };
    match small() {
        Some((line, small)) if !is_one(values, i64::eq) => {
            put(out, line.base.to_be_bytes());
            put(out, line.step.to_be_bytes());
            array(out, INT2, small.iter().map(|v| v.to_be_bytes()));
            nulls(out, 1);
        }
        _ => {
            nulls(out, 3);
            put_longs(out, values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_stands_for_a_value_only_bit_for_bit() {
        assert_eq!(whole(12_345.67, 100.0), Some(1_234_567));
        assert_eq!(whole(8_192.0, 1.0 / 4096.0), Some(2));
        assert_eq!(whole(0.1 + 0.2, 10.0), None);
        for odd in [-0.0, f64::NAN, f64::INFINITY, f64::MAX, 5e-324] {
            assert!(SCALES.iter().all(|scale| whole(odd, *scale).is_none()), "{odd}");
        }
    }

    #[test]
    fn a_line_leaves_less_than_the_values_or_is_flat() {
        let line = Line::through(&[1_000, 2_001, 2_999, 4_000]).expect("line");
        assert_eq!(line.step, 1_000);
        assert_eq!(Line::through(&[5, -5, 5]), Some(Line { base: 0, step: 0 }));
        let far = [i64::MIN, i64::MAX];
        assert!(Line::through(&far).is_none_or(|line| (0..2).all(|n| line.at(n).is_some())));
    }
}
