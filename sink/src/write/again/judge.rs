//! What becomes of each row that records speak of. In: a batch, and what PostgreSQL has of it. Out: verdicts by window, and
//! the rows that they ask for.
//!
//! Keeps: a window is settled as a whole, with its histograms.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};
use sqlx::PgConnection;
use tidewatch_schemas::{AggregateFrame, SeriesKind};
use tidewatch_store::{
    Error, ExpectationRow, HistogramRow, Tier, WindowRow,
    merge::{merge, merge_histogram},
    write::{events, histograms, packed::Held, samples},
};

use super::{
    super::{
        events_of,
        histograms::observed,
        ids::{Ids, Known},
        settle::{Left, Verdict, settle},
        windows::rows,
    },
    Batch, Counts, Outcome, Rewriter,
    batch::Group,
};
use crate::record::{Body, Item};

/// Of each window its rows.
type Verdicts<Row> = Vec<Vec<Verdict<Row>>>;

/// What becomes of the rows of a batch: of windows and their histograms, or of bands.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Without one there are bands.
    pub(super) tier: Option<Tier>,
    windows: Verdicts<WindowRow>,
    histograms: Verdicts<HistogramRow>,
    bands: Verdicts<ExpectationRow>,
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) windows: Vec<WindowRow>,
    pub(super) histograms: Vec<HistogramRow>,
    pub(super) bands: Vec<ExpectationRow>,
}

impl Judged {
    /// Counts the windows of which no row is left, and gives their rows that are to be written.
    pub(super) fn sort(self, left: Left) -> (Outcome, Rows) {
        let mut numbers = BTreeSet::new();
        numbers.extend(unsettled(&self.windows, left));
        numbers.extend(unsettled(&self.histograms, left));
        numbers.extend(unsettled(&self.bands, left));
        let mut counts = Counts::default();
        let rows = Rows {
            windows: take(self.windows, &numbers, &mut counts),
            histograms: take(self.histograms, &numbers, &mut counts),
            bands: take(self.bands, &numbers, &mut counts),
        };
        (Outcome { counts, left: numbers.into_iter().collect(), ..Outcome::default() }, rows)
    }
}

/// The windows, by number, of which a row is left.
fn unsettled<Row>(verdicts: &[Vec<Verdict<Row>>], left: Left) -> Vec<usize> {
    let numbered = verdicts.iter().enumerate();
    let of_these = numbered.filter(|(_, rows)| rows.iter().any(|row| row.is_left(left)));
    of_these.map(|(number, _)| number).collect()
}

/// Counts the rows of the windows that are not left, and gives those to be written.
fn take<Row>(verdicts: Verdicts<Row>, left: &BTreeSet<usize>, counts: &mut Counts) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, verdicts) in verdicts.into_iter().enumerate() {
        if left.contains(&number) {
            continue;
        }
        for verdict in verdicts {
            counts.add(&verdict);
            if let Verdict::Missing(row) | Verdict::Changed(row) = verdict {
                rows.push(row);
            }
        }
    }
    rows
}

impl Rewriter {
    pub(super) async fn judge(
        &self,
        conn: &mut PgConnection,
        batch: &Batch,
        refused: &HashSet<usize>,
        held: &Held,
        is_last: bool,
    ) -> Result<Judged, Error> {
        let tier = batch.items.iter().find_map(|item| match &item.body {
            Body::Windows(tier, _) => Some(*tier),
            _ => None,
        });
        let Some(tier) = tier else {
            return Ok(Judged { bands: self.bands(conn, batch, refused).await?, ..Judged::default() });
        };
        let windows = self.windows(conn, tier, batch, refused, held, is_last).await?;
        let histograms = self.histograms(conn, tier, batch, refused, is_last).await?;
        Ok(Judged { tier: Some(tier), windows, histograms, bands: Vec::new() })
    }

