//! The analyzer: what is normal, what is odd, what to wake somebody for.
//!
//! ```text
//! metrics.10s -> consume -> detect -> incident -> publish -> anomalies, alerts, metrics.expected
//!                  |  ^       |  trend    |           `----> dead-letter.analyzer
//!                  |  |       |  rules    |
//!                  |  |       |  feedback |      what people called a false alarm, of analyzer.feedback
//!                  |  |       `- analysis-'  the pure core: windows and time in, alerts out
//!                  |  `- offset, and in turns each server's state (`analyzer.state`), in the same transaction as the output
//!                  `- a new owner takes the states, replays silently what came since, and reads its open alerts back from `alerts`
//! ```
//! Invariant: output and offsets are one Kafka transaction; an alert has the same `alert_id` whoever computes it.

pub mod analysis;
mod config;
mod consume;
pub mod detect;
mod error;
pub mod feedback;
pub mod from_prometheus;
pub mod incident;
mod metrics;
mod publish;
pub mod rehearse;
mod rulebook;
pub mod rules;
pub mod snapshot;
pub mod trend;

pub use config::{AlertsFormat, Config};
pub use error::Error;
use tidewatch_service_kit::{Deps, Shutdown};

/// Consumes until the wish to stop; returns early only when starting again can't help.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let rulebook = config.rulebook()?;
    let metrics = metrics::AnalyzerMetrics::new(&deps.metrics);
    let component = deps.health.component("analyzer");
    tracing::info!(rules = rulebook.rules().rules.len(), "rules read");
    // librdkafka's calls block: a thread of its own, not the runtime
    let thread = std::thread::Builder::new()
        .name("analyzer".into())
        .spawn(move || consume::run(&config, rulebook, &metrics, &component, &shutdown))
        .map_err(Error::Thread)?;
    tokio::task::spawn_blocking(move || thread.join()).await.ok().and_then(Result::ok).ok_or(Error::Panicked)
}
