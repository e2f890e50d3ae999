//! Filter: what one rule does. In: the series that the rules before it left. Out: those that are left after it.
//!
//! Invariant: a name or label that a rule made is checked at once, so nothing grows without bounds from rule to rule.

use tidewatch_schemas::{
    Labels, Limits, Reason, Series, SeriesKind,
    validate::{check_metric_name, check_series},
};

use super::{
    derive::Derive,
    matcher::{Matcher, SeriesMatcher, label},
    plan::{Candidate, Draft},
    template::Template,
};

/// A rule: what to do, and for which servers.
#[derive(Debug)]
pub(super) struct Rule {
    /// The number of its server matcher; `None` = every server.
    pub(super) server: Option<usize>,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Drop(SeriesMatcher),
    Keep(SeriesMatcher),
    Rename(Rename),
    Relabel(Relabel),
    Scale(Scale),
    Derive(Derive),
}

#[derive(Debug)]
pub(super) struct Rename {
    pub(super) metric: Matcher,
    pub(super) when: SeriesMatcher,
    pub(super) to: Template,
}

/// Reads the labels as they came to the rule; then renames, removes and sets, in this order.
#[derive(Debug)]
pub(super) struct Relabel {
    pub(super) when: SeriesMatcher,
    /// From the old name to the new one.
    pub(super) rename: Vec<(String, String)>,
    pub(super) remove: Vec<Matcher>,
    pub(super) set: Vec<(String, Setting)>,
}

/// Where a label's new value comes from.
#[derive(Debug)]
pub(super) enum Setting {
    Text(String),
    Capture { from: From, matcher: Matcher, to: Template },
}

#[derive(Debug)]
pub(super) enum From {
    Metric,
    Label(String),
}

#[derive(Debug)]
pub(super) struct Scale {
    pub(super) when: SeriesMatcher,
    pub(super) factor: f64,
    pub(super) offset: f64,
    pub(super) unit: Option<String>,
}

type Outcome = Result<(), (Reason, &'static str)>;

impl Action {
    pub(super) fn apply(&self, draft: &mut Draft) {
        match self {
            Self::Drop(when) => draft.retain(|series| !when.is_match(series)),
            Self::Keep(when) => draft.retain(|series| when.is_match(series)),
            Self::Rename(rename) => draft.change(|candidate| rename.apply(&mut candidate.series)),
            Self::Relabel(relabel) => draft.change(|candidate| relabel.apply(&mut candidate.series)),
            Self::Scale(scale) => draft.change(|candidate| scale.apply(candidate)),
            Self::Derive(derive) => derive.apply(draft),
        }
    }
}

impl Rename {
    fn apply(&self, series: &mut Series) -> Outcome {
        if !self.when.is_match(series) {
            return Ok(());
        }
        let Some(groups) = self.metric.captures(&series.metric) else { return Ok(()) };
        let metric = self.to.render(&groups);
        check_metric_name(&metric, &Limits::default())
            .map_err(|reason| (reason, "rename to what is no metric name"))?;
        series.metric = metric;
        Ok(())
    }
}

impl Relabel {
    fn apply(&self, series: &mut Series) -> Outcome {
        if !self.when.is_match(series) {
            return Ok(());
        }
        let set: Vec<(&String, Option<String>)> =
            self.set.iter().map(|(name, setting)| (name, setting.value(series))).collect();
        self.rename(&mut series.labels);
        series.labels.retain(|name, _| !self.remove.iter().any(|matcher| matcher.is_match(name)));
        for (name, value) in set {
            match value {
                None => {}
                Some(value) if value.is_empty() => _ = series.labels.remove(name),
                Some(value) => _ = series.labels.insert(name.clone(), value),
            }
        }
        check_series(series, &Limits::default()).map_err(|reason| (reason, "relabel beyond the limits"))
    }

    /// All at once, so that two labels can change places.
    fn rename(&self, labels: &mut Labels) {
        let taken: Vec<(&String, String)> =
            self.rename.iter().filter_map(|(from, to)| Some((to, labels.remove(from)?))).collect();
        for (to, value) in taken {
            labels.insert(to.clone(), value);
        }
    }
}

impl Setting {
    /// `None`: the pattern does not match, the label stays as it is.
    fn value(&self, series: &Series) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Capture { from, matcher, to } => {
                let text = match from {
                    From::Metric => &series.metric,
                    From::Label(name) => label(series, name),
                };
                Some(to.render(&matcher.captures(text)?))
            }
        }
    }
}

impl Scale {
    fn apply(&self, candidate: &mut Candidate) -> Outcome {
        if !self.when.is_match(&candidate.series) {
            return Ok(());
        }
        if candidate.series.kind == SeriesKind::Counter && (self.factor < 0.0 || self.offset != 0.0) {
            return Err((Reason::Refused, "scale a counter by a negative factor or an offset"));
        }
        candidate.source = candidate
            .source
            .linear(self.factor, self.offset)
            .ok_or((Reason::Refused, "scale beyond what a number or an expression can hold"))?;
        if let Some(unit) = &self.unit {
            candidate.series.unit.clone_from(unit);
        }
        Ok(())
    }
}
