//! The visualizer as a program of its own: settings, logs, admin address, then [`tidewatch_visualizer::run`].

use std::process::ExitCode;

use clap::Command;

fn main() -> ExitCode {
    tidewatch_service_kit::service::main(
        Command::new("tidewatch-visualizer")
            .about("Answers queries from Redis and PostgreSQL, streams live windows, serves the pages"),
        tidewatch_visualizer::run,
    )
}
