//! One server's windows: its own watermark, its spans, and the layouts it sends.
//!
//! In: what a record brings for each of its series, and the moments at which windows close. Out: records of windows that
//! closed, deltas for those that had closed before. Invariant: the layouts remembered here are a cache; forgetting one
//! costs time and changes nothing.

use hashbrown::HashMap;
use tidewatch_schemas::{AggregateKind, Origin};

use super::{
    Tiers, Verdict, WindowSettings,
    brought::Brought,
    histograms::{Arrival, Arrivals},
    span::{REFUSED, Slots, Span, Window},
    window_end,
};
use crate::{
    columns::Columns,
    encode::{Identity, Output, Rows},
    layout::{Hasher, Refusal, Shape},
    read::NO_LAYOUT,
};

/// What a step knows besides the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) settings: &'a WindowSettings,
    pub(super) tiers: &'a Tiers,
    pub(super) hasher: Hasher,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) clock: i64,
}

impl Context<'_> {
    pub(super) fn identity(&self, end: i64, tier: i64, kind: AggregateKind) -> Identity {
        Identity {
            window_start: end - tier,
            window_ms: tier,
            kind,
            origin: Origin { partition: self.partition, offset: self.offset },
            clock: self.clock,
        }
    }
}

/// Scratch space of a step, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Index and slot of each good series.
    good: Vec<(u32, u32)>,
    slots: Vec<u32>,
    /// The record's histograms.
    pub(super) arrivals: Arrivals,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: Box<str>,
    /// The latest time of its own it has shown.
    watermark: i64,
    /// The append clock when it last spoke.
    pub(super) last_append: i64,
    /// The lowest end of an open window.
    pub(super) next_end: i64,
    /// Ascending by end.
    spans: Vec<Span>,
    entries: Vec<Entry>,
    /// Bytes of their layouts.
    entries_size: usize,
    /// By hash; only as long as there are many.
    index: HashMap<u128, u32>,
    /// The entry of the last frame.
    last: u32,
}

/// How a server sends a layout.
#[derive(Debug)]
pub(super) struct SentLayout {
    pub(super) hash: u128,
    /// By which frames name it; 0 = they hold it.
    pub(super) id: i64,
    /// Bytes of it in a frame that holds it.
    pub(super) len: u32,
    pub(super) shape: Shape,
}

/// A layout that the server sends.
#[derive(Debug)]
struct Entry {
    layout: SentLayout,
    /// The entry that followed it last time: collectors repeat themselves.
    next: u32,
    /// The span for which the slots are known.
    span_end: i64,
    slots: Slots,
    refusal: Option<Box<Refusal>>,
}

/// Entries up to which looking at each is quicker than an index.
const FEW: usize = 8;
/// Bytes of layouts up to which a server's are remembered.
const MAX_ENTRIES_SIZE: usize = 4 << 20;

impl Server {
    pub(super) fn new(name: &str, last_append: i64) -> Self {
        Self {
            name: name.into(),
            watermark: i64::MIN,
            last_append,
            next_end: i64::MAX,
            spans: Vec::new(),
            entries: Vec::new(),
            entries_size: 0,
            index: HashMap::new(),
            last: 0,
        }
    }

    pub(super) fn open_windows(&self) -> usize {
        let windows = self.spans.iter().flat_map(|span| &span.windows);
        windows.filter(|window| matches!(window, Window::Open(_))).count()
    }

    pub(super) fn has_open_windows_in(&self, span_end: i64) -> bool {
        let mut spans = self.spans.iter().filter(|span| span.end == span_end);
        spans.any(|span| span.windows.iter().any(|window| matches!(window, Window::Open(_))))
    }

    pub(super) fn has_open_windows(&self) -> bool {
        self.next_end < i64::MAX
    }

    /// The layout that is likely to come next, if it is what the body of a record begins with or names.
    #[inline]
    pub(super) fn predict(&self, body: &[u8], named: Option<i64>, hasher: Hasher) -> Option<u32> {
        let next = self.entries.get(self.last as usize)?.next;
        let entry = self.entries.get(next as usize)?;
        if let Some(id) = named {
            return (entry.layout.id == id).then_some(next);
        }
        let layout = body.get(..entry.layout.len as usize)?;
        (hasher.hash(layout) == entry.layout.hash).then_some(next)
    }

