//! One server: its series with their models and rules, its score as a whole, its open alerts.
//!
//! Invariant: a window is taken once, in order; an older one or a second copy changes nothing.

mod kept;
mod whole;

use std::{
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable};
pub(super) use kept::Remembered;
use tidewatch_schemas::{AggregateFrame, Alert, Anomaly, Expectation, Series};
use whole::Moved;

use super::{
    Open, Output, Sizes, Taken,
    names::Names,
    said::{Memory, Standing},
    voice::Voice,
    watch::{At, Missing, Ratio, Watch, carried, missing_of, ratios_of, watches_of},
};
use crate::{
    detect::{Figures, Gathered, Joined, Opinion, Together},
    feedback::Bars,
    incident::{self, Course, Over, Record, Window, server_fingerprint},
    rules::{Condition, Hold, LEARNED, Rule, RuleSet},
};

/// An alert on a series that its server has stopped reporting for so long is over.
const GONE_MS: i64 = 300_000;
/// A series that was not reported for so long is forgotten.
const FORGET_SERIES_MS: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

/// One series: what is known of it, and the conditions on it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) series: Arc<Series>,
    joined: Joined,
    pub(super) record: Record,
    before: Option<crate::detect::LastSample>,
    /// End of the last window with it.
    pub(super) seen: i64,
    pub(super) rules: Box<[Watch]>,
}

#[derive(Debug)]
pub(super) struct Server {
    last: Option<Window>,
    /// The stamp of its last record, whatever time the window in it is of.
    heard_at: i64,
    series: Vec<Watched>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Where the series of the last layout are in `series`.
    slots: Vec<u32>,
    /// Of the layout: which of its series a rule divides by which, and for those rules the figures of the window.
    ratios: Vec<Ratio>,
    figures: Vec<Figures>,
    together: Option<Together>,
    /// Those that stand higher since people said something of an alert.
    bars: Bars,
    learned: Hold,
    /// Which series moved when, before and while the learned alert is open.
    course: Course,
    /// Rules about this server's silence.
    silence: Vec<u16>,
    /// Rules about metrics that may be missing here.
    missing: Vec<Missing>,
    /// Whether there is a rule about series that are left out.
    awaits: bool,
    open: Open,
    /// The minute that was last told what to expect.
    told: i64,
}

impl Server {
    pub(super) fn new(rules: &RuleSet, name: &str, memory: Memory) -> Self {
        let open = Open::new(memory);
        Self {
            last: None,
            heard_at: i64::MIN / 2,
            series: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            slots: Vec::new(),
            ratios: Vec::new(),
            figures: Vec::new(),
            together: None,
            bars: Bars::default(),
            learned: Hold::Idle,
            course: Course::default(),
            silence: silences_of(rules, name),
            missing: missing_of(rules, &[], name, Vec::new(), &open),
            awaits: awaits(rules, name),
            open,
            told: 0,
        }
    }

    /// The replay that begins with it misses nothing.
    pub(super) fn follow_topic(&mut self) {
        self.open.follow_topic();
    }

    pub(super) fn set_rules(&mut self, rules: &RuleSet, kept: &[Option<u16>], name: &str) {
        for watched in &mut self.series {
            watched.rules = carried(rules, kept, name, watched, &self.open);
        }
        self.silence = silences_of(rules, name);
        self.missing = missing_of(rules, kept, name, std::mem::take(&mut self.missing), &self.open);
        self.awaits = awaits(rules, name);
        self.look_at_layout(rules);
    }

    /// Each is raised from the window on of which its verdict says so, whenever that is heard.
    pub(super) fn set_bars(&mut self, bars: Bars) {
        self.bars = bars;
        self.place_bars();
    }

    /// What was really said takes the place of what the silent replay found.
    pub(super) fn reconcile(&mut self, rules: &RuleSet, name: &str, said: Vec<Standing>, memory: Memory) {
        let learned = server_fingerprint(LEARNED, name);
        let found = self.open.get(&learned).map(|alert| alert.alert_id.clone());
        self.open.reconcile(said, memory);
        let known = self.open.get(&learned).filter(|alert| Some(&alert.alert_id) == found.as_ref());
        self.course.reconcile(known.map(|alert| alert.updated_at));
        for watched in &mut self.series {
            for watch in &mut watched.rules {
                let rule = rules.rule(watch.rule);
                let said = self.open.said_of(rule, name, &watched.series);
                // a younger trend may foretell what was never said: that has to hold anew
                let is_new = said.is_none() && watch.hold.is_firing() && is_forecast(rule);
                watch.hold = if is_new { Hold::Idle } else { watch.hold.reconcile(said) };
            }
        }
        for Missing { watch, .. } in &mut self.missing {
            let fingerprint = server_fingerprint(&rules.rule(watch.rule).name, name);
            watch.hold = watch.hold.reconcile(self.open.start_of(&fingerprint));
        }
        let said = self.open.start_of(&learned);
        // younger models may find what was never said; that is no reason to say it now
        let is_new = said.is_none() && self.learned.is_firing();
        self.learned = if is_new { Hold::Idle } else { self.learned.reconcile(said) };
    }

