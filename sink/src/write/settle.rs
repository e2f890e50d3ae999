//! What becomes of a row whose parts were read again. Pure.
//!
//! In: the row that is there, if any, and the parts of its window that the topic has, in order. A row tells its last part
//! only, by its origin; the rest follows from the order. Invariant: the row never holds fewer samples than before, and what
//! was settled once is left alone the next time.

use tidewatch_schemas::Origin;
use tidewatch_store::{HistogramRow, WindowRow, merge::is_copy};

/// A row, or a part of one.
pub(super) trait Part: Clone {
    fn origin(&self) -> Origin;
    /// Samples, or observations.
    fn count(&self) -> i64;
    /// Bit by bit, but one NaN is as good as another.
    fn is_same(&self, other: &Self) -> bool;
}

/// Which windows a verdict leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// Where something is to be written.
    Unsettled,
    /// That somebody wrote who has read further.
    Ahead,
}

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
    pub(super) fn is_left(&self, left: Left) -> bool {
        match left {
            Left::Nothing => false,
            Left::Unsettled => !matches!(self, Self::Same | Self::More),
            Left::Ahead => matches!(self, Self::Ahead),
        }
    }
}

/// `merge` gives the row of a row and a part, the row itself if the part is known. `is_whole`: the topic has all parts of the
/// window up to where it was read. `parts` are at least one.
pub(super) fn settle<Row: Part>(
    there: Option<&Row>,
    parts: &[Row],
    merge: impl Fn(&Row, &Row) -> Row,
    is_whole: bool,
    is_last: bool,
) -> Verdict<Row> {
    let Some((first, rest)) = parts.split_first() else { return Verdict::Same };
    let (mut all, mut taken) = (first.clone(), vec![first]);
    for part in rest {
        if !is_copy(all.origin(), part.origin()) {
            all = merge(&all, part);
            taken.push(part);
        }
    }
    let Some(there) = there else { return Verdict::Missing(all) };
    if there.is_same(&all) {
        return Verdict::Same;
    }
    let origin = there.origin();
    let is_one = taken.iter().all(|part| part.origin().partition == origin.partition);
    let is_ours = taken.iter().any(|part| part.origin() == origin);
    // in one partition origins grow; parts of several came in any order
    let is_older = is_one && origin.offset <= all.origin().offset;
    if !is_older && !is_ours && !is_last {
        return Verdict::Ahead;
    }
    // a merge leaves out what is not beyond the row's last part. That the whole topic does not have it cannot be
    let mut next = there.clone();
    if is_older && (is_ours || !is_whole) {
        for part in taken {
            next = merge(&next, part);
        }
    }
    // of as many samples the topic's are the ones to trust, if it has them all
    if all.count() > next.count() || (all.count() == next.count() && is_whole && is_older) {
        Verdict::Changed(all)
    } else if !next.is_same(there) {
        Verdict::Changed(next)
    } else if all.count() == there.count() {
        Verdict::Same
    } else {
        Verdict::More
    }
}

impl Part for WindowRow {
    fn origin(&self) -> Origin {
        self.origin
    }

    fn count(&self) -> i64 {
        self.count
    }

    fn is_same(&self, other: &Self) -> bool {
        let numbers = |r: &Self| [r.sum, r.min, r.max, r.first, r.last, r.m2, r.increase];
        let rest = |r: &Self| (r.count, r.first_at, r.last_at, r.resets, r.origin);
        rest(self) == rest(other) && are_same(&numbers(self), &numbers(other))
    }
}

impl Part for HistogramRow {
    fn origin(&self) -> Origin {
        self.origin
    }

    fn count(&self) -> i64 {
        self.observed.count
    }

    fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.observed, &other.observed);
        let is_same = self.origin == other.origin
            && (a.count, a.zero_count, a.scale) == (b.count, b.zero_count, b.scale)
            && a.positive == b.positive
            && a.negative == b.negative;
        let numbers = |r: &Self| [r.observed.sum, r.observed.min, r.observed.max, r.observed.zero_threshold];
        is_same && are_same(&numbers(self), &numbers(other))
    }
}

fn are_same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

#[cfg(test)]
mod tests;
