//! Filter: from a rule's texts to a rule. In: the texts of each rule, with their lines. Out: something that can be applied.
//!
//! Invariant: every rule that leaves here can be applied to any series; only names that it makes may still be too long.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;
use tidewatch_schemas::{
    Limits, SeriesKind,
    validate::{check_label, check_metric_name},
};

use super::{
    action::{Action, From, Relabel, Rename, Rule, Scale, Setting},
    derive::{By, Derive, Operand},
    formula,
    matcher::{Matcher, SeriesMatcher},
    parse::{Parsed, wrong},
    raw::{self, Text, TextOr, Texts},
    template::Template,
};

/// Regular expressions of a file.
const MOST_REGEXES: usize = 1_000;

/// Operands of a derived series.
const MOST_OPERANDS: usize = 16;

/// The source of a label that is the metric's name, as Prometheus has it.
const METRIC: &str = "__name__";

/// The largest factor or offset, and one over the smallest.
const LARGEST: f64 = 1e100;

/// A complaint about a text.
fn about<T>(text: &Text, result: Result<T, String>) -> Parsed<T> {
    result.map_err(|message| wrong(text.defined.line(), message))
}

/// Compiles one rule after the other, and counts what a file may not have too much of.
#[derive(Default)]
pub(super) struct Compiler {
    regexes: usize,
    servers: Vec<Matcher>,
}

impl Compiler {
    pub(super) fn into_servers(self) -> Vec<Matcher> {
        self.servers
    }

