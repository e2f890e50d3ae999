//! `tidewatch up`: every service in one process, watching this very machine.
//!
//! Topics > tables > keys > services > ready. Prints three lines on standard output when it is ready: the sign-in link,
//! where the admin key lies, Kafka's address; everything else is the log. Ends when told to, or when a service failed.

use std::{
    fmt::Display,
    fs::OpenOptions,
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use tidewatch_gateway::keys::{self, Role};
use tidewatch_service_kit::{
    Deps, Shutdown, admin, breaker,
    config::{ConfigError, EXIT_CONFIG, duration},
    kafka::{KafkaConfig, create_topics},
    retry,
    service::chain,
};
use tidewatch_store::{Store, StoreConfig};
use tokio::{net::TcpListener, task::JoinSet};

use crate::assemble;

#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    store: StoreConfig,
    /// Folder of keys and other state
    #[arg(long, env = "TIDEWATCH_STATE", default_value = ".tidewatch", value_name = "DIR")]
    state: PathBuf,
    /// Address of the pages, the API and ingest
    #[arg(long, env = "TIDEWATCH_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: SocketAddr,
    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "TIDEWATCH_ADMIN_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDR")]
    admin_listen: SocketAddr,
    /// Partitions of topics that have to be made
    #[arg(long, env = "TIDEWATCH_PARTITIONS", default_value = "8", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Replicas of topics that have to be made
    #[arg(long, env = "TIDEWATCH_REPLICATION", default_value = "1", value_parser = clap::value_parser!(i32).range(1..=9))]
    replication: i32,
    /// How often this machine is looked at
    #[arg(long, env = "TIDEWATCH_INGEST_COLLECT_INTERVAL", default_value = "1s", value_name = "TIME")]
    collect_interval: String,
    /// A window closes when its server's own time passes its end by this
    #[arg(long, env = "TIDEWATCH_WINDOW_GRACE", default_value = "1s", value_name = "TIME")]
    window_grace: String,
    /// Time between commits of windows
    #[arg(
        long,
        env = "TIDEWATCH_STREAM_PROCESSOR_COMMIT_INTERVAL",
        default_value = "200ms",
        value_name = "TIME"
    )]
    commit_interval: String,
    /// How long the first record of a transaction in PostgreSQL waits for company
    #[arg(long, env = "TIDEWATCH_SINK_BATCH_AGE", default_value = "200ms", value_name = "TIME")]
    batch_age: String,
    /// How long to wait for Kafka and PostgreSQL
    #[arg(long, default_value = "60s", value_parser = duration)]
    wait: Duration,
}

/// How long a stop may take.
const DRAIN: Duration = Duration::from_secs(12);

pub(crate) async fn run(args: UpArgs) -> ExitCode {
    // what is wrong with the settings or the addresses is said before anything starts
    let listeners = match Listeners::bind(&args).await {
        Ok(listeners) => listeners,
        Err(error) => return refuse(&error),
    };
    let shutdown = Shutdown::new();
    let result = async {
        shutdown.on_signals().context("listen for signals")?;
        prepare(&args).await?;
        serve(&args, listeners, &shutdown).await
    };
    match result.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "tidewatch stops");
            crate::fail(&error)
        }
    }
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    crate::fail(error);
    ExitCode::from(EXIT_CONFIG)
}

/// Every address, bound before anything else happens.
struct Listeners {
    gateway: TcpListener,
    admin: TcpListener,
    ingest: TcpListener,
    visualizer: TcpListener,
}

impl Listeners {
    async fn bind(args: &UpArgs) -> anyhow::Result<Self> {
        let bind = async |what: &str, address: SocketAddr| {
            let bound = TcpListener::bind(address).await;
            bound.with_context(|| format!("{address} for {what} is in use or not allowed"))
        };
        let inside = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            gateway: bind("the gateway", args.listen).await?,
            admin: bind("metrics", args.admin_listen).await?,
            ingest: bind("ingest", inside).await?,
            visualizer: bind("the visualizer", inside).await?,
        })
    }
}

