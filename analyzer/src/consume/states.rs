//! What a new owner found in `analyzer.state`: servers to go on with, and snapshots that it can't use.
//!
//! In: the records of a partition, its commit. Out: states read back; a warning and a count for each way in which others are
//! no good. Invariant: a snapshot is used whole or not at all, and never one of an offset beyond what is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::restore::Committed;
use crate::{
    analysis::Kept,
    metrics::AnalyzerMetrics,
    snapshot::{Place, Shelf, Unusable, Whole, named},
};

/// Of one partition.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) servers: BTreeMap<String, (Place, Kept)>,
    unusable: BTreeMap<String, Unusable>,
    /// Snapshots that the commit speaks of and that are not there.
    missing: usize,
    /// The commit says from where on the log is needed.
    has_low_water: bool,
}

impl Found {
    /// `high_water` is what is committed.
    pub(super) fn read(shelf: Shelf, high_water: i64, committed: Committed) -> Self {
        let mut found = Self { has_low_water: committed.low_water.is_some(), ..Self::default() };
        for (server, whole) in shelf.open() {
            match whole.and_then(|whole| kept(&whole, high_water)) {
                Ok(kept) => {
                    found.servers.insert(server, kept);
                }
                Err(why) => {
                    found.unusable.insert(server, why);
                }
            }
        }
        let there = found.servers.len() + found.unusable.len();
        found.missing = committed.snapshots.saturating_sub(there);
        found
    }

    /// Whether the snapshots and what lies above the low water are all that there is to know.
    pub(super) fn is_all(&self) -> bool {
        self.has_low_water && self.unusable.is_empty() && self.missing == 0
    }

    /// Says once what is no good.
    pub(super) fn tell(&self, partition: i32, metrics: &AnalyzerMetrics) {
        metrics.record_found("restored", self.servers.len());
        let mut by_outcome: BTreeMap<&str, (Unusable, BTreeSet<String>)> = BTreeMap::new();
        for (server, &why) in &self.unusable {
            let entry = by_outcome.entry(why.outcome()).or_insert_with(|| (why, BTreeSet::new()));
            entry.1.insert(server.clone());
        }
        for (outcome, (why, servers)) in by_outcome {
            metrics.record_found(outcome, servers.len());
            let named = named(&servers);
            tracing::warn!(partition, outcome, servers = named, %why, "snapshot not used, learn the server again from the replay");
        }
        if self.missing > 0 {
            metrics.record_found("missing", self.missing);
            tracing::warn!(
                partition,
                missing = self.missing,
                "snapshots are gone from analyzer.state, learn their servers again from the replay"
            );
        }
    }
}

fn kept(whole: &Whole, high_water: i64) -> Result<(Place, Kept), Unusable> {
    if whole.place.offset > high_water {
        return Err(Unusable::Ahead);
    }
    Kept::read(&whole.state).map(|kept| (whole.place, kept)).ok_or(Unusable::Torn)
}

/// From the rebalance, where a partition's start is decided, to the session that goes on with it.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings(Arc<Mutex<BTreeMap<i32, Found>>>);

impl Findings {
    pub(super) fn put(&self, found: BTreeMap<i32, Found>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    pub(super) fn take(&self, partition: i32) -> Found {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.remove(&partition).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidewatch_schemas::{AggregateFrame, AggregateKind, Origin, Series};

    use super::*;
    use crate::{
        analysis::{Analysis, Said},
        rules::parse,
        snapshot::{Entry, seal},
    };

    /// What is known of a server after one window.
    fn state() -> Vec<u8> {
        let rules = parse("rules: []", Path::new("x")).unwrap();
        let mut analysis = Analysis::new(Arc::new(rules));
        analysis.go_live(Said::default());
        let frame = AggregateFrame {
            server: "a".into(),
            window_start: 0,
            window_ms: 10_000,
            kind: AggregateKind::Final,
            origin: Origin { partition: 0, offset: 0 },
            layout: vec![Series::gauge("m", "")],
            count: vec![1],
            sum: vec![1.0],
            min: vec![1.0],
            max: vec![1.0],
            first: vec![1.0],
            last: vec![1.0],
            first_at: vec![0],
            last_at: vec![0],
            m2: vec![0.0],
            increase: vec![0.0],
            resets: vec![0],
            histograms: vec![],
        };
        analysis.step(&frame, 0, &mut Vec::new());
        analysis.keep("a").unwrap()
    }

    fn found(entries: &[Entry], low_water: Option<i64>, snapshots: usize) -> Found {
        let mut shelf = Shelf::default();
        for entry in entries {
            shelf.put(&entry.key, entry.payload.as_deref());
        }
        Found::read(shelf, 100, Committed { stamp: 0, low_water, snapshots })
    }

    #[test]
    fn what_is_committed_is_used_and_all_that_there_is() {
        let entries = [seal("a", 100, 7, &state()).unwrap(), seal("b", 40, 7, &state()).unwrap()].concat();
        let all = found(&entries, Some(40), 2);
        assert!(all.is_all());
        let offsets: Vec<i64> = all.servers.values().map(|(place, _)| place.offset).collect();
        assert_eq!(offsets, [100, 40]);
        assert!(!found(&entries, Some(40), 3).is_all(), "one is gone");
        assert!(!found(&[], None, 0).is_all(), "there were none yet");
        assert!(found(&[], Some(40), 0).is_all(), "nobody had its turn yet");
    }

    #[test]
    fn what_is_no_good_is_set_aside() {
        let ahead = seal("a", 101, 7, &state()).unwrap();
        let foreign = seal("b", 50, 7, b"no server").unwrap();
        let good = seal("c", 50, 7, &state()).unwrap();
        let some = found(&[ahead, foreign, good].concat(), Some(40), 3);
        assert!(!some.is_all());
        assert_eq!(some.servers.keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!((some.unusable["a"], some.unusable["b"]), (Unusable::Ahead, Unusable::Torn));
        assert_eq!(some.missing, 0);
    }

    #[test]
    fn what_was_found_is_taken_once() {
        let findings = Findings::default();
        findings.put(BTreeMap::from([(3, found(&[], Some(40), 0))]));
        assert!(findings.take(3).is_all());
        assert!(!findings.take(3).is_all());
    }
}
