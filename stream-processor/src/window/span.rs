//! A span of one server: a window of the longest tier with the shorter ones inside it, and all that is remembered of it.
//!
//! Everything a record may touch lies in the one span of its time, and what is remembered of a span (its series and
//! their slots, the cap, the sequences) is a function of the records from the span's first one on: that is what makes L sufficient.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    histograms::{HistogramSlots, Observed, too_many},
    sequences::Sequences,
};
use crate::{
    columns::Columns,
    encode::{HistogramRow, Room, SeriesList},
    layout::{Hasher, Layout, Refusal, Sole},
};

/// A slot for a series that is refused.
pub(super) const REFUSED: u32 = u32::MAX;

/// Where the series of a layout stand in a span.
#[derive(Debug)]
pub(super) enum Slots {
    /// One after the other, from here on.
    Run(u32),
    Each(Box<[u32]>),
}

impl Slots {
    #[inline]
    pub(super) fn get(&self, index: usize) -> u32 {
        match self {
            Self::Run(start) => start + index as u32,
            Self::Each(slots) => slots[index],
        }
    }
}

#[derive(Debug)]
pub(super) enum Window {
    /// Nothing was sent for it yet.
    Untouched,
    /// Boxed: most windows of a span are not open.
    Open(Box<Open>),
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    /// By slot; series that came later have no cell yet.
    pub(super) columns: Columns,
    /// Made when the first comes.
    pub(super) histograms: Option<Box<Observed>>,
}

#[derive(Debug)]
pub(super) struct Span {
    pub(super) end: i64,
    pub(super) series: SeriesList,
    /// For series that are not here yet.
    room: Room,
    /// By the hash of a series' identity; made when a second layout comes.
    slots: Option<HashMap<u128, u32>>,
    /// Made when the first histogram comes.
    pub(super) histograms: Option<Box<HistogramSlots>>,
    pub(super) sequences: Sequences,
    /// By tier, then by time.
    pub(super) windows: Box<[Window]>,
}

impl Span {
    pub(super) fn new(end: i64, windows: usize, max_series: usize) -> Self {
        Self {
            end,
            series: SeriesList::default(),
            room: Room::new(max_series),
            slots: None,
            histograms: None,
            sequences: Sequences::default(),
            windows: std::iter::repeat_with(|| Window::Untouched).take(windows).collect(),
        }
    }

    /// The slots of a layout's series, new ones for those that are new; and why some have none.
    pub(super) fn resolve(&mut self, layout: &Arc<Layout>, hasher: Hasher) -> (Slots, Option<Refusal>) {
        let (bad, refusal) = layout.bad();
        if layout.len() == 0 && refusal.is_none() {
            return (Slots::Run(0), None);
        }
        let whole = self.series.len() == 0 && bad.is_empty();
        if whole && self.room.take(layout.len(), layout.all().len()) {
            return (Slots::Run(self.series.append(layout, None)), refusal.cloned());
        }
        let known = self.slots.get_or_insert_with(|| {
            self.series.identities().map(|(slot, identity)| (hasher.hash(identity), slot)).collect()
        });
        let mut refusal = refusal.cloned();
        let (mut slots, mut new) = (Vec::with_capacity(layout.len()), Vec::new());
        let first_new = self.series.len() as u32;
        for index in 0..layout.len() as u32 {
            if bad.binary_search(&index).is_ok() {
                slots.push(REFUSED);
                continue;
            }
            let identity = hasher.hash(layout.identity(index));
            slots.push(match known.get(&identity) {
                Some(&slot) => slot,
                None if !self.room.take(1, layout.series(index).len()) => {
                    refusal = Some(too_many());
                    REFUSED
                }
                None => {
                    let slot = first_new + new.len() as u32;
                    known.insert(identity, slot);
                    new.push(index);
                    slot
                }
            });
        }
        if !new.is_empty() {
            let picks = (new.len() < layout.len()).then(|| new.into_boxed_slice());
            self.series.append(layout, picks);
        }
        let run = slots.first().is_some_and(|&start| {
            start != REFUSED && slots.iter().zip(start..).all(|(&slot, expected)| slot == expected)
        });
        let slots = if run { Slots::Run(slots[0]) } else { Slots::Each(slots.into()) };
        (slots, refusal)
    }

    /// The slot of a histogram's series, a new one if there is room.
    pub(super) fn histogram_slot(&mut self, series: &Arc<Sole>) -> Option<u32> {
        let room = &mut self.room;
        self.histograms.get_or_insert_default().slot(series, |bytes| room.take_histogram(bytes))
    }

    /// The rows of a window's histograms.
    pub(super) fn histogram_rows<'a>(&'a self, observed: Option<&'a Observed>) -> Vec<HistogramRow<'a>> {
        let both = self.histograms.as_deref().zip(observed);
        both.map_or_else(Vec::new, |(series, observed)| observed.rows(series))
    }
}
