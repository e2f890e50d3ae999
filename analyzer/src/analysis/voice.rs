//! What a partition says, and how much of it may begin at once.
//!
//! In: what its servers found. Out: outputs in their order. Invariant: within ten minutes no more alerts begin than a person
//! can take in; what has to wait is held back, not dropped, and alerts that are critical never wait.

use std::collections::VecDeque;

use tidewatch_schemas::{Alert, Severity};

use super::Output;

/// Alerts that may begin within this time ...
const WHILE_MS: i64 = 600_000;
/// ... on one server, and on all servers of a partition.
const A_SERVER: usize = 20;
const ALL: usize = 200;

/// When the last alerts began.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Budget {
    begun: VecDeque<i64>,
}

impl Budget {
    fn has_room(&self, now: i64, most: usize) -> bool {
        self.begun.iter().filter(|begun| now - **begun < WHILE_MS).count() < most
    }

    /// An alert begins to be said.
    pub(super) fn spend(&mut self, alert: &Alert) {
        if is_exempt(alert) {
            return;
        }
        if self.begun.len() == ALL {
            self.begun.pop_front();
        }
        self.begun.push_back(alert.updated_at);
    }

    pub(super) fn bytes(&self) -> usize {
        self.begun.capacity() * size_of::<i64>()
    }
}

fn is_exempt(alert: &Alert) -> bool {
    alert.severity == Severity::Critical
}

#[derive(Debug, Default)]
pub(super) struct Voice {
    pub(super) said: Vec<Output>,
    /// Of all servers of the partition.
    pub(super) budget: Budget,
}

impl Voice {
    pub(super) fn push(&mut self, output: Output) {
        self.said.push(output);
    }

    /// Whether an alert may begin now; `own` is its server's.
    pub(super) fn has_room(&self, alert: &Alert, own: &Budget) -> bool {
        let now = alert.updated_at;
        is_exempt(alert) || (own.has_room(now, A_SERVER) && self.budget.has_room(now, ALL))
    }
}
