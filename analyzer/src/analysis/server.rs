//! One server: its series with their models and rules, its score as a whole, its open alerts.
//!
//! Invariant: a window is taken once, in order; an older one or a second copy changes nothing.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};
use tidewatch_schemas::{AggregateFrame, Alert, Anomaly, Expectation, Series};

use super::{
    Open, Output, Sizes, Taken,
    foresee::{About, Foresight},
    is_silence,
};
use crate::{
    detect::{Figures, Judgement, Loud, Surprise, Together, Verdict, together::LOUDER},
    incident::{self, Odd, Over, Window, fingerprint},
    rules::{Condition, Hold, LEARNED, Of, Pace, Rule, RuleSet, Threshold, Transition},
};

/// The learned alert resolves after so many quiet windows.
const QUIET_WINDOWS: i64 = 6;
/// An alert on a series that its server has stopped reporting for so long is over.
const GONE_MS: i64 = 300_000;
/// A series that was not reported for so long is forgotten.
const FORGET_SERIES_MS: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

/// One series: what is known of it, and the conditions on it.
#[derive(Debug)]
pub(super) struct Watched {
    series: Series,
    loud: Loud,
    before: Option<crate::detect::LastSample>,
    /// End of the last window with it.
    seen: i64,
    rules: Box<[(u16, Hold)]>,
    /// One for each forecast among the rules, in their order.
    foresight: Box<[Foresight]>,
}

#[derive(Debug)]
pub(super) struct Server {
    last: Option<Window>,
    /// The stamp of its last record, whatever time the window in it is of.
    heard_at: i64,
    series: Vec<Watched>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The last layout, and where its series are in `series`.
    layout: Vec<Series>,
    slots: Vec<u32>,
    together: Option<Together>,
    learned: Hold,
    /// Rules about this server's silence.
    silence: Vec<u16>,
    open: Open,
    /// The minute that was last told what to expect.
    told: i64,
}

impl Server {
    pub(super) fn new(rules: &RuleSet, name: &str) -> Self {
        let wanted = |rule: &Rule| is_silence(&rule.condition) && rule.wants_server(name);
        let silence = (0_u16..).zip(&rules.rules).filter(|(_, rule)| wanted(rule)).map(|(i, _)| i).collect();
        Self {
            last: None,
            heard_at: i64::MIN / 2,
            series: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            layout: Vec::new(),
            slots: Vec::new(),
            together: None,
            learned: Hold::Idle,
            silence,
            open: Open::default(),
            told: 0,
        }
    }

    /// What was really said takes the place of what the silent replay found.
    pub(super) fn reconcile(&mut self, rules: &RuleSet, name: &str, said: Vec<Alert>) {
        self.open = Open { alerts: said.into_iter().map(|a| (a.fingerprint.clone(), a)).collect() };
        for watched in &mut self.series {
            for (rule, hold) in &mut watched.rules {
                let rule = &rules.rules[usize::from(*rule)];
                let said = self.open.start_of(&fingerprint(&rule.name, name, &watched.series.labels));
                // a younger trend may foretell what was never said: that has to hold anew
                let is_new = said.is_none() && hold.is_firing() && is_forecast(rule);
                *hold = if is_new { Hold::Idle } else { hold.reconcile(said) };
            }
        }
        let said = self.open.start_of(&learned_fingerprint(name));
        // younger models may find what was never said; that is no reason to say it now
        self.learned = if said.is_none() { Hold::Idle } else { self.learned.reconcile(said) };
    }

    pub(super) fn step(
        &mut self,
        rules: &RuleSet,
        frame: &AggregateFrame,
        stamp: i64,
        out: &mut Vec<Output>,
    ) -> Taken {
        let window = Window { start: frame.window_start, end: frame.window_end() };
        if self.last.is_some_and(|last| window.start <= last.start) {
            return Taken::Ignored;
        }
        self.last = Some(window);
        self.heard_at = self.heard_at.max(stamp);
        self.heard(rules, frame, window, out);
        self.place(rules, frame, window);
        let seconds = window.start as f64 / 1_000.0;
        let mut surprise = Surprise::default();
        let mut odd = Vec::new();
        let mut judged = 0;
        for (index, &slot) in self.slots.iter().enumerate() {
            let watched = &mut self.series[slot as usize];
            watched.seen = window.end;
            let figures = Figures::read(frame, index, &mut watched.before);
            let value = figures.value(watched.series.kind);
            let judgement = value.and_then(|value| Some((value, watched.loud.step(seconds, value)?)));
            watch(rules, watched, &frame.server, window, figures, judgement, &mut self.open, out);
            let Some((value, judgement)) = judgement else { continue };
            judged += 1;
            surprise.add(index, judgement.size);
            if judgement.score >= 1.0 {
                out.push(anomaly(frame, &watched.series, value, &judgement));
            }
            if judgement.size > 1.0 {
                odd.push((slot, value, judgement));
            }
        }
        let together = self.together.get_or_insert_with(|| Together::new(frame.window_ms as f64 / 1_000.0));
        let verdict = together.step(&surprise);
        self.watch_together(&frame.server, window, verdict, odd, out);
        self.end_gone(rules, window, out);
        self.tell_expected(frame, window, out);
        Taken::Judged(judged)
    }

