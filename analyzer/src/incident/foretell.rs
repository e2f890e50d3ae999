//! What a forecast says: when a limit is reached, as a range, and how fast the series goes.
//!
//! In: a rule, the series, its course. Out: an `Alert`. Times are rounded so that the range that is said encloses the one
//! that was found.

use tidewatch_schemas::{Alert, Series};

use super::{Window, of_series, sentences, unit_of, words};
use crate::{
    rules::{Forecast, Measure, Rule, Side, Threshold},
    trend::{Course, Reach},
};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// What the end of the way is called where everybody knows it: metric, what it is divided by, limit, the thing, and what
/// becomes of it.
const ENDS: [(&str, Option<&str>, f64, &str, &str); 5] = [
    ("tidewatch_host_filesystem_used_percent", None, 100.0, "Disk", "full"),
    ("node_filesystem_files_free", None, 0.0, "Inodes of", "used up"),
    ("tidewatch_host_memory_used_percent", None, 100.0, "Memory", "used up"),
    ("node_filefd_allocated", Some("node_filefd_maximum"), 1.0, "File handles", "used up"),
    ("node_processes_threads", Some("node_processes_max_processes"), 1.0, "Threads", "used up"),
];

/// What is known when a forecast is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foretold {
    pub value: f64,
    pub course: Course,
    pub reach: Reach,
}

/// A limit that a series is going to cross.
pub fn forecast(
    rule: &Rule,
    forecast: &Forecast,
    server: &str,
    series: &Series,
    foretold: Foretold,
    starts_at: i64,
    window: Window,
) -> Alert {
    let beyond = &forecast.beyond;
    let (thing, end) = end_of(series, beyond);
    let Foretold { value, course, reach } = foretold;
    let (likely, range) = (about(reach.likely_ms), between(reach));
    let quantity = |value: f64| words::measured(value, series, beyond);
    let slope = course.slope();
    let (way, slow, fast) = if slope.likely < 0.0 {
        ("falling", slope.high, slope.low)
    } else {
        ("rising", slope.low, slope.high)
    };
    let (slow, fast) = (quantity(slow.abs()), quantity(fast.abs()));
    let spread = if slow == fast { String::new() } else { format!(" ({slow} to {fast})") };
    let seen = format!(
        "{} {}, {way} by {} an hour{spread} for {}.",
        words::subject(series, beyond),
        quantity(value),
        quantity(slope.likely.abs()),
        words::duration(course.seen_ms()),
    );
    let goes_on = format!(
        "If it goes on like this: {end} in {likely} from {} on, {range} in 8 of 10 cases.",
        words::clock(window.end)
    );
    Alert {
        title: format!("{thing} {end} in {likely}, {range}, on {server}"),
        explanation: sentences([rule.summary.clone(), Some(seen), Some(goes_on)]),
        unit: unit_of(series, beyond),
        value: Some(value),
        ..of_series(rule, server, series, starts_at, window)
    }
}

/// Title and explanation of a forecast that is over.
pub(super) fn averted(server: &str, series: &Series, value: f64, forecast: &Forecast) -> (String, String) {
    let beyond = &forecast.beyond;
    let (thing, end) = end_of(series, beyond);
    (
        format!("{thing} no longer foreseen to be {end} on {server}"),
        format!(
            "{} is at {}; as it goes now it is not {end} within {}.",
            words::subject(series, beyond),
            words::measured(value, series, beyond),
            words::duration(forecast.within_ms)
        ),
    )
}

/// The thing and its end: `Disk /var`, `full`.
fn end_of(series: &Series, beyond: &Threshold) -> (String, String) {
    let by = if let Measure::Ratio(by) = &beyond.measure { Some(by.as_str()) } else { None };
    let known = ENDS.iter().find(|(metric, divisor, limit, ..)| {
        *metric == series.metric && *divisor == by && *limit == beyond.limit
    });
    if let Some((_, _, _, thing, end)) = known {
        let place = series.labels.get("mountpoint").map_or(String::new(), |place| format!(" {place}"));
        return (format!("{thing}{place}"), (*end).to_owned());
    }
    let side = match beyond.side {
        Side::Above => "above",
        Side::Below => "below",
    };
    (words::subject(series, beyond), format!("{side} {}", words::measured(beyond.limit, series, beyond)))
}

