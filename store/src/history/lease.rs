//! A question that ends with whoever asks it. In: a call on a connection. Out: its result, or nothing when the caller goes
//! away or the time is over; then PostgreSQL is told to stop.
//!
//! Dropping a query of sqlx stops nothing: the statement runs on, and its connection is waited for by the next user.
//! So the connection is thrown away, and a second one cancels the statement by the first one's process id. The id is not
//! another's by then: the process lives until the statement has ended.

use sqlx::{Connection, PgConnection, PgPool, Postgres, pool::PoolConnection};

use super::History;
use crate::Error;

struct Lease {
    pool: PgPool,
    connection: Option<PoolConnection<Postgres>>,
    process: i32,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(connection), Ok(runtime)) = (self.connection.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (pool, process) = (self.pool.clone(), self.process);
        runtime.spawn(async move {
            // first, so that the pool may open another even if this was its last
            let _ = connection.detach().close_hard().await;
            let cancel = sqlx::query("SELECT pg_cancel_backend($1)").bind(process).execute(&pool).await;
            if let Err(error) = cancel {
                // the statement's own time limit ends it
                tracing::debug!(%error, "cancel question");
            }
        });
    }
}

impl History {
    /// Makes a call within the limit, unless the breaker is open; the statement ends when this future is dropped.
    pub(crate) async fn guard_cancellable<T>(
        &self,
        call: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.guard(async {
            let mut connection = self.pool().acquire().await?;
            let process = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await?;
            let mut lease = Lease { pool: self.pool().clone(), connection: Some(connection), process };
            let result = match &mut lease.connection {
                Some(connection) => call(connection).await,
                None => Err(Error::Unavailable(sqlx::Error::PoolClosed)),
            };
            // it ended by itself: back to the pool
            drop(lease.connection.take());
            result
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::testing::Stack;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_question_ends_with_whoever_asks_it() {
        let db = Stack::shared().expect("stack").database().await.expect("database");
        let history = &db.store.history;
        let until_running = async |wanted: i64| {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                let running: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'",
                )
                .fetch_one(history.pool())
                .await
                .expect("count");
                if running == wanted {
                    return;
                }
                assert!(Instant::now() < deadline, "{running} run and not {wanted}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let slow = history.guard_cancellable(async |connection| {
            // far less than the statement's own limit, far more than the test waits
            sqlx::query("SELECT pg_sleep(60)").execute(connection).await?;
            Ok(())
        });
        tokio::select! {
            ended = slow => panic!("it ended by itself: {ended:?}"),
            () = until_running(1) => {}
        }
        until_running(0).await;
        let pid = async |connection: &mut sqlx::PgConnection| {
            Ok(sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(connection).await?)
        };
        let mut processes = std::collections::BTreeSet::new();
        for _ in 0..20 {
            processes.insert(history.guard_cancellable(pid).await.expect("a process"));
        }
        let most = db.config.postgres_connections as usize;
        assert!(processes.len() <= most, "a question that ended gives its connection back: {processes:?}");
    }
}
