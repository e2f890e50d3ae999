//! The data collector: pulls this host's metrics, receives anybody's over HTTP, publishes both as frames.
//!
//! ```text
//! collect.requests -> requests -+
//! /proc, /sys ------------------+-> collect -> announce -> backlog ---+
//!                                                |                    +-> publish -> metrics.raw, metrics.layouts (acks=all)
//!                                                +- layout -----------+
//! POST /api/v1/ingest -> receive -> normalize ------------------------+
//! ```
//! Promise: an HTTP 2xx means that Kafka has it; what is collected while Kafka is away is kept, bounded, and sent later.

pub mod announce;
mod backlog;
pub mod collect;
pub mod config;
pub mod error;
mod frame_size;
pub mod metrics;
pub mod normalize;
pub mod publish;
pub mod receive;
mod requests;

use std::{sync::Arc, thread};

use tidewatch_service_kit::{Deps, Shutdown};
use tokio::net::TcpListener;

pub use config::Config;
pub use error::Error;

/// Listens on the configured address and works until the wish to stop.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let address = config.ingest_listen;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    run_on(listener, config, deps, shutdown).await
}

/// The same on a listener that is bound already.
pub async fn run_on(
    listener: TcpListener,
    config: Config,
    deps: Deps,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let metrics = metrics::Metrics::new(&deps.metrics);
    let publisher = publish::Publisher::new(&config, &deps, metrics.clone())?;
    let backlog = Arc::new(backlog::Backlog::new(&config, metrics.clone()));
    let layouts = Arc::new(announce::Layouts::new(&config, metrics.clone()));
    let collector = if config.collect {
        let (layouts, backlog) = (Arc::clone(&layouts), Arc::clone(&backlog));
        Some(collect::start(&config, layouts, backlog, metrics.clone()).map_err(Error::Collector)?)
    } else {
        None
    };
    if let Some(collector) = collector.as_ref().filter(|_| config.collect_requests) {
        hear_requests(collector, &config, &metrics, &shutdown).map_err(Error::Collector)?;
    }
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "ingest listens");
    }
    let watch = publish::watch(publisher.clone(), deps.health.component("ingest"), shutdown.clone());
    let forward = backlog::forward(Arc::clone(&backlog), publisher.clone(), shutdown.clone());
    let announce = announce::announce(layouts, publisher.clone(), shutdown.clone());
    let receive = receive::serve(listener, receive::router(&config, publisher, metrics), shutdown.clone());
    let stop = async {
        shutdown.wait().await;
        drop(collector);
    };
    tokio::join!(watch, forward, announce, receive, stop);
    Ok(())
}

/// Starts the thread that reads requests to collect; it ends by itself after the wish to stop.
fn hear_requests(
    collector: &collect::Running,
    config: &Config,
    metrics: &metrics::Metrics,
    shutdown: &Shutdown,
) -> std::io::Result<()> {
    let follower = requests::Follower {
        kafka: config.kafka.clone(),
        server: collector.server().to_owned(),
        collector: collector.asking(),
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
    };
    thread::Builder::new().name("collect-requests".into()).spawn(move || follower.run()).map(drop)
}
