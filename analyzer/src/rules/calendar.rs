//! Times that recur, in UTC: `02:00-04:00`, `sat,sun`, `mon-fri 22:00-06:00`.
//!
//! In: the text, and a time. Out: whether the time lies within. No clock and no time zones: the answer for a time is the
//! same whenever it is asked.

/// In the order of the bits of a day.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: i64 = 24 * 60;
const MINUTE_MS: i64 = 60_000;
const EVERY_DAY: u8 = 0b111_1111;

/// A stretch of a day, on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recurring {
    /// Days on which it begins, Monday in the lowest bit.
    days: u8,
    /// Minutes of the day; the end is not part of it. An end before the begin is on the next day.
    from: i64,
    to: i64,
}

impl Recurring {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time such as 02:00-04:00, sat,sun or mon-fri 22:00-06:00");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words[..] {
            [one] if one.contains(':') => (None, Some(one)),
            [one] => (Some(one), None),
            [days, times] => (Some(days), Some(times)),
            _ => return Err(wrong()),
        };
        let days = days.map_or(Some(EVERY_DAY), parse_days).ok_or_else(wrong)?;
        let (from, to) = times.map_or(Some((0, DAY_MINUTES)), parse_times).ok_or_else(wrong)?;
        if from == to {
            return Err(format!("`{text}` begins when it ends: a whole day is 00:00-24:00"));
        }
        Ok(Self { days, from, to })
    }

    /// `time` in milliseconds since 1970.
    pub fn contains(self, time: i64) -> bool {
        let minutes = time.div_euclid(MINUTE_MS);
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
        // 1 January 1970 was a Thursday
        let is_on = |day: i64| (self.days >> (day + 3).rem_euclid(7)) & 1 == 1;
        if self.from < self.to {
            is_on(day) && (self.from..self.to).contains(&minute)
        } else {
            (is_on(day) && minute >= self.from) || (is_on(day - 1) && minute < self.to)
        }
    }
}

fn parse_days(text: &str) -> Option<u8> {
    let number = |name: &str| DAYS.iter().position(|day| *day == name);
    text.split(',').try_fold(0, |days, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        // from Friday to Monday goes over the end of the week
        let count = (last + DAYS.len() - first) % DAYS.len();
        Some((first..=first + count).fold(days, |days, day| days | (1 << (day % DAYS.len()))))
    })
}

fn parse_times(text: &str) -> Option<(i64, i64)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from < DAY_MINUTES).then_some((from, to))
}

/// `00:00` to `24:00`.
fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let good = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        good.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY_MINUTES).then_some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    /// Mon 23 Nov 2026 00:00 UTC.
    const MONDAY: i64 = 1_795_392_000_000;

    fn contains(text: &str, day: i64, hour: i64) -> bool {
        Recurring::parse(text).unwrap().contains(MONDAY + (24 * day + hour) * HOUR)
    }

    #[test]
    fn a_stretch_has_days_and_times() {
        assert!(contains("02:00-04:00", 0, 2) && contains("02:00-04:00", 5, 3));
        assert!(!contains("02:00-04:00", 0, 1) && !contains("02:00-04:00", 0, 4), "the end is outside");
        assert!(contains("sat,sun", 5, 0) && contains("sat,sun", 6, 23) && !contains("sat,sun", 4, 23));
        assert!(contains("mon-fri 00:00-24:00", 0, 0) && !contains("mon-fri 00:00-24:00", 5, 0));
        assert!(contains("fri-mon", 6, 1) && contains("fri-mon", 0, 1) && !contains("fri-mon", 1, 1));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = "fri 22:00-06:00";
        assert!(contains(night, 4, 22) && contains(night, 5, 5));
        assert!(!contains(night, 4, 5) && !contains(night, 5, 6) && !contains(night, 5, 22));
        assert!(contains("sun 22:00-06:00", 7, 1), "into the next week");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "someday",
            "mon-",
            "mon 2-4",
            "02:00",
            "2:00-4:00",
            "24:00-25:00",
            "02:60-03:00",
            "02:00-04:00 mon",
            "mon 02:00-04:00 x",
            "+2:00-04:00",
        ] {
            assert!(Recurring::parse(bad).is_err(), "{bad}");
        }
        assert!(Recurring::parse("04:00-04:00").unwrap_err().contains("whole day"));
    }

    proptest! {
        #[test]
        fn a_time_and_the_rest_of_the_day_are_the_whole_day(
            from in 0..1_440_i64, to in 0..1_440_i64, minute in 0..10_080_i64,
        ) {
            prop_assume!(from != to);
            let text = |from: i64, to: i64| {
                format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
            };
            let time = MONDAY + minute * MINUTE_MS;
            let one = Recurring::parse(&text(from, to)).unwrap().contains(time);
            let other = Recurring::parse(&text(to, from)).unwrap().contains(time);
            prop_assert!(one != other);
        }
    }
}
