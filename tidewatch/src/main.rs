//! `tidewatch`: every service as a subcommand, all of them as `up`, and the tools around them.

use std::{ffi::OsString, process::ExitCode};

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use tidewatch_service_kit::{config, service, telemetry};

mod acknowledge;
mod alerts;
mod backtest;
mod detect;
mod doctor;
mod export;
mod keys;
mod replay;
mod rules;
mod simulate;
mod topics;
mod up;

/// Kafka-native server monitoring.
#[derive(Debug, Parser)]
#[command(name = "tidewatch", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Run every service in one process, watching this machine
    Up(up::UpArgs),
    /// Create or check the Kafka topics
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Say in plain words what is wrong with Kafka, PostgreSQL, Redis, disk and clock
    Doctor(doctor::DoctorArgs),
    /// Write the frames of a fleet that does not exist
    Simulate(simulate::SimulateArgs),
    /// Follow the alerts, and say what they were
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Judge history in files as the analyzer would: a score for each row, pictures, alerts in words
    Detect(detect::DetectArgs),
    /// Say what rules and the learned detector would have said of the history: how many alerts, when, and why
    Backtest(backtest::BacktestArgs),
    /// Write windows of the history into a file, CSV or Parquet
    Export(export::ExportArgs),
    /// Read a stretch of history from the topics again, and give PostgreSQL what it lacks
    Replay(replay::ReplayArgs),
    /// Check, test and import rules of alerts
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Make keys for people and programs
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

/// A service: its command, and its `main`.
struct Service {
    name: &'static str,
    about: &'static str,
    command: fn(Command) -> Command,
    main: fn(Command, Vec<OsString>) -> ExitCode,
}

macro_rules! service {
    ($name:literal, $about:literal, $krate:ident) => {
        Service {
            name: $name,
            about: $about,
            command: config::command::<$krate::Config>,
            main: |command, args| service::main_with(command, args, $krate::run),
        }
    };
}

/// In the order a sample meets them.
const SERVICES: [Service; 7] = [
    service!("ingest", "Run the data collector: collect, receive, publish", tidewatch_ingest),
    service!(
        "stream-processor",
        "Run the processor: metrics.raw into windows, exactly once",
        tidewatch_stream_processor
    ),
    service!("analyzer", "Run the analyzer: windows into anomalies and alerts", tidewatch_analyzer),
    service!("notify", "Run the notifier: alerts to Alertmanager and webhooks", tidewatch_notify),
    service!("sink", "Run the sink: history to PostgreSQL, hot answers to Redis", tidewatch_sink),
    service!("visualizer", "Run the query API, the live stream and the pages", tidewatch_visualizer),
    service!("gateway", "Run the door: authenticate, authorize, limit, route", tidewatch_gateway),
];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // a service parses its own settings: file, environment and flags, with exit code 64 when they are bad
    if let Some(service) = args.first().and_then(|name| SERVICES.iter().find(|s| *name == *s.name)) {
        let command =
            Command::new(service.name).about(service.about).bin_name(format!("tidewatch {}", service.name));
        return (service.main)(command, args[1..].to_vec());
    }
    let matches = match whole_command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return service::refuse(&config::ConfigError::Clap(error)),
    };
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => run(cli.tool),
        Err(error) => service::refuse(&config::ConfigError::Clap(error)),
    }
}

/// With the services as subcommands, for help and completions.
fn whole_command() -> Command {
    let whole = Cli::command();
    SERVICES.iter().fold(whole, |whole, s| whole.subcommand((s.command)(Command::new(s.name).about(s.about))))
}

fn run(tool: Tool) -> ExitCode {
    let level = if matches!(tool, Tool::Up(_)) { "info" } else { "warn" };
    let format =
        if matches!(tool, Tool::Up(_)) { telemetry::LogFormat::Json } else { telemetry::LogFormat::Text };
    telemetry::init(format, &std::env::var("RUST_LOG").unwrap_or_else(|_| level.into()));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = match tool {
        Tool::Up(args) => {
            let code = runtime.block_on(up::run(args));
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            return code;
        }
        Tool::Topics(command) => runtime.block_on(topics::run(command)),
        Tool::Doctor(args) => runtime.block_on(doctor::run(args)),
        Tool::Simulate(args) => simulate::run(&args),
        Tool::Alerts(alerts::AlertsCommand::Tail(args)) => alerts::tail(&args),
        Tool::Alerts(alerts::AlertsCommand::Acknowledge(args)) => runtime.block_on(acknowledge::run(&args)),
        Tool::Detect(args) => detect::run(&args),
        Tool::Backtest(args) => match backtest::Books::read(&args) {
            Ok(books) => runtime.block_on(backtest::run(args, books)),
            Err(why) => return rules::refuse(&why),
        },
        Tool::Export(args) => runtime.block_on(export::run(args)),
        Tool::Replay(args) => runtime.block_on(replay::run(args)),
        Tool::Keys(command) => keys::run(command),
        // a bad file has an exit code of its own
        Tool::Rules(command) => return rules::run(command),
        Tool::Completions { shell } => {
            clap_complete::generate(shell, &mut whole_command(), "tidewatch", &mut std::io::stdout());
            Ok(())
        }
    };
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// One line on standard error: the error and its causes.
#[expect(clippy::print_stderr, reason = "a tool's errors are for the person at the terminal")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

/// Settings of a service held by this process: environment, defaults, and what `up` sets.
fn assemble<C: Args>(name: &'static str, set: &[(&str, &str)]) -> Result<C, config::ConfigError> {
    config::assemble(name, set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        whole_command().debug_assert();
    }
}
