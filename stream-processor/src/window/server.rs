//! One server's windows: its own watermark, its spans, and in each span the series, the sequences and the windows.
//!
//! A span is a window of the longest tier; everything a frame may touch lies in the one span of its time. So all that is
//! remembered of a span is a function of the records from the span's first one on: that is what makes L sufficient.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use tidewatch_schemas::{
    AggregateFrame, AggregateKind, Limits, MetricFrame, Origin, Reason, Series, validate::check_series,
};

use super::{Refusal, Verdict, WindowSettings, window_end};
use crate::aggregate::{Columns, Identity};

/// What a step knows besides the frame.
pub(super) struct Context<'a> {
    pub(super) settings: &'a WindowSettings,
    pub(super) limits: &'a Limits,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Context<'_> {
    fn identity(&self, end: i64, tier: i64, kind: AggregateKind) -> Identity {
        let origin = Origin { partition: self.partition, offset: self.offset };
        Identity { window_start: end - tier, window_ms: tier, kind, origin }
    }
}

#[derive(Debug)]
pub(super) struct Server {
    /// The latest time of its own it has shown.
    watermark: i64,
    /// The append clock when it last spoke.
    pub(super) last_append: i64,
    /// By end.
    spans: BTreeMap<i64, Span>,
}

#[derive(Debug, Default)]
struct Span {
    /// By slot, in the order of their first appearance.
    series: Vec<Series>,
    slots: HashMap<Series, u32>,
    layouts: HashMap<u64, ResolvedLayout>,
    sequences: HashSet<i64>,
    /// By tier and end.
    windows: BTreeMap<(i64, i64), Window>,
}

/// A layout with the slot of each of its series; `None` = that series is refused.
#[derive(Debug)]
struct ResolvedLayout {
    layout: Vec<Series>,
    slots: Vec<Option<u32>>,
    refused: Option<Refusal>,
}

#[derive(Debug)]
enum Window {
    Open(Columns),
    Closed,
}

impl Server {
    pub(super) fn new(last_append: i64) -> Self {
        Self { watermark: i64::MIN, last_append, spans: BTreeMap::new() }
    }

    pub(super) fn open_windows(&self) -> usize {
        self.spans
            .values()
            .flat_map(|span| span.windows.values())
            .filter(|w| matches!(w, Window::Open(_)))
            .count()
    }

    pub(super) fn has_open_windows(&self) -> bool {
        self.open_windows() > 0
    }

    /// Counts a frame into its windows; deltas and windows it closes go to `emit` unless this is a replay.
    pub(super) fn take(
        &mut self,
        context: &Context<'_>,
        span_end: i64,
        frame: &MetricFrame,
        mut emit: Option<&mut Vec<AggregateFrame>>,
    ) -> Verdict {
        let span = self.spans.entry(span_end).or_default();
        if frame.sequence != 0 && !span.sequences.insert(frame.sequence) {
            return Verdict::Refused(Refusal {
                reason: Reason::Duplicate,
                message: format!("sequence {} of {} was counted before", frame.sequence, frame.server),
            });
        }
        let Span { series, slots, layouts, windows, .. } = span;
        let resolved = resolve(layouts, series, slots, &frame.layout, context);
        let mut refused = resolved.refused.clone();
        let samples: Vec<(u32, f64)> = resolved
            .slots
            .iter()
            .zip(&frame.values)
            .filter_map(|(slot, &value)| {
                let slot = (*slot)?;
                if value.is_infinite() {
                    refused = Some(Refusal {
                        reason: Reason::NotANumber,
                        message: format!("{} is infinite", series[slot as usize].metric),
                    });
                }
                // NaN = absent
                value.is_finite().then_some((slot, value))
            })
            .collect();
        if samples.is_empty()
            && let Some(refusal) = refused
        {
            return Verdict::Refused(refusal);
        }
        for &tier in &context.settings.tiers_ms {
            let end = window_end(frame.collected_at, tier);
            let at = (frame.collected_at - (end - tier)) as i32;
            let passed = self.watermark.saturating_sub(context.settings.grace_ms) >= end;
            let window = windows
                .entry((tier, end))
                .or_insert_with(|| if passed { Window::Closed } else { Window::Open(Columns::default()) });
            let mut delta = Columns::default();
            let columns = match window {
                Window::Open(columns) => columns,
                Window::Closed => &mut delta,
            };
            for &(slot, value) in &samples {
                columns.add(slot, at, value);
            }
            if !delta.is_empty()
                && let Some(emit) = emit.as_deref_mut()
            {
                emit.push(delta.frame(
                    &frame.server,
                    series,
                    context.identity(end, tier, AggregateKind::Delta),
                ));
            }
        }
        if frame.collected_at > self.watermark {
            self.watermark = frame.collected_at;
            let from = emit.as_ref().map_or(0, |emit| emit.len());
            self.close_until(context, frame.collected_at - context.settings.grace_ms, emit.as_deref_mut());
            for closed in emit.into_iter().flat_map(|emit| &mut emit[from..]) {
                closed.server.clone_from(&frame.server);
            }
        }
        Verdict::Counted { samples: samples.len(), refused }
    }

