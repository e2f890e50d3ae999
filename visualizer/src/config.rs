//! Settings of the visualizer: where it listens, how to reach its sources, and what one caller may ask of it.
//!
//! In: flags, environment, file. Out: [`Config`]. Keeps: every limit has a default that holds on a small machine.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use tidewatch_service_kit::{config::duration, kafka::KafkaConfig};
use tidewatch_store::StoreConfig;

/// Everything the visualizer can be told.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address of the query API, the live stream and the pages
    #[arg(long, env = "TIDEWATCH_VISUALIZER_LISTEN", default_value = "127.0.0.1:8082", value_name = "ADDR")]
    pub visualizer_listen: SocketAddr,
    /// Queries answered at once; further ones wait for a moment, then get 503
    #[arg(
        long,
        env = "TIDEWATCH_VISUALIZER_CONCURRENCY",
        default_value_t = 32,
        value_parser = positive,
        value_name = "N"
    )]
    pub visualizer_concurrency: usize,
    /// Live streams open at once; further ones get 503
    #[arg(
        long,
        env = "TIDEWATCH_VISUALIZER_LIVE_CLIENTS",
        default_value_t = 512,
        value_parser = positive,
        value_name = "N"
    )]
    pub visualizer_live_clients: usize,
    /// Points (series times steps) that one chart query may ask for
    #[arg(
        long,
        env = "TIDEWATCH_VISUALIZER_MAX_POINTS",
        default_value_t = 1_000_000,
        value_parser = positive,
        value_name = "N"
    )]
    pub visualizer_max_points: usize,
    /// Answers kept for the time when PostgreSQL is away
    #[arg(
        long,
        env = "TIDEWATCH_VISUALIZER_KEPT_ANSWERS",
        default_value_t = 512,
        value_parser = positive,
        value_name = "N"
    )]
    pub visualizer_kept_answers: usize,
    /// Memory for those answers, MiB
    #[arg(
        long,
        env = "TIDEWATCH_VISUALIZER_KEPT_MIB",
        default_value_t = 64,
        value_parser = positive,
        value_name = "MIB"
    )]
    pub visualizer_kept_mib: usize,
    /// A server that has sent nothing for so long is silent
    #[arg(long, env = "TIDEWATCH_VISUALIZER_SILENT_AFTER", default_value = "60s", value_parser = duration)]
    pub visualizer_silent_after: Duration,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub store: StoreConfig,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("`{text}` is no number above 0")),
    }
}

#[cfg(test)]
mod tests {
    use tidewatch_service_kit::config::assemble;

    use super::*;

    #[test]
    fn a_limit_of_nothing_is_refused() {
        for flag in ["visualizer-concurrency", "visualizer-live-clients", "visualizer-max-points"] {
            let refused = assemble::<Config>("visualizer", &[(flag, "0")]);
            assert!(refused.is_err_and(|e| e.to_string().contains("no number above 0")), "{flag}");
        }
    }
}
