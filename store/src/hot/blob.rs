//! The rows of one window of a server as bytes: exact to the last bit of every number, small because most series of a
//! host do not move inside 10 s.
//!
//! `version, rows, origin partition, origin offset`, then for each row, in order of series: the step from the series
//! before, a byte of flags for what need not be said, and the rest.

use tidewatch_schemas::Origin;

use crate::WindowRow;

const VERSION: u8 = 2;

const ONE_SAMPLE: u8 = 1;
/// min, max, first and last are the same bits.
const FLAT: u8 = 1 << 1;
/// The sum is the same bits as min.
const SUM_IS_MIN: u8 = 1 << 2;
const NO_M2: u8 = 1 << 3;
const NO_INCREASE: u8 = 1 << 4;
const NO_RESETS: u8 = 1 << 5;
const ONE_TIME: u8 = 1 << 6;
/// The origin differs from the head's and follows.
const OWN_ORIGIN: u8 = 1 << 7;

/// `rows` are of one window, in order of series.
pub(super) fn encode(rows: &[WindowRow]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + rows.len() * 32);
    out.push(VERSION);
    put(&mut out, rows.len() as u64);
    let common = rows.first().map_or(Origin { partition: 0, offset: 0 }, |row| row.origin);
    put_origin(&mut out, common);
    let mut before = 0_i32;
    for row in rows {
        put_signed(&mut out, i64::from(row.series_id) - i64::from(before));
        before = row.series_id;
        let bits = row.min.to_bits();
        let flags = [
            (ONE_SAMPLE, row.count == 1),
            (FLAT, [row.max, row.first, row.last].iter().all(|v| v.to_bits() == bits)),
            (SUM_IS_MIN, row.sum.to_bits() == bits),
            (NO_M2, row.m2.to_bits() == 0),
            (NO_INCREASE, row.increase.to_bits() == 0),
            (NO_RESETS, row.resets == 0),
            (ONE_TIME, row.first_at == row.last_at),
            (OWN_ORIGIN, row.origin != common),
        ];
        let flags = flags.iter().filter(|(_, set)| *set).fold(0, |all, (flag, _)| all | flag);
        out.push(flags);
        if flags & ONE_SAMPLE == 0 {
            put_signed(&mut out, row.count);
        }
        put_float(&mut out, row.min);
        if flags & FLAT == 0 {
            for value in [row.max, row.first, row.last] {
                put_float(&mut out, value);
            }
        }
        if flags & SUM_IS_MIN == 0 {
            put_float(&mut out, row.sum);
        }
        if flags & NO_M2 == 0 {
            put_float(&mut out, row.m2);
        }
        if flags & NO_INCREASE == 0 {
            put_float(&mut out, row.increase);
        }
        if flags & NO_RESETS == 0 {
            put_signed(&mut out, row.resets.into());
        }
        put_signed(&mut out, row.first_at.into());
        if flags & ONE_TIME == 0 {
            put_signed(&mut out, row.last_at.into());
        }
        if flags & OWN_ORIGIN != 0 {
            put_origin(&mut out, row.origin);
        }
    }
    out
}

