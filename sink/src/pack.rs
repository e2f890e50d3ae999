//! Packs partitions that are over, chunk by chunk, so that history takes a fraction of the room.
//!
//! One packer at a time over all sinks; the others have nothing to do. What breaks off is gone on with by the next pass.

use std::time::{Duration, Instant};

use tidewatch_service_kit::Shutdown;
use tidewatch_store::{Error, History, PackedTier, write::pack};

use crate::{config::PackAfter, metrics::SinkMetrics};

/// How often it is looked for something to pack.
const EVERY: Duration = Duration::from_mins(10);
/// Windows in a transaction: some tenths of a second, for so long a late part may have to wait.
const CHUNK: usize = 60_000;
/// The longest rest after a chunk.
const REST: Duration = Duration::from_secs(5);

/// Until the wish to stop. A pass that failed is made up for by the next.
pub(crate) async fn run(history: History, after: PackAfter, metrics: SinkMetrics, shutdown: Shutdown) {
    let PackAfter(Some(after)) = after else { return };
    loop {
        let now_ms = chrono::Utc::now().timestamp_millis();
        if let Err(error) = pass(&history, after, now_ms, &metrics, &shutdown).await {
            tracing::debug!(%error, "pack partitions");
        }
        if !shutdown.sleep(EVERY).await {
            return;
        }
    }
}

/// Packs whatever ended `after` before `now_ms`.
pub async fn pass(
    history: &History,
    after: Duration,
    now_ms: i64,
    metrics: &SinkMetrics,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    // of this session is the packer's place: it goes with it
    let mut conn = history.guard(async { Ok(history.pool().acquire().await?) }).await?;
    conn.close_on_drop();
    if !history.guard(pack::begin(&mut conn)).await? {
        return Ok(());
    }
    for packed in PackedTier::ALL {
        for mut pass in history.guard(pack::due(&mut conn, packed, after, now_ms)).await? {
            history.guard(pass.prepare(&mut conn)).await?;
            let (mut windows, mut began) = (0, Instant::now());
            while let Some(chunk) = history.guard(pass.chunk(&mut conn, CHUNK)).await? {
                let took = began.elapsed();
                metrics.record_packed(pass.table(), chunk, took);
                windows += chunk.windows;
                // half the time is everybody else's
                if !shutdown.sleep(took.min(REST)).await {
                    return Ok(());
                }
                began = Instant::now();
            }
            if history.guard(pass.finish(&mut conn)).await? {
                metrics.record_packed_partition(pass.table());
                tracing::info!(partition = pass.partition().name(), windows, "partition packed");
            }
        }
    }
    Ok(())
}
