//! The one door: every request of a browser, a script or a collector comes in here.
//!
//! ```text
//! request -> authenticate -> limit -> authorize -> route -> forward -> ingest | visualizer
//!            who asks?       a token  may he?      whose     one of the instances: health, breaker, retry
//!                |                                   |
//!            key file, cookie                   session, sign-in: answered here
//! ```
//! Keeps: nothing below `/api` reaches a service without a role that allows it; no credential of a client reaches a
//! service; everything a client can make us remember is bounded.

mod config;
mod error;
pub mod keys;
mod peer;

mod authenticate;
mod authorize;
mod forward;
mod limit;
mod route;
mod session;

mod metrics;

use tidewatch_service_kit::{Deps, Shutdown};
use tokio::net::TcpListener;

pub use config::Config;
pub use error::Error;
pub use limit::Rate;
pub use peer::Network;

/// Listens on the configured address and works until the wish to stop.
pub async fn run(config: Config, deps: Deps, shutdown: Shutdown) -> Result<(), Error> {
    let address = config.gateway_listen;
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
    let door = route::Door::new(&config, &deps)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, keys = config.keys.keys().len(), "gateway listens");
    }
    let watch_keys = config.keys.clone().watch(KEY_FILE_PERIOD, shutdown.clone());
    let watch_instances = door.watch_instances(config.health_interval, shutdown.clone());
    let tidy = door.tidy(shutdown.clone());
    let serve = route::serve(listener, door.clone(), shutdown.clone());
    tokio::join!(watch_keys, watch_instances, tidy, serve);
    Ok(())
}

/// How often to look whether the key file changed: a revoked key is good for so long at most.
const KEY_FILE_PERIOD: std::time::Duration = std::time::Duration::from_secs(2);