    /// The layout of this hash, if it was sent before.
    pub(super) fn find(&self, hash: u128) -> Option<u32> {
        let same = |entry: &Entry| entry.layout.hash == hash;
        if self.entries.len() <= FEW {
            return self.entries.iter().position(same).map(|index| index as u32);
        }
        self.index.get(&hash).copied()
    }

    /// Bytes of an entry's layout in a frame, and how many values it asks for.
    pub(super) fn extent(&self, entry: u32, named: bool) -> (usize, usize) {
        let entry = &self.entries[entry as usize];
        (if named { NO_LAYOUT } else { entry.layout.len as usize }, entry.layout.shape.values as usize)
    }

    /// From now on frames are expected to name it.
    pub(super) fn name(&mut self, entry: u32, id: i64) {
        self.entries[entry as usize].layout.id = id;
    }

    pub(super) fn shape(&self, entry: u32) -> &Shape {
        &self.entries[entry as usize].layout.shape
    }

    /// Remembers a layout; `most` is how many may be.
    pub(super) fn learn(&mut self, layout: SentLayout, most: usize) -> u32 {
        self.entries_size += layout.shape.layout.size();
        if self.entries.len() >= most.max(FEW) || self.entries_size > MAX_ENTRIES_SIZE {
            self.entries_size = layout.shape.layout.size();
            self.entries.clear();
            self.index.clear();
            self.last = 0;
        }
        let new = self.entries.len() as u32;
        let (span_end, slots) = (i64::MIN, Slots::Run(0));
        if new == 0 {
            // most servers send one layout for ever
            self.entries.reserve_exact(1);
        }
        self.entries.push(Entry { layout, next: new, span_end, slots, refusal: None });
        if self.entries.len() > FEW {
            let all = self.entries.iter().enumerate();
            let missing = if self.index.is_empty() { 0 } else { new as usize };
            self.index.extend(all.skip(missing).map(|(index, entry)| (entry.layout.hash, index as u32)));
        }
        new
    }

    #[inline]
    pub(super) fn has_span(&self, end: i64) -> bool {
        self.spans.iter().rev().any(|span| span.end == end)
    }

    /// Which span holds `end`, made if it is not there.
    pub(super) fn span(&mut self, end: i64, windows: usize, max_series: usize) -> usize {
        match self.spans.iter().rposition(|span| span.end <= end) {
            Some(at) if self.spans[at].end == end => at,
            before => {
                let at = before.map_or(0, |before| before + 1);
                // hardly ever more than two or three, and of many servers
                self.spans.reserve_exact(1);
                self.spans.insert(at, Span::new(end, windows, max_series));
                at
            }
        }
    }

    /// Whether a sequence is new in its span; 0 always is.
    pub(super) fn is_new(&mut self, span: usize, sequence: i64) -> bool {
        sequence == 0 || self.spans[span].sequences.insert(sequence)
    }

