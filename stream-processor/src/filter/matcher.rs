//! Filter: which texts and which series a rule is about. In: `go_*`, `/node_(cpu|disk)_.*/`, `!tmpfs`, and texts to test.
//! Out: yes or no, and what the stars and groups stood for.
//!
//! Invariant: a match is about the whole text, and takes time linear in it, whatever the pattern is.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use tidewatch_schemas::Series;

/// Bytes of one pattern.
const MOST_PATTERN_BYTES: usize = 1_000;

/// Bytes of one compiled expression: all of a file's together stay below 100 MiB, however they are written.
const MOST_REGEX_BYTES: usize = 96 * 1_024;

/// A test of one text.
#[derive(Clone)]
pub(super) struct Matcher {
    source: String,
    test: Test,
    wanted: bool,
}

#[derive(Clone)]
enum Test {
    Exact(String),
    /// What stands before, between and after the stars: two pieces at least.
    Glob(Vec<String>),
    Regex(Regex),
}

impl Matcher {
    /// `text`, `gl*b`, `/regex/`; any of them with `!` before it for "not".
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let (wanted, pattern) = source.strip_prefix('!').map_or((true, source), |rest| (false, rest));
        if pattern.len() > MOST_PATTERN_BYTES {
            return Err(format!("read a pattern: it has more than {MOST_PATTERN_BYTES} bytes"));
        }
        let regex = pattern.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let test = if let Some(regex) = regex {
            // checked alone first: `a)(b` would be good inside the group that anchors it
            compile(regex).map_err(|reason| format!("compile `{pattern}`: {reason}"))?;
            let anchored = format!("^(?:{regex})$");
            Test::Regex(compile(&anchored).map_err(|reason| format!("compile `{pattern}`: {reason}"))?)
        } else if pattern.contains('*') {
            Test::Glob(pattern.split('*').map(str::to_owned).collect())
        } else {
            Test::Exact(pattern.to_owned())
        };
        Ok(Self { source: source.to_owned(), test, wanted })
    }

    /// As it was written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn is_regex(&self) -> bool {
        matches!(self.test, Test::Regex(_))
    }

    /// The texts that have to stand in whatever matches; nothing is known of a regular expression's.
    pub(super) fn literals(&self) -> &[String] {
        match &self.test {
            Test::Exact(text) => std::slice::from_ref(text),
            Test::Glob(pieces) => pieces,
            Test::Regex(_) => &[],
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        let same = match &self.test {
            Test::Exact(wanted) => wanted == text,
            Test::Glob(pieces) => stars(pieces, text, |_| ()),
            Test::Regex(regex) => regex.is_match(text),
        };
        same == self.wanted
    }

    /// How many groups a template may name besides `$0`; a negated matcher has none at all.
    pub(super) fn groups(&self) -> Option<usize> {
        self.wanted.then(|| match &self.test {
            Test::Exact(_) => 0,
            Test::Glob(pieces) => pieces.len() - 1,
            Test::Regex(regex) => regex.captures_len() - 1,
        })
    }

    /// The number of a group with a name.
    pub(super) fn group_named(&self, name: &str) -> Option<usize> {
        let Test::Regex(regex) = &self.test else { return None };
        regex.capture_names().position(|known| known == Some(name))
    }

    /// How many stars a template may repeat.
    pub(super) fn stars(&self) -> usize {
        match &self.test {
            Test::Glob(pieces) if self.wanted => pieces.len() - 1,
            _ => 0,
        }
    }

    /// The groups of a text that matches, `$0` first; a group that took no part is empty.
    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let mut groups = vec![text];
        match &self.test {
            _ if !self.wanted => self.is_match(text).then_some(groups),
            Test::Exact(wanted) => (wanted == text).then_some(groups),
            Test::Glob(pieces) => stars(pieces, text, |star| groups.push(star)).then_some(groups),
            Test::Regex(regex) => {
                let found = regex.captures(text)?;
                Some(found.iter().map(|group| group.map_or("", |group| group.as_str())).collect())
            }
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(pattern).size_limit(MOST_REGEX_BYTES).dot_matches_new_line(true).build()
}

/// Whether the pieces stand in the text with anything between them. A star takes as little as it can, the last one the rest.
fn stars<'t>(pieces: &[String], text: &'t str, mut star: impl FnMut(&'t str)) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for piece in middle {
        let Some((before, after)) = rest.split_once(piece.as_str()) else { return false };
        star(before);
        rest = after;
    }
    star(rest);
    true
}

/// A test of a series: its metric, and labels of its. What is not asked for may be anything.
#[derive(Debug, Clone)]
pub(super) struct SeriesMatcher {
    pub(super) metric: Option<Matcher>,
    pub(super) labels: Vec<(String, Matcher)>,
}

impl SeriesMatcher {
    /// Without any question it is about every series.
    pub(super) fn is_empty(&self) -> bool {
        self.metric.is_none() && self.labels.is_empty()
    }

    pub(super) fn is_match(&self, series: &Series) -> bool {
        self.metric.as_ref().is_none_or(|metric| metric.is_match(&series.metric))
            && self.labels.iter().all(|(name, value)| value.is_match(label(series, name)))
    }
}

/// A label's value; one that is missing is empty.
pub(super) fn label<'s>(series: &'s Series, name: &str) -> &'s str {
    series.labels.get(name).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
        Matcher::parse(pattern).unwrap().captures(text)
    }

    #[test]
    fn a_text_a_glob_and_a_regex_match_the_whole_text() {
        for (pattern, yes, no) in [
            ("up", "up", "upper"),
            ("node_*", "node_", "my_node_"),
            ("*_total", "a_total", "a_totals"),
            ("a*b*c", "axbxbxc", "acb"),
            ("a*a", "aa", "a"),
            ("/a|b/", "b", "ab"),
            ("/", "/", "//"),
            ("//var//", "/var/", "var"),
            ("!tmpfs", "ext4", "tmpfs"),
            ("!/tmp.*/", "ext4", "tmpfs"),
            ("!", "x", ""),
            ("", "", "x"),
        ] {
            let matcher = Matcher::parse(pattern).unwrap();
            assert!(matcher.is_match(yes), "{pattern} {yes}");
            assert!(!matcher.is_match(no), "{pattern} {no}");
            assert!(matcher.captures(yes).is_some() && matcher.captures(no).is_none(), "{pattern}");
        }
    }

    #[test]
    fn stars_and_groups_say_what_they_stood_for() {
        assert_eq!(captures("a*_*", "ab_c_d").unwrap(), ["ab_c_d", "b", "c_d"]);
        assert_eq!(captures("/(a)?(b)/", "b").unwrap(), ["b", "", "b"]);
        assert_eq!(captures("!x", "y").unwrap(), ["y"]);
    }

    #[test]
    fn a_pattern_that_is_wrong_or_too_large_is_refused() {
        for bad in ["/(/", "/a)(b/", "/a{1000}{1000}/", &"x".repeat(1_001)] {
            assert!(Matcher::parse(bad).is_err(), "{bad}");
        }
    }
}
