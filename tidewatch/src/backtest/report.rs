//! What came of a backtest, in words: for each rule how many alerts, how long they were open, where most of them were, and the
//! first few as they would have been said.
//!
//! In: servers, one after the other. Out: text. Keeps: of each rule counts and a few alerts, however many there were.

use std::{collections::BTreeMap, fmt::Write as _};

use tidewatch_analyzer::{
    incident::words,
    rules::{LEARNED, RuleSet},
};
use tidewatch_schemas::time::rfc3339;

use super::{Heard, Span, differ::Changes, frames::WINDOW_MS, play::Found};

/// Servers named in the table for each rule.
const BUSIEST: usize = 3;
/// Differences that are listed in words.
const LISTED: usize = 20;

/// What one rule would have said.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct OfRule {
    pub(super) alerts: usize,
    pub(super) open_ms: i64,
    pub(super) still_open: usize,
    /// Open already when the time began; not among `alerts`.
    pub(super) already: usize,
    pub(super) servers: BTreeMap<String, usize>,
    first: Vec<Found>,
}

impl OfRule {
    /// The servers with most alerts, and how many.
    fn busiest(&self) -> Vec<(&str, usize)> {
        let mut servers: Vec<(&str, usize)> =
            self.servers.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        servers.sort_by_key(|(_, alerts)| std::cmp::Reverse(*alerts));
        servers.truncate(BUSIEST);
        servers
    }
}

/// How many alerts changed, and the first of them.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Tally {
    pub(super) same: usize,
    pub(super) moved: usize,
    pub(super) added: usize,
    pub(super) removed: usize,
    first: Vec<(char, Found)>,
}

impl Tally {
    fn add(&mut self, changes: &Changes) {
        self.same += changes.same.len();
        self.moved += changes.moved.len();
        self.added += changes.added.len();
        self.removed += changes.removed.len();
        let added = changes.added.iter().map(|found| ('+', found));
        let removed = changes.removed.iter().map(|found| ('-', found));
        let moved = changes.moved.iter().map(|(_, found)| ('~', found));
        for (mark, found) in added.chain(removed).chain(moved) {
            let place = self.first.partition_point(|(_, known)| order(known) <= order(found));
            if place < LISTED {
                self.first.insert(place, (mark, found.clone()));
                self.first.truncate(LISTED);
            }
        }
    }

    fn differences(&self) -> usize {
        self.moved + self.added + self.removed
    }
}

/// First by time, whichever server was played first.
fn order(found: &Found) -> (i64, &str, &str) {
    (found.fired_at, found.alert.server.as_str(), found.alert.rule.as_str())
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) span: Span,
    /// In the order of their file; the detector last.
    names: Vec<String>,
    rules: BTreeMap<String, OfRule>,
    /// How many alerts of each rule are told.
    told: usize,
    pub(super) servers: usize,
    windows: u64,
    known_from: Option<i64>,
    /// Servers whose history begins within the asked time.
    pub(super) younger: usize,
    pub(super) compared: Option<Tally>,
    pub(super) history: Option<Tally>,
}

impl Report {
    pub(super) fn new(rules: &RuleSet, span: Span, told: usize) -> Self {
        let mut names: Vec<String> = rules.rules.iter().map(|rule| rule.name.clone()).collect();
        names.push(LEARNED.to_owned());
        Self {
            span,
            names,
            rules: BTreeMap::new(),
            told,
            servers: 0,
            windows: 0,
            known_from: None,
            younger: 0,
            compared: None,
            history: None,
        }
    }

    pub(super) fn add(&mut self, heard: Heard) {
        self.servers += 1;
        self.windows += heard.windows;
        self.known_from = self.known_from.into_iter().chain(heard.known_from).min();
        self.younger += usize::from(heard.known_from.is_some_and(|from| from > self.span.from));
        for found in &heard.found {
            let of_rule = self.rules.entry(found.alert.rule.clone()).or_default();
            of_rule.alerts += 1;
            of_rule.open_ms += found.open_ms(self.span.to);
            of_rule.still_open += usize::from(found.ends_at.is_none());
            *of_rule.servers.entry(found.alert.server.clone()).or_default() += 1;
            let place = of_rule.first.partition_point(|known| order(known) <= order(found));
            if place < self.told {
                of_rule.first.insert(place, found.clone());
                of_rule.first.truncate(self.told);
            }
        }
        for (rule, open) in heard.already {
            self.rules.entry(rule).or_default().already += open;
        }
        if let Some(changes) = &heard.compared {
            self.compared.get_or_insert_default().add(changes);
        }
        if let Some(changes) = &heard.history {
            self.history.get_or_insert_default().add(changes);
        }
    }

    pub(super) fn windows(&self) -> u64 {
        self.windows
    }

    pub(super) fn known_from(&self) -> Option<i64> {
        self.known_from
    }

