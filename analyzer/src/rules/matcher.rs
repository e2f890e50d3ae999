//! `=`, `!=`, `=~`, `!~` against a text; regular expressions are anchored at both ends, as Prometheus has them.

use regex_lite::Regex;

/// A test of one text.
#[derive(Debug, Clone)]
pub struct Matcher {
    test: Test,
    wanted: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    Regex(Regex),
}

/// A test of one label.
#[derive(Debug, Clone)]
pub struct LabelMatcher {
    pub label: String,
    pub matcher: Matcher,
}

impl Matcher {
    pub fn is_match(&self, text: &str) -> bool {
        let same = match &self.test {
            Test::Equal(value) => value == text,
            Test::Regex(regex) => regex.is_match(text),
        };
        same == self.wanted
    }

    /// `web-1`, `!=web-1`, `=~web-.*`, `!~web-.*`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        for (operator, wanted, is_regex) in
            [("=~", true, true), ("!~", false, true), ("!=", false, false), ("=", true, false)]
        {
            if let Some(value) = text.strip_prefix(operator) {
                let value = unquote(value.trim());
                let test =
                    if is_regex { Test::Regex(anchored(value)?) } else { Test::Equal(value.to_owned()) };
                return Ok(Self { test, wanted });
            }
        }
        Ok(Self { test: Test::Equal(unquote(text).to_owned()), wanted: true })
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

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn anchored(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|error| format!("`{pattern}` is no regular expression: {error}"))
}
