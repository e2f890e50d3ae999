//! What every service does the same way: parse its config, log, count, report its health, talk to Kafka, retry,
//! break the circuit, answer HTTP, and stop in an orderly way.
//!
//! ```text
//! main -> config::parse (bad: exit 64) -> telemetry -> admin listener -> run(config, deps, shutdown) -> drain
//! ```

pub mod admin;
pub mod breaker;
pub mod config;
pub mod health;
pub mod http;
pub mod kafka;
pub mod metrics;
pub mod retry;
pub mod secret;
pub mod service;
pub mod shutdown;
pub mod telemetry;

pub use breaker::{Breaker, BreakerError};
pub use health::Health;
pub use metrics::Metrics;
pub use secret::Secret;
pub use service::Deps;
pub use shutdown::Shutdown;
