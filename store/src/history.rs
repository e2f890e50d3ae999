//! The history in PostgreSQL, as the visualizer reads it, and what it writes: what people say
//! of servers and do about alerts.
//!
//! Every call is bounded three ways: by the breaker, by a time limit, and by the rows it may return. Times are
//! milliseconds since 1970 UTC; a range is `[from, to)`.

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tidewatch_service_kit::Breaker;

use crate::Error;

mod events;
mod fleet;
pub(crate) mod histograms;
mod incidents;
mod lease;
mod metrics;
mod names;
mod odd;
mod reduce;
pub(crate) mod servers;
mod silences;
pub(crate) mod windows;

pub use events::{AlertQuery, AnomalyQuery};
pub use fleet::FleetPoint;
pub use histograms::HistogramQuery;
pub use incidents::{IncidentQuery, TrackedQuery};
pub use metrics::MetricsQuery;
pub use names::NamesQuery;
pub use reduce::{Across, JOIN_MS, OverTime, ReduceQuery, Reduced};
pub use servers::ServerRef;
pub use windows::MAX_WINDOWS;

pub(crate) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Applies the migrations that are missing, under a lock: of several programs that start at once one does it.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(source) => Error::from(source),
        other => Error::Migrate(other),
    })
}

/// A pool of connections to PostgreSQL behind a breaker. Clones share both.
#[derive(Debug, Clone)]
pub struct History {
    pool: PgPool,
    breaker: Breaker,
    limit: Duration,
}

impl History {
    /// `limit` bounds a whole call, connecting included.
    pub fn new(pool: PgPool, breaker: Breaker, limit: Duration) -> Self {
        Self { pool, breaker, limit }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Whether calls are refused at the moment.
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Makes a call within the limit, unless the breaker is open. Only an outage opens it, not a bad question.
    pub async fn guard<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limited = async {
            match tokio::time::timeout(self.limit, call).await {
                Ok(result) => result,
                Err(_) => Err(Error::Unavailable(sqlx::Error::PoolTimedOut)),
            }
        };
        self.breaker.call_if(Error::is_outage, limited).await.map_err(Error::from)
    }

    /// Whether PostgreSQL answers and has our tables.
    pub async fn ping(&self) -> Result<(), Error> {
        self.guard(async {
            sqlx::query("SELECT 1 FROM ingest_offsets LIMIT 1").execute(&self.pool).await?;
            Ok(())
        })
        .await
    }
}

/// A time for a query; one outside chrono's range is clamped to where no row is.
pub(crate) fn at(ms: i64) -> DateTime<Utc> {
    // PostgreSQL's own range ends before chrono's
    let ms = ms.clamp(-62_135_596_800_000, 253_402_300_799_000);
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// The full hour before a time, or it: packed windows from that time on are in this hour or a later one.
pub(crate) fn hour_of(ms: i64) -> DateTime<Utc> {
    let hour = crate::Tier::Hour.window_ms();
    at(ms.saturating_sub(ms.rem_euclid(hour)))
}