/// `6 h 40 min`: no more figures than it is worth.
fn about(millis: i64) -> String {
    let step = if millis < HOUR_MS {
        MINUTE_MS
    } else if millis < 12 * HOUR_MS {
        10 * MINUTE_MS
    } else {
        HOUR_MS
    };
    words::duration(((millis + step / 2) / step * step).max(MINUTE_MS))
}

/// `between 5 h and 9 h`, rounded outwards.
fn between(reach: Reach) -> String {
    let (down, up) = (coarse(reach.earliest_ms), coarse(reach.latest_ms));
    let earliest = reach.earliest_ms.max(0) / down * down;
    let latest = words::duration(reach.latest_ms.max(1).saturating_add(up - 1) / up * up);
    if earliest == 0 {
        format!("at most {latest}")
    } else {
        format!("between {} and {latest}", words::duration(earliest))
    }
}

fn coarse(millis: i64) -> i64 {
    if millis < HOUR_MS / 2 {
        MINUTE_MS
    } else if millis < 2 * HOUR_MS {
        5 * MINUTE_MS
    } else if millis < 12 * HOUR_MS {
        30 * MINUTE_MS
    } else {
        HOUR_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Matcher, Selector};

    fn plain(text: &str) -> String {
        text.replace('\u{202f}', " ")
    }

    fn reach(earliest: i64, likely: i64, latest: i64) -> Reach {
        let [earliest_ms, likely_ms, latest_ms] =
            [earliest, likely, latest].map(|minutes| minutes * MINUTE_MS);
        Reach { earliest_ms, likely_ms, latest_ms }
    }

    #[test]
    fn ranges_are_rounded_outwards() {
        for (earliest, likely, latest, about_text, range_text) in [
            (305, 403, 521, "6 h 40 min", "between 5 h and 9 h"),
            (399, 400, 401, "6 h 40 min", "between 6 h 30 min and 7 h"),
            (21, 24, 28, "24 min", "between 21 min and 28 min"),
            (0, 3, 12, "3 min", "at most 12 min"),
            (1_000, 1_200, 1_500, "20 h", "between 16 h and 1 d 1 h"),
        ] {
            let reach = reach(earliest, likely, latest);
            assert_eq!(plain(&about(reach.likely_ms)), about_text);
            assert_eq!(plain(&between(reach)), range_text);
        }
        assert_eq!(plain(&about(10)), "1 min");
        assert_eq!(plain(&between(Reach { earliest_ms: 0, likely_ms: 0, latest_ms: 0 })), "at most 1 min");
    }

    #[test]
    fn an_end_has_a_name_where_everybody_knows_it() {
        let beyond = |metric: &str, measure: Measure, side: Side, limit: f64| Threshold {
            select: Selector { metric: Matcher::parse(metric).unwrap(), labels: Vec::new() },
            of: None,
            measure,
            side,
            limit,
            clear: limit,
        };
        let disk =
            Series::gauge("tidewatch_host_filesystem_used_percent", "percent").with("mountpoint", "/var");
        let measured = |series: &Series, measure: Measure, side: Side, limit: f64| {
            let (thing, end) = end_of(series, &beyond(&series.metric, measure, side, limit));
            plain(&format!("{thing} {end}"))
        };
        let said = |series: &Series, side, limit| measured(series, Measure::Figure, side, limit);
        assert_eq!(said(&disk, Side::Above, 100.0), "Disk /var full");
        assert_eq!(said(&disk, Side::Above, 95.0), "File system used of /var above 95 %");
        let inodes = Series::gauge("node_filesystem_files_free", "").with("mountpoint", "/");
        assert_eq!(said(&inodes, Side::Below, 0.0), "Inodes of / used up");
        assert_eq!(said(&Series::gauge("queue_length", ""), Side::Above, 5e4), "queue_length above 50,000");
        let handles = Series::gauge("node_filefd_allocated", "");
        let of_all = || Measure::Ratio("node_filefd_maximum".to_owned());
        assert_eq!(measured(&handles, of_all(), Side::Above, 1.0), "File handles used up");
        assert_eq!(said(&handles, Side::Above, 1.0), "File handles in use above 1");
        assert_eq!(
            measured(&handles, of_all(), Side::Above, 0.9),
            "File handles in use divided by node_filefd_maximum above 0.9"
        );
    }
}