    pub(super) fn step(
        &mut self,
        rules: &RuleSet,
        names: &mut Names,
        frame: &AggregateFrame,
        stamp: i64,
        out: &mut Voice,
    ) -> Taken {
        let window = Window { start: frame.window_start, end: frame.window_end() };
        if self.last.is_some_and(|last| window.start <= last.start) {
            return Taken::Ignored;
        }
        self.last = Some(window);
        self.heard_at = self.heard_at.max(stamp);
        self.heard(rules, frame, window, out);
        self.place(rules, names, frame, window);
        let seconds = window.start as f64 / 1_000.0;
        let mut gathered = Gathered::default();
        let mut odd = Vec::new();
        let mut judged = 0;
        self.figures.clear();
        let mut at = At { rules, server: &frame.server, window, open: &mut self.open, out };
        for (index, &slot) in self.slots.iter().enumerate() {
            let watched = &mut self.series[slot as usize];
            watched.seen = window.end;
            let figures = Figures::read(frame, index, &mut watched.before);
            let value = figures.value(watched.series.kind);
            let times = self.bars.times(index, window.start);
            let opinion = value.and_then(|value| {
                Some((value, gathered.hear(index, &mut watched.joined, seconds, value, times)?))
            });
            at.present(watched, &figures, opinion.as_ref().map(|(_, opinion)| opinion));
            if !self.ratios.is_empty() {
                self.figures.push(figures);
            }
            let Some((value, opinion)) = opinion else { continue };
            // rules have limits of their own: what people called a false alarm is the detector's alone
            let opinion = self.bars.judge(index, window.start, opinion);
            judged += 1;
            if opinion.score >= 1.0 {
                let method = self.bars.method(index, window.start, opinion.oddness().name());
                at.out.push(anomaly(frame, &watched.series, value, &opinion, method));
            }
            if opinion.size() > 1.0 || opinion.is_odd() {
                odd.push(Moved { slot, value, opinion, before: watched.record });
            }
            watched.record.learn(window.start, value);
        }
        self.watch_whole(rules, frame, window, out);
        let together = self.together.get_or_insert_with(|| Together::new(frame.window_ms as f64 / 1_000.0));
        let (verdict, _) = gathered.judge(together);
        self.watch_together(&frame.server, window, verdict, odd, out);
        self.end_gone(rules, &frame.server, window, out);
        self.open.release(window.end, out);
        self.tell_expected(frame, window, out);
        Taken::Judged(judged)
    }

    /// The server is not silent any more.
    fn heard(&mut self, rules: &RuleSet, frame: &AggregateFrame, window: Window, out: &mut Voice) {
        if self.open.is_empty() {
            return;
        }
        for &rule in &self.silence {
            let fingerprint = server_fingerprint(&rules.rule(rule).name, &frame.server);
            self.open.resolve(&fingerprint, window.start, window.end, Over::Heard, out);
        }
    }

    /// The rules that need more than one series of the window, or are about what it lacks.
    fn watch_whole(&mut self, rules: &RuleSet, frame: &AggregateFrame, window: Window, out: &mut Voice) {
        let mut at = At { rules, server: &frame.server, window, open: &mut self.open, out };
        for ratio in &self.ratios {
            let (index, by) = (ratio.index as usize, ratio.by as usize);
            let watched = &mut self.series[self.slots[index] as usize];
            let figures = (&self.figures[index], &self.figures[by]);
            at.ratio(watched, ratio.watch, figures, frame.layout[by].kind);
        }
        if self.awaits {
            let absent = self.series.iter_mut().filter(|watched| watched.seen < window.end);
            absent.for_each(|watched| at.absent(watched));
        }
        self.missing.iter_mut().for_each(|missing| at.missing(missing));
    }

    /// Finds the slot of each series of the frame; a layout that did not change costs one comparison.
    fn place(&mut self, rules: &RuleSet, names: &mut Names, frame: &AggregateFrame, window: Window) {
        let is_in_place = self.slots.len() == frame.layout.len()
            && layout(&self.series, &self.slots)
                .zip(&frame.layout)
                .all(|(known, series)| same(known, series));
        if is_in_place {
            return;
        }
        self.forget(rules, window.start - FORGET_SERIES_MS);
        let slot = |series: &Series| self.slot(rules, names, &frame.server, series, window.end);
        self.slots = frame.layout.iter().map(slot).collect();
        // they grew by doubling, and most servers keep what they have
        self.series.shrink_to_fit();
        self.place_bars();
        self.look_at_layout(rules);
    }