/// The rows of the window that starts at `ts_ms`; `None` for bytes that are not ours.
pub(super) fn decode(blob: &[u8], ts_ms: i64) -> Option<Vec<WindowRow>> {
    let mut rest = Reader(blob);
    if rest.byte()? != VERSION {
        return None;
    }
    let n = rest.number()?;
    let common = rest.origin()?;
    // a row takes at least 11 bytes: no claim of a corrupt head is believed
    let mut rows = Vec::with_capacity((n as usize).min(blob.len() / 11));
    let mut series = 0_i64;
    for _ in 0..n {
        series += rest.signed()?;
        let flags = rest.byte()?;
        let has = |flag| flags & flag != 0;
        let count = if has(ONE_SAMPLE) { 1 } else { rest.signed()? };
        let min = rest.float()?;
        let (max, first, last) =
            if has(FLAT) { (min, min, min) } else { (rest.float()?, rest.float()?, rest.float()?) };
        let sum = if has(SUM_IS_MIN) { min } else { rest.float()? };
        let m2 = if has(NO_M2) { 0.0 } else { rest.float()? };
        let increase = if has(NO_INCREASE) { 0.0 } else { rest.float()? };
        let resets = if has(NO_RESETS) { 0 } else { i32::try_from(rest.signed()?).ok()? };
        let first_at = i32::try_from(rest.signed()?).ok()?;
        let last_at = if has(ONE_TIME) { first_at } else { i32::try_from(rest.signed()?).ok()? };
        let origin = if has(OWN_ORIGIN) { rest.origin()? } else { common };
        let series_id = i32::try_from(series).ok()?;
        rows.push(WindowRow {
            series_id,
            ts_ms,
            count,
            sum,
            min,
            max,
            first,
            last,
            first_at,
            last_at,
            m2,
            increase,
            resets,
            origin,
        });
    }
    rest.0.is_empty().then_some(rows)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn put_origin(out: &mut Vec<u8>, origin: Origin) {
    put_signed(out, origin.partition.into());
    put_signed(out, origin.offset);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn float(&mut self) -> Option<f64> {
        let (bits, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(f64::from_bits(u64::from_le_bytes(*bits)))
    }

    fn origin(&mut self) -> Option<Origin> {
        Some(Origin { partition: i32::try_from(self.signed()?).ok()?, offset: self.signed()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), Just(-0.0), Just(1.5), Just(f64::NAN), any::<u64>().prop_map(f64::from_bits)]
    }

    prop_compose! {
        fn row()(
            series_id in 1..i32::MAX, count in 1..4_i64, v in prop::array::uniform7(value()),
            at in prop::array::uniform2(0..10_000_i32), resets in 0..2_i32, offset in prop_oneof![Just(7_i64), any::<i64>()],
        ) -> WindowRow {
            WindowRow {
                series_id, ts_ms: 50_000, count, sum: v[0], min: v[1], max: v[2], first: v[3], last: v[4],
                first_at: at[0], last_at: at[1], m2: v[5], increase: v[6], resets,
                origin: Origin { partition: 3, offset },
            }
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_bit_for_bit(mut rows in prop::collection::vec(row(), 0..20)) {
            rows.sort_by_key(|row| row.series_id);
            let back = decode(&encode(&rows), 50_000).expect("decode");
            // NaN differs from itself, its bits do not
            prop_assert_eq!(encode(&back), encode(&rows));
            prop_assert_eq!(format!("{back:?}"), format!("{rows:?}"));
        }

        #[test]
        fn bytes_that_are_not_ours_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..100_usize) {
            if let Some(rows) = decode(&bytes, 0) {
                prop_assert!(rows.len() <= bytes.len());
            }
            let row = WindowRow {
                series_id: 1, ts_ms: 0, count: 2, sum: 3.0, min: 1.0, max: 2.0, first: 1.0, last: 2.0, first_at: 0,
                last_at: 9, m2: 0.5, increase: 0.0, resets: 0, origin: Origin { partition: 0, offset: 1 },
            };
            let whole = encode(&[row]);
            if cut < whole.len() {
                prop_assert_eq!(decode(&whole[..cut], 0), None);
            }
        }
    }

    #[test]
    fn a_still_gauge_takes_few_bytes() {
        let row = WindowRow {
            series_id: 1,
            ts_ms: 0,
            count: 1,
            sum: 3.5,
            min: 3.5,
            max: 3.5,
            first: 3.5,
            last: 3.5,
            first_at: 1_234,
            last_at: 1_234,
            m2: 0.0,
            increase: 0.0,
            resets: 0,
            origin: Origin { partition: 0, offset: 1 },
        };
        let rows: Vec<_> = (1..=100).map(|series_id| WindowRow { series_id, ..row }).collect();
        assert!(encode(&rows).len() < 100 * 13);
    }
}
