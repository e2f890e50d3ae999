//! Send: rounds of requests, what their outcomes mean for the ledgers, and what is said of a target.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidewatch_schemas::Reason;
use tidewatch_service_kit::retry;

use super::{Session, TICK, now_ms};
use crate::{
    deliver::verdict::{Fault, Kind, No, Outcome},
    ledger::Transition,
    metrics::Fate,
};

/// After a round in which nothing could be tried.
const REST: Duration = Duration::from_millis(500);
/// After the wish to stop, time for the requests under way.
const DRAIN: Duration = Duration::from_secs(3);
/// Alerts of which an Alertmanager is told again in one request.
const REPEATED: usize = 256;

impl Session<'_> {
    /// The oldest transition of some alerts, and what became of each. Those that were tried least come first: one that fails
    /// again and again must not take the one try that a breaker allows.
    pub(super) fn round(&mut self) {
        if Instant::now() < self.rest_until {
            return;
        }
        let (now, target) = (now_ms(), &self.notifier.target);
        let mut due: Vec<(u32, i32, Arc<Transition>)> = Vec::new();
        for (&partition, ledger) in &self.ledgers {
            due.extend(ledger.due(now).into_iter().map(|(tries, one)| (tries, partition, one)));
        }
        due.sort_by_key(|(tries, ..)| *tries);
        due.truncate(target.at_once());
        if due.is_empty() {
            return;
        }
        let transitions: Vec<_> = due.iter().map(|(_, _, one)| Arc::clone(one)).collect();
        let Some(outcomes) = self.waiting_for(target.deliver(&transitions)) else { return };
        let skipped = |outcome: &Outcome| matches!(outcome, Err(No::Later(f)) if f.kind == Kind::Skipped);
        if outcomes.iter().all(skipped) {
            self.rest_until = Instant::now() + REST;
        }
        let takes_some = outcomes.iter().any(Result::is_ok);
        for ((_, partition, one), outcome) in due.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.taken(partition, &one),
                Err(No::Refused(words)) => self.refuse(partition, &one, &words),
                Err(No::Later(fault)) if fault.kind == Kind::Skipped => {}
                Err(No::Later(fault)) => self.put_off(partition, &one, &fault, takes_some),
            }
        }
    }

    /// Tells a target that forgets again of what was delivered before.
    pub(super) fn repeat(&mut self, now: i64) {
        let target = &self.notifier.target;
        if !target.forgets() {
            for ledger in self.ledgers.values_mut() {
                ledger.forget(now);
            }
            return;
        }
        if self.repeat_at.max(self.rest_until) > Instant::now() {
            return;
        }
        let all: Vec<_> = self.ledgers.values_mut().flat_map(|ledger| ledger.standing(now)).collect();
        self.repeat_at = Instant::now() + self.notifier.config.resend;
        for some in all.chunks(REPEATED) {
            match self.waiting_for(target.repeat(some)) {
                // it takes the good ones of a request all the same
                Some(Ok(()) | Err(No::Refused(_))) => target.metrics().record_repeats(some.len()),
                Some(Err(No::Later(fault))) => {
                    tracing::debug!(target_id = target.id(), error = fault.words, "tell again");
                    self.repeat_at = Instant::now() + TICK;
                    return;
                }
                None => return,
            }
        }
    }

    /// The result of a request; none when it did not end soon after the wish to stop. It is made again after the next start.
    fn waiting_for<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let shutdown = &self.notifier.shutdown;
        self.notifier.runtime.block_on(async {
            let late = async {
                shutdown.wait().await;
                tokio::time::sleep(DRAIN).await;
            };
            tokio::select! {
                result = request => Some(result),
                () = late => None,
            }
        })
    }

    fn taken(&mut self, partition: i32, one: &Transition) {
        let (now, target) = (now_ms(), &self.notifier.target);
        if let Some(ledger) = self.ledgers.get_mut(&partition) {
            ledger.taken(one, now);
        }
        self.taken += 1;
        self.refuses = false;
        target.metrics().record_taken(now - one.stamp);
        if std::mem::take(&mut self.is_away) {
            tracing::info!(target_id = target.id(), "target takes alerts again");
        }
    }

    fn refuse(&mut self, partition: i32, one: &Transition, words: &str) {
        if let Some(ledger) = self.ledgers.get_mut(&partition) {
            ledger.refused(one);
        }
        let target = &self.notifier.target;
        target.metrics().record_fate(Fate::Refused, 1);
        if std::mem::replace(&mut self.refuses, true) {
            tracing::debug!(target_id = target.id(), id = one.id, error = words, "transition refused");
        } else {
            tracing::warn!(
                target_id = target.id(),
                id = one.id,
                error = words,
                "transition refused for good, to the dead letters with it"
            );
        }
        let at = (partition, one.offset);
        self.bury(at, one.key.clone(), one.payload.clone(), Reason::Refused, words);
    }

    fn put_off(&mut self, partition: i32, one: &Transition, fault: &Fault, takes_some: bool) {
        let Some(ledger) = self.ledgers.get_mut(&partition) else { return };
        if matches!(fault.kind, Kind::Failed | Kind::Misdirected) && ledger.strike(one.offset, self.taken) {
            let words = format!("failed again and again while others were taken: {}", fault.words);
            self.refuse(partition, one, &words);
            return;
        }
        let pause = retry::pause(ledger.tries(one.offset));
        ledger.put_off(one.offset, now_ms() + pause.as_millis() as i64);
        // it speaks of itself, not of this alert
        if let Some(after) = fault.after {
            self.rest_until = self.rest_until.max(Instant::now() + after);
        }
        if !takes_some && !std::mem::replace(&mut self.is_away, true) {
            let (id, kind) = (self.notifier.target.id(), fault.kind.as_str());
            tracing::warn!(
                target_id = id,
                kind,
                error = fault.words,
                "target takes nothing, try until it does"
            );
        }
    }
}
