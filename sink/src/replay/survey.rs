//! Where the records of the range lie: which windows have several, and when the last of them is read. Pure.
//!
//! In: every record of a topic, in the order of each partition. Kept: a few words for each server, and one number for each
//! window that has more than one record.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;

use super::read::Extent;
use crate::record::Item;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<'a> {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// By name; all of them when empty.
    pub(super) servers: &'a [String],
}

impl Range<'_> {
    /// Whether the item speaks of a window that is asked for.
    pub(super) fn has(&self, item: &Item) -> bool {
        let time = item.body.time();
        let is_asked =
            |server: &str| self.servers.is_empty() || self.servers.iter().any(|name| name == server);
        self.from_ms <= time && time < self.to_ms && item.body.server().is_some_and(is_asked)
    }
}

/// A partition's records of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) records: u64,
}

impl Span {
    pub(super) fn extent(self, partition: i32) -> Extent {
        Extent { partition, start: self.first, end: self.last + 1, is_cut: false }
    }
}

#[derive(Debug)]
struct Seen {
    partition: i32,
    /// Its records come from several partitions.
    is_split: bool,
    newest_ms: i64,
    /// Start of a window that has several records -> offset of the last.
    repeated: HashMap<i64, i64>,
}

/// What is known when all is read.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) spans: BTreeMap<i32, Span>,
    servers: HashMap<Arc<str>, Seen>,
}

/// What to do with a record when it is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is all there is of its window.
    Alone,
    /// There are others, up to this offset.
    Until(i64),
    /// Others may lie in another partition.
    Anywhere,
}

impl Survey {
    /// Takes note of a record of the range.
    pub(super) fn see(&mut self, item: &Item) {
        let Some(server) = item.body.server() else { return };
        let (start, offset) = (item.body.time(), item.offset);
        let span =
            self.spans.entry(item.partition).or_insert(Span { first: offset, last: offset, records: 0 });
        span.last = offset;
        span.records += 1;
        let Some(seen) = self.servers.get_mut(server) else {
            let seen = Seen {
                partition: item.partition,
                is_split: false,
                newest_ms: start,
                repeated: HashMap::new(),
            };
            self.servers.insert(server.into(), seen);
            return;
        };
        seen.is_split |= seen.partition != item.partition;
        // a second record of a window can't be newer than the first
        if start <= seen.newest_ms {
            seen.repeated.insert(start, offset);
        }
        seen.newest_ms = seen.newest_ms.max(start);
    }

    pub(super) fn place(&self, item: &Item) -> Place {
        match item.body.server().and_then(|server| self.servers.get(server)) {
            Some(seen) if seen.is_split => Place::Anywhere,
            Some(seen) => {
                seen.repeated.get(&item.body.time()).map_or(Place::Alone, |last| Place::Until(*last))
            }
            None => Place::Alone,
        }
    }

    /// Whether some server's records come from several partitions.
    pub(super) fn has_split(&self) -> bool {
        self.servers.values().any(|seen| seen.is_split)
    }
}
