//! The notifier: every transition of an alert to Alertmanagers and webhooks.
//!
//! ```text
//! alerts -> consume (a group and a thread for each target) -> ledger (what is due, in what order)
//!             |   -> deliver (Alertmanager's v2 API | a signed webhook; a breaker for each) -> post (HTTP, TLS)
//!             |<- taken, refused for good, or to be tried again
//!             `-> offsets of what is done with; dead-letter.notify
//! ```
//! Invariant: an offset moves only when everything before it was taken by the target or refused by it for good.

mod config;
mod consume;
mod deliver;
mod error;
mod ledger;
mod metrics;
mod post;

pub use config::{Config, Endpoint};
pub use error::Error;
use tidewatch_service_kit::{Deps, Shutdown, breaker};
use tokio::{runtime::Handle, task::JoinSet};

/// Sends until the wish to stop. Without a target it waits for that.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let metrics = metrics::NotifyMetrics::new(&deps.metrics);
    let targets = deliver::targets(&config, &breaker::gauges(&deps.metrics), &metrics)?;
    if targets.is_empty() {
        tracing::info!("neither an Alertmanager nor a webhook is named: nothing is sent");
        shutdown.wait().await;
        return Ok(());
    }
    // librdkafka's calls block: a thread for each, not the runtime's workers
    let mut threads = JoinSet::new();
    for target in targets {
        tracing::info!(target_id = target.id(), "alerts go to");
        let notifier = consume::Notifier {
            component: deps.health.component(format!("notify {}", target.id())),
            config: config.clone(),
            target,
            shutdown: shutdown.clone(),
            runtime: Handle::current(),
        };
        threads.spawn_blocking(move || notifier.run());
    }
    while let Some(ended) = threads.join_next().await {
        ended.map_err(|_| Error::Panicked)?;
    }
    Ok(())
}
