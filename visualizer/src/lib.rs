//! The visualizer: the query API, the live stream, the pages.
//!
//! ```text
//! request -> params -> Redis, else PostgreSQL (store) -> columns, rows, fleet, chart -> JSON, SVG, PNG -> fresh     (kept for when PostgreSQL is away)
//! PATCH of a server -> edit -> PostgreSQL, Redis
//! what people do about alerts -> acknowledge, silences -> PostgreSQL; a verdict also -> outlet -> Kafka analyzer.feedback
//! POST .../collect -> collect -> outlet -> Kafka collect.requests
//! Kafka metrics.10s, alerts -> live: follow > publish > stream -> server-sent events
//! web/dist (built by npm, embedded) -> pages
//! ```
//! Invariant: an answer is true now or says that it is stale.

mod config;
mod error;
mod metrics;

mod app;
mod format;
mod fresh;
mod keep;
mod matchers;
mod outlet;
mod params;
mod sent;

mod acknowledge;
mod chart;
mod collect;
mod cursor;
mod edit;
mod events;
mod fleet;
mod incidents;
mod names;
mod query;
mod rate;
mod samples;
mod servers;
mod silences;
mod views;

mod live;
mod openapi;
mod pages;
mod routes;
mod watch;

use std::{sync::Arc, time::SystemTime};

pub use config::Config;
pub use error::Error;
use tidewatch_service_kit::{
    Deps, Shutdown, breaker,
    http::{ServeLimits, serve},
};
use tidewatch_store::Store;
use tokio::{net::TcpListener, sync::mpsc};

use app::App;
use metrics::Metrics;

/// Binds, then answers until the wish to stop.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let address = config.visualizer_listen;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })?;
    run_on(listener, config, deps, shutdown).await
}

/// The same on a listener that is bound already.
pub async fn run_on(
    listener: TcpListener,
    config: Config,
    deps: Deps,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let store = Store::new(&config.store, "visualizer", &deps.metrics, &breaker::gauges(&deps.metrics))
        .map_err(Error::Store)?;
    let metrics = Metrics::new(&deps.metrics);
    let app = App::new(&config, store, metrics.clone(), live::Events::default(), shutdown.clone(), now);
    let app = Arc::new(app);

    let (records, queue) = mpsc::channel(live::QUEUE);
    let follower = live::follow::Follower {
        kafka: config.kafka,
        records,
        metrics,
        health: deps.health.component("visualizer live stream"),
        shutdown: shutdown.clone(),
    };
    let follower = std::thread::Builder::new()
        .name("visualizer-live".to_owned())
        .spawn(move || follower.run())
        .map_err(Error::Thread)?;
    let publisher = tokio::spawn(live::publish::publish(Arc::clone(&app), queue));
    let watcher = tokio::spawn(watch::watch(Arc::clone(&app), deps.health.component("visualizer history")));

    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "visualizer answers");
    }
    serve(listener, routes::router(app), ServeLimits::default(), shutdown).await;

    // the follower lets go of the queue, which ends the publisher
    let _ = tokio::task::spawn_blocking(move || follower.join()).await;
    let _ = tokio::join!(publisher, watcher);
    Ok(())
}

/// Milliseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