    async fn windows(
        &self,
        conn: &mut PgConnection,
        tier: Tier,
        batch: &Batch,
        refused: &HashSet<usize>,
        held: &Held,
        is_last: bool,
    ) -> Result<Verdicts<WindowRow>, Error> {
        let of_group = |group| {
            parts(batch.good(group, refused), &self.ids, rows, |(row, _): &(WindowRow, SeriesKind)| {
                row.series_id
            })
        };
        let parts: Vec<Vec<(WindowRow, SeriesKind)>> = batch.groups.iter().map(of_group).collect();
        let keys = keys(parts.iter().flatten().map(|(row, _)| (row.series_id, row.ts_ms)));
        let mut there = samples::existing(conn, tier, &keys).await?;
        there.extend(held.existing(conn, tier, keys.iter().copied()).await?);
        let judged = batch.groups.iter().zip(&parts).map(|(group, parts)| {
            let of_series = parts.chunk_by(|(a, _), (b, _)| a.series_id == b.series_id);
            let verdict = |some: &[(WindowRow, SeriesKind)]| {
                let (first, kind) = some[0];
                let rows: Vec<WindowRow> = some.iter().map(|(row, _)| *row).collect();
                let add = |row: &WindowRow, part: &WindowRow| merge(row, part, kind);
                settle(there.get(&(first.series_id, first.ts_ms)), &rows, add, group.is_whole, is_last)
            };
            of_series.map(verdict).collect()
        });
        Ok(judged.collect())
    }

    async fn histograms(
        &self,
        conn: &mut PgConnection,
        tier: Tier,
        batch: &Batch,
        refused: &HashSet<usize>,
        is_last: bool,
    ) -> Result<Verdicts<HistogramRow>, Error> {
        let of_group = |group| {
            parts(batch.good(group, refused), &self.ids, observed, |row: &HistogramRow| row.series_id)
        };
        let parts: Vec<Vec<HistogramRow>> = batch.groups.iter().map(of_group).collect();
        let keys = keys(parts.iter().flatten().map(|row| (row.series_id, row.ts_ms)));
        let there: HashMap<(i32, i64), HistogramRow> = histograms::existing(conn, tier, &keys).await?;
        let judged = batch.groups.iter().zip(&parts).map(|(group, parts)| {
            let verdict = |some: &[HistogramRow]| {
                let key = (some[0].series_id, some[0].ts_ms);
                settle(there.get(&key), some, add_histogram, group.is_whole, is_last)
            };
            parts.chunk_by(|a, b| a.series_id == b.series_id).map(verdict).collect()
        });
        Ok(judged.collect())
    }

    async fn bands(
        &self,
        conn: &mut PgConnection,
        batch: &Batch,
        refused: &HashSet<usize>,
    ) -> Result<Verdicts<ExpectationRow>, Error> {
        let of_group = |group| last_bands(batch.good(group, refused), &self.ids);
        let bands: Vec<Vec<ExpectationRow>> = batch.groups.iter().map(of_group).collect();
        let keys: Vec<_> = bands.iter().flatten().map(|row| (row.series_id, row.ts_ms)).collect();
        let there = events::expectations_there(conn, &keys).await?;
        let verdict = |row: ExpectationRow| match there.get(&(row.series_id, row.ts_ms)) {
            None => Verdict::Missing(row),
            Some(other) if *other == row => Verdict::Same,
            Some(_) => Verdict::Changed(row),
        };
        Ok(bands.into_iter().map(|rows| rows.into_iter().map(&verdict).collect()).collect())
    }
}

impl Batch {
    /// A window's records without those that are refused.
    fn good<'a>(
        &'a self,
        group: &Group,
        refused: &'a HashSet<usize>,
    ) -> impl Iterator<Item = &'a Item> + use<'a> {
        let kept = group.items.clone().filter(move |index| !refused.contains(index));
        kept.map(move |index| &self.items[index])
    }
}

/// Each once, in order.
fn keys(keys: impl Iterator<Item = (i32, i64)>) -> Vec<(i32, i64)> {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// As the sink does.
fn add_histogram(row: &HistogramRow, part: &HistogramRow) -> HistogramRow {
    let mut both = row.clone();
    merge_histogram(&mut both, part);
    both
}

/// What a window's parts say, by series, in the order in which they came.
fn parts<'a, Part>(
    items: impl Iterator<Item = &'a Item>,
    ids: &Ids,
    read: impl Fn(&AggregateFrame, &Known) -> Vec<Part>,
    series: impl Fn(&Part) -> i32,
) -> Vec<Part> {
    let mut parts = Vec::new();
    for item in items {
        if let Body::Windows(_, frame) = &item.body
            && let Some(known) = ids.known(&frame.server)
        {
            parts.extend(read(frame, known));
        }
    }
    // stable
    parts.sort_by_key(series);
    parts
}

/// Of several bands of a series and window the last.
fn last_bands<'a>(items: impl Iterator<Item = &'a Item>, ids: &Ids) -> Vec<ExpectationRow> {
    let mut bands = HashMap::new();
    for item in items {
        let (_, _, rows) = events_of(std::slice::from_ref(item), ids);
        bands.extend(rows.into_iter().map(|row| ((row.series_id, row.ts_ms), row)));
    }
    bands.into_values().collect()
}
