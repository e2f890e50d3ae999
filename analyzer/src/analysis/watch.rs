//! The rules on one server: what each looks at in a window, and what comes of it.
//!
//! In: the figures of a window, which series it lacks. Out: alerts that begin and end. Invariant: the state of a watch is a
//! function of the windows since its rule was taken over, and of what was said.

use std::collections::BTreeMap;

use tidewatch_schemas::{Alert, Labels, Series, SeriesKind};

use super::{Open, foresee::Foresight, server::Watched, voice::Voice};
use crate::{
    detect::{Band, Figures, Oddness, Opinion},
    incident::{self, Over, Record, Window, series_fingerprint, server_fingerprint, words},
    rules::{Condition, Hold, Measure, Of, Rule, RuleSet, Threshold, Trail, Transition},
};

/// One rule on one series, or on the server as a whole.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) rule: u16,
    pub(super) hold: Hold,
    /// End of the last window with all that it takes: the series, and what it is divided by.
    pub(super) judged: i64,
    /// What was known of the series before its value went beyond the limit.
    before: Option<Record>,
    /// Of a rule about a change over time.
    trail: Option<Box<Trail>>,
    /// Of a forecast.
    pub(super) foresight: Option<Box<Foresight>>,
}

/// A rule about a metric of which the server may have no series at all.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) watch: Watch,
    /// Whether the layout has one.
    pub(super) present: bool,
}

/// A rule that divides one series of the layout by another.
#[derive(Debug)]
pub(super) struct Ratio {
    /// Where the dividend and the divisor stand.
    pub(super) index: u32,
    pub(super) by: u32,
    /// Which of the dividend's watches it is.
    pub(super) watch: u32,
}

impl Watch {
    /// `said` is the start of the alert that is open.
    pub(super) fn new(rule: u16, said: Option<i64>, judged: i64) -> Self {
        let hold = Hold::Idle.reconcile(said);
        Self { rule, hold, judged, before: None, trail: None, foresight: None }
    }

    /// The series is not reported any more: what was known of it is of no use.
    pub(super) fn reset(&mut self) {
        self.hold = Hold::Idle;
        self.before = None;
        self.trail = None;
        self.foresight = None;
    }

    pub(super) fn bytes(&self) -> usize {
        let trail = self.trail.as_ref().map_or(0, |trail| trail.bytes());
        let foresight = self.foresight.as_ref().map_or(0, |_| size_of::<Foresight>());
        size_of::<Self>() + trail + foresight
    }

    /// What is compared with the limit, if the window shows it.
    fn value(
        &mut self,
        threshold: &Threshold,
        series: &Series,
        window: Window,
        figures: &Figures,
        opinion: Option<&Opinion>,
    ) -> Option<f64> {
        let value = match threshold.measure {
            Measure::Figure if threshold.of == Some(Of::Score) => {
                opinion.filter(|opinion| opinion.judgement.is_warm())?.raw
            }
            Measure::Figure => figure(threshold.of, figures, series.kind)?,
            Measure::Change { over_ms, per_ms } => {
                let trail = self.trail.get_or_insert_default();
                let a_second = match series.kind {
                    SeriesKind::Counter => trail.growth(over_ms, figures.last_at, figures.growth)?,
                    SeriesKind::Gauge => {
                        let level = figure(threshold.of, figures, series.kind);
                        trail.level(over_ms, window.end, level.filter(|level| level.is_finite())?)?
                    }
                };
                a_second * (per_ms as f64 / 1_000.0)
            }
            // it takes two series: see `At::ratio`
            Measure::Ratio(_) => return None,
        };
        value.is_finite().then_some(value)
    }

    pub(super) fn step(&mut self, rule: &Rule, holds: bool, window: Window) -> Option<Transition> {
        self.judged = window.end;
        // in a time of quiet nothing new begins, and no wait runs
        let holds = holds && (self.hold.is_firing() || !rule.is_quiet_at(window.start));
        self.hold.step(holds, window.start, window.end, rule.pace())
    }
}

/// The figure that a rule asks for.
fn figure(of: Option<Of>, figures: &Figures, kind: SeriesKind) -> Option<f64> {
    match of {
        Some(Of::Avg) => Some(figures.avg),
        Some(Of::Max) => Some(figures.max),
        Some(Of::Min) => Some(figures.min),
        Some(Of::Last) => Some(figures.last),
        Some(Of::Rate) => figures.rate,
        // a score is no figure of the window
        Some(Of::Score) | None => figures.value(kind),
    }
}

/// A window of a server, and where what comes of it goes.
pub(super) struct At<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) server: &'a str,
    pub(super) window: Window,
    pub(super) open: &'a mut Open,
    pub(super) out: &'a mut Voice,
}

