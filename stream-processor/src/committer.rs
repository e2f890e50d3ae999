//! The thread that commits, so that the one that polls does not wait for the broker.
//!
//! In: a batch, one at a time. Out: whether it is committed; a failure ends the session. Invariant: partitions are not let
//! go while a batch is under way, so no successor starts from offsets that are about to change.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use rdkafka::consumer::ConsumerGroupMetadata;
use tidewatch_service_kit::kafka::Group;

use crate::{
    emit::{Batch, Emitter},
    error::SessionError,
    metrics::ProcessorMetrics,
};

/// A batch and the membership as it was when it was cut.
pub(crate) type Work = (ConsumerGroupMetadata, Batch);

/// What is under way, seen from both threads and from the rebalance callback.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    state: Mutex<State>,
    landed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    under_way: bool,
    failure: Option<SessionError>,
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.state().under_way
    }

    /// Until nothing is under way. The broker's timeouts bound it.
    pub(crate) fn wait(&self) {
        let mut state = self.state();
        while state.under_way {
            state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn land(&self, result: Result<(), SessionError>) {
        let mut state = self.state();
        state.under_way = false;
        if let Err(error) = result {
            state.failure = Some(error);
        }
        self.landed.notify_all();
    }
}

/// The polling thread's end.
#[derive(Debug)]
pub(crate) struct Committer {
    flight: Arc<Flight>,
    sender: SyncSender<Work>,
}

impl Committer {
    /// The two ends; the receiver is for [`serve`].
    pub(crate) fn new(flight: &Arc<Flight>) -> (Self, Receiver<Work>) {
        let (sender, receiver) = sync_channel(1);
        (Self { flight: Arc::clone(flight), sender }, receiver)
    }

    pub(crate) fn is_free(&self) -> bool {
        !self.flight.is_under_way()
    }

    /// Hands a batch over; waits for the one before it.
    pub(crate) fn submit(&self, work: Work) -> Result<(), SessionError> {
        self.wait()?;
        self.flight.state().under_way = true;
        self.sender.send(work).map_err(|_| SessionError::CommitterGone)
    }

    /// Until everything handed over is committed, or why it is not.
    pub(crate) fn wait(&self) -> Result<(), SessionError> {
        self.flight.wait();
        self.check()
    }

    /// Whether a commit failed.
    pub(crate) fn check(&self) -> Result<(), SessionError> {
        self.flight.state().failure.take().map_or(Ok(()), Err)
    }
}

/// Ends what is under way however the thread ends.
struct Landing<'a>(&'a Flight);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.land(if std::thread::panicking() { Err(SessionError::CommitterGone) } else { Ok(()) });
    }
}

/// The committing thread's life: until the other end is dropped, or a commit failed.
pub(crate) fn serve(
    mut emitter: Emitter,
    group: &Group,
    receiver: &Receiver<Work>,
    flight: &Flight,
    metrics: &ProcessorMetrics,
) {
    let _landing = Landing(flight);
    loop {
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Ok((member, batch)) => {
                let begun = Instant::now();
                let result = emitter.commit(group, &member, &batch);
                let failed = result.is_err();
                if !failed {
                    metrics.record_commit(begun.elapsed().as_secs_f64(), &batch);
                }
                flight.land(result);
                if failed {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => emitter.serve(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
