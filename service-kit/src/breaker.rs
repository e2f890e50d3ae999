//! A circuit breaker in front of a peer that may be away (failsafe), with the two gaps of failsafe 1.3 closed: one
//! probe at a time goes through when it is half open, and a call whose future is dropped counts as a failure.
//!
//! State as a metric: `tidewatch_breaker_state{service, peer}`: 0 closed, 1 half open, 2 open.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use failsafe::{Config, Instrument, StateMachine, backoff, failure_policy};
use prometheus::{IntGauge, IntGaugeVec};

type Policy = failure_policy::ConsecutiveFailures<backoff::Exponential>;

/// Why a guarded call has no result.
#[derive(Debug, thiserror::Error)]
pub enum BreakerError<E> {
    /// The peer failed before; this call was not made.
    #[error("skip call: the breaker is open")]
    Open,
    #[error(transparent)]
    Failed(E),
}

/// Guards calls to one peer. Clones share their state.
#[derive(Debug, Clone)]
pub struct Breaker {
    machine: StateMachine<Policy, State>,
    state: State,
    probing: Arc<AtomicBool>,
}

/// The shortest that failsafe allows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const CLOSED: i64 = 0;
const HALF_OPEN: i64 = 1;
const OPEN: i64 = 2;

#[derive(Debug, Clone)]
struct State {
    now: Arc<AtomicI64>,
    gauge: IntGauge,
    peer: Arc<str>,
}

impl State {
    fn set(&self, state: i64, word: &str) {
        if self.now.swap(state, Ordering::AcqRel) != state {
            tracing::info!(peer = %self.peer, state = word, "breaker changed");
        }
        self.gauge.set(state);
    }
}

impl Instrument for State {
    fn on_call_rejected(&self) {}
    fn on_open(&self) {
        self.set(OPEN, "open");
    }
    fn on_half_open(&self) {
        self.set(HALF_OPEN, "half open");
    }
    fn on_closed(&self) {
        self.set(CLOSED, "closed");
    }
}

/// The gauge all breakers of a process share, whichever service asks first.
pub fn gauges(metrics: &crate::Metrics) -> IntGaugeVec {
    metrics.shared_gauges(
        "tidewatch_breaker_state",
        "State of a circuit breaker: 0 closed, 1 half open, 2 open",
        &["service", "peer"],
    )
}

impl Breaker {
    /// Opens after `failures` failed calls in a row; tries again after a second, then after up to `longest`.
    pub fn new(gauges: &IntGaugeVec, service: &str, peer: &str, failures: u32, longest: Duration) -> Self {
        let gauge = gauges.with_label_values(&[service, peer]);
        let state = State { now: Arc::new(AtomicI64::new(CLOSED)), gauge, peer: peer.into() };
        let pauses = backoff::exponential(FIRST_PAUSE, longest.max(FIRST_PAUSE));
        let policy = failure_policy::consecutive_failures(failures, pauses);
        let machine = Config::new().failure_policy(policy).instrument(state.clone()).build();
        Self { machine, state, probing: Arc::default() }
    }

    /// Whether calls are refused at the moment.
    pub fn is_open(&self) -> bool {
        self.state.now.load(Ordering::Acquire) == OPEN
    }

    /// Makes the call unless the breaker is open. Every error counts as a failure of the peer.
    pub async fn call<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, BreakerError<E>> {
        self.call_if(|_| true, call).await
    }

    /// The same, where `is_failure` says which errors are the peer's (and not the request's) fault.
    pub async fn call_if<T, E>(
        &self,
        is_failure: impl Fn(&E) -> bool,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BreakerError<E>> {
        let Some(mut permit) = self.permit() else { return Err(BreakerError::Open) };
        let result = call.await;
        match &result {
            Err(error) if is_failure(error) => permit.finish(false),
            _ => permit.finish(true),
        }
        result.map_err(BreakerError::Failed)
    }

    fn permit(&self) -> Option<Permit<'_>> {
        if !self.machine.is_call_permitted() {
            return None;
        }
        let probe = self.state.now.load(Ordering::Acquire) == HALF_OPEN;
        if probe && self.probing.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Permit { breaker: self, probe, finished: false })
    }
}

/// A call under way; dropped unfinished it counts as failed.
struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
    finished: bool,
}

impl Permit<'_> {
    fn finish(&mut self, good: bool) {
        self.finished = true;
        if good { self.breaker.machine.on_success() } else { self.breaker.machine.on_error() }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.breaker.machine.on_error();
        }
        if self.probe {
            self.breaker.probing.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(
            &gauges(&crate::Metrics::default()),
            "test",
            "peer",
            failures,
            Duration::from_millis(500),
        )
    }

    async fn fail(breaker: &Breaker) -> Result<(), BreakerError<()>> {
        breaker.call(async { Err::<(), _>(()) }).await
    }

    #[tokio::test]
    async fn it_opens_after_the_failures_and_closes_after_one_good_probe() {
        let breaker = breaker(2);
        for _ in 0..2 {
            assert!(matches!(fail(&breaker).await, Err(BreakerError::Failed(()))));
        }
        assert!(breaker.is_open());
        assert!(matches!(fail(&breaker).await, Err(BreakerError::Open)));
        // the first pause is a second
        let mut good = breaker.call(async { Ok::<_, ()>(1) }).await;
        for _ in 0..100 {
            if good.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            good = breaker.call(async { Ok::<_, ()>(1) }).await;
        }
        assert!(matches!(good, Ok(1)));
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn a_dropped_call_counts_as_failed() {
        let breaker = breaker(1);
        let call = breaker.call(std::future::pending::<Result<(), ()>>());
        assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
        assert!(breaker.is_open());
    }

    #[tokio::test]
    async fn an_error_of_the_request_does_not_open_it() {
        let breaker = breaker(1);
        let result = breaker.call_if(|_| false, async { Err::<(), _>("yours") }).await;
        assert!(matches!(result, Err(BreakerError::Failed("yours"))));
        assert!(!breaker.is_open());
    }
}
