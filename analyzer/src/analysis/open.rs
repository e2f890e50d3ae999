//! The alerts of one server that were said and are not over, by fingerprint; one that flaps is held open.
//!
//! In: transitions of rules and of the detector. Out: what is said of them. Invariant: what begins is said once, and ends
//! once; the state is a function of what was said and of the windows since.

use std::collections::BTreeMap;

use tidewatch_schemas::{Alert, Series};

use super::{
    Output,
    said::{Memory, Standing},
    voice::Voice,
    watch,
};
use crate::{
    incident::{self, Ending, Over, words},
    rules::{LEARNED, Rule, RuleSet},
    snapshot::Keep,
};

/// How long what an alert that flaps is about has to be over before the alert is.
pub(crate) const HELD_MS: i64 = 900_000;

#[derive(Debug)]
struct Held {
    standing: Standing,
    /// It came and went often before it was said.
    flaps: bool,
    /// It is over, and held open to see whether it comes back.
    over: Option<Ending>,
}

/// An alert that has to wait, for too many begin at once.
#[derive(Debug)]
struct Waiting {
    since: i64,
    /// It is over when it has not been tried again.
    tried: i64,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    alerts: BTreeMap<String, Held>,
    memory: Memory,
    waiting: BTreeMap<String, Waiting>,
    /// How many were over before they could be said.
    untold: usize,
    /// During a replay that misses nothing: whether an alert had room then is known, for it was said or was not.
    follows_topic: bool,
}

impl Open {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// What the alert topic has of a server that came back from its snapshot.
    pub(super) fn remember(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// From here on, until what was said is known, the replay finds what the one before had found.
    pub(super) fn follow_topic(&mut self) {
        self.follows_topic = true;
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.alerts.len()
    }

    /// Alerts that are not over.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|held| held.over.is_none()).map(|held| &held.standing.alert)
    }

    /// The rules of all that were said, held ones too.
    pub(super) fn rules(&self) -> impl Iterator<Item = &str> {
        self.alerts.values().map(|held| held.standing.alert.rule.as_str())
    }

    pub(super) fn get(&self, fingerprint: &str) -> Option<&Alert> {
        self.alerts.get(fingerprint).map(|held| &held.standing.alert)
    }

    /// An alert that begins; it joins the incident of the alert that has been open for longest. One that is held open goes
    /// on, and nothing is said. `false`: it has to wait, and be tried again with the next window.
    #[must_use]
    pub(super) fn fire(&mut self, mut alert: Alert, out: &mut Voice) -> bool {
        let now = alert.updated_at;
        if let Some(held) = self.alerts.get_mut(&alert.fingerprint) {
            held.over = None;
            return true;
        }
        if !self.has_room(&alert, out) {
            let waiting = self.waiting.entry(alert.fingerprint).or_insert_with(|| {
                out.push(Output::HeldBack);
                Waiting { since: now, tried: now }
            });
            waiting.tried = now;
            return false;
        }
        let all = self.alerts.values().map(|held| &held.standing.alert);
        if let Some(eldest) = all.min_by_key(|open| (open.starts_at, &open.alert_id)) {
            alert.incident_id.clone_from(&eldest.incident_id);
        }
        alert.explanation = words::bounded(alert.explanation);
        if let Some(waiting) = self.waiting.remove(&alert.fingerprint) {
            alert.explanation = format!(
                "{} It was held back since {}: too many alerts began at once.",
                alert.explanation,
                words::clock(waiting.since)
            );
        }
        let untold = std::mem::take(&mut self.untold);
        if untold > 0 {
            let (were, are) = if untold == 1 { ("alert", "is") } else { ("alerts", "are") };
            alert.explanation = format!(
                "{} {untold} more {were} of this server had to wait and {are} over.",
                alert.explanation
            );
        }
        let flaps = self.memory.flaps(&alert.fingerprint, now);
        if let Some(times) = flaps {
            let held = words::duration(HELD_MS);
            alert.explanation = format!(
                "{} It came and went {times} times within the hour before, so it stays open until it has been over for {held}.",
                alert.explanation
            );
        }
        if alert.rule == LEARNED
            && let Some(alike) = self.memory.past.resembles(&alert)
        {
            alert.explanation = format!("{} {alike}", alert.explanation);
        }
        self.memory.begin(&alert);
        out.budget.spend(&alert);
        out.push(Output::Alert(Box::new(alert.clone())));
        let fingerprint = alert.fingerprint.clone();
        let standing = Standing { since: now, again: 0, alert };
        self.alerts.insert(fingerprint, Held { standing, flaps: flaps.is_some(), over: None });
        true
    }

    fn has_room(&self, alert: &Alert, out: &Voice) -> bool {
        if self.follows_topic {
            return self.memory.has_begun(&alert.fingerprint, alert.updated_at);
        }
        out.has_room(alert, &self.memory.budget)
    }

