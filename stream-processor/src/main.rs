//! `tidewatch-stream-processor`: the processor as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let command = clap::Command::new("tidewatch-stream-processor")
        .about("Windows metrics.raw into metrics.10s and metrics.1m, exactly once");
    tidewatch_service_kit::service::main(command, tidewatch_stream_processor::run)
}
