//! The sink's settings; the field docs are the reference.

use std::{str::FromStr, time::Duration};

use clap::Args;
use tidewatch_service_kit::{config::duration, kafka::KafkaConfig};
use tidewatch_store::StoreConfig;

/// Settings of the sink.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub store: StoreConfig,
    /// Rows in a transaction at most
    #[arg(long, env = "TIDEWATCH_SINK_BATCH_ROWS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub sink_batch_rows: u32,
    /// How long the first record of a transaction waits for company
    #[arg(long, env = "TIDEWATCH_SINK_BATCH_AGE", default_value = "500ms", value_parser = duration)]
    pub sink_batch_age: Duration,
    /// Series of a server at most; a record that would make more is a dead letter
    #[arg(long, env = "TIDEWATCH_SINK_SERIES_PER_SERVER", default_value_t = 20_000, value_name = "N")]
    pub sink_series_per_server: u32,
    /// How long 10 s windows are kept
    #[arg(long, env = "TIDEWATCH_SINK_KEEP_10S", default_value = "7d", value_parser = duration)]
    pub sink_keep_10s: Duration,
    /// How long 1 m windows are kept
    #[arg(long, env = "TIDEWATCH_SINK_KEEP_1M", default_value = "30d", value_parser = duration)]
    pub sink_keep_1m: Duration,
    /// How long 5 m windows are kept
    #[arg(long, env = "TIDEWATCH_SINK_KEEP_5M", default_value = "180d", value_parser = duration)]
    pub sink_keep_5m: Duration,
    /// How long 1 h windows are kept
    #[arg(long, env = "TIDEWATCH_SINK_KEEP_1H", default_value = "730d", value_parser = duration)]
    pub sink_keep_1h: Duration,
    /// How long after its end a partition of 10 s or 1 m windows is packed, or `off`
    #[arg(long, env = "TIDEWATCH_SINK_PACK_AFTER", default_value = "6h", value_name = "DURATION")]
    pub sink_pack_after: PackAfter,
    /// How long expected bands are kept
    #[arg(long, env = "TIDEWATCH_SINK_KEEP_EXPECTED", default_value = "7d", value_parser = duration)]
    pub sink_keep_expected: Duration,
    /// How long anomalies are kept
    #[arg(long, env = "TIDEWATCH_SINK_KEEP_ANOMALIES", default_value = "30d", value_parser = duration)]
    pub sink_keep_anomalies: Duration,
}

/// A duration, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackAfter(pub Option<Duration>);

impl FromStr for PackAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            Ok(Self(None))
        } else {
            duration(text).map(Some).map(Self).map_err(|e| format!("{e}, nor `off`"))
        }
    }
}
