//! Histograms in windows. In: what a record brings of them. Out: rows of the records of windows.
//!
//! Their series share a span's room with those of values, and have slots of their own. Invariant: as for values, which series
//! have slots is a function of the records from the span's first one on; most servers send none, and nothing is made for them.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tidewatch_schemas::{Distribution, Reason};

use crate::{
    encode::HistogramRow,
    histogram,
    layout::{Hasher, Layouts, Refusal, Sole, Taken},
    read::{self, ReadError},
};

/// The series of histograms of one span.
#[derive(Debug, Default)]
pub(super) struct HistogramSlots {
    /// By slot, in the order in which they came.
    series: Vec<Arc<Sole>>,
    slots: HashMap<u128, u32>,
}

impl HistogramSlots {
    /// The slot of a series, a new one if `room` says that there is room for one more of so many bytes.
    pub(super) fn slot(&mut self, series: &Arc<Sole>, room: impl FnOnce(usize) -> bool) -> Option<u32> {
        if let Some(slot) = self.slots.get(&series.identity) {
            return Some(*slot);
        }
        if !room(series.bytes.len()) {
            return None;
        }
        let slot = self.series.len() as u32;
        self.slots.insert(series.identity, slot);
        self.series.push(Arc::clone(series));
        Some(slot)
    }
}

/// What was observed in one window, by slot.
#[derive(Debug, Default)]
pub(super) struct Observed(Vec<Distribution>);

impl Observed {
    pub(super) fn merge(&mut self, slot: u32, histogram: &Distribution) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize_with(slot + 1, Distribution::default);
        }
        self.0[slot].merge(histogram);
    }

    pub(super) fn rows<'a>(&'a self, series: &'a HistogramSlots) -> Vec<HistogramRow<'a>> {
        let all = series.series.iter().zip(&self.0);
        let some = all.filter(|(_, histogram)| !histogram.is_empty());
        some.map(|(series, histogram)| (&*series.bytes, histogram)).collect()
    }
}

/// A good histogram of a record.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) series: Arc<Sole>,
    pub(super) histogram: Distribution,
    /// In the span that takes it.
    pub(super) slot: u32,
}

/// The histograms of the record that is being taken; kept from one to the next for its room.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) good: Vec<Arrival>,
    /// What was wrong with the last that was refused.
    pub(super) refused: Option<Refusal>,
    seen: HashSet<u128>,
}

impl Arrivals {
    /// Reads and judges a record's histograms; `most` is the largest magnitude that a sum may have.
    pub(super) fn read(
        &mut self,
        layouts: &mut Layouts,
        hasher: Hasher,
        server: &str,
        histograms: read::Histograms<'_>,
        most: f64,
    ) -> Result<(), ReadError> {
        self.good.clear();
        self.refused = None;
        if histograms.is_empty() {
            return Ok(());
        }
        self.seen.clear();
        let class = layouts.class(server);
        for view in histograms.iter() {
            let series = match layouts.histogram(hasher, (server, class), view.series)? {
                Taken::As(series) => series,
                Taken::Dropped => continue,
                Taken::Refused(refusal) => {
                    self.refused = Some(refusal);
                    continue;
                }
            };
            if !self.seen.insert(series.identity) {
                let message = format!("histogram {} stands twice in one frame", series.name);
                self.refused = Some(Refusal::new(Reason::DuplicateSeries, message));
                continue;
            }
            match histogram::read(&view, most) {
                Ok(None) => {}
                Ok(Some(histogram)) => self.good.push(Arrival { series, histogram, slot: 0 }),
                Err(Refusal { reason, message }) => {
                    let message = format!("histogram {}: {message}", series.name);
                    self.refused = Some(Refusal::new(reason, message));
                }
            }
        }
        Ok(())
    }

    /// Keeps those for which `slot` finds one.
    pub(super) fn place(&mut self, mut slot: impl FnMut(&Arc<Sole>) -> Option<u32>) {
        let refused = &mut self.refused;
        self.good.retain_mut(|arrival| {
            let found = slot(&arrival.series);
            match found {
                Some(slot) => arrival.slot = slot,
                None => *refused = Some(too_many()),
            }
            found.is_some()
        });
    }

    /// As the rows of a record of their own.
    pub(super) fn rows(&self) -> Vec<HistogramRow<'_>> {
        self.good.iter().map(|arrival| (&*arrival.series.bytes, &arrival.histogram)).collect()
    }
}

/// A series for which a window has no room.
pub(super) fn too_many() -> Refusal {
    Refusal::new(Reason::TooManySeries, "more series of one server than its window may hold")
}
