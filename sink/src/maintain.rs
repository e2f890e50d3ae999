//! Keeps the partitions in order: makes them ahead, drops those whose time is over.

use std::time::Duration;

use tidewatch_service_kit::Shutdown;
use tidewatch_store::{
    Error, History, Tier,
    write::{
        pack,
        partitions::{self, Partitioned},
    },
};

use crate::config::Config;

/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(10);
/// Partitions are there so long before their time.
const AHEAD_MS: i64 = 2 * 86_400_000;

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
            // a round that is broken off leaves no lock of its session behind
            conn.close_on_drop();
            for table in Partitioned::ALL {
                let last = table.of(now_ms + AHEAD_MS);
                let mut partition = table.of(now_ms);
                while table.is_made_ahead() && partition <= last {
                    partitions::ensure(&mut conn, partition).await?;
                    partition = partition.next();
                }
                let dropped = partitions::drop_older(&mut conn, table, kept(config, table), now_ms).await?;
                if dropped > 0 {
                    tracing::info!(?table, dropped, "old partitions dropped");
                }
            }
            pack::forget_slots(&mut conn, config.sink_keep_10s, now_ms).await?;
            partitions::delete_old_anomalies(&mut conn, config.sink_keep_anomalies, now_ms).await?;
            Ok(())
        })
        .await
}

fn kept(config: &Config, table: Partitioned) -> Duration {
    match table {
        Partitioned::Samples(tier) | Partitioned::Histograms(tier) => kept_of(config, tier),
        Partitioned::Packed(packed) => kept_of(config, packed.tier()),
        Partitioned::Expectations => config.sink_keep_expected,
    }
}

fn kept_of(config: &Config, tier: Tier) -> Duration {
    match tier {
        Tier::TenSeconds => config.sink_keep_10s,
        Tier::Minute => config.sink_keep_1m,
        Tier::FiveMinutes => config.sink_keep_5m,
        Tier::Hour => config.sink_keep_1h,
    }
}
