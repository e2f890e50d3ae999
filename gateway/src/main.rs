//! The gateway as a program of its own: settings, logs, admin address, then [`tidewatch_gateway::run`].

use std::process::ExitCode;

use clap::Command;

fn main() -> ExitCode {
    tidewatch_service_kit::service::main(
        Command::new("tidewatch-gateway")
            .about("The one door: authenticates, limits, authorizes, routes, forwards"),
        tidewatch_gateway::run,
    )
}
