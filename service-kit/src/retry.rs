//! How often and how long we try again: bounded, with jitter, so that a recovering peer is not trampled.

use std::time::Duration;

use backon::ExponentialBuilder;

/// For a call somebody waits for: three more tries within about a second.
pub fn brief() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_millis(500))
        .with_max_times(3)
        .with_jitter()
}

/// For a loop that must not give up: the pause before try `attempt` (from 0), 100 ms doubling to 5 s, with jitter.
pub fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(100).saturating_mul(1 << attempt.min(6)).min(Duration::from_secs(5));
    base.mul_f64(rand::random_range(0.5..1.0))
}
