//! `tidewatch-analyzer`: the analyzer as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = clap::Command::new("tidewatch-analyzer")
        .about("Learns what is normal in metrics.10s, watches rules, publishes anomalies and alerts");
    tidewatch_service_kit::service::main(command, tidewatch_analyzer::run)
}
