//! What becomes of a row whose parts were read again. Pure.
//!
//! In: the row that is there, if any, and the parts of its window that the topic has, in order. A row tells its last part
//! only, by its origin; the rest follows from the order. Invariant: the row never holds fewer samples than before, and what
//! was settled once is left alone the next time.

use tidewatch_schemas::SeriesKind;
use tidewatch_store::{
    WindowRow,
    merge::{is_known, merge},
};

/// What to do about a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict<Row> {
    /// It is not there, and should be this.
    Missing(Row),
    /// It is there, and should be this.
    Changed(Row),
    /// It is what the parts make.
    Same,
    /// It holds more than the topic: parts that retention took, say.
    More,
    /// Its last part is none of these and not older: whoever wrote it has read further than we have.
    Ahead,
}

impl<Row> Verdict<Row> {
    /// Whether there is nothing to do.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Same | Self::More)
    }
}

/// `is_whole`: the topic has all parts of the window up to where it was read. `parts` are at least one.
pub(super) fn settle(
    there: Option<&WindowRow>,
    parts: &[WindowRow],
    kind: SeriesKind,
    is_whole: bool,
    is_last: bool,
) -> Verdict<WindowRow> {
    let Some((first, rest)) = parts.split_first() else { return Verdict::Same };
    let (mut all, mut taken) = (*first, vec![*first]);
    for part in rest {
        if !is_known(&all, part) {
            all = merge(&all, part, kind);
            taken.push(*part);
        }
    }
    let Some(there) = there else { return Verdict::Missing(all) };
    if same(there, &all) {
        return Verdict::Same;
    }
    let partition = there.origin.partition;
    let is_one = taken.iter().all(|part| part.origin.partition == partition);
    let is_ours = taken.iter().any(|part| part.origin == there.origin);
    // in one partition origins grow; parts of several came in any order
    let is_older = is_one && there.origin.offset <= all.origin.offset;
    if !is_older && !is_ours && !is_last {
        return Verdict::Ahead;
    }
    // a merge leaves out what is not beyond the row's last part. That the whole topic does not have it cannot be
    let next = if is_older && (is_ours || !is_whole) {
        taken.iter().fold(*there, |row, part| merge(&row, part, kind))
    } else {
        *there
    };
    // of as many samples the topic's are the ones to trust, if it has them all
    if all.count > next.count || (all.count == next.count && is_whole && is_older) {
        Verdict::Changed(all)
    } else if !same(&next, there) {
        Verdict::Changed(next)
    } else if all.count == there.count {
        Verdict::Same
    } else {
        Verdict::More
    }
}

/// Bit by bit, but one NaN is as good as another.
fn same(a: &WindowRow, b: &WindowRow) -> bool {
    let numbers = |r: &WindowRow| [r.sum, r.min, r.max, r.first, r.last, r.m2, r.increase];
    let rest = |r: &WindowRow| (r.count, r.first_at, r.last_at, r.resets, r.origin);
    let is_same = |(a, b): (f64, f64)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    rest(a) == rest(b) && numbers(a).into_iter().zip(numbers(b)).all(is_same)
}

#[cfg(test)]
mod tests;
