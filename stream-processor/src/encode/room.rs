//! How much a window may hold: it is one record.

use crate::histogram::most_bytes;

/// Bytes of the largest window record: Kafka takes a megabyte unless told otherwise, with head and headers.
pub(crate) const MAX_RECORD: usize = 990_000;
/// Of which a server's name and what does not grow with the series may take this.
pub(super) const HEAD: usize = 1_000;
/// The most that a series takes beside its own encoding: seven doubles, a count, two times within the window, resets.
pub(super) const ROW: usize = 7 * 8 + 5 + 2 * 5 + 5;
/// Buckets of each sign for which a histogram has room however full the record is.
pub(super) const LEAST_BUCKETS: usize = 20;

/// The room that a window's series have in one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    bytes: usize,
    series: usize,
}

impl Room {
    /// For `series` series, and no more bytes than a record may have.
    pub(crate) fn new(series: usize) -> Self {
        Self { bytes: MAX_RECORD - HEAD, series }
    }

    /// Takes the place of `series` series with `bytes` bytes of encoding; `false` = there is not enough of it left.
    pub(crate) fn take(&mut self, series: usize, bytes: usize) -> bool {
        self.take_bytes(series, bytes.saturating_add(series.saturating_mul(ROW)))
    }

    /// The same for the series of one histogram.
    pub(crate) fn take_histogram(&mut self, bytes: usize) -> bool {
        self.take_bytes(1, bytes.saturating_add(most_bytes(LEAST_BUCKETS)))
    }

    fn take_bytes(&mut self, series: usize, bytes: usize) -> bool {
        if series > self.series || bytes > self.bytes {
            return false;
        }
        self.series -= series;
        self.bytes -= bytes;
        true
    }
}
