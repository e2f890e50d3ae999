//! Which sequences of a server were counted already.
//!
//! In: sequences, nearly always ascending. Out: whether one was there before. Keeps: eight bytes for each.

use hashbrown::HashSet;

#[derive(Debug, Default)]
pub(super) struct Sequences {
    ascending: Vec<i64>,
    /// Those that came after a higher one.
    stragglers: HashSet<i64>,
}

impl Sequences {
    /// `false` = it was there before.
    #[inline]
    pub(super) fn insert(&mut self, sequence: i64) -> bool {
        match self.ascending.last() {
            Some(&last) if last >= sequence => {
                self.ascending.binary_search(&sequence).is_err() && self.stragglers.insert(sequence)
            }
            _ => {
                self.ascending.push(sequence);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_is_new_once() {
        let mut sequences = Sequences::default();
        let news: Vec<bool> =
            [1, 2, 5, 5, 3, 3, 2, 9, 4, i64::MIN, i64::MIN, i64::MAX].map(|s| sequences.insert(s)).into();
        let expected = [true, true, true, false, true, false, false, true, true, true, false, true];
        assert_eq!(news, expected);
    }
}
