//! The ledger: what of one partition of `alerts` a target still has to get, and what it has to be told again.
//!
//! In: transitions in the topic's order, what became of those that were sent, the time. Out: which are due, how far the
//! partition is done with. Pure: no Kafka, no HTTP, no clock. Keeps:
//! - of an alert only the oldest pending transition is due, so that they arrive in order;
//! - the partition is done with up to the oldest pending transition, and not beyond;
//! - a firing that is old and was resolved meanwhile is left out. So is its resolution where the target is new and can't
//!   have heard of the alert; a target that may have heard of it gets the resolution.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tidewatch_schemas::{Alert, AlertStatus};

/// A transition as it came.
#[derive(Debug)]
pub(crate) struct Transition {
    pub(crate) offset: i64,
    /// When its record was stamped, milliseconds since 1970.
    pub(crate) stamp: i64,
    /// The same for a second copy: `<alert_id>.<status>`, with `.n` behind it where a status is said again.
    pub(crate) id: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) alert: Arc<Alert>,
    /// As they were, for a dead letter.
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
}

impl Transition {
    fn is_firing(&self) -> bool {
        self.alert.status == AlertStatus::Firing
    }
}

/// What the topic said before this ledger began.
#[derive(Debug, Default)]
pub(crate) struct History {
    standing: HashMap<String, Standing>,
    /// Alerts with a resolution at or behind the committed offset.
    resolved: HashSet<String>,
    /// Behind the last record.
    end: i64,
}

impl History {
    /// The next record of the topic; `committed` is where the target goes on.
    pub(crate) fn add(&mut self, transition: &Transition, committed: Option<i64>) {
        self.end = transition.offset + 1;
        if committed.is_some_and(|committed| transition.offset < committed) {
            stand(&mut self.standing, transition, transition.stamp);
        } else if !transition.is_firing() {
            self.resolved.insert(transition.alert.alert_id.clone());
        }
    }
}

/// What a target was told of an alert last.
#[derive(Debug)]
struct Standing {
    id: String,
    alert: Arc<Alert>,
    /// A resolution is told again until then, for an Alertmanager that has just lost what it knew.
    until: Option<i64>,
}

/// How long.
const RESOLVED_FOR_MS: i64 = 15 * 60_000;

fn stand(standing: &mut HashMap<String, Standing>, transition: &Transition, at: i64) {
    let until = (!transition.is_firing()).then_some(at + RESOLVED_FOR_MS);
    let (id, alert) = (transition.id.clone(), Arc::clone(&transition.alert));
    standing.insert(alert.alert_id.clone(), Standing { id, alert, until });
}

#[derive(Debug)]
struct Pending {
    transition: Arc<Transition>,
    tries: u32,
    /// Failures after each of which the target took others.
    strikes: u32,
    taken_by_then: u64,
    not_before: i64,
}

/// Failures of one alert while others are taken, after which it is the alert's fault.
pub(crate) const STRIKES: u32 = 10;

#[derive(Debug)]
pub(crate) struct Ledger {
    pending: BTreeMap<i64, Pending>,
    standing: HashMap<String, Standing>,
    resolved: HashSet<String>,
    stale_after_ms: i64,
    /// The end of the topic when a target that had no offsets began.
    new_until: Option<i64>,
    /// Behind the last record read.
    next: Option<i64>,
    committed: Option<i64>,
}

impl Ledger {
    /// `committed` as the group has it; none for a target that begins.
    pub(crate) fn new(history: History, committed: Option<i64>, stale_after: Duration) -> Self {
        Self {
            pending: BTreeMap::new(),
            standing: history.standing,
            resolved: history.resolved,
            stale_after_ms: stale_after.as_millis() as i64,
            new_until: committed.is_none().then_some(history.end),
            next: None,
            committed,
        }
    }

    /// The next record. `false`: a second copy of one that is pending or was told, passed over.
    pub(crate) fn take(&mut self, transition: Transition) -> bool {
        let (offset, alert_id) = (transition.offset, &transition.alert.alert_id);
        self.next = Some(offset + 1);
        let is_told = self.standing.get(alert_id).is_some_and(|standing| standing.id == transition.id);
        if is_told || self.pending.values().any(|pending| pending.transition.id == transition.id) {
            return false;
        }
        if !transition.is_firing() {
            self.resolved.insert(alert_id.clone());
        }
        let transition = Arc::new(transition);
        let pending = Pending { transition, tries: 0, strikes: 0, taken_by_then: 0, not_before: 0 };
        self.pending.insert(offset, pending);
        true
    }

