//! Two answers to what would have been said of one server, held against each other.
//!
//! In: alerts before and after, each in order of time. Out: which are the same, which are there at another time, which in one of
//! them alone. An alert is the same if its `alert_id` is; one of the same rule and series that overlaps it has moved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::play::Found;

/// What changed.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Changes {
    pub(super) same: Vec<Found>,
    /// Before, and after.
    pub(super) moved: Vec<(Found, Found)>,
    pub(super) added: Vec<Found>,
    pub(super) removed: Vec<Found>,
}

impl Changes {
    /// Leaves those that were asked for: of what is there after, and of what was there before.
    pub(super) fn keep(&mut self, after: impl Fn(&Found) -> bool, before: impl Fn(&Found) -> bool) {
        self.same.retain(&after);
        self.moved.retain(|(_, found)| after(found));
        self.added.retain(&after);
        self.removed.retain(before);
    }
}

pub(super) fn differ(before: &[Found], after: &[Found]) -> Changes {
    let known: BTreeSet<&str> = before.iter().map(id).collect();
    let mut changes = Changes::default();
    let mut rest: BTreeMap<&str, VecDeque<&Found>> = BTreeMap::new();
    for found in after {
        if known.contains(id(found)) {
            changes.same.push(found.clone());
        } else {
            rest.entry(&found.alert.fingerprint).or_default().push_back(found);
        }
    }
    let same: BTreeSet<&str> = after.iter().map(id).filter(|id| known.contains(*id)).collect();
    for found in before.iter().filter(|found| !same.contains(id(found))) {
        let mut others = rest.get_mut(found.alert.fingerprint.as_str());
        // alerts of one fingerprint follow each other in time
        while let Some(earlier) = pop_if(&mut others, |other| end(other) <= found.alert.starts_at) {
            changes.added.push(earlier.clone());
        }
        match pop_if(&mut others, |other| other.alert.starts_at < end(found)) {
            Some(other) => changes.moved.push((found.clone(), other.clone())),
            None => changes.removed.push(found.clone()),
        }
    }
    changes.added.extend(rest.into_values().flatten().cloned());
    changes.added.sort_by(|a, b| (a.fired_at, id(a)).cmp(&(b.fired_at, id(b))));
    changes
}

fn pop_if<'a>(
    others: &mut Option<&mut VecDeque<&'a Found>>,
    wanted: impl Fn(&Found) -> bool,
) -> Option<&'a Found> {
    let others = others.as_mut()?;
    if wanted(others.front()?) { others.pop_front() } else { None }
}

fn id(found: &Found) -> &str {
    &found.alert.alert_id
}

fn end(found: &Found) -> i64 {
    found.ends_at.unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use tidewatch_analyzer::incident;
    use tidewatch_schemas::{Alert, AlertStatus, Labels, Severity};

    use super::*;

    /// An alert that fires 10 s after it began.
    pub(in crate::backtest) fn found(
        rule: &str,
        server: &str,
        starts_at: i64,
        ends_at: Option<i64>,
    ) -> Found {
        let fingerprint = incident::fingerprint(rule, server, &Labels::new());
        let alert_id = incident::alert_id(&fingerprint, starts_at);
        let alert = Alert {
            incident_id: alert_id.clone(),
            alert_id,
            fingerprint,
            server: server.to_owned(),
            status: AlertStatus::Firing,
            severity: Severity::Warning,
            rule: rule.to_owned(),
            starts_at,
            ends_at: None,
            updated_at: starts_at + 10_000,
            title: format!("{rule} on {server}"),
            explanation: "So it was.".to_owned(),
            metric: None,
            labels: Labels::new(),
            unit: String::new(),
            value: None,
            expected_low: None,
            expected_high: None,
            score: None,
            related: Vec::new(),
            runbook_url: None,
        };
        Found { alert, fired_at: starts_at + 10_000, ends_at }
    }

    #[test]
    fn each_alert_is_the_same_moved_added_or_removed() {
        let one = |rule, from, to| found(rule, "web-1", from, Some(to));
        let before = [
            one("a", 0, 50_000),
            one("b", 10_000, 60_000),
            one("a", 100_000, 150_000),
            one("a", 300_000, 350_000),
            one("c", 400_000, 500_000),
        ];
        let after = [
            one("a", 0, 70_000),
            one("a", 80_000, 90_000),
            one("a", 120_000, 130_000),
            found("d", "web-1", 130_000, None),
            found("c", "web-1", 450_000, None),
        ];
        let changes = differ(&before, &after);
        assert_eq!(changes.same, [after[0].clone()], "that it ends later does not make it another");
        assert_eq!(
            changes.moved,
            [(before[2].clone(), after[2].clone()), (before[4].clone(), after[4].clone())]
        );
        assert_eq!(changes.added, [after[1].clone(), after[3].clone()]);
        assert_eq!(changes.removed, [before[1].clone(), before[3].clone()]);
    }

    #[test]
    fn an_alert_moves_to_one_other_at_most() {
        let before = [found("a", "web-1", 0, None)];
        let after = [found("a", "web-1", 10, Some(20)), found("a", "web-1", 30, Some(40))];
        let changes = differ(&before, &after);
        assert_eq!((changes.moved.len(), changes.added.len()), (1, 1));
        assert_eq!(differ(&after, &before).removed.len(), 1);
        assert_eq!(differ(&before, &before), Changes { same: before.to_vec(), ..Changes::default() });
    }
}
