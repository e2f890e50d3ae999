//! What a replay hands over to be written, and what it hears of it.

use std::ops::Range;

use tidewatch_store::hot::writer::Refresh;

use crate::{record::Item, write::settle::Verdict};

/// Records of one topic, those of a server and window side by side, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) items: Vec<Item>,
    pub(super) groups: Vec<Group>,
    weight: usize,
}

/// A server and window.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) items: Range<usize>,
    pub(super) is_whole: bool,
}

impl Batch {
    /// Adds all records of a window; `is_whole` unless the topic may have lost some of them.
    pub fn push(&mut self, items: Vec<Item>, is_whole: bool) {
        let from = self.items.len();
        self.weight += items.iter().map(|item: &Item| item.body.weight()).sum::<usize>();
        self.items.extend(items);
        self.groups.push(Group { items: from..self.items.len(), is_whole });
    }

    /// Rows that it speaks of, roughly.
    pub fn weight(&self) -> usize {
        self.weight
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Windows.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The windows of these numbers, which are in order, in batches of about so many rows.
    #[must_use]
    pub fn choose(self, wanted: &[usize], rows: usize) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        let mut wanted = wanted.iter().peekable();
        for (number, (items, is_whole)) in self.into_groups().enumerate() {
            if wanted.next_if(|next| **next == number).is_none() {
                continue;
            }
            if batches.last().is_none_or(|batch| batch.weight >= rows) {
                batches.push(Self::default());
            }
            if let Some(batch) = batches.last_mut() {
                batch.push(items, is_whole);
            }
        }
        batches
    }

    /// Two halves of it.
    #[must_use]
    pub fn halves(self) -> [Self; 2] {
        let middle = self.len() / 2;
        let mut halves = [Self::default(), Self::default()];
        for (number, (items, is_whole)) in self.into_groups().enumerate() {
            halves[usize::from(number >= middle)].push(items, is_whole);
        }
        halves
    }

    /// Each window's records, and whether they are all.
    pub fn into_groups(self) -> impl Iterator<Item = (Vec<Item>, bool)> {
        let mut items = self.items.into_iter();
        self.groups
            .into_iter()
            .map(move |group| (items.by_ref().take(group.items.len()).collect(), group.is_whole))
    }
}

/// What came of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// They were not there.
    pub made: u64,
    /// They were there and said something else.
    pub merged: u64,
    /// They were there as the topic has them.
    pub unchanged: u64,
    /// They were there with more than the topic has; left as they are.
    pub kept: u64,
    /// Records, not rows: those that a sink refuses, too.
    pub refused: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.made += other.made;
        self.merged += other.merged;
        self.unchanged += other.unchanged;
        self.kept += other.kept;
        self.refused += other.refused;
    }
}

impl Counts {
    pub(super) fn add<Row>(&mut self, verdict: &Verdict<Row>) {
        match verdict {
            Verdict::Missing(_) => self.made += 1,
            Verdict::Changed(_) => self.merged += 1,
            Verdict::Same => self.unchanged += 1,
            Verdict::More | Verdict::Ahead => self.kept += 1,
        }
    }
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    pub counts: Counts,
    /// Windows, by number, of which nothing is done and counted yet: to be written when looked at, to be read further when
    /// written.
    pub left: Vec<usize>,
    /// What Redis has to be told.
    pub refresh: Refresh,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Body;

    fn item(offset: i64) -> Item {
        let (topic, body) = ("m.10s".into(), Body::Nothing);
        Item { topic, partition: 0, offset, timestamp: None, key: None, payload: None, body }
    }

    /// Windows of one, two and three records, and so on.
    fn batch(windows: usize) -> Batch {
        let mut batch = Batch::default();
        let mut next = 0..;
        for n in 1..=windows {
            batch.push(next.by_ref().take(n).map(item).collect(), n % 2 == 0);
        }
        batch
    }

    fn offsets(batch: Batch) -> Vec<(Vec<i64>, bool)> {
        batch.into_groups().map(|(items, whole)| (items.iter().map(|i| i.offset).collect(), whole)).collect()
    }

    #[test]
    fn chosen_windows_keep_their_records_and_come_in_batches_of_a_size() {
        assert_eq!(batch(4).weight(), 10);
        let chosen: Vec<_> = batch(4).choose(&[0, 2, 3], 4).into_iter().map(offsets).collect();
        let expected = vec![vec![(vec![0], false), (vec![3, 4, 5], false)], vec![(vec![6, 7, 8, 9], true)]];
        assert_eq!(chosen, expected);
        assert!(batch(4).choose(&[], 4).is_empty());
    }

    #[test]
    fn halves_make_the_whole() {
        let [left, right] = batch(5).halves();
        assert_eq!((left.len(), right.len()), (2, 3));
        let mut both = offsets(left);
        both.extend(offsets(right));
        assert_eq!(both, offsets(batch(5)));
    }
}
