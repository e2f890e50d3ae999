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

mod aggregate;
mod columns;
pub mod commit;
mod committer;
mod config;
mod consume;
mod emit;
mod encode;
mod error;
pub mod filter;
mod histogram;
mod layout;
mod metrics;
pub mod read;
mod tick;
pub mod window;

pub use config::{Config, Consumer};
pub use emit::Delivery;
pub use encode::{Emitted, Output};
pub use error::Error;
pub use layout::Refusal;

use tidewatch_service_kit::{Deps, Shutdown};

/// Consumes until the wish to stop; returns early only when starting again can't help.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    config.check()?;
    let metrics = metrics::ProcessorMetrics::new(&deps.metrics);
    let component = deps.health.component("stream-processor");
    let mut threads = Vec::new();
    for number in 0..config.threads {
        let (config, metrics, component) = (config.clone(), metrics.clone(), component.clone());
        let shutdown = shutdown.clone();
        let instance = match number {
            0 => config.instance(),
            more => format!("{}.{more}", config.instance()),
        };
        // librdkafka's calls block: threads of their own, not the runtime
        let thread = std::thread::Builder::new()
            .name(format!("processor-{number}"))
            .spawn(move || consume::run(&config, &instance, &metrics, &component, &shutdown))
            .map_err(Error::Thread)?;
        threads.push(tokio::task::spawn_blocking(move || thread.join()));
    }
    for thread in threads {
        thread.await.ok().and_then(Result::ok).unwrap_or(Err(Error::Panicked))?;
    }
    Ok(())
}