    /// All rules in order, with what they would have said.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&str, OfRule)> {
        self.names.iter().map(|name| (name.as_str(), self.rules.get(name).cloned().unwrap_or_default()))
    }

    pub(super) fn alerts(&self) -> usize {
        self.rules.values().map(|of_rule| of_rule.alerts).sum()
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let (from, to) = (rfc3339(self.span.from), rfc3339(self.span.to));
        let _ = writeln!(
            text,
            "{} and the learned detector, {from} to {to}, {}, {} windows: {}",
            count(self.names.len() - 1, "rule"),
            count(self.servers, "server"),
            self.windows,
            count(self.alerts(), "alert")
        );
        text += &self.remarks();
        text += &self.table();
        for (name, of_rule) in self.rules().filter(|(_, of_rule)| !of_rule.first.is_empty()) {
            let _ = writeln!(text, "\n{name}");
            for found in &of_rule.first {
                text += &told(found, self.span.to);
            }
            let more = of_rule.alerts - of_rule.first.len();
            if more > 0 {
                let _ = writeln!(text, "  and {more} more");
            }
        }
        if let Some(tally) = &self.compared {
            text += &differences("the other rules", ["said beside", "not said"], tally);
        }
        if let Some(tally) = &self.history {
            text += &differences(
                "what was really said",
                ["would be said beside", "was said, would not be"],
                tally,
            );
        }
        text
    }

    /// What the reader has to know of the history to trust the figures.
    fn remarks(&self) -> String {
        let mut text = String::new();
        let Some(known_from) = self.known_from else { return text };
        let at = rfc3339(known_from);
        if known_from > self.span.from {
            let _ = writeln!(
                text,
                "There are no windows of 10 s before {at}: nothing is known of that time, and nothing was learned."
            );
        } else if known_from - self.span.warm_from > WINDOW_MS {
            let before = plain(self.span.from - known_from);
            let _ = writeln!(text, "Models learned from {at} on, {before} before the time that counts.");
        }
        if self.younger > 0 && known_from <= self.span.from {
            let _ = writeln!(text, "The history of {} begins later.", count(self.younger, "server"));
        }
        text
    }

    fn table(&self) -> String {
        let mut lines = vec![
            ["rule", "alerts", "open in all", "still open", "open before", "most on"].map(str::to_owned),
        ];
        let mut silent: Vec<&str> = Vec::new();
        for (name, of_rule) in self.rules() {
            if of_rule.alerts + of_rule.already == 0 {
                silent.push(name);
                continue;
            }
            let most: Vec<String> =
                of_rule.busiest().into_iter().map(|(server, alerts)| format!("{server} {alerts}")).collect();
            let more = of_rule.servers.len().saturating_sub(BUSIEST);
            let others = if more > 0 { format!(", {more} others") } else { String::new() };
            lines.push([
                name.to_owned(),
                of_rule.alerts.to_string(),
                plain(of_rule.open_ms),
                of_rule.still_open.to_string(),
                of_rule.already.to_string(),
                format!("{}{others}", most.join(", ")),
            ]);
        }
        let mut text = String::new();
        if lines.len() > 1 {
            let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
            let widths: [usize; 6] = std::array::from_fn(width);
            text.push('\n');
            for line in &lines {
                let [name, numbers @ .., most] = line;
                let numbers = numbers.iter().zip(&widths[1..]);
                let numbers = numbers.map(|(number, &width)| format!("  {number:>width$}"));
                let numbers = numbers.collect::<Vec<_>>().concat();
                let line = format!("{name:<width$}{numbers}  {most}", width = widths[0]);
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        if !silent.is_empty() {
            let _ = writeln!(text, "\nsaid nothing: {}", silent.join(", "));
        }
        text
    }
}

/// An alert as it would have been said.
fn told(found: &Found, to: i64) -> String {
    let alert = &found.alert;
    let lasted = plain(found.open_ms(to));
    let lasted = if found.ends_at.is_some() {
        format!("Open for {lasted}.")
    } else {
        format!("Open for {lasted} when the history ends.")
    };
    let (at, severity) = (rfc3339(found.fired_at), alert.severity.as_str());
    format!(
        "  {at}  {severity:<8}  {}  {}\n      {} {lasted}\n",
        alert.server, alert.title, alert.explanation
    )
}

fn differences(other: &str, [added, removed]: [&str; 2], tally: &Tally) -> String {
    let mut text = format!(
        "\nagainst {other}: {} the same, {} at another time (~), {} {added} (+), {} {removed} (-)\n",
        tally.same, tally.moved, tally.added, tally.removed
    );
    for (mark, found) in &tally.first {
        let (at, alert) = (rfc3339(found.fired_at), &found.alert);
        let _ = writeln!(text, "  {mark} {at}  {}  {}  {}", alert.rule, alert.server, alert.title);
    }
    let more = tally.differences() - tally.first.len();
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// With plain spaces: a terminal's font may not have the narrow one.
fn plain(millis: i64) -> String {
    words::duration(millis).replace('\u{202f}', " ")
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