impl At<'_> {
    /// The rules on a series that is in the window.
    pub(super) fn present(&mut self, watched: &mut Watched, figures: &Figures, opinion: Option<&Opinion>) {
        let (series, record) = (&watched.series, watched.record);
        // which rules are about this series was decided when it was first seen
        for watch in &mut watched.rules {
            let rule = self.rules.rule(watch.rule);
            let Some(threshold) = rule.condition.threshold() else {
                // it asks for no value, only whether the series is there
                self.lost(rule, watch, series, false);
                continue;
            };
            // a ratio is asked for when all series of the window are known
            if matches!(threshold.measure, Measure::Ratio(_)) {
                continue;
            }
            // a change or a score that is not known yet ends nothing
            watch.judged = self.window.end;
            // the record is one of means and rates, as the band is
            if watch.hold == Hold::Idle && threshold.of.is_none() && threshold.measure == Measure::Figure {
                watch.before = Some(record);
            }
            if let Some(value) = watch.value(threshold, series, self.window, figures, opinion) {
                let warm = opinion.filter(|opinion| opinion.judgement.is_warm());
                let band = warm.map(|opinion| opinion.judgement.band());
                let oddness = warm.filter(|_| threshold.of == Some(Of::Score)).map(Opinion::oddness);
                self.judge(rule, watch, (series, value, band), oddness);
            }
        }
    }

    /// The rules on a series that is not.
    pub(super) fn absent(&mut self, watched: &mut Watched) {
        for watch in &mut watched.rules {
            let rule = self.rules.rule(watch.rule);
            if matches!(rule.condition, Condition::SeriesAbsent(_)) {
                self.lost(rule, watch, &watched.series, true);
            }
        }
    }

    /// A rule on two series that are in the window.
    pub(super) fn ratio(
        &mut self,
        watched: &mut Watched,
        watch: u32,
        figures: (&Figures, &Figures),
        by: SeriesKind,
    ) {
        let Watched { series, rules, .. } = watched;
        let Some(watch) = rules.get_mut(watch as usize) else { return };
        let rule = self.rules.rule(watch.rule);
        let Some(threshold) = rule.condition.threshold() else { return };
        let dividend = figure(threshold.of, figures.0, series.kind);
        let divisor = figure(threshold.of, figures.1, by);
        let ratio = dividend.zip(divisor).map(|(dividend, divisor)| dividend / divisor);
        if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
            self.judge(rule, watch, (&*series, ratio, None), None);
        }
    }

    /// A rule about a metric of which the window may have no series.
    pub(super) fn missing(&mut self, missing: &mut Missing) {
        let rule = self.rules.rule(missing.watch.rule);
        let Condition::MetricAbsent(select) = &rule.condition else { return };
        match missing.watch.step(rule, !missing.present, self.window) {
            Some(Transition::Fire { starts_at }) => {
                let alert = incident::metric_absent(rule, select, self.server, starts_at, self.window);
                if !self.open.fire(alert, self.out) {
                    missing.watch.hold.postpone();
                }
            }
            Some(Transition::Resolve { ends_at }) => {
                let fingerprint = server_fingerprint(&rule.name, self.server);
                let what = select.to_string();
                self.open.resolve(&fingerprint, ends_at, self.window.end, Over::Back(&what), self.out);
            }
            None => {}
        }
    }

    /// What a rule makes of the value that it asked for; a score is one of this oddness.
    fn judge(
        &mut self,
        rule: &Rule,
        watch: &mut Watch,
        odd: (&Series, f64, Option<Band>),
        oddness: Option<Oddness>,
    ) {
        match &rule.condition {
            Condition::Threshold(threshold) => self.compare(rule, threshold, watch, odd, oddness),
            Condition::Forecast(forecast) => self.foresee(rule, forecast, watch, odd.0, odd.1),
            Condition::SeriesAbsent(_) | Condition::MetricAbsent(_) | Condition::Silence => {}
        }
    }

    fn compare(
        &mut self,
        rule: &Rule,
        threshold: &Threshold,
        watch: &mut Watch,
        odd: (&Series, f64, Option<Band>),
        oddness: Option<Oddness>,
    ) {
        let (series, value, _) = odd;
        let holds = threshold.holds(value, watch.hold.is_firing());
        match watch.step(rule, holds, self.window) {
            Some(Transition::Fire { starts_at }) => {
                let mut alert =
                    incident::threshold(rule, threshold, self.server, odd, starts_at, self.window);
                let extreme = watch.before.and_then(|before| before.extreme(value, self.window.start));
                if let Some(extreme) = extreme {
                    alert.explanation = format!("{} It is {extreme}.", alert.explanation);
                }
                if let Some(oddness) = oddness {
                    let why = words::oddness(oddness);
                    alert.explanation = format!("{} Odd is that {why}.", alert.explanation);
                }
                if !self.open.fire(alert, self.out) {
                    watch.hold.postpone();
                }
            }
            Some(Transition::Resolve { ends_at }) => {
                let over = Over::Value(series, value, threshold);
                self.resolve(rule, series, ends_at, over);
            }
            None => {}
        }
    }

    fn lost(&mut self, rule: &Rule, watch: &mut Watch, series: &Series, is_lost: bool) {
        match watch.step(rule, is_lost, self.window) {
            Some(Transition::Fire { starts_at }) => {
                let alert = incident::series_absent(rule, self.server, series, starts_at, self.window);
                if !self.open.fire(alert, self.out) {
                    watch.hold.postpone();
                }
            }
            Some(Transition::Resolve { ends_at }) => {
                self.resolve(rule, series, ends_at, Over::Back(&words::what(series)));
            }
            None => {}
        }
    }

    pub(super) fn resolve(&mut self, rule: &Rule, series: &Series, ends_at: i64, over: Over<'_>) {
        let fingerprint = series_fingerprint(rule, self.server, &series.metric, &series.labels);
        self.open.resolve(&fingerprint, ends_at, self.window.end, over, self.out);
    }
}

