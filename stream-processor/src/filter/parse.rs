//! Filter: a file of rules. In: YAML text. Out: compiled rules and the different server matchers, or the first thing that
//! is wrong: its line, and one short line in the words of somebody who writes rules.
//!
//! Invariant: sizes are checked before anything is made of the text.

use super::{FilterError, MOST_BYTES, MOST_RULES, action::Rule, compile::Compiler, matcher::Matcher, raw};

/// Bytes of a complaint.
const MOST_MESSAGE_BYTES: usize = 300;

pub(super) type Parsed<T> = Result<T, FilterError>;

pub(super) fn parse(text: &str) -> Parsed<(Vec<Rule>, Vec<Matcher>)> {
    if text.len() > MOST_BYTES {
        return Err(wrong(1, format!("read a file of {} bytes: the limit is {MOST_BYTES}", text.len())));
    }
    let is_comment = |line: &str| line.trim_start().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_comment) {
        return Err(wrong(1, "read yaml: it has no `rules`, only comments"));
    }
    let file = read(text)?;
    if let Some(first) = file.rules.get(MOST_RULES) {
        return Err(wrong(first.defined.line(), format!("read a rule: more than {MOST_RULES} of them")));
    }
    let mut compiler = Compiler::default();
    let rules = file
        .rules
        .into_iter()
        .map(|rule| compiler.rule(rule.value, rule.defined.line()))
        .collect::<Parsed<_>>()?;
    Ok((rules, compiler.into_servers()))
}

/// Without anchors: a file means what stands there, and a `*` or a `!` that nobody quoted is found.
fn read(text: &str) -> Parsed<raw::File> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 0, max_anchors: 0, max_documents: 1, max_depth: 16 },
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |at| at.line());
        wrong(line.max(1), format!("read yaml: {}", one_line(&error.to_string())))
    })
}

/// The message alone, in the words of somebody who writes rules: the line is said by us.
fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let first =
        first.strip_prefix("line ").and_then(|rest| rest.split_once(": ")).map_or(first, |(_, rest)| rest);
    let first = first.split(" at line ").next().unwrap_or(first);
    let first = first.split(", set DuplicateKeyPolicy").next().unwrap_or(first);
    for (known, plain) in [
        ("alias references", "quote a text that begins with `*`"),
        ("unsupported tag", "quote a text that begins with `!`"),
        ("budget breached: Anchors", "quote a text that begins with `&`: there are no anchors"),
        ("budget breached: Aliases", "quote a text that begins with `*`"),
        ("budget breached: Documents", "a file is one document"),
        ("budget breached: Depth", "too many levels"),
    ] {
        if first.starts_with(known) {
            return plain.to_owned();
        }
    }
    first.to_owned()
}

/// Whatever a text contains, a complaint is one short line.
pub(super) fn wrong(line: u64, message: impl AsRef<str>) -> FilterError {
    let is_odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut message: String = message.as_ref().replace(is_odd, " ");
    if message.len() > MOST_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MOST_MESSAGE_BYTES));
        message.push_str("...");
    }
    FilterError { line, message }
}
