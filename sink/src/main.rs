//! `tidewatch-sink`: the sink as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = clap::Command::new("tidewatch-sink")
        .about("Writes windows, alerts and anomalies to PostgreSQL and keeps Redis fresh");
    tidewatch_service_kit::service::main(command, tidewatch_sink::run)
}
