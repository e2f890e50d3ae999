//! Where an event stands in Kafka, and up to where a reader has seen everything: the ids of the stream. Pure.
//!
//! Keeps: an id is made of offsets alone and of nothing of this process, so that every instance, and this one after a
//! restart, understands it. One event's own offset would not do: instances see partitions in different orders.

use std::fmt;

/// What the stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Windows,
    Alerts,
}

pub(crate) const TOPICS: [Topic; 2] = [Topic::Windows, Topic::Alerts];

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: Topic,
    pub(crate) partition: usize,
    pub(crate) offset: i64,
}

/// Partitions of a topic in one id.
const MOST: usize = 1_024;

/// The next offset of each partition; of one that is not named it is 0.
///
/// As text: offsets in hexadecimal, `windows~alerts`, each `<partition 0>.<partition 1>...`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position([Vec<i64>; 2]);

impl Position {
    /// How many partitions are named.
    pub(crate) fn partitions(&self, topic: Topic) -> usize {
        self.0[topic as usize].len()
    }

    pub(crate) fn next(&self, topic: Topic, partition: usize) -> i64 {
        self.0[topic as usize].get(partition).copied().unwrap_or(0)
    }

    /// The record at `place` comes next.
    pub(crate) fn go_to(&mut self, place: Place) {
        let offsets = &mut self.0[place.topic as usize];
        if offsets.len() <= place.partition {
            offsets.resize(place.partition + 1, 0);
        }
        offsets[place.partition] = place.offset;
    }

    /// The record at `place` has been seen.
    pub(crate) fn pass(&mut self, place: Place) {
        self.go_to(Place { offset: place.offset + 1, ..place });
    }

    /// Whether the record at `place` is still to come.
    pub(crate) fn is_before(&self, place: Place) -> bool {
        self.next(place.topic, place.partition) <= place.offset
    }

    /// The next place of each partition that is named.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        TOPICS.into_iter().flat_map(|topic| {
            let offsets = self.0[topic as usize].iter().enumerate();
            offsets.map(move |(partition, &offset)| Place { topic, partition, offset })
        })
    }

    /// `None` for what is no id of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (windows, alerts) = text.split_once('~')?;
        Some(Self([offsets(windows)?, offsets(alerts)?]))
    }
}

fn offsets(text: &str) -> Option<Vec<i64>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let offset = |digits: &str| {
        // a sign would be read too
        let is_plain = digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        is_plain.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
    };
    let offsets = text.split('.').take(MOST + 1).map(offset).collect::<Option<Vec<i64>>>()?;
    (offsets.len() <= MOST).then_some(offsets)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, offsets) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("~")?;
            }
            for (partition, offset) in offsets.iter().enumerate() {
                let dot = if partition > 0 { "." } else { "" };
                write!(f, "{dot}{offset:x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_reads_back(windows in prop::collection::vec(0_i64..1 << 59, 0..40), alerts in prop::collection::vec(0_i64..1 << 59, 0..40)) {
            let position = Position([windows, alerts]);
            let text = position.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"~.".contains(&b)), "{}", text);
            prop_assert_eq!(Position::parse(&text), Some(position));
        }

        #[test]
        fn no_text_makes_the_parser_fail(text in "\\PC{0,40}|[0-9a-f.~+-]{0,60}") {
            if let Some(position) = Position::parse(&text) {
                prop_assert!(position.places().all(|place| place.offset >= 0));
            }
        }
    }

    #[test]
    fn other_texts_are_no_positions() {
        let long = format!("{}~", "1.".repeat(MOST + 1));
        for text in [
            "",
            "t-1795443360000",
            "w-3-17",
            "1",
            "1~2~3",
            "1..2~",
            "+1~",
            "-1~",
            "1g~",
            "fffffffffffffffff~",
            &long,
        ] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert_eq!(Position::parse("~"), Some(Position::default()));
    }
}
