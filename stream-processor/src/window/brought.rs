//! What a record brings for each of its series: a frame's values, or the cells of a window that is rolled up.

use tidewatch_schemas::{Reason, validate::check_value};

use crate::{aggregate::Cell, columns::Columns};

/// What a record brings, series by series.
pub(super) trait Brought {
    fn len(&self) -> usize;
    /// Whether there is something for the series: absent is no error.
    fn check(&self, index: usize) -> Result<bool, Reason>;
    /// Whether every series has something good; `false` when that is not known.
    fn all_good(&self) -> bool;
    /// Adds it to the slot `slot` of a window that starts at `start`.
    fn add(&self, index: usize, start: i64, slot: usize, columns: &mut Columns);
    /// Adds all of it, to the slots from `first` on.
    fn add_all(&self, start: i64, first: usize, columns: &mut Columns);
}

/// A frame's values, NaN where there is none.
pub(super) struct Values<'a> {
    pub(super) time: i64,
    pub(super) list: &'a [f64],
    pub(super) all_good: bool,
}

impl Brought for Values<'_> {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn check(&self, index: usize) -> Result<bool, Reason> {
        let value = self.list[index];
        if value.is_nan() { Ok(false) } else { check_value(value).map(|()| true) }
    }

    fn all_good(&self) -> bool {
        self.all_good
    }

    #[inline]
    fn add(&self, index: usize, start: i64, slot: usize, columns: &mut Columns) {
        columns.add(slot, (self.time - start) as i32, self.list[index]);
    }

    #[inline]
    fn add_all(&self, start: i64, first: usize, columns: &mut Columns) {
        match self.list {
            [value] => columns.add(first, (self.time - start) as i32, *value),
            values => columns.add_run(first, (self.time - start) as i32, values),
        }
    }
}

/// The rows of a window record; `None` where a row is none.
pub(super) struct Cells<'a> {
    pub(super) start: i64,
    pub(super) rows: &'a [Option<Cell>],
}

impl Brought for Cells<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn check(&self, index: usize) -> Result<bool, Reason> {
        if self.rows[index].is_some() { Ok(true) } else { Err(Reason::NotANumber) }
    }

    fn all_good(&self) -> bool {
        self.rows.iter().all(Option::is_some)
    }

    fn add(&self, index: usize, start: i64, slot: usize, columns: &mut Columns) {
        if let Some(row) = &self.rows[index] {
            let mut cell = columns.cell(slot);
            cell.merge(&row.moved((self.start - start) as i32));
            columns.put(slot, &cell);
        }
    }

    fn add_all(&self, start: i64, first: usize, columns: &mut Columns) {
        (0..self.rows.len()).for_each(|index| self.add(index, start, first + index, columns));
    }
}
