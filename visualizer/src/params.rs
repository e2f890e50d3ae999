//! Parameters of a request: names, times, limits. In: the query string. Out: typed values, or the 400 that names the
//! parameter.
//!
//! Keeps: an unknown or repeated parameter is refused, so that a typing error never answers something else than was asked.

use axum::http::StatusCode;
use tidewatch_schemas::{time::parse_rfc3339, validate};
use tidewatch_service_kit::http::Problem;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Names of series in one request.
const MAX_METRICS: usize = 200;

/// Bytes of a text to look for.
const MAX_TEXT: usize = 256;

/// Parameters that may be given more than once.
const REPEATABLE: [&str; 3] = ["metric", "label", "match"];

/// The longest range of one request.
const MAX_RANGE: i64 = 400 * DAY;

/// 400 with the parameter's name, and what is expected of it.
pub(crate) fn bad(parameter: &str, expected: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", format!("{parameter}: {expected}"))
        .with("parameter", parameter.into())
}

/// The decoded query string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes, and refuses names that are not in `known`.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        let uri = format!("/?{query}").parse::<axum::http::Uri>();
        let pairs = uri.ok().and_then(|uri| {
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok().map(|q| q.0)
        });
        let pairs = pairs.ok_or_else(|| bad("query string", "has to be URL-encoded UTF-8"))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let name: String = name.chars().take(64).collect();
                return Err(bad(&name, &format!("is not known here; known are {}", known.join(", "))));
            }
            if !REPEATABLE.contains(&name.as_str()) && pairs[..index].iter().any(|(before, _)| before == name)
            {
                return Err(bad(name, "may be given once"));
            }
        }
        Ok(Self(pairs))
    }

    /// Whether a query string has a parameter: some decide which others are known.
    pub(crate) fn names(query: Option<&str>, name: &str) -> bool {
        let mut names =
            query.unwrap_or_default().split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        names.any(|found| found == name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The query string again, encoded, without some parameters.
    pub(crate) fn query_without(&self, without: &[&str]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A text to look for; empty when it is not given.
    pub(crate) fn text<'a>(&'a self, name: &str) -> Result<&'a str, Problem> {
        let text = self.get(name).unwrap_or_default();
        if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err(bad(name, &format!("may have {MAX_TEXT} bytes at most, all in one line")));
        }
        Ok(text)
    }

    /// `metric`, repeatable or comma-separated; sorted, each once. Empty = all.
    pub(crate) fn metrics(&self) -> Result<Vec<String>, Problem> {
        let mut metrics = Vec::new();
        for (_, value) in self.0.iter().filter(|(name, _)| name == "metric") {
            for name in value.split(',') {
                validate::check_metric_name(name, &validate::Limits::default())
                    .map_err(|_| bad("metric", "has to be a metric name, or several with commas between"))?;
                metrics.push(name.to_owned());
            }
        }
        if metrics.len() > MAX_METRICS {
            return Err(bad("metric", "may name at most 200 metrics"));
        }
        metrics.sort_unstable();
        metrics.dedup();
        Ok(metrics)
    }

    /// A time, when given.
    pub(crate) fn time(&self, name: &str, now: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let expected =
            "has to be a time: RFC 3339, milliseconds since 1970, or relative such as now, now-6h, now-90s";
        parse_time(text, now).map(Some).ok_or_else(|| bad(name, expected))
    }

    /// `from` and `to`, with `default` milliseconds up to now.
    pub(crate) fn range(&self, now: i64, default: i64) -> Result<Range, Problem> {
        let to = self.time("to", now)?.unwrap_or(now);
        let from = self.time("from", now)?.unwrap_or(to - default);
        if from >= to {
            return Err(bad("from", "has to be before to"));
        }
        if to - from > MAX_RANGE {
            return Err(bad("from", "may be at most 400 days before to"));
        }
        Ok(Range { from, to })
    }

    /// Yes or no, when given.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(bad(name, "has to be true or false")),
        }
    }

    /// A whole number within `least..=most`.
    pub(crate) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(bad(name, &format!("has to be a whole number from {least} to {most}"))),
        }
    }
}

/// Milliseconds since 1970: `from` inclusive, `to` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Range {
    /// What tells this range from others in the memory of answers: a range that ends now is "the last so much", however
    /// late it is asked again; any other is itself. `now` is the one it was read with.
    pub(crate) fn key(&self, now: i64) -> String {
        if self.to == now {
            format!("last {}", (self.to - self.from + 5 * SECOND).div_euclid(10 * SECOND))
        } else {
            format!("{} {}", self.from, self.to)
        }
    }
}

