//! Filter: what the rules make of one layout. In: the values of a frame of that layout. Out: the values of the plan's
//! series, in their order.
//!
//! Invariant: `series.len() == sources.len()`; no two series of a plan that rules made have the same metric and labels;
//! what is left out against the rules' wish is counted in `refused_total`, and the first of it is told in `refused`.

use std::{collections::HashSet, fmt::Write};

use tidewatch_schemas::{Labels, Reason, Series};

use super::expr::{Expr, Step, push_linear};

/// Complaints that a plan keeps in words.
pub const MOST_REFUSED: usize = 16;

/// Bytes of a series' name in a complaint.
const MOST_NAME_BYTES: usize = 200;

/// Which values of a frame go where. Made once for a layout, applied to each of its frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub series: Vec<Series>,
    /// `series[i]` comes from `sources[i]`.
    pub sources: Vec<Source>,
    /// Series that a `drop` or a `keep` left out, as they wish.
    pub dropped: usize,
    /// The first [`MOST_REFUSED`] series that had to be left out, and why.
    pub refused: Vec<Refused>,
    pub refused_total: usize,
}

/// A series that could not be made or could not stay: for a dead letter, and to be counted by its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `DuplicateSeries`: its name is taken, or an operand is not one series. `TooManySeries`: beyond what a frame may hold.
    /// `Refused`: the rule has no meaning for it. Others: its new name or a new label breaks a limit.
    pub reason: Reason,
    pub message: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// As it is.
    Copy(u32),
    /// `factor * value + offset`; an overflow stays infinite, so that the window refuses it.
    Linear { index: u32, factor: f64, offset: f64 },
    /// Out of several.
    Derived(Expr),
}

impl Source {
    /// NaN = absent.
    pub fn value(&self, values: &[f64]) -> f64 {
        let load = |index: u32| values.get(index as usize).copied().unwrap_or(f64::NAN);
        match self {
            Self::Copy(index) => load(*index),
            Self::Linear { index, factor, offset } => factor * load(*index) + offset,
            Self::Derived(expr) => expr.value(values),
        }
    }

    /// The same times a factor plus an offset. `None`: no such numbers, or too long an expression.
    pub(super) fn linear(&self, by: f64, plus: f64) -> Option<Self> {
        if by == 1.0 && plus == 0.0 {
            return Some(self.clone());
        }
        let (index, factor, offset) = match self {
            Self::Copy(index) => (*index, by, plus),
            Self::Linear { index, factor, offset } => (*index, factor * by, offset * by + plus),
            Self::Derived(expr) => return expr.linear(by, plus).map(Self::Derived),
        };
        (factor.is_normal() && offset.is_finite()).then_some(Self::Linear { index, factor, offset })
    }

    /// The steps that leave this value.
    pub(super) fn push_steps(&self, steps: &mut Vec<Step>) {
        match self {
            Self::Copy(index) => steps.push(Step::Load(*index)),
            Self::Linear { index, factor, offset } => {
                steps.push(Step::Load(*index));
                push_linear(steps, *factor, *offset);
            }
            Self::Derived(expr) => steps.extend_from_slice(expr.steps()),
        }
    }
}

impl Plan {
    /// Everything as it is.
    pub(super) fn identity(layout: &[Series]) -> Self {
        Self {
            series: layout.to_vec(),
            sources: (0..layout.len() as u32).map(Source::Copy).collect(),
            ..Self::default()
        }
    }

    /// Whether a frame of this layout goes on as it came.
    pub fn is_identity(&self, layout: &[Series]) -> bool {
        let copied = |(i, source): (usize, &Source)| *source == Source::Copy(i as u32);
        self.series == layout && self.sources.iter().enumerate().all(copied)
    }

    /// Fills `out` with one value for each series; it is emptied first, and its room is used again.
    pub fn apply(&self, values: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.extend(self.sources.iter().map(|source| source.value(values)));
    }
}

/// A series on its way through the rules.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) series: Series,
    pub(super) source: Source,
}

/// A plan in the making: what is left of the layout after the rules so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) candidates: Vec<Candidate>,
    dropped: usize,
    refused: Vec<Refused>,
    refused_total: usize,
}

impl Draft {
    pub(super) fn new(layout: &[Series]) -> Self {
        let whole = Plan::identity(layout);
        let candidates = whole.series.into_iter().zip(whole.sources);
        Self {
            candidates: candidates.map(|(series, source)| Candidate { series, source }).collect(),
            dropped: 0,
            refused: Vec::new(),
            refused_total: 0,
        }
    }

    /// Leaves out what a rule does not want.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Series) -> bool) {
        let before = self.candidates.len();
        self.candidates.retain(|candidate| wanted(&candidate.series));
        self.dropped += before - self.candidates.len();
    }

    /// Changes each series, or leaves it out with the reason.
    pub(super) fn change(
        &mut self,
        mut change: impl FnMut(&mut Candidate) -> Result<(), (Reason, &'static str)>,
    ) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain_mut(|candidate| match change(candidate) {
            Ok(()) => true,
            Err((reason, what)) => {
                self.refuse(reason, || format!("{what}: {}", named(&candidate.series)));
                false
            }
        });
        self.candidates = candidates;
    }

    pub(super) fn refuse(&mut self, reason: Reason, message: impl FnOnce() -> String) {
        self.refused_total += 1;
        if self.refused.len() < MOST_REFUSED {
            self.refused.push(Refused { reason, message: message() });
        }
    }

    /// Of two series with one name the later is left out.
    pub(super) fn finish(mut self) -> Plan {
        let mut names: HashSet<(&str, &Labels)> = HashSet::with_capacity(self.candidates.len());
        let fresh: Vec<bool> = self
            .candidates
            .iter()
            .map(|candidate| names.insert((&candidate.series.metric, &candidate.series.labels)))
            .collect();
        let (mut series, mut sources) = (Vec::new(), Vec::new());
        for (candidate, fresh) in std::mem::take(&mut self.candidates).into_iter().zip(fresh) {
            if fresh {
                series.push(candidate.series);
                sources.push(candidate.source);
            } else {
                self.refuse(Reason::DuplicateSeries, || {
                    format!("use a name that is taken: {}", named(&candidate.series))
                });
            }
        }
        Plan {
            series,
            sources,
            dropped: self.dropped,
            refused: self.refused,
            refused_total: self.refused_total,
        }
    }
}

/// `metric{label="value"}`, cut where it gets long.
pub(super) fn named(series: &Series) -> String {
    let mut name: String = series.metric.chars().take(MOST_NAME_BYTES).collect();
    for (i, (label, value)) in series.labels.iter().enumerate() {
        // writing to a String can't fail
        _ = write!(name, "{}{label}={value:?}", if i == 0 { "{" } else { ", " });
        if name.len() > MOST_NAME_BYTES {
            name.truncate(name.floor_char_boundary(MOST_NAME_BYTES));
            name.push_str("...");
            break;
        }
    }
    if !series.labels.is_empty() {
        name.push('}');
    }
    name
}
