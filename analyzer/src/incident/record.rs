//! How far a series has ever gone, as far back as it is known: how rare a value is in its own history.
//!
//! In: the value of each window, oldest first. Out: words, or none where nothing can be said. A few bytes a series.
//! Invariant: a value is compared with those before it alone.

use super::words;

/// With less than that behind it, "the highest" says nothing.
const LEAST_MS: i64 = 3_600_000;
/// The detector's bar is one that errors cross once in so many values; it says so once it has seen as many.
const EVERY: u32 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Record {
    /// Start of the first window.
    since: i64,
    values: u32,
    high: f64,
    low: f64,
}

impl Record {
    pub fn learn(&mut self, start: i64, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.values == 0 {
            *self = Self { since: start, values: 1, high: value, low: value };
            return;
        }
        self.values = self.values.saturating_add(1);
        self.high = self.high.max(value);
        self.low = self.low.min(value);
    }

    /// Whether a value that was seen in a window that starts at `at` goes further than any before: `the highest in 9 d`.
    pub fn extreme(&self, value: f64, at: i64) -> Option<String> {
        let known = at - self.since;
        if self.values == 0 || known < LEAST_MS {
            return None;
        }
        let side = if value > self.high {
            "highest"
        } else if value < self.low {
            "lowest"
        } else {
            return None;
        };
        Some(format!("the {side} in {}", words::age(known)))
    }

    /// What is rare about a value outside of its band.
    pub fn rarity(&self, value: f64, at: i64) -> Option<String> {
        self.extreme(value, at).or_else(|| {
            let is_known = self.values >= EVERY;
            is_known
                .then(|| format!("so far off less than once in {} values", words::number(f64::from(EVERY))))
        })
    }
}

crate::snapshot::keep_fields!(Record { since, values, high, low });

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn known(values: u32, until: i64) -> Record {
        let mut record = Record::default();
        let step = until / i64::from(values);
        for k in 0..values {
            record.learn(i64::from(k) * step, f64::from(k % 10));
        }
        record
    }

    fn said(record: &Record, value: f64, at: i64) -> Option<String> {
        record.rarity(value, at).map(|text| text.replace('\u{202f}', " "))
    }

    #[test]
    fn an_extreme_is_said_with_the_time_it_is_one_of() {
        let record = known(2_000, 220 * HOUR);
        assert_eq!(said(&record, 9.5, 220 * HOUR).as_deref(), Some("the highest in 9 d"));
        assert_eq!(said(&record, -1.0, 30 * HOUR).as_deref(), Some("the lowest in 1 d"));
        assert_eq!(
            said(&record, 9.0, 220 * HOUR).as_deref(),
            Some("so far off less than once in 1,000 values"),
            "it was as high before"
        );
    }

    #[test]
    fn nothing_is_made_up_of_a_short_past() {
        assert_eq!(said(&Record::default(), 1.0, HOUR), None);
        let record = known(200, HOUR / 2);
        assert_eq!(said(&record, 99.0, HOUR / 2), None);
        assert_eq!(said(&record, 99.0, HOUR).as_deref(), Some("the highest in 1 h"));
        assert_eq!(said(&record, 5.0, HOUR), None);
    }

    #[test]
    fn what_is_no_number_is_no_record() {
        let mut record = known(10, HOUR);
        let before = record;
        record.learn(HOUR, f64::NAN);
        record.learn(HOUR, f64::INFINITY);
        assert_eq!(record, before);
    }
}
