//! The bounds, and that an outage loses nothing that fits into them.

use std::sync::atomic::{AtomicBool, Ordering};

use tidewatch_service_kit::config::assemble;

use super::*;
use crate::publish::PublishError;

fn backlog(set: &[(&str, &str)]) -> Backlog {
    let config = assemble::<Config>("ingest", set).unwrap();
    Backlog::new(&config, Metrics::new(&tidewatch_service_kit::Metrics::default()))
}

fn frame(at: i64, size: usize) -> Encoded {
    Encoded { server: "a".into(), bytes: vec![0; size], samples: 1, collected_at: at }
}

fn times(backlog: &Backlog) -> Vec<i64> {
    backlog.lock().frames.iter().map(|frame| frame.collected_at).collect()
}

#[test]
fn the_oldest_go_when_the_bytes_are_too_many() {
    let backlog = backlog(&[("backlog-bytes", "1048576")]);
    for at in 0..5 {
        backlog.push(frame(at, 300_000));
    }
    assert_eq!(times(&backlog), [2, 3, 4]);
    assert_eq!(backlog.lock().bytes, 900_000);
}

#[test]
fn the_oldest_go_when_they_are_too_old() {
    let backlog = backlog(&[("backlog-age", "10s")]);
    for at in [0, 1_000, 10_000, 11_000] {
        backlog.push(frame(at, 10));
    }
    assert_eq!(times(&backlog), [1_000, 10_000, 11_000]);
}

#[test]
fn a_failed_attempt_goes_back_in_front() {
    let backlog = backlog(&[]);
    for at in 0..100 {
        backlog.push(frame(at, 10));
    }
    let batch = backlog.take();
    assert_eq!(batch.len(), BATCH);
    backlog.put_back(batch, 100);
    assert_eq!(times(&backlog), (0..100).collect::<Vec<_>>());
    assert_eq!(backlog.lock().bytes, 1_000);
}

#[derive(Clone, Default)]
struct Broker {
    away: Arc<AtomicBool>,
    got: Arc<Mutex<Vec<i64>>>,
}

impl Publish for Broker {
    async fn publish(&self, _: Origin, frames: &[Encoded]) -> Result<(), PublishError> {
        if self.away.load(Ordering::Acquire) {
            return Err(PublishError::Open);
        }
        self.got.lock().unwrap().extend(frames.iter().map(|frame| frame.collected_at));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_loses_nothing_and_keeps_the_order() {
    let (backlog, broker, shutdown) = (Arc::new(backlog(&[])), Broker::default(), Shutdown::new());
    broker.away.store(true, Ordering::Release);
    let task = tokio::spawn(forward(Arc::clone(&backlog), broker.clone(), shutdown.clone()));
    // the clock that counts here is the frames' own, and they have to be of now
    let start = collect::now_ms();
    for n in 0..200 {
        backlog.push(frame(start + n, 10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(broker.got.lock().unwrap().is_empty());
    broker.away.store(false, Ordering::Release);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(*broker.got.lock().unwrap(), (0..200).map(|n| start + n).collect::<Vec<_>>());
    backlog.push(frame(start + 200, 10));
    shutdown.trigger();
    task.await.unwrap();
    assert_eq!(broker.got.lock().unwrap().len(), 201, "what is left at the end is sent");
}
