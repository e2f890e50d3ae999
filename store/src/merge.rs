//! One row and a part that came later make the row of both. Pure.
//!
//! Counts, sums, extremes and the sum of squared deviations do not depend on the order of the parts (the latter by Chan,
//! Golub and LeVeque's formula, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
//! Invariant: a part whose origin is not behind the row's own changes nothing, so a second copy counts nothing twice.

use tidewatch_schemas::{Origin, SeriesKind};

use crate::{HistogramRow, WindowRow};

/// Whether `part` is already in `row`: a copy of what made it or of something before that.
pub fn is_known(row: &WindowRow, part: &WindowRow) -> bool {
    is_copy(row.origin, part.origin)
}

/// Whether what a record made is already in what another made or last changed.
pub fn is_copy(there: Origin, part: Origin) -> bool {
    there.partition == part.partition && part.offset <= there.offset
}

/// Adds a later part of a histogram; `false` if the part is known.
pub fn merge_histogram(row: &mut HistogramRow, part: &HistogramRow) -> bool {
    let is_news = !is_copy(row.origin, part.origin);
    if is_news {
        row.observed.merge(&part.observed);
        row.origin = part.origin;
    }
    is_news
}

/// The row of both; the row itself if the part is known.
#[must_use]
pub fn merge(row: &WindowRow, part: &WindowRow, kind: SeriesKind) -> WindowRow {
    if is_known(row, part) {
        return *row;
    }
    let (earlier, later) = in_time(row, part);
    let count = row.count + part.count;
    let first = if part.first_at < row.first_at { part } else { row };
    // of two samples of the same millisecond the one that arrived last is the latest
    let last = if part.last_at >= row.last_at { part } else { row };
    let mut merged = WindowRow {
        count,
        sum: row.sum + part.sum,
        min: row.min.min(part.min),
        max: row.max.max(part.max),
        first: first.first,
        first_at: first.first_at,
        last: last.last,
        last_at: last.last_at,
        m2: deviations(row, part),
        increase: 0.0,
        resets: 0,
        origin: part.origin,
        ..*row
    };
    if kind == SeriesKind::Counter {
        (merged.increase, merged.resets) = growth(earlier, later);
    }
    merged
}

fn in_time<'a>(a: &'a WindowRow, b: &'a WindowRow) -> (&'a WindowRow, &'a WindowRow) {
    if b.first_at < a.first_at { (b, a) } else { (a, b) }
}

fn deviations(a: &WindowRow, b: &WindowRow) -> f64 {
    let (na, nb) = (a.count as f64, b.count as f64);
    let delta = b.sum / nb - a.sum / na;
    a.m2 + b.m2 + delta * delta * na * nb / (na + nb)
}

/// Growth and resets of a counter. One part after the other: both and what lies between them. Interleaved: samples between
/// two others add no growth of their own, as inside a window, and what reaches beyond the earlier part is counted from its
/// last sample.
fn growth(earlier: &WindowRow, later: &WindowRow) -> (f64, i32) {
    let step = |from: f64, to: f64| if to >= from { (to - from, 0) } else { (to, 1) };
    if later.first_at >= earlier.last_at {
        let (between, fell) = step(earlier.last, later.first);
        (earlier.increase + between + later.increase, earlier.resets + fell + later.resets)
    } else if later.last_at > earlier.last_at {
        let (beyond, fell) = step(earlier.last, later.last);
        (earlier.increase + beyond, earlier.resets + fell)
    } else {
        (earlier.increase, earlier.resets)
    }
}

#[cfg(test)]
mod tests;
