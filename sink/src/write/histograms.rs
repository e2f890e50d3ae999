//! The histograms of a batch: new rows for certain go by COPY, others are merged with what is there, as windows of values are.
//!
//! Invariant: a part is merged by the stream processor's own code, so a row is what one merge of all its parts would be.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use tidewatch_schemas::{AggregateFrame, Distribution};
use tidewatch_store::{Error, HistogramRow, Tier, merge::merge_histogram, write::histograms};

use super::{ids::Known, windows::TIERS};

#[derive(Debug, Default)]
pub(super) struct Histograms {
    /// By tier, as everywhere here.
    fresh: [Vec<HistogramRow>; TIERS],
    /// In the order they arrived.
    parts: [Vec<HistogramRow>; TIERS],
    pub(super) written: [usize; TIERS],
    /// Rows that were there already.
    pub(super) known: usize,
}

impl Histograms {
    /// `is_new`: the server has no window of that time yet.
    pub(super) fn take(&mut self, tier: Tier, frame: &AggregateFrame, known: &Known, is_new: bool) {
        let mut rows = observed(frame, known);
        let to = if is_new { &mut self.fresh } else { &mut self.parts };
        to[tier as usize].append(&mut rows);
    }

    /// Writes one tier's rows inside the open transaction.
    pub(super) async fn write(&mut self, conn: &mut PgConnection, tier: Tier) -> Result<(), Error> {
        let fresh = &mut self.fresh[tier as usize];
        fresh.sort_by_key(|row| (row.series_id, row.ts_ms));
        histograms::copy_in(conn, tier, fresh).await?;
        let parts = std::mem::take(&mut self.parts[tier as usize]);
        let mut keys: Vec<(i32, i64)> = parts.iter().map(|row| (row.series_id, row.ts_ms)).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut there = histograms::existing(conn, tier, &keys).await?;
        let mut changed: BTreeMap<(i32, i64), HistogramRow> = BTreeMap::new();
        for part in parts {
            let key = (part.series_id, part.ts_ms);
            let Some(row) = changed.get_mut(&key).or_else(|| there.get_mut(&key)) else {
                changed.insert(key, part);
                continue;
            };
            if !merge_histogram(row, &part) {
                self.known += 1;
            } else if let Some(row) = there.remove(&key) {
                changed.insert(key, row);
            }
        }
        let changed: Vec<HistogramRow> = changed.into_values().collect();
        histograms::replace(conn, tier, &changed).await?;
        self.written[tier as usize] = self.fresh[tier as usize].len() + changed.len();
        Ok(())
    }
}

/// A frame's rows, in order of their series.
pub(super) fn observed(frame: &AggregateFrame, known: &Known) -> Vec<HistogramRow> {
    let row = |one: &tidewatch_schemas::Histogram| {
        Some(HistogramRow {
            series_id: known.histogram_of(&one.series.metric, &one.series.labels)?,
            ts_ms: frame.window_start,
            // those that are none were left out before
            observed: Distribution::of(one, f64::MAX).ok()??,
            origin: frame.origin,
        })
    };
    let mut rows: Vec<HistogramRow> = frame.histograms.iter().filter_map(row).collect();
    // named twice in a frame: the first counts
    rows.sort_by_key(|row| row.series_id);
    rows.dedup_by_key(|row| row.series_id);
    rows
}