    pub(super) fn rule(&mut self, rule: raw::Rule, line: u64) -> Parsed<Rule> {
        let raw::Rule { drop, keep, rename, relabel, scale, derive } = rule;
        let given = [
            ("drop", drop.is_some()),
            ("keep", keep.is_some()),
            ("rename", rename.is_some()),
            ("relabel", relabel.is_some()),
            ("scale", scale.is_some()),
            ("derive", derive.is_some()),
        ];
        let mut given = given.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            return Err(wrong(line, format!("read a rule: it has two actions, `{first}` and `{second}`")));
        }
        if let Some(Spanned { value: when, defined, .. }) = drop {
            let (server, when) = self.drop_or_keep(&when)?;
            if when.is_empty() && server.is_none() {
                return Err(wrong(defined.line(), "read `drop`: without a matcher nothing would be left"));
            }
            return Ok(Rule { server, action: Action::Drop(when) });
        }
        if let Some(Spanned { value: when, defined, .. }) = keep {
            let (server, when) = self.drop_or_keep(&when)?;
            if when.is_empty() {
                let message = "read `keep`: it needs `metric` or `labels`; to leave out servers, use `drop`";
                return Err(wrong(defined.line(), message));
            }
            return Ok(Rule { server, action: Action::Keep(when) });
        }
        if let Some(rename) = rename {
            return self.rename(&rename.value);
        }
        if let Some(relabel) = relabel {
            return self.relabel(&relabel.value, relabel.defined.line());
        }
        if let Some(scale) = scale {
            return self.scale(scale.value, scale.defined.line());
        }
        if let Some(derive) = derive {
            return self.derive(derive.value, derive.defined.line());
        }
        let message = "read a rule: it has no action: drop, keep, rename, relabel, scale or derive";
        Err(wrong(line, message))
    }

    fn drop_or_keep(&mut self, when: &raw::When) -> Parsed<(Option<usize>, SeriesMatcher)> {
        Ok((self.server(when.server.as_ref())?, self.when(when.metric.as_ref(), &when.labels)?))
    }

    fn rename(&mut self, raw: &raw::Rename) -> Parsed<Rule> {
        let metric = self.metric(&raw.metric)?;
        let to = about(&raw.to, Template::parse(&raw.to.value, &metric))?;
        let named = match to.fixed() {
            Some(name) => check_metric_name(name, &Limits::default()).is_ok(),
            None => to.literals().all(is_part_of_a_name),
        };
        if !named {
            return Err(wrong(raw.to.defined.line(), not_a_metric(&raw.to.value)));
        }
        let when = self.when(None, &raw.labels)?;
        let server = self.server(raw.server.as_ref())?;
        Ok(Rule { server, action: Action::Rename(Rename { metric, when, to }) })
    }

    fn relabel(&mut self, raw: &raw::Relabel, line: u64) -> Parsed<Rule> {
        if raw.rename.is_empty() && raw.remove.is_empty() && raw.set.is_empty() {
            return Err(wrong(line, "read `relabel`: it needs `set`, `remove` or `rename`"));
        }
        let when = self.when(raw.metric.as_ref(), &raw.labels)?;
        let mut targets = BTreeSet::new();
        let mut rename = Vec::new();
        for (from, to) in &raw.rename {
            for name in [from, &to.value] {
                about(to, check_label_name(name))?;
            }
            if !targets.insert(&to.value) {
                let message = format!("rename a label to `{}`: another one is already", to.value);
                return Err(wrong(to.defined.line(), message));
            }
            rename.push((from.clone(), to.value.clone()));
        }
        let remove = raw.remove.iter().map(|text| self.matcher(text)).collect::<Parsed<_>>()?;
        let set = raw.set.iter().map(|(name, to)| self.setting(name, to)).collect::<Parsed<_>>()?;
        let server = self.server(raw.server.as_ref())?;
        Ok(Rule { server, action: Action::Relabel(Relabel { when, rename, remove, set }) })
    }

    fn setting(&mut self, name: &str, to: &Spanned<TextOr<raw::Capture>>) -> Parsed<(String, Setting)> {
        let line = to.defined.line();
        check_label_name(name).map_err(|message| wrong(line, message))?;
        let setting = match &to.value {
            TextOr::Text(text) => {
                check_label(name, text, &Limits::default())
                    .map_err(|reason| wrong(line, format!("set label `{name}`: {reason}")))?;
                Setting::Text(text.clone())
            }
            TextOr::Map(raw::Capture { from, pattern, to }) => {
                let source = if from.value == METRIC {
                    From::Metric
                } else {
                    about(from, check_label_name(&from.value))?;
                    From::Label(from.value.clone())
                };
                let matcher = match pattern {
                    Some(pattern) => self.matcher(pattern)?,
                    None => Matcher::parse("*").map_err(|message| wrong(line, message))?,
                };
                let template = to.as_ref().map_or("$1", |to| &to.value);
                let line = to.as_ref().or(pattern.as_ref()).map_or(line, |text| text.defined.line());
                let to = Template::parse(template, &matcher).map_err(|message| wrong(line, message))?;
                Setting::Capture { from: source, matcher, to }
            }
        };
        Ok((name.to_owned(), setting))
    }

    fn scale(&mut self, raw: raw::Scale, line: u64) -> Parsed<Rule> {
        if raw.factor.is_none() && raw.offset.is_none() && raw.unit.is_none() {
            return Err(wrong(line, "read `scale`: it needs `factor`, `offset` or `unit`"));
        }
        let number = |number: Option<Spanned<f64>>, name: &str, default: f64| {
            let Some(number) = number else { return Ok(default) };
            let size = number.value.abs();
            let message = if !number.value.is_finite() {
                "it is not a finite number"
            } else if name == "factor" && size == 0.0 {
                "it is zero"
            } else if size > LARGEST || (name == "factor" && size < 1.0 / LARGEST) {
                "it is beyond 1e100 or 1e-100"
            } else {
                return Ok(number.value);
            };
            Err(wrong(number.defined.line(), format!("use `{name}`: {message}")))
        };
        let factor = number(raw.factor, "factor", 1.0)?;
        let offset = number(raw.offset, "offset", 0.0)?;
        let when = self.when(Some(&raw.metric), &raw.labels)?;
        let unit = raw.unit.as_ref().map(unit).transpose()?;
        let server = self.server(raw.server.as_ref())?;
        Ok(Rule { server, action: Action::Scale(Scale { when, factor, offset, unit }) })
    }

    fn derive(&mut self, raw: raw::Derive, line: u64) -> Parsed<Rule> {
        let name = &raw.name.value;
        if check_metric_name(name, &Limits::default()).is_err() {
            return Err(wrong(raw.name.defined.line(), not_a_metric(name)));
        }
        if raw.operands.is_empty() || raw.operands.len() > MOST_OPERANDS {
            return Err(wrong(line, format!("read `operands`: 1 to {MOST_OPERANDS} of them are needed")));
        }
        let names: Vec<String> = raw.operands.keys().cloned().collect();
        let formula = about(&raw.value, formula::parse(&raw.value.value, &names))?;
        if raw.kind == SeriesKind::Counter && !formula.is_growing() {
            let message =
                "derive a counter: only sums of counters, times or over positive numbers, only grow";
            return Err(wrong(raw.value.defined.line(), message));
        }
        let (operands, named) = self.operands(raw.operands, &formula)?;
        let by = match raw.by {
            None => By::AllBut(named),
            Some(by) => {
                by.iter().try_for_each(|label| about(label, check_label_name(&label.value)))?;
                By::These(by.into_iter().map(|label| label.value).collect())
            }
        };
        let unit = raw.unit.as_ref().map_or(Ok(String::new()), unit)?;
        let server = self.server(raw.server.as_ref())?;
        let derive = Derive { name: raw.name.value, unit, kind: raw.kind, by, operands, formula };
        Ok(Rule { server, action: Action::Derive(derive) })
    }

    /// The operands by number, and the labels that their matchers name.
    fn operands(
        &mut self,
        raw: BTreeMap<String, Spanned<TextOr<raw::Operand>>>,
        formula: &super::Expr,
    ) -> Parsed<(Vec<Operand>, BTreeSet<String>)> {
        let mut operands = Vec::new();
        let mut named = BTreeSet::new();
        for (number, (name, operand)) in raw.into_iter().enumerate() {
            let line = operand.defined.line();
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(wrong(line, format!("name an operand `{name}`: letters, digits and _ only")));
            }
            if !formula.loads(number as u32) {
                return Err(wrong(line, format!("use operand `{name}`: `value` does not")));
            }
            let when = match operand.value {
                TextOr::Map(raw) => self.when(Some(&raw.metric), &raw.labels)?,
                TextOr::Text(value) => {
                    let metric = Spanned { value, defined: operand.defined, referenced: operand.referenced };
                    self.when(Some(&metric), &Texts::new())?
                }
            };
            named.extend(when.labels.iter().map(|(label, _)| label.clone()));
            operands.push(Operand { name, when });
        }
        Ok((operands, named))
    }

    fn when(&mut self, metric: Option<&Text>, labels: &Texts) -> Parsed<SeriesMatcher> {
        let metric = metric.map(|metric| self.metric(metric)).transpose()?;
        let label = |(name, value): (&String, &Text)| {
            about(value, check_label_name(name))?;
            Ok((name.clone(), self.matcher(value)?))
        };
        Ok(SeriesMatcher { metric, labels: labels.iter().map(label).collect::<Parsed<_>>()? })
    }

    /// A matcher of metrics: a text that no metric can have is a mistake.
    fn metric(&mut self, text: &Text) -> Parsed<Matcher> {
        let matcher = self.matcher(text)?;
        let possible = match matcher.literals() {
            [name] => check_metric_name(name, &Limits::default()).is_ok(),
            pieces => pieces.iter().all(|piece| is_part_of_a_name(piece)),
        };
        if possible { Ok(matcher) } else { Err(wrong(text.defined.line(), not_a_metric(&text.value))) }
    }

    fn matcher(&mut self, text: &Text) -> Parsed<Matcher> {
        let matcher = about(text, Matcher::parse(&text.value))?;
        self.regexes += usize::from(matcher.is_regex());
        if self.regexes > MOST_REGEXES {
            let message = format!("compile `{}`: more than {MOST_REGEXES} regular expressions", text.value);
            return Err(wrong(text.defined.line(), message));
        }
        Ok(matcher)
    }

    /// The number of a server matcher; equal ones share it.
    fn server(&mut self, text: Option<&Text>) -> Parsed<Option<usize>> {
        let Some(text) = text else { return Ok(None) };
        if let Some(known) = self.servers.iter().position(|known| known.source() == text.value) {
            return Ok(Some(known));
        }
        let matcher = self.matcher(text)?;
        self.servers.push(matcher);
        Ok(Some(self.servers.len() - 1))
    }
}

fn unit(text: &Text) -> Parsed<String> {
    if text.value.len() > Limits::default().name_bytes || text.value.chars().any(char::is_control) {
        return Err(wrong(text.defined.line(), "use `unit`: a short text without control characters"));
    }
    Ok(text.value.clone())
}

fn check_label_name(name: &str) -> Result<(), String> {
    check_label(name, "", &Limits::default())
        .map_err(|_| format!("use `{name}`: it is no label name: letters, digits, _ : . - /"))
}

/// Whether a metric's name may contain it.
fn is_part_of_a_name(text: &str) -> bool {
    text.is_empty()
        || check_metric_name(&format!("_{text}"), &Limits { name_bytes: usize::MAX, ..Limits::default() })
            .is_ok()
}

fn not_a_metric(name: &str) -> String {
    format!("use `{name}`: it is no metric name: letters, digits, _ : . - /")
}
