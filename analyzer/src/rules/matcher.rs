//! `=`, `!=`, `=~`, `!~` against a text; `*` stands for anything where no quotes are around it. Regular expressions are
//! anchored at both ends, as Prometheus has them.

use regex_lite::Regex;

/// A test of one text.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// As it was written: two that were written alike are the same test.
    source: String,
    test: Test,
    wanted: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    /// What stands before, between and after the stars: two pieces at least.
    Glob(Vec<String>),
    Regex(Regex),
}

/// A test of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelMatcher {
    pub label: String,
    pub matcher: Matcher,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Matcher {
    pub fn is_match(&self, text: &str) -> bool {
        let same = match &self.test {
            Test::Equal(value) => value == text,
            Test::Glob(pieces) => stars(pieces, text),
            Test::Regex(regex) => regex.is_match(text),
        };
        same == self.wanted
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The one text that matches, if there is only one.
    pub fn exact(&self) -> Option<&str> {
        match &self.test {
            Test::Equal(value) if self.wanted => Some(value),
            _ => None,
        }
    }

    /// `web-1`, `web-*`, `!=web-1`, `=~web-.*`, `!~web-.*`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let source = text.trim();
        for (operator, wanted, is_regex) in
            [("=~", true, true), ("!~", false, true), ("!=", false, false), ("=", true, false)]
        {
            if let Some(value) = source.strip_prefix(operator) {
                let value = value.trim();
                let test = if is_regex { Test::Regex(anchored(unquote(value))?) } else { plain(value) };
                return Ok(Self { source: source.to_owned(), test, wanted });
            }
        }
        Ok(Self { source: source.to_owned(), test: plain(source), wanted: true })
    }
}

impl LabelMatcher {
    /// `mountpoint=/var`, `fstype!~tmpfs|overlay`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no label matcher such as mountpoint=/var or fstype!~tmpfs|overlay");
        let at = text.find(['=', '!']).ok_or_else(wrong)?;
        let (label, test) = text.split_at(at);
        if label.trim().is_empty() || (test.starts_with('!') && !test[1..].starts_with(['=', '~'])) {
            return Err(wrong());
        }
        Ok(Self { label: label.trim().to_owned(), matcher: Matcher::parse(test)? })
    }
}

/// In quotes a star is a star.
fn plain(value: &str) -> Test {
    let text = unquote(value);
    if text.len() == value.len() && text.contains('*') {
        Test::Glob(text.split('*').map(str::to_owned).collect())
    } else {
        Test::Equal(text.to_owned())
    }
}

/// Whether the pieces stand in the text, in this order, with anything between them.
fn stars(pieces: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for piece in middle {
        let Some((_, after)) = rest.split_once(piece.as_str()) else { return false };
        rest = after;
    }
    true
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn anchored(pattern: &str) -> Result<Regex, String> {
    let wrong = |error: regex_lite::Error| format!("`{pattern}` is no regular expression: {error}");
    // alone first: `a)(b` would be good inside the group that anchors it
    Regex::new(pattern).map_err(wrong)?;
    Regex::new(&format!("^(?:{pattern})$")).map_err(wrong)
}
