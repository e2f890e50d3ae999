//! The processor: filter, window, aggregate; nothing lost, nothing counted twice.
//!
//! ```text
//! metrics.raw -> consume -> window -> aggregate -> emit -> metrics.10s, metrics.1m   (final, delta)
//!                  |  ^        |                     |---> metrics.late               (below the floor)
//!                  |  |        |                     `---> dead-letter.stream-processor
//!                  |  `-- L, clock, floor: the commit's metadata, in the same transaction as the output
//!                  `- tick: moves the clock of a silent partition
//! ```
//! Invariant: output and offsets are one Kafka transaction; a restart reads again from L and emits from H on.

pub mod commit;
mod config;
mod consume;
mod emit;
mod error;
pub mod filter;
mod metrics;
mod tick;
pub mod window;

mod aggregate;

pub use config::Config;
pub use error::Error;

use tidewatch_service_kit::{Deps, Shutdown};

/// Consumes until the wish to stop; returns early only when starting again can't help.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let metrics = metrics::ProcessorMetrics::new(&deps.metrics);
    let component = deps.health.component("stream-processor");
    // librdkafka's calls block: a thread of its own, not the runtime
    let thread = std::thread::Builder::new()
        .name("stream-processor".into())
        .spawn(move || consume::run(&config, &metrics, &component, &shutdown))
        .map_err(Error::Thread)?;
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .ok()
        .and_then(Result::ok)
        .unwrap_or(Err(Error::Panicked))
}