    fn place_bars(&mut self) {
        self.bars.place(layout(&self.series, &self.slots));
    }

    /// What rules have to know of the layout, once for all windows that have it.
    fn look_at_layout(&mut self, rules: &RuleSet) {
        for missing in &mut self.missing {
            let Condition::MetricAbsent(select) = &rules.rule(missing.watch.rule).condition else { continue };
            missing.present = layout(&self.series, &self.slots)
                .any(|series| select.is_match(&series.metric, &series.labels));
        }
        self.ratios = ratios_of(rules, &self.series, &self.slots);
    }

    fn slot(&mut self, rules: &RuleSet, names: &mut Names, server: &str, series: &Series, seen: i64) -> u32 {
        let hash = hash_of(&self.hasher, series);
        if let Some(&slot) = self.index.find(hash, |&slot| same(&self.series[slot as usize].series, series)) {
            return slot;
        }
        let slot = self.series.len() as u32;
        let rules = watches_of(rules, server, series, &self.open, seen);
        let watched = Watched {
            series: names.of(series),
            joined: Joined::default(),
            record: Record::default(),
            before: None,
            seen: 0,
            rules,
        };
        self.series.push(watched);
        self.index
            .insert_unique(hash, slot, |&slot| hash_of(&self.hasher, &self.series[slot as usize].series));
        slot
    }

    fn forget(&mut self, rules: &RuleSet, before: i64) {
        let is_wanted = |watched: &Watched| watched.seen >= before || watched.is_awaited(rules);
        if self.series.iter().all(is_wanted) {
            return;
        }
        self.series.retain(is_wanted);
        self.series.shrink_to_fit();
        self.reindex();
    }

    fn reindex(&mut self) {
        self.index.clear();
        for (slot, watched) in (0_u32..).zip(&self.series) {
            let hash = hash_of(&self.hasher, &watched.series);
            self.index
                .insert_unique(hash, slot, |&slot| hash_of(&self.hasher, &self.series[slot as usize].series));
        }
    }

    /// Ends alerts on series that this server does not report any more, and of rules that are gone.
    fn end_gone(&mut self, rules: &RuleSet, server: &str, window: Window, out: &mut Voice) {
        if self.open.is_empty() {
            return;
        }
        for fingerprint in self.open.without_rule(rules, server) {
            self.open.resolve(&fingerprint, window.start, window.end, Over::RuleGone, out);
        }
        let mut gone = Vec::new();
        for alert in self.open.alerts() {
            let Some(number) = rules.number_of(&alert.rule) else { continue };
            // what is about absence does not end with it
            if rules.rule(number).condition.threshold().is_none() {
                continue;
            }
            let mut same = self.series.iter().filter(|watched| watched.is_of(alert)).peekable();
            let is_known = same.peek().is_some();
            let watches = same.flat_map(|watched| &watched.rules).filter(|watch| watch.rule == number);
            match watches.map(|watch| watch.judged).max() {
                Some(judged) if window.end - judged <= GONE_MS => {}
                Some(judged) => gone.push((alert.fingerprint.clone(), number, judged, Over::Gone)),
                // a counter's rate was asked for, and it is no counter
                None if is_known => {
                    gone.push((alert.fingerprint.clone(), number, window.start, Over::RuleGone));
                }
                // one that was never seen here counts from the alert's last word
                None if window.end - alert.updated_at <= GONE_MS => {}
                None => gone.push((alert.fingerprint.clone(), number, alert.updated_at, Over::Gone)),
            }
        }
        for (fingerprint, number, ends_at, over) in gone {
            let alert = self.open.get(&fingerprint);
            for watched in self.series.iter_mut().filter(|w| alert.is_some_and(|alert| w.is_of(alert))) {
                watched.rules.iter_mut().filter(|watch| watch.rule == number).for_each(Watch::reset);
            }
            self.open.resolve(&fingerprint, ends_at, window.end, over, out);
        }
    }