/// The watches of a series that was not known, `seen` in a window that ends then.
pub(super) fn watches_of(
    rules: &RuleSet,
    server: &str,
    series: &Series,
    open: &Open,
    seen: i64,
) -> Box<[Watch]> {
    let wanted = rules.numbered().filter(|(_, rule)| rule.watches(server, series));
    // an alert said before we knew this series goes on
    let watch = |(number, rule): (u16, &Rule)| Watch::new(number, open.said_of(rule, server, series), seen);
    wanted.map(watch).collect()
}

/// The watches of a series under another set of rules: what a rule that is still the same has begun goes on.
pub(super) fn carried(
    rules: &RuleSet,
    kept: &[Option<u16>],
    server: &str,
    watched: &mut Watched,
    open: &Open,
) -> Box<[Watch]> {
    let mut before = std::mem::take(&mut watched.rules).into_vec();
    let (series, seen) = (&watched.series, watched.seen);
    let wanted = rules.numbered().filter(|(_, rule)| rule.watches(server, series));
    let carry = |(number, rule): (u16, &Rule)| {
        let old = kept[usize::from(number)];
        match before.iter().position(|watch| Some(watch.rule) == old) {
            Some(place) => Watch { rule: number, ..before.swap_remove(place) },
            None => Watch::new(number, open.said_of(rule, server, series), seen),
        }
    };
    wanted.map(carry).collect()
}

/// The rules about metrics that may be missing here; what they have begun under the rules before goes on.
pub(super) fn missing_of(
    rules: &RuleSet,
    kept: &[Option<u16>],
    server: &str,
    mut before: Vec<Missing>,
    open: &Open,
) -> Vec<Missing> {
    let is_wanted =
        |rule: &Rule| matches!(rule.condition, Condition::MetricAbsent(_)) && rule.wants_server(server);
    let wanted = rules.numbered().filter(|(_, rule)| is_wanted(rule));
    let carry = |(number, rule): (u16, &Rule)| {
        let old = kept.get(usize::from(number)).copied().flatten();
        let watch = match before.iter().position(|missing| Some(missing.watch.rule) == old) {
            Some(place) => Watch { rule: number, ..before.swap_remove(place).watch },
            None => Watch::new(number, open.start_of(&server_fingerprint(&rule.name, server)), 0),
        };
        Missing { watch, present: false }
    };
    wanted.map(carry).collect()
}

/// Which series of a layout, those of the slots, are divided by which others.
pub(super) fn ratios_of(rules: &RuleSet, known: &[Watched], slots: &[u32]) -> Vec<Ratio> {
    let layout = || (0_u32..).zip(slots).map(|(place, &slot)| (place, &known[slot as usize]));
    let mut places: Option<BTreeMap<(&str, &Labels), u32>> = None;
    let mut ratios = Vec::new();
    for (index, Watched { series, rules: states, .. }) in layout() {
        for (watch, state) in (0_u32..).zip(states) {
            let threshold = rules.rule(state.rule).condition.threshold();
            let Some(Threshold { measure: Measure::Ratio(by), .. }) = threshold else { continue };
            let places = places.get_or_insert_with(|| {
                layout().map(|(place, w)| ((w.series.metric.as_str(), &w.series.labels), place)).collect()
            });
            if let Some(&by) = places.get(&(by.as_str(), &series.labels)) {
                ratios.push(Ratio { index, by, watch });
            }
        }
    }
    ratios
}

/// Whether an open alert is one that the rule would speak of.
pub(super) fn covers(rule: &Rule, server: &str, alert: &Alert) -> bool {
    let fingerprint = if let Some(select) = rule.condition.of_series() {
        let metric = alert.metric.as_ref().filter(|metric| select.is_match(metric, &alert.labels));
        metric.map(|metric| series_fingerprint(rule, server, metric, &alert.labels))
    } else {
        Some(server_fingerprint(&rule.name, server))
    };
    rule.wants_server(server) && fingerprint.as_ref() == Some(&alert.fingerprint)
}

crate::snapshot::keep_fields!(Watch { rule, hold, judged, before, trail, foresight });
crate::snapshot::keep_fields!(Missing { watch, present });
