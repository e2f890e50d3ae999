//! Keeps the day partitions in order: makes them ahead, drops those whose time is over.

use std::time::Duration;

use tidewatch_service_kit::Shutdown;
use tidewatch_store::{
    Error, History, Tier,
    write::partitions::{self, Daily, day_of},
};

use crate::config::Config;

/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(10);
/// Days made ahead, today included.
const AHEAD: i64 = 3;

/// Until the wish to stop. A failed round is made up for by the next.
pub(crate) async fn run(history: History, config: Config, shutdown: Shutdown) {
    loop {
        if let Err(error) = round(&history, &config, chrono::Utc::now().timestamp_millis()).await {
            tracing::debug!(%error, "keep partitions in order");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

/// One look, as of `now_ms`.
pub async fn round(history: &History, config: &Config, now_ms: i64) -> Result<(), Error> {
    history
        .guard(async {
            let mut conn = history.pool().acquire().await?;
            for table in Daily::ALL {
                for day in 0..AHEAD {
                    partitions::ensure(&mut conn, table, day_of(now_ms) + day).await?;
                }
                let kept = match table {
                    Daily::Samples(Tier::TenSeconds) => config.sink_keep_10s,
                    Daily::Samples(Tier::Minute) => config.sink_keep_1m,
                    Daily::Expectations => config.sink_keep_expected,
                };
                let dropped = partitions::drop_older(&mut conn, table, kept, now_ms).await?;
                if dropped > 0 {
                    tracing::info!(?table, dropped, "old days dropped");
                }
            }
            partitions::delete_old_anomalies(&mut conn, config.sink_keep_anomalies, now_ms).await?;
            Ok(())
        })
        .await
}