    /// The server is not silent any more.
    fn heard(&mut self, rules: &RuleSet, frame: &AggregateFrame, window: Window, out: &mut Vec<Output>) {
        if self.open.alerts.is_empty() {
            return;
        }
        for &rule in &self.silence {
            let fingerprint = silence_fingerprint(&rules.rules[usize::from(rule)], &frame.server);
            self.open.resolve(&fingerprint, window.start, window.end, Over::Heard, out);
        }
    }

    /// Finds the slot of each series of the frame; a layout that did not change costs one comparison.
    fn place(&mut self, rules: &RuleSet, frame: &AggregateFrame, window: Window) {
        if self.layout == frame.layout {
            return;
        }
        self.forget(window.start - FORGET_SERIES_MS);
        self.slots = frame.layout.iter().map(|series| self.slot(rules, &frame.server, series)).collect();
        self.layout.clone_from(&frame.layout);
    }

    fn slot(&mut self, rules: &RuleSet, server: &str, series: &Series) -> u32 {
        let hash = hash_of(&self.hasher, series);
        if let Some(&slot) = self.index.find(hash, |&slot| same(&self.series[slot as usize].series, series)) {
            return slot;
        }
        let slot = self.series.len() as u32;
        let all = (0_u16..).zip(&rules.rules);
        let wanted = all.filter(|(_, rule)| rule.threshold_for(server, series).is_some());
        let holds = wanted.map(|(i, rule)| {
            // an alert said before we knew this series goes on
            let fingerprint = fingerprint(&rule.name, server, &series.labels);
            (i, Hold::Idle.reconcile(self.open.start_of(&fingerprint)))
        });
        let holds: Box<[(u16, Hold)]> = holds.collect();
        let forecasts =
            holds.iter().filter(|(rule, _)| is_forecast(&rules.rules[usize::from(*rule)])).count();
        let watched = Watched {
            series: series.clone(),
            loud: Loud::default(),
            before: None,
            seen: 0,
            rules: holds,
            foresight: vec![Foresight::default(); forecasts].into(),
        };
        self.series.push(watched);
        self.index
            .insert_unique(hash, slot, |&slot| hash_of(&self.hasher, &self.series[slot as usize].series));
        slot
    }

    fn forget(&mut self, before: i64) {
        if self.series.iter().all(|watched| watched.seen >= before) {
            return;
        }
        self.series.retain(|watched| watched.seen >= before);
        self.series.shrink_to_fit();
        self.index.clear();
        for (slot, watched) in (0_u32..).zip(&self.series) {
            let hash = hash_of(&self.hasher, &watched.series);
            self.index
                .insert_unique(hash, slot, |&slot| hash_of(&self.hasher, &self.series[slot as usize].series));
        }
    }

    fn watch_together(
        &mut self,
        server: &str,
        window: Window,
        verdict: Verdict,
        mut odd: Vec<(u32, f64, Judgement)>,
        out: &mut Vec<Output>,
    ) {
        let holds = if self.learned.is_firing() { verdict.raw >= 1.0 / LOUDER } else { verdict.score >= 1.0 };
        let pace = Pace { hold_ms: 0, keep_ms: QUIET_WINDOWS * (window.end - window.start) };
        match self.learned.step(holds, window.start, window.end, pace) {
            Some(Transition::Fire { starts_at }) => {
                // stable: equal ones stay in the order of the layout
                odd.sort_by(|a, b| b.2.size.total_cmp(&a.2.size));
                let odd: Vec<_> = odd
                    .into_iter()
                    .map(|(slot, value, judgement)| Odd {
                        series: &self.series[slot as usize].series,
                        value,
                        band: judgement.band(),
                        size: judgement.size,
                        score: judgement.score,
                    })
                    .collect();
                let alert =
                    incident::learned(server, &odd, self.slots.len(), verdict.score, starts_at, window);
                self.open.fire(alert, out);
            }
            Some(Transition::Resolve { ends_at }) => {
                self.open.resolve(&learned_fingerprint(server), ends_at, window.end, Over::Calm, out);
            }
            None => {}
        }
    }