/// Topics and tables; both are waited for.
async fn prepare(args: &UpArgs) -> anyhow::Result<()> {
    let specs = args.kafka.topics().all(args.partitions);
    let made =
        patiently(args.wait, "kafka", async || create_topics(&args.kafka, &specs, args.replication).await)
            .await?;
    if !made.is_empty() {
        tracing::info!(topics = made.len(), "topics created");
    }
    let deps = Deps::default();
    let store = Store::new(&args.store, "up", &deps.metrics, &breaker::gauges(&deps.metrics))?;
    patiently(args.wait, "postgresql", async || tidewatch_store::migrate(store.history.pool()).await).await
}

/// Tries until it works or the time is up.
async fn patiently<T, E: Display>(
    wait: Duration,
    peer: &str,
    call: impl AsyncFn() -> Result<T, E>,
) -> anyhow::Result<T> {
    let deadline = tokio::time::Instant::now() + wait;
    let mut attempt = 0;
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(error) if tokio::time::Instant::now() < deadline => {
                tracing::info!(peer, %error, "wait for peer");
                tokio::time::sleep(retry::pause(attempt)).await;
                attempt += 1;
            }
            Err(error) => return Err(anyhow!("{peer} is not there after {wait:?}: {error}")),
        }
    }
}

/// The admin key: made once, kept in a file only its owner can read; the key file holds its hash.
fn admin_key(state: &Path, keys_file: &Path) -> anyhow::Result<PathBuf> {
    let path = state.join("admin.key");
    if path.exists() && keys_file.exists() {
        return Ok(path);
    }
    std::fs::create_dir_all(state).with_context(|| format!("create {}", state.display()))?;
    let key = keys::replace(keys_file, "admin", Role::Admin)
        .with_context(|| format!("add key to {}", keys_file.display()))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("write {}", path.display()))?;
    writeln!(file, "{}", key.reveal()).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

#[expect(clippy::print_stdout, reason = "three lines tell the starter where everything is")]
async fn serve(args: &UpArgs, listeners: Listeners, shutdown: &Shutdown) -> anyhow::Result<()> {
    let deps = Deps::default();
    let keys_file = args.state.join("keys.yaml");
    let admin_key = admin_key(&args.state, &keys_file)?;
    let code = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let code_hash = keys::hash_hex(&code);
    let address = listeners.gateway.local_addr()?;
    let admin_address = listeners.admin.local_addr()?;

    let mut services = JoinSet::new();
    start(&mut services, args, listeners, &deps, shutdown, &Doors { keys_file, code_hash })?;
    let ready = async {
        while !deps.health.is_ready() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        biased;
        () = shutdown.wait() => {}
        () = ready => {
            tracing::info!(%address, admin = %admin_address, "tidewatch is ready");
            println!("ready http://{address}/sign-in?code={code}");
            println!("admin-key {}", admin_key.display());
            println!("kafka {}", args.kafka.kafka_brokers);
        }
        ended = services.join_next() => return Err(first_end(ended, shutdown)),
    }
    tokio::select! {
        // services end because of the wish, so it has to be looked at first
        biased;
        () = shutdown.wait() => {}
        ended = services.join_next() => return Err(first_end(ended, shutdown)),
    }
    let all = async {
        let mut result = Ok(());
        while let Some(ended) = services.join_next().await {
            if let Ok((name, Err(error))) = ended {
                result = Err(anyhow!("{name}: {error}"));
            }
        }
        result
    };
    tokio::time::timeout(DRAIN, all).await.unwrap_or_else(|_| {
        tracing::warn!(timeout = ?DRAIN, "drain takes too long, stop anyway");
        Ok(())
    })
}

