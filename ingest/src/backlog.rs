//! Between collect and publish: frames of this host that Kafka has not acknowledged yet.
//!
//! Invariant: bounded by age and bytes; the oldest go first, counted and said once. A frame leaves only when it is
//! acknowledged or dropped; a repeated attempt carries the same sequence, so that nothing counts twice downstream.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidewatch_service_kit::{Shutdown, retry};
use tokio::sync::Notify;

use crate::{
    collect,
    config::Config,
    metrics::{Metrics, Origin},
    publish::{Encoded, Publish},
};

/// Frames of one attempt: enough to catch up quickly, few enough to be acknowledged within the timeout.
const BATCH: usize = 64;

/// After the wish to stop, the time for what is left.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Backlog {
    state: Mutex<State>,
    arrived: Notify,
    max_age_ms: i64,
    max_bytes: usize,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Encoded>,
    bytes: usize,
    /// Something was dropped since the backlog was last empty.
    dropping: bool,
}

impl Backlog {
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            max_age_ms: i64::try_from(config.backlog_age.as_millis()).unwrap_or(i64::MAX),
            max_bytes: config.backlog_bytes as usize,
            metrics,
        }
    }

    /// Called by the collector's thread.
    pub(crate) fn push(&self, frame: Encoded) {
        let now = frame.collected_at;
        let mut state = self.lock();
        state.bytes += frame.bytes.len();
        state.frames.push_back(frame);
        self.trim(state, now);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest frames for an attempt.
    fn take(&self) -> Vec<Encoded> {
        let mut state = self.lock();
        let count = state.frames.len().min(BATCH);
        let batch: Vec<Encoded> = state.frames.drain(..count).collect();
        state.bytes -= batch.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        batch
    }

    /// Puts the frames of a failed attempt back in front.
    fn put_back(&self, batch: Vec<Encoded>, now: i64) {
        let mut state = self.lock();
        for frame in batch.into_iter().rev() {
            state.bytes += frame.bytes.len();
            state.frames.push_front(frame);
        }
        self.trim(state, now);
    }

    fn trim(&self, mut state: MutexGuard<'_, State>, now: i64) {
        let mut dropped = 0;
        while let Some(oldest) = state.frames.front()
            && (state.bytes > self.max_bytes || now.saturating_sub(oldest.collected_at) > self.max_age_ms)
        {
            let size = oldest.bytes.len();
            state.bytes -= size;
            state.frames.pop_front();
            dropped += 1;
        }
        if dropped > 0 {
            self.metrics.record_dropped(dropped);
            if !std::mem::replace(&mut state.dropping, true) {
                tracing::warn!(
                    frames = state.frames.len(),
                    bytes = state.bytes,
                    "drop the oldest collected frames: kafka is away for too long"
                );
            }
        }
        self.report(&state, now);
    }

    /// After an acknowledgement.
    fn settle(&self, now: i64) {
        let mut state = self.lock();
        if state.frames.is_empty() {
            state.dropping = false;
        }
        self.report(&state, now);
    }

    fn report(&self, state: &State, now: i64) {
        let lag = state.frames.front().map_or(0, |oldest| now.saturating_sub(oldest.collected_at).max(0));
        self.metrics.record_backlog(state.frames.len(), state.bytes, lag);
    }
}

/// Publishes what arrives until the wish to stop, then what is left, once.
pub(crate) async fn forward(backlog: Arc<Backlog>, publisher: impl Publish, shutdown: Shutdown) {
    let mut attempt = 0;
    while !shutdown.is_triggered() {
        let batch = backlog.take();
        if batch.is_empty() {
            tokio::select! {
                () = backlog.arrived.notified() => {}
                () = shutdown.wait() => {}
            }
            continue;
        }
        if publisher.publish(Origin::Host, &batch).await.is_ok() {
            attempt = 0;
            backlog.settle(collect::now_ms());
        } else {
            backlog.put_back(batch, collect::now_ms());
            // the breaker already spares Kafka: a pause of at most 1.6 s, so that we are back soon
            shutdown.sleep(retry::pause(attempt)).await;
            attempt = (attempt + 1).min(4);
        }
    }
    let farewell = async {
        loop {
            let batch = backlog.take();
            if batch.is_empty() {
                return 0;
            }
            if publisher.publish(Origin::Host, &batch).await.is_err() {
                return batch.len() + backlog.lock().frames.len();
            }
        }
    };
    let left =
        tokio::time::timeout(FAREWELL, farewell).await.unwrap_or_else(|_| backlog.lock().frames.len().max(1));
    if left > 0 {
        tracing::warn!(frames = left, "stop with collected frames that kafka did not acknowledge");
    }
}

#[cfg(test)]
mod tests;
