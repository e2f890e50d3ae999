//! Logs: one JSON object a line on standard error (or text for people), level by `RUST_LOG` or `--log`.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

/// Starts logging; a second call in one process changes nothing.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // a consumer that was fenced calls its own end an ERROR: whoever polled it has heard of that already, and goes on
    let filter = match "rdkafka::consumer::base_consumer=off".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
        LogFormat::Text => builder.with_target(false).try_init(),
    };
}
