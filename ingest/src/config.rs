//! The settings of ingest. The words at each field are its documentation.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args};
use tidewatch_schemas::{Limits, ServerName};
use tidewatch_service_kit::{config, kafka::KafkaConfig};

#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub kafka: KafkaConfig,

    /// Address of the HTTP door, POST /api/v1/ingest
    #[arg(long, env = "TIDEWATCH_INGEST_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDR")]
    pub ingest_listen: SocketAddr,
    /// The largest body of a request, bytes
    #[arg(long, env = "TIDEWATCH_INGEST_BODY_BYTES", default_value_t = 4 << 20, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1_024..))]
    pub ingest_body_bytes: u32,
    /// The most objects in one request
    #[arg(long, env = "TIDEWATCH_INGEST_OBJECTS", default_value_t = 10_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub ingest_objects: u32,
    /// What all requests that wait for Kafka may hold together, bytes; more is told 503 queue_full
    #[arg(long, env = "TIDEWATCH_INGEST_QUEUE_BYTES", default_value_t = 128 << 20, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1 << 20..))]
    pub ingest_queue_bytes: u32,
    /// How long a request waits for Kafka before it is told 503
    #[arg(long, env = "TIDEWATCH_INGEST_ACK_TIMEOUT", default_value = "4s", value_name = "TIME",
          value_parser = at_least_a_second)]
    pub ingest_ack_timeout: Duration,

    /// Whether to collect the metrics of this host
    #[arg(long, env = "TIDEWATCH_INGEST_COLLECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub collect: bool,
    /// How often to collect, aligned to the clock
    #[arg(long, env = "TIDEWATCH_INGEST_COLLECT_INTERVAL", default_value = "10s", value_name = "TIME",
          value_parser = interval)]
    pub collect_interval: Duration,
    /// Whether what is collected here names its layout, once Kafka has it, rather than carry it in each frame
    #[arg(long, env = "TIDEWATCH_INGEST_COLLECT_LAYOUT_IDS", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub collect_layout_ids: bool,
    /// Whether to collect at once, too, when somebody asks for this server
    #[arg(long, env = "TIDEWATCH_INGEST_COLLECT_REQUESTS", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub collect_requests: bool,
    /// The server's name on what is collected here [default: the host's name]
    #[arg(long, env = "TIDEWATCH_INGEST_SERVER_NAME", value_name = "NAME", value_parser = server_name)]
    pub server_name: Option<ServerName>,
    /// While Kafka is away, keep what was collected for so long
    #[arg(long, env = "TIDEWATCH_INGEST_BACKLOG_AGE", default_value = "1h", value_name = "TIME",
          value_parser = config::duration)]
    pub backlog_age: Duration,
    /// While Kafka is away, keep so many bytes of what was collected; the oldest goes first
    #[arg(long, env = "TIDEWATCH_INGEST_BACKLOG_BYTES", default_value_t = 64 << 20, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1 << 20..))]
    pub backlog_bytes: u32,
    /// Where the proc file system of the host to collect is mounted
    #[arg(long, env = "TIDEWATCH_INGEST_PROC_ROOT", default_value = "/proc", value_name = "PATH")]
    pub proc_root: PathBuf,
    /// Where its sys file system is mounted
    #[arg(long, env = "TIDEWATCH_INGEST_SYS_ROOT", default_value = "/sys", value_name = "PATH")]
    pub sys_root: PathBuf,
    /// Where its root file system is mounted, for the sizes of its file systems
    #[arg(long, env = "TIDEWATCH_INGEST_HOST_ROOT", default_value = "/", value_name = "PATH")]
    pub host_root: PathBuf,
}

impl Config {
    /// What one request may hold.
    pub fn request_limits(&self) -> crate::normalize::RequestLimits {
        crate::normalize::RequestLimits {
            names: Limits::default(),
            objects: self.ingest_objects as usize,
            frame_bytes: crate::frame_size::MAX_FRAME,
            request_bytes: 16 << 20,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_millis(100), "100ms")
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    at_least(text, Duration::from_secs(1), "1s")
}

fn at_least(text: &str, least: Duration, words: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    if time < least { Err(format!("`{text}` is shorter than {words}")) } else { Ok(time) }
}

fn server_name(text: &str) -> Result<ServerName, String> {
    ServerName::parse(text).map_err(|reason| format!("`{text}` is no name of a server: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(set: &[(&str, &str)]) -> Result<Config, String> {
        config::assemble::<Config>("ingest", set).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_good() {
        let config = parse(&[]).unwrap();
        assert!(config.collect && config.collect_layout_ids && config.collect_requests);
        assert_eq!(config.collect_interval, Duration::from_secs(10));
        assert_eq!(config.ingest_body_bytes, 4_194_304);
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        for (flag, value, part) in [
            ("collect-interval", "10ms", "shorter than 100ms"),
            ("ingest-ack-timeout", "1ms", "shorter than 1s"),
            ("server-name", " a", "bad_server_name"),
            ("ingest-body-bytes", "10", "1024"),
            ("collect", "perhaps", "perhaps"),
        ] {
            let message = parse(&[(flag, value)]).unwrap_err();
            assert!(message.contains(part), "{flag}={value}: {message}");
        }
        assert!(!parse(&[("collect", "false")]).unwrap().collect);
        assert!(!parse(&[("collect-layout-ids", "false")]).unwrap().collect_layout_ids);
        assert!(!parse(&[("collect-requests", "false")]).unwrap().collect_requests);
    }
}
