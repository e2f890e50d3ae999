//! `tidewatch-notify`: the notifier as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = clap::Command::new("tidewatch-notify")
        .about("Sends the transitions of alerts to Alertmanager and to webhooks");
    tidewatch_service_kit::service::main(command, tidewatch_notify::run)
}
