//! Filter and transform before the window. In: rules as YAML text, once; a server and a layout, once for each layout; the
//! values of each frame. Out: the series and values that are counted.
//!
//! ```text
//! text -> parse -> Filter -> plan(server, layout) -> Plan -> apply(values) -> values
//! ```
//! Invariant: a `Filter` that exists is right, and a plan is a function of (text, class of the server, layout) alone, so
//! that whoever reads the log again counts the same. How to write rules: docs/filters.md.

mod action;
mod compile;
mod derive;
mod expr;
mod formula;
mod matcher;
mod parse;
mod plan;
mod raw;
mod template;

use std::{fmt, sync::Arc};

use tidewatch_schemas::{Reason, Series};
use twox_hash::XxHash3_64;

use action::{Action, Rule};
pub use expr::Expr;
use matcher::Matcher;
pub use plan::{MOST_REFUSED, Plan, Refused, Source};

/// Bytes of a file of rules.
pub const MOST_BYTES: usize = 256 * 1_024;

/// Rules of a file.
pub const MOST_RULES: usize = 500;

/// What is wrong in a file of rules: the first thing, with its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FilterError {
    pub line: u64,
    pub message: String,
}

/// Rules, compiled. A clone is cheap.
#[derive(Clone, Default)]
pub struct Filter {
    /// `None`: no rules were ever given.
    compiled: Option<Arc<Compiled>>,
}

struct Compiled {
    text: String,
    fingerprint: u64,
    rules: Vec<Rule>,
    /// The different server matchers; a rule names its by number.
    servers: Vec<Matcher>,
}

impl Filter {
    /// Passes everything as it is.
    pub fn none() -> Self {
        Self::default()
    }

    /// Finds everything that can be wrong. A blank text is [`Filter::none`], so that what [`Filter::text`] gave can be read.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.trim().is_empty() {
            return Ok(Self::none());
        }
        let (rules, servers) = parse::parse(text)?;
        // 0 is none's
        let fingerprint = XxHash3_64::oneshot(text.as_bytes()).max(1);
        Ok(Self { compiled: Some(Arc::new(Compiled { text: text.to_owned(), fingerprint, rules, servers })) })
    }

    /// Whether there is no rule, so that every plan is the identity.
    pub fn is_none(&self) -> bool {
        self.rules().is_empty()
    }

    /// The source, for storing; empty for none.
    pub fn text(&self) -> &str {
        self.compiled.as_ref().map_or("", |compiled| &compiled.text)
    }

    /// Of the text; 0 for none.
    pub fn fingerprint(&self) -> u64 {
        self.compiled.as_ref().map_or(0, |compiled| compiled.fingerprint)
    }

    /// Servers of one class get the same plan for the same layout: one bit for each server matcher that matches, or the
    /// bits' hash when there are more than 64.
    pub fn class(&self, server: &str) -> u64 {
        let words: Vec<u64> = self.matching(server).chunks(64).map(word).collect();
        match words[..] {
            [] => 0,
            [word] => word,
            _ => XxHash3_64::oneshot(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()),
        }
    }

    /// What the rules make of a layout: worth keeping for each (class, layout).
    pub fn plan(&self, server: &str, layout: &[Series]) -> Plan {
        let matching = self.matching(server);
        let mut active = self.active(&matching).peekable();
        if active.peek().is_none() {
            return Plan::identity(layout);
        }
        let mut draft = plan::Draft::new(layout);
        active.for_each(|action| action.apply(&mut draft));
        draft.finish()
    }

    /// What the rules make of a histogram's series; `None` = they leave it out. Derived series are made of values alone.
    pub fn histogram(&self, server: &str, series: Series) -> Result<Option<Series>, Refused> {
        let matching = self.matching(server);
        let mut active =
            self.active(&matching).filter(|action| !matches!(action, Action::Derive(_))).peekable();
        if active.peek().is_none() {
            return Ok(Some(series));
        }
        let mut draft = plan::Draft::new(&[series]);
        active.for_each(|action| action.apply(&mut draft));
        let mut plan = draft.finish();
        match (plan.series.pop(), plan.sources.pop(), plan.refused.pop()) {
            (Some(series), Some(Source::Copy(_)), _) => Ok(Some(series)),
            (Some(series), ..) => Err(Refused {
                reason: Reason::Refused,
                message: format!("scale a histogram: {}", plan::named(&series)),
            }),
            (None, _, Some(refused)) => Err(refused),
            (None, _, None) => Ok(None),
        }
    }

    fn rules(&self) -> &[Rule] {
        self.compiled.as_ref().map_or(&[], |compiled| &compiled.rules)
    }

    /// For each server matcher, whether it matches.
    fn matching(&self, server: &str) -> Vec<bool> {
        let servers = self.compiled.as_ref().map_or(&[][..], |compiled| &compiled.servers);
        servers.iter().map(|matcher| matcher.is_match(server)).collect()
    }

    fn active<'a>(&'a self, matching: &'a [bool]) -> impl Iterator<Item = &'a Action> {
        let wanted = |rule: &&Rule| rule.server.is_none_or(|number| matching[number]);
        self.rules().iter().filter(wanted).map(|rule| &rule.action)
    }
}

fn word(bits: &[bool]) -> u64 {
    bits.iter().rev().fold(0, |word, &bit| word << 1 | u64::from(bit))
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({} rules, {:016x})", self.rules().len(), self.fingerprint())
    }
}

#[cfg(test)]
mod tests;
