//! Rows of the history, made windows again as the analyzer had them.
//!
//! In: rows of one server in any order, and the windows in which it spoke without a value. Out: a frame for each window,
//! oldest first. Keeps: a frame that no late part has changed is the one that was stored, with its series in order of their ids.

use tidewatch_schemas::{AggregateFrame, AggregateKind, Origin, Series};
use tidewatch_store::{SeriesMeta, WindowRow};

pub(super) const WINDOW_MS: i64 = 10_000;

/// The windows of one server, one after the other in the same place.
#[derive(Debug)]
pub(super) struct Frames {
    /// By id.
    metas: Vec<SeriesMeta>,
    frame: AggregateFrame,
    /// The ids of the frame's layout: as long as they stay, so does the layout.
    ids: Vec<i32>,
}

impl Frames {
    pub(super) fn new(server: &str, mut metas: Vec<SeriesMeta>) -> Self {
        metas.sort_unstable_by_key(|meta| meta.id);
        let frame = AggregateFrame {
            server: server.to_owned(),
            window_start: 0,
            window_ms: WINDOW_MS,
            kind: AggregateKind::Final,
            origin: Origin { partition: 0, offset: 0 },
            layout: Vec::new(),
            count: Vec::new(),
            sum: Vec::new(),
            min: Vec::new(),
            max: Vec::new(),
            first: Vec::new(),
            last: Vec::new(),
            first_at: Vec::new(),
            last_at: Vec::new(),
            m2: Vec::new(),
            increase: Vec::new(),
            resets: Vec::new(),
            histograms: Vec::new(),
        };
        Self { metas, frame, ids: Vec::new() }
    }

    /// Gives `take` each window that has a row or is among `heard`, which are in order.
    pub(super) fn rebuild(
        &mut self,
        mut rows: Vec<WindowRow>,
        heard: &[i64],
        mut take: impl FnMut(&AggregateFrame),
    ) {
        rows.retain(|row| self.series(row.series_id).is_some());
        rows.sort_unstable_by_key(|row| (row.ts_ms, row.series_id));
        let mut heard = heard.iter().copied().peekable();
        for window in rows.chunk_by(|a, b| a.ts_ms == b.ts_ms) {
            let start = window[0].ts_ms;
            while let Some(alone) = heard.next_if(|alone| *alone <= start) {
                if alone < start {
                    take(self.fill(alone, &[]));
                }
            }
            take(self.fill(start, window));
        }
        for alone in heard {
            take(self.fill(alone, &[]));
        }
    }

    fn series(&self, id: i32) -> Option<&SeriesMeta> {
        self.metas.binary_search_by_key(&id, |meta| meta.id).ok().map(|place| &self.metas[place])
    }

    /// `window`: rows of series that are known, in order of their ids.
    fn fill(&mut self, start: i64, window: &[WindowRow]) -> &AggregateFrame {
        if !self.ids.iter().eq(window.iter().map(|row| &row.series_id)) {
            self.ids.clear();
            self.ids.extend(window.iter().map(|row| row.series_id));
            self.frame.layout = self.ids.iter().filter_map(|&id| self.series(id)).map(series).collect();
        }
        let frame = &mut self.frame;
        frame.window_start = start;
        if let Some(origin) = window.iter().map(|row| row.origin).max_by_key(|origin| origin.offset) {
            frame.origin = origin;
        }
        column(&mut frame.count, window, |row| row.count);
        column(&mut frame.sum, window, |row| row.sum);
        column(&mut frame.min, window, |row| row.min);
        column(&mut frame.max, window, |row| row.max);
        column(&mut frame.first, window, |row| row.first);
        column(&mut frame.last, window, |row| row.last);
        column(&mut frame.first_at, window, |row| row.first_at);
        column(&mut frame.last_at, window, |row| row.last_at);
        column(&mut frame.m2, window, |row| row.m2);
        column(&mut frame.increase, window, |row| row.increase);
        column(&mut frame.resets, window, |row| row.resets);
        frame
    }
}

fn column<T>(into: &mut Vec<T>, window: &[WindowRow], of: impl Fn(&WindowRow) -> T) {
    into.clear();
    into.extend(window.iter().map(of));
}