    /// Counts what a record brings into its windows; deltas and windows it closes go to `emit` unless this is a replay.
    /// `time` says which windows, `seen` is what the server's own time has reached with it.
    #[expect(clippy::too_many_arguments, reason = "one step, and each is needed once")]
    pub(super) fn take(
        &mut self,
        context: &Context<'_>,
        span: usize,
        entry: u32,
        (time, seen): (i64, i64),
        brought: &impl Brought,
        scratch: &mut Scratch,
        mut emit: Option<&mut Output>,
    ) -> Verdict {
        let last = std::mem::replace(&mut self.last, entry);
        self.entries[last as usize].next = entry;
        let span = &mut self.spans[span];
        let entry = &mut self.entries[entry as usize];
        if entry.span_end != span.end {
            let (slots, refusal) = span.resolve(&entry.layout.shape.layout, context.hasher);
            entry.span_end = span.end;
            entry.slots = slots;
            entry.refusal = refusal.map(Box::new);
        }
        let run = match entry.slots {
            Slots::Run(start) if brought.all_good() => Some(start as usize),
            _ => None,
        };
        let mut refused = entry.refusal.as_deref().cloned();
        let mut samples = brought.len();
        if run.is_none() {
            scratch.good.clear();
            for index in 0..brought.len() {
                let slot = entry.slots.get(index);
                if slot == REFUSED {
                    continue;
                }
                match brought.check(index) {
                    Ok(true) => scratch.good.push((index as u32, slot)),
                    Ok(false) => {}
                    Err(reason) => {
                        let (layout, series) = span.series.get(slot);
                        refused = Some(Refusal::new(
                            reason,
                            format!("value of {} is none to count", layout.name(series)),
                        ));
                    }
                }
            }
            samples = scratch.good.len();
        }
        scratch.arrivals.place(|series| span.histogram_slot(series));
        let observed = &scratch.arrivals.good;
        let odd = run.is_none() || scratch.arrivals.refused.is_some();
        refused = scratch.arrivals.refused.take().or(refused);
        if odd
            && samples + observed.len() == 0
            && let Some(refusal) = refused
        {
            return Verdict::Refused(refusal);
        }
        for tier in &context.tiers.0 {
            let end = window_end(time, tier.ms);
            let start = end - tier.ms;
            let window = &mut span.windows[tier.window(span.end, end)];
            if matches!(window, Window::Untouched) {
                if self.watermark.saturating_sub(context.settings.grace_ms) >= end {
                    *window = Window::Closed;
                } else {
                    *window = Window::Open(Box::default());
                    self.next_end = self.next_end.min(end);
                }
            }
            match window {
                Window::Open(open) => {
                    let columns = &mut open.columns;
                    if samples > 0 {
                        columns.grow(span.series.len(), span.series.has_counters());
                    }
                    match run {
                        _ if samples == 0 => {}
                        Some(first) => brought.add_all(start, first, columns),
                        None => scratch.good.iter().for_each(|&(index, slot)| {
                            brought.add(index as usize, start, slot as usize, columns);
                        }),
                    }
                    for Arrival { slot, histogram, .. } in observed {
                        open.histograms.get_or_insert_default().merge(*slot, histogram);
                    }
                }
                Window::Untouched | Window::Closed => {
                    let Some(emit) = emit.as_deref_mut() else { continue };
                    let mut delta = Columns::default();
                    delta.grow(samples, span.series.has_counters());
                    scratch.slots.clear();
                    for at in 0..samples {
                        let (index, slot) =
                            run.map_or_else(|| scratch.good[at], |first| (at as u32, (first + at) as u32));
                        brought.add(index as usize, start, at, &mut delta);
                        scratch.slots.push(slot);
                    }
                    let rows = Rows { columns: &delta, series: &span.series, slots: Some(&scratch.slots) };
                    let identity = context.identity(end, tier.ms, AggregateKind::Delta);
                    emit.push(&self.name, &identity, &rows, &scratch.arrivals.rows());
                }
            }
        }
        if seen > self.watermark {
            self.watermark = seen;
            self.close(context, AggregateKind::Final, seen - context.settings.grace_ms, emit);
        }
        Verdict::Counted { samples: samples + observed.len(), refused }
    }

    /// Closes every window that ends at or before `time`.
    pub(super) fn close(
        &mut self,
        context: &Context<'_>,
        kind: AggregateKind,
        time: i64,
        mut emit: Option<&mut Output>,
    ) {
        if self.next_end > time {
            return;
        }
        self.next_end = i64::MAX;
        for span in &mut self.spans {
            for (tier, end, index) in context.tiers.windows(span.end) {
                let window = &mut span.windows[index];
                if !matches!(window, Window::Open(_)) {
                    continue;
                }
                if end > time {
                    self.next_end = self.next_end.min(end);
                } else if let Window::Open(open) = std::mem::replace(window, Window::Closed)
                    && let Some(emit) = emit.as_deref_mut()
                {
                    let rows = Rows { columns: &open.columns, series: &span.series, slots: None };
                    let histograms = span.histogram_rows(open.histograms.as_deref());
                    emit.push(&self.name, &context.identity(end, tier, kind), &rows, &histograms);
                }
            }
        }
    }

    /// Forgets spans that end at or before the floor; `false` when nothing is left of the server.
    pub(super) fn forget_until(&mut self, floor: i64) -> bool {
        if self.spans.first().is_some_and(|span| span.end <= floor) {
            self.spans.retain(|span| span.end > floor);
            if self.entries.iter().any(|entry| entry.span_end <= floor) {
                self.entries.retain(|entry| entry.span_end > floor);
                self.entries_size = self.entries.iter().map(|entry| entry.layout.shape.layout.size()).sum();
                self.index.clear();
                let all = self.entries.len();
                for (index, entry) in self.entries.iter_mut().enumerate() {
                    entry.next = ((index + 1) % all) as u32;
                    if all > FEW {
                        self.index.insert(entry.layout.hash, index as u32);
                    }
                }
                self.last = all.saturating_sub(1) as u32;
            }
        }
        !self.spans.is_empty()
    }
}
