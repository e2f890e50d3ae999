//! One assigned partition: where it stands in its log, its analysis, what waits for a commit.
//!
//! Invariant: records below the high water are replayed silently, each server those that its snapshot does not contain, and
//! nothing is committed before the replay is through.

use std::{sync::Arc, time::Duration};

use rdkafka::{Message, message::BorrowedMessage};
use tidewatch_schemas::{
    AggregateFrame, DecodeError, Reason, decode, time::rfc3339, validate::check_server_name,
};
use tidewatch_service_kit::kafka::{Original, Source, Start, dead_letter_headers};

use super::{STAGE, restore::Committed, states::Found};
use crate::{
    analysis::{Analysis, Output, Said, Sight, Sizes, Taken},
    error::SessionError,
    feedback::Verdicts,
    metrics::AnalyzerMetrics,
    publish::{Cut, Snapshots},
    rules::RuleSet,
    snapshot::{self, Entry, Schedule},
};

pub(super) struct Partition {
    analysis: Analysis,
    /// What was said before, until the replay is through.
    said: Option<Said>,
    /// H: everything below was committed.
    high_water: i64,
    /// The next record to read.
    next: i64,
    /// The newest broker or producer stamp of a record taken.
    stamp: i64,
    /// The position at the last commit.
    committed: i64,
    outputs: Vec<Output>,
    originals: Vec<Original>,
    schedule: Schedule,
}

impl Partition {
    /// `high_water` = nothing below it is said again; `None` = nothing was ever said.
    pub(super) fn new(
        rules: &Arc<RuleSet>,
        start: &Start,
        high_water: Option<i64>,
        said: Said,
        found: Found,
        snapshot_every: Duration,
    ) -> Self {
        let high = high_water.unwrap_or(0);
        let from = start.offset.unwrap_or(0);
        let committed = start.committed.as_ref().and_then(|(_, metadata)| Committed::parse(metadata));
        let mut analysis = Analysis::new(Arc::clone(rules));
        analysis.recall(&said);
        if found.is_all() {
            analysis.replay_all();
        }
        let mut schedule = Schedule::new(snapshot_every);
        for (server, (place, kept)) in found.servers {
            schedule.restored(&server, place);
            analysis.restore(&server, kept);
        }
        let mut partition = Self {
            analysis,
            said: Some(said),
            high_water: high,
            next: from,
            stamp: committed.map_or(0, |committed| committed.stamp),
            committed: high,
            outputs: Vec::new(),
            originals: Vec::new(),
            schedule,
        };
        partition.arrived_at(Some(from));
        partition
    }

    pub(super) fn is_live(&self) -> bool {
        self.analysis.is_live()
    }

    /// From the next record on these rules hold.
    pub(super) fn set_rules(&mut self, number: i32, rules: &Arc<RuleSet>) {
        let newest = self.analysis.sizes().newest;
        tracing::info!(
            partition = number,
            offset = self.next,
            window_end = %rfc3339(newest),
            live = self.is_live(),
            "rules take effect"
        );
        self.analysis.set_rules(Arc::clone(rules));
    }

    pub(super) fn set_verdicts(&mut self, verdicts: &Arc<Verdicts>) {
        self.analysis.set_verdicts(Arc::clone(verdicts));
    }

    /// Everything below `position` was read.
    pub(super) fn arrived_at(&mut self, position: Option<i64>) {
        if position.is_some_and(|position| position >= self.high_water)
            && let Some(said) = self.said.take()
        {
            self.next = self.next.max(self.high_water);
            self.analysis.go_live(said);
        }
    }

