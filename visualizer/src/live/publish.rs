//! Records into events. In: records in the order of their partitions. Out: events with rates and ids, broadcast.
//!
//! Keeps: a counter's rate by the rule of the charts ([`crate::rate`]); state for servers that went silent is let go; events
//! are made whether or not anybody listens just now, for who comes back to them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tidewatch_schemas::{AggregateFrame, AggregateKind, Series};
use tokio::sync::mpsc;

use super::{Event, Point, Record, Summary, Told, Window};
use crate::{
    app::App,
    params::MINUTE,
    query::columns::FINE,
    rate::{self, Sample},
    views::{self, AlertView, Disk},
};

/// Servers without a window for so long start anew.
const FORGET: i64 = 10 * MINUTE;

/// How often the store is asked for servers that it did not know.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Takes records until the queue closes.
pub(crate) async fn publish(app: Arc<App>, mut records: mpsc::Receiver<Record>) {
    let mut last = LastSamples::default();
    let mut ids = Ids::default();
    while let Some(record) = records.recv().await {
        let event = match record {
            Record::Begin(at, done) => {
                app.events.begin(&at);
                // an error only says that the follower is gone
                let _ = done.send(());
                continue;
            }
            Record::Window(_, frame) if frame.kind != AggregateKind::Final || frame.window_ms != FINE => {
                continue;
            }
            Record::Window(place, frame) => {
                let points = last.points(&frame);
                let summary = ids.get(&app, &frame.server).await.map(|id| summary(id, &frame, &points));
                let from = frame.window_start;
                let window = Window { server: frame.server, from, step: FINE, series: points };
                let summary = summary.and_then(|summary| json(&summary));
                json(&window)
                    .map(|text| Event::new(place, window.server, Told::Window { window: text, summary }))
            }
            Record::Alert(place, alert) => {
                let server_id = ids.get(&app, &alert.server).await;
                let server = alert.server.clone();
                let text = json(&AlertView::new(server_id, alert));
                text.map(|text| Event::new(place, server, Told::Alert(text)))
            }
        };
        if let Some(event) = event {
            // its place in the minute that is held is when it came, not what it is about
            app.events.publish(event, crate::now());
        }
    }
}

/// All of what is told is text, numbers and lists: it has a form in JSON.
fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

/// The newest sample of each counter, by a hash of its series: names would cost ten times the memory.
#[derive(Debug, Default)]
pub(crate) struct LastSamples {
    hasher: RandomState,
    servers: HashMap<String, (i64, HashMap<u64, Sample>)>,
    swept: i64,
}

impl LastSamples {
    /// The points of a frame; those of its series that say nothing yet are left out.
    pub(crate) fn points(&mut self, frame: &AggregateFrame) -> Vec<Point> {
        self.sweep(frame.window_end());
        let (seen, samples) = self.servers.entry(frame.server.clone()).or_default();
        *seen = (*seen).max(frame.window_end());
        let mut points = Vec::with_capacity(frame.layout.len());
        for (index, series) in frame.layout.iter().enumerate() {
            let window = rate::Window::of(frame, index);
            let key = self.hasher.hash_one((&series.metric, &series.labels));
            let before = samples.get(&key).copied();
            if let Some((avg, min, max)) = rate::point(series.kind, before, &window)
                && avg.is_finite()
            {
                let Series { metric, labels, kind, .. } = series.clone();
                points.push(Point { metric, labels, kind, avg, min, max });
            }
            if series.kind == tidewatch_schemas::SeriesKind::Counter {
                let tail = window.tail();
                if before.is_none_or(|before| before.at < tail.at) {
                    samples.insert(key, tail);
                }
            }
        }
        points
    }

    fn sweep(&mut self, now: i64) {
        if now - self.swept >= MINUTE {
            self.swept = now;
            self.servers.retain(|_, (seen, _)| now - *seen < FORGET);
        }
    }
}

/// Ids of servers by name, asked for when one is new.
#[derive(Debug, Default)]
struct Ids {
    known: HashMap<String, i32>,
    asked: Option<Instant>,
}

impl Ids {
    async fn get(&mut self, app: &App, name: &str) -> Option<i32> {
        if let Some(id) = self.known.get(name) {
            return Some(*id);
        }
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            if let Ok(directory) = app.directory().await {
                self.known = directory.servers.iter().map(|s| (s.name.clone(), s.id)).collect();
            }
            self.asked = Some(Instant::now());
        }
        self.known.get(name).copied()
    }
}

fn summary(id: i32, frame: &AggregateFrame, points: &[Point]) -> Summary {
    let of = |metric: &str| points.iter().find(|p| p.metric == metric).map(|p| p.avg);
    let disk = points
        .iter()
        .filter(|p| p.metric == views::DISK)
        .max_by(|a, b| a.avg.total_cmp(&b.avg))
        .map(|p| Disk { mountpoint: views::mountpoint(&p.labels), last: p.avg });
    Summary {
        id,
        name: frame.server.clone(),
        last_seen: frame.window_end(),
        cpu: of(views::CPU),
        memory: of(views::MEMORY),
        network: of(views::NETWORK),
        disk,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tidewatch_schemas::Origin;

    use super::*;
    use crate::rate::tests::window;

    pub(crate) fn frame(server: &str, start: i64, value: f64) -> AggregateFrame {
        let layout = vec![Series::counter("c", ""), Series::gauge("g", "")];
        let w = window(start, &[(start + 1_000, value), (start + 9_000, value + 8.0)]);
        let both = |v: f64| vec![v, v];
        AggregateFrame {
            server: server.into(),
            window_start: start,
            window_ms: FINE,
            kind: AggregateKind::Final,
            origin: Origin { partition: 0, offset: 0 },
            layout,
            count: vec![2, 2],
            sum: both(w.sum),
            min: both(w.min),
            max: both(w.max),
            first: both(w.first),
            last: both(w.last),
            first_at: vec![w.first_at; 2],
            last_at: vec![w.last_at; 2],
            m2: both(0.0),
            increase: both(w.increase),
            resets: vec![0, 0],
            histograms: vec![],
        }
    }

    #[test]
    fn a_rate_needs_the_window_before_and_an_older_copy_does_not_spoil_it() {
        let mut last = LastSamples::default();
        let rates = |points: Vec<Point>| points.iter().map(|p| p.avg).collect::<Vec<_>>();
        assert_eq!(rates(last.points(&frame("a", 0, 0.0))), [1.0, 4.0]);
        assert_eq!(rates(last.points(&frame("a", 10_000, 22.0))), [2.2, 26.0]);
        last.points(&frame("a", 0, 0.0));
        assert_eq!(rates(last.points(&frame("a", 20_000, 32.0))), [1.0, 36.0]);
    }

    #[test]
    fn silent_servers_are_forgotten() {
        let mut last = LastSamples::default();
        for i in 0..100 {
            last.points(&frame(&format!("s{i}"), 0, 0.0));
        }
        last.points(&frame("loud", FORGET + MINUTE, 0.0));
        assert_eq!(last.servers.len(), 1);
    }
}
