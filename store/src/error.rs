//! Why the store did not do it, sorted by what the caller does: wait and retry, tell a person, or refuse the row.

use tidewatch_service_kit::BreakerError;

/// Named by what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Away, overloaded or in the middle of something: the same will work later.
    #[error("reach postgresql: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// It failed before; this call was not made.
    #[error("skip postgresql: the breaker is open")]
    Open,
    /// The question takes longer than it may.
    #[error("ask postgresql: {0}")]
    Timeout(#[source] sqlx::Error),
    /// The credentials or rights are no good: a person has to act.
    #[error("sign in to postgresql: {0}")]
    Denied(#[source] sqlx::Error),
    /// A key is there already.
    #[error("write rows: {0}")]
    Conflict(#[source] sqlx::Error),
    /// A value that PostgreSQL will never take.
    #[error("write rows: {0}")]
    Refused(#[source] sqlx::Error),
    /// The question has a larger answer than we give.
    #[error("read rows: the answer has more than {0} rows")]
    TooMuch(usize),
    /// Anything else: a mistake of ours or a schema that is not ours.
    #[error("use postgresql: {0}")]
    Unexpected(#[source] sqlx::Error),
    #[error("apply migrations: {0}")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("read postgres url: {0}")]
    PostgresUrl(#[source] sqlx::Error),
    #[error("read redis url: {0}")]
    RedisUrl(#[source] redis::RedisError),
}

impl Error {
    /// Whether PostgreSQL cannot be used now (and not: this request is wrong).
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Open | Self::Denied(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("23505") => Self::Conflict(error),
                Some("57014") => Self::Timeout(error),
                // a lock or a statement that took too long, a deadlock, a shutdown, no room, a transaction that
                // was ended because we hung: it passes
                Some(code)
                    if ["40", "53", "55", "57", "58", "08", "25P03"]
                        .iter()
                        .any(|class| code.starts_with(class)) =>
                {
                    Self::Unavailable(error)
                }
                Some(code) if code.starts_with("28") || code == "3D000" || code == "42501" => {
                    Self::Denied(error)
                }
                Some(code) if ["22", "23", "54"].iter().any(|class| code.starts_with(class)) => {
                    Self::Refused(error)
                }
                _ => Self::Unexpected(error),
            },
            sqlx::Error::Encode(_) => Self::Refused(error),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Unexpected(error),
        }
    }
}

impl From<BreakerError<Self>> for Error {
    fn from(error: BreakerError<Self>) -> Self {
        match error {
            BreakerError::Open => Self::Open,
            BreakerError::Failed(error) => error,
        }
    }
}