    /// Closes every window that ends at or before `time`. The frames' server is the caller's to fill in.
    pub(super) fn close_until(
        &mut self,
        context: &Context<'_>,
        time: i64,
        emit: Option<&mut Vec<AggregateFrame>>,
    ) {
        self.close(context, AggregateKind::Final, time, emit);
    }

    /// Everything that is open, as deltas that merge with what comes later.
    pub(super) fn close_partial(&mut self, context: &Context<'_>, emit: &mut Vec<AggregateFrame>) {
        self.close(context, AggregateKind::Delta, i64::MAX, Some(emit));
    }

    fn close(
        &mut self,
        context: &Context<'_>,
        kind: AggregateKind,
        time: i64,
        mut emit: Option<&mut Vec<AggregateFrame>>,
    ) {
        for span in self.spans.values_mut() {
            for (&(tier, end), window) in &mut span.windows {
                if end > time || matches!(window, Window::Closed) {
                    continue;
                }
                if let Window::Open(columns) = std::mem::replace(window, Window::Closed)
                    && let Some(emit) = emit.as_deref_mut().filter(|_| !columns.is_empty())
                {
                    emit.push(columns.frame("", &span.series, context.identity(end, tier, kind)));
                }
            }
        }
    }

    /// Forgets spans that end at or before the floor; `false` when nothing is left of the server.
    pub(super) fn forget_until(&mut self, floor: i64) -> bool {
        self.spans = self.spans.split_off(&(floor + 1));
        !self.spans.is_empty()
    }
}

/// The slots of a layout's series in this span; a layout is checked and looked up once.
fn resolve<'a>(
    layouts: &'a mut HashMap<u64, ResolvedLayout>,
    series: &mut Vec<Series>,
    slots: &mut HashMap<Series, u32>,
    layout: &[Series],
    context: &Context<'_>,
) -> &'a ResolvedLayout {
    let key = hash(layout);
    // two layouts of one hash take turns: slower, never wrong
    if layouts.get(&key).is_none_or(|known| known.layout != layout) {
        let mut resolved = ResolvedLayout {
            layout: layout.to_vec(),
            slots: Vec::with_capacity(layout.len()),
            refused: None,
        };
        let mut seen = HashSet::with_capacity(layout.len());
        for one in layout {
            let slot = if seen.insert((&one.metric, &one.labels)) {
                slot_of(series, slots, one, context)
            } else {
                Err(Refusal {
                    reason: Reason::DuplicateSeries,
                    message: format!("{} stands twice in one frame", one.metric),
                })
            };
            resolved.slots.push(slot.map_err(|refusal| resolved.refused = Some(refusal)).ok());
        }
        layouts.insert(key, resolved);
    }
    &layouts[&key]
}

fn slot_of(
    series: &mut Vec<Series>,
    slots: &mut HashMap<Series, u32>,
    one: &Series,
    context: &Context<'_>,
) -> Result<u32, Refusal> {
    if let Some(&slot) = slots.get(one) {
        return Ok(slot);
    }
    check_series(one, context.limits).map_err(|reason| {
        let name: String = one.metric.chars().take(64).collect();
        Refusal { reason, message: format!("series `{name}`") }
    })?;
    let slot = series.len() as u32;
    if slot >= context.settings.max_series {
        let message = format!("more than {} series of one server", context.settings.max_series);
        return Err(Refusal { reason: Reason::TooManySeries, message });
    }
    series.push(one.clone());
    slots.insert(one.clone(), slot);
    Ok(slot)
}

fn hash(layout: &[Series]) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    layout.hash(&mut hasher);
    hasher.finish()
}
