//! From `main` to `run` and back: the same way for every service.
//!
//! Settings (bad: one sentence, exit 64, nothing bound) > logs > admin listener > `run` > drain with a timeout.

use std::{ffi::OsString, future::Future, process::ExitCode};

use clap::{Args, Command, error::ErrorKind};
use tokio::net::TcpListener;

use crate::{
    Health, Metrics, Shutdown, admin,
    config::{self, ConfigError, EXIT_CONFIG},
    telemetry,
};

/// The version every binary reports.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a service is given besides its settings; one for each process.
#[derive(Debug, Clone, Default)]
pub struct Deps {
    pub metrics: Metrics,
    pub health: Health,
}

/// The body of a service's `main`.
pub fn main<C, F, E>(command: Command, run: impl FnOnce(C, Deps, Shutdown) -> F) -> ExitCode
where
    C: Args + std::fmt::Debug,
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    main_with(command, std::env::args_os().skip(1), run)
}

/// The same with arguments of the caller's, without the program's name.
pub fn main_with<C, F, E>(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(C, Deps, Shutdown) -> F,
) -> ExitCode
where
    C: Args + std::fmt::Debug,
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    let (common, config) = match config::parse::<C>(command, args) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error),
    };
    if common.check_config {
        return ExitCode::SUCCESS;
    }
    telemetry::init(common.log_format, &common.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start runtime");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let shutdown = Shutdown::new();
        if let Err(error) = shutdown.on_signals() {
            tracing::error!(%error, "listen for signals");
            return ExitCode::FAILURE;
        }
        let listener = match TcpListener::bind(common.admin_listen).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(address = %common.admin_listen, %error, "bind admin address");
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        let deps = Deps::default();
        tracing::info!(version = VERSION, admin = %listener.local_addr().unwrap_or(common.admin_listen), "service starts");
        tokio::spawn(admin::serve(listener, deps.clone(), shutdown.clone()));
        drain(run(config, deps, shutdown.clone()), shutdown, common.drain_timeout).await
    });
    // a thread stuck in a client library must not keep a stopped process alive
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Runs to the end; after the wish to stop, for `timeout` at most.
async fn drain<E: std::error::Error + 'static>(
    run: impl Future<Output = Result<(), E>>,
    shutdown: Shutdown,
    timeout: std::time::Duration,
) -> ExitCode {
    let late = async {
        shutdown.wait().await;
        tokio::time::sleep(timeout).await;
    };
    tokio::select! {
        result = run => match result {
            Ok(()) => {
                tracing::info!("service stopped");
                ExitCode::SUCCESS
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "service failed");
                if is_address(&error) { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
            }
        },
        () = late => {
            tracing::warn!(?timeout, "drain takes too long, stop anyway");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the settings, on standard error, and gives the exit code.
#[expect(clippy::print_stderr, reason = "logs are not started before the settings are good")]
pub fn refuse(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::Clap(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        // one sentence; with clap's hint at --help a message about a file's line would be four
        ConfigError::Clap(error) if error.kind() == ErrorKind::ValueValidation => {
            eprintln!("{}", error.to_string().lines().next().unwrap_or_default());
            ExitCode::from(EXIT_CONFIG)
        }
        ConfigError::Clap(error) => {
            let _ = error.print();
            ExitCode::from(EXIT_CONFIG)
        }
        other => {
            eprintln!("{other}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Whether an address that was asked for is taken or not ours: a matter of settings, not of luck.
fn is_address(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::{
        Error,
        ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied},
    };
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<Error>())
        .any(|cause| matches!(cause.kind(), AddrInUse | AddrNotAvailable | PermissionDenied))
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("listen on {address}: {source}")]
    struct Listen {
        address: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_port_in_use_is_a_matter_of_settings() {
        let failed = |kind: io::ErrorKind| Listen { address: "127.0.0.1:1", source: kind.into() };
        assert!(is_address(&failed(io::ErrorKind::AddrInUse)));
        assert!(is_address(&failed(io::ErrorKind::PermissionDenied)));
        assert!(!is_address(&failed(io::ErrorKind::TimedOut)));
    }
}