type Ended = Option<Result<(&'static str, Result<(), String>), tokio::task::JoinError>>;

/// A service that ends by itself takes the others with it: half a pipeline looks alive and is not.
fn first_end(ended: Ended, shutdown: &Shutdown) -> anyhow::Error {
    shutdown.trigger();
    match ended {
        Some(Ok((name, Err(error)))) => anyhow!("{name}: {error}"),
        Some(Ok((name, Ok(())))) => anyhow!("{name} ended by itself"),
        Some(Err(error)) => anyhow!("a service panicked: {error}"),
        None => anyhow!("no service was started"),
    }
}

/// What the gateway needs to know of who may come in.
struct Doors {
    keys_file: PathBuf,
    code_hash: String,
}

/// The settings of every service, in the order a sample meets them.
struct Settings {
    ingest: tidewatch_ingest::Config,
    processor: tidewatch_stream_processor::Config,
    analyzer: tidewatch_analyzer::Config,
    notify: tidewatch_notify::Config,
    sink: tidewatch_sink::Config,
    visualizer: tidewatch_visualizer::Config,
    gateway: tidewatch_gateway::Config,
}

impl Settings {
    fn assemble(
        args: &UpArgs,
        ingest: SocketAddr,
        visualizer: SocketAddr,
        doors: &Doors,
    ) -> Result<Self, ConfigError> {
        let brokers = ("kafka-brokers", args.kafka.kafka_brokers.as_str());
        let prefix = ("topic-prefix", args.kafka.topic_prefix.as_str());
        let postgres = ("postgres-url", args.store.postgres_url.reveal());
        let redis = ("redis-url", args.store.redis_url.reveal());
        let interval = ("collect-interval", args.collect_interval.as_str());
        let grace = ("window-grace", args.window_grace.as_str());
        let commits = ("commit-interval", args.commit_interval.as_str());
        let age = ("sink-batch-age", args.batch_age.as_str());
        Ok(Self {
            ingest: assemble("ingest", &[brokers, prefix, interval])?,
            processor: assemble("stream-processor", &[brokers, prefix, grace, commits])?,
            analyzer: assemble("analyzer", &[brokers, prefix])?,
            notify: assemble("notify", &[brokers, prefix])?,
            sink: assemble("sink", &[brokers, prefix, postgres, redis, age])?,
            visualizer: assemble("visualizer", &[brokers, prefix, postgres, redis])?,
            gateway: assemble(
                "gateway",
                &[
                    ("keys", &doors.keys_file.display().to_string()),
                    ("sign-in-code-sha256", &doors.code_hash),
                    ("ingest-upstreams", &ingest.to_string()),
                    ("visualizer-upstreams", &visualizer.to_string()),
                ],
            )?,
        })
    }
}

/// Starts every service.
fn start(
    services: &mut JoinSet<(&'static str, Result<(), String>)>,
    args: &UpArgs,
    listeners: Listeners,
    deps: &Deps,
    shutdown: &Shutdown,
    doors: &Doors,
) -> anyhow::Result<()> {
    let (ingest, visualizer) = (listeners.ingest.local_addr()?, listeners.visualizer.local_addr()?);
    let settings = Settings::assemble(args, ingest, visualizer, doors)?;

    macro_rules! spawn {
        ($name:literal, $run:expr) => {{
            let run = $run;
            services.spawn(async move { ($name, run.await.map_err(|error| chain(&error))) });
        }};
    }
    let (d, s) = (|| deps.clone(), || shutdown.clone());
    tokio::spawn(admin::serve(listeners.admin, d(), s()));
    spawn!("ingest", tidewatch_ingest::run_on(listeners.ingest, settings.ingest, d(), s()));
    spawn!("stream-processor", tidewatch_stream_processor::run(settings.processor, d(), s()));
    spawn!("analyzer", tidewatch_analyzer::run(settings.analyzer, d(), s()));
    spawn!("notify", tidewatch_notify::run(settings.notify, d(), s()));
    spawn!("sink", tidewatch_sink::run(settings.sink, d(), s()));
    spawn!("visualizer", tidewatch_visualizer::run_on(listeners.visualizer, settings.visualizer, d(), s()));
    spawn!("gateway", tidewatch_gateway::run_on(listeners.gateway, settings.gateway, d(), s()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn every_setting_that_up_sets_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let doors = Doors { keys_file: folder.path().join("keys.yaml"), code_hash: keys::hash_hex("code") };
        keys::create(&doors.keys_file, "admin", Role::Admin).unwrap();
        let matches = UpArgs::augment_args(clap::Command::new("up")).get_matches_from(["up"]);
        let args = UpArgs::from_arg_matches(&matches).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let settings = Settings::assemble(&args, address, address, &doors);
        assert!(settings.is_ok(), "{}", settings.err().map(|error| error.to_string()).unwrap_or_default());
    }
}
