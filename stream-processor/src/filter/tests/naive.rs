//! A second opinion: rules as values of their own, applied to one sample after the other, sharing nothing with the code
//! under test but the YAML they are written to. Slow, and simple enough to be believed.

use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Clone, Copy)]
pub(super) enum Pattern {
    Is(&'static str),
    Starts(&'static str),
    Ends(&'static str),
    OneOf([&'static str; 2]),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    pub(super) not: bool,
    pub(super) pattern: Pattern,
}

#[derive(Debug, Clone, Default)]
pub(super) struct When {
    pub(super) metric: Option<Test>,
    pub(super) labels: BTreeMap<&'static str, Test>,
    pub(super) server: Option<Test>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Drop(When),
    Keep(When),
    /// The new name, or what stands for the prefix of `Pattern::Starts`.
    Rename(When, &'static str),
    Relabel(When, Vec<Edit>),
    Scale(When, f64, f64),
    Derive {
        name: &'static str,
        by: Option<Vec<&'static str>>,
        operands: [When; 2],
        tree: Tree,
    },
}

/// Applied in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edit {
    Swap(&'static str, &'static str),
    Remove(&'static str),
    Set(&'static str, &'static str),
    CopyMetric(&'static str),
}

#[derive(Debug, Clone)]
pub(super) enum Tree {
    Number(f64),
    Operand(usize),
    Negative(Box<Tree>),
    Both(char, Box<Tree>, Box<Tree>),
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) samples: Vec<(Series, f64)>,
    pub(super) dropped: usize,
    pub(super) refused: usize,
}

pub(super) fn interpret(steps: &[Step], server: &str, frame: &[(Series, f64)]) -> Outcome {
    let mut out = Outcome { samples: frame.to_vec(), ..Outcome::default() };
    let mut any = false;
    for step in steps {
        if !step.server().is_none_or(|test| test.holds(server)) {
            continue;
        }
        any = true;
        for (series, value) in std::mem::take(&mut out.samples) {
            step.take(series, value, &mut out);
        }
        if let Step::Derive { name, by, operands, tree } = step {
            derive(name, by.as_deref(), operands, tree, &mut out);
        }
    }
    for (series, value) in std::mem::take(&mut out.samples) {
        let taken =
            |(known, _): &(Series, f64)| known.metric == series.metric && known.labels == series.labels;
        if any && out.samples.iter().any(taken) {
            out.refused += 1;
        } else {
            out.samples.push((series, value));
        }
    }
    out
}

fn derive(name: &str, by: Option<&[&str]>, operands: &[When; 2], tree: &Tree, out: &mut Outcome) {
    let key = |series: &Series| {
        let mut labels = series.labels.clone();
        labels.retain(|label, _| match by {
            Some(by) => by.contains(&&label[..]),
            None => !operands.iter().any(|when| when.labels.contains_key(&label[..])),
        });
        labels
    };
    let known = out.samples.clone();
    let mut done = Vec::new();
    for (series, _) in known.iter().filter(|(series, _)| operands.iter().any(|when| when.holds(series))) {
        let labels = key(series);
        if done.contains(&labels) {
            continue;
        }
        let found = operands.each_ref().map(|when| {
            let mut found = known.iter().filter(|(series, _)| when.holds(series) && key(series) == labels);
            (found.next().map(|(_, value)| *value), found.count())
        });
        match found {
            [(None, _), _] | [_, (None, _)] => {}
            [(Some(a), 0), (Some(b), 0)] => {
                let series = Series { labels: labels.clone(), ..Series::gauge(name, "") };
                out.samples.push((series, tree.value([a, b]).unwrap_or(f64::NAN)));
            }
            _ => out.refused += 1,
        }
        done.push(labels);
    }
}

impl Step {
    fn server(&self) -> Option<Test> {
        match self {
            Self::Derive { operands: [when, _], .. }
            | Self::Drop(when)
            | Self::Keep(when)
            | Self::Rename(when, _)
            | Self::Relabel(when, _)
            | Self::Scale(when, ..) => when.server,
        }
    }

    fn take(&self, mut series: Series, value: f64, out: &mut Outcome) {
        match self {
            Self::Drop(when) if when.holds(&series) => out.dropped += 1,
            Self::Keep(when) if !when.holds(&series) => out.dropped += 1,
            Self::Scale(when, factor, offset) if when.holds(&series) => {
                if series.kind == SeriesKind::Counter && (*factor < 0.0 || *offset != 0.0) {
                    out.refused += 1;
                } else {
                    out.samples.push((series, value * factor + offset));
                }
            }
            Self::Rename(when, to) if when.holds(&series) => {
                series.metric = match when.metric {
                    Some(Test { not: false, pattern: Pattern::Starts(prefix) }) => {
                        series.metric.replacen(prefix, to, 1)
                    }
                    _ => (*to).to_owned(),
                };
                out.samples.push((series, value));
            }
            Self::Relabel(when, edits) if when.holds(&series) => {
                for edit in edits {
                    edit.apply(&mut series);
                }
                out.samples.push((series, value));
            }
            _ => out.samples.push((series, value)),
        }
    }

    pub(super) fn yaml(&self) -> String {
        match self {
            Self::Drop(when) => format!("  - drop: {{{}}}\n", when.yaml()),
            Self::Keep(when) => format!("  - keep: {{{}}}\n", when.yaml()),
            Self::Rename(when, to) => {
                let is_prefix = matches!(when.metric, Some(Test { not: false, pattern: Pattern::Starts(_) }));
                let star = if is_prefix { "*" } else { "" };
                format!("  - rename: {{{}, to: '{to}{star}'}}\n", when.yaml())
            }
            Self::Relabel(when, edits) => {
                let (mut rename, mut remove, mut set) = (Vec::new(), Vec::new(), Vec::new());
                for edit in edits {
                    match edit {
                        Edit::Swap(a, b) => rename.push(format!("{a}: {b}, {b}: {a}")),
                        Edit::Remove(label) => remove.push((*label).to_owned()),
                        Edit::Set(label, value) => set.push(format!("{label}: '{value}'")),
                        Edit::CopyMetric(label) => {
                            set.push(format!("{label}: {{from: __name__, match: '/([a-z]+)_.*/'}}"));
                        }
                    }
                }
                let [rename, remove, set] = [rename, remove, set].map(|all| all.join(", "));
                format!(
                    "  - relabel: {{{}, rename: {{{rename}}}, remove: [{remove}], set: {{{set}}}}}\n",
                    when.yaml()
                )
            }
            Self::Scale(when, factor, offset) => {
                format!("  - scale: {{{}, factor: {factor}, offset: {offset}}}\n", when.yaml())
            }
            Self::Derive { name, by, operands: [a, b], tree } => {
                let by = by.as_ref().map_or(String::new(), |by| format!(", by: [{}]", by.join(", ")));
                let server = a.server.map_or(String::new(), |test| format!(", server: '{}'", test.text()));
                let [a, b] = [a, b].map(|when| When { server: None, ..when.clone() }.yaml());
                format!(
                    "  - derive:\n      {{name: {name}, value: '{}', operands: {{a: {{{a}}}, b: {{{b}}}}}{by}{server}}}\n",
                    tree.text(0)
                )
            }
        }
    }
}

impl Edit {
    fn apply(self, series: &mut Series) {
        match self {
            Self::Swap(a, b) => {
                let (was_a, was_b) = (series.labels.remove(a), series.labels.remove(b));
                series.labels.extend(was_a.map(|value| (b.to_owned(), value)));
                series.labels.extend(was_b.map(|value| (a.to_owned(), value)));
            }
            Self::Remove(label) => _ = series.labels.remove(label),
            Self::Set(label, value) => _ = series.labels.insert(label.to_owned(), value.to_owned()),
            Self::CopyMetric(label) => {
                let letters = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
                if let Some((area, _)) = series.metric.split_once('_').filter(|(area, _)| letters(area)) {
                    series.labels.insert(label.to_owned(), area.to_owned());
                }
            }
        }
    }
}

impl Tree {
    /// `None` as soon as anything is not finite.
    pub(super) fn value(&self, operands: [f64; 2]) -> Option<f64> {
        let value = match self {
            Self::Number(value) => *value,
            Self::Operand(number) => operands[*number],
            Self::Negative(tree) => -tree.value(operands)?,
            Self::Both(sign, a, b) => {
                let (a, b) = (a.value(operands)?, b.value(operands)?);
                match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                }
            }
        };
        value.is_finite().then_some(value)
    }

    /// With no more parentheses than are needed.
    pub(super) fn text(&self, least: u8) -> String {
        let (strength, text) = match self {
            Self::Number(value) => (4, value.to_string()),
            Self::Operand(number) => (4, ["a", "b"][*number].to_owned()),
            Self::Negative(tree) => (3, format!("-{}", tree.text(3))),
            Self::Both(sign, a, b) => {
                let strength = if matches!(sign, '+' | '-') { 1 } else { 2 };
                (strength, format!("{}{sign} {}", a.text(strength), b.text(strength + 1)))
            }
        };
        if strength < least { format!("({text})") } else { text }
    }
}

impl When {
    pub(super) fn holds(&self, series: &Series) -> bool {
        let label = |name: &str| series.labels.get(name).cloned().unwrap_or_default();
        self.metric.is_none_or(|test| test.holds(&series.metric))
            && self.labels.iter().all(|(name, test)| test.holds(&label(name)))
    }

    fn yaml(&self) -> String {
        let labels: Vec<String> =
            self.labels.iter().map(|(name, test)| format!("{name}: '{}'", test.text())).collect();
        let mut parts = vec![format!("labels: {{{}}}", labels.join(", "))];
        parts.extend(self.metric.map(|test| format!("metric: '{}'", test.text())));
        parts.extend(self.server.map(|test| format!("server: '{}'", test.text())));
        parts.join(", ")
    }
}

impl Test {
    pub(super) fn holds(self, text: &str) -> bool {
        self.not
            != match self.pattern {
                Pattern::Is(wanted) => text == wanted,
                Pattern::Starts(start) => text.starts_with(start),
                Pattern::Ends(end) => text.ends_with(end),
                Pattern::OneOf(wanted) => wanted.contains(&text),
            }
    }

    fn text(self) -> String {
        let text = match self.pattern {
            Pattern::Is(text) => text.to_owned(),
            Pattern::Starts(start) => format!("{start}*"),
            Pattern::Ends(end) => format!("*{end}"),
            Pattern::OneOf([a, b]) => format!("/{a}|{b}/"),
        };
        if self.not { format!("!{text}") } else { text }
    }
}