    /// Ends alerts on series that this server does not report any more, and of rules that are gone.
    fn end_gone(&mut self, rules: &RuleSet, window: Window, out: &mut Vec<Output>) {
        if self.open.alerts.is_empty() {
            return;
        }
        for fingerprint in self.open.without_rule(rules) {
            self.open.resolve(&fingerprint, window.start, window.end, Over::RuleGone, out);
        }
        let mut gone: Vec<(String, i64)> = Vec::new();
        for alert in self.open.alerts.values().filter(|alert| alert.rule != LEARNED && alert.metric.is_some())
        {
            let mut same = self.series.iter().filter(|watched| {
                Some(&watched.series.metric) == alert.metric.as_ref() && watched.series.labels == alert.labels
            });
            // one that was never seen here counts from the alert's last word
            let seen = same.next().map_or(alert.updated_at, |watched| watched.seen);
            if window.end - seen > GONE_MS {
                gone.push((alert.fingerprint.clone(), seen));
            }
        }
        for (fingerprint, seen) in gone {
            for watched in &mut self.series {
                for (rule, hold) in &mut watched.rules {
                    let name = &rules.rules[usize::from(*rule)].name;
                    let is_it =
                        self.open.alerts.get(&fingerprint).is_some_and(|alert| {
                            alert.rule == *name && alert.labels == watched.series.labels
                        });
                    if is_it {
                        *hold = Hold::Idle;
                    }
                }
            }
            self.open.resolve(&fingerprint, seen, window.end, Over::Gone, out);
        }
    }

    /// Once a minute: the band of the minute that begins.
    fn tell_expected(&mut self, frame: &AggregateFrame, window: Window, out: &mut Vec<Output>) {
        let minute = window.end.div_euclid(MINUTE) * MINUTE;
        if minute <= self.told {
            return;
        }
        self.told = minute;
        let middle = (minute + MINUTE / 2) as f64 / 1_000.0;
        let mut expectation = Expectation {
            server: frame.server.clone(),
            window_start: minute,
            window_ms: MINUTE,
            layout: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
        };
        for &slot in &self.slots {
            let watched = &self.series[slot as usize];
            let Some(band) = watched.loud.band(middle) else { continue };
            expectation.layout.push(watched.series.clone());
            expectation.low.push(band.low);
            expectation.high.push(band.high);
        }
        if !expectation.layout.is_empty() {
            out.push(Output::Expectation(Box::new(expectation)));
        }
    }

    /// Since when the server is silent, if that is for as long as the rule allows. Windows of long ago that only now
    /// arrive (a late processor, a slow clock) are no silence: for two thirds of the time nothing at all must have come.
    fn silent_since(&self, rule: &Rule, since: i64, now: i64) -> Option<i64> {
        let end = self.last?.end;
        let silent = now - end.max(since) >= rule.hold_ms;
        let unheard = now - self.heard_at >= rule.hold_ms * 2 / 3;
        (silent && unheard).then_some(end)
    }

    /// What has to be said of this server's silence at `now`: the rule, and when it began.
    fn silences<'a>(&'a self, rules: &'a RuleSet, name: &str, since: i64, now: i64) -> Vec<(&'a Rule, i64)> {
        let all = self.silence.iter().map(|&rule| &rules.rules[usize::from(rule)]);
        let due = all.filter_map(|rule| Some((rule, self.silent_since(rule, since, now)?)));
        due.filter(|(rule, _)| self.open.start_of(&silence_fingerprint(rule, name)).is_none()).collect()
    }

    pub(super) fn is_silence_due(&self, rules: &RuleSet, name: &str, since: i64, now: i64) -> bool {
        !self.silences(rules, name, since, now).is_empty()
    }

    pub(super) fn tick(&mut self, rules: &RuleSet, name: &str, since: i64, now: i64, out: &mut Vec<Output>) {
        for fingerprint in self.open.without_rule(rules) {
            self.open.resolve(&fingerprint, now, now, Over::RuleGone, out);
        }
        let silences = self.silences(rules, name, since, now);
        let alerts: Vec<_> =
            silences.into_iter().map(|(rule, end)| incident::silence(rule, name, end, now)).collect();
        for alert in alerts {
            self.open.fire(alert, out);
        }
    }

    /// Whether it spoke after `time`, or has something open.
    pub(super) fn is_wanted(&self, time: i64) -> bool {
        !self.open.alerts.is_empty() || self.last.is_some_and(|last| last.end > time)
    }

    pub(super) fn open_rules(&self) -> impl Iterator<Item = &str> {
        self.open.alerts.values().map(|alert| alert.rule.as_str())
    }

    pub(super) fn add_to(&self, sizes: &mut Sizes) {
        sizes.series += self.series.len();
        sizes.open_alerts += self.open.alerts.len();
        sizes.newest = sizes.newest.max(self.last.map_or(0, |last| last.end));
        let text = |s: &Series| {
            let labels: usize = s.labels.iter().map(|(k, v)| k.len() + v.len() + 48).sum();
            s.metric.len() + s.unit.len() + labels
        };
        let series: usize = self
            .series
            .iter()
            .map(|w| {
                size_of::<Watched>()
                    + text(&w.series)
                    + size_of_val(&*w.rules)
                    + size_of_val(&*w.foresight)
                    + 5
            })
            .sum();
        let layout: usize = self.layout.iter().map(|s| size_of::<Series>() + text(s) + 4).sum();
        sizes.bytes += size_of::<Self>() + series + layout;
    }
}