    /// The same alert again, as `change` has it.
    pub(super) fn say_again(
        &mut self,
        fingerprint: &str,
        change: impl FnOnce(&Alert) -> Option<Alert>,
        out: &mut Voice,
    ) {
        let Some(held) = self.alerts.get_mut(fingerprint) else { return };
        let Some(mut next) = change(&held.standing.alert) else { return };
        next.explanation = words::bounded(next.explanation);
        if let Some(alike) = self.memory.past.resembles(&next) {
            next.explanation = format!("{} {alike}", next.explanation);
        }
        held.standing.again += 1;
        held.standing.alert = next.clone();
        out.push(Output::Again(Box::new(next), held.standing.again));
    }

    pub(super) fn resolve(
        &mut self,
        fingerprint: &str,
        ends_at: i64,
        now: i64,
        over: Over<'_>,
        out: &mut Voice,
    ) {
        let Some(held) = self.alerts.get_mut(fingerprint) else { return };
        let is_final = matches!(over, Over::RuleGone);
        if held.over.is_some() && !is_final {
            return;
        }
        let ends_at = held.over.as_ref().map_or(ends_at, |over| over.ends_at);
        let ending = incident::ending(&held.standing.alert, ends_at, over);
        if held.flaps && !is_final && now - ending.ends_at < HELD_MS {
            held.over = Some(ending);
            return;
        }
        self.close(fingerprint, &ending, now, out);
    }

    /// Ends what was held open for long enough, and counts what was over before it could be said.
    pub(super) fn release(&mut self, now: i64, out: &mut Voice) {
        let is_due = |held: &Held| held.over.as_ref().is_some_and(|over| now - over.ends_at >= HELD_MS);
        let due = self.alerts.iter().filter(|(_, held)| is_due(held));
        let due: Vec<String> = due.map(|(fingerprint, _)| fingerprint.clone()).collect();
        for fingerprint in due {
            let over = self.alerts.get_mut(&fingerprint).and_then(|held| held.over.take());
            if let Some(ending) = over {
                self.close(&fingerprint, &ending, now, out);
            }
        }
        let before = self.waiting.len();
        self.waiting.retain(|_, waiting| waiting.tried >= now);
        self.untold += before - self.waiting.len();
    }

    fn close(&mut self, fingerprint: &str, ending: &Ending, now: i64, out: &mut Voice) {
        if let Some(held) = self.alerts.remove(fingerprint) {
            let alert = incident::resolved(&held.standing.alert, ending, now);
            self.memory.end(&alert);
            out.push(Output::Alert(Box::new(alert)));
        }
    }

    /// When an alert began that is not over.
    pub(super) fn start_of(&self, fingerprint: &str) -> Option<i64> {
        let held = self.alerts.get(fingerprint).filter(|held| held.over.is_none())?;
        Some(held.standing.alert.starts_at)
    }

    /// The same of the alert of a rule about a series.
    pub(super) fn said_of(&self, rule: &Rule, server: &str, series: &Series) -> Option<i64> {
        if self.alerts.is_empty() {
            return None;
        }
        self.start_of(&incident::series_fingerprint(rule, server, &series.metric, &series.labels))
    }

    /// Alerts that no rule is about any more.
    pub(super) fn without_rule(&self, rules: &RuleSet, server: &str) -> Vec<String> {
        let has_rule = |alert: &Alert| {
            alert.rule == LEARNED
                || rules.by_name(&alert.rule).is_some_and(|rule| watch::covers(rule, server, alert))
        };
        let gone = self.alerts.iter().filter(|(_, held)| !has_rule(&held.standing.alert));
        gone.map(|(fingerprint, _)| fingerprint.clone()).collect()
    }

    /// What was really said takes the place of what a silent replay found; that what is held open was over is known from the
    /// replay alone.
    pub(super) fn reconcile(&mut self, said: Vec<Standing>, memory: Memory) {
        let mut found = std::mem::take(&mut self.alerts);
        self.memory = memory;
        self.follows_topic = false;
        for standing in said {
            let fingerprint = standing.alert.fingerprint.clone();
            let flaps = self.memory.flaps(&fingerprint, standing.since).is_some();
            let over = found.remove(&fingerprint).and_then(|held| held.over).filter(|_| flaps);
            self.waiting.remove(&fingerprint);
            self.alerts.insert(fingerprint, Held { standing, flaps, over });
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes()
    }
}

crate::snapshot::keep_fields!(Held { standing, flaps, over });
crate::snapshot::keep_fields!(Waiting { since, tried });

/// Without what the server is remembered for: the alert topic has it.
impl Keep for Open {
    fn keep(&self, out: &mut Vec<u8>) {
        let Self { alerts, memory: _, waiting, untold, follows_topic: _ } = self;
        alerts.keep(out);
        waiting.keep(out);
        untold.keep(out);
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        Some(Self {
            alerts: Keep::recall(from)?,
            memory: Memory::default(),
            waiting: Keep::recall(from)?,
            untold: Keep::recall(from)?,
            follows_topic: false,
        })
    }
}