fn series(meta: &SeriesMeta) -> Series {
    Series {
        metric: meta.metric_name.clone(),
        labels: meta.labels.clone(),
        kind: meta.kind,
        unit: meta.unit.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_795_392_000_000;

    fn metas() -> Vec<SeriesMeta> {
        let all = [Series::gauge("load", ""), Series::counter("bytes_total", "bytes").with("device", "eth0")];
        let meta = |(series, id): (Series, i32)| SeriesMeta {
            id,
            server_id: 1,
            metric_name: series.metric,
            labels: series.labels,
            kind: series.kind,
            unit: series.unit,
        };
        all.into_iter().zip([4, 9]).map(meta).collect()
    }

    /// A window with all of the series, or with the counter alone; every column holds something of its own.
    fn frame(window: i64) -> AggregateFrame {
        let whole = window % 3 != 2;
        let metas = metas();
        let layout: Vec<Series> = metas[usize::from(!whole)..].iter().map(series).collect();
        let of = |column: f64| -> Vec<f64> {
            (0..layout.len()).map(|place| column + window as f64 + place as f64 / 4.0).collect()
        };
        AggregateFrame {
            server: "web-1".into(),
            window_start: T0 + window * WINDOW_MS,
            window_ms: WINDOW_MS,
            kind: AggregateKind::Final,
            origin: Origin { partition: 3, offset: 100 + window },
            count: vec![2 + window; layout.len()],
            sum: of(1_000.0),
            min: of(2_000.0),
            max: of(3_000.0),
            first: of(4_000.0),
            last: of(5_000.0),
            first_at: vec![7; layout.len()],
            last_at: vec![9_007; layout.len()],
            m2: of(6_000.0),
            increase: of(7_000.0),
            resets: vec![1; layout.len()],
            layout,
            histograms: vec![],
        }
    }

    /// As the sink stores a frame.
    fn rows(frame: &AggregateFrame) -> Vec<WindowRow> {
        let first = usize::from(frame.layout.len() != 2);
        let row = |place: usize| WindowRow {
            series_id: [4, 9][first + place],
            ts_ms: frame.window_start,
            count: frame.count[place],
            sum: frame.sum[place],
            min: frame.min[place],
            max: frame.max[place],
            first: frame.first[place],
            last: frame.last[place],
            first_at: frame.first_at[place],
            last_at: frame.last_at[place],
            m2: frame.m2[place],
            increase: frame.increase[place],
            resets: frame.resets[place],
            origin: frame.origin,
        };
        (0..frame.layout.len()).map(row).collect()
    }

    fn rebuilt(rows: Vec<WindowRow>, heard: &[i64]) -> Vec<AggregateFrame> {
        let mut found = Vec::new();
        let mut reversed = metas();
        reversed.reverse();
        Frames::new("web-1", reversed).rebuild(rows, heard, |frame| found.push(frame.clone()));
        found
    }

    #[test]
    fn what_was_stored_comes_back_in_order_of_time() {
        let stored: Vec<AggregateFrame> = (0..50).map(frame).collect();
        // series by series, as they are read, and the newest first
        let mut all: Vec<WindowRow> = stored.iter().flat_map(rows).collect();
        all.sort_unstable_by_key(|row| (row.series_id, -row.ts_ms));
        assert_eq!(rebuilt(all, &[]), stored);
    }

    #[test]
    fn a_window_without_a_value_is_there_all_the_same() {
        let heard: Vec<i64> = (0..5).map(|window| T0 + window * WINDOW_MS).collect();
        let found = rebuilt([1, 3].map(frame).iter().flat_map(rows).collect(), &heard);
        let starts: Vec<i64> = found.iter().map(|frame| frame.window_start).collect();
        assert_eq!(starts, heard);
        let widths: Vec<usize> = found.iter().map(|frame| frame.layout.len()).collect();
        assert_eq!(widths, [0, 2, 0, 2, 0]);
        assert!(found.iter().all(AggregateFrame::is_consistent));
        assert_eq!(found[3], frame(3));
    }

    #[test]
    fn rows_of_nobody_are_left_out() {
        let mut all = rows(&frame(0));
        all.push(WindowRow { series_id: 5, ..all[0] });
        assert_eq!(rebuilt(all, &[]), [frame(0)]);
    }
}
