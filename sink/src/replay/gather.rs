//! Brings the records of each window together. Pure.
//!
//! In: the records of one partition, or of all for servers that are in several. Out: each window's records in their order,
//! as soon as the last has come. Kept: windows that lack some.

use hashbrown::HashMap;

use super::survey::{Place, Survey};
use crate::record::Item;

/// Windows that lack records.
#[derive(Debug)]
pub(super) struct Gather<'a> {
    survey: &'a Survey,
    /// Only servers that are in several partitions; else only the others.
    is_split: bool,
    waiting: HashMap<(String, i64), Vec<Item>>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(survey: &'a Survey, is_split: bool) -> Self {
        Self { survey, is_split, waiting: HashMap::new() }
    }

    /// All records of a window, if this is the last.
    pub(super) fn take(&mut self, item: Item) -> Option<Vec<Item>> {
        let place = self.survey.place(&item);
        if (place == Place::Anywhere) != self.is_split {
            return None;
        }
        let last = match place {
            Place::Alone => return Some(vec![item]),
            Place::Until(last) => last,
            Place::Anywhere => i64::MAX,
        };
        let (key, offset) = (key(&item), item.offset);
        self.waiting.entry(key.clone()).or_default().push(item);
        if offset >= last { self.waiting.remove(&key) } else { None }
    }

    /// What is left when everything is read: in order of time, for partitions have no order among each other.
    pub(super) fn finish(self) -> Vec<Vec<Item>> {
        let mut windows: Vec<Vec<Item>> = self.waiting.into_values().collect();
        for items in &mut windows {
            items.sort_by_key(|item| (item.timestamp, item.partition, item.offset));
        }
        windows.sort_by_key(|items| (items[0].body.time(), items[0].partition, items[0].offset));
        windows
    }
}

/// Whose and when.
pub(super) fn key(item: &Item) -> (String, i64) {
    (item.body.server().unwrap_or_default().to_owned(), item.body.time())
}

#[cfg(test)]
mod tests;
