//! A round: what is taken between two looks at the clock, from our own fetcher or, where that can't, from librdkafka.
//!
//! In: the group's changes, then records. Invariant: a change is applied as a whole, here and in the fetcher, before another
//! record is taken; none of an assignment that is over is.

use std::time::Duration;

use tidewatch_service_kit::{
    health::Component,
    kafka::{
        Fetching, Group, GroupChange, Received,
        fetch::{Chunk, Fetcher, Item},
    },
};

use super::{POLL, Session};
use crate::{Config, Consumer, error::SessionError};

/// Messages of librdkafka, each a poll.
const POLLS: u32 = 128;
/// Records of our own fetcher, and their bytes.
const RECORDS: usize = 1_000;
const BYTES: usize = 1 << 20;

/// Who fetches.
pub(super) enum Source {
    Ours {
        fetcher: Fetcher,
        /// The batch in use, and the input that it is of.
        chunk: Option<(usize, Chunk)>,
    },
    Librdkafka,
}

impl Source {
    pub(super) fn open(config: &Config, consumer: Consumer) -> Result<Self, SessionError> {
        if consumer == Consumer::Auto && Fetcher::speaks(&config.kafka) {
            Ok(Self::Ours { fetcher: Fetcher::start(&config.kafka)?, chunk: None })
        } else {
            Ok(Self::Librdkafka)
        }
    }

    /// What the group is to leave to others.
    pub(super) fn fetching(&self) -> Fetching {
        match self {
            Self::Ours { .. } => Fetching::Elsewhere,
            Self::Librdkafka => Fetching::Here,
        }
    }

    pub(super) fn lag(&self, group: &Group) -> i64 {
        match self {
            Self::Ours { fetcher, .. } => fetcher.lag(),
            Self::Librdkafka => group.lag(),
        }
    }

    pub(super) fn lag_of(&self, group: &Group, topic: &str, partition: i32) -> i64 {
        match self {
            Self::Ours { fetcher, .. } => fetcher.lag_of(topic, partition),
            Self::Librdkafka => group.lag_of(topic, partition),
        }
    }
}

impl Session<'_> {
    pub(super) fn round(
        &mut self,
        group: &Group,
        source: &mut Source,
        component: &Component,
    ) -> Result<(), SessionError> {
        match source {
            Source::Ours { fetcher, chunk } => {
                let polled = group.poll(Duration::ZERO).map_err(SessionError::kafka("poll"))?;
                for change in &polled.changes {
                    self.change(change, component)?;
                    tell(fetcher, change);
                    chunk.take_if(|(_, chunk)| !chunk.is_current());
                }
                self.take_fetched(fetcher, chunk)
            }
            Source::Librdkafka => self.take_polled(group, component),
        }
    }

    fn take_fetched(
        &mut self,
        fetcher: &Fetcher,
        current: &mut Option<(usize, Chunk)>,
    ) -> Result<(), SessionError> {
        let (mut records, mut bytes) = (0, 0);
        while records < RECORDS && bytes < BYTES {
            let Some((input, chunk)) = current else {
                // what is there is worth a look at the clock before waiting for more
                let wait = if records == 0 { POLL } else { Duration::ZERO };
                let Some(chunk) = fetcher.next(wait)? else {
                    self.tally.idle = records == 0;
                    break;
                };
                *current = self.inputs.position(chunk.topic()).map(|input| (input, chunk));
                continue;
            };
            let Some(item) = chunk.next_item() else {
                *current = None;
                continue;
            };
            records += 1;
            bytes += item.record().payload.map_or(0, <[u8]>::len);
            self.take(*input, item, |topic, partition| fetcher.end_of(topic, partition))?;
        }
        Ok(())
    }

    fn take_polled(&mut self, group: &Group, component: &Component) -> Result<(), SessionError> {
        for _ in 0..POLLS {
            let polled = group.poll(POLL).map_err(SessionError::kafka("poll"))?;
            for change in &polled.changes {
                self.change(change, component)?;
            }
            let Some(message) = polled.message else {
                self.tally.idle = true;
                break;
            };
            let record = Received::from(&message);
            if let Some(input) = self.inputs.position(record.topic) {
                // what librdkafka has read ahead is not known: no further than this record
                self.take(input, Item::Record(record), |_, _| 0)?;
            }
        }
        Ok(())
    }
}

fn tell(fetcher: &Fetcher, change: &GroupChange) {
    match change {
        GroupChange::Assigned(starts) => {
            for start in starts {
                fetcher.assign(&start.topic, start.partition, start.offset);
            }
        }
        GroupChange::Revoked(gone) => {
            for (topic, partition) in gone {
                fetcher.revoke(topic, *partition);
            }
        }
    }
}