    /// The next record, of which nothing has to be told.
    pub(crate) fn pass(&mut self, offset: i64) {
        self.next = Some(offset + 1);
    }

    /// Forgets what is too old to be told; how many transitions that were.
    pub(crate) fn leave_out_stale(&mut self, now: i64) -> usize {
        let before = self.pending.len();
        let (resolved, limit) = (&self.resolved, now - self.stale_after_ms);
        self.pending.retain(|_, pending| {
            let one = &pending.transition;
            !(one.is_firing() && one.stamp < limit && resolved.contains(&one.alert.alert_id))
        });
        if let Some(new_until) = self.new_until {
            let told: HashSet<String> = self
                .pending
                .values()
                .filter(|pending| pending.transition.is_firing())
                .map(|pending| pending.transition.alert.alert_id.clone())
                .collect();
            let standing = &self.standing;
            self.pending.retain(|offset, pending| {
                let one = &pending.transition;
                let id = &one.alert.alert_id;
                let is_known = told.contains(id) || standing.contains_key(id);
                one.is_firing() || *offset >= new_until || one.stamp >= limit || is_known
            });
        }
        before - self.pending.len()
    }

    /// The oldest transition of each alert whose time has come, the oldest first, each with how often it was tried.
    pub(crate) fn due(&self, now: i64) -> Vec<(u32, Arc<Transition>)> {
        let mut seen = HashSet::new();
        let heads = self.pending.values().filter(|p| seen.insert(p.transition.alert.alert_id.as_str()));
        let due = heads.filter(|pending| pending.not_before <= now);
        due.map(|pending| (pending.tries, Arc::clone(&pending.transition))).collect()
    }

    /// The target has it.
    pub(crate) fn taken(&mut self, transition: &Transition, now: i64) {
        self.done(transition);
        stand(&mut self.standing, transition, now);
    }

    /// The target will never have it, and what it was told before does not hold any more.
    pub(crate) fn refused(&mut self, transition: &Transition) {
        self.done(transition);
        self.standing.remove(&transition.alert.alert_id);
    }

    fn done(&mut self, transition: &Transition) {
        self.pending.remove(&transition.offset);
        if !transition.is_firing() {
            self.resolved.remove(&transition.alert.alert_id);
        }
    }

    /// How often it was tried before.
    pub(crate) fn tries(&self, offset: i64) -> u32 {
        self.pending.get(&offset).map_or(0, |pending| pending.tries)
    }

    /// It has to be tried again, not before `not_before`.
    pub(crate) fn put_off(&mut self, offset: i64, not_before: i64) {
        if let Some(pending) = self.pending.get_mut(&offset) {
            pending.tries = pending.tries.saturating_add(1);
            pending.not_before = not_before;
        }
    }

    /// It failed though the target answered; `taken` counts what the target took so far. Whether it is the alert's fault.
    pub(crate) fn strike(&mut self, offset: i64, taken: u64) -> bool {
        let Some(pending) = self.pending.get_mut(&offset) else { return false };
        if pending.tries > 0 && taken > pending.taken_by_then {
            pending.strikes += 1;
        }
        pending.taken_by_then = taken;
        pending.strikes >= STRIKES
    }

    /// What the target has to be told again so that it does not forget it.
    pub(crate) fn standing(&mut self, now: i64) -> Vec<Arc<Alert>> {
        self.forget(now);
        self.standing.values().map(|standing| Arc::clone(&standing.alert)).collect()
    }

    /// Forgets resolutions that were told again for long enough.
    pub(crate) fn forget(&mut self, now: i64) {
        self.standing.retain(|_, standing| standing.until.is_none_or(|until| now < until));
    }

    pub(crate) fn standing_len(&self) -> usize {
        self.standing.len()
    }

    pub(crate) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The stamp of the oldest pending transition.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.pending.values().map(|pending| pending.transition.stamp).min()
    }

    /// The offset to commit, if it moved. A target that begins commits nothing before it is through with what was there:
    /// until then a restart begins again, and knows what it may leave out.
    pub(crate) fn to_commit(&self) -> Option<i64> {
        let done = self.pending.keys().next().copied().or(self.next)?;
        if self.new_until.is_some_and(|end| done < end) || self.committed == Some(done) {
            return None;
        }
        Some(done)
    }

    pub(crate) fn committed(&mut self, offset: i64) {
        self.committed = Some(offset);
        self.new_until = None;
    }
}

#[cfg(test)]
pub(crate) mod tests;
