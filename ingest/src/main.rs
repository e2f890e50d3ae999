//! The program around [`tidewatch_ingest::run`]: settings in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = clap::Command::new("tidewatch-ingest")
        .about("Collects this host's metrics, receives others over HTTP, and publishes both to Kafka");
    tidewatch_service_kit::service::main(command, tidewatch_ingest::run)
}
