//! The sink: windows, bands, anomalies and alerts into PostgreSQL, and the newest of it into Redis.
//!
//! ```text
//! metrics.10s .. 1h, .expected, anomalies, alerts -> consume (batches) -> record (decode, validate)
//!     -> commit (wait, halve, dead letters) -> write (offsets by compare-and-set + rows, one transaction)
//!     -> Redis -> Kafka's own offsets, for lag tools
//! ```
//! Invariant: the offsets in PostgreSQL move in the transaction of their rows and nowhere else.

pub mod commit;
pub mod config;
pub mod consume;
pub mod dead_letter;
pub mod error;
pub mod maintain;
pub mod metrics;
pub mod pack;
pub mod record;
pub mod replay;
pub mod write;

use std::sync::{Arc, mpsc as std_mpsc};

use tidewatch_service_kit::{Deps, Shutdown, breaker, health::Component, retry};
use tidewatch_store::{History, Store, hot::writer::HotWriter, migrate};
use tokio::sync::mpsc;

pub use config::Config;
pub use error::Error;

/// Runs the sink until the wish to stop.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let metrics = metrics::SinkMetrics::new(&deps.metrics);
    let breakers = breaker::gauges(&deps.metrics);
    let store = Store::new(&config.store, dead_letter::STAGE, &deps.metrics, &breakers)?;
    let dead_letters = dead_letter::DeadLetterTopic::new(&config.kafka).map_err(Error::Producer)?;
    let (database, kafka) = (deps.health.component("sink postgresql"), deps.health.component("sink kafka"));
    if !prepare(&store.history, &database, &shutdown).await {
        return Ok(());
    }
    let maintenance = tokio::spawn(maintain::run(store.history.clone(), config.clone(), shutdown.clone()));

    let packing = tokio::spawn(pack::run(
        store.history.clone(),
        config.sink_pack_after,
        metrics.clone(),
        shutdown.clone(),
    ));

    let owned = commit::SharedOwned::default();
    // one batch in work, one waiting: that is all the memory an outage of PostgreSQL takes
    let (batches, to_commit) = mpsc::channel(1);
    let (told, hear) = std_mpsc::channel();
    let poller = consume::Poller {
        config: config.clone(),
        history: store.history.clone(),
        owned: Arc::clone(&owned),
        batches,
        told: hear,
        metrics: metrics.clone(),
        health: kafka,
        shutdown: shutdown.clone(),
        runtime: tokio::runtime::Handle::current(),
        in_hand: 0,
    };
    let thread = std::thread::Builder::new()
        .name("sink-poll".to_owned())
        .spawn(move || poller.run())
        .map_err(Error::Thread)?;
    let group = config.kafka.group(dead_letter::STAGE);
    let writer = write::Writer::new(group, config.sink_series_per_server as usize, metrics.clone());
    let hot = HotWriter::new(store.hot);
    commit::Committer::new(store.history, hot, writer, dead_letters, owned, metrics, database, shutdown)
        .run(to_commit, &told)
        .await;
    // the batches' sender lives on that thread: it is at its end
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    maintenance.abort();
    packing.abort();
    Ok(())
}

/// Waits for PostgreSQL and gives it our tables; `false` when the wish to stop came first.
async fn prepare(history: &History, health: &Component, shutdown: &Shutdown) -> bool {
    let mut attempt = 0;
    loop {
        let error = match history.guard(migrate(history.pool())).await {
            Ok(()) => {
                if attempt > 0 {
                    tracing::info!("postgresql is there");
                }
                health.ready();
                return true;
            }
            Err(error) => error,
        };
        if attempt == 0 {
            tracing::warn!(%error, "prepare postgresql, try until it works");
        }
        health.waiting(format!("PostgreSQL: {error}"));
        if !shutdown.sleep(retry::pause(attempt)).await {
            return false;
        }
        attempt += 1;
    }
}
