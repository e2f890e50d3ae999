//! The window rows of a batch: which are new for certain and go by COPY, and which have to be merged with what is there.
//!
//! New for certain: finals that begin where the server's newest window ended or later. PostgreSQL says if that was wrong
//! (the key is there), and then the batch is written again with care.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use sqlx::PgConnection;
use tidewatch_schemas::{AggregateFrame, AggregateKind, Labels, SeriesKind};
use tidewatch_store::{
    Error, Tier, WindowRow,
    hot::writer::ServerWindow,
    merge::{is_known, merge},
    write::samples,
};

use super::{
    histograms::Histograms,
    ids::{Ids, Info, Known},
};
use crate::record::{Body, Item};

/// The series by which a collector describes its server.
const HOST_INFO: &str = "tidewatch_host_info";
pub(super) const TIERS: usize = Tier::ALL.len();

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By tier, as everywhere here.
    fresh: [Vec<WindowRow>; TIERS],
    /// In the order they arrived.
    parts: [Vec<(WindowRow, SeriesKind)>; TIERS],
    /// Server -> end of its newest 10 s window in the batch.
    pub(super) seen: BTreeMap<i32, i64>,
    /// (Server, tier) -> start of its newest longer window in the batch.
    pub(super) longer: BTreeMap<(i32, Tier), i64>,
    pub(super) described: BTreeMap<i32, Info>,
    pub(super) for_redis: Vec<ServerWindow>,
    pub(super) histograms: Histograms,
    pub(super) written: [usize; TIERS],
    /// Rows that were there already.
    pub(super) known: usize,
    /// Packed windows that became rows again.
    pub(super) unpacked: u64,
}

impl Plan {
    pub(super) fn new(items: &[Item], ids: &Ids, careful: bool) -> Self {
        let mut plan = Self::default();
        for item in items {
            if let Body::Windows(tier, frame) = &item.body
                && let Some(known) = ids.known(&frame.server)
            {
                plan.take(*tier, frame, known, careful);
            }
        }
        plan
    }

    fn take(&mut self, tier: Tier, frame: &AggregateFrame, known: &Known, careful: bool) {
        let id = known.server.id;
        let is_new = !careful && frame.kind == AggregateKind::Final && self.is_newest(tier, frame, known);
        self.histograms.take(tier, frame, known, is_new);
        let mut rows = rows(frame, known);
        if is_new {
            rows.sort_by_key(|(row, _)| row.series_id);
            // a series named twice in a frame: the first counts
            rows.dedup_by_key(|(row, _)| row.series_id);
            self.fresh[tier as usize].extend(rows.iter().map(|(row, _)| *row));
        } else {
            self.parts[tier as usize].extend(&rows);
        }
        if tier == Tier::TenSeconds {
            let end = self.seen.entry(id).or_insert(known.server.last_seen_ms);
            *end = (*end).max(frame.window_end());
            let rows = if is_new { rows.into_iter().map(|(row, _)| row).collect() } else { Vec::new() };
            let window = ServerWindow { server_id: id, ts_ms: frame.window_start, is_newest: is_new, rows };
            self.for_redis.push(window);
            self.describe(frame, known);
        } else {
            let newest = self.longer.entry((id, tier)).or_insert(frame.window_start);
            *newest = (*newest).max(frame.window_start);
        }
    }

    fn is_newest(&self, tier: Tier, frame: &AggregateFrame, known: &Known) -> bool {
        if tier == Tier::TenSeconds {
            let end = self.seen.get(&known.server.id).copied();
            return frame.window_start >= end.unwrap_or(known.server.last_seen_ms);
        }
        // what other sessions wrote of longer windows is not known before the first
        let newest = self.longer.get(&(known.server.id, tier)).copied().max(known.newest(tier));
        newest.is_some_and(|newest| frame.window_start > newest)
    }

    pub(super) fn describe(&mut self, frame: &AggregateFrame, known: &Known) {
        let Some(series) = frame.layout.iter().find(|series| series.metric == HOST_INFO) else { return };
        let mut labels: Labels = series.labels.clone();
        let ip_address = labels.remove("ip_address");
        let info = Info { ip_address, labels };
        if info.ip_address != known.server.ip_address || info.labels != known.server.labels {
            self.described.insert(known.server.id, info);
        } else {
            self.described.remove(&known.server.id);
        }
    }

    /// Series and time of one tier's rows.
    pub(super) fn keys(&self, tier: Tier) -> impl Iterator<Item = (i32, i64)> {
        let parts = self.parts[tier as usize].iter().map(|(row, _)| row);
        self.fresh[tier as usize].iter().chain(parts).map(|row| (row.series_id, row.ts_ms))
    }

    /// Writes one tier's rows inside the open transaction.
    pub(super) async fn write(&mut self, conn: &mut PgConnection, tier: Tier) -> Result<(), Error> {
        let fresh = &mut self.fresh[tier as usize];
        fresh.sort_by_key(|row| (row.series_id, row.ts_ms));
        samples::copy_in(conn, tier, fresh).await?;
        let parts = std::mem::take(&mut self.parts[tier as usize]);
        let mut keys: Vec<(i32, i64)> = parts.iter().map(|(row, _)| (row.series_id, row.ts_ms)).collect();
        keys.sort_unstable();
        keys.dedup();
        let there = samples::existing(conn, tier, &keys).await?;
        let (changed, known) = merge_parts(&there, &parts);
        samples::replace(conn, tier, &changed).await?;
        self.written[tier as usize] = self.fresh[tier as usize].len() + changed.len();
        self.known += known;
        Ok(())
    }
}

/// The rows that parts make of what is there, in order of their key; and how many parts were known already.
fn merge_parts(
    there: &HashMap<(i32, i64), WindowRow>,
    parts: &[(WindowRow, SeriesKind)],
) -> (Vec<WindowRow>, usize) {
    let mut changed: BTreeMap<(i32, i64), WindowRow> = BTreeMap::new();
    let mut known = 0;
    for (part, kind) in parts {
        let key = (part.series_id, part.ts_ms);
        match changed.get(&key).or_else(|| there.get(&key)) {
            Some(row) if is_known(row, part) => known += 1,
            Some(row) => {
                let row = merge(row, part, *kind);
                changed.insert(key, row);
            }
            None => {
                changed.insert(key, *part);
            }
        }
    }
    (changed.into_values().collect(), known)
}

/// A frame's rows, in the order of its layout.
pub(super) fn rows(frame: &AggregateFrame, known: &Known) -> Vec<(WindowRow, SeriesKind)> {
    let row = |(i, series): (usize, &tidewatch_schemas::Series)| {
        let (series_id, kind) = known.series_of(&series.metric, &series.labels)?;
        let row = WindowRow {
            series_id,
            ts_ms: frame.window_start,
            count: frame.count[i],
            sum: frame.sum[i],
            min: frame.min[i],
            max: frame.max[i],
            first: frame.first[i],
            last: frame.last[i],
            first_at: frame.first_at[i],
            last_at: frame.last_at[i],
            m2: frame.m2[i],
            increase: frame.increase[i],
            resets: frame.resets[i],
            origin: frame.origin,
        };
        Some((row, kind))
    };
    frame.layout.iter().enumerate().filter_map(row).collect()
}
