//! What was really said, as the alert topic has it: which alerts are open, and what each server is remembered for.
//!
//! In: alerts in the topic's order. Out: the state of a new owner. Invariant: one that never crashed has the same from what
//! it said itself.

use std::collections::BTreeMap;

use tidewatch_schemas::{Alert, AlertStatus};

use super::voice::Budget;
use crate::{incident::Past, rules::LEARNED};

/// An alert that came and went so often ...
const TIMES: usize = 3;
/// ... within that time is flapping when it comes again.
const WHILE_MS: i64 = 3_600_000;
/// A day after the last beginning of an alert nothing is remembered of it.
const FORGET_MS: i64 = 24 * 3_600_000;
/// Beginnings that are remembered of one alert: more than can be within a replay.
const BEGINNINGS: usize = 32;

/// An alert that is open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) alert: Alert,
    /// When it was first said.
    pub(super) since: i64,
    /// How often it was said again.
    pub(super) again: u32,
}

/// What a server is remembered for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    /// When alerts were first said, by fingerprint, in the order of time.
    begun: BTreeMap<String, Vec<i64>>,
    pub(super) budget: Budget,
    pub(super) past: Past,
}

impl Memory {
    /// An alert is said for the first time.
    pub(super) fn begin(&mut self, alert: &Alert) {
        let at = alert.updated_at;
        self.budget.spend(alert);
        let begun = self.begun.entry(alert.fingerprint.clone()).or_default();
        // a silent replay comes by what it read in the topic
        if !begun.contains(&at) {
            begun.push(at);
            let surplus = begun.len().saturating_sub(BEGINNINGS);
            begun.drain(..surplus);
        }
        self.begun.retain(|_, begun| begun.iter().any(|begun| at - begun < FORGET_MS));
    }

    /// An alert was said to be over.
    pub(super) fn end(&mut self, alert: &Alert) {
        if alert.rule == LEARNED {
            self.past.add(alert);
        }
    }

    /// Whether an alert was first said at `at`.
    pub(super) fn has_begun(&self, fingerprint: &str, at: i64) -> bool {
        self.begun.get(fingerprint).is_some_and(|begun| begun.contains(&at))
    }

    /// How often an alert that began at `at` had come within the hour before, if that is often.
    pub(super) fn flaps(&self, fingerprint: &str, at: i64) -> Option<usize> {
        let begun = self.begun.get(fingerprint)?;
        let times = begun.iter().filter(|begun| (at - WHILE_MS..at).contains(*begun)).count();
        (times >= TIMES).then_some(times)
    }

    pub(super) fn bytes(&self) -> usize {
        let begun =
            |(fingerprint, begun): (&String, &Vec<i64>)| fingerprint.len() + 8 * begun.capacity() + 48;
        self.begun.iter().map(begun).sum::<usize>() + self.budget.bytes() + self.past.bytes()
    }
}

/// What the alert topic says; takes its records in order.
#[derive(Debug, Clone, Default)]
pub struct Said {
    open: BTreeMap<String, Standing>,
    memory: BTreeMap<String, Memory>,
    budget: Budget,
    anything: bool,
}

impl Said {
    pub fn add(&mut self, alert: Alert) {
        self.anything = true;
        if alert.status == AlertStatus::Resolved {
            self.open.remove(&alert.alert_id);
            self.memory.entry(alert.server.clone()).or_default().end(&alert);
            return;
        }
        if let Some(standing) = self.open.get_mut(&alert.alert_id) {
            standing.again += 1;
            standing.alert = alert;
            return;
        }
        self.budget.spend(&alert);
        self.memory.entry(alert.server.clone()).or_default().begin(&alert);
        let standing = Standing { since: alert.updated_at, again: 0, alert };
        self.open.insert(standing.alert.alert_id.clone(), standing);
    }

    /// Whether there was any record at all.
    pub fn is_empty(&self) -> bool {
        !self.anything
    }

    /// What is known before a replay: when alerts began. What may begin the replay finds again by itself.
    pub(super) fn memory(&self) -> BTreeMap<String, Memory> {
        let recalled = |memory: &Memory| Memory { budget: Budget::default(), ..memory.clone() };
        self.memory.iter().map(|(server, memory)| (server.clone(), recalled(memory))).collect()
    }

    /// Of all servers.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// By server: its open alerts and what it is remembered for.
    pub(super) fn by_server(self) -> (BTreeMap<String, Vec<Standing>>, BTreeMap<String, Memory>) {
        let mut open: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
        for standing in self.open.into_values() {
            open.entry(standing.alert.server.clone()).or_default().push(standing);
        }
        (open, self.memory)
    }
}

crate::snapshot::keep_fields!(Standing { alert, since, again });
