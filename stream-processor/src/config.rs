//! Settings of the stream processor.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use tidewatch_service_kit::{config::duration, kafka::KafkaConfig};

use tidewatch_schemas::topics::tier_name;

use crate::{Delivery, Error, window::WindowSettings};

/// Who fetches the records of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Consumer {
    /// Our own reader over plaintext connections, librdkafka over others
    Auto,
    /// Librdkafka in any case
    Librdkafka,
}

#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub kafka: KafkaConfig,
    /// Name of this instance: unique in the group, the same after a restart
    #[arg(
        long = "stream-processor-instance",
        env = "TIDEWATCH_STREAM_PROCESSOR_INSTANCE",
        value_name = "NAME"
    )]
    pub instance: Option<String>,
    /// Lengths of the windows, ascending, each a multiple of the one before; each has its topic metrics.LENGTH
    #[arg(
        long,
        env = "TIDEWATCH_WINDOW_TIERS",
        default_value = "10s,1m",
        value_delimiter = ',',
        value_parser = duration,
        value_name = "TIME,.."
    )]
    pub window_tiers: Vec<Duration>,
    /// A window closes when its server's own time passes its end by this
    #[arg(long, env = "TIDEWATCH_WINDOW_GRACE", default_value = "2s", value_parser = duration)]
    pub window_grace: Duration,
    /// A silent server's windows close after this
    #[arg(long, env = "TIDEWATCH_WINDOW_IDLE", default_value = "15s", value_parser = duration)]
    pub window_idle: Duration,
    /// A sample later than this against the broker's clock goes to metrics.late
    #[arg(long, env = "TIDEWATCH_WINDOW_LATENESS", default_value = "2m", value_parser = duration)]
    pub window_lateness: Duration,
    /// Series of one server in a minute; more go to the dead letter
    #[arg(long, env = "TIDEWATCH_WINDOW_MAX_SERIES", default_value = "20000")]
    pub window_max_series: u32,
    /// Servers of one partition in a minute, first come first served; more go to the dead letter
    #[arg(long, env = "TIDEWATCH_WINDOW_MAX_SERVERS", default_value = "20000")]
    pub window_max_servers: u32,
    /// Longer windows that are rolled up from the one before: the first from the longest of the above; none = no rollup
    #[arg(
        long,
        env = "TIDEWATCH_WINDOW_ROLLUPS",
        default_value = "5m,1h",
        value_delimiter = ',',
        value_parser = rollup,
        value_name = "TIME,.."
    )]
    pub window_rollups: Vec<Option<Duration>>,
    /// Count what is later than window-lateness after all, as deltas; a repeat is not recognised any more then
    #[arg(long, env = "TIDEWATCH_WINDOW_LATE_BACKFILL")]
    pub late_backfill: bool,
    /// YAML file of filters and transformations before the windows; taken over without a restart when it changes
    #[arg(long, env = "TIDEWATCH_WINDOW_FILTERS", value_name = "FILE", value_parser = filters)]
    pub window_filters: Option<PathBuf>,
    /// Threads, each a member of the group with partitions of its own
    #[arg(
        long = "stream-processor-threads",
        env = "TIDEWATCH_STREAM_PROCESSOR_THREADS",
        default_value = "1",
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    pub threads: u16,
    /// Who fetches the input; the group and the commits are librdkafka's in any case
    #[arg(
        long = "stream-processor-consumer",
        env = "TIDEWATCH_STREAM_PROCESSOR_CONSUMER",
        default_value = "auto",
        value_enum
    )]
    pub consumer: Consumer,
    /// What a reader of the output may see after a crash
    #[arg(
        long = "stream-processor-delivery",
        env = "TIDEWATCH_STREAM_PROCESSOR_DELIVERY",
        default_value = "exactly-once",
        value_enum
    )]
    pub delivery: Delivery,
    /// Time between commits: what was emitted becomes visible with one
    #[arg(long, env = "TIDEWATCH_STREAM_PROCESSOR_COMMIT_INTERVAL", default_value = "500ms", value_parser = duration)]
    pub commit_interval: Duration,
}

impl Config {
    pub(crate) fn window_settings(&self) -> WindowSettings {
        let millis = |d: Duration| d.as_millis() as i64;
        WindowSettings {
            grace_ms: millis(self.window_grace),
            idle_ms: millis(self.window_idle),
            lateness_ms: millis(self.window_lateness),
            max_series: self.window_max_series,
            max_servers: self.window_max_servers,
            tiers_ms: self.window_tiers.iter().copied().map(millis).collect(),
            backfill: self.late_backfill,
            filter: 0,
        }
    }

    pub(crate) fn rollups_ms(&self) -> Vec<i64> {
        self.window_rollups.iter().flatten().map(|rollup| rollup.as_millis() as i64).collect()
    }

    /// Whether the tiers fit into each other; clap sees each alone.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut tiers = self.window_settings().tiers_ms;
        tiers.extend(self.rollups_ms());
        let fit = |pair: &[i64]| pair[0] > 0 && pair[1] > pair[0] && pair[1] % pair[0] == 0;
        if tiers.first().is_some_and(|first| *first >= 1_000) && tiers.windows(2).all(fit) {
            return Ok(());
        }
        Err(Error::Tiers(tiers.into_iter().map(tier_name).collect::<Vec<_>>().join(",")))
    }

    /// The instance's name; the host's unless told otherwise.
    pub(crate) fn instance(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
        self.instance
            .clone()
            .or_else(|| host().ok())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "stream-processor".into())
    }
}

fn rollup(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" { Ok(None) } else { duration(text).map(Some) }
}

/// A file that is no good is told of before anything starts.
fn filters(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    crate::consume::filters::read(&path).map(|_| path)
}
