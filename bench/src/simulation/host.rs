//! One server of the fleet: its series as the host collector publishes them, window by window.
//!
//! In: the number of a window, what goes wrong. Out: the `AggregateFrame` that the stream processor would make of ten
//! samples. Invariant: windows are asked for in order; counters grow while the server is silent, too.

mod column;

use std::sync::Arc;

use column::{Column, columns};
use tidewatch_schemas::{AggregateFrame, AggregateKind, Origin, SeriesKind};

use super::{Chance, Incident, Load, Nature, WINDOW_MS, name, start_of};

const SAMPLES: i64 = 10;
/// The first and the last sample of a window, milliseconds after its start.
const FIRST_AT: i32 = 500;
const LAST_AT: i32 = 9_500;

// streams of a server's chance; the others belong to its nature
const SERIES: u64 = 100;
const NOISE: u64 = 101;

/// One server.
#[derive(Debug, Clone)]
pub struct Host {
    nature: Nature,
    noise: Chance,
    columns: Vec<Column>,
    /// Of each column, what a detector sees: a gauge's mean, a counter's rate a second.
    values: Vec<f64>,
    frame: AggregateFrame,
    incident: Option<Arc<Incident>>,
}

impl Host {
    pub fn new(seed: u64, number: u32, incident: Option<Arc<Incident>>) -> Self {
        let chance = Chance::new(seed).of(1_000 + u64::from(number));
        let (layout, columns): (Vec<_>, Vec<_>) = columns(chance.of(SERIES)).into_iter().unzip();
        let n = columns.len();
        let mut frame = AggregateFrame {
            server: name(number),
            window_start: 0,
            window_ms: WINDOW_MS,
            kind: AggregateKind::Final,
            origin: Origin { partition: 0, offset: 0 },
            layout,
            count: vec![SAMPLES; n],
            sum: vec![0.0; n],
            min: vec![0.0; n],
            max: vec![0.0; n],
            first: vec![0.0; n],
            last: vec![0.0; n],
            first_at: vec![FIRST_AT; n],
            last_at: vec![LAST_AT; n],
            m2: vec![0.0; n],
            increase: vec![0.0; n],
            resets: vec![0; n],
            histograms: Vec::new(),
        };
        // it did not start today: `last` is where a counter stands
        for (place, last) in (0_i64..).zip(&mut frame.last) {
            *last = chance.of(SERIES).between(1_000 + place, 1e3, 1e6).round();
        }
        let nature = Nature::new(chance);
        Self { nature, noise: chance.of(NOISE), columns, values: vec![0.0; n], frame, incident }
    }

    /// What the server's series were in a window; `None` while it is silent.
    pub fn window(&mut self, window: i64) -> Option<&AggregateFrame> {
        let load = self.load(window);
        let stuck = self.incident.as_ref().and_then(|incident| incident.stuck_at(window));
        let held = stuck.map(|at| (at, self.nature.load(at)));
        self.frame.window_start = start_of(window);
        self.frame.origin.offset = window;
        for (index, column) in self.columns.iter().enumerate() {
            let (at, load) = held.filter(|_| column.is_sensor()).unwrap_or((window, load));
            let value = column.value(&load, self.noise.of(index as u64).normal(at));
            self.values[index] = value;
            put(&mut self.frame, index, value, value.abs() * column.noise());
        }
        let silent = self.incident.as_ref().is_some_and(|incident| incident.silences(window));
        (!silent).then_some(&self.frame)
    }

    /// The last window, whether or not it was said.
    pub fn frame(&self) -> &AggregateFrame {
        &self.frame
    }

    /// What a detector sees of the last window, in the order of the layout.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    fn load(&self, window: i64) -> Load {
        let mut load = self.nature.load(window);
        if let Some(incident) = &self.incident {
            incident.change(window, &mut load);
        }
        load
    }
}

/// Ten samples around a mean, or on the way of a counter.
fn put(frame: &mut AggregateFrame, index: usize, value: f64, spread: f64) {
    let samples = SAMPLES as f64;
    if frame.layout[index].kind == SeriesKind::Gauge {
        frame.sum[index] = value * samples;
        (frame.min[index], frame.max[index]) = (value - spread, value + spread);
        (frame.first[index], frame.last[index]) = (value, value);
        frame.m2[index] = spread * spread;
        return;
    }
    let growth = value * (WINDOW_MS as f64 / 1_000.0);
    let first = frame.last[index] + growth / samples;
    let last = frame.last[index] + growth;
    frame.sum[index] = f64::midpoint(first, last) * samples;
    (frame.min[index], frame.max[index]) = (first, last);
    (frame.first[index], frame.last[index]) = (first, last);
    frame.m2[index] = (last - first).powi(2);
    frame.increase[index] = last - first;
}

#[cfg(test)]
mod tests;