    pub(super) fn take(
        &mut self,
        message: &BorrowedMessage<'_>,
        now: i64,
        metrics: &AnalyzerMetrics,
        dead_letters: &str,
    ) {
        let offset = message.offset();
        if offset < self.next {
            return;
        }
        self.arrived_at(Some(offset));
        self.next = offset + 1;
        let stamp = message.timestamp().to_millis().unwrap_or(0);
        self.stamp = self.stamp.max(stamp);
        let live = self.is_live();
        match read(message.payload().unwrap_or_default()) {
            // of the others that begin as far back
            Ok(frame) if self.schedule.contains(&frame.server, offset) => {}
            Ok(frame) => match self.analysis.step(&frame, stamp, &mut self.outputs) {
                Taken::Judged(values) => {
                    self.schedule.took(&frame.server, offset, frame.window_end());
                    if live {
                        metrics.record_judged(values, now - stamp);
                    } else {
                        metrics.record_replayed(now - stamp);
                    }
                }
                Taken::Ignored if live => metrics.record_ignored(),
                Taken::Ignored => {}
            },
            Err((reason, why)) if live => {
                metrics.record_dead_letter(reason);
                let source = Source { topic: message.topic(), partition: message.partition(), offset };
                let headers = dead_letter_headers(STAGE, &source, reason, &why);
                self.originals.push(Original::of(message, dead_letters, headers));
            }
            Err(_) => {}
        }
        self.arrived_at(Some(self.next));
    }

    pub(super) fn is_silence_due(&self, now: i64) -> bool {
        self.analysis.is_silence_due(now)
    }

    pub(super) fn tick(&mut self, now: i64, sight: Sight, flow_since: Option<i64>) {
        self.analysis.tick(now, sight, flow_since, &mut self.outputs);
    }

    pub(super) fn pending(&self) -> usize {
        self.outputs.len() + self.originals.len()
    }

    pub(super) fn has_alert(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Alert(_) | Output::Again(..)))
    }

    /// What has to be committed, if anything; `room` is what is left for snapshots.
    pub(super) fn cut(&mut self, number: i32, room: &mut usize) -> Result<Option<Cut>, SessionError> {
        if !self.is_live() || (self.next == self.committed && self.pending() == 0) {
            return Ok(None);
        }
        let (states, snapshots) = self.states(room)?;
        self.committed = self.next;
        let committed = Committed {
            stamp: self.stamp,
            low_water: Some(self.schedule.low_water(self.next)),
            snapshots: self.schedule.snapshots(),
        };
        Ok(Some(Cut {
            partition: number,
            offset: self.next,
            metadata: committed.metadata(),
            outputs: std::mem::take(&mut self.outputs),
            originals: std::mem::take(&mut self.originals),
            states,
            snapshots,
        }))
    }

    /// The states of those whose turn it is, as of the next record, and what deletes those of servers that are forgotten.
    fn states(&mut self, room: &mut usize) -> Result<(Vec<Entry>, Snapshots), SessionError> {
        let (mut states, mut snapshots) = (Vec::new(), Snapshots::default());
        for (server, pieces) in self.schedule.forget(|server| self.analysis.knows(server)) {
            states.extend(snapshot::erase(&server, 0..pieces));
            snapshots.dropped += usize::from(pieces > 0);
        }
        for server in self.schedule.due() {
            if *room == 0 {
                break;
            }
            let Some(state) = self.analysis.keep(&server) else { continue };
            let entries = snapshot::seal(&server, self.next, self.schedule.clock(), &state)
                .map_err(|error| SessionError::Encode { what: "snapshot", message: error.to_string() })?;
            let bytes: usize = entries.iter().filter_map(|entry| entry.payload.as_ref()).map(Vec::len).sum();
            *room = room.saturating_sub(bytes);
            snapshots.written += 1;
            snapshots.bytes += bytes;
            let pieces = entries.len() as u16;
            let before = self.schedule.written(&server, self.next, pieces);
            states.extend(entries);
            // pieces of a longer one
            states.extend(snapshot::erase(&server, pieces..before));
        }
        Ok((states, snapshots))
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.analysis.sizes()
    }
}

fn read(payload: &[u8]) -> Result<AggregateFrame, (Reason, String)> {
    let (frame, _) = decode::<AggregateFrame>(payload).map_err(|error| {
        let reason = match error {
            DecodeError::Json(_) => Reason::BadJson,
            DecodeError::UnknownSchema(_) => Reason::UnknownSchema,
            _ => Reason::Undecodable,
        };
        (reason, error.to_string())
    })?;
    check_server_name(&frame.server).map_err(|reason| (reason, "no server name".to_owned()))?;
    if !frame.is_consistent() {
        return Err((Reason::LayoutMismatch, "columns differ in length, or a window is empty".to_owned()));
    }
    Ok(frame)
}
