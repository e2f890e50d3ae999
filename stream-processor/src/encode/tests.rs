//! A record's bytes: written in two ways, and with more histograms than it has room for.

use std::sync::Arc;

use tidewatch_schemas::{Limits, Series};

use super::*;

#[test]
fn block_by_block_is_cell_by_cell() {
    for (n, counters) in [(1, false), (7, true), (8, true), (9, false), (100, true)] {
        let series: Vec<Series> = (0..n)
            .map(|i| {
                if counters && i % 3 == 0 {
                    Series::counter(format!("m{i}"), "")
                } else {
                    Series::gauge(format!("m{i}"), "")
                }
            })
            .collect();
        let mut list = SeriesList::default();
        list.append(&Arc::new(Layout::new(&series, &Limits::default())), None);
        let mut columns = Columns::default();
        columns.grow(n, list.has_counters());
        for (at, value) in [(500, -0.0), (1_000, -2.25), (70_000, 1e9), (70_000, 0.1)] {
            let values: Vec<f64> = (0..n).map(|i| value * (1.0 + i as f64)).collect();
            columns.add_run(0, at, &values);
            let rows = Rows { columns: &columns, series: &list, slots: None };
            let (mut blocks, mut cells) = (Vec::new(), Vec::new());
            assert!(write_uniform(&mut blocks, &rows), "{n}");
            write_cells(&mut cells, &rows);
            assert_eq!(blocks, cells, "{n} at {at}");
        }
        columns.add(0, 80_000, 1.0);
        let rows = Rows { columns: &columns, series: &list, slots: None };
        assert!(!write_uniform(&mut Vec::new(), &rows), "{n}");
    }
}
