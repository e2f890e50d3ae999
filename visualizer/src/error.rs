//! Why the visualizer ends. Sources that are away are no reason: they are waited for.

use std::net::SocketAddr;

/// What ends [`crate::run`] before it was asked to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not ours to take.
    #[error("bind visualizer address {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    /// The settings of the store do not make sense; nothing to wait for.
    #[error("open store")]
    Store(#[source] tidewatch_store::Error),
    /// No thread for the live stream.
    #[error("start live thread")]
    Thread(#[source] std::io::Error),
}
