//! One assigned partition: its windows, and how far its replay is.

use std::time::{Duration, Instant};

use tidewatch_service_kit::kafka::Start;

use super::filters::Filters;
use crate::{
    Error,
    commit::Committed,
    error::SessionError,
    window::{Cut, PartitionWindows, Setup},
};

#[derive(Debug)]
pub(crate) struct Partition {
    topic: String,
    number: i32,
    pub(crate) windows: PartitionWindows,
    /// When a record of it was last seen, or a tick sent.
    pub(super) heard: Instant,
    /// The position at the last cut.
    committed: i64,
    replay: Option<Replay>,
}

#[derive(Debug)]
struct Replay {
    records: i64,
    begun: Instant,
    told: Instant,
}

impl Partition {
    pub(super) fn restore(
        start: &Start,
        setup: &Setup,
        filters: &mut Filters,
        now: Instant,
    ) -> Result<Self, SessionError> {
        let windows = match &start.committed {
            None => PartitionWindows::begin(start.partition, 0, setup.clone()),
            // an offset set by hand: a clean start from there
            Some((offset, metadata)) if metadata.is_empty() => {
                PartitionWindows::begin(start.partition, *offset, setup.clone())
            }
            Some((offset, metadata)) => {
                let committed = Committed::parse(*offset, metadata)
                    .map_err(|source| Error::Metadata { partition: start.partition, source })?;
                if committed.settings != setup.settings {
                    tracing::info!(
                        topic = start.topic,
                        partition = start.partition,
                        "window settings changed: open windows go out as partial ones"
                    );
                }
                let filter = filters.of(committed.settings.filter)?;
                PartitionWindows::restore(start.partition, &committed, filter, setup.clone())
            }
        };
        let records = windows.replay_left();
        tracing::info!(
            topic = start.topic,
            partition = start.partition,
            position = windows.position(),
            replay = records,
            "partition assigned"
        );
        Ok(Self {
            topic: start.topic.clone(),
            number: start.partition,
            committed: windows.position() + records,
            windows,
            heard: now,
            replay: (records > 0).then_some(Replay { records, begun: now, told: now }),
        })
    }

    /// What to commit; `None` while there is nothing new, or the replay is not through.
    pub(super) fn cut(&mut self) -> Option<Cut> {
        if self.windows.position() == self.committed && self.windows.pending() == 0 {
            return None;
        }
        let cut = self.windows.cut()?;
        self.committed = cut.committed.high_water;
        Some(cut)
    }

    /// Says so, once, when the replay is through.
    pub(super) fn replayed(&mut self) {
        if let Some(Replay { records, begun, .. }) = self.replay.take() {
            let seconds = begun.elapsed().as_secs_f64();
            tracing::info!(
                topic = self.topic,
                partition = self.number,
                records,
                seconds,
                "replay is through"
            );
        }
    }

    /// How far a long replay is.
    pub(super) fn tell_progress(&mut self, now: Instant) {
        let left = self.windows.replay_left();
        if let Some(replay) = &mut self.replay
            && now - replay.told >= Duration::from_secs(5)
        {
            replay.told = now;
            tracing::info!(
                topic = self.topic,
                partition = self.number,
                left,
                of = replay.records,
                "replay under way"
            );
        }
    }
}