/// RFC 3339, milliseconds, `now`, `now-<n><ms|s|m|h|d|w>` or with `+`; within the years 2000 to 2200.
pub(crate) fn parse_time(text: &str, now: i64) -> Option<i64> {
    const LATEST: i64 = 7_258_118_400_000;
    let time = if let Some(rest) = text.strip_prefix("now") {
        if rest.is_empty() {
            now
        } else {
            let (sign, amount) = match rest.as_bytes().first()? {
                b'-' => (-1, &rest[1..]),
                // a + that was not encoded arrives as a blank
                b'+' | b' ' => (1, &rest[1..]),
                _ => return None,
            };
            let split = amount.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = amount.split_at(split);
            let size = match unit {
                "ms" => 1,
                "s" => SECOND,
                "m" => MINUTE,
                "h" => HOUR,
                "d" => DAY,
                "w" => 7 * DAY,
                _ => return None,
            };
            now.checked_add(number.parse::<i64>().ok()?.checked_mul(size)?.checked_mul(sign)?)?
        }
    } else if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()?
    } else {
        // the + of an offset, not encoded
        parse_rfc3339(&text.replace(' ', "+"))?
    };
    (validate::EARLIEST..=LATEST).contains(&time).then_some(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidewatch_schemas::time::rfc3339;

    use super::*;

    const NOW: i64 = 1_795_443_360_000;

    proptest! {
        #[test]
        fn a_time_reads_the_same_in_all_its_forms(ms in validate::EARLIEST..4_000_000_000_000) {
            prop_assert_eq!(parse_time(&ms.to_string(), NOW), Some(ms));
            prop_assert_eq!(parse_time(&rfc3339(ms), NOW), Some(ms));
        }

        #[test]
        fn a_relative_time_is_that_far_from_now(n in 0_i64..7_000, unit in 0_usize..5) {
            let (letter, size) = [("ms", 1), ("s", SECOND), ("m", MINUTE), ("h", HOUR), ("d", DAY)][unit];
            prop_assert_eq!(parse_time(&format!("now-{n}{letter}"), NOW), Some(NOW - n * size));
        }

        #[test]
        fn no_text_makes_the_parser_fail_or_leave_its_years(text in "\\PC{0,24}|now[-+][0-9]{0,24}[a-z]{0,2}|[0-9]{0,30}") {
            if let Some(time) = parse_time(&text, NOW) {
                prop_assert!((validate::EARLIEST..=7_258_118_400_000).contains(&time));
            }
        }

        #[test]
        fn a_query_string_can_be_written_again(values in prop::collection::vec("\\PC{0,20}", 0..4)) {
            let params = Params(values.into_iter().map(|value| ("label".to_owned(), value)).collect());
            let again = Params::parse(Some(&params.query_without(&[])), &["label"]).expect("good");
            prop_assert_eq!(again.0, params.0);
        }

        #[test]
        fn no_query_string_makes_the_parser_fail(query in "\\PC{0,60}") {
            if let Ok(params) = Params::parse(Some(&query), &["from", "to", "metric"]) {
                let _ = (params.range(NOW, HOUR).is_ok(), params.metrics().is_ok());
            }
        }
    }

    fn code(result: Result<impl std::fmt::Debug, Problem>) -> (u16, String) {
        let problem = result.expect_err("a bad parameter");
        (problem.status().as_u16(), format!("{problem:?}"))
    }

    #[test]
    fn a_bad_parameter_is_named() {
        let known = &["from", "to", "metric", "limit"];
        let parse = |query: &str| Params::parse(Some(query), known);
        for (query, name) in [("from=yesterday", "from"), ("to=now-5", "to"), ("from=now&to=now-1h", "from")]
        {
            let (status, text) = code(parse(query).and_then(|p| p.range(NOW, HOUR)));
            assert_eq!(status, 400);
            assert!(text.contains(&format!("\"{name}: ")), "{query}: {text}");
        }
        assert!(code(parse("form=now-1h")).1.contains("form: is not known"));
        assert!(code(parse("from=now-1h&from=now-2h")).1.contains("from: may be given once"));
        assert!(code(parse("limit=-1").and_then(|p| p.number("limit", 1, 10))).1.contains("limit: "));
        assert!(code(parse("metric=a,,b").and_then(|p| p.metrics())).1.contains("metric: "));
    }

    #[test]
    fn metrics_may_be_repeated_or_listed() {
        let params = Params::parse(Some("metric=b,a&metric=c&metric=a"), &["metric"]).expect("good");
        assert_eq!(params.metrics().expect("good"), ["a", "b", "c"]);
    }

    #[test]
    fn a_range_that_ends_now_keeps_its_key() {
        let asked = |now: i64| Range { from: now - HOUR, to: now }.key(now);
        assert_eq!(asked(NOW), asked(NOW + 3_000));
        let just_past = Range { from: NOW - HOUR, to: NOW - SECOND };
        assert_eq!(just_past.key(NOW), just_past.key(NOW + HOUR), "an absolute range stays itself");
        let past = Range { from: NOW - 2 * HOUR, to: NOW - HOUR };
        assert_eq!(past.key(NOW), past.key(NOW + HOUR));
    }
}
