//! Windows and bands of a topic: read twice, gathered, compared, written.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::{
    Begins, Error, Replay, Report, blocking,
    gather::{Gather, key},
    halve,
    read::{Extent, Topic},
    survey::Survey,
};
use crate::{
    record::{Item, Kind},
    write::Batch,
};

/// Rows that are compared at once: an hour that is packed is read as a whole, so the more the better.
const LOOK_ROWS: usize = 100_000;
/// Rows in a transaction: a sink waits for one at most.
const WRITE_ROWS: usize = 20_000;
/// How often is read on for windows that somebody writes meanwhile.
const ROUNDS: usize = 5;

/// Windows that were written by somebody who has read further than we have; and up to where that is.
#[derive(Debug, Default)]
struct Ahead {
    windows: Vec<(Vec<Item>, bool)>,
    read: BTreeMap<i32, i64>,
}

impl Replay<'_> {
    pub(super) async fn windows(
        &mut self,
        topic: &Topic,
        extents: &[Extent],
        report: &mut Report,
    ) -> Result<(), Error> {
        let range = self.range();
        let mut survey = Survey::default();
        let see = |item: Item| {
            if range.has(&item) {
                survey.see(&item);
            }
        };
        let begins = self.read_once(topic, extents, report, see).await?;
        if let Kind::Windows(tier) = topic.kind {
            let ends = begins.ends(tier.window_ms(), self.request.to_ms);
            let (from, servers) = (self.request.from_ms, &self.request.servers);
            report.unknown = Some(self.history.count_windows(tier, from, &ends, servers).await?);
        }
        let wanted: u64 = survey.spans.values().map(|span| span.records).sum();
        self.progress.begin(&format!("compare {}", topic.name), wanted);
        let mut ahead = Ahead {
            windows: Vec::new(),
            read: extents.iter().map(|extent| (extent.partition, extent.end)).collect(),
        };
        let spans: Vec<Extent> =
            survey.spans.iter().map(|(partition, span)| span.extent(*partition)).collect();
        for span in &spans {
            self.pass(topic, vec![*span], &survey, &begins, false, report, &mut ahead).await?;
        }
        if survey.has_split() {
            self.pass(topic, spans, &survey, &begins, true, report, &mut ahead).await?;
        }
        self.catch_up(topic, report, ahead).await
    }

    /// Reads some partitions again and settles their windows; `is_split`: those of servers that are in several.
    #[expect(clippy::too_many_arguments, reason = "what one pass over a topic shares with the next")]
    async fn pass(
        &mut self,
        topic: &Topic,
        extents: Vec<Extent>,
        survey: &Survey,
        begins: &Begins,
        is_split: bool,
        report: &mut Report,
        ahead: &mut Ahead,
    ) -> Result<(), Error> {
        let window_ms = if let Kind::Windows(tier) = topic.kind { tier.window_ms() } else { 0 };
        let is_whole = |items: &[Item]| {
            let partition = (!is_split).then_some(items[0].partition);
            begins.has_all(partition, items[0].body.time().saturating_add(window_ms))
        };
        let mut gather = Gather::new(survey, is_split);
        let mut batch = Batch::default();
        let mut firsts: BTreeMap<i32, i64> =
            extents.iter().map(|extent| (extent.partition, extent.start)).collect();
        let mut records = topic.read(extents)?;
        while let Some(items) = records.next().await? {
            for item in items {
                if firsts.remove(&item.partition).is_some_and(|first| first != item.offset) {
                    return Err(Error::Trimmed(report.topic.clone()));
                }
                if !self.range().has(&item) {
                    continue;
                }
                self.progress.advance(u64::from(!is_split));
                if let Some(window) = gather.take(item) {
                    let is_whole = is_whole(&window);
                    batch.push(window, is_whole);
                }
                if batch.weight() >= LOOK_ROWS {
                    self.settle(std::mem::take(&mut batch), report, ahead).await?;
                }
            }
        }
        for window in gather.finish() {
            let is_whole = is_split && is_whole(&window);
            batch.push(window, is_whole);
        }
        self.settle(batch, report, ahead).await
    }

    /// Compares a batch with what is there, and writes what differs.
    async fn settle(&mut self, batch: Batch, report: &mut Report, ahead: &mut Ahead) -> Result<(), Error> {
        let mut todo = vec![batch];
        while let Some(batch) = todo.pop() {
            if batch.is_empty() {
                continue;
            }
            match self.attempt(async |rewriter, conn| rewriter.look(conn, &batch).await).await {
                Ok(outcome) => {
                    report.counts += outcome.counts;
                    for differing in batch.choose(&outcome.left, WRITE_ROWS) {
                        self.write(differing, false, report, ahead).await?;
                    }
                }
                Err(error) => todo.extend(halve(batch, error, report)?),
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        batch: Batch,
        is_last: bool,
        report: &mut Report,
        ahead: &mut Ahead,
    ) -> Result<(), Error> {
        let mut todo = vec![batch];
        while let Some(batch) = todo.pop() {
            match self.attempt(async |rewriter, conn| rewriter.write(conn, &batch, is_last).await).await {
                Ok(outcome) => {
                    report.counts += outcome.counts;
                    self.tell(outcome.refresh).await;
                    let left = batch.choose(&outcome.left, usize::MAX);
                    ahead.windows.extend(left.into_iter().flat_map(Batch::into_groups));
                }
                Err(error) => {
                    self.rewriter.forget_partitions();
                    todo.extend(halve(batch, error, report)?);
                }
            }
        }
        Ok(())
    }

    /// Reads on for windows that somebody wrote who is ahead, and settles them with what came since.
    async fn catch_up(&mut self, topic: &Topic, report: &mut Report, mut ahead: Ahead) -> Result<(), Error> {
        for round in 1..=ROUNDS {
            if ahead.windows.is_empty() {
                break;
            }
            let partitions: Vec<i32> = ahead.read.keys().copied().collect();
            let ends = blocking(topic, move |topic| topic.ends(&partitions)).await?;
            let mut windows: HashMap<(String, i64), (Vec<Item>, bool)> =
                ahead.windows.drain(..).map(|window| (key(&window.0[0]), window)).collect();
            let extents = ends.iter().map(|(partition, end)| {
                let start = ahead.read.get(partition).copied().unwrap_or(*end);
                Extent { partition: *partition, start, end: *end, is_cut: false }
            });
            let mut records = topic.read(extents.collect())?;
            while let Some(items) = records.next().await? {
                for item in items.into_iter().filter(|item| item.body.server().is_some()) {
                    if let Some((window, _)) = windows.get_mut(&key(&item)) {
                        window.push(item);
                    }
                }
            }
            ahead.read.extend(ends);
            let mut batch = Batch::default();
            for (items, is_whole) in windows.into_values() {
                batch.push(items, is_whole);
            }
            self.write(batch, round == ROUNDS, report, &mut ahead).await?;
        }
        Ok(())
    }
}
