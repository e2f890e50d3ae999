//! Settings of the stream processor.

use std::time::Duration;

use clap::Args;
use tidewatch_service_kit::{config::duration, kafka::KafkaConfig};

use crate::window::WindowSettings;

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
            tiers_ms: self.window_tiers.iter().copied().map(millis).collect(),
        }
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
