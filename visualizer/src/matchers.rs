//! Matchers on labels: `name=value`, `name!=value`, `name=~regex`, `name!~regex`. In: a parameter. Out: yes or no for a
//! label's value, and the servers that fit. Pure.
//!
//! Keeps: there is one engine of regular expressions, ours (`regex-lite`, RE2's syntax without Unicode classes): its time
//! is linear in the text, and no pattern ever reaches the database. A pattern has to match the whole value; a label that
//! is not there is an empty one.

use regex_lite::{Regex, RegexBuilder};
use tidewatch_schemas::validate::{Limits, check_metric_name};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::Server;

use crate::{
    app::Directory,
    params::{Params, bad},
};

/// What the labels of servers begin with in a question for series; `server.name` is the name.
pub(crate) const SERVER: &str = "server.";

/// Matchers in one request.
const MAX_MATCHERS: usize = 20;

/// Bytes of a value or a pattern.
const MAX_VALUE: usize = 1_024;

/// Memory of one compiled pattern; `.{1000}{1000}` has to fail here and not later.
const MAX_COMPILED: usize = 256 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    IsNot(String),
    Fits(Regex),
    FitsNot(Regex),
}

impl Matcher {
    pub(crate) fn matches(&self, value: &str) -> bool {
        match &self.test {
            Test::Is(wanted) => value == wanted,
            Test::IsNot(unwanted) => value != unwanted,
            Test::Fits(pattern) => pattern.is_match(value),
            Test::FitsNot(pattern) => !pattern.is_match(value),
        }
    }

    /// All matchers of the parameter `name`, which may be repeated.
    pub(crate) fn all(params: &Params, name: &str) -> Result<Vec<Self>, Problem> {
        let texts: Vec<&str> = params.all(name).collect();
        if texts.len() > MAX_MATCHERS {
            return Err(bad(name, &format!("may be given {MAX_MATCHERS} times at most")));
        }
        texts.into_iter().map(|text| Self::parse(name, text)).collect()
    }

    fn parse(parameter: &str, text: &str) -> Result<Self, Problem> {
        let expected = "has to be label=value, label!=value, label=~regex or label!~regex";
        let end = text.find(['=', '!']).ok_or_else(|| bad(parameter, expected))?;
        let (label, rest) = text.split_at(end);
        check_metric_name(label, &Limits::default()).map_err(|_| bad(parameter, expected))?;
        if rest.len() > MAX_VALUE {
            return Err(bad(parameter, &format!("has a value of more than {MAX_VALUE} bytes")));
        }
        let pattern = |text: &str| regex(text).map_err(|why| bad(parameter, &why));
        let test = if let Some(text) = rest.strip_prefix("=~") {
            Test::Fits(pattern(text)?)
        } else if let Some(text) = rest.strip_prefix("!~") {
            Test::FitsNot(pattern(text)?)
        } else if let Some(text) = rest.strip_prefix("!=") {
            Test::IsNot(text.to_owned())
        } else if let Some(text) = rest.strip_prefix('=') {
            Test::Is(text.to_owned())
        } else {
            return Err(bad(parameter, expected));
        };
        Ok(Self { label: label.to_owned(), test })
    }

    /// The same matcher for the label behind a prefix (`server.`), when it has that.
    pub(crate) fn behind(&self, prefix: &str) -> Option<Self> {
        let label = self.label.strip_prefix(prefix).filter(|label| !label.is_empty())?;
        Some(Self { label: label.to_owned(), test: self.test.clone() })
    }
}

/// What stands behind [`SERVER`]: the name, the address or a label; empty when it is not there.
pub(crate) fn of_server<'a>(server: &'a Server, label: &str) -> &'a str {
    match label {
        "name" => &server.name,
        "ip_address" => server.ip_address.as_deref().unwrap_or_default(),
        other => server.labels.get(other).map_or("", String::as_str),
    }
}

/// The servers that the matchers on them leave; `None` when there is no such matcher.
pub(crate) fn servers(matchers: &[Matcher], directory: &Directory) -> Option<Vec<i32>> {
    let on_server: Vec<Matcher> = matchers.iter().filter_map(|matcher| matcher.behind(SERVER)).collect();
    let fits = |server: &&Server| on_server.iter().all(|m| m.matches(of_server(server, &m.label)));
    let ids = || directory.servers.iter().filter(fits).map(|server| server.id).collect();
    (!on_server.is_empty()).then(ids)
}

/// The pattern for whole values. It is compiled alone first: `a)|(b` would slip out of the group around it.
fn regex(text: &str) -> Result<Regex, String> {
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build();
    let whole = compile(text).and_then(|_| compile(&format!("\\A(?:{text})\\z")));
    whole.map_err(|error| {
        let why: String = error.to_string().chars().take(120).collect();
        format!("has a regular expression that is none or too large: {why}")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Matcher, Problem> {
        Matcher::parse("match", text)
    }

    #[test]
    fn a_matcher_says_yes_or_no_to_the_whole_value() {
        for (text, yes, no) in [
            ("a=b", "b", "bb"),
            ("a=", "", "b"),
            ("a!=b", "", "b"),
            ("a=~b|c", "c", "bc"),
            ("a=~w.*1", "web-1", "web-11x"),
            ("a!~w.*", "db", "web"),
            ("a==~x", "=~x", "x"),
            ("a=!b", "!b", "b"),
            ("node.kind/x:y=z", "z", ""),
            ("a='; DROP TABLE servers; --", "'; DROP TABLE servers; --", ""),
        ] {
            let matcher = parse(text).expect(text);
            assert!(matcher.matches(yes) && !matcher.matches(no), "{text}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused_by_name() {
        let many = "(?:a{500}){500}";
        for bad in ["", "a", "=b", "a b=c", "1=2", "a!b", "a=~(", "a=~b)|(c", &format!("a=~{many}")] {
            let problem = parse(bad).expect_err(bad);
            assert!(format!("{problem:?}").contains("match: has"), "{bad}: {problem:?}");
        }
        assert!(parse(&format!("a={}", "x".repeat(2_000))).is_err());
    }

    #[test]
    fn a_prefix_names_whose_label_is_meant() {
        let matcher = parse("server.os=Debian").expect("good");
        assert_eq!(matcher.behind("server.").map(|m| m.label).as_deref(), Some("os"));
        assert!(matcher.behind("series.").is_none());
        assert!(parse("server.=x").expect("good").behind("server.").is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fail(text in "\\PC{0,40}|a[=!]~?\\PC{0,30}", value in "\\PC{0,40}") {
            if let Ok(matcher) = parse(&text) {
                let _ = matcher.matches(&value);
            }
        }

        #[test]
        fn a_text_and_its_opposite_never_agree(text in "[a-c.*|]{0,6}", value in "[a-c]{0,4}") {
            for (yes, no) in [("=", "!="), ("=~", "!~")] {
                if let (Ok(yes), Ok(no)) = (parse(&format!("l{yes}{text}")), parse(&format!("l{no}{text}"))) {
                    prop_assert_ne!(yes.matches(&value), no.matches(&value));
                }
            }
        }
    }
}