/// The rules on one series.
#[expect(clippy::too_many_arguments, reason = "parts of a server that are borrowed apart")]
fn watch(
    rules: &RuleSet,
    watched: &mut Watched,
    server: &str,
    window: Window,
    figures: Figures,
    judgement: Option<(f64, Judgement)>,
    open: &mut Open,
    out: &mut Vec<Output>,
) {
    let series = &watched.series;
    let mut foresight = watched.foresight.iter_mut();
    for (rule, hold) in &mut watched.rules {
        let rule = &rules.rules[usize::from(*rule)];
        // which rules are about this series was decided when it was first seen
        let threshold = match &rule.condition {
            Condition::Threshold(threshold) => threshold,
            Condition::Forecast(forecast) => {
                let value = figure(&forecast.beyond, figures, series);
                if let (Some(foresight), Some(value)) = (foresight.next(), value) {
                    foresight.step(&About { rule, forecast, server, series, window }, value, hold, open, out);
                }
                continue;
            }
            Condition::Silence => continue,
        };
        let Some(value) = figure(threshold, figures, series) else { continue };
        let holds = threshold.holds(value, hold.is_firing());
        let pace = Pace { hold_ms: rule.hold_ms, keep_ms: rule.keep_ms };
        match hold.step(holds, window.start, window.end, pace) {
            Some(Transition::Fire { starts_at }) => {
                let band = judgement.filter(|(_, j)| j.is_warm()).map(|(_, judgement)| judgement.band());
                let odd = (series, value, band);
                open.fire(incident::threshold(rule, threshold, server, odd, starts_at, window), out);
            }
            Some(Transition::Resolve { ends_at }) => {
                let fingerprint = fingerprint(&rule.name, server, &series.labels);
                let over = Over::Value(series, value, threshold);
                open.resolve(&fingerprint, ends_at, window.end, over, out);
            }
            None => {}
        }
    }
}

/// The figure that a rule compares.
fn figure(threshold: &Threshold, figures: Figures, series: &Series) -> Option<f64> {
    let value = match threshold.of {
        Some(Of::Avg) => Some(figures.avg),
        Some(Of::Max) => Some(figures.max),
        Some(Of::Min) => Some(figures.min),
        Some(Of::Last) => Some(figures.last),
        Some(Of::Rate) => figures.rate,
        None => figures.value(series.kind),
    };
    value.filter(|value| value.is_finite())
}

fn is_forecast(rule: &Rule) -> bool {
    matches!(rule.condition, Condition::Forecast(_))
}

fn anomaly(frame: &AggregateFrame, series: &Series, value: f64, judgement: &Judgement) -> Output {
    Output::Anomaly(Box::new(Anomaly {
        server: frame.server.clone(),
        metric: series.metric.clone(),
        labels: series.labels.clone(),
        unit: series.unit.clone(),
        window_start: frame.window_start,
        window_ms: frame.window_ms,
        value,
        expected_low: judgement.low,
        expected_high: judgement.high,
        score: judgement.score,
        method: "loud".to_owned(),
    }))
}

fn learned_fingerprint(server: &str) -> String {
    fingerprint(LEARNED, server, &tidewatch_schemas::Labels::new())
}

fn silence_fingerprint(rule: &Rule, server: &str) -> String {
    fingerprint(&rule.name, server, &tidewatch_schemas::Labels::new())
}

fn same(a: &Series, b: &Series) -> bool {
    a.metric == b.metric && a.kind == b.kind && a.labels == b.labels
}

fn hash_of(hasher: &DefaultHashBuilder, series: &Series) -> u64 {
    let mut state = hasher.build_hasher();
    (&series.metric, series.kind, &series.labels).hash(&mut state);
    std::hash::Hasher::finish(&state)
}
