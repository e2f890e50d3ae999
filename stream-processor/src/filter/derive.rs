//! Filter: new series out of others of the same frame. In: the series so far. Out: the same, and one new series for each
//! set of labels for which every operand is exactly one series.
//!
//! Invariant: no new series without all its operands, and none out of a guess between two.

use std::collections::{BTreeSet, HashMap};

use tidewatch_schemas::{Labels, Limits, Reason, Series, SeriesKind};

use super::{
    expr::Expr,
    matcher::SeriesMatcher,
    plan::{Candidate, Draft, Source, named},
};

#[derive(Debug)]
pub(super) struct Derive {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) kind: SeriesKind,
    pub(super) by: By,
    /// By number, as the formula loads them.
    pub(super) operands: Vec<Operand>,
    pub(super) formula: Expr,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) name: String,
    pub(super) when: SeriesMatcher,
}

/// Which labels have to be equal, and stay.
#[derive(Debug)]
pub(super) enum By {
    These(BTreeSet<String>),
    /// All but those that an operand's matcher names.
    AllBut(BTreeSet<String>),
}

impl By {
    fn key(&self, labels: &Labels) -> Labels {
        let stays = |name: &String| match self {
            Self::These(names) => names.contains(name),
            Self::AllBut(names) => !names.contains(name),
        };
        labels
            .iter()
            .filter(|(name, _)| stays(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// What stands for an operand in one set of labels.
#[derive(Debug, Clone, Copy)]
enum Found {
    None,
    One(usize),
    /// The first two of them.
    Many(usize, usize),
}

impl Derive {
    pub(super) fn apply(&self, draft: &mut Draft) {
        for (labels, found) in self.groups(&draft.candidates) {
            if found.iter().any(|found| matches!(found, Found::None)) {
                continue;
            }
            match self.one(&draft.candidates, labels, &found) {
                Ok(candidate) => draft.candidates.push(candidate),
                Err((reason, message)) => {
                    draft.refuse(reason, || format!("derive {}: {message}", self.name));
                }
            }
        }
    }

    /// By set of labels, in the order of their first operand in the frame.
    fn groups(&self, candidates: &[Candidate]) -> Vec<(Labels, Vec<Found>)> {
        let mut groups: Vec<(Labels, Vec<Found>)> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for (at, candidate) in candidates.iter().enumerate() {
            for (number, operand) in self.operands.iter().enumerate() {
                if !operand.when.is_match(&candidate.series) {
                    continue;
                }
                let key = self.by.key(&candidate.series.labels);
                let place = *places.entry(key).or_insert_with_key(|key| {
                    groups.push((key.clone(), vec![Found::None; self.operands.len()]));
                    groups.len() - 1
                });
                let found = &mut groups[place].1[number];
                *found = match *found {
                    Found::None => Found::One(at),
                    Found::One(first) => Found::Many(first, at),
                    many @ Found::Many(..) => many,
                };
            }
        }
        groups
    }

    fn one(
        &self,
        candidates: &[Candidate],
        labels: Labels,
        found: &[Found],
    ) -> Result<Candidate, (Reason, String)> {
        let mut sources = Vec::with_capacity(found.len());
        for (operand, found) in self.operands.iter().zip(found) {
            match *found {
                Found::None => {}
                Found::One(at) => {
                    let Candidate { series, source } = &candidates[at];
                    if self.kind == SeriesKind::Counter && series.kind != SeriesKind::Counter {
                        let message = format!("`{}` is no counter: {}", operand.name, named(series));
                        return Err((Reason::Refused, message));
                    }
                    sources.push(source);
                }
                Found::Many(first, second) => {
                    let (first, second) = (&candidates[first].series, &candidates[second].series);
                    let message =
                        format!("`{}` is both {} and {}", operand.name, named(first), named(second));
                    return Err((Reason::DuplicateSeries, message));
                }
            }
        }
        if candidates.len() >= Limits::default().series {
            return Err((Reason::TooManySeries, "the frame holds no more series".into()));
        }
        let expr = self
            .formula
            .substitute(&sources)
            .ok_or_else(|| (Reason::Refused, "too long with its derived operands".to_owned()))?;
        let series = Series { metric: self.name.clone(), labels, kind: self.kind, unit: self.unit.clone() };
        Ok(Candidate { series, source: Source::Derived(expr) })
    }
}
