//! Why the gateway could not start. Once it runs, every failure is an answer to the one who asked.

use std::{io, net::SocketAddr};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen on {address} (--gateway-listen): {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// A secret that the signing cannot use; its length is checked with the settings.
    #[error("use session secret")]
    SessionSecret,
}
