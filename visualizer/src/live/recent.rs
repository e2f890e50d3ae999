//! The last minute of the stream. In: events in the order of their partitions. Out: what a reader missed, or that this is no
//! longer known. Pure.
//!
//! Keeps: what is handed out has no hole; the memory is bounded, whatever a minute brings.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Event,
    place::{Place, Position},
};
use crate::params::MINUTE;

/// How long an event is held, and how far back a new process begins to read.
pub(crate) const AGE: i64 = MINUTE;

/// Bytes of text that are held: a minute of some hundred servers.
const MOST: usize = 32 << 20;

/// Records that another instance may be ahead of this one; further on it was another Kafka's.
const AHEAD: i64 = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// With the time at which each came.
    events: VecDeque<(i64, Arc<Event>)>,
    bytes: usize,
    /// From here on everything is held.
    from: Position,
    /// What comes next.
    next: Position,
}

impl Recent {
    /// From where on the partitions are read: all that there are.
    pub(crate) fn begin(&mut self, at: &Position) {
        for place in at.places() {
            // what lies between the last event and here was no event
            let is_known = place.partition < self.next.partitions(place.topic);
            if !is_known || !self.next.is_before(place) {
                self.restart(place);
            }
        }
    }

    /// Nothing before this place is of use.
    fn restart(&mut self, place: Place) {
        let same =
            |event: &Event| (event.place.topic, event.place.partition) == (place.topic, place.partition);
        self.events.retain(|(_, event)| !same(event));
        self.bytes = self.events.iter().map(|(_, event)| event.bytes()).sum();
        self.from.go_to(place);
        self.next.go_to(place);
    }

    pub(crate) fn push(&mut self, event: &Arc<Event>, now: i64) {
        if !self.next.is_before(event.place) {
            // the topic was made anew
            self.restart(event.place);
        }
        self.next.pass(event.place);
        self.bytes += event.bytes();
        self.events.push_back((now, Arc::clone(event)));
        while let Some((at, oldest)) = self.events.front()
            && (now - at > AGE || self.bytes > MOST)
        {
            self.from.pass(oldest.place);
            self.bytes -= oldest.bytes();
            self.events.pop_front();
        }
    }

    /// Up to where events have come.
    pub(crate) fn next(&self) -> &Position {
        &self.next
    }

    /// What came after what a reader has seen; `None` when some of it may be missing here.
    pub(crate) fn since(&self, seen: &Position) -> Option<VecDeque<Arc<Event>>> {
        if self.next == Position::default() {
            return None;
        }
        let is_held = |place: Place| seen.next(place.topic, place.partition) >= place.offset;
        let is_ours = |place: Place| place.offset <= self.next.next(place.topic, place.partition) + AHEAD;
        if !self.from.places().all(is_held) || !seen.places().all(is_ours) {
            return None;
        }
        let events = self.events.iter().map(|(_, event)| event);
        Some(events.filter(|event| seen.is_before(event.place)).cloned().collect())
    }
}

#[cfg(test)]
mod tests;
