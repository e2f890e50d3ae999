//! The history of one server out of PostgreSQL, packed or not, stretch by stretch.
//!
//! In: a server and a stretch of time. Out: its rows of 10 s windows, and the windows of its histograms. Keeps: no more rows than
//! [`AT_ONCE`] are held at once, or six windows of a server that has more series than that; nothing is written.

use std::collections::BTreeSet;

use anyhow::Context as _;
use tidewatch_store::{
    HistogramQuery, HistogramRow, History, PackedTier, SeriesMeta, Server, Tier, WindowRow,
};

use super::frames::WINDOW_MS;

/// Rows held at once: an hour of 277 series. A row is some 500 bytes while it is read.
const AT_ONCE: i64 = 100_000;
/// Windows of a stretch at least: a packed hour is unpacked for each of them.
const LEAST: i64 = 6;
const HOUR_MS: i64 = 3_600_000;
/// Windows of histograms in a stretch at most; they are looked at one by one.
const HISTOGRAMS: usize = 10_000_000;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    history: &'a History,
    ids: Vec<i32>,
    histograms: Vec<i32>,
}

impl<'a> Reader<'a> {
    /// With the series that the server has.
    pub(super) async fn open(
        history: &'a History,
        server: &Server,
    ) -> anyhow::Result<(Self, Vec<SeriesMeta>)> {
        let metas = history.series(server.id, &[]).await.context("read series")?;
        let histograms = history.histogram_series(server.id, &[]).await.context("read series")?;
        let ids = |metas: &[SeriesMeta]| -> Vec<i32> { metas.iter().map(|meta| meta.id).collect() };
        Ok((Self { history, ids: ids(&metas), histograms: ids(&histograms) }, metas))
    }

    /// From when on there may be windows in `[from, to)`.
    pub(super) async fn oldest(&self, from: i64, to: i64) -> anyhow::Result<Option<i64>> {
        self.history
            .oldest_window(&self.ids, PackedTier::TenSeconds, from, to)
            .await
            .context("look for the oldest window")
    }

    pub(super) fn stretches(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> + use<> {
        stretches(from, to, self.ids.len())
    }

    pub(super) async fn rows(&self, begin: i64, end: i64) -> anyhow::Result<Vec<WindowRow>> {
        let mut rows = Vec::new();
        for some in self.ids.chunks(together(begin, end)) {
            let found = self.history.windows(some, Tier::TenSeconds, begin, end).await;
            rows.extend(found.context("read windows")?);
        }
        Ok(rows)
    }

    /// The windows in which the server spoke of histograms, if there are some without a value, in order.
    pub(super) async fn heard(&self, rows: &[WindowRow], begin: i64, end: i64) -> anyhow::Result<Vec<i64>> {
        let mut starts: BTreeSet<i64> = rows.iter().map(|row| row.ts_ms).collect();
        if self.histograms.is_empty() || starts.len() as i64 >= (end - begin) / WINDOW_MS {
            return Ok(Vec::new());
        }
        let query = HistogramQuery {
            series: self.histograms.clone(),
            tier: Tier::TenSeconds,
            step_ms: WINDOW_MS,
            from_ms: begin,
            to_ms: end,
            buckets: false,
            limit: HISTOGRAMS,
        };
        let take = |row: HistogramRow| {
            starts.insert(row.ts_ms);
            Ok(())
        };
        self.history.histograms_of_tier(&query, take).await.context("read histograms")?;
        Ok(starts.into_iter().collect())
    }
}

/// How many series are read together.
fn together(begin: i64, end: i64) -> usize {
    (AT_ONCE / ((end - begin) / WINDOW_MS).max(1)).max(1) as usize
}

/// What is read one after the other: hours, or as much of one as may be held at once. None reaches into a second hour: those
/// are packed each for itself.
fn stretches(from: i64, to: i64, series: usize) -> impl Iterator<Item = (i64, i64)> {
    let length = (AT_ONCE / series.max(1) as i64).clamp(LEAST, HOUR_MS / WINDOW_MS) * WINDOW_MS;
    let end = move |begin: i64| to.min(begin + length).min((begin.div_euclid(HOUR_MS) + 1) * HOUR_MS);
    let first = (from < to).then(|| (from, end(from)));
    std::iter::successors(first, move |&(_, begin)| (begin < to).then(|| (begin, end(begin))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_795_392_000_000;

    #[test]
    fn stretches_cover_the_time_once_and_hold_few_rows() {
        let (from, to) = (T0 + 1_234_000, T0 + 5 * HOUR_MS + 77_000);
        for series in [0, 1, 250, 556, 20_000, 100_000] {
            let all: Vec<(i64, i64)> = stretches(from, to, series).collect();
            assert_eq!((all[0].0, all[all.len() - 1].1), (from, to));
            assert!(all.windows(2).all(|pair| pair[0].1 == pair[1].0));
            for &(begin, end) in &all {
                assert!(begin < end && begin.div_euclid(HOUR_MS) == (end - 1).div_euclid(HOUR_MS));
                let windows = (end - begin + WINDOW_MS - 1) / WINDOW_MS;
                let rows = windows * series as i64;
                assert!(rows <= AT_ONCE || windows <= LEAST, "{series} series: {rows} rows");
                assert!(together(begin, end) as i64 * windows <= 2 * AT_ONCE, "the store refuses more");
            }
        }
        assert_eq!(stretches(from, to, 250).count(), 6, "an hour each");
        assert_eq!(stretches(to, from, 250).count(), 0);
    }
}
