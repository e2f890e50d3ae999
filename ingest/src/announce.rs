//! Between collect and backlog: frames of this host name their layout instead of carrying it, once Kafka has it.
//!
//! In: each scrape's frame, and whether its layout is another one than before. Out: the frame's bytes, with the layout or
//! with its id alone; beside that, the layout to `metrics.layouts`. Invariant: a frame names a layout only after Kafka has
//! acknowledged it, and so recently that the topic keeps it for longer than the frame; no scrape waits for that.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidewatch_schemas::{Layout, MetricFrame, Series, encode};
use tidewatch_service_kit::{Shutdown, retry};
use tokio::sync::Notify;

use crate::{
    collect,
    config::Config,
    metrics::Metrics,
    publish::{Announce, Encoded},
};

/// Scrapes in a row that have to bring a layout before it is announced.
const PATIENCE: u32 = 3;

/// Scrapes that a layout has to last for its announcement to have been worth it.
const WORTH: u32 = 100;

const DAY_MS: i64 = 24 * 3_600_000;

/// A layout that is in use is announced again so often.
const AGAIN_MS: i64 = DAY_MS;

/// So long after its announcement a layout may be named.
const GOOD_FOR_MS: i64 = 2 * DAY_MS;

/// Frames that may wait for longer name nothing. `metrics.layouts` keeps 7 days: 2 until a frame is made, 1 in the backlog, 3 in
/// `metrics.raw`, 1 to spare.
const LONGEST_BACKLOG: Duration = Duration::from_hours(24);

/// A layout on its way to Kafka.
#[derive(Debug, PartialEq, Eq)]
pub struct Announcement {
    pub layout_id: i64,
    pub bytes: Vec<u8>,
}

impl Announcement {
    fn of(layout: &[Series]) -> Result<Self, String> {
        let named = Layout::of(layout.to_vec()).map_err(|error| error.to_string())?;
        let bytes = encode(&named).map_err(|error| error.to_string())?;
        Ok(Self { layout_id: named.layout_id, bytes })
    }
}

/// Decides what a frame may name and what has to be announced. Times are milliseconds of the wall clock: where it was
/// set back, what was announced after "now" counts as never announced.
#[derive(Debug)]
struct Naming {
    /// Otherwise nothing is ever named.
    wanted: bool,
    /// Scrapes in a row that brought the present layout.
    stood: u32,
    /// So many have to before it is announced.
    patience: u32,
    /// The present layout, once it stood so long.
    present: Option<Arc<Announcement>>,
    /// When it was handed to Kafka for the acknowledgement that came last.
    announced: Option<i64>,
}

impl Naming {
    fn new(config: &Config) -> Self {
        let wanted = config.collect_layout_ids && config.backlog_age <= LONGEST_BACKLOG;
        Self { wanted, stood: 0, patience: PATIENCE, present: None, announced: None }
    }

    /// After each scrape: the id its frame may name, 0 if none.
    fn scraped(&mut self, layout: &[Series], changed: bool, now: i64) -> Result<i64, String> {
        if !self.wanted {
            return Ok(0);
        }
        if changed {
            if self.present.take().is_some() {
                // a host whose devices come and go would fill the topic with layouts that nobody needs for long
                self.patience = if self.stood < WORTH { self.patience * 2 } else { PATIENCE };
            }
            (self.stood, self.announced) = (0, None);
        }
        self.stood = self.stood.saturating_add(1);
        if self.stood == self.patience && !layout.is_empty() {
            self.present = Some(Arc::new(Announcement::of(layout)?));
        }
        let named = self.present.as_ref().filter(|_| self.announced_within(GOOD_FOR_MS, now));
        Ok(named.map_or(0, |present| present.layout_id))
    }

    fn announced_within(&self, time: i64, now: i64) -> bool {
        self.announced.is_some_and(|at| (0..time).contains(&now.saturating_sub(at)))
    }

    /// The layout to announce now.
    fn due(&self, now: i64) -> Option<Arc<Announcement>> {
        self.present.as_ref().filter(|_| !self.announced_within(AGAIN_MS, now)).map(Arc::clone)
    }

    /// Kafka has the layout that was handed to it at `at`.
    fn acknowledged(&mut self, layout_id: i64, at: i64) {
        if self.present.as_ref().is_some_and(|present| present.layout_id == layout_id) {
            self.announced = Some(at);
        }
    }
}

/// What the collector's thread and the task that announces know in common.
#[derive(Debug)]
pub(crate) struct Layouts {
    naming: Mutex<Naming>,
    due: Notify,
    metrics: Metrics,
}

impl Layouts {
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Self {
        Self { naming: Mutex::new(Naming::new(config)), due: Notify::new(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Naming> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the collector's thread with the frame of each scrape; `changed`: its layout is not that of the last one.
    pub(crate) fn encode(&self, frame: &MetricFrame, changed: bool) -> Result<Encoded, String> {
        let now = frame.collected_at;
        let mut naming = self.lock();
        let layout_id = naming.scraped(&frame.layout, changed, now)?;
        if naming.due(now).is_some() {
            self.due.notify_one();
        }
        drop(naming);
        self.metrics.record_layout(layout_id != 0);
        if layout_id == 0 { Encoded::of(frame) } else { Encoded::naming(frame, layout_id) }
    }
}

/// Announces what is due until the wish to stop. An outage is said once; meanwhile frames carry their layout.
pub(crate) async fn announce(layouts: Arc<Layouts>, kafka: impl Announce, shutdown: Shutdown) {
    let (mut attempt, mut refused) = (0_u32, false);
    while !shutdown.is_triggered() {
        let now = collect::now_ms();
        let due = layouts.lock().due(now);
        let Some(layout) = due else {
            tokio::select! {
                () = layouts.due.notified() => {}
                () = shutdown.wait() => {}
            }
            continue;
        };
        let answer = tokio::select! {
            answer = kafka.announce(&layout) => answer,
            () = shutdown.wait() => return,
        };
        match answer {
            Ok(()) => {
                layouts.lock().acknowledged(layout.layout_id, now);
                layouts.metrics.record_announced();
                if std::mem::take(&mut refused) {
                    tracing::info!("kafka has the layout of this host");
                }
                attempt = 0;
            }
            Err(why) => {
                layouts.metrics.record_announce_failure();
                if !std::mem::replace(&mut refused, true) {
                    tracing::warn!(%why, "announce layout of this host");
                }
                shutdown.sleep(retry::pause(attempt)).await;
                attempt = attempt.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