    /// Once a minute: the band of the minute that begins.
    fn tell_expected(&mut self, frame: &AggregateFrame, window: Window, out: &mut Voice) {
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
        for (index, &slot) in self.slots.iter().enumerate() {
            let watched = &self.series[slot as usize];
            let times = self.bars.times(index, window.start);
            let Some(band) = watched.joined.band_against(middle, times) else { continue };
            expectation.layout.push(Series::clone(&watched.series));
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
        let all = self.silence.iter().map(|&rule| rules.rule(rule));
        let due = all.filter(|rule| !rule.is_quiet_at(now));
        let due = due.filter_map(|rule| Some((rule, self.silent_since(rule, since, now)?)));
        due.filter(|(rule, _)| self.open.start_of(&server_fingerprint(&rule.name, name)).is_none()).collect()
    }

    pub(super) fn is_silence_due(&self, rules: &RuleSet, name: &str, since: i64, now: i64) -> bool {
        !self.silences(rules, name, since, now).is_empty()
    }

    pub(super) fn tick(&mut self, rules: &RuleSet, name: &str, since: i64, now: i64, out: &mut Voice) {
        for fingerprint in self.open.without_rule(rules, name) {
            self.open.resolve(&fingerprint, now, now, Over::RuleGone, out);
        }
        let silences = self.silences(rules, name, since, now);
        let alerts: Vec<_> =
            silences.into_iter().map(|(rule, end)| incident::silence(rule, name, end, now)).collect();
        for alert in alerts {
            // one that has to wait is due again with the next tick
            let _ = self.open.fire(alert, out);
        }
    }

    /// Whether it spoke after `time`, or has something open.
    pub(super) fn is_wanted(&self, time: i64) -> bool {
        !self.open.is_empty() || self.last.is_some_and(|last| last.end > time)
    }

    /// What it is remembered for.
    pub(super) fn memory(&self) -> &Memory {
        self.open.memory()
    }

    pub(super) fn open_rules(&self) -> impl Iterator<Item = &str> {
        self.open.rules()
    }

    pub(super) fn add_to(&self, sizes: &mut Sizes) {
        sizes.series += self.series.len();
        sizes.open_alerts += self.open.len();
        sizes.newest = sizes.newest.max(self.last.map_or(0, |last| last.end));
        let watches = |w: &Watched| w.rules.iter().map(Watch::bytes).sum::<usize>();
        let held = |w: &Watched| size_of::<Watched>() + w.joined.heap_bytes() + watches(w);
        let series: usize = self.series.iter().map(|w| held(w) + 5).sum();
        let slots = self.slots.capacity() * size_of::<u32>();
        let figures = self.figures.capacity() * size_of::<Figures>();
        sizes.verdicts += self.last.map_or(0, |last| self.bars.in_force(last.start));
        let said = self.open.bytes() + self.course.bytes() + self.bars.bytes();
        sizes.bytes += size_of::<Self>() + series + slots + figures + said;
    }
}

impl Watched {
    fn is_of(&self, alert: &Alert) -> bool {
        Some(&self.series.metric) == alert.metric.as_ref() && self.series.labels == alert.labels
    }

    /// Whether a rule is going to miss it; what it has missed is an open alert, and that remembers.
    fn is_awaited(&self, rules: &RuleSet) -> bool {
        self.rules.iter().any(|watch| {
            !watch.hold.is_firing() && matches!(rules.rule(watch.rule).condition, Condition::SeriesAbsent(_))
        })
    }
}

fn anomaly(frame: &AggregateFrame, series: &Series, value: f64, opinion: &Opinion, method: String) -> Output {
    Output::Anomaly(Box::new(Anomaly {
        server: frame.server.clone(),
        metric: series.metric.clone(),
        labels: series.labels.clone(),
        unit: series.unit.clone(),
        window_start: frame.window_start,
        window_ms: frame.window_ms,
        value,
        expected_low: opinion.judgement.low,
        expected_high: opinion.judgement.high,
        score: opinion.score,
        method,
    }))
}

/// The rules about this server's silence.
fn silences_of(rules: &RuleSet, name: &str) -> Vec<u16> {
    let wanted = |rule: &Rule| matches!(rule.condition, Condition::Silence) && rule.wants_server(name);
    rules.numbered().filter(|(_, rule)| wanted(rule)).map(|(number, _)| number).collect()
}

fn is_forecast(rule: &Rule) -> bool {
    matches!(rule.condition, Condition::Forecast(_))
}

fn awaits(rules: &RuleSet, name: &str) -> bool {
    rules
        .rules
        .iter()
        .any(|rule| matches!(rule.condition, Condition::SeriesAbsent(_)) && rule.wants_server(name))
}

/// The series of the last layout.
fn layout<'a>(known: &'a [Watched], slots: &'a [u32]) -> impl Iterator<Item = &'a Series> {
    slots.iter().map(|&slot| known[slot as usize].series.as_ref())
}

fn same(a: &Series, b: &Series) -> bool {
    a.metric == b.metric && a.kind == b.kind && a.labels == b.labels
}

fn hash_of(hasher: &DefaultHashBuilder, series: &Series) -> u64 {
    let mut state = hasher.build_hasher();
    (&series.metric, series.kind, &series.labels).hash(&mut state);
    std::hash::Hasher::finish(&state)
}
