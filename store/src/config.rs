//! How to reach PostgreSQL and Redis, and the connections made of it. Nothing is connected before it is used: a peer
//! that is away at the start is waited for by whoever needs it.

use std::time::Duration;

use clap::Args;
use prometheus::IntGaugeVec;
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tidewatch_service_kit::{Breaker, Metrics, Secret, config::duration};

use crate::{Error, History, Hot};

/// The same flags in every service that uses the store.
#[derive(Debug, Clone, Args)]
pub struct StoreConfig {
    /// PostgreSQL, as postgres://user:password@host:port/database
    #[arg(
        long,
        env = "TIDEWATCH_POSTGRES_URL",
        default_value = "postgres://tidewatch@127.0.0.1:25432/tidewatch",
        value_name = "URL",
        hide_env_values = true
    )]
    pub postgres_url: Secret,
    /// Redis, as redis://user:password@host:port/number
    #[arg(
        long,
        env = "TIDEWATCH_REDIS_URL",
        default_value = "redis://127.0.0.1:26379/",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis_url: Secret,
    /// What every key in Redis begins with
    #[arg(long, env = "TIDEWATCH_REDIS_PREFIX", default_value = "tw:", value_name = "PREFIX")]
    pub redis_prefix: String,
    /// Connections to PostgreSQL at most
    #[arg(long, env = "TIDEWATCH_POSTGRES_CONNECTIONS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=500), value_name = "N")]
    pub postgres_connections: u32,
    /// How long to wait for a connection to PostgreSQL
    #[arg(long, env = "TIDEWATCH_POSTGRES_CONNECT_TIMEOUT", default_value = "3s", value_parser = duration)]
    pub postgres_connect_timeout: Duration,
    /// How long a statement in PostgreSQL may take
    #[arg(long, env = "TIDEWATCH_POSTGRES_STATEMENT_TIMEOUT", default_value = "15s", value_parser = duration)]
    pub postgres_statement_timeout: Duration,
    /// How long Redis may take before PostgreSQL is asked instead
    #[arg(long, env = "TIDEWATCH_REDIS_TIMEOUT", default_value = "150ms", value_parser = duration)]
    pub redis_timeout: Duration,
}

/// Failed calls in a row after which a breaker opens, and the longest pause before the next probe.
const FAILURES: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Both halves of the store.
#[derive(Debug, Clone)]
pub struct Store {
    pub history: History,
    pub hot: Hot,
}

impl Store {
    /// Prepares both for `service` (`sink`, `visualizer`); connects to neither. `breakers` is the process' gauge
    /// ([`tidewatch_service_kit::breaker::gauges`]).
    pub fn new(
        config: &StoreConfig,
        service: &str,
        metrics: &Metrics,
        breakers: &IntGaugeVec,
    ) -> Result<Self, Error> {
        let options: PgConnectOptions = config.postgres_url.reveal().parse().map_err(Error::PostgresUrl)?;
        let statement = config.postgres_statement_timeout.as_millis().to_string();
        // what a statement was is for the database's log; how long questions take is a metric
        let options = options
            .application_name(&format!("tidewatch-{service}"))
            .options([
                ("statement_timeout", statement.as_str()),
                ("lock_timeout", "5000"),
                // a process that is stopped keeps its connection: nobody but PostgreSQL can end its transaction
                ("idle_in_transaction_session_timeout", "10000"),
                ("timezone", "UTC"),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(config.postgres_connections)
            .acquire_timeout(config.postgres_connect_timeout)
            .acquire_slow_threshold(Duration::from_hours(1))
            .connect_lazy_with(options);
        let breaker = |peer| Breaker::new(breakers, service, peer, FAILURES, LONGEST_PAUSE);
        // the server ends a statement in time; this one is for a server that does not answer at all
        let limit = config.postgres_connect_timeout + config.postgres_statement_timeout;
        let history = History::new(pool, breaker("postgresql"), limit);
        let hot = Hot::new(
            config.redis_url.reveal(),
            &config.redis_prefix,
            config.redis_timeout,
            breaker("redis"),
            metrics.counters(
                &format!("tidewatch_{service}_redis_calls_total"),
                "Calls to Redis by what came of them: hit, miss, error, skipped",
                &["call", "outcome"],
            ),
        )?;
        Ok(Self { history, hot })
    }
}
